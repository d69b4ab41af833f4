//! Outbound calls on their own, with a real table of trunks and the rest of the house played by the test.

use super::super::calls::Calls;
use super::super::event::{AgentIdentity, Command, Dial, Event, Settings, SiteSettings};
use crate::acd::event::Event as ToAcd;
use crate::base::fact::{CallRecord, Direction, EndedBy, Fact, Stage};
use crate::base::number::Number;
use crate::base::{AgentId, ContactId, LegId, Mint, Mono, Now, OrderId, QueueId, ShardId, SiteId, TrunkId, Wall};
use crate::ivr::draft::Names;
use crate::ivr::{Draft, Entry, Numbers};
use crate::media::event::{Action as Media, Counters, Notice as Heard};
use crate::sip::event::{
    About, Action as Sip, Destination, Ending, Flow, Incoming, Location, Notice, OverTrunk, Referred, Source,
};
use crate::trunk::dialling::{Pattern, Place, Rule};
use crate::trunk::event::{Event as ToTrunks, Geolocation, Limits, Profile, Settings as TrunkTable};
use crate::trunk::tests::profile;
use crate::trunk::{Dialling, Trunks};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const PHONE: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\n\
a=rtpmap:101 telephone-event/8000\r\n";
const FAR: &[u8] =
    b"v=0\r\no=- 2 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\n";
const AGENT: LegId = LegId::incoming(ShardId(0), 1);
const TRYING: Duration = Duration::from_secs(2);

/// 12345, which rings no queue.
fn hotline() -> Numbers {
    let flow: Draft = toml::from_str("start = \"human\"\nhuman = \"human\"\n[queue.human]\nqueue = \"0\"\n").unwrap();
    let names = Names { prompt: &|_| None, queue: &|_| Some(QueueId(0)) };
    let entry = Entry {
        number: Number::parse("12345", "").unwrap(),
        site: SiteId(0),
        flow: Arc::new(flow.compile("direct", names).unwrap()),
        greeting: None,
        notice: None,
        transitions: Vec::new(),
        category: "".into(),
        priority: 0,
    };
    let mut numbers = Numbers::default();
    numbers.insert(entry, "591");
    numbers
}

struct World {
    calls: Calls,
    trunks: Trunks,
    now: Now,
}

fn rule(numbers: &[&str], trunks: &[u16], emergency: bool) -> Rule {
    Rule {
        site: SiteId(0),
        numbers: numbers.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
        trunks: trunks.iter().copied().map(TrunkId).collect(),
        caller: Number::parse("059112345", "591").unwrap(),
        emergency,
        drill: false,
        place: Place { uri: Some("https://lis.example/1".into()), civic: vec![("country".into(), "CN".into())] },
    }
}

impl World {
    fn new() -> World {
        World::with(vec![Profile { priority: 1, next_on: vec![404], ..profile("a") }, profile("b")])
    }

