//! Other orders of the idle agents than the longest idle: by a key that rests while they are idle, and by lot.

use super::skills::Team;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

const NOWHERE: u32 = u32::MAX;

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
#[derive(Debug)]
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

    /// How many of a team there are.
    pub(super) fn len(&self, team: Team) -> usize {
        self.teams[team].len()
    }
}

/// Idle agents of each team in no order, to be drawn from.
#[derive(Debug)]
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
    pub(super) fn draw(&self, teams: &[Team], grades: &[u32], draw: u64) -> Option<u32> {
        let best = teams.iter().map(|&team| grades[team] >> 16).min()?;
        let best = teams.iter().filter(|&&team| grades[team] >> 16 == best);
        let parts = best.map(|&team| (&self.teams[team], u64::from(grades[team] & 0xffff)));
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

    /// How many of a team there are.
    pub(super) fn len(&self, team: Team) -> usize {
        self.teams[team].len()
    }
}
