//! SIP messages, their headers, and what is written from them. What is read is read the same when routed, answered,
//! written and read again.

use super::corpus::{hotline, torture};
use super::mutate::{Kind, as_it_is};
use jiesu::base::number::mask;
use jiesu::sip::challenge::Challenge;
use jiesu::sip::credentials::Credentials;
use jiesu::sip::digest::Proof;
use jiesu::sip::event::Credential;
use jiesu::sip::frame::{Frame, frame};
use jiesu::sip::message::Contact;
use jiesu::sip::params::Params;
use jiesu::sip::parse::{HEADERS_MAX, MESSAGE_BYTES_MAX, VALUE_BYTES_MAX};
use jiesu::sip::route::Route;
use jiesu::sip::uri::User;
use jiesu::sip::write::{Writer, refuse};
use jiesu::sip::{Address, Message, Method, Name, Uri, Via, place, shown};
use std::net::{Ipv4Addr, SocketAddr};

/// Messages, with words that SIP gives a meaning to.
pub const SIP: Kind = Kind {
    text: true,
    words: &[
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "PRACK",
        "UPDATE",
        "SIP/2.0",
        "sip:",
        "tel:",
        "urn:service:sos",
        "branch",
        "tag",
        "rport",
        "received",
        "lr",
        "expires",
        "q",
        "Digest",
        "nonce",
        "100rel",
        "replaces",
        "multipart",
        "z9hG4bK",
        "*",
    ],
    repair: true_length,
};

/// Content-Length says how long the body is: else nearly no mutant's body would be looked at.
pub fn true_length(bytes: &mut Vec<u8>) {
    const NAME: &[u8] = b"Content-Length:";
    let Some(blank) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return };
    let Some(at) = bytes[..blank].windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)) else {
        return;
    };
    let start = at + NAME.len();
    let end = start + bytes[start..].iter().position(|byte| *byte == b'\r').unwrap_or(0);
    let length = format!(" {}", bytes.len() - blank - 4);
    bytes.splice(start..end, length.bytes());
}

/// A datagram from anybody.
pub fn message(bytes: &[u8]) {
    let route = Route::of(bytes, [1, 2]);
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
    match frame(bytes) {
        Frame::Message(length) | Frame::LineEnds(length) => assert!(0 < length && length <= bytes.len()),
        Frame::Partial | Frame::Lost => {}
    }
    match Message::parse(bytes.to_vec().into()) {
        Ok(message) => {
            assert!(!matches!(route, Route::KeepAlive | Route::Anywhere), "a sound message has a shard");
            read_all(&message);
            addresses(&message);
            answer(&message, source);
            rewrite(&message);
            challenges(&message);
        }
        Err(error) => {
            let refusal = refuse(&error, source, "tag");
            assert_eq!(refusal.is_some(), error.refusable.is_some());
        }
    }
}

/// Every accessor, whatever it finds.
fn read_all(message: &Message) {
    let _ = (message.request_uri().map(|uri| (uri.phone(), uri.is_service())), message.top_via().branch());
    let _ = (shown(&message.from().display_name()), message.to().uri.phone(), message.sdp());
    let _ = (message.expires_s(), message.max_forwards(), message.reason_q850(), message.rack());
    let _ = (message.number(Name::SessionExpires), message.params(Name::Replaces).value("to-tag"));
    let _ = (message.wants_privacy("id"), message.require().count(), message.content_type());
    message.part("application", "pidf+xml").iter().for_each(|document| location(document));
    let _ = message.lists(Name::Supported, "timer");
    assert!(
        message.contacts().flatten().all(|contact| contact.expires_s().is_none() || matches!(contact, Contact::At(_)))
    );
    for credentials in message.authorizations().chain(message.proxy_authorizations()) {
        let _ = Proof::read(&credentials).map(|proof| (proof.count(), credentials.nonce_count()));
    }
    assert!(message.bytes().len() <= MESSAGE_BYTES_MAX && message.headers().count() <= HEADERS_MAX);
}

/// Every header that holds addresses.
const ADDRESSES: [Name; 14] = [
    Name::From,
    Name::To,
    Name::Contact,
    Name::Route,
    Name::RecordRoute,
    Name::Path,
    Name::ReferTo,
    Name::ReferredBy,
    Name::PAssertedIdentity,
    Name::Diversion,
    Name::HistoryInfo,
    Name::Geolocation,
    Name::AlertInfo,
    Name::ReplyTo,
];

fn addresses(message: &Message) {
    for name in ADDRESSES {
        for address in message.addresses(name).flatten() {
            written_address(&address);
        }
    }
}

