//! What is compared: the policies, and the bound.

use std::fmt;
use std::str::FromStr;

use agentinfer_engine::PolicySpec;

/// A policy as the server offers it, or the bound, which knows the future and exists here only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contender {
    /// A policy.
    Policy(PolicySpec),
    /// A heuristic bound: the truly shortest remaining work first, and out of memory goes what is
    /// truly needed last (Belady), or what the session with the most work left holds, whichever
    /// completes sessions sooner. It is no proof: neither need be optimal.
    Bound,
}

impl Contender {
    /// Every policy with its default parameters, the baseline first, and the bound.
    pub fn all() -> Vec<Self> {
        let policies = PolicySpec::all().map(Self::Policy);
        policies.into_iter().chain([Self::Bound]).collect()
    }
}

impl Default for Contender {
    fn default() -> Self {
        Self::Policy(PolicySpec::default())
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Bound => f.write_str(BOUND),
        }
    }
}

const BOUND: &str = "bound";

impl FromStr for Contender {
    type Err = String;

    /// # Errors
    /// As for a policy.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == BOUND {
            return Ok(Self::Bound);
        }
        let policy = text.parse().map(Self::Policy);
        policy.map_err(|error: String| format!("{error}, and {BOUND} for the bound"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for contender in Contender::all() {
            assert_eq!(contender.to_string().parse(), Ok(contender));
        }
        let error = "lifo".parse::<Contender>().expect_err("no such policy");
        assert!(error.contains("fcfs") && error.contains("bound"), "{error}");
    }
}
