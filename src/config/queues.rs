//! `sip-profiles/queues.toml`: queues as the ACD and as calls need them.

use super::node::{Site, Sites, site_of};
use super::problem::{Problem, suggest};
use super::prompts::Prompts;
use super::routing;
use super::schema;
use super::source::{Check, Source};
use super::targets;
use crate::acd::event::{NoAgents, QueueSettings};
use crate::base::{PromptId, QueueId, SiteId, SkillId};
use crate::call::Phrases;
use crate::call::event::{CallbackVoice, Comfort, QueueVoice};
use crate::call::targets::Targets;
use crate::callback::event::Rules;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use toml::Spanned;

/// Levels of a skill.
const LEVELS: RangeInclusive<u64> = 1..=9;

/// One queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub settings: QueueSettings,
    pub voice: QueueVoice,
    /// How it calls back.
    pub callbacks: Option<Rules>,
}

/// Checks all queues: by site, in the file's order.
pub(super) fn check(
    source: &Source,
    raw: &[schema::Queue],
    sites: Sites<'_>,
    (prompts, targets): (&Prompts, &Targets),
    problems: &mut Vec<Problem>,
) -> Vec<Vec<Queue>> {
    let mut check = Check { source, problems };
    let mut queues: Vec<Vec<Queue>> = vec![Vec::new(); sites.list.len()];
    for raw in raw {
        let site = site_of(&mut check, &raw.site, sites);
        let queue = queue(&mut check, raw, site.map(|site| &sites.list[site.index()]), prompts);
        let Some(site) = site else { continue };
        let of_site = &mut queues[site.index()];
        if of_site.iter().any(|other| other.settings.name == queue.settings.name) {
            let message = format!("queue \"{}\" of site \"{}\" exists already", raw.name.get_ref(), raw.site.get_ref());
            check.wrong(&raw.name.span(), message, "give each queue of a site its own name");
        }
        of_site.push(queue);
    }
    routing::resolve(&mut check, raw, routing::Known { sites, prompts, targets }, &mut queues);
    queues
}

fn queue(check: &mut Check<'_>, raw: &schema::Queue, site: Option<&Site>, prompts: &Prompts) -> Queue {
    let name: Box<str> = raw.name.get_ref().as_str().into();
    if name.is_empty() {
        check.wrong(&raw.name.span(), "a queue without a name", "give it one: flows name it");
    }
    let settings = QueueSettings {
        name: name.clone(),
        skills: site.map(|site| skills(check, raw.skills.get_ref(), site)).unwrap_or_default(),
        priority: check.bounded(raw.priority.as_ref(), 0, 0..=100) as u8,
        ageing: check.seconds(raw.ageing_s.as_ref(), 10, 1..=3_600),
        ring_max: check.seconds(raw.ring_max_s.as_ref(), 15, 3..=180),
        misses_max: check.bounded(raw.misses_max.as_ref(), 1, 1..=10) as u8,
        wrap_up: check.seconds(raw.wrap_up_s.as_ref(), 0, 0..=3_600),
        wait_max: raw.wait_max_s.as_ref().map(|wait| check.seconds(Some(wait), 600, 1..=86_400)),
        waiting_max: check.bounded(raw.waiting_max.as_ref(), 1_000, 1..=100_000) as usize,
        no_agents: raw.no_agents.unwrap_or(NoAgents::Wait),
        routing: site.map(|site| routing::routing(check, raw, site)).unwrap_or_default(),
    };
    let voice = QueueVoice {
        name,
        announcement: raw.announcement.as_ref().and_then(|name| prompts.of(check, name)),
        music: prompts.of(check, &raw.music).unwrap_or(PromptId(0)),
        apology: prompts.of(check, &raw.apology).unwrap_or(PromptId(0)),
        auto_answer: raw.auto_answer,
        preferred: raw.preferred.as_ref().map(|raw| routing::whom(check, raw.get_ref())),
        hold_recall: check.seconds(raw.hold_recall_s.as_ref(), 60, 5..=3_600),
        after: None,
        park_recall: check.seconds(raw.park_recall_s.as_ref(), 120, 5..=3_600),
        comfort: raw.comfort.as_ref().map(|raw| comfort(check, raw, prompts)),
        callback: raw.callback.as_ref().map(|raw| callback_voice(check, raw.get_ref(), prompts)),
        elsewhere: Vec::new(),
        incidents: Vec::new(),
    };
    let callbacks = raw.callback.as_ref().zip(site).map(|(raw, site)| callback_rules(check, raw.get_ref(), site));
    Queue { settings, voice, callbacks }
}

