//! `/queues`: figures of the queues, as a wallboard shows them.

use super::auth::Caller;
use super::may::Action;
use super::problem::{Problem, Problems};
use super::{Api, SiteQuery};
use crate::node::live;
use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A queue as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Code of the site.
    pub site: String,
    /// Name.
    pub name: String,
    /// Callers no human has answered yet, those whose agent is being rung included.
    pub waiting: usize,
    /// Since when the longest of them waits, in milliseconds since 1970.
    pub longest_since: Option<i64>,
    /// Callers who talk to an agent.
    pub talking: usize,
    /// Ready agents with the skills of this queue.
    pub ready: usize,
}

/// All queues the caller may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queues {
    /// In order of configuration.
    pub items: Vec<Queue>,
}

impl Queue {
    /// As the API shows it.
    pub fn show(queue: &live::Queue, site: &str) -> Queue {
        Queue {
            site: site.to_owned(),
            name: queue.name.to_string(),
            waiting: queue.waiting,
            longest_since: queue.longest_since.map(|since| since.0),
            talking: queue.talking,
            ready: queue.ready,
        }
    }
}

/// Figures of all queues the caller may see.
#[utoipa::path(get, path = "/queues", tag = "queues", params(SiteQuery), security(("bearer" = [])),
    responses((status = 200, body = Queues), Problems))]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<SiteQuery>,
) -> Result<Json<Queues>, Problem> {
    let (site, _) = caller.site(Action::QueueRead, query.site.as_deref())?;
    let (codes, snapshot) = api.snapshot(site.as_ref());
    let queues = snapshot.objects.iter().filter_map(|change| match &change.object {
        live::Object::Queue(queue) => Some(Queue::show(queue, codes.of(queue.site))),
        live::Object::Agent(_) | live::Object::Call(_) => None,
    });
    Ok(Json(Queues { items: queues.collect() }))
}
