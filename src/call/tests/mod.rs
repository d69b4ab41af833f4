//! The call machine on its own: every way a call can go, with the rest of the house played by the test.

mod after;
mod ahead;
mod away;
mod comfort;
mod desk;
mod emergency;
mod histories;
mod leg;
mod mute;
mod preferred;
mod quality;
mod reached;
mod second;
mod silence;
mod supervise;
mod table;
mod together;
mod transfer;

use super::Calls;
use super::event::{AgentIdentity, CallView, Command, Event, QueueVoice, Settings, SiteSettings};
use super::snapshot::{KIND, VERSION};
use crate::acd::Held;
use crate::acd::event::{Command as Acd, Declined, Enqueue, Event as ToAcd, Lease, Released};
use crate::base::fact::{AttemptOutcome, CallRecord, End, EndedBy, Fact, Stage};
use crate::base::number::Number;
use crate::base::snapshot::Snapshot;
use crate::base::{AgentId, CallId, LegId, Mint, Mono, Now, PromptId, QueueId, ShardId, SiteId, Wall};
use crate::ivr::{Draft, Entry, Numbers};
use crate::media::event::{Action as Media, Counters, Notice as Heard};
use crate::sip::event::{About, Action as Sip, Destination, Ending, Flow, Incoming, Notice, Referred, Source};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const OFFER: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 101\r\n\
a=rtpmap:101 telephone-event/8000\r\n";
const PHONE: &[u8] =
    b"v=0\r\no=- 2 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\n";
const HOLDING: &[u8] =
    b"v=0\r\no=- 2 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\na=sendonly\r\n";
const VIDEO: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\n";

const CITIZEN: LegId = LegId::incoming(ShardId(0), 1);
const LEASE: Lease = Lease { epoch: 1, number: 1, agent: AgentId(0) };
const HOLD_RECALL: Duration = Duration::from_secs(60);
const PARK_RECALL: Duration = Duration::from_secs(90);
const MUSIC: PromptId = PromptId(7);
const APOLOGY: PromptId = PromptId(8);
const GREETING: PromptId = PromptId(5);

struct World {
    calls: Calls,
    now: Now,
    out: Vec<Command>,
    /// Whether the shell answers as it should.
    ports_open: bool,
    /// Number of the newest play.
    plays: u32,
    /// What the media plane says of each leg that it closes.
    counters: Counters,
}

fn settings() -> Arc<Settings> {
    let flow: Draft = toml::from_str("start = \"human\"\nhuman = \"human\"\n[queue.human]\nqueue = \"0\"\n").unwrap();
    let names = crate::ivr::draft::Names { prompt: &|_| None, queue: &|_| Some(crate::base::QueueId(0)) };
    let mut numbers = Numbers::default();
    let entry = Entry {
        number: Number::parse("12345", "").unwrap(),
        site: SiteId(0),
        flow: Arc::new(flow.compile("direct", names).unwrap()),
        greeting: Some(GREETING),
        notice: None,
        transitions: Vec::new(),
        category: "010203".into(),
        priority: 3,
    };
    numbers.insert(entry, "591");
    let queue = QueueVoice {
        name: "general".into(),
        announcement: None,
        music: MUSIC,
        apology: APOLOGY,
        auto_answer: false,
        preferred: None,
        after: None,
        hold_recall: HOLD_RECALL,
        park_recall: PARK_RECALL,
        comfort: None,
        callback: None,
        elsewhere: Vec::new(),
        incidents: Vec::new(),
    };
    Arc::new(Settings {
        sites: vec![SiteSettings {
            code: "fuzhou".into(),
            domain: "fuzhou.example".into(),
            area_code: "591".into(),
            queues: vec![queue],
            pauses: Vec::new(),
            keys: None,
            seats: Default::default(),
        }],
        agents: vec![Some(AgentIdentity {
            site: SiteId(0),
            name: "1001".into(),
            phone: "1001".into(),
            team: "".into(),
        })],
        numbers,
        calls_max: 2,
        ..Settings::default()
    })
}

