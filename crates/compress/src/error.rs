//! Why a result is left as it is.

/// Why a result is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// There is no tool result at this place of the conversation.
    #[error("there is no tool result at this place")]
    NoResult,
    /// The block is not short enough to pay.
    #[error("{tokens} instead of {original_tokens} tokens are not few enough")]
    NotShorter {
        /// Tokens of the block.
        tokens: u32,
        /// Tokens of the result.
        original_tokens: u32,
    },
    /// Nothing was written.
    #[error("nothing was written")]
    Empty,
    /// What was written lacks what the conversation has used, and there is no room to add it.
    #[error("it lost {}", .0.join(", "))]
    PinsLost(Vec<String>),
    /// What was written names what neither the result nor the conversation does.
    #[error("it invented {}", .0.join(", "))]
    Invented(Vec<String>),
}
