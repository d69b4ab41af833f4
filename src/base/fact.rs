//! Facts: what happened and must survive a crash. They go to the journal, then to SQL by their key.
//!
//! Facts carry raw time stamps and names that stay true when configuration changes (site codes, queue and agent names),
//! never dense ids and never a score. A fact may be told again with a higher `revision`: the highest wins.

mod transfer;

use super::id::{CallbackId, ContactId, FactId, LegId, OrderId, RecordingId};
use super::time::Wall;
use serde::{Deserialize, Serialize};
pub use transfer::{TargetKind, TransferMode, TransferRecord, TransferResult};

/// A fact with the key by which every store takes it at most once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Unique, time-ordered.
    pub id: FactId,
    /// When it was stated.
    pub at: Wall,
    /// Code of the site it belongs to.
    pub site: Box<str>,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// The record of a contact's call, told when it is connected, reaches a queue, reaches a human, and ends.
    Call(Box<CallRecord>),
    /// A recording was begun (no `ended`) or finished.
    Recording(Box<RecordingFact>),
    /// A work order was opened with a call, or the call's part of it changed.
    Order(Box<OrderOpened>),
    /// An agent's state changed.
    Agent(AgentChanged),
    /// Somebody did, read or was refused something.
    Audit(Box<Audit>),
    /// Calls were refused at the edge for want of room (呼损).
    Blocked(Blocked),
    /// The media of a leg are closed: what they were like. Told apart from the call's record, which may be told for the
    /// last time before, or live on.
    Leg(Box<LegQuality>),
    /// A citizen was promised a call-back, an attempt at it was made, or it is over.
    Callback(Box<CallbackRecord>),
}

/// A call-back (回呼): a citizen's place in a queue, kept without the citizen on the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackRecord {
    /// Key.
    pub callback: CallbackId,
    /// Counts up with every telling.
    pub revision: u32,
    /// Whom to call, canonical.
    pub number: Box<str>,
    /// The queue in whose line they stand.
    pub queue: Box<str>,
    /// Of their own, beside the queue's (0–100).
    pub priority: u8,
    /// How it came about.
    pub source: CallbackSource,
    /// The contact it came from.
    pub contact: Option<ContactId>,
    /// The order it is about.
    pub order: Option<OrderId>,
    /// Since when they have been waiting: their place.
    pub since: Wall,
    /// When it was asked for.
    pub asked: Wall,
    /// The first moment at which it is tried, or tried again.
    pub not_before: Wall,
    /// Every attempt at which an agent was there and the number was dialled, and the present one.
    pub attempts: Vec<CallbackAttempt>,
    /// When it was over.
    pub closed: Option<Wall>,
    /// How.
    pub result: Option<CallbackResult>,
}

/// One attempt to call somebody back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackAttempt {
    /// The outbound call it was: its record says the rest.
    pub contact: ContactId,
    /// Agent who had answered.
    pub agent: Box<str>,
    /// When the number was dialled.
    pub at: Wall,
    /// How it went; `None` while it lasts, or after a crash that cut it off.
    pub result: Option<AttemptResult>,
}

/// How an attempt to call somebody back went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// They talked.
    Reached,
    /// It rang, and nobody answered.
    NoAnswer,
    /// Busy, or refused.
    Busy,
    /// The number could not be reached: no route, no channel, not in service.
    Unreachable,
    /// The agent gave up before anybody answered.
    AgentGone,
    /// A fault of ours.
    Fault,
}

/// How a call-back came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackSource {
    /// The citizen pressed the key while waiting.
    Key,
    /// The queue's way out for those for whom nobody is there.
    Overflow,
    /// The citizen gave up waiting.
    Missed,
    /// Somebody of ours asked for it.
    Desk,
}

/// How a call-back ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackResult {
    /// They talked.
    Reached,
    /// All attempts were in vain.
    Unreached,
    /// The citizen was faster, and called again.
    CalledAgain,
    /// There was one for this number already, which keeps the earlier place.
    Duplicate,
    /// Somebody of ours took it back.
    Withdrawn,
    /// Its queue exists no more, or has no call-backs any more.
    QueueGone,
    /// The number may not be dialled: no rule of the allow-list names it.
    NotListed,
}

impl CallbackSource {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            CallbackSource::Key => "key",
            CallbackSource::Overflow => "overflow",
            CallbackSource::Missed => "missed",
            CallbackSource::Desk => "desk",
        }
    }
}

impl CallbackResult {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            CallbackResult::Reached => "reached",
            CallbackResult::Unreached => "unreached",
            CallbackResult::CalledAgain => "called_again",
            CallbackResult::Duplicate => "duplicate",
            CallbackResult::Withdrawn => "withdrawn",
            CallbackResult::QueueGone => "queue_gone",
            CallbackResult::NotListed => "not_listed",
        }
    }
}

