//! Trunks at work: limits, outbound calls by one route after another, OPTIONS and registration, seen from outside.

use crate::support::engine::Folder;
use crate::support::eventually;
use crate::support::hotline::{Hotline, Phone, folder};
use crate::support::sipp::{Sipp, ports};
use md5::Md5;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const DOMAIN: &str = "fuzhou.12345.example";
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A hotline whose phones are not taken for the carrier, with these trunks and these rules beside.
fn with(trunks: &[(&str, String)], rules: &str) -> Folder {
    let folder = folder();
    folder.edit("sip-profiles/trunks/carrier.toml", "\"127.0.0.0/8\", \"::1\"", "\"127.0.0.9\"");
    for (name, text) in trunks {
        std::fs::write(folder.path().join(format!("sip-profiles/trunks/{name}.toml")), text).unwrap();
    }
    std::fs::write(folder.path().join("sip-profiles/dialling.toml"), rules).unwrap();
    folder
}

fn rule(numbers: &str, emergency: bool) -> String {
    format!(
        "[[rule]]\nsite = \"fuzhou\"\nnumbers = {numbers}\ntrunks = [\"a\", \"b\"]\ncaller = \"059112345\"\n\
         emergency = {emergency}\n"
    )
}

fn trunk(address: SocketAddr, more: &str) -> String {
    format!("sources = [\"{}\"]\nremote = \"{address}\"\n{more}\n", address.ip())
}

/// A program at an address of a trunk, by this test's own hand.
struct Peer {
    socket: UdpSocket,
    at: SocketAddr,
    /// Requests seen, by Via and CSeq, which a repetition has too, with what was answered last.
    seen: Mutex<BTreeMap<String, String>>,
}

impl Peer {
    fn new(ip: &str) -> Peer {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let at = socket.local_addr().unwrap();
        Peer { socket, at, seen: Mutex::default() }
    }

    /// The next message that begins so and is no repetition; a repetition is answered as before (RFC 3261 §17.2.1).
    fn request(&self, method: &str) -> (String, SocketAddr) {
        let mut buffer = [0; 65_535];
        loop {
            let (size, from) = self.socket.recv_from(&mut buffer).expect("a request");
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            let mut seen = self.seen.lock().unwrap();
            match seen.get(&identity(&text)) {
                Some(answer) if answer.is_empty() => {}
                Some(answer) => _ = self.socket.send_to(answer.as_bytes(), from).unwrap(),
                None if text.starts_with(method) => {
                    seen.insert(identity(&text), String::new());
                    return (text, from);
                }
                None => {}
            }
        }
    }

    fn answer(&self, (request, from): &(String, SocketAddr), status: &str, more: &str) {
        let same = |name: &str| {
            let line = request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            format!("{line}{}\r\n", if name == "To:" { ";tag=p" } else { "" })
        };
        let copied: String = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].map(same).concat();
        let text = format!("SIP/2.0 {status}\r\n{copied}{more}Content-Length: 0\r\n\r\n");
        self.socket.send_to(text.as_bytes(), from).unwrap();
        self.seen.lock().unwrap().insert(identity(request), text);
    }
}

fn identity(request: &str) -> String {
    ["Via", "CSeq"].map(|name| header(request, name).unwrap_or_default()).concat()
}

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn part(value: &str, name: &str) -> String {
    let from = value.find(&format!("{name}=")).unwrap_or_else(|| panic!("{name} in {value}")) + name.len() + 1;
    value[from..].trim_start_matches('"').split(['"', ',']).next().unwrap_or_default().to_owned()
}

/// The trunk as the API shows it.
fn seen(hotline: &Hotline, name: &str) -> Value {
    let all = hotline.engine.api("demo-admin-token").read("/trunks").body;
    all["items"].as_array().unwrap().iter().find(|trunk| trunk["name"] == name).expect("the trunk").clone()
}

fn until(hotline: &Hotline, name: &str, what: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
    eventually(what, WAIT_MAX, || Some(seen(hotline, name)).filter(|trunk| satisfies(trunk)))
}

