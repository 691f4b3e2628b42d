//! One tool call written as JSON, read character by character.

use std::mem;

/// A part of a call that is certain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallPart {
    /// It is a call of this tool.
    Start(String),
    /// More of its arguments.
    Arguments(String),
    /// It is no call, but `{"response": "..."}` of the generic style.
    Response(String),
}

/// What a character meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The object goes on.
    More,
    /// The object ended with this character.
    Done,
    /// This character (which was not taken) begins another object or list, which holds the call.
    Nested,
    /// This character (which was not taken) cannot follow.
    Refused,
}

/// Keys of call objects. An object without markup that has others is an answer in JSON.
const KEYS: &[&str] = &[
    "name",
    "arguments",
    "parameters",
    "type",
    "id",
    "function",
    "tool_call",
    "tool_calls",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Key,
    KeyText,
    Colon,
    Value,
    /// Inside a string value.
    Text(Slot),
    /// Inside an object or a list.
    Container(Slot),
    /// Inside a number or a word.
    Literal(Slot),
    Next,
}

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Name,
    Arguments,
    Response,
    Other,
}

/// Reads one call object: keys in any order, arguments handed on as they come.
#[derive(Debug)]
pub(super) struct CallReader {
    at: At,
    /// Only offered tools, and only [`KEYS`], are believed.
    bare: bool,
    /// `{"response": "..."}` is an answer.
    json_style: bool,
    /// The object is the arguments themselves.
    arguments_only: bool,
    key: String,
    /// The string or literal being read, without its quotes.
    token: String,
    depth: usize,
    in_string: bool,
    escaped: bool,
    name: Option<String>,
    /// Argument text that is not handed on yet.
    arguments: String,
    has_arguments: bool,
    response: Option<String>,
    /// Certainly a call: what is read from here on is never given back as content.
    started: bool,
    announced: bool,
    raw: String,
}

impl CallReader {
    /// A reader of `{"name": .., "arguments": ..}` and its like.
    pub(super) fn object(bare: bool, json_style: bool) -> Self {
        Self {
            at: At::Open,
            bare,
            json_style,
            arguments_only: false,
            key: String::new(),
            token: String::new(),
            depth: 0,
            in_string: false,
            escaped: false,
            name: None,
            arguments: String::new(),
            has_arguments: false,
            response: None,
            started: false,
            announced: false,
            raw: String::new(),
        }
    }

    /// A reader of the arguments of a call whose name was read before.
    pub(super) fn arguments_of(name: &str) -> Self {
        Self {
            at: At::Value,
            arguments_only: true,
            key: "arguments".to_owned(),
            name: Some(name.to_owned()),
            ..Self::object(false, false)
        }
    }

    /// Whether it is a call (or a response) beyond doubt.
    pub(super) fn is_certain(&self) -> bool {
        self.started
    }

    /// What was read up to the point of certainty.
    pub(super) fn undelivered(&self) -> &str {
        &self.raw
    }

    /// Hands on what is certain.
    pub(super) fn drain(&mut self, parts: &mut Vec<CallPart>) {
        if let Some(text) = self.response.take_if(|_| self.started) {
            parts.push(CallPart::Response(text));
            return;
        }
        if !self.started {
            return;
        }
        if !mem::replace(&mut self.announced, true) {
            parts.extend(self.name.clone().map(CallPart::Start));
        }
        if !self.arguments.is_empty() {
            parts.push(CallPart::Arguments(mem::take(&mut self.arguments)));
        }
    }

    /// Takes the next character.
    pub(super) fn feed(&mut self, c: char, tools: &[String]) -> Verdict {
        let verdict = self.dispatch(c, tools);
        if !self.started && matches!(verdict, Verdict::More | Verdict::Done) {
            self.raw.push(c);
        }
        verdict
    }

    fn dispatch(&mut self, c: char, tools: &[String]) -> Verdict {
        match self.at {
            At::KeyText => self.key_text(c),
            At::Text(slot) => self.text(c, slot, tools),
            At::Container(slot) => self.container(c, slot),
            At::Literal(slot) => self.literal(c, slot, tools),
            _ if c.is_whitespace() => Verdict::More,
            At::Value => self.value(c),
            At::Open if c == '{' => self.go(At::Key),
            At::Key if c == '"' => {
                self.token.clear();
                self.go(At::KeyText)
            }
            At::Colon if c == ':' => self.go(At::Value),
            At::Next if c == ',' => self.go(At::Key),
            At::Key | At::Next if c == '}' => self.end_of_object(),
            _ => Verdict::Refused,
        }
    }

