//! The model's output, as it streams, into text, reasoning and tool calls.

mod area;
mod call;

use std::mem;

use agentinfer_protocol::Tool;

use crate::ToolStyle;
use area::{AreaStep, CallArea, FENCE};
use call::CallPart;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

/// Something new in the model's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputDelta {
    /// Text of the answer.
    Content(String),
    /// Text of the reasoning before it.
    Reasoning(String),
    /// A tool call begins.
    ToolCallStart {
        /// Its number within the answer, from 0.
        index: u32,
        /// The tool's name.
        name: String,
    },
    /// More of the arguments of a call that began.
    ToolCallArguments {
        /// The call's number.
        index: u32,
        /// Argument text as the model writes it; all of a call's texts joined are its JSON.
        text: String,
    },
}

/// How an output begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParserOptions {
    /// The prompt ends inside the reasoning ([`opens_reasoning`](crate::opens_reasoning)) and the
    /// model was free to reason: set it neither for prompts that do not, nor when a grammar
    /// forces a tool call from the first token.
    pub reasoning_open: bool,
}

/// A streaming parser of one answer.
///
/// Text is delivered as soon as it cannot become markup any more, arguments as soon as the tool's
/// name is known. The joined deltas do not depend on how the text was cut into pieces. Nothing is
/// lost: what looks like a tool call and turns out not to be one is delivered as content, and a
/// call that the model broke off or wrote with invalid arguments is delivered as far as it goes.
/// Only the white space around tool calls and reasoning is dropped.
///
/// Small models forget the markup, so when tools are offered an answer that *begins* with a JSON
/// object (or a list of them, or either in a Markdown fence) naming an offered tool and arguments
/// is a call too, in every style.
#[derive(Debug)]
pub struct OutputParser {
    style: ToolStyle,
    tools: Vec<String>,
    /// Text that is not decided yet: it may be the beginning of markup.
    pending: String,
    state: State,
    calls: u32,
    out: Vec<OutputDelta>,
}

#[derive(Debug)]
enum State {
    /// Nothing but white space so far: reasoning may begin.
    Start,
    /// Inside the reasoning; `blank` until its first character.
    Reasoning { blank: bool },
    /// White space between the reasoning and the answer.
    Gap,
    /// Inside the answer; `blank` until its first character.
    Answer { blank: bool },
    /// Where tool calls are written.
    Calls(CallArea),
}

/// What one step of the parser did.
enum Step {
    /// It dealt with this many bytes (0: only the state changed).
    Consumed(usize),
    /// It cannot tell before more text comes.
    Wait,
}

impl OutputParser {
    /// A parser for an answer of a model of this style that was offered these tools. Without
    /// tools, no calls are looked for.
    pub fn new(style: ToolStyle, tools: &[Tool], options: ParserOptions) -> Self {
        Self {
            style,
            tools: tools
                .iter()
                .map(|tool| tool.function.name.clone())
                .collect(),
            pending: String::new(),
            state: if options.reasoning_open {
                State::Reasoning { blank: true }
            } else {
                State::Start
            },
            calls: 0,
            out: Vec::new(),
        }
    }

