//! What is characteristic of a document: a few hashed features of its opening that few others
//! share.
//!
//! Features are tokens and pairs of adjacent tokens. Of those that not more than half of the
//! segment's documents share, a document's signature samples by inverse document frequency, and
//! consistently: the hash that a feature is known by also draws its lot, so documents that share
//! features tend to keep the same ones (weighted min-wise sampling).

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::Token;

/// Features of a signature. The share of them that a new session has estimates what it has in
/// common with the document to within a tenth, in 128 bytes at most.
pub const SIGNATURE_WORDS: usize = 32;

/// Tokens at the end of an opening that are looked at: the question comes after the instructions,
/// and few questions are longer.
const LOOKED_AT: usize = 2048;

/// Fractional bits of a weight.
const FRACTION: u32 = 4;

/// The features of a session's first request: hashes, sorted, each once.
pub fn features(opening: &[Token]) -> Vec<u32> {
    let opening = &opening[opening.len().saturating_sub(LOOKED_AT)..];
    let single = opening.iter().map(|token| hash(&token.to_le_bytes()));
    let pairs = opening.iter().zip(opening.iter().skip(1));
    let pairs = pairs.map(|(first, second)| {
        let pair = u64::from(*first) | u64::from(*second) << 32;
        hash(&pair.to_le_bytes())
    });
    let mut features: Vec<u32> = single.chain(pairs).collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// The signatures of a segment's documents, each sorted.
pub(super) fn signatures(openings: &[&[Token]]) -> Vec<Vec<u32>> {
    let mut sharing: FxHashMap<u32, u32> = FxHashMap::default();
    for opening in openings {
        for feature in features(opening) {
            *sharing.entry(feature).or_default() += 1;
        }
    }
    let documents = openings.len() as u64;
    let signature = |opening: &&[Token]| {
        let lots = features(opening).into_iter().filter_map(|feature| {
            let sharing = u64::from(*sharing.get(&feature)?);
            let tells = sharing == 1 || 2 * sharing <= documents;
            let weight = weight(documents, sharing);
            tells.then(|| ((u64::from(feature) << u32::BITS) / weight, feature))
        });
        let mut lots: Vec<(u64, u32)> = lots.collect();
        lots.sort_unstable();
        lots.truncate(SIGNATURE_WORDS);
        let mut words: Vec<u32> = lots.into_iter().map(|(_, feature)| feature).collect();
        words.sort_unstable();
        words
    };
    openings.iter().map(signature).collect()
}

/// The binary logarithm of (documents + 1) / sharing, in sixteenths, at least one: in whole
/// numbers, so that every machine builds the same bytes.
fn weight(documents: u64, sharing: u64) -> u64 {
    let ratio = ((documents + 1) << 16) / sharing;
    let whole = ratio.ilog2();
    // The bits after the leading one approximate the logarithm's fraction.
    let fraction = (ratio >> (whole - FRACTION)) & ((1 << FRACTION) - 1);
    let logarithm = (u64::from(whole - 16) << FRACTION) + fraction;
    logarithm.max(1)
}

fn hash(bytes: &[u8]) -> u32 {
    (xxh3_64(bytes) >> 32) as u32
}
