//! Ways out of the line that are no queue: call-backs, announcements, targets outside.

use super::*;
use crate::acd::event::Patience;
use crate::base::fact::{CallbackRecord, CallbackSource};
use crate::base::hours::Hours;
use crate::base::{ContactId, TrunkId};
use crate::call::event::{CallbackVoice, Elsewhere};
use crate::call::targets::{Target, Targets};
use crate::callback::event::{Attempt, Event as Callback, Step};
use crate::trunk::dialling::{Dialling, Pattern, Place, Rule};

const PROMISE: PromptId = PromptId(20);
const STORM: PromptId = PromptId(21);

/// A queue that offers call-backs on `1`, and has each way out there is.
fn house() -> Settings {
    let mut settings = (*settings()).clone();
    let queue = &mut settings.sites[0].queues[0];
    let missed_after = Some(Duration::from_secs(20));
    queue.callback = Some(CallbackVoice { key: Some(b'1'), promise: PROMISE, missed_after });
    queue.elsewhere = vec![Elsewhere::Announcement(STORM), Elsewhere::Callback, Elsewhere::Target("water".into())];
    let rule = Rule {
        site: SiteId(0),
        numbers: vec![Pattern::parse("1*").unwrap(), Pattern::parse("0591*").unwrap()],
        trunks: vec![TrunkId(0)],
        caller: Number::parse("059112345", "").unwrap(),
        emergency: false,
        drill: false,
        place: Place::default(),
    };
    settings.dialling = Arc::new(Dialling { rules: vec![rule] });
    let target = Target {
        site: SiteId(0),
        name: "water".into(),
        title: "water".into(),
        kind: crate::base::fact::TargetKind::Utility,
        drill: false,
        numbers: vec![Number::parse("059196110", "").unwrap()],
        key: None,
        ring_max: None,
        channels: None,
        together: false,
        confirm: None,
        announcement: None,
        hours: Hours::default(),
        duty: Vec::new(),
        webhook: None,
        link: false,
    };
    settings.targets = Arc::new(Targets { list: vec![target] });
    settings
}

/// A citizen in the line.
fn waiting(settings: Settings) -> (World, CallId) {
    let mut world = World::new();
    world.tell(Event::Configure(Arc::new(settings)));
    let call = views(&world.incoming(CITIZEN, "12345", Some(OFFER)))[0].call;
    world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
    let queued = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
    assert!(queued.iter().any(|it| matches!(it, Command::Acd { event: ToAcd::Enqueue(_), .. })), "{queued:?}");
    (world, call)
}

fn press(world: &mut World, digit: u8) -> Vec<Command> {
    world.tell(Event::Media(Heard::Digit { leg: CITIZEN, digit }))
}

