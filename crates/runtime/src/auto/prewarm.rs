//! Pre-warming: the tier that has not answered reads the conversation in the background, so that a
//! switch finds its prefix resident.

use std::sync::Arc;

use super::FollowUp;
use super::counts::AutoStats;
use crate::RuntimeError;
use crate::counts::Counts;
use crate::session::Answer;
use crate::tier::ServedTier;
use crate::turn;
use crate::warm::{State, Warm};

/// A conversation that is being read. Dropping it cancels what is left to do; what was read stays.
#[derive(Debug)]
pub(crate) struct Prewarm {
    warm: Warm,
    counts: Arc<Counts<AutoStats>>,
}

impl Prewarm {
    /// Has `tier` read the conversation up to and with the answer, as its own template writes it.
    ///
    /// # Errors
    /// When its template refuses the conversation, or the engine the request.
    pub(crate) fn start(
        tier: &ServedTier,
        after: &FollowUp,
        counts: &Arc<Counts<AutoStats>>,
    ) -> Result<Self, RuntimeError> {
        let render = |messages: &[_]| {
            let variables = after.variables.as_ref();
            tier.render(messages, &after.tools, variables, false)
        };
        let text = turn::continued(&render, &after.messages, &after.answer)
            .map_err(RuntimeError::Conversation)?;
        let prompt = after.tokenize(tier, text);
        let warm = Warm::start(tier, prompt.tokens.clone(), after.session, after.hints)?;
        // The next one then tokenizes only what is new.
        let read = Answer {
            text: &prompt.text,
            generated: &[],
        };
        after.sessions().remember(tier.tier, &prompt, &read);
        counts.add(|counts| counts.prewarms += 1);
        Ok(Self {
            warm,
            counts: counts.clone(),
        })
    }
}

impl Drop for Prewarm {
    fn drop(&mut self) {
        let state = self.warm.state().clone();
        self.counts.add(|counts| match state {
            State::Resident(finish) => {
                let tokens = finish.prompt_tokens - finish.cached_tokens;
                counts.prewarmed_tokens += u64::from(tokens);
            }
            State::Running | State::GaveUp => counts.prewarms_cancelled += 1,
        });
    }
}
