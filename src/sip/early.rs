//! Tests of INVITEs of ours over a trunk, byte by byte: forks, reliable responses, challenges, and what comes too late
//! (RFC 3261 §13.2, §22; RFC 3262 §4; RFC 4028 §7).

use super::challenge::tests_of_server::takes;
use super::event::{
    Action, Binding, Bindings, Credential, Destination, Event, Flow, Invite, Login, Notice, OverTrunk, Settings,
};
use super::requests::{Bench, TRUNK, bench, header, settings};
use crate::base::{LegId, ShardId, TrunkId, Wall};
use bytes::Bytes;
use core::time::Duration;
use std::sync::Arc;

const LEG: LegId = LegId::outgoing(ShardId(0), 7);

/// Over the trunk.
fn over(number: &str) -> Destination {
    Destination::Trunk(Box::new(OverTrunk {
        trunk: TrunkId(0),
        number: number.into(),
        host: TRUNK.into(),
        flow: Flow { listener: 0, connection: 0, peer: TRUNK.parse().unwrap() },
        route: None,
        from_host: "fz.cn".into(),
        user_phone: false,
        asserted: Some("059112345".into()),
        privacy: false,
        location: None,
    }))
}

fn invite_of(to: Destination) -> Invite {
    Invite {
        leg: LEG,
        to,
        caller: "12345".into(),
        caller_name: "".into(),
        sdp: Bytes::from_static(b"v=0 offer"),
        headers: Vec::new(),
        ring_max: Duration::from_secs(20),
    }
}

/// Dials over the trunk; returns the INVITE.
fn dial(bench: &mut Bench) -> String {
    dial_with(bench, Some("carrier.cn"))
}

/// With an account for one realm or for any.
fn dial_with(bench: &mut Bench, realm: Option<&str>) -> String {
    let mut settings = (*bench.ua.settings).clone();
    let realm = realm.map(Into::into);
    settings.trunks[0].login = Some(Arc::new(Login { user: "hotline".into(), password: "secret".into(), realm }));
    bench.event(Event::Configure(Arc::new(settings)));
    let invite = invite_of(over("13800138000"));
    let sent = bench.event(Event::Do(Action::Invite(Box::new(invite))));
    assert_eq!((sent.len(), sent[0].0.peer.to_string()), (1, TRUNK.into()));
    sent[0].1.clone()
}

/// A response to a request of ours, from the fork `tag`; `more` are further headers and, behind a blank line, a body.
fn response(request: &str, status: u16, tag: &str, more: &str) -> String {
    let copied = |name| format!("{name}: {}\r\n", header(request, name)[0]);
    let to = header(request, "To")[0];
    let to = if tag.is_empty() || to.contains("tag=") { to.to_owned() } else { format!("{to};tag={tag}") };
    let end = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
    format!(
        "SIP/2.0 {status} X\r\n{}{}To: {to}\r\n{}{}Contact: <sip:{tag}@10.0.0.9:5080>\r\n{more}{end}",
        copied("Via"),
        copied("From"),
        copied("Call-ID"),
        copied("CSeq"),
    )
}

fn answers(bench: &mut Bench, request: &str, status: u16, tag: &str, more: &str) -> Vec<String> {
    let sent = bench.raw(TRUNK, response(request, status, tag, more));
    sent.into_iter().map(|(_, text)| text).collect()
}

fn method(text: &str) -> &str {
    text.split(' ').next().unwrap()
}

const SDP: &str = "Content-Type: application/sdp\r\n\r\nv=0 early";
const RELIABLE: &str = "Require: 100rel\r\nRSeq: ";

#[test]
fn an_invite_says_what_we_can() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    assert!(invite.starts_with("INVITE sip:13800138000@10.0.0.9:5080 SIP/2.0\r\n"), "{invite}");
    assert_eq!(header(&invite, "Supported"), ["100rel, timer, replaces, norefersub, path, histinfo"]);
    assert!(header(&invite, "Allow")[0].contains("PRACK, UPDATE, INFO, REFER"));
    assert_eq!((header(&invite, "Session-Expires"), header(&invite, "Require")), (vec!["1800"], vec![]));
    assert_eq!(header(&invite, "To"), ["<sip:13800138000@10.0.0.9:5080>"]);
}

