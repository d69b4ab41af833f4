//! Single requests as strangers, trunks and phones send them, byte by byte, and the answers they get.

use super::digest::{Algorithm, tests::answer};
use super::event::{Action, Command, Credential, DomainSettings, Event, Flow, Notice, Settings, Source, Suspect};
use super::ua::{Counts, Ua};
use super::wire;
use crate::base::{Mint, Mono, Now, ShardId, Wall};
use bytes::Bytes;
use core::time::Duration;
use std::sync::Arc;

pub(super) const TRUNK: &str = "10.0.0.9:5080";
pub(super) const PHONE: &str = "192.0.2.7:40000";

pub(super) struct Bench {
    pub(super) ua: Ua,
    pub(super) now: Now,
    pub(super) notices: Vec<Notice>,
    bindings: Vec<usize>,
    suspects: Vec<Suspect>,
    count: u32,
}

pub(super) fn settings() -> Settings {
    Settings {
        domains: vec![DomainSettings { name: "fz.cn".into(), aliases: vec!["10.0.0.1".into()] }],
        credentials: Arc::new(vec![Credential::new("1001", "fz.cn", "pw")]),
        digests: vec![Algorithm::Sha256, Algorithm::Md5],
        ..wire::settings(0)
    }
}

pub(super) fn bench(settings: Settings) -> Bench {
    let ua = Ua::new(1, ShardId(0), Mint::new(1, [5, 6]), [5, 6], Arc::new(settings));
    let now = Now { mono: Mono::from_ms(5_000), wall: Wall(9_000_000) };
    Bench { ua, now, notices: Vec::new(), bindings: Vec::new(), suspects: Vec::new(), count: 0 }
}

