//! What becomes of recordings when their disk is full, and after their end: the second directory, the archive.

use crate::support::api::Api;
use crate::support::disk::SmallDisk;
use crate::support::eventually;
use crate::support::hotline::{Hotline, folder};
use crate::support::wav::{self, Stereo};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// From a full disk to its alarm.
const ALARM_MAX: Duration = Duration::from_secs(1);
/// For what follows by itself.
const SOON: Duration = Duration::from_secs(60);

fn figure(admin: &Api, pointer: &str) -> Value {
    admin.read("/health/internals").body.pointer(pointer).unwrap_or_else(|| panic!("no figure {pointer}")).clone()
}

/// A call with an agent that the citizen ends; gives its recording, finished.
fn recorded(hotline: &mut Hotline) -> Value {
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "2000"]);
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    recording_of(hotline, &contact)
}

fn recording_of(hotline: &Hotline, contact: &str) -> Value {
    let found =
        hotline.lead.until(&format!("/recordings?contact={contact}"), |found| found["items"][0]["sha256"].is_string());
    found["items"][0].clone()
}

fn path(recording: &Value, what: &str) -> String {
    format!("/recordings/{}{what}", recording["id"].as_str().unwrap())
}

#[test]
fn a_running_recording_goes_on_in_the_second_directory_when_the_first_is_full() {
    let folder = folder();
    let disk = SmallDisk::mount(&folder.path().join("data/recordings"));
    let second = folder.path().join("second");
    fs::create_dir_all(&second).unwrap();
    let line = "recordings = \"data/recordings\"";
    folder.edit("jiesu.toml", line, &format!("{line}\nrecordings_second = \"second\""));
    let mut hotline = Hotline::start(folder);
    let admin = hotline.engine.api("demo-admin-token");
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "6000"]);
    let contact = hotline.events.call("talking");
    disk.fill();
    eventually("the alarm", ALARM_MAX, || (figure(&admin, "/recorder/faults/disk") != 0).then_some(()));
    assert_eq!(figure(&admin, "/recorder/failing"), 1);
    assert_eq!(hotline.agent("1001")["contact"], *contact, "the talk goes on");
    citizen.succeeds();
    agent.succeeds();
    let recording = recording_of(&hotline, &contact);
    assert_eq!(recording["damaged"], false, "nothing of it is lost: {recording}");
    let file = second.join("fuzhou").join(recording["path"].as_str().unwrap());
    let bytes = fs::read(&file).expect("the file in the second directory");
    assert!(wav::files(&hotline.engine.recordings()).is_empty(), "and not in the first any more");
    assert_eq!(hotline.lead.bytes(&path(&recording, "/audio"), None), (200, bytes.clone()));
    let part = hotline.lead.bytes(&path(&recording, "/audio"), Some("bytes=58-999"));
    assert_eq!(part, (206, bytes[58..1_000].to_vec()));
    let (heard, told) = (Stereo::read(&bytes).duration_ms(), recording["duration_ms"].as_f64().unwrap());
    assert!((heard - told).abs() <= 1.0, "{heard} ms in the file, {told} told");
    hotline.nothing_is_left();
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
    // The next call's recording is there from its first sample.
    let next = recorded(&mut hotline);
    assert!(second.join("fuzhou").join(next["path"].as_str().unwrap()).exists());
    drop(disk);
}

