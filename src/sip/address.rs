//! `name-addr` and `addr-spec` (RFC 3261 §20.10, §25.1): the value of From, To, Contact, Route, P-Asserted-Identity …

use super::lex;
use super::params::Params;
use super::uri::{Uri, UriError};
use std::borrow::Cow;

/// A URI with a display name before it and header parameters behind it.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    display: &'a [u8],
    quoted: bool,
    /// The URI.
    pub uri: Uri<'a>,
    /// Header parameters: `tag`, `expires`, `q` …
    pub params: Params<'a>,
}

/// Why a value is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A display name whose quotes do not close, or something between name and bracket.
    #[error("broken display name")]
    DisplayName,
    /// An angle bracket that does not close.
    #[error("no closing bracket")]
    Bracket,
    /// Something other than parameters behind the URI, or a quote there that does not close.
    #[error("something other than parameters behind the address")]
    Behind,
    /// A URI with `?` or `,` outside angle brackets (§20.10).
    #[error("a URI that needs angle brackets")]
    NeedsBrackets,
    /// Not a URI.
    #[error("not a URI: {0}")]
    Uri(#[from] UriError),
}

impl<'a> Address<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`AddressError`] when it is none.
    pub fn parse(value: &'a [u8]) -> Result<Address<'a>, AddressError> {
        let value = value.trim_ascii();
        if value.starts_with(b"\"") {
            let (display, rest) = quoted_name(value).ok_or(AddressError::DisplayName)?;
            return bracketed(display, true, rest);
        }
        match lex::find_bare(value, b';').map_or(value, |end| &value[..end]) {
            uri if !uri.contains(&b'<') => Address::bare(uri, &value[uri.len()..]),
            // The first bracket opens the URI: an unquoted display name is tokens, and has none.
            _ => {
                let at = memchr::memchr(b'<', value).ok_or(AddressError::Bracket)?;
                bracketed(value[..at].trim_ascii_end(), false, &value[at..])
            }
        }
    }

    /// Without angle brackets all parameters belong to the header (§20.10).
    fn bare(uri: &'a [u8], params: &'a [u8]) -> Result<Address<'a>, AddressError> {
        if memchr::memchr2(b'?', b',', uri).is_some() {
            return Err(AddressError::NeedsBrackets);
        }
        let uri = Uri::parse(uri.trim_ascii_end())?;
        Ok(Address { display: &[], quoted: false, uri, params: params_behind(params)? })
    }

    /// The display name without quotes and escapes, in whatever encoding it came; empty when there is none.
    pub fn display_name(&self) -> Cow<'a, [u8]> {
        if self.quoted { lex::unescape(self.display) } else { Cow::Borrowed(self.display) }
    }

    /// The `tag` parameter of From and To. An empty one is none, so that one added behind it counts.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.values("tag").find(|tag| !tag.is_empty())
    }
}

/// The name between quotes. A GBK character may end in a backslash byte and hide the closing quote: then the quote
/// before the bracket closes.
fn quoted_name(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let by_rule = lex::quoted(value).filter(|(_, rest)| rest.trim_ascii_start().starts_with(b"<"));
    by_rule.or_else(|| {
        let bracket = memchr::memchr(b'<', value)?;
        let name = value[..bracket].trim_ascii_end().strip_suffix(b"\"")?;
        Some((name.get(1..)?, &value[bracket..]))
    })
}

fn bracketed<'a>(display: &'a [u8], quoted: bool, rest: &'a [u8]) -> Result<Address<'a>, AddressError> {
    let inside = rest.trim_ascii_start().strip_prefix(b"<").ok_or(AddressError::DisplayName)?;
    let (uri, behind) = lex::split_once(inside, b'>').ok_or(AddressError::Bracket)?;
    Ok(Address { display, quoted, uri: Uri::parse(uri.trim_ascii())?, params: params_behind(behind)? })
}

fn params_behind(text: &[u8]) -> Result<Params<'_>, AddressError> {
    match text.trim_ascii() {
        [] => Ok(Params::default()),
        [b';', params @ ..] if lex::is_closed(params) => Ok(Params::new(params)),
        _ => Err(AddressError::Behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value, display name, URI, tag.
    type Case = (&'static [u8], &'static [u8], &'static [u8], Option<&'static [u8]>);

    #[test]
    fn names_uris_and_parameters_are_told_apart() {
        let cases: [Case; 9] = [
            (b"sip:a@b;tag=1", b"", b"sip:a@b", Some(b"1")),
            (b"<sip:a@b;lr>;tag=1", b"", b"sip:a@b;lr", Some(b"1")),
            (b"Alice Smith <sip:a@b> ; tag = 1", b"Alice Smith", b"sip:a@b", Some(b"1")),
            (br#""Q \"x\" <y>;" <sip:a@b>"#, br#"Q "x" <y>;"#, b"sip:a@b", None),
            (br#""Bell, A" <sip:a@b?x=y>;q=1"#, b"Bell, A", b"sip:a@b?x=y", None),
            (b"\xe5\xbc\xa0<tel:+86-1>;tag=\"t\"", b"\xe5\xbc\xa0", b"tel:+86-1", Some(b"t")),
            // GBK 誠 is D5 5C: its second byte is a backslash.
            (b"\"\xd5\x5c\" <sip:a@b>;tag=9", b"\xd5", b"sip:a@b", Some(b"9")),
            (b"  <sip:a@b>", b"", b"sip:a@b", None),
            (b"sip:a@b;tag=;tag=2", b"", b"sip:a@b", Some(b"2")),
        ];
        for (value, display, uri, tag) in cases {
            let address = Address::parse(value).unwrap_or_else(|e| panic!("{}: {e}", value.escape_ascii()));
            assert_eq!(&*address.display_name(), display, "{}", value.escape_ascii());
            assert_eq!(address.uri.as_bytes(), uri, "{}", value.escape_ascii());
            assert_eq!(address.tag(), tag, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let cases: [(&[u8], AddressError); 9] = [
            (b"<sip:a@b>;x=\"", AddressError::Behind),
            (b"", AddressError::Uri(UriError::Scheme)),
            (br#""Mr. J. User <sip:j.user@example.com>"#, AddressError::DisplayName),
            (br#""J" x <sip:a@b>"#, AddressError::DisplayName),
            (b"<sip:a@b", AddressError::Bracket),
            (b"<sip:a@b> tag=1", AddressError::Behind),
            (b"sip:a@b?Route=%3Csip:c%3E", AddressError::NeedsBrackets),
            (b"Bell, Alexander <sip:a@b", AddressError::Bracket),
            (b"<>", AddressError::Uri(UriError::Scheme)),
        ];
        for (value, expected) in cases {
            let found = Address::parse(value).map(|address| address.uri.to_string());
            assert_eq!(found, Err(expected), "{}", value.escape_ascii());
        }
    }
}
