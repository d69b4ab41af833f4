//! `sip-profiles/listeners/`: one file each.

use super::certificates;
use super::problem::Problem;
use super::schema;
use super::source::{Check, Reading, Source, files};
use crate::sip::event::{Large, ListenerSettings};
use crate::sip::via;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// RFC 3261 §18 over datagrams.
    Udp,
    /// RFC 3261 §18 over streams.
    Tcp,
    /// RFC 3261 §26.2.
    Tls,
    /// RFC 7118.
    Ws,
    /// RFC 7118 over TLS.
    Wss,
}

impl Transport {
    /// As files and people write it.
    pub const fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// As SIP knows it.
    pub const fn sip(self) -> via::Transport {
        match self {
            Transport::Udp => via::Transport::Udp,
            Transport::Tcp => via::Transport::Tcp,
            Transport::Tls => via::Transport::Tls,
            Transport::Ws => via::Transport::Ws,
            Transport::Wss => via::Transport::Wss,
        }
    }

    /// Whether it has a certificate.
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Whether browsers speak it.
    pub const fn is_web_socket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }
}

/// What strangers get: messages from no trunk and no registered phone that register for no domain of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strangers {
    /// Nothing, as if there were no server.
    #[default]
    Silence,
    /// The answers of RFC 3261.
    Answer,
}

/// One listener, in order of file names: the place is the `listener` of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name of its file.
    pub name: Box<str>,
    /// How it speaks.
    pub transport: Transport,
    /// Address to bind.
    pub listen: SocketAddr,
    /// Address that others see.
    pub advertised: SocketAddr,
    /// How requests go that are too large for a datagram.
    pub large: Large,
    /// On `tls` and `wss`.
    pub tls: Option<Tls>,
    /// On `ws` and `wss`: pages of these origins may connect; `*` stands for all.
    pub origins: Vec<Box<str>>,
    /// Of its connections.
    pub bounds: Bounds,
    /// What strangers get there.
    pub strangers: Strangers,
}

/// What a listener shows and wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Its own.
    pub certificate: Certificate,
    /// Of the other side.
    pub clients: Clients,
    /// Who may sign certificates of the other side, in a PEM file. Connections of ours are checked against it too.
    pub authorities: Option<PathBuf>,
}

/// A listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Made at the first start and kept with the engine's data.
    SelfSigned,
    /// From PEM files: the chain, leaf first, and the key.
    Files {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

/// What is wanted of whoever connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clients {
    /// No certificate.
    #[default]
    None,
    /// One that is good, or none.
    Optional,
    /// One that is good.
    Required,
}

/// Limits of a listener's connections; a further one is closed at once and those that stand are untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open at once.
    pub connections_max: usize,
    /// Open at once from one address.
    pub per_source_max: usize,
    /// Handshakes under way at once.
    pub handshakes_max: usize,
    /// A connection by which no phone is registered may be silent for so long; trunks may be silent.
    pub unregistered_max: Duration,
}

impl Listener {
    /// What SIP must know of it.
    pub fn settings(&self) -> ListenerSettings {
        ListenerSettings {
            transport: self.transport.sip(),
            advertised: self.advertised,
            large: self.large,
            answers_strangers: self.strangers == Strangers::Answer,
        }
    }

    /// Whether another one would be bound in the same place.
    pub fn is_at(&self, other: &Listener) -> bool {
        (self.transport, self.listen) == (other.transport, other.listen)
    }
}

/// What to do about an address that is none.
pub(super) const LISTENER_CURE: &str = "write address and port: \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\"";
const ORIGIN_CURE: &str = "write origins = [\"https://console.example\"] with scheme, host and port as browsers show \
                           them, no path; \"*\" lets every page connect";

