//! Whole calls between user agents (the flows of RFC 3665 §3), with every datagram lost once.

use super::event::{Action, Command, Event, Notice};
use super::snapshot::Snapshot;
use super::ua::Ua;
use super::wire::{Plan, Wire, flow, settings};
use crate::base::{LegId, Mint, ShardId};
use bytes::Bytes;
use std::sync::Arc;

const OFFER: Bytes = Bytes::from_static(b"v=0 offer");
const ANSWER: Bytes = Bytes::from_static(b"v=0 answer");

fn respond(leg: LegId, status: u16) -> Action {
    Action::Respond { leg, status, sdp: (status == 200).then_some(ANSWER), q850: None, retry_after_s: None }
}

fn hang_up(leg: LegId) -> Action {
    Action::HangUp { leg, q850: 16 }
}

fn nothing(_: usize, _: &Notice) -> Vec<(u64, usize, Action)> {
    Vec::new()
}

/// The called one rings, answers after a second.
fn answers(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Incoming(it) => vec![(0, who, respond(it.leg, 180)), (1_000, who, respond(it.leg, 200))],
        Notice::Reoffered { leg, .. } => vec![(5, who, Action::AnswerReoffer { leg: *leg, answer: Ok(ANSWER) })],
        _ => Vec::new(),
    }
}

/// As [`answers`]; the caller hangs up after two seconds of talk.
fn caller_hangs_up(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Answered { leg, .. } => vec![(2_000, who, hang_up(*leg))],
        _ => answers(who, notice),
    }
}

/// As [`answers`]; the called one hangs up two seconds after answering.
fn called_hangs_up(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Incoming(it) => {
            let mut plan = answers(who, notice);
            plan.push((3_000, who, hang_up(it.leg)));
            plan
        }
        _ => answers(who, notice),
    }
}

fn busy(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Incoming(it) => {
            vec![(
                100,
                who,
                Action::Respond { leg: it.leg, status: 486, sdp: None, q850: Some(17), retry_after_s: None },
            )]
        }
        _ => Vec::new(),
    }
}

fn rings_only(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Incoming(it) => vec![(0, who, respond(it.leg, 180))],
        _ => Vec::new(),
    }
}

/// Both hang up in the same instant.
fn both_hang_up(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    match notice {
        Notice::Incoming(it) => vec![(0, who, respond(it.leg, 200)), (500, who, hang_up(it.leg))],
        Notice::Answered { leg, .. } => vec![(500, who, hang_up(*leg))],
        _ => Vec::new(),
    }
}

fn call(plan: Plan, lost: &[usize]) -> Wire {
    let mut wire = Wire::new(2, plan);
    wire.lost = lost.to_vec();
    wire.dial(0, &[1]);
    wire.pass(900_000);
    wire
}

#[test]
fn a_call_is_answered_and_hung_up_by_the_caller() {
    let mut wire = call(caller_hangs_up, &[]);
    let starts = wire.starts(0);
    let methods: Vec<_> = starts.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["INVITE", "ACK", "BYE"]);
    let statuses: Vec<_> = wire.starts(1).iter().map(|line| line[8..11].to_owned()).collect();
    assert_eq!(statuses, ["100", "180", "200", "200"]);
    assert_eq!((wire.ends(0), wire.ends(1)), (vec!["Ours".into()], vec!["Bye { q850: Some(16) }".to_owned()]));
    let Notice::Incoming(it) = &wire.notices[1][0] else { panic!("{:?}", wire.notices[1]) };
    assert_eq!((&*it.dialled, &*it.caller, it.sdp.as_ref()), ("1001", "059112345678", Some(&OFFER)));
    assert_eq!(it.caller_name, "市民".as_bytes());
    assert!(matches!(wire.notices[1][1], Notice::Acknowledged { sdp: None, .. }));
    wire.settle();
}

