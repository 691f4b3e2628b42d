//! ArcticInference's suffix decoding, in a Python of its own, on the same tokens.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::set::{Call, Part};
use crate::BenchError;
use crate::program::{command, tail};

const SCRIPT: &str = include_str!("../../peers/arctic.py");

/// What its documentation recommends, and its default: guesses below this are left out.
const MIN_TOKEN_PROB: f64 = 0.1;

/// Drafts of more tokens than this are worth their factor: with 1, a draft is as long as the match
/// before it, which rarely reaches so far.
const LONG_DRAFT: usize = 16;

/// What ArcticInference drafts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The request's prompt and all earlier responses (its global tree).
    Shared,
    /// The request's prompt only.
    Session,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shared => "arctic",
            Self::Session => "arctic-session",
        })
    }
}

impl FromStr for Peer {
    type Err = String;

    /// # Errors
    /// What may be chosen, when it is something else.
    fn from_str(text: &str) -> Result<Self, String> {
        let peers = [Self::Shared, Self::Session].into_iter();
        let mut named = peers.filter(|peer| peer.to_string() == text);
        named
            .next()
            .ok_or_else(|| "choose arctic or arctic-session".to_owned())
    }
}

/// What it is asked to replay.
#[derive(Serialize)]
struct Job<'a> {
    #[serde(flatten)]
    part: &'a Part,
    max_draft: usize,
    max_spec_factor: f64,
    min_token_prob: f64,
    shared: bool,
}

/// What it measured.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct PeerCounts {
    pub(super) calls: u64,
    pub(super) tokens: u64,
    pub(super) prompt_tokens: u64,
    pub(super) steps: u64,
    pub(super) drafted: u64,
    pub(super) accepted: u64,
    pub(super) draft_ns_p50: f64,
    pub(super) draft_ns_p99: f64,
    pub(super) begin_ns: u64,
    pub(super) extend_ns: u64,
    pub(super) extended_tokens: u64,
    /// Of its global tree; absent without it.
    pub(super) bytes_per_token: Option<f64>,
}

/// The first line that it says.
#[derive(Deserialize)]
struct Hello {
    version: String,
}

/// The running peer. It ends when this is dropped.
pub(super) struct Arctic {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// The package's version.
    pub(super) version: String,
}

impl Arctic {
    /// Starts it in this Python.
    ///
    /// # Errors
    /// [`BenchError::MissingPython`], and [`BenchError::Program`] when it fails, as it does without
    /// the package.
    pub(super) async fn start(python: &Path) -> Result<Self, BenchError> {
        if !python.is_file() {
            return Err(BenchError::MissingPython {
                path: python.to_owned(),
            });
        }
        let mut command = command(python);
        command.args(["-c", SCRIPT]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| failed(error.to_string()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let mut arctic = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            version: String::new(),
        };
        arctic.version = arctic.answer::<Hello>().await?.version;
        Ok(arctic)
    }

    /// Gives it the calls of a set.
    ///
    /// # Errors
    /// [`BenchError::Program`] when it failed meanwhile.
    pub(super) async fn load(&mut self, calls: &[Call]) -> Result<(), BenchError> {
        self.say(&serde_json::json!({ "calls": calls })).await
    }

    /// Replays a part of that set.
    ///
    /// # Errors
    /// As for loading.
    pub(super) async fn replay(
        &mut self,
        peer: Peer,
        part: &Part,
        max_draft: usize,
    ) -> Result<PeerCounts, BenchError> {
        let job = Job {
            part,
            max_draft,
            max_spec_factor: if max_draft > LONG_DRAFT { 2.0 } else { 1.0 },
            min_token_prob: MIN_TOKEN_PROB,
            shared: peer == Peer::Shared,
        };
        self.say(&job).await?;
        self.answer().await
    }

    async fn say(&mut self, message: &impl Serialize) -> Result<(), BenchError> {
        let mut line = serde_json::to_vec(message).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        match self.input.write_all(&line).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.last_words().await),
        }
    }

    async fn answer<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T, BenchError> {
        match self.output.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line)
                .map_err(|error| failed(format!("its answer is not known: {error}"))),
            _ => Err(self.last_words().await),
        }
    }

    /// Why it ended.
    async fn last_words(&mut self) -> BenchError {
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            // What cannot be read is no other failure than the one that is told.
            let _ = errors.read_to_string(&mut said).await;
        }
        failed(tail(&said))
    }
}

fn failed(message: String) -> BenchError {
    BenchError::Program {
        program: Peer::Shared.to_string(),
        message,
    }
}
