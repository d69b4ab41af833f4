//! Tests of what the other side may do inside a dialog beyond RFC 3261: PRACK, UPDATE, session timers, REFER, Replaces,
//! INFO. First byte by byte, then between two user agents with every datagram lost once.

use super::event::{Action, Ending, Event, Notice, Provisionals, SessionTimers, Settings};
use super::requests::{Bench, PHONE, TRUNK, bench, header, status};
use super::ua::Counts;
use super::wire::{Plan, Wire};
use crate::base::{LegId, Mint};
use bytes::Bytes;

const ANSWER: Bytes = Bytes::from_static(b"v=0 answer");
const SDP: &str = "Content-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv=0 offer";

fn settings() -> Settings {
    let mut settings = super::requests::settings();
    settings.trunks[0].provisionals = Provisionals::Supported;
    settings
}

/// A dialog that the trunk's INVITE began.
struct Inside {
    bench: Bench,
    leg: LegId,
    /// Call-ID and To of its requests.
    headers: String,
    cseq: u32,
}

fn respond(leg: LegId, status: u16, sdp: Option<Bytes>) -> Event {
    Event::Do(Action::Respond { leg, status, sdp, q850: None, retry_after_s: None })
}

impl Inside {
    /// An INVITE with these headers, up to its first provisional response of ours.
    fn ringing(more: &str, first: u16, sdp: Option<Bytes>) -> (Inside, String) {
        let mut bench = bench(settings());
        bench.send(TRUNK, "INVITE", &format!("Call-ID: d\r\n{more}"));
        let Some(Notice::Incoming(it)) = bench.notices.pop() else { panic!("refused") };
        let sent = bench.event(respond(it.leg, first, sdp)).pop().unwrap().1;
        let headers = format!("Call-ID: d\r\nTo: {}\r\n", header(&sent, "To")[0]);
        (Inside { bench, leg: it.leg, headers, cseq: 100 }, sent)
    }

    /// An answered and acknowledged call; the 200.
    fn talking(more: &str) -> (Inside, String) {
        let (mut inside, ok) = Inside::ringing(&format!("{more}{SDP}"), 200, Some(ANSWER));
        let ack = format!("{}CSeq: 1 ACK\r\n", inside.headers);
        inside.bench.send(TRUNK, "ACK", &ack);
        assert!(matches!(inside.bench.notices.pop(), Some(Notice::Acknowledged { .. })));
        (inside, ok)
    }

    fn send(&mut self, method: &str, more: &str) -> String {
        self.cseq += 1;
        let text = format!("{}CSeq: {} {method}\r\n{more}", self.headers, self.cseq);
        self.bench.send(TRUNK, method, &text).pop().map_or_else(String::new, |(_, text)| text)
    }

    fn status(&mut self, method: &str, more: &str) -> u16 {
        status(&self.send(method, more))
    }

    fn act(&mut self, action: Action) -> Vec<String> {
        self.bench.event(Event::Do(action)).into_iter().map(|(_, text)| text).collect()
    }

    /// Lets time pass; what was sent meanwhile.
    fn pass(&mut self, ms: u64) -> Vec<String> {
        self.bench.pass_and_see(ms)
    }

    fn is_over(&mut self) {
        self.bench.pass(100_000);
        assert_eq!(self.bench.ua.counts(), Counts::default());
    }
}

fn body(text: &str) -> &str {
    text.split("\r\n\r\n").nth(1).unwrap()
}

