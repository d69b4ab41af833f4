//! What stands now, on disk: the newest record of each thing, in one small file that is appended to.
//!
//! Made for a crash of the process, not of the machine: nothing is ever synced, for what the kernel took survives the
//! process, and calls do not survive the machine. The file says in which run of the machine it was written; one of
//! another run holds nothing. A torn tail is cut, a damaged record is stepped over. Knows nothing of what it keeps, no
//! thread and no clock. Blocking: never call it from an async task.
//!
//! ```text
//! file    "JIESU-S1" (8 bytes) | epoch (u32) | run of the machine (36 bytes) | CRC-32 of the 48 bytes (u32) | records
//! record  payload length (u32) | key (u128) | CRC-32 of these 20 bytes and the payload (u32) | payload
//! ```
//! Integers are little-endian. A record without payload says that the thing is gone.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"JIESU-S1";
const BOOT_BYTES: usize = 36;
const HEADER_BYTES: usize = 8 + 4 + BOOT_BYTES + 4;
const FRAME_BYTES: usize = 4 + 16 + 4;
/// The largest payload: far above any call, far below what a damaged length could make us allocate.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The file is written anew when it is this much longer than four times what stands.
const SLACK_BYTES: u64 = 1 << 20;
const NAME: &str = "standing";
const NAME_NEW: &str = "standing.new";
/// Linux names each run of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A thing that stands.
pub type Key = u128;
/// The newest record of each.
pub type Records = BTreeMap<Key, Vec<u8>>;

/// The open file.
#[derive(Debug)]
pub struct Standing {
    folder: PathBuf,
    file: File,
    length: u64,
    epoch: u32,
    boot: [u8; BOOT_BYTES],
    records: Records,
    live_bytes: u64,
}

/// Appends a record to `out`; one that is too large is none.
pub fn append(out: &mut Vec<u8>, key: Key, payload: &[u8]) {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return;
    }
    let begin = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&key.to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&out[begin..]);
    sum.update(payload);
    out.extend_from_slice(&sum.finalize().to_le_bytes());
    out.extend_from_slice(payload);
}

impl Standing {
    /// Opens the file in `folder` under the next epoch; gives what stood when the process before ended, if the machine has
    /// not been started anew since. What is given stands on until other records say otherwise.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<(Standing, Records)> {
        let folder = folder.into();
        let mut boot = [b' '; BOOT_BYTES];
        let named = std::fs::read(BOOT_ID)?;
        let named = &named[..named.len().min(BOOT_BYTES)];
        boot[..named.len()].copy_from_slice(named);
        let bytes = match std::fs::read(folder.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (epoch, records) = match header(&bytes) {
            Some((epoch, at)) if at == boot => (epoch, read(&bytes[HEADER_BYTES..])),
            Some((epoch, _)) => (epoch, Records::new()),
            None => (0, Records::new()),
        };
        let (file, length) = write_anew(&folder, epoch + 1, &boot, &records)?;
        let live_bytes = records.values().map(|payload| (FRAME_BYTES + payload.len()) as u64).sum();
        let found = records.clone();
        Ok((Standing { folder, file, length, epoch: epoch + 1, boot, records, live_bytes }, found))
    }

    /// Counts up with every opening.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Writes records made by [`append`].
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut rest = frames;
        while let Some((key, payload, after)) = next(rest) {
            let bytes = |payload: &Vec<u8>| (FRAME_BYTES + payload.len()) as u64;
            let before = if payload.is_empty() {
                self.records.remove(&key)
            } else {
                let payload = payload.to_vec();
                self.live_bytes += bytes(&payload);
                self.records.insert(key, payload)
            };
            self.live_bytes -= before.as_ref().map_or(0, bytes);
            rest = after;
        }
        if self.length + frames.len() as u64 > 4 * self.live_bytes + SLACK_BYTES {
            (self.file, self.length) = write_anew(&self.folder, self.epoch, &self.boot, &self.records)?;
            return Ok(());
        }
        self.length += frames.len() as u64;
        self.file.write_all(frames)
    }

    /// Nothing stands: the process ends in order.
    pub fn clear(&mut self) -> io::Result<()> {
        self.records.clear();
        self.live_bytes = 0;
        (self.file, self.length) = write_anew(&self.folder, self.epoch, &self.boot, &self.records)?;
        Ok(())
    }
}

/// A crash leaves the old file or the new one.
fn write_anew(folder: &Path, epoch: u32, boot: &[u8; BOOT_BYTES], records: &Records) -> io::Result<(File, u64)> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(boot);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    for (key, payload) in records {
        append(&mut bytes, *key, payload);
    }
    let new = folder.join(NAME_NEW);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(&bytes)?;
    std::fs::rename(&new, folder.join(NAME))?;
    Ok((file, bytes.len() as u64))
}

