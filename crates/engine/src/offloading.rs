//! How cells leave the model for the store, and come back.

use std::collections::VecDeque;
use std::path::Path;

use crate::offload::{CHUNK_TOKENS, Disk, Key, Store};
use crate::prefixes::common_prefix;
use crate::sequence::Sequence;
use crate::stats::{add, set};
use crate::{Engine, EngineError, Model, SequenceId, Token};

/// A piece of a text is not worth a copy if it is shorter than this many tokens.
const LEAST_TOKENS: usize = 8;

/// Tokens copied back in one step that is others' too, at most: copying 1,024 takes about as long
/// as decoding one, so they hardly notice.
const RESTORED_PER_STEP: usize = 1024;

/// Seconds that a request waits for its chunks to be read from disk. After that it computes what
/// has not come: a disk that is this slow, or hangs, is worse than none.
const DISK_PATIENCE: f64 = 10.0;

/// What the store has of a request's prompt.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The names along the prompt; entry `i` is what chunk `i` follows.
    chain: Vec<Key>,
    /// Chunks that are being read from disk.
    awaited: Vec<Key>,
    /// Tokens of the prompt that need not be computed, resident or stored, as last looked up.
    pub(crate) until: usize,
    /// Chunks still to be copied back, in order, each with its first token's position.
    path: VecDeque<(usize, Key)>,
}

impl Stored {
    /// Tokens still to be copied back, in whole chunks.
    pub(crate) fn tokens_to_copy(&self) -> usize {
        self.path.len() * CHUNK_TOKENS
    }

    /// Gives up what is still to be copied back.
    pub(crate) fn copy_nothing(&mut self) {
        self.path.clear();
    }
}

impl<M: Model> Engine<M> {
    /// Keeps offloaded cells on disk too, in at most so many bytes below `folder`, where they are
    /// found again by the next process that serves the same model.
    ///
    /// # Errors
    /// [`EngineError::Offload`] when the folder cannot be used or another process uses it.
    pub fn with_disk(mut self, folder: &Path, bytes: u64) -> Result<Self, EngineError> {
        if let Some(format) = self.model.saved_format() {
            let (disk, listed) = Disk::open(folder, bytes, &format)?;
            let store = Store::new(self.options.offload_bytes);
            self.store = Some(store.with_disk(disk, listed));
        }
        Ok(self)
    }

    /// Looks up what the store has of a new request's prompt, and orders it from disk.
    pub(crate) fn look_up(&mut self, sequence: &mut Sequence) {
        let Some(store) = &mut self.store else { return };
        let useful = &sequence.tokens[..sequence.tokens.len() - 1];
        let resident = self.residency.longest_prefix(useful, &mut sequence.cursor);
        let resident = resident.map_or(0, |(_, tokens)| tokens as usize);
        let stored = &mut sequence.stored;
        stored.chain = Key::chain(useful);
        let reach = reach(store, &stored.chain, useful, resident);
        store.touch(&reach.path);
        stored.until = reach.until;
        if reach.until > resident {
            let path = reach.path.into_iter();
            stored.awaited = path.filter(|key| store.fetch(*key)).collect();
        }
    }

    /// Whether a waiting request's chunks are still being read from disk.
    pub(crate) fn awaits_disk(&self, sequence: &Sequence) -> bool {
        let Some(store) = &self.store else {
            return false;
        };
        let mut awaited = sequence.stored.awaited.iter();
        awaited.any(|key| store.is_loading(*key))
            && self.model.now() - sequence.times.submitted < DISK_PATIENCE
    }

    /// Plans what is to be copied back for a request that was just given its sequence. Returns how
    /// many tokens.
    pub(crate) fn plan_restore(&self, sequence: &mut Sequence) -> usize {
        let (Some(store), Some(slot)) = (&self.store, sequence.slot) else {
            return 0;
        };
        let useful = &sequence.tokens[..sequence.tokens.len() - 1];
        let resident = self.residency.len(slot) as usize;
        let stored = &mut sequence.stored;
        if stored.chain.len() <= resident / CHUNK_TOKENS {
            // It was preempted, and what it generated counts as well now.
            stored.chain = Key::chain(useful);
        }
        let reach = reach(store, &stored.chain, useful, resident);
        stored.until = reach.until;
        stored.path.clear();
        if reach.until - resident >= LEAST_TOKENS {
            let positions = (reach.start..).step_by(CHUNK_TOKENS);
            stored.path.extend(positions.zip(reach.path));
        }
        reach.until - resident
    }

    /// Copies back the next chunks of running request `id`, as far as there is room for them; a
    /// bounded number if others are in this step. Returns whether all are copied, so that the rest
    /// of the prompt can be computed.
    pub(crate) fn restore(&mut self, id: u64, with_others: bool) -> bool {
        let most = match with_others {
            true => RESTORED_PER_STEP,
            false => usize::MAX,
        };
        let mut restored = 0;
        while let Some((start, key)) = self.next_stored(id) {
            if restored >= most || !self.reserve(CHUNK_TOKENS, id) {
                break;
            }
            let copied = self.restore_chunk(id, start, key);
            let request = self.running.iter_mut().find(|other| other.id == id);
            let path = &mut request
                .expect("the needy request is never preempted")
                .stored
                .path;
            match copied {
                Some(_) => drop(path.pop_front()),
                None => path.clear(),
            }
            restored += copied.unwrap_or(0);
        }
        add(&self.stats.restored_tokens, restored as u64);
        self.compaction.restored += restored;
        self.next_stored(id).is_none()
    }