#[test]
fn of_several_answers_the_first_wins_and_the_others_are_hung_up() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    for tag in ["one", "two", "three"] {
        assert!(answers(&mut bench, &invite, 180, tag, "").is_empty());
    }
    let ack = answers(&mut bench, &invite, 200, "two", SDP);
    assert_eq!((ack.len(), method(&ack[0])), (1, "ACK"));
    assert!(ack[0].starts_with("ACK sip:two@10.0.0.9:5080") && ack[0].contains("tag=two"));
    let loser = answers(&mut bench, &invite, 200, "one", SDP);
    assert_eq!(loser.iter().map(|it| method(it)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert!(loser[1].starts_with("BYE sip:one@10.0.0.9:5080"));
    assert_eq!(answers(&mut bench, &loser[1], 200, "one", "").len(), 0);
    // Each repetition has its ACK again, and nothing else.
    for tag in ["one", "two"] {
        let again = answers(&mut bench, &invite, 200, tag, SDP);
        assert_eq!(again.iter().map(|it| method(it)).collect::<Vec<_>>(), ["ACK"], "{tag}");
    }
    assert_eq!(bench.notices.iter().filter(|it| matches!(it, Notice::Answered { .. })).count(), 1);
    let bye = bench.event(Event::Do(Action::HangUp { leg: LEG, q850: 16 })).pop().unwrap().1;
    assert!(bye.starts_with("BYE sip:two@10.0.0.9:5080"));
    answers(&mut bench, &bye, 200, "two", "");
    bench.pass(60_000);
    assert_eq!(bench.ua.counts(), super::ua::Counts::default());
}

#[test]
fn reliable_responses_are_proved_in_order_and_once() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    let prack = answers(&mut bench, &invite, 183, "a", &format!("{RELIABLE}70\r\n{SDP}"));
    assert_eq!((prack.len(), method(&prack[0])), (1, "PRACK"));
    assert_eq!((header(&prack[0], "RAck"), header(&prack[0], "CSeq")), (vec!["70 1 INVITE"], vec!["2 PRACK"]));
    assert!(prack[0].starts_with("PRACK sip:a@10.0.0.9:5080"));
    // Repeated, and out of order: nothing.
    for rseq in [70, 72, 69] {
        assert!(answers(&mut bench, &invite, 180, "a", &format!("{RELIABLE}{rseq}\r\n")).is_empty(), "{rseq}");
    }
    let next = answers(&mut bench, &invite, 180, "a", &format!("{RELIABLE}71\r\n"));
    assert_eq!((header(&next[0], "RAck"), header(&next[0], "CSeq")), (vec!["71 1 INVITE"], vec!["3 PRACK"]));
    // Another fork counts for itself.
    let other = answers(&mut bench, &invite, 180, "b", &format!("{RELIABLE}1\r\n"));
    assert_eq!((header(&other[0], "RAck"), header(&other[0], "CSeq")), (vec!["1 1 INVITE"], vec!["2 PRACK"]));
    for it in [&prack[0], &next[0], &other[0]] {
        answers(&mut bench, it, 200, "", "");
    }
    // The answer came in the 183; the 200 need not repeat it, and the next CSeq follows the PRACKs.
    let ack = answers(&mut bench, &invite, 200, "a", "");
    assert_eq!((ack.len(), header(&ack[0], "CSeq")), (1, vec!["1 ACK"]));
    assert!(bench.notices.contains(&Notice::Answered { leg: LEG, sdp: Bytes::from_static(b"v=0 early") }));
    let bye = bench.event(Event::Do(Action::HangUp { leg: LEG, q850: 16 })).pop().unwrap().1;
    assert_eq!(header(&bye, "CSeq"), ["4 BYE"]);
}

#[test]
fn requests_in_an_early_dialog_of_ours() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    answers(&mut bench, &invite, 183, "a", &format!("{RELIABLE}1\r\n{SDP}"));
    let inside = |cseq: &str, more: &str| {
        let from = format!("From: {};tag=a\r\n", header(&invite, "To")[0]);
        let call_id = header(&invite, "Call-ID")[0];
        format!("{from}To: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}", header(&invite, "From")[0])
    };
    let update = bench.send(TRUNK, "UPDATE", &inside("5 UPDATE", "")).pop().unwrap().1;
    assert!(update.starts_with("SIP/2.0 200") && update.contains("Contact: <sip:10.0.0.1:5060>"), "{update}");
    assert_eq!(bench.status(TRUNK, "UPDATE", &inside("6 UPDATE", SDP)), 488);
    assert_eq!(bench.status(TRUNK, "OPTIONS", &inside("6 OPTIONS", "")), 500, "a number used before");
    assert_eq!(bench.status(TRUNK, "OPTIONS", &inside("7 OPTIONS", "")), 200);
    assert_eq!(bench.status(TRUNK, "OPTIONS", &inside("8 OPTIONS", "").replace("tag=a", "tag=b")), 481);
    // The fork is over (RFC 6228), and its dialog with it.
    answers(&mut bench, &invite, 199, "a", "");
    assert_eq!(bench.status(TRUNK, "OPTIONS", &inside("9 OPTIONS", "")), 481);
}

