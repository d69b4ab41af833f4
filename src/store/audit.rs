//! Who did, read or was refused what.

use super::bulk::{Bound, Bulk};
use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::fact::{Audit, Stamped};
use crate::base::{FactId, Wall};
use sqlx::SqliteConnection;

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct AuditRow {
    /// Site code.
    pub site: String,
    /// Id of the fact.
    pub id: String,
    /// When, milliseconds since 1970 (UTC).
    pub at: i64,
    /// Holder of the token or session.
    pub actor: String,
    /// Their role.
    pub role: String,
    /// What they asked for.
    pub action: String,
    /// On what.
    pub object: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// Where the request came from.
    pub source: String,
}

/// Which acts of the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At this time or later.
    pub from: Option<Wall>,
    /// Before this time.
    pub to: Option<Wall>,
    /// By this actor.
    pub actor: Option<String>,
    /// Allowed ones or refused ones.
    pub allowed: Option<bool>,
}

impl Site<'_> {
    /// A page of acts, newest first.
    pub async fn audit(&self, filter: &AuditFilter, page: Page<FactId>) -> Result<Vec<AuditRow>, StoreError> {
        let mut question = of_site("SELECT * FROM audit", self.code);
        if let Some(from) = filter.from {
            question.push(" AND at >= ").push_bind(from.0);
        }
        if let Some(to) = filter.to {
            question.push(" AND at < ").push_bind(to.0);
        }
        if let Some(actor) = &filter.actor {
            question.push(" AND actor = ").push_bind(actor);
        }
        if let Some(allowed) = filter.allowed {
            question.push(" AND allowed = ").push_bind(allowed);
        }
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }
}

static INSERT: Bulk = Bulk::new(
    "INSERT INTO audit (site, id, at, actor, role, action, object, allowed, source) VALUES ",
    9,
    " ON CONFLICT (site, id) DO NOTHING",
);

/// Writes each act once.
pub(super) async fn write(acts: &[(&Stamped, &Audit)], database: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for statement in INSERT.statements(acts, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (stamped, act): &(&Stamped, &Audit)) -> Bound {
    statement
        .bind(&*stamped.site)
        .bind(stamped.id.to_string())
        .bind(stamped.at.0)
        .bind(&*act.actor)
        .bind(&*act.role)
        .bind(&*act.action)
        .bind(&*act.object)
        .bind(act.allowed)
        .bind(&*act.from)
}
