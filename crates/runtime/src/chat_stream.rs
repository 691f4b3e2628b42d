//! The answers of a chat completion, as chunks or whole.

use std::collections::VecDeque;
use std::sync::Arc;

use agentinfer_engine::{Event, Finish, Hints};
use agentinfer_protocol::{
    ChatCompletion, ChatCompletionChunk, Choice as WholeChoice, ChoiceDelta, FinishReason,
    Logprobs, Message, Role, Tool, Usage,
};
use serde_json::{Map, Value};

use crate::answers::Place;
use crate::auto::Taken;
use crate::choice::Choice;
use crate::merge::{Merged, usage};
use crate::session::{Answer, Prompt, Sessions, common_prefix};
use crate::tier::ServedTier;
use crate::turn::rendered_turn;
use crate::{RuntimeError, Tier};

/// What every chunk of an answer repeats.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    /// Unix time in seconds.
    pub(crate) created: u64,
}

/// The conversation that is answered, kept to recognise its continuation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    /// The place after the last of them.
    pub(crate) place: Place,
    pub(crate) tools: Vec<Tool>,
    /// The client's variables for the template.
    pub(crate) variables: Option<Map<String, Value>>,
    pub(crate) prompt: Prompt,
    /// Whether the client said that the session ends with it.
    pub(crate) is_last: bool,
}

/// The answers of a chat completion. Dropping it cancels those that still run.
///
/// ```no_run
/// # use agentinfer_runtime::{Runtime, RuntimeError};
/// # async fn example(runtime: Runtime) -> Result<(), RuntimeError> {
/// # let request = Default::default();
/// let mut stream = runtime.chat(request)?;
/// while let Some(chunk) = stream.next().await {
///     for choice in chunk?.choices {
///         eprint!("{}", choice.delta.content.unwrap_or_default());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChatStream {
    pub(crate) tier: Arc<ServedTier>,
    pub(crate) sessions: Sessions,
    pub(crate) conversation: Conversation,
    pub(crate) head: Head,
    pub(crate) events: Merged,
    pub(crate) choices: Vec<Choice>,
    /// Chunks that are ready to be read.
    pub(crate) ready: VecDeque<ChatCompletionChunk>,
    /// Whether a usage chunk is still to come.
    pub(crate) usage_due: bool,
    /// What the client told about the request and its session.
    pub(crate) hints: Hints,
    /// Which tier answers and a word for why, where the request left that open.
    pub(crate) decided: Option<(Tier, &'static str)>,
    /// What the controller has to know of the answer, until it is complete.
    pub(crate) taken: Option<Taken>,
}

