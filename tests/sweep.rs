//! Every operation of a whole call fails once: the n-th write, sync, creation, rename, port and datagram, for every n up to
//! what a call takes. The caller is served, the fault is counted and logged, and afterwards SQL, files and manifest hold
//! everything exactly once.
//!
//! Small n are all tried, larger ones in growing steps; with `JIESU_SOAK=1` the first 150 are all tried.

use crate::support::api::Api;
use crate::support::eventually;
use crate::support::hotline::{AGENT_HZ, CITIZEN_HZ, Hotline, folder};
use crate::support::sipp::{Sipp, ports};
use crate::support::strace::{Fault, Strace, socket_at};
use crate::support::{sql, wav};
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// From a fault to its alarm.
const ALARM_MAX: Duration = Duration::from_secs(1);
/// Each side is heard for so long at least.
const HEARD_MS: usize = 300;
/// Changes of registrations are written every second.
const SAVED_MAX: Duration = Duration::from_secs(5);
/// No operation is done more often in one call.
const OPERATIONS_MAX: u32 = 2_000;
/// How long the citizen stays: long enough for a lost datagram to be repeated, or for a phone on a busy machine.
const STAY_MS: &str = "3000";

/// A hotline whose operations fail one after another.
struct Sweep {
    hotline: Hotline,
    admin: Api,
    /// The agent's phone, one process for all calls: nobody else gets its port in between.
    _agent: Sipp,
    calls: i64,
}

/// What a fault may cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    Nothing,
    /// Sound of the recording, which then says so.
    Sound,
}

impl Sweep {
    fn new() -> Sweep {
        let folder = folder();
        folder.edit("sip-profiles/queues.toml", "wrap_up_s = 1\n", "wrap_up_s = 0\n");
        // One signal shard, one media thread: so that "the n-th" means the same thread.
        folder.edit("jiesu.toml", "shards = 0", "shards = 1");
        let mut hotline = Hotline::start(folder);
        let admin = hotline.engine.api("demo-admin-token");
        let phone = hotline.phone("1001");
        let agent = hotline.behaves(&phone, "agent-answers", &["-m", "100000", "-timeout", "7200s"]);
        hotline.ready("1001");
        let mut sweep = Sweep { hotline, admin, _agent: agent, calls: 0 };
        // What is opened with the first call and then kept is not the matter here.
        sweep.call();
        sweep.settles();
        sweep
    }

    /// A whole call, from the citizen's INVITE to the agent's next readiness.
    fn call(&mut self) -> String {
        let citizen = self.hotline.citizen("citizen-hangs-up", &["-d", STAY_MS]);
        let contact = self.hotline.events.call("talking");
        citizen.succeeds();
        self.hotline.events.agent("1001", "ready");
        self.calls += 1;
        contact
    }

    /// Sum of the figures at these places of `/health/internals`.
    fn alarms(&self, figures: &[&str]) -> u64 {
        let inside = self.admin.read("/health/internals").body;
        figures.iter().map(|name| inside.pointer(name).and_then(Value::as_u64).expect("a figure")).sum()
    }

    /// Everything is told of this call. Gives its recording.
    fn is_told(&self, contact: &str) -> Value {
        let record = self.hotline.lead.until(&format!("/calls/{contact}"), |record| record["call"]["ended"].is_i64());
        let call = &record["call"];
        assert_eq!((&call["end_stage"], &call["end_by"]), (&"talking".into(), &"caller".into()), "{record:#}");
        assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record:#}");
        self.hotline.lead.until(&format!("/orders?contact={contact}"), |orders| orders["items"][0]["ended"].is_i64());
        self.hotline.lead.until(&format!("/recordings/{}", call["recording"].as_str().unwrap()), |recording| {
            recording["sha256"].is_string()
        })
    }

    fn settles(&self) {
        // On a busy machine a phone may miss a BYE: what waits for its answer is asked for at the end.
        self.hotline.nobody_is_left();
        eventually("every recording is sealed", Duration::from_secs(20), || {
            (self.alarms(&["/recorder/unsealed"]) == 0).then_some(())
        });
    }