fn header(bytes: &[u8]) -> Option<(u32, [u8; BOOT_BYTES])> {
    let header = bytes.get(..HEADER_BYTES)?;
    let (said, sum) = header.split_at(HEADER_BYTES - 4);
    let good = said[..8] == MAGIC && crc32fast::hash(said).to_le_bytes() == *sum;
    good.then(|| (word(&said[8..]), *said[12..].first_chunk().expect("the rest of the header")))
}

fn read(bytes: &[u8]) -> Records {
    let (mut records, mut rest) = (Records::new(), bytes);
    let mut damaged = 0;
    while !rest.is_empty() {
        match next(rest) {
            Some((key, payload, after)) => {
                if payload.is_empty() {
                    records.remove(&key);
                } else {
                    records.insert(key, payload.to_vec());
                }
                rest = after;
            }
            None => {
                // Behind a damaged record the next whole one is looked for; in a torn tail there is none.
                damaged += 1;
                let found = (1..rest.len()).find(|&skip| next(&rest[skip..]).is_some());
                rest = found.map_or(&[][..], |skip| &rest[skip..]);
            }
        }
    }
    if damaged > 0 {
        tracing::warn!(damaged, "some records of what stood are torn or damaged");
    }
    records
}

/// The first record of `bytes`, if it is whole, and what is behind it.
fn next(bytes: &[u8]) -> Option<(Key, &[u8], &[u8])> {
    let head = bytes.get(..FRAME_BYTES)?;
    let length = word(head) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = bytes.get(FRAME_BYTES..FRAME_BYTES + length)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[..FRAME_BYTES - 4]);
    sum.update(payload);
    if word(&head[FRAME_BYTES - 4..]) != sum.finalize() {
        return None;
    }
    let key = Key::from_le_bytes(*head[4..].first_chunk().expect("a key in the frame"));
    Some((key, payload, &bytes[FRAME_BYTES + length..]))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(records: &[(Key, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        records.iter().for_each(|(key, payload)| append(&mut out, *key, payload));
        out
    }

    fn reopened(folder: &Path) -> (u32, Vec<(Key, Vec<u8>)>) {
        let (standing, found) = Standing::open(folder).unwrap();
        (standing.epoch(), found.into_iter().collect())
    }

    #[test]
    fn the_newest_of_each_is_found_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut standing, found) = Standing::open(folder.path()).unwrap();
        assert_eq!((standing.epoch(), found.len()), (1, 0));
        standing.write(&frames(&[(1, b"one"), (2, b"two"), (3, b"three")])).unwrap();
        standing.write(&frames(&[(2, b"deux"), (3, b"")])).unwrap();
        drop(standing);
        let kept = vec![(1, b"one".to_vec()), (2, b"deux".to_vec())];
        assert_eq!(reopened(folder.path()), (2, kept.clone()));
        assert_eq!(reopened(folder.path()), (3, kept), "a second crash loses nothing");
        let (mut standing, _) = Standing::open(folder.path()).unwrap();
        standing.clear().unwrap();
        assert_eq!(reopened(folder.path()), (5, vec![]));
    }

    #[test]
    fn a_torn_tail_is_cut_and_a_damaged_record_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let records: [(Key, &[u8]); 3] = [(1, b"first"), (2, b"second"), (3, b"third")];
        let (mut standing, _) = Standing::open(folder.path()).unwrap();
        standing.write(&frames(&records)).unwrap();
        drop(standing);
        let whole = std::fs::read(folder.path().join(NAME)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(folder.path().join(NAME), &whole[..length]).unwrap();
            let found = reopened(folder.path()).1;
            assert!(found.iter().zip(&records).all(|(found, kept)| (found.0, &found.1[..]) == *kept), "{length}");
        }
        for at in HEADER_BYTES..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(folder.path().join(NAME), &bytes).unwrap();
            assert_eq!(reopened(folder.path()).1.len(), 2, "byte {at}");
        }
    }

    #[test]
    fn another_run_of_the_machine_finds_nothing_but_the_epoch() {
        let folder = tempfile::tempdir().unwrap();
        write_anew(folder.path(), 7, &[b'x'; BOOT_BYTES], &Records::from([(1, vec![1])])).unwrap();
        assert_eq!(reopened(folder.path()), (8, vec![]));
    }

    #[test]
    fn the_file_stays_as_small_as_what_stands() {
        let folder = tempfile::tempdir().unwrap();
        let (mut standing, _) = Standing::open(folder.path()).unwrap();
        for round in 0..3_000u32 {
            let payload = [round as u8; 1_000];
            standing.write(&frames(&[(Key::from(round % 7), &payload)])).unwrap();
            let length = std::fs::metadata(folder.path().join(NAME)).unwrap().len();
            assert!(length <= 4 * 7_200 + SLACK_BYTES, "{length} after {round}");
        }
        drop(standing);
        let found = reopened(folder.path()).1;
        let newest = |key: u32| (2_993..3_000).find(|round| round % 7 == key).expect("one of seven") as u8;
        let expected: Vec<_> = (0..7).map(|key| (Key::from(key), vec![newest(key); 1_000])).collect();
        assert_eq!(found, expected);
    }
}
