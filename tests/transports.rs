//! TCP, TLS and WebSockets with real sockets: calls over each, connections that break, come back or never speak, and
//! listeners exchanged while calls run.

use crate::baresip::goes_on;
use crate::crash::{all_is_well, citizen, lasting};
use crate::support::api::EVENT_MAX;
use crate::support::baresip::Baresip;
use crate::support::engine::Folder;
use crate::support::eventually;
use crate::support::hotline::{AGENT_HZ, CITIZEN_HZ, Hotline, folder};
use crate::support::sip::Client;
use crate::support::sipp::{Sipp, ports};
use crate::support::stream::{self, Phone, header, tcp};
use crate::support::wav;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ORIGIN: &str = "origins = [\"https://console.example\"]";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";

/// A hotline with a listener of each transport.
fn hotline() -> Hotline {
    hotline_of(folder())
}

fn hotline_of(folder: Folder) -> Hotline {
    folder.listener("tcp", "transport = \"tcp\"");
    folder.listener("tls", "transport = \"tls\"\nself_signed = true");
    folder.listener("ws", &format!("transport = \"ws\"\n{ORIGIN}"));
    folder.listener("wss", &format!("transport = \"wss\"\nself_signed = true\n{ORIGIN}"));
    Hotline::start(folder)
}

fn certificate(hotline: &Hotline, listener: &str) -> PathBuf {
    hotline.folder().join(format!("data/tls/{listener}/certificate.pem"))
}

fn phone(hotline: &Hotline, transport: &'static str, user: &str) -> Phone {
    Phone::new(hotline.engine.listener(transport), transport, &certificate(hotline, transport), user)
}

/// A figure of the connections.
fn figure(hotline: &Hotline, name: &str) -> u64 {
    let inside = hotline.engine.api("demo-admin-token").read("/health/internals").body;
    inside["connections"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {inside}"))
}

fn until_figure(hotline: &Hotline, name: &str, satisfies: impl Fn(u64) -> bool) {
    eventually(name, EVENT_MAX, || satisfies(figure(hotline, name)).then_some(()));
}

fn tag(text: &str) -> &str {
    header(text, "To").split("tag=").nth(1).expect("a To tag")
}

#[test]
fn citizens_call_over_tcp_on_one_connection_and_on_one_each() {
    let mut hotline = hotline();
    let desk = hotline.phone("1001");
    hotline.ready("1001");
    for kind in ["t1", "tn"] {
        let agent = hotline.behaves(&desk, "agent-answers", &[]);
        let (port, engine) = (ports(2).to_string(), hotline.engine.listener("tcp"));
        let arguments = ["-s", "12345", "-p", &port, "-t", kind, "-max_socket", "100", "-d", "2000"];
        let citizen = Sipp::start(hotline.folder(), engine, "citizen-hangs-up", &arguments);
        let contact = hotline.events.call("talking");
        citizen.succeeds();
        agent.succeeds();
        hotline.events.agent("1001", "ready");
        let past = hotline.past(&contact);
        assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]), "{kind}");
    }
    hotline.nothing_is_left();
    until_figure(&hotline, "open", |open| open == 0);
}

#[test]
fn an_agent_answers_by_each_transport_and_is_called_on_his_connection() {
    let mut hotline = hotline();
    for transport in ["tcp", "tls", "ws", "wss"] {
        let mut agent = phone(&hotline, transport, "1001");
        agent.register();
        hotline.events.phone("1001", true);
        hotline.ready("1001");
        let citizen = hotline.citizen("citizen-waits", &[]);
        let invite = agent.asked("INVITE");
        let via = format!("SIP/2.0/{} {}", transport.to_uppercase(), hotline.engine.listener(transport));
        assert!(header(&invite, "Via").starts_with(&via), "{invite}");
        let uri = if transport == "wss" { "ws" } else { transport };
        assert!(header(&invite, "Contact").contains(&format!(";transport={uri}>")), "{invite}");
        agent.reply(&invite, "200 OK", SDP);
        agent.asked("ACK");
        let contact = hotline.events.call("talking");
        let bye = agent.request_within(&invite, "BYE");
        assert_eq!(agent.answer(bye).status, 200);
        citizen.succeeds();
        let past = hotline.past(&contact);
        assert_eq!((past.end(), past.attempts()), (("talking", "agent"), vec![("1001", "answered")]), "{transport}");
        drop(agent);
        hotline.events.phone("1001", false);
    }
    hotline.nothing_is_left();
    until_figure(&hotline, "open", |open| open == 0);
}

