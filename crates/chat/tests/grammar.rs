//! Grammars compiled by llguidance, and texts fed to them byte by byte.

use agentinfer_chat::tool_call_grammar;
use agentinfer_chat::{OutputDelta, OutputParser, ParserOptions, ToolMode, ToolStyle};
use agentinfer_protocol::Tool;
use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};
use serde_json::{Value, json};
use toktrie::{ApproximateTokEnv, TokenId};

/// Ids of control tokens in llguidance's single-byte test vocabulary.
const SPECIAL: [(&str, TokenId); 2] = [("<tool_call>", 256), ("</tool_call>", 257)];

fn tools(tools: Value) -> Vec<Tool> {
    let wrap = |function: &Value| json!({ "type": "function", "function": function });
    let tools: Vec<Value> = tools.as_array().into_iter().flatten().map(wrap).collect();
    serde_json::from_value(tools.into()).expect("valid tools")
}

fn weather() -> Value {
    json!({ "name": "weather", "parameters": {
        "type": "object",
        "properties": { "city": { "type": "string" }, "days": { "type": "integer" } },
        "required": ["city"],
    }})
}

fn compile(grammar: &str) -> Matcher {
    let env = ApproximateTokEnv::single_byte_env();
    let factory = ParserFactory::new_simple(&env).expect("a factory");
    let parser = factory.create_parser(TopLevelGrammar::from_lark(grammar.to_owned()));
    let matcher = Matcher::new(parser);
    assert!(!matcher.is_error(), "{:?}\n{grammar}", matcher.get_error());
    matcher
}

/// The tokens of a text in which control tokens are written as `{256}`.
fn tokens(text: &str, special: bool) -> Vec<TokenId> {
    let mut rest = text;
    let mut tokens = Vec::new();
    while let Some(first) = rest.as_bytes().first() {
        let found = SPECIAL
            .iter()
            .find(|(name, _)| special && rest.starts_with(name));
        let (token, bytes) = found.map_or((TokenId::from(*first), 1), |(name, token)| {
            (*token, name.len())
        });
        tokens.push(token);
        // Bytes, not characters: a token may be part of a character.
        rest = match rest.get(bytes..) {
            Some(rest) => rest,
            None => {
                let c = rest.chars().next().expect("not empty");
                tokens.pop();
                tokens.extend(c.to_string().bytes().map(TokenId::from));
                &rest[c.len_utf8()..]
            }
        };
    }
    tokens
}

/// How much of `text` the grammar takes, and whether it may end there.
fn feed(grammar: &str, text: &str, special: bool) -> (usize, bool) {
    let mut matcher = compile(grammar);
    let tokens = tokens(text, special);
    let taken = matcher.try_consume_tokens(&tokens).expect("no error");
    (
        tokens.len() - taken,
        matcher.is_accepting().expect("no error"),
    )
}

#[track_caller]
fn accepts(grammar: &str, text: &str, special: bool) {
    assert_eq!(feed(grammar, text, special), (0, true), "{text}\n{grammar}");
}

#[track_caller]
fn refuses(grammar: &str, text: &str, special: bool) {
    assert_ne!(feed(grammar, text, special), (0, true), "{text}\n{grammar}");
}

fn grammar(style: ToolStyle, tools: &[Tool], mode: ToolMode<'_>, parallel: bool) -> String {
    tool_call_grammar(style, tools, mode, parallel, &|_| None)
        .expect("a choice that can be met")
        .expect("a grammar")
}

