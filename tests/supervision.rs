//! Supervision, park and pickup through the whole program: a citizen, an agent and a supervisor on phones of their own,
//! everything that each of them hears, and what is remembered.

use crate::support::engine::Folder;
use crate::support::hotline::{Hotline, Past, folder};
use crate::support::phone::Phone;
use crate::support::{eventually, wav};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
/// What a citizen, an agent and a supervisor say: levels that are told apart also when two are heard together.
const CITIZEN: i16 = 1_000;
const AGENT: i16 = 2_400;
const SUPERVISOR: i16 = 5_500;
/// What the supervisor hums, for which one can listen beside the levels.
const HUM_HZ: f64 = 1_000.0;
/// Below this nobody hears it: -60 dBFS.
const INAUDIBLE: f64 = 32_768.0 / 1_000.0;
/// A gap that nobody hears, and what comes between two packets that a busy machine sends.
const GAP_MAX: Duration = Duration::from_millis(20 + 60);

/// The citizen, the agent 1001, and 1002, who supervises.
struct Desk {
    hotline: Hotline,
    citizen: Phone,
    agent: Phone,
    supervisor: Phone,
    contact: String,
    since: Instant,
}

impl Desk {
    fn new() -> Desk {
        Desk::in_house(folder())
    }

    /// Citizen and agent talk; the supervisor's phone is registered.
    fn in_house(folder: Folder) -> Desk {
        folder.edit("sip-profiles/queues.toml", "ring_max_s = 3", "ring_max_s = 20");
        let mut hotline = Hotline::start(folder);
        let mut phone = |name: &str, level| {
            let mut phone = Phone::new(hotline.engine.sip, name, DOMAIN, wav::to_alaw(level));
            let contact = phone.client.contact();
            assert_eq!(phone.client.sign_in(&[&contact], 600).status, 200);
            hotline.events.phone(name, true);
            phone
        };
        let (mut agent, supervisor) = (phone("1001", AGENT), phone("1002", SUPERVISOR));
        hotline.ready("1001");
        let mut citizen = Phone::new(hotline.engine.sip, "13800138000", "127.0.0.1", wav::to_alaw(CITIZEN));
        citizen.dial("12345");
        agent.rings();
        agent.answers();
        let contact = hotline.events.call("talking");
        let since = Instant::now();
        citizen.hears_all(&[agent.sound], since);
        agent.hears_all(&[citizen.sound], since);
        Desk { hotline, citizen, agent, supervisor, contact, since }
    }

    fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.hotline.lead.post_json(&format!("/calls/live/{}{path}", self.contact), body);
        (answer.status, answer.body)
    }

    fn supervise(&self, mode: &str) {
        let (status, body) = self.ask("/supervision", &json!({ "mode": mode, "supervisor": "1002" }));
        assert_eq!(status, 202, "{body}");
    }

    /// The live call looks like this.
    fn until(&self, pointer: &str, value: Value) {
        eventually(&format!("{pointer} is {value}"), Duration::from_secs(10), || {
            let live = self.hotline.lead.read("/calls/live").body;
            let call = live["items"].as_array()?.iter().find(|call| call["contact"] == *self.contact)?.clone();
            (*call.pointer(pointer)? == value).then_some(())
        });
    }

    /// What remains, and who stepped in, how, and how that went.
    fn past(&self) -> (Past, Vec<(String, String, String)>) {
        let past = self.hotline.past(&self.contact);
        let word = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let rows = past.record["interventions"].as_array().expect("interventions").iter();
        let steps = rows.map(|row| (word(row, "kind"), word(row, "by_whom"), word(row, "result"))).collect();
        (past, steps)
    }
}

/// How loud the hum was in an ear, looked at in whole periods.
fn hum(samples: &[i16]) -> f64 {
    wav::tone(&samples[..samples.len() / 8 * 8], HUM_HZ)
}

/// Sound stands in a recording at its time by the engine's clock, give or take a few packets.
const PLACED_EARLY_MAX: Duration = Duration::from_millis(100);

/// Waits for half a second in which the hum is loud; returns when it began.
fn hears_hum(phone: &Phone, since: Instant) -> (Instant, Instant) {
    let half = Duration::from_millis(500);
    eventually("the supervisor is heard", Duration::from_secs(10), || {
        let now = Instant::now();
        let from = now.checked_sub(half).filter(|from| *from > since)?;
        (hum(&phone.ear(from, now)) > 4_000.0).then_some((from, now))
    })
}

