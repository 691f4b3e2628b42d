//! The whole bench.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agentinfer_llama::{LlamaOptions, open};
use reqwest::Client;

use super::Case;
use super::chats::ChatLoad;
use super::client::client;
use super::in_process::InProcess;
use super::llama_bench::LlamaBench;
use super::measure::{Arm, Measured, measure};
use super::results::{CaseResult, EngineBenchResults, EngineShares, OURS, Shares, ratios};
use super::server::Programs;
use super::speculation::speculation;
use crate::BenchError;
use crate::program::find_peer;
use crate::report::usable_cores;
use crate::servers::ServerProcess;

/// Runs of a case that are counted, at most: each takes seconds to minutes.
const MOST_RUNS: u32 = 1000;

/// What to measure, and against whom.
#[derive(Clone, Debug)]
pub struct EngineBenchOptions {
    /// The model: an installed name or a GGUF file.
    pub model: String,
    /// The `agentinfer` executable that serves; a command measures itself.
    pub agentinfer: PathBuf,
    /// llama.cpp's `llama-bench`; without it single streams have no peer.
    pub llama_bench: Option<PathBuf>,
    /// llama.cpp's `llama-server`; without it chats have no peer.
    pub llama_server: Option<PathBuf>,
    /// Threads that every arm computes with; absent means one per usable core.
    pub threads: Option<u32>,
    /// Counted runs of every case, at least 1.
    pub runs: u32,
    /// The cases; they run in the order of [`Case::ALL`].
    pub cases: Vec<Case>,
}

impl EngineBenchOptions {
    /// All cases but those about speculation, five runs each, without peers.
    pub fn new(model: String, agentinfer: PathBuf) -> Self {
        Self {
            model,
            agentinfer,
            llama_bench: None,
            llama_server: None,
            threads: None,
            runs: 5,
            cases: Case::about_speculation(false),
        }
    }

    /// Threads that every arm computes with.
    fn threads(&self) -> u32 {
        self.threads.unwrap_or_else(usable_cores)
    }
}

