//! What tool results are the results of, and how long texts are whose tokens nobody here knows.

use std::sync::Arc;

use agentinfer_protocol::Message;

use crate::tier::ServedTier;

/// The tool whose result the message at `index` is, if it is known.
pub(crate) fn called(messages: &[Message], index: usize) -> Option<&str> {
    let id = messages[index].tool_call_id.as_deref();
    let calls = messages[..index].iter().rev();
    let mut calls = calls.flat_map(|message| message.tool_calls.iter().flatten());
    let called = calls.find(|call| Some(call.id.as_str()) == id);
    let called = called.map(|call| call.function.name.as_str());
    called.or(messages[index].name.as_deref())
}

/// Tokens of a text to a tier of this process; about so many where another server tokenizes it.
pub(crate) fn tokens(tier: Option<&Arc<ServedTier>>, text: &str) -> u32 {
    tier.map_or_else(|| estimated_tokens(text), |tier| tier.count(text))
}

/// Tokens of a text that another server tokenizes, about.
pub(crate) fn estimated_tokens(text: &str) -> u32 {
    (text.len() / 4) as u32
}
