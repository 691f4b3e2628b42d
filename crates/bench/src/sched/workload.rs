//! What agents ask of a server: sessions of calls with tools in between.

use fastrand::Rng;

/// One call: what its prompt takes from the session's context, what it adds, what it generates.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Seconds between the end of the call before, helpers included, and this one: the tool's time.
    pub gap_seconds: f64,
    /// Tokens that the prompt adds to the session's context: a task, or a tool's result.
    pub new_tokens: usize,
    /// Tokens generated; they stay in the context.
    pub output_tokens: usize,
    /// Calls that the tool makes itself, all at once, each with a context of its own.
    pub helpers: Vec<Helper>,
}

/// A short call of a tool, such as the reading of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Tokens of its prompt after the helpers' system prompt.
    pub new_tokens: usize,
    /// Tokens generated.
    pub output_tokens: usize,
}

/// One agent's task.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// When it begins, in seconds.
    pub arrives: f64,
    /// Its calls, in order; each needs the one before.
    pub calls: Vec<Call>,
}

/// Sessions that share a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Tokens of the system prompt that all sessions begin with.
    pub system_tokens: usize,
    /// Tokens of the system prompt that all helpers begin with.
    pub helper_system_tokens: usize,
    /// The sessions.
    pub sessions: Vec<Session>,
}

impl Workload {
    /// The situation of the AgentInfer paper: deep-research sessions whose contexts grow by search
    /// results, and short calls of tool agents that read documents.
    pub fn research(sessions: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let session = |random: &mut Rng| {
            let turns = random.usize(8..=14);
            let calls = (0..turns).map(|turn| call(random, turn)).collect();
            Session {
                arrives: random.f64() * 20.0,
                calls,
            }
        };
        Self {
            system_tokens: 400,
            helper_system_tokens: 200,
            sessions: (0..sessions).map(|_| session(&mut random)).collect(),
        }
    }

    /// The longest context of each session, in tokens, added up: what memory must hold so that
    /// nothing is computed twice.
    pub fn working_set(&self) -> usize {
        self.sessions
            .iter()
            .map(|session| self.longest(session))
            .sum()
    }

    /// The longest context of any session, in tokens.
    pub fn longest_context(&self) -> usize {
        let longest = self.sessions.iter().map(|session| self.longest(session));
        longest.max().unwrap_or(0)
    }

    fn longest(&self, session: &Session) -> usize {
        let added = |call: &Call| call.new_tokens + call.output_tokens;
        self.system_tokens + session.calls.iter().map(added).sum::<usize>()
    }
}

fn call(random: &mut Rng, turn: usize) -> Call {
    let reads = if random.f64() < 0.6 {
        random.usize(1..=3)
    } else {
        0
    };
    let helper = |random: &mut Rng| Helper {
        new_tokens: random.usize(300..900),
        output_tokens: random.usize(20..60),
    };
    Call {
        gap_seconds: if turn == 0 {
            0.0
        } else {
            // Tools are mostly quick and sometimes slow.
            0.5 - 3.0 * (1.0 - random.f64()).ln()
        },
        new_tokens: random.usize(100..900),
        output_tokens: random.usize(40..160),
        helpers: (0..reads).map(|_| helper(random)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_workload_and_another_does_not() {
        assert_eq!(Workload::research(4, 1), Workload::research(4, 1));
        assert_ne!(Workload::research(4, 1), Workload::research(4, 2));
    }

    #[test]
    fn the_working_set_is_what_sessions_hold_at_their_ends() {
        let call = |new_tokens, output_tokens| Call {
            gap_seconds: 1.0,
            new_tokens,
            output_tokens,
            helpers: Vec::new(),
        };
        let session = |calls| Session {
            arrives: 0.0,
            calls,
        };
        let workload = Workload {
            system_tokens: 100,
            helper_system_tokens: 0,
            sessions: vec![
                session(vec![call(10, 5), call(20, 5)]),
                session(vec![call(1, 1)]),
            ],
        };
        assert_eq!(
            (workload.working_set(), workload.longest_context()),
            (242, 140)
        );
    }
}
