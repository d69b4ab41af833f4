//! Writes messages: requests, responses, and responses from the request they answer (RFC 3261 §7, §8.2.6, §18.2.1).
//!
//! Writes nothing that [`Message::parse`] would not read: start lines come from parsed URIs and known statuses, the body's
//! length is counted here, and a line break inside a value is written as blanks, the meaning §7.3.1 gives to folding, so
//! that no value can begin another header.

use super::address::Address;
use super::lex;
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::parse::{ParseError, Refusable};
use super::status::reason_phrase;
use super::uri::{Uri, is_uri_byte};
use super::via::Via;
use bytes::Bytes;
use core::fmt::{self, Write as _};
use std::net::SocketAddr;

/// What most messages fit in, so that the buffer grows at most once or twice.
const TYPICAL_BYTES: usize = 1024;

/// A message in the making: headers in the order they are given, then a body or none.
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// A header name that is not a token (RFC 3261 §7.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header name")]
pub struct NameError;

impl Writer {
    /// Begins a request; headers of `uri` are left out (RFC 3261 §19.1.1). [`Method::Other`] has no name and must not be sent.
    pub fn request(method: Method, uri: &Uri<'_>) -> Writer {
        debug_assert_ne!(method, Method::Other, "an unknown method has no name to be written");
        let mut writer = Writer { bytes: Vec::with_capacity(TYPICAL_BYTES) };
        writer.bytes.extend_from_slice(method.as_str().as_bytes());
        writer.bytes.push(b' ');
        writer.bytes.extend_from_slice(uri.without_headers());
        writer.bytes.extend_from_slice(b" SIP/2.0\r\n");
        writer
    }

    /// Begins a response with the standard reason phrase. `status` is 100–699.
    pub fn response(status: u16) -> Writer {
        Writer::response_with(status, reason_phrase(status))
    }

    /// Begins a response with a reason phrase of its own. `status` is 100–699.
    pub fn response_with(status: u16, reason: &str) -> Writer {
        debug_assert!((100..700).contains(&status), "a status is 100 to 699");
        let mut writer = Writer { bytes: Vec::with_capacity(TYPICAL_BYTES) };
        writer.text(format_args!("SIP/2.0 {status} {reason}"));
        writer.end_line();
        writer
    }

