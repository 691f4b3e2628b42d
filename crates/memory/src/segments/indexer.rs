//! The thread that stores and merges.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError};

use agentinfer_sam::{Builder, Corpus, Document, plan};

use super::files::{self, Stored};
use super::{MOST_WAITING, Namespace, Session, Shared};
use crate::MemoryError;

/// Bytes that a token of a segment takes in realistic text, rounded up. Where it takes more, room
/// is made by whole segments.
const BYTES_PER_TOKEN: u64 = 12;

/// The lowest priority that Linux has.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Take in a session.
    Index(Namespace, Session),
    /// Erase sessions, and tell how many there were.
    Erase(Erasure, SyncSender<Result<u64, MemoryError>>),
    /// Tell when everything before is done.
    Tell(SyncSender<()>),
}

/// What is to be erased.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) tenant: u64,
    /// A tokenizer and the keys of sessions; all of the tenant where there are none.
    pub(super) only: Option<(u64, Vec<u64>)>,
}

impl Erasure {
    fn covers(&self, namespace: Namespace) -> bool {
        let only = self.only.as_ref();
        namespace.tenant == self.tenant
            && only.is_none_or(|(tokenizer, _)| namespace.tokenizer == *tokenizer)
    }

    fn holds(&self, key: u64) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|(_, keys)| keys.contains(&key))
    }
}

/// All that is stored, and where.
pub(super) struct Indexer {
    folder: PathBuf,
    most_bytes: u64,
    shared: Arc<Shared>,
    /// Each namespace's segments, newest first.
    stored: BTreeMap<Namespace, Vec<Stored>>,
}

impl Indexer {
    pub(super) fn new(folder: PathBuf, most_bytes: u64, shared: Arc<Shared>) -> Self {
        Self {
            folder,
            most_bytes,
            shared,
            stored: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        lower_priority();
        self.load();
        while let Ok(first) = orders.recv() {
            let mut sessions: BTreeMap<Namespace, Vec<Session>> = BTreeMap::new();
            let more = orders.try_iter().take(MOST_WAITING);
            for order in std::iter::once(first).chain(more) {
                // Who asked may have gone.
                match order {
                    Order::Index(namespace, session) => {
                        sessions.entry(namespace).or_default().push(session);
                    }
                    Order::Erase(what, done) => {
                        self.add_all(&mut sessions);
                        let _ = done.send(self.erase(&what));
                    }
                    Order::Tell(done) => {
                        self.add_all(&mut sessions);
                        let _ = done.send(());
                    }
                }
            }
            self.add_all(&mut sessions);
        }
    }

    fn add_all(&mut self, sessions: &mut BTreeMap<Namespace, Vec<Session>>) {
        for (namespace, sessions) in std::mem::take(sessions) {
            self.add(namespace, &sessions);
        }
    }

    /// Reads what earlier processes have left.
    fn load(&mut self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(namespace) = name.to_str().and_then(Namespace::parse) else {
                continue;
            };
            let (stored, damaged) = files::list(&entry.path());
            self.shared.damaged.fetch_add(damaged, Ordering::Relaxed);
            self.stored.insert(namespace, stored);
            self.publish(namespace);
        }
        self.make_room(None);
    }

