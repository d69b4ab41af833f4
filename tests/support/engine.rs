//! An engine of the test's own: the shipped configuration on free ports and in a temporary folder, as a real process.

use super::api::Api;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(60);

/// A folder with a configuration that may be edited before the engine starts.
pub struct Folder(pub TempDir);

impl Folder {
    /// The shipped configuration with free ports on loopback.
    pub fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["jiesu.toml", "sip-profiles", "ivr-flows"] {
            copy(&root.join(part), &folder.path().join(part));
        }
        // Other transports are for the tests that want them.
        for other in ["tcp", "tls", "ws", "wss"] {
            fs::remove_file(folder.path().join(format!("sip-profiles/listeners/{other}.toml"))).unwrap();
        }
        folder.edit("jiesu.toml", "listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\"");
        // What is below belongs to the tests' phones.
        folder.edit("jiesu.toml", "\"10000-29999\"", "\"20000-29999\"");
        folder.edit("jiesu.toml", "log = \"info\"", "log = \"info,jiesu=debug\"");
        folder.edit("sip-profiles/listeners/udp.toml", "listen = \"0.0.0.0:5060\"", "listen = \"127.0.0.1:0\"");
        folder.edit("sip-profiles/listeners/udp.toml", "\"127.0.0.1:5060\"", "\"127.0.0.1:0\"");
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Adds a listener `NAME` with these lines, on a free port of loopback unless they say another address.
    pub fn listener(&self, name: &str, lines: &str) -> &Folder {
        let listen = if lines.contains("listen = ") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        fs::write(self.path().join(format!("sip-profiles/listeners/{name}.toml")), format!("{listen}{lines}\n"))
            .unwrap();
        self
    }

    /// Runs a command of the program to its end.
    pub fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let mut said = tempfile::tempfile().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_jiesu"))
            .args(arguments)
            .args(["--config", "jiesu.toml"])
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said.try_clone().unwrap())
            .spawn()
            .expect("the program runs");
        let limit = std::time::Instant::now() + START_MAX;
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if std::time::Instant::now() >= limit => break None,
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        // One that goes on running must not outlive its test.
        let _ = child.kill();
        let _ = child.wait();
        let mut text = String::new();
        said.rewind().unwrap();
        said.read_to_string(&mut text).unwrap();
        (status.unwrap_or_else(|| panic!("jiesu {arguments:?} did not end:\n{text}")), text)
    }

    /// Adds an agent whose password is `secret-NAME`.
    pub fn agent(&self, site: &str, name: &str, skill: &str) -> &Folder {
        let password = format!("secret-{name}");
        let (status, text) =
            self.run(&["agent", "add", "--site", site, "--name", name, "--password", &password, "--skill", skill]);
        assert!(status.success(), "{text}");
        self
    }

    pub fn start(self) -> Engine {
        Engine::start(self)
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
}

/// A running engine; ends with the test.
pub struct Engine {
    pub folder: Folder,
    /// Where it speaks UDP.
    pub sip: SocketAddr,
    pub api: SocketAddr,
    /// All listeners: address and transport.
    pub listeners: Vec<(SocketAddr, String)>,
    child: Child,
    lines: Receiver<String>,
}

impl Engine {
    fn start(folder: Folder) -> Engine {
        let (child, lines) = spawn(&folder);
        let unknown = ([0; 4], 0).into();
        let listeners = Vec::new();
        let mut engine = Engine { folder, sip: unknown, api: unknown, listeners, child, lines };
        engine.listens();
        engine
    }

    /// Starts again after its end, with what it left in its folder; on other ports.
    pub fn start_again(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "it runs still");
        (self.child, self.lines) = spawn(&self.folder);
        self.listens();
    }

    fn listens(&mut self) {
        self.listeners.clear();
        loop {
            let Ok(line) = self.lines.recv_timeout(START_MAX) else {
                panic!("the engine did not say \"ready\"; its log:\n{}", self.log())
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["sip", address, transport] => {
                    self.listeners.push((address.parse().expect("an address"), transport.into()));
                }
                ["api", url] => self.api = url.trim_start_matches("http://").parse().expect("an address"),
                ["ready"] => break,
                _ => {}
            }
        }
        self.sip = self.listener("udp");
    }

    /// Where the first listener of this transport is.
    pub fn listener(&self, transport: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(_, it)| it == transport);
        found.unwrap_or_else(|| panic!("no {transport} in {:?}", self.listeners)).0
    }

    /// SIGHUP: the files are read again.
    pub fn reload(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Speaks to the API as the holder of `token`.
    pub fn api(&self, token: &str) -> Api {
        Api::new(self.api, token)
    }

    pub fn recordings(&self) -> PathBuf {
        self.folder.path().join("data/recordings")
    }

    /// Id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, as an operator stops it.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// SIGKILL, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What stood at a crash is lost too, as when the whole machine goes down.
    pub fn forgets(&self) {
        fs::remove_file(self.folder.path().join("data/standing")).expect("it kept what stood");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        super::eventually("the engine ends", STOP_MAX, || self.child.try_wait().unwrap())
    }
}

fn spawn(folder: &Folder) -> (Child, Receiver<String>) {
    let log = fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_jiesu"))
        .args(["serve", "--config", "jiesu.toml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the engine starts");
    let (told, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
    (child, lines)
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            // What the test itself asked again and again says nothing.
            let telling = log.lines().rev().filter(|line| !line.contains("api::problem: answered"));
            let tail: Vec<&str> = telling.take(60).collect();
            eprintln!("--- the end of the engine's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
