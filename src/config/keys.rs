//! `[[keys]]` of `sip-profiles/queues.toml`: what agents dial on their phones to ask for a state.

use super::node::{Sites, site_of};
use super::prompts::Prompts;
use super::schema;
use super::source::Check;
use crate::base::SiteId;
use crate::call::desk::{Key, Keys, Voice};
use crate::call::event::Pause;
use crate::call::targets::Targets;
use std::collections::BTreeMap;

const KEY_DIGITS_MAX: usize = 3;

/// What a site's keys must go together with.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub prompts: &'a Prompts,
    pub targets: &'a Targets,
    /// By site.
    pub pauses: &'a [Vec<Pause>],
}

/// Checks the keys of all sites: by site.
pub(super) fn check(
    check: &mut Check<'_>,
    raw: &[schema::Keys],
    sites: Sites<'_>,
    known: Known<'_>,
) -> Vec<Option<Keys>> {
    let mut all: Vec<Option<Keys>> = vec![None; sites.list.len()];
    for raw in raw {
        let Some(site) = site_of(check, &raw.site, sites) else { continue };
        if all[site.index()].is_some() {
            let message = format!("site \"{}\" has its keys already", raw.site.get_ref());
            check.wrong(&raw.site.span(), message, "put all keys of a site into one [[keys]]");
        }
        let by_key = by_key(check, raw, site, known);
        let voice = Voice::find(raw.log_in.is_some(), |name| known.prompts.find(name)).map_err(|missing| {
            let message = format!("phone keys need the prompt \"{missing}\"");
            check.wrong(&raw.site.span(), message, known.prompts.cure(missing));
        });
        all[site.index()] = voice.ok().map(|voice| Keys { by_key, voice });
    }
    all
}

fn by_key(check: &mut Check<'_>, raw: &schema::Keys, site: SiteId, known: Known<'_>) -> BTreeMap<Box<str>, Key> {
    let pauses = &known.pauses[site.index()];
    let states = [
        (&raw.ready, Key::Ready),
        (&raw.not_ready, Key::NotReady { reason: "".into() }),
        (&raw.log_off, Key::LogOff),
        (&raw.log_in, Key::LogIn),
    ];
    let states = states.into_iter().filter_map(|(text, key)| Some((text.as_ref()?, key)));
    if let Some(text) = raw.not_ready.as_ref().filter(|_| !pauses.is_empty()) {
        let message = "agents of this site pause for the reasons of its [[pause]] alone";
        check.wrong(&text.span(), message, "name a key for each of them in `pause`: { \"*13\" = \"REASON\" }");
    }
    let mut wanted: Vec<_> = states.collect();
    for (text, reason) in &raw.pause {
        let named = reason.get_ref().as_str();
        if named.is_empty() || !pauses.is_empty() && !pauses.iter().any(|pause| *pause.reason == *named) {
            let known: Vec<&str> = pauses.iter().map(|pause| &*pause.reason).collect();
            let cure = match known.is_empty() {
                true => "write why they pause: \"小休\"".into(),
                false => format!("this site has: {}", known.join(", ")),
            };
            check.wrong(&reason.span(), format!("\"{named}\" is no reason to pause"), cure);
        }
        wanted.push((text, Key::NotReady { reason: named.into() }));
    }
    let mut by_key = BTreeMap::new();
    for (text, key) in wanted {
        let dialled = dialled(check, text, site, known.targets);
        if by_key.insert(dialled, key).is_some() {
            check.wrong(&text.span(), format!("key \"{}\" is given twice", text.get_ref()), "choose another");
        }
    }
    by_key
}

/// `*` and digits: dialled as a whole, so that one may be the beginning of another.
fn dialled(check: &mut Check<'_>, text: &schema::Text, site: SiteId, targets: &Targets) -> Box<str> {
    let key = text.get_ref().as_str();
    let digits = key.strip_prefix('*').unwrap_or("");
    if !(1..=KEY_DIGITS_MAX).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        check.wrong(&text.span(), format!("\"{key}\" is no key"), "write * and 1 to 3 digits: \"*1\", \"*21\"");
    }
    if let Some(target) = targets.of(site).find(|target| target.key.as_deref() == Some(key)) {
        let message = format!("\"{key}\" is the key of target \"{}\"", target.name);
        check.wrong(&text.span(), message, "choose another: a phone in a talk dials targets by their keys");
    }
    key.into()
}
