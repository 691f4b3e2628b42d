//! The policies, and how configuration names them.

mod baseline;
mod paper;

use std::fmt;
use std::str::FromStr;

pub use baseline::{Fcfs, LeastAttained, LongestPrefix, ShortestJob};
pub use paper::{Paper, PaperOptions};

use crate::Policy;

/// Which policy to use, as configuration names it: `fcfs`, `sjf`, `lpm`, `las` or `paper`, the last
/// with parameters if wanted: `paper:lambda_max=2:k=8`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PolicySpec {
    /// First come, first served.
    #[default]
    Fcfs,
    /// Shortest prompt first.
    ShortestJob,
    /// Longest resident prefix first.
    LongestPrefix,
    /// Least attained service first.
    LeastAttained,
    /// AgentSched as published.
    Paper(PaperOptions),
}

impl PolicySpec {
    /// The policy itself.
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::Fcfs => Box::new(Fcfs),
            Self::ShortestJob => Box::new(ShortestJob),
            Self::LongestPrefix => Box::new(LongestPrefix),
            Self::LeastAttained => Box::new(LeastAttained),
            Self::Paper(options) => Box::new(Paper::new(options)),
        }
    }
}

impl fmt::Display for PolicySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fcfs => f.write_str("fcfs"),
            Self::ShortestJob => f.write_str("sjf"),
            Self::LongestPrefix => f.write_str("lpm"),
            Self::LeastAttained => f.write_str("las"),
            Self::Paper(options) => {
                f.write_str("paper")?;
                let defaults = PaperOptions::default().fields();
                let changed = options.fields().into_iter().zip(defaults);
                let changed = changed.filter(|(one, default)| one != default);
                changed
                    .map(|((name, value), _)| write!(f, ":{name}={value}"))
                    .collect()
            }
        }
    }
}

impl FromStr for PolicySpec {
    type Err = String;

    /// # Errors
    /// With the names that there are, when the policy or a parameter is unknown, or the value is
    /// not a number of 0 or more.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = match text.split_once(':') {
            Some((name, parameters)) => (name, Some(parameters)),
            None => (text, None),
        };
        let policy = match name {
            "fcfs" => Self::Fcfs,
            "sjf" => Self::ShortestJob,
            "lpm" => Self::LongestPrefix,
            "las" => Self::LeastAttained,
            "paper" => Self::Paper(PaperOptions::default()),
            _ => {
                let message = "is no policy; there are fcfs, sjf, lpm, las and paper";
                return Err(format!("{name:?} {message}"));
            }
        };
        match (policy, parameters) {
            (policy, None) => Ok(policy),
            (Self::Paper(mut options), Some(parameters)) => {
                for parameter in parameters.split(':') {
                    options.set(parameter)?;
                }
                Ok(Self::Paper(options))
            }
            (_, Some(_)) => Err(format!("{name:?} takes no parameters")),
        }
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
            "paper",
            "paper:lambda_max=2.5:k=8",
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
        ] {
            let error = text.parse::<PolicySpec>().expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
