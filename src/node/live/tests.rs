//! The read model under calls, states and reloads.

use super::*;
use crate::acd::event::{AgentSettings, NoAgents, QueueSettings};
use crate::base::{ShardId, SkillId};
use crate::call::event::{AgentIdentity, SiteSettings};
use std::time::Duration;

const FZ: SiteId = SiteId(0);
const LY: SiteId = SiteId(1);
const GENERAL: QueueId = QueueId(0);
const EXPERTS: QueueId = QueueId(1);

fn queue(name: &str, skill: u8, level: u8) -> QueueSettings {
    QueueSettings {
        name: name.into(),
        skills: vec![(SkillId(skill), level)],
        priority: 0,
        ageing: Duration::from_secs(1),
        ring_max: Duration::from_secs(20),
        misses_max: 1,
        wrap_up: Duration::ZERO,
        wait_max: None,
        waiting_max: 100,
        no_agents: NoAgents::Wait,
        routing: Default::default(),
    }
}

fn configure(agents: &[(SiteId, &str)]) -> Delta {
    let site = |code: &str| SiteSettings {
        code: code.into(),
        domain: "".into(),
        area_code: "".into(),
        queues: vec![],
        pauses: Vec::new(),
        keys: None,
        seats: Default::default(),
    };
    let identity = |(site, name): &(SiteId, &str)| {
        Some(AgentIdentity { site: *site, name: (*name).into(), phone: (*name).into(), team: "".into() })
    };
    let calls = CallSettings {
        sites: vec![site("fz"), site("ly")],
        agents: agents.iter().map(identity).collect(),
        ..CallSettings::default()
    };
    let of = |site| {
        let ids = (0u32..).map(AgentId).zip(agents).filter(move |(_, (of, _))| *of == site);
        ids.map(|(agent, _)| AgentSettings { agent, skills: vec![(SkillId(0), 5)] }).collect()
    };
    let queues = vec![queue("general", 0, 1), queue("experts", 0, 9)];
    let acd =
        [FZ, LY].map(|site| Arc::new(AcdSettings { site, queues: queues.clone(), agents: of(site), utc_offset_s: 0 }));
    Delta::Configure { calls: Arc::new(calls), acd: acd.into() }
}

fn live() -> Live {
    let live = Live::new(Wall(1_000));
    live.apply(Wall(1_000), [configure(&[(FZ, "1001"), (FZ, "1002"), (LY, "1001")])]);
    live
}

pub(in crate::node) fn view(slot: u32, stage: Option<Stage>, since: i64) -> CallView {
    CallView {
        call: CallId { shard: ShardId(0), slot, generation: 1 },
        contact: ContactId(u128::from(slot)),
        site: FZ,
        direction: crate::base::fact::Direction::Inbound,
        caller: "+8613800138000".into(),
        dialled: "12345".into(),
        stage,
        since: Wall(since),
        offered: Wall(2_000),
        queue: Some(GENERAL),
        agents: Vec::new(),
        transfer: None,
        hold: None,
        parked: None,
        supervision: None,
    }
}

fn call(slot: u32, stage: Stage, since: i64) -> Delta {
    Delta::Call(view(slot, Some(stage), since))
}

fn state(agent: u32, from: AgentState, to: AgentState) -> Delta {
    Delta::Agent(AgentChange { agent: AgentId(agent), from, to, contact: None, by: None })
}

fn line(live: &Live, id: QueueId) -> Queue {
    let rows = live.snapshot(Some(FZ)).objects;
    let row = rows.iter().find_map(|change| match &change.object {
        Object::Queue(queue) if queue.id == id => Some(queue.clone()),
        _ => None,
    });
    row.expect("the queue is configured")
}

/// One caller's wait.
fn after_ms(ms: u64) -> Histogram {
    let mut wait = Histogram::default();
    wait.count(&sound::WAIT, ms * 1_000);
    wait
}

#[test]
fn queues_count_the_waiting_the_talking_and_the_ready() {
    let live = live();
    live.apply(Wall(3_000), [call(1, Stage::Queued, 3_000), call(2, Stage::Queued, 3_500)]);
    live.apply(Wall(3_000), [state(0, AgentState::Offline, AgentState::Ready)]);
    let general = line(&live, GENERAL);
    assert_eq!((general.waiting, general.longest_since, general.talking, general.ready), (2, Some(Wall(3_000)), 0, 1));
    assert_eq!(line(&live, EXPERTS).ready, 0, "level 5 does not reach 9");

    live.apply(Wall(4_000), [state(0, AgentState::Ready, AgentState::Offered), call(1, Stage::Ringing, 4_000)]);
    let general = line(&live, GENERAL);
    assert_eq!((general.waiting, general.longest_since, general.ready), (2, Some(Wall(3_000)), 0));

    live.apply(Wall(5_000), [call(1, Stage::Talking, 5_000)]);
    let general = line(&live, GENERAL);
    assert_eq!((general.waiting, general.longest_since, general.talking), (1, Some(Wall(3_500)), 1));

    live.apply(Wall(6_000), [Delta::Call(view(1, None, 6_000)), Delta::Call(view(2, None, 6_000))]);
    let general = line(&live, GENERAL);
    assert_eq!((general.waiting, general.longest_since, general.talking), (0, None, 0));
    assert_eq!(live.call(ContactId(1)), None);
    let became = |id| live.queues().into_iter().find_map(|(queue, totals)| (queue.id == id).then_some(totals));
    let (answered_after, abandoned_after) = (after_ms(2_000), after_ms(2_500));
    assert_eq!(became(GENERAL), Some(Totals { answered: 1, abandoned: 1, answered_after, abandoned_after }));
    assert_eq!(became(EXPERTS), Some(Totals::default()));
}

