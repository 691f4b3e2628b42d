//! Pre-warming: the tier that has not answered reads the conversation in the background, so that a
//! switch finds its prefix resident.

use std::sync::Arc;

use agentinfer_engine::{Completion, EngineError, Event, FinishReason, Hints, Request, Token};

use super::FollowUp;
use super::counts::Counts;
use crate::RuntimeError;
use crate::session::Answer;
use crate::tier::ServedTier;
use crate::turn;

/// A conversation that is being read. Dropping it cancels what is left to do; what was read stays.
#[derive(Debug)]
pub(crate) struct Prewarm {
    completion: Completion,
    counts: Arc<Counts>,
}

impl Prewarm {
    /// Has `tier` read the conversation up to and with the answer, as its own template writes it.
    ///
    /// # Errors
    /// When its template refuses the conversation, or the engine the request.
    pub(crate) fn start(
        tier: &ServedTier,
        after: &FollowUp,
        counts: &Arc<Counts>,
    ) -> Result<Self, RuntimeError> {
        let render = |messages: &[_]| {
            let variables = after.variables.as_ref();
            tier.render(messages, &after.tools, variables, false)
        };
        let text = turn::continued(&render, &after.messages, &after.answer)
            .map_err(RuntimeError::Conversation)?;
        let prompt = after.tokenize(tier, text);
        let hints = Hints {
            background: true,
            ..after.hints
        };
        let completion = prefill_only(tier, prompt.tokens.clone(), after.session, hints)?;
        // The next one then tokenizes only what is new.
        let read = Answer {
            text: &prompt.text,
            generated: &[],
        };
        after.sessions().remember(tier.tier, &prompt, &read);
        counts.add(|counts| counts.prewarms += 1);
        Ok(Self {
            completion,
            counts: counts.clone(),
        })
    }
}

impl Drop for Prewarm {
    fn drop(&mut self) {
        let mut finished = None;
        while let Some(event) = self.completion.try_next() {
            if let Event::Finished(finish) = event {
                finished = Some(finish);
            }
        }
        let finished = finished.filter(|finish| finish.reason != FinishReason::NoRoom);
        self.counts.add(|counts| match finished {
            Some(finish) => {
                let tokens = finish.prompt_tokens - finish.cached_tokens;
                counts.prewarmed_tokens += u64::from(tokens);
            }
            None => counts.prewarms_cancelled += 1,
        });
    }
}

/// Makes the cells of a prompt resident.
fn prefill_only(
    tier: &ServedTier,
    tokens: Vec<Token>,
    session: u64,
    hints: Hints,
) -> Result<Completion, EngineError> {
    let request = Request {
        session: Some(session),
        hints,
        ..Request::new(tokens).max_tokens(0)
    };
    tier.handle.submit(request)
}
