//! The shell of the edge: asks the gate and the door about every message before a shard gets it, and measures how far
//! behind the node is.
//!
//! Owns the locks around the two machines, the stamps by which lag is measured, and the sending of refusals. Decides
//! nothing.

use super::clock;
use super::limits;
use super::process;
use super::setup::Setup;
use super::wires::{Wires, lock};
use crate::base::fact::{Blocked, Direction, Fact, Stage, Stamped};
use crate::base::map::keyed_hash;
use crate::base::{FactId, Mint, Mono, Now, ShardId};
use crate::call::event::CallView;
use crate::config::Config;
use crate::edge::admission::{self, Admission, Decision, Limits, Load, Urgency};
use crate::edge::event::{Ban, Counts, Kind as Judged, Knock, Offence, Packet as Sent, Source, Verdict};
use crate::edge::gate::{Gate, Settings};
use crate::edge::talks::Talks;
use crate::net::packet::{Class, Fate, Packet};
use crate::sip::busy;
use crate::sip::event::{Bindings, Flow, Suspect, Suspicion};
use crate::sip::route::{self, Glance, Kind, Route, is_emergency};
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use utoipa::ToSchema;

/// How often lag is measured.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two looks at the memory of the process.
const MEMORY_TICKS: u32 = 10;
/// Ticks between two tellings of refused calls: a minute.
const BLOCKED_TICKS: u32 = 600;
/// Nothing was handled since the last tick.
const NOTHING: u64 = u64::MAX;

/// The edge of a node.
pub(super) struct Edge {
    seed: [u64; 2],
    setup: Arc<ArcSwap<Setup>>,
    /// Trunks all of whose calls are emergencies.
    emergency_trunks: BTreeSet<Box<str>>,
    gate: Mutex<Gate>,
    door: Mutex<Admission>,
    talks: Mutex<Talks>,
    /// By shard.
    waits: Vec<Waits>,
}

/// A mailbox of a shard in which messages wait.
#[derive(Clone, Copy)]
pub(super) enum Mailbox {
    /// Datagrams of running calls.
    Packets,
    /// New calls.
    Calls,
    /// Registrations.
    Registers,
    /// What connections bring.
    News,
}

/// Waits in one shard's mailboxes.
#[derive(Default)]
struct Waits {
    packets: Wait,
    calls: Wait,
    news: Wait,
}

/// Waits in one mailbox.
struct Wait {
    /// The shortest since the last tick, in nanoseconds.
    shortest: AtomicU64,
    /// The tick since which something waited and nothing was taken; 0 when it was.
    stuck_since: AtomicU64,
}

impl Default for Wait {
    fn default() -> Wait {
        Wait { shortest: AtomicU64::new(NOTHING), stuck_since: AtomicU64::new(0) }
    }
}

impl Wait {
    /// Something was taken that had waited so long.
    fn note(&self, nanos: u64) {
        self.shortest.fetch_min(nanos, Ordering::Relaxed);
    }

    /// The shortest wait since the last look. Where something waits and nothing was taken, the time since that was seen
    /// first: a look that comes late says nothing of how long.
    fn look(&self, now: Mono, waiting: bool) -> u64 {
        let shortest = self.shortest.swap(NOTHING, Ordering::Relaxed);
        if shortest != NOTHING || !waiting {
            self.stuck_since.store(0, Ordering::Relaxed);
            return if shortest == NOTHING { 0 } else { shortest };
        }
        match self.stuck_since.load(Ordering::Relaxed) {
            0 => {
                self.stuck_since.store(now.0, Ordering::Relaxed);
                0
            }
            since => now.0.saturating_sub(since),
        }
    }
}

/// Figures of the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figures {
    /// Who was heard.
    pub gate: Counts,
    /// Which new calls were taken.
    pub admission: admission::Counts,
    /// Calls refused for want of room since the start, by trunk; those of phones under the empty name.
    pub blocked: BTreeMap<Box<str>, u64>,
}

