//! Disk, database and ports taken away in mid-call: calls go on, alarms are counted, and what comes back catches up.

use crate::support::api::Api;
use crate::support::disk::SmallDisk;
use crate::support::eventually;
use crate::support::hotline::{Hotline, folder};
use crate::support::sipp::ports;
use crate::support::{sql, wav};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// From a full disk to its alarm.
const ALARM_MAX: Duration = Duration::from_secs(1);
/// From the return of the database until it has everything.
const REPLAY_MAX: Duration = Duration::from_secs(60);
/// For what follows by itself.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// The database, held by somebody else who writes.
struct Away {
    runtime: tokio::runtime::Runtime,
    holder: SqliteConnection,
}

impl Away {
    fn take(database: &Path) -> Away {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let holder = runtime.block_on(async {
            let mut holder = SqliteConnectOptions::new().filename(database).connect().await.unwrap();
            sqlx::query("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();
            holder
        });
        Away { runtime, holder }
    }

    fn gives_back(mut self) {
        self.runtime.block_on(async {
            sqlx::query("ROLLBACK").execute(&mut self.holder).await.unwrap();
            self.holder.close().await.unwrap();
        });
    }
}

/// Everything of so many calls is in SQL, each thing once and with its end.
fn told_once(hotline: &Hotline, calls: i64) {
    for (table, ended) in [("calls", "end_stage"), ("orders", "ended"), ("recordings", "sha256")] {
        let count = |condition: &str| sql::count(&hotline.database(), table, condition);
        assert_eq!((count("TRUE"), count(&format!("{ended} IS NOT NULL"))), (calls, calls), "{table}");
    }
}

fn inside(admin: &Api) -> Value {
    admin.read("/health/internals").body
}

fn figure(admin: &Api, pointer: &str) -> u64 {
    inside(admin).pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no figure {pointer}"))
}

/// What `jiesu verify` says beside the running engine: nothing, when all is well.
fn verified(hotline: &Hotline) {
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
}

#[test]
fn a_full_disk_costs_sound_and_nothing_else() {
    let folder = folder();
    let disk = SmallDisk::mount(&folder.path().join("data/recordings"));
    let mut hotline = Hotline::start(folder);
    let admin = hotline.engine.api("demo-admin-token");
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "6000"]);
    let contact = hotline.events.call("talking");
    assert_eq!(figure(&admin, "/recorder/faults/disk"), 0);
    disk.fill();
    // The writer's next turn may have to come first: it writes every half second.
    let full = Instant::now();
    eventually("the alarm", ALARM_MAX, || (figure(&admin, "/recorder/faults/disk") > 0).then_some(()));
    assert!(full.elapsed() <= ALARM_MAX);
    assert_eq!(hotline.agent("1001")["contact"], *contact, "the talk goes on");
    disk.clear();
    citizen.succeeds();
    agent.succeeds();
    let record = hotline.lead.until(&format!("/calls/{contact}"), |record| record["call"]["end_stage"].is_string());
    assert_eq!((&record["call"]["end_by"], &record["call"]["end_stage"]), (&"caller".into(), &"talking".into()));
    let path = format!("/recordings/{}", record["call"]["recording"].as_str().unwrap());
    let recording = hotline.lead.until(&path, |recording| recording["sha256"].is_string());
    assert_eq!(recording["damaged"], true, "{recording}");
    let sound = hotline.sound(&recording);
    let length = record["call"]["ended"].as_i64().unwrap() - record["call"]["connected"].as_i64().unwrap();
    assert!((sound.duration_ms() - length as f64).abs() < 60.0, "silence stands for what is lost");
    hotline.nothing_is_left();
    verified(&hotline);
    drop(disk);
}

#[test]
fn while_the_database_is_away_calls_go_on_and_nothing_is_lost_or_doubled() {
    let mut hotline = Hotline::new();
    let admin = hotline.engine.api("demo-admin-token");
    let phone = hotline.phone("1001");
    hotline.ready("1001");
    let away = Away::take(&hotline.database());
    let calls = 3;
    for _ in 0..calls {
        let agent = hotline.behaves(&phone, "agent-answers", &[]);
        let citizen = hotline.citizen("citizen-hangs-up", &["-d", "1500"]);
        hotline.events.call("talking");
        citizen.succeeds();
        agent.succeeds();
        hotline.events.agent("1001", "ready");
    }
    eventually("an attempt fails", CATCH_UP_MAX, || (figure(&admin, "/facts/sql_errors") > 0).then_some(()));
    let facts = &inside(&admin)["facts"];
    assert_eq!((&facts["behind"], &facts["refused"]), (&true.into(), &0.into()), "{facts}");
    assert!(facts["lag_ms"].as_u64().unwrap() > 1_000, "{facts}");
    assert_eq!(sql::count(&hotline.database(), "calls", "TRUE"), 0);
    away.gives_back();
    eventually("SQL catches up", CATCH_UP_MAX, || (inside(&admin)["facts"]["behind"] == false).then_some(()));
    told_once(&hotline, calls);
    assert_eq!(figure(&admin, "/facts/set_aside"), 0);
    hotline.nothing_is_left();
    verified(&hotline);
}

