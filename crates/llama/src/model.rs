//! llama.cpp behind the engine's `Model` trait.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use agentinfer_engine::{Batch, Model, ModelError, ModelLimits, SequenceId};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel as Weights;
use llama_cpp_2::token::LlamaToken;

/// A model's weights and one context of KV cells.
pub struct LlamaModel {
    // Declared before `weights`, which it borrows: fields are dropped in order of declaration.
    context: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    limits: ModelLimits,
    /// Cells that each sequence holds. llama.cpp aborts on a gap in positions, so they are
    /// checked here first.
    lengths: Vec<u32>,
    start: Instant,
    _weights: Arc<Weights>,
}

// SAFETY: the context is `Send` already; a batch is only plain buffers, which nothing else holds.
unsafe impl Send for LlamaModel {}

impl LlamaModel {
    pub(crate) fn new(
        backend: &LlamaBackend,
        weights: Arc<Weights>,
        parameters: LlamaContextParams,
        context_tokens: u32,
    ) -> Result<Self, String> {
        let sequences = parameters.n_seq_max();
        let context = weights
            .new_context(backend, parameters)
            .map_err(|error| error.to_string())?;
        // SAFETY: only the lifetime changes. The weights that the context borrows are kept alive
        // by `_weights`, at an address that never moves (an `Arc`), and dropped after it.
        let context: LlamaContext<'static> = unsafe { std::mem::transmute(context) };
        let limits = ModelLimits {
            cells: context.n_ctx(),
            sequences,
            batch_tokens: context.n_batch(),
            context_tokens: context_tokens.min(context.n_ctx()),
            vocabulary: weights.n_vocab() as u32,
        };
        Ok(Self {
            batch: LlamaBatch::new(limits.batch_tokens as usize, 1),
            lengths: vec![0; sequences as usize],
            context,
            limits,
            start: Instant::now(),
            _weights: weights,
        })
    }

    /// Refuses what llama.cpp would abort on.
    fn check(&self, batch: &Batch) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError(message));
        if batch.entries.is_empty() || batch.entries.len() > self.limits.batch_tokens as usize {
            return refuse(format!(
                "a batch of {} tokens; 1 to {} can be computed",
                batch.entries.len(),
                self.limits.batch_tokens
            ));
        }
        let mut previous: Option<(SequenceId, u32)> = None;
        for entry in &batch.entries {
            let expected = match previous {
                Some((sequence, position)) if sequence == entry.sequence => Some(position + 1),
                _ => self.lengths.get(entry.sequence as usize).copied(),
            };
            if expected != Some(entry.position) || entry.token >= self.limits.vocabulary {
                return refuse(format!(
                    "entry {entry:?} where position {expected:?} follows"
                ));
            }
            previous = Some((entry.sequence, entry.position));
        }
        Ok(())
    }
}

impl Model for LlamaModel {
    fn limits(&self) -> ModelLimits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.check(batch)?;
        self.batch.clear();
        for entry in &batch.entries {
            let sequence = [entry.sequence as i32];
            let token = LlamaToken(entry.token as i32);
            self.batch
                .add(token, entry.position as i32, &sequence, entry.logits)
                .map_err(|error| ModelError(error.to_string()))?;
        }
        self.context
            .decode(&mut self.batch)
            .map_err(|error| ModelError(error.to_string()))?;
        for entry in &batch.entries {
            self.lengths[entry.sequence as usize] = entry.position + 1;
        }
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        self.context.get_logits_ith(index as i32)
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        debug_assert_eq!(self.lengths[to as usize], 0, "sequence {to} is not empty");
        self.context
            .kv_cache_seq_cp(from as i32, to as i32, Some(0), Some(tokens))
            .expect("a context has fewer cells than i32 counts");
        self.lengths[to as usize] = tokens;
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.context
            .kv_cache_seq_rm(sequence as i32, Some(tokens), None)
            .expect("attention-only models, the only ones opened, remove any range");
        self.lengths[sequence as usize] = tokens.min(self.lengths[sequence as usize]);
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

impl std::fmt::Debug for LlamaModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlamaModel")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
