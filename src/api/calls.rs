//! `/calls`: records of calls (话单).

use super::Api;
use super::auth::Caller;
use super::may::{Action, Numbers, Object, Reach};
use super::paging::{Paged, id, page};
use super::problem::{Problem, Problems};
use super::{SiteQuery, audit_name};
use crate::base::{ContactId, Wall};
use crate::store::calls::{CallDetail, CallFilter, CallRow, CallState};
use crate::store::context::OperationRow;
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which calls.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallsQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Offered at this time or later, in milliseconds since 1970.
    pub from: Option<i64>,
    /// Offered before this time.
    pub to: Option<i64>,
    /// Answered by this agent.
    pub agent: Option<String>,
    /// How far they came.
    #[param(inline)]
    pub state: Option<CallState>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// Records of calls, newest first.
#[utoipa::path(get, path = "/calls", tag = "calls", params(CallsQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<CallRow>), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<CallsQuery>,
) -> Result<Json<Paged<CallRow>>, Problem> {
    let (site, grant) = caller.one_site(Action::CallRead, query.site.as_deref())?;
    let agent = caller.whose(Action::CallRead, &site, query.agent, grant.reach)?;
    let page = page(query.before.as_deref(), query.limit)?;
    let filter = CallFilter { from: query.from.map(Wall), to: query.to.map(Wall), agent, state: query.state };
    let mut rows = api.node.store.site(&site.code).calls(&filter, page).await?;
    for row in &mut rows {
        mask(row, grant.numbers);
    }
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

/// The record of one call, with every ringing of an agent, the digits given and how its legs sounded.
#[utoipa::path(get, path = "/calls/{contact}", tag = "calls", params(("contact" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = CallDetail), Problems))]
pub async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<CallDetail>, Problem> {
    let (site, _) = caller.one_site(Action::CallRead, query.site.as_deref())?;
    let detail = api.node.store.site(&site.code).call(id::<ContactId>(&contact)?).await?;
    let mut detail = detail.ok_or_else(Problem::not_found)?;
    let object = Object::One { site: &detail.call.site, owner: detail.call.agent.as_deref() };
    let grant = caller.may(Action::CallRead, object, audit_name(&contact))?;
    mask(&mut detail.call, grant.numbers);
    if grant.reach == Reach::Own {
        // Whom else the call rang is not theirs to see.
        detail.attempts.retain(|attempt| *attempt.agent == *caller.actor.name);
        detail.legs.retain(|leg| leg.agent.as_deref().is_none_or(|agent| *agent == *caller.actor.name));
    }
    Ok(Json(detail))
}

/// What the targets of a call's transfers have said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Operations {
    /// In the order in which it was told.
    pub items: Vec<OperationRow>,
}

/// Operation data of the sub-centers to which a call was transferred (分中心话务运行数据), as they told them.
#[utoipa::path(get, path = "/calls/{contact}/operation", tag = "calls", params(("contact" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = Operations), Problems))]
pub async fn operation(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<Operations>, Problem> {
    let (site, _) = caller.one_site(Action::CallRead, query.site.as_deref())?;
    let (store, key) = (api.node.store.site(&site.code), id::<ContactId>(&contact)?);
    let call = store.call(key).await?.ok_or_else(Problem::not_found)?.call;
    let object = Object::One { site: &call.site, owner: call.agent.as_deref() };
    caller.may(Action::CallRead, object, audit_name(&contact))?;
    Ok(Json(Operations { items: store.operations(key).await? }))
}

/// The citizen's number as this role may see it: the caller's, or the one that was called.
fn mask(row: &mut CallRow, numbers: Numbers) {
    let citizen = if row.direction == "outbound" { &mut row.dialled } else { &mut row.caller };
    *citizen = numbers.show(citizen);
}