#[test]
fn a_reliable_response_is_repeated_until_its_prack_and_holds_the_200() {
    let (mut it, ringing) = Inside::ringing(&format!("Supported: 100rel\r\n{SDP}"), 183, Some(ANSWER));
    assert_eq!((status(&ringing), header(&ringing, "Require"), body(&ringing)), (183, vec!["100rel"], "v=0 answer"));
    let rseq: u32 = header(&ringing, "RSeq")[0].parse().unwrap();
    assert!((1..1 << 31).contains(&rseq));
    let invite = header(&ringing, "CSeq")[0].to_owned();
    assert_eq!(it.pass(3_600), [ringing.clone(), ringing.clone(), ringing.clone()], "at 0.5, 1.5 and 3.5 s");
    // Neither another provisional response nor the 200 goes before the PRACK.
    assert!(it.bench.event(respond(it.leg, 180, None)).is_empty());
    assert!(it.bench.event(respond(it.leg, 200, Some(ANSWER))).is_empty());
    for wrong in [format!("{} {invite}", rseq + 1), format!("{rseq} 9 INVITE"), format!("{rseq} 1 OPTIONS")] {
        assert_eq!(it.status("PRACK", &format!("RAck: {wrong}\r\n")), 481, "{wrong}");
    }
    assert_eq!(it.status("PRACK", ""), 400);
    it.cseq += 1;
    let prack = format!("{}CSeq: {} PRACK\r\nRAck: {rseq} {invite}\r\n", it.headers, it.cseq);
    let sent: Vec<_> = it.bench.send(TRUNK, "PRACK", &prack).into_iter().map(|(_, text)| text).collect();
    assert_eq!(sent.iter().map(|it| status(it)).collect::<Vec<_>>(), [200, 180]);
    assert_eq!(header(&sent[1], "RSeq"), [(rseq + 1).to_string()]);
    it.cseq += 1;
    let prack = format!("{}CSeq: {} PRACK\r\nRAck: {} {invite}\r\n", it.headers, it.cseq, rseq + 1);
    let sent: Vec<_> = it.bench.send(TRUNK, "PRACK", &prack).into_iter().map(|(_, text)| text).collect();
    assert_eq!(sent.iter().map(|it| status(it)).collect::<Vec<_>>(), [200, 200]);
    assert_eq!(body(&sent[1]), "", "the answer was told already");
}

#[test]
fn without_any_prack_the_invite_is_refused() {
    let (mut it, _) = Inside::ringing(&format!("Require: 100rel\r\n{SDP}"), 180, None);
    let sent = it.pass(40_000);
    let statuses: Vec<u16> = sent.iter().map(|text| status(text)).collect();
    assert_eq!(statuses[..7], [180, 180, 180, 180, 180, 180, 504]);
    assert_eq!(it.bench.notices, [Notice::Ended { leg: it.leg, why: Ending::NoAck }]);
    it.is_over();
}

#[test]
fn a_200_without_description_overtakes_a_ringing_and_its_prack_still_counts() {
    let (mut it, ringing) = Inside::ringing(&format!("Supported: 100rel\r\n{SDP}"), 180, None);
    let ok = it.bench.event(respond(it.leg, 200, Some(ANSWER))).pop().unwrap().1;
    assert_eq!((status(&ok), body(&ok)), (200, "v=0 answer"));
    let rack = format!("RAck: {} {}\r\n", header(&ringing, "RSeq")[0], header(&ringing, "CSeq")[0]);
    assert_eq!(it.status("PRACK", &rack), 200);
    assert_eq!(it.status("PRACK", &rack), 481);
}

#[test]
fn an_early_offer_of_ours_is_answered_in_the_prack_and_an_offer_in_it_by_us() {
    let (mut it, offered) = Inside::ringing("Supported: 100rel\r\n", 183, Some(Bytes::from_static(b"v=0 ours")));
    let rack = format!("RAck: {} {}\r\n", header(&offered, "RSeq")[0], header(&offered, "CSeq")[0]);
    assert_eq!(it.status("PRACK", &format!("{rack}{SDP}")), 200);
    assert_eq!(
        it.bench.notices.pop(),
        Some(Notice::EarlyAnswer { leg: it.leg, sdp: Bytes::from_static(b"v=0 offer") })
    );
    let ok = it.bench.event(respond(it.leg, 200, Some(ANSWER))).pop().unwrap().1;
    assert_eq!(body(&ok), "");
    let ack = format!("{}CSeq: 1 ACK\r\n", it.headers);
    it.bench.send(TRUNK, "ACK", &ack);
    assert_eq!(it.bench.notices.pop(), Some(Notice::Acknowledged { leg: it.leg, sdp: None }));

    let (mut it, answered) = Inside::ringing(&format!("Supported: 100rel\r\n{SDP}"), 183, Some(ANSWER));
    let rack = format!("RAck: {} {}\r\n", header(&answered, "RSeq")[0], header(&answered, "CSeq")[0]);
    assert_eq!(it.send("PRACK", &format!("{rack}{SDP}")), "", "the call answers");
    assert!(matches!(it.bench.notices.pop(), Some(Notice::Reoffered { .. })));
    let sent = it.act(Action::AnswerReoffer { leg: it.leg, answer: Ok(ANSWER) });
    assert_eq!((status(&sent[0]), body(&sent[0])), (200, "v=0 answer"));
}

