//! The front door: all calls of one shard.
//!
//! Owns admission, the table of calls, which leg belongs to which call, and their timers. Never looks into a call.

use super::call::second::Came;
use super::call::{Birth, Call, Fresh, Trace};
use super::desks::Desks;
use super::event::{Command, Event, Settings, SilentStep};
use super::leg::DigitWay;
use super::outbound::{self, Outbounds};
use super::q850::{CONGESTION, TEMPORARY_FAILURE, UNALLOCATED};
use super::record::{Arrival, Book};
use super::supervise::NotDone;
use super::targets::NUMBERS_MAX;
use super::transfer::{NotTransferred, Spare};
use crate::acd::event::{Command as Acd, Event as ToAcd};
use crate::base::fact::{End, EndedBy, Signalled, Stage};
use crate::base::number::{Number, NumberKind};
use crate::base::table::Table;
use crate::base::wheel::{TimerId, Wheel};
use crate::base::{AgentId, CallId, ContactId, LegId, Mint, Mono, Now, OrderId, RecordingId, ShardId, SiteId};
use crate::media::event::Notice as Media;
use crate::sip::event::{About, Action as Sip, Incoming, Notice, Source};
use crate::trunk;
use crate::trunk::event::{Seize, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A connection opens within a second or not at all; with a margin for a busy machine.
pub(super) const CONNECT_MAX: Duration = Duration::from_millis(1_500);
/// What a REFER that is for no talk of ours is answered with: declined, here and everywhere.
pub(super) const TRANSFER_REFUSED: u16 = 603;
/// Of an emergency: before all others in the line.
const EMERGENCY_PRIORITY: u8 = 100;

/// Calls beyond `calls_max` that emergencies may have.
const EMERGENCY_CALLS: usize = 16;

/// All calls of one shard.
#[derive(Debug)]
pub struct Calls {
    pub(super) shard: ShardId,
    pub(super) settings: Arc<Settings>,
    pub(super) mint: Mint,
    pub(super) calls: Table<Entry>,
    pub(super) by_leg: BTreeMap<LegId, CallId>,
    pub(super) legs_dialled: u64,
    pub(super) wheel: Wheel<CallId>,
    pub(super) outbounds: Outbounds,
    pub(super) desks: Desks,
    pub(super) retry_after_s: Option<u32>,
    pub(super) counts: Counts,
    /// A leg of the call whose step is being taken.
    pub(super) in_hand: Option<LegId>,
    /// Calls that look different than when they were last kept; `None` when nobody keeps them.
    pub(super) changed: Option<BTreeSet<CallId>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) call: Call,
    pub(super) timer: Option<(Mono, TimerId)>,
    /// Counted among the live ones.
    pub(super) live: bool,
    /// Agents on it beside the queues, as the ACD was told.
    pub(super) own: Vec<AgentId>,
    /// How it looked when it last changed; for those who keep calls.
    pub(super) trace: Option<Trace>,
}

/// What stands and what happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = CallCounts)]
pub struct Counts {
    /// Calls in the table, those that only run out included.
    pub calls: usize,
    /// Calls with a citizen on the line.
    pub live: usize,
    /// Legs known.
    pub legs: usize,
    /// Timers set.
    pub timers: usize,
    /// Calls taken.
    pub taken: u64,
    /// Calls refused for want of room or while draining.
    pub refused: u64,
    /// Calls to numbers that are not ours.
    pub unknown_number: u64,
    /// Calls ended because a step of theirs panicked.
    pub broken: u64,
    /// Legs of which nothing was heard: asked whether they stand.
    pub silent: u64,
    /// Those that stood, and were kept.
    pub silent_one_way: u64,
    /// Those that were given up, at once or after having been kept.
    pub silent_given_up: u64,
}

impl Entry {
    pub(super) fn new(call: Call) -> Entry {
        Entry { call, timer: None, live: false, own: Vec::new(), trace: None }
    }

    /// Agents who come to the call, or leave it, beside the queues since the ACD was last told.
    fn tell_own(&mut self, out: &mut Vec<Command>) {
        let own: Vec<AgentId> = self.call.own_agents().collect();
        if own == self.own {
            return;
        }
        let before = std::mem::replace(&mut self.own, own);
        let (site, call) = (self.call.site, self.call.id);
        let mut tell = |agent: AgentId, up: bool| {
            out.push(Command::Acd { site, event: ToAcd::OwnCall { agent, call, up } });
        };
        before.iter().filter(|agent| !self.own.contains(agent)).for_each(|agent| tell(*agent, false));
        self.own.iter().filter(|agent| !before.contains(agent)).for_each(|agent| tell(*agent, true));
    }
}

