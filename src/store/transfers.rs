//! Rows of `call_transfers`: written with their call, read with it.
//!
//! The routes of a transfer are kept as JSON: nobody asks for one of them alone.

use super::bulk::{Bound, Bulk};
use crate::base::Wall;
use crate::base::fact::{RouteAttempt, TransferRecord};
use serde::de::DeserializeOwned;

/// One transfer of a call.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct TransferRow {
    /// Name of the target.
    pub target: String,
    /// `emergency`, `utility`, `sub_center`, `expert` or `police_ticket`.
    pub kind: String,
    /// `conference`, `consult`, `blind`, or `attended`: by a second call of the agent's phone.
    pub mode: String,
    /// Why, in the agent's words.
    pub reason: String,
    /// Agent who asked.
    pub agent: String,
    /// Asked for; milliseconds since 1970, as all times here.
    pub started: i64,
    /// The target answered.
    pub answered: Option<i64>,
    /// All three heard each other for the first time.
    pub joined: Option<i64>,
    /// The target had answered, and no RTP had come from it for three seconds: the first time.
    pub mute: Option<i64>,
    /// The agent had left citizen and target to each other.
    pub handed: Option<i64>,
    /// Nobody was there of it any more.
    pub ended: Option<i64>,
    /// `completed`, `returned`, `busy`, `no_answer`, `unreachable`, `cancelled`, `caller_gone` or `lost`.
    pub result: Option<String>,
    /// Every route tried, as JSON.
    pub routes: String,
    /// It was an exercise: the target was a simulated one.
    pub drill: bool,
}

pub(super) static FORGET: Bulk = Bulk::new("DELETE FROM call_transfers WHERE (site, contact) IN (VALUES ", 2, ")");
pub(super) static INSERT: Bulk = Bulk::new(
    "INSERT INTO call_transfers (site, contact, position, target, kind, mode, reason, agent, started, answered, joined, \
     mute, handed, ended, result, routes, drill) VALUES ",
    17,
    "",
);
pub(super) const OF_CALL: &str = "SELECT target, kind, mode, reason, agent, started, answered, joined, mute, handed, \
                                  ended, result, routes, drill FROM call_transfers WHERE site = $1 AND contact = $2 ORDER BY position";

/// The call's key, the place among its transfers, and the transfer.
pub(super) type OfCall<'a> = (&'a (&'a str, String), i64, &'a TransferRecord);

pub(super) fn bind(statement: Bound, ((site, contact), position, transfer): &OfCall<'_>) -> Bound {
    let ms = |wall: Option<Wall>| wall.map(|wall| wall.0);
    statement
        .bind(*site)
        .bind(contact)
        .bind(*position)
        .bind(&*transfer.target)
        .bind(transfer.kind.word())
        .bind(transfer.mode.word())
        .bind(&*transfer.reason)
        .bind(&*transfer.agent)
        .bind(transfer.started.0)
        .bind(ms(transfer.answered))
        .bind(ms(transfer.joined))
        .bind(ms(transfer.mute))
        .bind(ms(transfer.handed))
        .bind(ms(transfer.ended))
        .bind(transfer.result.map(|result| result.word()))
        .bind(serde_json::to_string(&transfer.routes).unwrap_or_default())
        .bind(transfer.drill)
}

impl TransferRow {
    /// As the call told it; `None` when a word in it is none of ours.
    pub(super) fn record(self) -> Option<TransferRecord> {
        let ms = |at: Option<i64>| at.map(Wall);
        let routes: Vec<RouteAttempt> = serde_json::from_str(&self.routes).unwrap_or_default();
        Some(TransferRecord {
            kind: word(&self.kind)?,
            mode: word(&self.mode)?,
            result: self.result.as_deref().and_then(word),
            target: self.target.into(),
            reason: self.reason.into(),
            agent: self.agent.into(),
            started: Wall(self.started),
            answered: ms(self.answered),
            joined: ms(self.joined),
            mute: ms(self.mute),
            handed: ms(self.handed),
            ended: ms(self.ended),
            routes,
            drill: self.drill,
        })
    }
}

fn word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}
