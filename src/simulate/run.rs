//! The loop: one heap of things to come, one [`Acd`], and a [`Watch`] that hears what became of each call.
//!
//! All that a call will do (how long it talks and waits) is drawn when it comes, from a stream of draws of its kind: two
//! runs that differ only in their staff see the same citizens.

use super::chance::{Chance, Law};
use super::scenario::{Scenario, Stream};
use crate::acd::Acd;
use crate::acd::event::{AgentChange, AgentState, Command, Enqueue, Event, Lease, Patience, Want};
use crate::base::{AgentId, CallId, ContactId, Mono, Now, ShardId, Wall};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// So long an agent whose phone rang out stays away.
const AFTER_MISS: Duration = Duration::from_secs(60);

/// What became of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Which kind, by its place in the scenario.
    pub stream: usize,
    /// When it came.
    pub came: Mono,
    /// From coming to the answer, or to the end without one.
    pub waited: Duration,
    /// How it ended.
    pub end: End,
    /// Calls of the same citizen before it.
    pub attempt: u8,
}

/// How a call's waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An agent answered.
    Answered,
    /// The citizen lost patience.
    GaveUp,
    /// The queue was full, had nobody, or the wait was too long for it.
    Refused,
}

/// Who looks on.
pub trait Watch {
    /// A call's waiting is over.
    fn call(&mut self, outcome: &Outcome);

    /// An agent's state changed.
    fn agent(&mut self, _at: Mono, _change: &AgentChange) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Duty {
        group: u32,
        step: u32,
    },
    Call {
        stream: u16,
    },
    Redial {
        stream: u16,
        attempt: u8,
    },
    GiveUp {
        call: CallId,
    },
    PickUp {
        lease: Lease,
        call: CallId,
    },
    HangUp {
        lease: Lease,
        call: CallId,
    },
    /// The agent has done with wrapping up after this lease, or comes back after a miss.
    Back {
        lease: Lease,
    },
}

struct Citizen {
    call: CallId,
    stream: usize,
    attempt: u8,
    came: Mono,
    talk: Duration,
    wrap_up: Option<Duration>,
    waiting: bool,
}

struct Seat {
    group: usize,
    on_duty: bool,
    /// The last lease that rang there.
    last: u64,
}

/// One run of a scenario.
pub struct Run<'a, W> {
    scenario: &'a Scenario,
    acd: Acd,
    now: Now,
    coming: BinaryHeap<Reverse<(Mono, u64, Coming)>>,
    order: u64,
    citizens: Vec<Citizen>,
    free: Vec<u32>,
    seats: Vec<Seat>,
    /// By stream: arrivals and what they will do; behind them one for those who call again.
    chances: Vec<Chance>,
    out: Vec<Command>,
    last_arrival: Mono,
    watch: W,
}

