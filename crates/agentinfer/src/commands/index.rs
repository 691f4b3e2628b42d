//! `agentinfer index`: a corpus made ready to search.

use std::path::PathBuf;
use std::process::ExitCode;

use agentinfer_agent::Corpus;
use anyhow::Result;
use serde_json::json;

use crate::output;

/// Index documents once, so that `agentinfer run` starts at once.
///
/// Reads a folder of text, Markdown and HTML files, or a JSONL file of {"title", "text"} rows, in
/// English or Chinese, and writes a search index that `agentinfer run --corpus` opens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
    agentinfer index --corpus docs.jsonl --out docs.index\n  \
    agentinfer run --corpus docs.index \"Who ...?\"")]
pub(crate) struct Args {
    /// The documents.
    #[arg(long, value_name = "DIR|FILE.jsonl")]
    corpus: PathBuf,
    /// The folder to write the index to; it must not hold one yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write JSON: `{"passages", "out"}`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let passages = Corpus::save(&args.corpus, &args.out)?.len();
    if args.json {
        output::json(&json!({"passages": passages, "out": args.out}))?;
    } else {
        output::line(format_args!(
            "{passages} passages indexed in {}",
            args.out.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
