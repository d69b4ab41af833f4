//! Through what the parts of a node reach each other: bounded mailboxes, and the few tables that all read.
//!
//! Nothing here waits. Datagrams are dropped when a shard's mailbox is full (their senders repeat them); for everything
//! else admission has kept a place free, so that a full mailbox is a fault of ours: counted and logged.

use super::alarm::Alarm;
use super::clock;
use super::edge::Edge;
use super::internals::{self, ShardFigures};
use super::setup::Setup;
use super::trunks::TrunkTable;
use crate::acd;
use crate::base::fact::Stamped;
use crate::base::{AgentId, CallId, ShardId, SiteId};
use crate::call::event::Event as ToCalls;
use crate::net::connections::{Connections, News, World};
use crate::net::packet::Packet;
use crate::shard;
use crate::sip::event::Bindings;
use arc_swap::ArcSwap;
use dashmap::DashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Datagrams that may wait for one shard.
pub(super) const PACKETS_MAX: usize = 4_096;
/// New calls that may wait for one shard, with what is about them.
pub(super) const NEW_CALLS_MAX: usize = 1_024;
/// Registrations that may wait for one shard.
pub(super) const REGISTERS_MAX: usize = 4_096;
/// Messages and ends of connections that may wait for one shard; then connections wait.
pub(super) const NEWS_MAX: usize = 1_024;
/// Messages of our own that may wait for one shard, for each call that it may have: media notices and ACD commands.
pub(super) const EVENTS_PER_CALL: usize = 8;
/// Messages that may wait for one ACD owner, for each call that the node may have.
pub(super) const ACD_EVENTS_PER_CALL: usize = 4;

/// The way into one shard.
#[derive(Debug, Clone)]
pub(super) struct ToShard {
    pub(super) packets: mpsc::Sender<Packet>,
    pub(super) calls: mpsc::Sender<Packet>,
    pub(super) registers: mpsc::Sender<Packet>,
    pub(super) news: mpsc::Sender<News>,
    pub(super) events: mpsc::Sender<shard::Event>,
}

/// Counts what goes wrong between parts of this node.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Datagrams dropped because their shard was behind.
    pub(super) packets_dropped: Alarm,
    /// Messages of our own that found no room.
    pub(super) messages_lost: AtomicU64,
    /// Datagrams that the system did not take.
    pub(super) sends_failed: Alarm,
    /// Reads of a listener that failed.
    pub(super) receives_failed: Alarm,
    /// Media ports that could not be opened.
    pub(super) ports_refused: AtomicU64,
    /// Failed writes of the registrations' file.
    pub(super) registrations_unsaved: Alarm,
    /// What is missing of what queues were told.
    pub(super) routing: Arc<super::routing::Losses>,
}

impl Faults {
    pub(super) fn read(&self) -> internals::Faults {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        internals::Faults {
            packets_dropped: self.packets_dropped.count(),
            messages_lost: read(&self.messages_lost),
            sends_failed: self.sends_failed.count(),
            receives_failed: self.receives_failed.count(),
            ports_refused: read(&self.ports_refused),
            registrations_unsaved: self.registrations_unsaved.count(),
            routing_lost: read(&self.routing.inputs),
            routing_unwritten: self.routing.writes.count(),
            panics: super::guard::caught(),
        }
    }
}

/// All ways and common tables.
pub(super) struct Wires {
    pub(super) shards: Vec<ToShard>,
    /// By site.
    pub(super) acds: Vec<mpsc::Sender<acd::event::Event>>,
    pub(super) setup: Arc<ArcSwap<Setup>>,
    /// By listener; those of connections have none.
    pub(super) sockets: ArcSwap<Vec<Option<Arc<UdpSocket>>>>,
    pub(super) connections: Connections,
    /// From where each agent's phone registered, for the choice of a media address.
    pub(super) phones: DashMap<AgentId, IpAddr>,
    pub(super) registrations: super::registrations::Registrations,
    pub(super) seats: super::seats::Seats,
    pub(super) live: Arc<super::live::Live>,
    pub(super) trunks: Arc<super::trunks::TrunkTable>,
    /// Who waits for the answer to a wish about a transfer.
    pub(super) asked: super::transfers::Asked,
    pub(super) facts: Box<dyn Fn(Stamped) + Send + Sync>,
    pub(super) memory: super::recall::Memory,
    pub(super) callbacks: super::callbacks::ToCallbacks,
    pub(super) ahead: super::ahead::ToAhead,
    pub(super) modes: super::modes::ModeBook,
    pub(super) faults: Faults,
    pub(super) edge: Arc<super::edge::Edge>,
    /// By shard: what stands there, as of its last message.
    pub(super) counts: Vec<Mutex<ShardFigures>>,
}