#[test]
fn a_call_outlives_its_connection_and_goes_on_by_the_next() {
    let mut hotline = hotline();
    for transport in ["wss", "tcp"] {
        let mut agent = phone(&hotline, transport, "1001");
        agent.register();
        hotline.events.phone("1001", true);
        hotline.ready("1001");
        let citizen = hotline.citizen("citizen-hangs-up", &["-d", "6000"]);
        let invite = agent.asked("INVITE");
        agent.reply(&invite, "200 OK", SDP);
        agent.asked("ACK");
        let contact = hotline.events.call("talking");
        let (address, certificate) = (hotline.engine.listener(transport), certificate(&hotline, transport));
        agent.reconnect(address, &certificate);
        hotline.events.phone("1001", false);
        agent.register();
        hotline.events.phone("1001", true);
        // The dialog is where the agent is now, in both directions.
        let hold = agent.request_within(&invite, "OPTIONS");
        assert_eq!(agent.answer(hold).status, 200);
        let bye = agent.asked("BYE");
        agent.reply(&bye, "200 OK", "");
        citizen.succeeds();
        let past = hotline.past(&contact);
        assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]), "{transport}");
        hotline.events.agent("1001", "ready");
        drop(agent);
        hotline.events.phone("1001", false);
    }
    hotline.nothing_is_left();
}

#[test]
fn agents_on_connections_go_on_after_a_crash() {
    let mut hotline = hotline_of(lasting(2));
    let mut agents = [phone(&hotline, "wss", "1001"), phone(&hotline, "tcp", "1002")];
    let (mut citizens, mut invites) = (Vec::new(), Vec::new());
    for ((agent, name), sound) in agents.iter_mut().zip(["1001", "1002"]).zip([0x21, 0x22]) {
        agent.register();
        hotline.events.phone(name, true);
        hotline.ready(name);
        citizens.push(citizen(&hotline, sound));
        invites.push(agent.asked("INVITE"));
        agent.reply(&invites[invites.len() - 1], "180 Ringing", "");
        if name == "1001" {
            agent.reply(&invites[0], "200 OK", SDP);
            agent.asked("ACK");
        }
    }
    let calls = |hotline: &Hotline, stages: [&str; 2]| {
        eventually("the calls stand", EVENT_MAX, || {
            let live = hotline.lead.read("/calls/live").body;
            let calls = live["items"].as_array().unwrap();
            let of = |stage: &str| calls.iter().filter(|call| call["stage"] == stage).count();
            let contacts = || calls.iter().map(|call| call["contact"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
            (stages.iter().all(|stage| of(stage) > 0) && calls.len() == 2).then(contacts)
        })
    };
    let before = calls(&hotline, ["talking", "ringing"]);
    // What changed last is on disk a moment later.
    citizens[1].first_after(Instant::now() + Duration::from_millis(200));
    hotline.engine.kill();
    hotline.start_again();
    assert_eq!(calls(&hotline, ["talking", "ringing"]).len(), 2);
    for (agent, transport) in agents.iter_mut().zip(["wss", "tcp"]) {
        let (address, certificate) = (hotline.engine.listener(transport), certificate(&hotline, transport));
        agent.reconnect(address, &certificate);
        agent.register();
    }
    // The one that rang answers on its new connection, and the call knows.
    agents[1].reply(&invites[1], "200 OK", SDP);
    agents[1].asked("ACK");
    calls(&hotline, ["talking", "talking"]);
    for (agent, citizen) in agents.iter_mut().zip(&mut citizens) {
        citizen.hangs_up();
        let bye = agent.asked("BYE");
        agent.reply(&bye, "200 OK", "");
    }
    all_is_well(&hotline, &before);
}

/// JsSIP as a softphone (`tests/js/agent.mjs`); ends with the test.
struct JsSip {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl JsSip {
    fn start(hotline: &Hotline, user: &str, rtp_port: u16) -> JsSip {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/js");
        assert!(folder.join("node_modules/jssip").exists(), "JsSIP is missing: make packages-test");
        let mut child = std::process::Command::new("node")
            .arg(folder.join("agent.mjs"))
            .arg(format!("wss://{}", hotline.engine.listener("wss")))
            .arg(certificate(hotline, "wss"))
            .args(["https://console.example", user, "fuzhou.12345.example", &format!("secret-{user}")])
            .arg(rtp_port.to_string())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("node runs (Debian package nodejs)");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        JsSip { child, lines }
    }

    /// The next thing that happens to it.
    fn says(&mut self, word: &str) {
        assert_eq!(self.lines.next().expect("it goes on").unwrap(), word);
    }

    /// Has it do something: `drop`, `call NUMBER`, `hangup`.
    fn does(&mut self, command: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
    }
}

impl Drop for JsSip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn jssip_answers_and_keeps_its_call_over_a_lost_connection() {
    let mut hotline = hotline();
    let mut agent = JsSip::start(&hotline, "1001", ports(2));
    agent.says("connected");
    agent.says("registered");
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-hangs-up", &["-d", "9000"]);
    agent.says("session remote");
    agent.says("offer RTP/AVP 8 0 101");
    agent.says("confirmed");
    let contact = hotline.events.call("talking");
    agent.does("drop");
    agent.says("disconnected");
    hotline.events.phone("1001", false);
    agent.says("connected");
    agent.says("registered");
    hotline.events.phone("1001", true);
    citizen.succeeds();
    agent.says("ended remote Terminated");
    let past = hotline.past(&contact);
    assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]));
    hotline.nothing_is_left();
}

