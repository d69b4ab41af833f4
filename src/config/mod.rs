//! Configuration: files in, checked values out, once at start and at each reload.
//!
//! Owns the format of `jiesu.toml`, `sip-profiles/` and `ivr-flows/` (TOML; unknown keys are refused) and turns them into
//! the settings of the machines. Every mistake is told with file, line, column and cure, all of them at once. Files are
//! the only source: no environment variable, no default path searched. Never keeps a token or password in clear, prints
//! nothing, and knows no run-time state: agents and credentials are filled in by the caller from SQL.
//!
//! Dense ids come from order: sites by `[[site]]`, queues by `[[queue]]` within their site, skills and prompts by name.

pub mod archive;
pub mod certificates;
mod context;
mod dialling;
mod keys;
mod listeners;
mod modes;
mod node;
mod numbers;
pub mod outline;
mod pauses;
mod problem;
mod profiles;
mod prompts;
mod queues;
mod routing;
pub mod scenario;
mod schema;
mod sound;
mod source;
mod targets;
mod trunks;

pub use context::Context;
pub use listeners::{Bounds, Certificate, Clients, Listener, Strangers, Tls, Transport};
pub use node::{Api, Journal, Node, Overload, Registrar, Routing, Site, Token};
pub use problem::{ConfigErrors, Problem};

use crate::base::{PromptId, QueueId, SiteId, SkillId, TrunkId};
use crate::call::desk::Keys;
use crate::call::event::{Pause, QueueVoice, SiteSettings};
use crate::call::targets::Targets;
use crate::ivr::Numbers;
use crate::sip::event::{DomainSettings, Limits, SessionTimers, TrunkSettings};
use crate::{acd, call, callback, trunk};
use node::Sites;
use outline::{Change, Outline};
use source::{Reading, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A whole, checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process.
    pub node: Node,
    /// HTTP.
    pub api: Api,
    /// The journal.
    pub journal: Journal,
    /// What is kept of what queues are told.
    pub routing: Routing,
    /// SQL.
    pub database: PathBuf,
    /// Registrations.
    pub registrar: Registrar,
    /// When new calls are refused.
    pub overload: Overload,
    /// How sessions are kept alive.
    pub session: SessionTimers,
    /// Where recordings are kept after their end; `None`: nowhere else.
    pub archive: Option<archive::Archive>,
    /// At which address targets reach the node; `None`: nobody is given a link.
    pub context: Option<Context>,
    /// By [`SiteId`].
    pub sites: Vec<Site>,
    /// Where SIP is spoken.
    pub listeners: Vec<Listener>,
    /// Trunks as the user agent knows them.
    pub trunks: Vec<TrunkSettings>,
    /// The same trunks with their limits, by [`TrunkId`](crate::base::TrunkId).
    pub profiles: Vec<trunk::event::Profile>,
    /// Directories of recordings that cannot be written to now: to be told, though an engine may start without one.
    pub unusable: Vec<Problem>,
    dialling: Arc<trunk::Dialling>,
    targets: Arc<Targets>,
    queues: Vec<Vec<queues::Queue>>,
    /// By [`SiteId`], in the order in which they are laid over each other.
    modes: Vec<Vec<modes::Mode>>,
    /// By [`SiteId`].
    pauses: Vec<Vec<Pause>>,
    /// By [`SiteId`].
    keys: Vec<Option<Keys>>,
    numbers: Numbers,
    prompts: prompts::Prompts,
    outline: Outline,
}

