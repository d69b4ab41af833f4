//! What goes wrong outside must stop nothing inside; what is wrong at the start must be said with its cure.

use crate::support::hotline::{AGENT_HZ, APOLOGY_HZ, CITIZEN_HZ, Hotline, folder};
use crate::support::sip::Client;
use crate::support::{eventually, sql, wav};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

const INVITE: &str = "INVITE sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\n\
    From: <sip:1@127.0.0.1>;tag=x\r\nTo: <sip:12345@127.0.0.1>\r\nCall-ID: torture@x\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:1@127.0.0.1:9>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

/// Packets that no honest phone sends, in the spirit of RFC 4475.
fn torture() -> Vec<Vec<u8>> {
    let swapped = |from: &str, to: &str| INVITE.replace(from, to).into_bytes();
    let mut pieces: Vec<Vec<u8>> = (0..INVITE.len()).map(|length| INVITE.as_bytes()[..length].to_vec()).collect();
    pieces.extend([
        swapped("Content-Length: 5", "Content-Length: -5"),
        swapped("Content-Length: 5", "Content-Length: 99999999999999999999"),
        swapped("Content-Length: 5", "Content-Length: 6000"),
        swapped("CSeq: 1 INVITE", "CSeq: 4294967296 INVITE"),
        swapped("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        swapped("Max-Forwards: 70", "Max-Forwards: 0"),
        swapped("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        swapped("sip:12345@127.0.0.1 SIP", "http://[::1 SIP"),
        swapped("From: <sip:1@127.0.0.1>;tag=x", "From: \"\\\" <sip:1@127.0.0.1>;tag=\u{0}"),
        swapped("Via: SIP/2.0/UDP 127.0.0.1:9;", "Via: SIP / 2.0 / UDP [::]:99999;"),
        swapped("Max-Forwards: 70\r\n", &"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKy\r\n".repeat(900)),
        swapped("Max-Forwards: 70\r\n", &format!("X: {}\r\n", "a".repeat(60_000))),
        swapped("Max-Forwards: 70\r\n", &"Route: <sip:127.0.0.1:9;lr>\r\n".repeat(500)),
        swapped("v=0\r\n", "m=aud"),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"SIP/2.0 99999999999 OK\r\nVia: x\r\n\r\n".to_vec(),
        b"\r\n\r\n".to_vec(),
        vec![0; 65_000],
        b"INVITE ".repeat(9_000),
        Vec::new(),
    ]);
    // A small generator (Knuth's MMIX): the same noise in every run.
    let mut state = 12_345u64;
    pieces.extend((0..500).map(|size| {
        (0..size * 3)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect()
    }));
    pieces
}

#[test]
fn garbage_disturbs_no_call() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "5000"]);
    let contact = hotline.events.call("talking");
    let mut probe = Client::new(hotline.engine.sip, "1002", "fuzhou.12345.example");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (number, piece) in torture().iter().enumerate() {
        socket.send_to(piece, hotline.engine.sip).unwrap();
        if number % 50 == 0 {
            probe.challenge();
        }
    }
    probe.challenge();
    assert_eq!(hotline.agent("1001")["contact"], *contact, "the talk goes on");
    citizen.succeeds();
    agent.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "caller"));
    let (from, to) = (past.at_ms("answered") + 400, past.at_ms("ended") - 100);
    wav::speaks_alone(&past.sound.left[from * 8..to * 8], CITIZEN_HZ, AGENT_HZ);
    wav::speaks_alone(&past.sound.right[from * 8..to * 8], AGENT_HZ, CITIZEN_HZ);
    hotline.nothing_is_left();
    let log = hotline.engine.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_address_in_use_is_named_with_its_cure() {
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sip, api) = (sip.local_addr().map(|at| (at, sip)).unwrap(), api.local_addr().map(|at| (at, api)).unwrap());
    let cases = [
        ("sip-profiles/listeners/udp.toml", "127.0.0.1:0", sip.0, "listener udp"),
        ("jiesu.toml", "127.0.0.1:0", api.0, "[api] listen"),
    ];
    for (file, free, used, name) in cases {
        let folder = folder();
        folder.edit(file, free, &used.to_string());
        let (status, text) = folder.run(&["serve"]);
        assert_eq!(status.code(), Some(1), "{text}");
        for part in [name, &used.to_string(), "Stop the program that uses it, or choose another port."] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}