/// Reads all listeners. There must be one. Paths in them count from `root`.
pub(super) fn read(folder: &Path, root: &Path, problems: &mut Vec<Problem>) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let found = files(folder, "toml").unwrap_or_default();
    if found.is_empty() {
        let message = "no listener: nobody can reach this node".into();
        let cure = "write a file such as udp.toml with transport = \"udp\" and listen = \"0.0.0.0:5060\"".into();
        problems.push(Problem { path: folder.into(), at: None, message, cure });
    }
    for (path, name) in found {
        let Some(source) = Source::open(&path, "make it readable", problems) else {
            continue;
        };
        let Reading { value: Some(raw), .. } = source.read::<schema::Listener>(problems) else {
            continue;
        };
        let mut check = Check { source: &source, problems };
        let Some(listener) = listener(&mut check, &name, &raw, root) else {
            continue;
        };
        if let Some(other) = listeners.iter().find(|other| clash(other, &listener)) {
            let message = format!("{} is taken by listener \"{}\"", listener.listen, other.name);
            check.wrong(&raw.listen.span(), message, "use another address or port");
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(check: &mut Check<'_>, name: &str, raw: &schema::Listener, root: &Path) -> Option<Listener> {
    let listen: SocketAddr = check.parse(&raw.listen, "address", LISTENER_CURE)?;
    let (advertised, span) = match &raw.advertised {
        Some(text) => (check.parse(text, "address", LISTENER_CURE)?, text.span()),
        None => (listen, raw.listen.span()),
    };
    if advertised.ip().is_unspecified() {
        let message = format!("nobody can answer to {advertised}");
        check.wrong(&span, message, "add advertised = \"ADDRESS:PORT\", as others reach this machine");
    } else if advertised.is_ipv4() != listen.is_ipv4() {
        let message = format!("{advertised} and {listen} are of different address families");
        check.wrong(&span, message, "use one listener for IPv4 and one for IPv6");
    }
    let transport = raw.transport;
    misplaced(check, transport, raw);
    let tls = transport.is_secure().then(|| tls(check, raw, root));
    let origins = if transport.is_web_socket() { origins(check, raw) } else { Vec::new() };
    let bound = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let bounds = Bounds {
        connections_max: bound(check.bounded(raw.connections_max.as_ref(), 8_192, 1..=1_000_000)),
        per_source_max: bound(check.bounded(raw.connections_per_source_max.as_ref(), 1_024, 1..=1_000_000)),
        handshakes_max: bound(check.bounded(raw.handshakes_max.as_ref(), 256, 1..=65_536)),
        unregistered_max: check.seconds(raw.unregistered_s_max.as_ref(), 120, 1..=86_400),
    };
    let large = raw.large.as_ref().map_or(Large::Tcp, |large| *large.get_ref());
    let (name, tls, strangers) = (name.into(), tls.flatten(), raw.strangers);
    Some(Listener { name, transport, listen, advertised, large, tls, origins, bounds, strangers })
}

/// A key, and its place when it was written.
type Written = (&'static str, Option<Range<usize>>);

/// Keys that mean nothing on this transport: whoever wrote them believes in an effect.
fn misplaced(check: &mut Check<'_>, transport: Transport, raw: &schema::Listener) {
    let span = |text: &Option<schema::Text>| text.as_ref().map(toml::Spanned::span);
    let secure = [
        ("certificate", span(&raw.certificate)),
        ("key", span(&raw.key)),
        ("self_signed", raw.self_signed.as_ref().map(toml::Spanned::span)),
        ("client_certificates", raw.client_certificates.as_ref().map(toml::Spanned::span)),
        ("authorities", span(&raw.authorities)),
    ];
    let web = [("origins", raw.origins.as_ref().map(toml::Spanned::span))];
    let datagrams = [("large", raw.large.as_ref().map(toml::Spanned::span))];
    let counts = [
        ("connections_max", &raw.connections_max),
        ("connections_per_source_max", &raw.connections_per_source_max),
        ("handshakes_max", &raw.handshakes_max),
        ("unregistered_s_max", &raw.unregistered_s_max),
    ];
    let streams = counts.map(|(name, count)| (name, count.as_ref().map(toml::Spanned::span)));
    let groups: [(&[Written], bool); 4] = [
        (&secure, transport.is_secure()),
        (&web, transport.is_web_socket()),
        (&datagrams, transport == Transport::Udp),
        (&streams, transport != Transport::Udp),
    ];
    for (keys, _) in groups.into_iter().filter(|(_, belong)| !belong) {
        for (name, span) in keys.iter().filter_map(|(name, span)| Some((name, span.as_ref()?))) {
            let message = format!("`{name}` means nothing with transport = \"{}\"", transport.word());
            check.wrong(span, message, "remove it, or choose another transport");
        }
    }
}

fn tls(check: &mut Check<'_>, raw: &schema::Listener, root: &Path) -> Option<Tls> {
    let self_signed = raw.self_signed.as_ref().is_some_and(|it| *it.get_ref());
    let certificate = match (&raw.certificate, &raw.key) {
        (None, None) if self_signed => Certificate::SelfSigned,
        (Some(chain_text), Some(key)) if !self_signed => {
            let (chain, key) = (root.join(chain_text.get_ref()), root.join(key.get_ref()));
            if let Err(error) = certificates::chain_and_key(&chain, &key) {
                check.wrong(&chain_text.span(), error.to_string(), error.cure());
            }
            Certificate::Files { chain, key }
        }
        (chain, key) => {
            let span = chain.as_ref().or(key.as_ref()).unwrap_or(&raw.listen).span();
            let message = "one certificate is needed";
            let cure = "write certificate = \"FILE.pem\" and key = \"FILE.pem\", or self_signed = true for a trial";
            check.wrong(&span, message, cure);
            return None;
        }
    };
    let clients = raw.client_certificates.as_ref().map_or(Clients::None, |clients| *clients.get_ref());
    let authorities = raw.authorities.as_ref().map(|text| (root.join(text.get_ref()), text.span()));
    match (&authorities, &raw.client_certificates) {
        (Some((path, span)), _) => {
            if let Err(error) = certificates::authorities(path) {
                check.wrong(span, error.to_string(), error.cure());
            }
        }
        (None, Some(wanted)) if clients != Clients::None => {
            let cure = "add authorities = \"CA.pem\" with the certificates of those who sign";
            check.wrong(&wanted.span(), "nobody says whose certificates are good", cure);
        }
        (None, _) => {}
    }
    Some(Tls { certificate, clients, authorities: authorities.map(|(path, _)| path) })
}

fn origins(check: &mut Check<'_>, raw: &schema::Listener) -> Vec<Box<str>> {
    let Some(origins) = raw.origins.as_ref().filter(|origins| !origins.get_ref().is_empty()) else {
        check.wrong(&raw.listen.span(), "no page may connect: `origins` is missing", ORIGIN_CURE);
        return Vec::new();
    };
    for text in origins.get_ref().iter().filter(|text| !is_origin(text.get_ref())) {
        check.wrong(&text.span(), format!("\"{}\" is no origin", text.get_ref()), ORIGIN_CURE);
    }
    origins.get_ref().iter().map(|text| text.get_ref().to_ascii_lowercase().into()).collect()
}

/// `*`, or scheme, host and perhaps port (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '*', '?', '#']))
}

/// Whether both cannot be bound. Port 0 (any free one) never clashes; datagrams and streams have ports of their own.
fn clash(a: &Listener, b: &Listener) -> bool {
    let covers = |a: IpAddr, b: IpAddr| a == b || (a.is_unspecified() && a.is_ipv4() == b.is_ipv4());
    let datagrams = |it: &Listener| it.transport == Transport::Udp;
    let (x, y) = (a.listen, b.listen);
    datagrams(a) == datagrams(b)
        && x.port() != 0
        && x.port() == y.port()
        && (covers(x.ip(), y.ip()) || covers(y.ip(), x.ip()))
}
