//! From what was said to what is done.
//!
//! [`Raw`] is what one place says: the command line with the environment (clap merges the two), or
//! the configuration file. Both fill the same types, so a setting has one name and one
//! description everywhere. [`Raw::or`] lays one over the other, and [`Raw::validate`] turns the
//! outcome once into a [`Config`], which is complete, checked and never changes.

mod compress;
mod memory;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentinfer_runtime::{
    CollabOptions, CompressOptions, CorpusOptions, DiskOptions, Drafts, MemoryOptions,
    RemoteOptions, Tier, TierOptions, TierSource,
};
use agentinfer_server::ServerOptions;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde::Deserialize;

use self::compress::RawCompress;
pub(crate) use self::memory::RawMemory;

/// The model that serves when none is named.
const DEFAULT_MODEL: &str = "qwen2.5-coder-1.5b";

/// llama.cpp's own bound on sequences, less the one through which cells are copied.
const MAX_SEQUENCES: u32 = 255;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// MiB on disk unless told otherwise: some hundred sessions of ten thousand tokens.
const DISK_MIB: u64 = 16_384;

/// MiB of what models said unless told otherwise: twenty million tokens, which no user's agents
/// say in a year.
const CORPUS_MIB: u64 = 256;

/// The file in the corpus folder that keeps what is known of the small model.
const COMPETENCE_FILE: &str = "competence.json";

/// Sequences per running request: what does not run keeps idle prefixes resident.
const SEQUENCES_PER_RUNNING: u32 = 4;

/// Everything that can be configured, as one place says it.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    #[command(flatten)]
    pub(crate) models: RawModels,
    #[command(flatten)]
    pub(crate) server: RawServer,
    #[command(flatten)]
    pub(crate) engine: RawEngine,
    #[command(flatten)]
    pub(crate) collab: RawCollab,
    #[command(flatten)]
    pub(crate) compress: RawCompress,
    #[command(flatten)]
    pub(crate) memory: RawMemory,
}

/// `[models]`: which model serves which tier.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawModels {
    /// Model of the small tier: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, env = "AGENTINFER_SMALL", value_name = "NAME|FILE.gguf")]
    pub(crate) small: Option<String>,
    /// Model of the large tier [without either tier: qwen2.5-coder-1.5b].
    #[arg(long, env = "AGENTINFER_LARGE", value_name = "NAME|FILE.gguf")]
    pub(crate) large: Option<String>,
    /// Another server that runs the small tier: its OpenAI-compatible address, as
    /// http://host:8000/v1.
    #[arg(long, env = "AGENTINFER_SMALL_URL", value_name = "URL")]
    pub(crate) small_url: Option<String>,
    /// Model of --small-url, as that server names it.
    #[arg(long, env = "AGENTINFER_SMALL_MODEL", value_name = "NAME")]
    pub(crate) small_model: Option<String>,
    /// Key that --small-url asks for [default: none].
    #[arg(
        long,
        env = "AGENTINFER_SMALL_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) small_key: Option<String>,
    /// Another server that runs the large tier, as --small-url.
    #[arg(long, env = "AGENTINFER_LARGE_URL", value_name = "URL")]
    pub(crate) large_url: Option<String>,
    /// Model of --large-url, as that server names it.
    #[arg(long, env = "AGENTINFER_LARGE_MODEL", value_name = "NAME")]
    pub(crate) large_model: Option<String>,
    /// Key that --large-url asks for [default: none].
    #[arg(
        long,
        env = "AGENTINFER_LARGE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) large_key: Option<String>,
}

