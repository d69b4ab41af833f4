//! Transfers within their calls, with a real table of trunks and the rest of the house played by the test, which also
//! follows who hears whom.

use super::ahead::{links, webhook};
use super::*;
use crate::base::fact::{OrderOpened, TargetKind, TransferMode, TransferRecord, TransferResult};
use crate::base::hours::{Hours, Window};
use crate::base::{Mint, TrunkId};
use crate::call::supervise::NotDone;
use crate::call::targets::{Duty, Target, Targets};
use crate::call::transfer::{Ask, NotTransferred, Phase, REASON_CHARACTERS_MAX};
use crate::media::event::{HeardBy, Party};
use crate::sip::event::Invite;
use crate::trunk::dialling::{Pattern, Place, Rule};
use crate::trunk::event::{Geolocation, Profile, Settings as TrunkTable};
use crate::trunk::tests::profile;
use crate::trunk::{Dialling, Trunks};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const FAR: &[u8] =
    b"v=0\r\no=- 3 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n";
pub(super) const CONFIRM: PromptId = PromptId(50);
pub(super) const PLEASE_HOLD: PromptId = PromptId(51);
const CANDIDATE: &str = "192.0.2.100:10000";

/// Who hears whom, as the media plane would have it.
#[derive(Default)]
pub(super) struct Ears {
    pub(super) rooms: BTreeMap<LegId, BTreeSet<LegId>>,
    /// Music or a tone without end.
    pub(super) plays: BTreeSet<LegId>,
    pub(super) open: BTreeSet<LegId>,
    /// Who is in the conference.
    seated: BTreeSet<LegId>,
}

impl Ears {
    fn part(&mut self, leg: LegId) {
        self.rooms.remove(&leg);
        for room in self.rooms.values_mut() {
            room.remove(&leg);
        }
        self.rooms.retain(|_, room| !room.is_empty());
    }

    fn seat(&mut self, parties: &[Party]) {
        for party in parties {
            self.part(party.leg);
            self.plays.remove(&party.leg);
        }
        for listener in parties.iter().map(|party| party.leg) {
            let reaches = |party: &&Party| match party.heard_by {
                _ if party.leg == listener || !self.open.contains(&party.leg) => false,
                HeardBy::All => true,
                HeardBy::Only(leg) => leg == listener,
                HeardBy::Nobody => false,
            };
            let heard = parties.iter().filter(reaches).map(|party| party.leg).collect();
            self.rooms.insert(listener, heard);
        }
    }

    fn follow(&mut self, action: &Media) {
        match action {
            Media::Open { leg, .. } => _ = self.open.insert(*leg),
            Media::Bridge { a, b } => self.seat(&[Party::new(*a), Party::new(*b)]),
            Media::Unbridge { leg } => self.part(*leg),
            Media::Conference { parties, .. } => {
                let seated: Vec<Party> = parties.iter().copied().collect();
                let before = std::mem::replace(&mut self.seated, seated.iter().map(|party| party.leg).collect());
                match seated.is_empty() {
                    true => before.into_iter().for_each(|leg| self.part(leg)),
                    false => self.seat(&seated),
                }
            }
            // What does not repeat is followed by the music when it has come to its end.
            Media::Play { leg, .. } | Media::Tone { leg, .. } => _ = self.plays.insert(*leg),
            Media::Stop { leg } => _ = self.plays.remove(leg),
            Media::Close { leg } => {
                self.part(*leg);
                self.plays.remove(leg);
                self.open.remove(leg);
            }
            _ => {}
        }
    }

    /// Whether this leg hears anybody, or music.
    pub(super) fn hears(&self, leg: LegId) -> bool {
        self.plays.contains(&leg) || self.rooms.get(&leg).is_some_and(|with| !with.is_empty())
    }

    pub(super) fn with(&self, leg: LegId) -> Vec<LegId> {
        self.rooms.get(&leg).into_iter().flatten().copied().collect()
    }
}

/// The house around the calls.
pub(super) struct House {
    pub(super) calls: Calls,
    pub(super) trunks: Trunks,
    pub(super) now: Now,
    pub(super) ears: Ears,
    pub(super) settings: Arc<Settings>,
    pub(super) call: CallId,
    pub(super) agent: LegId,
    pub(super) leases: u64,
    /// INVITEs over trunks, oldest first.
    pub(super) invited: Vec<(LegId, u16)>,
    /// The newest of them.
    pub(super) sent: Option<Invite>,
    pub(super) answer: Option<Result<(), NotTransferred>>,
    pub(super) done: Option<Result<(), NotDone>>,
    /// INVITEs to agents, oldest first.
    pub(super) rung: Vec<Invite>,
    /// Calls of the agent's phone to targets, oldest first.
    pub(super) dialled: Vec<LegId>,
    pub(super) record: Option<CallRecord>,
    pub(super) order: Option<OrderOpened>,
}

