//! The part of an answer where tool calls are written: tags, list punctuation, code fences.

use super::call::{CallPart, CallReader, Verdict};
use crate::ToolStyle;

pub(super) const FENCE: &str = "```";
/// Longest first. Small models put calls, and even tags, into code blocks.
const FENCES: [&str; 3] = ["```json", "```xml", FENCE];
const ARGUMENTS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";

/// Longest tool name and call identifier that are looked for before `[ARGS]`, in bytes. The API
/// allows 64; beyond, the text is taken for prose.
const NAME_LIMIT: usize = 256;

/// A place of tool calls: from the first markup to the first text that is none.
#[derive(Debug)]
pub(super) struct CallArea {
    style: ToolStyle,
    /// What was read since the last delivered call, to be given back if it is no call.
    raw: String,
    /// No markup announced it, so only offered tools are believed.
    bare: bool,
    /// A call was delivered since the last opening tag.
    delivered: bool,
    /// Its closing tag was read.
    closed: bool,
    /// A code fence is open.
    fenced: bool,
    /// A name without JSON around it may follow.
    name_next: bool,
    /// What was read is no call.
    failed: bool,
    reader: Option<CallReader>,
}

/// What one step in the area did.
pub(super) enum AreaStep {
    /// It dealt with this many bytes.
    Consumed(usize),
    /// It cannot tell before more text comes.
    Wait,
    /// What follows does not belong to the area.
    Leave,
}

impl CallArea {
    /// An area that a tag opened; `raw` is the tag, with the white space before it.
    pub(super) fn tagged(style: ToolStyle, raw: &str) -> Self {
        Self {
            bare: false,
            name_next: style.names_before_arguments(),
            ..Self::bare(style, raw)
        }
    }

    /// An area at the beginning of an answer, after the white space `raw`.
    pub(super) fn bare(style: ToolStyle, raw: &str) -> Self {
        Self {
            style,
            raw: raw.to_owned(),
            bare: true,
            delivered: false,
            closed: false,
            fenced: false,
            name_next: false,
            failed: false,
            reader: None,
        }
    }

    /// What was read and belongs to no delivered call.
    pub(super) fn into_undelivered(self) -> String {
        match &self.reader {
            Some(reader) if reader.is_certain() => String::new(),
            Some(reader) => self.raw + reader.undelivered(),
            None => self.raw,
        }
    }

    pub(super) fn step(
        &mut self,
        rest: &str,
        end: bool,
        tools: &[String],
        parts: &mut Vec<CallPart>,
    ) -> AreaStep {
        if self.failed {
            return AreaStep::Leave;
        }
        if self.reader.is_some() {
            return self.step_reader(rest, tools, parts);
        }
        let Some(first) = rest.chars().next() else {
            return AreaStep::Wait;
        };
        if first.is_whitespace() {
            self.raw.push(first);
            return AreaStep::Consumed(first.len_utf8());
        }
        if let Some(step) = self.step_markup(rest, end) {
            return step;
        }
        match first {
            _ if self.closed => AreaStep::Leave,
            '{' => {
                let json_style = self.style == ToolStyle::Json;
                self.reader = Some(CallReader::object(self.bare, json_style));
                AreaStep::Consumed(0)
            }
            '[' | ']' | ',' | ';' | '}' => {
                self.name_next = false;
                if !self.delivered {
                    self.raw.push(first);
                }
                AreaStep::Consumed(1)
            }
            _ if self.name_next => self.step_name(rest, end),
            _ => AreaStep::Leave,
        }
    }