/// Each plan, each single datagram lost, and each pair of the first ones: the calls end as if nothing had been lost, but
/// where both sides ended at once either may have been first.
#[test]
fn every_datagram_may_be_lost() {
    let plans: [(&str, Plan, &[&str], &[&str]); 6] = [
        ("caller", caller_hangs_up, &["Ours"], &["Bye { q850: Some(16) }"]),
        ("called", called_hangs_up, &["Bye { q850: Some(16) }"], &["Ours"]),
        ("busy", busy, &["failed 486"], &["Ours"]),
        // Whichever is first: our CANCEL, or the end of what Expires said.
        ("rings", rings_only, &["failed 408"], &["Cancel", "Ours"]),
        ("silent", nothing, &["failed 408"], &["Cancel", "Ours"]),
        ("crossing", both_hang_up, &["Ours", "Bye { q850: Some(16) }"], &["Ours", "Bye { q850: Some(16) }"]),
    ];
    for (name, plan, caller, called) in plans {
        let sent = call(plan, &[]).sent.len();
        let singles = (0..sent + 2).map(|lost| vec![lost]);
        let pairs = (0..sent.min(8)).flat_map(|one| (one + 1..10).map(move |two| vec![one, two]));
        for lost in singles.chain(pairs) {
            let mut wire = call(plan, &lost);
            let (ends, other) = (wire.ends(0), wire.ends(1));
            assert!(
                ends.len() == 1 && caller.contains(&&*ends[0]),
                "{name}, lost {lost:?}: {ends:?} {:?}",
                wire.notices
            );
            assert!(other.len() == 1 && called.contains(&&*other[0]), "{name}, lost {lost:?}: {other:?}");
            wire.settle();
        }
    }
}

#[test]
fn without_any_ack_the_answer_ends_in_bye() {
    let mut wire = Wire::new(2, answers);
    wire.dial(0, &[1]);
    // INVITE, 100, 180 and the 200 pass; all that the caller sends afterwards is lost.
    wire.lost = (4..60).collect();
    wire.pass(120_000);
    assert_eq!(wire.ends(1), ["NoAck"]);
    let oks = wire.starts(1).iter().filter(|line| line.starts_with("SIP/2.0 200")).count();
    assert_eq!(oks, 11, "T1 doubling to T2, over 64×T1");
}

#[test]
fn hanging_up_waits_for_a_provisional_and_survives_a_crossing_answer() {
    // Before any answer: no CANCEL may go out until the 100 comes.
    let mut wire = Wire::new(2, rings_only);
    wire.lost = vec![1, 2];
    let leg = wire.dial(0, &[1]);
    wire.ask(0, hang_up(leg));
    assert!(wire.starts(0).iter().all(|line| !line.starts_with("CANCEL")));
    wire.pass(5_000);
    assert!(wire.starts(0).iter().any(|line| line.starts_with("CANCEL")));
    assert_eq!((wire.ends(0), wire.ends(1)), (vec!["failed 487".into()], vec!["Cancel".to_owned()]));
    wire.settle();
    // The 200 and the CANCEL cross: ACK and BYE.
    let mut wire = Wire::new(2, rings_only);
    let leg = wire.dial(0, &[1]);
    wire.pass(10);
    let Notice::Incoming(it) = wire.notices[1][0].clone() else { panic!() };
    wire.ask(0, hang_up(leg));
    wire.ask(1, respond(it.leg, 200));
    wire.pass(5_000);
    let starts = wire.starts(0);
    let methods: Vec<_> = starts.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert_eq!((wire.ends(0), wire.ends(1)), (vec!["failed 487".into()], vec!["Bye { q850: Some(16) }".to_owned()]));
    wire.settle();
}

#[test]
fn nobody_there_and_no_binding() {
    let mut wire = call(nothing, &(0..500).collect::<Vec<_>>());
    assert_eq!(wire.ends(0), ["failed 408"]);
    wire.settle();
    let mut wire = Wire::new(1, nothing);
    wire.dial(0, &[]);
    assert_eq!(wire.ends(0), ["failed 480"]);
}

#[test]
fn the_first_of_two_phones_wins_and_the_other_is_cancelled() {
    fn first_answers(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
        match (who, notice) {
            (1, Notice::Incoming(it)) => vec![(0, 1, respond(it.leg, 180)), (500, 1, respond(it.leg, 200))],
            (_, Notice::Incoming(it)) => vec![(0, who, respond(it.leg, 180))],
            (0, Notice::Answered { leg, .. }) => vec![(500, 0, hang_up(*leg))],
            _ => Vec::new(),
        }
    }
    fn both_answer(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
        match notice {
            Notice::Incoming(it) => vec![(0, who, respond(it.leg, 180)), (500, who, respond(it.leg, 200))],
            Notice::Answered { leg, .. } => vec![(500, 0, hang_up(*leg))],
            _ => Vec::new(),
        }
    }
    for (plan, loser) in [(first_answers as Plan, "Cancel"), (both_answer, "Bye { q850: None }")] {
        for lost in 0..22 {
            let mut wire = Wire::new(3, plan);
            wire.lost = vec![lost];
            wire.dial(0, &[1, 2]);
            wire.pass(400_000);
            assert_eq!(wire.ends(0), ["Ours"], "lost {lost}");
            let mut others = [wire.ends(1), wire.ends(2)].concat();
            others.sort();
            assert_eq!(others.len(), 2);
            assert!(others.contains(&"Bye { q850: Some(16) }".to_owned()), "lost {lost}: {others:?}");
            assert!(lost > 0 || others.iter().any(|end| end == loser || end == "Cancel"), "{others:?}");
            wire.settle();
        }
    }
}

