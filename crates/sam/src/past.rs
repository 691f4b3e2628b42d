//! What past sessions know at a place of a sequence that grows: a source of evidence from the
//! corpus.

use crate::predict::{CONTEXTS, Context, Source};
use crate::{Corpus, Evidence, Match, Similar, Token};

/// Occurrences that a search collects: enough to tell shares apart, few enough to scan.
const OCCURRENCES: usize = 12;

/// Tokens of the context that are compared, at most: as many as the segments have sorted.
const LONGEST: usize = 64;

/// While what agrees has at least so many tokens in common, it is followed instead of searched
/// anew: shorter contexts hardly say anything else then.
const FOLLOWED: u8 = 4;

/// A place in the corpus, and what followed there. Kept to be used again without allocating.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// The last tokens before the place.
    context: Vec<Token>,
    evidence: Evidence,
    contexts: [Context; CONTEXTS],
    /// How many of the matches belong to each context; or which order's table stands behind it.
    backing: [Backing; CONTEXTS],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
enum Backing {
    Matches(usize),
    Order(usize),
}

impl Default for Backing {
    fn default() -> Self {
        Self::Matches(0)
    }
}

impl Past {
    /// Goes to the place after `tokens` and `more`.
    pub(crate) fn begin(
        &mut self,
        corpus: &Corpus,
        similar: &Similar,
        tokens: &[Token],
        more: impl Iterator<Item = Token>,
    ) {
        self.context.clear();
        let from = tokens.len().saturating_sub(LONGEST);
        self.context.extend_from_slice(&tokens[from..]);
        self.context.extend(more);
        self.search(corpus, similar);
    }

    /// Goes where nothing is known.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
    }

    /// Goes on by one token.
    pub(crate) fn advance(&mut self, corpus: &Corpus, similar: &Similar, token: Token) {
        self.context.push(token);
        let longest = self.evidence.matches.iter().filter(|it| it.next == token);
        let longest = longest.map(|it| it.matched).max();
        if longest.is_none_or(|longest| longest < FOLLOWED) {
            return self.search(corpus, similar);
        }
        self.evidence.matches.retain_mut(|it| {
            if it.next != token {
                return false;
            }
            let Some(next) = corpus.token(it.segment, it.position + 2) else {
                return false;
            };
            *it = Match {
                position: it.position + 1,
                next,
                matched: it.matched.saturating_add(1),
                ..*it
            };
            true
        });
        for order in &mut self.evidence.orders {
            order.followers.clear();
        }
        self.gather();
    }

    fn search(&mut self, corpus: &Corpus, similar: &Similar) {
        let from = self.context.len().saturating_sub(LONGEST);
        let context = &self.context[from..];
        corpus.search(context, similar, OCCURRENCES, &mut self.evidence);
        self.gather();
    }

    /// Makes contexts of what was found: the longest one, and shorter ones that each occurred at
    /// least twice as often.
    fn gather(&mut self) {
        self.count = 0;
        let matches = &self.evidence.matches;
        let mut least = 1;
        let mut all = 0;
        for same in matches.chunk_by(|one, other| one.matched == other.matched) {
            all += same.len();
            if all >= least && self.count < CONTEXTS {
                let length = u32::from(same[0].matched);
                let (best, recent) = (most_frequent(&matches[..all]), matches[0].next);
                self.contexts[self.count] = Context {
                    length,
                    total: all as u32,
                    best,
                    recent,
                };
                self.backing[self.count] = Backing::Matches(all);
                self.count += 1;
                least = 2 * all;
            }
        }
        for (index, order) in self.evidence.orders.iter().enumerate().rev() {
            let Some(best) = order.followers.first() else {
                continue;
            };
            if self.count < CONTEXTS && order.tabled as usize >= least {
                self.contexts[self.count] = Context {
                    length: index as u32 + 1,
                    total: order.tabled,
                    best: best.token,
                    recent: best.token,
                };
                self.backing[self.count] = Backing::Order(index);
                self.count += 1;
                least = 2 * order.tabled as usize;
            }
        }
    }
}

/// The token that most matches go on with; of equals the one of the longer and newer match.
fn most_frequent(matches: &[Match]) -> Token {
    let mut best = (0, 0);
    for (index, it) in matches.iter().enumerate() {
        if matches[..index]
            .iter()
            .any(|earlier| earlier.next == it.next)
        {
            continue;
        }
        let count = matches[index..]
            .iter()
            .filter(|other| other.next == it.next);
        let count = count.count();
        if count > best.0 {
            best = (count, it.next);
        }
        if best.0 * 2 >= matches.len() {
            break;
        }
    }
    best.1
}

impl Source for Past {
    fn contexts(&self) -> &[Context] {
        &self.contexts[..self.count]
    }

    fn count(&self, index: usize, token: Token) -> u32 {
        match self.backing[index] {
            Backing::Matches(count) => {
                let matches = self.evidence.matches[..count].iter();
                matches.filter(|it| it.next == token).count() as u32
            }
            Backing::Order(order) => {
                let mut followers = self.evidence.orders[order].followers.iter();
                let follower = followers.find(|follower| follower.token == token);
                follower.map_or(0, |follower| follower.count)
            }
        }
    }
}
