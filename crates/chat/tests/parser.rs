//! Outputs of every family, whole and cut at every place.

use agentinfer_chat::{OutputDelta, OutputParser, ParserOptions, ToolStyle};
use agentinfer_protocol::Tool;
use proptest::prelude::*;
use serde_json::json;

const STYLES: [ToolStyle; 5] = [
    ToolStyle::Hermes,
    ToolStyle::Llama3,
    ToolStyle::Mistral,
    ToolStyle::MistralArgs,
    ToolStyle::Json,
];

fn tools() -> Vec<Tool> {
    serde_json::from_value(json!([
        {"type": "function", "function": {"name": "f"}},
        {"type": "function", "function": {"name": "g_2"}},
        {"type": "function", "function": {"name": "Wetter-für"}}
    ]))
    .expect("valid tools")
}

/// What an answer comes to, however it was cut.
#[derive(Debug, Default, PartialEq, Clone)]
struct Answer {
    content: String,
    reasoning: String,
    calls: Vec<(String, String)>,
}

impl Answer {
    fn add(&mut self, deltas: Vec<OutputDelta>) {
        for delta in deltas {
            match delta {
                OutputDelta::Content(text) => self.content += &text,
                OutputDelta::Reasoning(text) => self.reasoning += &text,
                OutputDelta::ToolCallStart { index, name } => {
                    assert_eq!(index as usize, self.calls.len());
                    self.calls.push((name, String::new()));
                }
                OutputDelta::ToolCallArguments { index, text } => {
                    assert_eq!(index as usize + 1, self.calls.len());
                    self.calls[index as usize].1 += &text;
                }
            }
        }
    }
}

fn parse_with<'a>(mut parser: OutputParser, pieces: impl IntoIterator<Item = &'a str>) -> Answer {
    let mut answer = Answer::default();
    for piece in pieces {
        answer.add(parser.push(piece));
    }
    answer.add(parser.finish());
    assert_eq!(parser.tool_calls() as usize, answer.calls.len());
    assert!(parser.finish().is_empty(), "the end is the end");
    answer
}

fn parse<'a>(style: ToolStyle, pieces: impl IntoIterator<Item = &'a str>) -> Answer {
    parse_with(
        OutputParser::new(style, &tools(), ParserOptions::default()),
        pieces,
    )
}

/// Parses whole, in two pieces at every place, and character by character.
#[track_caller]
fn check(style: ToolStyle, text: &str, content: &str, calls: &[(&str, &str)]) {
    let whole = parse(style, [text]);
    let calls: Vec<(String, String)> = calls
        .iter()
        .map(|(name, arguments)| (name.to_string(), arguments.to_string()))
        .collect();
    assert_eq!(whole.content, content, "{style:?} {text:?}");
    assert_eq!(whole.calls, calls, "{style:?} {text:?}");
    for (at, _) in text.char_indices() {
        let (left, right) = text.split_at(at);
        assert_eq!(
            parse(style, [left, right]),
            whole,
            "{style:?} cut {left:?} | {right:?}"
        );
    }
    let characters = text.split_inclusive(|_| true);
    assert_eq!(
        parse(style, characters),
        whole,
        "{style:?} {text:?} by characters"
    );
}