impl Wires {
    /// To a call of any shard.
    pub(super) fn to_call(&self, shard: ShardId, event: ToCalls) {
        self.to_shard(shard, shard::Event::Call(event));
    }

    pub(super) fn to_shard(&self, shard: ShardId, event: shard::Event) {
        let sent = self.shards.get(shard.index()).is_some_and(|to| to.events.try_send(event).is_ok());
        if !sent {
            self.lost("shard");
        }
    }

    pub(super) fn to_acd(&self, site: SiteId, event: acd::event::Event) {
        let sent = self.acds.get(site.index()).map(|to| to.try_send(event));
        if !matches!(sent, Some(Ok(()))) {
            self.lost("acd");
        }
    }

    pub(super) fn hang_up(&self, call: CallId) -> bool {
        let event = shard::Event::Call(ToCalls::HangUp { call });
        self.shards.get(call.shard.index()).is_some_and(|to| to.events.try_send(event).is_ok())
    }

    /// Bindings that changed at shard `at`: the other shards copy them, the ACD learns whether the phone is up.
    pub(super) fn bindings(&self, at: ShardId, bindings: &Bindings) {
        for index in (0..self.shards.len()).filter(|index| *index != at.index()) {
            self.to_shard(ShardId(index as u8), shard::Event::Bindings(bindings.clone()));
        }
        // What is said of phones is said in the order in which they and their agents changed.
        let _order = lock(&self.seats.order);
        self.registrations.note(bindings);
        self.edge.learn(super::clock::now().mono, bindings);
        let now = super::clock::now().wall;
        for contact in &bindings.contacts {
            let left_ms = u64::try_from(contact.expires.0.saturating_sub(now.0)).unwrap_or_default();
            self.connections.vouch(contact.flow.connection, Duration::from_millis(left_ms));
        }
        let Some((site, agent)) = self.setup.load().agent_of(&bindings.user, &bindings.domain) else { return };
        self.phone((site, agent), bindings.contacts.first().map(|contact| contact.flow.peer.ip()));
    }

    /// An agent's phone is registered from there, or not at all.
    pub(super) fn phone(&self, (site, agent): (SiteId, AgentId), from: Option<IpAddr>) {
        let (up, now) = (from.is_some(), super::clock::now().wall);
        match from {
            Some(address) => self.phones.insert(agent, address),
            None => self.phones.remove(&agent).map(|(_, address)| address),
        };
        self.to_acd(site, acd::event::Event::Phone { agent, up });
        self.live.apply(now, [super::live::Delta::Phone { agent, up }]);
    }

    fn lost(&self, to: &'static str) {
        self.faults.messages_lost.fetch_add(1, Ordering::Relaxed);
        tracing::error!(to, "a mailbox is full: a message of ours is lost");
    }

    pub(super) fn calls_live(&self) -> usize {
        self.counts.iter().map(|counts| lock(counts).calls.live).sum()
    }
}

/// The table of connections: their messages go to shards as datagrams do.
pub(super) fn connections(shards: &[ToShard], edge: &Arc<Edge>, trunks: &Arc<TrunkTable>) -> Connections {
    let trunks = trunks.clone();
    let [judge, trusts, knock, is_banned] = std::array::from_fn(|_| edge.clone());
    let world = World {
        judge: Box::new(move |flow, bytes| judge.judge(flow, bytes)),
        shards: shards.iter().map(|shard| shard.news.clone()).collect(),
        trusts: Box::new(move |address| trusts.is_trunk(address)),
        knock: Box::new(move |address| knock.knock(address)),
        is_banned: Box::new(move |address| is_banned.is_banned(address)),
        domain_at: Box::new(move |address| trunks.host_at(address)),
    };
    // Numbers of this life are above those of earlier ones, with room for a million new connections each millisecond.
    let first = u64::try_from(clock::now().wall.0).unwrap_or_default() << 20;
    Connections::new(world, first.max(1))
}

/// A lock whose holder panicked still holds plain numbers.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