    /// Lets each operation of `fault` fail in a call of its own.
    fn every(&mut self, fault: &Fault, cost: Cost, figures: &[&str]) {
        let soak = std::env::var("JIESU_SOAK").is_ok();
        let dense = if soak { 150 } else { 3 };
        let (mut nth, mut failed) = (1, 0);
        loop {
            let (alarms, logged) = (self.alarms(figures), self.hotline.engine.log().len());
            let strace = Strace::fail(self.hotline.folder(), self.hotline.engine.id(), fault, nth);
            let contact = self.call();
            let recording = self.is_told(&contact);
            self.settles();
            if !strace.ended() {
                break;
            }
            failed += 1;
            let what = format!("{fault:?}, number {nth}");
            self.is_alarmed(figures, alarms, logged, &what);
            self.costs(&recording, cost, &what);
            nth = if nth < dense { nth + 1 } else { nth * 2 };
            assert!(nth <= OPERATIONS_MAX, "{fault:?}: no end");
        }
        assert!(failed > 0, "{fault:?}: a call does nothing of the kind");
        println!("{fault:?}: {failed} failed, up to the {nth}th");
        self.all_is_there();
    }

    /// The figures tell of it, and so does the log; without figures another try made it good.
    fn is_alarmed(&self, figures: &[&str], before: u64, logged: usize, what: &str) {
        if figures.is_empty() {
            return;
        }
        eventually(&format!("the alarm after {what}"), ALARM_MAX, || (self.alarms(figures) > before).then_some(()));
        let log = self.hotline.engine.log();
        let said = log[logged..].lines().any(|line| line.contains(" ERROR ") || line.contains(" WARN "));
        assert!(said, "nothing in the log after {what}:\n{}", &log[logged..]);
    }

    /// The file is what was told of it, and unless the fault may cost sound, both were heard.
    fn costs(&self, recording: &Value, cost: Cost, what: &str) {
        let sound = self.hotline.sound(recording);
        if cost == Cost::Nothing {
            assert_eq!(recording["damaged"], false, "{what}: {recording}");
            let heard = (wav::heard_ms(&sound.left, CITIZEN_HZ), wav::heard_ms(&sound.right, AGENT_HZ));
            assert!(heard.0 >= HEARD_MS && heard.1 >= HEARD_MS, "{what}: heard for {heard:?} ms");
        }
    }

    /// SQL, files, manifest and journal agree, and hold as much as there were calls.
    fn all_is_there(&self) {
        self.hotline.everything_runs_out();
        let count = |table: &str, condition: &str| sql::count(&self.hotline.database(), table, condition);
        let whole = [
            ("calls", "ended IS NOT NULL AND answered IS NOT NULL"),
            ("orders", "ended IS NOT NULL"),
            ("recordings", "sha256 IS NOT NULL"),
            ("call_attempts", "outcome = 'answered'"),
        ];
        for (table, ended) in whole {
            assert_eq!((count(table, "TRUE"), count(table, ended)), (self.calls, self.calls), "{table}");
        }
        let inside = self.admin.read("/health/internals").body;
        let facts = &inside["facts"];
        assert_eq!((&facts["set_aside"], &facts["refused"], &facts["applied"]), (&0.into(), &0.into(), &facts["told"]));
        let (status, said) = self.hotline.engine.folder.run(&["verify"]);
        assert!(status.success(), "{said}");
    }
}

fn fault(threads: &'static [&'static str], calls: &'static str, error: &'static str) -> Fault {
    Fault { threads, calls, error, times: 1, about: Vec::new() }
}

#[test]
fn each_operation_of_the_journal_fails_once() {
    const JOURNAL: &[&str] = &["journal"];
    let mut sweep = Sweep::new();
    let figures = ["/facts/journal_errors"];
    sweep.every(&fault(JOURNAL, "pwrite64", "ENOSPC"), Cost::Nothing, &figures);
    // Not the thread's other writes, which wake tasks or go to the log.
    let position = sweep.hotline.folder().canonicalize().unwrap().join("data/journal/acknowledged.new");
    let about = vec![position.to_str().unwrap().to_owned()];
    sweep.every(&Fault { about, ..fault(JOURNAL, "write", "ENOSPC") }, Cost::Nothing, &figures);
    // A second failure in a row meets the new segment that the first one asks for, a third one its folder.
    for times in 1..=3 {
        sweep.every(&Fault { times, ..fault(JOURNAL, "fdatasync,fsync", "EIO") }, Cost::Nothing, &figures);
    }
    sweep.every(&fault(JOURNAL, "openat", "EMFILE"), Cost::Nothing, &figures);
    sweep.every(&fault(JOURNAL, "rename", "EROFS"), Cost::Nothing, &figures);
}

