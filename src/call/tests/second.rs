//! The agent's phone calls a target by itself, beside the citizen: consults, refers, mixes, takes back.

use super::transfer::{FAR, House};
use super::*;
use crate::base::fact::{TransferMode, TransferRecord, TransferResult};
use crate::call::supervise::{self, Mode};
use crate::call::transfer::{Ask, NotTransferred, Phase, Second};

/// What the agent's phone was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Statuses of its own call, in order.
    call: Vec<u16>,
    /// Of its REFER: the answer, then how it went.
    refer: Vec<u16>,
    /// Why something was refused.
    why: Option<Box<str>>,
    /// Legs that were hung up.
    hung_up: Vec<LegId>,
}

fn told(out: &[Command]) -> Told {
    let mut told = Told::default();
    for action in sip(out) {
        match action {
            Sip::Respond { status, .. } => told.call.push(*status),
            Sip::Refuse { status, why, .. } => {
                told.call.push(*status);
                told.why = Some(why.clone());
            }
            Sip::AnswerRefer { status, .. } | Sip::ReferProgress { status, .. } => told.refer.push(*status),
            Sip::RefuseRefer { status, why, .. } => {
                told.refer.push(*status);
                told.why = Some(why.clone());
            }
            Sip::HangUp { leg, .. } => told.hung_up.push(*leg),
            _ => {}
        }
    }
    told
}

impl House {
    /// The agent's phone dials, by a call of its own.
    pub(super) fn dials(&mut self, number: &str) -> Vec<Command> {
        self.offers(number, Some(PHONE))
    }

    fn offers(&mut self, number: &str, sdp: Option<&'static [u8]>) -> Vec<Command> {
        let leg = LegId::incoming(ShardId(0), 100 + self.dialled.len() as u64);
        self.dialled.push(leg);
        self.sip(Notice::Incoming(Box::new(Incoming {
            leg,
            source: Source::Phone { user: "1001".into(), domain: "fuzhou.example".into() },
            call_id: "own".into(),
            dialled: number.into(),
            caller: "1001".into(),
            caller_name: Bytes::new(),
            sdp: sdp.map(Bytes::from_static),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.9:5060".parse().unwrap() },
            about: About::default(),
        })))
    }

    /// A REFER with Replaces.
    pub(super) fn refers(&mut self, leg: LegId, replaces: Option<LegId>) -> Vec<Command> {
        let (to, number) = ("sip:x@fuzhou.example".into(), "x".into());
        let referred = Referred { leg, refer: 5, to, number, replaces, attended: true, by: None };
        self.sip(Notice::Referred(Box::new(referred)))
    }

    /// The citizen is held, or not any more.
    pub(super) fn holds(&mut self, sdp: &'static [u8]) {
        let leg = self.agent;
        self.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(sdp)) });
    }

    fn second(&self) -> LegId {
        *self.dialled.last().expect("a call of the phone's own")
    }

    /// `w`aiting for the target, `c`onsulting, `m`ixed by the phone, `l`eft a moment ago; else as in [`House::letter`].
    fn stand(&self) -> char {
        let entry = self.calls.calls.iter().next();
        let transfer = entry.and_then(|(_, entry)| entry.call.transfer.as_ref());
        match transfer.and_then(|it| Some((it.second.as_ref()?, it.phase))) {
            Some((Second::Waiting { .. }, _)) => 'w',
            Some((Second::With { .. }, Phase::Consulting)) => 'c',
            Some((Second::With { .. }, _)) => 'm',
            Some((Second::Left { .. }, _)) => 'l',
            None => self.letter(),
        }
    }

    fn desk(stand: char, target: &str) -> House {
        let mut house = House::new();
        house.holds(HOLDING);
        house.dials(target);
        if stand != 'w' {
            house.far_answers();
        }
        match stand {
            'm' => house.holds(PHONE),
            'l' => _ = house.bye(house.second()),
            _ => {}
        }
        assert_eq!(house.stand(), stand);
        house
    }
}

