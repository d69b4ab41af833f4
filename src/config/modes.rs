//! `[[mode]]` of `sip-profiles/queues.toml`: what queues do otherwise for a time, laid over what they are told.

use super::node::{Site, Sites, site_of};
use super::problem::suggest;
use super::prompts::Prompts;
use super::queues::{Queue, find, skills};
use super::schema;
use super::source::Check;
use super::targets::week;
use crate::acd;
use crate::acd::event::AgentSettings;
use crate::base::number::Number;
use crate::base::{QueueId, SiteId};
use crate::call::event::{Incident, QueueVoice};
use crate::modes::{Lent, Overlay, Rule, Rush};
use std::time::Duration;
use toml::Spanned;

/// Modes of one site.
const MODES_MAX: usize = 32;
/// A rush ends at so many times the usual, unless said otherwise.
const UNTIL_TIMES: f64 = 1.5;

/// A mode: when it is open, and what it changes then.
#[derive(Clone, Debug)]
pub(super) struct Mode {
    pub rule: Rule,
    pub overlay: Overlay,
    /// What citizens hear first.
    incident: Option<Incident>,
}

/// Checks all modes: by site, in the file's order.
pub(super) fn check(
    check: &mut Check<'_>,
    raw: &[schema::Mode],
    sites: Sites<'_>,
    (prompts, queues): (&Prompts, &[Vec<Queue>]),
) -> Vec<Vec<Mode>> {
    let mut modes: Vec<Vec<Mode>> = vec![Vec::new(); sites.list.len()];
    for raw in raw {
        let Some(id) = site_of(check, &raw.site, sites) else { continue };
        let site = &sites.list[id.index()];
        let mode = mode(check, raw, (id, site), (prompts, queues));
        let of_site = &mut modes[id.index()];
        let name = raw.name.get_ref();
        if name.is_empty() || of_site.iter().any(|other| *other.rule.name == **name) {
            let message = format!("mode \"{name}\" of site \"{}\" exists already, or has no name", site.code);
            check.wrong(&raw.name.span(), message, "give each mode of a site its own name");
        }
        if of_site.len() == MODES_MAX {
            check.wrong(&raw.name.span(), "too many modes", format!("{MODES_MAX} at most for one site"));
        }
        of_site.push(mode);
    }
    modes
}

fn mode(
    check: &mut Check<'_>,
    raw: &schema::Mode,
    (id, site): (SiteId, &Site),
    (prompts, queues): (&Prompts, &[Vec<Queue>]),
) -> Mode {
    let named: Vec<QueueId> = raw.queues.get_ref().iter().filter_map(|name| queue(check, name, id, queues)).collect();
    let changes = raw.skills.is_some() || raw.wrap_up_s.is_some() || raw.incident.is_some() || !raw.lend.is_empty();
    if raw.queues.get_ref().is_empty() || !changes {
        let cure = "name queues, and one of skills, wrap_up_s, incident, lend";
        check.wrong(&raw.name.span(), "this mode changes nothing", cure);
    }
    let hours = (!raw.hours.is_empty()).then(|| week(check, &raw.hours, site));
    let rush = raw.rush.as_ref().map(|raw| rush(check, raw, named.clone()));
    let lends = raw.lend.iter().map(|lend| {
        if lend.team.get_ref().is_empty() || lend.skills.is_empty() {
            check.wrong(&lend.team.span(), "this lends nothing", "name a team and skills");
        }
        Lent { team: lend.team.get_ref().as_str().into(), skills: skills(check, &lend.skills, site) }
    });
    let lends = lends.collect();
    Mode {
        rule: Rule { name: raw.name.get_ref().as_str().into(), hours, rush },
        overlay: Overlay {
            skills: raw.skills.as_ref().map(|raw| skills(check, raw.get_ref(), site)),
            wrap_up: raw.wrap_up_s.as_ref().map(|wrap_up| check.seconds(Some(wrap_up), 0, 0..=3_600)),
            queues: named,
            lends,
        },
        incident: raw.incident.as_ref().and_then(|raw| incident(check, raw, site, prompts)),
    }
}

fn queue(check: &mut Check<'_>, name: &schema::Text, site: SiteId, queues: &[Vec<Queue>]) -> Option<QueueId> {
    let found = find(queues, site, name.get_ref());
    if found.is_none() {
        let known = queues.get(site.index()).into_iter().flatten().map(|queue| &*queue.settings.name);
        check.wrong(&name.span(), format!("unknown queue \"{}\"", name.get_ref()), suggest(name.get_ref(), known));
    }
    found
}

fn rush(check: &mut Check<'_>, raw: &Spanned<schema::Rush>, queues: Vec<QueueId>) -> Rush {
    let rush = raw.get_ref();
    let until_times = rush.until_times.unwrap_or(UNTIL_TIMES);
    if !(rush.times > 1.0 && rush.times <= 1_000.0 && until_times > 0.0 && until_times < rush.times) {
        let cure = "write times above 1, and until_times (1.5 without it) below times";
        check.wrong(&raw.span(), "this rush does not begin above where it ends", cure);
    }
    let normal = check.bounded(Some(&rush.normal_per_h), 1, 1..=1_000_000) as f64;
    let minutes =
        |check: &mut Check<'_>, count: &Spanned<u64>| Duration::from_secs(60 * check.bounded(Some(count), 5, 1..=60));
    let (within, calm) = (minutes(check, &rush.for_min), minutes(check, &rush.calm_min));
    let expected = |times: f64, span: Duration| (times * normal * span.as_secs_f64() / 3_600.0) as u64;
    Rush { queues, begins_over: expected(rush.times, within), within, ends_at: expected(until_times, calm), calm }
}

fn incident(check: &mut Check<'_>, raw: &schema::Incident, site: &Site, prompts: &Prompts) -> Option<Incident> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut callers = Vec::new();
    for text in &raw.callers {
        let prefix = text.get_ref().as_str();
        match (digits(prefix), prefix.strip_prefix('+').filter(|rest| digits(rest))) {
            (true, _) => callers.push(format!("+86{}", prefix.strip_prefix('0').unwrap_or(prefix)).into()),
            (false, Some(_)) => callers.push(prefix.into()),
            (false, None) => {
                let message = format!("\"{prefix}\" is no beginning of a number");
                check.wrong(
                    &text.span(),
                    message,
                    "write an area code (\"0591\") or the first digits (\"138\", \"+44\")",
                );
            }
        }
    }
    let mut dialled = Vec::new();
    for text in &raw.dialled {
        match Number::parse(text.get_ref(), &site.area_code) {
            Ok(number) => dialled.push(number),
            Err(error) => {
                let message = format!("\"{}\" is no number: {error}", text.get_ref());
                check.wrong(&text.span(), message, "write it as in ivr-flows/numbers.toml");
            }
        }
    }
    Some(Incident { prompt: prompts.of(check, &raw.prompt)?, callers, dialled })
}

impl Mode {
    /// Lays it over a site's queues and agents, `team_of` whom belongs where.
    pub(super) fn lay(
        &self,
        acd: &mut acd::event::Settings,
        voices: &mut [QueueVoice],
        team_of: impl Fn(&AgentSettings) -> Option<Box<str>>,
    ) {
        self.overlay.lay(acd, team_of);
        for id in &self.overlay.queues {
            voices[id.index()].incidents.extend(self.incident.clone());
        }
    }
}
