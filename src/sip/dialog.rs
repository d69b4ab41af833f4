//! Dialogs (RFC 3261 §12): identity, sequence numbers, route set, targets; and the requests written from them.
//!
//! Plain data that outlives the process. Owns no state of a session: [`leg`](super::leg) does.

use super::event::{Flow, Settings};
use super::message::{Contact, Message};
use super::method::Method;
use super::name::Name;
use super::uri::{Scheme, Uri};
use super::write::Writer;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Hops a request of ours may take (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";
/// Most routes a dialog keeps; a longer path is no path.
const ROUTES_MAX: usize = 32;
/// Where an address has no port.
const PORT_DEFAULT: u16 = 5060;

/// One side of a dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// URI of From or To; only tags are ever compared (§12.2.1.1).
    pub uri: Box<str>,
    /// Tag; empty when a peer of RFC 2543 sent none.
    pub tag: Box<str>,
}

/// A dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// We.
    pub local: Party,
    /// They.
    pub remote: Party,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of their last request, if any.
    pub remote_cseq: Option<u32>,
    /// URIs of the route set, in the order in which our requests take them.
    pub routes: Vec<Box<str>>,
    /// Remote target: their Contact.
    pub target: Box<str>,
    /// The flow by which they are reached.
    pub flow: Flow,
    /// Whether the other side is a trunk: only there Contact and Record-Route choose the address (phones sit behind NAT).
    pub trunk: bool,
    /// Whether our INVITE began it: who owns the Call-ID waits longer after glare (§14.1).
    pub ours: bool,
    /// CSeq of the last INVITE of ours whose 2xx we acknowledged.
    pub acked: Option<u32>,
}

/// Why a message begins no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {0}")]
pub struct NoDialog(pub Name);

impl Dialog {
    /// The dialog that our 2xx to `request` makes (§12.1.1).
    ///
    /// # Errors
    /// [`NoDialog`] names the header that is missing or unreadable.
    pub fn of_server(request: &Message, tag: Box<str>, flow: Flow, trunk: bool) -> Result<Dialog, NoDialog> {
        Ok(Dialog {
            call_id: text(request.call_id()).ok_or(NoDialog(Name::CallId))?,
            local: Party { uri: lossy(request.to().uri), tag },
            remote: Party {
                uri: lossy(request.from().uri),
                tag: text(request.from().tag().unwrap_or_default()).ok_or(NoDialog(Name::From))?,
            },
            local_cseq: 0,
            remote_cseq: Some(request.cseq().number),
            routes: route_set(request)?,
            target: contact(request).ok_or(NoDialog(Name::Contact))?,
            flow,
            trunk,
            ours: false,
            acked: None,
        })
    }

    /// The dialog that a 2xx to our INVITE makes (§12.1.2). A 2xx without Contact is taken to mean the Request-URI.
    ///
    /// # Errors
    /// [`NoDialog`] names the header that is unreadable.
    pub fn of_client(invite: &Message, response: &Message, flow: Flow) -> Result<Dialog, NoDialog> {
        let mut routes = route_set(response)?;
        routes.reverse();
        let target = contact(response).or_else(|| text(invite.request_uri()?.as_bytes()));
        Ok(Dialog {
            call_id: text(invite.call_id()).ok_or(NoDialog(Name::CallId))?,
            local: Party {
                uri: lossy(invite.from().uri),
                tag: text(invite.from().tag().unwrap_or_default()).ok_or(NoDialog(Name::From))?,
            },
            remote: Party {
                uri: lossy(invite.to().uri),
                tag: text(response.to().tag().unwrap_or_default()).ok_or(NoDialog(Name::To))?,
            },
            local_cseq: invite.cseq().number,
            remote_cseq: None,
            routes,
            target: target.ok_or(NoDialog(Name::Contact))?,
            flow,
            trunk: false,
            ours: true,
            acked: None,
        })
    }

    /// The dialog that a 2xx makes whose INVITE we have forgotten: all we need of it stands in the response (§8.2.6.2).
    ///
    /// # Errors
    /// [`NoDialog`] names the header that is missing or unreadable.
    pub fn of_orphan(response: &Message, flow: Flow) -> Result<Dialog, NoDialog> {
        let mut routes = route_set(response)?;
        routes.reverse();
        Ok(Dialog {
            call_id: text(response.call_id()).ok_or(NoDialog(Name::CallId))?,
            local: Party {
                uri: lossy(response.from().uri),
                tag: text(response.from().tag().unwrap_or_default()).ok_or(NoDialog(Name::From))?,
            },
            remote: Party {
                uri: lossy(response.to().uri),
                tag: text(response.to().tag().unwrap_or_default()).ok_or(NoDialog(Name::To))?,
            },
            local_cseq: response.cseq().number,
            remote_cseq: None,
            routes,
            target: contact(response).ok_or(NoDialog(Name::Contact))?,
            flow,
            trunk: false,
            ours: true,
            acked: None,
        })
    }

    /// Whether a request inside a dialog is of this one (§12.2.2); our tag has found it already.
    pub fn owns_request(&self, request: &Message) -> bool {
        self.call_id.as_bytes() == request.call_id()
            && self.remote.tag.as_bytes() == request.from().tag().unwrap_or_default()
    }

    /// Whether a response to a request of ours is of this one.
    pub fn owns_response(&self, response: &Message) -> bool {
        self.call_id.as_bytes() == response.call_id()
            && self.remote.tag.as_bytes() == response.to().tag().unwrap_or_default()
    }

    /// The Contact of a target refresh request or its 2xx becomes the target (§12.2).
    pub fn refresh(&mut self, message: &Message) {
        if let Some(target) = contact(message) {
            self.target = target;
        }
    }