#[test]
fn a_phone_consults_by_a_call_of_its_own_and_joins_the_two() {
    for by_second in [false, true] {
        let mut house = House::new();
        house.holds(HOLDING);
        let dialled = house.dials("*21");
        let (agent, second, far) = (house.agent, house.second(), house.far());
        assert_eq!(told(&dialled).call, [0u16; 0], "nothing but 100 until the target rings");
        assert_eq!(told(&house.sip(Notice::Ringing { leg: far, sdp: None })).call, [180]);
        assert_eq!((house.stand(), house.ears.plays.contains(&CITIZEN), house.used()), ('w', true, 1));
        let answered = house.far_answers();
        assert_eq!((told(&answered).call, house.stand()), (vec![200], 'c'));
        let tracks: Vec<LegId> = media(&answered).into_iter().filter_map(recorded).collect();
        assert_eq!(tracks, [second, far], "a track for each of the two who consult");
        house.sip(Notice::Acknowledged { leg: second, sdp: None });
        assert_eq!((house.ears.with(second), house.ears.with(far)), (vec![far], vec![second]));
        assert_eq!((house.ears.with(CITIZEN), house.ears.plays.contains(&CITIZEN)), (vec![], true));
        let asked = if by_second { house.refers(second, Some(agent)) } else { house.refers(agent, Some(second)) };
        assert_eq!((told(&asked).refer, told(&asked).hung_up), (vec![202, 200], vec![agent, second]));
        assert!(matches!(acd(&asked)[..], [ToAcd::Ended { .. }]), "the agent is free: {asked:?}");
        assert_eq!((house.stand(), house.ears.with(CITIZEN), house.ears.with(far)), ('X', vec![far], vec![CITIZEN]));
        let TransferRecord { mode, result, started, answered, joined, handed, ref reason, .. } = *house.last();
        assert_eq!((mode, result, joined), (TransferMode::Attended, Some(TransferResult::Completed), None));
        assert!([Some(started), answered, handed].is_sorted() && handed.is_some() && &**reason == "by phone");
        let over = house.bye(far);
        assert_eq!((ended(&over), house.ears.open.len()), ((Stage::Talking, EndedBy::Target, 200), 0));
    }
}

fn recorded(action: &Media) -> Option<LegId> {
    if let Media::Record { citizen, .. } = action { Some(*citizen) } else { None }
}

#[test]
fn what_the_target_sounds_like_is_heard_and_a_late_offer_is_answered_in_the_ack() {
    let mut house = House::new();
    house.holds(HOLDING);
    house.dials("water");
    let (second, far) = (house.second(), house.far());
    let early = || Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) };
    assert_eq!(told(&house.sip(early())).call, [183]);
    assert_eq!(house.ears.with(second), [far]);
    assert_eq!(told(&house.sip(early())).call, [0u16; 0], "once");
    assert_eq!(told(&house.far_answers()).call, [200]);
    assert_eq!(house.ears.with(second), [far]);

    let mut house = House::new();
    house.holds(HOLDING);
    house.offers("water", None);
    let (second, far) = (house.second(), house.far());
    assert_eq!(told(&house.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) })).call, [180]);
    let answered = house.far_answers();
    assert!(matches!(sip(&answered)[..], [Sip::Respond { status: 200, sdp: Some(_), .. }]), "{answered:?}");
    let connected = house.sip(Notice::Acknowledged { leg: second, sdp: Some(Bytes::from_static(PHONE)) });
    assert!(media(&connected).iter().any(|it| matches!(it, Media::Connect { leg, .. } if *leg == second)));
    assert_eq!(house.ears.with(second), [far]);
}

#[test]
fn a_target_that_fails_refuses_the_phones_call_and_leaves_the_first_as_it_was() {
    for (status, q850, to_phone, result) in [
        (486, None, 486, TransferResult::Busy),
        (603, None, 486, TransferResult::Busy),
        (480, Some(19), 480, TransferResult::NoAnswer),
        (404, None, 503, TransferResult::Unreachable),
    ] {
        for held in [HOLDING, PHONE] {
            let mut house = House::new();
            house.holds(held);
            house.dials("059196110");
            let (agent, far) = (house.agent, house.far());
            house.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) });
            let failed = told(&house.sip(Notice::Failed { leg: far, status, q850 }));
            assert_eq!((failed.call, failed.hung_up), (vec![to_phone], vec![]), "{status}");
            assert!(failed.why.is_some_and(|why| why.starts_with("the target ")));
            house.holds(PHONE);
            assert_eq!((house.stand(), house.ears.with(CITIZEN), house.used()), ('T', vec![agent], 0), "{status}");
            assert_eq!(house.last().result, Some(result));
        }
    }
}

