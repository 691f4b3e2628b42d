//! Who gives the answers of a chat completion: an engine of this process, or another server.

use std::sync::Arc;

use agentinfer_engine::{Finish, Token};
use agentinfer_protocol::{ChoiceDelta, Usage};

use crate::conversation::Conversation;
use crate::engine_answer::EngineAnswer;
use crate::remote::RemoteAnswer;
use crate::said::Said;
use crate::session::Prompt;
use crate::tier::ServedTier;
use crate::{RuntimeError, Tier};

/// The answers as they come, from either.
#[derive(Debug)]
pub(crate) enum Source {
    Engine(EngineAnswer),
    Remote(RemoteAnswer),
}

/// What became new.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) deltas: Vec<ChoiceDelta>,
    /// The answers that have ended with it.
    pub(crate) ended: Vec<usize>,
}

impl Source {
    /// Waits until it is sure that it will be tried to answer: an engine has said so already.
    ///
    /// # Errors
    /// When another server does not accept the request.
    pub(crate) async fn accepted(&mut self) -> Result<(), RuntimeError> {
        match self {
            Self::Engine(_) => Ok(()),
            Self::Remote(answer) => answer.accepted().await,
        }
    }

    /// What is new; none after the last.
    ///
    /// # Errors
    /// When an answer fails. After that nothing is to be asked for.
    pub(crate) async fn next(&mut self) -> Option<Result<News, RuntimeError>> {
        match self {
            Self::Engine(answer) => answer.next().await,
            Self::Remote(answer) => answer.next().await,
        }
    }

    /// What each answer has said so far.
    pub(crate) fn said(&self) -> Vec<&Said> {
        match self {
            Self::Engine(answer) => answer.said().collect(),
            Self::Remote(answer) => answer.said().collect(),
        }
    }

    pub(crate) fn tier(&self) -> Tier {
        match self {
            Self::Engine(answer) => answer.tier.tier,
            Self::Remote(answer) => answer.server.tier,
        }
    }

    /// The tier of this process that answers, if one does.
    pub(crate) fn engine(&self) -> Option<&Arc<ServedTier>> {
        match self {
            Self::Engine(answer) => Some(&answer.tier),
            Self::Remote(_) => None,
        }
    }

    /// The served model's name.
    pub(crate) fn model(&self) -> &str {
        match self {
            Self::Engine(answer) => &answer.tier.name,
            Self::Remote(answer) => &answer.server.name,
        }
    }

    /// What identifies the model file and who runs it, if that is known.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        match self {
            Self::Engine(answer) => Some(&answer.tier.fingerprint),
            Self::Remote(answer) => answer.fingerprint.as_deref(),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Engine(answer) => answer.usage(),
            Self::Remote(answer) => answer.usage(),
        }
    }

    /// How the engine served each finished answer.
    pub(crate) fn finishes(&self) -> Vec<&Finish> {
        match self {
            Self::Engine(answer) => answer.finishes(),
            Self::Remote(_) => Vec::new(),
        }
    }

    /// Tokens of the prompt that its session has been through, as far as they are known.
    pub(crate) fn known_tokens(&self, conversation: &Conversation) -> u32 {
        match self {
            Self::Engine(answer) => answer.known_tokens(conversation),
            Self::Remote(_) => 0,
        }
    }

    /// A finished answer in the tokens of this process's model: its prompt, the text that it is
    /// kept under, and what was generated.
    pub(crate) fn tokens(
        &self,
        index: usize,
        conversation: &Conversation,
    ) -> Option<(&Prompt, String, Vec<Token>)> {
        match self {
            Self::Engine(answer) => answer.tokens(index, conversation),
            Self::Remote(_) => None,
        }
    }

    /// Says when the session should come back, in seconds. Another server knows what its client
    /// knew.
    pub(crate) fn expect_return(&self, session: u64, seconds: f64) {
        if let Self::Engine(answer) = self {
            answer.tier.handle.expect_return(session, seconds);
        }
    }

    /// Stops whatever still runs.
    pub(crate) fn cancel(&mut self) {
        match self {
            Self::Engine(answer) => answer.events.cancel(),
            // Its connection ends when it is dropped, and it has nothing to say after an error.
            Self::Remote(_) => {}
        }
    }
}
