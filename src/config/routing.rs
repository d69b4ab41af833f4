//! Routing of a queue in `sip-profiles/queues.toml`: strategy, ranks, lesser needs, overflow.
//!
//! Overflow is resolved after all queues are known; a chain that leads back to where it began is refused.

use super::node::{Site, Sites};
use super::problem::suggest;
use super::prompts::Prompts;
use super::queues::{Queue, find, skills};
use super::schema::{self, Nobody, PreferredAgent};
use super::source::Check;
use crate::acd;
use crate::acd::event::{Overflow, RING_TOGETHER_MAX, Relax, Routing, Strategy, To, When};
use crate::base::fact::TargetKind;
use crate::base::{QueueId, SiteId};
use crate::call::event::{Elsewhere, Whom};
use crate::call::targets::Targets;
use std::time::Duration;

/// Ranks of one queue, and lesser needs.
const STEPS_MAX: usize = 16;
/// Agents that `ring_all` rings at once, unless said otherwise.
const RING_TOGETHER: u64 = 8;
/// For so many days the last agent is remembered, unless said otherwise.
const PREFERRED_DAYS: u64 = 30;

/// All but overflow.
pub(super) fn routing(check: &mut Check<'_>, raw: &schema::Queue, site: &Site) -> Routing {
    for (what, count) in [("ranks", raw.ranks.len()), ("relax", raw.relax.len()), ("overflow", raw.overflow.len())] {
        if count > STEPS_MAX {
            check.wrong(&raw.name.span(), format!("{count} entries of {what}"), format!("{STEPS_MAX} at most"));
        }
    }
    let ranks = raw.ranks.iter().map(|rank| skills(check, rank, site)).collect();
    let mut asked = skills(check, raw.skills.get_ref(), site);
    let mut before = Duration::ZERO;
    let mut relax = Vec::new();
    for raw in &raw.relax {
        let after = check.seconds(Some(&raw.after_s), 1, 1..=86_400);
        if after <= before {
            check.wrong(&raw.after_s.span(), "not later than the one before", "put lesser needs in order of after_s");
        }
        let lesser = skills(check, raw.skills.get_ref(), site);
        // Whoever met the greater need must meet the lesser one, or waiting would make a caller harder to serve.
        if !acd::meets(&asked, &lesser) {
            let cure = "ask for the same skills or fewer, each at the same level or lower, than before";
            check.wrong(&raw.skills.span(), "this asks for more than before", cure);
        }
        relax.push(Relax { after, skills: lesser.clone() });
        (asked, before) = (lesser, after);
    }
    let strategy = raw.strategy.unwrap_or_default();
    let ring_together = ring_together(check, raw, strategy);
    let preferred = raw.preferred.as_ref().map(|raw| check.seconds(Some(&raw.get_ref().for_s), 1, 1..=300));
    Routing { strategy, ring_together, preferred, ranks, relax, overflow: Vec::new() }
}

/// Whom the queue prefers.
pub(super) fn whom(check: &mut Check<'_>, raw: &schema::Preferred) -> Whom {
    match (raw.agent, &raw.days) {
        (PreferredAgent::Last, days) => {
            let days = check.bounded(days.as_ref(), PREFERRED_DAYS, 1..=365);
            Whom::Last { within: Duration::from_secs(days * 86_400) }
        }
        (PreferredAgent::OrderOwner, None) => Whom::OrderOwner,
        (PreferredAgent::OrderOwner, Some(days)) => {
            let cure = "leave it out: an order counts until it is finished";
            check.wrong(&days.span(), "days mean nothing for the owner of an order", cure);
            Whom::OrderOwner
        }
    }
}

fn ring_together(check: &mut Check<'_>, raw: &schema::Queue, strategy: Strategy) -> u8 {
    if let Some(count) = raw.ring_together.as_ref().filter(|_| strategy != Strategy::RingAll) {
        let cure = "write strategy = \"ring_all\", or leave it out";
        check.wrong(&count.span(), "ring_together means nothing with this strategy", cure);
    }
    check.bounded(raw.ring_together.as_ref(), RING_TOGETHER, 2..=u64::from(RING_TOGETHER_MAX)) as u8
}

/// What ways out of queues may name beside queues.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub sites: Sites<'a>,
    pub prompts: &'a Prompts,
    pub targets: &'a Targets,
}

/// Fills in where queues overflow to.
pub(super) fn resolve(check: &mut Check<'_>, raw: &[schema::Queue], known: Known<'_>, queues: &mut [Vec<Queue>]) {
    for raw in raw {
        let site = known.sites.list.iter().position(|site| *site.code == **raw.site.get_ref());
        let Some(site) = site.and_then(|site| u16::try_from(site).ok()).map(SiteId) else { continue };
        let Some(from) = find(queues, site, raw.name.get_ref()) else { continue };
        for rule in &raw.overflow {
            let Some(when) = when(check, rule) else { continue };
            let Some(to) = way(check, rule, (known, site), (from, queues)) else { continue };
            if let To::Queue(to) = to
                && leads(&queues[site.index()], to, from)
            {
                let queue = |id: QueueId| &*queues[site.index()][id.index()].settings.name;
                let message = format!("queue \"{}\" overflows into itself through \"{}\"", queue(from), queue(to));
                let span = rule.get_ref().to.as_ref().map_or(rule.span(), |to| to.span());
                check.wrong(&span, message, "let the chain end in a queue that does not lead back, or leave out `to`");
                continue;
            }
            queues[site.index()][from.index()].settings.routing.overflow.push(Overflow { when, to });
        }
    }
}

