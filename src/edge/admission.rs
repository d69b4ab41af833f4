//! How many new calls are taken: all of them, until the node is measurably behind; then as many as it can carry.
//!
//! The measure is the standing queue: the shortest time that any message had to wait in the last tick. A burst that is
//! worked off in time waits for a moment only; what always waits is too much (CoDel, RFC 8289 §3). While the node is
//! behind the rate of new calls falls by a share each tick, unless the queue shortens already; while it is clearly not, the
//! rate rises by a smaller share (AIMD); between the two marks it stays. Memory and the number of calls close the door by
//! marks of their own, memory with a gap between shutting and opening. Emergencies pass within a rate of their own and up
//! to the hard bounds.
//!
//! Knows nothing of what a call is; a repeated question gets the same answer. Never touches a call that was taken.

use super::bucket::{Bucket, Rate};
use super::recent::Recent;
use crate::base::{Mono, SiteId};
use core::time::Duration;
use std::collections::BTreeMap;

/// Ticks in a row that must be behind before anything is refused.
const BEHIND_TICKS: u32 = 2;
/// Ticks in a row without a refusal after which all are taken again: 3 s at ten ticks a second.
const CALM_TICKS: u32 = 30;
/// One call in millionths, the unit of credit.
const CALL: u64 = 1_000_000;
/// Least rate, in thousandths of a call a second: the door is never shut by lag alone.
const RATE_MIN: u64 = 5_000;
/// The first rate is no lower, in the same unit: a moment's lag of an idle node refuses nobody.
const RATE_START: u64 = 100_000;
/// Calls that pass at once while calls are refused, if nobody came for a while.
const BURST_MIN: u64 = 50;
/// Emergencies that pass whatever the lag.
const EMERGENCIES: Rate = Rate { per_s: 20, burst: 40 };
/// Shares of the memory limit, in hundredths: where usual calls are refused, where they are taken again, where emergencies
/// are refused too.
const MEMORY_FULL: u64 = 90;
const MEMORY_FREE: u64 = 85;
const MEMORY_HARD: u64 = 97;
/// The share of `calls_max` that is kept for emergencies: one in so many.
const RESERVE: usize = 50;

/// The marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A standing queue of so long is too much; half of it is clearly not.
    pub lag_max: Duration,
    /// Resident memory of the process, in bytes.
    pub memory_max: u64,
    /// Calls at once.
    pub calls_max: usize,
}

/// What was measured since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Shortest time that a message had to wait, of the part of the node where it was longest.
    pub lag: Duration,
    /// Whether the recorder or the journal could not take what they were given.
    pub strained: bool,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Calls that live.
    pub calls: usize,
}

/// How urgent a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// As most.
    Usual,
    /// Tagged as an emergency, or from a trunk of an emergency service.
    Emergency,
}

/// What becomes of an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To its shard.
    Pass,
    /// 503, for the first time.
    Refuse,
    /// 503 once more.
    RefuseAgain,
}

/// What was decided since the start, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = AdmissionCounts)]
pub struct Counts {
    /// New calls that passed.
    pub admitted: u64,
    /// New calls refused because the node was behind.
    pub refused_lag: u64,
    /// New calls refused for want of memory.
    pub refused_memory: u64,
    /// New calls refused because there were too many.
    pub refused_calls: u64,
    /// Of those that passed: emergencies that would have been refused.
    pub reserve_used: u64,
    /// The standing queue at the last tick, in microseconds.
    pub lag_us: u64,
    /// Calls a second that pass now; `None`: all.
    pub rate: Option<u64>,
    /// Whether usual calls are refused for want of memory.
    pub memory_full: bool,
    /// Calls remembered for their repetitions.
    pub remembered: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All pass; so many ticks in a row were behind.
    Open { behind: u32 },
    /// So many pass, in thousandths a second; so many ticks in a row nobody was refused.
    Shedding { rate: u64, calm: u32 },
}

