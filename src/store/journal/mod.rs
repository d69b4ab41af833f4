//! The journal: the road of facts from the machines to SQL, an append-only log of numbered segments on disk.
//!
//! Owns the folder it is opened on (a lock keeps a second process out). [`Journal`] appends by group commit; a
//! [`Reader`] follows behind. What SQL has taken is [acknowledged](Journal::acknowledge) and kept for a while longer.
//! Knows no SQL, no thread and no clock: its only time is the `at` of the facts themselves. Blocking: never call it from
//! an async task.
//!
//! Durable means: written and `fdatasync`ed. A torn tail is what a crash leaves of an unfinished commit; nobody was told
//! that it was kept, so it is cut. Damage anywhere else is reported, and reading goes on behind it.

mod reader;
mod segment;

pub use reader::{Damage, Reader};

use crate::base::Wall;
use crate::base::fact::{Fact, Stamped};
use crate::base::{ContactId, OrderId, RecordingId};
use segment::{Kind, Scan};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A place between two records. Ordered as the records are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Number of the segment, counted from 1.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// When segments end and when they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment of this size is followed by a new one.
    pub segment_bytes_max: u64,
    /// So is one this old.
    pub segment_age_max: Duration,
    /// How long a segment is kept after all of it was acknowledged and written.
    pub keep: Duration,
    /// Most bytes of records waiting for a commit that fails.
    pub pending_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Limits {
            segment_bytes_max: 64 << 20,
            segment_age_max: DAY,
            keep: DAY.saturating_mul(7),
            pending_bytes_max: 16 << 20,
        }
    }
}

/// Why the journal could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process (or another journal of this one) holds the folder.
    #[error("the journal is in use by another process")]
    InUse,
    /// Too much waits for a commit that keeps failing; the record was not taken.
    #[error("the journal holds all it may until the disk takes it")]
    Full,
    /// One record is larger than any record may be; it was not taken.
    #[error("a record is larger than {} bytes", segment::PAYLOAD_BYTES_MAX)]
    TooLarge,
    /// The disk.
    #[error("the journal's disk")]
    Disk(#[from] io::Error),
}

/// The segment being written.
#[derive(Debug)]
struct Current {
    number: u64,
    file: File,
    /// Bytes known to be whole and synced; the next commit is written here.
    length: u64,
    created: Wall,
}

/// The writing end.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    limits: Limits,
    current: Option<Current>,
    /// Number of the next segment.
    next: u64,
    end: Position,
    acknowledged: Position,
    /// Records that wait for a commit.
    pending: Vec<u8>,
    /// Latest time told by a record.
    newest: Wall,
    torn_bytes: u64,
    /// Held, not read: its lock says that the folder is ours.
    _lock: File,
}

/// Facts read at once by [`told`].
const TOLD_AT_ONCE: usize = 4_096;
const LOCK: &str = "lock";
const ACKNOWLEDGED: &str = "acknowledged";
const ACKNOWLEDGED_NEW: &str = "acknowledged.new";

