//! What can go wrong.

use std::path::PathBuf;

use agentinfer_chat::ChatError;
use agentinfer_engine::EngineError;
use agentinfer_llama::LlamaError;

/// Errors of the runtime. Each message names what was wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The options are contradictory.
    #[error("{0}")]
    Options(String),
    /// What past sessions said cannot be kept.
    #[error(transparent)]
    Memory(#[from] agentinfer_memory::MemoryError),
    /// A model file could not be opened.
    #[error("model `{model}` could not be loaded: {source}")]
    Load {
        /// The name it was to be served under.
        model: String,
        /// Why.
        source: LlamaError,
    },
    /// A model file's chat template could not be compiled.
    #[error(
        "the chat template of model `{model}` ({}) is not usable: {source}",
        path.display()
    )]
    Template {
        /// The name it was to be served under.
        model: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: ChatError,
    },
    /// The request names a model that is not served.
    #[error("the model `{model}` is not served here; served: {}", served.join(", "))]
    UnknownModel {
        /// The name asked for.
        model: String,
        /// The names that would be right, tiers included.
        served: Vec<String>,
    },
    /// A field of the request has a value that cannot be served.
    #[error("Invalid '{param}': {message}")]
    InvalidRequest {
        /// The field at fault, as a path into the request.
        param: String,
        /// What is wrong and what would be right.
        message: String,
        /// A stable word for programs, the one the OpenAI API uses.
        code: &'static str,
    },
    /// The conversation or its tools break the API's rules, or the model's template refuses them.
    #[error(transparent)]
    Conversation(ChatError),
    /// The file for what is known of the small model cannot be used.
    #[error("what is known of the small model cannot be kept in {}: {message}", path.display())]
    Competence {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A handle names no original that is kept.
    #[error(
        "there is no original of handle `{handle}`: it was never distilled here, or it was \
         forgotten; the conversation that its client keeps still has it"
    )]
    UnknownHandle {
        /// The handle.
        handle: String,
    },
    /// Neither of two tiers can answer.
    #[error("neither tier can answer now; the one chosen: {chosen}; the other: {other}")]
    BothTiersFailed {
        /// What the tier said that was chosen.
        chosen: Box<RuntimeError>,
        /// What the other said.
        other: Box<RuntimeError>,
    },
    /// The server that runs a model cannot be reached, cannot serve now, or broke off.
    #[error("the server that runs `{model}` failed: {message}")]
    RemoteFailed {
        /// The served model's name.
        model: String,
        /// What happened.
        message: String,
    },
    /// The server that runs a model finds fault with the request.
    #[error("the server that runs `{model}` refuses the request: {message}")]
    RemoteRefused {
        /// The served model's name.
        model: String,
        /// What the server says.
        message: String,
        /// The request field at fault, if it says.
        param: Option<String>,
        /// Its word for programs, if it has one.
        code: Option<String>,
    },
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RuntimeError {
    /// Whether another tier may be able to answer where one was not.
    pub(crate) fn is_of_its_tier(&self) -> bool {
        match self {
            Self::Engine(error) => matches!(
                error,
                EngineError::Stopped
                    | EngineError::GivenUp
                    | EngineError::Model(_)
                    | EngineError::ContextOverflow { .. }
            ),
            Self::RemoteFailed { .. } => true,
            error => error.is_overflow(),
        }
    }

    /// Whether the conversation is too long for a tier.
    pub(crate) fn is_overflow(&self) -> bool {
        self.code() == Some("context_length_exceeded")
    }

    pub(crate) fn invalid(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::InvalidRequest {
            param: param.into(),
            message: message.into(),
            code,
        }
    }

    /// The request field at fault, as a path into the request (`messages[1].content`).
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::UnknownModel { .. } => Some("model"),
            Self::UnknownHandle { .. } => Some("handle"),
            Self::InvalidRequest { param, .. } => Some(param),
            Self::Conversation(error) => error.param(),
            Self::RemoteRefused { param, .. } => param.as_deref(),
            Self::Engine(EngineError::ContextOverflow { .. }) => Some("messages"),
            Self::Engine(EngineError::InvalidRequest { field, .. }) => Some(field),
            _ => None,
        }
    }

    /// A stable word for programs, the one the OpenAI API uses where it has one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::UnknownModel { .. } => Some("model_not_found"),
            Self::UnknownHandle { .. } => Some("handle_not_found"),
            Self::InvalidRequest { code, .. } => Some(code),
            Self::Conversation(_) => Some("invalid_value"),
            Self::BothTiersFailed { .. } => Some("tiers_failed"),
            Self::RemoteFailed { .. } => Some("remote_failed"),
            Self::RemoteRefused { code, .. } => code.as_deref(),
            Self::Engine(error) => match error {
                EngineError::ContextOverflow { .. } => Some("context_length_exceeded"),
                EngineError::InvalidRequest { .. } | EngineError::Constraint(_) => {
                    Some("invalid_value")
                }
                EngineError::QueueFull { .. } => Some("rate_limit_exceeded"),
                EngineError::Stopped => Some("shutting_down"),
                EngineError::GivenUp => Some("given_up"),
                _ => Some("model_failed"),
            },
            _ => None,
        }
    }
}
