//! `/callbacks` and `/missed-calls`: who is to be called back (回呼), and who was missed.
//!
//! Who asks for a call-back of a missed call need not know the citizen's number, and never learns it here.

use super::auth::{Caller, Site};
use super::may::{Action, Object};
use super::paging::{Paged, id, optional_id, page};
use super::problem::{Body9457, Problem, Problems};
use super::{Api, SiteQuery, audit_name};
use crate::base::{CallbackId, ContactId, OrderId, Wall};
use crate::node::callbacks::{Ask, NotTaken, Wish};
use crate::store::callbacks::{CallbackRow, MissedRow};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Longest number, in characters, separators included.
const NUMBER_CHARACTERS_MAX: usize = 40;
/// Missed calls are listed so far back, in milliseconds, unless said otherwise.
const MISSED_MS: i64 = 24 * 3_600_000;

/// Which call-backs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallbacksQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// `true`: those that are open; `false`: those that are over; by default all.
    pub open: Option<bool>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// Which missed calls.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MissedQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
    /// Came at this time or later, in milliseconds since 1970; by default a day ago.
    pub from: Option<i64>,
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// Who is to be called back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedCallback {
    /// The missed call it is for: its number, queue, order and place in the line count unless said otherwise.
    pub contact: Option<String>,
    /// Whom to call.
    pub number: Option<String>,
    /// The queue whose agents call.
    pub queue: Option<String>,
    /// The order it is about.
    pub order: Option<String>,
}

/// A call-back was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenCallback {
    /// Its id.
    pub id: String,
}

/// Call-backs, newest first.
#[utoipa::path(get, path = "/callbacks", tag = "callbacks", params(CallbacksQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<CallbackRow>), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<CallbacksQuery>,
) -> Result<Json<Paged<CallbackRow>>, Problem> {
    let (site, grant) = caller.one_site(Action::CallbackRead, query.site.as_deref())?;
    let page = page(query.before.as_deref(), query.limit)?;
    let mut rows = api.node.store.site(&site.code).callbacks(query.open, page).await?;
    rows.iter_mut().for_each(|row| row.number = grant.numbers.show(&row.number));
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

/// Calls that came to a queue and were not answered, one a caller, whose caller neither came again nor was called since;
/// newest first.
#[utoipa::path(get, path = "/missed-calls", tag = "callbacks", params(MissedQuery), security(("bearer" = [])),
    responses((status = 200, body = Paged<MissedRow>), Problems))]
pub async fn missed(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<MissedQuery>,
) -> Result<Json<Paged<MissedRow>>, Problem> {
    let (site, grant) = caller.one_site(Action::CallbackRead, query.site.as_deref())?;
    let page = page(query.before.as_deref(), query.limit)?;
    let from = Wall(query.from.unwrap_or_else(|| (api.node.wall)().0 - MISSED_MS));
    let mut rows = api.node.store.site(&site.code).missed(from, page).await?;
    rows.iter_mut().for_each(|row| row.caller = grant.numbers.show(&row.caller));
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

/// Puts somebody into a queue's line to be called back by its agents. One call-back a number: a second one is closed as
/// `duplicate`. What becomes of it stands in `GET /callbacks`.
#[utoipa::path(post, path = "/callbacks", tag = "callbacks", params(SiteQuery), request_body = WantedCallback,
    security(("bearer" = [])),
    responses((status = 202, description = "taken", body = TakenCallback),
        (status = 422, description = "no number, no queue, or one that calls nobody back",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn ask(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
    Json(wanted): Json<WantedCallback>,
) -> Result<(StatusCode, Json<TakenCallback>), Problem> {
    let (site, _) = caller.one_site(Action::CallbackAsk, query.site.as_deref())?;
    caller.may(Action::CallbackAsk, Object::One { site: &site.code, owner: None }, "callback")?;
    let wish = wish(&api, &site, wanted).await?;
    let name = wish.callback.to_string();
    (api.node.call_back)(Ask::Take(Box::new(wish)))?;
    caller.done(site.id, Action::CallbackAsk, &name);
    Ok((StatusCode::ACCEPTED, Json(TakenCallback { id: name })))
}

/// Takes a call-back out of the line. Once its number was dialled, the attempt decides.
#[utoipa::path(delete, path = "/callbacks/{id}", tag = "callbacks", params(("id" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 202, description = "asked for", body = TakenCallback),
        (status = 409, description = "over already", content_type = "application/problem+json", body = Body9457),
        Problems))]
pub async fn withdraw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(callback): Path<String>,
    query: Query<SiteQuery>,
) -> Result<(StatusCode, Json<TakenCallback>), Problem> {
    let (site, _) = caller.one_site(Action::CallbackAsk, query.site.as_deref())?;
    let object = Object::One { site: &site.code, owner: None };
    caller.may(Action::CallbackAsk, object, audit_name(&callback))?;
    let key: CallbackId = id(&callback)?;
    let row = api.node.store.site(&site.code).callback(key).await?.ok_or_else(Problem::not_found)?;
    if row.closed.is_some() {
        return Err(Problem::new(StatusCode::CONFLICT, "this call-back is over already"));
    }
    (api.node.call_back)(Ask::Withdraw(key))?;
    caller.done(site.id, Action::CallbackAsk, &row.id);
    Ok((StatusCode::ACCEPTED, Json(TakenCallback { id: row.id })))
}

async fn wish(api: &Api, site: &Site, wanted: WantedCallback) -> Result<Wish, Problem> {
    let unfit = |what: &'static str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what);
    let contact: Option<ContactId> = optional_id(wanted.contact.as_deref(), "contact")?;
    let order: Option<OrderId> = optional_id(wanted.order.as_deref(), "order")?;
    let missed = match contact {
        Some(contact) => {
            Some(api.node.store.site(&site.code).call(contact).await?.ok_or_else(Problem::not_found)?.call)
        }
        None => None,
    };
    let of_call = |field: fn(&crate::store::calls::CallRow) -> Option<String>| missed.as_ref().and_then(field);
    let number =
        wanted.number.or_else(|| of_call(|call| Some(call.caller.clone()).filter(|caller| !caller.is_empty())));
    let number = number.ok_or_else(|| unfit("name a number, or a contact whose caller did not withhold it"))?;
    if number.chars().count() > NUMBER_CHARACTERS_MAX {
        return Err(unfit("a number has at most 40 characters"));
    }
    let queue = wanted.queue.or_else(|| of_call(|call| call.queue.clone()));
    let queue = queue.ok_or_else(|| unfit("name a queue, or a contact that came to one"))?;
    let of_missed = of_call(|call| call.order_id.clone()).and_then(|order| order.parse().ok());
    Ok(Wish {
        callback: CallbackId(api.mint()),
        site: site.id,
        queue: queue.into(),
        number: number.into(),
        contact,
        order: order.or(of_missed),
        since: missed.and_then(|call| call.queued).map(Wall),
    })
}

impl From<NotTaken> for Problem {
    fn from(why: NotTaken) -> Problem {
        let status = match why {
            NotTaken::Number(_) | NotTaken::NoCallbacks => StatusCode::UNPROCESSABLE_ENTITY,
            NotTaken::NotListed => StatusCode::FORBIDDEN,
            NotTaken::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, why.to_string())
    }
}
