//! Chunks as files, on a thread of its own: the engine never waits for a disk.
//!
//! A file is written under another name and renamed when it is complete, and ends with a hash of
//! its content. So whatever kills the process, a chunk is there or it is not.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use fs4::fs_std::FileExt;
use sha2::{Digest, Sha256};

use super::key::{CHUNK_TOKENS, Key};
use crate::{EngineError, Token};

/// Orders that wait for the disk. Each write holds a chunk of about a megabyte in memory; what
/// does not fit is not written.
const MOST_ORDERS: usize = 256;

/// How long a new process waits for one that is just ending, and how often it looks.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What a file begins with: a mark, and the version of this format.
const MAGIC: &[u8; 8] = b"AIKVCEL\x01";

/// Bytes of a file that are not tokens or cells: mark, model, parent, two lengths, hash.
const OVERHEAD: u64 = 8 + 32 + 16 + 4 + 8 + 32;

/// The largest content of a file: far more than the cells of a chunk of any model take.
const MOST_BYTES: u64 = 1 << 30;

/// What the disk is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Write {
        key: Key,
        parent: Key,
        tokens: Box<[Token]>,
        data: Arc<[u8]>,
    },
    Read(Key),
    Delete(Key),
}

/// What the disk has done.
#[derive(Debug)]
pub(crate) enum Report {
    /// Whether a chunk was written.
    Written(Key, bool),
    /// A chunk's cells; none if it cannot be read.
    Loaded(Key, Option<Arc<[u8]>>),
}

/// A chunk that an earlier process has left.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) parent: Key,
    pub(crate) tokens: Box<[Token]>,
    pub(crate) bytes: u64,
}

/// The thread that reads and writes. Dropping it waits until what was ordered is done.
#[derive(Debug)]
pub(crate) struct Disk {
    limit: u64,
    orders: Option<SyncSender<Order>>,
    reports: Receiver<Report>,
    thread: Option<JoinHandle<()>>,
    /// Whether orders wait for their turn when too many wait already.
    pub(crate) waits: bool,
}

impl Disk {
    /// Opens the chunks of a model in `folder`, which is created if it is missing, and lists those
    /// of earlier processes, the least recently written first. `model` is anything that tells
    /// models, and versions of what computes them, apart.
    ///
    /// # Errors
    /// [`EngineError::Offload`] when the folder cannot be used, or another process uses it.
    pub(crate) fn open(
        folder: &Path,
        limit: u64,
        model: &str,
    ) -> Result<(Self, Vec<Listed>), EngineError> {
        let refuse = |message: String| EngineError::Offload {
            folder: folder.to_owned(),
            message,
        };
        let model: [u8; 32] = Sha256::digest(model).into();
        let name: String = model[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let home = folder.join(name);
        fs::create_dir_all(&home).map_err(|error| refuse(error.to_string()))?;
        let lock = File::create(home.join("lock")).map_err(|error| refuse(error.to_string()))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while !FileExt::try_lock_exclusive(&lock).map_err(|error| refuse(error.to_string()))? {
            if Instant::now() > deadline {
                return Err(refuse("another server uses it; name another".to_owned()));
            }
            std::thread::sleep(LOCK_POLL);
        }
        let (orders, received) = mpsc::sync_channel(MOST_ORDERS);
        // Every order is reported on at most once, so orders bound the reports too.
        let (report, reports) = mpsc::channel();
        let files = Files {
            home,
            model,
            full: false,
        };
        let listed = files.list();
        let thread = std::thread::Builder::new()
            .name("kv-disk".to_owned())
            .spawn(move || {
                let _lock = lock;
                files.serve(&received, &report);
            })
            .map_err(|error| refuse(error.to_string()))?;
        let disk = Self {
            limit,
            orders: Some(orders),
            reports,
            thread: Some(thread),
            waits: false,
        };
        Ok((disk, listed))
    }

    /// Bytes that may lie on the disk.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Orders something, without waiting unless told to. Returns whether it will be done.
    pub(crate) fn order(&self, order: Order) -> bool {
        let Some(orders) = &self.orders else {
            return false;
        };
        if self.waits {
            orders.send(order).is_ok()
        } else {
            orders.try_send(order).is_ok()
        }
    }

    /// Waits for what is done next; none if the thread has ended.
    pub(crate) fn wait(&self) -> Option<Report> {
        self.reports.recv().ok()
    }

    /// What has been done since the last call, one at a time.
    pub(crate) fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The thread ends when it has served what was ordered.
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps KV cells on disk has failed");
        }
    }
}

/// The files of one model.
struct Files {
    home: PathBuf,
    model: [u8; 32],
    /// Whether the last write failed; told once.
    full: bool,
}

impl Files {
    fn serve(mut self, orders: &Receiver<Order>, reports: &Sender<Report>) {
        for order in orders {
            let report = match order {
                Order::Write {
                    key,
                    parent,
                    tokens,
                    data,
                } => Report::Written(key, self.write(key, parent, &tokens, &data)),
                Order::Read(key) => Report::Loaded(key, self.read(key)),
                Order::Delete(key) => {
                    // Who deletes a file that is gone has what he wants.
                    let _ = fs::remove_file(self.path(key));
                    continue;
                }
            };
            // The engine may be gone already; then nobody reads the reports.
            let _ = reports.send(report);
        }
    }

