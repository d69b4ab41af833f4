//! The recorder as a whole, on real files below a temporary folder. Waits for facts, never for time.

use super::folders::Place;
use super::ledger::Ledger;
use super::notes::{BLANK, NAME as NOTES, Notes, Opened, SLOT_BYTES};
use super::*;
use crate::base::fact::RecordingFact;
use crate::base::{ContactId, Mono, Wall};
use crate::media::event::{Audio, Channel, RecordingStart, Track};
use crate::recording::manifest::{Chain, Digest, NAME, Recorded, Why, read, verify};
use crate::recording::{SILENCE, format};
use crate::sdp::Codec;
use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;
use tempfile::TempDir;

/// 2026-11-22T16:30:00Z.
const START: Now = Now { mono: Mono::from_ms(5_000), wall: Wall(1_795_365_000_000) };

/// A recorder whose clock stands before all taps, so that only taps move time.
struct Bench {
    root: TempDir,
    recorder: Recorder,
    facts: Receiver<(String, RecordingFact)>,
}

/// Beyond what is sealed together.
const RECORDINGS_MAX: usize = 2 * seal::GROUP_MAX;

fn bench_on(root: TempDir, clock: Clock) -> Bench {
    bench_after(root, clock, BTreeSet::new())
}

fn bench_after(root: TempDir, clock: Clock, running: BTreeSet<RecordingId>) -> Bench {
    let (to, facts) = std::sync::mpsc::channel();
    // The second is there only for tests that make it.
    let folders = ["recordings", "second"].map(|name| root.path().join(name));
    let folders = folders.into_iter().enumerate().filter(|(place, path)| *place == 0 || path.exists());
    let folders = folders.map(|(_, path)| path).collect();
    let settings = Settings { folders, threads: 2, recordings_max: RECORDINGS_MAX, running };
    let tell = move |site: &str, fact: Fact| {
        let Fact::Recording(fact) = fact else { panic!("facts of recordings only") };
        // A test that has seen enough no longer listens.
        let _ = to.send((site.to_owned(), *fact));
    };
    let recorder = Recorder::start(settings, clock, Arc::new(tell)).expect("a recorder");
    Bench { root, recorder, facts }
}

fn bench() -> Bench {
    bench_on(TempDir::new().expect("a folder"), || Now { mono: Mono(0), wall: Wall(0) })
}

impl Bench {
    fn next_fact(&self) -> RecordingFact {
        let (site, fact) = self.facts.recv_timeout(Duration::from_secs(20)).expect("a fact");
        assert_eq!(site, "hefei");
        fact
    }

    fn finished(&self, recording: u128) -> RecordingFact {
        loop {
            let fact = self.finished_any();
            if fact.recording == RecordingId(recording) {
                return fact;
            }
        }
    }

    fn finished_any(&self) -> RecordingFact {
        loop {
            let fact = self.next_fact();
            if fact.finished.is_some() {
                return fact;
            }
        }
    }

    fn site(&self) -> std::path::PathBuf {
        self.root.path().join("recordings/hefei")
    }
}

fn start(recording: u128) -> Tap {
    let (contact, site) = (ContactId(recording + 1_000), "hefei".into());
    Tap::Start(RecordingStart {
        recording: RecordingId(recording),
        contact,
        site,
        started: START,
        track: Track::Journey,
    })
}

fn audio(recording: u128, channel: Channel, count: u64) -> Tap {
    Tap::Audio(Audio {
        recording: RecordingId(recording),
        channel,
        at: START.mono + Duration::from_millis(20 * count),
        ssrc: 7,
        sequence: count as u16,
        timestamp: 160 * count as u32,
        codec: Codec::Pcma,
        payload: vec![count as u8; 160].into(),
    })
}

fn finish(recording: u128, ms: u64) -> Tap {
    Tap::Finish { recording: RecordingId(recording), at: START.mono + Duration::from_millis(ms) }
}

fn side(file: &[u8], channel: usize) -> Vec<u8> {
    file[format::HEADER_BYTES as usize..].iter().skip(channel).step_by(2).copied().collect()
}

