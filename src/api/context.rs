//! `/context/{token}`: what a target finds under the link it was given; and `/targets/undelivered`, what targets were not told.
//!
//! The token is the right: who holds it sees one transfer of one contact until it runs out, and nothing else. Every wrong
//! token has the same answer. Owns how often a link may be used, and what of a contact is shown. Never tells which contacts
//! exist.

use super::auth::{Caller, Site};
use super::may::Action;
use super::paging::{Paged, page as page_of};
use super::problem::{Body9457, Problem, Problems};
use super::{Api, SiteQuery};
use crate::base::fact::Audit;
use crate::base::{FactId, OrderId};
use crate::call::ahead::{Link, NoLink};
use crate::store::StoreError;
use crate::store::calls::CallDetail;
use crate::store::context::Undelivered;
use crate::store::orders::OrderRow;
use crate::store::transfers::TransferRow;
use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

pub mod back;
mod page;

/// A link may be used so often in a minute, for whatever.
pub const USES_PER_MINUTE_MAX: u32 = 60;
/// Links whose uses are counted at once; beyond it nobody gets through until a minute is over.
const LINKS_MAX: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// A transfer's facts are on their way to SQL while its target is being dialled: so long a link waits for them.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The role of a link's holder in the audit.
const ROLE: &str = "link";
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// How often links were used of late.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<BTreeMap<Link, (Instant, u32)>>);

impl Uses {
    /// Counts a use; false when there were too many.
    fn take(&self, link: Link, now: Instant) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() >= LINKS_MAX {
            uses.retain(|_, (since, _)| now.duration_since(*since) < MINUTE);
        }
        if uses.len() >= LINKS_MAX && !uses.contains_key(&link) {
            return false;
        }
        let (since, count) = uses.entry(link).or_insert((now, 0));
        if now.duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= USES_PER_MINUTE_MAX
    }
}

/// The holder of a link that is good, and what it is for.
pub struct Holder {
    link: Link,
    site: Site,
    call: CallDetail,
    transfer: TransferRow,
    /// Whether none has begun after it.
    is_last: bool,
    from: Box<str>,
}

impl FromRequestParts<Arc<Api>> for Holder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Holder, Problem> {
        // What is no text is no token of ours.
        let token = Path::<String>::from_request_parts(parts, api).await.map_err(|_| Problem::not_found())?.0;
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
        let from: Box<str> = from.unwrap_or_default().into();
        let links = (api.node.links)().ok_or_else(Problem::not_found)?;
        let link = links.read(&token, api.wall()).map_err(|why| api.refuse_link(why, from.clone()))?;
        if !api.uses.take(link, Instant::now()) {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "this link is used too often: wait a minute"));
        }
        let (site, mut call) = api.find(link).await?.ok_or_else(Problem::not_found)?;
        let place = usize::from(link.number) - 1;
        let (is_last, transfer) = (place + 1 == call.transfers.len(), call.transfers.swap_remove(place));
        Ok(Holder { link, site, call, transfer, is_last, from })
    }
}

impl Api {
    fn refuse_link(&self, why: NoLink, from: Box<str>) -> Problem {
        match why {
            // Not the path itself: who reads the audit must not learn from it how links look.
            NoLink::Wrong => {
                self.refuse_stranger(from, "/context");
                Problem::not_found()
            }
            NoLink::Expired(Link { contact, .. }) => {
                let (role, action, object) = (ROLE.into(), "context.read".into(), contact.to_string().into());
                self.audit(None, Audit { actor: "".into(), role, action, object, allowed: false, from });
                Problem::new(StatusCode::GONE, why.to_string())
            }
        }
    }