impl Calls {
    /// No calls yet. `mint` gives contacts, recordings and orders their ids.
    pub fn new(shard: ShardId, mint: Mint, settings: Arc<Settings>) -> Calls {
        Calls {
            shard,
            settings,
            mint,
            calls: Table::new(shard),
            by_leg: BTreeMap::new(),
            legs_dialled: 0,
            wheel: Wheel::new(Duration::from_millis(1)),
            outbounds: Outbounds::new(shard),
            desks: Desks::new(shard),
            retry_after_s: None,
            counts: Counts::default(),
            in_hand: None,
            changed: None,
        }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        let before = out.len();
        self.take(now, event, out);
        for command in &out[before..] {
            if let Command::Silent(silent) = command {
                *match silent.step {
                    SilentStep::Asked => &mut self.counts.silent,
                    SilentStep::OneWay => &mut self.counts.silent_one_way,
                    SilentStep::GivenUp => &mut self.counts.silent_given_up,
                } += 1;
            }
        }
    }

    fn take(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        self.in_hand = None;
        match event {
            Event::Sip(notice) => self.sip(now, notice, out),
            Event::Media(notice) => self.media(now, notice, out),
            Event::Acd(command) => self.acd(now, command, out),
            Event::Trunk(said) => self.channel(now, said, out),
            Event::PortOpened { leg, local } if self.outbounds.of(leg).is_some() => {
                self.of_outbound(leg, |calls, id| calls.outbound_port(now, id, (leg, Some(local)), out));
            }
            Event::PortRefused { leg } if self.outbounds.of(leg).is_some() => {
                self.of_outbound(leg, |calls, id| calls.outbound_port(now, id, (leg, None), out));
            }
            Event::PortOpened { leg, local } if let Some(id) = self.desks.of(leg) => {
                self.desk_port(now, id, Some(local), out);
            }
            Event::PortRefused { leg } if let Some(id) = self.desks.of(leg) => self.desk_port(now, id, None, out),
            Event::PortOpened { leg, local } => {
                let seed = self.mint.random();
                self.with_leg(now, leg, out, |call, out| call.port_opened(now, leg, local, seed, out));
            }
            Event::PortRefused { leg } => self.with_leg(now, leg, out, |call, out| call.port_refused(now, leg, out)),
            Event::Recalled { call, past } => self.with_call(now, call, out, |call, _| call.past = past),
            Event::HangUp { call } if let Some(call) = outbound::inward(call) => self.outbound_hang_up(now, call, out),
            Event::HangUp { call } => self.with_call(now, call, out, |call, out| call.hang_up(now, out)),
            Event::Transfer { call, by, ask, ticket } => {
                let spare = self.spare(now);
                let mut answer = Err(NotTransferred::NotTalking);
                self.with_call(now, call, out, |call, out| answer = call.transfer(now, (by, ask), spare, out));
                out.push(Command::TransferAnswered { ticket, answer });
            }
            Event::Intervene { call, by, own, ask, ticket } => {
                let fresh = self.fresh(now);
                let mut answer = Err(NotDone::NotThere);
                self.with_call(now, call, out, |call, out| {
                    answer = call.intervene(now, (&by, own), ask, fresh, out);
                });
                out.push(Command::Intervened { ticket, answer });
            }
            Event::DeskJudged { call, said } => self.desk_judged(now, call, said, out),
            Event::Dial(dial) => self.dial(now, *dial, out),
            Event::CallBack(attempt) => self.call_back(now, *attempt, out),
            Event::GiveUp { contact } => self.give_up_attempt(now, contact, out),
            Event::Resync { site } => self.tell_owner(site, out),
            Event::Configure(settings) => self.configure(now, settings, out),
            Event::Drain { retry_after_s } => self.retry_after_s = Some(retry_after_s),
        }
    }