#[test]
fn hermes() {
    use ToolStyle::Hermes;
    for (text, content, calls) in [
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
            "",
            &[("f", "{\"a\": 1}")][..],
        ),
        // Text before; several calls; white space around them is not content.
        (
            "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n\
             <tool_call>\n{\"name\": \"g_2\", \"arguments\": {\"x\": [1, {\"y\": 2}]}}\n\
             </tool_call>\n",
            "Let me see.",
            &[("f", "{}"), ("g_2", "{\"x\": [1, {\"y\": 2}]}")],
        ),
        // Text after.
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n\nDone.",
            "\n\nDone.",
            &[("f", "{}")],
        ),
        // Strings that look like markup; escapes; nested braces.
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"</tool_call> } \\\" { \
             \\\\\", \"b\": {\"c\": \"<tool_call>\"}}}\n</tool_call>",
            "",
            &[(
                "f",
                "{\"a\": \"</tool_call> } \\\" { \\\\\", \"b\": {\"c\": \"<tool_call>\"}}",
            )],
        ),
        // Unicode, escaped and not.
        (
            "<tool_call>\n{\"name\": \"Wetter-für\", \"arguments\": {\"Ort\": \"東京 \\u00fc\"}}\n\
             </tool_call>",
            "",
            &[("Wetter-für", "{\"Ort\": \"東京 \\u00fc\"}")],
        ),
        (
            "<tool_call>\n{\"name\": \"Wetter-f\\u00fcr\", \"arguments\": {}}\n</tool_call>",
            "",
            &[("Wetter-für", "{}")],
        ),
        // Keys in any order, more keys, other names of the keys.
        (
            "<tool_call>{\"arguments\": {\"a\": 1}, \"id\": [1], \"name\": \"f\"}</tool_call>",
            "",
            &[("f", "{\"a\": 1}")],
        ),
        (
            "<tool_call>{\"name\": \"f\", \"parameters\": {\"a\": 1}, \"why\": \
             \"because\"}</tool_call>",
            "",
            &[("f", "{\"a\": 1}")],
        ),
        (
            "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \
             {}}}</tool_call>",
            "",
            &[("f", "{}")],
        ),
        // Arguments as text, null, missing.
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
            "",
            &[("f", "{\"a\": 1}")],
        ),
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": \"Oslo\"}</tool_call>",
            "",
            &[("f", "\"Oslo\"")],
        ),
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>",
            "",
            &[("f", "{}")],
        ),
        (
            "<tool_call>{\"name\": \"f\"}</tool_call>",
            "",
            &[("f", "{}")],
        ),
        // A tool that was not offered is the client's to refuse, when markup announces it.
        (
            "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
            "",
            &[("unknown", "{}")],
        ),
        // Lists, fences, missing and doubled tags and braces.
        (
            "<tool_call>\n[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g_2\", \
             \"arguments\": {}}]\n</tool_call>",
            "",
            &[("f", "{}"), ("g_2", "{}")],
        ),
        (
            "<tool_call>\n```json\n{\"name\": \"f\", \"arguments\": {}}\n```\n</tool_call>",
            "",
            &[("f", "{}")],
        ),
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}\n</tool_call>",
            "",
            &[("f", "{\"a\": 1}")],
        ),
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}}\n</tool_call>",
            "",
            &[("f", "{\"a\": 1}")],
        ),
        (
            "<tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}",
            "",
            &[("f", "{}")],
        ),
        (
            "<tools>\n{\"name\": \"f\", \"arguments\": {}}\n</tools>",
            "",
            &[("f", "{}")],
        ),
        (
            "```xml\n<tools>\n{\"name\": \"f\", \"arguments\": {}}\n</tools>\n```\n",
            "",
            &[("f", "{}")],
        ),
        ("```xml\n<note/>\n```", "```xml\n<note/>\n```", &[]),
        // Broken off inside the arguments: delivered as far as it goes.
        (
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"b",
            "",
            &[("f", "{\"a\": \"b")],
        ),
        // Not calls: nothing is lost.
        (
            "<tool_call>\n{\"name\": \"f\"",
            "<tool_call>\n{\"name\": \"f\"",
            &[],
        ),
        (
            "Hm <tool_call>\nnot JSON\n</tool_call> so",
            "Hm <tool_call>\nnot JSON\n</tool_call> so",
            &[],
        ),
        (
            "<tool_call>{\"title\": \"f\"}</tool_call>",
            "<tool_call>{\"title\": \"f\"}</tool_call>",
            &[],
        ),
        ("<tool_call></tool_call>", "<tool_call></tool_call>", &[]),
        ("a < b, <tool, <tools", "a < b, <tool, <tools", &[]),
        ("a <tool_call> is a tag", "a <tool_call> is a tag", &[]),
        // A failed call and a good one.
        (
            "<tool_call>{\"name\": 3}</tool_call>\n<tool_call>{\"name\": \"f\", \"arguments\": \
             {}}</tool_call>",
            "<tool_call>{\"name\": 3}</tool_call>",
            &[("f", "{}")],
        ),
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call><tool_call>oops",
            "<tool_call>oops",
            &[("f", "{}")],
        ),
    ] {
        check(Hermes, text, content, calls);
    }
}

