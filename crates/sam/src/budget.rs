//! How many drafted tokens a step verifies: as many as make it worth more than it costs.
//!
//! Verifying a guess costs seconds, which a measured [`StepCurve`] tells; it saves the time of
//! generating that token later if it comes true. So the guesses of all sequences are put in order
//! of the probability that they are reached and right, and the beginning of that order is verified
//! that makes the whole step generate most tokens per second. Nothing is a possible answer, and
//! the usual one where a batch is large enough to keep the machine busy.

mod curve;
mod guard;
mod setting;

pub use curve::{MOST_TOKENS, StepCurve};
pub use setting::{PaperLimits, Speculation};

use self::guard::{Account, Rate, Trust};
use crate::Guess;

/// By what share a step with drafts must be better than one without: the curve is not exact, and
/// a promise is to be kept.
const MARGIN: f64 = 0.03;

/// Guesses that are less probable are never asked for, however cheap a place in the step is: to
/// look them up costs time too.
const LEAST: f32 = 0.02;

/// What verifying a grammar's forced tokens is based on before any was: of a run of them the last
/// is less certain, since the model may take a longer token that reaches into what follows.
const FORCED_WITHIN: (f64, f64) = (19.0, 1.0);
const FORCED_LAST: (f64, f64) = (6.0, 2.0);

/// A step before drafts are added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Sequences that decode, one token each.
    pub decodes: usize,
    /// Sum of their lengths, in tokens.
    pub contexts: f64,
    /// Tokens of prompts in the same step.
    pub prefill: usize,
    /// Most tokens that can be added.
    pub room: usize,
}

/// The draft of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The guesses in order, each with its probability given the ones before.
    pub guesses: &'a [Guess],
    /// How many at the beginning a grammar forces: their probabilities are the budget's own.
    pub forced: usize,
    /// Tokens of the sequence.
    pub context: usize,
}

/// What a step with drafts came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Tokens drafted.
    pub drafted: usize,
    /// Of these, accepted.
    pub accepted: usize,
    /// Seconds it took.
    pub seconds: f64,
}

/// Decides how much of every draft is verified, and learns from what comes of it.
#[derive(Clone, Debug)]
pub struct Budget {
    setting: Speculation,
    curve: StepCurve,
    /// In guesses that no grammar forces.
    trust: Trust,
    /// Whether any of these was put to the test in this step.
    tested: bool,
    forced_within: Rate,
    forced_last: Rate,
    account: Account,
    /// Guesses by the probability that they are reached and right, the most probable first.
    order: Vec<Candidate>,
    /// Tokens of each sequence.
    contexts: Vec<f64>,
    lengths: Vec<usize>,
    /// Tokens expected to be accepted of those that were allotted last.
    expected: f64,
}

/// A guess in 64 bits whose order is that of its worth: the bits of its probability (of numbers
/// that are not negative they grow with the number), then the earlier one in its draft, then the
/// earlier sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate(u64);

impl Candidate {
    fn new(reach: f32, index: u16, sequence: u16) -> Self {
        let place = u32::from(u16::MAX - index) << 16 | u32::from(u16::MAX - sequence);
        Self(u64::from(reach.to_bits()) << 32 | u64::from(place))
    }

    fn reach(self) -> f64 {
        f64::from(f32::from_bits((self.0 >> 32) as u32))
    }

    fn sequence(self) -> usize {
        usize::from(u16::MAX - self.0 as u16)
    }
}

impl Budget {
    /// A budget that knows nothing yet of the machine.
    pub fn new(setting: Speculation) -> Self {
        Self {
            setting,
            curve: StepCurve::default(),
            trust: Trust::default(),
            tested: false,
            forced_within: Rate::believed(FORCED_WITHIN.0, FORCED_WITHIN.1),
            forced_last: Rate::believed(FORCED_LAST.0, FORCED_LAST.1),
            account: Account::default(),
            order: Vec::new(),
            contexts: Vec::new(),
            lengths: Vec::new(),
            expected: 0.0,
        }
    }

    /// How drafts are chosen.
    pub fn setting(&self) -> Speculation {
        self.setting
    }

    /// What steps cost.
    pub fn curve(&self) -> &StepCurve {
        &self.curve
    }

    /// What steps cost, to be measured or observed.
    pub fn curve_mut(&mut self) -> &mut StepCurve {
        &mut self.curve
    }

    /// Probability of a token that a grammar forces, where it is `last` of a run of them or not.
    pub fn forced_probability(&self, last: bool) -> f32 {
        match last {
            true => self.forced_last.probability(),
            false => self.forced_within.probability(),
        }
    }

    /// The probability of being reached and right below which no guess can pay in this step that no
    /// grammar forces; above 1 if none can at all.
    pub fn least(&self, load: &Load) -> f32 {
        if self.setting != Speculation::Adaptive {
            return 0.0;
        }
        if self.account.is_overdrawn() || load.decodes == 0 {
            return f32::INFINITY;
        }
        // In the best step the last guess is worth more than its place costs, at a price of time
        // that no choice makes lower than it is without drafts.
        let context = load.contexts / load.decodes as f64;
        let base = load.decodes + load.prefill;
        let largest = base + load.room.min(MOST_TOKENS);
        let place = |tokens| {
            let (added, before) = ((tokens - base) as f64, load.contexts);
            let with = self.curve.seconds(tokens, before + added * context);
            with - self
                .curve
                .seconds(tokens - 1, before + (added - 1.0) * context)
        };
        let cheapest = (base + 1..=largest)
            .map(place)
            .fold(f64::INFINITY, f64::min);
        let price = load.decodes as f64 / self.curve.seconds(load.decodes, load.contexts);
        let least = (price * cheapest) as f32 / self.trust.factor();
        least.max(LEAST)
    }