/// Per style: one call of each tool, and both.
const FORMS: [(ToolStyle, &str, &str, &str); 5] = [
    (
        ToolStyle::Hermes,
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"O\\\"s}lo\", \"days\": \
         3}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n\
         {\"name\": \"weather\", \"arguments\": {\"city\": \"東京\"}}\n</tool_call>",
    ),
    (
        ToolStyle::Llama3,
        "{\"name\": \"weather\", \"parameters\": {\"city\": \"O\\\"s}lo\", \"days\": 3}}",
        "{\"name\": \"now\", \"parameters\": {}}",
        "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"weather\", \"parameters\": \
         {\"city\": \"東京\"}}",
    ),
    (
        ToolStyle::Mistral,
        "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"O\\\"s}lo\", \
         \"days\": 3}}]",
        "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}}]",
        "[TOOL_CALLS] [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"weather\", \
         \"arguments\": {\"city\": \"東京\"}}]",
    ),
    (
        ToolStyle::MistralArgs,
        "[TOOL_CALLS]weather[ARGS]{\"city\": \"O\\\"s}lo\", \"days\": 3}",
        "[TOOL_CALLS]now[ARGS]{}",
        "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]weather[ARGS]{\"city\": \"東京\"}",
    ),
    (
        ToolStyle::Json,
        "{\"tool_calls\": [{\"name\": \"weather\", \"arguments\": {\"city\": \"O\\\"s}lo\", \
         \"days\": 3}}]}",
        "{\"tool_calls\": [{\"name\": \"now\", \"arguments\": {}}]}",
        "{\"tool_calls\": [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"weather\", \
         \"arguments\": {\"city\": \"東京\"}}]}",
    ),
];

#[test]
fn required_calls_take_the_form_of_the_style() {
    let tools = tools(json!([weather(), { "name": "now" }]));
    for (style, with, without, both) in FORMS {
        let one = grammar(style, &tools, ToolMode::Required, false);
        let many = grammar(style, &tools, ToolMode::Required, true);
        let named = grammar(style, &tools, ToolMode::Named("now"), false);
        for (text, in_one, in_many, in_named) in [
            (with.to_owned(), true, true, false),
            (without.to_owned(), true, true, true),
            (both.to_owned(), false, true, false),
            ("Hello".to_owned(), false, false, false),
            (String::new(), false, false, false),
            (with.replace("weather", "other"), false, false, false),
            (with.replace("\"city\"", "\"town\""), false, false, false),
            (with.replace(" 3", " \"3\""), false, false, false),
            (with.replace("\": 3", "\":  3"), false, false, false),
            (with.replace("\"days\"", "\"hours\""), false, false, false),
            (without.replace("{}", "{\"a\": 1}"), false, false, false),
        ] {
            for (grammar, accepted) in [(&one, in_one), (&many, in_many), (&named, in_named)] {
                if accepted {
                    accepts(grammar, &text, false);
                } else {
                    refuses(grammar, &text, false);
                }
            }
        }
    }
}

/// The forms that are forced are forms that are understood.
#[test]
fn forced_calls_are_parsed() {
    let tools = tools(json!([weather(), { "name": "now" }]));
    for (style, with, _, both) in FORMS {
        for (text, names) in [(with, &["weather"][..]), (both, &["now", "weather"])] {
            let mut parser = OutputParser::new(style, &tools, ParserOptions::default());
            let mut deltas = parser.push(text);
            deltas.extend(parser.finish());
            let called: Vec<&str> = deltas
                .iter()
                .filter_map(|delta| match delta {
                    OutputDelta::ToolCallStart { name, .. } => Some(name.as_str()),
                    OutputDelta::Content(text) => panic!("content {text:?} in {style:?}"),
                    _ => None,
                })
                .collect();
            assert_eq!(called, names, "{style:?}");
        }
    }
}

#[test]
fn control_tokens_are_forced_as_tokens() {
    let tools = tools(json!([{ "name": "now" }]));
    let special = |text: &str| {
        SPECIAL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, token)| *token)
    };
    let text = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    let grammar = tool_call_grammar(
        ToolStyle::Hermes,
        &tools,
        ToolMode::Required,
        true,
        &special,
    )
    .expect("valid")
    .expect("a grammar");
    accepts(&grammar, text, true);
    accepts(&grammar, &format!("{text}\n{text}"), true);
    refuses(&grammar, text, false);
}

