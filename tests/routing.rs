//! Why this agent: `GET /calls/{contact}/routing` and `jiesu explain` after real calls.

use crate::support::hotline::{Hotline, Past, folder};
use serde_json::Value;

/// What was decided, in order, and who was seen as what in the decision of this name.
fn decisions(explanation: &Value) -> Vec<&str> {
    let decisions = explanation["decisions"].as_array().unwrap_or_else(|| panic!("{explanation}"));
    decisions.iter().map(|decision| decision["decision"].as_str().unwrap()).collect()
}

fn seen<'a>(decision: &'a Value, reason: &str) -> Vec<&'a str> {
    let groups = decision["agents"].as_array().unwrap().iter().filter(|group| group["reason"] == reason);
    groups.flat_map(|group| group["named"].as_array().unwrap()).map(|seen| seen["agent"].as_str().unwrap()).collect()
}

fn routing(hotline: &Hotline, contact: &str) -> Value {
    let answer = hotline.lead.read(&format!("/calls/{contact}/routing"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Agents 1001 and 1002 are ready, 1003 is paused, 1004 signed out, 1005 has another skill: the longest idle rejects the
/// call, the other one answers it.
fn a_call_that_one_rejects_and_another_answers() -> (Hotline, Past) {
    let folder = folder();
    folder.agent("fuzhou", "1003", "general").agent("fuzhou", "1004", "general").agent("fuzhou", "1005", "social");
    let mut hotline = Hotline::start(folder);
    let (first, second) = (hotline.phone("1001"), hotline.phone("1002"));
    hotline.phone("1003");
    hotline.phone("1005");
    let rejects = hotline.behaves(&first, "agent-rejects", &[]);
    let answers = hotline.behaves(&second, "agent-answers", &[]);
    hotline.ready("1001");
    hotline.ready("1002");
    hotline.ready("1005");
    hotline.want("1003", "not_ready");
    hotline.events.agent("1003", "not_ready");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "4000"]);
    let contact = hotline.events.call("talking");
    let live = routing(&hotline, &contact);
    assert_eq!(decisions(&live), ["offered", "declined", "offered", "answered"], "while it goes on");
    rejects.succeeds();
    citizen.succeeds();
    answers.succeeds();
    let past = hotline.past(&contact);
    (hotline, past)
}

#[test]
fn a_call_is_explained_by_the_api_and_on_the_command_line() {
    let (hotline, past) = a_call_that_one_rejects_and_another_answers();
    let contact = past.record["call"]["id"].as_str().unwrap().to_owned();
    let explanation = routing(&hotline, &contact);
    assert_eq!(decisions(&explanation), ["offered", "declined", "offered", "answered", "talk_ended"]);
    assert_eq!((&explanation["contact"], &explanation["site"]), (&Value::from(&*contact), &"fuzhou".into()));
    let [first, refused, second, ..] = &explanation["decisions"].as_array().unwrap()[..] else { panic!("five") };
    assert_eq!(
        (&first["agent"], &first["rule"], &first["eligible"]),
        (&"1001".into(), &"longest_idle".into(), &2.into())
    );
    assert_eq!((&first["queue"], &first["cause"]["event"]), (&"综合".into(), &"caller_came".into()));
    assert_eq!(seen(first, "chosen"), ["1001"]);
    assert_eq!(seen(first, "passed_over"), ["1002"]);
    assert_eq!(seen(first, "not_ready"), ["1003"]);
    assert_eq!(seen(first, "offline"), ["1004"]);
    assert_eq!(seen(first, "lacks_skill"), ["1005"]);
    assert_eq!((&refused["agent"], &refused["why"]), (&"1001".into(), &"rejected".into()));
    assert_eq!((&second["agent"], seen(second, "not_ready")), (&"1002".into(), vec!["1003", "1001"]));
    let offered = first["at"].as_i64().unwrap();
    assert!((offered - past.record["call"]["queued"].as_i64().unwrap()).abs() <= 100, "{first}");

    let (status, beside) = hotline.engine.folder.run(&["explain", &contact]);
    assert!(status.success(), "{beside}");
    for line in [
        "offered to 1001 by longest idle: ready for ",
        "(2 eligible) [queue 综合, asks for general 1] (the caller came)",
        "eligible, not chosen     1  1002 (ready for ",
        "paused: ",
        "signed out     1  1004",
        "lacks general: has 0, needs 1     1  1005",
        "1001 does not take it: refused (no answer or refusal by 1001)",
        "offered to 1002 by longest idle",
        "1002 answers (answer by 1002)",
        "the talk with 1002 is over",
    ] {
        assert!(beside.contains(line), "{line:?} in\n{beside}");
    }
    assert_eq!(hotline.lead.read("/calls/01ARZ3NDEKTSV4RRFFQ69G5FAV/routing").status, 404);
    assert_eq!(hotline.engine.api("demo-admin-token").read(&format!("/calls/{contact}/routing")).status, 403);
}

#[test]
fn a_call_is_explained_after_the_engine_was_killed_and_not_without_its_files() {
    let (mut hotline, past) = a_call_that_one_rejects_and_another_answers();
    let contact = past.record["call"]["id"].as_str().unwrap().to_owned();
    hotline.engine.kill();
    let (status, without) = hotline.engine.folder.run(&["explain", "--json", &contact]);
    assert!(status.success(), "no engine need run: {without}");
    hotline.start_again();
    assert_eq!(serde_json::from_str::<Value>(&without).unwrap(), routing(&hotline, &contact), "the same from both");

    std::fs::remove_dir_all(hotline.folder().join("data/routing")).unwrap();
    let gone = hotline.lead.read(&format!("/calls/{contact}/routing"));
    assert_eq!((gone.status, &gone.body["title"]), (410, &"Gone".into()));
    assert_eq!(gone.body["detail"], "what the queues were told at that time is not kept (any more)");
    let (status, said) = hotline.engine.folder.run(&["explain", &contact]);
    assert!(!status.success() && said.contains("not kept (any more)"), "{said}");
}