/// Agent 1001 dials from a registered phone: strangers' INVITEs are not answered.
fn dials(hotline: &Hotline, phone: &Phone, number: &str, scenario: &str) -> Sipp {
    let port = phone.port.to_string();
    let arguments = ["-p", &port, "-s", number, "-au", "1001", "-ap", "secret-1001", "-key", "domain", DOMAIN];
    Sipp::start(hotline.folder(), hotline.engine.sip, scenario, &arguments)
}

#[test]
fn a_dead_trunk_gives_way_and_the_agents_call_is_bridged_recorded_and_remembered() {
    let dead = Peer::new("127.0.0.2");
    let port = ports(2);
    let alive: SocketAddr = format!("127.0.0.3:{port}").parse().unwrap();
    let rules = rule("[\"1??????????\"]", false);
    let folder =
        with(&[("a", trunk(dead.at, "priority = 1")), ("b", trunk(alive, "[outbound]\nprefix = \"9\""))], &rules);
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    hotline.ready("1001");
    let port = port.to_string();
    let arguments = ["-p", &port, "-d", "1500", "-i", "127.0.0.3", "-mi", "127.0.0.3"];
    let far = Sipp::start(hotline.folder(), hotline.engine.sip, "agent-hangs-up", &arguments);
    let begun = Instant::now();
    let agent = dials(&hotline, &phone, "13800138000", "agent-dials");
    hotline.events.paused("1001", "own_call");
    let contact = hotline.events.call("talking");
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_900), "the first trunk had its two seconds: {took:?}");
    assert_eq!(hotline.agent("1001")["state"], "not_ready", "nobody is offered to who talks");
    let heard = far.succeeds();
    agent.succeeds();
    hotline.events.agent("1001", "ready");
    assert!(heard.contains("INVITE sip:913800138000@127.0.0.3"), "{heard}");
    assert!(heard.contains("P-Asserted-Identity: <sip:059112345@127.0.0.3>"), "{heard}");
    let past = hotline.past(&contact);
    let call = &past.record["call"];
    assert_eq!((&call["direction"], &call["trunk"], &call["agent"]), (&json!("outbound"), &json!("b"), &json!("1001")));
    assert_eq!((&call["caller"], &call["dialled"]), (&json!("+8659112345"), &json!("+8613800138000")));
    assert_eq!(past.end(), ("talking", "caller"));
    let routes = past.record["routes"].as_array().unwrap();
    let tried: Vec<(&str, i64)> =
        routes.iter().map(|it| (it["trunk"].as_str().unwrap(), it["sip_status"].as_i64().unwrap())).collect();
    assert_eq!(tried, [("a", 408), ("b", 200)]);
    let gave_up = routes[0]["ended"].as_i64().unwrap() - routes[0]["seized"].as_i64().unwrap();
    assert!((2_000..2_500).contains(&gave_up), "{gave_up} ms");
    assert!(routes[1]["provisional"].is_i64() && routes[0]["provisional"].is_null());
    assert!(past.sound.left.iter().any(|sample| sample.unsigned_abs() > 1_000), "the far end is heard on the left");
    assert!(past.sound.right.iter().any(|sample| sample.unsigned_abs() > 1_000), "the agent on the right");
    let (dead, used) = (seen(&hotline, "a"), seen(&hotline, "b")["outbound"].clone());
    assert_eq!((&dead["outbound"]["taken"], &used["taken"], &used["used"]), (&json!(1), &json!(1), &json!(0)));
    let log = hotline.engine.log();
    assert!(!log.contains("13800138000"), "no citizen's number in the log");
}

#[test]
fn a_trunk_is_called_over_tcp() {
    let alive: SocketAddr = format!("127.0.0.3:{}", ports(2)).parse().unwrap();
    let rules = rule("[\"1??????????\"]", false).replace(", \"b\"", "");
    let folder = with(&[("a", trunk(alive, "transport = \"tcp\"\n[options]"))], &rules);
    folder.listener("tcp", "transport = \"tcp\"");
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    let port = alive.port().to_string();
    let arguments = ["-t", "t1", "-p", &port, "-d", "1000", "-i", "127.0.0.3", "-mi", "127.0.0.3"];
    let far = Sipp::start(hotline.folder(), hotline.engine.sip, "agent-hangs-up", &arguments);
    let agent = dials(&hotline, &phone, "13800138000", "agent-dials");
    let contact = hotline.events.call("talking");
    let heard = far.succeeds();
    agent.succeeds();
    assert!(heard.contains("Via: SIP/2.0/TCP ") && heard.contains(";transport=tcp>"), "{heard}");
    assert_eq!(hotline.past(&contact).end(), ("talking", "caller"));
    hotline.nothing_is_left();
}