fn target(name: &str, kind: TargetKind, numbers: &[&str], key: Option<&str>) -> Target {
    Target {
        site: SiteId(0),
        name: name.into(),
        title: name.into(),
        kind,
        drill: name == "drill",
        numbers: numbers.iter().map(|number| Number::parse(number, "591").unwrap()).collect(),
        key: key.map(Into::into),
        ring_max: Some(Duration::from_secs(20)),
        channels: None,
        together: false,
        confirm: None,
        announcement: None,
        hours: Hours::default(),
        duty: Vec::new(),
        webhook: None,
        link: false,
    }
}

fn house_settings() -> (Arc<Settings>, Arc<TrunkTable>) {
    let rule = |numbers: &[&str], emergency, trunks: &[u16]| Rule {
        site: SiteId(0),
        numbers: numbers.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
        trunks: trunks.iter().copied().map(TrunkId).collect(),
        caller: Number::parse("059112345", "591").unwrap(),
        emergency,
        drill: trunks.contains(&2),
        place: here(),
    };
    let mut list = ["a", "b", "simulated"].map(profile).to_vec();
    list.iter_mut().for_each(|trunk| trunk.wording.asserts_identity = true);
    (list[0].wording.geolocation, list[1].wording.geolocation) = (Geolocation::Body, Geolocation::Header);
    list[2] = Profile { drill: true, wording: list[0].wording.clone(), ..list[2].clone() };
    let trunks = Arc::new(TrunkTable { trunks: list, seed: [1, 2] });
    let expired = Hours { until: Some(Wall(1)), ..Hours::default() };
    let confirm = Some(CONFIRM);
    let mobile = Target { confirm, ..target("mobile", TargetKind::Expert, &["059113800001", "059113800002"], None) };
    let row = |minutes: std::ops::Range<u16>, number: &str| Duty {
        numbers: vec![Number::parse(number, "591").unwrap()],
        hours: Hours {
            windows: vec![Window { weekdays: 127, from_min: minutes.start, until_min: minutes.end }],
            ..Hours::default()
        },
    };
    let duty = vec![row(0..10, "059112301"), row(10..20, "059112302")];
    let duty =
        Target { announcement: Some(PLEASE_HOLD), duty, ..target("duty", TargetKind::Expert, &["059112300"], None) };
    let many: Vec<String> = (10..20).map(|number| format!("0591123400{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = Target { together: true, ..target("many", TargetKind::Expert, &many, None) };
    let list = vec![
        Target { name: "mobiles".into(), confirm, ..many.clone() },
        many,
        target("fire", TargetKind::Emergency, &["119"], Some("*9")),
        target("water", TargetKind::Utility, &["059196110"], Some("*21")),
        target("social", TargetKind::SubCenter, &["059112333", "059112334"], None),
        Target { hours: expired, ..target("old", TargetKind::SubCenter, &["059112333"], Some("*3")) },
        target("abroad", TargetKind::Expert, &["02012345678"], None),
        mobile,
        duty,
        Target {
            webhook: Some(Arc::new(webhook())),
            link: true,
            ..target("told", TargetKind::SubCenter, &["059112335"], None)
        },
        target("drill", TargetKind::Emergency, &["0591990119"], Some("*8")),
    ];
    let exercise = rule(&["0591990119"], false, &[2]);
    let rules = vec![rule(&["119"], true, &[0, 1]), exercise, rule(&["0591*"], false, &[0, 1])];
    let settings = Settings {
        trunks: trunks.clone(),
        dialling: Arc::new(Dialling { rules }),
        targets: Arc::new(Targets { list }),
        links: Some(Arc::new(links())),
        agents: ["1001", "1002", "1003"]
            .map(|name| Some(AgentIdentity { site: SiteId(0), name: name.into(), phone: name.into(), team: "".into() }))
            .to_vec(),
        ..(*settings()).clone()
    };
    (Arc::new(settings), trunks)
}

/// Where those who answer sit.
fn here() -> Place {
    let civic = [("country", "CN"), ("A1", "福建省"), ("A3", "福州市"), ("A4", "鼓楼区"), ("RD", "五四路")];
    let civic = civic.map(|(element, value)| (element.into(), value.into())).to_vec();
    Place { uri: Some("https://lis.example/fuzhou".into()), civic }
}

impl House {
    /// A citizen and an agent talk.
    pub(super) fn new() -> House {
        House::called("13800138000", About::default())
    }

    /// The same, with what their network said of them.
    pub(super) fn called(caller: &str, about: About) -> House {
        let (settings, trunks) = house_settings();
        let calls = Calls::new(ShardId(0), Mint::new(0, [1, 2]), settings.clone());
        let mut house = House {
            calls,
            trunks: Trunks::new(trunks),
            now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) },
            ears: Ears::default(),
            settings,
            call: CallId { shard: ShardId(0), slot: 0, generation: 0 },
            agent: LegId(0),
            leases: 0,
            invited: Vec::new(),
            sent: None,
            answer: None,
            done: None,
            rung: Vec::new(),
            dialled: Vec::new(),
            record: None,
            order: None,
        };
        let arrived = house.tell(Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg: CITIZEN,
            source: Source::Trunk("elsewhere".into()),
            call_id: "call-1".into(),
            dialled: "12345".into(),
            caller: caller.into(),
            caller_name: Bytes::new(),
            sdp: Some(Bytes::from_static(OFFER)),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.1:5060".parse().unwrap() },
            about,
        }))));
        house.call = views(&arrived)[0].call;
        house.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
        house.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
        house.agent_answers();
        house
    }

    /// The next agent is offered and answers.
    pub(super) fn agent_answers(&mut self) {
        self.leases += 1;
        let lease = Lease { number: self.leases, ..LEASE };
        let ring_until = self.now.mono + Duration::from_secs(20);
        let offered = self.tell(Event::Acd(Acd::Offer { call: self.call, lease, ring_until }));
        let invite = sip(&offered).into_iter().find_map(|action| match action {
            Sip::Invite(invite) => Some(invite.leg),
            _ => None,
        });
        self.agent = invite.expect("the agent is rung");
        self.sip(Notice::Answered { leg: self.agent, sdp: Bytes::from_static(PHONE) });
        assert_eq!(self.calls.letter(), 'T');
    }

    pub(super) fn tell(&mut self, event: Event) -> Vec<Command> {
        self.now = self.now.after(Duration::from_millis(10));
        let mut out = Vec::new();
        self.calls.handle(self.now, event, &mut out);
        self.settle(out)
    }

    pub(super) fn pass(&mut self, by: Duration) -> Vec<Command> {
        self.now = self.now.after(by);
        let mut out = Vec::new();
        self.calls.expire(self.now, &mut out);
        self.settle(out)
    }

    /// As the shell does: ports and channels are given in the same pass.
    pub(super) fn settle(&mut self, mut out: Vec<Command>) -> Vec<Command> {
        let mut done = Vec::new();
        while !out.is_empty() {
            for command in std::mem::take(&mut out) {
                self.carry_out(&command, &mut out);
                done.push(command);
            }
        }
        self.calls.check();
        self.trunks.check();
        self.is_served();
        done
    }

    fn carry_out(&mut self, command: &Command, out: &mut Vec<Command>) {
        match command {
            Command::OpenPort { leg, .. } => {
                let event = Event::PortOpened { leg: *leg, local: CANDIDATE.parse().unwrap() };
                self.calls.handle(self.now, event, out);
            }
            Command::Trunk(event) => {
                let mut said = Vec::new();
                self.trunks.handle(self.now, event.clone(), &mut said);
                for said in said {
                    self.calls.handle(self.now, Event::Trunk(said), out);
                }
            }
            Command::Media(action) => self.ears.follow(action),
            Command::Sip(Sip::Invite(invite)) => match &invite.to {
                Destination::Trunk(over) => {
                    self.invited.push((invite.leg, over.trunk.0));
                    self.sent = Some((**invite).clone());
                }
                _ => self.rung.push((**invite).clone()),
            },
            Command::TransferAnswered { answer, .. } => self.answer = Some(*answer),
            Command::Intervened { answer, .. } => self.done = Some(*answer),
            Command::Fact { fact: Fact::Call(record), .. } => self.record = Some((**record).clone()),
            Command::Fact { fact: Fact::Order(order), .. } => self.order = Some((**order).clone()),
            _ => {}
        }
    }

    /// In a talk, and on the way back from one, nobody is left in silence.
    fn is_served(&self) {
        if matches!(self.calls.letter(), 'T' | 'H' | 'X' | 'W' | 'R' | 'L' | 'P') && self.ears.open.contains(&CITIZEN) {
            let gone = self.record.as_ref().is_some_and(|it| it.times.caller_hangup.is_some());
            assert!(gone || self.ears.hears(CITIZEN), "the citizen hears nothing in {}", self.calls.letter());
        }
    }

    pub(super) fn sip(&mut self, notice: Notice) -> Vec<Command> {
        self.tell(Event::Sip(notice))
    }

    pub(super) fn ask(&mut self, ask: Ask) -> Result<(), NotTransferred> {
        self.tell(Event::Transfer { call: self.call, by: None, ask, ticket: 7 });
        self.answer.take().expect("an answer")
    }

    pub(super) fn start(&mut self, target: &str, mode: TransferMode) -> Result<(), NotTransferred> {
        self.ask(Ask::Start { target: target.into(), mode, reason: "needs help".into() })
    }

    /// The leg of the newest INVITE over a trunk.
    pub(super) fn far(&self) -> LegId {
        self.invited.last().expect("an INVITE over a trunk").0
    }

    pub(super) fn far_answers(&mut self) -> Vec<Command> {
        let leg = self.far();
        self.sip(Notice::Answered { leg, sdp: Bytes::from_static(FAR) })
    }

    pub(super) fn bye(&mut self, leg: LegId) -> Vec<Command> {
        self.sip(Notice::Ended { leg, why: Ending::Bye { q850: None } })
    }

    /// The shard dies and is restored, with its media or without, and with the dialogs that the user agent still knows.
    pub(super) fn crash(&mut self, lost_media: bool, is_known: impl Fn(LegId) -> bool) {
        let kept = self.calls.snapshot();
        let kept = Snapshot::read(&kept.write(), KIND, VERSION).unwrap();
        let marks = BTreeMap::new();
        if lost_media {
            self.ears = Ears { open: std::mem::take(&mut self.ears.open), ..Ears::default() };
        }
        let (mut out, lost) = (Vec::new(), lost_media.then_some(&marks));
        self.trunks = Trunks::new(self.settings.trunks.clone());
        let (mint, settings) = ((ShardId(0), Mint::new(1, [3, 4])), self.settings.clone());
        self.calls = Calls::restore(kept, mint, settings, self.now, (is_known, lost), &mut out);
        self.settle(out);
    }

    pub(super) fn used(&self) -> u32 {
        self.trunks.views(self.now.mono).iter().map(|view| view.outbound.used).sum()
    }

    pub(super) fn last(&self) -> &TransferRecord {
        self.record.as_ref().and_then(|record| record.transfers.last()).expect("a transfer was told")
    }

    /// Where the call stands: `D`ialling with the agent and the citizen together, dialling a`s`ide, `C`onsulting,
    /// `J`oined, `B`lind with the agent gone, `X` handed over; else the letter of the call.
    pub(super) fn letter(&self) -> char {
        let entry = self.calls.calls.iter().next();
        let transfer = entry.and_then(|(_, entry)| entry.call.transfer.as_ref());
        match (self.calls.letter(), transfer.map(|it| (it.phase, it.mode))) {
            ('T' | 'H', Some((Phase::Dialling, TransferMode::Conference))) => 'D',
            ('T' | 'H', Some((Phase::Dialling, _))) => 's',
            ('T' | 'H', Some((Phase::Consulting, _))) => 'C',
            ('T' | 'H', Some((Phase::Joined, _))) => 'J',
            ('X', Some((Phase::Dialling, _))) => 'B',
            (letter, _) => letter,
        }
    }

    /// Up to this letter, with this target.
    pub(super) fn up_to(letter: char, target: &str) -> House {
        let mut house = House::new();
        let mode = if matches!(letter, 's' | 'C') { TransferMode::Consult } else { TransferMode::Conference };
        house.start(target, mode).unwrap();
        if matches!(letter, 'C' | 'J' | 'X') {
            house.far_answers();
        }
        if matches!(letter, 'B' | 'X') {
            house.bye(house.agent);
        }
        assert_eq!(house.letter(), letter);
        house
    }
}

