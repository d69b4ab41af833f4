//! `open.jsonl`: a note of each recording that is not sealed yet, by which the next start finds what a crash left.
//!
//! One file of slots of equal length, each a line, blank when free. A file for each note would be simpler, but file
//! systems remember what was deleted: after a flood of short calls ext4 passes over thousands of freed inodes for each
//! file created, at ten times the cost.

use super::folders::Place;
use crate::base::fact::RecordingFact;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Its name below the root.
pub(super) const NAME: &str = "open.jsonl";
/// Length of a slot with its line feed: several times a note, and no more than a page, so that none is ever torn.
pub(super) const SLOT_BYTES: usize = 1024;
/// Free.
pub(super) const BLANK: [u8; SLOT_BYTES] = {
    let mut blank = [b' '; SLOT_BYTES];
    blank[SLOT_BYTES - 1] = b'\n';
    blank
};

/// The note of an open recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Site code.
    pub(super) site: Box<str>,
    /// As told at its start.
    pub(super) fact: RecordingFact,
    /// In which directory: that of the notes it stands in.
    #[serde(skip)]
    pub(super) place: Place,
}

/// Where a note stands, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u64);

/// The open file.
pub(super) struct Notes {
    file: File,
    slots: Mutex<Slots>,
}

struct Slots {
    /// The first are taken first, so that the file is as long as most recordings ever open at once.
    free: BTreeSet<Slot>,
    /// All from here on are free.
    end: Slot,
}

impl Notes {
    /// Opens or creates the notes; gives those that the run before left, in order of the recordings' birth.
    pub(super) fn open(root: &Path) -> io::Result<(Notes, Vec<(Slot, Opened)>)> {
        let path = root.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        let (mut left, mut free, mut end) = (Vec::new(), BTreeSet::new(), Slot(0));
        for note in bytes.chunks(SLOT_BYTES) {
            let slot = end;
            end = Slot(slot.0 + 1);
            match serde_json::from_slice(note) {
                Ok(opened) => left.push((slot, opened)),
                Err(_) => {
                    if !note.trim_ascii().is_empty() {
                        tracing::error!(slot = slot.0, "unreadable note of an open recording");
                    }
                    free.insert(slot);
                }
            }
        }
        left.sort_by_key(|(_, opened): &(Slot, Opened)| opened.fact.recording);
        Ok((Notes { file, slots: Mutex::new(Slots { free, end }) }, left))
    }

    /// Writes a note.
    pub(super) fn write(&self, opened: &Opened) -> io::Result<Slot> {
        let note = serde_json::to_vec(opened)?;
        let mut line = BLANK;
        line[..SLOT_BYTES - 1].get_mut(..note.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&note);
        let slot = self.slots().take();
        match self.put(slot, &line) {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.slots().free.insert(slot);
                Err(error)
            }
        }
    }

    /// Takes a note away; after an error it still stands.
    pub(super) fn clear(&self, slot: Slot) -> io::Result<()> {
        self.put(slot, &BLANK)?;
        self.slots().free.insert(slot);
        Ok(())
    }

    /// What was written and taken away so far is so on disk when this returns.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn put(&self, slot: Slot, line: &[u8; SLOT_BYTES]) -> io::Result<()> {
        self.file.write_all_at(line, slot.0 * SLOT_BYTES as u64)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing that panics is done under the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn take(&mut self) -> Slot {
        self.free.pop_first().unwrap_or_else(|| {
            let slot = self.end;
            self.end = Slot(slot.0 + 1);
            slot
        })
    }
}
