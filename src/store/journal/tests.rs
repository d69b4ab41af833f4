//! The journal against crashes, damage, full disks and time.

use super::*;
use crate::base::FactId;
use crate::base::fact::{Audit, Fact};
use std::os::unix::fs::symlink;

const HOUR_MS: i64 = 3_600_000;

fn fact(number: u32) -> Stamped {
    let audit = Audit {
        actor: "张三".into(),
        role: "agent".into(),
        action: "call.hang_up".into(),
        object: format!("object {number}").into(),
        allowed: true,
        from: "127.0.0.1".into(),
    };
    Stamped {
        id: FactId(u128::from(number)),
        at: Wall(i64::from(number)),
        site: "a".into(),
        fact: Fact::Audit(Box::new(audit)),
    }
}

fn facts(numbers: std::ops::Range<u32>) -> Vec<Stamped> {
    numbers.map(fact).collect()
}

fn open(folder: &Path) -> Journal {
    Journal::open(folder, Limits::default()).unwrap()
}

fn write(journal: &mut Journal, numbers: std::ops::Range<u32>) -> Position {
    facts(numbers).iter().for_each(|fact| journal.append(fact).unwrap());
    journal.commit().unwrap()
}

/// All that is not acknowledged, in pieces of three.
fn read(journal: &Journal) -> (Vec<Stamped>, Damage) {
    let (mut reader, mut all) = (journal.reader(), Vec::new());
    loop {
        match reader.read(journal.end(), 3).unwrap() {
            piece if piece.is_empty() => break,
            piece => all.extend(piece),
        }
    }
    assert!(reader.position() >= journal.end());
    (all, reader.damage())
}

#[test]
fn what_was_committed_is_read_after_reopening_and_appending_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    assert_eq!(read(&journal).0, []);
    write(&mut journal, 0..5);
    journal.append(&fact(99)).unwrap();
    drop(journal);
    let mut journal = open(folder.path());
    assert_eq!(journal.torn_bytes(), 0, "what was not committed was not written");
    write(&mut journal, 5..8);
    assert_eq!(read(&journal), (facts(0..8), Damage::default()));
    assert_eq!(segment::list(folder.path()).unwrap(), [1]);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_nothing_before_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let before = write(&mut journal, 0..3).offset;
    let whole = write(&mut journal, 3..4).offset;
    drop(journal);
    let path = segment::path(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for length in before..whole {
        for zeros in [0, 1, 5000] {
            let mut torn = bytes[..usize::try_from(length).unwrap()].to_vec();
            torn.resize(torn.len() + zeros, 0);
            std::fs::write(&path, &torn).unwrap();
            let mut journal = open(folder.path());
            assert_eq!(read(&journal), (facts(0..3), Damage::default()), "torn at {length}, {zeros} zeros behind");
            write(&mut journal, 4..5);
            let expected = [facts(0..3), facts(4..5)].concat();
            let found = read(&journal);
            assert_eq!(found.0, expected, "torn at {length}, {zeros} zeros behind");
            for number in segment::list(folder.path()).unwrap().into_iter().skip(1) {
                std::fs::remove_file(segment::path(folder.path(), number)).unwrap();
            }
        }
    }
}

#[test]
fn a_crash_before_the_header_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    for length in 0..usize::try_from(segment::HEADER_BYTES).unwrap() {
        std::fs::write(segment::path(folder.path(), 1), vec![7; length]).unwrap();
        let mut journal = open(folder.path());
        write(&mut journal, 0..2);
        assert_eq!(read(&journal), (facts(0..2), Damage::default()));
        drop(journal);
        std::fs::remove_file(segment::path(folder.path(), 1)).unwrap();
    }
}

/// Three segments of two records each.
fn three_segments(folder: &Path) -> Journal {
    let limits = Limits { segment_bytes_max: 1, ..Limits::default() };
    let mut journal = Journal::open(folder, limits).unwrap();
    for first in [0, 2, 4] {
        write(&mut journal, first..first + 2);
    }
    assert_eq!(segment::list(folder).unwrap(), [1, 2, 3]);
    journal
}

#[test]
fn damage_in_the_middle_is_reported_and_never_fatal() {
    let header = usize::try_from(segment::HEADER_BYTES).unwrap();
    let record = |records| Damage { records, ..Damage::default() };
    let segment = |segments| Damage { segments, ..Damage::default() };
    // Byte to spoil in segment 2, its new value, what is left, what is reported.
    let cases = [
        ("magic", 0, 0, vec![0, 1, 4, 5], segment(1)),
        ("length beyond all bounds", header + 3, 0xff, vec![0, 1, 4, 5], segment(1)),
        ("length beyond the file", header + 1, 0x7f, vec![0, 1, 4, 5], segment(1)),
        ("payload", header + 40, b'#', vec![0, 1, 3, 4, 5], record(1)),
        ("checksum", header + 8, 0, vec![0, 1, 3, 4, 5], record(1)),
    ];
    for (name, at, value, left, damage) in cases {
        let folder = tempfile::tempdir().unwrap();
        drop(three_segments(folder.path()));
        let path = segment::path(folder.path(), 2);
        let mut bytes = std::fs::read(&path).unwrap();
        assert_ne!(bytes[at], value, "{name}");
        bytes[at] = value;
        std::fs::write(&path, bytes).unwrap();
        let mut journal = open(folder.path());
        write(&mut journal, 6..7);
        let left: Vec<Stamped> = left.into_iter().chain([6]).map(fact).collect();
        assert_eq!(read(&journal), (left, damage), "{name}");
    }
}

