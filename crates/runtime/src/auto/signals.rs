//! What can be said of an answer without asking a model: what kind of step it was, and whether it
//! shows signs of a session that goes in circles. Pure functions of the conversation.

use std::collections::HashSet;

use agentinfer_collab::{Signal, Signals};
use agentinfer_protocol::{Message, Role, ToolCall};
use serde_json::Value;

use crate::answers::call_meaning;
use crate::tools;

/// Characters of a tool's name that a kind of steps is told by: the OpenAI API's bound on names.
const MAX_NAME: usize = 64;

/// Characters of which a text must be made to count as one that was said before: shorter ones
/// ("Done.") are said twice for good reasons.
const MIN_REPEATED: usize = 32;

/// Characters of a piece of text, by which a text that repeats itself is known. Longer than the
/// phrases that return in lists and tables.
const PIECE: usize = 24;

/// A text of fewer pieces is too short to be going in circles.
const MIN_PIECES: usize = 96;

/// Markup of tool calls, of all families: where it is left in an answer's text, a call was written
/// that could not be read.
const CALL_MARKUP: [&str; 4] = ["<tool_call>", "<tools>", "[TOOL_CALLS]", "<|python_tag|>"];

/// The kind of step that a request asks for: a small number of words for any one client, by which
/// a model's competence is learned.
pub(crate) fn kind(messages: &[Message], offered: bool) -> String {
    match messages.last() {
        Some(last) if offered && last.role == Role::Tool => {
            let name = tools::called(messages, messages.len() - 1).unwrap_or("tool");
            let name: String = name.chars().take(MAX_NAME).collect();
            format!("after:{name}")
        }
        _ if offered => "tools".to_owned(),
        _ => "chat".to_owned(),
    }
}

/// Whether the calls of an answer could be read, as far as it made any; `cut_off` says that it was
/// ended by a bound on its length.
pub(crate) fn is_parsed(answer: &Message, tools: bool, cut_off: bool) -> bool {
    let object = |call: &ToolCall| {
        let arguments = call.function.arguments.trim();
        arguments.is_empty()
            || serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object())
    };
    let mut calls = calls_of(answer).peekable();
    if calls.peek().is_some() {
        return !cut_off && calls.all(object);
    }
    let text = answer.text();
    !(tools && CALL_MARKUP.iter().any(|markup| text.contains(markup)))
}

/// The signs that `messages[at]`, an answer, and what its tools brought give. What cannot be
/// looked at (a new call where none was made, a result that is not there yet) is left out.
pub(crate) fn signals(messages: &[Message], at: usize, parsed: bool) -> Signals {
    let (before, rest) = messages.split_at(at);
    let mut signals = Signals::default().with(Signal::Parsed, parsed);
    let Some((answer, after)) = rest.split_first() else {
        return signals;
    };
    let meaning = |call: &ToolCall| call_meaning(&call.function).to_string();
    let made: HashSet<String> = before.iter().flat_map(calls_of).map(meaning).collect();
    let mut calls = calls_of(answer).map(meaning).peekable();
    if calls.peek().is_some() {
        signals = signals.with(Signal::NewCall, calls.any(|call| !made.contains(&call)));
    }
    let is_result = |message: &&Message| message.role == Role::Tool;
    let mut results = after.iter().take_while(is_result).peekable();
    if results.peek().is_some() {
        let seen = before
            .iter()
            .filter(is_result)
            .map(|result| squeezed(&result.text()));
        let seen: HashSet<String> = seen.collect();
        let new = |text: String| !is_failure(&text) && !seen.contains(&text);
        let new = results.any(|result| new(squeezed(&result.text())));
        signals = signals.with(Signal::NewResult, new);
    }
    let text = squeezed(&answer.text());
    if text.is_empty() {
        return signals;
    }
    let says_it =
        |message: &Message| message.role == Role::Assistant && squeezed(&message.text()) == text;
    let said = text.chars().count() >= MIN_REPEATED && before.iter().any(says_it);
    signals.with(Signal::Fresh, !said && !repeats_itself(&text))
}

