//! Phone keys through the whole program: what an agent's phone dials, what it hears, and what the API shows of it.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, folder, prompt};
use crate::support::phone::Phone;
use crate::support::{eventually, sql, wav};
use serde_json::json;
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
/// What each prompt sounds like.
const SOUNDS: [(&str, f64); 11] = [
    ("desk-ready", 500.0),
    ("desk-not-ready", 700.0),
    ("desk-paused", 900.0),
    ("desk-logged-off", 1_100.0),
    ("desk-pause-full", 1_300.0),
    ("desk-refused", 1_500.0),
    ("desk-agent", 1_700.0),
    ("desk-pin", 1_900.0),
    ("desk-wrong", 2_100.0),
    ("desk-logged-in", 2_300.0),
    ("desk-occupied", 2_500.0),
];
const PROMPT_MS: usize = 600;

fn hotline(more: &str) -> Hotline {
    Hotline::start(configured(more))
}

fn configured(more: &str) -> Folder {
    let folder = folder();
    SOUNDS.iter().for_each(|(name, hertz)| prompt(&folder, name, *hertz, PROMPT_MS));
    let queues = folder.path().join("sip-profiles/queues.toml");
    let text = std::fs::read_to_string(&queues).unwrap();
    let keys = "[[keys]]\nsite = \"fuzhou\"\nready = \"*11\"\nlog_off = \"*10\"\nlog_in = \"*19\"\npause = { \"*13\" = \"小休\", \"*14\" = \"培训\" }\n";
    std::fs::write(queues, format!("{text}{keys}{more}")).unwrap();
    folder.edit("jiesu.toml", "shards = 0", "shards = 2");
    // Else every phone of this machine would be the carrier's.
    folder.edit("sip-profiles/trunks/carrier.toml", "127.0.0.0/8", "127.0.0.9");
    folder
}

/// A registered phone.
fn phone(hotline: &mut Hotline, name: &str) -> Phone {
    let mut phone = Phone::new(hotline.engine.sip, name, DOMAIN, wav::to_alaw(1_000));
    let contact = phone.client.contact();
    assert_eq!(phone.client.sign_in(&[&contact], 600).status, 200);
    hotline.events.phone(name, true);
    phone
}

/// The phone dials a key, hears one prompt and no other, and we hang up. On a busy machine the last of it may come late.
fn presses(phone: &mut Phone, key: &str, heard: &str) {
    let begin = Instant::now();
    let mut line = phone.dials_beside(key, phone.sound);
    line.connects();
    line.is_hung_up();
    let ear = line.ear(begin, Instant::now());
    for (name, hertz) in SOUNDS {
        let ms = wav::heard_ms(&ear, hertz);
        let expected = if name == heard { PROMPT_MS / 2..=PROMPT_MS + 20 } else { 0..=20 };
        assert!(expected.contains(&ms), "{ms} ms of {name} after {key}, where {heard} was to be heard");
    }
}

fn until(hotline: &Hotline, name: &str, state: &str, reason: &str) {
    eventually(&format!("{name} is {state} {reason:?}"), Duration::from_secs(5), || {
        let agent = hotline.agent(name);
        (agent["state"] == state && agent["reason"] == reason).then_some(())
    });
}

#[test]
fn keys_ask_for_states_and_say_so() {
    let mut hotline = hotline("not_ready = \"*12\"\n");
    let mut phone = phone(&mut hotline, "1001");
    presses(&mut phone, "*11", "desk-ready");
    until(&hotline, "1001", "ready", "");
    presses(&mut phone, "*12", "desk-not-ready");
    until(&hotline, "1001", "not_ready", "");
    presses(&mut phone, "*13", "desk-paused");
    until(&hotline, "1001", "not_ready", "小休");
    presses(&mut phone, "*10", "desk-logged-off");
    until(&hotline, "1001", "offline", "");
    let line = phone.dials_beside("*99", phone.sound);
    line.is_told(404);
    assert_eq!(hotline.agent("1001")["state"], "offline");
    hotline.nothing_is_left();
    let past = hotline.lead.read("/calls").body;
    assert_eq!(past["items"], json!([]), "a key is nobody's contact");
}

