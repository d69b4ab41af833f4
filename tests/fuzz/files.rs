//! What is read from disks: flows and configuration that people write, and what the process itself left there.

use super::corpus::file;
use super::mutate::{Kind, as_it_is};
use super::peers::{SDP, trunk};
use jiesu::acd;
use jiesu::base::fact::Stamped;
use jiesu::base::snapshot::Snapshot;
use jiesu::base::{ContactId, LegId, Mono, Now, PromptId, QueueId, RecordingId, ShardId, Wall};
use jiesu::call::event::Event as ToCalls;
use jiesu::call::snapshot::{KIND, Saved, VERSION};
use jiesu::config::Config;
use jiesu::ivr::draft::Names;
use jiesu::ivr::event::Event as RunEvent;
use jiesu::ivr::{Draft, Run};
use jiesu::media::event::Mark;
use jiesu::recording::format;
use jiesu::recording::manifest::{Chain, Digest, Follower, Recorded, read};
use jiesu::shard::{Effect, Event, Shard, Standing};
use jiesu::sip::event::TrunkSettings;
use jiesu::store::journal::{Journal, JournalError, Limits};
use jiesu::store::standing::{Standing as StandingFile, append};
use jiesu::trunk::Trunks;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::LazyCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Configuration and flows.
const TOML: Kind = Kind {
    text: true,
    words: &[
        "true",
        "[]",
        "{}",
        "[[site]]",
        "[node]",
        "\"\"",
        "\"12345\"",
        "menu",
        "queue",
        "hang_up",
        "start",
        "human",
        "next",
        "prompts",
        "0x7fffffffffffffff",
        "1979-05-27",
        "nan",
        "'''",
        "\"\"\"",
        "127.0.0.1:5060",
        "10000-29999",
        "a.b.c",
    ],
    repair: as_it_is,
};
/// Steps after which every run of a flow is over: as many nodes as a flow may have, each asked as often as it may be.
const STEPS_MAX: usize = 200 * 8 * 40;

/// A flow as somebody wrote it: its flaws are told at places of the text, and one without flaws lets no caller stand still.
pub fn flow(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(draft) = toml::from_str::<Draft>(&text) else { return };
    let names = Names {
        prompt: &|name| (name.len() < 30).then_some(PromptId(1)),
        queue: &|name| (name.len() < 30).then_some(QueueId(0)),
    };
    match draft.compile("fuzzed", names) {
        Ok(flow) => {
            for key in [None, Some(b'1'), Some(b'9'), Some(b'*'), Some(b'0')] {
                run(&Arc::new(flow.clone()), key);
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(text.get(fault.span.clone()).is_some(), "{fault:?}");
                assert!(!fault.flaw.to_string().is_empty() && !fault.flaw.cure().is_empty());
            }
        }
    }
}

/// A caller who presses one key again and again, or none, and hears everything to its end or until nobody waits longer.
fn run(flow: &Arc<jiesu::ivr::Flow>, key: Option<u8>) {
    let mut now = Now { mono: Mono::from_ms(1_000), wall: Wall(9_000_000) };
    let (mut run, mut out) = (Run::new(Arc::clone(flow), vec![PromptId(0)]), Vec::new());
    run.handle(now, RunEvent::Start, &mut out);
    for _ in 0..STEPS_MAX {
        run.check();
        out.clear();
        if let Some(digit) = key {
            run.handle(now, RunEvent::Digit(digit), &mut out);
        }
        let Some(deadline) = run.next_deadline() else {
            return assert!(run.is_over(), "a caller stands still: {run:?}");
        };
        now = now.after(deadline.since(now.mono));
        run.handle(now, RunEvent::Deadline, &mut out);
    }
    panic!("a caller goes round in {run:?}");
}

/// The files of a configuration, in the order of the first byte of [`configuration`]'s input.
const CONFIGURATION: [&str; 6] = [
    "jiesu.toml",
    "sip-profiles/queues.toml",
    "sip-profiles/listeners/udp.toml",
    "sip-profiles/trunks/carrier.toml",
    "ivr-flows/numbers.toml",
    "ivr-flows/menu-example.toml",
];

