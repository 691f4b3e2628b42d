//! Finding the place of a context in the prefix array, and what surrounds it.

use std::ops::Range;

use super::layout::{BLOCK, FENCED, Key, SEPARATOR, Short, View, sort_key, token};
use super::{FOLLOWERS, FREQUENT, LONGEST_MATCH, ORDERS};
use crate::Token;

/// Positions looked at per occurrence wanted. Documents tend to end alike, and what ends a document
/// has no follower, so some positions are passed over.
const LOOKS: usize = 4;

/// Where a suffix of the context occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occurrence {
    /// The position of its last token.
    pub position: u32,
    /// The token that followed, at the next position.
    pub next: Token,
    /// How many tokens it has in common with the context, backwards: 1 to [`LONGEST_MATCH`].
    pub matched: u8,
}

/// A token that follows a text, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    /// The token.
    pub token: Token,
    /// How often it follows; 0 in unused places.
    pub count: u32,
}

/// What is known of the last few tokens of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// How often they occur in this order, also where a document ends with them and nothing
    /// follows.
    pub occurrences: u32,
    /// The most frequent followers, most frequent first, if there are [`FREQUENT`] occurrences.
    pub followers: Option<[Follower; FOLLOWERS]>,
}

/// What a search tells beside the occurrences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The last one, two and three tokens.
    pub orders: [Order; ORDERS],
}

/// Where a context belongs.
struct Place {
    /// Its occurrences and what sorts after it begin at this rank.
    rank: usize,
    /// Tokens in common with the rank before, and with this one.
    before: usize,
    here: usize,
}

