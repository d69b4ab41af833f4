//! Digest seen from the client (RFC 3261 §22.2, RFC 7616 §3.3–3.4): reading a challenge and answering it.
//!
//! Owns no password and no nonce. The server's half is in [`auth`](super::auth).

use super::credentials::{Credentials, params};
use super::digest::{Algorithm, Proof};
use super::event::Credential;
use super::lex;
use super::message::Message;
use super::name::Name;
use std::borrow::Cow;

/// A challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    algorithm: Algorithm,
    /// With `-sess`: the key is of one session.
    session: bool,
    counts: bool,
    /// The server knows the password was right: only the nonce was old.
    pub stale: bool,
}

impl Challenge {
    /// The first challenge of a 401 or 407 that we can answer: the server names the one it likes best first (RFC 8760
    /// §2.3).
    pub fn of(response: &Message) -> Option<Challenge> {
        let name = match response.status() {
            Some(407) => Name::ProxyAuthenticate,
            _ => Name::WwwAuthenticate,
        };
        response.lines(name).find_map(Challenge::parse)
    }

    /// For which users it asks.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    fn parse(value: &[u8]) -> Option<Challenge> {
        let (scheme, rest) = lex::split_once(value, b' ')?;
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return None;
        }
        let find = |name: &str| params(rest).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        let text = |name| find(name).and_then(|(_, value)| Some(utf8(lex::unquote(value))?.into_boxed_str()));
        let qop = text("qop");
        let counts = qop.as_ref().is_some_and(|qop| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")));
        if qop.is_some() && !counts {
            return None;
        }
        let (algorithm, session) = Algorithm::parse(text("algorithm").unwrap_or_default().as_bytes())?;
        Some(Challenge {
            realm: text("realm")?,
            nonce: text("nonce")?,
            opaque: text("opaque"),
            algorithm,
            session,
            counts,
            stale: text("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of Authorization for a request of this method and URI: the `count`-th answer to this nonce, from 1.
    pub fn answer(&self, credential: &Credential, method: &str, uri: &str, count: u32, cnonce: u64) -> String {
        let session = if self.session { "-sess" } else { "" };
        let mut value = format!(
            r#"Digest username="{}", realm="{}", nonce="{}", uri="{}", algorithm={}{session}"#,
            lex::escape(&credential.user),
            lex::escape(&self.realm),
            lex::escape(&self.nonce),
            lex::escape(uri),
            self.algorithm.as_str()
        );
        if self.counts {
            value += &format!(r#", qop=auth, nc={count:08x}, cnonce="{cnonce:016x}""#);
        } else if self.session {
            value += &format!(r#", cnonce="{cnonce:016x}""#);
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(r#", opaque="{}""#, lex::escape(opaque));
        }
        let unsigned = format!(r#"{value}, response="""#);
        let credentials = Credentials::parse(unsigned.as_bytes()).expect("all parts are there");
        let proof = Proof::read(&credentials).expect("a count is eight digits");
        // Without a hash of that algorithm the answer is empty, and so wrong.
        let response = proof.response_of(method.as_bytes(), credential).unwrap_or_default();
        format!(r#"{value}, response="{response}""#)
    }
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<String> {
    String::from_utf8(bytes.into_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1, with our own client nonce: the answer is one that the server's half takes.
    #[test]
    fn the_server_takes_the_answer() {
        let credential = Credential::new("1101", "fz.cn", "secret");
        let wrong = Credential::new("1101", "fz.cn", "guess");
        for text in [
            r#"Digest realm="fz.cn", nonce="n,1", algorithm=SHA-256, qop="auth,auth-int", opaque="o""#,
            r#"digest realm="fz.cn",nonce="n",algorithm=MD5,qop="auth",stale=TRUE"#,
            r#"Digest realm="fz.cn", nonce="n""#,
            r#"Digest realm="fz.cn", nonce="n", algorithm=MD5-sess, qop="auth""#,
            r#"Digest realm="fz.cn", nonce="n", algorithm=md5-SESS"#,
            r#"Digest realm="fz.cn", nonce="n", algorithm=SHA-256-sess, qop=auth"#,
            r#"Digest realm="fz.cn", nonce="n", algorithm=SHA-512-256, qop="auth""#,
        ] {
            let challenge = Challenge::parse(text.as_bytes()).expect("a challenge");
            assert_eq!(challenge.stale, text.contains("stale"));
            let answer = challenge.answer(&credential, "REGISTER", "sip:fz.cn", 2, 7);
            let read = Credentials::parse(answer.as_bytes()).expect("credentials");
            let proof = Proof::read(&read).expect("a proof");
            assert!(proof.holds(b"REGISTER", &credential), "{answer}");
            assert!(!proof.holds(b"REGISTER", &wrong));
            assert_eq!(proof.count() == 2, text.contains("qop"));
        }
    }

    /// A quote in what the server chose ends nothing in our answer.
    #[test]
    fn quotes_and_backslashes_come_back_as_they_were() {
        let credential = Credential::new("1101", r#"a"b"#, "secret");
        let text = r#"Digest realm="a\"b", nonce="\"", opaque="x\\\", y=\"", qop="auth""#;
        let challenge = Challenge::parse(text.as_bytes()).expect("a challenge");
        let answer = challenge.answer(&credential, "REGISTER", r"sip:a\b", 1, 7);
        let read = Credentials::parse(answer.as_bytes()).expect("credentials");
        assert_eq!((&*read.realm, &*read.nonce, &*read.uri), (&br#"a"b"#[..], &b"\""[..], &br"sip:a\b"[..]));
        assert_eq!(read.opaque.as_deref(), Some(&br#"x\", y=""#[..]));
        assert!(Proof::read(&read).expect("a proof").holds(b"REGISTER", &credential));
    }

    #[test]
    fn what_we_cannot_answer_is_passed_over() {
        for text in [
            "Basic realm=\"a\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-1",
            "Digest realm=\"a\", nonce=\"n\", algorithm=-sess",
            "Digest realm=\"a\", nonce=\"n\", qop=\"auth-int\"",
        ] {
            assert_eq!(Challenge::parse(text.as_bytes()), None, "{text}");
        }
    }
}

/// The server's half, for tests of what we send.
#[cfg(test)]
pub(super) mod tests_of_server {
    use super::*;

    /// Whether a server that knows the credential takes this proof.
    pub(crate) fn takes(value: &str, method: &str, credential: &Credential) -> bool {
        let read = Credentials::parse(value.as_bytes()).expect("credentials");
        Proof::read(&read).expect("a proof").holds(method.as_bytes(), credential)
    }
}
