//! What is remembered of a transfer to somebody outside, within the record of its call.

use super::RouteAttempt;
use crate::base::time::Wall;
use serde::{Deserialize, Serialize};

/// A transfer to somebody outside: a sub-center, an expert, an emergency line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// Name of the target.
    pub target: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// How it was asked for, or how it went on.
    pub mode: TransferMode,
    /// Why, in the agent's words.
    pub reason: Box<str>,
    /// Agent who asked.
    pub agent: Box<str>,
    /// Asked for.
    pub started: Wall,
    /// The target answered.
    pub answered: Option<Wall>,
    /// All three heard each other for the first time.
    pub joined: Option<Wall>,
    /// The target had answered, and no RTP had come from it for three seconds: the first time.
    #[serde(default)]
    pub mute: Option<Wall>,
    /// The agent had left citizen and target to each other.
    pub handed: Option<Wall>,
    /// Nobody is there of it any more.
    pub ended: Option<Wall>,
    /// How it went; `None` while it lasts.
    pub result: Option<TransferResult>,
    /// Every route tried, over all numbers of the target.
    pub routes: Vec<RouteAttempt>,
    /// It was an exercise (演练): the target was a simulated one.
    #[serde(default)]
    pub drill: bool,
}

/// What the target of a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// 110, 119, 120, 122.
    Emergency,
    /// Water, power, gas and the like.
    Utility,
    /// A department's own call centre (分中心).
    SubCenter,
    /// A person or group who knows (专家座席).
    Expert,
    /// The police's desk for non-urgent tickets (警单).
    PoliceTicket,
}

impl TargetKind {
    /// The word of the API, of facts and of configuration.
    pub fn word(self) -> &'static str {
        match self {
            TargetKind::Emergency => "emergency",
            TargetKind::Utility => "utility",
            TargetKind::SubCenter => "sub_center",
            TargetKind::Expert => "expert",
            TargetKind::PoliceTicket => "police_ticket",
        }
    }
}

/// Who hears whom on the way of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferMode {
    /// Agent and citizen stay together until the target answers; then all three are.
    Conference,
    /// The agent speaks with the target first; the citizen has music.
    Consult,
    /// The agent leaves as soon as the target answers.
    Blind,
    /// The agent's phone has called the target by itself, beside the citizen whom it holds (RFC 5589 §7).
    Attended,
}

impl TransferMode {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            TransferMode::Conference => "conference",
            TransferMode::Consult => "consult",
            TransferMode::Blind => "blind",
            TransferMode::Attended => "attended",
        }
    }
}

/// How a transfer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferResult {
    /// The agent left citizen and target to each other. Only this counts as the contact's one transfer.
    Completed,
    /// The target was there, and left again: the agent served the citizen on.
    Returned,
    /// The target is busy, or refused.
    Busy,
    /// Nobody answered.
    NoAnswer,
    /// No route led there.
    Unreachable,
    /// The agent took it back before an answer.
    Cancelled,
    /// The citizen hung up meanwhile.
    CallerGone,
    /// The target was there, and was lost to a fault of the network or of ours.
    Lost,
}

impl TransferResult {
    /// The word of the API and of facts.
    pub fn word(self) -> &'static str {
        match self {
            TransferResult::Completed => "completed",
            TransferResult::Returned => "returned",
            TransferResult::Busy => "busy",
            TransferResult::NoAnswer => "no_answer",
            TransferResult::Unreachable => "unreachable",
            TransferResult::Cancelled => "cancelled",
            TransferResult::CallerGone => "caller_gone",
            TransferResult::Lost => "lost",
        }
    }
}
