//! Which drafted tokens a step verifies, and what is learned from it.

use agentinfer_sam::{
    Budget, Draft, DraftSource, Load, MOST_TOKENS, Outcome, Speculation, StepCurve, fates,
};

use crate::pace::Work;
use crate::planning::Turn;
use crate::sequence::{Forced, Reader, Sequence};
use crate::stats::{add, set};
use crate::{Batch, Engine, EngineError, Entry, Guess, Model, Token};

/// Sizes of steps that are measured, in tokens.
const SIZES: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/// Sizes up to this one are measured even if it takes longer than it should: those that a single
/// sequence with the longest draft needs.
const NEEDED: usize = 16;

/// Seconds that measuring should take: longer than this nobody wants to wait for a start.
const MEASURING_SECONDS: f64 = 2.0;

/// Seconds after which nothing more is measured at all: only a machine that does much else is so
/// slow, and what it shows then is not what steps cost.
const MOST_SECONDS: f64 = 2.0 * MEASURING_SECONDS;

/// Drafting in the step at hand.
pub(crate) struct Drafting {
    budget: Budget,
    /// The step without drafts.
    load: Load,
    drafted: usize,
    accepted: usize,
    /// Tokens that were expected to be accepted, in all steps.
    expected: f64,
    /// A draft's tokens, for a grammar to look at.
    tokens: Vec<Token>,
}

impl Drafting {
    pub(crate) fn new(setting: Speculation) -> Self {
        Self {
            budget: Budget::new(setting),
            load: Load::default(),
            drafted: 0,
            accepted: 0,
            expected: 0.0,
            tokens: Vec::new(),
        }
    }

    /// `count` tokens of a sequence that decodes, or of one that does not, are in the batch.
    pub(crate) fn added(&mut self, decodes: bool, count: usize) {
        match decodes {
            true => self.drafted += count - 1,
            false => self.load.prefill += count,
        }
    }
}

impl<M: Model> Engine<M> {
    /// What steps cost on this machine, as far as is known.
    pub fn step_curve(&self) -> &StepCurve {
        self.drafting.budget.curve()
    }

    /// Gives the sequences that decode (the first `decodes` turns, of which the longest tenure is
    /// `first`) the drafts that pay in this step.
    pub(crate) fn draft(&mut self, turns: &[Turn], decodes: usize, first: f64) {
        let now = self.model.now();
        let decoding = &turns[..decodes];
        let mut load = Load {
            prefill: self.foreseen_prefill(turns, decodes, first),
            ..Load::default()
        };
        for turn in decoding {
            let sequence = &mut self.running[turn.index];
            sequence.draft.clear();
            sequence.forced = Forced::default();
            if sequence.outbox.flush(now) == Reader::Ready {
                load.decodes += 1;
                load.contexts += sequence.tokens.len() as f64;
            }
        }
        let places = (self.limits.batch_tokens as usize).min(self.residency.free_cells() as usize);
        // Drafts displace nobody: neither from the batch nor from the cells.
        load.room = places.saturating_sub(decodes);
        if self.options.speculation != Speculation::Off && load.room > 0 {
            let least = self.drafting.budget.least(&load);
            for turn in decoding {
                if self.running[turn.index].outbox.is_empty() {
                    self.propose(turn.index, &load, least);
                }
            }
            let drafts = decoding.iter().map(|turn| {
                let sequence = &self.running[turn.index];
                as_draft(sequence, &sequence.draft)
            });
            let lengths = self.drafting.budget.allot(drafts, &load);
            for (turn, &length) in decoding.iter().zip(lengths) {
                self.running[turn.index].draft.truncate(length);
            }
            self.drafting.expected += self.drafting.budget.expected();
        }
        load.prefill = 0;
        let drafting = &mut self.drafting;
        (drafting.load, drafting.drafted, drafting.accepted) = (load, 0, 0);
    }

    /// Tokens of prompts that this step will compute, as far as can be told before room is made.
    fn foreseen_prefill(&self, turns: &[Turn], decodes: usize, first: f64) -> usize {
        let Some(next) = turns.get(decodes) else {
            return 0;
        };
        if decodes > 0 && next.tenure < first && self.pace.pauses() {
            return 0;
        }
        let left = turns[decodes..].iter();
        let left = left.map(|turn| self.uncomputed(&self.running[turn.index]));
        left.sum::<usize>().min(self.options.prefill_chunk)
    }

