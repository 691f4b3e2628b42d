//! The device behind the engine: one context that computes batches and holds KV cells.

use crate::Token;

/// A sequence of KV cells in the model, `0..ModelLimits::sequences`.
pub type SequenceId = u32;

/// What a model can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// KV cells (one per token), shared by all sequences.
    pub cells: u32,
    /// Sequences that can exist at once.
    pub sequences: u32,
    /// Tokens that one batch can hold.
    pub batch_tokens: u32,
    /// Tokens of one sequence.
    pub context_tokens: u32,
    /// Entries of a row of logits.
    pub vocabulary: u32,
}

/// One token to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The token.
    pub token: Token,
    /// Its position in the sequence, which must be the number of cells the sequence holds.
    pub position: u32,
    /// The sequence.
    pub sequence: SequenceId,
    /// Whether its logits are wanted.
    pub logits: bool,
}

/// The tokens of one forward pass. Tokens of one sequence stand together in order of position, and
/// sequences that decode, all of whose tokens want logits, before those that prefill.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The tokens.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// What a model that [attends in tiles](Model::attends_in_tiles) computes one after the other:
    /// what decodes, which may be nothing, then the rest. Together, the attention of one token that
    /// decodes would cost as much as that of a tile of them.
    pub fn passes(&self) -> [&[Entry]; 2] {
        let entries = &self.entries;
        let prompts = entries.iter().position(|entry| !entry.logits);
        let decodes = match entries.len() {
            // So few are not computed in tiles.
            0..TILE => 0,
            _ => prompts.unwrap_or(0),
        };
        let (decodes, prompts) = entries.split_at(decodes);
        [decodes, prompts]
    }
}

/// Tokens, and cells, of a tile of attention: `ggml_fa_tile_config` of llama.cpp.
pub const TILE: usize = 64;

/// A causal language model with a KV cache of shared cells.
///
/// Cells belong to one or more sequences. Prefixes are shared, never copied: after
/// `share(a, b, n)` the first `n` tokens of both are the same cells.
pub trait Model {
    /// What it can hold.
    fn limits(&self) -> ModelLimits;

    /// Computes a batch: a cell for every entry, and logits for those that want them.
    ///
    /// # Errors
    /// When the device fails. The engine then treats all cells of the batch's sequences as lost.
    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError>;

    /// The logits that entry `index` of the last batch asked for (`limits().vocabulary` values).
    fn logits(&self, index: usize) -> &[f32];

    /// Makes the first `tokens` cells of `from` also cells of `to`, which must be empty.
    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32);

    /// Shortens `sequence` to its first `tokens` cells; with 0 it is empty and its id unused.
    fn truncate(&mut self, sequence: SequenceId, tokens: u32);

    /// Whether batches of [`TILE`] tokens and more attend in tiles: so many tokens at a time, each
    /// to every tile of cells of which any of them needs one. Then a sequence whose cells lie among
    /// those of others pays for theirs, so the engine lays cells out anew from time to time. So
    /// does llama.cpp on a CPU.
    fn attends_in_tiles(&self) -> bool {
        false
    }

    /// What tells apart whether cells that were saved fit this model: its weights, the form of
    /// its cells, the version of what computes them. None, which it is unless implemented, if
    /// cells cannot be saved; then nothing is.
    fn saved_format(&self) -> Option<String> {
        None
    }

    /// Copies the cells of tokens `from..to` of `sequence` out of the device.
    ///
    /// # Errors
    /// When the device fails; nothing has changed then.
    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        let _ = (sequence, from, to);
        Err(ModelError("its cells cannot be saved".to_owned()))
    }

    /// Appends to `sequence`, which holds `from` tokens, `tokens` cells that [`save`](Self::save)
    /// has copied from the same positions. There are as many free cells.
    ///
    /// # Errors
    /// When `saved` is not what the model has saved, or the device fails; `sequence` holds what it
    /// held before then.
    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        let _ = (sequence, from, tokens, saved);
        Err(ModelError("its cells cannot be restored".to_owned()))
    }

    /// Seconds since some fixed point, on the clock that the model's work takes place in.
    fn now(&self) -> f64;
}

/// A failure of the device.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ModelError(pub String);