fn lines(manifest: &[u8]) -> impl Iterator<Item = &[u8]> {
    manifest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn verified(site: &Path) -> Chain {
    let manifest = fs::read(site.join(NAME)).expect("a manifest");
    verify(lines(&manifest)).expect("an unbroken chain")
}

#[test]
fn a_recording_from_end_to_end() {
    let bench = bench();
    let mut intake = bench.recorder.intake();
    intake.give([start(1)]);
    for count in 0..150 {
        intake.give([audio(1, Channel::Citizen, count), audio(1, Channel::Others, count)]);
    }
    intake.give([finish(1, 3_000)]);
    let begun = bench.next_fact();
    assert_eq!((begun.revision, begun.finished.clone()), (1, None));
    assert_eq!(&*begun.path, format!("2026/11/22/{}.wav", ContactId(1_001)));
    let told = bench.finished(1);
    let finished = told.finished.clone().expect("finished");
    assert_eq!((told.revision, &told.path, finished.damaged), (2, &begun.path, false));
    assert_eq!((finished.duration_ms, finished.ended), (3_000, START.wall + Duration::from_secs(3)));

    let file = fs::read(bench.site().join(&*told.path)).expect("the file");
    assert_eq!((format::parse(&file), file.len() as u64), (Ok(24_000), finished.bytes));
    assert_eq!(*finished.sha256, Digest::of(&file).to_string());
    let expected: Vec<u8> = (0..24_000u32).map(|frame| (frame / 160) as u8).collect();
    assert!(side(&file, 0) == expected && side(&file, 1) == expected);

    assert_eq!(verified(&bench.site()).number, 1);
    let beside = fs::read(bench.site().join(&*told.path).with_extension("json")).expect("the entry beside");
    let entry = read(&beside).expect("an entry").recorded;
    assert_eq!((entry.samples, entry.sha256, &entry.path), (24_000, Digest::of(&file), &told.path));
    assert_eq!(notes_in(&bench.root.path().join("recordings")), 0);
    assert_eq!(bench.recorder.gauge().counts().faults, Faults::default());
    bench.recorder.stop();
}

/// How many notes of open recordings there are.
fn notes_in(root: &Path) -> usize {
    Notes::open(root).expect("the notes").1.len()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// What stands on disk in mid-call is what `kill -9` leaves: playable as it is, and sealed by the next start.
#[test]
fn what_a_crash_leaves_is_playable_and_sealed_by_the_next_start() {
    let before = bench();
    let mut intake = before.recorder.intake();
    intake.give([start(2)]);
    (0..150).for_each(|count| intake.give([audio(2, Channel::Citizen, count)]));
    // Of the same thread, so that all before it is written once it is told.
    intake.give([start(4), finish(4, 20)]);
    before.finished(4);

    let after = TempDir::new().expect("a folder");
    copy(before.root.path(), after.path());
    let wav = after.path().join(format!("recordings/hefei/2026/11/22/{}.wav", ContactId(1_002)));
    let file = fs::read(&wav).expect("the file");
    let playable = format::parse(&file).expect("a header");
    assert!(playable >= 8 * 2_000 && format::frames_in(file.len() as u64) == playable, "within a second of the end");
    // A torn write at the very end.
    fs::write(&wav, [&file[..], &[1]].concat()).expect("written");

    let after = bench_on(after, || Now { mono: Mono(0), wall: Wall(0) });
    let told = after.finished(2);
    let finished = told.finished.expect("finished");
    let mended = fs::read(&wav).expect("the file");
    assert_eq!((told.revision, finished.damaged, finished.duration_ms), (2, true, playable / 8));
    assert_eq!((format::parse(&mended), mended.len()), (Ok(playable), file.len()));
    assert_eq!(*finished.sha256, Digest::of(&mended).to_string());
    assert_eq!(verified(&after.site()).number, 2, "the chain goes on across the restart");

    // The restored call begins another recording of the same contact: another file.
    after.recorder.intake().give([start(2), finish(2, 40)]);
    assert_eq!(&*after.finished(2).path, format!("2026/11/22/{}-2.wav", ContactId(1_002)));
    after.recorder.stop();
    before.recorder.stop();
}

/// `jiesu verify --repair` and then the next start: one line of the manifest, said to be repaired, and the same fact.
#[test]
fn what_a_crash_leaves_can_be_sealed_before_the_next_start() {
    let bench = bench();
    bench.recorder.intake().give([start(1), audio(1, Channel::Citizen, 0), audio(1, Channel::Citizen, 60)]);
    let begun = bench.next_fact();
    let after = TempDir::new().expect("a folder");
    let root = after.path().join("recordings");
    copy(&bench.root.path().join("recordings"), &root);
    bench.recorder.stop();
    let wav = root.join("hefei").join(&*begun.path);
    let mut cut = format::header(0).to_vec();
    cut.extend([SILENCE; 16_001]);
    fs::write(&wav, &cut).expect("a file");

    let (told, repaired) = seal_left(&root, "hefei", &begun).expect("sealed");
    let finished = told.finished.clone().expect("finished");
    assert_eq!((repaired, told.revision, finished.duration_ms, finished.damaged), (true, 2, 1_000, true));
    assert_eq!(*finished.sha256, Digest::of(&fs::read(&wav).expect("the file")).to_string());
    assert_eq!(seal_left(&root, "hefei", &begun).expect("sealed").0, told);
    let next = bench_on(after, || Now { mono: Mono(0), wall: Wall(0) });
    assert_eq!(next.finished(1), told);
    let manifest = fs::read(next.site().join(NAME)).expect("a manifest");
    assert!(read(lines(&manifest).last().expect("a line")).expect("an entry").recorded.repaired);
    assert_eq!((verified(&next.site()).number, notes_in(&root)), (1, 0));
}

#[test]
fn a_disk_error_marks_the_recording_and_writing_goes_on_when_it_is_over() {
    let bench = bench();
    // A file where the site's folder should be.
    fs::write(bench.site(), b"").expect("written");
    let mut intake = bench.recorder.intake();
    intake.give([start(6)]);
    (0..60).for_each(|count| intake.give([audio(6, Channel::Citizen, count)]));
    intake.give([start(8)]);
    while bench.next_fact().recording != RecordingId(8) {}
    assert!(bench.recorder.gauge().counts().faults.disk > 0);
    fs::remove_file(bench.site()).expect("removed");
    (60..150).for_each(|count| intake.give([audio(6, Channel::Citizen, count)]));
    intake.give([finish(6, 3_000)]);
    let told = bench.finished(6);
    let finished = told.finished.expect("finished");
    assert_eq!((finished.damaged, finished.duration_ms), (true, 3_000));
    let file = fs::read(bench.site().join(&*told.path)).expect("the file");
    let heard = side(&file, 0);
    assert_eq!((format::parse(&file), heard[0], heard[23_999]), (Ok(24_000), SILENCE, 149));
    bench.recorder.stop();
}

#[test]
fn stopping_finishes_and_seals_everything() {
    let bench = bench_on(TempDir::new().expect("a folder"), || START.after(Duration::from_secs(10)));
    let mut intake = bench.recorder.intake();
    for recording in 1..=20 {
        intake.give([start(recording), audio(recording, Channel::Others, 0)]);
    }
    let (site, facts) = (bench.site(), bench.facts);
    bench.recorder.stop();
    let lengths = facts.try_iter().filter_map(|(_, fact)| Some(fact.finished?.duration_ms));
    assert_eq!(lengths.collect::<Vec<_>>(), [10_000; 20]);
    assert_eq!(verified(&site).number, 20);
    intake.give([start(99)]);
}

#[test]
fn what_cannot_be_admitted_is_refused() {
    let bench = bench();
    let mut intake = bench.recorder.intake();
    for site in ["", "..", "a/b", "合肥"] {
        let Tap::Start(good) = start(1) else { unreachable!("a start") };
        intake.give([Tap::Start(RecordingStart { site: site.into(), ..good })]);
    }
    intake.give((0..=RECORDINGS_MAX as u128).map(|recording| start(2 * recording)));
    intake.give([finish(2, 10)]);
    bench.finished(2);
    assert_eq!(bench.recorder.gauge().counts().faults.refused, 5);
    bench.recorder.stop();
}

#[test]
fn a_full_channel_loses_sound_but_no_start_and_no_end() {
    let bench = bench();
    let (to, writer) = sync_channel(1);
    let mut intake = Intake { shared: bench.recorder.shared.clone(), lanes: vec![Lane { to, next: Batch::default() }] };
    intake.give([start(1)]);
    intake.give([start(2), audio(1, Channel::Citizen, 0), audio(1, Channel::Others, 0)]);
    intake.give([audio(2, Channel::Citizen, 1), finish(1, 40)]);
    assert_eq!(bench.recorder.gauge().counts().faults.batches_lost, 2);
    let batch = |message| match message {
        Ok(Message::Batch(batch)) => batch,
        Ok(Message::Stop) | Err(_) => panic!("a batch was given"),
    };
    assert_eq!(batch(writer.try_recv()).taps, [start(1)]);
    intake.give([audio(2, Channel::Citizen, 2)]);
    let second = batch(writer.try_recv());
    assert_eq!(second.taps, [start(2), finish(1, 40), audio(2, Channel::Citizen, 2)]);
    assert_eq!(second.damaged, [RecordingId(1), RecordingId(2)].into());
    intake.give([]);
    assert!(writer.try_recv().is_err(), "nothing is given twice");
    bench.recorder.stop();
}

#[test]
fn a_manifest_goes_on_after_whatever_a_crash_left_of_it() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(NAME);
    let recorded = |key: u128| Recorded {
        site: "hefei".into(),
        recording: RecordingId(key),
        contact: ContactId(key),
        path: "x.wav".into(),
        started: Wall(0),
        ended: Wall(0),
        samples: 0,
        bytes: 58,
        sha256: Digest::NONE,
        damaged: false,
        repaired: false,
        marks: Vec::new(),
    };
    let mut ledger = Ledger::open(folder.path()).expect("a manifest");
    // More than the tail that is read again.
    assert_eq!(ledger.append((1..=12_000).map(recorded)).expect("appended").len(), 12_000);
    let mut torn = fs::read(&path).expect("the manifest");
    torn.extend(b"{\"version\":1,\"numb");
    fs::write(&path, &torn).expect("written");
    let mut ledger = Ledger::open(folder.path()).expect("a manifest");
    let found = |key: u128, path: &str| {
        let (recording, contact, path) = (RecordingId(key), ContactId(key), path.into());
        ledger
            .find(&RecordingFact { recording, revision: 1, contact, path, started: Wall(0), finished: None })
            .is_some()
    };
    assert!(found(12_000, "x.wav") && found(12_000 - 2 * seal::GROUP_MAX as u128, "x.wav"));
    assert!(!found(1, "x.wav") && !found(12_000, "x-2.wav"));
    assert!(ledger.append([]).expect("nothing to append").is_empty());
    ledger.append([recorded(12_001)]).expect("appended");
    assert_eq!(verified(folder.path()).number, 12_001);

    let mut foreign = fs::read(&path).expect("the manifest");
    foreign.extend(b"rubbish\n");
    fs::write(&path, &foreign).expect("written");
    let line = Ledger::open(folder.path()).expect("a manifest").append([recorded(12_003)]).expect("appended");
    let entry = read(&line[0]).expect("an entry");
    assert_eq!((entry.number, entry.previous), (12_003, Digest::of(b"rubbish")));
    let manifest = fs::read(&path).expect("the manifest");
    let broken = verify(lines(&manifest));
    assert_eq!(broken.map_err(|broken| (broken.line, broken.why)), Err((12_002, Why::Unreadable)));
}

#[test]
fn a_panic_in_a_recording_seals_what_there_is_and_harms_no_other() {
    let bench = bench();
    let mut intake = bench.recorder.intake();
    intake.give([start(901), start(902)]);
    intake.give((1..=50).flat_map(|at| [901, 902].map(|key| audio(key, Channel::Citizen, at))));
    crate::node::guard::poison::put("recorder", 901);
    intake.give([audio(901, Channel::Citizen, 51)]);
    assert!(bench.finished(901).finished.is_some_and(|end| end.damaged));
    intake.give([finish(902, 2_000)]);
    assert!(bench.finished(902).finished.is_some_and(|end| !end.damaged));
    bench.recorder.stop();
}

/// The entry beside the file cannot be written at first: the seal is tried again, and the chain holds one line only.
#[test]
fn a_seal_that_fails_half_way_is_repeated_without_a_second_line() {
    let bench = bench();
    let mut intake = bench.recorder.intake();
    intake.give([start(1)]);
    let wav = bench.site().join(&*bench.next_fact().path);
    let obstacle = wav.with_extension("json");
    fs::create_dir_all(obstacle.join("x")).expect("a folder where the entry should be");
    intake.give([finish(1, 20)]);
    while bench.recorder.gauge().counts().faults.disk == 0 {
        std::thread::yield_now();
    }
    fs::remove_dir_all(&obstacle).expect("removed");
    bench.finished(1);
    assert_eq!(verified(&bench.site()).number, 1);
    assert!(obstacle.is_file());
    bench.recorder.stop();
}

#[test]
fn recordings_that_end_at_once_are_sealed_in_groups() {
    let bench = bench();
    let mut intake = bench.recorder.intake();
    let all = 1..=RECORDINGS_MAX as u128;
    intake.give(all.clone().flat_map(|key| [start(key), audio(key, Channel::Citizen, 0)]));
    intake.give(all.clone().map(|key| finish(key, 100)));
    for key in all {
        let told = bench.finished_any();
        let file = fs::read(bench.site().join(&*told.path)).expect("the file");
        let finished = told.finished.expect("finished");
        assert_eq!(*finished.sha256, Digest::of(&file).to_string());
        assert_eq!((finished.bytes, finished.damaged), (file.len() as u64, false), "the {key}th");
    }
    assert_eq!(verified(&bench.site()).number, RECORDINGS_MAX as u64);
    assert_eq!(bench.recorder.gauge().counts().faults, Faults::default());
    bench.recorder.stop();
}

/// How far a group's sealing had come when the power failed or the program was killed.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Bytes of the manifest that are on disk, of a thousand.
    manifest: usize,
    /// Entries beside the files that are whole; the next one is torn.
    beside: usize,
    /// Notes that are gone.
    notes: usize,
}

