//! Files of recorded sessions: rows of JSON, one a line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::BenchError;

/// A line of a file, for errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    path: &'a Path,
    /// From 1.
    number: usize,
    text: &'a str,
}

impl Line<'_> {
    /// The row that the line holds.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, BenchError> {
        serde_json::from_str(self.text).map_err(|error| self.wrong(error.to_string()))
    }

    /// An error that names the line.
    pub(crate) fn wrong(&self, message: String) -> BenchError {
        BenchError::Trace {
            path: self.path.to_owned(),
            line: self.number,
            message,
        }
    }
}

/// A call with its whole text and one time; other fields are not looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TextCall {
    /// Microseconds.
    pub(crate) timestamp: u64,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) session_id: String,
}

impl TextCall {
    pub(crate) fn read(line: &Line<'_>) -> Result<Self, BenchError> {
        let call: Self = line.parse()?;
        if call.input.is_empty() {
            return Err(line.wrong("input: it is empty".to_owned()));
        }
        Ok(call)
    }
}

/// What a file or a folder is called: its name without extension.
pub(crate) fn name(path: &Path) -> String {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The file itself, or the `.jsonl` files of the folder in order of name.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, BenchError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|source| unreadable(path, source))?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    Ok(files)
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> BenchError {
    BenchError::Read {
        path: path.to_owned(),
        source,
    }
}

/// The lines of a file's content that are not blank.
pub(crate) fn lines<'a>(path: &'a Path, content: &'a str) -> impl Iterator<Item = Line<'a>> {
    let lines = content.lines().enumerate();
    lines
        .filter(|(_, text)| !text.trim().is_empty())
        .map(move |(index, text)| Line {
            path,
            number: index + 1,
            text,
        })
}