/// Takes TLS connections with a certificate of this name and answers OPTIONS; tells the first line and Via of each.
fn secure_peer(name: &str, folder: &Folder) -> (u16, Receiver<String>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.path().join("authorities.pem"), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let (config, listener) = (std::sync::Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let (tell, hears) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
            let mut request = String::new();
            while stream.read_line(&mut request).is_ok_and(|read| read > 0) {
                if !request.ends_with("\r\n\r\n") {
                    continue;
                }
                let line = |name| header(&request, name).unwrap_or_default().to_owned();
                let answer = format!(
                    "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=p\r\nCall-ID: {}\r\nCSeq: {}\r\nContent-Length: 0\r\n\r\n",
                    line("Via"),
                    line("From"),
                    line("To"),
                    line("Call-ID"),
                    line("CSeq")
                );
                let said = format!("{} {}", request.lines().next().unwrap_or_default(), line("Via"));
                let sent = stream.get_mut().write_all(answer.as_bytes());
                if sent.is_err() || tell.send(said).is_err() {
                    return;
                }
                request.clear();
            }
        }
    });
    (port, hears)
}

#[test]
fn a_trunk_over_tls_is_believed_by_the_name_in_its_certificate() {
    for (name, believed) in [("localhost", true), ("elsewhere.example", false)] {
        let folder = with(&[], "");
        let (port, hears) = secure_peer(name, &folder);
        let text = format!(
            "sources = [\"127.0.0.1\"]\nremote = \"localhost:{port}\"\ntransport = \"tls\"\n[options]\ninterval_s = 1\n\
             down_after = 1\nup_after = 1\n"
        );
        std::fs::write(folder.path().join("sip-profiles/trunks/a.toml"), text).unwrap();
        folder.listener("tls", "transport = \"tls\"\nself_signed = true\nauthorities = \"authorities.pem\"");
        let hotline = Hotline::start(folder);
        if believed {
            let said = hears.recv_timeout(WAIT_MAX).expect("a request");
            assert!(said.starts_with("OPTIONS sip:localhost:") && said.contains("SIP/2.0/TLS"), "{said}");
            hears.recv_timeout(WAIT_MAX).expect("another one");
            assert_eq!(seen(&hotline, "a")["up"], true);
        } else {
            until(&hotline, "a", "the trunk is down", |trunk| trunk["up"] == false);
            assert!(hears.try_recv().is_err(), "nothing is said to whom we do not believe");
        }
    }
}

/// A socket that takes no connection and refuses none: its backlog is full.
fn deaf(at: SocketAddr) -> (socket2::Socket, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.listen(0).unwrap();
    let filled = (0..4).map_while(|_| TcpStream::connect_timeout(&at, Duration::from_millis(300)).ok());
    let filled = filled.collect();
    (socket, filled)
}

#[test]
fn a_large_emergency_invite_arrives_at_a_trunk_that_knows_udp_alone() {
    for silent in [false, true] {
        let police = Peer::new("127.0.0.2");
        let _backlog = silent.then(|| deaf(police.at));
        let place = "civic = { country = \"CN\", A1 = \"福建省\", A3 = \"福州市\", RD = \"五四路\", HNO = \"1\" }\n";
        let rules = rule("[\"110\"]", true).replace(", \"b\"", "") + place;
        let folder = with(&[("a", trunk(police.at, "geolocation = \"body\""))], &rules);
        folder.listener("tcp", "transport = \"tcp\"");
        let mut hotline = Hotline::start(folder);
        let phone = hotline.phone("1001");
        let (begun, agent) = (Instant::now(), dials(&hotline, &phone, "110", "agent-dials-in-vain 486"));
        let invite = police.request("INVITE sip:110@");
        assert!(invite.0.len() > 1_300, "{} bytes: {}", invite.0.len(), invite.0);
        assert!(invite.0.contains("Via: SIP/2.0/UDP "), "{}", invite.0);
        assert!(
            invite.0.contains("<ca:A1>福建省</ca:A1>") && invite.0.contains("\r\nGeolocation: <cid:"),
            "{}",
            invite.0
        );
        assert!(!silent || begun.elapsed() >= Duration::from_secs(1), "TCP had its second");
        police.answer(&invite, "486 Busy Here", "");
        agent.succeeds();
    }
}

