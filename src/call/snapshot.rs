//! What of a shard's calls outlives its process, as plain versioned data, and how they go on from it.
//!
//! Sites and queues are kept by name and a flow by its dialled number, so that a snapshot fits other settings. Timers are
//! derived anew. Whoever was being rung for, and whose INVITE the user agent no longer knows, is back in the line, and
//! nobody is to blame. When the media planes died too, ports are opened again and everybody hears what they heard.
//! Never decides what is done about legs that only others know of: that is the shard's work.

use super::call::away::Parting;
use super::call::sound::Room;
use super::call::{Aside, Call, REQUEUE_EVERY, Rung, State, Talker};
use super::calls::{Calls, Entry};
use super::event::{Command, Past, Settings};
use super::leg::{Dialog, Leg};
use super::outbound;
use super::q850::TEMPORARY_FAILURE;
use super::record::Book;
use super::supervise::HoldView;
use super::transfer::{SavedTransfer, Transfer};
use crate::acd::event::{Event as Acd, Patience};
use crate::acd::{Held, Live};
use crate::base::fact::{AttemptOutcome, Direction, EndedBy, InterventionResult, TransferResult};
use crate::base::snapshot::Snapshot;
use crate::base::table::Table;
use crate::base::{
    AgentId, CallId, ContactId, LegId, Mint, Mono, Now, OrderId, PromptId, QueueId, RecordingId, ShardId, SiteId,
};
use crate::media::event::{Action as Media, Marks, RecordingStart, Track};
use crate::{ivr, trunk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The version we write. What crosses processes is [`Standing`](crate::shard::Standing), with a version of its own.
pub const VERSION: u16 = 7;
/// What the snapshot is of.
pub const KIND: &str = "calls";
/// More legs than can have been dialled between the last snapshot and a crash.
const LOST_LEGS_MAX: u64 = 1 << 24;

/// The calls of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    legs_dialled: u64,
    generation_max: u32,
    retry_after_s: Option<u32>,
    calls: Vec<SavedCall>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedCall {
    id: CallId,
    site: Box<str>,
    state: SavedState,
    citizen: Leg,
    agents: Vec<Leg>,
    #[serde(default)]
    transfer: Option<SavedTransfer>,
    opening: Vec<PromptId>,
    entry_priority: u8,
    hold: Option<HoldView>,
    queue: Option<(Box<str>, u8)>,
    queued_since: Mono,
    past: Past,
    preferred: Option<AgentId>,
    #[serde(default)]
    patience: Patience,
    #[serde(default)]
    parting: Parting,
    play: u32,
    recording: RecordingId,
    order: OrderId,
    book: Book,
    deadline: Mono,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SavedState {
    Connecting,
    Ivr(ivr::Snapshot),
    Waiting,
    Ringing { rung: Vec<Rung> },
    Talking { talker: Talker, leg: LegId, held: bool },
    Handed,
    Aside(Aside),
    Asked(ivr::Snapshot),
    Apologising,
    Ending,
}

impl Saved {
    /// Of calls that were kept one by one. `legs_dialled` is how many legs were dialled so far.
    pub fn of(legs_dialled: u64, calls: Vec<SavedCall>) -> Snapshot<Saved> {
        let saved = Saved {
            legs_dialled,
            generation_max: calls.iter().map(|call| call.id.generation).max().unwrap_or(1),
            retry_after_s: None,
            calls,
        };
        Snapshot::new(KIND, VERSION, saved)
    }
}

impl SavedCall {
    /// Which call.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Its lasting id.
    pub fn contact(&self) -> ContactId {
        self.book.contact()
    }

    /// Whether its end was told already.
    pub fn is_ending(&self) -> bool {
        match self.state {
            SavedState::Ending => true,
            SavedState::Connecting
            | SavedState::Ivr(_)
            | SavedState::Waiting
            | SavedState::Ringing { .. }
            | SavedState::Talking { .. }
            | SavedState::Handed
            | SavedState::Aside(_)
            | SavedState::Asked(_)
            | SavedState::Apologising => false,
        }
    }

    /// All its legs.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        let target = self.transfer.as_ref().map(SavedTransfer::leg);
        std::iter::once(self.citizen.id).chain(self.agents.iter().map(|leg| leg.id)).chain(target)
    }
}

impl Calls {
    /// From now on calls that change are noted for [`Calls::take_changed`]: at first all there are.
    pub fn keep_changes(&mut self) {
        self.changed = Some(self.calls.iter().map(|(id, _)| id).collect());
    }

    /// Calls that changed since, or are gone.
    pub fn take_changed(&mut self) -> BTreeSet<CallId> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether any call changed since.
    pub fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.is_empty())
    }

    /// What must survive of one call: whose it is, all its legs and, unless it is outbound, itself. `None` when it is
    /// gone, or asks for its port still.
    pub fn saved(&self, id: CallId) -> Option<(ContactId, Vec<LegId>, Option<SavedCall>)> {
        if let Some(id) = outbound::inward(id) {
            return self.outbounds.known(id).map(|(contact, legs)| (contact, legs, None));
        }
        let saved = self.calls.at(id)?.call.saved()?;
        Some((saved.contact(), saved.legs().collect(), Some(saved)))
    }

    /// The contacts of citizens' calls that stand.
    pub fn contacts(&self) -> impl Iterator<Item = ContactId> + '_ {
        self.calls.iter().map(|(_, entry)| entry.call.book.contact())
    }

    /// What must survive.
    pub fn snapshot(&self) -> Snapshot<Saved> {
        let saved = Saved {
            legs_dialled: self.legs_dialled,
            generation_max: self.calls.generation_max(),
            retry_after_s: self.retry_after_s,
            calls: self.calls.iter().filter_map(|(_, entry)| entry.call.saved()).collect(),
        };
        Snapshot::new(KIND, VERSION, saved)
    }

    /// Calls that go on where the snapshot was taken. `is_known` says which legs the restored user agent has; `mint` must
    /// not be one used before. `lost` is what is known of the media planes when they died too. The ACD of every site is
    /// told what this shard holds.
    pub fn restore(
        snapshot: Snapshot<Saved>,
        (shard, mint): (ShardId, Mint),
        settings: Arc<Settings>,
        now: Now,
        (is_known, lost): (impl Fn(LegId) -> bool, Option<&Marks>),
        out: &mut Vec<Command>,
    ) -> Calls {
        let saved = snapshot.state;
        let mut calls = Calls::new(shard, mint, settings.clone());
        calls.legs_dialled = saved.legs_dialled + LOST_LEGS_MAX;
        calls.retry_after_s = saved.retry_after_s;
        let restored = saved.calls.into_iter().filter_map(|call| Call::restore(call, &settings));
        let entries = restored.map(|call| (call.id, Entry::new(call))).collect();
        calls.calls = Table::restore(shard, saved.generation_max, entries);
        let ids: Vec<CallId> = calls.calls.iter().map(|(id, _)| id).collect();
        for &id in &ids {
            calls.with_call(now, id, out, |call, out| call.resume(now, &is_known, lost, out));
            if lost.is_some() {
                calls.with_call(now, id, out, |call, out| {
                    call.sound_again(now, out);
                    call.planes_died();
                });
            }
        }
        let held = calls.calls.iter().filter_map(|(_, entry)| {
            let (trunk, _) = settings.trunk_named(&entry.call.book.record.trunk)?;
            Some((entry.call.channel().filter(|_| entry.call.is_live())?, trunk, Direction::Inbound))
        });
        let out_of = calls.calls.iter().filter_map(|(_, entry)| {
            let (leg, trunk) = entry.call.transfer.as_ref()?.channel()?;
            Some((leg, trunk, Direction::Outbound))
        });
        out.push(Command::Trunk(trunk::event::Event::Hold { shard, legs: held.chain(out_of).collect() }));
        for site in (0u16..).map(SiteId).take(settings.sites.len()) {
            calls.tell_owner(site, out);
        }
        calls
    }

    /// All that the calls of `site` want and hold, to the owner of its queues.
    pub(super) fn tell_owner(&self, site: SiteId, out: &mut Vec<Command>) {
        let of_site = self.calls.iter().filter(|(_, entry)| entry.call.site == site);
        let live = of_site.filter_map(|(_, entry)| entry.call.told_to_acd()).collect();
        let beside = self.calls.iter().filter(|(_, entry)| entry.call.site == site);
        let beside = beside.flat_map(|(id, entry)| entry.own.iter().map(move |agent| (*agent, id)));
        let own = self.outbounds.own_calls(site).chain(self.desks.own_calls(site)).chain(beside).collect();
        out.push(Command::Acd { site, event: Acd::Adopt { shard: self.shard, live, own } });
    }
}

