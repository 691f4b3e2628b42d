//! From request fields to engine settings; every refusal names the field, in OpenAI's words.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Display;

use agentinfer_engine::{Constraint, Hints, Sampling, Vocabulary};
use agentinfer_protocol::{
    ChatCompletionRequest, CompletionRequest, OneOrMany, ResponseFormat, Tool, ToolChoice,
};
use serde_json::{Value, json};

use crate::RuntimeError;

/// Answers to one prompt: each is a sequence of its own in the engine, which holds few.
const MAX_CHOICES: u32 = 8;
/// Prompts of one `/v1/completions` request: enough for an evaluation's batch, few enough that
/// one client does not fill the queue.
const MAX_PROMPTS: usize = 64;
/// Stop texts: each token's text is searched for every one of them.
const MAX_STOPS: usize = 16;
/// Alternatives per token in a chat (the OpenAI API's bound).
const MAX_TOP_LOGPROBS: u32 = 20;
/// Alternatives per token in a text completion (the OpenAI API's bound).
const MAX_LOGPROBS: u32 = 5;
/// Tools offered in one request (the OpenAI API's bound).
const MAX_TOOLS: usize = 128;
/// Answer length of a text completion when the request does not say (the OpenAI API's value).
const DEFAULT_COMPLETION_TOKENS: u32 = 16;
/// Sampling temperature when the request does not say: 1, as in the OpenAI API.
const DEFAULT_TEMPERATURE: f32 = 1.0;

/// Priorities run from minus this to this: room for any scheme, and far from overflow.
const MAX_PRIORITY: i32 = 1_000_000;
/// Seconds that a tool may be said to take: a week, longer than any prefix is kept.
const MAX_TOOL_SECONDS: f64 = 604_800.0;

/// What a request asks of every one of its answers.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Answers per prompt.
    pub(crate) choices: u32,
    /// Seeds of the choices count up from `sampling.seed`.
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: u32,
    pub(crate) stop: Vec<String>,
    pub(crate) include_usage: bool,
    /// What the client tells about the request and its session, its tenant left out.
    pub(crate) hints: Hints,
}

/// What of a request concerns this process even where another server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Answers wanted.
    pub(crate) choices: u32,
    pub(crate) include_usage: bool,
    /// What the client tells about the request and its session, its tenant left out.
    pub(crate) hints: Hints,
}

/// Whether the model calls tools.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ToolUse {
    /// None are offered, or it must not call them.
    None,
    /// It may.
    Auto,
    /// It must call one, or several.
    Required,
    /// It must call this one.
    Named(String),
}

/// The settings of a chat completion.
pub(crate) fn chat_settings(
    request: &ChatCompletionRequest,
    vocabulary: &dyn Vocabulary,
) -> Result<Settings, RuntimeError> {
    let top = in_range("top_logprobs", request.top_logprobs, 0, MAX_TOP_LOGPROBS)?;
    let logprobs = request.logprobs == Some(true);
    if top.is_some() && !logprobs {
        let message = "requires 'logprobs' to be true.";
        return Err(RuntimeError::invalid(
            "top_logprobs",
            "invalid_value",
            message,
        ));
    }
    let max_tokens = at_least_one("max_completion_tokens", request.max_completion_tokens)?
        .or(at_least_one("max_tokens", request.max_tokens)?);
    let fields = Fields {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k,
        min_p: request.min_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        repetition_penalty: request.repetition_penalty,
        logit_bias: request.logit_bias.as_ref(),
        seed: request.seed,
        logprobs: logprobs.then(|| top.unwrap_or(0)),
    };
    let Frame {
        choices,
        include_usage,
        hints,
    } = chat_frame(request)?;
    Ok(Settings {
        choices,
        sampling: fields.sampling(vocabulary)?,
        max_tokens: max_tokens.unwrap_or(u32::MAX),
        stop: stops(request.stop.as_ref())?,
        include_usage,
        hints,
    })
}

/// What of a chat completion concerns this process, whoever answers.
pub(crate) fn chat_frame(request: &ChatCompletionRequest) -> Result<Frame, RuntimeError> {
    let told = Told {
        service_tier: request.service_tier.as_deref(),
        prompt_cache_retention: request.prompt_cache_retention.as_deref(),
        priority: request.priority,
        expected_tool_seconds: request.expected_tool_seconds,
        end_session: request.end_session,
    };
    Ok(Frame {
        choices: choices(request.n)?,
        include_usage: request
            .stream_options
            .as_ref()
            .is_some_and(|o| o.include_usage),
        hints: told.hints()?,
    })
}

