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
    /// Begins a request. [`Method::Other`] has no name and must not be sent.
    pub fn request(method: Method, uri: &Uri<'_>) -> Writer {
        debug_assert_ne!(method, Method::Other, "an unknown method has no name to be written");
        let mut writer = Writer {
            bytes: Vec::with_capacity(TYPICAL_BYTES),
        };
        writer.bytes.extend_from_slice(method.as_str().as_bytes());
        writer.bytes.push(b' ');
        writer.bytes.extend_from_slice(uri.as_bytes());
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
        let mut writer = Writer {
            bytes: Vec::with_capacity(TYPICAL_BYTES),
        };
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
    writer.line(Name::Warning, format_args!("399 jiesu \"{}\"", error.kind));
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
