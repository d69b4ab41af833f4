//! The reference: the same decisions by plain lists and full scans, with nothing prepared and nothing indexed.

use super::super::agent::{PHONE_LOST as PHONE, REJECTED, RONA};
use super::super::event::*;
use crate::base::{AgentId, CallId, Mono};
use std::sync::Arc;

/// What a step decides about callers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decision {
    Offer(CallId, AgentId),
    Revoke(CallId, AgentId),
    Released(CallId, &'static str),
}

/// The decisions among `out`.
pub(super) fn decisions(out: &[Command]) -> Vec<Decision> {
    let decision = |command: &Command| match command {
        Command::Offer { call, lease, .. } => Some(Decision::Offer(*call, lease.agent)),
        Command::Revoke { call, lease } => Some(Decision::Revoke(*call, lease.agent)),
        Command::Released { call, why } => Some(Decision::Released(*call, word(*why))),
        Command::Agent(_) => None,
    };
    out.iter().filter_map(decision).collect()
}

fn word(why: Released) -> &'static str {
    match why {
        Released::WaitedTooLong => "waited too long",
        Released::NoAgents => "no agents",
        Released::Full => "full",
        Released::QueueGone => "queue gone",
    }
}

/// When, in which order among equals, and whose deadline: an agent's or a waiting caller's.
type Due = ((Mono, u64), Option<usize>, Option<CallId>);

#[derive(Clone, Debug, PartialEq)]
enum State {
    Offline,
    Paused(Box<str>),
    Ready,
    Offered { lease: Lease, until: (Mono, u64), next: Option<Want> },
    Talking { lease: Lease, queue: usize, next: Option<Want> },
    WrapUp { until: (Mono, u64) },
}

struct Agent {
    settings: AgentSettings,
    state: State,
    up: bool,
    turn: u64,
}

struct Caller {
    call: CallId,
    queue: usize,
    place: (i128, u64),
    until: Option<(Mono, u64)>,
    lease: Option<Lease>,
}

pub(super) struct Model {
    settings: Arc<Settings>,
    agents: Vec<Agent>,
    callers: Vec<Caller>,
    count: u64,
    leases: u64,
    pub(super) decided: Vec<Decision>,
}

impl Model {
    /// Agent ids must be 0, 1, 2 ….
    pub(super) fn new(settings: Arc<Settings>) -> Model {
        let agent =
            |settings: &AgentSettings| Agent { settings: settings.clone(), state: State::Offline, up: false, turn: 0 };
        let agents = settings.agents.iter().map(agent).collect();
        Model { settings, agents, callers: Vec::new(), count: 0, leases: 0, decided: Vec::new() }
    }

    pub(super) fn handle(&mut self, now: Mono, event: &Event) {
        match event {
            Event::Enqueue(caller) => self.enqueue(now, caller),
            Event::Cancel { call } => self.leave(now, *call, false),
            Event::Ringing { .. } => {}
            Event::Answered { lease } => {
                let Some(at) = self.holder(*lease) else { return };
                if let State::Offered { next, .. } = self.agents[at].state.clone() {
                    let caller = self.callers.iter().position(|caller| caller.lease == Some(*lease)).unwrap();
                    let queue = self.callers.remove(caller).queue;
                    self.agents[at].state = State::Talking { lease: *lease, queue, next };
                }
            }
            Event::Declined { lease, why } => {
                let Some(at) = self.holder(*lease) else { return };
                let reason = match why {
                    Declined::Rejected => REJECTED,
                    Declined::NoAnswer => RONA,
                    Declined::Unreachable => PHONE,
                };
                match self.agents[at].state {
                    State::Offered { .. } => self.back(now, at, reason),
                    _ => self.ended(now, at, *lease),
                }
            }
            Event::Ended { lease } => {
                let Some(at) = self.holder(*lease) else { return };
                self.ended(now, at, *lease);
            }
            Event::Want { agent, state } => self.want(now, agent.index(), state),
            Event::Phone { agent, up } => self.phone(now, agent.index(), *up),
            Event::OwnCall { .. } => panic!("the model's agents make no calls of their own"),
            Event::Configure(_) => panic!("the model knows one configuration"),
            Event::Overtaken { .. } | Event::Adopt { .. } => panic!("the model loses no message and no shard"),
        }
    }

