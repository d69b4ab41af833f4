//! What agents did with their time, from the log of their states.

use super::{Lengths, Rate};
use crate::base::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// An agent's state as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not logged in.
    Offline,
    /// Paused, for this reason.
    NotReady(Box<str>),
    /// Waits for a call.
    Ready,
    /// The phone rings.
    Offered,
    /// Talks.
    Talking,
    /// Wraps up.
    WrapUp,
}

impl State {
    /// By the word of the log; `None` for one it does not have.
    pub fn new(word: &str, reason: &str) -> Option<State> {
        Some(match word {
            "offline" => State::Offline,
            "not_ready" => State::NotReady(reason.into()),
            "ready" => State::Ready,
            "offered" => State::Offered,
            "talking" => State::Talking,
            "wrap_up" => State::WrapUp,
            _ => return None,
        })
    }
}

/// One agent's time between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Waiting for calls.
    pub ready: Duration,
    /// Being rung, one length an offer.
    pub ringing: Lengths,
    /// Talking, one length a talk.
    pub talking: Lengths,
    /// Wrapping up, one length a time.
    pub wrap_up: Lengths,
    /// Paused, by reason.
    pub paused: BTreeMap<Box<str>, Duration>,
    /// Offers that were not answered.
    pub missed: u64,
}

impl Tally {
    /// All the time logged in.
    pub fn logged_in(&self) -> Duration {
        self.ready + self.worked() + self.paused.values().sum::<Duration>()
    }

    /// 座席利用率: ringing, talking and wrapping up, in milliseconds, of the time logged in without pauses.
    pub fn occupancy(&self) -> Rate {
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Rate::new(ms(self.worked()), ms(self.worked() + self.ready))
    }

    /// This agent's time and another's.
    pub fn merge(&mut self, other: Tally) {
        self.ready += other.ready;
        self.ringing.merge(other.ringing);
        self.talking.merge(other.talking);
        self.wrap_up.merge(other.wrap_up);
        for (reason, length) in other.paused {
            *self.paused.entry(reason).or_default() += length;
        }
        self.missed += other.missed;
    }

    fn worked(&self) -> Duration {
        self.ringing.total + self.talking.total + self.wrap_up.total
    }
}

/// Follows one agent through the log.
#[derive(Clone, Debug)]
pub struct Desk {
    state: State,
    since: Wall,
    tally: Tally,
}

impl Desk {
    /// From this moment on, in which they are in this state.
    pub fn new(from: Wall, state: State) -> Desk {
        Desk { state, since: from, tally: Tally::default() }
    }

    /// They enter another state.
    pub fn enters(&mut self, at: Wall, state: State) {
        let missed = self.state == State::Offered && state != State::Talking;
        self.tally.missed += u64::from(missed);
        self.pass(at);
        self.state = state;
    }

    /// All up to this moment.
    pub fn until(mut self, to: Wall) -> Tally {
        self.pass(to);
        self.tally
    }

    fn pass(&mut self, at: Wall) {
        let length = Duration::from_millis(u64::try_from(at.0 - self.since.0).unwrap_or(0));
        self.since = self.since.max(at);
        let tally = &mut self.tally;
        match &self.state {
            State::Offline => {}
            State::NotReady(reason) => *tally.paused.entry(reason.clone()).or_default() += length,
            State::Ready => tally.ready += length,
            State::Offered => tally.ringing.add(length),
            State::Talking => tally.talking.add(length),
            State::WrapUp => tally.wrap_up.add(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_morning_at_a_desk() {
        let seconds = |s: i64| Wall(s * 1_000);
        let mut desk = Desk::new(seconds(0), State::Offline);
        for (at, state) in [
            (100, State::Ready),
            (160, State::Offered),
            (170, State::Talking),
            (300, State::WrapUp),
            (330, State::Ready),
            (340, State::Offered),
            (360, State::NotReady("rona".into())),
            (400, State::NotReady("tea".into())),
            (1_000, State::Ready),
            (1_010, State::Offered),
            (1_015, State::Talking),
        ] {
            desk.enters(seconds(at), state);
        }
        let tally = desk.until(seconds(1_115));
        assert_eq!((tally.ready, tally.missed), (Duration::from_secs(80), 1));
        assert_eq!((tally.ringing.count, tally.ringing.total), (3, Duration::from_secs(35)));
        assert_eq!((tally.talking.count, tally.talking.longest), (2, Duration::from_secs(130)));
        let paused: Vec<_> = tally.paused.iter().map(|(reason, length)| (&**reason, length.as_secs())).collect();
        assert_eq!(paused, [("rona", 40), ("tea", 600)]);
        assert_eq!(tally.logged_in(), Duration::from_secs(1_015));
        let mut team = tally.clone();
        team.merge(tally.clone());
        team.merge(Tally::default());
        assert_eq!((team.missed, team.talking.count, team.talking.longest), (2, 4, Duration::from_secs(130)));
        assert_eq!((team.logged_in(), team.paused["tea"].as_secs()), (Duration::from_secs(2_030), 1_200));
        assert_eq!(team.occupancy().value(), tally.occupancy().value());
        let worked = 35 + 230 + 30;
        assert_eq!(tally.occupancy(), Rate::new(worked * 1_000, (worked + 80) * 1_000));
    }

    #[test]
    fn a_clock_that_was_set_back_costs_no_time_twice() {
        let mut desk = Desk::new(Wall(10_000), State::Ready);
        desk.enters(Wall(5_000), State::Offered);
        desk.enters(Wall(12_000), State::Talking);
        let tally = desk.until(Wall(15_000));
        assert_eq!((tally.ready, tally.ringing.total), (Duration::ZERO, Duration::from_secs(2)));
        assert_eq!(tally.logged_in(), Duration::from_secs(5));
    }
}
