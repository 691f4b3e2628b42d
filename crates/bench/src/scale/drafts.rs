//! Drafts that are right as often as is asked for.

use std::collections::HashMap;

use agentinfer_engine::{
    Batch, DraftSource, Drafter, Entry, Guess, Model, Origin, SequenceId, SimModel, Token,
};

use super::device::timeless;

/// A drafter that knows what a [`SimModel`] will say, and errs on purpose.
pub(super) struct Knowing {
    model: SimModel,
    said: HashMap<u64, Said>,
    /// The probability that a guess is right.
    accept: f64,
    seed: u64,
}

/// A text: all of it but its last token is computed.
struct Said {
    computed: u32,
    last: Token,
}

impl Knowing {
    pub(super) fn new(accept: f64, seed: u64) -> Self {
        Self {
            // What was said lies in no cells.
            model: timeless(u32::MAX, u32::MAX, u32::MAX),
            said: HashMap::new(),
            accept,
            seed,
        }
    }
}

fn entry(id: u64, position: u32, token: Token, logits: bool) -> Entry {
    Entry {
        token,
        position,
        sequence: id as SequenceId,
        logits,
    }
}

/// Computes what follows in a text.
fn compute(model: &mut SimModel, entries: Vec<Entry>) {
    let outcome = model.forward(&Batch { entries });
    outcome.expect("texts are computed in order, and any number of tokens fits");
}

/// The most probable byte, the lowest among equals: what a greedy request says.
fn greedy(row: &[f32]) -> Token {
    let mut best = 0;
    for (token, logit) in row[..256].iter().enumerate() {
        if *logit > row[best] {
            best = token;
        }
    }
    best as Token
}

impl Drafter for Knowing {
    fn begin(&mut self, id: u64, _origin: Origin, prompt: &[Token]) {
        let said = Said {
            computed: 0,
            last: prompt[0],
        };
        self.said.insert(id, said);
        self.extend(id, &prompt[1..]);
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        let Some(said) = self.said.get_mut(&id) else {
            return;
        };
        let entries = tokens.iter().map(|&token| {
            let before = std::mem::replace(&mut said.last, token);
            said.computed += 1;
            entry(id, said.computed - 1, before, false)
        });
        let entries: Vec<Entry> = entries.collect();
        if !entries.is_empty() {
            compute(&mut self.model, entries);
        }
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        let Some(said) = self.said.get(&id).filter(|_| draft.is_empty()) else {
            return;
        };
        let (mut token, mut reach) = (said.last, 1.0);
        let guesses = (said.computed..).take(limit);
        for position in guesses {
            reach *= self.accept as f32;
            if reach < least {
                break;
            }
            compute(&mut self.model, vec![entry(id, position, token, true)]);
            token = greedy(self.model.logits(0));
            let place = self.seed ^ id.rotate_left(32) ^ u64::from(position);
            let right = fastrand::Rng::with_seed(place).f64() < self.accept;
            draft.push(Guess {
                token: if right { token } else { token ^ 1 },
                probability: self.accept as f32,
                source: DraftSource::Session,
            });
        }
        self.model.truncate(id as SequenceId, said.computed);
    }

    fn finish(&mut self, id: u64) {
        if self.said.remove(&id).is_some() {
            self.model.truncate(id as SequenceId, 0);
        }
    }
}
