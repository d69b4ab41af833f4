//! By which transport and flow messages go (RFC 3261 §18, RFC 5626, RFC 7118): what stands in Via and Contact, large
//! requests, flows that close and phones that come back by another one.
//!
//! Knows flows by their names only; connections belong to the shell.

use super::client::{Client, ClientKey, Purpose};
use super::client_txn;
use super::dialog::{Dialog, via};
use super::event::{Bindings, Command, Flow, Large, Notice, Settings};
use super::leg::{Leg, LegKey, State};
use super::method::Method;
use super::screen::host;
use super::ua::{Pass, Ua};
use super::uri::{Uri, User};
use super::via::Transport;
use bytes::{BufMut, Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;

/// A longer request may be cut into fragments on its way (RFC 3261 §18.1.1: where the path's MTU is unknown).
pub const DATAGRAM_BYTES_MAX: usize = 1_300;
/// By which we reach an address that did not reach us, best first.
const TO_ADDRESSES: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// After a connection did not open, large requests go to that peer by UDP for so long.
const CONNECT_AGAIN: Duration = Duration::from_secs(60);
/// Peers of whom that is remembered; more are asked each time.
const BY_UDP_MAX: usize = 1_024;

impl Transport {
    /// Where a URI or Via names no port (RFC 3261 §19.1.2, RFC 7118 §5.4).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp | Transport::Sctp | Transport::Other => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// The `transport` of a URI. A WebSocket's is `ws`, be it secure or not (RFC 7118 §5.3).
    const fn of_uri(self) -> Option<&'static str> {
        match self {
            Transport::Udp | Transport::Other => None,
            Transport::Tcp => Some("tcp"),
            Transport::Tls => Some("tls"),
            Transport::Sctp => Some("sctp"),
            Transport::Ws | Transport::Wss => Some("ws"),
        }
    }

    /// Whether pages of browsers speak it (RFC 7118).
    pub(super) const fn is_web_socket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }
}

impl Settings {
    /// How the listener of a flow speaks.
    pub fn transport(&self, flow: Flow) -> Transport {
        self.listeners.get(usize::from(flow.listener)).map_or(Transport::Udp, |listener| listener.transport)
    }

    /// Our Contact on a flow; `sips` only where the transport is as good as that word.
    pub fn contact(&self, flow: Flow, secure: bool) -> String {
        let (advertised, transport) = (self.advertised(flow), self.transport(flow));
        match (transport.of_uri(), secure && transport.is_secure()) {
            // `sips` says TLS already (RFC 5630 §3.1.4).
            (Some("tls"), true) => format!("sips:{advertised}"),
            (Some(name), true) => format!("sips:{advertised};transport={name}"),
            (Some(_) | None, false) | (None, true) => self.uri_at(flow, "", advertised),
        }
    }

    /// The Contact of an account of ours at the other end of a flow.
    pub fn contact_of(&self, flow: Flow, user: &str) -> String {
        self.uri_at(flow, user, self.advertised(flow))
    }

