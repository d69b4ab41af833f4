//! `manifest.jsonl` of one site: the lines of the hash chain ([`crate::recording::manifest`]), appended and synced.

use crate::base::RecordingId;
use crate::recording::manifest::{Chain, Digest, Entry, NAME, Recorded, read};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much of the end is read to go on: more than a hundred lines.
const TAIL_BYTES: u64 = 64 * 1024;

/// An open manifest.
pub(super) struct Ledger {
    file: File,
    end: u64,
    chain: Chain,
    /// The last lines of the run before: what a crash may have left half sealed.
    tail: Vec<(RecordingId, Vec<u8>)>,
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
        Ok(Ledger { file, end, chain, tail })
    }

    /// The line of a recording that was sealed just before a crash.
    pub(super) fn find(&self, recording: RecordingId) -> Option<&[u8]> {
        self.tail.iter().find(|(known, _)| *known == recording).map(|(_, line)| line.as_slice())
    }

    /// Appends an entry, on disk when this returns; gives its line.
    pub(super) fn append(&mut self, recorded: Recorded) -> io::Result<Vec<u8>> {
        let mut chain = self.chain.clone();
        let mut line = chain.append(recorded);
        line.push(b'\n');
        // A line that fails half-way is overwritten by the next.
        self.file.write_all_at(&line, self.end)?;
        self.file.sync_data()?;
        self.end += line.len() as u64;
        self.chain = chain;
        line.pop();
        Ok(line)
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

fn known(lines: &[&[u8]]) -> Vec<(RecordingId, Vec<u8>)> {
    let entry = |line: &&[u8]| {
        let Entry { recorded, .. } = read(line).ok()?;
        Some((recorded.recording, line.to_vec()))
    };
    lines.iter().filter_map(entry).collect()
}
