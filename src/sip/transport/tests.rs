//! Flows that close and return, large requests, and what stands in Via and Contact, message by message.

use crate::base::{LegId, Mint, Mono, Now, ShardId, TrunkId, Wall};
use crate::sip::digest::{Algorithm, tests::answer};
use crate::sip::event::{
    Action, Bindings, Command, Credential, Destination, DomainSettings, Event, Flow, Invite, Large, ListenerSettings,
    Login, Notice, OverTrunk, Settings, TrunkSettings,
};
use crate::sip::via::Transport;
use crate::sip::{Message, Ua};
use bytes::Bytes;
use core::time::Duration;
use std::sync::Arc;

const CONTACT: &str = "sip:k3v9@df7jal23ls0d.invalid;transport=ws";

struct Bench {
    ua: Ua,
    now: Now,
    notices: Vec<Notice>,
    bindings: Vec<Bindings>,
}

fn listener(transport: Transport, at: &str) -> ListenerSettings {
    ListenerSettings { transport, advertised: at.parse().unwrap(), large: Large::Tcp, answers_strangers: false }
}

/// 0: UDP, 1: TCP, 2: TLS, 3: WSS, 4: TCP over IPv6.
fn bench() -> Bench {
    let settings = Settings {
        listeners: vec![
            listener(Transport::Udp, "192.0.2.1:5060"),
            listener(Transport::Tcp, "192.0.2.1:5060"),
            listener(Transport::Tls, "192.0.2.1:5061"),
            listener(Transport::Wss, "192.0.2.1:8443"),
            listener(Transport::Tcp, "[2001:db8::1]:5060"),
        ],
        trunks: vec![TrunkSettings {
            name: "carrier".into(),
            sources: vec![("10.0.0.0".parse().unwrap(), 24)],
            trusts_identity: true,
            login: Some(Arc::new(Login {
                user: "hotline".into(),
                password: "secret".into(),
                realm: Some("carrier.cn".into()),
            })),
            ..TrunkSettings::default()
        }],
        domains: vec![DomainSettings { name: "fz.cn".into(), aliases: vec!["192.0.2.1".into()] }],
        credentials: Arc::new(["1001", "1002"].map(|user| Credential::new(user, "fz.cn", "pw")).to_vec()),
        expires_s: (60, 3_600),
        nonce_life: Duration::from_secs(60),
        ..Settings::default()
    };
    let ua = Ua::new(1, ShardId(0), Mint::new(1, [5, 6]), [5, 6], Arc::new(settings));
    let now = Now { mono: Mono::from_ms(5_000), wall: Wall(9_000_000) };
    Bench { ua, now, notices: Vec::new(), bindings: Vec::new() }
}

fn flow(listener: u16, connection: u64, peer: &str) -> Flow {
    Flow { listener, connection, peer: peer.parse().unwrap() }
}

fn browser(connection: u64) -> Flow {
    flow(3, connection, "203.0.113.9:50123")
}

impl Bench {
    fn event(&mut self, event: Event) -> Vec<(Flow, String)> {
        let mut out = Vec::new();
        self.ua.handle(self.now, event, &mut out);
        self.take(out)
    }

    fn take(&mut self, out: Vec<Command>) -> Vec<(Flow, String)> {
        self.ua.check();
        let mut sent = Vec::new();
        for command in out {
            match command {
                Command::Send { flow, bytes } => sent.push((flow, String::from_utf8(bytes.to_vec()).unwrap())),
                Command::Tell(notice) => self.notices.push(notice),
                Command::Bindings(bindings) => self.bindings.push(bindings),
                Command::Suspect(_) => {}
                Command::Answered(answer) => panic!("nothing was asked: {answer:?}"),
            }
        }
        sent
    }

    fn receive(&mut self, flow: Flow, text: &str) -> Vec<(Flow, String)> {
        self.event(Event::Received { flow, bytes: Bytes::copy_from_slice(text.as_bytes()) })
    }

