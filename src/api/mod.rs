//! The HTTP API under `/api/v1`, and `/metrics`: JSON by resource, events as SSE, described by OpenAPI 3.1.
//!
//! Owns routes, the one access check ([`may`]) and problem bodies (RFC 9457). Decides nothing about telephony: a call
//! action is handed to the node, answered 202, and its outcome is an event. Never waits for signalling, never holds a
//! lock over a wait, and never answers without a bound on body, time and number at once.

pub mod agents;
mod archived;
pub mod audit;
pub mod auth;
pub mod bans;
pub mod callbacks;
pub mod calls;
pub mod context;
pub mod dial;
pub mod events;
pub mod figures;
pub mod health;
pub mod idempotency;
mod listen;
pub mod live_calls;
pub mod may;
pub mod metrics;
pub mod modes;
pub mod orders;
mod page;
pub mod paging;
pub mod peaks;
pub mod problem;
pub mod queues;
pub mod recordings;
mod routing;
pub mod seats;
pub mod supervision;
pub mod transfers;
pub mod trunks;

use crate::acd::event::Want;
use crate::base::fact::Audit;
use crate::base::{AgentId, CallId, Mint, SiteId, Wall};
use crate::call::ahead::Links;
use crate::call::transfer::Ask;
use crate::edge::event::{Ban, Source};
use crate::modes::{Hand, View};
use crate::node::archive::Archive;
use crate::node::callbacks as callbacks_node;
use crate::node::dial::{NotDialled, Wish};
use crate::node::internals::Internals;
use crate::node::interventions::{Answer as InterventionAnswer, Wish as Intervention};
use crate::node::live::{Live, Snapshot};
use crate::node::transfers::{Answer, Busy as TransferBusy, Seen};
use crate::store::Store;

use arc_swap::ArcSwap;
pub use listen::{CONNECTIONS_MAX, Connections, DRAIN_MAX, HEADER_MAX, serve};

use auth::{Site, TokenSettings};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use live_calls::Asked;
use problem::Problem;
use serde::Deserialize;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most requests answered at once; beyond it 503.
pub const REQUESTS_MAX: usize = 256;
/// Most event streams open at once; beyond it 503.
pub const STREAMS_MAX: usize = 1_024;
/// Longest time to an answer's head.
pub const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Most requests without a known token told to the audit in one second: strangers must not fill the journal.
pub const STRANGERS_PER_SECOND_MAX: usize = 20;
/// Longest name of an object told to the audit, in bytes.
const AUDIT_NAME_BYTES_MAX: usize = 128;

/// The node cannot take it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is too busy")]
pub struct Busy;

/// Hands the end of a call to its shard.
pub type HangUp = dyn Fn(CallId) -> Result<(), Busy> + Send + Sync;
/// Hands a wish for a call to the outside to a shard.
pub type Dial = dyn Fn(Wish) -> Result<(), NotDialled> + Send + Sync;
/// Hands a wish about a transfer to its call.
pub type Transfer =
    dyn Fn(CallId, Option<AgentId>, Ask) -> Result<oneshot::Receiver<Answer>, TransferBusy> + Send + Sync;
/// Hands a wish to step into a call to that call.
pub type Intervene = dyn Fn(Intervention) -> Result<oneshot::Receiver<InterventionAnswer>, TransferBusy> + Send + Sync;
/// Hands a wish about a call-back to those who call back.
pub type CallBack = dyn Fn(callbacks_node::Ask) -> Result<(), callbacks_node::NotTaken> + Send + Sync;
/// Tells the targets of a site.
pub type ListTargets = dyn Fn(SiteId) -> Vec<Seen> + Send + Sync;
/// Tells how links are made and read; `None` where there are none.
pub type ReadLinks = dyn Fn() -> Option<Arc<Links>> + Send + Sync;
/// Hands a wanted state to the ACD of the site.
pub type SetState = dyn Fn(SiteId, AgentId, Want, Option<Arc<str>>) -> Result<(), Busy> + Send + Sync;
/// Tells the node that an agent has another seat.
pub type Seated = dyn Fn() + Send + Sync;
/// Hands the wish for a longer wrap-up to the ACD of the site.
pub type Extend = dyn Fn(SiteId, AgentId, Duration) -> Result<(), Busy> + Send + Sync;
/// Takes what the audit must keep; the site is `None` when the request was about none. Must not wait.
pub type Tell = dyn Fn(Option<SiteId>, Audit) + Send + Sync;
/// Tells the modes of a site.
pub type ListModes = dyn Fn(SiteId) -> Vec<View> + Send + Sync;
/// Takes somebody's word on a mode, or takes it back; false when there is no such mode.
pub type SetMode = dyn Fn(SiteId, &str, Option<Hand>) -> bool + Send + Sync;
/// Tells which sources of SIP are banned.
pub type ListBans = dyn Fn() -> Vec<Ban> + Send + Sync;
/// Lifts a ban; false when there is none.
pub type LiftBan = dyn Fn(Source) -> bool + Send + Sync;
/// Shows the inside of the node.
pub type Inside = dyn Fn() -> Internals + Send + Sync;

