//! Whoever steps into a call beside the queues, with the rest of the house played by the test, which also follows who hears
//! whom: the citizen is never in silence, never dropped by it, and nothing is left over.

use super::histories::played;
use super::transfer::{Dice, House};
use super::*;
use crate::base::fact::{Intervention, InterventionKind as Kind, InterventionResult as Outcome, TransferMode};
use crate::call::supervise::{Ask, Mode, NotDone};
use std::collections::BTreeMap;

/// Who supervises, and another.
const LEAD: AgentId = AgentId(1);
const OTHER: AgentId = AgentId(2);

impl House {
    fn step(&mut self, ask: Ask) -> Result<(), NotDone> {
        self.asks("lead", None, ask).0
    }

    fn asks(&mut self, by: &str, own: Option<AgentId>, ask: Ask) -> (Result<(), NotDone>, Vec<Command>) {
        let event = Event::Intervene { call: self.call, by: by.into(), own, ask, ticket: 9 };
        let told = self.tell(event);
        (self.done.take().expect("an answer"), told)
    }

    fn supervise(&mut self, mode: Mode) -> Result<(), NotDone> {
        self.step(Ask::Supervise { agent: LEAD, mode })
    }

    /// The leg of the newest INVITE to an agent.
    fn newest(&self) -> LegId {
        self.rung.last().expect("an INVITE to an agent").leg
    }

    fn answers(&mut self) -> Vec<Command> {
        let leg = self.newest();
        self.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) })
    }

    fn refuses(&mut self, status: u16) -> Vec<Command> {
        let leg = self.newest();
        self.sip(Notice::Failed { leg, status, q850: None })
    }

    fn stands(&self) -> char {
        let entry = self.calls.calls.iter().next().map(|(_, entry)| &entry.call);
        let with = entry.and_then(|call| call.beside.as_ref()).map(|beside| beside.is_with());
        match (self.calls.letter(), with) {
            ('T' | 'H', Some(false)) => 's',
            ('T' | 'H', Some(true)) => 'S',
            ('P', Some(false)) => 'p',
            (letter, _) => letter,
        }
    }

    fn last_step(&self) -> &Intervention {
        self.record.as_ref().and_then(|record| record.interventions.last()).expect("an intervention was told")
    }

    fn steps(&self) -> Vec<(Kind, Option<Outcome>)> {
        self.record.iter().flat_map(|record| &record.interventions).map(|it| (it.kind, it.result)).collect()
    }

    /// In this state: `T`alking, `H`eld, `s`upervisor rung, `S`upervised, `W`aiting, c`L`aimed, `P`arked, being `p`icked up.
    fn in_state(letter: char) -> House {
        let mut house = House::new();
        match letter {
            'T' => {}
            'H' => _ = house.sip(Notice::Reoffered { leg: house.agent, sdp: Some(HOLDING.into()) }),
            's' => house.supervise(Mode::Listen).unwrap(),
            'S' => {
                house.supervise(Mode::Listen).unwrap();
                house.answers();
            }
            'W' => house.step(Ask::Release).unwrap(),
            'L' => {
                house.step(Ask::Release).unwrap();
                house.supervise(Mode::TakeOver).unwrap();
            }
            'P' => house.step(Ask::Park).unwrap(),
            _ => {
                house.step(Ask::Park).unwrap();
                house.step(Ask::PickUp { agent: LEAD }).unwrap();
            }
        }
        assert_eq!(house.stands(), letter);
        house
    }
}

/// What the citizen's own user agent and media are told beside being seated anew.
fn disturbs_citizen(commands: &[Command]) -> bool {
    commands.iter().any(|command| match command {
        Command::Sip(action) => {
            matches!(action, Sip::Reinvite { leg, .. } | Sip::HangUp { leg, .. } if *leg == CITIZEN)
        }
        Command::Media(Media::Play { leg, .. } | Media::Unbridge { leg } | Media::Tone { leg, .. }) => *leg == CITIZEN,
        _ => false,
    })
}

