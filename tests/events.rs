//! The event stream over a broken connection: who resumes misses nothing and hears nothing twice.

use crate::support::hotline::Hotline;
use serde_json::Value;
use std::collections::BTreeMap;

/// What an event is about.
fn object(event: &Value) -> String {
    let data = &event["data"];
    let name = data["contact"].as_str().filter(|_| event["type"].as_str().unwrap().starts_with("call."));
    format!(
        "{} {}",
        event["type"].as_str().unwrap().split('.').next().unwrap(),
        name.unwrap_or_else(|| data["name"].as_str().unwrap())
    )
}

fn sequence(event: &Value) -> u64 {
    event["seq"].as_u64().expect("a seq")
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
    broken.until("a caller in the flow", |event| event["data"]["stage"] == "ivr");
    let before: Vec<Value> = broken.seen().to_vec();
    drop(broken);

    // While nobody of ours reads, the call goes on; another reader tells when.
    let contact = hotline.events.call("talking");
    let last = sequence(before.last().unwrap());
    let mut resumed = hotline.lead.events_after(last);
    resumed.until("the call's end", |event| event["type"] == "call.ended");
    citizen.succeeds();
    agent.succeeds();
    resumed
        .until("the agent ready again", |event| event["data"]["name"] == "1001" && event["data"]["state"] == "ready");

    let all: Vec<&Value> = before.iter().chain(resumed.seen()).collect();
    assert!(all.windows(2).all(|pair| sequence(pair[0]) < sequence(pair[1])), "seq rises over the break");
    let after = resumed.seen();
    assert!(after.iter().all(|event| event["type"] != "snapshot"), "who resumes in time needs no snapshot");
    let stages: Vec<&str> = all
        .iter()
        .filter(|event| event["data"]["contact"] == *contact && event["type"].as_str().unwrap().starts_with("call."))
        .map(|event| event["data"]["stage"].as_str().unwrap_or("over"))
        .collect();
    assert!(
        stages.is_sorted_by_key(|stage| ["offered", "ivr", "queued", "ringing", "talking", "over"]
            .iter()
            .position(|known| known == stage)),
        "{stages:?}"
    );
    assert_eq!(&stages[stages.len() - 2..], ["talking", "over"], "{stages:?}");

    // The snapshot with every change laid over it is what a newcomer is shown.
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    for (kind, items) in [("agent", "agents"), ("queue", "queues")] {
        for item in snapshot["data"][items].as_array().unwrap() {
            told.insert(format!("{kind} {}", item["name"].as_str().unwrap()), item.clone());
        }
    }
    for event in all.iter().filter(|event| event["type"] != "snapshot") {
        match event["type"].as_str().unwrap() {
            "call.ended" => drop(told.remove(&object(event))),
            _ => drop(told.insert(object(event), event["data"].clone())),
        }
    }
    let fresh = hotline.lead.events().until("a snapshot", |event| event["type"] == "snapshot");
    let mut now: BTreeMap<String, Value> = BTreeMap::new();
    for (kind, items) in [("agent", "agents"), ("queue", "queues")] {
        for item in fresh["data"][items].as_array().unwrap() {
            now.insert(format!("{kind} {}", item["name"].as_str().unwrap()), item.clone());
        }
    }
    assert_eq!(fresh["data"]["calls"], Value::Array(Vec::new()));
    // The figures of the queue may follow the agent's state by one message.
    let queue = |objects: &mut BTreeMap<String, Value>| objects.remove("queue 综合").expect("the queue");
    let (mut told, mut now) = (told, now);
    let (seen, shown) = (queue(&mut told), queue(&mut now));
    assert_eq!(told, now);
    assert_eq!((&seen["waiting"], &seen["talking"]), (&shown["waiting"], &shown["talking"]));
}

#[test]
fn a_reader_from_elsewhere_begins_with_a_snapshot() {
    let hotline = Hotline::new();
    for foreign in [0, 1, u64::MAX / 4] {
        let first = hotline.lead.events_after(foreign).until("anything", |_| true);
        assert_eq!(first["type"], "snapshot", "after {foreign}");
    }
}
