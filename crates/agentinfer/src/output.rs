//! What people and programs read.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Writes one line to standard output.
pub(crate) fn line(text: impl Display) -> Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("cannot write to standard output")
}

/// Writes `value` as indented JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says on standard error what is going on.
pub(crate) fn note(text: &str) {
    // What cannot be shown is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says on standard error why the command failed.
pub(crate) fn report(error: &anyhow::Error) {
    note(&format!("error: {error:#}"));
}

/// Whether the reader of our output went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Sends log lines to standard error. `AGENTINFER_LOG` chooses which, in the syntax of
/// `tracing`'s filters, for example `debug` or `agentinfer_engine=trace`.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_env("AGENTINFER_LOG")
        // llama.cpp warns of oddities in model files that users cannot help.
        .unwrap_or_else(|_| EnvFilter::new("warn,agentinfer_server=info,llama-cpp-2=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// A table for people: columns as wide as their widest cell, the last one free.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> Result<()> {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
