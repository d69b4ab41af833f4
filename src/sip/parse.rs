//! From bytes to [`Message`]: one scan that finds the start line, every header and the body (RFC 3261 §7, §18.3).
//!
//! Tolerant where meaning is not in doubt (bare LF, blanks before a colon, bytes that are not UTF-8, anything behind the
//! body), strict in what every element needs: Via, From, To, Call-ID, CSeq, Max-Forwards and Content-Length. All other
//! headers are looked at when asked for, because an element ignores what it does not need (RFC 3261 §16.3).

use super::address::Address;
use super::lex;
use super::message::{CSeq, Field, Message, Span, StartLine};
use super::method::Method;
use super::name::Name;
use super::uri::Uri;
use super::via::Via;
use bytes::Bytes;

/// Longest message, in bytes: what a UDP datagram can hold, and all that a span can address.
pub const MESSAGE_BYTES_MAX: usize = 65_535;
/// Most header lines in a message.
pub const HEADERS_MAX: usize = 256;
/// Longest value of one header line, in bytes.
pub const VALUE_BYTES_MAX: usize = 8192;
/// Longest Request-URI, in bytes: it is kept with the dialog.
pub const URI_BYTES_MAX: usize = 2_048;
/// Largest CSeq number (RFC 3261 §8.1.1.5).
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Not a request line or status line.
    #[error("no valid start line")]
    StartLine,
    /// A version other than SIP/2.0.
    #[error("a version other than SIP/2.0")]
    Version,
    /// A header line without name and colon, or with a carriage return inside.
    #[error("a header line without name and colon")]
    HeaderLine,
    /// More than [`HEADERS_MAX`] header lines.
    #[error("more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    /// A header value longer than [`VALUE_BYTES_MAX`].
    #[error("a header longer than {VALUE_BYTES_MAX} bytes")]
    HeaderTooLong,
    /// A Request-URI longer than [`URI_BYTES_MAX`].
    #[error("a Request-URI longer than {URI_BYTES_MAX} bytes")]
    UriTooLong,
    /// No blank line behind the headers.
    #[error("no blank line behind the headers")]
    Unterminated,
    /// The body is shorter than Content-Length says (RFC 3261 §18.3).
    #[error("less body than Content-Length says")]
    Truncated,
    /// A header that every message has is not there.
    #[error("no {0}")]
    Missing(Name),
    /// A header that stands once stands twice.
    #[error("more than one {0}")]
    Repeated(Name),
    /// A header whose value cannot be read.
    #[error("unreadable {0}")]
    Header(Name),
    /// The method of CSeq is not that of the request (RFC 3261 §8.1.1.5).
    #[error("CSeq names another method")]
    MethodMismatch,
}

impl Malformed {
    /// The status to refuse such a request with.
    pub const fn status(self) -> u16 {
        match self {
            Malformed::Version => 505,
            Malformed::UriTooLong => 414,
            Malformed::TooLong | Malformed::TooManyHeaders | Malformed::HeaderTooLong => 513,
            Malformed::StartLine
            | Malformed::HeaderLine
            | Malformed::Unterminated
            | Malformed::Truncated
            | Malformed::Missing(_)
            | Malformed::Repeated(_)
            | Malformed::Header(_)
            | Malformed::MethodMismatch => 400,
        }
    }
}

/// Why bytes are no message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// The first thing found wrong.
    pub kind: Malformed,
    /// The request, when it can at least be refused; `None` for responses, ACK, and when no answer would be understood.
    pub refusable: Option<Box<Refusable>>,
}

/// A malformed request of which enough is readable to answer it (RFC 3261 §8.2.6.2): its top Via is sound, and From, To,
/// Call-ID and CSeq are there to be copied. [`refuse`](super::write::refuse) writes that answer.
#[derive(Clone, Debug)]
pub struct Refusable(pub(super) Message);

impl Refusable {
    /// Its topmost Via: where the answer goes.
    pub fn top_via(&self) -> Via<'_> {
        self.0.top_via()
    }
}

