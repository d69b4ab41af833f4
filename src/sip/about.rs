//! What an INVITE tells of its call beside who calls whom: diversions (RFC 7044, RFC 5806), User-to-User (RFC 7433),
//! priority (RFC 4412, RFC 5031), location (RFC 6442), the caller's name for people.
//!
//! Reads only. Nothing here is proved; whoever uses it knows from whom it came.

use super::dialog::text;
use super::event::About;
use super::incoming::number;
use super::lex;
use super::message::Message;
use super::name::Name;
use super::params::Params;
use super::place;
use encoding_rs::GB18030;

/// Values kept of one header.
const VALUES_MAX: usize = 8;
/// A display name longer than this is cut: it is for a screen.
const SHOWN_CHARS_MAX: usize = 64;
/// Header in which police lines say which ticket a call belongs to.
const TICKET: &str = "X-Police-Ticket";
/// Longest id of a ticket.
const TICKET_BYTES_MAX: usize = 64;
/// Namespaces that mean an emergency (RFC 7135 §2).
const EMERGENCY_NAMESPACE: &[u8] = b"esnet";

/// Everything that an INVITE says about its call; `name` is the caller's display name as it came.
pub(super) fn about(request: &Message, name: &[u8]) -> About {
    let uri = request.request_uri();
    let service = uri.as_ref().and_then(super::uri::Uri::service);
    let sos = service.is_some_and(|service| service == "sos" || service.starts_with("sos."));
    let priority = request.values(Name::ResourcePriority).next();
    let urgent = request.header(Name::Priority).is_some_and(|value| value.eq_ignore_ascii_case(b"emergency"));
    let namespace = priority.and_then(|value| lex::split_once(value, b'.')).map(|(namespace, _)| namespace);
    let emergency = urgent || sos || namespace.is_some_and(|it| it.eq_ignore_ascii_case(EMERGENCY_NAMESPACE));
    About {
        original: original(request),
        diverted: diverted(request),
        user_to_user: request.values(Name::UserToUser).next().and_then(text),
        resource_priority: priority.and_then(text),
        emergency,
        place: place(request),
        ticket: ticket(request),
        caller_shown: shown(name).into(),
        replaces: None,
    }
}

/// The id of the police's ticket (警单): from its own header, else from User-to-User where that says something in IA5
/// characters (RFC 7433 §4.1, Q.931 §4.5.30).
fn ticket(request: &Message) -> Option<Box<str>> {
    let own = request.other(TICKET).map(<[u8]>::to_vec);
    let said = own.or_else(|| {
        let value = request.values(Name::UserToUser).next()?;
        let (hex, _) = lex::split_once(value, b';')?;
        let digits = std::str::from_utf8(hex.trim_ascii()).ok()?.strip_prefix("04")?;
        let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map(pair).collect()
    })?;
    let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(byte);
    let said = said.trim_ascii();
    ((1..=TICKET_BYTES_MAX).contains(&said.len()) && said.iter().all(is_id)).then(|| text(said)).flatten()
}

/// A `cid:` URI only means the body.
fn place(request: &Message) -> Option<Box<str>> {
    let body = request.part("application", "pidf+xml").and_then(|document| place::line(&document));
    body.or_else(|| {
        let mut uris = request.addresses(Name::Geolocation).flatten().take(VALUES_MAX);
        let elsewhere = uris.find(|address| !address.uri.as_bytes().to_ascii_lowercase().starts_with(b"cid:"))?;
        text(elsewhere.uri.as_bytes())
    })
}

/// What was dialled before the first diversion: the first History-Info of several, else the last Diversion, which was
/// the first to be added.
fn original(request: &Message) -> Option<Box<str>> {
    let mut history = request.addresses(Name::HistoryInfo).flatten();
    let first = history.next().filter(|_| history.next().is_some());
    let found = first.or_else(|| request.addresses(Name::Diversion).flatten().last())?;
    Some(number(&found.uri)).filter(|number| !number.is_empty())
}

/// Why it was diverted last: the reason of the first Diversion, else the cause in the last History-Info that has one.
fn diverted(request: &Message) -> Option<Box<str>> {
    let diversion = request.addresses(Name::Diversion).flatten().next();
    let reason = diversion.and_then(|diversion| diversion.params.value("reason").and_then(text));
    reason.or_else(|| {
        let history = request.addresses(Name::HistoryInfo).flatten();
        history.filter_map(|entry| cause(entry.uri.headers, entry.uri.params)).last()
    })
}

/// RFC 7044 §10.2: the cause stands in the URI's Reason header, or (RFC 4458) in its `cause` parameter.
fn cause(headers: &[u8], params: Params<'_>) -> Option<Box<str>> {
    let header = headers.split(|byte| *byte == b'&').filter_map(|header| lex::split_once(header, b'=')).find_map(
        |(name, value)| name.eq_ignore_ascii_case(b"Reason").then(|| lex::percent_decode(value).into_owned()),
    );
    let of_header = header.as_deref().and_then(|value| {
        let (_, params) = lex::split_once(value, b';')?;
        Params::new(params).value("cause").and_then(text)
    });
    of_header.or_else(|| params.value("cause").and_then(text))
}

