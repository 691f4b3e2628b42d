//! What compression has done.

/// What AgentCompress has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompressStats {
    /// Requests that were served a view, and the tokens of their prompts as clients sent them and
    /// as models were given them.
    pub views: u64,
    /// Prompt tokens of these as clients sent them.
    pub full_tokens: u64,
    /// Prompt tokens of these as models were given them.
    pub served_tokens: u64,
    /// Results that were distilled.
    pub distilled: u64,
    /// Their tokens.
    pub original_tokens: u64,
    /// Tokens of the blocks that stand for them.
    pub block_tokens: u64,
    /// Texts of the distilling model that were rejected.
    pub rejected: u64,
    /// Sessions that are left alone after too many of these.
    pub breakers: u64,
    /// Views that took effect at a turn, resident.
    pub swaps: u64,
    /// Views that were given up because there was no room for their cells.
    pub gave_up: u64,
    /// Requests whose conversation was too long for their model and was shortened at once.
    pub fitted: u64,
    /// Seconds that these have waited for it.
    pub stall_seconds: f64,
    /// Originals that were recalled.
    pub recalls: u64,
    /// Handles that were not known.
    pub recall_misses: u64,
}
