//! What can go wrong.

use std::path::PathBuf;

/// Errors of the engine. Each message names what was wrong and what to do about it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The prompt leaves no room for a single generated token.
    #[error(
        "the prompt has {prompt_tokens} tokens but the context holds {context_tokens}; \
         shorten the prompt or serve the model with a larger context"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that the context of one sequence holds.
        context_tokens: usize,
    },
    /// A request field has a value the engine cannot serve.
    #[error("{field}: {message}")]
    InvalidRequest {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// The queue is full.
    #[error("{waiting} requests are waiting already; try again later")]
    QueueFull {
        /// How many requests wait.
        waiting: usize,
    },
    /// The model failed to load.
    #[error("the model could not be loaded: {0}")]
    Load(String),
    /// The model failed during a step.
    #[error("the model failed: {0}")]
    Model(String),
    /// The folder for offloaded KV cells cannot be used.
    #[error("KV cells cannot be kept in {}: {message}", folder.display())]
    Offload {
        /// The folder.
        folder: PathBuf,
        /// Why, and what would help.
        message: String,
    },
    /// The file for the trace of decisions cannot be written.
    #[error("the trace of decisions cannot be written to {}: {message}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The constraint could not be followed any further.
    #[error("the output constraint failed: {0}; simplify the schema or grammar")]
    Constraint(String),
    /// The request ended without a last event.
    #[error(
        "the request was given up: its client did not read it in time, or the engine ended; \
         send it again and read the stream as it comes"
    )]
    GivenUp,
    /// The engine is shutting down, or has stopped.
    #[error("the engine is shutting down")]
    Stopped,
}