impl<'a, W: Watch> Run<'a, W> {
    /// Calls come until `arrivals_end`; what has begun then goes on to its end. Gives the watch back.
    pub fn new(scenario: &'a Scenario, arrivals_end: Duration, watch: W) -> Run<'a, W> {
        let seat = |group: usize| Seat { group, on_duty: false, last: 0 };
        let seats = scenario.groups.iter().enumerate();
        let seats = seats.flat_map(|(at, group)| (0..group.size()).map(move |_| seat(at))).collect();
        let mut run = Run {
            scenario,
            acd: Acd::new(scenario.settings(), 1),
            now: Now { mono: Mono(0), wall: Wall(0) },
            coming: BinaryHeap::new(),
            order: 0,
            citizens: Vec::new(),
            free: Vec::new(),
            seats,
            chances: (0..=scenario.streams.len()).map(|at| Chance::new(scenario.seed, at as u16)).collect(),
            out: Vec::new(),
            last_arrival: Mono(0) + arrivals_end,
            watch,
        };
        run.prepare();
        run
    }

    fn prepare(&mut self) {
        let scenario = self.scenario;
        for agent in 0..self.seats.len() as u32 {
            self.tell(Event::Phone { agent: AgentId(agent), up: true });
        }
        for (group, steps) in (0u32..).zip(scenario.groups.iter().map(|group| &group.duty)) {
            for (step, &(from, _)) in (0u32..).zip(steps) {
                self.plan(Mono(0) + from, Coming::Duty { group, step });
            }
        }
        for stream in 0..scenario.streams.len() {
            self.plan_next(stream);
        }
    }

    /// To the end of the last call. Citizens for whom nobody comes any more are refused then.
    pub fn finish(mut self) -> W {
        loop {
            let next = self.coming.peek().map(|Reverse((at, ..))| *at);
            let deadline = self.acd.next_deadline().filter(|&deadline| next.is_none_or(|next| deadline < next));
            if let Some(deadline) = deadline {
                self.now.mono = deadline.max(self.now.mono);
                let mut out = std::mem::take(&mut self.out);
                self.acd.expire(self.now, &mut out);
                self.out = out;
                self.hear();
            } else if let Some(Reverse((at, _, coming))) = self.coming.pop() {
                self.now.mono = at;
                self.happen(coming);
            } else {
                break;
            }
        }
        for at in 0..self.citizens.len() {
            if self.citizens[at].waiting {
                self.finish_wait(self.citizens[at].call, End::Refused);
            }
        }
        self.watch
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Duty { group, step } => self.change_duty(group as usize, step as usize),
            Coming::Call { stream } => {
                self.arrive(usize::from(stream), 0);
                self.plan_next(usize::from(stream));
            }
            Coming::Redial { stream, attempt } => self.arrive(usize::from(stream), attempt),
            Coming::GiveUp { call } => {
                if self.is_waiting(call) {
                    self.finish_wait(call, End::GaveUp);
                    self.tell(Event::Cancel { call });
                }
            }
            Coming::PickUp { lease, call } => self.pick_up(lease, call),
            Coming::HangUp { lease, call } => {
                let wrap_up = self.citizens[call.slot as usize].wrap_up;
                self.free.push(call.slot);
                self.tell(Event::Ended { lease });
                if let Some(wrap_up) = wrap_up {
                    self.plan(self.now.mono + wrap_up, Coming::Back { lease });
                }
            }
            Coming::Back { lease } => self.come_back(lease),
        }
    }

    fn change_duty(&mut self, group: usize, step: usize) {
        let there = self.scenario.groups[group].duty[step].1;
        let first = self.seats.partition_point(|seat| seat.group < group);
        for (nth, seat) in (first..first + self.scenario.groups[group].size()).enumerate() {
            let on_duty = nth < there;
            if std::mem::replace(&mut self.seats[seat].on_duty, on_duty) != on_duty {
                let state = if on_duty { Want::Ready } else { Want::Offline };
                self.tell(Event::Want { agent: AgentId(seat as u32), state, by: None });
            }
        }
    }

    fn plan_next(&mut self, stream: usize) {
        let next = self.scenario.streams[stream].rate.next(self.now.mono, &mut self.chances[stream]);
        if let Some(at) = next.filter(|&at| at <= self.last_arrival) {
            self.plan(at, Coming::Call { stream: stream as u16 });
        }
    }

    fn arrive(&mut self, at: usize, attempt: u8) {
        let stream: &Stream = &self.scenario.streams[at];
        let draws = if attempt == 0 { at } else { self.scenario.streams.len() };
        let chance = &mut self.chances[draws];
        let talk = stream.talk.draw(chance);
        let patience = stream.patience.map(|law| law.draw(chance));
        let wrap_up = stream.wrap_up.map(|law| law.draw(chance));
        let slot = self.free.pop().unwrap_or(self.citizens.len() as u32);
        let generation = self.citizens.get(slot as usize).map_or(0, |gone| gone.call.generation.wrapping_add(1));
        let call = CallId { shard: ShardId(0), slot, generation };
        let came = self.now.mono;
        let citizen = Citizen { call, stream: at, attempt, came, talk, wrap_up, waiting: true };
        match self.citizens.get_mut(slot as usize) {
            Some(place) => *place = citizen,
            None => self.citizens.push(citizen),
        }
        let (queue, priority) = (stream.queue, stream.priority);
        self.tell(Event::Enqueue(Enqueue {
            call,
            contact: ContactId(1),
            queue,
            priority,
            since: came,
            preferred: None,
            patience: Patience::Bounded,
        }));
        if let Some(patience) = patience.filter(|_| self.is_waiting(call)) {
            self.plan(came + patience, Coming::GiveUp { call });
        }
    }