/// Calls that were refused before they were calls, in the minute up to the fact's own time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Trunk they came by; empty for registered phones.
    pub trunk: Box<str>,
    /// How many: repeated INVITEs of one call are one.
    pub calls: u64,
}

/// How the media of one leg were, from its port's opening to its closing. A leg with which nothing was agreed has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegQuality {
    /// Whose call.
    pub contact: ContactId,
    /// Which leg of it: the key, with the contact.
    pub leg: LegId,
    /// Who was at the other end.
    pub party: Party,
    /// Encoding name of the codec agreed on last (RFC 3551 §6).
    pub codec: Box<str>,
    /// The port was opened.
    pub opened: Wall,
    /// It was closed.
    pub closed: Wall,
    /// What came.
    pub received: WayQuality,
    /// What was sent, as the other side reported it.
    pub sent: WayQuality,
    /// Packets from strangers, malformed ones and unknown payload types.
    pub dropped: u64,
    /// There and back in microseconds; `None` if no RTCP allowed it.
    pub round_trip_us: Option<u32>,
    /// It was spoken to and never spoke, or fell silent for long although it was there.
    pub one_way: bool,
}

/// One direction of a leg's media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayQuality {
    /// RTP packets.
    pub packets: u64,
    /// Those lost on the way.
    pub lost: u64,
    /// Interarrival jitter at the end, in microseconds (RFC 3550 §6.4.1).
    pub jitter_us: u32,
    /// Mean opinion score in hundredths (ITU-T G.107); `None` if nothing is known.
    pub mos: Option<u16>,
}

/// Who is at the other end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The citizen who called, over this trunk; empty for a registered phone.
    Citizen {
        /// Its name.
        trunk: Box<str>,
    },
    /// An agent's phone.
    Agent {
        /// The agent's name.
        name: Box<str>,
    },
    /// Who was called outside, over this trunk.
    Far {
        /// Its name.
        trunk: Box<str>,
    },
}

/// The record of one contact's call (CDR). Every time is `None` until that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Key.
    pub contact: ContactId,
    /// Counts up with every telling.
    pub revision: u32,
    /// Which way it goes.
    #[serde(default)]
    pub direction: Direction,
    /// Canonical caller number; empty when withheld. Of an outbound call the number shown: the site's own.
    pub caller: Box<str>,
    /// Canonical dialled number. Of an outbound call the citizen's.
    pub dialled: Box<str>,
    /// Name of the trunk it came by, or the last it went out by; empty for a registered phone.
    pub trunk: Box<str>,
    /// The SIP Call-ID of the citizen's leg.
    pub sip_call_id: Box<str>,
    /// Queue it last waited in.
    pub queue: Option<Box<str>>,
    /// Agent who answered.
    pub agent: Option<Box<str>>,
    /// When each thing first happened.
    pub times: Times,
    /// Every time an agent was rung for it.
    pub attempts: Vec<Attempt>,
    /// Every route an outbound call was tried by.
    #[serde(default)]
    pub routes: Vec<RouteAttempt>,
    /// Every transfer that was begun, in order.
    #[serde(default)]
    pub transfers: Vec<TransferRecord>,
    /// Whoever stepped in beside the queues, in order.
    #[serde(default)]
    pub interventions: Vec<Intervention>,
    /// The question after the talk, if it was asked.
    #[serde(default)]
    pub satisfaction: Option<Satisfaction>,
    /// Digits the citizen gave, by the name of the collecting node.
    pub collected: Vec<(Box<str>, Box<str>)>,
    /// How it ended; `None` while it lives.
    pub end: Option<End>,
    /// The recording of the journey.
    pub recording: Option<RecordingId>,
    /// The order opened with it.
    pub order: Option<OrderId>,
    /// What the network said beside.
    #[serde(default)]
    pub signalled: Signalled,
}

/// What an INVITE said about its call beside who called whom. Nothing of it is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    /// The caller's name.
    pub caller_name: Option<Box<str>>,
    /// What was dialled before the call was diverted to us (RFC 7044, RFC 5806).
    pub original: Option<Box<str>>,
    /// Why it was diverted: `unconditional`, `user-busy`, `302` …
    pub diverted: Option<Box<str>>,
    /// To or from an emergency line or over its trunk, or said to be one by a trunk that may say so (RFC 4412, RFC 5031).
    pub emergency: bool,
    /// Where the caller is: one line (RFC 4119), or a URI to ask (RFC 6442).
    pub place: Option<Box<str>>,
    /// User-to-User as it came (RFC 7433).
    pub user_to_user: Option<Box<str>>,
    /// The police's ticket (警单) that it belongs to, as an emergency line has said.
    #[serde(default)]
    pub ticket: Option<Box<str>>,
}

