//! One call: a citizen's contact as a state machine.
//!
//! ```text
//! Opening → Connecting → Ivr → Waiting ⇄ Ringing → Talking ⇄ (hold)
//!                          │       ↑__________________│ the agent's phone is lost
//!                          └→ Apologising → Ending ←── every state, when either side or an operator ends it
//!
//! Talking, with a target being reached or there (a transfer) → Handed: the agent has left → Waiting, if the target fails
//! Talking, Waiting, Ringing → Aside: parked, or out of the line for somebody who is being rung → Talking or Waiting
//! ```
//!
//! Several agents may be rung together: the first whose answer is heard has the citizen, and the others are cancelled
//! before the two are joined. Owns what the citizen hears and to whom they are joined. The rule above all: a failure on the agent's side brings the
//! citizen back to the queue with their place; only the citizen, the agent who talks, an operator, the flow or the
//! citizen's own network ends the call.

mod after;
mod agent;
pub(super) mod away;
mod citizen;
mod comfort;
mod fault;
mod replace;
pub(super) mod second;
pub(super) mod sound;
mod standing;
mod supervise;
mod transfer;

use super::event::{Command, Past, Settings, SiteSettings};
use super::leg::{Dialog, Leg};
use super::q850::{
    CONGESTION, INCOMPATIBLE, NETWORK_OUT_OF_ORDER, NO_ANSWER, NO_RESOURCE, NORMAL, TEMPORARY_FAILURE, TIMER_EXPIRED,
};
use super::record::{Book, Shown};
use super::supervise::{Beside, HoldView};
use super::transfer::Spare;
use super::transfer::{Phase, Transfer};
use crate::acd::event::{Event as Acd, Lease, Patience};
use crate::base::fact::{InterventionResult, Party, Stage};
use crate::base::{AgentId, CallId, LegId, Mono, Now, OrderId, PromptId, QueueId, RecordingId, SiteId, Wall};
use crate::ivr;
use crate::media::event::{Action as Media, Party as Seat, Remote};
use crate::trunk::event::{Event as ToTrunks, Seize};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A port is bound in the same pass; later than this it never will be. A caller for whose agent there was none asks again
/// after as long.
const PORT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Beyond 64×T1 (32 s), in which the user agent waits for the ACK.
const ACK_WAIT_MAX: Duration = Duration::from_secs(40);
/// No prompt is longer; a flow that hears nothing for so long goes on as if its prompt had been played.
const PROMPT_MAX: Duration = Duration::from_secs(300);
/// A waiting caller is named to the ACD again this often, so that no lost message strands anybody.
pub(super) const REQUEUE_EVERY: Duration = Duration::from_secs(30);
/// The phone is told to stop ringing a little before the lease ends, so that an answer at the last moment counts.
const RING_MARGIN: Duration = Duration::from_millis(500);
/// After the lease's end this long for the ACD to say so.
const REVOKE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The apology is cut off after this.
const APOLOGY_MAX: Duration = Duration::from_secs(30);
/// Longer than any SIP transaction (64×T1) that may still end a leg.
const LINGER_MAX: Duration = Duration::from_secs(70);

#[derive(Debug)]
pub(super) enum State {
    /// A port was asked for.
    Opening { offer: Option<Bytes>, towards: SocketAddr },
    /// 200 is sent; its ACK is awaited.
    Connecting,
    /// In the flow.
    Ivr { run: ivr::Run },
    /// In the queue: announcement, then music.
    Waiting,
    /// Agents are booked and being rung, one at least; the citizen hears music.
    Ringing { rung: Vec<Rung> },
    /// Joined to an agent.
    Talking { talker: Talker, leg: LegId, held: bool },
    /// The agent has left; the citizen talks to the target of a transfer, or waits for it.
    Handed,
    /// Out of the line, with music.
    Aside(Aside),
    /// The last human has left: in the queue's flow for after a talk.
    Asked { run: ivr::Run },
    /// Hears why we must hang up.
    Apologising,
    /// All is told; the legs run out.
    Ending,
}

/// The agent who talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Talker {
    /// Booked by the ACD.
    Booked(Lease),
    /// Beside the queues: one who took the talk over, or fetched a parked citizen.
    Own(AgentId),
}

impl Talker {
    pub(super) fn agent(self) -> AgentId {
        match self {
            Talker::Booked(lease) => lease.agent,
            Talker::Own(agent) => agent,
        }
    }
}

/// Why a citizen is out of the line without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Aside {
    /// Somebody's phone is rung for them, who is to take them over.
    Claimed,
    /// Parked.
    Parked {
        by: AgentId,
        since: Wall,
        /// Its place among the interventions of the record.
        entry: usize,
        /// For whoever is rung when nobody fetches them.
        fresh: Fresh,
    },
}

