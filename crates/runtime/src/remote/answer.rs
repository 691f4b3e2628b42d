//! The answers that another server gives, as they arrive.

use std::sync::Arc;

use agentinfer_engine::EngineError;
use agentinfer_protocol::{
    ChatCompletionChunk, ChoiceDelta, Delta, FunctionCall, Role, ToolCall, ToolCallDelta, Usage,
};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::wire::{Item, Items};
use super::{Pass, RemoteTier};
use crate::said::Said;
use crate::source::News;
use crate::{RuntimeError, random};

/// The answers to one request. Dropping it ends the connection, and with it the server's work.
pub(crate) struct RemoteAnswer {
    pub(crate) server: Arc<RemoteTier>,
    items: Items,
    /// Since the server has accepted the request, and until it is known what came of it.
    pass: Option<Pass>,
    accepted: bool,
    choices: Vec<RemoteChoice>,
    usage: Option<Usage>,
    pub(crate) fingerprint: Option<String>,
    /// Nothing more is to come.
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// One answer.
#[derive(Debug, Default)]
struct RemoteChoice {
    said: Said,
    /// Whether the chunk with the role was sent.
    begun: bool,
}

impl RemoteAnswer {
    pub(super) fn new(
        server: Arc<RemoteTier>,
        items: Items,
        choices: u32,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            server,
            items,
            pass: None,
            accepted: false,
            choices: (0..choices).map(|_| RemoteChoice::default()).collect(),
            usage: None,
            fingerprint: None,
            over: false,
            _place: place,
        }
    }

    /// Waits until the server has accepted the request.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn accepted(&mut self) -> Result<(), RuntimeError> {
        if self.accepted {
            return Ok(());
        }
        let error = match self.items.next().await {
            Some(Ok(Item::Accepted(pass))) => {
                (self.accepted, self.pass) = (true, Some(pass));
                return Ok(());
            }
            Some(Err(error)) => error,
            Some(Ok(_)) | None => EngineError::Stopped.into(),
        };
        self.over = true;
        Err(error)
    }

    /// What is new; none after the last.
    ///
    /// # Errors
    /// When the server does not accept the request, or breaks off.
    pub(crate) async fn next(&mut self) -> Option<Result<News, RuntimeError>> {
        if self.over {
            return None;
        }
        if let Err(error) = self.accepted().await {
            return Some(Err(error));
        }
        loop {
            let error = match self.items.next().await {
                Some(Ok(Item::Chunk(chunk))) => match self.take(*chunk) {
                    Ok(Some(news)) => return Some(Ok(news)),
                    Ok(None) => continue,
                    Err(message) => self.broken(message),
                },
                // Servers differ in what they send after the answers have ended.
                _ if self
                    .choices
                    .iter()
                    .all(|choice| choice.said.ended.is_some()) =>
                {
                    self.over = true;
                    self.pass.take().into_iter().for_each(Pass::succeeded);
                    return None;
                }
                Some(Err(error)) => error,
                Some(Ok(_)) => self.broken("it ended its answer too early"),
                // The tier has stopped, which says nothing about the server.
                None => {
                    (self.over, self.pass) = (true, None);
                    return Some(Err(EngineError::Stopped.into()));
                }
            };
            self.over = true;
            self.pass.take().into_iter().for_each(Pass::failed);
            return Some(Err(error));
        }
    }

    pub(crate) fn said(&self) -> impl Iterator<Item = &Said> {
        self.choices.iter().map(|choice| &choice.said)
    }

    /// As the server counted; zeros where it does not.
    pub(crate) fn usage(&self) -> Usage {
        self.usage.clone().unwrap_or_default()
    }

    /// Takes a chunk; none where nothing in it is new.
    ///
    /// # Errors
    /// What is wrong with it.
    fn take(&mut self, chunk: ChatCompletionChunk) -> Result<Option<News>, String> {
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage);
        }
        if let Some(fingerprint) = chunk.system_fingerprint {
            self.fingerprint = Some(fingerprint);
        }
        let mut news = News::default();
        for delta in chunk.choices {
            let index = delta.index as usize;
            let choice = self.choices.get_mut(index);
            let choice =
                choice.ok_or_else(|| format!("it sent answer {index}, which nobody asked for"))?;
            if choice.said.ended.is_some() {
                continue;
            }
            let ends = delta.finish_reason.is_some();
            choice.take(delta, &mut news.deltas)?;
            news.ended.extend(ends.then_some(index));
        }
        if news.deltas.is_empty() {
            return Ok(None);
        }
        if let Some(pass) = &self.pass {
            pass.began();
        }
        Ok(Some(news))
    }

    fn broken(&self, message: impl Into<String>) -> RuntimeError {
        self.server.failed(message)
    }
}

impl std::fmt::Debug for RemoteAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteAnswer")
            .field("server", &self.server)
            .field("choices", &self.choices)
            .field("over", &self.over)
            .finish()
    }
}

impl RemoteChoice {
    /// Takes what is new, and adds it to `out` as this server's clients see it: the role comes with
    /// the first thing that is said, as until then another server may have to answer.
    fn take(&mut self, mut new: ChoiceDelta, out: &mut Vec<ChoiceDelta>) -> Result<(), String> {
        new.delta.role = None;
        let empty = |text: &mut String| text.is_empty();
        new.delta.content.take_if(empty);
        new.delta.reasoning_content.take_if(empty);
        new.delta.tool_calls.take_if(|calls| calls.is_empty());
        let silent = new.delta == Delta::default() && new.logprobs.is_none();
        if silent && new.finish_reason.is_none() {
            return Ok(());
        }
        self.said.content += new.delta.content.as_deref().unwrap_or_default();
        self.said.reasoning += new.delta.reasoning_content.as_deref().unwrap_or_default();
        for call in new.delta.tool_calls.iter_mut().flatten() {
            self.call(call)?;
        }
        self.said.ended = new.finish_reason;
        if !std::mem::replace(&mut self.begun, true) {
            let delta = Delta {
                role: Some(Role::Assistant),
                content: Some(String::new()),
                ..Delta::default()
            };
            out.push(ChoiceDelta {
                index: new.index,
                delta,
                logprobs: None,
                finish_reason: None,
            });
        }
        out.push(new);
        Ok(())
    }

    /// Takes a part of a call. One without an identifier gets one.
    fn call(&mut self, new: &mut ToolCallDelta) -> Result<(), String> {
        let (index, calls) = (new.index as usize, &mut self.said.calls);
        if index > calls.len() {
            return Err(format!("it sent call {index} after {} calls", calls.len()));
        }
        if index == calls.len() {
            let id = new.id.get_or_insert_with(|| random::id("call_"));
            let kind = new.kind.get_or_insert_with(|| "function".to_owned());
            calls.push(ToolCall {
                id: id.clone(),
                kind: kind.clone(),
                function: FunctionCall {
                    name: String::new(),
                    arguments: String::new(),
                },
            });
        }
        let function = &mut calls[index].function;
        function.name += new.function.name.as_deref().unwrap_or_default();
        function.arguments += new.function.arguments.as_deref().unwrap_or_default();
        Ok(())
    }
}
