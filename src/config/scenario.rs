//! A scenario for `jiesu simulate`: one TOML file over the queues and skills of a site.

use super::problem::suggest;
use super::schema::Text;
use super::source::{Check, Reading, Source};
use super::{Config, ConfigErrors, Site};
use crate::base::{QueueId, SiteId};
use crate::modes::{Overlay, Rule};
use crate::simulate::chance::Law;
use crate::simulate::scenario::{Group, Rate, Redial, SLOT, SLOTS, Scenario, Stream};
use crate::simulate::staffing::Target;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// Days over which staffing is judged.
const DAYS: u32 = 3;
/// Agents of all groups together.
const AGENTS_MAX: usize = 10_000;

/// What a file says.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Traffic and staff.
    pub scenario: Scenario,
    /// What good is.
    pub target: Target,
    /// The bursts that the rates hold, in words.
    pub bursts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: Text,
    seed: Option<Spanned<u64>>,
    answer_within_s: Option<Spanned<u64>>,
    target_percent: Option<Spanned<u64>>,
    #[serde(default)]
    modes: Vec<Text>,
    stream: Vec<RawStream>,
    #[serde(default)]
    burst: Vec<RawBurst>,
    group: Vec<RawGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStream {
    queue: Text,
    calls: Spanned<u64>,
    curve: Spanned<Vec<f64>>,
    priority: Option<Spanned<u64>>,
    talk: Spanned<RawLaw>,
    wrap_up: Option<Spanned<RawLaw>>,
    patience: Option<Spanned<RawLaw>>,
    redial: Option<RawRedial>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRedial {
    percent: Spanned<u64>,
    after: Spanned<RawLaw>,
    times_max: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBurst {
    queue: Text,
    from: Text,
    minutes: Spanned<u64>,
    times: Spanned<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Text,
    team: Option<Text>,
    skills: BTreeMap<Text, Spanned<u64>>,
    pick_up: Spanned<RawLaw>,
    shift: Vec<RawShift>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShift {
    from: Text,
    until: Text,
    agents: Spanned<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLaw {
    law: Option<LawName>,
    mean_s: f64,
    variation: Option<f64>,
    stages: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LawName {
    Fixed,
    Exponential,
    Erlang,
    LogNormal,
}

impl Config {
    /// Reads a scenario for one of the sites.
    ///
    /// # Errors
    /// All mistakes, in order of line.
    pub fn scenario(&self, path: &Path) -> Result<Plan, ConfigErrors> {
        let mut problems = Vec::new();
        let source = Source::open(path, "name a scenario; docs/simulation/ has one to begin with", &mut problems);
        let plan = source.and_then(|source| {
            let Reading { value, .. } = source.read::<File>(&mut problems);
            self.plan(&mut Check { source: &source, problems: &mut problems }, &value?)
        });
        problems.sort();
        problems.dedup();
        plan.filter(|_| problems.is_empty()).ok_or(ConfigErrors(problems))
    }

    fn plan(&self, check: &mut Check<'_>, raw: &File) -> Option<Plan> {
        let Some(site) = self.site_id(raw.site.get_ref()) else {
            let cure = suggest(raw.site.get_ref(), self.sites.iter().map(|site| &*site.code));
            check.wrong(&raw.site.span(), format!("unknown site \"{}\"", raw.site.get_ref()), cure);
            return None;
        };
        let mut streams: Vec<Stream> = raw.stream.iter().filter_map(|raw| self.stream(check, site, raw)).collect();
        let mut bursts = Vec::new();
        for raw in &raw.burst {
            let Some(queue) = self.queue_named(check, site, &raw.queue) else { continue };
            let from = time(check, &raw.from);
            let length = Duration::from_secs(60 * check.bounded(Some(&raw.minutes), 1, 1..=1_440));
            let times = positive(check, &raw.times, 1_000.0);
            for stream in streams.iter_mut().filter(|stream| stream.queue == queue) {
                stream.rate.burst(from, length, times);
            }
            bursts.push(format!(
                "{} × {times} from {} on for {} min",
                raw.queue.get_ref(),
                raw.from.get_ref(),
                length.as_secs() / 60
            ));
        }
        let groups: Vec<Group> = raw.group.iter().map(|raw| group(check, &self.sites[site.index()], raw)).collect();
        if groups.iter().map(Group::size).sum::<usize>() > AGENTS_MAX {
            check.wrong(&raw.site.span(), "too many agents", format!("plan {AGENTS_MAX} agents at most"));
        }
        let scenario = Scenario {
            queues: self.acd(site).queues,
            streams,
            groups,
            modes: raw.modes.iter().filter_map(|name| self.rush(check, site, name)).collect(),
            seed: raw.seed.as_ref().map_or(1, |seed| *seed.get_ref()),
        };
        let target = Target {
            share: check.bounded(raw.target_percent.as_ref(), 95, 1..=99) as f64 / 100.0,
            within: check.seconds(raw.answer_within_s.as_ref(), 15, 0..=3_600),
            days: DAYS,
        };
        Some(Plan { scenario, target, bursts })
    }

    /// A mode that a rush opens. Its hours do not count here: a scenario's day has no date.
    fn rush(&self, check: &mut Check<'_>, site: SiteId, name: &Text) -> Option<(Rule, Overlay)> {
        let of_site = self.modes.get(site.index()).map_or(&[][..], Vec::as_slice);
        let mut rushes = of_site.iter().filter(|mode| mode.rule.rush.is_some());
        let Some(mode) = rushes.clone().find(|mode| *mode.rule.name == **name.get_ref()) else {
            let cure = suggest(name.get_ref(), rushes.by_ref().map(|mode| &*mode.rule.name));
            check.wrong(&name.span(), format!("no mode \"{}\" that opens in a rush", name.get_ref()), cure);
            return None;
        };
        Some((Rule { hours: None, ..mode.rule.clone() }, mode.overlay.clone()))
    }

    fn queue_named(&self, check: &mut Check<'_>, site: SiteId, name: &Text) -> Option<QueueId> {
        let found = self.queue_id(site, name.get_ref());
        if found.is_none() {
            let known = self.acd(site).queues;
            let cure = suggest(name.get_ref(), known.iter().map(|queue| &*queue.name));
            check.wrong(&name.span(), format!("unknown queue \"{}\"", name.get_ref()), cure);
        }
        found
    }

    fn stream(&self, check: &mut Check<'_>, site: SiteId, raw: &RawStream) -> Option<Stream> {
        let weights = raw.curve.get_ref();
        let whole: f64 = weights.iter().sum();
        if weights.len() != SLOTS || weights.iter().any(|weight| *weight < 0.0) || whole.is_nan() || whole <= 0.0 {
            let cure = format!("write {SLOTS} numbers, one for each half hour of the day, none below 0");
            check.wrong(&raw.curve.span(), format!("a curve of {} numbers", weights.len()), cure);
            return None;
        }
        let calls = check.bounded(Some(&raw.calls), 0, 0..=10_000_000) as f64;
        let by_slot: Vec<f64> = weights.iter().map(|weight| calls * weight / whole).collect();
        let redial = raw.redial.as_ref().map(|raw| Redial {
            share: check.bounded(Some(&raw.percent), 0, 0..=100) as f64 / 100.0,
            after: law(check, &raw.after),
            times_max: check.bounded(raw.times_max.as_ref(), 3, 1..=20) as u8,
        });
        Some(Stream {
            queue: self.queue_named(check, site, &raw.queue)?,
            priority: check.bounded(raw.priority.as_ref(), 0, 0..=100) as u8,
            rate: Rate::by_slot(&by_slot),
            talk: law(check, &raw.talk),
            wrap_up: raw.wrap_up.as_ref().map(|raw| law(check, raw)),
            patience: raw.patience.as_ref().map(|raw| law(check, raw)),
            redial,
        })
    }
}

fn group(check: &mut Check<'_>, site: &Site, raw: &RawGroup) -> Group {
    let skills = super::queues::skills(check, &raw.skills, site);
    let mut agents = [0usize; SLOTS];
    for shift in &raw.shift {
        let (from, until) = (time(check, &shift.from), time(check, &shift.until));
        let there = check.bounded(Some(&shift.agents), 0, 0..=AGENTS_MAX as u64) as usize;
        for (slot, agents) in (0u32..).zip(&mut agents) {
            let at = SLOT * slot;
            // One that ends before it begins goes on through midnight.
            let on = if from < until { from <= at && at < until } else { from <= at || at < until };
            *agents += if on { there } else { 0 };
        }
    }
    Group {
        name: raw.name.get_ref().as_str().into(),
        team: raw.team.as_ref().map_or("", |team| team.get_ref()).into(),
        skills,
        duty: (0u32..).zip(agents).map(|(slot, agents)| (SLOT * slot, agents)).collect(),
        pick_up: law(check, &raw.pick_up),
    }
}

/// `HH:MM`, `24:00` for the day's end.
pub fn parse_time(text: &str) -> Option<Duration> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60 && hours * 60 + minutes <= 1_440).then(|| Duration::from_secs(60 * (hours * 60 + minutes)))
}

fn time(check: &mut Check<'_>, text: &Text) -> Duration {
    parse_time(text.get_ref()).unwrap_or_else(|| {
        let message = format!("\"{}\" is no time of the day", text.get_ref());
        check.wrong(&text.span(), message, "write hours and minutes, like \"09:30\"");
        Duration::ZERO
    })
}

fn positive(check: &mut Check<'_>, number: &Spanned<f64>, max: f64) -> f64 {
    let value = *number.get_ref();
    if value > 0.0 && value <= max {
        return value;
    }
    check.wrong(&number.span(), format!("{value} is out of bounds"), format!("write a number above 0, at most {max}"));
    1.0
}

fn law(check: &mut Check<'_>, raw: &Spanned<RawLaw>) -> Law {
    let &RawLaw { law, mean_s, variation, stages } = raw.get_ref();
    let law = law.unwrap_or(LawName::Exponential);
    let (mut wrong, cure) = (None, "see the comments in docs/simulation/capital-day.toml");
    if !(0.0..=86_400.0).contains(&mean_s) {
        wrong = Some("mean_s must lie from 0 to 86400");
    }
    match (law, variation, stages) {
        (LawName::LogNormal, Some(variation), None) if variation > 0.0 && variation <= 10.0 => {}
        (LawName::LogNormal, ..) => {
            wrong = Some("a log_normal law needs a variation above 0, at most 10, and no stages")
        }
        (LawName::Erlang, None, Some(1..=100)) => {}
        (LawName::Erlang, ..) => wrong = Some("an erlang law needs stages from 1 to 100 and no variation"),
        (LawName::Fixed | LawName::Exponential, None, None) => {}
        (LawName::Fixed | LawName::Exponential, ..) => wrong = Some("this law has neither variation nor stages"),
    }
    if let Some(message) = wrong {
        check.wrong(&raw.span(), message, cure);
    }
    match law {
        LawName::Fixed => Law::Fixed { mean_s },
        LawName::Exponential => Law::Exponential { mean_s },
        LawName::Erlang => Law::Erlang { mean_s, stages: stages.unwrap_or(1) },
        LawName::LogNormal => Law::LogNormal { mean_s, variation: variation.unwrap_or(1.0) },
    }
}