/// New ids, for a step that may need some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fresh {
    pub(super) leg: LegId,
    pub(super) spare: Spare,
}

/// One agent who is being rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rung {
    pub(super) lease: Lease,
    pub(super) leg: LegId,
    /// Its place among the attempts of the record.
    pub(super) attempt: u32,
    /// The ACD has taken the lease back by then.
    pub(super) until: Mono,
}

/// What a call is born with.
pub(super) struct Birth {
    pub(super) id: CallId,
    pub(super) site: SiteId,
    pub(super) leg: LegId,
    /// The channel that it needs of its trunk.
    pub(super) channel: Option<Seize>,
    pub(super) offer: Option<Bytes>,
    pub(super) flow: Arc<ivr::Flow>,
    pub(super) opening: Vec<PromptId>,
    pub(super) priority: u8,
    pub(super) book: Book,
    pub(super) recording: RecordingId,
    pub(super) order: OrderId,
    pub(super) settings: Arc<Settings>,
}

/// What of a call must not be lost in a crash, in brief: when it changes, the call is kept anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    stage: Option<Stage>,
    revision: u32,
    /// Agents whose phones have rung.
    ringing: usize,
    /// In the flow, the prompt that is heard.
    play: Option<u32>,
    citizen: (LegId, Dialog, Option<Remote>),
    agents: SmallVec<[(LegId, Dialog, Option<Remote>); 1]>,
    target: Option<(Phase, [Option<LegId>; 2], bool)>,
    aside: Option<Aside>,
}

/// One citizen's contact.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) site: SiteId,
    /// As they are now.
    pub(super) settings: Arc<Settings>,
    /// As they were when the flow began: its queues are numbered by them.
    pub(super) born: Arc<Settings>,
    pub(super) state: State,
    pub(super) citizen: Leg,
    /// The agents' legs, the one in use and those that run out.
    pub(super) agents: Vec<Leg>,
    pub(super) flow: Arc<ivr::Flow>,
    pub(super) opening: Vec<PromptId>,
    pub(super) entry_priority: u8,
    pub(super) queue: Option<(QueueId, u8)>,
    /// Since when the caller waits: kept when they come back to the queue.
    pub(super) queued_since: Mono,
    /// What is remembered of the caller; counts until they are queued.
    pub(super) past: Past,
    /// Whom the queue prefers for them.
    pub(super) preferred: Option<AgentId>,
    /// Whether the queue's limits are for them.
    pub(super) patience: Patience,
    /// When those who wait hear something next, and how often they have.
    pub(super) comfort_at: Mono,
    pub(super) comforted: usize,
    /// What they hear before we hang up.
    pub(super) parting: away::Parting,
    pub(super) play: u32,
    /// A leg that waits for its port, to take another's place.
    pub(super) replacing: Option<replace::Replacing>,
    /// A call of the agent's phone to a target, that waits for its port.
    pub(super) coming: Option<second::Coming>,
    /// A third party that is being reached, or is there.
    pub(super) transfer: Option<Transfer>,
    /// The REFER that asked for the transfer, and the leg that it came by.
    pub(super) referred: Option<(LegId, u32)>,
    /// What the agent has pressed of a key.
    pub(super) typed: Option<transfer::Typed>,
    /// Of an emergency line that could not be reached: the number to dial by hand.
    pub(super) dial_by_hand: Option<Box<str>>,
    /// Somebody beside the talking agent, or who is being rung beside the queues.
    pub(super) beside: Option<Beside>,
    /// The agent has left the citizen on hold.
    pub(super) hold: Option<HoldView>,
    /// Who hears whom, as the media plane was told.
    pub(super) room: sound::Room,
    /// The agent's own call to a target and the target, joined outside of that room.
    pub(super) pair: Option<(LegId, LegId)>,
    /// A supervisor in that room.
    pub(super) guest: Option<Seat>,
    pub(super) recording: RecordingId,
    pub(super) order: OrderId,
    pub(super) book: Book,
    pub(super) deadline: Mono,
}

impl Call {
    /// A new INVITE: asks for a channel of its trunk, then for a port.
    pub(super) fn offered(birth: Birth, now: Now, towards: SocketAddr, out: &mut Vec<Command>) -> Call {
        let leg = birth.leg;
        let mut call = Call {
            id: birth.id,
            site: birth.site,
            born: birth.settings.clone(),
            settings: birth.settings,
            state: State::Opening { offer: birth.offer, towards },
            citizen: Leg::new(leg, Dialog::Unanswered, Party::Citizen { trunk: birth.book.record.trunk.clone() }),
            agents: Vec::new(),
            flow: birth.flow,
            opening: birth.opening,
            entry_priority: birth.priority,
            queue: None,
            queued_since: now.mono,
            past: Past::default(),
            preferred: None,
            patience: Patience::default(),
            comfort_at: Mono(u64::MAX),
            comforted: 0,
            parting: away::Parting::default(),
            play: 0,
            replacing: None,
            coming: None,
            transfer: None,
            referred: None,
            typed: None,
            dial_by_hand: None,
            beside: None,
            hold: None,
            room: sound::Room::Alone,
            pair: None,
            guest: None,
            recording: birth.recording,
            order: birth.order,
            book: birth.book,
            deadline: now.mono + PORT_WAIT_MAX,
        };
        call.show(now, out);
        match birth.channel {
            Some(seize) => out.push(Command::Trunk(ToTrunks::Seize(seize))),
            None => call.channel_granted(out),
        }
        call
    }

