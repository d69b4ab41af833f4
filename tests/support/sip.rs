//! A small SIP client over UDP that makes every byte itself: for digests, and for what no phone would send.

use md5::Md5;
use sha2::{Digest, Sha256};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A final response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub text: String,
}

/// A phone of one user.
pub struct Client {
    pub socket: UdpSocket,
    engine: SocketAddr,
    pub user: String,
    pub password: String,
    pub domain: String,
    call_id: String,
    sequence: u32,
}

/// A hash for digest authentication.
#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    Md5,
    Sha256,
}

/// What a client answers to a challenge, each part open to be forged.
#[derive(Clone, Debug)]
pub struct Proof {
    pub algorithm: Algorithm,
    pub nonce: String,
    pub count: u32,
}

impl Response {
    /// Values of a header, in order.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.text.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The nonce of its challenges, all of which carry the same.
    pub fn nonce(&self) -> String {
        let nonces: Vec<&str> = self
            .headers("WWW-Authenticate")
            .map(|challenge| challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        assert!(nonces.windows(2).all(|pair| pair[0] == pair[1]), "{}", self.text);
        nonces.first().unwrap_or_else(|| panic!("no challenge:\n{}", self.text)).to_string()
    }

    pub fn is_stale(&self) -> bool {
        self.headers("WWW-Authenticate").any(|challenge| challenge.contains("stale=true"))
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    pub fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex::encode(Md5::digest(text)),
            Algorithm::Sha256 => hex::encode(Sha256::digest(text)),
        }
    }
}

impl Client {
    pub fn new(engine: SocketAddr, user: &str, domain: &str) -> Client {
        Client::at(0, engine, user, domain)
    }

    /// A phone at this port of ours.
    pub fn at(port: u16, engine: SocketAddr, user: &str, domain: &str) -> Client {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let socket = UdpSocket::bind((engine.ip(), port)).unwrap();
        socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        let call_id = format!("{}-{}@test", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (user, password, domain) = (user.into(), format!("secret-{user}"), domain.into());
        Client { socket, engine, user, password, domain, call_id, sequence: 0 }
    }

    /// The same phone, for another call of its own.
    pub fn twin(&self) -> Client {
        let mut twin = Client::at(0, self.engine, &self.user, &self.domain);
        twin.socket = self.socket.try_clone().unwrap();
        twin
    }

    /// Begins a call as a registered phone does: from its address-of-record, and with a proof when it is challenged.
    pub fn begin_call(&mut self, number: &str, sdp: &str) -> u32 {
        self.sequence += 1;
        self.send(self.own_text("INVITE", number, sdp, "", "").as_bytes());
        let challenged = self.answer(self.sequence);
        assert_eq!(challenged.status, 401, "{}", challenged.text);
        let proof = Proof { algorithm: Algorithm::Md5, nonce: challenged.nonce(), count: 1 };
        let ack = self.own_text("ACK", number, "", challenged.headers("To").next().unwrap_or_default(), "");
        self.send(ack.as_bytes());
        self.sequence += 1;
        let proof = self.authorization("INVITE", &proof);
        let text = self.own_text("INVITE", number, sdp, "", &proof);
        self.send(text.as_bytes());
        self.sequence
    }

    fn own_text(&self, method: &str, number: &str, body: &str, to: &str, proof: &str) -> String {
        let (local, id, sequence, domain) =
            (self.socket.local_addr().unwrap(), &self.call_id, self.sequence, &self.domain);
        let to = if to.is_empty() { format!("<sip:{number}@{domain}>") } else { to.to_owned() };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:{number}@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{id}.{sequence};rport\r\n\
             From: <sip:{user}@{domain}>;tag=own\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {sequence} {method}\r\n\
             Contact: <sip:{user}@{local}>\r\nMax-Forwards: 70\r\n{proof}{kind}Content-Length: {length}\r\n\r\n{body}",
            user = self.user,
            length = body.len(),
        )
    }