    /// Takes the next piece of the output; returns what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<OutputDelta> {
        self.pending.push_str(text);
        self.advance(false);
        mem::take(&mut self.out)
    }

    /// Ends the output; returns what was held back.
    pub fn finish(&mut self) -> Vec<OutputDelta> {
        self.advance(true);
        if let Some(text) = self.leave_calls().filter(|text| !text.trim().is_empty()) {
            self.content(&text);
        }
        mem::take(&mut self.out)
    }

    /// How many tool calls have begun so far; if any, the finish reason is `tool_calls`.
    pub fn tool_calls(&self) -> u32 {
        self.calls
    }

    fn advance(&mut self, end: bool) {
        let text = mem::take(&mut self.pending);
        let mut rest = text.as_str();
        while let Step::Consumed(bytes) = self.step(rest, end) {
            rest = &rest[bytes..];
        }
        rest.clone_into(&mut self.pending);
    }

    /// One step; every `Consumed(0)` changes the state, so that steps come to an end.
    fn step(&mut self, rest: &str, end: bool) -> Step {
        match &mut self.state {
            State::Start => self.step_start(rest, end),
            State::Reasoning { blank } => {
                let blank = *blank;
                self.step_reasoning(rest, end, blank)
            }
            State::Gap => {
                let bytes = rest.len() - rest.trim_start().len();
                if bytes == rest.len() && !end {
                    return if bytes > 0 {
                        Step::Consumed(bytes)
                    } else {
                        Step::Wait
                    };
                }
                self.state = State::Answer { blank: true };
                Step::Consumed(bytes)
            }
            State::Answer { blank } => {
                let blank = *blank;
                self.step_answer(rest, end, blank)
            }
            State::Calls(_) => self.step_calls(rest, end),
        }
    }

    fn step_start(&mut self, rest: &str, end: bool) -> Step {
        let text = rest.trim_start();
        if text.starts_with(THINK) {
            self.state = State::Reasoning { blank: true };
            return Step::Consumed(rest.len() - text.len() + THINK.len());
        }
        if THINK.starts_with(text) && !end {
            return Step::Wait;
        }
        self.state = State::Answer { blank: true };
        Step::Consumed(0)
    }

    fn step_reasoning(&mut self, rest: &str, end: bool, blank: bool) -> Step {
        let (text, bytes) = match rest.find(THINK_END) {
            Some(at) => {
                self.state = State::Gap;
                (rest[..at].trim_end(), at + THINK_END.len())
            }
            None if end => (rest.trim_end(), rest.len()),
            None => {
                let text = rest[..partial_start(rest, THINK_END)].trim_end();
                (text, text.len())
            }
        };
        let text = if blank { text.trim_start() } else { text };
        if !text.is_empty() {
            if let State::Reasoning { blank } = &mut self.state {
                *blank = false;
            }
            match self.out.last_mut() {
                Some(OutputDelta::Reasoning(last)) => last.push_str(text),
                _ => self.out.push(OutputDelta::Reasoning(text.to_owned())),
            }
        }
        if bytes == 0 {
            Step::Wait
        } else {
            Step::Consumed(bytes)
        }
    }

    fn step_answer(&mut self, rest: &str, end: bool, blank: bool) -> Step {
        if rest.is_empty() {
            return Step::Wait;
        }
        if self.tools.is_empty() {
            self.content(rest);
            return Step::Consumed(rest.len());
        }
        if blank && let Some(step) = self.step_blank(rest, end) {
            return step;
        }
        let tags = self.style.tags();
        let found = tags
            .iter()
            .filter_map(|tag| Some((rest.find(tag.open)?, tag.open)))
            .min();
        if let Some((at, tag)) = found {
            let text = rest[..at].trim_end();
            self.content(text);
            let bytes = at + tag.len();
            self.state = State::Calls(CallArea::tagged(self.style, &rest[text.len()..bytes]));
            return Step::Consumed(bytes);
        }
        let text = if end {
            rest
        } else {
            let hold = tags.iter().map(|tag| partial_start(rest, tag.open)).min();
            rest[..hold.unwrap_or(rest.len())].trim_end()
        };
        if text.is_empty() {
            return Step::Wait;
        }
        self.content(text);
        self.state = State::Answer { blank: false };
        Step::Consumed(text.len())
    }

    /// At the beginning of the answer: a call may come without any markup. `None` where it does
    /// not.
    fn step_blank(&mut self, rest: &str, end: bool) -> Option<Step> {
        let text = rest.trim_start();
        let tags = self.style.tags();
        if tags.iter().any(|tag| text.starts_with(tag.open)) {
            return None;
        }
        let open = |markup: &str| markup.len() > text.len() && markup.starts_with(text);
        if !end && (open(FENCE) || tags.iter().any(|tag| open(tag.open))) {
            return Some(Step::Wait);
        }
        if !text.starts_with(['{', '[']) && !text.starts_with(FENCE) {
            return None;
        }
        let space = rest.len() - text.len();
        self.state = State::Calls(CallArea::bare(self.style, &rest[..space]));
        Some(Step::Consumed(space))
    }

    fn step_calls(&mut self, rest: &str, end: bool) -> Step {
        let State::Calls(area) = &mut self.state else {
            return Step::Consumed(0);
        };
        let mut parts = Vec::new();
        let step = area.step(rest, end, &self.tools, &mut parts);
        for part in parts {
            self.call_part(part);
        }
        match step {
            AreaStep::Consumed(bytes) => Step::Consumed(bytes),
            AreaStep::Wait => Step::Wait,
            AreaStep::Leave => {
                if let Some(text) = self.leave_calls() {
                    self.content(&text);
                }
                Step::Consumed(0)
            }
        }
    }

    /// Ends a place of tool calls; returns what was read there and is none.
    fn leave_calls(&mut self) -> Option<String> {
        match mem::replace(&mut self.state, State::Answer { blank: false }) {
            State::Calls(area) => Some(area.into_undelivered()),
            _ => None,
        }
    }

    fn call_part(&mut self, part: CallPart) {
        match part {
            CallPart::Start(name) => {
                self.out.push(OutputDelta::ToolCallStart {
                    index: self.calls,
                    name,
                });
                self.calls += 1;
            }
            CallPart::Arguments(text) => {
                // Arguments always follow the start of their call.
                let index = self.calls.saturating_sub(1);
                self.out
                    .push(OutputDelta::ToolCallArguments { index, text });
            }
            CallPart::Response(text) => self.content(&text),
        }
    }

    fn content(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.out.last_mut() {
            Some(OutputDelta::Content(last)) => last.push_str(text),
            _ => self.out.push(OutputDelta::Content(text.to_owned())),
        }
    }
}

/// Where the longest end of `text` begins that is a beginning of `markup`, but not all of it.
fn partial_start(text: &str, markup: &str) -> usize {
    (1..markup.len().min(text.len() + 1))
        .rev()
        .find(|&length| text.as_bytes().ends_with(&markup.as_bytes()[..length]))
        .map_or(text.len(), |length| text.len() - length)
}
