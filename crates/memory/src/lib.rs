//! The persistent store: what outlives a session and makes later ones faster.
//!
//! It has one room so far: [`segments`], the tokens of past sessions, from which AgentSAM drafts.
//! Everything is bounded in bytes, and survives being killed at any point: a file is whole or it is
//! not used.
//!
//! ```
//! use agentinfer_memory::{Namespace, Segments, Session};
//!
//! # let folder = tempfile::tempdir()?;
//! let segments = Segments::open(folder.path(), 1 << 20)?;
//! let namespace = Namespace { tenant: 1, tokenizer: 2 };
//! let session = Session { key: 3, opening: 2, tokens: vec![5, 6, 7, 8] };
//! assert!(segments.index(namespace, session));
//! segments.settle();
//! assert_eq!(segments.corpus(namespace).tokens(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod segments;

pub use segments::{Namespace, Segments, Session, Stats};

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The folder cannot be created, locked or written to.
    #[error("the store in {folder} cannot be used: {source}")]
    Folder {
        /// The store's folder.
        folder: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has the folder.
    #[error("the store in {folder} is used by another process; name another folder")]
    InUse {
        /// The store's folder.
        folder: std::path::PathBuf,
    },
}
