//! `sip-profiles/listeners/` and `sip-profiles/trunks/`: one file each.

use super::problem::Problem;
use super::schema;
use super::source::{Check, Reading, Source, files};
use crate::sip::event::TrunkSettings;
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;

/// How a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// RFC 3261 §18 over datagrams.
    Udp,
}

/// What strangers get: packets from no trunk and no registered phone that register for no domain of ours.
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
    /// What strangers get there.
    pub strangers: Strangers,
}

const LISTENER_CURE: &str = "write address and port: \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\"";

/// Reads all listeners. There must be one.
pub(super) fn listeners(folder: &Path, problems: &mut Vec<Problem>) -> Vec<Listener> {
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
        let Some(listener) = listener(&mut check, &name, &raw) else {
            continue;
        };
        if let Some(other) = listeners.iter().find(|other| clash(other.listen, listener.listen)) {
            let message = format!("{} is taken by listener \"{}\"", listener.listen, other.name);
            check.wrong(&raw.listen.span(), message, "use another address or port");
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(check: &mut Check<'_>, name: &str, raw: &schema::Listener) -> Option<Listener> {
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
    Some(Listener { name: name.into(), transport: raw.transport, listen, advertised, strangers: raw.strangers })
}

/// Whether both cannot be bound. Port 0 (any free one) never clashes.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |a: IpAddr, b: IpAddr| a == b || (a.is_unspecified() && a.is_ipv4() == b.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// Reads all trunks, in order of names. There may be none.
pub(super) fn trunks(folder: &Path, problems: &mut Vec<Problem>) -> Vec<TrunkSettings> {
    let mut trunks: Vec<TrunkSettings> = Vec::new();
    let mut taken: Vec<(IpNet, Box<str>)> = Vec::new();
    for (path, name) in files(folder, "toml").unwrap_or_default() {
        let Some(source) = Source::open(&path, "make it readable", problems) else {
            continue;
        };
        let Reading { value: Some(raw), .. } = source.read::<schema::Trunk>(problems) else {
            continue;
        };
        let mut check = Check { source: &source, problems };
        if raw.sources.get_ref().is_empty() {
            check.wrong(&raw.sources.span(), "a trunk without sources", "name the networks it sends from");
        }
        let mut sources = Vec::new();
        for text in raw.sources.get_ref() {
            let Some(network) = network(&mut check, text) else {
                continue;
            };
            overlap(&mut check, &text.span(), network, &name, &taken);
            taken.push((network, name.as_str().into()));
            sources.push((network.addr(), network.prefix_len()));
        }
        trunks.push(TrunkSettings { name: name.into(), sources, trusts_identity: raw.trusts_identity });
    }
    trunks
}

fn network(check: &mut Check<'_>, text: &schema::Text) -> Option<IpNet> {
    let cure = "write an address or a network: \"192.0.2.1\", \"192.0.2.0/24\", \"2001:db8::/32\"";
    if let Ok(address) = text.get_ref().parse::<IpAddr>() {
        return Some(address.into());
    }
    let network: IpNet = check.parse(text, "network", cure)?;
    if network != network.trunc() {
        let message = format!("{network} is an address within a network");
        let cure = format!("write {} for the whole network, {} for the one address", network.trunc(), network.addr());
        check.wrong(&text.span(), message, cure);
    }
    Some(network)
}

fn overlap(check: &mut Check<'_>, span: &Range<usize>, network: IpNet, name: &str, taken: &[(IpNet, Box<str>)]) {
    let meets = |other: &IpNet| other.contains(&network) || network.contains(other);
    if let Some((other, trunk)) = taken.iter().find(|(other, trunk)| **trunk != *name && meets(other)) {
        let message = format!("{network} overlaps {other} of trunk \"{trunk}\"");
        check.wrong(span, message, "give each address to one trunk: it is how a trunk is known");
    }
}
