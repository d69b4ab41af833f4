//! Digest arithmetic (RFC 2617, RFC 7616, RFC 8760): hashing what a client knows, comparing in constant time.
//!
//! Owns no secret, no nonce and no user: [`auth`](super::auth) does.

use super::credentials::Credentials;
use super::event::Credential;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use subtle::ConstantTimeEq;

/// A hash for digest authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 2617: what every phone knows.
    Md5,
    /// RFC 8760.
    Sha256,
    /// RFC 8760; only answered, never asked for.
    Sha512T256,
}

impl Algorithm {
    /// Its name in `algorithm=`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512T256 => "SHA-512-256",
        }
    }

    /// An absent one is MD5; with `-sess` the key is of one session (RFC 7616 §3.3, §3.4.2).
    pub(super) fn parse(name: &[u8]) -> Option<(Algorithm, bool)> {
        let plain = name.len().saturating_sub(SESSION.len());
        let (plain, session) = match name.split_at(plain) {
            (plain, suffix) if suffix.eq_ignore_ascii_case(SESSION) => (plain, true),
            _ => (name, false),
        };
        match plain {
            b"" if !session => Some((Algorithm::Md5, false)),
            _ if plain.eq_ignore_ascii_case(b"MD5") => Some((Algorithm::Md5, session)),
            _ if plain.eq_ignore_ascii_case(b"SHA-256") => Some((Algorithm::Sha256, session)),
            _ if plain.eq_ignore_ascii_case(b"SHA-512-256") => Some((Algorithm::Sha512T256, session)),
            _ => None,
        }
    }
}

/// Marks the algorithms whose key is of one session.
const SESSION: &[u8] = b"-sess";

/// How a client proves that it knows a password.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    credentials: &'a Credentials<'a>,
    algorithm: Algorithm,
    /// Whether the key is of one session: then nonce and cnonce belong to it.
    session: bool,
    /// `None` is the arithmetic of RFC 2069, without `qop`.
    counted: Option<Counted<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Counted<'a> {
    count: u32,
    nc: &'a [u8],
    cnonce: &'a [u8],
}

impl<'a> Proof<'a> {
    /// `None` when the credentials lack a part or answer what we never offered (`auth-int`, another algorithm).
    pub fn read(credentials: &'a Credentials<'a>) -> Option<Proof<'a>> {
        let counted = match credentials.qop.as_deref() {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => Some(Counted {
                count: credentials.nonce_count()?,
                nc: credentials.nc.as_deref()?,
                cnonce: credentials.cnonce.as_deref()?,
            }),
            Some(_) => return None,
        };
        let (algorithm, session) = Algorithm::parse(credentials.algorithm.as_deref().unwrap_or_default())?;
        if session && credentials.cnonce.is_none() {
            return None;
        }
        Some(Proof { credentials, algorithm, session, counted })
    }

    /// How often this nonce was used, by the client's own count. Without `qop` nobody counts: the nonce is used up.
    pub fn count(&self) -> u32 {
        self.counted.map_or(u32::MAX, |counted| counted.count)
    }

    /// Whether the client knows the password. Takes the same time for any difference. The URI is the one that the client
    /// hashed: behind proxies it need not be the Request-URI (RFC 3261 §22.4 (3)), and a count is good only once.
    pub fn holds(&self, method: &[u8], credential: &Credential) -> bool {
        let Some(expected) = self.response_of(method, credential) else { return false };
        expected.as_bytes().ct_eq(&self.credentials.response.to_ascii_lowercase()).into()
    }

    /// What the client must say; `None` when the credential has no hash of this algorithm.
    pub(super) fn response_of(&self, method: &[u8], credential: &Credential) -> Option<String> {
        Some(match self.algorithm {
            Algorithm::Md5 => self.response::<Md5>(method, &credential.ha1_md5),
            Algorithm::Sha256 => self.response::<Sha256>(method, &credential.ha1_sha256),
            Algorithm::Sha512T256 => self.response::<Sha512_256>(method, credential.ha1_sha512_256.as_ref()?),
        })
    }

    /// `request-digest` (RFC 7616 §3.4.1).
    fn response<D: Digest>(&self, method: &[u8], ha1: &[u8]) -> String {
        let mut ha1 = hex(ha1);
        if self.session {
            let cnonce = self.credentials.cnonce.as_deref().unwrap_or_default();
            ha1 = hashed::<D>(&[ha1.as_bytes(), &self.credentials.nonce, cnonce]);
        }
        let ha2 = hashed::<D>(&[method, &self.credentials.uri]);
        let nonce: &[u8] = &self.credentials.nonce;
        match self.counted {
            Some(Counted { nc, cnonce, .. }) => {
                hashed::<D>(&[ha1.as_bytes(), nonce, nc, cnonce, b"auth", ha2.as_bytes()])
            }
            None => hashed::<D>(&[ha1.as_bytes(), nonce, ha2.as_bytes()]),
        }
    }
}

