//! `/orders`: work orders (工单) as calls open them.

use super::Api;
use super::auth::Caller;
use super::may::{Action, Object};
use super::paging::{Paged, id, optional_id, page};
use super::problem::{Problem, Problems};
use super::{SiteQuery, audit_name};
use crate::base::{OrderId, Wall};
use crate::store::orders::{OrderFilter, OrderRow, OrderStepRow};
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which orders.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Opened at this time or later, in milliseconds since 1970.
    pub from: Option<i64>,
    /// Opened before this time.
    pub to: Option<i64>,
    /// Whose call it was.
    pub agent: Option<String>,
    /// In this state (`draft` …).
    pub state: Option<String>,
    /// Opened with this contact.
    pub contact: Option<String>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// An order and its life so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OrderDetail {
    /// The order.
    pub order: OrderRow,
    /// Every step, oldest first.
    pub history: Vec<OrderStepRow>,
}

/// Orders, newest first.
#[utoipa::path(get, path = "/orders", tag = "orders", params(OrdersQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<OrderRow>), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<OrdersQuery>,
) -> Result<Json<Paged<OrderRow>>, Problem> {
    let (site, grant) = caller.one_site(Action::OrderRead, query.site.as_deref())?;
    let agent = caller.whose(Action::OrderRead, &site, query.agent, grant.reach)?;
    let page = page(query.before.as_deref(), query.limit)?;
    let contact = optional_id(query.contact.as_deref(), "contact")?;
    let (from, to) = (query.from.map(Wall), query.to.map(Wall));
    let filter = OrderFilter { from, to, agent, state: query.state, contact };
    let mut rows = api.node.store.site(&site.code).orders(&filter, page).await?;
    for row in &mut rows {
        row.caller = grant.numbers.show(&row.caller);
    }
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

/// One order and its history.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = OrderDetail), Problems))]
pub async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(order): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<OrderDetail>, Problem> {
    let (site, _) = caller.one_site(Action::OrderRead, query.site.as_deref())?;
    let store = api.node.store.site(&site.code);
    let key: OrderId = id(&order)?;
    let mut row = store.order(key).await?.ok_or_else(Problem::not_found)?;
    let object = Object::One { site: &row.site, owner: row.agent.as_deref() };
    let grant = caller.may(Action::OrderRead, object, audit_name(&order))?;
    row.caller = grant.numbers.show(&row.caller);
    let history = store.order_history(key).await?;
    Ok(Json(OrderDetail { order: row, history }))
}