/// A copy of the shipped configuration, to be spoilt.
fn shipped() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for below in ["", "sip-profiles", "sip-profiles/listeners", "sip-profiles/trunks", "ivr-flows"] {
        fs::create_dir_all(folder.path().join(below)).expect("a folder in it");
        for entry in fs::read_dir(file(below)).expect("a shipped folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().expect("a name");
            if entry.extension().is_some_and(|extension| extension == "toml")
                && (!below.is_empty() || name == "jiesu.toml")
            {
                fs::copy(&entry, folder.path().join(below).join(name)).expect("a copy");
            }
        }
    }
    std::os::unix::fs::symlink(file("ivr-flows/prompts"), folder.path().join("ivr-flows/prompts")).expect("a link");
    folder
}

/// One file of the configuration is replaced: the first byte says which. Mistakes are told at their places.
pub fn configuration(bytes: &[u8]) {
    thread_local! {
        static FOLDER: LazyCell<TempDir> = const { LazyCell::new(shipped) };
    }
    let Some((which, text)) = bytes.split_first() else { return };
    let name = CONFIGURATION[usize::from(*which) % CONFIGURATION.len()];
    FOLDER.with(|folder| {
        let (path, sound) = (folder.path().join(name), fs::read(file(name)).expect("a shipped file"));
        fs::write(&path, text).expect("room for a file");
        match Config::load(&folder.path().join("jiesu.toml")) {
            Ok(config) => drop((config.sip(), config.calls(), config.prompts())),
            Err(errors) => {
                assert!(!errors.0.is_empty());
                let lines = String::from_utf8_lossy(text).matches('\n').count() + 1;
                for problem in &errors.0 {
                    let in_it = problem.path == path;
                    assert!(problem.at.is_none_or(|(line, _)| line >= 1 && (!in_it || line <= lines)), "{problem}");
                    assert!(!problem.message.is_empty() && !problem.cure.is_empty(), "{problem}");
                }
            }
        }
        fs::write(&path, sound).expect("room for a file");
    });
}

/// Puts the checksums of journal records right: length, kind, version, CRC-32 of these and the payload (`segment.rs`).
fn true_journal(bytes: &mut [u8]) {
    const HEADER: usize = 20;
    if bytes.len() >= HEADER {
        let sum = crc32fast::hash(&bytes[..16]);
        bytes[16..HEADER].copy_from_slice(&sum.to_le_bytes());
    }
    true_records(bytes, HEADER, 12, 8);
}

/// The same for records of the file of what stands: length, key, CRC-32.
fn true_standing(bytes: &mut [u8]) {
    true_records(bytes, 0, 24, 20);
}

/// Records from `at` on begin with `frame` bytes: the length of the payload first, the checksum from `sum` on.
fn true_records(bytes: &mut [u8], mut at: usize, frame: usize, sum: usize) {
    while let Some(head) = bytes.get(at..at + frame) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(payload) = at.checked_add(frame + length).and_then(|end| bytes.get(at + frame..end)) else { return };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[..sum]);
        hasher.update(payload);
        let found = hasher.finalize().to_le_bytes();
        bytes[at + sum..at + sum + 4].copy_from_slice(&found);
        at += frame + length;
    }
}

/// So long a fork may take to its exec on a busy machine.
const OPEN_MAX: std::time::Duration = std::time::Duration::from_secs(10);
const JOURNAL: Kind = Kind { text: false, words: &[], repair: |bytes| true_journal(bytes) };
const STANDING: Kind = Kind { text: false, words: &[], repair: |bytes| true_standing(bytes) };
const PLAIN: Kind = Kind { text: false, words: &[], repair: as_it_is };

fn facts(folder: &Path) -> (Journal, Vec<Stamped>) {
    // A process that another test begins holds every file, with its lock, from its fork to its exec.
    let journal = crate::support::eventually("the journal is free", OPEN_MAX, || {
        match Journal::open(folder, Limits::default()) {
            Err(JournalError::InUse) => None,
            opened => Some(opened.expect("a journal, whatever is in it")),
        }
    });
    let (mut reader, mut facts) = (journal.reader(), Vec::new());
    loop {
        let some = reader.read(journal.end(), 100).expect("a disk that works");
        if some.is_empty() {
            return (journal, facts);
        }
        facts.extend(some);
    }
}

