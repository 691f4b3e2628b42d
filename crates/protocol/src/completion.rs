//! `/v1/completions`: plain text in, plain text out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{FinishReason, OneOrMany, StreamOptions, Usage};

/// A request for a text completion. Fields mean what they mean in
/// [`ChatCompletionRequest`](crate::ChatCompletionRequest).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CompletionRequest {
    /// A served model's name, or a tier.
    pub model: String,
    /// The text (or token ids) to continue.
    pub prompt: Prompt,
    /// At most this many tokens are generated; absent means 16, as in the OpenAI API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature; 0 is greedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Extension: the most probable tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Extension: relative probability floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Per-occurrence penalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// Once-only penalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Extension: multiplicative penalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Added to logits, by token id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Seed of the sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Texts at which generation stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<OneOrMany<String>>,
    /// How many answers to generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// How many answers to choose from; only `n` itself is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_of: Option<u32>,
    /// Whether the answer begins with the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<bool>,
    /// Text after the answer; not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// How many alternatives to report for each token (0 to 5); present means log-probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Whether to stream chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// What the stream shall contain beyond the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// The session that this request belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<String>,
    /// Where the session's prefix may be kept: `in_memory` (never on disk) or `24h` (on disk too).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_retention: Option<String>,
    /// `flex` is background work, which may wait; the OpenAI API's other tiers are served alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// Extension (also in vLLM): lower is served earlier; absent means 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Extension: seconds from the end of the answer to the session's next request, while its tools
    /// run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_tool_seconds: Option<f64>,
    /// Extension: whether this is the session's last request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_session: Option<bool>,
}

/// The prompt of a text completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Several texts, each answered.
    Texts(Vec<String>),
}

impl Default for Prompt {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// An answer, whole or a streamed chunk (the API uses one shape for both).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Unique identifier, `cmpl-...`.
    pub id: String,
    /// Always `text_completion`.
    pub object: String,
    /// Unix time in seconds.
    pub created: u64,
    /// The model that answered.
    pub model: String,
    /// One entry per prompt and answer.
    pub choices: Vec<CompletionChoice>,
    /// Token counts; in a stream only in the last chunk, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionChoice {
    /// Its number, from 0.
    pub index: u32,
    /// The text (new text in a chunk).
    pub text: String,
    /// Log-probabilities when asked for.
    #[serde(default)]
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended; absent in all but the last chunk.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
}

/// Log-probabilities in the older, columnar shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionLogprobs {
    /// The generated tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities.
    pub token_logprobs: Vec<f32>,
    /// The alternatives at each place.
    pub top_logprobs: Vec<BTreeMap<String, f32>>,
    /// Where each token starts in the text, in characters.
    pub text_offset: Vec<u32>,
}
