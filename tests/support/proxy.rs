//! A proxy of the test's own between phones and the engine (RFC 3261 §16.11, stateless): it stays in the path of dialogs by
//! Record-Route and of registrations by Path (RFC 3327), and may ask who calls (407).
//!
//! Towards phones it speaks UDP, towards the engine UDP or TCP; with two transports it records both (RFC 5658). As a router
//! of RFC 2543 it writes no `lr` and expects itself as the Request-URI.

use super::sip::Algorithm;
use super::stream::whole;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How it is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// Whether it routes as RFC 2543 did.
    pub strict: bool,
    /// Whether it speaks TCP with the engine.
    pub tcp: bool,
    /// Whether callers must prove themselves to it.
    pub asks: bool,
}

const REALM: &str = "proxy.example";
const NONCE: &str = "5ccc069c403ebaf9f0171e9517f40e41";
/// The tag of its own answers.
const TAG: &str = "proxy";

/// A running proxy; ends with the test.
pub struct Proxy {
    pub address: SocketAddr,
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

struct Core {
    kind: Kind,
    front: UdpSocket,
    address: SocketAddr,
    /// The connection with the engine and its own end's address.
    back: Option<(TcpStream, SocketAddr)>,
    engine: SocketAddr,
    over: AtomicBool,
    passed: Mutex<Vec<String>>,
}

/// A message as its lines.
#[derive(Default)]
struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Proxy {
    /// A proxy before the engine at this address, which is of the transport that `kind` says.
    pub fn start(kind: Kind, engine: SocketAddr) -> Proxy {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = front.local_addr().unwrap();
        let back = kind.tcp.then(|| {
            let stream = TcpStream::connect(engine).unwrap();
            stream.set_nodelay(true).unwrap();
            let local = stream.local_addr().unwrap();
            (stream, local)
        });
        let (over, passed) = (AtomicBool::new(false), Mutex::default());
        let core = Arc::new(Core { kind, front, address, back, engine, over, passed });
        let datagrams = Arc::clone(&core);
        let mut threads = vec![std::thread::spawn(move || datagrams.receive())];
        if core.back.is_some() {
            let stream = Arc::clone(&core);
            threads.push(std::thread::spawn(move || stream.read()));
        }
        Proxy { address, core, threads }
    }

    /// How many requests of this method it has passed on, in both directions.
    pub fn passed(&self, method: &str) -> usize {
        let passed = self.core.passed.lock().unwrap();
        passed.iter().filter(|first| first.starts_with(&format!("{method} "))).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.core.over.store(true, Ordering::Relaxed);
        if let Some((stream, _)) = &self.core.back {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Core {
    fn receive(&self) {
        let mut buffer = [0; 65_535];
        while !self.over.load(Ordering::Relaxed) {
            if let Ok((size, from)) = self.front.recv_from(&mut buffer) {
                self.handle(&String::from_utf8_lossy(&buffer[..size]), from);
            }
        }
    }

    fn read(&self) {
        let mut stream = &self.back.as_ref().expect("a connection").0;
        let (mut unread, mut some) = (Vec::new(), [0; 4_096]);
        while let Ok(count @ 1..) = stream.read(&mut some) {
            unread.extend_from_slice(&some[..count]);
            while let Some(length) = whole(&unread) {
                let message: Vec<u8> = unread.drain(..length).collect();
                self.handle(&String::from_utf8(message).unwrap(), self.engine);
            }
        }
    }

    fn handle(&self, text: &str, from: SocketAddr) {
        let Some(message) = Message::read(text) else { return };
        if message.first.starts_with("SIP/2.0 ") {
            return self.respond(message);
        }
        self.request(message, from);
    }

    /// Our own Via goes; the next one says where to.
    fn respond(&self, mut message: Message) {
        message.take_first("Via");
        let Some(via) = message.value("Via").and_then(|it| it.split(',').next()).map(str::to_owned) else { return };
        let sent_by = via.split([' ', ';']).nth(1).unwrap_or_default().to_owned();
        let param =
            |name: &str| via.split(';').find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        let host = param("received").unwrap_or_else(|| sent_by.split(':').next().unwrap_or_default().into());
        let port = param("rport").or_else(|| sent_by.split(':').nth(1).map(str::to_owned)).unwrap_or("5060".into());
        self.send(&message, format!("{host}:{port}").parse().unwrap());
    }

    fn request(&self, mut message: Message, from: SocketAddr) {
        let method = message.method().to_owned();
        let outside = !message.value("To").unwrap_or_default().contains("tag=");
        let from_engine = from == self.engine;
        if method == "ACK" && message.value("To").is_some_and(|to| to.ends_with(TAG)) {
            return;
        }
        if self.kind.asks && method == "INVITE" && outside && !from_engine && !message.is_proved() {
            return self.ask(&message, from);
        }
        let edge = self.route(&mut message, from_engine, outside);
        let next = message.value("Route").map_or_else(|| message.uri().to_owned(), uri_of);
        let to = edge.or_else(|| address_of(&next)).unwrap_or(self.engine);
        let hops: u32 = message.value("Max-Forwards").and_then(|it| it.parse().ok()).unwrap_or(70);
        message.set("Max-Forwards", &(hops.saturating_sub(1)).to_string());
        if method == "INVITE" {
            for record in self.records(from_engine) {
                message.insert("Record-Route", &record);
            }
        }
        if method == "REGISTER" && message.value("Supported").is_some_and(|it| it.contains("path")) {
            let edge = format!("<sip:{}@{};lr>", from.to_string().replace(':', "-"), self.side(true));
            message.insert("Path", &edge);
        }
        self.push_via(&mut message, from, to == self.engine);
        self.passed.lock().unwrap().push(message.first.clone());
        self.send(&message, to);
    }

    /// Takes ourselves out of the route (§16.4), and gives a request that was addressed to us on to whom it is for. Returns
    /// the phone that a path of ours named (RFC 3327 §5.1).
    fn route(&self, message: &mut Message, from_engine: bool, outside: bool) -> Option<SocketAddr> {
        let ours = |uri: &str| address_of(uri).is_some_and(|at| self.is_ours(at));
        // A strict router is the Request-URI, and the next hop becomes it.
        while !outside && ours(message.uri()) && message.value("Route").is_some() {
            let next = uri_of(&message.take_first("Route"));
            message.set_uri(&next);
        }
        let mut phone = None;
        while let Some(route) = message.value("Route").map(uri_of).filter(|route| ours(route)) {
            message.take_first("Route");
            phone = phone.or_else(|| (from_engine && route.contains('@')).then(|| token(&route)));
        }
        if !from_engine && outside && ours(message.uri()) {
            let user = message.uri().split([':', '@']).nth(1).unwrap_or_default().to_owned();
            message.set_uri(&format!("sip:{user}@{}", self.engine));
        }
        phone
    }

    fn is_ours(&self, at: SocketAddr) -> bool {
        at == self.address || self.back.as_ref().is_some_and(|(_, local)| *local == at)
    }

    /// Our address on the side of the engine, or of the phones.
    fn side(&self, engine: bool) -> String {
        match &self.back {
            Some((_, local)) if engine => format!("{local};transport=tcp"),
            Some(_) | None => self.address.to_string(),
        }
    }

    /// What keeps us in the dialog; the side that comes last stands on top.
    fn records(&self, from_engine: bool) -> Vec<String> {
        let lr = if self.kind.strict { "" } else { ";lr" };
        let record = |engine: bool| format!("<sip:{}{lr}>", self.side(engine));
        match self.back {
            Some(_) => vec![record(from_engine), record(!from_engine)],
            None => vec![record(false)],
        }
    }

    fn push_via(&self, message: &mut Message, from: SocketAddr, to_engine: bool) {
        let top = message.value("Via").unwrap_or_default().to_owned();
        let branch = top.split("branch=").nth(1).and_then(|it| it.split(';').next()).unwrap_or_default();
        let branch = format!("z9hG4bK{}", Algorithm::Md5.hash(branch));
        let top = top.replace(";rport", "") + &format!(";received={};rport={}", from.ip(), from.port());
        message.set("Via", &top);
        let (transport, address) = match &self.back {
            Some((_, local)) if to_engine => ("TCP", local),
            Some(_) | None => ("UDP", &self.address),
        };
        message.insert("Via", &format!("SIP/2.0/{transport} {address};branch={branch}"));
    }

    fn ask(&self, request: &Message, from: SocketAddr) {
        let mut answer = Message { first: "SIP/2.0 407 Proxy Authentication Required".into(), ..Message::default() };
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            answer.headers.push((name.into(), request.value(name).unwrap_or_default().into()));
        }
        let to = format!("{};tag={TAG}", answer.value("To").unwrap_or_default());
        answer.set("To", &to);
        let challenge = format!("Digest realm=\"{REALM}\", nonce=\"{NONCE}\", algorithm=MD5, qop=\"auth\"");
        answer.headers.push(("Proxy-Authenticate".into(), challenge));
        answer.headers.push(("Content-Length".into(), "0".into()));
        self.front.send_to(answer.text().as_bytes(), from).unwrap();
    }

    fn send(&self, message: &Message, to: SocketAddr) {
        let text = message.text();
        match &self.back {
            // A connection that is gone loses what is sent last, as any network does.
            Some((stream, _)) if to == self.engine => drop((&*stream).write_all(text.as_bytes())),
            Some(_) | None => drop(self.front.send_to(text.as_bytes(), to)),
        }
    }
}

impl Message {
    fn read(text: &str) -> Option<Message> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let first = lines.next()?.to_owned();
        let pair = |(name, value): (&str, &str)| (name.trim().to_owned(), value.trim().to_owned());
        let headers = lines.filter_map(|line| line.split_once(':')).map(pair).collect();
        Some(Message { first, headers, body: body.into() })
    }

    fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n{}", self.first, self.body)
    }

    fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    fn uri(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    fn set_uri(&mut self, uri: &str) {
        self.first = format!("{} {uri} SIP/2.0", self.method());
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.place(name).map(|at| &*self.headers[at].1)
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.place(name) {
            Some(at) => self.headers[at].1 = value.into(),
            None => self.insert(name, value),
        }
    }

    /// Puts a header before all others.
    fn insert(&mut self, name: &str, value: &str) {
        self.headers.insert(0, (name.into(), value.into()));
    }

    /// Takes the first value of a header that may hold several.
    fn take_first(&mut self, name: &str) -> String {
        let at = self.place(name).expect("it is there");
        match self.headers[at].1.clone().split_once(',') {
            Some((first, rest)) => {
                self.headers[at].1 = rest.trim().into();
                first.trim().into()
            }
            None => self.headers.remove(at).1,
        }
    }

    /// Whether it carries a proof for our challenge (RFC 7616 §3.4).
    fn is_proved(&self) -> bool {
        let Some(proof) = self.value("Proxy-Authorization") else { return false };
        let of = |name: &str| {
            let found = proof.trim_start_matches("Digest ").split(',').find_map(|it| {
                let (key, value) = it.trim().split_once('=')?;
                (key == name).then(|| value.trim_matches('"').to_owned())
            });
            found.unwrap_or_default()
        };
        let user = of("username");
        let who = Algorithm::Md5.hash(&format!("{user}:{REALM}:secret-{user}"));
        let what = Algorithm::Md5.hash(&format!("{}:{}", self.method(), of("uri")));
        let middle =
            if of("qop").is_empty() { String::new() } else { format!("{}:{}:{}:", of("nc"), of("cnonce"), of("qop")) };
        of("nonce") == NONCE && of("response") == Algorithm::Md5.hash(&format!("{who}:{NONCE}:{middle}{what}"))
    }
}

/// What stands between `<` and `>` in the first of the addresses.
fn uri_of(address: &str) -> String {
    address.split('<').nth(1).unwrap_or(address).split('>').next().unwrap_or_default().into()
}

/// Address and port of a URI, when it is no name.
fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.split_once(':')?.1;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    host.split(';').next()?.parse().ok()
}

/// The phone that a path of ours names.
fn token(uri: &str) -> SocketAddr {
    let user = uri.split([':', '@']).nth(1).unwrap_or_default();
    user.replace('-', ":").parse().expect("a token of ours")
}
