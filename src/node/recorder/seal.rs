//! The thread that syncs files to disk and seals what is finished, also what a crash left open.
//!
//! To seal is to make the header agree with the length, sync, hash, chain into the site's manifest and write the entry
//! beside the file, take the note of the open recording away and tell the fact: in this order, so that a crash in
//! between repeats steps but loses and doubles nothing. The disk is slow to sync and quick at all else, so whatever waits
//! is sealed together: the files of a group are synced at once, and its entries are one write and one sync.

use super::folders::Place;
use super::ledger::Ledger;
use super::notes::{Opened, Slot};
use super::{Shared, stand_back};
use crate::base::fact::{RecordingFact, RecordingFinished};
use crate::base::{Fact, RecordingId};
use crate::node::guard::{Panicked, fenced};
use crate::node::wires::lock;
use crate::recording::format;
use crate::recording::manifest::{Digest, Recorded, read};
use crate::recording::{Finished, SAMPLE_HZ};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Each open file is synced this often; with a slow disk still within 10 s.
const SYNC_EVERY: Duration = Duration::from_secs(8);
/// When so many files are due at once, the whole file system is synced instead: it costs as much as a few files.
const SYNC_ALL_FROM: usize = 8;
/// Most recordings sealed together: what one sync is shared by, and how long the first of them waits for the last.
pub(super) const GROUP_MAX: usize = 256;
/// Groups that are not full follow each other no faster: nobody waits for a seal, and a sync costs the same for many.
const GROUP_EVERY: Duration = Duration::from_millis(500);
/// What comes to be sealed is looked at so often, so that the thread wakes once for many.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A recording of the process before that nobody takes up for so long, though its call goes on, is sealed.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(5);
/// A seal that failed is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Files are hashed in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;

/// To the sealing thread.
pub(super) enum ToSealer {
    /// Sync this file from now on, and its note once.
    Opened {
        /// Whose.
        recording: RecordingId,
        /// In which directory.
        place: Place,
        /// The sound.
        file: Arc<File>,
    },
    /// Nothing more will be written to this one.
    Seal {
        /// Which.
        opened: Box<Opened>,
        /// Where its note stands; `None` when it could never be written.
        slot: Option<Slot>,
        /// What its machine said at the end; `None` when a fault of ours cut it short.
        finished: Option<Finished>,
    },
}

/// A recording to be sealed.
pub(super) struct Job {
    opened: Opened,
    /// Where its note stands; `None` when it could never be written.
    slot: Option<Slot>,
    /// What its machine said at the end; `None` after a crash, or when a fault of ours cut it short.
    finished: Option<Finished>,
    /// Whether it ended in this run: only such ones count among those alive.
    counted: bool,
    /// As the writer left it. Taken by the first try: another one looks for the file by its name.
    file: Option<Arc<File>>,
    /// Its line of the manifest, once that is on disk: a seal that fails later is tried again without a second one.
    line: Option<Vec<u8>>,
}

/// The file of a job, as long as it says: to be synced, hashed and chained in.
struct Whole<'a> {
    job: &'a mut Job,
    file: Arc<File>,
    samples: u64,
    /// Whether a crash had cut it.
    repaired: bool,
}

/// State of the thread.
pub(super) struct Sealer {
    shared: Arc<Shared>,
    inbox: Receiver<ToSealer>,
    jobs: VecDeque<Job>,
    /// Jobs that failed, until the instant.
    later: VecDeque<(Instant, Job)>,
    /// When the next group may be sealed, full or not.
    next_group: Instant,
    /// When what nobody took up is sealed; `None` once that is done.
    forsaken: Option<Instant>,
    open: BTreeMap<RecordingId, Synced>,
    due: VecDeque<(Instant, RecordingId)>,
    ledgers: BTreeMap<(Place, Box<str>), Ledger>,
    /// What a file is read into to be hashed.
    piece: Box<[u8]>,
}

/// An open file.
struct Synced {
    file: Arc<File>,
    /// In which directory.
    place: Place,
    /// Whether its note is on disk: writers do not wait for that.
    noted: bool,
}

impl Sealer {
    pub(super) fn new(shared: Arc<Shared>, inbox: Receiver<ToSealer>, left_open: Vec<(Slot, Opened)>) -> Sealer {
        Sealer {
            shared,
            inbox,
            jobs: left_open.into_iter().map(|(slot, opened)| Job::left((Some(slot), opened))).collect(),
            later: VecDeque::new(),
            next_group: Instant::now(),
            forsaken: Some(Instant::now() + TAKEN_UP_WITHIN),
            open: BTreeMap::new(),
            due: VecDeque::new(),
            ledgers: BTreeMap::new(),
            piece: vec![0; PIECE_BYTES].into(),
        }
    }

