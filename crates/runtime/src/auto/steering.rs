//! What AgentCollab keeps of one session: its controller, and the answers of which it is not known
//! yet what came of them.

use std::collections::VecDeque;

use agentinfer_collab::{
    Attempt, Competence, Controller, Outcome, Policy, Role, Signal, Signals, Step, Verdict,
};
use agentinfer_protocol::{Message, Role as Speaker};
use tokio::sync::oneshot;

use super::check::{Check, Judgement};
use super::counts::{AutoStats, Counts};
use super::prewarm::Prewarm;
use super::signals;
use crate::Tier;
use crate::answers::Place;

/// Answers of one session of which it is not known what came of them: as many as lines of its
/// conversation are remembered. Of more, the oldest counts as never asked for.
const MAX_PENDING: usize = 8;

/// The progress check of an answer.
#[derive(Default)]
pub(crate) enum Checking {
    /// The policy does not ask for any.
    #[default]
    None,
    /// It is asked, or will be in a moment.
    Asked(oneshot::Receiver<Check>),
    /// It has come to this.
    Came(Judgement),
    /// It could not be asked.
    Refused,
    /// It did not end in time.
    Late,
}

impl Checking {
    /// What it has come to by now. One that runs on is cancelled.
    fn conclude(self) -> Self {
        let Self::Asked(mut asked) = self else {
            return self;
        };
        match asked.try_recv() {
            Ok(mut check) => check.try_judgement().map_or(Self::Late, Self::Came),
            Err(oneshot::error::TryRecvError::Empty) => Self::Late,
            Err(oneshot::error::TryRecvError::Closed) => Self::Refused,
        }
    }

    fn count(&self, counts: &mut AutoStats) {
        let count = match self {
            Self::None | Self::Asked(_) => return,
            Self::Came(judgement) => match judgement.verdict {
                Verdict::Progress => &mut counts.checks_true,
                Verdict::Stall => &mut counts.checks_false,
                Verdict::Missing => &mut counts.checks_malformed,
            },
            Self::Refused => &mut counts.checks_refused,
            Self::Late => &mut counts.checks_late,
        };
        *count += 1;
    }
}

/// An answer of which it is not known yet what came of it.
pub(crate) struct Pending {
    pub(crate) attempt: Attempt,
    /// The place in the conversation that was answered.
    pub(crate) before: Place,
    /// The place after each choice of the answer, and whether its calls could be read.
    pub(crate) after: Vec<(Place, bool)>,
    /// How long the answer took.
    pub(crate) seconds: f64,
    pub(crate) checking: Checking,
    /// Held for as long as the session does not go on.
    pub(crate) prewarm: Option<oneshot::Receiver<Prewarm>>,
}

/// What AgentCollab keeps of one session.
pub(crate) struct Steering {
    controller: Controller,
    pending: VecDeque<Pending>,
    /// Who took the last step.
    pub(crate) last: Option<Tier>,
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering")
            .field("controller", &self.controller)
            .field("pending", &self.pending.len())
            .field("last", &self.last)
            .finish()
    }
}

impl Steering {
    /// The controller of a session that begins; chances are drawn by the session's number.
    pub(crate) fn new(policy: Policy, session: u64) -> Self {
        Self {
            controller: Controller::new(policy, session),
            pending: VecDeque::new(),
            last: None,
        }
    }

    /// Ends the step that a request goes on from, now that its conversation shows what came of it.
    /// `places[i]` is the place after `messages[i]`.
    pub(crate) fn go_on(
        &mut self,
        messages: &[Message],
        places: &[Place],
        competence: &mut Competence,
        counts: &Counts,
    ) {
        // The same question again: what was answered to it before counts for nothing.
        if let Some(last) = places.last() {
            self.pending.retain(|pending| pending.before != *last);
        }
        let Some((pending, signals)) = self.take(messages, places) else {
            return;
        };
        let checking = pending.checking.conclude();
        counts.add(|counts| checking.count(counts));
        let judgement = match checking {
            Checking::Came(judgement) => Some(judgement),
            _ => None,
        };
        let outcome = Outcome {
            verdict: self.verdict(judgement, &signals),
            p_true: judgement.and_then(|judgement| judgement.p_true),
            signals,
            seconds: pending.seconds,
            same: None,
        };
        self.controller
            .finish(pending.attempt, &outcome, competence);
    }