fn when(check: &mut Check<'_>, rule: &toml::Spanned<schema::Overflow>) -> Option<When> {
    let raw = rule.get_ref();
    let seconds = |check: &mut Check<'_>, count| check.seconds(Some(count), 1, 1..=86_400);
    let when = match (&raw.waited_s, &raw.length, &raw.expected_s, raw.nobody) {
        (Some(waited), None, None, None) => When::Waited(seconds(check, waited)),
        (None, Some(length), None, None) => When::Length(check.bounded(Some(length), 1, 1..=100_000) as usize),
        (None, None, Some(expected), None) => When::Expected(seconds(check, expected)),
        (None, None, None, Some(Nobody::LoggedIn)) => When::NobodyLoggedIn,
        (None, None, None, Some(Nobody::Ready)) => When::NobodyReady,
        _ => {
            let cure = "write exactly one of waited_s, length, expected_s, nobody = \"logged_in\" | \"ready\"";
            check.wrong(&rule.span(), "an overflow needs one condition", cure);
            return None;
        }
    };
    Some(when)
}

/// Where it leads; what is no queue is noted with the queue's voice.
fn way(
    check: &mut Check<'_>,
    rule: &toml::Spanned<schema::Overflow>,
    (known, site): (Known<'_>, SiteId),
    (from, queues): (QueueId, &mut [Vec<Queue>]),
) -> Option<To> {
    let raw = rule.get_ref();
    let elsewhere = match (&raw.to, &raw.announcement, &raw.target, &raw.callback) {
        (None, None, None, None) => return Some(To::Release),
        (Some(name), None, None, None) => return queue_named(check, name, site, queues).map(To::Queue),
        (None, Some(prompt), None, None) => Elsewhere::Announcement(known.prompts.of(check, prompt)?),
        (None, None, Some(name), None) => Elsewhere::Target(target_named(check, name, (known, site))?),
        (None, None, None, Some(callback)) => {
            if !callback.get_ref() || queues[site.index()][from.index()].callbacks.is_none() {
                let cure = "write `callback = true` here, and the queue's own `callback = { … }`";
                check.wrong(&callback.span(), "this queue calls nobody back", cure);
                return None;
            }
            Elsewhere::Callback
        }
        _ => {
            let cure = "write one of to, announcement, target, callback; none of them for the apology";
            check.wrong(&rule.span(), "an overflow leads to one place", cure);
            return None;
        }
    };
    let ways = &mut queues[site.index()][from.index()].voice.elsewhere;
    ways.push(elsewhere);
    u8::try_from(ways.len() - 1).ok().map(To::Elsewhere)
}

fn queue_named(check: &mut Check<'_>, name: &schema::Text, site: SiteId, queues: &[Vec<Queue>]) -> Option<QueueId> {
    let to = find(queues, site, name.get_ref());
    if to.is_none() {
        let known = queues[site.index()].iter().map(|queue| &*queue.settings.name);
        let cure = suggest(name.get_ref(), known);
        check.wrong(&name.span(), format!("unknown queue \"{}\"", name.get_ref()), cure);
    }
    to
}

/// A citizen whom no agent has met is not sent to an emergency line by a full queue.
fn target_named(check: &mut Check<'_>, name: &schema::Text, (known, site): (Known<'_>, SiteId)) -> Option<Box<str>> {
    let target = known.targets.named(site, name.get_ref());
    match target {
        Some(target) if target.kind == TargetKind::Emergency => {
            let cure = "name a sub-center, a utility or an expert group";
            check.wrong(&name.span(), "no queue overflows to an emergency line", cure);
        }
        Some(target) => return Some(target.name.clone()),
        None => {
            let cure = suggest(name.get_ref(), known.targets.of(site).map(|target| &*target.name));
            check.wrong(&name.span(), format!("unknown target \"{}\"", name.get_ref()), cure);
        }
    }
    None
}

/// Whether callers who go to `from` can come to `to`. Chains known so far lead nowhere in a circle.
fn leads(queues: &[Queue], from: QueueId, to: QueueId) -> bool {
    let next = |queue: QueueId| {
        queues[queue.index()].settings.routing.overflow.iter().filter_map(|rule| match rule.to {
            To::Queue(to) => Some(to),
            To::Release | To::Elsewhere(_) => None,
        })
    };
    let mut seen = vec![false; queues.len()];
    let mut open = vec![from];
    while let Some(queue) = open.pop() {
        if queue == to {
            return true;
        }
        if !std::mem::replace(&mut seen[queue.index()], true) {
            open.extend(next(queue));
        }
    }
    false
}
