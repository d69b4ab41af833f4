//! `sip-profiles/dialling.toml`: the one list of what may be dialled. Without the file nothing is.

use super::node::{Sites, site_of};
use super::problem::{Problem, suggest};
use super::schema;
use super::source::{Check, Source};
use crate::base::TrunkId;
use crate::base::number::{Number, NumberKind};
use crate::sip::location::{self, CIVIC_ELEMENTS};
use crate::trunk::Dialling;
use crate::trunk::dialling::{Pattern, Place, Rule};
use crate::trunk::event::{Geolocation, Profile};
use std::path::Path;

/// Reads all rules.
pub(super) fn read(path: &Path, sites: Sites<'_>, trunks: &[Profile], problems: &mut Vec<Problem>) -> Dialling {
    if !path.exists() {
        return Dialling::default();
    }
    let Some(source) = Source::open(path, "make it readable", problems) else { return Dialling::default() };
    let Some(raw) = source.read::<schema::Dialling>(problems).value else { return Dialling::default() };
    let mut check = Check { source: &source, problems };
    Dialling { rules: raw.rule.iter().filter_map(|raw| rule(&mut check, raw, sites, trunks)).collect() }
}

fn rule(check: &mut Check<'_>, raw: &schema::DiallingRule, sites: Sites<'_>, trunks: &[Profile]) -> Option<Rule> {
    let site = site_of(check, &raw.site, sites)?;
    let numbers: Vec<Pattern> =
        raw.numbers.get_ref().iter().filter_map(|text| pattern(check, text, raw.emergency)).collect();
    if raw.numbers.get_ref().is_empty() {
        check.wrong(&raw.numbers.span(), "a rule for no number", "name what may be dialled");
    }
    let area = &sites.list[site.index()].area_code;
    let caller = Number::parse(raw.caller.get_ref(), area)
        .map_err(|error| {
            let message = format!("\"{}\" is no number: {error}", raw.caller.get_ref());
            check.wrong(&raw.caller.span(), message, "write the site's own number, which called parties see");
        })
        .ok()?;
    let routes = raw.trunks.get_ref().iter().filter_map(|name| trunk(check, name, trunks)).collect::<Vec<_>>();
    if raw.trunks.get_ref().is_empty() {
        check.wrong(&raw.trunks.span(), "a rule without a trunk", "name at least one of sip-profiles/trunks");
    }
    let place = place(check, raw);
    let drill = drill(check, raw, &routes, trunks);
    if raw.emergency || drill {
        for (route, name) in routes.iter().zip(raw.trunks.get_ref()) {
            let (missing, cure) = match trunks[route.index()].wording.geolocation {
                Geolocation::Header if place.uri.is_none() => ("location", "add location = \"https://…\""),
                Geolocation::Body if place.civic.is_empty() => {
                    ("civic", "add civic = { country = \"CN\", A1 = \"…\" }")
                }
                Geolocation::None | Geolocation::Header | Geolocation::Body => continue,
            };
            let message = format!("trunk \"{}\" is to be told where the call is from: no `{missing}`", name.get_ref());
            check.wrong(&name.span(), message, cure);
        }
    }
    Some(Rule { site, numbers, trunks: routes, caller, emergency: raw.emergency, drill, place })
}

/// Whether the rule is for exercises: then all of its trunks are. No real emergency may end at a simulated line.
fn drill(check: &mut Check<'_>, raw: &schema::DiallingRule, routes: &[TrunkId], trunks: &[Profile]) -> bool {
    let is_drill = |route: &TrunkId| trunks[route.index()].drill;
    let drill = routes.first().is_some_and(is_drill);
    for (route, name) in routes.iter().zip(raw.trunks.get_ref()) {
        let name_is = name.get_ref();
        if is_drill(route) && raw.emergency {
            let message = format!("trunk \"{name_is}\" is for drills: an emergency would reach nobody");
            check.wrong(&name.span(), message, "name trunks without drill = true");
        } else if is_drill(route) != drill {
            let message = format!("trunk \"{name_is}\" and those before it: one for drills, one not");
            check.wrong(&name.span(), message, "write a rule for the drill trunks alone");
        }
    }
    drill
}

/// Where the callers are.
fn place(check: &mut Check<'_>, raw: &schema::DiallingRule) -> Place {
    let uri = raw.location.as_ref().map(|text| {
        if !location::is_uri(text.get_ref()) {
            let message = format!("\"{}\" is no URI of a location", text.get_ref());
            check.wrong(&text.span(), message, "write https://…, sip:… or pres:…");
        }
        text.get_ref().as_str().into()
    });
    for element in raw.civic.keys().filter(|element| !CIVIC_ELEMENTS.contains(&element.get_ref().as_str())) {
        let message = format!("\"{}\" is no element of a civic address", element.get_ref());
        check.wrong(&element.span(), message, format!("write some of {} (RFC 5139)", CIVIC_ELEMENTS.join(", ")));
    }
    // In the order in which people read an address.
    let value = |name: &&str| raw.civic.iter().find(|(element, _)| element.get_ref() == name).map(|(_, value)| value);
    let pairs = CIVIC_ELEMENTS.iter().filter_map(|name| Some(((*name).into(), value(name)?.as_str().into())));
    Place { uri, civic: pairs.collect() }
}

fn pattern(check: &mut Check<'_>, text: &schema::Text, emergency: bool) -> Option<Pattern> {
    let pattern = Pattern::parse(text.get_ref())
        .map_err(|error| {
            let cure = "write digits, ? for any one digit, * at the end for any further ones: \"110\", \"1??????????\", \"0591*\"";
            check.wrong(&text.span(), format!("\"{}\" {error}", text.get_ref()), cure);
        })
        .ok()?;
    let police = match &pattern {
        Pattern::Exact(exact) => Number::parse(exact, "").is_ok_and(|it| it.kind() == NumberKind::Emergency),
        Pattern::Digits { .. } => false,
    };
    if emergency && !police {
        let message = format!("\"{}\" is no emergency number", text.get_ref());
        check.wrong(&text.span(), message, "an emergency rule names 110, 119, 120 or 122 and nothing else");
    } else if police && !emergency {
        let message = format!("\"{}\" is an emergency number", text.get_ref());
        check.wrong(&text.span(), message, "move it to a rule with emergency = true");
    }
    Some(pattern)
}

fn trunk(check: &mut Check<'_>, name: &schema::Text, trunks: &[Profile]) -> Option<TrunkId> {
    let place = trunks.iter().position(|trunk| *trunk.name == **name.get_ref());
    match place {
        Some(place) if trunks[place].remote.is_some() => Some(TrunkId(place as u16)),
        Some(_) => {
            let message = format!("trunk \"{}\" only brings calls in", name.get_ref());
            check.wrong(&name.span(), message, "add remote = \"ADDRESS:PORT\" to its file");
            None
        }
        None => {
            let known = trunks.iter().map(|trunk| &*trunk.name);
            check.wrong(&name.span(), format!("unknown trunk \"{}\"", name.get_ref()), suggest(name.get_ref(), known));
            None
        }
    }
}
