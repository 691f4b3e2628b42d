//! Sealed segments: many documents (token sequences of past sessions) in one immutable image of
//! bytes, made to be memory-mapped and searched for what followed a context.
//!
//! All positions are sorted by the text that ends at them, read backwards: a suffix array of the
//! reversed text, capped at [`LONGEST_MATCH`] tokens and never reaching across a document's start.
//! In that order the occurrences of every suffix of a context are an interval, the interval of the
//! longer suffix lies within that of the shorter one, and all of them surround or adjoin the one
//! place where the context itself would be inserted. So one binary search finds everything, and
//! walking away from that place meets the longest matches first.
//!
//! # Format, version 1
//!
//! All numbers are little-endian and none is aligned. A token takes 3 bytes (u24); the separator
//! `0xFFFFFF` begins the text and ends each document. A *position* counts tokens from the start of
//! the text, a *rank* counts positions in sorted order. There is one for each token of a document.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `AISAMSEG` |
//! | u32 | format version: 1 |
//! | u32 | tokens of the text, separators included |
//! | u64 | bytes of the whole image |
//! | u64 | XXH3-64 of everything after these 32 bytes |
//! | u32 | documents |
//! | u32 | words of all signatures |
//! | 3 × u32 | frequent contexts of 1, 2 and 3 tokens |
//! | 3 × u32 | zero |
//! | u24 per token | the text |
//! | u32 per rank | *prefix array*: the positions in order |
//! | u24 per rank | *next*: the token after that position |
//! | 10 × u32 per context | *frequent contexts*: of 1, then of 2, then of 3 tokens |
//! | 4 × u24 per [`BLOCK`] ranks | *directory* |
//! | 4 × u24 per 64 blocks | *fences* |
//! | 3 × u32 per block | *firsts* |
//! | 5 × u32 per document | *documents* |
//! | u32 each | *signatures*: of each document in turn, sorted |
//! | u8 per rank | *common*: tokens in common with the rank before |
//!
//! - Positions that are equal as far as they are compared are sorted by falling position: the
//!   newest first.
//! - A context is frequent if it occurs [`FREQUENT`] times, and is left out if it occurs wherever
//!   its last tokens (one less) do. In order of rank: the first rank, the number of ranks, and the
//!   [`FOLLOWERS`] most frequent followers as (token, count), the most frequent first, those of
//!   equal count by token; unused ones are (0, 0).
//! - A block of the directory has the last 4 tokens up to its first position, backwards, and
//!   separators from the document's start on. The fences repeat those of every 64th block, closer
//!   together. The firsts are, for contexts of 1, 2 and 3 tokens, the index of the first frequent
//!   one that does not end before the block.
//! - A document has its first position, the tokens of its opening, its key (low and high half), and
//!   the index of the first word of its signature.
//!
//! That is 11 bytes per token, 3/8 for the directory, and what the frequent contexts take. The
//! followers could be looked up in the text, but each would cost a page of memory that is not in
//! the caches; with them, what a search lists lies in three places.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use self::layout::{Counts, HEADER, SEALED_FROM, View};
use crate::Token;

mod build;
mod layout;
mod search;
mod signature;
mod sort;

pub use self::build::{Builder, Document, build, merge};
pub use self::layout::{BLOCK, FORMAT_VERSION};
pub use self::search::{Follower, Found, Occurrence, Order};
pub use self::signature::{SIGNATURE_WORDS, features};

/// Tokens up to which contexts are compared. What agreed so long is hardly ever told apart by more,
/// and it must fit a byte.
pub const LONGEST_MATCH: usize = 64;

/// Occurrences from which on a context's followers are tabled: about as many as a search is asked
/// to list, so that what occurs less often can be counted from the list.
pub const FREQUENT: u32 = 32;

/// Followers that are tabled for a frequent context.
pub const FOLLOWERS: usize = 4;

/// Contexts of up to so many tokens are counted.
pub const ORDERS: usize = 3;

