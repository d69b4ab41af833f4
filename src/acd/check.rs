//! The invariants, asked for after every event in debug builds and in simulation.

use super::acd::Acd;
use super::agent::State;
use super::line::Standing;
use super::skills::common;
use crate::base::AgentId;
use std::collections::BTreeSet;

impl Acd {
    /// Panics unless everything that must always be true is true:
    /// nobody idle beside a caller they can serve; every lease in exactly one agent and, until answered, one caller; every
    /// ready agent in the idle order with the phone up; everybody who waits in one bucket; one timer for each deadline.
    pub fn check(&self) {
        self.line.check();
        self.idle.check();
        for wanted in [self.line.wanted(), self.line.wanted_beside()] {
            for need in common(wanted, wanted) {
                let idle = self.idle.longest(self.skills.able(need));
                assert_eq!(idle, None, "idle beside a caller they can serve (need {need})");
            }
        }
        for (_, slot) in self.line.apart() {
            let awaited = self.line.caller(slot).awaits.expect("who stands apart waits for somebody");
            let state = &self.agents[awaited.index()].state;
            assert!(state.is_at_work() && *state != State::Ready, "{awaited:?} is waited for in vain or for nothing");
        }
        let timers = self.check_agents() + self.check_callers();
        assert_eq!(timers, self.wheel.len(), "one timer for each deadline");
        self.check_present();
    }

    fn check_agents(&self) -> usize {
        let mut numbers = BTreeSet::new();
        let mut timers = 0;
        for (id, agent) in (0u32..).map(AgentId).zip(&self.agents) {
            assert_eq!(self.idle.holds(id), agent.state == State::Ready, "{id:?} is idle exactly when ready");
            assert!(agent.turn <= self.turns, "{id:?} has a turn that was given");
            let timed = match &agent.state {
                State::Offline | State::NotReady { .. } => false,
                State::Ready => {
                    assert!(agent.phone_up, "{id:?} is ready without a phone");
                    assert!(agent.own_calls.is_empty(), "{id:?} is ready and talks on a call of their own");
                    false
                }
                State::Offered { booking, .. } => {
                    let caller = self.line.find(booking.call).map(|slot| self.line.caller(slot));
                    let theirs = caller.is_some_and(|caller| caller.leases().contains(&booking.lease));
                    assert!(theirs, "{id:?} rings for a caller who is there");
                    true
                }
                State::Talking(_) => false,
                State::WrapUp { .. } => true,
            };
            if let Some(booking) = agent.state.booking() {
                assert_eq!(booking.lease.agent, id, "a lease names its agent");
                assert!(numbers.insert((booking.lease.epoch, booking.lease.number)), "a lease books one agent");
                let given = booking.lease.epoch < self.epoch || booking.lease.number <= self.leases;
                assert!(given, "{:?} was never given", booking.lease);
            }
            assert_eq!(agent.timer.is_some(), timed, "{id:?} has a deadline exactly when one is due");
            let listed = self.skills.team_of(id).is_some();
            assert!(
                listed || matches!(agent.state, State::Offline | State::Talking(_)),
                "{id:?} is removed but at work"
            );
            timers += usize::from(timed);
        }
        assert_eq!(numbers.len(), self.booked, "leases are counted");
        timers
    }

    fn check_callers(&self) -> usize {
        let mut timers = 0;
        for (slot, caller) in self.line.callers() {
            let timed = match &caller.standing {
                Standing::Between => unreachable!("the line was checked for them"),
                Standing::Waiting => self.due(slot).is_some(),
                Standing::Offered(leases) => {
                    assert!(!leases.is_empty(), "{:?} is offered to nobody", caller.call);
                    for lease in leases {
                        let state = &self.agents[lease.agent.index()].state;
                        let rings = matches!(state, State::Offered { booking, .. } if booking.lease == *lease && booking.call == caller.call);
                        assert!(rings, "{:?} is offered to an agent who does not ring", caller.call);
                    }
                    false
                }
            };
            assert_eq!(caller.timer.is_some(), timed, "{:?} has a deadline exactly while waiting", caller.call);
            timers += usize::from(timed);
        }
        timers
    }

    fn check_present(&self) {
        let mut present = vec![0; self.skills.needs];
        for (id, agent) in (0u32..).map(AgentId).zip(&self.agents) {
            let Some(team) = self.skills.team_of(id) else { continue };
            if agent.state.logged_in() {
                for need in common(self.skills.serves(team), self.skills.serves(team)) {
                    present[need] += 1;
                }
            }
        }
        assert_eq!(present, self.present, "logged in by need");
    }
}