    /// The flow to the address in a URI, from a listener of its transport and family: that of `from` where it fits.
    pub fn flow_to(&self, uri: &Uri<'_>, from: Flow) -> Option<Flow> {
        let ip = uri.host?.ip()?;
        let named = uri.params.value("transport").and_then(|name| {
            TO_ADDRESSES
                .into_iter()
                .find(|transport| transport.as_str().is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(name)))
        });
        let own = self.transport(from);
        let wanted = named.unwrap_or(own);
        let listener = if wanted == own { from.listener } else { self.listener(wanted, ip.is_ipv4())? };
        let connection = if wanted == Transport::Udp { 0 } else { Flow::ANY };
        Some(Flow { listener, connection, peer: SocketAddr::new(ip, uri.port.unwrap_or(wanted.default_port())) })
    }

    /// The URI of a user, or of nobody, at an address by the transport of a flow.
    fn uri_at(&self, flow: Flow, user: &str, at: SocketAddr) -> String {
        let user = if user.is_empty() { String::new() } else { format!("{}@", User(user)) };
        match self.transport(flow).of_uri() {
            Some(name) => format!("sip:{user}{at};transport={name}"),
            None => format!("sip:{user}{at}"),
        }
    }

    fn listener(&self, transport: Transport, ipv4: bool) -> Option<u16> {
        let fits = |it: &super::event::ListenerSettings| it.transport == transport && it.advertised.is_ipv4() == ipv4;
        self.listeners.iter().position(fits).and_then(|at| u16::try_from(at).ok())
    }

    /// A flow of an earlier life, whose listener may have had another number. Connections are gone and stay so.
    pub fn datagrams(&self, flow: Flow) -> Flow {
        let listener = match self.transport(flow) {
            _ if flow.is_reliable() => None,
            Transport::Udp => None,
            _ => self.listener(Transport::Udp, flow.peer.is_ipv4()),
        };
        Flow { listener: listener.unwrap_or(flow.listener), ..flow }
    }

    /// By which flow a request of this size is tried before its own.
    fn large(&self, flow: Flow, bytes: usize) -> Option<Flow> {
        if flow.is_reliable() || bytes <= DATAGRAM_BYTES_MAX {
            return None;
        }
        let of_listener = self.listeners.get(usize::from(flow.listener))?.large;
        let of_trunk = self.trunk_of(flow.peer.ip()).and_then(|trunk| trunk.large);
        match of_trunk.unwrap_or(of_listener) {
            Large::Udp => None,
            Large::Tcp => {
                let listener = self.listener(Transport::Tcp, flow.peer.is_ipv4())?;
                Some(Flow { listener, connection: Flow::ANY, ..flow })
            }
        }
    }
}

impl Purpose {
    /// For which leg a request was sent.
    pub(super) const fn leg(self) -> Option<LegKey> {
        match self {
            Purpose::Invite(leg)
            | Purpose::Reinvite(leg)
            | Purpose::Update(leg)
            | Purpose::Prack(leg)
            | Purpose::Notify(leg)
            | Purpose::Bye(leg) => Some(leg),
            Purpose::Ask(_) | Purpose::Nobody => None,
        }
    }
}

impl Ua {
    /// Sends a request and waits for its answers; a large one goes by TCP first where that is allowed (§18.1.1).
    pub(super) fn open(
        &mut self,
        pass: &mut Pass,
        flow: Flow,
        (method, branch): (Method, &str),
        request: Bytes,
        purpose: Purpose,
    ) -> ClientKey {
        let in_vain = self.by_udp.get(&flow.peer).is_some_and(|until| pass.now.mono < *until);
        let Some(by_tcp) = self.settings.large(flow, request.len()).filter(|_| !in_vain) else {
            return self.clients.open(&mut self.alarms, pass, flow, (method, branch), request, purpose);
        };
        let bytes = with_via(&request, &via(&self.settings, by_tcp, branch));
        let key = self.clients.open(&mut self.alarms, pass, by_tcp, (method, branch), bytes, purpose);
        if let Some(client) = self.clients.at_mut(key) {
            client.fallback = Some((flow, request));
        }
        if let Purpose::Invite(leg) = purpose
            && let Some(leg) = self.legs.get(leg)
        {
            pass.tell(Notice::Connecting { leg: leg.id });
        }
        key
    }

