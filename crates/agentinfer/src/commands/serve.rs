//! `agentinfer serve`: the OpenAI-compatible server.

use std::path::PathBuf;
use std::process::ExitCode;

use agentinfer_runtime::{Runtime, RuntimeOptions};
use agentinfer_server::Server;
use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::config::{Config, Raw};
use crate::output;

/// Serve models over an OpenAI-compatible HTTP API.
///
/// Requests name a model by its name or by its tier, `small` or `large`; with both, `auto` leaves
/// the choice to AgentCollab, step by step. A tier may also be run by another OpenAI-compatible
/// server: its chats are passed on, and with `auto` the other tier answers where it fails.
///
/// Settings come from the command line, else from the environment, else from the configuration
/// file, else from the defaults. Ctrl-C lets running requests finish, then stops; a second Ctrl-C
/// stops at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer serve\n  \
    agentinfer serve --small qwen2.5-coder-0.5b --large qwen2.5-coder-1.5b --port 9000\n  \
    agentinfer serve --large ./my-model.gguf --cells 32768 --parallel 8\n  \
    agentinfer serve --small qwen2.5-coder-0.5b --large-url http://host:8000/v1 \\\n       \
    --large-model Qwen/Qwen2.5-72B-Instruct\n  \
    curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\\n       \
    -d '{\"model\": \"large\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n\n\
    The configuration file has the options' names with underscores:\n  \
    [models]\n  \
    large = \"qwen2.5-coder-1.5b\"\n  \
    [server]\n  \
    port = 9000\n  \
    api_keys = [\"secret\"]\n  \
    [engine]\n  \
    cells = 32768\n  \
    [collab]\n  \
    policy = \"paper\"")]
pub(crate) struct Args {
    /// TOML file with settings.
    #[arg(long, env = "AGENTINFER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    raw: Raw,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let below = Raw::from_file(args.config.as_deref())?;
    let config = args.raw.or(below).validate()?;
    tokio::runtime::Runtime::new()?.block_on(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config) -> Result<()> {
    // The port first: a mistake there should not cost the time of loading models.
    let bound = Server::bind(config.server).await?;
    let address = bound.address();
    let options = RuntimeOptions {
        corpus: config.corpus,
        collab: config.collab,
        compress: config.compress,
        memory: config.memory,
        ..RuntimeOptions::new(config.tiers)
    };
    let runtime = spawn_blocking(|| Runtime::start(options)).await??;
    for model in runtime.models() {
        output::line(format_args!("serving {} on http://{address}/v1", model.id))?;
    }
    bound.run(runtime, stop_signal()).await;
    Ok(())
}

/// Resolves at the first request to stop; from then on a second Ctrl-C ends the process.
pub(crate) async fn stop_signal() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        // Without a handler the signal ends the process, which is what is left to do then.
        let Ok(mut terminated) = signal(SignalKind::terminate()) else {
            let _ = interrupted.await;
            return;
        };
        tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupted.await;
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
