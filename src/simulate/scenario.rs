//! What is simulated: who calls when and how patiently, and who is there to answer.

use super::chance::{Chance, Law};
use crate::acd::event::{AgentSettings, QueueSettings, Settings};
use crate::base::{AgentId, Mono, QueueId, SkillId};
use crate::modes::{Overlay, Rule};
use std::sync::Arc;
use std::time::Duration;

/// Half an hour: the step of staffing and of all figures.
pub const SLOT: Duration = Duration::from_secs(1_800);
/// Half hours of a day.
pub const SLOTS: usize = 48;

/// Traffic and staff.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The queues, as the hotline runs them.
    pub queues: Vec<QueueSettings>,
    /// Who calls.
    pub streams: Vec<Stream>,
    /// Who answers.
    pub groups: Vec<Group>,
    /// Modes that a rush may open, and what they change, in the order in which they are laid over each other.
    pub modes: Vec<(Rule, Overlay)>,
    /// What decides everything that is drawn.
    pub seed: u64,
}

/// Citizens of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Where they wait.
    pub queue: QueueId,
    /// Of their own, added to the queue's.
    pub priority: u8,
    /// When they come.
    pub rate: Rate,
    /// How long they talk.
    pub talk: Law,
    /// How long the agent wraps up, at most the queue's wrap-up; `None` takes all of that.
    pub wrap_up: Option<Law>,
    /// How long they wait before they hang up; `None` for ever.
    pub patience: Option<Law>,
    /// Who was not answered and calls again.
    pub redial: Option<Redial>,
}

/// Calling again after having given up or been refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Redial {
    /// The part that does (0–1).
    pub share: f64,
    /// How long after.
    pub after: Law,
    /// Further calls of one citizen.
    pub times_max: u8,
}

/// Agents alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// For figures.
    pub name: Box<str>,
    /// Their team, which a mode may lend skills; empty for none.
    pub team: Box<str>,
    /// What they can do.
    pub skills: Vec<(SkillId, u8)>,
    /// From when on how many are there, in order of time.
    pub duty: Vec<(Duration, usize)>,
    /// From ringing to the answer.
    pub pick_up: Law,
}

/// Calls a second from each moment on, in order of time; before the first moment none.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate(Vec<(Duration, f64)>);

impl Rate {
    /// The same for ever.
    pub fn constant(per_s: f64) -> Rate {
        Rate(vec![(Duration::ZERO, per_s)])
    }

    /// So many calls in each half hour, from midnight on; afterwards none.
    pub fn by_slot(calls: &[f64]) -> Rate {
        let mut steps: Vec<(Duration, f64)> =
            (0u32..).zip(calls).map(|(slot, calls)| (SLOT * slot, calls / SLOT.as_secs_f64())).collect();
        steps.push((SLOT * calls.len() as u32, 0.0));
        Rate(steps)
    }

    /// `times` as many from `from` on for `length`.
    pub fn burst(&mut self, from: Duration, length: Duration, times: f64) {
        let until = from + length;
        for moment in [from, until] {
            let at = self.0.partition_point(|step| step.0 < moment);
            if self.0.get(at).is_none_or(|step| step.0 != moment) {
                let before = at.checked_sub(1).map_or(0.0, |at| self.0[at].1);
                self.0.insert(at, (moment, before));
            }
        }
        for (start, per_s) in &mut self.0 {
            if (from..until).contains(start) {
                *per_s *= times;
            }
        }
    }

    /// The next arrival after `now`: the unit-rate Poisson process under a changed clock. `None` when nobody comes any more.
    pub fn next(&self, now: Mono, chance: &mut Chance) -> Option<Mono> {
        let mut left = chance.exponential();
        let now = Duration::from_nanos(now.0);
        let first = self.0.partition_point(|step| step.0 <= now).saturating_sub(1);
        let mut from = now;
        for (at, &(start, per_s)) in self.0.iter().enumerate().skip(first) {
            from = from.max(start);
            let gap = if per_s > 0.0 { left / per_s } else { f64::INFINITY };
            match self.0.get(at + 1) {
                Some(&(until, _)) if from.as_secs_f64() + gap >= until.as_secs_f64() => {
                    left -= per_s * (until - from).as_secs_f64();
                    from = until;
                }
                Some(_) => return Some(Mono(0) + from + Duration::from_secs_f64(gap)),
                None if per_s > 0.0 => return Some(Mono(0) + from + Duration::from_secs_f64(gap)),
                None => return None,
            }
        }
        None
    }

    /// Calls expected between two moments.
    pub fn expected(&self, from: Duration, until: Duration) -> f64 {
        let ends = self.0.iter().skip(1).map(|step| step.0).chain([Duration::MAX]);
        let part = |(&(start, per_s), end): (&(Duration, f64), Duration)| {
            per_s * end.min(until).saturating_sub(start.max(from)).as_secs_f64()
        };
        self.0.iter().zip(ends).map(part).sum()
    }
}

impl Group {
    /// Agents needed at once at most.
    pub fn size(&self) -> usize {
        self.duty.iter().map(|step| step.1).max().unwrap_or(0)
    }

    /// How many are there at `moment`.
    pub fn at(&self, moment: Duration) -> usize {
        let steps = self.duty.partition_point(|step| step.0 <= moment);
        steps.checked_sub(1).map_or(0, |at| self.duty[at].1)
    }
}

impl Scenario {
    /// What the ACD is told while these modes are open: agents are numbered group after group.
    pub fn settings(&self, open: &[Box<str>]) -> Arc<Settings> {
        let kinds = self.groups.iter().flat_map(|group| std::iter::repeat_n(&group.skills, group.size()));
        let agent =
            |(id, skills): (u32, &Vec<(SkillId, u8)>)| AgentSettings { agent: AgentId(id), skills: skills.clone() };
        let agents = (0u32..).zip(kinds).map(agent).collect();
        let mut settings = Settings { queues: self.queues.clone(), agents, ..Settings::default() };
        let teams: Vec<&str> =
            self.groups.iter().flat_map(|group| std::iter::repeat_n(&*group.team, group.size())).collect();
        let team_of = |agent: &AgentSettings| teams.get(agent.agent.index()).map(|team| (*team).into());
        for (_, overlay) in self.modes.iter().filter(|(rule, _)| open.contains(&rule.name)) {
            overlay.lay(&mut settings, team_of);
        }
        Arc::new(settings)
    }

    /// Calls expected in all, redials not counted.
    pub fn expected(&self) -> f64 {
        self.streams.iter().map(|stream| stream.rate.expected(Duration::ZERO, SLOT * SLOTS as u32)).sum()
    }
}