impl World {
    fn new() -> World {
        let calls = Calls::new(ShardId(0), Mint::new(0, [1, 2]), settings());
        World {
            calls,
            now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) },
            out: Vec::new(),
            ports_open: true,
            plays: 0,
            counters: Counters { received: 50, sent: 60, ..Counters::default() },
        }
    }

    /// One event, a moment later; everything that came of it.
    fn tell(&mut self, event: Event) -> Vec<Command> {
        self.now = self.now.after(Duration::from_millis(10));
        self.calls.handle(self.now, event, &mut self.out);
        self.answer_ports();
        self.calls.check();
        std::mem::take(&mut self.out)
    }

    /// The shell binds ports in the same pass.
    fn answer_ports(&mut self) {
        let mut done = Vec::new();
        for command in std::mem::take(&mut self.out) {
            if let Command::OpenPort { leg, .. } = command
                && self.ports_open
            {
                let local = "192.0.2.100:10000".parse().unwrap();
                self.calls.handle(self.now, Event::PortOpened { leg, local }, &mut done);
            } else {
                done.push(command);
            }
        }
        for command in &done {
            if let Command::Media(Media::Play { play, .. }) = command {
                self.plays = *play;
            }
        }
        self.close_ports(&mut done);
        self.out = done;
    }

    /// The media plane says so of each port that it closes.
    fn close_ports(&mut self, done: &mut Vec<Command>) {
        let closed: Vec<LegId> = media(done).into_iter().filter_map(closes).collect();
        for leg in closed {
            let event = Event::Media(Heard::Closed { leg, counters: self.counters });
            self.calls.handle(self.now, event, done);
        }
    }

    fn pass(&mut self, by: Duration) -> Vec<Command> {
        self.now = self.now.after(by);
        self.calls.expire(self.now, &mut self.out);
        let mut done = std::mem::take(&mut self.out);
        self.close_ports(&mut done);
        self.out = done;
        self.calls.check();
        std::mem::take(&mut self.out)
    }

    fn incoming(&mut self, leg: LegId, dialled: &str, sdp: Option<&'static [u8]>) -> Vec<Command> {
        self.said(leg, dialled, sdp, About::default())
    }

    /// As [`World::incoming`], from a carrier who says more.
    fn said(&mut self, leg: LegId, dialled: &str, sdp: Option<&'static [u8]>, about: About) -> Vec<Command> {
        self.tell(Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg,
            source: Source::Trunk("carrier".into()),
            call_id: "call-1".into(),
            dialled: dialled.into(),
            caller: "13800138000".into(),
            caller_name: Bytes::new(),
            sdp: sdp.map(Bytes::from_static),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.1:5060".parse().unwrap() },
            about,
        }))))
    }

    fn sip(&mut self, notice: Notice) -> Vec<Command> {
        self.tell(Event::Sip(notice))
    }

    /// Up to music in the queue; returns what names the call.
    fn queued(&mut self) -> CallId {
        let arrived = self.incoming(CITIZEN, "12345", Some(OFFER));
        let call = views(&arrived)[0].call;
        self.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
        let queued = self.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
        assert!(acd(&queued).iter().any(|event| matches!(event, ToAcd::Enqueue(_))), "{queued:?}");
        call
    }

    /// Up to an INVITE at the agent; returns the agent's leg.
    fn ringing(&mut self) -> (CallId, LegId) {
        let call = self.queued();
        (call, self.offer(call, LEASE))
    }

    fn offer(&mut self, call: CallId, lease: Lease) -> LegId {
        let ring_until = self.now.mono + Duration::from_secs(20);
        let offered = self.tell(Event::Acd(Acd::Offer { call, lease, ring_until }));
        let invite = offered.iter().find_map(|command| match command {
            Command::Sip(Sip::Invite(invite)) => Some(invite),
            _ => None,
        });
        let invite = invite.unwrap_or_else(|| panic!("an INVITE in {offered:?}"));
        let Destination::User { user, domain } = &invite.to else { panic!("an agent's phone: {invite:?}") };
        assert_eq!((&**user, &**domain, &*invite.caller), ("1001", "fuzhou.example", "13800138000"));
        assert!(invite.ring_max < Duration::from_secs(20), "the phone stops before the lease");
        invite.leg
    }

    /// Up to two people talking.
    fn talking(&mut self) -> (CallId, LegId) {
        let (call, leg) = self.ringing();
        self.sip(Notice::Ringing { leg, sdp: None });
        let answered = self.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) });
        assert!(media(&answered).contains(&&Media::Bridge { a: CITIZEN, b: leg }), "{answered:?}");
        assert!(matches!(acd(&answered)[..], [ToAcd::Answered { lease: LEASE }]));
        (call, leg)
    }

    /// All legs run out: nothing is left.
    fn runs_out(&mut self, legs: &[LegId]) {
        for leg in legs {
            self.sip(Notice::Ended { leg: *leg, why: Ending::Ours });
        }
        let counts = self.calls.counts();
        assert_eq!((counts.calls, counts.legs, counts.timers), (0, 0, 0));
    }
}

