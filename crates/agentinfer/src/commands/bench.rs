//! `agentinfer bench`: measurements, and reports that programs can read.

mod collab;
mod compress;
mod research;
mod sam;
mod scale;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use agentinfer_bench::engine::{Case, EngineBenchOptions, run_engine_bench};
use agentinfer_bench::sched::{Contender, PolicySpec, RealOptions, SchedOptions, run_sched_bench};
use agentinfer_bench::{BenchReport, ModelFile};
use anyhow::{Result, bail};
use serde::Serialize;

use crate::commands::serve::stop_signal;
use crate::output;

/// Measure the engine and the agent.
///
/// Each benchmark shows its results and, with --json FILE, writes them with all samples, the
/// machine, the models and the command line. The keys are described in docs/bench.md.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Collab(Box<collab::Args>),
    Compress(Box<compress::Args>),
    Engine(EngineArgs),
    Research(Box<research::Args>),
    Sam(sam::Args),
    Scale(Box<scale::Args>),
    Sched(SchedArgs),
}

/// Compare the engine's speed with llama.cpp's own programs.
///
/// Measures prefill and decode of one stream, the throughput of 1, 4 and 8 chats that share a
/// system prompt, and the time to first token of a resident prefix. The arms take turns within one
/// run, so that a machine that warms up or is disturbed favours nobody. Leave the machine alone
/// meanwhile.
///
/// With --spec it measures what drafts bring instead: agents that say again what they have read or
/// said, on our server without drafts, with those of the same session and with those of past
/// sessions too, beside llama-server with each of its ngram types; and stories, on which drafts
/// should cost nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench engine --model qwen2.5-coder-0.5b --cases prefill_1,decode_1\n  \
    agentinfer bench engine --model qwen2.5-coder-0.5b --llama-bench /opt/llama.cpp/llama-bench \
    --llama-server /opt/llama.cpp/llama-server --json engine.json\n  \
    agentinfer bench engine --model qwen2.5-coder-0.5b --spec --runs 2 \
    --llama-server /opt/llama.cpp/llama-server --json spec.json")]
