//! Long seeded runs: every invariant after every event, and the same decisions as the plain model.

use super::super::Acd;
use super::super::event::*;
use super::model::{Decision, Model, decisions};
use super::{call, contact, offers, queue};
use crate::base::{AgentId, CallId, Mint, Mono, Now, QueueId, SkillId, Wall};
use std::sync::Arc;
use std::time::Duration;

/// Calls that exist at most at once.
const SLOTS: u64 = 40;
const AGENTS: u64 = 10;
const NEVER: Lease = Lease { epoch: 0, number: 1, agent: AgentId(3) };

/// A site of every policy: levels, priorities, limits, and a queue that nobody can serve.
pub(super) fn mixed_site(variant: u64) -> Settings {
    let need = |skills: &[(u8, u8)]| -> Vec<(SkillId, u8)> {
        skills.iter().map(|&(id, level)| (SkillId(id), level)).collect()
    };
    let mut queues = Vec::new();
    for (name, skills) in [
        ("general", &[(0, 1)][..]),
        ("urgent", &[(0, 1)]),
        ("expert", &[(1, 5)]),
        ("both", &[(0, 3), (1, 2)]),
        ("nobody", &[(9, 9)]),
        ("anybody", &[]),
    ] {
        queues.push(queue(name, &need(skills)));
    }
    queues[1].priority = 20;
    queues[1].wait_max = Some(Duration::from_secs(20));
    queues[2].no_agents = NoAgents::Release;
    queues[2].wrap_up = Duration::ZERO;
    queues[3].waiting_max = 2;
    queues[4].wait_max = Some(Duration::from_secs(60));
    queues[5].ageing = Duration::from_secs(1);
    for (at, queue) in (1u8..).zip(&mut queues) {
        queue.misses_max = 1 + at % 3;
    }
    if variant % 2 == 1 {
        queues.swap(0, 3);
        queues.remove(2);
    }
    let agent = |id: u64| {
        let levels = [id % 4 * 2, (id + variant) % 3 * 3];
        let skills = (0u8..).zip(levels).filter(|(_, level)| *level > 0);
        AgentSettings {
            agent: AgentId(id as u32),
            skills: skills.map(|(skill, level)| (SkillId(skill), level as u8)).collect(),
        }
    };
    let agents = (0..AGENTS).filter(|id| variant.is_multiple_of(3) || id % 4 != 1).map(agent).collect();
    Settings { queues, agents, ..Settings::default() }
}

/// Throws events: mostly sensible ones, with stale leases, doubled calls and unknown ids among them.
pub(super) struct Dice {
    mint: Mint,
    pub(super) now: Now,
    leases: [[Lease; 2]; AGENTS as usize],
    generation: u32,
    /// Few callers for many agents.
    pub(super) quiet: bool,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        let now = Now { mono: Mono::from_ms(1_000_000), wall: Wall(0) };
        Dice { mint: Mint::new(7, [seed, 0]), now, leases: [[NEVER; 2]; AGENTS as usize], generation: 0, quiet: false }
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.mint.random() % end
    }

    /// Remembers each agent's last lease, and the one before.
    pub(super) fn hear(&mut self, out: &[Command]) {
        for command in out {
            if let Command::Offer { lease, .. } = command {
                let [last, before] = &mut self.leases[lease.agent.index()];
                *before = std::mem::replace(last, *lease);
            }
        }
    }

    fn lease(&mut self) -> Lease {
        let (agent, stale) = (self.below(AGENTS) as usize, self.below(8) == 0);
        self.leases[agent][usize::from(stale)]
    }

    fn call(&mut self) -> CallId {
        let slot = self.below(SLOTS) as u32;
        CallId { generation: self.generation, ..call(slot) }
    }

    pub(super) fn event(&mut self) -> Event {
        let roll = self.below(100);
        match if self.quiet && roll < 20 { roll + 70 } else { roll } {
            0..26 => {
                if self.below(200) == 0 {
                    self.generation += 1;
                }
                let call = self.call();
                let since = self.now.mono - Duration::from_millis(self.below(5) * self.below(5_000));
                let priority = [0, 0, 0, 1, 30][self.below(5) as usize];
                let queue = QueueId(self.below(13) as u16 / 2);
                let anybody = AgentId(((u64::from(call.slot) * 7 + since.0 / 1_000_000) % (AGENTS + 2)) as u32);
                let preferred = call.slot.is_multiple_of(2).then_some(anybody);
                let patience = match call.slot % 16 {
                    3 => Patience::Stays,
                    7 | 8 => Patience::Absent,
                    _ => Patience::Bounded,
                };
                let contact = contact(call.slot);
                Event::Enqueue(Enqueue { call, contact, queue, priority, since, preferred, patience })
            }
            26..29 => Event::Cancel { call: self.call() },
            29..30 => Event::Ringing { lease: self.lease() },
            30..48 => Event::Answered { lease: self.lease() },
            48..51 => {
                let why = [Declined::Rejected, Declined::NoAnswer, Declined::Unreachable][self.below(3) as usize];
                Event::Declined { lease: self.lease(), why }
            }
            51..68 => Event::Ended { lease: self.lease() },
            68..95 => {
                let agent = AgentId(self.below(AGENTS) as u32);
                let state = match self.below(16) {
                    0 => Want::Offline,
                    1 => Want::NotReady { reason: "lunch".into() },
                    _ => Want::Ready,
                };
                let by = (self.below(4) == 0).then(|| "lead".into());
                Event::Want { agent, state, by }
            }
            95..96 => {
                let (agent, seconds) = (AgentId(self.below(AGENTS) as u32), [0, 3, 20, 4_000][self.below(4) as usize]);
                Event::Extend { agent, by: Duration::from_secs(seconds) }
            }
            _ => Event::Phone { agent: AgentId(self.below(AGENTS) as u32), up: self.below(8) != 0 },
        }
    }

    /// Lets time pass, in whole milliseconds; often none at all.
    pub(super) fn pass(&mut self) {
        let ms = if self.below(3) == 0 { self.below(6_000) } else { 0 };
        self.now = self.now.after(Duration::from_millis(ms));
    }
}