fn media(out: &[Command]) -> Vec<&Media> {
    out.iter().filter_map(|command| if let Command::Media(action) = command { Some(action) } else { None }).collect()
}

fn closes(action: &Media) -> Option<LegId> {
    if let Media::Close { leg } = action { Some(*leg) } else { None }
}

fn sip(out: &[Command]) -> Vec<&Sip> {
    out.iter().filter_map(|command| if let Command::Sip(action) = command { Some(action) } else { None }).collect()
}

fn acd(out: &[Command]) -> Vec<&ToAcd> {
    out.iter().filter_map(|command| if let Command::Acd { event, .. } = command { Some(event) } else { None }).collect()
}

fn views(out: &[Command]) -> Vec<&CallView> {
    out.iter().filter_map(|command| if let Command::Show(view) = command { Some(view) } else { None }).collect()
}

fn record(out: &[Command]) -> &CallRecord {
    let records = out.iter().filter_map(|command| match command {
        Command::Fact { fact: Fact::Call(record), .. } => Some(record),
        _ => None,
    });
    records.last().unwrap_or_else(|| panic!("a call record in {out:?}"))
}

fn ended(out: &[Command]) -> (Stage, EndedBy, u16) {
    let End { stage, by, sip_status, .. } = record(out).end.expect("an end");
    (stage, by, sip_status)
}

#[test]
fn an_emergency_is_first_in_the_line_and_its_order_says_where() {
    let mut world = World::new();
    let about =
        About { emergency: true, place: Some("鼓楼区".into()), caller_shown: "张三".into(), ..About::default() };
    world.said(CITIZEN, "12345", Some(OFFER), about);
    world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    let queued = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
    assert!(matches!(acd(&queued)[..], [ToAcd::Enqueue(Enqueue { priority: 100, .. })]), "{queued:?}");
    let order = queued.iter().find_map(|command| match command {
        Command::Fact { fact: Fact::Order(order), .. } => Some(order),
        _ => None,
    });
    assert_eq!(order.map(|order| (order.emergency, order.place.as_deref())), Some((true, Some("鼓楼区"))));
    assert_eq!(record(&queued).signalled.caller_name.as_deref(), Some("张三"));
}

#[test]
fn a_call_from_invite_to_bye_is_told_as_it_was() {
    let mut world = World::new();
    let arrived = world.incoming(CITIZEN, "12345", Some(OFFER));
    assert!(matches!(sip(&arrived)[..], [Sip::Respond { status: 200, sdp: Some(_), .. }]), "{arrived:?}");
    assert!(media(&arrived).iter().any(|action| matches!(action, Media::Record { citizen: CITIZEN, .. })));
    let greeted = world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    assert_eq!(media(&greeted), [&Media::Play { leg: CITIZEN, play: 1, prompts: vec![GREETING], repeat: false }]);
    let queued = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
    assert_eq!(media(&queued), [&Media::Play { leg: CITIZEN, play: 2, prompts: vec![MUSIC], repeat: true }]);
    let order = queued.iter().find_map(|command| match command {
        Command::Fact { fact: Fact::Order(order), .. } => Some(order),
        _ => None,
    });
    assert_eq!(order.map(|order| &*order.category), Some("010203"));
    let call = views(&queued)[0].call;
    let leg = world.offer(call, LEASE);
    world.sip(Notice::Ringing { leg, sdp: None });
    world.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) });
    let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
    assert_eq!(ended(&over), (Stage::Talking, EndedBy::Caller, 200));
    let record = record(&over);
    let times = record.times;
    let order = [Some(times.offered), times.connected, times.ivr_in, times.ivr_out, times.assigned, times.ringing];
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{times:?}");
    assert!(times.ringing < times.answered && times.answered < times.caller_hangup);
    assert_eq!((times.caller_hangup, times.agent_hangup), (times.ended, None));
    assert_eq!((record.agent.as_deref(), record.attempts[0].outcome), (Some("1001"), Some(AttemptOutcome::Answered)));
    assert_eq!((record.revision, &*record.caller), (4, "+8613800138000"));
    assert!(record.recording.is_some() && record.order.is_some());
    assert!(matches!(acd(&over)[..], [ToAcd::Ended { lease: LEASE }]));
    assert!(matches!(sip(&over)[..], [Sip::HangUp { .. }]), "only the agent is still there: {over:?}");
    let closed = media(&over).iter().filter(|action| matches!(action, Media::Close { .. })).count();
    assert_eq!((closed, views(&over)[0].stage), (2, None));
    world.runs_out(&[leg]);
}

