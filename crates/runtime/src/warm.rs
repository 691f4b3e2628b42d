//! Prefixes that are made resident in the background, for a request that is expected.

use agentinfer_engine::{
    Completion, EngineError, Event, Finish, FinishReason, Hints, Request, Token,
};

use crate::tier::ServedTier;

/// A prompt whose cells are computed in idle capacity. Dropping it cancels what is left to do; what
/// was computed stays for a while.
#[derive(Debug)]
pub(crate) struct Warm {
    completion: Completion,
    state: State,
}

/// How far it has come.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It is computed, or waits for its turn.
    Running,
    /// All of it is resident.
    Resident(Finish),
    /// There was no room, or the engine stopped.
    GaveUp,
}

impl Warm {
    /// Has `tier` compute a prompt of a session.
    ///
    /// # Errors
    /// When the engine refuses the request.
    pub(crate) fn start(
        tier: &ServedTier,
        tokens: Vec<Token>,
        session: u64,
        hints: Hints,
    ) -> Result<Self, EngineError> {
        let request = Request {
            session: Some(session),
            hints: Hints {
                background: true,
                ..hints
            },
            ..Request::new(tokens).max_tokens(0)
        };
        Ok(Self {
            completion: tier.handle.submit(request)?,
            state: State::Running,
        })
    }

    /// How far it has come by now.
    pub(crate) fn state(&mut self) -> &State {
        while let Some(event) = self.completion.try_next() {
            self.state = match event {
                Event::Finished(finish) if finish.reason != FinishReason::NoRoom => {
                    State::Resident(finish)
                }
                Event::Finished(_) | Event::Failed(_) => State::GaveUp,
                Event::Started(_) | Event::Token(_) => continue,
            };
        }
        &self.state
    }
}