fn calls_of(message: &Message) -> impl Iterator<Item = &ToolCall> {
    message.tool_calls.iter().flatten()
}

/// The text with every run of white space as one space.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a tool's result holds nothing, or says that the tool failed.
fn is_failure(result: &str) -> bool {
    const NOTHING: [&str; 6] = ["", "[]", "{}", "null", "none", "\"\""];
    const FAILED: [&str; 4] = ["error", "exception", "traceback", "failed"];
    let lower = result.to_lowercase();
    if NOTHING.contains(&lower.as_str()) || FAILED.iter().any(|word| lower.starts_with(word)) {
        return true;
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(result) else {
        return false;
    };
    let set = |name: &str| match fields.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(value) => value.as_str() != Some(""),
    };
    ["error", "isError", "is_error"].into_iter().any(set)
}

/// Whether most pieces of a text occur in it more than once.
fn repeats_itself(text: &str) -> bool {
    let begins: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let pieces: Vec<&str> = begins
        .windows(PIECE + 1)
        .map(|piece| &text[piece[0]..piece[PIECE]])
        .collect();
    let distinct: HashSet<&&str> = pieces.iter().collect();
    pieces.len() >= MIN_PIECES && 2 * distinct.len() < pieces.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversation(messages: Value) -> Vec<Message> {
        serde_json::from_value(messages).expect("messages")
    }

    fn call(name: &str, arguments: &str) -> Value {
        let function = json!({"name": name, "arguments": arguments});
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": format!("id of {name}"), "type": "function", "function": function},
        ]})
    }

    fn result(name: &str, text: &str) -> Value {
        json!({"role": "tool", "tool_call_id": format!("id of {name}"), "content": text})
    }

    fn user() -> Value {
        json!({"role": "user", "content": "Find it."})
    }

    fn says(text: &str) -> Value {
        json!({"role": "assistant", "content": text})
    }

    #[test]
    fn kinds_are_few_and_tell_what_came_last() {
        let long = "ü".repeat(80);
        for (messages, tools, expected) in [
            (json!([user()]), false, "chat"),
            (json!([user()]), true, "tools"),
            (json!([user(), says("So."), user()]), true, "tools"),
            (
                json!([user(), call("look", "{}"), result("look", "x")]),
                true,
                "after:look",
            ),
            (
                json!([user(), call("look", "{}"), result("look", "x")]),
                false,
                "chat",
            ),
            (
                json!([user(), {"role": "tool", "name": "find", "content": "x"}]),
                true,
                "after:find",
            ),
            (
                json!([user(), {"role": "tool", "content": "x"}]),
                true,
                "after:tool",
            ),
            (
                json!([user(), call(&long, "{}"), result(&long, "x")]),
                true,
                &format!("after:{}", "ü".repeat(64)),
            ),
        ] {
            assert_eq!(kind(&conversation(messages), tools), expected);
        }
    }

    #[test]
    fn a_call_that_was_cut_off_or_cannot_be_read_is_not_parsed() {
        for (answer, tools, cut_off, expected) in [
            (says("Here."), true, false, true),
            (says("Here."), true, true, true),
            (call("look", r#"{"at": 1}"#), true, false, true),
            (call("look", ""), true, false, true),
            (call("look", r#"{"at": 1}"#), true, true, false),
            (call("look", r#"{"at": "#), true, false, false),
            (call("look", "[1]"), true, false, false),
            (
                says("<tool_call>{\"name\": 1}</tool_call>"),
                true,
                false,
                false,
            ),
            (says("<tool_call> is a tag."), false, false, true),
            (says("[TOOL_CALLS] ["), true, false, false),
        ] {
            let answer: Message = serde_json::from_value(answer).expect("a message");
            assert_eq!(is_parsed(&answer, tools, cut_off), expected, "{answer:?}");
        }
    }

    /// The signals of the last answer of a conversation: new call, new result, fresh.
    fn found(messages: Value) -> [Option<bool>; 3] {
        let messages = conversation(messages);
        let answer = |message: &Message| message.role == Role::Assistant;
        let at = messages.iter().rposition(answer).expect("an answer");
        let signals = signals(&messages, at, true);
        assert_eq!(signals.get(Signal::Parsed), Some(true));
        [Signal::NewCall, Signal::NewResult, Signal::Fresh].map(|signal| signals.get(signal))
    }

    #[test]
    fn calls_and_results_are_new_or_were_there_before() {
        let first = || {
            [
                user(),
                call("look", r#"{"at": 1, "in": "a"}"#),
                result("look", "A shelf."),
            ]
        };
        let then = |more: &[Value]| {
            let all: Vec<Value> = first().into_iter().chain(more.iter().cloned()).collect();
            found(Value::Array(all))
        };
        let new = call("look", r#"{"at": 2, "in": "a"}"#);
        let same = call("look", r#"{"in":"a","at":1.0}"#);
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(then(&[]), [yes, yes, None]);
        assert_eq!(then(std::slice::from_ref(&new)), [yes, None, None]);
        assert_eq!(
            then(&[new.clone(), result("look", "A box.")]),
            [yes, yes, None]
        );
        assert_eq!(
            then(&[new.clone(), result("look", " A  shelf.\n")]),
            [yes, no, None]
        );
        assert_eq!(
            then(&[same.clone(), result("look", "A box.")]),
            [no, yes, None]
        );
        assert_eq!(then(&[same, result("look", "A shelf.")]), [no, no, None]);
        for nothing in [
            "",
            "[]",
            "null",
            "Error: no such page",
            "Traceback (most recent call last): x",
            r#"{"error": "not found"}"#,
            r#"{"isError": true, "content": "x"}"#,
        ] {
            assert_eq!(
                then(&[new.clone(), result("look", nothing)]),
                [yes, no, None],
                "{nothing}"
            );
        }
        for something in [
            r#"{"error": null, "value": 1}"#,
            "No errors.",
            "0",
            "{\"is_error\": false}",
        ] {
            let signals = then(&[new.clone(), result("look", something)]);
            assert_eq!(signals, [yes, yes, None], "{something}");
        }
        // One that is new is enough.
        let both = json!({"role": "assistant", "content": "", "tool_calls": [
            call("look", r#"{"at": 1, "in": "a"}"#)["tool_calls"][0],
            call("look", r#"{"at": 3, "in": "a"}"#)["tool_calls"][0],
        ]});
        let results = [both, result("look", "A shelf."), result("look", "A bag.")];
        assert_eq!(then(&results), [yes, yes, None]);
    }

    #[test]
    fn a_text_is_fresh_unless_it_was_said_before_or_turns_in_circles() {
        let long = "It must be on the upper shelf of the cupboard in the hall.";
        let fresh = |texts: &[&str]| {
            let turns = texts.iter().flat_map(|text| [user(), says(text)]);
            found(Value::Array(turns.collect()))[2]
        };
        assert_eq!(fresh(&[long]), Some(true));
        assert_eq!(fresh(&[long, &format!(" {long}\n")]), Some(false));
        assert_eq!(fresh(&["Done.", "Done."]), Some(true), "too short to tell");
        assert_eq!(
            fresh(&[
                long,
                "It is on the lower shelf of the cupboard in the hall."
            ]),
            Some(true)
        );
        assert_eq!(fresh(&[&long.repeat(4)]), Some(false));
        assert_eq!(fresh(&[&"书架上有一本书。".repeat(40)]), Some(false));
        let counting: String = (0..200)
            .map(|number| format!("Item {number} is here. "))
            .collect();
        assert_eq!(fresh(&[&counting]), Some(true), "a list is no circle");
        assert_eq!(fresh(&[""]), None);
    }
}