/// `[server]`: where it listens and whom it serves.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Server")]
pub(crate) struct RawServer {
    /// Name or address to listen on; 0.0.0.0 for all [default: 127.0.0.1].
    #[arg(long, env = "AGENTINFER_HOST")]
    pub(crate) host: Option<String>,
    /// Port to listen on; 0 takes any free one [default: 8080].
    #[arg(long, env = "AGENTINFER_PORT")]
    pub(crate) port: Option<u16>,
    /// A key that clients must send as `Authorization: Bearer KEY`; may be repeated. The
    /// environment separates several by commas [default: no key is asked for].
    #[arg(
        long = "api-key",
        env = "AGENTINFER_API_KEYS",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) api_keys: Option<Vec<String>>,
    /// Bytes of the largest request body [default: 4 MiB].
    #[arg(long, env = "AGENTINFER_MAX_BODY_BYTES", value_name = "BYTES")]
    pub(crate) max_body_bytes: Option<usize>,
    /// Requests in work at once; more are answered with 429 [default: 256].
    #[arg(long, env = "AGENTINFER_MAX_CONCURRENT_REQUESTS", value_name = "N")]
    pub(crate) max_concurrent_requests: Option<usize>,
    /// Seconds that running requests may take to finish at shutdown [default: 25].
    #[arg(long, env = "AGENTINFER_DRAIN_SECONDS", value_name = "SECONDS")]
    pub(crate) drain_seconds: Option<u64>,
}

/// `[engine]`: what each model may use.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Engine")]
pub(crate) struct RawEngine {
    /// Longest context of one request, in tokens [default: what the model was trained for, at
    /// most --cells].
    #[arg(long, env = "AGENTINFER_CONTEXT", value_name = "TOKENS")]
    pub(crate) context: Option<u32>,
    /// KV cells of each model, one per token, shared by all its requests [default: 16384].
    #[arg(long, env = "AGENTINFER_CELLS", value_name = "N")]
    pub(crate) cells: Option<u32>,
    /// Requests that run at once; more wait [default: 16].
    #[arg(long, env = "AGENTINFER_PARALLEL", value_name = "N")]
    pub(crate) parallel: Option<u32>,
    /// Requests that may wait or run at once; more are refused [default: 256].
    #[arg(long, env = "AGENTINFER_MAX_REQUESTS", value_name = "N")]
    pub(crate) max_requests: Option<usize>,
    /// Who goes first, and whose cells stay: agent (older sessions first, their cells kept while
    /// their tools run; parameters as in agent:patience=4), fcfs (first come), sjf (shortest
    /// prompt), lpm (longest resident prefix), las (least attained service of its session), ttl
    /// (cells pinned for ttl:seconds=10, or by tool for ttl:gaps=2), min_waste, or paper
    /// (AgentSched as published; paper:lambda_max=4:k=4) [default: agent].
    #[arg(long, env = "AGENTINFER_POLICY", value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Where drafts of what comes next come from, which the model verifies several at a time and
    /// which never change what it says: off, forced (tokens that a grammar or JSON schema leaves no
    /// choice about), session (these, and what was said before in the same session), or full
    /// (these, and what was said in past sessions, which --corpus-dir keeps) [default: full with
    /// --corpus-dir, else session].
    #[arg(long, env = "AGENTINFER_SPEC", value_name = "DRAFTS")]
    pub(crate) spec: Option<String>,
    /// How many drafted tokens are verified: adaptive (as many as pay, by what steps of this
    /// machine cost, which takes some two seconds to measure at the start), paper (3 for each
    /// sequence, none in long contexts or large batches: paper:context=32768:batch=8), or
    /// fixed:tokens=3 [default: adaptive].
    #[arg(long, env = "AGENTINFER_SPEC_BUDGET", value_name = "BUDGET")]
    pub(crate) spec_budget: Option<String>,
    /// Folder in which what the models say is kept, as tokens, to draft later sessions of the same
    /// API key [default: none].
    #[arg(long, env = "AGENTINFER_CORPUS_DIR", value_name = "DIR")]
    pub(crate) corpus_dir: Option<PathBuf>,
    /// MiB of that folder, at most; the oldest sessions make room [default: 256].
    #[arg(long, env = "AGENTINFER_CORPUS_MIB", value_name = "MIB")]
    pub(crate) corpus_mib: Option<u64>,
    /// Prefill tokens computed beside others' decoding in one step [default: 128].
    #[arg(long, env = "AGENTINFER_PREFILL_CHUNK", value_name = "TOKENS")]
    pub(crate) prefill_chunk: Option<usize>,
    /// Tokens computed in one forward pass, at most [default: 512].
    #[arg(long, env = "AGENTINFER_BATCH", value_name = "TOKENS")]
    pub(crate) batch: Option<u32>,
    /// Threads that compute [default: one per physical core].
    #[arg(long, env = "AGENTINFER_THREADS", value_name = "N")]
    pub(crate) threads: Option<u32>,
    /// MiB of host memory of each model for KV cells that must make room; they are copied back
    /// instead of computed again. 0 for none [default: 2048].
    #[arg(long, env = "AGENTINFER_OFFLOAD_MIB", value_name = "MIB")]
    pub(crate) offload_mib: Option<u64>,
    /// Folder in which such cells are kept too, also for the next start [default: none].
    #[arg(long, env = "AGENTINFER_OFFLOAD_DIR", value_name = "DIR")]
    pub(crate) offload_dir: Option<PathBuf>,
    /// MiB of each model in that folder, at most [default: 16384].
    #[arg(long, env = "AGENTINFER_OFFLOAD_DISK_MIB", value_name = "MIB")]
    pub(crate) offload_disk_mib: Option<u64>,
    /// File for a trace of every scheduling decision, which `agentinfer sched` reads; replaced at
    /// each start. With two models each has a file of its own: FILE.jsonl becomes FILE.small.jsonl
    /// and FILE.large.jsonl [default: none].
    #[arg(long, env = "AGENTINFER_SCHED_TRACE", value_name = "FILE")]
    pub(crate) sched_trace: Option<PathBuf>,
    /// Layers to offload, in builds with cuda, metal or vulkan [default: all].
    #[arg(long, env = "AGENTINFER_GPU_LAYERS", value_name = "N")]
    pub(crate) gpu_layers: Option<u32>,
    /// Whether weights are held in two layouts, one to decode with and one for prompts, where that
    /// is faster: K-quants on CPUs with AVX-512 VNNI. Takes as much memory again as the file: on or
    /// off [default: on].
    #[arg(long, env = "AGENTINFER_TWO_LAYOUTS", value_name = "on|off")]
    pub(crate) two_layouts: Option<Switch>,
}

