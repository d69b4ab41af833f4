//! `/calls/{contact}/routing`: why this agent and no other.

use super::Api;
use super::auth::Caller;
use super::may::{Action, Object, Reach};
use super::paging::id;
use super::problem::{Problem, Problems};
use super::{SiteQuery, audit_name};
use crate::base::ContactId;
use crate::store::routing::replay::{Asked, ExplainError, Explanation, explain};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use std::sync::Arc;

/// Most explanations worked out at once: each reads up to a gigabyte.
pub const EXPLANATIONS_MAX: usize = 2;

/// How one call found its agent: for each decision who was eligible, who was not and why, and which rule chose. Worked out
/// anew from what the queues were told, which is kept for the days that the configuration names.
#[utoipa::path(get, path = "/calls/{contact}/routing", tag = "calls", params(("contact" = String, Path), SiteQuery),
    security(("bearer" = [])), responses((status = 200, body = Explanation),
    (status = 410, description = "What the queues were told then is not kept, or not whole", content_type = "application/problem+json",
        body = super::problem::Body9457), Problems))]
pub async fn of_call(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(contact): Path<String>,
    query: Query<SiteQuery>,
) -> Result<Json<Explanation>, Problem> {
    let (site, _) = caller.one_site(Action::CallRead, query.site.as_deref())?;
    let id = id::<ContactId>(&contact)?;
    let detail = api.node.store.site(&site.code).call(id).await?.ok_or_else(Problem::not_found)?;
    let object = Object::One { site: &detail.call.site, owner: detail.call.agent.as_deref() };
    let grant = caller.may(Action::CallRead, object, audit_name(&contact))?;
    if grant.reach == Reach::Own {
        // It tells of all the site's agents what they did.
        return Err(Problem::forbidden());
    }
    let _place =
        api.explanations.try_acquire().map_err(|_| Problem::busy("other explanations are being worked out"))?;
    let asked = Asked::of_record(id, &detail.call, (api.node.wall)());
    let (folder, code) = (api.node.routing.join(&*site.code), site.code.to_string());
    let worked_out = tokio::task::spawn_blocking(move || explain(&folder, &code, asked));
    let explanation = worked_out.await.map_err(|_panicked| Problem::fault())?;
    explanation.map(Json).map_err(Problem::from)
}

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Problem {
        match &error {
            ExplainError::System(_) => {
                tracing::warn!(%error, "a routing cannot be explained");
                Problem::fault()
            }
            ExplainError::NotKept
            | ExplainError::Gone(_)
            | ExplainError::Gap { .. }
            | ExplainError::TooLong
            | ExplainError::Unreadable { .. } => Problem::new(StatusCode::GONE, error.to_string()),
        }
    }
}