/// The call-back that was written down, and told to those who call back.
fn promised(out: &[Command]) -> Option<CallbackRecord> {
    let fact = out.iter().find_map(|it| match it {
        Command::Fact { fact: Fact::Callback(record), .. } => Some((**record).clone()),
        _ => None,
    });
    let told = out.iter().find_map(|it| match it {
        Command::Callback(event) => match &**event {
            Callback::Asked { site: SiteId(0), record } => Some((**record).clone()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(fact, told);
    fact
}

fn played(out: &[Command]) -> Vec<PromptId> {
    let prompts = |it: &Command| match it {
        Command::Media(Media::Play { prompts, .. }) => prompts.to_vec(),
        _ => Vec::new(),
    };
    out.iter().flat_map(prompts).collect()
}

fn ended(out: &[Command]) -> Option<End> {
    out.iter().find_map(|it| match it {
        Command::Fact { fact: Fact::Call(record), .. } => record.end,
        _ => None,
    })
}

fn leaves(out: &[Command], call: CallId) -> bool {
    acd(out).into_iter().any(|event| matches!(event, ToAcd::Cancel { call: who } if *who == call))
}

fn enqueued(out: &[Command]) -> Vec<Enqueue> {
    let caller = |event: &&ToAcd| match event {
        ToAcd::Enqueue(caller) => Some(caller.clone()),
        _ => None,
    };
    acd(out).iter().filter_map(caller).collect()
}

#[test]
fn the_key_trades_the_line_for_a_call_back_at_the_same_place() {
    let (mut world, call) = waiting(house());
    world.pass(Duration::from_secs(7));
    assert_eq!(promised(&press(&mut world, b'2')), None, "no other key");
    let out = press(&mut world, b'1');
    let record = promised(&out).expect("it is written down");
    assert_eq!((&*record.number, &*record.queue, record.source), ("+8613800138000", "general", CallbackSource::Key));
    assert!(record.asked.0 - record.since.0 >= 7_000 && record.order.is_some());
    assert!(leaves(&out, call));
    assert_eq!(played(&out), [PROMISE]);
    assert_eq!(promised(&press(&mut world, b'1')), None, "once is enough");
    let play = world.plays;
    let out = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play }));
    assert_eq!(ended(&out).map(|end| (end.by, end.stage)), Some((EndedBy::Flow, Stage::Queued)));
}

#[test]
fn phones_that_ring_for_one_who_wants_a_call_back_stop() {
    let (mut world, call) = waiting(house());
    let ring_until = world.now.mono + Duration::from_secs(15);
    let out = world.tell(Event::Acd(Acd::Offer { call, lease: LEASE, ring_until }));
    assert!(out.iter().any(|it| matches!(it, Command::Sip(Sip::Invite(_)))), "{out:?}");
    let out = press(&mut world, b'1');
    assert!(promised(&out).is_some() && leaves(&out, call));
    assert!(out.iter().any(|it| matches!(it, Command::Sip(Sip::HangUp { .. }))), "the phone is let go: {out:?}");
}

#[test]
fn who_cannot_be_called_waits_on() {
    let mut closed = house();
    closed.dialling = Arc::default();
    let (mut world, call) = waiting(closed);
    let out = press(&mut world, b'1');
    assert!(promised(&out).is_none() && acd(&out).is_empty() && played(&out).is_empty(), "{out:?}");
    // The same by the queue's own way out: back into the line, for as long as it takes.
    let out = world.tell(Event::Acd(Acd::Released { call, why: Released::Diverted { queue: QueueId(0), way: 1 } }));
    let [caller] = &enqueued(&out)[..] else { panic!("{out:?}") };
    assert_eq!((caller.patience, caller.since), (Patience::Stays, caller.since));
    assert_eq!(promised(&out), None);
}

#[test]
fn the_queues_own_way_out_promises_too() {
    let (mut world, call) = waiting(house());
    let out = world.tell(Event::Acd(Acd::Released { call, why: Released::Diverted { queue: QueueId(0), way: 1 } }));
    assert_eq!(promised(&out).map(|record| record.source), Some(CallbackSource::Overflow));
    assert_eq!(played(&out), [PROMISE]);
}

#[test]
fn an_announcement_is_the_last_that_is_heard() {
    let (mut world, call) = waiting(house());
    let out = world.tell(Event::Acd(Acd::Released { call, why: Released::Diverted { queue: QueueId(0), way: 0 } }));
    assert_eq!((played(&out), promised(&out)), (vec![STORM], None));
    let (_, out) = restored(&world, &[CITIZEN], Arc::new(house()));
    assert!(ended(&out).is_none(), "a crash in the middle does not end it: {out:?}");
    let play = world.plays;
    let out = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play }));
    assert_eq!(ended(&out).map(|end| end.by), Some(EndedBy::Flow));
    // A way that a reload took away is the apology.
    let (mut world, call) = waiting(house());
    let out = world.tell(Event::Acd(Acd::Released { call, why: Released::Diverted { queue: QueueId(0), way: 9 } }));
    assert_eq!(played(&out), [APOLOGY]);
}

#[test]
fn a_target_is_dialled_for_one_whom_nobody_served_and_in_vain_brings_them_back() {
    let (mut world, call) = waiting(house());
    let out = world.tell(Event::Acd(Acd::Released { call, why: Released::Diverted { queue: QueueId(0), way: 2 } }));
    let holder = out.iter().find_map(|it| match it {
        Command::Trunk(crate::trunk::event::Event::Seize(seize)) => Some(seize.leg),
        _ => None,
    });
    let holder = holder.unwrap_or_else(|| panic!("a channel is asked for: {out:?}"));
    assert!(ended(&out).is_none() && enqueued(&out).is_empty());
    let refused = crate::trunk::event::Command::Refused { leg: holder, why: crate::trunk::event::Refused::NoRoute };
    let out = world.tell(Event::Trunk(refused));
    let [caller] = &enqueued(&out)[..] else { panic!("back in the line: {out:?}") };
    assert_eq!(caller.patience, Patience::Stays, "and not on the same way out again");
    let record = out.iter().rev().find_map(|it| match it {
        Command::Fact { fact: Fact::Call(record), .. } => Some(record.clone()),
        _ => None,
    });
    let record = record.expect("it is told");
    assert_eq!((&*record.transfers[0].target, &*record.transfers[0].agent), ("water", ""));
}