/// An address that we write is read as the same address.
fn written_address(address: &Address<'_>) {
    let uri = &address.uri;
    assert!(uri.equivalent(uri), "a URI equals itself: {uri}");
    let _ = mask(&uri.user_text());
    let (Ok(text), Ok(tag)) = (std::str::from_utf8(uri.as_bytes()), tag_text(address)) else { return };
    let display = address.display_name();
    let mut writer = Writer::response(200);
    writer.address(Name::Contact, &display, text, tag);
    let bytes = writer.finish();
    let value = header_value(&bytes, Name::Contact);
    if value.len() > VALUE_BYTES_MAX {
        return;
    }
    let read = Address::parse(value).unwrap_or_else(|error| panic!("{error}: {}", value.escape_ascii()));
    assert_eq!(read.display_name(), display, "{}", value.escape_ascii());
    assert_eq!(read.uri.as_bytes(), uri.as_bytes(), "{}", value.escape_ascii());
    assert!(read.uri.equivalent(uri));
    assert_eq!(read.tag(), tag.map(str::as_bytes), "{}", value.escape_ascii());
    written_user(&uri.user_text());
}

/// A tag that can be written as it is.
fn tag_text<'a>(address: &Address<'a>) -> Result<Option<&'a str>, std::str::Utf8Error> {
    let token = |tag: &&[u8]| tag.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte));
    address.tag().filter(token).map(std::str::from_utf8).transpose()
}

/// A user part that we write is read as the same text.
fn written_user(user: &str) {
    let uri = format!("sip:{}@fz.cn", User(user));
    let Ok(read) = Uri::parse(uri.as_bytes()) else {
        assert!(uri.len() > jiesu::sip::uri::URI_BYTES_MAX, "{uri}");
        return;
    };
    assert_eq!(read.user_text(), user, "{uri}");
}

/// The value of a header in what we wrote; the message itself is not whole.
fn header_value(bytes: &[u8], name: Name) -> &[u8] {
    let start = format!("{name}: ");
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    lines.find_map(|line| line.strip_prefix(start.as_bytes())).expect("it was written")
}

/// A response to a sound request is sound, and keeps what it must.
fn answer(request: &Message, source: SocketAddr) {
    if !request.is_request() || request.bytes().len() > MESSAGE_BYTES_MAX / 2 {
        return;
    }
    let bytes = Writer::reply(request, 180, source, "tag").finish();
    // A value near the limit may pass it with our tag.
    if request.headers().any(|(_, value)| value.len() >= VALUE_BYTES_MAX - 100) {
        return;
    }
    let response = Message::parse(bytes).expect("the response to a sound request is sound");
    assert_eq!(response.status(), Some(180));
    assert_eq!((response.call_id(), response.cseq()), (request.call_id(), request.cseq()));
    assert_eq!(response.from().tag(), request.from().tag());
    assert_eq!(response.to().tag(), request.to().tag().or(Some(b"tag")));
    assert_eq!(response.vias().count(), request.vias().count());
    assert_eq!(response.top_via().branch(), request.top_via().branch());
}

/// Name and value of every header but Content-Length, which the writer counts; Content-Type stands last with a body.
fn told(message: &Message) -> Vec<(String, &[u8])> {
    let known = |name: &[u8]| Name::parse(name).map_or_else(|| ascii(name), |name| name.as_str().to_ascii_lowercase());
    let headers = message.headers().map(|(name, value)| (known(name), value));
    let (last, mut first): (Vec<_>, Vec<_>) = headers
        .filter(|(name, _)| name != "content-length")
        .partition(|(name, _)| name == "content-type" && !message.body().is_empty());
    first.extend(last);
    first
}