#[test]
fn what_cannot_be_is_refused_in_words_and_nothing_changes() {
    let mut house = House::new();
    let agent = house.agent;
    for (number, status, why) in [
        ("old", 410, Some(NotTransferred::Expired)),
        ("*3", 410, Some(NotTransferred::Expired)),
        ("abroad", 403, Some(NotTransferred::NotListed)),
        // A part of a name or a number is no target; what may be a number is dialled as one.
        ("wat", 404, Some(NotTransferred::UnknownTarget)),
        ("*2", 404, Some(NotTransferred::UnknownTarget)),
        ("*211", 404, Some(NotTransferred::UnknownTarget)),
        ("13811012001", 403, None),
    ] {
        let refused = told(&house.dials(number));
        assert_eq!(
            (&refused.call[..], &refused.why),
            (&[status][..], &why.map(|why| why.to_string().into())),
            "{number}"
        );
    }
    let video = house.offers("water", Some(VIDEO));
    assert_eq!(told(&video).call, [488]);
    assert!(house.invited.is_empty() && house.used() == 0 && house.ears.with(CITIZEN) == [agent]);
    house.dials("water");
    assert_eq!(told(&house.dials("119")).call, [486], "one at a time");
    assert_eq!((house.stand(), house.start("fire", TransferMode::Blind)), ('w', Err(NotTransferred::UnderWay)));
    // Whom it has not called, or not for this talk, it cannot join.
    for (leg, named, status) in
        [(agent, None, 481), (agent, Some(CITIZEN), 403), (agent, Some(agent), 403), (CITIZEN, Some(agent), 603)]
    {
        assert_eq!(told(&house.refers(leg, named)).refer, [status], "{named:?}");
    }
    assert_eq!(house.stand(), 'w');
    // A contact is transferred once, but to emergencies always.
    let mut house = House::desk('c', "water");
    house.refers(house.agent, Some(house.second()));
    house.sip(Notice::Ended { leg: house.far(), why: Ending::Bye { q850: None } });
    let mut house = House::desk('c', "water");
    house.refers(house.agent, Some(house.second()));
    let far = house.far();
    house.sip(Notice::Ended { leg: far, why: Ending::Lost });
    house.agent_answers();
    assert_eq!(house.last().result, Some(TransferResult::Lost));
    house.holds(HOLDING);
    house.dials("social");
    assert_eq!(house.stand(), 'w', "a transfer that a fault ended is none");
}

#[test]
fn a_phone_mixes_by_itself_and_every_party_has_its_own_bridge() {
    let mut house = House::desk('c', "water");
    let (agent, second, far) = (house.agent, house.second(), house.far());
    house.holds(PHONE);
    assert_eq!((house.stand(), house.ears.with(CITIZEN)), ('m', vec![agent]));
    assert_eq!((house.ears.with(second), house.ears.with(far)), (vec![far], vec![second]));
    assert!(house.last().joined.is_some(), "all three hear each other");
    house.holds(HOLDING);
    assert_eq!((house.stand(), house.ears.plays.contains(&CITIZEN)), ('c', true), "apart again");
    house.holds(PHONE);
    // The target alone is put on hold: the agent is with the citizen.
    house.sip(Notice::Reoffered { leg: second, sdp: Some(Bytes::from_static(HOLDING)) });
    assert_eq!((house.stand(), house.ears.with(CITIZEN)), ('c', vec![agent]));
    // A supervisor hears what the citizen's side hears; the second call is none of it.
    let ask = supervise::Ask::Supervise { agent: AgentId(1), mode: Mode::Barge };
    house.tell(Event::Intervene { call: house.call, by: "1002".into(), own: None, ask, ticket: 1 });
    let guest = house.rung.last().expect("the supervisor is rung").leg;
    house.sip(Notice::Answered { leg: guest, sdp: Bytes::from_static(PHONE) });
    assert_eq!((house.ears.with(CITIZEN), house.ears.with(far)), (vec![agent, guest], vec![second]));
    // Taking the talk over ends both calls of the phone.
    let ask = supervise::Ask::Supervise { agent: AgentId(1), mode: Mode::TakeOver };
    let taken = house.tell(Event::Intervene { call: house.call, by: "1002".into(), own: None, ask, ticket: 1 });
    assert_eq!(told(&taken).hung_up, [agent, second]);
    assert_eq!((house.letter(), house.ears.with(guest)), ('C', vec![far]), "who took over consults");
}

