//! What must survive a crash of the owner, as plain data.
//!
//! Times are kept as [`Mono`], so that deadlines run on; queues are named, so that a snapshot fits other settings. A
//! new owner raises the epoch: leases that stand in the snapshot stay good, every other lease of an older epoch means
//! nothing. What happened between the snapshot and the crash is told by the shards ([`Acd::adopt`]).

use super::Live;
use super::acd::{Acd, Course, Timer};
use super::agent::{Agent, OWN_CALL, State};
use super::estimate::Flow;
use super::event::{Command, Enqueue, Lease, Patience, QueueSettings, Settings};
use super::idle::Tally;
use super::line::{Caller, Place};
use super::reload::numbers;
use crate::base::{AgentId, CallId, ContactId, Mono, Now, QueueId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Version written; older ones stay readable.
const VERSION: u16 = 6;

/// All that a new owner needs besides the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u16,
    epoch: u32,
    turns: u64,
    tickets: u64,
    day: i64,
    agents: Vec<KeptAgent>,
    callers: Vec<KeptCaller>,
    queues: Vec<KeptQueue>,
    /// Whose deadlines run, in the order in which they come: of those of one moment the earlier set comes first.
    deadlines: Vec<Timer>,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAgent {
    agent: AgentId,
    state: State,
    since: Mono,
    by: Option<Arc<str>>,
    next_by: Option<Arc<str>>,
    phone_up: bool,
    turn: u64,
    misses: u8,
    own_calls: Vec<CallId>,
    tally: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptQueue {
    queue: Box<str>,
    last: Option<u32>,
    flow: Flow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptCaller {
    call: CallId,
    contact: ContactId,
    asked: Option<Box<str>>,
    queue: Option<Box<str>>,
    priority: u8,
    place: Place,
    since: Mono,
    wait_until: Option<Mono>,
    stage: u8,
    closed: bool,
    preferred: Option<AgentId>,
    #[serde(default)]
    patience: Patience,
    /// Of those who ring for them, in the order in which they were given.
    leases: Vec<Lease>,
}

/// Why a snapshot cannot be taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by a newer release.
    #[error("the snapshot is of version {0}, which this release cannot read")]
    Version(u16),
    /// An offer without its caller or its agent, somebody twice, or an id out of range: damaged.
    #[error("the snapshot contradicts itself")]
    Damaged,
}

impl Snapshot {
    /// Of agents who were kept one by one, and of the calls that ring them by the word of their shards. An agent who was
    /// being rung for a call that is gone is as ready as before; so is one whose own call kept them busy, for such a call
    /// does not outlive its process.
    pub fn of(agents: Vec<KeptAgent>, live: &[Live], settings: &Settings) -> Snapshot {
        let mut callers: Vec<KeptCaller> = Vec::new();
        let mut take_up = |mut kept: KeptAgent| {
            if let State::Offered { booking, .. } = &kept.state {
                let of_call = live.iter().filter(|live| live.caller.call == booking.call);
                let held = |live: &'_ Live| live.held.iter().find(|held| held.lease == booking.lease).copied();
                match of_call.filter_map(|live| Some((&live.caller, held(live)?.answered))).next() {
                    Some((_, true)) => kept.state = State::Talking(booking.clone()),
                    Some((caller, false)) => match callers.iter_mut().find(|kept| kept.call == caller.call) {
                        Some(known) => known.leases.push(booking.lease),
                        None => {
                            let ticket = callers.len() as u64 + 1;
                            callers.extend(kept_caller(caller, (booking.lease, ticket), settings));
                        }
                    },
                    None => kept.state = State::Ready,
                }
            }
            kept.own_calls.clear();
            if matches!(&kept.state, State::NotReady { reason } if **reason == *OWN_CALL) {
                kept.state = State::Ready;
            }
            if kept.state == State::Ready && !kept.phone_up {
                kept.state = State::Offline;
            }
            kept
        };
        let agents: Vec<KeptAgent> = agents.into_iter().map(&mut take_up).collect();
        callers.iter_mut().for_each(|kept| kept.leases.sort_unstable());
        let turns = agents.iter().map(|kept| kept.turn).max().unwrap_or(0);
        let day = agents.iter().map(|kept| kept.tally.day).max().unwrap_or(0);
        Snapshot {
            version: VERSION,
            epoch: 0,
            turns,
            tickets: callers.len() as u64,
            day,
            agents,
            callers,
            queues: Vec::new(),
            deadlines: Vec::new(),
        }
    }
}

fn kept_caller(caller: &Enqueue, (lease, ticket): (Lease, u64), settings: &Settings) -> Option<KeptCaller> {
    let queue = settings.queues.get(caller.queue.index())?;
    Some(KeptCaller {
        call: caller.call,
        contact: caller.contact,
        asked: Some(queue.name.clone()),
        queue: Some(queue.name.clone()),
        priority: caller.priority,
        place: Place::of(queue, caller.priority, caller.since, ticket),
        since: caller.since,
        wait_until: queue
            .wait_max
            .filter(|_| caller.patience == Patience::Bounded)
            .map(|longest| caller.since + longest),
        stage: 0,
        closed: false,
        preferred: None,
        patience: caller.patience,
        leases: vec![lease],
    })
}

fn kept_queue((queue, course): (&QueueSettings, &Course)) -> KeptQueue {
    KeptQueue { queue: queue.name.clone(), last: course.last, flow: course.flow.clone() }
}

impl Agent {
    /// Whether there is nothing to remember: also who is gone for the moment has a day behind them.
    fn is_unknown(&self) -> bool {
        let gone = !self.phone_up && self.state == State::Offline && self.by.is_none();
        gone && self.misses == 0 && self.tally == Tally::default()
    }

    fn kept(&self, agent: AgentId) -> KeptAgent {
        KeptAgent {
            agent,
            state: self.state.clone(),
            since: self.since,
            by: self.by.clone(),
            next_by: self.next_by.clone(),
            phone_up: self.phone_up,
            turn: self.turn,
            misses: self.misses,
            own_calls: self.own_calls.clone(),
            tally: self.tally,
        }
    }
}

impl KeptAgent {
    /// Who.
    pub fn agent(&self) -> AgentId {
        self.agent
    }
}

impl Acd {
    /// What must survive of one agent; `None` for one who is not known.
    pub fn kept_agent(&self, id: AgentId) -> Option<KeptAgent> {
        self.agents.get(id.index()).map(|agent| agent.kept(id))
    }

    /// Everything that must survive, callers in order of their places.
    pub fn snapshot(&self) -> Snapshot {
        let kept = (0u32..).map(AgentId).zip(&self.agents).filter(|(_, agent)| !agent.is_unknown());
        let agents = kept.map(|(id, agent)| agent.kept(id));
        let mut callers: Vec<KeptCaller> = self.line.callers().map(|(_, caller)| self.kept(caller)).collect();
        callers.sort_unstable_by_key(|caller| caller.place);
        Snapshot {
            version: VERSION,
            epoch: self.epoch,
            turns: self.turns,
            tickets: self.line.tickets(),
            day: self.day,
            agents: agents.collect(),
            callers,
            // Only those that remember something.
            queues: self
                .settings
                .queues
                .iter()
                .zip(&self.flows)
                .filter(|(_, course)| **course != Course::default())
                .map(kept_queue)
                .collect(),
            deadlines: self.wheel.in_order().copied().collect(),
        }
    }

    fn kept(&self, caller: &Caller) -> KeptCaller {
        let name = |queue: QueueId| self.settings.queues[queue.index()].name.clone();
        KeptCaller {
            call: caller.call,
            contact: caller.contact,
            asked: caller.asked.map(name),
            queue: caller.queue.map(name),
            priority: caller.priority,
            place: caller.place,
            since: caller.since,
            wait_until: caller.wait_until,
            stage: caller.stage,
            closed: caller.closed,
            preferred: caller.preferred,
            patience: caller.patience,
            leases: caller.leases().to_vec(),
        }
    }

    /// The owner of `snapshot` come back, or its successor. Leases are given under `epoch`, or under the one after the
    /// snapshot's if that is higher. What follows from other settings (a queue that is gone, an agent who may now take
    /// somebody) goes to `out`. Deadlines that passed meanwhile are kept at the next [`Acd::expire`].
    ///
    /// # Errors
    /// [`RestoreError`]; nothing has been sent then.
    pub fn restore(
        settings: Arc<Settings>,
        snapshot: Snapshot,
        now: Now,
        epoch: u32,
        out: &mut Vec<Command>,
    ) -> Result<Acd, RestoreError> {
        if snapshot.version != VERSION {
            return Err(RestoreError::Version(snapshot.version));
        }
        let mut acd = Acd::new(settings, epoch.max(snapshot.epoch.saturating_add(1)));
        acd.turns = snapshot.turns;
        acd.day = snapshot.day;
        for kept in snapshot.queues {
            if let Some(queue) = numbers(&acd.settings).get(&*kept.queue).copied() {
                acd.flows[queue.index()] = Course { last: kept.last, flow: kept.flow };
            }
        }
        acd.line.resume(snapshot.tickets);
        // Of offers that end at one moment the earlier made ends first, as it would have.
        let mut agents = snapshot.agents;
        agents.sort_by_key(|kept| kept.state.booking().map(|booking| booking.lease));
        for kept in agents {
            acd.take_up_agent(kept)?;
        }
        let mut standing = Vec::new();
        for kept in snapshot.callers {
            standing.extend(acd.take_up_caller(kept)?);
        }
        acd.every_offer_has_its_caller()?;
        acd.rebuild(now.mono, standing, out);
        acd.line_up_deadlines(&snapshot.deadlines);
        Ok(acd)
    }

    /// Sets deadlines anew in this order, as far as they still run; the others come first.
    fn line_up_deadlines(&mut self, order: &[Timer]) {
        for timer in order {
            match *timer {
                Timer::Lease(Lease { agent, .. }) | Timer::WrapUp(agent) => {
                    let Some(known) = self.agents.get_mut(agent.index()) else { continue };
                    known.timer = known.timer.and_then(|timer| self.wheel.set_anew(timer));
                }
                Timer::Wait(call) => {
                    let Some(slot) = self.line.find(call) else { continue };
                    let caller = self.line.caller_mut(slot);
                    caller.timer = caller.timer.and_then(|timer| self.wheel.set_anew(timer));
                }
            }
        }
    }

    fn take_up_agent(&mut self, kept: KeptAgent) -> Result<(), RestoreError> {
        let at = kept.agent.index();
        if at >= super::acd::AGENTS_MAX || kept.turn > self.turns {
            return Err(RestoreError::Damaged);
        }
        self.grow_to(at + 1);
        let fits = kept
            .state
            .booking()
            .is_none_or(|booking| booking.lease.agent == kept.agent && booking.lease.epoch < self.epoch);
        let ready_without_phone = kept.state == State::Ready && !kept.phone_up;
        if !fits || ready_without_phone || self.agents[at].state != State::Offline {
            return Err(RestoreError::Damaged);
        }
        let timer = match &kept.state {
            State::Offered { booking, ring_until } => Some((*ring_until, Timer::Lease(booking.lease))),
            State::WrapUp { until, .. } => Some((*until, Timer::WrapUp(kept.agent))),
            State::Offline | State::NotReady { .. } | State::Ready | State::Talking(_) => None,
        };
        let timer = timer.map(|(at, timer)| self.wheel.set(at, timer));
        self.booked += usize::from(kept.state.booking().is_some());
        self.agents[at] = Agent {
            state: kept.state,
            since: kept.since,
            by: kept.by,
            next_by: kept.next_by,
            phone_up: kept.phone_up,
            own_calls: kept.own_calls,
            turn: kept.turn,
            misses: kept.misses,
            tally: if kept.tally.day == self.day { kept.tally } else { Tally::default() },
            timer,
        };
        Ok(())
    }

    /// Takes a caller in; returns the slot of one who has no place yet.
    fn take_up_caller(&mut self, kept: KeptCaller) -> Result<Option<u32>, RestoreError> {
        if self.line.tenant(kept.call).is_some() || !super::line::Line::fits(kept.call) {
            return Err(RestoreError::Damaged);
        }
        for lease in &kept.leases {
            let state = self.agents.get(lease.agent.index()).map(|agent| &agent.state);
            match state {
                Some(State::Offered { booking, .. }) if booking.lease == *lease && booking.call == kept.call => {}
                Some(_) | None => return Err(RestoreError::Damaged),
            }
        }
        let number = |name: Option<Box<str>>| numbers(&self.settings).get(&*name?).copied();
        let asked = number(kept.asked);
        let queue = number(kept.queue).or(asked);
        let caller = Enqueue {
            call: kept.call,
            contact: kept.contact,
            queue: QueueId(0),
            priority: kept.priority,
            since: kept.since,
            preferred: kept.preferred,
            patience: kept.patience,
        };
        let (wait_until, stage, closed) = (kept.wait_until, kept.stage, kept.closed);
        let caller = Caller { asked, queue, wait_until, stage, closed, ..Caller::new(&caller, kept.place) };
        let slot = self.line.admit(caller);
        kept.leases.iter().for_each(|&lease| self.line.book(slot, lease));
        Ok(kept.leases.is_empty().then_some(slot))
    }

    fn every_offer_has_its_caller(&self) -> Result<(), RestoreError> {
        let alone = |agent: &Agent| match &agent.state {
            State::Offered { booking, .. } => self
                .line
                .find(booking.call)
                .is_none_or(|slot| !self.line.caller(slot).leases().contains(&booking.lease)),
            State::Offline | State::NotReady { .. } | State::Ready | State::Talking(_) | State::WrapUp { .. } => false,
        };
        if self.agents.iter().any(alone) { Err(RestoreError::Damaged) } else { Ok(()) }
    }
}

#[cfg(test)]
impl Acd {
    /// Queue and place of one caller who waits or is rung for.
    pub(super) fn place(&self, call: CallId) -> Option<(Option<QueueId>, Place)> {
        let caller = self.line.caller(self.line.find(call)?);
        Some((caller.queue, caller.place))
    }

    /// The same of all.
    pub(super) fn places(&self) -> Vec<(CallId, (Option<QueueId>, Place))> {
        self.line.callers().map(|(_, caller)| (caller.call, (caller.queue, caller.place))).collect()
    }
}

#[cfg(test)]
impl Snapshot {
    /// What is kept of callers, for comparison.
    pub(super) fn callers(&self) -> Vec<impl PartialEq + std::fmt::Debug> {
        self.callers.clone()
    }

    /// What is kept of agents, for comparison.
    pub(super) fn agents(&self) -> Vec<impl PartialEq + std::fmt::Debug> {
        self.agents.clone()
    }
}