#[test]
fn a_wall_clock_set_in_mid_call_changes_none_of_its_lengths() {
    const HOUR_MS: i64 = 3_600_000;
    for jump_ms in [-HOUR_MS, HOUR_MS] {
        let mut world = World::new();
        let (_, leg) = world.talking();
        world.now.wall.0 += jump_ms;
        world.pass(Duration::from_secs(5));
        let over = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
        let (times, attempts) = (record(&over).times, &record(&over).attempts);
        let since = |earlier: Option<Wall>| times.ended.expect("ended").0 - earlier.expect("it happened").0;
        assert_eq!(since(times.answered), 5_010, "talked, by {jump_ms} ms");
        assert_eq!(times.caller_hangup, times.ended);
        assert!((5_010..6_000).contains(&since(Some(times.offered))), "{times:?}");
        assert_eq!(attempts[0].ended, times.answered);
        world.runs_out(&[leg]);
    }
}

#[test]
fn a_caller_who_gives_up_is_remembered_where_it_was() {
    let bye = || Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } };
    let mut world = World::new();
    world.incoming(CITIZEN, "12345", Some(OFFER));
    world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    let over = world.sip(bye());
    assert_eq!(ended(&over), (Stage::Ivr, EndedBy::Caller, 200));
    assert!(record(&over).order.is_none(), "no order before a queue or a human");
    world.runs_out(&[]);

    let mut world = World::new();
    world.queued();
    let over = world.sip(bye());
    assert_eq!(ended(&over), (Stage::Queued, EndedBy::Caller, 200));
    assert!(matches!(acd(&over)[..], [ToAcd::Cancel { .. }]));
    world.runs_out(&[]);

    let mut world = World::new();
    let (_, leg) = world.ringing();
    let over = world.sip(bye());
    assert_eq!(ended(&over), (Stage::Ringing, EndedBy::Caller, 200));
    assert_eq!(record(&over).attempts[0].outcome, Some(AttemptOutcome::CallerGone));
    assert!(matches!(acd(&over)[..], [ToAcd::Cancel { .. }]));
    assert!(sip(&over).iter().any(|action| matches!(action, Sip::HangUp { leg: hung, .. } if *hung == leg)));
    world.sip(Notice::Failed { leg, status: 487, q850: None });
    world.runs_out(&[]);
}

#[test]
fn an_agent_who_does_not_answer_costs_the_caller_nothing() {
    let cases = [
        (486, false, Declined::Rejected),
        (603, true, Declined::Rejected),
        (480, true, Declined::Rejected),
        (480, false, Declined::Unreachable),
        (408, true, Declined::NoAnswer),
        (487, true, Declined::NoAnswer),
        (408, false, Declined::Unreachable),
        (500, true, Declined::Unreachable),
    ];
    for (status, rang, expected) in cases {
        let mut world = World::new();
        let (call, leg) = world.ringing();
        if rang {
            world.sip(Notice::Ringing { leg, sdp: None });
        }
        let back = world.sip(Notice::Failed { leg, status, q850: None });
        assert!(
            matches!(acd(&back)[..], [ToAcd::Declined { lease: LEASE, why }] if *why == expected),
            "{status}: {back:?}"
        );
        assert!(
            !media(&back).iter().any(|action| matches!(action, Media::Play { .. } | Media::Stop { .. })),
            "music goes on"
        );
        let second = Lease { number: 2, ..LEASE };
        assert_ne!(world.offer(call, second), leg);
    }
}

#[test]
fn our_want_of_ports_blames_no_agent() {
    let mut world = World::new();
    let call = world.queued();
    let ring_until = world.now.mono + Duration::from_secs(20);
    world.calls.handle(world.now, Event::Acd(Acd::Offer { call, lease: LEASE, ring_until }), &mut world.out);
    let Some(Command::OpenPort { leg, .. }) = world.out.pop() else { panic!("a port is asked for") };
    let refused = world.tell(Event::PortRefused { leg });
    // Not the caller's leaving, which would also end a later booking that is under way.
    assert!(matches!(acd(&refused)[..], [ToAcd::Ended { lease: LEASE }]), "{refused:?}");
    let again = world.pass(Duration::from_secs(1));
    assert!(matches!(acd(&again)[..], [ToAcd::Enqueue(_)]), "{again:?}");
}

