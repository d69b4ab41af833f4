//! `manifest.jsonl` of one site: the lines of the hash chain ([`crate::recording::manifest`]), appended and synced.

use super::seal::GROUP_MAX;
use crate::base::RecordingId;
use crate::base::fact::RecordingFact;
use crate::recording::manifest::{Chain, Digest, Entry, NAME, Recorded, read};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much of the end is read to go on: more than two groups' lines, which are shorter than 16 KiB.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;
const _: () = assert!(TAIL_BYTES >= 16 * 1024 * GROUP_MAX as u64);

/// An open manifest.
pub(super) struct Ledger {
    file: File,
    end: u64,
    /// Whether an append failed half-way: what it left beyond the end is cut off before the next.
    torn: bool,
    chain: Chain,
    /// The last lines of the run before, by recording and path: what a crash may have left half sealed.
    tail: BTreeMap<(RecordingId, Box<str>), Vec<u8>>,
}

impl Ledger {
    /// Opens or creates the manifest in `folder` and cuts off a torn last line.
    pub(super) fn open(folder: &Path) -> io::Result<Ledger> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join(NAME))?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(TAIL_BYTES);
        let mut bytes = vec![0; (length - from) as usize];
        file.read_exact_at(&mut bytes, from)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        if from > 0 && !lines.is_empty() {
            // Its beginning lies before the tail.
            lines.remove(0);
        }
        let (chain, tail) = (standing(&lines), known(&lines));
        let end = from + whole as u64;
        file.set_len(end)?;
        Ok(Ledger { file, end, torn: false, chain, tail })
    }

    /// The line of a recording that was sealed just before a crash.
    pub(super) fn find(&self, fact: &RecordingFact) -> Option<&[u8]> {
        self.tail.get(&(fact.recording, fact.path.clone())).map(Vec::as_slice)
    }

    /// Appends entries in their order, with one write and one sync: on disk when this returns. Gives their lines; after
    /// an error none of them counts.
    pub(super) fn append(&mut self, entries: impl IntoIterator<Item = Recorded>) -> io::Result<Vec<Vec<u8>>> {
        let mut chain = self.chain.clone();
        let lines: Vec<Vec<u8>> = entries.into_iter().map(|recorded| chain.append(recorded)).collect();
        if lines.is_empty() {
            return Ok(lines);
        }
        let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"]).flatten().copied().collect();
        if self.torn {
            self.file.set_len(self.end)?;
        }
        self.torn = true;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.torn = false;
        self.end += bytes.len() as u64;
        self.chain = chain;
        Ok(lines)
    }
}

/// Where the chain stands after `lines`. An unreadable last line stays as it is, for [`verify`] to find, and is built on.
///
/// [`verify`]: crate::recording::manifest::verify
fn standing(lines: &[&[u8]]) -> Chain {
    let Some(last) = lines.last() else { return Chain::EMPTY };
    let readable = lines.iter().rev().zip(0u64..).find_map(|(line, after)| Some(read(line).ok()?.number + after));
    Chain { number: readable.unwrap_or(0), head: Digest::of(last) }
}

fn known(lines: &[&[u8]]) -> BTreeMap<(RecordingId, Box<str>), Vec<u8>> {
    let entry = |line: &&[u8]| {
        let Entry { recorded, .. } = read(line).ok()?;
        Some(((recorded.recording, recorded.path), line.to_vec()))
    };
    lines.iter().filter_map(entry).collect()
}
