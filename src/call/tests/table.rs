//! Every state × every event: the state that follows.

use super::*;

/// Opening, Connecting, Ivr, Waiting, Ringing, Talking, on Hold, Apologising, Ending, asked (Q) after the talk; `-`: the call is forgotten.
const STATES: &str = "OCIWRTHAEQ";

/// An event's name, how it is made, and the state that follows in each.
type Row = (&'static str, fn(&mut World, CallId, LegId) -> Event, &'static str);

/// One row an event; `.` means that the state stays. Why a state may stay:
/// - an event of the agent's leg means nothing while there is none in use (a dying leg is only let go);
/// - what the ACD says crosses with what the call does, and only `Waiting` can take an offer or a release;
/// - before the ACK nothing is played, so nothing ends playing; a play that is not the present one means nothing;
/// - a re-offer and a question whether a leg still lives change what is heard, not where the call stands;
/// - what is over stays over.
#[rustfmt::skip]
const TABLE: [Row; 27] = [
    ("port opened for the citizen", |_, _, _| Event::PortOpened { leg: CITIZEN, local: LOCAL.parse().unwrap() }, "C........."),
    ("port refused to the citizen", |_, _, _| Event::PortRefused { leg: CITIZEN },                          "E........."),
    ("port refused to the agent", |_, _, leg| Event::PortRefused { leg },                                   "....W....."),
    ("ACK",                      |_, _, _| sip(Notice::Acknowledged { leg: CITIZEN, sdp: None }),           ".I........"),
    ("ACK with nonsense",        |_, _, _| sip(Notice::Acknowledged { leg: CITIZEN, sdp: Some(VIDEO.into()) }), ".E........"),
    ("ACK of the agent's",       |_, _, leg| sip(Notice::Acknowledged { leg, sdp: None }),                  ".........."),
    ("cancelled",                |_, _, _| sip(Notice::Cancelled { leg: CITIZEN }),                         ".........."),
    ("the digit 0",              |_, _, _| Event::Media(Heard::Digit { leg: CITIZEN, digit: b'0' }),        "..W......."),
    ("played to the end",        |world, _, _| Event::Media(Heard::Played { leg: CITIZEN, play: world.play() }), "..W....E.."),
    ("an old play's end",        |_, _, _| Event::Media(Heard::Played { leg: CITIZEN, play: 99 }),          ".........."),
    ("offer",                    |world, call, _| offer(world, call, 2),                                    "...R......"),
    ("revoke",                   |_, call, _| Event::Acd(Acd::Revoke { call, lease: LEASE }),               "....W....."),
    ("revoke of another lease",  |_, call, _| Event::Acd(Acd::Revoke { call, lease: Lease { number: 9, ..LEASE } }), ".........."),
    ("released",                 |_, call, _| Event::Acd(Acd::Released { call, why: Released::Full }),      "...A......"),
    ("the agent's phone rings",  |_, _, leg| sip(Notice::Ringing { leg, sdp: None }),                       ".........."),
    ("the agent answers",        |_, _, leg| sip(Notice::Answered { leg, sdp: PHONE.into() }),              "....T....."),
    ("the agent answers nonsense", |_, _, leg| sip(Notice::Answered { leg, sdp: VIDEO.into() }),            "....W....."),
    ("the agent refuses",        |_, _, leg| sip(Notice::Failed { leg, status: 486, q850: None }),          "....WWW..."),
    ("the agent hangs up",       |_, _, leg| sip(Notice::Ended { leg, why: Ending::Bye { q850: None } }),   "....WEE..."),
    ("the agent's phone is lost", |_, _, leg| sip(Notice::Ended { leg, why: Ending::Lost }),                "....WWW..."),
    ("the agent holds",          |_, _, leg| sip(Notice::Reoffered { leg, sdp: Some(HOLDING.into()) }),     ".....H...."),
    ("the agent resumes",        |_, _, leg| sip(Notice::Reoffered { leg, sdp: Some(PHONE.into()) }),       "......T..."),
    ("the citizen re-offers",    |_, _, _| sip(Notice::Reoffered { leg: CITIZEN, sdp: Some(OFFER.into()) }), ".........."),
    ("our question is answered", |_, _, _| sip(Notice::ReofferAnswered { leg: CITIZEN, answer: Err(488) }), ".........."),
    ("silence",                  |_, _, _| Event::Media(Heard::Quiet { leg: CITIZEN, silent: Duration::from_secs(40) }), ".........."),
    ("the citizen hangs up",     |_, _, _| sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } }), "----EEE-.-"),
    ("an operator hangs up",     |_, call, _| Event::HangUp { call },                                       "EEEEEEEE.E"),
];

