//! The thread that writes, makes room and erases.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::record::{Record, SegmentKey, index_anew, remove_session};
use super::schema::{self, failed};
use super::{Clock, MOST_WAITING, Shared, StoreLimits};
use crate::MemoryError;

/// A session that was not used for so long may make room for others although nobody ended it:
/// agents' tools rarely take longer.
const OPEN_SECONDS: i64 = 600;

/// Of the store's bytes, those beyond which sessions make room: three quarters. The rest takes in
/// what is written before that is looked at again.
const FULL: (u64, u64) = (3, 4);
/// And those beyond which nothing is written: fifteen sixteenths. The rest is what it takes to
/// remove something.
const SHUT: (u64, u64) = (15, 16);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep something.
    Write(Record),
    /// Erase something, and tell what was.
    Erase(Erasure, SyncSender<Result<Erased, MemoryError>>),
    /// Tell when everything before is done.
    Tell(SyncSender<()>),
}

/// What is to be erased.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) tenant: u64,
    /// All of the tenant where none is named.
    pub(super) session: Option<String>,
}

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Sessions.
    pub sessions: u64,
    /// Where they are in the tenant's segments, as far as the store was told.
    pub segments: Vec<SegmentKey>,
}

/// The connection that writes.
pub(super) struct Writer {
    folder: PathBuf,
    connection: Connection,
    limits: StoreLimits,
    clock: Clock,
    shared: Arc<Shared>,
    /// Whether the last record could not be written; told once.
    failing: bool,
}

