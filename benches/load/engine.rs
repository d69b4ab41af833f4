//! The engine under load: the real program in a folder of its own, what it costs by `/proc`, and how it stands by its API.

use jiesu::config::Config;
use jiesu::sip::event::Credential;
use jiesu::store::Store;
use jiesu::store::agents::{NewAgent, Skill};
use jiesu::store::sites::SiteRow;
use serde_json::Value;
use sqlx::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Domain of the phones.
pub const DOMAIN: &str = "load.12345.example";
/// Password of every phone.
pub const PASSWORD: &str = "load-secret";
const TOKEN: &str = "load-token";
const LEAD_TOKEN: &str = "lead-token";
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// Facts must have stopped coming for so long: recordings are sealed some time after their call.
const QUIET: Duration = Duration::from_millis(1_500);
/// The kernel's unit of processor time in `/proc/PID/stat`, for user space always.
const CLOCK_TICKS_A_SECOND: f64 = 100.0;

const MAIN: &str = r#"
[node]
name = "load"
rtp_ports = "2000-31999"
calls_max = 3000
log = "warn"
[api]
listen = "127.0.0.1:0"
[[api.token]]
actor = "load"
role = "admin"
site = "*"
token = "load-token"
[[api.token]]
actor = "lead"
role = "team_lead"
site = "load"
token = "lead-token"
[[site]]
code = "load"
name = "load"
domain = "load.12345.example"
area_code = "591"
time_zone = "Asia/Shanghai"
skills = ["general"]
"#;

const QUEUES: &str = r#"
[[queue]]
site = "load"
name = "综合"
skills = { general = 1 }
wrap_up_s = 0
waiting_max = 3000
music = "music-on-hold"
apology = "apology"
"#;

const NUMBERS: &str = "[[number]]\nnumber = \"12345\"\nsite = \"load\"\nflow = \"direct\"\n";
const LISTENER: &str = "transport = \"udp\"\nlisten = \"127.0.0.1:0\"\n";

/// A running engine with its folder; both end with it.
pub struct Engine {
    child: Child,
    /// Where SIP is spoken.
    pub sip: SocketAddr,
    api: SocketAddr,
    /// From the start of the process to its word that it is ready.
    pub start: Duration,
    _folder: TempDir,
}

/// Processor time and memory at one moment.
#[derive(Clone, Copy)]
pub struct Spent {
    /// User and system time of the whole process.
    pub cpu: Duration,
    /// When this was.
    pub at: Instant,
}

/// Where the memory of the process lies, and what else it holds.
#[derive(Clone, Copy, Default)]
pub struct Footprint {
    /// All of it.
    pub resident_kib: f64,
    /// What the allocator took by moving the program's break.
    pub main_heap_kib: f64,
    /// How many further heaps it mapped for threads, and their size.
    pub arenas: usize,
    pub arenas_kib: f64,
    /// Stacks of threads, and blocks large enough to be mapped one by one.
    pub other_kib: f64,
    /// The program's own file, libraries and the shared index of SQLite's log.
    pub files_kib: f64,
    pub threads: usize,
    pub open_files: usize,
}

/// glibc maps the heaps of its arenas at multiples of this.
const ARENA_BYTES: u64 = 64 << 20;

impl Footprint {
    /// Adds a mapping, given the line that heads it in `/proc/PID/smaps`.
    fn add(&mut self, head: &str, resident_kib: f64) {
        let mut words = head.split_whitespace();
        let start = words.next().and_then(|range| u64::from_str_radix(range.split('-').next()?, 16).ok());
        let name = words.nth(4);
        self.resident_kib += resident_kib;
        match name {
            Some("[heap]") => self.main_heap_kib += resident_kib,
            Some(name) if name.starts_with('/') => self.files_kib += resident_kib,
            None if start.is_some_and(|start| start.is_multiple_of(ARENA_BYTES)) => {
                self.arenas += 1;
                self.arenas_kib += resident_kib;
            }
            None | Some(_) => self.other_kib += resident_kib,
        }
    }
}

impl Engine {
    /// Starts the program with so many agents, named by [`agent_name`]; every program of this machine is a trunk.
    pub fn start(agents: usize) -> Engine {
        Engine::start_for(agents, 0, "127.0.0.0/8")
    }

