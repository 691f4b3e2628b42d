//! The corpus: what past sessions said, in a few segments.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::Token;
use crate::segment::{Follower, ORDERS, Occurrence, SIGNATURE_WORDS, Segment, features};

/// Segments of a corpus that is merged as [`plan`] says. Each costs every search a binary search.
pub const MOST_SEGMENTS: usize = 3;

/// Tokens of the newest segment, which is built again whenever a session ends: a quarter of a
/// second's work. The next one has up to [`GROWTH`] times as many, the last one the rest.
const YOUNG_TOKENS: usize = 256 << 10;
const GROWTH: usize = 8;

/// Past sessions that count more than others in a search, at most: what retrieval usually takes,
/// and few enough to look through for each occurrence.
pub const MOST_SIMILAR: usize = 16;

/// How many others a session counts for whose signature the new one has in full.
const MOST_WEIGHT: f32 = 4.0;

/// Past sessions of one tenant and tokenizer, newest first. It never changes: whoever has one goes
/// on with it when the next one is published.
#[derive(Debug, Default)]
pub struct Corpus {
    segments: Vec<Arc<Segment<Bytes>>>,
    /// All documents of all segments.
    documents: Vec<Indexed>,
    /// Which documents' signatures have a feature: (feature, index in `documents`), sorted.
    postings: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Indexed {
    segment: u32,
    document: u32,
    /// What all features of its signature tell together.
    information: f32,
}

/// The documents of a [`Corpus`] that are most like a session which begins. Of use with that corpus
/// only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Similar {
    /// The most similar first, at most [`MOST_SIMILAR`].
    pub documents: Vec<SimilarDocument>,
}

/// A document that is like a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarDocument {
    /// Index of its segment.
    pub segment: u32,
    /// Its index in the segment.
    pub document: u32,
    /// Its positions there.
    pub positions: Range<u32>,
    /// How many others it counts for: 1 to 4.
    pub weight: f32,
}

/// An occurrence of a suffix of a context in a corpus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Index of its segment.
    pub segment: u32,
    /// The position of its last token there.
    pub position: u32,
    /// The token that followed, at the next position.
    pub next: Token,
    /// Tokens that it has in common with the context, backwards: at least 1.
    pub matched: u8,
    /// How many occurrences elsewhere it counts for, as its document is like the session: 1 to 4.
    pub weight: f32,
}

/// What is known of the last few tokens of a context, in all segments together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LowOrder {
    /// How often they occur.
    pub occurrences: u32,
    /// How many of these are in segments that have followers tabled; out of so many the followers
    /// were counted.
    pub tabled: u32,
    /// The most frequent followers, most frequent first. A segment tables a few of them only, so a
    /// count is a lower bound.
    pub followers: Vec<Follower>,
}

/// What a corpus knows about a context; to be used again for the next search.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Longest first; of equals the more similar first, then the newer.
    pub matches: Vec<Match>,
    /// The last one, two and three tokens.
    pub orders: [LowOrder; ORDERS],
    found: Vec<Occurrence>,
}

