//! A small phone over TCP, TLS and WebSockets that makes every byte itself and shows each message it gets.

use super::sip::{Algorithm, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// Longer than anything that is awaited, the server's own time-outs included.
const NEXT_MAX: Duration = Duration::from_secs(30);

/// Bytes in both directions.
pub trait Io: Read + Write + Send {}

impl<T: Read + Write + Send> Io for T {}

enum Bytes {
    Stream(Box<dyn Io>),
    Web(Box<WebSocket<Box<dyn Io>>>),
}

/// A connection that carries SIP messages: TCP, TLS or a WebSocket.
pub struct Wire {
    bytes: Bytes,
    /// The same connection, for its time-outs and for who wants it bare.
    tcp: TcpStream,
    unread: Vec<u8>,
    transport: &'static str,
    host: String,
}

/// What came of waiting for a message.
pub enum Next {
    /// A message, or a pong.
    Message(String),
    /// The time was up.
    Late,
    /// The connection is closed.
    Ended,
}

/// A phone on one connection at a time.
pub struct Phone {
    wire: Wire,
    user: String,
    domain: String,
    transport: &'static str,
    /// What it calls itself in Via and Contact.
    host: String,
    call_id: String,
    sequence: u32,
}

/// TLS towards an engine whose certificate is this one.
pub fn secure(stream: TcpStream, certificate: &Path) -> Box<dyn Io> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::IpAddress(stream.peer_addr().unwrap().ip().into());
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.flush().expect("the handshake");
    Box::new(stream)
}