    fn with(trunks: Vec<Profile>) -> World {
        let trunks = Arc::new(TrunkTable { trunks, seed: [1, 2] });
        let site = SiteSettings {
            code: "fuzhou".into(),
            domain: "fuzhou.example".into(),
            area_code: "591".into(),
            queues: Vec::new(),
            pauses: Vec::new(),
            keys: None,
            seats: Default::default(),
        };
        let rules = vec![rule(&["110"], &[0, 1], true), rule(&["1??????????"], &[0, 1], false)];
        let settings = Settings {
            sites: vec![site],
            agents: vec![
                None,
                Some(AgentIdentity { site: SiteId(0), name: "1001".into(), phone: "1001".into(), team: "".into() }),
            ],
            trunks: trunks.clone(),
            dialling: Arc::new(Dialling { rules }),
            links: None,
            targets: Arc::default(),
            phrases: None,
            numbers: hotline(),
            calls_max: 2,
        };
        let calls = Calls::new(ShardId(0), Mint::new(0, [1, 2]), Arc::new(settings));
        World { calls, trunks: Trunks::new(trunks), now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) } }
    }

    fn tell(&mut self, event: Event) -> Vec<Command> {
        self.now = self.now.after(Duration::from_millis(10));
        let mut out = Vec::new();
        self.calls.handle(self.now, event, &mut out);
        self.settle(out)
    }

    fn pass(&mut self, by: Duration) -> Vec<Command> {
        self.now = self.now.after(by);
        let mut out = Vec::new();
        self.calls.expire(self.now, &mut out);
        self.settle(out)
    }

    /// As the shell does: ports and channels are given in the same pass.
    fn settle(&mut self, mut out: Vec<Command>) -> Vec<Command> {
        let mut done = Vec::new();
        while !out.is_empty() {
            for command in std::mem::take(&mut out) {
                match &command {
                    Command::OpenPort { leg, .. } => {
                        let event = Event::PortOpened { leg: *leg, local: "192.0.2.100:10000".parse().unwrap() };
                        self.calls.handle(self.now, event, &mut out);
                    }
                    Command::Media(Media::Close { leg }) => {
                        let counters = Counters { received: 50, sent: 60, ..Counters::default() };
                        self.calls.handle(self.now, Event::Media(Heard::Closed { leg: *leg, counters }), &mut out);
                    }
                    Command::Trunk(event) => {
                        let mut said = Vec::new();
                        self.trunks.handle(self.now, event.clone(), &mut said);
                        for said in said {
                            self.calls.handle(self.now, Event::Trunk(said), &mut out);
                        }
                    }
                    _ => {}
                }
                done.push(command);
            }
        }
        self.calls.check();
        self.trunks.check();
        done
    }

    fn dials(&mut self, number: &str) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg: AGENT,
            source: Source::Phone { user: "1001".into(), domain: "fuzhou.example".into() },
            call_id: "own-1".into(),
            dialled: number.into(),
            caller: "1001".into(),
            caller_name: Bytes::new(),
            about: About::default(),
            sdp: Some(Bytes::from_static(PHONE)),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.9:5060".parse().unwrap() },
        }))))
    }

    /// Somebody dials 12345.
    fn comes(&mut self, number: u64, source: Source, emergency: bool) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg: LegId::incoming(ShardId(0), number),
            source,
            call_id: "call".into(),
            dialled: "12345".into(),
            caller: "13800138000".into(),
            caller_name: Bytes::new(),
            about: About { emergency, ..About::default() },
            sdp: Some(Bytes::from_static(PHONE)),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.1:5060".parse().unwrap() },
        }))))
    }

    fn sip(&mut self, notice: Notice) -> Vec<Command> {
        self.tell(Event::Sip(notice))
    }

    /// Up to this letter; the second leg.
    fn up_to(&mut self, letter: char) -> LegId {
        let dialled = self.dials("13800138000");
        let leg = invite(&dialled).0;
        let far = Some(Bytes::from_static(FAR));
        match letter {
            'Y' => {}
            'R' => _ = self.sip(Notice::Ringing { leg, sdp: None }),
            'M' => _ = self.sip(Notice::Ringing { leg, sdp: far }),
            'T' => _ = self.sip(Notice::Answered { leg, sdp: Bytes::from_static(FAR) }),
            'E' => _ = self.sip(Notice::Failed { leg, status: 486, q850: None }),
            other => panic!("no state {other}"),
        }
        assert_eq!(self.letter(), letter);
        leg
    }

    fn letter(&self) -> char {
        self.calls.outbounds.table.iter().next().map_or('-', |(_, entry)| entry.call.letter())
    }

    fn used(&self) -> u32 {
        self.trunks.views(self.now.mono).iter().map(|view| view.outbound.used).sum()
    }
}

fn invite(out: &[Command]) -> (LegId, OverTrunk, Box<str>) {
    let found = out.iter().find_map(|command| match command {
        Command::Sip(Sip::Invite(invite)) => match &invite.to {
            Destination::Trunk(over) => Some((invite.leg, (**over).clone(), invite.caller.clone())),
            Destination::User { .. } => None,
        },
        _ => None,
    });
    found.unwrap_or_else(|| panic!("an INVITE over a trunk in {out:?}"))
}

fn responses(out: &[Command]) -> Vec<(u16, bool)> {
    let response = |command: &Command| match command {
        Command::Sip(Sip::Respond { leg: AGENT, status, sdp, .. }) => Some((*status, sdp.is_some())),
        _ => None,
    };
    out.iter().filter_map(response).collect()
}

