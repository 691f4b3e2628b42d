//! Where what lies in an image, and reading it without trust.

use std::ops::Range;

use super::{FOLLOWERS, ORDERS, SegmentError};
use crate::Token;

/// The format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Ranks per entry of the directory. A block of its prefix array is four cache lines; half as many
/// ranks would save one probe of a search and cost 3/8 byte per token.
pub const BLOCK: usize = 64;

/// Block keys per fence: three quarters of a kilobyte of the directory, so that the last steps of a
/// search in it stay on one page of memory.
pub(super) const FENCED: usize = 64;

/// The token between documents, and what is not less cannot be stored.
pub(super) const SEPARATOR: Token = 0x00FF_FFFF;
pub(super) const MAGIC: [u8; 8] = *b"AISAMSEG";
pub(super) const HEADER: usize = 64;
/// What the checksum is of begins here.
pub(super) const SEALED_FROM: usize = 32;
/// Tokens of a block's first position that the directory holds.
pub(super) const KEY: usize = 4;

/// A number in the image.
pub(super) type Word = [u8; 4];
/// A token of the text. Three bytes hold any vocabulary, and leave room for the followers.
pub(super) type Short = [u8; 3];
/// The last tokens up to a position, backwards, and separators from the document's start on.
pub(super) type Key = [Short; KEY];
/// First rank, number of ranks, and token and count of each follower.
pub(super) type Context = [Word; 2 + 2 * FOLLOWERS];
/// An index for each order.
pub(super) type Firsts = [Word; ORDERS];
/// First position, tokens of the opening, key (low, high), first word of the signature.
pub(super) type Row = [Word; 5];

/// The sizes that a header gives, which all other offsets follow from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) text: u32,
    pub(super) documents: u32,
    pub(super) signatures: u32,
    pub(super) contexts: [u32; ORDERS],
}

impl Counts {
    pub(super) fn ranks(&self) -> usize {
        (self.text as usize).saturating_sub(self.documents as usize + 1)
    }

    pub(super) fn blocks(&self) -> usize {
        self.ranks().div_ceil(BLOCK)
    }

    /// Bytes of the sections after the header, in order.
    fn sections(&self) -> [usize; 12] {
        let shorts = |count: usize| size_of::<Short>() * count;
        let words = |count: usize, words: usize| 4 * count * words;
        let contexts = |order: usize| words(self.contexts[order] as usize, 2 + 2 * FOLLOWERS);
        [
            shorts(self.text as usize),
            words(self.ranks(), 1),
            shorts(self.ranks()),
            contexts(0),
            contexts(1),
            contexts(2),
            shorts(self.blocks() * KEY),
            shorts(self.blocks().div_ceil(FENCED) * KEY),
            words(self.blocks(), ORDERS),
            words(self.documents as usize, 5),
            words(self.signatures as usize, 1),
            self.ranks(),
        ]
    }

    /// Bytes of the whole image.
    pub(super) fn bytes(&self) -> usize {
        HEADER + self.sections().iter().sum::<usize>()
    }

    /// Reads a header, and checks it against the number of bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(SegmentError::NotASegment);
        }
        let found = bytes.len() as u64;
        let cut = SegmentError::Length {
            expected: HEADER as u64,
            found,
        };
        let header = bytes.first_chunk::<HEADER>().ok_or(cut)?;
        let (words, _) = header.as_chunks::<4>();
        let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
        if word(2) != FORMAT_VERSION {
            return Err(SegmentError::Version { found: word(2) });
        }
        let counts = Self {
            text: word(3),
            documents: word(8),
            signatures: word(9),
            contexts: [word(10), word(11), word(12)],
        };
        let expected = u64::from(word(4)) | u64::from(word(5)) << 32;
        if expected != found {
            return Err(SegmentError::Length { expected, found });
        }
        let empty = counts.text <= counts.documents;
        if empty || counts.bytes() as u64 != found || (13..16).any(|index| word(index) != 0) {
            return Err(SegmentError::Inconsistent("sizes"));
        }
        Ok(counts)
    }

    /// The part of the header that the checksum covers.
    pub(super) fn sealed_header(&self) -> Vec<u8> {
        let words = [self.documents, self.signatures]
            .into_iter()
            .chain(self.contexts)
            .chain([0; 3]);
        words.flat_map(u32::to_le_bytes).collect()
    }
}

/// The checksum that an image holds.
pub(super) fn checksum(bytes: &[u8]) -> Option<u64> {
    let (_, checksum) = bytes.get(..SEALED_FROM)?.split_last_chunk::<8>()?;
    Some(u64::from_le_bytes(*checksum))
}

