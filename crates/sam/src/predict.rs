//! Blending what several sources know into one calibrated guess.
//!
//! Each source shows up to three contexts: the longest that occurred before, and shorter ones that
//! occurred more often. In each, a token's share of what followed becomes a probability by a table
//! that learns how often such a share was right, and a logistic mixer, which learns too, blends
//! these probabilities. This is the method of the PAQ compressors (Mahoney, "Adaptive Weighing of
//! Context Models for Lossless Data Compression", 2005) for tokens instead of bits. So a single
//! occurrence is as certain as single occurrences have proved to be, here and lately.

use crate::{DraftSource, Guess, Token};

/// Contexts of a source, at most. Six did not guess better than three.
pub(crate) const CONTEXTS: usize = 3;

/// Sources: what was said in the session, in past sessions, and in similar contexts; in the order
/// of [`DraftSource::ALL`].
pub(crate) const SOURCES: usize = 3;

/// Probabilities that are mixed, and a constant.
const INPUTS: usize = SOURCES * CONTEXTS + 1;

/// Tokens that are compared, at most: the most frequent and the last follower of each context. More
/// followers of each did not guess better.
const CANDIDATES: usize = 8;

/// Each weight at first: together they are somewhat more certain than one source alone.
const FIRST_WEIGHT: f32 = 0.2;

/// How fast the mixer learns. Between a quarter and twice of this, accepted tokens differ by less
/// than a hundredth.
const RATE: f32 = 0.02;

/// The constant input: it lets the mixer be more or less certain in general.
const BIAS: f32 = 0.3;

/// Outcomes after which a table's entry counts the newest as much as a running mean over so many.
const MEMORY: f32 = 400.0;

/// As how many outcomes the prior of a table's entry counts.
const PRIOR: f32 = 4.0;

/// No probability is closer to 0 or 1.
const LEAST: f32 = 0.001;

/// A text that occurred before, and what followed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// Its tokens.
    pub(crate) length: u32,
    /// How often something followed it.
    pub(crate) total: u32,
    /// What followed most often.
    pub(crate) best: Token,
    /// What followed last.
    pub(crate) recent: Token,
}

/// What a source knows at one position.
pub(crate) trait Source {
    /// Its contexts, longest first.
    fn contexts(&self) -> &[Context];

    /// How often `token` followed context `index`.
    fn count(&self, index: usize, token: Token) -> u32;
}

/// How probable each candidate was held to be, and why: kept until it is known what came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prediction {
    candidates: [Candidate; CANDIDATES],
    count: usize,
    /// Which of the weights by lengths were used.
    lengths: usize,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: Token,
    probability: f32,
    /// In which of the sources it came before, a bit for each.
    sources: u8,
    /// What each of the two mixers alone says.
    opinions: [f32; 2],
    /// Which of the weights by shares were used.
    shares: usize,
    /// Index of the table's entry for each context.
    entries: [u16; INPUTS - 1],
    /// The inputs of the mixer.
    inputs: [f32; INPUTS],
}

/// How often a token came in one kind of situation.
#[derive(Clone, Copy, Debug)]
struct Entry {
    probability: f32,
    /// The logarithm of its odds.
    stretched: f32,
    outcomes: f32,
}

/// Guesses the next token, and learns.
#[derive(Clone, Debug)]
pub(crate) struct Predictor {
    /// By context, its length, the token's share, the number of followers, and whether it was last.
    table: Vec<Entry>,
    /// By the lengths of the longest contexts of the session and of past ones.
    by_lengths: Vec<[f32; INPUTS]>,
    /// By the token's shares in the longest contexts of both, and in the session's next one.
    by_shares: Vec<[f32; INPUTS]>,
}

