//! sipp as citizen and as agent: the scenarios are in `tests/scenarios`.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A sipp that runs one scenario.
pub struct Sipp {
    child: Child,
    log: PathBuf,
    scenario: String,
}

/// A UDP port that nobody has just now, with the next one free for RTCP.
pub fn free_port() -> u16 {
    loop {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port.is_multiple_of(2) && port < 60_000 && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

impl Sipp {
    /// Starts `scenario` against `engine` with further arguments; files go to `folder`.
    pub fn start(folder: &Path, engine: SocketAddr, scenario: &str, arguments: &[&str]) -> Sipp {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(format!("{scenario}.xml"));
        let media = free_port().to_string();
        let log = folder.join(format!("sipp-{scenario}-{media}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let mut command = Command::new("sipp");
        command
            .arg(engine.to_string())
            .args(["-sf".as_ref(), file.as_os_str()])
            .args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-mp", &media, "-nostdin", "-timeout", "120s"])
            .args(["-trace_err", "-trace_msg", "-error_file"])
            .arg(folder.join(format!("sipp-{scenario}-{media}.err")))
            .arg("-message_file")
            .arg(folder.join(format!("sipp-{scenario}-{media}.msg")));
        if !arguments.contains(&"-m") {
            command.args(["-m", "1"]);
        }
        let child = command
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp runs (Debian package sip-tester)");
        Sipp { child, log, scenario: scenario.into() }
    }

    /// Registers `user` at `port` with its password; returns when sipp has its 200.
    pub fn register(folder: &Path, engine: SocketAddr, domain: &str, user: &str, port: u16) {
        let (port, password) = (port.to_string(), format!("secret-{user}"));
        let arguments = [
            "-p", &port, "-s", user, "-au", user, "-ap", &password, "-key", "domain", domain, "-key", "expires", "600",
        ];
        Sipp::start(folder, engine, "register", &arguments).succeeds();
    }

    /// Waits for its end, which must be success.
    pub fn succeeds(mut self) {
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
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
