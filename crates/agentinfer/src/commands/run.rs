//! `agentinfer run`: the deep-research agent, live.

use std::path::PathBuf;
use std::process::ExitCode;

use agentinfer_agent::{
    AgentEvent, AgentOptions, EventSink, Report, ResearchAgent, Silent, Source, Style, live_line,
};
use anyhow::{Result, ensure};
use serde_json::json;

use crate::commands::INTERRUPTED;
use crate::findings;
use crate::output;
use crate::place::Place;
use crate::style;
use crate::think::{self, Thinker};

/// Ask the research agent a question.
///
/// It plans sub-questions, searches, reads documents, and answers with its sources, while each step
/// is shown as it happens. It thinks with a local model in this process, or with any
/// OpenAI-compatible server. It searches a folder of text, Markdown and HTML files, a JSONL file
/// of {"title", "text"} rows, an index made by `agentinfer index`, the web, or an MCP server.
/// Ctrl-C ends the run; what was done until then is in the trace.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer run --corpus docs/ \"Where was the designer of ... born?\"\n  \
    agentinfer run --corpus docs.jsonl --trace run.jsonl --json \"Who ...?\"\n  \
    agentinfer run --corpus docs.jsonl --small qwen2.5-coder-0.5b \"Who ...?\"\n  \
    agentinfer run --corpus docs.jsonl --findings findings/ \"Who ...?\"\n  \
    agentinfer run --corpus docs.jsonl --style conversation \"Who ...?\"\n  \
    agentinfer run --corpus index/ --server http://localhost:8080 --model large \"When ...?\"\n  \
    agentinfer run --searxng http://localhost:8888 \"Which ...?\"\n  \
    agentinfer run --mcp \"my-search-server --quiet\" \"Which ...?\"")]
pub(crate) struct Args {
    /// The question.
    question: String,
    /// Write one JSON object with answer, sources, plan and totals instead of the live view.
    #[arg(long)]
    json: bool,
    /// Write every call with its tokens and times to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    ways: style::Ways,
    #[command(flatten)]
    findings: findings::Args,
    #[command(flatten)]
    style: style::Args,
    #[command(flatten)]
    think: think::Args,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(research(args))
}

async fn research(args: Args) -> Result<ExitCode> {
    let style = args.style.style()?;
    ensure!(
        style == Style::Steps || !args.findings.are_kept(),
        "--findings is for --style steps: a conversation does not read them"
    );
    // The folders first: a mistake there should not cost the time of loading a model.
    let tools = args.place.tools().await?;
    let findings = args.findings.open(args.think.below()?)?;
    let thinker = Thinker::start(&args.think).await?;
    let options = AgentOptions {
        style,
        trace: args.trace.clone(),
        collab: thinker.collab.clone(),
        findings,
        ..args.ways.options()
    };
    let agent = ResearchAgent::new(thinker.llm.clone(), tools, options);
    let mut sink: Box<dyn EventSink> = match args.json {
        true => Box::new(Silent),
        // A view that nobody sees is no reason to stop.
        false => Box::new(|event: AgentEvent| drop(output::line(live_line(&event)))),
    };
    let outcome = tokio::select! {
        report = agent.run(&args.question, sink.as_mut()) => Some(report),
        _ = tokio::signal::ctrl_c() => None,
    };
    thinker.stop().await;
    let Some(report) = outcome else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let report = report?;
    if args.json {
        output::json(&as_json(&args.question, &report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(question: &str, report: &Report) -> serde_json::Value {
    let source =
        |Source { title, url, quote }: &Source| json!({"title": title, "url": url, "quote": quote});
    json!({
        "question": question,
        "answer": report.answer,
        "cited": report.cited,
        "sources": report.sources.iter().map(source).collect::<Vec<_>>(),
        "resolved": report.resolved,
        "totals": report.totals,
        "seconds": report.elapsed.as_secs_f64(),
    })
}
