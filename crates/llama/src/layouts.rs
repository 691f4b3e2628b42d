//! Weights in two layouts, each for the passes that it is faster in.
//!
//! llama.cpp lays quantized weights out anew when it loads them for a CPU (it *repacks* them),
//! which makes decoding faster. Its kernels for many tokens at once, which read weights as they lie
//! in the file, have overtaken those for repacked weights on CPUs with AVX-512 VNNI: Qwen2.5-Coder
//! 1.5B computes prompts 1.3 to 1.5 times as fast, and decodes at 0.6 to 0.85 of the rate.
//! llama.cpp offers one layout or the other. Here a model has both, and before a pass its tensors
//! are pointed at the one that suits it.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use agentinfer_engine::TILE;
use llama_cpp_2::model::LlamaModel as Weights;
use llama_cpp_sys_2 as sys;

/// How the weights lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As llama.cpp lays them out for decoding.
    Repacked,
    /// As in the file.
    Plain,
}

impl Layout {
    /// The faster one for so many tokens of prompts in one pass. Both take the same time for 16 to
    /// 32.
    pub(crate) fn of_prompt(tokens: usize) -> Self {
        match tokens {
            TILE.. => Self::Plain,
            _ => Self::Repacked,
        }
    }
}

/// Both layouts of one model's weights.
pub(crate) struct Layouts {
    /// Of the tensors that differ: the one that is computed with, and what it is pointed at.
    tensors: Vec<(NonNull<sys::ggml_tensor>, Place)>,
    /// The layout that is computed with; `tensors` has the places of the other one.
    layout: Layout,
    // They own what tensors are pointed at.
    _plain: PlainWeights,
    _repacked: Arc<Weights>,
}

/// Where a tensor's weights are.
struct Place {
    buffer: *mut sys::ggml_backend_buffer,
    data: *mut c_void,
    /// The kernels for repacked weights; null for plain ones.
    extra: *mut c_void,
}

// SAFETY: the pointers are to tensors and weights of the two models, which any thread may use; only
// one does at a time, as `set` needs exclusive access and belongs to the one that computes.
unsafe impl Send for Layouts {}

impl Layouts {
    /// Loads the model at `path` once more, plain, beside its `repacked` weights. None if that
    /// gains nothing: the CPU has no kernels that are better for it, or they are not for most of
    /// the weights.
    pub(crate) fn open(path: &Path, repacked: Arc<Weights>, threads: u32) -> Option<Self> {
        // SAFETY: the call has no preconditions.
        if unsafe { sys::ggml_cpu_has_avx512_vnni() } == 0 {
            return None;
        }
        // SAFETY: the wrapper is a transparent one of this pointer.
        let model = unsafe {
            std::ptr::from_ref(&*repacked)
                .cast::<NonNull<sys::llama_model>>()
                .read()
        };
        // SAFETY: the model is loaded, and nothing computes with it yet.
        let mut found = unsafe { matrices(model, threads) };
        let all = found.len();
        found.retain(|_, matrix| {
            // SAFETY: a tensor of `repacked`, which nothing computes with yet.
            let matrix = unsafe { matrix.as_ref() };
            let is_k_quant = (sys::GGML_TYPE_Q2_K..=sys::GGML_TYPE_Q6_K).contains(&matrix.type_);
            is_k_quant && !matrix.extra.is_null()
        });
        if found.is_empty() || found.len() * 2 < all {
            return None;
        }
        let plain = PlainWeights::load(path)?;
        // SAFETY: as above.
        let tensors = unsafe { matrices(plain.0, threads) };
        let tensors = tensors.into_iter().filter_map(|(name, plain)| {
            let repacked = *found.get(&name)?;
            // SAFETY: tensors of the two models, which nothing computes with yet.
            let (plain, current) = unsafe { (plain.as_ref(), repacked.as_ref()) };
            let alike =
                (plain.type_, plain.ne, plain.nb) == (current.type_, current.ne, current.nb);
            (alike && plain.extra.is_null()).then(|| (repacked, Place::of(plain)))
        });
        let tensors: Vec<_> = tensors.collect();
        tracing::debug!(tensors = tensors.len(), "weights in two layouts");
        Some(Self {
            tensors,
            layout: Layout::Repacked,
            _plain: plain,
            _repacked: repacked,
        })
    }