    /// The contact of a link, as soon as SQL knows its transfer.
    async fn find(&self, link: Link) -> Result<Option<(Site, CallDetail)>, StoreError> {
        let until = Instant::now() + BEHIND_MAX;
        loop {
            for code in self.node.live.sites() {
                let Some(id) = self.node.live.site(&code) else { continue };
                let Some(call) = self.node.store.site(&code).call(link.contact).await? else { continue };
                if (1..=call.transfers.len()).contains(&usize::from(link.number)) {
                    return Ok(Some((Site { id, code }, call)));
                }
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Holder {
    /// Tells the audit what was done or read by this link.
    pub(super) fn done(&self, api: &Api, action: &str, object: &str) {
        let (actor, role) = (self.transfer.target.as_str().into(), ROLE.into());
        let (action, object, from) = (action.into(), object.into(), self.from.clone());
        api.audit(Some(self.site.id), Audit { actor, role, action, object, allowed: true, from });
    }
}

/// What a target sees of a contact. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownContext {
    /// Its id.
    pub contact: String,
    /// Which of its transfers, from 1.
    pub transfer: u8,
    /// Code of the hotline's site.
    pub site: String,
    /// Name of the target.
    pub target: String,
    /// `emergency`, `utility`, `sub_center`, `expert` or `police_ticket`.
    pub kind: String,
    /// It is an exercise (演练).
    pub drill: bool,
    /// `conference`, `consult`, `blind` or `attended`.
    pub mode: String,
    /// Why, in the agent's words.
    pub reason: String,
    /// Agent who asked; empty when a queue did by itself.
    pub agent: String,
    /// The citizen's number; empty when withheld.
    pub caller: String,
    /// Where the citizen is, as the network told it.
    pub place: Option<String>,
    /// When the citizen called.
    pub called: i64,
    /// When an agent answered.
    pub answered: Option<i64>,
    /// When the transfer was asked for.
    pub started: i64,
    /// The order that was opened with the contact.
    pub order: Option<ShownOrder>,
}

/// What a target sees of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownOrder {
    /// Its id.
    pub id: String,
    /// Where it stands in its life: `draft` when opened.
    pub state: String,
    /// Category preset from the dialled number; empty when none.
    pub category: String,
    /// Where the citizen is, as the order has it.
    pub place: Option<String>,
    /// It was said to be an emergency.
    pub emergency: bool,
    /// The police's ticket (警单) it is bound to.
    pub ticket: Option<String>,
    /// When it was opened.
    pub opened: i64,
}

impl ShownContext {
    fn of(Holder { link, site, call, transfer, .. }: &Holder, order: Option<OrderRow>) -> ShownContext {
        let (call, place) = (&call.call, order.as_ref().and_then(|order| order.place.clone()));
        ShownContext {
            contact: call.id.clone(),
            transfer: link.number,
            site: site.code.to_string(),
            target: transfer.target.clone(),
            kind: transfer.kind.clone(),
            drill: transfer.drill,
            mode: transfer.mode.clone(),
            reason: transfer.reason.clone(),
            agent: transfer.agent.clone(),
            caller: call.caller.clone(),
            place: place.or_else(|| call.place.clone()),
            called: call.offered,
            answered: call.answered,
            started: transfer.started,
            order: order.map(|order| ShownOrder {
                id: order.id,
                state: order.state,
                category: order.category,
                place: order.place,
                emergency: order.emergency,
                ticket: order.ticket,
                opened: order.opened,
            }),
        }
    }
}

/// The errors that whoever holds a link may meet.
#[derive(utoipa::IntoResponses)]
pub enum LinkProblems {
    /// No link of this node's, whatever is wrong with it.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Body9457),
    /// It has run out.
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(Body9457),
    /// It is used too often.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Body9457),
    /// Too busy, or the store is away; ask again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Body9457),
}

/// What is known of the contact that a target was brought in for: a page, or JSON for who accepts that alone. The link is
/// the right; it is told in the INVITE (`Call-Info`) and by the target's webhook.
#[utoipa::path(get, path = "/context/{token}", tag = "context", params(("token" = String, Path)),
    responses((status = 200, content((ShownContext = "application/json"), (String = "text/html"))), LinkProblems))]