/// Releases of one step in one order: which leaves first among those forsaken together means nothing.
fn in_order(mut decided: Vec<Decision>) -> Vec<Decision> {
    if decided.iter().filter(|one| matches!(one, Decision::Released(..))).count() > 1 {
        decided.sort();
    }
    decided
}

/// A site where every queue has a way on: one strategy, ranks, lesser needs and overflow in a chain.
pub(super) fn routed_site(strategy: Strategy) -> Settings {
    let need = |skills: &[(u8, u8)]| -> Vec<(SkillId, u8)> {
        skills.iter().map(|&(id, level)| (SkillId(id), level)).collect()
    };
    let relax = |s, skills: &[(u8, u8)]| Relax { after: Duration::from_secs(s), skills: need(skills) };
    let over = |when, to: Option<u16>| Overflow { when, to: to.map_or(To::Release, |to| To::Queue(QueueId(to))) };
    let mut settings = mixed_site(0);
    settings.utc_offset_s = 79_200;
    let queues = &mut settings.queues;
    for (together, queue) in (2u8..).zip(queues.iter_mut()) {
        (queue.routing.strategy, queue.routing.ring_together) = (strategy, together);
        queue.routing.preferred = (together != 4).then(|| Duration::from_secs(3 * u64::from(together)));
    }
    queues[0].routing.ranks = vec![need(&[(0, 6)]), need(&[(1, 3)])];
    queues[1].routing.overflow = vec![over(When::Waited(Duration::from_secs(12)), Some(0))];
    queues[2].no_agents = NoAgents::Wait;
    queues[2].routing.relax = vec![relax(6, &[(1, 3)]), relax(15, &[(0, 1)])];
    queues[2].routing.overflow = vec![over(When::NobodyLoggedIn, Some(0))];
    queues[3].routing.relax = vec![relax(9, &[(0, 2)])];
    queues[3].routing.overflow = vec![
        over(When::Length(1), Some(2)),
        Overflow { when: When::Waited(Duration::from_secs(40)), to: To::Elsewhere(1) },
    ];
    queues[4].routing.overflow = vec![over(When::NobodyReady, Some(5))];
    queues[5].wait_max = Some(Duration::from_secs(25));
    settings
}

pub(super) const STRATEGIES: [Strategy; 8] = [
    Strategy::LongestIdle,
    Strategy::LeastCalls,
    Strategy::LeastTalk,
    Strategy::RoundRobin,
    Strategy::TopDown,
    Strategy::MostFitting,
    Strategy::Weighted,
    Strategy::RingAll,
];

/// Throws the same events at both and compares each step; returns how many offers there were.
fn agree(settings: Settings, (seed, quiet): (u64, bool), steps: u32) -> usize {
    let settings = Arc::new(settings);
    let (mut acd, mut model) = (Acd::new(settings.clone(), 1), Model::new(settings));
    let (mut dice, mut out, mut offered) = (Dice { quiet, ..Dice::new(seed) }, Vec::new(), 0);
    let mut compare = |out: &[Command], model: &mut Model, what: &dyn std::fmt::Debug| {
        let theirs = in_order(std::mem::take(&mut model.decided));
        assert_eq!(in_order(decisions(out)), theirs, "seed {seed} {what:?}");
        offered += offers(out).len();
    };
    for step in 0..steps {
        let event = dice.event();
        out.clear();
        acd.handle(dice.now, event.clone(), &mut out);
        model.drawn = decisions(&out);
        model.handle(dice.now, &event);
        dice.hear(&out);
        compare(&out, &mut model, &(step, &event));
        dice.pass();
        out.clear();
        acd.expire(dice.now, &mut out);
        model.drawn = decisions(&out);
        model.expire(dice.now);
        dice.hear(&out);
        compare(&out, &mut model, &(step, "time"));
        if step % 64 == 0 {
            acd.check();
        }
    }
    offered
}

