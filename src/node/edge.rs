//! The shell of the edge: asks the gate and the door about every message before a shard gets it, and measures how far
//! behind the node is.
//!
//! Owns the locks around the two machines, the stamps by which lag is measured, and the sending of refusals. Decides
//! nothing.

use super::clock;
use super::limits;
use super::process;
use super::wires::{Packet, Wires, lock};
use crate::base::fact::{Blocked, Fact, Stamped};
use crate::base::{FactId, Mint, Mono, Now, ShardId};
use crate::config::{Config, Strangers};
use crate::edge::admission::{self, Admission, Decision, Limits, Load, Urgency};
use crate::edge::event::{Ban, Counts, Kind as Judged, Offence, Packet as Sent, Source, Verdict};
use crate::edge::gate::{Gate, Settings};
use crate::sip::busy;
use crate::sip::event::{Bindings, Flow, Suspect, Suspicion};
use crate::sip::route::{Glance, Kind, Route, is_emergency};
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
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
    /// By listener: whether strangers are answered.
    welcome: Vec<bool>,
    /// Trunks all of whose calls are emergencies.
    emergency_trunks: BTreeSet<Box<str>>,
    /// By listener.
    sockets: Vec<Arc<UdpSocket>>,
    gate: Mutex<Gate>,
    door: Mutex<Admission>,
    /// By shard.
    waits: Vec<Waits>,
    /// By listener: since when its socket has never been empty; 0 when it was at the last look.
    full_since: Vec<AtomicU64>,
}

/// Waits in one shard's mailboxes.
#[derive(Default)]
struct Waits {
    packets: Wait,
    calls: Wait,
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
    pub(super) fn new(config: &Config, seed: [u64; 2], sockets: Vec<Arc<UdpSocket>>) -> Edge {
        let limits = Limits {
            lag_max: config.overload.lag_max,
            memory_max: config.overload.memory_max.unwrap_or_else(limits::memory_max),
            calls_max: config.node.calls_max,
        };
        Edge {
            seed,
            welcome: config.listeners.iter().map(|listener| listener.strangers == Strangers::Answer).collect(),
            emergency_trunks: config.overload.emergency_trunks.clone(),
            full_since: sockets.iter().map(|_| AtomicU64::new(0)).collect(),
            sockets,
            gate: Mutex::new(Gate::new(seed, Settings::default())),
            door: Mutex::new(Admission::new(seed, limits)),
            waits: (0..config.node.shards).map(|_| Waits::default()).collect(),
        }
    }