const KEYS: std::ops::RangeInclusive<u128> = 1..=5;

/// Takes away from a folder with everything sealed, and with all notes still there, what had not been done.
fn cut_off(root: &Path, Cut { manifest, beside, notes }: Cut) {
    let site = &root.join("hefei");
    let mut open = fs::read(root.join(NOTES)).expect("the notes");
    let whole = fs::read(site.join(NAME)).expect("the manifest");
    fs::write(site.join(NAME), &whole[..whole.len() * manifest / 1_000]).expect("written");
    for (at, line) in lines(&whole).enumerate() {
        let Recorded { recording, path, .. } = read(line).expect("an entry").recorded;
        let json = site.join(&*path).with_extension("json");
        match at.cmp(&beside) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => fs::write(json, b"{\"version\":1,\"num").expect("written"),
            std::cmp::Ordering::Greater => fs::remove_file(json).expect("removed"),
        }
        if at < notes {
            let name = format!("\"{recording}\"");
            let note = open.chunks_mut(SLOT_BYTES).find(|slot| String::from_utf8_lossy(slot).contains(&name));
            note.expect("its note").copy_from_slice(&BLANK);
        }
    }
    fs::write(root.join(NOTES), open).expect("written");
}

/// At whatever step a crash comes: each recording has one line and its copy in the end, and what still had its note is
/// told again, as it was sealed if its line was on disk.
#[test]
fn a_crash_between_any_two_steps_of_a_group_is_repaired_by_the_next_start() {
    let before = bench();
    let mut intake = before.recorder.intake();
    // One by one, so that all notes are there and nothing is sealed yet.
    for key in KEYS {
        intake.give([start(key), audio(key, Channel::Citizen, 0)]);
        before.next_fact();
    }
    let open = fs::read(before.root.path().join("recordings").join(NOTES)).expect("the notes");
    intake.give(KEYS.map(|key| finish(key, 100)));
    KEYS.for_each(|_| drop(before.finished_any()));
    let sealed = fs::read(before.site().join(NAME)).expect("the manifest");

    let manifests = [0, 1, 200, 333, 600, 999].map(|manifest| Cut { manifest, beside: 0, notes: 0 });
    let copies = [0, 1, 4, 5].map(|beside| Cut { manifest: 1_000, beside, notes: beside.saturating_sub(1) });
    let notes = [0, 1, 4, 5].map(|notes| Cut { manifest: 1_000, beside: notes, notes });
    for cut in manifests.into_iter().chain(copies).chain(notes) {
        let after = TempDir::new().expect("a folder");
        copy(before.root.path(), after.path());
        let root = after.path().join("recordings");
        let site = root.join("hefei");
        fs::write(root.join(NOTES), &open).expect("written");
        cut_off(&root, cut);
        let kept = sealed[..sealed.len() * cut.manifest / 1_000].iter().filter(|byte| **byte == b'\n').count();

        let after = bench_on(after, || Now { mono: Mono(0), wall: Wall(0) });
        let told: Vec<RecordingFact> = (cut.notes..5).map(|_| after.finished_any()).collect();
        after.recorder.stop();
        let damaged =
            told.iter().filter(|fact| fact.finished.as_ref().is_some_and(|finished| finished.damaged)).count();
        assert_eq!((damaged, after.facts.try_iter().count()), (5 - kept, 0), "{cut:?}");
        assert_eq!(verified(&site).number, 5, "{cut:?}");
        let manifest = fs::read(site.join(NAME)).expect("the manifest");
        for line in lines(&manifest) {
            let Recorded { path, sha256, .. } = read(line).expect("an entry").recorded;
            let wav = site.join(&*path);
            assert_eq!(Digest::of(&fs::read(&wav).expect("the file")), sha256, "{cut:?}");
            assert_eq!(fs::read(wav.with_extension("json")).expect("the entry beside"), line, "{cut:?}");
        }
        assert_eq!(notes_in(&root), 0, "{cut:?}");
    }
    before.recorder.stop();
}

