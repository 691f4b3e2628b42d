//! What the engine tells those who want to see why it decided as it did.
//!
//! A trace is a list of [`TraceEvent`]s, in a file one JSON object a line. It begins with
//! [`TraceEvent::Begin`]. Times are seconds on the engine's clock, memory is counted in KV cells.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::{EngineError, SequenceId};

/// The version of the format that is written and read.
pub const TRACE_VERSION: u32 = 1;

/// Candidates that a decision lists, at most; the best are listed. More than anybody reads, and
/// it bounds a line to some ten kilobytes.
pub const MOST_CANDIDATES: usize = 64;

/// Sessions that a sample lists, at most; those that hold most.
pub const MOST_HELD: usize = 64;

/// Events that wait for the disk; more are dropped and counted. Some tens of steps.
const MOST_WAITING: usize = 1024;

/// Bytes after which a file gets no more: about a week of a busy server, and no full disk.
const MOST_BYTES: u64 = 1 << 30;

/// Who is told what the engine does. It is called on the engine's thread, between its steps' long
/// calls, so it should return at once.
pub trait Trace: Send {
    /// Takes note of an event.
    fn record(&mut self, event: TraceEvent);
}

impl<F: FnMut(TraceEvent) + Send> Trace for F {
    fn record(&mut self, event: TraceEvent) {
        self(event);
    }
}

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceEvent {
    /// The engine began, as it is named and with what it has.
    Begin {
        /// [`TRACE_VERSION`].
        version: u32,
        /// What is traced, in words: a model, a workload.
        label: String,
        /// The policy's name.
        policy: String,
        /// The model's KV cells.
        cells: u32,
        /// Requests that may run at once.
        max_running: usize,
    },
    /// A request came.
    Submitted {
        /// When.
        at: f64,
        /// Its number.
        request: u64,
        /// Its session, if it belongs to one.
        session: Option<u64>,
        /// Tokens of its prompt.
        prompt_tokens: u32,
        /// As its client asked for; lower goes earlier.
        priority: i32,
        /// Whether nobody waits for it.
        background: bool,
        /// Who pays for it.
        tenant: u64,
    },
    /// Something was decided.
    Decision(Decision),
    /// A request has its first token.
    FirstToken {
        /// When.
        at: f64,
        /// Its number.
        request: u64,
    },
    /// A request has ended.
    Ended {
        /// When.
        at: f64,
        /// Its number.
        request: u64,
        /// How, in words.
        how: String,
        /// Prompt tokens that needed not be computed when it was first admitted.
        cached_tokens: u32,
        /// Tokens generated.
        generated_tokens: u32,
    },
    /// How things stood.
    State {
        /// When.
        at: f64,
        /// Cells and queues.
        situation: Situation,
        /// The sessions that hold cells, the largest first; at most [`MOST_HELD`].
        held: Vec<Held>,
    },
    /// Events are missing here: the disk was too slow, or the file is full.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// Cells and queues at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Situation {
    /// Cells that nobody holds.
    pub free_cells: u32,
    /// Cells of requests that run.
    pub running_cells: u32,
    /// Cells that only idle sequences hold.
    pub idle_cells: u32,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that run.
    pub running: usize,
    /// The shadow price of memory, where the policy has one. In a sample while requests wait, as
    /// of the last decision about admission.
    pub shadow_price: Option<f64>,
}

/// The cells of a session.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// The session.
    pub session: u64,
    /// Cells of its longest sequence, shared ones included.
    pub cells: u32,
}

/// What was decided, and among whom.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: f64,
    /// What.
    pub action: Action,
    /// Why, in words.
    pub reason: String,
    /// How things stood before.
    pub situation: Situation,
    /// Those among whom was chosen, the first to be chosen first.
    pub candidates: Vec<Scored>,
    /// How many more there were.
    pub unlisted: usize,
}

