//! The routes as clients meet them: two sites, a token of every role for each site and for both.

mod access;
mod context;
mod events;
mod figures;
mod recordings;
mod routes;

use super::auth::TokenSettings;
use super::may::Role;
use super::problem::Body9457;
use super::{Busy, Connections, InterventionAnswer as Stepped, Node, router};
use crate::acd::event::{AgentChange, AgentState, Settings as AcdSettings, Want};
use crate::base::fact::{
    Audit, CallRecord, Direction, Fact, OrderOpened, RecordingFact, RecordingFinished, Signalled, Stage, Stamped, Times,
};
use crate::base::fact::{TargetKind, TransferResult};
use crate::base::hours::Hours;
use crate::base::number::Number;
use crate::base::{AgentId, CallId, ContactId, FactId, OrderId, QueueId, RecordingId, ShardId, SiteId, Wall};
use crate::call::ahead::{Key, Links};
use crate::call::event::{AgentIdentity, CallView, Pause, Settings as CallSettings, SiteSettings};
use crate::call::lamp::{self, Lamp, LastTry, Light, Use};
use crate::call::supervise;
use crate::call::targets::Target;
use crate::call::transfer::{Ask, NotTransferred};
use crate::edge::event::Ban;
use crate::modes::{View, Why};
use crate::node::dial::{NotDialled, Wish};
use crate::node::internals::Internals;
use crate::node::live::{Delta, Live};
use crate::node::transfers::Seen;
use crate::store::Store;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt;

const ROLES: [Role; 12] = [
    Role::Agent,
    Role::TeamLead,
    Role::Qc,
    Role::Dispatcher,
    Role::Handler,
    Role::Expert,
    Role::SubCenter,
    Role::CallbackAgent,
    Role::Supervisor,
    Role::Admin,
    Role::Auditor,
    Role::Province,
];
const CALLER: &str = "+8613800138000";
const SOUND: &[u8] = b"RIFF....WAVEfmt 0123456789abcdefghijklmnopqrstuvwxyz";

/// What the node was asked for.
#[derive(Default)]
struct Asked {
    hung_up: Vec<CallId>,
    dialled: Vec<Wish>,
    wanted: Vec<(SiteId, AgentId, Want, Option<Arc<str>>)>,
    transfers: Vec<(CallId, Option<AgentId>, Ask)>,
    interventions: Vec<super::Intervention>,
    audit: Vec<(Option<SiteId>, Audit)>,
    busy: bool,
}

