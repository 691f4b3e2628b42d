//! Names of chunks: a chunk is known by everything that comes before it and in it.

use sha2::{Digest, Sha256};

use crate::Token;

/// Tokens in a chunk. A chunk is what is copied, stored and found as one: small, so that little
/// is computed again where two prompts part; large, so that each copy is worth its call.
pub(crate) const CHUNK_TOKENS: usize = 64;

/// The name of a chunk: a hash of the name of the chunk before it and of its tokens. It is
/// cryptographic because a name is all that keeps one client's cells from another's prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) [u8; 16]);

impl Key {
    /// What the first chunk of every sequence follows.
    pub(crate) const ROOT: Self = Self([0; 16]);

    /// The name of the chunk that holds `tokens` after this one.
    pub(crate) fn then(self, tokens: &[Token]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }

    /// The names after each whole chunk of `tokens`, the root first: entry `i` is what chunk `i`
    /// follows.
    pub(crate) fn chain(tokens: &[Token]) -> Vec<Self> {
        let mut chain = vec![Self::ROOT];
        let mut last = Self::ROOT;
        for chunk in tokens.chunks_exact(CHUNK_TOKENS) {
            last = last.then(chunk);
            chain.push(last);
        }
        chain
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