impl View<'_> {
    pub(super) fn search(
        &self,
        context: &[Token],
        most: usize,
        out: &mut Vec<Occurrence>,
    ) -> Found {
        out.clear();
        let context = &context[context.len().saturating_sub(LONGEST_MATCH)..];
        // Nothing that is stored crosses a document's start.
        let known = context.iter().rposition(|token| *token >= SEPARATOR);
        let context = &context[known.map_or(0, |at| at + 1)..];
        if context.is_empty() || self.prefix.is_empty() {
            return Found::default();
        }
        let place = self.place(context);
        self.list(&place, most, out);
        Found {
            orders: self.orders(&place),
        }
    }

    fn place(&self, context: &[Token]) -> Place {
        let mut place = Place {
            rank: 0,
            before: 0,
            here: 0,
        };
        place.narrow(0..self.fences.len(), |fence, from| {
            self.compare_key(self.fences.get(fence), fence * FENCED, context, from)
        });
        if let Some(last) = place.rank.checked_sub(1) {
            let within = last * FENCED + 1..(place.rank * FENCED).min(self.directory.len());
            place.narrow(within, |block, from| {
                self.compare_key(self.directory.get(block), block, context, from)
            });
        }
        if let Some(last) = place.rank.checked_sub(1) {
            let within = last * BLOCK + 1..(place.rank * BLOCK).min(self.prefix.len());
            place.narrow(within, |rank, from| {
                self.compare(self.position(rank), context, from)
            });
        }
        place
    }

    /// Compares the first position of a block, whose key is given, like [`compare`](Self::compare).
    fn compare_key(
        &self,
        key: Option<&Key>,
        block: usize,
        context: &[Token],
        from: usize,
    ) -> (usize, bool) {
        let held = key.into_iter().flatten().skip(from);
        let (matched, less) = part(held, context, from);
        match less {
            Some(less) => (matched, less),
            None => self.compare(self.position(block * BLOCK), context, matched),
        }
    }

    /// How many tokens up to `position` the context has in common with the text, backwards, and
    /// whether the text sorts before it; `from` of them are known to be the same.
    fn compare(&self, position: u32, context: &[Token], from: usize) -> (usize, bool) {
        let up_to = |end: usize| self.tokens.get(..end.checked_sub(from)?);
        let text = up_to(position as usize + 1).unwrap_or_default();
        let (matched, less) = part(text.iter().rev(), context, from);
        (matched, less.unwrap_or(matched < context.len()))
    }

    /// Walks away from the place, always to where more is in common.
    fn list(&self, place: &Place, most: usize, out: &mut Vec<Occurrence>) {
        let (mut left, mut right) = (place.rank, place.rank);
        let (mut before, mut here) = (place.before, place.here);
        for _ in 0..most.saturating_mul(LOOKS) {
            let matched = before.max(here);
            if matched == 0 || out.len() >= most {
                return;
            }
            let rank = if here >= before {
                let rank = right;
                right += 1;
                here = here.min(self.common(right));
                rank
            } else {
                left -= 1;
                before = before.min(self.common(left));
                left
            };
            if let Some(next) = self.next(rank) {
                out.push(Occurrence {
                    position: self.position(rank),
                    next,
                    matched: matched as u8,
                });
            }
        }
    }

    /// What the position at `rank` has in common with the rank before; nothing at the ends.
    fn common(&self, rank: usize) -> usize {
        let common = self.common.get(rank).copied().unwrap_or(0);
        usize::from(common).min(if rank == 0 { 0 } else { LONGEST_MATCH })
    }

    fn orders(&self, place: &Place) -> [Order; ORDERS] {
        let mut orders = [Order::default(); ORDERS];
        let matched = place.before.max(place.here);
        let rank = match place.here >= place.before {
            true => place.rank,
            false => place.rank - 1,
        };
        // Occurrences of a longer suffix are among those of a shorter one.
        let mut within = rank..rank + 1;
        for tokens in (1..=ORDERS.min(matched)).rev() {
            orders[tokens - 1] = self.frequent(tokens, rank).unwrap_or_else(|| {
                self.widen(&mut within, tokens);
                Order {
                    occurrences: within.len() as u32,
                    followers: None,
                }
            });
        }
        for longer in 1..ORDERS.min(matched) {
            let order = orders[longer];
            if order.followers.is_none() && order.occurrences >= FREQUENT {
                // It is not tabled, because it occurs wherever the shorter one does.
                orders[longer] = orders[longer - 1];
            }
        }
        orders
    }

    /// The context of so many tokens that the position at `rank` ends, if it is tabled.
    fn frequent(&self, tokens: usize, rank: usize) -> Option<Order> {
        let index = u32::from_le_bytes(self.firsts.get(rank / BLOCK)?[tokens - 1]);
        let contexts = self.contexts[tokens - 1].get(index as usize..)?;
        // No more of them can begin before the block's end: each has FREQUENT ranks or more.
        let contexts = contexts.iter().take(1 + BLOCK / FREQUENT as usize);
        for context in contexts {
            let [first, ranks, followers @ ..] = context.map(u32::from_le_bytes);
            if rank < first as usize {
                return None;
            }
            if rank - (first as usize) < ranks as usize {
                let (pairs, _) = followers.as_chunks::<2>();
                let mut found = [Follower::default(); FOLLOWERS];
                for (follower, [token, count]) in found.iter_mut().zip(pairs) {
                    (follower.token, follower.count) = (*token, *count);
                }
                return Some(Order {
                    occurrences: ranks,
                    followers: Some(found),
                });
            }
        }
        None
    }

    /// Widens a range of ranks to all that have so many tokens in common, until it is clear that
    /// they are frequent.
    fn widen(&self, within: &mut Range<usize>, tokens: usize) {
        while within.len() < FREQUENT as usize && self.common(within.start) >= tokens {
            within.start -= 1;
        }
        while within.len() < FREQUENT as usize && self.common(within.end) >= tokens {
            within.end += 1;
        }
    }
}

impl Place {
    /// Binary search in `candidates` for the first that does not sort before the context. `compare`
    /// gets the number of tokens that all candidates left have in common with it, and tells how
    /// many one has, and whether it sorts before it (the search of Manber and Myers).
    fn narrow(
        &mut self,
        candidates: Range<usize>,
        compare: impl Fn(usize, usize) -> (usize, bool),
    ) {
        let Range { mut start, mut end } = candidates;
        while start < end {
            let middle = start + (end - start) / 2;
            let (matched, less) = compare(middle, self.before.min(self.here));
            if less {
                start = middle + 1;
                self.before = matched;
            } else {
                end = middle;
                self.here = matched;
            }
        }
        self.rank = start;
    }
}

/// Compares tokens with those of a context, backwards, from its last but `from` on: how many are
/// the same, the first `from` included, and where they part before either ends, whether the tokens
/// sort before the context.
fn part<'a>(
    held: impl Iterator<Item = &'a Short>,
    context: &[Token],
    from: usize,
) -> (usize, Option<bool>) {
    let wanted = &context[..context.len().saturating_sub(from)];
    let mut matched = from;
    for (held, wanted) in held.zip(wanted.iter().rev()) {
        let held = token(*held);
        if held != *wanted {
            return (matched, Some(sort_key(held) < sort_key(*wanted)));
        }
        matched += 1;
    }
    (matched, None)
}