#[test]
fn without_markup_offered_tools_are_believed_in_every_style() {
    let call = "{\"name\": \"f\", \"arguments\": {\"a\": 1}}";
    for style in STYLES {
        let one = &[("f", "{\"a\": 1}")][..];
        for text in [
            call.to_owned(),
            format!("\n{call}\n"),
            format!("[{call}]"),
            format!("```json\n{call}\n```"),
            format!("```\n{call}\n```\n"),
            format!("{call}</tool_call>").replace(
                "</tool_call>",
                match style {
                    // A closing tag without its opening one.
                    ToolStyle::Hermes | ToolStyle::Json => "\n</tool_call>",
                    _ => "",
                },
            ),
        ] {
            check(style, &text, "", one);
        }
        check(style, &format!("[{call}, {call}]"), "", &[one[0], one[0]]);
        check(style, &format!("{call}\nDone."), "\nDone.", one);
        check(
            style,
            &format!("```json\n{call}\n```\nDone:\n```x```"),
            "\nDone:\n```x```",
            one,
        );
        for text in [
            "{\"name\": \"Bob\", \"arguments\": {}}",
            "{\"name\": \"f\"}",
            "{\"name\": \"f\", \"age\": 3}",
            "{\"answer\": {\"name\": \"f\", \"arguments\": {}}}",
            "{}",
            "[]",
            "[1] says so",
            " ```python\nprint({})\n```",
            "```json\n{\"a\": 1}\n```",
            "Sure: {\"name\": \"f\", \"arguments\": {}}",
            "{\"name\": \"f\", \"arguments\":",
            "",
            "  \n",
            "`",
            "<",
        ] {
            check(style, text, text, &[]);
        }
    }
}

#[test]
fn llama3() {
    use ToolStyle::Llama3;
    for (text, content, calls) in [
        (
            "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}",
            "",
            &[("f", "{\"a\": \"b\"}")][..],
        ),
        (
            "<|python_tag|>{\"name\": \"unknown\", \"parameters\": {}}",
            "",
            &[("unknown", "{}")],
        ),
        (
            "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g_2\", \"parameters\": {\"x\": \
             1}}",
            "",
            &[("f", "{}"), ("g_2", "{\"x\": 1}")],
        ),
        (
            "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": \
             {}};{\"name\": \"f\", \"parameters\": {}}",
            "",
            &[("f", "{}"), ("f", "{}")],
        ),
        (
            "{\"type\": \"function\", \"function\": \"f\", \"parameters\": {}}",
            "",
            &[("f", "{}")],
        ),
        (
            "<|python_tag|>print(\"hi\")",
            "<|python_tag|>print(\"hi\")",
            &[],
        ),
        (
            "Just text; with {braces}.",
            "Just text; with {braces}.",
            &[],
        ),
    ] {
        check(Llama3, text, content, calls);
    }
}

#[test]
fn mistral() {
    for (text, content, calls) in [
        (
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}]",
            "",
            &[("f", "{\"a\": 1}")][..],
        ),
        (
            "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"arguments\": {}, \"name\": \
             \"g_2\", \"id\": \"123456789\"}]",
            "",
            &[("f", "{}"), ("g_2", "{}")],
        ),
        (
            "I look.[TOOL_CALLS]f[ARGS]{\"a\": \"[TOOL_CALLS]\"}",
            "I look.",
            &[("f", "{\"a\": \"[TOOL_CALLS]\"}")],
        ),
        (
            "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]Wetter-für[CALL_ID]abc123456[ARGS]{\"x\": {}}",
            "",
            &[("f", "{}"), ("Wetter-für", "{\"x\": {}}")],
        ),
        ("[TOOL_CALLS]f{\"a\": 1}", "", &[("f", "{\"a\": 1}")]),
        ("[TOOL_CALLS] none today", "[TOOL_CALLS] none today", &[]),
        ("[TOOL_CALLS]f[ARGS]none", "[TOOL_CALLS]f[ARGS]none", &[]),
        ("[TOOL_CALLS]f[ARG]{}", "[TOOL_CALLS]f[ARG]{}", &[]),
        ("[TOOL_CALLS]f", "[TOOL_CALLS]f", &[]),
        (
            "[TOOL_CALLS]f[CALL_ID]abc",
            "[TOOL_CALLS]f[CALL_ID]abc",
            &[],
        ),
        ("[TOOL_CALLS", "[TOOL_CALLS", &[]),
        (
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}]\nSo.",
            "\nSo.",
            &[("f", "{}")],
        ),
    ] {
        check(ToolStyle::Mistral, text, content, calls);
        check(ToolStyle::MistralArgs, text, content, calls);
    }
    let long = format!("[TOOL_CALLS]{}[ARGS]{{}}", "n".repeat(300));
    check(ToolStyle::MistralArgs, &long, &long, &[]);
}