/// The sources that are banned.
#[derive(Clone)]
pub struct Bans(Arc<Wires>);

impl Bans {
    pub(super) fn new(wires: Arc<Wires>) -> Bans {
        Bans(wires)
    }

    /// All bans that hold, in order of their sources.
    pub fn list(&self) -> Vec<Ban> {
        lock(&self.0.edge.gate).bans(clock::now().mono)
    }

    /// Lifts a ban; false when the source is not banned.
    pub fn lift(&self, source: Source) -> bool {
        lock(&self.0.edge.gate).pardon(clock::now().mono, source)
    }
}

impl Edge {
    pub(super) fn new(config: &Config, seed: [u64; 2], setup: Arc<ArcSwap<Setup>>) -> Edge {
        let limits = Limits {
            lag_max: config.overload.lag_max,
            memory_max: config.overload.memory_max.unwrap_or_else(limits::memory_max),
            calls_max: config.node.calls_max,
        };
        Edge {
            seed,
            setup,
            emergency_trunks: config.overload.emergency_trunks.clone(),
            gate: Mutex::new(Gate::new(seed, Settings::default())),
            door: Mutex::new(Admission::new(seed, limits)),
            talks: Mutex::new(Talks::new(seed)),
            waits: (0..config.node.shards).map(|_| Waits::default()).collect(),
        }
    }

    /// A phone registered or went.
    pub(super) fn learn(&self, now: Mono, bindings: &Bindings) {
        lock(&self.gate).learn(now, bindings);
    }

    /// Phones were registered from there before a restart: they will come back.
    pub(super) fn expect(&self, now: Mono, ip: IpAddr) {
        lock(&self.gate).expect(now, ip);
    }

    /// What becomes of a connection from an address.
    pub(super) fn knock(&self, ip: IpAddr) -> Knock {
        match self.is_trunk(ip) {
            true => Knock::Known,
            false => lock(&self.gate).knock(clock::now(), ip),
        }
    }

    /// Whether an address is not heard any more.
    pub(super) fn is_banned(&self, ip: IpAddr) -> bool {
        lock(&self.gate).is_banned(clock::now().mono, ip)
    }

    /// Whether an address is a trunk's.
    pub(super) fn is_trunk(&self, ip: IpAddr) -> bool {
        self.setup.load().sip.trunk_of(ip).is_some()
    }

    /// A shard found something wrong.
    pub(super) fn suspect(&self, now: Now, suspicion: &Suspicion) {
        let offence = match &suspicion.what {
            Suspect::WrongPassword(user) => Offence::WrongPassword { user: Gate::user(self.seed, user) },
            Suspect::Malformed => Offence::Malformed,
            Suspect::Forged => Offence::Forged,
        };
        lock(&self.gate).offend(now, suspicion.flow.peer, offence);
    }

    /// A shard takes a message in hand that was received at `at`.
    pub(super) fn waited(&self, shard: ShardId, mailbox: Mailbox, at: Mono, now: Mono) {
        let waits = &self.waits[shard.index()];
        let wait = match mailbox {
            Mailbox::Packets => &waits.packets,
            Mailbox::Calls => &waits.calls,
            Mailbox::News => &waits.news,
            Mailbox::Registers => return,
        };
        wait.note(now.0.saturating_sub(at.0));
    }

    pub(super) fn figures(&self) -> Figures {
        let door = lock(&self.door);
        Figures {
            gate: lock(&self.gate).counts(clock::now().mono),
            admission: door.counts(),
            blocked: door.blocked_by_trunk().clone(),
        }
    }

    /// The longest of the shortest waits since the last look. That registrations wait delays no call.
    fn lag(&self, wires: &Wires, now: Mono) -> Duration {
        let mut longest = 0;
        for (waits, to) in self.waits.iter().zip(&wires.shards) {
            let packets = waits.packets.look(now, to.packets.capacity() < to.packets.max_capacity());
            let calls = waits.calls.look(now, to.calls.capacity() < to.calls.max_capacity());
            let news = waits.news.look(now, to.news.capacity() < to.news.max_capacity());
            longest = longest.max(packets).max(calls).max(news);
        }
        Duration::from_nanos(longest)
    }

