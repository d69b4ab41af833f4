//! What queues are told goes to disk, off every call's path, so that it can be said later why a caller got this agent.
//!
//! Owns the way there: each ACD task hands over its inputs in batches, with a copy of its machine every
//! [`SEGMENT_EVERY`]; one thread writes them (`store::routing`). Nothing waits for the disk: a batch that finds no room is
//! counted and missing, and a new segment begins with the machine as it then stands. Nothing here is looked at when a call
//! is distributed.

use super::alarm::Alarm;
use super::clock;
use crate::acd::Acd;
use crate::acd::event::{Command, Event};
use crate::acd::explain::Names;
use crate::base::{Mono, Now, SiteId, Wall};
use crate::config::Routing;
use crate::store::routing::{Began, Head, Segment, trim};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;

/// A segment is so long.
const SEGMENT_EVERY: Duration = Duration::from_secs(600);
/// Batches that may wait for the disk, of all sites; a batch is one look of a task at its mailbox.
const BATCHES_MAX: usize = 256;
/// After a failure or for want of room nothing is tried for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// Old segments are looked for no more often.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// Why a segment begins, as the task knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Start,
    Behind,
    /// Since then inputs are missing.
    Gap(Wall),
    Fault,
}

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Inputs that found no room on their way to disk.
    pub(super) inputs: AtomicU64,
    /// Failed writes.
    pub(super) writes: Alarm,
}

#[derive(Debug, Default)]
struct Batch {
    /// Each input with how many commands had been given by its end.
    steps: Vec<(Now, Option<Event>, usize)>,
    commands: Vec<Command>,
}

enum Message {
    Begin(SiteId, Why, Box<Head>),
    Steps(SiteId, Batch),
}

#[derive(Clone, Copy, Debug)]
enum Stands {
    Open { since: Mono },
    Closed { why: Why, until: Mono },
}

/// A task's side: its inputs on their way.
pub(super) struct Tale {
    site: SiteId,
    to: mpsc::Sender<Message>,
    losses: Arc<Losses>,
    /// Raised by the thread: what was handed over could not be written.
    failed: Arc<AtomicBool>,
    stands: Stands,
    batch: Batch,
}

impl Tale {
    /// The copy of an input that will be handed over; none while nothing is.
    pub(super) fn copied(&self, event: &Option<Event>) -> Option<Event> {
        match self.stands {
            Stands::Open { .. } => event.clone(),
            Stands::Closed { .. } => None,
        }
    }

