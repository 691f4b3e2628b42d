//! Plays a workload on the production engine and a simulated model, on virtual time.

use std::sync::Arc;

use agentinfer_engine::{
    Completion, Engine, EngineOptions, Event, Finish, LatencyCurve, Model, ModelLimits, PolicySpec,
    Progress, Request, SimModel, SimVocabulary, Token,
};
use fastrand::Rng;

use super::workload::Workload;
use crate::BenchError;

/// Sequences of the simulated model: enough that cells run short before these do.
const SEQUENCES: u32 = 128;

/// How long the engine waits before it looks again when nobody may run; as in production.
const POLL_SECONDS: f64 = 0.005;

/// What a call experienced. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallOutcome {
    /// From when it was due to its last token.
    pub seconds: f64,
    /// From when it was due to its first token.
    pub ttft_seconds: f64,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Of these, how many were resident when it was admitted.
    pub cached_tokens: u32,
    /// Prompt tokens of the session's context that were computed before and not resident any more.
    pub recomputed_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
}

/// What a workload experienced.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From arrival to the last token of the last call, per session.
    pub session_seconds: Vec<f64>,
    /// Every call, helpers included, in order of completion.
    pub calls: Vec<CallOutcome>,
    /// When the last session ended.
    pub seconds: f64,
}

/// A session as it goes on.
struct Live {
    random: Rng,
    /// Its prompts and what was generated.
    context: Vec<Token>,
    /// Calls made.
    made: usize,
    /// Helpers that have not answered.
    helpers: usize,
}

/// A session's next call and when it is due.
#[derive(Clone, Copy)]
struct Due {
    at: f64,
    session: usize,
}

/// A request on its way.
struct Flight {
    completion: Completion,
    session: usize,
    helper: bool,
    /// When it was due.
    due: f64,
    /// Tokens of its prompt that were computed before in this context.
    seen: usize,
    generated: Vec<Token>,
}

/// A workload in the middle of being played.
struct Player<'a> {
    workload: &'a Workload,
    engine: Engine<SimModel>,
    live: Vec<Live>,
    due: Vec<Due>,
    flights: Vec<Flight>,
    outcome: Outcome,
}

/// Plays `workload` under a policy with so many KV cells. The same input gives the same outcome.
///
/// # Errors
/// [`BenchError::Option`] when a session is longer than the cells, [`BenchError::Engine`] when the
/// engine refuses or fails.
pub fn replay(
    workload: &Workload,
    policy: PolicySpec,
    cells: u32,
    curve: LatencyCurve,
) -> Result<Outcome, BenchError> {
    let limits = ModelLimits {
        cells,
        sequences: SEQUENCES,
        context_tokens: cells,
        ..SimModel::default().limits()
    };
    let longest = workload.longest_context();
    if longest >= cells as usize {
        return Err(BenchError::Option {
            field: "pressure",
            message: format!("a session of {longest} tokens does not fit into {cells} cells"),
        });
    }
    let options = EngineOptions {
        policy,
        // What is evicted is computed again: policies differ by what they evict.
        offload_bytes: 0,
        ..EngineOptions::default()
    };
    let vocabulary = Arc::new(SimVocabulary::default());
    let engine = Engine::new(SimModel::new(limits, curve), vocabulary, options);
    let begin = |session: usize| Due {
        at: workload.sessions[session].arrives,
        session,
    };
    let count = workload.sessions.len();
    let player = Player {
        workload,
        engine,
        live: (0..count)
            .map(|session| Live::new(workload, session))
            .collect(),
        due: (0..count).map(begin).collect(),
        flights: Vec::new(),
        outcome: Outcome {
            session_seconds: vec![0.0; count],
            ..Outcome::default()
        },
    };
    player.play()
}

impl Live {
    fn new(workload: &Workload, session: usize) -> Self {
        Self {
            random: Rng::with_seed(session as u64),
            context: text(&mut Rng::with_seed(u64::MAX), workload.system_tokens),
            made: 0,
            helpers: 0,
        }
    }
}