#[test]
fn a_key_gives_no_place_that_is_taken_and_hanging_up_early_loses_nothing() {
    let mut hotline = hotline(
        "[[pause]]\nsite = \"fuzhou\"\nreason = \"小休\"\ntogether_max = 1\n[[pause]]\nsite = \"fuzhou\"\nreason = \"培训\"\n",
    );
    let (mut first, mut second) = (phone(&mut hotline, "1001"), phone(&mut hotline, "1002"));
    presses(&mut first, "*13", "desk-paused");
    until(&hotline, "1001", "not_ready", "小休");
    presses(&mut second, "*13", "desk-pause-full");
    assert_eq!(hotline.agent("1002")["state"], "offline");
    let mut line = second.dials_beside("*14", second.sound);
    line.connects();
    line.hangs_up();
    until(&hotline, "1002", "not_ready", "培训");
    // While the phone is in use for it nobody is ready, and no caller is sent there.
    let mut line = second.dials_beside("*11", second.sound);
    line.connects();
    let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", wav::to_alaw(2_000));
    citizen.dial("12345");
    line.is_hung_up();
    second.rings();
    second.answers();
    hotline.events.call("talking");
    citizen.hangs_up();
    second.is_hung_up();
    hotline.nothing_is_left();
}

/// As [`hotline`], with two seats and PINs of two agents.
fn with_seats() -> Hotline {
    let folder = configured("");
    for seat in ["S1", "S2"] {
        let password = format!("secret-{seat}");
        let (status, text) = folder.run(&["seat", "add", "--site", "fuzhou", "--name", seat, "--password", &password]);
        assert!(status.success(), "{text}");
    }
    for (name, pin) in [("1001", "2468"), ("1002", "135790")] {
        let (status, text) = folder.run(&["agent", "pin", "--site", "fuzhou", "--name", name, "--pin", pin]);
        assert!(status.success(), "{text}");
    }
    Hotline::start(folder)
}

/// The registered phone of a seat.
fn seat_phone(hotline: &Hotline, seat: &str) -> Phone {
    let mut phone = Phone::new(hotline.engine.sip, seat, DOMAIN, wav::to_alaw(1_000));
    let contact = phone.client.contact();
    assert_eq!(phone.client.sign_in(&[&contact], 600).status, 200);
    phone
}

fn sits(hotline: &Hotline, name: &str, seat: serde_json::Value, phone_up: bool) {
    eventually(&format!("{name} sits at {seat}"), Duration::from_secs(5), || {
        let agent = hotline.agent(name);
        (agent["seat"] == seat && agent["phone_up"] == phone_up).then_some(())
    });
}

#[test]
fn an_agent_at_a_seat_is_rung_there_and_nowhere_else_also_after_a_restart() {
    let mut hotline = with_seats();
    let mut own = phone(&mut hotline, "1001");
    let mut seat = seat_phone(&hotline, "S1");
    assert_eq!(hotline.lead.put("/agents/1001/seat", &json!({ "seat": "S1" })).status, 202);
    sits(&hotline, "1001", json!("S1"), true);
    let seats = hotline.lead.read("/seats").body;
    assert_eq!(seats["items"][0], json!({ "site": "fuzhou", "name": "S1", "free": false, "agent": "1001" }));
    assert_eq!(seats["items"][1]["free"], true);
    // The own phone is nobody's now, the seat's asks for the agent's states.
    own.dials_beside("*11", own.sound).is_told(404);
    presses(&mut seat, "*11", "desk-ready");
    until(&hotline, "1001", "ready", "");
    let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", wav::to_alaw(2_000));
    citizen.dial("12345");
    seat.rings();
    for (name, place, status) in [("1001", "S2", 409), ("1002", "S1", 409), ("1002", "S9", 422), ("1009", "S2", 404)] {
        let answer = hotline.lead.put(&format!("/agents/{name}/seat"), &json!({ "seat": place }));
        assert_eq!(answer.status, status, "{name} {place}: {answer:?}");
    }
    assert_eq!(hotline.lead.delete("/agents/1001/seat"), 409, "in a call");
    seat.answers();
    let contact = hotline.events.call("talking");
    let since = Instant::now();
    citizen.hears_all(&[seat.sound], since);
    citizen.hangs_up();
    seat.is_hung_up();
    assert_eq!(hotline.past(&contact).attempts(), [("1001", "answered")], "the agent's name, not the seat's");
    let kept = hotline.folder().join("data/registrations.json");
    eventually("both phones stand on disk", Duration::from_secs(5), || {
        let text = std::fs::read_to_string(&kept).ok()?;
        (text.contains("\"S1\"") && text.contains("\"1001\"")).then_some(())
    });
    hotline.engine.kill();
    hotline.start_again();
    seat.client.turns_to(hotline.engine.sip);
    own.client.turns_to(hotline.engine.sip);
    sits(&hotline, "1001", json!("S1"), true);
    presses(&mut seat, "*10", "desk-logged-off");
    sits(&hotline, "1001", json!(null), true);
    seat.dials_beside("*11", seat.sound).is_told(404);
    presses(&mut own, "*11", "desk-ready");
    until(&hotline, "1001", "ready", "");
    hotline.nothing_is_left();
}

