//! Text to tokens and back.

use crate::Token;

/// A model's vocabulary: immutable and shared between threads, so that clients tokenize on their
/// own threads while the engine steps.
pub trait Vocabulary: Send + Sync {
    /// Number of tokens; ids are `0..len()`.
    fn len(&self) -> usize;

    /// Whether the vocabulary is empty (it never is for a loaded model).
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokenizes `text`. With `add_special` the tokens that the model expects around every text
    /// are added (usually begin-of-sequence); with `parse_special`, special tokens written out in
    /// the text (`<|im_start|>`) become the tokens they name.
    fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<Token>;

    /// The bytes that `token` stands for in text; empty for control tokens.
    fn bytes(&self, token: Token) -> &[u8];

    /// The name of `token` as it is written in templates (`<|im_end|>`); equal to
    /// [`bytes`](Self::bytes) for ordinary tokens.
    fn name(&self, token: Token) -> &[u8];

    /// Whether `token` ends generation.
    fn is_end_of_generation(&self, token: Token) -> bool;

    /// The token that begins a sequence, if the model has one.
    fn begin_of_sequence(&self) -> Option<Token>;

    /// The token that ends a turn or a text.
    fn end_of_sequence(&self) -> Option<Token>;

    /// The text of `tokens`, with control tokens left out and invalid UTF-8 replaced.
    fn detokenize(&self, tokens: &[Token]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|&token| self.bytes(token).iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
