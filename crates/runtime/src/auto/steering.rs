//! What AgentCollab keeps of one session: its controller, and the answers of which it is not known
//! yet what came of them.

use std::collections::VecDeque;

use agentinfer_collab::{
    Attempt, Competence, Controller, Outcome, Policy, Role, Signal, Signals, Step, Verdict,
};
use agentinfer_protocol::{Message, Role as Speaker};
use tokio::sync::oneshot;

use super::check::{Check, Judgement};
use super::counts::AutoStats;
use super::prewarm::Prewarm;
use super::signals;
use crate::Tier;
use crate::answers::Place;
use crate::counts::Counts;

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
        counts: &Counts<AutoStats>,
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

#[cfg(test)]
mod tests {
    use agentinfer_collab::PaperOptions;

    use super::*;
    use crate::answers;

    /// A session under the published policy, as its client sees it.
    struct Client {
        steering: Steering,
        known: Competence,
        counts: Counts<AutoStats>,
        messages: Vec<Message>,
    }

    impl Client {
        fn new() -> Self {
            let policy = Policy::Paper(PaperOptions {
                warm_up: 1,
                burst: 1,
            });
            Self {
                steering: Steering::new(policy, 1),
                known: Competence::default(),
                counts: Counts::default(),
                messages: Vec::new(),
            }
        }

        /// Asks; the attempt that it is answered by.
        fn ask(&mut self, text: &str) -> Attempt {
            self.messages.push(Message::user(text));
            let places = answers::places(0, &self.messages);
            self.steering
                .go_on(&self.messages, &places, &mut self.known, &self.counts);
            let step = Step::new(Role::Unknown, "chat");
            self.steering.begin(&step, &self.known)
        }

        /// Answers with these choices, which the check judges so; the first is what the client
        /// goes on from.
        fn answer(&mut self, attempt: Attempt, choices: &[&str], checking: Checking) {
            let places = answers::places(0, &self.messages);
            let before = places.last().copied().expect("a question");
            let after = |text: &&str| (before.after(&Message::assistant(*text)), true);
            self.steering.wait(Pending {
                attempt,
                before,
                after: choices.iter().map(after).collect(),
                seconds: 1.0,
                checking,
                prewarm: None,
            });
            self.messages.push(Message::assistant(choices[0]));
        }

        /// Answers, and asks on: who takes the step after one that was judged so.
        fn tier_after(&mut self, checking: Checking) -> Tier {
            let attempt = self.ask("Where?");
            self.answer(attempt, &["On the shelf."], checking);
            self.ask("And then?").tier()
        }
    }

    fn came(verdict: Verdict) -> Checking {
        Checking::Came(Judgement {
            verdict,
            p_true: None,
        })
    }

    #[test]
    fn signs_stand_in_for_a_check_that_was_not_asked_or_is_late() {
        for (checking, expected, count) in [
            (came(Verdict::Progress), Tier::Small, [1, 0, 0, 0, 0]),
            (came(Verdict::Stall), Tier::Large, [0, 1, 0, 0, 0]),
            (came(Verdict::Missing), Tier::Large, [0, 0, 1, 0, 0]),
            (Checking::Late, Tier::Small, [0, 0, 0, 1, 0]),
            (Checking::Refused, Tier::Small, [0, 0, 0, 0, 1]),
            (Checking::None, Tier::Small, [0; 5]),
        ] {
            let mut client = Client::new();
            assert_eq!(client.tier_after(came(Verdict::Progress)), Tier::Small);
            client.messages.pop();
            let before = client.counts.snapshot();
            assert_eq!(client.tier_after(checking), expected);
            let after = client.counts.snapshot();
            let counts = [
                after.checks_true - before.checks_true,
                after.checks_false - before.checks_false,
                after.checks_malformed - before.checks_malformed,
                after.checks_late - before.checks_late,
                after.checks_refused - before.checks_refused,
            ];
            assert_eq!(counts, count);
        }
        // Said twice in the same words, it is no progress, though nobody was asked.
        let mut client = Client::new();
        let long = "It must be on the upper shelf of the cupboard in the hall.";
        for expected in [Tier::Large, Tier::Small, Tier::Large] {
            let attempt = client.ask("Where?");
            assert_eq!(attempt.tier(), expected);
            client.answer(attempt, &[long], Checking::Late);
        }
    }

    #[test]
    fn a_question_that_is_asked_again_is_the_same_step() {
        let mut client = Client::new();
        for _ in 0..3 {
            let attempt = client.ask("Where?");
            assert_eq!(attempt.tier(), Tier::Large, "the warm-up's only step");
            client.answer(attempt, &["On the shelf."], came(Verdict::Stall));
            client.messages.clear();
        }
        assert_eq!(client.counts.snapshot(), AutoStats::default());
    }

    #[test]
    fn any_choice_and_any_line_of_the_conversation_may_be_gone_on_from() {
        let mut client = Client::new();
        let attempt = client.ask("Where?");
        client.answer(attempt, &["Here.", "There."], came(Verdict::Progress));
        let one = client.messages.clone();
        // Another agent of the session, meanwhile.
        client.messages = vec![Message::system("You are another.")];
        let other = client.ask("Who?");
        assert_eq!(other.tier(), Tier::Large, "the first answer still waits");
        client.messages = one;
        client.messages[1] = Message::assistant("There.");
        assert_eq!(client.ask("And then?").tier(), Tier::Small);
        assert_eq!(client.counts.snapshot().checks_true, 1);
    }

    #[test]
    fn a_client_that_writes_its_history_anew_goes_on_from_its_last_answer() {
        let mut client = Client::new();
        let attempt = client.ask("Where?");
        client.answer(attempt, &["On the shelf."], came(Verdict::Progress));
        client.messages = vec![Message::assistant("In short: it is on the shelf.")];
        assert_eq!(client.ask("And then?").tier(), Tier::Small);
    }

    #[test]
    fn answers_that_nobody_goes_on_from_are_bounded() {
        let mut client = Client::new();
        for number in 0..3 * MAX_PENDING {
            client.messages.clear();
            let attempt = client.ask(&format!("Question {number}?"));
            client.answer(attempt, &["On the shelf."], Checking::None);
        }
        assert_eq!(client.steering.pending.len(), MAX_PENDING);
    }
}