#[test]
fn a_supervisor_listens_whispers_barges_in_and_goes_and_the_citizen_is_told_nothing() {
    let mut house = House::new();
    let agent = house.agent;
    let (asked, told) = house.asks("lead", None, Ask::Supervise { agent: LEAD, mode: Mode::Listen });
    assert_eq!((asked, house.stands()), (Ok(()), 's'));
    assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::OwnCall { agent: LEAD, up: true, .. })), "{told:?}");
    assert_eq!(house.ears.with(CITIZEN), [agent], "nothing changes while the phone rings");
    let lead = house.newest();
    let joined = house.answers();
    assert!(!disturbs_citizen(&joined), "{joined:?}");
    assert_eq!(house.ears.with(CITIZEN), [agent]);
    assert_eq!((house.ears.with(agent), house.ears.with(lead)), (vec![CITIZEN], vec![CITIZEN, agent]));
    let track = media(&joined).into_iter().find_map(|it| match it {
        Media::Record { citizen, recording } => Some((*citizen, recording.track.clone())),
        _ => None,
    });
    let name = crate::media::event::PartyName::try_from(Box::<str>::from("supervisor-1")).unwrap();
    assert_eq!(track, Some((lead, crate::media::event::Track::Party(name))));
    house.supervise(Mode::Whisper).unwrap();
    assert_eq!((house.ears.with(CITIZEN), house.ears.with(agent)), (vec![agent], vec![CITIZEN, lead]));
    house.supervise(Mode::Barge).unwrap();
    assert_eq!((house.ears.with(CITIZEN), house.ears.with(agent)), (vec![agent, lead], vec![CITIZEN, lead]));
    let (left, told) = house.asks("lead", None, Ask::Leave);
    assert_eq!((left, house.stands(), disturbs_citizen(&told)), (Ok(()), 'T', false));
    assert_eq!((house.ears.with(CITIZEN), house.ears.with(agent)), (vec![agent], vec![CITIZEN]));
    assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::OwnCall { agent: LEAD, up: false, .. })), "{told:?}");
    let done = Some(Outcome::Done);
    assert_eq!(house.steps(), [(Kind::Listen, done), (Kind::Whisper, done), (Kind::Barge, done)]);
    let Intervention { by, agent: whom, started, answered, ended, .. } = house.last_step().clone();
    assert_eq!((&*by, whom.as_deref()), ("1002", Some("1001")));
    assert!(started <= answered.unwrap() && answered <= ended);
    house.bye(CITIZEN);
    house.bye(lead);
    assert_eq!(house.ears.open.len(), 0);
}

#[test]
fn keys_of_the_supervisors_phone_change_how_they_are_heard() {
    let mut house = House::in_state('S');
    let (lead, agent, mut audited) = (house.newest(), house.agent, Vec::new());
    for (keys, heard) in [("*2", vec![agent]), ("*3", vec![agent, lead]), ("*1", vec![agent]), ("3", vec![agent])] {
        for digit in keys.bytes() {
            let out = house.sip(Notice::Digit { leg: lead, digit });
            audited.extend(out.into_iter().filter_map(|command| match command {
                Command::Fact { fact: Fact::Audit(audit), .. } => Some((audit.actor, audit.action, audit.from)),
                _ => None,
            }));
        }
        assert_eq!(house.ears.with(CITIZEN), heard, "{keys}");
    }
    let by_key = |action: &str| ("1002".into(), action.into(), "phone".into());
    assert_eq!(audited, [by_key("call.whisper"), by_key("call.barge"), by_key("call.listen")]);
    assert_eq!(
        house.steps().iter().map(|it| it.0).collect::<Vec<_>>(),
        [Kind::Listen, Kind::Whisper, Kind::Barge, Kind::Listen]
    );
}

#[test]
fn a_supervisor_takes_over_a_talk_a_held_one_a_waiting_one_and_a_parked_one() {
    for state in ['T', 'H', 'S', 'W', 'P'] {
        let mut house = House::in_state(state);
        let agent = house.agent;
        house.supervise(Mode::TakeOver).unwrap();
        let lead = house.newest();
        let told = if state == 'S' { Vec::new() } else { house.answers() };
        assert_eq!((house.stands(), house.ears.with(CITIZEN)), ('T', vec![lead]), "{state}");
        assert!(!house.ears.open.contains(&agent), "{state}: the agent's phone is hung up");
        if state == 'T' {
            assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::Ended { .. })), "the agent wraps up: {told:?}");
            assert!(
                !disturbs_citizen(&told[1..])
                    || told.iter().any(|it| matches!(it, Command::Media(Media::Bridge { .. })))
            );
        }
        let record = house.record.clone().unwrap();
        assert_eq!(record.agent.as_deref(), Some("1002"), "{state}: of record");
        let over = house.bye(lead);
        assert_eq!(ended(&over).1, EndedBy::Agent, "{state}");
        assert!(acd(&over).iter().any(|it| matches!(it, ToAcd::OwnCall { agent: LEAD, up: false, .. })), "{over:?}");
        assert!(!acd(&over).iter().any(|it| matches!(it, ToAcd::Ended { .. })), "{state}: nothing was booked");
        assert_eq!((house.ears.open.len(), house.used()), (0, 0));
    }
}