/// What those who wait hear from time to time.
fn comfort(check: &mut Check<'_>, raw: &Spanned<schema::Comfort>, prompts: &Prompts) -> Comfort {
    let said = raw.get_ref();
    if (said.place || said.wait)
        && let Err(missing) = Phrases::find(|name| prompts.find(name))
    {
        let message = format!("the prompt \"{missing}\" is missing, with which places and waits are spoken");
        check.wrong(&raw.span(), message, "record it, run `make prompts`, or leave out place and wait");
    }
    if said.prompts.is_empty() && !said.place && !said.wait {
        check.wrong(&raw.span(), "nothing is said", "name prompts, or write place = true or wait = true");
    }
    Comfort {
        every: check.seconds(Some(&said.every_s), 60, 15..=3_600),
        prompts: said.prompts.iter().filter_map(|name| prompts.of(check, name)).collect(),
        place: said.place,
        wait: said.wait,
    }
}

/// How call-backs are offered.
fn callback_voice(check: &mut Check<'_>, raw: &schema::Callback, prompts: &Prompts) -> CallbackVoice {
    let key = raw.key.as_ref().and_then(|key| {
        let one = <[u8; 1]>::try_from(key.get_ref().as_bytes()).ok().map(|[key]| key);
        let key_of_phone = one.filter(|key| key.is_ascii_digit() || b"*#".contains(key));
        if key_of_phone.is_none() {
            let message = format!("\"{}\" is no key of a telephone", key.get_ref());
            check.wrong(&key.span(), message, "write one of 0 to 9, * or #");
        }
        key_of_phone
    });
    CallbackVoice {
        key,
        promise: prompts.of(check, &raw.promise).unwrap_or(PromptId(0)),
        missed_after: raw.missed_after_s.as_ref().map(|count| check.seconds(Some(count), 60, 1..=3_600)),
    }
}

/// When and how often it is called.
fn callback_rules(check: &mut Check<'_>, raw: &schema::Callback, site: &Site) -> Rules {
    Rules {
        hours: targets::week(check, &raw.hours, site),
        attempts_max: check.bounded(raw.attempts_max.as_ref(), 3, 1..=10) as u8,
        retry_after: check.seconds(raw.retry_s.as_ref(), 600, 10..=86_400),
    }
}

/// Skills by name with their levels.
pub(super) fn skills(
    check: &mut Check<'_>,
    raw: &BTreeMap<schema::Text, Spanned<u64>>,
    site: &Site,
) -> Vec<(SkillId, u8)> {
    let mut skills = Vec::new();
    for (name, level) in raw {
        let level = check.bounded(Some(level), 1, LEVELS) as u8;
        match site.skill(name.get_ref()) {
            Some(skill) => skills.push((skill, level)),
            None => {
                let message = format!("unknown skill \"{}\" at site \"{}\"", name.get_ref(), site.code);
                check.wrong(&name.span(), message, suggest(name.get_ref(), site.skills.iter().map(|skill| &**skill)));
            }
        }
    }
    skills
}

/// The place of a queue in its site's list.
pub(super) fn find(queues: &[Vec<Queue>], site: SiteId, name: &str) -> Option<QueueId> {
    let place = queues.get(site.index())?.iter().position(|queue| *queue.settings.name == *name)?;
    u16::try_from(place).ok().map(QueueId)
}
