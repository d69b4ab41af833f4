//! The outbound calls (外呼) of one shard: their table, their legs and their timers, beside the citizens' calls.
//!
//! Owns admission: what no rule of the allow-list names is refused before a port or a channel is taken. Their ids have a
//! bit of their own, so that an id says which table it is of.

mod dial;
#[cfg(test)]
mod tests;

use super::calls::{CONNECT_MAX, Calls, TRANSFER_REFUSED};
use super::event::{Command, Dial};
use super::q850::{CONGESTION, REJECTED, UNALLOCATED};
use super::record::{Arrival, Book};
use crate::acd::event::{Declined, Event as Acd};
use crate::base::fact::{AttemptResult, Direction, End, EndedBy, Signalled, Stage};
use crate::base::number::Number;
use crate::base::table::Table;
use crate::base::wheel::{TimerId, Wheel};
use crate::base::{AgentId, CallId, ContactId, LegId, Mono, Now, RecordingId, ShardId, SiteId};
use crate::callback::event::{Attempt, Event as Callback, Step};
use crate::media::event::Notice as Media;
use crate::sip::event::{Action as Sip, Incoming, Notice, Referred};
use crate::trunk::dialling::Rule;
use crate::trunk::event::Command as FromTrunks;
use dial::{Asker, Birth, CallBack, Outbound};
use std::collections::BTreeMap;
use std::time::Duration;

/// Slots from here on are of outbound calls.
const OUTBOUND: u32 = 1 << 31;

/// The table.
#[derive(Debug)]
pub(super) struct Outbounds {
    table: Table<Entry>,
    by_leg: BTreeMap<LegId, CallId>,
    wheel: Wheel<CallId>,
}

#[derive(Debug)]
struct Entry {
    call: Outbound,
    timer: Option<(Mono, TimerId)>,
    /// The ACD knows that the agent is busy with it.
    told: bool,
}