/// What the last ticks brought.
#[derive(Clone, Copy, Debug, Default)]
struct Tick {
    at: Mono,
    /// Calls that lived at its begin.
    calls: usize,
    admitted: u64,
    refused: u64,
    /// Calls that passed a second, in thousandths, smoothed.
    passing: u64,
    /// The standing queue at its begin.
    lag: Duration,
}

/// Where refused calls came from: the site of the dialled number, and the trunk (empty for a phone).
pub type Blocked = (Option<SiteId>, Box<str>);

/// The door for new calls of one node.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    state: State,
    memory_full: bool,
    memory_hard: bool,
    /// What may pass now, in millionths of a call.
    credit: u64,
    credited: Mono,
    emergencies: Bucket,
    tick: Tick,
    recent: Recent,
    counts: Counts,
    blocked: BTreeMap<Blocked, u64>,
    blocked_by_trunk: BTreeMap<Box<str>, u64>,
}

enum Want {
    Lag,
    Memory,
    Calls,
}

impl Admission {
    /// An open door.
    pub fn new(seed: [u64; 2], limits: Limits) -> Admission {
        Admission {
            limits,
            state: State::Open { behind: 0 },
            memory_full: false,
            memory_hard: false,
            credit: 0,
            credited: Mono(0),
            emergencies: Bucket::default(),
            tick: Tick::default(),
            recent: Recent::new(seed),
            counts: Counts::default(),
            blocked: BTreeMap::new(),
            blocked_by_trunk: BTreeMap::new(),
        }
    }

    /// What becomes of an INVITE outside dialogs. `call` is a keyed hash of its Call-ID; how urgent it is, is asked for only
    /// when it matters.
    pub fn ask(&mut self, now: Mono, call: u64, urgency: impl FnOnce() -> Urgency) -> Decision {
        match self.recent.passed(call) {
            Some(true) => return Decision::Pass,
            Some(false) => return Decision::RefuseAgain,
            None => {}
        }
        let refused = self.want(now).filter(|want| !self.passes_by_reserve(now, want, urgency));
        self.recent.note(now, call, refused.is_none());
        let counter = match refused {
            None => &mut self.counts.admitted,
            Some(Want::Lag) => &mut self.counts.refused_lag,
            Some(Want::Memory) => &mut self.counts.refused_memory,
            Some(Want::Calls) => &mut self.counts.refused_calls,
        };
        *counter += 1;
        if refused.is_none() {
            self.tick.admitted += 1;
            Decision::Pass
        } else {
            self.tick.refused += 1;
            Decision::Refuse
        }
    }

    /// Whether a call with this hash was refused: its ACK is nobody's.
    pub fn refused(&self, call: u64) -> bool {
        self.recent.passed(call) == Some(false)
    }

    /// Whose call was refused.
    pub fn block(&mut self, from: Blocked) {
        *self.blocked_by_trunk.entry(from.1.clone()).or_default() += 1;
        *self.blocked.entry(from).or_default() += 1;
    }

    /// Calls refused since this was last asked, by where they came from.
    pub fn take_blocked(&mut self) -> BTreeMap<Blocked, u64> {
        std::mem::take(&mut self.blocked)
    }

    /// Calls refused since the start, by trunk.
    pub fn blocked_by_trunk(&self) -> &BTreeMap<Box<str>, u64> {
        &self.blocked_by_trunk
    }

    /// Takes a measurement; ten times a second.
    pub fn measure(&mut self, now: Mono, load: &Load) {
        self.fill(now);
        let passed_ms = u64::try_from(now.since(self.tick.at).as_millis()).unwrap_or(u64::MAX).max(1);
        let passing = self.tick.admitted * 1_000_000 / passed_ms;
        let passing = (3 * self.tick.passing + passing) / 4;
        self.tick.passing = passing;
        self.state = self.next(load);
        self.tick = Tick { at: now, calls: load.calls, admitted: 0, refused: 0, passing, lag: load.lag };
        self.counts.lag_us = u64::try_from(load.lag.as_micros()).unwrap_or(u64::MAX);
        let share = load.resident.saturating_mul(100) / self.limits.memory_max.max(1);
        self.memory_full = share >= if self.memory_full { MEMORY_FREE } else { MEMORY_FULL };
        self.memory_hard = share >= MEMORY_HARD;
    }