#[test]
fn update_in_an_early_dialog_waits_for_offer_and_answer() {
    let (mut it, _) = Inside::ringing(SDP, 180, None);
    assert_eq!(it.status("UPDATE", ""), 200);
    let busy = it.send("UPDATE", SDP);
    assert_eq!((status(&busy), header(&busy, "Retry-After").len()), (500, 1));
    let (mut it, _) = Inside::ringing("Supported: 100rel\r\n", 183, Some(ANSWER));
    assert_eq!(it.status("UPDATE", SDP), 491, "our offer has no answer");
    let (mut it, answered) = Inside::ringing(&format!("Supported: 100rel\r\n{SDP}"), 183, Some(ANSWER));
    let rack = format!("RAck: {} {}\r\n", header(&answered, "RSeq")[0], header(&answered, "CSeq")[0]);
    assert_eq!(it.status("PRACK", &rack), 200);
    assert_eq!(it.send("UPDATE", SDP), "");
    assert_eq!(it.status("UPDATE", SDP), 500, "one at a time");
    let sent = it.act(Action::AnswerReoffer { leg: it.leg, answer: Ok(ANSWER) });
    assert_eq!((status(&sent[0]), header(&sent[0], "CSeq")), (200, vec!["102 UPDATE"]));
    // One that nobody answers does not outlive its leg.
    assert_eq!(it.send("UPDATE", SDP), "");
    it.act(Action::HangUp { leg: it.leg, q850: 16 });
    it.is_over();
}

#[test]
fn update_in_a_call_refreshes_moves_and_offers() {
    let (mut it, _) = Inside::talking("");
    assert_eq!(it.send("UPDATE", SDP), "");
    assert!(matches!(it.bench.notices.pop(), Some(Notice::Reoffered { sdp: Some(_), .. })));
    assert_eq!(it.status("INVITE", SDP), 500, "an offer is being answered");
    let refused = it.act(Action::AnswerReoffer { leg: it.leg, answer: Err(488) });
    assert_eq!(status(&refused[0]), 488);
    let ok = it.send("UPDATE", "Contact: <sip:moved@10.0.0.9:5099>\r\n");
    assert_eq!((status(&ok), header(&ok, "Contact")), (200, vec!["<sip:10.0.0.1:5060>"]));
    let reinvite = it.act(Action::Reinvite { leg: it.leg, sdp: ANSWER }).pop().unwrap();
    assert!(reinvite.starts_with("INVITE sip:moved@10.0.0.9:5099"));
    assert_eq!(it.status("UPDATE", SDP), 491, "ours is out");
    assert_eq!(it.status("UPDATE", ""), 200, "which does not keep a refresh");
    let small = it.send("UPDATE", "Supported: timer\r\nSession-Expires: 60\r\n");
    assert_eq!((status(&small), header(&small, "Min-SE")), (422, vec!["90"]));
}

#[test]
fn who_refreshes_is_agreed_and_a_session_nobody_refreshes_ends() {
    // They refresh.
    let (mut it, ok) = Inside::talking("Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n");
    assert_eq!((header(&ok, "Session-Expires"), header(&ok, "Require")), (vec!["120;refresher=uac"], vec!["timer"]));
    assert!(it.pass(60_000).is_empty());
    let refreshed = it.send("UPDATE", "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n");
    assert_eq!(header(&refreshed, "Session-Expires"), ["120;refresher=uac"]);
    assert!(it.pass(87_000).is_empty(), "until a third or 32 s before the end");
    let bye = it.pass(2_000);
    assert!(bye[0].starts_with("BYE "), "{bye:?}");
    it.pass(40_000);
    assert_eq!(it.bench.notices.pop(), Some(Notice::Ended { leg: it.leg, why: Ending::Lost }));
    // We refresh for those who do not know how, by re-INVITE when they take no UPDATE.
    let (mut it, ok) = Inside::talking("Allow: INVITE, ACK, BYE, CANCEL\r\n");
    assert_eq!((header(&ok, "Session-Expires"), header(&ok, "Require").len()), (vec!["1800;refresher=uas"], 0));
    assert!(it.pass(899_000).is_empty());
    it.pass(2_000);
    assert_eq!(it.bench.notices.pop(), Some(Notice::Refresh { leg: it.leg }));
    let invite = it.act(Action::Reinvite { leg: it.leg, sdp: ANSWER }).pop().unwrap();
    assert_eq!(header(&invite, "Session-Expires"), ["1800;refresher=uac"]);
    // By UPDATE where they take it.
    let (mut it, _) = Inside::talking("Allow: INVITE, ACK, BYE, UPDATE\r\nSupported: timer\r\nx: 90;refresher=uas\r\n");
    let update = it.pass(45_500).pop().unwrap();
    assert!(update.starts_with("UPDATE "), "{update}");
    assert_eq!((header(&update, "Session-Expires"), body(&update)), (vec!["90;refresher=uac"], ""));
}

