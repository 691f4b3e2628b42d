//! A model nobody needs, and a source that has it.

// Each test file uses its own share of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agentinfer_models::{ModelEntry, ModelsError, Source, TierHint};
use sha2::{Digest, Sha256};

/// Bytes that begin as a GGUF file does and repeat nowhere.
pub(crate) fn model_bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    b"GGUF".iter().copied().chain(noise).take(len).collect()
}

/// A catalog entry for exactly `bytes`, called `tiny`.
pub(crate) fn entry(bytes: &[u8]) -> ModelEntry {
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ModelEntry {
        name: "tiny",
        description: "for a test",
        bytes: bytes.len() as u64,
        sha256: digest.leak(),
        tier: TierHint::Test,
        hub: None,
        packages: None,
    }
}

/// A source that has its parts at hand, counts what is fetched and fails where told to.
#[derive(Clone)]
pub(crate) struct Folder {
    name: &'static str,
    parts: Arc<Vec<Vec<u8>>>,
    pub(crate) fetches: Arc<Mutex<Vec<usize>>>,
    pub(crate) fail_at: Arc<AtomicUsize>,
}

impl Folder {
    pub(crate) fn new(parts: Vec<Vec<u8>>) -> Self {
        Self {
            name: "folder",
            parts: Arc::new(parts),
            fetches: Arc::default(),
            fail_at: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }

    pub(crate) fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

impl Source for Folder {
    fn name(&self) -> &str {
        self.name
    }

    fn parts(&self, _entry: &ModelEntry) -> usize {
        self.parts.len()
    }

    fn fetch(
        &self,
        _entry: &ModelEntry,
        index: usize,
        work: &Path,
        on_bytes: &dyn Fn(u64),
    ) -> Result<PathBuf, ModelsError> {
        self.fetches.lock().unwrap().push(index);
        let (bytes, path) = (&self.parts[index], work.join("arriving"));
        let half = &bytes[..bytes.len() / 2];
        let dead = index == self.fail_at.load(Ordering::SeqCst);
        let arrived = if dead { half } else { bytes };
        fs::write(&path, arrived).map_err(|error| ModelsError::Io {
            action: "write",
            path: path.clone(),
            error,
        })?;
        on_bytes(arrived.len() as u64);
        if dead {
            return Err(ModelsError::Source {
                reason: "the line went dead".to_owned(),
            });
        }
        Ok(path)
    }
}

/// A file system in memory that is full at one megabyte; unmounted when dropped.
pub(crate) struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where this user may not mount.
    pub(crate) fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self { dir })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn grow(&self, size: &str) {
        let remount = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &remount])
            .arg(self.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}