impl Credential {
    /// Keeps of a password only what checking it needs.
    pub fn new(user: &str, domain: &str, password: &str) -> Credential {
        let text = format!("{user}:{domain}:{password}");
        Credential {
            user: user.into(),
            domain: domain.into(),
            ha1_md5: Md5::digest(&text).into(),
            ha1_sha256: Sha256::digest(&text).into(),
            ha1_sha512_256: Some(Sha512_256::digest(&text).into()),
        }
    }
}

/// Hash of the parts with colons between, in lower-case hexadecimal.
fn hashed<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's answer to a challenge: the header value.
    pub(crate) fn answer(
        algorithm: Algorithm,
        (user, realm, password): (&str, &str, &str),
        (method, uri): (&str, &str),
        nonce: &str,
        nc: Option<u32>,
    ) -> String {
        let credential = Credential::new(user, realm, password);
        let mut value = format!(
            r#"Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm={}"#,
            algorithm.as_str()
        );
        if let Some(nc) = nc {
            value += &format!(r#", qop=auth, nc={nc:08x}, cnonce="0a4f113b""#);
        }
        let unsigned = format!(r#"{value}, response="""#);
        let credentials = Credentials::parse(unsigned.as_bytes()).unwrap();
        let proof = Proof::read(&credentials).unwrap();
        let response = proof.response_of(method.as_bytes(), &credential).expect("a hash of each algorithm");
        format!(r#"{value}, response="{response}""#)
    }

    /// RFC 7616 §3.9.1, both algorithms.
    #[test]
    fn the_vectors_of_rfc_7616() {
        let credential = Credential::new("Mufasa", "http-auth@example.org", "Circle of Life");
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\",\r\n realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            let proof = Proof::read(&credentials).unwrap();
            assert_eq!(proof.count(), 1);
            assert!(proof.holds(b"GET", &credential), "{algorithm}");
            assert!(!proof.holds(b"PUT", &credential));
        }
    }

    /// RFC 2069 as corrected by its erratum 749: no `qop`, no `algorithm`.
    #[test]
    fn the_vector_of_rfc_2069() {
        let value =
            br#"Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
            uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea""#;
        let credential = Credential::new("Mufasa", "testrealm@host.com", "CircleOfLife");
        let credentials = Credentials::parse(value).unwrap();
        let proof = Proof::read(&credentials).unwrap();
        assert!(proof.holds(b"GET", &credential));
        assert_eq!(proof.count(), u32::MAX);
    }

    #[test]
    fn what_is_not_an_answer_to_our_challenge() {
        let whole = answer(Algorithm::Md5, ("1001", "a.cn", "pw"), ("REGISTER", "sip:a.cn"), "n", Some(0x1000));
        let count = |value: &str| {
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            Proof::read(&credentials).map(|proof| proof.count())
        };
        assert_eq!(count(&whole), Some(0x1000));
        for (from, to) in [
            ("qop=auth", "qop=auth-int"),
            ("nc=00001000", "nc=x"),
            ("nc=00001000", "n=1"),
            ("algorithm=MD5", "algorithm=AKAv1-MD5"),
            ("cnonce", "onc"),
        ] {
            assert_eq!(count(&whole.replace(from, to)), None, "{from} → {to}");
        }
    }
}