/// Our word that they wait crossed with the owner's that they cannot: it may hold them in a line they have left.
#[test]
fn who_was_let_go_holds_no_agent() {
    let mut world = World::new();
    let call = world.queued();
    world.tell(Event::Acd(Acd::Released { call, why: Released::NoAgents }));
    let ring_until = world.now.mono + Duration::from_secs(20);
    let offered = world.tell(Event::Acd(Acd::Offer { call, lease: LEASE, ring_until }));
    assert!(matches!(acd(&offered)[..], [ToAcd::Ended { lease: LEASE }]), "{offered:?}");
    let over = world.tell(Event::HangUp { call });
    assert!(matches!(acd(&over)[..], [ToAcd::Cancel { .. }]), "{over:?}");
}

#[test]
fn the_agent_hangs_up_first() {
    let mut world = World::new();
    let (_, leg) = world.talking();
    let over = world.sip(Notice::Ended { leg, why: Ending::Bye { q850: Some(16) } });
    assert_eq!(ended(&over), (Stage::Talking, EndedBy::Agent, 200));
    assert!(matches!(sip(&over)[..], [Sip::HangUp { leg: CITIZEN, .. }]));
    world.runs_out(&[CITIZEN]);
}

#[test]
fn a_phone_lost_in_mid_talk_brings_the_citizen_back_to_their_place() {
    let mut world = World::new();
    let since = world.now.mono;
    let (_, leg) = world.talking();
    world.pass(Duration::from_secs(60));
    let back = world.sip(Notice::Ended { leg, why: Ending::Lost });
    let events = acd(&back);
    assert!(matches!(events[0], ToAcd::Ended { lease: LEASE }));
    let ToAcd::Enqueue(again) = events[1] else { panic!("back in the line: {back:?}") };
    assert!(again.since.since(since) < Duration::from_millis(100), "with the place of the first time");
    assert!(media(&back).iter().any(|action| matches!(action, Media::Play { repeat: true, .. })), "with music");
    assert!(sip(&back).is_empty(), "and nobody hung up on them");
}

#[test]
fn a_revoked_offer_stops_the_phone_and_a_late_revoke_parts_nobody() {
    let mut world = World::new();
    let (call, leg) = world.ringing();
    let revoked = world.tell(Event::Acd(Acd::Revoke { call, lease: LEASE }));
    assert!(matches!(sip(&revoked)[..], [Sip::HangUp { leg: hung, .. }] if *hung == leg));
    assert!(acd(&revoked).is_empty(), "the ACD has the caller in the line already");
    assert!(world.sip(Notice::Failed { leg, status: 487, q850: None }).is_empty());

    let mut world = World::new();
    let (call, _) = world.talking();
    let revoked = world.tell(Event::Acd(Acd::Revoke { call, lease: LEASE }));
    assert!(sip(&revoked).is_empty() && media(&revoked).is_empty(), "they talk on: {revoked:?}");
    assert!(matches!(acd(&revoked)[..], [ToAcd::Overtaken { lease: LEASE, .. }]), "and the ACD knows");
    let stale =
        world.tell(Event::Acd(Acd::Offer { call, lease: Lease { number: 2, ..LEASE }, ring_until: Mono(u64::MAX) }));
    assert!(stale.is_empty(), "{stale:?}");
}

/// The calls restored from what they wrote, with the legs that the user agent still has; and what they say.
fn restored(world: &World, known: &[LegId], settings: Arc<Settings>) -> (Calls, Vec<Command>) {
    let bytes = world.calls.snapshot().write();
    let read = Snapshot::read(&bytes, KIND, VERSION).unwrap();
    let mut out = Vec::new();
    let mint = (ShardId(0), Mint::new(9, [1, 2]));
    let calls = Calls::restore(read, mint, settings, world.now, (|leg| known.contains(&leg), None), &mut out);
    calls.check();
    (calls, out)
}