/// The settings of a text completion.
pub(crate) fn completion_settings(
    request: &CompletionRequest,
    vocabulary: &dyn Vocabulary,
) -> Result<Settings, RuntimeError> {
    refuse_unserved(request)?;
    let max_tokens = at_least_one("max_tokens", request.max_tokens)?;
    let fields = Fields {
        temperature: request.temperature,
        top_p: request.top_p,
        top_k: request.top_k,
        min_p: request.min_p,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        repetition_penalty: request.repetition_penalty,
        logit_bias: request.logit_bias.as_ref(),
        seed: request.seed,
        logprobs: in_range("logprobs", request.logprobs, 0, MAX_LOGPROBS)?,
    };
    let told = Told {
        service_tier: request.service_tier.as_deref(),
        prompt_cache_retention: request.prompt_cache_retention.as_deref(),
        priority: request.priority,
        expected_tool_seconds: request.expected_tool_seconds,
        end_session: request.end_session,
    };
    Ok(Settings {
        choices: choices(request.n)?,
        sampling: fields.sampling(vocabulary)?,
        max_tokens: max_tokens.unwrap_or(DEFAULT_COMPLETION_TOKENS),
        stop: stops(request.stop.as_ref())?,
        include_usage: request
            .stream_options
            .as_ref()
            .is_some_and(|o| o.include_usage),
        hints: told.hints()?,
    })
}

/// What both kinds of request may tell about themselves and their sessions.
struct Told<'a> {
    service_tier: Option<&'a str>,
    prompt_cache_retention: Option<&'a str>,
    priority: Option<i32>,
    expected_tool_seconds: Option<f64>,
    end_session: Option<bool>,
}

impl Told<'_> {
    fn hints(&self) -> Result<Hints, RuntimeError> {
        let unknown = |param, got: &str, served: &str| {
            let message = format!("Supported values are: {served}, not '{got}'.");
            Err(RuntimeError::invalid(param, "invalid_value", message))
        };
        let background = match self.service_tier {
            None | Some("auto" | "default" | "priority" | "scale") => false,
            Some("flex") => true,
            Some(other) => {
                let served = "'auto', 'default', 'flex', 'priority', and 'scale'";
                return unknown("service_tier", other, served);
            }
        };
        let in_memory = match self.prompt_cache_retention {
            None | Some("24h") => false,
            Some("in_memory" | "in-memory") => true,
            Some(other) => {
                return unknown("prompt_cache_retention", other, "'in_memory' and '24h'");
            }
        };
        let priority = in_range("priority", self.priority, -MAX_PRIORITY, MAX_PRIORITY)?;
        let seconds = self.expected_tool_seconds;
        let seconds = in_range("expected_tool_seconds", seconds, 0.0, MAX_TOOL_SECONDS)?;
        Ok(Hints {
            priority: priority.unwrap_or(0),
            background,
            expected_gap_seconds: seconds,
            ends_session: self.end_session == Some(true),
            in_memory,
            ..Hints::default()
        })
    }
}

/// Refuses what text completions of the OpenAI API have and ours do not.
fn refuse_unserved(request: &CompletionRequest) -> Result<(), RuntimeError> {
    let refuse = |param, message| Err(RuntimeError::invalid(param, "invalid_value", message));
    if request.suffix.as_ref().is_some_and(|text| !text.is_empty()) {
        return refuse(
            "suffix",
            "is not served. Write the prompt with the model's own tokens for filling in.",
        );
    }
    if request
        .best_of
        .is_some_and(|count| count != request.n.unwrap_or(1))
    {
        return refuse("best_of", "is not served. Ask for `n` answers and choose.");
    }
    if request.echo == Some(true) && request.logprobs.is_some() {
        return refuse(
            "echo",
            "is not served together with `logprobs`: those of prompts are not computed.",
        );
    }
    Ok(())
}

/// The sampling fields that both kinds of request have.
struct Fields<'a> {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    min_p: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    repetition_penalty: Option<f32>,
    logit_bias: Option<&'a BTreeMap<String, f32>>,
    seed: Option<i64>,
    logprobs: Option<u32>,
}

