//! The demo's shell: one UDP socket on loopback, one media thread, one task that sleeps until something happens.
//!
//! Creates the simulated agents in the database, carries out what the [`Crowd`] says, and shows it the screens: states
//! of agents and answered calls from the node's read model.

use super::crowd::{Command, Crowd, Event};
use super::people::Screen;
use super::phones::{self, Dialled};
use super::voices::Voices;
use crate::acd::event::{AgentState, Want};
use crate::base::fact::Stage;
use crate::base::number::NumberKind;
use crate::base::{AgentId, LegId, MediaThreadId, SiteId};
use crate::config::{Config, Site, Transport};
use crate::ivr::numbers::Entry;
use crate::media::event::Tap;
use crate::net::ports::{Ports, SettingsError};
use crate::net::udp;
use crate::node::live::{Change, Live, Object};
use crate::node::media::{self, MediaThreads, Message};
use crate::node::{Listening, Node, clock};
use crate::sip::event::Credential;
use crate::store::agents::{AgentError, NewAgent, Skill};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Simulated agents of the first site, of the second, … Further sites have none.
const AGENTS: [u16; 2] = [6, 3];
/// By this name people know that an agent is simulated; agents without it are never touched.
const DISPLAY_NAME: &str = "模拟座席";
/// Below the ephemeral range and above the engine's usual ports; a port in use is passed over.
const RTP_PORTS: RangeInclusive<u16> = 30_000..=30_999;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Changes of the read model looked at in one go.
const CHANGES_MAX: usize = 256;
/// How long good-byes may take.
const LEAVE_MAX: Duration = Duration::from_secs(3);
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Makes the demo's secrets others than the engine's.
const SEED_OF_ITS_OWN: u64 = 0x6465_6d6f;

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing to call.
    #[error("the demo speaks over 127.0.0.1, and no UDP listener hears it: use listen = \"0.0.0.0:5060\" or 127.0.0.1")]
    Listener,
    /// The citizens would be challenged.
    #[error("the demo's citizens call from 127.0.0.1, and no trunk has it among its sources")]
    Trunk,
    /// Nobody to call.
    #[error("the demo calls 12345 and its like, and the first two sites have no such number")]
    Number,
    /// Somebody real has the name.
    #[error("agent {0} exists and is no simulated one: start without --demo, or rename the agent")]
    Taken(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The media ports.
    #[error(transparent)]
    Ports(#[from] SettingsError),
    /// Sockets, threads or random numbers.
    #[error("the system refused what the demo needs: {0}")]
    System(#[from] io::Error),
}

/// The running demo.
#[derive(Debug)]
pub struct Demo {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A simulated agent.
#[derive(Clone, Debug)]
struct Desk {
    site: SiteId,
    name: Arc<str>,
    credential: Credential,
}

impl Demo {
    /// Creates the agents and starts everybody.
    ///
    /// # Errors
    /// [`StartError`]; the node is as it was, but for agents that were created.
    pub async fn start(node: &Node) -> Result<Demo, StartError> {
        let config = node.config();
        let engine = engine(node)?;
        let numbers = numbers(config)?;
        let desks = desks(config, node.store()).await?;
        let socket = udp::bind(SocketAddr::new(LOOPBACK, 0))?;
        let settings = phones::Settings {
            engine,
            local: socket.local_addr()?,
            agents: desks.iter().map(|desk| desk.credential.clone()).collect(),
            numbers,
        };
        let (voices, seed) = (Voices::new(), node.seed().map(|word| word ^ SEED_OF_ITS_OWN));
        let threads = media::Settings { threads: 1, pin: false, prompts: voices.prompts(), seed: seed[0] };
        let task = Task {
            crowd: Crowd::new(clock::now().mono, settings, voices, seed),
            engine,
            socket,
            media: MediaThreads::start(&threads, |_| {}, || |_: &mut Vec<Tap>| {}, |_, _| {})?,
            ports: Ports::new(&[LOOPBACK], RTP_PORTS)?,
            seen: node.live().snapshot(None).seq,
            live: node.live().clone(),
            want: Box::new(node.want()),
            desks,
        };
        let (leave, left) = oneshot::channel();
        Ok(Demo { leave, task: tokio::spawn(task.run(left)) })
    }

    /// All say good-bye, take their registrations back and are gone, or are cut off at [`LEAVE_MAX`].
    pub async fn leave(mut self) {
        if self.leave.send(()).is_err() || tokio::time::timeout(LEAVE_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// How an agent asks for a state.
type SetState = dyn Fn(SiteId, AgentId, Want, Option<Arc<str>>) -> bool + Send + Sync;

struct Task {
    crowd: Crowd,
    engine: SocketAddr,
    socket: UdpSocket,
    media: MediaThreads,
    ports: Ports,
    live: Arc<Live>,
    /// How much of the read model was looked at.
    seen: u64,
    want: Box<SetState>,
    desks: Vec<Desk>,
}

impl Task {
    async fn run(mut self, left: oneshot::Receiver<()>) {
        let mut changes = self.live.watch();
        let mut buffer = vec![0u8; DATAGRAM_BYTES_MAX];
        let mut left = Some(left);
        self.screens();
        while left.is_some() || !self.crowd.is_gone() {
            let wait = self.crowd.next_deadline().map(|at| at.since(clock::now().mono));
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    // An ICMP error of an earlier datagram: nothing to do with the next one.
                    if let Ok((length, from)) = received && from == self.engine {
                        self.event(Event::Received(Bytes::copy_from_slice(&buffer[..length]))).await;
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.screens_changed().await;
                }
                () = sleep(wait) => {
                    let mut out = Vec::new();
                    self.crowd.expire(clock::now(), &mut out);
                    self.carry_out(out).await;
                }
                () = asked(&mut left) => self.event(Event::Leave).await,
            }
        }
    }

    async fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.crowd.handle(clock::now(), event, &mut out);
        self.carry_out(out).await;
    }

    async fn carry_out(&mut self, commands: Vec<Command>) {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::Send(bytes) => {
                    // What is lost is repeated, as on any network.
                    let _ = self.socket.send_to(&bytes, self.engine).await;
                }
                Command::OpenPort(leg) => {
                    let local = self.open(leg);
                    let mut out = Vec::new();
                    self.crowd.handle(clock::now(), Event::Port { leg, local }, &mut out);
                    // Before the rest, which may already be about this port.
                    out.into_iter().rev().for_each(|command| commands.push_front(command));
                }
                Command::Media(action) => self.media(Message::Action(action)),
                Command::Ready { agent } => {
                    let desk = &self.desks[agent];
                    // Not known yet, or the engine is too busy: asked again soon.
                    if let Some(agent) = self.live.agent(desk.site, &desk.name) {
                        (self.want)(desk.site, agent.id, Want::Ready, None);
                    }
                }
            }
        }
    }

    fn open(&mut self, leg: LegId) -> Option<SocketAddr> {
        let pair = self.ports.open(clock::now().mono, Some(LOOPBACK));
        let pair = pair.inspect_err(|error| tracing::warn!(%error, "the demo has no media port")).ok()?;
        let local = pair.local;
        self.media(Message::Open { leg, pair });
        Some(local)
    }

    fn media(&self, message: Message) {
        if let Err(error) = self.media.send(MediaThreadId(0), message) {
            tracing::warn!(%error, "the demo's media thread did not take a message");
        }
    }

    async fn screens_changed(&mut self) {
        let Ok(changes) = self.live.since(self.seen, CHANGES_MAX) else {
            return self.screens();
        };
        for change in changes {
            self.seen = change.seq;
            if let Some(event) = self.noticed(&change) {
                self.event(event).await;
            }
        }
    }

    /// Looks at everything anew. What a screen says may come again; nothing is due from it at once.
    fn screens(&mut self) {
        let snapshot = self.live.snapshot(None);
        self.seen = snapshot.seq;
        for change in &snapshot.objects {
            if let Some(event @ Event::Screen { .. }) = self.noticed(change) {
                self.crowd.handle(clock::now(), event, &mut Vec::new());
            }
        }
    }

    /// What a change looks like to the people of the demo.
    fn noticed(&self, change: &Change) -> Option<Event> {
        match &change.object {
            Object::Agent(row) => {
                let at = self.desks.iter().position(|desk| desk.site == row.site && desk.name == row.name)?;
                let state = match row.state {
                    AgentState::Offline | AgentState::NotReady { .. } | AgentState::WrapUp => Screen::NotReady,
                    AgentState::Ready => Screen::Ready,
                    AgentState::Offered | AgentState::Talking => Screen::Busy,
                };
                Some(Event::Screen { agent: at, state })
            }
            Object::Call(call) if !change.gone && call.view.stage == Some(Stage::Talking) => {
                Some(Event::Human(call.view.caller.clone()))
            }
            Object::Call(_) | Object::Queue(_) => None,
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Once asked to leave, or when nobody is left who could ask, it is not heard again.
async fn asked(left: &mut Option<oneshot::Receiver<()>>) {
    match left {
        Some(receiver) => {
            let _ = receiver.await;
            *left = None;
        }
        None => std::future::pending().await,
    }
}

/// Where a listener of the node hears the loopback.
fn engine(node: &Node) -> Result<SocketAddr, StartError> {
    let hears = |listening: &&Listening| match listening.address.ip() {
        IpAddr::V4(at) => listening.transport == Transport::Udp && (at.is_unspecified() || at == LOOPBACK),
        IpAddr::V6(_) => false,
    };
    let listener = node.listening().iter().find(hears).ok_or(StartError::Listener)?;
    if node.config().sip().trunk_of(LOOPBACK).is_none() {
        return Err(StartError::Trunk);
    }
    Ok(SocketAddr::new(LOOPBACK, listener.address.port()))
}

/// The service numbers of the sites that have simulated agents, as a citizen dials them, with the sites' domains.
fn numbers(config: &Config) -> Result<Vec<Dialled>, StartError> {
    let numbers = config.calls().numbers;
    let staffed = numbers.iter().filter(|entry| entry.site.index() < AGENTS.len());
    let service = staffed.filter(|entry| match entry.number.kind() {
        NumberKind::Service => true,
        NumberKind::Emergency
        | NumberKind::Mobile
        | NumberKind::Fixed
        | NumberKind::International
        | NumberKind::Local => false,
    });
    let dialled = |entry: &Entry| Dialled {
        number: entry.number.national().into(),
        domain: config.sites[entry.site.index()].domain.clone(),
    };
    let dialled: Vec<_> = service.map(dialled).collect();
    if dialled.is_empty() { Err(StartError::Number) } else { Ok(dialled) }
}

/// Creates the simulated agents, 1101 … of the first site and 2101 … of the second, with passwords of this run.
async fn desks(config: &Config, store: &Store) -> Result<Vec<Desk>, StartError> {
    let mut desks = Vec::new();
    for ((id, site), count) in (0u16..).zip(&config.sites).zip(AGENTS) {
        for name in (1..=count).map(|place| ((id + 1) * 1_000 + 100 + place).to_string()) {
            let password = password()?;
            seat(store, site, &name, &password).await?;
            let credential = Credential::new(&name, &site.domain, &password);
            desks.push(Desk { site: SiteId(id), name: name.into(), credential });
        }
    }
    Ok(desks)
}

async fn seat(store: &Store, site: &Site, name: &str, password: &str) -> Result<(), StartError> {
    let people = store.site(&site.code);
    let known = people.agents().await?.into_iter().find(|agent| agent.name == name);
    match known {
        Some(agent) if !agent.display_name.starts_with(DISPLAY_NAME) => return Err(StartError::Taken(name.into())),
        Some(_) => people.set_password(name, password).await?,
        None => {
            let display_name = format!("{DISPLAY_NAME} {name}");
            let new = NewAgent { name, display_name: &display_name, domain: &site.domain, password };
            people.add_agent(&new).await?;
        }
    }
    let skills: Vec<Skill> = site.skills.iter().map(|skill| Skill::always(skill, 5)).collect();
    Ok(people.set_skills(name, &skills).await?)
}

fn password() -> Result<String, io::Error> {
    let word = || getrandom::u64().map_err(io::Error::other);
    Ok(format!("{:016x}{:016x}", word()?, word()?))
}