    /// Has the next passes compute with this layout.
    pub(crate) fn set(&mut self, layout: Layout) {
        if self.layout == layout {
            return;
        }
        for (tensor, other) in &mut self.tensors {
            // SAFETY: the tensor lives as long as its model, which is kept. No pass runs: it would
            // belong to the context that this belongs to. Both places hold the same weights, of the
            // same type and shape, each with the buffer and the kernels for its layout.
            let tensor = unsafe { tensor.as_mut() };
            std::mem::swap(&mut tensor.buffer, &mut other.buffer);
            std::mem::swap(&mut tensor.data, &mut other.data);
            std::mem::swap(&mut tensor.extra, &mut other.extra);
        }
        self.layout = layout;
    }
}

impl Drop for Layouts {
    /// Each model frees what it has loaded.
    fn drop(&mut self) {
        self.set(Layout::Repacked);
    }
}

impl Place {
    fn of(tensor: &sys::ggml_tensor) -> Self {
        Self {
            buffer: tensor.buffer,
            data: tensor.data,
            extra: tensor.extra,
        }
    }
}

/// A model whose weights lie as in its file.
struct PlainWeights(NonNull<sys::llama_model>);

impl PlainWeights {
    fn load(path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
        // SAFETY: the path ends with a zero, and llama.cpp is initialised, as another model is
        // loaded.
        let model = unsafe {
            let mut parameters = sys::llama_model_default_params();
            parameters.n_gpu_layers = 0;
            parameters.use_extra_bufts = false;
            sys::llama_model_load_from_file(path.as_ptr(), parameters)
        };
        NonNull::new(model).map(Self)
    }
}

impl Drop for PlainWeights {
    fn drop(&mut self) {
        // SAFETY: it is loaded, and freed once; what was pointed at it is not any more.
        unsafe { sys::llama_model_free(self.0.as_ptr()) };
    }
}

type Matrices = HashMap<Vec<u8>, NonNull<sys::ggml_tensor>>;

/// The matrices that a model multiplies by, by name: those that it meets while it computes one
/// token. Empty if it cannot compute one.
///
/// # Safety
/// The model is loaded, and nothing else computes with it meanwhile.
unsafe fn matrices(model: NonNull<sys::llama_model>, threads: u32) -> Matrices {
    let mut found = Matrices::new();
    // SAFETY: as the caller says. A context of its own computes a token of the vocabulary and is
    // freed; `found` outlives it.
    unsafe {
        let mut parameters = sys::llama_context_default_params();
        parameters.n_ctx = 64;
        parameters.n_batch = 1;
        parameters.n_threads = threads as i32;
        parameters.cb_eval = Some(note);
        parameters.cb_eval_user_data = (&raw mut found).cast();
        let context = sys::llama_init_from_model(model.as_ptr(), parameters);
        if !context.is_null() {
            let mut token = 0;
            sys::llama_decode(context, sys::llama_batch_get_one(&raw mut token, 1));
            sys::llama_free(context);
        }
    }
    found
}

/// Told of each node of a graph before it is computed: notes what it multiplies by, if that is a
/// matrix of weights, and asks for nothing.
unsafe extern "C" fn note(node: *mut sys::ggml_tensor, _: bool, found: *mut c_void) -> bool {
    // SAFETY: llama.cpp passes a node of its graph, whose sources are tensors or null, and what
    // `matrices` gave it.
    let (node, found) = unsafe { (&*node, &mut *found.cast::<Matrices>()) };
    let multiplies = [sys::GGML_OP_MUL_MAT, sys::GGML_OP_MUL_MAT_ID].contains(&node.op);
    if let Some(matrix) = NonNull::new(node.src[0]).filter(|_| multiplies) {
        // SAFETY: as above; a tensor's name ends with a zero.
        let (op, name) = unsafe {
            let name = CStr::from_ptr(matrix.as_ref().name.as_ptr());
            (matrix.as_ref().op, name.to_bytes().to_vec())
        };
        if op == sys::GGML_OP_NONE {
            found.insert(name, matrix);
        }
    }
    false
}

#[cfg(test)]
mod tests;
