//! A site of three calls that agrees with itself, and everything that can be made to disagree.

use super::*;
use crate::base::fact::{Fact, Stamped};
use crate::base::{ContactId, OrderId, RecordingId};
use crate::recording::format;
use crate::recording::manifest::{Chain, Digest, NAME, Recorded, Why};
use crate::store::journal::{Journal, Limits};
use crate::store::sample;
use std::fs;
use tempfile::TempDir;

struct World {
    folder: TempDir,
    store: Store,
}

fn sound(number: u32) -> Vec<u8> {
    let frames = 800 + u64::from(number);
    let mut bytes = format::header(frames).to_vec();
    bytes.resize(format::bytes_of(frames) as usize, number as u8);
    bytes
}

/// Gives the recording's facts the truth about its file.
fn truthful(mut fact: Stamped, number: u32) -> Stamped {
    if let Fact::Recording(recording) = &mut fact.fact
        && let Some(finished) = &mut recording.finished
    {
        finished.bytes = sound(number).len() as u64;
        finished.sha256 = Digest::of(&sound(number)).to_string().into();
    }
    fact
}

fn facts() -> Vec<Stamped> {
    (1..=3).flat_map(|number| sample::call("a", number).into_iter().map(move |fact| truthful(fact, number))).collect()
}

fn entry(fact: &Stamped) -> Option<Recorded> {
    let Fact::Recording(recording) = &fact.fact else { return None };
    let finished = recording.finished.as_ref()?;
    Some(Recorded {
        site: fact.site.clone(),
        recording: recording.recording,
        contact: recording.contact,
        path: recording.path.clone(),
        started: recording.started,
        ended: finished.ended,
        samples: 0,
        bytes: finished.bytes,
        sha256: serde_json::from_str(&format!("\"{}\"", finished.sha256)).unwrap(),
        damaged: false,
        repaired: false,
        marks: Vec::new(),
    })
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let world = World { folder, store: Store::memory().await.unwrap() };
    let facts = facts();
    world.store.apply(&facts).await.unwrap();
    let site = world.site();
    fs::create_dir_all(site.join("2026/05/28")).unwrap();
    (1..=3).for_each(|number| fs::write(world.wav(number), sound(number)).unwrap());
    let mut chain = Chain::EMPTY;
    let lines: Vec<Vec<u8>> = facts.iter().filter_map(entry).map(|entry| chain.append(entry)).collect();
    fs::write(site.join(NAME), [lines.join(&b'\n'), b"\n".to_vec()].concat()).unwrap();
    let mut journal = Journal::open(world.folder.path().join("journal"), Limits::default()).unwrap();
    facts.iter().for_each(|fact| journal.append(fact).unwrap());
    let end = journal.commit().unwrap();
    journal.acknowledge(end).unwrap();
    world
}

impl World {
    fn site(&self) -> PathBuf {
        self.folder.path().join("recordings/a")
    }

    fn wav(&self, number: u32) -> PathBuf {
        self.site().join(format!("2026/05/28/{number}.wav"))
    }

    async fn differences(&self, running: bool) -> Vec<Difference> {
        let recordings = ["recordings", "second"].map(|name| self.folder.path().join(name));
        let journal = self.folder.path().join("journal");
        let (from, to) = (Wall(sample::START), Wall(sample::START + 60_000));
        let scope = Scope { site: "a", from, to, recordings: &recordings, journal: &journal, over_before: to, running };
        self.store.verify(&scope).await.unwrap()
    }
}

fn call(number: u32) -> String {
    ContactId(sample::id(number)).to_string()
}

fn order(number: u32) -> String {
    OrderId(sample::id(number)).to_string()
}

fn recording(number: u32) -> String {
    RecordingId(sample::id(number)).to_string()
}

#[tokio::test]
async fn what_agrees_is_silent() {
    let world = world().await;
    assert_eq!(world.differences(false).await, []);
    assert_eq!(world.differences(true).await, []);
}

