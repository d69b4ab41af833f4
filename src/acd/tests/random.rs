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
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        let now = Now { mono: Mono::from_ms(1_000_000), wall: Wall(0) };
        Dice { mint: Mint::new(7, [seed, 0]), now, leases: [[NEVER; 2]; AGENTS as usize], generation: 0 }
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
        match self.below(100) {
            0..26 => {
                if self.below(200) == 0 {
                    self.generation += 1;
                }
                let call = self.call();
                let since = self.now.mono - Duration::from_millis(self.below(5) * self.below(5_000));
                let priority = [0, 0, 0, 1, 30][self.below(5) as usize];
                let queue = QueueId(self.below(13) as u16 / 2);
                Event::Enqueue(Enqueue { call, contact: contact(call.slot), queue, priority, since })
            }
            26..29 => Event::Cancel { call: self.call() },
            29..30 => Event::Ringing { lease: self.lease() },
            30..48 => Event::Answered { lease: self.lease() },
            48..51 => {
                let why = [Declined::Rejected, Declined::NoAnswer, Declined::Unreachable][self.below(3) as usize];
                Event::Declined { lease: self.lease(), why }
            }
            51..68 => Event::Ended { lease: self.lease() },
            68..96 => {
                let agent = AgentId(self.below(AGENTS) as u32);
                let state = match self.below(16) {
                    0 => Want::Offline,
                    1 => Want::NotReady { reason: "lunch".into() },
                    _ => Want::Ready,
                };
                Event::Want { agent, state }
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

#[test]
fn every_decision_is_the_plain_models() {
    for seed in 0..4 {
        let settings = Arc::new(mixed_site(0));
        let (mut acd, mut model) = (Acd::new(settings.clone(), 1), Model::new(settings));
        let (mut dice, mut out, mut offered) = (Dice::new(seed), Vec::new(), 0);
        for step in 0..25_000 {
            let event = dice.event();
            out.clear();
            acd.handle(dice.now, event.clone(), &mut out);
            model.handle(dice.now.mono, &event);
            dice.hear(&out);
            offered += offers(&out).len();
            let theirs = in_order(std::mem::take(&mut model.decided));
            assert_eq!(in_order(decisions(&out)), theirs, "seed {seed} step {step} {event:?}");
            dice.pass();
            out.clear();
            acd.expire(dice.now, &mut out);
            model.expire(dice.now.mono);
            dice.hear(&out);
            offered += offers(&out).len();
            let theirs = in_order(std::mem::take(&mut model.decided));
            assert_eq!(in_order(decisions(&out)), theirs, "seed {seed} step {step}: time");
        }
        assert!(offered > 3_000, "a run that decides little proves little: {offered}");
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
