//! One answer of a chat completion while it grows.

use agentinfer_chat::{OutputDelta, OutputParser};
use agentinfer_engine::{Finish, FinishReason as EngineReason, Token, TokenEvent, Vocabulary};
use agentinfer_protocol::{
    ChoiceDelta, Delta, FinishReason, FunctionCall, Logprobs, Role, TokenLogprob, ToolCall,
    ToolCallDelta, ToolCallFunctionDelta, TopLogprob,
};

use crate::random;
use crate::said::Said;

/// What one completion has said so far, as text, tokens and message.
#[derive(Debug)]
pub(crate) struct Choice {
    index: u32,
    parser: OutputParser,
    /// Names of the control tokens that the parser must see although they are not text.
    markers: &'static [&'static str],
    /// Whether calls after the first are dropped (`parallel_tool_calls: false`).
    single_call: bool,
    /// Whether the chunk with the role was sent.
    begun: bool,
    said: Said,
    /// The text before parsing.
    raw: String,
    generated: Vec<Token>,
    /// Log-probabilities not sent yet: their tokens' text is still held back.
    logprobs: Vec<TokenLogprob>,
    /// How many were sent.
    reported: usize,
    finish: Option<Finish>,
    /// Whether the message differs from what the model said.
    altered: bool,
}

impl Choice {
    pub(crate) fn new(
        index: u32,
        parser: OutputParser,
        markers: &'static [&'static str],
        single_call: bool,
    ) -> Self {
        Self {
            index,
            parser,
            markers,
            single_call,
            begun: false,
            said: Said::default(),
            raw: String::new(),
            generated: Vec::new(),
            logprobs: Vec::new(),
            reported: 0,
            finish: None,
            altered: false,
        }
    }

    /// Takes a token; returns what became new in the message, if anything did.
    pub(crate) fn token(
        &mut self,
        event: TokenEvent,
        vocabulary: &dyn Vocabulary,
    ) -> Vec<ChoiceDelta> {
        self.generated.push(event.token);
        // The API's log-probabilities are those of the text; the end of the turn has none.
        if let Some(logprob) = event
            .logprob
            .filter(|_| !vocabulary.is_end_of_generation(event.token))
        {
            self.logprobs
                .push(token_logprob(vocabulary, event.token, &logprob));
        }
        self.raw += &event.text;
        let mut deltas = self.parser.push(&event.text);
        if let Some(marker) = self.marker(event.token, vocabulary) {
            deltas.extend(self.parser.push(marker));
        }
        let mut chunks = self.begin();
        let delta = self.absorb(deltas);
        if delta != Delta::default() {
            chunks.push(self.chunk(delta, None));
        }
        chunks
    }

    /// Takes the end; returns the last chunks.
    pub(crate) fn finish(
        &mut self,
        finish: Finish,
        vocabulary: &dyn Vocabulary,
    ) -> Vec<ChoiceDelta> {
        self.raw += &finish.text;
        let mut deltas = self.parser.push(&finish.text);
        deltas.extend(self.parser.finish());
        let mut chunks = self.begin();
        let delta = self.absorb(deltas);
        if matches!(finish.reason, EngineReason::StopText(_)) {
            let visible = visible_tokens(vocabulary, &self.generated, self.raw.len());
            self.logprobs
                .truncate(visible.saturating_sub(self.reported));
        }
        if delta != Delta::default() || !self.logprobs.is_empty() {
            chunks.push(self.chunk(delta, None));
        }
        let reason = match finish.reason {
            EngineReason::Length => FinishReason::Length,
            _ if !self.said.calls.is_empty() => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        chunks.push(self.chunk(Delta::default(), Some(reason)));
        self.said.ended = Some(reason);
        self.finish = Some(finish);
        chunks
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// The tokens that stand for the answer in the conversation, given what the template renders
    /// for it after the prompt; and how much of that they cover. `None` when the template writes
    /// more, or less, than the model said: for a call or reasoning that was broken off it writes
    /// an end, and calls that were withheld from the client it never sees.
    pub(crate) fn tokens_in(
        &self,
        rendered: &str,
        vocabulary: &dyn Vocabulary,
    ) -> Option<(Vec<Token>, usize)> {
        let finish = self.finish.as_ref()?;
        let cut_off = matches!(
            finish.reason,
            EngineReason::Length | EngineReason::StopText(_)
        );
        let only_reasoning = self.said.content.is_empty() && !self.said.reasoning.is_empty();
        let broken = cut_off && (only_reasoning || !self.said.calls.is_empty());
        if self.altered || broken {
            return None;
        }
        let mut tokens = self.generated.clone();
        if let EngineReason::StopText(_) = finish.reason {
            let visible = visible_tokens(vocabulary, &tokens, self.raw.len());
            tokens.truncate(visible);
            let kept: usize = tokens
                .iter()
                .map(|&token| vocabulary.bytes(token).len())
                .sum();
            // The stop text began within a token: what of it was shown gets tokens of its own.
            tokens.extend(vocabulary.tokenize(self.raw.get(kept..)?, false, false));
        }
        // The template's own end of the turn: the last end-of-generation token it writes.
        let ends = |token: &Token| vocabulary.is_end_of_generation(*token);
        let marker = vocabulary
            .tokenize(rendered, false, true)
            .into_iter()
            .rfind(ends)?;
        let name = str::from_utf8(vocabulary.name(marker))
            .ok()
            .filter(|name| !name.is_empty())?;
        let at = rendered.rfind(name)?;
        if tokens.last() == Some(&marker) {
            return Some((tokens, at + name.len()));
        }
        tokens.pop_if(|last| vocabulary.is_end_of_generation(*last));
        Some((tokens, at))
    }

    /// What the parser must see of a control token.
    fn marker(&self, token: Token, vocabulary: &dyn Vocabulary) -> Option<&'static str> {
        let control = vocabulary.bytes(token).is_empty();
        let named = |marker: &&&str| marker.as_bytes() == vocabulary.name(token);
        self.markers.iter().find(named).copied().filter(|_| control)
    }

    fn begin(&mut self) -> Vec<ChoiceDelta> {
        if std::mem::replace(&mut self.begun, true) {
            return Vec::new();
        }
        let delta = Delta {
            role: Some(Role::Assistant),
            content: Some(String::new()),
            ..Delta::default()
        };
        vec![ChoiceDelta {
            index: self.index,
            delta,
            logprobs: None,
            finish_reason: None,
        }]
    }

    fn chunk(&mut self, delta: Delta, finish_reason: Option<FinishReason>) -> ChoiceDelta {
        self.reported += self.logprobs.len();
        let content = std::mem::take(&mut self.logprobs);
        let logprobs = (!content.is_empty()).then_some(Logprobs { content });
        ChoiceDelta {
            index: self.index,
            delta,
            logprobs,
            finish_reason,
        }
    }

    /// Adds what the parser found to the message, and returns it as one delta.
    fn absorb(&mut self, deltas: Vec<OutputDelta>) -> Delta {
        let mut sum = Delta::default();
        for delta in deltas {
            match delta {
                OutputDelta::Content(text) => {
                    self.said.content += &text;
                    *sum.content.get_or_insert_default() += &text;
                }
                OutputDelta::Reasoning(text) => {
                    self.said.reasoning += &text;
                    *sum.reasoning_content.get_or_insert_default() += &text;
                }
                OutputDelta::ToolCallStart { index, .. }
                | OutputDelta::ToolCallArguments { index, .. }
                    if self.single_call && index > 0 =>
                {
                    self.altered = true;
                }
                OutputDelta::ToolCallStart { index, name } => {
                    let call = self.start_call(index, name);
                    sum.tool_calls.get_or_insert_default().push(call);
                }
                OutputDelta::ToolCallArguments { index, text } => {
                    if let Some(call) = self.said.calls.last_mut() {
                        call.function.arguments += &text;
                    }
                    add_arguments(sum.tool_calls.get_or_insert_default(), index, &text);
                }
            }
        }
        sum
    }

    fn start_call(&mut self, index: u32, name: String) -> ToolCallDelta {
        let (id, kind) = (random::id("call_"), "function".to_owned());
        let function = FunctionCall {
            name: name.clone(),
            arguments: String::new(),
        };
        self.said.calls.push(ToolCall {
            id: id.clone(),
            kind: kind.clone(),
            function,
        });
        let function = ToolCallFunctionDelta {
            name: Some(name),
            arguments: Some(String::new()),
        };
        ToolCallDelta {
            index,
            id: Some(id),
            kind: Some(kind),
            function,
        }
    }
}

