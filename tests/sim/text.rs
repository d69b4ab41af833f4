//! SIP as text, written and read by the test's own phones: nothing of the engine is used, so that a mistake of the engine
//! cannot hide behind itself.

use std::fmt::Write;
use std::net::SocketAddr;

/// A message as a phone reads it.
#[derive(Clone, Debug)]
pub struct Text {
    /// The first line.
    pub start: String,
    headers: Vec<(String, String)>,
    /// What follows the blank line.
    pub body: String,
}

impl Text {
    /// Reads what the engine sent; it must be well formed.
    pub fn parse(bytes: &[u8]) -> Text {
        let text = std::str::from_utf8(bytes).expect("the engine writes UTF-8 to these phones");
        let (head, body) = text.split_once("\r\n\r\n").expect("a message has a blank line");
        let mut lines = head.split("\r\n");
        let start = lines.next().expect("a message has a first line").to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.trim().to_ascii_lowercase(), value.trim().to_owned())
        };
        let text = Text { start, headers: lines.map(header).collect(), body: body.to_owned() };
        let length: usize = text.header("content-length").parse().expect("Content-Length is a number");
        assert_eq!(length, body.len(), "Content-Length is true: {text:?}");
        text
    }

    /// The first header of this (lower-case) name, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        if self.start.starts_with("SIP/") { None } else { self.start.split(' ').next() }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// CSeq.
    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.header("cseq").split_once(' ').expect("CSeq has two parts");
        (number.parse().expect("CSeq is a number"), method.trim())
    }

    /// The branch of the top Via.
    pub fn branch(&self) -> &str {
        param(self.header("via"), "branch").expect("a Via has a branch")
    }

    /// The URI of the first Contact.
    pub fn contact(&self) -> Option<&str> {
        self.header("contact").split_once('<')?.1.split_once('>').map(|(uri, _)| uri)
    }

    /// Where the described media are taken.
    pub fn media(&self) -> Option<SocketAddr> {
        let line = |prefix: &str| self.body.lines().find_map(|line| line.strip_prefix(prefix));
        let port = line("m=audio ")?.split(' ').next()?;
        format!("{}:{port}", line("c=IN IP4 ")?).parse().ok()
    }

    /// A response to this request.
    pub fn reply(&self, status: u16, tag: &str, extra: &str, body: &str) -> String {
        let mut out = format!("SIP/2.0 {status} X\r\n");
        for (name, value) in &self.headers {
            match name.as_str() {
                "via" | "from" | "call-id" | "cseq" | "record-route" => {
                    let _ = write!(out, "{name}: {value}\r\n");
                }
                "to" if param(value, "tag").is_none() && status > 100 => {
                    let _ = write!(out, "To: {value};tag={tag}\r\n");
                }
                "to" => {
                    let _ = write!(out, "To: {value}\r\n");
                }
                _ => {}
            }
        }
        finish(out, extra, body)
    }
}

/// A parameter behind a `;`.
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|param| {
        let (found, value) = param.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// A quoted or bare parameter of a challenge.
pub fn auth_param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parts = value.strip_prefix("Digest ")?.split(',');
    let mut found = parts.filter_map(|part| part.trim().split_once('='));
    found.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
}

/// Adds the last headers, the length and the body.
pub fn finish(mut out: String, extra: &str, body: &str) -> String {
    out.push_str(extra);
    if !body.is_empty() {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
    out
}

/// A description of one audio stream in A-law with digits.
pub fn sdp(at: SocketAddr, version: u32, direction: &str) -> String {
    let (ip, port) = (at.ip(), 4_000);
    format!(
        "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}
