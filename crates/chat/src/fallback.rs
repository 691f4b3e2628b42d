//! Tools for models whose template knows none: described and shown in plain messages.

use serde_json::{Value, json};

use crate::jinja::dumps;

const BEFORE: &str = "You can call these tools, one JSON description a line:\n";
const AFTER: &str = "\nTo call tools, answer with nothing but a JSON object of this form:\n\
    {\"tool_calls\": [{\"name\": <tool name>, \"arguments\": <arguments object>}]}\n\
    To answer without a tool, write plain text.";

/// Rewrites a conversation so that a template without tools can render it: the tools are
/// described in the system message, calls become the JSON text that the description asks for,
/// and results become user messages.
pub(crate) fn rewrite(messages: Vec<Value>, tools: &[Value]) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::with_capacity(messages.len() + 1);
    let mut call_names: Vec<(String, String)> = Vec::new();
    for mut message in messages {
        if let Some(Value::Array(calls)) = message.get("tool_calls") {
            for call in calls {
                call_names.push((text(&call["id"]), text(&call["function"]["name"])));
            }
            message = json!({ "role": "assistant", "content": calls_text(&message, calls) });
        } else if message["role"] == "tool" {
            let result = result_text(&message, &call_names);
            // Several results of one turn must not become several user turns in a row.
            if let Some(last) = out.last_mut().filter(|last| last["results"] == true) {
                last["content"] = format!("{}\n\n{result}", text(&last["content"])).into();
                continue;
            }
            message = json!({ "role": "user", "content": result, "results": true });
        }
        out.push(message);
    }
    if !tools.is_empty() {
        describe_tools(&mut out, tools);
    }
    out
}

fn describe_tools(messages: &mut Vec<Value>, tools: &[Value]) {
    let lines: Vec<String> = tools.iter().map(|tool| dumps(&tool["function"])).collect();
    let description = format!("{BEFORE}{}{AFTER}", lines.join("\n"));
    match messages
        .first_mut()
        .filter(|first| first["role"] == "system")
    {
        Some(system) => {
            let content = text(&system["content"]);
            system["content"] = format!("{content}\n\n{description}").into();
        }
        None => messages.insert(0, json!({ "role": "system", "content": description })),
    }
}

fn calls_text(message: &Value, calls: &[Value]) -> String {
    let calls: Vec<&Value> = calls.iter().map(|call| &call["function"]).collect();
    let calls = dumps(&json!({ "tool_calls": calls }));
    match text(&message["content"]) {
        content if content.is_empty() => calls,
        content => format!("{content}\n{calls}"),
    }
}

fn result_text(message: &Value, call_names: &[(String, String)]) -> String {
    let id = text(&message["tool_call_id"]);
    let name = call_names
        .iter()
        .rev()
        .find(|(call_id, _)| *call_id == id)
        .map(|(_, name)| name);
    let named = message.get("name").map(text);
    match name.or(named.as_ref()) {
        Some(name) => format!("Result of {name}:\n{}", text(&message["content"])),
        None => format!("Result:\n{}", text(&message["content"])),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_described_and_results_merged() {
        let call = |id: &str, name: &str| {
            let function = json!({"name": name, "arguments": {"x": 1}});
            json!({"id": id, "type": "function", "function": function})
        };
        let messages = vec![
            json!({"role": "user", "content": "q"}),
            json!({"role": "assistant", "content": "Let me see.",
                   "tool_calls": [call("1", "f"), call("2", "g")]}),
            json!({"role": "tool", "content": "one", "tool_call_id": "1"}),
            json!({"role": "tool", "content": "two", "name": "h"}),
            json!({"role": "tool", "content": "three"}),
        ];
        let tools = [json!({"type": "function", "function": {"name": "f"}})];
        let out = rewrite(messages, &tools);
        let roles: Vec<String> = out.iter().map(|message| text(&message["role"])).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(
            out[0]["content"],
            format!("{BEFORE}{{\"name\": \"f\"}}{AFTER}")
        );
        assert_eq!(
            out[2]["content"],
            "Let me see.\n{\"tool_calls\": [{\"name\": \"f\", \"arguments\": {\"x\": 1}}, \
             {\"name\": \"g\", \"arguments\": {\"x\": 1}}]}"
        );
        assert_eq!(
            out[3]["content"],
            "Result of f:\none\n\nResult of h:\ntwo\n\nResult:\nthree"
        );
    }

    #[test]
    fn an_existing_system_message_is_kept() {
        let messages = vec![json!({"role": "system", "content": "Be brief."})];
        let out = rewrite(
            messages,
            &[json!({"type": "function", "function": {"name": "f"}})],
        );
        assert_eq!(out.len(), 1);
        assert!(text(&out[0]["content"]).starts_with("Be brief.\n\nYou can call"));
        assert_eq!(rewrite(vec![], &[]), Vec::<Value>::new());
    }
}