/// What the API needs from the node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    /// The read model.
    pub live: Arc<Live>,
    /// Records.
    pub store: Store,
    /// Where recordings are whose files are gone; `None`: nowhere.
    pub archive: Option<Archive>,
    /// Below each of them stands one folder for each site, named by its code.
    pub recordings_roots: Vec<PathBuf>,
    /// Where what queues are told is kept, one folder for each site.
    pub routing: PathBuf,
    /// Who may ask; replaced by a reload.
    pub tokens: Arc<ArcSwap<Vec<TokenSettings>>>,
    /// Ends a call.
    pub hang_up: Arc<HangUp>,
    /// Asks for a call to the outside.
    pub dial: Arc<Dial>,
    /// Asks for a call-back, or for an end to it.
    pub call_back: Arc<CallBack>,
    /// Asks for a transfer, or for something about one.
    pub transfer: Arc<Transfer>,
    /// Steps into a call beside the queues.
    pub intervene: Arc<Intervene>,
    /// Tells the targets as configured now, and their lamps.
    pub targets: Arc<ListTargets>,
    /// Reads the links that targets were given.
    pub links: Arc<ReadLinks>,
    /// Asks for an agent's state.
    pub want: Arc<SetState>,
    /// To be called once an agent has another seat.
    pub seated: Arc<Seated>,
    /// Lengthens a wrap-up.
    pub extend: Arc<Extend>,
    /// Tells the audit.
    pub audit: Arc<Tell>,
    /// Tells the modes.
    pub modes: Arc<ListModes>,
    /// Takes a word on one.
    pub set_mode: Arc<SetMode>,
    /// Tells the bans.
    pub bans: Arc<ListBans>,
    /// Lifts one.
    pub lift_ban: Arc<LiftBan>,
    /// Shows the inside.
    pub internals: Arc<Inside>,
    /// The places for HTTP connections.
    pub connections: Connections,
    /// Reads the clock.
    pub wall: fn() -> Wall,
    /// Seed of request ids.
    pub seed: [u64; 2],
    /// Becomes `true`, or is dropped, when the node goes down: open streams end.
    pub closing: watch::Receiver<bool>,
}

/// The state behind the routes.
pub struct Api {
    node: Node,
    ids: Mutex<Mint>,
    answers: idempotency::Answers<Asked>,
    requests: Semaphore,
    figures: Semaphore,
    explanations: Semaphore,
    streams: Arc<Semaphore>,
    strangers: Mutex<VecDeque<Instant>>,
    uses: context::Uses,
}

/// A request about a site.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SiteQuery {
    /// Code of the site; a token for one site need not name it.
    pub site: Option<String>,
}

/// Codes of sites by id.
struct Codes(Vec<Arc<str>>);

#[derive(OpenApi)]
#[openapi(
    info(title = "Jiesu 接诉", description = "Telephony and CTI engine of a 12345 citizen hotline"),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// All routes.
pub fn router(node: Node) -> Router {
    let api = Arc::new(Api {
        ids: Mutex::new(Mint::new(0, node.seed)),
        answers: idempotency::Answers::default(),
        requests: Semaphore::new(REQUESTS_MAX),
        figures: Semaphore::new(figures::FIGURES_MAX),
        explanations: Semaphore::new(routing::EXPLANATIONS_MAX),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        strangers: Mutex::default(),
        uses: context::Uses::default(),
        node,
    });
    let (router, document) = described().split_for_parts();
    let document = axum::Json(document);
    router
        .route("/api/v1/openapi.json", axum::routing::get(|| async move { document }))
        .merge(page::routes())
        .layer(CatchPanicLayer::custom(Problem::of_panic))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&api), bounded))
        .layer(from_fn_with_state(Arc::clone(&api), problem::finish))
        .with_state(api)
}

