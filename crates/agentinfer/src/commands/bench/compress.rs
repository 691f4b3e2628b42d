//! `agentinfer bench compress`: what is left of recorded sessions when they are compressed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use agentinfer_bench::ModelFile;
use agentinfer_bench::compress::{Arm, CompressOptions, LiveOptions, run_compress_bench};
use agentinfer_runtime::Tier;
use anyhow::Result;

use super::{or, report, unless_interrupted};
use crate::config::{Raw, RawEngine};
use crate::output;

/// Replay recorded sessions and count what compressing them saves and loses.
///
/// At every turn beyond the trigger it counts the tokens of the full prompt and of the served one,
/// and which of the names and numbers that the recorded answer used are still there. With --live
/// the long sessions are also played to the model, whose time and waits are measured; leave the
/// machine alone meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench compress --transcripts webdancer.jsonl --trace miniswe/ --json c.json\n  \
    agentinfer bench compress --trace miniswe/ --skip 5 --arms context,context:recent=1\n  \
    agentinfer bench compress --transcripts webdancer.jsonl --arms off,context --live 1,4")]
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
    /// Play the long sessions to the model too, so many at a time, each number in its turn.
    #[arg(long, value_delimiter = ',', value_name = "SESSIONS,...")]
    live: Vec<usize>,
    /// Tokens that a session's longest prompt must have to be played.
    #[arg(long, default_value_t = 8_000, value_name = "TOKENS")]
    live_from: u32,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// TOML file with settings; its `[engine]` counts here.
    #[arg(long, env = "AGENTINFER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    engine: RawEngine,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let model = agentinfer_models::resolve(&args.model)?;
    let file = ModelFile::at(&model);
    let below = Raw::from_file(args.config.as_deref())?;
    let above = Raw {
        engine: args.engine,
        ..Raw::default()
    };
    let tier = above.or(below).engine.tier(Tier::Large, &args.model)?;
    let live = LiveOptions {
        tier,
        sessions: args.live,
        least_tokens: args.live_from,
    };
    let options = CompressOptions {
        model,
        transcripts: args.transcripts,
        traces: args.trace,
        arms: or(args.arms, Arm::all()),
        skip: args.skip,
        n: args.n,
        live: (!live.sessions.is_empty()).then_some(live),
    };
    let work = run_compress_bench(&options, output::note);
    let results = unless_interrupted(work).await??;
    output::line(results.table())?;
    let models = BTreeMap::from([(args.model, file)]);
    report("compress", models, started, results, args.json.as_deref())
}
