//! The index of what is kept outside of the model, and what is given up for lack of room.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::disk::{Disk, Listed, Order, Report};
use super::key::{CHUNK_TOKENS, Key};
use crate::Token;
use crate::prefixes::common_prefix;

/// Chunks after the same one that are compared with a prompt which none of them continues
/// exactly: the newest. Behind a system prompt there may be as many as there are sessions.
const MOST_COMPARED: usize = 16;

/// Where a chunk stands on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnDisk {
    No,
    Writing,
    Yes,
}

#[derive(Debug)]
struct Chunk {
    parent: Key,
    tokens: Box<[Token]>,
    bytes: u64,
    /// When it was last used; higher is later.
    stamp: u64,
    data: Option<Arc<[u8]>>,
    disk: OnDisk,
    loading: bool,
}

/// One place with a bound, and what lies there in order of use.
#[derive(Debug, Default)]
struct Level {
    limit: u64,
    bytes: u64,
    order: BTreeMap<u64, Key>,
}

impl Level {
    fn add(&mut self, key: Key, chunk: &Chunk) {
        self.order.insert(chunk.stamp, key);
        self.bytes += chunk.bytes;
    }

    fn remove(&mut self, chunk: &Chunk) {
        if self.order.remove(&chunk.stamp).is_some() {
            self.bytes -= chunk.bytes;
        }
    }

    fn move_to(&mut self, from: u64, to: u64) {
        if let Some(key) = self.order.remove(&from) {
            self.order.insert(to, key);
        }
    }

    /// What was used least recently, while there is too much.
    fn surplus(&self) -> Option<Key> {
        let (_, key) = self.order.first_key_value()?;
        (self.bytes > self.limit).then_some(*key)
    }
}

/// A stored chunk that continues a prompt.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    /// How many of its tokens the prompt has too.
    pub(crate) common: usize,
}

/// KV cells kept outside of the model, in chunks.
///
/// Chunks are given up in order of their last use, and the use of a chunk counts as a later use of
/// those before it: so the tail of a session goes before its trunk, and what sessions share last.
#[derive(Debug)]
pub(crate) struct Store {
    chunks: FxHashMap<Key, Chunk>,
    /// The chunks that follow each chunk, the newest last.
    children: FxHashMap<Key, Vec<Key>>,
    host: Level,
    disk: Level,
    thread: Option<Disk>,
    /// Files to be deleted once the disk takes orders again.
    undeleted: Vec<Key>,
    /// Writes that were ordered and not reported on.
    writing: usize,
    stamp: u64,
}

impl Store {
    /// An empty store of so many bytes in host memory.
    pub(crate) fn new(host_bytes: u64) -> Self {
        let level = |limit| Level {
            limit,
            ..Level::default()
        };
        Self {
            chunks: FxHashMap::default(),
            children: FxHashMap::default(),
            host: level(host_bytes),
            disk: level(0),
            thread: None,
            undeleted: Vec::new(),
            writing: 0,
            stamp: 0,
        }
    }

    /// Adds a disk, and what lies there already, the least recently used first.
    pub(crate) fn with_disk(mut self, thread: Disk, listed: Vec<Listed>) -> Self {
        self.disk.limit = thread.limit();
        self.thread = Some(thread);
        for Listed {
            parent,
            tokens,
            bytes,
        } in listed
        {
            let key = parent.then(&tokens);
            let mut chunk = self.chunk(parent, tokens, bytes);
            chunk.disk = OnDisk::Yes;
            self.disk.add(key, &chunk);
            self.link(key, chunk);
        }
        self.make_room();
        self
    }

