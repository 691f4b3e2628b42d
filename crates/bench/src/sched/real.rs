//! Plays a workload on a real model in real time, and the same simulated, to see whether the
//! simulation is true.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentinfer_engine::{
    Completion, Engine, EngineError, EngineHandle, EngineOptions, Event, Finish, LatencyCurve,
    ModelLimits, PolicySpec, SimVocabulary, Token, Vocabulary,
};
use agentinfer_llama::{LlamaOptions, open};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use super::calibrate::{CELLS, calibrate};
use super::contender::Contender;
use super::replay::{SimulatedServer, replay};
use super::script::{CallId, Outcome, Script};
use super::workload::Workload;
use crate::BenchError;
use crate::statistics::mean;

/// A real model to play on.
#[derive(Clone, Debug, PartialEq)]
pub struct RealOptions {
    /// The GGUF file.
    pub model: PathBuf,
    /// Threads that compute; none for one per physical core.
    pub threads: Option<u32>,
    /// The policies that are played, one after the other.
    pub policies: Vec<PolicySpec>,
}

/// A real replay beside the simulated one. Times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValidationRow {
    /// The policy.
    pub policy: String,
    /// Where the sessions are from.
    pub trace: String,
    /// Sessions that share the server.
    pub load: usize,
    /// How many times the KV cells the sessions would fill together.
    pub pressure: f64,
    /// KV cells.
    pub cells: u32,
    /// Mean session completion as simulated.
    pub simulated_s: f64,
    /// As it was.
    pub real_s: f64,
    /// Simulated by real.
    pub ratio: f64,
    /// Mean time of a call as simulated.
    pub simulated_call_s: f64,
    /// As it was.
    pub real_call_s: f64,
    /// Share of the prompt tokens that were resident as simulated.
    pub simulated_hit_rate: f64,
    /// As it was.
    pub real_hit_rate: f64,
}

/// How long the steps of a model take on this machine now.
///
/// # Errors
/// [`BenchError::Llama`] when it cannot be loaded, [`BenchError::Engine`] when it fails.
pub(super) async fn measured(real: &RealOptions) -> Result<LatencyCurve, BenchError> {
    let (path, options) = (real.model.clone(), llama(real, CELLS));
    blocking(move || calibrate(&mut open(&path, &options)?.model)).await
}

/// Plays a workload on the real model and simulated, under each of its policies.
pub(super) async fn validate(
    workload: &Workload,
    real: &RealOptions,
    server: &SimulatedServer,
) -> Result<Vec<ValidationRow>, BenchError> {
    let mut rows = Vec::new();
    for &policy in &real.policies {
        let options = EngineOptions {
            policy,
            ..server.options.clone()
        };
        let (path, load) = (real.model.clone(), llama(real, server.limits.cells));
        let handle = blocking(move || {
            let opened = open(&path, &load)?;
            let engine = Engine::new(opened.model, opened.vocabulary, options);
            Ok(EngineHandle::spawn("bench", engine)?)
        });
        let handle = handle.await?;
        let limits = ModelLimits {
            vocabulary: SimVocabulary::default().len() as u32,
            ..handle.limits()
        };
        let outcome = play(workload, &handle).await?;
        // Nothing runs any more, so this is over at once.
        handle.drain(Duration::from_secs(10)).await;
        drop(handle);
        let simulated = SimulatedServer {
            limits,
            ..server.clone()
        };
        let simulated = replay(workload, Contender::Policy(policy), &simulated)?;
        rows.push(ValidationRow::of(
            policy,
            limits.cells,
            &simulated,
            &outcome,
        ));
    }
    Ok(rows)
}

fn llama(real: &RealOptions, cells: u32) -> LlamaOptions {
    LlamaOptions {
        threads: real.threads,
        cells,
        ..LlamaOptions::default()
    }
}

/// Does what takes long without a pause on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> Result<T, BenchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BenchError::Program {
        program: "the model".to_owned(),
        message: format!("it broke off: {error}"),
    })?
}