#[test]
fn json() {
    use ToolStyle::Json;
    for (text, content, calls) in [
        (
            "{\"tool_calls\": [{\"name\": \"f\", \"arguments\": {\"a\": 1}}]}",
            "",
            &[("f", "{\"a\": 1}")][..],
        ),
        (
            "```json\n{\"tool_calls\": [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \
             \"g_2\", \"arguments\": {}}]}\n```",
            "",
            &[("f", "{}"), ("g_2", "{}")],
        ),
        (
            "{\"tool_call\": {\"name\": \"f\", \"arguments\": {}}}",
            "",
            &[("f", "{}")],
        ),
        (
            "{\"response\": \"Say \\\"hi\\\".\\n\"}",
            "Say \"hi\".\n",
            &[],
        ),
        ("{\"response\": \"cut o", "{\"response\": \"cut o", &[]),
        ("{\"tool_calls\": []}", "{\"tool_calls\": []}", &[]),
        (
            "{\"tool_calls\": [{\"name\": \"unknown\", \"arguments\": {}}]}",
            "{\"tool_calls\": [{\"name\": \"unknown\", \"arguments\": {}}]}",
            &[],
        ),
        (
            "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
            "",
            &[("f", "{}")],
        ),
    ] {
        check(Json, text, content, calls);
    }
    // In other styles `response` is an ordinary key.
    let text = "{\"response\": \"hi\"}";
    check(ToolStyle::Hermes, text, text, &[]);
}

#[test]
fn reasoning() {
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    for (open, text, reasoning, content, calls) in [
        (
            false,
            "<think>\nHm, <b>.\n\n</think>\n\nYes.",
            "Hm, <b>.",
            "Yes.",
            0,
        ),
        (false, " \n<think>a</think>{\"x\": 1}", "a", "{\"x\": 1}", 0),
        (
            false,
            "<think>a</think>\n\n{\"name\": \"f\", \"arguments\": {}}",
            "a",
            "",
            1,
        ),
        (
            false,
            &format!("<think>\nI could {call}.\n</think>\n{call}"),
            &format!("I could {call}."),
            "",
            1,
        ),
        (
            false,
            "<think>never closed </thin",
            "never closed </thin",
            "",
            0,
        ),
        (false, "<think></think>", "", "", 0),
        (
            false,
            "Later <think>a</think>",
            "",
            "Later <think>a</think>",
            0,
        ),
        (false, "<thin", "", "<thin", 0),
        (true, "\nHm.\n</think>\n\nYes.\n", "Hm.", "Yes.\n", 0),
        (true, "cut off", "cut off", "", 0),
    ] {
        let parser = || {
            let options = ParserOptions {
                reasoning_open: open,
            };
            OutputParser::new(ToolStyle::Hermes, &tools(), options)
        };
        let whole = parse_with(parser(), [text]);
        assert_eq!(
            (&*whole.reasoning, &*whole.content),
            (reasoning, content),
            "{text:?}"
        );
        assert_eq!(whole.calls.len(), calls, "{text:?}");
        let characters = parse_with(parser(), text.split_inclusive(|_| true));
        assert_eq!(characters, whole, "{text:?}");
    }
}

