//! What goes into the ACD and what comes out.

use crate::base::{AgentId, CallId, ContactId, Mono, QueueId, ShardId, SiteId, SkillId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Into the [`Acd`](super::Acd): one owner for all queues of a site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A caller wants a human.
    Enqueue(Enqueue),
    /// The caller is gone, or leaves the queue for another reason.
    Cancel {
        /// Which.
        call: CallId,
    },
    /// Where does this caller stand? Answered by [`Command::Stands`] while nobody is being rung for them.
    Where {
        /// Which.
        call: CallId,
    },
    /// The offered agent's phone rings.
    Ringing {
        /// The booking.
        lease: Lease,
    },
    /// The offered agent answered. Whoever else is being rung for this caller is let go: the call has cancelled them.
    Answered {
        /// The booking.
        lease: Lease,
    },
    /// The agent answered before the call heard that the offer was taken back: the two talk, and nobody parts them.
    Overtaken {
        /// The booking that was taken back.
        lease: Lease,
        /// The caller, who is in the line again by now.
        caller: Enqueue,
    },
    /// The offer came to nothing through the agent's side: unless others are being rung for them, the caller goes back to
    /// the head with the waiting time kept.
    Declined {
        /// The booking.
        lease: Lease,
        /// How.
        why: Declined,
    },
    /// The talk with this agent is over: wrap-up begins. Said of an offer: nobody is to blame; the caller leaves the line,
    /// or, while others are being rung for them, has nobody rung beside those.
    Ended {
        /// The booking.
        lease: Lease,
    },
    /// The agent, or somebody who may, asks for a state. While offered or talking it takes effect afterwards.
    Want {
        /// Who.
        agent: AgentId,
        /// What.
        #[serde(with = "super::agent::untagged")]
        state: Want,
        /// Who asks, when it is somebody else.
        by: Option<Arc<str>>,
    },
    /// The agent's phone is registered, or no more.
    Phone {
        /// Whose.
        agent: AgentId,
        /// Whether at least one contact is alive.
        up: bool,
    },
    /// The agent makes or takes a call of their own beside the queues, or has ended it: no caller is offered meanwhile.
    OwnCall {
        /// Whose.
        agent: AgentId,
        /// Which.
        call: CallId,
        /// Whether it is on.
        up: bool,
    },
    /// A shard was restored from a snapshot: this is all that its calls want and hold. Callers of that shard who are not
    /// among them are gone, and agents whom none of them holds are free.
    Adopt {
        /// Which shard.
        shard: ShardId,
        /// Its calls that want or have an agent of this site.
        live: Vec<super::Live>,
        /// Calls of agents' own that are on there, as by [`Event::OwnCall`].
        own: Vec<(AgentId, CallId)>,
    },
    /// New settings, at start and at each reload: callers and agents that still exist stay as they are.
    Configure(Arc<Settings>),
    /// The agent needs longer after a call; means nothing outside of wrap-up, and none lasts longer than [`WRAP_UP_MAX`]
    /// through this.
    Extend {
        /// Who.
        agent: AgentId,
        /// How much longer.
        by: Duration,
    },
}

/// Longest wrap-up that agents can ask for.
pub const WRAP_UP_MAX: Duration = Duration::from_secs(3_600);

/// A caller who wants a human.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueue {
    /// Where commands about this caller go.
    pub call: CallId,
    /// For facts and explanations.
    pub contact: ContactId,
    /// Which queue.
    pub queue: QueueId,
    /// Added to the queue's own priority (0–100).
    pub priority: u8,
    /// Since when the caller has been waiting (earlier than now when they come back).
    pub since: Mono,
    /// Whom the queue prefers for this caller, if it prefers anybody.
    pub preferred: Option<AgentId>,
    /// Whether the queue's limits and ways out are for them.
    pub patience: Patience,
}

/// Whether the queue's limits and ways out are for a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// They are.
    #[default]
    Bounded,
    /// They are not: a way out was taken in vain, and the caller waits as long as it takes.
    Stays,
    /// They are not, for nobody is on the line: a call-back, for which one agent is rung at a time.
    Absent,
}

/// What an agent wants to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Want {
    /// 示闲.
    Ready,
    /// 示忙 or 小休, with the reason.
    NotReady {
        /// Shown to supervisors and kept in facts.
        reason: Arc<str>,
    },
    /// 签出.
    Offline,
}

