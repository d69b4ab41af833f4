//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), borrowed from the message that carries them.
//!
//! Other schemes are kept as they are. Nothing is decoded until asked for, so what is written back is what came.

use super::lex;
use super::params::Params;
use core::fmt;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URI we read, in bytes.
pub const URI_BYTES_MAX: usize = 4096;

/// A URI.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    text: &'a [u8],
    /// Its scheme.
    pub scheme: Scheme,
    /// User part, or the telephone number of a `tel:` URI with its separators; escaped as it came.
    pub user: Option<&'a [u8]>,
    /// Password, escaped as it came. Never logged, never sent by us.
    pub password: Option<&'a [u8]>,
    /// Host; `None` unless SIP or SIPS.
    pub host: Option<Host<'a>>,
    /// Port, if written.
    pub port: Option<u16>,
    /// Parameters of a SIP, SIPS or tel URI.
    pub params: Params<'a>,
    /// What stands behind `?` in a SIP or SIPS URI.
    pub headers: &'a [u8],
}

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other; the text is opaque.
    Other,
}

/// The host of a SIP URI or a Via.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A domain name.
    Name(&'a str),
    /// An address.
    Ip(IpAddr),
}

/// A telephone number as a URI carries it (RFC 3966 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phone<'a> {
    /// A leading `+` for a global number, then digits, `*`, `#` and letters A–D; no separators.
    pub digits: Cow<'a, str>,
    /// Where a local number is valid: a domain, or a global number's first digits (`+86591`).
    pub context: Option<Cow<'a, str>>,
}

/// Why a text is no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Longer than [`URI_BYTES_MAX`].
    #[error("longer than {URI_BYTES_MAX} bytes")]
    TooLong,
    /// A blank, a control character, a quote or an angle bracket.
    #[error("a character that no URI has")]
    Character,
    /// No scheme and colon.
    #[error("no scheme")]
    Scheme,
    /// A second `@`.
    #[error("two user parts")]
    User,
    /// No host, or a host that cannot be one.
    #[error("no valid host")]
    Host,
    /// Not a number from 0 to 65,535.
    #[error("no valid port")]
    Port,
}

impl<'a> Uri<'a> {
    /// Reads a whole URI.
    ///
    /// # Errors
    /// [`UriError`] when `text` is none.
    pub fn parse(text: &'a [u8]) -> Result<Uri<'a>, UriError> {
        if text.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong);
        }
        if !text.iter().all(|&byte| is_uri_byte(byte)) {
            return Err(UriError::Character);
        }
        let (scheme, rest) = lex::split_once(text, b':').ok_or(UriError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(UriError::Scheme)?;
        let bare = Uri {
            text,
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: &[],
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(rest, bare),
            Scheme::Tel => {
                let (number, params) = lex::split_once(rest, b';').unwrap_or((rest, &[]));
                if number.is_empty() {
                    return Err(UriError::User);
                }
                Ok(Uri { user: Some(number), params: Params::new(params), ..bare })
            }
            Scheme::Other => Ok(bare),
        }
    }