    fn pass(&mut self, ms: u64) -> Vec<(Flow, String)> {
        let end = self.now.mono + Duration::from_millis(ms);
        let mut sent = Vec::new();
        while let Some(next) = self.ua.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.after(next.max(self.now.mono).since(self.now.mono));
            let mut out = Vec::new();
            self.ua.expire(self.now, &mut out);
            sent.extend(self.take(out));
        }
        self.now = self.now.after(end.since(self.now.mono));
        sent
    }

    /// The process dies; another takes up what stood.
    fn crash(&mut self) -> Vec<(Flow, String)> {
        let (snapshot, settings) = (self.ua.snapshot(), self.ua.settings.clone());
        let mut out = Vec::new();
        let mint = Mint::new(2, [5, 6]);
        self.ua = Ua::restore(snapshot, (1, ShardId(0)), mint, [5, 6], settings, self.now, &mut out).unwrap();
        self.take(out)
    }

    /// Registers `user` on a flow as JsSIP does, with this CSeq and Contact.
    fn register(&mut self, flow: Flow, user: &str, cseq: u32, contact: &str) -> Vec<(Flow, String)> {
        let text = |cseq: u32, more: &str| {
            format!(
                "REGISTER sip:fz.cn SIP/2.0\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{user}{cseq}\r\n\
                 From: <sip:{user}@fz.cn>;tag=f{cseq}\r\nTo: <sip:{user}@fz.cn>\r\nCall-ID: reg-{user}\r\n\
                 CSeq: {cseq} REGISTER\r\nContact: <{contact}>;expires=600\r\n{more}Content-Length: 0\r\n\r\n"
            )
        };
        let challenged = self.receive(flow, &text(cseq, ""));
        let nonce = challenged[0].1.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let response = answer(Algorithm::Md5, (user, "fz.cn", "pw"), ("REGISTER", "sip:fz.cn"), &nonce, Some(1));
        self.receive(flow, &text(cseq + 1, &format!("Authorization: {response}\r\n")))
    }

    fn dial(&mut self, leg: u64, sdp: &[u8]) -> (LegId, Vec<(Flow, String)>) {
        self.invite(Destination::User { user: "1001".into(), domain: "fz.cn".into() }, leg, sdp)
    }

    /// Over a trunk that is reached by this flow.
    fn dial_over(&mut self, by: Flow, leg: u64, sdp: &[u8]) -> (LegId, Vec<(Flow, String)>) {
        let over = OverTrunk {
            trunk: TrunkId(0),
            number: "1001".into(),
            host: by.peer.to_string().into(),
            flow: by,
            route: None,
            from_host: "fz.cn".into(),
            user_phone: false,
            asserted: Some("059112345".into()),
            privacy: false,
            location: None,
        };
        self.invite(Destination::Trunk(Box::new(over)), leg, sdp)
    }

    fn invite(&mut self, to: Destination, leg: u64, sdp: &[u8]) -> (LegId, Vec<(Flow, String)>) {
        let leg = LegId::outgoing(ShardId(0), leg);
        let invite = Invite {
            leg,
            to,
            caller: "059112345678".into(),
            caller_name: "".into(),
            sdp: Bytes::copy_from_slice(sdp),
            headers: Vec::new(),
            ring_max: Duration::from_secs(20),
        };
        (leg, self.event(Event::Do(Action::Invite(Box::new(invite)))))
    }

    /// A call to the browser that has answered.
    fn established(&mut self) -> LegId {
        self.register(browser(7), "1001", 1, CONTACT);
        let (leg, sent) = self.dial(1, b"v=0 offer");
        self.receive(browser(7), &response(&sent[0].1, "200 OK", CONTACT));
        assert!(matches!(self.notices.last(), Some(Notice::Answered { .. })), "{:?}", self.notices);
        leg
    }
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// What the other side answers to a request of ours.
fn response(request: &str, status: &str, contact: &str) -> String {
    let body = if status.starts_with('2') { "v=0 answer" } else { "" };
    let tag = if header(request, "To").contains("tag=") { "" } else { ";tag=theirs" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{contact};ob>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "To"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len(),
    )
}

fn start(sent: &(Flow, String)) -> (Flow, &str) {
    (sent.0, sent.1.split(' ').next().unwrap())
}

