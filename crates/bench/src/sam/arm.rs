//! What of ours is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentinfer_memory::{Namespace, Segments};
use agentinfer_sam::{AgentSam, Drafter, Guess, NoDrafts, Origin, Token};
use tempfile::TempDir;

use crate::BenchError;
use crate::scratch;

/// Bytes of the corpus, at most: more than any recording fills.
const CORPUS_BYTES: u64 = 1 << 30;

/// All sessions of a replay are one tenant's.
const NAMESPACE: Namespace = Namespace {
    tenant: 0,
    tokenizer: 0,
};

/// A drafter with what a server does beside drafting.
pub trait Arm: Drafter {
    /// What is kept of past sessions, if anything is.
    ///
    /// # Errors
    /// [`BenchError::Memory`] when it cannot be opened again.
    fn corpus(&mut self) -> Result<Option<CorpusSize>, BenchError> {
        Ok(None)
    }
}

/// What past sessions take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CorpusSize {
    /// Tokens kept.
    pub tokens: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// How long a new process takes to open them.
    pub open: Duration,
}

impl Arm for NoDrafts {}

/// Makes an arm, given the tokens that end a turn.
pub type Start = fn(&[Token]) -> Result<Box<dyn Arm>, BenchError>;

/// A drafter that takes part, by name.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The arm's name in the report.
    pub name: &'static str,
    /// A new one that knows nothing but which tokens end a turn.
    pub start: Start,
}

impl Contender {
    /// Ours, from the least to the full one.
    pub fn ours() -> Vec<Self> {
        vec![
            Self {
                name: "session",
                start: |ends| Ok(Box::new(AgentSam::new(ends.to_vec()).session_only())),
            },
            Self {
                name: "agentinfer",
                start: |ends| Ok(Box::new(Full::new(ends)?)),
            },
        ]
    }
}

impl Arm for AgentSam {}

/// The drafter with a store of past sessions on disk, as a server has it.
struct Full {
    sam: AgentSam,
    /// None only while it is opened again.
    segments: Option<Segments>,
    folder: TempDir,
}

impl Full {
    fn new(ends: &[Token]) -> Result<Self, BenchError> {
        let folder = scratch::folder()?;
        Ok(Self {
            sam: AgentSam::new(ends.to_vec()),
            segments: Some(Segments::open(folder.path(), CORPUS_BYTES)?),
            folder,
        })
    }
}

impl Arm for Full {
    fn corpus(&mut self) -> Result<Option<CorpusSize>, BenchError> {
        // The lock is free, and the cache of the file system warm, as after a server's restart.
        self.segments = None;
        let begin = Instant::now();
        let segments = Segments::open(self.folder.path(), CORPUS_BYTES)?;
        segments.settle();
        let open = begin.elapsed();
        let corpus: Arc<_> = segments.corpus(NAMESPACE);
        let bytes = segments.stats().bytes;
        self.segments = Some(segments);
        Ok(Some(CorpusSize {
            tokens: corpus.tokens() as u64,
            bytes,
            open,
        }))
    }
}

impl Drafter for Full {
    fn begin(&mut self, id: u64, origin: Origin, prompt: &[Token]) {
        self.sam.begin(id, origin, prompt);
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        self.sam.extend(id, tokens);
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        self.sam.propose(id, limit, least, draft);
    }

    fn finish(&mut self, id: u64) {
        self.sam.finish(id);
    }
    fn end_session(&mut self, origin: Origin) {
        let Some(segments) = &self.segments else {
            return;
        };
        self.sam.end_session(origin);
        for paused in self.sam.take_paused() {
            segments.index(NAMESPACE, paused.into());
        }
        segments.settle();
        let corpus = segments.corpus(NAMESPACE);
        self.sam.set_corpus(NAMESPACE.tenant, corpus);
    }
}
