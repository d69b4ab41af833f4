//! No route without the check, no site's data for another site's token, no numbers for those who may not see them.

use super::*;
use crate::api::description;
use serde_json::Value;

/// Every operation of the description with real ids of fz in its path.
fn operations() -> Vec<(Method, String, String)> {
    let document = serde_json::to_value(description()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let plain = path.strip_prefix("/api/v1").unwrap_or(path);
        let id = if plain.starts_with("/orders") { order(0).to_string() } else { recording(0).to_string() };
        let filled = plain
            .replace("{contact}", &contact(0).to_string())
            .replace("{id}", &id)
            .replace("{name}", "1001")
            .replace("{step}", "cancel")
            .replace("{source}", "203.0.113.9");
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            // There the link is the right.
            if plain.starts_with("/context/") {
                continue;
            }
            operations.push((method, plain.to_owned(), filled.clone()));
        }
    }
    operations
}

fn body(method: &Method, path: &str) -> &'static str {
    match (method, path) {
        (&Method::POST, "/agents/{name}/wrap-up") => r#"{"extend_s":60}"#,
        (&Method::PUT, "/modes/{name}") => r#"{"open":true}"#,
        (&Method::PUT, "/agents/{name}/seat") => r#"{"seat":"S1"}"#,
        (&Method::PUT, _) => r#"{"state":"ready"}"#,
        (&Method::POST, "/calls" | "/callbacks" | "/calls/live/{contact}/pickup") => "{}",
        (&Method::POST, path) if path.ends_with("/supervision") => r#"{"mode":"listen"}"#,
        (&Method::POST, "/calls/live/{contact}/transfer") => r#"{"target":"water","reason":"burst"}"#,
        _ => "",
    }
}

#[tokio::test]
async fn every_route_wants_a_token_and_a_right() {
    let site = two_sites().await;
    let mut checked = 0;
    for (method, path, filled) in operations() {
        if path == "/health" {
            assert_eq!(site.get(&filled, "").await.status, StatusCode::OK);
            continue;
        }
        for unknown in ["", "fz-nobody"] {
            let answer = site.ask(method.clone(), &filled, unknown, body(&method, &path)).await;
            answer.problem(401);
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer", "{method} {path}");
        }
        site.audit();
        // Handlers have no grant at all.
        for token in ["fz-handler", "ly-handler", "all-handler"] {
            let filled = if token == "all-handler" { format!("{filled}?site=fz") } else { filled.clone() };
            site.ask(method.clone(), &filled, token, body(&method, &path)).await.problem(403);
            let audit = site.audit();
            assert_eq!(audit.len(), 1, "{method} {path}");
            assert_eq!((&*audit[0].1.role, audit[0].1.allowed), ("handler", false));
        }
        checked += 1;
    }
    assert_eq!(checked, 47);
    assert!(site.asked.lock().unwrap().hung_up.is_empty());
    assert!(site.asked.lock().unwrap().wanted.is_empty() && site.asked.lock().unwrap().dialled.is_empty());
}

#[tokio::test]
async fn no_token_of_one_site_sees_anything_of_the_other() {
    let site = two_sites().await;
    let (contact, order, recording) = (contact(0).to_string(), order(0).to_string(), recording(0).to_string());
    let mut seen = 0;
    for (method, path, filled) in operations() {
        for role in ROLES {
            for query in ["", "?site=fz"] {
                let token = format!("ly-{}", role.word());
                let answer = site.ask(method.clone(), &format!("{filled}{query}"), &token, body(&method, &path)).await;
                let about = format!("{method} {path}{query} as {token}: {}", answer.text());
                match answer.status.as_u16() {
                    403 | 404 => {}
                    200 if path == "/health" => {}
                    // Of whose own agent nobody is named to call.
                    422 if matches!(&*path, "/calls" | "/callbacks") && query.is_empty() => {}
                    200 => {
                        assert!(query.is_empty() && !path.contains('{'), "{about}");
                        for secret in ["\"fz\"", "fz-general", "1001", &contact, &order, &recording] {
                            assert!(!answer.text().contains(secret), "{about}");
                        }
                        seen += 1;
                    }
                    _ => panic!("{about}"),
                }
            }
        }
    }
    assert!(seen > 20, "the lists answered: {seen}");
    assert!(site.asked.lock().unwrap().hung_up.is_empty() && site.asked.lock().unwrap().wanted.is_empty());
    assert!(site.asked.lock().unwrap().dialled.is_empty());
}

#[tokio::test]
async fn what_is_absent_answers_like_what_is_foreign() {
    let site = two_sites().await;
    let pairs = [
        (format!("/calls/{}", contact(0)), format!("/calls/{}", ContactId(9)), "ly-team_lead"),
        (format!("/calls/{}/routing", contact(0)), format!("/calls/{}/routing", ContactId(9)), "ly-team_lead"),
        (format!("/orders/{}", order(0)), "/orders/nonsense".into(), "ly-dispatcher"),
        (format!("/recordings/{}/audio", recording(0)), format!("/recordings/{}/audio", RecordingId(9)), "ly-qc"),
        (format!("/recordings/{}/peaks", recording(0)), format!("/recordings/{}/peaks", RecordingId(9)), "ly-qc"),
        ("/queues?site=fz".into(), "/queues?site=xx".into(), "ly-admin"),
    ];
    for (foreign, absent, token) in pairs {
        let (foreign, absent) =
            (site.get(&foreign, token).await.problem(404), site.get(&absent, token).await.problem(404));
        assert_eq!(foreign.detail, absent.detail);
    }
    let hang_up = |contact: ContactId| format!("/calls/live/{contact}/hang-up");
    for contact in [contact(0), ContactId(9)] {
        site.ask(Method::POST, &hang_up(contact), "ly-team_lead", "").await.problem(404);
    }
}

