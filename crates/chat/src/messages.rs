//! From wire messages to the JSON objects that templates read.

use agentinfer_protocol::{Content, Message, Role, Tool, ToolCall};
use serde_json::{Map, Value, json};

use crate::{ChatError, ToolStyle};

/// Checks what can be checked without a template.
///
/// # Errors
///
/// [`ChatError::Invalid`] for an empty conversation, a message that lacks its content and a tool
/// without a usable name; [`ChatError::UnsupportedContent`] for content parts other than text.
/// Both name the field.
pub fn validate(messages: &[Message], tools: &[Tool]) -> Result<(), ChatError> {
    if messages.is_empty() {
        return Err(ChatError::invalid(
            "messages",
            "must hold at least one message",
        ));
    }
    for (index, message) in messages.iter().enumerate() {
        validate_content(index, message)?;
    }
    for (index, tool) in tools.iter().enumerate() {
        validate_tool(index, tool, &tools[..index])?;
    }
    Ok(())
}

fn validate_content(index: usize, message: &Message) -> Result<(), ChatError> {
    let field = format!("messages[{index}].content");
    match &message.content {
        None if message.role == Role::Assistant => Ok(()),
        None => Err(ChatError::invalid(
            field,
            "must be a string or a list of text parts",
        )),
        Some(Content::Text(_)) => Ok(()),
        Some(Content::Parts(parts)) => {
            for (part_index, part) in parts.iter().enumerate() {
                if part.kind != "text" {
                    let field = format!("{field}[{part_index}].type");
                    return Err(ChatError::UnsupportedContent {
                        field,
                        kind: part.kind.clone(),
                    });
                }
                if part.text.is_none() {
                    let field = format!("{field}[{part_index}].text");
                    return Err(ChatError::invalid(field, "is missing"));
                }
            }
            Ok(())
        }
    }
}

fn validate_tool(index: usize, tool: &Tool, before: &[Tool]) -> Result<(), ChatError> {
    let name = &tool.function.name;
    if tool.kind != "function" {
        let problem = format!("is {:?}, but only \"function\" is served", tool.kind);
        return Err(ChatError::invalid(format!("tools[{index}].type"), problem));
    }
    if name.is_empty() {
        return Err(ChatError::invalid(
            format!("tools[{index}].function.name"),
            "is empty",
        ));
    }
    if before.iter().any(|other| other.function.name == *name) {
        let problem = format!("{name:?} is the name of an earlier tool too");
        return Err(ChatError::invalid(
            format!("tools[{index}].function.name"),
            problem,
        ));
    }
    Ok(())
}

/// The messages as `apply_chat_template` of Hugging Face gets them.
pub(crate) fn to_json(messages: &[Message], style: ToolStyle) -> Vec<Value> {
    messages
        .iter()
        .map(|message| message_json(message, style))
        .collect()
}

fn message_json(message: &Message, style: ToolStyle) -> Value {
    let mut object = Map::new();
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    object.insert("role".into(), role.into());
    object.insert("content".into(), message.text().into());
    if let Some(reasoning) = &message.reasoning_content {
        object.insert("reasoning_content".into(), reasoning.as_str().into());
    }
    // Templates ask whether `tool_calls` is defined, so an empty list must not be.
    if let Some(calls) = message
        .tool_calls
        .as_ref()
        .filter(|calls| !calls.is_empty())
    {
        let calls: Vec<Value> = calls.iter().map(|call| call_json(call, style)).collect();
        object.insert("tool_calls".into(), calls.into());
    }
    if let Some(name) = &message.name {
        object.insert("name".into(), name.as_str().into());
    }
    if let Some(id) = &message.tool_call_id {
        object.insert("tool_call_id".into(), call_id(id, style).into());
    }
    Value::Object(object)
}

fn call_json(call: &ToolCall, style: ToolStyle) -> Value {
    json!({
        "id": call_id(&call.id, style),
        "type": call.kind,
        "function": { "name": call.function.name, "arguments": arguments_json(call) },
    })
}

/// Templates print the arguments as JSON, so they must be the object, not its text.
fn arguments_json(call: &ToolCall) -> Value {
    let text = call.function.arguments.trim();
    if text.is_empty() {
        return json!({});
    }
    serde_json::from_str(text).unwrap_or_else(|_| call.function.arguments.as_str().into())
}

/// Mistral's templates refuse identifiers that are not nine letters and digits; others stay.
fn call_id(id: &str, style: ToolStyle) -> String {
    const LENGTH: usize = 9;
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let valid = id.len() == LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if valid || !style.names_before_arguments() {
        return id.to_owned();
    }
    // FNV-1a: any stable function will do, as long as a call and its result agree.
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut short = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        short.push(char::from(DIGITS[(hash % 36) as usize]));
        hash /= 36;
    }
    short
}

