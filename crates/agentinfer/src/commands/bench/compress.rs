//! `agentinfer bench compress`: what is left of recorded sessions when they are compressed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use agentinfer_bench::ModelFile;
use agentinfer_bench::compress::{Arm, CompressOptions, run_compress_bench};
use anyhow::Result;

use super::{or, report, unless_interrupted};
use crate::output;

/// Replay recorded sessions and count what compressing them saves and loses.
///
/// No model runs. At every turn beyond the trigger it counts the tokens of the full prompt and of
/// the served one, and which of the names and numbers that the recorded answer used are still
/// there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench compress --transcripts webdancer.jsonl --trace miniswe/ \
    --json compress.json\n  \
    agentinfer bench compress --trace miniswe/ --skip 5 \
    --arms context,context:recent=1:target=0.3")]
pub(crate) struct Args {
    /// Transcripts: one session a row, {"session", "task", "messages"}; may be given several times.
    #[arg(long, value_name = "FILE")]
    transcripts: Vec<PathBuf>,
    /// Recorded calls, a file or a folder of .jsonl files: one call a row, {"timestamp", "input",
    /// "output", "session_id"}; may be given several times.
    #[arg(long, value_name = "FILE|DIR")]
    trace: Vec<PathBuf>,
    /// The settings: off, context, no_reasoning, no_summary, no_recent, each with parameters if
    /// wanted (:trigger=TOKENS, :recent=RESULTS, :target=SHARE) [default: all].
    #[arg(long, value_delimiter = ',', value_name = "ARM,...")]
    arms: Vec<Arm>,
    /// How many sessions of each set to skip.
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip: usize,
    /// How many sessions to play then [default: all].
    #[arg(long, value_name = "N")]
    n: Option<usize>,
    /// The model whose tokenizer counts: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-0.5b")]
    model: String,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let model = agentinfer_models::resolve(&args.model)?;
    let file = ModelFile::at(&model);
    let options = CompressOptions {
        model,
        transcripts: args.transcripts,
        traces: args.trace,
        arms: or(args.arms, Arm::all()),
        skip: args.skip,
        n: args.n,
    };
    let work = run_compress_bench(&options, output::note);
    let results = unless_interrupted(work).await??;
    output::line(results.table())?;
    let models = BTreeMap::from([(args.model, file)]);
    report("compress", models, started, results, args.json.as_deref())
}
