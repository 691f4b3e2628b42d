//! What can go wrong between messages and text.

/// A failure to turn a conversation into a prompt, or tools into a grammar.
///
/// All of them are the request's or the model file's fault, never the output's: whatever a model
/// writes, [`OutputParser`](crate::OutputParser) delivers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template is not valid Jinja.
    #[error("the model's chat template does not compile: {reason}")]
    Template {
        /// What the Jinja compiler says, with the line.
        reason: String,
    },
    /// The template raised an exception, or used something that this environment lacks.
    #[error("the model's chat template refuses the conversation at `{field}`: {reason}")]
    Render {
        /// `messages`, or the first message (`messages[3]`) that the template cannot take.
        field: String,
        /// What the template says.
        reason: String,
    },
    /// A content part of a kind that this server does not serve.
    #[error("`{field}` is {kind:?}, but only \"text\" parts are served")]
    UnsupportedContent {
        /// The part's type, as `messages[0].content[1].type`.
        field: String,
        /// `image_url`, `input_audio`, ...
        kind: String,
    },
    /// A message or a tool that breaks the API's rules.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
}

impl ChatError {
    /// The request field at fault, for the `param` of an OpenAI error body.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Template { .. } => None,
            Self::Render { field, .. }
            | Self::UnsupportedContent { field, .. }
            | Self::Invalid { field, .. } => Some(field),
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }
}
