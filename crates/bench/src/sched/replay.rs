//! Plays a workload on the production engine and a simulated model, on virtual time.

use std::sync::Arc;

use agentinfer_engine::{
    Completion, Engine, EngineOptions, Event, Finish, LatencyCurve, Model, ModelLimits, Progress,
    SimModel, SimVocabulary, Token,
};

use super::bound::{Bound, Memory, Oracle};
use super::contender::Contender;
use super::script::{CallId, Due, Outcome, Script};
use super::workload::Workload;
use crate::BenchError;
use crate::decisions::FileTrace;

/// Sequences of the simulated model: enough that cells run short before these do.
const SEQUENCES: u32 = 128;

/// How long the engine waits before it looks again when nobody may run; as in production.
const POLL_SECONDS: f64 = 0.005;

/// Words become the simulated vocabulary's bytes.
const WORDS: u32 = 256;

/// A server that only takes time.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedServer {
    /// What its model can hold.
    pub limits: ModelLimits,
    /// How long its steps take.
    pub curve: LatencyCurve,
    /// The engine's settings; the policy is given with each replay.
    pub options: EngineOptions,
}

impl SimulatedServer {
    /// A server with so many KV cells, steps that take as long as `curve` says, and as many
    /// requests running at once as a server by default.
    pub fn new(cells: u32, curve: LatencyCurve) -> Self {
        Self {
            limits: ModelLimits {
                cells,
                sequences: SEQUENCES,
                context_tokens: cells,
                ..SimModel::default().limits()
            },
            curve,
            // What is evicted is computed again: policies differ by what they evict.
            options: EngineOptions {
                offload_bytes: 0,
                ..EngineOptions::default()
            },
        }
    }
}

/// A request on its way.
pub(crate) struct Flight {
    completion: Completion,
    pub(crate) id: CallId,
    /// What it has said so far.
    pub(crate) generated: Vec<Token>,
}

/// A workload in the middle of being played.
struct Player<'a> {
    script: Script<'a>,
    engine: Engine<SimModel>,
    flights: Vec<Flight>,
    /// What the bound knows; only where it plays.
    oracle: Option<Oracle<'a>>,
    plan_seconds: Vec<f64>,
}

/// Plays `workload` under a policy. The same input gives the same outcome, but for the time that
/// planning takes.
///
/// # Errors
/// [`BenchError::Option`] when a session is longer than the cells, [`BenchError::Engine`] when the
/// engine refuses or fails.
pub fn replay(
    workload: &Workload,
    contender: Contender,
    server: &SimulatedServer,
) -> Result<Outcome, BenchError> {
    replay_traced(workload, contender, server, None)
}

/// What is traced, in words, and where to.
type Traced<'a> = (&'a str, &'a FileTrace);

/// [`replay`] with a trace of its decisions, if one is wanted.
pub(super) fn replay_traced(
    workload: &Workload,
    contender: Contender,
    server: &SimulatedServer,
    traced: Option<Traced<'_>>,
) -> Result<Outcome, BenchError> {
    let longest = workload.longest_context();
    if longest >= server.limits.context_tokens as usize {
        let cells = server.limits.context_tokens;
        return Err(BenchError::Option {
            field: "pressure",
            message: format!("a session of {longest} tokens does not fit into {cells} cells"),
        });
    }
    match contender {
        Contender::Policy(policy) => {
            let options = EngineOptions {
                policy,
                ..server.options.clone()
            };
            Player::new(workload, server, options, None)
                .with_trace(traced)
                .play()
        }
        Contender::Bound => {
            let play = |memory, traced| {
                let options = server.options.clone();
                let player = Player::new(workload, server, options, Some(memory));
                player.with_trace(traced).play()
            };
            let [one, two] = [play(Memory::Belady, None)?, play(Memory::Hold, None)?];
            let completion = |outcome: &Outcome| outcome.session_seconds.iter().sum::<f64>();
            let (better, memory) = match completion(&one) < completion(&two) {
                true => (one, Memory::Belady),
                false => (two, Memory::Hold),
            };
            if traced.is_some() {
                play(memory, traced)?;
            }
            Ok(better)
        }
    }
}

