//! The recorder: taps of all media threads in, files, manifests and facts out.
//!
//! Two or more writer threads run the recordings' machines ([`crate::recording::Session`]); all taps of one recording go
//! to the same thread. One more thread syncs files to disk, staggered, and seals what is finished: header, hash, manifest,
//! fact. Media never waits: what a full channel cannot take is lost, counted and marks its recordings damaged, but the
//! start and the end of a recording are kept and given again. Disk errors never reach the call.
//!
//! There may be two directories: while the first fails, recordings go on in the second ([`folders`]).
//!
//! Below each directory, by site: `YYYY/MM/DD/<contact>.wav` and `.json` beside it, and `manifest.jsonl` (the chain); for all
//! sites `open.jsonl`, a note of each recording that is not sealed yet: what a crash leaves is found there.

mod folders;
mod ledger;
mod notes;
mod seal;
mod sound_file;
mod writer;

pub use seal::{mend_at as mend, seal_left};

use super::alarm::Alarm;
use crate::base::{Fact, Now, RecordingId};
use crate::media::event::Tap;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

/// Fewest writer threads: one slow file must not stop all others.
pub const THREADS_MIN: usize = 2;
/// Batches a writer's channel holds: 5 s of two media threads' 20 ms, some 160 MiB at 2,500 recordings.
const BATCHES_MAX: usize = 512;

/// How much less urgent the recorder's threads are than those that carry calls.
const NICE: i32 = 5;

/// What the recorder needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the sites' folders stand: the first that works is used.
    pub folders: Vec<PathBuf>,
    /// Writer threads, at least [`THREADS_MIN`].
    pub threads: usize,
    /// Most recordings at once, those included that wait to be sealed. Beyond it calls go unrecorded.
    pub recordings_max: usize,
    /// Recordings of the process before, which died, that go on: they are not sealed.
    pub running: BTreeSet<RecordingId>,
}

/// Takes a fact of the site with this code. Called from the recorder's threads; it must not wait long.
pub type Facts = Arc<dyn Fn(&str, Fact) + Send + Sync>;
/// Reads the node's clock: the one that taps are stamped with.
pub type Clock = fn() -> Now;

/// What went wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = RecorderFaults)]
pub struct Faults {
    /// Batches whose sound was lost to a full channel.
    pub batches_lost: u64,
    /// Recordings refused for [`Settings::recordings_max`] or an unusable site code.
    pub refused: u64,
    /// File operations that failed.
    pub disk: u64,
}

/// How the recorder stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = RecorderCounts)]
pub struct Counts {
    /// Recordings begun and not yet sealed.
    pub unsealed: usize,
    /// Directories that failed within the last half minute, and that recordings are kept away from if there is another.
    pub failing: usize,
    /// What went wrong so far.
    pub faults: Faults,
}

/// A way to read the recorder's counts from elsewhere.
pub struct Gauge(Arc<Shared>);

impl Gauge {
    /// How it stands now.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { alive, batches_lost, refused, disk, folders, clock, .. } = &*self.0;
        let faults = Faults { batches_lost: batches_lost.count(), refused: read(refused), disk: disk.count() };
        let failing = folders.passed_over(clock().mono);
        Counts { unsealed: alive.load(Ordering::Relaxed), failing, faults }
    }
}

/// The running recorder.
pub struct Recorder {
    shared: Arc<Shared>,
    lanes: Vec<SyncSender<Message>>,
    threads: Vec<JoinHandle<()>>,
}

/// A media thread's way into the recorder. Made by [`Recorder::intake`], one for each thread.
pub struct Intake {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
}

/// What all threads of the recorder share.
struct Shared {
    settings: Settings,
    clock: Clock,
    facts: Facts,
    folders: folders::Folders,
    /// Recordings that go on as soon as media say so. What nobody takes up is sealed after a while.
    running: Mutex<BTreeMap<RecordingId, (notes::Slot, notes::Opened)>>,
    /// Recordings begun and not yet sealed.
    alive: AtomicUsize,
    batches_lost: Alarm,
    refused: AtomicU64,
    disk: Alarm,
}

/// To a writer thread.
enum Message {
    Batch(Batch),
    /// Finish all and end.
    Stop,
}

/// Taps of one media thread for one writer thread.
#[derive(Default)]
struct Batch {
    taps: Vec<Tap>,
    /// Recordings some of whose packets were lost before these taps.
    damaged: BTreeSet<RecordingId>,
}

/// One media thread's taps for one writer thread.
struct Lane {
    to: SyncSender<Message>,
    /// What goes with the next try: fresh taps, and starts and ends that found no room before.
    next: Batch,
}

