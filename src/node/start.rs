//! A node from start to stop.
//!
//! Start: store, journal, prompts, sockets, media threads, recorder, then shards and ACD owners; only then is anything
//! received. Stop: no new calls, running ones finish within their bound, facts reach SQL, files are sealed.

use super::ahead::{self, Courier, ToAhead};
use super::archive::{self, Archive};
use super::callbacks::{CallbackTask, OpenCallbacks, ToCallbacks};
use super::clock;
use super::edge::{self, Edge};
use super::facts::{self, FactWriter, Refused};
use super::internals::{Internals, Sources};
use super::listeners::{Listeners, Listening};
use super::live::{Delta, Live};
use super::media::{self, MediaThreads};
use super::modes::ModeBook;
use super::queues::AcdTask;
use super::recall::Memory;
use super::recorder::{self, Recorder};
use super::registrations::{Registrations, SAVE_EVERY};
use super::reload::Reload;
use super::restore::{Restored, restore, shown};
use super::routes::Routes;
use super::routing::{RoutingWriter, Tale};
use super::seats::{self, Seats};
use super::settings::SettingsWatch;
use super::setup::{People, Setup};
use super::shards::{Keeping, ShardMailbox, ShardTask};
use super::standing::{Before, Keeper};
use super::transfers::Asked;
use super::trunks::{self, TrunkTable};
use super::unfinished::Unfinished;
use super::wires::{
    ACD_EVENTS_PER_CALL, EVENTS_PER_CALL, Faults, NEW_CALLS_MAX, NEWS_MAX, PACKETS_MAX, REGISTERS_MAX, ToShard, Wires,
    connections, lock,
};
use crate::acd;
use crate::base::fact::{Audit, Fact, Stamped};
use crate::base::{AgentId, CallId, ContactId, FactId, Mint, RecordingId, ShardId, SiteId};
use crate::call::ahead::{Ahead, Key};
use crate::call::event::Event as ToCalls;
use crate::callback::{self, Callbacks};
use crate::config::{Config, ConfigErrors};
use crate::media::{Library, Prompt};
use crate::net::dns::Resolver;
use crate::net::ports::{Ports, SettingsError};
use crate::net::tls::{self, TlsError};
use crate::shard::{self, Effect, Shard, Standing};
use crate::sip::event::ListenerSettings;
use crate::store::journal;
use crate::store::sites::SiteRow;
use crate::store::{OpenError, Store, StoreError};
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How often certificates are looked at: one that was replaced on disk is used this soon.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);
/// Recorder threads: one slow disk operation must not stop all files.
const RECORDER_THREADS: usize = 2;
/// Streams of ids beyond those of shards (two a shard, 256 shards at most).
pub(super) const STREAM_BEYOND_SHARDS: u16 = 512;

mod drain;