fn steps(list: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    list.iter().map(|(kind, by, result)| ((*kind).into(), (*by).into(), (*result).into())).collect()
}

#[test]
fn a_supervisor_listens_whispers_and_barges_in_and_the_citizen_hears_only_the_barge() {
    let mut desk = Desk::new();
    desk.hotline.ready("1002");
    desk.supervisor.hums(HUM_HZ);
    desk.supervise("listen");
    desk.supervisor.rings();
    desk.supervisor.answers();
    let listening = Instant::now();
    desk.supervisor.hears_all(&[desk.citizen.sound, desk.agent.sound], listening);
    desk.until("/supervision", json!({ "supervisor": "1002", "mode": "listen", "with": true }));
    desk.hotline.events.paused("1002", "own_call");
    // By a key of the supervisor's own phone.
    desk.supervisor.presses("*2");
    let whispering = Instant::now();
    let (from, to) = hears_hum(&desk.agent, whispering);
    let (loud, whispered) = (hum(&desk.agent.ear(from, to)), hum(&desk.citizen.ear(listening, to)));
    eprintln!(
        "a whisper is {loud:.0} in the agent's ear and {whispered:.2} in the citizen's; -60 dBFS is {INAUDIBLE:.1}"
    );
    assert!(whispered < INAUDIBLE, "the citizen hears a whisper: {whispered}");
    // The barge is asked for at once: what the file places some packets early is no part of the whisper.
    let whisper_ms = (to.duration_since(listening) - PLACED_EARLY_MAX).as_millis() as usize;
    desk.supervise("barge");
    hears_hum(&desk.citizen, Instant::now());
    desk.supervise("listen");
    let alone = Instant::now();
    desk.citizen.hears_all(&[desk.agent.sound], alone);
    desk.supervisor.hangs_up();
    let left = Instant::now();
    desk.citizen.hears_all(&[desk.agent.sound], left);
    desk.agent.hears_all(&[desk.citizen.sound], left);
    desk.hotline.events.agent("1002", "ready");
    let silence = desk.citizen.longest_silence(desk.since, Instant::now());
    eprintln!("longest silence of the citizen while a supervisor came and went: {silence:?}");
    assert!(silence <= GAP_MAX, "the citizen heard nothing for {silence:?}");
    desk.agent.hangs_up();
    desk.citizen.is_hung_up();

    let (past, told) = desk.past();
    assert_eq!(past.end(), ("talking", "agent"));
    let modes = ["listen", "whisper", "barge", "listen"].map(|kind| (kind, "1002", "done"));
    assert_eq!(told, steps(&modes));
    let rows = past.record["interventions"].as_array().unwrap();
    assert_eq!(rows[0]["agent"], "1001");
    // The citizen's own file: nothing of the supervisor from the beginning of the talk to the end of the whisper.
    let begin = usize::try_from(rows[0]["answered"].as_i64().unwrap() - past.recording["started"].as_i64().unwrap());
    let begin = begin.unwrap() * 8;
    let quiet = &past.sound.right[begin..begin + whisper_ms * 8];
    let (kept, later) = (hum(quiet), hum(&past.sound.right[begin + whisper_ms * 8..]));
    eprintln!("in the citizen's file: {kept:.2} until the end of the whisper, {later:.0} over the rest");
    assert!(kept < INAUDIBLE && later > INAUDIBLE, "{kept} before the barge, {later} with it");
    let files = wav::files(&desk.hotline.engine.recordings());
    let own = files.iter().filter(|file| file.to_string_lossy().contains("-supervisor-")).count();
    assert_eq!((files.len(), own), (2, 1), "the journey and the supervisor's own track: {files:?}");
    desk.hotline.nothing_is_left();
}

