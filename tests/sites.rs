//! Two cities in one engine: nothing of one exists for the other.

use crate::support::api::Api;
use crate::support::hotline::{Hotline, folder};
use serde_json::{Value, json};

/// Whether any text in `value` is one of `words`, wherever it stands.
fn mentions(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::String(text) => words.contains(&text.as_str()),
        Value::Array(items) => items.iter().any(|item| mentions(item, words)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn asked(api: &Api, method: &str, path: &str, contact: &str) -> (u16, Value) {
    let answer = match method {
        "delete" => return (api.delete(path), Value::Null),
        "get" => api.read(path),
        "put" if path.starts_with("/modes") => api.put(path, &json!({ "open": true })),
        "put" if path.contains("/seat") => api.put(path, &json!({ "seat": "S1" })),
        "put" => api.put(path, &json!({ "state": "ready" })),
        "post" if path.ends_with("/transfer") || path.contains("/transfer?") => {
            api.post_json(path, &json!({ "target": "fire", "reason": "burns" }))
        }
        "post" if path.contains("/wrap-up") => api.post_json(path, &json!({ "extend_s": 60 })),
        "post" if path.contains("/supervision") => api.post_json(path, &json!({ "mode": "listen" })),
        "post" if path.contains("/pickup") => api.post_json(path, &json!({ "agent": "1001" })),
        "post" if path.starts_with("/callbacks") => api.post_json(path, &json!({ "contact": contact })),
        "post" => api.post_json(path, &json!({ "agent": "1001", "number": "13800138000" })),
        other => panic!("{other} {path}: this test does not know how to ask"),
    };
    (answer.status, answer.body)
}

#[test]
fn nothing_of_one_city_exists_for_the_other_on_any_route() {
    let folder = folder();
    folder.agent("quanzhou", "2001", "general");
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let first = hotline.citizen("citizen-hangs-up", &["-d", "2000"]);
    let past_contact = hotline.events.call("talking");
    first.succeeds();
    agent.succeeds();
    let past = hotline.past(&past_contact);
    hotline.want("1001", "not_ready");
    hotline.events.agent("1001", "not_ready");
    // A second call stays alive while the other city looks.
    let second = hotline.citizen("citizen-waits", &[]);
    let live_contact = hotline.events.call("queued");

    let recording = past.recording["id"].as_str().unwrap();
    let order = past.order.as_ref().unwrap()["id"].as_str().unwrap();
    let stranger = hotline.engine.api("demo-quanzhou-lead-token");
    let secret = ["fuzhou", "1001", "1002", "+8613800138000", &*past_contact, &*live_contact, recording, order];
    let ids = Ids { contacts: [&past_contact, &live_contact], order, recording };
    let walked = walk(&stranger, &ids, &secret);
    assert!(walked >= 40, "only {walked} questions");

    // What does not exist and what is another's are told in the same words.
    let absent = stranger.read("/orders/01M830HC000000000000000000");
    let foreign = stranger.read(&format!("/orders/{order}"));
    assert_eq!((absent.status, &absent.body["title"]), (foreign.status, &foreign.body["title"]));

    let mut events = stranger.events();
    let snapshot = events.until("a snapshot", |event| event["type"] == "snapshot");
    assert!(mentions(&snapshot, &["2001"]) && !mentions(&snapshot, &secret), "{snapshot}");
    assert_eq!(hotline.agent("1001")["state"], "not_ready", "no stranger set a state");
    assert_eq!(hotline.lead.post(&format!("/calls/live/{live_contact}/hang-up")).status, 202);
    second.succeeds();
    assert_eq!(hotline.past(&live_contact).end(), ("queued", "operator"));
    // Everything that happened to Fuzhou's call passed by Quanzhou's stream before this.
    assert_eq!(stranger.put("/agents/2001/state", &json!({ "state": "ready" })).status, 202);
    events.until("its own agent and nothing of the other city", |event| {
        assert!(!mentions(event, &secret), "{event}");
        event["data"]["name"] == "2001"
    });
    hotline.nothing_is_left();
}

/// What of Fuzhou a stranger may try to name.
struct Ids<'a> {
    contacts: [&'a str; 2],
    order: &'a str,
    recording: &'a str,
}

/// Asks every route of the description for everything that it could tell; returns how many questions that were.
fn walk(stranger: &Api, ids: &Ids, secret: &[&str]) -> usize {
    let document = stranger.read("/openapi.json").body;
    let mut walked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let Some(route) = path.strip_prefix("/api/v1") else {
            // Figures of the whole node: refused to every token of one city.
            if path.starts_with("/context/") {
                // The link is the right there, whoever asks; none of this one's.
                let expected = if methods.get("get").is_some() { 404 } else { 405 };
                assert_eq!(stranger.beside(&path.replace("{token}", "A")), expected, "{path}");
                continue;
            }
            assert_eq!(path, "/metrics", "a new route beside /api/v1");
            assert_eq!(stranger.beside(path), 403);
            continue;
        };
        let route = route.replace("{step}", "cancel");
        let route = route.as_str();
        if route.starts_with("/health") || route == "/events" {
            continue;
        }
        if route == "/trunks" {
            // They are the node's and serve all cities.
            assert_eq!(stranger.bytes(route, None).0, 403);
            continue;
        }
        let parameters: &[&str] = match route.split('/').nth(1).unwrap() {
            "agents" => &["1001"],
            "calls" => &ids.contacts,
            "orders" | "callbacks" => &[ids.order],
            "recordings" => &[ids.recording],
            "queues" | "seats" | "missed-calls" | "audit" | "figures" | "targets" => &[""],
            "modes" => &["", "%E7%AA%81%E5%8F%91"],
            // Sources of SIP are the whole node's: refused to every token of one city.
            "bans" => &["127.0.0.1"],
            other => panic!("route /{other} is new: say what of it belongs to a site"),
        };
        for method in methods.as_object().unwrap().keys() {
            for parameter in parameters {
                for site in ["", "?site=fuzhou", "?site=quanzhou", "?site=*"] {
                    walked += 1;
                    let filled = match (route.find('{'), route.find('}')) {
                        (Some(from), Some(to)) => format!("{}{parameter}{}{site}", &route[..from], &route[to + 1..]),
                        _ => format!("{route}{site}"),
                    };
                    let (status, body) = asked(stranger, method, &filled, ids.contacts[0]);
                    if route.contains('{') {
                        assert!([403, 404].contains(&status), "{method} {filled}: {status} {body}");
                    } else {
                        assert!([200, 400, 403, 404].contains(&status), "{method} {filled}: {status} {body}");
                    }
                    assert!(!mentions(&body, secret), "{method} {filled} tells {body}");
                }
            }
        }
    }
    walked
}

#[test]
fn a_call_to_one_city_never_rings_in_the_other() {
    let folder = folder();
    folder.agent("quanzhou", "2001", "general");
    let mut hotline = Hotline::start(folder);
    // Nobody listens on this phone: were it rung, the attempt would stand in the record.
    hotline.phone("1001");
    hotline.ready("1001");
    let mut other = hotline.engine.api("demo-quanzhou-lead-token").events();
    let citizen = hotline.citizen_dials("059512345", "citizen-hangs-up", &["-d", "2500"]);
    let contact = other.call("queued");
    citizen.succeeds();
    hotline.lead = hotline.engine.api("demo-quanzhou-lead-token");
    hotline.site = "quanzhou";
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "caller"));
    assert!(past.attempts().is_empty(), "{:?}", past.attempts());
    assert_eq!(past.recording["site"], "quanzhou");
    let fuzhou = hotline.engine.api("demo-fuzhou-lead-token");
    let agent = fuzhou.read("/agents/1001").body;
    assert_eq!((&agent["state"], &agent["contact"]), (&json!("ready"), &Value::Null));
    assert_eq!(fuzhou.read("/calls").body["items"], json!([]));
    hotline.nothing_is_left();
}
