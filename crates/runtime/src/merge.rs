//! Several completions of the engine as one stream of events.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use agentinfer_engine::{Completion, EngineError, Event, Finish};
use agentinfer_protocol::{PromptTokensDetails, Usage};

/// The completions of one request. Dropping it cancels those that still run.
#[derive(Debug)]
pub(crate) struct Merged {
    /// `None` once finished.
    completions: Vec<Option<Completion>>,
    /// Which is asked first next time, so that none starves the others.
    turn: usize,
}

impl Merged {
    pub(crate) fn new(completions: Vec<Completion>) -> Self {
        Self {
            completions: completions.into_iter().map(Some).collect(),
            turn: 0,
        }
    }

    /// The next event of any completion, with the completion's index; `None` after the last.
    /// A completion that ends without a last event was given up by its engine.
    pub(crate) async fn next(&mut self) -> Option<(usize, Event)> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Event)>> {
        let count = self.completions.len();
        for index in (0..count).map(|step| (self.turn + step) % count) {
            let Some(completion) = &mut self.completions[index] else {
                continue;
            };
            // Receiving keeps its place in the channel, not in the future, so a new future
            // for each poll loses nothing.
            let Poll::Ready(event) = pin!(completion.next()).poll(context) else {
                continue;
            };
            let event = event.unwrap_or(Event::Failed(EngineError::GivenUp));
            if matches!(event, Event::Finished(_) | Event::Failed(_)) {
                self.completions[index] = None;
            }
            self.turn = index + 1;
            return Poll::Ready(Some((index, event)));
        }
        let over = self.completions.iter().all(Option::is_none);
        if over {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Cancels whatever still runs.
    pub(crate) fn cancel(&mut self) {
        self.completions.clear();
    }
}

/// The usage of one prompt with these answers. The prompt is counted once; it counts as cached
/// where no answer had to compute it.
pub(crate) fn usage(finishes: &[&Finish]) -> Usage {
    let prompt_tokens = finishes
        .iter()
        .map(|finish| finish.prompt_tokens)
        .max()
        .unwrap_or(0);
    let completion_tokens = finishes.iter().map(|finish| finish.completion_tokens).sum();
    let cached_tokens = finishes
        .iter()
        .map(|finish| finish.cached_tokens)
        .min()
        .unwrap_or(0);
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens + completion_tokens,
        prompt_tokens_details: Some(PromptTokensDetails {
            cached_tokens,
            full_tokens: None,
        }),
    }
}
