//! `/agents`: states of agents, and asking for another.

use super::auth::{Caller, Site};
use super::may::{Action, Grant, Object, Reach};
use super::problem::{Problem, Problems};
use super::{Api, SiteQuery, audit_name};
use crate::acd::event::{AgentState, WRAP_UP_MAX, Want};
use crate::node::live;
use crate::node::pauses::NotPaused;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest reason of a not-ready state, in characters.
pub const REASON_CHARACTERS_MAX: usize = 64;

/// An agent (话务员) as they stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Code of the site.
    pub site: String,
    /// Name.
    #[schema(example = "1001")]
    pub name: String,
    /// Team (班组); empty for none.
    #[serde(default)]
    pub team: String,
    /// The seat they sit at, whose phone is theirs meanwhile; `null`: at their own phone.
    #[serde(default)]
    pub seat: Option<String>,
    /// State.
    pub state: StateWord,
    /// Reason of a not-ready state; empty otherwise.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// Until when the pause should last, in milliseconds since 1970; one that is longer is overdue (超时小休).
    pub until: Option<i64>,
    /// The contact it has to do with.
    pub contact: Option<String>,
    /// Who asked for the state, when it was somebody else than the agent (强制).
    #[serde(default)]
    pub forced_by: Option<String>,
    /// Whether the phone is registered.
    pub phone_up: bool,
}

/// State of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgentState)]
pub enum StateWord {
    /// 离线.
    Offline,
    /// 示忙 or 小休.
    NotReady,
    /// 示闲.
    Ready,
    /// 振铃.
    Offered,
    /// 通话.
    Talking,
    /// 话后整理.
    WrapUp,
}

/// All agents the caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agents {
    /// By name.
    pub items: Vec<Agent>,
}

/// The state an agent is to have.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WantedState {
    /// Which.
    pub state: WantedWord,
    /// Why, for `not_ready`: at most 64 characters.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub reason: String,
}

/// More time after a call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LongerWrapUp {
    /// So many seconds more (1 to 3600); it never lasts longer than an hour in all, unless the queue says so.
    #[schema(minimum = 1, maximum = 3_600)]
    pub extend_s: u64,
}

/// States that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WantedWord {
    /// 示闲.
    Ready,
    /// 示忙 or 小休.
    NotReady,
    /// 签出.
    Offline,
}

impl Agent {
    /// As the API shows it.
    pub fn show(agent: &live::Agent, site: &str) -> Agent {
        let (state, reason) = match &agent.state {
            AgentState::Offline => (StateWord::Offline, ""),
            AgentState::NotReady { reason } => (StateWord::NotReady, &**reason),
            AgentState::Ready => (StateWord::Ready, ""),
            AgentState::Offered => (StateWord::Offered, ""),
            AgentState::Talking => (StateWord::Talking, ""),
            AgentState::WrapUp => (StateWord::WrapUp, ""),
        };
        Agent {
            site: site.to_owned(),
            name: agent.name.to_string(),
            team: agent.team.to_string(),
            seat: agent.seat.as_deref().map(str::to_owned),
            state,
            reason: reason.to_owned(),
            since: agent.since.0,
            until: agent.until.map(|until| until.0),
            contact: agent.contact.map(|contact| contact.to_string()),
            forced_by: agent.forced_by.as_deref().map(str::to_owned),
            phone_up: agent.phone_up,
        }
    }
}

/// States of all agents the caller may see.
#[utoipa::path(get, path = "/agents", tag = "agents", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = Agents), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<Agents>, Problem> {
    let (site, grant) = caller.site(Action::AgentRead, query.site.as_deref())?;
    let (codes, snapshot) = api.snapshot(site.as_ref());
    let mut items: Vec<Agent> = Vec::new();
    for change in &snapshot.objects {
        let live::Object::Agent(agent) = &change.object else {
            continue;
        };
        if grant.reach == Reach::Site || *agent.name == *caller.actor.name {
            items.push(Agent::show(agent, codes.of(agent.site)));
        }
    }
    items.sort_by(|a, b| (&a.site, &a.name).cmp(&(&b.site, &b.name)));
    Ok(Json(Agents { items }))
}

