//! Loading a model.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use agentinfer_engine::{Token, Vocabulary as _};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel as Weights;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};

use crate::compute::on_cpu;
use crate::fingerprint::fingerprint;
use crate::layouts::Layouts;
use crate::{LlamaModel, LlamaVocabulary, gguf};

/// How to load a model and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlamaOptions {
    /// Threads that compute; absent means one per physical core this process may use.
    pub threads: Option<u32>,
    /// KV cells in total, shared by all sequences (one per token).
    pub cells: u32,
    /// Longest context of one sequence in tokens; absent means what the model was trained for.
    /// Never more than `cells`.
    pub context_tokens: Option<u32>,
    /// Sequences that can be resident at once, running and idle.
    pub sequences: u32,
    /// Tokens computed in one forward pass, at most.
    pub batch_tokens: u32,
    /// Layers to offload to a GPU, in builds with `cuda`, `metal` or `vulkan`.
    pub gpu_layers: u32,
    /// Hold the weights a second time where prompts are computed faster so: K-quants on a CPU with
    /// AVX-512 VNNI. Takes as much memory again as the file.
    pub two_layouts: bool,
}

impl Default for LlamaOptions {
    fn default() -> Self {
        Self {
            threads: None,
            cells: 16_384,
            context_tokens: None,
            sequences: 64,
            batch_tokens: 512,
            gpu_layers: 999,
            two_layouts: true,
        }
    }
}

/// The most sequences llama.cpp can be built for (`LLAMA_MAX_SEQ`, 256), less the one that saves
/// and restores cells.
const MAX_SEQUENCES: u32 = 255;

/// A loaded model: what computes, what tokenizes, and what the file says of itself.
#[derive(Debug)]
pub struct Opened {
    /// The model, for an engine.
    pub model: LlamaModel,
    /// Its vocabulary, to be shared.
    pub vocabulary: Arc<LlamaVocabulary>,
    /// What the file says of itself.
    pub file: ModelFile,
}

/// What a model file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// The name in its metadata.
    pub name: Option<String>,
    /// The architecture, for example `qwen2`.
    pub architecture: String,
    /// The Jinja chat template.
    pub chat_template: Option<String>,
    /// Text of the begin-of-sequence token; empty if there is none.
    pub bos_text: String,
    /// Text of the end-of-sequence token; empty if there is none.
    pub eos_text: String,
    /// The context it was trained for, in tokens.
    pub trained_context: u32,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of its tensors.
    pub bytes: u64,
}

/// A model's vocabulary without its weights, and what the file says of texts.
#[derive(Debug)]
pub struct OpenedVocabulary {
    /// The vocabulary, to be shared.
    pub vocabulary: Arc<LlamaVocabulary>,
    /// The Jinja chat template.
    pub chat_template: Option<String>,
    /// Text of the begin-of-sequence token; empty if there is none.
    pub bos_text: String,
    /// Text of the end-of-sequence token; empty if there is none.
    pub eos_text: String,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlamaError {
    /// The file cannot be read.
    #[error("cannot read model file {}: {message}; check the path", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        message: String,
    },
    /// The file is not a GGUF model.
    #[error("{} is not a GGUF model: {message}; download it again or give another file",
        path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// llama.cpp refused the file.
    #[error("llama.cpp cannot load {}: it is truncated, corrupt, of an unknown architecture, or \
        larger than memory ({message}); download it again or give another file", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What llama.cpp said.
        message: String,
    },
    /// The model keeps one state per sequence instead of a cell per token.
    #[error(
        "{architecture} is a recurrent or hybrid architecture, whose state cannot be shared \
        by prefix or rolled back; serve an attention-only model"
    )]
    Recurrent {
        /// The architecture.
        architecture: String,
    },
    /// An option is out of range.
    #[error("{field}: {message}")]
    Option {
        /// The option.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// llama.cpp could not allocate its context.
    #[error("no context of {cells} KV cells: {message}; give fewer cells")]
    Context {
        /// Cells that were asked for.
        cells: u32,
        /// What llama.cpp said.
        message: String,
    },
    /// llama.cpp could not be initialised.
    #[error("llama.cpp could not be initialised: {0}")]
    Backend(String),
}

/// llama.cpp's process-wide state. It can be initialised once and is never torn down: models on
/// any thread may outlive every other owner.
fn backend() -> Result<&'static LlamaBackend, LlamaError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let initialise = || {
        send_logs_to_tracing(LogOptions::default());
        LlamaBackend::init().map_err(|error| error.to_string())
    };
    let backend = BACKEND.get_or_init(initialise).as_ref();
    backend.map_err(|message| LlamaError::Backend(message.clone()))
}