    /// The URI exactly as it came.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.text
    }

    /// The URI as it may stand in a request line, without the headers that a SIP URI may carry elsewhere (RFC 3261 §19.1.1,
    /// table 1).
    pub fn without_headers(&self) -> &'a [u8] {
        match self.scheme {
            // The separator is the first question mark behind the user part: it stands last when nothing follows it.
            Scheme::Sip | Scheme::Sips => {
                let before = &self.text[..self.text.len() - self.headers.len()];
                before.strip_suffix(b"?").unwrap_or(before)
            }
            Scheme::Tel | Scheme::Other => self.text,
        }
    }

    /// User part (or the number of a `tel:` URI) with its escapes decoded; bytes that are not UTF-8 become U+FFFD.
    pub fn user_text(&self) -> Cow<'a, str> {
        match lex::percent_decode(self.user.unwrap_or_default()) {
            Cow::Borrowed(text) => String::from_utf8_lossy(text),
            Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
        }
    }

    /// The telephone number, when this URI is one: `tel:`, or a SIP user part that reads as one (RFC 3261 §19.1.6),
    /// whether or not `user=phone` says so, because most equipment leaves it out.
    pub fn phone(&self) -> Option<Phone<'a>> {
        let (number, context) = match self.scheme {
            Scheme::Tel => (self.user?, self.params.value("phone-context")),
            Scheme::Sip | Scheme::Sips => {
                let (number, params) = lex::split_once(self.user?, b';').unwrap_or((self.user?, &[]));
                (number, Params::new(params).value("phone-context"))
            }
            Scheme::Other => return None,
        };
        let digits = dialled(number)?;
        Some(Phone { digits, context: context.map(decoded) })
    }

    /// Whether it names a service rather than a place (`urn:service:sos.police`, RFC 5031).
    pub fn is_service(&self) -> bool {
        self.service().is_some()
    }

    /// The service of a URN, in lower case without `urn:service:` (RFC 5031 §4): `sos`, `sos.police` …
    pub fn service(&self) -> Option<String> {
        const URN: &[u8] = b"urn:service:";
        let (urn, service) = self.text.split_at_checked(URN.len())?;
        let valid = !service.is_empty()
            && service.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        let service = String::from_utf8_lossy(service).to_ascii_lowercase();
        (urn.eq_ignore_ascii_case(URN) && valid).then_some(service)
    }

    /// Whether both mean the same (RFC 3261 §19.1.4, RFC 3966 §4).
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.text == other.text || self.scheme != other.scheme {
            return self.text == other.text;
        }
        match self.scheme {
            Scheme::Sip | Scheme::Sips => {
                same_text(self.user, other.user, Case::Counts)
                    && same_text(self.password, other.password, Case::Counts)
                    && self.host == other.host
                    && self.port == other.port
                    && params_agree(self.params, other.params)
                    && params_agree(other.params, self.params)
                    && headers_agree(self.headers, other.headers)
            }
            Scheme::Tel => {
                self.phone() == other.phone()
                    && params_contain(self.params, other.params)
                    && params_contain(other.params, self.params)
            }
            // Nothing is known of it but its text, and that differs.
            Scheme::Other => false,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.text))
    }
}

impl Scheme {
    fn parse(name: &[u8]) -> Option<Scheme> {
        if name.eq_ignore_ascii_case(b"sip") {
            Some(Scheme::Sip)
        } else if name.eq_ignore_ascii_case(b"sips") {
            Some(Scheme::Sips)
        } else if name.eq_ignore_ascii_case(b"tel") {
            Some(Scheme::Tel)
        } else {
            let valid = name.first()?.is_ascii_alphabetic()
                && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
            valid.then_some(Scheme::Other)
        }
    }
}

impl<'a> Host<'a> {
    /// Reads a host name, an IPv4 address or an IPv6 address in brackets.
    ///
    /// # Errors
    /// [`UriError::Host`] for anything else.
    pub fn parse(text: &'a [u8]) -> Result<Host<'a>, UriError> {
        let name = std::str::from_utf8(text).map_err(|_| UriError::Host)?;
        if let Some(inside) = name.strip_prefix('[') {
            let address: Ipv6Addr =
                inside.strip_suffix(']').and_then(|inside| inside.parse().ok()).ok_or(UriError::Host)?;
            return Ok(Host::Ip(address.into()));
        }
        let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || !text.iter().all(valid) {
            return Err(UriError::Host);
        }
        // No top-level domain ends in a digit (RFC 3696 §2): only then can it be an address.
        if text.last().is_some_and(u8::is_ascii_digit)
            && let Ok(address) = name.parse::<Ipv4Addr>()
        {
            return Ok(Host::Ip(address.into()));
        }
        Ok(Host::Name(name))
    }

    /// The address, unless it is a name.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::Ip(address) => Some(*address),
        }
    }
}

