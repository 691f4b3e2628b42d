//! The chat template: from a conversation to the prompt's text.

use agentinfer_protocol::{Message, Tool};
use minijinja::{Environment, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{ChatError, Date, ToolStyle, fallback, jinja, messages};

/// ChatML, for model files that bring no template of their own.
pub const DEFAULT_TEMPLATE: &str = "\
{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const NAME: &str = "chat";

/// What a template renders.
#[derive(Clone, Debug)]
pub struct RenderInput<'a> {
    /// The conversation.
    pub messages: &'a [Message],
    /// The tools that are offered; empty for none.
    pub tools: &'a [Tool],
    /// Whether the text ends where the assistant's turn begins.
    pub add_generation_prompt: bool,
    /// Today, for templates that print it. Without one, `strftime_now` is undefined, which most
    /// templates answer with a fixed date.
    pub date: Option<Date>,
    /// More variables for the template (`chat_template_kwargs`), as `enable_thinking`.
    pub variables: Option<&'a Map<String, Json>>,
}

impl<'a> RenderInput<'a> {
    /// A conversation without tools, ready for the assistant's turn.
    pub fn new(messages: &'a [Message]) -> Self {
        Self {
            messages,
            tools: &[],
            add_generation_prompt: true,
            date: None,
            variables: None,
        }
    }

    /// Offers tools.
    #[must_use]
    pub fn tools(mut self, tools: &'a [Tool]) -> Self {
        self.tools = tools;
        self
    }

    /// Sets today's date.
    #[must_use]
    pub fn date(mut self, date: Date) -> Self {
        self.date = Some(date);
        self
    }
}

/// A compiled chat template. Immutable and cheap to share between threads behind an `Arc`.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    bos: String,
    eos: String,
    style: ToolStyle,
    renders_tools: bool,
}

impl ChatTemplate {
    /// Compiles the Jinja `source` of a model whose begin- and end-of-sequence tokens are written
    /// `bos` and `eos` (empty for none).
    ///
    /// # Errors
    ///
    /// [`ChatError::Template`] when the source is not valid Jinja.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, ChatError> {
        let fault = |error: minijinja::Error| ChatError::Template {
            reason: reason(&error),
        };
        let mut env = jinja::environment().map_err(fault)?;
        env.add_template_owned(NAME, jinja::without_generation_blocks(source))
            .map_err(fault)?;
        let mut template = Self {
            env,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            style: ToolStyle::detect(source),
            renders_tools: false,
        };
        template.renders_tools = template.probe_tools();
        if !template.renders_tools {
            // The description that the fallback writes asks for this style.
            template.style = ToolStyle::Json;
        }
        Ok(template)
    }

    /// Overrides the detected style, for a model that writes calls otherwise than its template
    /// suggests.
    #[must_use]
    pub fn with_style(mut self, style: ToolStyle) -> Self {
        self.style = style;
        self
    }

    /// How this template's model writes tool calls.
    pub fn style(&self) -> ToolStyle {
        self.style
    }

    /// Whether the template shows tools to the model itself. Where it does not, a description is
    /// added to the system message.
    pub fn renders_tools(&self) -> bool {
        self.renders_tools
    }

    /// Renders a conversation. The text holds every special token it needs, including
    /// begin-of-sequence where the family uses one: tokenize it without adding any.
    ///
    /// An assistant message at the end is a finished turn like any other; it is not continued.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](crate::validate), and [`ChatError::Render`] when the template raises
    /// an exception: with the first message that it cannot take, where that can be found.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<String, ChatError> {
        messages::validate(input.messages, input.tools)?;
        let tools = messages::tools_json(input.tools);
        let messages = messages::to_json(input.messages, self.style);
        let (messages, tools) = if self.renders_tools {
            (messages, tools)
        } else {
            (fallback::rewrite(messages, &tools), Vec::new())
        };
        self.run(&messages, &tools, input).map_err(|error| {
            // A rewritten conversation has other indices than the client's.
            let own = self.renders_tools
                || (input.tools.is_empty() && messages.len() == input.messages.len());
            let field = match own {
                true => format!("messages[{}]", self.first_refused(&messages, &tools, input)),
                false => "messages".to_owned(),
            };
            ChatError::Render {
                field,
                reason: reason(&error),
            }
        })
    }

    fn run(
        &self,
        messages: &[Json],
        tools: &[Json],
        input: &RenderInput<'_>,
    ) -> Result<String, minijinja::Error> {
        let mut context: Vec<(String, Value)> = Vec::new();
        for (name, value) in input.variables.into_iter().flatten() {
            context.push((name.clone(), to_jinja(value)));
        }
        // After the variables, so that these cannot replace the conversation.
        let tools = if tools.is_empty() {
            Value::from(())
        } else {
            list(tools)
        };
        context.push(("messages".into(), list(messages)));
        context.push(("tools".into(), tools));
        context.push(("documents".into(), Value::from(())));
        context.push(("bos_token".into(), self.bos.as_str().into()));
        context.push(("eos_token".into(), self.eos.as_str().into()));
        context.push((
            "add_generation_prompt".into(),
            input.add_generation_prompt.into(),
        ));
        if let Some(date) = input.date {
            context.push(("strftime_now".into(), jinja::strftime_now(date)));
        }
        self.env
            .get_template(NAME)?
            .render(Value::from_pairs(context))
    }

    /// Whether a tool's name reaches the prompt: the text of a template does not tell, but its
    /// output does.
    fn probe_tools(&self) -> bool {
        const PROBE: &str = "agentinfer_probe";
        let user = [json!({ "role": "user", "content": "Hello" })];
        let tool = json!({ "type": "function", "function": {
            "name": PROBE,
            "description": "A probe.",
            "parameters": { "type": "object", "properties": {}, "required": [] },
        }});
        let input = RenderInput::new(&[]).date(Date {
            year: 2025,
            month: 1,
            day: 1,
        });
        self.run(&user, &[tool], &input)
            .is_ok_and(|text| text.contains(PROBE))
    }

    /// The index of the first message that cannot be rendered. A refused beginning stays refused
    /// when more follows, so it is found by bisection: a client must not be able to make the
    /// server render a long conversation once per message.
    fn first_refused(&self, messages: &[Json], tools: &[Json], input: &RenderInput<'_>) -> usize {
        let accepts = |count: usize| self.run(&messages[..count], tools, input).is_ok();
        let (mut accepted, mut refused) = (0, messages.len());
        while refused - accepted > 1 {
            let middle = accepted.midpoint(refused);
            if accepts(middle) {
                accepted = middle
            } else {
                refused = middle
            }
        }
        refused - 1
    }
}

/// Whether a rendered prompt ends inside the model's reasoning, because its template opened it:
/// then the output begins with reasoning, not with `<think>`.
pub fn opens_reasoning(prompt: &str) -> bool {
    prompt.trim_end().ends_with("<think>")
}

fn list(values: &[Json]) -> Value {
    values.iter().map(to_jinja).collect()
}

fn to_jinja(value: &Json) -> Value {
    Value::deserialize(value).expect("every JSON value is a template value")
}

/// The innermost cause is what a template's author wrote; minijinja wraps it in its own words.
fn reason(error: &minijinja::Error) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{detail} (template line {line})"),
        None => detail,
    }
}