fn established(plan: Plan) -> (Wire, LegId, LegId) {
    let mut wire = Wire::new(2, plan);
    let ours = wire.dial(0, &[1]);
    wire.pass(1_500);
    let Notice::Incoming(it) = wire.notices[1][0].clone() else { panic!() };
    (wire, ours, it.leg)
}

#[test]
fn hold_is_offered_answered_and_survives_any_loss() {
    for lost in 0..6 {
        for caller in [true, false] {
            let (mut wire, ours, theirs) = established(answers);
            wire.lost = vec![wire.sent.len() + lost];
            let (who, leg) = if caller { (0, ours) } else { (1, theirs) };
            wire.ask(who, Action::Reinvite { leg, sdp: OFFER });
            wire.pass(100_000);
            let answered =
                |notice: &Notice| matches!(notice, Notice::ReofferAnswered { answer: Ok(sdp), .. } if *sdp == ANSWER);
            assert_eq!(wire.notices[who].iter().filter(|it| answered(it)).count(), 1, "lost {lost}");
            wire.ask(0, hang_up(ours));
            wire.settle();
            assert_eq!((wire.ends(0).len(), wire.ends(1).len()), (1, 1));
        }
    }
}

#[test]
fn glare_is_resolved_by_waiting() {
    let (mut wire, ours, theirs) = established(answers);
    wire.ask(0, Action::Reinvite { leg: ours, sdp: OFFER });
    wire.ask(1, Action::Reinvite { leg: theirs, sdp: OFFER });
    wire.pass(20_000);
    assert!(wire.starts(0).iter().chain(&wire.starts(1)).any(|line| line.starts_with("SIP/2.0 491")));
    for who in [0, 1] {
        let answered = |it: &&Notice| matches!(it, Notice::ReofferAnswered { answer: Ok(_), .. });
        assert_eq!(wire.notices[who].iter().filter(answered).count(), 1);
    }
    wire.ask(1, hang_up(theirs));
    wire.settle();
}

#[test]
fn a_refused_reinvite_leaves_the_session_and_a_lost_dialog_ends_it() {
    fn refuses(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
        match notice {
            Notice::Reoffered { leg, .. } => vec![(5, who, Action::AnswerReoffer { leg: *leg, answer: Err(488) })],
            _ => answers(who, notice),
        }
    }
    let (mut wire, ours, _) = established(refuses);
    wire.ask(0, Action::Reinvite { leg: ours, sdp: OFFER });
    wire.pass(60_000);
    assert!(wire.notices[0].contains(&Notice::ReofferAnswered { leg: ours, answer: Err(488) }));
    assert!(wire.ends(0).is_empty());
    // The other side restarts and has forgotten everything.
    wire.uas[1] = Wire::new(2, nothing).uas.remove(1);
    wire.ask(0, Action::Probe { leg: ours, sdp: OFFER });
    wire.pass(60_000);
    let told = wire.notices[0].contains(&Notice::ReofferAnswered { leg: ours, answer: Err(481) });
    assert!(told && wire.ends(0).is_empty(), "who asks whether it stands decides what follows");
    wire.ask(0, Action::Reinvite { leg: ours, sdp: OFFER });
    wire.pass(60_000);
    assert_eq!(wire.ends(0), ["Lost"]);
    wire.settle();
}

