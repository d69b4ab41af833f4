//! Each resource, its problems, and the description.

use super::*;
use crate::api::idempotency::IDEMPOTENCY_KEY;
use crate::api::{BODY_BYTES_MAX, description};
use crate::base::fact::TransferMode;
use serde_json::{Value, json};

#[tokio::test]
async fn agents_and_queues_are_shown_as_they_stand() {
    let site = two_sites().await;
    let agent = site.get("/agents/1001", "fz-team_lead").await.json();
    let expected = json!({"site": "fz", "name": "1001", "team": "", "state": "talking", "reason": "", "since": 1_000,
        "until": null, "seat": null, "contact": null, "forced_by": null, "phone_up": false});
    assert_eq!(agent, expected);
    let queues = site.get("/queues", "fz-team_lead").await.json();
    let expected = json!({"items": [{"site": "fz", "name": "fz-general", "waiting": 0, "longest_since": null,
        "talking": 1, "ready": 0}]});
    assert_eq!(queues, expected);
    site.get("/agents/9999", "fz-team_lead").await.problem(404);
}

#[tokio::test]
async fn pauses_are_those_of_the_site_not_too_many_at_once_and_end() {
    let site = two_sites().await;
    let put = |name: &'static str, token: &'static str, reason: &'static str| {
        let body = format!(r#"{{"state":"not_ready","reason":"{reason}"}}"#);
        let site = &site;
        async move { site.ask(Method::PUT, &format!("/agents/{name}/state"), token, &body).await }
    };
    let unknown = put("1001", "fz-agent", "shopping").await;
    assert!(unknown.problem(422).detail.contains("lunch, training"), "{}", unknown.text());
    let pauses = |agent, reason: &str| {
        let to = AgentState::NotReady { reason: reason.into() };
        Delta::Agent(AgentChange { agent: AgentId(agent), from: AgentState::Ready, to, contact: None, by: None })
    };
    site.node.live.apply(Wall(5_000), [pauses(1, "lunch")]);
    let shown = site.get("/agents/1002", "fz-team_lead").await.json();
    assert_eq!((&shown["state"], &shown["until"]), (&json!("not_ready"), &json!(65_000)));
    put("1001", "fz-agent", "lunch").await.problem(409);
    assert_eq!(put("1001", "fz-agent", "training").await.status, StatusCode::ACCEPTED);
    for reason in ["lunch", "shopping"] {
        assert_eq!(put("1001", "fz-team_lead", reason).await.status, StatusCode::ACCEPTED, "{reason}");
    }
    site.node.live.apply(Wall(6_000), [pauses(1, "meeting")]);
    assert_eq!(site.get("/agents/1002", "fz-team_lead").await.json()["until"], json!(null));
}