#[test]
fn check_names_a_directory_that_cannot_be_written_to() {
    let folder = folder();
    let line = "recordings = \"data/recordings\"";
    folder.edit("jiesu.toml", line, &format!("{line}\nrecordings_second = \"not-mounted\""));
    let (status, said) = folder.run(&["check"]);
    assert_eq!(status.code(), Some(1), "{said}");
    let text = fs::read_to_string(folder.path().join("jiesu.toml")).unwrap();
    let place = text.lines().position(|line| line.starts_with("recordings_second")).unwrap() + 1;
    for part in [&*format!("jiesu.toml:{place}:21:"), "not-mounted", "cure: mount the disk"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    fs::create_dir(folder.path().join("not-mounted")).unwrap();
    let (status, said) = folder.run(&["check"]);
    assert!(status.success(), "{said}");
}

#[test]
fn an_archived_recording_is_served_when_its_file_is_gone() {
    let folder = folder();
    let kept = folder.path().join("kept");
    let archive = format!("[archive]\nurl = \"file://{}\"\nformat = \"opus\"\nkeep_local_days = 0\n", kept.display());
    folder.edit("jiesu.toml", "[overload]", &format!("{archive}[overload]"));
    let mut hotline = Hotline::start(folder);
    let admin = hotline.engine.api("demo-admin-token");
    let contact = recorded(&mut hotline)["contact"].as_str().unwrap().to_owned();
    let found = hotline
        .lead
        .until(&format!("/recordings?contact={contact}"), |found| found["items"][0]["local_removed"].is_i64());
    let recording = &found["items"][0];
    assert!(wav::files(&hotline.engine.recordings()).is_empty());
    let object = fs::read(kept.join(recording["archive_object"].as_str().unwrap())).unwrap();
    let audio = path(recording, "/audio");
    assert_eq!(hotline.lead.bytes(&audio, None), (200, object.clone()));
    assert_eq!(hotline.lead.bytes(&audio, Some("bytes=4-99")), (206, object[4..100].to_vec()));
    assert_eq!(hotline.lead.bytes(&audio, Some("bytes=-7")), (206, object[object.len() - 7..].to_vec()));
    assert_eq!(hotline.lead.bytes(&audio, Some(&format!("bytes={}-", object.len()))).0, 416);
    let peaks = hotline.lead.read(&path(recording, "/peaks?per_second=10")).body;
    let told = recording["duration_ms"].as_f64().unwrap();
    assert!((peaks["duration_ms"].as_f64().unwrap() - told).abs() < 20.0, "{peaks} {told}");
    let loud = |peak: &Value| peak[0].as_u64().unwrap().max(peak[1].as_u64().unwrap()) > 1_000;
    assert!(peaks["peaks"].as_array().unwrap().iter().any(loud), "somebody is heard: {peaks}");
    assert_eq!((figure(&admin, "/archive/done"), figure(&admin, "/archive/stuck")), (1.into(), false.into()));
    hotline.nothing_is_left();
    let (status, said) = hotline.engine.folder.run(&["verify"]);
    assert!(status.success(), "{said}");
    fs::remove_dir_all(&kept).unwrap();
    assert_eq!(hotline.lead.read(&audio).status, 410);
}

/// An S3 service that takes no answer to its heart until it is told so: a client waits in the middle of its upload.
#[derive(Default)]
struct Service {
    answers: AtomicBool,
    puts: Mutex<Vec<String>>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Service {
    fn start(self: &Arc<Service>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let service = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let service = service.clone();
                std::thread::spawn(move || while service.serves(&stream).is_some() {});
            }
        });
        format!("http://{address}")
    }

    /// One request; `None` at the end of the connection.
    fn serves(&self, mut stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream);
        let mut head = Vec::new();
        while head.last().is_none_or(|line: &String| line != "\r\n") {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            head.push(line);
        }
        let mut request = head[0].split(' ');
        let (method, path) = (request.next()?.to_owned(), request.next()?.to_owned());
        let length =
            head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        lines.read_exact(&mut body).ok()?;
        let dates = "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
        if method == "PUT" {
            self.puts.lock().unwrap().push(path.clone());
            if !self.answers.load(Ordering::Acquire) {
                // Until the client is gone.
                return lines.read_exact(&mut [0]).ok();
            }
            self.objects.lock().unwrap().insert(path, body);
            return stream.write_all(format!("HTTP/1.1 200 OK\r\n{dates}Content-Length: 0\r\n\r\n").as_bytes()).ok();
        }
        let object = self.objects.lock().unwrap().get(&path)?.clone();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\n{dates}Content-Length: {}\r\n\r\n", object.len()).as_bytes())
            .ok()?;
        stream.write_all(if method == "HEAD" { &[] } else { &object }).ok()
    }
}

#[test]
fn an_upload_cut_off_by_a_crash_is_begun_again_and_leaves_one_object() {
    let folder = folder();
    let service = Arc::new(Service::default());
    fs::write(folder.path().join("key"), "very-secret\n").unwrap();
    let archive = format!(
        "[archive]\nurl = \"s3://hotline/12345\"\nendpoint = \"{}\"\naccess_key = \"AKIDEXAMPLE\"\nsecret_key_file = \"key\"\n",
        service.start()
    );
    folder.edit("jiesu.toml", "[overload]", &format!("{archive}[overload]"));
    let mut hotline = Hotline::start(folder);
    let recording = recorded(&mut hotline);
    let puts = || service.puts.lock().unwrap().len();
    eventually("the upload begins", SOON, || (puts() > 0).then_some(()));
    // Calls do not wait for it.
    let admin = hotline.engine.api("demo-admin-token");
    assert_eq!((figure(&admin, "/archive/waiting"), figure(&admin, "/archive/done")), (1.into(), 0.into()));
    hotline.engine.kill();
    service.answers.store(true, Ordering::Release);
    hotline.start_again();
    let archived = hotline.lead.until(&path(&recording, ""), |recording| recording["archived"].is_i64());
    let name = format!("/hotline/12345/fuzhou/{}", recording["path"].as_str().unwrap());
    let objects = service.objects.lock().unwrap().clone();
    assert_eq!(objects.keys().collect::<Vec<_>>(), [&name], "{archived}");
    let file = fs::read(hotline.engine.recordings().join("fuzhou").join(recording["path"].as_str().unwrap())).unwrap();
    assert_eq!(objects[&name], file);
    assert_eq!(archived["archive_sha256"], recording["sha256"]);
    assert!(puts() >= 2 && service.puts.lock().unwrap().iter().all(|path| *path == name));
    assert!(!hotline.engine.log().contains("very-secret"));
}
