//! Figures through the API: a day of facts, asked for in every way.

use super::*;
use crate::base::fact::{AgentChanged, End, EndedBy};
use crate::store::agents::NewAgent;
use crate::store::sites::SiteRow;
use serde_json::{Value, json};

/// Now, of the test's clock.
const NOW: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

/// A call that came so many minutes ago, asked for a human after a second, was answered after so many seconds more, or
/// gave up then.
fn call(number: u128, minutes_ago: i64, queue: &str, (after_s, answered): (i64, bool)) -> Stamped {
    let mut facts = facts(0, "fz", "1001");
    let mut fact = facts.swap_remove(0);
    let Fact::Call(call) = &mut fact.fact else { unreachable!("the first is the call's") };
    let offered = NOW - minutes_ago * MINUTE;
    let (queued, then) = (Wall(offered + 1_000), Wall(offered + 1_000 + after_s * 1_000));
    call.contact = ContactId(5_000 + number);
    call.queue = Some(queue.into());
    call.agent = answered.then(|| "1001".into());
    call.times = Times { offered: Wall(offered), queued: Some(queued), ..Times::default() };
    let stage = if answered { Stage::Talking } else { Stage::Queued };
    if answered {
        call.times.answered = Some(then);
    }
    call.times.ended = Some(if answered { Wall(then.0 + MINUTE) } else { then });
    call.end = Some(End { stage, by: EndedBy::Caller, sip_status: 200, q850: 16 });
    fact
}

fn state(minutes_ago: i64, agent: &str, to: &str, reason: &str) -> Stamped {
    let at = NOW - minutes_ago * MINUTE;
    let changed = AgentChanged {
        agent: agent.into(),
        from: "x".into(),
        to: to.into(),
        reason: reason.into(),
        contact: None,
        by: None,
    };
    Stamped { id: FactId((at as u128) << 80), at: Wall(at), site: "fz".into(), fact: Fact::Agent(changed) }
}

async fn a_day() -> Two {
    let site = two_sites().await;
    let calls = [
        call(1, 90, "general", (10, true)),
        call(2, 85, "general", (40, true)),
        call(3, 50, "social", (3, true)),
        call(4, 45, "general", (2, false)),
        call(5, 40, "general", (60, false)),
        call(6, 26 * 60, "general", (60, false)),
    ];
    let states = [
        state(120, "1001", "ready", ""),
        state(90, "1001", "offered", ""),
        state(89, "1001", "talking", ""),
        state(80, "1001", "wrap_up", ""),
        state(70, "1001", "not_ready", "tea"),
        state(100, "1002", "ready", ""),
    ];
    site.node.store.apply(&calls.into_iter().chain(states).collect::<Vec<_>>()).await.unwrap();
    site
}

fn figures(items: &Value, names: &[&str]) -> Vec<Value> {
    items.as_array().unwrap().iter().map(|item| names.iter().map(|name| item[*name].clone()).collect()).collect()
}

#[tokio::test]
async fn a_period_is_counted_whole_by_interval_and_by_queue() {
    let site = a_day().await;
    let day = site.get("/figures/calls", "fz-team_lead").await.json();
    let item = &day["items"][0];
    assert_eq!((&day["to"], &day["formulas"], &item["from"]), (&json!(NOW), &json!(1), &day["from"]));
    assert_eq!(figures(&day["items"], &["offered", "asked", "answered", "abandoned"]), [json!([5, 5, 3, 2])]);
    assert_eq!(item["answer_rate"], json!({ "part": 3, "whole": 5, "value": 0.6 }));
    assert_eq!((&item["in_time_of_answered"]["part"], &item["wait"]["longest_ms"]), (&json!(2), &json!(40_000)));
    let levels: Vec<_> = (0..4).map(|level| item["service_levels"][level]["value"].as_f64().unwrap()).collect();
    assert_eq!(levels, [0.6, 2.0 / 3.0, 0.4, 0.5]);
    let slow = site.get("/figures/calls?within_s=60", "fz-province").await.json();
    assert_eq!(slow["items"][0]["in_time_of_answered"]["part"], 3);

    let from = NOW - 120 * MINUTE;
    let path = format!("/figures/calls?from={from}&to={NOW}&every_min=30&by=queue");
    let rows = site.get(&path, "all-admin").await;
    rows.problem(400);
    let rows = site.get(&format!("{path}&site=fz"), "all-admin").await.json();
    let after = |minutes: i64| from + minutes * MINUTE;
    assert_eq!(
        figures(&rows["items"], &["from", "group", "offered"]),
        [json!([after(30), "general", 2]), json!([after(60), "general", 2]), json!([after(60), "social", 1])]
    );
    let agents = site.get("/figures/calls?by=agent", "fz-qc").await.json();
    assert_eq!(figures(&agents["items"], &["group", "offered"]), [json!([null, 2]), json!(["1001", 3])]);
}