/// What is wrong with a segment, or with what it is to be built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The bytes begin with something else.
    #[error("this is no segment")]
    NotASegment,
    /// A later version of this program has written it.
    #[error("the segment has format {found}; this program reads up to {FORMAT_VERSION}")]
    Version {
        /// Its format version.
        found: u32,
    },
    /// Bytes are missing, or there are too many.
    #[error("the segment has {found} bytes instead of {expected}")]
    Length {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// Header and tables contradict each other.
    #[error("the segment's {0} are inconsistent")]
    Inconsistent(&'static str),
    /// The content is not what was written.
    #[error("the segment's content does not match its checksum")]
    Checksum,
    /// The content is as written, but was never a right one.
    #[error("the segment does not follow from its documents")]
    Content,
    /// A document contains a token beyond any vocabulary: tokens are stored in three bytes.
    #[error("token {0} cannot be stored")]
    Token(Token),
    /// More tokens than positions can count.
    #[error("more than {} tokens", build::MOST_TOKENS)]
    TooLong,
}

/// A sealed segment over its bytes: owned, borrowed or memory-mapped.
///
/// After [`open`](Self::open) every read is safe whatever the bytes are: damaged bytes give wrong
/// answers, never a panic.
#[derive(Clone, Debug)]
pub struct Segment<B> {
    bytes: B,
    counts: Counts,
}

impl<B: AsRef<[u8]>> Segment<B> {
    /// Opens the image in `bytes`, reading its header and its table of documents only.
    ///
    /// # Errors
    /// [`SegmentError::NotASegment`], [`SegmentError::Version`], [`SegmentError::Length`] or
    /// [`SegmentError::Inconsistent`].
    pub fn open(bytes: B) -> Result<Self, SegmentError> {
        let counts = Counts::read(bytes.as_ref())?;
        let segment = Self { bytes, counts };
        segment.view().check_documents()?;
        Ok(segment)
    }

    /// Reads everything once and compares its checksum.
    ///
    /// # Errors
    /// [`SegmentError::Checksum`]
    pub fn verify_checksum(&self) -> Result<(), SegmentError> {
        let bytes = self.bytes.as_ref();
        let stored = layout::checksum(bytes);
        let sealed = bytes.get(SEALED_FROM..).unwrap_or_default();
        let same = stored == Some(xxh3_64(sealed));
        same.then_some(()).ok_or(SegmentError::Checksum)
    }

    /// Checks everything: the checksum, and that building the documents again gives the same bytes.
    /// That takes as long, and as much memory, as [`build`].
    ///
    /// # Errors
    /// [`SegmentError::Checksum`] or [`SegmentError::Content`].
    pub fn verify(&self) -> Result<(), SegmentError> {
        self.verify_checksum()?;
        let mut again = Builder::default();
        let pushed = again.push_segment(self, |_| true);
        let same = pushed.is_ok() && again.finish(usize::MAX) == self.bytes.as_ref();
        same.then_some(()).ok_or(SegmentError::Content)
    }

    /// The image.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Tokens of all documents together.
    pub fn tokens(&self) -> usize {
        self.counts.ranks()
    }

    /// Number of documents, which are in the order in which they were added: oldest first.
    pub fn documents(&self) -> usize {
        self.counts.documents as usize
    }

    /// The key that `document` (an index) was given.
    pub fn key(&self, document: usize) -> Option<u64> {
        Some(self.view().document(document)?.key)
    }

    /// The positions of `document`'s tokens.
    pub fn span(&self, document: usize) -> Option<Range<u32>> {
        self.view().span(document)
    }

    /// The hashes of `document`'s characteristic [features], sorted: at most [`SIGNATURE_WORDS`].
    pub fn signature(&self, document: usize) -> impl Iterator<Item = u32> {
        let words = self.view().signature(document);
        words.iter().map(|word| u32::from_le_bytes(*word))
    }

    /// The token at `position`; none between documents and beyond the text.
    pub fn token(&self, position: u32) -> Option<Token> {
        // The text follows the header, so this needs no view: it is what following an occurrence
        // costs per token.
        let at = HEADER + size_of::<layout::Short>() * position as usize;
        let held = self.bytes.as_ref().get(at..)?.first_chunk()?;
        let token = layout::token(*held);
        (position < self.counts.text && token != layout::SEPARATOR).then_some(token)
    }

    /// The index of the document that has a token at `position`.
    pub fn document(&self, position: u32) -> Option<usize> {
        self.view().document_at(position)
    }

    /// Searches for what came before the next token: up to `most` occurrences of the longest
    /// suffixes of `context`, longest first, that a token of the same document follows. They
    /// replace what `out` held. Costs one binary search, and allocates only if `out` has to grow.
    pub fn search(&self, context: &[Token], most: usize, out: &mut Vec<Occurrence>) -> Found {
        self.view().search(context, most, out)
    }

    fn view(&self) -> View<'_> {
        View::new(self.bytes.as_ref(), self.counts)
    }
}
