//! The tokens of past sessions as memory-mapped segments, a folder per [`Namespace`].
//!
//! One thread of low priority does all work: it reads what earlier processes have left, takes in
//! finished sessions, merges segments as [`agentinfer_sam::plan`] says, and publishes a new
//! [`Corpus`] for each namespace that changed. Nobody waits for it. Who has a corpus goes on with
//! it, even when its files are gone, until the last one who uses it drops it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use agentinfer_sam::{Corpus, Paused, Token};
use rustc_hash::FxHashMap;

use self::indexer::{Erasure, Indexer, Order};
use crate::{MemoryError, folder};

mod files;
mod indexer;

/// The file that the store's folder is locked by.
const LOCK: &str = "lock";

/// Sessions that wait to be indexed. Each may hold a context of a hundred thousand tokens, together
/// some tens of megabytes; building takes less than a second for all of them.
const MOST_WAITING: usize = 64;

/// What may draft for each other: sessions of one tenant, in tokens of one tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    /// Whose sessions.
    pub tenant: u64,
    /// Tells tokenizers apart.
    pub tokenizer: u64,
}

/// A session that has ended, or paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id. A session that comes again with the same key replaces what was kept of it, as soon
    /// as their segments are merged.
    pub key: u64,
    /// Tokens of its first request, by which it is found for similar sessions.
    pub opening: usize,
    /// All its tokens.
    pub tokens: Vec<Token>,
}

impl From<Paused> for Session {
    fn from(paused: Paused) -> Self {
        Self {
            key: paused.session,
            opening: paused.opening,
            tokens: paused.tokens,
        }
    }
}

/// Counts since the store was opened, and its present size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that are in a corpus now, or were.
    pub indexed: u64,
    /// Sessions that were not taken in because too many waited, or that could not be stored.
    pub dropped: u64,
    /// Files that were damaged and set aside.
    pub damaged: u64,
    /// Files that had to make room.
    pub evicted: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// What the thread and its callers share.
#[derive(Debug, Default)]
struct Shared {
    /// Locked for moments only: to look one up, or to put one in.
    corpora: RwLock<FxHashMap<Namespace, Arc<Corpus>>>,
    indexed: AtomicU64,
    dropped: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
    bytes: AtomicU64,
}

/// The store of segments. Dropping it waits until the sessions taken in are stored.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    shared: Arc<Shared>,
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Segments {
    /// Opens the store in `folder`, which is created if it is missing, and keeps at most
    /// `most_bytes` of segments, of all namespaces together; while one is written, what it replaces
    /// or displaces is still there too. What earlier processes left is read in the background.
    ///
    /// # Errors
    /// [`MemoryError`]: the folder cannot be used, or another process uses it.
    pub fn open(folder: &Path, most_bytes: u64) -> Result<Self, MemoryError> {
        let lock = folder::lock(folder, LOCK)?;
        let shared = Arc::new(Shared::default());
        let (orders, received) = mpsc::sync_channel(MOST_WAITING);
        let indexer = Indexer::new(folder.to_owned(), most_bytes, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("indexer".to_owned())
            .spawn(move || {
                let _lock = lock;
                indexer.run(&received);
            })
            .map_err(|source| MemoryError::Folder {
                folder: folder.to_owned(),
                source,
            })?;
        Ok(Self {
            folder: folder.to_owned(),
            shared,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// What is known in a namespace; an empty corpus until something is.
    pub fn corpus(&self, namespace: Namespace) -> Arc<Corpus> {
        let corpora = self.shared.corpora.read();
        let corpora = corpora.unwrap_or_else(PoisonError::into_inner);
        corpora.get(&namespace).cloned().unwrap_or_default()
    }

    /// Hands over a session, to be stored and found from some time soon on. Never waits; returns
    /// whether it was taken, and counts those that were not.
    pub fn index(&self, namespace: Namespace, session: Session) -> bool {
        let order = Order::Index(namespace, session);
        let orders = self.orders.as_ref();
        let taken = orders.is_some_and(|orders| orders.try_send(order).is_ok());
        if !taken {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Waits until all sessions taken in so far are stored on disk and found.
    pub fn settle(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if let Some(orders) = &self.orders
            && orders.send(Order::Tell(done)).is_ok()
        {
            // It fails when the thread is gone, and then nothing is left to wait for.
            let _ = wait.recv();
        }
    }

    /// Erases the sessions with these keys from a namespace, those included that were taken in
    /// before, and returns how many there were. When this returns none of their tokens are left in
    /// the folder; who has a corpus with them goes on with it.
    ///
    /// # Errors
    /// [`MemoryError::Folder`] or [`MemoryError::Stopped`]; some may be erased then.
    pub fn erase(&self, namespace: Namespace, keys: &[u64]) -> Result<u64, MemoryError> {
        self.order_erasure(Erasure {
            tenant: namespace.tenant,
            only: Some((namespace.tokenizer, keys.to_vec())),
        })
    }

    /// Erases all sessions of a tenant, as [`erase`](Self::erase) does.
    ///
    /// # Errors
    /// Those of [`erase`](Self::erase).
    pub fn erase_tenant(&self, tenant: u64) -> Result<u64, MemoryError> {
        self.order_erasure(Erasure { tenant, only: None })
    }

    fn order_erasure(&self, what: Erasure) -> Result<u64, MemoryError> {
        let (done, wait) = mpsc::sync_channel(1);
        let order = Order::Erase(what, done);
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        match (sent, wait.recv()) {
            (Some(Ok(())), Ok(erased)) => erased,
            _ => Err(MemoryError::Stopped {
                folder: self.folder.clone(),
            }),
        }
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            indexed: read(&self.shared.indexed),
            dropped: read(&self.shared.dropped),
            damaged: read(&self.shared.damaged),
            evicted: read(&self.shared.evicted),
            bytes: read(&self.shared.bytes),
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        // The thread ends when it has stored what waits.
        self.orders = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that indexes sessions has failed");
        }
    }
}