#[test]
fn who_comes_back_to_the_line_is_answered_once_and_has_not_given_up() {
    let live = live();
    let steps = [(Stage::Talking, 1_000), (Stage::Queued, 2_000), (Stage::Talking, 3_000), (Stage::Queued, 4_000)];
    live.apply(Wall(4_000), steps.map(|(stage, since)| call(1, stage, since)));
    live.apply(Wall(5_000), [Delta::Call(view(1, None, 5_000))]);
    let (_, totals) = live.queues().into_iter().find(|(queue, _)| queue.id == GENERAL).unwrap();
    assert_eq!(totals, Totals { answered: 1, answered_after: after_ms(0), ..Totals::default() });
}

#[test]
fn a_ringing_in_vain_does_not_reset_the_wait() {
    let live = live();
    let steps = [(Stage::Queued, 3_000), (Stage::Ringing, 4_000), (Stage::Queued, 24_000)];
    live.apply(Wall(24_000), steps.map(|(stage, since)| call(1, stage, since)));
    assert_eq!(live.call(ContactId(1)).unwrap().waiting_since, Some(Wall(3_000)));
    assert_eq!(line(&live, GENERAL).longest_since, Some(Wall(3_000)));
}

#[test]
fn a_slow_reader_finds_each_object_once_and_as_it_is_now() {
    let live = live();
    let since = live.snapshot(None).seq;
    for count in 0..10_000 {
        live.apply(Wall(count), [call(1, Stage::Queued, count), call(2, Stage::Ivr, count)]);
    }
    let changes = live.since(since, usize::MAX).unwrap();
    assert_eq!(changes.len(), 3, "two calls and their queue: {changes:?}");
    assert!(changes.is_sorted_by_key(|change| change.seq));
    assert_eq!(live.since(live.snapshot(None).seq, 10), Ok(vec![]));
}

#[test]
fn reading_goes_on_where_it_stopped() {
    let live = live();
    let snapshot = live.snapshot(None);
    live.apply(Wall(0), (0..100).map(|slot| call(slot, Stage::Ivr, 0)));
    let (mut since, mut seen) = (snapshot.seq, 0);
    loop {
        let changes = live.since(since, 7).unwrap();
        let Some(last) = changes.last() else { break };
        (since, seen) = (last.seq, seen + changes.len());
    }
    assert_eq!(seen, 100);
}

#[test]
fn ends_are_told_until_too_many_are_gone() {
    let live = live();
    let since = live.snapshot(None).seq;
    let ends = u32::try_from(GONE_MAX).unwrap();
    let ended = |slot| [call(slot, Stage::Ivr, 0), Delta::Call(view(slot, None, 1))];
    live.apply(Wall(0), (0..ends).flat_map(ended));
    assert_eq!(live.since(since, usize::MAX).unwrap().iter().filter(|change| change.gone).count(), GONE_MAX);
    live.apply(Wall(0), ended(ends));
    assert_eq!(live.since(since, 1), Err(Resync));
    let board = live.board();
    assert!(board.order.len() <= GONE_MAX + board.alive.len());
    assert!(board.contacts.is_empty());
}

#[test]
fn a_seq_of_another_life_is_answered_with_a_resync() {
    let live = live();
    let now = live.snapshot(None).seq;
    assert_eq!(live.since(now + 1, 1), Err(Resync));
    assert_eq!(live.since(0, 1), Err(Resync));
    let later = Live::new(Wall(1_001));
    assert_eq!(later.since(now, 1), Err(Resync), "a restart a millisecond later is already above");
}

#[test]
fn a_site_sees_only_its_own() {
    let live = live();
    live.apply(Wall(0), [call(1, Stage::Ivr, 0)]);
    let of = |site| live.snapshot(Some(site)).objects;
    assert!(of(LY).iter().all(|change| change.object.site() == LY));
    assert_eq!((of(FZ).len(), of(LY).len()), (5, 3));
    assert_eq!(live.agent(LY, "1001").unwrap().id, AgentId(2));
    assert_eq!(live.agent(LY, "1002"), None);
    assert_eq!((live.site("ly"), live.site("xx")), (Some(LY), None));
}

#[test]
fn a_reload_keeps_who_stays_and_tells_who_went() {
    let live = live();
    live.apply(
        Wall(0),
        [state(0, AgentState::Offline, AgentState::Ready), Delta::Phone { agent: AgentId(0), up: true }],
    );
    live.apply(Wall(0), [call(1, Stage::Queued, 7)]);
    let since = live.snapshot(None).seq;
    live.apply(Wall(9), [configure(&[(FZ, "1001"), (FZ, "1003"), (LY, "1001")])]);
    let kept = live.agent(FZ, "1001").unwrap();
    assert_eq!((kept.state, kept.phone_up), (AgentState::Ready, true));
    assert_eq!((live.agent(FZ, "1002"), live.agent(FZ, "1003").unwrap().id), (None, AgentId(1)));
    let told: Vec<_> = live.since(since, 99).unwrap();
    assert_eq!(told.iter().map(|change| change.gone).collect::<Vec<_>>(), [true, false], "{told:?}");
    assert_eq!((line(&live, GENERAL).waiting, line(&live, GENERAL).ready), (1, 1));
}

#[test]
fn readers_are_woken_only_by_changes() {
    let live = live();
    let mut watch = live.watch();
    watch.borrow_and_update();
    live.apply(Wall(0), [Delta::Phone { agent: AgentId(0), up: false }, Delta::Call(view(9, None, 0))]);
    assert!(!watch.has_changed().unwrap());
    live.apply(Wall(0), [Delta::Phone { agent: AgentId(0), up: true }]);
    assert!(watch.has_changed().unwrap());
}