    /// Has what may follow in running sequence `index` proposed: first what its grammar forces,
    /// then what the drafter guesses, up to what the grammar refuses.
    fn propose(&mut self, index: usize, load: &Load, least: f32) {
        let sequence = &mut self.running[index];
        let context = sequence.tokens.len();
        let setting = self.drafting.budget.setting();
        let most = match setting {
            Speculation::Adaptive => self.options.max_draft,
            _ => setting.limit(context, load.decodes),
        };
        let context_left = self.limits.context_tokens as usize - context;
        // The step itself adds one token after the accepted ones.
        let tokens_left = sequence.max_tokens.saturating_sub(sequence.generated() + 1);
        let limit = most.min(load.room).min(context_left).min(tokens_left);
        if limit == 0 {
            return;
        }
        let matching = sequence.matching.as_ref();
        let mut ahead = matching.map(|matching| matching.look_ahead());
        if let Some(ahead) = ahead.as_mut().filter(|_| setting.drafts_forced()) {
            let said = sequence.tokens[sequence.prompt_tokens..].last();
            let forced = ahead.forced(&*self.vocabulary, said.copied());
            let last = forced.len().wrapping_sub(1);
            let guesses = forced.iter().take(limit).enumerate();
            sequence.draft.extend(guesses.map(|(place, &token)| Guess {
                token,
                probability: self.drafting.budget.forced_probability(place == last),
                source: DraftSource::Forced,
            }));
            sequence.forced = Forced {
                tokens: sequence.draft.len(),
                within: sequence.draft.len().min(last),
            };
        }
        let rest = limit - sequence.draft.len();
        if rest > 0 && least <= 1.0 {
            self.drafter
                .propose(sequence.id, rest, least, &mut sequence.draft);
            sequence.draft.truncate(limit);
        }
        if let Some(mut ahead) = ahead.filter(|_| !sequence.draft.is_empty()) {
            let tokens = &mut self.drafting.tokens;
            tokens.clear();
            tokens.extend(sequence.draft.iter().map(|guess| guess.token));
            sequence.draft.truncate(ahead.valid(tokens));
        }
    }

    /// Takes note of a forward pass: what it cost, beside what it should have.
    pub(crate) fn observe_step(&mut self, work: Work, seconds: f64) {
        let entries = &self.batch.entries;
        let contexts = entries.iter().map(|entry| f64::from(entry.position)).sum();
        let tokens = entries.len() as u32;
        match work {
            Work::Decode => self.costs.observe_decoding(tokens, seconds),
            Work::Prefill | Work::Both => self.costs.observe_step(tokens, contexts, seconds),
        }
        if self.options.speculation == Speculation::Off || work != Work::Decode {
            return;
        }
        let curve = self.drafting.budget.curve_mut();
        let expected = curve.seconds(entries.len(), contexts);
        curve.observe(entries.len(), contexts, seconds);
        let nanoseconds = |seconds: f64| (seconds * 1e9) as u64;
        add(&self.stats.decode_nanoseconds, nanoseconds(seconds));
        let counter = &self.stats.expected_decode_nanoseconds;
        add(counter, nanoseconds(expected));
    }

    /// Takes note of what came of a sequence's draft: how many tokens of it were accepted, and
    /// whether the next one was refused.
    pub(crate) fn learn_draft(
        &mut self,
        sequence: &Sequence,
        draft: &[Guess],
        accepted: usize,
        refused: bool,
    ) {
        let forced = sequence.forced.tokens.min(draft.len());
        add(&self.stats.drafted_tokens, draft.len() as u64);
        add(&self.stats.forced_tokens, forced as u64);
        add(&self.stats.accepted_tokens, accepted as u64);
        for fate in fates(draft, accepted, refused) {
            self.stats.acceptance.note(fate);
        }
        self.drafting.accepted += accepted;
        let within = sequence.forced.within;
        let draft = as_draft(sequence, draft);
        self.drafting
            .budget
            .learn(&draft, within, accepted, refused);
    }