#[test]
fn three_talk_the_agent_leaves_and_the_target_ends_it() {
    let mut house = House::new();
    house.start("water", TransferMode::Conference).unwrap();
    let (agent, far) = (house.agent, house.far());
    assert_eq!((house.letter(), house.used()), ('D', 1));
    assert_eq!(house.ears.with(CITIZEN), [agent], "citizen and agent stay together");
    house.sip(Notice::Trying { leg: far });
    house.sip(Notice::Ringing { leg: far, sdp: None });
    let joined = house.far_answers();
    assert_eq!(house.ears.with(CITIZEN), [agent, far]);
    let tracks = media(&joined).into_iter().filter(|action| matches!(action, Media::Record { .. })).count();
    assert_eq!(tracks, 2, "a track for each party beside the citizen");
    assert!(!media(&joined).iter().any(|it| matches!(it, Media::Unbridge { .. })), "nobody is parted on the way");
    let left = house.bye(agent);
    assert_eq!(house.ears.with(CITIZEN), [far]);
    assert!(!media(&left).iter().any(|it| matches!(it, Media::Unbridge { .. } | Media::Play { .. })));
    assert!(matches!(acd(&left)[..], [ToAcd::Ended { .. }]), "the agent is free: {left:?}");
    assert_eq!((house.last().result, house.letter()), (Some(TransferResult::Completed), 'X'));
    let over = house.bye(far);
    assert_eq!(ended(&over), (Stage::Talking, EndedBy::Target, 200));
    assert_eq!((house.used(), house.ears.open.len()), (0, 0));
    let TransferRecord { started, answered, joined, handed, ended, ref routes, .. } = *house.last();
    let times = [Some(started), answered, joined, handed, ended];
    assert!(times.is_sorted() && times.iter().all(Option::is_some), "{times:?}");
    assert_eq!((routes.len(), routes[0].sip_status), (1, Some(200)));
}