/// Raw time stamps of a call (milliseconds since 1970, UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// INVITE seen.
    pub offered: Wall,
    /// 200 sent to the citizen's side: "SIP answered", not "answered by a human".
    pub connected: Option<Wall>,
    /// Flow entered.
    pub ivr_in: Option<Wall>,
    /// Flow left.
    pub ivr_out: Option<Wall>,
    /// Entered a queue.
    pub queued: Option<Wall>,
    /// Booked to the agent who answered.
    pub assigned: Option<Wall>,
    /// That agent's phone rang.
    pub ringing: Option<Wall>,
    /// Answered by a human.
    pub answered: Option<Wall>,
    /// The citizen hung up.
    pub caller_hangup: Option<Wall>,
    /// The agent hung up.
    pub agent_hangup: Option<Wall>,
    /// Last leg gone.
    pub ended: Option<Wall>,
}

/// One ringing of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Agent's name.
    pub agent: Box<str>,
    /// Booked.
    pub assigned: Wall,
    /// 18x came.
    pub ringing: Option<Wall>,
    /// Answered, refused or given up.
    pub ended: Option<Wall>,
    /// How it went; `None` while it rings.
    pub outcome: Option<AttemptOutcome>,
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a citizen to us.
    #[default]
    Inbound,
    /// From an agent to the outside (外呼).
    Outbound,
}

/// One route of an outbound call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAttempt {
    /// Name of the trunk.
    pub trunk: Box<str>,
    /// Its channel was seized.
    pub seized: Wall,
    /// The first provisional response came, 100 included.
    pub provisional: Option<Wall>,
    /// 18x came.
    pub ringing: Option<Wall>,
    /// Answered, refused or given up.
    pub ended: Option<Wall>,
    /// Final status; 200 when answered, 408 when nothing came in time.
    pub sip_status: Option<u16>,
}

/// How the citizen was served, by their own word (满意度评价).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Satisfaction {
    /// The flow that asked.
    pub flow: Box<str>,
    /// The agent who talked last.
    pub agent: Option<Box<str>>,
    /// To whom the citizen had been handed over.
    pub target: Option<Box<str>>,
    /// Asked then.
    pub asked: Wall,
    /// Answered then.
    pub answered: Option<Wall>,
    /// The key, 1–9.
    pub score: Option<u8>,
}

/// Somebody stepped into a call beside the queues: a supervisor, or who parked the citizen or fetched them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// What.
    pub kind: InterventionKind,
    /// Whose phone is in it, or, of a release, who asked.
    pub by: Box<str>,
    /// The agent who talked then.
    pub agent: Option<Box<str>>,
    /// Asked for; of a mode that followed another, its beginning.
    pub started: Wall,
    /// They were there.
    pub answered: Option<Wall>,
    /// Nothing is left of it.
    pub ended: Option<Wall>,
    /// How it went; `None` while it lasts.
    pub result: Option<InterventionResult>,
}

/// What is done to a call beside the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterventionKind {
    /// A supervisor hears citizen and agent, and nobody hears them (监听).
    Listen,
    /// The agent alone hears the supervisor (耳语).
    Whisper,
    /// All three hear each other (强插).
    Barge,
    /// The supervisor takes the agent's place (接管).
    TakeOver,
    /// The agent is taken out, and the citizen is in the line again (强拆).
    Release,
    /// The citizen has music and belongs to nobody (寄存).
    Park,
    /// An agent fetches a parked citizen (取回).
    PickUp,
    /// Whoever parked them is rung, since nobody fetched them.
    Recall,
}

impl InterventionKind {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            InterventionKind::Listen => "listen",
            InterventionKind::Whisper => "whisper",
            InterventionKind::Barge => "barge",
            InterventionKind::TakeOver => "take_over",
            InterventionKind::Release => "release",
            InterventionKind::Park => "park",
            InterventionKind::PickUp => "pick_up",
            InterventionKind::Recall => "recall",
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterventionResult {
    /// As it was meant.
    Done,
    /// The phone was busy, or refused.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// The phone could not be reached.
    Unreachable,
    /// Taken back, or overtaken by something else in the call.
    Cancelled,
    /// Lost to a fault of the network or of ours.
    Lost,
}

impl InterventionResult {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            InterventionResult::Done => "done",
            InterventionResult::Busy => "busy",
            InterventionResult::NoAnswer => "no_answer",
            InterventionResult::Unreachable => "unreachable",
            InterventionResult::Cancelled => "cancelled",
            InterventionResult::Lost => "lost",
        }
    }
}

