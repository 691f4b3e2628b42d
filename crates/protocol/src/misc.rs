//! Model list, tokenisation and small shared shapes.

use serde::{Deserialize, Serialize};

/// A value given alone or in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One value.
    One(T),
    /// A list of values.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values as a list.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

/// Answer of `/v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList {
    /// Always `list`.
    pub object: String,
    /// The served models.
    pub data: Vec<ModelCard>,
}

/// One served model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The name to put in `model`.
    pub id: String,
    /// Always `model`.
    pub object: String,
    /// Unix time in seconds.
    #[serde(default)]
    pub created: u64,
    /// `agentinfer`, or another server's name for itself.
    #[serde(default)]
    pub owned_by: String,
    /// The longest context served, in tokens (the name vLLM uses); 0 where another server does
    /// not say.
    #[serde(default)]
    pub max_model_len: u32,
    /// The tier that the model serves: `small` or `large`; empty on other servers.
    #[serde(default)]
    pub tier: String,
}

/// Request of `/tokenize`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenizeRequest {
    /// The model whose tokenizer is used; empty means the default model.
    pub model: String,
    /// The text; llama-server calls it `content`, vLLM `prompt`.
    #[serde(alias = "prompt")]
    pub content: String,
    /// Whether to add the model's begin-of-sequence token.
    pub add_special: bool,
    /// Whether special tokens written out in the text are recognised; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_special: Option<bool>,
}

/// Answer of `/tokenize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizeResponse {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// How many there are.
    pub count: usize,
    /// The longest context served, in tokens.
    pub max_model_len: u32,
}

/// Request of `/detokenize`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetokenizeRequest {
    /// The model whose tokenizer is used; empty means the default model.
    pub model: String,
    /// Token ids.
    pub tokens: Vec<u32>,
}

/// Answer of `/detokenize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetokenizeResponse {
    /// The text; llama-server's name for it.
    pub content: String,
}
