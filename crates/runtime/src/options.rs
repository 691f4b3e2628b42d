//! What a runtime is started with.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use agentinfer_collab::{AgentOptions, Policy, Tier};
use agentinfer_engine::EngineOptions;
use agentinfer_llama::LlamaOptions;
use agentinfer_memory::StoreLimits;

/// Where a tier's model comes from.
#[derive(Clone, Debug)]
pub enum TierSource {
    /// A GGUF file, run by llama.cpp.
    Gguf(PathBuf),
    /// A simulated model: deterministic tokens on a latency curve; for load tests of the stack
    /// without weights.
    Sim,
    /// Another server that speaks the OpenAI API.
    Remote(RemoteOptions),
}

/// A model that another server runs. Engine, drafts and the rest of [`TierOptions`] are that
/// server's own business.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Its address, up to and including `/v1` (which is added where it is missing).
    pub url: String,
    /// The model, as that server names it.
    pub model: String,
    /// What is sent as `Authorization: Bearer KEY`; nothing if absent. Never logged.
    pub api_key: Option<String>,
    /// How long it is waited for.
    pub timing: RemoteTiming,
}

impl RemoteOptions {
    /// A server that asks for no key, with default waits.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            api_key: None,
            timing: RemoteTiming::default(),
        }
    }
}

impl std::fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("has_api_key", &self.api_key.is_some())
            .field("timing", &self.timing)
            .finish()
    }
}

/// How long another server is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteTiming {
    /// For a connection.
    pub connect: Duration,
    /// For the next piece of an answer, the first included.
    pub silence: Duration,
    /// Before a request is sent again; before the next time, four times as long.
    pub retry: Duration,
    /// For how long it is left alone after three failures in a row. Each time that it then fails
    /// again doubles it, up to 32 times.
    pub pause: Duration,
}

impl Default for RemoteTiming {
    /// A server that is there accepts a connection at once; but on a slow machine a long prompt
    /// takes minutes.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(300),
            retry: Duration::from_millis(250),
            pause: Duration::from_secs(2),
        }
    }
}

/// Where drafts come from, which the model verifies several at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drafts {
    /// Nowhere: plain decoding.
    Off,
    /// Constraints: tokens that they leave no choice about.
    Forced,
    /// These, and what was said before in the same session.
    #[default]
    Session,
    /// These, and what was said in past sessions of the same tenant.
    Full,
}

impl Drafts {
    /// Every source.
    const ALL: [Self; 4] = [Self::Off, Self::Forced, Self::Session, Self::Full];

    /// Its name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Forced => "forced",
            Self::Session => "session",
            Self::Full => "full",
        }
    }
}

impl FromStr for Drafts {
    type Err = String;

    /// # Errors
    /// With the names that there are.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|drafts| drafts.as_str() == text);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("{text:?} is no source of drafts; there are {names}")
        })
    }
}

/// One served model.
#[derive(Clone, Debug)]
pub struct TierOptions {
    /// Its role.
    pub tier: Tier,
    /// The name requests use in `model`.
    pub name: String,
    /// Where it comes from.
    pub source: TierSource,
    /// How llama.cpp runs it; not used by a simulated model.
    pub llama: LlamaOptions,
    /// How its engine batches and queues.
    pub engine: EngineOptions,
    /// Where drafts come from.
    pub drafts: Drafts,
    /// Where KV cells that do not fit into memory are kept; nowhere if absent.
    pub disk: Option<DiskOptions>,
    /// File for a trace of its engine's decisions, replaced if it exists; none if absent.
    pub sched_trace: Option<PathBuf>,
}

/// A place on disk for offloaded KV cells, which the next process finds again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// The folder; created if it is missing. Models keep apart in it.
    pub folder: PathBuf,
    /// Bytes that a model's cells may take.
    pub bytes: u64,
}