/// `[collab]`: how requests for the model `auto` are divided between two tiers.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Collab")]
pub(crate) struct RawCollab {
    /// Which tier answers a request for the model `auto`: agent (the small one until a check that
    /// needs no model speaks against its step; agent:confidence=0.5:burst=1:most=4), paper
    /// (AgentCollab as published, by a model's own progress check; paper:warm_up=2:burst=2),
    /// cumulative (with bursts that grow), always_true, or a control: large_only, small_only,
    /// random:share=0.5 [default: agent:confidence=0.5].
    #[arg(id = "collab", long, env = "AGENTINFER_COLLAB", value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Whether the tier that may be needed next reads the conversation in the background while a
    /// client's tools run: on or off [default: on].
    #[arg(long, env = "AGENTINFER_PREWARM", value_name = "on|off")]
    pub(crate) prewarm: Option<Switch>,
    /// File in which what is known of the small model is kept for the next start [default:
    /// competence.json in --corpus-dir, else the store in --memory-dir, else none].
    #[arg(
        id = "collab_file",
        long = "collab-file",
        env = "AGENTINFER_COLLAB_FILE",
        value_name = "FILE"
    )]
    pub(crate) file: Option<PathBuf>,
}

/// Something that is done or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// What is done: complete and checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The models to serve.
    pub(crate) tiers: Vec<TierOptions>,
    /// Where what they say is kept for drafts of later sessions.
    pub(crate) corpus: Option<CorpusOptions>,
    /// How requests are divided between two of them.
    pub(crate) collab: CollabOptions,
    /// How long conversations are compressed.
    pub(crate) compress: CompressOptions,
    /// Where sessions are kept.
    pub(crate) memory: Option<MemoryOptions>,
    /// How to serve them.
    pub(crate) server: ServerOptions,
}

impl Raw {
    /// What the configuration file says; nothing if none is given.
    pub(crate) fn from_file(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        toml::from_str(&text)
            .with_context(|| format!("the configuration file {} is not valid", path.display()))
    }

