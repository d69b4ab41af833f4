//! What is put into an object: the file of a recording, as it is or as Ogg Opus, in parts of bounded size.
//!
//! The file is hashed on its way: one that is not what was recorded never gets a whole object.

use super::opus::OggOpus;
use crate::config::archive::Format;
use crate::recording::format::HEADER_BYTES;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Size of a part. A smaller object is one request; S3 wants 5 MiB at least of all parts but the last.
pub(super) const PART_BYTES: usize = 8 * 1024 * 1024;
/// The file is read in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;

/// A file on its way.
pub(super) struct Content {
    file: File,
    /// Of the file, as far as it was read, and as it was recorded.
    hash: Sha256,
    recorded: String,
    /// How much was read.
    at: u64,
    opus: Option<OggOpus>,
    /// Ready and not given yet.
    ready: Vec<u8>,
    ended: bool,
    /// Of what was given.
    given: Sha256,
    bytes: u64,
}

/// What was given, once all was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Content {
    /// `recorded` is the SHA-256 that the file must have; `serial` names the Ogg stream.
    pub(super) fn open(path: &Path, recorded: &str, format: Format, serial: u32) -> io::Result<Content> {
        let opus = match format {
            Format::Wav => None,
            Format::Opus { bits_per_s } => Some(OggOpus::new(bits_per_s, serial)?),
        };
        Ok(Content {
            file: File::open(path)?,
            hash: Sha256::new(),
            recorded: recorded.into(),
            at: 0,
            opus,
            ready: Vec::new(),
            ended: false,
            given: Sha256::new(),
            bytes: 0,
        })
    }

    /// The next part, of [`PART_BYTES`] unless it is the last. Reads and encodes: not for a thread that must not block.
    ///
    /// # Errors
    /// What the system says; `InvalidData` at the end when the file is not what was recorded.
    pub(super) fn part(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; PIECE_BYTES];
        while !self.ended && self.ready.len() < PART_BYTES {
            let count = self.file.read(&mut piece)?;
            self.take(&piece[..count])?;
        }
        let part: Vec<u8> = self.ready.drain(..self.ready.len().min(PART_BYTES)).collect();
        self.given.update(&part);
        self.bytes += part.len() as u64;
        Ok(part.into())
    }

    /// What was given, when that was all.
    pub(super) fn given(&self) -> Option<Given> {
        let all = self.ended && self.ready.is_empty();
        all.then(|| Given { bytes: self.bytes, sha256: hex::encode(self.given.clone().finalize()) })
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        let header = HEADER_BYTES.saturating_sub(self.at).min(piece.len() as u64) as usize;
        self.at += piece.len() as u64;
        match &mut self.opus {
            None => self.ready.extend_from_slice(piece),
            Some(opus) => self.ready.extend(opus.take(&piece[header..])?),
        }
        if !piece.is_empty() {
            return Ok(());
        }
        if hex::encode(self.hash.clone().finalize()) != self.recorded {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not what was recorded"));
        }
        self.ended = true;
        if let Some(opus) = self.opus.take() {
            self.ready.extend(opus.finish()?);
        }
        Ok(())
    }
}
