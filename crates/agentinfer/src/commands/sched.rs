//! `agentinfer sched`: why requests were served in the order in which they were.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentinfer_bench::decisions::{explain, page};
use anyhow::{Context, Result, ensure};

use crate::output;

/// Look into scheduling decisions: who was served, whose cells gave way, and why.
///
/// Both commands read a trace of decisions, one JSON object a line, which `agentinfer serve
/// --sched-trace FILE` writes while it serves and `agentinfer bench sched --out DIR` for every
/// simulated workload. A trace may be read while it is written.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Explain(ExplainArgs),
    Show(ShowArgs),
}

/// Tell what was decided at one moment, among whom, and why.
///
/// Shows the cells and the queue of that moment and every candidate with its score and the policy's
/// reason, the first to be chosen first; a star marks who was. The waiting request of the highest
/// score is admitted; the idle sequence of the lowest is evicted, and the running request of the
/// lowest preempted. All decisions of the moment are shown.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer serve --policy agent --sched-trace decisions.jsonl\n  \
    agentinfer sched explain decisions.jsonl\n  \
    agentinfer sched explain decisions.jsonl --at 12.5 --json")]
pub(crate) struct ExplainArgs {
    /// The trace.
    trace: PathBuf,
    /// Seconds since the engine's start; the last decision that is not later is told
    /// [default: the last one].
    #[arg(long, allow_negative_numbers = true, value_name = "SECONDS")]
    at: Option<f64>,
    /// Write JSON: `{"label", "policy", "cells", "decisions"}`.
    #[arg(long)]
    json: bool,
}

/// Draw a trace as a page for a browser.
///
/// Shows over time the shadow price of memory where the policy has one, KV cells, requests, lengths
/// of prompts and contexts, and what each session does. The page is one file that needs no network.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  \
    agentinfer sched show decisions.jsonl --html decisions.html")]
pub(crate) struct ShowArgs {
    /// The trace.
    trace: PathBuf,
    /// The page to write; replaced if it exists.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Explain(args) => {
            look_for(&args.trace)?;
            let explanation = explain(&args.trace, args.at)?;
            if args.json {
                output::json(&explanation)?;
            } else {
                output::line(explanation.to_string().trim_end())?;
            }
        }
        Command::Show(args) => {
            look_for(&args.trace)?;
            let page = page(&args.trace)?;
            let path = args.html.display();
            fs::write(&args.html, page).with_context(|| format!("cannot write {path}"))?;
            output::note(&format!("the page is in {path}; open it in a browser"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there is a file to read.
fn look_for(trace: &Path) -> Result<()> {
    ensure!(
        trace.is_file(),
        "there is no trace {}; write one with `agentinfer serve --sched-trace FILE` or \
         `agentinfer bench sched --out DIR`",
        trace.display()
    );
    Ok(())
}