/// One header line: where its name and its value stand; or why it cannot be read.
pub(super) struct Line {
    pub(super) name: Span,
    pub(super) value: Span,
    pub(super) folded: bool,
}

/// What comes next in a header section.
pub(super) enum Next {
    /// A line with name and value.
    Header(Line),
    /// A line that has no name, or a carriage return inside.
    Broken,
    /// The blank line; the body begins here.
    Body(usize),
    /// The bytes end without a blank line.
    Cut,
}

/// Walks over the lines of a header section.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// Behind leading line ends (RFC 3261 §7.5) and the start line, which comes first.
    pub(super) fn behind_start_line(bytes: &'a [u8]) -> (&'a [u8], usize, Lines<'a>) {
        let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let (end, next) = line_end(bytes, start).map_or((bytes.len(), bytes.len()), |line| (line.end, line.next));
        (&bytes[start..end], start, Lines { bytes, at: next })
    }

    /// From the first header on: a part of a multipart body has no start line.
    pub(super) const fn of_part(bytes: &'a [u8]) -> Lines<'a> {
        Lines { bytes, at: 0 }
    }

    pub(super) fn next(&mut self) -> Next {
        let start = self.at;
        let Some(mut line) = line_end(self.bytes, start) else {
            return Next::Cut;
        };
        if line.end == start {
            return Next::Body(line.next);
        }
        let (mut folded, mut bare_cr) = (false, line.bare_cr);
        while matches!(self.bytes.get(line.next), Some(b' ' | b'\t')) {
            let Some(continued) = line_end(self.bytes, line.next) else {
                return Next::Cut;
            };
            line = continued;
            folded = true;
            bare_cr |= line.bare_cr;
        }
        self.at = line.next;
        if bare_cr {
            return Next::Broken;
        }
        self.header(start, line.end, folded)
    }

    fn header(&self, start: usize, end: usize, folded: bool) -> Next {
        let line = &self.bytes[start..end];
        let name_len = line.iter().position(|&byte| !lex::is_token_byte(byte)).unwrap_or(line.len());
        let behind = line[name_len..].trim_ascii_start();
        let Some(value) = behind.strip_prefix(b":") else {
            return Next::Broken;
        };
        if name_len == 0 {
            return Next::Broken;
        }
        let value_end = end - (value.len() - value.trim_ascii_end().len());
        let value_start = value_end - value.trim_ascii().len();
        Next::Header(Line {
            name: Span::new(start, start + name_len),
            value: Span::new(value_start, value_end),
            folded,
        })
    }
}

/// Where a line ends and the next one begins.
#[derive(Clone, Copy)]
struct LineEnd {
    end: usize,
    next: usize,
    /// It holds a carriage return that no line feed follows: other parsers may end the line there.
    bare_cr: bool,
}

/// The end of the line at `at`: LF, with or without CR.
fn line_end(bytes: &[u8], at: usize) -> Option<LineEnd> {
    let mut from = at;
    let mut bare_cr = false;
    loop {
        let end = from + memchr::memchr2(b'\r', b'\n', &bytes[from..])?;
        if bytes[end] == b'\n' {
            return Some(LineEnd { end, next: end + 1, bare_cr });
        }
        if bytes.get(end + 1) == Some(&b'\n') {
            return Some(LineEnd { end, next: end + 2, bare_cr });
        }
        bare_cr = true;
        from = end + 1;
    }
}