    /// A connection is gone, or could not be opened. What a trunk is owed goes by a new one (§18.2.2, RFC 5923); a phone is
    /// waited for until it registers again, but no new call is kept waiting for it.
    pub(super) fn closed(&mut self, pass: &mut Pass, flow: Flow) {
        for record in self.registrar.close(flow) {
            self.watch(record);
            pass.out.push(Command::Bindings(self.registrar.bindings(record)));
        }
        if flow.connection != Flow::ANY && self.settings.trunk_of(flow.peer.ip()).is_some() {
            let peer = SocketAddr::new(flow.peer.ip(), self.settings.transport(flow).default_port());
            let anew = Flow { connection: Flow::ANY, peer, ..flow };
            for leg in self.legs.values_mut() {
                let Some(dialog) = leg.dialog_mut().filter(|dialog| dialog.trunk && dialog.flow == flow) else {
                    continue;
                };
                dialog.flow = anew;
                // One of before a crash has no transaction any more that knows better.
                leg.answer.iter_mut().for_each(|answer| answer.flow = anew);
            }
        }
        self.pages_gone(pass, flow);
        for (leg, elsewhere) in self.servers.closed(pass, flow) {
            if let Some(answer) = self.legs.get_mut(leg).and_then(|leg| leg.answer.as_mut()) {
                answer.flow = elsewhere;
            }
        }
        for client in self.clients.unanswered(|client| client.flow == flow) {
            self.unsent(pass, client, flow);
        }
    }

