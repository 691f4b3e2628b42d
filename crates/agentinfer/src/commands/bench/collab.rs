//! `agentinfer bench collab`: who thinks, a large or a small model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentinfer_agent::InProcess;
use agentinfer_bench::ModelFile;
use agentinfer_bench::collab::{CollabOptions, Policy, collab};
use agentinfer_runtime::{Runtime, RuntimeOptions, Tier};
use anyhow::Result;
use tokio::task::spawn_blocking;

use super::{Questions, or, report, unless_interrupted};
use crate::config::{Raw, RawEngine};
use crate::output;
use crate::style;

/// How long the models may take to stop: their step in progress, and they are done.
const DRAIN: Duration = Duration::from_secs(2);

/// Compare who thinks: policies of AgentCollab and their controls on the same questions.
///
/// Each completion is asked for once, one at a time, and recorded with the time it took; all arms
/// run on these records, so they are exactly paired. With --calls the records are kept, and a run
/// that was interrupted goes on where it was. Leave the machine alone while completions are asked
/// for.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench collab --tasks hotpotqa/tasks.jsonl --corpus hotpotqa/corpus.jsonl \
    --n 40 --arms large_only,both:check=1 --calls calls.jsonl --collab-file tuned.json\n  \
    agentinfer bench collab --tasks hotpotqa/tasks.jsonl --corpus hotpotqa/corpus.jsonl \
    --skip 40 --n 60 --calls calls.jsonl --collab-file tuned.json --json collab.json")]
pub(crate) struct Args {
    #[command(flatten)]
    questions: Questions,
    /// The policies, separated by commas; the others are compared with the first [default:
    /// large_only,small_only,agent,paper,cumulative,cascade,always_true,large_planner,
    /// large_seeker,random,both].
    #[arg(long, value_delimiter = ',', value_name = "POLICY,...")]
    arms: Vec<Policy>,
    /// The small model: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-0.5b", value_name = "MODEL")]
    small: String,
    /// The large model.
    #[arg(long, default_value = "qwen2.5-coder-1.5b", value_name = "MODEL")]
    large: String,
    /// Record completions in this file, and use those that are in it.
    #[arg(long, value_name = "FILE.jsonl")]
    calls: Option<PathBuf>,
    /// Begin with what this file knows of the small model, if it is there, and write what the arm
    /// `agent` or `both`, whichever is last, has learned.
    #[arg(long, value_name = "FILE.json")]
    collab_file: Option<PathBuf>,
    #[command(flatten)]
    ways: style::Ways,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// TOML file with settings; its `[engine]` counts here.
    #[arg(long, env = "AGENTINFER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    engine: RawEngine,
}

/// Runs on a clock of its own, on which recorded completions take no real time.
pub(super) fn run(args: Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let below = Raw::from_file(args.config.as_deref())?;
    let above = Raw {
        engine: args.engine.clone(),
        ..Raw::default()
    };
    let engine = above.or(below).engine;
    let tiers = vec![
        engine.tier(Tier::Small, &args.small)?,
        engine.tier(Tier::Large, &args.large)?,
    ];
    let options = CollabOptions {
        tasks: args.questions.tasks,
        corpus: args.questions.corpus,
        skip: args.questions.skip,
        n: args.questions.n,
        arms: or(args.arms, default_arms()?),
        agent: args.ways.options(),
        calls: args.calls,
        competence: args.collab_file,
        models: [tiers[0].name.clone(), tiers[1].name.clone()],
    };
    let names = [(&args.small, "small"), (&args.large, "large")];
    let models = names.map(|(name, role)| -> Result<_> {
        let file = ModelFile::at(&agentinfer_models::resolve(name)?);
        Ok((role.to_owned(), file))
    });
    let models: BTreeMap<_, _> = models.into_iter().collect::<Result<_>>()?;
    let start = RuntimeOptions::new(tiers);
    let served = spawn_blocking(|| Runtime::start(start)).await??;
    let llm = Arc::new(InProcess::new(served.clone(), "large"));
    let work = collab(llm, &options, |done| output::note(&done.to_string()));
    let results = unless_interrupted(work).await;
    served.drain(DRAIN).await;
    let results = results??;
    output::line(results.table())?;
    report("collab", models, started, results, args.json.as_deref())
}

fn default_arms() -> Result<Vec<Policy>> {
    let names = "large_only,small_only,agent,paper,cumulative,cascade,always_true,large_planner,\
                 large_seeker,random,both";
    let arms = names.split(',').map(str::parse::<Policy>);
    arms.collect::<Result<_, _>>().map_err(anyhow::Error::msg)
}