impl Call {
    /// `None` while a port is still asked for: that ends within the pass.
    fn saved(&self) -> Option<SavedCall> {
        let state = match &self.state {
            State::Opening { .. } => return None,
            State::Connecting => SavedState::Connecting,
            State::Ivr { run } => SavedState::Ivr(run.snapshot()),
            State::Waiting => SavedState::Waiting,
            State::Ringing { rung } => SavedState::Ringing { rung: rung.clone() },
            State::Talking { talker, leg, held } => SavedState::Talking { talker: *talker, leg: *leg, held: *held },
            State::Handed => SavedState::Handed,
            State::Aside(aside) => SavedState::Aside(*aside),
            State::Asked { run } => SavedState::Asked(run.snapshot()),
            State::Apologising => SavedState::Apologising,
            State::Ending => SavedState::Ending,
        };
        let site = &self.settings.sites[self.site.index()];
        Some(SavedCall {
            id: self.id,
            site: site.code.clone(),
            state,
            citizen: self.citizen.clone(),
            agents: self.agents.clone(),
            transfer: self.transfer.as_ref().and_then(Transfer::saved),
            opening: self.opening.clone(),
            entry_priority: self.entry_priority,
            hold: self.hold,
            queue: self.queue.map(|(queue, priority)| (site.queues[queue.index()].name.clone(), priority)),
            queued_since: self.queued_since,
            past: self.past,
            preferred: self.preferred,
            patience: self.patience,
            parting: self.parting,
            play: self.play,
            recording: self.recording,
            order: self.order,
            book: self.book.clone(),
            deadline: self.deadline,
        })
    }