    pub(super) fn expire(&mut self, now: Mono) {
        let mut due: Vec<Due> = Vec::new();
        for (at, agent) in self.agents.iter().enumerate() {
            if let State::Offered { until, .. } | State::WrapUp { until } = agent.state {
                due.push((until, Some(at), None));
            }
        }
        let waiting = self.callers.iter().filter(|caller| caller.lease.is_none());
        due.extend(waiting.filter_map(|caller| Some((caller.until?, None, Some(caller.call)))));
        due.retain(|((at, _), ..)| *at <= now);
        due.sort();
        for (until, agent, call) in due {
            match (agent, call) {
                (Some(at), _) => match self.agents[at].state.clone() {
                    State::Offered { lease, until: present, .. } if present == until => {
                        let caller = self.callers.iter().find(|caller| caller.lease == Some(lease)).unwrap();
                        self.decided.push(Decision::Revoke(caller.call, lease.agent));
                        self.back(now, at, RONA);
                    }
                    State::WrapUp { until: present } if present == until => {
                        self.become_next(now, at, &Want::Ready, true)
                    }
                    _ => {}
                },
                (None, Some(call)) => {
                    let waiting = |caller: &Caller| caller.call == call && caller.lease.is_none();
                    if let Some(at) = self.callers.iter().position(waiting) {
                        self.release(at, "waited too long");
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn enqueue(&mut self, now: Mono, wish: &Enqueue) {
        let same = |caller: &&Caller| (caller.call.shard, caller.call.slot) == (wish.call.shard, wish.call.slot);
        if let Some(old) = self.callers.iter().find(same) {
            if old.call == wish.call && old.queue == wish.queue.index() {
                return;
            }
            self.leave(now, old.call, true);
        }
        let Some(queue) = self.settings.queues.get(wish.queue.index()) else {
            self.decided.push(Decision::Released(wish.call, "queue gone"));
            return;
        };
        let bonus = i128::from(queue.priority as u64 + u64::from(wish.priority)) * queue.ageing.as_nanos() as i128;
        let room = self.waiting(wish.queue.index()) < queue.waiting_max;
        let until = queue.wait_max.map(|longest| wish.since + longest);
        self.count += 1;
        self.callers.push(Caller {
            call: wish.call,
            queue: wish.queue.index(),
            place: (i128::from(wish.since.0) - bonus, self.count),
            until: until.map(|until| (until, 0)),
            lease: None,
        });
        self.settle(now, wish.call, room);
    }

    fn waiting(&self, queue: usize) -> usize {
        self.callers.iter().filter(|caller| caller.queue == queue && caller.lease.is_none()).count()
    }

    fn able(&self, agent: usize, queue: usize) -> bool {
        let has = &self.agents[agent].settings.skills;
        let asked = &self.settings.queues[queue].skills;
        asked.iter().all(|(skill, level)| has.iter().any(|(own, at)| own == skill && at >= level))
    }

    fn settle(&mut self, now: Mono, call: CallId, room: bool) {
        self.pair(now);
        let waiting = |caller: &Caller| caller.call == call && caller.lease.is_none();
        let Some(at) = self.callers.iter().position(waiting) else {
            return;
        };
        let queue = self.callers[at].queue;
        let anybody = (0..self.agents.len()).any(|id| self.agents[id].state != State::Offline && self.able(id, queue));
        if !anybody && self.settings.queues[queue].no_agents == NoAgents::Release {
            self.release(at, "no agents");
        } else if self.callers[at].until.is_some_and(|(until, _)| until <= now) {
            self.release(at, "waited too long");
        } else if !room {
            self.release(at, "full");
        } else if let Some((until, _)) = self.callers[at].until {
            self.count += 1;
            self.callers[at].until = Some((until, self.count));
        }
    }

    /// While there is a pair: the first caller who can have anybody, and the longest idle of those.
    fn pair(&mut self, now: Mono) {
        loop {
            let mut best: Option<((i128, u64), u64, usize, usize)> = None;
            for (at, caller) in self.callers.iter().enumerate().filter(|(_, caller)| caller.lease.is_none()) {
                for (id, agent) in self.agents.iter().enumerate() {
                    if agent.state == State::Ready && self.able(id, caller.queue) {
                        let pair = (caller.place, agent.turn, at, id);
                        best = Some(best.map_or(pair, |best| best.min(pair)));
                    }
                }
            }
            let Some((_, _, at, id)) = best else { return };
            self.leases += 1;
            self.count += 1;
            let lease = Lease { epoch: 1, number: self.leases, agent: AgentId(id as u32) };
            let until = (now + self.settings.queues[self.callers[at].queue].ring_max, self.count);
            self.callers[at].lease = Some(lease);
            self.agents[id].state = State::Offered { lease, until, next: None };
            self.decided.push(Decision::Offer(self.callers[at].call, lease.agent));
        }
    }

    fn release(&mut self, at: usize, why: &'static str) {
        let caller = self.callers.remove(at);
        self.decided.push(Decision::Released(caller.call, why));
    }

    fn leave(&mut self, now: Mono, call: CallId, revoke: bool) {
        let Some(at) = self.callers.iter().position(|caller| caller.call == call) else {
            return;
        };
        let caller = self.callers.remove(at);
        let Some(lease) = caller.lease else { return };
        if revoke {
            self.decided.push(Decision::Revoke(call, lease.agent));
        }
        let id = lease.agent.index();
        if let State::Offered { next, .. } = self.agents[id].state.clone() {
            self.become_next(now, id, &next.unwrap_or(Want::Ready), false);
        }
    }

    fn back(&mut self, now: Mono, id: usize, reason: &str) {
        if let State::Offered { lease, next, .. } = self.agents[id].state.clone() {
            let at = self.callers.iter().position(|caller| caller.lease == Some(lease)).unwrap();
            let caller = self.callers.remove(at);
            let call = caller.call;
            self.become_next(now, id, &next.unwrap_or(Want::NotReady { reason: reason.into() }), true);
            self.callers.push(Caller { lease: None, ..caller });
            self.settle(now, call, true);
        }
    }

    fn ended(&mut self, now: Mono, id: usize, lease: Lease) {
        match self.agents[id].state.clone() {
            State::Offered { .. } => {
                let call = self.callers.iter().find(|caller| caller.lease == Some(lease)).unwrap().call;
                self.leave(now, call, false);
            }
            State::Talking { queue, next, .. } => {
                let wrap_up = self.settings.queues[queue].wrap_up;
                if next.is_some() || wrap_up.is_zero() {
                    return self.become_next(now, id, &next.unwrap_or(Want::Ready), true);
                }
                self.count += 1;
                self.agents[id].state = State::WrapUp { until: (now + wrap_up, self.count) };
            }
            _ => {}
        }
    }

    fn want(&mut self, now: Mono, id: usize, want: &Want) {
        match &mut self.agents[id].state {
            State::Offered { next, .. } | State::Talking { next, .. } => {
                *next = (*want != Want::Ready).then(|| want.clone());
            }
            State::Ready if *want == Want::Ready => {}
            _ => self.become_next(now, id, want, true),
        }
    }

    fn phone(&mut self, now: Mono, id: usize, up: bool) {
        self.agents[id].up = up;
        if up {
            return;
        }
        match self.agents[id].state.clone() {
            State::Ready => self.become_next(now, id, &Want::NotReady { reason: PHONE.into() }, true),
            State::Offered { lease, .. } => {
                let caller = self.callers.iter().find(|caller| caller.lease == Some(lease)).unwrap();
                self.decided.push(Decision::Revoke(caller.call, lease.agent));
                self.back(now, id, PHONE);
            }
            _ => {}
        }
    }

    fn become_next(&mut self, now: Mono, id: usize, want: &Want, new_turn: bool) {
        self.agents[id].state = match want {
            Want::Offline => State::Offline,
            Want::NotReady { reason } => State::Paused(reason.clone()),
            Want::Ready if !self.agents[id].up => State::Paused(PHONE.into()),
            Want::Ready => State::Ready,
        };
        if self.agents[id].state == State::Ready && new_turn {
            self.count += 1;
            self.agents[id].turn = self.count;
        }
        while let Some(at) = self.forsaken() {
            self.release(at, "no agents");
        }
        self.pair(now);
    }

    fn forsaken(&self) -> Option<usize> {
        self.callers.iter().position(|caller| {
            let anybody = |id: usize| self.agents[id].state != State::Offline && self.able(id, caller.queue);
            let leaves = self.settings.queues[caller.queue].no_agents == NoAgents::Release;
            caller.lease.is_none() && leaves && !(0..self.agents.len()).any(anybody)
        })
    }

    fn holder(&self, lease: Lease) -> Option<usize> {
        self.agents.iter().position(|agent| match agent.state {
            State::Offered { lease: own, .. } | State::Talking { lease: own, .. } => own == lease,
            _ => false,
        })
    }
}