    /// This, and what `below` says where this is silent.
    pub(crate) fn or(self, below: Self) -> Self {
        let Self {
            models,
            server,
            engine,
            collab,
            compress,
            memory,
        } = self;
        Self {
            models: RawModels {
                small: models.small.or(below.models.small),
                large: models.large.or(below.models.large),
                small_url: models.small_url.or(below.models.small_url),
                small_model: models.small_model.or(below.models.small_model),
                small_key: models.small_key.or(below.models.small_key),
                large_url: models.large_url.or(below.models.large_url),
                large_model: models.large_model.or(below.models.large_model),
                large_key: models.large_key.or(below.models.large_key),
            },
            server: RawServer {
                host: server.host.or(below.server.host),
                port: server.port.or(below.server.port),
                api_keys: server.api_keys.or(below.server.api_keys),
                max_body_bytes: server.max_body_bytes.or(below.server.max_body_bytes),
                max_concurrent_requests: server
                    .max_concurrent_requests
                    .or(below.server.max_concurrent_requests),
                drain_seconds: server.drain_seconds.or(below.server.drain_seconds),
            },
            engine: RawEngine {
                context: engine.context.or(below.engine.context),
                cells: engine.cells.or(below.engine.cells),
                parallel: engine.parallel.or(below.engine.parallel),
                max_requests: engine.max_requests.or(below.engine.max_requests),
                policy: engine.policy.or(below.engine.policy),
                spec: engine.spec.or(below.engine.spec),
                spec_budget: engine.spec_budget.or(below.engine.spec_budget),
                corpus_dir: engine.corpus_dir.or(below.engine.corpus_dir),
                corpus_mib: engine.corpus_mib.or(below.engine.corpus_mib),
                prefill_chunk: engine.prefill_chunk.or(below.engine.prefill_chunk),
                batch: engine.batch.or(below.engine.batch),
                threads: engine.threads.or(below.engine.threads),
                offload_mib: engine.offload_mib.or(below.engine.offload_mib),
                offload_dir: engine.offload_dir.or(below.engine.offload_dir),
                offload_disk_mib: engine.offload_disk_mib.or(below.engine.offload_disk_mib),
                sched_trace: engine.sched_trace.or(below.engine.sched_trace),
                gpu_layers: engine.gpu_layers.or(below.engine.gpu_layers),
                two_layouts: engine.two_layouts.or(below.engine.two_layouts),
            },
            collab: RawCollab {
                policy: collab.policy.or(below.collab.policy),
                prewarm: collab.prewarm.or(below.collab.prewarm),
                file: collab.file.or(below.collab.file),
            },
            compress: compress.or(below.compress),
            memory: memory.or(below.memory),
        }
    }

    /// Fills in defaults and checks everything, the model files included.
    pub(crate) fn validate(self) -> Result<Config> {
        let server = self.server.validate()?;
        let collab = self.collab.validate(self.engine.corpus_dir.as_deref())?;
        let mut chosen = self.models.validate()?;
        if chosen.is_empty() {
            chosen.push((Tier::Large, Model::Here(DEFAULT_MODEL.to_owned())));
        }
        let several = chosen.len() > 1;
        let tiers = chosen.into_iter().map(|(tier, model)| {
            let mut options = match model {
                Model::Here(model) => self.engine.tier(tier, &model),
                Model::There(remote) => {
                    let name = remote.model.clone();
                    Ok(TierOptions::new(tier, name, TierSource::Remote(remote)))
                }
            }
            .with_context(|| format!("the {tier} model"))?;
            if let Some(path) = options.sched_trace.as_mut().filter(|_| several) {
                *path = of_tier(path, tier);
            }
            Ok(options)
        });
        let tiers = tiers.collect::<Result<_>>()?;
        Ok(Config {
            corpus: self.engine.corpus(),
            collab,
            compress: self.compress.validate()?,
            memory: self.memory.validate(),
            tiers,
            server,
        })
    }
}

/// Who runs a model.
#[derive(Debug)]
enum Model {
    /// This process: a name or a file.
    Here(String),
    /// Another server.
    There(RemoteOptions),
}

