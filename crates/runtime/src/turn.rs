//! How a template writes an answer once the conversation has gone on.
//!
//! Some templates write the last turn otherwise than those before it (Qwen3 shows an empty
//! `<think>` block in the last one only, and hides the reasoning once a new question is asked). An
//! answer comes back as a turn with something after it, so that is how it is rendered here.

use agentinfer_chat::ChatError;
use agentinfer_protocol::{Message, Role};

/// Stands for what the client will say next. Plain letters, which no template escapes.
const FOLLOW_UP: &str = "agentinfer-follow-up";

/// What a template renders after `prompt` for `answer`, up to somewhere past the end of its turn:
/// followed by the results of its calls or, where it has none, by a question. `prompt` is what it
/// renders for `messages`.
///
/// Where the continued conversation does not begin with the prompt, or hides a part of the answer
/// (its reasoning), the answer is rendered as the last turn: then only a repetition of the same
/// prompt gains by it. `None` where a part is hidden there too, or the template refuses the answer:
/// then the text does not stand for what was said, and another answer could have the same.
pub(crate) fn rendered_turn(
    render: &dyn Fn(&[Message]) -> Result<String, ChatError>,
    messages: &[Message],
    answer: &Message,
    prompt: &str,
) -> Option<String> {
    let after_prompt = |messages: &[Message]| {
        let text = render(messages).ok()?;
        text.strip_prefix(prompt).map(str::to_owned)
    };
    let follow_ups = follow_ups(answer);
    let mut all = messages.to_vec();
    all.push(answer.clone());
    let answered = all.len();
    all.extend_from_slice(&follow_ups);
    let continued = after_prompt(&all).and_then(|turn| {
        let (own, _) = turn.split_once(FOLLOW_UP)?;
        // An answer that says these very words is not told apart from what follows it.
        let only_ours = turn.matches(FOLLOW_UP).count() == follow_ups.len();
        (only_ours && shows(own, answer)).then(|| own.to_owned())
    });
    continued.or_else(|| after_prompt(&all[..answered]).filter(|turn| shows(turn, answer)))
}

/// What a template renders for a conversation and its answer, up to what the client will say next:
/// all that a tier can read ahead.
///
/// # Errors
/// When the template refuses the conversation with the answer.
pub(crate) fn continued(
    render: &dyn Fn(&[Message]) -> Result<String, ChatError>,
    messages: &[Message],
    answer: &Message,
) -> Result<String, ChatError> {
    let mut all = messages.to_vec();
    all.push(answer.clone());
    let answered = all.len();
    all.extend(follow_ups(answer));
    let own = render(&all).ok().and_then(|text| {
        let (own, _) = text.split_once(FOLLOW_UP)?;
        Some(own.to_owned())
    });
    own.map_or_else(|| render(&all[..answered]), Ok)
}

/// Whether every part of an answer is in its turn.
fn shows(turn: &str, answer: &Message) -> bool {
    let reasoning = answer.reasoning_content.as_deref().unwrap_or_default();
    let calls = answer.tool_calls.iter().flatten();
    turn.contains(reasoning.trim())
        && turn.contains(answer.text().trim())
        && calls
            .into_iter()
            .all(|call| turn.contains(&call.function.name))
}

/// What may come after an answer: a result for each of its calls, else a question.
fn follow_ups(answer: &Message) -> Vec<Message> {
    let calls = answer.tool_calls.iter().flatten();
    let mut results: Vec<Message> = calls
        .map(|call| Message {
            tool_call_id: Some(call.id.clone()),
            ..Message::new(Role::Tool, FOLLOW_UP)
        })
        .collect();
    if results.is_empty() {
        results.push(Message::user(FOLLOW_UP));
    }
    results
}

#[cfg(test)]
mod tests {
    use agentinfer_chat::{ChatTemplate, Date, RenderInput};
    use agentinfer_protocol::Tool;
    use serde_json::{Value, json};

    use super::*;

    const TEMPLATES: [(&str, &str); 7] = [
        (
            "gemma2",
            include_str!("../../chat/tests/fixtures/templates/gemma2.jinja"),
        ),
        (
            "llama3.1",
            include_str!("../../chat/tests/fixtures/templates/llama3.1.jinja"),
        ),
        (
            "mistral",
            include_str!("../../chat/tests/fixtures/templates/mistral.jinja"),
        ),
        (
            "mistral-args",
            include_str!("../../chat/tests/fixtures/templates/mistral-args.jinja"),
        ),
        (
            "qwen2.5",
            include_str!("../../chat/tests/fixtures/templates/qwen2.5.jinja"),
        ),
        (
            "qwen3",
            include_str!("../../chat/tests/fixtures/templates/qwen3.jinja"),
        ),
        (
            "smollm2",
            include_str!("../../chat/tests/fixtures/templates/smollm2.jinja"),
        ),
    ];