#[test]
fn jssip_calls_and_agrees_on_a_codec() {
    let mut hotline = hotline();
    let [mut citizen, mut agent] = ["1002", "1001"].map(|user| {
        let mut phone = JsSip::start(&hotline, user, ports(2));
        phone.says("connected");
        phone.says("registered");
        phone
    });
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    citizen.does("call 12345");
    citizen.says("session local");
    citizen.says("answer RTP/AVP 8");
    citizen.says("confirmed");
    agent.says("session remote");
    agent.says("offer RTP/AVP 8 0 101");
    agent.says("confirmed");
    let contact = hotline.events.call("talking");
    citizen.does("hangup");
    citizen.says("ended local Terminated");
    agent.says("ended remote Terminated");
    let past = hotline.past(&contact);
    assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]));
    hotline.nothing_is_left();
}

#[test]
fn a_browser_whose_offer_wants_dtls_is_refused_with_488() {
    let hotline = hotline();
    let mut browser = phone(&hotline, "wss", "13800138000");
    let offer =
        SDP.replace("RTP/AVP 8", "UDP/TLS/RTP/SAVPF 111 8") + "a=fingerprint:sha-256 00:11\r\na=setup:actpass\r\n";
    let invite = browser.request("INVITE", "12345", "", "", &offer);
    let refused = browser.answer(invite);
    assert_eq!(refused.status, 488, "{}", refused.text);
    browser.request("ACK", "12345", tag(&refused.text), "", "");
    hotline.nobody_is_left();
}

#[test]
fn pings_are_answered_and_pages_of_strangers_are_not() {
    let hotline = hotline();
    for transport in ["tcp", "tls", "ws", "wss"] {
        let mut phone = phone(&hotline, transport, "1001");
        let options = phone.request("OPTIONS", "12345", "", "", "");
        assert_eq!(phone.answer(options).status, 200);
        phone.send(b"\r\n\r\n");
        assert_eq!(phone.next().as_deref(), Some("\r\n"), "{transport}");
    }
    let address = hotline.engine.listener("ws");
    for (headers, status) in [
        (&[("sec-websocket-protocol", "sip"), ("origin", "https://evil.example")][..], 403),
        (&[("origin", "https://console.example")], 400),
    ] {
        assert_eq!(stream::web(Box::new(tcp(address)), headers).err(), Some(status));
    }
    until_figure(&hotline, "handshakes_failed", |failed| failed == 2);
}

