//! What the engine remembers about sessions: what they have cost.

use std::collections::HashMap;

/// Sessions remembered; of more, those are forgotten that were served least recently. Each takes
/// some dozen bytes.
const MOST_SESSIONS: usize = 4096;

/// A session's history.
#[derive(Clone, Copy, Debug, Default)]
struct Session {
    /// Tokens computed for it.
    attained_tokens: u64,
    /// When it was last served, in seconds on the engine's clock.
    last_served: f64,
}

/// The sessions that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: HashMap<u64, Session>,
}

impl Sessions {
    /// Adds tokens that were computed for a session.
    pub(crate) fn serve(&mut self, session: u64, tokens: u64, now: f64) {
        if self.known.len() >= MOST_SESSIONS && !self.known.contains_key(&session) {
            self.forget_older_half();
        }
        let known = self.known.entry(session).or_default();
        known.attained_tokens += tokens;
        known.last_served = now;
    }

    /// Tokens computed for a session so far; 0 for one that is not known.
    pub(crate) fn attained_tokens(&self, session: u64) -> u64 {
        self.known
            .get(&session)
            .map_or(0, |session| session.attained_tokens)
    }

    /// Half at once, so that a newcomer does not cost a search among all.
    fn forget_older_half(&mut self) {
        let mut times: Vec<f64> = self.known.values().map(|known| known.last_served).collect();
        let (_, &mut median, _) = times.select_nth_unstable_by(MOST_SESSIONS / 2, f64::total_cmp);
        self.known.retain(|_, known| known.last_served > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_adds_up_and_memory_is_bounded() {
        let mut sessions = Sessions::default();
        sessions.serve(7, 100, 0.5);
        sessions.serve(7, 20, 1e9);
        assert_eq!(
            (sessions.attained_tokens(7), sessions.attained_tokens(8)),
            (120, 0)
        );
        for session in 0..3 * MOST_SESSIONS as u64 {
            sessions.serve(100 + session, 1, session as f64);
            assert!(sessions.known.len() <= MOST_SESSIONS);
        }
        assert_eq!(sessions.attained_tokens(7), 120, "the last served stays");
        assert_eq!(sessions.attained_tokens(100), 0, "the first is forgotten");
    }
}