#[test]
fn a_call_asked_for_by_hand_joins_the_agent_and_the_citizen_of_an_order() {
    let far: SocketAddr = format!("127.0.0.3:{}", ports(2)).parse().unwrap();
    let rules = rule("[\"1??????????\"]", false).replace(", \"b\"", "");
    let mut hotline = Hotline::start(with(&[("a", trunk(far, "[outbound]\nchannels = 1"))], &rules));
    let phone = hotline.phone("1001");
    let agent = hotline.behaves(&phone, "agent-answers", &[]);
    let port = far.port().to_string();
    let arguments = ["-p", &port, "-d", "1500", "-i", "127.0.0.3", "-mi", "127.0.0.3"];
    let citizen = Sipp::start(hotline.folder(), hotline.engine.sip, "agent-hangs-up", &arguments);
    let wanted = json!({ "agent": "1001", "number": "138 0013 8000" });
    let refused = hotline.lead.post_json("/calls", &json!({ "agent": "1001", "number": "0044 20 7183 8750" }));
    assert_eq!((refused.status, refused.body["title"].as_str()), (403, Some("Forbidden")), "{}", refused.body);
    let nobody = hotline.lead.post_json("/calls", &json!({ "agent": "1002", "number": "13800138000" }));
    assert_eq!(nobody.status, 409, "{}", nobody.body);
    let asked = hotline.lead.post_json("/calls", &wanted);
    assert_eq!(asked.status, 202, "{}", asked.body);
    let contact = hotline.events.call("talking");
    assert_eq!(asked.body["contact"], json!(contact));
    assert_eq!(hotline.lead.post_json("/calls", &wanted).status, 409, "the agent is on a call");
    let rung = agent.succeeds();
    assert!(rung.contains(";answer-after=0") && !rung.contains("13800138000"), "{rung}");
    assert!(citizen.succeeds().contains("INVITE sip:13800138000@127.0.0.3"));
    let past = hotline.past(&contact);
    let call = &past.record["call"];
    assert_eq!((&call["direction"], &call["agent"], &call["trunk"]), (&json!("outbound"), &json!("1001"), &json!("a")));
    assert_eq!(past.end(), ("talking", "caller"));
    assert!(past.sound.left.iter().any(|sample| sample.unsigned_abs() > 1_000), "the far end is heard on the left");
    assert!(past.sound.right.iter().any(|sample| sample.unsigned_abs() > 1_000), "the agent on the right");
    hotline.nothing_is_left();
}

/// A crash may lose the last milliseconds: this request would outlive one now.
fn is_kept(hotline: &Hotline, request: &str) {
    let (file, branch) = (hotline.folder().join("data/standing"), part(header(request, "Via").unwrap(), "branch"));
    eventually("what stands is written", WAIT_MAX, || {
        let kept = std::fs::read(&file).ok()?;
        kept.windows(branch.len()).any(|part| part == branch.as_bytes()).then_some(())
    });
}

