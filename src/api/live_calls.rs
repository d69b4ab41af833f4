//! `/calls/live`: calls as they stand, and ending them.

use super::auth::Caller;
use super::may::{Action, Grant, Object, Reach};
use super::problem::{Problem, Problems};
use super::{Api, SiteQuery};
use super::{idempotency, paging};
use crate::base::ContactId;
use crate::base::fact::{Direction, Stage};
use crate::call::transfer::TransferView;
use crate::node::live;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// A live call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveCall {
    /// Its lasting id.
    pub contact: String,
    /// Code of the site.
    pub site: String,
    /// `inbound` or `outbound`.
    pub direction: CallDirection,
    /// The caller's number as this role may see it; empty when withheld. Of an outbound call the hotline's own.
    pub caller: String,
    /// The dialled number; of an outbound call the citizen's, as this role may see it.
    pub dialled: String,
    /// Where it stands; `null` once it is over.
    pub stage: Option<CallStage>,
    /// Since when it stands there, in milliseconds since 1970.
    pub since: i64,
    /// Since when the caller waits for a human, over every ringing in vain.
    pub waiting_since: Option<i64>,
    /// When it came.
    pub offered: i64,
    /// Queue it waits in or came by.
    pub queue: Option<String>,
    /// Agent who talks or is rung; of several who are rung together the first.
    pub agent: Option<String>,
    /// The present transfer, or the last one.
    pub transfer: Option<LiveTransfer>,
    /// The agent has left the citizen on hold.
    pub hold: Option<LiveHold>,
    /// The citizen is parked.
    pub parked: Option<LivePark>,
    /// Who is beside the talking agent; shown to those who see the whole site, never to the agent.
    pub supervision: Option<LiveSupervision>,
}

/// A citizen on hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveHold {
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// For longer than the queue's `hold_recall_s`.
    pub overdue: bool,
}

/// A parked citizen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LivePark {
    /// Who parked them.
    pub by: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
}

/// Somebody beside the talking agent, or whose phone is rung for a parked citizen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveSupervision {
    /// Whose phone it is.
    pub supervisor: String,
    /// `listen`, `whisper`, `barge` or `take_over`; `null` of one who fetches a parked citizen.
    pub mode: Option<String>,
    /// Whether they are there; else their phone is rung.
    pub with: bool,
}

/// A transfer as it stands, or as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveTransfer {
    /// Name of the target.
    pub target: String,
    /// `emergency`, `utility`, `sub_center`, `expert` or `police_ticket`.
    pub kind: String,
    /// It is an exercise (演练): the target is a simulated one.
    pub drill: bool,
    /// `dialling`, `consulting`, `joined` or `handed`; `null` once it is over.
    pub phase: Option<String>,
    /// `completed`, `returned`, `busy`, `no_answer`, `unreachable`, `cancelled`, `caller_gone` or `lost`.
    pub result: Option<String>,
    /// The target has answered, but for three seconds and until now no sound has come from it (no RTP): whoever consulted with
    /// it is together with the citizen meanwhile.
    pub mute: bool,
    /// The number to dial by hand, when an emergency line could not be reached.
    pub dial: Option<String>,
}