fn restart(wire: &mut Wire, who: usize) {
    let text = serde_json::to_string(&wire.uas[who].snapshot()).unwrap();
    let mut out: Vec<Command> = Vec::new();
    let seed = [who as u64, 7];
    let id = (1, ShardId(who as u8));
    let saved: Snapshot = serde_json::from_str(&text).unwrap();
    let mut expected = saved.clone();
    wire.uas[who] =
        Ua::restore(saved, id, Mint::new(2, seed), seed, Arc::new(settings(who)), wire.now, &mut out).unwrap();
    let restored = wire.uas[who].snapshot();
    // What was sent and numbered after the snapshot is lost: no number may come twice.
    assert!(restored.incoming > expected.incoming + 1_000);
    expected.incoming = restored.incoming;
    for (leg, now) in expected.legs.iter_mut().zip(&restored.legs) {
        assert!(now.dialog.local_cseq > leg.dialog.local_cseq + 100);
        leg.dialog.local_cseq = now.dialog.local_cseq;
    }
    assert_eq!(restored, expected, "and all else is as it was");
    wire.take(who, out);
}

#[test]
fn dialogs_survive_a_restart_of_either_side() {
    for (restarted, hanging) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (mut wire, ours, theirs) = established(answers);
        restart(&mut wire, restarted);
        let leg = if restarted == 0 { ours } else { theirs };
        wire.ask(restarted, Action::Reinvite { leg, sdp: OFFER });
        wire.pass(10_000);
        wire.ask(hanging, hang_up(if hanging == 0 { ours } else { theirs }));
        wire.settle();
        assert_eq!(wire.ends(hanging), ["Ours"]);
        assert_eq!(wire.ends(1 - hanging), ["Bye { q850: Some(16) }"]);
    }
}

#[test]
fn a_restart_between_200_and_ack_loses_nothing() {
    for restarted in [0, 1] {
        let mut wire = Wire::new(2, answers);
        let leg = wire.dial(0, &[1]);
        // INVITE, 100, 180, 200; the ACK is lost.
        wire.lost = vec![4];
        wire.pass(1_200);
        restart(&mut wire, restarted);
        wire.pass(10_000);
        assert!(wire.notices[1].iter().any(|it| matches!(it, Notice::Acknowledged { .. })), "{restarted}");
        wire.ask(0, hang_up(leg));
        wire.settle();
        assert_eq!((wire.ends(0).len(), wire.ends(1).len()), (1, 1));
    }
}

#[test]
fn the_same_input_gives_the_same_output() {
    let (one, two) = (call(caller_hangs_up, &[3, 5]), call(caller_hangs_up, &[3, 5]));
    assert_eq!(one.sent, two.sent);
}

/// Mutated datagrams of a live session, back into both sides: nothing panics, everything stays bounded and runs out.
#[test]
fn mutated_messages_of_a_live_session_do_no_harm() {
    let corpus = call(caller_hangs_up, &[]).sent;
    let mut mint = Mint::new(9, [3, 1]);
    for round in 0..40 {
        let (mut wire, ..) = established(answers);
        for _ in 0..100 {
            let (from, to, bytes) = &corpus[(mint.random() % corpus.len() as u64) as usize];
            let mut bytes = bytes.to_vec();
            for _ in 0..mint.random() % 4 {
                mutate(&mut bytes, &mut mint);
            }
            wire.event(*to, Event::Received { flow: flow(*from), bytes: bytes.into() });
            wire.pass(mint.random() % 300);
        }
        assert!(wire.uas.iter().all(|ua| ua.counts().transactions < 1_000), "round {round}");
        for who in [0, 1] {
            for notice in wire.notices[who].clone() {
                match notice {
                    Notice::Incoming(it) => wire.ask(who, hang_up(it.leg)),
                    Notice::Answered { leg, .. } | Notice::Acknowledged { leg, .. } => wire.ask(who, hang_up(leg)),
                    _ => {}
                }
            }
        }
        wire.settle();
    }
}

pub(super) fn mutate(bytes: &mut Vec<u8>, mint: &mut Mint) {
    let at = (mint.random() % bytes.len().max(1) as u64) as usize;
    let roll = mint.random();
    match roll % 6 {
        0 => bytes[at] = (roll >> 8) as u8,
        1 => bytes.truncate(at.max(1)),
        2 => bytes.insert(at, (roll >> 8) as u8),
        3 => {
            bytes.remove(at);
        }
        4 => {
            let end = (at + (roll >> 8) as usize % 64).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            // Tags, branches and numbers change most meanings.
            if let Some(digit) = bytes[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                *digit = b'0' + (roll >> 8) as u8 % 10;
            }
        }
    }
    if bytes.is_empty() {
        bytes.push(b' ');
    }
}
