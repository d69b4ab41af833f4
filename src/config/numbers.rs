//! `ivr-flows/`: flows and `numbers.toml`, which says what each dialled number means.

use super::node::{Site, Sites, site_of};
use super::problem::{Problem, suggest};
use super::prompts::Prompts;
use super::queues::{self, Queue};
use super::schema;
use super::source::{Check, Reading, Source, files};
use crate::base::number::NumberKind;
use crate::base::{PromptId, QueueId, SiteId, Wall};
use crate::ivr::draft::{Draft, Flaw, Names};
use crate::ivr::{Dated, Entry, Flow, Numbers, numbers};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::value::Datetime;

/// The flows' files by name; `None` for one that could not be read.
type Drafts = BTreeMap<String, Option<(Source, Draft)>>;

/// What flows and numbers are checked against.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub sites: Sites<'a>,
    pub queues: &'a [Vec<Queue>],
    /// Whether `queues` lacks none.
    pub queues_whole: bool,
    pub prompts: &'a Prompts,
}

/// The flow that a queue asks after a talk.
pub(super) type After = (SiteId, QueueId, Arc<Flow>);

/// Reads all flows and numbers; of the queues as they are `written`, what each asks after a talk.
pub(super) fn read(
    folder: &Path,
    context: Context<'_>,
    written: Option<&(Source, Vec<schema::Queue>)>,
    problems: &mut Vec<Problem>,
) -> (Numbers, Vec<After>) {
    let drafts = drafts(folder, problems);
    let path = folder.join("numbers.toml");
    let source = Source::open(&path, "write which number belongs to which site and flow", problems);
    let raw = source.as_ref().and_then(|source| source.read::<schema::Numbers>(problems).value);
    let mut flows = Flows { drafts: &drafts, context, made: BTreeMap::new() };
    let mut numbers = Numbers::default();
    if let (Some(source), Some(raw)) = (&source, raw) {
        for raw in &raw.number {
            number(&mut Check { source, problems }, raw, &mut flows, &mut numbers);
        }
    }
    let after = written.map(|(source, raw)| after(&mut Check { source, problems }, raw, &mut flows));
    flows.make_unused(problems);
    (numbers, after.unwrap_or_default())
}

fn drafts(folder: &Path, problems: &mut Vec<Problem>) -> Drafts {
    let mut drafts = Drafts::new();
    for (path, name) in files(folder, "toml").unwrap_or_default() {
        if name == "numbers" {
            continue;
        }
        let Some(source) = Source::open(&path, "make it readable", problems) else {
            continue;
        };
        let Reading { value, whole } = source.read::<Draft>(problems);
        // Half a flow would show faults that are none.
        drafts.insert(name, value.filter(|_| whole).map(|draft| (source, draft)));
    }
    drafts
}

struct Flows<'a> {
    drafts: &'a Drafts,
    context: Context<'a>,
    /// By name and site, since a queue's name means another queue at each site.
    made: BTreeMap<(String, SiteId), Option<Arc<Flow>>>,
}

impl Flows<'_> {
    fn of(&mut self, check: &mut Check<'_>, name: &schema::Text, site: SiteId) -> Option<Arc<Flow>> {
        let key = (name.get_ref().clone(), site);
        if let Some(made) = self.made.get(&key) {
            return made.clone();
        }
        let flow = match self.drafts.get(name.get_ref()) {
            Some(Some((source, draft))) => self.compile(name.get_ref(), source, draft, Some(site), check.problems),
            Some(None) => None,
            None => {
                let cure = suggest(name.get_ref(), self.drafts.keys().map(String::as_str));
                check.wrong(&name.span(), format!("unknown flow \"{}\"", name.get_ref()), cure);
                None
            }
        };
        self.made.insert(key, flow.clone());
        flow
    }

    /// Flows that no number leads to are checked too, except for their queues, which depend on the site.
    fn make_unused(&self, problems: &mut Vec<Problem>) {
        for (name, draft) in self.drafts {
            let used = self.made.keys().any(|(made, _)| made == name);
            if let (Some((source, draft)), false) = (draft, used) {
                self.compile(name, source, draft, None, problems);
            }
        }
    }

    fn compile(
        &self,
        name: &str,
        source: &Source,
        draft: &Draft,
        site: Option<SiteId>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Flow>> {
        let Context { queues, queues_whole, prompts, .. } = self.context;
        let known = |name: &str| queues::find(queues, site?, name);
        let lenient = site.is_none() || !queues_whole;
        let names =
            Names { prompt: &|name| prompts.find(name), queue: &|name| known(name).or(lenient.then_some(QueueId(0))) };
        let faults = match draft.compile(name, names) {
            Ok(flow) => return Some(Arc::new(flow)),
            Err(faults) => faults,
        };
        let queue_names = site.and_then(|site| queues.get(site.index())).into_iter().flatten();
        let queue_names: Vec<&str> = queue_names.map(|queue| &*queue.settings.name).collect();
        for fault in faults {
            let (mut message, mut cure) = (fault.flaw.to_string(), fault.flaw.cure());
            if let Flaw::UnknownNode(node) = &fault.flaw {
                cure = suggest(node, draft.node_names());
            } else if let Flaw::UnknownPrompt(prompt) = &fault.flaw {
                cure = prompts.cure(prompt);
            } else if let (Flaw::UnknownQueue(queue), Some(site)) = (&fault.flaw, site) {
                message = format!("{message} at site \"{}\"", self.context.sites.list[site.index()].code);
                cure = suggest(queue, queue_names.iter().copied());
            }
            problems.push(source.problem(&fault.span, message, cure));
        }
        None
    }
}

