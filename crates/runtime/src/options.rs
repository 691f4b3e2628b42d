//! What a runtime is started with.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use agentinfer_engine::EngineOptions;
use agentinfer_llama::LlamaOptions;

/// The role of a served model: how much it knows and how much it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Fast and weak.
    Small,
    /// Slow and strong.
    Large,
}

impl Tier {
    /// The word that requests use for it in `model`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a tier's model comes from.
#[derive(Clone, Debug)]
pub enum TierSource {
    /// A GGUF file, run by llama.cpp.
    Gguf(PathBuf),
    /// A simulated model: deterministic tokens on a latency curve; for load tests of the stack
    /// without weights.
    Sim,
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
        }
    }
}