impl TierOptions {
    /// A tier with default settings.
    pub fn new(tier: Tier, name: impl Into<String>, source: TierSource) -> Self {
        Self {
            tier,
            name: name.into(),
            source,
            llama: LlamaOptions::default(),
            engine: EngineOptions::default(),
            drafts: Drafts::default(),
            disk: None,
            sched_trace: None,
        }
    }
}

/// Everything a runtime is started with.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// The served models: one or two, of different tiers and names.
    pub tiers: Vec<TierOptions>,
    /// How many sessions' texts and tokens are remembered; the least recently used is forgotten.
    pub max_sessions: usize,
    /// Where what sessions said is kept for drafts of later ones; nowhere if absent.
    pub corpus: Option<CorpusOptions>,
    /// How requests for the model `auto` are divided between two tiers.
    pub collab: CollabOptions,
    /// How long conversations are compressed.
    pub compress: CompressOptions,
    /// Where sessions are kept; nowhere if absent.
    pub memory: Option<MemoryOptions>,
}

/// A place on disk for sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// The folder; created if it is missing.
    pub folder: PathBuf,
    /// How much is kept, and for how long.
    pub limits: StoreLimits,
}

/// Who distils the results of tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distiller {
    /// Code, which picks out of them: at once, and verbatim.
    #[default]
    Extract,
    /// The smallest model served, in the background; code, where what it writes is rejected.
    Model,
}

impl Distiller {
    /// Its name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Model => "model",
        }
    }
}

impl FromStr for Distiller {
    type Err = String;

    /// # Errors
    /// With the names that there are.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::Extract, Self::Model].into_iter();
        let known = all.find(|distiller| distiller.as_str() == text);
        known.ok_or_else(|| format!("{text:?} distils nothing; there are extract, model"))
    }
}

/// How long conversations are compressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompressOptions {
    /// Whether those are whose requests do not say.
    pub enabled: bool,
    /// Who distils the results of their tools.
    pub distiller: Distiller,
    /// From which length on, and which of them.
    pub planner: agentinfer_compress::Options,
}

/// How the model [`AUTO`](crate::AUTO) chooses between two tiers.
#[derive(Clone, Debug, PartialEq)]
pub struct CollabOptions {
    /// Who takes which step.
    pub policy: Policy,
    /// Whether the tier that may be needed next reads the conversation while a client's tools run.
    pub prewarm: bool,
    /// File in which what is known of the small model is kept for the next process; if absent, it
    /// is kept in the store, if there is one. Read at the start if it exists, written by
    /// [`save_competence`](crate::Runtime::save_competence).
    pub file: Option<PathBuf>,
}

impl CollabOptions {
    /// With which probability a step of an API client must be good to stand, unless told otherwise.
    /// The tiers never both take the same step of a client, so there is nothing to learn from, and
    /// a step that no check speaks for or against has 0.5: then the small tier goes on.
    pub const CONFIDENCE: f64 = 0.5;
}

impl Default for CollabOptions {
    fn default() -> Self {
        let agent = AgentOptions {
            confidence: Self::CONFIDENCE,
            ..AgentOptions::default()
        };
        Self {
            policy: Policy::Agent(agent),
            prewarm: true,
            file: None,
        }
    }
}

/// A place on disk for what sessions said, which the next process finds again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusOptions {
    /// The folder; created if it is missing. Tenants and tokenizers keep apart in it.
    pub folder: PathBuf,
    /// Bytes that all of it may take; the oldest sessions make room.
    pub bytes: u64,
}

impl RuntimeOptions {
    /// Sessions remembered unless told otherwise: far more than two cores serve at once, and a
    /// session of 8,192 tokens costs about 60 kB.
    pub const MAX_SESSIONS: usize = 1024;

    /// These tiers with default settings.
    pub fn new(tiers: Vec<TierOptions>) -> Self {
        Self {
            tiers,
            max_sessions: Self::MAX_SESSIONS,
            corpus: None,
            collab: CollabOptions::default(),
            compress: CompressOptions::default(),
            memory: None,
        }
    }
}
