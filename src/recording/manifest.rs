//! The manifest: one entry for each finished recording, chained by hash within its site.
//!
//! An entry is one line of JSON. Its `previous` is the SHA-256 of the line before, so that a line changed, taken out or
//! put in later breaks the chain; [`verify`] gives the hash of the last line, to be compared with one kept elsewhere.

use super::marks::Mark;
use crate::base::{ContactId, RecordingId, Wall};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The version written; every one ever written stays readable.
const VERSION: u8 = 1;
/// Name of the manifest in its site's folder.
pub const NAME: &str = "manifest.jsonl";

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What stands before the first entry.
    pub const NONE: Digest = Digest([0; 32]);

    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

/// One finished recording in the manifest of its site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Format of the entry.
    pub version: u8,
    /// Counts up from 1 within the site.
    pub number: u64,
    /// What was recorded.
    #[serde(flatten)]
    pub recorded: Recorded,
    /// Hash of the line before; [`Digest::NONE`] for the first.
    pub previous: Digest,
}

/// What an entry says of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Site code.
    pub site: Box<str>,
    /// Key.
    pub recording: RecordingId,
    /// Whose journey.
    pub contact: ContactId,
    /// Below the site's folder.
    pub path: Box<str>,
    /// First sample.
    pub started: Wall,
    /// Last sample.
    pub ended: Wall,
    /// Of each channel.
    pub samples: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Of the file.
    pub sha256: Digest,
    /// Whether sound was lost by our fault.
    pub damaged: bool,
    /// Whether a crash had cut the file, so that the sizes in its header were written anew from its length.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub repaired: bool,
    /// Silences that were made on purpose. Entries of before there were any have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

/// Where a site's chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of the last entry; 0 before the first.
    pub number: u64,
    /// Hash of its line.
    pub head: Digest,
}

/// Where and how a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("manifest line {line}: {why}")]
pub struct Broken {
    /// Counted from 1.
    pub line: u64,
    /// How.
    pub why: Why,
}

/// How a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Why {
    /// Not an entry.
    #[error("not an entry")]
    Unreadable,
    /// Not the number after the last.
    #[error("entries are missing or out of order")]
    Number,
    /// `previous` is not the hash of the line before.
    #[error("the line before was changed")]
    Previous,
    /// Another site than the lines before.
    #[error("an entry of another site")]
    Site,
}

impl Chain {
    /// A chain without entries.
    pub const EMPTY: Chain = Chain { number: 0, head: Digest::NONE };

    /// The chain whose last line is `line`.
    pub fn after(line: &[u8]) -> Result<Chain, Why> {
        Ok(Chain { number: read(line)?.number, head: Digest::of(line) })
    }

    /// Appends an entry; gives its line, without the line feed.
    pub fn append(&mut self, recorded: Recorded) -> Vec<u8> {
        self.number += 1;
        let entry = Entry { version: VERSION, number: self.number, recorded, previous: self.head };
        let line = serde_json::to_vec(&entry).expect("plain data");
        self.head = Digest::of(&line);
        line
    }
}

/// Reads one line.
pub fn read(line: &[u8]) -> Result<Entry, Why> {
    match serde_json::from_slice::<Entry>(line) {
        Ok(entry) if entry.version == VERSION => Ok(entry),
        Ok(_) | Err(_) => Err(Why::Unreadable),
    }
}

/// Follows a chain from its first line, one line after the other.
#[derive(Clone, Debug)]
pub struct Follower {
    chain: Chain,
    line: u64,
    site: Option<Box<str>>,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower { chain: Chain::EMPTY, line: 0, site: None }
    }
}

impl Follower {
    /// Takes the next line; after an error nothing behind it means anything.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Entry, Broken> {
        self.line += 1;
        let broken = |why| Broken { line: self.line, why };
        let entry = read(bytes).map_err(broken)?;
        if entry.number != self.chain.number + 1 {
            return Err(broken(Why::Number));
        }
        if entry.previous != self.chain.head {
            return Err(broken(Why::Previous));
        }
        if *self.site.get_or_insert_with(|| entry.recorded.site.clone()) != entry.recorded.site {
            return Err(broken(Why::Site));
        }
        self.chain = Chain { number: entry.number, head: Digest::of(bytes) };
        Ok(entry)
    }
}