/// What the queues of each site are told, by site.
type ToQueues = Vec<mpsc::Receiver<acd::event::Event>>;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The prompts changed since they were checked.
    #[error(transparent)]
    Prompts(#[from] ConfigErrors),
    /// A listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::store::journal::JournalError),
    /// A listener's address cannot be bound.
    #[error("listener {name}: {address} cannot be bound: {error}. {cure}")]
    Listen {
        /// File name of the listener, or `api`.
        name: Box<str>,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// The media ports.
    #[error("[node] rtp_ports or rtp_address: {0}")]
    Ports(#[from] SettingsError),
    /// The recordings' folder.
    #[error("[node] recordings = {folder}: {error}")]
    Recordings {
        /// Which.
        folder: String,
        /// What the system said.
        error: io::Error,
    },
    /// The archive's settings, or its directory.
    #[error("[archive]: {0}")]
    Archive(#[from] object_store::Error),
    /// The key that signs links.
    #[error(
        "{file}: {error}. Let the engine's user read and write it, or take it away: then links given so far open nothing"
    )]
    LinkKey {
        /// Where.
        file: String,
        /// What is the matter.
        error: io::Error,
    },
    /// The client that tells targets ahead.
    #[error("the system's certificates cannot be used: {0}")]
    Client(#[from] reqwest::Error),
    /// Threads or random numbers.
    #[error("the system refused what the engine needs: {0}")]
    System(#[from] io::Error),
}

/// A running node.
pub struct Node {
    config: Arc<Config>,
    store: Store,
    wires: Arc<Wires>,
    facts: FactWriter,
    recorder: Recorder,
    archive: Option<(Archive, archive::Worker)>,
    courier: Courier,
    keeper: Keeper,
    routing: RoutingWriter,
    media: Arc<MediaThreads>,
    acd_counts: Vec<Arc<Mutex<acd::Counts>>>,
    /// Replaced at a reload; `config` is what the node was started with.
    current: Arc<ArcSwap<Current>>,
    listening: Vec<Listening>,
    listeners: Arc<Mutex<Listeners>>,
    tasks: Vec<JoinHandle<()>>,
    facts_refused: Arc<AtomicU64>,
    seed: [u64; 2],
    started: std::time::Instant,
}

impl Node {
    /// Starts everything but HTTP.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        let (started, config) = (std::time::Instant::now(), Arc::new(config));
        limits_raised();
        let (seed, library) = (random_seed()?, library(&config)?);
        let store = open_store(&config).await?;
        tls::install_provider();
        let listeners = Listeners::bind(&config)?;
        let key = link_key(&config)?;
        let (setup, modes) = first_setup((&config, key), &listeners, &store).await?;
        let facts = FactWriter::start(fact_settings(&config), store.clone())?;
        let (tell, facts_refused) = teller(facts.clone());
        let (keeper, before) = Keeper::start(&config.node.data_dir)?;
        let mut restored = take_up(&config, &store, before, (&setup, seed)).await?;
        let recorder = start_recorder(&config, (seed, std::mem::take(&mut restored.recordings)), tell.clone())?;

        let (to_shards, shard_mailboxes) = shard_mailboxes(&config);
        let media = start_media(&config, (library, seed[0]), to_shards.clone(), &recorder, &keeper)?;

        let ((to_acds, acd_mailboxes), (callbacks, asked)) = (acd_mailboxes(&config), ToCallbacks::new());
        let (to_ahead, ahead) = ToAhead::new();
        let ((live, setup), seats) = (shared(setup), Seats::of(store.clone(), seed));
        let edge = Arc::new(Edge::new(&config, seed, setup.clone()));
        let trunks = Arc::new(TrunkTable::new(config.trunk_table(seed, &listeners.numbers(&config))));
        let wires = Arc::new(Wires {
            counts: to_shards.iter().map(|_| Mutex::default()).collect(),
            sockets: ArcSwap::from_pointee(Vec::new()),
            connections: connections(&to_shards, &edge, &trunks),
            shards: to_shards,
            acds: to_acds,
            setup,
            phones: dashmap::DashMap::new(),
            registrations: Registrations::new(config.node.data_dir.join("registrations.json")),
            live,
            trunks,
            asked: Asked::default(),
            facts: Box::new(tell),
            memory: Memory::of(store.clone()),
            seats,
            callbacks,
            ahead: to_ahead,
            modes,
            faults: Faults::default(),
            edge,
        });
        let (routing, tales) = start_routing(&config, &wires)?;
        let mut node = Node {
            acd_counts: config.sites.iter().map(|_| Arc::default()).collect(),
            archive: start_archive(&config, &store, (wires.clone(), seed))?,
            courier: start_courier(&config, (wires.clone(), &store, seed), ahead)?,
            current: Arc::new(Current::new(&config, key, &listeners)),
            listening: listeners.listening(),
            listeners: Arc::new(Mutex::new(listeners)),
            config,
            store,
            wires,
            facts,
            recorder,
            keeper,
            routing,
            media: Arc::new(media),
            tasks: Vec::new(),
            facts_refused,
            seed,
            started,
        };
        node.set_going(restored, (acd_mailboxes, tales, asked), shard_mailboxes)?;
        Ok(node)
    }

    /// Everything is there: from now on it is received.
    fn set_going(
        &mut self,
        Restored { shards, acds, contacts, mut gone, .. }: Restored,
        (mailboxes, tales, asked): (ToQueues, Vec<Tale>, mpsc::Receiver<callback::event::Event>),
        shard_mailboxes: Vec<ShardMailbox>,
    ) -> Result<(), StartError> {
        self.keeper.way().give(&mut gone);
        self.spawn_queues(mailboxes, (acds, tales), asked);
        // What restored calls say first finds its way; they are heard once the phones are known.
        lock(&self.listeners).publish(&self.wires);
        self.spawn_shards(shard_mailboxes, shards)?;
        self.restore_registrations();
        self.close_unfinished(contacts);
        lock(&self.listeners).open(&self.wires);
        self.spawn_watches();
        Ok(())
    }

    fn spawn_queues(
        &mut self,
        mailboxes: ToQueues,
        (acds, tales): (Vec<(acd::Acd, Vec<acd::event::Command>)>, Vec<Tale>),
        asked: mpsc::Receiver<callback::event::Event>,
    ) {
        let ways = mailboxes.into_iter().zip(tales);
        for (((site, (mailbox, tale)), counts), (acd, begun)) in (0u16..).zip(ways).zip(&self.acd_counts).zip(acds) {
            let agents: Vec<AgentId> = acd_agents(&self.wires.setup.load().acd[usize::from(site)]);
            let shown = shown(&acd, agents.iter().copied()).into_iter().map(Delta::Agent);
            self.wires.live.apply(clock::now().wall, shown);
            let task = AcdTask {
                site: SiteId(site),
                acd,
                begun,
                way: self.keeper.way(),
                tale,
                changed: agents.into_iter().collect(),
                wires: self.wires.clone(),
                mint: Mint::new(STREAM_BEYOND_SHARDS + 1 + site, self.seed),
                counts: counts.clone(),
            };
            self.tasks.push(tokio::spawn(task.run(mailbox)));
        }
        self.spawn_callbacks(asked);
    }

    fn spawn_callbacks(&mut self, mailbox: mpsc::Receiver<callback::event::Event>) {
        let settings = self.wires.setup.load().callbacks.clone();
        let contacts = Mint::new(STREAM_BEYOND_SHARDS + 512, self.seed);
        let task = CallbackTask {
            callbacks: Callbacks::new(settings, contacts),
            wires: self.wires.clone(),
            open: OpenCallbacks {
                facts: self.facts.clone(),
                store: self.store.clone(),
                sites: (0u16..).map(SiteId).zip(self.config.sites.iter().map(|site| site.code.clone())).collect(),
            },
            mint: Mint::new(STREAM_BEYOND_SHARDS + 513, self.seed),
        };
        self.tasks.push(tokio::spawn(task.run(mailbox)));
    }

    fn spawn_shards(
        &mut self,
        mailboxes: Vec<ShardMailbox>,
        shards: Vec<(Shard, Vec<Effect>)>,
    ) -> Result<(), StartError> {
        let addresses = lock(&self.listeners).media_addresses(self.config.node.rtp_address);
        for ((index, mailbox), (shard, begun)) in mailboxes.into_iter().enumerate().zip(shards) {
            let id = ShardId(u8::try_from(index).expect("at most 256 shards"));
            let task = ShardTask {
                id,
                shard,
                begun,
                keeping: Keeping::new(self.keeper.way()),
                wires: self.wires.clone(),
                media: self.media.clone(),
                ports: Ports::new(&addresses, shard_ports(&self.config, index))?,
                mint: Mint::new(STREAM_BEYOND_SHARDS + 1_024 + u16::from(id.0), self.seed),
                routes: Routes::new(self.media.count(), index),
                carried: Vec::new(),
            };
            self.tasks.push(tokio::spawn(task.run(mailbox)));
        }
        Ok(())
    }

    /// Measures how far behind the node is, and tells once a minute which calls were refused.
    fn spawn_edge_watch(&mut self) {
        let (wires, gauge, refused) = (self.wires.clone(), self.recorder.gauge(), self.facts_refused.clone());
        let strain = move || gauge.counts().faults.batches_lost + refused.load(Ordering::Relaxed);
        let mint = Mint::new(STREAM_BEYOND_SHARDS + 8_192, self.seed);
        self.tasks.push(tokio::spawn(edge::watch(wires, strain, mint)));
    }

    /// Phones that were registered before a restart can be rung; from now on changes are kept.
    fn restore_registrations(&mut self) {
        let setup = self.wires.setup.load();
        match self.wires.registrations.read() {
            Ok(restored) => restored.into_iter().for_each(|mut bindings| {
                let now = clock::now().mono;
                bindings.contacts.iter().for_each(|contact| self.wires.edge.expect(now, contact.flow.peer.ip()));
                // A connection does not survive its process: such phones come back by themselves.
                bindings.contacts.retain(|contact| !contact.flow.is_reliable());
                bindings.contacts.iter_mut().for_each(|contact| contact.flow = setup.sip.datagrams(contact.flow));
                if !bindings.contacts.is_empty() {
                    // At once: no phone is a stranger while its shard is still busy with the others.
                    self.wires.edge.learn(now, &bindings);
                    self.wires.to_shard(ShardId(0), shard::Event::Restored(bindings));
                }
            }),
            Err(error) => tracing::warn!(%error, "earlier registrations cannot be read: phones must register again"),
        }
        let wires = self.wires.clone();
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(SAVE_EVERY).await;
                let wires = wires.clone();
                // A city's phones are megabytes. A panic in there was logged; the next change is written again.
                let _ = tokio::task::spawn_blocking(move || save_registrations(&wires)).await;
            }
        }));
    }

    /// Calls that a crash cut off and that do not go on get their end, as soon as the journal has caught up and their recordings are sealed.
    fn close_unfinished(&mut self, restored: BTreeSet<ContactId>) {
        let started = clock::now().wall;
        let mint = Mint::new(STREAM_BEYOND_SHARDS + 4_096, self.seed);
        let (config, store, wires) = (self.config.clone(), self.store.clone(), self.wires.clone());
        let closing = Unfinished { config, store, wires, mint, restored };
        let facts = self.facts.clone();
        self.tasks.push(tokio::spawn(async move {
            facts.drain().await;
            closing.close(started).await;
        }));
    }

    /// What goes on by itself beside calls.
    fn spawn_watches(&mut self) {
        self.spawn_edge_watch();
        self.spawn_certificate_watch();
        self.spawn_settings_watch();
        self.tasks.push(tokio::spawn(trunks::run(self.wires.clone(), Resolver::of_system())));
    }

    /// Certificates that were replaced on disk are used by new handshakes; connections that stand are untouched.
    fn spawn_certificate_watch(&mut self) {
        let listeners = self.listeners.clone();
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(CERTIFICATES_EVERY).await;
                for (listener, read) in lock(&listeners).renew_certificates() {
                    match read {
                        Ok(()) => tracing::info!(listener, "its certificate was replaced"),
                        Err(error) => tracing::error!(listener, %error, "its new certificate is not used"),
                    }
                }
            }
        }));
    }

    /// Agents who were added, changed or removed in SQL, skills that begin or end, and modes take effect while calls run.
    fn spawn_settings_watch(&mut self) {
        let watch = SettingsWatch {
            current: self.current.clone(),
            store: self.store.clone(),
            wires: self.wires.clone(),
            mint: Mint::new(STREAM_BEYOND_SHARDS + 514, self.seed),
        };
        self.tasks.push(tokio::spawn(watch.run()));
    }

    /// Where and how SIP was spoken at the start, in listener order.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// Takes new configurations while the node runs.
    pub fn reload(&self) -> Reload {
        Reload {
            current: self.current.clone(),
            listeners: self.listeners.clone(),
            store: self.store.clone(),
            wires: self.wires.clone(),
            seed: self.seed,
        }
    }

    /// What the node was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The records.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The read model.
    pub fn live(&self) -> &Arc<Live> {
        &self.wires.live
    }

    /// A number that only this process knows.
    pub fn seed(&self) -> [u64; 2] {
        self.seed
    }

    pub(super) fn wires(&self) -> &Arc<Wires> {
        &self.wires
    }

    /// Ends calls by hand.
    pub fn hang_up(&self) -> impl Fn(CallId) -> bool + Send + Sync + 'static {
        let wires = self.wires.clone();
        move |call| wires.hang_up(call)
    }

    /// Hands what agents want to their ACD.
    pub fn want(&self) -> impl Fn(SiteId, AgentId, acd::event::Want, Option<Arc<str>>) -> bool + Send + Sync + 'static {
        let wires = self.wires.clone();
        move |site, agent, state, by| {
            let event = acd::event::Event::Want { agent, state, by };
            wires.acds.get(site.index()).is_some_and(|to| to.try_send(event).is_ok())
        }
    }

    /// Hands the wish for a longer wrap-up to the ACD of the site; false when it has no room.
    pub fn extend(&self) -> impl Fn(SiteId, AgentId, Duration) -> bool + Send + Sync + 'static {
        let wires = self.wires.clone();
        move |site, agent, by| {
            let event = acd::event::Event::Extend { agent, by };
            wires.acds.get(site.index()).is_some_and(|to| to.try_send(event).is_ok())
        }
    }

    /// The sources that are banned, and the lifting of a ban.
    pub fn bans(&self) -> edge::Bans {
        edge::Bans::new(self.wires.clone())
    }

    /// Takes what the audit must keep.
    pub fn audit(&self) -> impl Fn(Option<SiteId>, Audit) + Send + Sync + 'static {
        let wires = self.wires.clone();
        let mint = Mutex::new(Mint::new(STREAM_BEYOND_SHARDS, self.seed));
        move |site, audit| {
            let at = clock::now().wall;
            let id = FactId(lock(&mint).mint(at));
            let site = site.map_or_else(|| "".into(), |site| wires.setup.load().code(site));
            (wires.facts)(Stamped { id, at, site, fact: Fact::Audit(Box::new(audit)) });
        }
    }

    /// The archive of recordings, if there is one.
    pub fn archive(&self) -> Option<Archive> {
        self.archive.as_ref().map(|(archive, _)| archive.clone())
    }

    /// Shows what stands inside; what belongs to HTTP is left at zero.
    pub fn internals(&self) -> impl Fn() -> Internals + Send + Sync + 'static {
        let sources = Sources {
            started: self.started,
            wires: self.wires.clone(),
            acds: self.acd_counts.clone(),
            media: self.media.figures().to_vec(),
            recorder: self.recorder.gauge(),
            archive: self.archive(),
            facts: self.facts.clone(),
            facts_refused: self.facts_refused.clone(),
            runtime: Handle::current(),
        };
        move || sources.read()
    }
}

