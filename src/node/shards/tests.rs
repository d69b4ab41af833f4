//! Panics in a shard's steps, and calls taken up by another process. A poisoned flow names a queue that is not there, so that whoever comes to it panics.

use super::super::restore::{Restored, restore};
use super::super::standing::{Before, Keeper};
use super::*;
use crate::base::ContactId;
use crate::base::fact::{End, EndedBy, Fact};
use crate::base::number::Number;
use crate::base::{Mono, PromptId, QueueId, SiteId, Wall};
use crate::call::event::{QueueVoice, Settings as CallSettings, SiteSettings};
use crate::ivr::draft::Names;
use crate::ivr::{Draft, Entry, Numbers};
use crate::shard::Standing;
use crate::sip::event::{ListenerSettings, Settings as SipSettings, TrunkSettings};
use bytes::Bytes;
use std::net::SocketAddr;

const CARRIER: &str = "192.0.2.1:5060";
const GOOD: &str = "12345";
const POISONED: &str = "12346";

fn entry(number: &str, queue: QueueId) -> Entry {
    let flow: Draft = toml::from_str("start = \"human\"\nhuman = \"human\"\n[queue.human]\nqueue = \"0\"\n").unwrap();
    let names = Names { prompt: &|_| None, queue: &|_| Some(queue) };
    Entry {
        number: Number::parse(number, "").unwrap(),
        site: SiteId(0),
        flow: Arc::new(flow.compile("direct", names).unwrap()),
        greeting: Some(PromptId(0)),
        notice: None,
        transitions: Vec::new(),
        category: "".into(),
        priority: 0,
    }
}

fn call_settings() -> Arc<CallSettings> {
    let mut numbers = Numbers::default();
    numbers.insert(entry(GOOD, QueueId(0)), "591");
    numbers.insert(entry(POISONED, QueueId(9)), "591");
    let (music, apology) = (PromptId(1), PromptId(2));
    let queue = QueueVoice {
        name: "general".into(),
        announcement: None,
        music,
        apology,
        auto_answer: false,
        preferred: None,
        after: None,
        hold_recall: Duration::from_secs(60),
        park_recall: Duration::from_secs(90),
        comfort: None,
        callback: None,
        elsewhere: Vec::new(),
        incidents: Vec::new(),
    };
    let (code, domain, area_code) = ("fuzhou".into(), "fuzhou.example".into(), "591".into());
    let site = SiteSettings {
        code,
        domain,
        area_code,
        queues: vec![queue],
        pauses: Vec::new(),
        keys: None,
        seats: Default::default(),
    };
    Arc::new(CallSettings { sites: vec![site], numbers, calls_max: 100, ..CallSettings::default() })
}

fn sip_settings() -> Arc<SipSettings> {
    let sources = vec![(CARRIER.parse::<SocketAddr>().unwrap().ip(), 32)];
    Arc::new(SipSettings {
        listeners: vec![ListenerSettings::udp("192.0.2.100:5060".parse().unwrap())],
        trunks: vec![TrunkSettings {
            name: "carrier".into(),
            sources,
            trusts_identity: true,
            ..TrunkSettings::default()
        }],
        ..SipSettings::default()
    })
}

struct World {
    shard: Shard,
    now: Now,
}

/// What a citizen has to know of the call.
struct Citizen {
    call_id: String,
    dialled: &'static str,
    leg: LegId,
    tag: String,
}