impl Recorder {
    /// Starts the threads. What a crash left open is repaired, sealed and told as damaged, on the sealing thread.
    pub fn start(settings: Settings, clock: Clock, facts: Facts) -> io::Result<Recorder> {
        let disk = Alarm::default();
        let (folders, left) = folders::Folders::open(&settings.folders, &disk)?;
        let left = folders::once(&folders, left);
        let goes_on = |opened: &notes::Opened| settings.running.contains(&opened.fact.recording);
        let (running, left_open): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, opened)| goes_on(opened));
        let running = running.into_iter().map(|(slot, opened)| (opened.fact.recording, (slot, opened))).collect();
        let writers = settings.threads.max(THREADS_MIN);
        // Each recording sends three messages in its life at most, so there is room for all that are admitted.
        let (to_sealer, jobs) = sync_channel(3 * settings.recordings_max);
        let shared = Arc::new(Shared {
            settings,
            clock,
            facts,
            folders,
            running: Mutex::new(running),
            alive: AtomicUsize::new(0),
            batches_lost: Alarm::default(),
            refused: AtomicU64::new(0),
            disk,
        });
        let mut recorder = Recorder { shared: shared.clone(), lanes: Vec::new(), threads: Vec::new() };
        for number in 0..writers {
            let (lane, intake) = sync_channel(BATCHES_MAX);
            let writer = writer::Writer::new(shared.clone(), intake, to_sealer.clone());
            recorder.lanes.push(lane);
            recorder.threads.push(Builder::new().name(format!("recorder-{number}")).spawn(move || writer.run())?);
        }
        let sealer = seal::Sealer::new(shared, jobs, left_open);
        recorder.threads.push(Builder::new().name("recorder-sync".into()).spawn(move || sealer.run())?);
        Ok(recorder)
    }

    /// A new way in, for one media thread.
    pub fn intake(&self) -> Intake {
        let lane = |to: &SyncSender<Message>| Lane { to: to.clone(), next: Batch::default() };
        Intake { shared: self.shared.clone(), lanes: self.lanes.iter().map(lane).collect() }
    }

    /// For whoever watches.
    pub fn gauge(&self) -> Gauge {
        Gauge(self.shared.clone())
    }

    /// Finishes and seals all recordings, then ends the threads. Taps given after it are lost.
    pub fn stop(self) {
        for lane in &self.lanes {
            // A writer that is gone already has nothing to finish.
            let _ = lane.send(Message::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a recorder thread had panicked");
            }
        }
    }
}

impl Intake {
    /// Gives taps, in order. Never waits. To be called every 20 ms or so, also with none, so that starts and ends that
    /// found no room before are given again.
    pub fn give(&mut self, taps: impl IntoIterator<Item = Tap>) {
        let lanes = self.lanes.len() as u64;
        for tap in taps {
            // The low half of a recording's id is a hash already.
            let lane = (recording_of(&tap).0 as u64 % lanes) as usize;
            self.lanes[lane].next.taps.push(tap);
        }
        for lane in &mut self.lanes {
            if lane.offer() {
                self.shared.batches_lost.raise((self.shared.clock)().mono, 1, |count| {
                    tracing::error!(count, "the recorder does not keep up: sound is lost");
                });
            }
        }
    }
}

impl Lane {
    /// Whether sound was lost.
    fn offer(&mut self) -> bool {
        if self.next.taps.is_empty() && self.next.damaged.is_empty() {
            return false;
        }
        // The next batch is likely to be as large.
        let next = Batch { taps: Vec::with_capacity(self.next.taps.len()), damaged: BTreeSet::new() };
        let refused = match self.to.try_send(Message::Batch(std::mem::replace(&mut self.next, next))) {
            Ok(()) => return false,
            Err(TrySendError::Full(message)) => message,
            // The recorder has stopped: there is nobody to give them to again.
            Err(TrySendError::Disconnected(_)) => return true,
        };
        let Message::Batch(Batch { taps, mut damaged }) = refused else { unreachable!("a batch was offered") };
        let given = taps.len();
        let keep = |tap: &Tap| match tap {
            Tap::Start(_) | Tap::Hide(_) | Tap::Pause { .. } | Tap::Resume { .. } | Tap::Finish { .. } => true,
            Tap::Audio(audio) => {
                damaged.insert(audio.recording);
                false
            }
        };
        let taps: Vec<Tap> = taps.into_iter().filter(keep).collect();
        let lost = taps.len() < given;
        self.next = Batch { taps, damaged };
        lost
    }
}

fn recording_of(tap: &Tap) -> RecordingId {
    match tap {
        Tap::Start(start) => start.recording,
        Tap::Audio(audio) => audio.recording,
        Tap::Hide(hidden) => hidden.recording,
        Tap::Pause { recording, .. } | Tap::Resume { recording, .. } | Tap::Finish { recording, .. } => *recording,
    }
}

impl Shared {
    /// Counts a disk error and logs it, at most once a second.
    fn disk_error(&self, what: &'static str, error: &io::Error) {
        self.disk.raise((self.clock)().mono, 1, |count| {
            tracing::error!(%error, count, what, "a recording cannot be written; it is tried again");
        });
    }
}

/// Nobody waits for a recording: on a busy machine calls come first. On Linux this is the calling thread's own.
fn stand_back() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "a thread of the recorder is as urgent as all others");
    }
}

#[cfg(test)]
mod tests;