/// What the files said last, and what became of it.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: Arc<Config>,
    /// Signs links; the same as long as the data folder lasts.
    pub(super) key: Key,
    pub(super) listeners: Vec<ListenerSettings>,
}

impl Current {
    fn new(config: &Arc<Config>, key: Key, listeners: &Listeners) -> ArcSwap<Current> {
        ArcSwap::from_pointee(Current { config: config.clone(), key, listeners: listeners.settings() })
    }
}

/// What the process before left goes on, as far as it can.
async fn take_up(
    config: &Config,
    store: &Store,
    before: Before,
    (setup, seed): (&Setup, [u64; 2]),
) -> Result<Restored, StartError> {
    let (stood, ended) = (before.calls.len(), already_ended(config, store, &before).await?);
    let restored = restore(before, &ended, (setup, config.node.shards), seed, clock::now());
    if stood > 0 {
        tracing::info!(stood, go_on = restored.contacts.len(), "the process before died: its calls go on");
    }
    Ok(restored)
}

/// Of the calls that stood, those whose end the journal or SQL was told in the moment before the crash.
async fn already_ended(config: &Config, store: &Store, before: &Before) -> Result<BTreeSet<ContactId>, StartError> {
    let contacts: Vec<ContactId> = before.calls.iter().map(Standing::contact).collect();
    if contacts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut ended = journal::ended(&config.journal.dir)?;
    for site in &config.sites {
        ended.append(&mut store.site(&site.code).ended(&contacts).await?);
    }
    Ok(ended)
}