    /// When [`Calls::expire`] wants to be called.
    pub fn next_deadline(&self) -> Option<Mono> {
        [self.wheel.next_deadline(), self.outbounds.next_deadline(), self.desks.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Lets time pass up to `now`.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        let mut due = Vec::new();
        self.wheel.expire(now.mono, &mut due);
        for key in due {
            if let Some(entry) = self.calls.at_mut(key) {
                entry.timer = None;
                self.in_hand = entry.call.legs().next();
                if entry.call.next_deadline() <= now.mono {
                    entry.call.expired(now, out);
                }
                self.settle(now, key, out);
            }
        }
        self.expire_outbounds(now, out);
        self.expire_desks(now, out);
    }

    /// All legs that may still be spoken of.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.by_leg.keys().copied().chain(self.outbounds.legs()).chain(self.desks.legs())
    }

    /// After a panic of [`Calls::handle`] or [`Calls::expire`], whose output was thrown away: the call in hand ends, and
    /// what the cut step may have left uncounted or without a timer is set right.
    pub fn give_up(&mut self, now: Now, out: &mut Vec<Command>) {
        self.counts.broken += 1;
        let in_hand = self.in_hand.take();
        if let Some(id) = in_hand.and_then(|leg| self.desks.of(leg)) {
            self.desk_broken(now, id, out);
        } else if let Some(leg) = in_hand {
            match (self.outbounds.of(leg), self.by_leg.get(&leg).and_then(|key| self.calls.at_mut(*key))) {
                (Some(id), _) => self.outbound_broken(now, id, out),
                (None, Some(entry)) => entry.call.broken(now, out),
                (None, None) => refuse(leg, 500, TEMPORARY_FAILURE, None, out),
            }
        }
        self.counts.live = self.calls.iter().filter(|(_, entry)| entry.live).count();
        let all: Vec<CallId> = self.calls.iter().map(|(key, _)| key).collect();
        for key in all {
            if let Some((_, timer)) = self.calls.at_mut(key).and_then(|entry| entry.timer.take()) {
                self.wheel.cancel(timer);
            }
            self.settle(now, key, out);
        }
        self.settle_outbounds(now, out);
        self.settle_desks(now, out);
    }

