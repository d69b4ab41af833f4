//! What queues were told and what they said to it, kept so that a decision can be explained later: files that hold the
//! machine as it stood at one moment, and every input from there on.
//!
//! Owns the format, the order of the files and their age. No call depends on them: nothing is ever synced, so that a crash of
//! the machine loses the last seconds; a crash of the process loses nothing that was written. Blocking: never call it from
//! an async task.
//!
//! ```text
//! folder   one for each site, named by its code
//! segment  NNNNNNNNNNNNN.seg, the millisecond since 1970 at which it begins, each higher than the one before
//! file     "JIESU-R1" (8 bytes) | frames
//! frame    payload length (u32) | CRC-32 of the payload (u32) | payload
//! ```
//! Integers are little-endian, payloads are `postcard`. The first frame is a [`Title`], the second a [`Head`], the others are
//! [`Step`]s. A frame that ends early is where the writing process died.

pub mod replay;

use crate::acd::Acd;
use crate::acd::event::{Command, Event};
use crate::acd::explain::{FORM, Names};
use crate::base::{Now, Wall};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of what is in the frames; another one cannot be read.
pub const VERSION: u16 = FORM;
const MAGIC: [u8; 8] = *b"JIESU-R1";
const FRAME_BYTES: usize = 8;
/// The largest payload, far above a city's machine.
const PAYLOAD_BYTES_MAX: usize = 256 << 20;
const ENDING: &str = "seg";

/// Who wrote a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// The writer's release.
    pub release: String,
}

/// How a segment came to be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Began {
    /// With the process.
    Start,
    /// Behind the one of this number, without anything between.
    Behind(u64),
    /// Inputs found no room, or could not be written.
    Gap {
        /// When the first of them was.
        since: Wall,
    },
    /// A step panicked: the machine was mended.
    Fault,
}

/// What a segment begins with.
#[derive(Serialize, Deserialize)]
pub struct Head {
    /// Why it was begun.
    pub began: Began,
    /// When.
    pub at: Wall,
    /// Names as they were.
    pub names: Names,
    /// The machine with its settings.
    pub acd: Acd,
}

/// One input and what was said to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub now: Now,
    /// `None`: time passed.
    pub event: Option<Event>,
    /// CRC-32 of the commands.
    pub said: u32,
}

/// CRC-32 of commands, as [`Step::said`].
pub fn sum(commands: &[Command]) -> u32 {
    if commands.is_empty() {
        return 0;
    }
    crc32fast::hash(&postcard::to_stdvec(commands).expect("plain data always serialises"))
}

/// A segment that is being written.
#[derive(Debug)]
pub struct Segment {
    number: u64,
    file: BufWriter<File>,
    bytes: u64,
    frame: Vec<u8>,
}

impl Segment {
    /// Begins a file in `folder`, numbered above `last` and above every other there.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(folder: &Path, last: u64, head: &Head) -> io::Result<Segment> {
        std::fs::create_dir_all(folder)?;
        let newest = list(folder)?.last().map_or(0, |segment| segment.number);
        let number = u64::try_from(head.at.0).unwrap_or_default().max(last.max(newest) + 1);
        let file = OpenOptions::new().write(true).create_new(true).open(path(folder, number))?;
        let mut segment = Segment { number, file: BufWriter::new(file), bytes: 0, frame: Vec::new() };
        segment.file.write_all(&MAGIC)?;
        segment.put(&Title { version: VERSION, release: env!("CARGO_PKG_VERSION").into() })?;
        segment.put(head)?;
        segment.file.flush()?;
        Ok(segment)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes put into it since the last time this was asked.
    pub fn grown(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Puts one step behind the others; it is seen by others after [`Segment::flush`].
    ///
    /// # Errors
    /// What the system said; nothing more may be put then.
    pub fn step(&mut self, now: Now, event: Option<Event>, commands: &[Command]) -> io::Result<()> {
        self.put(&Step { now, event, said: sum(commands) })
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// What the system said.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn put<T: Serialize>(&mut self, payload: &T) -> io::Result<()> {
        self.frame.clear();
        let payload = postcard::to_extend(payload, std::mem::take(&mut self.frame)).map_err(io::Error::other)?;
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(&payload).to_le_bytes())?;
        self.file.write_all(&payload)?;
        self.bytes += (FRAME_BYTES + payload.len()) as u64;
        self.frame = payload;
        Ok(())
    }
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// Where.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// The segments of one site, oldest first; none when there is no such folder.
///
/// # Errors
/// What the system said.
pub fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let is_segment = path.extension().is_some_and(|ending| ending == ENDING);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).filter(|_| is_segment);
        let Some(number) = number else { continue };
        segments.push(Listed { number, path, bytes: entry.metadata()?.len() });
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    Ok(segments)
}

