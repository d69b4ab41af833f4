//! `/seats` and `/agents/{name}/seat`: phones that belong to a desk, and who sits there.

use super::agents::find;
use super::auth::Caller;
use super::may::{Action, Reach};
use super::problem::{Problem, Problems};
use super::{Api, SiteQuery};
use crate::node::live;
use crate::store::seats::SeatError;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A seat (座席).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seat {
    /// Code of the site.
    pub site: String,
    /// Name: its phone registers so.
    #[schema(example = "S12")]
    pub name: String,
    /// Whether nobody sits there.
    pub free: bool,
    /// Who does, for those who may see them.
    pub agent: Option<String>,
}

/// Seats the caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seats {
    /// By site and name.
    pub items: Vec<Seat>,
}

/// Where an agent is to sit.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedSeat {
    /// Name of the seat.
    #[schema(example = "S12")]
    pub seat: String,
}

impl From<SeatError> for Problem {
    fn from(error: SeatError) -> Problem {
        match error {
            SeatError::UnknownAgent => Problem::not_found(),
            SeatError::UnknownSeat => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no such seat: GET /api/v1/seats lists them")
            }
            SeatError::Occupied => Problem::new(StatusCode::CONFLICT, error.to_string()),
            SeatError::Phone(_) => Problem::bad_request(error.to_string()),
            SeatError::Store(error) => error.into(),
        }
    }
}

/// Seats of the sites the caller may see, and who sits there.
#[utoipa::path(get, path = "/seats", tag = "agents", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = Seats), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<Seats>, Problem> {
    let (site, grant) = caller.site(Action::AgentRead, query.site.as_deref())?;
    let codes: Vec<String> = match &site {
        Some(site) => vec![site.code.to_string()],
        None => api.node.live.sites().iter().map(|code| code.to_string()).collect(),
    };
    let mut items = Vec::new();
    for code in codes {
        for row in api.node.store.site(&code).seats().await? {
            let shown = |agent: &String| grant.reach == Reach::Site || **agent == *caller.actor.name;
            let (free, agent) = (row.agent.is_none(), row.agent.filter(shown));
            items.push(Seat { site: code.clone(), name: row.name, free, agent });
        }
    }
    Ok(Json(Seats { items }))
}

/// Seats an agent, who leaves the seat they had: that phone is theirs, and theirs alone. Taken within moments.
#[utoipa::path(put, path = "/agents/{name}/seat", tag = "agents", params(("name" = String, Path), SiteQuery),
    request_body = WantedSeat, security(("bearer" = [])),
    responses((status = 202, description = "taken within moments"), Problems))]
pub async fn take(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
    Json(wanted): Json<WantedSeat>,
) -> Result<StatusCode, Problem> {
    let (site, _) = find(&caller, Action::AgentSet, &name, &query)?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    is_free(&api, &agent)?;
    api.node.store.site(&site.code).take_seat(&name, &wanted.seat).await?;
    (api.node.seated)();
    caller.done(site.id, Action::AgentSet, &name);
    Ok(StatusCode::ACCEPTED)
}

/// Takes an agent from their seat: they are at their own phone again, within moments.
#[utoipa::path(delete, path = "/agents/{name}/seat", tag = "agents", params(("name" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 202, description = "left within moments"), Problems))]
pub async fn leave(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
) -> Result<StatusCode, Problem> {
    let (site, _) = find(&caller, Action::AgentSet, &name, &query)?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    is_free(&api, &agent)?;
    api.node.store.site(&site.code).leave_seat(&name).await?;
    (api.node.seated)();
    caller.done(site.id, Action::AgentSet, &name);
    Ok(StatusCode::ACCEPTED)
}

/// Nobody changes phones in the middle of a call.
fn is_free(api: &Api, agent: &live::Agent) -> Result<(), Problem> {
    if api.node.live.is_in_call(agent.id) {
        let detail = "the agent is in a call, or being rung for one: change seats after it";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    Ok(())
}
