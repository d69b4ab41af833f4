//! The file of one recording: writes by offset, with silence where an earlier write failed.

use crate::recording::SILENCE;
use crate::recording::format::{self, Header};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Silence is written in pieces of this size.
const PIECE: [u8; 16 * 1024] = [SILENCE; 16 * 1024];

/// An open file and how much of it is written.
pub(super) struct SoundFile {
    file: Arc<File>,
    /// All before it is on its way to the disk; what failed beyond is written again, as silence.
    end: u64,
}

impl SoundFile {
    /// A new, empty file.
    pub(super) fn new(file: Arc<File>) -> SoundFile {
        SoundFile { file, end: 0 }
    }

    /// A file that has this many frames already.
    pub(super) fn written(file: Arc<File>, frames: u64) -> SoundFile {
        SoundFile { file, end: if frames == 0 { 0 } else { format::bytes_of(frames) } }
    }

    /// The same sound in a new, empty file, and whether all of it: from where it cannot be read or written, silence follows
    /// with the next write.
    pub(super) fn copied_to(&self, file: Arc<File>) -> (SoundFile, bool) {
        let mut copy = SoundFile::new(file);
        let mut piece = [0; PIECE.len()];
        while copy.end < self.end {
            let length = (self.end - copy.end).min(PIECE.len() as u64) as usize;
            let read = self.file.read_exact_at(&mut piece[..length], copy.end);
            if read.and_then(|()| copy.file.write_all_at(&piece[..length], copy.end)).is_err() {
                return (copy, false);
            }
            copy.end += length as u64;
        }
        (copy, true)
    }

    /// Writes `bytes` at `offset`; what is missing before it becomes silence.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.fill_to(offset)?;
        self.file.write_all_at(bytes, offset)?;
        self.end = self.end.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Makes the file at least `end` long, with silence.
    pub(super) fn fill_to(&mut self, end: u64) -> io::Result<()> {
        if self.end == 0 && end > 0 {
            // Also the header was lost.
            self.file.write_all_at(&format::header(0), 0)?;
            self.end = format::HEADER_BYTES;
        }
        while self.end < end {
            let piece = (end - self.end).min(PIECE.len() as u64) as usize;
            self.file.write_all_at(&PIECE[..piece], self.end)?;
            self.end += piece as u64;
        }
        Ok(())
    }

    /// Patches the header; never to more than is there.
    pub(super) fn patch(&mut self, frames: u64, header: &Header) -> io::Result<()> {
        let there = format::frames_in(self.end);
        if there < frames {
            self.file.write_all_at(&format::header(there), 0)
        } else {
            self.file.write_all_at(header, 0)
        }
    }
}
