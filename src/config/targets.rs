//! `sip-profiles/targets/`: to whom citizens are transferred, in one file for each site or kind, as suits. There may be none.

use super::context;
use super::node::{Main, Site, Sites, site_of};
use super::numbers::first_instant;
use super::problem::Problem;
use super::prompts::Prompts;
use super::schema;
use super::source::{Check, Source, files};
use crate::base::SiteId;
use crate::base::fact::TargetKind;
use crate::base::hours::{Hours, Window};
use crate::base::number::{Number, NumberKind};
use crate::call::supervise::KEY_PARK;
use crate::call::targets::{Duty, NUMBERS_MAX, Target, Targets};
use crate::trunk::Dialling;
use std::path::Path;
use toml::Spanned;
use toml::value::Datetime;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const NAME_CHARACTERS_MAX: usize = 32;
const KEY_DIGITS_MAX: usize = 3;

/// What targets name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub dialling: &'a Dialling,
    pub prompts: &'a Prompts,
    /// Where relative paths count from.
    pub root: &'a Path,
    /// Whether a public address is known, as far as that can be read.
    pub has_context: bool,
}

impl<'a> Known<'a> {
    pub fn of((dialling, prompts): (&'a Dialling, &'a Prompts), root: &'a Path, main: Option<&Main>) -> Known<'a> {
        // What stands in a file that cannot be read is not missing.
        let has_context = main.is_none_or(|main| main.context.is_some());
        Known { dialling, prompts, root, has_context }
    }
}

/// Reads all targets, in order of files.
pub(super) fn read(folder: &Path, sites: Sites<'_>, known: Known<'_>, problems: &mut Vec<Problem>) -> Targets {
    let mut targets = Targets::default();
    for (path, _) in files(folder, "toml").unwrap_or_default() {
        let Some(source) = Source::open(&path, "make it readable", problems) else { continue };
        let Some(raw) = source.read::<schema::Targets>(problems).value else { continue };
        let mut check = Check { source: &source, problems };
        for raw in &raw.target {
            if let Some(target) = target(&mut check, raw, sites, known, &targets) {
                targets.list.push(target);
            }
        }
    }
    targets
}

fn target(
    check: &mut Check<'_>,
    raw: &schema::Target,
    sites: Sites<'_>,
    known: Known<'_>,
    others: &Targets,
) -> Option<Target> {
    let id = site_of(check, &raw.site, sites)?;
    let (site, Known { dialling, prompts, .. }) = (&sites.list[id.index()], known);
    let name: Box<str> = raw.name.get_ref().as_str().into();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        let cure = format!("write 1 to {NAME_CHARACTERS_MAX} characters");
        check.wrong(&raw.name.span(), format!("\"{name}\" is no name"), cure);
    }
    if others.named(id, &name).is_some() {
        let message = format!("a second target \"{name}\" of this site");
        check.wrong(&raw.name.span(), message, "give each target a name of its own");
    }
    let numbers = numbers(check, raw, &raw.numbers, (id, site), dialling);
    let key = raw.key.as_ref().map(|text| key(check, text, id, others));
    let ring_max = raw.ring_max_s.as_ref().map(|count| check.seconds(Some(count), 30, 5..=600));
    let channels = raw.channels.as_ref().map(|count| check.bounded(Some(count), 1, 1..=10_000) as u32);
    let hours = hours(check, (&raw.hours, raw.from.as_ref(), raw.until.as_ref()), site);
    let duty = raw.duty.iter().map(|row| Duty {
        numbers: self::numbers(check, raw, &row.numbers, (id, site), dialling),
        hours: self::hours(check, (&row.hours, row.from.as_ref(), row.until.as_ref()), site),
    });
    let duty = duty.collect();
    if raw.kind == TargetKind::Emergency
        && let Some(confirm) = &raw.confirm
    {
        let message = "`confirm` of an emergency line: nobody presses a key there";
        check.wrong(&confirm.span(), message, "remove it");
    }
    let confirm = raw.confirm.as_ref().and_then(|name| prompts.of(check, name));
    let announcement = raw.announcement.as_ref().and_then(|name| prompts.of(check, name));
    Some(Target {
        site: id,
        title: raw.title.as_deref().map_or_else(|| name.clone(), Into::into),
        name,
        kind: raw.kind,
        drill: raw.drill,
        numbers,
        key,
        ring_max,
        channels,
        together: raw.ring.unwrap_or_default() == schema::Ring::All,
        confirm,
        announcement,
        hours,
        duty,
        webhook: context::webhook(check, raw, known.root),
        link: context::link(check, raw, known.has_context),
    })
}

