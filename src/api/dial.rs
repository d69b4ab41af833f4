//! `POST /calls`: a call to the outside (外呼) for an agent, whose phone rings first.
//!
//! Who calls about an order need not know the citizen's number, and never learns it here.

use super::auth::{Caller, Site};
use super::live_calls::Asked;
use super::may::{Action, Object};
use super::problem::{Body9457, Problem, Problems};
use super::{Api, SiteQuery, audit_name, idempotency, paging};
use crate::acd::event::AgentState;
use crate::base::{ContactId, OrderId};
use crate::node::dial::{NotDialled, Wish};
use crate::node::live;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// Longest number, in characters, separators included.
const NUMBER_CHARACTERS_MAX: usize = 40;

/// Whom to call, for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedCall {
    /// Whose phone rings first; by default that of the token's holder.
    pub agent: Option<String>,
    /// The order the call is about.
    pub order: Option<String>,
    /// Whom to call; by default the citizen of the order.
    pub number: Option<String>,
}

/// Calls a citizen for an agent: the agent's phone rings first, then the citizen's. Only what
/// `sip-profiles/dialling.toml` names is called. The call is recorded; what becomes of it is told by events. With an
/// `Idempotency-Key` the same request can be sent again for 24 hours.
#[utoipa::path(post, path = "/calls", tag = "calls", params(SiteQuery, ("Idempotency-Key" = Option<String>, Header)),
    request_body = WantedCall, security(("bearer" = [])),
    responses((status = 202, description = "asked for", body = Asked),
        (status = 409, description = "the agent's phone is not registered, or in use",
            content_type = "application/problem+json", body = Body9457),
        (status = 422, description = "no number, or the key stood for another request",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn dial(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
    headers: HeaderMap,
    Json(wanted): Json<WantedCall>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let (site, _) = caller.one_site(Action::CallDial, query.site.as_deref())?;
    let name = wanted.agent.as_deref().unwrap_or(&caller.actor.name);
    caller.may(Action::CallDial, Object::One { site: &site.code, owner: Some(name) }, audit_name(name))?;
    let agent = api.node.live.agent(site.id, name).ok_or_else(Problem::not_found)?;
    let (number, order) = whom(&api, &site, &wanted).await?;
    let key = idempotency::key(&headers)?;
    let request = format!("dial {} {name} {number} {order:?}", site.code);
    let act = || ask(&api, &caller, (&site, &agent), (number, order));
    let asked = match key {
        Some(key) => api.answers.once(Instant::now(), &caller.actor, key, &request, act)?,
        None => act()?,
    };
    Ok((StatusCode::ACCEPTED, Json(asked)))
}

/// The number: the one given, or that of the order's citizen.
async fn whom(api: &Api, site: &Site, wanted: &WantedCall) -> Result<(String, Option<OrderId>), Problem> {
    let order: Option<OrderId> = paging::optional_id(wanted.order.as_deref(), "order")?;
    let citizen = match order {
        Some(order) => Some(api.node.store.site(&site.code).order(order).await?.ok_or_else(Problem::not_found)?.caller),
        None => None,
    };
    let missing = "name a number, or an order whose citizen did not withhold it";
    let number = wanted.number.clone().or(citizen).filter(|number| !number.is_empty());
    let number = number.ok_or_else(|| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, missing))?;
    if number.chars().count() > NUMBER_CHARACTERS_MAX {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "a number has at most 40 characters"));
    }
    Ok((number, order))
}

fn ask(
    api: &Api,
    caller: &Caller,
    (site, agent): (&Site, &live::Agent),
    (number, order): (String, Option<OrderId>),
) -> Result<Asked, Problem> {
    if let Some(why) = unavailable(api, site, agent) {
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let contact = ContactId(api.mint());
    let seq = *api.node.live.watch().borrow();
    (api.node.dial)(Wish { contact, site: site.id, agent: agent.id, number: number.into(), order })?;
    let name = contact.to_string();
    caller.done(site.id, Action::CallDial, &name);
    Ok(Asked { contact: name, seq })
}

/// Why the phone of an agent cannot be rung beside the queues now.
pub(super) fn unavailable(api: &Api, site: &Site, agent: &live::Agent) -> Option<&'static str> {
    let busy = match &agent.state {
        AgentState::Offline | AgentState::Ready | AgentState::WrapUp => None,
        AgentState::NotReady { reason } if **reason != *"own_call" => None,
        AgentState::NotReady { .. } | AgentState::Talking => Some("the agent is on a call"),
        AgentState::Offered => Some("the agent's phone rings"),
    };
    // Who is not logged in may be on a call of their own.
    let (_, snapshot) = api.snapshot(Some(site));
    let talks = snapshot.objects.iter().any(|change| match &change.object {
        live::Object::Call(call) => call.view.stage.is_some() && call.owner(&agent.name) == Some(&*agent.name),
        live::Object::Agent(_) | live::Object::Queue(_) => false,
    });
    let busy = busy.or(talks.then_some("the agent is on a call"));
    let away = (!agent.phone_up).then_some("the agent's phone is not registered");
    away.or(busy)
}

impl From<NotDialled> for Problem {
    fn from(why: NotDialled) -> Problem {
        let status = match why {
            NotDialled::Number(_) => StatusCode::UNPROCESSABLE_ENTITY,
            NotDialled::NotListed => StatusCode::FORBIDDEN,
            NotDialled::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, why.to_string())
    }
}
