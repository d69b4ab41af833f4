//! The calls of phone keys of one shard: their table, their legs and their timers, beside the citizens' calls.
//!
//! Owns admission and the ACD's knowledge of whose phone is in use. Their ids have a bit of their own, so that an id says
//! which table it is of. None makes a record, and none outlives its shard: what was asked for stands with the ACD.

use super::calls::{Calls, TRANSFER_REFUSED};
use super::desk::{Desk, Dialler, Key, Keys, Said, Who};
use super::event::Command;
use super::leg::DigitWay;
use super::q850::CONGESTION;
use crate::acd::event::Event as Acd;
use crate::base::table::Table;
use crate::base::wheel::{TimerId, Wheel};
use crate::base::{AgentId, CallId, LegId, Mono, Now, ShardId, SiteId};
use crate::media::event::Notice as Media;
use crate::sip::event::{Action as Sip, Incoming, Notice};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Slots from here on are of phone keys.
const DESK: u32 = 1 << 30;
/// Such calls at once on one shard: each lasts for seconds.
const DESKS_MAX: usize = 256;

/// The table.
#[derive(Debug)]
pub(super) struct Desks {
    table: Table<Entry>,
    by_leg: BTreeMap<LegId, CallId>,
    wheel: Wheel<CallId>,
}

#[derive(Debug)]
struct Entry {
    desk: Desk,
    timer: Option<(Mono, TimerId)>,
    /// The ACD knows that the agent's phone is in use.
    told: bool,
}