/// The read model under these settings, and the settings for all to read.
fn shared(setup: Setup) -> (Arc<Live>, Arc<ArcSwap<Setup>>) {
    let live = Arc::new(Live::new(clock::now().wall));
    live.apply(clock::now().wall, [Delta::Configure { calls: setup.calls.clone(), acd: setup.acd.clone() }]);
    (live, Arc::new(ArcSwap::from_pointee(setup)))
}

fn start_routing(config: &Config, wires: &Wires) -> io::Result<(RoutingWriter, Vec<Tale>)> {
    RoutingWriter::start(config.routing_folder(), config.routing, codes(config), &wires.faults.routing)
}

/// What the machines are told at the start, and the modes that stand then.
async fn first_setup(
    (config, key): (&Config, Key),
    listeners: &Listeners,
    store: &Store,
) -> Result<(Setup, ModeBook), StoreError> {
    let modes = ModeBook::read(config.node.data_dir.join("modes.json"), codes(config), config.modes());
    let people = People::load(config, store).await?;
    Ok((Setup::join((config, key), &listeners.settings(), people, &modes.open(), clock::now().wall), modes))
}

fn codes(config: &Config) -> Vec<Box<str>> {
    config.sites.iter().map(|site| site.code.clone()).collect()
}

fn acd_agents(settings: &acd::event::Settings) -> Vec<AgentId> {
    settings.agents.iter().map(|agent| agent.agent).collect()
}

