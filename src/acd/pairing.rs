//! The offer: one agent booked for one caller, in one step.
//!
//! Who takes whom is decided by two look-ups that mirror each other: a caller who comes in takes the longest idle of
//! the teams able to serve the need (`Idle::longest`), an agent who becomes ready takes the lowest place among the
//! needs of the team (`Line::first`). Since every event ends with one of them whenever somebody came free on either
//! side, there is never an idle agent beside a caller they can serve, and nothing has to be searched twice.

use super::acd::{Acd, Timer};
use super::agent::{Booking, Next, State};
use super::event::{Command, Lease};
use super::line::Standing;
use crate::base::{AgentId, Mono};

impl Acd {
    /// Books `agent`, who is Ready and out of the idle order, for the caller in `slot`, who is out of their bucket.
    pub(super) fn offer(&mut self, now: Mono, agent: AgentId, slot: u32, out: &mut Vec<Command>) {
        self.leases += 1;
        let lease = Lease { epoch: self.epoch, number: self.leases, agent };
        let queue = self.queue_of(slot);
        let (ring_until, wrap_up) = (now + queue.ring_max, queue.wrap_up);
        let caller = self.line.caller_mut(slot);
        debug_assert_eq!(caller.standing, Standing::Between, "a caller is offered once");
        caller.standing = Standing::Offered(lease);
        let (call, contact) = (caller.call, caller.contact);
        let booking = Booking { lease, call, contact, wrap_up, next: Next::Ready };
        self.enter(now, agent, State::Offered { booking, ring_until }, Some(contact), out);
        self.agents[agent.index()].timer = Some(self.wheel.set(ring_until, Timer::Lease(lease)));
        out.push(Command::Offer { call, lease, ring_until });
    }
}