#[test]
fn a_restored_shard_goes_on_talking_and_rings_nobody_it_has_forgotten() {
    let mut world = World::new();
    let (call, leg) = world.talking();
    let (mut calls, out) = restored(&world, &[CITIZEN, leg], settings());
    assert!(sip(&out).is_empty() && media(&out).is_empty(), "nobody hears of it: {out:?}");
    let [ToAcd::Adopt { live, .. }] = &acd(&out)[..] else { panic!("the ACD is told: {out:?}") };
    assert_eq!(live[0].held, [Held { lease: LEASE, answered: true }]);
    let mut out = Vec::new();
    calls.handle(world.now, Event::Sip(Notice::Ended { leg, why: Ending::Bye { q850: None } }), &mut out);
    assert_eq!(ended(&out), (Stage::Talking, EndedBy::Agent, 200));

    let mut world = World::new();
    let (ringing, leg) = world.ringing();
    let (mut calls, out) = restored(&world, &[CITIZEN], settings());
    assert!(media(&out).iter().any(|action| matches!(action, Media::Close { leg: closed } if *closed == leg)));
    let [ToAcd::Adopt { live, .. }] = &acd(&out)[..] else { panic!("the ACD is told: {out:?}") };
    assert_eq!((live[0].caller.call, &live[0].held[..]), (ringing, &[][..]), "in the line, with nobody booked");
    let mut out = Vec::new();
    let again = Acd::Offer { call, lease: Lease { number: 2, ..LEASE }, ring_until: Mono(u64::MAX) };
    calls.handle(world.now, Event::Acd(again), &mut out);
    assert!(
        matches!(&out[1], Command::OpenPort { leg: new, .. } if *new != leg),
        "a leg is never named twice: {out:?}"
    );
}

#[test]
fn a_queue_is_followed_by_name_through_a_reload_and_a_restore() {
    let mut world = World::new();
    let call = world.queued();
    let mut new = (*settings()).clone();
    let front = QueueVoice { name: "night".into(), ..new.sites[0].queues[0].clone() };
    new.sites[0].queues.insert(0, front);
    let new = Arc::new(new);
    let told = world.tell(Event::Configure(new.clone()));
    let [ToAcd::Enqueue(caller)] = &acd(&told)[..] else { panic!("the line is told at once: {told:?}") };
    assert_eq!((caller.call, caller.queue), (call, QueueId(1)));
    let (_, out) = restored(&world, &[CITIZEN], settings());
    let [ToAcd::Adopt { live, .. }] = &acd(&out)[..] else { panic!("the ACD is told: {out:?}") };
    assert_eq!(live[0].caller.queue, QueueId(0), "under the settings of the restored shard");
}

#[test]
fn hold_gives_music_and_resume_joins_again() {
    let mut world = World::new();
    let (_, leg) = world.talking();
    let held = world.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(HOLDING)) });
    assert!(matches!(sip(&held)[..], [Sip::AnswerReoffer { answer: Ok(_), .. }]));
    assert!(media(&held).contains(&&Media::Unbridge { leg: CITIZEN }));
    assert!(media(&held).iter().any(|action| matches!(action, Media::Play { leg: CITIZEN, repeat: true, .. })));
    let again = world.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(HOLDING)) });
    assert!(media(&again).is_empty(), "holding twice changes nothing: {again:?}");
    let resumed = world.sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(PHONE)) });
    assert!(media(&resumed).contains(&&Media::Bridge { a: CITIZEN, b: leg }));
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut world = World::new();
    let arrived = world.incoming(CITIZEN, "12345", None);
    assert!(matches!(sip(&arrived)[..], [Sip::Respond { status: 200, sdp: Some(_), .. }]));
    assert!(!media(&arrived).iter().any(|action| matches!(action, Media::Connect { .. })));
    let answered = world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: Some(Bytes::from_static(PHONE)) });
    assert!(matches!(media(&answered)[..], [Media::Connect { .. }, Media::Play { .. }]), "{answered:?}");
}

#[test]
fn what_cannot_be_served_is_refused_in_words() {
    let mut world = World::new();
    let unknown = world.incoming(CITIZEN, "12346", Some(OFFER));
    assert!(matches!(sip(&unknown)[..], [Sip::Respond { status: 404, q850: Some(1), .. }]));
    let video = world.incoming(CITIZEN, "12345", Some(VIDEO));
    assert!(matches!(sip(&video)[..], [Sip::Respond { status: 488, .. }]), "{video:?}");
    world.runs_out(&[CITIZEN]);
    for count in 10..12 {
        world.incoming(LegId::incoming(ShardId(0), count), "12345", Some(OFFER));
    }
    let full = world.incoming(CITIZEN, "12345", Some(OFFER));
    assert!(matches!(sip(&full)[..], [Sip::Respond { status: 503, retry_after_s: None, .. }]));
    assert_eq!(ended(&full), (Stage::Offered, EndedBy::Refused, 503));
    world.tell(Event::Drain { retry_after_s: 30 });
    let draining = world.incoming(CITIZEN, "12345", Some(OFFER));
    assert!(matches!(sip(&draining)[..], [Sip::Respond { status: 503, retry_after_s: Some(30), .. }]));
}

