//! Digest credentials as a client sends them (RFC 3261 §22.4, RFC 7616 §3.4, RFC 8760): read, not judged.

use super::lex;
use std::borrow::Cow;

/// The value of Authorization or Proxy-Authorization with the scheme Digest. Quotes and escapes are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who it claims to be.
    pub username: Cow<'a, [u8]>,
    /// For which realm.
    pub realm: Cow<'a, [u8]>,
    /// The server's nonce.
    pub nonce: Cow<'a, [u8]>,
    /// The Request-URI as the client hashed it.
    pub uri: Cow<'a, [u8]>,
    /// The hash in hexadecimal.
    pub response: Cow<'a, [u8]>,
    /// `MD5`, `SHA-256` …; MD5 when absent.
    pub algorithm: Option<Cow<'a, [u8]>>,
    /// The client's nonce.
    pub cnonce: Option<Cow<'a, [u8]>>,
    /// Nonce count: eight hexadecimal digits, hashed as written.
    pub nc: Option<Cow<'a, [u8]>>,
    /// `auth` or `auth-int`.
    pub qop: Option<Cow<'a, [u8]>>,
    /// The server's opaque, sent back.
    pub opaque: Option<Cow<'a, [u8]>>,
}

/// Why a value is no Digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Another scheme.
    #[error("not the scheme Digest")]
    Scheme,
    /// This parameter must be there.
    #[error("no {0}")]
    Missing(&'static str),
}

impl<'a> Credentials<'a> {
    /// Reads one value. Of a parameter that stands twice the first counts; unknown ones are ignored.
    ///
    /// # Errors
    /// [`CredentialsError`] when it is no complete Digest.
    pub fn parse(value: &'a [u8]) -> Result<Credentials<'a>, CredentialsError> {
        let blank = value.iter().position(u8::is_ascii_whitespace).ok_or(CredentialsError::Scheme)?;
        let (scheme, rest) = value.split_at(blank);
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return Err(CredentialsError::Scheme);
        }
        let find = |name: &str| params(rest).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        let optional = |name| find(name).map(|(_, value)| lex::unquote(value));
        let required = |name| optional(name).ok_or(CredentialsError::Missing(name));
        Ok(Credentials {
            username: required("username")?,
            realm: required("realm")?,
            nonce: required("nonce")?,
            uri: required("uri")?,
            response: required("response")?,
            algorithm: optional("algorithm"),
            cnonce: optional("cnonce"),
            nc: optional("nc"),
            qop: optional("qop"),
            opaque: optional("opaque"),
        })
    }

    /// The nonce count as a number, when it is eight hexadecimal digits.
    pub fn nonce_count(&self) -> Option<u32> {
        let digits = self.nc.as_deref().filter(|digits| digits.len() == 8)?;
        digits.iter().try_fold(0, |count, &digit| Some(count << 4 | u32::from(lex::hex(digit)?)))
    }
}

/// `name=value` between commas; quoted values keep their quotes.
pub(super) fn params(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = lex::find_bare(rest, b',').unwrap_or(rest.len());
        let param = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(param)
    })
    .filter_map(|param| lex::split_once(param, b'='))
    .map(|(name, value)| (name.trim_ascii(), value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parameters_are_read_without_quotes_and_escapes() {
        let value = br#"DIGEST  username="bo\"b", realm="biloxi.com",nonce="dcd98b",uri="sip:bob@biloxi.com;x=1,2",
            qop=auth, nc=0000000A, cnonce="0a4f", response="6629", algorithm=SHA-256, opaque="5ccc", x-y=1, nonce="no""#;
        let found = Credentials::parse(value).unwrap();
        assert_eq!(&*found.username, br#"bo"b"#);
        assert_eq!((&*found.realm, &*found.nonce), (&b"biloxi.com"[..], &b"dcd98b"[..]));
        assert_eq!((&*found.uri, &*found.response), (&b"sip:bob@biloxi.com;x=1,2"[..], &b"6629"[..]));
        assert_eq!((found.qop.as_deref(), found.cnonce.as_deref()), (Some(&b"auth"[..]), Some(&b"0a4f"[..])));
        assert_eq!((found.algorithm.as_deref(), found.opaque.as_deref()), (Some(&b"SHA-256"[..]), Some(&b"5ccc"[..])));
        assert_eq!(found.nonce_count(), Some(10));
    }

    #[test]
    fn other_schemes_and_holes_are_refused() {
        let cases: [(&[u8], CredentialsError); 4] = [
            (b"Digest", CredentialsError::Scheme),
            (b"NoOneKnowsThisScheme opaque-data=here", CredentialsError::Scheme),
            (b"Digest realm=\"a\", nonce=b", CredentialsError::Missing("username")),
            (b"Digest username=a, realm=b, nonce=c, uri=d", CredentialsError::Missing("response")),
        ];
        for (value, expected) in cases {
            assert_eq!(Credentials::parse(value).map(|_| ()), Err(expected), "{}", value.escape_ascii());
        }
        let value = b"Digest username=a, realm=b, nonce=c, uri=d, response=e, nc=1";
        assert_eq!(Credentials::parse(value).unwrap().nonce_count(), None);
    }
}