pub async fn open(State(api): State<Arc<Api>>, holder: Holder, headers: HeaderMap) -> Result<Response, Problem> {
    let store = api.node.store.site(&holder.site.code);
    let order: Option<OrderId> = holder.call.call.order_id.as_ref().and_then(|id| id.parse().ok());
    let order = match order {
        Some(order) => store.order(order).await?,
        None => None,
    };
    let shown = ShownContext::of(&holder, order);
    holder.done(&api, "context.read", &shown.contact);
    if wants_json(&headers) {
        return Ok(Json(shown).into_response());
    }
    let sites = api.node.store.sites().await?;
    let row = sites.iter().find(|row| *row.code == *holder.site.code);
    let zone = row.and_then(|row| TimeZone::get(&row.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let city = row.map_or(&*holder.site.code, |row| &row.name);
    Ok(Html(page::write(&shown, city, &zone)).into_response())
}

/// A browser names HTML before anything else; a program that wants JSON names no HTML.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut json, mut html) = (false, false);
    for kind in accepted.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or("").trim()) {
        json |= kind.eq_ignore_ascii_case("application/json");
        html |= kind.eq_ignore_ascii_case("text/html");
    }
    json && !html
}

/// What stands under a link is kept, framed, indexed and named to others by nobody.
pub(super) async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(ROBOTS, HeaderValue::from_static("noindex, nofollow"));
    if let Ok(policy) = HeaderValue::from_str(&page::POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Which page of what was not told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UndeliveredQuery {
    /// `next` of the page before.
    pub before: Option<String>,
    /// Most items, 1 to 500.
    pub limit: Option<u32>,
}

/// What targets' own systems could not be told ahead of the voice, newest first.
#[utoipa::path(get, path = "/targets/undelivered", tag = "calls", params(SiteQuery, UndeliveredQuery),
    security(("bearer" = [])), responses((status = 200, body = Paged<Undelivered>), Problems))]
pub async fn undelivered(
    State(api): State<Arc<Api>>,
    caller: Caller,
    site: Query<SiteQuery>,
    query: Query<UndeliveredQuery>,
) -> Result<Json<Paged<Undelivered>>, Problem> {
    let (site, _) = caller.one_site(Action::UndeliveredRead, site.site.as_deref())?;
    let page = page_of::<FactId>(query.before.as_deref(), query.limit)?;
    let rows = api.node.store.site(&site.code).undelivered(page).await?;
    Ok(Json(Paged::new(rows, page.limit, |row| &row.id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ContactId;

    #[test]
    fn a_link_is_used_so_often_a_minute_and_another_as_well() {
        let (uses, now) = (Uses::default(), Instant::now());
        let link = |number| Link { contact: ContactId(1), number };
        let taken = |link, at| (0..USES_PER_MINUTE_MAX * 2).filter(|_| uses.take(link, at)).count() as u32;
        assert_eq!(taken(link(1), now), USES_PER_MINUTE_MAX);
        assert_eq!(taken(link(2), now), USES_PER_MINUTE_MAX);
        assert_eq!(taken(link(1), now + MINUTE - Duration::from_millis(1)), 0);
        assert_eq!(taken(link(1), now + MINUTE), USES_PER_MINUTE_MAX);
    }

    #[test]
    fn what_is_counted_is_bounded_and_makes_room_after_a_minute() {
        let (uses, now) = (Uses::default(), Instant::now());
        let link = |contact| Link { contact: ContactId(contact), number: 1 };
        assert!((0..LINKS_MAX as u128).all(|contact| uses.take(link(contact), now)));
        assert!(!uses.take(link(u128::MAX), now) && uses.take(link(7), now));
        assert!(uses.take(link(u128::MAX), now + MINUTE));
        assert_eq!(uses.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_browser_gets_a_page_and_a_program_that_asks_for_it_json() {
        let wants = |accept: &str| wants_json(&[(header::ACCEPT, accept.parse().unwrap())].into_iter().collect());
        for accept in ["application/json", "application/json;q=0.9, */*;q=0.1", "Application/JSON"] {
            assert!(wants(accept), "{accept}");
        }
        for accept in ["*/*", "text/html", "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8", ""] {
            assert!(!wants(accept), "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }
}