    /// When [`Call::expired`] wants to be called.
    pub(super) fn next_deadline(&self) -> Mono {
        let of_target = self.transfer.as_ref().map_or(Mono(u64::MAX), Transfer::next_deadline);
        let of_beside = self.beside.as_ref().map_or(Mono(u64::MAX), Beside::next_deadline);
        of_target.min(of_beside).min(self.own_deadline())
    }

    fn own_deadline(&self) -> Mono {
        match &self.state {
            State::Ivr { run } | State::Asked { run } => {
                run.next_deadline().map_or(self.deadline, |at| at.min(self.deadline))
            }
            State::Waiting => self.deadline.min(self.comfort_at),
            State::Opening { .. }
            | State::Connecting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Apologising
            | State::Ending => self.deadline,
        }
    }

    /// Everything is told and every leg has run out, its media too: the call may be forgotten.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        matches!(self.state, State::Ending)
            && (self.deadline <= now || self.citizen.is_over() && self.agents.iter().all(Leg::is_over))
    }

    /// Whether the citizen is still being served.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Ending)
    }

    /// All legs that may still be spoken of.
    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        let of_transfer = self.transfer.iter().flat_map(Transfer::legs);
        std::iter::once(self.citizen.id).chain(self.agents.iter().chain(of_transfer).map(|leg| leg.id))
    }

    /// As it looks to those who keep it.
    pub(super) fn trace(&self) -> Trace {
        Trace {
            stage: self.stage(),
            revision: self.book.record.revision,
            ringing: self.book.ringing_count(),
            play: matches!(self.state, State::Ivr { .. } | State::Asked { .. }).then_some(self.play),
            citizen: self.citizen.trace(),
            agents: self.agents.iter().map(Leg::trace).collect(),
            target: self
                .transfer
                .as_ref()
                .map(|transfer| (transfer.phase, [transfer.leg(), transfer.second_leg()], transfer.is_mute())),
            aside: self.aside(),
        }
    }

    fn site(&self) -> &SiteSettings {
        &self.settings.sites[self.site.index()]
    }

    fn agent_name(&self, agent: AgentId) -> Box<str> {
        let identity = self.settings.agents.get(agent.index()).and_then(Option::as_ref);
        identity.map_or_else(|| format!("agent-{}", agent.0).into(), |identity| identity.name.clone())
    }

    /// User part of the address-of-record at which the agent is rung.
    fn agent_phone(&self, agent: AgentId) -> Box<str> {
        let identity = self.settings.agents.get(agent.index()).and_then(Option::as_ref);
        identity.map_or_else(|| self.agent_name(agent), |identity| identity.phone.clone())
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        if self.citizen.id == id {
            return Some(&mut self.citizen);
        }
        let of_transfer = self.transfer.iter_mut().flat_map(Transfer::legs_mut);
        self.agents.iter_mut().chain(of_transfer).find(|leg| leg.id == id)
    }

    fn stage(&self) -> Option<Stage> {
        match &self.state {
            State::Opening { .. } | State::Connecting => Some(Stage::Offered),
            State::Ivr { .. } => Some(Stage::Ivr),
            State::Waiting | State::Apologising | State::Aside(Aside::Claimed) => Some(Stage::Queued),
            State::Ringing { .. } => Some(Stage::Ringing),
            State::Talking { .. } | State::Handed | State::Aside(Aside::Parked { .. }) | State::Asked { .. } => {
                Some(Stage::Talking)
            }
            State::Ending => None,
        }
    }

    /// The booked agents who are being rung or talked to, each with their leg.
    pub(super) fn leases(&self) -> impl Iterator<Item = (Lease, LegId)> + '_ {
        let (rung, talking) = match &self.state {
            State::Ringing { rung } => (rung.as_slice(), None),
            State::Talking { talker: Talker::Booked(lease), leg, .. } => (&[][..], Some((*lease, *leg))),
            State::Talking { talker: Talker::Own(_), .. }
            | State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => (&[][..], None),
        };
        rung.iter().map(|rung| (rung.lease, rung.leg)).chain(talking)
    }

    /// Who talks, and on which leg.
    pub(super) fn talker(&self) -> Option<(Talker, LegId)> {
        match self.state {
            State::Talking { talker, leg, .. } => Some((talker, leg)),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Ringing { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => None,
        }
    }

    /// Why the citizen is out of the line without an agent, if so.
    pub(super) fn aside(&self) -> Option<Aside> {
        match self.state {
            State::Aside(aside) => Some(aside),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Handed
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => None,
        }
    }

    pub(super) fn show(&mut self, now: Now, out: &mut Vec<Command>) {
        let agents = match self.talker() {
            Some((talker, _)) => vec![talker.agent()],
            None => self.leases().map(|(lease, _)| lease.agent).collect(),
        };
        let queue = self.queue.map(|(queue, _)| queue);
        let shown = Shown {
            stage: self.stage(),
            queue,
            agents,
            transfer: self.transfer_view(),
            hold: self.hold,
            parked: self.park_view(),
            supervision: self.supervision_view(),
        };
        self.book.show(now, self.id, shown, out);
    }

    fn enter(&mut self, now: Now, state: State, wait_max: Duration, out: &mut Vec<Command>) {
        self.state = state;
        self.deadline = now.mono + wait_max;
        self.hold = None;
        if !self.keeps_beside() {
            self.beside_leaves(now, InterventionResult::Cancelled, out);
        }
        self.show(now, out);
    }

    fn acd(&self, event: Acd, out: &mut Vec<Command>) {
        out.push(Command::Acd { site: self.site, event });
    }

    fn play(&mut self, prompts: Vec<PromptId>, repeat: bool, out: &mut Vec<Command>) {
        self.play += 1;
        out.push(Command::Media(Media::Play { leg: self.citizen.id, play: self.play, prompts, repeat }));
    }
}