impl Fields<'_> {
    fn sampling(&self, vocabulary: &dyn Vocabulary) -> Result<Sampling, RuntimeError> {
        let top_p = in_range("top_p", self.top_p, 0.0, 1.0)?.unwrap_or(1.0);
        let repetition_penalty = in_range("repetition_penalty", self.repetition_penalty, 0.0, 2.0)?;
        let repetition_penalty = repetition_penalty.unwrap_or(1.0);
        for (param, value) in [("top_p", top_p), ("repetition_penalty", repetition_penalty)] {
            if value == 0.0 {
                let message = "Expected a value > 0, but got 0 instead.";
                return Err(RuntimeError::invalid(
                    param,
                    "decimal_below_min_value",
                    message,
                ));
            }
        }
        let penalty = |param, value| in_range(param, value, -2.0, 2.0).map(|v| v.unwrap_or(0.0));
        let temperature = in_range("temperature", self.temperature, 0.0, 2.0)?;
        Ok(Sampling {
            temperature: temperature.unwrap_or(DEFAULT_TEMPERATURE),
            top_k: self.top_k.unwrap_or(0),
            top_p,
            min_p: in_range("min_p", self.min_p, 0.0, 1.0)?.unwrap_or(0.0),
            repetition_penalty,
            frequency_penalty: penalty("frequency_penalty", self.frequency_penalty)?,
            presence_penalty: penalty("presence_penalty", self.presence_penalty)?,
            logit_bias: logit_bias(self.logit_bias, vocabulary.len())?,
            // Negative seeds are as good as any: only equality matters.
            seed: self
                .seed
                .map_or_else(crate::random::seed, |seed| seed as u64),
            logprobs: self.logprobs,
        })
    }
}

fn logit_bias(
    bias: Option<&BTreeMap<String, f32>>,
    vocabulary: usize,
) -> Result<Vec<(u32, f32)>, RuntimeError> {
    let entry = |(key, &value): (&String, &f32)| {
        let token = key
            .parse::<u32>()
            .ok()
            .filter(|&token| (token as usize) < vocabulary);
        let token = token.ok_or_else(|| {
            let last = vocabulary - 1;
            let message = format!("Expected token ids from 0 to {last}, but got '{key}' instead.");
            RuntimeError::invalid("logit_bias", "invalid_value", message)
        })?;
        in_range("logit_bias", Some(value), -100.0, 100.0)?;
        Ok((token, value))
    };
    bias.into_iter().flatten().map(entry).collect()
}

fn choices(n: Option<u32>) -> Result<u32, RuntimeError> {
    Ok(in_range("n", n, 1, MAX_CHOICES)?.unwrap_or(1))
}

fn at_least_one(param: &str, value: Option<u32>) -> Result<Option<u32>, RuntimeError> {
    in_range(param, value, 1, u32::MAX)
}

fn stops(stop: Option<&OneOrMany<String>>) -> Result<Vec<String>, RuntimeError> {
    let stops = stop.cloned().map(OneOrMany::into_vec).unwrap_or_default();
    if stops.len() > MAX_STOPS {
        return Err(too_long("stop", MAX_STOPS, stops.len()));
    }
    if stops.iter().any(String::is_empty) {
        let message = "empty string. A stop text must have at least one character.";
        return Err(RuntimeError::invalid("stop", "empty_string", message));
    }
    Ok(stops)
}

/// Checks the number of prompts of a text completion.
pub(crate) fn prompt_count(count: usize) -> Result<(), RuntimeError> {
    if count > MAX_PROMPTS {
        return Err(too_long("prompt", MAX_PROMPTS, count));
    }
    Ok(())
}

