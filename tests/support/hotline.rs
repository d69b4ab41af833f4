//! A hotline in small: short prompts and limits, phones, citizens, and what must be true when a call is over.

use super::api::{Api, Events};
use super::engine::{Engine, Folder};
use super::sipp::{Sipp, ports};
use super::{eventually, sql, wav};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the citizen's phone and the agent's speak.
pub const CITIZEN_HZ: f64 = 440.0;
pub const AGENT_HZ: f64 = 1_000.0;
/// What the hotline itself plays.
pub const PROMPT_HZ: f64 = 600.0;
pub const MUSIC_HZ: f64 = 1_400.0;
pub const APOLOGY_HZ: f64 = 1_800.0;

/// How far a recording's length may be from its call's.
const LENGTH_TOLERANCE_MS: i64 = 40;
/// Beyond this nothing of an ended call may stand.
const LEFT_MAX: Duration = Duration::from_secs(10);
/// Timers B, F, H and J (RFC 3261 Table 4) run for 32 s; a margin for a busy machine.
const TIMERS_MAX: Duration = Duration::from_secs(45);

/// What of `/health/internals`' `standing` goes with a call.
const LEFT: [&str; 12] = [
    "calls",
    "legs",
    "call_timers",
    "dialogs",
    "callers",
    "leases",
    "ports",
    "routed_legs",
    "media_legs",
    "bridges",
    "sockets",
    "recordings",
];

/// Prompts of the flow `direct` with their length in milliseconds: together well below a second.
const PROMPTS: [(&str, f64, usize); 6] = [
    ("fuzhou-greeting", PROMPT_HZ, 200),
    ("quanzhou-greeting", PROMPT_HZ, 200),
    ("recording-notice", PROMPT_HZ, 100),
    ("queue-announcement", PROMPT_HZ, 200),
    ("apology", APOLOGY_HZ, 500),
    ("music-on-hold", MUSIC_HZ, 1_000),
];

/// An engine with the demo's two cities, seen with the eyes of Fuzhou's team lead.
pub struct Hotline {
    pub engine: Engine,
    pub lead: Api,
    pub events: Events,
    /// Code of the site looked at.
    pub site: &'static str,
}

/// A telephone that is registered, and where it listens.
pub struct Phone {
    pub port: u16,
}

/// What remains of a call.
pub struct Past {
    /// The record (`/calls/{contact}`): `call`, `attempts`, `collected`.
    pub record: Value,
    /// The order, when one was opened.
    pub order: Option<Value>,
    /// The recording's row.
    pub recording: Value,
    /// The recording's sound.
    pub sound: wav::Stereo,
}

/// The shipped configuration with quick prompts and limits, voices for sipp, and agents 1001 and 1002 of Fuzhou.
pub fn folder() -> Folder {
    let folder = Folder::new();
    for (name, hertz, milliseconds) in PROMPTS {
        prompt(&folder, name, hertz, milliseconds);
    }
    folder.edit("sip-profiles/queues.toml", "ring_max_s = 15", "ring_max_s = 3");
    folder.edit("sip-profiles/queues.toml", "wrap_up_s = 60", "wrap_up_s = 1");
    wav::write_alaw(&folder.path().join("citizen.alaw"), CITIZEN_HZ, 1_000);
    wav::write_alaw(&folder.path().join("agent.alaw"), AGENT_HZ, 1_000);
    folder.agent("fuzhou", "1001", "general").agent("fuzhou", "1002", "general");
    folder
}

/// Replaces a prompt by a tone.
pub fn prompt(folder: &Folder, name: &str, hertz: f64, milliseconds: usize) {
    wav::write_pcm(&folder.path().join(format!("ivr-flows/prompts/{name}.wav")), hertz, milliseconds);
}

impl Hotline {
    pub fn new() -> Hotline {
        Hotline::start(folder())
    }

    pub fn start(folder: Folder) -> Hotline {
        let engine = folder.start();
        let lead = engine.api("demo-fuzhou-lead-token");
        let events = lead.events();
        Hotline { engine, lead, events, site: "fuzhou" }
    }

    pub fn folder(&self) -> &Path {
        self.engine.folder.path()
    }

    /// Starts again after an end or a crash.
    pub fn start_again(&mut self) {
        self.engine.start_again();
        self.lead = self.engine.api("demo-fuzhou-lead-token");
        self.events = self.lead.events();
    }

    pub fn database(&self) -> PathBuf {
        self.folder().join("data/jiesu.db")
    }

    /// Registers the phone of an agent at a port of its own.
    pub fn phone(&mut self, name: &'static str) -> Phone {
        let port = ports(2);
        let domain = format!("{}.12345.example", self.site);
        Sipp::register(self.folder(), self.engine.sip, &domain, name, port);
        self.events.phone(name, true);
        Phone { port }
    }

    /// Lets a phone do as `scenario` says with its next call.
    pub fn behaves(&self, phone: &Phone, scenario: &str, arguments: &[&str]) -> Sipp {
        let port = phone.port.to_string();
        let arguments: Vec<&str> = ["-p", &port].into_iter().chain(arguments.iter().copied()).collect();
        let sipp = Sipp::start(self.folder(), self.engine.sip, scenario, &arguments);
        sipp.listens(phone.port);
        sipp
    }