    /// What stands and what happened.
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.calls.len() + self.outbounds.len() + self.desks.len(),
            live: self.counts.live + self.outbounds.live() + self.desks.live(),
            legs: self.legs().count(),
            timers: self.wheel.len() + self.outbounds.timers() + self.desks.timers(),
            ..self.counts
        }
    }

    /// What must hold after every event.
    pub fn check(&self) {
        let live = self.calls.iter().filter(|(_, entry)| entry.call.is_live()).count();
        assert_eq!(live, self.counts.live, "the live ones are counted");
        for (key, entry) in self.calls.iter() {
            entry.call.check();
            assert!(
                entry.timer.is_some() || entry.call.next_deadline() == Mono(u64::MAX),
                "every call has its deadline"
            );
            let own: Vec<AgentId> = entry.call.own_agents().collect();
            assert_eq!(own, entry.own, "the ACD knows whose phone is in use");
            for leg in entry.call.legs() {
                assert_eq!(self.by_leg.get(&leg), Some(&key), "{leg:?} leads to its call");
            }
        }
        assert!(self.by_leg.values().all(|key| self.calls.at(*key).is_some()), "no leg leads nowhere");
        self.outbounds.check();
        self.desks.check();
    }

    /// Queues are numbered in the order of configuration: calls follow theirs by name.
    fn configure(&mut self, now: Now, settings: Arc<Settings>, out: &mut Vec<Command>) {
        self.settings = settings;
        let calls: Vec<CallId> = self.calls.iter().map(|(id, _)| id).collect();
        for id in calls {
            let settings = self.settings.clone();
            self.with_call(now, id, out, |call, out| call.configure(now, settings, out));
        }
    }

    fn sip(&mut self, now: Now, notice: Notice, out: &mut Vec<Command>) {
        if let Some(id) = self.outbounds.of(outbound::leg_of(&notice)) {
            return self.outbound_sip(now, id, notice, out);
        }
        if let Some(id) = self.desks.of(outbound::leg_of(&notice)) {
            return self.desk_sip(now, id, notice, out);
        }
        match notice {
            Notice::Incoming(incoming) => self.incoming(now, *incoming, out),
            // 487 is sent; `Ended` follows with the rest.
            Notice::Cancelled { leg: _ } => {}
            // Only of INVITEs over trunks, to the target of a transfer.
            Notice::Trying { leg } => self.with_leg(now, leg, out, |call, out| call.target_trying(now, leg, out)),
            Notice::Connecting { leg } => {
                self.with_leg(now, leg, out, |call, out| call.target_sent(now, leg, CONNECT_MAX, out));
            }
            Notice::Resent { leg } => {
                self.with_leg(now, leg, out, |call, out| call.target_sent(now, leg, Duration::ZERO, out));
            }
            Notice::Acknowledged { leg, sdp } => {
                self.with_leg(now, leg, out, |call, out| call.acknowledged(now, leg, sdp, out));
            }
            Notice::Ringing { leg, sdp } => self.with_leg(now, leg, out, |call, out| match call.is_of_transfer(leg) {
                true => call.target_rings(now, leg, sdp, out),
                // Early media is not heard: the citizen has music until a human answers.
                false => call.ringing(now, leg, out),
            }),
            Notice::Answered { leg, sdp } => {
                self.with_leg(now, leg, out, |call, out| match call.is_of_transfer(leg) {
                    true => call.target_answers(now, leg, &sdp, out),
                    false => call.answered(now, leg, &sdp, out),
                });
            }
            Notice::Failed { leg, status, q850 } => {
                self.with_leg(now, leg, out, |call, out| match call.is_of_transfer(leg) {
                    true => call.target_fails(now, leg, (status, q850), out),
                    false => call.failed(now, leg, status, out),
                });
            }
            Notice::Reoffered { leg, sdp } => {
                self.with_leg(now, leg, out, |call, out| call.reoffered(now, leg, sdp, out))
            }
            Notice::EarlyAnswer { leg, sdp } => {
                self.with_leg(now, leg, out, |call, out| call.early_answer(leg, &sdp, out))
            }
            Notice::Refresh { leg } => self.with_leg(now, leg, out, |call, out| call.refresh(leg, out)),
            Notice::Digit { leg, digit } => {
                let fresh = self.fresh(now);
                self.with_leg(now, leg, out, |call, out| call.digit(now, leg, (digit, DigitWay::Info), fresh, out));
            }
            Notice::Referred(referred) => {
                let (leg, spare) = (referred.leg, self.spare(now));
                self.with_leg(now, leg, out, |call, out| call.referred(now, &referred, spare, out));
            }
            Notice::ReofferAnswered { leg, answer } => {
                self.with_leg(now, leg, out, |call, out| call.reoffer_answered(now, leg, answer, out));
            }
            Notice::Ended { leg, why } => {
                self.with_leg(now, leg, out, |call, out| call.leg_ended(now, leg, why, out));
            }
        }
    }

    fn media(&mut self, now: Now, notice: Media, out: &mut Vec<Command>) {
        if let Some(id) = self.outbounds.of(outbound::heard_of(&notice)) {
            return self.outbound_media(now, id, notice, out);
        }
        if let Some(id) = self.desks.of(outbound::heard_of(&notice)) {
            return self.desk_media(now, id, notice, out);
        }
        match notice {
            Media::Played { leg, play } => self.with_leg(now, leg, out, |call, out| call.played(now, leg, play, out)),
            Media::Digit { leg, digit } => {
                let fresh = self.fresh(now);
                self.with_leg(now, leg, out, |call, out| call.digit(now, leg, (digit, DigitWay::Event), fresh, out));
            }
            Media::Quiet { leg, silent } => self.with_leg(now, leg, out, |call, out| call.quiet(now, leg, silent, out)),
            Media::Closed { leg, counters } => {
                self.with_leg(now, leg, out, |call, out| call.media_closed(now, leg, &counters, out));
            }
            Media::Heard { leg } => self.with_leg(now, leg, out, |call, _| call.heard(leg)),
            Media::Mute { leg } => self.with_leg(now, leg, out, |call, out| call.mute(now, leg, true, out)),
            Media::Sounds { leg } => self.with_leg(now, leg, out, |call, out| call.mute(now, leg, false, out)),
            Media::DigitsSent { leg: _ } => {}
        }
    }

    fn acd(&mut self, now: Now, command: Acd, out: &mut Vec<Command>) {
        match command {
            Acd::Offer { call, lease, ring_until } => {
                self.legs_dialled += 1;
                let leg = LegId::outgoing(self.shard, self.legs_dialled);
                self.with_call(now, call, out, |call, out| call.agent_offered(now, lease, ring_until, leg, out));
            }
            Acd::Stands { call, ahead, expected } => {
                self.with_call(now, call, out, |call, out| call.stands(ahead, expected, out));
            }
            Acd::Revoke { call, lease } => self.with_call(now, call, out, |call, out| call.revoked(now, lease, out)),
            Acd::Released { call, why } => {
                self.legs_dialled += 1;
                let beside = (LegId::outgoing(self.shard, self.legs_dialled), self.spare(now));
                self.with_call(now, call, out, |call, out| call.released(now, why, beside, out));
            }
            // Agents' states are for those who watch agents.
            Acd::Agent(_) => {}
        }
    }

    fn incoming(&mut self, now: Now, incoming: Incoming, out: &mut Vec<Command>) {
        self.in_hand = Some(incoming.leg);
        if let Some(old) = incoming.about.replaces {
            return self.replacing(now, incoming, old, out);
        }
        let settings = self.settings.clone();
        let trunk = settings.trunk_of(&incoming.source);
        let rewritten = trunk.map(|(_, profile)| profile.inbound_rules.apply(&incoming.dialled));
        let dialled = rewritten.as_deref().unwrap_or(&incoming.dialled);
        let Some(entry) = settings.numbers.lookup(dialled).cloned() else {
            if let Source::Phone { user, domain } = incoming.source.clone() {
                return self.phone_dials(now, incoming, (&user, &domain), out);
            }
            self.counts.unknown_number += 1;
            return refuse(incoming.leg, 404, UNALLOCATED, None, out);
        };
        let site = &self.settings.sites[entry.site.index()];
        let number = Number::parse(&incoming.caller, &site.area_code);
        let profile = trunk.map(|(_, profile)| profile);
        let (from_line, emergency) = urgency(&incoming, profile, number.as_ref().ok());
        let way = trunk.map(|(id, _)| Way::In(id));
        let channel = way.map(|way| Seize { leg: incoming.leg, way, emergency });
        let caller = number.map_or_else(|_| incoming.caller.clone(), |number| number.as_str().into());
        let trunk = match incoming.source {
            Source::Trunk(name) => name,
            Source::Phone { .. } => "".into(),
        };
        let mut book = Book::open(Arrival {
            contact: ContactId(self.mint.mint(now.wall)),
            site: entry.site,
            caller,
            dialled: entry.number.as_str().into(),
            trunk,
            sip_call_id: incoming.call_id,
            category: entry.category.clone(),
            offered: now,
            signalled: Signalled { emergency, ..signalled(incoming.about, from_line) },
        });
        if self.is_full(emergency) {
            self.counts.refused += 1;
            let end = End { stage: Stage::Offered, by: EndedBy::Refused, sip_status: 503, q850: CONGESTION };
            book.ended(now, end, out);
            return refuse(incoming.leg, 503, CONGESTION, self.retry_after_s, out);
        }
        self.counts.taken += 1;
        let priority = if emergency { EMERGENCY_PRIORITY } else { entry.priority };
        let caller = book.record.caller.clone();
        let remembers = !caller.is_empty() && site.queues.iter().any(|queue| queue.preferred.is_some());
        let (recording, order) = (RecordingId(self.mint.mint(now.wall)), OrderId(self.mint.mint(now.wall)));
        let key = self.calls.insert(|id| {
            let birth = Birth {
                id,
                site: entry.site,
                leg: incoming.leg,
                channel,
                offer: incoming.sdp,
                flow: entry.flow.clone(),
                opening: entry.opening(now.wall),
                priority,
                book,
                recording,
                order,
                settings,
            };
            Entry::new(Call::offered(birth, now, incoming.flow.peer, out))
        });
        if remembers {
            out.push(Command::Recall { call: key, site: entry.site, caller });
        }
        self.settle(now, key, out);
    }

    /// A phone dials a number of nobody's hotline: a key, a target of its agent's talk, else somebody outside.
    fn phone_dials(&mut self, now: Now, incoming: Incoming, (user, domain): (&str, &str), out: &mut Vec<Command>) {
        if let Some(asked) = self.key_of(&incoming.dialled, (user, domain)) {
            return self.desk_dials(now, incoming, asked, out);
        }
        let Some((call, site)) = self.talk_of(user, domain) else {
            return self.dialled_out(now, incoming, (user, domain), out);
        };
        let target = self.calls.at(call).and_then(|entry| entry.call.target_of(&incoming.dialled));
        let Incoming { leg, ref dialled, .. } = incoming;
        match target {
            Some(target) => {
                let spare = self.spare(now);
                let came = Came { leg, offer: incoming.sdp, from: incoming.flow.peer, target };
                self.with_call(now, call, out, |call, out| call.consults(came, spare, out));
            }
            None if Number::parse(dialled, &self.settings.sites[site.index()].area_code).is_err() => {
                self.counts.unknown_number += 1;
                let why = NotTransferred::UnknownTarget;
                let (status, why) = (why.status(), why.to_string().into());
                out.push(Command::Sip(Sip::Refuse { leg, status, q850: UNALLOCATED, why }));
            }
            None => self.dialled_out(now, incoming, (user, domain), out),
        }
    }

    /// The talk of the agent whose phone this is.
    fn talk_of(&self, user: &str, domain: &str) -> Option<(CallId, SiteId)> {
        let site = self.settings.sites.iter().position(|site| *site.domain == *domain)?;
        let site = SiteId(site as u16);
        let agent = self.settings.agent_at(site, user)?;
        let talks = |call: &Call| call.talker().is_some_and(|(talker, _)| talker.agent() == agent);
        let (id, _) = self.calls.iter().find(|(_, entry)| talks(&entry.call))?;
        Some((id, site))
    }

    /// Whether no further call is taken.
    pub(super) fn is_full(&self, emergency: bool) -> bool {
        let kept = if emergency { EMERGENCY_CALLS } else { 0 };
        self.retry_after_s.is_some()
            || self.calls.len() + self.outbounds.len() + self.desks.len() >= self.settings.calls_max + kept
    }

    /// What the trunks said to a wish for a channel.
    fn channel(&mut self, now: Now, said: trunk::event::Command, out: &mut Vec<Command>) {
        use trunk::event::Command as Said;
        match &said {
            Said::Granted { leg, .. } | Said::Refused { leg, .. } if let Some(id) = self.outbounds.of(*leg) => {
                self.outbound_channel(now, id, &said, out);
            }
            Said::Granted { leg: holder, trunk, flow: Some(flow) } if self.dials_out(*holder) => {
                self.legs_dialled += 1;
                let granted = ((*trunk, *flow), LegId::outgoing(self.shard, self.legs_dialled));
                self.with_leg(now, *holder, out, |call, out| call.target_channel(now, *holder, Ok(granted), out));
            }
            Said::Refused { leg, why } if self.dials_out(*leg) => {
                let (leg, why) = (*leg, *why);
                self.with_leg(now, leg, out, |call, out| call.target_channel(now, leg, Err(why), out));
            }
            Said::Granted { leg, .. } => self.with_leg(now, *leg, out, |call, out| call.channel_granted(out)),
            Said::Refused { leg, .. } => {
                self.counts.refused += 1;
                self.with_leg(now, *leg, out, |call, out| call.channel_refused(now, out));
            }
            Said::Ask { .. } | Said::Resolve { .. } | Said::Alarm { .. } => {}
        }
    }

    /// Whether this leg holds the channel for the target of a transfer.
    fn dials_out(&self, leg: LegId) -> bool {
        let call = self.by_leg.get(&leg).and_then(|key| self.calls.at(*key)).map(|entry| &entry.call);
        call.and_then(|call| call.transfer.as_ref()).is_some_and(|transfer| transfer.holds(leg))
    }

    /// Ids for a transfer, should one begin.
    fn spare(&mut self, now: Now) -> Spare {
        let holders = LegId::outgoing(self.shard, self.legs_dialled + 1);
        self.legs_dialled += NUMBERS_MAX as u64;
        Spare { tracks: std::array::from_fn(|_| RecordingId(self.mint.mint(now.wall))), holders }
    }

    /// Ids for a step that may need some.
    fn fresh(&mut self, now: Now) -> Fresh {
        self.legs_dialled += 1;
        Fresh { leg: LegId::outgoing(self.shard, self.legs_dialled), spare: self.spare(now) }
    }

    fn of_outbound(&mut self, leg: LegId, act: impl FnOnce(&mut Calls, CallId)) {
        if let Some(id) = self.outbounds.of(leg) {
            act(self, id);
        }
    }

    /// An INVITE that is to take the place of a leg (RFC 3891): the user agent has checked that it may.
    fn replacing(&mut self, now: Now, incoming: Incoming, old: LegId, out: &mut Vec<Command>) {
        let Incoming { leg, sdp, flow, .. } = incoming;
        let Some(key) = self.by_leg.get(&old).copied() else {
            return refuse(leg, 481, TEMPORARY_FAILURE, None, out);
        };
        self.with_call(now, key, out, |call, out| call.replace(old, leg, sdp, flow.peer, out));
    }

    fn with_leg(
        &mut self,
        now: Now,
        leg: LegId,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Call, &mut Vec<Command>),
    ) {
        if let Some(key) = self.by_leg.get(&leg).copied() {
            self.in_hand = Some(leg);
            self.with_call(now, key, out, act);
        }
    }

    pub(super) fn with_call(
        &mut self,
        now: Now,
        id: CallId,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Call, &mut Vec<Command>),
    ) {
        if let Some(entry) = self.calls.at_mut(id) {
            self.in_hand = entry.call.legs().next();
            act(&mut entry.call, out);
            self.settle(now, id, out);
        }
    }

    /// After every change of a call: its legs can be found, its timer is set, and once over it is forgotten.
    fn settle(&mut self, now: Now, key: CallId, out: &mut Vec<Command>) {
        let Some(entry) = self.calls.at_mut(key) else { return };
        match (std::mem::replace(&mut entry.live, entry.call.is_live()), entry.live) {
            (true, false) => {
                self.counts.live -= 1;
                if let Some(leg) = entry.call.channel() {
                    out.push(Command::Trunk(trunk::event::Event::Release { leg }));
                }
            }
            (false, true) => self.counts.live += 1,
            (true, true) | (false, false) => {}
        }
        entry.tell_own(out);
        if entry.call.is_over(now.mono) {
            for leg in entry.call.legs() {
                self.by_leg.remove(&leg);
            }
            if let Some((_, timer)) = entry.timer.take() {
                self.wheel.cancel(timer);
            }
            self.calls.remove(key);
            self.changed.iter_mut().for_each(|changed| _ = changed.insert(key));
            return;
        }
        for leg in entry.call.legs() {
            self.by_leg.insert(leg, key);
        }
        if let Some(changed) = &mut self.changed {
            let trace = Some(entry.call.trace());
            if entry.trace != trace {
                entry.trace = trace;
                changed.insert(key);
            }
        }
        let deadline = entry.call.next_deadline();
        if entry.timer.map(|(at, _)| at) != Some(deadline) {
            if let Some((_, timer)) = entry.timer.take() {
                self.wheel.cancel(timer);
            }
            if deadline != Mono(u64::MAX) {
                entry.timer = Some((deadline, self.wheel.set(deadline, key)));
            }
        }
    }
}

