//! `sip-profiles/trunks/`: one file each.

use super::listeners::LISTENER_CURE;
use super::problem::Problem;
use super::schema;
use super::source::{Check, Reading, Source, files};
use crate::sip::event::{Credential, TrunkSettings};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;

/// Reads all trunks, in order of names. There may be none.
pub(super) fn read(folder: &Path, problems: &mut Vec<Problem>) -> Vec<TrunkSettings> {
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
        let schema::Trunk { trusts_identity, large, provisionals, .. } = raw;
        let peer = raw.peer.as_ref().and_then(|text| peer(&mut check, text, &sources));
        let credential = raw.credential.as_ref().map(|raw| credential(&mut check, raw));
        let name = name.into();
        trunks.push(TrunkSettings { name, sources, trusts_identity, large, provisionals, peer, credential });
    }
    trunks
}

/// Where calls over a trunk go: an address that is its own, so that its answers are believed.
fn peer(check: &mut Check<'_>, text: &schema::Text, sources: &[(IpAddr, u8)]) -> Option<SocketAddr> {
    let peer: SocketAddr = check.parse(text, "address", LISTENER_CURE)?;
    let network = |&(address, bits): &(IpAddr, u8)| IpNet::new(address, bits).ok();
    if !sources.iter().filter_map(network).any(|network| network.contains(&peer.ip())) {
        let message = format!("{} is none of the trunk's sources", peer.ip());
        check.wrong(&text.span(), message, "add it to sources, or name one of them");
    }
    Some(peer)
}

/// Of the password only hashes are kept.
fn credential(check: &mut Check<'_>, raw: &schema::Credential) -> Credential {
    if raw.password.get_ref().is_empty() {
        check.wrong(&raw.password.span(), "an empty password", "write what the carrier gave you");
    }
    Credential::new(&raw.user, &raw.realm, raw.password.get_ref())
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
