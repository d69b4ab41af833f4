//! What a telephony engineer would try first with a packet generator: repetition, wrong order, questions.

use crate::support::hotline::{Hotline, folder, prompt};
use crate::support::phone::Phone;
use crate::support::sip::Client;
use std::time::{Duration, Instant};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";

fn citizen(hotline: &Hotline) -> Client {
    Client::new(hotline.engine.sip, "13800138000", "127.0.0.1")
}

fn tag_of(response: &crate::support::sip::Response) -> String {
    response.headers("To").next().unwrap().split("tag=").nth(1).expect("a To tag").to_owned()
}

#[test]
fn a_repeated_invite_is_one_call_and_its_200_is_repeated_until_the_ack() {
    let folder = folder();
    prompt(&folder, "fuzhou-greeting", 600.0, 20_000);
    let hotline = Hotline::start(folder);
    let mut citizen = citizen(&hotline);
    let invite = citizen.request("INVITE", "12345", "", SDP);
    let first = citizen.answer(invite);
    assert_eq!(first.status, 200);
    citizen.repeat("INVITE", "12345", SDP);
    let repeated = citizen.answer(invite);
    assert_eq!(repeated.text, first.text, "RFC 3261 §17.2.1 and §13.3.1.4: the same 200");
    // T1, then doubling (§13.3.1.4).
    let begin = Instant::now();
    let (second, third) = (citizen.answer(invite), citizen.answer(invite));
    assert_eq!((&second.text, &third.text), (&first.text, &first.text));
    assert!(begin.elapsed() >= Duration::from_millis(1_000), "{:?}", begin.elapsed());

    citizen.request("ACK", "12345", &tag_of(&first), "");
    let bye = citizen.request("BYE", "12345", &tag_of(&first), "");
    assert_eq!(citizen.answer(bye).status, 200);
    let calls = hotline.lead.until("/calls", |calls| calls["items"][0]["end_stage"] == "ivr");
    assert_eq!(calls["items"].as_array().unwrap().len(), 1, "one call: {calls}");
    // The dialog is gone, and with it every way to speak of it.
    let again = citizen.request("BYE", "12345", &tag_of(&first), "");
    assert_eq!(citizen.answer(again).status, 481);
    hotline.nothing_is_left();
}

#[test]
fn a_cancel_that_comes_after_the_200_changes_nothing() {
    let folder = folder();
    prompt(&folder, "fuzhou-greeting", 600.0, 20_000);
    let mut hotline = Hotline::start(folder);
    let mut citizen = citizen(&hotline);
    let invite = citizen.request("INVITE", "12345", "", SDP);
    let answered = citizen.answer(invite);
    citizen.request("ACK", "12345", &tag_of(&answered), "");
    let contact = hotline.events.call("ivr");
    // §9.2: after a final response a CANCEL has no effect, whatever it is answered.
    citizen.repeat("CANCEL", "12345", "");
    let options = citizen.request("OPTIONS", "12345", "", "");
    assert_eq!(citizen.answer(options).status, 200);
    assert_eq!(hotline.lead.read("/calls/live").body["items"][0]["contact"], *contact);
    let bye = citizen.request("BYE", "12345", &tag_of(&answered), "");
    assert_eq!(citizen.answer(bye).status, 200);
    assert_eq!(hotline.past(&contact).end(), ("ivr", "caller"));
    hotline.nothing_is_left();
}