    /// What becomes of a message that a listener or a connection received.
    pub(super) fn judge(&self, flow: Flow, bytes: Bytes) -> Fate {
        let Glance { route, kind } = Glance::of(&bytes, self.seed);
        if route == Route::KeepAlive {
            return Fate::Dropped;
        }
        let (setup, now) = (self.setup.load(), clock::now());
        let trunk = setup.sip.trunk_of(flow.peer.ip());
        let judged = match (&kind, route) {
            (Kind::Register { host }, Route::Hashed(user)) if setup.sip.domain_of(host).is_some() => {
                Judged::Register { user }
            }
            (_, Route::Marked { .. }) => Judged::Marked,
            _ => Judged::Other,
        };
        let listener = setup.sip.listeners.get(usize::from(flow.listener));
        let welcome = listener.is_some_and(|listener| listener.answers_strangers);
        let sent = Sent { flow, trunk: trunk.is_some(), welcome, kind: judged };
        // Trunks need no judge, and so no lock.
        let verdict = if sent.trunk { Verdict::Serve } else { lock(&self.gate).judge(now, &sent) };
        let stranger = match verdict {
            Verdict::Serve => false,
            Verdict::Prove => true,
            Verdict::Drop(_) => return Fate::Dropped,
        };
        let class = match kind {
            Kind::Call | Kind::AboutCall => Class::Call,
            Kind::Register { .. } => Class::Register,
            Kind::Other => Class::Running,
        };
        if class == Class::Call && !stranger {
            let name = trunk.map_or("", |trunk| &*trunk.name);
            if let Some(fate) = self.not_admitted(now.mono, (&kind, route), (name, flow), &bytes) {
                return fate;
            }
        }
        let of_phone = class == Class::Call && trunk.is_none() && !stranger;
        let talk = if of_phone { self.with_talk(now.mono, route, &bytes) } else { None };
        let shard = talk.unwrap_or_else(|| self.shard(route));
        Fate::To(shard, Packet { flow, bytes, stranger, class, at: now.mono })
    }

    /// A call stands so now.
    pub(super) fn stands(&self, setup: &Setup, view: &CallView) {
        let talks = view.stage == Some(Stage::Talking) && view.direction == Direction::Inbound;
        let user = view.agents.first().filter(|_| talks).map(|agent| {
            let domain = &setup.calls.sites[view.site.index()].domain;
            self.user(&setup.agent_phone(*agent), domain)
        });
        lock(&self.talks).stands(view.call, user);
    }

    fn user(&self, name: &str, domain: &str) -> u64 {
        keyed_hash(self.seed, format!("{name}@{domain}").as_bytes())
    }

    /// The shard of the talk that the user has whose phone sends a new call, or something about one.
    fn with_talk(&self, now: Mono, route: Route, bytes: &Bytes) -> Option<usize> {
        let Route::Hashed(call) = route else { return None };
        let caller = || {
            let (user, host) = route::caller(bytes)?;
            let setup = self.setup.load();
            Some(self.user(&user, setup.sip.domain_of(&host)?))
        };
        lock(&self.talks).shard(now, call, caller).map(ShardId::index).filter(|shard| *shard < self.waits.len())
    }

    fn shard(&self, route: Route) -> usize {
        let shards = self.waits.len();
        match route {
            Route::Marked { shard, .. } if shard.index() < shards => shard.index(),
            Route::Hashed(hash) => (hash % shards as u64) as usize,
            Route::Marked { .. } | Route::Anywhere | Route::KeepAlive => 0,
        }
    }