impl Message {
    /// Reads a whole message: a datagram, or what [`frame`](super::frame::frame) cut from a stream.
    ///
    /// # Errors
    /// [`ParseError`] when it cannot be processed; a request may still be refused with a response.
    pub fn parse(bytes: Bytes) -> Result<Message, ParseError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError { kind: Malformed::TooLong, refusable: None });
        }
        let (message, scanned) = scan(bytes);
        match scanned.and_then(|()| message.check_required()) {
            Ok(cseq) => Ok(Message { cseq, ..message }),
            Err(kind) => Err(ParseError { kind, refusable: message.refusable() }),
        }
    }

    /// What every message must have (RFC 3261 §8.1.1, §20.14, §20.22).
    fn check_required(&self) -> Result<CSeq, Malformed> {
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            self.header(name).ok_or(Malformed::Missing(name))?;
        }
        for name in [Name::From, Name::To] {
            let value = self.header(name).unwrap_or_default();
            Address::parse(value).map_err(|_| Malformed::Header(name))?;
        }
        let mut vias = self.values(Name::Via).map(Via::parse);
        if vias.next().is_none_or(|top| top.is_err()) || vias.any(|via| via.is_err()) {
            return Err(Malformed::Header(Name::Via));
        }
        let call_id = self.header(Name::CallId).unwrap_or_default();
        if call_id.is_empty() || call_id.iter().any(u8::is_ascii_whitespace) {
            return Err(Malformed::Header(Name::CallId));
        }
        let hops = self.header(Name::MaxForwards);
        if hops.is_some_and(|hops| lex::decimal(hops).is_none_or(|hops| hops > u32::from(u8::MAX))) {
            return Err(Malformed::Header(Name::MaxForwards));
        }
        self.check_cseq()
    }

    fn check_cseq(&self) -> Result<CSeq, Malformed> {
        let value = self.header(Name::CSeq).unwrap_or_default();
        let blank = value.iter().position(u8::is_ascii_whitespace).ok_or(Malformed::Header(Name::CSeq))?;
        let (number, name) = (lex::decimal(&value[..blank]), value[blank..].trim_ascii_start());
        let number = number.filter(|&number| number <= CSEQ_MAX).ok_or(Malformed::Header(Name::CSeq))?;
        if !lex::is_token(name) {
            return Err(Malformed::Header(Name::CSeq));
        }
        if self.method_name().is_some_and(|method| method != name) {
            return Err(Malformed::MethodMismatch);
        }
        Ok(CSeq { number, method: Method::parse(name) })
    }

    fn refusable(self) -> Option<Box<Refusable>> {
        let answered = match self.method() {
            None | Some(Method::Ack) => false,
            Some(_) => true,
        };
        let copied = [Name::From, Name::To, Name::CallId, Name::CSeq];
        let readable = answered
            && copied.iter().all(|&name| self.header(name).is_some())
            && self.values(Name::Via).next().is_some_and(|via| Via::parse(via).is_ok());
        readable.then(|| Box::new(Refusable(self)))
    }
}

/// Finds all lines and the body. The message is only good if nothing was wrong; otherwise it may serve a refusal.
fn scan(bytes: Bytes) -> (Message, Result<(), Malformed>) {
    let (line, at, mut lines) = Lines::behind_start_line(&bytes);
    let (start, mut result) = start_line(line, at);
    let mut headers = Vec::with_capacity(32);
    let mut seen = Seen::default();
    let mut folded = false;
    let body_at = loop {
        let wrong = match lines.next() {
            Next::Header(line) if headers.len() < HEADERS_MAX => {
                let name = Name::parse(line.name.of(&bytes));
                headers.push(Field { known: name, name: line.name, value: line.value });
                folded |= line.folded;
                if line.value.len() > VALUE_BYTES_MAX { Err(Malformed::HeaderTooLong) } else { seen.take(name) }
            }
            Next::Header(_) => {
                result = result.and(Err(Malformed::TooManyHeaders));
                break bytes.len();
            }
            Next::Broken => Err(Malformed::HeaderLine),
            Next::Body(at) => break at,
            Next::Cut => {
                result = result.and(Err(Malformed::Unterminated));
                break bytes.len();
            }
        };
        result = result.and(wrong);
    };
    let bytes = if folded { unfold(&bytes, body_at) } else { bytes };
    let cseq = CSeq { number: 0, method: Method::Other };
    let mut message = Message { bytes, start, headers, cseq, body: Span::new(body_at, body_at) };
    let body = body_end(&message, body_at);
    message.body = Span::new(body_at, body.unwrap_or(body_at));
    (message, result.and(body.map(|_| ())))
}

