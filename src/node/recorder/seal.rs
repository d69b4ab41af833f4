//! The thread that syncs files to disk and seals what is finished, also what a crash left open.
//!
//! To seal is to make the header agree with the length, sync, hash, chain into the site's manifest and write the entry
//! beside the file, take the note of the open recording away and tell the fact: in this order, so that a crash in
//! between repeats steps but loses and doubles nothing.

use super::Shared;
use super::ledger::Ledger;
use crate::base::fact::{RecordingFact, RecordingFinished};
use crate::base::{Fact, RecordingId};
use crate::node::guard::{Panicked, fenced};
use crate::recording::format;
use crate::recording::manifest::{Digest, Recorded, read};
use crate::recording::{Finished, SAMPLE_HZ};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Each open file is synced this often; with a slow disk still within 10 s.
const SYNC_EVERY: Duration = Duration::from_secs(8);
/// When so many files are due at once, the whole file system is synced instead: it costs as much as a few files.
const SYNC_ALL_FROM: usize = 32;
/// A seal that failed is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Folder of the notes of open recordings, in the site's folder.
const OPEN: &str = "open";
/// Files are hashed in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;

/// To the sealing thread.
pub(super) enum ToSealer {
    /// Sync this file from now on, and its note once.
    Opened {
        /// Whose.
        recording: RecordingId,
        /// The sound.
        file: Arc<File>,
        /// Where the note stands.
        note: PathBuf,
    },
    /// Nothing more will be written to this one.
    Seal(Box<Job>),
}

/// A recording to be sealed.
pub(super) struct Job {
    pub(super) opened: Opened,
    /// What its machine said at the end; `None` after a crash.
    pub(super) finished: Option<Finished>,
    /// Whether it counts among the recordings alive.
    pub(super) counted: bool,
    /// Its line of the manifest, once that is on disk: a seal that fails later is tried again without a second one.
    pub(super) line: Option<Vec<u8>>,
}

/// The note of an open recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Site code.
    pub(super) site: Box<str>,
    /// As told at its start.
    pub(super) fact: RecordingFact,
}

/// State of the thread.
pub(super) struct Sealer {
    shared: Arc<Shared>,
    inbox: Receiver<ToSealer>,
    jobs: VecDeque<Job>,
    /// Jobs that failed, until the instant.
    later: VecDeque<(Instant, Job)>,
    open: BTreeMap<RecordingId, Synced>,
    due: VecDeque<(Instant, RecordingId)>,
    ledgers: BTreeMap<Box<str>, Ledger>,
}

/// An open file.
struct Synced {
    file: Arc<File>,
    /// Until it is synced: writers do not wait for the disk.
    note: Option<PathBuf>,
}

impl Synced {
    fn sync(&mut self) -> io::Result<()> {
        if let Some(note) = &self.note {
            File::open(note)?.sync_all()?;
            self.note = None;
        }
        self.file.sync_data()
    }
}

impl Opened {
    /// Writes the note.
    pub(super) fn note(&self, root: &Path) -> io::Result<()> {
        let path = self.note_path(root);
        fs::create_dir_all(path.parent().expect("in the folder of notes"))?;
        fs::write(path, serde_json::to_vec(self)?)
    }

    /// Where the note stands.
    pub(super) fn note_path(&self, root: &Path) -> PathBuf {
        root.join(&*self.site).join(OPEN).join(format!("{}.json", self.fact.recording))
    }
}

/// The recordings that the run before did not seal, in order of their birth.
pub(super) fn left_open(root: &Path) -> io::Result<Vec<Opened>> {
    let mut found: Vec<Opened> = Vec::new();
    for site in fs::read_dir(root)? {
        let notes = match fs::read_dir(site?.path().join(OPEN)) {
            Ok(notes) => notes,
            Err(_) => continue, // No site's folder, or one without recordings.
        };
        for note in notes {
            let path = note?.path();
            match fs::read(&path).map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(opened)) => found.push(opened),
                Ok(Err(_)) | Err(_) => tracing::error!(path = %path.display(), "unreadable note of an open recording"),
            }
        }
    }
    found.sort_by_key(|opened| opened.fact.recording);
    Ok(found)
}