/// The kinds of decisions.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The waiting request of the highest score was admitted.
    Admitted,
    /// Nobody was; noted when it changes who waits and why only.
    NobodyAdmitted,
    /// The idle sequence of the lowest score was evicted, wholly or its end.
    Evicted,
    /// The running request of the lowest score was preempted.
    Preempted,
    /// A running background request was put back for foreground work.
    GaveWay,
}

/// A candidate of a decision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Scored {
    /// Its score; none if it is held back. Infinite ones are written as the largest number.
    pub score: Option<f64>,
    /// Whether it is the one.
    pub chosen: bool,
    /// Its session, if it belongs to one.
    pub session: Option<u64>,
    /// The policy's reason.
    pub reason: String,
    /// What the score was made from.
    pub facts: Facts,
}

/// What a policy saw of a candidate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Facts {
    /// A request that waits.
    Waiting {
        /// Its number.
        request: u64,
        /// Seconds since it came.
        waiting_seconds: f64,
        /// Seconds since its session came.
        session_age_seconds: f64,
        /// Tokens it must hold before it can decode.
        prompt_tokens: u32,
        /// How many of these are resident.
        resident_tokens: u32,
        /// How many more were evicted and can be copied back.
        restorable_tokens: u32,
        /// How many must be had otherwise.
        missing_tokens: u32,
        /// Cells that must be had to admit it.
        needed_cells: u32,
        /// Whether these can be had without preempting anybody.
        fits: bool,
        /// How often it was preempted.
        preemptions: u32,
        /// As its client asked for; lower goes earlier.
        priority: i32,
        /// Whether nobody waits for it.
        background: bool,
        /// Tokens by which its tenant got more than another.
        tenant_lead_tokens: f64,
        /// Tokens computed for its session.
        attained_tokens: u64,
    },
    /// An idle sequence.
    Idle {
        /// Its number.
        sequence: SequenceId,
        /// Seconds since it was used.
        idle_seconds: f64,
        /// Seconds since its session came.
        session_age_seconds: f64,
        /// Seconds from its session's last call to the next, as far as they can be foreseen.
        expected_gap_seconds: Option<f64>,
        /// Seconds to have again what dropping it would free.
        reload_seconds: f64,
        /// Cells it holds, shared ones included.
        cells: u32,
        /// Cells that dropping it would free.
        freed_cells: u32,
        /// Whether its session has ended.
        ended: bool,
        /// As its session's last request asked for.
        priority: i32,
        /// Whether that was background work.
        background: bool,
    },
    /// A request that runs.
    Running {
        /// Its number.
        request: u64,
        /// Seconds since it came.
        age_seconds: f64,
        /// Seconds since its session came.
        session_age_seconds: f64,
        /// Cells it holds, shared ones included.
        cells: u32,
        /// How often it was preempted.
        preemptions: u32,
        /// As its client asked for; lower goes earlier.
        priority: i32,
        /// Whether nobody waits for it.
        background: bool,
        /// Tokens by which its tenant got more than another.
        tenant_lead_tokens: f64,
        /// Tokens computed for its session.
        attained_tokens: u64,
    },
}

/// A trace in a file, written on a thread of its own: the engine never waits for the disk. What
/// does not fit into the channel between them is dropped and counted in the file. The file is
/// complete once this is dropped.
#[derive(Debug)]
pub struct TraceFile {
    /// None only while it is dropped.
    events: Option<SyncSender<TraceEvent>>,
    writer: Option<JoinHandle<()>>,
    /// Events that were dropped since the last that was taken.
    dropped: u64,
}