impl<'a> Player<'a> {
    /// The beginning of a replay; with `bound` by the policy that knows the future.
    fn new(
        workload: &'a Workload,
        server: &SimulatedServer,
        options: EngineOptions,
        bound: Option<Memory>,
    ) -> Self {
        let model = SimModel::new(server.limits, server.curve.clone());
        let mut engine = Engine::new(model, Arc::new(SimVocabulary::default()), options);
        let mut oracle = None;
        if let Some(memory) = bound {
            let known = Oracle::new(workload, &server.curve, server.limits);
            engine = engine.with_policy(Box::new(Bound::new(&known, memory)));
            oracle = Some(known);
        }
        Self {
            script: Script::new(workload, WORDS),
            engine,
            flights: Vec::new(),
            oracle,
            plan_seconds: Vec::new(),
        }
    }

    fn with_trace(mut self, traced: Option<Traced<'_>>) -> Self {
        if let Some((label, trace)) = traced {
            self.engine = self.engine.with_trace(label, trace.trace());
        }
        self
    }

    fn play(mut self) -> Result<Outcome, BenchError> {
        loop {
            let now = self.engine.model_mut().now();
            for due in self.script.ready(now) {
                self.submit(due)?;
            }
            if let Some(oracle) = &mut self.oracle {
                oracle.look(&self.script, now);
            }
            let progress = self.engine.step();
            if progress != Progress::Idle {
                self.plan_seconds
                    .push(self.engine.last_plan().as_secs_f64());
            }
            self.collect()?;
            let next = self.script.next_due();
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
        let now = self.engine.model_mut().now();
        Ok(Outcome {
            restored_tokens: self.engine.stats().restored_tokens,
            plan_seconds: self.plan_seconds,
            ..self.script.finish(now)
        })
    }

    fn submit(&mut self, due: Due) -> Result<(), BenchError> {
        let completion = self.engine.submit(due.request)?;
        if let Some(oracle) = &mut self.oracle {
            oracle.submitted(completion.id(), due.id);
        }
        self.flights.push(Flight::new(completion, due.id));
        Ok(())
    }

    /// Takes what the engine has said.
    fn collect(&mut self) -> Result<(), BenchError> {
        let mut index = 0;
        while index < self.flights.len() {
            let flight = &mut self.flights[index];
            let (started, end) = flight.take()?;
            if let Some(oracle) = self.oracle.as_mut().filter(|_| started) {
                oracle.admitted(flight.completion.id());
            }
            match end {
                Some(finish) => {
                    let flight = self.flights.remove(index);
                    let now = self.engine.model_mut().now();
                    self.script
                        .ended(flight.id, &flight.generated, &finish, now);
                }
                None => index += 1,
            }
        }
        Ok(())
    }
}

impl Flight {
    pub(crate) fn new(completion: Completion, id: CallId) -> Self {
        Self {
            completion,
            id,
            generated: Vec::new(),
        }
    }