impl Corpus {
    /// A corpus of `segments`, newest first. Reads all signatures.
    pub fn new(segments: Vec<Arc<Segment<Bytes>>>) -> Self {
        let mut documents = Vec::new();
        let mut postings: Vec<(u32, u32)> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            for document in 0..segment.documents() {
                // A damaged segment may have more.
                let signature = segment.signature(document).take(SIGNATURE_WORDS);
                let indexed = documents.len() as u32;
                postings.extend(signature.map(|feature| (feature, indexed)));
                documents.push(Indexed {
                    segment: index as u32,
                    document: document as u32,
                    information: 0.0,
                });
            }
        }
        postings.sort_unstable();
        postings.dedup();
        let all = documents.len();
        for same in postings.chunk_by(|one, other| one.0 == other.0) {
            let information = information(all, same.len());
            for (_, document) in same {
                documents[*document as usize].information += information;
            }
        }
        Self {
            segments,
            documents,
            postings,
        }
    }

    /// The segments, newest first.
    pub fn segments(&self) -> &[Arc<Segment<Bytes>>] {
        &self.segments
    }

    /// Tokens of all documents.
    pub fn tokens(&self) -> usize {
        self.segments.iter().map(|segment| segment.tokens()).sum()
    }

    /// The documents most like a session that begins with `first_request`: those whose signature
    /// features it has, weighted by inverse document frequency.
    pub fn similar(&self, first_request: &[Token]) -> Similar {
        let all = self.documents.len();
        let mut scores = vec![0.0_f32; all];
        for feature in features(first_request) {
            let first = self.postings.partition_point(|(held, _)| *held < feature);
            let having = self.postings[first..].iter();
            let having = having.take_while(|(held, _)| *held == feature);
            let information = information(all, having.clone().count());
            for (_, document) in having {
                scores[*document as usize] += information;
            }
        }
        // As if each lacked one more: a signature of one or two features proves little.
        let doubt = information(all, 1);
        let scored = scores.iter().zip(&self.documents);
        let scored = scored.filter(|(score, _)| **score > 0.0);
        let mut scored: Vec<(f32, &Indexed)> = scored
            .map(|(score, it)| (score / (it.information + doubt), it))
            .collect();
        scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let weighed = scored.into_iter().take(MOST_SIMILAR);
        let weighed = weighed.map(|(share, it)| SimilarDocument {
            segment: it.segment,
            document: it.document,
            positions: self.segments[it.segment as usize]
                .span(it.document as usize)
                .unwrap_or_default(),
            weight: 1.0 + (MOST_WEIGHT - 1.0) * share,
        });
        Similar {
            documents: weighed.collect(),
        }
    }

    /// Searches all segments for what came before the next token: up to `most` occurrences of the
    /// longest suffixes of `context`, and how often its last few tokens occur. Replaces what `out`
    /// held, and allocates only if that has to grow.
    pub fn search(&self, context: &[Token], similar: &Similar, most: usize, out: &mut Evidence) {
        out.matches.clear();
        for order in &mut out.orders {
            (order.occurrences, order.tabled) = (0, 0);
            order.followers.clear();
        }
        for (index, segment) in self.segments.iter().enumerate() {
            let found = segment.search(context, most, &mut out.found);
            let segment = index as u32;
            let matches = out.found.iter().map(|occurrence| Match {
                segment,
                position: occurrence.position,
                next: occurrence.next,
                matched: occurrence.matched,
                weight: similar.weight(segment, occurrence.position),
            });
            out.matches.extend(matches);
            for (sum, order) in out.orders.iter_mut().zip(&found.orders) {
                sum.occurrences = sum.occurrences.saturating_add(order.occurrences);
                let Some(followers) = &order.followers else {
                    continue;
                };
                sum.tabled = sum.tabled.saturating_add(order.occurrences);
                followers.iter().for_each(|follower| sum.add(*follower));
            }
        }
        out.matches.sort_unstable_by(|one, other| {
            let longer = other.matched.cmp(&one.matched);
            let closer = other.weight.total_cmp(&one.weight);
            let newer = one.segment.cmp(&other.segment);
            let later = other.position.cmp(&one.position);
            longer.then(closer).then(newer).then(later)
        });
        out.matches.truncate(most);
        for order in &mut out.orders {
            let counts = |it: &Follower| (std::cmp::Reverse(it.count), it.token);
            order.followers.sort_unstable_by_key(counts);
        }
    }

    /// The token at `position` of a segment; none beyond a document's end.
    pub fn token(&self, segment: u32, position: u32) -> Option<Token> {
        self.segments.get(segment as usize)?.token(position)
    }
}

impl Similar {
    /// How much an occurrence at `position` of a segment counts for.
    pub fn weight(&self, segment: u32, position: u32) -> f32 {
        let holds =
            |it: &&SimilarDocument| it.segment == segment && it.positions.contains(&position);
        self.documents
            .iter()
            .find(holds)
            .map_or(1.0, |it| it.weight)
    }
}

impl LowOrder {
    fn add(&mut self, follower: Follower) {
        let same = |it: &&mut Follower| it.token == follower.token;
        match self.followers.iter_mut().find(same) {
            _ if follower.count == 0 => {}
            Some(held) => held.count = held.count.saturating_add(follower.count),
            None => self.followers.push(follower),
        }
    }
}

/// What a feature tells that so many of all documents have; nothing if most have it.
fn information(all: usize, having: usize) -> f32 {
    if having == 0 || (having > 1 && 2 * having > all) {
        return 0.0;
    }
    ((all + 1) as f32 / having as f32).ln()
}

/// What to do with new documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// How many of the segments, from the newest on, become one with the new documents.
    pub segments: usize,
    /// How many tokens it may hold; the oldest documents beyond them are dropped.
    pub most: usize,
}

/// Which segments to merge with documents of `new` tokens, when the corpus has segments of `sizes`
/// tokens, newest first, and may hold `most`.
///
/// Each segment belongs to a higher tier than the next newer one: up to 256 Ki tokens, up to 2 Mi,
/// more. So there are [`MOST_SEGMENTS`] at most, and a token is written again once in its young
/// tier per session that ends, and seldom later. A corpus that is full is merged into one and loses
/// an eighth, so that this is not needed for every session.
pub fn plan(sizes: &[usize], new: usize, most: usize) -> Merge {
    let all = sizes
        .iter()
        .fold(new, |sum, size| sum.saturating_add(*size));
    if all > most {
        return Merge {
            segments: sizes.len(),
            most: most - most / 8,
        };
    }
    let rising = |from: &usize| {
        let merged = sizes[..*from].iter().sum::<usize>() + new;
        let tiers = sizes[*from..].iter().map(|size| tier(*size));
        std::iter::once(tier(merged))
            .chain(tiers)
            .is_sorted_by(|one, next| one < next)
    };
    let segments = (0..sizes.len()).find(rising).unwrap_or(sizes.len());
    Merge { segments, most }
}

fn tier(tokens: usize) -> usize {
    match tokens {
        ..=YOUNG_TOKENS => 0,
        _ if tokens <= GROWTH * YOUNG_TOKENS => 1,
        _ => MOST_SEGMENTS - 1,
    }
}
