//! The front door: every event about a site's queues and agents comes in here, and what follows from it goes out.
//!
//! Owns the callers' side of the machine: entering the line and leaving it; what happens to those who wait is in `overflow`. The agents' side is in
//! `agent`, the meeting of both in `pairing`. Each event is handled to its end in one step, so between two events
//! nobody is idle beside a caller they can serve.

use super::agent::Agent;
use super::estimate::Flow;
use super::event::{Command, Enqueue, Event, Lease, Patience, QueueSettings, Released, Settings};
use super::explain::Watch;
use super::idle::{Idle, Tally};
use super::line::{Caller, Line, Place, Standing};
use super::overflow::Entry;
use super::skills::{Need, Skills, common};
use crate::base::wheel::Wheel;
use crate::base::{AgentId, CallId, Mono, Now, QueueId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Highest number of agents a process may know; events about ids beyond it are dropped.
pub(super) const AGENTS_MAX: usize = 1 << 20;
const DAY_MS: i64 = 86_400_000;
/// Deadlines are rounded up to this.
const STEP: Duration = Duration::from_millis(1);

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Timer {
    /// An agent's phone has rung for long enough.
    Lease(Lease),
    /// An agent's wrap-up is over.
    WrapUp(AgentId),
    /// Something changes for a caller who waits.
    Wait(CallId),
}

/// What a queue remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Course {
    /// Whom it rang last.
    pub(super) last: Option<u32>,
    pub(super) flow: Flow,
}

/// All queues and agents of one site.
///
/// # What a caller goes through
/// `Enqueue` → offered at once if somebody able is idle, else waiting → `Offer` → `Answered`: out of the line. A
/// declined or expired offer brings the caller back with the same place. They leave it otherwise by `Cancel` or
/// [`Command::Released`].
///
/// # Deadlines
/// An offer ends at `ring_until`, wrap-up at its end, waiting at the queue's `wait_max`. Talking has no deadline here:
/// it lasts as long as the call does, and the call owes one `Ended` for each `Answered`.
///
/// # Copies
/// A copy, also one that went through a file, decides as the original does from there on, to the last tie: that is what
/// [`explain`](super::explain) replays. What survives a crash is a [`Snapshot`](super::Snapshot), which fits other releases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acd {
    pub(super) settings: Arc<Settings>,
    pub(super) skills: Skills,
    pub(super) epoch: u32,
    /// Number of the last lease.
    pub(super) leases: u64,
    /// Number of the last turn given to an agent who became ready.
    pub(super) turns: u64,
    /// By agent.
    pub(super) agents: Vec<Agent>,
    /// How many of them a lease books.
    pub(super) booked: usize,
    pub(super) idle: Idle,
    pub(super) line: Line,
    /// By need: how many agents able to serve it are logged in.
    pub(super) present: Vec<usize>,
    pub(super) wheel: Wheel<Timer>,
    /// By queue.
    pub(super) flows: Vec<Course>,
    /// The site's day, counted from 1970.
    pub(super) day: i64,
    due: Vec<Timer>,
    /// Set only in a replay: hears why.
    #[serde(skip)]
    pub(super) watch: Option<Box<Watch>>,
}

impl Acd {
    /// Empty queues, all agents offline with their phones away, leases of `epoch`.
    pub fn new(settings: Arc<Settings>, epoch: u32) -> Acd {
        let skills = Skills::of(&settings);
        let mut acd = Acd {
            idle: Idle::new(skills.teams, &settings),
            line: Line::new(skills.needs, settings.queues.len()),
            present: vec![0; skills.needs],
            skills,
            epoch,
            leases: 0,
            turns: 0,
            agents: Vec::new(),
            booked: 0,
            wheel: Wheel::new(STEP),
            flows: vec![Course::default(); settings.queues.len()],
            day: 0,
            due: Vec::new(),
            watch: None,
            settings,
        };
        acd.grow();
        acd
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        self.turn_day(now);
        let now = now.mono;
        match event {
            Event::Enqueue(caller) => self.enqueue(now, &caller, out),
            Event::Cancel { call } => self.cancel(now, call, out),
            Event::Where { call } => {
                if let Some((ahead, expected)) = self.position(call).and_then(|it| Some((it.ahead?, it.expected))) {
                    out.push(Command::Stands { call, ahead, expected });
                }
            }
            // The booking's deadline was set by the offer, so that a phone that never rings cannot hold an agent either.
            Event::Ringing { lease: _ } => {}
            Event::Answered { lease } => self.answered(now, lease, out),
            Event::Overtaken { lease, caller } => self.take_up_talk(now, lease, &caller, out),
            Event::Declined { lease, why } => self.declined(now, lease, why, out),
            Event::Ended { lease } => self.ended(now, lease, out),
            Event::Want { agent, state, by } => self.want(now, agent, (state, by), out),
            Event::Phone { agent, up } => self.phone(now, agent, up, out),
            Event::OwnCall { agent, call, up } => self.own_call(now, agent, (call, up), out),
            Event::Adopt { shard, live, own } => self.adopt_shard(now, shard, (&live, &own), out),
            Event::Configure(settings) => self.configure(now, settings, out),
            Event::Extend { agent, by } => self.extend(agent, by),
        }
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        self.turn_day(now);
        let now = now.mono;
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(now, &mut due);
        // One timer's work may settle what another stands for: each looks again whether it still means anything.
        for timer in due.drain(..) {
            match timer {
                Timer::Lease(lease) => self.rang_out(now, lease, out),
                Timer::WrapUp(agent) => self.wrapped_up(now, agent, out),
                Timer::Wait(call) => self.waited(now, call, out),
            }
        }
        self.due = due;
    }

