//! Modes of queues beside callers who wait: in a rush, by hand, and after a restart.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, MUSIC_HZ, Past, folder, prompt};
use crate::support::phone::Phone;
use crate::support::{eventually, sql, wav};
use serde_json::json;
use std::time::{Duration, Instant};

const INCIDENT_HZ: f64 = 1_230.0;
/// Two callers within a minute are a rush.
const STORM: &str = r#"
[[mode]]
site = "fuzhou"
name = "台风"
queues = ["综合"]
rush = { normal_per_h = 1, times = 60.0, for_min = 1, calm_min = 60 }
incident = { prompt = "incident", dialled = ["12345"] }
lend = [{ team = "后备", skills = { general = 2 } }]
"#;

/// The agents know other things than the queue asks for; one of them belongs to the reserve.
fn stormy() -> Folder {
    stormy_by(STORM)
}

fn stormy_by(storm: &str) -> Folder {
    let folder = folder();
    prompt(&folder, "incident", INCIDENT_HZ, 300);
    let queues = folder.path().join("sip-profiles/queues.toml");
    let text = std::fs::read_to_string(&queues).unwrap();
    std::fs::write(queues, format!("{text}{storm}")).unwrap();
    let team = ["agent", "team", "--site", "fuzhou", "--name", "1001", "--team", "后备"];
    let skills = ["agent", "skills", "--site", "fuzhou", "--name", "1001", "--skill", "social=3"];
    for command in [&team[..], &skills] {
        let (status, text) = folder.run(command);
        assert!(status.success(), "{text}");
    }
    folder
}

fn mode(hotline: &Hotline) -> serde_json::Value {
    let modes = hotline.lead.read("/modes").body;
    let found = modes["items"].as_array().and_then(|items| items.iter().find(|mode| mode["name"] == "台风").cloned());
    found.unwrap_or_else(|| panic!("no such mode: {modes}"))
}

fn becomes(hotline: &Hotline, open: bool, why: Option<&str>) {
    eventually("the mode changes", Duration::from_secs(5), || {
        let mode = mode(hotline);
        (mode["open"] == open && mode["why"].as_str() == why).then_some(())
    });
}

/// So often, sooner or later, the audit says this of the mode.
fn audited(hotline: &Hotline, action: &str, actor: &str, source: &str, times: i64) {
    let rows = format!(
        "site = 'fuzhou' AND object = '台风' AND action = '{action}' AND actor = '{actor}' AND source LIKE '{source}%'"
    );
    eventually(action, Duration::from_secs(5), || {
        (sql::count(&hotline.database(), "audit", &rows) == times).then_some(())
    });
}

fn heard_the_incident(past: &Past) -> bool {
    wav::heard_ms(&past.sound.right, INCIDENT_HZ) >= 200
}

#[test]
fn a_rush_opens_the_reserve_and_somebodys_word_shuts_it() {
    let mut hotline = Hotline::start(stormy());
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-m", "2"]);
    hotline.ready("1001");
    assert_eq!(hotline.lead.read("/agents/1001").body["team"], "后备");
    let first = hotline.citizen("citizen-waits", &[]);
    let one = hotline.events.call("queued");
    assert_eq!(mode(&hotline)["arrivals"], 1);
    assert_eq!(hotline.agent("1001")["state"], "ready", "nobody asks for what the agent knows");

    let second = hotline.citizen("citizen-waits", &[]);
    hotline.events.call("queued");
    becomes(&hotline, true, Some("rush"));
    assert_eq!(hotline.events.call("talking"), one, "who came first is served first");
    first.succeeds();
    let two = hotline.events.call("talking");
    second.succeeds();
    agent.succeeds();
    let (one, two) = (hotline.past(&one), hotline.past(&two));
    assert!(!heard_the_incident(&one) && !heard_the_incident(&two), "both were in the line before it opened");

    // A third hears of the incident; then somebody says that it is over.
    let agent = hotline.behaves(&phone, "agent-hangs-up", &[]);
    let third = hotline.citizen("citizen-waits", &[]);
    let three = hotline.events.call("talking");
    third.succeeds();
    agent.succeeds();
    assert!(heard_the_incident(&hotline.past(&three)));
    let word = hotline.lead.put("/modes/%E5%8F%B0%E9%A3%8E", &json!({ "open": false, "for_s": 3600 }));
    assert_eq!(word.status, 202, "{}", word.body);
    becomes(&hotline, false, None);
    audited(&hotline, "mode.open", "jiesu", "rush", 1);
    audited(&hotline, "mode.shut", "jiesu", "", 1);

    hotline.engine.kill();
    hotline.start_again();
    let stands = mode(&hotline);
    assert_eq!((&stands["open"], &stands["hand"]["open"]), (&json!(false), &json!(false)), "{stands}");
    assert_eq!(hotline.lead.put("/modes/%E5%8F%B0%E9%A3%8E", &json!({ "open": true })).status, 202);
    becomes(&hotline, true, Some("hand"));
    audited(&hotline, "mode.open", "jiesu", "hand", 1);
    audited(&hotline, "mode.set", "fuzhou-lead", "127.0.0.1", 2);
    for (mode, body, status) in
        [("none", json!({ "open": true }), 404), ("%E5%8F%B0%E9%A3%8E", json!({ "open": true, "for_s": 0 }), 400)]
    {
        assert_eq!(hotline.lead.put(&format!("/modes/{mode}"), &body).status, status);
    }
}

#[test]
fn a_rush_that_is_over_shuts_its_mode_and_who_calls_then_hears_no_incident() {
    let mut hotline = Hotline::start(stormy_by(&STORM.replace("calm_min = 60", "calm_min = 1")));
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-m", "2"]);
    hotline.ready("1001");
    let citizens = [hotline.citizen("citizen-waits", &[]), hotline.citizen("citizen-waits", &[])];
    citizens.iter().for_each(|_| _ = hotline.events.call("queued"));
    becomes(&hotline, true, Some("rush"));
    citizens.into_iter().for_each(|citizen| _ = citizen.succeeds());
    agent.succeeds();
    // Nobody calls for a minute.
    eventually("the mode shuts", Duration::from_secs(75), || (mode(&hotline)["open"] == false).then_some(()));
    audited(&hotline, "mode.open", "jiesu", "rush", 1);
    audited(&hotline, "mode.shut", "jiesu", "", 1);
    let begin = Instant::now();
    let mut waiting = Phone::new(hotline.engine.sip, "13800138000", "city.example", wav::to_alaw(1_000));
    waiting.dial("12345");
    let contact = hotline.events.call("queued");
    eventually("the music, which follows on all that is said before", Duration::from_secs(10), || {
        (wav::heard_ms(&waiting.ear(begin, Instant::now()), MUSIC_HZ) >= 300).then_some(())
    });
    assert_eq!(hotline.agent("1001")["state"], "ready", "the reserve is lent no more");
    waiting.hangs_up();
    assert!(!heard_the_incident(&hotline.past(&contact)));
}
