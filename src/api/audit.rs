//! `/audit`: who did, read or was refused what. For auditors alone.

use super::Api;
use super::auth::Caller;
use super::may::Action;
use super::paging::{Paged, page};
use super::problem::{Problem, Problems};
use crate::base::{FactId, Wall};
use crate::store::audit::{AuditFilter, AuditRow};
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which acts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// At this time or later, in milliseconds since 1970.
    pub from: Option<i64>,
    /// Before this time.
    pub to: Option<i64>,
    /// By this actor.
    pub actor: Option<String>,
    /// Allowed ones or refused ones.
    pub allowed: Option<bool>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// Acts, newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<AuditRow>), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Paged<AuditRow>>, Problem> {
    let (site, _) = caller.one_site(Action::AuditRead, query.site.as_deref())?;
    let page = page::<FactId>(query.before.as_deref(), query.limit)?;
    let (from, to) = (query.from.map(Wall), query.to.map(Wall));
    let filter = AuditFilter { from, to, actor: query.actor, allowed: query.allowed };
    let rows = api.node.store.site(&site.code).audit(&filter, page).await?;
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}
