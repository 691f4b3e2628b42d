//! Who said what in a conversation.

use agentinfer_protocol::{Message, Role};
use serde_json::Value;

/// All that a message says: its text, its reasoning, and the words of its calls.
pub(crate) fn said(message: &Message) -> String {
    let mut text = message.text();
    for part in message.reasoning_content.iter() {
        push(&mut text, part);
    }
    for call in message.tool_calls.iter().flatten() {
        match serde_json::from_str::<Value>(&call.function.arguments) {
            Ok(arguments) => push_strings(&mut text, &arguments),
            Err(_) => push(&mut text, &call.function.arguments),
        }
    }
    text
}

fn push(text: &mut String, part: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(part);
}

/// Appends what is not punctuation of JSON. It cannot nest deeper than serde_json reads it.
fn push_strings(text: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => push(text, &number.to_string()),
        Value::String(string) => push(text, string),
        Value::Array(values) => values.iter().for_each(|value| push_strings(text, value)),
        Value::Object(fields) => fields.values().for_each(|value| push_strings(text, value)),
    }
}

/// The answer with the call that the result at `index` belongs to.
pub(crate) fn caller(messages: &[Message], index: usize) -> Option<&Message> {
    let mut before = messages.get(..index)?.iter().rev();
    before.find(|message| message.role == Role::Assistant)
}

/// The latest thing that was asked before `index`.
pub(crate) fn task(messages: &[Message], index: usize) -> Option<&Message> {
    let mut before = messages.get(..index)?.iter().rev();
    before.find(|message| message.role == Role::User)
}
