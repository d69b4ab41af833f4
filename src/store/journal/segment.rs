//! The file format of a segment: a header, then records. Every version ever written stays readable.
//!
//! ```text
//! segment  "JIESU·J1" (8 bytes) | created, ms since 1970 (i64) | CRC-32 of both (u32)
//! record   payload length (u32) | kind (u16) | version (u16) | CRC-32 of these 8 bytes and the payload (u32) | payload
//! ```
//! Integers are little-endian; the payload is JSON.

use crate::base::Wall;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// First bytes of every segment.
const MAGIC: [u8; 8] = *b"JIESU-J1";
/// Size of a segment's header.
pub(super) const HEADER_BYTES: u64 = 20;
/// Size of a record without its payload.
const FRAME_BYTES: usize = 12;
/// The largest payload: far above any fact, far below what a damaged length could make us allocate.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The version in which payloads are written.
pub(super) const VERSION: u16 = 1;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A [`Stamped`](crate::base::fact::Stamped) fact. Version 1: its JSON.
    Fact,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Kind::Fact => 1,
        }
    }

    /// `None` for a kind that only a newer program knows.
    pub(super) const fn of(number: u16) -> Option<Kind> {
        match number {
            1 => Some(Kind::Fact),
            _ => None,
        }
    }
}

/// The payload is larger than [`PAYLOAD_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct TooLarge;

/// Appends one record to `bytes`, or leaves them as they are.
pub(super) fn append(bytes: &mut Vec<u8>, kind: Kind, payload: &impl Serialize) -> Result<(), TooLarge> {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; FRAME_BYTES]);
    serde_json::to_writer(&mut *bytes, payload).expect("a fact is plain data, and memory takes everything");
    let length = bytes.len() - start - FRAME_BYTES;
    if length > PAYLOAD_BYTES_MAX {
        bytes.truncate(start);
        return Err(TooLarge);
    }
    let frame = &mut bytes[start..];
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[4..6].copy_from_slice(&kind.number().to_le_bytes());
    frame[6..8].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = checksum(&frame[..8], &frame[FRAME_BYTES..]);
    frame[8..FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(head);
    checksum.update(payload);
    checksum.finalize()
}

/// What stands at a place where a record may begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record; the payload is in the buffer.
    Record { kind: u16, version: u16 },
    /// The file ends here.
    End,
    /// The file ends inside a record, or holds nothing but zeros from here: an unfinished write.
    Torn,
    /// A record of plausible length whose checksum does not fit.
    Damaged,
    /// No record can be made out, so no later one can be found either.
    Lost,
}

/// Reads one record: its payload into `payload`, and how many bytes it took.
pub(super) fn next(from: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<(Found, u64)> {
    payload.clear();
    let mut frame = [0; FRAME_BYTES];
    let read = fill(from, &mut frame)?;
    if read < FRAME_BYTES {
        return Ok((if read == 0 { Found::End } else { Found::Torn }, read as u64));
    }
    let [l0, l1, l2, l3, k0, k1, v0, v1, c0, c1, c2, c3] = frame;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if frame == [0; FRAME_BYTES] {
        return Ok((if only_zeros(from)? { Found::Torn } else { Found::Lost }, FRAME_BYTES as u64));
    }
    if length > PAYLOAD_BYTES_MAX {
        return Ok((Found::Lost, FRAME_BYTES as u64));
    }
    payload.resize(length, 0);
    let read = fill(from, payload)?;
    let bytes = (FRAME_BYTES + read) as u64;
    if read < length {
        return Ok((Found::Torn, bytes));
    }
    if checksum(&frame[..8], payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok((Found::Damaged, bytes));
    }
    Ok((Found::Record { kind: u16::from_le_bytes([k0, k1]), version: u16::from_le_bytes([v0, v1]) }, bytes))
}

/// Reads until `bytes` are full or the file ends; how many came.
fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn only_zeros(from: &mut impl Read) -> io::Result<bool> {
    let mut bytes = [0; 4096];
    loop {
        match fill(from, &mut bytes)? {
            0 => return Ok(true),
            read if bytes[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// What [`scan`] found in a segment.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Its birth, unless the header is unreadable.
    pub(super) created: Option<Wall>,
    /// Bytes up to the end of the last record that can be reached.
    pub(super) whole_bytes: u64,
    /// What stands behind them.
    pub(super) rest: Scan,
}

/// How a segment ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// With its last record.
    Whole,
    /// With a piece of an unfinished commit.
    Torn {
        /// Its size.
        bytes: u64,
    },
    /// With something no crash of ours leaves: it is kept as it is.
    Damaged,
}

/// Walks over all records of a segment.
pub(super) fn scan(file: &File) -> io::Result<Scanned> {
    let length = file.metadata()?.len();
    let mut from = BufReader::with_capacity(1 << 18, file);
    let Some(created) = read_header(&mut from)? else {
        return Ok(Scanned { created: None, whole_bytes: length, rest: Scan::Damaged });
    };
    let (mut whole_bytes, mut at, mut payload) = (HEADER_BYTES, HEADER_BYTES, Vec::new());
    let rest = loop {
        let (found, bytes) = next(&mut from, &mut payload)?;
        at += bytes;
        match found {
            Found::Record { .. } => whole_bytes = at,
            // The last record's checksum: the pages of one commit reach the disk in any order.
            Found::Damaged if at == length => {
                break Scan::Torn { bytes: length - whole_bytes };
            }
            Found::Damaged => {}
            Found::End if whole_bytes == length => break Scan::Whole,
            Found::End | Found::Torn => {
                break Scan::Torn { bytes: length - whole_bytes };
            }
            Found::Lost => break Scan::Damaged,
        }
    };
    Ok(Scanned { created: Some(created), whole_bytes, rest })
}

/// Reads a segment's header; `None` when it is not one.
pub(super) fn read_header(from: &mut impl Read) -> io::Result<Option<Wall>> {
    let mut header = [0; HEADER_BYTES as usize];
    if fill(from, &mut header)? < header.len() || header[..8] != MAGIC {
        return Ok(None);
    }
    let [.., t0, t1, t2, t3, t4, t5, t6, t7, c0, c1, c2, c3] = header;
    let fits = checksum(&MAGIC, &header[8..16]) == u32::from_le_bytes([c0, c1, c2, c3]);
    Ok(fits.then(|| Wall(i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]))))
}

/// Creates a segment with its header, durable with its name in the folder.
pub(super) fn create(folder: &Path, number: u64, created: Wall) -> io::Result<File> {
    let mut header = Vec::with_capacity(HEADER_BYTES as usize);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&created.0.to_le_bytes());
    header.extend_from_slice(&checksum(&MAGIC, &header[8..16]).to_le_bytes());
    // A file left by an attempt that failed half-way is begun anew: no record of it was ever called durable.
    let path = path(folder, number);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all(&header)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Birth of a segment, unless its header is unreadable.
pub(super) fn created(folder: &Path, number: u64) -> io::Result<Option<Wall>> {
    read_header(&mut File::open(path(folder, number))?)
}

/// Path of a segment.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.journal"))
}

/// Numbers of all segments, in order. Other files are nobody's business.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
