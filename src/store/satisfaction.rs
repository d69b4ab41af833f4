//! Rows of `call_satisfaction`: written with their call, read with it.

use super::bulk::{Bound, Bulk};
use crate::base::fact::Satisfaction;
use crate::base::{OrderId, Wall};

/// How a citizen was served, by their own word.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct SatisfactionRow {
    /// The flow that asked.
    pub flow: String,
    /// The agent who talked last.
    pub agent: Option<String>,
    /// To whom the citizen had been handed over.
    pub target: Option<String>,
    /// The order of the contact.
    pub order_id: Option<String>,
    /// Asked then; milliseconds since 1970.
    pub asked: i64,
    /// Answered then.
    pub answered: Option<i64>,
    /// The key, 1–9; `null` when they gave none.
    pub score: Option<i64>,
}

pub(super) static FORGET: Bulk = Bulk::new("DELETE FROM call_satisfaction WHERE (site, contact) IN (VALUES ", 2, ")");
pub(super) static INSERT: Bulk = Bulk::new(
    "INSERT INTO call_satisfaction (site, contact, flow, agent, target, order_id, asked, answered, score) VALUES ",
    9,
    "",
);
pub(super) const OF_CALL: &str = "SELECT flow, agent, target, order_id, asked, answered, score FROM call_satisfaction \
                                  WHERE site = $1 AND contact = $2";

/// The call's key, its order, and the answer.
pub(super) type OfCall<'a> = (&'a (&'a str, String), Option<OrderId>, &'a Satisfaction);

pub(super) fn bind(statement: Bound, ((site, contact), order, given): &OfCall<'_>) -> Bound {
    statement
        .bind(*site)
        .bind(contact)
        .bind(&*given.flow)
        .bind(given.agent.as_deref())
        .bind(given.target.as_deref())
        .bind(order.map(|order| order.to_string()))
        .bind(given.asked.0)
        .bind(given.answered.map(|at| at.0))
        .bind(given.score.map(i64::from))
}

impl SatisfactionRow {
    /// As the call told it.
    pub(super) fn record(self) -> Satisfaction {
        Satisfaction {
            flow: self.flow.into(),
            agent: self.agent.map(Into::into),
            target: self.target.map(Into::into),
            asked: Wall(self.asked),
            answered: self.answered.map(Wall),
            score: self.score.and_then(|score| u8::try_from(score).ok()),
        }
    }
}
