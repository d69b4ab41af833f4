//! The idle agents of each team, longest idle first: doubly linked lists threaded through one table.
//!
//! Joining, leaving and finding cost O(1) beyond the scan of a bit row; strategies that look at something else have orders
//! of their own beside. Owns only the order; who may be idle is decided by the agent's state.

use super::event::{Settings, Strategy};
use super::order::{Order, Orders};
use super::skills::{Bits, Team, common};
use crate::base::AgentId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NOBODY: u32 = u32::MAX;
const EMPTY: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Link {
    turn: u64,
    team: u32,
    before: u32,
    after: u32,
}

const UNLINKED: Link = Link { turn: EMPTY, team: NOBODY, before: NOBODY, after: NOBODY };

/// Idle agents by team, each list in ascending order of turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Idle {
    /// By agent.
    links: Vec<Link>,
    /// By team: first and last.
    ends: Vec<(u32, u32)>,
    /// By team: the turn of the first, so that teams are compared without touching their agents.
    turns: Vec<u64>,
    /// One row: the teams in which somebody is idle.
    some: Bits,
    /// Kept beside the lists only if some queue's strategy looks at them.
    orders: Option<Box<Orders>>,
}

/// What an agent has done since midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Which day that was, counted from 1970.
    pub(super) day: i64,
    pub(super) calls: u32,
    pub(super) talk: Duration,
}

/// What decides among the idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) strategy: Strategy,
    /// By team; empty when all are the same.
    pub(super) grades: &'a [u32],
    /// Whom the queue rang last.
    pub(super) last: Option<u32>,
    /// For the lot.
    pub(super) draw: u64,
}

impl Idle {
    /// Nobody is idle in any of `teams` teams.
    pub(super) fn new(teams: usize, settings: &Settings) -> Self {
        Idle {
            links: Vec::new(),
            ends: vec![(NOBODY, NOBODY); teams],
            turns: vec![EMPTY; teams],
            some: Bits::new(1, teams),
            orders: Orders::new(teams, settings).map(Box::new),
        }
    }

    /// Makes room for agents up to `agents`.
    pub(super) fn grow(&mut self, agents: usize) {
        self.links.resize(self.links.len().max(agents), UNLINKED);
    }

    /// Whom a queue of this kind takes among these teams.
    pub(super) fn choose(&self, able: &[u64], choice: Choice<'_>) -> Option<AgentId> {
        let Choice { strategy, grades, last, draw } = choice;
        let grade = |team: Team| grades.get(team).copied().unwrap_or(0);
        let teams = || common(able, self.some.row(0));
        let orders = self.orders.as_deref();
        let least = |order: Option<&Order>, after: Option<u32>| {
            let order = order.expect("an order is kept for every strategy in use");
            teams()
                .filter_map(|team| Some((grade(team), order.first(team, after)?)))
                .min()
                .map(|(_, first)| first.agent)
        };
        let agent = match strategy {
            Strategy::LongestIdle | Strategy::RingAll if grades.is_empty() => return self.longest(able),
            Strategy::LongestIdle | Strategy::RingAll | Strategy::MostFitting => {
                let team = teams().min_by_key(|&team| (grade(team), self.turns[team]))?;
                self.ends[team].0
            }
            Strategy::LeastCalls => least(orders.and_then(|orders| orders.calls.as_ref()), None)?,
            Strategy::LeastTalk => least(orders.and_then(|orders| orders.talk.as_ref()), None)?,
            Strategy::TopDown => least(orders.and_then(|orders| orders.number.as_ref()), None)?,
            Strategy::RoundRobin => least(orders.and_then(|orders| orders.number.as_ref()), last)?,
            Strategy::Weighted => {
                let pool = orders.and_then(|orders| orders.pool.as_ref()).expect("a pool is kept for the lot");
                pool.draw(teams(), grades, draw)?
            }
        };
        Some(AgentId(agent))
    }