/// Each must be one that may be dialled, an emergency's by a rule of its own and nothing else by such a rule.
fn numbers(
    check: &mut Check<'_>,
    raw: &schema::Target,
    written: &Spanned<Vec<schema::Text>>,
    (id, site): (SiteId, &Site),
    dialling: &Dialling,
) -> Vec<Number> {
    let (span, written) = (written.span(), written.get_ref());
    if written.is_empty() || written.len() > NUMBERS_MAX {
        let message = format!("{} numbers", written.len());
        check.wrong(&span, message, format!("name 1 to {NUMBERS_MAX}, the first to be dialled first"));
    }
    let mut numbers = Vec::new();
    for text in written {
        let number = match Number::parse(text.get_ref(), &site.area_code) {
            Ok(number) => number,
            Err(error) => {
                let message = format!("\"{}\" is no number: {error}", text.get_ref());
                check.wrong(&text.span(), message, "write it as it is dialled inside China");
                continue;
            }
        };
        if number.kind() == NumberKind::Emergency && raw.kind != TargetKind::Emergency {
            let message = format!("\"{}\" is an emergency number", text.get_ref());
            check.wrong(&text.span(), message, "make it a target with kind = \"emergency\"");
        }
        match dialling.rule(id, &number) {
            None => {
                let message =
                    format!("no rule of dialling.toml names \"{}\" for site \"{}\"", text.get_ref(), site.code);
                check.wrong(&text.span(), message, "add a [[rule]] that names it and its trunks");
            }
            Some(rule) if rule.drill && !raw.drill => {
                let message = format!("\"{}\" is dialled over trunks for drills", text.get_ref());
                check.wrong(&text.span(), message, "write drill = true, or name a number that is not simulated");
            }
            Some(rule) if raw.drill && !rule.drill => {
                let message = format!("\"{}\" is no simulated line: a drill would ring there", text.get_ref());
                check.wrong(&text.span(), message, "name a number whose rule has trunks with drill = true");
            }
            Some(_) => {}
        }
        numbers.push(number);
    }
    numbers
}

/// `*` and digits; none is the beginning of another, so that the last digit alone decides.
fn key(check: &mut Check<'_>, text: &schema::Text, site: SiteId, others: &Targets) -> Box<str> {
    let key = text.get_ref().as_str();
    let digits = key.strip_prefix('*').unwrap_or("");
    if !(1..=KEY_DIGITS_MAX).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        check.wrong(&text.span(), format!("\"{key}\" is no key"), "write * and 1 to 3 digits: \"*1\", \"*21\"");
    }
    if key.starts_with(KEY_PARK) {
        check.wrong(&text.span(), format!("\"{key}\" parks the citizen"), "choose a key that does not begin with *0");
    }
    let meets = |other: &str| other.starts_with(key) || key.starts_with(other);
    let other = others.of(site).find(|other| other.key.as_deref().is_some_and(meets));
    if let Some(other) = other {
        let message = format!("\"{key}\" and the key of target \"{}\" begin alike", other.name);
        check.wrong(&text.span(), message, "choose keys none of which is the beginning of another");
    }
    key.into()
}

/// Windows of the week, first day, first day beyond.
type Dates<'a> = (&'a [schema::Text], Option<&'a Spanned<Datetime>>, Option<&'a Spanned<Datetime>>);

fn hours(check: &mut Check<'_>, (windows, first, beyond): Dates<'_>, site: &Site) -> Hours {
    let zone = &site.time_zone;
    let from = first.and_then(|date| first_instant(check, date, zone));
    let until = beyond.and_then(|date| first_instant(check, date, zone));
    if let (Some(from), Some(until), Some(date)) = (from, until, beyond)
        && until <= from
    {
        check.wrong(&date.span(), "it ends before it begins", "`until` is the first day without it");
    }
    Hours { from, until, ..week(check, windows, site) }
}

/// Hours of the week, always when there are none.
pub(super) fn week(check: &mut Check<'_>, raw: &[schema::Text], site: &Site) -> Hours {
    let windows = raw.iter().filter_map(|text| window(check, text)).collect();
    // China's clocks have known no summer time since 1991.
    let utc_offset_s = site.time_zone.to_offset(jiff::Timestamp::now()).seconds();
    Hours { windows, utc_offset_s, ..Hours::default() }
}

/// `mon-fri 08:00-18:00`.
fn window(check: &mut Check<'_>, text: &schema::Text) -> Option<Window> {
    let read = || {
        let (days, times) = text.get_ref().split_once(' ')?;
        let day = |name: &str| DAYS.iter().position(|day| *day == name);
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (first, last) = (day(first)?, day(last)?);
        let weekdays = (first..=last).fold(0u8, |days, day| days | 1 << day);
        let (from, until) = times.split_once('-')?;
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (minutes < 60).then(|| hours * 60 + minutes).filter(|minute| *minute <= 24 * 60)
        };
        let (from_min, until_min) = (minute(from)?, minute(until)?);
        (weekdays != 0 && from_min < until_min).then_some(Window { weekdays, from_min, until_min })
    };
    let window = read();
    if window.is_none() {
        let message = format!("\"{}\" is no part of a week", text.get_ref());
        check.wrong(&text.span(), message, "write \"mon-fri 08:00-18:00\" or \"sat 09:00-12:00\"");
    }
    window
}
