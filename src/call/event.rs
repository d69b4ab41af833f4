//! What goes into the calls of a shard and what comes out.

use super::ahead::{Ahead, Links};
use super::desk::{Key, Keys, Said};
use super::log_in::Claim;
use super::phrases::Phrases;
use super::supervise::{self, HoldView, NotDone, ParkView, SupervisionView};
use super::targets::Targets;
use super::transfer::{Ask, NotTransferred, TransferView};
use crate::base::fact::{Direction, Fact, Party, Stage};
use crate::base::number::Number;
use crate::base::{AgentId, CallId, ContactId, LegId, OrderId, PromptId, QueueId, SiteId, TrunkId, Wall};
use crate::{acd, callback, ivr, media, sip, trunk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Into [`Calls`](super::Calls).
#[derive(Clone, Debug)]
pub enum Event {
    /// From the user agent of this shard.
    Sip(sip::event::Notice),
    /// From the media plane.
    Media(media::event::Notice),
    /// From the ACD of a site: `Offer`, `Revoke` or `Released`.
    Acd(acd::event::Command),
    /// From the table of trunks: `Granted` or `Refused`.
    Trunk(trunk::event::Command),
    /// The port asked for by [`Command::OpenPort`] is bound.
    PortOpened {
        /// For which leg.
        leg: LegId,
        /// The address to write into the session description.
        local: SocketAddr,
    },
    /// No port is free, or binding failed.
    PortRefused {
        /// For which leg.
        leg: LegId,
    },
    /// What is remembered of a call's caller, as asked for by [`Command::Recall`].
    Recalled {
        /// Of which call.
        call: CallId,
        /// What.
        past: Past,
    },
    /// Somebody who may asks for the call's end.
    HangUp {
        /// Which.
        call: CallId,
    },
    /// Somebody asks for a transfer, or for something about one; answered by [`Command::TransferAnswered`].
    Transfer {
        /// Which call.
        call: CallId,
        /// The agent who asks; `None` for one who may ask for any.
        by: Option<AgentId>,
        /// What.
        ask: Ask,
        /// Comes back with the answer.
        ticket: u64,
    },
    /// Somebody who may steps into a call beside the queues; answered by [`Command::Intervened`].
    Intervene {
        /// Which call.
        call: CallId,
        /// Name of who asks.
        by: Box<str>,
        /// The agent who asks for their own talk; `None` for one who may ask for any.
        own: Option<AgentId>,
        /// What.
        ask: supervise::Ask,
        /// Comes back with the answer.
        ticket: u64,
    },
    /// What came of [`Command::Desk`] or [`Command::LogIn`].
    DeskJudged {
        /// Which call.
        call: CallId,
        /// What.
        said: Said,
    },
    /// Somebody who may asks for a call of an agent to the outside: the agent's phone is rung first.
    Dial(Box<Dial>),
    /// An attempt to call somebody back: the agent's phone is rung first.
    CallBack(Box<callback::event::Attempt>),
    /// An attempt to call somebody back is to end.
    GiveUp {
        /// Which.
        contact: ContactId,
    },
    /// A site's queues have a new owner, who asks what the calls here want and hold. Comes behind all that the old owner said;
    /// [`Adopt`](acd::event::Event::Adopt) answers it.
    Resync {
        /// Whose queues.
        site: SiteId,
    },
    /// New settings; running calls keep what they were born under.
    Configure(Arc<Settings>),
    /// Take no new calls (503 with Retry-After); running ones go on.
    Drain {
        /// Seconds for Retry-After.
        retry_after_s: u32,
    },
}

/// A call to the outside that was asked for by hand (click to dial).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The contact it shall be.
    pub contact: ContactId,
    /// Whose.
    pub site: SiteId,
    /// Whose phone is rung.
    pub agent: AgentId,
    /// Whom to call.
    pub number: Number,
    /// The order it is about.
    pub order: Option<OrderId>,
}