/// It tells what every agent of the site did: whoever sees only their own calls does not see it.
#[tokio::test]
async fn routing_is_for_those_who_see_the_whole_site() {
    let site = two_sites().await;
    let routing = format!("/calls/{}/routing", contact(0));
    for (token, status) in [
        ("fz-team_lead", 410),
        ("fz-qc", 410),
        ("fz-province", 410),
        ("fz-agent", 403),
        ("fz-admin", 403),
        ("fz-auditor", 403),
    ] {
        let problem = site.get(&routing, token).await.problem(status);
        assert_eq!(status == 410, problem.detail.contains("is not kept"), "{token}: {}", problem.detail);
    }
}

#[tokio::test]
async fn numbers_are_shown_by_role() {
    let site = two_sites().await;
    let call = format!("/calls/{}", contact(0));
    let order = format!("/orders/{}", order(0));
    let masked = crate::base::number::mask(CALLER);
    let cases = [
        ("/calls/live", "/items/0/caller", "fz-agent", CALLER),
        ("/calls/live", "/items/0/caller", "fz-team_lead", CALLER),
        ("/calls/live", "/items/0/caller", "fz-callback_agent", &masked),
        ("/calls", "/items/0/caller", "fz-agent", &masked),
        ("/calls", "/items/0/caller", "fz-team_lead", CALLER),
        ("/calls", "/items/0/caller", "fz-qc", &masked),
        (&call, "/call/caller", "fz-agent", &masked),
        (&call, "/call/caller", "fz-province", &masked),
        ("/orders", "/items/0/caller", "fz-dispatcher", CALLER),
        (&order, "/order/caller", "fz-qc", &masked),
        (&order, "/order/caller", "fz-supervisor", CALLER),
    ];
    for (path, pointer, token, expected) in cases {
        let answer = site.get(path, token).await;
        assert_eq!(answer.json().pointer(pointer), Some(&Value::from(expected)), "{path} as {token}");
    }
    let citizens = ["/calls", "/calls/live", &call, "/orders", &order, "/recordings"];
    for path in citizens {
        for token in ["fz-admin", "fz-auditor", "all-admin"] {
            site.get(path, token).await.problem(403);
        }
    }
}

#[tokio::test]
async fn an_agent_has_their_own_calls_only() {
    let site = two_sites().await;
    // 1002 talks now; 1001 of this token has nothing to do with it.
    site.node.live.apply(Wall(6_000), [Delta::Call(call_view(0, 7, Some(Stage::Talking), Some(1)))]);
    let live = site.get("/calls/live", "fz-agent").await.json();
    assert_eq!(live["items"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/calls/live", "fz-team_lead").await.json()["items"].as_array().unwrap().len(), 2);
    let others = format!("/calls/live/{}/hang-up", ContactId(107));
    site.ask(Method::POST, &others, "fz-agent", "").await.problem(403);
    site.get("/agents/1002", "fz-agent").await.problem(403);
    site.get("/calls?agent=1002", "fz-agent").await.problem(403);
    let agents = site.get("/agents", "fz-agent").await.json();
    assert_eq!(agents["items"].as_array().unwrap().len(), 1);
    assert_eq!(agents["items"][0]["name"], "1001");
}

#[tokio::test]
async fn a_token_for_all_sites_names_the_site_of_records() {
    let site = two_sites().await;
    site.get("/calls", "all-team_lead").await.problem(400);
    let answer = site.get("/calls?site=ly", "all-team_lead").await.json();
    assert_eq!(answer["items"][0]["site"], "ly");
    assert_eq!(site.get("/agents", "all-admin").await.json()["items"].as_array().unwrap().len(), 3);
    assert_eq!(site.get("/health/internals", "all-admin").await.json()["uptime_s"], 3);
    site.get("/health/internals", "fz-admin").await.problem(403);
    let metrics = site.get("/metrics", "all-admin").await;
    assert_eq!(metrics.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text().contains("\njiesu_uptime_seconds 3\n"));
    site.get("/metrics", "fz-admin").await.problem(403);
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit() {
    let site = two_sites().await;
    for _ in 0..100 {
        site.get("/agents", "guess").await.problem(401);
    }
    let audit = site.audit();
    assert!((20..=40).contains(&audit.len()), "{}", audit.len());
    assert_eq!((&*audit[0].1.action, &*audit[0].1.object), ("token.check", "/agents"));
    assert!(audit.iter().all(|(_, fact)| !fact.object.contains("guess")));
}