fn record(out: &[Command]) -> CallRecord {
    let last = out.iter().rev().find_map(|command| match command {
        Command::Fact { fact: Fact::Call(record), .. } => Some((**record).clone()),
        _ => None,
    });
    last.unwrap_or_else(|| panic!("a record in {out:?}"))
}

fn own_call(out: &[Command]) -> Vec<bool> {
    let up = |command: &Command| match command {
        Command::Acd { event: ToAcd::OwnCall { agent: AgentId(1), up, .. }, .. } => Some(*up),
        _ => None,
    };
    out.iter().filter_map(up).collect()
}

fn media(out: &[Command]) -> Vec<&Media> {
    out.iter().filter_map(|command| if let Command::Media(action) = command { Some(action) } else { None }).collect()
}

fn hung_up(out: &[Command], leg: LegId) -> bool {
    out.iter().any(|command| matches!(command, Command::Sip(Sip::HangUp { leg: it, .. }) if *it == leg))
}

#[test]
fn an_agent_calls_out_is_heard_recorded_and_booked_until_the_end() {
    let mut world = World::new();
    let dialled = world.dials("13800138000");
    assert_eq!(own_call(&dialled), [true]);
    let (far, over, caller) = invite(&dialled);
    assert_eq!(
        (&*over.number, &*over.host, &*caller, over.trunk),
        ("13800138000", "192.0.2.1", "059112345", TrunkId(0))
    );
    assert_eq!(world.used(), 1);
    assert_eq!(responses(&world.sip(Notice::Trying { leg: far })), []);
    let early = world.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) });
    assert_eq!(responses(&early), [(183, true)], "the agent hears the far end's ringing");
    assert!(media(&early).contains(&&Media::Bridge { a: far, b: AGENT }));
    assert_eq!(responses(&world.sip(Notice::Ringing { leg: far, sdp: None })), [], "and is told once");
    let answered = world.sip(Notice::Answered { leg: far, sdp: Bytes::from_static(FAR) });
    assert_eq!(responses(&answered), [(200, true)]);
    assert!(media(&answered).iter().any(|action| matches!(action, Media::Record { citizen, .. } if *citizen == far)));
    assert!(world.sip(Notice::Acknowledged { leg: AGENT, sdp: None }).is_empty());
    let ended = world.sip(Notice::Ended { leg: far, why: Ending::Bye { q850: Some(16) } });
    assert!(hung_up(&ended, AGENT));
    assert!(
        media(&ended).iter().any(|action| matches!(action, Media::StopRecording { citizen, .. } if *citizen == far))
    );
    assert_eq!((own_call(&ended), world.used()), (vec![false], 0));
    let record = record(&ended);
    assert_eq!(
        (record.direction, &*record.caller, &*record.dialled),
        (Direction::Outbound, "+8659112345", "+8613800138000")
    );
    assert_eq!((record.agent.as_deref(), &*record.trunk, record.recording.is_some()), (Some("1001"), "a", true));
    let end = record.end.unwrap();
    assert_eq!((end.stage, end.by, end.sip_status), (Stage::Talking, EndedBy::Caller, 200));
    let route = &record.routes[0];
    assert!(
        route.seized < route.provisional.unwrap() && route.provisional < route.ringing && route.ringing < route.ended
    );
    assert_eq!((record.routes.len(), route.sip_status), (1, Some(200)));
    world.sip(Notice::Ended { leg: AGENT, why: Ending::Ours });
    let counts = world.calls.counts();
    assert_eq!((counts.calls, counts.live, counts.legs, counts.timers), (0, 0, 0, 0));
}

#[test]
fn what_the_list_does_not_name_is_not_dialled() {
    for number in ["00442071838750", "059187654321", "1381101200", "1101", "119", "1001"] {
        let mut world = World::new();
        let out = world.dials(number);
        assert_eq!(responses(&out), [(403, false)], "{number}");
        assert_eq!((record(&out).end.unwrap().by, world.used(), world.letter()), (EndedBy::Refused, 0, '-'));
        assert!(own_call(&out).is_empty() && media(&out).is_empty());
    }
}