impl Journal {
    /// Opens the folder (created if need be), cuts a torn tail and stands behind the last whole record.
    pub fn open(folder: impl Into<PathBuf>, limits: Limits) -> Result<Journal, JournalError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => JournalError::InUse,
            std::fs::TryLockError::Error(error) => error.into(),
        })?;
        let mut journal = Journal {
            acknowledged: read_acknowledged(&folder)?,
            folder,
            limits,
            current: None,
            next: 1,
            end: Position::default(),
            pending: Vec::new(),
            newest: Wall(0),
            torn_bytes: 0,
            _lock: lock,
        };
        journal.find_end()?;
        Ok(journal)
    }

    /// Behind the last durable record.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Up to where the records have been acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.acknowledged
    }

    /// How many bytes of an unfinished commit [`Journal::open`] cut off.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// A reader that begins behind what has been acknowledged.
    pub fn reader(&self) -> Reader {
        Reader::new(self.folder.clone(), self.acknowledged)
    }

    /// Takes a record for the next commit. It is not durable before.
    pub fn append(&mut self, fact: &Stamped) -> Result<(), JournalError> {
        if self.pending.len() >= self.limits.pending_bytes_max {
            return Err(JournalError::Full);
        }
        segment::append(&mut self.pending, Kind::Fact, fact).map_err(|segment::TooLarge| JournalError::TooLarge)?;
        self.newest = self.newest.max(fact.at);
        Ok(())
    }

    /// Makes all records taken so far durable, with one write and one sync. On an error they stay and the next commit
    /// tries again: behind the last whole record, or in a new segment when the old file cannot be trusted any more.
    pub fn commit(&mut self) -> Result<Position, JournalError> {
        if self.pending.is_empty() {
            return Ok(self.end);
        }
        self.rotate()?;
        let current = self.current.as_mut().expect("rotate leaves a segment");
        if let Err(error) = current.file.write_all_at(&self.pending, current.length) {
            // Disk full: what was written of it is cut, and the file may be written again.
            if current.file.set_len(current.length).is_err() {
                self.current = None;
            }
            return Err(error.into());
        }
        if let Err(error) = current.file.sync_data() {
            // After a failed sync the kernel may have dropped the pages and forgotten it: never trust this file again.
            self.current = None;
            return Err(error.into());
        }
        current.length += self.pending.len() as u64;
        self.end = Position { segment: current.number, offset: current.length };
        self.pending.clear();
        Ok(self.end)
    }

    /// Remembers that everything before `position` has been taken by SQL, and deletes the segments that are no longer
    /// needed. A crash just before may forget it: the records are read once more.
    pub fn acknowledge(&mut self, position: Position) -> Result<(), JournalError> {
        if position <= self.acknowledged {
            return Ok(());
        }
        let new = self.folder.join(ACKNOWLEDGED_NEW);
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&position).map_err(io::Error::from)?)?;
        file.sync_data()?;
        std::fs::rename(&new, self.folder.join(ACKNOWLEDGED))?;
        self.acknowledged = position;
        self.prune()
    }

    /// A segment's last record is no later than the birth of the next one: so long it has been complete.
    fn prune(&mut self) -> Result<(), JournalError> {
        let numbers = segment::list(&self.folder)?;
        for (index, number) in numbers.iter().enumerate() {
            let mut ended = None;
            for later in &numbers[index + 1..] {
                if ended.is_none() {
                    ended = segment::created(&self.folder, *later)?;
                }
            }
            let old = ended.is_some_and(|ended| ended + self.limits.keep < self.newest);
            if *number >= self.acknowledged.segment || !old {
                break;
            }
            std::fs::remove_file(segment::path(&self.folder, *number))?;
        }
        Ok(())
    }

    /// Finds the end of the last segment; where nothing can be written behind it, the next commit begins a new one.
    fn find_end(&mut self) -> Result<(), JournalError> {
        if let Some(last) = self.last_segment()? {
            self.next = last + 1;
            let file = OpenOptions::new().read(true).write(true).open(segment::path(&self.folder, last))?;
            let found = segment::scan(&file)?;
            self.newest = found.created.unwrap_or_default();
            self.end = Position { segment: last, offset: found.whole_bytes };
            match found.rest {
                Scan::Whole => {}
                Scan::Torn { bytes } => {
                    file.set_len(found.whole_bytes)?;
                    file.sync_data()?;
                    self.torn_bytes = bytes;
                }
                Scan::Damaged => self.end.offset = file.metadata()?.len(),
            }
            let created = found.created.filter(|_| found.rest != Scan::Damaged);
            let length = found.whole_bytes;
            self.current = created.map(|created| Current { number: last, file, length, created });
        }
        if self.end < self.acknowledged {
            // Segments were taken away by hand. New records must lie behind what counts as done.
            self.current = None;
            self.end = self.acknowledged;
            self.next = self.next.max(self.end.segment + 1);
        }
        Ok(())
    }

    /// Number of the last segment. One that never got its header held no record and is removed.
    fn last_segment(&self) -> Result<Option<u64>, JournalError> {
        let mut numbers = segment::list(&self.folder)?;
        while let Some(last) = numbers.pop() {
            let path = segment::path(&self.folder, last);
            if std::fs::metadata(&path)?.len() >= segment::HEADER_BYTES {
                return Ok(Some(last));
            }
            std::fs::remove_file(path)?;
        }
        Ok(None)
    }

    /// Makes sure that there is a segment to write to, a new one if the present one is full, old or given up.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let limits = self.limits;
        let goes_on = self.current.as_ref().is_some_and(|current| {
            current.length < limits.segment_bytes_max && self.newest < current.created + limits.segment_age_max
        });
        if !goes_on {
            self.current = None;
            let file = segment::create(&self.folder, self.next, self.newest)?;
            let current = Current { number: self.next, file, length: segment::HEADER_BYTES, created: self.newest };
            self.current = Some(current);
            self.next += 1;
        }
        Ok(())
    }
}