    /// Works until all writers are gone and everything was tried to be sealed.
    pub(super) fn run(mut self) {
        stand_back();
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
            if self.forsaken.take_if(|at| *at <= now).is_some() {
                self.seal_forsaken();
            }
            while let Some((_, job)) = self.later.pop_front_if(|(at, _)| *at <= now) {
                self.jobs.push_back(job);
            }
            let sealed = (now >= self.next_group || self.jobs.len() >= GROUP_MAX) && self.seal_some(now);
            if synced || sealed {
                continue;
            }
            match self.inbox.recv_timeout(self.wait(now)) {
                Ok(message) => {
                    self.take(message);
                    // Asleep, not receiving.
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.seal_forsaken();
        // What fails now keeps its note: the next start seals it.
        let failed = std::mem::take(&mut self.later).into_iter().map(|(_, job)| job);
        self.jobs.extend(failed);
        while self.seal_some(Instant::now()) {}
    }

    fn seal_forsaken(&mut self) {
        let forsaken = std::mem::take(&mut *lock(&self.shared.running));
        self.jobs.extend(forsaken.into_values().map(|(slot, opened)| Job::left((Some(slot), opened))));
    }

    fn take(&mut self, message: ToSealer) {
        match message {
            ToSealer::Opened { recording, place, file } => {
                // Spread over the whole period by what is random in the id, so that files are not synced all at once.
                let spread = SYNC_EVERY.mul_f64(f64::from(recording.0 as u16) / 65536.0);
                if self.open.insert(recording, Synced { file, place, noted: false }).is_some() {
                    // It went to another directory, and is due when it was.
                    return;
                }
                let due = Instant::now() + spread;
                let at = self.due.partition_point(|(other, _)| *other <= due);
                self.due.insert(at, (due, recording));
            }
            ToSealer::Seal { opened, slot, finished } => {
                let file = self.open.remove(&opened.fact.recording).map(|synced| synced.file);
                self.jobs.push_back(Job { opened: *opened, slot, finished, counted: true, file, line: None });
            }
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let group = (!self.jobs.is_empty()).then_some(self.next_group);
        let next = [group, self.forsaken, self.due.front().map(|(at, _)| *at), self.later.front().map(|(at, _)| *at)];
        next.into_iter().flatten().min().map_or(SYNC_EVERY, |at| at.saturating_duration_since(now))
    }

    /// Syncs the file that is due first, if one is; all at once when many are.
    fn sync_due(&mut self, now: Instant) -> bool {
        let due = self.due.partition_point(|(at, _)| *at <= now);
        let mut live: Vec<(Instant, RecordingId)> = self.due.drain(..due).collect();
        live.retain(|(_, recording)| self.open.contains_key(recording));
        let Some(first) = live.first().and_then(|(_, recording)| self.open.get(recording)) else {
            return false;
        };
        let (file, place, noted) = (first.file.clone(), first.place, first.noted);
        // Those of another directory, which may be another file system, have their turn next.
        let (mut live, others): (Vec<_>, Vec<_>) =
            live.into_iter().partition(|(_, recording)| self.open[recording].place == place);
        others.into_iter().rev().for_each(|waits| self.due.push_front(waits));
        let synced = if live.len() < SYNC_ALL_FROM {
            live.drain(1..).rev().for_each(|waits| self.due.push_front(waits));
            file.sync_data()
        } else {
            rustix::fs::syncfs(&file).map_err(io::Error::from)
        };
        let synced = if noted { synced } else { synced.and(self.sync_notes(place)) };
        if let Err(error) = synced {
            self.shared.disk_error("sync", &error);
            self.shared.folders.pass_over(place, (self.shared.clock)().mono);
        }
        // All periods are equal, so the back of the queue is the right place.
        self.due.extend(live.into_iter().map(|(_, recording)| (now + SYNC_EVERY, recording)));
        true
    }

    fn sync_notes(&mut self, place: Place) -> io::Result<()> {
        self.shared.folders.notes(place).sync()?;
        // Whose opening was told had its note written before.
        self.open.values_mut().filter(|open| open.place == place).for_each(|open| open.noted = true);
        Ok(())
    }

    /// Seals the next group, if anything waits. What fails is tried again later.
    fn seal_some(&mut self, now: Instant) -> bool {
        let mut sites: BTreeMap<(Place, Box<str>), Vec<Job>> = BTreeMap::new();
        for job in self.jobs.drain(..self.jobs.len().min(GROUP_MAX)) {
            sites.entry((job.opened.place, job.opened.site.clone())).or_default().push(job);
        }
        if sites.is_empty() {
            return false;
        }
        self.next_group = now + GROUP_EVERY;
        for (site, mut jobs) in sites {
            // Notes taken away before are gone for good before the manifest grows: those that a power cut leaves are of
            // its last lines, and are found there.
            let group = jobs[0].opened.fact.recording.0;
            let chained =
                fenced("sealer", group, || self.sync_notes(site.0).and_then(|()| self.chain_in(&site, &mut jobs)));
            match chained {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.shared.disk_error("seal", &error),
                Err(Panicked) => self.chain_in_alone(&site, &mut jobs),
            }
            for job in jobs {
                self.publish(now, job);
            }
        }
        true
    }

    /// Makes the files of one site whole and appends them to its manifest, in their order, but for those the run before
    /// had in it just before it died. A file that fails leaves its job without a line and the others alone.
    fn chain_in(&mut self, site: &(Place, Box<str>), jobs: &mut [Job]) -> io::Result<()> {
        let folder = self.shared.folders.of_site(site.0, &site.1);
        let shared = self.shared.clone();
        let (ledger, piece) = self.ledger(site, &folder)?;
        let failed = |error: io::Error| shared.disk_error("seal", &error);
        for job in jobs.iter_mut().filter(|job| job.line.is_none() && !job.counted) {
            job.line = ledger.find(&job.opened.fact).map(<[u8]>::to_vec);
        }
        let fresh = jobs.iter_mut().filter(|job| job.line.is_none());
        let mut group: Vec<Whole> = fresh.filter_map(|job| Whole::make(job, &folder).map_err(failed).ok()).collect();
        let together = group.len() >= SYNC_ALL_FROM && rustix::fs::syncfs(&group[0].file).is_ok();
        if !together {
            group.retain(|whole| whole.file.sync_all().map_err(failed).is_ok());
        }
        let (mut entries, mut chained) = (Vec::new(), Vec::new());
        for whole in group {
            match whole.recorded(piece) {
                Ok(entry) => {
                    entries.push(entry);
                    chained.push(whole.job);
                }
                Err(error) => failed(error),
            }
        }
        for (job, line) in chained.into_iter().zip(ledger.append(entries)?) {
            job.line = Some(line);
        }
        Ok(())
    }

    /// After a panic in a group: each of it by itself, so that the one at fault keeps no other from its seal.
    fn chain_in_alone(&mut self, site: &(Place, Box<str>), jobs: &mut [Job]) {
        for job in jobs {
            let which = job.opened.fact.recording.0;
            let chained = fenced("sealer", which, || self.chain_in(site, std::slice::from_mut(job)));
            if let Err(error) = chained.unwrap_or_else(|Panicked| Err(io::Error::other("a fault of ours"))) {
                self.shared.disk_error("seal", &error);
            }
        }
    }

    /// Tells of a recording that is in the manifest; keeps what is not, or cannot be told yet, for later.
    fn publish(&mut self, now: Instant, job: Job) {
        let told = job.line.as_deref().and_then(|line| {
            let told = write_beside(&self.shared, &job, line);
            told.map_err(|error| self.shared.disk_error("seal", &error)).ok()
        });
        let Some(fact) = told else {
            return self.later.push_back((now + RETRY_AFTER, job));
        };
        (self.shared.facts)(&job.opened.site, Fact::Recording(Box::new(fact)));
        if job.counted {
            self.shared.alive.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The manifest of a site in a directory, and what files are read into.
    fn ledger(&mut self, site: &(Place, Box<str>), folder: &Path) -> io::Result<(&mut Ledger, &mut [u8])> {
        if !self.ledgers.contains_key(site) {
            fs::create_dir_all(folder)?;
            self.ledgers.insert(site.clone(), Ledger::open(folder)?);
        }
        Ok((self.ledgers.get_mut(site).expect("just opened"), &mut self.piece))
    }
}

impl Job {
    /// A recording that a crash left open.
    fn left((slot, opened): (Option<Slot>, Opened)) -> Job {
        Job { opened, slot, finished: None, counted: false, file: None, line: None }
    }
}

impl Whole<'_> {
    /// Makes the file agree with itself, in the site's folder.
    fn make<'a>(job: &'a mut Job, folder: &Path) -> io::Result<Whole<'a>> {
        let file = match job.file.take() {
            Some(file) => file,
            None => {
                let wav = folder.join(&*job.opened.fact.path);
                let mut open = OpenOptions::new();
                open.read(true).write(true).create(true).truncate(false);
                Arc::new(in_folder(&wav, || open.open(&wav))?)
            }
        };
        let Mended { samples, changed } = mend(&file)?;
        let repaired = changed && !job.counted;
        Ok(Whole { job, file, samples, repaired })
    }

    /// Says what it holds.
    fn recorded(&self, piece: &mut [u8]) -> io::Result<Recorded> {
        let Opened { site, fact, .. } = &self.job.opened;
        let samples = self.samples;
        let length = Duration::from_nanos(samples * 1_000_000_000 / u64::from(SAMPLE_HZ));
        let whole = self.job.finished.as_ref().filter(|finished| finished.samples == samples);
        Ok(Recorded {
            site: site.clone(),
            recording: fact.recording,
            contact: fact.contact,
            path: fact.path.clone(),
            started: fact.started,
            ended: whole.map_or(fact.started + length, |finished| finished.ended),
            samples,
            bytes: format::bytes_of(samples),
            sha256: hash(&self.file, piece)?,
            damaged: whole.is_none_or(|finished| finished.damaged),
            marks: whole.map(|finished| finished.marks.clone()).unwrap_or_default(),
            repaired: self.repaired,
        })
    }
}

/// Writes the entry beside the file and takes the note away. The manifest is the truth, so the entry is not synced: as
/// long as the note stands, the next start writes it again.
fn write_beside(shared: &Shared, job: &Job, line: &[u8]) -> io::Result<RecordingFact> {
    let recorded = read(line).map_err(io::Error::other)?.recorded;
    let wav = shared.folders.of_site(job.opened.place, &recorded.site).join(&*recorded.path);
    fs::write(wav.with_extension("json"), line)?;
    job.slot.map_or(Ok(()), |slot| shared.folders.notes(job.opened.place).clear(slot))?;
    Ok(finished_fact(&job.opened.fact, &recorded))
}

/// Makes the header of a file that nobody writes agree with its length.
///
/// # Errors
/// What the system says.
pub fn mend_at(path: &Path) -> io::Result<()> {
    mend(&OpenOptions::new().read(true).write(true).open(path)?).map(|_| ())
}

/// Seals a recording that a crash left open and that no engine writes: header, manifest, entry beside the file. Gives the
/// fact to be told, and whether the header was written anew. What the next start does for recordings that have a note,
/// with the same result, so that both may be done.
///
/// # Errors
/// What the system says.
pub fn seal_left(root: &Path, site: &str, begun: &RecordingFact) -> io::Result<(RecordingFact, bool)> {
    let folder = root.join(site);
    let mut ledger = Ledger::open(&folder)?;
    let line = match ledger.find(begun) {
        Some(line) => line.to_vec(),
        None => {
            // A file that is not there is no recording of silence here: the row says nothing of a note.
            let file = OpenOptions::new().read(true).write(true).open(folder.join(&*begun.path))?;
            let mut job = Job::left((None, Opened { site: site.into(), fact: begun.clone(), place: Place::default() }));
            job.file = Some(Arc::new(file));
            let whole = Whole::make(&mut job, &folder)?;
            whole.file.sync_all()?;
            let entry = whole.recorded(&mut vec![0; PIECE_BYTES])?;
            ledger.append([entry])?.pop().expect("one entry, one line")
        }
    };
    let recorded = read(&line).map_err(io::Error::other)?.recorded;
    fs::write(folder.join(&*recorded.path).with_extension("json"), &line)?;
    Ok((finished_fact(begun, &recorded), recorded.repaired))
}

/// What was found and done.
struct Mended {
    /// Of each channel.
    samples: u64,
    changed: bool,
}

/// Makes the header agree with the length of the file, after whatever happened.
fn mend(file: &File) -> io::Result<Mended> {
    let length = file.metadata()?.len();
    let frames = format::frames_in(length);
    let mut found = vec![0; format::HEADER_BYTES as usize];
    let read = file.read_at(&mut found, 0)?;
    let (cut, torn) = (format::parse(&found[..read]) != Ok(frames), length != format::bytes_of(frames));
    if cut {
        file.write_all_at(&format::header(frames), 0)?;
    }
    if torn {
        file.set_len(format::bytes_of(frames))?;
    }
    Ok(Mended { samples: frames, changed: cut || torn })
}

/// The sizes in the header stand before the sound and are known after it, so this cannot run along with the writing.
fn hash(file: &File, piece: &mut [u8]) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        match file.read_at(piece, offset)? {
            0 => return Ok(Digest(hash.finalize().into())),
            count => {
                hash.update(&piece[..count]);
                offset += count as u64;
            }
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

/// Does something to the file at `path`; when that fails for want of its folder, again with the folder.
pub(super) fn in_folder<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("in a folder"))?;
            act()
        }
        done => done,
    }
}