impl Call {
    /// What must hold after every event.
    pub(super) fn check(&self) {
        for (lease, leg) in self.leases() {
            assert!(self.agents.iter().any(|agent| agent.id == leg), "{lease:?} has a leg");
            assert!(self.queue.is_some(), "an agent is booked for a queue");
        }
        if let State::Ringing { rung } = &self.state {
            assert!(
                rung.iter().map(|rung| rung.until).min() == Some(self.deadline),
                "ringing ends with the first lease"
            );
        }
        if let State::Talking { leg, .. } = &self.state {
            let agent = self.agents.iter().find(|agent| agent.id == *leg);
            assert!(agent.is_some_and(|agent| agent.dialog == Dialog::Alive), "who talks has a dialog");
        }
        if let Some(transfer) = &self.transfer {
            transfer.check();
            assert!(matches!(self.state, State::Talking { .. } | State::Handed), "only who talks is transferred");
            if let Some(second) = &transfer.second {
                assert!(matches!(self.state, State::Talking { .. }), "{second:?} is of an agent who talks");
                let has_leg = |id| self.agents.iter().any(|leg| leg.id == id && leg.dialog != Dialog::Gone);
                assert!(second.leg().is_none_or(has_leg), "{second:?} has a dialog");
            }
        }
        if matches!(self.state, State::Handed) {
            assert!(self.transfer.is_some(), "without an agent there is a target");
        }
        assert_eq!(self.room, self.wanted_room(), "who should hear whom does");
        assert_eq!(self.pair, self.wanted_pair(), "the agent's own call to a target is joined with it");
        assert_eq!(self.guest, self.wanted_guest(self.room), "a supervisor hears and is heard as asked for");
        assert!(self.keeps_beside(), "nobody is rung for what cannot be any more");
        if let Some(beside) = &self.beside {
            assert!(self.agents.iter().any(|agent| agent.id == beside.leg), "who is beside has a leg");
        }
        if let State::Aside(Aside::Claimed) = self.state {
            assert!(self.beside.is_some(), "who is out of the line is so for somebody");
        }
        if self.is_live() && !self.outlasts_citizen() {
            assert!(self.citizen.dialog != Dialog::Gone, "a live call has its citizen");
        }
    }
}

#[cfg(test)]
impl Call {
    /// The state as one letter, for tables.
    pub(super) fn letter(&self) -> char {
        match &self.state {
            State::Opening { .. } => 'O',
            State::Connecting => 'C',
            State::Ivr { .. } => 'I',
            State::Waiting => 'W',
            State::Ringing { .. } => 'R',
            State::Talking { held: false, .. } => 'T',
            State::Talking { held: true, .. } => 'H',
            State::Handed => 'X',
            State::Asked { .. } => 'Q',
            State::Aside(Aside::Claimed) => 'L',
            State::Aside(Aside::Parked { .. }) => 'P',
            State::Apologising => 'A',
            State::Ending => 'E',
        }
    }
}