/// Plays a workload in real time.
async fn play(workload: &Workload, engine: &EngineHandle) -> Result<Outcome, BenchError> {
    let mut script = Script::new(workload, engine.limits().vocabulary);
    let mut flights = FuturesUnordered::new();
    let start = Instant::now();
    loop {
        for due in script.ready(start.elapsed().as_secs_f64()) {
            let completion = engine.submit(due.request)?;
            flights.push(serve(due.id, completion));
        }
        let next = script.next_due();
        if flights.is_empty() && next.is_none() {
            break;
        }
        let moment = start + Duration::from_secs_f64(next.unwrap_or(0.0));
        tokio::select! {
            Some(served) = flights.next() => {
                let Served { id, generated, finish, at } = served?;
                script.ended(id, &generated, &finish, (at - start).as_secs_f64());
            }
            () = tokio::time::sleep_until(moment.into()), if next.is_some() => {}
        }
    }
    Ok(script.finish(start.elapsed().as_secs_f64()))
}

/// A call that has ended.
struct Served {
    id: CallId,
    generated: Vec<Token>,
    finish: Finish,
    at: Instant,
}

async fn serve(id: CallId, mut completion: Completion) -> Result<Served, BenchError> {
    let mut generated = Vec::new();
    loop {
        match completion.next().await {
            Some(Event::Token(token)) => generated.push(token.token),
            Some(Event::Started(_)) => {}
            Some(Event::Finished(finish)) => {
                let at = Instant::now();
                return Ok(Served {
                    id,
                    generated,
                    finish,
                    at,
                });
            }
            Some(Event::Failed(error)) => return Err(error.into()),
            None => return Err(EngineError::Stopped.into()),
        }
    }
}

impl ValidationRow {
    /// The row of one policy; which workload it was is left empty.
    fn of(policy: PolicySpec, cells: u32, simulated: &Outcome, real: &Outcome) -> Self {
        let session = |outcome: &Outcome| mean(outcome.session_seconds.iter().copied());
        let call = |outcome: &Outcome| mean(outcome.calls.iter().map(|call| call.seconds));
        Self {
            policy: policy.to_string(),
            trace: String::new(),
            load: real.session_seconds.len(),
            pressure: 0.0,
            cells,
            simulated_s: session(simulated),
            real_s: session(real),
            ratio: session(simulated) / session(real),
            simulated_call_s: call(simulated),
            real_call_s: call(real),
            simulated_hit_rate: simulated.hit_rate(),
            real_hit_rate: real.hit_rate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentinfer_engine::{Model, SimModel};

    use super::*;

    #[tokio::test]
    async fn calls_are_made_when_they_are_due_on_a_running_engine() {
        let workload = Workload::research(2, 1, 0.05).with_tool_latency(0.0);
        let limits = SimModel::default().limits();
        let vocabulary = Arc::new(SimVocabulary::default());
        let model = SimModel::new(limits, LatencyCurve::default());
        let engine = Engine::new(model, vocabulary, EngineOptions::default());
        let handle = EngineHandle::spawn("test", engine).expect("a thread");
        let workload = Workload {
            sessions: (0..2)
                .map(|session| workload.alone(session).sessions.remove(0))
                .collect(),
        };
        let outcome = play(&workload, &handle).await.expect("plays");
        let expected: usize = workload.sessions.iter().map(|s| s.calls.len()).sum();
        assert_eq!(outcome.calls.len(), expected);
        let sim = SimulatedServer::new(limits.cells, LatencyCurve::default());
        let simulated = replay(&workload, Contender::default(), &sim).expect("plays");
        let row = ValidationRow::of(PolicySpec::default(), 1, &simulated, &outcome);
        assert!(
            (row.real_hit_rate - row.simulated_hit_rate).abs() < 0.1,
            "{row:?}"
        );
    }
}
