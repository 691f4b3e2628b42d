//! A pull: fetch the parts, put them together, verify, publish.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt;
use sha2::{Digest, Sha256};

use crate::{ModelEntry, ModelsError, Progress, Source, Store};

/// Pulls models into a store from the first source that delivers.
///
/// While a model is being pulled, everything belonging to the pull lies in `NAME.parts` beside the
/// place where its file will appear: finished parts, from which an interrupted pull goes on, and
/// whatever the source itself needs. It is removed once the model is published.
pub struct Puller<'a> {
    store: &'a Store,
    sources: &'a [Box<dyn Source>],
    progress: &'a dyn Progress,
    free_space: FreeSpace,
}

/// Asks how many bytes can still be written below a directory.
type FreeSpace = fn(&Path) -> io::Result<u64>;

impl<'a> Puller<'a> {
    /// A puller that tries `sources` in order.
    pub fn new(
        store: &'a Store,
        sources: &'a [Box<dyn Source>],
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            store,
            sources,
            progress,
            free_space: |dir| fs4::available_space(dir),
        }
    }

    /// Asks `free_space` instead of the file system how much room there is.
    #[must_use]
    pub fn with_free_space(mut self, free_space: FreeSpace) -> Self {
        self.free_space = free_space;
        self
    }

    /// Makes `entry` present and verified in the store and returns its file.
    ///
    /// Waits while another process pulls the same model. May be interrupted at any moment; the
    /// next pull goes on with the parts that were complete.
    ///
    /// # Errors
    /// [`ModelsError::DiskFull`] at once; [`ModelsError::Unavailable`] with every source's reason
    /// when none delivered; [`ModelsError::NotOffered`] when none carries the model;
    /// [`ModelsError::Io`] when the store cannot be written.
    pub fn pull(&self, entry: &ModelEntry) -> Result<PathBuf, ModelsError> {
        let dir = self.store.dir();
        fs::create_dir_all(dir).map_err(ModelsError::io("create the directory", dir))?;
        let _lock = self.lock(entry)?;
        if self.store.verify(entry).is_ok() {
            return Ok(self.store.path(entry));
        }
        let offering: Vec<_> = self
            .sources
            .iter()
            .filter(|source| source.parts(entry) > 0)
            .collect();
        if offering.is_empty() {
            let names: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
            let (name, choice) = (entry.name.to_owned(), names.join(", "));
            return Err(ModelsError::NotOffered { name, choice });
        }
        let mut reasons = Vec::new();
        for source in offering {
            match self.pull_from(source.as_ref(), entry) {
                Ok(path) => return Ok(path),
                Err(error @ ModelsError::DiskFull { .. }) => return Err(error),
                Err(error) => {
                    let reason = format!("{}: {error}", source.name());
                    self.progress
                        .note(&format!("{}: from {reason}", entry.name));
                    reasons.push(reason);
                }
            }
        }
        Err(ModelsError::Unavailable {
            name: entry.name.to_owned(),
            reasons,
        })
    }

    /// Holds the model's lock until the returned file is dropped, or its process dies.
    fn lock(&self, entry: &ModelEntry) -> Result<File, ModelsError> {
        // The lock file stays: to remove it would let a waiter lock a file that is no longer there.
        let path = self.store.dir().join(format!(".{}.lock", entry.name));
        let file = File::create(&path).map_err(ModelsError::io("create the lock", &path))?;
        let locked = |outcome: io::Result<_>| outcome.map_err(ModelsError::io("lock", &path));
        if !locked(FileExt::try_lock_exclusive(&file))? {
            let name = entry.name;
            self.progress.note(&format!(
                "{name}: waiting for another process that is pulling it"
            ));
            locked(FileExt::lock_exclusive(&file).map(|()| true))?;
        }
        Ok(file)
    }

    fn pull_from(&self, source: &dyn Source, entry: &ModelEntry) -> Result<PathBuf, ModelsError> {
        let all = self.store.dir().join(format!("{}.parts", entry.name));
        let work = all.join(source.name());
        fs::create_dir_all(&work).map_err(ModelsError::io("create the directory", &work))?;
        let parts: Vec<_> = (1..=source.parts(entry))
            .map(|number| work.join(format!("{number:03}.part")))
            .collect();
        let needed = needed(entry, &parts) + source.scratch_bytes(entry);
        let outcome = self
            .check_space(needed)
            .and_then(|()| self.fetch(source, entry, &work, &parts))
            .and_then(|()| assemble(&parts, &work))
            .map_err(|error| self.or_disk_full(error, needed))
            .and_then(|whole| self.publish(entry, &whole));
        self.progress.end();
        match outcome {
            Ok(path) => {
                // The model is there; leftovers cost room only, and the next pull removes them.
                let _ = fs::remove_dir_all(&all);
                Ok(path)
            }
            Err(error) => {
                if matches!(error, ModelsError::Mismatch { .. }) {
                    fs::remove_dir_all(&work).map_err(ModelsError::io("remove", &work))?;
                }
                Err(error)
            }
        }
    }

    /// Fetches the parts that are not here yet.
    fn fetch(
        &self,
        source: &dyn Source,
        entry: &ModelEntry,
        work: &Path,
        parts: &[PathBuf],
    ) -> Result<(), ModelsError> {
        let mut done = present(parts);
        self.progress.begin(entry.name, entry.bytes, done);
        for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.exists()) {
            let fetched = source.fetch(entry, index, work, &|bytes| {
                self.progress.advance_to((done + bytes).min(entry.bytes));
            })?;
            publish_file(&fetched, part)?;
            done += size_of(part);
            self.progress.advance_to(done);
            if done > entry.bytes {
                return Err(mismatch("size", entry.bytes, format!("at least {done}")));
            }
        }
        Ok(())
    }

    fn check_space(&self, needed: u64) -> Result<(), ModelsError> {
        let dir = self.store.dir();
        let available = (self.free_space)(dir).map_err(ModelsError::io("examine", dir))?;
        if available < needed {
            let (dir, available) = (dir.to_owned(), Some(available));
            return Err(ModelsError::DiskFull {
                dir,
                needed,
                available,
            });
        }
        Ok(())
    }

    /// Another program may fill the disk after the check: that is the same error.
    fn or_disk_full(&self, error: ModelsError, needed: u64) -> ModelsError {
        let ModelsError::Io { error: cause, .. } = &error else {
            return error;
        };
        if cause.kind() != io::ErrorKind::StorageFull {
            return error;
        }
        // What a full disk reports as free now would only confuse: it changes as we clean up.
        ModelsError::DiskFull {
            dir: self.store.dir().to_owned(),
            needed,
            available: None,
        }
    }

    /// Verifies the whole file and gives it its name in the store.
    fn publish(&self, entry: &ModelEntry, whole: &Path) -> Result<PathBuf, ModelsError> {
        if size_of(whole) != entry.bytes {
            return Err(mismatch("size", entry.bytes, size_of(whole)));
        }
        let found = sha256_of(whole)?;
        if found != entry.sha256 {
            return Err(mismatch("SHA-256", entry.sha256, found));
        }
        let path = self.store.path(entry);
        publish_file(whole, &path)?;
        Ok(path)
    }
}

