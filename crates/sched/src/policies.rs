//! The policies, and how configuration names them.

mod agent;
mod baseline;
mod keeping;
mod paper;
mod parameters;
mod reasons;
mod retention;

use std::fmt;
use std::str::FromStr;

pub use agent::{Agent, AgentOptions};
pub use baseline::{Fcfs, LeastAttained, LongestPrefix, ShortestJob};
pub use paper::{Paper, PaperOptions};
pub use retention::{MinWaste, TimeToLive, TimeToLiveOptions};

use self::parameters::Parameters;
use crate::Policy;

/// Which policy to use, as configuration names it: `fcfs`, `sjf`, `lpm`, `las`, `ttl`, `min_waste`,
/// `paper` or `agent`, some with parameters if wanted: `paper:lambda_max=2:k=8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PolicySpec {
    /// First come, first served.
    Fcfs,
    /// Shortest prompt first.
    ShortestJob,
    /// Longest resident prefix first.
    LongestPrefix,
    /// Least attained service first.
    LeastAttained,
    /// Cells are pinned for a time to live.
    TimeToLive(TimeToLiveOptions),
    /// Cells are kept while that wastes less than computing them again.
    MinWaste,
    /// AgentSched as published.
    Paper(PaperOptions),
    /// AgentSched beyond the paper: sessions take turns.
    Agent(AgentOptions),
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self::Agent(AgentOptions::default())
    }
}

impl PolicySpec {
    /// Every policy with its default parameters, the baseline first.
    pub fn all() -> [Self; 8] {
        [
            Self::Fcfs,
            Self::ShortestJob,
            Self::LongestPrefix,
            Self::LeastAttained,
            Self::TimeToLive(TimeToLiveOptions::default()),
            Self::MinWaste,
            Self::Paper(PaperOptions::default()),
            Self::Agent(AgentOptions::default()),
        ]
    }

    /// The policy itself.
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::Fcfs => Box::new(Fcfs),
            Self::ShortestJob => Box::new(ShortestJob),
            Self::LongestPrefix => Box::new(LongestPrefix),
            Self::LeastAttained => Box::new(LeastAttained),
            Self::TimeToLive(options) => Box::new(TimeToLive::new(options)),
            Self::MinWaste => Box::new(MinWaste),
            Self::Paper(options) => Box::new(Paper::new(options)),
            Self::Agent(options) => Box::new(Agent::new(options)),
        }
    }

    /// Takes a parameter, `NAME=NUMBER`.
    fn set(&mut self, parameter: &str) -> Result<(), String> {
        match self {
            Self::TimeToLive(options) => options.set(parameter),
            Self::Paper(options) => options.set(parameter),
            Self::Agent(options) => options.set(parameter),
            _ => Err(format!("\"{self}\" takes no parameters")),
        }
    }
}

impl fmt::Display for PolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.build().name())?;
        match self {
            Self::TimeToLive(options) => options.write(f),
            Self::Paper(options) => options.write(f),
            Self::Agent(options) => options.write(f),
            _ => Ok(()),
        }
    }
}

impl FromStr for PolicySpec {
    type Err = String;

    /// # Errors
    /// With the names that there are, when the policy or a parameter is unknown, or the value is
    /// not a number of 0 or more.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let known = Self::all().map(|policy| (policy.build().name(), policy));
        let Some((_, mut policy)) = known.into_iter().find(|(known, _)| *known == name) else {
            let names = known.map(|(name, _)| name).join(", ");
            return Err(format!("{name:?} is no policy; there are {names}"));
        };
        parts.try_for_each(|parameter| policy.set(parameter))?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "fcfs",
            "sjf",
            "lpm",
            "las",
            "ttl",
            "ttl:gaps=2",
            "min_waste",
            "paper",
            "paper:lambda_max=2.5:k=8",
            "agent",
            "agent:patience=2",
        ] {
            let spec: PolicySpec = text.parse().expect(text);
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.build().name(), text.split(':').next().unwrap_or(text));
        }
    }

    #[test]
    fn wrong_names_are_explained() {
        for (text, word) in [
            ("lifo", "fcfs, sjf"),
            ("sjf:k=1", "no parameters"),
            ("paper:speed=1", "lambda_max"),
            ("paper:k", "NAME=NUMBER"),
            ("paper:k=-1", "0 or more"),
            ("paper:k=x", "0 or more"),
            ("agent:k=1", "patience"),
        ] {
            let error = text.parse::<PolicySpec>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