#[test]
fn notes_take_the_first_free_slot_and_what_a_crash_tore_is_one() {
    let folder = TempDir::new().expect("a folder");
    let opened = |key: u128, site: &str| {
        let (recording, contact, path) = (RecordingId(key), ContactId(key), "x.wav".into());
        let fact = RecordingFact { recording, revision: 1, contact, path, started: Wall(0), finished: None };
        Opened { site: site.into(), fact, place: Place::default() }
    };
    let (notes, left) = Notes::open(folder.path()).expect("notes");
    assert!(left.is_empty());
    let slots = [3, 2, 1, 4].map(|key| notes.write(&opened(key, "hefei")).expect("written"));
    notes.clear(slots[1]).expect("cleared");
    assert_eq!(notes.write(&opened(5, "hefei")).expect("written"), slots[1]);
    notes.clear(slots[0]).expect("cleared");
    let long = notes.write(&opened(6, &"x".repeat(SLOT_BYTES))).map_err(|error| error.kind());
    assert_eq!(long, Err(io::ErrorKind::InvalidInput));
    let whole = fs::read(folder.path().join(NOTES)).expect("the notes");
    assert_eq!(whole.len(), 4 * SLOT_BYTES);
    fs::write(folder.path().join(NOTES), &whole[..whole.len() - SLOT_BYTES + 20]).expect("written");

    let (notes, left) = Notes::open(folder.path()).expect("notes");
    let left: Vec<_> = left.into_iter().map(|(slot, opened)| (slot, opened.fact.recording)).collect();
    assert_eq!(left, [(slots[2], RecordingId(1)), (slots[1], RecordingId(5))]);
    let free = [slots[0], slots[3]].map(|slot| (slot, notes.write(&opened(7, "hefei")).expect("written")));
    assert!(free.iter().all(|(expected, slot)| expected == slot));
}

