//! A step of a session: whose it is, and what came of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The role of a model: how much it knows and how much it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Fast and weak.
    Small,
    /// Slow and strong.
    Large,
}

impl Tier {
    /// The word that requests use for it in `model`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    /// The one that is not this.
    pub fn other(self) -> Self {
        match self {
            Self::Small => Self::Large,
            Self::Large => Self::Small,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which part of an agent takes a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decomposes the task.
    Planner,
    /// Finds something out.
    Seeker,
    /// Composes the answer.
    Writer,
    /// An agent that does not say.
    #[default]
    Unknown,
}

/// A step that is to be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose it is.
    pub role: Role,
    /// What kind of step: the small model's competence is learned by it.
    pub kind: String,
    /// Whether it can be taken again before anything depends on it. An answer that a client has
    /// read cannot.
    pub repeatable: bool,
    /// The tier that recorded runs show to be the right one, for the policy `oracle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Tier>,
}

impl Step {
    /// A step that cannot be taken again, and of which nothing is known from records.
    pub fn new(role: Role, kind: impl Into<String>) -> Self {
        Self {
            role,
            kind: kind.into(),
            repeatable: false,
            recorded: None,
        }
    }

    /// The same step, which can be taken again before anything depends on it.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self {
            repeatable: true,
            ..self
        }
    }
}

/// The verdict of a progress check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The model says that the session goes forward.
    Progress,
    /// It says that it does not.
    Stall,
    /// It was not asked, did not answer in time, or not in the form that was asked for. Where a
    /// verdict decides, that counts as no progress: who cannot fill in a form of two fields is
    /// not to be trusted with the session.
    #[default]
    Missing,
}

/// A mechanical check of a step, which needs no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The reply could be read: valid JSON, a tool call of a tool that exists.
    Parsed,
    /// There is an answer, and it is more than the question repeated.
    Answered,
    /// The answer stands in a document that was read.
    Supported,
    /// It has the form that was asked for: a name, a year, yes or no.
    Fits,
    /// The query or tool call was not made before in the session.
    NewCall,
    /// It brought something that was not seen before.
    NewResult,
    /// The text does not repeat itself, nor an earlier step.
    Fresh,
    /// Another cheap sample says the same.
    Agrees,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 8] = [
        Self::Parsed,
        Self::Answered,
        Self::Supported,
        Self::Fits,
        Self::NewCall,
        Self::NewResult,
        Self::Fresh,
        Self::Agrees,
    ];
}

/// The signals of a step that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    values: [Option<bool>; Signal::ALL.len()],
}

impl Signals {
    /// These signals and one more: whether its check was passed.
    #[must_use]
    pub fn with(mut self, signal: Signal, passed: bool) -> Self {
        self.values[signal as usize] = Some(passed);
        self
    }

    /// Whether a check was passed; none if it was not made.
    pub fn get(&self, signal: Signal) -> Option<bool> {
        self.values[signal as usize]
    }

    /// Whether some check was not passed.
    pub fn any_failed(&self) -> bool {
        self.values.contains(&Some(false))
    }
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the model says of its progress.
    pub verdict: Verdict,
    /// Probability of `TRUE` at the verdict's value, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_true: Option<f32>,
    /// What needs no model.
    pub signals: Signals,
    /// How long the step took, in seconds; 0 if that is not known.
    pub seconds: f64,
    /// Where both tiers have taken the step: whether they came to the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<bool>,
}

impl Outcome {
    /// An outcome of which only the verdict is known.
    pub fn judged(verdict: Verdict) -> Self {
        Self {
            verdict,
            ..Self::default()
        }
    }

    /// Whether the step brought the session forward, as a policy that goes by verdicts sees it.
    pub fn is_progress(&self) -> bool {
        self.verdict == Verdict::Progress
    }
}