/// Classes of lengths, shares and totals: the last number of each, and in between what the prior
/// takes it for.
const LENGTHS: [u32; 9] = [1, 2, 3, 4, 6, 9, 14, 23, 47];
const TYPICAL_LENGTHS: [f32; 10] = [1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0, 18.0, 32.0, 64.0];
const TYPICAL_SHARES: [f32; 7] = [0.0, 0.1, 0.3, 0.5, 0.7, 0.85, 1.0];
const TOTALS: [u32; 4] = [1, 2, 5, 15];
const TYPICAL_TOTALS: [f32; 5] = [1.0, 2.0, 4.0, 9.0, 32.0];
/// Classes of the longest context, for the choice of weights; none is one of them.
const SET_LENGTHS: [u32; 7] = [0, 1, 2, 3, 5, 9, 19];
const SETS: usize = SET_LENGTHS.len() + 1;
/// Classes of a token's share, and one for no context.
const SHARES: usize = TYPICAL_SHARES.len() + 1;
/// An input that no context stands behind.
const UNUSED: u16 = u16::MAX;

impl Default for Candidate {
    fn default() -> Self {
        Self {
            token: 0,
            probability: 0.0,
            sources: 0,
            opinions: [0.0; 2],
            shares: 0,
            entries: [UNUSED; INPUTS - 1],
            inputs: [0.0; INPUTS],
        }
    }
}

impl Default for Predictor {
    fn default() -> Self {
        let mut table = Vec::new();
        for _ in 0..INPUTS - 1 {
            for length in TYPICAL_LENGTHS {
                for share in TYPICAL_SHARES {
                    for total in TYPICAL_TOTALS {
                        // A short context's followers are other contexts' too.
                        let prior = (share * total + 0.02) / (total + 0.04 + 4.0 / length);
                        table.extend([Entry::of(prior); 2]);
                    }
                }
            }
        }
        Self {
            table,
            by_lengths: vec![[FIRST_WEIGHT; INPUTS]; SETS * SETS],
            by_shares: vec![[FIRST_WEIGHT; INPUTS]; SHARES.pow(3)],
        }
    }
}

impl Entry {
    fn of(probability: f32) -> Self {
        let probability = probability.clamp(LEAST, 1.0 - LEAST);
        Self {
            probability,
            stretched: (probability / (1.0 - probability)).ln(),
            outcomes: 0.0,
        }
    }

    fn learn(&mut self, outcome: f32) {
        let outcomes = (self.outcomes + 1.0).min(MEMORY);
        let step = (outcome - self.probability) / (outcomes + PRIOR);
        *self = Self {
            outcomes,
            ..Self::of(self.probability + step)
        };
    }
}

/// The index of the first class that holds `value`.
fn class(bounds: &[u32], value: u32) -> usize {
    bounds.iter().take_while(|bound| **bound < value).count()
}

/// The class of a token's share of what followed.
fn share(count: u32, total: u32) -> usize {
    match count {
        0 => 0,
        _ if count >= total => TYPICAL_SHARES.len() - 1,
        _ => 1 + (count * 5 / total) as usize,
    }
}

/// The table's entry for a token with this share of what followed `context`.
fn entry(input: usize, context: &Context, share: usize, last: bool) -> usize {
    let mut index = input * TYPICAL_LENGTHS.len() + class(&LENGTHS, context.length);
    index = index * TYPICAL_SHARES.len() + share;
    index = index * TYPICAL_TOTALS.len() + class(&TOTALS, context.total);
    index * 2 + usize::from(last)
}

/// The probability with these logarithmic odds.
fn squash(odds: f32) -> f32 {
    (1.0 / (1.0 + (-odds).exp())).clamp(LEAST, 1.0 - LEAST)
}

impl Predictor {
    /// The most probable next token with its probability; none if no source knows anything.
    /// `prediction` is what [`learn`](Self::learn) needs once the truth is known.
    pub(crate) fn predict(
        &self,
        sources: [&dyn Source; SOURCES],
        prediction: &mut Prediction,
    ) -> Option<Guess> {
        prediction.count = 0;
        let longest = |source: &dyn Source| source.contexts().first().map_or(0, |it| it.length);
        let [session, past] = [0, 1].map(|source| class(&SET_LENGTHS, longest(sources[source])));
        prediction.lengths = session * SETS + past;
        for source in sources {
            let contexts = source.contexts();
            for context in contexts {
                prediction.consider(context.best);
                prediction.consider(context.recent);
            }
        }
        let weights = &self.by_lengths[prediction.lengths];
        let mut top: Option<&Candidate> = None;
        for candidate in &mut prediction.candidates[..prediction.count] {
            self.assess(candidate, sources, weights);
            if top.is_none_or(|top| candidate.probability > top.probability) {
                top = Some(candidate);
            }
        }
        top.map(|top| Guess {
            token: top.token,
            probability: top.probability,
            source: self.source(top, weights),
        })
    }