pub(crate) struct EngineArgs {
    /// The model: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-0.5b")]
    model: String,
    /// llama.cpp's llama-bench; without it single streams have no peer.
    #[arg(long, value_name = "PATH")]
    llama_bench: Option<PathBuf>,
    /// llama.cpp's llama-server; without it chats have no peer.
    #[arg(long, value_name = "PATH")]
    llama_server: Option<PathBuf>,
    /// Threads that every arm computes with [default: one per usable core].
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Counted runs of every case.
    #[arg(long, default_value_t = 5, value_name = "N")]
    runs: u32,
    /// Measure the cases about speculation, which are left out otherwise.
    #[arg(long)]
    spec: bool,
    /// The cases, separated by commas: prefill_1, decode_1, chats_1, chats_4, chats_8,
    /// ttft_resident, ttft_evicted; with --spec spec_agent_1, spec_agent_4, spec_agent_8,
    /// spec_novel_1, spec_novel_4, spec_novel_8 [default: all of the kind].
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    cases: Vec<Case>,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is asked, and what it is answered from.
#[derive(Debug, clap::Args)]
struct Questions {
    /// The questions: JSONL rows of {"id", "question", "answers"}.
    #[arg(long, value_name = "FILE.jsonl")]
    tasks: PathBuf,
    /// What they are answered from; as in `agentinfer run`.
    #[arg(long, value_name = "DIR|FILE.jsonl")]
    corpus: PathBuf,
    /// How many questions of the file to skip.
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip: usize,
    /// How many questions to ask then [default: all].
    #[arg(long, value_name = "N")]
    n: Option<usize>,
}

/// Compare scheduling policies on simulated time.
///
/// Agents' sessions, synthetic ones of deep research or recorded ones, share one server: the
/// production engine and scheduler with a model that only takes time (that of Qwen2.5-Coder 1.5B on
/// two cores). Traces are read in three formats, which docs/bench.md describes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench sched --policies fcfs,paper:lambda_max=8:k=2 --load 4,8 --pressure 1.5\n  \
    agentinfer bench sched --policies fcfs,agent --pressure 2.5 --seeds 1 --out decisions\n  \
    agentinfer bench sched --trace requests.jsonl --trace traces/ --scale 0.25 --json sched.json")]
pub(crate) struct SchedArgs {
    /// The policies, separated by commas; ratios are relative to the first. The bound knows the
    /// future [default: fcfs,sjf,lpm,las,paper,agent,bound].
    #[arg(long, value_delimiter = ',', value_name = "POLICY,...")]
    policies: Vec<Contender>,
    /// Recorded sessions: a file, or a folder of .jsonl files; may be given several times
    /// [default: synthetic sessions].
    #[arg(long, value_name = "FILE|DIR")]
    trace: Vec<PathBuf>,
    /// Multiplies every length in tokens, to fit long sessions into fewer cells.
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    scale: f64,
    /// How many sessions share the server [default: 4].
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    load: Vec<usize>,
    /// How many times the KV cells the sessions would fill together; at 1 all fit
    /// [default: 1,1.5,2.5].
    #[arg(long, value_delimiter = ',', value_name = "X,...")]
    pressure: Vec<f64>,
    /// How many times as long tools take [default: 1].
    #[arg(long, value_delimiter = ',', value_name = "X,...")]
    tool_latency: Vec<f64>,
    /// Requests that run at once [default: as the server's].
    #[arg(long, value_name = "N")]
    max_running: Option<usize>,
    /// Keep evicted KV cells in host memory, which is ample, and copy them back; otherwise they are
    /// computed again.
    #[arg(long)]
    offload: bool,
    /// How many random workloads of each kind: other sessions and other arrivals.
    #[arg(long, default_value_t = 5, value_name = "N")]
    seeds: u64,
    /// The first of them: policies' parameters were chosen on those from 1 on.
    #[arg(long, default_value_t = 1, value_name = "N")]
    first_seed: u64,
    /// Write a trace of every decision for each workload and policy into this folder, with a page
    /// beside it that shows it; `agentinfer sched` reads traces.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Simulate this model, whose steps are measured first, and play the first workload on it in
    /// real time as well: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, value_name = "MODEL")]
    real: Option<String>,
    /// The policies that are played in real time [default: the first and the last of --policies].
    #[arg(
        long,
        requires = "real",
        value_delimiter = ',',
        value_name = "POLICY,..."
    )]
    real_policies: Vec<PolicySpec>,
    /// Threads that compute in real time [default: one per usable core].
    #[arg(long, requires = "real", value_name = "N")]
    threads: Option<u32>,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl SchedArgs {
    /// The real model, if one is wanted.
    fn real(&self, policies: &[Contender]) -> Result<Option<RealOptions>> {
        let Some(name) = &self.real else {
            return Ok(None);
        };
        let served: Vec<PolicySpec> = policies
            .iter()
            .filter_map(|contender| match contender {
                Contender::Policy(policy) => Some(*policy),
                Contender::Bound => None,
            })
            .collect();
        let mut ends: Vec<PolicySpec> = served.first().into_iter().copied().collect();
        ends.extend(served.last().filter(|last| Some(*last) != served.first()));
        Ok(Some(RealOptions {
            model: agentinfer_models::resolve(name)?,
            threads: self.threads,
            policies: or(self.real_policies.clone(), ends),
        }))
    }
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Collab(args) => collab::run(*args),
        Command::Compress(args) => wait(compress::run(*args)),
        Command::Engine(args) => wait(engine(args)),
        Command::Research(args) => wait(research::run(*args)),
        Command::Sam(args) => wait(sam::run(args)),
        Command::Scale(args) => scale::run(*args),
        Command::Sched(args) => wait(sched(args)),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

async fn engine(args: EngineArgs) -> Result<()> {
    let started = SystemTime::now();
    let mut options = EngineBenchOptions::new(args.model.clone(), std::env::current_exe()?);
    options.llama_bench = args.llama_bench;
    options.llama_server = args.llama_server;
    options.threads = args.threads;
    options.runs = args.runs;
    options.cases = cases(args.cases, args.spec)?;
    let mut progress = output::note;
    let results = unless_interrupted(run_engine_bench(&options, &mut progress)).await??;
    output::line(results.table())?;
    let file = ModelFile::at(&agentinfer_models::resolve(&args.model)?);
    report(
        "engine",
        BTreeMap::from([(args.model, file)]),
        started,
        results,
        args.json.as_deref(),
    )
}

/// The chosen cases, which must be of the kind that is measured; all of these where none is chosen.
fn cases(chosen: Vec<Case>, spec: bool) -> Result<Vec<Case>> {
    let all = Case::about_speculation(spec);
    if let Some(other) = chosen.iter().find(|case| !all.contains(case)) {
        let hint = if spec { "leave out" } else { "add" };
        bail!("--cases {other}: {hint} --spec to measure it");
    }
    Ok(or(chosen, all))
}

async fn sched(args: SchedArgs) -> Result<()> {
    let started = SystemTime::now();
    let default = SchedOptions::default();
    let policies = or(args.policies.clone(), default.policies);
    let options = SchedOptions {
        real: args.real(&policies)?,
        policies,
        traces: args.trace,
        scale: args.scale,
        loads: or(args.load, default.loads),
        pressures: or(args.pressure, default.pressures),
        tool_latencies: or(args.tool_latency, default.tool_latencies),
        max_running: args.max_running.unwrap_or(default.max_running),
        offload: args.offload,
        seeds: args.seeds,
        first_seed: args.first_seed,
        out: args.out,
    };
    let work = run_sched_bench(&options, output::note);
    let results = unless_interrupted(work).await??;
    output::line(results.table())?;
    let models = args.real.into_iter().zip(&options.real);
    let models = models.map(|(name, real)| (name, ModelFile::at(&real.model)));
    report(
        "sched",
        models.collect(),
        started,
        results,
        args.json.as_deref(),
    )
}

/// What was given, or the default where nothing was.
fn or<T>(given: Vec<T>, default: Vec<T>) -> Vec<T> {
    if given.is_empty() { default } else { given }
}

/// What `work` comes to, unless a request to stop comes first: then it is dropped, and what it
/// started ends with it.
async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        done = work => Ok(done),
        () = stop_signal() => bail!("interrupted; nothing was reported"),
    }
}

fn report(
    bench: &'static str,
    models: BTreeMap<String, ModelFile>,
    started: SystemTime,
    results: impl Serialize,
    path: Option<&Path>,
) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    BenchReport::new(bench, models, started, results).write(path)?;
    output::note(&format!("the report is in {}", path.display()));
    Ok(())
}
