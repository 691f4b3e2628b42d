//! Our engine in this process: single streams, as llama-bench measures its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use agentinfer_engine::{
    Completion, Engine, EngineHandle, EngineOptions, Event, Request, StatsSnapshot, Token,
};
use agentinfer_llama::{LlamaOptions, open};

use super::Case;
use super::case::{GENERATED_TOKENS, PROMPT_TOKENS};
use super::measure::Sample;
use crate::BenchError;

/// KV cells of a single stream. llama-bench has as many as its test needs; here too few for the
/// warm-up and the measured prompt, so that nothing idle is left to attend to.
const SINGLE_CELLS: u32 = 768;
/// Tokens of a prompt that is only there to be continued.
const SHORT_PROMPT: usize = 8;
/// Tokens that the concurrent chats have in common, and tokens of each one's own.
const SHARED_TOKENS: usize = 300;
const OWN_TOKENS: usize = 45;

/// How to load the engine.
#[derive(Clone, Debug)]
pub(super) struct InProcess {
    pub(super) model: PathBuf,
    pub(super) threads: u32,
}

impl InProcess {
    /// Tokens per second of one stream on a fresh engine. Loading and warming up do not count.
    pub(super) async fn sample(&self, case: Case, seed: u64) -> Result<Sample, BenchError> {
        let engine = self.fresh(SINGLE_CELLS).await?;
        let mut random = fastrand::Rng::with_seed(seed);
        let (prompt, generated) = match case {
            Case::Prefill1 => (PROMPT_TOKENS, 1),
            // The first token belongs to prefill; the measured ones follow.
            _ => (SHORT_PROMPT, GENERATED_TOKENS + 1),
        };
        let mut prompt = || tokens(&engine, &mut random, prompt);
        let warm_up = start(&engine, prompt(), generated.min(4))?;
        arrivals(warm_up).await?;
        let prompt = prompt();
        let submitted = Instant::now();
        let arrivals = arrivals(start(&engine, prompt, generated)?).await?;
        let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
            return Err(no_tokens());
        };
        let value = match case {
            Case::Prefill1 => PROMPT_TOKENS as f64 / (*first - submitted).as_secs_f64(),
            _ => (arrivals.len() - 1) as f64 / (*last - *first).as_secs_f64(),
        };
        let stats = stop(engine).await;
        Ok(Sample {
            stats: Some(stats),
            ..Sample::new(value)
        })
    }

    /// The counters of an engine that served 8 chats with a shared prefix at once.
    pub(super) async fn eight_chats(&self, seed: u64) -> Result<StatsSnapshot, BenchError> {
        let engine = self.fresh(LlamaOptions::default().cells).await?;
        let mut random = fastrand::Rng::with_seed(seed);
        let shared = tokens(&engine, &mut random, SHARED_TOKENS);
        let mut chats = Vec::new();
        for _ in 0..Case::Chats8.chats() {
            let mut prompt = shared.clone();
            prompt.extend(tokens(&engine, &mut random, OWN_TOKENS));
            chats.push(start(&engine, prompt, GENERATED_TOKENS)?);
        }
        // Their events wait in channels that hold all of them.
        for chat in chats {
            arrivals(chat).await?;
        }
        Ok(stop(engine).await)
    }

    async fn fresh(&self, cells: u32) -> Result<EngineHandle, BenchError> {
        let model = self.model.clone();
        let options = LlamaOptions {
            threads: Some(self.threads),
            cells,
            ..LlamaOptions::default()
        };
        let load = move || {
            let opened = open(&model, &options)?;
            let engine = Engine::new(opened.model, opened.vocabulary, EngineOptions::default());
            Ok(EngineHandle::spawn("bench", engine)?)
        };
        tokio::task::spawn_blocking(load)
            .await
            .map_err(|error| failed(format!("loading the model broke off: {error}")))?
    }
}

/// Random tokens, as in llama-bench: what they mean makes no difference to the time they take.
fn tokens(engine: &EngineHandle, random: &mut fastrand::Rng, count: usize) -> Vec<Token> {
    let known = engine.limits().vocabulary;
    (0..count).map(|_| random.u32(..known)).collect()
}

fn start(
    engine: &EngineHandle,
    prompt: Vec<Token>,
    generated: usize,
) -> Result<Completion, BenchError> {
    let mut request = Request::new(prompt).max_tokens(generated as u32);
    request.ignore_eos = true;
    Ok(engine.submit(request)?)
}

/// When each token came.
async fn arrivals(mut completion: Completion) -> Result<Vec<Instant>, BenchError> {
    let mut arrivals = Vec::new();
    while let Some(event) = completion.next().await {
        match event {
            Event::Token(_) => arrivals.push(Instant::now()),
            Event::Failed(error) => return Err(error.into()),
            Event::Started(_) | Event::Finished(_) => {}
        }
    }
    Ok(arrivals)
}

/// Ends the engine, so that nothing of it runs beside what is measured next.
async fn stop(engine: EngineHandle) -> StatsSnapshot {
    let stats = engine.stats();
    // Nothing runs any more, so this is over at once.
    engine.drain(Duration::from_secs(10)).await;
    stats
}

fn no_tokens() -> BenchError {
    failed("the engine generated nothing".to_owned())
}

fn failed(message: String) -> BenchError {
    BenchError::Program {
        program: super::results::OURS.to_owned(),
        message,
    }
}