    fn pick_up(&mut self, lease: Lease, call: CallId) {
        // Given up, rung out, or answered by another in between.
        let booked = self.acd.agent(lease.agent).and_then(|view| view.lease);
        if !self.is_waiting(call) || booked != Some(lease) {
            return;
        }
        self.finish_wait(call, End::Answered);
        let talk = self.citizens[call.slot as usize].talk;
        self.tell(Event::Answered { lease });
        self.plan(self.now.mono + talk, Coming::HangUp { lease, call });
    }

    fn come_back(&mut self, lease: Lease) {
        let seat = &self.seats[lease.agent.index()];
        if !seat.on_duty || seat.last != lease.number {
            return;
        }
        let state = self.acd.agent(lease.agent).map(|view| view.state);
        if matches!(state, Some(AgentState::WrapUp | AgentState::NotReady { .. })) {
            self.tell(Event::Want { agent: lease.agent, state: Want::Ready, by: None });
        }
    }

    /// The wait is over; one who was not answered may call again.
    fn finish_wait(&mut self, call: CallId, end: End) {
        let citizen = &mut self.citizens[call.slot as usize];
        citizen.waiting = false;
        let (stream, attempt, came) = (citizen.stream, citizen.attempt, citizen.came);
        self.watch.call(&Outcome { stream, came, waited: self.now.mono.since(came), end, attempt });
        if end == End::Answered {
            return;
        }
        self.free.push(call.slot);
        if let Some(redial) = self.scenario.streams[stream].redial.filter(|redial| attempt < redial.times_max) {
            let chance = &mut self.chances[self.scenario.streams.len()];
            let again = chance.unit() <= redial.share;
            let after = redial.after.draw(chance);
            if again {
                self.plan(self.now.mono + after, Coming::Redial { stream: stream as u16, attempt: attempt + 1 });
            }
        }
    }

    fn is_waiting(&self, call: CallId) -> bool {
        let citizen = &self.citizens[call.slot as usize];
        citizen.call == call && citizen.waiting
    }

    fn plan(&mut self, at: Mono, coming: Coming) {
        self.order += 1;
        self.coming.push(Reverse((at, self.order, coming)));
    }

    fn tell(&mut self, event: Event) {
        let mut out = std::mem::take(&mut self.out);
        self.acd.handle(self.now, event, &mut out);
        self.out = out;
        self.hear();
    }

    fn hear(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for command in out.drain(..) {
            match command {
                Command::Offer { call, lease, .. } => self.ring(lease, call),
                Command::Revoke { lease, .. } => self.plan(self.now.mono + AFTER_MISS, Coming::Back { lease }),
                Command::Released { call, .. } => self.finish_wait(call, End::Refused),
                // Nobody here asks.
                Command::Stands { .. } => {}
                Command::Agent(change) => self.watch.agent(self.now.mono, &change),
            }
        }
        // Answering at once has told the ACD more and filled another list; the larger one is kept.
        if self.out.capacity() < out.capacity() {
            self.out = out;
        }
    }

    fn ring(&mut self, lease: Lease, call: CallId) {
        let seat = &mut self.seats[lease.agent.index()];
        seat.last = lease.number;
        let law = self.scenario.groups[seat.group].pick_up;
        if law == (Law::Fixed { mean_s: 0.0 }) {
            return self.pick_up(lease, call);
        }
        let after = law.draw(&mut self.chances[self.scenario.streams.len()]);
        self.plan(self.now.mono + after, Coming::PickUp { lease, call });
    }
}