/// The sections of an image. Every read is checked.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) tokens: &'a [Short],
    pub(super) prefix: &'a [Word],
    pub(super) next: &'a [Short],
    pub(super) contexts: [&'a [Context]; ORDERS],
    pub(super) directory: &'a [Key],
    pub(super) fences: &'a [Key],
    pub(super) firsts: &'a [Firsts],
    pub(super) documents: &'a [Row],
    pub(super) signatures: &'a [Word],
    pub(super) common: &'a [u8],
}

/// A document as its table has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) opening: u32,
    pub(super) key: u64,
    pub(super) signature: u32,
}

impl<'a> View<'a> {
    /// The sections of `bytes`, empty where they are missing.
    pub(super) fn new(bytes: &'a [u8], counts: Counts) -> Self {
        let mut rest = bytes.get(HEADER..).unwrap_or_default();
        let sections = counts.sections().map(|length| {
            let (section, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            section
        });
        let [tokens, prefix, next, one, two, three, tables @ ..] = sections;
        let [directory, fences, firsts, documents, signatures, common] = tables;
        Self {
            tokens: shorts(tokens),
            prefix: words(prefix),
            next: shorts(next),
            contexts: [one, two, three].map(|section| words(section).as_chunks().0),
            directory: shorts(directory).as_chunks().0,
            fences: shorts(fences).as_chunks().0,
            firsts: words(firsts).as_chunks().0,
            documents: words(documents).as_chunks().0,
            signatures: words(signatures),
            common,
        }
    }

    /// The token after the position that has `rank`, if its document goes on.
    pub(super) fn next(&self, rank: usize) -> Option<Token> {
        let next = self.next.get(rank).map(|next| token(*next));
        next.filter(|next| *next != SEPARATOR)
    }

    /// The position that has `rank`; always one in the text.
    pub(super) fn position(&self, rank: usize) -> u32 {
        let word = self.prefix.get(rank);
        let position = word.map_or(0, |word| u32::from_le_bytes(*word));
        // Callers may go on from there without fear of overflow, in damaged segments too.
        position.min((self.tokens.len() as u32).saturating_sub(1))
    }

    pub(super) fn document(&self, index: usize) -> Option<Entry> {
        let [start, opening, low, high, signature] =
            self.documents.get(index)?.map(u32::from_le_bytes);
        Some(Entry {
            start,
            opening,
            key: u64::from(low) | u64::from(high) << 32,
            signature,
        })
    }

    /// The positions of a document's tokens.
    pub(super) fn span(&self, index: usize) -> Option<Range<u32>> {
        let start = self.document(index)?.start;
        let next = self.document(index + 1);
        let end = next.map_or(self.tokens.len() as u32, |next| next.start);
        // Before the next document, and at the end, there is a separator.
        Some(start..end.saturating_sub(1).max(start))
    }

    pub(super) fn document_at(&self, position: u32) -> Option<usize> {
        let begun = self
            .documents
            .partition_point(|row| u32::from_le_bytes(row[0]) <= position);
        let index = begun.checked_sub(1)?;
        self.span(index)?.contains(&position).then_some(index)
    }

    pub(super) fn signature(&self, index: usize) -> &'a [Word] {
        let begin = |index| Some(self.document(index)?.signature as usize);
        let end = begin(index + 1).unwrap_or(self.signatures.len());
        begin(index)
            .and_then(|begin| self.signatures.get(begin..end))
            .unwrap_or_default()
    }

    /// Checks that documents lie one after the other and fill the text.
    pub(super) fn check_documents(&self) -> Result<(), SegmentError> {
        let wrong = Err(SegmentError::Inconsistent("documents"));
        let (mut position, mut signature) = (1, 0);
        for index in 0..self.documents.len() {
            let (Some(entry), Some(span)) = (self.document(index), self.span(index)) else {
                return wrong;
            };
            let begins_here = entry.start == position && entry.signature >= signature;
            if !begins_here || span.is_empty() || entry.opening as usize > span.len() {
                return wrong;
            }
            position = span.end + 1;
            signature = entry.signature;
        }
        let fills = position as usize == self.tokens.len();
        if !fills || signature as usize > self.signatures.len() {
            return wrong;
        }
        Ok(())
    }
}

/// A token as it lies in the image.
pub(super) fn token([low, middle, high]: Short) -> Token {
    Token::from_le_bytes([low, middle, high, 0])
}

/// What tokens are sorted by: separators come first.
pub(super) fn sort_key(token: Token) -> u32 {
    (token + 1) & SEPARATOR
}

fn shorts(bytes: &[u8]) -> &[Short] {
    bytes.as_chunks().0
}

fn words(bytes: &[u8]) -> &[Word] {
    bytes.as_chunks().0
}