    fn go(&mut self, at: At) -> Verdict {
        self.at = at;
        Verdict::More
    }

    fn key_text(&mut self, c: char) -> Verdict {
        if !self.string_ends(c) {
            return Verdict::More;
        }
        let known =
            KEYS.contains(&self.token.as_str()) || (self.json_style && self.token == "response");
        if self.bare && !known && !self.started {
            return Verdict::Refused;
        }
        self.key = mem::take(&mut self.token);
        self.go(At::Colon)
    }

    /// The first character of a value.
    fn value(&mut self, c: char) -> Verdict {
        let slot = match self.key.as_str() {
            "name" | "function" if self.name.is_none() && c == '"' => Slot::Name,
            "function" | "tool_call" if self.name.is_none() && c == '{' => return Verdict::Nested,
            "tool_calls" if self.name.is_none() && c == '[' => return Verdict::Nested,
            "name" if self.name.is_none() => return Verdict::Refused,
            "arguments" | "parameters" if !self.has_arguments => Slot::Arguments,
            "response" if self.json_style && c == '"' => Slot::Response,
            _ => Slot::Other,
        };
        self.token.clear();
        match c {
            '"' if self.arguments_only => Verdict::Refused,
            '"' => self.go(At::Text(slot)),
            '{' | '[' => {
                self.depth = 1;
                self.in_string = false;
                if slot == Slot::Arguments {
                    self.arguments.push(c);
                    self.has_arguments = true;
                    self.settle();
                }
                self.go(At::Container(slot))
            }
            _ if is_literal(c) && !self.arguments_only => {
                self.token.push(c);
                self.go(At::Literal(slot))
            }
            _ => Verdict::Refused,
        }
    }

    fn text(&mut self, c: char, slot: Slot, tools: &[String]) -> Verdict {
        if !self.string_ends(c) {
            return Verdict::More;
        }
        let text = decode(&self.token);
        match slot {
            Slot::Name if text.is_empty() || (self.bare && !tools.contains(&text)) => {
                return Verdict::Refused;
            }
            Slot::Name => {
                self.name = Some(text);
                self.settle();
            }
            Slot::Arguments => {
                let object = serde_json::from_str::<serde_json::Value>(&text)
                    .is_ok_and(|value| value.is_object());
                // Some models write the arguments as the API does: as the text of an object.
                let arguments = match text.trim() {
                    "" => "{}".to_owned(),
                    _ if object => text,
                    _ => format!("\"{}\"", self.token),
                };
                self.complete_arguments(arguments);
            }
            Slot::Response => self.response = Some(text),
            Slot::Other => {}
        }
        self.go(At::Next)
    }

    fn container(&mut self, c: char, slot: Slot) -> Verdict {
        if slot == Slot::Arguments {
            self.arguments.push(c);
        }
        if self.in_string {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.in_string = false,
                _ => {}
            }
            return Verdict::More;
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return Verdict::More;
        }
        self.at = At::Next;
        if self.arguments_only {
            Verdict::Done
        } else {
            Verdict::More
        }
    }

    fn literal(&mut self, c: char, slot: Slot, tools: &[String]) -> Verdict {
        if is_literal(c) {
            self.token.push(c);
            return Verdict::More;
        }
        if slot == Slot::Arguments {
            let word = mem::take(&mut self.token);
            self.complete_arguments(if word == "null" {
                "{}".to_owned()
            } else {
                word
            });
        }
        self.at = At::Next;
        self.dispatch(c, tools)
    }

    fn end_of_object(&mut self) -> Verdict {
        if self.name.is_none() {
            // Only a response is left to make sense of it.
            self.started = self.response.is_some();
            return if self.started {
                Verdict::Done
            } else {
                Verdict::Refused
            };
        }
        if !self.has_arguments {
            if self.bare {
                return Verdict::Refused;
            }
            self.complete_arguments("{}".to_owned());
        }
        Verdict::Done
    }

    fn complete_arguments(&mut self, text: String) {
        self.arguments = text;
        self.has_arguments = true;
        self.settle();
    }

    /// With a name and the beginning of arguments, it is a call.
    fn settle(&mut self) {
        self.started |= self.name.is_some() && self.has_arguments;
    }

    /// Takes a character of a string; true at its closing quote.
    fn string_ends(&mut self, c: char) -> bool {
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => return true,
            _ => {}
        }
        self.token.push(c);
        false
    }
}

fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')
}

/// The text of a JSON string's inside; as it stands where its escapes are not valid.
fn decode(inside: &str) -> String {
    serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_else(|_| inside.to_owned())
}