#[test]
fn a_consultation_keeps_the_citizen_with_music_until_they_are_joined_or_left() {
    let mut house = House::new();
    house.start("water", TransferMode::Consult).unwrap();
    let (agent, far) = (house.agent, house.far());
    assert!(house.ears.plays.contains(&CITIZEN) && house.ears.plays.contains(&agent), "music and the sign of ringing");
    house.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) });
    assert_eq!(house.ears.with(agent), [far], "the agent hears what the target sounds like");
    house.far_answers();
    assert_eq!((house.letter(), house.ears.with(agent), house.ears.with(CITIZEN)), ('C', vec![far], vec![]));
    house.ask(Ask::Join).unwrap();
    assert_eq!(house.ears.with(CITIZEN), [agent, far]);
    house.ask(Ask::Complete).unwrap();
    assert_eq!((house.ears.with(CITIZEN), house.letter()), (vec![far], 'X'));
    assert!(!house.ears.open.contains(&agent), "the agent's phone is hung up");
}

#[test]
fn the_agent_who_only_connects_leaves_when_the_target_answers() {
    let mut house = House::new();
    house.start("water", TransferMode::Blind).unwrap();
    let far = house.far();
    let answered = house.far_answers();
    assert_eq!((house.letter(), house.ears.with(CITIZEN)), ('X', vec![far]));
    assert!(matches!(acd(&answered)[..], [ToAcd::Ended { .. }]));
}

