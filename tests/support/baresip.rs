//! baresip as citizen and as agent: a configuration that works on loopback, and its control port.

use super::sipp::ports;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const READY_MAX: Duration = Duration::from_secs(15);
/// It picks at random and tries again, so more than it uses.
const MEDIA_PORTS: u16 = 20;

/// A headless baresip.
pub struct Baresip {
    child: Child,
    control: TcpStream,
    folder: PathBuf,
    unread: Vec<u8>,
}

impl Baresip {
    /// A phone `user` of `domain` that registers at `engine` and answers by itself, or, without a password, a citizen's
    /// that only calls. It speaks the WAV file `voice`.
    pub fn start(
        folder: &Path,
        engine: impl std::fmt::Display,
        user: &str,
        domain: &str,
        password: Option<&str>,
        voice: &Path,
    ) -> Baresip {
        let folder = folder.join(format!("baresip-{user}"));
        fs::create_dir_all(folder.join("heard")).unwrap();
        let control = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(folder.join("config"), config(&folder, ports(2), control, ports(MEDIA_PORTS), voice)).unwrap();
        fs::write(folder.join("contacts"), "").unwrap();
        let account = match password {
            Some(password) => format!(
                "<sip:{user}@{domain}>;outbound=\"sip:{engine}\";auth_user={user};auth_pass={password};regint=60;\
                 answermode=auto;audio_codecs=PCMA/8000/1\n"
            ),
            None => format!("<sip:{user}@{domain}>;outbound=\"sip:{engine}\";regint=0;audio_codecs=PCMA/8000/1\n"),
        };
        fs::write(folder.join("accounts"), account).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            .args(["-t", "120"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("baresip runs (Debian package baresip-core)");
        let control = super::eventually("baresip listens", READY_MAX, || {
            assert!(child.try_wait().unwrap().is_none(), "baresip has ended");
            TcpStream::connect(("127.0.0.1", control)).ok()
        });
        control.set_read_timeout(Some(super::api::EVENT_MAX)).unwrap();
        Baresip { child, control, folder, unread: Vec::new() }
    }

    /// Gives a command: `dial`, `hangup`, `hold`, `resume`, `sndcode` …
    pub fn command(&mut self, command: &str, parameters: &str) {
        let json = serde_json::json!({ "command": command, "params": parameters }).to_string();
        write!(self.control, "{}:{json},", json.len()).unwrap();
    }

    /// Waits for an event of this type (`REGISTER_OK`, `CALL_ESTABLISHED`, `CALL_CLOSED` …).
    pub fn until(&mut self, event: &str) {
        loop {
            let message = self.next(event);
            if message["event"] == true && message["type"] == event {
                return;
            }
        }
    }

    /// The next netstring of the control port.
    fn next(&mut self, waiting_for: &str) -> serde_json::Value {
        loop {
            if let Some(colon) = self.unread.iter().position(|byte| *byte == b':') {
                let length: usize = std::str::from_utf8(&self.unread[..colon]).unwrap().parse().unwrap();
                if self.unread.len() > colon + 1 + length {
                    let message = serde_json::from_slice(&self.unread[colon + 1..colon + 1 + length]).unwrap();
                    self.unread.drain(..colon + length + 2);
                    return message;
                }
            }
            let mut some = [0u8; 4096];
            let count = self.control.read(&mut some);
            let count = count.unwrap_or_else(|error| panic!("baresip said nothing of {waiting_for}: {error}"));
            assert_ne!(count, 0, "baresip has ended, awaited: {waiting_for}");
            self.unread.extend_from_slice(&some[..count]);
        }
    }

    /// What it heard in its last call, as samples at 8 kHz.
    pub fn heard(&self) -> Vec<i16> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.folder.join("heard"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("dec"))
            .collect();
        files.sort();
        let last = files.last().expect("baresip dumped what it heard");
        hound::WavReader::open(last).unwrap().samples::<i16>().map_while(Result::ok).collect()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(folder: &Path, sip: u16, control: u16, rtp: u16, voice: &Path) -> String {
    let heard = folder.join("heard");
    let modules: String = ["g711", "aufile", "sndfile"].iter().map(|name| format!("module {name}.so\n")).collect();
    let temporary: String = ["uuid", "account"].iter().map(|name| format!("module_tmp {name}.so\n")).collect();
    let applications: String =
        ["contact", "menu", "ctrl_tcp"].iter().map(|name| format!("module_app {name}.so\n")).collect();
    format!(
        "poll_method epoll\nsip_listen 127.0.0.1:{sip}\naudio_player aufile,{player}\naudio_source aufile,{voice}\n\
         audio_alert aufile,{alert}\naudio_level no\naudio_buffer 20-160\naudio_txmode thread\nrtp_ports {rtp}-{last}\n\
         rtp_stats yes\nrtp_timeout 60\ncall_local_timeout 120\ncall_max_calls 4\nsnd_path {heard}\n\
         module_path /usr/lib/baresip/modules\n{modules}{temporary}{applications}\
         ctrl_tcp_listen 127.0.0.1:{control}\nnet_interface 127.0.0.1\nstatmode_default off\n",
        player = folder.join("played.wav").display(),
        alert = folder.join("alert.wav").display(),
        voice = voice.display(),
        heard = heard.display(),
        last = rtp + MEDIA_PORTS - 1,
    )
}