#[test]
fn a_mistake_in_the_configuration_is_told_with_file_line_and_cure() {
    let cases = [
        ("sip-profiles/queues.toml", "ring_max_s = 3", "ring_maxs = 3", "ring_max_s"),
        (
            "sip-profiles/queues.toml",
            "site = \"fuzhou\"\nname = \"社保\"",
            "site = \"fuzhuo\"\nname = \"社保\"",
            "fuzhou",
        ),
        (
            "ivr-flows/numbers.toml",
            "greeting = \"quanzhou-greeting\"",
            "greeting = \"nobody-spoke\"",
            "nobody-spoke.wav",
        ),
        ("jiesu.toml", "calls_max = 2500", "calls_max = many", "must be quoted"),
        ("jiesu.toml", "calls_max = 2500", "calls_max = 0", "cure: "),
    ];
    for (file, right, wrong, told) in cases {
        let folder = folder();
        folder.edit(file, right, wrong);
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let line = 1 + text[..text.find(wrong).unwrap()].matches('\n').count();
        for command in ["check", "serve"] {
            let (status, said) = folder.run(&[command]);
            assert_eq!(status.code(), Some(1), "{command}: {said}");
            let place = format!("{}:{line}", file.rsplit('/').next().unwrap());
            assert!(said.contains(&place), "{command}: no {place} in\n{said}");
            assert!(said.contains(told), "{command}: no cure with {told} in\n{said}");
        }
    }
}

#[test]
fn a_prompt_that_is_gone_is_told_by_its_path() {
    let folder = folder();
    std::fs::remove_file(folder.path().join("ivr-flows/prompts/apology.wav")).unwrap();
    for command in ["check", "serve"] {
        let (status, said) = folder.run(&[command]);
        assert_eq!(status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("queues.toml:") && said.contains("apology"), "{command}: {said}");
    }
}

#[test]
fn a_stop_lets_running_calls_finish_and_takes_no_new_ones() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "4000"]);
    let contact = hotline.events.call("talking");
    hotline.engine.terminate();
    eventually("the engine drains", Duration::from_secs(5), || hotline.engine.log().contains("draining").then_some(()));
    let refused = hotline.citizen_is_refused("12345", "503");
    assert!(refused.contains("Retry-After: "), "{refused}");
    assert_eq!(hotline.agent("1001")["contact"], *contact, "the talk goes on");
    citizen.succeeds();
    agent.succeeds();
    assert!(hotline.engine.ended().success(), "a drained engine ends well");
    let database = hotline.database();
    let finished = format!("id = '{contact}' AND end_stage = 'talking' AND end_by = 'caller' AND agent = '1001'");
    assert_eq!(sql::count(&database, "calls", &finished), 1);
    let refused = "end_by = 'refused' AND end_stage = 'offered' AND end_sip_status = 503 AND connected IS NULL";
    assert_eq!(sql::count(&database, "calls", refused), 1);
    assert_eq!(sql::count(&database, "calls", "TRUE"), 2);
    let whole = format!("contact = '{contact}' AND ended IS NOT NULL");
    assert_eq!(sql::count(&database, "orders", &whole), 1);
    assert_eq!(sql::count(&database, "recordings", &format!("{whole} AND sha256 IS NOT NULL AND NOT damaged")), 1);
}

#[test]
fn a_stop_ends_by_its_bound_those_who_will_not() {
    let folder = folder();
    folder.edit("jiesu.toml", "drain_s_max = 300", "drain_s_max = 1");
    let mut hotline = Hotline::start(folder);
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("queued");
    hotline.engine.terminate();
    citizen.succeeds();
    assert!(hotline.engine.ended().success());
    let database = hotline.database();
    let whole = format!("id = '{contact}' AND end_stage = 'queued' AND end_by = 'operator' AND ended IS NOT NULL");
    assert_eq!(sql::count(&database, "calls", &whole), 1);
    let sealed = format!("contact = '{contact}' AND sha256 IS NOT NULL AND NOT damaged");
    assert_eq!(sql::count(&database, "recordings", &sealed), 1);
}