fn ascii(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// Writes the message anew, header by header; `None` for what the writer has no way to say.
fn written(message: &Message) -> Option<bytes::Bytes> {
    let mut writer = match (message.method(), message.status()) {
        (Some(Method::Other), _) | (None, None) => return None,
        (Some(method), _) => Writer::request(method, &message.request_uri()?),
        (None, Some(status)) => Writer::response_with(status, std::str::from_utf8(message.reason_phrase()?).ok()?),
    };
    let mut content_type = None;
    for (name, value) in message.headers() {
        match Name::parse(name) {
            Some(Name::ContentLength) => {}
            Some(Name::ContentType) if !message.body().is_empty() => {
                content_type.replace(std::str::from_utf8(value).ok()?).is_none().then_some(())?;
            }
            Some(name) => drop(writer.header(name, value)),
            None => drop(writer.other(std::str::from_utf8(name).ok()?, value).expect("a name that was read")),
        }
    }
    match content_type {
        Some(content_type) => Some(writer.body(content_type, message.body())),
        None if message.body().is_empty() => Some(writer.finish()),
        None => None,
    }
}

/// What is written from a message is read as the same message, and written from that it is the same bytes.
fn rewrite(message: &Message) {
    let Some(bytes) = written(message).filter(|bytes| bytes.len() <= MESSAGE_BYTES_MAX) else { return };
    if message.headers().count() == HEADERS_MAX {
        return;
    }
    let again = Message::parse(bytes.clone()).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
    assert_eq!((again.method(), again.status()), (message.method(), message.status()));
    assert_eq!(again.reason_phrase(), message.reason_phrase());
    assert_eq!(again.request_uri().map(|uri| uri.to_string()), message.request_uri().map(|uri| uri.to_string()));
    assert_eq!((again.body(), told(&again)), (message.body(), told(message)));
    assert_eq!(written(&again).expect("it was written before"), bytes, "writing is stable");
}

/// An answer to a challenge is one that the challenger's own arithmetic takes.
fn challenges(response: &Message) {
    let Some(challenge) = Challenge::of(response) else { return };
    let credential = Credential::new("1101", challenge.realm(), "secret");
    let answer = challenge.answer(&credential, "REGISTER", "sip:fz.cn", 2, 7);
    let read = Credentials::parse(answer.as_bytes()).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(read.realm, challenge.realm().as_bytes(), "{answer}");
    let proof = Proof::read(&read).unwrap_or_else(|| panic!("no proof: {answer}"));
    assert!(proof.holds(b"REGISTER", &credential), "{answer}");
}

/// Values of headers by themselves: every line of the input is one, whatever header it belongs to.
pub fn headers(bytes: &[u8]) {
    for line in bytes.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let value = line.iter().position(|byte| *byte == b':').map_or(line, |colon| &line[colon + 1..]);
        for text in [line, value.trim_ascii()] {
            if let Ok(address) = Address::parse(text) {
                written_address(&address);
            }
            if let Ok(uri) = Uri::parse(text) {
                let _ = (uri.phone(), uri.service(), uri.user_text());
                assert!(uri.equivalent(&uri));
            }
            let _ = Via::parse(text).map(|via| (via.branch().is_some(), via.params.iter().count()));
            let params = Params::new(text);
            assert!(params.iter().all(|(name, value)| value.is_none_or(|value| name.len() + value.len() < text.len())));
            if let Ok(credentials) = Credentials::parse(text) {
                let _ = Proof::read(&credentials).map(|proof| proof.count());
            }
            let _ = (Name::parse(text), Method::parse(text), shown(text));
        }
    }
}

/// A location object: one short line for people, or none.
pub fn location(bytes: &[u8]) {
    if let Some(line) = place::line(bytes) {
        assert!((1..=place::LINE_CHARS_MAX).contains(&line.chars().count()), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

const XML: Kind = Kind {
    text: true,
    words: &[
        "<pos>",
        "</pos>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]>",
        "&b;",
        "&#0;",
        "&#x41;",
        "<![CDATA[",
        "]]>",
        "NaN",
        "1e400",
    ],
    repair: as_it_is,
};

/// A civic address and a circle, a point, a tower of elements.
fn locations() -> Vec<Vec<u8>> {
    let object = |info: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             xmlns:gp=\"urn:ietf:params:xml:ns:pidf:geopriv10\" xmlns:gml=\"http://www.opengis.net/gml\" \
             xmlns:ca=\"urn:ietf:params:xml:ns:pidf:geopriv10:civicAddr\" entity=\"pres:a@fj.cn\">\n<tuple id=\"1\">\n\
             <status>\n<gp:geopriv>\n<gp:location-info>\n{info}\n</gp:location-info>\n</gp:geopriv>\n</status>\n\
             </tuple>\n</presence>\n"
        )
    };
    let civic = "<ca:civicAddress>\n<ca:A1>\u{798f}\u{5efa}\u{7701}</ca:A1>\n<ca:RD>\u{4e94}\u{56db}\u{8def}</ca:RD>\n\
        <ca:HNO>1</ca:HNO>\n</ca:civicAddress>\n<gs:radius xmlns:gs=\"x\" uom=\"urn:ogc:def:uom:EPSG::9001\">30</gs:radius>";
    let point = "<gml:Point srsName=\"urn:ogc:def:crs:EPSG::4326\">\n<gml:pos>26.08 119.30</gml:pos>\n</gml:Point>";
    let tower = object(&format!("{}{}", "<b>\n".repeat(300), "</b>\n".repeat(300)));
    vec![object(&format!("{civic}\n{point}")).into_bytes(), object(point).into_bytes(), tower.into_bytes()]
}

fn corpus() -> Vec<Vec<u8>> {
    torture().into_iter().chain(hotline()).collect()
}

#[test]
fn no_message_breaks_anything() {
    super::fuzz(&SIP, &corpus(), 60_000, message);
}

#[test]
fn no_header_breaks_anything() {
    super::fuzz(&SIP, &corpus(), 10_000, headers);
}

#[test]
fn no_location_breaks_anything() {
    assert!(locations()[..2].iter().all(|document| place::line(document).is_some()));
    super::fuzz(&XML, &locations(), 10_000, location);
}

#[test]
fn every_message_of_the_hotline_is_sound() {
    for bytes in hotline() {
        let shown = bytes.escape_ascii().to_string();
        let message = Message::parse(bytes.into()).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert!(written(&message).is_some(), "{shown}");
    }
}