/// The newest revisions that a journal tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Of calls.
    pub calls: BTreeMap<ContactId, u32>,
    /// Of orders.
    pub orders: BTreeMap<OrderId, u32>,
    /// Of recordings.
    pub recordings: BTreeMap<RecordingId, u32>,
    /// Places that could not be read.
    pub damaged: u64,
}

impl Told {
    fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Call(call) => newest(&mut self.calls, call.contact, call.revision),
            Fact::Order(order) => newest(&mut self.orders, order.order, order.revision),
            Fact::Recording(recording) => newest(&mut self.recordings, recording.recording, recording.revision),
            Fact::Agent(_) | Fact::Audit(_) | Fact::Blocked(_) | Fact::Leg(_) | Fact::Callback(_) => {}
        }
    }
}

fn newest<Id: Ord>(told: &mut BTreeMap<Id, u32>, id: Id, revision: u32) {
    let known = told.entry(id).or_insert(revision);
    *known = revision.max(*known);
}

/// What the journal in `folder` tells of a site's calls, orders and recordings in that time, as far as SQL has
/// acknowledged it. Takes no lock: the writer may be at work.
///
/// # Errors
/// The disk.
pub fn told(folder: &Path, site: &str, stated: Range<Wall>) -> Result<Told, JournalError> {
    let mut told = Told::default();
    if !folder.exists() {
        return Ok(told);
    }
    let until = read_acknowledged(folder)?;
    let mut reader = Reader::new(folder.into(), Position::default());
    loop {
        let facts = reader.read(until, TOLD_AT_ONCE)?;
        if facts.is_empty() {
            break;
        }
        facts.iter().filter(|fact| *fact.site == *site && stated.contains(&fact.at)).for_each(|it| told.add(&it.fact));
    }
    let damage = reader.damage();
    told.damaged = damage.records + damage.segments + damage.unknown;
    Ok(told)
}

/// Contacts whose end the journal in `folder` tells, as far as SQL has not acknowledged it. The tail may be torn.
///
/// # Errors
/// The disk.
pub fn ended(folder: &Path) -> Result<BTreeSet<ContactId>, JournalError> {
    let mut ended = BTreeSet::new();
    let until = Position { segment: u64::MAX, offset: u64::MAX };
    let mut reader = Reader::new(folder.into(), read_acknowledged(folder)?);
    loop {
        let facts = reader.read(until, TOLD_AT_ONCE)?;
        if facts.is_empty() {
            return Ok(ended);
        }
        ended.extend(facts.iter().filter_map(|told| match &told.fact {
            Fact::Call(call) => call.end.map(|_| call.contact),
            Fact::Order(_)
            | Fact::Recording(_)
            | Fact::Agent(_)
            | Fact::Audit(_)
            | Fact::Blocked(_)
            | Fact::Leg(_)
            | Fact::Callback(_) => None,
        }));
    }
}

/// Whether a process has the journal in `folder` open.
pub fn in_use(folder: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Nothing, when it was never written or cannot be read: then all that is kept is read again, which changes no table.
fn read_acknowledged(folder: &Path) -> Result<Position, JournalError> {
    match std::fs::read(folder.join(ACKNOWLEDGED)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Position::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