impl LiveTransfer {
    fn show(view: &TransferView) -> LiveTransfer {
        LiveTransfer {
            target: view.target.to_string(),
            kind: view.kind.word().to_owned(),
            drill: view.drill,
            phase: view.phase.map(|phase| phase.word().to_owned()),
            result: view.result.map(|result| result.word().to_owned()),
            mute: view.mute,
            dial: view.dial.as_deref().map(str::to_owned),
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStage {
    /// Not answered by the node yet.
    Offered,
    /// In the greeting or the menu.
    Ivr,
    /// Waiting in a queue.
    Queued,
    /// An agent's phone rings.
    Ringing,
    /// Talking to a human.
    Talking,
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallDirection {
    /// From a citizen to the hotline.
    Inbound,
    /// From an agent to the outside.
    Outbound,
}

impl From<Direction> for CallDirection {
    fn from(direction: Direction) -> CallDirection {
        match direction {
            Direction::Inbound => CallDirection::Inbound,
            Direction::Outbound => CallDirection::Outbound,
        }
    }
}

/// All live calls the caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveCalls {
    /// Oldest first.
    pub items: Vec<LiveCall>,
}

/// What a call action was asked for; its outcome is an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    /// The call.
    pub contact: String,
    /// The outcome's event has a higher `seq`.
    pub seq: u64,
}

impl From<Stage> for CallStage {
    fn from(stage: Stage) -> CallStage {
        match stage {
            Stage::Offered => CallStage::Offered,
            Stage::Ivr => CallStage::Ivr,
            Stage::Queued => CallStage::Queued,
            Stage::Ringing => CallStage::Ringing,
            Stage::Talking => CallStage::Talking,
        }
    }
}

impl LiveCall {
    /// As the API shows it.
    pub fn show(call: &live::Call, site: &str, grant: Grant) -> LiveCall {
        let Grant { reach, numbers } = grant;
        let beside = call.view.supervision.as_ref().filter(|_| reach == Reach::Site);
        let (caller, dialled) = match call.view.direction {
            Direction::Inbound => (numbers.show(&call.view.caller), call.view.dialled.to_string()),
            Direction::Outbound => (call.view.caller.to_string(), numbers.show(&call.view.dialled)),
        };
        LiveCall {
            contact: call.view.contact.to_string(),
            site: site.to_owned(),
            direction: call.view.direction.into(),
            caller,
            dialled,
            stage: call.view.stage.map(CallStage::from),
            since: call.view.since.0,
            waiting_since: call.waiting_since.map(|since| since.0),
            offered: call.view.offered.0,
            queue: call.queue.as_deref().map(str::to_owned),
            agent: call.agent().map(str::to_owned),
            transfer: call.view.transfer.as_ref().map(LiveTransfer::show),
            hold: call.view.hold.map(|hold| LiveHold { since: hold.since.0, overdue: hold.overdue }),
            parked: call.view.parked.as_ref().map(|parked| LivePark {
                by: call.beside.parked_by.as_deref().unwrap_or_default().to_owned(),
                since: parked.since.0,
            }),
            supervision: beside.map(|it| LiveSupervision {
                supervisor: call.beside.supervisor.as_deref().unwrap_or_default().to_owned(),
                mode: it.mode.map(|mode| mode.word().to_owned()),
                with: it.with,
            }),
        }
    }
}

/// All live calls the caller may see.
#[utoipa::path(get, path = "/calls/live", tag = "calls", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = LiveCalls), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<LiveCalls>, Problem> {
    let (site, grant) = caller.site(Action::LiveRead, query.site.as_deref())?;
    let (codes, snapshot) = api.snapshot(site.as_ref());
    let mut items = Vec::new();
    for change in &snapshot.objects {
        let live::Object::Call(call) = &change.object else {
            continue;
        };
        if grant.reach == Reach::Site || call.owner(&caller.actor.name) == Some(&*caller.actor.name) {
            items.push(LiveCall::show(call, codes.of(call.view.site), grant));
        }
    }
    items.sort_by(|a, b| (a.offered, &a.contact).cmp(&(b.offered, &b.contact)));
    Ok(Json(LiveCalls { items }))
}

/// Ends a live call (强拆). With an `Idempotency-Key` the same request can be sent again for 24 hours.
#[utoipa::path(post, path = "/calls/live/{contact}/hang-up", tag = "calls",
    params(("contact" = String, Path), ("Idempotency-Key" = Option<String>, Header)), security(("bearer" = [])),
    responses((status = 202, description = "asked for", body = Asked),
        (status = 422, description = "the key stood for another request", content_type = "application/problem+json",
            body = super::problem::Body9457), Problems))]
pub async fn hang_up(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    // Nobody without the right learns which contacts exist.
    caller.site(Action::CallHangUp, None)?;
    let contact: ContactId = paging::id(&contact)?;
    let act = || end(&api, &caller, contact);
    let asked = match idempotency::key(&headers)? {
        Some(key) => {
            let request = format!("hang-up {contact}");
            api.answers.once(Instant::now(), &caller.actor, key, &request, act)?
        }
        None => act()?,
    };
    Ok((StatusCode::ACCEPTED, Json(asked)))
}

fn end(api: &Api, caller: &Caller, contact: ContactId) -> Result<Asked, Problem> {
    let call = api.node.live.call(contact).ok_or_else(Problem::not_found)?;
    let code = api.codes().of(call.view.site).to_owned();
    let object = Object::One { site: &code, owner: call.agent() };
    let name = contact.to_string();
    caller.may(Action::CallHangUp, object, &name)?;
    let seq = *api.node.live.watch().borrow();
    (api.node.hang_up)(call.view.call)?;
    caller.done(call.view.site, Action::CallHangUp, &name);
    Ok(Asked { contact: name, seq })
}