#[test]
fn a_ringing_call_is_taken_over_or_is_back_at_its_old_place() {
    for (status, answers) in [(0, true), (486, false), (408, false), (500, false)] {
        let mut house = House::in_state('W');
        let lease = Lease { number: 50, agent: OTHER, ..LEASE };
        let ring_until = house.now.mono + Duration::from_secs(20);
        house.tell(Event::Acd(Acd::Offer { call: house.call, lease, ring_until }));
        let rung = house.newest();
        let (asked, told) = house.asks("lead", None, Ask::Supervise { agent: LEAD, mode: Mode::TakeOver });
        assert_eq!((asked, house.stands()), (Ok(()), 'L'));
        assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::Cancel { .. })), "{told:?}");
        assert!(sip(&told).iter().any(|it| matches!(it, Sip::TakenElsewhere { leg } if *leg == rung)), "{told:?}");
        if answers {
            house.answers();
            assert_eq!(house.stands(), 'T');
            continue;
        }
        let told = house.refuses(status);
        assert_eq!(house.stands(), 'W');
        let since = acd(&told).into_iter().find_map(|it| match it {
            ToAcd::Enqueue(caller) => Some(caller.since),
            _ => None,
        });
        assert!(since.is_some_and(|since| since < Mono::from_ms(1_100)), "the old place: {told:?}");
        assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::OwnCall { agent: LEAD, up: false, .. })), "{told:?}");
    }
}

#[test]
fn a_parked_citizen_is_fetched_or_the_agent_is_rung_and_then_the_line() {
    let mut house = House::new();
    let agent = house.agent;
    let parked = house.asks("1001", Some(LEASE.agent), Ask::Park).1;
    assert!(acd(&parked).iter().any(|it| matches!(it, ToAcd::Ended { .. })), "the agent is free: {parked:?}");
    assert_eq!((house.stands(), house.ears.open.contains(&agent)), ('P', false));
    house.step(Ask::PickUp { agent: OTHER }).unwrap();
    let (second, _) = house.asks("lead", None, Ask::PickUp { agent: LEAD });
    assert_eq!(second, Err(NotDone::Taken));
    house.refuses(486);
    assert_eq!(house.stands(), 'P', "still parked");
    let since = house.now;
    let recalled = house.pass(PARK_RECALL);
    assert!(sip(&recalled).iter().any(|it| matches!(it, Sip::Invite(_))), "{since:?}: {recalled:?}");
    assert!(house.rung.last().unwrap().headers.iter().all(|(name, _)| &**name != "Call-Info"));
    assert_eq!(house.stands(), 'p');
    let told = house.refuses(480);
    assert_eq!(house.stands(), 'W');
    assert!(acd(&told).iter().any(|it| matches!(it, ToAcd::Enqueue(_))), "{told:?}");
    assert_eq!(
        house.steps(),
        [
            (Kind::Park, Some(Outcome::NoAnswer)),
            (Kind::PickUp, Some(Outcome::Busy)),
            (Kind::Recall, Some(Outcome::NoAnswer))
        ]
    );
    let mut house = House::in_state('p');
    house.answers();
    assert_eq!((house.stands(), house.ears.with(CITIZEN)), ('T', vec![house.newest()]));
    assert_eq!(house.steps(), [(Kind::Park, Some(Outcome::Done)), (Kind::PickUp, Some(Outcome::Done))]);
}

#[test]
fn the_agent_parks_by_a_key() {
    let mut house = House::new();
    for digit in *b"*0" {
        house.sip(Notice::Digit { leg: house.agent, digit });
    }
    assert_eq!((house.stands(), &*house.last_step().by), ('P', "1001"));
    house.bye(CITIZEN);
    assert_eq!(house.steps(), [(Kind::Park, Some(Outcome::Cancelled))]);
    assert_eq!(house.ears.open.len(), 0);
}