#[test]
fn digits_by_info_come_once() {
    let (mut it, _) = Inside::talking("");
    let relay = "Content-Type: application/dtmf-relay\r\nContent-Length: 22\r\n\r\nSignal=5\r\nDuration=100";
    it.cseq += 1;
    let via = "Via: SIP/2.0/UDP 10.0.0.9:5080;rport;branch=z9hG4bKinfo\r\n";
    let info = format!("{}{via}CSeq: {} INFO\r\n{relay}", it.headers, it.cseq);
    for _ in 0..3 {
        assert_eq!(it.bench.status(TRUNK, "INFO", &info), 200);
    }
    assert_eq!(std::mem::take(&mut it.bench.notices), [Notice::Digit { leg: it.leg, digit: b'5' }]);
    let plain = "Content-Type: application/dtmf\r\nContent-Length: 1\r\n\r\n#";
    assert_eq!(it.status("INFO", plain), 200);
    assert_eq!(std::mem::take(&mut it.bench.notices), [Notice::Digit { leg: it.leg, digit: b'#' }]);
    assert_eq!(it.status("INFO", ""), 200);
    let other = it.send("INFO", "Content-Type: application/media_control+xml\r\nContent-Length: 2\r\n\r\n<>");
    assert_eq!((status(&other), header(&other, "Accept")), (415, vec!["application/dtmf-relay, application/dtmf"]));
    assert_eq!(it.status("INFO", &plain.replace("\r\n\r\n#", "\r\n\r\n?")), 400);
    assert_eq!(it.status("INFO", "Info-Package: foo\r\n"), 469);
    assert!(it.bench.notices.is_empty());
}