struct Two {
    node: Node,
    router: Router,
    asked: Arc<Mutex<Asked>>,
    closing: watch::Sender<bool>,
    _folder: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// `fz-team_lead`, `ly-qc`, `all-admin` …; holders in fz are called 1001, in ly 2001.
fn tokens() -> Vec<TokenSettings> {
    let of = |(scope, actor): (&'static str, &'static str)| {
        ROLES.into_iter().map(move |role| TokenSettings {
            actor: actor.into(),
            role,
            site: (scope != "all").then(|| scope.into()),
            token_sha256: Sha256::digest(format!("{scope}-{}", role.word())).into(),
        })
    };
    [("fz", "1001"), ("ly", "2001"), ("all", "1001")].into_iter().flat_map(of).collect()
}

fn contact(site: u16) -> ContactId {
    ContactId(100 + u128::from(site))
}

fn order(site: u16) -> OrderId {
    OrderId(200 + u128::from(site))
}

fn recording(site: u16) -> RecordingId {
    RecordingId(300 + u128::from(site))
}

fn call_view(site: u16, slot: u32, stage: Option<Stage>, agent: Option<u32>) -> CallView {
    CallView {
        call: CallId { shard: ShardId(0), slot, generation: 1 },
        contact: ContactId(100 + u128::from(slot)),
        site: SiteId(site),
        direction: crate::base::fact::Direction::Inbound,
        caller: CALLER.into(),
        dialled: "12345".into(),
        stage,
        since: Wall(5_000),
        offered: Wall(4_000 + i64::from(slot)),
        queue: Some(QueueId(0)),
        agents: agent.map(AgentId).into_iter().collect(),
        transfer: None,
        hold: None,
        parked: None,
        supervision: None,
    }
}

fn links() -> Links {
    Links { base: "https://12345.example.cn".into(), valid: Duration::from_secs(60), key: Key([7; 32]) }
}

/// A target of a site.
fn water(site: u16) -> Target {
    Target {
        site: SiteId(site),
        name: "water".into(),
        title: "自来水".into(),
        kind: TargetKind::Utility,
        drill: false,
        numbers: vec![Number::parse("059196110", "").unwrap()],
        key: Some("*2".into()),
        ring_max: None,
        channels: None,
        together: false,
        confirm: None,
        announcement: None,
        hours: Hours { until: (site == 1).then_some(Wall(1)), ..Hours::default() },
        duty: Vec::new(),
        webhook: None,
        link: false,
    }
}

/// A target to which no route led lately.
fn seen(target: Target) -> Seen {
    let last = LastTry { at: Wall(6_000), result: TransferResult::Unreachable, status: Some(503) };
    let lamp = Lamp { light: Light::Unreachable, why: lamp::Why::LastTry, since: Some(Wall(6_000)) };
    Seen { target, lamp, used: Use { running: 1, last: Some(last) } }
}

fn configuration() -> Delta {
    let site = |code: &str| SiteSettings {
        code: code.into(),
        domain: format!("{code}.example").into(),
        area_code: "".into(),
        queues: vec![],
        pauses: ["lunch", "training"].map(pause).to_vec(),
        keys: None,
        seats: Default::default(),
    };
    let agent = |site, name: &str| {
        Some(AgentIdentity { site: SiteId(site), name: name.into(), phone: name.into(), team: "".into() })
    };
    let calls = CallSettings {
        sites: vec![site("fz"), site("ly")],
        agents: vec![agent(0, "1001"), agent(0, "1002"), agent(1, "2001")],
        ..CallSettings::default()
    };
    let queue = |name: &str| crate::acd::event::QueueSettings {
        name: name.into(),
        skills: vec![],
        priority: 0,
        ageing: std::time::Duration::ZERO,
        ring_max: std::time::Duration::from_secs(20),
        misses_max: 1,
        wrap_up: std::time::Duration::ZERO,
        wait_max: None,
        waiting_max: 10,
        no_agents: crate::acd::event::NoAgents::Wait,
        routing: Default::default(),
    };
    let acd = |site, name: &str| {
        Arc::new(AcdSettings { site: SiteId(site), queues: vec![queue(name)], agents: vec![], utc_offset_s: 0 })
    };
    Delta::Configure { calls: Arc::new(calls), acd: vec![acd(0, "fz-general"), acd(1, "ly-general")] }
}

fn opened(site: u16, agent: &str) -> OrderOpened {
    OrderOpened {
        order: order(site),
        revision: 1,
        contact: contact(site),
        recording: Some(recording(site)),
        caller: CALLER.into(),
        dialled: "12345".into(),
        category: "".into(),
        agent: Some(agent.into()),
        called: Wall(4_000),
        opened: Wall(5_000),
        answered: None,
        ended: None,
        emergency: false,
        place: None,
        drill: false,
        ticket: None,
    }
}

fn facts(site: u16, code: &str, agent: &str) -> Vec<Stamped> {
    let call = CallRecord {
        contact: contact(site),
        revision: 1,
        direction: Direction::Inbound,
        caller: CALLER.into(),
        dialled: "12345".into(),
        trunk: "".into(),
        sip_call_id: format!("{code}@example").into(),
        queue: None,
        agent: Some(agent.into()),
        times: Times { offered: Wall(4_000), ..Times::default() },
        attempts: vec![],
        routes: vec![],
        transfers: Vec::new(),
        interventions: Vec::new(),
        satisfaction: None,
        collected: vec![],
        end: None,
        recording: Some(recording(site)),
        order: Some(order(site)),
        signalled: Signalled::default(),
    };
    let finished = RecordingFinished {
        ended: Wall(9_000),
        duration_ms: 4_000,
        bytes: SOUND.len() as u64,
        sha256: "ab".repeat(32).into(),
        damaged: false,
    };
    let recorded = RecordingFact {
        recording: recording(site),
        revision: 1,
        contact: contact(site),
        path: "2026/one.wav".into(),
        started: Wall(5_000),
        finished: Some(finished),
    };
    let act = Audit {
        actor: agent.into(),
        role: "agent".into(),
        action: "call.read".into(),
        object: code.into(),
        allowed: true,
        from: "".into(),
    };
    let all = [
        Fact::Call(call.into()),
        Fact::Order(opened(site, agent).into()),
        Fact::Recording(recorded.into()),
        Fact::Audit(act.into()),
    ];
    let stamp =
        |(id, fact)| Stamped { id: FactId(id + 10 * u128::from(site)), at: Wall(9_000), site: code.into(), fact };
    (1u128..).zip(all).map(stamp).collect()
}

/// Two sites, each with a live call of its agent, and the records of it.
/// Notes a wish to step into a call; of those to go nothing is done.
fn answers(asked: &mut Asked, wish: super::Intervention) -> Result<oneshot::Receiver<Stepped>, super::TransferBusy> {
    let (sender, answer) = oneshot::channel();
    let refused = wish.ask == supervise::Ask::Leave;
    sender.send(if refused { Err(supervise::NotDone::Nobody) } else { Ok(()) }).unwrap();
    asked.interventions.push(wish);
    Ok(answer)
}

fn hung_up(asked: &mut Asked, call: CallId) -> Result<(), Busy> {
    if asked.busy {
        return Err(Busy);
    }
    asked.hung_up.push(call);
    Ok(())
}

/// For one agent at a time, a minute long.
fn pause(reason: &str) -> Pause {
    Pause { reason: reason.into(), together_max: Some(1), longest: Some(Duration::from_secs(60)) }
}

/// A mode that a rush has opened.
fn storm() -> View {
    View { name: "storm".into(), open: Some((Why::Rush, Wall(1))), hand: None, arrivals: Some((31, 30)) }
}

async fn two_sites() -> Two {
    let live = Arc::new(Live::new(Wall(1_000)));
    let ready = |agent| {
        let (from, to) = (AgentState::Ready, AgentState::Talking);
        Delta::Agent(AgentChange { agent: AgentId(agent), from, to, contact: None, by: None })
    };
    let calls = [(0, 0, 0), (1, 1, 2)]
        .map(|(site, slot, agent)| Delta::Call(call_view(site, slot, Some(Stage::Talking), Some(agent))));
    live.apply(Wall(1_000), [configuration(), ready(0), ready(2)].into_iter().chain(calls));
    let store = Store::memory().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (site, code, agent) in [(0, "fz", "1001"), (1, "ly", "2001")] {
        store.apply(&facts(site, code, agent)).await.unwrap();
        std::fs::create_dir_all(folder.path().join(code).join("2026")).unwrap();
        std::fs::write(folder.path().join(code).join("2026/one.wav"), SOUND).unwrap();
    }
    let asked = Arc::new(Mutex::new(Asked::default()));
    let [hang_up, dial, want, transfer, intervene, audit] = std::array::from_fn(|_| Arc::clone(&asked));
    let (closing, is_closing) = watch::channel(false);
    let node = Node {
        live,
        store,
        archive: None,
        routing: folder.path().join("routing"),
        recordings_roots: vec![folder.path().join("first"), folder.path().to_owned()],
        tokens: Arc::new(ArcSwap::from_pointee(tokens())),
        hang_up: Arc::new(move |call| hung_up(&mut hang_up.lock().unwrap(), call)),
        call_back: Arc::new(|_| Ok(())),
        dial: Arc::new(move |wish| match &*wish.number {
            "10086" => Err(NotDialled::NotListed),
            _ => {
                dial.lock().unwrap().dialled.push(wish);
                Ok(())
            }
        }),
        transfer: Arc::new(move |call, by, ask| {
            let (sender, answer) = oneshot::channel();
            let refused = matches!(&ask, Ask::Start { target, .. } if **target != *"water");
            sender.send(if refused { Err(NotTransferred::UnknownTarget) } else { Ok(()) }).unwrap();
            transfer.lock().unwrap().transfers.push((call, by, ask));
            Ok(answer)
        }),
        intervene: Arc::new(move |wish| answers(&mut intervene.lock().unwrap(), wish)),
        targets: Arc::new(|site| vec![seen(water(site.0))]),
        links: Arc::new(|| Some(Arc::new(links()))),
        seated: Arc::new(|| ()),
        extend: Arc::new(|_, _, _| Ok(())),
        want: Arc::new(move |site, agent, state, by| {
            want.lock().unwrap().wanted.push((site, agent, state, by));
            Ok(())
        }),
        audit: Arc::new(move |site, fact| audit.lock().unwrap().audit.push((site, fact))),
        modes: Arc::new(|_| vec![storm()]),
        set_mode: Arc::new(|_, name, _| name == "storm"),
        bans: Arc::new(|| {
            let source = "203.0.113.9".parse().unwrap();
            vec![Ban { source, since: Wall(1), until: Wall(60_001), times: 1 }]
        }),
        lift_ban: Arc::new(|source| source.to_string() == "203.0.113.9"),
        internals: Arc::new(|| Internals { uptime_s: 3, ..Internals::default() }),
        connections: Connections::default(),
        wall: || Wall(1_800_000_000_000),
        seed: [1, 2],
        closing: is_closing,
    };
    Two { router: router(node.clone()), node, asked, closing, _folder: folder }
}

impl Two {
    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        // A stream has no end: its first message is what a test looks at.
        let body = match stream {
            true => body.into_data_stream().next().await.unwrap().unwrap(),
            false => axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        // What is not below the prefix is asked for by its whole path.
        let prefix = if ["/metrics", "/context/"].iter().any(|start| path.starts_with(start)) { "" } else { "/api/v1" };
        let mut request = Request::builder().method(method).uri(format!("{prefix}{path}"));
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::GET, path, token, "").await
    }

    fn audit(&self) -> Vec<(Option<SiteId>, Audit)> {
        std::mem::take(&mut self.asked.lock().unwrap().audit)
    }
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that it is a whole problem.
    #[track_caller]
    fn problem(&self, status: u16) -> Body9457 {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem: Body9457 = serde_json::from_slice(&self.body).unwrap();
        assert_eq!((problem.status, &*problem.r#type), (status, "about:blank"));
        assert!(!problem.title.is_empty() && !problem.detail.is_empty());
        assert_eq!(self.headers["x-request-id"], problem.request_id);
        problem
    }
}
