//! Choosing the next token from a row of logits.

use rustc_hash::FxHashMap;
use toktrie::SimpleVob;

use crate::{Sampling, Token, TokenLogprob};

/// The sampler of one sequence: its settings, random source and what it has seen.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Sampling,
    random: fastrand::Rng,
    /// Occurrences in the generated text; kept only when a penalty needs them.
    generated: FxHashMap<Token, u32>,
    /// Tokens of the prompt; kept only for the repetition penalty.
    prompt: Vec<Token>,
}

/// Buffers that all sequences of an engine reuse.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    logits: Vec<f32>,
    candidates: Vec<(Token, f32)>,
}

impl Sampler {
    pub(crate) fn new(settings: Sampling, prompt: &[Token]) -> Self {
        let mut seen = Vec::new();
        if settings.repetition_penalty != 1.0 {
            seen = prompt.to_vec();
            seen.sort_unstable();
            seen.dedup();
        }
        let random = fastrand::Rng::with_seed(settings.seed);
        Self {
            settings,
            random,
            generated: FxHashMap::default(),
            prompt: seen,
        }
    }

    /// Chooses a token. `allowed` restricts the choice; it must not be empty.
    pub(crate) fn choose(
        &mut self,
        logits: &[f32],
        allowed: Option<&SimpleVob>,
        scratch: &mut Scratch,
    ) -> Token {
        let adjusted = if self.adjusts_logits() {
            scratch.logits.clear();
            scratch.logits.extend_from_slice(logits);
            self.adjust(&mut scratch.logits);
            &scratch.logits
        } else {
            logits
        };
        if self.settings.temperature <= 0.0 {
            return match allowed {
                None => argmax(adjusted),
                Some(allowed) => argmax_of(adjusted, allowed),
            };
        }
        let candidates = &mut scratch.candidates;
        candidates.clear();
        match allowed {
            None => candidates.extend((0..).zip(adjusted.iter().copied())),
            Some(allowed) => allowed.iter_set_entries(|index| {
                if let Some(&logit) = adjusted.get(index) {
                    candidates.push((index as Token, logit));
                }
            }),
        }
        self.draw(candidates)
    }

    /// Takes note of a token that was chosen.
    pub(crate) fn accept(&mut self, token: Token) {
        if self.penalises() {
            *self.generated.entry(token).or_default() += 1;
        }
    }

    /// How many alternatives to report with log-probabilities, if they are wanted.
    pub(crate) fn logprobs(&self) -> Option<u32> {
        self.settings.logprobs
    }

    fn penalises(&self) -> bool {
        let settings = &self.settings;
        settings.repetition_penalty != 1.0
            || settings.frequency_penalty != 0.0
            || settings.presence_penalty != 0.0
    }

    fn adjusts_logits(&self) -> bool {
        self.penalises() || !self.settings.logit_bias.is_empty()
    }

    fn adjust(&self, logits: &mut [f32]) {
        let settings = &self.settings;
        for &(token, bias) in &settings.logit_bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if settings.repetition_penalty != 1.0 {
            let fresh = self
                .generated
                .keys()
                .filter(|token| self.prompt.binary_search(token).is_err());
            for &token in self.prompt.iter().chain(fresh) {
                let logit = &mut logits[token as usize];
                let penalty = settings.repetition_penalty;
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
        for (&token, &count) in &self.generated {
            logits[token as usize] -=
                settings.frequency_penalty * count as f32 + settings.presence_penalty;
        }
    }

    /// Draws from the softmax of `candidates` after temperature, top-k, top-p and min-p.
    fn draw(&mut self, candidates: &mut Vec<(Token, f32)>) -> Token {
        let settings = &self.settings;
        let top_k = settings.top_k as usize;
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, by_logit);
            candidates.truncate(top_k);
        }
        let best = candidates
            .iter()
            .fold(f32::NEG_INFINITY, |best, (_, logit)| best.max(*logit));
        let mut total = 0.0;
        for (_, logit) in candidates.iter_mut() {
            *logit = ((*logit - best) / settings.temperature).exp();
            total += *logit;
        }
        if settings.top_p < 1.0 {
            total = keep_nucleus(candidates, settings.top_p * total);
        }
        if settings.min_p > 0.0 {
            // The best candidate's weight is 1 by construction.
            candidates.retain(|(_, weight)| *weight >= settings.min_p);
            total = candidates.iter().map(|(_, weight)| weight).sum();
        }
        let mut left = self.random.f32() * total;
        for &(token, weight) in candidates.iter() {
            left -= weight;
            if left < 0.0 {
                return token;
            }
        }
        // Rounding may leave a rest; the last candidate with any weight takes it.
        let last = candidates.iter().rev().find(|(_, weight)| *weight > 0.0);
        last.map_or(0, |(token, _)| *token)
    }
}

