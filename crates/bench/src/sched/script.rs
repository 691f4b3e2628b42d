//! Who calls when: a workload in the middle of being played, whatever plays it.

use agentinfer_engine::{Finish, Request, Token};

use super::workload::Workload;

/// What a call experienced. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallOutcome {
    /// Which of its agent's calls it was, from 0; none for a short call of a tool.
    pub turn: Option<usize>,
    /// From when it was due to its last token.
    pub seconds: f64,
    /// From when it was due to its first token.
    pub ttft_seconds: f64,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Of these, how many were resident when it was admitted.
    pub cached_tokens: u32,
    /// Prompt tokens of the context it continues that were computed before and not resident any
    /// more.
    pub recomputed_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
}

/// What a workload experienced.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From arrival to the last token of the last call, per session.
    pub session_seconds: Vec<f64>,
    /// Every call, in order of completion.
    pub calls: Vec<CallOutcome>,
    /// When the last session ended.
    pub seconds: f64,
    /// Tokens whose cells were copied back after an eviction.
    pub restored_tokens: u64,
    /// Wall-clock seconds that the engine needed to decide, per step; empty if nobody looked.
    pub plan_seconds: Vec<f64>,
}

impl Outcome {
    /// Prompt tokens that were resident, by all prompt tokens.
    pub(crate) fn hit_rate(&self) -> f64 {
        let cached = self.calls.iter().map(|call| f64::from(call.cached_tokens));
        let prompts = self.calls.iter().map(|call| f64::from(call.prompt_tokens));
        cached.sum::<f64>() / prompts.sum::<f64>()
    }
}

/// A call of a workload: indices of its session and of the call in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallId {
    pub(crate) session: usize,
    pub(crate) call: usize,
}

/// A call that is to be made.
pub(crate) struct Due {
    pub(crate) id: CallId,
    pub(crate) request: Request,
}

/// A call's state.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Calls that it waits for.
    blocked_by: usize,
    /// Calls that continue its text and have not been made.
    heirs: usize,
    /// Which of its agent's calls it is.
    turn: Option<usize>,
    /// When it is due, as far as the calls that have ended say.
    due: f64,
    made: bool,
    ended: bool,
    /// Its prompt, and after its end what it generated; empty once no heir is left.
    text: Vec<Token>,
}

/// A workload in the middle of being played.
pub(crate) struct Script<'a> {
    workload: &'a Workload,
    /// Words are taken modulo this.
    words: u32,
    live: Vec<Vec<Live>>,
    /// Calls of each session that have not ended.
    left: Vec<usize>,
    /// Calls that wait for nothing but their moment.
    due: Vec<CallId>,
    outcome: Outcome,
}

impl<'a> Script<'a> {
    /// The beginning of a workload whose words become tokens below `words`.
    pub(crate) fn new(workload: &'a Workload, words: u32) -> Self {
        let sessions = &workload.sessions;
        let mut script = Self {
            workload,
            words,
            live: Vec::new(),
            left: sessions.iter().map(|session| session.calls.len()).collect(),
            due: Vec::new(),
            outcome: Outcome {
                session_seconds: vec![0.0; sessions.len()],
                ..Outcome::default()
            },
        };
        for (number, session) in sessions.iter().enumerate() {
            let mut live: Vec<Live> = vec![Live::default(); session.calls.len()];
            let mut turns = std::collections::BTreeMap::new();
            for (index, call) in session.calls.iter().enumerate() {
                live[index].blocked_by = call.after.len();
                live[index].due = session.arrives + call.gap_seconds;
                live[index].turn = call.actor.map(|actor| {
                    let turn = turns.entry(actor).or_insert(0);
                    *turn += 1;
                    *turn - 1
                });
                if let Some(prefix) = call.continues {
                    live[prefix.call].heirs += 1;
                }
                if call.after.is_empty() {
                    script.due.push(CallId {
                        session: number,
                        call: index,
                    });
                }
            }
            script.live.push(live);
        }
        script
    }

    /// The calls that are due by `now`; each is given out once.
    pub(crate) fn ready(&mut self, now: f64) -> Vec<Due> {
        let due = std::mem::take(&mut self.due);
        let (ready, later) = due
            .into_iter()
            .partition(|id| self.live[id.session][id.call].due <= now);
        self.due = later;
        let ready: Vec<CallId> = ready;
        ready.into_iter().map(|id| self.make(id)).collect()
    }

    /// When the next call is due that waits for nothing else.
    pub(crate) fn next_due(&self) -> Option<f64> {
        let due = self.due.iter().map(|id| self.live[id.session][id.call].due);
        due.min_by(f64::total_cmp)
    }