/// A way to the queues of each site.
fn acd_mailboxes(config: &Config) -> (Vec<mpsc::Sender<acd::event::Event>>, ToQueues) {
    config.sites.iter().map(|_| mpsc::channel(config.node.calls_max * ACD_EVENTS_PER_CALL)).unzip()
}

fn shard_mailboxes(config: &Config) -> (Vec<ToShard>, Vec<ShardMailbox>) {
    let make = |_| {
        let (packets, packets_in) = mpsc::channel(PACKETS_MAX);
        let (calls, calls_in) = mpsc::channel(NEW_CALLS_MAX);
        let (registers, registers_in) = mpsc::channel(REGISTERS_MAX);
        let (news, news_in) = mpsc::channel(NEWS_MAX);
        let (events, events_in) = mpsc::channel(config.node.calls_max * EVENTS_PER_CALL);
        let mailbox = ShardMailbox {
            packets: packets_in,
            calls: calls_in,
            registers: registers_in,
            news: news_in,
            events: events_in,
        };
        (ToShard { packets, calls, registers, news, events }, mailbox)
    };
    (0..config.node.shards).map(make).unzip()
}

fn post_notice(shards: &[ToShard], notice: crate::media::event::Notice) {
    use crate::media::event::Notice;
    let leg = match &notice {
        Notice::Played { leg, .. }
        | Notice::Digit { leg, .. }
        | Notice::DigitsSent { leg }
        | Notice::Quiet { leg, .. }
        | Notice::Heard { leg }
        | Notice::Mute { leg }
        | Notice::Sounds { leg }
        | Notice::Closed { leg, .. } => *leg,
    };
    let event = shard::Event::Call(ToCalls::Media(notice));
    let posted = shards.get(leg.shard().index()).is_some_and(|to| to.events.try_send(event).is_ok());
    if !posted {
        tracing::error!(?leg, "a media notice found no room");
    }
}

