//! Grammars that force a tool call, in llguidance's Lark syntax.

use agentinfer_protocol::{FunctionSpec, Tool};
use serde_json::{Map, Value, json};

use crate::{ChatError, ToolStyle};

/// How free the model is to call tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolMode<'a> {
    /// It decides. Only `strict` tools make a grammar: one that constrains a call's arguments
    /// once the model has begun it.
    Auto,
    /// It must call at least one tool.
    Required,
    /// It must call this tool.
    Named(&'a str),
}

/// The grammar that holds an answer to the form of `style`, or `None` where nothing is forced.
///
/// Calls are written exactly as the families' templates print them (`", "` and `": "` between
/// the parts of JSON), so that a call is re-rendered to the tokens that were generated. Arguments
/// follow each tool's schema; at its top level, undeclared properties are refused unless the
/// schema speaks of them. For tools that are not `strict`, keywords of the schema that llguidance
/// does not know are ignored; for strict ones they are an error when the grammar is compiled.
///
/// `special_token` gives the id of markup (such as `<tool_call>`) that the vocabulary holds as a
/// control token; markup for which it answers `None` is forced as ordinary text, which is right
/// for the user-defined tokens of GGUF files too.
///
/// The output is forced from its first token: a model that would reason first does not.
///
/// # Errors
///
/// [`ChatError::Invalid`] when a call is required and there are no tools, or not the named one.
pub fn tool_call_grammar(
    style: ToolStyle,
    tools: &[Tool],
    mode: ToolMode<'_>,
    parallel: bool,
    special_token: &dyn Fn(&str) -> Option<u32>,
) -> Result<Option<String>, ChatError> {
    let tools: Vec<&FunctionSpec> = tools
        .iter()
        .map(|tool| &tool.function)
        .filter(|tool| !matches!(mode, ToolMode::Named(name) if name != tool.name))
        .collect();
    match mode {
        ToolMode::Auto if !tools.iter().any(|tool| tool.strict == Some(true)) => return Ok(None),
        ToolMode::Required if tools.is_empty() => {
            return Err(ChatError::invalid(
                "tool_choice",
                "is \"required\", but `tools` is empty",
            ));
        }
        ToolMode::Named(name) if tools.is_empty() => {
            let problem = format!("names {name:?}, which is not in `tools`");
            return Err(ChatError::invalid("tool_choice", problem));
        }
        _ => {}
    }
    let mut grammar = Grammar {
        style,
        special_token,
        text: String::new(),
    };
    grammar.start(mode == ToolMode::Auto, parallel);
    grammar.calls(&tools);
    Ok(Some(grammar.text))
}

/// The parts of an answer that calls tools, as Lark.
struct Forms {
    /// Markup before the first call.
    opening: Option<&'static str>,
    /// The first call, or the list of all.
    first: String,
    /// Each further call where they are not in a list, else empty.
    more: String,
}

struct Grammar<'a> {
    style: ToolStyle,
    special_token: &'a dyn Fn(&str) -> Option<u32>,
    text: String,
}