#[test]
fn damage_in_the_last_segment_is_kept_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    write(&mut journal, 0..3);
    drop(journal);
    let path = segment::path(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(segment::HEADER_BYTES).unwrap() + 3] = 0xff;
    std::fs::write(&path, &bytes).unwrap();
    let mut journal = open(folder.path());
    write(&mut journal, 3..5);
    assert_eq!(read(&journal), (facts(3..5), Damage { segments: 1, ..Damage::default() }));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "evidence is not touched");
}

#[test]
fn segments_end_by_size_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    for hour in [0, 23, 24, 30, 49] {
        journal.append(&Stamped { at: Wall(hour * HOUR_MS), ..fact(1) }).unwrap();
        journal.commit().unwrap();
    }
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2, 3]);
    assert_eq!(read(&journal).0.len(), 5);
}

#[test]
fn segments_go_a_week_after_all_of_them_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes_max: 1, ..Limits::default() };
    let mut journal = Journal::open(folder.path(), limits).unwrap();
    let mut ends = Vec::new();
    for day in [0, 1, 2, 9] {
        journal.append(&Stamped { at: Wall(day * 24 * HOUR_MS), ..fact(1) }).unwrap();
        ends.push(journal.commit().unwrap());
    }
    journal.acknowledge(ends[0]).unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2, 3, 4], "the end of a segment is still in it");
    journal.acknowledge(ends[3]).unwrap();
    assert_eq!(
        segment::list(folder.path()).unwrap(),
        [2, 3, 4],
        "on day 9 the first has been complete for 8 days, the second for 7"
    );
}

#[test]
fn what_is_acknowledged_is_remembered_and_never_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let first = write(&mut journal, 0..2);
    let second = write(&mut journal, 2..4);
    journal.acknowledge(second).unwrap();
    journal.acknowledge(first).unwrap();
    drop(journal);
    let mut journal = open(folder.path());
    assert_eq!(journal.acknowledged(), second);
    write(&mut journal, 4..6);
    assert_eq!(read(&journal).0, facts(4..6));
    drop(journal);
    std::fs::write(folder.path().join(ACKNOWLEDGED), "not a position").unwrap();
    assert_eq!(read(&open(folder.path())).0, facts(0..6), "unreadable: all is read again");
}

#[test]
fn records_written_after_segments_were_taken_away_are_not_taken_for_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = three_segments(folder.path());
    journal.acknowledge(journal.end()).unwrap();
    drop(journal);
    for number in 1..=3 {
        std::fs::remove_file(segment::path(folder.path(), number)).unwrap();
    }
    let mut journal = open(folder.path());
    write(&mut journal, 7..9);
    assert_eq!(read(&journal).0, facts(7..9));
}

#[test]
fn two_writers_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(Journal::open(folder.path(), Limits::default()), Err(JournalError::InUse)));
    drop(first);
    open(folder.path());
}

/// `/dev/full` takes no byte, as a full disk does.
#[test]
fn a_full_disk_is_reported_memory_is_bounded_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { pending_bytes_max: 1000, ..Limits::default() };
    let mut journal = Journal::open(folder.path(), limits).unwrap();
    write(&mut journal, 0..2);
    drop(journal);
    let mut journal = Journal::open(folder.path(), limits).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    journal.current.as_mut().unwrap().file = full;
    journal.append(&fact(2)).unwrap();
    assert!(matches!(journal.commit(), Err(JournalError::Disk(_))));
    // Nor can a new segment be begun.
    symlink("/dev/full", segment::path(folder.path(), 2)).unwrap();
    let end = journal.end();
    let mut taken = 3;
    while journal.append(&fact(taken)).is_ok() {
        assert!(journal.commit().is_err());
        taken += 1;
    }
    assert!(matches!(journal.append(&fact(taken)), Err(JournalError::Full)));
    assert!((4..20).contains(&taken), "bounded by bytes");
    assert_eq!(journal.end(), end);
    std::fs::remove_file(segment::path(folder.path(), 2)).unwrap();
    journal.commit().unwrap();
    assert_eq!(read(&journal), (facts(0..taken), Damage::default()));
}

#[test]
fn a_record_beyond_all_bounds_is_refused_and_its_neighbours_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    journal.append(&fact(0)).unwrap();
    let huge = Stamped { site: "x".repeat(segment::PAYLOAD_BYTES_MAX).into(), ..fact(1) };
    assert!(matches!(journal.append(&huge), Err(JournalError::TooLarge)));
    write(&mut journal, 1..2);
    assert_eq!(read(&journal).0, facts(0..2));
}

#[test]
fn records_of_a_newer_program_are_stepped_over_and_unknown_fields_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path());
    let mut future = serde_json::to_value(fact(0)).unwrap();
    future["mood"] = "fine".into();
    future["fact"]["weather"] = serde_json::json!({ "rain": true });
    segment::append(&mut journal.pending, Kind::Fact, &future).unwrap();
    future["fact"]["type"] = "telepathy".into();
    segment::append(&mut journal.pending, Kind::Fact, &future).unwrap();
    write(&mut journal, 1..2);
    assert_eq!(read(&journal), (facts(0..2), Damage { unknown: 1, ..Damage::default() }));
}

/// A file written by version 1 when it was new. It is never written again.
#[test]
fn version_1_is_readable_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/journal/v1.journal");
    std::fs::copy(golden, segment::path(folder.path(), 1)).unwrap();
    let (facts, damage) = read(&open(folder.path()));
    assert_eq!(damage, Damage::default());
    let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/journal/v1.json"));
    assert_eq!(facts, serde_json::from_str::<Vec<Stamped>>(golden).unwrap());
    let kinds: Vec<&str> = facts.iter().map(|stamped| stamped.fact.kind()).collect();
    assert_eq!(kinds, ["call", "recording", "order", "agent", "audit"]);
}