    /// Takes note of what drafts came to in a step.
    pub(crate) fn settle_drafts(&mut self, seconds: f64) {
        if self.options.speculation == Speculation::Off {
            return;
        }
        let Drafting {
            budget,
            load,
            drafted,
            accepted,
            expected,
            ..
        } = &mut self.drafting;
        let outcome = Outcome {
            drafted: *drafted,
            accepted: *accepted,
            seconds,
        };
        budget.settle(load, &outcome);
        set(&self.stats.expected_accepted_tokens, *expected as u64);
    }

    /// Measures how long steps take by their number of tokens, so that drafts are chosen by it from
    /// the first request on. Takes some two seconds, less with a fast model, and nothing where
    /// there is no speculation; leaves no cells behind. Holds the device meanwhile. To be called
    /// before any request comes.
    ///
    /// # Errors
    /// [`EngineError::Model`] when the device fails.
    pub fn measure_steps(&mut self) -> Result<(), EngineError> {
        let limits = &self.limits;
        let most = limits.batch_tokens.min(limits.context_tokens) as usize;
        let most = most.min(MOST_TOKENS);
        if self.options.speculation == Speculation::Off || self.residency.used_cells() > 0 {
            return Ok(());
        }
        let _urgent = self.seat.foreground();
        let _turn = self.turn();
        // The first pass touches all weights for the first time.
        self.measure_step(1)?;
        let begin = self.model.now();
        let mut times: Vec<(usize, Vec<f64>)> = SIZES
            .into_iter()
            .filter(|&size| size <= most)
            .map(|size| (size, Vec::new()))
            .collect();
        // First what must be known, then the smallest again, in which most of all steps are, then
        // the largest that there is time for, and the smaller ones once more.
        let first = (0..times.len()).filter(|&index| SIZES[index] <= NEEDED);
        let again = (0..times.len()).filter(|&index| [1, 2, 4, 8].contains(&SIZES[index]));
        let rest = (0..times.len()).rev();
        let order: Vec<usize> = first.chain(again).chain(rest).collect();
        for index in order {
            let (size, times) = &mut times[index];
            let spent = self.model.now() - begin;
            let expected = self.step_curve().seconds(*size, 0.0);
            let must = *size <= NEEDED && times.is_empty() && spent < MOST_SECONDS;
            if must || spent + expected <= MEASURING_SECONDS {
                let seconds = self.measure_step(*size)?;
                self.drafting
                    .budget
                    .curve_mut()
                    .observe(*size, 0.0, seconds);
                times.push(seconds);
            }
        }
        let points: Vec<(usize, f64)> = times
            .iter_mut()
            .filter(|(_, times)| !times.is_empty())
            .map(|(size, times)| (*size, median(times)))
            .collect();
        let shown = points
            .iter()
            .map(|(size, seconds)| format!("{size}: {:.1}", seconds * 1e3));
        let shown = shown.collect::<Vec<_>>().join(", ");
        let seconds = self.model.now() - begin;
        tracing::info!(seconds, "milliseconds of a step by tokens: {shown}");
        *self.drafting.budget.curve_mut() = StepCurve::measured(&points);
        Ok(())
    }

    /// Seconds of a step of `tokens` tokens of an empty sequence, which is empty again afterwards.
    fn measure_step(&mut self, tokens: usize) -> Result<f64, EngineError> {
        let entry = |position: u32| Entry {
            token: position % self.limits.vocabulary,
            position,
            sequence: 0,
            logits: true,
        };
        let entries = (0..tokens as u32).map(entry).collect();
        let begin = self.model.now();
        let outcome = self.model.forward(&Batch { entries });
        let failed = |error: crate::ModelError| EngineError::Model(error.to_string());
        let seconds = outcome.map_err(failed).map(|()| {
            // A device that computes meanwhile is done when its logits can be read.
            self.model.logits(tokens - 1);
            self.model.now() - begin
        });
        self.model.truncate(0, 0);
        seconds
    }
}

fn as_draft<'a>(sequence: &Sequence, draft: &'a [Guess]) -> Draft<'a> {
    Draft {
        guesses: draft,
        forced: sequence.forced.tokens,
        context: sequence.tokens.len(),
    }
}

/// The middle one of some times, the lower of two: what disturbs a measurement makes it longer.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) / 2]
}