    /// How it stands.
    pub fn counts(&self) -> Counts {
        let rate = match self.state {
            State::Open { .. } => None,
            State::Shedding { rate, .. } => Some(rate / 1_000),
        };
        Counts { rate, memory_full: self.memory_full, remembered: self.recent.len(), ..self.counts }
    }

    fn next(&self, load: &Load) -> State {
        let behind_now = load.lag > self.limits.lag_max || load.strained;
        let far_behind = load.lag > self.limits.lag_max * 4;
        let clear = load.lag * 2 <= self.limits.lag_max;
        match self.state {
            State::Open { behind } if behind_now && behind + 1 >= BEHIND_TICKS => {
                State::Shedding { rate: (self.tick.passing * 9 / 10).max(RATE_START), calm: 0 }
            }
            State::Open { behind } => State::Open { behind: if behind_now { behind + 1 } else { 0 } },
            // What was cut is being worked off already.
            State::Shedding { rate, .. } if behind_now && load.lag < self.tick.lag && !load.strained => {
                State::Shedding { rate, calm: 0 }
            }
            State::Shedding { rate, .. } if behind_now => {
                // Where nobody was refused it is not calls that keep the node busy: few that came are no measure.
                let least = if self.tick.refused == 0 { rate.min(RATE_START) } else { RATE_MIN };
                let from = rate.min(self.tick.passing.max(least));
                State::Shedding { rate: (from * if far_behind { 7 } else { 9 } / 10).max(least), calm: 0 }
            }
            State::Shedding { rate, calm } => {
                let calm = if self.tick.refused == 0 && clear { calm + 1 } else { 0 };
                let rate = if clear { rate + (rate / 30).max(1_000) } else { rate };
                if calm >= CALM_TICKS { State::Open { behind: 0 } } else { State::Shedding { rate, calm } }
            }
        }
    }

    /// Credit comes by the clock, for a tenth of a second or a small burst at most.
    fn fill(&mut self, now: Mono) {
        let passed_ms = u64::try_from(now.since(self.credited).as_millis()).unwrap_or(u64::MAX);
        if passed_ms == 0 {
            return;
        }
        self.credited = now;
        self.credit = match self.state {
            State::Open { .. } => BURST_MIN * CALL,
            State::Shedding { rate, .. } => {
                let most = (rate * 100).max(BURST_MIN * CALL);
                self.credit.saturating_add(rate.saturating_mul(passed_ms)).min(most)
            }
        };
    }

    /// What a usual call wants for; `None` when it passes.
    fn want(&mut self, now: Mono) -> Option<Want> {
        if self.memory_full {
            return Some(Want::Memory);
        }
        if self.calls() >= self.limits.calls_max - self.limits.calls_max / RESERVE {
            return Some(Want::Calls);
        }
        self.fill(now);
        match self.state {
            State::Open { .. } => None,
            State::Shedding { .. } if self.credit < CALL => Some(Want::Lag),
            State::Shedding { .. } => {
                self.credit -= CALL;
                None
            }
        }
    }

    fn passes_by_reserve(&mut self, now: Mono, want: &Want, urgency: impl FnOnce() -> Urgency) -> bool {
        let room = match want {
            Want::Lag => true,
            Want::Memory => !self.memory_hard,
            Want::Calls => self.calls() < self.limits.calls_max,
        };
        let passes = room && urgency() == Urgency::Emergency && self.emergencies.take(now, EMERGENCIES);
        self.counts.reserve_used += u64::from(passes);
        passes
    }

    /// Calls that live, those included that passed since they were counted.
    fn calls(&self) -> usize {
        self.tick.calls + usize::try_from(self.tick.admitted).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