#[test]
fn released_callers_hear_why_and_operators_may_end_a_call() {
    let mut world = World::new();
    let call = world.queued();
    let released = world.tell(Event::Acd(Acd::Released { call, why: Released::WaitedTooLong }));
    assert_eq!(media(&released), [&Media::Play { leg: CITIZEN, play: 3, prompts: vec![APOLOGY], repeat: false }]);
    let over = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 3 }));
    assert_eq!(ended(&over), (Stage::Queued, EndedBy::Flow, 200));

    let mut world = World::new();
    let (call, leg) = world.talking();
    let over = world.tell(Event::HangUp { call });
    assert_eq!(ended(&over), (Stage::Talking, EndedBy::Operator, 200));
    assert!(world.tell(Event::HangUp { call }).is_empty(), "a second end changes nothing");
    world.runs_out(&[CITIZEN, leg]);
}

#[test]
fn waiting_callers_name_themselves_again() {
    let mut world = World::new();
    world.queued();
    let again = world.pass(Duration::from_secs(31));
    assert!(matches!(acd(&again)[..], [ToAcd::Enqueue(_)]), "{again:?}");
}

/// Every notice that there is, in a random order, with stale legs, leases and calls: invariants hold, and once the
/// citizen is gone and time has passed nothing is left.
#[test]
fn no_order_of_events_strands_a_call() {
    for seed in 0..400 {
        let mut dice = Mint::new(9, [seed, 77]);
        let mut world = World::new();
        let arrived = world.incoming(CITIZEN, "12345", Some(OFFER));
        let call = views(&arrived)[0].call;
        for _ in 0..60 {
            let leg = if dice.random() & 1 == 0 { CITIZEN } else { LegId::outgoing(ShardId(0), 1 + dice.random() % 3) };
            let lease = Lease { number: 1 + dice.random() % 3, ..LEASE };
            let event = random_event(&mut dice, world.now, call, leg, lease);
            world.tell(event);
            world.pass(Duration::from_millis(dice.random() % 20_000));
        }
        world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
        world.pass(Duration::from_secs(71));
        let counts = world.calls.counts();
        assert_eq!((counts.calls, counts.legs, counts.timers), (0, 0, 0), "seed {seed}");
    }
}

fn random_event(dice: &mut Mint, now: Now, call: CallId, leg: LegId, lease: Lease) -> Event {
    let status = [408, 480, 486, 487, 500, 603][(dice.random() % 6) as usize];
    let why = [Ending::Cancel, Ending::NoAck, Ending::Lost, Ending::Ours][(dice.random() % 4) as usize];
    let outgoing = leg != CITIZEN;
    match dice.random() % 16 {
        0 => Event::Sip(Notice::Acknowledged { leg, sdp: None }),
        1 => Event::Media(Heard::Digit { leg, digit: b'0' }),
        2 | 3 => Event::Media(Heard::Played { leg, play: 1 + (dice.random() % 4) as u32 }),
        4..=6 => Event::Acd(Acd::Offer { call, lease, ring_until: now.mono + Duration::from_secs(20) }),
        7 => Event::Acd(Acd::Revoke { call, lease }),
        8 => Event::Acd(Acd::Released { call, why: Released::Full }),
        9 => Event::Sip(Notice::Ringing { leg, sdp: None }),
        10 | 11 if outgoing => Event::Sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) }),
        12 if outgoing => Event::Sip(Notice::Failed { leg, status, q850: None }),
        13 => Event::Sip(Notice::Reoffered { leg, sdp: Some(Bytes::from_static(HOLDING)) }),
        14 if outgoing => Event::Sip(Notice::Ended { leg, why }),
        15 => Event::PortRefused { leg },
        _ => Event::Media(Heard::Quiet { leg, silent: Duration::from_secs(40) }),
    }
}

