//! `/health`: whether the node lives (for load balancers, without a token), and its inside for those who may.

use super::auth::Caller;
use super::may::{Action, Object};
use super::problem::{Problem, Problems};
use super::{Api, STREAMS_MAX};
use crate::node::internals::Internals;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// That the node lives, and nothing more: the answer needs no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `up`.
    #[schema(example = "up")]
    pub status: String,
}

/// Whether the node lives.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "up".into() })
}

/// Figures of the node's inside, for its administrator. Names and meanings may change with every version.
#[utoipa::path(get, path = "/health/internals", tag = "health", security(("bearer" = [])),
    responses((status = 200, body = Internals), Problems))]
pub async fn internals(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<Internals>, Problem> {
    caller.may(Action::NodeRead, Object::Node, "node")?;
    Ok(Json(inside(&api)))
}

/// The node's figures with those of HTTP.
pub(super) fn inside(api: &Api) -> Internals {
    let mut internals = (api.node.internals)();
    internals.standing.connections = api.node.connections.count() as u64;
    internals.standing.streams = (STREAMS_MAX - api.streams.available_permits()) as u64;
    internals
}