/// Out of [`Calls`](super::Calls).
#[derive(Clone, Debug)]
pub enum Command {
    /// To the user agent of this shard.
    Sip(sip::event::Action),
    /// Bind a media port; answered in the same pass by `PortOpened` or `PortRefused`.
    OpenPort {
        /// For which leg.
        leg: LegId,
        /// Put it on the media thread of this leg, so that the two can be bridged.
        beside: Option<LegId>,
        /// Who is at the other end, to choose the local address.
        towards: Towards,
    },
    /// To the table of trunks; a wish for a channel is answered in the same pass by `Granted` or `Refused`.
    Trunk(trunk::event::Event),
    /// The process that held this port died: bind the same one again. A failure is told as `Closed` by the leg's media.
    ReopenPort {
        /// For which leg.
        leg: LegId,
        /// As in `OpenPort`.
        beside: Option<LegId>,
        /// The port.
        local: SocketAddr,
    },
    /// To the media thread of its leg.
    Media(media::event::Action),
    /// To the ACD of a site.
    Acd {
        /// Whose.
        site: SiteId,
        /// What.
        event: acd::event::Event,
    },
    /// To the journal.
    Fact {
        /// Whose.
        site: SiteId,
        /// What.
        fact: Fact,
    },
    /// The answer to [`Event::Transfer`]; an `Err` says why nothing is done.
    TransferAnswered {
        /// Of the event.
        ticket: u64,
        /// What became of it.
        answer: Result<(), NotTransferred>,
    },
    /// The answer to [`Event::Intervene`]; an `Err` says why nothing is done.
    Intervened {
        /// Of the event.
        ticket: u64,
        /// What became of it.
        answer: Result<(), NotDone>,
    },
    /// A phone key asks for a state of its agent; answered in the same pass by [`Event::DeskJudged`].
    Desk {
        /// By which call.
        call: CallId,
        /// Whose agent.
        site: SiteId,
        /// Who.
        agent: AgentId,
        /// What.
        key: Key,
    },
    /// Whoever sits down says who they are; answered by [`Event::DeskJudged`], or not at all.
    LogIn {
        /// By which call.
        call: CallId,
        /// Whose seat.
        site: SiteId,
        /// Who, where, and what proves it.
        claim: Claim,
    },
    /// To the site's call-backs.
    Callback(Box<callback::event::Event>),
    /// To the system of a target that is about to be dialled.
    Ahead(Box<Ahead>),
    /// To whoever watches: the call as it stands now.
    Show(CallView),
    /// To the log: nothing is heard of a leg.
    Silent(Silent),
    /// To whoever remembers: who served this caller? Answered by [`Event::Recalled`], or not at all; a call waits for no
    /// memory.
    Recall {
        /// Which call asks.
        call: CallId,
        /// Whose records.
        site: SiteId,
        /// Canonical caller number.
        caller: Box<str>,
    },
}

/// Neither RTP nor RTCP comes from a leg that should send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Whose call.
    pub contact: ContactId,
    /// Whose.
    pub site: SiteId,
    /// Who is at the other end.
    pub party: Party,
    /// What is done about it.
    pub step: SilentStep,
}

/// What is done about a silent leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilentStep {
    /// It is asked whether its dialog stands.
    Asked,
    /// It does: the leg is kept, and remembered as one-way.
    OneWay,
    /// It does not, or has been one-way for too long: the leg is ended.
    GivenUp,
}

/// What is remembered of a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The agent who served them last, and when that call came.
    pub last: Option<(AgentId, Wall)>,
    /// The agent of their newest order that is not finished.
    pub owner: Option<AgentId>,
}

/// Whom a queue prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The agent who served this caller last, if that call came no longer ago.
    Last {
        /// By how much at most.
        within: Duration,
    },
    /// The agent of the caller's newest order that is not finished.
    OrderOwner,
}

impl Past {
    /// The agent whom a queue prefers, at `now`.
    pub fn preferred(&self, whom: Whom, now: Wall) -> Option<AgentId> {
        match whom {
            Whom::Last { within } => self.last.filter(|(_, came)| now < *came + within).map(|(agent, _)| agent),
            Whom::OrderOwner => self.owner,
        }
    }
}

