//! `sip-profiles/trunks/`: one file each.

use super::listeners::Listener;
use super::problem::Problem;
use super::profiles::profile;
use super::schema;
use super::source::{Check, Reading, Source, files};
use crate::sip::event::TrunkSettings;
use crate::trunk::event::Profile;
use ipnet::IpNet;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

/// Reads all trunks, in order of names: what the user agent is told of them, and their profiles. There may be none.
/// Paths in them are relative to `root`.
pub(super) fn read(
    (root, folder): (&Path, &Path),
    listeners: &[Listener],
    problems: &mut Vec<Problem>,
) -> (Vec<TrunkSettings>, Vec<Profile>) {
    let mut trunks: Vec<TrunkSettings> = Vec::new();
    let mut profiles = Vec::new();
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
        let own: Vec<IpNet> = taken.iter().filter(|(_, trunk)| **trunk == *name).map(|(network, _)| *network).collect();
        let profile = profile(&mut check, (root, &name), &raw, listeners, &own);
        let login = profile.login.clone();
        profiles.push(profile);
        let schema::Trunk { trusts_identity, large, provisionals, .. } = raw;
        trunks.push(TrunkSettings { name: name.into(), sources, trusts_identity, large, provisionals, login });
    }
    (trunks, profiles)
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
