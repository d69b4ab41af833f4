//! Who answers for a target: one who confirms it by a key, and whoever is on duty; and what the citizen hears meanwhile.

use super::transfer::{CONFIRM, FAR, House, PLEASE_HOLD};
use super::*;
use crate::base::fact::{TransferMode, TransferResult};
use crate::call::transfer::{Ask, NotTransferred};

fn plays(out: &[Command], leg: LegId) -> Option<(Vec<PromptId>, bool)> {
    media(out).into_iter().rev().find_map(|action| match action {
        Media::Play { leg: on, prompts, repeat, .. } if *on == leg => Some((prompts.clone(), *repeat)),
        _ => None,
    })
}

fn press(house: &mut House, leg: LegId, digit: u8) {
    house.tell(Event::Media(Heard::Digit { leg, digit }));
}

#[test]
fn who_answers_is_there_when_they_have_pressed_the_key() {
    for (mode, dialling, there) in
        [(TransferMode::Conference, 'D', 'J'), (TransferMode::Consult, 's', 'C'), (TransferMode::Blind, 's', 'X')]
    {
        let mut house = House::new();
        house.start("mobile", mode).unwrap();
        let far = house.far();
        let out = house.far_answers();
        assert_eq!(plays(&out, far), Some((vec![CONFIRM], true)), "asked until they press");
        assert_eq!((house.letter(), house.last().answered), (dialling, None), "{mode:?}: nobody is there yet");
        assert!(house.ears.with(CITIZEN) != [far] && !house.ears.with(far).contains(&CITIZEN));
        press(&mut house, far, b'5');
        assert_eq!(house.letter(), dialling, "another key");
        press(&mut house, far, b'1');
        assert_eq!(house.letter(), there, "{mode:?}");
        assert!(house.last().answered.is_some() && !house.ears.plays.contains(&far));
    }
}

#[test]
fn a_voice_mail_is_nobody_and_the_next_number_is_dialled() {
    let mut house = House::new();
    house.start("mobile", TransferMode::Blind).unwrap();
    let first = house.far();
    house.far_answers();
    house.pass(Duration::from_millis(14_900));
    assert_eq!(house.invited.len(), 1);
    let out = house.pass(Duration::from_millis(200));
    let byes = sip(&out).into_iter().any(|action| matches!(action, Sip::HangUp { leg, .. } if *leg == first));
    assert!(byes && house.invited.len() == 2, "hung up, and the second number is dialled");
    press(&mut house, first, b'1');
    assert_eq!(house.letter(), 's', "too late");
    let second = house.far();
    house.sip(Notice::Answered { leg: second, sdp: Bytes::from_static(FAR) });
    house.bye(second);
    assert_eq!(
        (house.letter(), house.last().result),
        ('T', Some(TransferResult::NoAnswer)),
        "who hangs up is not there"
    );
    assert_eq!(house.used(), 0, "no channel is left behind");
    assert_eq!(house.ears.with(CITIZEN), [house.agent]);
}

#[test]
fn every_way_out_of_the_question_leaves_the_citizen_served() {
    type Act = fn(&mut House);
    let ways: [(&str, Act, &str); 6] = [
        ("cancel", |h| _ = h.ask(Ask::Cancel), "TT"),
        ("the agent hangs up", |h| _ = h.bye(h.agent), "BB"),
        ("the citizen hangs up", |h| _ = h.bye(CITIZEN), "EE"),
        ("complete", |h| _ = h.ask(Ask::Complete), "ss"),
        (
            "the port is lost",
            |h| _ = h.tell(Event::Media(Heard::Closed { leg: h.far(), counters: Default::default() })),
            "Ds",
        ),
        ("a crash", |h| h.crash(true, |_| true), "TT"),
    ];
    for (name, act, expected) in ways {
        for (mode, expected) in [TransferMode::Conference, TransferMode::Consult].into_iter().zip(expected.chars()) {
            let mut house = House::new();
            house.start("mobile", mode).unwrap();
            house.far_answers();
            act(&mut house);
            assert_eq!(house.letter(), expected, "{name}, {mode:?}");
        }
    }
}