    /// `None` when the settings know neither its site nor its number any more.
    fn restore(saved: SavedCall, settings: &Arc<Settings>) -> Option<Call> {
        let site = settings.sites.iter().position(|site| site.code == saved.site)?;
        let flow = settings.numbers.at(&saved.book.record.dialled)?.flow.clone();
        let queues = &settings.sites[site].queues;
        let number = |name: &str| queues.iter().position(|queue| &*queue.name == name).unwrap_or(0);
        let state = match saved.state {
            SavedState::Connecting => State::Connecting,
            SavedState::Ivr(run) => {
                // A flow that was changed meanwhile begins anew.
                let run = ivr::Run::restore(run, flow.clone());
                State::Ivr { run: run.unwrap_or_else(|_| ivr::Run::new(flow.clone(), Vec::new())) }
            }
            SavedState::Waiting => State::Waiting,
            SavedState::Ringing { rung } => State::Ringing { rung },
            SavedState::Talking { talker, leg, held } => State::Talking { talker, leg, held },
            SavedState::Handed => State::Handed,
            SavedState::Aside(aside) => State::Aside(aside),
            SavedState::Asked(run) => {
                // A question that is asked no more has no answer: the call is over.
                let (queue, _) = saved.queue.as_ref()?;
                let after = queues[number(queue)].after.clone()?;
                let again = ivr::Run::restore(run, after.clone());
                State::Asked { run: again.unwrap_or_else(|_| ivr::Run::new(after, Vec::new())) }
            }
            SavedState::Apologising => State::Apologising,
            SavedState::Ending => State::Ending,
        };
        let call = Call {
            id: saved.id,
            site: SiteId(site as u16),
            settings: settings.clone(),
            born: settings.clone(),
            state,
            citizen: saved.citizen,
            agents: saved.agents,
            flow,
            opening: saved.opening,
            entry_priority: saved.entry_priority,
            queue: saved.queue.map(|(name, priority)| (QueueId(number(&name) as u16), priority)),
            queued_since: saved.queued_since,
            past: saved.past,
            preferred: saved.preferred,
            patience: saved.patience,
            comfort_at: Mono(0),
            comforted: 0,
            parting: saved.parting,
            play: saved.play,
            replacing: None,
            coming: None,
            transfer: None,
            referred: None,
            typed: None,
            dial_by_hand: None,
            beside: None,
            hold: saved.hold,
            room: Room::Alone,
            pair: None,
            guest: None,
            recording: saved.recording,
            order: saved.order,
            book: saved.book,
            deadline: saved.deadline,
        };
        Some(call.with_transfer(saved.transfer))
    }

