//! What the engine tells a client about its request.

use tokio::sync::mpsc;

use crate::{EngineError, Token};

/// One thing that happened to a request, in order: [`Started`](Event::Started), then tokens, then
/// exactly one of [`Finished`](Event::Finished) and [`Failed`](Event::Failed).
#[derive(Clone, Debug)]
pub enum Event {
    /// The request was admitted and its prefill begins.
    Started(Started),
    /// A token was generated.
    Token(TokenEvent),
    /// The request is complete.
    Finished(Finish),
    /// The request could not be completed.
    Failed(EngineError),
}

/// How a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Started {
    /// Prompt tokens whose cells were resident and are not computed again.
    pub cached_tokens: u32,
    /// Seconds spent in the queue.
    pub queue_seconds: f64,
}

/// One generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenEvent {
    /// Its id.
    pub token: Token,
    /// The text that is now certain: whole characters only, and nothing that may still turn out
    /// to be the beginning of a stop text. May be empty, and may cover earlier tokens.
    pub text: String,
    /// Its log-probability, when asked for.
    pub logprob: Option<TokenLogprob>,
}

/// Log-probability of a generated token under the model, before sampling settings.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// Natural logarithm of the token's probability.
    pub logprob: f32,
    /// The most probable tokens and their log-probabilities, best first.
    pub top: Vec<(Token, f32)>,
}

/// How a request ended, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// Why generation ended.
    pub reason: FinishReason,
    /// Text held back until now (it might have become a stop text).
    pub text: String,
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Prompt tokens that were not computed again when the request was first admitted.
    pub cached_tokens: u32,
    /// Generated tokens, including a final end-of-generation token.
    pub completion_tokens: u32,
    /// Forward passes in which the request decoded.
    pub decode_steps: u32,
    /// Draft tokens verified, and of these accepted.
    pub drafted_tokens: u32,
    /// Draft tokens accepted.
    pub accepted_tokens: u32,
    /// Seconds from submission to admission.
    pub queue_seconds: f64,
    /// Seconds from submission to the first generated token.
    pub ttft_seconds: f64,
    /// Seconds from submission to the end.
    pub e2e_seconds: f64,
}

/// Why generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended (end-of-generation token, or a stop token).
    EndOfTurn,
    /// The constraint admits nothing more.
    ConstraintComplete,
    /// This stop text was met.
    StopText(String),
    /// `max_tokens`, or the end of the context.
    Length,
    /// There were no cells for a background request that generates nothing, except those of others
    /// who need them more. What was computed of its prompt stays resident for a while; it may not
    /// even have [started](Event::Started).
    NoRoom,
}

/// A request in flight: its stream of events. Dropping it cancels the request:
/// the engine frees its cells before its next step.
#[derive(Debug)]
pub struct Completion {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) id: u64,
}

impl Completion {
    /// The engine's number for this request.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// [`next`](Self::next) for threads outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }
}