/// How long until the engine ends a connection.
fn ends_after(mut stream: std::net::TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut rest);
    begin.elapsed()
}

#[test]
fn whoever_connects_and_does_not_speak_sip_is_soon_gone() {
    let hotline = hotline();
    let invite = b"INVITE sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1\r\n";
    let cases: [(&str, &[u8], u64, &str); 5] = [
        ("tcp", b"", 9, "expired"),
        ("tls", b"", 4, "handshakes_failed"),
        ("ws", b"GET / HTTP/1.1\r\n", 4, "handshakes_failed"),
        ("tcp", invite, 9, "expired"),
        ("tls", b"\x16\x03\x01\x00\x05hello", 0, "handshakes_failed"),
    ];
    std::thread::scope(|scope| {
        for (transport, bytes, seconds, counted) in cases {
            let mut silent = tcp(hotline.engine.listener(transport));
            silent.write_all(bytes).unwrap();
            scope.spawn(move || {
                let lasted = ends_after(silent);
                assert!(lasted >= Duration::from_secs(seconds), "{transport} {counted}: {lasted:?}");
                assert!(lasted < Duration::from_secs(seconds + 15), "{transport} {counted}: {lasted:?}");
            });
        }
        // Nobody can know where a message without Content-Length ends.
        let mut unframed = tcp(hotline.engine.listener("tcp"));
        unframed.write_all(&[&invite[..], b"\r\n"].concat()).unwrap();
        assert!(ends_after(unframed) < Duration::from_secs(5));
    });
    until_figure(&hotline, "open", |open| open == 0);
    assert_eq!(
        (figure(&hotline, "expired"), figure(&hotline, "handshakes_failed"), figure(&hotline, "unframed")),
        (2, 3, 1)
    );
}