    /// Finds itself in what is left of its legs.
    fn resume(&mut self, now: Now, is_known: &impl Fn(LegId) -> bool, lost: Option<&Marks>, out: &mut Vec<Command>) {
        self.book.resume(lost.is_some(), out);
        std::iter::once(&mut self.citizen).chain(&mut self.agents).for_each(Leg::resume);
        if lost.is_some() {
            // New planes begin to listen anew.
            self.transfer.iter_mut().flat_map(Transfer::legs_mut).for_each(|leg| leg.sounds(true));
        }
        for leg in self.agents.iter_mut().filter(|leg| !is_known(leg.id)) {
            leg.dialog = Dialog::Gone;
            leg.close(out);
        }
        if self.citizen.dialog == Dialog::Gone && self.outlasts_citizen() {
            // The emergency line and the agent go on.
        } else if !is_known(self.citizen.id) {
            self.citizen.dialog = Dialog::Gone;
            return self.end(now, EndedBy::Fault, TEMPORARY_FAILURE, out);
        }
        self.resume_alone(now, out);
        let target_lost = self.resume_transfer(now, is_known, out);
        lost.into_iter().for_each(|marks| self.reopen(now, marks, out));
        match &self.state {
            State::Ringing { rung } => {
                let lost: Vec<LegId> = rung.iter().map(|rung| rung.leg).filter(|leg| !is_known(*leg)).collect();
                for leg in lost {
                    self.drop_agent(leg, TEMPORARY_FAILURE, out);
                    self.part(now, leg, (AttemptOutcome::Unreachable, REQUEUE_EVERY), out);
                }
            }
            State::Ivr { run } | State::Asked { run } if run.next_deadline().is_none() => {
                self.flow_event(now, ivr::event::Event::Start, out);
            }
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => {}
        }
        match (lost, &self.state) {
            (Some(_silent), _) => self.room = Room::Alone,
            (None, State::Talking { leg, .. }) if target_lost => {
                self.room = Room::Ringback(*leg);
                self.sound(out);
            }
            (None, _) => (self.room, self.pair) = (self.wanted_room(), self.wanted_pair()),
        }
        self.show(now, out);
    }

    /// Whoever was beside the talking agent, or was being rung, is hung up; a citizen who was out of the line for them is
    /// back in it.
    fn resume_alone(&mut self, now: Now, out: &mut Vec<Command>) {
        let talks = self.talker().map(|(_, leg)| leg);
        let second = self.transfer.as_ref().and_then(Transfer::second_leg);
        let needed: Vec<LegId> = self.leases().map(|(_, leg)| leg).chain(talks).chain(second).collect();
        for leg in self.agents.iter_mut().filter(|leg| !needed.contains(&leg.id)) {
            leg.hang_up(TEMPORARY_FAILURE, out);
        }
        let parked = match self.aside() {
            Some(Aside::Parked { entry, .. }) => Some(entry),
            Some(Aside::Claimed) | None => None,
        };
        let at = self.book.time(now);
        let lasting = (0..).zip(&mut self.book.record.interventions).filter(|(_, entry)| entry.ended.is_none());
        let mut lost = false;
        for (_, entry) in lasting.filter(|(place, _)| parked != Some(*place)) {
            (entry.ended, entry.result) = (Some(at), Some(InterventionResult::Lost));
            lost = true;
        }
        if lost {
            self.book.tell(out);
        }
        if let State::Aside(Aside::Claimed) = self.state {
            (self.state, self.deadline) = (State::Waiting, now.mono + REQUEUE_EVERY);
        }
    }

