//! The state machine: which tier takes the next step, and whether a step must be taken again.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bursts::Bursts;
use crate::{AgentOptions, Competence, Outcome, Policy, Role, Step, Tier};

/// A kind of steps that the small tier is not worth trying at is tried again after so many, so
/// that it is known when that changes.
const PROBE_EVERY: u32 = 16;

/// Who takes a step, and why.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The tier.
    pub tier: Tier,
    /// Why it.
    pub reason: Reason,
}

/// Why a tier takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The policy always says so, or for this role.
    Policy,
    /// The session begins: it is framed and planned.
    WarmUp,
    /// The last step was progress.
    Progress,
    /// It was not: the large tier takes so-and-so many steps.
    Burst {
        /// Which of them this is, from 1.
        step: u32,
        /// How many there may be.
        budget: u32,
    },
    /// The large tier has had its steps without progress: more of them would not help.
    BurstSpent,
    /// By chance.
    Chance,
    /// The small tier is likely to do steps of this kind well enough.
    Competent,
    /// It is not, so that trying would take longer than it saves.
    Incompetent,
    /// It is not, and is tried to see whether that still holds.
    Probe,
    /// What the small tier did is not good enough: the step is taken again.
    Doubt,
    /// It may well be, and is looked at from time to time: the step is taken again.
    Audit,
    /// Recorded runs show it.
    Recorded,
}

impl Reason {
    /// A word for it, as headers and metrics show it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::WarmUp => "warm_up",
            Self::Progress => "progress",
            Self::Burst { .. } => "burst",
            Self::BurstSpent => "burst_spent",
            Self::Chance => "chance",
            Self::Competent => "competent",
            Self::Incompetent => "incompetent",
            Self::Probe => "probe",
            Self::Doubt => "doubt",
            Self::Audit => "audit",
            Self::Recorded => "recorded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Burst { step, budget } => write!(f, "burst, step {step} of {budget}"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// A step that was begun: who takes it, and what is needed to judge what comes of it. Dropping it
/// leaves the session as if the step had never been.
#[derive(Clone, Debug)]
pub struct Attempt {
    decision: Decision,
    kind: String,
    repeatable: bool,
    /// What came of it when the small tier took it, if the large one takes it again.
    before: Option<Outcome>,
}

impl Attempt {
    /// Who takes the step.
    pub fn tier(&self) -> Tier {
        self.decision.tier
    }

    /// Who takes the step, and why.
    pub fn decision(&self) -> Decision {
        self.decision
    }
}

/// The controller of one session. Several steps may be under way at once, as where an agent has
/// several seekers.
#[derive(Clone, Debug)]
pub struct Controller {
    policy: Policy,
    bursts: Bursts,
    random: fastrand::Rng,
}

impl Controller {
    /// A controller for a session that begins. `seed` decides what the policy leaves to chance.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            bursts: Bursts::new(&policy),
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who takes this step.
    pub fn begin(&mut self, step: &Step, competence: &Competence) -> Attempt {
        Attempt {
            decision: self.choose(step, competence),
            kind: step.kind.clone(),
            repeatable: step.repeatable,
            before: None,
        }
    }

    /// What came of a step. If this gives another attempt, the same step must be taken again, by
    /// the large tier, and finished again; otherwise the session goes on with what there is.
    pub fn finish(
        &mut self,
        attempt: Attempt,
        outcome: &Outcome,
        competence: &mut Competence,
    ) -> Option<Attempt> {
        let (kind, tier) = (attempt.kind.as_str(), attempt.tier());
        competence.note_seconds(kind, tier, outcome.seconds);
        if let Some(before) = &attempt.before {
            if let Some(same) = outcome.same {
                competence.learn(kind, before, same);
            }
            self.move_on(tier, outcome, true);
            return None;
        }
        competence.note_choice(kind, tier);
        if tier == Tier::Large {
            self.move_on(tier, outcome, true);
            return None;
        }
        let trusted = competence.probability(kind, outcome) >= self.confidence();
        competence.note_kept(kind, trusted);
        let stands = match self.policy {
            Policy::Agent(_) => trusted,
            Policy::Cascade => outcome.is_progress(),
            Policy::Both { .. } => false,
            _ => true,
        };
        let learns = matches!(self.policy, Policy::Agent(_));
        let reason = match stands {
            false if attempt.repeatable => Reason::Doubt,
            true if attempt.repeatable && learns && competence.wants_label(kind) => Reason::Audit,
            _ => {
                self.move_on(tier, outcome, stands);
                return None;
            }
        };
        let decision = Decision {
            tier: Tier::Large,
            reason,
        };
        Some(Attempt {
            decision,
            before: Some(outcome.clone()),
            ..attempt
        })
    }

