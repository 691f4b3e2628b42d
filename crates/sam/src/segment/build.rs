//! Building images.

use std::cmp::Reverse;

use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::xxh3_64;

use super::layout::{
    BLOCK, Counts, FENCED, FORMAT_VERSION, HEADER, KEY, MAGIC, SEALED_FROM, SEPARATOR, token,
};
use super::search::Follower;
use super::signature::signatures;
use super::sort::{common_lengths, prefix_array};
use super::{FOLLOWERS, FREQUENT, ORDERS, Segment, SegmentError};
use crate::Token;

/// Tokens of a segment, separators included: far more than any corpus, few enough for every number
/// in the image to fit a word.
pub(super) const MOST_TOKENS: usize = 1 << 30;

/// A session's text to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// What it is called, for instance the session's id. Of documents with the same key the last
    /// one added replaces the others.
    pub key: u64,
    /// How many of the tokens are the first request, by which similar sessions are found; at most
    /// all.
    pub opening: usize,
    /// Its tokens.
    pub tokens: &'a [Token],
}

/// Builds the image of a segment from documents, oldest first. The same documents give the same
/// bytes.
///
/// # Errors
/// Those of [`Builder::push`].
pub fn build(documents: &[Document<'_>]) -> Result<Vec<u8>, SegmentError> {
    let mut builder = Builder::default();
    for document in documents {
        builder.push(*document)?;
    }
    Ok(builder.finish(usize::MAX))
}

/// Builds one image from the documents of several segments, oldest first, that `keep` (called with
/// their keys) wants to keep, of these the newest that have at most `most` tokens together.
///
/// # Errors
/// Those of [`Builder::push_segment`].
pub fn merge<B: AsRef<[u8]>>(
    segments: &[&Segment<B>],
    keep: impl Fn(u64) -> bool,
    most: usize,
) -> Result<Vec<u8>, SegmentError> {
    let mut builder = Builder::default();
    for segment in segments {
        builder.push_segment(segment, &keep)?;
    }
    Ok(builder.finish(most))
}

/// Collects documents, oldest first, and builds a segment from them.
///
/// Building takes at most 40 bytes of memory per token, the image included, and about a
/// microsecond.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// Each document followed by a separator.
    text: Vec<Token>,
    documents: Vec<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    key: u64,
    opening: usize,
    start: usize,
    tokens: usize,
}

impl Builder {
    /// Adds a document; an empty one is left out.
    ///
    /// # Errors
    /// [`SegmentError::Token`] or [`SegmentError::TooLong`]; the document is not added.
    pub fn push(&mut self, document: Document<'_>) -> Result<(), SegmentError> {
        let Document { key, opening, .. } = document;
        self.add(key, opening, document.tokens.iter().copied())
    }

    /// Adds those documents of a segment whose keys `keep` wants to keep.
    ///
    /// # Errors
    /// [`SegmentError::TooLong`], or [`SegmentError::Token`] if the segment is damaged; documents
    /// before the one that cannot be added are added.
    pub fn push_segment<B: AsRef<[u8]>>(
        &mut self,
        segment: &Segment<B>,
        keep: impl Fn(u64) -> bool,
    ) -> Result<(), SegmentError> {
        let view = segment.view();
        for index in 0..segment.documents() {
            let (Some(entry), Some(span)) = (view.document(index), view.span(index)) else {
                continue;
            };
            if keep(entry.key) {
                let span = span.start as usize..span.end as usize;
                let tokens = view.tokens.get(span).unwrap_or_default();
                let tokens = tokens.iter().map(|held| token(*held));
                self.add(entry.key, entry.opening as usize, tokens)?;
            }
        }
        Ok(())
    }

    /// Tokens of all documents added, those included that others will replace.
    pub fn tokens(&self) -> usize {
        self.text.len() - self.documents.len()
    }

    /// Builds the image of the newest documents that have at most `most` tokens together; one that
    /// has more by itself is left out.
    pub fn finish(mut self, most: usize) -> Vec<u8> {
        self.drop_old(most);
        self.image()
    }