impl ChatStream {
    /// The next chunk; `None` after the last. After an error nothing follows.
    pub async fn next(&mut self) -> Option<Result<ChatCompletionChunk, RuntimeError>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            let Some((index, event)) = self.events.next().await else {
                let due = std::mem::take(&mut self.usage_due);
                return due.then(|| Ok(self.usage_chunk()));
            };
            let vocabulary = self.tier.handle.vocabulary().as_ref();
            let choice = &mut self.choices[index];
            let deltas = match event {
                Event::Started(_) => Vec::new(),
                Event::Token(token) => {
                    if let Some(taken) = &mut self.taken {
                        taken.request = None;
                    }
                    choice.token(token, vocabulary)
                }
                Event::Finished(finish) => {
                    let deltas = choice.finish(finish, vocabulary);
                    self.remember(index);
                    if self.choices.iter().all(|choice| choice.ended().is_some()) {
                        self.leave();
                    }
                    deltas
                }
                Event::Failed(error) => {
                    if let Some(taken) = self.taken.take_if(|taken| taken.request.is_some()) {
                        match taken.answer_instead(self.tier.tier, error) {
                            Ok(other) => {
                                *self = other;
                                continue;
                            }
                            Err(error) => return Some(Err(self.fail(error))),
                        }
                    }
                    return Some(Err(self.fail(error.into())));
                }
            };
            let chunks = deltas
                .into_iter()
                .map(|delta| self.chunk(vec![delta], None));
            let chunks: Vec<_> = chunks.collect();
            self.ready.extend(chunks);
        }
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// When the engine fails before the end.
    pub async fn collect(mut self) -> Result<ChatCompletion, RuntimeError> {
        self.read_all().await
    }

    /// [`collect`](Self::collect), after which the stream can still be asked about the answer.
    ///
    /// # Errors
    /// When the engine fails before the end.
    pub async fn read_all(&mut self) -> Result<ChatCompletion, RuntimeError> {
        let count = self.choices.len();
        let mut reasons = vec![FinishReason::Stop; count];
        let mut logprobs: Vec<Option<Logprobs>> = vec![None; count];
        while let Some(chunk) = self.next().await {
            for ChoiceDelta {
                index,
                logprobs: new,
                finish_reason,
                ..
            } in chunk?.choices
            {
                let index = index as usize;
                if let Some(new) = new {
                    logprobs[index]
                        .get_or_insert_default()
                        .content
                        .extend(new.content);
                }
                reasons[index] = finish_reason.unwrap_or(reasons[index]);
            }
        }
        let choices = self.choices.iter().zip(logprobs).zip(&reasons).zip(0..);
        let choices = choices.map(
            |(((choice, logprobs), &finish_reason), index)| WholeChoice {
                index,
                message: choice.message(),
                logprobs,
                finish_reason,
            },
        );
        Ok(ChatCompletion {
            choices: choices.collect(),
            usage: self.usage(),
            id: self.head.id.clone(),
            object: "chat.completion".to_owned(),
            created: self.head.created,
            model: self.tier.name.clone(),
            system_fingerprint: Some(self.tier.fingerprint.clone()),
        })
    }

    /// How each finished answer was served: queue, prefill and decode figures of the engine, in
    /// order of the choices. For traces and benchmarks; the API's `usage` is made from it.
    pub fn finishes(&self) -> Vec<&Finish> {
        self.choices.iter().filter_map(Choice::ended).collect()
    }

    /// Which tier answers and a word for why, where the request named the model
    /// [`AUTO`](crate::AUTO). May change until the first token: if the tier fails, the other one
    /// answers.
    pub fn decision(&self) -> Option<(Tier, &'static str)> {
        self.decided
    }

    /// Tokens of the prompt that its session has been through: up to the end of its last answer.
    pub(crate) fn known_tokens(&self) -> u32 {
        let Conversation {
            messages,
            tools,
            variables,
            prompt,
            ..
        } = &self.conversation;
        let answer = |message: &Message| message.role == Role::Assistant;
        let Some(last) = messages.iter().rposition(answer) else {
            return 0;
        };
        let text = self
            .tier
            .render(&messages[..=last], tools, variables.as_ref(), false);
        let common = text.map_or(0, |text| {
            common_prefix(text.as_bytes(), prompt.text.as_bytes())
        });
        prompt.tokens_within(common) as u32
    }

    fn fail(&mut self, error: RuntimeError) -> RuntimeError {
        self.events.cancel();
        self.ready.clear();
        self.usage_due = false;
        error
    }

    fn usage(&self) -> Usage {
        usage(&self.finishes())
    }

    fn usage_chunk(&self) -> ChatCompletionChunk {
        self.chunk(Vec::new(), Some(self.usage()))
    }

    fn chunk(&self, choices: Vec<ChoiceDelta>, usage: Option<Usage>) -> ChatCompletionChunk {
        ChatCompletionChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.head.created,
            model: self.tier.name.clone(),
            choices,
            usage,
            system_fingerprint: Some(self.tier.fingerprint.clone()),
        }
    }

    /// Keeps a finished answer: the message, to know it when it comes back, and its tokens, under
    /// the text that the template will render for it then.
    fn remember(&self, index: usize) {
        let Conversation {
            messages,
            place,
            tools,
            variables,
            prompt,
            ..
        } = &self.conversation;
        let choice = &self.choices[index];
        let answer = choice.message();
        let render =
            |messages: &[Message]| self.tier.render(messages, tools, variables.as_ref(), false);
        let vocabulary = self.tier.handle.vocabulary().as_ref();
        let rendered = rendered_turn(&render, messages, &answer, &prompt.text);
        let tokens = rendered.as_ref().and_then(|turn| {
            let (generated, covered) = choice.tokens_in(turn, vocabulary)?;
            Some((prompt.text.clone() + &turn[..covered], generated))
        });
        let mut table = self.sessions.lock();
        let place = place.after(&answer);
        table.answers.remember(place, prompt.session, answer);
        if let Some((text, generated)) = tokens {
            let answer = Answer {
                text: &text,
                generated: &generated,
            };
            table.remember(self.tier.tier, prompt, &answer);
        }
    }

    /// Notes what follows a complete answer: the end of the session, or a wait for tools.
    fn leave(&mut self) {
        let expected = self.expect_return();
        if let Some(taken) = self.taken.take() {
            taken.answered(self, expected);
        }
    }

    /// Tells the engine when the session should come back, in seconds, if that is known.
    fn expect_return(&self) -> Option<f64> {
        let Prompt {
            session, tenant, ..
        } = self.conversation.prompt;
        let mut table = self.sessions.lock();
        if self.conversation.is_last {
            table.forget(session);
            return None;
        }
        let tools: Vec<&str> = self.choices.iter().flat_map(Choice::called).collect();
        let now = self.sessions.seconds();
        let seconds = table.tool_times.called(tenant, session, &tools, now)?;
        self.tier.handle.expect_return(session, seconds);
        Some(seconds)
    }
}
