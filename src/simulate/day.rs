//! A day's figures, half hour by half hour.

use super::run::{End, Outcome, Run, Watch};
use super::scenario::{SLOT, SLOTS, Scenario};
use crate::acd::event::{AgentChange, AgentState};
use crate::base::Mono;
use std::ops::AddAssign;
use std::time::Duration;

/// Calls of one queue that came within one half hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// All of them.
    pub calls: u32,
    /// Those of citizens who had called before.
    pub redials: u32,
    /// Answered, whenever.
    pub answered: u32,
    /// Answered in time.
    pub in_time: u32,
    /// Given up.
    pub gave_up: u32,
    /// Refused by the queue.
    pub refused: u32,
    /// Waiting of all of them together.
    pub waited: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// Agents of one group within one half hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Staff {
    /// Time logged in, of all together.
    pub logged_in: Duration,
    /// Of it, time rung, talking or wrapping up.
    pub busy: Duration,
}

/// A day.
#[derive(Clone, Debug, PartialEq)]
pub struct Day {
    within: Duration,
    /// By queue and half hour.
    pub calls: Vec<[Calls; SLOTS]>,
    /// By group and half hour.
    pub staff: Vec<[Staff; SLOTS]>,
    /// Which mode opened (true) or was shut when, in order of time.
    pub modes: Vec<(Duration, Box<str>, bool)>,
    /// By stream.
    queues: Vec<usize>,
    /// By agent: group, and since when which state.
    agents: Vec<(usize, Mono, bool, bool)>,
}

impl Calls {
    /// Of all calls, the part answered in time; of none, all.
    pub fn service_level(&self) -> f64 {
        if self.calls == 0 { 1.0 } else { f64::from(self.in_time) / f64::from(self.calls) }
    }

    /// Mean wait in seconds.
    pub fn mean_wait_s(&self) -> f64 {
        self.waited.as_secs_f64() / f64::from(self.calls.max(1))
    }
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Calls) {
        self.calls += other.calls;
        self.redials += other.redials;
        self.answered += other.answered;
        self.in_time += other.in_time;
        self.gave_up += other.gave_up;
        self.refused += other.refused;
        self.waited += other.waited;
        self.longest = self.longest.max(other.longest);
    }
}

impl AddAssign for Staff {
    fn add_assign(&mut self, other: Staff) {
        self.logged_in += other.logged_in;
        self.busy += other.busy;
    }
}

impl Staff {
    /// Agents there on average.
    pub fn agents(&self) -> f64 {
        self.logged_in.as_secs_f64() / SLOT.as_secs_f64()
    }

    /// The part of their time that they are busy.
    pub fn occupancy(&self) -> f64 {
        if self.logged_in.is_zero() { 0.0 } else { self.busy.as_secs_f64() / self.logged_in.as_secs_f64() }
    }
}

impl Day {
    /// Runs it; in time means within `within`.
    pub fn of(scenario: &Scenario, within: Duration) -> Day {
        let groups = scenario.groups.iter().enumerate();
        let agents = groups.flat_map(|(at, group)| std::iter::repeat_n((at, Mono(0), false, false), group.size()));
        let day = Day {
            within,
            calls: vec![[Calls::default(); SLOTS]; scenario.queues.len()],
            staff: vec![[Staff::default(); SLOTS]; scenario.groups.len()],
            modes: Vec::new(),
            queues: scenario.streams.iter().map(|stream| stream.queue.index()).collect(),
            agents: agents.collect(),
        };
        let end = SLOT * SLOTS as u32;
        let mut day = Run::new(scenario, end, day).finish();
        for at in 0..day.agents.len() {
            day.account(at, Mono(0) + end);
        }
        day
    }

    /// All queues together.
    pub fn all_calls(&self, slot: usize) -> Calls {
        let mut sum = Calls::default();
        self.calls.iter().for_each(|queue| sum += queue[slot]);
        sum
    }

    /// All groups together.
    pub fn all_staff(&self, slot: usize) -> Staff {
        let mut sum = Staff::default();
        self.staff.iter().for_each(|group| sum += group[slot]);
        sum
    }

    /// The whole day of all queues.
    pub fn whole(&self) -> Calls {
        let mut sum = Calls::default();
        (0..SLOTS).for_each(|slot| sum += self.all_calls(slot));
        sum
    }

    /// Shares the time since an agent's last change out among the half hours.
    fn account(&mut self, at: usize, until: Mono) {
        let (group, mut from, logged_in, busy) = self.agents[at];
        while from < until {
            let slot = (from.since(Mono(0)).as_nanos() / SLOT.as_nanos()) as usize;
            let end = until.min(Mono(0) + SLOT * (slot as u32 + 1));
            if let Some(staff) = self.staff[group].get_mut(slot) {
                let spent = end.since(from);
                staff.logged_in += if logged_in { spent } else { Duration::ZERO };
                staff.busy += if busy { spent } else { Duration::ZERO };
            }
            from = end;
        }
        self.agents[at].1 = until.max(self.agents[at].1);
    }
}

impl Watch for Day {
    fn call(&mut self, outcome: &Outcome) {
        // Who calls again after midnight is counted in the last half hour.
        let slot = ((outcome.came.since(Mono(0)).as_nanos() / SLOT.as_nanos()) as usize).min(SLOTS - 1);
        self.calls[self.queues[outcome.stream]][slot] += Calls {
            calls: 1,
            redials: u32::from(outcome.attempt > 0),
            answered: u32::from(outcome.end == End::Answered),
            in_time: u32::from(outcome.end == End::Answered && outcome.waited <= self.within),
            gave_up: u32::from(outcome.end == End::GaveUp),
            refused: u32::from(outcome.end == End::Refused),
            waited: outcome.waited,
            longest: outcome.waited,
        };
    }

    fn mode(&mut self, at: Mono, name: &str, open: bool) {
        self.modes.push((at.since(Mono(0)), name.into(), open));
    }

    fn agent(&mut self, at: Mono, change: &AgentChange) {
        let agent = change.agent.index();
        self.account(agent, at);
        let (logged_in, busy) = match change.to {
            AgentState::Offline => (false, false),
            AgentState::NotReady { .. } | AgentState::Ready => (true, false),
            AgentState::Offered | AgentState::Talking | AgentState::WrapUp => (true, true),
        };
        self.agents[agent].2 = logged_in;
        self.agents[agent].3 = busy;
    }
}