#[test]
fn whoever_hangs_up_the_second_call_has_the_citizen_back_and_who_hangs_up_both_leaves_the_two_together() {
    // The second alone: the target leaves after a moment, or as soon as the citizen is taken back.
    for taken_back in [false, true] {
        let mut house = House::desk('l', "water");
        let (agent, far) = (house.agent, house.far());
        let over = if taken_back {
            house.sip(Notice::Reoffered { leg: agent, sdp: Some(Bytes::from_static(PHONE)) })
        } else {
            assert!(house.ears.plays.contains(&CITIZEN));
            house.pass(Duration::from_millis(1_001))
        };
        assert!(told(&over).hung_up.contains(&far), "{over:?}");
        house.holds(PHONE);
        assert_eq!((house.stand(), house.ears.with(CITIZEN), house.used()), ('T', vec![agent], 0));
        assert_eq!(house.last().result, Some(TransferResult::Returned));
        let over = house.bye(agent);
        assert_eq!(ended(&over).1, EndedBy::Agent, "an agent alone ends the talk as ever");
    }
    for stand in ['c', 'm'] {
        for second_first in [true, false] {
            let mut house = House::desk(stand, "water");
            let (agent, second, far) = (house.agent, house.second(), house.far());
            for leg in if second_first { [second, agent] } else { [agent, second] } {
                house.bye(leg);
            }
            assert_eq!((house.stand(), house.ears.with(CITIZEN)), ('X', vec![far]), "{stand}, {second_first}");
            assert_eq!(house.last().result, Some(TransferResult::Completed));
        }
    }
    // A phone that dies leaves them together, too.
    for which in [0, 1] {
        let mut house = House::desk('c', "water");
        let leg = [house.agent, house.second()][which];
        house.sip(Notice::Ended { leg, why: Ending::Lost });
        assert_eq!((house.stand(), house.ears.with(CITIZEN)), ('X', vec![house.far()]));
    }
}

#[test]
fn an_emergency_line_keeps_the_phones_second_call_when_the_citizen_hangs_up() {
    for stand in ['w', 'c', 'm'] {
        let mut house = House::desk(stand, "fire");
        house.bye(CITIZEN);
        if stand == 'w' {
            assert_eq!(told(&house.far_answers()).call, [200]);
        }
        let (second, far) = (house.second(), house.far());
        assert_eq!(
            (house.letter(), house.ears.with(second)),
            (if stand == 'm' { 'J' } else { 'C' }, vec![far]),
            "{stand}"
        );
        assert!(!house.ears.open.contains(&house.agent), "its call with the citizen is over");
        assert_eq!(ended(&house.bye(second)), (Stage::Talking, EndedBy::Agent, 200));
        assert_eq!((house.used(), house.ears.open.len()), (0, 0));
    }
}

const STANDS: &str = "cwml";

type Row = (&'static str, fn(&mut House), &'static str);

/// Every event of the phone's, and what else touches its second call, in every state: what follows; `.` where it stays.
#[rustfmt::skip]
const TABLE: [Row; 30] = [
    ("the target rings",            |h| { let leg = h.far(); h.sip(Notice::Ringing { leg, sdp: None }); },              "...."),
    ("the target is heard",         |h| { let leg = h.far(); h.sip(Notice::Ringing { leg, sdp: Some(FAR.into()) }); },  "...."),
    ("the target answers",          |h| { h.far_answers(); },                                                             ".c.."),
    ("the target answers nonsense", |h| { let leg = h.far(); h.sip(Notice::Answered { leg, sdp: VIDEO.into() }); },     ".T.."),
    ("the target is busy",          |h| { let leg = h.far(); h.sip(Notice::Failed { leg, status: 486, q850: None }); }, "TTTT"),
    ("the target hangs up",         |h| { let leg = h.far(); h.bye(leg); },                                               "T.TT"),
    ("the target is lost",          |h| { let leg = h.far(); h.sip(Notice::Ended { leg, why: Ending::Lost }); },        "T.TT"),
    ("nobody answers for long",     |h| { let leg = h.far(); h.sip(Notice::Trying { leg }); h.pass(Duration::from_secs(21)); }, ".T.T"),
    ("nothing comes of the target", |h| { let leg = h.far(); h.tell(Event::Media(Heard::Mute { leg })); },             "...."),
    ("the second is cancelled",     |h| { let leg = h.second(); h.sip(Notice::Ended { leg, why: Ending::Cancel }); },   "lTl."),
    ("the second is hung up",       |h| { let leg = h.second(); h.bye(leg); },                                            "lTl."),
    ("the second is lost",          |h| { let leg = h.second(); h.sip(Notice::Ended { leg, why: Ending::Lost }); },     "XTX."),
    ("the second has no ACK",       |h| { let leg = h.second(); h.sip(Notice::Ended { leg, why: Ending::NoAck }); },    "XTX."),
    ("the second's port is lost",   |h| { let leg = h.second(); h.tell(Event::Media(Heard::Closed { leg, counters: Default::default() })); }, "TTT."),
    ("the second is silent",        |h| { let leg = h.second(); h.tell(Event::Media(Heard::Quiet { leg, silent: Duration::from_secs(601) })); }, "X.X."),
    ("the second is held",          |h| { let leg = h.second(); h.sip(Notice::Reoffered { leg, sdp: Some(HOLDING.into()) }); }, "..c."),
    ("the citizen is held",         |h| h.holds(HOLDING),                                                                 "..c."),
    ("the citizen is taken back",   |h| h.holds(PHONE),                                                                   "m..T"),
    ("the first is hung up",        |h| { let leg = h.agent; h.bye(leg); },                                               "XBXX"),
    ("the first is lost",           |h| { let leg = h.agent; h.sip(Notice::Ended { leg, why: Ending::Lost }); },        "XBXX"),
    ("REFER in the first",          |h| { let (a, s) = (h.agent, h.second()); h.refers(a, Some(s)); },                    "XsX."),
    ("REFER in the second",         |h| { let (a, s) = (h.agent, h.second()); h.refers(s, Some(a)); },                    "XsX."),
    ("REFER to nobody",             |h| { let leg = h.agent; h.refers(leg, None); },                                      "...."),
    ("another call",                |h| { h.dials("fire"); h.dialled.pop(); },                                            "...."),
    ("the citizen hangs up",        |h| { h.bye(CITIZEN); },                                                              "EEEE"),
    ("join",                        |h| { let _ = h.ask(Ask::Join); },                                                    "J.JJ"),
    ("complete",                    |h| { let _ = h.ask(Ask::Complete); },                                                "X.XX"),
    ("cancel",                      |h| { let _ = h.ask(Ask::Cancel); },                                                  "TTTT"),
    ("an operator hangs up",        |h| { h.tell(Event::HangUp { call: h.call }); },                                      "EEEE"),
    ("a second passes",             |h| { h.pass(Duration::from_millis(1_001)); },                                        "...T"),
];