#[test]
fn without_tools_everything_is_content() {
    for style in STYLES {
        for text in [
            "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>",
            "{\"a\": 1} ",
            " ",
        ] {
            let mut parser = OutputParser::new(style, &[], ParserOptions::default());
            let mut answer = Answer::default();
            answer.add(parser.push(text));
            answer.add(parser.finish());
            assert_eq!(answer.content, text);
        }
    }
}

/// What is certain is delivered at once.
#[test]
fn deltas_come_as_early_as_they_can() {
    use OutputDelta::{Content, ToolCallArguments, ToolCallStart};
    let mut parser = OutputParser::new(ToolStyle::Hermes, &tools(), ParserOptions::default());
    for (text, expected) in [
        ("Hello", vec![Content("Hello".into())]),
        (" wor", vec![Content(" wor".into())]),
        ("ld.\n<to", vec![Content("ld.".into())]),
        ("day>", vec![Content("\n<today>".into())]),
        ("<tool_call>\n{\"name\": \"f\", ", vec![]),
        (
            "\"arguments\": {\"a",
            vec![
                ToolCallStart {
                    index: 0,
                    name: "f".into(),
                },
                ToolCallArguments {
                    index: 0,
                    text: "{\"a".into(),
                },
            ],
        ),
        (
            "\": 1",
            vec![ToolCallArguments {
                index: 0,
                text: "\": 1".into(),
            }],
        ),
        (
            "}}\n</tool_call>",
            vec![ToolCallArguments {
                index: 0,
                text: "}".into(),
            }],
        ),
    ] {
        assert_eq!(parser.push(text), expected, "{text:?}");
    }
    assert_eq!(parser.finish(), []);

    // JSON that is no call streams from the first key that no call has.
    let mut parser = OutputParser::new(ToolStyle::Hermes, &tools(), ParserOptions::default());
    assert_eq!(parser.push("{\"answer"), []);
    assert_eq!(parser.push("\": 4"), [Content("{\"answer\": 4".into())]);
}

/// Pieces of markup and JSON in any order: more likely to hit a rare state than any text.
fn pieces() -> impl Strategy<Value = Vec<&'static str>> {
    let piece = prop::sample::select(vec![
        "<tool_call>",
        "</tool_call>",
        "<tools>",
        "</tools>",
        "<think>",
        "</think>",
        "<tool_",
        "call>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<|python_tag|>",
        "```json",
        "```",
        "{",
        "}",
        "[",
        "]",
        ",",
        ";",
        ":",
        "\"",
        "\\",
        "\"name\": \"f\"",
        "\"name\"",
        "\"arguments\": {",
        "\"parameters\"",
        "\"function\": ",
        "\"tool_calls\": [",
        "\"response\": \"",
        "null",
        "1",
        "f",
        "ü",
        "\n",
        " ",
        "\"name\": \"f\", \"arguments\": {}}",
        "text",
        "{\"name\": \"g_2\", \"arguments\": {\"a\": \"",
    ]);
    prop::collection::vec(piece, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn cuts_do_not_matter(pieces in pieces(), style in prop::sample::select(STYLES.to_vec())) {
        let text = pieces.concat();
        let whole = parse(style, [text.as_str()]);
        prop_assert_eq!(&parse(style, pieces.iter().copied()), &whole);
        prop_assert_eq!(&parse(style, text.split_inclusive(|_| true)), &whole);
        for (at, _) in text.char_indices() {
            let (left, right) = text.split_at(at);
            prop_assert_eq!(&parse(style, [left, right]), &whole, "cut at {}", at);
        }
    }

    #[test]
    fn without_a_call_nothing_but_space_is_lost(
        pieces in pieces(),
        style in prop::sample::select(STYLES.to_vec()),
    ) {
        let text = pieces.concat();
        let answer = parse(style, [text.as_str()]);
        let response = style == ToolStyle::Json && text.contains("response");
        if answer.calls.is_empty() && !text.trim_start().starts_with("<think>") && !response {
            prop_assert_eq!(answer.content, text);
        }
    }
}
