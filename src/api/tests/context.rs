//! Links: what they open, and what every other token opens.

use super::*;
use crate::base::fact::{TransferMode, TransferRecord};
use crate::call::ahead::Link;
use serde_json::json;

const NOW: Wall = Wall(1_800_000_000_000);

/// Two sites; in fz the contact was transferred to `water`.
async fn transferred() -> Two {
    let site = two_sites().await;
    let mut call = facts(0, "fz", "1001").swap_remove(0);
    let Fact::Call(record) = &mut call.fact else { panic!("the first fact is the call's") };
    record.revision = 2;
    record.transfers.push(TransferRecord {
        target: "water".into(),
        kind: TargetKind::Utility,
        mode: TransferMode::Consult,
        reason: "管道爆裂".into(),
        agent: "1001".into(),
        started: Wall(6_000),
        answered: None,
        joined: None,
        mute: None,
        handed: None,
        ended: None,
        result: None,
        routes: Vec::new(),
        drill: true,
    });
    site.node.store.apply(&[call]).await.unwrap();
    site
}

fn token(link: Link, now: Wall) -> String {
    links().mint(link, now).rsplit('/').next().unwrap().to_owned()
}

fn first() -> Link {
    Link { contact: contact(0), number: 1 }
}

async fn open(site: &Two, token: &str, accept: &str) -> Answer {
    let request = Request::get(format!("/context/{token}")).header(header::ACCEPT, accept);
    site.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_link_opens_what_is_known_of_its_transfer_and_the_audit_hears_of_it() {
    let site = transferred().await;
    let answer = open(&site, &token(first(), NOW), "application/json").await;
    let shown = json!({
        "contact": contact(0).to_string(), "transfer": 1, "site": "fz", "target": "water", "kind": "utility", "drill": true,
        "mode": "consult", "reason": "管道爆裂", "agent": "1001", "caller": CALLER, "place": null, "called": 4_000,
        "answered": null, "started": 6_000,
        "order": { "id": order(0).to_string(), "state": "draft", "category": "", "place": null, "emergency": false,
            "ticket": null, "opened": 5_000 },
    });
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, shown));
    let audit = site.audit();
    let [(Some(SiteId(0)), act)] = &audit[..] else { panic!("{audit:?}") };
    assert_eq!((&*act.actor, &*act.role, &*act.action, act.allowed), ("water", "link", "context.read", true));
    assert_eq!(*act.object, *contact(0).to_string());

    let page = open(&site, &token(first(), NOW), "text/html,*/*").await;
    assert_eq!(
        (page.status, page.headers[header::CONTENT_TYPE].to_str().unwrap()),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    for part in [CALLER, "管道爆裂", "1001", "演练", &order(0).to_string()] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
}

#[tokio::test]
async fn what_a_link_opens_is_kept_framed_and_named_by_nobody() {
    let site = transferred().await;
    let good = token(first(), NOW);
    for token in [&*good, "wrong"] {
        let answer = open(&site, token, "text/html").await;
        let told = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        let policy = told("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let others = ["cache-control", "referrer-policy", "x-robots-tag", "x-content-type-options"].map(told);
        assert_eq!(others, ["no-store", "no-referrer", "noindex, nofollow", "nosniff"]);
    }
}

#[tokio::test]
async fn every_wrong_token_has_the_same_answer_and_one_that_ran_out_its_own() {
    let site = transferred().await;
    let good = token(first(), NOW);
    let of_another = Links { key: Key([8; 32]), ..links() }.mint(first(), NOW).rsplit('/').next().unwrap().to_owned();
    let no_such_transfer = token(Link { number: 2, ..first() }, NOW);
    let none = token(Link { number: 0, ..first() }, NOW);
    let no_such_contact = token(Link { contact: ContactId(9), number: 1 }, NOW);
    let cut = &good[..good.len() - 1];
    let mut details = Vec::new();
    for wrong in ["A", "%FF", cut, &of_another, &no_such_transfer, &none, &no_such_contact] {
        details.push(open(&site, wrong, "text/html").await.problem(404).detail);
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    site.audit();
    let expired = token(first(), Wall(NOW.0 - 60_000));
    open(&site, &expired, "text/html").await.problem(410);
    let audit = site.audit();
    assert_eq!((audit.len(), &*audit[0].1.action, audit[0].1.allowed), (1, "context.read", false));
    open(&site, "A", "text/html").await.problem(404);
    let audit = site.audit();
    assert_eq!((audit.len(), &*audit[0].1.action, &*audit[0].1.object), (1, "token.check", "/context"));
}

#[tokio::test]
async fn a_link_that_is_used_too_often_is_refused_for_a_while() {
    let site = transferred().await;
    let good = token(first(), NOW);
    for _ in 0..crate::api::context::USES_PER_MINUTE_MAX {
        assert_eq!(open(&site, &good, "application/json").await.status, StatusCode::OK);
    }
    let refused = open(&site, &good, "application/json").await;
    refused.problem(429);
    assert_eq!(refused.headers[header::RETRY_AFTER], "60");
}

#[tokio::test]
async fn what_targets_were_not_told_is_listed_for_the_site() {
    let site = two_sites().await;
    let row = crate::store::context::Undelivered {
        site: "fz".into(),
        id: FactId(5).to_string(),
        contact: contact(0).to_string(),
        number: 1,
        target: "water".into(),
        origin: "https://center.example".into(),
        tries: 6,
        status: Some(500),
        why: "status".into(),
        at: 7_000,
    };
    site.node.store.site("fz").add_undelivered(&row).await.unwrap();
    let list = site.get("/targets/undelivered", "fz-team_lead").await.json();
    assert_eq!(list, json!({ "items": [row], "next": null }));
    assert_eq!(site.get("/targets/undelivered", "ly-team_lead").await.json()["items"], json!([]));
    site.get("/targets/undelivered", "fz-agent").await.problem(403);
}

async fn post(site: &Two, path: &str, body: &serde_json::Value) -> Answer {
    site.ask(Method::POST, &format!("/context/{path}"), "", &body.to_string()).await
}

#[tokio::test]
async fn how_the_call_goes_at_the_target_is_taken_once_and_shown() {
    let site = transferred().await;
    let good = token(first(), NOW);
    let said = json!({ "event": "answered", "at": NOW.0, "wait_ms": 4_000, "agent": "8001" });
    let taken = |new| json!({ "contact": contact(0).to_string(), "transfer": 1, "new": new });
    let answer = post(&site, &format!("{good}/operation"), &said).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::CREATED, taken(true)));
    let again = json!({ "event": "answered", "at": NOW.0, "wait_ms": 9_000 });
    let answer = post(&site, &format!("{good}/operation"), &again).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, taken(false)));
    let shown = site.get(&format!("/calls/{}/operation", contact(0)), "fz-team_lead").await.json();
    let row = json!({ "number": 1, "event": "answered", "target": "water", "at": NOW.0, "wait_ms": 4_000, "talk_ms": null,
        "agent": "8001", "recording": null, "received": NOW.0 });
    assert_eq!(shown, json!({ "items": [row] }));
    let audit = site.audit();
    assert_eq!((&*audit[0].1.actor, &*audit[0].1.action), ("water", "operation.tell"));

    for wrong in [json!({ "event": "answered", "at": NOW.0 + 600_000 }), json!({ "event": "lost", "at": NOW.0 })] {
        post(&site, &format!("{good}/operation"), &wrong).await.problem(422);
    }
    post(&site, "A/operation", &said).await.problem(404);
    let expired = token(first(), Wall(NOW.0 - 60_000));
    post(&site, &format!("{expired}/operation"), &said).await.problem(410);
}