impl RawModels {
    /// The model of each tier that has one.
    fn validate(self) -> Result<Vec<(Tier, Model)>> {
        let tiers = [
            (
                Tier::Small,
                [self.small, self.small_url, self.small_model, self.small_key],
            ),
            (
                Tier::Large,
                [self.large, self.large_url, self.large_model, self.large_key],
            ),
        ];
        let mut chosen = Vec::new();
        for (tier, said) in tiers {
            let model = match said {
                [None, None, None, None] => continue,
                [Some(here), None, None, None] => Model::Here(here),
                [None, Some(url), Some(model), api_key] => {
                    ensure!(!model.is_empty(), "{tier}_model: it is empty; name a model");
                    Model::There(RemoteOptions {
                        api_key,
                        ..RemoteOptions::new(url, model)
                    })
                }
                [None, Some(_), None, _] => {
                    bail!("{tier}_url: which of the server's models? Give {tier}_model")
                }
                [None, None, ..] => bail!(
                    "{tier}_model and {tier}_key are of another server's model; give {tier}_url, \
                     or {tier} for a model of this one"
                ),
                [Some(_), ..] => bail!(
                    "{tier}: the {tier} tier is to be run here, and by another server; give \
                     {tier}, or {tier}_url with {tier}_model"
                ),
            };
            chosen.push((tier, model));
        }
        Ok(chosen)
    }
}

impl RawServer {
    fn validate(self) -> Result<ServerOptions> {
        let mut options = ServerOptions::default();
        set(&mut options.host, self.host);
        set(&mut options.port, self.port);
        set(&mut options.api_keys, self.api_keys);
        set(&mut options.max_body_bytes, self.max_body_bytes);
        set(
            &mut options.max_concurrent_requests,
            self.max_concurrent_requests,
        );
        set(
            &mut options.drain_timeout,
            self.drain_seconds.map(Duration::from_secs),
        );
        at_least_one("max_body_bytes", options.max_body_bytes)?;
        at_least_one("max_concurrent_requests", options.max_concurrent_requests)?;
        Ok(options)
    }
}

impl RawCollab {
    fn validate(self, corpus: Option<&Path>) -> Result<CollabOptions> {
        let mut options = CollabOptions::default();
        if let Some(policy) = self.policy {
            let policy = policy.parse();
            options.policy = policy.map_err(|error| anyhow!("collab policy: {error}"))?;
        }
        set(
            &mut options.prewarm,
            self.prewarm.map(|it| it == Switch::On),
        );
        let beside = || corpus.map(|folder| folder.join(COMPETENCE_FILE));
        options.file = self.file.or_else(beside);
        Ok(options)
    }
}

impl RawEngine {
    /// The folder for what models say.
    pub(crate) fn corpus(&self) -> Option<CorpusOptions> {
        let folder = self.corpus_dir.clone()?;
        let bytes = self.corpus_mib.unwrap_or(CORPUS_MIB).saturating_mul(MIB);
        Some(CorpusOptions { folder, bytes })
    }