#[test]
fn a_silent_route_gives_way_after_two_seconds_and_for_emergencies_after_one() {
    for (number, wait) in [("13800138000", TRYING), ("110", Duration::from_secs(1))] {
        let mut world = World::new();
        let dialled = world.dials(number);
        let (first, ..) = invite(&dialled);
        assert!(world.pass(wait - Duration::from_millis(2)).is_empty());
        let next = world.pass(Duration::from_millis(4));
        let (second, over, _) = invite(&next);
        assert!(hung_up(&next, first) && second != first);
        assert_eq!((over.trunk, world.used()), (TrunkId(1), 1), "one channel at a time");
        // The dead route's end, or even its late answer, means nothing any more.
        assert_eq!(responses(&world.sip(Notice::Failed { leg: first, status: 487, q850: None })), []);
        let answered = world.sip(Notice::Answered { leg: second, sdp: Bytes::from_static(FAR) });
        assert_eq!(responses(&answered), [(200, true)]);
        let routes: Vec<(String, Option<u16>)> =
            record(&answered).routes.iter().map(|route| (route.trunk.to_string(), route.sip_status)).collect();
        assert_eq!(routes, [("a".into(), Some(408)), ("b".into(), Some(200))]);
    }
}

#[test]
fn a_route_whose_invite_goes_out_late_has_its_time_from_then_on() {
    let mut world = World::new();
    let (leg, ..) = invite(&world.dials("110"));
    world.sip(Notice::Connecting { leg });
    assert!(world.pass(Duration::from_millis(1_200)).is_empty(), "the connection has its second");
    world.sip(Notice::Resent { leg });
    assert!(world.pass(Duration::from_millis(990)).is_empty());
    assert_eq!(invite(&world.pass(Duration::from_millis(20))).1.trunk, TrunkId(1));
    // Of a leg given up it means nothing.
    world.sip(Notice::Resent { leg });
    assert_eq!(world.letter(), 'Y');
}

#[test]
fn only_emergencies_tell_where_they_are_from_and_as_the_trunk_wants_it() {
    let civic = Location::Civic(vec![("country".into(), "CN".into())]);
    for (geolocation, expected) in [
        (Geolocation::None, None),
        (Geolocation::Header, Some(Location::Reference("https://lis.example/1".into()))),
        (Geolocation::Body, Some(civic)),
    ] {
        let mut trunk = profile("a");
        trunk.wording.geolocation = geolocation;
        trunk.wording.user_to_user = true;
        let mut world = World::with(vec![trunk, profile("b")]);
        let dialled = world.dials("110");
        assert_eq!(invite(&dialled).1.location, expected);
        let headers = dialled.iter().find_map(|it| match it {
            Command::Sip(Sip::Invite(invite)) => invite.headers.first().cloned(),
            _ => None,
        });
        let (name, value) = headers.expect("User-to-User");
        assert_eq!((&*name, value.len(), &value[..2]), ("User-to-User", 2 + 2 * 26 + ";encoding=hex".len(), "04"));
        let mut trunk = profile("a");
        trunk.wording.geolocation = geolocation;
        let mut world = World::with(vec![trunk, profile("b")]);
        assert_eq!(invite(&world.dials("13800138000")).1.location, None, "nobody else's business");
    }
}

#[test]
fn the_routes_faults_lead_on_and_the_called_partys_do_not() {
    for (status, told) in
        [(503, None), (500, None), (408, None), (404, None), (486, Some(486)), (603, Some(603)), (403, Some(403))]
    {
        let mut world = World::new();
        let (first, ..) = invite(&world.dials("13800138000"));
        let out = world.sip(Notice::Failed { leg: first, status, q850: None });
        match told {
            None => assert_eq!(invite(&out).1.trunk, TrunkId(1), "{status}"),
            Some(told) => {
                assert_eq!(responses(&out), [(told, false)]);
                assert_eq!((world.used(), own_call(&out)), (0, vec![false]));
            }
        }
    }
    let mut world = World::new();
    let (first, ..) = invite(&world.dials("13800138000"));
    let (second, ..) = invite(&world.sip(Notice::Failed { leg: first, status: 503, q850: None }));
    let out = world.sip(Notice::Failed { leg: second, status: 500, q850: None });
    assert_eq!(responses(&out), [(503, false)], "no route is left");
    assert_eq!((record(&out).routes.len(), world.used()), (2, 0));
}