#[test]
fn whatever_fails_leaves_citizen_and_agent_together_in_the_same_pass() {
    for mode in [TransferMode::Conference, TransferMode::Consult, TransferMode::Blind] {
        for (status, q850, result) in [
            (486, None, TransferResult::Busy),
            (603, None, TransferResult::Busy),
            (404, None, TransferResult::Unreachable),
            (480, Some(19), TransferResult::NoAnswer),
        ] {
            let mut house = House::new();
            house.start("water", mode).unwrap();
            let (agent, far) = (house.agent, house.far());
            house.sip(Notice::Ringing { leg: far, sdp: Some(Bytes::from_static(FAR)) });
            house.sip(Notice::Failed { leg: far, status, q850 });
            assert_eq!((house.letter(), house.ears.with(CITIZEN)), ('T', vec![agent]), "{mode:?} {status}");
            assert_eq!((house.last().result, house.used()), (Some(result), 0), "{mode:?} {status}");
            house.start("water", mode).expect("a try in vain does not count");
        }
    }
}

#[test]
fn silent_routes_and_numbers_that_fail_are_followed_by_the_next() {
    let mut house = House::new();
    house.start("social", TransferMode::Conference).unwrap();
    let first = house.far();
    house.pass(Duration::from_secs(2));
    house.pass(Duration::from_millis(100));
    assert_eq!(house.invited.len(), 2, "no provisional response in 2 s: the other trunk");
    assert_ne!(house.invited[0].1, house.invited[1].1);
    let second = house.far();
    house.sip(Notice::Answered { leg: first, sdp: Bytes::from_static(FAR) });
    assert_eq!(house.letter(), 'D', "who answers too late is nobody's target");
    house.sip(Notice::Failed { leg: second, status: 486, q850: None });
    assert_eq!((house.invited.len(), house.used()), (3, 1), "busy: the second number");
    house.far_answers();
    assert_eq!((house.letter(), house.last().routes.len()), ('J', 3));
}

#[test]
fn an_emergency_line_is_given_a_second_and_an_order_is_urgent_when_none_is_reached() {
    let mut house = House::new();
    house.start("fire", TransferMode::Conference).unwrap();
    house.pass(Duration::from_millis(1_001));
    assert_eq!(house.invited.len(), 2, "the emergency's second route is tried after one second");
    let out = house.pass(Duration::from_millis(1_001));
    let order = out.iter().find_map(|command| match command {
        Command::Fact { fact: Fact::Order(order), .. } => Some(order.emergency),
        _ => None,
    });
    assert_eq!((house.letter(), order), ('T', Some(true)));
    let view = views(&out).into_iter().find_map(|view| view.transfer.clone()).expect("it is shown");
    assert_eq!((view.dial.as_deref(), view.result), (Some("119"), Some(TransferResult::Unreachable)));
    assert_eq!(house.ears.with(CITIZEN), [house.agent]);
}