    /// The same with one trunk's network, and so many phones that follow the agents and have no skill.
    pub fn start_for(agents: usize, phones: usize, trunk: &str) -> Engine {
        Engine::start_in((agents, phones), trunk, &[])
    }

    /// The same without further phones, and with further files.
    pub fn start_with(agents: usize, trunk: &str, more: &[(&str, String)]) -> Engine {
        Engine::start_in((agents, 0), trunk, more)
    }

    fn start_in((agents, phones): (usize, usize), trunk: &str, more: &[(&str, String)]) -> Engine {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        write_files(folder.path(), trunk);
        for (file, text) in more {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        add_agents(folder.path(), agents, phones);
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_jiesu"))
            .args(["serve", "--config", "jiesu.toml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the engine starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut told = BTreeMap::new();
        for line in output.lines().map_while(Result::ok) {
            let mut words = line.split(' ');
            let word = words.next().unwrap_or_default().to_owned();
            let ready = word == "ready";
            told.insert(word, words.next().unwrap_or_default().to_owned());
            if ready {
                break;
            }
        }
        let start = began.elapsed();
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let address = |word: &str| -> SocketAddr {
            let text = told.get(word).unwrap_or_else(|| panic!("the engine did not start:\n{}", log()));
            text.trim_start_matches("http://").parse().expect("an address")
        };
        let (sip, api) = (address("sip"), address("api"));
        Engine { child, sip, api, start, _folder: folder }
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the engine runs")
    }

    /// What the process has spent so far.
    pub fn spent(&self) -> Spent {
        let text = self.proc("stat");
        // The name in brackets may hold spaces; behind it, utime and stime are the 12th and 13th.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11..=12].iter().map(|field| field.parse::<f64>().expect("ticks")).sum();
        Spent { cpu: Duration::from_secs_f64(ticks / CLOCK_TICKS_A_SECOND), at: Instant::now() }
    }

    /// Memory in KiB: `VmRSS`, or `VmHWM` for the peak.
    pub fn memory_kib(&self, what: &str) -> f64 {
        let text = self.proc("status");
        let line = text.lines().find_map(|line| line.strip_prefix(what)).expect("Linux tells memory");
        line.trim_start_matches(':').split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("KiB")
    }

    /// Where its memory lies, by `/proc/PID/smaps`, and what it holds open.
    pub fn footprint(&self) -> Footprint {
        let entries = |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.child.id())).map_or(0, Iterator::count);
        let mut footprint = Footprint { threads: entries("task"), open_files: entries("fd"), ..Footprint::default() };
        let (text, mut head) = (self.proc("smaps"), "");
        for line in text.lines() {
            match line.split_once(':') {
                Some(("Rss", kib)) => {
                    let kib = kib.trim().trim_end_matches(" kB").parse().expect("KiB");
                    footprint.add(head, kib);
                }
                // Further figures of the mapping; only its head begins with an address, and has no colon in its first word.
                Some((word, _)) if !word.contains(' ') => {}
                _ => head = line,
            }
        }
        footprint
    }

    /// What its data folder holds, by part.
    pub fn on_disk(&self) -> String {
        let mut du = Command::new("du");
        du.args(["-sm", "journal", "jiesu.db", "recordings"]).current_dir(self._folder.path().join("data"));
        let text = du.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let parts = text.lines().filter_map(|line| line.split_once('\t'));
        parts.map(|(mib, part)| format!("{part} {mib} MiB")).collect::<Vec<_>>().join(", ")
    }

    /// Processor time by name of thread.
    pub fn threads(&self) -> BTreeMap<String, Duration> {
        let mut spent = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the engine runs").flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let ns: u64 = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
            *spent.entry(read("comm").trim().to_owned()).or_default() += Duration::from_nanos(ns);
        }
        spent
    }

    /// Makes these agents ready for calls (示闲), as their consoles would.
    pub fn ready(&self, agents: std::ops::Range<usize>) {
        self.want(agents, "ready");
    }

    /// Takes them out again.
    pub fn pause(&self, agents: std::ops::Range<usize>) {
        self.want(agents, "not_ready");
    }

