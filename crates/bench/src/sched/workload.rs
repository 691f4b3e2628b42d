//! What agents ask of a server: sessions of calls with tools in between.

use std::collections::BTreeMap;

use fastrand::Rng;

/// One call of a model.
///
/// A prompt is the beginning of an earlier call's text (its prompt and what it generated) and then
/// words of its own. Words are any numbers: equal words become equal tokens of whatever vocabulary
/// the workload is played with, so what texts have in common is what the cache can find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Which of the session's agents makes it: each has a context of its own and is a session to
    /// the engine. None for a short call of a tool, which names no session.
    pub actor: Option<usize>,
    /// The earlier calls of the session, by index, that must have ended.
    pub after: Vec<usize>,
    /// Seconds between the end of the last of these, or the session's arrival if there are none,
    /// and this call: the tool's time.
    pub gap_seconds: f64,
    /// What the prompt begins with.
    pub continues: Option<Prefix>,
    /// The words that follow.
    pub new: Vec<u32>,
    /// How many of `new`, at its beginning, are a system prompt that other sessions have too.
    pub system_tokens: usize,
    /// Tokens generated.
    pub output_tokens: usize,
}

/// The beginning of an earlier call's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The call's index in its session.
    pub call: usize,
    /// How many tokens of its prompt and output.
    pub tokens: usize,
}

impl Call {
    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.continues.map_or(0, |prefix| prefix.tokens) + self.new.len()
    }

    /// Tokens of the prompt and of what is generated.
    pub fn tokens(&self) -> usize {
        self.prompt_tokens() + self.output_tokens
    }
}

/// One agent's task, its sub-agents' included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// When it begins, in seconds.
    pub arrives: f64,
    /// Its calls; each waits for and continues calls of lower index only.
    pub calls: Vec<Call>,
}

impl Session {
    /// The most tokens that its agents' contexts fill at one time. An agent's context counts from
    /// its first call to its last.
    pub fn working_set(&self) -> usize {
        let mut last = BTreeMap::new();
        for (index, call) in self.calls.iter().enumerate() {
            last.insert(call.actor, index);
        }
        let mut held: BTreeMap<usize, usize> = BTreeMap::new();
        let mut most = 0;
        for (index, call) in self.calls.iter().enumerate() {
            let Some(actor) = call.actor else { continue };
            let context = held.entry(actor).or_default();
            *context = call.tokens().max(*context);
            most = most.max(held.values().sum());
            if last[&call.actor] == index {
                held.remove(&actor);
            }
        }
        most
    }

    /// The longest text of any call, in tokens.
    pub fn longest_context(&self) -> usize {
        self.calls.iter().map(Call::tokens).max().unwrap_or(0)
    }

    /// The same session about something else: every word that is its own is another one.
    fn with_other_words(mut self, salt: u32) -> Self {
        for call in &mut self.calls {
            for word in &mut call.new[call.system_tokens..] {
                *word = (*word ^ salt).wrapping_mul(0x9E37_79B1);
            }
        }
        self
    }
}

/// Sessions that share a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// The sessions.
    pub sessions: Vec<Session>,
}

/// Sessions arrive within so many seconds of each other.
pub(crate) const ARRIVAL_SECONDS: f64 = 20.0;

impl Workload {
    /// Sessions of a pool, chosen and arriving at random. A session that is taken again, because
    /// the pool is smaller than `load`, is about something else each time.
    pub fn choose(pool: &[Session], load: usize, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        random.shuffle(&mut order);
        let chosen = order.iter().cycle().take(load).enumerate();
        let sessions = chosen.map(|(index, &which)| {
            let session = Session {
                arrives: random.f64() * ARRIVAL_SECONDS,
                ..pool[which].clone()
            };
            match (index / pool.len()) as u32 {
                0 => session,
                again => session.with_other_words(again),
            }
        });
        Self {
            sessions: sessions.collect(),
        }
    }

    /// The situation of the AgentInfer paper: deep-research sessions whose contexts grow by search
    /// results, and short calls of tool agents that read documents.
    /// Every length is multiplied by `scale`.
    pub fn research(sessions: usize, seed: u64, scale: f64) -> Self {
        let mut random = Rng::with_seed(seed);
        let session = |session: usize| research_session(&mut random, session as u64, scale);
        Self {
            sessions: (0..sessions).map(session).collect(),
        }
    }

    /// The same workload with tools that take `factor` times as long.
    #[must_use]
    pub fn with_tool_latency(mut self, factor: f64) -> Self {
        for session in &mut self.sessions {
            for call in &mut session.calls {
                call.gap_seconds *= factor;
            }
        }
        self
    }

    /// One of its sessions with the server to itself.
    pub fn alone(&self, session: usize) -> Self {
        let session = Session {
            arrives: 0.0,
            ..self.sessions[session].clone()
        };
        Self {
            sessions: vec![session],
        }
    }

    /// What memory must hold so that nothing is computed twice, in tokens: the sessions' working
    /// sets, added up.
    pub fn working_set(&self) -> usize {
        self.sessions.iter().map(Session::working_set).sum()
    }

