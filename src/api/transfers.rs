//! `/targets` and `/calls/live/{contact}/transfer`: bringing somebody else into a talk (一键转接).
//!
//! The call judges and answers at once; what becomes of the target is told by events and stands in the call's record.

use super::auth::Caller;
use super::live_calls::Asked;
use super::may::{Action, Object};
use super::problem::{Body9457, Problem, Problems};
use super::{Api, SiteQuery, paging};
use crate::base::fact::TransferMode;
use crate::base::{AgentId, CallId, ContactId, Wall};
use crate::call::lamp::LastTry;
use crate::call::transfer::{Ask, NotTransferred};
use crate::node::transfers::{Busy, Seen};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// A call answers within one pass of its shard.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// To whom a citizen can be transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownTarget {
    /// By which it is asked for.
    pub name: String,
    /// As agents read it.
    pub title: String,
    /// `emergency`, `utility`, `sub_center`, `expert` or `police_ticket`.
    pub kind: String,
    /// It is a simulated one, for exercises (演练).
    pub drill: bool,
    /// What an agent presses for it.
    pub key: Option<String>,
    /// Whether it is in service now, by its dates and hours.
    pub open: bool,
    /// `free`, `busy` or `unreachable`: whether a transfer to it would be worth trying. It refuses nothing.
    pub light: String,
    /// How that is known: `ready`; `trunks_down`, none of its trunks may be used; `trunks_full`, they have no channel left;
    /// `target_full`, it has as many of our calls as its `channels`; `last_try`, so the last transfer went.
    pub why: String,
    /// Since when, in milliseconds since 1970, where that is known.
    pub since: Option<i64>,
    /// Calls of ours that are with it, or on the way there.
    pub running: u32,
    /// How the last transfer to it went, since the start of the node.
    pub last: Option<ShownTry>,
}

/// How the last transfer to a target went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownTry {
    /// When it was over, in milliseconds since 1970.
    pub at: i64,
    /// `completed`, `returned`, `busy`, `no_answer`, `unreachable`, `cancelled`, `caller_gone` or `lost`.
    pub result: String,
    /// Final SIP status of the last route; 200 when it was answered, 408 when nothing came in time.
    pub status: Option<u16>,
}

impl ShownTarget {
    fn show(Seen { target, lamp, used }: &Seen, now: Wall) -> ShownTarget {
        ShownTarget {
            name: target.name.to_string(),
            title: target.title.to_string(),
            kind: target.kind.word().to_owned(),
            drill: target.drill,
            key: target.key.as_deref().map(str::to_owned),
            open: target.hours.open(now).is_ok(),
            light: lamp.light.word().to_owned(),
            why: lamp.why.word().to_owned(),
            since: lamp.since.map(|since| since.0),
            running: used.running,
            last: used.last.map(|LastTry { at, result, status }| ShownTry {
                at: at.0,
                result: result.word().to_owned(),
                status,
            }),
        }
    }
}

/// All targets of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownTargets {
    /// In the order of the files.
    pub items: Vec<ShownTarget>,
}

/// Who is to be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedTransfer {
    /// Name of the target, letter by letter.
    pub target: String,
    /// Who hears whom until then; by default `conference`.
    #[serde(default)]
    pub mode: WantedMode,
    /// Why; 1 to 200 characters.
    pub reason: String,
}

/// Who hears whom until the target is there, and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WantedMode {
    /// Agent and citizen stay together; then all three are.
    #[default]
    Conference,
    /// The citizen has music; agent and target talk.
    Consult,
    /// The citizen has music; the agent leaves as soon as the target answers.
    Blind,
}

/// What is asked of a transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// All three hear each other.
    Join,
    /// The agent leaves.
    Complete,
    /// The target is hung up.
    Cancel,
}

impl From<WantedMode> for TransferMode {
    fn from(mode: WantedMode) -> TransferMode {
        match mode {
            WantedMode::Conference => TransferMode::Conference,
            WantedMode::Consult => TransferMode::Consult,
            WantedMode::Blind => TransferMode::Blind,
        }
    }
}