#[test]
fn whoever_is_on_duty_is_dialled() {
    // Ten minutes after midnight UTC, 1970-01-01, and so on; `House` begins 1,000 s after it.
    for (pass_s, number) in [(0, "059112302"), (240, "059112300")] {
        let mut house = House::new();
        house.pass(Duration::from_secs(pass_s));
        house.start("duty", TransferMode::Consult).unwrap();
        let invite = house.sent.take().expect("an INVITE");
        let Destination::Trunk(over) = &invite.to else { panic!("over a trunk") };
        assert_eq!(&*over.number, number, "after {pass_s} s");
    }
}

#[test]
fn who_is_left_aside_hears_why_and_then_music() {
    let mut house = House::new();
    let started = house.tell(Event::Transfer {
        call: house.call,
        by: None,
        ask: Ask::Start { target: "duty".into(), mode: TransferMode::Consult, reason: "needs help".into() },
        ticket: 1,
    });
    assert_eq!(plays(&started, CITIZEN), Some((vec![PLEASE_HOLD], false)));
    let play = media(&started).into_iter().find_map(|action| match action {
        Media::Play { leg: CITIZEN, play, .. } => Some(*play),
        _ => None,
    });
    let play = play.expect("an announcement");
    let after = house.tell(Event::Media(Heard::Played { leg: CITIZEN, play }));
    let (music, repeat) = plays(&after, CITIZEN).expect("music");
    assert!(repeat && music != [PLEASE_HOLD]);
    house.far_answers();
    assert_eq!(house.letter(), 'C');
    house.ask(Ask::Cancel).unwrap();
    let late = house.tell(Event::Media(Heard::Played { leg: CITIZEN, play }));
    assert!(plays(&late, CITIZEN).is_none() && house.ears.with(CITIZEN) == [house.agent], "an end that comes late");
}

/// Ten numbers are dialled together.
fn ten(target: &str, mode: TransferMode) -> (House, Vec<LegId>) {
    let mut house = House::new();
    house.start(target, mode).unwrap();
    let legs: Vec<LegId> = house.invited.iter().map(|(leg, _)| *leg).collect();
    assert_eq!((legs.len(), house.used()), (10, 10), "each with a channel of its own");
    for leg in &legs {
        house.sip(Notice::Ringing { leg: *leg, sdp: Some(Bytes::from_static(FAR)) });
    }
    assert!(!house.ears.with(house.agent).iter().any(|leg| legs.contains(leg)), "of several nobody is heard");
    (house, legs)
}

#[test]
fn the_first_of_ten_that_answers_is_the_target_and_the_others_hear_that_it_was() {
    for (mode, there) in [(TransferMode::Conference, 'J'), (TransferMode::Consult, 'C'), (TransferMode::Blind, 'X')] {
        for winner in [0, 6, 9] {
            let (mut house, legs) = ten("many", mode);
            house.sip(Notice::Failed { leg: legs[3], status: 486, q850: None });
            let out = house.sip(Notice::Answered { leg: legs[winner], sdp: Bytes::from_static(FAR) });
            let elsewhere = sip(&out).into_iter().filter(|action| matches!(action, Sip::TakenElsewhere { .. })).count();
            assert_eq!((house.letter(), elsewhere, house.used()), (there, 8, 1), "{mode:?}, {winner}");
            let statuses = |status| house.last().routes.iter().filter(|route| route.sip_status == Some(status)).count();
            assert_eq!((statuses(200), statuses(487), statuses(486)), (1, 8, 1));
            // An answer that crossed, and the ends of those that were cancelled.
            house.sip(Notice::Answered { leg: legs[5], sdp: Bytes::from_static(FAR) });
            for leg in legs.iter().filter(|leg| **leg != legs[winner]) {
                house.sip(Notice::Failed { leg: *leg, status: 487, q850: None });
            }
            assert_eq!((house.letter(), house.used()), (there, 1), "{mode:?}, {winner}");
            house.crash(true, |_| true);
            assert_eq!((house.letter(), house.used()), (there, 1), "{mode:?}, {winner}: it outlives a crash");
        }
    }
}