impl Bench {
    fn take(&mut self, out: Vec<Command>) -> Vec<(Flow, String)> {
        self.ua.check();
        let mut sent = Vec::new();
        for command in out {
            match command {
                Command::Send { flow, bytes } => sent.push((flow, String::from_utf8_lossy(&bytes).into_owned())),
                Command::Tell(notice) => self.notices.push(notice),
                Command::Bindings(bindings) => self.bindings.push(bindings.contacts.len()),
                Command::Suspect(suspicion) => self.suspects.push(suspicion.what),
                Command::Answered(answer) => panic!("nothing was asked: {answer:?}"),
            }
        }
        sent
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<(Flow, String)> {
        let mut out = Vec::new();
        self.ua.handle(self.now, event, &mut out);
        self.take(out)
    }

    pub(super) fn raw(&mut self, peer: &str, bytes: impl Into<Vec<u8>>) -> Vec<(Flow, String)> {
        let flow = Flow { listener: 0, connection: 0, peer: peer.parse().unwrap() };
        self.event(Event::Received { flow, bytes: Bytes::from(bytes.into()) })
    }

    /// Sends a request with a branch, Call-ID and CSeq of its own; `more` are further header lines.
    pub(super) fn send(&mut self, peer: &str, method: &str, more: &str) -> Vec<(Flow, String)> {
        self.count += 1;
        let text = request(method, peer, self.count, more);
        self.raw(peer, text)
    }

    /// The last status a request got.
    pub(super) fn status(&mut self, peer: &str, method: &str, more: &str) -> u16 {
        status(&self.send(peer, method, more).last().expect("an answer").1)
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.pass_and_see(ms);
    }

    /// The same user agent after a crash.
    pub(super) fn restart(&mut self) {
        let saved = serde_json::from_str(&serde_json::to_string(&self.ua.snapshot()).unwrap()).unwrap();
        let (id, mint) = ((1, ShardId(0)), Mint::new(2, [5, 6]));
        let mut out = Vec::new();
        let settings = Arc::clone(&self.ua.settings);
        self.ua = Ua::restore(saved, id, mint, [5, 6], settings, self.now, &mut out).unwrap();
        self.take(out);
    }

    /// Lets time pass; what was sent meanwhile, in order.
    pub(super) fn pass_and_see(&mut self, ms: u64) -> Vec<String> {
        let mut sent = Vec::new();
        let end = self.now.after(Duration::from_millis(ms));
        while let Some(next) = self.ua.next_deadline().filter(|next| *next <= end.mono) {
            self.now = self.now.after(next.since(self.now.mono));
            let mut out = Vec::new();
            self.ua.expire(self.now, &mut out);
            sent.extend(self.take(out).into_iter().map(|(_, text)| text));
        }
        self.now = end;
        sent
    }
}

/// `more` replaces the lines it names: `From`, `To`, `CSeq` …
pub(super) fn request(method: &str, peer: &str, count: u32, more: &str) -> String {
    let mut text = format!("{method} sip:1001@fz.cn SIP/2.0\r\n");
    for (name, value) in [
        ("Via", format!("SIP/2.0/UDP {peer};rport;branch=z9hG4bK{count}")),
        ("From", "<sip:1001@fz.cn>;tag=f1".into()),
        ("To", "<sip:1001@fz.cn>".into()),
        ("Call-ID", format!("c{count}")),
        ("CSeq", format!("{count} {method}")),
        ("Max-Forwards", "70".into()),
        ("Contact", format!("<sip:1001@{peer}>")),
    ] {
        if !more.contains(&format!("{name}: ")) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    // Only what has a body has ended its headers.
    if more.contains("\r\n\r\n") { text + more } else { text + more + "\r\n" }
}

pub(super) fn status(text: &str) -> u16 {
    text["SIP/2.0 ".len()..][..3].parse().unwrap()
}

pub(super) fn header<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[test]
fn each_fault_has_its_answer() {
    let cases: [(&str, &str, u16, &str); 28] = [
        ("OPTIONS", "", 200, "Allow: INVITE"),
        ("OPTIONS", "", 200, "Accept: application/sdp"),
        ("OPTIONS", "Proxy-Require: foo\r\n", 200, "Supported: 100rel, timer, replaces"),
        ("OPTIONS", "Max-Forwards: 0\r\n", 483, ""),
        ("INVITE", "Max-Forwards: 0\r\n", 483, ""),
        ("INVITE", "Require: 100rel, join, x\r\n", 420, "Unsupported: join, x"),
        ("REGISTER", "Require: gruu\r\n", 420, "Unsupported: gruu"),
        ("REFER", "", 403, ""),
        ("UPDATE", "To: <sip:a@b>;tag=x\r\n", 481, ""),
        ("UPDATE", "", 481, ""),
        ("PRACK", "RAck: 1 1 INVITE\r\n", 481, ""),
        ("INFO", "", 481, ""),
        ("MESSAGE", "", 405, "Allow: INVITE"),
        ("SUBSCRIBE", "Event: presence\r\n", 405, "Allow: INVITE"),
        ("NOTIFY", "Event: keep-alive\r\n", 405, "Allow: INVITE"),
        ("INVITE", "Supported: timer\r\nSession-Expires: 60\r\n", 422, "Min-SE: 90"),
        ("INVITE", "Replaces: a;to-tag=b;from-tag=c\r\n", 481, ""),
        ("INVITE", "Replaces: a;to-tag=b\r\n", 400, ""),
        ("FOO", "", 501, "Allow: INVITE"),
        ("BYE", "", 481, ""),
        ("BYE", "To: <sip:a@b>;tag=nobody\r\n", 481, ""),
        ("INVITE", "To: <sip:a@b>;tag=nobody\r\n", 481, ""),
        ("CANCEL", "", 481, ""),
        ("INVITE", "Contact: <<\r\n", 400, "Contact"),
        ("INVITE", "CSeq: 1 BYE\r\n", 400, ""),
        ("INVITE", "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi", 415, "Accept: application/sdp"),
        ("INVITE", "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", 415, "Accept-Encoding: identity"),
        ("REGISTER", "To: <sip:1001@other.cn>\r\n", 404, ""),
    ];
    let mut bench = bench(settings());
    for (method, more, expected, holds) in cases {
        let sent = bench.send(TRUNK, method, more);
        let (_, text) = sent.last().unwrap();
        assert_eq!(status(text), expected, "{method} {more}\n{text}");
        assert!(text.contains(holds), "{text}");
    }
    assert!(bench.notices.is_empty());
    bench.pass(60_000);
    assert_eq!(bench.ua.counts(), Counts::default());
}

#[test]
fn strangers_get_silence_but_for_registrations_of_ours() {
    const SCANNER: &str = "203.0.113.9:5060";
    let mut bench = bench(settings());
    let stranger = |bench: &mut Bench, text: String| {
        let flow = Flow { listener: 0, connection: 0, peer: SCANNER.parse().unwrap() };
        bench.event(Event::Stranger { flow, bytes: Bytes::from(text) })
    };
    for (method, more) in [
        ("OPTIONS", ""),
        ("INVITE", ""),
        ("BYE", ""),
        ("CANCEL", ""),
        ("FOO", ""),
        ("INVITE", "To: <sip:a@b>;tag=js00000100000000000000ff\r\n"),
        ("REGISTER", "To: <sip:1001@other.cn>\r\n"),
        ("REGISTER", "CSeq: 1 INVITE\r\n"),
        ("REGISTER", "Via: rubbish\r\n"),
    ] {
        bench.count += 1;
        let text = request(method, SCANNER, bench.count, more);
        let sent = stranger(&mut bench, text);
        assert!(sent.is_empty(), "{method} {more}: {sent:?}");
        assert_eq!(bench.suspects.drain(..).count(), 1, "{method} {more}");
    }
    assert!(stranger(&mut bench, "SIP/2.0 200 OK\r\n\r\n".into()).is_empty());
    assert_eq!(bench.suspects.pop(), Some(Suspect::Malformed));
    let sent = stranger(&mut bench, request("REGISTER", SCANNER, 77, ""));
    assert_eq!(status(&sent[0].1), 401);
    assert!(!sent[0].1.to_lowercase().contains("jiesu"), "nobody learns who we are: {}", sent[0].1);
    assert_eq!(bench.ua.counts(), Counts::default(), "who proves nothing leaves nothing behind");
}

#[test]
fn a_wrong_password_is_told_and_only_four_proofs_are_looked_at() {
    let mut bench = bench(settings());
    let challenge = header(&bench.send(PHONE, "REGISTER", "")[0].1, "WWW-Authenticate")[0].to_owned();
    assert!(bench.suspects.is_empty(), "no proof is no wrong proof");
    let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let proof = |password: &str| {
        let value = answer(Algorithm::Md5, ("1001", "fz.cn", password), ("REGISTER", "sip:fz.cn"), nonce, Some(1));
        format!("Authorization: {value}\r\n")
    };
    assert_eq!(bench.status(PHONE, "REGISTER", &proof("guess").repeat(4)), 401);
    assert_eq!(bench.suspects.drain(..).collect::<Vec<_>>(), [Suspect::WrongPassword("1001".into())]);
    assert_eq!(bench.status(PHONE, "REGISTER", &(proof("guess").repeat(4) + &proof("pw"))), 401);
    assert_eq!(bench.status(PHONE, "REGISTER", &(proof("guess").repeat(3) + &proof("pw"))), 200);
}

#[test]
fn what_is_no_message_is_nothing_and_answers_go_where_via_says() {
    let mut bench = bench(settings());
    for junk in [&b"\r\n\r\n"[..], b"\r\n", b"\0\0\0\0", b"", b"  ", b"hello", b"SIP/2.0 200 OK\r\n\r\n", b"\xff\xfe"] {
        assert!(bench.raw(TRUNK, junk).is_empty(), "{junk:?}");
    }
    // No rport: the answer goes to the port of sent-by at the address it came from.
    let sent = bench.send(PHONE, "OPTIONS", "Via: SIP/2.0/UDP 10.9.9.9:5070;branch=z9hG4bKx\r\n");
    assert_eq!(sent[0].0.peer.to_string(), "192.0.2.7:5070");
    assert!(sent[0].1.contains(";received=192.0.2.7"));
    let sent = bench.send(PHONE, "OPTIONS", "");
    assert_eq!(sent[0].0.peer.to_string(), PHONE);
}

#[test]
fn repetitions_are_answered_alike_and_other_ways_are_merged() {
    let mut bench = bench(settings());
    let text = request("INVITE", TRUNK, 1, "");
    let first = bench.raw(TRUNK, text.clone());
    assert_eq!(first, bench.raw(TRUNK, text.clone()));
    let other_way = text.replace("z9hG4bK1", "z9hG4bK2");
    assert_eq!(status(&bench.raw(TRUNK, other_way)[0].1), 482);
    assert_eq!(bench.notices.len(), 1);
    // A stray ACK is absorbed.
    assert!(bench.raw(TRUNK, text.replace("INVITE", "ACK")).is_empty());
}

#[test]
fn who_may_call() {
    let mut bench = bench(settings());
    assert_eq!(bench.status(PHONE, "INVITE", "From: <sip:a@elsewhere.cn>;tag=1\r\n"), 403);
    let challenged = bench.send(PHONE, "INVITE", "").pop().unwrap().1;
    assert_eq!(status(&challenged), 401);
    let challenges = header(&challenged, "WWW-Authenticate");
    assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"), "{challenges:?}");
    let nonce = challenges[0].split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let proof = |nc| answer(Algorithm::Sha256, ("1001", "fz.cn", "pw"), ("INVITE", "sip:1001@fz.cn"), &nonce, Some(nc));
    let asserted = "P-Asserted-Identity: <tel:+8613800000000>\r\nContent-Type: application/sdp\r\n";
    assert_eq!(bench.status(PHONE, "INVITE", &format!("{asserted}Authorization: {}\r\n", proof(1))), 100);
    let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
    let phone = Source::Phone { user: "1001".into(), domain: "fz.cn".into() };
    assert_eq!((it.source, &*it.caller), (phone, "1001"), "a phone's own claim is not believed");
    // Proved, but calling as another.
    let from = format!("From: <sip:1002@fz.cn>;tag=2\r\nAuthorization: {}\r\n", proof(2));
    assert_eq!(bench.status(PHONE, "INVITE", &from), 403);
    // The trunk's assertion is believed, unless the number is withheld.
    for (privacy, caller) in [("", "+8613800000000"), ("Privacy: id\r\n", "")] {
        assert_eq!(bench.status(TRUNK, "INVITE", &format!("{asserted}{privacy}")), 100);
        let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
        assert_eq!((it.source, &*it.caller), (Source::Trunk("peer".into()), caller));
    }
}

fn register(bench: &mut Bench, password: &str, nc: u32, nonce: &str, more: &str) -> String {
    let given = ("1001", "fz.cn", password);
    let proof = answer(Algorithm::Md5, given, ("REGISTER", "sip:fz.cn"), nonce, Some(nc));
    let more = format!("Call-ID: reg\r\n{more}Authorization: {proof}\r\n");
    bench.send(PHONE, "REGISTER", &more).pop().unwrap().1
}

#[test]
fn a_phone_registers_is_dialled_where_it_came_from_and_runs_out() {
    let mut bench = bench(settings());
    let challenged = bench.send(PHONE, "REGISTER", "").pop().unwrap().1;
    let nonce = challenged.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let wrong = register(&mut bench, "guess", 1, &nonce, "");
    assert_eq!((status(&wrong), wrong.contains("stale")), (401, false));
    let ok = register(&mut bench, "pw", 1, &nonce, "Expires: 120\r\nTo: <sip:1001@10.0.0.1>\r\n");
    assert_eq!((status(&ok), header(&ok, "Contact")), (200, vec!["<sip:1001@192.0.2.7:40000>;expires=120"]));
    let replayed = register(&mut bench, "pw", 1, &nonce, "Expires: 120\r\n");
    assert_eq!((status(&replayed), replayed.contains("stale=true")), (401, true));
    let brief = register(&mut bench, "pw", 2, &nonce, "Expires: 10\r\n");
    assert_eq!((status(&brief), header(&brief, "Min-Expires")), (423, vec!["60"]));
    for (nc, more) in [(3, "Contact: *\r\n"), (4, "Contact: *\r\nContact: <sip:a@b>\r\nExpires: 0\r\n")] {
        assert_eq!(status(&register(&mut bench, "pw", nc, &nonce, more)), 400);
    }
    let other = register(&mut bench, "pw", 0x1000, &nonce, "To: <sip:1002@fz.cn>\r\n");
    assert_eq!(status(&other), 403);
    // The Contact says a private address; the INVITE goes where the REGISTER came from.
    let two = "Contact: <sip:1001@192.168.1.5>;expires=300;q=0.5\r\n";
    assert_eq!(status(&register(&mut bench, "pw", 0x1001, &nonce, two)), 200);
    let stale = {
        bench.pass(61_000);
        register(&mut bench, "pw", 0x1002, &nonce, "Expires: 120\r\n")
    };
    assert!(stale.contains("stale=true"));
    assert_eq!((bench.bindings.clone(), bench.ua.counts().bindings), (vec![1, 2], 2));
    bench.pass(60_000);
    assert_eq!(bench.bindings, [1, 2, 1]);
    bench.pass(300_000);
    assert_eq!(bench.bindings, [1, 2, 1, 0]);
    assert_eq!(bench.ua.counts(), Counts::default());
}

#[test]
fn limits_refuse_or_drop_new_work_only() {
    let mut limited = settings();
    (limited.limits.legs_max, limited.limits.transactions_max) = (1, 3);
    let mut bench = bench(limited);
    assert_eq!(bench.status(TRUNK, "INVITE", ""), 100);
    let refused = bench.send(TRUNK, "INVITE", "").pop().unwrap().1;
    assert_eq!((status(&refused), header(&refused, "Retry-After").len()), (503, 0));
    assert_eq!(bench.status(TRUNK, "OPTIONS", ""), 200);
    assert!(bench.send(TRUNK, "OPTIONS", "").is_empty());
}

#[test]
fn inside_a_dialog() {
    let mut bench = bench(settings());
    bench.send(TRUNK, "INVITE", "Call-ID: d\r\nRecord-Route: <sip:10.0.0.8;lr>\r\n");
    let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
    let sdp = Some(Bytes::from_static(b"v=0"));
    let ok = bench
        .event(Event::Do(Action::Respond { leg: it.leg, status: 200, sdp, q850: None, retry_after_s: None }))
        .pop()
        .unwrap()
        .1;
    assert!(ok.contains("Record-Route: <sip:10.0.0.8;lr>") && ok.contains("Contact: <sip:10.0.0.1:5060>"));
    let inside = format!("Call-ID: d\r\nTo: {}\r\n", header(&ok, "To")[0]);
    // Our offer has no answer yet: that is in the ACK.
    assert_eq!(bench.status(TRUNK, "INVITE", &inside), 491);
    let ack = format!("{inside}CSeq: 1 ACK\r\nContent-Type: application/sdp\r\nContent-Length: 6\r\n\r\nanswer");
    assert!(bench.send(TRUNK, "ACK", &ack).is_empty());
    let told = Notice::Acknowledged { leg: it.leg, sdp: Some(Bytes::from_static(b"answer")) };
    assert_eq!(bench.notices.pop(), Some(told));
    assert_eq!(bench.status(TRUNK, "OPTIONS", &inside), 200);
    assert_eq!(bench.status(TRUNK, "MESSAGE", &inside), 405);
    assert_eq!(bench.status(TRUNK, "BYE", &format!("{inside}CSeq: 2 BYE\r\n")), 500, "out of order");
    assert_eq!(bench.status(TRUNK, "BYE", &inside.replace("Call-ID: d", "Call-ID: e")), 481);
    let bye = bench.event(Event::Do(Action::HangUp { leg: it.leg, q850: 16 })).pop().unwrap();
    assert_eq!(bye.0.peer.to_string(), "10.0.0.8:5060", "by the route set");
    assert!(bye.1.starts_with("BYE sip:1001@10.0.0.9:5080 ") && bye.1.contains("Route: <sip:10.0.0.8;lr>"));
    assert!(bye.1.contains("Reason: Q.850;cause=16"));
    // Nothing but a BYE of theirs finds the dialog any more.
    for method in ["OPTIONS", "INFO", "UPDATE", "REFER", "INVITE"] {
        assert_eq!(bench.status(TRUNK, method, &inside), 481, "{method}");
    }
    assert_eq!(bench.status(TRUNK, "BYE", &inside), 200);
}

#[test]
fn an_invite_repeated_across_a_restart_begins_no_second_call() {
    let mut bench = bench(settings());
    let text = request("INVITE", TRUNK, 1, "");
    bench.raw(TRUNK, text.clone());
    let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
    let sdp = Some(Bytes::from_static(b"v=0"));
    bench.event(Event::Do(Action::Respond { leg: it.leg, status: 200, sdp, q850: None, retry_after_s: None }));
    bench.restart();
    for way in [text.clone(), text.replace("z9hG4bK1", "z9hG4bK2")] {
        assert!(bench.raw(TRUNK, way).is_empty(), "it is answered already");
    }
    let repeated = bench.pass_and_see(500);
    assert_eq!((repeated.len(), status(&repeated[0])), (1, 200));
    let to = header(&repeated[0], "To")[0].to_owned();
    bench.raw(TRUNK, request("ACK", TRUNK, 1, &format!("To: {to}\r\n")));
    bench.restart();
    assert!(bench.raw(TRUNK, text.clone()).is_empty(), "nor when it is acknowledged");
    assert_eq!(bench.notices.len(), 1, "{:?}", bench.notices);
    // Another caller who happens to use the same Call-ID, and the same caller once the call is over.
    assert_eq!(status(&bench.raw(TRUNK, text.replace("tag=f1", "tag=f2").replace("z9hG4bK1", "z9hG4bK3"))[0].1), 100);
    bench.raw(TRUNK, request("BYE", TRUNK, 2, &format!("Call-ID: c1\r\nTo: {to}\r\n")));
    bench.pass(40_000);
    assert_eq!(status(&bench.raw(TRUNK, text)[0].1), 100);
}

#[test]
fn a_re_invite_that_overtakes_its_ack_is_served() {
    let mut bench = bench(settings());
    let offer = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\noffer";
    bench.send(TRUNK, "INVITE", &format!("Call-ID: d\r\n{offer}"));
    let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
    let answer = || Some(Bytes::from_static(b"answer"));
    let respond = Action::Respond { leg: it.leg, status: 200, sdp: answer(), q850: None, retry_after_s: None };
    let ok = bench.event(Event::Do(respond)).pop().unwrap().1;
    let inside = format!("Call-ID: d\r\nTo: {}\r\n", header(&ok, "To")[0]);
    assert_eq!(bench.status(TRUNK, "INVITE", &format!("{inside}CSeq: 7 INVITE\r\n{offer}")), 100);
    let sdp = Some(Bytes::from_static(b"offer"));
    let told = [Notice::Acknowledged { leg: it.leg, sdp: None }, Notice::Reoffered { leg: it.leg, sdp }];
    assert_eq!(bench.notices, told);
    let reoffer = Action::AnswerReoffer { leg: it.leg, answer: Ok(Bytes::from_static(b"again")) };
    assert!(bench.event(Event::Do(reoffer)).pop().unwrap().1.ends_with("again"));
    // The first ACK comes after all: it ends nothing of the second 2xx, which is repeated until its own.
    bench.send(TRUNK, "ACK", &format!("{inside}CSeq: 1 ACK\r\n"));
    let repeated = bench.pass_and_see(600);
    assert!(matches!(&repeated[..], [again] if again.ends_with("again")), "{repeated:?}");
    bench.send(TRUNK, "ACK", &format!("{inside}CSeq: 7 ACK\r\n"));
    assert!(bench.pass_and_see(30_000).is_empty());
    assert_eq!(bench.notices.len(), 2);
}

#[test]
fn a_strict_router_is_the_request_uri_and_strangers_are_no_next_hop() {
    let mut bench = bench(settings());
    let more = "Record-Route: <sip:203.0.113.5:5099>\r\nContact: <sip:gw@10.0.0.9:5080>\r\n";
    bench.send(TRUNK, "INVITE", more);
    let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!() };
    let ok = bench
        .event(Event::Do(Action::Respond { leg: it.leg, status: 200, sdp: None, q850: None, retry_after_s: None }))
        .pop()
        .unwrap()
        .1;
    let ack = format!("Call-ID: c1\r\nTo: {}\r\nCSeq: 1 ACK\r\n", header(&ok, "To")[0]);
    bench.send(TRUNK, "ACK", &ack);
    let bye = bench.event(Event::Do(Action::HangUp { leg: it.leg, q850: 16 })).pop().unwrap();
    assert_eq!(bye.0.peer.to_string(), TRUNK, "203.0.113.5 is none of the trunk's addresses");
    assert!(bye.1.starts_with("BYE sip:203.0.113.5:5099 ") && bye.1.contains("Route: <sip:gw@10.0.0.9:5080>"));
}

#[test]
fn a_path_too_long_is_refused_and_unknown_dialogs_count_as_strangers() {
    let mut limited = settings();
    limited.limits.transactions_max = 1;
    let mut bench = bench(limited);
    let routes = vec!["<sip:10.0.0.8;lr>"; 300].join(",");
    assert_eq!(bench.status(TRUNK, "INVITE", &format!("Record-Route: {routes}\r\n")), 400);
    assert!(bench.send(TRUNK, "BYE", "To: <sip:a@b>;tag=nobody\r\n").is_empty());
}
