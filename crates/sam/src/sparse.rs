//! What follows when one of the last tokens is another than before: a source of evidence for texts
//! made from a template, where names and numbers change and the rest does not.

use xxhash_rust::xxh3::xxh3_64;

use crate::Token;
use crate::predict::{CONTEXTS, Context, Source};

/// Which two tokens before the next one make a context, counted from its end; the ones between or
/// after may be any. (The sparse contexts of the PAQ compressors.)
const PAIRS: [[usize; 2]; CONTEXTS] = [[2, 3], [1, 3], [1, 4]];

/// The lengths by which the predictor tells these contexts apart: each has its class.
const LENGTHS: [u32; CONTEXTS] = [1, 3, 5];

/// Tokens that the contexts reach back.
pub(crate) const REACH: usize = 4;

/// Contexts held: 8 MiB, of some hundred thousand tokens.
const SLOTS: usize = 1 << 18;

/// Followers told apart in a context, the last ones.
const FOLLOWERS: usize = 4;

/// What followed lately in sparse contexts. Of a fixed size: what is rare gives way.
#[derive(Debug)]
pub(crate) struct Sparse {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// What is left of the context's hash.
    check: u32,
    /// The last one first.
    tokens: [Token; FOLLOWERS],
    counts: [u16; FOLLOWERS],
}

/// What is known after some tokens.
#[derive(Debug)]
pub(crate) struct View<'a> {
    slots: [&'a Slot; CONTEXTS],
    contexts: [Context; CONTEXTS],
    count: usize,
}

impl Default for Sparse {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
        }
    }
}

impl Slot {
    fn total(&self) -> u32 {
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }
}

impl Sparse {
    /// Learns that `token` followed `context`. What is learned with one `owner` is not known with
    /// another.
    pub(crate) fn learn(&mut self, owner: u64, context: &[Token], token: Token) {
        for index in 0..CONTEXTS {
            let Some((place, check)) = place(owner, context, index) else {
                return;
            };
            // The neighbour is the second choice; the rarer one gives way.
            let pair = [place, place ^ 1];
            let known = pair.into_iter().find(|at| self.slots[*at].check == check);
            let rarer = pair.into_iter().min_by_key(|at| self.slots[*at].total());
            let slot = &mut self.slots[known.or(rarer).unwrap_or(place)];
            if slot.check != check {
                *slot = Slot {
                    check,
                    ..Slot::default()
                };
            }
            let held = slot.tokens.iter().zip(slot.counts);
            let held = held.take_while(|(held, count)| *count > 0 && **held != token);
            let at = held.count().min(FOLLOWERS - 1);
            let count = match slot.tokens[at] == token {
                true => slot.counts[at].saturating_add(1),
                false => 1,
            };
            slot.tokens.copy_within(..at, 1);
            slot.counts.copy_within(..at, 1);
            (slot.tokens[0], slot.counts[0]) = (token, count);
        }
    }

    /// What is known after `context`.
    pub(crate) fn view(&self, owner: u64, context: &[Token]) -> View<'_> {
        let mut view = View {
            slots: [&self.slots[0]; CONTEXTS],
            contexts: [Context::default(); CONTEXTS],
            count: 0,
        };
        for (index, length) in LENGTHS.into_iter().enumerate() {
            let Some((place, check)) = place(owner, context, index) else {
                break;
            };
            let pair = [place, place ^ 1].map(|at| &self.slots[at]);
            let Some(slot) = pair.into_iter().find(|slot| slot.check == check) else {
                continue;
            };
            let followers = slot.tokens.iter().zip(slot.counts);
            let best = followers.max_by_key(|(_, count)| *count);
            view.slots[view.count] = slot;
            view.contexts[view.count] = Context {
                length,
                total: slot.total(),
                best: best.map_or(0, |(token, _)| *token),
                recent: slot.tokens[0],
            };
            view.count += 1;
        }
        view
    }
}

/// The slot of a context and what tells it from others there; none if it is too short.
fn place(owner: u64, context: &[Token], index: usize) -> Option<(usize, u32)> {
    let token = |back: usize| {
        let at = context.len().checked_sub(back)?;
        context.get(at).map(|token| u64::from(*token))
    };
    let [near, far] = PAIRS[index].map(token);
    let key = [owner, index as u64, near?, far?].map(u64::to_le_bytes);
    let key = xxh3_64(key.as_flattened());
    // No context looks like an empty slot.
    Some(((key as usize) % SLOTS, ((key >> 32) as u32).max(1)))
}

impl Source for View<'_> {
    fn contexts(&self) -> &[Context] {
        &self.contexts[..self.count]
    }

    fn count(&self, index: usize, token: Token) -> u32 {
        let slot = self.slots[index];
        let mut followers = slot.tokens.iter().zip(slot.counts);
        let follower = followers.find(|(held, _)| **held == token);
        follower.map_or(0, |(_, count)| u32::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(sparse: &Sparse, owner: u64, context: &[Token]) -> Vec<(u32, Token, u32)> {
        let view = sparse.view(owner, context);
        let contexts = view.contexts().iter().enumerate();
        let known = contexts.map(|(index, it)| (it.length, it.best, view.count(index, it.best)));
        known.collect()
    }

    #[test]
    fn a_template_is_recognised_round_what_changes() {
        let mut sparse = Sparse::default();
        for name in 100..105 {
            sparse.learn(1, &[1, 2, 3, name], 4);
            sparse.learn(1, &[2, 3, name, 4], 5);
        }
        assert_eq!(known(&sparse, 1, &[1, 2, 3, 999]), [(1, 4, 5)]);
        assert_eq!(known(&sparse, 1, &[2, 3, 999, 4]), [(3, 5, 5), (5, 5, 5)]);
        assert_eq!(known(&sparse, 2, &[1, 2, 3, 999]), []);
        assert_eq!(known(&sparse, 1, &[3]), []);
    }

    #[test]
    fn followers_are_counted_and_the_last_ones_stay() {
        let mut sparse = Sparse::default();
        for token in [7, 8, 8, 9, 7, 8] {
            sparse.learn(0, &[1, 2, 3], token);
        }
        let view = sparse.view(0, &[1, 2, 3]);
        let first = view.contexts()[0];
        assert_eq!((first.total, first.best, first.recent), (6, 8, 8));
        assert_eq!(
            [7, 8, 9, 10].map(|token| view.count(0, token)),
            [2, 3, 1, 0]
        );
        for token in 20..24 {
            sparse.learn(0, &[1, 2, 3], token);
        }
        let view = sparse.view(0, &[1, 2, 3]);
        assert_eq!(view.contexts()[0].recent, 23);
        assert_eq!(
            [8, 20, 21, 22, 23].map(|token| view.count(0, token)),
            [0, 1, 1, 1, 1]
        );
    }

    #[test]
    fn what_is_frequent_outlives_what_is_rare() {
        let mut sparse = Sparse::default();
        for _ in 0..20 {
            sparse.learn(0, &[1, 2, 3, 4], 5);
        }
        for token in 0..100_000 {
            sparse.learn(0, &[token, token + 7, token + 9, token + 11], token);
        }
        assert!(!known(&sparse, 0, &[1, 2, 3, 4]).is_empty());
    }
}