/// Measures our engine and its peers; `progress` gets a line for every sample. Programs that it
/// started are killed when the future is dropped. Must run inside a tokio runtime with I/O and
/// time.
///
/// # Errors
/// See [`BenchError`]; a missing peer or model is found before anything is measured.
pub async fn run_engine_bench(
    options: &EngineBenchOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<EngineBenchResults, BenchError> {
    let bench = Bench::check(options)?;
    let mut all = All::default();
    bench.single_streams(&mut all, progress).await?;
    bench.in_process_shares(&mut all, progress).await?;
    bench.served(&mut all, progress).await?;
    Ok(EngineBenchResults {
        threads: bench.threads,
        ratios: ratios(&all.cases),
        speculation: speculation(&all.cases),
        cases: all.cases,
        engine: EngineShares::new(all.loads),
        idle_cpu: all.idle_cpu,
        commands: all.commands,
    })
}

/// Options that were checked.
struct Bench {
    model: PathBuf,
    agentinfer: PathBuf,
    llama_bench: Option<PathBuf>,
    llama_server: Option<PathBuf>,
    threads: u32,
    runs: u32,
    cases: Vec<Case>,
}

/// What has been measured so far.
#[derive(Default)]
struct All {
    cases: Vec<CaseResult>,
    loads: BTreeMap<Case, Shares>,
    idle_cpu: BTreeMap<String, f64>,
    commands: BTreeMap<String, String>,
}

impl All {
    fn add(&mut self, measured: Measured) {
        self.cases.extend(measured.results);
        for (arm, share) in measured.idle_cpu {
            let most = self.idle_cpu.entry(arm).or_default();
            *most = most.max(share);
        }
    }
}

impl Bench {
    fn check(options: &EngineBenchOptions) -> Result<Self, BenchError> {
        let invalid = |field, message: String| BenchError::Option { field, message };
        let (runs, threads) = (options.runs, options.threads());
        if !(1..=MOST_RUNS).contains(&runs) {
            let message = format!("{runs} is outside 1 to {MOST_RUNS}");
            return Err(invalid("runs", message));
        }
        if !(1..=512).contains(&threads) {
            return Err(invalid("threads", format!("{threads} is outside 1 to 512")));
        }
        if options.cases.is_empty() {
            return Err(invalid(
                "cases",
                "there is none; give one or more".to_owned(),
            ));
        }
        let peer = |option, path: &Option<PathBuf>| {
            let found = path.as_deref().map(|path| find_peer(option, path));
            found.transpose()
        };
        let chosen = Case::ALL
            .into_iter()
            .filter(|case| options.cases.contains(case));
        Ok(Self {
            llama_bench: peer("--llama-bench", &options.llama_bench)?,
            llama_server: peer("--llama-server", &options.llama_server)?,
            model: absolute(&agentinfer_models::resolve(&options.model)?)?,
            agentinfer: options.agentinfer.clone(),
            threads,
            runs,
            cases: chosen.collect(),
        })
    }

    fn engine(&self) -> InProcess {
        InProcess {
            model: self.model.clone(),
            threads: self.threads,
        }
    }

    async fn single_streams(
        &self,
        all: &mut All,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BenchError> {
        let engine = self.engine();
        let programs = self.llama_bench.iter();
        let peers: Vec<LlamaBench> = programs
            .flat_map(|program| {
                [true, false].map(|repack| LlamaBench {
                    program: program.clone(),
                    model: self.model.clone(),
                    threads: self.threads,
                    repack,
                })
            })
            .collect();
        let mut arms = vec![Arm::InProcess(&engine)];
        arms.extend(peers.iter().map(Arm::LlamaBench));
        for &case in self.cases.iter().filter(|case| !case.is_served()) {
            let measured = measure(case, &arms, self.runs, progress).await?;
            if case == Case::Decode1 {
                all.loads.insert(case, Shares::of(&measured.stats));
            }
            all.add(measured);
            for peer in &peers {
                let arm = format!("{}:{case}", peer.name());
                all.commands.insert(arm, peer.typed(case));
            }
        }
        Ok(())
    }

    /// Where our engine's time goes when it serves many: seen only from inside.
    async fn in_process_shares(
        &self,
        all: &mut All,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BenchError> {
        let wanted = [Case::Decode1, Case::Chats8];
        if !wanted.iter().any(|case| self.cases.contains(case)) {
            return Ok(());
        }
        let stats = self.engine().eight_chats(Case::Chats8.seed(0)).await?;
        let shares = Shares::of(&stats);
        let [own, sampling] =
            [shares.bookkeeping_share, shares.sampling_share].map(|share| share * 100.0);
        progress(&format!(
            "8 chats in process: bookkeeping {own:.3} %, sampling {sampling:.3} % of step time"
        ));
        all.loads.insert(Case::Chats8, shares);
        Ok(())
    }

    async fn served(
        &self,
        all: &mut All,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BenchError> {
        let cases: Vec<Case> = self
            .cases
            .iter()
            .copied()
            .filter(|case| case.is_served())
            .collect();
        if cases.is_empty() {
            return Ok(());
        }
        let client = client()?;
        let load = self.load(client.clone()).await?;
        for alike in cases.chunk_by(|a, b| a.servers() == b.servers()) {
            self.served_alike(alike, &client, &load, all, progress)
                .await?;
        }
        Ok(())
    }

    /// Measures cases that want the same servers.
    async fn served_alike(
        &self,
        cases: &[Case],
        client: &Client,
        load: &ChatLoad,
        all: &mut All,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), BenchError> {
        let mut servers: Vec<ServerProcess> = Vec::new();
        let programs = Programs {
            agentinfer: &self.agentinfer,
            llama_server: self.llama_server.as_deref(),
            model: &self.model,
            threads: self.threads,
            cells: cases[0].cells(),
        };
        let plans = match cases[0].is_speculation() {
            true => programs.with_speculation()?,
            false => programs.plan()?,
        };
        for plan in plans {
            progress(&format!(
                "starting {} with {} cells",
                plan.arm, programs.cells
            ));
            servers.push(plan.start(client).await?);
        }
        for server in &servers {
            all.commands
                .insert(server.arm.clone(), server.typed.clone());
        }
        for &case in cases {
            let compared = servers
                .iter()
                .filter(|server| !case.is_novel() || server.arm.starts_with(OURS));
            let arms: Vec<Arm<'_>> = compared.map(|server| Arm::Server(server, load)).collect();
            all.add(measure(case, &arms, self.runs, progress).await?);
        }
        for server in servers {
            server.stop().await?;
        }
        Ok(())
    }

    /// The requests; making them needs the model's vocabulary, which is loaded and dropped again.
    async fn load(&self, client: reqwest::Client) -> Result<ChatLoad, BenchError> {
        let (model, runs) = (self.model.clone(), self.runs);
        let make = move || {
            let options = LlamaOptions {
                cells: 256,
                ..LlamaOptions::default()
            };
            let opened = open(&model, &options)?;
            Ok(ChatLoad::new(client, opened.vocabulary.as_ref(), runs))
        };
        let made = tokio::task::spawn_blocking(make).await;
        made.map_err(|error| BenchError::Program {
            program: "loading the vocabulary".to_owned(),
            message: error.to_string(),
        })?
    }
}

fn absolute(path: &Path) -> Result<PathBuf, BenchError> {
    path.canonicalize().map_err(|source| BenchError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> EngineBenchOptions {
        EngineBenchOptions::new("smollm2-135m".to_owned(), "agentinfer".into())
    }

    #[tokio::test]
    async fn mistakes_are_found_before_anything_runs() {
        let mistakes = [
            (
                EngineBenchOptions {
                    runs: 0,
                    ..options()
                },
                "runs: 0",
            ),
            (
                EngineBenchOptions {
                    threads: Some(0),
                    ..options()
                },
                "threads: 0",
            ),
            (
                EngineBenchOptions {
                    cases: Vec::new(),
                    ..options()
                },
                "cases: ",
            ),
            (
                EngineBenchOptions {
                    llama_server: Some("/nonexistent/llama-server".into()),
                    ..options()
                },
                "--llama-server",
            ),
            (
                EngineBenchOptions {
                    model: "/nonexistent.gguf".to_owned(),
                    ..options()
                },
                "/nonexistent.gguf",
            ),
        ];
        for (options, named) in mistakes {
            let mut silent = |line: &str| panic!("{line}");
            let error = run_engine_bench(&options, &mut silent).await.unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[tokio::test]
    async fn single_streams_are_measured_without_a_peer() {
        let options = EngineBenchOptions {
            runs: 1,
            threads: Some(1),
            cases: vec![Case::Decode1, Case::Prefill1],
            ..options()
        };
        let mut lines = Vec::new();
        let mut note = |line: &str| lines.push(line.to_owned());
        let results = run_engine_bench(&options, &mut note).await.unwrap();
        let cases: Vec<Case> = results.cases.iter().map(|result| result.case).collect();
        assert_eq!(cases, [Case::Prefill1, Case::Decode1]);
        for result in &results.cases {
            assert_eq!(
                (result.samples.len(), result.arm.as_str()),
                (1, "agentinfer")
            );
            assert!(result.median > 0.0);
        }
        assert!(results.ratios.is_empty());
        let engine = results.engine.unwrap();
        assert_eq!(engine.loads.len(), 2);
        assert!((0.0..0.5).contains(&engine.bookkeeping_share), "{engine:?}");
        assert!((0.0..0.5).contains(&engine.sampling_share), "{engine:?}");
        assert_eq!(lines.len(), 5, "{lines:?}");
    }
}