    /// Sends to this engine from now on.
    pub fn turns_to(&mut self, engine: SocketAddr) {
        self.engine = engine;
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.engine).unwrap();
    }

    /// The final response to what was sent under this CSeq; earlier and provisional ones are passed over.
    pub fn answer(&self, sequence: u32) -> Response {
        let mut buffer = [0; 65_535];
        loop {
            let size = self.socket.recv(&mut buffer).expect("an answer");
            let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
            let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
            let response = Response { status: status.unwrap_or(0), text };
            let ours = response.headers("CSeq").any(|value| value.starts_with(&format!("{sequence} ")));
            if response.status >= 200 && ours {
                return response;
            }
        }
    }

    /// The next message, whatever it is.
    pub fn receive(&self) -> String {
        let mut buffer = [0; 65_535];
        let size = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..size]).into_owned()
    }

    /// Sends a request within or outside a dialog; `to_tag` is empty outside. Returns its CSeq number.
    pub fn request(&mut self, method: &str, number: &str, to_tag: &str, body: &str) -> u32 {
        // An ACK has the number of what it acknowledges (RFC 3261 §13.2.2.4).
        self.sequence += u32::from(method != "ACK");
        let text = self.text_of(method, number, to_tag, body);
        self.send(text.as_bytes());
        self.sequence
    }

    /// The last request once more, as UDP phones repeat it.
    pub fn repeat(&self, method: &str, number: &str, body: &str) {
        self.send(self.text_of(method, number, "", body).as_bytes());
    }

    fn text_of(&self, method: &str, number: &str, to_tag: &str, body: &str) -> String {
        let (local, engine, sequence, id) =
            (self.socket.local_addr().unwrap(), self.engine, self.sequence, &self.call_id);
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:{number}@{engine} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{id}.{sequence}{method};rport\r\n\
             From: <sip:{user}@{local}>;tag=t\r\nTo: <sip:{number}@{engine}>{tag}\r\nCall-ID: {id}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:{user}@{local}>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {length}\r\n\r\n{body}",
            user = self.user,
            length = body.len(),
        )
    }

    /// Registers `contacts` (header values) for `expires` seconds, with or without a proof.
    pub fn register(&mut self, contacts: &[&str], expires: u32, proof: Option<&Proof>) -> Response {
        self.sequence += 1;
        let (user, domain, sequence) = (&self.user, &self.domain, self.sequence);
        let local = self.socket.local_addr().unwrap();
        let contacts: String = contacts.iter().map(|contact| format!("Contact: {contact}\r\n")).collect();
        let proof = proof.map(|proof| self.authorization("REGISTER", proof)).unwrap_or_default();
        let request = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{id}.{sequence};rport\r\n\
             From: <sip:{user}@{domain}>;tag=t\r\nTo: <sip:{user}@{domain}>\r\nCall-ID: {id}\r\n\
             CSeq: {sequence} REGISTER\r\nMax-Forwards: 70\r\n{contacts}Expires: {expires}\r\n{proof}\
             Content-Length: 0\r\n\r\n",
            id = self.call_id,
        );
        self.send(request.as_bytes());
        self.answer(sequence)
    }

    /// Registers as a phone does: a challenge, then the proof.
    pub fn sign_in(&mut self, contacts: &[&str], expires: u32) -> Response {
        let nonce = self.challenge();
        self.register(contacts, expires, Some(&Proof { algorithm: Algorithm::Md5, nonce, count: 1 }))
    }

    /// A fresh nonce.
    pub fn challenge(&mut self) -> String {
        let challenged = self.register(&[], 60, None);
        assert_eq!(challenged.status, 401, "{}", challenged.text);
        challenged.nonce()
    }

    /// Where its socket is, as a contact.
    pub fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.user, self.socket.local_addr().unwrap())
    }

    fn authorization(&self, method: &str, proof: &Proof) -> String {
        let Proof { algorithm, nonce, count } = proof;
        let (user, realm, uri) = (&self.user, &self.domain, format!("sip:{}", self.domain));
        let who = algorithm.hash(&format!("{user}:{realm}:{}", self.password));
        let what = algorithm.hash(&format!("{method}:{uri}"));
        let response = algorithm.hash(&format!("{who}:{nonce}:{count:08x}:0a4f113b:auth:{what}"));
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}, qop=auth, nc={count:08x}, cnonce=\"0a4f113b\"\r\n",
            algorithm.name(),
        )
    }
}