    /// How many guesses of each draft are verified. The drafts are those of all sequences that
    /// decode and have any; at most 65,535 of them, and of each as many guesses, are looked at.
    ///
    /// Takes time and memory as the number of guesses; the memory is kept.
    pub fn allot<'a>(&mut self, drafts: impl Iterator<Item = Draft<'a>>, load: &Load) -> &[usize] {
        self.order.clear();
        self.contexts.clear();
        self.lengths.clear();
        // Those who have lost too much pause. What a grammar forces is not guessed by them.
        let pauses = self.setting == Speculation::Adaptive && self.account.is_overdrawn();
        let trust = if pauses { 0.0 } else { self.trust.factor() };
        for (sequence, draft) in drafts.take(usize::from(u16::MAX)).enumerate() {
            self.lengths.push(0);
            self.contexts.push(draft.context as f64);
            let mut reach = 1.0;
            for (index, guess) in (0..u16::MAX).zip(draft.guesses) {
                let trust = if usize::from(index) < draft.forced {
                    1.0
                } else {
                    trust
                };
                reach *= (guess.probability * trust).clamp(0.0, 1.0);
                // Also where a probability is not a number.
                if self.setting == Speculation::Adaptive && (reach <= 0.0 || reach.is_nan()) {
                    break;
                }
                let reach = if reach > 0.0 { reach } else { 0.0 };
                let candidate = Candidate::new(reach, index, sequence as u16);
                self.order.push(candidate);
            }
        }
        self.order.sort_unstable_by(|a, b| b.cmp(a));
        self.order.truncate(load.room);
        let count = match self.setting {
            Speculation::Adaptive => self.best(load),
            _ => self.order.len(),
        };
        self.expected = 0.0;
        for candidate in &self.order[..count] {
            self.lengths[candidate.sequence()] += 1;
            self.expected += candidate.reach();
        }
        &self.lengths
    }

    /// Tokens expected to be accepted of those that were allotted last.
    pub fn expected(&self) -> f64 {
        self.expected
    }

    /// How many of the ordered guesses make the step generate most tokens per second.
    fn best(&self, load: &Load) -> usize {
        if load.decodes == 0 {
            return 0;
        }
        let decodes = load.decodes as f64;
        let alone = decodes / self.curve.seconds(load.decodes, load.contexts);
        let (mut rate, mut count) = (alone * (1.0 + MARGIN), 0);
        let (mut tokens, mut contexts) = (decodes, load.contexts);
        for (index, candidate) in self.order.iter().enumerate() {
            tokens += candidate.reach();
            contexts += self.contexts[candidate.sequence()];
            let seconds = self.curve.seconds(load.decodes + index + 1, contexts);
            if tokens > rate * seconds {
                (rate, count) = (tokens / seconds, index + 1);
            }
        }
        if load.prefill == 0 {
            return count;
        }
        // The prompts' time is not spent on the tokens that are generated beside them. So a guess
        // is worth the time that its token takes in a step without prefill.
        let base = load.decodes + load.prefill;
        let without = self.curve.seconds(base, load.contexts);
        let (mut most, mut count) = (0.0, 0);
        let (mut expected, mut contexts) = (0.0, load.contexts);
        for (index, candidate) in self.order.iter().enumerate() {
            expected += candidate.reach();
            contexts += self.contexts[candidate.sequence()];
            let added = self.curve.seconds(base + index + 1, contexts) - without;
            if expected - rate * added > most {
                (most, count) = (expected - rate * added, index + 1);
            }
        }
        count
    }

    /// Takes note of a verified draft: how many of its guesses came true, and whether the next one
    /// was put to the test and did not. Of the forced ones, `within` are not the last of their run.
    pub fn learn(&mut self, draft: &Draft<'_>, within: usize, accepted: usize, refused: bool) {
        let tested = accepted + usize::from(refused);
        for (index, guess) in draft.guesses.iter().take(tested).enumerate() {
            let came_true = index < accepted;
            if index < within.min(draft.forced) {
                self.forced_within.note(came_true);
            } else if index < draft.forced {
                self.forced_last.note(came_true);
            } else {
                self.tested = true;
                self.trust
                    .note(guess.probability.clamp(0.0, 1.0), came_true);
            }
        }
    }

    /// Takes note of a step, after what came of its drafts.
    pub fn settle(&mut self, load: &Load, outcome: &Outcome) {
        if load.decodes == 0 {
            return;
        }
        if !std::mem::take(&mut self.tested) {
            self.trust.relax();
        }
        let context = load.contexts / load.decodes as f64;
        let alone = self.curve.seconds(load.decodes, load.contexts);
        let base = load.decodes + load.prefill;
        let contexts = load.contexts + outcome.drafted as f64 * context;
        let with = self.curve.seconds(base + outcome.drafted, contexts);
        let cost = with - self.curve.seconds(base, load.contexts);
        let saved = outcome.accepted as f64 * alone / load.decodes as f64;
        self.account.settle(outcome.seconds, alone, saved, cost);
    }
}

#[cfg(test)]
#[path = "budget/tests.rs"]
mod tests;