#[test]
fn ten_that_do_not_come_leave_citizen_and_agent_as_they_were() {
    let (mut house, legs) = ten("many", TransferMode::Blind);
    for (nth, leg) in legs.iter().enumerate() {
        assert_eq!(house.letter(), 's', "{nth} have refused");
        house.sip(Notice::Failed { leg: *leg, status: 486, q850: None });
    }
    assert_eq!((house.letter(), house.used(), house.last().result), ('T', 0, Some(TransferResult::Busy)));
    let (mut house, _) = ten("many", TransferMode::Conference);
    house.pass(Duration::from_secs(21));
    assert_eq!((house.letter(), house.used(), house.last().result), ('T', 0, Some(TransferResult::NoAnswer)));
    let (mut house, _) = ten("many", TransferMode::Consult);
    house.ask(Ask::Cancel).unwrap();
    assert_eq!((house.letter(), house.used()), ('T', 0));
    let (mut house, _) = ten("many", TransferMode::Conference);
    house.bye(CITIZEN);
    assert_eq!((house.calls.letter(), house.used()), ('E', 0));
}

#[test]
fn a_voice_mail_among_ten_mobiles_stops_nobody_else() {
    let (mut house, legs) = ten("mobiles", TransferMode::Consult);
    for leg in &legs[..3] {
        house.sip(Notice::Answered { leg: *leg, sdp: Bytes::from_static(FAR) });
    }
    assert_eq!((house.letter(), house.used()), ('s', 10), "three answered, nobody has confirmed");
    house.pass(Duration::from_secs(10));
    house.sip(Notice::Answered { leg: legs[7], sdp: Bytes::from_static(FAR) });
    house.pass(Duration::from_secs(6));
    assert_eq!((house.letter(), house.used()), ('s', 7), "those who did not press in time are hung up");
    press(&mut house, legs[7], b'1');
    assert_eq!((house.letter(), house.used()), ('C', 1));
    assert_eq!(house.ears.with(house.agent), [legs[7]]);
}

#[test]
fn a_sub_center_gives_the_citizen_back_by_a_refer_to_the_hotline() {
    let refer = |house: &mut House, leg, number: &str| {
        let (to, number) = (format!("sip:{number}@fuzhou.example").into(), number.into());
        let referred = Referred { leg, refer: 5, to, number, replaces: None, attended: false, by: None };
        house.sip(Notice::Referred(Box::new(referred)))
    };
    let answered = |out: &[Command]| {
        sip(out).into_iter().find_map(|action| match action {
            Sip::AnswerRefer { status, .. } | Sip::RefuseRefer { status, .. } => Some(*status),
            _ => None,
        })
    };
    for (letter, number, status, then) in [
        ('X', "12345", 202, 'W'),
        ('X', "059196110", 603, 'X'),
        ('X', "110", 603, 'X'),
        ('C', "12345", 603, 'C'),
        ('J', "12345", 603, 'J'),
    ] {
        let mut house = House::up_to(letter, "social");
        let far = house.far();
        let out = refer(&mut house, far, number);
        assert_eq!((answered(&out), house.letter()), (Some(status), then), "{letter} to {number}");
    }
    let mut house = House::up_to('X', "social");
    let far = house.far();
    let out = refer(&mut house, far, "12345");
    let order = |wanted: fn(&Sip) -> bool| sip(&out).into_iter().position(wanted).expect("it is said");
    let told = order(|action| matches!(action, Sip::ReferProgress { status: 200, .. }));
    assert!(told < order(|action| matches!(action, Sip::HangUp { .. })), "it is told before it is hung up");
    let since = out.iter().find_map(|command| match command {
        Command::Acd { event: ToAcd::Enqueue(caller), .. } => Some(caller.since),
        _ => None,
    });
    assert!(since.is_some_and(|since| since < house.now.mono), "at the old place");
    house.agent_answers();
    assert_eq!((house.ears.with(CITIZEN), house.used()), (vec![house.agent], 0));
    assert_eq!(house.start("water", TransferMode::Conference), Err(NotTransferred::Second), "it was the one transfer");
    house.start("fire", TransferMode::Conference).expect("an emergency line is another matter");
}