    /// One input and what was said to it.
    pub(super) fn note(&mut self, now: Now, event: Option<Event>, said: &[Command]) {
        match self.stands {
            Stands::Open { .. } => {
                self.batch.commands.extend_from_slice(said);
                self.batch.steps.push((now, event, self.batch.commands.len()));
            }
            Stands::Closed { .. } => _ = self.losses.inputs.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Hands over what was noted. Says when a new segment is due.
    pub(super) fn give(&mut self, now: Now) -> Option<Why> {
        let Stands::Open { since } = self.stands else {
            return match self.stands {
                Stands::Closed { why, until } if until <= now.mono => Some(why),
                Stands::Closed { .. } | Stands::Open { .. } => None,
            };
        };
        if self.failed.load(Ordering::Relaxed) {
            return self.close(now, now.wall);
        }
        if let Some(&(first, ..)) = self.batch.steps.first() {
            let place = self.to.try_reserve().ok();
            let Some(()) = place.map(|place| place.send(Message::Steps(self.site, std::mem::take(&mut self.batch))))
            else {
                return self.close(now, first.wall);
            };
        }
        (now.mono.since(since) >= SEGMENT_EVERY).then_some(Why::Behind)
    }

    /// Begins a segment, if there is room for it.
    pub(super) fn begin(&mut self, now: Now, why: Why, stands: impl FnOnce() -> (Names, Acd)) {
        let why = match (self.stands, why) {
            (Stands::Closed { why: Why::Gap(since), .. }, _) => Why::Gap(since),
            (Stands::Open { .. } | Stands::Closed { .. }, why) => why,
        };
        self.batch = Batch::default();
        self.stands = match self.to.try_reserve() {
            Ok(place) => {
                self.failed.store(false, Ordering::Relaxed);
                let (names, acd) = stands();
                let head = Head { began: Began::Start, at: now.wall, names, acd };
                place.send(Message::Begin(self.site, why, Box::new(head)));
                Stands::Open { since: now.mono }
            }
            Err(_) => Stands::Closed {
                why: if why == Why::Behind { Why::Gap(now.wall) } else { why },
                until: now.mono + PAUSE,
            },
        };
    }

    fn close(&mut self, now: Now, since: Wall) -> Option<Why> {
        let lost = std::mem::take(&mut self.batch).steps.len() as u64;
        self.losses.inputs.fetch_add(lost, Ordering::Relaxed);
        self.stands = Stands::Closed { why: Why::Gap(since), until: now.mono + PAUSE };
        None
    }
}

/// The thread that writes; it ends when the tasks are gone.
pub(super) struct RoutingWriter(JoinHandle<()>);

impl RoutingWriter {
    /// Starts it, and gives the task of each site of these codes its side.
    pub(super) fn start(
        folder: PathBuf,
        keep: Routing,
        sites: Vec<Box<str>>,
        losses: &Arc<Losses>,
    ) -> io::Result<(RoutingWriter, Vec<Tale>)> {
        let (to, messages) = mpsc::channel(BATCHES_MAX);
        let failed: Vec<Arc<AtomicBool>> = sites.iter().map(|_| Arc::default()).collect();
        let tale = |(site, failed): (u16, &Arc<AtomicBool>)| Tale {
            site: SiteId(site),
            to: to.clone(),
            losses: losses.clone(),
            failed: failed.clone(),
            stands: Stands::Closed { why: Why::Start, until: Mono(0) },
            batch: Batch::default(),
        };
        let tales = (0u16..).zip(&failed).map(tale).collect();
        let losses = losses.clone();
        let (open, lost) = (BTreeMap::new(), BTreeMap::new());
        let writer = Writer { folder, keep, sites, losses, failed, open, lost, trimmed: None };
        let thread = Builder::new().name("routing".into()).spawn(move || writer.run(messages))?;
        Ok((RoutingWriter(thread), tales))
    }

    /// Waits for the last of it; the tasks must be gone.
    pub(super) fn stop(self) {
        if self.0.join().is_err() {
            tracing::error!("the thread that keeps what queues are told had panicked");
        }
    }
}

struct Writer {
    folder: PathBuf,
    keep: Routing,
    /// Codes.
    sites: Vec<Box<str>>,
    losses: Arc<Losses>,
    failed: Vec<Arc<AtomicBool>>,
    open: BTreeMap<SiteId, Segment>,
    /// Since when inputs are missing that were handed over.
    lost: BTreeMap<SiteId, Wall>,
    trimmed: Option<Mono>,
}

impl Writer {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            self.take(first);
            while let Ok(message) = messages.try_recv() {
                self.take(message);
            }
            let sites: Vec<SiteId> = self.open.keys().copied().collect();
            for site in sites {
                let flushed = self.open.get_mut(&site).map_or(Ok(()), Segment::flush);
                self.written(site, clock::now().wall, flushed);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin(site, why, head) => {
                let at = head.at;
                let begun = self.begin(site, why, *head);
                self.written(site, at, begun);
                self.trim();
            }
            Message::Steps(site, batch) => {
                let Some(segment) = self.open.get_mut(&site) else {
                    self.losses.inputs.fetch_add(batch.steps.len() as u64, Ordering::Relaxed);
                    return;
                };
                let first = batch.steps.first().map_or_else(|| clock::now().wall, |(now, ..)| now.wall);
                let (mut from, mut done) = (0, Ok(()));
                for (now, event, until) in batch.steps {
                    done = done.and_then(|()| segment.step(now, event, &batch.commands[from..until]));
                    from = until;
                }
                self.written(site, first, done);
            }
        }
    }

    fn begin(&mut self, site: SiteId, why: Why, head: Head) -> io::Result<()> {
        let before = self.open.remove(&site);
        let mut behind = before.as_ref().map(Segment::number);
        if let Some(Err(error)) = before.map(|mut before| before.flush()) {
            self.lost.entry(site).or_insert(head.at);
            behind = None;
            tracing::debug!(%error, "the end of a segment is missing");
        }
        let began = match (self.lost.get(&site), why, behind) {
            (Some(&since), Why::Gap(other), _) => Began::Gap { since: since.min(other) },
            (Some(&since), _, _) => Began::Gap { since },
            (None, Why::Gap(since), _) => Began::Gap { since },
            (None, Why::Behind, Some(number)) => Began::Behind(number),
            (None, Why::Behind, None) => Began::Gap { since: head.at },
            (None, Why::Start, _) => Began::Start,
            (None, Why::Fault, _) => Began::Fault,
        };
        let folder = self.folder_of(site);
        let segment = Segment::begin(&folder, behind.unwrap_or(0), &Head { began, ..head })?;
        self.lost.remove(&site);
        self.open.insert(site, segment);
        Ok(())
    }

    fn written(&mut self, site: SiteId, since: Wall, done: io::Result<()>) {
        let Err(error) = done else { return };
        self.open.remove(&site);
        self.lost.entry(site).or_insert(since);
        self.failed[site.index()].store(true, Ordering::Relaxed);
        self.losses.writes.raise(clock::now().mono, 1, |count| {
            tracing::error!(%error, count, "what queues are told cannot be written: what they decide now cannot be explained");
        });
    }

    fn trim(&mut self) {
        let now = clock::now();
        if self.trimmed.is_some_and(|at| now.mono.since(at) < TRIM_EVERY) {
            return;
        }
        self.trimmed = Some(now.mono);
        let trimmed =
            folders(&self.folder).and_then(|folders| trim(&folders, now.wall, self.keep.keep, self.keep.bytes_max));
        if let Err(error) = trimmed {
            self.losses.writes.raise(now.mono, 1, |count| {
                tracing::error!(%error, count, "old files of what queues were told cannot be removed");
            });
        }
    }

    fn folder_of(&self, site: SiteId) -> PathBuf {
        self.folder.join(&*self.sites[site.index()])
    }
}

fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acd::event::Settings;
    use crate::base::AgentId;
    use crate::store::routing::{Reader, list};