#[tokio::test]
async fn calls_and_time_are_added_up_by_team() {
    let site = a_day().await;
    let fuzhou =
        SiteRow { code: "fz".into(), name: "12345".into(), time_zone: "Asia/Shanghai".into(), area: "350100".into() };
    site.node.store.sync_sites(&[fuzhou]).await.unwrap();
    let people = site.node.store.site("fz");
    for name in ["1001", "1002", "1003"] {
        let agent = NewAgent { name, display_name: name, domain: "fz.example", password: "x" };
        people.add_agent(&agent).await.unwrap();
    }
    people.set_team("1001", "早班").await.unwrap();
    let calls = site.get("/figures/calls?by=team", "fz-team_lead").await.json();
    assert_eq!(figures(&calls["items"], &["group", "offered"]), [json!([null, 2]), json!(["早班", 3])]);
    let teams = site.get("/figures/agents?by=team", "fz-team_lead").await.json();
    let wanted = [json!([null, "", 100 * MINUTE]), json!([null, "早班", 30 * MINUTE])];
    assert_eq!(figures(&teams["items"], &["agent", "team", "ready_ms"]), wanted);
    people.set_team("1002", "早班").await.unwrap();
    let one = site.get("/figures/agents?by=team", "fz-team_lead").await.json();
    assert_eq!(figures(&one["items"], &["team", "ready_ms"]), [json!(["早班", 130 * MINUTE])]);
    let members = site.get("/figures/agents?team=%E6%97%A9%E7%8F%AD", "fz-team_lead").await.json();
    assert_eq!(figures(&members["items"], &["agent", "team"]), [json!(["1001", "早班"]), json!(["1002", "早班"])]);
    let nobody = site.get("/figures/agents?team=none", "fz-team_lead").await.json();
    assert_eq!(nobody["items"], json!([]));
}

#[tokio::test]
async fn agents_see_their_own_time_and_team_leads_all() {
    let site = a_day().await;
    let all = site.get("/figures/agents", "fz-team_lead").await.json();
    assert_eq!(
        figures(&all["items"], &["agent", "ready_ms"]),
        [json!(["1001", 30 * MINUTE]), json!(["1002", 100 * MINUTE])]
    );
    let one = &all["items"][0];
    assert_eq!((&one["ringing"]["total_ms"], &one["talking"]["total_ms"]), (&json!(MINUTE), &json!(9 * MINUTE)));
    assert_eq!((&one["paused_ms"], &one["missed"]), (&json!({ "tea": 70 * MINUTE }), &json!(0)));
    assert_eq!(one["occupancy"]["value"], 0.4);
    let own = site.get("/figures/agents", "fz-agent").await.json();
    assert_eq!(figures(&own["items"], &["agent"]), [json!(["1001"])]);
    site.get("/figures/agents?agent=1002", "fz-agent").await.problem(403);
    // In the middle of what went on: what came before it says in which state they were.
    let path = format!("/figures/agents?from={}&to={}", NOW - 85 * MINUTE, NOW - 82 * MINUTE);
    let middle = site.get(&path, "fz-team_lead").await.json();
    let names = ["agent", "logged_in_ms"];
    assert_eq!(figures(&middle["items"], &names), [json!(["1001", 3 * MINUTE]), json!(["1002", 3 * MINUTE])]);
    assert_eq!(middle["items"][0]["talking"]["total_ms"], 3 * MINUTE);
}

#[tokio::test]
async fn the_answer_rate_rolls_over_24_hours() {
    let site = a_day().await;
    let rate = site.get("/figures/answer-rate", "fz-supervisor").await.json();
    assert_eq!((&rate["last_24_h"]["part"], &rate["last_24_h"]["whole"]), (&json!(3), &json!(5)));
    assert_eq!((&rate["lowest"]["rate"]["part"], &rate["lowest"]["rate"]["whole"]), (&json!(0), &json!(1)));
    let (from, to) = (rate["lowest"]["from"].as_i64().unwrap(), rate["lowest"]["to"].as_i64().unwrap());
    let came = NOW - 26 * 60 * MINUTE;
    assert!(from <= came && came < to && to - from == 24 * 60 * MINUTE, "{rate}");
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_in_words() {
    let site = a_day().await;
    for (path, status) in [
        ("/figures/calls?from=5&to=5", 400),
        ("/figures/calls?from=9&to=5", 400),
        ("/figures/calls?from=-5&to=5", 400),
        ("/figures/calls?from=0&to=2678400001", 400),
        ("/figures/calls?every_min=0", 400),
        ("/figures/calls?every_min=1441", 400),
        ("/figures/calls?within_s=601", 400),
        ("/figures/calls?by=moon", 400),
        ("/figures/agents?from=9&to=5", 400),
        ("/figures/calls?site=ly", 404),
    ] {
        site.get(path, "fz-team_lead").await.problem(status);
    }
    site.get("/figures/calls", "fz-agent").await.problem(403);
    let ours = site.get("/figures/calls", "ly-team_lead").await.json();
    assert_eq!(ours["items"], json!([]), "another site's calls are not counted");
}