    /// What becomes of a new call, or of what is about one, that is not for its shard.
    fn not_admitted(
        &self,
        now: Mono,
        (kind, route): (&Kind<'_>, Route),
        (trunk, flow): (&str, Flow),
        bytes: &Bytes,
    ) -> Option<Fate> {
        let Route::Hashed(call) = route else { return None };
        if *kind != Kind::Call {
            // The ACK of a refusal; its CANCEL would come too late.
            return lock(&self.door).refused(call).then_some(Fate::Dropped);
        }
        let urgency = || {
            let urgent = self.emergency_trunks.contains(trunk) || (!trunk.is_empty() && is_emergency(bytes));
            if urgent { Urgency::Emergency } else { Urgency::Usual }
        };
        let decision = lock(&self.door).ask(now, call, urgency);
        if decision == Decision::Pass {
            return None;
        }
        let refused = busy::refuse(flow, bytes.clone(), self.seed)?;
        if decision == Decision::Refuse {
            let site = self.setup.load().calls.numbers.lookup(&refused.dialled).map(|entry| entry.site);
            lock(&self.door).block((site, trunk.into()));
        }
        Some(Fate::Refused(refused.flow, refused.bytes))
    }
}

/// Takes a datagram: drops it, refuses it or gives it to its shard.
pub(super) fn take(wires: &Wires, flow: Flow, bytes: Bytes) {
    match wires.edge.judge(flow, bytes) {
        Fate::Dropped => {}
        Fate::Refused(flow, bytes) => refuse(wires, flow, &bytes),
        Fate::To(shard, packet) => {
            let to = &wires.shards[shard];
            let mailbox = match packet.class {
                Class::Running => &to.packets,
                Class::Call => &to.calls,
                Class::Register => &to.registers,
            };
            if mailbox.try_send(packet).is_err() {
                wires.faults.packets_dropped.raise(clock::now().mono, 1, |count| {
                    tracing::error!(shard, count, "a shard is behind: datagrams are dropped");
                });
            }
        }
    }
}

/// Sends a refusal; one that is lost is asked for again.
fn refuse(wires: &Wires, flow: Flow, bytes: &[u8]) {
    let sockets = wires.sockets.load();
    let socket = sockets.get(usize::from(flow.listener)).and_then(Option::as_ref);
    if !matches!(socket.map(|socket| socket.try_send_to(bytes, flow.peer)), Some(Ok(_))) {
        wires.faults.sends_failed.raise(clock::now().mono, 1, |count| {
            tracing::warn!(count, "a refusal cannot be sent");
        });
    }
}

/// Measures, for ever. `strain` counts what the recorder and the journal could not take.
pub(super) async fn watch(wires: Arc<Wires>, strain: impl Fn() -> u64, mut mint: Mint) {
    let (mut ticks, mut resident, mut strained) = (0u32, process::resident_bytes(), strain());
    loop {
        tokio::time::sleep(TICK).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(MEMORY_TICKS) {
            resident = process::resident_bytes();
        }
        let (before, now) = (std::mem::replace(&mut strained, strain()), clock::now());
        let load = Load {
            lag: wires.edge.lag(&wires, now.mono),
            strained: strained > before,
            resident,
            calls: wires.calls_live(),
        };
        lock(&wires.edge.door).measure(now.mono, &load);
        if ticks.is_multiple_of(BLOCKED_TICKS) {
            tell_blocked(&wires, now, &mut mint);
        }
    }
}

/// Refused calls of the last minute, by site and trunk. Calls to numbers that are nobody's belong to no site's figures.
fn tell_blocked(wires: &Wires, now: Now, mint: &mut Mint) {
    let blocked = lock(&wires.edge.door).take_blocked();
    for ((site, trunk), calls) in blocked {
        let Some(site) = site else { continue };
        let site = wires.setup.load().code(site);
        let fact = Fact::Blocked(Blocked { trunk, calls });
        (wires.facts)(Stamped { id: FactId(mint.mint(now.wall)), at: now.wall, site, fact });
    }
}