#[test]
fn a_citizen_on_hold_for_long_is_shown_and_stays() {
    let mut house = House::new();
    let held = house.sip(Notice::Reoffered { leg: house.agent, sdp: Some(HOLDING.into()) });
    let hold = |told: &[Command]| views(told).last().and_then(|view| view.hold).map(|hold| hold.overdue);
    assert_eq!(hold(&held), Some(false));
    let since = views(&held)[0].since;
    let late = house.pass(HOLD_RECALL);
    assert_eq!((hold(&late), house.stands(), views(&late)[0].since), (Some(true), 'H', since));
    let back = house.sip(Notice::Reoffered { leg: house.agent, sdp: Some(PHONE.into()) });
    assert_eq!((hold(&back), house.stands()), (None, 'T'));
    assert_eq!(house.pass(HOLD_RECALL * 2).len(), 0);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let supervise = |agent, mode| Ask::Supervise { agent, mode };
    for (state, ask, why) in [
        ('T', supervise(LEASE.agent, Mode::Listen), NotDone::Talks),
        ('S', supervise(OTHER, Mode::Listen), NotDone::Taken),
        ('W', supervise(LEAD, Mode::Whisper), NotDone::NotTalking),
        ('P', supervise(LEAD, Mode::Listen), NotDone::NotTalking),
        ('T', Ask::Leave, NotDone::Nobody),
        ('W', Ask::Release, NotDone::NotTalking),
        ('W', Ask::Park, NotDone::NotTalking),
        ('T', Ask::PickUp { agent: LEAD }, NotDone::NotParked),
    ] {
        assert_eq!(House::in_state(state).step(ask), Err(why), "{ask:?} in {state}");
    }
    let mut house = House::new();
    assert_eq!(house.asks("1002", Some(LEAD), Ask::Park).0, Err(NotDone::NotYours));
    house.start("water", TransferMode::Consult).unwrap();
    assert_eq!((house.step(Ask::Park), house.step(Ask::Release)), (Err(NotDone::Transfer), Err(NotDone::Transfer)));
}

/// An event, what it is called, and the state after it by the state before it, in the order of [`STATES`]; `.` is "the
/// same".
type Row = (&'static str, fn(&mut House), &'static str);

const STATES: &str = "THsSWLPp";

#[rustfmt::skip]
const TABLE: [Row; 17] = [
    ("the newest phone answers",   |h| { h.answers(); },                                                            "..S..T.T"),
    ("the newest phone refuses",   |h| { h.refuses(486); },                                                         "WWTT.W.P"),
    ("the newest phone is lost",   |h| { let leg = h.newest(); h.sip(Notice::Ended { leg, why: Ending::Lost }); },  "WWTT.W.P"),
    ("the newest phone says BYE",  |h| { let leg = h.newest(); h.bye(leg); },                                       "EETT.W.P"),
    ("the agent is lost",          |h| { let leg = h.agent; h.sip(Notice::Ended { leg, why: Ending::Lost }); },     "WWWW...."),
    ("the agent says BYE",         |h| { let leg = h.agent; h.bye(leg); },                                          "EEEE...."),
    ("the citizen says BYE",       |h| { h.bye(CITIZEN); },                                                         "EEEEEEEE"),
    ("the citizen is lost",        |h| { h.sip(Notice::Ended { leg: CITIZEN, why: Ending::Lost }); },               "EEEEEEEE"),
    ("time passes",                |h| { h.pass(Duration::from_secs(25)); },                                        "..T..W.P"),
    ("listen",                     |h| { let _ = h.supervise(Mode::Listen); },                                      "ss......"),
    ("take over",                  |h| { let _ = h.supervise(Mode::TakeOver); },                                    "ss.TL.p."),
    ("leave",                      |h| { let _ = h.step(Ask::Leave); },                                             "..TT.W.P"),
    ("release",                    |h| { let _ = h.step(Ask::Release); },                                           "WWWW...."),
    ("park",                       |h| { let _ = h.step(Ask::Park); },                                              "PPPP...."),
    ("pick up",                    |h| { let _ = h.step(Ask::PickUp { agent: OTHER }); },                           "......p."),
    ("an operator hangs up",       |h| { h.tell(Event::HangUp { call: h.call }); },                                 "EEEEEEEE"),
    ("the ACD releases",           |h| { h.tell(Event::Acd(Acd::Released { call: h.call, why: Released::Full })); }, "....A..."),
];