/// Loads the GGUF model at `path`.
///
/// # Errors
/// See [`LlamaError`]; a damaged file is an error, never a crash.
pub fn open(path: &Path, options: &LlamaOptions) -> Result<Opened, LlamaError> {
    check_options(options)?;
    let backend = backend()?;
    let parameters = LlamaModelParams::default().with_n_gpu_layers(options.gpu_layers);
    let weights = load(backend, path, &parameters)?;
    let vocabulary = LlamaVocabulary::new(weights.clone());
    let file = describe(&weights, &vocabulary);
    if weights.is_recurrent() || weights.is_hybrid() {
        return Err(LlamaError::Recurrent {
            architecture: file.architecture,
        });
    }
    let trained = file.trained_context.max(1);
    let context_tokens = options.context_tokens.unwrap_or(trained).min(options.cells);
    let threads = options.threads.unwrap_or_else(physical_cores);
    let context = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(options.cells))
        .with_n_batch(options.batch_tokens)
        .with_n_ubatch(options.batch_tokens)
        .with_n_seq_max(options.sequences + 1)
        .with_n_threads(threads as i32)
        .with_n_threads_batch(threads as i32)
        // One pool of cells for all sequences, so that prefixes are shared and not copied; flash
        // attention keeps the idle cells in it nearly free.
        .with_kv_unified(true)
        .with_flash_attention_policy(FLASH_ATTENTION_ON)
        .with_no_perf(true);
    let saved_format = saved_format(path, &weights, &file.architecture);
    let is_on_cpu = options.gpu_layers == 0 || !backend.supports_gpu_offload();
    let layouts = match is_on_cpu && options.two_layouts {
        true => on_cpu(|| Layouts::open(path, weights.clone(), threads)),
        false => None,
    };
    let model = LlamaModel::new(
        backend,
        weights,
        context,
        context_tokens,
        saved_format,
        is_on_cpu,
        layouts,
    );
    let model = model.map_err(|message| LlamaError::Context {
        cells: options.cells,
        message,
    })?;
    Ok(Opened {
        model,
        vocabulary: Arc::new(vocabulary),
        file,
    })
}

/// Loads only the vocabulary of the GGUF model at `path`: a fraction of a second, whatever the
/// model's size.
///
/// # Errors
/// As [`open`].
pub fn open_vocabulary(path: &Path) -> Result<OpenedVocabulary, LlamaError> {
    let parameters = LlamaModelParams::default().with_vocab_only(true);
    let weights = load(backend()?, path, &parameters)?;
    let vocabulary = LlamaVocabulary::new(weights.clone());
    Ok(OpenedVocabulary {
        chat_template: chat_template(&weights),
        bos_text: name_of(&vocabulary, vocabulary.begin_of_sequence()),
        eos_text: name_of(&vocabulary, vocabulary.end_of_sequence()),
        vocabulary: Arc::new(vocabulary),
    })
}

fn load(
    backend: &LlamaBackend,
    path: &Path,
    parameters: &LlamaModelParams,
) -> Result<Arc<Weights>, LlamaError> {
    gguf::check(path)?;
    let weights = Weights::load_from_file(backend, path, parameters);
    weights.map(Arc::new).map_err(|error| LlamaError::Refused {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn chat_template(weights: &Weights) -> Option<String> {
    weights.meta_val_str("tokenizer.chat_template").ok()
}

/// How templates write a token; empty for none.
fn name_of(vocabulary: &LlamaVocabulary, token: Option<Token>) -> String {
    let name = token.map_or(&[][..], |token| vocabulary.name(token));
    String::from_utf8_lossy(name).into_owned()
}

/// What saved cells of this model fit. None with sliding windows: llama.cpp saves only what the
/// window of the last token shows.
fn saved_format(path: &Path, weights: &Weights, architecture: &str) -> Option<String> {
    let window = weights.meta_val_str(&format!("{architecture}.attention.sliding_window"));
    if window.is_ok_and(|window| window != "0") {
        return None;
    }
    let file = fingerprint(path).ok()?;
    Some(format!("llama {} f16 {file}", env!("CARGO_PKG_VERSION")))
}

/// `LLAMA_FLASH_ATTN_TYPE_ENABLED` of llama.h.
const FLASH_ATTENTION_ON: i32 = 1;

fn check_options(options: &LlamaOptions) -> Result<(), LlamaError> {
    let check = |field, value: Option<u32>, range: std::ops::RangeInclusive<u32>| match value {
        Some(value) if !range.contains(&value) => Err(LlamaError::Option {
            field,
            message: format!("{value} is outside {} to {}", range.start(), range.end()),
        }),
        _ => Ok(()),
    };
    check("threads", options.threads, 1..=512)?;
    check("cells", Some(options.cells), 64..=16_777_216)?;
    check("context_tokens", options.context_tokens, 16..=16_777_216)?;
    check("sequences", Some(options.sequences), 1..=MAX_SEQUENCES)?;
    check("batch_tokens", Some(options.batch_tokens), 1..=8192)
}

fn describe(weights: &Weights, vocabulary: &LlamaVocabulary) -> ModelFile {
    ModelFile {
        name: weights.meta_val_str("general.name").ok(),
        architecture: weights
            .meta_val_str("general.architecture")
            .unwrap_or_default(),
        chat_template: chat_template(weights),
        bos_text: name_of(vocabulary, vocabulary.begin_of_sequence()),
        eos_text: name_of(vocabulary, vocabulary.end_of_sequence()),
        trained_context: weights.n_ctx_train(),
        parameters: weights.n_params(),
        bytes: weights.size(),
    }
}

/// Physical cores this process may use: two threads on one core slow matrix kernels down.
fn physical_cores() -> u32 {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let mut cores = std::collections::BTreeSet::new();
    for cpu in 0..usable {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let Ok(siblings) = std::fs::read_to_string(file) else {
            return usable as u32;
        };
        cores.insert(siblings);
    }
    (cores.len() as u32).max(1)
}