#[test]
fn a_recording_of_a_process_that_died_goes_on_in_its_file() {
    let root = TempDir::new().expect("a folder");
    let folder = root.path().join("recordings");
    fs::create_dir_all(folder.join("hefei")).expect("a folder");
    let (notes, _) = Notes::open(&folder).expect("notes");
    for key in [1, 2, 3] {
        let (recording, contact, path) = (RecordingId(key), ContactId(key + 1_000), format!("{key}.wav").into());
        let fact = RecordingFact { recording, revision: 1, contact, path, started: START.wall, finished: None };
        notes.write(&Opened { site: "hefei".into(), fact, place: Place::default() }).expect("written");
        // One second, told as nothing by its header, and half a frame.
        let mut file = format::header(0).to_vec();
        file.resize(format::bytes_of(8_000) as usize + 1, 0x33);
        fs::write(folder.join(format!("hefei/{key}.wav")), file).expect("written");
    }
    drop(notes);
    let running = [1, 2].map(RecordingId).into();
    let bench = bench_after(root, || Now { mono: Mono(0), wall: Wall(0) }, running);
    assert_eq!(bench.finished_any().recording, RecordingId(3), "the one that does not go on is sealed at once");
    let taps: Vec<Tap> = (100..200).map(|count| audio(1, Channel::Citizen, count)).collect();
    bench.recorder.intake().give([start(1)].into_iter().chain(taps).chain([finish(1, 5_000)]));
    let fact = bench.finished(1);
    let finished = fact.finished.expect("its end");
    assert_eq!((&*fact.path, finished.duration_ms, finished.damaged), ("1.wav", 5_000, true));
    let left = side(&fs::read(bench.site().join("1.wav")).expect("the file"), 0);
    assert!(left[..8_000].iter().all(|byte| *byte == 0x33), "what was written stays");
    assert!(left[8_000..16_000].iter().all(|byte| *byte == SILENCE), "the gap");
    assert!((100..200).all(|count| left[160 * count..160 * (count + 1)].iter().all(|byte| *byte == count as u8)));
    assert_eq!(left.len(), 40_000);
    let Bench { recorder, facts, .. } = bench;
    recorder.stop();
    let forsaken = facts.try_iter().find(|(_, fact)| fact.recording == RecordingId(2)).expect("nobody took it up");
    assert_eq!(forsaken.1.finished.expect("its end").duration_ms, 1_000);
}