#[test]
fn via_and_contact_name_the_transport() {
    let bench = bench();
    let settings = &bench.ua.settings;
    let cases = [
        (0, "UDP 192.0.2.1:5060", "sip:192.0.2.1:5060", "sip:192.0.2.1:5060"),
        (1, "TCP 192.0.2.1:5060", "sip:192.0.2.1:5060;transport=tcp", "sip:192.0.2.1:5060;transport=tcp"),
        (2, "TLS 192.0.2.1:5061", "sip:192.0.2.1:5061;transport=tls", "sips:192.0.2.1:5061"),
        (3, "WSS 192.0.2.1:8443", "sip:192.0.2.1:8443;transport=ws", "sips:192.0.2.1:8443;transport=ws"),
        (4, "TCP [2001:db8::1]:5060", "sip:[2001:db8::1]:5060;transport=tcp", "sip:[2001:db8::1]:5060;transport=tcp"),
    ];
    for (listener, via, contact, secure) in cases {
        let flow = flow(listener, u64::from(listener), "192.0.2.9:1");
        let written = crate::sip::dialog::via(settings, flow, "z9hG4bK1");
        assert_eq!(written, format!("SIP/2.0/{via};rport;branch=z9hG4bK1"));
        assert_eq!((settings.contact(flow, false), settings.contact(flow, true)), (contact.into(), secure.into()));
    }
}

#[test]
fn a_browser_is_called_on_its_connection_and_without_one_not_at_all() {
    let mut bench = bench();
    let registered = bench.register(browser(7), "1001", 1, CONTACT);
    assert_eq!(registered[0].0, browser(7));
    assert!(registered[0].1.starts_with("SIP/2.0 200"), "{}", registered[0].1);
    assert_eq!(header(&registered[0].1, "Via").matches("SIP/2.0").count(), 1);
    let (_, sent) = bench.dial(1, b"v=0 offer");
    assert_eq!(start(&sent[0]), (browser(7), "INVITE"));
    assert!(header(&sent[0].1, "Via").starts_with("SIP/2.0/WSS 192.0.2.1:8443"), "{}", sent[0].1);
    assert!(bench.pass(10_000).is_empty(), "nothing is repeated on a connection");
    // The connection goes before the first answer: the call looks for another phone at once.
    bench.event(Event::Closed { flow: browser(7) });
    assert!(matches!(bench.notices.last(), Some(Notice::Failed { status: 503, .. })), "{:?}", bench.notices);
    assert!(bench.bindings.last().unwrap().contacts.is_empty());
    let (_, sent) = bench.dial(2, b"v=0 offer");
    assert!(sent.is_empty());
    assert!(matches!(bench.notices.last(), Some(Notice::Failed { status: 480, .. })));
}

#[test]
fn a_ringing_browser_may_answer_by_another_connection() {
    let mut bench = bench();
    bench.register(browser(7), "1001", 1, CONTACT);
    let (leg, sent) = bench.dial(1, b"v=0 offer");
    bench.receive(browser(7), &response(&sent[0].1, "180 Ringing", CONTACT));
    bench.event(Event::Closed { flow: browser(7) });
    bench.register(browser(8), "1001", 3, CONTACT);
    let acknowledged = bench.receive(browser(8), &response(&sent[0].1, "200 OK", CONTACT));
    assert!(bench.notices.contains(&Notice::Answered { leg, sdp: Bytes::from_static(b"v=0 answer") }));
    assert_eq!(start(&acknowledged[0]), (browser(8), "ACK"));
}

#[test]
fn a_ringing_browser_that_came_back_is_proved_to_and_cancelled_on_its_new_connection() {
    let mut bench = bench();
    bench.register(browser(7), "1001", 1, CONTACT);
    let (leg, sent) = bench.dial(1, b"v=0 offer");
    let reliable = |rseq: &str| {
        let ringing = response(&sent[0].1, "180 Ringing", CONTACT);
        ringing.replace("Contact:", &format!("Require: 100rel\r\nRSeq: {rseq}\r\nContact:"))
    };
    assert_eq!(start(&bench.receive(browser(7), &reliable("1"))[0]), (browser(7), "PRACK"));
    bench.event(Event::Closed { flow: browser(7) });
    let other = bench.register(browser(9), "1002", 1, CONTACT);
    assert_eq!(other.len(), 1, "another agent with the same Contact: {other:?}");
    let back = bench.register(browser(8), "1001", 3, CONTACT);
    assert_eq!((back.len(), start(&back[1])), (2, (browser(8), "PRACK")), "it may not have arrived");
    assert_eq!(start(&bench.receive(browser(8), &reliable("2"))[0]), (browser(8), "PRACK"));
    let cancel = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
    assert_eq!(start(&cancel[0]), (browser(8), "CANCEL"));
}