impl Outbounds {
    pub(super) fn new(shard: ShardId) -> Outbounds {
        Outbounds { table: Table::new(shard), by_leg: BTreeMap::new(), wheel: Wheel::new(Duration::from_millis(1)) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn live(&self) -> usize {
        self.table.iter().filter(|(_, entry)| entry.call.is_live()).count()
    }

    pub(super) fn timers(&self) -> usize {
        self.wheel.len()
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.by_leg.keys().copied()
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.wheel.next_deadline()
    }

    /// Whose phones of a site are in use, as the ACD was told.
    pub(super) fn own_calls(&self, site: SiteId) -> impl Iterator<Item = (AgentId, CallId)> + '_ {
        let told = self.table.iter().filter(move |(_, entry)| entry.told && entry.call.site() == site);
        told.map(|(id, entry)| (entry.call.agent(), outward(id)))
    }

    /// The call that a leg is of.
    pub(super) fn of(&self, leg: LegId) -> Option<CallId> {
        self.by_leg.get(&leg).copied()
    }

    /// Of whom a call is, and all its legs. It does not outlive its process: its legs are hung up.
    pub(super) fn known(&self, id: CallId) -> Option<(ContactId, Vec<LegId>)> {
        let call = &self.table.at(id)?.call;
        Some((call.contact(), call.legs().collect()))
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        for (id, entry) in self.table.iter() {
            entry.call.check();
            assert!(
                entry.timer.is_some() || entry.call.next_deadline() == Mono(u64::MAX),
                "every call has its deadline"
            );
            assert_eq!(
                entry.told,
                entry.call.is_live() && !entry.call.is_callback(),
                "the ACD knows whose phone is in use"
            );
            for leg in entry.call.legs() {
                assert_eq!(self.by_leg.get(&leg), Some(&id), "{leg:?} leads to its call");
            }
        }
        assert!(self.by_leg.values().all(|id| self.table.at(*id).is_some()), "no leg leads nowhere");
    }

    /// After every change: legs can be found, the timer is set, the ACD knows, and what is over is forgotten.
    fn settle(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        let Some(entry) = self.table.at_mut(id) else { return };
        // Whom a queue has chosen it has booked.
        let live = entry.call.is_live() && !entry.call.is_callback();
        if std::mem::replace(&mut entry.told, live) != live {
            let (site, agent) = (entry.call.site(), entry.call.agent());
            let event = Acd::OwnCall { agent, call: outward(id), up: live };
            out.push(Command::Acd { site, event });
        }
        if let Some((_, timer)) = entry.timer.take_if(|(at, _)| *at != entry.call.next_deadline()) {
            self.wheel.cancel(timer);
        }
        if entry.call.is_over(now.mono) {
            if let Some((_, timer)) = entry.timer.take() {
                self.wheel.cancel(timer);
            }
            entry.call.legs().for_each(|leg| _ = self.by_leg.remove(&leg));
            self.table.remove(id);
            return;
        }
        let deadline = entry.call.next_deadline();
        if entry.timer.is_none() && deadline != Mono(u64::MAX) {
            entry.timer = Some((deadline, self.wheel.set(deadline, id)));
        }
        for leg in entry.call.legs() {
            self.by_leg.insert(leg, id);
        }
    }
}

/// The id as others know it.
const fn outward(id: CallId) -> CallId {
    CallId { slot: id.slot | OUTBOUND, ..id }
}

/// The id in this table; `None` when it is of the other.
pub(super) const fn inward(id: CallId) -> Option<CallId> {
    if id.slot & OUTBOUND == 0 { None } else { Some(CallId { slot: id.slot & !OUTBOUND, ..id }) }
}

/// Of which leg it speaks.
pub(super) fn leg_of(notice: &Notice) -> LegId {
    match notice {
        Notice::Incoming(incoming) => incoming.leg,
        Notice::Referred(referred) => referred.leg,
        Notice::Cancelled { leg }
        | Notice::Acknowledged { leg, .. }
        | Notice::Trying { leg }
        | Notice::Connecting { leg }
        | Notice::Resent { leg }
        | Notice::Ringing { leg, .. }
        | Notice::Answered { leg, .. }
        | Notice::Failed { leg, .. }
        | Notice::Reoffered { leg, .. }
        | Notice::EarlyAnswer { leg, .. }
        | Notice::Refresh { leg }
        | Notice::Digit { leg, .. }
        | Notice::ReofferAnswered { leg, .. }
        | Notice::Ended { leg, .. } => *leg,
    }
}

/// Of which leg it speaks.
pub(super) fn heard_of(notice: &Media) -> LegId {
    match notice {
        Media::Played { leg, .. }
        | Media::Digit { leg, .. }
        | Media::DigitsSent { leg }
        | Media::Quiet { leg, .. }
        | Media::Heard { leg }
        | Media::Mute { leg }
        | Media::Sounds { leg }
        | Media::Closed { leg, .. } => *leg,
    }
}

impl Calls {
    /// An agent's phone dials a number that is none of ours.
    pub(super) fn dialled_out(
        &mut self,
        now: Now,
        incoming: Incoming,
        (user, domain): (&str, &str),
        out: &mut Vec<Command>,
    ) {
        let settings = self.settings.clone();
        let site = settings.sites.iter().position(|site| *site.domain == *domain).map(|site| SiteId(site as u16));
        let agent = site.and_then(|site| settings.agent_at(site, user));
        let number =
            site.and_then(|site| Number::parse(&incoming.dialled, &settings.sites[site.index()].area_code).ok());
        let (Some(site), Some(agent), Some(number)) = (site, agent, number) else {
            self.counts.unknown_number += 1;
            return refuse(incoming.leg, 404, UNALLOCATED, None, out);
        };
        let contact = ContactId(self.mint.mint(now.wall));
        let dial = Dial { contact, site, agent, number, order: None };
        match self.admit(now, &dial, incoming.call_id, out) {
            Ok(admitted) => {
                let (leg, offer, towards) = (incoming.leg, incoming.sdp, incoming.flow.peer);
                self.begin(now, dial, admitted, (Asker::Phone { leg, offer, towards }, None), out);
            }
            Err((status, q850)) => {
                let retry_after_s = self.retry_after_s.filter(|_| status == 503);
                refuse(incoming.leg, status, q850, retry_after_s, out);
            }
        }
    }

    /// A call to the outside was asked for by hand. What refuses it stands in its record.
    pub(super) fn dial(&mut self, now: Now, dial: Dial, out: &mut Vec<Command>) {
        if let Ok(admitted) = self.admit(now, &dial, "".into(), out) {
            self.legs_dialled += 1;
            let leg = LegId::outgoing(self.shard, self.legs_dialled);
            self.begin(now, dial, admitted, (Asker::Desk { leg }, None), out);
        }
    }

    /// Somebody is to be called back by an agent whom the queue has chosen, and booked.
    pub(super) fn call_back(&mut self, now: Now, attempt: Attempt, out: &mut Vec<Command>) {
        let Attempt { callback, contact, site, agent, ring_until, queue, number, order } = attempt;
        let tell = |step: Step| Command::Callback(Box::new(Callback::Attempt { callback, contact, step }));
        let Ok(number) = Number::parse(&number, "") else { return out.push(tell(Step::NotListed)) };
        let dial = Dial { contact, site, agent, number, order };
        let (rule, mut book) = match self.admit(now, &dial, "".into(), out) {
            Ok(admitted) => admitted,
            Err((403, _)) => return out.push(tell(Step::NotListed)),
            Err((404, _)) => return out.push(tell(Step::AgentAway(Declined::Unreachable))),
            Err(_full) => return out.push(tell(Step::Over(AttemptResult::Fault))),
        };
        book.record.queue = Some(queue);
        self.legs_dialled += 1;
        let leg = LegId::outgoing(self.shard, self.legs_dialled);
        let behind = CallBack { callback, ring_until };
        self.begin(now, dial, (rule, book), (Asker::Desk { leg }, Some(behind)), out);
    }