#[test]
fn beyond_the_limits_callers_are_refused_or_told_so() {
    let folder = folder();
    folder.edit("jiesu.toml", "calls_max = 2500", "calls_max = 2");
    folder.edit("sip-profiles/queues.toml", "waiting_max = 1000", "waiting_max = 1");
    let mut hotline = Hotline::start(folder);
    let first = hotline.citizen("citizen-waits", &[]);
    let waiting = hotline.events.call("queued");
    let second = hotline.citizen("citizen-waits", &[]);
    hotline
        .events
        .until("the second caller", |event| event["data"]["stage"].is_string() && event["data"]["contact"] != *waiting);
    let refused = hotline.citizen_is_refused("12345", "503");
    assert!(!refused.contains("Retry-After"), "a carrier must try its next way at once:\n{refused}");
    // The queue is full: the second hears the apology and is released; the first waits on.
    second.succeeds();
    let ended = hotline.lead.until("/calls?state=unanswered", |calls| {
        calls["items"].as_array().unwrap().iter().any(|call| call["end_by"] == "flow")
    });
    let ended = ended["items"].as_array().unwrap().iter().find(|call| call["end_by"] == "flow").unwrap();
    let past = hotline.past(ended["id"].as_str().unwrap());
    assert_eq!(past.end(), ("queued", "flow"));
    assert!(wav::heard_ms(&past.sound.right, APOLOGY_HZ) >= 300);
    assert_eq!(hotline.lead.read("/calls/live").body["items"][0]["contact"], *waiting);
    assert_eq!(hotline.lead.post(&format!("/calls/live/{waiting}/hang-up")).status, 202);
    first.succeeds();
    hotline.nothing_is_left();
}

#[test]
fn a_call_that_cannot_go_on_after_a_crash_keeps_its_order_and_all_but_a_second_of_its_sound() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let talking = hotline.events.until("talking", |event| event["data"]["stage"] == "talking");
    let contact = talking["data"]["contact"].as_str().unwrap().to_owned();
    let folder = hotline.engine.recordings().join("fuzhou");
    let spoken = eventually("two seconds of talk are written", Duration::from_secs(10), || {
        let bytes = std::fs::metadata(wav::files(&folder).pop()?).ok()?.len();
        (bytes > 3 * 16_000).then_some(bytes)
    });
    let killed = now_ms();
    hotline.engine.kill();
    hotline.engine.forgets();
    drop((citizen, agent));
    hotline.start_again();

    let orders = hotline.lead.until(&format!("/orders?contact={contact}"), |orders| orders["items"][0].is_object());
    assert_eq!(orders["items"].as_array().unwrap().len(), 1);
    assert_eq!((&orders["items"][0]["state"], &orders["items"][0]["agent"]), (&"draft".into(), &"1001".into()));
    let recording = orders["items"][0]["recording"].as_str().expect("a recording").to_owned();
    let recording =
        hotline.lead.until(&format!("/recordings/{recording}"), |recording| recording["sha256"].is_string());
    let sound = hotline.sound(&recording);
    let lost = killed - recording["started"].as_i64().unwrap() - recording["duration_ms"].as_i64().unwrap();
    assert!((-100..=1_000).contains(&lost), "{lost} ms of sound are lost; {spoken} bytes were written");
    assert!(wav::heard_ms(&sound.left, CITIZEN_HZ) >= 1_000 && wav::heard_ms(&sound.right, AGENT_HZ) >= 1_000);

    let record = hotline.lead.until(&format!("/calls/{contact}"), |record| record["call"]["ended"].is_i64());
    let call = &record["call"];
    assert_eq!((&call["end_stage"], &call["end_by"]), (&"talking".into(), &"fault".into()));
    let early = killed - call["ended"].as_i64().unwrap();
    assert!((-100..=1_000).contains(&early), "the call's end is told {early} ms before the crash");
    let order =
        hotline.lead.until(&format!("/orders?contact={contact}"), |orders| orders["items"][0]["ended"].is_i64());
    assert_eq!(order["items"][0]["ended"], call["ended"]);

    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-d", "500"]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let next = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    assert_eq!(hotline.past(&next).end(), ("talking", "agent"));
    hotline.nothing_is_left();
}

#[test]
fn phones_need_not_register_anew_after_a_restart() {
    let mut hotline = Hotline::new();
    let phone = hotline.phone("1001");
    hotline.engine.terminate();
    assert!(hotline.engine.ended().success());
    hotline.start_again();
    hotline.events.phone("1001", true);
    let agent = hotline.behaves(&phone, "agent-hangs-up", &["-d", "500"]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    agent.succeeds();
    assert_eq!(hotline.past(&contact).attempts(), [("1001", "answered")]);
    hotline.nothing_is_left();
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}