    const TODAY: Date = Date {
        year: 2026,
        month: 1,
        day: 31,
    };

    fn answer(content: &str, reasoning: Option<&str>, calls: &[&str]) -> Message {
        let call = |(index, arguments): (usize, &&str)| {
            let function = json!({"name": "look", "arguments": arguments});
            json!({"id": format!("abcdefgh{index}"), "type": "function", "function": function})
        };
        let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
        let message = json!({
            "role": "assistant", "content": content, "reasoning_content": reasoning,
            "tool_calls": calls,
        });
        serde_json::from_value(message).expect("a message")
    }

    fn tools() -> Vec<Tool> {
        let function = json!({"name": "look", "description": "Looks.", "parameters": {
            "type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"],
        }});
        serde_json::from_value(json!([{"type": "function", "function": function}])).expect("tools")
    }

    /// Whether what is remembered for `answer` is how the next request begins.
    fn is_found_again(source: &str, answer: &Message) -> bool {
        let template = ChatTemplate::new(source, "<s>", "</s>").expect("compiles");
        let tools = match answer.tool_calls.as_deref() {
            None | Some([]) => Vec::new(),
            Some(_) => tools(),
        };
        let render = |messages: &[Message], prompt: bool| {
            let input = RenderInput {
                add_generation_prompt: prompt,
                ..RenderInput::new(messages).tools(&tools).date(TODAY)
            };
            template.render(&input)
        };
        let mut messages = vec![Message::user("Where is it?")];
        let prompt = render(&messages, true).expect("renders");
        let turn = rendered_turn(
            &|messages| render(messages, false),
            &messages,
            answer,
            &prompt,
        );
        let Some(turn) = turn else { return false };
        let mut next = follow_ups(answer);
        for message in &mut next {
            *message = Message {
                tool_call_id: message.tool_call_id.clone(),
                ..Message::new(message.role, "Not here.")
            };
        }
        messages.push(answer.clone());
        messages.extend(next);
        let text = render(&messages, true).expect("renders");
        text.starts_with(&(prompt + &turn))
    }

    #[test]
    fn an_answer_is_rendered_as_its_continuation_renders_it() {
        let call = r#"{"at": "the shelf"}"#;
        for (name, source) in TEMPLATES {
            let mut answers = vec![answer("On the shelf.", None, &[])];
            // Gemma's template refuses the system message that would describe tools to it.
            if name != "gemma2" {
                answers.push(answer("", None, &[call]));
            }
            // That of Llama 3.1 refuses several calls.
            if !["gemma2", "llama3.1"].contains(&name) {
                answers.push(answer("", None, &[call, "{}"]));
            }
            // These hide the text beside a call.
            if !["gemma2", "llama3.1", "mistral"].contains(&name) {
                answers.push(answer("Let me look.", None, &[call]));
            }
            for answer in &answers {
                assert!(is_found_again(source, answer), "{name}: {answer:?}");
            }
        }
    }

    #[test]
    fn an_answer_is_only_remembered_where_the_template_shows_all_of_it() {
        let call = r#"{"at": "the shelf"}"#;
        let cases = [
            ("llama3.1", answer("Let me look.", None, &[call]), false),
            ("mistral", answer("Let me look.", None, &[call]), false),
            ("qwen3", answer("", Some("It may be there."), &[call]), true),
            (
                "qwen3",
                answer("There.", Some("It may be there."), &[]),
                false,
            ),
            (
                "qwen2.5",
                answer("There.", Some("It may be there."), &[]),
                false,
            ),
            (
                "qwen2.5",
                answer("", Some("It may be there."), &[call]),
                false,
            ),
        ];
        for (name, answer, found) in cases {
            let (_, source) = TEMPLATES
                .iter()
                .find(|(template, _)| *template == name)
                .expect("a fixture");
            assert_eq!(is_found_again(source, &answer), found, "{name}: {answer:?}");
        }
    }

    #[test]
    fn words_of_the_answer_are_not_mistaken_for_what_follows() {
        let (_, source) = TEMPLATES[4];
        let template = ChatTemplate::new(source, "", "").expect("compiles");
        let render = |messages: &[Message]| {
            let input = RenderInput {
                add_generation_prompt: false,
                ..RenderInput::new(messages)
            };
            template.render(&input)
        };
        let messages = [Message::user("Say it.")];
        let prompt = template
            .render(&RenderInput::new(&messages))
            .expect("renders");
        let answer = Message::assistant(format!("I say {FOLLOW_UP}."));
        let turn = rendered_turn(&render, &messages, &answer, &prompt).expect("a turn");
        assert!(turn.starts_with(&answer.text()), "{turn}");
    }
}
