//! A writer thread: runs the machines of its recordings and carries out what they command.

use super::folders::{self, Place};
use super::notes::{Opened, Slot};
use super::seal::{ToSealer, in_folder};
use super::sound_file::SoundFile;
use super::{Batch, Message, Shared, stand_back};
use crate::base::fact::RecordingFact;
use crate::base::{Fact, Mono, RecordingId};
use crate::media::event::{RecordingStart, Tap, Track};
use crate::node::guard::fenced;
use crate::node::wires::lock;
use crate::recording::format;
use crate::recording::{Command, Event, FLUSH, Finished, LATE_MAX, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::Duration;

/// While anything is recorded, what came is looked at so often. Until then the thread sleeps and does not wait, so that
/// media threads, which give something every 20 ms, need not wake it. With what a session holds back, less than a second
/// of sound is not written yet.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const _: () = assert!(LATE_MAX.as_millis() + FLUSH.as_millis() + LOOK_EVERY.as_millis() + 20 < 1_000);
/// Most files of one contact: a call restored after a crash begins another.
const FILES_PER_CONTACT_MAX: u32 = 100;
/// Longest site code that is taken for the name of a folder.
const SITE_BYTES_MAX: usize = 64;

/// State of the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    intake: Receiver<Message>,
    sealer: SyncSender<ToSealer>,
    open: BTreeMap<RecordingId, Recording>,
    deadlines: BTreeSet<(Mono, RecordingId)>,
    /// Kept to spare allocations.
    commands: Vec<Command>,
}