/// The tools as templates get them; `strict` is for the server, not for the model.
pub(crate) fn tools_json(tools: &[Tool]) -> Vec<Value> {
    tools
        .iter()
        .map(|tool| {
            let mut function = Map::new();
            function.insert("name".into(), tool.function.name.as_str().into());
            if let Some(description) = &tool.function.description {
                function.insert("description".into(), description.as_str().into());
            }
            // Several families' templates read `parameters.properties` without asking.
            let none = || json!({ "type": "object", "properties": {} });
            let parameters = tool.function.parameters.clone().filter(Value::is_object);
            function.insert("parameters".into(), parameters.unwrap_or_else(none));
            json!({ "type": tool.kind, "function": function })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Value) -> Message {
        serde_json::from_value(value).expect("a valid message")
    }

    #[test]
    fn refuses_what_it_cannot_render() {
        for (messages, param, says) in [
            (json!([]), "messages", "at least one"),
            (
                json!([{"role": "user"}]),
                "messages[0].content",
                "must be a string",
            ),
            (
                json!([
                    {"role": "user", "content": "a"},
                    {"role": "user", "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "data:,"}}
                    ]}
                ]),
                "messages[1].content[1].type",
                "image_url",
            ),
            (
                json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]),
                "messages[0].content[0].type",
                "input_audio",
            ),
            (
                json!([{"role": "user", "content": [{"type": "text"}]}]),
                "messages[0].content[0].text",
                "missing",
            ),
        ] {
            let messages: Vec<Message> = serde_json::from_value(messages).expect("valid");
            let error = validate(&messages, &[]).expect_err(param);
            assert_eq!(error.param(), Some(param));
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn refuses_unusable_tools() {
        let user = [Message::user("a")];
        for (tools, param) in [
            (
                json!([{"type": "web_search", "function": {"name": "f"}}]),
                "tools[0].type",
            ),
            (
                json!([{"type": "function", "function": {"name": ""}}]),
                "tools[0].function.name",
            ),
            (
                json!([
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "function", "function": {"name": "f"}}
                ]),
                "tools[1].function.name",
            ),
        ] {
            let tools: Vec<Tool> = serde_json::from_value(tools).expect("valid");
            let error = validate(&user, &tools).expect_err(param);
            assert_eq!(error.param(), Some(param));
        }
    }

    #[test]
    fn messages_become_what_templates_read() {
        for (wire, expected) in [
            (
                json!({"role": "developer", "content": [
                    {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
                json!({"role": "system", "content": "a\nb"}),
            ),
            (
                json!({"role": "assistant", "content": null, "tool_calls": []}),
                json!({"role": "assistant", "content": ""}),
            ),
            (
                json!({"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function",
                     "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}},
                    {"id": "c2", "type": "function",
                     "function": {"name": "g", "arguments": "not json"}},
                    {"id": "c3", "type": "function", "function": {"name": "h", "arguments": ""}}
                ]}),
                json!({"role": "assistant", "content": "", "tool_calls": [
                    {"id": "c1", "type": "function",
                     "function": {"name": "f", "arguments": {"b": 1, "a": 2}}},
                    {"id": "c2", "type": "function",
                     "function": {"name": "g", "arguments": "not json"}},
                    {"id": "c3", "type": "function", "function": {"name": "h", "arguments": {}}}
                ]}),
            ),
            (
                json!({"role": "tool", "content": "r", "tool_call_id": "c1", "name": "f"}),
                json!({"role": "tool", "content": "r", "name": "f", "tool_call_id": "c1"}),
            ),
            (
                json!({"role": "tool", "content": "r"}),
                json!({"role": "tool", "content": "r"}),
            ),
        ] {
            let rendered = message_json(&message(wire), ToolStyle::Hermes);
            assert_eq!(rendered.to_string(), expected.to_string());
        }
    }

    #[test]
    fn mistral_gets_identifiers_it_accepts() {
        let long = "call_0123456789abcdef";
        assert_eq!(call_id("abcDEF123", ToolStyle::Mistral), "abcDEF123");
        assert_eq!(call_id(long, ToolStyle::Hermes), long);
        let short = call_id(long, ToolStyle::MistralArgs);
        assert_eq!(short.len(), 9);
        assert!(short.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(short, call_id("call_0123456789abcdee", ToolStyle::Mistral));
    }
}
