//! A SIP message as it came: its bytes, and an index of where everything stands (RFC 3261 §7, §20).
//!
//! Owns the bytes once; every accessor borrows from them and reads its header only when asked. Folded lines have been
//! joined, so that each value is one slice. Never changes a message and never writes one (see [`write`](super::write)).

use super::address::Address;
use super::credentials::Credentials;
use super::lex;
use super::method::Method;
use super::multipart;
use super::name::Name;
use super::params::Params;
use super::parse::Malformed;
use super::uri::Uri;
use super::via::Via;
use bytes::Bytes;

/// A message that passed [`Message::parse`]: its start line, Via, From, To, Call-ID, CSeq and Max-Forwards are sound.
#[derive(Clone, Debug)]
pub struct Message {
    pub(super) bytes: Bytes,
    pub(super) start: StartLine,
    pub(super) headers: Vec<Field>,
    pub(super) cseq: CSeq,
    pub(super) body: Span,
}

/// A stretch of a message's bytes; two bytes a position are enough for the longest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Positions are below [`MESSAGE_BYTES_MAX`](super::parse::MESSAGE_BYTES_MAX), which the parser checks first.
    pub(super) fn new(start: usize, end: usize) -> Span {
        let narrow = |at| u16::try_from(at).expect("a position inside a message that is at most 65,535 bytes long");
        Span { start: narrow(start), end: narrow(end) }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.end)]
    }

    pub(super) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One header line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) known: Option<Name>,
    pub(super) name: Span,
    pub(super) value: Span,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StartLine {
    Request { method: Method, name: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// The value of CSeq (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// Of the request, also in its responses.
    pub method: Method,
}

/// One value of Contact (RFC 3261 §20.10).
#[derive(Clone, Copy, Debug)]
pub enum Contact<'a> {
    /// `*`: all bindings of the address-of-record (§10.2.2).
    All,
    /// An address.
    At(Address<'a>),
}

/// The value of RAck (RFC 3262 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck {
    /// RSeq of the provisional response.
    pub rseq: u32,
    /// CSeq of it.
    pub cseq: CSeq,
}

/// The value of Content-Type (RFC 3261 §20.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application`
    pub kind: &'a [u8],
    /// `sdp`
    pub subtype: &'a [u8],
    /// `boundary` …
    pub params: Params<'a>,
}

impl MediaType<'_> {
    /// Whether it is `kind/subtype`, in any letter case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes()) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }
}

/// The start line and headers as such.
impl Message {
    /// The whole message, folded lines joined.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it is a request.
    pub const fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The method of a request; that of a response is in [`Message::cseq`].
    pub const fn method(&self) -> Option<Method> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The method of a request as written, also when we do not know it.
    pub fn method_name(&self) -> Option<&[u8]> {
        match self.start {
            StartLine::Request { name, .. } => Some(name.of(&self.bytes)),
            StartLine::Response { .. } => None,
        }
    }

    /// Where a request goes to.
    pub fn request_uri(&self) -> Option<Uri<'_>> {
        match self.start {
            StartLine::Request { uri, .. } => {
                Some(Uri::parse(uri.of(&self.bytes)).expect("parse checked the Request-URI"))
            }
            StartLine::Response { .. } => None,
        }
    }

    /// The status of a response: 100–699.
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response; may be empty.
    pub fn reason_phrase(&self) -> Option<&[u8]> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { reason, .. } => Some(reason.of(&self.bytes)),
        }
    }

    /// All headers in order: name as written and trimmed value.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }

    /// The value of each line of that name, in order.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = self.headers.iter().filter(move |field| field.known == Some(name));
        lines.map(|field| field.value.of(&self.bytes))
    }

    /// The value of the first line of that name.
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        self.lines(name).next()
    }

    /// The single values of a comma-separated list over all its lines; of other headers, their lines. Never empty ones.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.lines(name)
            .flat_map(move |line| {
                let mut rest = line;
                std::iter::from_fn(move || {
                    if rest.is_empty() {
                        return None;
                    }
                    let end = if name.is_list() { lex::find_bare(rest, b',') } else { None };
                    let end = end.unwrap_or(rest.len());
                    let value = rest[..end].trim_ascii();
                    rest = rest.get(end + 1..).unwrap_or_default();
                    Some(value)
                })
            })
            .filter(|value| !value.is_empty())
    }

    /// The value of the first line of a name we have no [`Name`] for, in any letter case.
    pub fn other(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &[u8] {
        self.body.of(&self.bytes)
    }
}