/// How the ringing of an agent went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Talked.
    Answered,
    /// The agent refused (486, 603 …).
    Rejected,
    /// Rang until the limit (RONA).
    NoAnswer,
    /// The phone could not be reached, or failed.
    Unreachable,
    /// The citizen gave up first.
    CallerGone,
    /// Another agent who was rung at the same time answered first.
    AnsweredElsewhere,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Where it stood.
    pub stage: Stage,
    /// Who or what ended it.
    pub by: EndedBy,
    /// SIP status towards the citizen, when it ended before 200; else 200.
    pub sip_status: u16,
    /// Q.850 cause.
    pub q850: u8,
}

/// Where a call stood when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before 200 to the citizen.
    Offered,
    /// In the greeting or the menu.
    Ivr,
    /// Waiting in a queue.
    Queued,
    /// An agent's phone rang.
    Ringing,
    /// Talking to a human.
    Talking,
}

/// Who or what ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The citizen.
    Caller,
    /// The agent.
    Agent,
    /// To whom the citizen had been transferred.
    Target,
    /// The flow's own hang-up, or the queue's policy.
    Flow,
    /// Refused: capacity, unknown number, draining.
    Refused,
    /// Somebody through the API.
    Operator,
    /// The network or the other side's equipment (no ACK, transaction timed out, no media).
    Network,
    /// A fault of ours.
    Fault,
}

/// A recording of a contact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingFact {
    /// Key.
    pub recording: RecordingId,
    /// Counts up with every telling.
    pub revision: u32,
    /// Whose journey it is.
    pub contact: ContactId,
    /// Path below the site's recording folder.
    pub path: Box<str>,
    /// First sample.
    pub started: Wall,
    /// What is known once it is finished.
    pub finished: Option<RecordingFinished>,
}

/// A finished recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingFinished {
    /// Last sample.
    pub ended: Wall,
    /// Length in milliseconds of audio.
    pub duration_ms: u64,
    /// File size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: Box<str>,
    /// Whether samples were lost to a fault of ours (disk, overload); silence stands in their place.
    pub damaged: bool,
}

/// A work order as the call opens it (state `Draft`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderOpened {
    /// Key.
    pub order: OrderId,
    /// Counts up with every telling by the call.
    pub revision: u32,
    /// The contact it was opened with.
    pub contact: ContactId,
    /// The recording of that contact.
    pub recording: Option<RecordingId>,
    /// Canonical caller number; empty when withheld.
    pub caller: Box<str>,
    /// Canonical dialled number.
    pub dialled: Box<str>,
    /// Category preset from the dialled number (6 digits, 2-2-2); empty when none.
    pub category: Box<str>,
    /// Agent who answered, once one did.
    pub agent: Option<Box<str>>,
    /// When the citizen called.
    pub called: Wall,
    /// When the order was opened.
    pub opened: Wall,
    /// When a human answered.
    pub answered: Option<Wall>,
    /// When the call ended.
    pub ended: Option<Wall>,
    /// The call was said to be an emergency, as in [`Signalled`].
    #[serde(default)]
    pub emergency: bool,
    /// Where the caller was, as in [`Signalled`].
    #[serde(default)]
    pub place: Option<Box<str>>,
    /// A simulated line was brought in: it is an exercise (演练).
    #[serde(default)]
    pub drill: bool,
    /// The police's ticket (警单) it is bound to, as in [`Signalled`].
    #[serde(default)]
    pub ticket: Option<Box<str>>,
}

/// A change of an agent's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentChanged {
    /// Agent's name.
    pub agent: Box<str>,
    /// State left, in the words of the API (`ready`, `not_ready`, `offered`, `talking`, `wrap_up`, `offline`).
    pub from: Box<str>,
    /// State entered.
    pub to: Box<str>,
    /// Reason of a not-ready state; empty otherwise.
    pub reason: Box<str>,
    /// The contact it has to do with.
    pub contact: Option<ContactId>,
    /// Who asked for it, when it was somebody else than the agent.
    #[serde(default)]
    pub by: Option<Box<str>>,
}

/// Something somebody did, read or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Name of the token's or session's holder.
    pub actor: Box<str>,
    /// Their role.
    pub role: Box<str>,
    /// What they asked for (`call.hang_up`, `recording.read` …).
    pub action: Box<str>,
    /// On what: an id or a name.
    pub object: Box<str>,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Where the request came from.
    pub from: Box<str>,
}

impl Fact {
    /// The word by which the journal and the store know this kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Fact::Call(_) => "call",
            Fact::Recording(_) => "recording",
            Fact::Order(_) => "order",
            Fact::Agent(_) => "agent",
            Fact::Audit(_) => "audit",
            Fact::Blocked(_) => "blocked",
            Fact::Leg(_) => "leg",
            Fact::Callback(_) => "callback",
        }
    }
}