#[test]
fn a_digit_counts_once_however_it_comes() {
    let keypad = |world: &mut World, by_info: bool, digit| {
        let event = if by_info {
            Event::Sip(Notice::Digit { leg: CITIZEN, digit })
        } else {
            Event::Media(Heard::Digit { leg: CITIZEN, digit })
        };
        world.tell(event)
    };
    for first in [true, false] {
        let mut world = World::new();
        world.incoming(CITIZEN, "12345", Some(OFFER));
        world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
        assert!(keypad(&mut world, first, b'5').iter().all(|it| !matches!(it, Command::Acd { .. })));
        // The other way is the same key again.
        assert!(keypad(&mut world, !first, b'0').is_empty());
        let out = keypad(&mut world, first, b'0');
        assert!(acd(&out).iter().any(|event| matches!(event, ToAcd::Enqueue(_))), "0 reaches a human: {out:?}");
    }
}

#[test]
fn an_agent_goes_on_at_another_phone() {
    let replacing = |leg, offer: Option<&'static [u8]>, old| {
        let about = About { replaces: Some(old), ..About::default() };
        Event::Sip(Notice::Incoming(Box::new(Incoming {
            leg,
            source: Source::Phone { user: "1001".into(), domain: "fuzhou.example".into() },
            call_id: "call-2".into(),
            dialled: "12345".into(),
            caller: "1001".into(),
            caller_name: Bytes::new(),
            sdp: offer.map(Bytes::from_static),
            flow: Flow { listener: 0, connection: 0, peer: "192.0.2.10:5060".parse().unwrap() },
            about,
        })))
    };
    let status_of = |out: &[Command]| match sip(out)[..] {
        [Sip::Respond { status, .. }, ..] => *status,
        _ => panic!("{out:?}"),
    };
    let new = LegId::incoming(ShardId(0), 9);
    let mut world = World::new();
    let (_, old) = world.talking();
    // Neither the citizen's leg, nor with what cannot be spoken, nor without a port.
    assert_eq!(status_of(&world.tell(replacing(new, Some(PHONE), CITIZEN))), 603);
    assert_eq!(status_of(&world.tell(replacing(LegId::incoming(ShardId(0), 7), Some(VIDEO), old))), 488);
    assert_eq!(
        status_of(&world.tell(replacing(LegId::incoming(ShardId(0), 6), Some(VIDEO), LegId::incoming(ShardId(0), 99)))),
        481
    );
    world.ports_open = false;
    let scarce = LegId::incoming(ShardId(0), 8);
    world.tell(replacing(scarce, Some(PHONE), old));
    assert_eq!(status_of(&world.tell(Event::PortRefused { leg: scarce })), 503);
    world.ports_open = true;
    let better = LegId::incoming(ShardId(0), 10);
    let out = world.tell(replacing(better, Some(PHONE), old));
    assert_eq!(status_of(&out), 200);
    assert!(media(&out).contains(&&Media::Bridge { a: CITIZEN, b: better }), "{out:?}");
    assert!(sip(&out).iter().any(|it| matches!(it, Sip::HangUp { leg, .. } if *leg == old)));
    world.sip(Notice::Acknowledged { leg: better, sdp: None });
    assert!(acd(&world.sip(Notice::Ended { leg: old, why: Ending::Ours })).is_empty(), "the booking goes on");
    // Who hangs up now is the agent.
    let ended = world.sip(Notice::Ended { leg: better, why: Ending::Bye { q850: None } });
    assert!(acd(&ended).iter().any(|event| matches!(event, ToAcd::Ended { lease: LEASE })));
    let others = [7, 8, 9].map(|number| LegId::incoming(ShardId(0), number));
    world.runs_out(&[&[CITIZEN][..], &others].concat());
}

#[test]
fn a_session_is_refreshed_with_what_was_said_and_a_refer_to_a_stranger_is_refused() {
    let mut world = World::new();
    let (_, leg) = world.talking();
    for leg in [CITIZEN, leg] {
        let out = world.sip(Notice::Refresh { leg });
        assert!(matches!(sip(&out)[..], [Sip::Reinvite { .. }]), "{out:?}");
    }
    let (to, number) = ("sip:1002@fuzhou.example".into(), "1002".into());
    let asked = Referred { leg, refer: 7, to, number, replaces: None, attended: false, by: None };
    let out = world.sip(Notice::Referred(Box::new(asked)));
    assert!(matches!(sip(&out)[..], [Sip::RefuseRefer { refer: 7, status: 603, .. }]));
}