#[test]
fn without_a_channel_the_agent_is_told_so() {
    let none = Limits { channels: 1, reserve: 1, calls_per_s: 10 };
    let mut world =
        World::with(vec![Profile { outbound: none, ..profile("a") }, Profile { remote: None, ..profile("b") }]);
    let out = world.dials("13800138000");
    assert_eq!(responses(&out), [(503, false)]);
    assert_eq!(record(&out).end.map(|end| (end.by, end.q850)), Some((EndedBy::Refused, 34)));
    assert_eq!(media(&out).iter().filter(|action| matches!(action, Media::Close { .. })).count(), 1);
    let mut world = World::with(vec![Profile { outbound: none, ..profile("a") }, profile("b")]);
    assert_eq!(invite(&world.dials("110")).1.trunk, TrunkId(0), "an emergency has the reserve");
}

#[test]
fn a_session_is_refreshed_on_both_sides_and_a_refer_is_declined() {
    let mut world = World::new();
    let far = world.up_to('T');
    for leg in [AGENT, far] {
        let out = world.sip(Notice::Refresh { leg });
        assert!(matches!(out[..], [Command::Sip(Sip::Reinvite { leg: of, .. })] if of == leg), "{out:?}");
        let out = world.sip(Notice::Digit { leg, digit: b'5' });
        let other = if leg == far { AGENT } else { far };
        assert!(matches!(out[..], [Command::Media(Media::SendDigits { leg: of, .. })] if of == other), "{out:?}");
        let (to, number) = ("sip:1002@fuzhou.example".into(), "1002".into());
        let asked = Referred { leg, refer: 7, to, number, replaces: None, attended: false, by: None };
        let out = world.sip(Notice::Referred(Box::new(asked)));
        assert!(matches!(out[..], [Command::Sip(Sip::AnswerRefer { refer: 7, status: 603, .. })]), "{out:?}");
    }
    assert_eq!(world.letter(), 'T');
}

#[test]
fn a_side_that_is_gone_ends_the_call_and_one_that_is_there_is_kept_to_its_trunks_limit() {
    let short = Profile { one_way_max: Duration::from_secs(50), ..profile("a") };
    for (answers, limit_s) in [(false, 30), (true, 50)] {
        for far in [false, true] {
            let mut world = World::with(vec![short.clone(), profile("b")]);
            let second = world.up_to('T');
            let (leg, said) = if far { (second, FAR) } else { (AGENT, PHONE) };
            for silent_s in (10..=limit_s).step_by(10) {
                assert_eq!(world.letter(), 'T', "{silent_s} s");
                world.pass(Duration::from_secs(10));
                let out = world.tell(Event::Media(Heard::Quiet { leg, silent: Duration::from_secs(silent_s) }));
                let asked = out.iter().any(|it| matches!(it, Command::Sip(Sip::Probe { leg: of, .. }) if *of == leg));
                assert_eq!(asked, silent_s == 10, "{silent_s} s");
                if asked && answers {
                    world.sip(Notice::ReofferAnswered { leg, answer: Ok(Bytes::from_static(said)) });
                }
                if silent_s == limit_s {
                    assert_eq!(record(&out).end.map(|end| end.by), Some(EndedBy::Network));
                }
            }
            assert_ne!(world.letter(), 'T');
        }
    }
}

#[test]
fn its_legs_and_its_contact_are_kept_for_as_long_as_it_stands() {
    let mut world = World::new();
    world.calls.keep_changes();
    let far = world.up_to('Y');
    let changed = world.calls.take_changed();
    let id = *changed.first().expect("it changed");
    let (contact, legs, saved) = world.calls.saved(id).expect("it stands");
    assert_eq!((changed.len(), legs, saved.is_none()), (1, vec![AGENT, far], true));
    let ended = world.sip(Notice::Failed { leg: far, status: 486, q850: None });
    assert_eq!(
        (record(&ended).contact, record(&ended).revision),
        (contact, 2),
        "it was told when its route was seized"
    );
    world.sip(Notice::Ended { leg: AGENT, why: Ending::Ours });
    assert!(world.calls.take_changed().contains(&id) && world.calls.saved(id).is_none(), "it is gone");
}