#[test]
fn a_challenge_is_answered_once_and_a_stale_nonce_again() {
    for (status, asks, proves) in
        [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")]
    {
        for algorithm in ["MD5", "MD5-sess", "SHA-256", "SHA-512-256", "SHA-256-sess"] {
            let mut bench = bench(settings());
            let mut invite = dial(&mut bench);
            for (cseq, stale) in [(2, ""), (3, ", stale=true")] {
                let nonce = format!("n{cseq}");
                let challenge = format!(
                    "{asks}: Digest realm=\"carrier.cn\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}\r\n"
                );
                let sent = answers(&mut bench, &invite, status, "x", &challenge);
                assert_eq!(sent.iter().map(|it| method(it)).collect::<Vec<_>>(), ["ACK", "INVITE"]);
                assert_ne!(header(&sent[1], "Via"), header(&invite, "Via"), "a new branch");
                assert_eq!(header(&sent[1], "CSeq"), [format!("{cseq} INVITE")]);
                assert!(sent[1].ends_with("\r\n\r\nv=0 offer") && !sent[1].contains("tag=x"));
                let proof = header(&sent[1], proves);
                assert_eq!(proof.len(), 1, "the old proof is gone");
                assert!(proof[0].contains(&nonce) && takes(proof[0], "INVITE", &settings_credential()), "{}", proof[0]);
                invite = sent[1].clone();
            }
            let refused = format!("{asks}: Digest realm=\"carrier.cn\", nonce=\"n9\", algorithm={algorithm}\r\n");
            assert_eq!(answers(&mut bench, &invite, status, "x", &refused).len(), 1, "an ACK: the proof was in vain");
            assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status, q850: None }));
        }
    }
}

fn settings_credential() -> Credential {
    Credential::new("hotline", "carrier.cn", "secret")
}

#[test]
fn strangers_challenges_are_not_answered() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    let other = "WWW-Authenticate: Digest realm=\"evil.cn\", nonce=\"n\"\r\n";
    assert_eq!(answers(&mut bench, &invite, 401, "x", other).len(), 1);
    assert_eq!(bench.notices, [Notice::Failed { leg: LEG, status: 401, q850: None }]);
    // Unless the account is for whatever realm the trunk names.
    let mut bench = self::bench(settings());
    let invite = dial_with(&mut bench, None);
    let sent = answers(&mut bench, &invite, 401, "x", other);
    let credential = Credential::new("hotline", "evil.cn", "secret");
    assert!(takes(header(&sent[1], "Authorization")[0], "INVITE", &credential), "{sent:?}");
}

#[test]
fn requests_inside_the_dialog_are_proved_too() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    answers(&mut bench, &invite, 200, "a", SDP);
    let bye = bench.event(Event::Do(Action::HangUp { leg: LEG, q850: 16 })).pop().unwrap().1;
    let challenge = "Proxy-Authenticate: Digest realm=\"carrier.cn\", nonce=\"n\", qop=\"auth\"\r\n";
    let again = answers(&mut bench, &bye, 407, "a", challenge);
    assert_eq!((again.len(), header(&again[0], "CSeq")), (1, vec!["3 BYE"]));
    assert!(takes(header(&again[0], "Proxy-Authorization")[0], "BYE", &settings_credential()));
    assert!(!bench.notices.iter().any(|it| matches!(it, Notice::Ended { .. })));
    answers(&mut bench, &again[0], 200, "a", "");
    assert!(matches!(bench.notices.pop(), Some(Notice::Ended { .. })));
}

#[test]
fn an_ack_brings_what_its_invite_proved_itself_with() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    let challenge = "Proxy-Authenticate: Digest realm=\"carrier.cn\", nonce=\"n\", qop=\"auth\"\r\n";
    let again = answers(&mut bench, &invite, 407, "x", challenge).pop().unwrap();
    let proof = header(&again, "Proxy-Authorization")[0];
    // The answer, its repetition, and that of another fork: each has its ACK.
    for fork in ["a", "a", "b"] {
        let sent = answers(&mut bench, &again, 200, fork, SDP);
        assert_eq!((method(&sent[0]), header(&sent[0], "Proxy-Authorization")), ("ACK", vec![proof]), "{fork}");
    }
}

#[test]
fn a_longer_session_is_asked_for_when_the_path_wants_it() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    let sent = answers(&mut bench, &invite, 422, "x", "Min-SE: 3600\r\n");
    assert_eq!(sent.iter().map(|it| method(it)).collect::<Vec<_>>(), ["ACK", "INVITE"]);
    assert_eq!(header(&sent[1], "Session-Expires"), ["3600;refresher=uac"]);
    assert_eq!(header(&sent[1], "Min-SE"), ["3600"]);
    let ack = answers(&mut bench, &sent[1], 200, "a", &format!("Session-Expires: 3600;refresher=uac\r\n{SDP}"));
    assert_eq!(header(&ack[0], "CSeq"), ["2 ACK"]);
}