/// Which of the headers that stand once have been seen.
#[derive(Default)]
struct Seen([bool; Seen::ONCE.len()]);

impl Seen {
    const ONCE: [Name; 7] =
        [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentLength, Name::ContentType];

    fn take(&mut self, name: Option<Name>) -> Result<(), Malformed> {
        let Some(position) = Seen::ONCE.iter().position(|&once| Some(once) == name) else {
            return Ok(());
        };
        let again = std::mem::replace(&mut self.0[position], true);
        if again { Err(Malformed::Repeated(Seen::ONCE[position])) } else { Ok(()) }
    }
}

/// Reads `Method SP Request-URI SP SIP/2.0` or `SIP/2.0 SP code SP reason` (RFC 3261 §7.1, §7.2).
fn start_line(line: &[u8], at: usize) -> (StartLine, Result<(), Malformed>) {
    let first_len = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (first, rest) = (&line[..first_len], line.get(first_len + 1..).unwrap_or_default());
    let rest_at = at + line.len() - rest.len();
    if first.len() > 4 && first[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(first, rest, rest_at);
    }
    let uri_len = memchr::memrchr(b' ', rest).unwrap_or(0);
    let (uri, version) = (&rest[..uri_len], rest.get(uri_len + 1..).unwrap_or_default());
    let method = Method::parse(first);
    let start =
        StartLine::Request { method, name: Span::new(at, at + first_len), uri: Span::new(rest_at, rest_at + uri_len) };
    let result = if !lex::is_token(first) || version.is_empty() {
        Err(Malformed::StartLine)
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        let other_version = version.len() > 4 && version[..4].eq_ignore_ascii_case(b"SIP/");
        Err(if other_version { Malformed::Version } else { Malformed::StartLine })
    } else if uri.len() > URI_BYTES_MAX {
        Err(Malformed::UriTooLong)
    } else {
        // A Request-URI has no headers (RFC 3261 §19.1.1, table 1).
        Uri::parse(uri).ok().filter(|uri| uri.headers.is_empty()).map(|_| ()).ok_or(Malformed::StartLine)
    };
    (start, result)
}

fn status_line(version: &[u8], rest: &[u8], rest_at: usize) -> (StartLine, Result<(), Malformed>) {
    let code_len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let code = lex::decimal(&rest[..code_len]).filter(|_| code_len == 3).and_then(|code| u16::try_from(code).ok());
    let reason = Span::new((rest_at + code_len + 1).min(rest_at + rest.len()), rest_at + rest.len());
    let start = StartLine::Response { status: code.unwrap_or_default(), reason };
    let result = if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Err(Malformed::Version)
    } else if !code.is_some_and(|code| (100..700).contains(&code)) || memchr::memchr(b'\r', rest).is_some() {
        // Behind a bare carriage return other parsers may see a header.
        Err(Malformed::StartLine)
    } else {
        Ok(())
    };
    (start, result)
}

/// Where the body ends (RFC 3261 §18.3): as Content-Length says, or with the datagram.
fn body_end(message: &Message, body_at: usize) -> Result<usize, Malformed> {
    let Some(value) = message.header(Name::ContentLength) else {
        return Ok(message.bytes.len());
    };
    let length = lex::decimal(value).ok_or(Malformed::Header(Name::ContentLength))?;
    let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
    let end = body_at.checked_add(length).filter(|&end| end <= message.bytes.len());
    end.ok_or(Malformed::Truncated)
}