/// Takes away, in the folders of all sites, what ended before `now` less `keep`, then the oldest until all are within
/// `bytes_max`. The newest of each folder stays.
///
/// # Errors
/// What the system said; what could be taken away is gone.
pub fn trim(folders: &[PathBuf], now: Wall, keep: Duration, bytes_max: u64) -> io::Result<()> {
    let oldest = now.0.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let oldest = u64::try_from(oldest).unwrap_or_default();
    let (mut bytes, mut left, mut failed) = (0, Vec::new(), None);
    let mut remove = |segment: &Listed| {
        if let Err(error) = std::fs::remove_file(&segment.path) {
            failed = Some(error);
        }
    };
    for folder in folders {
        let segments = list(folder)?;
        bytes += segments.iter().map(|segment| segment.bytes).sum::<u64>();
        // A segment ends where the next begins.
        for pair in segments.windows(2) {
            if pair[1].number <= oldest {
                remove(&pair[0]);
                bytes -= pair[0].bytes;
            } else {
                left.push(pair[0].clone());
            }
        }
    }
    left.sort_unstable_by_key(|segment| segment.number);
    for segment in left {
        if bytes <= bytes_max {
            break;
        }
        remove(&segment);
        bytes -= segment.bytes;
    }
    failed.map_or(Ok(()), Err)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:013}.{ENDING}"))
}

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system.
    #[error("{0}")]
    System(#[from] io::Error),
    /// Another release wrote it, in another form.
    #[error("it was written by release {release} in form {version}; this release reads form {VERSION}")]
    Version {
        /// Its form.
        version: u16,
        /// Its writer.
        release: String,
    },
    /// Its writer died, or failed, before it held a machine.
    #[error("it was cut off before it held anything")]
    Cut,
    /// Not what was written.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
}

/// A segment read from disk.
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    torn: bool,
}

impl Reader {
    /// Opens a segment and reads its head.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(path: &Path) -> Result<(Reader, Head), ReadError> {
        let mut reader = Reader { bytes: std::fs::read(path)?, at: MAGIC.len(), torn: false };
        match reader.bytes.get(..MAGIC.len()) {
            None => return Err(ReadError::Cut),
            Some(magic) if *magic != MAGIC => return Err(ReadError::Damaged(0)),
            Some(_) => {}
        }
        let Title { version, release } = reader.next()?.ok_or(ReadError::Cut)?;
        if version != VERSION {
            return Err(ReadError::Version { version, release });
        }
        let head = reader.next()?.ok_or(ReadError::Cut)?;
        Ok((reader, head))
    }

    /// The next step; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn step(&mut self) -> Result<Option<Step>, ReadError> {
        self.next()
    }

    /// Whether the end is where its writer died.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadError> {
        let damaged = ReadError::Damaged(self.at);
        let rest = &self.bytes[self.at..];
        let head =
            rest.split_first_chunk::<4>().and_then(|(length, rest)| Some((length, rest.split_first_chunk::<4>()?)));
        let Some((length, (sum, rest))) = head else {
            self.torn = !rest.is_empty();
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(damaged);
        }
        let Some(payload) = rest.get(..length) else {
            self.torn = true;
            return Ok(None);
        };
        if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
            return Err(damaged);
        }
        let read = postcard::from_bytes(payload).map_err(|_| damaged)?;
        self.at += FRAME_BYTES + length;
        Ok(Some(read))
    }
}

#[cfg(test)]
mod tests;