#[test]
fn a_browser_that_rang_before_a_crash_is_acknowledged_where_it_came_back() {
    let mut bench = bench();
    bench.register(browser(7), "1001", 1, CONTACT);
    let (leg, sent) = bench.dial(1, b"v=0 offer");
    bench.receive(browser(7), &response(&sent[0].1, "180 Ringing", CONTACT));
    assert!(bench.crash().is_empty());
    bench.register(browser(8), "1001", 3, CONTACT);
    let acknowledged = bench.receive(browser(8), &response(&sent[0].1, "200 OK", CONTACT));
    assert_eq!(start(&acknowledged[0]), (browser(8), "ACK"));
    assert!(matches!(bench.notices.last(), Some(Notice::Answered { leg: of, .. }) if *of == leg));
}

#[test]
fn a_large_request_that_nobody_heard_goes_by_udp_after_a_crash() {
    let phone = flow(0, 0, "203.0.113.5:5062");
    let mut bench = bench();
    bench.register(phone, "1001", 1, "sip:1001@203.0.113.5:5062");
    let (_, sent) = bench.dial(1, &[b'x'; 1_200]);
    assert_eq!(bench.crash(), [(phone, sent[0].1.replace("SIP/2.0/TCP", "SIP/2.0/UDP"))]);
}

#[test]
fn dialogs_follow_a_browser_that_comes_back_and_what_waited_is_sent_again() {
    let mut bench = bench();
    let leg = bench.established();
    bench.event(Event::Closed { flow: browser(7) });
    // The citizen hangs up while the browser is away.
    let sent = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
    assert_eq!(start(&sent[0]), (browser(7), "BYE"));
    bench.event(Event::Closed { flow: browser(7) });
    assert!(bench.pass(20_000).is_empty());
    // Another agent with the same Contact draws nothing to himself.
    let other = bench.register(browser(8), "1002", 1, CONTACT);
    assert_eq!(other.len(), 1, "{other:?}");
    let back = bench.register(browser(9), "1001", 3, CONTACT);
    assert_eq!((back.len(), start(&back[1])), (2, (browser(9), "BYE")));
    bench.receive(browser(9), &response(&back[1].1, "200 OK", CONTACT));
    assert!(matches!(bench.notices.last(), Some(Notice::Ended { .. })), "{:?}", bench.notices);
    bench.pass(40_000);
    assert_eq!((bench.ua.counts().dialogs, bench.ua.counts().transactions), (0, 0));
}

/// RFC 3665 §3.7: the phone has another address and says so itself.
#[test]
fn a_dialog_follows_a_phone_that_offers_anew_from_another_address() {
    let (desk, away) = (flow(0, 0, "203.0.113.5:5062"), flow(0, 0, "198.51.100.7:40001"));
    for (method, more, follows) in [
        ("INVITE", "", true),
        ("UPDATE", "", true),
        // Neither of these speaks of where it is, and a proxy's phones are where the proxy is.
        ("OPTIONS", "", false),
        ("INVITE", "Record-Route: <sip:203.0.113.5:5062;lr>\r\n", false),
    ] {
        let mut bench = bench();
        bench.register(desk, "1001", 1, "sip:1001@203.0.113.5:5062");
        let (leg, sent) = bench.dial(1, b"v=0 offer");
        let invite = &sent[0].1;
        let ok = response(invite, "200 OK", "sip:1001@203.0.113.5:5062");
        bench.receive(desk, &ok.replace("Contact:", &format!("{more}Contact:")));
        let (from, to, call_id) = (header(invite, "To"), header(invite, "From"), header(invite, "Call-ID"));
        let again = format!(
            "{method} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:40001;branch=z9hG4bKm\r\n\
             From: {from};tag=theirs\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 5 {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:1001@198.51.100.7:40001>\r\nContent-Length: 0\r\n\r\n"
        );
        assert!(bench.receive(away, &again).iter().all(|(flow, _)| *flow == away));
        let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
        let wanted = if follows { away } else { desk };
        assert_eq!(start(bye.last().unwrap()), (wanted, "BYE"), "{method} {more}");
    }
}

