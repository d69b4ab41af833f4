//! Random histories of transfers, by every way in: nobody is left in silence, all is counted once and given back.

use super::transfer::{Dice, FAR, House};
use super::*;
use crate::base::fact::{TransferMode, TransferResult};
use crate::call::transfer::Ask;

/// One of each kind: an emergency line, a drill, one number, several, ten at once, phones of people, a duty table, one that
/// has expired, and none.
const TARGETS: [&str; 10] = ["fire", "drill", "water", "social", "many", "mobile", "mobiles", "duty", "old", "nobody"];

/// One random event.
fn chance(house: &mut House, dice: &mut Dice) {
    let modes = [TransferMode::Conference, TransferMode::Consult, TransferMode::Blind];
    let second = house.dialled.last().copied().unwrap_or(LegId(78));
    let leg = match house.invited.len() as u64 {
        0 => LegId(77),
        many => house.invited[dice.below(many) as usize].0,
    };
    match dice.below(25) {
        0..=3 => {
            let target = TARGETS[dice.below(TARGETS.len() as u64) as usize];
            let _ = house.start(target, modes[dice.below(3) as usize]);
        }
        4 => _ = house.sip(Notice::Ringing { leg, sdp: Some(Bytes::from_static(FAR)) }),
        5..=6 => _ = house.sip(Notice::Answered { leg, sdp: Bytes::from_static(FAR) }),
        7 => {
            let status = [486, 503, 404, 408, 480, 603][dice.below(6) as usize];
            _ = house.sip(Notice::Failed { leg, status, q850: None });
        }
        8 => _ = house.bye(leg),
        9 => _ = house.sip(Notice::Ended { leg, why: Ending::Lost }),
        10 => {
            let ask = [Ask::Join, Ask::Complete, Ask::Cancel][dice.below(3) as usize].clone();
            let _ = house.ask(ask);
        }
        11 if dice.below(3) == 0 => {
            let agent = house.agent;
            house.sip(Notice::Ended { leg: agent, why: Ending::Lost });
        }
        12 if dice.below(3) == 0 => _ = house.bye(house.agent),
        13 => {
            let (leg, sdp) = (house.agent, [PHONE, HOLDING][dice.below(2) as usize]);
            house.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(sdp)) });
        }
        16 => {
            let notice = if dice.below(2) == 0 { Heard::Mute { leg } } else { Heard::Sounds { leg } };
            _ = house.tell(Event::Media(notice));
        }
        17 if matches!(house.calls.letter(), 'T' | 'H') => {
            let number = ["119", "059196110", "social", "*21", "*9", "old", "96110"][dice.below(7) as usize];
            _ = house.dials(number);
        }
        18 => {
            let sdp = [PHONE, HOLDING][dice.below(2) as usize];
            _ = house.sip(Notice::Reoffered { leg: second, sdp: Some(Bytes::from_static(sdp)) });
        }
        19 => {
            let bye = Ending::Bye { q850: None };
            let why =
                [bye, bye, bye, Ending::Cancel, Ending::Lost, Ending::NoAck, Ending::Ours][dice.below(7) as usize];
            _ = house.sip(Notice::Ended { leg: second, why });
        }
        20 => {
            let (first, known) = (house.agent, [house.agent, second, CITIZEN, LegId(78)][dice.below(4) as usize]);
            let leg = if dice.below(3) == 0 { second } else { first };
            _ = house.refers(leg, Some(known));
        }
        21 => house.holds(HOLDING),
        // Whoever is asked to press a key does, or presses another.
        22..=23 => {
            let digit = [b'1', b'1', b'2'][dice.below(3) as usize];
            _ = house.tell(Event::Media(Heard::Digit { leg, digit }));
        }
        24 => {
            let (to, number) = ("sip:12345@fuzhou.example".into(), "12345".into());
            let back = Referred { leg, refer: 5, to, number, replaces: None, attended: false, by: None };
            _ = house.sip(Notice::Referred(Box::new(back)));
        }
        14 if house.calls.letter() == 'W' => house.agent_answers(),
        _ => _ = house.pass(Duration::from_millis(dice.below(4_000))),
    }
}

/// Plays one history of forty events at most, and ends it. Returns its record, and how many events it had: after each of them
/// the house looks who hears whom, and that nobody is left in silence.
pub(super) fn played(seed: u64, chance: fn(&mut House, &mut Dice)) -> (CallRecord, u64) {
    let (mut house, mut dice, mut events) = (House::new(), Dice(seed), 0);
    while events < 40 && !matches!(house.calls.letter(), 'E' | '-') {
        chance(&mut house, &mut dice);
        events += 1;
    }
    if !matches!(house.calls.letter(), 'E' | '-') {
        house.bye(CITIZEN);
        house.tell(Event::HangUp { call: house.call });
    }
    let record = house.record.clone().expect("the call was told");
    let end = record.end.expect("it has ended").by;
    assert!(matches!(end, EndedBy::Caller | EndedBy::Agent | EndedBy::Target | EndedBy::Operator), "{seed}: {end:?}");
    assert_eq!((house.used(), house.ears.open.len()), (0, 0), "{seed}: channels and ports are given back");
    (record, events)
}

/// How often something came about.
#[derive(Debug, Default)]
struct Seen {
    events: u64,
    completed: u64,
    returned: u64,
    /// Of ten rung at once one was there.
    among_ten: u64,
    /// Somebody has pressed the key.
    confirmed: u64,
    /// Nobody has.
    unconfirmed: u64,
}

impl Seen {
    fn note(&mut self, record: &CallRecord) {
        for it in &record.transfers {
            let there = it.answered.is_some();
            let asked = matches!(&*it.target, "mobile" | "mobiles");
            let picked_up = it.routes.iter().any(|route| route.sip_status == Some(200));
            self.completed += u64::from(it.counts());
            self.returned += u64::from(it.result == Some(TransferResult::Returned));
            self.among_ten += u64::from(&*it.target == "many" && there);
            self.confirmed += u64::from(asked && there);
            self.unconfirmed += u64::from(asked && !there && picked_up);
        }
    }
}

fn look_at(histories: u64) {
    let mut seen = Seen::default();
    for seed in 0..histories {
        let (record, happened) = played(seed, chance);
        seen.events += happened;
        let counted = record.transfers.iter().filter(|it| it.counts()).count();
        assert!(counted <= 1, "{seed}: {:?}", record.transfers);
        assert!(record.transfers.iter().all(|it| it.result.is_some() && it.ended.is_some()), "{seed}: {record:?}");
        seen.note(&record);
    }
    println!("{histories} histories: {seen:?}");
    let all = [seen.completed, seen.returned, seen.among_ten, seen.confirmed, seen.unconfirmed];
    assert!(seen.events > 40_000 && all.iter().all(|often| *often > 50), "{seen:?}");
}

#[test]
fn in_random_histories_the_citizen_is_never_left_alone_and_all_is_counted_once() {
    look_at(3_000);
}

#[test]
#[ignore = "minutes long: `make soak`"]
fn a_million_of_them() {
    look_at(1_000_000);
}