#[test]
fn calls_to_the_outside_end_in_words_when_the_process_dies() {
    let answers: SocketAddr = format!("127.0.0.3:{}", ports(2)).parse().unwrap();
    let rings = Peer::new("127.0.0.2");
    let rules = rule("[\"138????????\"]", false).replace(", \"b\"", "")
        + &rule("[\"139????????\"]", false).replace("\"a\", ", "");
    let folder = with(&[("a", trunk(answers, "")), ("b", trunk(rings.at, ""))], &rules);
    folder.edit("sip-profiles/listeners/udp.toml", "127.0.0.1:0", &format!("127.0.0.1:{}", ports(2)));
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    hotline.ready("1001");
    let arguments = ["-p", &answers.port().to_string(), "-i", "127.0.0.3", "-mi", "127.0.0.3"];
    let far = Sipp::start(hotline.folder(), hotline.engine.sip, "agent-answers", &arguments);
    let agent = dials(&hotline, &phone, "13800138000", "agent-dials");
    let talking = hotline.events.call("talking");
    let other = hotline.phone("1002");
    let unheard = dials(&hotline, &other, "13900139000", "agent-dials");
    let invite = rings.request("INVITE");
    rings.answer(&invite, "180 Ringing", "");
    let ringing = hotline.events.call("ringing");
    assert_eq!(hotline.agent("1001")["state"], "not_ready");
    is_kept(&hotline, &invite.0);
    hotline.engine.kill();
    hotline.start_again();
    far.succeeds();
    agent.succeeds();
    let cancel = rings.request("CANCEL");
    assert_eq!(header(&cancel.0, "Call-ID"), header(&invite.0, "Call-ID"));
    rings.answer(&cancel, "200 OK", "");
    rings.answer(&invite, "487 Request Terminated", "");
    drop(unheard);
    for (contact, stage) in [(&talking, "talking"), (&ringing, "offered")] {
        let record = hotline.lead.until(&format!("/calls/{contact}"), |record| record["call"]["end_stage"].is_string());
        let call = &record["call"];
        assert_eq!((&call["direction"], &call["end_by"]), (&json!("outbound"), &json!("fault")), "{call}");
        assert_eq!(call["end_stage"], stage);
    }
    let used = ["a", "b"].map(|name| seen(&hotline, name)["outbound"]["used"].clone());
    assert_eq!(used, [json!(0), json!(0)], "the channels are free");
    eventually("the agent can be offered again", WAIT_MAX, || {
        (hotline.agent("1001")["state"] == "ready").then_some(())
    });
    hotline.nothing_is_left();
}

#[test]
fn a_challenge_to_our_invite_is_answered_under_the_account_of_its_trunk() {
    let peer = Peer::new("127.0.0.2");
    let account = "[account]\nuser = \"059112345\"\npassword_file = \"secret\"\nrealm = \"ims.example\"";
    let rules = rule("[\"1??????????\"]", false).replace(", \"b\"", "");
    let folder = with(&[("a", trunk(peer.at, account))], &rules);
    std::fs::write(folder.path().join("secret"), "open sesame\n").unwrap();
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    let agent = dials(&hotline, &phone, "13800138000", "agent-dials-in-vain 486");
    let first = peer.request("INVITE");
    let challenge = "Proxy-Authenticate: Digest realm=\"ims.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
    peer.answer(&first, "407 Proxy Authentication Required", challenge);
    let proved = peer.request("INVITE");
    assert!(is_right("MD5", "INVITE", (&proved.0, "Proxy-Authorization"), "n1"), "{}", proved.0);
    assert_eq!(header(&proved.0, "Call-ID"), header(&first.0, "Call-ID"));
    peer.answer(&proved, "486 Busy Here", "");
    agent.succeeds();
    let elsewhere = dials(&hotline, &phone, "13900139000", "agent-dials-in-vain 503");
    let second = peer.request("INVITE");
    peer.answer(&second, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"evil.example\", nonce=\"n2\"\r\n");
    elsewhere.succeeds();
}

#[test]
fn what_is_not_listed_is_not_dialled_and_no_number_that_contains_110_is_the_police() {
    let police = Peer::new("127.0.0.2");
    let rules = rule("[\"110\"]", true) + &rule("[\"1??????????\"]", false);
    let folder = with(&[("a", trunk(police.at, ""))], &rules.replace(", \"b\"", ""));
    let mut hotline = Hotline::start(folder);
    let phone = hotline.phone("1001");
    for number in ["1381101200", "00442071838750", "059187654300", "1101", "119", "1002"] {
        dials(&hotline, &phone, number, "agent-dials-in-vain 403").succeeds();
    }
    assert_eq!(seen(&hotline, "a")["outbound"]["taken"], 0, "no trunk was asked");
    let agent = dials(&hotline, &phone, "110", "agent-dials-in-vain 486");
    let invite = police.request("INVITE");
    assert!(invite.0.starts_with(&format!("INVITE sip:110@{} SIP/2.0", police.at)), "{}", invite.0);
    police.answer(&invite, "486 Busy Here", "");
    agent.succeeds();
    assert_eq!(seen(&hotline, "a")["outbound"]["used"], 0);
}