impl World {
    fn new() -> World {
        let shard = Shard::new(ShardId(0), 0, [1, 2], sip_settings(), call_settings());
        World { shard, now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) } }
    }

    /// As the task takes a step, ports bound in the same pass.
    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.now = self.now.after(Duration::from_millis(10));
        let now = self.now;
        let (mut out, mut done) = (Vec::new(), Vec::new());
        take_step(&mut self.shard, 77, now, &mut out, |shard, out| shard.handle(now, event, out));
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                if let Effect::OpenPort { leg, .. } = &effect {
                    let event = ToCalls::PortOpened { leg: *leg, local: "192.0.2.100:10000".parse().unwrap() };
                    take_step(&mut self.shard, 77, now, &mut out, |shard, out| {
                        shard.handle(now, Event::Call(event), out);
                    });
                }
                done.push(effect);
            }
        }
        self.shard.check();
        done
    }

    fn receive(&mut self, text: String) -> Vec<Effect> {
        let flow = Flow { listener: 0, connection: 0, peer: CARRIER.parse().unwrap() };
        self.step(Event::Received { flow, bytes: Bytes::from(text) })
    }

    /// A citizen who hears the greeting.
    fn call(&mut self, number: usize, dialled: &'static str) -> Citizen {
        let call_id = format!("call-{number}");
        let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
        let out = self.receive(request("INVITE", dialled, &call_id, "", 1, sdp));
        let leg = out.iter().find_map(|it| if let Effect::OpenPort { leg, .. } = it { Some(*leg) } else { None });
        let answer = sent(&out).into_iter().find(|text| text.starts_with("SIP/2.0 200")).expect("answered");
        let to = answer.lines().find_map(|line| line.strip_prefix("To:")).expect("a To");
        let tag = format!(";tag={}", to.split(";tag=").nth(1).expect("a tag").trim());
        self.receive(request("ACK", dialled, &call_id, &tag, 1, ""));
        Citizen { call_id, dialled, leg: leg.expect("a port was asked for"), tag }
    }

    /// The greeting is over: on to the queue.
    fn greeted(&mut self, citizen: &Citizen) -> Vec<Effect> {
        self.step(Event::Call(ToCalls::Media(Notice::Played { leg: citizen.leg, play: 1 })))
    }

    fn hangs_up(&mut self, citizen: &Citizen) -> Vec<Effect> {
        self.receive(request("BYE", citizen.dialled, &citizen.call_id, &citizen.tag, 2, ""))
    }
}

