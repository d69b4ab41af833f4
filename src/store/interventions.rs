//! Rows of `call_interventions`: written with their call, read with it.

use super::bulk::{Bound, Bulk};
use crate::base::Wall;
use crate::base::fact::Intervention;
use serde::de::DeserializeOwned;

/// Somebody stepped into a call beside the queues.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct InterventionRow {
    /// `listen`, `whisper`, `barge`, `take_over`, `release`, `park`, `pick_up` or `recall`.
    pub kind: String,
    /// Whose phone was in it, or, of a release, who asked.
    pub by_whom: String,
    /// The agent who talked then.
    pub agent: Option<String>,
    /// Asked for; milliseconds since 1970, as all times here.
    pub started: i64,
    /// They were there.
    pub answered: Option<i64>,
    /// Nothing was left of it.
    pub ended: Option<i64>,
    /// `done`, `busy`, `no_answer`, `unreachable`, `cancelled` or `lost`.
    pub result: Option<String>,
}

pub(super) static FORGET: Bulk = Bulk::new("DELETE FROM call_interventions WHERE (site, contact) IN (VALUES ", 2, ")");
pub(super) static INSERT: Bulk = Bulk::new(
    "INSERT INTO call_interventions (site, contact, position, kind, by_whom, agent, started, answered, ended, result) \
     VALUES ",
    10,
    "",
);
pub(super) const OF_CALL: &str = "SELECT kind, by_whom, agent, started, answered, ended, result \
                                  FROM call_interventions WHERE site = $1 AND contact = $2 ORDER BY position";

/// The call's key, the place among its interventions, and the intervention.
pub(super) type OfCall<'a> = (&'a (&'a str, String), i64, &'a Intervention);

pub(super) fn bind(statement: Bound, ((site, contact), position, intervention): &OfCall<'_>) -> Bound {
    let ms = |wall: Option<Wall>| wall.map(|wall| wall.0);
    statement
        .bind(*site)
        .bind(contact)
        .bind(*position)
        .bind(intervention.kind.word())
        .bind(&*intervention.by)
        .bind(intervention.agent.as_deref())
        .bind(intervention.started.0)
        .bind(ms(intervention.answered))
        .bind(ms(intervention.ended))
        .bind(intervention.result.map(|result| result.word()))
}

impl InterventionRow {
    /// As the call told it; `None` when a word in it is none of ours.
    pub(super) fn record(self) -> Option<Intervention> {
        Some(Intervention {
            kind: word(&self.kind)?,
            by: self.by_whom.into(),
            agent: self.agent.map(Into::into),
            started: Wall(self.started),
            answered: self.answered.map(Wall),
            ended: self.ended.map(Wall),
            result: self.result.as_deref().and_then(word),
        })
    }
}

fn word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}