/// The description of the API, as `/openapi.json` tells it.
pub fn description() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

fn described() -> OpenApiRouter<Arc<Api>> {
    let v1 = OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::internals))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(agents::list))
        .routes(routes!(agents::one))
        .routes(routes!(agents::set_state))
        .routes(routes!(agents::extend_wrap_up))
        .routes(routes!(seats::list))
        .routes(routes!(seats::take, seats::leave))
        .routes(routes!(queues::list))
        .routes(routes!(modes::list))
        .routes(routes!(modes::set))
        .routes(routes!(trunks::list))
        .routes(routes!(figures::of_calls))
        .routes(routes!(figures::of_agents))
        .routes(routes!(figures::answer_rate))
        .routes(routes!(live_calls::list))
        .routes(routes!(live_calls::hang_up))
        .routes(routes!(calls::list, dial::dial))
        .routes(routes!(callbacks::list, callbacks::ask))
        .routes(routes!(callbacks::withdraw))
        .routes(routes!(callbacks::missed))
        .routes(routes!(transfers::targets))
        .routes(routes!(context::undelivered))
        .routes(routes!(transfers::begin))
        .routes(routes!(transfers::step))
        .routes(routes!(supervision::begin, supervision::end))
        .routes(routes!(supervision::of_agent))
        .routes(routes!(supervision::release))
        .routes(routes!(supervision::park))
        .routes(routes!(supervision::pickup))
        .routes(routes!(calls::one))
        .routes(routes!(calls::operation))
        .routes(routes!(routing::of_call))
        .routes(routes!(orders::list))
        .routes(routes!(orders::one))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::one))
        .routes(routes!(recordings::audio))
        .routes(routes!(peaks::peaks))
        .routes(routes!(audit::list))
        .routes(routes!(events::follow));
    // Where scrapers look for it by default.
    let metrics = OpenApiRouter::new().routes(routes!(metrics::metrics));
    // Short, for it stands in every INVITE, and apart from what wants a bearer token.
    let context = OpenApiRouter::new()
        .routes(routes!(context::open))
        .routes(routes!(context::back::operation))
        .routes(routes!(context::back::raise_order))
        .routes(routes!(context::back::three_way))
        .layer(from_fn(context::guarded));
    OpenApiRouter::with_openapi(Description::openapi()).nest("/api/v1", v1).merge(metrics).merge(context)
}

/// A bound on how many requests are answered at once, and how long each may take to its head.
async fn bounded(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Ok(_place) = api.requests.try_acquire() else {
        return Problem::busy("too many requests at once").into_response();
    };
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy("the answer took too long").into_response(),
    }
}

impl Api {
    fn wall(&self) -> Wall {
        (self.node.wall)()
    }

    fn request_id(&self) -> String {
        crate::base::FactId(self.mint()).to_string()
    }

    /// A new id.
    fn mint(&self) -> u128 {
        let wall = self.wall();
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).mint(wall)
    }

    fn audit(&self, site: Option<SiteId>, audit: Audit) {
        (self.node.audit)(site, audit);
    }

    /// Tells the audit of a request without a known token, while there are not too many.
    fn refuse_stranger(&self, from: Box<str>, path: &str) {
        let now = Instant::now();
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        while strangers.front().is_some_and(|seen| now.duration_since(*seen) >= Duration::from_secs(1)) {
            strangers.pop_front();
        }
        if strangers.len() >= STRANGERS_PER_SECOND_MAX {
            return;
        }
        strangers.push_back(now);
        drop(strangers);
        let object = audit_name(path).into();
        let (actor, role, action) = ("".into(), "".into(), "token.check".into());
        self.audit(None, Audit { actor, role, action, object, allowed: false, from });
    }

    fn codes(&self) -> Codes {
        Codes(self.node.live.sites())
    }

    fn snapshot(&self, site: Option<&Site>) -> (Codes, Snapshot) {
        (self.codes(), self.node.live.snapshot(site.map(|site| site.id)))
    }

    /// Returns when the node goes down.
    async fn closing(&self) {
        // An error here is the sender gone without a word: the same end.
        let _ = self.node.closing.clone().wait_for(|closing| *closing).await;
    }
}

impl Codes {
    /// The code of a site; empty for one that a reload has just taken away, which is nobody's.
    fn of(&self, site: SiteId) -> &str {
        self.0.get(site.index()).map_or("", |code| code)
    }
}

/// As much of a name from outside as the audit keeps.
fn audit_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(AUDIT_NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests;
