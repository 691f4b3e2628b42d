//! What stands in the place of a result.

use agentinfer_protocol::{Message, Role};
use xxhash_rust::xxh3::xxh3_128;

use crate::Reject;

/// Hex digits of a handle: 48 bits. Among a million originals of one tenant two share a handle with
/// a probability of 0.2 %.
const HANDLE_DIGITS: usize = 12;

/// A distilled result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The original's [`handle`].
    pub handle: String,
    /// What the model reads: a line that names lengths and handle, then what was kept.
    pub text: String,
    /// Tokens of `text`.
    pub tokens: u32,
    /// Tokens of the original.
    pub original_tokens: u32,
}

/// Names an original: the same text has the same handle, also after a restart.
///
/// ```
/// use agentinfer_compress::handle;
///
/// assert_eq!(handle("a result").len(), 12);
/// assert_ne!(handle("a result"), handle("another"));
/// ```
pub fn handle(text: &str) -> String {
    let digits = format!("{:032x}", xxh3_128(text.as_bytes()));
    digits[..HANDLE_DIGITS].to_owned()
}

impl Block {
    /// A block of what was kept of `original`.
    pub(crate) fn sealed(original: &Original<'_>, kept: &str, count: &dyn Fn(&str) -> u32) -> Self {
        let handle = handle(&original.text);
        let from = original.tokens;
        let write = |tokens: u32| {
            format!(
                "[distilled from {from} to {tokens} tokens; memory_recall(\"{handle}\") returns \
                 the original]\n{kept}"
            )
        };
        // The block states its own length, of which the digits are a part: the second guess is
        // right unless they became one more.
        let guess = count(&write(from));
        let text = write(guess);
        let tokens = count(&text);
        Self {
            handle,
            text,
            tokens,
            original_tokens: from,
        }
    }

    /// A block that says only where the original is.
    pub(crate) fn stub(original: &Original<'_>, count: &dyn Fn(&str) -> u32) -> Self {
        let handle = handle(&original.text);
        let text = format!(
            "[{} tokens left out; memory_recall(\"{handle}\") returns them]",
            original.tokens
        );
        Self {
            tokens: count(&text),
            handle,
            text,
            original_tokens: original.tokens,
        }
    }

    /// The block, if it is at most `most` tokens long.
    pub(crate) fn within(self, most: u32) -> Result<Self, Reject> {
        if self.tokens <= most {
            return Ok(self);
        }
        Err(Reject::NotShorter {
            tokens: self.tokens,
            original_tokens: self.original_tokens,
        })
    }
}

/// A result as it came.
pub(crate) struct Original<'a> {
    pub(crate) text: String,
    pub(crate) tokens: u32,
    /// The conversation that it is part of, and where.
    pub(crate) messages: &'a [Message],
    pub(crate) index: usize,
}

impl<'a> Original<'a> {
    pub(crate) fn of(
        messages: &'a [Message],
        index: usize,
        count: &dyn Fn(&str) -> u32,
    ) -> Result<Self, Reject> {
        let text = result(messages, index).ok_or(Reject::NoResult)?;
        Ok(Self {
            tokens: count(&text),
            text,
            messages,
            index,
        })
    }
}

/// The text of the result at `index`, if there is one.
pub(crate) fn result(messages: &[Message], index: usize) -> Option<String> {
    let message = messages.get(index)?;
    (message.role == Role::Tool).then(|| message.text())
}

/// Replaces a result by one line that says where it is: what is left when even the distilled blocks
/// do not fit.
///
/// # Errors
/// [`Reject::NoResult`] when there is no result at `index`, and [`Reject::NotShorter`] when it is
/// as short itself.
pub fn stub(
    messages: &[Message],
    index: usize,
    count: &dyn Fn(&str) -> u32,
) -> Result<Block, Reject> {
    let original = Original::of(messages, index, count)?;
    let most = original.tokens.saturating_sub(1);
    Block::stub(&original, count).within(most)
}