/// A segment of the journal: what can be read is read, and what is written behind it is read too.
pub fn journal(bytes: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("000000000001.journal"), bytes).expect("room for a file");
    let (mut journal, found) = facts(folder.path());
    assert!(found.len() <= bytes.len() / 12, "each fact takes its bytes");
    let Some(fact) = found.first().cloned() else { return };
    journal.append(&fact).expect("a fact that was read is small enough");
    journal.commit().expect("a disk that works");
    drop(journal);
    let again = facts(folder.path()).1;
    assert_eq!(again, [found, vec![fact]].concat());
}

/// The file of what stands, behind its header: what is whole is found, and nothing else.
pub fn standing_file(bytes: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    drop(StandingFile::open(folder.path()).expect("a new file"));
    let path = folder.path().join("standing");
    let header = fs::read(&path).expect("it was written");
    fs::write(&path, [&header, bytes].concat()).expect("room for a file");
    let (standing, found) = StandingFile::open(folder.path()).expect("a file, whatever is in it");
    assert_eq!(standing.epoch(), 2);
    assert!(found.values().map(|payload| 24 + payload.len()).sum::<usize>() <= bytes.len());
    assert_eq!(StandingFile::open(folder.path()).expect("the same").1, found, "what was found is found again");
}

/// Records are read or not; what is read is written as what is read again.
pub fn records(bytes: &[u8]) {
    packed::<Standing>(bytes);
    packed::<acd::KeptAgent>(bytes);
    packed::<Vec<(LegId, Mark)>>(bytes);
    as_json::<jiesu::sip::snapshot::Snapshot>(bytes);
    as_json::<acd::Snapshot>(bytes);
    as_json::<jiesu::ivr::Snapshot>(bytes);
    if let Ok(snapshot) = Snapshot::<Saved>::read(bytes, KIND, VERSION) {
        assert_eq!(Snapshot::<Saved>::read(&snapshot.write(), KIND, VERSION).as_ref(), Ok(&snapshot));
    }
}

fn packed<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(record) = postcard::from_bytes::<T>(bytes) {
        let again = postcard::to_stdvec(&record).expect("plain data");
        assert_eq!(postcard::from_bytes::<T>(&again).as_ref(), Ok(&record));
    }
}

fn as_json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<T>(bytes) {
        let again = serde_json::to_vec(&record).expect("plain data");
        assert_eq!(serde_json::from_slice::<T>(&again).expect("it was written"), record);
    }
}

/// A manifest, and the beginning of a sound file.
pub fn recordings(bytes: &[u8]) {
    let mut follower = Follower::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let followed = follower.follow(line).is_ok();
        if let Ok(entry) = read(line) {
            let mut chain = Chain::after(line).expect("it was read");
            let next = chain.append(entry.recorded);
            assert_eq!(read(&next).expect("our own line").previous, Digest::of(line));
            assert!(!followed || follower.clone().follow(&next).is_ok(), "our line goes on");
        }
    }
    if let Ok(frames) = format::parse(bytes) {
        assert_eq!(format::header(frames), bytes[..format::HEADER_BYTES as usize]);
    }
}

fn manifest() -> Vec<u8> {
    let mut chain = Chain::EMPTY;
    let recorded = |count: u128| Recorded {
        site: "fuzhou".into(),
        recording: RecordingId(count),
        contact: ContactId(count),
        path: format!("2026/11/{count}.wav").into(),
        started: Wall(1_780_000_000_000),
        ended: Wall(1_780_000_060_000),
        samples: 480_000,
        bytes: 960_058,
        sha256: Digest::of(b"sound"),
        damaged: false,
        marks: Vec::new(),
        repaired: count == 2,
    };
    let lines: Vec<Vec<u8>> = (1..4).map(|count| chain.append(recorded(count))).collect();
    lines.join(&b'\n')
}