/// How an offer came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declined {
    /// The agent refused (486, 600, 603).
    Rejected,
    /// It rang out on the phone's or the call's side.
    NoAnswer,
    /// No contact, 4xx, 5xx or nothing came back.
    Unreachable,
}

/// A booking of one agent for one caller, fenced: only the lease last given for an agent means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Raised by every new owner of the queues.
    pub epoch: u32,
    /// Counts up within the epoch.
    pub number: u64,
    /// The agent it books.
    pub agent: AgentId,
}

/// Out of the ACD.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Command {
    /// Ring this agent for this caller, beside those who ring for them already. The agent is booked already.
    Offer {
        /// The caller.
        call: CallId,
        /// The booking: quote it in every answer.
        lease: Lease,
        /// The lease ends then unless answered (RONA).
        ring_until: Mono,
    },
    /// Stop ringing: the lease has run out or was taken back. Unless others ring for them, the caller is waiting again (an
    /// `Offer` may follow at once).
    Revoke {
        /// The caller.
        call: CallId,
        /// The dead booking.
        lease: Lease,
    },
    /// The caller cannot be queued, or has waited long enough: they have left the line.
    Released {
        /// The caller.
        call: CallId,
        /// Why.
        why: Released,
    },
    /// The answer to [`Event::Where`].
    Stands {
        /// The caller.
        call: CallId,
        /// Callers of the same queue who are served before them; [`AHEAD_MAX`](super::AHEAD_MAX) for so many or more.
        ahead: usize,
        /// How long from now; `None` while too little is known.
        expected: Option<super::Expected>,
    },
    /// An agent's state changed.
    Agent(AgentChange),
}

/// Why a caller left the line without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Released {
    /// Waited for the queue's maximum.
    WaitedTooLong,
    /// Nobody who could ever answer is logged in, and the queue's policy is not to wait.
    NoAgents,
    /// The queue holds as many as it may.
    Full,
    /// The queue was taken away by a reload.
    QueueGone,
    /// By a way out that leads elsewhere than to a queue.
    Diverted {
        /// Whose way out.
        queue: QueueId,
        /// Its number.
        way: u8,
    },
}

/// A change of an agent's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentChange {
    /// Who.
    pub agent: AgentId,
    /// State left.
    pub from: AgentState,
    /// State entered.
    pub to: AgentState,
    /// The contact it has to do with.
    pub contact: Option<ContactId>,
    /// Who asked for it, when it was somebody else.
    pub by: Option<Arc<str>>,
}

/// An agent's state as the world sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AgentState {
    /// Not logged in.
    Offline,
    /// Logged in, takes no calls.
    NotReady {
        /// Given by the agent, or `rona`, `phone_lost`, `rejected` when the ACD paused them, or `own_call` for as long as a
        /// call of their own is on.
        reason: Arc<str>,
    },
    /// Waits for a call.
    Ready,
    /// Booked; the phone is being rung.
    Offered,
    /// Talks.
    Talking,
    /// After the call, until the queue's wrap-up time is over.
    WrapUp,
}

impl AgentState {
    /// The word of the API and of facts.
    pub fn word(&self) -> &'static str {
        match self {
            AgentState::Offline => "offline",
            AgentState::NotReady { .. } => "not_ready",
            AgentState::Ready => "ready",
            AgentState::Offered => "offered",
            AgentState::Talking => "talking",
            AgentState::WrapUp => "wrap_up",
        }
    }
}

/// All the ACD knows of one site's queues and agents.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Whose.
    pub site: SiteId,
    /// By [`QueueId`].
    pub queues: Vec<QueueSettings>,
    /// Those who may log in.
    pub agents: Vec<AgentSettings>,
    /// By how many seconds the site's clock is ahead of UTC: talks are counted from its midnight.
    pub utc_offset_s: i32,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Name.
    pub name: Box<str>,
    /// Skills an agent must have, each with its least level (1–9).
    pub skills: Vec<(SkillId, u8)>,
    /// Base priority (0–100); each point is worth `ageing` of waiting.
    pub priority: u8,
    /// How much waiting one point of priority is worth.
    pub ageing: Duration,
    /// How long an agent's phone may ring.
    pub ring_max: Duration,
    /// An agent who lets so many calls in a row ring out is paused (at least 1).
    pub misses_max: u8,
    /// Wrap-up after a call of this queue; zero for none.
    pub wrap_up: Duration,
    /// Longest wait; `None` waits for ever.
    pub wait_max: Option<Duration>,
    /// Most callers waiting; beyond it `Released::Full`.
    pub waiting_max: usize,
    /// What to do while nobody who could answer is logged in.
    pub no_agents: NoAgents,
    /// Who is chosen, and what becomes of callers for whom nobody comes.
    pub routing: Routing,
}

