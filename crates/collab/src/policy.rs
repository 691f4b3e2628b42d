//! The policies, and how configuration names them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who thinks next. Some take parameters: `paper:warm_up=1:burst=2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// AgentCollab as published in 2512.18337.
    Paper(PaperOptions),
    /// With bursts that grow while nothing helps (2603.26034).
    Cumulative(CumulativeOptions),
    /// Ours: by what the small tier is good at, and mechanical checks of what it did.
    Agent(AgentOptions),
    /// Always the large tier.
    LargeOnly,
    /// Always the small tier.
    SmallOnly,
    /// The large tier plans, the small one does everything else.
    LargePlanner,
    /// The large tier seeks, the small one does everything else.
    LargeSeeker,
    /// The large tier by chance, in this share of the steps (0 to 1).
    Random {
        /// Share of large steps.
        share: f64,
    },
    /// As published, with a check that always says `TRUE`: large for the warm-up, then small.
    AlwaysTrue(PaperOptions),
    /// Every step is the small tier's first, and the large one's if the check does not say `TRUE`.
    Cascade,
    /// What recorded runs show to be right for each step; the large tier where nothing is recorded.
    Oracle,
    /// Every step is taken by both tiers, and the large one's counts: to learn what the small one
    /// is good at, and to see what any controller could gain.
    Both {
        /// Whether the small tier is asked for its verdict as well.
        check: bool,
    },
}

/// Parameters of the published controller.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperOptions {
    /// K_L: steps at the beginning that the large tier takes.
    pub warm_up: u32,
    /// B_L: most steps that the large tier takes once it was called.
    pub burst: u32,
}

impl Default for PaperOptions {
    fn default() -> Self {
        // The warm-up is 2603.26034's; 2512.18337 gives no numbers. So is the budget: its B0.
        Self {
            warm_up: 2,
            burst: 2,
        }
    }
}

/// Parameters of cumulative escalation, with the published values as defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CumulativeOptions {
    /// K_L: steps at the beginning that the large tier takes.
    pub warm_up: u32,
    /// B0: most steps of the first burst.
    pub first: u32,
    /// k: by how many a burst may be longer for each failure in a row before it.
    pub more: u32,
    /// Bmax: most steps of any burst.
    pub most: u32,
}

impl Default for CumulativeOptions {
    fn default() -> Self {
        Self {
            warm_up: 2,
            first: 2,
            more: 2,
            most: 6,
        }
    }
}

/// Parameters of our policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentOptions {
    /// With which probability a small step must be as good as a large one to stand (0 to 1).
    pub confidence: f64,
    /// Steps that could not be repeated and were doubted: for so many the large tier goes on.
    pub burst: u32,
    /// Most steps that it goes on after several doubts in a row.
    pub most: u32,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            confidence: 0.7,
            burst: 1,
            most: 4,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::Agent(AgentOptions::default())
    }
}

impl Policy {
    /// Every policy with its default parameters, ours first, then the published ones.
    pub fn all() -> [Self; 12] {
        [
            Self::Agent(AgentOptions::default()),
            Self::Paper(PaperOptions::default()),
            Self::Cumulative(CumulativeOptions::default()),
            Self::LargeOnly,
            Self::SmallOnly,
            Self::LargePlanner,
            Self::LargeSeeker,
            Self::Random { share: 0.5 },
            Self::AlwaysTrue(PaperOptions::default()),
            Self::Cascade,
            Self::Oracle,
            Self::Both { check: false },
        ]
    }

