//! What is to be replayed.

use std::path::PathBuf;

use super::peer::Peer;
use super::recording::Trials;
use super::set::Mode;
use crate::BenchError;

/// Guesses in one draft, at most: the depth of ArcticInference's trees, beyond which it has none.
const LONGEST_DRAFT: usize = 64;

/// What to replay, and with whom.
#[derive(Clone, Debug, PartialEq)]
pub struct SamOptions {
    /// The model file whose vocabulary and chat template are used.
    pub model: PathBuf,
    /// Files of transcripts; each is a set.
    pub transcripts: Vec<PathBuf>,
    /// Files or folders of recorded calls; each is a set.
    pub traces: Vec<PathBuf>,
    /// What the corpus holds at the beginning, once per value.
    pub modes: Vec<Mode>,
    /// The most guesses in a draft, once per value.
    pub max_drafts: Vec<usize>,
    /// The threshold of guesses without a peer, and where it begins with one: with which
    /// probability a guess must be reached, above 0 to 1.
    pub least: f32,
    /// How many sessions of each task, once per value: sets of their own.
    pub trials: Vec<Trials>,
    /// Only so many sessions of each set; all if absent.
    pub sessions: Option<usize>,
    /// How many sessions of a transcript take turns.
    pub concurrent: usize,
    /// Who is replayed beside ours; the first one's drafted tokens per step are our budget.
    pub peers: Vec<Peer>,
    /// The Python that has `arctic-inference`; needed for a peer.
    pub peer_python: Option<PathBuf>,
    /// Where a trace of every replay of ours, one row per call, is written; nowhere if absent.
    pub out: Option<PathBuf>,
}

impl SamOptions {
    /// The settings of the published comparisons, with this model and nothing to replay yet.
    pub fn new(model: PathBuf) -> Self {
        Self {
            model,
            transcripts: Vec::new(),
            traces: Vec::new(),
            modes: vec![Mode::Cold, Mode::Warm],
            max_drafts: vec![3, 16, 32],
            least: 0.3,
            trials: vec![Trials::First(1)],
            sessions: None,
            concurrent: 1,
            peers: Vec::new(),
            peer_python: None,
            out: None,
        }
    }

    /// Whether the options make sense.
    ///
    /// # Errors
    /// [`BenchError::Option`] where one does not.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let draft = |most: &usize| (1..=LONGEST_DRAFT).contains(most);
        let complaints = [
            (
                self.transcripts.is_empty() && self.traces.is_empty(),
                "transcripts",
                "name at least one file of --transcripts or --trace",
            ),
            (self.modes.is_empty(), "modes", "name at least one"),
            (
                self.max_drafts.is_empty() || !self.max_drafts.iter().all(draft),
                "max-draft",
                "must be from 1 to 64",
            ),
            (
                !(self.least > 0.0 && self.least <= 1.0),
                "least",
                "must be above 0 and at most 1",
            ),
            (self.trials.is_empty(), "trials", "name at least one"),
            (self.sessions == Some(0), "sessions", "at least 1 is needed"),
            (self.concurrent == 0, "concurrent", "at least 1 is needed"),
            (
                !self.peers.is_empty() && self.peer_python.is_none(),
                "peer",
                "--peer-python must name the Python that has it",
            ),
        ];
        match complaints.into_iter().find(|(wrong, ..)| *wrong) {
            None => Ok(()),
            Some((_, field, message)) => Err(BenchError::Option {
                field,
                message: message.to_owned(),
            }),
        }
    }
}
