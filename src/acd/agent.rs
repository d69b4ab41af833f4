//! The agent's state machine.
//!
//! ```text
//! Offline ⇄ NotReady ⇄ Ready → Offered → Talking → WrapUp → Ready
//! ```
//! An agent is Ready only while the phone is up, and a Ready agent stands in the idle order. What they ask for while
//! booked is remembered and takes effect afterwards: NotReady and Offline at once, without wrap-up; asking for Ready
//! takes back what was remembered. Asking for anything during wrap-up ends it.
//!
//! A lost phone pauses (`phone_lost`) and its return does not make ready by itself: the agent asks for it, and until
//! then nobody's call is sent to a phone that flaps. During a talk or wrap-up the loss counts only if it lasts until
//! they are over.
//!
//! Every booked state ends: Offered by its lease's deadline, WrapUp by its own; Talking by the call, which owes one
//! `Ended`. An event that quotes any lease but the agent's present one is dropped.

use super::acd::{AGENTS_MAX, Acd, Timer};
use super::event::{AgentChange, AgentState, Command, Declined, Lease, WRAP_UP_MAX, Want};
use super::explain::Sight;
use super::idle::Tally;
use super::overflow::Entry;
use super::skills::Team;
use crate::base::wheel::TimerId;
use crate::base::{AgentId, CallId, ContactId, Mono};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Reason of the pause of an agent who let the phone ring.
pub(super) const RONA: &str = "rona";
/// Reason of the pause of an agent whose phone is away or cannot be reached.
pub(super) const PHONE_LOST: &str = "phone_lost";
/// Reason of the pause of an agent who refused a call.
pub(super) const REJECTED: &str = "rejected";

/// Reason for as long as a call of the agent's own is on.
pub(super) const OWN_CALL: &str = "own_call";

/// A reason of the ACD's own. Each is made once: whoever is paused in the rush costs no memory.
fn ours(reason: &'static str) -> Arc<str> {
    static OURS: LazyLock<[Arc<str>; 4]> = LazyLock::new(|| [RONA, PHONE_LOST, REJECTED, OWN_CALL].map(Arc::from));
    OURS.iter().find(|own| ***own == *reason).map_or_else(|| reason.into(), Arc::clone)
}

/// One agent for one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Booking {
    pub(super) lease: Lease,
    pub(super) call: CallId,
    pub(super) contact: ContactId,
    /// As it was when the offer was made: a reload takes nobody's wrap-up away.
    pub(super) wrap_up: Duration,
    /// What the agent asked for meanwhile.
    pub(super) next: Next,
}

/// What follows when an agent becomes free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    Ready,
    NotReady { reason: Arc<str> },
    Offline,
}

impl Next {
    fn paused(reason: &'static str) -> Next {
        Next::NotReady { reason: ours(reason) }
    }

    /// This, unless nothing was asked for: then `otherwise`.
    fn or(self, otherwise: Next) -> Next {
        match self {
            Next::Ready => otherwise,
            Next::NotReady { .. } | Next::Offline => self,
        }
    }
}