    /// What speaks most for a candidate: of the sources in which it came before, the one that
    /// raises its odds most.
    fn source(&self, candidate: &Candidate, by_lengths: &[f32; INPUTS]) -> DraftSource {
        let by_shares = &self.by_shares[candidate.shares];
        let mut most = (f32::NEG_INFINITY, DraftSource::default());
        for (number, source) in DraftSource::ALL.into_iter().take(SOURCES).enumerate() {
            if candidate.sources & (1 << number) == 0 {
                continue;
            }
            let inputs = number * CONTEXTS..(number + 1) * CONTEXTS;
            let odds = inputs.map(|at| candidate.inputs[at] * (by_lengths[at] + by_shares[at]));
            let odds = odds.sum();
            if odds > most.0 {
                most = (odds, source);
            }
        }
        most.1
    }

    fn assess(
        &self,
        candidate: &mut Candidate,
        sources: [&dyn Source; SOURCES],
        weights: &[f32; INPUTS],
    ) {
        let mut shares = [SHARES - 1; INPUTS];
        for (number, source) in sources.into_iter().enumerate() {
            for (index, context) in source.contexts().iter().enumerate() {
                let input = number * CONTEXTS + index;
                let count = source.count(index, candidate.token);
                candidate.sources |= u8::from(count > 0) << number;
                let last = context.recent == candidate.token;
                let share = share(count, context.total);
                let entry = entry(input, context, share, last);
                candidate.entries[input] = entry as u16;
                candidate.inputs[input] = self.table[entry].stretched;
                shares[input] = share;
            }
        }
        candidate.inputs[INPUTS - 1] = BIAS;
        let [session, shorter, past] = [0, 1, CONTEXTS].map(|input| shares[input]);
        candidate.shares = (session * SHARES + shorter) * SHARES + past;
        let weights = [weights, &self.by_shares[candidate.shares]];
        let sums = weights.map(|weights| {
            let products = candidate.inputs.iter().zip(weights);
            products.map(|(input, weight)| input * weight).sum::<f32>()
        });
        candidate.opinions = sums.map(squash);
        candidate.probability = squash(f32::midpoint(sums[0], sums[1]));
    }

    /// Learns that `truth` came where `prediction` was made.
    pub(crate) fn learn(&mut self, prediction: &Prediction, truth: Token) {
        for candidate in &prediction.candidates[..prediction.count] {
            let outcome = if candidate.token == truth { 1.0 } else { 0.0 };
            let mixers = [
                &mut self.by_lengths[prediction.lengths],
                &mut self.by_shares[candidate.shares],
            ];
            for (weights, opinion) in mixers.into_iter().zip(candidate.opinions) {
                let error = outcome - opinion;
                for (weight, input) in weights.iter_mut().zip(candidate.inputs) {
                    *weight += RATE * error * input;
                }
            }
            for entry in candidate.entries {
                if let Some(entry) = self.table.get_mut(usize::from(entry)) {
                    entry.learn(outcome);
                }
            }
        }
    }
}

