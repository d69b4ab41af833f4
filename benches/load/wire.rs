//! As much SIP as phones under test need: fast templates and a reader of header lines. None of the engine's own code, so
//! that a mistake of the engine meets a stranger's reading.

use md5::{Digest, Md5};
use std::fmt::Write;
use std::net::SocketAddr;

/// The parts of a message that phones look at.
#[derive(Default)]
pub struct Heard<'a> {
    /// Request line or status line.
    pub start: &'a str,
    /// All `Via` lines, joined as they must be returned.
    pub vias: String,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: &'a str,
    /// The URI of `Contact`.
    pub contact: &'a str,
    /// The challenge for MD5.
    pub challenge: &'a str,
    pub body: &'a str,
}

impl<'a> Heard<'a> {
    pub fn read(text: &'a str) -> Heard<'a> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.split("\r\n");
        let mut heard = Heard { start: lines.next().unwrap_or_default(), body, ..Heard::default() };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name {
                "Via" => write!(heard.vias, "Via: {value}\r\n").expect("strings grow"),
                "From" => heard.from = value,
                "To" => heard.to = value,
                "Call-ID" => heard.call_id = value,
                "CSeq" => heard.cseq = value,
                "Contact" => heard.contact = between(value, "<", ">"),
                "WWW-Authenticate" if value.contains("MD5") => heard.challenge = value,
                _ => {}
            }
        }
        heard
    }

    /// The code of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method, of the request or of the one that is answered.
    pub fn method(&self) -> &'a str {
        self.cseq.split(' ').nth(1).unwrap_or_default()
    }

    /// User part of the request's URI, or of `From`.
    pub fn user(text: &'a str) -> &'a str {
        between(text, "sip:", "@")
    }

    /// Where the sender of the description wants sound.
    pub fn sound(&self) -> Option<SocketAddr> {
        let address = between(self.body, "c=IN IP4 ", "\r\n");
        let port = between(self.body, "m=audio ", " ");
        format!("{address}:{port}").parse().ok()
    }

    /// An answer to this request; `tag` completes its `To` unless it has one.
    pub fn answer(&self, status: &str, tag: &str, contact: &str, body: &str) -> String {
        let Heard { vias, from, to, call_id, cseq, .. } = self;
        let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
        let mut text = format!(
            "SIP/2.0 {status}\r\n{vias}From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"
        );
        end(&mut text, contact, body);
        text
    }
}

/// What stands between two marks; empty without the first.
pub fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or(rest, |(inside, _)| inside)
}

fn end(text: &mut String, contact: &str, body: &str) {
    if !contact.is_empty() {
        write!(text, "Contact: <{contact}>\r\n").expect("strings grow");
    }
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("strings grow");
}

/// A request's changing parts.
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    /// Address of our socket.
    pub local: SocketAddr,
    pub branch: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub contact: &'a str,
    /// Further whole lines.
    pub more: &'a str,
    pub body: &'a str,
}

impl Request<'_> {
    pub fn text(&self) -> String {
        let Request { method, uri, local, branch, from, to, call_id, cseq, contact, more, body } = self;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}"
        );
        end(&mut text, contact, body);
        text
    }
}

/// A description of G.711 A-law with telephone events; `direction` is `sendrecv` or `inactive`.
pub fn description(port: u16, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na={direction}\r\n"
    )
}

/// The answer to a challenge (RFC 2617), as a whole line.
pub fn authorization(challenge: &str, user: &str, password: &str, uri: &str) -> String {
    let part = |name: &str| between(challenge, &format!("{name}=\""), "\"");
    let (realm, nonce) = (part("realm"), part("nonce"));
    let hash = |text: String| hex::encode(Md5::digest(text));
    let (known, asked) = (hash(format!("{user}:{realm}:{password}")), hash(format!("REGISTER:{uri}")));
    let response = hash(format!("{known}:{nonce}:00000001:load:auth:{asked}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         algorithm=MD5, qop=auth, nc=00000001, cnonce=\"load\", response=\"{response}\"\r\n"
    )
}
