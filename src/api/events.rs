//! `/events`: the live read model as Server-Sent Events (WHATWG HTML section 9.2).
//!
//! Every message is one envelope `{seq, type, site, at, data}`. A reader who resumes (`Last-Event-ID` or `?since=`)
//! gets what changed since; every other one, and one who was away too long, gets a `snapshot` first. Nothing is queued
//! for a reader: the connection asks for the next message when it has room, and what changed meanwhile comes coalesced
//! per object. Each object passes `may` for each reader.

use super::agents::Agent;
use super::auth::{Caller, Site};
use super::live_calls::LiveCall;
use super::may::{Action, Grant, Object, Reach, Verdict, may};
use super::problem::{Problem, Problems};
use super::queues::Queue;
use super::{Api, Codes};
use crate::base::ContactId;
use crate::node::live::{self, Change};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

/// A comment goes out when nothing else did for this long, so that both sides notice a dead link.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// A reader gets changes at most this often: what changes in between is coalesced.
const PACE: Duration = Duration::from_millis(50);
/// Most changes copied under one lock.
const BATCH: usize = 512;

/// From where to go on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Code of the site; a token for one site need not name it, one for all sees all without it.
    pub site: Option<String>,
    /// The last `seq` seen; `Last-Event-ID` goes before it.
    pub since: Option<u64>,
}

/// What each message carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// Rises with every message; it has gaps.
    pub seq: u64,
    /// What kind of message.
    pub r#type: EventType,
    /// Code of the site; `null` in a snapshot of all.
    pub site: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub at: i64,
    /// The object as it is now.
    pub data: EventData,
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    /// Forget everything known of these sites: this is how they stand.
    #[serde(rename = "snapshot")]
    Snapshot,
    /// An agent changed or is new.
    #[serde(rename = "agent.changed")]
    AgentChanged,
    /// An agent is configured no more.
    #[serde(rename = "agent.removed")]
    AgentRemoved,
    /// A queue's figures changed, or it is new.
    #[serde(rename = "queue.changed")]
    QueueChanged,
    /// A queue is configured no more.
    #[serde(rename = "queue.removed")]
    QueueRemoved,
    /// A call changed or is new.
    #[serde(rename = "call.changed")]
    CallChanged,
    /// A call is over.
    #[serde(rename = "call.ended")]
    CallEnded,
    /// A call lives on, but is the reader's no more.
    #[serde(rename = "call.left")]
    CallLeft,
}

/// What a message is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EventData {
    /// Everything the reader may see.
    Snapshot(Snapshot),
    /// An agent.
    Agent(Agent),
    /// A call.
    Call(Box<LiveCall>),
    /// A queue.
    Queue(Queue),
    /// A call that is the reader's no more.
    Left(Left),
}

/// Everything the reader may see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Agents.
    pub agents: Vec<Agent>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Live calls.
    pub calls: Vec<LiveCall>,
}

/// A call that is the reader's no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Left {
    /// Which.
    pub contact: String,
}

/// One open stream.
struct Reader {
    api: Arc<Api>,
    caller: Caller,
    reach: Reach,
    site: Option<Site>,
    /// The last `seq` seen; `None` begins with a snapshot.
    since: Option<u64>,
    watch: watch::Receiver<u64>,
    not_before: Instant,
    ready: VecDeque<Envelope>,
    /// Calls as last shown to a reader who sees only their own: they must learn when one is theirs no more, and nothing of
    /// what changes beside what they see.
    shown: BTreeMap<ContactId, LiveCall>,
    _place: OwnedSemaphorePermit,
}

/// Follows agents, queues and live calls.
#[utoipa::path(get, path = "/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<u64>, Header)), security(("bearer" = [])),
    responses((status = 200, body = Envelope, content_type = "text/event-stream"), Problems))]