    /// The longest text of any call, in tokens.
    pub fn longest_context(&self) -> usize {
        let longest = self.sessions.iter().map(Session::longest_context);
        longest.max().unwrap_or(0)
    }
}

/// So many random words.
pub(crate) fn words(random: &mut Rng, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.u32(..)).collect()
}

/// Tokens of the system prompt that the synthetic sessions begin with, and their tools' calls.
const SYSTEM_TOKENS: usize = 400;
const HELPER_SYSTEM_TOKENS: usize = 200;

/// A random session; `text` decides its words.
fn research_session(random: &mut Rng, text: u64, scale: f64) -> Session {
    let scaled = |tokens: usize| ((tokens as f64 * scale).round() as usize).max(1);
    let turns = random.usize(8..=14);
    let mut text = Rng::with_seed(text);
    let mut calls = Vec::new();
    let mut last: Option<usize> = None;
    let mut after = Vec::new();
    for turn in 0..turns {
        let index = calls.len();
        let sizes = sizes(random, turn);
        let system_tokens = if turn == 0 { scaled(SYSTEM_TOKENS) } else { 0 };
        let mut new = words(&mut Rng::with_seed(u64::MAX), system_tokens);
        new.extend(words(&mut text, scaled(sizes.new_tokens)));
        calls.push(Call {
            actor: Some(0),
            after: std::mem::take(&mut after),
            gap_seconds: sizes.gap_seconds,
            continues: last.map(|call| Prefix {
                call,
                tokens: Call::tokens(&calls[call]),
            }),
            new,
            system_tokens,
            output_tokens: scaled(sizes.output_tokens),
        });
        for (new_tokens, output_tokens) in sizes.helpers {
            let system_tokens = scaled(HELPER_SYSTEM_TOKENS);
            let mut new = words(&mut Rng::with_seed(u64::MAX - 1), system_tokens);
            new.extend(words(&mut text, scaled(new_tokens)));
            calls.push(Call {
                after: vec![index],
                new,
                system_tokens,
                output_tokens: scaled(output_tokens),
                ..Call::default()
            });
        }
        after.extend(index..calls.len());
        last = Some(index);
    }
    Session {
        arrives: random.f64() * ARRIVAL_SECONDS,
        calls,
    }
}

/// What a synthetic call asks for.
struct Sizes {
    gap_seconds: f64,
    new_tokens: usize,
    output_tokens: usize,
    /// Tokens of the prompt and output of each call that the tool makes itself.
    helpers: Vec<(usize, usize)>,
}

fn sizes(random: &mut Rng, turn: usize) -> Sizes {
    let reads = if random.f64() < 0.6 {
        random.usize(1..=3)
    } else {
        0
    };
    let helper = |random: &mut Rng| (random.usize(300..900), random.usize(20..60));
    Sizes {
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
        assert_eq!(Workload::research(4, 1, 1.0), Workload::research(4, 1, 1.0));
        assert_ne!(Workload::research(4, 1, 1.0), Workload::research(4, 2, 1.0));
    }

    fn call(actor: Option<usize>, new: usize, output_tokens: usize) -> Call {
        Call {
            actor,
            new: vec![7; new],
            output_tokens,
            ..Call::default()
        }
    }

    #[test]
    fn the_working_set_is_what_agents_hold_at_one_time() {
        let session = |calls| Session {
            arrives: 0.0,
            calls,
        };
        let workload = Workload {
            sessions: vec![
                session(vec![
                    call(Some(0), 100, 10),
                    call(Some(1), 50, 5),
                    call(None, 900, 5),
                    call(Some(0), 130, 10),
                    call(Some(2), 60, 5),
                    call(Some(2), 70, 5),
                    call(Some(0), 150, 10),
                ]),
                session(vec![call(Some(0), 1, 1)]),
            ],
        };
        assert_eq!(workload.sessions[0].working_set(), 140 + 75);
        assert_eq!(
            (workload.working_set(), workload.longest_context()),
            (217, 905)
        );
    }

    #[test]
    fn a_small_pool_is_taken_again_with_other_words_after_the_system_prompt() {
        let pool = [Session {
            arrives: 0.0,
            calls: vec![Call {
                system_tokens: 3,
                ..call(Some(0), 5, 1)
            }],
        }];
        let workload = Workload::choose(&pool, 3, 1);
        let texts: Vec<_> = workload.sessions.iter().map(|s| &s.calls[0].new).collect();
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert_eq!(texts[a][..3], texts[b][..3]);
            assert_ne!(texts[a][3], texts[b][3]);
        }
        assert_ne!(workload.sessions, Workload::choose(&pool, 3, 2).sessions);
    }

    #[test]
    fn slower_tools_lengthen_the_gaps_only() {
        let workload = Workload::research(2, 3, 1.0);
        let slow = workload.clone().with_tool_latency(2.0);
        let gaps = |workload: &Workload| -> f64 {
            let calls = workload.sessions.iter().flat_map(|session| &session.calls);
            calls.map(|call| call.gap_seconds).sum()
        };
        assert!((gaps(&slow) - 2.0 * gaps(&workload)).abs() < 1e-9);
        assert_eq!(slow.with_tool_latency(0.5), workload);
    }
}
