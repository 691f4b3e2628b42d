//! What is left of a session for later ones.

use crate::Token;

/// Tokens of a session's first request that stand for it, its end: there is the question.
const OPENING: usize = 512;

/// Tokens before each answer that are kept with it: the model's own header of a turn, which what it
/// says first follows.
const LEAD: usize = 4;

/// Tokens of one session that are kept: some hundred answers. A loop that never ends must not fill
/// the corpus.
const MOST_SAID: usize = 64 << 10;

/// What is left of a session that was put aside, for the corpus.
///
/// Only what the model said is kept, not what it was told: that a past session's documents are
/// quoted again is rare, and with them a corpus guesses worse (measured on recorded sessions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Whose session it was.
    pub tenant: u64,
    /// Which.
    pub session: u64,
    /// How many of the tokens are the end of its first request, by which it is found again.
    pub opening: usize,
    /// These, and what the model said, each time after the few tokens before it.
    pub tokens: Vec<Token>,
}

/// What the model said in a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    tokens: Vec<Token>,
    opening: usize,
    /// How many were handed over.
    taken: usize,
    ephemeral: bool,
}

impl Said {
    /// A call begins.
    pub(crate) fn begin(&mut self, prompt: &[Token], ephemeral: bool) {
        self.ephemeral |= ephemeral;
        if self.tokens.is_empty() {
            let from = prompt.len().saturating_sub(OPENING);
            self.tokens.extend_from_slice(&prompt[from..]);
            self.opening = self.tokens.len();
        }
    }

    /// A call ends, with `tokens`, of which the first `prompt` were given.
    pub(crate) fn end(&mut self, tokens: &[Token], prompt: usize) {
        let first = self.tokens.len() == self.opening && tokens[..prompt].ends_with(&self.tokens);
        let from = if first {
            prompt
        } else {
            prompt.saturating_sub(LEAD)
        };
        let room = MOST_SAID.saturating_sub(self.tokens.len());
        let answer = &tokens[from..];
        self.tokens
            .extend_from_slice(&answer[..answer.len().min(room)]);
    }

    /// The end of the session's first request.
    pub(crate) fn opening(&self) -> &[Token] {
        &self.tokens[..self.opening]
    }

    /// What was said, if there is more of it than last time, and it may be kept.
    pub(crate) fn take(&mut self, tenant: u64, session: u64) -> Option<Paused> {
        let new = self.tokens.len() > self.opening.max(self.taken);
        if !new || self.ephemeral {
            return None;
        }
        self.taken = self.tokens.len();
        Some(Paused {
            tenant,
            session,
            opening: self.opening,
            tokens: self.tokens.clone(),
        })
    }
}