pub(super) fn configure(wires: &Wires, setup: Setup) {
    let setup = Arc::new(setup);
    let _order = lock(&wires.seats.order);
    let before = wires.setup.swap(setup.clone());
    // The ACDs first: what a shard says under new settings must find them there.
    for (site, settings) in (0u16..).zip(&setup.acd) {
        wires.to_acd(SiteId(site), acd::event::Event::Configure(settings.clone()));
    }
    wires.callbacks.tell(callback::event::Event::Configure(setup.callbacks.clone()));
    for index in 0..wires.shards.len() {
        let (sip, calls) = (setup.sip.clone(), setup.calls.clone());
        wires.to_shard(ShardId(index as u8), shard::Event::Configure { sip, calls });
    }
    wires.live.apply(clock::now().wall, [Delta::Configure { calls: setup.calls.clone(), acd: setup.acd.clone() }]);
    seats::follow(wires, &before, &setup);
    tracing::info!(agents = setup.head_count(), "agents and queues are told anew");
}

/// The database, with the sites of the files.
async fn open_store(config: &Config) -> Result<Store, StartError> {
    let store = Store::open(&config.database).await?;
    store.sync_sites(&site_rows(config)).await?;
    Ok(store)
}

fn save_registrations(wires: &Wires) {
    if let Err(error) = wires.registrations.save() {
        wires.faults.registrations_unsaved.raise(clock::now().mono, 1, |count| {
            tracing::warn!(%error, count, "registrations cannot be written: after a restart phones must register again");
        });
    }
}