    /// Where the next request goes: the first route or the target of a trunk, when it is an address in its networks;
    /// else the flow by which they came. So nobody's Contact can aim our requests at a stranger.
    pub fn next_flow(&self, settings: &Settings) -> Flow {
        let next = self.routes.first().unwrap_or(&self.target);
        // A connection that stands is used again (RFC 5923).
        let open = self.trunk && matches!(self.flow.connection, 0 | Flow::ANY);
        let named = Uri::parse(next.as_bytes()).ok().filter(|_| open).and_then(|uri| settings.flow_to(&uri, self.flow));
        named.filter(|flow| settings.trunk_of(flow.peer.ip()).is_some()).unwrap_or(self.flow)
    }

    /// Whether our Contact must be `sips` (§12.1.1).
    pub fn is_secure(&self) -> bool {
        Uri::parse(self.target.as_bytes()).is_ok_and(|uri| uri.scheme == Scheme::Sips)
    }

    /// Begins a request in the dialog (§12.2.1.1): Request-URI, Via, Max-Forwards, Route, From, To, Call-ID, CSeq.
    pub fn request(&self, method: Method, cseq: u32, settings: &Settings, branch: &str) -> Writer {
        let loose = |route: &str| Uri::parse(route.as_bytes()).is_ok_and(|uri| uri.params.has("lr"));
        let (uri, routes): (&str, Vec<&str>) = match self.routes.split_first() {
            None => (&self.target, Vec::new()),
            Some((first, _)) if loose(first) => (&self.target, self.routes.iter().map(|route| &**route).collect()),
            // A strict router (RFC 2543) is the Request-URI itself and finds the target at the end.
            Some((first, rest)) => (first, rest.iter().map(|route| &**route).chain([&*self.target]).collect()),
        };
        let uri = Uri::parse(uri.as_bytes()).expect("targets and routes are kept only when they are URIs");
        let mut writer = Writer::request(method, &uri);
        writer.line(Name::Via, format_args!("{}", via(settings, self.next_flow(settings), branch)));
        writer.header(Name::MaxForwards, MAX_FORWARDS);
        for route in routes {
            writer.line(Name::Route, format_args!("<{route}>"));
        }
        let tag = |tag: &str| (!tag.is_empty()).then(|| tag.to_owned());
        writer.address(Name::From, b"", &self.local.uri, tag(&self.local.tag).as_deref());
        writer.address(Name::To, b"", &self.remote.uri, tag(&self.remote.tag).as_deref());
        writer.header(Name::CallId, self.call_id.as_bytes());
        writer.line(Name::CSeq, format_args!("{cseq} {method}"));
        writer
    }
}

impl Settings {
    /// Our address on the listener of `flow`.
    pub fn advertised(&self, flow: Flow) -> SocketAddr {
        let listener = self.listeners.get(usize::from(flow.listener)).or(self.listeners.first());
        listener.map_or(SocketAddr::from(([0, 0, 0, 0], PORT_DEFAULT)), |listener| listener.advertised)
    }

    /// The trunk that sends from this address.
    pub fn trunk_of(&self, ip: IpAddr) -> Option<&super::event::TrunkSettings> {
        let ip = ip.to_canonical();
        self.trunks.iter().find(|trunk| trunk.sources.iter().any(|&(network, bits)| contains(network, bits, ip)))
    }

    /// Whether an address-of-record is in a domain of ours.
    pub fn serves(&self, address: &Uri<'_>) -> bool {
        super::screen::host(address).is_some_and(|host| self.domain_of(&host).is_some())
    }

    /// The canonical name of the domain that this host means.
    pub fn domain_of(&self, host: &str) -> Option<&str> {
        let names = |name: &str| name.eq_ignore_ascii_case(host);
        let served = |domain: &&super::event::DomainSettings| {
            names(&domain.name) || domain.aliases.iter().any(|alias| names(alias))
        };
        self.domains.iter().find(served).map(|domain| &*domain.name)
    }
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (network.to_canonical(), ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let unused = 32u32.saturating_sub(u32::from(bits));
            (network.to_bits() ^ ip.to_bits()).checked_shr(unused).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let unused = 128u32.saturating_sub(u32::from(bits));
            (network.to_bits() ^ ip.to_bits()).checked_shr(unused).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// The value of a Via of ours. `rport` asks for symmetric answers (RFC 3581 §3).
pub fn via(settings: &Settings, flow: Flow, branch: &str) -> String {
    let transport = settings.transport(flow).as_str().unwrap_or_default();
    format!("SIP/2.0/{transport} {};rport;branch={branch}", settings.advertised(flow))
}

/// Record-Route as it stands (§12.1.1); URIs without brackets and parameters.
fn route_set(message: &Message) -> Result<Vec<Box<str>>, NoDialog> {
    let wrong = NoDialog(Name::RecordRoute);
    if message.record_routes().count() > ROUTES_MAX {
        return Err(wrong);
    }
    message.record_routes().map(|route| text(route.map_err(|_| wrong)?.uri.as_bytes()).ok_or(wrong)).collect()
}

/// The first Contact, when it is a SIP or tel URI.
fn contact(message: &Message) -> Option<Box<str>> {
    match message.contacts().next()?.ok()? {
        Contact::All => None,
        Contact::At(address) => match address.uri.scheme {
            Scheme::Sip | Scheme::Sips | Scheme::Tel => text(address.uri.as_bytes()),
            Scheme::Other => None,
        },
    }
}

pub(super) fn text(bytes: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

fn lossy(uri: Uri<'_>) -> Box<str> {
    String::from_utf8_lossy(uri.as_bytes()).into()
}