const LOCAL: &str = "192.0.2.100:10000";

fn sip(notice: Notice) -> Event {
    Event::Sip(notice)
}

fn offer(world: &mut World, call: CallId, number: u64) -> Event {
    let ring_until = world.now.mono + Duration::from_secs(20);
    Event::Acd(Acd::Offer { call, lease: Lease { number, ..LEASE }, ring_until })
}

impl World {
    /// The number of the newest play.
    fn play(&self) -> u32 {
        self.plays
    }
}

/// A world whose call stands in this state, with the agent's leg (one that is nobody's where there is none).
fn reach(state: char) -> (World, CallId, LegId) {
    let mut world = World::new();
    let nobody = LegId::outgoing(ShardId(0), 77);
    if state == 'O' {
        world.ports_open = false;
    }
    let (call, leg) = match state {
        'O' | 'C' => (views(&world.incoming(CITIZEN, "12345", Some(OFFER)))[0].call, nobody),
        'I' => {
            let call = views(&world.incoming(CITIZEN, "12345", Some(OFFER)))[0].call;
            world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
            (call, nobody)
        }
        'W' => (world.queued(), nobody),
        'R' => world.ringing(),
        'T' => world.talking(),
        'H' => {
            let (call, leg) = world.talking();
            world.sip(Notice::Reoffered { leg, sdp: Some(HOLDING.into()) });
            (call, leg)
        }
        'A' => {
            let call = world.queued();
            world.tell(Event::Acd(Acd::Released { call, why: Released::Full }));
            (call, nobody)
        }
        'E' => {
            let (call, leg) = world.talking();
            world.tell(Event::HangUp { call });
            (call, leg)
        }
        'Q' => {
            let (call, leg) = world.talking();
            world.tell(Event::Configure(after::asking(&settings())));
            world.sip(Notice::Ended { leg, why: Ending::Bye { q850: None } });
            (call, leg)
        }
        other => panic!("no state {other}"),
    };
    assert_eq!(world.calls.letter(), state);
    world.ports_open = true;
    (world, call, leg)
}

#[test]
fn every_state_moves_or_stays_as_the_table_says() {
    for (name, event, row) in TABLE {
        for (state, expected) in STATES.chars().zip(row.chars()) {
            let (mut world, call, leg) = reach(state);
            let event = event(&mut world, call, leg);
            world.tell(event);
            let expected = if expected == '.' { state } else { expected };
            assert_eq!(world.calls.letter(), expected, "{name} in {state}");
        }
    }
}

/// Every state that waits has a deadline that moves it on; a talk ends by silence on the wire (see the row "silence").
#[test]
fn every_state_but_talking_ends_by_itself() {
    let deadlines = [
        ('O', 2, 'E'),
        ('C', 41, 'E'),
        ('I', 301, 'W'),
        ('W', 31, 'W'),
        ('R', 26, 'W'),
        ('A', 31, 'E'),
        ('E', 71, '-'),
    ];
    for (state, seconds, expected) in deadlines {
        let (mut world, ..) = reach(state);
        world.pass(Duration::from_secs(seconds));
        assert_eq!(world.calls.letter(), expected, "{state} after {seconds} s");
    }
    // The question, the wait for a key, both again, and the farewell.
    let (mut world, ..) = reach('Q');
    let ends = (0..5).map(|_| (world.pass(Duration::from_secs(301)), world.calls.letter()).1).collect::<String>();
    assert_eq!(ends, "QQQQE");
}