#[tokio::test]
async fn every_way_in_which_tables_can_disagree_is_told() {
    type Expected = fn() -> Vec<Difference>;
    let statements: [(&'static str, Expected); 6] = [
        ("UPDATE calls SET order_id = NULL WHERE sip_call_id LIKE '1@%'", || {
            vec![Difference::CallWithoutOrder(call(1))]
        }),
        ("DELETE FROM order_history; DELETE FROM orders", || {
            let missing = (1..=3).map(|number| Difference::OrderMissing(call(number), order(number)));
            missing.chain((1..=3).map(|number| Difference::FactNotStored("order", order(number)))).collect()
        }),
        ("UPDATE calls SET end_stage = NULL WHERE sip_call_id LIKE '2@%'", || {
            vec![Difference::CallWithoutEnd(call(2))]
        }),
        ("UPDATE calls SET revision = 1 WHERE sip_call_id LIKE '3@%'", || {
            vec![Difference::FactNotStored("call", call(3))]
        }),
        ("DELETE FROM calls WHERE sip_call_id LIKE '2@%'", || {
            vec![Difference::CallMissing(order(2), call(2)), Difference::FactNotStored("call", call(2))]
        }),
        ("DELETE FROM recordings WHERE path LIKE '%/3.wav'", || {
            let missing = |of: String| Difference::RecordingMissing(of, recording(3));
            vec![
                missing(format!("call {}", call(3))),
                missing(format!("order {}", order(3))),
                Difference::FileUnknown("2026/05/28/3.wav".into()),
                Difference::EntryWithoutRow(recording(3), "2026/05/28/3.wav".into()),
                Difference::FactNotStored("recording", recording(3)),
            ]
        }),
    ];
    for (statement, expected) in statements {
        let world = world().await;
        for statement in statement.split("; ") {
            world.store.run(statement).await;
        }
        let mut expected = expected();
        expected.sort();
        assert_eq!(world.differences(false).await, expected, "{statement}");
    }
}

#[tokio::test]
async fn every_way_in_which_files_can_disagree_is_told() {
    type Harm = fn(&World);
    let path = |number: u32| format!("2026/05/28/{number}.wav");
    let harms: [(Harm, Vec<Difference>); 5] = [
        (|world| fs::remove_file(world.wav(1)).unwrap(), vec![Difference::FileMissing(recording(1), path(1))]),
        (
            |world| fs::write(world.wav(2), b"short").unwrap(),
            vec![Difference::FileLength(path(2), sound(2).len() as i64, 5)],
        ),
        (|world| fs::write(world.wav(2), vec![7; sound(2).len()]).unwrap(), vec![Difference::FileChanged(path(2))]),
        (|world| fs::write(world.wav(9), sound(9)).unwrap(), vec![Difference::FileUnknown(path(9))]),
        (
            |world| fs::write(world.site().join(NAME), b"rubbish\n").unwrap(),
            vec![
                Difference::Chain(Broken { line: 1, why: Why::Unreadable }),
                Difference::NotInManifest(recording(1)),
                Difference::NotInManifest(recording(2)),
                Difference::NotInManifest(recording(3)),
            ],
        ),
    ];
    for (number, (harm, expected)) in harms.into_iter().enumerate() {
        let world = world().await;
        harm(&world);
        assert_eq!(world.differences(false).await, expected, "harm {number}");
    }
}

#[tokio::test]
async fn a_file_cut_by_a_crash_is_told_unless_it_may_be_growing() {
    let world = world().await;
    world.store.run("UPDATE recordings SET sha256 = NULL, bytes = NULL WHERE path LIKE '%/2.wav'").await;
    let mut bytes = sound(2);
    bytes.extend([0; 333]);
    fs::write(world.wav(2), bytes).unwrap();
    let cut = Difference::RecordingWithoutEnd(recording(2), "2026/05/28/2.wav".into());
    let expected = [cut, Difference::Header(world.wav(2))];
    assert_eq!(world.differences(false).await, expected);
    assert_eq!(world.differences(true).await, expected[..1]);
    fs::write(world.wav(8), b"RIFF").unwrap();
    assert_eq!(world.differences(true).await, expected[..1], "its row may be on its way");
}

#[tokio::test]
async fn a_damaged_journal_is_told() {
    let world = world().await;
    let segment = world.folder.path().join("journal/000000000001.journal");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(world.differences(false).await, [Difference::JournalDamaged(1)]);
}