#[test]
fn calls_beyond_the_channels_of_a_trunk_are_refused_and_counted() {
    let folder = folder();
    folder.edit(
        "sip-profiles/trunks/carrier.toml",
        "trusts_identity = true",
        "trusts_identity = true\ninbound = { channels = 1 }",
    );
    let mut hotline = Hotline::start(folder);
    let first = hotline.citizen("citizen-hangs-up", &["-d", "3000"]);
    hotline.events.call("queued");
    let messages = hotline.citizen_is_refused("12345", "503");
    assert!(messages.contains("Reason: Q.850;cause=42") && !messages.contains("Retry-After"), "{messages}");
    let inbound = seen(&hotline, "carrier")["inbound"].clone();
    assert_eq!(inbound, json!({ "channels": 1, "used": 1, "taken": 1, "full": 1, "too_fast": 0 }));
    first.succeeds();
    until(&hotline, "carrier", "the channel is free", |trunk| trunk["inbound"]["used"] == 0);
    hotline.citizen("citizen-hangs-up", &["-d", "100"]).succeeds();
    hotline.nothing_is_left();
}

#[test]
fn a_trunk_that_stops_answering_options_is_down_until_it_answers_again() {
    let peer = Peer::new("127.0.0.2");
    let watch = "[options]\ninterval_s = 1\ndown_after = 2\nup_after = 2";
    let hotline = Hotline::start(with(&[("a", trunk(peer.at, watch))], ""));
    let first = peer.request("OPTIONS");
    assert!(first.0.starts_with(&format!("OPTIONS sip:{} SIP/2.0", peer.at)), "{}", first.0);
    peer.answer(&first, "200 OK", "");
    assert_eq!(seen(&hotline, "a")["up"], true);
    let down = until(&hotline, "a", "the trunk is down", |trunk| trunk["up"] == false);
    assert_eq!((&down["fit"], down["since"].is_i64()), (&json!(false), true));
    let answering = std::thread::scope(|scope| {
        let (stop, stopped) = channel();
        let peer = &peer;
        scope.spawn(move || {
            while stopped.try_recv().is_err() {
                let request = peer.request("OPTIONS");
                peer.answer(&request, "200 OK", "");
            }
        });
        let up = until(&hotline, "a", "the trunk is up", |trunk| trunk["up"] == true);
        stop.send(()).unwrap();
        up
    });
    assert_eq!(answering["fit"], true);
    let log = hotline.engine.log();
    assert!(log.contains("trunk is down") && log.contains("trunk is up"), "an alarm for both");
    // And theirs to us are answered.
    let local = peer.at;
    let options = format!(
        "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKx;rport\r\nFrom: <sip:a@{local}>;tag=1\r\n\
         To: <sip:us@{}>\r\nCall-ID: them\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        hotline.engine.sip, hotline.engine.sip
    );
    peer.socket.send_to(options.as_bytes(), hotline.engine.sip).unwrap();
    let (answer, _) = peer.request("SIP/2.0 200");
    assert!(answer.contains("CSeq: 7 OPTIONS"), "{answer}");
}

fn hash(algorithm: &str, text: &str) -> String {
    match algorithm {
        "MD5" => hex::encode(Md5::digest(text)),
        _ => hex::encode(Sha256::digest(text)),
    }
}

/// Whether this header of a request proves that the sender knows the password of our account.
fn is_right(algorithm: &str, method: &str, (request, header_name): (&str, &str), nonce: &str) -> bool {
    let Some(value) = header(request, header_name) else { return false };
    let (get, hash) = (|name| part(value, name), |text: &str| hash(algorithm, text));
    let who = hash("059112345:ims.example:open sesame");
    let what = hash(&format!("{method}:{}", get("uri")));
    let (nc, cnonce) = (get("nc"), get("cnonce"));
    let right = hash(&format!("{who}:{nonce}:{nc}:{cnonce}:auth:{what}"));
    get("nonce") == nonce && part(value, " response") == right
}

