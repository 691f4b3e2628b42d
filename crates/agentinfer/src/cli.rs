//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::{bench, doctor, index, models, run, sched, serve};

/// Inference for LLM agents: an engine, an OpenAI-compatible server and a deep-research agent.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Start with `agentinfer doctor`, then `agentinfer models pull \
                  qwen2.5-coder-1.5b`, then `agentinfer serve`.\n\
                  Log lines: set AGENTINFER_LOG, for example to `debug`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Models(models::Command),
    Serve(serve::Args),
    Run(run::Args),
    Index(index::Args),
    #[command(subcommand)]
    Sched(sched::Command),
    #[command(subcommand)]
    Bench(bench::Command),
    Doctor(doctor::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_contradict_each_other_nowhere() {
        super::Cli::command().debug_assert();
    }
}