impl PartialEq for Host<'_> {
    /// Names without regard to case; IPv6 addresses by value (RFC 5954 §4.2).
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(another)) => one.eq_ignore_ascii_case(another),
            (Host::Ip(one), Host::Ip(another)) => one == another,
            (Host::Name(_), Host::Ip(_)) | (Host::Ip(_), Host::Name(_)) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Writes a text as the user part of a SIP URI: whatever may not stand there is escaped (RFC 3261 §19.1.2).
#[derive(Clone, Copy, Debug)]
pub struct User<'a>(pub &'a str);

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
            if plain { write!(f, "{}", char::from(byte))? } else { write!(f, "%{byte:02X}")? }
        }
        Ok(())
    }
}

/// Everything but blanks, controls, quotes and angle brackets. Bytes above ASCII pass: nobody gains from refusing them.
pub(super) const fn is_uri_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !matches!(byte, b'"' | b'<' | b'>')
}

/// Reads what follows `sip:` (RFC 3261 §25.1 `SIP-URI`).
fn sip<'a>(rest: &'a [u8], bare: Uri<'a>) -> Result<Uri<'a>, UriError> {
    let (userinfo, rest) = match lex::split_once(rest, b'@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    if memchr::memchr(b'@', rest).is_some() {
        return Err(UriError::User);
    }
    let (user, password) = match userinfo.map(|info| (lex::split_once(info, b':'), info)) {
        Some((Some((user, password)), _)) => (Some(user), Some(password)),
        Some((None, user)) => (Some(user), None),
        None => (None, None),
    };
    let (rest, headers) = lex::split_once(rest, b'?').unwrap_or((rest, &[]));
    let (host_port, params) = lex::split_once(rest, b';').unwrap_or((rest, &[]));
    let (host, port) = host_port_of(host_port)?;
    let user = user.filter(|user| !user.is_empty());
    Ok(Uri { user, password, host: Some(host), port, params: Params::new(params), headers, ..bare })
}

/// Reads `host [":" port]`; blanks around the colon are the caller's business.
pub(super) fn host_port_of(text: &[u8]) -> Result<(Host<'_>, Option<u16>), UriError> {
    // The colons of an IPv6 address stand inside its brackets.
    let behind_address = memchr::memchr(b']', text).map_or(0, |at| at + 1);
    match lex::split_once(&text[behind_address..], b':') {
        None => Ok((Host::parse(text.trim_ascii())?, None)),
        Some((name, port)) => {
            let host = Host::parse(text[..behind_address + name.len()].trim_ascii())?;
            Ok((host, Some(lex::port(port.trim_ascii()).ok_or(UriError::Port)?)))
        }
    }
}

fn decoded(text: &[u8]) -> Cow<'_, str> {
    match lex::percent_decode(text) {
        Cow::Borrowed(text) => String::from_utf8_lossy(text),
        Cow::Owned(text) => Cow::Owned(String::from_utf8_lossy(&text).into_owned()),
    }
}

/// The digits of a number without its visual separators `-.()`; `None` when it is not one (RFC 3966 §3).
fn dialled(number: &[u8]) -> Option<Cow<'_, str>> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'*' | b'#' | b'a'..=b'd' | b'A'..=b'D');
    let number = decoded(number);
    let digits = number.strip_prefix('+').unwrap_or(&number);
    if !digits.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#')) {
        return None;
    }
    if digits.bytes().all(is_digit) {
        return Some(number);
    }
    if !digits.bytes().all(|byte| is_digit(byte) || matches!(byte, b'-' | b'.' | b'(' | b')')) {
        return None;
    }
    Some(Cow::Owned(number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect()))
}

#[derive(Clone, Copy)]
enum Case {
    Counts,
    Folds,
}

