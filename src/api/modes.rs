//! `/modes`: what queues do otherwise for a time, and somebody's word on it.

use super::auth::Caller;
use super::may::{Action, Object};
use super::problem::{Problem, Problems};
use super::{Api, SiteQuery};
use crate::base::Wall;
use crate::modes::{Hand, View};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Somebody's word holds so long, unless they say otherwise, in seconds.
const HAND_S: u64 = 4 * 3_600;
/// And so long at most: a week.
const HAND_S_MAX: u64 = 7 * 86_400;

/// A mode (值守模式): by night, in a rush of calls, or by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Mode {
    /// Name.
    #[schema(example = "台风")]
    pub name: String,
    /// Whether it is open.
    pub open: bool,
    /// Why: `hand`, `hours` or `rush`.
    pub why: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Somebody's word, while it holds.
    pub hand: Option<Word>,
    /// Callers who came within the span of its rush.
    pub arrivals: Option<u64>,
    /// It opens when there are more.
    pub arrivals_max: Option<u64>,
}

/// Somebody's word on a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Word {
    /// Open or shut.
    pub open: bool,
    /// Until when, in milliseconds since 1970.
    pub until: i64,
}

/// All modes of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Modes {
    /// In the order in which they are laid over each other.
    pub items: Vec<Mode>,
}

/// What a mode is to do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedMode {
    /// Open or shut; `null` leaves it to hours and arrivals again.
    pub open: Option<bool>,
    /// For so many seconds (1 to 604800, four hours without it).
    #[schema(minimum = 1, maximum = 604_800)]
    pub for_s: Option<u64>,
}

impl From<View> for Mode {
    fn from(view: View) -> Mode {
        Mode {
            name: view.name.into(),
            open: view.open.is_some(),
            why: view.open.map(|(why, _)| why.word().to_owned()),
            since: view.open.map(|(_, since)| since.0),
            hand: view.hand.map(|hand| Word { open: hand.open, until: hand.until.0 }),
            arrivals: view.arrivals.map(|(came, _)| came),
            arrivals_max: view.arrivals.map(|(_, most)| most),
        }
    }
}

/// Modes of a site.
#[utoipa::path(get, path = "/modes", tag = "queues", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = Modes), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<Modes>, Problem> {
    let (site, _) = caller.one_site(Action::ModeRead, query.site.as_deref())?;
    Ok(Json(Modes { items: (api.node.modes)(site.id).into_iter().map(Mode::from).collect() }))
}

/// Opens a mode, shuts it, or leaves it to hours and arrivals again. It is followed within a second or so; callers who wait
/// and agents stay as they are.
#[utoipa::path(put, path = "/modes/{name}", tag = "queues", params(("name" = String, Path), SiteQuery),
    request_body = WantedMode, security(("bearer" = [])),
    responses((status = 202, description = "asked for"), Problems))]
pub async fn set(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
    Json(wanted): Json<WantedMode>,
) -> Result<StatusCode, Problem> {
    let (site, _) = caller.one_site(Action::ModeSet, query.site.as_deref())?;
    caller.may(Action::ModeSet, Object::One { site: &site.code, owner: None }, &name)?;
    let for_s = wanted.for_s.unwrap_or(HAND_S);
    if !(1..=HAND_S_MAX).contains(&for_s) {
        return Err(Problem::bad_request("for_s is 1 to 604800 seconds"));
    }
    let until = Wall((api.node.wall)().0 + for_s as i64 * 1_000);
    let hand = wanted.open.map(|open| Hand { open, until });
    if !(api.node.set_mode)(site.id, &name, hand) {
        return Err(Problem::not_found());
    }
    caller.done(site.id, Action::ModeSet, &name);
    Ok(StatusCode::ACCEPTED)
}