    fn want(&self, agents: std::ops::Range<usize>, state: &str) {
        let http = ureq::Agent::new_with_defaults();
        for name in agents.map(agent_name) {
            let url = format!("http://{}/api/v1/agents/{name}/state?site=load", self.api);
            let wanted = serde_json::json!({ "state": state });
            let put = http.put(url).header("Authorization", format!("Bearer {LEAD_TOKEN}")).send_json(wanted);
            put.expect("the API takes it").body_mut().read_to_vec().expect("a body");
        }
    }

    /// `/health/internals`.
    pub fn internals(&self) -> Value {
        let url = format!("http://{}/api/v1/health/internals", self.api);
        let answer = ureq::get(url).header("Authorization", format!("Bearer {TOKEN}")).call();
        answer.expect("the API answers").body_mut().read_json().expect("JSON")
    }

    /// Waits until no call is left, recordings are sealed and SQL has all facts; returns what stands then.
    pub fn settled(&self) -> Value {
        let (began, mut quiet_since, mut last) = (Instant::now(), Instant::now(), Value::Null);
        loop {
            let inside = self.internals();
            let told = inside["facts"]["told"].clone();
            if told != last {
                (last, quiet_since) = (told, Instant::now());
            }
            let caught_up = inside["facts"]["behind"] == false && inside["facts"]["applied"] == inside["facts"]["told"];
            if caught_up && quiet_since.elapsed() >= QUIET {
                return inside;
            }
            assert!(began.elapsed() < SETTLE_MAX, "facts never reached SQL: {inside:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of the engine's log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
        log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name of the agent with this index.
pub fn agent_name(index: usize) -> String {
    format!("a{index}")
}

/// The shipped flows and prompts; the rest is the least that a hotline needs.
fn write_files(folder: &Path, trunk: &str) {
    let trunk = format!("sources = [\"{trunk}\"]\n");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("ivr-flows");
    for part in ["ivr-flows/prompts", "sip-profiles/listeners", "sip-profiles/trunks", "data"] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    fs::copy(shipped.join("direct.toml"), folder.join("ivr-flows/direct.toml")).expect("the shipped flow");
    for prompt in fs::read_dir(shipped.join("prompts")).expect("the shipped prompts").flatten() {
        fs::copy(prompt.path(), folder.join("ivr-flows/prompts").join(prompt.file_name())).expect("a prompt");
    }
    for (file, text) in [
        ("jiesu.toml", MAIN),
        ("sip-profiles/queues.toml", QUEUES),
        ("ivr-flows/numbers.toml", NUMBERS),
        ("sip-profiles/listeners/udp.toml", LISTENER),
        ("sip-profiles/trunks/carrier.toml", &*trunk),
    ] {
        fs::write(folder.join(file), text).expect("a file");
    }
}

fn add_agents(folder: &Path, agents: usize, phones: usize) {
    let config = Config::load(&folder.join("jiesu.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&config.database).await.expect("a database");
        let text = |text: &str| text.to_owned();
        let site = SiteRow { code: text("load"), name: text("load"), time_zone: text("UTC"), area: text("591") };
        store.sync_sites(&[site]).await.expect("a site");
        let (people, skills) = (store.site("load"), [Skill::always("general", 5)]);
        for index in 0..agents {
            let name = agent_name(index);
            let new = NewAgent { name: &name, display_name: "", domain: DOMAIN, password: PASSWORD };
            people.add_agent(&new).await.expect("a new agent");
            people.set_skills(&name, &skills).await.expect("skills");
        }
        store.close().await;
        if phones > 0 {
            add_phones(&config.database, agents..agents + phones).await.expect("phones");
        }
    });
}

/// Ten thousand statements of their own would wait for the disk ten thousand times.
async fn add_phones(database: &Path, phones: std::ops::Range<usize>) -> Result<(), sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    let mut all = connection.begin().await?;
    for index in phones {
        let name = agent_name(index);
        let secret = Credential::new(&name, DOMAIN, PASSWORD);
        let insert = "INSERT INTO agents (site, name, number, display_name, domain, ha1_md5, ha1_sha256, enabled) \
                      VALUES ('load', $1, $2, '', $3, $4, $5, TRUE)";
        let insert = sqlx::query(insert).bind(name).bind(index as i64).bind(DOMAIN);
        insert.bind(hex::encode(secret.ha1_md5)).bind(hex::encode(secret.ha1_sha256)).execute(&mut *all).await?;
    }
    all.commit().await?;
    connection.close().await
}