#[test]
fn a_database_away_under_load_is_told_everything_once_within_a_minute() {
    let hotline = Hotline::new();
    let admin = hotline.engine.api("demo-admin-token");
    let away = Away::take(&hotline.database());
    let calls = 300;
    let load = ["-d", "1500", "-m", "300", "-r", "60", "-rp", "1000"];
    hotline.citizen("citizen-hangs-up", &load).succeeds();
    let facts = &inside(&admin)["facts"];
    assert_eq!((&facts["behind"], &facts["refused"]), (&true.into(), &0.into()), "{facts}");
    assert_eq!(sql::count(&hotline.database(), "calls", "TRUE"), 0);
    away.gives_back();
    let back = Instant::now();
    hotline.nothing_is_left();
    assert!(back.elapsed() <= REPLAY_MAX, "replayed in {:?}", back.elapsed());
    told_once(&hotline, calls);
    assert_eq!(figure(&admin, "/facts/set_aside"), 0);
    verified(&hotline);
}

#[test]
fn without_a_port_left_a_new_call_is_refused_and_the_running_one_goes_on() {
    let folder = folder();
    let first = ports(4);
    folder.edit("jiesu.toml", "rtp_ports = \"20000-29999\"", &format!("rtp_ports = \"{first}-{}\"", first + 3));
    folder.edit("jiesu.toml", "calls_max = 2500", "calls_max = 2");
    folder.edit("jiesu.toml", "shards = 0", "shards = 1");
    let mut hotline = Hotline::start(folder);
    let admin = hotline.engine.api("demo-admin-token");
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "4000"]);
    let contact = hotline.events.call("talking");
    assert_eq!(figure(&admin, "/shards/0/ports/lent"), 2);
    hotline.citizen_is_refused("12345", "503");
    assert_eq!(figure(&admin, "/faults/ports_refused"), 1);
    assert_eq!(hotline.agent("1001")["contact"], *contact, "the talk goes on");
    citizen.succeeds();
    agent.succeeds();
    assert_eq!(hotline.past(&contact).end(), ("talking", "caller"));
    hotline.nothing_is_left();
    eventually("the ports come back", CATCH_UP_MAX, || (figure(&admin, "/standing/ports") == 0).then_some(()));
}

#[test]
fn what_a_crash_leaves_is_told_and_cut_headers_are_mended_on_request() {
    let mut hotline = Hotline::new();
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("queued");
    let recorded = |recording: &Value| recording["items"].as_array().is_some_and(|items| items.len() == 1);
    hotline.lead.until(&format!("/recordings?contact={contact}"), recorded);
    hotline.engine.kill();
    hotline.engine.forgets();
    drop(citizen);
    let sound = wav::files(&hotline.engine.recordings()).pop().expect("a file");
    fs::File::options().append(true).open(&sound).unwrap().write_all(&[0; 333]).unwrap();
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert_eq!(status.code(), Some(1), "{said}");
    for part in [&format!("call {contact}: has no end"), "its header was cut by a crash"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let before = fs::read(&sound).unwrap();
    let said = hotline.engine.folder.run(&["verify", "--repair"]).1;
    for part in ["has no end (its header was mended, it is sealed, and the manifest says so)", "(mended)"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let manifest = fs::read_to_string(hotline.engine.recordings().join("fuzhou/manifest.jsonl")).unwrap();
    assert!(manifest.lines().last().is_some_and(|line| line.contains("\"repaired\":true")), "{manifest}");
    let after = fs::read(&sound).unwrap();
    assert_eq!(before[58..after.len()], after[58..], "only the header, and half a sample at the end");
    wav::Stereo::read(&after);
    let said = hotline.engine.folder.run(&["verify"]).1;
    assert!(!said.contains("header") && !said.contains("recording "), "{said}");
    hotline.start_again();
    hotline
        .lead
        .until(&format!("/recordings?contact={contact}"), |recording| recording["items"][0]["sha256"].is_string());
    hotline.nothing_is_left();
    verified(&hotline);
}