    /// Puts `agent` into the list of `team` by `turn`. A new turn is the highest and goes last at once; a kept one was
    /// the first when its agent was booked, so few can stand before it.
    pub(super) fn join(&mut self, agent: AgentId, team: Team, turn: u64, tally: Tally) {
        debug_assert!(!self.holds(agent), "an agent is idle once");
        let (first, last) = self.ends[team];
        let (before, after) = if last == NOBODY || self.links[last as usize].turn < turn {
            (last, NOBODY)
        } else {
            let mut after = first;
            while self.links[after as usize].turn < turn {
                after = self.links[after as usize].after;
            }
            (self.links[after as usize].before, after)
        };
        self.links[agent.index()] = Link { turn, team: team as u32, before, after };
        self.connect(team, before, agent.0);
        self.connect(team, agent.0, after);
        self.note(team);
        if let Some(orders) = &mut self.orders {
            orders.join(team, agent.0, turn, tally);
        }
    }

    /// Takes `agent` out of their list.
    pub(super) fn leave(&mut self, agent: AgentId) {
        let link = std::mem::replace(&mut self.links[agent.index()], UNLINKED);
        debug_assert_ne!(link.team, NOBODY, "only an idle agent leaves");
        let team = link.team as usize;
        self.connect(team, link.before, link.after);
        self.note(team);
        if let Some(orders) = &mut self.orders {
            orders.leave(team, agent.0);
        }
    }

    /// The longest idle agent among these teams.
    #[inline]
    pub(super) fn longest(&self, able: &[u64]) -> Option<AgentId> {
        let team = common(able, self.some.row(0)).min_by_key(|&team| self.turns[team])?;
        Some(AgentId(self.ends[team].0))
    }

    /// Whether `agent` stands in a list.
    pub(super) fn holds(&self, agent: AgentId) -> bool {
        self.links.get(agent.index()).is_some_and(|link| link.team != NOBODY)
    }

    /// All idle agents of `team` with their turns, longest idle first.
    pub(super) fn of(&self, team: Team) -> impl Iterator<Item = (AgentId, u64)> + '_ {
        let mut at = self.ends[team].0;
        std::iter::from_fn(move || {
            let link = self.links.get(at as usize)?;
            let agent = AgentId(std::mem::replace(&mut at, link.after));
            Some((agent, link.turn))
        })
    }

    /// Panics unless the bits, the cached turns and the links tell the same story.
    pub(super) fn check(&self) {
        for (team, &turn) in self.turns.iter().enumerate() {
            let listed: Vec<(AgentId, u64)> = self.of(team).collect();
            assert!(listed.is_sorted_by_key(|(_, turn)| turn), "team {team} stands in order of turn");
            assert_eq!(listed.first().map_or(EMPTY, |first| first.1), turn, "the first turn of team {team}");
            assert_eq!(listed.last().map_or(NOBODY, |last| last.0.0), self.ends[team].1, "the last of team {team}");
            assert_eq!(
                self.some.row(0)[team / 64] >> (team % 64) & 1 == 1,
                !listed.is_empty(),
                "the bit of team {team}"
            );
            if let Some(orders) = &self.orders {
                assert!(orders.hold(team, listed.len()), "who is idle in team {team} stands in every order");
            }
        }
    }

    fn connect(&mut self, team: Team, before: u32, after: u32) {
        match before {
            NOBODY => self.ends[team].0 = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NOBODY => self.ends[team].1 = before,
            after => self.links[after as usize].before = before,
        }
    }

    fn note(&mut self, team: Team) {
        let first = self.ends[team].0;
        self.turns[team] = if first == NOBODY { EMPTY } else { self.links[first as usize].turn };
        self.some.put(0, team, first != NOBODY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_of_the_able_teams_is_found() {
        let mut idle = Idle::new(70, &Settings::default());
        idle.grow(10);
        for (agent, team, turn) in [(1, 0, 10), (2, 69, 11), (3, 0, 12), (4, 69, 5)] {
            idle.join(AgentId(agent), team, turn, Tally::default());
            idle.check();
        }
        assert_eq!(idle.longest(&[1, 0]), Some(AgentId(1)));
        assert_eq!(idle.longest(&[1, 1 << 5]), Some(AgentId(4)));
        idle.leave(AgentId(4));
        idle.check();
        assert_eq!(idle.longest(&[1, 1 << 5]), Some(AgentId(1)));
        idle.leave(AgentId(1));
        idle.join(AgentId(1), 0, 10, Tally::default());
        idle.check();
        assert_eq!(idle.of(0).map(|(agent, _)| agent.0).collect::<Vec<_>>(), [1, 3], "a kept turn is a kept place");
        assert_eq!(idle.longest(&[2, 0]), None);
    }
}