    /// An attempt to call somebody back is to end.
    pub(super) fn give_up_attempt(&mut self, now: Now, contact: ContactId, out: &mut Vec<Command>) {
        let is = |(id, entry): (CallId, &Entry)| (entry.call.contact() == contact).then_some(id);
        let attempt = self.outbounds.table.iter().find_map(is);
        if let Some(id) = attempt {
            self.outbound_hang_up(now, id, out);
        }
    }

    /// Whether the call may be: its rule and its book, or status and cause of the refusal, which is told.
    fn admit(
        &mut self,
        now: Now,
        dial: &Dial,
        sip_call_id: Box<str>,
        out: &mut Vec<Command>,
    ) -> Result<(Rule, Book), (u16, u8)> {
        let agent = self.settings.agents.get(dial.agent.index()).and_then(Option::as_ref);
        let agent = agent.filter(|agent| agent.site == dial.site).map(|agent| agent.name.clone());
        let rule = self.settings.dialling.rule_by_hand(dial.site, &dial.number).cloned();
        let mut book = Book::open(Arrival {
            contact: dial.contact,
            site: dial.site,
            caller: rule.as_ref().map_or("", |rule| rule.caller.as_str()).into(),
            dialled: dial.number.as_str().into(),
            trunk: "".into(),
            sip_call_id,
            category: "".into(),
            offered: now,
            signalled: Signalled {
                emergency: rule.as_ref().is_some_and(|rule| rule.emergency),
                ..Signalled::default()
            },
        });
        book.record.direction = Direction::Outbound;
        book.record.order = dial.order;
        let refusal = match (&rule, &agent) {
            (_, None) => Some((404, UNALLOCATED)),
            (None, Some(_)) => Some((403, REJECTED)),
            (Some(rule), Some(_)) if self.is_full(rule.emergency) => Some((503, CONGESTION)),
            (Some(_), Some(_)) => None,
        };
        book.record.agent = agent;
        match (rule, refusal) {
            (Some(rule), None) => {
                self.counts.taken += 1;
                Ok((rule, book))
            }
            (_, refusal) => {
                let (status, q850) = refusal.unwrap_or((403, REJECTED));
                self.counts.refused += 1;
                book.ended(now, End { stage: Stage::Offered, by: EndedBy::Refused, sip_status: status, q850 }, out);
                Err((status, q850))
            }
        }
    }

    fn begin(
        &mut self,
        now: Now,
        dial: Dial,
        (rule, book): (Rule, Book),
        (asker, callback): (Asker, Option<CallBack>),
        out: &mut Vec<Command>,
    ) {
        let recording = RecordingId(self.mint.mint(now.wall));
        let settings = self.settings.clone();
        let Dial { site, agent, number, .. } = dial;
        let id = self.outbounds.table.insert(|id| {
            let birth = Birth { id: outward(id), site, agent, settings, number, rule, recording, book, callback };
            Entry { call: Outbound::new(now, birth, asker, out), timer: None, told: false }
        });
        self.settle_outbound(now, id, out);
    }