/// Keeps the fewest heaviest candidates whose weights reach `target`; returns their sum.
fn keep_nucleus(candidates: &mut Vec<(Token, f32)>, target: f32) -> f32 {
    // Sorting a whole vocabulary is slow and the nucleus is small: sort a growing head.
    let mut head = 64;
    loop {
        head = head.min(candidates.len());
        if head < candidates.len() {
            candidates.select_nth_unstable_by(head, by_logit);
        }
        candidates[..head].sort_unstable_by(by_logit);
        let mut sum = 0.0;
        for index in 0..head {
            sum += candidates[index].1;
            if sum >= target {
                candidates.truncate(index + 1);
                return sum;
            }
        }
        if head == candidates.len() {
            return sum;
        }
        head *= 8;
    }
}

/// Heaviest first; equal weights in order of token id, so that equal input gives equal output.
fn by_logit(a: &(Token, f32), b: &(Token, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The index of the largest logit, the lowest among equals.
fn argmax(logits: &[f32]) -> Token {
    // Two passes, each of which the compiler vectorises: the maximum, then its place.
    let best = logits
        .iter()
        .fold(f32::NEG_INFINITY, |best, &logit| best.max(logit));
    logits.iter().position(|&logit| logit == best).unwrap_or(0) as Token
}

fn argmax_of(logits: &[f32], allowed: &SimpleVob) -> Token {
    let mut best = (f32::NEG_INFINITY, 0);
    let mut first = true;
    allowed.iter_set_entries(|index| {
        if let Some(&logit) = logits.get(index)
            && (first || logit > best.0)
        {
            best = (logit, index as Token);
            first = false;
        }
    });
    best.1
}

/// Log-probability of `token` and of the `count` most probable tokens.
pub(crate) fn logprobs(logits: &[f32], token: Token, count: usize) -> TokenLogprob {
    let best = logits
        .iter()
        .fold(f32::NEG_INFINITY, |best, &logit| best.max(logit));
    let sum: f32 = logits.iter().map(|&logit| (logit - best).exp()).sum();
    let normaliser = best + sum.ln();
    let mut top: Vec<(Token, f32)> = Vec::new();
    if count > 0 {
        top.extend((0..).zip(logits.iter().copied()));
        let count = count.min(top.len());
        top.select_nth_unstable_by(count - 1, by_logit);
        top.truncate(count);
        top.sort_unstable_by(by_logit);
        top.iter_mut().for_each(|(_, logit)| *logit -= normaliser);
    }
    TokenLogprob {
        logprob: logits[token as usize] - normaliser,
        top,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampler(settings: Sampling) -> Sampler {
        Sampler::new(settings, &[])
    }

    fn histogram(settings: &Sampling, logits: &[f32], draws: u32) -> Vec<f64> {
        let mut sampler = sampler(settings.clone());
        let mut counts = vec![0u32; logits.len()];
        let mut scratch = Scratch::default();
        for _ in 0..draws {
            counts[sampler.choose(logits, None, &mut scratch) as usize] += 1;
        }
        counts
            .iter()
            .map(|&count| f64::from(count) / f64::from(draws))
            .collect()
    }

    /// The specification: sort everything, apply each rule in turn, normalise.
    fn oracle(settings: &Sampling, logits: &[f32]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        if settings.top_k > 0 {
            order.truncate(settings.top_k as usize);
        }
        let weight =
            |i: usize| f64::from((logits[i] - logits[order[0]]) / settings.temperature).exp();
        let total: f64 = order.iter().map(|&i| weight(i)).sum();
        let mut kept = Vec::new();
        let mut sum = 0.0;
        for &i in &order {
            kept.push(i);
            sum += weight(i) / total;
            if sum >= f64::from(settings.top_p) {
                break;
            }
        }
        kept.retain(|&i| weight(i) >= f64::from(settings.min_p));
        let total: f64 = kept.iter().map(|&i| weight(i)).sum();
        let mut probabilities = vec![0.0; logits.len()];
        kept.iter()
            .for_each(|&i| probabilities[i] = weight(i) / total);
        probabilities
    }

    #[test]
    fn draws_follow_the_specified_distribution() {
        let logits = [1.0, 3.0, 2.0, -1.0, 2.5, 0.0];
        let base = Sampling {
            temperature: 0.8,
            seed: 7,
            ..Sampling::default()
        };
        let cases = [
            base.clone(),
            Sampling {
                top_k: 3,
                ..base.clone()
            },
            Sampling {
                top_p: 0.7,
                ..base.clone()
            },
            Sampling {
                min_p: 0.2,
                ..base.clone()
            },
            Sampling {
                top_k: 4,
                top_p: 0.9,
                min_p: 0.3,
                temperature: 1.5,
                ..base
            },
        ];
        for settings in cases {
            let drawn = histogram(&settings, &logits, 40_000);
            for (drawn, expected) in drawn.iter().zip(oracle(&settings, &logits)) {
                // Four standard deviations of a binomial share at 40,000 draws are below 0.01.
                assert!(
                    (drawn - expected).abs() < 0.01,
                    "{settings:?}: {drawn} {expected}"
                );
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_tokens() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let settings = Sampling {
            temperature: 1.0,
            seed: 3,
            ..Sampling::default()
        };
        let draw = || {
            let mut sampler = sampler(settings.clone());
            let mut scratch = Scratch::default();
            (0..20)
                .map(|_| sampler.choose(&logits, None, &mut scratch))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }

    #[test]
    fn penalties_and_bias_change_the_greedy_choice() {
        let logits = [1.0, 1.5, 1.2];
        let cases = [
            (Sampling::default(), 1),
            (
                Sampling {
                    frequency_penalty: 0.4,
                    ..Sampling::default()
                },
                2,
            ),
            (
                Sampling {
                    presence_penalty: 0.4,
                    ..Sampling::default()
                },
                2,
            ),
            (
                Sampling {
                    repetition_penalty: 2.0,
                    ..Sampling::default()
                },
                2,
            ),
            (
                Sampling {
                    logit_bias: vec![(0, 5.0)],
                    ..Sampling::default()
                },
                0,
            ),
        ];
        for (settings, expected) in cases {
            let mut sampler = sampler(settings.clone());
            sampler.accept(1);
            let token = sampler.choose(&logits, None, &mut Scratch::default());
            assert_eq!(token, expected, "{settings:?}");
        }
    }

    proptest! {
        #[test]
        fn logprobs_are_a_distribution(logits in prop::collection::vec(-20.0f32..20.0, 1..80)) {
            let all = logprobs(&logits, 0, logits.len());
            let sum: f32 = all.top.iter().map(|(_, logprob)| logprob.exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-3);
            prop_assert!(all.top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
            prop_assert_eq!(argmax(&logits), all.top[0].0);
        }

        #[test]
        fn a_restricted_choice_is_allowed_and_the_best(
            logits in prop::collection::vec(-20.0f32..20.0, 64..=64),
            allowed in prop::collection::btree_set(0u32..64, 1..10),
            temperature in prop_oneof![Just(0.0f32), Just(1.0f32)],
        ) {
            let mut mask = SimpleVob::alloc(64);
            allowed.iter().for_each(|&token| mask.allow_token(token));
            let mut sampler = sampler(Sampling { temperature, ..Sampling::default() });
            let token = sampler.choose(&logits, Some(&mask), &mut Scratch::default());
            prop_assert!(allowed.contains(&token));
            if temperature == 0.0 {
                let best = allowed.iter().all(|&o| logits[o as usize] <= logits[token as usize]);
                prop_assert!(best);
            }
        }
    }
}