    /// Begins the response to `request`, which came from `source`: all Vias in order, the topmost completed with
    /// `received` and `rport` (§18.2.1, RFC 3581 §4), From, To, Call-ID and CSeq (§8.2.6.2).
    ///
    /// `tag` is our To tag; it is added when the request has none and the response is not a 100. A response that creates
    /// a dialog carries the request's Record-Route (§12.1.1), a 100 its Timestamp (§8.2.6.1).
    pub fn reply(request: &Message, status: u16, source: SocketAddr, tag: &str) -> Writer {
        let mut writer = Writer::response(status);
        writer.copy_identity(request, status, source, tag);
        let creates_dialog = match request.method() {
            Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify) => (101..300).contains(&status),
            _ => false,
        };
        if creates_dialog {
            for line in request.lines(Name::RecordRoute) {
                writer.header(Name::RecordRoute, line);
            }
        }
        if let (100, Some(timestamp)) = (status, request.header(Name::Timestamp)) {
            writer.header(Name::Timestamp, timestamp);
        }
        writer
    }

    fn copy_identity(&mut self, request: &Message, status: u16, source: SocketAddr, tag: &str) {
        self.copy_vias(request, source);
        self.header(Name::From, request.header(Name::From).unwrap_or_default());
        let to = request.header(Name::To).unwrap_or_default();
        let untagged = Address::parse(to).is_ok_and(|to| to.tag().is_none());
        self.name(Name::To.as_str());
        self.value(to);
        if untagged && status != 100 {
            self.text(format_args!(";tag={tag}"));
        }
        self.end_line();
        self.header(Name::CallId, request.call_id());
        self.header(Name::CSeq, request.header(Name::CSeq).unwrap_or_default());
    }

    fn copy_vias(&mut self, request: &Message, source: SocketAddr) {
        let mut vias = request.values(Name::Via);
        if let Some(Ok(top)) = vias.next().map(Via::parse) {
            self.completed_via(&top, source);
        }
        for via in vias {
            self.header(Name::Via, via);
        }
    }

    /// `received` is written when the sender's address differs from sent-by or when it asked for `rport`; what the sender
    /// claims in its place is dropped.
    fn completed_via(&mut self, via: &Via<'_>, source: SocketAddr) {
        let wants_port = via.params.has("rport");
        let ip = source.ip().to_canonical();
        self.name(Name::Via.as_str());
        self.value(via.sent);
        for (name, value) in via.params.iter() {
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            self.bytes.push(b';');
            self.value(name);
            if let Some(value) = value {
                self.bytes.push(b'=');
                self.value(value);
            }
        }
        if wants_port || via.host.ip() != Some(ip) {
            self.text(format_args!(";received={ip}"));
        }
        if wants_port {
            self.text(format_args!(";rport={}", source.port()));
        }
        self.end_line();
    }

    /// Adds a header. Content-Length is counted, never told.
    pub fn header(&mut self, name: Name, value: impl AsRef<[u8]>) -> &mut Writer {
        self.name(name.as_str());
        self.value(value.as_ref());
        self.end_line()
    }

    /// Adds a header whose value is formatted in place.
    pub fn line(&mut self, name: Name, value: fmt::Arguments<'_>) -> &mut Writer {
        self.name(name.as_str());
        self.text(value);
        self.end_line()
    }

    /// Adds a header by a name of its own.
    ///
    /// # Errors
    /// [`NameError`] when `name` is not a token or is Content-Length; nothing is added then.
    pub fn other(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<&mut Writer, NameError> {
        if !lex::is_token(name.as_bytes()) || Name::parse(name.as_bytes()) == Some(Name::ContentLength) {
            return Err(NameError);
        }
        self.name(name);
        self.value(value.as_ref());
        Ok(self.end_line())
    }

    /// Adds an address: display name (quoted and escaped; none when empty), URI in brackets, tag. What no URI can have is
    /// escaped.
    pub fn address(&mut self, name: Name, display: &[u8], uri: impl fmt::Display, tag: Option<&str>) -> &mut Writer {
        self.name(name.as_str());
        if !display.is_empty() {
            self.bytes.push(b'"');
            for &byte in display {
                if matches!(byte, b'"' | b'\\') {
                    self.bytes.push(b'\\');
                }
                self.bytes.push(visible(byte));
            }
            self.bytes.extend_from_slice(b"\" ");
        }
        self.bytes.push(b'<');
        // Writing to memory cannot fail; a failing `Display` would leave a shorter URI.
        let _ = write!(InUri(&mut self.bytes), "{uri}");
        self.bytes.push(b'>');
        if let Some(tag) = tag {
            self.text(format_args!(";tag={tag}"));
        }
        self.end_line()
    }

    /// Ends the message without a body.
    pub fn finish(self) -> Bytes {
        self.end(&[])
    }

    /// Ends the message with a body of that type.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Bytes {
        self.header(Name::ContentType, content_type);
        self.end(body)
    }

    fn end(mut self, body: &[u8]) -> Bytes {
        self.line(Name::ContentLength, format_args!("{}", body.len()));
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(body);
        self.bytes.into()
    }

    fn name(&mut self, name: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
    }

    fn value(&mut self, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        if lex::breaks_line(value) {
            self.bytes[start..].iter_mut().for_each(|byte| *byte = visible(*byte));
        }
    }

    fn text(&mut self, text: fmt::Arguments<'_>) {
        // Writing to memory cannot fail; a failing `Display` would leave a shorter value.
        let _ = InLine(&mut self.bytes).write_fmt(text);
    }

    fn end_line(&mut self) -> &mut Writer {
        self.bytes.extend_from_slice(b"\r\n");
        self
    }
}