    fn choose(&mut self, step: &Step, competence: &Competence) -> Decision {
        let (tier, reason) = match self.policy {
            Policy::Paper(_) | Policy::Cumulative(_) | Policy::AlwaysTrue(_) => self.bursts.tier(),
            Policy::Agent(_) => self.by_competence(step, competence),
            Policy::LargeOnly => (Tier::Large, Reason::Policy),
            Policy::SmallOnly => (Tier::Small, Reason::Policy),
            Policy::LargePlanner => (large_if(step.role == Role::Planner), Reason::Policy),
            Policy::LargeSeeker => (large_if(step.role == Role::Seeker), Reason::Policy),
            Policy::Random { share } => (large_if(self.random.f64() < share), Reason::Chance),
            Policy::Cascade | Policy::Both { .. } => (Tier::Small, Reason::Policy),
            Policy::Oracle => (step.recorded.unwrap_or(Tier::Large), Reason::Recorded),
        };
        Decision { tier, reason }
    }

    fn by_competence(&self, step: &Step, competence: &Competence) -> (Tier, Reason) {
        let (tier, reason) = self.bursts.tier();
        if tier == Tier::Large {
            return (tier, reason);
        }
        // Where a doubted step cannot be taken again, nothing is saved by not trying it.
        if !step.repeatable || competence.pays(&step.kind) {
            return (Tier::Small, Reason::Competent);
        }
        match competence.passed_over(&step.kind) % PROBE_EVERY {
            passed if passed + 1 == PROBE_EVERY => (Tier::Small, Reason::Probe),
            _ => (Tier::Large, Reason::Incompetent),
        }
    }

    /// The probability from which on our policy lets a small step stand. What the other policies'
    /// steps teach is of use to it only if it is measured by the same.
    fn confidence(&self) -> f64 {
        match self.policy {
            Policy::Agent(options) => options.confidence,
            _ => AgentOptions::default().confidence,
        }
    }

    /// The session goes on after a step; `stands` says whether a small one was good enough.
    fn move_on(&mut self, tier: Tier, outcome: &Outcome, stands: bool) {
        match self.policy {
            Policy::Paper(_) | Policy::Cumulative(_) => self.bursts.note(outcome.is_progress()),
            Policy::AlwaysTrue(_) => self.bursts.note(true),
            Policy::Agent(_) => match tier {
                Tier::Small => self.bursts.note(stands),
                // The large tier's steps are not doubted. Those of a burst end it once nothing
                // shows a stall; others were its own by competence, and begin none.
                Tier::Large if self.bursts.running() => {
                    self.bursts.note(!outcome.signals.any_failed());
                }
                Tier::Large => {}
            },
            _ => {}
        }
    }
}

fn large_if(large: bool) -> Tier {
    match large {
        true => Tier::Large,
        false => Tier::Small,
    }
}

/// One event of a session and what was decided on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A step was begun.
    Begin {
        /// A number for it that no other step under way has.
        id: u64,
        /// The step.
        step: Step,
        /// Who takes it.
        decision: Decision,
    },
    /// It was finished.
    Finish {
        /// Its number.
        id: u64,
        /// What came of it.
        outcome: Outcome,
        /// Who must take it again, under the same number.
        again: Option<Decision>,
    },
}

/// Decides the events of a recorded session anew, with what was known when it began. The same
/// policy and seed give the same decisions. The end of a step that was never begun is left as it
/// was recorded.
pub fn replay(
    policy: Policy,
    seed: u64,
    mut competence: Competence,
    trace: &[Entry],
) -> Vec<Entry> {
    let mut controller = Controller::new(policy, seed);
    let mut attempts = BTreeMap::new();
    let decide = |entry: &Entry| match entry {
        Entry::Begin { id, step, .. } => {
            let attempt = controller.begin(step, &competence);
            let decision = attempt.decision();
            attempts.insert(*id, attempt);
            Entry::Begin {
                id: *id,
                step: step.clone(),
                decision,
            }
        }
        Entry::Finish { id, outcome, again } => {
            let mut again = *again;
            if let Some(attempt) = attempts.remove(id) {
                let next = controller.finish(attempt, outcome, &mut competence);
                again = next.as_ref().map(Attempt::decision);
                attempts.extend(next.map(|next| (*id, next)));
            }
            Entry::Finish {
                id: *id,
                outcome: outcome.clone(),
                again,
            }
        }
    };
    trace.iter().map(decide).collect()
}
