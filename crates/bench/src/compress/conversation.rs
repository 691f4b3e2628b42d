//! Recorded sessions as conversations with tool calls, whatever form they were recorded in.

use agentinfer_protocol::{FunctionCall, Message, Role, ToolCall};
use serde_json::Value;

use crate::recorded::TextCall;
use crate::sam::recording::{TextSession, Turns};

/// What opens and closes a call, and what a tool returned, inside of recorded text.
const CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];
const RESPONSE: [&str; 2] = ["<tool_response>", "</tool_response>"];
/// What opens and closes the command of an agent that works in a shell.
const COMMAND: [&str; 2] = ["```bash\n", "```"];

/// The conversations of a session: one, unless a call's input does not continue the one before.
pub(super) fn conversations(session: &TextSession) -> Vec<Vec<Message>> {
    match &session.turns {
        Turns::Messages(messages) => {
            let mut conversation = Vec::new();
            for message in messages {
                append(&mut conversation, message.clone());
            }
            vec![conversation]
        }
        Turns::Calls(calls) => from_calls(calls),
    }
}

/// Inputs that grow: what one adds to the one before is what the tool returned to that answer.
fn from_calls(calls: &[TextCall]) -> Vec<Vec<Message>> {
    let mut conversations: Vec<Vec<Message>> = Vec::new();
    let mut known = "";
    for call in calls {
        let added = call.input.strip_prefix(known);
        match (added, conversations.last_mut()) {
            (Some(result), Some(conversation)) => {
                append(conversation, Message::new(Role::Tool, result.trim()));
            }
            _ => conversations.push(vec![Message::user(call.input.as_str())]),
        }
        if let Some(conversation) = conversations.last_mut() {
            append(conversation, Message::assistant(call.output.as_str()));
        }
        known = &call.input;
    }
    conversations
}

/// Adds a recorded message: calls in its text become calls, and a user message that holds what a
/// tool returned becomes the tool's.
fn append(conversation: &mut Vec<Message>, mut message: Message) {
    let number = conversation.len();
    let text = message.text();
    match message.role {
        Role::Assistant if message.tool_calls.is_none() => {
            let (rest, calls) = calls(&text, number);
            if !calls.is_empty() {
                message = Message::assistant(rest);
                message.tool_calls = Some(calls);
            }
        }
        Role::User if text.trim_start().starts_with(RESPONSE[0]) => {
            let inside = text.trim();
            let inside = inside.strip_prefix(RESPONSE[0]).unwrap_or(inside);
            let inside = inside.strip_suffix(RESPONSE[1]).unwrap_or(inside);
            message = Message::new(Role::Tool, inside.trim());
        }
        _ => {}
    }
    let last = conversation
        .last()
        .and_then(|last| last.tool_calls.as_ref());
    if message.role == Role::Tool && message.tool_call_id.is_none() {
        let call = last.and_then(|calls| calls.first());
        message.tool_call_id = call.map(|call| call.id.clone());
    }
    conversation.push(message);
}

/// What an answer says beside its calls, and the calls.
fn calls(text: &str, message: usize) -> (String, Vec<ToolCall>) {
    let call = |number: usize, name: &str, arguments: String| ToolCall {
        id: format!("call_{message}_{number}"),
        kind: "function".to_owned(),
        function: FunctionCall {
            name: name.to_owned(),
            arguments,
        },
    };
    let mut said = String::new();
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some((before, inside, after)) = between(rest, CALL) {
        match serde_json::from_str::<Value>(inside.trim()) {
            Ok(value) => {
                let name = value["name"].as_str().unwrap_or_default();
                calls.push(call(calls.len(), name, value["arguments"].to_string()));
                said.push_str(before);
            }
            Err(_) => said.push_str(&rest[..rest.len() - after.len()]),
        }
        rest = after;
    }
    if let Some((before, command, after)) = between(rest, COMMAND).filter(|_| calls.is_empty()) {
        let arguments = serde_json::json!({ "command": command });
        calls.push(call(0, "bash", arguments.to_string()));
        return ([&said, before, after].concat(), calls);
    }
    said.push_str(rest);
    (said, calls)
}

/// What is before, between and after the first two marks.
fn between<'a>(text: &'a str, marks: [&str; 2]) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = text.split_once(marks[0])?;
    let (inside, after) = rest.split_once(marks[1])?;
    Some((before, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(messages: &[Message]) -> Vec<String> {
        let shown = messages.iter().map(|message| {
            let calls = message.tool_calls.iter().flatten();
            let calls = calls.map(|call| format!("({})", call.function.arguments));
            let role = format!("{:?}", message.role);
            let id = message.tool_call_id.clone().unwrap_or_default();
            format!(
                "{role}{id}: {}{}",
                message.text(),
                calls.collect::<String>()
            )
        });
        shown.collect()
    }

    fn session(turns: Turns) -> TextSession {
        TextSession {
            name: "s".to_owned(),
            task: "t".to_owned(),
            turns,
        }
    }

    #[test]
    fn calls_and_responses_are_found_in_text() {
        let call =
            "Hm.<tool_call>\n{\"name\": \"search\", \"arguments\": {\"q\": 1}}\n</tool_call>";
        let turns = Turns::Messages(vec![
            Message::user("Why?"),
            Message::assistant(call),
            Message::user("<tool_response>\nfound\n</tool_response>"),
            Message::assistant("<tool_call>{</tool_call> So."),
        ]);
        let found = conversations(&session(turns));
        let expected = [
            "User: Why?",
            "Assistant: Hm.({\"q\":1})",
            "Toolcall_1_0: found",
            "Assistant: <tool_call>{</tool_call> So.",
        ];
        assert_eq!(shown(&found[0]), expected);
    }

    #[test]
    fn inputs_that_grow_are_one_conversation() {
        let call = |timestamp, input: &str, output: &str| TextCall {
            timestamp,
            input: input.to_owned(),
            output: output.to_owned(),
            session_id: "s".to_owned(),
        };
        let turns = Turns::Calls(vec![
            call(1, "Fix it.", "First\n```bash\nls\n```"),
            call(2, "Fix it.\n\n<output>a.py", "Done."),
            call(3, "Another.", "Yes."),
        ]);
        let found = conversations(&session(turns));
        let expected = [
            "User: Fix it.",
            "Assistant: First\n({\"command\":\"ls\\n\"})",
            "Toolcall_1_0: <output>a.py",
            "Assistant: Done.",
        ];
        assert_eq!(shown(&found[0]), expected);
        assert_eq!(shown(&found[1]), ["User: Another.", "Assistant: Yes."]);
    }
}