impl TraceFile {
    /// A trace in a new file; one that is there already is replaced.
    ///
    /// # Errors
    /// [`EngineError::Trace`] when it cannot be created.
    pub fn create(path: &Path) -> Result<Self, EngineError> {
        let failed = |error: io::Error| EngineError::Trace {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file = File::create(path).map_err(failed)?;
        let (events, receiver) = mpsc::sync_channel(MOST_WAITING);
        let shown = path.display().to_string();
        let writer = std::thread::Builder::new()
            .name("sched-trace".to_owned())
            .spawn(move || {
                if let Err(error) = write_all(BufWriter::new(file), &receiver, MOST_BYTES) {
                    tracing::warn!(path = shown, %error, "the trace of decisions broke off");
                }
            })
            .map_err(failed)?;
        Ok(Self {
            events: Some(events),
            writer: Some(writer),
            dropped: 0,
        })
    }
}

impl Trace for TraceFile {
    fn record(&mut self, event: TraceEvent) {
        let Some(events) = &self.events else { return };
        if self.dropped > 0 {
            let count = self.dropped;
            if events.try_send(TraceEvent::Dropped { count }).is_err() {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if events.try_send(event).is_err() {
            self.dropped += 1;
        }
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        if let (Some(events), true) = (&self.events, self.dropped > 0) {
            let count = self.dropped;
            // The writer is gone when this fails, and has said why.
            let _ = events.send(TraceEvent::Dropped { count });
        }
        self.events = None;
        if let Some(writer) = self.writer.take() {
            // It catches no panic: there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

/// Writes an event as a line.
///
/// # Errors
/// Those of the writer.
pub fn write_event(writer: &mut impl Write, event: &TraceEvent) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, event)?;
    writer.write_all(b"\n")
}

/// Writes what comes until nothing more can, or `most` bytes are written; the rest is counted.
fn write_all(file: BufWriter<File>, events: &Receiver<TraceEvent>, most: u64) -> io::Result<()> {
    let mut file = Counted { file, bytes: 0 };
    let mut dropped = 0;
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => break,
            // Nothing to do: whoever reads the file meanwhile shall find all of it.
            Err(TryRecvError::Empty) => {
                file.flush()?;
                match events.recv() {
                    Ok(event) => event,
                    Err(_) => break,
                }
            }
        };
        if file.bytes < most {
            write_event(&mut file, &event)?;
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        write_event(&mut file, &TraceEvent::Dropped { count: dropped })?;
    }
    file.flush()
}

/// A file that knows how much was written.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_token(request: u64) -> TraceEvent {
        TraceEvent::FirstToken {
            at: request as f64,
            request,
        }
    }

    fn read(path: &Path) -> Vec<TraceEvent> {
        let text = std::fs::read_to_string(path).expect("was written");
        let line = |line| serde_json::from_str(line).expect("an event");
        text.lines().map(line).collect()
    }

    #[test]
    fn what_is_recorded_is_in_the_file_or_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.jsonl");
        let mut trace = TraceFile::create(&path).expect("creates");
        let recorded = 20 * MOST_WAITING as u64;
        for request in 0..recorded {
            trace.record(first_token(request));
        }
        drop(trace);
        let mut last = None;
        let mut accounted = 0;
        for event in read(&path) {
            match event {
                TraceEvent::FirstToken { request, .. } => {
                    assert!(last < Some(request), "in order");
                    last = Some(request);
                    accounted += 1;
                }
                TraceEvent::Dropped { count } => accounted += count,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(accounted, recorded);
    }

    #[test]
    fn a_full_file_gets_no_more_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace.jsonl");
        let (sender, receiver) = mpsc::sync_channel(16);
        for request in 0..16 {
            sender.send(first_token(request)).expect("is read later");
        }
        drop(sender);
        let file = File::create(&path).expect("creates");
        write_all(BufWriter::new(file), &receiver, 100).expect("writes");
        let events = read(&path);
        let written = events.len() as u64 - 1;
        assert!((1..16).contains(&written));
        let count = 16 - written;
        assert_eq!(events.last(), Some(&TraceEvent::Dropped { count }));
    }

    #[test]
    fn a_file_that_cannot_be_created_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = TraceFile::create(&folder.path().join("none/trace.jsonl"));
        assert!(matches!(error, Err(EngineError::Trace { .. })), "{error:?}");
    }
}
