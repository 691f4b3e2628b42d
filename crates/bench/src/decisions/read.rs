//! A trace's events, one after the other.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use agentinfer_engine::trace::{TRACE_VERSION, TraceEvent};

use crate::BenchError;

/// Bytes of the longest line that is read; the engine's are far shorter.
const MOST_LINE: u64 = 1 << 20;

/// What a trace says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    /// What was traced.
    pub(super) label: String,
    /// The policy's name.
    pub(super) policy: String,
    /// The model's KV cells.
    pub(super) cells: u32,
    /// Requests that may run at once.
    pub(super) max_running: usize,
}

/// The events of a trace after its header, in order.
///
/// A last line without its end is being written just now, or its writer was stopped; if it is no
/// event, it is left out.
#[derive(Debug)]
pub(super) struct Events {
    path: PathBuf,
    file: BufReader<File>,
    /// The line read last, from 1.
    line: usize,
    text: Vec<u8>,
}

impl Events {
    /// Opens a trace and reads its header.
    ///
    /// # Errors
    /// [`BenchError::Read`] and [`BenchError::Trace`].
    pub(super) fn open(path: &Path) -> Result<(Header, Self), BenchError> {
        let file = File::open(path).map_err(|source| BenchError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut events = Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            line: 0,
            text: Vec::new(),
        };
        let foreign = |message: &str| BenchError::Trace {
            path: path.to_owned(),
            line: 1,
            message: format!(
                "{message}; write a trace with `agentinfer serve --sched-trace FILE` or \
                 `agentinfer bench sched --out DIR`"
            ),
        };
        let first = match events.next().transpose() {
            Err(BenchError::Trace { .. }) => {
                return Err(foreign("the file is no trace of decisions"));
            }
            first => first?,
        };
        match first {
            Some(TraceEvent::Begin {
                version: TRACE_VERSION,
                label,
                policy,
                cells,
                max_running,
            }) => {
                let header = Header {
                    label,
                    policy,
                    cells,
                    max_running,
                };
                Ok((header, events))
            }
            Some(TraceEvent::Begin { version, .. }) => Err(foreign(&format!(
                "the trace has format {version} and this program reads {TRACE_VERSION}"
            ))),
            Some(_) => Err(foreign("the trace does not begin with its `begin` event")),
            None => Err(foreign("the file holds no trace of decisions")),
        }
    }

    /// The next line; whether it is whole.
    fn read_line(&mut self) -> Result<bool, BenchError> {
        self.text.clear();
        self.line += 1;
        let mut limited = (&mut self.file).take(MOST_LINE);
        let read = limited.read_until(b'\n', &mut self.text);
        read.map_err(|source| BenchError::Read {
            path: self.path.clone(),
            source,
        })?;
        Ok(self.text.ends_with(b"\n"))
    }
}

impl Iterator for Events {
    type Item = Result<TraceEvent, BenchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = match self.read_line() {
            Ok(whole) => whole,
            Err(error) => return Some(Err(error)),
        };
        if self.text.is_empty() {
            return None;
        }
        match serde_json::from_slice(&self.text) {
            Ok(event) => Some(Ok(event)),
            Err(_) if !whole && (self.text.len() as u64) < MOST_LINE => None,
            Err(error) => Some(Err(BenchError::Trace {
                path: self.path.clone(),
                line: self.line,
                message: format!(
                    "no event of a trace of decisions: {error}; the lines before it can be read \
                     if it and what follows are cut off"
                ),
            })),
        }
    }
}