impl Writer {
    pub(super) fn open(
        folder: &Path,
        limits: StoreLimits,
        clock: Clock,
        shared: Arc<Shared>,
    ) -> Result<Self, MemoryError> {
        let connection = schema::writable(folder)?;
        let mut writer = Self {
            folder: folder.to_owned(),
            connection,
            limits,
            clock,
            shared,
            failing: false,
        };
        let counted = writer.count();
        counted.map_err(|source| failed(folder, source))?;
        match writer.finish_erasing() {
            // Tried again at the next start.
            Err(MemoryError::StillRead { .. }) => {}
            finished => finished?,
        }
        Ok(writer)
    }

    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        self.make_room();
        self.give_back();
        while let Ok(first) = orders.recv() {
            let mut records = Vec::new();
            let more = orders.try_iter().take(MOST_WAITING);
            for order in std::iter::once(first).chain(more) {
                // Who asked may have gone.
                match order {
                    Order::Write(record) => records.push(record),
                    Order::Erase(what, done) => {
                        self.write(&mut records);
                        let _ = done.send(self.erase(&what));
                    }
                    Order::Tell(done) => {
                        self.write(&mut records);
                        let _ = done.send(());
                    }
                }
            }
            self.write(&mut records);
        }
    }

    /// Writes what is in `records` and empties it: all at once, or if that fails one by one, so
    /// that each fails for itself.
    fn write(&mut self, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let bytes = records.iter().map(Record::bytes).sum();
        match self.write_at_once(records) {
            Ok(()) => self.failing = false,
            Err(_) => records.iter().for_each(|record| self.write_alone(record)),
        }
        records.clear();
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.make_room();
    }

    /// Counts what cannot be written, and says so if it is news.
    fn write_alone(&mut self, record: &Record) {
        self.make_room();
        let written = self.write_at_once(std::slice::from_ref(record));
        if let Err(error) = &written {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
            if !self.failing {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "something of a session is not kept");
            }
        }
        self.failing = written.is_err();
    }

    fn write_at_once(&mut self, records: &[Record]) -> rusqlite::Result<()> {
        let now = self.now();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in records {
            record.write(&transaction, now)?;
        }
        transaction.commit()?;
        let written = records.len() as u64;
        self.shared.written.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }

    /// Unix seconds.
    fn now(&self) -> i64 {
        let since = (self.clock)().duration_since(UNIX_EPOCH);
        // Before 1970 everything is as old as can be.
        since.map_or(0, |since| since.as_secs().cast_signed())
    }

    /// Removes sessions that are too old, and the oldest until the rest fits, and counts what is
    /// there. What fails now is done the next time.
    fn make_room(&mut self) {
        let made = (|| {
            self.allow((1, 1))?;
            while let Some(session) = self.next_out()? {
                let transaction = self.connection.transaction()?;
                remove_session(&transaction, session)?;
                transaction.commit()?;
                self.shared.evicted.fetch_add(1, Ordering::Relaxed);
            }
            self.allow(SHUT)?;
            self.count()
        })();
        if let Err(error) = made
            && !self.failing
        {
            tracing::warn!(folder = %self.folder.display(), %error, "sessions cannot make room");
        }
    }

    /// The row of the session that goes next, if one has to.
    fn next_out(&self) -> rusqlite::Result<Option<i64>> {
        let now = self.now();
        let mut oldest = self.connection.prepare_cached(
            "SELECT row, used FROM sessions WHERE ended OR used < ?1 ORDER BY used, row LIMIT 1",
        )?;
        let oldest = oldest.query_row([now.saturating_sub(OPEN_SECONDS)], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?))
        });
        let Some((session, used)) = oldest.optional()? else {
            return Ok(None);
        };
        let age = i64::try_from(self.limits.age.as_secs()).unwrap_or(i64::MAX);
        let old = used < now.saturating_sub(age);
        let full = self.used_bytes()? > part(self.limits.bytes, FULL);
        Ok((old || full).then_some(session))
    }

    /// Lets the file grow to a part of the store's bytes.
    fn allow(&self, of: (u64, u64)) -> rusqlite::Result<()> {
        let pages = part(self.limits.bytes, of) / self.pragma("page_size")?.max(1);
        // SQLite counts pages in 32 bits.
        let pages = pages.min(u64::from(u32::MAX - 1)).cast_signed();
        self.connection.pragma_update(None, "max_page_count", pages)
    }

    /// Bytes of the pages that hold something.
    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let pages = self
            .pragma("page_count")?
            .saturating_sub(self.pragma("freelist_count")?);
        Ok(pages * self.pragma("page_size")?)
    }

    /// Makes the file smaller if it has more bytes than it may, as at a start with a lower limit.
    fn give_back(&self) {
        let given = (|| {
            let bytes = self.pragma("page_count")? * self.pragma("page_size")?;
            if bytes > self.limits.bytes {
                self.connection.execute_batch("VACUUM")?;
                self.allow(SHUT)?;
            }
            Ok::<(), rusqlite::Error>(())
        })();
        if let Err(error) = given {
            tracing::warn!(folder = %self.folder.display(), %error, "the file stays as large");
        }
    }

    fn pragma(&self, name: &str) -> rusqlite::Result<u64> {
        let value: i64 = self
            .connection
            .pragma_query_value(None, name, |row| row.get(0))?;
        Ok(value.max(0).cast_unsigned())
    }

    fn count(&self) -> rusqlite::Result<()> {
        let mut count = self
            .connection
            .prepare_cached("SELECT count(*), ifnull(sum(turns), 0) FROM sessions")?;
        let counted: (i64, i64) = count.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let [sessions, turns] = [counted.0, counted.1].map(i64::cast_unsigned);
        self.shared.sessions.store(sessions, Ordering::Relaxed);
        self.shared.turns.store(turns, Ordering::Relaxed);
        self.shared
            .bytes
            .store(self.used_bytes()?, Ordering::Relaxed);
        Ok(())
    }

    /// Removes rows first, which is what counts, and then every byte that they leave.
    fn erase(&mut self, what: &Erasure) -> Result<Erased, MemoryError> {
        let erased = self.remove(what);
        let erased = erased.map_err(|source| failed(&self.folder, source))?;
        self.finish_erasing()?;
        Ok(erased)
    }

    fn remove(&mut self, what: &Erasure) -> rusqlite::Result<Erased> {
        self.allow((1, 1))?;
        let (tenant, now) = (what.tenant.cast_signed(), self.now());
        let transaction = self.connection.transaction()?;
        let mut find = transaction
            .prepare("SELECT row FROM sessions WHERE tenant = ?1 AND (?2 IS NULL OR id = ?2)")?;
        let sessions = find.query_map(params![tenant, what.session], |row| row.get(0))?;
        let sessions = sessions.collect::<rusqlite::Result<Vec<i64>>>()?;
        drop(find);
        let mut erased = Erased::default();
        for session in sessions {
            erased.segments.extend(segments(&transaction, session)?);
            remove_session(&transaction, session)?;
            erased.sessions += 1;
        }
        if what.session.is_none() {
            transaction.execute("DELETE FROM tool_times WHERE tenant = ?1", [tenant])?;
            transaction.execute("DELETE FROM competence WHERE tenant = ?1", [tenant])?;
        }
        transaction.execute("INSERT INTO erasing (since) VALUES (?1)", [now])?;
        transaction.commit()?;
        Ok(erased)
    }

    /// Makes what is being erased disappear from the files: the index is built anew, the file
    /// written anew without gaps, and the log emptied. A process killed meanwhile leaves a row in
    /// `erasing`, and the next one does it again.
    fn finish_erasing(&mut self) -> Result<(), MemoryError> {
        let finished = (|| {
            let sql = "SELECT EXISTS (SELECT * FROM erasing)";
            if !self.connection.query_row(sql, [], |row| row.get(0))? {
                return Ok(true);
            }
            let transaction = self.connection.transaction()?;
            index_anew(&transaction)?;
            transaction.commit()?;
            self.connection.execute_batch("VACUUM")?;
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            if self.connection.query_row(sql, [], |row| row.get(0))? {
                return Ok(false);
            }
            self.connection.execute("DELETE FROM erasing", [])?;
            self.allow(SHUT)?;
            self.count()?;
            Ok(true)
        })();
        match finished {
            Ok(true) => Ok(()),
            Ok(false) => Err(MemoryError::StillRead {
                folder: self.folder.clone(),
            }),
            Err(source) => Err(failed(&self.folder, source)),
        }
    }
}

/// Where a session, by its row, is in the segments.
pub(super) fn segments(connection: &Connection, session: i64) -> rusqlite::Result<Vec<SegmentKey>> {
    let sql = "SELECT tokenizer, key FROM segments WHERE session = ?1";
    let mut find = connection.prepare_cached(sql)?;
    let keys = find.query_map([session], |row| {
        let [tokenizer, key] = [row.get(0)?, row.get(1)?].map(i64::cast_unsigned);
        Ok(SegmentKey { tokenizer, key })
    })?;
    keys.collect()
}

fn part(bytes: u64, (of, parts): (u64, u64)) -> u64 {
    // What has more bytes than this has no bound that matters.
    (bytes.min(1 << 58) / parts) * of
}