impl Grammar<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The rule of the whole answer, down to `call`, one call.
    fn start(&mut self, auto: bool, parallel: bool) {
        let Forms {
            opening,
            first,
            more,
        } = self.forms(parallel);
        let calls = if parallel && !more.is_empty() {
            format!("{first} ({more})*")
        } else {
            first
        };
        match opening {
            None if auto => {
                // An answer that begins like JSON is a call; anything else is text.
                self.line(&format!("start: {calls} | TEXT | \"\""));
                self.line(r"TEXT: /\s*[^{\s](?s:.*)/");
            }
            None => self.line(&format!("start: {calls}")),
            Some(opening) if auto => {
                self.line("start: TEXT | opened calls | \"\"");
                self.line(&format!("calls: {calls}"));
                self.line("TEXT: /(?s:.*)/");
                match (self.special_token)(opening) {
                    Some(_) => self.line(&format!("opened: TEXT? {}", self.markup(opening))),
                    // Lazy: the text ends where the markup first appears.
                    None => self.line(&format!("opened[lazy]: TEXT {}", literal(opening))),
                }
            }
            Some(opening) => self.line(&format!("start: {} {calls}", self.markup(opening))),
        }
    }

    /// How the style writes calls.
    fn forms(&self, parallel: bool) -> Forms {
        let list = |separator: &str| match parallel {
            true => format!("call ({} call)*", literal(separator)),
            false => "call".to_owned(),
        };
        let form = |opening, first, more| Forms {
            opening,
            first,
            more,
        };
        match self.style {
            ToolStyle::Hermes => {
                let (open, close) = (self.markup("<tool_call>"), self.markup("</tool_call>"));
                let first = format!("\"\\n\" call \"\\n\" {close}");
                let more = format!("\"\\n\" {open} {first}");
                form(Some("<tool_call>"), first, more)
            }
            ToolStyle::MistralArgs => {
                let more = format!("{} call", self.markup("[TOOL_CALLS]"));
                form(Some("[TOOL_CALLS]"), "call".to_owned(), more)
            }
            ToolStyle::Mistral => {
                let first = format!("\" \"? \"[\" {} \"]\"", list(", "));
                form(Some("[TOOL_CALLS]"), first, String::new())
            }
            ToolStyle::Llama3 => form(None, list("; "), String::new()),
            ToolStyle::Json => {
                let open = literal("{\"tool_calls\": [");
                form(
                    None,
                    format!("{open} {} \"]}}\"", list(", ")),
                    String::new(),
                )
            }
        }
    }

    /// The rule `call`, and one rule for each tool and its arguments.
    fn calls(&mut self, tools: &[&FunctionSpec]) {
        let names: Vec<String> = (0..tools.len())
            .map(|index| format!("tool_{index}"))
            .collect();
        self.line(&format!("call: {}", names.join(" | ")));
        for (index, tool) in tools.iter().enumerate() {
            let rule = match self.style {
                ToolStyle::MistralArgs => {
                    let name = literal(&tool.name);
                    format!("{name} {} args_{index}", self.markup("[ARGS]"))
                }
                style => {
                    let name = Value::from(tool.name.as_str());
                    let key = style.arguments_key();
                    let head = literal(&format!("{{\"name\": {name}, \"{key}\": "));
                    format!("{head} args_{index} \"}}\"")
                }
            };
            self.line(&format!("tool_{index}: {rule}"));
            self.line(&format!("args_{index}: %json {}", schema(tool)));
        }
    }

    /// Markup as a control token where it is one, else as text.
    fn markup(&self, text: &str) -> String {
        match (self.special_token)(text) {
            // By number: the syntax for names cannot write `[TOOL_CALLS]`.
            Some(token) => format!("<[{token}]>"),
            None => literal(text),
        }
    }
}

/// A Lark string: JSON's escapes, but delete (0x7f) may not stand as it is.
fn literal(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The schema of a tool's arguments, with the settings of llguidance for it.
fn schema(tool: &FunctionSpec) -> Value {
    let given = tool.parameters.as_ref().and_then(Value::as_object);
    let mut schema = given.cloned().unwrap_or_else(|| {
        // As in the OpenAI API: without a schema, there are no arguments.
        Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), json!({})),
        ])
    });
    let has = |schema: &Map<String, Value>, keys: &[&str]| {
        keys.iter().any(|key| schema.contains_key(*key))
    };
    if !has(&schema, &["$ref", "allOf", "anyOf", "oneOf"]) {
        // Arguments are an object also where the schema takes that for granted.
        schema.entry("type").or_insert(json!("object"));
        let closed = has(&schema, &["additionalProperties", "patternProperties"]);
        if schema.contains_key("properties") && !closed {
            schema.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    let guidance = json!({
        "whitespace_flexible": false,
        "item_separator": ", ",
        "key_separator": ": ",
        "lenient": tool.strict != Some(true),
    });
    schema.insert("x-guidance".to_owned(), guidance);
    Value::Object(schema)
}