/// One recording.
struct Recording {
    session: Session,
    opened: Opened,
    /// Where its note stands; together with the file.
    slot: Option<Slot>,
    /// `None` while it could not be created.
    file: Option<SoundFile>,
    damaged: bool,
    deadline: Option<Mono>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, intake: Receiver<Message>, sealer: SyncSender<ToSealer>) -> Writer {
        Writer { shared, intake, sealer, open: BTreeMap::new(), deadlines: BTreeSet::new(), commands: Vec::new() }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        stand_back();
        loop {
            // Read before looking into the channel: when that is empty, no tap from before `now` is still to come but
            // those of the last 20 ms, which media threads hold back. They are late by less than a packet may be.
            let now = (self.shared.clock)();
            let message = match self.intake.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if self.open.is_empty() => match self.intake.recv() {
                    Ok(message) => message,
                    Err(RecvError) => break,
                },
                Err(TryRecvError::Empty) => {
                    self.expire(now.mono);
                    thread::sleep(LOOK_EVERY);
                    continue;
                }
            };
            match message {
                Message::Batch(batch) => self.take(batch),
                Message::Stop => break,
            }
        }
        self.finish_all((self.shared.clock)().mono);
    }

    fn take(&mut self, Batch { taps, damaged }: Batch) {
        for recording in &damaged {
            self.handle(*recording, Event::Damaged);
        }
        for tap in taps {
            match tap {
                Tap::Start(start) => {
                    let recording = start.recording;
                    self.begin(start);
                    if damaged.contains(&recording) {
                        self.handle(recording, Event::Damaged);
                    }
                }
                Tap::Audio(audio) => self.handle(audio.recording, Event::Audio(audio)),
                Tap::Hide(hidden) => self.handle(hidden.recording, Event::Hide(hidden)),
                Tap::Pause { recording, at, reason } => self.handle(recording, Event::Pause { at, reason }),
                Tap::Resume { recording, at } => self.handle(recording, Event::Resume { at }),
                Tap::Finish { recording, at } => self.handle(recording, Event::Finish { at }),
            }
        }
    }

    fn begin(&mut self, start: RecordingStart) {
        // Counted first: two writers never admit the same last one.
        let full = self.shared.alive.fetch_add(1, Ordering::Relaxed) >= self.shared.settings.recordings_max;
        if full || !is_folder_name(&start.site) || self.open.contains_key(&start.recording) {
            self.shared.alive.fetch_sub(1, Ordering::Relaxed);
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(recording = %start.recording, full, "a recording is refused");
            return;
        }
        let running = lock(&self.shared.running).remove(&start.recording);
        if let Some((slot, opened)) = running {
            return self.go_on(&start, slot, opened);
        }
        let fact = RecordingFact {
            recording: start.recording,
            revision: 1,
            contact: start.contact,
            path: path_of(&start, 1).into(),
            started: start.started.wall,
            finished: None,
        };
        let mut commands = Vec::new();
        let session = Session::begin(&start, &mut commands);
        let opened = Opened { site: start.site, fact, place: Place::default() };
        let mut recording = Recording { session, opened, slot: None, file: None, damaged: false, deadline: None };
        recording.carry_out(&self.shared, &self.sealer, &mut commands);
        self.opened(recording);
    }

    /// A recording of a process that died goes on behind what is written; the gap is silence, by our fault. One whose file
    /// cannot be opened is sealed as far as it came.
    fn go_on(&mut self, start: &RecordingStart, slot: Slot, opened: Opened) {
        let path = self.shared.folders.file(&opened);
        let found = OpenOptions::new().read(true).write(true).open(path);
        let (file, length) = match found.and_then(|file| file.metadata().map(|it| (file, it.len()))) {
            Ok(found) => found,
            Err(error) => {
                self.shared.disk_error("go on", &error);
                return tell(
                    &self.sealer,
                    ToSealer::Seal { opened: Box::new(opened), slot: Some(slot), finished: None },
                );
            }
        };
        let file = Arc::new(file);
        let place = opened.place;
        tell(&self.sealer, ToSealer::Opened { recording: start.recording, place, file: file.clone() });
        let frames = format::frames_in(length);
        let session = Session::resume(start, frames);
        let file = Some(SoundFile::written(file, frames));
        let recording = Recording { session, opened, slot: Some(slot), file, damaged: true, deadline: None };
        self.opened(recording);
    }

    fn opened(&mut self, recording: Recording) {
        let Opened { site, fact, .. } = &recording.opened;
        (self.shared.facts)(site, Fact::Recording(Box::new(fact.clone())));
        let key = fact.recording;
        self.open.insert(key, recording);
        self.after(key, None);
    }

    fn handle(&mut self, key: RecordingId, event: Event) {
        self.step(key, |session, out| session.handle(event, out));
    }

    fn expire(&mut self, now: Mono) {
        while let Some((at, key)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, key));
            self.open.get_mut(&key).expect("deadlines are of open recordings").deadline = None;
            self.step(key, |session, out| session.expire(now, out));
        }
    }

    /// One step of a recording. One that panics ends it: what is written so far is sealed as damaged.
    fn step(&mut self, key: RecordingId, step: impl FnOnce(&mut Session, &mut Vec<Command>)) {
        let Some(recording) = self.open.get_mut(&key) else {
            return;
        };
        let mut commands = std::mem::take(&mut self.commands);
        let session = &mut recording.session;
        if fenced("recorder", key.0, || step(session, &mut commands)).is_err() {
            return self.cut(key);
        }
        let finished = recording.carry_out(&self.shared, &self.sealer, &mut commands);
        self.commands = commands;
        self.after(key, finished);
    }

    fn cut(&mut self, key: RecordingId) {
        let Recording { opened, slot, deadline, .. } = self.open.remove(&key).expect("its step was cut");
        deadline.map(|at| self.deadlines.remove(&(at, key)));
        tell(&self.sealer, ToSealer::Seal { opened: Box::new(opened), slot, finished: None });
    }

    /// Keeps the deadline, or hands a finished recording over to be sealed.
    fn after(&mut self, key: RecordingId, finished: Option<Finished>) {
        let recording = self.open.get_mut(&key).expect("just looked at");
        let deadline = recording.session.next_deadline();
        if recording.deadline != deadline {
            recording.deadline.map(|at| self.deadlines.remove(&(at, key)));
            deadline.map(|at| self.deadlines.insert((at, key)));
            recording.deadline = deadline;
        }
        if let Some(finished) = finished {
            let Recording { opened, slot, damaged, .. } = self.open.remove(&key).expect("just looked at");
            let finished = Finished { damaged: finished.damaged || damaged, ..finished };
            tell(&self.sealer, ToSealer::Seal { opened: Box::new(opened), slot, finished: Some(finished) });
        }
    }

    fn finish_all(&mut self, at: Mono) {
        let keys: Vec<RecordingId> = self.open.keys().copied().collect();
        for key in keys {
            self.handle(key, Event::Finish { at });
        }
    }
}

impl Recording {
    /// Does what the machine commands; a failure marks the recording and the next write is tried all the same.
    fn carry_out(
        &mut self,
        shared: &Shared,
        sealer: &SyncSender<ToSealer>,
        commands: &mut Vec<Command>,
    ) -> Option<Finished> {
        let mut finished = None;
        for command in commands.drain(..) {
            if let Command::Finished(end) = command {
                finished = Some(end);
            } else if let Err(error) = self.write(shared, sealer, &command) {
                shared.disk_error("write", &error);
                let elsewhere = self.move_on(shared, sealer).and_then(|()| self.write(shared, sealer, &command));
                self.damaged |= elsewhere.is_err();
            }
        }
        finished
    }

    fn write(&mut self, shared: &Shared, sealer: &SyncSender<ToSealer>, command: &Command) -> io::Result<()> {
        if self.file.is_none() {
            let (file, slot) = self.opened.create(shared)?;
            let file = SoundFile::new(self.announced(sealer, self.opened.place, file));
            (self.file, self.slot) = (Some(file), Some(slot));
        }
        let file = self.file.as_mut().expect("just opened");
        match command {
            Command::Write { offset, bytes } => file.write(*offset, bytes),
            Command::Fill { offset, length } => file.fill_to(offset + length),
            Command::Sizes { frames, header } => file.patch(*frames, header),
            Command::Finished(_) => Ok(()),
        }
    }

