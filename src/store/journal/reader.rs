//! Reading the journal behind its writer: in order, over damage, from segment to segment.

use super::segment::{self, Found, Kind};
use super::{JournalError, Position};
use crate::base::fact::Stamped;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// What a reader had to step over. All zero on a healthy journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records whose checksum does not fit; the next one was found.
    pub records: u64,
    /// Segments of which the rest, or all, could not be made out.
    pub segments: u64,
    /// Whole records that this program cannot read: written by a newer one.
    pub unknown: u64,
}

/// A reader at a [`Position`].
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    position: Position,
    open: Option<BufReader<File>>,
    payload: Vec<u8>,
    damage: Damage,
}

impl Reader {
    pub(super) fn new(folder: PathBuf, position: Position) -> Reader {
        Reader { folder, position, open: None, payload: Vec::new(), damage: Damage::default() }
    }

    /// Where the next record begins.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What had to be stepped over so far.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Goes to `position`, which is an end once told by the writer.
    pub fn seek(&mut self, position: Position) {
        if self.position != position {
            self.position = position;
            self.open = None;
        }
    }

    /// Reads at most `max` facts that lie before `until`. An empty list means that `until` is reached.
    pub fn read(&mut self, until: Position, max: usize) -> Result<Vec<Stamped>, JournalError> {
        let mut facts = Vec::new();
        while facts.len() < max && self.position < until {
            self.open_next(until)?;
            let Some(file) = &mut self.open else { break };
            let (found, bytes) = segment::next(file, &mut self.payload)?;
            self.position.offset += bytes;
            match found {
                Found::Record { kind, version } => facts.extend(self.fact(kind, version)),
                Found::Damaged => self.damage.records += 1,
                Found::End => self.next_segment(),
                Found::Torn | Found::Lost => self.give_up(until),
            }
        }
        if self.position.segment == until.segment {
            // What was buffered beyond `until` may be half a commit, or one that will be taken back.
            self.open = None;
        }
        Ok(facts)
    }

    fn fact(&mut self, kind: u16, version: u16) -> Option<Stamped> {
        let fact = match (Kind::of(kind), version) {
            (Some(Kind::Fact), segment::VERSION) => serde_json::from_slice(&self.payload).ok(),
            _ => None,
        };
        self.damage.unknown += u64::from(fact.is_none());
        fact
    }

    /// The rest of the segment cannot be made out: on to the next one, or to `until`, where a record is known to begin.
    fn give_up(&mut self, until: Position) {
        self.damage.segments += 1;
        self.next_segment();
        self.position = self.position.min(until);
    }

    fn next_segment(&mut self) {
        self.open = None;
        self.position = Position { segment: self.position.segment + 1, offset: 0 };
    }

    /// Opens the file of the present position, or the first segment behind it. None before `until`: then that is reached.
    fn open_next(&mut self, until: Position) -> Result<(), JournalError> {
        while self.open.is_none() {
            let numbers = segment::list(&self.folder)?;
            let number = numbers.into_iter().find(|number| *number >= self.position.segment);
            let Some(number) = number.filter(|number| *number <= until.segment && self.position < until) else {
                self.position = until;
                break;
            };
            if number != self.position.segment {
                self.position = Position { segment: number, offset: 0 };
            }
            let mut file = BufReader::with_capacity(1 << 16, File::open(segment::path(&self.folder, number))?);
            if segment::read_header(&mut file)?.is_none() {
                self.give_up(until);
                continue;
            }
            self.position.offset = self.position.offset.max(segment::HEADER_BYTES);
            file.seek(SeekFrom::Start(self.position.offset))?;
            self.open = Some(file);
        }
        Ok(())
    }
}