#[test]
fn an_invite_to_a_silent_phone_does_not_follow_the_one_that_answered() {
    let mut bench = bench();
    bench.register(browser(7), "1001", 1, CONTACT);
    bench.register(flow(0, 0, "203.0.113.5:5062"), "1001", 3, "sip:1001@203.0.113.5:5062");
    let (_, sent) = bench.dial(1, b"v=0 offer");
    assert_eq!(sent.len(), 2);
    let to_browser = sent.iter().find(|(flow, _)| *flow == browser(7)).expect("both are rung");
    bench.receive(browser(7), &response(&to_browser.1, "200 OK", CONTACT));
    bench.event(Event::Closed { flow: browser(7) });
    let back = bench.register(browser(8), "1001", 5, CONTACT);
    assert!(back.iter().all(|(_, text)| text.starts_with("SIP/2.0 ")), "{back:?}");
}

#[test]
fn a_page_that_says_bye_and_is_gone_did_not_hang_up() {
    use crate::sip::event::Ending;
    let talking = |bench: &mut Bench, more: &str| {
        bench.register(browser(7), "1001", 1, CONTACT);
        let (leg, sent) = bench.dial(1, b"v=0 offer");
        let answer = response(&sent[0].1, "200 OK", CONTACT);
        bench.receive(browser(7), &answer);
        let (from, to, call_id) = (header(&answer, "To"), header(&answer, "From"), header(&answer, "Call-ID"));
        let bye = format!(
            "BYE sip:192.0.2.1:8443;transport=ws SIP/2.0\r\nVia: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKbye\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 9 BYE\r\n{more}Content-Length: 0\r\n\r\n"
        );
        (leg, bench.receive(browser(7), &bye))
    };
    let ended = |bench: &Bench| match bench.notices.last() {
        Some(Notice::Ended { why, .. }) => Some(*why),
        _ => None,
    };
    for (more, stays_ms, expected) in [
        ("", 1_900, Ending::Lost),
        ("", 2_100, Ending::Bye { q850: None }),
        ("Reason: Q.850;cause=16\r\n", 0, Ending::Bye { q850: Some(16) }),
    ] {
        let mut bench = bench();
        let (_, answered) = talking(&mut bench, more);
        assert!(answered[0].1.starts_with("SIP/2.0 200"), "{}", answered[0].1);
        assert_eq!(ended(&bench).is_some(), !more.is_empty());
        bench.pass(stays_ms);
        bench.event(Event::Closed { flow: browser(7) });
        assert_eq!(ended(&bench), Some(expected), "{more} {stays_ms}");
        bench.pass(40_000);
        assert_eq!((bench.ua.counts().dialogs, bench.ua.counts().transactions), (0, 0));
    }
    // The citizen hangs up in that time.
    let mut bench = bench();
    let (leg, _) = talking(&mut bench, "");
    assert!(bench.event(Event::Do(Action::HangUp { leg, q850: 16 })).is_empty(), "a dialog that has ended has no BYE");
    assert_eq!(ended(&bench), Some(Ending::Ours));
}

#[test]
fn dialogs_follow_on_shards_that_only_copy_the_binding() {
    let mut bench = bench();
    let leg = bench.established();
    let mut bindings = bench.bindings.last().unwrap().clone();
    bindings.contacts[0].flow = browser(12);
    bench.event(Event::Bindings(bindings));
    let sent = bench.event(Event::Do(Action::Reinvite { leg, sdp: Bytes::from_static(b"v=0 hold") }));
    assert_eq!(start(&sent[0]), (browser(12), "INVITE"));
}

#[test]
fn a_browser_that_stays_away_ends_its_request_in_time() {
    let mut bench = bench();
    let leg = bench.established();
    bench.event(Event::Closed { flow: browser(7) });
    let sent = bench.event(Event::Do(Action::Reinvite { leg, sdp: Bytes::from_static(b"v=0 ask") }));
    bench.event(Event::Closed { flow: browser(7) });
    assert_eq!(sent.len(), 1);
    bench.pass(100_000);
    assert!(matches!(bench.notices.last(), Some(Notice::Ended { why: crate::sip::event::Ending::Lost, .. })));
    assert_eq!(bench.ua.counts().dialogs, 0);
}