/// Who is at the other end of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// Whoever sent the INVITE from here.
    Address(SocketAddr),
    /// The phone of this agent.
    Agent(AgentId),
}

/// A live call as supervisors and the API see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    /// Its place in memory.
    pub call: CallId,
    /// Its lasting id.
    pub contact: ContactId,
    /// Whose.
    pub site: SiteId,
    /// Which way it goes.
    pub direction: Direction,
    /// Canonical caller number; empty when withheld.
    pub caller: Box<str>,
    /// Canonical dialled number.
    pub dialled: Box<str>,
    /// Where it stands; `None` once it is over.
    pub stage: Option<Stage>,
    /// Since when it stands there.
    pub since: Wall,
    /// When it came.
    pub offered: Wall,
    /// Queue it waits in or came by.
    pub queue: Option<QueueId>,
    /// Agent who talks, or those who are rung, the first first.
    pub agents: Vec<AgentId>,
    /// The present transfer, or the last one.
    #[serde(default)]
    pub transfer: Option<TransferView>,
    /// The agent has left the citizen on hold.
    #[serde(default)]
    pub hold: Option<HoldView>,
    /// The citizen is parked.
    #[serde(default)]
    pub parked: Option<ParkView>,
    /// Who is beside the talking agent, or is being rung for it.
    #[serde(default)]
    pub supervision: Option<SupervisionView>,
}

/// All that calls need to know, set at start and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By [`SiteId`].
    pub sites: Vec<SiteSettings>,
    /// By [`AgentId`]: who they are. `None` for an agent who was removed.
    pub agents: Vec<Option<AgentIdentity>>,
    /// What each dialled number means.
    pub numbers: ivr::Numbers,
    /// The trunks, by [`TrunkId`](crate::base::TrunkId).
    pub trunks: Arc<trunk::event::Settings>,
    /// What agents may dial.
    pub dialling: Arc<trunk::Dialling>,
    /// To whom citizens may be transferred.
    pub targets: Arc<Targets>,
    /// How targets are given links; none when no public address is known.
    pub links: Option<Arc<Links>>,
    /// What numbers are spoken with, if all of it is there.
    pub phrases: Option<Phrases>,
    /// Most calls at once on this shard; beyond it 503 without Retry-After.
    pub calls_max: usize,
}

/// A pause (小休) that agents of a site may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its reason, as agents give it.
    pub reason: Box<str>,
    /// So many agents may take it at once; any when `None`.
    pub together_max: Option<u16>,
    /// After so long it is overdue.
    pub longest: Option<Duration>,
}

/// One site as calls need it, and those who watch them.
#[derive(Clone, Debug)]
pub struct SiteSettings {
    /// Its code, written into facts.
    pub code: Box<str>,
    /// Domain of its phones.
    pub domain: Box<str>,
    /// Area code without the leading 0, to complete local numbers.
    pub area_code: Box<str>,
    /// By [`QueueId`].
    pub queues: Vec<QueueVoice>,
    /// Pauses that agents may take; any when there are none.
    pub pauses: Vec<Pause>,
    /// Keys of its phones; `None` where there are none.
    pub keys: Option<Keys>,
    /// User parts of the addresses-of-record of its seats' phones.
    pub seats: BTreeSet<Box<str>>,
}

/// How a queue sounds.
#[derive(Clone, Debug)]
pub struct QueueVoice {
    /// Name, written into facts.
    pub name: Box<str>,
    /// Played once on entering; none when empty.
    pub announcement: Option<PromptId>,
    /// Played over and over while waiting.
    pub music: PromptId,
    /// Played before hanging up when the wait was too long, nobody is there or the queue is full.
    pub apology: PromptId,
    /// Whether agents' phones are asked to answer by themselves.
    pub auto_answer: bool,
    /// Who is preferred for a caller.
    pub preferred: Option<Whom>,
    /// What the citizen is asked when the last human has left; not where there is none.
    pub after: Option<Arc<ivr::Flow>>,
    /// A citizen may be on hold for so long before it is said that they are.
    pub hold_recall: Duration,
    /// A parked citizen waits so long for somebody to fetch them before the agent is rung again.
    pub park_recall: Duration,
    /// What those who wait hear from time to time.
    pub comfort: Option<Comfort>,
    /// Whether and how those who wait may be called back instead.
    pub callback: Option<CallbackVoice>,
    /// Where ways out of it lead, by the number of [`acd::event::To::Elsewhere`].
    pub elsewhere: Vec<Elsewhere>,
    /// What some citizens hear before the announcement: those of open modes.
    pub incidents: Vec<Incident>,
}