    /// Its name in configuration, without parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Paper(_) => "paper",
            Self::Cumulative(_) => "cumulative",
            Self::Agent(_) => "agent",
            Self::LargeOnly => "large_only",
            Self::SmallOnly => "small_only",
            Self::LargePlanner => "large_planner",
            Self::LargeSeeker => "large_seeker",
            Self::Random { .. } => "random",
            Self::AlwaysTrue(_) => "always_true",
            Self::Cascade => "cascade",
            Self::Oracle => "oracle",
            Self::Both { .. } => "both",
        }
    }

    /// Whether it goes by what a model says of its own progress.
    pub fn asks_the_model(&self) -> bool {
        let asks = matches!(self, Self::Paper(_) | Self::Cumulative(_) | Self::Cascade);
        asks || *self == Self::Both { check: true }
    }

    /// Every parameter by name, and what it may be at most.
    fn parameters(&self) -> Vec<(&'static str, f64, f64)> {
        let steps = |name, value: u32| (name, f64::from(value), f64::from(u16::MAX));
        match self {
            Self::Paper(options) | Self::AlwaysTrue(options) => {
                vec![
                    steps("warm_up", options.warm_up),
                    steps("burst", options.burst),
                ]
            }
            Self::Cumulative(options) => vec![
                steps("warm_up", options.warm_up),
                steps("first", options.first),
                steps("more", options.more),
                steps("most", options.most),
            ],
            Self::Agent(options) => vec![
                ("confidence", options.confidence, 1.0),
                steps("burst", options.burst),
                steps("most", options.most),
            ],
            Self::Random { share } => vec![("share", *share, 1.0)],
            Self::Both { check } => vec![("check", f64::from(u8::from(*check)), 1.0)],
            _ => Vec::new(),
        }
    }

    fn set(&mut self, name: &str, value: f64) {
        let steps = value as u32;
        match (self, name) {
            (Self::Paper(options) | Self::AlwaysTrue(options), "warm_up") => {
                options.warm_up = steps;
            }
            (Self::Paper(options) | Self::AlwaysTrue(options), "burst") => options.burst = steps,
            (Self::Cumulative(options), "warm_up") => options.warm_up = steps,
            (Self::Cumulative(options), "first") => options.first = steps,
            (Self::Cumulative(options), "more") => options.more = steps,
            (Self::Cumulative(options), "most") => options.most = steps,
            (Self::Agent(options), "confidence") => options.confidence = value,
            (Self::Agent(options), "burst") => options.burst = steps,
            (Self::Agent(options), "most") => options.most = steps,
            (Self::Random { share }, "share") => *share = value,
            (Self::Both { check }, "check") => *check = value > 0.0,
            _ => unreachable!("only parameters that there are, are set"),
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    /// # Errors
    /// With the names, or the parameters, that there are.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let known = Self::all().into_iter().find(|policy| policy.name() == name);
        let mut policy = known.ok_or_else(|| {
            let names = Self::all().map(|policy| policy.name()).join(", ");
            format!("{name:?} is no policy of AgentCollab; there are {names}")
        })?;
        for part in parts {
            let Some((parameter, number)) = part.split_once('=') else {
                return Err(format!("{part:?} is not of the form NAME=NUMBER"));
            };
            let parameters = policy.parameters();
            let Some((parameter, _, most)) =
                parameters.iter().find(|(known, ..)| *known == parameter)
            else {
                let names: Vec<&str> = parameters.iter().map(|(name, ..)| *name).collect();
                let known = match names[..] {
                    [] => "it has none".to_owned(),
                    _ => format!("there are {}", names.join(", ")),
                };
                return Err(format!("{parameter:?} is no parameter of {name}; {known}"));
            };
            let parsed = number.parse().ok();
            let parsed = parsed.filter(|number: &f64| (0.0..=*most).contains(number));
            let value =
                parsed.ok_or_else(|| format!("{parameter}: expected a number from 0 to {most}"))?;
            policy.set(parameter, value);
        }
        Ok(policy)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let parameters = self.parameters().into_iter();
        parameters
            .into_iter()
            .try_for_each(|(name, value, _)| write!(f, ":{name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_as_they_are_read() {
        for policy in Policy::all() {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        let policy: Policy = "cumulative:first=1:most=9".parse().expect("a policy");
        assert_eq!(
            policy.to_string(),
            "cumulative:warm_up=2:first=1:more=2:most=9"
        );
        for (text, message) in [
            (
                "fast",
                "\"fast\" is no policy of AgentCollab; there are agent, paper, ",
            ),
            ("paper:burst", "\"burst\" is not of the form NAME=NUMBER"),
            (
                "paper:most=1",
                "\"most\" is no parameter of paper; there are warm_up, burst",
            ),
            (
                "oracle:most=1",
                "\"most\" is no parameter of oracle; it has none",
            ),
            ("random:share=1.5", "share: expected a number from 0 to 1"),
            (
                "agent:confidence=NaN",
                "confidence: expected a number from 0 to 1",
            ),
        ] {
            let error = text.parse::<Policy>().expect_err(text);
            assert!(error.starts_with(message), "{error}");
        }
    }
}