    /// A request of ours may not have arrived: by UDP after all, by a new connection, later, or not at all.
    fn unsent(&mut self, pass: &mut Pass, key: ClientKey, closed: Flow) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let purpose = client.purpose;
        if let Some((flow, request)) = client.fallback.take() {
            client.request = request;
            self.clients.send_on(&mut self.alarms, pass, key, flow);
            return self.without_connection(pass, flow.peer, purpose);
        }
        let leg = purpose.leg().and_then(|leg| self.legs.get(leg));
        // The first INVITE is outside the dialog, even when another phone answered.
        let dialog = leg.and_then(Leg::dialog).filter(|_| !matches!(purpose, Purpose::Invite(_)));
        let next = dialog.map(|dialog| dialog.next_flow(&self.settings)).filter(|next| *next != closed);
        match (next, purpose) {
            (Some(next), _) => self.clients.send_on(&mut self.alarms, pass, key, next),
            // Within its time the phone may come back.
            (
                None,
                Purpose::Reinvite(_)
                | Purpose::Update(_)
                | Purpose::Prack(_)
                | Purpose::Notify(_)
                | Purpose::Bye(_)
                | Purpose::Nobody,
            ) if closed.connection != Flow::ANY => {}
            (
                None,
                Purpose::Invite(_)
                | Purpose::Reinvite(_)
                | Purpose::Update(_)
                | Purpose::Prack(_)
                | Purpose::Notify(_)
                | Purpose::Bye(_)
                | Purpose::Ask(_)
                | Purpose::Nobody,
            ) => {
                let told = self.clients.handle(&mut self.alarms, pass, key, client_txn::Event::Unsent, None);
                self.told(pass, key, told, None);
            }
        }
    }

    /// A large request went by UDP after all: so do the next ones, without another second of waiting.
    fn without_connection(&mut self, pass: &mut Pass, peer: SocketAddr, purpose: Purpose) {
        let now = pass.now.mono;
        self.by_udp.retain(|_, until| now < *until);
        if self.by_udp.len() < BY_UDP_MAX {
            self.by_udp.insert(peer, now + CONNECT_AGAIN);
        }
        let Purpose::Invite(key) = purpose else { return };
        if let Some(leg) = self.legs.get(key) {
            pass.tell(Notice::Resent { leg: leg.id });
        }
    }

    /// A phone registered: its dialogs follow it to the flow by which it did so, if either is a connection (RFC 5626 §5.3).
    /// They are known by the phone's address and by its Contact, so that nobody draws another's dialogs to himself.
    pub(super) fn returned(&mut self, pass: &mut Pass, record: u32) {
        let bindings = self.registrar.bindings(record);
        for binding in &bindings.contacts {
            let Ok(contact) = Uri::parse(binding.uri.as_bytes()) else { continue };
            let new = binding.flow;
            let moved = |dialog: &Dialog| {
                dialog.flow != new
                    && (dialog.flow.is_reliable() || new.is_reliable())
                    && !dialog.trunk
                    && Uri::parse(dialog.target.as_bytes()).is_ok_and(|target| target.equivalent(&contact))
                    && self.settings.names(&dialog.remote.uri, &bindings.user, &bindings.domain)
            };
            let legs: Vec<LegKey> =
                self.legs.iter().filter(|(_, leg)| leg.dialog().is_some_and(moved)).map(|(key, _)| key).collect();
            legs.into_iter().for_each(|leg| self.follow(pass, leg, new));
            self.ring_by(pass, &contact, new, &bindings);
        }
    }

    /// A phone that rings came back: its answer is acknowledged by the new flow, or it is told there to ring no more.
    fn ring_by(&mut self, pass: &mut Pass, contact: &Uri<'_>, new: Flow, bindings: &Bindings) {
        let moved = |client: &Client| {
            client.flow != new
                && (client.flow.is_reliable() || new.is_reliable())
                && client.message().is_some_and(|invite| {
                    let called = String::from_utf8_lossy(invite.to().uri.as_bytes());
                    invite.request_uri().is_some_and(|target| target.equivalent(contact))
                        && self.settings.names(&called, &bindings.user, &bindings.domain)
                })
        };
        let mut again = Vec::new();
        for (leg, it) in &mut self.legs {
            let State::Calling(calling) = &mut it.state else { continue };
            for key in &calling.branches {
                let Some(client) = self.clients.at_mut(*key).filter(|client| moved(client)) else { continue };
                let old = std::mem::replace(&mut client.flow, new);
                again.extend(Some(*key).filter(|_| !client.is_heard()));
                let early = calling.early.iter_mut().filter(|early| early.client == *key);
                early.for_each(|early| early.dialog.flow = new);
                let of_leg = |client: &Client| client.purpose == Purpose::Prack(leg) && client.flow == old;
                again.extend(self.clients.unanswered(of_leg));
            }
        }
        again.into_iter().for_each(|key| self.clients.send_on(&mut self.alarms, pass, key, new));
    }

    /// Everything of a leg goes by another flow from now on; what was not answered is sent again.
    pub(super) fn follow(&mut self, pass: &mut Pass, key: LegKey, flow: Flow) {
        let leg = &mut self.legs[key];
        if let Some(dialog) = leg.dialog_mut() {
            dialog.flow = flow;
        }
        if let Some(answer) = &mut leg.answer {
            answer.flow = flow;
        }
        self.servers.follow(key, flow);
        // An INVITE to another phone of the user, not cancelled yet, is none of this dialog's.
        let of_dialog = |client: &Client| {
            client.purpose.leg() == Some(key) && client.flow != flow && !matches!(client.purpose, Purpose::Invite(_))
        };
        for client in self.clients.unanswered(of_dialog) {
            self.clients.send_on(&mut self.alarms, pass, client, flow);
        }
    }
}

impl Settings {
    /// Whether a URI is this address-of-record, the domain by any of its names.
    fn names(&self, uri: &str, user: &str, domain: &str) -> bool {
        Uri::parse(uri.as_bytes()).is_ok_and(|uri| {
            *uri.user_text() == *user && host(&uri).is_some_and(|host| self.domain_of(&host) == Some(domain))
        })
    }
}

/// The same request with another topmost Via: of ours it is the first header.
fn with_via(request: &Bytes, via: &str) -> Bytes {
    let mut lines = memchr::memmem::find_iter(request, b"\r\n");
    let (Some(start), Some(end)) = (lines.next(), lines.next()) else { return request.clone() };
    let mut bytes = BytesMut::with_capacity(request.len() + via.len());
    bytes.put_slice(&request[..start]);
    bytes.put_slice(b"\r\nVia: ");
    bytes.put_slice(via.as_bytes());
    bytes.put_slice(&request[end..]);
    bytes.freeze()
}

#[cfg(test)]
mod tests;