/// Opens a WebSocket with these headers; the status when it is refused.
pub fn web(io: Box<dyn Io>, headers: &[(&'static str, &str)]) -> Result<WebSocket<Box<dyn Io>>, u16> {
    let mut request = "ws://127.0.0.1/".into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match tungstenite::client(request, io) {
        Ok((socket, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
            Ok(socket)
        }
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(NEXT_MAX)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection from an address of this machine's own.
pub fn tcp_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream
}

impl Wire {
    /// Connects from any address of ours; `certificate` is the engine's.
    pub fn new(to: SocketAddr, transport: &'static str, certificate: &Path) -> Wire {
        Wire::from_address(to.ip(), to, transport, certificate)
    }

    /// Connects from this address.
    pub fn from_address(from: IpAddr, to: SocketAddr, transport: &'static str, certificate: &Path) -> Wire {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let tcp = tcp_from(from, to);
        tcp.set_read_timeout(Some(NEXT_MAX)).unwrap();
        let (local, stream) = (tcp.local_addr().unwrap(), tcp.try_clone().unwrap());
        let secured = matches!(transport, "tls" | "wss");
        let io: Box<dyn Io> = if secured { secure(stream, certificate) } else { Box::new(stream) };
        let (bytes, host) = match transport {
            "tcp" | "tls" => (Bytes::Stream(io), local.to_string()),
            // As a browser does: it knows no address of its own (RFC 7118 §5).
            _ => {
                let headers = [("sec-websocket-protocol", "sip"), ("origin", "https://console.example")];
                let socket = web(io, &headers).expect("a WebSocket");
                (Bytes::Web(Box::new(socket)), format!("p{}x.invalid", NEXT.fetch_add(1, Ordering::Relaxed)))
            }
        };
        Wire { bytes, tcp, unread: Vec::new(), transport, host }
    }

    pub fn transport(&self) -> &'static str {
        self.transport
    }

    /// What it calls itself: a name, or address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn peer(&self) -> SocketAddr {
        self.tcp.peer_addr().unwrap()
    }

    /// The connection itself, which stands as long as this does; for TCP without anything around it.
    pub fn connection(&self) -> TcpStream {
        self.tcp.try_clone().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.bytes {
            Bytes::Stream(io) => io.write_all(bytes).and_then(|()| io.flush()).expect("it is written"),
            Bytes::Web(socket) => {
                socket.send(Message::text(std::str::from_utf8(bytes).unwrap())).expect("it is written")
            }
        }
    }

    /// What comes next, if it does so before then.
    pub fn next_before(&mut self, until: Instant) -> Next {
        loop {
            if let Some(length) = whole(&self.unread) {
                let message = self.unread.drain(..length).collect();
                return Next::Message(String::from_utf8(message).unwrap());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Late;
            }
            self.tcp.set_read_timeout(Some(left)).unwrap();
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Next::Ended,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Next::Late,
                Err(_) => return Next::Ended,
            }
        }
    }

    /// Reads what is there; false at the end.
    fn read(&mut self) -> std::io::Result<bool> {
        match &mut self.bytes {
            Bytes::Web(socket) => match socket.read() {
                // Each is one whole message (RFC 7118 §5.1).
                Ok(Message::Text(text)) => self.unread.extend_from_slice(text.as_bytes()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => return Ok(false),
                Err(tungstenite::Error::Io(error)) => return Err(error),
                Err(_) => return Ok(false),
            },
            Bytes::Stream(io) => {
                let mut some = [0; 4_096];
                let count = io.read(&mut some)?;
                self.unread.extend_from_slice(&some[..count]);
                return Ok(count > 0);
            }
        }
        Ok(true)
    }
}

impl Phone {
    /// Connects; `certificate` is the engine's.
    pub fn new(to: SocketAddr, transport: &'static str, certificate: &Path, user: &str) -> Phone {
        Phone::on(Wire::new(to, transport, certificate), user)
    }

    /// A phone on a connection that stands.
    pub fn on(wire: Wire, user: &str) -> Phone {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (user, domain) = (user.into(), "fuzhou.12345.example".into());
        let call_id = format!("{}-{number}@stream", std::process::id());
        let (transport, host) = (wire.transport, wire.host.clone());
        Phone { wire, user, domain, transport, host, call_id, sequence: 0 }
    }

    /// Leaves the connection to somebody else.
    pub fn into_wire(self) -> Wire {
        self.wire
    }

    /// Drops the connection without a word and opens another one.
    pub fn reconnect(&mut self, to: SocketAddr, certificate: &Path) {
        self.wire = Wire::new(to, self.transport, certificate);
    }

    /// Its Contact.
    pub fn contact(&self) -> String {
        let transport = if self.transport == "wss" { "ws" } else { self.transport };
        format!("sip:{}@{};transport={transport}", self.user, self.host)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// What comes next: a message, a pong; `None` at the end.
    pub fn next(&mut self) -> Option<String> {
        match self.wire.next_before(Instant::now() + NEXT_MAX) {
            Next::Message(text) => Some(text),
            Next::Late | Next::Ended => None,
        }
    }

    /// Waits for a request of this method.
    pub fn asked(&mut self, method: &str) -> String {
        self.until(|text| text.starts_with(&format!("{method} ")))
    }

    /// Waits for the final answer to the request of this CSeq.
    pub fn answer(&mut self, sequence: u32) -> Response {
        let text = self.until(|text| {
            let last = text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1");
            last && header(text, "CSeq").starts_with(&format!("{sequence} "))
        });
        Response { status: text[8..11].parse().unwrap(), text }
    }

    fn until(&mut self, satisfies: impl Fn(&str) -> bool) -> String {
        let limit = Instant::now() + NEXT_MAX;
        let mut seen = Vec::new();
        while Instant::now() < limit {
            match self.next() {
                Some(text) if satisfies(&text) => return text,
                Some(text) => seen.push(text),
                None => break,
            }
        }
        panic!("it never came; this came instead:\n{}", seen.join("\n"));
    }

    /// Registers with a proof.
    pub fn register(&mut self) -> Response {
        self.sequence += 1;
        let nonce = {
            self.send_register("");
            let challenged = self.answer(self.sequence);
            assert_eq!(challenged.status, 401, "{}", challenged.text);
            challenged.nonce()
        };
        self.sequence += 1;
        let (user, realm) = (&self.user, &self.domain);
        let uri = format!("sip:{realm}");
        let who = Algorithm::Md5.hash(&format!("{user}:{realm}:secret-{user}"));
        let what = Algorithm::Md5.hash(&format!("REGISTER:{uri}"));
        let response = Algorithm::Md5.hash(&format!("{who}:{nonce}:00000001:0a4f:auth:{what}"));
        let proof = format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f\"\r\n"
        );
        self.send_register(&proof);
        let answer = self.answer(self.sequence);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }

    fn send_register(&mut self, proof: &str) {
        let (user, domain, contact, via) = (&self.user, &self.domain, self.contact(), self.via());
        let (sequence, call_id) = (self.sequence, &self.call_id);
        let text = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: {via}\r\nFrom: <sip:{user}@{domain}>;tag=f{sequence}\r\n\
             To: <sip:{user}@{domain}>\r\nCall-ID: {call_id}\r\nCSeq: {sequence} REGISTER\r\nMax-Forwards: 70\r\n\
             Contact: <{contact}>;expires=600\r\n{proof}Content-Length: 0\r\n\r\n"
        );
        self.send(text.as_bytes());
    }

    fn via(&self) -> String {
        let (transport, host, id, sequence) =
            (self.transport.to_uppercase(), &self.host, &self.call_id[..6], self.sequence);
        format!("SIP/2.0/{transport} {host};branch=z9hG4bK{id}{sequence}")
    }

    /// Sends a request as a citizen would, outside a dialog or within that of `to_tag`. Returns its CSeq number.
    pub fn request(&mut self, method: &str, number: &str, to_tag: &str, more: &str, body: &str) -> u32 {
        self.sequence += u32::from(method != "ACK");
        let (via, user, host, sequence, call_id) = (self.via(), &self.user, &self.host, self.sequence, &self.call_id);
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} sip:{number}@127.0.0.1 SIP/2.0\r\nVia: {via}{method}\r\nFrom: <sip:{user}@{host}>;tag=t\r\n\
             To: <sip:{number}@127.0.0.1>{tag}\r\nCall-ID: call-{call_id}\r\nCSeq: {sequence} {method}\r\n\
             Contact: <{contact}>\r\nMax-Forwards: 70\r\n{more}{kind}Content-Length: {length}\r\n\r\n{body}",
            contact = self.contact(),
            length = body.len(),
        );
        self.send(text.as_bytes());
        self.sequence
    }

    /// Sends a request within the dialog that our answer to `invite` began.
    pub fn request_within(&mut self, invite: &str, method: &str) -> u32 {
        self.sequence += 1;
        let target = header(invite, "Contact").trim_start_matches('<').trim_end_matches('>');
        let (from, to, call_id) = (header(invite, "To"), header(invite, "From"), header(invite, "Call-ID"));
        let (via, sequence, contact) = (self.via(), self.sequence, self.contact());
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: {via}\r\nFrom: {from};tag=phone\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {sequence} {method}\r\nContact: <{contact}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        self.send(text.as_bytes());
        self.sequence
    }

    /// Answers a request that came.
    pub fn reply(&mut self, request: &str, status: &str, body: &str) {
        let tag = if header(request, "To").contains("tag=") { "" } else { ";tag=phone" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{};ob>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            header(request, "Via"),
            header(request, "From"),
            header(request, "To"),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            self.contact(),
            body.len(),
        );
        self.send(text.as_bytes());
    }
}

/// The length of the message or line end at the beginning of what was read.
pub fn whole(unread: &[u8]) -> Option<usize> {
    if unread.starts_with(b"\r\n") {
        return Some(2);
    }
    let text = String::from_utf8_lossy(unread);
    let head = text.find("\r\n\r\n")? + 4;
    let length: usize = header(&text[..head], "Content-Length").parse().unwrap();
    (unread.len() >= head + length).then_some(head + length)
}

/// The first header of this name.
pub fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}