#[test]
fn schemas_with_references_and_unusual_names() {
    let tools = tools(json!([
        { "name": "Wetter-für \"heute\"\u{7f}", "parameters": {
            "type": "object",
            "$defs": { "node": {
                "type": "object",
                "properties": {
                    "value": { "type": "integer" },
                    "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] }
                },
                "required": ["value", "next"],
                "additionalProperties": false
            }},
            "properties": { "list": { "$ref": "#/$defs/node" } },
            "required": ["list"]
        }},
        { "name": "anything", "parameters": { "type": "object" } },
        { "name": "untyped", "parameters": {} },
        { "name": "lenient", "parameters": {
            "type": "object",
            "properties": { "when": { "type": "string", "format": "no-such-format" } },
            "required": ["when"]
        }},
    ]));
    let grammar = grammar(ToolStyle::Json, &tools, ToolMode::Required, false);
    for (name, arguments, accepted) in [
        (
            "Wetter-für \\\"heute\\\"\u{7f}",
            "{\"list\": {\"value\": 1, \"next\": {\"value\": 2, \"next\": null}}}",
            true,
        ),
        (
            "Wetter-für \\\"heute\\\"\u{7f}",
            "{\"list\": {\"value\": 1}}",
            false,
        ),
        ("anything", "{\"a\": [1, {\"b\": null}]}", true),
        ("untyped", "{\"a\": 1}", true),
        ("untyped", "1", false),
        ("anything", "[]", false),
        ("lenient", "{\"when\": \"now\"}", true),
        ("lenient", "{}", false),
    ] {
        let text =
            format!("{{\"tool_calls\": [{{\"name\": \"{name}\", \"arguments\": {arguments}}}]}}");
        if accepted {
            accepts(&grammar, &text, false);
        } else {
            refuses(&grammar, &text, false);
        }
    }
}

#[test]
fn strict_tools_are_held_to_their_schema_when_the_model_calls_them() {
    let mut strict = weather();
    strict["strict"] = true.into();
    let tools = tools(json!([strict, { "name": "now" }]));
    for (style, with, without, both) in FORMS {
        let grammar = grammar(style, &tools, ToolMode::Auto, true);
        for text in [with, without, both, "", "No need to {call}.", "A list: [1]"] {
            accepts(&grammar, text, false);
        }
        refuses(&grammar, &with.replace("\"city\"", "\"town\""), false);
        refuses(&grammar, &with.replace("weather", "other"), false);
        if matches!(
            style,
            ToolStyle::Hermes | ToolStyle::Mistral | ToolStyle::MistralArgs
        ) {
            accepts(&grammar, &format!("Let me see.\n{with}"), false);
            refuses(
                &grammar,
                &format!("Let me see.\n{with}").replace(" 3", " x"),
                false,
            );
        }
    }
    let special = |text: &str| {
        SPECIAL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, token)| *token)
    };
    let grammar = tool_call_grammar(ToolStyle::Hermes, &tools, ToolMode::Auto, true, &special)
        .expect("valid")
        .expect("a grammar");
    let (_, with, _, both) = FORMS[0];
    for text in [with, both, "", "Hello", &format!("Let me see.\n{with}")] {
        accepts(&grammar, text, true);
    }
    refuses(&grammar, &with.replace("weather", "other"), true);
}

#[test]
fn nothing_is_forced_without_need_and_impossible_choices_are_refused() {
    let tools = tools(json!([weather()]));
    let build =
        |tools: &[Tool], mode| tool_call_grammar(ToolStyle::Hermes, tools, mode, true, &|_| None);
    assert_eq!(build(&tools, ToolMode::Auto), Ok(None));
    assert_eq!(build(&[], ToolMode::Auto), Ok(None));
    for (tools, mode, says) in [
        (&[][..], ToolMode::Required, "`tools` is empty"),
        (&tools[..], ToolMode::Named("other"), "\"other\""),
    ] {
        let error = build(tools, mode).expect_err(says);
        assert_eq!(error.param(), Some("tool_choice"));
        assert!(error.to_string().contains(says), "{error}");
    }
}