#[test]
fn a_supervisor_takes_over_and_the_agent_wraps_up() {
    let mut desk = Desk::new();
    desk.supervise("listen");
    desk.supervisor.rings();
    desk.supervisor.answers();
    desk.until("/supervision/with", json!(true));
    desk.supervise("take_over");
    let taken = Instant::now();
    desk.agent.is_hung_up();
    desk.hotline.events.agent("1001", "wrap_up");
    desk.citizen.hears_all(&[desk.supervisor.sound], taken);
    desk.supervisor.hears_all(&[desk.citizen.sound], taken);
    desk.until("/agent", json!("1002"));
    let silence = desk.citizen.longest_silence(desk.since, Instant::now());
    eprintln!("longest silence of the citizen over a take-over: {silence:?}");
    assert!(silence <= GAP_MAX, "the citizen heard nothing for {silence:?}");
    desk.citizen.hangs_up();
    desk.supervisor.is_hung_up();
    let (past, told) = desk.past();
    assert_eq!((past.end(), &past.record["call"]["agent"]), (("talking", "caller"), &json!("1002")));
    assert_eq!(told, steps(&[("listen", "1002", "done"), ("take_over", "1002", "done")]));
    desk.hotline.nothing_is_left();
}

#[test]
fn who_waits_is_taken_over_and_who_refuses_leaves_them_at_their_place() {
    let mut desk = Desk::new();
    assert_eq!(desk.ask("/release", &json!({})).0, 202);
    desk.agent.is_hung_up();
    desk.until("/stage", json!("queued"));
    desk.hotline.want("1001", "offline");
    let released = Instant::now();
    for status in ["486 Busy Here", ""] {
        desk.supervise("take_over");
        desk.supervisor.rings();
        desk.until("/supervision/with", json!(false));
        if status.is_empty() {
            desk.supervisor.answers();
        } else {
            desk.supervisor.refuses(status);
            desk.until("/supervision", Value::Null);
            desk.until("/stage", json!("queued"));
        }
    }
    let talks = Instant::now();
    let silence = desk.citizen.longest_silence(released, talks);
    assert!(silence <= Duration::from_millis(500), "the citizen has music meanwhile: {silence:?}");
    desk.citizen.hears_all(&[desk.supervisor.sound], talks);
    desk.supervisor.hangs_up();
    desk.citizen.is_hung_up();
    let (past, told) = desk.past();
    assert_eq!(past.end(), ("talking", "agent"));
    let expected = [("release", "fuzhou-lead", "done"), ("take_over", "1002", "busy"), ("take_over", "1002", "done")];
    assert_eq!(told, steps(&expected));
    desk.hotline.nothing_is_left();
}

#[test]
fn a_parked_citizen_is_fetched_by_another_agent() {
    let mut desk = Desk::new();
    desk.agent.presses("*0");
    desk.agent.is_hung_up();
    desk.until("/parked/by", json!("1001"));
    desk.hotline.events.agent("1001", "wrap_up");
    assert_eq!(desk.ask("/pickup", &json!({ "agent": "1002" })).0, 202);
    desk.supervisor.rings();
    desk.supervisor.answers();
    let fetched = Instant::now();
    desk.citizen.hears_all(&[desk.supervisor.sound], fetched);
    desk.supervisor.hears_all(&[desk.citizen.sound], fetched);
    desk.supervisor.hangs_up();
    desk.citizen.is_hung_up();
    let (past, told) = desk.past();
    assert_eq!(past.record["call"]["agent"], "1002");
    assert_eq!(told, steps(&[("park", "1001", "done"), ("pick_up", "1002", "done")]));
    desk.hotline.nothing_is_left();
}

#[test]
fn nobody_steps_in_without_the_right_the_site_or_a_phone() {
    let mut desk = Desk::new();
    let wanted = json!({ "mode": "listen", "supervisor": "1002" });
    let path = format!("/calls/live/{}/supervision", desk.contact);
    for (token, status) in [("demo-admin-token", 403), ("demo-quanzhou-lead-token", 404)] {
        let answer = desk.hotline.engine.api(token).post_json(&path, &wanted);
        assert_eq!((answer.status, answer.body["status"].as_u64()), (status, Some(u64::from(status))), "{token}");
    }
    for (body, status, part) in [
        (json!({ "mode": "listen" }), 422, "no agent of this site"),
        (json!({ "mode": "listen", "supervisor": "1001" }), 409, "on a call"),
        (json!({ "mode": "shout", "supervisor": "1002" }), 422, ""),
    ] {
        let (told, problem) = desk.ask("/supervision", &body);
        assert!(told == status && problem["detail"].as_str().is_some_and(|it| it.contains(part)), "{body}: {problem}");
    }
    desk.citizen.hangs_up();
    desk.agent.is_hung_up();
    desk.hotline.nothing_is_left();
}