    /// Tags and code fences. `None` where there are none.
    fn step_markup(&mut self, rest: &str, end: bool) -> Option<AreaStep> {
        let tags = self.style.tags();
        let closes = || tags.iter().filter_map(|tag| tag.close);
        if let Some(tag) = tags.iter().find(|tag| rest.starts_with(tag.open)) {
            if self.delivered {
                self.raw.clear();
            }
            self.raw.push_str(tag.open);
            *self = Self {
                fenced: self.fenced,
                ..Self::tagged(self.style, &self.raw)
            };
            return Some(AreaStep::Consumed(tag.open.len()));
        }
        if let Some(close) = closes().find(|close| rest.starts_with(close)) {
            if !self.delivered || self.closed {
                return Some(AreaStep::Leave);
            }
            self.closed = true;
            self.raw.clear();
            return Some(AreaStep::Consumed(close.len()));
        }
        let partial = |markup: &str| markup.len() > rest.len() && markup.starts_with(rest);
        let mut markup = tags
            .iter()
            .map(|tag| tag.open)
            .chain(closes())
            .chain(FENCES);
        if !end && markup.any(partial) {
            return Some(AreaStep::Wait);
        }
        let fence = FENCES.into_iter().find(|fence| rest.starts_with(fence))?;
        Some(self.step_fence(fence))
    }

    fn step_fence(&mut self, fence: &str) -> AreaStep {
        if !self.delivered {
            self.fenced = true;
            self.raw.push_str(fence);
        } else if self.fenced && fence == FENCE {
            self.fenced = false;
            self.raw.clear();
        } else {
            return AreaStep::Leave;
        }
        AreaStep::Consumed(fence.len())
    }

    /// `name[ARGS]`, `name[CALL_ID]id[ARGS]`, or a name directly before `{`, as it appears where
    /// `[ARGS]` is a control token without text.
    fn step_name(&mut self, rest: &str, end: bool) -> AreaStep {
        let undecided = |length: usize| {
            if end || length > NAME_LIMIT {
                AreaStep::Leave
            } else {
                AreaStep::Wait
            }
        };
        let stop = |c: char| c == '[' || c == '{' || c.is_whitespace();
        let Some(length) = rest.find(stop) else {
            return undecided(rest.len());
        };
        let (name, after) = rest.split_at(length);
        let partial = |markup: &str| markup.len() > after.len() && markup.starts_with(after);
        let bytes = if length > NAME_LIMIT {
            return AreaStep::Leave;
        } else if after.starts_with('{') {
            length
        } else if after.starts_with(ARGUMENTS) {
            length + ARGUMENTS.len()
        } else if after.starts_with(CALL_ID) {
            match after.find(ARGUMENTS) {
                Some(at) if at <= NAME_LIMIT => length + at + ARGUMENTS.len(),
                Some(_) => return AreaStep::Leave,
                // Part of `[ARGS]` may be there: only what comes before it counts.
                None => return undecided(after.len().saturating_sub(ARGUMENTS.len())),
            }
        } else if partial(ARGUMENTS) || partial(CALL_ID) {
            return undecided(0);
        } else {
            return AreaStep::Leave;
        };
        self.name_next = false;
        self.raw.push_str(&rest[..bytes]);
        self.reader = Some(CallReader::arguments_of(name));
        AreaStep::Consumed(bytes)
    }

    fn step_reader(&mut self, rest: &str, tools: &[String], parts: &mut Vec<CallPart>) -> AreaStep {
        let Some(reader) = &mut self.reader else {
            return AreaStep::Leave;
        };
        if rest.is_empty() {
            return AreaStep::Wait;
        }
        let mut bytes = rest.len();
        let mut verdict = Verdict::More;
        for (at, c) in rest.char_indices() {
            verdict = reader.feed(c, tools);
            if verdict != Verdict::More {
                bytes = at
                    + if verdict == Verdict::Done {
                        c.len_utf8()
                    } else {
                        0
                    };
                break;
            }
        }
        reader.drain(parts);
        if verdict == Verdict::More {
            return AreaStep::Consumed(bytes);
        }
        if reader.is_certain() {
            // Also when it was refused later: small models forget the closing brace.
            self.raw.clear();
            self.delivered = true;
        } else {
            self.raw.push_str(reader.undelivered());
            self.failed = verdict == Verdict::Refused;
        }
        self.reader = None;
        AreaStep::Consumed(bytes)
    }
}
