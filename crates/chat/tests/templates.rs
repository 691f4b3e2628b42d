//! Rendered prompts against what Python's jinja2 renders (fixtures/NOTICE.md).

use std::{fs, path::PathBuf};

use agentinfer_chat::{
    ChatError, ChatTemplate, DEFAULT_TEMPLATE, Date, RenderInput, ToolStyle, opens_reasoning,
};
use agentinfer_protocol::{Message, Tool};
use serde_json::{Value, json};

const TODAY: Date = Date {
    year: 2025,
    month: 3,
    day: 7,
};

fn fixture(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn template(name: &str) -> ChatTemplate {
    ChatTemplate::new(&fixture(&format!("templates/{name}.jinja")), "<s>", "</s>")
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fixture conversations are as templates get them; on the wire, arguments are text.
fn conversation(name: &str) -> (Vec<Message>, Vec<Tool>) {
    let mut request: Value = serde_json::from_str(&fixture(&format!("conversations/{name}.json")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for message in request["messages"].as_array_mut().into_iter().flatten() {
        for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
            let arguments = &mut call["function"]["arguments"];
            *arguments = arguments.to_string().into();
        }
        if message["tool_calls"].is_null() {
            message
                .as_object_mut()
                .map(|message| message.remove("tool_calls"));
        }
    }
    let tools = request["tools"].as_array().cloned().unwrap_or_default();
    let parse = "a valid fixture";
    (
        serde_json::from_value(request["messages"].take()).expect(parse),
        serde_json::from_value(tools.into()).expect(parse),
    )
}

#[test]
fn prompts_equal_those_of_python() {
    let names = [
        "qwen2.5",
        "qwen3",
        "llama3.1",
        "mistral",
        "mistral-args",
        "smollm2",
        "gemma2",
    ];
    let mut compared = 0;
    for name in names {
        let template = template(name);
        for case in ["plain", "no_system", "tools", "parallel"] {
            let (messages, tools) = conversation(case);
            if !tools.is_empty() && !template.renders_tools() {
                continue;
            }
            let input = RenderInput::new(&messages).tools(&tools).date(TODAY);
            let rendered = match template.render(&input) {
                Ok(text) => text,
                Err(ChatError::Render { reason, .. }) => {
                    // The template line is ours to add.
                    let reason = reason.split(" (template line").next().unwrap_or_default();
                    format!("raises: {reason}")
                }
                Err(error) => panic!("{name}.{case}: {error}"),
            };
            let expected = fixture(&format!("expected/{name}.{case}.txt"));
            assert_eq!(rendered, expected, "{name}.{case}");
            compared += 1;
        }
    }
    assert_eq!(
        compared, 24,
        "templates that render tools: all but smollm2 and gemma2"
    );
}

#[test]
fn refusals_name_the_message() {
    let gemma = template("gemma2");
    for (messages, param, says) in [
        (
            vec![
                Message::user("a"),
                Message::assistant("b"),
                Message::assistant("c"),
            ],
            "messages[2]",
            "roles must alternate",
        ),
        (
            vec![Message::system("a"), Message::user("b")],
            "messages[0]",
            "System role not supported",
        ),
    ] {
        let error = gemma.render(&RenderInput::new(&messages)).expect_err(says);
        assert_eq!(error.param(), Some(param));
        assert!(error.to_string().contains(says), "{error}");
    }
    let mistral = template("mistral");
    let mut messages = vec![Message::user("a")];
    for turn in 0..20 {
        messages.push(Message::assistant(format!("{turn}")));
        messages.push(Message::user("b"));
    }
    messages.insert(14, Message::user("once more"));
    let error = mistral
        .render(&RenderInput::new(&messages))
        .expect_err("two user turns");
    // Two user turns in a row are noticed at the second.
    assert_eq!(error.param(), Some("messages[15]"));
}

#[test]
fn a_broken_template_says_where() {
    let error = ChatTemplate::new("a\n{% for x in %}", "", "").expect_err("no valid Jinja");
    let text = error.to_string();
    assert!(
        text.contains("does not compile") && text.contains("line 2"),
        "{text}"
    );
    assert_eq!(error.param(), None);

    let template = ChatTemplate::new("{{ no_such_function() }}", "", "").expect("compiles");
    let error = template
        .render(&RenderInput::new(&[Message::user("a")]))
        .expect_err("unknown");
    assert!(error.to_string().contains("no_such_function"), "{error}");
}

#[test]
fn without_a_date_strftime_now_is_undefined() {
    let prompt = template("llama3.1").render(&RenderInput::new(&[Message::user("a")]));
    assert!(prompt.expect("renders").contains("Today Date: 26 Jul 2024"));
}

#[test]
fn variables_reach_the_template_but_cannot_replace_the_conversation() {
    let messages = [Message::user("real")];
    let variables = json!({ "enable_thinking": false, "messages": [] });
    let input = RenderInput {
        variables: variables.as_object(),
        ..RenderInput::new(&messages)
    };
    let prompt = template("qwen3").render(&input).expect("renders");
    assert_eq!(
        prompt,
        "<|im_start|>user\nreal<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    );
    assert!(!opens_reasoning(&prompt));
    assert!(opens_reasoning("<|im_start|>assistant\n<think>\n"));
}

#[test]
fn the_generation_prompt_can_be_left_out() {
    let messages = [Message::user("a"), Message::assistant("b")];
    let template = ChatTemplate::new(DEFAULT_TEMPLATE, "", "").expect("compiles");
    let input = RenderInput {
        add_generation_prompt: false,
        ..RenderInput::new(&messages)
    };
    assert_eq!(
        template.render(&input).expect("renders"),
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
    );
}

#[test]
fn models_without_tools_are_told_about_them() {
    let template = template("smollm2");
    assert!(!template.renders_tools());
    assert_eq!(template.style(), ToolStyle::Json);
    let (messages, tools) = conversation("parallel");
    let prompt = template
        .render(&RenderInput::new(&messages).tools(&tools))
        .expect("renders");
    let expected = fixture("expected/tools-described.txt");
    assert_eq!(prompt, expected);
}

#[test]
fn a_style_can_be_overridden() {
    let template = template("smollm2").with_style(ToolStyle::Hermes);
    assert_eq!(template.style(), ToolStyle::Hermes);
    assert_eq!(self::template("llama3.1").style(), ToolStyle::Llama3);
}

#[test]
fn long_conversations_fit_the_fuel() {
    let text = "word ".repeat(2_000);
    let messages: Vec<Message> = (0..1_000)
        .map(|turn| match turn % 2 {
            0 => Message::user(text.as_str()),
            _ => Message::assistant(text.as_str()),
        })
        .collect();
    for name in ["qwen3", "mistral"] {
        let prompt = template(name)
            .render(&RenderInput::new(&messages))
            .expect(name);
        assert!(prompt.len() > 10_000_000);
    }
}