#[test]
fn a_refer_is_asked_answered_and_followed() {
    let (mut it, _) = Inside::talking("");
    for (more, expected) in [
        ("", 400),
        ("Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
        ("Refer-To: <<\r\n", 400),
        ("Refer-To: <http://a.cn/>\r\n", 416),
    ] {
        assert_eq!(it.status("REFER", more), expected, "{more}");
    }
    assert_eq!(it.send("REFER", "Refer-To: <sip:1002@fz.cn?Subject=x>\r\nReferred-By: <sip:1001@fz.cn>\r\n"), "");
    let Some(Notice::Referred(asked)) = it.bench.notices.pop() else { panic!() };
    assert_eq!((asked.leg, &*asked.to, &*asked.number), (it.leg, "sip:1002@fz.cn", "1002"));
    assert_eq!((asked.by.as_deref(), asked.attended, asked.replaces), (Some("sip:1001@fz.cn"), false, None));
    let (leg, refer) = (it.leg, asked.refer);
    let sent = it.act(Action::AnswerRefer { leg, refer, status: 202 });
    assert_eq!(status(&sent[0]), 202);
    assert!(sent[1].starts_with("NOTIFY ") && body(&sent[1]) == "SIP/2.0 100 Trying\r\n", "{}", sent[1]);
    assert_eq!(header(&sent[1], "Event"), [format!("refer;id={refer}")]);
    assert_eq!(header(&sent[1], "Subscription-State"), ["active;expires=60"]);
    assert_eq!(header(&sent[1], "Content-Type"), ["message/sipfrag;version=2.0"]);
    it.act(Action::ReferProgress { leg, refer, status: 180 });
    let last = it.act(Action::ReferProgress { leg, refer, status: 200 });
    assert_eq!(header(&last[0], "Subscription-State"), ["terminated;reason=noresource"]);
    assert_eq!(body(&last[0]), "SIP/2.0 200 OK\r\n");
    assert!(it.act(Action::ReferProgress { leg, refer, status: 200 }).is_empty(), "it was the last");
    // Without a subscription, and refused.
    for (more, answer, expected) in [("Refer-Sub: false\r\n", 202, 202), ("", 603, 603), ("", 99, 603)] {
        it.send("REFER", &format!("Refer-To: <tel:+8613800138000>\r\n{more}"));
        let Some(Notice::Referred(asked)) = it.bench.notices.pop() else { panic!() };
        assert_eq!(&*asked.number, "+8613800138000");
        let sent = it.act(Action::AnswerRefer { leg, refer: asked.refer, status: answer });
        assert_eq!((sent.len(), status(&sent[0])), (1, expected));
        assert_eq!(header(&sent[0], "Refer-Sub").len(), usize::from(expected == 202));
    }
    // One that nobody answers is answered for the call, and does not outlive the dialog.
    it.send("REFER", "Refer-To: <sip:1002@fz.cn>\r\n");
    assert!(it.pass(31_900).iter().all(|text| !text.contains("REFER")));
    assert!(it.pass(200).iter().any(|text| text.starts_with("SIP/2.0 500") && text.contains("REFER")));
    it.send("REFER", "Refer-To: <sip:1002@fz.cn>\r\n");
    assert_eq!(it.status("BYE", ""), 481, "to the REFER, behind the 200 to the BYE");
    it.is_over();
}

#[test]
fn a_dialog_is_replaced_by_its_own_far_side_only() {
    let (mut it, ok) = Inside::talking("");
    let tag = header(&ok, "To")[0].split("tag=").nth(1).unwrap().to_owned();
    let named = |from: &str, more: &str| format!("Replaces: d;to-tag={tag};from-tag={from}{more}\r\n");
    for (more, expected) in [
        (named("other", ""), 481),
        (named("f1", ";early-only"), 486),
        (named("f1", "") + &named("f1", ""), 400),
        (named("f1", "") + "Join: d;to-tag=a;from-tag=b\r\n", 400),
    ] {
        assert_eq!(it.bench.status(TRUNK, "INVITE", &more), expected, "{more}");
    }
    assert_eq!(it.bench.status(TRUNK, "INVITE", &named("f1", "")), 100);
    let Some(Notice::Incoming(new)) = it.bench.notices.pop() else { panic!() };
    assert_eq!(new.about.replaces, Some(it.leg));
    // A phone that proved itself is not the trunk.
    let challenged = it.bench.send(PHONE, "INVITE", &named("f1", "")).pop().unwrap().1;
    let nonce = challenged.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let given = ("1001", "fz.cn", "pw");
    let proof = super::digest::tests::answer(
        super::digest::Algorithm::Md5,
        given,
        ("INVITE", "sip:1001@fz.cn"),
        &nonce,
        Some(1),
    );
    let more = format!("{}Authorization: {proof}\r\n", named("f1", ""));
    assert_eq!(it.bench.status(PHONE, "INVITE", &more), 403);
    it.act(Action::HangUp { leg: it.leg, q850: 16 });
    assert_eq!(it.bench.status(TRUNK, "INVITE", &named("f1", "")), 603, "its BYE is out");
}

#[test]
fn an_invite_is_good_as_long_as_it_says() {
    let (mut it, _) = Inside::ringing("Expires: 5\r\n", 180, None);
    assert!(it.pass(4_900).is_empty());
    assert_eq!(status(&it.pass(200)[0]), 487);
    assert_eq!(it.bench.notices, [Notice::Ended { leg: it.leg, why: Ending::Ours }]);
}

fn reliable(who: usize) -> Settings {
    let mut settings = super::wire::settings(who);
    settings.trunks[0].provisionals = Provisionals::Supported;
    settings
}

fn brief(who: usize) -> Settings {
    let session = SessionTimers { expires_s: 90, min_se_s: 90 };
    Settings { session, ..super::wire::settings(who) }
}

fn describes_early(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
    let respond = |leg, status, sdp| Action::Respond { leg, status, sdp, q850: None, retry_after_s: None };
    match notice {
        Notice::Incoming(it) => vec![
            (0, who, respond(it.leg, 180, None)),
            (10, who, respond(it.leg, 183, Some(ANSWER))),
            (1_000, who, respond(it.leg, 200, Some(ANSWER))),
        ],
        Notice::Answered { leg, .. } => vec![(2_000, who, Action::HangUp { leg: *leg, q850: 16 })],
        _ => Vec::new(),
    }
}

/// Every single datagram and every pair of a call with reliable responses may be lost.
#[test]
fn reliable_calls_survive_any_loss() {
    let call = |lost: &[usize]| {
        let mut wire = Wire::under(reliable, 2, describes_early as Plan);
        wire.lost = lost.to_vec();
        wire.dial(0, &[1]);
        wire.pass(400_000);
        wire
    };
    let whole = call(&[]);
    let methods: Vec<_> = whole.starts(0).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["INVITE", "PRACK", "PRACK", "ACK", "BYE"]);
    let sent = whole.sent.len();
    let singles = (0..sent).map(|lost| vec![lost]);
    let pairs = (0..sent).flat_map(|one| (one + 1..sent + 2).map(move |two| vec![one, two]));
    for lost in singles.chain(pairs) {
        let mut wire = call(&lost);
        assert_eq!(wire.ends(0), ["Ours"], "lost {lost:?}");
        assert_eq!(wire.ends(1), ["Bye { q850: Some(16) }"], "lost {lost:?}");
        let answered = Notice::Answered { leg: wire.leg_of(0), sdp: ANSWER };
        assert_eq!(wire.notices[0].iter().filter(|it| **it == answered).count(), 1, "lost {lost:?}");
        wire.settle();
    }
}