    const KEEP: Routing = Routing { keep: Duration::from_secs(86_400), bytes_max: 1 << 30 };

    fn at(ms: u64) -> Now {
        Now { mono: Mono::from_ms(ms), wall: Wall(1_700_000_000_000 + ms as i64) }
    }

    fn stands() -> (Names, Acd) {
        (Names::default(), Acd::new(Arc::new(Settings::default()), 1))
    }

    fn input() -> Option<Event> {
        Some(Event::Phone { agent: AgentId(1), up: true })
    }

    /// How each segment began, and how many steps it holds.
    fn segments(folder: &Path) -> Vec<(Began, usize)> {
        let read = |path: &Path| {
            let (mut reader, head) = Reader::open(path).unwrap();
            (head.began, std::iter::from_fn(|| reader.step().unwrap()).count())
        };
        list(folder).unwrap().iter().map(|segment| read(&segment.path)).collect()
    }

    #[test]
    fn inputs_arrive_in_segments_of_ten_minutes() {
        let folder = tempfile::tempdir().unwrap();
        let losses = Arc::default();
        let (writer, mut tales) = RoutingWriter::start(folder.path().into(), KEEP, vec!["fz".into()], &losses).unwrap();
        let tale = &mut tales[0];
        tale.begin(at(0), Why::Start, stands);
        for minute in 0..25 {
            let now = at(minute * 60_000);
            let told = tale.copied(&input());
            tale.note(now, told, &[]);
            if let Some(why) = tale.give(now) {
                tale.begin(now, why, stands);
            }
        }
        drop(tales);
        writer.stop();
        let found = segments(&folder.path().join("fz"));
        let steps: Vec<usize> = found.iter().map(|(_, steps)| *steps).collect();
        assert_eq!(steps, [11, 10, 4]);
        assert!(matches!(found[1].0, Began::Behind(_)) && matches!(found[2].0, Began::Behind(_)), "{found:?}");
        assert_eq!((losses.inputs.load(Ordering::Relaxed), losses.writes.count()), (0, 0));
    }

    /// Nobody reads: the channel fills up.
    #[test]
    fn what_finds_no_room_is_counted_and_a_gap_begins_the_next_segment() {
        let (to, mut messages) = mpsc::channel(2);
        let losses: Arc<Losses> = Arc::default();
        let stand = Stands::Closed { why: Why::Start, until: Mono(0) };
        let (failed, batch) = (Arc::default(), Batch::default());
        let mut tale = Tale { site: SiteId(0), to, losses: losses.clone(), failed, stands: stand, batch };
        tale.begin(at(0), Why::Start, stands);
        for ms in 1..=5 {
            let told = tale.copied(&input());
            tale.note(at(ms), told, &[]);
            assert_eq!(tale.give(at(ms)), None);
        }
        assert_eq!(losses.inputs.load(Ordering::Relaxed), 4);
        assert!(tale.copied(&input()).is_none(), "nothing is copied for nobody");
        let later = at(2 + PAUSE.as_millis() as u64);
        let why = tale.give(later);
        assert_eq!(why, Some(Why::Gap(at(2).wall)));
        tale.begin(later, Why::Behind, || panic!("no machine is copied without room"));
        while messages.try_recv().is_ok() {}
        tale.begin(later, Why::Behind, stands);
        let Ok(Message::Begin(_, why, _)) = messages.try_recv() else { panic!("a segment begins") };
        assert_eq!(why, Why::Gap(at(2).wall), "whatever the reason now, inputs are missing");
    }

    #[test]
    fn a_disk_that_fails_is_counted_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let site = folder.path().join("fz");
        std::fs::write(&site, "no folder").unwrap();
        let losses = Arc::default();
        let (writer, mut tales) = RoutingWriter::start(folder.path().into(), KEEP, vec!["fz".into()], &losses).unwrap();
        let tale = &mut tales[0];
        tale.begin(at(0), Why::Start, stands);
        while !tale.failed.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let told = tale.copied(&input());
        tale.note(at(5), told, &[]);
        assert_eq!(tale.give(at(5)), None);
        std::fs::remove_file(&site).unwrap();
        let later = at(5 + PAUSE.as_millis() as u64);
        let why = tale.give(later).expect("it is tried again");
        tale.begin(later, why, stands);
        let told = tale.copied(&input());
        tale.note(later, told, &[]);
        assert_eq!(tale.give(later), None);
        drop(tales);
        writer.stop();
        assert_eq!(segments(&site), [(Began::Gap { since: at(0).wall }, 1)]);
        assert_eq!((losses.inputs.load(Ordering::Relaxed), losses.writes.count()), (1, 1));
    }
}