#[test]
fn whoever_does_not_read_loses_his_connection_and_nobody_else_notices() {
    let hotline = hotline();
    let address = hotline.engine.listener("tcp");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut deaf: std::net::TcpStream = socket.into();
    deaf.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let options = |number: u32| {
        format!(
            "OPTIONS sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKdeaf{number}\r\n\
             From: <sip:1@127.0.0.1>;tag=t\r\nTo: <sip:12345@127.0.0.1>\r\nCall-ID: deaf{number}\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let sent = (0..100_000).take_while(|&number| deaf.write_all(options(number).as_bytes()).is_ok()).count();
    assert!(sent < 100_000, "the engine ends it");
    until_figure(&hotline, "overflows", |overflows| overflows == 1);
    until_figure(&hotline, "waiting", |waiting| waiting == 0);
    let mut other = phone(&hotline, "tcp", "1001");
    let options = other.request("OPTIONS", "12345", "", "", "");
    assert_eq!(other.answer(options).status, 200);
}

#[test]
fn limits_refuse_further_connections_only() {
    let folder = folder();
    folder.listener("tcp", "transport = \"tcp\"\nconnections_per_source_max = 2");
    let hotline = Hotline::start(folder);
    let (mut one, _two) = (phone(&hotline, "tcp", "1001"), phone(&hotline, "tcp", "1002"));
    until_figure(&hotline, "open", |open| open == 2);
    assert!(ends_after(tcp(hotline.engine.listener("tcp"))) < Duration::from_secs(5));
    assert_eq!(figure(&hotline, "refused"), 1);
    let options = one.request("OPTIONS", "12345", "", "", "");
    assert_eq!(one.answer(options).status, 200);
    drop(one);
    until_figure(&hotline, "open", |open| open == 1);
    let mut next = phone(&hotline, "tcp", "1001");
    let options = next.request("OPTIONS", "12345", "", "", "");
    assert_eq!(next.answer(options).status, 200);
}

/// An offer of some kilobytes.
fn large_offer(address: &str) -> String {
    let sdp = SDP.replace("IP4 127.0.0.1", address);
    (0..60).fold(sdp, |sdp, number| sdp + &format!("a=x-filler-{number}:{}\r\n", "x".repeat(40)))
}

#[test]
fn a_large_invite_arrives_in_fragments_and_by_tcp() {
    let hotline = hotline();
    let mut by_udp = Client::new(hotline.engine.sip, "13800138000", "127.0.0.1");
    let mut by_tcp = phone(&hotline, "tcp", "13800138000");
    let offer = large_offer("IP4 127.0.0.1");
    assert!(offer.len() > 3_000);
    let invite = by_udp.request("INVITE", "12345", "", &offer);
    let answered = by_udp.answer(invite);
    assert_eq!(answered.status, 200, "{}", answered.text);
    by_udp.request("ACK", "12345", tag(&answered.text), "");
    let bye = by_udp.request("BYE", "12345", tag(&answered.text), "");
    assert_eq!(by_udp.answer(bye).status, 200);
    let invite = by_tcp.request("INVITE", "12345", "", "", &offer);
    let answered = by_tcp.answer(invite);
    assert_eq!(answered.status, 200, "{}", answered.text);
    by_tcp.request("ACK", "12345", tag(&answered.text), "", "");
    let bye = by_tcp.request("BYE", "12345", tag(&answered.text), "", "");
    assert_eq!(by_tcp.answer(bye).status, 200);
    hotline.nothing_is_left();
}

#[test]
fn a_large_invite_of_ours_goes_by_tcp_where_the_phone_listens_and_else_by_udp() {
    for listens in [true, false] {
        let mut hotline = hotline();
        let mut agent = Client::new(hotline.engine.sip, "1001", "fuzhou.12345.example");
        let local = agent.socket.local_addr().unwrap();
        let listener = listens.then(|| std::net::TcpListener::bind(local).unwrap());
        // It becomes the Request-URI.
        let contact = agent.contact().replace('>', &format!(";x={}>", "y".repeat(900)));
        assert_eq!(agent.sign_in(&[&contact], 600).status, 200);
        hotline.events.phone("1001", true);
        hotline.ready("1001");
        let mut citizen = Client::new(hotline.engine.sip, "13800138000", "127.0.0.1");
        let invite = citizen.request("INVITE", "12345", "", SDP);
        let answered = citizen.answer(invite);
        citizen.request("ACK", "12345", tag(&answered.text), "");
        let text = match &listener {
            Some(listener) => {
                hotline.events.agent("1001", "offered");
                until_figure(&hotline, "opened", |opened| opened == 1);
                let mut by_tcp = listener.accept().unwrap().0;
                let mut some = [0; 8_192];
                let count = by_tcp.read(&mut some).unwrap();
                String::from_utf8_lossy(&some[..count]).into_owned()
            }
            None => agent.receive(),
        };
        assert!(text.starts_with("INVITE ") && text.len() > 1_300, "{text}");
        let word = if listens { "SIP/2.0/TCP " } else { "SIP/2.0/UDP " };
        assert!(header(&text, "Via").starts_with(word), "{text}");
        assert_eq!(figure(&hotline, "opened"), u64::from(listens));
        assert_eq!(figure(&hotline, "connects_failed"), u64::from(!listens));
        let bye = citizen.request("BYE", "12345", tag(&answered.text), "");
        assert_eq!(citizen.answer(bye).status, 200);
    }
}

#[test]
fn calls_over_ipv6_by_udp_and_tcp() {
    let folder = folder();
    folder.listener("udp6", "transport = \"udp\"\nlisten = \"[::1]:0\"");
    folder.listener("tcp6", "transport = \"tcp\"\nlisten = \"[::1]:0\"");
    let mut hotline = Hotline::start(folder);
    let is_v6 = |wanted: &str| {
        let found = hotline.engine.listeners.iter().find(|(address, it)| address.is_ipv6() && it == wanted);
        found.expect("a listener of IPv6").0
    };
    let (udp, by_tcp): (SocketAddr, SocketAddr) = (is_v6("udp"), is_v6("tcp"));
    let media = UdpSocket::bind("[::1]:0").unwrap();
    let port = media.local_addr().unwrap().port();
    let offer = SDP.replace("IP4 127.0.0.1", "IP6 ::1").replace("audio 9", &format!("audio {port}"));
    let mut citizen = Client::new(udp, "13800138000", "[::1]");
    let invite = citizen.request("INVITE", "12345", "", &offer);
    let answered = citizen.answer(invite);
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(
        answered.text.contains("c=IN IP6 ::1") && answered.text.contains(&format!("<sip:{udp}>")),
        "{}",
        answered.text
    );
    citizen.request("ACK", "12345", tag(&answered.text), "");
    // The greeting comes over IPv6.
    media.set_read_timeout(Some(EVENT_MAX)).unwrap();
    assert_eq!(media.recv(&mut [0; 500]).unwrap(), 172);
    let contact = hotline.events.call("queued");
    let bye = citizen.request("BYE", "12345", tag(&answered.text), "");
    assert_eq!(citizen.answer(bye).status, 200);
    assert_eq!(hotline.past(&contact).end(), ("queued", "caller"));

    let mut citizen = Phone::new(by_tcp, "tcp", &PathBuf::new(), "13800138000");
    let invite = citizen.request("INVITE", "12345", "", "", &offer);
    let answered = citizen.answer(invite);
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert!(answered.text.contains(&format!("<sip:{by_tcp};transport=tcp>")), "{}", answered.text);
    citizen.request("ACK", "12345", tag(&answered.text), "", "");
    let bye = citizen.request("BYE", "12345", tag(&answered.text), "", "");
    assert_eq!(citizen.answer(bye).status, 200);
    hotline.nothing_is_left();
}

#[test]
fn baresip_calls_and_answers_over_tcp_and_tls() {
    for transport in ["tcp", "tls"] {
        let mut hotline = hotline();
        let [citizens, agents] = [("citizen", CITIZEN_HZ), ("agent", AGENT_HZ)].map(|(name, hertz)| {
            let voice = hotline.folder().join(format!("{name}.wav"));
            wav::write_pcm(&voice, hertz, 60_000);
            voice
        });
        let engine = format!("{};transport={transport}", hotline.engine.listener(transport));
        let (folder, domain) = (hotline.folder().to_path_buf(), "fuzhou.12345.example");
        let mut agent = Baresip::start(&folder, &engine, "1001", domain, Some("secret-1001"), &agents);
        let mut citizen = Baresip::start(&folder, &engine, "13900139000", "127.0.0.1", None, &citizens);
        hotline.events.phone("1001", true);
        hotline.ready("1001");
        citizen.command("dial", &format!("sip:12345@{engine}"));
        let contact = hotline.events.call("talking");
        agent.until("CALL_ESTABLISHED");
        // Both speak; then the agent holds and resumes by re-INVITEs on his connection.
        goes_on(&hotline, 2_000);
        agent.command("hold", "");
        goes_on(&hotline, 500);
        agent.command("resume", "");
        goes_on(&hotline, 1_000);
        citizen.command("hangup", "");
        agent.until("CALL_CLOSED");
        let past = hotline.past(&contact);
        assert_eq!((past.end(), past.attempts()), (("talking", "caller"), vec![("1001", "answered")]), "{transport}");
        let from = past.at_ms("answered") + 600;
        let talk = from * 8..(from + 1_000) * 8;
        wav::speaks_alone(&past.sound.left[talk.clone()], CITIZEN_HZ, AGENT_HZ);
        wav::speaks_alone(&past.sound.right[talk], AGENT_HZ, CITIZEN_HZ);
        assert!(wav::heard_ms(&citizen.heard(), AGENT_HZ) >= 1_500, "the citizen hears the agent over {transport}");
        assert!(wav::heard_ms(&agent.heard(), CITIZEN_HZ) >= 1_500, "the agent hears the citizen over {transport}");
        // INVITEs, answers, ACKs and BYE of two phones, on connections.
        assert!(figure(&hotline, "messages_in") >= 8);
        hotline.nothing_is_left();
    }
}

/// The certificate that an engine shows.
fn shown(port: u16) -> String {
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("-----BEGIN CERTIFICATE-----").nth(1).expect("a certificate").split("-----END").next().unwrap().into()
}

#[test]
fn listeners_are_exchanged_while_calls_run() {
    let mut hotline = hotline();
    let mut agent = phone(&hotline, "tcp", "1001");
    agent.register();
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    let invite = agent.asked("INVITE");
    agent.reply(&invite, "200 OK", SDP);
    agent.asked("ACK");
    hotline.events.call("talking");

    // A mistake changes nothing, …
    let (old, fresh) = (hotline.engine.listener("tcp"), ports(2));
    let files = &hotline.engine.folder;
    let again = |wanted: &str| {
        let before = hotline.engine.log().matches(wanted).count();
        hotline.engine.reload();
        eventually(wanted, EVENT_MAX, || (hotline.engine.log().matches(wanted).count() > before).then_some(()));
    };
    files.listener("ws", "transport = \"ws\"");
    again("nothing is changed");
    assert_eq!(figure(&hotline, "open"), 1);
    // … what cannot change is named, …
    files.listener("ws", &format!("transport = \"ws\"\n{ORIGIN}"));
    files.edit("jiesu.toml", "calls_max = 2500", "calls_max = 2501");
    again("[node] changed: start again");
    files.edit("jiesu.toml", "calls_max = 2501", "calls_max = 2500");
    // … and the rest is taken: one listener goes, another one comes.
    std::fs::remove_file(files.path().join("sip-profiles/listeners/tcp.toml")).unwrap();
    files.listener("tcp-new", &format!("transport = \"tcp\"\nlisten = \"127.0.0.1:{fresh}\""));
    again("the configuration was read again");
    assert!(std::net::TcpStream::connect(old).is_err(), "nobody accepts there any more");
    let mut other = Phone::new(([127, 0, 0, 1], fresh).into(), "tcp", &PathBuf::new(), "1002");
    other.register();
    assert!(header(&other.register().text, "Via").contains("TCP"));
    // The call and its connection are untouched.
    let bye = agent.request_within(&invite, "BYE");
    assert_eq!(agent.answer(bye).status, 200);
    citizen.succeeds();
    hotline.nothing_is_left();
}

#[test]
fn a_certificate_replaced_on_disk_is_shown_to_the_next_and_costs_nobody_his_connection() {
    let hotline = hotline();
    let (port, folder) = (hotline.engine.listener("tls").port(), hotline.folder().join("data/tls/tls"));
    let mut before = phone(&hotline, "tls", "1001");
    let first = shown(port);
    let status = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=new", "-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    eventually("the new certificate", EVENT_MAX, || (shown(port) != first).then_some(()));
    let options = before.request("OPTIONS", "12345", "", "", "");
    assert_eq!(before.answer(options).status, 200);
}

#[test]
fn what_stands_comes_back_to_its_base_line() {
    let hotline = hotline();
    let admin = hotline.engine.api("demo-admin-token");
    let standing = || -> Value { admin.read("/health/internals").body["standing"].clone() };
    let base = standing();
    let mut phones: Vec<Phone> =
        (0..20).map(|number| phone(&hotline, ["tcp", "tls", "ws", "wss"][number % 4], "1001")).collect();
    for phone in &mut phones {
        let options = phone.request("OPTIONS", "12345", "", "", "");
        assert_eq!(phone.answer(options).status, 200);
    }
    assert_eq!(standing()["sip_connections"], 20);
    drop(phones);
    eventually("the base line", EVENT_MAX * 2, || {
        let now = standing();
        let above = |name: &str| now[name].as_u64() > base[name].as_u64();
        let names = ["sip_connections", "sip_waiting", "tasks", "files", "transactions"];
        (!names.iter().any(|name| above(name))).then_some(())
    });
    assert_eq!(figure(&hotline, "accepted"), 20);
}