    pub(super) fn outbound_sip(&mut self, now: Now, id: CallId, notice: Notice, out: &mut Vec<Command>) {
        self.with_outbound(now, id, out, |call, out| match notice {
            Notice::Incoming(_) | Notice::Cancelled { leg: _ } => {}
            Notice::Acknowledged { leg, sdp } => call.acknowledged(now, leg, sdp, out),
            Notice::Trying { leg } => call.trying(now, leg, out),
            Notice::Connecting { leg } => call.sent(now, leg, CONNECT_MAX),
            Notice::Resent { leg } => call.sent(now, leg, Duration::ZERO),
            Notice::Ringing { leg, sdp } => call.ringing(now, leg, sdp, out),
            Notice::Answered { leg, sdp } => call.answered(now, leg, &sdp, out),
            Notice::Failed { leg, status, q850 } => call.failed(now, leg, (status, q850), out),
            Notice::Reoffered { leg, sdp } => call.reoffered(leg, sdp, out),
            Notice::EarlyAnswer { leg, sdp } => call.early_answer(leg, &sdp, out),
            Notice::Refresh { leg } => call.refresh(leg, out),
            // Those of RFC 4733 pass with the media.
            Notice::Digit { leg, digit } => call.digit(leg, digit, out),
            Notice::Referred(referred) => {
                let Referred { leg, refer, .. } = *referred;
                out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: TRANSFER_REFUSED }));
            }
            Notice::ReofferAnswered { leg, answer } => call.reoffer_answered(leg, answer, out),
            Notice::Ended { leg, why } => call.leg_ended(now, leg, why, out),
        });
    }

    pub(super) fn outbound_media(&mut self, now: Now, id: CallId, notice: Media, out: &mut Vec<Command>) {
        self.with_outbound(now, id, out, |call, out| match notice {
            Media::Quiet { leg, silent } => call.quiet(now, leg, silent, out),
            Media::Closed { leg, counters } => call.media_closed(now, leg, &counters, out),
            Media::Heard { leg } => call.heard(leg),
            Media::Mute { leg: _ } | Media::Sounds { leg: _ } => {}
            Media::Played { .. } | Media::Digit { .. } | Media::DigitsSent { .. } => {}
        });
    }

    pub(super) fn outbound_port(
        &mut self,
        now: Now,
        id: CallId,
        (leg, local): (LegId, Option<std::net::SocketAddr>),
        out: &mut Vec<Command>,
    ) {
        let seed = self.mint.random();
        self.with_outbound(now, id, out, |call, out| match local {
            Some(local) => call.port_opened(now, leg, (local, seed), out),
            None => call.port_refused(now, leg, out),
        });
    }

    /// What the trunks said to a wish of an outbound call.
    pub(super) fn outbound_channel(&mut self, now: Now, id: CallId, said: &FromTrunks, out: &mut Vec<Command>) {
        match said {
            FromTrunks::Granted { trunk, flow: Some(flow), .. } => {
                self.legs_dialled += 1;
                let leg = LegId::outgoing(self.shard, self.legs_dialled);
                self.with_outbound(now, id, out, |call, out| call.granted(now, (*trunk, *flow), leg, out));
            }
            FromTrunks::Refused { why, .. } => {
                self.with_outbound(now, id, out, |call, out| call.no_channel(now, *why, out));
            }
            FromTrunks::Granted { flow: None, .. }
            | FromTrunks::Ask { .. }
            | FromTrunks::Resolve { .. }
            | FromTrunks::Alarm { .. } => {}
        }
    }

    pub(super) fn outbound_hang_up(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        self.with_outbound(now, id, out, |call, out| call.hang_up(now, out));
    }

    /// A step of one of them panicked: it ends.
    pub(super) fn outbound_broken(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        self.with_outbound(now, id, out, |call, out| call.broken(now, out));
    }

    /// After a panic what the cut step may have left unsettled is settled.
    pub(super) fn settle_outbounds(&mut self, now: Now, out: &mut Vec<Command>) {
        let all: Vec<CallId> = self.outbounds.table.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.settle_outbound(now, id, out));
    }

    pub(super) fn expire_outbounds(&mut self, now: Now, out: &mut Vec<Command>) {
        let mut due = Vec::new();
        self.outbounds.wheel.expire(now.mono, &mut due);
        for id in due {
            if let Some(entry) = self.outbounds.table.at_mut(id) {
                entry.timer = None;
                if entry.call.next_deadline() <= now.mono {
                    self.in_hand = entry.call.legs().next();
                    entry.call.expired(now, out);
                }
                self.settle_outbound(now, id, out);
            }
        }
    }

    /// After every change: the table is right, and the call is kept anew.
    fn settle_outbound(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        self.outbounds.settle(now, id, out);
        self.changed.iter_mut().for_each(|changed| _ = changed.insert(outward(id)));
    }

    fn with_outbound(
        &mut self,
        now: Now,
        id: CallId,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Outbound, &mut Vec<Command>),
    ) {
        if let Some(entry) = self.outbounds.table.at_mut(id) {
            self.in_hand = entry.call.legs().next();
            act(&mut entry.call, out);
            self.settle_outbound(now, id, out);
        }
    }
}

impl super::event::Settings {
    /// The agent who sits at this phone.
    pub(super) fn agent_at(&self, site: SiteId, phone: &str) -> Option<AgentId> {
        let is = |identity: &super::event::AgentIdentity| identity.site == site && *identity.phone == *phone;
        let place = self.agents.iter().position(|identity| identity.as_ref().is_some_and(is))?;
        u32::try_from(place).ok().map(AgentId)
    }
}

fn refuse(leg: LegId, status: u16, q850: u8, retry_after_s: Option<u32>, out: &mut Vec<Command>) {
    out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s }));
}
