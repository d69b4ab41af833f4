//! The reference: the same decisions by plain lists and full scans, with nothing prepared and nothing indexed.

use super::super::agent::{PHONE_LOST as PHONE, REJECTED, RONA};
use super::super::event::*;
use crate::base::{AgentId, CallId, Mono, Now, SkillId};
use std::sync::Arc;
use std::time::Duration;

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
        Command::Stands { .. } | Command::Agent(_) => None,
    };
    out.iter().filter_map(decision).collect()
}

fn word(why: Released) -> &'static str {
    match why {
        Released::WaitedTooLong => "waited too long",
        Released::NoAgents => "no agents",
        Released::Full => "full",
        Released::QueueGone => "queue gone",
        Released::Diverted { .. } => "diverted",
    }
}

/// When, in which order among equals, and whose deadline: an agent's or a waiting caller's.
type Due = ((Mono, u64), Option<usize>, Option<CallId>);

#[derive(Clone, Debug, PartialEq)]
enum State {
    Offline,
    Paused(Arc<str>),
    Ready,
    Offered { lease: Lease, until: (Mono, u64), next: Option<Want> },
    Talking { lease: Lease, queue: usize, next: Option<Want> },
    WrapUp { until: (Mono, u64), began: Mono },
}

struct Agent {
    settings: AgentSettings,
    state: State,
    up: bool,
    turn: u64,
    misses: u8,
    calls: u32,
    talk: Duration,
    talking_since: Mono,
}

#[derive(Clone)]
struct Caller {
    call: CallId,
    asked: usize,
    queue: usize,
    priority: u8,
    since: Mono,
    /// How many of the queue's lesser needs are in force.
    stage: usize,
    place: (i128, u64),
    /// When something changes, and in which order among equals.
    until: Option<(Mono, u64)>,
    /// Of those who are being rung, in the order in which they were given.
    leases: Vec<Lease>,
    /// One of these bookings was given back without blame: nobody joins the others.
    closed: bool,
    /// Whom the queue prefers for them, until the strategy takes over.
    preferred: Option<usize>,
    /// Whom alone they wait for.
    awaits: Option<usize>,
    patience: Patience,
}

/// What a queue does with a caller for whom nobody is idle.
enum Way {
    Wait,
    Move(usize),
    Leave(&'static str),
}

impl Caller {
    fn waits(&self) -> bool {
        self.leases.is_empty()
    }
}

pub(super) struct Model {
    settings: Arc<Settings>,
    agents: Vec<Agent>,
    callers: Vec<Caller>,
    count: u64,
    leases: u64,
    day: i64,
    /// By queue: whom it rang last.
    last: Vec<Option<usize>>,
    pub(super) decided: Vec<Decision>,
    /// What the machine under test decided: the model cannot know how a lot falls, only who takes part.
    pub(super) drawn: Vec<Decision>,
}

impl Model {
    /// Agent ids must be 0, 1, 2 ….
    pub(super) fn new(settings: Arc<Settings>) -> Model {
        let agent = |settings: &AgentSettings| Agent {
            settings: settings.clone(),
            state: State::Offline,
            up: false,
            turn: 0,
            misses: 0,
            calls: 0,
            talk: Duration::ZERO,
            talking_since: Mono(0),
        };
        let agents = settings.agents.iter().map(agent).collect();
        let last = vec![None; settings.queues.len()];
        Model {
            settings,
            agents,
            callers: Vec::new(),
            count: 0,
            leases: 0,
            day: 0,
            last,
            decided: Vec::new(),
            drawn: Vec::new(),
        }
    }

    fn turn_day(&mut self, now: Now) {
        let day = (now.wall.0 + i64::from(self.settings.utc_offset_s) * 1_000).div_euclid(86_400_000);
        if day != self.day {
            self.day = day;
            self.agents.iter_mut().for_each(|agent| (agent.calls, agent.talk) = (0, Duration::ZERO));
        }
    }