/// Follows a whole chain; gives where it stands.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Chain, Broken> {
    let mut follower = Follower::default();
    for line in lines {
        follower.follow(line)?;
    }
    Ok(follower.chain)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let mut digest = Digest::NONE;
        let digits = text.as_bytes().as_chunks::<2>();
        if digits.0.len() != digest.0.len() || !digits.1.is_empty() {
            return Err(serde::de::Error::custom("64 hexadecimal digits are expected"));
        }
        for (byte, pair) in digest.0.iter_mut().zip(digits.0) {
            let pair = core::str::from_utf8(pair).map_err(serde::de::Error::custom)?;
            *byte = u8::from_str_radix(pair, 16).map_err(serde::de::Error::custom)?;
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(key: u128) -> Recorded {
        Recorded {
            site: "hefei".into(),
            recording: RecordingId(key),
            contact: ContactId(key + 1),
            path: "2026/11/23/x.wav".into(),
            started: Wall(1_000),
            ended: Wall(3_000),
            samples: 16_000,
            bytes: 32_058,
            sha256: Digest::of(b"sound"),
            damaged: false,
            repaired: false,
            marks: Vec::new(),
        }
    }

    fn chain_of(count: u128) -> (Chain, Vec<Vec<u8>>) {
        let mut chain = Chain::EMPTY;
        let lines = (1..=count).map(|key| chain.append(recorded(key))).collect();
        (chain, lines)
    }

    fn verified(lines: &[Vec<u8>]) -> Result<Chain, Broken> {
        verify(lines.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_chain_is_followed_and_continued() {
        let (chain, mut lines) = chain_of(5);
        assert_eq!(verified(&lines), Ok(chain));
        assert_eq!(verified(&[]), Ok(Chain::EMPTY));
        let mut later = Chain::after(&lines[4]).expect("an entry");
        lines.push(later.append(recorded(6)));
        assert_eq!(verified(&lines), Ok(later));
        assert_eq!(read(&lines[5]).expect("an entry").recorded, recorded(6));
    }

    /// Lines are hashed as they are: what older programs wrote keeps its meaning and its hash.
    #[test]
    fn a_repair_is_said_and_lines_of_before_it_could_be_are_as_they_were() {
        let mut chain = Chain::EMPTY;
        let plain = chain.append(recorded(1));
        assert!(!String::from_utf8_lossy(&plain).contains("repaired"));
        assert!(!read(&plain).expect("an entry").recorded.repaired);
        let line = chain.append(Recorded { repaired: true, ..recorded(2) });
        assert!(String::from_utf8_lossy(&line).contains("\"repaired\":true"));
        assert!(read(&line).expect("an entry").recorded.repaired);
    }

    #[test]
    fn whatever_is_changed_is_found() {
        let broken = |line, why| Err(Broken { line, why });
        let (_, lines) = chain_of(4);
        let edit = |at: usize, from: &str, to: &str| {
            let mut changed = lines.clone();
            changed[at] = String::from_utf8(changed[at].clone()).expect("JSON").replace(from, to).into_bytes();
            verified(&changed)
        };
        assert_eq!(edit(1, "16000", "16001"), broken(3, Why::Previous));
        assert_eq!(edit(1, "\"number\":2", "\"number\":3"), broken(2, Why::Number));
        assert_eq!(edit(2, "hefei", "wuhu"), broken(3, Why::Site));
        assert_eq!(edit(0, "{", "["), broken(1, Why::Unreadable));
        assert_eq!(edit(0, "\"version\":1", "\"version\":9"), broken(1, Why::Unreadable));
        let mut short = lines.clone();
        short.remove(1);
        assert_eq!(verified(&short), broken(2, Why::Number));
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert_eq!(verified(&swapped), broken(2, Why::Number));
    }

    #[test]
    fn digests_are_64_hexadecimal_digits() {
        let text = serde_json::to_string(&Digest::of(b"abc")).expect("plain data");
        assert_eq!(text, "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"");
        assert_eq!(serde_json::from_str::<Digest>(&text).expect("a digest"), Digest::of(b"abc"));
        for bad in ["\"\"", "\"ba78\"", &text.replace('b', "g"), &text.replace("ba", "b"), &text.replace("ba78", "é78")]
        {
            assert!(serde_json::from_str::<Digest>(bad).is_err(), "{bad}");
        }
    }
}
