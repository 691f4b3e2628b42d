//! A model small enough to be made here, whose matrices are all of a K-quant.

use agentinfer_engine::{Batch, Entry, Model};
use tempfile::tempdir;

use super::*;
use crate::{LlamaModel, LlamaOptions, open};

const WIDTH: i64 = 256;

/// Writes a llama of one layer with random weights and the vocabulary of the test model.
fn write_model(path: &Path) {
    let of_vocabulary = agentinfer_models::resolve("smollm2-135m")
        .expect("the test model is installed; `make test` does that");
    let matrix = sys::GGML_TYPE_Q4_K;
    let tensors = [
        ("token_embd.weight", matrix, 49_152),
        ("output_norm.weight", sys::GGML_TYPE_F32, 1),
        ("blk.0.attn_norm.weight", sys::GGML_TYPE_F32, 1),
        ("blk.0.attn_q.weight", matrix, WIDTH),
        ("blk.0.attn_k.weight", matrix, WIDTH),
        ("blk.0.attn_v.weight", matrix, WIDTH),
        ("blk.0.attn_output.weight", matrix, WIDTH),
        ("blk.0.ffn_norm.weight", sys::GGML_TYPE_F32, 1),
        ("blk.0.ffn_gate.weight", matrix, WIDTH),
        ("blk.0.ffn_up.weight", matrix, WIDTH),
        ("blk.0.ffn_down.weight", matrix, WIDTH),
    ];
    let sizes = [
        (c"llama.block_count", 1),
        (c"llama.embedding_length", WIDTH as u32),
        (c"llama.feed_forward_length", WIDTH as u32),
        (c"llama.attention.head_count", 4),
        (c"llama.attention.head_count_kv", 4),
        (c"llama.rope.dimension_count", 64),
    ];
    let c_path = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: both files' contexts and the arena live until they are freed at the end; the arena
    // has room for all tensors.
    unsafe {
        let arena = sys::ggml_init(sys::ggml_init_params {
            mem_size: 32 << 20,
            mem_buffer: std::ptr::null_mut(),
            no_alloc: false,
        });
        let only_keys = sys::gguf_init_params {
            no_alloc: true,
            ctx: std::ptr::null_mut(),
        };
        let other = sys::gguf_init_from_file(c_path(&of_vocabulary).as_ptr(), only_keys);
        let file = sys::gguf_init_empty();
        sys::gguf_set_kv(file, other);
        for (key, value) in sizes {
            sys::gguf_set_val_u32(file, key.as_ptr(), value);
        }
        let mut random = 1_u32;
        for (name, type_, rows) in tensors {
            let tensor = match rows {
                1 => sys::ggml_new_tensor_1d(arena, type_, WIDTH),
                _ => sys::ggml_new_tensor_2d(arena, type_, WIDTH, rows),
            };
            sys::ggml_set_name(tensor, CString::new(name).unwrap().as_ptr());
            let weight = || {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                random as f32 / u32::MAX as f32 - 0.5
            };
            let weights: Vec<f32> = std::iter::repeat_with(weight)
                .take((WIDTH * rows) as usize)
                .collect();
            let data = (*tensor).data;
            let no_importance = std::ptr::null();
            sys::ggml_quantize_chunk(type_, weights.as_ptr(), data, 0, rows, WIDTH, no_importance);
            sys::gguf_add_tensor(file, tensor);
        }
        assert!(sys::gguf_write_to_file(file, c_path(path).as_ptr(), false));
        sys::gguf_free(file);
        sys::gguf_free(other);
        sys::ggml_free(arena);
    }
}

fn open_model(path: &Path, two_layouts: bool) -> LlamaModel {
    let options = LlamaOptions {
        cells: 512,
        threads: Some(1),
        two_layouts,
        ..LlamaOptions::default()
    };
    open(path, &options).expect("the model opens").model
}

/// Computes a batch of one sequence, whose last token wants logits, and returns these.
fn compute(model: &mut LlamaModel, positions: std::ops::Range<u32>) -> Vec<f32> {
    let last = positions.end - 1;
    let entries = positions.map(|position| Entry {
        token: 1_000 + 37 * position,
        position,
        sequence: 0,
        logits: position == last,
    });
    let entries: Vec<Entry> = entries.collect();
    let index = entries.len() - 1;
    model.forward(&Batch { entries }).expect("it computes");
    model.logits(index).to_vec()
}

/// The cosine of the angle between two rows.
fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

#[test]
fn prompts_and_decodes_have_a_layout_each_and_compute_the_same() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("random.gguf");
    write_model(&path);
    let mut both = open_model(&path, true);
    let mut one = open_model(&path, false);
    assert!(one.layouts.is_none());
    // SAFETY: the call has no preconditions.
    let gains = unsafe { sys::ggml_cpu_has_avx512_vnni() } != 0;
    assert_eq!(both.layouts.is_some(), gains);
    let passes = [
        (0..100, Layout::Plain),
        (100..101, Layout::Repacked),
        (101..133, Layout::Repacked),
        (133..300, Layout::Plain),
        (300..301, Layout::Repacked),
    ];
    for (positions, layout) in passes {
        let rows = [&mut both, &mut one].map(|model| compute(model, positions.clone()));
        let alike = cosine(&rows[0], &rows[1]);
        assert!(alike > 0.999, "{positions:?}: {alike}");
        if let Some(layouts) = &both.layouts {
            assert_eq!(layouts.layout, layout, "{positions:?}");
        }
    }
}

#[test]
fn a_model_without_k_quants_has_one_layout() {
    let path = agentinfer_models::resolve("smollm2-135m").expect("the test model is installed");
    assert!(open_model(&path, true).layouts.is_none());
}