/// Headers by their meaning.
impl Message {
    /// The topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        self.vias().next().expect("parse found a Via")
    }

    /// All Vias, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Via<'_>> {
        self.values(Name::Via).map(|value| Via::parse(value).expect("parse checked every Via"))
    }

    /// From.
    pub fn from(&self) -> Address<'_> {
        self.checked(Name::From)
    }

    /// To.
    pub fn to(&self) -> Address<'_> {
        self.checked(Name::To)
    }

    fn checked(&self, name: Name) -> Address<'_> {
        Address::parse(self.header(name).unwrap_or_default()).expect("parse checked From and To")
    }

    /// Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.header(Name::CallId).unwrap_or_default()
    }

    /// CSeq.
    pub const fn cseq(&self) -> CSeq {
        self.cseq
    }

    /// The first value of `name` as an address: Refer-To, Referred-By …
    pub fn address(&self, name: Name) -> Option<Result<Address<'_>, Malformed>> {
        self.addresses(name).next()
    }

    /// All values of `name` as addresses: Route, Record-Route, Path, P-Asserted-Identity …
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<Address<'_>, Malformed>> {
        self.values(name).map(move |value| Address::parse(value).map_err(|_| Malformed::Header(name)))
    }

    /// All contacts.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, Malformed>> {
        self.values(Name::Contact).map(|value| match value {
            b"*" => Ok(Contact::All),
            _ => Address::parse(value).map(Contact::At).map_err(|_| Malformed::Header(Name::Contact)),
        })
    }

    /// Record-Route, topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<Address<'_>, Malformed>> {
        self.addresses(Name::RecordRoute)
    }

    /// Route, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<Address<'_>, Malformed>> {
        self.addresses(Name::Route)
    }

    /// P-Asserted-Identity (RFC 3325 §9.1): at most one `sip:` and one `tel:`. Whether to believe it is for the caller.
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<Address<'_>, Malformed>> {
        self.addresses(Name::PAssertedIdentity)
    }

    /// Whether Privacy asks for `kind`: `id`, `user`, `header`, `session`, `none`, `critical` (RFC 3323 §4.2).
    pub fn wants_privacy(&self, kind: &str) -> bool {
        let kinds = self.header(Name::Privacy).unwrap_or_default().split(|&byte| byte == b';');
        kinds.into_iter().any(|found| found.trim_ascii().eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// Max-Forwards; 70 is to be assumed without it (RFC 3261 §16.6).
    pub fn max_forwards(&self) -> Option<u8> {
        self.number(Name::MaxForwards).and_then(|hops| u8::try_from(hops).ok())
    }

    /// Expires in seconds. A number too large is the largest; what is no number counts as absent (§20.19).
    pub fn expires_s(&self) -> Option<u32> {
        delta_seconds(self.header(Name::Expires)?)
    }

    /// The number before any parameters: RSeq, Min-SE, Session-Expires, Min-Expires, Retry-After.
    pub fn number(&self, name: Name) -> Option<u32> {
        let value = self.header(name)?;
        let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        let behind = value[end..].trim_ascii_start();
        lex::decimal(&value[..end]).filter(|_| matches!(behind.first(), None | Some(b';' | b'(')))
    }

    /// The parameters of the first line of `name`: Session-Expires, Event, Replaces, Subscription-State …
    pub fn params(&self, name: Name) -> Params<'_> {
        let value = self.header(name).unwrap_or_default();
        lex::find_bare(value, b';').map_or(Params::default(), |at| Params::new(&value[at + 1..]))
    }

    /// Whether the list `name` holds `token`, in any letter case: Supported, Require, Allow …
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The option tags of Require.
    pub fn require(&self) -> impl Iterator<Item = &[u8]> {
        self.values(Name::Require)
    }

    /// Content-Type, when it is readable.
    pub fn content_type(&self) -> Option<MediaType<'_>> {
        media_type(self.header(Name::ContentType)?)
    }

    /// The session description: the body, or the first such part of a multipart body (RFC 5621 §3).
    pub fn sdp(&self) -> Option<Bytes> {
        self.part("application", "sdp")
    }

    /// The content of type `kind/subtype`: the body, or the first such part of a multipart body.
    pub fn part(&self, kind: &str, subtype: &str) -> Option<Bytes> {
        let content_type = self.content_type()?;
        let found = if content_type.is(kind, subtype) {
            self.body()
        } else {
            multipart::part(&content_type, self.body(), kind, subtype)?
        };
        (!found.is_empty()).then(|| self.bytes.slice_ref(found))
    }

    /// The Q.850 cause of Reason (RFC 3326 §2): 0–127.
    pub fn reason_q850(&self) -> Option<u8> {
        self.values(Name::Reason).find_map(|value| {
            let (protocol, params) = lex::split_once(value, b';')?;
            let cause = Params::new(params).value("cause").and_then(lex::decimal)?;
            let q850 = protocol.trim_ascii_end().eq_ignore_ascii_case(b"Q.850");
            u8::try_from(cause).ok().filter(|&cause| q850 && cause < 128)
        })
    }

    /// Every Digest in Authorization; other schemes and what is unreadable are left out.
    pub fn authorizations(&self) -> impl Iterator<Item = Credentials<'_>> {
        self.lines(Name::Authorization).filter_map(|line| Credentials::parse(line).ok())
    }

    /// Every Digest in Proxy-Authorization; other schemes and what is unreadable are left out.
    pub fn proxy_authorizations(&self) -> impl Iterator<Item = Credentials<'_>> {
        self.lines(Name::ProxyAuthorization).filter_map(|line| Credentials::parse(line).ok())
    }

    /// RAck of a PRACK (RFC 3262 §7.2).
    pub fn rack(&self) -> Option<RAck> {
        let mut parts = self.header(Name::RAck)?.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
        let (rseq, number) = (lex::decimal(parts.next()?)?, lex::decimal(parts.next()?)?);
        let method = Method::parse(parts.next()?);
        Some(RAck { rseq, cseq: CSeq { number, method } })
    }
}