/// Equal once escapes are decoded; an escaped reserved character is not the character itself (RFC 3261 §19.1.4).
fn same_text(one: Option<&[u8]>, another: Option<&[u8]>, case: Case) -> bool {
    let (Some(one), Some(another)) = (one, another) else {
        return one.is_none() && another.is_none();
    };
    let normal = move |(byte, escaped): (u8, bool)| {
        let byte = match case {
            Case::Counts => byte,
            Case::Folds => byte.to_ascii_lowercase(),
        };
        (byte, escaped && b";/?:@&=+$,".contains(&byte))
    };
    lex::escapes(one).map(normal).eq(lex::escapes(another).map(normal))
}

/// Every parameter of `one` is the same in `another`, or is absent there and may be (RFC 3261 §19.1.4).
fn params_agree(one: Params<'_>, another: Params<'_>) -> bool {
    one.iter().all(|(name, value)| match find(another, name) {
        Some(other) => same_text(value, other, Case::Folds),
        None => !["user", "ttl", "method", "maddr"].iter().any(|must| name.eq_ignore_ascii_case(must.as_bytes())),
    })
}

/// Every parameter of `one` is the same in `another` (RFC 3966 §4).
fn params_contain(one: Params<'_>, another: Params<'_>) -> bool {
    one.iter().all(|(name, value)| find(another, name).is_some_and(|other| same_text(value, other, Case::Folds)))
}

fn find<'a>(params: Params<'a>, name: &[u8]) -> Option<Option<&'a [u8]>> {
    params.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The same headers in any order; none is ever ignored (RFC 3261 §19.1.4).
