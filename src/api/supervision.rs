//! `/calls/live/{contact}/supervision`, `/release`, `/park`, `/pickup` and `/agents/{name}/supervision`: stepping into a
//! call beside the queues (监听 耳语 强插 接管 强拆 寄存 取回).
//!
//! The call judges and answers at once; whether the phone that is rung answers is told by events and stands in the call's
//! record. Each way is an action of its own, in the access check and in the audit.

use super::auth::Caller;
use super::live_calls::Asked;
use super::may::{Action, Object};
use super::problem::{Body9457, Problem, Problems};
use super::{Api, SiteQuery, audit_name, dial, paging};
use crate::base::{AgentId, ContactId, SiteId};
use crate::call::supervise::{Ask, Mode, NotDone};
use crate::node::interventions::Wish;
use crate::node::live;
use crate::node::transfers::Busy;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// A call answers within one pass of its shard.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How a supervisor is to be with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedSupervision {
    /// How. Asked for again, it changes.
    pub mode: WantedMode,
    /// Whose phone is rung; by default that of the token's holder.
    pub supervisor: Option<String>,
}

/// How a supervisor is with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SupervisionMode)]
pub enum WantedMode {
    /// 监听: hears citizen and agent; nobody hears them.
    Listen,
    /// 耳语: the agent alone hears them.
    Whisper,
    /// 强插: citizen and agent hear them.
    Barge,
    /// 接管: takes the agent's place; of a caller who waits or is parked, answers for the line.
    TakeOver,
}

/// Who fetches a parked citizen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedPickup {
    /// Whose phone is rung; by default that of the token's holder.
    pub agent: Option<String>,
}

impl WantedMode {
    fn mode(self) -> Mode {
        match self {
            WantedMode::Listen => Mode::Listen,
            WantedMode::Whisper => Mode::Whisper,
            WantedMode::Barge => Mode::Barge,
            WantedMode::TakeOver => Mode::TakeOver,
        }
    }

    fn action(self) -> Action {
        match self {
            WantedMode::Listen => Action::CallListen,
            WantedMode::Whisper => Action::CallWhisper,
            WantedMode::Barge => Action::CallBarge,
            WantedMode::TakeOver => Action::CallTakeOver,
        }
    }
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Problem {
        match why {
            NotDone::NotTalking
            | NotDone::NotYours
            | NotDone::NotThere
            | NotDone::Talks
            | NotDone::Rings
            | NotDone::Taken
            | NotDone::Nobody
            | NotDone::NotParked
            | NotDone::Transfer
            | NotDone::TooMany => Problem::new(StatusCode::CONFLICT, why.to_string()),
        }
    }
}