#[test]
fn agent_and_emergency_line_go_on_when_the_citizen_hangs_up() {
    for letter in ['D', 'J'] {
        let mut house = House::up_to(letter, "fire");
        house.bye(CITIZEN);
        assert_ne!(house.calls.letter(), 'E', "{letter}");
        if letter == 'D' {
            house.far_answers();
        }
        let (agent, far) = (house.agent, house.far());
        assert_eq!(house.ears.with(agent), [far], "{letter}");
        let over = house.bye(far);
        assert_eq!(ended(&over), (Stage::Talking, EndedBy::Caller, 200), "{letter}");
        assert_eq!(house.used(), 0);
    }
    let mut house = House::up_to('J', "water");
    house.bye(CITIZEN);
    assert_eq!(house.calls.letter(), 'E', "no other target stays");
}

#[test]
fn a_contact_is_transferred_once_but_to_emergencies_always() {
    let mut house = House::up_to('X', "water");
    let far = house.far();
    house.sip(Notice::Ended { leg: far, why: Ending::Lost });
    assert_eq!(house.letter(), 'W', "back in the line");
    house.agent_answers();
    house.start("social", TransferMode::Conference).expect("a transfer that a fault ended is none");
    house.far_answers();
    // The sub-center gives the citizen back by its own trunk one day; here the agent takes over again after a fault.
    house.ask(Ask::Cancel).unwrap();
    assert_eq!(house.last().result, Some(TransferResult::Returned));
    house.start("water", TransferMode::Conference).expect("help that came and went is no transfer");
    house.far_answers();
    house.bye(house.agent);
    assert_eq!(house.last().result, Some(TransferResult::Completed));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let mut house = House::new();
    let ask = |target: &str, reason: &str| Ask::Start {
        target: target.into(),
        mode: TransferMode::Conference,
        reason: reason.into(),
    };
    for (wanted, why) in [
        (ask("119", "x"), NotTransferred::UnknownTarget),
        (ask("1381101200", "x"), NotTransferred::UnknownTarget),
        (ask("400119", "x"), NotTransferred::UnknownTarget),
        (ask("fir", "x"), NotTransferred::UnknownTarget),
        (ask("water", " "), NotTransferred::NoReason),
        (ask("water", &"长".repeat(REASON_CHARACTERS_MAX + 1)), NotTransferred::NoReason),
        (ask("old", "x"), NotTransferred::Expired),
        (ask("abroad", "x"), NotTransferred::NotListed),
        (Ask::Join, NotTransferred::None),
        (Ask::Complete, NotTransferred::None),
        (Ask::Cancel, NotTransferred::None),
    ] {
        assert_eq!(house.ask(wanted.clone()), Err(why), "{wanted:?}");
    }
    assert!(house.invited.is_empty() && house.used() == 0);
    let wish = |by| Event::Transfer { call: house.call, by, ask: ask("water", "x"), ticket: 1 };
    let (other, own) = (wish(Some(AgentId(9))), wish(Some(AgentId(0))));
    house.tell(other);
    assert_eq!(house.answer.take(), Some(Err(NotTransferred::NotYours)));
    house.tell(own);
    assert_eq!(house.answer.take(), Some(Ok(())));
    assert_eq!(house.start("fire", TransferMode::Conference), Err(NotTransferred::UnderWay));
    house.bye(CITIZEN);
    assert_eq!(house.start("fire", TransferMode::Conference), Err(NotTransferred::NotTalking));
}

#[test]
fn one_key_brings_the_target_in_and_another_hangs_it_up() {
    let mut house = House::new();
    let press = |house: &mut House, keys: &str, gap: Duration| {
        for digit in keys.bytes() {
            house.pass(gap);
            house.tell(Event::Media(Heard::Digit { leg: house.agent, digit }));
        }
    };
    let quick = Duration::from_millis(200);
    for wrong in ["9", "21", "*", "*2", "*7", "*3", "119", "#9", "**"] {
        press(&mut house, wrong, quick);
        assert!(house.invited.is_empty(), "{wrong}");
    }
    press(&mut house, "*", quick);
    press(&mut house, "9", Duration::from_secs(4));
    assert!(house.invited.is_empty(), "too slow to be one key");
    press(&mut house, "*9", quick);
    assert_eq!((house.letter(), &*house.last().target), ('D', "fire"));
    press(&mut house, "*#", quick);
    assert_eq!((house.letter(), house.last().result), ('T', Some(TransferResult::Cancelled)));
    press(&mut house, "*21", quick);
    assert_eq!((house.letter(), &*house.last().target), ('D', "water"));
}