/// [`Want`] for files without field names, which cannot read the form that the API speaks.
pub(super) mod untagged {
    use super::{Next, Want};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(want: &Want, to: S) -> Result<S::Ok, S::Error> {
        Next::from(want.clone()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Want, D::Error> {
        Ok(match Next::deserialize(from)? {
            Next::Ready => Want::Ready,
            Next::NotReady { reason } => Want::NotReady { reason },
            Next::Offline => Want::Offline,
        })
    }
}

impl From<Want> for Next {
    fn from(want: Want) -> Next {
        match want {
            Want::Ready => Next::Ready,
            Want::NotReady { reason } => Next::NotReady { reason },
            Want::Offline => Next::Offline,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Offline,
    NotReady { reason: Arc<str> },
    Ready,
    Offered { booking: Booking, ring_until: Mono },
    Talking(Booking),
    WrapUp { contact: ContactId, until: Mono },
}

impl State {
    /// As the world sees it.
    pub(super) fn shown(&self) -> AgentState {
        match self {
            State::Offline => AgentState::Offline,
            State::NotReady { reason } => AgentState::NotReady { reason: reason.clone() },
            State::Ready => AgentState::Ready,
            State::Offered { .. } => AgentState::Offered,
            State::Talking(_) => AgentState::Talking,
            State::WrapUp { .. } => AgentState::WrapUp,
        }
    }

    /// The booking, while there is one.
    pub(super) fn booking(&self) -> Option<&Booking> {
        match self {
            State::Offered { booking, .. } | State::Talking(booking) => Some(booking),
            State::Offline | State::NotReady { .. } | State::Ready | State::WrapUp { .. } => None,
        }
    }

    /// Whether this agent may be expected to take a caller soon.
    pub(super) fn is_at_work(&self) -> bool {
        match self {
            State::Offline | State::NotReady { .. } => false,
            State::Ready | State::Offered { .. } | State::Talking(_) | State::WrapUp { .. } => true,
        }
    }

    /// Whether this counts as logged in.
    pub(super) fn logged_in(&self) -> bool {
        match self {
            State::Offline => false,
            State::NotReady { .. }
            | State::Ready
            | State::Offered { .. }
            | State::Talking(_)
            | State::WrapUp { .. } => true,
        }
    }
}

/// One agent, known by the place in the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) state: State,
    /// When the present state, as the world sees it, began.
    pub(super) since: Mono,
    /// Who asked for it, when it was somebody else.
    pub(super) by: Option<Arc<str>>,
    /// The same of what follows the booking.
    pub(super) next_by: Option<Arc<str>>,
    /// Kept also for agents whom no settings list yet: they may come with the next reload.
    pub(super) phone_up: bool,
    /// Calls of their own that are on.
    pub(super) own_calls: Vec<CallId>,
    /// Place in the order of idle agents; kept through an offer that comes to nothing by the caller.
    pub(super) turn: u64,
    /// Calls in a row that rang out.
    pub(super) misses: u8,
    /// What they did today.
    pub(super) tally: Tally,
    /// Set exactly in `Offered` and `WrapUp`.
    pub(super) timer: Option<TimerId>,
}

impl Default for Agent {
    fn default() -> Self {
        Agent {
            state: State::Offline,
            since: Mono(0),
            by: None,
            next_by: None,
            phone_up: false,
            own_calls: Vec::new(),
            turn: 0,
            misses: 0,
            tally: Tally::default(),
            timer: None,
        }
    }
}

/// Where an agent who becomes ready joins the order of idle agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// At the end.
    New,
    /// Where they stood before the offer.
    Kept,
}

impl Acd {
    /// The agent, or somebody else for them, asks for a state.
    pub(super) fn want(
        &mut self,
        now: Mono,
        id: AgentId,
        (want, by): (Want, Option<Arc<str>>),
        out: &mut Vec<Command>,
    ) {
        if self.skills.team_of(id).is_none() {
            return;
        }
        let next = Next::from(want);
        let agent = &mut self.agents[id.index()];
        let contact = match &mut agent.state {
            State::Offered { booking, .. } | State::Talking(booking) => {
                // To be ready is what follows anyhow.
                agent.next_by = by.filter(|_| next != Next::Ready);
                booking.next = next;
                return;
            }
            State::Ready => {
                // Asking again for what one is costs nobody their place.
                if next == Next::Ready {
                    return;
                }
                self.idle.leave(id);
                None
            }
            State::WrapUp { contact, .. } => Some(*contact),
            State::Offline | State::NotReady { .. } => None,
        };
        self.agents[id.index()].next_by = by;
        self.free(now, id, next, (Turn::New, contact), out);
    }

    /// The phone comes or goes.
    pub(super) fn phone(&mut self, now: Mono, id: AgentId, up: bool, out: &mut Vec<Command>) {
        if id.index() >= AGENTS_MAX {
            return;
        }
        self.grow_to(id.index() + 1);
        let agent = &mut self.agents[id.index()];
        agent.phone_up = up;
        if up {
            return;
        }
        match &agent.state {
            State::Ready => {
                self.idle.leave(id);
                self.free(now, id, Next::paused(PHONE_LOST), (Turn::New, None), out);
            }
            State::Offered { booking, .. } => {
                out.push(Command::Revoke { call: booking.call, lease: booking.lease });
                self.give_back(now, id, Next::paused(PHONE_LOST), out);
            }
            State::Offline | State::NotReady { .. } | State::Talking(_) | State::WrapUp { .. } => {}
        }
    }

    /// A call of the agent's own begins or ends. One who was ready is so again once the last of them is over; whoever was
    /// being rung for goes to another, and nobody is to blame.
    pub(super) fn own_call(&mut self, now: Mono, id: AgentId, (call, up): (CallId, bool), out: &mut Vec<Command>) {
        let Some(agent) = self.agents.get_mut(id.index()) else { return };
        agent.own_calls.retain(|own| *own != call);
        if up {
            agent.own_calls.push(call);
        }
        let busy = !agent.own_calls.is_empty();
        match &agent.state {
            State::Ready if busy => {
                self.idle.leave(id);
                self.free(now, id, Next::Ready, (Turn::New, None), out);
            }
            State::Offered { booking, .. } if busy => {
                out.push(Command::Revoke { call: booking.call, lease: booking.lease });
                self.give_back(now, id, Next::paused(OWN_CALL), out);
            }
            State::NotReady { reason } if !busy && **reason == *OWN_CALL => {
                self.free(now, id, Next::Ready, (Turn::New, None), out);
            }
            State::Offline
            | State::NotReady { .. }
            | State::Ready
            | State::Offered { .. }
            | State::Talking(_)
            | State::WrapUp { .. } => {}
        }
    }

    /// The offered agent talks: the caller leaves the line.
    pub(super) fn answered(&mut self, now: Mono, lease: Lease, out: &mut Vec<Command>) {
        let Some(id) = self.holder(lease) else { return };
        match &self.agents[id.index()].state {
            State::Offered { booking, .. } => {
                let booking = booking.clone();
                let slot = self.line.find(booking.call).expect("an offer has its caller in the line");
                let (call, contact) = (booking.call, booking.contact);
                let mut others = self.line.dismiss(slot).standing.leases();
                others.retain(|other| *other != lease);
                self.agents[id.index()].misses = 0;
                self.enter(now, id, State::Talking(booking), Some(contact), out);
                out.extend(others.iter().map(|&lease| Command::Revoke { call, lease }));
                self.let_go(now, &others, out);
            }
            // Said twice.
            State::Talking(_) => {}
            State::Offline | State::NotReady { .. } | State::Ready | State::WrapUp { .. } => {
                unreachable!("the holder of a lease is booked")
            }
        }
    }

    /// The offer came to nothing through the agent's side. After `Answered` it can only mean that the talk is over.
    pub(super) fn declined(&mut self, now: Mono, lease: Lease, why: Declined, out: &mut Vec<Command>) {
        let Some(id) = self.holder(lease) else { return };
        match &self.agents[id.index()].state {
            State::Offered { .. } => match why {
                Declined::Rejected => self.give_back(now, id, Next::paused(REJECTED), out),
                Declined::NoAnswer => self.missed(now, id, out),
                Declined::Unreachable => self.give_back(now, id, Next::paused(PHONE_LOST), out),
            },
            State::Talking(_) => self.ended(now, lease, out),
            State::Offline | State::NotReady { .. } | State::Ready | State::WrapUp { .. } => {
                unreachable!("the holder of a lease is booked")
            }
        }
    }

    /// The talk is over. Said of an offer, the call is over before anybody answered: nobody is to blame.
    pub(super) fn ended(&mut self, now: Mono, lease: Lease, out: &mut Vec<Command>) {
        let Some(id) = self.holder(lease) else { return };
        match &self.agents[id.index()].state {
            State::Offered { booking, .. } => {
                let slot = self.line.find(booking.call).expect("an offer has its caller in the line");
                if self.line.caller(slot).leases().len() == 1 {
                    return self.withdraw(now, slot, false, out);
                }
                // Else the agent, free again, would be rung for the same caller at once.
                self.line.caller_mut(slot).closed = true;
                self.line.part(slot, lease);
                self.unbook(now, id, out);
            }
            State::Talking(booking) => {
                let (contact, wrap_up, next) = (booking.contact, booking.wrap_up, booking.next.clone());
                if next != Next::Ready || wrap_up.is_zero() || self.skills.team_of(id).is_none() {
                    return self.free(now, id, next, (Turn::New, Some(contact)), out);
                }
                let until = now + wrap_up;
                self.enter(now, id, State::WrapUp { contact, until }, Some(contact), out);
                self.agents[id.index()].timer = Some(self.wheel.set(until, Timer::WrapUp(id)));
            }
            State::Offline | State::NotReady { .. } | State::Ready | State::WrapUp { .. } => {
                unreachable!("the holder of a lease is booked")
            }
        }
    }

    /// The lease's deadline has come: ring on no answer.
    pub(super) fn rang_out(&mut self, now: Mono, lease: Lease, out: &mut Vec<Command>) {
        let Some(id) = self.holder(lease) else { return };
        if let State::Offered { booking, .. } = &self.agents[id.index()].state {
            out.push(Command::Revoke { call: booking.call, lease });
            self.missed(now, id, out);
        }
    }

    /// A wrap-up lasts longer, never shorter.
    pub(super) fn extend(&mut self, id: AgentId, by: Duration) {
        let Some(agent) = self.agents.get_mut(id.index()) else { return };
        let since = agent.since;
        let State::WrapUp { until, .. } = &mut agent.state else { return };
        *until = (*until + by).min(since + WRAP_UP_MAX).max(*until);
        let timer = self.wheel.set(*until, Timer::WrapUp(id));
        if let Some(before) = agent.timer.replace(timer) {
            self.wheel.cancel(before);
        }
    }

    /// The wrap-up's deadline has come.
    pub(super) fn wrapped_up(&mut self, now: Mono, id: AgentId, out: &mut Vec<Command>) {
        if let State::WrapUp { contact, .. } = self.agents[id.index()].state {
            self.free(now, id, Next::Ready, (Turn::New, Some(contact)), out);
        }
    }

    /// A call rang out. The last that the caller's queue forgives pauses the agent, and they begin anew afterwards; before
    /// that they stand last among the idle.
    fn missed(&mut self, now: Mono, id: AgentId, out: &mut Vec<Command>) {
        let agent = &mut self.agents[id.index()];
        let booking = agent.state.booking().expect("only an offer is missed");
        let queue = self.line.find(booking.call).and_then(|slot| self.line.caller(slot).queue);
        let misses_max =
            queue.and_then(|queue| self.settings.queues.get(queue.index())).map_or(1, |queue| queue.misses_max);
        agent.misses = agent.misses.saturating_add(1);
        let next = if agent.misses >= misses_max {
            agent.misses = 0;
            Next::paused(RONA)
        } else {
            Next::Ready
        };
        self.give_back(now, id, next, out);
    }

    /// Leaves an offered agent for `otherwise`, or as they asked. The caller goes on being rung for by the others; when
    /// there are none, they have their old place back.
    fn give_back(&mut self, now: Mono, id: AgentId, otherwise: Next, out: &mut Vec<Command>) {
        let booking = self.agents[id.index()].state.booking().expect("only an offer is given back");
        let (lease, contact, next) = (booking.lease, booking.contact, booking.next.clone());
        let slot = self.line.find(booking.call).expect("an offer has its caller in the line");
        let others = self.line.part(slot, lease);
        self.free(now, id, next.or(otherwise), (Turn::New, Some(contact)), out);
        self.after_part(now, slot, others, out);
    }

    /// One who rang for a caller is gone: others take their place, or the caller is seated again.
    pub(super) fn after_part(&mut self, now: Mono, slot: u32, others: bool, out: &mut Vec<Command>) {
        if others {
            self.gather(now, slot, out);
        } else {
            self.settle(now, slot, Entry::Back, out);
        }
    }

    /// Frees an offered agent whose caller is gone.
    pub(super) fn unbook(&mut self, now: Mono, id: AgentId, out: &mut Vec<Command>) {
        let booking = self.agents[id.index()].state.booking().expect("an offered caller has a booked agent");
        let (contact, next) = (booking.contact, booking.next.clone());
        self.free(now, id, next, (Turn::Kept, Some(contact)), out);
    }

    /// Leaves whatever the agent did for `next`, and takes the next caller when that is Ready.
    pub(super) fn free(
        &mut self,
        now: Mono,
        id: AgentId,
        next: Next,
        (turn, contact): (Turn, Option<ContactId>),
        out: &mut Vec<Command>,
    ) {
        let team = self.skills.team_of(id);
        let agent = &mut self.agents[id.index()];
        let hindered = !agent.phone_up || !agent.own_calls.is_empty();
        if team.is_none() || next == Next::Ready && hindered {
            agent.next_by = None;
        }
        let state = match (next, team) {
            // Removed from the settings: gone at the first occasion.
            (_, None) | (Next::Offline, _) => State::Offline,
            (Next::NotReady { reason }, Some(_)) => State::NotReady { reason },
            (Next::Ready, Some(_)) if !self.agents[id.index()].phone_up => State::NotReady { reason: ours(PHONE_LOST) },
            (Next::Ready, Some(_)) if !self.agents[id.index()].own_calls.is_empty() => {
                State::NotReady { reason: ours(OWN_CALL) }
            }
            (Next::Ready, Some(team)) => {
                self.enter(now, id, State::Ready, contact, out);
                return self.next_caller(now, id, team, turn, out);
            }
        };
        self.enter(now, id, state, contact, out);
    }

    /// Takes who waits first of those whom they can serve; else rings beside others where a queue rings several together;
    /// else joins the idle order.
    fn next_caller(&mut self, now: Mono, id: AgentId, team: Team, turn: Turn, out: &mut Vec<Command>) {
        if turn == Turn::New {
            self.turns += 1;
            self.agents[id.index()].turn = self.turns;
        }
        match self.line.first(id, self.skills.serves(team)) {
            Some(slot) => {
                let caller = self.line.caller_mut(slot);
                caller.closed = caller.awaits.is_some();
                if let Some(queue) = self.line.caller(slot).queue {
                    self.flows[queue.index()].flow.taken(now);
                }
                self.witness(slot, Sight::CameFree(id));
                self.lift(slot);
                self.offer(now, id, slot, out);
                self.gather(now, slot, out);
            }
            None => match self.line.first_open(self.skills.serves(team)) {
                Some(slot) => {
                    self.witness(slot, Sight::Joins(id));
                    self.line.shut(slot);
                    self.offer(now, id, slot, out);
                    self.gather(now, slot, out);
                }
                None => {
                    let agent = &self.agents[id.index()];
                    self.idle.join(id, team, agent.turn, agent.tally);
                }
            },
        }
    }

    /// Writes the state, tells the world, stops the old state's timer and counts who is logged in.
    pub(super) fn enter(
        &mut self,
        now: Mono,
        id: AgentId,
        state: State,
        contact: Option<ContactId>,
        out: &mut Vec<Command>,
    ) {
        let agent = &mut self.agents[id.index()];
        if let Some(timer) = agent.timer.take() {
            self.wheel.cancel(timer);
        }
        let old = std::mem::replace(&mut agent.state, state);
        let (from, to) = (old.shown(), agent.state.shown());
        let (was_in, is_in) = (old.logged_in(), agent.state.logged_in());
        // A booking leaves for later what somebody asked for after it.
        let by = agent.next_by.take_if(|_| agent.state.booking().is_none());
        self.booked += usize::from(agent.state.booking().is_some());
        self.booked -= usize::from(old.booking().is_some());
        // Not every new state looks new from outside.
        if from != to {
            if matches!(old, State::Talking(_)) {
                agent.tally.talk += now.since(agent.since);
            }
            agent.tally.calls += u32::from(matches!(agent.state, State::Talking(_)));
            agent.tally.day = self.day;
            agent.since = now;
            agent.by.clone_from(&by);
            out.push(Command::Agent(AgentChange { agent: id, from, to, contact, by }));
        }
        let leaves = old.is_at_work() && !self.agents[id.index()].state.is_at_work();
        if was_in != is_in {
            self.count_present(now, id, is_in, out);
        }
        if leaves && self.line.apart_for(id).next().is_some() {
            self.forsaken_by(now, id, out);
        }
    }

    /// The agent who holds `lease` now.
    fn holder(&self, lease: Lease) -> Option<AgentId> {
        let booking = self.agents.get(lease.agent.index())?.state.booking()?;
        (booking.lease == lease).then_some(lease.agent)
    }
}