/// A session lives as long as it is refreshed, whichever datagram of a refresh is lost, and ends on both sides when the
/// wire is cut.
#[test]
fn sessions_live_while_refreshed() {
    fn answers(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)> {
        match notice {
            Notice::Incoming(it) => {
                let sdp = Some(ANSWER);
                vec![(0, who, Action::Respond { leg: it.leg, status: 200, sdp, q850: None, retry_after_s: None })]
            }
            _ => Vec::new(),
        }
    }
    for lost in 0..6 {
        let mut wire = Wire::under(brief, 2, answers);
        let leg = wire.dial(0, &[1]);
        wire.pass(1_000);
        wire.lost = vec![wire.sent.len() + lost];
        wire.pass(300_000);
        let updates: usize = [0, 1].iter().map(|who| updates(&wire, *who)).sum();
        assert!((6..=8).contains(&updates), "lost {lost}: {updates}");
        assert!(wire.ends(0).is_empty() && wire.ends(1).is_empty());
        if lost % 2 == 0 {
            wire.lost = (wire.sent.len()..wire.sent.len() + 500).collect();
            wire.pass(200_000);
            assert_eq!((wire.ends(0), wire.ends(1)), (vec!["Lost".into()], vec!["Lost".to_owned()]), "lost {lost}");
        } else {
            wire.ask(0, Action::HangUp { leg, q850: 16 });
        }
        wire.settle();
    }
}

fn updates(wire: &Wire, who: usize) -> usize {
    wire.starts(who).iter().filter(|line| line.starts_with("UPDATE")).count()
}

