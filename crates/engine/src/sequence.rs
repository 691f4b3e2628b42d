//! One request on its way through the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::constraint::Matching;
use crate::device::Foreground;
use crate::event::{Event, Finish, FinishReason};
use crate::offloading::Stored;
use crate::prefixes::Cursor;
use crate::sampling::Sampler;
use crate::text::TextAssembler;
use crate::{Guess, Hints, Request, SequenceId, Token};

/// A place among the requests that the engine has promised to serve; freed when dropped.
#[derive(Debug)]
pub(crate) struct Permit(pub(crate) Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A validated request with everything the engine needs to serve it.
pub(crate) struct Submission {
    pub(crate) id: u64,
    pub(crate) request: Request,
    pub(crate) matching: Option<Matching>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) permit: Option<Permit>,
    /// Tells the device of it, if somebody waits for it.
    pub(crate) foreground: Option<Foreground>,
}

/// The state of a request.
pub(crate) struct Sequence {
    pub(crate) id: u64,
    /// Prompt, then everything generated.
    pub(crate) tokens: Vec<Token>,
    pub(crate) prompt_tokens: usize,
    /// The model's sequence that holds its cells, while it runs.
    pub(crate) slot: Option<SequenceId>,
    /// How far the last search for a resident prefix of its tokens came.
    pub(crate) cursor: Cursor,
    /// Draft tokens of the current step.
    pub(crate) draft: Vec<Guess>,
    /// Which of these a grammar forces.
    pub(crate) forced: Forced,
    pub(crate) sampler: Sampler,
    pub(crate) matching: Option<Matching>,
    pub(crate) text: TextAssembler,
    pub(crate) max_tokens: usize,
    pub(crate) stop_tokens: Vec<Token>,
    pub(crate) ignore_eos: bool,
    pub(crate) session: Option<u64>,
    pub(crate) hints: Hints,
    pub(crate) preemptions: u32,
    pub(crate) outbox: Outbox,
    pub(crate) times: Times,
    pub(crate) counts: Counts,
    /// What need not be computed of its prompt because it is stored.
    pub(crate) stored: Stored,
    /// Tells the device of it until it has ended, if somebody waits for it.
    pub(crate) foreground: Option<Foreground>,
    _permit: Option<Permit>,
}

/// The beginning of a draft that a grammar forces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forced {
    /// Guesses.
    pub(crate) tokens: usize,
    /// Of these, not the last of all that is forced there.
    pub(crate) within: usize,
}

/// Moments in a request's life, in seconds on the model's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) submitted: f64,
    pub(crate) admitted: Option<f64>,
    pub(crate) first_token: Option<f64>,
}

/// What a request has cost so far, in tokens and steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) cached: u32,
    /// Tokens that went through the model, drafts included.
    pub(crate) computed: u64,
    pub(crate) decode_steps: u32,
    pub(crate) drafted: u32,
    pub(crate) accepted: u32,
}

impl Sequence {
    pub(crate) fn new(submission: Submission, now: f64) -> Self {
        let Submission {
            id,
            request,
            matching,
            events,
            permit,
            foreground,
        } = submission;
        Self {
            id,
            prompt_tokens: request.prompt.len(),
            sampler: Sampler::new(request.sampling, &request.prompt),
            tokens: request.prompt,
            slot: None,
            cursor: Cursor::default(),
            draft: Vec::new(),
            forced: Forced::default(),
            matching,
            text: TextAssembler::new(request.stop),
            max_tokens: request.max_tokens as usize,
            stop_tokens: request.stop_tokens,
            ignore_eos: request.ignore_eos,
            session: request.session,
            hints: request.hints,
            preemptions: 0,
            outbox: Outbox {
                events,
                held: VecDeque::new(),
                stalled_since: None,
            },
            times: Times {
                submitted: now,
                ..Times::default()
            },
            counts: Counts::default(),
            stored: Stored::default(),
            foreground,
            _permit: permit,
        }
    }

    /// Whether it only has its prompt computed, and nobody waits for that.
    pub(crate) fn prewarms(&self) -> bool {
        self.max_tokens == 0 && self.hints.background
    }

    /// Its session, if it is a call of it: one that generates nothing is none.
    pub(crate) fn calling_session(&self) -> Option<u64> {
        self.session.filter(|_| self.max_tokens > 0)
    }

    /// Tokens generated so far.
    pub(crate) fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    /// The report at the end.
    pub(crate) fn finish(&mut self, reason: FinishReason, now: f64) -> Finish {
        let text = match reason {
            FinishReason::StopText(_) => String::new(),
            _ => self.text.finish(),
        };
        let since = |moment: Option<f64>| moment.map_or(0.0, |at| at - self.times.submitted);
        Finish {
            reason,
            text,
            prompt_tokens: self.prompt_tokens as u32,
            cached_tokens: self.counts.cached,
            completion_tokens: self.generated() as u32,
            decode_steps: self.counts.decode_steps,
            drafted_tokens: self.counts.drafted,
            accepted_tokens: self.counts.accepted,
            queue_seconds: since(self.times.admitted),
            ttft_seconds: since(self.times.first_token),
            e2e_seconds: now - self.times.submitted,
        }
    }
}

/// The way to the client: a bounded channel, and what did not fit into it. While something is
/// held the sequence does not decode, so the overflow is bounded by one step's events.
#[derive(Debug)]
pub(crate) struct Outbox {
    events: mpsc::Sender<Event>,
    held: VecDeque<Event>,
    stalled_since: Option<f64>,
}

/// How the client is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reader {
    /// Everything was taken.
    Ready,
    /// The channel has been full since this moment.
    Stalled(f64),
    /// The client is gone.
    Gone,
}

impl Outbox {
    /// Whether the client has been sent everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Queues an event and sends what fits.
    pub(crate) fn send(&mut self, event: Event, now: f64) {
        self.held.push_back(event);
        self.flush(now);
    }

    /// Sends what fits and tells how the client is doing.
    pub(crate) fn flush(&mut self, now: f64) -> Reader {
        while let Some(event) = self.held.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => self.stalled_since = None,
                Err(TrySendError::Full(event)) => {
                    self.held.push_front(event);
                    return Reader::Stalled(*self.stalled_since.get_or_insert(now));
                }
                Err(TrySendError::Closed(_)) => return Reader::Gone,
            }
        }
        if self.events.is_closed() {
            Reader::Gone
        } else {
            Reader::Ready
        }
    }
}