/// What citizens whom an incident may concern hear on entering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// This.
    pub prompt: PromptId,
    /// Beginnings of their canonical numbers; anybody's when empty.
    pub callers: Vec<Box<str>>,
    /// Numbers they dialled; any when empty.
    pub dialled: Vec<Number>,
}

impl Incident {
    /// Whether it is for a citizen with this number, as written in the record, who dialled that one.
    pub fn concerns(&self, caller: &str, dialled: &str, area_code: &str) -> bool {
        let canonical = |text: &str| Number::parse(text, area_code).ok();
        let near = self.callers.is_empty()
            || canonical(caller).is_some_and(|it| self.callers.iter().any(|prefix| it.as_str().starts_with(&**prefix)));
        let meant = self.dialled.is_empty() || canonical(dialled).is_some_and(|it| self.dialled.contains(&it));
        near && meant
    }
}

/// What those who wait hear from time to time, between the music.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comfort {
    /// So often.
    pub every: Duration,
    /// One at a time, in turn; there may be none.
    pub prompts: Vec<PromptId>,
    /// Before it: how many are ahead.
    pub place: bool,
    /// And how long it may take, as a range, where that is known.
    pub wait: bool,
}

/// How a queue offers call-backs to those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackVoice {
    /// What a citizen presses for it: an ASCII digit.
    pub key: Option<u8>,
    /// Played then, before we hang up.
    pub promise: PromptId,
    /// Who has waited for so long and gives up is called back.
    pub missed_after: Option<Duration>,
}

/// Where a way out of a queue leads that is no queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The citizen hears this, then we hang up.
    Announcement(PromptId),
    /// They are promised a call-back, at the place they have.
    Callback,
    /// To the target of this name; where it does not come, they wait on.
    Target(Box<str>),
}

/// Who an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Whose.
    pub site: SiteId,
    /// Name in facts and the API (`1001`).
    pub name: Box<str>,
    /// User part of the address-of-record of the phone they sit at: that of their seat, else their name.
    pub phone: Box<str>,
    /// Their team (班组); empty for none.
    pub team: Box<str>,
}

impl AgentIdentity {
    /// The seat they sit at; `None` when the phone is their own.
    pub fn seat(&self) -> Option<&str> {
        Some(&*self.phone).filter(|phone| *phone != &*self.name)
    }
}

/// How long a leg may be one-way in a call over no trunk: between registered phones.
const ONE_WAY_MAX: Duration = Duration::from_secs(600);

impl Settings {
    /// How long a leg of a call over the trunk of this name may be there and send nothing.
    pub fn one_way_max(&self, trunk: &str) -> Duration {
        self.trunk_named(trunk).map_or(ONE_WAY_MAX, |(_, profile)| profile.one_way_max)
    }

    /// The trunk of this name.
    pub fn trunk_named(&self, name: &str) -> Option<(TrunkId, &trunk::event::Profile)> {
        let place = self.trunks.trunks.iter().position(|profile| *profile.name == *name)?;
        Some((TrunkId(place as u16), &self.trunks.trunks[place]))
    }

    /// The trunk an INVITE came by.
    pub fn trunk_of(&self, source: &sip::event::Source) -> Option<(TrunkId, &trunk::event::Profile)> {
        match source {
            sip::event::Source::Trunk(name) => self.trunk_named(name),
            sip::event::Source::Phone { .. } => None,
        }
    }
}
