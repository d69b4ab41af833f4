//! Other orders of the idle agents than the longest idle: by a key that rests while they are idle, and by lot.

use super::event::{Settings, Strategy};
use super::idle::Tally;
use super::skills::Team;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

const NOWHERE: u32 = u32::MAX;

/// The orders that strategies in use look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) calls: Option<Order>,
    pub(super) talk: Option<Order>,
    pub(super) number: Option<Order>,
    pub(super) pool: Option<Pool>,
}

impl Orders {
    /// `None` when every queue takes the longest idle or the most fitting.
    pub(super) fn new(teams: usize, settings: &Settings) -> Option<Orders> {
        let uses = |wanted: &[Strategy]| settings.queues.iter().any(|queue| wanted.contains(&queue.routing.strategy));
        let order = |wanted: &[Strategy]| uses(wanted).then(|| Order::new(teams));
        let orders = Orders {
            calls: order(&[Strategy::LeastCalls]),
            talk: order(&[Strategy::LeastTalk]),
            number: order(&[Strategy::RoundRobin, Strategy::TopDown]),
            pool: uses(&[Strategy::Weighted]).then(|| Pool::new(teams)),
        };
        let Orders { calls, talk, number, pool } = &orders;
        (calls.is_some() || talk.is_some() || number.is_some() || pool.is_some()).then_some(orders)
    }

    /// Puts an agent into each.
    pub(super) fn join(&mut self, team: Team, agent: u32, turn: u64, tally: Tally) {
        let talk = u64::try_from(tally.talk.as_nanos()).unwrap_or(u64::MAX);
        let keys = [u64::from(tally.calls), talk, u64::from(agent)];
        for (order, key) in [&mut self.calls, &mut self.talk, &mut self.number].into_iter().zip(keys) {
            if let Some(order) = order {
                order.join(team, agent, (key, turn));
            }
        }
        if let Some(pool) = &mut self.pool {
            pool.join(team, agent);
        }
    }

    /// Takes an agent out of each.
    pub(super) fn leave(&mut self, team: Team, agent: u32) {
        for order in [&mut self.calls, &mut self.talk, &mut self.number].into_iter().flatten() {
            order.leave(team, agent);
        }
        if let Some(pool) = &mut self.pool {
            pool.leave(team, agent);
        }
    }

    /// Whether each holds so many of a team.
    pub(super) fn hold(&self, team: Team, agents: usize) -> bool {
        let orders = [&self.calls, &self.talk, &self.number].into_iter().flatten();
        let pools = self.pool.iter().map(|pool| pool.teams[team].len());
        orders.map(|order| order.teams[team].len()).chain(pools).all(|held| held == agents)
    }
}

/// An idle agent's place in an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Came only by going round to the beginning.
    pub(super) round: bool,
    key: u64,
    turn: u64,
    pub(super) agent: u32,
}

/// Idle agents of each team by a key, then by turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// By agent, while idle.
    keys: Vec<(u64, u64)>,
    teams: Vec<BTreeSet<(u64, u64, u32)>>,
}

impl Order {
    pub(super) fn new(teams: usize) -> Self {
        Order { keys: Vec::new(), teams: vec![BTreeSet::new(); teams] }
    }

    /// Puts an agent in by key and turn.
    pub(super) fn join(&mut self, team: Team, agent: u32, (key, turn): (u64, u64)) {
        let at = agent as usize;
        self.keys.resize(self.keys.len().max(at + 1), (0, 0));
        self.keys[at] = (key, turn);
        self.teams[team].insert((key, turn, agent));
    }

    /// Takes an agent out.
    pub(super) fn leave(&mut self, team: Team, agent: u32) {
        let (key, turn) = self.keys[agent as usize];
        self.teams[team].remove(&(key, turn, agent));
    }

    /// The first of a team; with `after` the first whose key is higher, or round to the beginning.
    pub(super) fn first(&self, team: Team, after: Option<u32>) -> Option<Place> {
        let place = |round| move |&(key, turn, agent): &(u64, u64, u32)| Place { round, key, turn, agent };
        let team = &self.teams[team];
        let Some(after) = after else { return team.first().map(place(false)) };
        let beyond = (Excluded((u64::from(after), u64::MAX, u32::MAX)), Unbounded);
        team.range(beyond).next().map(place(false)).or_else(|| team.first().map(place(true)))
    }
}

/// Idle agents of each team in no order, to be drawn from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    /// By agent: the place in the team's list.
    places: Vec<u32>,
    teams: Vec<Vec<u32>>,
}

impl Pool {
    pub(super) fn new(teams: usize) -> Self {
        Pool { places: Vec::new(), teams: vec![Vec::new(); teams] }
    }

    /// Puts an agent in.
    pub(super) fn join(&mut self, team: Team, agent: u32) {
        let at = agent as usize;
        self.places.resize(self.places.len().max(at + 1), NOWHERE);
        self.places[at] = self.teams[team].len() as u32;
        self.teams[team].push(agent);
    }

    /// Takes an agent out; the last of the list takes the place.
    pub(super) fn leave(&mut self, team: Team, agent: u32) {
        let at = std::mem::replace(&mut self.places[agent as usize], NOWHERE);
        self.teams[team].swap_remove(at as usize);
        if let Some(&moved) = self.teams[team].get(at as usize) {
            self.places[moved as usize] = at;
        }
    }

    /// One of those teams of the best rank, each agent by their chances; `draw` is uniform over all numbers.
    pub(super) fn draw(&self, teams: impl Iterator<Item = Team> + Clone, grades: &[u32], draw: u64) -> Option<u32> {
        let best = teams.clone().map(|team| grades[team] >> 16).min()?;
        let best = teams.filter(|&team| grades[team] >> 16 == best);
        let parts = best.map(|team| (&self.teams[team], u64::from(grades[team] & 0xffff)));
        let whole: u64 = parts.clone().map(|(agents, chances)| agents.len() as u64 * chances).sum();
        // The top of a product of 128 bits: even, without a division.
        let mut left = ((u128::from(draw) * u128::from(whole)) >> 64) as u64;
        for (agents, chances) in parts {
            let part = agents.len() as u64 * chances;
            if left < part {
                return Some(agents[(left / chances) as usize]);
            }
            left -= part;
        }
        None
    }
}
