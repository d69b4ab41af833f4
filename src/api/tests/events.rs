//! The event stream over real sockets.

use super::*;
use crate::api::serve;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// An open stream, read message by message.
struct Stream {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

struct Message {
    id: u64,
    data: Value,
}

async fn start(site: &Two) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = site.router.clone();
    let serving = tokio::spawn(serve(listener, router, Connections::default(), async move {
        let _ = stopped.await;
    }));
    (address, stop, serving)
}

async fn open(address: SocketAddr, path: &str, token: &str, last: Option<u64>) -> Stream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
    let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(socket).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("HTTP/1.1 200 OK"));
    Stream { lines }
}

impl Stream {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        let mut id = None;
        while let Some(line) = self.lines.next_line().await.unwrap() {
            if line == "0" {
                // The last chunk (RFC 9112 section 7.1): the connection itself may live on.
                return None;
            }
            if let Some(value) = line.strip_prefix("id: ") {
                id = value.parse().ok();
            } else if let Some(value) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(value).unwrap();
                assert_eq!(data["seq"].as_u64(), id);
                return Some(Message { id: id.unwrap(), data });
            }
        }
        None
    }

    async fn expect(&mut self, kind: &str) -> Message {
        let message = self.next().await.expect("the stream goes on");
        assert_eq!(message.data["type"], kind, "{}", message.data);
        message
    }
}

fn agent(site: &Two, at: i64, to: AgentState) {
    let change = AgentChange { agent: AgentId(1), from: AgentState::Offline, to, contact: None, by: None };
    site.node.live.apply(Wall(at), [Delta::Agent(change)]);
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_resumes_after_a_break() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "fz-team_lead", None).await;
    let snapshot = stream.expect("snapshot").await;
    assert_eq!(snapshot.data["site"], "fz");
    let count = |kind: &str| snapshot.data["data"][kind].as_array().unwrap().len();
    assert_eq!((count("agents"), count("queues"), count("calls")), (2, 1, 1));

    agent(&site, 10, AgentState::Ready);
    let ready = stream.expect("agent.changed").await;
    assert!(ready.id > snapshot.id);
    assert_eq!((&ready.data["data"]["state"], &ready.data["at"]), (&"ready".into(), &10.into()));
    assert_eq!(ready.data["site"], "fz");
    drop(stream);

    agent(&site, 20, AgentState::Talking);
    agent(&site, 30, AgentState::WrapUp);
    for resumed in [
        open(address, "/events", "fz-team_lead", Some(ready.id)).await,
        open(address, &format!("/events?since={}", ready.id), "fz-team_lead", None).await,
    ] {
        let mut resumed = resumed;
        let change = resumed.expect("agent.changed").await;
        assert_eq!(change.data["data"]["state"], "wrap_up", "coalesced to how it is now");
    }
    let mut lost = open(address, "/events", "fz-team_lead", Some(1)).await;
    lost.expect("snapshot").await;
}

#[tokio::test]
async fn a_reader_of_one_site_hears_nothing_of_another() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "ly-team_lead", None).await;
    stream.expect("snapshot").await;
    agent(&site, 10, AgentState::Ready);
    site.node.live.apply(Wall(11), [Delta::Call(call_view(1, 1, None, None))]);
    let ended = stream.expect("call.ended").await;
    assert_eq!(ended.data["site"], "ly");
    assert_eq!(ended.data["data"]["stage"], Value::Null);
}

#[tokio::test]
async fn an_agent_learns_when_a_call_is_theirs_no_more() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "fz-agent", Some(1)).await;
    let snapshot = stream.expect("snapshot").await;
    assert_eq!(snapshot.data["data"]["agents"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot.data["data"]["calls"][0]["caller"], CALLER);
    site.node.live.apply(Wall(10), [Delta::Call(call_view(0, 0, Some(Stage::Queued), None))]);
    let left = stream.expect("call.left").await;
    assert_eq!(left.data["data"], serde_json::json!({ "contact": contact(0).to_string() }));
}

#[tokio::test]
async fn an_administrator_sees_agents_and_queues_but_no_citizen() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "all-admin", None).await;
    let snapshot = stream.expect("snapshot").await;
    assert_eq!(snapshot.data["site"], Value::Null);
    assert_eq!(snapshot.data["data"]["agents"].as_array().unwrap().len(), 3);
    assert_eq!(snapshot.data["data"]["calls"], serde_json::json!([]));
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "fz-team_lead", None).await;
    stream.expect("snapshot").await;
    site.node.tokens.store(Arc::new(vec![]));
    agent(&site, 10, AgentState::Ready);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_node_that_goes_down_ends_its_streams() {
    let site = two_sites().await;
    let (address, stop, serving) = start(&site).await;
    let mut stream = open(address, "/events", "fz-team_lead", None).await;
    stream.expect("snapshot").await;
    site.closing.send_replace(true);
    stop.send(()).unwrap();
    assert!(stream.next().await.is_none());
    serving.await.unwrap();
}

#[tokio::test]
async fn a_reader_who_does_not_read_costs_one_message() {
    let site = two_sites().await;
    let (address, _stop, _serving) = start(&site).await;
    let mut stream = open(address, "/events", "fz-team_lead", None).await;
    stream.expect("snapshot").await;
    for round in 0..20_000 {
        agent(&site, round, if round % 2 == 0 { AgentState::Ready } else { AgentState::WrapUp });
    }
    let mut told = 0;
    loop {
        told += 1;
        let change = stream.expect("agent.changed").await;
        if change.data["at"] == 19_999 {
            break;
        }
    }
    assert!(told < 100, "coalesced: {told} messages for 20,000 changes");
}
