//! llama.cpp behind the engine's `Model` trait.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use agentinfer_engine::{Batch, Entry, Model, ModelError, ModelLimits, SequenceId};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::context::session::LlamaStateSeqFlags;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel as Weights;
use llama_cpp_2::token::LlamaToken;

use crate::compute::on_cpu;
use crate::layouts::{Layout, Layouts};

/// A model's weights and one context of KV cells.
pub struct LlamaModel {
    // Declared before `weights`, which it borrows: fields are dropped in order of declaration.
    context: LlamaContext<'static>,
    /// None where one layout of the weights is best for everything.
    pub(crate) layouts: Option<Layouts>,
    batch: LlamaBatch<'static>,
    limits: ModelLimits,
    /// Cells that each sequence holds. llama.cpp aborts on a gap in positions, so they are
    /// checked here first.
    lengths: Vec<u32>,
    /// What tells apart which saved cells fit; none if cells cannot be saved piece by piece.
    saved_format: Option<String>,
    /// Whether the CPU computes all of it.
    is_on_cpu: bool,
    /// Logits of the first of the last batch's passes, where it took two.
    first_logits: Vec<f32>,
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
        saved_format: Option<String>,
        is_on_cpu: bool,
        layouts: Option<Layouts>,
    ) -> Result<Self, String> {
        // The last one is the workbench of `save` and `restore`.
        let sequences = parameters.n_seq_max() - 1;
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
            saved_format,
            is_on_cpu,
            first_logits: Vec::new(),
            context,
            layouts,
            limits,
            start: Instant::now(),
            _weights: weights,
        })
    }

    /// The sequence that pieces of others pass through on their way out or in.
    fn workbench(&self) -> i32 {
        self.limits.sequences as i32
    }

    /// Makes cells of one sequence cells of another one too.
    fn copy(&mut self, from: i32, to: i32, tokens: Range<u32>) {
        self.context
            .kv_cache_seq_cp(from, to, Some(tokens.start), Some(tokens.end))
            .expect("a context has fewer cells than i32 counts");
    }

    /// From the first to past the last position that a sequence holds, if it holds anything.
    fn positions(&self, sequence: i32) -> Option<(u32, u32)> {
        let first = u32::try_from(self.context.kv_cache_seq_pos_min(sequence)).ok()?;
        let last = u32::try_from(self.context.kv_cache_seq_pos_max(sequence)).ok()?;
        Some((first, last + 1))
    }

    fn clear_workbench(&mut self) {
        let workbench = self.workbench();
        self.context
            .kv_cache_seq_rm(workbench, None, None)
            .expect("attention-only models, the only ones opened, remove any range");
    }

    /// Computes checked entries.
    fn pass(&mut self, entries: &[Entry]) -> Result<(), ModelError> {
        // What decodes is always computed in the same way, whatever else is.
        let prompt = entries.iter().filter(|entry| !entry.logits).count();
        if let Some(layouts) = &mut self.layouts {
            layouts.set(Layout::of_prompt(prompt));
        }
        self.batch.clear();
        for entry in entries {
            let sequence = [entry.sequence as i32];
            let token = LlamaToken(entry.token as i32);
            self.batch
                .add(token, entry.position as i32, &sequence, entry.logits)
                .map_err(|error| ModelError(error.to_string()))?;
        }
        match self.is_on_cpu {
            true => on_cpu(|| self.decode())?,
            false => self.decode()?,
        }
        for entry in entries {
            self.lengths[entry.sequence as usize] = entry.position + 1;
        }
        Ok(())
    }

    /// Has llama.cpp compute the batch.
    fn decode(&mut self) -> Result<(), ModelError> {
        self.context
            .decode(&mut self.batch)
            .map_err(|error| ModelError(error.to_string()))
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
        let [first, second] = match self.is_on_cpu {
            true => batch.passes(),
            false => [&[], &batch.entries[..]],
        };
        self.first_logits.clear();
        if !first.is_empty() {
            self.pass(first)?;
            // The next pass overwrites them.
            for row in 0..first.len() {
                let logits = self.context.get_logits_ith(row as i32);
                self.first_logits.extend_from_slice(logits);
            }
        }
        self.pass(second)
    }

    fn logits(&self, index: usize) -> &[f32] {
        let length = self.limits.vocabulary as usize;
        let first = self.first_logits.len() / length;
        match index.checked_sub(first) {
            Some(row) => self.context.get_logits_ith(row as i32),
            None => &self.first_logits[index * length..][..length],
        }
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        debug_assert_eq!(self.lengths[to as usize], 0, "sequence {to} is not empty");
        self.copy(from as i32, to as i32, 0..tokens);
        self.lengths[to as usize] = tokens;
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.context
            .kv_cache_seq_rm(sequence as i32, Some(tokens), None)
            .expect("attention-only models, the only ones opened, remove any range");
        self.lengths[sequence as usize] = tokens.min(self.lengths[sequence as usize]);
    }

    fn attends_in_tiles(&self) -> bool {
        self.is_on_cpu
    }

    fn saved_format(&self) -> Option<String> {
        self.saved_format.clone()
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        if from >= to || to > self.lengths[sequence as usize] {
            return Err(ModelError(format!("no cells {from}..{to} to save")));
        }
        let workbench = self.workbench();
        self.copy(sequence as i32, workbench, from..to);
        let flags = LlamaStateSeqFlags::empty();
        let size = self.context.state_seq_get_size_ext(workbench, flags);
        let mut saved = vec![0; size];
        // SAFETY: the buffer is as long as llama.cpp says that the state of this sequence is.
        let written = unsafe {
            self.context
                .state_seq_get_data_ext(saved.as_mut_ptr(), workbench, flags)
        };
        self.clear_workbench();
        if size == 0 || written != size {
            return Err(ModelError(format!("{written} of {size} bytes were saved")));
        }
        Ok(saved)
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        if self.lengths[sequence as usize] != from {
            let length = self.lengths[sequence as usize];
            return Err(ModelError(format!("cells at {from} after {length}")));
        }
        let workbench = self.workbench();
        let flags = LlamaStateSeqFlags::empty();
        // SAFETY: `saved` was made by `save`; the store keeps it unchanged or drops it.
        let taken = unsafe { self.context.state_seq_set_data_ext(saved, workbench, flags) };
        let fits = taken && self.positions(workbench) == Some((from, from + tokens));
        if fits {
            self.copy(workbench, sequence as i32, from..from + tokens);
            self.lengths[sequence as usize] = from + tokens;
        }
        self.clear_workbench();
        match fits {
            true => Ok(()),
            false => Err(ModelError("saved cells do not fit".to_owned())),
        }
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