    /// A transfer goes on with its target, if that is still there. Returns whether one was lost: one that was only being
    /// dialled always is, and whoever waited for it without an agent is back in the line.
    fn resume_transfer(&mut self, now: Now, is_known: &impl Fn(LegId) -> bool, out: &mut Vec<Command>) -> bool {
        let lost = match &self.transfer {
            Some(transfer) => {
                let second = transfer.second_leg();
                transfer.leg().into_iter().chain(second).any(|leg| !is_known(leg)) || transfer.leg().is_none()
            }
            None => self.book.record.transfers.last().is_some_and(|record| record.ended.is_none()),
        };
        if !lost {
            return false;
        }
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.result = Some(TransferResult::Lost);
        }
        self.transfer_over(now, TransferResult::Lost, out);
        let at = self.book.time(now);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.ended.get_or_insert(at);
        }
        if matches!(self.state, State::Handed) {
            (self.state, self.deadline) = (State::Waiting, now.mono + REQUEUE_EVERY);
            self.music(out);
        }
        true
    }

    fn with_transfer(mut self, saved: Option<SavedTransfer>) -> Call {
        if let Some(saved) = saved {
            let of = self.of_transfer(self.citizen.id);
            let routes = self.book.record.transfers.last().map_or(&[][..], |record| &record.routes);
            self.transfer = Transfer::restore(saved, of, self.site, routes);
        }
        self
    }

    /// The same ports, the same other ends, the same file.
    fn reopen(&self, now: Now, marks: &Marks, out: &mut Vec<Command>) {
        let opened = self.citizen.reopen(None, marks, out);
        for leg in self.agents.iter().chain(self.transfer.iter().flat_map(Transfer::legs)) {
            leg.reopen(Some(self.citizen.id), marks, out);
        }
        if self.transfer.is_some() {
            self.keep_tracks(now, out);
        }
        if let (Some(started), Some(recording)) = (opened, self.book.record.recording) {
            let site = self.settings.sites[self.site.index()].code.clone();
            let (contact, track) = (self.book.contact(), Track::Journey);
            let recording = RecordingStart { recording, contact, site, started, track };
            out.push(Command::Media(Media::Record { citizen: self.citizen.id, recording }));
        }
    }

    /// Planes that begin from silence are told again what is to be heard.
    fn sound_again(&mut self, now: Now, out: &mut Vec<Command>) {
        match &mut self.state {
            State::Ivr { run } | State::Asked { run } => {
                let mut commands = Vec::new();
                run.resume(now, &mut commands);
                for command in commands {
                    self.flow_command(now, command, out);
                }
            }
            State::Talking { .. } | State::Handed => self.sound(out),
            State::Waiting | State::Ringing { .. } | State::Aside(_) => self.music(out),
            State::Apologising => self.apologise(out),
            State::Opening { .. } | State::Connecting | State::Ending => {}
        }
    }

    /// What was closing is closed, and nobody knows what its media were like.
    fn planes_died(&mut self) {
        std::iter::once(&mut self.citizen).chain(&mut self.agents).for_each(Leg::plane_died);
    }

    /// As the ACD should know it; `None` when it wants and has no agent.
    fn told_to_acd(&self) -> Option<Live> {
        let held = match &self.state {
            State::Waiting => Vec::new(),
            State::Talking { talker: Talker::Booked(lease), .. } => vec![Held { lease: *lease, answered: true }],
            State::Ringing { rung } => rung.iter().map(|rung| Held { lease: rung.lease, answered: false }).collect(),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Talking { talker: Talker::Own(_), .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => return None,
        };
        Some(Live { caller: self.caller()?, held })
    }
}