fn request(method: &str, dialled: &str, call_id: &str, tag: &str, cseq: u32, sdp: &str) -> String {
    format!(
        "{method} sip:{dialled}@192.0.2.100 SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch=z9hG4bK{method}{call_id}\r\n\
         From: <sip:13800138000@192.0.2.1>;tag=a{call_id}\r\nTo: <sip:{dialled}@192.0.2.100>{tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:{CARRIER}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

fn sent(out: &[Effect]) -> Vec<String> {
    let text = |it: &Effect| match it {
        Effect::Send { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    out.iter().filter_map(text).collect()
}

fn end(out: &[Effect]) -> Option<End> {
    out.iter().find_map(|it| match it {
        Effect::Fact { fact: Fact::Call(record), .. } => record.end,
        _ => None,
    })
}

fn queued(out: &[Effect]) -> bool {
    out.iter().any(|it| matches!(it, Effect::Acd { event: crate::acd::event::Event::Enqueue(_), .. }))
}

#[test]
fn a_panic_in_a_call_ends_that_call_and_no_other() {
    let mut world = World::new();
    let (before, poisoned, after) = (world.call(1, GOOD), world.call(2, POISONED), world.call(3, GOOD));
    assert!(queued(&world.greeted(&before)));
    let out = world.greeted(&poisoned);
    assert_eq!(end(&out).map(|end| end.by), Some(EndedBy::Fault));
    assert!(sent(&out).iter().any(|text| text.starts_with("BYE ") && text.contains(&poisoned.call_id)), "{out:?}");
    let closed = |it: &Effect| matches!(it, Effect::Media(Action::Close { leg }) if *leg == poisoned.leg);
    assert!(out.iter().any(closed));
    assert!(out.iter().any(|it| matches!(it, Effect::Show(view) if view.stage.is_none())), "nobody sees it any more");
    let counts = world.shard.counts().calls;
    assert_eq!((counts.calls, counts.live, counts.legs, counts.broken), (3, 2, 3, 1), "its media are still to close");
    let counters = crate::media::event::Counters::default();
    world.step(Event::Call(ToCalls::Media(Notice::Closed { leg: poisoned.leg, counters })));
    let counts = world.shard.counts().calls;
    assert_eq!((counts.calls, counts.live, counts.legs, counts.broken), (2, 2, 2, 1));
    assert!(queued(&world.greeted(&after)));
    for citizen in [before, after] {
        assert_eq!(end(&world.hangs_up(&citizen)).map(|end| end.by), Some(EndedBy::Caller));
    }
}

#[test]
fn a_panic_while_timers_run_out_keeps_the_timers_of_all_others() {
    let mut world = World::new();
    let (poisoned, good) = (world.call(1, POISONED), world.call(2, GOOD));
    // No end of the greeting is told: after five minutes the flow goes on by itself.
    world.now = world.now.after(Duration::from_secs(301));
    let (now, mut out) = (world.now, Vec::new());
    take_step(&mut world.shard, 77, now, &mut out, |shard, out| shard.expire(now, out));
    world.shard.check();
    assert_eq!(end(&out).map(|end| end.by), Some(EndedBy::Fault));
    let now = now.after(Duration::from_millis(1));
    take_step(&mut world.shard, 77, now, &mut out, |shard, out| shard.expire(now, out));
    assert!(queued(&out), "the other call's deadline was not lost: {out:?}");
    assert!(world.shard.next_deadline().is_some());
    assert!(world.hangs_up(&poisoned).iter().all(|it| end(std::slice::from_ref(it)).is_none()), "told once");
    assert_eq!(end(&world.hangs_up(&good)).map(|end| end.by), Some(EndedBy::Caller));
}

#[test]
fn a_step_that_panics_before_it_began_changes_nothing() {
    let mut world = World::new();
    let citizen = world.call(1, GOOD);
    super::super::guard::poison::put("shard", 77);
    assert!(world.greeted(&citizen).is_empty());
    assert!(queued(&world.greeted(&citizen)));
}

#[test]
fn a_wall_clock_that_jumps_moves_no_timer_and_ends_no_call() {
    for jump_ms in [-3_600_000, 3_600_000] {
        let mut world = World::new();
        let citizen = world.call(1, GOOD);
        let deadline = world.shard.next_deadline();
        world.now.wall.0 += jump_ms;
        let (now, mut out) = (world.now, Vec::new());
        take_step(&mut world.shard, 77, now, &mut out, |shard, out| shard.expire(now, out));
        assert!(out.is_empty(), "{out:?}");
        assert_eq!(world.shard.next_deadline(), deadline);
        assert!(queued(&world.greeted(&citizen)));
        world.now = world.now.after(Duration::from_secs(31));
        let (now, mut out) = (world.now, Vec::new());
        take_step(&mut world.shard, 77, now, &mut out, |shard, out| shard.expire(now, out));
        assert!(queued(&out), "the line is told again, 30 s later by the clock that does not jump");
        assert_eq!(end(&world.hangs_up(&citizen)).map(|end| end.by), Some(EndedBy::Caller));
    }
}

#[test]
fn a_user_agent_made_anew_keeps_its_dialogs() {
    let mut world = World::new();
    let citizen = world.call(1, GOOD);
    let (now, mut out) = (world.now, Vec::new());
    world.shard.rebuild_ua(now, &mut out);
    world.shard.check();
    assert!(end(&out).is_none());
    let out = world.hangs_up(&citizen);
    assert_eq!(end(&out).map(|end| end.by), Some(EndedBy::Caller));
    assert!(sent(&out).iter().any(|text| text.starts_with("SIP/2.0 200")));
}

#[test]
fn the_loss_of_its_media_ends_a_call_in_words() {
    let mut world = World::new();
    let citizen = world.call(1, GOOD);
    let closed = Notice::Closed { leg: citizen.leg, counters: crate::media::event::Counters::default() };
    let out = world.step(Event::Call(ToCalls::Media(closed)));
    assert_eq!(end(&out).map(|end| end.by), Some(EndedBy::Fault));
    assert!(sent(&out).iter().any(|text| text.starts_with("BYE ")));
}

/// Two callers, one in the queue and one in the flow, as another process finds them.
fn two_kept() -> (World, [Citizen; 2], Vec<u8>) {
    let mut world = World::new();
    world.shard.keep_changes();
    let callers = [1, 2].map(|number| world.call(number, GOOD));
    world.greeted(&callers[0]);
    let mut frames = Vec::new();
    for call in world.shard.take_changed() {
        put_call(&mut frames, call, world.shard.standing(call).as_ref());
    }
    assert!(!world.shard.has_changed());
    (world, callers, frames)
}

fn found(frames: &[u8]) -> Before {
    let folder = tempfile::tempdir().unwrap();
    crate::store::standing::Standing::open(folder.path()).unwrap().0.write(frames).unwrap();
    let (file, records) = crate::store::standing::Standing::open(folder.path()).unwrap();
    Before::of(file.epoch(), records)
}

fn taken_up(before: Before, ended: &[ContactId], calls: Arc<CallSettings>, now: Now) -> Restored {
    let ended = ended.iter().copied().collect();
    restore(before, &ended, (&Setup::of(sip_settings(), calls), 1), [5, 6], now)
}

fn heard(out: &[Effect], leg: LegId) -> (bool, bool, Option<(Vec<PromptId>, bool)>) {
    let reopened = out.iter().any(|it| matches!(it, Effect::Media(Action::Reopen { leg: of, .. }) if *of == leg));
    let recorded = out.iter().any(|it| matches!(it, Effect::Media(Action::Record { citizen, .. }) if *citizen == leg));
    let played = out.iter().find_map(|it| match it {
        Effect::Media(Action::Play { leg: of, prompts, repeat, .. }) if *of == leg => Some((prompts.clone(), *repeat)),
        _ => None,
    });
    (reopened, recorded, played)
}

#[test]
fn calls_of_a_process_that_died_go_on() {
    let (world, callers, mut frames) = two_kept();
    crate::store::standing::append(&mut frames, 1 << 120 | 77, b"nobody can read this");
    let before = found(&frames);
    assert_eq!((before.epoch, before.calls.len(), before.unreadable.len()), (2, 2, 1));
    // The first step of restoring panics: then each call is tried alone.
    super::super::guard::poison::put("shard, restored", 0);
    let mut restored = taken_up(before, &[], call_settings(), world.now);
    assert_eq!((restored.contacts.len(), restored.recordings.len()), (2, 2));
    let (shard, out) = &mut restored.shards[0];
    let ports: Vec<LegId> =
        out.iter().filter_map(|it| if let Effect::ReopenPort { leg, .. } = it { Some(*leg) } else { None }).collect();
    assert_eq!(ports, [callers[0].leg, callers[1].leg]);
    assert_eq!(heard(out, callers[0].leg), (true, true, Some((vec![PromptId(1)], true))), "music");
    assert_eq!(heard(out, callers[1].leg), (true, true, Some((vec![PromptId(0)], false))), "the greeting again");
    assert_eq!(shard.take_changed().len(), 2, "they are kept anew");
    let gone = found(&[frames, restored.gone].concat());
    assert_eq!((gone.calls.len(), gone.unreadable.len()), (2, 0));
    assert_eq!(restored.acds[0].0.counts().callers, 0, "this site has no queue: the caller will hear so");
    let shard = restored.shards.remove(0).0;
    let mut world = World { shard, now: world.now };
    let out = world.hangs_up(&callers[1]);
    assert!(sent(&out)[0].starts_with("SIP/2.0 200"), "{:?}", sent(&out));
    assert!(end(&out).is_some_and(|end| end.by == EndedBy::Caller));
}

#[test]
fn a_call_that_cannot_go_on_is_hung_up_alone() {
    let (world, callers, frames) = two_kept();
    let contacts: Vec<ContactId> = found(&frames).calls.iter().map(Standing::contact).collect();
    let restored = taken_up(found(&frames), &contacts[..1], call_settings(), world.now);
    assert_eq!(restored.contacts.iter().collect::<Vec<_>>(), [&contacts[1]], "the end of the first was told");
    let byes = |restored: &Restored| {
        let sent = sent(&restored.shards[0].1).into_iter().filter(|text| text.starts_with("BYE "));
        sent.filter_map(|text| Some(text.split("Call-ID: ").nth(1)?.lines().next()?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(byes(&restored), [callers[0].call_id.clone()]);
    assert_eq!(found(&[frames.clone(), restored.gone].concat()).calls.len(), 1);

    let nowhere = CallSettings { numbers: Numbers::default(), ..(*call_settings()).clone() };
    let restored = taken_up(found(&frames), &[], Arc::new(nowhere), world.now);
    assert_eq!((restored.contacts.len(), restored.recordings.len()), (0, 0), "their number is not ours any more");
    assert_eq!(byes(&restored), callers.map(|citizen| citizen.call_id));
    assert_eq!(found(&[frames, restored.gone].concat()).calls.len(), 0);
}

#[test]
fn calls_that_kill_one_process_after_another_are_not_taken_up() {
    let (world, _, frames) = two_kept();
    let folder = tempfile::tempdir().unwrap();
    crate::store::standing::Standing::open(folder.path()).unwrap().0.write(&frames).unwrap();
    let starts = (0..4).map(|_| {
        let (keeper, before) = Keeper::start(folder.path()).unwrap();
        // As dead as after a crash: it never hears that the node stops.
        std::mem::forget(keeper);
        taken_up(before, &[], call_settings(), world.now).contacts.len()
    });
    assert_eq!(starts.collect::<Vec<_>>(), [2, 2, 2, 0]);
}

/// Records have no field names: what a version wrote must be read by that version as it was.
#[test]
fn a_change_of_what_is_kept_raises_its_version() {
    const WRITTEN: &[u8] = include_bytes!("standing-12.bin");
    let before = found(WRITTEN);
    assert_eq!((before.calls.len(), before.unreadable.len()), (2, 0), "raise VERSION of `Standing`");
    let mut again = Vec::new();
    before.calls.iter().for_each(|call| put_call(&mut again, call.id(), Some(call)));
    assert!(again == WRITTEN, "the shape of `Standing` changed: raise its VERSION and write the example anew");
    assert_eq!(taken_up(before, &[], call_settings(), World::new().now).contacts.len(), 2);
}