/// `delta-seconds`: digits; a number too large is the largest.
pub(super) fn delta_seconds(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| lex::decimal(text).unwrap_or(u32::MAX))
}

/// Reads `type/subtype *(;param)`.
pub(super) fn media_type(value: &[u8]) -> Option<MediaType<'_>> {
    let (name, params) = lex::split_once(value, b';').unwrap_or((value, &[]));
    let (kind, subtype) = lex::split_once(name, b'/')?;
    let (kind, subtype) = (kind.trim_ascii(), subtype.trim_ascii());
    let valid = lex::is_token(kind) && lex::is_token(subtype);
    valid.then_some(MediaType { kind, subtype, params: Params::new(params) })
}

impl Contact<'_> {
    /// The `expires` parameter in seconds. A number too large is the largest; what is no number counts as absent.
    pub fn expires_s(&self) -> Option<u32> {
        match self {
            Contact::All => None,
            Contact::At(address) => delta_seconds(address.params.value("expires")?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &str) -> Message {
        let text = format!(
            "INVITE tel:12345;phone-context=+86591 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1\r\n\
             From: <sip:1@a>;tag=f\r\nTo: <sip:2@b>\r\nCall-ID: c@x\r\nCSeq: 7 INVITE\r\n{lines}\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn lists_are_one_list_over_all_lines_and_others_stay_whole() {
        let message = with(
            "Supported: 100rel, timer,,\r\nk:replaces\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n\
             Route: \"a, <b>\" <sip:p1;lr>, <sip:u,v@p2;lr>\r\nRoute:  <sip:p3>\r\n",
        );
        let supported: Vec<_> = message.values(Name::Supported).collect();
        assert_eq!(supported, [&b"100rel"[..], b"timer", b"replaces"]);
        assert!(message.lists(Name::Supported, "TIMER") && !message.lists(Name::Supported, "tim"));
        assert_eq!(message.values(Name::Date).count(), 1);
        let routes: Vec<_> = message.routes().map(|route| route.unwrap().uri.to_string()).collect();
        assert_eq!(routes, ["sip:p1;lr", "sip:u,v@p2;lr", "sip:p3"]);
        assert_eq!((message.lines(Name::Route).count(), message.lines(Name::Path).count()), (2, 0));
    }

    #[test]
    fn contacts_with_star_and_expiry() {
        let message =
            with("m: *\r\nContact: <sip:1@c>;expires=60, sip:2@c;expires=99999999999, <sip:3>;expires=x, <\r\n");
        let expires: Vec<_> = message.contacts().map(|contact| contact.map(|contact| contact.expires_s())).collect();
        let expected = [Ok(None), Ok(Some(60)), Ok(Some(u32::MAX)), Ok(None), Err(Malformed::Header(Name::Contact))];
        assert_eq!(expires, expected);
        assert!(matches!(message.contacts().next(), Some(Ok(Contact::All))));
    }

    #[test]
    fn numbers_stop_where_parameters_begin() {
        let message = with(
            "Expires: 99999999999\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nRSeq: x\r\n\
             Retry-After: 120 (busy)\r\nMin-Expires: 60 61\r\nRAck: 776656 1 INVITE\r\n",
        );
        assert_eq!((message.expires_s(), message.max_forwards()), (Some(u32::MAX), None));
        assert_eq!(message.number(Name::SessionExpires), Some(1800));
        assert_eq!(message.params(Name::SessionExpires).value("refresher"), Some(&b"uac"[..]));
        assert_eq!((message.number(Name::MinSe), message.number(Name::RSeq)), (Some(90), None));
        assert_eq!((message.number(Name::RetryAfter), message.number(Name::MinExpires)), (Some(120), None));
        let cseq = CSeq { number: 1, method: Method::Invite };
        assert_eq!(message.rack(), Some(RAck { rseq: 776_656, cseq }));
    }

    #[test]
    fn causes_privacy_identity_and_types() {
        let message = with(
            "Reason: SIP;cause=600;text=\"a;cause=1\"\r\nReason: q.850 ;cause=16;text=\"Normal, clearing\"\r\n\
             Privacy: id; critical\r\nP-Asserted-Identity: \"A\" <sip:+86138@c>, <tel:+86138>\r\n\
             c: Application / SDP ; charset=x\r\n",
        );
        assert_eq!(message.reason_q850(), Some(16));
        assert_eq!(with("Reason: Q.850;cause=128\r\n").reason_q850(), None);
        assert!(message.wants_privacy("ID") && message.wants_privacy("critical") && !message.wants_privacy("none"));
        let asserted: Vec<_> = message.asserted_identities().map(|one| one.unwrap().uri.user_text()).collect();
        assert_eq!(asserted, ["+86138", "+86138"]);
        assert!(message.content_type().unwrap().is("application", "sdp"));
        assert_eq!(message.sdp(), None);
        assert_eq!(message.request_uri().unwrap().phone().unwrap().digits, "12345");
    }

    #[test]
    fn digests_of_both_kinds_are_read_and_other_schemes_left_out() {
        let digest = |user| format!("Digest username=\"{user}\",realm=\"r\",nonce=\"n\",uri=\"sip:r\",response=\"0\"");
        let message = with(&format!(
            "Authorization: Basic abc\r\nAuthorization: {}\r\nProxy-Authorization: {}\r\n",
            digest("a"),
            digest("b")
        ));
        let users = |found: Vec<Credentials<'_>>| found.iter().map(|one| one.username.to_vec()).collect::<Vec<_>>();
        assert_eq!(users(message.authorizations().collect()), [b"a"]);
        assert_eq!(users(message.proxy_authorizations().collect()), [b"b"]);
    }
}
