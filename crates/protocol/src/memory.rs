//! `/v1/memory/recall` and `/v1/chat/view`: what stands in a compressed conversation, and what is
//! behind it.

use serde::{Deserialize, Serialize};

use crate::Message;

/// A request for the original of a distilled tool result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecallRequest {
    /// What the distilled result names.
    pub handle: String,
    /// What is looked for, where the original is longer than `max_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// At most so many bytes of it are returned; absent means 8,192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
}

/// An original, or the part of it that answers the query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallResponse {
    /// Its handle.
    pub handle: String,
    /// The tool whose result it is, if that is known.
    pub tool: Option<String>,
    /// Its text, verbatim.
    pub content: String,
    /// Bytes of all of it.
    pub bytes: usize,
}

/// A conversation as its model is given it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ViewResponse {
    /// The messages.
    pub messages: Vec<Message>,
    /// The results among them that stand for longer ones.
    pub distilled: Vec<ViewedResult>,
    /// Tokens of the messages' texts as the client sent them.
    pub full_tokens: u32,
    /// Tokens of the texts in `messages`.
    pub served_tokens: u32,
}

/// A tool result that was distilled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewedResult {
    /// Which of the messages it is, from 0.
    pub index: usize,
    /// By what its original is recalled.
    pub handle: String,
    /// Its tokens.
    pub tokens: u32,
    /// Those of the original.
    pub original_tokens: u32,
}