impl Player<'_> {
    fn play(mut self) -> Result<Outcome, BenchError> {
        loop {
            let now = self.engine.model_mut().now();
            let due = std::mem::take(&mut self.due);
            let (ready, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.at <= now);
            self.due = later;
            for due in ready {
                self.call(due)?;
            }
            let progress = self.engine.step();
            self.collect()?;
            let next = self.due.iter().map(|due| due.at).min_by(f64::total_cmp);
            match (progress, next) {
                (Progress::Stepped, _) => {}
                // The policy holds somebody back for now.
                (Progress::Blocked, next) => {
                    let soon = self.engine.model_mut().now() + POLL_SECONDS;
                    let moment = next.map_or(soon, |moment| moment.min(soon));
                    self.engine.model_mut().wait_until(moment);
                }
                (Progress::Idle, Some(moment)) => self.engine.model_mut().wait_until(moment),
                (Progress::Idle, None) if self.flights.is_empty() => break,
                // Its last events came with the step before.
                (Progress::Idle, None) => {}
            }
        }
        self.outcome.seconds = self.engine.model_mut().now();
        Ok(self.outcome)
    }

    /// Makes a session's next call.
    fn call(&mut self, due: Due) -> Result<(), BenchError> {
        let live = &mut self.live[due.session];
        let call = &self.workload.sessions[due.session].calls[live.made];
        // The last token generated was never computed itself.
        let seen = match live.made {
            0 => 0,
            _ => live.context.len() - 1,
        };
        live.made += 1;
        let new = text(&mut live.random, call.new_tokens);
        live.context.extend(new);
        let prompt = live.context.clone();
        self.submit(due, prompt, call.output_tokens, seen, false)
    }

    fn submit(
        &mut self,
        due: Due,
        prompt: Vec<Token>,
        output_tokens: usize,
        seen: usize,
        helper: bool,
    ) -> Result<(), BenchError> {
        let request = Request {
            ignore_eos: true,
            session: (!helper).then_some(due.session as u64),
            ..Request::new(prompt).max_tokens(output_tokens as u32)
        };
        let completion = self.engine.submit(request)?;
        self.flights.push(Flight {
            completion,
            session: due.session,
            helper,
            due: due.at,
            seen,
            generated: Vec::new(),
        });
        Ok(())
    }

    /// Takes what the engine has said.
    fn collect(&mut self) -> Result<(), BenchError> {
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &mut self.flights[index];
            let mut finish = None;
            while let Some(event) = flight.completion.try_next() {
                match event {
                    Event::Token(token) => flight.generated.push(token.token),
                    Event::Finished(end) => finish = Some(end),
                    Event::Failed(error) => return Err(error.into()),
                    Event::Started(_) => {}
                }
            }
            match finish {
                Some(finish) => {
                    let flight = self.flights.remove(index);
                    self.finished(flight, &finish)?;
                }
                None => index += 1,
            }
        }
        Ok(())
    }

    fn finished(&mut self, flight: Flight, finish: &Finish) -> Result<(), BenchError> {
        let now = self.engine.model_mut().now();
        // The last prompt token is always computed, so it cannot be missed.
        let reusable = (flight.seen as u32).min(finish.prompt_tokens - 1);
        self.outcome.calls.push(CallOutcome {
            seconds: now - flight.due,
            ttft_seconds: now - flight.due - (finish.e2e_seconds - finish.ttft_seconds),
            prompt_tokens: finish.prompt_tokens,
            cached_tokens: finish.cached_tokens,
            recomputed_tokens: reusable.saturating_sub(finish.cached_tokens),
            completion_tokens: finish.completion_tokens,
        });
        let live = &mut self.live[flight.session];
        let calls = &self.workload.sessions[flight.session].calls;
        if flight.helper {
            live.helpers -= 1;
        } else {
            live.context.extend(&flight.generated);
            let helpers = &calls[live.made - 1].helpers;
            live.helpers = helpers.len();
            for helper in helpers {
                self.help(flight.session, helper.new_tokens, helper.output_tokens, now)?;
            }
        }
        let live = &self.live[flight.session];
        if live.helpers > 0 {
            return Ok(());
        }
        match calls.get(live.made) {
            Some(next) => self.due.push(Due {
                at: now + next.gap_seconds,
                session: flight.session,
            }),
            None => {
                let arrived = self.workload.sessions[flight.session].arrives;
                self.outcome.session_seconds[flight.session] = now - arrived;
            }
        }
        Ok(())
    }

    fn help(
        &mut self,
        session: usize,
        new_tokens: usize,
        output_tokens: usize,
        now: f64,
    ) -> Result<(), BenchError> {
        let system = self.workload.helper_system_tokens;
        let mut prompt = text(&mut Rng::with_seed(u64::MAX - 1), system);
        prompt.extend(text(&mut self.live[session].random, new_tokens));
        let due = Due { at: now, session };
        self.submit(due, prompt, output_tokens, 0, true)
    }
}

/// Random letters of the simulated vocabulary.
fn text(random: &mut Rng, tokens: usize) -> Vec<Token> {
    (0..tokens)
        .map(|_| Token::from(random.u8(b'a'..=b'z')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(policy: &str, cells: u32) -> Outcome {
        let workload = Workload::research(3, 7);
        let policy = policy.parse().expect("a policy");
        replay(&workload, policy, cells, LatencyCurve::default()).expect("plays")
    }

    #[test]
    fn every_call_is_made_and_the_outcome_repeats() {
        let workload = Workload::research(3, 7);
        let calls = workload.sessions.iter().flat_map(|session| &session.calls);
        let expected: usize = calls.map(|call| 1 + call.helpers.len()).sum();
        let outcome = run("fcfs", 65_536);
        assert_eq!(outcome.calls.len(), expected);
        assert!(outcome.session_seconds.iter().all(|seconds| *seconds > 0.0));
        assert_eq!(outcome.calls, run("fcfs", 65_536).calls);
    }

    #[test]
    fn nothing_is_recomputed_while_memory_holds_everything() {
        let recomputed = |cells| -> u32 {
            let outcome = run("fcfs", cells);
            outcome
                .calls
                .iter()
                .map(|call| call.recomputed_tokens)
                .sum()
        };
        assert_eq!(recomputed(65_536), 0);
        let tight = Workload::research(3, 7).longest_context() as u32 + 600;
        assert!(recomputed(tight) > 0);
    }

    #[test]
    fn a_session_longer_than_the_cells_is_refused() {
        let workload = Workload::research(1, 1);
        let refused = replay(&workload, PolicySpec::Fcfs, 512, LatencyCurve::default());
        assert!(matches!(
            refused,
            Err(BenchError::Option {
                field: "pressure",
                ..
            })
        ));
    }
}