    /// At the site's midnight agents' talks are counted from nothing again.
    fn turn_day(&mut self, now: Now) {
        let day = (now.wall.0 + i64::from(self.settings.utc_offset_s) * 1_000).div_euclid(DAY_MS);
        if day != self.day {
            self.day = day;
            self.agents.iter_mut().for_each(|agent| agent.tally = Tally { day, ..Tally::default() });
            self.recount();
        }
    }

    /// When [`Acd::expire`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.wheel.next_deadline()
    }

    /// A caller comes in. One who is in this queue already keeps the place, or the agent who is being rung; one who is in
    /// another queue moves, and whoever was being rung for them is let go.
    pub(super) fn enqueue(&mut self, now: Mono, caller: &Enqueue, out: &mut Vec<Command>) {
        if let Some(slot) = self.line.tenant(caller.call) {
            let present = self.line.caller(slot);
            if present.call == caller.call && present.asked == Some(caller.queue) {
                return;
            }
            // Another generation in this slot is a call that is over: its shard has given the slot away.
            self.withdraw(now, slot, true, out);
        }
        let Some(queue) = self.settings.queues.get(caller.queue.index()) else {
            out.push(Command::Released { call: caller.call, why: Released::QueueGone });
            return;
        };
        let ticket = self.line.ticket();
        let place = Place::of(queue, caller.priority, caller.since, ticket);
        let bounded = caller.patience == Patience::Bounded;
        let wait_until = queue.wait_max.filter(|_| bounded).map(|longest| caller.since + longest);
        let slot = self.line.admit(Caller { wait_until, ..Caller::new(caller, place) });
        self.settle(now, slot, Entry::New, out);
    }

    /// Takes a waiting caller out of the order, to be offered or released.
    pub(super) fn lift(&mut self, slot: u32) {
        let need = self.need_of(slot);
        self.line.lift(slot, need);
        if let Some(timer) = self.line.caller_mut(slot).timer.take() {
            self.wheel.cancel(timer);
        }
    }

    /// Tells the call of a caller without a place that they have left the line.
    pub(super) fn release(&mut self, slot: u32, why: Released, out: &mut Vec<Command>) {
        let call = self.line.dismiss(slot).call;
        out.push(Command::Released { call, why });
    }

    fn cancel(&mut self, now: Mono, call: CallId, out: &mut Vec<Command>) {
        if let Some(slot) = self.line.find(call) {
            self.withdraw(now, slot, false, out);
        }
    }

    /// Takes a caller out of the line for good; agents who are being rung go back to the old idle place.
    pub(super) fn withdraw(&mut self, now: Mono, slot: u32, revoke: bool, out: &mut Vec<Command>) {
        match self.line.caller(slot).standing {
            Standing::Between => unreachable!("no caller is between two places when an event comes in"),
            Standing::Waiting => {
                self.lift(slot);
                self.line.dismiss(slot);
            }
            Standing::Offered(_) => {
                let caller = self.line.dismiss(slot);
                if revoke {
                    let revoked = |&lease| Command::Revoke { call: caller.call, lease };
                    out.extend(caller.leases().iter().map(revoked));
                }
                self.let_go(now, caller.leases(), out);
            }
        }
    }

    /// Frees agents who were being rung for a caller who is gone, without blame: the longest idle first.
    pub(super) fn let_go(&mut self, now: Mono, leases: &[Lease], out: &mut Vec<Command>) {
        if let [lease] = leases {
            return self.unbook(now, lease.agent, out);
        }
        let mut agents: Vec<AgentId> = leases.iter().map(|lease| lease.agent).collect();
        agents.sort_unstable_by_key(|agent| self.agents[agent.index()].turn);
        agents.into_iter().for_each(|agent| self.unbook(now, agent, out));
    }

    /// Counts an agent's logging in or out in every need they can serve.
    pub(super) fn count_present(&mut self, now: Mono, agent: AgentId, logged_in: bool, out: &mut Vec<Command>) {
        let Some(team) = self.skills.team_of(agent) else { return };
        let serves = self.skills.serves(team);
        let mut emptied = Vec::new();
        for need in common(serves, serves) {
            if logged_in {
                self.present[need] += 1;
            } else {
                self.present[need] -= 1;
                if self.present[need] == 0 {
                    emptied.push(need);
                }
            }
        }
        if !emptied.is_empty() {
            self.nobody_left(now, &emptied, out);
        }
    }

    /// Makes room for every agent in the settings.
    pub(super) fn grow(&mut self) {
        let agents = self.settings.agents.iter().map(|agent| agent.agent.index() + 1).max().unwrap_or(0);
        assert!(agents <= AGENTS_MAX, "agent ids are dense");
        self.grow_to(agents);
    }

    pub(super) fn grow_to(&mut self, agents: usize) {
        if self.agents.len() < agents {
            self.agents.resize_with(agents, Agent::default);
        }
        self.idle.grow(self.agents.len());
    }

    /// The need of a caller whose queue exists.
    pub(super) fn need_of(&self, slot: u32) -> Need {
        let caller = self.line.caller(slot);
        let needs = self.skills.needs_of(caller.queue.expect("who waits has a queue"));
        needs[usize::from(caller.stage)]
    }

    /// The settings of the queue of a caller whose queue exists.
    pub(super) fn queue_of(&self, slot: u32) -> &QueueSettings {
        let QueueId(queue) = self.line.caller(slot).queue.expect("who waits has a queue");
        &self.settings.queues[usize::from(queue)]
    }
}
