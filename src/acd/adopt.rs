//! Taking over: what the shards say of their calls is the truth, and the owner's memory is bent to it.
//!
//! Without this an agent whose `Ended` was lost with the old owner would talk for ever, and a caller who hung up
//! meanwhile would be rung for.

use super::acd::Acd;
use super::agent::{Booking, Next, State};
use super::event::{Command, Enqueue, Lease};
use super::line::Standing;
use crate::base::{AgentId, CallId, Mono, Now, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// A live call that wants or has an agent, as its shard knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// As it was, or would be, enqueued.
    pub caller: Enqueue,
    /// The leases it holds: of the agent it talks to, or of those who are being rung for it.
    pub held: Vec<Held>,
}

/// A lease as the call that holds it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub lease: Lease,
    /// Whether the agent has answered.
    pub answered: bool,
}

impl Acd {
    /// Bends the state to the complete list of `live` calls: callers who are gone leave, leases that no call holds end,
    /// talks begun after the snapshot are taken up, ringing begun after it is revoked, and callers who are missing line
    /// up with their `since`. Without a live call the site is as if everybody had hung up.
    pub fn adopt(&mut self, now: Now, live: &[Live], out: &mut Vec<Command>) {
        let epoch = self.epoch;
        self.bend(now.mono, live, |booking| booking.lease.epoch < epoch, |_| true, out);
    }

    /// The same for the calls of one shard that was restored. A booking that its call does not know of was made after the
    /// snapshot, and the INVITE it led to is lost.
    pub(super) fn adopt_shard(
        &mut self,
        now: Mono,
        shard: ShardId,
        (live, own): (&[Live], &[(AgentId, CallId)]),
        out: &mut Vec<Command>,
    ) {
        for id in (0..self.agents.len() as u32).map(AgentId) {
            let known = self.agents[id.index()].own_calls.clone();
            for call in known.into_iter().filter(|call| call.shard == shard && !own.contains(&(id, *call))) {
                self.own_call(now, id, (call, false), out);
            }
        }
        for &(agent, call) in own {
            self.own_call(now, agent, (call, true), out);
        }
        self.bend(now, live, |booking| booking.call.shard == shard, |call| call.shard == shard, out);
    }

    fn bend(
        &mut self,
        now: Mono,
        live: &[Live],
        may_end: impl Fn(&Booking) -> bool,
        is_told_of: impl Fn(CallId) -> bool,
        out: &mut Vec<Command>,
    ) {
        let calls: BTreeSet<CallId> = live.iter().map(|live| live.caller.call).collect();
        let leases: BTreeSet<Lease> = live.iter().flat_map(|live| &live.held).map(|held| held.lease).collect();
        let gone = self
            .line
            .callers()
            .filter(|(_, caller)| is_told_of(caller.call) && !calls.contains(&caller.call))
            .map(|(slot, caller)| (slot, caller.standing == Standing::Waiting));
        let (waiting, offered): (Vec<_>, Vec<_>) = gone.partition(|(_, waits)| *waits);
        // Those who wait first: else an agent whom another sets free would be offered to them, and nobody takes that back.
        for (slot, _) in waiting.into_iter().chain(offered) {
            self.withdraw(now, slot, false, out);
        }
        let bookings = self.agents.iter().filter_map(|agent| agent.state.booking()).filter(|booking| may_end(booking));
        let unheld: Vec<Lease> =
            bookings.map(|booking| booking.lease).filter(|lease| !leases.contains(lease)).collect();
        // Before anything new is offered: a call that still rings by a dead lease hears no offer.
        for live in live {
            for held in live.held.iter().filter(|held| !held.answered && !self.rings(held.lease)) {
                out.push(Command::Revoke { call: live.caller.call, lease: held.lease });
            }
        }
        for lease in unheld {
            self.drop_lease(now, lease, out);
        }
        for live in live {
            self.bend_to(now, live, out);
        }
    }

    fn bend_to(&mut self, now: Mono, live: &Live, out: &mut Vec<Command>) {
        let mut stands = false;
        for &held in &live.held {
            match held {
                Held { lease, answered: true } if self.holds(lease) => self.answered(now, lease, out),
                // One of our own epoch would not be missing if it had not ended.
                Held { lease, answered: true } if lease.epoch >= self.epoch => {}
                Held { lease, answered: true } => self.take_up_talk(now, lease, &live.caller, out),
                Held { lease, answered: false } if self.rings(lease) => {}
                // The call went back to a moment before the answer: nobody talks, and the phone that answered is lost.
                Held { lease, answered: false } if self.holds(lease) => {
                    self.ended(now, lease, out);
                    continue;
                }
                Held { answered: false, .. } => continue,
            }
            stands = true;
        }
        if !stands {
            self.enqueue(now, &live.caller, out);
        }
    }

    fn holds(&self, lease: Lease) -> bool {
        let state = self.agents.get(lease.agent.index()).map(|agent| &agent.state);
        state.and_then(State::booking).is_some_and(|booking| booking.lease == lease)
    }

    fn rings(&self, lease: Lease) -> bool {
        let state = self.agents.get(lease.agent.index()).map(|agent| &agent.state);
        matches!(state, Some(State::Offered { booking, .. }) if booking.lease == lease)
    }

    /// Ends a booking that no call knows of; a caller who still lives keeps the place, and nobody is to blame. An offer
    /// that is still under way to its call is taken back behind it.
    fn drop_lease(&mut self, now: Mono, lease: Lease, out: &mut Vec<Command>) {
        match &self.agents[lease.agent.index()].state {
            State::Offered { booking, .. } => {
                out.push(Command::Revoke { call: booking.call, lease });
                let slot = self.line.find(booking.call).expect("an offer has its caller in the line");
                let others = self.line.part(slot, lease);
                self.unbook(now, lease.agent, out);
                self.after_part(now, slot, others, out);
            }
            State::Talking(_) => self.ended(now, lease, out),
            State::Offline | State::NotReady { .. } | State::Ready | State::WrapUp { .. } => {}
        }
    }

    /// Books an agent who, by the call's word, talks already; one whom the settings do not list is offline afterwards. Of two
    /// talks of one agent the later booked stands, and the other ends unseen.
    pub(super) fn take_up_talk(&mut self, now: Mono, lease: Lease, caller: &Enqueue, out: &mut Vec<Command>) {
        if let Some(slot) = self.line.find(caller.call) {
            self.withdraw(now, slot, true, out);
        }
        let id = lease.agent;
        if id.index() >= self.agents.len() {
            return;
        }
        let next = if self.skills.team_of(id).is_some() { Next::Ready } else { Next::Offline };
        let bumped = match &self.agents[id.index()].state {
            State::Talking(booking) if booking.lease > lease => return,
            // Leases count up: what was begun later is what the agent does now.
            State::Talking(_) => None,
            State::Offered { booking, .. } => {
                let (call, lease) = (booking.call, booking.lease);
                out.push(Command::Revoke { call, lease });
                self.line.find(call).map(|slot| (slot, self.line.part(slot, lease)))
            }
            State::Ready => {
                self.idle.leave(id);
                None
            }
            State::Offline | State::NotReady { .. } | State::WrapUp { .. } => None,
        };
        let wrap_up = self.settings.queues.get(caller.queue.index()).map_or(Duration::ZERO, |queue| queue.wrap_up);
        let booking = Booking { lease, call: caller.call, contact: caller.contact, wrap_up, next };
        self.agents[id.index()].next_by = None;
        self.enter(now, id, State::Talking(booking), Some(caller.contact), out);
        if let Some((slot, others)) = bumped {
            self.after_part(now, slot, others, out);
        }
    }
}