fn invite(via: &str, contact: &str, body: &str) -> String {
    format!(
        "INVITE sip:12345@192.0.2.1 SIP/2.0\r\nVia: {via};branch=z9hG4bKt1\r\nFrom: <sip:1@10.0.0.9>;tag=f\r\n\
         To: <sip:12345@192.0.2.1>\r\nCall-ID: t1\r\nCSeq: 1 INVITE\r\nContact: <{contact}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_trunk_whose_connection_is_gone_is_connected_to_where_it_listens() {
    let mut bench = bench();
    let (old, anew) = (flow(1, 3, "10.0.0.9:49000"), flow(1, Flow::ANY, "10.0.0.9:5070"));
    bench.receive(old, &invite("SIP/2.0/TCP 10.0.0.9:5070", "sip:10.0.0.9:5072;transport=tcp", "v=0"));
    let Some(Notice::Incoming(incoming)) = bench.notices.pop() else { panic!("{:?}", bench.notices) };
    bench.event(Event::Closed { flow: old });
    // The answer goes to Via, what follows to Contact.
    let leg = incoming.leg;
    let sdp = Some(Bytes::from_static(b"v=0"));
    let answered = bench.event(Event::Do(Action::Respond { leg, status: 200, sdp, q850: None, retry_after_s: None }));
    assert_eq!(answered[0].0, anew);
    assert!(header(&answered[0].1, "Contact").contains("<sip:192.0.2.1:5060;transport=tcp>"), "{}", answered[0].1);
    let repeated = bench.pass(600);
    assert_eq!(repeated[0].0, anew, "RFC 3261 §13.3.1.4: until the ACK, on whatever transport");
    let ack = invite("SIP/2.0/TCP 10.0.0.9:5070", "sip:10.0.0.9:5072;transport=tcp", "").replace("INVITE", "ACK");
    let tag = header(&answered[0].1, "To").split("tag=").nth(1).unwrap().to_owned();
    // After a crash nothing but the 2xx itself is known.
    bench.crash();
    let dead = bench.pass(600).pop().expect("it is repeated").0;
    assert_eq!(dead, anew);
    bench.receive(flow(1, 4, "10.0.0.9:49001"), &ack.replace("1>\r\nCall", &format!("1>;tag={tag}\r\nCall")));
    assert!(matches!(bench.notices.pop(), Some(Notice::Acknowledged { .. })), "{:?}", bench.notices);
    let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
    let by = flow(1, Flow::ANY, "10.0.0.9:5072");
    assert_eq!(start(&bye[0]), (by, "BYE"));
    // Nobody listens there either.
    bench.event(Event::Closed { flow: by });
    assert!(matches!(bench.notices.pop(), Some(Notice::Ended { .. })), "{:?}", bench.notices);
}

#[test]
fn a_refusal_without_its_ack_is_sent_again_by_a_new_connection() {
    let mut bench = bench();
    let old = flow(2, 3, "10.0.0.9:49000");
    bench.receive(old, &invite("SIP/2.0/TLS 10.0.0.9", "sip:10.0.0.9:5061;transport=tls", "v=0"));
    let Some(Notice::Incoming(incoming)) = bench.notices.pop() else { panic!("{:?}", bench.notices) };
    let (leg, status) = (incoming.leg, 486);
    bench.event(Event::Do(Action::Respond { leg, status, sdp: None, q850: None, retry_after_s: None }));
    let sent = bench.event(Event::Closed { flow: old });
    assert_eq!(sent[0].0, flow(2, Flow::ANY, "10.0.0.9:5061"));
    assert!(sent[0].1.starts_with("SIP/2.0 486"), "{}", sent[0].1);
}

#[test]
fn a_large_request_goes_by_tcp_and_falls_back_to_udp() {
    let (phone, by_tcp) = (flow(0, 0, "203.0.113.5:5062"), flow(1, Flow::ANY, "203.0.113.5:5062"));
    let large = [b'x'; 1_200];
    for falls_back in [false, true] {
        let mut bench = bench();
        bench.register(phone, "1001", 1, "sip:1001@203.0.113.5:5062");
        let (_, small) = bench.dial(1, b"v=0 offer");
        assert_eq!(small[0].0, phone);
        let (leg, sent) = bench.dial(2, &large);
        assert_eq!(sent[0].0, by_tcp);
        assert!(header(&sent[0].1, "Via").starts_with("SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bK"));
        let mut request = sent[0].clone();
        if falls_back {
            let again = bench.event(Event::Closed { flow: by_tcp });
            assert_eq!((again.len(), again[0].0), (1, phone));
            assert_eq!(again[0].1, request.1.replace("SIP/2.0/TCP", "SIP/2.0/UDP"));
            request = again[0].clone();
            let repeated = bench.pass(600);
            assert!(repeated.contains(&request), "Timer A runs: {repeated:?}");
        } else {
            assert!(!bench.pass(600).contains(&request), "nothing is repeated by TCP");
        }
        bench.receive(request.0, &response(&request.1, "200 OK", "sip:1001@203.0.113.5:5062"));
        assert!(bench.notices.iter().any(|notice| matches!(notice, Notice::Answered { .. })), "{:?}", bench.notices);
        let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
        assert_eq!(start(&bye[0]), (phone, "BYE"), "small ones go by UDP");
        assert!(Message::parse(Bytes::from(bye[0].1.clone())).is_ok());
    }
}

/// The trunk by UDP.
fn trunk() -> Flow {
    flow(0, 0, "10.0.0.9:5080")
}

#[test]
fn a_trunk_is_spoken_to_as_its_flow_says() {
    for (by, transport, contact) in [
        (trunk(), "UDP", "<sip:192.0.2.1:5060>"),
        (flow(1, Flow::ANY, "10.0.0.9:5080"), "TCP", "<sip:192.0.2.1:5060;transport=tcp>"),
        (flow(2, Flow::ANY, "10.0.0.9:5061"), "TLS", "<sip:192.0.2.1:5061;transport=tls>"),
    ] {
        let mut bench = bench();
        let (leg, sent) = bench.dial_over(by, 1, b"v=0 offer");
        assert_eq!(start(&sent[0]), (by, "INVITE"));
        let host = by.peer;
        assert!(sent[0].1.starts_with(&format!("INVITE sip:1001@{host} SIP/2.0\r\n")), "{}", sent[0].1);
        assert_eq!(header(&sent[0].1, "To"), format!("<sip:1001@{host}>"));
        assert!(header(&sent[0].1, "Via").starts_with(&format!("SIP/2.0/{transport} 192.0.2.1")), "{}", sent[0].1);
        assert_eq!(header(&sent[0].1, "Contact"), contact);
        bench.receive(by, &response(&sent[0].1, "200 OK", &format!("sip:1001@{host}")));
        let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
        assert_eq!(start(&bye[0]), (by, "BYE"));
    }
}

#[test]
fn a_trunk_to_which_no_connection_opens_fails_the_call() {
    let mut bench = bench();
    let by = flow(1, Flow::ANY, "10.0.0.9:5080");
    bench.dial_over(by, 1, b"v=0 offer");
    assert!(bench.event(Event::Closed { flow: by }).is_empty());
    assert!(matches!(bench.notices.last(), Some(Notice::Failed { status: 503, .. })), "{:?}", bench.notices);
}

#[test]
fn a_challenged_large_request_goes_by_tcp_again_and_falls_back_too() {
    let mut bench = bench();
    let (_, sent) = bench.dial_over(trunk(), 1, &[b'x'; 1_200]);
    let by_tcp = flow(1, Flow::ANY, "10.0.0.9:5080");
    assert_eq!(sent[0].0, by_tcp);
    let challenge = "Content-Length: 0\r\nWWW-Authenticate: Digest realm=\"carrier.cn\", nonce=\"n\", qop=\"auth\"";
    let refusal = response(&sent[0].1, "401 Who", "sip:1001@10.0.0.9:5080").replace("Content-Length: 0", challenge);
    let again = bench.receive(by_tcp, &refusal);
    assert_eq!(again.iter().map(start).collect::<Vec<_>>(), [(by_tcp, "ACK"), (by_tcp, "INVITE")]);
    assert!(header(&again[1].1, "Via").starts_with("SIP/2.0/TCP") && again[1].1.contains("Authorization: Digest"));
    let by_udp = bench.event(Event::Closed { flow: by_tcp });
    assert_eq!(by_udp, [(flow(0, 0, "10.0.0.9:5080"), again[1].1.replace("SIP/2.0/TCP", "SIP/2.0/UDP"))]);
}

#[test]
fn where_no_connection_opened_large_requests_go_by_udp_for_a_while() {
    let mut bench = bench();
    let by_tcp = flow(1, Flow::ANY, "10.0.0.9:5080");
    let large = [b'x'; 1_200];
    let (leg, sent) = bench.dial_over(trunk(), 1, &large);
    assert_eq!(sent[0].0, by_tcp);
    assert_eq!(bench.event(Event::Closed { flow: by_tcp })[0].0, trunk());
    assert_eq!(bench.notices.pop(), Some(Notice::Resent { leg }), "its time to show itself begins now");
    let (_, sent) = bench.dial_over(trunk(), 2, &large);
    assert_eq!(sent[0].0, trunk(), "no second is lost again");
    let (_, sent) = bench.dial_over(flow(0, 0, "10.0.0.8:5080"), 3, &large);
    assert_eq!(sent[0].0, flow(1, Flow::ANY, "10.0.0.8:5080"), "another peer may be connected to");
    bench.pass(60_000);
    let (_, sent) = bench.dial_over(trunk(), 4, &large);
    assert_eq!(sent[0].0, by_tcp);
}

#[test]
fn a_bye_is_proved_also_after_a_crash() {
    let mut bench = bench();
    let (leg, sent) = bench.dial_over(trunk(), 1, b"v=0 offer");
    bench.receive(trunk(), &response(&sent[0].1, "200 OK", "sip:1001@10.0.0.9:5080"));
    bench.crash();
    let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 })).remove(0).1;
    let challenge = "Content-Length: 0\r\nProxy-Authenticate: Digest realm=\"carrier.cn\", nonce=\"n\", qop=\"auth\"";
    let refusal = response(&bye, "407 Who", "sip:1001@10.0.0.9:5080").replace("Content-Length: 0", challenge);
    let again = bench.receive(trunk(), &refusal);
    assert_eq!(start(&again[0]), (trunk(), "BYE"));
    assert!(header(&again[0].1, "Proxy-Authorization").starts_with("Digest username=\"hotline\""), "{}", again[0].1);
    bench.receive(trunk(), &response(&again[0].1, "200 OK", "sip:1001@10.0.0.9:5080"));
    assert!(matches!(bench.notices.last(), Some(Notice::Ended { .. })), "{:?}", bench.notices);
}