/// A display name for people: UTF-8 as the RFC wants, else GB18030 (which contains GBK), as old carriers send.
pub fn shown(name: &[u8]) -> String {
    let decoded = match std::str::from_utf8(name) {
        Ok(name) => name.into(),
        Err(_) => GB18030.decode_without_bom_handling(name).0,
    };
    decoded.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(uri: &str, more: &str) -> Message {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\nFrom: <sip:1@a>;tag=f\r\n\
             To: <sip:2@b>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n{more}\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    fn diversion(more: &str) -> (Option<String>, Option<String>) {
        let about = about(&invite("sip:12345@b", more), b"");
        (about.original.map(Into::into), about.diverted.map(Into::into))
    }

    #[test]
    fn the_first_dialled_number_is_found() {
        let some = |original: &str, why: &str| (Some(original.to_owned()), Some(why.to_owned()));
        let history = "History-Info: <sip:12333@b>;index=1, <sip:12345@b?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1\r\n";
        assert_eq!(diversion(history), some("12333", "302"));
        let history = "History-Info: <sip:12333@b>;index=1\r\nHistory-Info: <sip:12345@b;cause=486>;index=1.1\r\n";
        assert_eq!(diversion(history), some("12333", "486"));
        let last =
            "Diversion: <tel:+8659112345;x=y>;reason=user-busy, <sip:12333@b>;reason=unconditional;counter=1\r\n";
        assert_eq!(diversion(last), some("12333", "user-busy"));
        assert_eq!(diversion("History-Info: <sip:12345@b>;index=1\r\n"), (None, None));
        assert_eq!(diversion("Diversion: <<\r\nHistory-Info: ,,\r\n"), (None, None));
    }

    #[test]
    fn urgency_location_and_user_data() {
        let body = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: application/pidf+xml\r\n\
            Content-ID: <t@x>\r\n\r\n<a><location-info><pos>26.1 119.3</pos></location-info></a>\r\n--b--\r\n";
        let more = format!(
            "Geolocation: <cid:t@x>, <https://l.cn/1>\r\nUser-to-User: 3230;encoding=hex\r\nPriority: Emergency\r\n\
             Resource-Priority: q735.0, wps.1\r\nContent-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = format!("{more}#");
        let request = invite("sip:12345@b", text.trim_end_matches('#'));
        let found = about(&request, b"");
        assert_eq!(found.place.as_deref(), Some("26.10000,119.30000"));
        let elsewhere = invite("sip:12345@b", "Geolocation: <CID:t@x>, <https://l.cn/1>\r\n");
        assert_eq!(about(&elsewhere, b"").place.as_deref(), Some("https://l.cn/1"));
        assert_eq!(found.user_to_user.as_deref(), Some("3230;encoding=hex"));
        assert_eq!((found.resource_priority.as_deref(), found.emergency), (Some("q735.0"), true));
        for (uri, more, expected) in [
            ("urn:service:sos", "", true),
            ("URN:service:SOS.police", "", true),
            ("urn:service:counseling", "", false),
            ("sip:1@b", "Resource-Priority: esnet.1\r\n", true),
            ("sip:1@b", "Priority: normal\r\n", false),
        ] {
            assert_eq!(about(&invite(uri, more), b"").emergency, expected, "{uri} {more}");
        }
    }

    #[test]
    fn a_ticket_is_an_id_in_its_own_header_or_in_user_to_user() {
        for (more, ticket) in [
            ("X-Police-Ticket: J3501-7\r\n", Some("J3501-7")),
            ("x-police-ticket:  110/2026:7 \r\nUser-to-User: 0441;encoding=hex\r\n", Some("110/2026:7")),
            ("User-to-User: 044a37;encoding=hex\r\n", Some("J7")),
            ("User-to-User: 004a37;encoding=hex\r\n", None),
            ("User-to-User: 044a3;encoding=hex\r\n", None),
            ("User-to-User: 044a20;encoding=hex\r\n", Some("J")),
            ("User-to-User: 044a2c37;encoding=hex\r\n", None),
            ("X-Police-Ticket: \r\n", None),
            ("X-Police-Ticket: <script>\r\n", None),
            ("", None),
        ] {
            assert_eq!(about(&invite("sip:12345@b", more), b"").ticket.as_deref(), ticket, "{more}");
        }
        let long = format!("X-Police-Ticket: {}\r\n", "7".repeat(TICKET_BYTES_MAX + 1));
        assert_eq!(about(&invite("sip:12345@b", &long), b"").ticket, None);
    }

    #[test]
    fn names_in_gbk_are_shown_right() {
        assert_eq!(shown("张三".as_bytes()), "张三");
        assert_eq!(shown(b"\xd5\xc5\xc8\xfd"), "张三");
        // GB18030 in four bytes: U+3400.
        assert_eq!(shown(b"\x81\x39\xee\x39"), "\u{3400}");
        assert_eq!(shown(b"a\r\n\x07b"), "ab");
        assert_eq!(shown("市".repeat(100).as_bytes()).chars().count(), SHOWN_CHARS_MAX);
        assert!(shown(b"\xff\xff\xff").contains('\u{fffd}'));
    }
}