#[tokio::test]
async fn a_target_raises_an_order_and_it_says_so() {
    let site = transferred().await;
    let good = token(first(), NOW);
    let wanted = json!({ "text": "水管爆裂，需现场处置", "category": "010203", "place": "五四路" });
    let answer = post(&site, &format!("{good}/orders"), &wanted).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let id = answer.json()["order"].as_str().unwrap().to_owned();
    let shown = site.get(&format!("/orders/{id}"), "fz-dispatcher").await.json();
    assert_eq!((&shown["order"]["contact"], &shown["order"]["drill"]), (&json!(contact(0).to_string()), &json!(true)));
    assert_eq!((&shown["history"][0]["actor"], &shown["history"][0]["role"]), (&json!("water"), &json!("target")));
    assert_eq!(shown["history"][0]["reason"], "水管爆裂，需现场处置");
    for number in 1..crate::store::context::RAISED_MAX {
        let further = json!({ "text": number.to_string() });
        assert_eq!(post(&site, &format!("{good}/orders"), &further).await.status, StatusCode::CREATED);
    }
    let again = post(&site, &format!("{good}/orders"), &wanted).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, json!({ "order": id, "new": false })));
    post(&site, &format!("{good}/orders"), &json!({ "text": "one more" })).await.problem(409);
    post(&site, &format!("{good}/orders"), &json!({ "text": "" })).await.problem(422);
    post(&site, "A/orders", &wanted).await.problem(404);
}

#[tokio::test]
async fn all_three_are_together_when_the_target_says_so_while_it_is_consulted() {
    let site = transferred().await;
    let path = format!("{}/three-way", token(first(), NOW));
    let over = post(&site, &path, &json!({})).await.problem(409).detail;
    assert!(over.contains("over"), "{over}");
    let consulting = |phase| {
        let transfer = crate::call::transfer::TransferView {
            target: "water".into(),
            kind: TargetKind::Utility,
            phase: Some(phase),
            result: None,
            ended: None,
            status: None,
            mute: false,
            drill: true,
            dial: None,
        };
        CallView { transfer: Some(transfer), ..call_view(0, 0, Some(Stage::Talking), Some(0)) }
    };
    use crate::call::transfer::Phase;
    for (phase, word) in [(Phase::Dialling, "dialling"), (Phase::Joined, "joined"), (Phase::Handed, "handed")] {
        site.node.live.apply(NOW, [Delta::Call(consulting(phase))]);
        let why = post(&site, &path, &json!({})).await.problem(409).detail;
        assert!(why.contains(word), "{why}");
    }
    assert!(site.asked.lock().unwrap().transfers.is_empty());
    site.node.live.apply(NOW, [Delta::Call(consulting(Phase::Consulting))]);
    let answer = post(&site, &path, &json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let asked = std::mem::take(&mut site.asked.lock().unwrap().transfers);
    let call = CallId { shard: ShardId(0), slot: 0, generation: 1 };
    assert_eq!(asked, [(call, Some(AgentId(0)), Ask::Join)]);
    let audit = site.audit();
    assert_eq!(audit.last().map(|(_, act)| &*act.action), Some("call.three_way"));
}