#[test]
fn the_agents_phone_refers_to_a_target_and_is_told_how_it_goes() {
    let refer = |house: &mut House, leg, number: &str, attended| {
        let (to, replaces, by) = ("sip:x@fuzhou.example".into(), None, None);
        let referred = Referred { leg, refer: 5, to, number: number.into(), replaces, attended, by };
        let out = house.sip(Notice::Referred(Box::new(referred)));
        sip(&out).into_iter().find_map(|action| match action {
            Sip::AnswerRefer { refer: 5, status, .. } | Sip::RefuseRefer { refer: 5, status, .. } => Some(*status),
            _ => None,
        })
    };
    let told = |out: &[Command]| {
        sip(out).into_iter().find_map(|action| match action {
            Sip::ReferProgress { refer: 5, status, .. } => Some(*status),
            _ => None,
        })
    };
    let mut house = House::new();
    let agent = house.agent;
    for (leg, number, attended, status) in
        [(agent, "1381101200", false, 603), (agent, "119", true, 481), (CITIZEN, "119", false, 603)]
    {
        assert_eq!(refer(&mut house, leg, number, attended), Some(status), "{number}");
    }
    assert!(house.invited.is_empty());
    assert_eq!(refer(&mut house, agent, "96110", false), Some(603), "not by a part of the number");
    assert_eq!(refer(&mut house, agent, "059196110", false), Some(202));
    assert_eq!(refer(&mut house, agent, "119", false), Some(603), "one at a time");
    let far = house.far();
    assert_eq!(told(&house.sip(Notice::Failed { leg: far, status: 486, q850: None })), Some(486));
    assert_eq!(house.ears.with(CITIZEN), [agent]);
    assert_eq!(refer(&mut house, agent, "water", false), Some(202));
    assert_eq!(told(&house.far_answers()), Some(200));
    assert_eq!((house.letter(), house.ears.with(CITIZEN)), ('X', vec![house.far()]));
}

#[test]
fn a_digit_by_info_is_pressed_for_whom_it_is_meant_unless_it_is_a_key() {
    let pressed = |house: &mut House, leg, digit| {
        let out = house.sip(Notice::Digit { leg, digit });
        let mut sent = media(&out).into_iter().filter_map(|action| match action {
            Media::SendDigits { leg, .. } => Some(*leg),
            _ => None,
        });
        (sent.next(), sent.next()).0
    };
    let mut house = House::new();
    let agent = house.agent;
    assert_eq!(pressed(&mut house, agent, b'5'), Some(CITIZEN));
    assert_eq!(pressed(&mut house, CITIZEN, b'5'), Some(agent));
    assert_eq!(pressed(&mut house, agent, b'*'), None, "it may become a key");
    assert_eq!(pressed(&mut house, agent, b'7'), Some(CITIZEN), "it does not");
    let mut house = House::up_to('J', "water");
    let (agent, far) = (house.agent, house.far());
    assert_eq!(pressed(&mut house, agent, b'1'), Some(far), "a menu at the other side");
    assert_eq!(pressed(&mut house, CITIZEN, b'1'), None);
    let mut house = House::up_to('X', "water");
    let far = house.far();
    assert_eq!(pressed(&mut house, CITIZEN, b'1'), Some(far));
}

/// The states of a transfer, and those that it may lead to: see [`House::letter`].
const STATES: &str = "DsCJBX";

type Row = (&'static str, fn(&mut House), &'static str);

