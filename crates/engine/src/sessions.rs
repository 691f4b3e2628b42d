//! What the engine remembers about sessions: what they have cost, and when they are due back.

use rustc_hash::FxHashMap;

use crate::Hints;

/// Sessions remembered; of more, those are forgotten that were served least recently. Each takes
/// some dozen bytes.
const MOST_SESSIONS: usize = 4096;

/// Weight of the newest gap in the mean: the last handful counts.
const NEWEST: f64 = 0.3;

/// A session's history. Times are seconds on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Session {
    /// When it was first seen.
    pub(crate) arrived: f64,
    /// Tokens computed for it.
    pub(crate) attained_tokens: u64,
    /// Mean seconds between the end of one of its calls and the next; none before the second.
    mean_gap: Option<f64>,
    /// Seconds that its client says will pass before its next call.
    hinted_gap: Option<f64>,
    /// Seconds that the tools it has called usually take.
    learned_gap: Option<f64>,
    /// As its last call asked for.
    pub(crate) priority: i32,
    pub(crate) background: bool,
    /// Whether its cells must not be written to disk.
    pub(crate) in_memory: bool,
    /// Whether its client said that it has ended.
    pub(crate) ended: bool,
    /// When its last call ended; none while one is in work.
    left: Option<f64>,
    /// When it was last heard of.
    last_seen: f64,
}

impl Session {
    fn new(now: f64) -> Self {
        Self {
            arrived: now,
            attained_tokens: 0,
            mean_gap: None,
            hinted_gap: None,
            learned_gap: None,
            priority: 0,
            background: false,
            in_memory: false,
            ended: false,
            left: None,
            last_seen: now,
        }
    }

    /// Seconds from the end of its last call to the next, as far as they can be foreseen.
    pub(crate) fn expected_gap(&self) -> Option<f64> {
        let gap = self.hinted_gap.or(self.learned_gap).or(self.mean_gap);
        gap.filter(|_| !self.ended)
    }
}

/// The sessions that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: FxHashMap<u64, Session>,
}

impl Sessions {
    /// What is known about a session.
    pub(crate) fn get(&self, session: u64) -> Option<&Session> {
        self.known.get(&session)
    }

    /// Notes that a session makes a call. One that had ended begins anew.
    pub(crate) fn call(&mut self, session: u64, now: f64) {
        let known = self.entry(session, now);
        if known.ended {
            *known = Session::new(now);
        }
        (known.hinted_gap, known.learned_gap) = (None, None);
        if let Some(left) = known.left.take() {
            let gap = now - left;
            let mean = known
                .mean_gap
                .map_or(gap, |mean| mean + NEWEST * (gap - mean));
            known.mean_gap = Some(mean);
        }
    }

    /// Adds tokens that were computed for a session.
    pub(crate) fn serve(&mut self, session: u64, tokens: u64, now: f64) {
        self.entry(session, now).attained_tokens += tokens;
    }

    /// Notes that a session's call has ended, and what its client said about what follows.
    pub(crate) fn leave(&mut self, session: u64, hints: &Hints, now: f64) {
        let known = self.entry(session, now);
        known.left = Some(now);
        known.hinted_gap = hints.expected_gap_seconds;
        (known.priority, known.background) = (hints.priority, hints.background);
        known.in_memory = hints.in_memory;
        known.ended |= hints.ends_session;
    }

    /// Notes in how many seconds a session that makes no call now should make its next one.
    /// Returns whether there is such a session.
    pub(crate) fn expect_return(&mut self, session: u64, seconds: f64) -> bool {
        let known = self.known.get_mut(&session);
        let away = known.filter(|known| known.left.is_some());
        away.map(|known| known.learned_gap = Some(seconds))
            .is_some()
    }

    fn entry(&mut self, session: u64, now: f64) -> &mut Session {
        if self.known.len() >= MOST_SESSIONS && !self.known.contains_key(&session) {
            self.forget_older_half();
        }
        let known = self.known.entry(session).or_insert(Session::new(now));
        known.last_seen = now;
        known
    }

    /// Half at once, so that a newcomer does not cost a search among all.
    fn forget_older_half(&mut self) {
        let mut times: Vec<f64> = self.known.values().map(|known| known.last_seen).collect();
        let (_, &mut median, _) = times.select_nth_unstable_by(MOST_SESSIONS / 2, f64::total_cmp);
        self.known.retain(|_, known| known.last_seen > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_has_service_and_gaps() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.get(7), None);
        for (begin, end) in [(1.0, 2.0), (6.0, 7.0), (21.0, 22.0)] {
            sessions.call(7, begin);
            sessions.serve(7, 100, begin);
            sessions.leave(7, &Hints::default(), end);
        }
        let known = sessions.get(7).expect("was seen");
        assert_eq!((known.arrived, known.attained_tokens), (1.0, 300));
        assert_eq!(known.expected_gap(), Some(4.0 + 0.3 * 10.0));
    }

    #[test]
    fn the_clients_word_goes_before_the_tools_and_these_before_the_mean() {
        let mut sessions = Sessions::default();
        let gap = |sessions: &Sessions| sessions.get(7).and_then(Session::expected_gap);
        let hint = Hints {
            expected_gap_seconds: Some(30.0),
            ..Hints::default()
        };
        sessions.call(7, 0.0);
        assert!(!sessions.expect_return(7, 9.0), "its call is still in work");
        assert_eq!(gap(&sessions), None);
        sessions.leave(7, &hint, 1.0);
        assert!(sessions.expect_return(7, 9.0));
        assert_eq!(gap(&sessions), Some(30.0));
        sessions.call(7, 3.0);
        assert_eq!(gap(&sessions), Some(2.0), "hints are for one gap");
        sessions.leave(7, &Hints::default(), 4.0);
        assert!(sessions.expect_return(7, 9.0));
        assert_eq!(gap(&sessions), Some(9.0));
        assert!(!sessions.expect_return(8, 9.0), "nobody knows it");
    }

    #[test]
    fn a_session_that_ended_begins_anew() {
        let mut sessions = Sessions::default();
        let last = Hints {
            ends_session: true,
            ..Hints::default()
        };
        sessions.call(7, 1.0);
        sessions.serve(7, 100, 1.0);
        sessions.leave(7, &last, 2.0);
        let known = sessions.get(7).expect("was seen");
        assert_eq!((known.ended, known.expected_gap()), (true, None));
        sessions.call(7, 5.0);
        assert_eq!(sessions.get(7), Some(&Session::new(5.0)));
    }

    #[test]
    fn memory_is_bounded_and_the_last_seen_stay() {
        let mut sessions = Sessions::default();
        sessions.call(7, 1e9);
        for session in 0..3 * MOST_SESSIONS as u64 {
            sessions.call(100 + session, session as f64);
            assert!(sessions.known.len() <= MOST_SESSIONS);
        }
        assert!(sessions.get(7).is_some() && sessions.get(100).is_none());
    }
}
