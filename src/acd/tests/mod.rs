//! The whole machine under test: a small driver shared by the tables, the complaints and the random runs.

mod complaints;
mod crash;
mod explain;
mod forced;
mod model;
mod own_calls;
mod preferred;
mod random;
mod table;
mod together;

use super::event::*;
use super::{Acd, Position, QueueView};
use crate::base::{AgentId, CallId, ContactId, Mono, Now, QueueId, ShardId, SkillId};
use std::sync::Arc;
use std::time::Duration;

pub(super) const RING: Duration = Duration::from_secs(15);
pub(super) const WRAP_UP: Duration = Duration::from_secs(30);

/// A queue with everyday settings.
pub(super) fn queue(name: &str, skills: &[(SkillId, u8)]) -> QueueSettings {
    QueueSettings {
        name: name.into(),
        skills: skills.to_vec(),
        priority: 0,
        ageing: Duration::from_secs(10),
        ring_max: RING,
        misses_max: 1,
        wrap_up: WRAP_UP,
        wait_max: None,
        waiting_max: 1_000,
        no_agents: NoAgents::Wait,
        routing: Routing::default(),
    }
}

/// Queues `general` (skill 0) and `expert` (skill 1 at level 5); agents 0–2 serve the first, 3 both.
fn site() -> Settings {
    let (general, expert) = ((SkillId(0), 1), (SkillId(1), 5));
    let agent = |agent, skills: &[(SkillId, u8)]| AgentSettings { agent: AgentId(agent), skills: skills.to_vec() };
    Settings {
        queues: vec![queue("general", &[general]), queue("expert", &[expert])],
        agents: vec![
            agent(0, &[general]),
            agent(1, &[general]),
            agent(2, &[general, (SkillId(1), 4)]),
            agent(3, &[general, expert]),
        ],
        ..Settings::default()
    }
}

fn call(slot: u32) -> CallId {
    CallId { shard: ShardId(0), slot, generation: 0 }
}

fn contact(slot: u32) -> ContactId {
    ContactId(u128::from(slot) + 1_000)
}

fn lease(number: u64, agent: u32) -> Lease {
    Lease { epoch: 1, number, agent: AgentId(agent) }
}

fn paused(reason: &str) -> AgentState {
    AgentState::NotReady { reason: reason.into() }
}

/// An [`Acd`] that is checked after every step, with the commands of the last one.
struct Bench {
    acd: Acd,
    now: Now,
    out: Vec<Command>,
}

impl Bench {
    fn new(settings: Settings) -> Bench {
        let now = Now { mono: Mono::from_ms(1_000_000), wall: crate::base::Wall(0) };
        Bench { acd: Acd::new(Arc::new(settings), 1), now, out: Vec::new() }
    }

    /// With `ready` agents, in this order.
    fn with_ready(settings: Settings, ready: &[u32]) -> Bench {
        let mut bench = Bench::new(settings);
        for &agent in ready {
            bench.phone(agent, true);
            bench.want(agent, Want::Ready);
        }
        bench
    }

    fn handle(&mut self, event: Event) -> &[Command] {
        self.out.clear();
        self.acd.handle(self.now, event, &mut self.out);
        self.acd.check();
        &self.out
    }

    fn advance(&mut self, by: Duration) -> &[Command] {
        self.now = self.now.after(by);
        self.out.clear();
        self.acd.expire(self.now, &mut self.out);
        self.acd.check();
        &self.out
    }

    fn enqueue(&mut self, slot: u32, queue: u16) -> &[Command] {
        let since = self.now.mono;
        self.enqueue_as(slot, queue, 0, since)
    }

    fn enqueue_as(&mut self, slot: u32, queue: u16, priority: u8, since: Mono) -> &[Command] {
        let caller = Enqueue {
            call: call(slot),
            contact: contact(slot),
            queue: QueueId(queue),
            priority,
            since,
            preferred: None,
            patience: Patience::Bounded,
        };
        self.handle(Event::Enqueue(caller))
    }

    fn cancel(&mut self, slot: u32) -> &[Command] {
        self.handle(Event::Cancel { call: call(slot) })
    }

    fn want(&mut self, agent: u32, state: Want) -> &[Command] {
        self.handle(Event::Want { agent: AgentId(agent), state, by: None })
    }

    fn pause(&mut self, agent: u32) -> &[Command] {
        self.want(agent, Want::NotReady { reason: "lunch".into() })
    }

    fn phone(&mut self, agent: u32, up: bool) -> &[Command] {
        self.handle(Event::Phone { agent: AgentId(agent), up })
    }

    fn answered(&mut self, number: u64, agent: u32) -> &[Command] {
        self.handle(Event::Answered { lease: lease(number, agent) })
    }

    fn declined(&mut self, number: u64, agent: u32, why: Declined) -> &[Command] {
        self.handle(Event::Declined { lease: lease(number, agent), why })
    }

    fn ended(&mut self, number: u64, agent: u32) -> &[Command] {
        self.handle(Event::Ended { lease: lease(number, agent) })
    }

    fn state(&self, agent: u32) -> AgentState {
        self.acd.agent(AgentId(agent)).map_or(AgentState::Offline, |view| view.state)
    }

    /// Whom the last step offered to whom.
    fn offers(&self) -> Vec<(u32, u32)> {
        offers(&self.out)
    }

    /// What the last step said to calls, agents' states left out.
    fn to_calls(&self) -> Vec<Command> {
        self.out.iter().filter(|command| !matches!(command, Command::Agent(_))).cloned().collect()
    }
}

fn offers(out: &[Command]) -> Vec<(u32, u32)> {
    let offer = |command: &Command| match command {
        Command::Offer { call, lease, .. } => Some((call.slot, lease.agent.0)),
        Command::Revoke { .. } | Command::Released { .. } | Command::Stands { .. } | Command::Agent(_) => None,
    };
    out.iter().filter_map(offer).collect()
}

fn released(slot: u32, why: Released) -> Command {
    Command::Released { call: call(slot), why }
}

fn revoked(slot: u32, number: u64, agent: u32) -> Command {
    Command::Revoke { call: call(slot), lease: lease(number, agent) }
}