    fn add(
        &mut self,
        key: u64,
        opening: usize,
        tokens: impl ExactSizeIterator<Item = Token>,
    ) -> Result<(), SegmentError> {
        let (start, length) = (self.text.len(), tokens.len());
        if length == 0 {
            return Ok(());
        }
        // One separator more stands before the first document.
        if start + length + 2 > MOST_TOKENS {
            return Err(SegmentError::TooLong);
        }
        self.text.extend(tokens);
        let unknown = self.text[start..].iter().find(|token| **token >= SEPARATOR);
        if let Some(token) = unknown.copied() {
            self.text.truncate(start);
            return Err(SegmentError::Token(token));
        }
        self.text.push(SEPARATOR);
        self.documents.push(Held {
            key,
            opening: opening.min(length),
            start,
            tokens: length,
        });
        Ok(())
    }

    /// Drops documents that later ones replace, and the oldest beyond `most` tokens.
    fn drop_old(&mut self, most: usize) {
        let mut known = FxHashSet::default();
        let mut left = most;
        let mut kept: Vec<Held> = Vec::with_capacity(self.documents.len());
        let newest_first = self.documents.iter().rev();
        let newest = newest_first.filter(|held| known.insert(held.key));
        for held in newest.filter(|held| held.tokens <= most) {
            let Some(rest) = left.checked_sub(held.tokens) else {
                break;
            };
            left = rest;
            kept.push(*held);
        }
        kept.reverse();
        let mut end = 0;
        for held in &mut kept {
            let old = held.start..held.start + held.tokens + 1;
            self.text.copy_within(old, end);
            held.start = end;
            end += held.tokens + 1;
        }
        self.text.truncate(end);
        self.documents = kept;
    }

    fn image(mut self) -> Vec<u8> {
        self.text.insert(0, SEPARATOR);
        let text = &self.text[..];
        let sorted = prefix_array(text);
        // The separators come first, and have no rank.
        let prefix = &sorted[self.documents.len() + 1..];
        let common = common_lengths(text, prefix);
        let contexts = [1, 2, 3].map(|tokens| contexts(text, prefix, &common, tokens));
        let openings = self.documents.iter().map(|held| {
            let start = held.start + 1;
            &text[start..start + held.opening]
        });
        let signatures = signatures(&openings.collect::<Vec<_>>());
        let counts = Counts {
            text: text.len() as u32,
            documents: self.documents.len() as u32,
            signatures: signatures.iter().map(|words| words.len() as u32).sum(),
            contexts: [0, 1, 2].map(|order: usize| contexts[order].len() as u32),
        };
        let mut image = Image::new(counts);
        image.tokens(text.iter());
        image.words(prefix);
        image.tokens(prefix.iter().map(|position| &text[*position as usize + 1]));
        contexts.iter().flatten().for_each(|it| image.context(it));
        directory(&mut image, text, prefix, &contexts);
        let mut begun = 0;
        for (held, words) in self.documents.iter().zip(&signatures) {
            let [start, opening] = [held.start + 1, held.opening].map(|number| number as u32);
            let [low, high] = [held.key as u32, (held.key >> 32) as u32];
            image.words(&[start, opening, low, high, begun]);
            begun += words.len() as u32;
        }
        signatures.iter().for_each(|words| image.words(words));
        image.bytes.extend(&common);
        image.seal()
    }
}

/// A context that occurs often.
struct Frequent {
    first: u32,
    ranks: u32,
    followers: [Follower; FOLLOWERS],
}

impl Frequent {
    fn end(&self) -> usize {
        self.first as usize + self.ranks as usize
    }
}

