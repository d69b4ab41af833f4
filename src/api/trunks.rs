//! `/trunks`: the trunks as they stand. They are the node's and serve all its sites: only who has to do with all of them
//! sees them.

use super::Api;
use super::auth::Caller;
use super::may::{Action, Object};
use super::problem::{Problem, Problems};
use crate::node::internals::TrunkFigures;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// All trunks.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TrunkList {
    /// In order of their files' names.
    pub items: Vec<TrunkFigures>,
}

/// Health, registration and channels of every trunk.
#[utoipa::path(get, path = "/trunks", tag = "trunks", security(("bearer" = [])),
    responses((status = 200, body = TrunkList), Problems))]
pub async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<TrunkList>, Problem> {
    caller.may(Action::TrunkRead, Object::Node, "trunks")?;
    Ok(Json(TrunkList { items: (api.node.internals)().trunks }))
}