    /// Stores sessions, merged with what is to be merged with them.
    fn add(&mut self, namespace: Namespace, sessions: &[Session]) {
        let held = self.stored.entry(namespace).or_default();
        let sizes: Vec<usize> = held.iter().map(|it| it.segment.tokens()).collect();
        let new = sessions.iter().map(|session| session.tokens.len()).sum();
        let most = usize::try_from(self.most_bytes / BYTES_PER_TOKEN).unwrap_or(usize::MAX);
        let merge = plan(&sizes, new, most);
        let merged = &held[..merge.segments];
        let mut builder = Builder::default();
        for stored in merged.iter().rev() {
            if let Err(error) = builder.push_segment(&stored.segment, |_| true) {
                tracing::warn!(file = %stored.path.display(), %error, "sessions are lost");
            }
        }
        let stored = sessions.iter().filter(|session| {
            let pushed = builder.push(Document {
                key: session.key,
                opening: session.opening,
                tokens: &session.tokens,
            });
            pushed.is_ok()
        });
        let indexed = stored.count() as u64;
        let lost = sessions.len() as u64 - indexed;
        self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
        if indexed == 0 {
            return;
        }
        let image = builder.finish(merge.most);
        let last = held.first().map_or(0, |newest| newest.last + 1);
        let first = merged.last().map_or(last, |oldest| oldest.first);
        let home = self.folder.join(namespace.name());
        match files::write(&home, first, last, &image) {
            Ok(stored) => {
                let replaced: Vec<Stored> = held.splice(..merge.segments, [stored]).collect();
                self.shared.indexed.fetch_add(indexed, Ordering::Relaxed);
                self.publish(namespace);
                replaced.iter().for_each(Stored::remove);
                self.make_room(Some(namespace));
            }
            Err(error) => {
                tracing::warn!(folder = %home.display(), %error, "sessions are not stored");
                self.shared.dropped.fetch_add(indexed, Ordering::Relaxed);
            }
        }
    }

    /// Erases sessions and returns how many there were.
    fn erase(&mut self, what: &Erasure) -> Result<u64, MemoryError> {
        let namespaces = self.stored.keys().copied();
        let covered: Vec<Namespace> = namespaces.filter(|it| what.covers(*it)).collect();
        let mut erased = 0;
        for namespace in covered {
            let home = self.folder.join(namespace.name());
            let held = self.stored.remove(&namespace).unwrap_or_default();
            let mut kept = Vec::new();
            let mut failure = None;
            for stored in held {
                match files::without(&home, &stored, |key| what.holds(key)) {
                    Ok((rest, documents)) => {
                        kept.extend(rest);
                        erased += documents;
                    }
                    Err(error) => {
                        failure = Some(error);
                        kept.push(stored);
                    }
                }
            }
            let swept = files::sweep(&home, &kept);
            self.stored.insert(namespace, kept);
            self.publish(namespace);
            let done = failure.map_or(swept, Err);
            done.map_err(|source| MemoryError::Folder {
                folder: home,
                source,
            })?;
        }
        Ok(erased)
    }

    /// Makes what is stored in a namespace its corpus.
    fn publish(&self, namespace: Namespace) {
        let held = self.stored.get(&namespace).into_iter().flatten();
        let segments = held.map(|stored| Arc::clone(&stored.segment)).collect();
        let corpus = Arc::new(Corpus::new(segments));
        let corpora = self.shared.corpora.write();
        let mut corpora = corpora.unwrap_or_else(PoisonError::into_inner);
        let before = corpora.insert(namespace, corpus);
        drop(corpora);
        // Unmapping takes its time too, so it comes last.
        drop(before);
        let all = self.stored.values().flatten();
        let bytes = all.map(Stored::bytes).sum();
        self.shared.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Removes the oldest segments until the rest fits; those of the namespace that was just
    /// written to last.
    fn make_room(&mut self, busy: Option<Namespace>) {
        while self.shared.bytes.load(Ordering::Relaxed) > self.most_bytes {
            let oldest = self.stored.iter().filter_map(|(namespace, held)| {
                let oldest = held.last()?;
                Some((Some(*namespace) == busy, oldest.written, *namespace))
            });
            let Some((_, _, namespace)) = oldest.min() else {
                return;
            };
            let held = self.stored.entry(namespace).or_default();
            let removed = held.pop();
            self.publish(namespace);
            if let Some(removed) = removed {
                removed.remove();
                self.shared.evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Namespace {
    fn name(self) -> String {
        format!("{:016x}-{:016x}", self.tenant, self.tokenizer)
    }

    fn parse(name: &str) -> Option<Self> {
        let (tenant, tokenizer) = name.split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Self {
            tenant: number(tenant)?,
            tokenizer: number(tokenizer)?,
        })
    }
}

/// The engine's steps come first. On Linux a thread has a priority of its own.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "sessions are indexed at normal priority");
    }
}