#[test]
fn a_call_is_an_emergency_when_a_trunk_says_so_and_not_when_a_phone_does() {
    let trunk = || Source::Trunk("a".into());
    let phone = || Source::Phone { user: "1001".into(), domain: "fuzhou.example".into() };
    let seized = |out: &[Command]| {
        out.iter().find_map(|it| match it {
            Command::Trunk(ToTrunks::Seize(seize)) => Some(seize.emergency),
            _ => None,
        })
    };
    let mut world = World::new();
    assert_eq!(seized(&world.comes(2, trunk(), false)), Some(false));
    assert_eq!(seized(&world.comes(3, trunk(), true)), Some(true));
    // The shard is full: room is kept for emergencies alone.
    for refused in [world.comes(4, trunk(), false), world.comes(5, phone(), true)] {
        assert!(refused.iter().any(|it| matches!(it, Command::Sip(Sip::Respond { status: 503, .. }))), "{refused:?}");
    }
    assert_eq!(seized(&world.comes(6, trunk(), true)), Some(true));
}

impl World {
    /// Somebody asks for a call of agent 1001, by hand: the leg that rings that agent's phone.
    fn asked(&mut self, number: &str) -> Vec<Command> {
        let number = Number::parse(number, "591").unwrap();
        let (contact, order) = (ContactId(7), Some(OrderId(8)));
        self.tell(Event::Dial(Box::new(Dial { contact, site: SiteId(0), agent: AgentId(1), number, order })))
    }

    /// And the agent has answered: both legs.
    fn joined(&mut self) -> (LegId, LegId) {
        let (desk, _) = desk(&self.asked("13800138000"));
        let out = self.sip(Notice::Answered { leg: desk, sdp: Bytes::from_static(PHONE) });
        (desk, invite(&out).0)
    }
}

/// The INVITE to the agent's phone.
fn desk(out: &[Command]) -> (LegId, crate::sip::event::Invite) {
    let found = out.iter().find_map(|command| match command {
        Command::Sip(Sip::Invite(invite)) if matches!(invite.to, Destination::User { .. }) => Some((**invite).clone()),
        _ => None,
    });
    let invite = found.unwrap_or_else(|| panic!("an INVITE to the agent in {out:?}"));
    (invite.leg, invite)
}

#[test]
fn a_call_asked_for_by_hand_rings_the_agent_first_and_joins_both() {
    let mut world = World::new();
    let asked = world.asked("13800138000");
    assert_eq!((own_call(&asked), world.used(), world.letter()), (vec![true], 0, 'C'));
    let (leg, to_desk) = desk(&asked);
    let header = |name: &str| to_desk.headers.iter().find(|(it, _)| **it == *name).map(|(_, value)| value.to_string());
    assert_eq!(header("Call-Info").as_deref(), Some("<sip:fuzhou.example>;answer-after=0"));
    assert_eq!(header("X-Jiesu-Order"), Some(OrderId(8).to_string()));
    assert_eq!(&*to_desk.caller, "059112345");
    assert!(to_desk.caller_name.contains('*') && !to_desk.caller_name.contains("00138"), "{}", to_desk.caller_name);
    let out = world.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) });
    let (far, over, _) = invite(&out);
    assert_eq!((&*over.number, world.used()), ("13800138000", 1));
    let early = world.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) });
    assert!(media(&early).contains(&&Media::Bridge { a: far, b: leg }), "the agent hears it ring");
    let answered = world.sip(Notice::Answered { leg: far, sdp: Bytes::from_static(FAR) });
    assert!(media(&answered).iter().any(|action| matches!(action, Media::Record { citizen, .. } if *citizen == far)));
    assert!(!answered.iter().any(|it| matches!(it, Command::Sip(Sip::Respond { .. }))), "its phone answered long ago");
    let ended = world.sip(Notice::Ended { leg, why: Ending::Bye { q850: None } });
    assert!(hung_up(&ended, far));
    let record = record(&ended);
    assert_eq!((record.contact, record.order), (ContactId(7), Some(OrderId(8))));
    assert_eq!((record.direction, record.agent.as_deref()), (Direction::Outbound, Some("1001")));
    assert_eq!(record.end.map(|end| (end.stage, end.by)), Some((Stage::Talking, EndedBy::Agent)));
    world.sip(Notice::Ended { leg: far, why: Ending::Ours });
    let counts = world.calls.counts();
    assert_eq!((counts.calls, counts.legs, counts.timers, world.used()), (0, 0, 0, 0));
}