#[test]
fn what_goes_to_a_contact_of_another_transport_says_so() {
    let mut bench = bench();
    let (leg, sent) = bench.dial_over(trunk(), 1, b"v=0 offer");
    let ack = bench.receive(sent[0].0, &response(&sent[0].1, "200 OK", "sip:10.0.0.9:5090;transport=tcp"));
    assert_eq!(start(&ack[0]), (flow(1, Flow::ANY, "10.0.0.9:5090"), "ACK"));
    let bye = bench.event(Event::Do(Action::HangUp { leg, q850: 16 }));
    assert!(header(&bye[0].1, "Via").starts_with("SIP/2.0/TCP"), "{}", bye[0].1);
}

#[test]
fn a_loser_that_heard_nothing_is_not_called_at_the_winners_phone() {
    let mut bench = bench();
    bench.register(browser(7), "1001", 1, CONTACT);
    let second = "sip:second@df7jal23ls0d.invalid;transport=ws";
    bench.register(browser(8), "1001", 3, second);
    let (_, sent) = bench.dial(1, b"v=0 offer");
    assert_eq!(sent.iter().map(start).collect::<Vec<_>>(), [(browser(7), "INVITE"), (browser(8), "INVITE")]);
    bench.receive(browser(7), &response(&sent[0].1, "200 OK", CONTACT));
    assert_eq!(bench.event(Event::Closed { flow: browser(8) }), []);
}

#[test]
fn udp_may_be_pinned_for_a_trunk_or_a_listener() {
    let mut bench = bench();
    let mut settings = (*bench.ua.settings).clone();
    let to = flow(0, 0, "10.0.0.9:5060");
    assert_eq!(settings.large(to, 1_301), Some(flow(1, Flow::ANY, "10.0.0.9:5060")));
    assert_eq!(settings.large(to, 1_300), None);
    assert_eq!(settings.large(flow(3, 9, "10.0.0.9:5060"), 9_000), None);
    settings.trunks[0].large = Some(Large::Udp);
    assert_eq!(settings.large(to, 1_301), None);
    settings.listeners[0].large = Large::Udp;
    assert_eq!(settings.large(flow(0, 0, "203.0.113.5:5060"), 1_301), None);
    settings.trunks[0].large = Some(Large::Tcp);
    assert!(settings.large(to, 1_301).is_some());
    settings.listeners.remove(1);
    assert_eq!(settings.large(to, 1_301), None, "no TCP listener of that family");
    bench.event(Event::Configure(Arc::new(settings)));
}