#[test]
fn cancelled_means_cancelled_whatever_comes_then() {
    for (late, sends) in [(200, vec!["ACK", "BYE"]), (401, vec!["ACK"]), (487, vec!["ACK"])] {
        let mut bench = bench(settings());
        let invite = dial(&mut bench);
        answers(&mut bench, &invite, 180, "a", "");
        let cancel = bench.event(Event::Do(Action::HangUp { leg: LEG, q850: 16 })).pop().unwrap().1;
        assert_eq!(method(&cancel), "CANCEL");
        // A reliable response has its PRACK even now.
        let prack = answers(&mut bench, &invite, 180, "a", &format!("{RELIABLE}1\r\n"));
        assert_eq!(prack.iter().map(|it| method(it)).collect::<Vec<_>>(), ["PRACK"]);
        let challenge = "WWW-Authenticate: Digest realm=\"carrier.cn\", nonce=\"n\"\r\n";
        let more = if late == 200 { SDP } else { challenge };
        let sent = answers(&mut bench, &invite, late, "a", more);
        assert_eq!(sent.iter().map(|it| method(it)).collect::<Vec<_>>(), sends, "{late}");
        assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status: 487, q850: None }));
    }
}

#[test]
fn a_trunk_that_wants_rest_gets_it() {
    let mut bench = bench(settings());
    let invite = dial(&mut bench);
    answers(&mut bench, &invite, 503, "a", "Retry-After: 30 (busy)\r\n");
    assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status: 503, q850: None }));
    let again = || Event::Do(Action::Invite(Box::new(invite_of(over("1")))));
    assert!(bench.event(again()).is_empty());
    assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status: 503, q850: None }));
    bench.pass(31_000);
    assert_eq!(bench.event(again()).len(), 1);
}

#[test]
fn a_redirection_is_a_refusal_unless_it_may_be_followed_to_a_phone_of_ours() {
    let bindings = |user: &str, peer: &str| {
        let flow = Flow { listener: 0, connection: 0, peer: peer.parse().unwrap() };
        let (uri, expires) = (format!("sip:{user}@{peer}").into(), Wall(900_000_000));
        let contacts = vec![Binding { uri, flow, expires, path: vec!["sip:p.cn;lr".into()] }];
        Event::Bindings(Bindings { user: user.into(), domain: "fz.cn".into(), contacts })
    };
    let moved = "Contact: <sip:9@evil.cn>, <sip:1003@fz.cn>;q=0.2, <sip:1002@fz.cn>;q=0.7\r\n";
    for redirects_max in [0, 1] {
        let mut bench = bench(Settings { redirects_max, ..settings() });
        bench.event(bindings("1001", "192.0.2.7:40000"));
        bench.event(bindings("1002", "192.0.2.8:40000"));
        bench.event(bindings("1003", "192.0.2.9:40000"));
        let phone = Destination::User { user: "1001".into(), domain: "fz.cn".into() };
        let invite = bench.event(Event::Do(Action::Invite(Box::new(invite_of(phone))))).pop().unwrap().1;
        assert_eq!(header(&invite, "Route"), ["<sip:p.cn;lr>"], "RFC 3327: by the path it registered");
        let moved = response(&invite, 302, "a", moved).replacen("Contact: <sip:a@10.0.0.9:5080>\r\n", "", 1);
        let sent = bench.raw("192.0.2.7:40000", moved);
        if redirects_max == 0 {
            assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status: 302, q850: None }));
            continue;
        }
        assert_eq!((sent.len(), sent[1].0.peer.to_string()), (2, "192.0.2.8:40000".into()));
        let next = &sent[1].1;
        assert!(next.starts_with("INVITE sip:1002@192.0.2.8:40000"), "{next}");
        assert_eq!((header(next, "To"), header(next, "CSeq")), (vec!["<sip:1001@fz.cn>"], vec!["2 INVITE"]));
        assert_eq!(header(next, "Call-ID"), header(&invite, "Call-ID"));
        let again = response(next, 302, "b", "").replace("sip:b@10.0.0.9:5080", "sip:1003@fz.cn");
        bench.raw("192.0.2.8:40000", again);
        assert_eq!(bench.notices.pop(), Some(Notice::Failed { leg: LEG, status: 302, q850: None }));
        bench.pass(60_000);
        assert_eq!(bench.ua.counts().dialogs, 0);
    }
}
