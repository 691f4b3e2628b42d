//! What is to be simulated.

use std::path::PathBuf;

use agentinfer_collab::Policy;
use agentinfer_engine::PolicySpec;

use super::pair::PairSpec;
use crate::BenchError;
use crate::research::Arm;

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleOptions {
    /// What is compared; the others are compared with the first.
    pub arms: Vec<Arm>,
    /// How many sessions there are, once per value.
    pub sessions: Vec<usize>,
    /// The models and what they compute on.
    pub pair: PairSpec,
    /// Who takes which call where there are two models.
    pub collab: Policy,
    /// The probability that a step is progress, for policies that ask (0 to 1).
    pub progress: f64,
    /// Who is admitted and evicted where AgentSched is on.
    pub policy: PolicySpec,
    /// Share of its tokens that a replaced tool result keeps, above 0 to 1.
    pub kept: f64,
    /// Tokens of a conversation up to which it is left alone.
    pub trigger: u32,
    /// The probability that a drafted token is right, above 0 and below 1.
    pub accept: f64,
    /// Every length, in tokens, is multiplied by this, above 0 to 8.
    pub scale: f64,
    /// Sessions arrive at random within so many seconds.
    pub window_seconds: f64,
    /// How many random workloads for each number of sessions.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// A report of `bench research`, whose arms are simulated as well, on two cores.
    pub validate: Option<PathBuf>,
}

impl ScaleOptions {
    /// These arms as by default: GPUs, sessions that begin within 20 seconds.
    pub fn new(arms: Vec<Arm>) -> Self {
        Self {
            arms,
            sessions: vec![16, 64, 256, 1000],
            pair: PairSpec::gpu(),
            collab: Policy::Random { share: 0.34 },
            progress: 0.6,
            policy: PolicySpec::default(),
            kept: 0.3,
            trigger: agentinfer_compress::Options::default().trigger_tokens,
            accept: 0.6,
            scale: 2.0,
            window_seconds: crate::sched::ARRIVAL_SECONDS,
            seeds: 3,
            first_seed: 1,
            validate: None,
        }
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`BenchError::Option`] where one does not.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let share = |number: f64| (0.0..=1.0).contains(&number);
        let peer = self.arms.iter().any(|arm| arm.peer().is_some());
        let again = matches!(
            self.collab,
            Policy::Cascade | Policy::Oracle | Policy::Both { .. }
        );
        let complaints = [
            (
                peer,
                "--arms",
                "servers of others are not simulated; name arms of ours",
            ),
            (
                self.sessions.is_empty() || self.sessions.contains(&0),
                "--sessions",
                "at least 1 session is needed",
            ),
            (
                again,
                "--collab",
                "its steps are taken again or must be recorded, which nothing simulates; \
                 choose random:share=X, paper, cumulative, always_true or agent",
            ),
            (!share(self.progress), "--progress", "must be from 0 to 1"),
            (
                !share(self.kept) || self.kept == 0.0,
                "--kept",
                "must be above 0 and at most 1",
            ),
            (
                !share(self.accept) || self.accept == 0.0 || self.accept == 1.0,
                "--accept",
                "must be above 0 and below 1",
            ),
            (
                !(self.scale > 0.0 && self.scale <= 8.0),
                "--scale",
                "must be above 0 and at most 8",
            ),
            (
                !(self.window_seconds.is_finite() && self.window_seconds >= 0.0),
                "--window",
                "must be 0 seconds or more",
            ),
            (self.seeds == 0, "--seeds", "at least 1 is needed"),
        ];
        match complaints.into_iter().find(|(wrong, ..)| *wrong) {
            None => Ok(()),
            Some((_, field, message)) => Err(BenchError::Option {
                field,
                message: message.to_owned(),
            }),
        }
    }
}
