//! What can go wrong with models, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a model could not be found, fetched or accepted. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// The name is not in the catalog and does not look like a path.
    #[error(
        "there is no model called `{name}`; {suggestion}known models: {known} \
         (or give the path of a .gguf file)"
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// A sentence with a close name, or nothing.
        suggestion: String,
        /// All names of the catalog.
        known: String,
    },
    /// The catalog has the model but the store does not.
    #[error("model `{name}` is not installed; get it with `agentinfer models pull {name}`")]
    NotInstalled {
        /// Name of the model.
        name: String,
    },
    /// The store's file does not have the catalog's size or SHA-256.
    #[error(
        "the file of model `{name}` is damaged ({detail}): {path}; \
         replace it with `agentinfer models pull {name}`",
        path = path.display()
    )]
    Damaged {
        /// Name of the model.
        name: String,
        /// The damaged file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The path given as a model does not exist.
    #[error("no such model file: {}; check the path", path.display())]
    MissingFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file is something else than a GGUF model.
    #[error(
        "{path} is not a GGUF model file: {detail}; give a file in GGUF format",
        path = path.display()
    )]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// The file begins as a GGUF model but ends too early or contradicts itself.
    #[error(
        "{path} is a truncated or corrupt GGUF file: {detail}; get the file again",
        path = path.display()
    )]
    CorruptGguf {
        /// The file.
        path: PathBuf,
        /// Where it ends or what it contradicts.
        detail: String,
    },
    /// The file system of the store is full, or too full for the model.
    #[error(
        "not enough disk space in {dir}: {needed} bytes are needed{}; \
         free some space, or set AGENTINFER_HOME to a directory on a larger disk",
        available.map(|n| format!(", {n} are available")).unwrap_or_default(),
        dir = dir.display()
    )]
    DiskFull {
        /// Directory that was being written.
        dir: PathBuf,
        /// Bytes that the pull still had to write there.
        needed: u64,
        /// Bytes that were available, when known.
        available: Option<u64>,
    },
    /// One source could not deliver.
    #[error("{reason}")]
    Source {
        /// What happened and, where there is one, the remedy.
        reason: String,
    },
    /// What a source delivered is not what the catalog promises; it was thrown away.
    #[error("what was fetched is not the model ({detail}); it was thrown away, pull again")]
    Mismatch {
        /// Expected and found size or SHA-256.
        detail: String,
    },
    /// No source delivered the model.
    #[error("could not pull model `{name}`:\n  {}", reasons.join("\n  "))]
    Unavailable {
        /// Name of the model.
        name: String,
        /// One line per source that was tried.
        reasons: Vec<String>,
    },
    /// The chosen source does not carry the model.
    #[error("model `{name}` does not come from source `{choice}`; choose another --source")]
    NotOffered {
        /// Name of the model.
        name: String,
        /// Name of the source.
        choice: String,
    },
    /// There is no directory to keep models in.
    #[error("no home directory is known; set AGENTINFER_HOME to the directory to keep models in")]
    NoHome,
    /// A file operation failed.
    #[error("cannot {action} {path}: {error}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl ModelsError {
    /// For `map_err`: says what failed on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io {
            action,
            path,
            error,
        }
    }
}
