//! sipp as citizen and as agent: the scenarios are in `tests/scenarios`.

use super::scenario;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A sipp that runs one scenario.
pub struct Sipp {
    child: Child,
    log: PathBuf,
    scenario: String,
    gate: Option<Gate>,
}

/// Where the scenario waits for the test: sipp takes it for its twin (`-3pcc`).
struct Gate {
    port: u16,
    call_id: String,
    /// sipp ends when its twin does.
    twin: Option<TcpStream>,
}

/// Where tests take their ports from: below the engines' media. Enough that no run gets one twice: a phone leaves its port for
/// a moment when somebody comes to it.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// The first of `count` ports in a row that nobody has just now, be it UDP or TCP, and no other test of this run gets; it is
/// even.
pub fn ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let room = u32::from(PORTS.end - PORTS.start);
    let count = count.next_multiple_of(2);
    // Runs beside this one begin elsewhere.
    let begin = (std::process::id() % room) & !1;
    loop {
        let next = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        assert!(next < room, "this run has had all of {PORTS:?}");
        let first = PORTS.start + ((begin + next) % room) as u16;
        let free =
            |port| UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
        if first + count <= PORTS.end && (first..first + count).all(free) {
            return first;
        }
    }
}

impl Sipp {
    /// Starts `scenario` against `engine` with further arguments; files go to `folder`. A second word of `scenario` is the
    /// status that it awaits: sipp takes none from the command line.
    pub fn start(folder: &Path, engine: SocketAddr, scenario: &str, arguments: &[&str]) -> Sipp {
        let (scenario, status) = scenario.split_once(' ').unwrap_or((scenario, ""));
        let source = scenario::path(scenario);
        let text = std::fs::read_to_string(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let media = ports(4).to_string();
        let scenario = scenario.replace('/', "-");
        let file = folder.join(format!("sipp-{scenario}-{media}.xml"));
        std::fs::write(&file, text.replace("[status]", status)).unwrap();
        let log = folder.join(format!("sipp-{scenario}-{media}.log"));
        let gate = text.contains("<recvCmd").then(|| Gate {
            port: ports(2),
            call_id: format!("{}-{media}-1@gate", std::process::id()),
            twin: None,
        });
        let output = std::fs::File::create(&log).unwrap();
        let mut command = Command::new("sipp");
        command
            .arg(engine.to_string())
            .args(["-sf".as_ref(), file.as_os_str()])
            .args(["-mi", "127.0.0.1", "-mp", &media, "-nostdin", "-timeout", "120s"])
            .args(["-trace_err", "-trace_msg", "-error_file"])
            .arg(folder.join(format!("sipp-{scenario}-{media}.err")))
            .arg("-message_file")
            .arg(folder.join(format!("sipp-{scenario}-{media}.msg")));
        for (flag, value) in [("-m", "1"), ("-i", "127.0.0.1")] {
            if !arguments.contains(&flag) {
                command.args([flag, value]);
            }
        }
        if let Some(Gate { port, call_id, .. }) = &gate {
            let call_id = call_id.replace("-1@", "-%u@");
            command.args(["-3pcc", &format!("127.0.0.1:{port}"), "-cid_str", &call_id]);
        }
        let child = command
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp runs (Debian package sip-tester)");
        Sipp { child, log, scenario, gate }
    }

    /// Registers `user` at `port` with its password; returns when sipp has its 200.
    pub fn register(folder: &Path, engine: SocketAddr, domain: &str, user: &str, port: u16) {
        let (port, password) = (port.to_string(), format!("secret-{user}"));
        let arguments = [
            "-p", &port, "-s", user, "-au", user, "-ap", &password, "-key", "domain", domain, "-key", "expires", "600",
        ];
        Sipp::start(folder, engine, "register", &arguments).succeeds();
    }

    /// Waits until it has opened its SIP port.
    pub fn listens(&self, port: u16) {
        let wanted = format!("0100007F:{port:04X} ");
        super::eventually("sipp listens", super::api::EVENT_MAX, || {
            std::fs::read_to_string("/proc/net/udp").unwrap().contains(&wanted).then_some(())
        });
    }

    /// Opens the gate that the scenario stands at or comes to.
    pub fn go(&mut self) {
        let gate = self.gate.as_mut().expect("the scenario has a gate");
        let mut twin = super::eventually("sipp listens for its twin", super::api::EVENT_MAX, || {
            TcpStream::connect(("127.0.0.1", gate.port)).ok()
        });
        write!(twin, "Call-ID: {}\r\n\r\n\u{1b}", gate.call_id).unwrap();
        gate.twin = Some(twin);
    }

    /// All that was sent and received so far.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("msg")).unwrap_or_default()
    }

    /// Waits for its end, whatever that is.
    pub fn ends(mut self) -> std::process::ExitStatus {
        super::eventually("sipp ends", super::api::EVENT_MAX * 4, || self.child.try_wait().unwrap())
    }

    /// Waits for its end, which must be success. Returns the messages sent and received.
    pub fn succeeds(mut self) -> String {
        let status = super::eventually("sipp ends", super::api::EVENT_MAX * 2, || self.child.try_wait().unwrap());
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let error = std::fs::read_to_string(self.log.with_extension("err")).unwrap_or_default();
        let messages = std::fs::read_to_string(self.log.with_extension("msg")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(50).collect();
        assert!(
            status.success(),
            "sipp {} ended with {status}\n{}\n{error}\n{messages}",
            self.scenario,
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        );
        messages
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