/// Whether a call comes from a line of 110, 119, 120 or 122, and whether it is an emergency.
fn urgency(incoming: &Incoming, profile: Option<&trunk::event::Profile>, caller: Option<&Number>) -> (bool, bool) {
    let of_trunk = matches!(incoming.source, Source::Trunk(_));
    let police = caller.is_some_and(|number| number.kind() == NumberKind::Emergency);
    let from_line = of_trunk && (police || profile.is_some_and(|profile| profile.emergency));
    (from_line, from_line || (of_trunk && incoming.about.emergency))
}

/// What stays of it. Nobody but a line of 110, 119, 120 or 122 binds an order to a ticket.
fn signalled(about: About, from_line: bool) -> Signalled {
    let About {
        original,
        diverted,
        user_to_user,
        resource_priority: _,
        emergency,
        place,
        ticket,
        caller_shown,
        replaces: _,
    } = about;
    let caller_name = Some(caller_shown).filter(|name| !name.is_empty());
    let ticket = ticket.filter(|_| from_line);
    Signalled { caller_name, original, diverted, emergency, place, user_to_user, ticket }
}

fn refuse(leg: LegId, status: u16, q850: u8, retry_after_s: Option<u32>, out: &mut Vec<Command>) {
    out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s }));
}

#[cfg(test)]
impl Calls {
    /// The state of the only call as a letter; `-` when there is none.
    pub(super) fn letter(&self) -> char {
        self.calls.iter().next().map_or('-', |(_, entry)| entry.call.letter())
    }
}
