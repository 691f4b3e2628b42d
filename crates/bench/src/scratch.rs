//! Folders for what is of no use after a measurement.

use tempfile::TempDir;

use crate::BenchError;

/// A new folder, which goes when it is dropped.
pub(crate) fn folder() -> Result<TempDir, BenchError> {
    tempfile::tempdir().map_err(|source| BenchError::Write {
        path: std::env::temp_dir(),
        source,
    })
}