    /// Goes on in another directory that works, under the same name, with all that is written so far. What cannot be read
    /// any more becomes silence.
    fn move_on(&mut self, shared: &Shared, sealer: &SyncSender<ToSealer>) -> io::Result<()> {
        let now = (shared.clock)().mono;
        let (Some(before), Some(slot)) = (&self.file, self.slot) else { return Err(io::ErrorKind::NotFound.into()) };
        shared.folders.pass_over(self.opened.place, now);
        let place = shared.folders.beside(self.opened.place, now).ok_or(io::ErrorKind::StorageFull)?;
        let there = Opened { place, ..self.opened.clone() };
        let (file, noted) = there.create_in(shared)?;
        let file = self.announced(sealer, place, file);
        let (file, whole) = before.copied_to(file);
        self.damaged |= !whole;
        let gone = std::mem::replace(&mut self.opened, there);
        (self.file, self.slot) = (Some(file), Some(noted));
        folders::forget(&shared.folders, slot, &gone);
        Ok(())
    }

    /// Tells the sealer of a new file.
    fn announced(&self, sealer: &SyncSender<ToSealer>, place: Place, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let recording = self.opened.fact.recording;
        tell(sealer, ToSealer::Opened { recording, place, file: file.clone() });
        file
    }
}

impl Opened {
    /// Creates the file under the first name that is free in all directories, in the first of them that takes it.
    fn create(&mut self, shared: &Shared) -> io::Result<(File, Slot)> {
        let first: Box<str> = self.fact.path.clone();
        let folders = &shared.folders;
        let names = (1..=FILES_PER_CONTACT_MAX).map(|number| numbered(&first, number));
        // Nobody else writes here: what is free now is free at its creation.
        let taken = |name: &String| folders.places().any(|it| folders.of_site(it, &self.site).join(name).exists());
        let name = names.into_iter().find(|name| !taken(name)).ok_or(io::ErrorKind::AlreadyExists)?;
        self.fact.path = name.into();
        let now = (shared.clock)().mono;
        let mut failed = None;
        for place in folders.in_turn(now) {
            self.place = place;
            let created = self.create_in(shared);
            // What failed last is the caller's to tell.
            if let Some(error) = failed.take() {
                shared.disk_error("create", &error);
            }
            match created {
                Ok(created) => return Ok(created),
                Err(error) => {
                    folders.pass_over(place, now);
                    failed = Some(error);
                }
            }
        }
        // The next try begins anew, with the first name.
        self.fact.path = first;
        Err(failed.expect("there is a directory, and it failed"))
    }

    /// Creates the file in its directory. The note comes first, so that no crash leaves a file of which nobody knows; a file
    /// that is noted and missing is made by the next start.
    fn create_in(&self, shared: &Shared) -> io::Result<(File, Slot)> {
        let (path, notes) = (shared.folders.file(self), shared.folders.notes(self.place));
        notes.write(self).and_then(|slot| {
            match in_folder(&path, || OpenOptions::new().read(true).write(true).create_new(true).open(&path)) {
                Ok(file) => Ok((file, slot)),
                Err(error) => notes.clear(slot).and(Err(error)),
            }
        })
    }
}

/// Gives the sealer a message. There is room: admitted recordings are fewer than its channel holds.
fn tell(sealer: &SyncSender<ToSealer>, message: ToSealer) {
    match sealer.try_send(message) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => panic!("more messages than recordings were admitted"),
        Err(TrySendError::Disconnected(_)) => tracing::error!("the sealing thread is gone: a recording stays open"),
    }
}

fn path_of(start: &RecordingStart, number: u32) -> String {
    let started = jiff::Timestamp::from_millisecond(start.started.wall.0).unwrap_or_default();
    let party = match &start.track {
        Track::Journey => String::new(),
        Track::Party(name) => format!("-{}", name.as_str()),
    };
    numbered(&format!("{}/{}{party}.wav", started.strftime("%Y/%m/%d"), start.contact), number)
}

/// `x.wav`, `x-2.wav` …
fn numbered(first: &str, number: u32) -> String {
    match (number, first.strip_suffix(".wav")) {
        (1, _) | (_, None) => first.into(),
        (_, Some(stem)) => format!("{stem}-{number}.wav"),
    }
}

/// Site codes are checked with the configuration; this is the last fence before the file system.
fn is_folder_name(site: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !site.is_empty() && site.len() <= SITE_BYTES_MAX && site.bytes().all(allowed)
}