    /// Takes what has come: whether it was admitted, and the report if that is the end.
    pub(crate) fn take(&mut self) -> Result<(bool, Option<Finish>), BenchError> {
        let mut started = false;
        let mut end = None;
        while let Some(event) = self.completion.try_next() {
            match event {
                Event::Started(_) => started = true,
                Event::Token(token) => self.generated.push(token.token),
                Event::Finished(finish) => end = Some(finish),
                Event::Failed(error) => return Err(error.into()),
            }
        }
        Ok((started, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::workload::{Call, Prefix, Session};

    fn run(policy: &str, cells: u32) -> Outcome {
        let workload = Workload::research(3, 7, 1.0);
        let server = SimulatedServer::new(cells, LatencyCurve::default());
        replay(&workload, policy.parse().expect("a policy"), &server).expect("plays")
    }

    #[test]
    fn every_call_is_made_and_the_outcome_repeats() {
        let workload = Workload::research(3, 7, 1.0);
        let expected: usize = workload.sessions.iter().map(|s| s.calls.len()).sum();
        for policy in ["fcfs", "bound"] {
            let outcome = run(policy, 65_536);
            assert_eq!(outcome.calls.len(), expected);
            assert!(outcome.session_seconds.iter().all(|seconds| *seconds > 0.0));
            assert_eq!(outcome.calls, run(policy, 65_536).calls);
        }
    }

    #[test]
    fn who_knows_the_future_is_faster() {
        for seed in 1..=3 {
            let workload = Workload::research(4, seed, 1.0);
            let cells = workload.working_set() as u32 / 2;
            let server = SimulatedServer::new(cells, LatencyCurve::default());
            let completion = |policy: &str| -> f64 {
                let policy = policy.parse().expect("a policy");
                let outcome = replay(&workload, policy, &server).expect("plays");
                outcome.session_seconds.iter().sum()
            };
            let bound = completion("bound");
            for policy in ["fcfs", "sjf", "las"] {
                assert!(bound < 0.95 * completion(policy), "{seed} {policy}");
            }
        }
    }

    #[test]
    fn nothing_is_recomputed_while_memory_holds_everything() {
        let recomputed = |cells| -> u32 {
            let calls = run("fcfs", cells).calls;
            calls.iter().map(|call| call.recomputed_tokens).sum()
        };
        assert_eq!(recomputed(65_536), 0);
        let tight = Workload::research(3, 7, 1.0).longest_context() as u32 + 600;
        assert!(recomputed(tight) > 0);
    }

    #[test]
    fn a_lead_waits_for_its_sub_agents_and_both_find_their_prefixes() {
        let prefix = |call, tokens| Some(Prefix { call, tokens });
        let call = |actor, after: &[usize], gap_seconds, continues, new: &[u32]| Call {
            actor: Some(actor),
            after: after.to_vec(),
            gap_seconds,
            continues,
            new: new.to_vec(),
            output_tokens: 10,
            ..Call::default()
        };
        let lead: Vec<u32> = (0..200).collect();
        let sub: Vec<u32> = (0..200).rev().collect();
        let calls = vec![
            call(0, &[], 0.0, None, &lead),
            call(1, &[0], 5.0, None, &sub),
            call(1, &[1], 1.0, prefix(1, 210), &[1]),
            // A new context: it begins like the first one.
            call(0, &[0, 2], 2.0, prefix(0, 50), &[9, 9]),
        ];
        let workload = Workload {
            sessions: vec![Session {
                arrives: 0.0,
                calls,
            }],
        };
        let server = SimulatedServer::new(4096, LatencyCurve::default());
        let outcome = replay(&workload, Contender::default(), &server).expect("plays");
        let turns: Vec<_> = outcome.calls.iter().map(|call| call.turn).collect();
        assert_eq!(turns, [Some(0), Some(0), Some(1), Some(1)]);
        let cached: Vec<_> = outcome
            .calls
            .iter()
            .map(|call| call.cached_tokens)
            .collect();
        assert_eq!(cached, [0, 0, 209, 50]);
        let busy: f64 = outcome.calls.iter().map(|call| call.seconds).sum();
        assert!((outcome.session_seconds[0] - busy - 8.0).abs() < 1e-6);
    }

    #[test]
    fn a_session_longer_than_the_cells_is_refused() {
        let workload = Workload::research(1, 1, 1.0);
        let server = SimulatedServer::new(512, LatencyCurve::default());
        let refused = replay(&workload, Contender::default(), &server);
        assert!(matches!(
            refused,
            Err(BenchError::Option {
                field: "pressure",
                ..
            })
        ));
    }
}
