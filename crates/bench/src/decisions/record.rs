//! Traces of replays.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use agentinfer_engine::trace::{Trace, TraceEvent, write_event};

use crate::BenchError;

/// A trace in a file that is written at once: on virtual time nobody waits for the disk.
#[derive(Clone, Debug)]
pub(crate) struct FileTrace {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: BufWriter<File>,
    /// The first that went wrong; nothing is written after it.
    failed: Option<io::Error>,
}

impl FileTrace {
    /// A trace in a new file; one that is there already is replaced.
    pub(crate) fn create(path: PathBuf) -> Result<Self, BenchError> {
        match File::create(&path) {
            Ok(file) => Ok(Self {
                path,
                state: Arc::new(Mutex::new(State {
                    file: BufWriter::new(file),
                    failed: None,
                })),
            }),
            Err(source) => Err(BenchError::Write { path, source }),
        }
    }

    /// One end of it, for the engine.
    pub(crate) fn trace(&self) -> Box<dyn Trace> {
        let state = self.state.clone();
        Box::new(move |event: TraceEvent| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.failed.is_none() {
                state.failed = write_event(&mut state.file, &event).err();
            }
        })
    }

    /// Completes the file and says where it is.
    pub(crate) fn finish(self) -> Result<PathBuf, BenchError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = state.failed.take().or_else(|| state.file.flush().err());
        match failed {
            Some(source) => Err(BenchError::Write {
                path: self.path.clone(),
                source,
            }),
            None => Ok(self.path.clone()),
        }
    }
}

/// A file of `folder` for what `label` names, whatever characters that has.
pub(crate) fn file_name(folder: &Path, label: &str) -> PathBuf {
    let safe = |c: char| c.is_ascii_alphanumeric() || ".-_=".contains(c);
    let name: String = label
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    folder.join(format!("{name}.jsonl"))
}