    /// A phone registered or went.
    pub(super) fn learn(&self, bindings: &Bindings) {
        lock(&self.gate).learn(bindings);
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

    /// A shard takes a packet in hand.
    pub(super) fn waited(&self, shard: ShardId, packet: &Packet, now: Mono) {
        let waits = &self.waits[shard.index()];
        let wait = if packet.call { &waits.calls } else { &waits.packets };
        wait.note(now.0.saturating_sub(packet.at.0));
    }

    /// A listener has read a batch; `empty` when nothing was left.
    pub(super) fn emptied(&self, listener: u16, empty: bool) {
        let since = &self.full_since[usize::from(listener)];
        if empty {
            since.store(0, Ordering::Relaxed);
        } else if since.load(Ordering::Relaxed) == 0 {
            since.store(clock::now().mono.0, Ordering::Relaxed);
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let door = lock(&self.door);
        Figures {
            gate: lock(&self.gate).counts(clock::now().mono),
            admission: door.counts(),
            blocked: door.blocked_by_trunk().clone(),
        }
    }

    /// The longest of the shortest waits since the last look; a socket that was never empty is as late as that has lasted.
    fn lag(&self, wires: &Wires, now: Mono) -> Duration {
        let mut longest = 0;
        for (waits, to) in self.waits.iter().zip(&wires.shards) {
            let packets = waits.packets.look(now, to.packets.capacity() < to.packets.max_capacity());
            let calls = waits.calls.look(now, to.calls.capacity() < to.calls.max_capacity());
            longest = longest.max(packets).max(calls);
        }
        for since in &self.full_since {
            let since = since.load(Ordering::Relaxed);
            longest = longest.max(if since == 0 { 0 } else { now.0.saturating_sub(since) });
        }
        Duration::from_nanos(longest)
    }

    /// Sends a refusal; one that is lost is asked for again.
    fn send(&self, wires: &Wires, flow: Flow, bytes: &[u8]) {
        let sent = self.sockets.get(usize::from(flow.listener)).map(|socket| socket.try_send_to(bytes, flow.peer));
        if !matches!(sent, Some(Ok(_))) {
            wires.faults.sends_failed.raise(clock::now().mono, 1, |count| {
                tracing::warn!(count, "a refusal cannot be sent");
            });
        }
    }
}

/// Takes a message from a listener: drops it, refuses it or gives it to its shard.
pub(super) fn take(wires: &Wires, flow: Flow, bytes: Bytes) {
    let edge = &wires.edge;
    let Glance { route, kind } = Glance::of(&bytes, edge.seed);
    if route == Route::KeepAlive {
        return;
    }
    let (setup, now) = (wires.setup.load(), clock::now());
    let trunk = setup.sip.trunk_of(flow.peer.ip());
    let judged = match (&kind, route) {
        (Kind::Register { host }, Route::Hashed(user)) if setup.sip.domain_of(host).is_some() => {
            Judged::Register { user }
        }
        (_, Route::Marked { .. }) => Judged::Marked,
        _ => Judged::Other,
    };
    let welcome = edge.welcome.get(usize::from(flow.listener)).copied().unwrap_or(false);
    let sent = Sent { peer: flow.peer, trunk: trunk.is_some(), welcome, kind: judged };
    // Trunks need no judge, and so no lock.
    let verdict = if sent.trunk { Verdict::Serve } else { lock(&edge.gate).judge(now, &sent) };
    let stranger = match verdict {
        Verdict::Serve => false,
        Verdict::Prove => true,
        Verdict::Drop(_) => return,
    };
    let call = matches!(kind, Kind::Call | Kind::AboutCall);
    if call && !stranger {
        let name = trunk.map_or("", |trunk| &*trunk.name);
        if !is_admitted(wires, now.mono, (&kind, route), (name, flow), &bytes) {
            return;
        }
    }
    give(wires, route, Packet { flow, bytes, stranger, call, at: now.mono });
}

fn give(wires: &Wires, route: Route, packet: Packet) {
    let shards = wires.shards.len();
    let shard = match route {
        Route::Marked { shard, .. } if shard.index() < shards => shard.index(),
        Route::Hashed(hash) => (hash % shards as u64) as usize,
        Route::Marked { .. } | Route::Anywhere | Route::KeepAlive => 0,
    };
    let to = &wires.shards[shard];
    let mailbox = if packet.call { &to.calls } else { &to.packets };
    if mailbox.try_send(packet).is_err() {
        wires.faults.packets_dropped.raise(clock::now().mono, 1, |count| {
            tracing::error!(shard, count, "a shard is behind: datagrams are dropped");
        });
    }
}

/// Whether a new call, or what is about one, goes to a shard; one that does not has had its answer.
fn is_admitted(
    wires: &Wires,
    now: Mono,
    (kind, route): (&Kind<'_>, Route),
    (trunk, flow): (&str, Flow),
    bytes: &Bytes,
) -> bool {
    let (edge, Route::Hashed(call)) = (&wires.edge, route) else { return true };
    if *kind != Kind::Call {
        // The ACK of a refusal; its CANCEL would come too late.
        return !lock(&edge.door).refused(call);
    }
    let urgency = || {
        let urgent = edge.emergency_trunks.contains(trunk) || (!trunk.is_empty() && is_emergency(bytes));
        if urgent { Urgency::Emergency } else { Urgency::Usual }
    };
    let decision = lock(&edge.door).ask(now, call, urgency);
    if decision == Decision::Pass {
        return true;
    }
    let Some(refused) = busy::refuse(flow, bytes.clone(), edge.seed) else { return true };
    if decision == Decision::Refuse {
        let site = wires.setup.load().calls.numbers.lookup(&refused.dialled).map(|entry| entry.site);
        lock(&edge.door).block((site, trunk.into()));
    }
    edge.send(wires, refused.flow, &refused.bytes);
    false
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