    fn make(&mut self, id: CallId) -> Due {
        let call = &self.workload.sessions[id.session].calls[id.call];
        let live = &mut self.live[id.session];
        let mut text: Vec<Token> = Vec::with_capacity(call.tokens());
        if let Some(prefix) = call.continues {
            let source = &mut live[prefix.call];
            text.extend(&source.text[..prefix.tokens]);
            source.heirs -= 1;
            if source.heirs == 0 {
                source.text = Vec::new();
            }
        }
        text.extend(call.new.iter().map(|word| word % self.words));
        let live = &mut live[id.call];
        live.made = true;
        if live.heirs > 0 {
            live.text.clone_from(&text);
        }
        Due {
            id,
            request: Request {
                ignore_eos: true,
                session: call.actor.map(|actor| engine_session(id.session, actor)),
                ..Request::new(text).max_tokens(call.output_tokens as u32)
            },
        }
    }

    /// Takes the end of a call at `now`, and what it generated.
    pub(crate) fn ended(&mut self, id: CallId, generated: &[Token], finish: &Finish, now: f64) {
        let session = &self.workload.sessions[id.session];
        let call = &session.calls[id.call];
        // The last token generated was never computed itself.
        let seen = call.continues.map_or(0, |prefix| {
            let computed = session.calls[prefix.call].tokens() - 1;
            prefix.tokens.min(computed) as u32
        });
        let live = &mut self.live[id.session];
        if live[id.call].heirs > 0 {
            live[id.call].text.extend(generated);
        }
        live[id.call].ended = true;
        let due = live[id.call].due;
        self.outcome.calls.push(CallOutcome {
            turn: live[id.call].turn,
            seconds: now - due,
            ttft_seconds: now - due - (finish.e2e_seconds - finish.ttft_seconds),
            prompt_tokens: finish.prompt_tokens,
            cached_tokens: finish.cached_tokens,
            // The last prompt token is always computed, so it cannot be missed.
            recomputed_tokens: seen
                .min(finish.prompt_tokens - 1)
                .saturating_sub(finish.cached_tokens),
            completion_tokens: finish.completion_tokens,
        });
        for (index, next) in session.calls.iter().enumerate().skip(id.call + 1) {
            if next.after.contains(&id.call) {
                live[index].blocked_by -= 1;
                live[index].due = now + next.gap_seconds;
                if live[index].blocked_by == 0 {
                    self.due.push(CallId { call: index, ..id });
                }
            }
        }
        self.left[id.session] -= 1;
        if self.left[id.session] == 0 {
            self.outcome.session_seconds[id.session] = now - session.arrives;
        }
    }

    /// When each call that has not been made will be, if calls took `service` seconds each.
    pub(super) fn forecast(&self, now: f64, service: impl Fn(CallId) -> f64) -> Vec<(CallId, f64)> {
        let mut unmade = Vec::new();
        for (session, live) in self.live.iter().enumerate() {
            // When each call ends; what has ended is over since ever.
            let mut ends: Vec<f64> = Vec::with_capacity(live.len());
            for (call, state) in live.iter().enumerate() {
                let id = CallId { session, call };
                let script = &self.workload.sessions[session].calls[call];
                let begin = if state.made {
                    now
                } else if state.blocked_by == 0 {
                    state.due
                } else {
                    let blockers = script.after.iter().map(|&before| ends[before]);
                    blockers.fold(now, f64::max) + script.gap_seconds
                };
                if !state.made {
                    unmade.push((id, begin));
                }
                ends.push(if state.ended {
                    0.0
                } else {
                    begin + service(id)
                });
            }
        }
        unmade
    }

    /// The calls that have not ended.
    pub(super) fn unended(&self) -> impl Iterator<Item = CallId> {
        self.live.iter().enumerate().flat_map(|(session, calls)| {
            let unended = calls.iter().enumerate().filter(|(_, live)| !live.ended);
            unended.map(move |(call, _)| CallId { session, call })
        })
    }

    /// What the workload experienced, when all is over at `now`.
    pub(crate) fn finish(self, now: f64) -> Outcome {
        Outcome {
            seconds: now,
            ..self.outcome
        }
    }
}

/// Agents of one session, at most: numbers of the engine's sessions are made of both.
const MOST_ACTORS: u64 = 1 << 20;

/// An agent's number as the engine's session.
pub(super) fn engine_session(session: usize, actor: usize) -> u64 {
    session as u64 * MOST_ACTORS + actor as u64
}

/// The workload's session that an engine's session belongs to.
pub(super) fn workload_session(session: u64) -> usize {
    (session / MOST_ACTORS) as usize
}