#[test]
fn who_gives_up_after_long_is_called_back_and_who_gives_up_soon_is_not() {
    for (waited, source) in [(5, None), (25, Some(CallbackSource::Missed))] {
        let (mut world, _) = waiting(house());
        world.pass(Duration::from_secs(waited));
        let out = world.sip(Notice::Ended { leg: CITIZEN, why: Ending::Bye { q850: None } });
        assert_eq!(promised(&out).map(|record| record.source), source, "after {waited} s");
        assert_eq!(ended(&out).map(|end| end.by), Some(EndedBy::Caller));
    }
}

#[test]
fn whoever_comes_to_a_queue_is_told_to_those_who_would_call_them_back() {
    let came = |settings: Settings| {
        let mut world = World::new();
        world.tell(Event::Configure(Arc::new(settings)));
        world.incoming(CITIZEN, "12345", Some(OFFER));
        world.sip(Notice::Acknowledged { leg: CITIZEN, sdp: None });
        let out = world.tell(Event::Media(Heard::Played { leg: CITIZEN, play: 1 }));
        out.into_iter().any(|it| match it {
            Command::Callback(event) => match *event {
                Callback::Came { site: SiteId(0), number } => &*number == "+8613800138000",
                _ => false,
            },
            _ => false,
        })
    };
    assert!(came(house()) && !came((*settings()).clone()));
}

fn attempt(number: &str) -> Event {
    Event::CallBack(Box::new(Attempt {
        callback: crate::base::CallbackId(5),
        contact: ContactId(6),
        site: SiteId(0),
        agent: AgentId(0),
        ring_until: Mono::from_ms(16_000),
        queue: "general".into(),
        number: number.into(),
        order: None,
    }))
}

fn steps(out: &[Command]) -> Vec<Step> {
    let step = |it: &Command| match it {
        Command::Callback(event) => match &**event {
            Callback::Attempt { step, .. } => Some(step.clone()),
            _ => None,
        },
        _ => None,
    };
    out.iter().filter_map(step).collect()
}

fn desk(out: &[Command]) -> LegId {
    let invite = out.iter().find_map(|it| match it {
        Command::Sip(Sip::Invite(invite)) => Some(invite.clone()),
        _ => None,
    });
    let invite = invite.unwrap_or_else(|| panic!("the agent is rung: {out:?}"));
    assert!(invite.headers.iter().any(|(name, _)| &**name == "X-Jiesu-Callback"));
    assert!(!invite.headers.iter().any(|(name, _)| &**name == "Call-Info"), "the queue's phones do not answer alone");
    assert!(!invite.caller_name.contains("13800138000"), "the whole number is not for the desk");
    invite.leg
}

#[test]
fn an_attempt_tells_how_far_it_has_come() {
    use crate::base::fact::AttemptResult;
    let begin = || {
        let mut world = World::new();
        world.tell(Event::Configure(Arc::new(house())));
        let out = world.tell(attempt("+8613800138000"));
        assert!(acd(&out).is_empty(), "the queue has booked the agent already: {out:?}");
        let leg = desk(&out);
        (world, leg)
    };
    let (mut world, leg) = begin();
    assert_eq!(steps(&world.sip(Notice::Ringing { leg, sdp: None })), [Step::Rings]);
    let out = world.sip(Notice::Answered { leg, sdp: Bytes::from_static(PHONE) });
    assert_eq!(steps(&out), [Step::AgentThere { agent: "1001".into() }]);
    let out = world.tell(Event::GiveUp { contact: ContactId(6) });
    assert_eq!(steps(&out), [Step::Over(AttemptResult::AgentGone)]);

    for (status, why) in [(486, Declined::Rejected), (480, Declined::NoAnswer), (503, Declined::Unreachable)] {
        let (mut world, leg) = begin();
        let out = world.sip(Notice::Failed { leg, status, q850: None });
        assert_eq!(steps(&out), [Step::AgentAway(why)], "{status}");
    }
    let (mut world, leg) = begin();
    let out = world.pass(Duration::from_secs(16));
    assert_eq!(steps(&out), [Step::AgentAway(Declined::NoAnswer)], "before the booking ends");
    assert!(steps(&world.sip(Notice::Failed { leg, status: 487, q850: None })).is_empty(), "and once");

    let mut world = World::new();
    assert_eq!(steps(&world.tell(attempt("+8613800138000"))), [Step::NotListed], "no rule names it");
}