impl From<NotTransferred> for Problem {
    fn from(why: NotTransferred) -> Problem {
        let status = match why {
            NotTransferred::UnknownTarget | NotTransferred::NoReason => StatusCode::UNPROCESSABLE_ENTITY,
            NotTransferred::NotListed => StatusCode::FORBIDDEN,
            NotTransferred::NotTalking
            | NotTransferred::NotYours
            | NotTransferred::NotYet
            | NotTransferred::Expired
            | NotTransferred::Closed
            | NotTransferred::Second
            | NotTransferred::UnderWay
            | NotTransferred::None
            | NotTransferred::TooMany => StatusCode::CONFLICT,
        };
        Problem::new(status, why.to_string())
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
    }
}

/// To whom citizens of a site can be transferred.
#[utoipa::path(get, path = "/targets", tag = "calls", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = ShownTargets), Problems))]
pub async fn targets(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<ShownTargets>, Problem> {
    let (site, _) = caller.one_site(Action::CallTransfer, query.site.as_deref())?;
    let now = (api.node.wall)();
    let items = (api.node.targets)(site.id).iter().map(|seen| ShownTarget::show(seen, now)).collect();
    Ok(Json(ShownTargets { items }))
}

/// Brings a target into a talk: a sub-center, an expert, an emergency line. Refused with what stands in the way; whatever
/// fails later leaves agent and citizen together.
#[utoipa::path(post, path = "/calls/live/{contact}/transfer", tag = "calls", params(("contact" = String, Path)),
    request_body = WantedTransfer, security(("bearer" = [])),
    responses((status = 202, description = "begun", body = Asked),
        (status = 409, description = "the call or the target does not allow it now",
            content_type = "application/problem+json", body = Body9457),
        (status = 422, description = "no such target, or no reason",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn begin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    Json(wanted): Json<WantedTransfer>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let WantedTransfer { target, mode, reason } = wanted;
    ask(&api, &caller, &contact, Ask::Start { target: target.into(), mode: mode.into(), reason: reason.into() }).await
}

/// Goes on with a transfer: `join`, `complete` or `cancel`.
#[utoipa::path(post, path = "/calls/live/{contact}/transfer/{step}", tag = "calls",
    params(("contact" = String, Path), ("step" = inline(Step), Path)), security(("bearer" = [])),
    responses((status = 202, description = "done, or done as soon as the target is there", body = Asked),
        (status = 409, description = "no transfer is under way",
            content_type = "application/problem+json", body = Body9457), Problems))]
pub async fn step(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((contact, step)): Path<(String, Step)>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let wanted = match step {
        Step::Join => Ask::Join,
        Step::Complete => Ask::Complete,
        Step::Cancel => Ask::Cancel,
    };
    ask(&api, &caller, &contact, wanted).await
}

async fn ask(api: &Api, caller: &Caller, contact: &str, wanted: Ask) -> Result<(StatusCode, Json<Asked>), Problem> {
    // Nobody without the right learns which contacts exist.
    caller.site(Action::CallTransfer, None)?;
    let contact: ContactId = paging::id(contact)?;
    let call = api.node.live.call(contact).ok_or_else(Problem::not_found)?;
    let code = api.codes().of(call.view.site).to_owned();
    let name = contact.to_string();
    caller.may(Action::CallTransfer, Object::One { site: &code, owner: call.agent() }, &name)?;
    // Who may speak for others is not held to be the one who talks.
    let own = call.agent() == Some(&*caller.actor.name);
    let by: Option<AgentId> = call.view.agents.first().copied().filter(|_| own);
    let seq = tell(api, call.view.call, by, wanted).await?;
    caller.done(call.view.site, Action::CallTransfer, &name);
    Ok((StatusCode::ACCEPTED, Json(Asked { contact: name, seq })))
}

/// Hands a wish to its call; what comes of it has a higher `seq` than the one returned.
pub(super) async fn tell(api: &Api, call: CallId, by: Option<AgentId>, wanted: Ask) -> Result<u64, Problem> {
    let seq = *api.node.live.watch().borrow();
    let answer = (api.node.transfer)(call, by, wanted)?;
    let answer = tokio::time::timeout(ANSWER_MAX, answer).await;
    answer.map_err(|_late| Busy)?.map_err(|_gone| Busy)??;
    Ok(seq)
}
