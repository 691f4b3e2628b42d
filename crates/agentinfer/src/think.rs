//! The model that the agent thinks with: in this process or behind a server.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentinfer_agent::{Collab, HttpLlm, InProcess, Llm, Policy};
use agentinfer_runtime::{Competences, Runtime, RuntimeOptions, Tier, TierOptions};
use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::config::{Raw, RawEngine};
use crate::output;

/// How long a model in this process may take to stop: its step in progress, and it is done.
const DRAIN: Duration = Duration::from_secs(2);

/// Whose the file of what was learned is: on a command line there is one user.
const TENANT: u64 = 0;

/// Which model to think with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model that thinks: a name from `agentinfer models list` or a GGUF file; with --server,
    /// the server's name for it.
    #[arg(long, env = "AGENTINFER_MODEL", default_value = "qwen2.5-coder-1.5b")]
    model: String,
    /// A smaller model that takes the steps it is good enough for, as --collab says; with --server,
    /// the server's name for it.
    #[arg(long, value_name = "MODEL")]
    small: Option<String>,
    /// Who takes which step, the model or the smaller one: agent, paper, cumulative, cascade or a
    /// control such as large_only [default: agent].
    #[arg(long, requires = "small", value_name = "POLICY")]
    collab: Option<Policy>,
    /// Where what is learned of the smaller model is kept for the next run [default: a file for
    /// the two models beside the model files].
    #[arg(long, requires = "small", value_name = "FILE.json")]
    collab_file: Option<PathBuf>,
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
    /// Who takes which step, where there are two models.
    pub(crate) collab: Option<Collab>,
    /// Where what is learned of the smaller one is kept, and what was there.
    kept: Option<(PathBuf, Competences)>,
    runtime: Option<Runtime>,
}

impl Thinker {
    /// Loads the model or finds its server.
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        let mut kept = args.kept()?;
        // In this process the models go by their tiers.
        let collab = kept.as_mut().map(|(_, kept)| Collab {
            competence: Arc::new(Mutex::new(kept.of(TENANT).clone())),
            ..Collab::new(args.collab.unwrap_or_default())
        });
        if let Some(server) = &args.server {
            let collab = collab
                .zip(args.small.clone())
                .map(|(collab, small)| Collab {
                    small,
                    large: args.model.clone(),
                    ..collab
                });
            let llm = HttpLlm::new(server, args.server_key.clone(), &args.model)?;
            return Ok(Self {
                llm: Arc::new(llm),
                collab,
                kept,
                runtime: None,
            });
        }
        let below = args.below()?;
        let above = Raw {
            engine: args.engine.clone(),
            ..Raw::default()
        };
        let engine = above.or(below).engine;
        let large = engine.tier(Tier::Large, &args.model)?;
        let name = large.name.clone();
        let small = args.small.as_ref();
        let small = small
            .map(|model| engine.tier(Tier::Small, model))
            .transpose()?;
        let tiers: Vec<TierOptions> = small.into_iter().chain([large]).collect();
        let options = RuntimeOptions {
            corpus: engine.corpus(),
            ..RuntimeOptions::new(tiers)
        };
        let runtime = spawn_blocking(|| Runtime::start(options)).await??;
        Ok(Self {
            llm: Arc::new(InProcess::new(runtime.clone(), name)),
            collab,
            kept,
            runtime: Some(runtime),
        })
    }

    /// Keeps what was learned, and lets a model in this process end its step before the process
    /// ends.
    pub(crate) async fn stop(self) {
        if let (Some(collab), Some((path, mut kept))) = (self.collab, self.kept) {
            let learned = collab.competence.lock();
            *kept.of(TENANT) = learned.unwrap_or_else(PoisonError::into_inner).clone();
            // The answer matters more.
            if let Err(error) = kept.write(&path) {
                output::note(&format!("what was learned is not kept: {error}"));
            }
        }
        if let Some(runtime) = self.runtime {
            runtime.drain(DRAIN).await;
        }
    }
}

impl Args {
    /// The settings of the configuration file.
    pub(crate) fn below(&self) -> Result<Raw> {
        Raw::from_file(self.config.as_deref())
    }

    /// A model in this process, and perhaps a smaller one beside it with the policy that chooses
    /// between them.
    pub(crate) fn here(model: String, small: Option<(String, Policy)>, engine: RawEngine) -> Self {
        let (small, collab) = small.unzip();
        Self {
            model,
            small,
            collab,
            collab_file: None,
            server: None,
            server_key: None,
            config: None,
            engine,
        }
    }

    /// Whether two models think.
    pub(crate) fn has_small(&self) -> bool {
        self.small.is_some()
    }

    /// Where what is learned of the smaller model is kept, and what is there.
    fn kept(&self) -> Result<Option<(PathBuf, Competences)>> {
        let Some(small) = &self.small else {
            return Ok(None);
        };
        let path = match &self.collab_file {
            Some(path) => path.clone(),
            None => {
                let plain = |c: char| {
                    if c.is_alphanumeric() || "-.".contains(c) {
                        c
                    } else {
                        '_'
                    }
                };
                let pair = format!("{small}--{}.json", self.model);
                let name: String = pair.chars().map(plain).collect();
                agentinfer_models::store_dir()?.join("collab").join(name)
            }
        };
        let known = Competences::read(&path)?;
        Ok(Some((path, known)))
    }
}
