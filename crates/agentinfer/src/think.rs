//! The model that the agent thinks with: in this process or behind a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentinfer_agent::{HttpLlm, InProcess, Llm};
use agentinfer_bench::ModelFile;
use agentinfer_runtime::{Runtime, RuntimeOptions, Tier, TierSource};
use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::config::{Raw, RawEngine};

/// How long a model in this process may take to stop: its step in progress, and it is done.
const DRAIN: Duration = Duration::from_secs(2);

/// Which model to think with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model that thinks: a name from `agentinfer models list` or a GGUF file; with --server,
    /// the server's name for it.
    #[arg(long, env = "AGENTINFER_MODEL", default_value = "qwen2.5-coder-1.5b")]
    model: String,
    /// Think with this OpenAI-compatible server instead of a model in this process.
    #[arg(long, env = "AGENTINFER_SERVER", value_name = "URL")]
    server: Option<String>,
    /// The key that the server asks for.
    #[arg(
        long,
        env = "AGENTINFER_SERVER_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    server_key: Option<String>,
    /// TOML file with settings; its `[engine]` counts here.
    #[arg(long, env = "AGENTINFER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    engine: RawEngine,
}

/// A model that can be asked.
pub(crate) struct Thinker {
    /// Asks it.
    pub(crate) llm: Arc<dyn Llm>,
    /// What it is called.
    pub(crate) name: String,
    /// What it is, for reports.
    pub(crate) file: ModelFile,
    runtime: Option<Runtime>,
}

impl Thinker {
    /// Loads the model or finds its server.
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        if let Some(server) = &args.server {
            let llm = HttpLlm::new(server, args.server_key.clone(), &args.model)?;
            return Ok(Self {
                llm: Arc::new(llm),
                name: args.model.clone(),
                file: ModelFile {
                    path: server.clone(),
                    bytes: None,
                },
                runtime: None,
            });
        }
        let below = Raw::from_file(args.config.as_deref())?;
        let above = Raw {
            engine: args.engine.clone(),
            ..Raw::default()
        };
        let engine = above.or(below).engine;
        let tier = engine.tier(Tier::Large, &args.model)?;
        let name = tier.name.clone();
        let file = match &tier.source {
            TierSource::Gguf(path) => ModelFile::at(path),
            TierSource::Sim => ModelFile {
                path: name.clone(),
                bytes: None,
            },
        };
        let options = RuntimeOptions {
            corpus: engine.corpus(),
            ..RuntimeOptions::new(vec![tier])
        };
        let runtime = spawn_blocking(|| Runtime::start(options)).await??;
        let llm = Arc::new(InProcess::new(runtime.clone(), name.clone()));
        Ok(Self {
            llm,
            name,
            file,
            runtime: Some(runtime),
        })
    }

    /// Lets a model in this process end its step before the process ends.
    pub(crate) async fn stop(self) {
        if let Some(runtime) = self.runtime {
            runtime.drain(DRAIN).await;
        }
    }
}