/// Rings the supervisor's phone and lets them into the call; of one who is in already, changes how. The citizen is told
/// nothing. While the phone rings and the supervisor is there, no caller is offered to them.
#[utoipa::path(post, path = "/calls/live/{contact}/supervision", tag = "calls", params(("contact" = String, Path)),
    request_body = WantedSupervision, security(("bearer" = [])),
    responses((status = 202, description = "their phone is rung, or the mode is another", body = Asked),
        (status = 409, description = "the call does not allow it now, or the phone is away or in use",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn begin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    Json(wanted): Json<WantedSupervision>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let call = find(&api, &caller, wanted.mode.action(), &contact)?;
    supervise(&api, &caller, &call, &wanted).await
}

/// The same of the call in which an agent talks now.
#[utoipa::path(post, path = "/agents/{name}/supervision", tag = "agents", params(("name" = String, Path), SiteQuery),
    request_body = WantedSupervision, security(("bearer" = [])),
    responses((status = 202, description = "their phone is rung, or the mode is another", body = Asked),
        (status = 409, description = "the agent is in no call, or the phone is away or in use",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn of_agent(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query<SiteQuery>,
    Json(wanted): Json<WantedSupervision>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let action = wanted.mode.action();
    let (site, _) = caller.one_site(action, query.site.as_deref())?;
    caller.may(action, Object::One { site: &site.code, owner: Some(&name) }, audit_name(&name))?;
    let agent = api.node.live.agent(site.id, &name).ok_or_else(Problem::not_found)?;
    let call = agent.contact.and_then(|contact| api.node.live.call(contact));
    let call = call.filter(|call| call.view.stage.is_some());
    let call = call.ok_or_else(|| Problem::new(StatusCode::CONFLICT, "this agent is in no call of the queues"))?;
    supervise(&api, &caller, &call, &wanted).await
}

/// The supervisor's phone is hung up, or rung no more; citizen and agent go on.
#[utoipa::path(delete, path = "/calls/live/{contact}/supervision", tag = "calls", params(("contact" = String, Path)),
    security(("bearer" = [])),
    responses((status = 202, description = "ended", body = Asked),
        (status = 409, description = "nobody supervises it", content_type = "application/problem+json",
            body = Body9457), Problems))]
pub async fn end(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let call = find(&api, &caller, Action::CallListen, &contact)?;
    ask(&api, &caller, Action::CallListen, &call, (None, Ask::Leave)).await
}

/// Takes the agent out (强拆); the citizen is in the line again, at the old place. `hang-up` ends the call instead.
#[utoipa::path(post, path = "/calls/live/{contact}/release", tag = "calls", params(("contact" = String, Path)),
    security(("bearer" = [])),
    responses((status = 202, description = "the citizen waits for another agent", body = Asked),
        (status = 409, description = "no agent talks in it, or a transfer is under way",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn release(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let call = find(&api, &caller, Action::CallRelease, &contact)?;
    ask(&api, &caller, Action::CallRelease, &call, (None, Ask::Release)).await
}

/// Parks the citizen (寄存): the agent is free, the citizen has music until somebody fetches them. After the queue's
/// `park_recall_s` the agent's phone is rung again; if that comes to nothing, the citizen is in the line at the old place.
#[utoipa::path(post, path = "/calls/live/{contact}/park", tag = "calls", params(("contact" = String, Path)),
    security(("bearer" = [])),
    responses((status = 202, description = "parked", body = Asked),
        (status = 409, description = "no agent talks in it, or a transfer is under way",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn park(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let call = find(&api, &caller, Action::CallPark, &contact)?;
    // Who may speak for others is not held to be the one who talks.
    let own = call.agent() == Some(&*caller.actor.name);
    let own = call.view.agents.first().copied().filter(|_| own);
    ask(&api, &caller, Action::CallPark, &call, (own, Ask::Park)).await
}

/// Rings an agent's phone and gives them a parked citizen (取回).
#[utoipa::path(post, path = "/calls/live/{contact}/pickup", tag = "calls", params(("contact" = String, Path)),
    request_body = WantedPickup, security(("bearer" = [])),
    responses((status = 202, description = "the phone is rung", body = Asked),
        (status = 409, description = "it is not parked, or the phone is away or in use",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn pickup(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    Json(wanted): Json<WantedPickup>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    // Whoever asks for their own phone may; for another's only who may ask for any.
    let name = wanted.agent.as_deref().unwrap_or(&caller.actor.name);
    caller.site(Action::CallPickUp, None)?;
    let id: ContactId = paging::id(&contact)?;
    let call = api.node.live.call(id).ok_or_else(Problem::not_found)?;
    let code = api.codes().of(call.view.site).to_owned();
    caller.may(Action::CallPickUp, Object::One { site: &code, owner: Some(name) }, &id.to_string())?;
    let agent = phone(&api, call.view.site, name)?;
    ask(&api, &caller, Action::CallPickUp, &call, (None, Ask::PickUp { agent })).await
}

/// The live call, if this may be done to it.
fn find(api: &Api, caller: &Caller, action: Action, contact: &str) -> Result<live::Call, Problem> {
    // Nobody without the right learns which contacts exist.
    caller.site(action, None)?;
    let contact: ContactId = paging::id(contact)?;
    let call = api.node.live.call(contact).ok_or_else(Problem::not_found)?;
    let code = api.codes().of(call.view.site).to_owned();
    caller.may(action, Object::One { site: &code, owner: call.agent() }, &contact.to_string())?;
    Ok(call)
}

async fn supervise(
    api: &Api,
    caller: &Caller,
    call: &live::Call,
    wanted: &WantedSupervision,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let name = wanted.supervisor.as_deref().unwrap_or(&caller.actor.name);
    let known = api.node.live.agent(call.view.site, name).map(|agent| agent.id);
    let here = call.view.supervision.as_ref().map(|it| it.agent);
    let agent = match known {
        // One who is there, or being rung, has the phone in use.
        Some(agent) if here == Some(agent) => agent,
        Some(_) | None => phone(api, call.view.site, name)?,
    };
    let ask_for = Ask::Supervise { agent, mode: wanted.mode.mode() };
    ask(api, caller, wanted.mode.action(), call, (None, ask_for)).await
}

/// The agent of this name, whose phone can be rung now.
fn phone(api: &Api, site: SiteId, name: &str) -> Result<AgentId, Problem> {
    let unknown = format!("\"{}\" is no agent of this site: name one whose phone is to ring", audit_name(name));
    let agent = api.node.live.agent(site, name);
    let agent = agent.ok_or_else(|| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, unknown))?;
    let code = api.codes().of(site).to_owned();
    match dial::unavailable(api, &super::auth::Site { id: site, code: code.into() }, &agent) {
        Some(why) => Err(Problem::new(StatusCode::CONFLICT, why)),
        None => Ok(agent.id),
    }
}

async fn ask(
    api: &Api,
    caller: &Caller,
    action: Action,
    call: &live::Call,
    (own, ask): (Option<AgentId>, Ask),
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let seq = *api.node.live.watch().borrow();
    let wish = Wish { call: call.view.call, by: caller.actor.name.clone(), own, ask };
    let answer = (api.node.intervene)(wish)?;
    let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
    answer.map_err(|_late| Busy)?.map_err(|_gone| Busy)??;
    let name = call.view.contact.to_string();
    caller.done(call.view.site, action, &name);
    Ok((StatusCode::ACCEPTED, Json(Asked { contact: name, seq })))
}
