//! A store's folder, in which one process at a time writes.

use std::fs::{self, File};
use std::path::Path;

use fs4::fs_std::FileExt;

use crate::MemoryError;

/// Creates `folder` if it is missing and locks it by the file `name` in it. The lock holds as long
/// as the file is open, so whatever ends the process ends it too.
///
/// # Errors
/// [`MemoryError::Folder`], or [`MemoryError::InUse`] where another process has the lock.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File, MemoryError> {
    let refuse = |source| MemoryError::Folder {
        folder: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(refuse)?;
    let lock = File::create(folder.join(name)).map_err(refuse)?;
    if !FileExt::try_lock_exclusive(&lock).map_err(refuse)? {
        return Err(MemoryError::InUse {
            folder: folder.to_owned(),
        });
    }
    Ok(lock)
}