    pub(super) fn handle(&mut self, now: Now, event: &Event) {
        self.turn_day(now);
        let now = now.mono;
        match event {
            Event::Enqueue(caller) => self.enqueue(now, caller),
            Event::Cancel { call } => self.leave(now, *call, false),
            Event::Ringing { .. } | Event::Where { .. } => {}
            Event::Answered { lease } => {
                let Some(at) = self.holder(*lease) else { return };
                if let State::Offered { next, .. } = self.agents[at].state.clone() {
                    let caller = self.rung_by(*lease);
                    let caller = self.callers.remove(caller);
                    let queue = caller.queue;
                    self.agents[at].state = State::Talking { lease: *lease, queue, next };
                    self.agents[at].calls += 1;
                    self.agents[at].misses = 0;
                    self.agents[at].talking_since = now;
                    let others: Vec<Lease> = caller.leases.into_iter().filter(|other| other != lease).collect();
                    self.let_go(now, caller.call, others, true);
                }
            }
            Event::Declined { lease, why } => {
                let Some(at) = self.holder(*lease) else { return };
                match (&self.agents[at].state, why) {
                    (State::Offered { .. }, Declined::Rejected) => self.back(now, at, REJECTED),
                    (State::Offered { .. }, Declined::NoAnswer) => self.missed(now, at, *lease),
                    (State::Offered { .. }, Declined::Unreachable) => self.back(now, at, PHONE),
                    _ => self.ended(now, at, *lease),
                }
            }
            Event::Ended { lease } => {
                let Some(at) = self.holder(*lease) else { return };
                self.ended(now, at, *lease);
            }
            Event::Want { agent, state, .. } => self.want(now, agent.index(), state),
            Event::Extend { agent, by } => self.extend(agent.index(), *by),
            Event::Phone { agent, up } => self.phone(now, agent.index(), *up),
            Event::OwnCall { .. } => panic!("the model's agents make no calls of their own"),
            Event::Configure(_) => panic!("the model knows one configuration"),
            Event::Overtaken { .. } | Event::Adopt { .. } => panic!("the model loses no message and no shard"),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.turn_day(now);
        let now = now.mono;
        let mut due: Vec<Due> = Vec::new();
        for (at, agent) in self.agents.iter().enumerate() {
            if let State::Offered { until, .. } | State::WrapUp { until, .. } = agent.state {
                due.push((until, Some(at), None));
            }
        }
        let waiting = self.callers.iter().filter(|caller| caller.waits());
        due.extend(waiting.filter_map(|caller| Some((caller.until?, None, Some(caller.call)))));
        due.retain(|((at, _), ..)| *at <= now);
        due.sort();
        for (until, agent, call) in due {
            match (agent, call) {
                (Some(at), _) => match self.agents[at].state.clone() {
                    State::Offered { lease, until: present, .. } if present == until => {
                        let caller = &self.callers[self.rung_by(lease)];
                        self.decided.push(Decision::Revoke(caller.call, lease.agent));
                        self.missed(now, at, lease);
                    }
                    State::WrapUp { until: present, .. } if present == until => {
                        self.become_next(now, at, &Want::Ready, true)
                    }
                    _ => {}
                },
                (None, Some(call)) => {
                    let due = |caller: &&Caller| caller.until.is_some_and(|(until, _)| until <= now);
                    let waiting = |caller: &&Caller| caller.call == call && caller.waits();
                    if self.callers.iter().filter(waiting).any(|caller| due(&caller)) {
                        self.settle(now, call, false);
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn enqueue(&mut self, now: Mono, wish: &Enqueue) {
        let same = |caller: &&Caller| (caller.call.shard, caller.call.slot) == (wish.call.shard, wish.call.slot);
        if let Some(old) = self.callers.iter().find(same) {
            if old.call == wish.call && old.asked == wish.queue.index() {
                return;
            }
            self.leave(now, old.call, true);
        }
        let asked = wish.queue.index();
        if asked >= self.settings.queues.len() {
            self.decided.push(Decision::Released(wish.call, "queue gone"));
            return;
        }
        self.count += 1;
        let mut caller = Caller {
            call: wish.call,
            asked,
            queue: asked,
            priority: wish.priority,
            since: wish.since,
            stage: 0,
            place: (0, self.count),
            until: None,
            leases: Vec::new(),
            closed: false,
            preferred: wish.preferred.map(AgentId::index),
            awaits: None,
            patience: wish.patience,
        };
        caller.place.0 = self.key(&caller);
        self.callers.push(caller);
        self.settle(now, wish.call, true);
    }

    fn key(&self, caller: &Caller) -> i128 {
        let queue = &self.settings.queues[caller.queue];
        let points = i128::from(queue.priority) + i128::from(caller.priority);
        i128::from(caller.since.0) - points * queue.ageing.as_nanos() as i128
    }

    /// How many others wait in `queue`.
    fn others(&self, queue: usize, call: CallId) -> usize {
        let other = |caller: &&Caller| caller.queue == queue && caller.waits() && caller.call != call;
        self.callers.iter().filter(other).count()
    }

    fn meets(&self, agent: usize, asked: &[(SkillId, u8)]) -> bool {
        let has = &self.agents[agent].settings.skills;
        asked.iter().all(|(skill, level)| has.iter().any(|(own, at)| own == skill && at >= level))
    }

    fn able(&self, agent: usize, caller: &Caller) -> bool {
        let queue = &self.settings.queues[caller.queue];
        let relaxed = caller.stage.checked_sub(1).map(|at| &queue.routing.relax[at].skills);
        self.meets(agent, relaxed.unwrap_or(&queue.skills))
    }

    fn anybody(&self, caller: &Caller) -> bool {
        (0..self.agents.len()).any(|id| self.agents[id].state != State::Offline && self.able(id, caller))
    }

    fn settle(&mut self, now: Mono, call: CallId, new: bool) {
        self.seat(now, call, new);
        self.pair(now, true);
    }

    /// Where does a caller who has no place go? `new` tells that they come in.
    fn seat(&mut self, now: Mono, call: CallId, mut new: bool) {
        loop {
            let at = self.callers.iter().position(|caller| caller.call == call).unwrap();
            let settings = self.settings.clone();
            let queue = &settings.queues[self.callers[at].queue];
            let (relax, since) = (&queue.routing.relax, self.callers[at].since);
            self.callers[at].stage = relax.iter().filter(|relax| since + relax.after <= now).count();
            (self.callers[at].closed, self.callers[at].awaits) = (false, None);
            let preferred = self.callers[at].preferred.filter(|&id| self.is_preferred(now, id, &self.callers[at]));
            match preferred {
                Some(id) if self.agents[id].state == State::Ready => self.offer(now, at, id, true),
                Some(id) if matches!(self.way(now, at, new), Way::Wait) => self.callers[at].awaits = Some(id),
                _ => self.callers[at].preferred = None,
            }
            self.pair(now, false);
            let caller = &self.callers[at];
            if !caller.waits() {
                return;
            }
            let awaits = caller.awaits.is_some();
            match self.way(now, at, new) {
                Way::Leave(why) if !awaits => return self.release(at, why),
                Way::Move(to) if !awaits => {
                    new = true;
                    self.callers[at].queue = to;
                    self.callers[at].place.0 = self.key(&self.callers[at]);
                    continue;
                }
                _ => {}
            }
            let mut moments: Vec<Mono> = relax.iter().map(|relax| since + relax.after).collect();
            let bounded = self.callers[at].patience == Patience::Bounded;
            let overflow = queue.routing.overflow.iter().filter(|_| bounded);
            moments.extend(overflow.filter_map(|overflow| match overflow.when {
                When::Waited(longest) => Some(since + longest),
                _ => None,
            }));
            moments.extend(queue.wait_max.filter(|_| bounded).map(|longest| since + longest));
            moments.extend(queue.routing.preferred.filter(|_| awaits).map(|wait| since + wait));
            self.count += 1;
            let until = moments.into_iter().filter(|&moment| moment > now).min();
            self.callers[at].until = until.map(|until| (until, self.count));
            return;
        }
    }

    fn is_preferred(&self, now: Mono, id: usize, caller: &Caller) -> bool {
        let wait = self.settings.queues[caller.queue].routing.preferred;
        let in_time = wait.is_some_and(|wait| now < caller.since + wait) && caller.queue == caller.asked;
        in_time && id < self.agents.len() && self.is_at_work(id) && self.able(id, caller)
    }

    fn is_at_work(&self, id: usize) -> bool {
        !matches!(self.agents[id].state, State::Offline | State::Paused(_))
    }

    fn way(&self, now: Mono, at: usize, new: bool) -> Way {
        let caller = &self.callers[at];
        if caller.patience != Patience::Bounded {
            return Way::Wait;
        }
        let (queue, since) = (&self.settings.queues[caller.queue], caller.since);
        let others = self.others(caller.queue, caller.call);
        let way = queue.routing.overflow.iter().find(|overflow| match overflow.when {
            When::Waited(longest) => since + longest <= now,
            When::Length(length) => new && others >= length,
            When::Expected(_) => panic!("the model knows no estimates"),
            When::NobodyLoggedIn => !self.anybody(caller),
            When::NobodyReady => new,
        });
        match way {
            Some(Overflow { to: To::Queue(to), .. }) => return Way::Move(to.index()),
            Some(Overflow { to: To::Elsewhere(_), .. }) => return Way::Leave("diverted"),
            Some(Overflow { when: When::Waited(_), .. }) => return Way::Leave("waited too long"),
            Some(Overflow { when: When::Length(_) | When::Expected(_), .. }) => return Way::Leave("full"),
            Some(Overflow { when: When::NobodyLoggedIn | When::NobodyReady, .. }) => return Way::Leave("no agents"),
            None => {}
        }
        if !self.anybody(caller) && queue.no_agents == NoAgents::Release {
            Way::Leave("no agents")
        } else if queue.wait_max.is_some_and(|longest| since + longest <= now) {
            Way::Leave("waited too long")
        } else if new && others >= queue.waiting_max {
            Way::Leave("full")
        } else {
            Way::Wait
        }
    }

    /// While there is a pair: the first caller who can have anybody, and whom their queue prefers. Whoever nobody rings for
    /// goes before those for whom one more may be rung, who are looked at only with `beside`.
    fn pair(&mut self, now: Mono, beside: bool) {
        loop {
            let ready = |id: &usize| self.agents[*id].state == State::Ready;
            let may =
                |id: &usize, caller: &Caller| caller.awaits.is_none_or(|only| only == *id) && self.able(*id, caller);
            let choice = |caller: &Caller| -> Vec<usize> {
                (0..self.agents.len()).filter(ready).filter(|id| may(id, caller)).collect()
            };
            let room = |caller: &Caller| {
                let routing = &self.settings.queues[caller.queue].routing;
                let together = if routing.strategy == Strategy::RingAll { routing.ring_together.into() } else { 1 };
                let beside = beside && caller.patience != Patience::Absent;
                caller.waits() || beside && !caller.closed && caller.leases.len() < together
            };
            let served = |at: &usize| room(&self.callers[*at]) && !choice(&self.callers[*at]).is_empty();
            let order = |at: &usize| (!self.callers[*at].waits(), self.callers[*at].place);
            let Some(at) = (0..self.callers.len()).filter(served).min_by_key(order) else {
                return;
            };
            let id = self.chosen(&self.callers[at], choice(&self.callers[at]));
            let alone = self.callers[at].awaits.is_some() || self.callers[at].closed;
            self.offer(now, at, id, alone);
        }
    }

    fn offer(&mut self, now: Mono, at: usize, id: usize, alone: bool) {
        let queue = self.callers[at].queue;
        self.last[queue] = Some(id);
        self.leases += 1;
        self.count += 1;
        let lease = Lease { epoch: 1, number: self.leases, agent: AgentId(id as u32) };
        let until = (now + self.settings.queues[queue].ring_max, self.count);
        let caller = &mut self.callers[at];
        caller.leases.push(lease);
        (caller.closed, caller.awaits) = (alone, None);
        self.decided.push(Decision::Offer(caller.call, lease.agent));
        self.agents[id].state = State::Offered { lease, until, next: None };
    }

    /// By rank first, then by the queue's strategy.
    fn chosen(&self, caller: &Caller, mut able: Vec<usize>) -> usize {
        let queue = &self.settings.queues[caller.queue];
        let ranks = &queue.routing.ranks;
        let rank = |id: usize| ranks.iter().position(|asked| self.meets(id, asked)).unwrap_or(ranks.len());
        let best = able.iter().map(|&id| rank(id)).min().unwrap();
        able.retain(|&id| rank(id) == best);
        let level = |id: usize, skill: SkillId| {
            let held = self.agents[id].settings.skills.iter().find(|(held, _)| *held == skill);
            held.map_or(0, |(_, level)| i32::from(*level))
        };
        let distance = |id: usize| -> i32 {
            let gap = |&(skill, asked): &(SkillId, u8)| level(id, skill) - i32::from(asked);
            queue.skills.iter().map(gap).map(|gap| if gap < 0 { -256 * gap } else { gap }).sum()
        };
        let (agents, able) = (&self.agents, able.into_iter());
        let chosen = match queue.routing.strategy {
            Strategy::LongestIdle | Strategy::RingAll => able.min_by_key(|&id| agents[id].turn),
            Strategy::LeastCalls => able.min_by_key(|&id| (agents[id].calls, agents[id].turn)),
            Strategy::LeastTalk => able.min_by_key(|&id| (agents[id].talk, agents[id].turn)),
            Strategy::RoundRobin => {
                let last = self.last[caller.queue];
                able.min_by_key(|&id| (last.is_some_and(|last| id <= last), id))
            }
            Strategy::TopDown => able.min(),
            Strategy::MostFitting => able.min_by_key(|&id| (distance(id), agents[id].turn)),
            Strategy::Weighted => {
                let drawn = |id: &usize| self.drawn.contains(&Decision::Offer(caller.call, AgentId(*id as u32)));
                let mut able = able;
                able.find(drawn)
            }
        };
        chosen.expect("the lot fell on somebody who takes part")
    }

    fn release(&mut self, at: usize, why: &'static str) {
        let caller = self.callers.remove(at);
        self.decided.push(Decision::Released(caller.call, why));
    }

    fn leave(&mut self, now: Mono, call: CallId, revoke: bool) {
        let Some(at) = self.callers.iter().position(|caller| caller.call == call) else {
            return;
        };
        let leases = self.callers.remove(at).leases;
        self.let_go(now, call, leases, revoke);
    }

    /// Frees those who rang for a caller who is gone: the longest idle first.
    fn let_go(&mut self, now: Mono, call: CallId, mut leases: Vec<Lease>, revoke: bool) {
        if revoke {
            self.decided.extend(leases.iter().map(|lease| Decision::Revoke(call, lease.agent)));
        }
        leases.sort_by_key(|lease| self.agents[lease.agent.index()].turn);
        leases.into_iter().for_each(|lease| self.unbook(now, lease.agent.index()));
    }

    fn unbook(&mut self, now: Mono, id: usize) {
        if let State::Offered { next, .. } = self.agents[id].state.clone() {
            self.become_next(now, id, &next.unwrap_or(Want::Ready), false);
        }
    }

    /// Whose ringing this is.
    fn rung_by(&self, lease: Lease) -> usize {
        self.callers.iter().position(|caller| caller.leases.contains(&lease)).unwrap()
    }

    fn missed(&mut self, now: Mono, id: usize, lease: Lease) {
        let caller = &self.callers[self.rung_by(lease)];
        let misses_max = self.settings.queues[caller.queue].misses_max;
        self.agents[id].misses += 1;
        if self.agents[id].misses < misses_max {
            return self.back_to(now, id, &Want::Ready);
        }
        self.agents[id].misses = 0;
        self.back(now, id, RONA);
    }

    fn back(&mut self, now: Mono, id: usize, reason: &str) {
        self.back_to(now, id, &Want::NotReady { reason: reason.into() });
    }

    fn back_to(&mut self, now: Mono, id: usize, otherwise: &Want) {
        if let State::Offered { lease, next, .. } = self.agents[id].state.clone() {
            let at = self.rung_by(lease);
            let mut caller = self.callers.remove(at);
            let call = caller.call;
            self.become_next(now, id, &next.unwrap_or(otherwise.clone()), true);
            caller.leases.retain(|other| *other != lease);
            let waits = caller.waits();
            self.callers.push(caller);
            if waits {
                return self.settle(now, call, false);
            }
            self.pair(now, true);
        }
    }

    fn ended(&mut self, now: Mono, id: usize, lease: Lease) {
        match self.agents[id].state.clone() {
            State::Offered { .. } => {
                let at = self.rung_by(lease);
                if let [_] = self.callers[at].leases[..] {
                    return self.leave(now, self.callers[at].call, false);
                }
                self.callers[at].closed = true;
                self.callers[at].leases.retain(|other| *other != lease);
                self.unbook(now, id);
            }
            State::Talking { queue, next, .. } => {
                let wrap_up = self.settings.queues[queue].wrap_up;
                let talked = now.since(self.agents[id].talking_since);
                self.agents[id].talk += talked;
                if next.is_some() || wrap_up.is_zero() {
                    return self.become_next(now, id, &next.unwrap_or(Want::Ready), true);
                }
                self.count += 1;
                self.agents[id].state = State::WrapUp { until: (now + wrap_up, self.count), began: now };
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

    fn extend(&mut self, id: usize, by: Duration) {
        if let State::WrapUp { until: (until, _), began } = self.agents[id].state {
            self.count += 1;
            let until = until.max((until + by).min(began + WRAP_UP_MAX));
            self.agents[id].state = State::WrapUp { until: (until, self.count), began };
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
                let caller = &self.callers[self.rung_by(lease)];
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
        let mut forsaken: Vec<_> = self.callers.iter().filter(|caller| self.is_forsaken(caller)).collect();
        forsaken.sort_by_key(|caller| caller.place);
        let forsaken: Vec<CallId> = forsaken.into_iter().map(|caller| caller.call).collect();
        for call in forsaken {
            self.seat(now, call, false);
        }
        self.pair(now, true);
        if !self.is_at_work(id) {
            let mut apart: Vec<_> = self.callers.iter().filter(|caller| caller.awaits == Some(id)).collect();
            apart.sort_by_key(|caller| caller.place);
            let apart: Vec<CallId> = apart.into_iter().map(|caller| caller.call).collect();
            for call in apart {
                self.seat(now, call, false);
            }
            self.pair(now, true);
        }
    }

    fn is_forsaken(&self, caller: &Caller) -> bool {
        let queue = &self.settings.queues[caller.queue];
        let elsewhere = |overflow: &Overflow| overflow.when == When::NobodyLoggedIn;
        let leaves = queue.no_agents == NoAgents::Release || queue.routing.overflow.iter().any(elsewhere);
        caller.waits() && caller.awaits.is_none() && leaves && !self.anybody(caller)
    }

    fn holder(&self, lease: Lease) -> Option<usize> {
        self.agents.iter().position(|agent| match agent.state {
            State::Offered { lease: own, .. } | State::Talking { lease: own, .. } => own == lease,
            _ => false,
        })
    }
}