#[tokio::test]
async fn a_wrap_up_is_lengthened_while_it_lasts() {
    let site = two_sites().await;
    let post = |token: &'static str, body: &'static str| {
        let site = &site;
        async move { site.ask(Method::POST, "/agents/1001/wrap-up", token, body).await }
    };
    post("fz-agent", r#"{"extend_s":60}"#).await.problem(409);
    let (from, to) = (AgentState::Talking, AgentState::WrapUp);
    let wraps_up = Delta::Agent(AgentChange { agent: AgentId(0), from, to, contact: None, by: None });
    site.node.live.apply(Wall(5_000), [wraps_up]);
    assert_eq!(post("fz-agent", r#"{"extend_s":60}"#).await.status, StatusCode::ACCEPTED);
    for body in [r#"{"extend_s":0}"#, r#"{"extend_s":3601}"#] {
        post("fz-agent", body).await.problem(400);
    }
    post("ly-agent", r#"{"extend_s":60}"#).await.problem(403);
}

#[tokio::test]
async fn modes_are_shown_and_a_word_on_one_is_taken() {
    let site = two_sites().await;
    let shown = site.get("/modes", "fz-agent").await.json();
    let storm = json!({"name": "storm", "open": true, "why": "rush", "since": 1, "hand": null, "arrivals": 31,
        "arrivals_max": 30});
    assert_eq!(shown, json!({"items": [storm]}));
    let put = |name: &'static str, token: &'static str, body: &'static str| {
        let site = &site;
        async move { site.ask(Method::PUT, &format!("/modes/{name}"), token, body).await }
    };
    for body in [r#"{"open":true}"#, r#"{"open":false,"for_s":604800}"#, r#"{"open":null}"#] {
        assert_eq!(put("storm", "fz-team_lead", body).await.status, StatusCode::ACCEPTED);
    }
    let audit = site.audit();
    assert_eq!((audit.len(), &*audit[0].1.action, &*audit[0].1.object), (3, "mode.set", "storm"));
    put("storm", "fz-agent", r#"{"open":true}"#).await.problem(403);
    put("calm", "fz-team_lead", r#"{"open":true}"#).await.problem(404);
    put("storm", "fz-team_lead", r#"{"open":true,"for_s":604801}"#).await.problem(400);
    put("storm", "fz-team_lead", r#"{"state":"open"}"#).await.problem(422);
}

#[tokio::test]
async fn a_state_is_asked_for_and_told_to_the_audit() {
    let site = two_sites().await;
    let put = |name: &'static str, token: &'static str, body: &'static str| {
        let site = &site;
        async move { site.ask(Method::PUT, &format!("/agents/{name}/state"), token, body).await }
    };
    let answer = put("1001", "fz-agent", r#"{"state":"not_ready","reason":"lunch"}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let wanted = vec![(SiteId(0), AgentId(0), Want::NotReady { reason: "lunch".into() }, None)];
    assert_eq!(site.asked.lock().unwrap().wanted, wanted);
    let audit = site.audit();
    assert_eq!((audit.len(), audit[0].0, &*audit[0].1.action), (1, Some(SiteId(0)), "agent.set"));
    assert!(audit[0].1.allowed);

    put("1002", "fz-agent", r#"{"state":"ready"}"#).await.problem(403);
    put("9999", "fz-team_lead", r#"{"state":"ready"}"#).await.problem(404);
    put("1001", "fz-agent", r#"{"state":"talking"}"#).await.problem(422);
    put("1001", "fz-agent", "{").await.problem(400);
    put("1001", "fz-agent", "").await.problem(415);
    let long = format!(r#"{{"state":"not_ready","reason":"{}"}}"#, "长".repeat(65));
    site.ask(Method::PUT, "/agents/1001/state", "fz-agent", &long).await.problem(400);
    assert_eq!(site.asked.lock().unwrap().wanted.len(), 1);

    // Of somebody else's wish it is kept whose it was.
    assert_eq!(put("1001", "fz-team_lead", r#"{"state":"offline"}"#).await.status, StatusCode::ACCEPTED);
    let (_, agent, want, by) = site.asked.lock().unwrap().wanted[1].clone();
    assert_eq!((agent, want, by.as_deref()), (AgentId(0), Want::Offline, Some("1001")));
}

async fn hang_up(site: &Two, contact: ContactId, key: &str) -> Answer {
    let request = Request::post(format!("/api/v1/calls/live/{contact}/hang-up"))
        .header(header::AUTHORIZATION, "Bearer fz-team_lead")
        .header(IDEMPOTENCY_KEY, key);
    site.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_hang_up_is_done_once_for_one_key() {
    let site = two_sites().await;
    let first = hang_up(&site, contact(0), "k1").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.json()["contact"], contact(0).to_string());
    // The call is over when the answer got lost and is asked for again.
    site.node.live.apply(Wall(7_000), [Delta::Call(call_view(0, 0, None, None))]);
    let again = hang_up(&site, contact(0), "k1").await;
    assert_eq!((again.status, again.json()), (StatusCode::ACCEPTED, first.json()));
    assert_eq!(site.asked.lock().unwrap().hung_up, [call_view(0, 0, None, None).call]);
    hang_up(&site, contact(0), "k2").await.problem(404);
    hang_up(&site, ContactId(9), "k1").await.problem(422);
    let done: Vec<_> = site.audit();
    assert_eq!(done.iter().filter(|(_, fact)| fact.allowed && &*fact.action == "call.hang_up").count(), 1);
}

#[tokio::test]
async fn a_transfer_is_judged_by_its_call_and_refused_with_the_reason() {
    let site = two_sites().await;
    let path = format!("/calls/live/{}/transfer", contact(0));
    let ask = |body: serde_json::Value, token: &'static str| {
        let (site, path) = (&site, &path);
        async move { site.ask(Method::POST, path, token, &body.to_string()).await }
    };
    let wanted = json!({ "target": "water", "reason": "burst pipe" });
    assert_eq!(ask(wanted.clone(), "fz-team_lead").await.status, 202);
    let refused = ask(json!({ "target": "1381101200", "reason": "x" }), "fz-team_lead").await;
    assert!(refused.problem(422).detail.contains("no target of this name"));
    ask(json!({ "target": "water", "mode": "shout", "reason": "x" }), "fz-team_lead").await.problem(422);
    ask(json!({ "target": "water" }), "fz-team_lead").await.problem(422);
    ask(wanted.clone(), "fz-qc").await.problem(403);
    ask(wanted, "ly-team_lead").await.problem(404);
    for (step, status) in [("join", 202), ("complete", 202), ("cancel", 202), ("sing", 400)] {
        let answer = site.ask(Method::POST, &format!("{path}/{step}"), "fz-team_lead", "").await;
        assert_eq!(answer.status, status, "{step}");
    }
    let asked = std::mem::take(&mut site.asked.lock().unwrap().transfers);
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(matches!(asked[0].2, Ask::Start { mode: TransferMode::Conference, .. }));
    assert_eq!(asked.into_iter().skip(2).map(|it| it.2).collect::<Vec<_>>(), [Ask::Join, Ask::Complete, Ask::Cancel]);
    let shown = site.ask(Method::GET, "/targets", "fz-team_lead", "").await.json();
    let last = json!({ "at": 6_000, "result": "unreachable", "status": 503 });
    let water = json!({ "name": "water", "title": "自来水", "kind": "utility", "drill": false, "key": "*2",
        "open": true, "light": "unreachable", "why": "last_try", "since": 6_000, "running": 1, "last": last });
    assert_eq!(shown["items"], json!([water]));
}

#[tokio::test]
async fn who_steps_into_a_call_is_judged_by_role_site_and_phone() {
    let site = two_sites().await;
    let path = format!("/calls/live/{}", contact(0));
    let ask = |method: Method, path: String, body: serde_json::Value, token: &'static str| {
        let site = &site;
        async move { site.ask(method, &path, token, &body.to_string()).await }
    };
    let supervision = format!("{path}/supervision");
    let listen = |who: &str| json!({ "mode": "listen", "supervisor": who });
    let post = Method::POST;
    // Whose phone is away cannot be rung, whoever asks.
    let away = ask(post.clone(), supervision.clone(), listen("1002"), "fz-team_lead").await.problem(409);
    assert!(away.detail.contains("not registered"), "{away:?}");
    site.node.live.apply(Wall(7_000), [Delta::Phone { agent: AgentId(1), up: true }]);
    for (token, status) in [("fz-agent", 403), ("fz-qc", 403), ("fz-admin", 403), ("ly-team_lead", 404)] {
        ask(post.clone(), supervision.clone(), listen("1002"), token).await.problem(status);
    }
    let nobody = ask(post.clone(), supervision.clone(), listen("7777"), "fz-team_lead").await.problem(422);
    assert!(nobody.detail.contains("no agent of this site"), "{nobody:?}");
    ask(post.clone(), supervision.clone(), json!({ "mode": "shout" }), "fz-team_lead").await.problem(422);
    for mode in ["listen", "whisper", "barge", "take_over"] {
        let body = json!({ "mode": mode, "supervisor": "1002" });
        assert_eq!(ask(post.clone(), supervision.clone(), body, "fz-team_lead").await.status, 202, "{mode}");
    }
    let nobody = ask(Method::DELETE, supervision, json!({}), "fz-team_lead").await.problem(409);
    assert!(nobody.detail.contains("nobody supervises"), "{nobody:?}");
    ask(post.clone(), format!("{path}/release"), json!({}), "fz-agent").await.problem(403);
    assert_eq!(ask(post.clone(), format!("{path}/release"), json!({}), "fz-team_lead").await.status, 202);
    assert_eq!(ask(post.clone(), format!("{path}/park"), json!({}), "fz-agent").await.status, 202);
    let pickup = json!({ "agent": "1002" });
    ask(post.clone(), format!("{path}/pickup"), pickup.clone(), "fz-agent").await.problem(403);
    assert_eq!(ask(post, format!("{path}/pickup"), pickup, "fz-team_lead").await.status, 202);
    let asked = std::mem::take(&mut site.asked.lock().unwrap().interventions);
    let own: Vec<_> = asked.iter().filter(|wish| wish.ask == supervise::Ask::Park).map(|wish| wish.own).collect();
    assert_eq!((asked.len(), own), (8, vec![Some(AgentId(0))]), "{asked:?}");
    let done: Vec<String> =
        site.audit().into_iter().filter(|(_, fact)| fact.allowed).map(|(_, fact)| fact.action.to_string()).collect();
    let expected = ["listen", "whisper", "barge", "take_over", "release", "park", "pick_up"];
    assert_eq!(done, expected.map(|word| format!("call.{word}")));
}

#[tokio::test]
async fn a_supervisor_is_shown_to_supervisors_and_never_to_the_agent() {
    let site = two_sites().await;
    let view = call_view(0, 0, Some(Stage::Talking), Some(0));
    let supervision =
        Some(supervise::SupervisionView { agent: AgentId(1), mode: Some(supervise::Mode::Listen), with: true });
    site.node.live.apply(Wall(7_000), [Delta::Call(CallView { supervision, ..view })]);
    let lead = site.ask(Method::GET, "/calls/live", "fz-team_lead", "").await.json();
    assert_eq!(lead["items"][0]["supervision"], json!({ "supervisor": "1002", "mode": "listen", "with": true }));
    let agent = site.ask(Method::GET, "/calls/live", "fz-agent", "").await.json();
    assert_eq!((agent["items"].as_array().unwrap().len(), &agent["items"][0]["supervision"]), (1, &Value::Null));
}

async fn dial(site: &Two, token: &str, body: serde_json::Value, key: Option<&str>) -> Answer {
    let mut request = Request::post("/api/v1/calls").header(header::AUTHORIZATION, format!("Bearer {token}"));
    request = request.header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(IDEMPOTENCY_KEY, key);
    }
    site.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_call_to_the_outside_is_asked_for_by_who_may_and_whose_phone_is_free() {
    let site = two_sites().await;
    let wanted = json!({ "agent": "1002", "number": "138 0013 8000" });
    dial(&site, "fz-team_lead", wanted.clone(), None).await.problem(409);
    for agent in [0, 1] {
        site.node.live.apply(Wall(7_000), [Delta::Phone { agent: AgentId(agent), up: true }]);
    }
    let asked = dial(&site, "fz-team_lead", wanted.clone(), Some("k1")).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text());
    assert_eq!(dial(&site, "fz-team_lead", wanted, Some("k1")).await.json(), asked.json());
    let order = order(0).to_string();
    dial(&site, "fz-callback_agent", json!({ "agent": "1002", "order": order }), None).await.problem(403);
    let by_order = dial(&site, "all-team_lead", json!({ "agent": "1002", "order": order }), None).await;
    by_order.problem(400);
    assert_eq!(
        dial(&site, "fz-team_lead", json!({ "agent": "1002", "order": order }), None).await.status,
        StatusCode::ACCEPTED
    );
    let dialled = std::mem::take(&mut site.asked.lock().unwrap().dialled);
    let seen: Vec<_> = dialled.iter().map(|it| (it.site, it.agent, &*it.number, it.order.is_some())).collect();
    let (fz, agent) = (SiteId(0), AgentId(1));
    assert_eq!(seen, [(fz, agent, "138 0013 8000", false), (fz, agent, CALLER, true)]);
    assert_eq!(dialled[0].contact.to_string(), asked.json()["contact"]);
    for (token, body, status) in [
        ("fz-team_lead", json!({ "agent": "1001", "number": "1" }), 409),
        ("fz-agent", json!({ "number": "1" }), 409),
        ("fz-agent", json!({ "agent": "1002", "number": "1" }), 403),
        ("fz-qc", json!({ "number": "1" }), 403),
        ("fz-team_lead", json!({ "agent": "1002" }), 422),
        ("fz-team_lead", json!({ "agent": "1002", "nummer": "1" }), 422),
        ("fz-team_lead", json!({ "agent": "1002", "number": "1".repeat(41) }), 422),
        ("fz-team_lead", json!({ "agent": "1002", "number": "10086" }), 403),
        ("fz-team_lead", json!({ "agent": "1002", "order": "x" }), 400),
        ("fz-team_lead", json!({ "agent": "1002", "order": super::order(1).to_string() }), 404),
        ("fz-team_lead", json!({ "agent": "2001", "number": "1" }), 404),
    ] {
        dial(&site, token, body, None).await.problem(status);
    }
    assert!(site.asked.lock().unwrap().dialled.is_empty());
    let done = site.audit();
    assert_eq!(done.iter().filter(|(_, fact)| fact.allowed && &*fact.action == "call.dial").count(), 2);
}

#[tokio::test]
async fn a_busy_node_says_so_and_the_key_stays_free() {
    let site = two_sites().await;
    site.asked.lock().unwrap().busy = true;
    hang_up(&site, contact(0), "k").await.problem(503);
    site.asked.lock().unwrap().busy = false;
    assert_eq!(hang_up(&site, contact(0), "k").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn records_come_in_pages() {
    let site = two_sites().await;
    let more = (1..=4u128).map(|n| {
        let mut fact = facts(0, "fz", "1001").swap_remove(0);
        let Fact::Call(call) = &mut fact.fact else { unreachable!() };
        call.contact = ContactId(1_000 + n);
        fact
    });
    site.node.store.apply(&more.collect::<Vec<_>>()).await.unwrap();
    let (mut path, mut seen) = ("/calls?limit=2".to_owned(), Vec::new());
    loop {
        let page = site.get(&path, "fz-team_lead").await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/calls?limit=2&before={next}");
    }
    let expected = [1_004, 1_003, 1_002, 1_001, 100].map(|id| ContactId(id).to_string());
    assert_eq!(seen, expected);
    site.get("/calls?before=x", "fz-team_lead").await.problem(400);
    let detail = site.get(&format!("/calls/{}", contact(0)), "fz-team_lead").await.json();
    assert_eq!(detail["call"]["order_id"], order(0).to_string());
    let detail = site.get(&format!("/orders/{}", order(0)), "fz-team_lead").await.json();
    assert_eq!((&detail["order"]["state"], &detail["history"][0]["to_state"]), (&json!("draft"), &json!("draft")));
    let audit = site.get("/audit", "fz-auditor").await.json();
    assert_eq!(audit["items"][0]["object"], "fz");
}

#[tokio::test]
async fn the_page_is_for_everybody_and_is_all_that_is() {
    let site = two_sites().await;
    for path in ["/", "/page/main.js"] {
        let page = site.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    }
    site.send(Request::get("/api/v1/calls/live").body(Body::empty()).unwrap()).await.problem(401);
    let post = site.send(Request::post("/").body(Body::empty()).unwrap()).await;
    post.problem(405);
    assert!(site.asked.lock().unwrap().audit.iter().all(|(_, audit)| &*audit.action == "token.check"));
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let site = two_sites().await;
    site.get("/nowhere", "fz-admin").await.problem(404);
    site.send(Request::get("/page/nowhere.js").body(Body::empty()).unwrap()).await.problem(404);
    let answer = site.ask(Method::DELETE, "/agents", "fz-admin", "").await;
    answer.problem(405);
    assert_eq!(answer.headers[header::ALLOW], "GET,HEAD");
    let query = site.get("/calls?limit=many", "fz-team_lead").await.problem(400);
    assert!(query.detail.contains("limit"), "{}", query.detail);
    let large = format!(r#"{{"state":"ready","reason":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    site.ask(Method::PUT, "/agents/1001/state", "fz-agent", &large).await.problem(413);
}

#[tokio::test]
async fn a_panic_is_a_problem_and_tells_nothing() {
    let site = two_sites().await;
    let internals = Arc::new(|| panic!("secret inside"));
    let broken = Two { router: router(Node { internals, ..site.node.clone() }), ..site };
    let problem = broken.get("/health/internals", "all-admin").await.problem(500);
    assert!(!problem.detail.contains("secret"));
}

#[tokio::test]
async fn a_store_that_is_away_is_503_and_live_data_goes_on() {
    let site = two_sites().await;
    site.node.store.close().await;
    site.get("/calls", "fz-team_lead").await.problem(503);
    assert_eq!(site.get("/calls/live", "fz-team_lead").await.status, StatusCode::OK);
}

/// Every path below the prefix.
const PATHS: [&str; 43] = [
    "/calls/{contact}/operation",
    "/targets/undelivered",
    "/agents/{name}/seat",
    "/seats",
    "/agents/{name}/wrap-up",
    "/modes",
    "/modes/{name}",
    "/calls/{contact}/routing",
    "/agents",
    "/agents/{name}",
    "/agents/{name}/state",
    "/audit",
    "/bans",
    "/bans/{source}",
    "/calls",
    "/calls/live",
    "/calls/live/{contact}/hang-up",
    "/calls/{contact}",
    "/events",
    "/figures/agents",
    "/figures/answer-rate",
    "/figures/calls",
    "/health",
    "/health/internals",
    "/orders",
    "/orders/{id}",
    "/queues",
    "/recordings",
    "/recordings/{id}",
    "/recordings/{id}/audio",
    "/recordings/{id}/peaks",
    "/calls/live/{contact}/transfer",
    "/calls/live/{contact}/transfer/{step}",
    "/calls/live/{contact}/supervision",
    "/calls/live/{contact}/release",
    "/calls/live/{contact}/park",
    "/calls/live/{contact}/pickup",
    "/agents/{name}/supervision",
    "/callbacks",
    "/callbacks/{id}",
    "/missed-calls",
    "/targets",
    "/trunks",
];

/// Those that do not stand below `/api/v1`.
const BESIDE: [&str; 5] = [
    "/metrics",
    "/context/{token}",
    "/context/{token}/operation",
    "/context/{token}/orders",
    "/context/{token}/three-way",
];

#[tokio::test]
async fn the_description_is_openapi_3_1_and_whole() {
    let site = two_sites().await;
    let told = site.get("/openapi.json", "").await;
    assert_eq!(told.status, StatusCode::OK);
    let document = told.json();
    assert_eq!(document, serde_json::to_value(description()).unwrap());
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = PATHS.map(|path| format!("/api/v1{path}")).to_vec();
    expected.extend(BESIDE.map(str::to_owned));
    expected.sort();
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = path == "/api/v1/health" || path.starts_with("/context/");
            assert_eq!(
                operation["security"],
                if open { Value::Null } else { json!([{"bearer": []}]) },
                "{method} {path}"
            );
            if path.starts_with("/context/") {
                assert!(operation["responses"]["404"].is_object() && operation["responses"]["410"].is_object());
                continue;
            }
            for status in ["401", "403", "404"] {
                let kind = &operation["responses"][status]["content"]["application/problem+json"];
                assert_eq!(kind.is_object(), !open, "{method} {path} {status}");
            }
        }
    }
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("no reference leads outside");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| collect_references(field, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