fn limits_raised() {
    let files = super::limits::raise_open_files();
    tracing::debug!(files, "open files allowed");
}

fn random_seed() -> io::Result<[u64; 2]> {
    let word = || getrandom::u64().map_err(io::Error::other);
    Ok([word()?, word()?])
}

fn library(config: &Config) -> Result<Arc<Library>, ConfigErrors> {
    let mut library = Library::new();
    for samples in config.load_prompts()? {
        library.add(Prompt::new(&samples));
    }
    Ok(Arc::new(library))
}

fn site_rows(config: &Config) -> Vec<SiteRow> {
    let row = |site: &crate::config::Site| SiteRow {
        code: site.code.to_string(),
        name: site.name.to_string(),
        time_zone: site.time_zone.iana_name().unwrap_or("UTC").to_string(),
        area: site.area_code.to_string(),
    };
    config.sites.iter().map(row).collect()
}

fn fact_settings(config: &Config) -> facts::Settings {
    let mut settings = facts::Settings::new(config.journal.dir.clone());
    settings.commit_every = config.journal.commit;
    settings.journal.segment_bytes_max = config.journal.segment_bytes;
    settings.journal.keep = config.journal.keep;
    settings
}

/// Takes facts for the journal; one that finds no room is counted, and said once a second at most.
fn teller(facts: FactWriter) -> (impl Fn(Stamped) + Clone + Send + Sync + 'static, Arc<AtomicU64>) {
    let refused = Arc::new(AtomicU64::new(0));
    let counter = refused.clone();
    let tell = move |fact| match facts.tell(fact) {
        Ok(()) => {}
        Err(Refused::Full(fact) | Refused::Closed(fact)) => {
            refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(kind = fact.fact.kind(), id = %fact.id, "a fact found no room in the journal's channel");
        }
    };
    (tell, counter)
}