/// How the callers of a queue find their agent, and where they go when nobody comes.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Routing {
    /// Who among several idle agents.
    pub strategy: Strategy,
    /// How many agents [`Strategy::RingAll`] rings at once for one caller (2–[`RING_TOGETHER_MAX`]).
    pub ring_together: u8,
    /// Before everything else: so long a caller waits for the preferred agent alone, from when they began to wait.
    ///
    /// They do so only while that agent could take them soon: one who is logged in, able and busy. One who is idle is rung at
    /// once, and alone; one who is paused or offline is not waited for. Whatever ends it, the strategy takes over for good:
    /// the time is up, the agent pauses or logs out, the queue would not let the caller wait, or they go to another queue.
    pub preferred: Option<Duration>,
    /// Before the strategy: agents who meet the first of these go before those who meet the second, and so on; those who
    /// meet none come last.
    pub ranks: Vec<Vec<(SkillId, u8)>>,
    /// What is asked for instead after so much waiting, in order of time.
    pub relax: Vec<Relax>,
    /// Looked at in this order whenever nobody is idle for a caller; the first that applies counts. The queues they name
    /// must lead nowhere in a circle: after as many moves as there are queues the caller waits.
    pub overflow: Vec<Overflow>,
}

impl Routing {
    /// How many agents may be rung at once for one caller.
    pub fn together(&self) -> usize {
        match self.strategy {
            Strategy::RingAll => usize::from(self.ring_together.clamp(1, RING_TOGETHER_MAX)),
            Strategy::LongestIdle
            | Strategy::LeastCalls
            | Strategy::LeastTalk
            | Strategy::RoundRobin
            | Strategy::TopDown
            | Strategy::MostFitting
            | Strategy::Weighted => 1,
        }
    }
}

/// Most phones that ring at once for one caller.
pub const RING_TOGETHER_MAX: u8 = 16;

/// Which of several idle agents of equal rank takes a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Whoever became ready first.
    #[default]
    LongestIdle,
    /// Fewest talks since midnight, then longest idle.
    LeastCalls,
    /// Least time talking since midnight, then longest idle.
    LeastTalk,
    /// The next by number after the one this queue rang last.
    RoundRobin,
    /// The lowest number.
    TopDown,
    /// Whose levels lie closest above what the queue asks for, then longest idle.
    MostFitting,
    /// By lot; an agent's levels in the queue's skills, added up, are the chances.
    Weighted,
    /// Several at once, longest idle first: the first answer has the caller, the others are let go without blame.
    RingAll,
}

/// A lesser need after some waiting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relax {
    /// Since the caller began to wait.
    pub after: Duration,
    /// Skills asked for from then on.
    pub skills: Vec<(SkillId, u8)>,
}

/// A way out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overflow {
    /// Applies then.
    pub when: When,
    /// Where to.
    pub to: To,
}

/// Where a way out of a queue leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum To {
    /// To this queue, waiting time kept.
    Queue(QueueId),
    /// Out, with the queue's apology.
    Release,
    /// Out, to what the call knows by this number: [`Released::Diverted`].
    Elsewhere(u8),
}

/// When a caller for whom nobody is idle leaves a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// After so much waiting in all.
    Waited(Duration),
    /// On coming in, when so many or more wait there.
    Length(usize),
    /// On coming in, when the middle of the expected wait is longer. Unknown is not longer.
    Expected(Duration),
    /// While nobody who could answer is logged in.
    NobodyLoggedIn,
    /// On coming in.
    NobodyReady,
}

/// What a queue does while nobody who could answer is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAgents {
    /// Let callers wait all the same.
    Wait,
    /// Release them at once.
    Release,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSettings {
    /// Id.
    pub agent: AgentId,
    /// Skills with levels (1–9).
    pub skills: Vec<(SkillId, u8)>,
}