    /// Asks for an agent's state.
    pub fn want(&self, name: &str, state: &str) {
        let answer = self.lead.put(&format!("/agents/{name}/state"), &json!({ "state": state }));
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Makes an agent ready who stays it, since nobody waits. (One for whom a caller waits is booked at once, and the
    /// event stream shows only what comes of it.)
    pub fn ready(&mut self, name: &str) {
        self.want(name, "ready");
        self.events.agent(name, "ready");
    }

    /// A citizen who dials 12345 and does as `scenario` says.
    pub fn citizen(&self, scenario: &str, arguments: &[&str]) -> Sipp {
        self.citizen_dials("12345", scenario, arguments)
    }

    pub fn citizen_dials(&self, number: &str, scenario: &str, arguments: &[&str]) -> Sipp {
        let port = ports(2).to_string();
        let arguments: Vec<&str> = ["-s", number, "-p", &port].into_iter().chain(arguments.iter().copied()).collect();
        Sipp::start(self.folder(), self.engine.sip, scenario, &arguments)
    }

    /// A citizen whose call is refused with this status.
    pub fn citizen_is_refused(&self, number: &str, status: &str) -> String {
        self.citizen_dials(number, &format!("citizen-refused {status}"), &[]).succeeds()
    }

    /// The agent as the API shows them.
    pub fn agent(&self, name: &str) -> Value {
        self.lead.read(&format!("/agents/{name}")).body
    }

    /// The record of an ended call with all that belongs to it, after checking that the API, SQL and the disk agree, that
    /// its times are in order, and that its length is its recording's.
    pub fn past(&self, contact: &str) -> Past {
        self.past_of(contact, false)
    }

    /// The same of a call that went on through a crash: the gap in its recording is told.
    pub fn past_through_crash(&self, contact: &str) -> Past {
        self.past_of(contact, true)
    }

    fn past_of(&self, contact: &str, damaged: bool) -> Past {
        let record = self.lead.until(&format!("/calls/{contact}"), |record| record["call"]["end_stage"].is_string());
        let call = &record["call"];
        sql::agrees(&self.database(), "calls", call);
        in_order(call);
        let attempts = record["attempts"].as_array().expect("attempts").len();
        let stored = sql::count(&self.database(), "call_attempts", &format!("contact = '{contact}'"));
        assert_eq!(stored, attempts as i64, "attempts in SQL");
        let order = call["order_id"].as_str().map(|order| self.order(order, &record));
        let opened = sql::count(&self.database(), "orders", &format!("contact = '{contact}'"));
        assert_eq!(opened, i64::from(order.is_some()), "one order for a call that came to a queue");
        assert_eq!(order.is_some(), call["queued"].is_i64(), "an order opens with the queue");
        let recording = self
            .lead
            .until(&format!("/recordings/{}", call["recording"].as_str().expect("a recording")), |recording| {
                recording["sha256"].is_string()
            });
        let sound = self.sound(&recording);
        let length = call["ended"].as_i64().unwrap() - call["connected"].as_i64().unwrap();
        let recorded = recording["duration_ms"].as_i64().expect("a length");
        assert!(
            (length - recorded).abs() <= LENGTH_TOLERANCE_MS,
            "the call is {length} ms, its recording {recorded} ms"
        );
        assert_eq!(recording["damaged"], damaged, "{recording}");
        assert_eq!(recording["contact"], contact);
        Past { record, order, recording, sound }
    }

    fn order(&self, id: &str, record: &Value) -> Value {
        let answered = record["call"]["answered"].clone();
        let order = self.lead.until(&format!("/orders/{id}"), |order| order["order"]["ended"].is_i64())["order"].take();
        sql::agrees(&self.database(), "orders", &order);
        assert_eq!(order["state"], "draft");
        for (of_order, of_call) in [
            ("contact", "id"),
            ("recording", "recording"),
            ("caller", "caller"),
            ("agent", "agent"),
            ("ended", "ended"),
        ] {
            assert_eq!(order[of_order], record["call"][of_call], "order {of_order}");
        }
        assert_eq!(order["answered"], answered);
        order
    }

    /// The recording as the API serves it, after checking that it is the file on disk, whole and in parts.
    pub fn sound(&self, recording: &Value) -> wav::Stereo {
        let path = recording["path"].as_str().expect("a path");
        let file = std::fs::read(self.engine.recordings().join(self.site).join(path)).expect("the recording's file");
        assert_eq!(recording["bytes"], file.len());
        assert_eq!(recording["sha256"], hex::encode(Sha256::digest(&file)));
        let audio = format!("/recordings/{}/audio", recording["id"].as_str().unwrap());
        assert_eq!(self.lead.bytes(&audio, None), (200, file.clone()));
        // A call of some milliseconds has hardly more than its header.
        let last = file.len().min(210) - 1;
        assert_eq!(self.lead.bytes(&audio, Some(&format!("bytes=10-{last}"))), (206, file[10..=last].to_vec()));
        assert_eq!(self.lead.bytes(&audio, Some("bytes=-50")), (206, file[file.len() - 50..].to_vec()));
        let beyond = format!("bytes={}-", file.len());
        assert_eq!(self.lead.bytes(&audio, Some(&beyond)).0, 416);
        sql::agrees(&self.database(), "recordings", recording);
        let sound = wav::Stereo::read(&file);
        assert_eq!(sound.left.len(), sound.right.len());
        let told = recording["duration_ms"].as_i64().unwrap();
        assert!(
            (sound.duration_ms() - told as f64).abs() <= 1.0,
            "{} ms in the file, {told} told",
            sound.duration_ms()
        );
        sound
    }

    /// No call, leg, dialog, lease, caller, port, socket or open recording is left; transactions may run out for 32 s (RFC
    /// 3261 §17) and are not asked for.
    pub fn nothing_is_left(&self) {
        self.is_left(&LEFT, LEFT_MAX);
    }

    /// As [`Hotline::nothing_is_left`], with the time that a BYE has whose answer never came (Timer F).
    pub fn everything_runs_out(&self) {
        self.is_left(&LEFT, TIMERS_MAX);
    }

    /// As [`Hotline::nothing_is_left`], but for an INVITE that nobody has answered and that may run out (Timer B).
    pub fn nobody_is_left(&self) {
        self.is_left(&["callers", "leases"], LEFT_MAX);
    }

    /// After the longest timer of SIP no transaction and no timer stands; for a hotline without registered phones.
    pub fn all_timers_run_out(&self) {
        let admin = self.engine.api("demo-admin-token");
        let names = ["/sip/transactions", "/sip/timers", "/calls/timers"];
        eventually("transactions and timers run out", TIMERS_MAX, || {
            let inside = admin.read("/health/internals").body;
            let shards = inside["shards"].as_array().expect("shards");
            let stands = |name: &&str| shards.iter().any(|shard| shard.pointer(name).expect("a count") != 0);
            (!names.iter().any(stands)).then_some(())
        });
    }

    fn is_left(&self, figures: &[&str], limit: Duration) {
        let admin = self.engine.api("demo-admin-token");
        let begin = Instant::now();
        eventually("everything of the call is gone and every fact is in SQL", limit * 2, || {
            let inside = admin.read("/health/internals").body;
            let sum = |part: &str, name: &str| -> u64 {
                let parts = inside[part].as_array().expect("a list").iter();
                parts.map(|one| one.pointer(name).and_then(Value::as_u64).expect("a count")).sum()
            };
            let standing = |figure: &&str| inside["standing"][*figure].as_u64().expect("a figure");
            let standing = sum("shards", "/calls/live") + figures.iter().map(standing).sum::<u64>();
            let facts = &inside["facts"];
            assert_eq!(facts["refused"], 0);
            // After a crash more facts are applied than were told in this life.
            let written = facts["behind"] == false && facts["applied"].as_u64() >= facts["told"].as_u64();
            assert!(begin.elapsed() < limit, "something is left: {inside:#}");
            (standing == 0 && written).then_some(())
        });
        let live = self.lead.read("/calls/live").body;
        assert_eq!(live["items"], json!([]));
        for queue in self.lead.read("/queues").body["items"].as_array().expect("queues") {
            assert_eq!((&queue["waiting"], &queue["talking"]), (&json!(0), &json!(0)), "{queue}");
        }
    }
}

impl Past {
    /// Stage and author of the end.
    pub fn end(&self) -> (&str, &str) {
        let call = &self.record["call"];
        (call["end_stage"].as_str().unwrap(), call["end_by"].as_str().unwrap())
    }

    /// Agents rung and how that went, in order.
    pub fn attempts(&self) -> Vec<(&str, &str)> {
        let attempts = self.record["attempts"].as_array().unwrap().iter();
        attempts.map(|attempt| (attempt["agent"].as_str().unwrap(), attempt["outcome"].as_str().unwrap())).collect()
    }

    /// A time of the record, in milliseconds of the recording.
    pub fn at_ms(&self, time: &str) -> usize {
        let at = self.record["call"][time].as_i64().unwrap_or_else(|| panic!("{time} never happened: {}", self.record));
        usize::try_from(at - self.recording["started"].as_i64().unwrap()).expect("within the recording")
    }
}

/// That what happened happened in the order of a call.
fn in_order(call: &Value) {
    let times = ["offered", "connected", "ivr_in", "ivr_out", "queued", "assigned", "ringing", "answered", "ended"];
    let happened: Vec<i64> = times.iter().filter_map(|time| call[*time].as_i64()).collect();
    assert!(happened.is_sorted(), "times out of order: {call}");
    for end in ["caller_hangup", "agent_hangup"] {
        if let Some(at) = call[end].as_i64() {
            assert!(happened[happened.len() - 2] <= at && at <= *happened.last().unwrap(), "{end}: {call}");
        }
    }
}