/// Every event in every state: the state that follows; `.` where it stays.
#[rustfmt::skip]
const TABLE: [Row; 27] = [
    ("the target rings",          |h| { let leg = h.far(); h.sip(Notice::Ringing { leg, sdp: None }); },             "......"),
    ("the target is heard",       |h| { let leg = h.far(); h.sip(Notice::Ringing { leg, sdp: Some(FAR.into()) }); }, "......"),
    ("the target answers",        |h| { h.far_answers(); },                                                            "JC..X."),
    ("the target answers nonsense", |h| { let leg = h.far(); h.sip(Notice::Answered { leg, sdp: VIDEO.into() }); },  "TT..W."),
    ("the target is busy",        |h| { let leg = h.far(); h.sip(Notice::Failed { leg, status: 486, q850: None }); }, "TTTTWW"),
    ("the route fails",           |h| { let leg = h.far(); h.sip(Notice::Failed { leg, status: 503, q850: None }); }, "..TT.W"),
    ("all routes fail",           |h| { for _ in 0..2 { let leg = h.far(); h.sip(Notice::Failed { leg, status: 503, q850: None }); } }, "TTTTWW"),
    ("a leg of before answers",   |h| { h.sip(Notice::Answered { leg: LegId(77), sdp: FAR.into() }); },              "......"),
    ("the target hangs up",       |h| { let leg = h.far(); h.bye(leg); },                                              "..TT.E"),
    ("the target is lost",        |h| { let leg = h.far(); h.sip(Notice::Ended { leg, why: Ending::Lost }); },       "..TT.W"),
    ("the target's port is lost", |h| { let leg = h.far(); h.tell(Event::Media(Heard::Closed { leg, counters: Default::default() })); }, "..TT.W"),
    ("nobody answers for long",   |h| { let leg = h.far(); h.sip(Notice::Trying { leg }); h.pass(Duration::from_secs(21)); }, "TT..W."),
    ("the agent hangs up",        |h| { let leg = h.agent; h.bye(leg); },                                              "BBXX.."),
    ("the agent's phone is lost", |h| { let leg = h.agent; h.sip(Notice::Ended { leg, why: Ending::Lost }); },       "BBXX.."),
    ("the agent's port is lost",  |h| { let leg = h.agent; h.tell(Event::Media(Heard::Closed { leg, counters: Default::default() })); }, "BBXX.."),
    ("the agent holds",           |h| { let leg = h.agent; h.sip(Notice::Reoffered { leg, sdp: Some(HOLDING.into()) }); }, "......"),
    ("nothing comes of the target", |h| { let leg = h.far(); h.tell(Event::Media(Heard::Mute { leg })); },            "......"),
    ("the target sounds again",   |h| { let leg = h.far(); h.tell(Event::Media(Heard::Sounds { leg })); },          "......"),
    ("the citizen hangs up",      |h| { h.bye(CITIZEN); },                                                             "EEEEEE"),
    ("the citizen's line is lost", |h| { h.sip(Notice::Ended { leg: CITIZEN, why: Ending::Lost }); },                "EEEEEE"),
    ("join",                      |h| { let _ = h.ask(Ask::Join); },                                                   ".DJ..."),
    ("complete",                  |h| { let _ = h.ask(Ask::Complete); },                                               "s.XX.."),
    ("cancel",                    |h| { let _ = h.ask(Ask::Cancel); },                                                 "TTTT.."),
    ("start again",               |h| { let _ = h.start("fire", TransferMode::Blind); },                               "......"),
    ("the ACD revokes",           |h| { let lease = Lease { number: h.leases, ..LEASE }; h.tell(Event::Acd(Acd::Revoke { call: h.call, lease })); }, "......"),
    ("the ACD releases",          |h| { h.tell(Event::Acd(Acd::Released { call: h.call, why: Released::Full })); },  "......"),
    ("an operator hangs up",      |h| { h.tell(Event::HangUp { call: h.call }); },                                     "EEEEEE"),
];

#[test]
fn every_event_in_every_state() {
    for (name, act, expected) in TABLE {
        for (state, expected) in STATES.chars().zip(expected.chars()) {
            let mut house = House::up_to(state, "water");
            act(&mut house);
            let expected = if expected == '.' { state } else { expected };
            assert_eq!(house.letter(), expected, "{name} in {state}");
        }
    }
}

#[test]
fn a_crash_keeps_who_is_there_and_brings_back_who_waited() {
    for (state, lost_media, expected) in [
        ('D', true, 'T'),
        ('s', true, 'T'),
        ('C', true, 'C'),
        ('J', true, 'J'),
        ('B', true, 'W'),
        ('X', true, 'X'),
        ('D', false, 'T'),
        ('s', false, 'T'),
        ('C', false, 'C'),
        ('J', false, 'J'),
        ('B', false, 'W'),
        ('X', false, 'X'),
    ] {
        let mut house = House::up_to(state, "water");
        let (agent, far) = (house.agent, house.far());
        house.crash(lost_media, |_| true);
        assert_eq!(house.letter(), expected, "{state}, media lost: {lost_media}");
        let with: Vec<LegId> = match expected {
            'T' => vec![agent],
            'J' => vec![agent, far],
            'X' => vec![far],
            _ => vec![],
        };
        assert_eq!(house.ears.with(CITIZEN), with, "{state}, media lost: {lost_media}");
        if expected == 'C' {
            assert_eq!(house.ears.with(agent), [far]);
        }
        assert_eq!(house.used(), u32::from(matches!(expected, 'C' | 'J' | 'X')), "{state}: the channel");
        if expected == 'X' {
            assert_eq!(ended(&house.bye(far)).1, EndedBy::Target);
            assert_eq!(house.used(), 0);
        }
    }
}

/// Draws numbers; the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}