impl Desks {
    pub(super) fn new(shard: ShardId) -> Desks {
        Desks { table: Table::new(shard), by_leg: BTreeMap::new(), wheel: Wheel::new(Duration::from_millis(1)) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn live(&self) -> usize {
        self.table.iter().filter(|(_, entry)| entry.desk.is_live()).count()
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
        let told = self.table.iter().filter(move |(_, entry)| entry.told && entry.desk.site() == site);
        told.filter_map(|(id, entry)| Some((entry.desk.agent()?, outward(id))))
    }

    /// The call that a leg is of.
    pub(super) fn of(&self, leg: LegId) -> Option<CallId> {
        self.by_leg.get(&leg).copied()
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        for (id, entry) in self.table.iter() {
            entry.desk.check();
            assert!(entry.timer.is_some(), "every call has its deadline");
            let is_used = entry.desk.is_live() && entry.desk.agent().is_some();
            assert_eq!(entry.told, is_used, "the ACD knows whose phone is in use");
            assert_eq!(self.by_leg.get(&entry.desk.leg()), Some(&id), "its leg leads to it");
        }
        assert!(self.by_leg.values().all(|id| self.table.at(*id).is_some()), "no leg leads nowhere");
    }

    /// After every change: the leg can be found, the timer is set, the ACD knows, and what is over is forgotten.
    fn settle(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        let Some(entry) = self.table.at_mut(id) else { return };
        let live = entry.desk.is_live();
        if let Some(agent) = entry.desk.agent()
            && std::mem::replace(&mut entry.told, live) != live
        {
            let site = entry.desk.site();
            out.push(Command::Acd { site, event: Acd::OwnCall { agent, call: outward(id), up: live } });
        }
        let (deadline, leg) = (entry.desk.next_deadline(), entry.desk.leg());
        if let Some((_, timer)) = entry.timer.take_if(|(at, _)| *at != deadline || entry.desk.is_over(now.mono)) {
            self.wheel.cancel(timer);
        }
        if entry.desk.is_over(now.mono) {
            self.by_leg.remove(&leg);
            self.table.remove(id);
            return;
        }
        if entry.timer.is_none() {
            entry.timer = Some((deadline, self.wheel.set(deadline, id)));
        }
        self.by_leg.insert(leg, id);
    }
}

/// The id as others know it.
const fn outward(id: CallId) -> CallId {
    CallId { slot: id.slot | DESK, ..id }
}

/// The id in this table; that of another leads nowhere.
const fn inward(id: CallId) -> CallId {
    CallId { slot: id.slot ^ DESK, ..id }
}

impl Calls {
    /// What this phone's key asks for, and whose phone it is; `None` when it dials no key. Only at a seat can anybody log in.
    pub(super) fn key_of(&self, dialled: &str, (user, domain): (&str, &str)) -> Option<(SiteId, Who, Key)> {
        let id = self.settings.sites.iter().position(|site| *site.domain == *domain)?;
        let (site, id) = (&self.settings.sites[id], SiteId(id as u16));
        let key = site.keys.as_ref()?.by_key.get(dialled)?.clone();
        if key == Key::LogIn {
            return site.seats.contains(user).then(|| (id, Who::Seat(user.into()), key));
        }
        let agent = self.settings.agent_at(id, user)?;
        let name = self.settings.agents[agent.index()].as_ref().map(|agent| agent.name.clone()).unwrap_or_default();
        Some((id, Who::Agent(agent, name), key))
    }

    /// An agent's phone dials a key. What it asks for is asked for first of all, and the phone is known to be in use before
    /// its agent is ready.
    pub(super) fn desk_dials(
        &mut self,
        now: Now,
        incoming: Incoming,
        (site, who, key): (SiteId, Who, Key),
        out: &mut Vec<Command>,
    ) {
        let voice = self.settings.sites[site.index()].keys.as_ref().map(|keys: &Keys| keys.voice.clone());
        let leg = incoming.leg;
        let Some(voice) = voice.filter(|_| !self.is_full(false) && self.desks.len() < DESKS_MAX) else {
            self.counts.refused += 1;
            let (status, q850, retry_after_s) = (503, Some(CONGESTION), self.retry_after_s);
            return out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850, retry_after_s }));
        };
        self.counts.taken += 1;
        let dialler = Dialler { leg, offer: incoming.sdp, from: incoming.flow.peer, site, who: who.clone() };
        let mut opens = Vec::new();
        let id = self.desks.table.insert(|_| Entry {
            desk: Desk::new(now, dialler, voice, &mut opens),
            timer: None,
            told: false,
        });
        let call = outward(id);
        let wish = |key| match who {
            Who::Agent(agent, _) => Some(Command::Desk { call, site, agent, key }),
            Who::Seat(_) => None,
        };
        match key {
            Key::Ready | Key::LogIn => {
                self.desks.settle(now, id, out);
                out.extend(wish(key));
            }
            // Nobody is shown as on a call of their own in between.
            Key::NotReady { .. } | Key::LogOff => {
                out.extend(wish(key));
                self.desks.settle(now, id, out);
            }
        }
        out.append(&mut opens);
    }

    /// What came of the wish.
    pub(super) fn desk_judged(&mut self, now: Now, call: CallId, said: Said, out: &mut Vec<Command>) {
        self.with_desk(now, inward(call), out, |desk, out| desk.judged(now, said, out));
    }

    pub(super) fn desk_sip(&mut self, now: Now, id: CallId, notice: Notice, out: &mut Vec<Command>) {
        self.with_desk(now, id, out, |desk, out| match notice {
            Notice::Acknowledged { sdp, .. } => desk.acknowledged(now, sdp, out),
            Notice::Reoffered { sdp, .. } => desk.reoffered(sdp, out),
            Notice::EarlyAnswer { sdp, .. } => desk.early_answer(&sdp, out),
            Notice::Refresh { .. } => desk.refresh(out),
            Notice::Referred(referred) => {
                let (leg, refer) = (referred.leg, referred.refer);
                out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: TRANSFER_REFUSED }));
            }
            Notice::Ended { .. } => desk.ended(now, out),
            Notice::Digit { digit, .. } => typed(now, id, (desk, (digit, DigitWay::Info)), out),
            // It has come in, and nothing is offered to it but refreshes; 487 is sent, `Ended` follows.
            Notice::Incoming(_)
            | Notice::Cancelled { .. }
            | Notice::Trying { .. }
            | Notice::Connecting { .. }
            | Notice::Resent { .. }
            | Notice::Ringing { .. }
            | Notice::Answered { .. }
            | Notice::Failed { .. }
            | Notice::ReofferAnswered { .. } => {}
        });
    }

    pub(super) fn desk_media(&mut self, now: Now, id: CallId, notice: Media, out: &mut Vec<Command>) {
        self.with_desk(now, id, out, |desk, out| match notice {
            Media::Played { play, .. } => desk.played(now, play, out),
            Media::Digit { digit, .. } => typed(now, id, (desk, (digit, DigitWay::Event)), out),
            Media::Closed { .. } => desk.media_closed(now, out),
            // It lasts for seconds: whoever is silent has heard it all the same.
            Media::Quiet { .. }
            | Media::Heard { .. }
            | Media::Mute { .. }
            | Media::Sounds { .. }
            | Media::DigitsSent { .. } => {}
        });
    }

    pub(super) fn desk_port(&mut self, now: Now, id: CallId, local: Option<SocketAddr>, out: &mut Vec<Command>) {
        let seed = self.mint.random();
        self.with_desk(now, id, out, |desk, out| match local {
            Some(local) => desk.port_opened(now, (local, seed), out),
            None => desk.port_refused(now, out),
        });
    }

    /// A step of one of them panicked: it ends.
    pub(super) fn desk_broken(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        self.with_desk(now, id, out, |desk, out| desk.broken(now, out));
    }

    /// After a panic what the cut step may have left unsettled is settled.
    pub(super) fn settle_desks(&mut self, now: Now, out: &mut Vec<Command>) {
        let all: Vec<CallId> = self.desks.table.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.desks.settle(now, id, out));
    }

    pub(super) fn expire_desks(&mut self, now: Now, out: &mut Vec<Command>) {
        let mut due = Vec::new();
        self.desks.wheel.expire(now.mono, &mut due);
        for id in due {
            if let Some(entry) = self.desks.table.at_mut(id) {
                entry.timer = None;
                if entry.desk.next_deadline() <= now.mono {
                    self.in_hand = Some(entry.desk.leg());
                    entry.desk.expired(now, out);
                }
                self.desks.settle(now, id, out);
            }
        }
    }

    fn with_desk(
        &mut self,
        now: Now,
        id: CallId,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Desk, &mut Vec<Command>),
    ) {
        if let Some(entry) = self.desks.table.at_mut(id) {
            self.in_hand = Some(entry.desk.leg());
            act(&mut entry.desk, out);
            self.desks.settle(now, id, out);
        }
    }
}

/// A key at a phone that logs somebody in.
fn typed(now: Now, id: CallId, (desk, digit): (&mut Desk, (u8, DigitWay)), out: &mut Vec<Command>) {
    if let Some(claim) = desk.digit(now, digit, out) {
        out.push(Command::LogIn { call: outward(id), site: desk.site(), claim });
    }
}

#[cfg(test)]
impl Desks {
    /// The state of the only one as a letter; `-` when there is none.
    pub(super) fn letter(&self) -> char {
        self.table.iter().next().map_or('-', |(_, entry)| entry.desk.letter())
    }
}