/// A number that an OpenAI message can name by kind.
trait Number: PartialOrd + Copy + Display {
    const KIND: &'static str;
    const CODES: [&'static str; 2];
}

impl Number for u32 {
    const KIND: &'static str = "integer";
    const CODES: [&'static str; 2] = ["integer_below_min_value", "integer_above_max_value"];
}

impl Number for i32 {
    const KIND: &'static str = "integer";
    const CODES: [&'static str; 2] = ["integer_below_min_value", "integer_above_max_value"];
}

impl Number for f64 {
    const KIND: &'static str = "decimal";
    const CODES: [&'static str; 2] = ["decimal_below_min_value", "decimal_above_max_value"];
}

impl Number for f32 {
    const KIND: &'static str = "decimal";
    const CODES: [&'static str; 2] = ["decimal_below_min_value", "decimal_above_max_value"];
}

fn in_range<T: Number>(
    param: &str,
    value: Option<T>,
    min: T,
    max: T,
) -> Result<Option<T>, RuntimeError> {
    let Some(got) = value else { return Ok(None) };
    let ([below, above], kind) = (T::CODES, T::KIND);
    // A caller in process can send NaN, which has no order and must not pass as in range.
    let (code, message) = if got > max {
        (
            above,
            format!(
                "{kind} above maximum value. Expected a value <= {max}, but got {got} instead."
            ),
        )
    } else if got.partial_cmp(&min).is_none_or(Ordering::is_lt) {
        (
            below,
            format!(
                "{kind} below minimum value. Expected a value >= {min}, but got {got} instead."
            ),
        )
    } else {
        return Ok(value);
    };
    Err(RuntimeError::invalid(param, code, message))
}

fn too_long(param: &str, max: usize, got: usize) -> RuntimeError {
    let message = format!(
        "array too long. Expected an array with maximum length {max}, but got an array with \
         length {got} instead."
    );
    RuntimeError::invalid(param, "array_above_max_length", message)
}

/// Checks which of the tools (their rules are the chat crate's) may or must be called.
pub(crate) fn tools(request: &ChatCompletionRequest) -> Result<ToolUse, RuntimeError> {
    let tools = request.tools.as_deref().unwrap_or_default();
    if tools.len() > MAX_TOOLS {
        return Err(too_long("tools", MAX_TOOLS, tools.len()));
    }
    for (index, tool) in tools.iter().enumerate() {
        if tool
            .function
            .parameters
            .as_ref()
            .is_some_and(|schema| !schema.is_object())
        {
            let message = "expected a JSON schema, which is an object.";
            let param = format!("tools[{index}].function.parameters");
            return Err(RuntimeError::invalid(param, "invalid_type", message));
        }
    }
    let needs_tools = || {
        let message = "'tool_choice' is only allowed when 'tools' are specified.";
        Err(RuntimeError::invalid(
            "tool_choice",
            "invalid_value",
            message,
        ))
    };
    match &request.tool_choice {
        None if tools.is_empty() => Ok(ToolUse::None),
        None => Ok(ToolUse::Auto),
        Some(ToolChoice::Mode(mode)) => match mode.as_str() {
            "none" => Ok(ToolUse::None),
            "auto" if tools.is_empty() => Ok(ToolUse::None),
            "auto" => Ok(ToolUse::Auto),
            "required" if tools.is_empty() => needs_tools(),
            "required" => Ok(ToolUse::Required),
            other => {
                let message =
                    format!("Supported values are: 'none', 'auto', and 'required', not '{other}'.");
                Err(RuntimeError::invalid(
                    "tool_choice",
                    "invalid_value",
                    message,
                ))
            }
        },
        Some(ToolChoice::Function { .. }) if tools.is_empty() => needs_tools(),
        Some(ToolChoice::Function { kind, function }) => {
            let named = |tool: &Tool| tool.kind == *kind && tool.function.name == function.name;
            if tools.iter().any(named) {
                return Ok(ToolUse::Named(function.name.clone()));
            }
            let name = &function.name;
            let message = format!("the {kind} '{name}' is not among the 'tools' offered.");
            Err(RuntimeError::invalid(
                "tool_choice",
                "invalid_value",
                message,
            ))
        }
    }
}

/// What the text of the answer must look like. A forced tool call is a form of its own, so it
/// excludes every other.
pub(crate) fn constraint(
    request: &ChatCompletionRequest,
    tools: &ToolUse,
) -> Result<Constraint, RuntimeError> {
    let format = request
        .response_format
        .as_ref()
        .filter(|f| **f != ResponseFormat::Text);
    let given = [
        ("response_format", format.is_some()),
        ("guided_regex", request.guided_regex.is_some()),
        ("guided_grammar", request.guided_grammar.is_some()),
        (
            "tool_choice",
            matches!(tools, ToolUse::Required | ToolUse::Named(_)),
        ),
    ];
    let given: Vec<&str> = given
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| *name)
        .collect();
    if let [first, second, ..] = given[..] {
        let message =
            format!("cannot be combined with '{second}': both fix the form of the output.");
        return Err(RuntimeError::invalid(first, "invalid_value", message));
    }
    if let Some(regex) = &request.guided_regex {
        return Ok(Constraint::Regex(regex.clone()));
    }
    if let Some(grammar) = &request.guided_grammar {
        return Ok(Constraint::Lark(grammar.clone()));
    }
    let any_object = || Constraint::JsonSchema(json!({"type": "object"}));
    match format {
        None | Some(ResponseFormat::Text) => Ok(Constraint::None),
        Some(ResponseFormat::JsonObject) => Ok(any_object()),
        Some(ResponseFormat::JsonSchema { json_schema }) => match &json_schema.schema {
            None => Ok(any_object()),
            Some(schema @ Value::Object(_)) => Ok(Constraint::JsonSchema(schema.clone())),
            Some(_) => Err(RuntimeError::invalid(
                "response_format.json_schema.schema",
                "invalid_type",
                "expected a JSON schema, which is an object.",
            )),
        },
    }
}
