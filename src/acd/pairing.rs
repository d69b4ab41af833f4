//! The offer: one agent booked for one caller, in one step.
//!
//! Who takes whom is decided by two look-ups that mirror each other: a caller who comes in takes, of the idle agents able to
//! serve the need, the one whom the queue's strategy names ([`Acd::choose`]); an agent who becomes ready takes the lowest
//! place among the needs of the team (`Line::first`), whatever the strategy: it decides among agents, never among callers.
//! Since every event ends with one of them whenever somebody came free on either side, there is never an idle agent beside
//! a caller they can serve, and nothing has to be searched twice.
//!
//! A queue that rings several agents together has a third look-up. Whoever nobody rings for goes before everybody who is
//! being rung for; only an agent for whom no such caller is left joins the ringing for another, the lowest place first
//! (`Line::first_open`), while it is for fewer agents than the queue rings together. Nobody is taken away from one caller
//! for the sake of another: those rung in vain are free as soon as one has answered, or at their lease's end.

use super::acd::{Acd, Timer};
use super::agent::{Booking, Next, State};
use super::event::{Command, Lease, Patience, Strategy};
use super::explain::Sight;
use super::idle::Choice;
use super::skills::Need;
use crate::base::{AgentId, Mint, Mono, QueueId};

impl Acd {
    /// Whom `queue` takes among the idle who can serve `need`.
    pub(super) fn choose(&self, queue: QueueId, need: Need) -> Option<AgentId> {
        let able = self.skills.able(need);
        let strategy = self.settings.queues[queue.index()].routing.strategy;
        if strategy == Strategy::LongestIdle && self.skills.grades(queue).is_empty() {
            return self.idle.longest(able);
        }
        // The lot of a lease follows from its number, so that there is nothing to remember and a replay draws the same.
        let draw = match strategy {
            Strategy::Weighted => Mint::new(0, [u64::from(self.epoch), self.leases]).random(),
            Strategy::LongestIdle
            | Strategy::LeastCalls
            | Strategy::LeastTalk
            | Strategy::RoundRobin
            | Strategy::TopDown
            | Strategy::MostFitting
            | Strategy::RingAll => 0,
        };
        let grades = self.skills.grades(queue);
        self.idle.choose(able, Choice { strategy, grades, last: self.flows[queue.index()].last, draw })
    }

    /// Rings idle agents beside those who ring for the caller in `slot`, up to as many as the queue rings together; while
    /// there are fewer, whoever becomes ready may join.
    pub(super) fn gather(&mut self, now: Mono, slot: u32, out: &mut Vec<Command>) {
        let caller = self.line.caller(slot);
        let Some(queue) = caller.queue else { return };
        let together = self.settings.queues[queue.index()].routing.together();
        let alone = caller.closed || caller.patience == Patience::Absent;
        if alone || caller.leases().len() >= together {
            return;
        }
        let need = self.need_of(slot);
        while self.line.caller(slot).leases().len() < together {
            let Some(agent) = self.choose(queue, need) else {
                return self.line.open(slot, need);
            };
            self.witness(slot, Sight::Beside(agent));
            self.idle.leave(agent);
            self.offer(now, agent, slot, out);
        }
    }

    /// Books `agent`, who is Ready and out of the idle order, for the caller in `slot`, who is out of their bucket.
    pub(super) fn offer(&mut self, now: Mono, agent: AgentId, slot: u32, out: &mut Vec<Command>) {
        self.leases += 1;
        let lease = Lease { epoch: self.epoch, number: self.leases, agent };
        if let Some(course) = self.line.caller(slot).queue.and_then(|queue| self.flows.get_mut(queue.index())) {
            course.last = Some(agent.0);
        }
        let queue = self.queue_of(slot);
        let (ring_until, wrap_up) = (now + queue.ring_max, queue.wrap_up);
        self.line.book(slot, lease);
        let caller = self.line.caller(slot);
        let (call, contact) = (caller.call, caller.contact);
        let booking = Booking { lease, call, contact, wrap_up, next: Next::Ready };
        self.enter(now, agent, State::Offered { booking, ring_until }, Some(contact), out);
        self.agents[agent.index()].timer = Some(self.wheel.set(ring_until, Timer::Lease(lease)));
        out.push(Command::Offer { call, lease, ring_until });
    }
}