/// Appends to the last delta when it is of the same call, so that one chunk has one entry per call.
fn add_arguments(deltas: &mut Vec<ToolCallDelta>, index: u32, text: &str) {
    match deltas.last_mut().filter(|last| last.index == index) {
        Some(last) => *last.function.arguments.get_or_insert_default() += text,
        None => {
            let function = ToolCallFunctionDelta {
                name: None,
                arguments: Some(text.to_owned()),
            };
            deltas.push(ToolCallDelta {
                index,
                function,
                ..ToolCallDelta::default()
            });
        }
    }
}

/// How many of `tokens` lie within the first `bytes` bytes of their text.
pub(crate) fn visible_tokens(vocabulary: &dyn Vocabulary, tokens: &[Token], bytes: usize) -> usize {
    let ends = tokens.iter().scan(0, |end, &token| {
        *end += vocabulary.bytes(token).len();
        Some(*end)
    });
    ends.take_while(|end| *end <= bytes).count()
}

/// A token's text as logprobs show it: control tokens by name.
pub(crate) fn token_text(vocabulary: &dyn Vocabulary, token: Token) -> String {
    String::from_utf8_lossy(vocabulary.name(token)).into_owned()
}

fn token_logprob(
    vocabulary: &dyn Vocabulary,
    token: Token,
    logprob: &agentinfer_engine::TokenLogprob,
) -> TokenLogprob {
    let top = |&(token, logprob): &(Token, f32)| TopLogprob {
        token: token_text(vocabulary, token),
        logprob,
        bytes: Some(vocabulary.name(token).to_vec()),
    };
    TokenLogprob {
        token: token_text(vocabulary, token),
        logprob: logprob.logprob,
        bytes: Some(vocabulary.name(token).to_vec()),
        top_logprobs: logprob.top.iter().map(top).collect(),
    }
}
