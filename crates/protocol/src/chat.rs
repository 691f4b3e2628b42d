//! `/v1/chat/completions`: request, answer and stream chunk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Message, OneOrMany, Tool};

/// A request for a chat completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatCompletionRequest {
    /// A served model's name, or a tier (`small`, `large`); empty means the default model.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// Whether it may, must or must not call one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// Whether one turn may hold several calls; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Free text, any JSON object, or JSON of a schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Extension (also in vLLM): the output must match this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided_regex: Option<String>,
    /// Extension (also in vLLM): the output must follow this grammar (Lark syntax of llguidance).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided_grammar: Option<String>,
    /// At most this many tokens are generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    /// The older name of `max_completion_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature; 0 is greedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling: the smallest set of tokens whose probabilities reach this sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Extension: only the `top_k` most probable tokens; 0 means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Extension: only tokens at least this probable relative to the most probable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Subtracted from the logit of every token that occurred, per occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// Subtracted once from the logit of every token that occurred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Extension: divides (or multiplies) the logits of tokens that occurred; 1 means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Added to the logits of the tokens (by id).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// Seed of the sampling; equal seeds give equal output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Texts at which generation stops; they are not part of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<OneOrMany<String>>,
    /// How many answers to generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Whether to report the log-probability of each generated token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// How many alternatives to report for each token (0 to 20).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u32>,
    /// Whether to stream chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// What the stream shall contain beyond the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// Extension (also in vLLM and llama-server): more variables for the chat template, as
    /// `{"enable_thinking": false}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// The session that this request belongs to, as the client names it.
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
    /// Extension: whether the older tool results of a long conversation may be served distilled;
    /// absent means as the server is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<bool>,
    /// Extension: whether the model is offered the tool `memory_recall`, whose calls the client
    /// answers by `/v1/memory/recall`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_recall: Option<bool>,
    /// The end user on whose behalf the client asks; not interpreted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// `tool_choice`: a word, or a function by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// `{"type": "function", "function": {"name": ...}}`
    Function {
        /// Always `function`.
        #[serde(rename = "type")]
        kind: String,
        /// The function that must be called.
        function: ToolChoiceFunction,
    },
}

/// The function named in a `tool_choice`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolChoiceFunction {
    /// Its name.
    pub name: String,
}

/// `response_format`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Free text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// The schema and its name.
        json_schema: JsonSchemaFormat,
    },
}

/// The schema of a `json_schema` response format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonSchemaFormat {
    /// A name, not interpreted.
    #[serde(default)]
    pub name: String,
    /// The JSON schema; absent means any JSON object.
    #[serde(default)]
    pub schema: Option<Value>,
    /// Always honoured as true: output is constrained by the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// `stream_options`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    /// Whether a last chunk with the usage follows.
    pub include_usage: bool,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletion {
    /// Unique identifier, `chatcmpl-...`.
    pub id: String,
    /// Always `chat.completion`.
    pub object: String,
    /// Unix time in seconds.
    pub created: u64,
    /// The model that answered.
    pub model: String,
    /// One entry per answer, in order of `index`.
    pub choices: Vec<Choice>,
    /// Token counts; zeros where another server does not count.
    #[serde(default)]
    pub usage: Usage,
    /// Identifies the model file and engine version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its number, from 0.
    pub index: u32,
    /// The assistant's message.
    pub message: Message,
    /// Log-probabilities when asked for.
    #[serde(default)]
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its turn, or a stop text was met.
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
    /// The model called tools.
    ToolCalls,
    /// Another server withheld the answer; this one never does.
    ContentFilter,
}

/// Log-probabilities of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logprobs {
    /// One entry per generated token.
    pub content: Vec<TokenLogprob>,
}

/// Log-probability of one generated token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text (lossy where it is not valid UTF-8 alone).
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The token's bytes.
    pub bytes: Option<Vec<u8>>,
    /// The most probable tokens at this place.
    #[serde(default)]
    pub top_logprobs: Vec<TopLogprob>,
}

/// One alternative of a [`TokenLogprob`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    /// The token's text (lossy where it is not valid UTF-8 alone).
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The token's bytes.
    pub bytes: Option<Vec<u8>>,
}

/// Token counts of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated, over all answers.
    pub completion_tokens: u32,
    /// Their sum.
    pub total_tokens: u32,
    /// How the prompt was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
}

/// How the prompt was served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Prompt tokens whose KV cells were resident and not computed again.
    pub cached_tokens: u32,
    /// Extension: tokens of the prompt as the client sent it, where the conversation may be served
    /// compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_tokens: Option<u32>,
}

/// One chunk of a streamed answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletionChunk {
    /// The same for every chunk of an answer.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: String,
    /// Unix time in seconds.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// What is new; empty in the usage chunk.
    pub choices: Vec<ChoiceDelta>,
    /// Token counts, in the last chunk when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Identifies the model file and engine version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
}

/// What is new in one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceDelta {
    /// The answer's number.
    pub index: u32,
    /// The new parts of the message.
    pub delta: Delta,
    /// Log-probabilities of the new tokens when asked for.
    #[serde(default)]
    pub logprobs: Option<Logprobs>,
    /// Set in the answer's last chunk.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
}

/// The new parts of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// Sent once, first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<crate::Role>,
    /// New text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// New reasoning text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// New parts of tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallDelta>>,
}

/// New parts of one tool call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCallDelta {
    /// The call's number within the message.
    pub index: u32,
    /// Sent once, first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Sent once, first; always `function`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name (once) and new argument text.
    pub function: ToolCallFunctionDelta,
}

/// New parts of a call's function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCallFunctionDelta {
    /// Sent once, first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New argument text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}
