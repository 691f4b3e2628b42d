//! Recorded sessions of agents.

mod agent;
mod lengths;
mod requests;
mod text;
mod timing;

use std::path::Path;

use serde_json::Value;

use super::workload::Session;
use crate::BenchError;
use crate::recorded::{Line, files, lines, name, read};

/// Sessions that were recorded, to be played again.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The file's or folder's name without extension.
    pub name: String,
    /// What was recorded, in order of beginning.
    pub sessions: Vec<Session>,
    /// Calls that failed, or were not counted, when they were recorded; they are left out.
    pub skipped: usize,
}

/// A format of traces.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    /// Requests of lead and sub-agents with times and token counts, as AgentInfer's proxy writes.
    Requests,
    /// Calls with their whole text and one time each.
    Text,
    /// What our own agent writes.
    Agent,
}

impl Trace {
    /// Reads a trace file, or all `.jsonl` files of a folder, with every length times `scale`.
    ///
    /// # Errors
    /// [`BenchError::Read`], and [`BenchError::Trace`] where a file is in none of the formats, a
    /// line is malformed, or there is no call.
    pub fn read(path: &Path, scale: f64) -> Result<Self, BenchError> {
        let mut lengths = lengths::Pool::default();
        let mut sessions = Vec::new();
        for file in files(path)? {
            let content = read(&file)?;
            let lines: Vec<Line<'_>> = lines(&file, &content).collect();
            let Some(first) = lines.first() else { continue };
            match format(first)? {
                Format::Requests => requests::read(&lines, &mut lengths)?,
                Format::Agent => agent::read(&lines, &mut lengths)?,
                Format::Text => sessions.extend(text::read(&lines, scale)?),
            }
        }
        let skipped = lengths.skipped;
        sessions.extend(lengths.sessions(scale));
        if sessions.is_empty() {
            return Err(BenchError::Trace {
                path: path.to_owned(),
                line: 1,
                message: "there is no call of a model in it".to_owned(),
            });
        }
        Ok(Self {
            name: name(path),
            sessions,
            skipped,
        })
    }
}

/// The format that a file's first line is of.
fn format(line: &Line<'_>) -> Result<Format, BenchError> {
    let row: Value = line.parse()?;
    let has = |key: &str| row.get(key).is_some();
    if has("actor_id") && has("started_at") {
        Ok(Format::Requests)
    } else if has("timestamp") && has("input") && has("output") {
        Ok(Format::Text)
    } else if row.get("kind").and_then(Value::as_str) == Some("run") {
        Ok(Format::Agent)
    } else {
        Err(line.wrong(
            "it is no trace of a format that is known: rows of requests (actor_id, started_at, \
             input_tokens, ..), of texts (timestamp, input, output, session_id), or a trace of \
             agentinfer run (its first line is of kind \"run\")"
                .to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests;