    /// Bytes in host memory and on disk.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.host.bytes, self.disk.bytes)
    }

    /// Whether a chunk is here, wherever.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.chunks.contains_key(&key)
    }

    /// Takes a new chunk into memory. Chunks of one sequence are to be inserted from the last to
    /// the first, so that for lack of room the last are given up.
    pub(crate) fn insert(&mut self, parent: Key, tokens: &[Token], data: Arc<[u8]>) {
        let key = parent.then(tokens);
        // A shorter end of the same text is of no use any more.
        let siblings = self.children.get(&parent).into_iter().flatten();
        let superseded: Vec<Key> = siblings
            .filter(|sibling| tokens.starts_with(&self.chunks[*sibling].tokens))
            .copied()
            .collect();
        for sibling in superseded {
            self.remove(sibling);
        }
        let mut chunk = self.chunk(parent, tokens.into(), data.len() as u64);
        chunk.data = Some(data);
        self.host.add(key, &chunk);
        self.link(key, chunk);
        self.make_room();
    }

    /// Orders a chunk that is only in memory to be written, if there is a disk. Chunks of one
    /// sequence are to be written from the first to the last: without those before it a chunk is
    /// of no use.
    pub(crate) fn write(&mut self, key: Key) {
        let (Some(chunk), Some(thread)) = (self.chunks.get_mut(&key), &self.thread) else {
            return;
        };
        let Some(data) = chunk.data.clone().filter(|_| chunk.disk == OnDisk::No) else {
            return;
        };
        let order = Order::Write {
            key,
            parent: chunk.parent,
            tokens: chunk.tokens.clone(),
            data,
        };
        if thread.order(order) {
            chunk.disk = OnDisk::Writing;
            self.writing += 1;
        }
    }

    /// Marks chunks of one sequence, given from the first to the last, as used.
    pub(crate) fn touch(&mut self, path: &[Key]) {
        for key in path.iter().rev() {
            if let Some(chunk) = self.chunks.get_mut(key) {
                self.stamp += 1;
                self.host.move_to(chunk.stamp, self.stamp);
                self.disk.move_to(chunk.stamp, self.stamp);
                chunk.stamp = self.stamp;
            }
        }
    }

    /// The chunk after `parent` that has the most of `rest`, wherever it is.
    pub(crate) fn find(&self, parent: Key, rest: &[Token]) -> Option<Found> {
        if let Some(next) = rest.get(..CHUNK_TOKENS) {
            let key = parent.then(next);
            if self.contains(key) {
                return Some(Found {
                    key,
                    common: CHUNK_TOKENS,
                });
            }
        }
        let newest = self.children.get(&parent)?.iter().rev().take(MOST_COMPARED);
        newest
            .map(|&key| Found {
                key,
                common: common_prefix(&self.chunks[&key].tokens, rest),
            })
            .filter(|found| found.common > 0)
            .max_by_key(|found| found.common)
    }

    /// The stored chunks that continue each other after `parent` along `tokens`, and how many
    /// leading tokens they cover.
    pub(crate) fn path(&self, mut parent: Key, tokens: &[Token]) -> (Vec<Key>, usize) {
        let (mut path, mut covered) = (Vec::new(), 0);
        while let Some(found) = self.find(parent, &tokens[covered..]) {
            path.push(found.key);
            covered += found.common;
            parent = found.key;
            if found.common < CHUNK_TOKENS {
                break;
            }
        }
        (path, covered)
    }

    /// The tokens and the saved cells of a chunk, if it is in host memory.
    pub(crate) fn data(&self, key: Key) -> Option<(&[Token], Arc<[u8]>)> {
        let chunk = self.chunks.get(&key)?;
        Some((&chunk.tokens, chunk.data.clone()?))
    }

    /// Asks the disk for a chunk that is only there. Returns whether it will come.
    pub(crate) fn fetch(&mut self, key: Key) -> bool {
        let Some(chunk) = self.chunks.get_mut(&key) else {
            return false;
        };
        let on_disk_only = chunk.data.is_none() && chunk.disk == OnDisk::Yes;
        if on_disk_only && !chunk.loading {
            let thread = self.thread.as_ref();
            chunk.loading = thread.is_some_and(|thread| thread.order(Order::Read(key)));
        }
        chunk.loading
    }

    /// Whether a chunk is on its way from the disk.
    pub(crate) fn is_loading(&self, key: Key) -> bool {
        self.chunks.get(&key).is_some_and(|chunk| chunk.loading)
    }

    /// Forgets a chunk.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some(chunk) = self.chunks.remove(&key) else {
            return;
        };
        self.host.remove(&chunk);
        self.disk.remove(&chunk);
        if chunk.disk != OnDisk::No {
            self.undeleted.push(key);
        }
        if let Some(siblings) = self.children.get_mut(&chunk.parent) {
            siblings.retain(|sibling| *sibling != key);
            if siblings.is_empty() {
                self.children.remove(&chunk.parent);
            }
        }
    }

    /// Whether chunks can be written to disk.
    pub(crate) fn has_disk(&self) -> bool {
        self.thread.is_some()
    }

    /// From now on waits for the disk rather than leave something unwritten.
    pub(crate) fn wait_for_disk(&mut self) {
        if let Some(thread) = &mut self.thread {
            thread.waits = true;
        }
    }

    /// Takes note of what the disk has done meanwhile, and tells it what to delete.
    pub(crate) fn attend_disk(&mut self) {
        while let Some(report) = self.thread.as_ref().and_then(Disk::report) {
            self.note(report);
        }
        let Some(thread) = &self.thread else { return };
        let taken = |key: &Key| thread.order(Order::Delete(*key));
        let refused = self.undeleted.iter().position(|key| !taken(key));
        let done = refused.unwrap_or(self.undeleted.len());
        self.undeleted.drain(..done);
    }

    /// Waits until everything that was ordered is written, and the disk within its bound.
    pub(crate) fn settle(&mut self) {
        while self.writing > 0 {
            match self.thread.as_ref().and_then(Disk::wait) {
                Some(report) => self.note(report),
                None => break,
            }
        }
        self.attend_disk();
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Written(key, done) => {
                self.writing -= 1;
                self.written(key, done);
            }
            Report::Loaded(key, data) => self.loaded(key, data),
        }
    }

    fn written(&mut self, key: Key, done: bool) {
        let Some(chunk) = self.chunks.get_mut(&key) else {
            return;
        };
        if done {
            chunk.disk = OnDisk::Yes;
            self.disk.add(key, chunk);
            self.make_room();
        } else {
            chunk.disk = OnDisk::No;
            if chunk.data.is_none() {
                self.remove(key);
            }
        }
    }

    fn loaded(&mut self, key: Key, data: Option<Arc<[u8]>>) {
        let Some(chunk) = self.chunks.get_mut(&key) else {
            return;
        };
        chunk.loading = false;
        match data {
            None => self.remove(key),
            Some(data) => {
                chunk.data = Some(data);
                self.host.add(key, chunk);
                self.make_room();
            }
        }
    }

    fn chunk(&mut self, parent: Key, tokens: Box<[Token]>, bytes: u64) -> Chunk {
        self.stamp += 1;
        Chunk {
            parent,
            tokens,
            bytes,
            stamp: self.stamp,
            data: None,
            disk: OnDisk::No,
            loading: false,
        }
    }

    fn link(&mut self, key: Key, chunk: Chunk) {
        self.children.entry(chunk.parent).or_default().push(key);
        self.chunks.insert(key, chunk);
    }

    /// Gives up what was used least recently until every level is within its bound.
    fn make_room(&mut self) {
        while let Some(key) = self.host.surplus() {
            let Some(chunk) = self.chunks.get_mut(&key) else {
                return;
            };
            self.host.remove(chunk);
            chunk.data = None;
            if chunk.disk == OnDisk::No {
                self.remove(key);
            }
        }
        while let Some(key) = self.disk.surplus() {
            let Some(chunk) = self.chunks.get_mut(&key) else {
                return;
            };
            self.disk.remove(chunk);
            chunk.disk = OnDisk::No;
            self.undeleted.push(key);
            if chunk.data.is_none() && !chunk.loading {
                self.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A text over two letters, so that texts often begin alike.
    fn text() -> impl Strategy<Value = Vec<Token>> {
        let head = prop::collection::vec(prop::sample::select(vec![1, 2]), 0..3);
        let tail = prop::collection::vec(1..3u32, 0..40);
        (head, tail).prop_map(|(head, tail)| {
            let whole = head
                .into_iter()
                .flat_map(|letter| vec![letter; CHUNK_TOKENS]);
            whole.chain(tail).collect()
        })
    }

    /// Puts a text in as the engine does, with its tokens in place of cells.
    fn put(store: &mut Store, text: &[Token]) {
        let chain = Key::chain(text);
        let mut path = Vec::new();
        for (index, part) in text.chunks(CHUNK_TOKENS).enumerate().rev() {
            let cells = part.iter().map(|&token| token as u8).collect();
            path.insert(0, chain[index].then(part));
            store.insert(chain[index], part, cells);
        }
        store.touch(&path);
    }

    /// What the store gives back for a text.
    fn get(store: &Store, text: &[Token]) -> Vec<u8> {
        let (path, covered) = store.path(Key::ROOT, text);
        let parts = path.iter().filter_map(|key| store.data(*key));
        let mut cells: Vec<u8> = parts.flat_map(|(_, data)| data.to_vec()).collect();
        cells.truncate(covered);
        cells
    }

    fn check(store: &Store) {
        let bytes: u64 = store.chunks.values().map(|chunk| chunk.bytes).sum();
        assert_eq!(store.host.bytes, bytes);
        assert!(bytes <= store.host.limit);
        assert_eq!(store.host.order.len(), store.chunks.len());
        let linked: usize = store.children.values().map(Vec::len).sum();
        assert_eq!(linked, store.chunks.len());
        for (parent, children) in &store.children {
            assert!(
                children
                    .iter()
                    .all(|child| store.chunks[child].parent == *parent)
            );
        }
    }

    proptest! {
        #[test]
        fn what_comes_back_is_what_was_put_in_and_bounds_hold(
            texts in prop::collection::vec(text(), 1..30),
            asked in text(),
            bytes in 0u64..1000,
        ) {
            let mut store = Store::new(bytes);
            for text in &texts {
                put(&mut store, text);
                check(&store);
            }
            let cells = get(&store, &asked);
            let expected: Vec<u8> = asked.iter().map(|&token| token as u8).collect();
            prop_assert!(expected.starts_with(&cells));
            let mut ample = Store::new(u64::MAX);
            texts.iter().for_each(|text| put(&mut ample, text));
            let longest = texts.iter().map(|text| common_prefix(text, &asked)).max();
            // Of many ends after the same chunk only some are compared.
            let few = texts.len() <= MOST_COMPARED;
            prop_assert!(!few || get(&ample, &asked).len() == longest.unwrap_or(0));
        }
    }

    #[test]
    fn the_tail_of_the_least_recently_used_goes_first() {
        let chunk = CHUNK_TOKENS as u64;
        let mut store = Store::new(5 * chunk);
        let text = |letter: Token| [vec![9; CHUNK_TOKENS], vec![letter; 2 * CHUNK_TOKENS]].concat();
        put(&mut store, &text(1));
        put(&mut store, &text(2));
        assert_eq!(
            get(&store, &text(1)).len() as u64,
            3 * chunk,
            "they share the first"
        );
        put(&mut store, &text(3));
        assert_eq!(get(&store, &text(1)).len() as u64, chunk);
        assert_eq!(get(&store, &text(2)).len() as u64, 3 * chunk);
        assert_eq!(get(&store, &text(3)).len() as u64, 3 * chunk);
    }
}