#[test]
fn every_decision_is_the_plain_models() {
    for seed in 0..4 {
        let offered = agree(mixed_site(0), (seed, false), 25_000);
        assert!(offered > 3_000, "a run that decides little proves little: {offered}");
    }
}

#[test]
fn every_decision_of_every_strategy_is_the_plain_models() {
    for (seed, strategy) in (10..).zip(STRATEGIES) {
        for quiet in [false, true] {
            let offered = agree(routed_site(strategy), (seed, quiet), 20_000);
            assert!(offered > 1_500, "{strategy:?}: a run that decides little proves little: {offered}");
        }
    }
}

/// The key of a caller's place is fixed when they come into a queue: no reload moves anybody before anybody else.
#[test]
fn a_reload_changes_nobodys_place_in_the_queue() {
    let mut dice = Dice::new(77);
    let mut acd = Acd::new(Arc::new(routed_site(Strategy::LeastCalls)), 1);
    let (mut out, mut compared) = (Vec::new(), 0);
    for step in 0..20_000usize {
        out.clear();
        acd.handle(dice.now, dice.event(), &mut out);
        dice.pass();
        acd.expire(dice.now, &mut out);
        dice.hear(&out);
        if step % 50 == 0 {
            let places = acd.places();
            out.clear();
            let mut settings = routed_site(STRATEGIES[step / 50 % STRATEGIES.len()]);
            settings.queues.iter_mut().for_each(|queue| queue.priority = dice.below(40) as u8);
            acd.handle(dice.now, Event::Configure(Arc::new(settings)), &mut out);
            acd.check();
            dice.hear(&out);
            for (call, before) in places {
                // Whom new ways out moved to another queue has the place that this queue gives.
                if let Some((queue, place)) = acd.place(call).filter(|(queue, _)| *queue == before.0) {
                    assert_eq!((queue, place), before, "step {step} {call:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1_000, "{compared} compared");
}

#[test]
fn lots_fall_by_the_agents_levels() {
    let mut settings = Settings { queues: vec![queue("q", &[(SkillId(0), 1)])], ..Settings::default() };
    settings.queues[0].wrap_up = Duration::ZERO;
    settings.queues[0].routing.strategy = Strategy::Weighted;
    let agents = (0u32..).zip([1u8, 3, 6]);
    settings.agents =
        agents.map(|(id, level)| AgentSettings { agent: AgentId(id), skills: vec![(SkillId(0), level)] }).collect();
    let (mut acd, mut out, dice) = (Acd::new(Arc::new(settings), 1), Vec::new(), Dice::new(0));
    for agent in (0..3).map(AgentId) {
        acd.handle(dice.now, Event::Phone { agent, up: true }, &mut out);
        acd.handle(dice.now, Event::Want { agent, state: Want::Ready, by: None }, &mut out);
    }
    let mut rung = [0u32; 3];
    for _ in 0..20_000 {
        out.clear();
        let since = dice.now.mono;
        let caller = Enqueue {
            call: call(0),
            contact: contact(0),
            queue: QueueId(0),
            priority: 0,
            since,
            preferred: None,
            patience: Patience::Bounded,
        };
        acd.handle(dice.now, Event::Enqueue(caller), &mut out);
        rung[offers(&out)[0].1 as usize] += 1;
        acd.handle(dice.now, Event::Cancel { call: call(0) }, &mut out);
    }
    for (rung, expected) in rung.into_iter().zip([2_000u32, 6_000, 12_000]) {
        assert!(rung.abs_diff(expected) < 300, "{rung} of {expected}");
    }
}

#[test]
fn all_invariants_hold_after_every_event_with_reloads_among_them() {
    let mut dice = Dice::new(99);
    let mut acd = Acd::new(Arc::new(mixed_site(0)), 1);
    let mut out = Vec::new();
    for step in 0..200_000u64 {
        out.clear();
        let event =
            if step % 500 == 499 { Event::Configure(Arc::new(mixed_site(dice.below(6)))) } else { dice.event() };
        acd.handle(dice.now, event, &mut out);
        acd.check();
        dice.pass();
        if acd.next_deadline().is_some_and(|deadline| deadline <= dice.now.mono) {
            acd.expire(dice.now, &mut out);
            acd.check();
        }
        dice.hear(&out);
    }
}

#[test]
fn the_same_events_give_the_same_commands() {
    let run = || {
        let (mut dice, mut acd, mut all) = (Dice::new(5), Acd::new(Arc::new(mixed_site(0)), 1), Vec::new());
        for _ in 0..5_000 {
            let from = all.len();
            acd.handle(dice.now, dice.event(), &mut all);
            dice.pass();
            acd.expire(dice.now, &mut all);
            dice.hear(&all[from..]);
        }
        all
    };
    assert_eq!(run(), run());
}