pub async fn follow(
    State(api): State<Arc<Api>>,
    caller: Caller,
    query: Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let (site, grant) = caller.site(Action::EventRead, query.site.as_deref())?;
    let place = Arc::clone(&api.streams).try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many event streams are open"))?;
    // An id that is no number comes from elsewhere: a snapshot serves its sender better than a refusal.
    let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let reader = Reader {
        watch: api.node.live.watch(),
        reach: grant.reach,
        site,
        since: last.unwrap_or(query.since).filter(|_| grant.reach == Reach::Site),
        not_before: Instant::now(),
        ready: VecDeque::new(),
        shown: BTreeMap::new(),
        _place: place,
        api,
        caller,
    };
    let messages = stream::unfold(reader, |mut reader| async move {
        let envelope = reader.next().await?;
        let event = Event::default().id(envelope.seq.to_string()).json_data(&envelope);
        Some((Ok::<Event, Infallible>(event.unwrap_or_default()), reader))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

impl Reader {
    /// The next message; `None` when the node goes down or the token is no longer good.
    async fn next(&mut self) -> Option<Envelope> {
        loop {
            if let Some(envelope) = self.ready.pop_front() {
                return Some(envelope);
            }
            tokio::time::sleep_until(self.not_before).await;
            if !self.caller.still_known() {
                return None;
            }
            self.watch.borrow_and_update();
            if self.collect() {
                self.not_before = Instant::now() + PACE;
            } else {
                tokio::select! {
                    changed = self.watch.changed() => changed.ok()?,
                    () = self.api.closing() => return None,
                }
            }
        }
    }

    /// Makes messages ready. `false` when nothing has changed.
    fn collect(&mut self) -> bool {
        let Some(since) = self.since else {
            let snapshot = self.snapshot();
            self.since = Some(snapshot.seq);
            self.ready.push_back(snapshot);
            return true;
        };
        let Ok(changes) = self.api.node.live.since(since, BATCH) else {
            self.since = None;
            return true;
        };
        let Some(last) = changes.last() else { return false };
        self.since = Some(last.seq);
        let codes = self.api.codes();
        for change in &changes {
            let envelope = self.envelope(change, &codes);
            self.ready.extend(envelope);
        }
        true
    }

    fn snapshot(&mut self) -> Envelope {
        let (codes, snapshot) = self.api.snapshot(self.site.as_ref());
        let mut data = Snapshot::default();
        self.shown.clear();
        for change in &snapshot.objects {
            match self.envelope(change, &codes).map(|envelope| envelope.data) {
                Some(EventData::Agent(agent)) => data.agents.push(agent),
                Some(EventData::Queue(queue)) => data.queues.push(queue),
                Some(EventData::Call(call)) => data.calls.push(*call),
                Some(EventData::Snapshot(_) | EventData::Left(_)) | None => {}
            }
        }
        let site = self.site.as_ref().map(|site| site.code.to_string());
        let (seq, r#type, at) = (snapshot.seq, EventType::Snapshot, self.api.wall().0);
        Envelope { seq, r#type, site, at, data: EventData::Snapshot(data) }
    }

    /// The change as this reader may see it.
    fn envelope(&mut self, change: &Change, codes: &Codes) -> Option<Envelope> {
        if self.site.as_ref().is_some_and(|site| site.id != change.object.site()) {
            return None;
        }
        let code = codes.of(change.object.site());
        let (r#type, data) = match &change.object {
            live::Object::Agent(agent) => {
                self.granted(Action::AgentRead, code, Some(&agent.name))?;
                let kind = if change.gone { EventType::AgentRemoved } else { EventType::AgentChanged };
                (kind, EventData::Agent(Agent::show(agent, code)))
            }
            live::Object::Queue(queue) => {
                self.granted(Action::QueueRead, code, None)?;
                let kind = if change.gone { EventType::QueueRemoved } else { EventType::QueueChanged };
                (kind, EventData::Queue(Queue::show(queue, code)))
            }
            live::Object::Call(call) => self.call(call, change.gone, code)?,
        };
        Some(Envelope { seq: change.seq, r#type, site: Some(code.to_owned()), at: change.at.0, data })
    }

    fn call(&mut self, call: &live::Call, gone: bool, code: &str) -> Option<(EventType, EventData)> {
        let contact = call.view.contact;
        let Some(grant) = self.granted(Action::LiveRead, code, call.owner(&self.caller.actor.name)) else {
            let left = Left { contact: contact.to_string() };
            return self.shown.remove(&contact).is_some().then_some((EventType::CallLeft, EventData::Left(left)));
        };
        let data = LiveCall::show(call, code, grant);
        if gone {
            self.shown.remove(&contact);
        } else if self.reach == Reach::Own && self.shown.insert(contact, data.clone()).as_ref() == Some(&data) {
            return None;
        }
        let kind = if gone { EventType::CallEnded } else { EventType::CallChanged };
        Some((kind, EventData::Call(Box::new(data))))
    }

    /// Not told to the audit: what a reader may not see is left out, nothing was asked for.
    fn granted(&self, action: Action, site: &str, owner: Option<&str>) -> Option<Grant> {
        match may(&self.caller.actor, action, Object::One { site, owner }) {
            Verdict::Granted(grant) => Some(grant),
            Verdict::Refused | Verdict::Absent => None,
        }
    }
}