#[test]
fn whoever_sits_down_where_no_phone_is_has_none_and_a_ready_one_who_moves_stays_ready() {
    let mut hotline = with_seats();
    let _own = phone(&mut hotline, "1001");
    let _seat = seat_phone(&hotline, "S1");
    hotline.ready("1001");
    assert_eq!(hotline.lead.put("/agents/1001/seat", &json!({ "seat": "S1" })).status, 202);
    sits(&hotline, "1001", json!("S1"), true);
    assert_eq!(hotline.agent("1001")["state"], "ready");
    assert_eq!(hotline.lead.put("/agents/1001/seat", &json!({ "seat": "S2" })).status, 202);
    sits(&hotline, "1001", json!("S2"), false);
    until(&hotline, "1001", "not_ready", "phone_lost");
    let _second = seat_phone(&hotline, "S2");
    sits(&hotline, "1001", json!("S2"), true);
    assert_eq!(hotline.lead.delete("/agents/1001/seat"), 202);
    sits(&hotline, "1001", json!(null), true);
}

/// The seat's phone asks for a number and a PIN, and each of these is typed in turn; then it says `heard` and hangs up.
fn logs_in(phone: &mut Phone, claims: &[&str], heard: &str) {
    let begin = Instant::now();
    let mut line = phone.dials_beside("*19", phone.sound);
    line.connects();
    for claim in claims {
        line.presses(claim);
        // Keys count once the claim before was judged; what is said then tells so.
        let said = if Some(claim) == claims.last() { heard } else { "desk-wrong" };
        let hertz = SOUNDS.iter().find(|(name, _)| *name == said).unwrap().1;
        eventually(said, Duration::from_secs(10), || {
            (wav::heard_ms(&line.ear(begin, Instant::now()), hertz) >= PROMPT_MS / 2).then_some(())
        });
    }
    line.is_hung_up();
}

#[test]
fn whoever_types_number_and_pin_at_a_seat_is_logged_in_there() {
    let mut hotline = with_seats();
    let mut seat = seat_phone(&hotline, "S1");
    seat.dials_beside("*11", seat.sound).is_told(404);
    logs_in(&mut seat, &["1001#135790#", "1001#24*2468#"], "desk-logged-in");
    sits(&hotline, "1001", json!("S1"), true);
    until(&hotline, "1001", "not_ready", "");
    logs_in(&mut seat, &["1002#135790#"], "desk-occupied");
    assert_eq!(hotline.agent("1002")["state"], "offline");
    presses(&mut seat, "*11", "desk-ready");
    until(&hotline, "1001", "ready", "");
    let mut citizen = Phone::at("127.0.0.9", hotline.engine.sip, "13800138000", wav::to_alaw(2_000));
    citizen.dial("12345");
    seat.rings();
    seat.answers();
    let contact = hotline.events.call("talking");
    citizen.hangs_up();
    seat.is_hung_up();
    assert_eq!(hotline.past(&contact).attempts(), [("1001", "answered")]);
    presses(&mut seat, "*10", "desk-logged-off");
    sits(&hotline, "1001", json!(null), false);
    let told = "actor = '1001' AND action = 'agent.set' AND object = '1001' AND source = 'phone'";
    eventually("the audit has: logged in, ready, logged off", Duration::from_secs(5), || {
        (sql::count(&hotline.database(), "audit", told) == 3).then_some(())
    });
    hotline.nothing_is_left();
}