/// A registrar that challenges, checks the answer and grants two seconds.
struct Registrar {
    peer: Peer,
    algorithm: &'static str,
    told: Sender<String>,
}

impl Registrar {
    fn is_right(&self, request: &str, header_name: &str, nonce: &str) -> bool {
        is_right(self.algorithm, "REGISTER", (request, header_name), nonce)
    }

    /// 401 or 407; 200; then the same nonce once more, which is called stale; 200.
    fn serve(self, (challenge, authenticate, authorization): (&str, &str, &str)) {
        let offer = |nonce: &str, stale: &str| {
            format!(
                "{authenticate}: Digest realm=\"ims.example\", nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}\r\n",
                self.algorithm
            )
        };
        let contact = |request: &str| format!("Contact: {};expires=2\r\n", header(request, "Contact").unwrap());
        let tell = |what: &str, request: &str| {
            self.told.send(format!("{what} {}", header(request, "CSeq").unwrap())).unwrap();
        };
        let first = self.peer.request("REGISTER");
        assert!(header(&first.0, authorization).is_none());
        self.peer.answer(&first, challenge, &offer("n1", ""));
        let proved = self.peer.request("REGISTER");
        assert!(self.is_right(&proved.0, authorization, "n1"), "{}", proved.0);
        assert_eq!(header(&proved.0, "Call-ID"), header(&first.0, "Call-ID"));
        self.peer.answer(&proved, "200 OK", &contact(&proved.0));
        tell("registered", &proved.0);
        let again = self.peer.request("REGISTER");
        assert!(self.is_right(&again.0, authorization, "n1"), "the nonce is used again: {}", again.0);
        assert_eq!(part(header(&again.0, authorization).unwrap(), "nc"), "00000002");
        self.peer.answer(&again, challenge, &offer("n2", ", stale=true"));
        let renewed = self.peer.request("REGISTER");
        assert!(self.is_right(&renewed.0, authorization, "n2"), "{}", renewed.0);
        self.peer.answer(&renewed, "200 OK", &contact(&renewed.0));
        tell("renewed", &renewed.0);
    }
}

fn registers(algorithm: &'static str, words: (&'static str, &'static str, &'static str)) {
    let peer = Peer::new("127.0.0.2");
    let at = peer.at;
    let (told, hears): (Sender<String>, Receiver<String>) = channel();
    let account = "[account]\nuser = \"059112345\"\npassword_file = \"secret\"\nregister_s = 600";
    let folder = with(&[("a", trunk(at, account))], "");
    std::fs::write(folder.path().join("secret"), "open sesame\n").unwrap();
    let serving = std::thread::spawn(move || Registrar { peer, algorithm, told }.serve(words));
    let hotline = Hotline::start(folder);
    let registered = hears.recv_timeout(WAIT_MAX).expect("a registration");
    assert!(registered.starts_with("registered "), "{registered}");
    until(&hotline, "a", "registered", |trunk| trunk["registered_s"].is_u64() && trunk["fit"] == true);
    let renewed = hears.recv_timeout(WAIT_MAX).expect("a renewal");
    assert!(renewed.starts_with("renewed "), "{renewed}");
    serving.join().expect("the registrar saw what it should");
    // Now it is silent: what was granted runs out.
    let lost = until(&hotline, "a", "the registration ran out", |trunk| trunk["registered_s"].is_null());
    assert_eq!(lost["fit"], false);
    let log = hotline.engine.log();
    assert!(log.contains("registered at the trunk") && !log.contains("open sesame"));
}

#[test]
fn we_register_with_sha_256_and_renew_with_a_nonce_that_went_stale() {
    registers("SHA-256", ("401 Unauthorized", "WWW-Authenticate", "Authorization"));
}

#[test]
fn we_register_with_md5_at_a_proxy_that_challenges() {
    registers("MD5", ("407 Proxy Authentication Required", "Proxy-Authenticate", "Proxy-Authorization"));
}