    fn path(&self, key: Key) -> PathBuf {
        self.home.join(format!("{key}.kv"))
    }

    /// Everything before the cells.
    fn head(&self, parent: Key, tokens: &[Token], bytes: u64) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend(self.model);
        head.extend(parent.0);
        head.extend((tokens.len() as u32).to_le_bytes());
        head.extend(bytes.to_le_bytes());
        for token in tokens {
            head.extend(token.to_le_bytes());
        }
        head
    }

    fn write(&mut self, key: Key, parent: Key, tokens: &[Token], data: &[u8]) -> bool {
        let partial = self.home.join(format!("{key}.part"));
        let written = (|| -> io::Result<()> {
            let mut file = File::create(&partial)?;
            let head = self.head(parent, tokens, data.len() as u64);
            let hash = Sha256::new().chain_update(&head).chain_update(data);
            for part in [&head[..], data, &hash.finalize()] {
                file.write_all(part)?;
            }
            fs::rename(&partial, self.path(key))
        })();
        if let Err(error) = &written {
            if !self.full {
                tracing::warn!(%error, folder = %self.home.display(), "KV cells are not written");
            }
            let _ = fs::remove_file(&partial);
        }
        self.full = written.is_err();
        written.is_ok()
    }

    fn read(&self, key: Key) -> Option<Arc<[u8]>> {
        let path = self.path(key);
        let read = fs::read(&path).map_err(|error| error.to_string());
        let content = read.and_then(|content| match self.cells(key, &content) {
            Some(cells) => Ok(cells.into()),
            None => Err("it is damaged".to_owned()),
        });
        if let Err(reason) = &content {
            tracing::warn!(file = %path.display(), reason, "KV cells on disk are not used");
        }
        content.ok()
    }

    /// The cells in a file's content, if it is what its name says.
    fn cells<'a>(&self, key: Key, content: &'a [u8]) -> Option<&'a [u8]> {
        let (signed, hash) = content.split_last_chunk::<32>()?;
        if Sha256::digest(signed)[..] != hash[..] {
            return None;
        }
        let mut rest = signed;
        let listed = self.parse(&mut rest, content.len() as u64)?;
        (listed.parent.then(&listed.tokens) == key).then_some(rest)
    }

    /// Reads the head of a file of so many bytes.
    fn parse(&self, file: &mut impl Read, length: u64) -> Option<Listed> {
        let mut fixed = [0; 8 + 32 + 16 + 4 + 8];
        file.read_exact(&mut fixed).ok()?;
        let (magic, rest) = fixed.split_first_chunk::<8>()?;
        let (model, rest) = rest.split_first_chunk::<32>()?;
        let (parent, rest) = rest.split_first_chunk::<16>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, _) = rest.split_first_chunk::<8>()?;
        let (count, bytes) = (u32::from_le_bytes(*count), u64::from_le_bytes(*bytes));
        let known = magic == MAGIC && *model == self.model;
        let sensible = (1..=CHUNK_TOKENS as u32).contains(&count) && bytes <= MOST_BYTES;
        if !known || !sensible || length != OVERHEAD + 4 * u64::from(count) + bytes {
            return None;
        }
        let mut tokens = vec![0; 4 * count as usize];
        file.read_exact(&mut tokens).ok()?;
        let (tokens, _) = tokens.as_chunks::<4>();
        Some(Listed {
            parent: Key(*parent),
            tokens: tokens
                .iter()
                .map(|token| Token::from_le_bytes(*token))
                .collect(),
            bytes,
        })
    }

    /// What earlier processes have left. What they left half done is removed.
    fn list(&self) -> Vec<Listed> {
        let mut found: Vec<(SystemTime, Listed)> = Vec::new();
        for entry in fs::read_dir(&self.home).into_iter().flatten().flatten() {
            let path = entry.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            let listed = (kind == Some("kv")).then(|| self.look(&path)).flatten();
            match (listed, kind) {
                (Some(listed), _) => found.push(listed),
                (None, Some("kv" | "part")) => {
                    tracing::info!(file = %path.display(), "removing what is no whole file");
                    let _ = fs::remove_file(&path);
                }
                (None, _) => {}
            }
        }
        found.sort_by_key(|(written, _)| *written);
        found.into_iter().map(|(_, listed)| listed).collect()
    }

    fn look(&self, path: &Path) -> Option<(SystemTime, Listed)> {
        let mut file = File::open(path).ok()?;
        let about = file.metadata().ok()?;
        let listed = self.parse(&mut file, about.len())?;
        let name = listed.parent.then(&listed.tokens).to_string();
        let named = path.file_stem().is_some_and(|stem| *stem == *name);
        named.then_some((about.modified().ok()?, listed))
    }
}
