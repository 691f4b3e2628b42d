//! `agentinfer bench sam`: drafters on recorded sessions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use agentinfer_bench::ModelFile;
use agentinfer_bench::sam::{Contender, Mode, Peer, SamOptions, Trials, run_sam_bench};
use anyhow::Result;

use super::{or, report, unless_interrupted};
use crate::output;

/// Replay recorded sessions and count what drafters guess right.
///
/// No model runs: what was recorded is what the model says, so a replay tells in how many steps
/// it would have been said. With --peer the same tokens are given to ArcticInference's suffix
/// decoding, and our drafters may draft as many tokens a step as it does. docs/bench.md tells
/// what is read and how it is counted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench sam --transcripts webdancer.jsonl --trace miniswe/ --json sam.json\n  \
    agentinfer bench sam --transcripts airline.jsonl --trials 1,all --modes warm --max-draft 16\n  \
    agentinfer bench sam --transcripts webdancer.jsonl --peer arctic \
    --peer-python ~/.cache/agentinfer/peers/arctic/bin/python")]
pub(crate) struct Args {
    /// Transcripts: one session a row, {"session", "task", "messages"}; may be given several times.
    #[arg(long, value_name = "FILE")]
    transcripts: Vec<PathBuf>,
    /// Recorded calls, a file or a folder of .jsonl files: one call a row, {"timestamp", "input",
    /// "output", "session_id"}; may be given several times.
    #[arg(long, value_name = "FILE|DIR")]
    trace: Vec<PathBuf>,
    /// The model whose tokenizer and chat template are used: a name from `agentinfer models list`
    /// or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-0.5b")]
    model: String,
    /// What the corpus holds at the beginning: cold is nothing, warm the first half of the tasks,
    /// and the others are measured [default: cold,warm].
    #[arg(long, value_delimiter = ',', value_name = "MODE,...")]
    modes: Vec<Mode>,
    /// The most tokens in a draft [default: 3,16,32].
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    max_draft: Vec<usize>,
    /// With which probability a guess must be reached at least; with a peer, the threshold begins
    /// here and follows the budget.
    #[arg(long, default_value_t = 0.3, value_name = "P")]
    least: f32,
    /// How many sessions of each task; `1,all` makes two sets [default: 1].
    #[arg(long, value_delimiter = ',', value_name = "N|all,...")]
    trials: Vec<Trials>,
    /// Only the first so many sessions of each set [default: all].
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// How many sessions of a transcript take turns; recorded calls go by their times.
    #[arg(long, default_value_t = 1, value_name = "N")]
    concurrent: usize,
    /// Who is compared: arctic (prompt and all earlier responses), arctic-session (prompt only);
    /// the first one's drafted tokens per step are our budget.
    #[arg(
        long,
        requires = "peer_python",
        value_delimiter = ',',
        value_name = "PEER,..."
    )]
    peer: Vec<Peer>,
    /// A Python that has arctic-inference 0.1.1.
    #[arg(long, value_name = "PATH")]
    peer_python: Option<PathBuf>,
    /// Write a trace of every replay of ours, one row per call, into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let model = agentinfer_models::resolve(&args.model)?;
    let file = ModelFile::at(&model);
    let default = SamOptions::new(model);
    let options = SamOptions {
        transcripts: args.transcripts,
        traces: args.trace,
        modes: or(args.modes, default.modes),
        max_drafts: or(args.max_draft, default.max_drafts),
        least: args.least,
        trials: or(args.trials, default.trials),
        sessions: args.sessions,
        concurrent: args.concurrent,
        peers: args.peer,
        peer_python: args.peer_python,
        out: args.out,
        model: default.model,
    };
    let ours = Contender::ours();
    let work = run_sam_bench(&options, &ours, output::note);
    let results = unless_interrupted(work).await??;
    output::line(results.table())?;
    let models = BTreeMap::from([(args.model, file)]);
    report("sam", models, started, results, args.json.as_deref())
}
