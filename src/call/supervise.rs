//! Whoever steps into a call beside the queues: a supervisor, or an agent who fetches a parked citizen.
//!
//! ```text
//! Ringing → With: listens, whispers or barges in, one after another as they like
//!     │ └→ takes the talk: from then on they are the talking agent
//!     │ nobody answers, or the call goes elsewhere: over
//! ```
//!
//! Owns what can be asked for, why it is refused, and how far it is. What becomes of citizen and agent is the call's.

use crate::base::fact::InterventionKind;
use crate::base::{AgentId, LegId, Mono, RecordingId, Wall};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So long the phone of whoever steps in rings.
pub(super) const RING_MAX: Duration = Duration::from_secs(20);
/// Then the user agent has told what came of it, or is believed to have nothing to tell.
pub(super) const RING_MARGIN: Duration = Duration::from_secs(2);
/// Most that one call remembers of it; beyond it nobody steps in any more.
pub const INTERVENTIONS_MAX: usize = 100;

/// What an agent presses to park the citizen; no key of a target begins so.
pub const KEY_PARK: &str = "*0";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Ring this agent's phone and let them in; of one who is in already, another mode.
    Supervise {
        /// The supervisor.
        agent: AgentId,
        /// How.
        mode: Mode,
    },
    /// The supervisor goes, or is rung no more.
    Leave,
    /// The agent is taken out, and the citizen is in the line at the old place.
    Release,
    /// The agent leaves, and the citizen has music until somebody fetches them.
    Park,
    /// Ring this agent's phone and give them the parked citizen.
    PickUp {
        /// Who.
        agent: AgentId,
    },
}

/// How a supervisor is with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Hears citizen and agent; nobody hears them.
    Listen,
    /// The agent alone hears them.
    Whisper,
    /// Citizen and agent hear them.
    Barge,
    /// Takes the agent's place, or answers for the line.
    TakeOver,
}

/// Why nothing of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is nobody to listen to, or to take out.
    #[error("no agent talks in this call")]
    NotTalking,
    /// Another asked than who talks.
    #[error("another agent talks in this call")]
    NotYours,
    /// The citizen is with no agent and waits for none.
    #[error("the citizen neither talks to an agent nor waits for one")]
    NotThere,
    /// Nobody supervises themself.
    #[error("this agent talks in this call already")]
    Talks,
    /// Their phone rings for this call by the queue.
    #[error("this agent's phone rings for this call already")]
    Rings,
    /// One at a time.
    #[error("somebody else is with this call, or is being rung for it")]
    Taken,
    /// There is none who could go.
    #[error("nobody supervises this call")]
    Nobody,
    /// Nothing to fetch.
    #[error("this call is not parked")]
    NotParked,
    /// Two things at once.
    #[error("a transfer is under way: finish or cancel it first")]
    Transfer,
    /// [`INTERVENTIONS_MAX`].
    #[error("too many have stepped into this call")]
    TooMany,
}

/// What somebody's phone is rung for, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Supervise(Mode),
    PickUp,
    /// Whoever parked the citizen gets them back.
    Recall,
}

impl Purpose {
    /// Whether who answers becomes the talking agent.
    pub(super) fn takes(self) -> bool {
        match self {
            Purpose::Supervise(Mode::TakeOver) | Purpose::PickUp | Purpose::Recall => true,
            Purpose::Supervise(Mode::Listen | Mode::Whisper | Mode::Barge) => false,
        }
    }

    pub(super) fn kind(self) -> InterventionKind {
        match self {
            Purpose::Supervise(mode) => mode.kind(),
            Purpose::PickUp => InterventionKind::PickUp,
            Purpose::Recall => InterventionKind::Recall,
        }
    }
}

impl Mode {
    fn kind(self) -> InterventionKind {
        match self {
            Mode::Listen => InterventionKind::Listen,
            Mode::Whisper => InterventionKind::Whisper,
            Mode::Barge => InterventionKind::Barge,
            Mode::TakeOver => InterventionKind::TakeOver,
        }
    }

    /// The word of the API.
    pub fn word(self) -> &'static str {
        self.kind().word()
    }
}

/// Somebody beside the talking agent.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) agent: AgentId,
    pub(super) leg: LegId,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    /// Its place among the interventions of the record.
    pub(super) entry: usize,
    /// Of one who shall talk, its place among the attempts of the record.
    pub(super) attempt: Option<u32>,
    /// Of what they say and hear.
    pub(super) track: RecordingId,
    /// They have pressed `*`; the digit after it counts until then.
    pub(super) star: Option<Mono>,
}

/// How far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Their phone is rung, until then.
    Ringing { until: Mono },
    /// They are there.
    With,
}

impl Beside {
    pub(super) fn next_deadline(&self) -> Mono {
        match self.phase {
            Phase::Ringing { until } => until,
            Phase::With => Mono(u64::MAX),
        }
    }

    pub(super) fn is_with(&self) -> bool {
        matches!(self.phase, Phase::With)
    }
}

/// As those see it who may supervise; nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionView {
    /// Whose phone it is.
    pub agent: AgentId,
    /// How they are, or shall be, with the call; `None` of one who fetches a parked citizen.
    pub mode: Option<Mode>,
    /// Whether they are there; else their phone is rung.
    pub with: bool,
}

/// A citizen on hold, as everybody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Since when.
    pub since: Wall,
    /// For longer than the queue allows: the agent is to come back.
    pub overdue: bool,
}

/// A parked citizen, as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkView {
    /// Who parked them.
    pub by: AgentId,
    /// Since when.
    pub since: Wall,
}