    /// The options of one tier that serves `model`, a name or a path.
    pub(crate) fn tier(&self, tier: Tier, model: &str) -> Result<TierOptions> {
        let path = agentinfer_models::resolve(model)?;
        let mut options = TierOptions::new(tier, served_name(model), TierSource::Gguf(path));
        let (llama, engine) = (&mut options.llama, &mut options.engine);
        set(&mut llama.cells, self.cells);
        set(&mut llama.batch_tokens, self.batch);
        set(&mut llama.gpu_layers, self.gpu_layers);
        let two_layouts = self.two_layouts.map(|it| it == Switch::On);
        set(&mut llama.two_layouts, two_layouts);
        llama.threads = self.threads.or(llama.threads);
        llama.context_tokens = self.context.or(llama.context_tokens);
        set(&mut engine.max_requests, self.max_requests);
        set(&mut engine.prefill_chunk, self.prefill_chunk);
        set(
            &mut engine.offload_bytes,
            self.offload_mib.map(|mib| mib.saturating_mul(MIB)),
        );
        ensure!(
            self.offload_dir.is_none() || engine.offload_bytes > 0,
            "offload_dir: cells pass through host memory on their way; give offload_mib above 0"
        );
        let disk_mib = self.offload_disk_mib.unwrap_or(DISK_MIB);
        options.disk = self.offload_dir.as_ref().map(|folder| DiskOptions {
            folder: folder.clone(),
            bytes: disk_mib.saturating_mul(MIB),
        });
        if let Some(policy) = &self.policy {
            let policy = policy.parse().map_err(|error| anyhow!("policy: {error}"));
            engine.policy = policy?;
        }
        if let Some(budget) = &self.spec_budget {
            let budget = budget
                .parse()
                .map_err(|error| anyhow!("spec_budget: {error}"));
            engine.speculation = budget?;
        }
        if self.corpus_dir.is_some() {
            options.drafts = Drafts::Full;
        }
        if let Some(drafts) = &self.spec {
            let drafts = drafts.parse().map_err(|error| anyhow!("spec: {error}"));
            options.drafts = drafts?;
        }
        ensure!(
            options.drafts != Drafts::Full || self.corpus_dir.is_some(),
            "spec: full drafts from past sessions; give corpus_dir, the folder to keep them in"
        );
        options.sched_trace.clone_from(&self.sched_trace);
        at_least_one("max_requests", engine.max_requests)?;
        at_least_one("prefill_chunk", engine.prefill_chunk)?;
        if let Some(parallel) = self.parallel {
            ensure!(
                (1..=MAX_SEQUENCES).contains(&parallel),
                "parallel: {parallel} is outside 1 to {MAX_SEQUENCES}"
            );
            engine.max_running = parallel as usize;
            let wanted = (parallel * SEQUENCES_PER_RUNNING).min(MAX_SEQUENCES);
            llama.sequences = llama.sequences.max(wanted);
        }
        if let Some(context) = self.context {
            let cells = llama.cells;
            ensure!(
                context <= cells,
                "context: {context} tokens do not fit into {cells} cells; raise `cells`"
            );
        }
        Ok(options)
    }
}

fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(value) = said {
        *field = value;
    }
}

fn at_least_one(key: &str, value: usize) -> Result<()> {
    ensure!(
        value > 0,
        "{key}: 0 would let nothing through; give 1 or more"
    );
    Ok(())
}

/// A tier's own file beside those of others.
fn of_tier(path: &Path, tier: Tier) -> PathBuf {
    let extension = path.extension().map(|it| it.to_string_lossy());
    path.with_extension(match extension {
        Some(extension) => format!("{tier}.{extension}"),
        None => tier.to_string(),
    })
}

