//! One namespace's folder.
//!
//! Every segment that is written gets the next number, and its name says which numbers it holds:
//! `FIRST-LAST.segment`, in hexadecimal. A segment that replaces others holds all their numbers, so
//! whatever kills the process between writing it and removing them, the next one sees what is
//! superseded.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use agentinfer_sam::{Builder, Segment};
use bytes::Bytes;
use mmap_io::MemoryMappedFile;

/// Endings of names: a whole segment, one that is being written, one that is damaged.
const WHOLE: &str = "segment";
const PARTIAL: &str = "part";
const DAMAGED: &str = "damaged";

/// A segment and its file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) path: PathBuf,
    /// The numbers that it holds.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) written: SystemTime,
    pub(super) segment: Arc<Segment<Bytes>>,
}

impl Stored {
    pub(super) fn bytes(&self) -> u64 {
        self.segment.bytes().len() as u64
    }

    /// Removes the file; who has mapped it goes on.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a segment cannot be removed");
        }
    }
}

/// A mapped file that nobody changes: it is written under another name, and only ever removed.
struct Mapped {
    map: MemoryMappedFile,
    length: u64,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        let bytes = self.map.as_slice_bytes(0, self.length);
        bytes.unwrap_or_default()
    }
}

/// Writes a segment so that it is there as a whole, after a power failure too, or not at all.
pub(super) fn write(home: &Path, first: u64, last: u64, image: &[u8]) -> io::Result<Stored> {
    fs::create_dir_all(home)?;
    let path = home.join(format!("{first:016x}-{last:016x}.{WHOLE}"));
    let partial = path.with_extension(PARTIAL);
    let written = (|| {
        let mut file = File::create(&partial)?;
        file.write_all(image)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        sync_folder(home)?;
        open(&path)
    })();
    if written.is_err() {
        // It may not even be there; the next process removes what is.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// What earlier processes have left, newest first, and how many damaged files were set aside.
/// Removes what was never whole, what is superseded, and what an earlier process had set aside.
pub(super) fn list(home: &Path) -> (Vec<Stored>, u64) {
    let mut damaged = 0;
    let mut found: Vec<Stored> = Vec::new();
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(WHOLE) => match open_whole(&path) {
                Ok(stored) => found.push(stored),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a segment is set aside");
                    damaged += 1;
                    let _ = fs::rename(&path, path.with_extension(DAMAGED));
                }
            },
            Some(PARTIAL | DAMAGED) => {
                tracing::info!(file = %path.display(), "removing what is no whole segment");
                let _ = fs::remove_file(&path);
            }
            _ => {}
        }
    }
    // Of two that hold a number, the one that holds more replaces the other.
    found.sort_by_key(|stored| (std::cmp::Reverse(stored.last), stored.first));
    let mut newest_first: Vec<Stored> = Vec::new();
    for stored in found {
        match newest_first.last() {
            Some(newer) if stored.last >= newer.first => stored.remove(),
            _ => newest_first.push(stored),
        }
    }
    (newest_first, damaged)
}

/// A segment without the documents whose keys `gone` names, and how many there were; none where
/// nothing else is in it. It takes the old one's name, so that whatever kills the process, one of
/// the two is there.
pub(super) fn without(
    home: &Path,
    stored: &Stored,
    gone: impl Fn(u64) -> bool,
) -> io::Result<(Option<Stored>, u64)> {
    let held = &stored.segment;
    let keys = (0..held.documents()).filter_map(|document| held.key(document));
    let documents = keys.filter(|key| gone(*key)).count() as u64;
    if documents == 0 {
        return Ok((Some(stored.clone()), 0));
    }
    let mut builder = Builder::default();
    let kept = builder.push_segment(held, |key| !gone(key));
    kept.map_err(io::Error::other)?;
    if builder.tokens() == 0 {
        fs::remove_file(&stored.path)?;
        return Ok((None, documents));
    }
    let rest = write(home, stored.first, stored.last, &builder.finish(usize::MAX))?;
    let rest = Stored {
        written: stored.written,
        ..rest
    };
    Ok((Some(rest), documents))
}

/// Removes what lies beside these segments: damaged files, and such as could not be removed before;
/// and the folder, if nothing else is in it.
pub(super) fn sweep(home: &Path, kept: &[Stored]) -> io::Result<()> {
    if !home.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let ours = matches!(ending, Some(WHOLE | PARTIAL | DAMAGED));
        if ours && kept.iter().all(|stored| stored.path != path) {
            fs::remove_file(&path)?;
        }
    }
    sync_folder(home)?;
    if kept.is_empty() {
        // What is not ours keeps its folder.
        let _ = fs::remove_dir(home);
    }
    Ok(())
}

fn open_whole(path: &Path) -> io::Result<Stored> {
    let stored = open(path)?;
    let verified = stored.segment.verify_checksum();
    verified.map_err(io::Error::other)?;
    Ok(stored)
}

fn open(path: &Path) -> io::Result<Stored> {
    let unknown = || io::Error::other("its name is no segment's");
    let name = path.file_stem().and_then(|name| name.to_str());
    let (first, last) = name
        .and_then(|name| name.split_once('-'))
        .ok_or_else(unknown)?;
    let number = |digits| u64::from_str_radix(digits, 16).map_err(io::Error::other);
    let about = fs::metadata(path)?;
    let map = MemoryMappedFile::open_ro(path).map_err(io::Error::other)?;
    let mapped = Mapped {
        map,
        length: about.len(),
    };
    let segment = Segment::open(Bytes::from_owner(mapped)).map_err(io::Error::other)?;
    Ok(Stored {
        path: path.to_owned(),
        first: number(first)?,
        last: number(last)?,
        written: about.modified()?,
        segment: Arc::new(segment),
    })
}

/// Makes a rename in the folder survive a power failure.
fn sync_folder(home: &Path) -> io::Result<()> {
    File::open(home)?.sync_all()
}
