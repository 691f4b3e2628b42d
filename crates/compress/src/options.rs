//! When a conversation is compressed, and how far.

/// Tokens of a block's first line, about.
pub(crate) const FIRST_LINE_TOKENS: u32 = 32;

/// When a conversation is compressed, and how far. The fields that end a sentence with *ablation*
/// are switches of the published ablations.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Tokens of a conversation up to which it is left alone; the published trigger by default.
    pub trigger_tokens: u32,
    /// How many of the latest results stay verbatim. Results that the model has not read yet stay
    /// so too, unless this is 0: *ablation* without recent results.
    pub recent_results: usize,
    /// Results of fewer tokens are left alone: a block's first line and pins would eat the gain.
    pub least_tokens: u32,
    /// In the middle of a loop nothing is distilled until what could be is this share of the
    /// conversation (0 to 1): every change makes all that follows it be computed again.
    pub loop_share: f64,
    /// Share of its original that a block is meant to have below its first line (0 to 1).
    pub target_share: f64,
    /// Tokens that a block is meant to have there at most, however long its original.
    pub most_target_tokens: u32,
    /// Share of its original that a block may have at most (0 to 1); else it is refused.
    pub most_share: f64,
    /// Whether what the model said beside its calls is kept; *ablation* without reasoning.
    pub reasoning: bool,
    /// Whether blocks say more than where the original is; *ablation* without summary.
    pub summary: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trigger_tokens: 5_000,
            recent_results: 2,
            least_tokens: 150,
            loop_share: 0.1,
            target_share: 0.22,
            most_target_tokens: 700,
            most_share: 0.7,
            reasoning: true,
            summary: true,
        }
    }
}

impl Options {
    /// Tokens that the block of a result of `original` tokens is meant to have.
    pub(crate) fn target(&self, original: u32) -> u32 {
        let share = share_of(original, self.target_share);
        FIRST_LINE_TOKENS + share.min(self.most_target_tokens)
    }

    /// Tokens that the block of a result of `original` tokens may have.
    pub(crate) fn most(&self, original: u32) -> u32 {
        share_of(original, self.most_share)
    }
}

/// `share` of `tokens`, rounded down.
fn share_of(tokens: u32, share: f64) -> u32 {
    (f64::from(tokens) * share.clamp(0.0, 1.0)) as u32
}