/// A bench with a second directory. A folder where the file of `contact` would be keeps it out of the first one.
fn bench_of_two() -> Bench {
    let root = TempDir::new().expect("a folder");
    fs::create_dir_all(root.path().join("second")).expect("a folder");
    bench_on(root, || Now { mono: Mono::from_ms(1_000), wall: Wall(0) })
}

/// While the first directory takes no files, what is new goes to the second, with its own chain and notes.
#[test]
fn while_the_first_directory_fails_new_recordings_go_to_the_second() {
    let bench = bench_of_two();
    fs::write(bench.site(), "in the way of the site's folder").expect("written");
    let mut intake = bench.recorder.intake();
    intake.give([start(1), audio(1, Channel::Citizen, 0), finish(1, 1_000)]);
    let told = bench.finished(1);
    let finished = told.finished.expect("finished");
    assert_eq!((finished.damaged, finished.duration_ms), (false, 1_000));
    let second = bench.root.path().join("second");
    let file = fs::read(second.join("hefei").join(&*told.path)).expect("the file");
    assert_eq!(*finished.sha256, Digest::of(&file).to_string());
    assert_eq!((verified(&second.join("hefei")).number, notes_in(&second)), (1, 0));
    let counts = bench.recorder.gauge().counts();
    assert_eq!((counts.failing, counts.faults.disk), (1, 1));
    // It is passed over now: nothing is tried there for the next recording.
    intake.give([start(2), finish(2, 20)]);
    assert!(second.join("hefei").join(&*bench.finished(2).path).exists());
    assert_eq!(bench.recorder.gauge().counts().faults.disk, 1);
    bench.recorder.stop();
}