/// A copy in which every folded line is one line: its breaks are blanks (RFC 3261 §7.3.1), so that all spans stay true.
fn unfold(bytes: &[u8], body_at: usize) -> Bytes {
    let mut copy = bytes.to_vec();
    for at in memchr::memchr_iter(b'\n', &bytes[..body_at]) {
        if at + 1 < body_at && matches!(bytes[at + 1], b' ' | b'\t') {
            copy[at] = b' ';
            if copy[at - 1] == b'\r' {
                copy[at - 1] = b' ';
            }
        }
    }
    copy.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::write::refuse;

    const HEAD: &str = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=f\r\nTo: <sip:2@b>\r\n\
        Call-ID: c@x\r\nCSeq: 7 INVITE\r\n";

    fn parse(text: impl AsRef<[u8]>) -> Result<Message, ParseError> {
        Message::parse(Bytes::copy_from_slice(text.as_ref()))
    }

    fn wrong(text: impl AsRef<[u8]>) -> (Malformed, bool) {
        let text = text.as_ref();
        let error = parse(text).map(|_| ()).expect_err(&text.escape_ascii().to_string());
        (error.kind, error.refusable.is_some())
    }

    fn with(line: &str) -> String {
        format!("INVITE sip:2@b SIP/2.0\r\n{HEAD}{line}\r\n\r\n")
    }

    #[test]
    fn a_reason_phrase_is_one_line_for_everybody() {
        for (reason, expected) in [("OK", None), ("O\rK: x", Some(Malformed::StartLine))] {
            let text = format!(
                "SIP/2.0 200 {reason}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=f\r\nTo: <sip:2@b>\r\n\
                 Call-ID: c\r\nCSeq: 7 INVITE\r\n\r\n"
            );
            assert_eq!(Message::parse(text.into()).err().map(|error| error.kind), expected, "{reason:?}");
        }
    }

    #[test]
    fn meaning_not_in_doubt_is_taken() {
        let bare = with("Content-Length: 0").replace("\r\n", "\n");
        assert_eq!(parse(bare).unwrap().call_id(), b"c@x");
        let early = format!("\r\n\n\r\n{}", with("X: 1"));
        assert_eq!(parse(early).unwrap().method(), Some(Method::Invite));
        let folded = parse(with("Subject :\r\n one\r\n\ttwo \r\nX-Y: z")).unwrap();
        assert_eq!(folded.header(Name::Subject), Some(&b"one  \ttwo"[..]));
        assert_eq!(folded.other("x-y"), Some(&b"z"[..]));
        let odd = parse(with("X: 1").replacen("INVITE sip:2@b SIP/2.0", "sip/2.0 180", 1));
        assert_eq!(odd.map(|odd| odd.status()).ok(), Some(Some(180)));
        let gbk = [&b"INVITE sip:2@b SIP/2.0\r\n"[..], HEAD.as_bytes(), b"Subject: \xb8\xa3\xd6\xdd\r\n\r\n"].concat();
        assert_eq!(parse(gbk).unwrap().header(Name::Subject), Some(&b"\xb8\xa3\xd6\xdd"[..]));
    }

    #[test]
    fn the_body_is_as_long_as_it_says_or_all_there_is() {
        let body = |line: &str| parse(format!("{}body", with(line))).map(|message| message.body().to_vec());
        assert_eq!(body("X: 1").unwrap(), b"body");
        assert_eq!(body("l: 2").unwrap(), b"bo");
        assert_eq!(body("Content-Length: 0").unwrap(), b"");
        assert_eq!(body("Content-Length: 5").unwrap_err().kind, Malformed::Truncated);
        assert_eq!(body("Content-Length: 99999999999").unwrap_err().kind, Malformed::Header(Name::ContentLength));
        assert_eq!(body("Content-Length: 4\r\nl: 4").unwrap_err().kind, Malformed::Repeated(Name::ContentLength));
    }

    #[test]
    fn what_is_wrong_is_named_and_refused_where_it_can_be() {
        use Malformed::{Header, HeaderLine, MethodMismatch, Missing, Repeated, StartLine, Unterminated, Version};
        let cases = [
            ("X: 1", "no colon", HeaderLine, true),
            ("X: 1", ": no name", HeaderLine, true),
            ("X: 1", "X: a\rVia: b", HeaderLine, true),
            ("X: 1", "Via: x", Header(Name::Via), true),
            ("X: 1", "Max-Forwards: 256", Header(Name::MaxForwards), true),
            ("X: 1", "f: <sip:3@c>", Repeated(Name::From), true),
            ("CSeq: 7", "CSeq: 2147483648", Header(Name::CSeq), true),
            ("7 INVITE", "7 BYE", MethodMismatch, true),
            ("7 INVITE", "7", Header(Name::CSeq), true),
            ("c@x", "c x", Header(Name::CallId), true),
            ("<sip:2@b>", "<sip:2@b", Header(Name::To), true),
            ("To:", "Ta:", Missing(Name::To), false),
            ("Via:", "Vib:", Missing(Name::Via), false),
            ("/UDP 10.0.0.9", "/UDP", Header(Name::Via), false),
            ("2@b SIP/2.0", "2@b SIP/3.0", Version, true),
            ("2@b SIP/2.0", "2@b HTTP/2.0", StartLine, true),
            ("2@b SIP/2.0", "2@b?a=b SIP/2.0", StartLine, true),
            ("INVITE sip:2@b SIP", "INVITE SIP", StartLine, true),
            ("INVITE sip", "IN(VITE sip", StartLine, true),
            ("INVITE sip:2@b SIP/2.0", "SIP/2.0 99 x", StartLine, false),
            ("INVITE sip:2@b SIP/2.0", "SIP/2.1 200 x", Version, false),
            ("INVITE sip:2@b SIP/2.0", "ACK sip:2@b SIP/2.0", MethodMismatch, false),
            ("X: 1\r\n\r\n", "X: 1\r\n", Unterminated, true),
        ];
        for (sound, broken, kind, refusable) in cases {
            let text = with("X: 1").replace(sound, broken);
            assert_eq!(wrong(&text), (kind, refusable), "{text}");
        }
        assert_eq!(wrong("\r\n"), (StartLine, false));
        assert_eq!(wrong(""), (StartLine, false));
    }

    #[test]
    fn limits_hold_exactly() {
        let lines = |count: usize| with(&vec!["X: 1"; count - 5].join("\r\n"));
        assert_eq!(parse(lines(HEADERS_MAX)).unwrap().headers().count(), HEADERS_MAX);
        assert_eq!(wrong(lines(HEADERS_MAX + 1)), (Malformed::TooManyHeaders, true));
        let value = |length: usize| with(&format!("X: {}", "v".repeat(length)));
        assert!(parse(value(VALUE_BYTES_MAX)).is_ok());
        assert_eq!(wrong(value(VALUE_BYTES_MAX + 1)), (Malformed::HeaderTooLong, true));
        let uri = |length: usize| with("X: 1").replacen("sip:2@b", &format!("sip:{}@b", "2".repeat(length - 6)), 1);
        assert!(parse(uri(URI_BYTES_MAX)).is_ok());
        assert_eq!(wrong(uri(URI_BYTES_MAX + 1)), (Malformed::UriTooLong, true));
        let whole = |length: usize| with("X: 1") + &"b".repeat(length - with("X: 1").len());
        assert!(parse(whole(MESSAGE_BYTES_MAX)).is_ok());
        assert_eq!(wrong(whole(MESSAGE_BYTES_MAX + 1)), (Malformed::TooLong, false));
    }

    #[test]
    fn a_refusal_is_a_response_to_the_request() {
        let text = with("Max-Forwards: x").replace("INVITE sip:2@b", "INVITE sip:2@b sip:2@b");
        let error = parse(text).unwrap_err();
        let source = "10.0.0.1:5061".parse().unwrap();
        let response = parse(refuse(&error, source, "t1").unwrap()).unwrap();
        assert_eq!((response.status(), response.call_id(), response.cseq().number), (Some(400), &b"c@x"[..], 7));
        assert_eq!(response.top_via().params.value("received"), Some(&b"10.0.0.1"[..]));
        assert_eq!(response.to().tag(), Some(&b"t1"[..]));
        assert_eq!(response.header(Name::Warning), Some(&b"399 sip \"no valid start line\""[..]));
        let unknown = ParseError { kind: Malformed::TooLong, refusable: None };
        assert_eq!(refuse(&unknown, source, "t1"), None);
    }
}
