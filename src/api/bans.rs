//! `/bans`: sources of SIP that are not heard for a while, and the lifting of a ban. For administrators of all sites.

use super::Api;
use super::auth::Caller;
use super::may::{Action, Object};
use super::problem::{Problem, Problems};
use crate::edge::event::{Ban as Standing, Source};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A source that is not heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    #[schema(example = "203.0.113.9")]
    pub source: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// Until when.
    pub until: i64,
    /// The how manieth in a row: each is four times as long as the one before.
    pub times: u32,
}

/// All bans that hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bans {
    /// In order of their sources.
    pub items: Vec<Ban>,
}

impl From<Standing> for Ban {
    fn from(ban: Standing) -> Ban {
        Ban { source: ban.source.to_string(), since: ban.since.0, until: ban.until.0, times: ban.times }
    }
}

/// Sources of SIP that are not heard.
#[utoipa::path(get, path = "/bans", tag = "edge", security(("bearer" = [])),
    responses((status = 200, body = Bans), Problems))]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Bans>, Problem> {
    caller.may(Action::BanRead, Object::Node, "bans")?;
    Ok(Json(Bans { items: (api.node.bans)().into_iter().map(Ban::from).collect() }))
}

/// Lifts a ban: the source is heard again at once. An IPv6 network is named by any address in it.
#[utoipa::path(delete, path = "/bans/{source}", tag = "edge", params(("source" = String, Path)),
    security(("bearer" = [])), responses((status = 204, description = "lifted"), Problems))]
pub async fn lift(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    // Nobody without the right learns which sources are banned.
    caller.may(Action::BanLift, Object::Node, "bans")?;
    let source: Source =
        name.parse().map_err(|_| Problem::bad_request("a source is an IP address: 203.0.113.9 or 2001:db8::1"))?;
    if !(api.node.lift_ban)(source) {
        return Err(Problem::not_found());
    }
    caller.done_to_node(Action::BanLift, &source.to_string());
    Ok(StatusCode::NO_CONTENT)
}