impl Sealer {
    pub(super) fn new(shared: Arc<Shared>, inbox: Receiver<ToSealer>, left_open: Vec<Opened>) -> Sealer {
        let job = |opened| Job { opened, finished: None, counted: false, line: None };
        Sealer {
            shared,
            inbox,
            jobs: left_open.into_iter().map(job).collect(),
            later: VecDeque::new(),
            open: BTreeMap::new(),
            due: VecDeque::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// Works until all writers are gone and everything was tried to be sealed.
    pub(super) fn run(mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(message) => {
                    self.take(message);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
            let now = Instant::now();
            let synced = self.sync_due(now);
            let sealed = self.seal_one(now);
            if synced || sealed {
                continue;
            }
            match self.inbox.recv_timeout(self.wait(now)) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What fails now keeps its note: the next start seals it.
        let failed = std::mem::take(&mut self.later).into_iter().map(|(_, job)| job);
        self.jobs.extend(failed);
        while let Some(mut job) = self.jobs.pop_front() {
            if let Err(error) = self.seal(&mut job) {
                self.shared.disk_error("seal", &error);
            }
        }
    }

    fn take(&mut self, message: ToSealer) {
        match message {
            ToSealer::Opened { recording, file, note } => {
                // Spread over the whole period by what is random in the id, so that files are not synced all at once.
                let spread = SYNC_EVERY.mul_f64(f64::from(recording.0 as u16) / 65536.0);
                self.open.insert(recording, Synced { file, note: Some(note) });
                let due = Instant::now() + spread;
                let at = self.due.partition_point(|(other, _)| *other <= due);
                self.due.insert(at, (due, recording));
            }
            ToSealer::Seal(job) => {
                self.open.remove(&job.opened.fact.recording);
                self.jobs.push_back(*job);
            }
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let next = [self.due.front().map(|(at, _)| *at), self.later.front().map(|(at, _)| *at)];
        next.into_iter().flatten().min().map_or(SYNC_EVERY, |at| at.saturating_duration_since(now))
    }

    /// Syncs the file that is due first, if one is; all at once when many are.
    fn sync_due(&mut self, now: Instant) -> bool {
        let due = self.due.partition_point(|(at, _)| *at <= now);
        let taken = if due < SYNC_ALL_FROM { due.min(1) } else { due };
        let mut live: Vec<RecordingId> = self.due.drain(..taken).map(|(_, recording)| recording).collect();
        live.retain(|recording| self.open.contains_key(recording));
        if let Some(first) = live.first().and_then(|recording| self.open.get_mut(recording)) {
            let synced =
                if live.len() == 1 { first.sync() } else { rustix::fs::syncfs(&first.file).map_err(io::Error::from) };
            if let Err(error) = synced {
                self.shared.disk_error("sync", &error);
            }
        }
        // All periods are equal, so the back of the queue is the right place.
        self.due.extend(live.into_iter().map(|recording| (now + SYNC_EVERY, recording)));
        taken > 0
    }

    fn seal_one(&mut self, now: Instant) -> bool {
        if let Some((_, job)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.jobs.push_back(job);
        }
        let Some(mut job) = self.jobs.pop_front() else {
            return false;
        };
        let which = job.opened.fact.recording.0;
        let sealed = fenced("sealer", which, || self.seal(&mut job));
        match sealed.unwrap_or_else(|Panicked| Err(io::Error::other("a fault of ours"))) {
            Ok(()) if job.counted => {
                self.shared.alive.fetch_sub(1, Ordering::Relaxed);
            }
            Ok(()) => {}
            Err(error) => {
                self.shared.disk_error("seal", &error);
                self.later.push_back((now + RETRY_AFTER, job));
            }
        }
        true
    }

    fn seal(&mut self, job: &mut Job) -> io::Result<()> {
        let line = match job.line.take() {
            Some(line) => line,
            None => self.chain_in(job)?,
        };
        let told = self.publish(&job.opened, &line);
        job.line = Some(line);
        (self.shared.facts)(&job.opened.site, Fact::Recording(Box::new(told?)));
        Ok(())
    }

    /// Makes the file whole and appends it to the manifest, unless the run before did so just before it died.
    fn chain_in(&mut self, job: &Job) -> io::Result<Vec<u8>> {
        let Opened { site, fact } = &job.opened;
        let folder = self.shared.settings.root.join(&**site);
        let ledger = self.ledger(site, &folder)?;
        match ledger.find(fact.recording) {
            Some(line) => Ok(line.to_vec()),
            None => ledger.append(recorded(job, &folder.join(&*fact.path))?),
        }
    }

    /// Writes the entry beside the file and takes the note away.
    fn publish(&self, opened: &Opened, line: &[u8]) -> io::Result<RecordingFact> {
        let entry = read(line).map_err(io::Error::other)?;
        let root = &self.shared.settings.root;
        replace(&root.join(&*opened.site).join(&*entry.recorded.path).with_extension("json"), line)?;
        match fs::remove_file(opened.note_path(root)) {
            Ok(()) => {}
            // It could never be written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(finished_fact(&opened.fact, &entry.recorded))
    }

    fn ledger(&mut self, site: &str, folder: &Path) -> io::Result<&mut Ledger> {
        if !self.ledgers.contains_key(site) {
            fs::create_dir_all(folder)?;
            self.ledgers.insert(site.into(), Ledger::open(folder)?);
        }
        Ok(self.ledgers.get_mut(site).expect("just opened"))
    }
}

/// Makes the file whole and on disk, and says what it holds.
fn recorded(job: &Job, wav: &Path) -> io::Result<Recorded> {
    let Opened { site, fact } = &job.opened;
    fs::create_dir_all(wav.parent().expect("below the site's folder"))?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(wav)?;
    let samples = mend(&file)?;
    file.sync_all()?;
    let length = Duration::from_nanos(samples * 1_000_000_000 / u64::from(SAMPLE_HZ));
    let whole = job.finished.filter(|finished| finished.samples == samples);
    Ok(Recorded {
        site: site.clone(),
        recording: fact.recording,
        contact: fact.contact,
        path: fact.path.clone(),
        started: fact.started,
        ended: whole.map_or(fact.started + length, |finished| finished.ended),
        samples,
        bytes: format::bytes_of(samples),
        sha256: hash(file)?,
        damaged: whole.is_none_or(|finished| finished.damaged),
    })
}

/// Makes the header of a file that nobody writes agree with its length; gives the samples of each channel.
///
/// # Errors
/// What the system says.
pub fn mend_at(path: &Path) -> io::Result<u64> {
    mend(&OpenOptions::new().read(true).write(true).open(path)?)
}

/// Makes the header agree with the length of the file, after whatever happened; gives the samples of each channel.
fn mend(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let frames = format::frames_in(length);
    let mut found = vec![0; format::HEADER_BYTES as usize];
    let read = file.read_at(&mut found, 0)?;
    if format::parse(&found[..read]) != Ok(frames) {
        file.write_all_at(&format::header(frames), 0)?;
    }
    if length != format::bytes_of(frames) {
        file.set_len(format::bytes_of(frames))?;
    }
    Ok(frames)
}

fn hash(mut file: File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hash.finalize().into())),
            count => hash.update(&piece[..count]),
        }
    }
}

fn finished_fact(begun: &RecordingFact, recorded: &Recorded) -> RecordingFact {
    RecordingFact {
        revision: begun.revision + 1,
        path: recorded.path.clone(),
        finished: Some(RecordingFinished {
            ended: recorded.ended,
            duration_ms: recorded.samples * 1000 / u64::from(SAMPLE_HZ),
            bytes: recorded.bytes,
            sha256: recorded.sha256.to_string().into(),
            damaged: recorded.damaged,
        }),
        ..begun.clone()
    }
}

/// Writes a small file so that a crash of ours leaves it whole or not at all. After a power cut the manifest has it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(&part, path)
}