fn headers_agree(one: &[u8], another: &[u8]) -> bool {
    let split = |text| <[u8]>::split(text, |&byte| byte == b'&').filter(|header| !header.is_empty());
    let all_in = |these, those| {
        split(these).all(|header: &[u8]| split(those).any(|other| same_text(Some(header), Some(other), Case::Folds)))
    };
    split(one).count() == split(another).count() && all_in(one, another) && all_in(another, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_request_line_has_no_headers() {
        for (whole, bare) in [
            ("sip:a@b", "sip:a@b"),
            ("sip:a@b?", "sip:a@b"),
            ("sip:who?@b:5060;lr?x=y&z=?", "sip:who?@b:5060;lr"),
            ("sips:b?Route=%3Csip:c%3E", "sips:b"),
            ("tel:+86591?", "tel:+86591?"),
            ("http://a?b=c", "http://a?b=c"),
        ] {
            assert_eq!(Uri::parse(whole.as_bytes()).unwrap().without_headers(), bare.as_bytes());
        }
    }

    #[test]
    fn parts_are_found() {
        let all = uri("sips:alice;day=tuesday:pa%20ss@[2001:db8::10]:5070;transport=tls;lr?subject=x&priority=urgent");
        assert_eq!(all.scheme, Scheme::Sips);
        assert_eq!(all.user, Some(&b"alice;day=tuesday"[..]));
        assert_eq!(all.password, Some(&b"pa%20ss"[..]));
        assert_eq!(all.host.unwrap().to_string(), "[2001:db8::10]");
        assert_eq!(all.port, Some(5070));
        assert_eq!((all.params.value("transport"), all.params.has("lr")), (Some(&b"tls"[..]), true));
        assert_eq!(all.headers, b"subject=x&priority=urgent");

        let short = uri("SIP:example.com");
        assert_eq!((short.scheme, short.user, short.port), (Scheme::Sip, None, None));
        assert_eq!(short.host, Some(Host::Name("EXAMPLE.com")));
        assert_eq!(uri("sip:1.2.3.4:5060").host, Some(Host::Ip([1, 2, 3, 4].into())));
        assert_eq!(uri("sip:@1.2.3.4").user, None);

        let other = uri("urn:service:sos.police");
        assert_eq!((other.scheme, other.host, other.as_bytes()), (Scheme::Other, None, &b"urn:service:sos.police"[..]));
        assert_eq!(uri("sip:%61li%63e%00@x").user_text(), "alice\0");
    }

    #[test]
    fn what_is_no_uri_is_refused_with_the_reason() {
        let long = format!("sip:{}@x", "1".repeat(URI_BYTES_MAX));
        let cases = [
            ("", UriError::Scheme),
            ("alice", UriError::Scheme),
            (":a@b", UriError::Scheme),
            ("1sip:a@b", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:alice@", UriError::Host),
            ("sip:alice@;lr", UriError::Host),
            ("sip:alice@[::1", UriError::Host),
            ("sip:alice@[1.2.3.4]", UriError::Host),
            ("sip:alice@exa(mple", UriError::Host),
            ("sip:a@b@c", UriError::User),
            ("tel:", UriError::User),
            ("sip:alice@x:", UriError::Port),
            ("sip:alice@x:65536", UriError::Port),
            ("sip:alice@x:50a", UriError::Port),
            ("sip:al ice@x", UriError::Character),
            ("<sip:alice@x>", UriError::Character),
            ("sip:alice@x\r\nVia:", UriError::Character),
            (long.as_str(), UriError::TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(Uri::parse(text.as_bytes()).map(|_| ()), Err(expected), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_from_sip_and_tel() {
        let cases = [
            ("tel:+86-591-8765.4321", "+8659187654321", None),
            ("tel:12345;phone-context=+86591", "12345", Some("+86591")),
            ("tel:8001;phone-context=fuzhou.example", "8001", Some("fuzhou.example")),
            ("sip:+8659187654321;phone-context=x@10.0.0.1;user=phone", "+8659187654321", Some("x")),
            ("sip:(0591)12345@10.0.0.1;user=phone", "059112345", None),
            ("sip:13800138000@10.0.0.1", "13800138000", None),
            ("sip:%2B8613800138000@10.0.0.1", "+8613800138000", None),
            ("sip:*98#@10.0.0.1", "*98#", None),
        ];
        for (text, digits, context) in cases {
            let expected = Phone { digits: digits.into(), context: context.map(Cow::from) };
            assert_eq!(uri(text).phone(), Some(expected), "{text}");
        }
        for text in ["sip:alice@x", "sip:10.0.0.1", "sip:+@x", "sip:dad@x", "urn:service:sos", "sip:1380013x000@x"] {
            assert_eq!(uri(text).phone(), None, "{text}");
        }
    }

    #[test]
    fn comparison_follows_the_examples_of_the_rfc() {
        let same = [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
            ("tel:+86-591-12345", "TEL:+8659112345"),
            ("tel:12345;phone-context=+86591;isub=1", "tel:123.45;isub=1;phone-context=+86591"),
        ];
        for (one, another) in same {
            assert!(uri(one).equivalent(&uri(another)), "{one} {another}");
            assert!(uri(another).equivalent(&uri(one)), "{another} {one}");
        }
        let different = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b;user=phone", "sip:a@b"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a%3Bb@c", "sip:a;b@c"),
            ("sip:a:p@b", "sip:a@b"),
            ("tel:12345;phone-context=+86591", "tel:12345;phone-context=+8610"),
            ("tel:12345", "tel:12345;ext=1"),
            ("urn:x:a", "urn:x:A"),
        ];
        for (one, another) in different {
            assert!(!uri(one).equivalent(&uri(another)), "{one} {another}");
            assert!(!uri(another).equivalent(&uri(one)), "{another} {one}");
        }
    }

    #[test]
    fn a_written_user_is_read_back() {
        for name in ["1001", "a b", "张三", "x@y:z", "50%", "a;b=c", "\r\n"] {
            let text = format!("sip:{}@example.com", User(name));
            assert_eq!(uri(&text).user_text(), name);
        }
    }
}