#[test]
fn an_agent_who_does_not_answer_costs_no_channel_and_a_far_end_that_does_not_hangs_up_the_agent() {
    for status in [486, 480, 408] {
        let mut world = World::new();
        let (leg, _) = desk(&world.asked("13800138000"));
        let out = world.sip(Notice::Failed { leg, status, q850: None });
        assert_eq!((own_call(&out), world.used(), world.letter()), (vec![false], 0, '-'));
        let end = record(&out).end.unwrap();
        assert_eq!((end.stage, end.by, end.sip_status), (Stage::Ringing, EndedBy::Agent, status));
    }
    let mut world = World::new();
    let (leg, _) = desk(&world.asked("13800138000"));
    let out = world.pass(Duration::from_secs(31));
    assert!(hung_up(&out, leg) && record(&out).routes.is_empty());
    // Every route fails: the agent's phone is hung up.
    let mut world = World::new();
    let (leg, far) = world.joined();
    let out = world.sip(Notice::Failed { leg: far, status: 486, q850: Some(17) });
    assert!(hung_up(&out, leg));
    assert_eq!((world.used(), record(&out).end.map(|end| end.sip_status)), (0, Some(486)));
    // The agent gives up while it is tried.
    let mut world = World::new();
    let (leg, far) = world.joined();
    let out = world.sip(Notice::Ended { leg, why: Ending::Bye { q850: None } });
    assert!(hung_up(&out, far) && world.used() == 0);
}

#[test]
fn what_may_not_be_dialled_is_not_dialled_by_hand_either() {
    for number in ["00442071838750", "119"] {
        let mut world = World::new();
        let out = world.asked(number);
        assert_eq!(record(&out).end.map(|end| (end.by, end.sip_status)), Some((EndedBy::Refused, 403)));
        assert!(own_call(&out).is_empty() && world.letter() == '-');
        assert!(!out.iter().any(|it| matches!(it, Command::Sip(_) | Command::OpenPort { .. })), "{out:?}");
    }
}

/// Every state × everything that can happen to it.
#[test]
fn the_whole_table() {
    type Happens = fn(&mut World, LegId) -> Vec<Command>;
    let happens: [(&str, Happens); 10] = [
        ("100", |world, leg| world.sip(Notice::Trying { leg })),
        ("180", |world, leg| world.sip(Notice::Ringing { leg, sdp: None })),
        ("183", |world, leg| world.sip(Notice::Ringing { leg, sdp: Some(Bytes::from_static(FAR)) })),
        ("200", |world, leg| world.sip(Notice::Answered { leg, sdp: Bytes::from_static(FAR) })),
        ("486", |world, leg| world.sip(Notice::Failed { leg, status: 486, q850: None })),
        ("far BYE", |world, leg| world.sip(Notice::Ended { leg, why: Ending::Bye { q850: None } })),
        ("agent CANCEL", |world, _| world.sip(Notice::Ended { leg: AGENT, why: Ending::Cancel })),
        ("agent BYE", |world, _| world.sip(Notice::Ended { leg: AGENT, why: Ending::Bye { q850: None } })),
        ("port lost", |world, leg| world.tell(Event::Media(Heard::Closed { leg, counters: Default::default() }))),
        ("a long time", |world, _| world.pass(Duration::from_secs(61))),
    ];
    for (state, expected) in
        [('Y', "RRMTEEEEEY"), ('R', "RRMTEEEEEE"), ('M', "MMMTEEEEEE"), ('T', "TTTTEEEEET"), ('E', "EEEEEEEEEE")]
    {
        for ((what, happens), expected) in happens.iter().zip(expected.chars()) {
            let mut world = World::new();
            let leg = world.up_to(state);
            let before = world.used();
            happens(&mut world, leg);
            // Once both legs are gone the call is forgotten, which is an end like any other.
            let after = match world.letter() {
                '-' => 'E',
                letter => letter,
            };
            assert_eq!(after, expected, "{state} after {what}");
            assert_eq!(
                world.used(),
                u32::from(after != 'E'),
                "{state} after {what}: a channel is held exactly while it lives"
            );
            assert_eq!(before, u32::from(state != 'E'));
        }
    }
}
