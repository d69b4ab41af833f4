//! The messages of RFC 4475 (torture tests) and RFC 5118 (IPv6), shortened where only their length matters, and what each
//! means, section by section.

mod application;
mod invalid;
mod valid;

use super::message::Contact;
use super::parse::ParseError;
use super::uri::{Host, Scheme};
use super::via::Transport;
use super::write::refuse;
use super::{Message, Method, Name};
use application::APPLICATION;
use bytes::Bytes;
use invalid::INVALID;
use valid::{IPV6, VALID};

/// A torture message with its section, kept with bare line feeds; `tests/fuzz` mutates the same files.
pub(super) struct Torture {
    section: &'static str,
    text: &'static [u8],
}

/// As it stands on the wire: every line feed is CRLF.
fn wire(text: &[u8]) -> Bytes {
    text.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]).into()
}

/// Every message here.
fn all() -> impl Iterator<Item = &'static Torture> {
    VALID.iter().chain(IPV6).chain(INVALID.iter().map(|(torture, ..)| torture)).chain(APPLICATION)
}

fn read(text: &[u8]) -> Result<Message, ParseError> {
    Message::parse(wire(text))
}

fn message(name: &str) -> Message {
    let torture = all().find(|torture| torture.section == name).expect("a section that is in this module");
    read(torture.text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_valid_message_is_read() {
    for torture in VALID.iter().chain(IPV6).chain(APPLICATION) {
        let found = read(torture.text).map(|message| message.call_id().is_empty());
        assert_eq!(found.map_err(|error| error.kind), Ok(false), "{}", torture.section);
    }
}

#[test]
fn every_invalid_message_is_refused_or_dropped_for_its_reason() {
    for (torture, kind, refusable) in INVALID {
        let error = read(torture.text).map(|_| ()).expect_err(torture.section);
        assert_eq!((error.kind, error.refusable.is_some()), (*kind, *refusable), "{}", torture.section);
        let refusal = refuse(&error, "192.0.2.200:5060".parse().unwrap(), "t");
        assert_eq!(refusal.is_some(), *refusable, "{}", torture.section);
        let expected = format!("SIP/2.0 {} ", kind.status());
        assert!(refusal.is_none_or(|bytes| bytes.starts_with(expected.as_bytes())), "{}", torture.section);
    }
}

#[test]
fn blanks_folds_and_odd_case() {
    let wsinv = message("3.1.1.1");
    assert_eq!((wsinv.method(), wsinv.cseq().number, wsinv.max_forwards()), (Some(Method::Invite), 9, Some(68)));
    assert_eq!((wsinv.to().tag(), wsinv.from().tag()), (Some(&b"1918181833n"[..]), Some(&b"98asjd8"[..])));
    assert_eq!(&*wsinv.from().display_name(), br#"J Rosenberg \""#);
    let vias: Vec<_> = wsinv.vias().map(|via| (via.transport, via.branch().unwrap().to_vec())).collect();
    let expected = [
        (Transport::Udp, b"390skdjuw".to_vec()),
        (Transport::Tcp, b"z9hG4bK9ikj8".to_vec()),
        (Transport::Udp, b"z9hG4bK30239".to_vec()),
    ];
    assert_eq!(vias, expected);
    assert_eq!(wsinv.header(Name::Subject), Some(&b""[..]));
    assert_eq!(wsinv.other("newfangledheader"), Some(&b"newfangled value   continued newfangled value"[..]));
    assert!(wsinv.routes().next().unwrap().unwrap().uri.params.has("lr"));
    let Some(Ok(Contact::At(contact))) = wsinv.contacts().next() else { panic!("one contact") };
    assert_eq!(&*contact.display_name(), br#"Quoted string """#);
    assert_eq!(
        (contact.params.value("newparam"), contact.params.value("q")),
        (Some(&b"newvalue"[..]), Some(&b"0.33"[..]))
    );
    assert_eq!(wsinv.contacts().count(), 1);
    assert_eq!(wsinv.body().len(), 150);
}

#[test]
fn unusual_characters_and_escapes() {
    let intmeth = message("3.1.1.2");
    assert_eq!(intmeth.method(), Some(Method::Other));
    assert_eq!(intmeth.method_name(), Some(&b"!interesting-Method0123456789_*+`.%indeed'~"[..]));
    let uri = intmeth.request_uri().unwrap();
    assert_eq!(uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
    assert_eq!(uri.password, Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..]));
    assert_eq!(&*intmeth.to().display_name(), b"BEL:\x07 NUL:\0 DEL:\x7f");
    assert_eq!(intmeth.from().tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!((intmeth.cseq().number, intmeth.max_forwards()), (139_122_385, Some(255)));

    let esc01 = message("3.1.1.3");
    assert_eq!(esc01.request_uri().unwrap().user_text(), "sips:user@example.com");
    assert_eq!((esc01.to().uri.user_text(), esc01.from().uri.user_text()), ("user".into(), "I have spaces".into()));
    assert_eq!(esc01.sdp().as_deref(), Some(&b"v=0\r\n"[..]));

    let escnull = message("3.1.1.4");
    assert_eq!(escnull.to().uri.user_text(), "null-\0-null");
    assert_eq!(escnull.contacts().filter(Result::is_ok).count(), 2);

    // A method with percent signs is not REGISTER, and such a header is not Contact.
    let esc02 = message("3.1.1.5");
    assert_eq!((esc02.method(), esc02.contacts().count()), (Some(Method::Other), 2));
    assert_eq!(&*esc02.to().display_name(), b"%Z%45");
}

#[test]
fn the_other_valid_ones() {
    assert_eq!(&*message("3.1.1.6").from().display_name(), b"caller");
    let dblreq = message("3.1.1.8");
    assert_eq!((dblreq.method(), dblreq.body()), (Some(Method::Register), &b""[..]));
    let semiuri = message("3.1.1.9");
    assert_eq!(semiuri.request_uri().unwrap().user_text(), "user;par=u@example.net");
    assert_eq!(semiuri.values(Name::Accept).count(), 6);
    let transports: Vec<_> = message("3.1.1.10").vias().map(|via| via.transport).collect();
    let expected = [Transport::Udp, Transport::Sctp, Transport::Tls, Transport::Other, Transport::Tcp];
    assert_eq!(transports, expected);
    let mpart01 = message("3.1.1.11");
    assert!(mpart01.content_type().unwrap().is("multipart", "mixed"));
    assert_eq!((mpart01.sdp(), mpart01.body().ends_with(b"--7a9cbec02ceef655--\r\n")), (None, true));
    let unreason = message("3.1.1.12");
    assert_eq!((unreason.status(), unreason.method()), (Some(200), None));
    assert!(unreason.reason_phrase().unwrap().starts_with("= 2**3 * 5**2 но".as_bytes()));
    assert_eq!(message("3.1.1.13").reason_phrase(), Some(&b""[..]));
}

#[test]
fn long_values_are_read() {
    // §3.1.1.7: every part as long as it may be.
    let long = "extreme".repeat(140);
    let text = format!(
        "INVITE sip:user@example.com SIP/2.0\nTo: \"{long}\" <sip:user@example.com:6000;a={long};short;{long}>\n\
         F: sip:{long}@example.net;tag=1{long};u{long}=v{long};flag\nCall-ID: longreq.{long}\nCSeq: 3882340 INVITE\n\
         {long}: {long};;,\n{}Max-Forwards: 70\nContact: <sip:{long}@host5.example.net>\nl: 0\n\n",
        format!("v: SIP/2.0/TCP sip{long}.example.com;branch=z9hG4bK{long}\n").repeat(12)
    );
    let message = read(text.as_bytes()).unwrap();
    assert_eq!(&*message.to().display_name(), long.as_bytes());
    assert_eq!((message.vias().count(), message.to().uri.port), (12, Some(6000)));
    assert_eq!(message.from().tag(), Some(format!("1{long}").as_bytes()));
    assert!(message.to().uri.params.has(&long) && message.from().params.has("flag"));
    assert!(message.other(&long).is_some());
}

#[test]
fn addresses_of_ipv6() {
    let register = message("5118 4.1");
    assert_eq!(register.top_via().host, Host::Ip("2001:db8::9:1".parse().unwrap()));
    assert_eq!(register.request_uri().unwrap().host.unwrap().to_string(), "[2001:db8::10]");
    let bye = message("5118 4.5");
    // Without brackets around it, what looks like a port belongs to the address.
    assert_eq!(bye.request_uri().unwrap().port, None);
    assert_eq!(
        (bye.top_via().port, bye.top_via().params.value("received")),
        (Some(6050), Some(&b"2001:db8::9:255"[..]))
    );
    assert_eq!(bye.vias().nth(1).unwrap().params.value("received"), Some(&b"[2001:db8::9:255]"[..]));
}

#[test]
fn what_only_its_reader_can_judge() {
    assert!(message("3.1.2.13").contacts().next().unwrap().is_err());
    assert_eq!(message("3.1.2.14").to().uri.as_bytes(), b"sip:t.watson@example.org");
    assert_eq!(&*message("3.1.2.15").from().display_name(), b"Bell, Alexander");
    assert_eq!(message("3.2.1").top_via().branch(), Some(&b"z9hG4bK"[..]));
    assert_eq!(message("3.3.2").request_uri().unwrap().scheme, Scheme::Other);
    let unksm2 = message("3.3.4");
    assert_eq!((unksm2.to().uri.scheme, unksm2.from().uri.as_bytes()), (Scheme::Other, &b"http://www.example.com"[..]));
    let required: Vec<_> = message("3.3.5").require().map(<[u8]>::to_vec).collect();
    assert_eq!(required, [b"nothingSupportsThis".to_vec(), b"nothingSupportsThisEither".to_vec()]);
    assert_eq!(message("3.3.7").authorizations().count(), 0);
    let cparam01 = message("3.3.12");
    let Some(Ok(Contact::At(contact))) = cparam01.contacts().next() else { panic!("one contact") };
    assert_eq!((contact.params.has("unknownparam"), contact.uri.params.has("unknownparam")), (true, false));
    let regescrt = message("3.3.14");
    let Some(Ok(Contact::At(contact))) = regescrt.contacts().next() else { panic!("one contact") };
    assert_eq!(contact.uri.headers, b"Route=%3Csip:sip.example.com%3E");
    let old = message("3.4.1");
    assert_eq!((old.from().tag(), old.to().tag(), old.top_via().branch()), (None, None, None));
    assert_eq!(old.to().params.value("user"), Some(&b"phone"[..]));
}
