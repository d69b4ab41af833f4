//! The edge of the real program: who is answered, who is not, and for how long.

use crate::support::engine::Engine;
use crate::support::eventually;
use crate::support::hotline::folder;
use crate::support::sip::{Algorithm, Client, Proof};
use crate::support::stream::{Phone, Wire, tcp_from};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

const DOMAIN: &str = "fuzhou.12345.example";
const SEEN_MAX: Duration = Duration::from_secs(20);
/// The trunk of these tests; everybody else on loopback is a stranger.
const TRUNK: &str = "127.0.7.1";

/// An engine for which only one address is a trunk.
fn engine() -> Engine {
    let folder = folder();
    folder.edit("sip-profiles/trunks/carrier.toml", "[\"127.0.0.0/8\", \"::1\"]", &format!("[\"{TRUNK}\"]"));
    folder.start()
}

/// The same with a listener of TCP.
fn engine_with_tcp() -> Engine {
    let folder = folder();
    folder.edit("sip-profiles/trunks/carrier.toml", "[\"127.0.0.0/8\", \"::1\"]", &format!("[\"{TRUNK}\"]"));
    folder.listener("tcp", "transport = \"tcp\"");
    folder.start()
}

/// A client that sends from this address.
fn client(engine: &Engine, from: &str, user: &str) -> Client {
    let mut client = Client::new(engine.sip, user, DOMAIN);
    client.socket = UdpSocket::bind((from, 0)).unwrap();
    client.socket.set_read_timeout(Some(SEEN_MAX)).unwrap();
    client
}