#[test]
fn each_operation_of_the_recorder_fails_once() {
    const WRITERS: &[&str] = &["recorder-0", "recorder-1"];
    const SEALER: &[&str] = &["recorder-sync"];
    let mut sweep = Sweep::new();
    let figures = ["/recorder/faults/disk"];
    sweep.every(&fault(WRITERS, "openat", "EMFILE"), Cost::Sound, &figures);
    sweep.every(&fault(WRITERS, "pwrite64", "ENOSPC"), Cost::Sound, &figures);
    sweep.every(&fault(SEALER, "openat", "EMFILE"), Cost::Nothing, &figures);
    sweep.every(&fault(SEALER, "write", "ENOSPC"), Cost::Nothing, &figures);
    sweep.every(&fault(SEALER, "pwrite64", "ENOSPC"), Cost::Nothing, &figures);
    sweep.every(&fault(SEALER, "fdatasync", "EIO"), Cost::Nothing, &figures);
    sweep.every(&fault(SEALER, "fsync", "EIO"), Cost::Nothing, &figures);
    sweep.every(&fault(SEALER, "pread64", "EIO"), Cost::Nothing, &figures);
}

#[test]
fn each_operation_of_the_database_fails_once() {
    const WORKERS: &[&str] = &["sqlx-sqlite"];
    let mut sweep = Sweep::new();
    let figures = ["/facts/sql_errors"];
    sweep.every(&fault(WORKERS, "fdatasync,fsync", "EIO"), Cost::Nothing, &figures);
    sweep.every(&fault(WORKERS, "pwrite64", "ENOSPC"), Cost::Nothing, &figures);
}

#[test]
fn each_operation_of_the_file_of_registrations_fails_once() {
    let hotline = Hotline::new();
    let admin = hotline.engine.api("demo-admin-token");
    let data = hotline.folder().canonicalize().unwrap().join("data");
    let file = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let saved = || fs::read_to_string(file("registrations.json")).unwrap_or_default();
    let unsaved = || admin.read("/health/internals").body["faults"]["registrations_unsaved"].as_u64().unwrap();
    let about = vec![file("registrations.new"), "data/registrations.new".into()];
    // The thread that writes is there once it has written.
    let port = ports(2);
    Sipp::register(hotline.folder(), hotline.engine.sip, "fuzhou.12345.example", "1001", port);
    eventually("the first one is written", SAVED_MAX, || saved().contains(&format!(":{port}")).then_some(()));
    for (failures, calls) in (0..).zip(["openat", "write", "rename"]) {
        let fault = Fault { threads: &["tokio-r"], calls, error: "ENOSPC", times: 1, about: about.clone() };
        let strace = Strace::fail(hotline.folder(), hotline.engine.id(), &fault, 1);
        assert_eq!(unsaved(), failures);
        let port = ports(2);
        Sipp::register(hotline.folder(), hotline.engine.sip, "fuzhou.12345.example", "1001", port);
        eventually("the alarm", SAVED_MAX, || (unsaved() == failures + 1).then_some(()));
        eventually("it is written all the same", SAVED_MAX, || saved().contains(&format!(":{port}")).then_some(()));
        assert!(strace.ended(), "{calls}");
        assert!(hotline.engine.log().contains("registrations cannot be written"));
    }
    hotline.nothing_is_left();
}

#[test]
fn each_port_and_each_datagram_of_sip_fails_once() {
    const SHARD: &[&str] = &["tokio-r"];
    let mut sweep = Sweep::new();
    sweep.every(&fault(SHARD, "socket", "EMFILE"), Cost::Nothing, &[]);
    sweep.every(&fault(SHARD, "bind", "ENOBUFS"), Cost::Nothing, &[]);
    let listener = vec![socket_at(sweep.hotline.engine.sip.port())];
    let sends = Fault { about: listener.clone(), ..fault(SHARD, "sendto", "ENOBUFS") };
    sweep.every(&sends, Cost::Nothing, &["/faults/sends_failed"]);
    let receives = Fault { about: listener, ..fault(SHARD, "recvfrom", "ECONNREFUSED") };
    sweep.every(&receives, Cost::Nothing, &["/faults/receives_failed"]);
}

#[test]
fn each_watched_socket_and_each_packet_of_sound_fails_once() {
    const MEDIA: &[&str] = &["media-0"];
    let mut sweep = Sweep::new();
    sweep.every(&fault(MEDIA, "epoll_ctl", "ENOSPC"), Cost::Nothing, &[]);
    sweep.every(&fault(MEDIA, "sendto", "ENOBUFS"), Cost::Nothing, &["/media/0/sends_failed"]);
    sweep.every(&fault(MEDIA, "recvfrom", "ECONNREFUSED"), Cost::Nothing, &["/media/0/receives_failed"]);
}