/// State of one agent.
#[utoipa::path(get, path = "/agents/{name}", tag = "agents", params(("name" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = Agent), Problems))]
pub async fn one(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<Agent>, Problem> {
    let (site, _) = find(&caller, Action::AgentRead, &name, &query)?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    Ok(Json(Agent::show(&agent, &site.code)))
}

/// Asks for a state. It is taken at once, or after the call when the agent is in one; what comes of it is an event.
#[utoipa::path(put, path = "/agents/{name}/state", tag = "agents", params(("name" = String, Path), SiteQuery),
    request_body = WantedState, security(("bearer" = [])),
    responses((status = 202, description = "asked for"), Problems))]
pub async fn set_state(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
    Json(wanted): Json<WantedState>,
) -> Result<StatusCode, Problem> {
    let (site, grant) = find(&caller, Action::AgentSet, &name, &query)?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    if wanted.reason.chars().count() > REASON_CHARACTERS_MAX {
        return Err(Problem::bad_request("a reason has at most 64 characters"));
    }
    // Who may send others into a pause may do so for any reason.
    if wanted.state == WantedWord::NotReady && grant.reach == Reach::Own {
        api.node.live.may_pause(&agent, &wanted.reason)?;
    }
    let want = match wanted.state {
        WantedWord::Ready => Want::Ready,
        WantedWord::NotReady => Want::NotReady { reason: wanted.reason.into() },
        WantedWord::Offline => Want::Offline,
    };
    let by = (grant.reach != Reach::Own).then(|| caller.actor.name.as_ref().into());
    (api.node.want)(site.id, agent.id, want, by)?;
    caller.done(site.id, Action::AgentSet, &name);
    Ok(StatusCode::ACCEPTED)
}

/// Asks for more time after a call. It ends by itself, or with any state that is asked for.
#[utoipa::path(post, path = "/agents/{name}/wrap-up", tag = "agents", params(("name" = String, Path), SiteQuery),
    request_body = LongerWrapUp, security(("bearer" = [])),
    responses((status = 202, description = "asked for"), Problems))]
pub async fn extend_wrap_up(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
    Json(wanted): Json<LongerWrapUp>,
) -> Result<StatusCode, Problem> {
    let (site, _) = find(&caller, Action::AgentSet, &name, &query)?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    if !(1..=WRAP_UP_MAX.as_secs()).contains(&wanted.extend_s) {
        return Err(Problem::bad_request("extend_s is 1 to 3600 seconds"));
    }
    if agent.state != AgentState::WrapUp {
        return Err(Problem::new(StatusCode::CONFLICT, "the agent is not in wrap-up: ask for a pause instead"));
    }
    (api.node.extend)(site.id, agent.id, Duration::from_secs(wanted.extend_s))?;
    caller.done(site.id, Action::AgentSet, &name);
    Ok(StatusCode::ACCEPTED)
}

impl From<NotPaused> for Problem {
    fn from(why: NotPaused) -> Problem {
        let status = match why {
            NotPaused::Unknown { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            NotPaused::Full { .. } => StatusCode::CONFLICT,
        };
        Problem::new(status, why.to_string())
    }
}

/// The site and the right to one agent. Whether there is such an agent is asked after: an agent's token learns nothing
/// about names that are not its own.
pub(super) fn find(caller: &Caller, action: Action, name: &str, query: &SiteQuery) -> Result<(Site, Grant), Problem> {
    let (site, _) = caller.one_site(action, query.site.as_deref())?;
    let object = Object::One { site: &site.code, owner: Some(name) };
    let grant = caller.may(action, object, audit_name(name))?;
    Ok((site, grant))
}