    /// The answer that a conversation goes on from, and the signs that it gives. A client that
    /// writes its history anew is taken to go on from the last answer, of which then only little
    /// can be said.
    fn take(&mut self, messages: &[Message], places: &[Place]) -> Option<(Pending, Signals)> {
        for (at, place) in places.iter().enumerate().rev() {
            let found = self
                .pending
                .iter()
                .enumerate()
                .find_map(|(index, pending)| {
                    let (_, parsed) = pending.after.iter().find(|(after, _)| after == place)?;
                    Some((index, *parsed))
                });
            if let Some((index, parsed)) = found {
                let pending = self.pending.remove(index)?;
                return Some((pending, signals::signals(messages, at, parsed)));
            }
        }
        let goes_on = messages
            .iter()
            .any(|message| message.role == Speaker::Assistant);
        let pending = goes_on.then(|| self.pending.pop_back())??;
        let parsed = pending.after.first().is_none_or(|(_, parsed)| *parsed);
        Some((pending, Signals::default().with(Signal::Parsed, parsed)))
    }

    /// The verdict that counts. Where the model was to be asked and was not, or not in time, the
    /// signs stand in for it; a check that failed is no progress.
    fn verdict(&self, judgement: Option<Judgement>, signals: &Signals) -> Verdict {
        match judgement {
            Some(judgement) => judgement.verdict,
            None if !self.controller.policy().asks_the_model() => Verdict::Missing,
            None if signals.any_failed() => Verdict::Stall,
            None => Verdict::Progress,
        }
    }

    /// Who takes the next step.
    pub(crate) fn begin(&mut self, step: &Step, competence: &Competence) -> Attempt {
        self.controller.begin(step, competence)
    }

    /// Remembers an answer until it is known what came of it.
    pub(crate) fn wait(&mut self, pending: Pending) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(pending);
    }

    /// The answer at one of these places, if it waits.
    pub(crate) fn pending_at(&mut self, places: &[Place]) -> Option<&mut Pending> {
        let mut pending = self.pending.iter_mut().rev();
        pending.find(|pending| {
            pending
                .after
                .iter()
                .any(|(place, _)| places.contains(place))
        })
    }

    /// Cancels all that runs in the background.
    pub(crate) fn cancel(&mut self) {
        for pending in &mut self.pending {
            pending.prewarm = None;
            if let Checking::Asked(_) = pending.checking {
                pending.checking = Checking::Late;
            }
        }
    }

    /// Whether the next step may be the other tier's, given what is known by now: tried out on what
    /// may come of the step, at best and at worst.
    pub(crate) fn may_switch(
        &self,
        attempt: &Attempt,
        known: Signals,
        competence: &Competence,
    ) -> bool {
        let asks = self.controller.policy().asks_the_model();
        [true, false].into_iter().any(|good| {
            let verdict = match (asks, good) {
                (false, _) => Verdict::Missing,
                (true, true) => Verdict::Progress,
                (true, false) => Verdict::Stall,
            };
            // Only what calls tools has results to come.
            let signals = match known.get(Signal::NewCall) {
                Some(_) => known.with(Signal::NewResult, good),
                None => known,
            };
            let outcome = Outcome {
                signals,
                ..Outcome::judged(verdict)
            };
            let (mut controller, mut competence) = (self.controller.clone(), competence.clone());
            controller.finish(attempt.clone(), &outcome, &mut competence);
            let step = Step::new(Role::Unknown, "");
            controller.begin(&step, &competence).tier() != attempt.tier()
        })
    }
}