fn start_media(
    config: &Config,
    (prompts, seed): (Arc<Library>, u64),
    shards: Vec<ToShard>,
    recorder: &Recorder,
    keeper: &Keeper,
) -> io::Result<MediaThreads> {
    let threads = u8::try_from(config.node.media_threads).unwrap_or(u8::MAX);
    let taps = || {
        let mut intake = recorder.intake();
        move |taps: &mut Vec<crate::media::event::Tap>| intake.give(taps.drain(..))
    };
    let way = keeper.way();
    MediaThreads::start(
        &media::Settings { threads, pin: true, prompts, seed },
        move |notice| post_notice(&shards, notice),
        taps,
        move |thread, legs| way.mark(thread, legs),
    )
}

fn start_recorder(
    config: &Config,
    (seed, running): ([u64; 2], BTreeSet<RecordingId>),
    tell: impl Fn(Stamped) + Send + Sync + 'static,
) -> Result<Recorder, StartError> {
    let mint = Mutex::new(Mint::new(STREAM_BEYOND_SHARDS + 2_048, seed));
    let facts = Arc::new(move |site: &str, fact: Fact| {
        let at = clock::now().wall;
        let id = FactId(lock(&mint).mint(at));
        tell(Stamped { id, at, site: site.into(), fact });
    });
    let settings = recorder::Settings {
        folders: config.node.recordings.clone(),
        threads: RECORDER_THREADS,
        recordings_max: config.node.calls_max * 2,
        running,
    };
    let names: Vec<String> = config.node.recordings.iter().map(|folder| folder.display().to_string()).collect();
    let folder = names.join(" and ");
    Recorder::start(settings, clock::now, facts).map_err(|error| StartError::Recordings { folder, error })
}

fn link_key(config: &Config) -> Result<Key, StartError> {
    let (folder, file) = (&config.node.data_dir, ahead::key::FILE);
    let told = |error| StartError::LinkKey { file: folder.join(file).display().to_string(), error };
    ahead::key::read_or_make(folder).map_err(told)
}

fn start_courier(
    config: &Config,
    (wires, store, seed): (Arc<Wires>, &Store, [u64; 2]),
    mailbox: mpsc::Receiver<Box<Ahead>>,
) -> Result<Courier, StartError> {
    let mint = Mint::new(STREAM_BEYOND_SHARDS + 516, seed);
    Ok(Courier::start((wires, store.clone()), mailbox, (config.node.name.clone(), mint))?)
}

fn start_archive(
    config: &Config,
    store: &Store,
    (wires, seed): (Arc<Wires>, [u64; 2]),
) -> Result<Option<(Archive, archive::Worker)>, StartError> {
    let Some(configured) = config.archive.clone() else { return Ok(None) };
    let archive = Archive::open(&configured)?;
    let mint = Mutex::new(Mint::new(STREAM_BEYOND_SHARDS + 16_384, seed));
    let audit = Box::new(move |site: &str, audit: Audit| {
        let at = clock::now().wall;
        let id = FactId(lock(&mint).mint(at));
        (wires.facts)(Stamped { id, at, site: site.into(), fact: Fact::Audit(Box::new(audit)) });
    });
    let (folders, store) = (config.node.recordings.clone(), store.clone());
    let worker = archive::Worker::start(archive.clone(), archive::Settings { configured, folders, store, audit })?;
    Ok(Some((archive, worker)))
}

/// A shard's own slice of the media ports: whole pairs, none shared.
fn shard_ports(config: &Config, shard: usize) -> std::ops::RangeInclusive<u16> {
    let (first, last) = (usize::from(*config.node.rtp_ports.start()), usize::from(*config.node.rtp_ports.end()));
    let pairs = (last - first).div_ceil(2);
    let from = first + pairs * shard / config.node.shards * 2;
    let until = first + pairs * (shard + 1) / config.node.shards * 2;
    from as u16..=(until - 1) as u16
}