fn edge(engine: &Engine) -> Value {
    engine.api("demo-admin-token").read("/health/internals").body["edge"].take()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A phone over TCP that is at this address.
fn phone(from: &str, to: SocketAddr, user: &str) -> Phone {
    Phone::on(Wire::from_address(address(from), to, "tcp", Path::new("")), user)
}

fn connections(engine: &Engine, figure: &str) -> u64 {
    let inside = engine.api("demo-admin-token").read("/health/internals").body;
    inside["connections"][figure].as_u64().expect("a count")
}

/// Waits until the edge has counted so many.
fn counted(engine: &Engine, counter: &str, at_least: u64) {
    eventually(counter, SEEN_MAX, || {
        (edge(engine)["gate"][counter].as_u64().expect("a count") >= at_least).then_some(())
    });
}

/// Whether nothing at all has come to a socket.
fn heard_nothing(client: &Client) -> bool {
    client.socket.set_nonblocking(true).unwrap();
    let nothing = client.socket.recv(&mut [0; 2_048]).is_err();
    client.socket.set_nonblocking(false).unwrap();
    nothing
}

fn wrong_proof(phone: &mut Client) -> Proof {
    Proof { algorithm: Algorithm::Md5, nonce: phone.challenge(), count: 1 }
}

#[test]
fn a_stranger_hears_nothing_and_a_trunk_is_served() {
    let engine = engine();
    let mut stranger = client(&engine, "127.0.7.2", "scanner");
    for method in ["OPTIONS", "INVITE", "BYE", "SUBSCRIBE"] {
        stranger.request(method, "12345", "", "");
    }
    stranger.request("BYE", "12345", "js00000100000000000000ff", "");
    for garbage in [&b"\xff\xfe\x00"[..], b"GET / HTTP/1.0\r\n\r\n", b"INVITE\r\n\r\n", &[b'x'; 60_000]] {
        stranger.send(garbage);
    }
    // Of another domain, so nobody's.
    stranger.domain = "elsewhere.example".into();
    stranger.send(
        b"REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.7.2;branch=z9hG4bK9;rport\r\nFrom: <sip:1@x>;tag=1\r\n\
        To: <sip:1@elsewhere.example>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\nContact: <sip:1@127.0.7.2>\r\n\r\n",
    );
    counted(&engine, "uninvited", 9);
    counted(&engine, "strangers_passed", 1);
    assert!(heard_nothing(&stranger), "a scanner must see no server");

    let mut trunk = client(&engine, TRUNK, "carrier");
    let options = trunk.request("OPTIONS", "12345", "", "");
    let answer = trunk.answer(options);
    assert_eq!(answer.status, 200);
    assert!(!answer.text.to_lowercase().contains("jiesu"), "{}", answer.text);
    assert!(answer.headers("Server").chain(answer.headers("User-Agent")).next().is_none());
}

#[test]
fn a_listener_may_answer_strangers() {
    let folder = folder();
    folder.edit("sip-profiles/trunks/carrier.toml", "[\"127.0.0.0/8\", \"::1\"]", "[\"127.0.7.1\"]");
    folder.edit("sip-profiles/listeners/udp.toml", "strangers = \"silence\"", "strangers = \"answer\"");
    let engine = folder.start();
    let mut stranger = client(&engine, "127.0.7.2", "scanner");
    let options = stranger.request("OPTIONS", "12345", "", "");
    assert_eq!(stranger.answer(options).status, 200);
}

#[test]
fn a_phone_registers_from_anywhere_calls_and_is_never_banned() {
    let engine = engine();
    let mut phone = client(&engine, "127.0.7.3", "1001");
    phone.request("OPTIONS", "12345", "", "");
    counted(&engine, "uninvited", 1);
    assert!(heard_nothing(&phone), "not registered yet");
    let contact = phone.contact();
    assert_eq!(phone.sign_in(&[&contact], 600).status, 200);
    counted(&engine, "flows_known", 1);
    let options = phone.request("OPTIONS", "12345", "", "");
    assert_eq!(phone.answer(options).status, 200);
    // Somebody else in the same house scans and guesses.
    let mut neighbour = client(&engine, "127.0.7.3", "1002");
    neighbour.password = "guess".into();
    for _ in 0..150 {
        neighbour.request("OPTIONS", "12345", "", "");
    }
    counted(&engine, "uninvited", 151);
    assert_eq!(edge(&engine)["gate"]["bans"], 0);
    let options = phone.request("OPTIONS", "12345", "", "");
    assert_eq!(phone.answer(options).status, 200);
}

#[test]
fn a_scanner_is_banned_and_an_administrator_lifts_it() {
    let engine = engine();
    let mut scanner = client(&engine, "127.0.7.4", "1001");
    for _ in 0..150 {
        scanner.request("OPTIONS", "12345", "", "");
    }
    counted(&engine, "banned", 1);
    let admin = engine.api("demo-admin-token");
    let bans = admin.read("/bans").body;
    assert_eq!((&bans["items"][0]["source"], &bans["items"][0]["times"]), (&"127.0.7.4".into(), &1.into()), "{bans}");
    let banned = edge(&engine)["gate"]["banned"].as_u64().unwrap();
    scanner.request("REGISTER", "1001", "", "");
    counted(&engine, "banned", banned + 1);
    assert!(heard_nothing(&scanner));
    assert_eq!(engine.api("demo-lead-token").delete("/bans/127.0.7.4"), 403);
    assert_eq!(admin.delete("/bans/phone"), 400);
    assert_eq!(admin.delete("/bans/127.0.7.4"), 204);
    assert_eq!(admin.delete("/bans/127.0.7.4"), 404);
    assert_eq!(admin.read("/bans").body["items"], serde_json::json!([]));
    let contact = scanner.contact();
    assert_eq!(scanner.sign_in(&[&contact], 600).status, 200);
}

#[test]
fn who_fails_five_times_for_a_user_is_locked_out_for_that_user_only() {
    let engine = engine();
    // A user who exists and one who does not: nobody can tell them apart.
    for user in ["1001", "9999"] {
        let from = if user == "1001" { "127.0.7.5" } else { "127.0.7.6" };
        let mut guesser = client(&engine, from, user);
        guesser.password = "guess".into();
        let contact = guesser.contact();
        for _ in 0..5 {
            let proof = wrong_proof(&mut guesser);
            assert_eq!(guesser.register(&[&contact], 600, Some(&proof)).status, 401);
        }
        let locked = edge(&engine)["gate"]["locked"].as_u64().unwrap();
        let text = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{user};rport\r\n\
             From: <sip:{user}@{DOMAIN}>;tag=t\r\nTo: <sip:{user}@{DOMAIN}>\r\nCall-ID: l{user}\r\nCSeq: 1 REGISTER\r\n\r\n"
        );
        guesser.send(text.as_bytes());
        counted(&engine, "locked", locked + 1);
        assert!(heard_nothing(&guesser));
        let mut other = client(&engine, from, "1002");
        let contact = other.contact();
        assert_eq!(other.sign_in(&[&contact], 600).status, 200, "another phone of the same house");
    }
    let mut owner = client(&engine, "127.0.7.7", "1001");
    let contact = owner.contact();
    assert_eq!(owner.sign_in(&[&contact], 600).status, 200, "the owner elsewhere");
}

#[test]
fn calls_beyond_the_bound_are_refused_at_the_edge_and_emergencies_have_a_reserve() {
    let folder = folder();
    folder.edit("jiesu.toml", "shards = 0", "shards = 1");
    folder.edit("jiesu.toml", "calls_max = 2500", "calls_max = 50");
    let engine = folder.start();
    let mut citizens: Vec<Client> = (0..51).map(|n| client(&engine, "127.0.7.1", &format!("139{n:08}"))).collect();
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";
    let mut answers = Vec::new();
    for (number, citizen) in citizens.iter_mut().enumerate() {
        let invite = citizen.request("INVITE", "12345", "", sdp);
        let answer = citizen.answer(invite);
        answers.push(answer.status);
        if number == 49 {
            assert_eq!(answer.status, 503, "one place of fifty is kept");
            assert_eq!(answer.headers("Reason").collect::<Vec<_>>(), ["Q.850;cause=42"]);
            assert!(answer.headers("Retry-After").next().is_none());
            // Once more the same, and not another call in the figures.
            citizen.repeat("INVITE", "12345", sdp);
            assert_eq!(citizen.answer(invite).text, answer.text);
        }
    }
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 49, "{answers:?}");
    let figures = edge(&engine);
    assert_eq!((&figures["blocked"]["carrier"], &figures["admission"]["refused_calls"]), (&2.into(), &2.into()));
    let emergency = client(&engine, "127.0.7.1", "110");
    let text = format!(
        "INVITE sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.7.1;branch=z9hG4bKsos;rport\r\nPriority: emergency\r\n\
         From: <sip:110@127.0.0.1>;tag=t\r\nTo: <sip:12345@127.0.0.1>\r\nCall-ID: sos\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:110@{}>\r\nContent-Type: application/sdp\r\n\r\n{sdp}",
        emergency.socket.local_addr().unwrap()
    );
    emergency.send(text.as_bytes());
    assert_eq!(emergency.answer(1).status, 200);
    assert_eq!(edge(&engine)["admission"]["reserve_used"], 1);
}

