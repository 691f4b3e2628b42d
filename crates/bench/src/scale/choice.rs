//! Which model takes each call: the production controller, told by chance what came of a step.

use std::collections::HashMap;

use agentinfer_collab::{
    Attempt, Competence, Controller, Outcome, Policy, Role, Signal, Signals, Step, Tier, Verdict,
};
use fastrand::Rng;

use crate::sched::{Call, CallId};

/// The controllers of all sessions.
pub(super) struct Chooser {
    sessions: Vec<Chosen>,
    /// What is learned of the small model, over all sessions.
    competence: Competence,
    attempts: HashMap<CallId, Attempt>,
    /// The probability that a step is progress.
    progress: f64,
    /// Calls that the large model took.
    pub(super) large: u64,
    /// Changes of the model from call to call of an agent.
    pub(super) switches: u64,
}

struct Chosen {
    controller: Controller,
    random: Rng,
    /// Who took each agent's last call.
    last: HashMap<usize, Tier>,
}

impl Chooser {
    pub(super) fn new(policy: Policy, progress: f64, sessions: usize, seed: u64) -> Self {
        let session = |index: u64| {
            let seed = (seed << 32) | index;
            Chosen {
                controller: Controller::new(policy, seed),
                random: Rng::with_seed(!seed),
                last: HashMap::new(),
            }
        };
        Self {
            sessions: (0..sessions as u64).map(session).collect(),
            competence: Competence::default(),
            attempts: HashMap::new(),
            progress,
            large: 0,
            switches: 0,
        }
    }

    /// Who takes a call.
    pub(super) fn choose(&mut self, id: CallId, call: &Call) -> Tier {
        let chosen = &mut self.sessions[id.session];
        let step = match call.actor {
            Some(_) => Step::new(Role::Seeker, "turn"),
            None => Step::new(Role::Unknown, "read"),
        };
        let attempt = chosen.controller.begin(&step, &self.competence);
        let tier = attempt.tier();
        self.attempts.insert(id, attempt);
        self.large += u64::from(tier == Tier::Large);
        if let Some(actor) = call.actor {
            let before = chosen.last.insert(actor, tier);
            self.switches += u64::from(before.is_some_and(|before| before != tier));
        }
        tier
    }

    /// Takes the end of a call after so many seconds. As for clients of the API, it cannot be taken
    /// again.
    pub(super) fn ended(&mut self, id: CallId, seconds: f64) {
        let chosen = &mut self.sessions[id.session];
        let progress = chosen.random.f64() < self.progress;
        let outcome = Outcome {
            verdict: match progress {
                true => Verdict::Progress,
                false => Verdict::Stall,
            },
            signals: Signals::default().with(Signal::NewResult, progress),
            seconds,
            ..Outcome::default()
        };
        if let Some(attempt) = self.attempts.remove(&id) {
            let competence = &mut self.competence;
            chosen.controller.finish(attempt, &outcome, competence);
        }
    }
}