#[test]
fn every_event_in_every_state() {
    for (name, act, expected) in TABLE {
        for (state, expected) in STATES.chars().zip(expected.chars()) {
            let mut house = House::in_state(state);
            act(&mut house);
            let expected = if expected == '.' { state } else { expected };
            assert_eq!(house.stands(), expected, "{name} in {state}");
        }
    }
}

#[test]
fn a_crash_ends_what_was_beside_and_keeps_citizen_and_agent() {
    for (state, lost_media, expected) in STATES
        .chars()
        .zip("TTTTWWPP".chars())
        .flat_map(|(state, expected)| [true, false].map(|lost_media| (state, lost_media, expected)))
    {
        let mut house = House::in_state(state);
        let (agent, newest) = (house.agent, house.newest());
        let kept = Snapshot::read(&house.calls.snapshot().write(), KIND, VERSION).unwrap();
        if lost_media {
            house.ears.rooms.clear();
            house.ears.plays.clear();
        }
        let marks = BTreeMap::new();
        let lost = lost_media.then_some(&marks);
        let (mut out, now, mint) = (Vec::new(), house.now, Mint::new(1, [3, 4]));
        let settings = house.settings.clone();
        house.calls = Calls::restore(kept, (ShardId(0), mint), settings, now, (|_| true, lost), &mut out);
        let told = house.settle(out);
        let expected = if state == 'H' { 'H' } else { expected };
        let letter = if expected == 'T' || expected == 'H' { house.calls.letter() } else { house.stands() };
        let expected = if expected == 'p' { 'P' } else { expected };
        assert_eq!(letter, expected, "{state}, media lost: {lost_media}");
        match state {
            's' | 'S' | 'L' | 'p' => {
                let hung_up = sip(&told).iter().any(|it| matches!(it, Sip::HangUp { leg, .. } if *leg == newest));
                assert!(hung_up, "{state}: whoever was beside is hung up: {told:?}");
                assert_eq!(house.last_step().result, Some(Outcome::Lost));
            }
            _ => {}
        }
        if expected == 'T' {
            assert_eq!(house.ears.with(CITIZEN), [agent], "{state}, media lost: {lost_media}");
        }
        house.bye(CITIZEN);
        assert_eq!(house.calls.letter(), 'E');
    }
}

/// One random event.
fn chance(house: &mut House, dice: &mut Dice) {
    let modes = [Mode::Listen, Mode::Whisper, Mode::Barge, Mode::TakeOver];
    let leg = house.rung[dice.below(house.rung.len() as u64) as usize].leg;
    match dice.below(17) {
        0..=3 => {
            let (agent, mode) = ([LEAD, OTHER][dice.below(2) as usize], modes[dice.below(4) as usize]);
            let _ = house.step(Ask::Supervise { agent, mode });
        }
        4..=6 => _ = house.answers(),
        7 => _ = house.refuses([486, 503, 408, 480, 603][dice.below(5) as usize]),
        8 if dice.below(3) == 0 => _ = house.bye(leg),
        9 => _ = house.sip(Notice::Ended { leg, why: Ending::Lost }),
        10 => {
            let _ = house.step([Ask::Leave, Ask::Release, Ask::Park][dice.below(3) as usize]);
        }
        11 => {
            let _ = house.step(Ask::PickUp { agent: [LEAD, OTHER][dice.below(2) as usize] });
        }
        12 => {
            let sdp = [PHONE, HOLDING][dice.below(2) as usize];
            house.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(sdp)) });
        }
        13 => {
            let _ = house.start("water", [TransferMode::Consult, TransferMode::Conference][dice.below(2) as usize]);
        }
        14 if !house.invited.is_empty() => _ = house.far_answers(),
        15 if house.calls.letter() == 'W' => house.agent_answers(),
        _ => _ = house.pass(Duration::from_millis(dice.below(30_000))),
    }
}

#[test]
fn in_random_histories_nobody_is_left_in_silence_or_over() {
    let (mut events, mut taken) = (0u64, 0u64);
    for seed in 0..3_000 {
        let (record, happened) = played(seed, chance);
        events += happened;
        let closed = |it: &Intervention| it.ended.is_some() && it.result.is_some();
        assert!(record.interventions.iter().all(closed), "{seed}: {:?}", record.interventions);
        let took = |it: &&Intervention| it.kind == Kind::TakeOver && it.result == Some(Outcome::Done);
        taken += record.interventions.iter().filter(took).count() as u64;
    }
    assert!(events > 40_000 && taken > 300, "{events} events, {taken} taken over");
}