fn mismatch(what: &str, expected: impl ToString, found: impl ToString) -> ModelsError {
    let (expected, found) = (expected.to_string(), found.to_string());
    ModelsError::Mismatch {
        detail: format!("{what} is {found} instead of {expected}"),
    }
}

/// Bytes of the model that still have to be written: the missing parts and, where there are
/// several, the file they are put together in.
fn needed(entry: &ModelEntry, parts: &[PathBuf]) -> u64 {
    let missing = entry.bytes.saturating_sub(present(parts));
    if parts.len() > 1 {
        missing + entry.bytes
    } else {
        missing
    }
}

fn present(parts: &[PathBuf]) -> u64 {
    parts.iter().map(|part| size_of(part)).sum()
}

fn size_of(path: &Path) -> u64 {
    fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or(0)
}

/// One file of all parts: the part itself where there is only one.
fn assemble(parts: &[PathBuf], work: &Path) -> Result<PathBuf, ModelsError> {
    if let [only] = parts {
        return Ok(only.clone());
    }
    let path = work.join("whole");
    let mut whole = File::create(&path).map_err(ModelsError::io("create", &path))?;
    for part in parts {
        let mut file = File::open(part).map_err(ModelsError::io("open", part))?;
        io::copy(&mut file, &mut whole).map_err(ModelsError::io("write", &path))?;
    }
    whole.flush().map_err(ModelsError::io("write", &path))?;
    Ok(path)
}

/// Flushes `from` to disk, then renames it to `to` in the same file system: after a crash `to` is
/// either absent or whole.
fn publish_file(from: &Path, to: &Path) -> Result<(), ModelsError> {
    File::open(from)
        .and_then(|file| file.sync_all())
        .map_err(ModelsError::io("flush", from))?;
    fs::rename(from, to).map_err(ModelsError::io("rename to", to))?;
    // Only Unix can flush the directory entry, and only Unix needs it.
    if cfg!(unix)
        && let Some(dir) = to.parent()
    {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(ModelsError::io("flush", dir))?;
    }
    Ok(())
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> Result<String, ModelsError> {
    let mut file = File::open(path).map_err(ModelsError::io("open", path))?;
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).map_err(ModelsError::io("read", path))?;
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
