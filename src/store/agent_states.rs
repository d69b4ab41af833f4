//! The log of agents' states, one row a change.

use super::bulk::{Bound, Bulk};
use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::fact::{AgentChanged, Stamped};
use crate::base::{FactId, Wall};
use sqlx::SqliteConnection;

/// A change of an agent's state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct AgentStateRow {
    /// Site code.
    pub site: String,
    /// Id of the fact.
    pub id: String,
    /// When, milliseconds since 1970 (UTC).
    pub at: i64,
    /// Agent's name.
    pub agent: String,
    /// State left: `offline`, `not_ready`, `ready`, `offered`, `talking`, `wrap_up`.
    pub from_state: String,
    /// State entered.
    pub to_state: String,
    /// Reason of a not-ready state; empty otherwise.
    pub reason: String,
    /// The contact it has to do with.
    pub contact: Option<String>,
    /// Who asked for it, when it was somebody else than the agent (强制示忙、强制签出).
    pub forced_by: Option<String>,
}

/// Which changes of the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentStateFilter {
    /// At this time or later.
    pub from: Option<Wall>,
    /// Before this time.
    pub to: Option<Wall>,
    /// Of this agent.
    pub agent: Option<String>,
}

impl Site<'_> {
    /// A page of changes, newest first.
    pub async fn agent_states(
        &self,
        filter: &AgentStateFilter,
        page: Page<FactId>,
    ) -> Result<Vec<AgentStateRow>, StoreError> {
        let mut question = of_site("SELECT * FROM agent_states", self.code);
        if let Some(from) = filter.from {
            question.push(" AND at >= ").push_bind(from.0);
        }
        if let Some(to) = filter.to {
            question.push(" AND at < ").push_bind(to.0);
        }
        if let Some(agent) = &filter.agent {
            question.push(" AND agent = ").push_bind(agent);
        }
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }
}

static INSERT: Bulk = Bulk::new(
    "INSERT INTO agent_states (site, id, at, agent, from_state, to_state, reason, contact, forced_by) VALUES ",
    9,
    " ON CONFLICT (site, id) DO NOTHING",
);

/// Writes each change once.
pub(super) async fn write(
    changes: &[(&Stamped, &AgentChanged)],
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    for statement in INSERT.statements(changes, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (stamped, change): &(&Stamped, &AgentChanged)) -> Bound {
    statement
        .bind(&*stamped.site)
        .bind(stamped.id.to_string())
        .bind(stamped.at.0)
        .bind(&*change.agent)
        .bind(&*change.from)
        .bind(&*change.to)
        .bind(&*change.reason)
        .bind(change.contact.map(|id| id.to_string()))
        .bind(change.by.as_deref())
}
