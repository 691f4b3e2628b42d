//! Models on llama.cpp: GGUF files in, [`agentinfer_engine::Model`]s out.
//!
//! llama.cpp checks its input with assertions that abort the process, so this crate checks
//! everything before it calls: file format, sequence ids, positions, batch sizes. What it refuses
//! comes back as an error. It is the only crate of the workspace that needs `unsafe`.
//!
//! ```no_run
//! use agentinfer_llama::{LlamaOptions, open};
//!
//! let opened = open("model.gguf".as_ref(), &LlamaOptions::default())?;
//! println!("{}: {} parameters", opened.file.architecture, opened.file.parameters);
//! # Ok::<(), agentinfer_llama::LlamaError>(())
//! ```

mod compute;
mod fingerprint;
mod gguf;
mod layouts;
mod model;
mod open;
mod system;
mod vocabulary;

pub use model::LlamaModel;
pub use open::{
    LlamaError, LlamaOptions, ModelFile, Opened, OpenedVocabulary, open, open_vocabulary,
};
pub use system::system_info;
pub use vocabulary::LlamaVocabulary;