#[test]
fn scanners_on_connections_see_silence_and_lose_them() {
    let engine = engine_with_tcp();
    let to = engine.listener("tcp");
    let mut scanner = tcp_from(address("127.0.7.2"), to);
    scanner.set_read_timeout(Some(SEEN_MAX)).unwrap();
    let options = "OPTIONS sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.7.2;branch=z9hG4bKscan\r\n\
                   From: <sip:1@x>;tag=t\r\nTo: <sip:12345@127.0.0.1>\r\nCall-ID: scan\r\nCSeq: 1 OPTIONS\r\n\
                   Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    scanner.write_all(format!("\r\n\r\n{options}{}", options.replace("OPTIONS", "INVITE")).as_bytes()).unwrap();
    let (mut heard, began) = (Vec::new(), std::time::Instant::now());
    // It ends because nobody there says anything that is heard, in whatever way.
    let _ = scanner.read_to_end(&mut heard);
    assert_eq!(String::from_utf8_lossy(&heard), "");
    assert!(began.elapsed() >= Duration::from_secs(9) && began.elapsed() < SEEN_MAX, "{:?}", began.elapsed());
    counted(&engine, "uninvited", 2);

    let mut desk = phone("127.0.7.3", to, "1001");
    desk.register();
    desk.send(b"\r\n\r\n");
    assert_eq!(desk.next().as_deref(), Some("\r\n"));
    let options = desk.request("OPTIONS", "12345", "", "", "");
    assert_eq!(desk.answer(options).status, 200);
    let mut trunk = phone(TRUNK, to, "carrier");
    let options = trunk.request("OPTIONS", "12345", "", "", "");
    assert_eq!(trunk.answer(options).status, 200);
}

#[test]
fn a_burst_of_connections_is_cut_its_source_banned_and_others_are_served() {
    let engine = engine_with_tcp();
    let to = engine.listener("tcp");
    let burst: Vec<TcpStream> = (0..200).map(|_| tcp_from(address("127.0.7.2"), to)).collect();
    eventually("refusals", SEEN_MAX, || (connections(&engine, "refused") >= 100).then_some(()));
    assert!(connections(&engine, "accepted") <= 100, "forty at once, and four a second");
    for (from, user) in [("127.0.7.3", "1001"), ("127.0.7.5", "1002")] {
        phone(from, to, user).register();
    }
    let mut trunk = phone(TRUNK, to, "carrier");
    let options = trunk.request("OPTIONS", "12345", "", "", "");
    assert_eq!(trunk.answer(options).status, 200);
    eventually("a ban", SEEN_MAX, || (edge(&engine)["gate"]["bans_standing"] == 1).then_some(()));
    drop(trunk);
    // Whoever is banned loses also what stood.
    eventually("the end", SEEN_MAX, || (connections(&engine, "open") == 0).then_some(()));
    drop(burst);
}

#[test]
fn a_neighbour_s_burst_costs_a_phone_behind_the_same_address_nothing() {
    let engine = engine_with_tcp();
    let to = engine.listener("tcp");
    let mut desk = phone("127.0.7.3", to, "1001");
    desk.register();
    counted(&engine, "flows_known", 1);
    let burst: Vec<TcpStream> = (0..300).map(|_| tcp_from(address("127.0.7.3"), to)).collect();
    let mut noise = phone("127.0.7.3", to, "1002");
    for _ in 0..150 {
        noise.request("OPTIONS", "12345", "", "", "");
    }
    counted(&engine, "uninvited", 150);
    let options = desk.request("OPTIONS", "12345", "", "", "");
    assert_eq!(desk.answer(options).status, 200);
    // Its connection breaks in the midst of it, and it comes back.
    drop(desk);
    eventually("the phone went", SEEN_MAX, || (edge(&engine)["gate"]["flows_known"] == 0).then_some(()));
    for _ in 0..150 {
        noise.request("OPTIONS", "12345", "", "", "");
    }
    counted(&engine, "uninvited", 300);
    let mut desk = phone("127.0.7.3", to, "1001");
    desk.register();
    let options = desk.request("OPTIONS", "12345", "", "", "");
    assert_eq!(desk.answer(options).status, 200);
    assert_eq!(edge(&engine)["gate"]["bans"], 0);
    drop(burst);
}