/// A shard with a call that hears the greeting, as it is kept: one record, and the snapshot's parts.
fn kept_call() -> Vec<Vec<u8>> {
    let config = Config::load(&file("jiesu.toml")).expect("the shipped configuration");
    let mut sip = config.sip();
    sip.trunks = vec![TrunkSettings {
        name: "carrier".into(),
        sources: vec![(trunk().peer.ip(), 32)],
        ..TrunkSettings::default()
    }];
    let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_780_000_000_000) };
    let mut shard = Shard::new(ShardId(0), 1, [3, 4], Arc::new(sip), Arc::new(config.calls()));
    shard.keep_changes();
    let lines = |method: &str, tag: &str, count: u32| {
        format!(
            "Via: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{count}\nFrom: <sip:13900000000@10.0.0.9>;tag=f\n\
             To: <sip:12345@10.0.0.1>{tag}\nCall-ID: c\nCSeq: 1 {method}\nContact: <sip:10.0.0.9>\n"
        )
    };
    let invite = format!("{}Content-Type: application/sdp\n", lines("INVITE", "", 1));
    let invite = super::corpus::message("INVITE sip:12345@10.0.0.1 SIP/2.0", &invite, SDP);
    let mut out = Vec::new();
    shard.handle(now, Event::Received { flow: trunk(), bytes: invite.into() }, &mut out);
    let mut said = Vec::new();
    let mut trunks = Trunks::new(Arc::clone(&config.calls().trunks));
    for effect in std::mem::take(&mut out) {
        if let Effect::Trunk(event) = effect {
            trunks.handle(now, event, &mut said);
        }
    }
    for granted in said {
        shard.handle(now, Event::Call(ToCalls::Trunk(granted)), &mut out);
    }
    let leg = out.iter().find_map(|effect| if let Effect::OpenPort { leg, .. } = effect { Some(*leg) } else { None });
    let opened = ToCalls::PortOpened {
        leg: leg.expect("a call that was taken"),
        local: "127.0.0.1:10000".parse().expect("an address"),
    };
    shard.handle(now, Event::Call(opened), &mut out);
    let call = *shard.take_changed().first().expect("a call that changed");
    let standing = shard.standing(call).expect("a call that stands");
    let agent = acd::Acd::new(Arc::new(config.acd(jiesu::base::SiteId(0))), 1);
    let shard = serde_json::to_value(shard.snapshot()).expect("plain data");
    let mark = Mark { at: now.mono, sequence: 7, rtp: Some(trunk().peer), rtcp: None };
    vec![
        postcard::to_stdvec(&standing).expect("plain data"),
        postcard::to_stdvec(&vec![(LegId(2), mark)]).expect("plain data"),
        serde_json::to_vec(&shard["sip"]).expect("JSON"),
        serde_json::to_vec(&shard["calls"]).expect("JSON"),
        serde_json::to_vec(&agent.snapshot()).expect("plain data"),
    ]
}

#[test]
fn no_flow_breaks_anything() {
    let flows = ["direct", "menu-example", "social-security"].map(|name| format!("ivr-flows/{name}.toml"));
    let seeds: Vec<Vec<u8>> = flows.iter().map(|name| fs::read(file(name)).expect("a shipped flow")).collect();
    super::fuzz(&TOML, &seeds, 6_000, flow);
}

#[test]
fn no_configuration_breaks_anything() {
    let with_number = |(which, name): (u8, &&str)| [&[which][..], &fs::read(file(name)).expect("a file")].concat();
    let seeds: Vec<Vec<u8>> = (0..).zip(&CONFIGURATION).map(with_number).collect();
    super::fuzz(&TOML, &seeds, 800, configuration);
}

#[test]
fn no_segment_breaks_the_journal() {
    let seeds = [fs::read(file("tests/data/journal/v1.journal")).expect("a journal")];
    super::fuzz(&JOURNAL, &seeds, 600, journal);
}

#[test]
fn nothing_left_on_disk_breaks_a_start() {
    let mut kept = kept_call();
    for record in &kept {
        super::tried(record, records);
    }
    super::fuzz(&PLAIN, &kept, 12_000, records);
    let mut frames = Vec::new();
    (1..).zip(&kept).for_each(|(key, payload)| append(&mut frames, key << 100, payload));
    append(&mut frames, 1 << 100, &[]);
    kept.truncate(0);
    super::fuzz(&STANDING, &[frames], 1_000, standing_file);
    let header = format::header(480_000).to_vec();
    super::fuzz(&Kind { text: true, ..PLAIN }, &[manifest(), header], 8_000, recordings);
}
