//! The event stream over a broken connection: who resumes misses nothing and hears nothing twice.

use crate::support::hotline::Hotline;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Stages in the order of a call.
const STAGES: [&str; 6] = ["offered", "ivr", "queued", "ringing", "talking", "over"];

/// Agents and queues as a reader knows them.
type Board = BTreeMap<String, Value>;

/// `call` of `call.ended`.
fn kind(event: &Value) -> &str {
    event["type"].as_str().and_then(|kind| kind.split('.').next()).expect("a type")
}

fn sequence(event: &Value) -> u64 {
    event["seq"].as_u64().expect("a seq")
}

fn board(snapshot: &Value) -> Board {
    let mut board = Board::new();
    for (kind, items) in [("agent", "agents"), ("queue", "queues")] {
        for item in snapshot["data"][items].as_array().expect("a list") {
            board.insert(format!("{kind} {}", item["name"]), item.clone());
        }
    }
    board
}

#[test]
fn a_reader_who_resumes_misses_nothing_and_hears_nothing_twice() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let mut broken = hotline.lead.events();
    let snapshot = broken.until("a snapshot", |event| event["type"] == "snapshot");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "3500"]);
    broken.until("a caller", |event| event["data"]["stage"].is_string());
    let before: Vec<Value> = broken.seen().to_vec();
    drop(broken);

    // While this reader is away the call goes on; another one tells when.
    let contact = hotline.events.call("talking");
    let mut resumed = hotline.lead.events_after(sequence(before.last().unwrap()));
    resumed.until("the call's end", |event| event["type"] == "call.ended");
    citizen.succeeds();
    agent.succeeds();
    resumed.until("the agent ready", |event| event["data"]["name"] == "1001" && event["data"]["state"] == "ready");
    resumed.until("the queue's figures", |event| kind(event) == "queue" && event["data"]["ready"] == 1);

    let all: Vec<&Value> = before.iter().chain(resumed.seen()).collect();
    assert!(all.windows(2).all(|pair| sequence(pair[0]) < sequence(pair[1])), "seq rises over the break");
    assert!(resumed.seen().iter().all(|event| event["type"] != "snapshot"), "who resumes in time needs no snapshot");
    let calls = all.iter().filter(|event| kind(event) == "call");
    let stages: Vec<&str> = calls
        .inspect(|event| assert_eq!(event["data"]["contact"], *contact))
        .map(|event| event["data"]["stage"].as_str().unwrap_or("over"))
        .collect();
    let place = |stage: &&str| STAGES.iter().position(|known| known == stage).expect("a stage");
    assert!(
        stages.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])),
        "each stage once and in order: {stages:?}"
    );
    assert!(stages.ends_with(&["talking", "over"]), "{stages:?}");

    // The first snapshot with every change laid over it is what a newcomer is shown.
    let mut told = board(&snapshot);
    for event in all.iter().filter(|event| ["agent", "queue"].contains(&kind(event))) {
        told.insert(format!("{} {}", kind(event), event["data"]["name"]), event["data"].clone());
    }
    let fresh = hotline.lead.events().until("a snapshot", |event| event["type"] == "snapshot");
    assert_eq!(told, board(&fresh));
    assert_eq!(fresh["data"]["calls"], json!([]));
    hotline.nothing_is_left();
}

#[test]
fn a_reader_from_elsewhere_begins_with_a_snapshot() {
    let hotline = Hotline::new();
    for foreign in [0, 1, u64::MAX / 4] {
        let first = hotline.lead.events_after(foreign).until("anything", |_| true);
        assert_eq!(first["type"], "snapshot", "after {foreign}");
    }
    hotline.nothing_is_left();
}