impl Config {
    /// Reads `path` (a `jiesu.toml`) and the folders `sip-profiles` and `ivr-flows` beside it.
    ///
    /// # Errors
    /// All mistakes, in order of file and line.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let config = read(path, &mut problems);
        problems.sort();
        problems.dedup();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigErrors(problems)),
        }
    }

    /// What the user agent of each shard is told, but for the phones' credentials.
    pub fn sip(&self) -> crate::sip::event::Settings {
        let domain = |site: &Site| DomainSettings { name: site.domain.clone(), aliases: site.aliases.clone() };
        crate::sip::event::Settings {
            listeners: self.listeners.iter().map(Listener::settings).collect(),
            trunks: self.trunks.clone(),
            domains: self.sites.iter().map(domain).collect(),
            credentials: Arc::default(),
            expires_s: self.registrar.expires_s,
            // MD5 first and alone: softphones in use stumble over a challenge they do not know; SHA-256 answers are taken.
            digests: Vec::new(),
            nonce_life: self.registrar.nonce_life,
            session: self.session,
            redirects_max: self.registrar.redirects_max,
            limits: Limits { contacts_max: self.registrar.contacts_max, ..Limits::default() },
        }
    }

    /// What the ACD of `site` is told, but for its agents.
    pub fn acd(&self, site: SiteId) -> acd::event::Settings {
        let queues = self.queues[site.index()].iter().map(|queue| queue.settings.clone()).collect();
        let utc_offset_s = self.sites[site.index()].time_zone.to_offset(jiff::Timestamp::now()).seconds();
        acd::event::Settings { site, queues, agents: Vec::new(), utc_offset_s }
    }

    /// When which modes open.
    pub fn modes(&self) -> crate::modes::Settings {
        let rules = |of: &Vec<modes::Mode>| of.iter().map(|mode| mode.rule.clone()).collect();
        crate::modes::Settings { sites: self.modes.iter().map(rules).collect() }
    }

    /// Lays the modes of `open` over what the queues of `site` are told; `team_of` says whom belongs where.
    pub fn lay_modes(
        &self,
        site: SiteId,
        open: &[Box<str>],
        (acd, voices): (&mut acd::event::Settings, &mut [QueueVoice]),
        team_of: impl Fn(&acd::event::AgentSettings) -> Option<Box<str>>,
    ) {
        for mode in self.modes[site.index()].iter().filter(|mode| open.contains(&mode.rule.name)) {
            mode.lay(acd, voices, &team_of);
        }
    }

    /// What the call-backs are told.
    pub fn callbacks(&self) -> callback::event::Settings {
        let queue = |queue: &queues::Queue| callback::event::QueueSettings {
            name: queue.settings.name.clone(),
            callbacks: queue.callbacks.clone(),
        };
        callback::event::Settings { sites: self.queues.iter().map(|of| of.iter().map(queue).collect()).collect() }
    }

    /// What the calls of each shard are told, but for the agents and the links. A shard's share of `calls_max` is its part of the node.
    pub fn calls(&self) -> call::event::Settings {
        type OfSite<'a> = (((&'a Site, &'a Vec<queues::Queue>), &'a Vec<Pause>), &'a Option<Keys>);
        let site = |(((site, queues), pauses), keys): OfSite<'_>| SiteSettings {
            code: site.code.clone(),
            domain: site.domain.clone(),
            area_code: site.area_code.clone(),
            queues: queues.iter().map(|queue| queue.voice.clone()).collect(),
            pauses: pauses.clone(),
            keys: keys.clone(),
            seats: Default::default(),
        };
        call::event::Settings {
            sites: self.sites.iter().zip(&self.queues).zip(&self.pauses).zip(&self.keys).map(site).collect(),
            agents: Vec::new(),
            numbers: self.numbers.clone(),
            trunks: Arc::new(self.trunk_table([0, 0], &[])),
            dialling: self.dialling.clone(),
            targets: self.targets.clone(),
            links: None,
            phrases: call::Phrases::find(|name| self.prompts.find(name)).ok(),
            calls_max: self.node.calls_max.div_ceil(self.node.shards),
        }
    }

    /// What the table of trunks is told. `numbers` says under which number each listener of the files runs.
    pub fn trunk_table(&self, seed: [u64; 2], numbers: &[u16]) -> trunk::event::Settings {
        let mut trunks = self.profiles.clone();
        for remote in trunks.iter_mut().filter_map(|profile| profile.remote.as_mut()) {
            remote.listener = numbers.get(usize::from(remote.listener)).copied().unwrap_or(remote.listener);
        }
        trunk::event::Settings { trunks, seed }
    }

    /// Numbers trunks as `before` did, for channels and routes of running calls name them so: what is gone keeps its place
    /// and carries nothing, what is new comes behind.
    pub fn continues(&mut self, before: &Config) {
        let mut fresh: Vec<Option<trunk::event::Profile>> = self.profiles.drain(..).map(Some).collect();
        let mut places = vec![TrunkId(0); fresh.len()];
        for old in &before.profiles {
            let place = fresh.iter().position(|new| new.as_ref().is_some_and(|new| new.name == old.name));
            let id = TrunkId(self.profiles.len() as u16);
            self.profiles.push(match place {
                Some(place) => {
                    places[place] = id;
                    fresh[place].take().expect("names are files: none comes twice")
                }
                None => old.retired(),
            });
        }
        for (place, new) in fresh.into_iter().enumerate().filter_map(|(place, new)| Some((place, new?))) {
            places[place] = TrunkId(self.profiles.len() as u16);
            self.profiles.push(new);
        }
        let routes = Arc::make_mut(&mut self.dialling).rules.iter_mut().flat_map(|rule| &mut rule.trunks);
        routes.for_each(|trunk| *trunk = places[trunk.index()]);
    }

    /// What differs from `new` and cannot change while the node runs.
    pub fn fixed_differences(&self, new: &Config) -> Vec<&'static str> {
        let fixed = [
            ("[node]", self.node == new.node),
            ("[api] listen", self.api.listen == new.api.listen),
            ("[journal]", self.journal == new.journal),
            ("[routing]", self.routing == new.routing),
            ("[database]", self.database == new.database),
            ("[overload]", self.overload == new.overload),
            ("[archive]", self.archive == new.archive),
            ("[[site]]", self.sites == new.sites),
            ("ivr-flows/prompts", self.prompts == new.prompts),
        ];
        fixed.into_iter().filter(|(_, same)| !same).map(|(what, _)| what).collect()
    }

    /// What `new` says otherwise, by kind and name of the items; prompts are not among them.
    pub fn changes(&self, new: &Config) -> Vec<Change> {
        self.outline.changes(&new.outline)
    }

    /// Where what queues are told is kept, one folder for each site.
    pub fn routing_folder(&self) -> PathBuf {
        self.node.data_dir.join("routing")
    }

    /// The site of this code.
    pub fn site_id(&self, code: &str) -> Option<SiteId> {
        let place = self.sites.iter().position(|site| *site.code == *code)?;
        u16::try_from(place).ok().map(SiteId)
    }

    /// The queue of this name.
    pub fn queue_id(&self, site: SiteId, name: &str) -> Option<QueueId> {
        queues::find(&self.queues, site, name)
    }

    /// The skill of this name.
    pub fn skill_id(&self, site: SiteId, name: &str) -> Option<SkillId> {
        self.sites.get(site.index())?.skill(name)
    }

    /// The prompt of this name.
    pub fn prompt_id(&self, name: &str) -> Option<PromptId> {
        self.prompts.find(name)
    }

    /// All prompts and their files.
    pub fn prompts(&self) -> Vec<(PromptId, PathBuf)> {
        self.prompts.list.iter().zip(0..).map(|(prompt, id)| (PromptId(id), prompt.path.clone())).collect()
    }

    /// Reads all prompts: 8 kHz mono samples, by [`PromptId`].
    ///
    /// # Errors
    /// The files that were changed or taken away since they were checked.
    pub fn load_prompts(&self) -> Result<Vec<Vec<i16>>, ConfigErrors> {
        let mut problems = Vec::new();
        let mut sounds = Vec::new();
        for prompt in &self.prompts.list {
            match prompts::load(&prompt.path) {
                Ok(samples) => sounds.push(samples),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(sounds) } else { Err(ConfigErrors(problems)) }
    }
}