/// The answer to a malformed request, when it can have one.
pub fn refuse(error: &ParseError, source: SocketAddr, tag: &str) -> Option<Bytes> {
    let Refusable(request) = error.refusable.as_deref()?;
    let mut writer = Writer::response(error.kind.status());
    writer.copy_identity(request, error.kind.status(), source, tag);
    writer.line(Name::Warning, format_args!("399 sip \"{}\"", error.kind));
    Some(writer.finish())
}

/// Formats into one header line.
struct InLine<'a>(&'a mut Vec<u8>);

impl fmt::Write for InLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes().map(visible));
        Ok(())
    }
}

/// Formats between the angle brackets of an address.
struct InUri<'a>(&'a mut Vec<u8>);

impl fmt::Write for InUri<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if is_uri_byte(byte) {
                self.0.push(byte);
            } else {
                write!(InLine(self.0), "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// A line break becomes a blank.
const fn visible(byte: u8) -> u8 {
    match byte {
        b'\r' | b'\n' => b' ',
        _ => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mint;
    use crate::sip::route::Marks;
    use crate::sip::uri::User;
    use rsip::prelude::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    fn read(bytes: &Bytes) -> Message {
        Message::parse(bytes.clone()).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
    }

    fn invite(via: &str, to: &str) -> Message {
        let mut writer = Writer::request(Method::Invite, &uri("sip:12345@10.0.0.1"));
        writer.header(Name::Via, via).header(Name::Via, "SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKb");
        writer.address(Name::From, "张三".as_bytes(), "sip:1001@a", Some("f1")).header(Name::To, to);
        writer.header(Name::CallId, "c@x").line(Name::CSeq, format_args!("{} {}", 7, Method::Invite));
        writer.header(Name::RecordRoute, "<sip:p1;lr>, <sip:p2;lr>").header(Name::RecordRoute, "<sip:p3;lr>");
        writer.header(Name::Timestamp, "54.2");
        read(&writer.body("application/sdp", b"v=0\r\n"))
    }

    fn reply(request: &Message, status: u16, source: &str) -> Message {
        read(&Writer::reply(request, status, source.parse().unwrap(), "t1").finish())
    }

    #[test]
    fn a_request_to_a_contact_with_headers_is_sound() {
        let mut writer = Writer::request(Method::Bye, &uri("sip:x@b:5060?Subject=a"));
        writer.header(Name::Via, "SIP/2.0/UDP a").header(Name::From, "<sip:1@a>;tag=f").header(Name::To, "<sip:2@b>");
        writer.header(Name::CallId, "c").header(Name::CSeq, "1 BYE");
        assert_eq!(read(&writer.finish()).request_uri().unwrap().to_string(), "sip:x@b:5060");
    }

    #[test]
    fn the_top_via_is_completed_from_the_source() {
        let cases = [
            ("SIP/2.0/UDP 10.0.0.2:5070;branch=z9hG4bKa", "10.0.0.2:5070", ";branch=z9hG4bKa"),
            ("SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKa", "10.0.0.3:9", ";branch=z9hG4bKa;received=10.0.0.3"),
            ("SIP/2.0/UDP pc.a;branch=z9hG4bKa", "10.0.0.3:9", ";branch=z9hG4bKa;received=10.0.0.3"),
            ("SIP/2.0/UDP 10.0.0.2;rport;branch=z9hG4bKa", "10.0.0.2:6", ";branch=z9hG4bKa;received=10.0.0.2;rport=6"),
            ("SIP/2.0/UDP 10.0.0.2;received=1.1.1.1;rport=9", "10.0.0.2:6", ";received=10.0.0.2;rport=6"),
            ("SIP/2.0/UDP 10.0.0.2;received=1.1.1.1;x", "10.0.0.2:6", ";x"),
            ("SIP/2.0/WS df7j.invalid;branch=z9hG4bKa", "[2001:db8::9]:6", ";branch=z9hG4bKa;received=2001:db8::9"),
            ("SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKa", "[::ffff:10.0.0.2]:6", ";branch=z9hG4bKa"),
        ];
        for (via, source, params) in cases {
            let response = reply(&invite(via, "<sip:2@b>"), 200, source);
            let sent = via.split(';').next().unwrap();
            assert_eq!(response.header(Name::Via), Some(format!("{sent}{params}").as_bytes()), "{via}");
            assert_eq!(response.vias().nth(1).unwrap().branch(), Some(&b"z9hG4bKb"[..]));
        }
    }

    #[test]
    fn a_response_copies_what_it_must_and_no_more() {
        let request = invite("SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKa", "\"B\" <sip:2@b>");
        let trying = reply(&request, 100, "10.0.0.2:5060");
        assert_eq!((trying.to().tag(), trying.header(Name::Timestamp)), (None, Some(&b"54.2"[..])));
        assert_eq!(trying.record_routes().count(), 0);
        let ringing = reply(&request, 180, "10.0.0.2:5060");
        assert_eq!((ringing.to().tag(), ringing.header(Name::Timestamp)), (Some(&b"t1"[..]), None));
        assert_eq!((ringing.record_routes().count(), ringing.cseq()), (3, request.cseq()));
        assert_eq!(ringing.header(Name::From), request.header(Name::From));
        let busy = reply(&request, 486, "10.0.0.2:5060");
        assert_eq!((busy.record_routes().count(), busy.reason_phrase()), (0, Some(&b"Busy Here"[..])));
        let inside = reply(&invite("SIP/2.0/UDP 10.0.0.2", "<sip:2@b>;tag=old"), 200, "10.0.0.2:5060");
        assert_eq!(inside.to().tag(), Some(&b"old"[..]));
    }

    #[test]
    fn no_value_can_begin_another_header() {
        let evil = "x\r\nVia: SIP/2.0/UDP evil\r\n\r\nbody";
        let mut writer = Writer::request(Method::Message, &uri("sip:2@b"));
        writer.header(Name::Via, "SIP/2.0/UDP a").address(
            Name::From,
            evil.as_bytes(),
            format_args!("sip:1@a;x={evil}"),
            Some(evil),
        );
        writer.address(Name::To, br#"a"b\"#, "sip:2@b;x=>;tag=evil", None).header(Name::CallId, "c");
        writer
            .line(Name::CSeq, format_args!("1 MESSAGE"))
            .header(Name::Subject, evil)
            .line(Name::Date, format_args!("{evil}"));
        assert_eq!(writer.other("X:Y", "z").map(|_| ()), Err(NameError));
        assert_eq!(writer.other("l", "9").map(|_| ()), Err(NameError));
        assert_eq!(writer.other("", "9").map(|_| ()), Err(NameError));
        writer.other("X-Z", evil).unwrap();
        let bytes = writer.finish();
        assert_eq!(memchr::memmem::find_iter(&bytes, b"\r\n").count(), 11);
        let message = read(&bytes);
        assert_eq!(message.vias().count(), 1);
        assert_eq!(message.header(Name::Subject), Some(&b"x  Via: SIP/2.0/UDP evil    body"[..]));
        assert_eq!(
            message.from().uri.params.value("x"),
            Some(&b"x%0D%0AVia:%20SIP/2.0/UDP%20evil%0D%0A%0D%0Abody"[..])
        );
        assert_eq!((&*message.to().display_name(), message.to().tag()), (&br#"a"b\"#[..], None));
        assert_eq!(message.to().uri.as_bytes(), b"sip:2@b;x=%3E;tag=evil");
    }

    #[test]
    fn what_is_written_is_read_back() {
        const NAMES: [Name; 6] =
            [Name::Subject, Name::UserAgent, Name::Organization, Name::Server, Name::Date, Name::Priority];
        let mut mint = Mint::new(0, [5, 6]);
        for _ in 0..2000 {
            let number = u32::try_from(mint.random() >> 33).unwrap();
            let call_id = Marks::new(1, crate::base::ShardId(2), mint.clone()).call_id();
            let mut writer = Writer::request(Method::Info, &uri("sip:2@b;x=y"));
            writer.header(Name::Via, "SIP/2.0/TCP a:1;branch=z9hG4bK1");
            let display: Vec<u8> = (0..mint.random() % 20).map(|_| value_byte(&mut mint)).collect();
            writer.address(Name::From, &display, "sip:1@a", Some("f")).address(Name::To, b"", "tel:+86591", None);
            writer.header(Name::CallId, &*call_id).line(Name::CSeq, format_args!("{number} INFO"));
            let values: Vec<Vec<u8>> =
                NAMES.map(|_| (0..mint.random() % 60).map(|_| value_byte(&mut mint)).collect()).to_vec();
            for (name, value) in NAMES.iter().zip(&values) {
                writer.header(*name, value);
            }
            let body: Vec<u8> = (0..mint.random() % 100).map(|_| mint.random().to_le_bytes()[0]).collect();
            let message = read(&writer.body("application/octet-stream", &body));
            assert_eq!((message.cseq().number, message.call_id()), (number, call_id.as_bytes()));
            assert_eq!((message.body(), &*message.from().display_name()), (&body[..], &display[..]));
            for (name, value) in NAMES.iter().zip(&values) {
                assert_eq!(message.header(*name), Some(value.trim_ascii()), "{name}");
            }
        }
    }

    /// Any byte but a line break.
    fn value_byte(mint: &mut Mint) -> u8 {
        match mint.random().to_le_bytes()[0] {
            b'\r' | b'\n' => b'"',
            byte => byte,
        }
    }

    #[test]
    fn another_stack_reads_what_we_write() {
        let mut writer = Writer::request(Method::Invite, &uri("sip:1001@10.0.0.9:5062"));
        writer.header(Name::Via, "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKjs01;rport").header(Name::MaxForwards, "70");
        writer.address(Name::From, b"Hot \"line\"", "sip:13800138000@fz.12345", Some("js1"));
        writer.address(Name::To, b"", format_args!("sip:{}@fz.12345", User("1001")), None);
        writer.header(Name::CallId, "c1").line(Name::CSeq, format_args!("1 INVITE"));
        writer.header(Name::Contact, "<sip:10.0.0.1:5060>").header(Name::Allow, "INVITE, ACK, BYE, CANCEL");
        let bytes = writer.body("application/sdp", b"v=0\r\n");
        let theirs = rsip::Request::try_from(bytes.as_ref()).unwrap();
        assert_eq!((theirs.method, theirs.uri.to_string()), (rsip::Method::Invite, "sip:1001@10.0.0.9:5062".into()));
        assert_eq!(theirs.call_id_header().unwrap().value(), "c1");
        assert_eq!(theirs.from_header().unwrap().tag().unwrap().unwrap().value(), "js1");
        assert_eq!(theirs.to_header().unwrap().uri().unwrap().auth.unwrap().user, "1001");
        assert_eq!(theirs.via_header().unwrap().typed().unwrap().branch().unwrap().value(), "z9hG4bKjs01");
        assert_eq!(theirs.max_forwards_header().unwrap().num().unwrap(), 70);
        assert_eq!(theirs.body, b"v=0\r\n");

        let response = Writer::reply(&read(&bytes), 180, "10.0.0.1:5060".parse().unwrap(), "t9").finish();
        let theirs = rsip::Response::try_from(response.as_ref()).unwrap();
        assert_eq!((theirs.status_code.code(), theirs.cseq_header().unwrap().seq().unwrap()), (180, 1));
        assert_eq!(theirs.to_header().unwrap().tag().unwrap().unwrap().value(), "t9");
        assert_eq!(theirs.via_header().unwrap().typed().unwrap().received().unwrap().unwrap().to_string(), "10.0.0.1");
    }
}