/// Mutants of everything that may come inside a dialog, and of INVITEs that name one: nothing panics, everything is
/// answered or dropped, and nothing is left.
#[test]
fn mutants_of_extended_requests_do_no_harm() {
    let mut mint = Mint::new(4, [8, 8]);
    let relay = "Content-Type: application/dtmf-relay\r\nContent-Length: 22\r\n\r\nSignal=5\r\nDuration=100";
    for round in 0..60 {
        let early = round % 2 == 0;
        let (mut it, first) = match early {
            true => Inside::ringing(&format!("Supported: 100rel\r\n{SDP}"), 183, Some(ANSWER)),
            false => Inside::talking("Supported: timer\r\nAllow: UPDATE\r\nSession-Expires: 90\r\n"),
        };
        let tag = header(&first, "To")[0].split("tag=").nth(1).unwrap().to_owned();
        let rack = header(&first, "RSeq").first().map_or_else(String::new, |rseq| format!("RAck: {rseq} 1 INVITE\r\n"));
        let replaces = format!("Replaces: d;to-tag={tag};from-tag=f1\r\n{SDP}");
        let refer = "Refer-To: <sip:1002@fz.cn?Replaces=d%3Bto-tag%3Da%3Bfrom-tag%3Db>\r\nReferred-By: <sip:a@b>\r\n";
        let kinds: [(&str, &str); 9] = [
            ("PRACK", &rack),
            ("UPDATE", ""),
            ("UPDATE", SDP),
            ("INVITE", SDP),
            ("INVITE", &replaces),
            ("REFER", refer),
            ("INFO", relay),
            ("INVITE", "Diversion: <sip:1@b>;reason=x\r\nHistory-Info: <sip:1@b?Reason=a%3Bcause%3D1>;index=1\r\n"),
            ("REGISTER", "Path: <sip:p;lr>\r\nSupported: path\r\n"),
        ];
        for step in 0..60 {
            let (method, more) = kinds[(mint.random() % kinds.len() as u64) as usize];
            it.cseq += 1;
            let inside = if mint.random().is_multiple_of(4) { String::new() } else { it.headers.clone() };
            let more = format!("{inside}CSeq: {} {method}\r\n{more}", it.cseq);
            let mut bytes = super::requests::request(method, TRUNK, 1_000 + step, &more).into_bytes();
            for _ in 0..mint.random() % 3 {
                super::flows::mutate(&mut bytes, &mut mint);
            }
            it.bench.raw(TRUNK, bytes);
            for notice in std::mem::take(&mut it.bench.notices) {
                it.react(notice, mint.random());
            }
            it.pass(mint.random() % 700);
        }
        for leg in it.bench.ua.legs().collect::<Vec<_>>() {
            it.act(Action::HangUp { leg, q850: 16 });
        }
        it.pass(1_000_000);
        assert_eq!(it.bench.ua.counts(), Counts::default(), "round {round}");
    }
}

impl Inside {
    /// What a call might do after a notice.
    fn react(&mut self, notice: Notice, roll: u64) {
        match notice {
            Notice::Reoffered { leg, .. } => {
                let answer = if roll.is_multiple_of(3) { Err(488) } else { Ok(ANSWER) };
                self.act(Action::AnswerReoffer { leg, answer });
            }
            Notice::Referred(asked) => {
                let status = if roll.is_multiple_of(2) { 202 } else { 603 };
                self.act(Action::AnswerRefer { leg: asked.leg, refer: asked.refer, status });
                self.act(Action::ReferProgress {
                    leg: asked.leg,
                    refer: asked.refer,
                    status: 100 + (roll % 500) as u16,
                });
            }
            Notice::Incoming(it) => {
                self.bench.event(respond(it.leg, [180, 183, 200, 486][(roll % 4) as usize], Some(ANSWER)));
            }
            Notice::Refresh { leg } => {
                self.act(Action::Reinvite { leg, sdp: ANSWER });
            }
            _ => {}
        }
    }
}

#[test]
fn what_a_restart_must_know_of_a_session_survives_it() {
    let (mut it, _) = Inside::talking("Allow: INVITE, UPDATE\r\nSupported: timer\r\nx: 90;refresher=uas\r\n");
    it.send("REFER", "Refer-To: <sip:1002@fz.cn>\r\n");
    let Some(Notice::Referred(asked)) = it.bench.notices.pop() else { panic!() };
    it.act(Action::AnswerRefer { leg: it.leg, refer: asked.refer, status: 202 });
    it.bench.restart();
    assert!(it.pass(44_000).iter().all(|text| !text.starts_with("UPDATE ")));
    assert!(it.pass(2_000).iter().any(|text| text.starts_with("UPDATE ")), "we still refresh, at the old time");
    let told = it.act(Action::ReferProgress { leg: it.leg, refer: asked.refer, status: 503 });
    assert_eq!(body(&told[0]), "SIP/2.0 503 Service Unavailable\r\n");
    // Version 1 knew nothing of all this.
    let mut old = serde_json::to_value(it.bench.ua.snapshot()).unwrap();
    old["version"] = 1.into();
    for name in ["updates", "session", "refers"] {
        old["legs"][0].as_object_mut().unwrap().remove(name);
    }
    let read: super::snapshot::Snapshot = serde_json::from_value(old).unwrap();
    assert_eq!((read.legs[0].updates, read.legs[0].session, read.legs[0].refers.len()), (false, None, 0));
}
