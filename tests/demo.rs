//! `jiesu serve --demo`: simulated people call, are answered and recorded with both voices, and go home on SIGTERM.

use crate::support::api::Api;
use crate::support::engine::Folder;
use crate::support::eventually;
use crate::support::wav::Stereo;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Calls that must be answered and recorded.
const CALLS: usize = 2;
/// All say good-bye at once; nothing has to wait for the bound of draining.
const GOOD_BYE_MAX: Duration = Duration::from_secs(15);
const LEAD: &str = "demo-lead-token";

/// The engine with its demo; ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Folder) -> (Running, Api) {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_jiesu"))
        .args(["serve", "--demo", "--config", "jiesu.toml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the engine starts");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let api = lines.find_map(|line| line.strip_prefix("api http://")?.parse().ok());
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let api = api.unwrap_or_else(|| panic!("the engine names its API: {}", log()));
    // Whatever else it says must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (Running(child), Api::new(api, LEAD))
}

#[test]
fn people_call_are_answered_and_recorded_with_both_voices_and_go_home() {
    let folder = Folder::new();
    // Straight to the queue, so that the test is short.
    for line in ["greeting = \"fuzhou-greeting\"", "greeting = \"quanzhou-greeting\"", "notice = \"recording-notice\""]
    {
        folder.edit("ivr-flows/numbers.toml", line, "");
    }
    let (mut engine, api) = start(&folder);
    let mut events = api.events();
    let mut talked = Vec::new();
    let mut sites = Vec::new();
    while sites.len() < CALLS {
        let event = events
            .until("a talk and its end", |event| event["data"]["stage"] == "talking" || event["type"] == "call.ended");
        let contact = event["data"]["contact"].as_str().expect("a contact").to_owned();
        if event["type"] == "call.ended" {
            sites.extend(talked.contains(&contact).then(|| (event["site"].as_str().unwrap().to_owned(), contact)));
        } else {
            talked.push(contact);
        }
    }
    for (site, contact) in sites {
        let path = format!("/calls/{contact}?site={site}");
        let told = |record: &Value| record["call"]["end_by"].is_string() && record["call"]["recording"].is_string();
        let record = api.until(&path, told)["call"].take();
        assert!(record["caller"].as_str().unwrap().starts_with("+861390000"), "a number nobody has");
        let recording = record["recording"].as_str().unwrap();
        let query = format!("/recordings/{recording}");
        api.until(&format!("{query}?site={site}"), |recording| recording["sha256"].is_string());
        let (status, sound) = api.bytes(&format!("{query}/audio?site={site}"), None);
        assert_eq!(status, 200);
        let sound = Stereo::read(&sound);
        for (side, samples) in [("citizen", &sound.left), ("others", &sound.right)] {
            let loud = samples.iter().filter(|sample| sample.unsigned_abs() > 1_000).count();
            assert!(loud > 8_000 / 2, "{side}: {loud} loud samples of {}", samples.len());
        }
    }
    let pid = rustix::process::Pid::from_child(&engine.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = eventually("the engine ends", GOOD_BYE_MAX, || engine.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn a_real_agent_is_never_taken_for_a_simulated_one() {
    let folder = Folder::new();
    folder.agent("fuzhou", "1101", "general");
    let (status, text) = folder.run(&["serve", "--demo"]);
    assert!(!status.success(), "{text}");
    assert!(text.contains("agent 1101 exists and is no simulated one"), "{text}");
}