#[test]
fn questions_and_mistakes_get_the_answers_of_the_rfc() {
    let hotline = Hotline::new();
    let mut stranger = citizen(&hotline);
    let unusable = SDP.replace("RTP/AVP 8", "RTP/AVP 18");
    let cases = [
        ("OPTIONS", "12345", "", "", 200, "Allow"),
        ("BYE", "12345", "nobody", "", 481, ""),
        ("INFO", "12345", "nobody", "", 481, ""),
        ("MESSAGE", "12345", "", "", 405, "Allow"),
        ("REFER", "12345", "", "", 403, ""),
        ("FROBNICATE", "12345", "", "", 501, "Allow"),
        ("INVITE", "12345", "", &unusable, 488, ""),
        ("INVITE", "12345", "nobody", SDP, 481, ""),
        ("INVITE", "no-number", "", SDP, 404, ""),
    ];
    for (method, number, tag, body, status, header) in cases {
        let sent = stranger.request(method, number, tag, body);
        let answer = stranger.answer(sent);
        assert_eq!(answer.status, status, "{method} {number} {tag}\n{}", answer.text);
        assert!(header.is_empty() || answer.headers(header).next().is_some(), "{method}: no {header}\n{}", answer.text);
        assert!(!tag_of(&answer).is_empty(), "§8.2.6.2: every answer beyond 100 has a To tag");
        if method == "INVITE" {
            stranger.request("ACK", number, &tag_of(&answer), "");
        }
    }
    hotline.nothing_is_left();
}

#[test]
fn a_carrier_with_every_extension_is_served() {
    let folder = folder();
    prompt(&folder, "fuzhou-greeting", 600.0, 20_000);
    let mut hotline = Hotline::start(folder);
    let citizen = hotline.citizen("citizen-of-a-carrier", &["-d", "300"]);
    // Its 0 came by INFO.
    let contact = hotline.events.call("queued");
    citizen.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("queued", "caller"));
    let place = "福建省 福州市 五四路";
    let call = &past.record["call"];
    assert_eq!(
        (call["original"].as_str(), call["diverted"].as_str()),
        (Some("12333"), Some("unconditional")),
        "{call}"
    );
    assert_eq!((call["emergency"].as_bool(), call["place"].as_str()), (Some(true), Some(place)), "{call}");
    let order = past.order.as_ref().expect("an order");
    assert_eq!((order["emergency"].as_bool(), order["place"].as_str()), (Some(true), Some(place)), "{order}");
    hotline.nothing_is_left();
}

/// RFC 3665 §3.7 with a phone that really is elsewhere afterwards.
#[test]
fn an_agents_phone_goes_on_at_another_address() {
    let mut hotline = Hotline::new();
    let mut agent = Phone::new(hotline.engine.sip, "1001", "fuzhou.12345.example", 0x21);
    let contact = agent.client.contact();
    assert_eq!(agent.client.sign_in(&[&contact], 600).status, 200);
    hotline.events.phone("1001", true);
    hotline.ready("1001");
    let mut citizen = Phone::new(hotline.engine.sip, "13800138000", "127.0.0.1", 0x22);
    citizen.dial("12345");
    agent.rings();
    agent.answers();
    let contact = hotline.events.call("talking");
    let before = agent.moves();
    agent.reoffers("sendrecv");
    citizen.hangs_up();
    agent.is_hung_up();
    before.set_nonblocking(true).unwrap();
    assert!(before.recv(&mut [0; 9_000]).is_err(), "nothing goes to where it was");
    assert_eq!(hotline.past(&contact).end(), ("talking", "caller"));
    hotline.nothing_is_left();
}

#[test]
fn an_agents_phone_that_speaks_no_codec_of_ours_is_passed_over() {
    let mut hotline = Hotline::new();
    let (deaf, willing) = (hotline.phone("1001"), hotline.phone("1002"));
    let first = hotline.behaves(&deaf, "agent-speaks-g729", &[]);
    let second = hotline.behaves(&willing, "agent-hangs-up", &["-d", "500"]);
    hotline.ready("1001");
    let citizen = hotline.citizen("citizen-waits", &[]);
    hotline.events.agent("1001", "not_ready");
    first.succeeds();
    hotline.want("1002", "ready");
    let contact = hotline.events.call("talking");
    citizen.succeeds();
    second.succeeds();
    let past = hotline.past(&contact);
    assert_eq!(past.end(), ("talking", "agent"));
    assert_eq!(past.attempts(), [("1001", "unreachable"), ("1002", "answered")]);
    hotline.nothing_is_left();
}