/// What requests call the model: its name, or its file's name without the extension.
fn served_name(model: &str) -> String {
    let path = PathBuf::from(model);
    let is_file = path
        .extension()
        .is_some_and(|it| it.eq_ignore_ascii_case("gguf"))
        || path.components().count() > 1;
    let stem = path.file_stem().filter(|_| is_file);
    stem.map_or_else(
        || model.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use agentinfer_runtime::{Distiller, Drafts};

    use super::*;

    fn parsed(text: &str) -> Raw {
        toml::from_str(text).unwrap()
    }

    /// A file that passes for a model until llama.cpp loads it.
    fn model(dir: &Path) -> String {
        let path = dir.join("empty.gguf");
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend([0; 16]);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    #[test]
    fn the_upper_place_wins_setting_by_setting() {
        let above = parsed("[server]\nport = 1\n[engine]\ncells = 2048\n");
        let below = parsed("[server]\nport = 2\nhost = \"h\"\n[engine]\nthreads = 3\n");
        let raw = above.or(below);
        assert_eq!(
            (raw.server.port, raw.server.host.as_deref()),
            (Some(1), Some("h"))
        );
        assert_eq!(
            (raw.engine.cells, raw.engine.threads),
            (Some(2048), Some(3))
        );
    }

    #[test]
    fn every_setting_of_a_file_reaches_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let mut raw = parsed(
            "[server]\nhost = \"::\"\nport = 9\napi_keys = [\"a\", \"b\"]\nmax_body_bytes = 10\n\
             max_concurrent_requests = 11\ndrain_seconds = 12\n\
             [engine]\ncontext = 100\ncells = 200\nparallel = 32\nmax_requests = 33\n\
             policy = \"paper:k=2\"\nspec = \"off\"\ncorpus_dir = \"said\"\ncorpus_mib = 40\nspec_budget = \"paper:batch=4\"\n\
             prefill_chunk = 34\nbatch = 35\nthreads = 36\n\
             gpu_layers = 37\ntwo_layouts = \"off\"\nsched_trace = \"t.jsonl\"\noffload_mib = 38\noffload_dir = \"kv\"\noffload_disk_mib = 39\n\
             [collab]\npolicy = \"paper:burst=3\"\nprewarm = \"off\"\nfile = \"known.json\"\n\
             [compress]\nenabled = \"on\"\ndistiller = \"model\"\ntrigger = 41\nrecent = 3\n\
             [memory]\ndir = \"kept\"\nmib = 42\ndays = 2\n",
        );
        raw.models.small = Some(model(dir.path()));
        let Config {
            tiers,
            corpus,
            collab,
            compress,
            memory,
            server,
        } = raw.validate().unwrap();
        assert_eq!((server.host.as_str(), server.port), ("::", 9));
        assert_eq!(server.api_keys, ["a", "b"]);
        assert_eq!(
            (server.max_body_bytes, server.max_concurrent_requests),
            (10, 11)
        );
        assert_eq!(server.drain_timeout, Duration::from_secs(12));
        let [tier] = &tiers[..] else {
            panic!("one tier was named")
        };
        assert_eq!((tier.tier, tier.name.as_str()), (Tier::Small, "empty"));
        let (llama, engine) = (&tier.llama, &tier.engine);
        assert_eq!((llama.context_tokens, llama.cells), (Some(100), 200));
        assert_eq!((llama.batch_tokens, llama.threads), (35, Some(36)));
        assert_eq!((llama.gpu_layers, llama.sequences), (37, 128));
        assert!(!llama.two_layouts);
        assert_eq!((engine.max_running, engine.max_requests), (32, 33));
        assert_eq!(engine.prefill_chunk, 34);
        assert_eq!(engine.policy.to_string(), "paper:k=2");
        assert_eq!(tier.drafts, Drafts::Off);
        let corpus = corpus.unwrap();
        assert_eq!(
            (corpus.folder.as_path(), corpus.bytes),
            (Path::new("said"), 40 * MIB)
        );
        assert_eq!(collab.policy.to_string(), "paper:warm_up=2:burst=3");
        let file = Some(PathBuf::from("known.json"));
        assert_eq!((collab.prewarm, collab.file), (false, file));
        assert_eq!(
            (compress.enabled, compress.distiller),
            (true, Distiller::Model)
        );
        let memory = memory.unwrap();
        assert_eq!(memory.folder, Path::new("kept"));
        assert_eq!(
            (memory.limits.bytes, memory.limits.age.as_secs()),
            (42 * MIB, 2 * 86_400)
        );
        let planner = compress.planner;
        assert_eq!((planner.trigger_tokens, planner.recent_results), (41, 3));
        let budget = engine.speculation.to_string();
        assert_eq!(budget, "paper:context=32768:batch=4");
        assert_eq!(tier.sched_trace.as_deref(), Some(Path::new("t.jsonl")));
        assert_eq!(engine.offload_bytes, 38 * MIB);
        let disk = tier.disk.as_ref().unwrap();
        assert_eq!(
            (disk.folder.as_path(), disk.bytes),
            (Path::new("kv"), 39 * MIB)
        );
    }

    #[test]
    fn what_is_known_of_the_small_model_is_kept_with_the_corpus() {
        let dir = tempfile::tempdir().unwrap();
        for (text, file) in [
            ("", None),
            (
                "[engine]\ncorpus_dir = \"said\"",
                Some("said/competence.json"),
            ),
            (
                "[engine]\ncorpus_dir = \"said\"\n[collab]\nfile = \"k\"",
                Some("k"),
            ),
        ] {
            let mut raw = parsed(text);
            raw.models.small = Some(model(dir.path()));
            let collab = raw.validate().unwrap().collab;
            assert_eq!(collab.file, file.map(PathBuf::from));
            assert_eq!(
                collab.policy.to_string(),
                "agent:confidence=0.5:burst=1:most=4"
            );
            assert!(collab.prewarm);
        }
    }

    #[test]
    fn another_server_may_run_a_tier() {
        let raw = parsed(
            "[models]\nlarge_url = \"http://host:8000/v1\"\nlarge_model = \"strong\"\n\
             large_key = \"secret\"\n",
        );
        let tiers = raw.validate().unwrap().tiers;
        let [tier] = &tiers[..] else {
            panic!("only the one that is named: {tiers:?}")
        };
        assert_eq!((tier.tier, tier.name.as_str()), (Tier::Large, "strong"));
        let TierSource::Remote(remote) = &tier.source else {
            panic!("another server runs it: {tier:?}")
        };
        assert_eq!(remote.url, "http://host:8000/v1");
        assert_eq!(remote.model, "strong");
        assert_eq!(remote.api_key.as_deref(), Some("secret"));
        assert!(!format!("{tiers:?}").contains("secret"), "it may be logged");
    }

    #[test]
    fn two_tiers_have_a_trace_each() {
        let dir = tempfile::tempdir().unwrap();
        for (named, small, large) in [
            ("a/t.jsonl", "a/t.small.jsonl", "a/t.large.jsonl"),
            ("t", "t.small", "t.large"),
        ] {
            let mut raw = parsed(&format!("[engine]\nsched_trace = {named:?}\n"));
            raw.models.small = Some(model(dir.path()));
            raw.models.large = Some(model(dir.path()));
            let tiers = raw.validate().unwrap().tiers;
            let traces = tiers.iter().map(|tier| tier.sched_trace.clone().unwrap());
            let expected = [small, large].map(PathBuf::from);
            assert_eq!(traces.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (text, named) in [
            ("[engine]\nparallel = 0", "parallel: 0"),
            ("[engine]\nparallel = 256", "parallel: 256"),
            (
                "[engine]\ncontext = 9\ncells = 8",
                "context: 9 tokens do not fit into 8 cells",
            ),
            ("[engine]\nprefill_chunk = 0", "prefill_chunk: 0"),
            (
                "[engine]\noffload_mib = 0\noffload_dir = \"kv\"",
                "give offload_mib above 0",
            ),
            ("[engine]\nmax_requests = 0", "max_requests: 0"),
            (
                "[engine]\npolicy = \"lifo\"",
                "policy: \"lifo\" is no policy",
            ),
            ("[engine]\nspec = \"on\"", "spec: \"on\" is no source"),
            ("[engine]\nspec = \"full\"", "give corpus_dir"),
            (
                "[collab]\npolicy = \"llm\"",
                "collab policy: \"llm\" is no policy of AgentCollab",
            ),
            (
                "[engine]\nspec_budget = \"fixed:tokens=0\"",
                "spec_budget: tokens: 0 is outside",
            ),
            ("[server]\nmax_body_bytes = 0", "max_body_bytes: 0"),
            (
                "[server]\nmax_concurrent_requests = 0",
                "max_concurrent_requests: 0",
            ),
            (
                "[models]\nlarge_url = \"http://host/v1\"",
                "large_url: which of the server's models?",
            ),
            ("[models]\nlarge_key = \"k\"", "give large_url"),
            (
                "[models]\nlarge = \"a\"\nlarge_url = \"http://host/v1\"\nlarge_model = \"b\"",
                "large: the large tier is to be run here, and by another server",
            ),
            (
                "[models]\nlarge_url = \"http://host/v1\"\nlarge_model = \"\"",
                "large_model: it is empty",
            ),
            (
                "[models]\nlarge = \"none.gguf\"",
                "the large model: no such model file: none.gguf",
            ),
        ] {
            let mut raw = parsed(text);
            raw.models.small = Some(model(dir.path()));
            let error = format!("{:#}", raw.validate().unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_named() {
        for (text, key) in [
            ("[server]\nprot = 1", "prot"),
            ("[engine]\nmax_request = 1", "max_request"),
            ("[sever]\n", "sever"),
            ("[collab]\ncollab = \"paper\"", "collab"),
        ] {
            let error = toml::from_str::<Raw>(text).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
        }
    }

    #[test]
    fn models_are_served_under_short_names() {
        for (model, name) in [
            ("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b"),
            ("/models/Some-1.5B.Q4_K_M.gguf", "Some-1.5B.Q4_K_M"),
            ("some.GGUF", "some"),
            ("dir/blob", "blob"),
        ] {
            assert_eq!(served_name(model), name);
        }
    }
}