#[test]
fn every_event_in_every_state() {
    for (name, act, expected) in TABLE {
        for (state, expected) in STANDS.chars().zip(expected.chars()) {
            let mut house = House::desk(state, "water");
            act(&mut house);
            let expected = if expected == '.' { state } else { expected };
            let stand = if house.stand() == 'H' { 'T' } else { house.stand() };
            assert_eq!(stand, expected, "{name} in {state}");
        }
    }
}

/// Whoever asks by the API for something while the phone consults: it is done when the target comes, too.
#[test]
fn the_api_may_join_or_complete_what_a_phone_has_begun() {
    let mut house = House::desk('w', "water");
    house.ask(Ask::Join).unwrap();
    let joined = house.far_answers();
    let (agent, second, far) = (house.agent, house.second(), house.far());
    assert_eq!((told(&joined).call, told(&joined).hung_up), (vec![200], vec![agent]));
    assert_eq!((house.letter(), house.ears.with(CITIZEN)), ('J', vec![far, second]));
    let mut house = House::desk('w', "water");
    house.ask(Ask::Complete).unwrap();
    let handed = house.far_answers();
    assert_eq!((told(&handed).call, house.letter()), (vec![487], 'X'));
}

#[test]
fn a_crash_keeps_both_calls_of_a_phone_while_the_target_is_there() {
    for (state, lost_media, knows_second, expected) in [
        ('w', true, true, 'T'),
        ('c', true, true, 'c'),
        ('m', true, true, 'm'),
        ('l', true, true, 'T'),
        ('c', true, false, 'T'),
        ('w', false, true, 'T'),
        ('c', false, true, 'c'),
        ('m', false, true, 'm'),
        ('l', false, true, 'T'),
        ('m', false, false, 'T'),
    ] {
        let mut house = House::desk(state, "water");
        let (agent, second, far) = (house.agent, house.second(), house.far());
        house.crash(lost_media, |leg| leg != second || knows_second);
        let stand = if house.stand() == 'H' { 'T' } else { house.stand() };
        assert_eq!(stand, expected, "{state}, media lost: {lost_media}, {knows_second}");
        if matches!(expected, 'c' | 'm') {
            assert_eq!((house.ears.with(second), house.ears.with(far), house.used()), (vec![far], vec![second], 1));
            house.refers(agent, Some(second));
            assert_eq!((house.stand(), house.ears.with(CITIZEN)), ('X', vec![far]));
        } else {
            assert_eq!(house.used(), 0, "{state}");
            house.holds(PHONE);
            assert_eq!(house.ears.with(CITIZEN), [agent]);
        }
    }
}