fn number(check: &mut Check<'_>, raw: &schema::Number, flows: &mut Flows<'_>, numbers: &mut Numbers) {
    let Context { sites, prompts, .. } = flows.context;
    let mut optional = |name: &Option<schema::Text>| name.as_ref().and_then(|name| prompts.of(check, name));
    let (greeting, notice) = (optional(&raw.greeting), optional(&raw.notice));
    let category = raw.category.as_ref().map_or("", |category| category.get_ref());
    if let (Some(written), false) = (&raw.category, category.is_empty() || is_category(category)) {
        let cure = "write six digits, two for each level of the category tree: \"030200\"";
        check.wrong(&written.span(), format!("\"{category}\" is no category"), cure);
    }
    let priority = check.bounded(raw.priority.as_ref(), 0, 0..=100) as u8;
    let Some(site) = site_of(check, &raw.site, sites) else {
        return;
    };
    let Site { area_code, time_zone, .. } = &sites.list[site.index()];
    let transitions = raw.transition.iter().filter_map(|dated| transition(check, dated, time_zone, prompts)).collect();
    let flow = flows.of(check, &raw.flow, site);
    let number = match numbers::canonical(raw.number.get_ref(), area_code) {
        Ok(number) => number,
        Err(error) => {
            let message = format!("\"{}\" is no telephone number: {error}", raw.number.get_ref());
            return check.wrong(&raw.number.span(), message, "write it as people dial it: \"12345\", \"0591-12345\"");
        }
    };
    if number.kind() == NumberKind::Emergency {
        let message = format!("{number} is an emergency number");
        return check.wrong(
            &raw.number.span(),
            message,
            "remove it: its calls go to their own service and are never queued",
        );
    }
    if numbers.at(number.as_str()).is_some() {
        let message = format!("number \"{}\" ({number}) is given already", raw.number.get_ref());
        return check.wrong(&raw.number.span(), message, "a dialled number has one meaning: remove one of the two");
    }
    let Some(flow) = flow else { return };
    if flow.human().is_none() {
        let message = format!("flow \"{}\" leads to no human", raw.flow.get_ref());
        return check.wrong(&raw.flow.span(), message, "name a flow with `human`: `end` is for after a talk");
    }
    let category = category.into();
    let entry = Entry { number, site, flow, greeting, notice, transitions, category, priority };
    numbers.insert(entry, area_code);
}

/// The flows that queues ask after a talk.
fn after(check: &mut Check<'_>, raw: &[schema::Queue], flows: &mut Flows<'_>) -> Vec<After> {
    let mut found = Vec::new();
    for raw in raw {
        let Some(name) = &raw.after else { continue };
        let sites = flows.context.sites.list;
        let Some(site) = sites.iter().position(|site| *site.code == **raw.site.get_ref()) else { continue };
        let site = SiteId(site as u16);
        let Some(queue) = queues::find(flows.context.queues, site, raw.name.get_ref()) else { continue };
        let Some(flow) = flows.of(check, name, site) else { continue };
        if flow.human().is_some() {
            let message = format!("flow \"{}\" leads to a queue", name.get_ref());
            check.wrong(&name.span(), message, "name a flow with `end` in place of `human`");
            continue;
        }
        found.push((site, queue, flow));
    }
    found
}

fn is_category(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|digit| digit.is_ascii_digit())
}

fn transition(check: &mut Check<'_>, raw: &schema::Transition, zone: &TimeZone, prompts: &Prompts) -> Option<Dated> {
    let prompt: Option<PromptId> = prompts.of(check, &raw.prompt);
    let from = first_instant(check, &raw.from, zone)?;
    let until = first_instant(check, &raw.until, zone)?;
    if until <= from {
        let span: Range<usize> = raw.until.span();
        check.wrong(&span, "the transition ends before it begins", "`until` is the first day without the prompt");
    }
    Some(Dated { from, until, prompt: prompt? })
}

/// When that day begins there.
pub(super) fn first_instant(check: &mut Check<'_>, written: &Spanned<Datetime>, zone: &TimeZone) -> Option<Wall> {
    let day = match written.get_ref() {
        Datetime { date: Some(date), time: None, offset: None } => {
            let (year, month, day) = (i16::try_from(date.year), i8::try_from(date.month), i8::try_from(date.day));
            Date::new(year.ok()?, month.ok()?, day.ok()?).ok()
        }
        Datetime { .. } => None,
    };
    let start = day.and_then(|day| day.to_zoned(zone.clone()).ok());
    if start.is_none() {
        check.wrong(&written.span(), format!("{} is no day", written.get_ref()), "write a date alone: 2026-07-01");
    }
    start.map(|start| Wall(start.timestamp().as_millisecond()))
}