/// A crash on the way from one directory to the other: the longer file is sealed, the other one goes with its note.
#[test]
fn a_recording_that_a_crash_left_in_both_directories_is_sealed_once() {
    for (first, second, stays) in [(800u64, 500u64, 0), (500, 800, 1)] {
        let root = TempDir::new().expect("a folder");
        let folders = ["recordings", "second"].map(|name| root.path().join(name));
        let contact = ContactId(1_001);
        let path: Box<str> = "2026/11/22/x.wav".into();
        let (recording, started) = (RecordingId(1), START.wall);
        let fact = RecordingFact { recording, revision: 1, contact, path: path.clone(), started, finished: None };
        for (folder, frames) in folders.iter().zip([first, second]) {
            fs::create_dir_all(folder.join("hefei/2026/11/22")).expect("a folder");
            let (notes, _) = Notes::open(folder).expect("the notes");
            let opened = Opened { site: "hefei".into(), fact: fact.clone(), place: Place::default() };
            notes.write(&opened).expect("written");
            let sound = vec![SILENCE; 2 * frames as usize];
            fs::write(folder.join("hefei").join(&*path), [&format::header(frames)[..], &sound].concat())
                .expect("a file");
        }
        let bench = bench_on(root, || Now { mono: Mono(0), wall: Wall(0) });
        assert_eq!(bench.finished(1).finished.expect("finished").duration_ms, 100);
        bench.recorder.stop();
        let there = folders.each_ref().map(|folder| folder.join("hefei").join(&*path).exists());
        assert_eq!(there, [stays == 0, stays == 1]);
        assert_eq!(folders.each_ref().map(|folder| notes_in(folder)), [0, 0]);
        assert!(bench.facts.try_recv().is_err(), "told once");
    }
}