/// Gives queues the flows that their citizens are asked by after a talk.
fn ask_after(queues: &mut [Vec<queues::Queue>], after: Vec<numbers::After>) {
    for (site, queue, flow) in after {
        if let Some(queue) = queues.get_mut(site.index()).and_then(|of_site| of_site.get_mut(queue.index())) {
            queue.voice.after = Some(flow);
        }
    }
}

/// Reads everything there is; `None` when `jiesu.toml` or `queues.toml` yields nothing.
fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<Config> {
    let root = path.parent().unwrap_or(Path::new(""));
    let (sip, ivr) = (root.join("sip-profiles"), root.join("ivr-flows"));
    let main = Source::open(path, "name the file with --config PATH", problems);
    let listeners = listeners::read(&sip.join("listeners"), root, problems);
    let (trunks, profiles) = trunks::read((root, &sip.join("trunks")), &listeners, problems);
    let mut unusable = Vec::new();
    let (main, whole) = main.map_or((None, false), |source| {
        let reading: Reading<schema::Main> = source.read(problems);
        if let Some(raw) = &reading.value {
            unusable = node::unusable(&source, &raw.node, root);
            let mut check = source::Check { source: &source, problems };
            node::check_emergency_trunks(&mut check, &raw.overload, &trunks);
        }
        (node::check(&source, &reading, root, problems), reading.whole)
    });
    let sites = Sites { list: main.as_ref().map_or(&[], |main| &main.sites), whole };
    let dialling = Arc::new(dialling::read(&sip.join("dialling.toml"), sites, &profiles, problems));
    let prompts = prompts::scan(&ivr.join("prompts"), problems);
    let known = targets::Known::of((&dialling, &prompts), root, main.as_ref().filter(|_| whole));
    let targets = Arc::new(targets::read(&sip.join("targets"), sites, known, problems));
    let queues_file = Source::open(&sip.join("queues.toml"), "write at least one [[queue]] for each site", problems);
    let (mut queues, queues_whole, written) = queues_file.map_or((None, false, None), |source| {
        let Reading { value, whole } = source.read::<schema::Queues>(problems);
        let check = |raw: &schema::Queues| {
            let queues = queues::check(&source, &raw.queue, sites, (&prompts, &targets), problems);
            let mut check = source::Check { source: &source, problems };
            let modes = modes::check(&mut check, &raw.mode, sites, (&prompts, &queues));
            let pauses = pauses::check(&mut check, &raw.pause, sites);
            let known = keys::Known { prompts: &prompts, targets: &targets, pauses: &pauses };
            let keys = keys::check(&mut check, &raw.keys, sites, known);
            (queues, modes, pauses, keys)
        };
        let queues = value.as_ref().map(check);
        (queues, whole && sites.whole, value.map(|raw| (source, raw.queue)))
    });
    let known = queues.as_ref().map_or(&[][..], |(queues, ..)| queues);
    let context = numbers::Context { sites, queues: known, queues_whole, prompts: &prompts };
    let (numbers, after) = numbers::read(&ivr, context, written.as_ref(), problems);
    let music: Vec<PromptId> = known.iter().flatten().map(|queue| queue.voice.music).collect();
    if queues_whole {
        prompts.check_lengths(&music, problems);
    }
    ask_after(queues.as_mut().map(|(queues, ..)| &mut **queues).unwrap_or_default(), after);
    let (main, (queues, modes, pauses, keys)) = (main?, queues?);
    Some(Config {
        node: main.node,
        api: main.api,
        journal: main.journal,
        routing: main.routing,
        database: main.database,
        registrar: main.registrar,
        overload: main.overload,
        session: main.session,
        archive: main.archive,
        context: main.context,
        sites: main.sites,
        listeners,
        trunks,
        profiles,
        unusable,
        dialling,
        targets,
        queues,
        modes,
        pauses,
        keys,
        numbers,
        prompts,
        outline: Outline::read(path, root),
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod mode_tests;
#[cfg(test)]
mod routing_tests;
#[cfg(test)]
mod trunk_tests;