    /// The next chunk to be copied back for running request `id`, and where it begins.
    fn next_stored(&self, id: u64) -> Option<(usize, Key)> {
        let request = self.running.iter().find(|other| other.id == id)?;
        request.stored.path.front().copied()
    }

    /// Copies back one chunk, for which there is room. Returns its tokens; none if it was given up
    /// meanwhile or cannot be used.
    fn restore_chunk(&mut self, id: u64, start: usize, key: Key) -> Option<usize> {
        let index = self.running.iter().position(|other| other.id == id)?;
        let slot = self.running[index].slot?;
        let resident = self.residency.len(slot) as usize;
        debug_assert_eq!(
            start,
            resident - resident % CHUNK_TOKENS,
            "chunks come in order"
        );
        let (tokens, data) = self.store.as_ref()?.data(key)?;
        let tokens = tokens.to_vec();
        self.truncate(slot, start as u32);
        let count = tokens.len() as u32;
        let begin = self.model.now();
        let restored = self.model.restore(slot, start as u32, count, &data);
        let seconds = self.model.now() - begin;
        add(&self.stats.copy_nanoseconds, (seconds * 1e9) as u64);
        if let Err(error) = restored {
            tracing::warn!(%error, "KV cells could not be copied back; computing them");
            if let Some(store) = &mut self.store {
                store.remove(key);
            }
            return None;
        }
        self.costs.observe_copy(count, seconds);
        self.residency.append(slot, &tokens);
        let index = self.running.iter().position(|other| other.id == id)?;
        let said = &self.running[index].tokens;
        let common = common_prefix(&tokens, &said[start..said.len() - 1]);
        self.truncate(slot, (start + common) as u32);
        Some(common)
    }

    /// Copies the cells of an idle sequence into the store, from token `from` on, unless its
    /// session has ended.
    pub(crate) fn offload(&mut self, id: SequenceId, from: u32) {
        let Some(store) = &mut self.store else { return };
        let session = self.residency.session(id);
        let session = session.and_then(|session| self.sessions.get(session));
        if session.is_some_and(|session| session.ended) {
            return;
        }
        let to_disk = !session.is_some_and(|session| session.in_memory);
        let begin = self.model.now();
        let tokens = self.residency.tokens(id);
        let chain = Key::chain(tokens);
        // On disk a tail is of use only with its trunk, which a process that is killed would lose.
        let from = if to_disk && store.has_disk() { 0 } else { from };
        let first = from as usize / CHUNK_TOKENS;
        let mut path = Vec::new();
        let mut saved = 0;
        for (index, part) in tokens.chunks(CHUNK_TOKENS).enumerate().skip(first).rev() {
            let whole = chain.get(index + 1).copied();
            let key = whole.unwrap_or_else(|| chain[index].then(part));
            path.push(key);
            if part.len() < LEAST_TOKENS || store.contains(key) {
                continue;
            }
            let start = (index * CHUNK_TOKENS) as u32;
            match self.model.save(id, start, start + part.len() as u32) {
                Ok(data) => store.insert(chain[index], part, data.into()),
                Err(error) => {
                    tracing::warn!(%error, "KV cells could not be copied out");
                    break;
                }
            }
            saved += part.len();
        }
        path.reverse();
        store.touch(&path);
        if to_disk {
            path.iter().for_each(|key| store.write(*key));
        }
        let seconds = self.model.now() - begin;
        add(&self.stats.offloaded_tokens, saved as u64);
        add(&self.stats.copy_nanoseconds, (seconds * 1e9) as u64);
    }

    /// Copies everything idle to the disk, if there is one, for the next process to find.
    pub(crate) fn offload_all(&mut self) {
        match &mut self.store {
            Some(store) if store.has_disk() => store.wait_for_disk(),
            _ => return,
        }
        let _turn = self.turn();
        let idle: Vec<SequenceId> = self.residency.idle().map(|(id, _)| id).collect();
        for id in idle {
            self.offload(id, 0);
        }
        if let Some(store) = &mut self.store {
            store.settle();
        }
    }

    /// Takes note of what the disk has done.
    pub(crate) fn attend_disk(&mut self) {
        if let Some(store) = &mut self.store {
            store.attend_disk();
            let (host, disk) = store.bytes();
            set(&self.stats.offload_host_bytes, host);
            set(&self.stats.offload_disk_bytes, disk);
        }
    }
}

/// What the store has of a prompt beyond its resident prefix.
struct Reach {
    /// Where the first stored chunk begins: at the last whole chunk that is resident.
    start: usize,
    /// The stored chunks from there on.
    path: Vec<Key>,
    /// Tokens of the prompt that are resident or stored.
    until: usize,
}

/// Looks up the stored chunks that continue the first `resident` tokens of a prompt along `chain`.
fn reach(store: &Store, chain: &[Key], prompt: &[Token], resident: usize) -> Reach {
    let whole = resident / CHUNK_TOKENS;
    let start = whole * CHUNK_TOKENS;
    let (path, more) = store.path(chain[whole], &prompt[start..]);
    Reach {
        start,
        path,
        until: resident.max(start + more),
    }
}