impl Prediction {
    fn consider(&mut self, token: Token) {
        let known = &self.candidates[..self.count];
        let full = self.count == CANDIDATES;
        if !full && known.iter().all(|candidate| candidate.token != token) {
            self.candidates[self.count] = Candidate {
                token,
                ..Candidate::default()
            };
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One context, with the counts of tokens 0, 1, ...
    struct Table(Vec<Context>, Vec<u32>);

    impl Source for Table {
        fn contexts(&self) -> &[Context] {
            &self.0
        }

        fn count(&self, _index: usize, token: Token) -> u32 {
            self.1.get(token as usize).copied().unwrap_or(0)
        }
    }

    fn table(length: u32, counts: &[u32]) -> Table {
        let most = counts.iter().max().copied().unwrap_or(0);
        let best = counts.iter().position(|count| *count == most).unwrap_or(0) as Token;
        let context = Context {
            length,
            total: counts.iter().sum(),
            best,
            recent: best,
        };
        Table(vec![context], counts.to_vec())
    }

    #[test]
    fn every_situation_has_an_entry_of_its_own() {
        let predictor = Predictor::default();
        let mut seen = std::collections::HashSet::new();
        for input in 0..INPUTS - 1 {
            for length in TYPICAL_LENGTHS {
                for total in TYPICAL_TOTALS {
                    let total = total as u32;
                    for count in 0..=total {
                        let context = Context {
                            length: length as u32,
                            total,
                            ..Context::default()
                        };
                        for last in [false, true] {
                            let share = share(count, total);
                            seen.insert(entry(input, &context, share, last));
                        }
                    }
                }
            }
        }
        assert!(seen.iter().all(|entry| *entry < predictor.table.len()));
        assert!(predictor.table.len() < usize::from(UNUSED));
        // Totals of 1 and 2 have no shares between none and all, or but one.
        assert!(seen.len() > predictor.table.len() / 2);
    }

    #[test]
    fn longer_and_more_frequent_is_more_probable_from_the_start() {
        let predictor = Predictor::default();
        let nothing = Table(Vec::new(), Vec::new());
        let probability = |source: &Table| {
            let top = predictor.predict([source, &nothing, &nothing], &mut Prediction::default());
            top.expect("a candidate").probability
        };
        assert!(probability(&table(20, &[1])) > probability(&table(2, &[1])));
        assert!(probability(&table(4, &[20])) > probability(&table(4, &[1])));
        assert!(probability(&table(4, &[20])) > probability(&table(4, &[12, 8])));
        let top = predictor.predict([&nothing, &nothing, &nothing], &mut Prediction::default());
        assert_eq!(top, None);
    }

    #[test]
    fn probabilities_become_what_really_happens() {
        let mut predictor = Predictor::default();
        let (sure, unsure) = (table(8, &[5]), table(2, &[3, 3]));
        let nothing = Table(Vec::new(), Vec::new());
        let mut prediction = Prediction::default();
        for round in 0..4000 {
            predictor.predict([&sure, &nothing, &nothing], &mut prediction);
            predictor.learn(&prediction, u32::from(round % 5 == 0));
            predictor.predict([&unsure, &nothing, &nothing], &mut prediction);
            predictor.learn(&prediction, if round % 10 == 0 { 0 } else { 9 });
        }
        let mut at =
            |source: &Table| predictor.predict([source, &nothing, &nothing], &mut prediction);
        let guess = at(&sure).expect("a candidate");
        assert_eq!(guess.token, 0);
        assert!((guess.probability - 0.8).abs() < 0.05, "{guess:?}");
        let guess = at(&unsure).expect("a candidate");
        assert!((guess.probability - 0.1).abs() < 0.05, "{guess:?}");
    }

    #[test]
    fn a_guess_names_the_source_that_speaks_most_for_it() {
        let predictor = Predictor::default();
        let nothing = Table(Vec::new(), Vec::new());
        // Each context of one source, tokens 0 or 1 after it.
        let (sure, doubtful, other) = (table(20, &[9]), table(2, &[1]), table(3, &[0, 1]));
        for (sources, expected) in [
            ([&sure, &nothing, &nothing], (0, DraftSource::Session)),
            ([&nothing, &sure, &nothing], (0, DraftSource::Corpus)),
            ([&nothing, &nothing, &sure], (0, DraftSource::Sparse)),
            ([&doubtful, &sure, &doubtful], (0, DraftSource::Corpus)),
            ([&sure, &doubtful, &doubtful], (0, DraftSource::Session)),
            // What speaks for another token does not carry this one.
            ([&other, &sure, &nothing], (0, DraftSource::Corpus)),
        ] {
            let sources = sources.map(|source| source as &dyn Source);
            let guess = predictor.predict(sources, &mut Prediction::default());
            let guess = guess.expect("a candidate");
            assert_eq!((guess.token, guess.source), expected);
        }
    }
}