/// The contexts of so many tokens that are frequent, in order of rank, without those that occur
/// wherever their shorter suffix does: in text that repeats, these are most.
fn contexts(text: &[Token], prefix: &[u32], common: &[u8], tokens: u8) -> Vec<Frequent> {
    let mut found = Vec::new();
    let mut next: Vec<Token> = Vec::new();
    let mut first = 0;
    for rank in 1..=prefix.len() {
        if common.get(rank).is_some_and(|common| *common >= tokens) {
            continue;
        }
        let parts_shorter = |rank: usize| common.get(rank).is_none_or(|it| it + 1 < tokens);
        let is_shorter = tokens > 1 && parts_shorter(first) && parts_shorter(rank);
        if rank - first >= FREQUENT as usize && !is_shorter {
            let after = prefix[first..rank].iter().map(|at| text[*at as usize + 1]);
            next.clear();
            next.extend(after.filter(|token| *token != SEPARATOR));
            next.sort_unstable();
            found.push(Frequent {
                first: first as u32,
                ranks: (rank - first) as u32,
                followers: most_frequent(&next),
            });
        }
        first = rank;
    }
    found
}

/// The most frequent of sorted tokens.
fn most_frequent(tokens: &[Token]) -> [Follower; FOLLOWERS] {
    let mut best = [Follower::default(); FOLLOWERS];
    for same in tokens.chunk_by(|one, other| one == other) {
        let follower = Follower {
            token: same[0],
            count: same.len() as u32,
        };
        // Tokens come in rising order, so of equals the first stays before the next.
        if follower.count > best[FOLLOWERS - 1].count {
            best[FOLLOWERS - 1] = follower;
            best.sort_by_key(|follower| Reverse(follower.count));
        }
    }
    best
}

/// The last tokens up to `position`, as the directory has them.
fn key(text: &[Token], position: u32) -> [Token; KEY] {
    let backwards = text[..=position as usize].iter().rev();
    let held = backwards.take_while(|token| **token != SEPARATOR);
    let mut key = [SEPARATOR; KEY];
    for (key, token) in key.iter_mut().zip(held) {
        *key = *token;
    }
    key
}

fn directory(
    image: &mut Image,
    text: &[Token],
    prefix: &[u32],
    contexts: &[Vec<Frequent>; ORDERS],
) {
    for ranks in [BLOCK, BLOCK * FENCED] {
        for positions in prefix.chunks(ranks) {
            image.tokens(key(text, positions[0]).iter());
        }
    }
    let mut firsts = [0; ORDERS];
    for block in 0..prefix.len().div_ceil(BLOCK) {
        for (first, contexts) in firsts.iter_mut().zip(contexts) {
            let rest = contexts[*first..].iter();
            let ended = rest.take_while(|context| context.end() <= block * BLOCK);
            *first += ended.count();
        }
        image.words(&firsts.map(|first| first as u32));
    }
}

/// The bytes as they are written.
struct Image {
    counts: Counts,
    bytes: Vec<u8>,
}

impl Image {
    fn new(counts: Counts) -> Self {
        let mut bytes = Vec::with_capacity(counts.bytes());
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(counts.text.to_le_bytes());
        bytes.extend((counts.bytes() as u64).to_le_bytes());
        // The checksum's place.
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(counts.sealed_header());
        debug_assert_eq!(bytes.len(), HEADER);
        Self { counts, bytes }
    }

    fn words(&mut self, words: &[u32]) {
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        self.bytes.extend(words);
    }

    fn tokens<'a>(&mut self, tokens: impl Iterator<Item = &'a Token>) {
        for token in tokens {
            let [low, middle, high, _] = token.to_le_bytes();
            self.bytes.extend([low, middle, high]);
        }
    }

    fn context(&mut self, context: &Frequent) {
        self.words(&[context.first, context.ranks]);
        for follower in &context.followers {
            self.words(&[follower.token, follower.count]);
        }
    }

    fn seal(mut self) -> Vec<u8> {
        debug_assert_eq!(self.bytes.len(), self.counts.bytes());
        let checksum = xxh3_64(&self.bytes[SEALED_FROM..]).to_le_bytes();
        self.bytes[SEALED_FROM - checksum.len()..SEALED_FROM].copy_from_slice(&checksum);
        self.bytes
    }
}
