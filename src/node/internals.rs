//! The figures of the node's inside: what stands, what went through, what went wrong.
//!
//! Owns their types and the reading of them; counts nothing itself. [`Standing`] is what must come back to its base line
//! when nobody calls: whoever tests for leaks compares two of them.

use super::facts::FactWriter;
use super::live::Live;
use super::recorder::Gauge;
use super::sound::Histogram;
use super::wires::{Wires, lock};
use super::{ahead, archive, edge, facts, media, process, recorder};
use crate::base::{Mono, Now};
use crate::net::{connections, ports};
use crate::trunk::event::{Usage, View};
use crate::{acd, call, sip};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Handle;
use utoipa::ToSchema;

/// Everything at one moment. Names and meanings may change with every version.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Internals {
    /// Since the start.
    pub uptime_s: u64,
    /// What must come back to its base line.
    pub standing: Standing,
    /// By signal shard.
    pub shards: Vec<ShardFigures>,
    /// By site.
    pub acds: Vec<acd::Counts>,
    /// Call-backs of all sites.
    pub callbacks: crate::callback::Counts,
    /// All queues of all sites.
    pub queues: Vec<QueueFigures>,
    /// The trunks, in order of their files' names.
    pub trunks: Vec<TrunkFigures>,
    /// By media thread.
    pub media: Vec<media::Figures>,
    /// SIP connections.
    pub connections: connections::Counts,
    /// Facts on their way to SQL.
    pub facts: FactFigures,
    /// The recorder.
    pub recorder: recorder::Counts,
    /// The archive of recordings; `null` when there is none.
    pub archive: Option<archive::Figures>,
    /// What targets' own systems were told ahead of the voice.
    pub ahead: ahead::Figures,
    /// Who is heard and which new calls are taken.
    pub edge: edge::Figures,
    /// What went wrong between the parts.
    pub faults: Faults,
    /// The operating system's view.
    pub process: process::Figures,
}

/// How many of everything that is made for a call, a request or a connection, and must go with it. Zero on an idle node,
/// but for registrations' timers, and for tasks and files that live as long as the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Standing {
    /// Calls, those included that only run out.
    pub calls: u64,
    /// Legs known to calls.
    pub legs: u64,
    /// Timers of calls.
    pub call_timers: u64,
    /// SIP transactions, client and server.
    pub transactions: u64,
    /// SIP dialogs.
    pub dialogs: u64,
    /// Timers of user agents; one for each registered address.
    pub sip_timers: u64,
    /// Callers in a line.
    pub callers: u64,
    /// Leases that book an agent.
    pub leases: u64,
    /// Timers of queues.
    pub queue_timers: u64,
    /// Channels of trunks in use.
    pub channels: u64,
    /// Media port pairs lent out.
    pub ports: u64,
    /// Legs for which a shard remembers the media thread.
    pub routed_legs: u64,
    /// Legs of media threads.
    pub media_legs: u64,
    /// Bridges of media threads.
    pub bridges: u64,
    /// Sockets watched by media threads.
    pub sockets: u64,
    /// Recordings begun and not yet sealed.
    pub recordings: u64,
    /// Tasks of the async runtime.
    pub tasks: u64,
    /// Threads of the process.
    pub threads: u64,
    /// Open files and sockets of the process.
    pub files: u64,
    /// HTTP connections.
    pub connections: u64,
    /// Event streams.
    pub streams: u64,
    /// SIP connections; phones that are registered by one keep it.
    pub sip_connections: u64,
    /// Messages that wait to be written to SIP connections.
    pub sip_waiting: u64,
}

/// One signal shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShardFigures {
    /// Its user agent.
    pub sip: sip::ua::Counts,
    /// Its calls.
    pub calls: call::Counts,
    /// Its media ports.
    pub ports: ports::Counts,
    /// Legs whose media thread it knows.
    pub routed_legs: usize,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct QueueFigures {
    /// Code of its site.
    pub site: String,
    /// Its name.
    pub queue: String,
    /// Callers who wait or whose agent is being rung.
    pub waiting: usize,
    /// Callers who talk to an agent.
    pub talking: usize,
    /// Ready agents with its skills.
    pub ready: usize,
    /// Callers answered since the start.
    pub answered: u64,
    /// Callers who left it unanswered since the start, by whosever will.
    pub abandoned: u64,
    /// How long the former had waited.
    pub answered_after: Histogram,
    /// And the latter.
    pub abandoned_after: Histogram,
    /// How long who has waited longest is waiting, in milliseconds; 0 when nobody waits.
    pub longest_wait_ms: u64,
}

/// One trunk.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TrunkFigures {
    /// Name of its file.
    pub name: String,
    /// Whether calls may go out by it now.
    pub fit: bool,
    /// Whether it answers OPTIONS; `null` when it is not asked.
    pub up: Option<bool>,
    /// Since when it does or does not, in milliseconds since 1970; `null` before the first change.
    pub since: Option<i64>,
    /// Whether we register there.
    pub registers: bool,
    /// Seconds for which we are still registered; `null` when we are not.
    pub registered_s: Option<u64>,
    /// Where requests go now.
    pub target: Option<String>,
    /// Calls that come in.
    pub inbound: ChannelFigures,
    /// Calls that go out.
    pub outbound: ChannelFigures,
}

/// One direction of a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelFigures {
    /// Calls at once, as agreed.
    pub channels: u32,
    /// In use.
    pub used: u32,
    /// Calls since the start.
    pub taken: u64,
    /// Refused since the start: no channel was free.
    pub full: u64,
    /// Refused since the start: more calls in a second than agreed.
    pub too_fast: u64,
}

impl TrunkFigures {
    fn of(view: &View, now: Now) -> TrunkFigures {
        let side = |usage: &Usage| {
            let Usage { channels, used, taken, full, too_fast } = *usage;
            ChannelFigures { channels, used, taken, full, too_fast }
        };
        let ago = |since: Mono| i64::try_from(now.mono.since(since).as_millis()).unwrap_or(i64::MAX);
        TrunkFigures {
            name: view.name.to_string(),
            fit: view.fit,
            up: view.up,
            since: (view.since != Mono(0)).then(|| now.wall.0.saturating_sub(ago(view.since))),
            registers: view.registers,
            registered_s: view.registered_until.map(|until| until.since(now.mono).as_secs()),
            target: view.target.map(|target| target.to_string()),
            inbound: side(&view.inbound),
            outbound: side(&view.outbound),
        }
    }
}

/// Facts on their way to SQL, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct FactFigures {
    /// Told to the journal.
    pub told: u64,
    /// Not taken by it: lost.
    pub refused: u64,
    /// Durable.
    pub journalled: u64,
    /// In SQL, those left from before the start included.
    pub applied: u64,
    /// Never to be taken by SQL; they stay in the journal.
    pub set_aside: u64,
    /// Failed writes of the journal: commits, tried again, and positions of what SQL has, written later.
    pub journal_errors: u64,
    /// Failed transactions, tried again.
    pub sql_errors: u64,
    /// Damaged records of the journal that were stepped over.
    pub damaged: u64,
    /// Whether SQL stands behind the journal.
    pub behind: bool,
    /// Age of the oldest fact that SQL is being given.
    pub lag_ms: u64,
}

/// What went wrong between the parts, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Faults {
    /// Datagrams dropped because their shard was behind.
    pub packets_dropped: u64,
    /// Messages between parts that found no room.
    pub messages_lost: u64,
    /// SIP datagrams that the system did not take.
    pub sends_failed: u64,
    /// Reads of a SIP socket that failed.
    pub receives_failed: u64,
    /// Media ports that could not be opened.
    pub ports_refused: u64,
    /// Failed writes of the file of registrations, tried again.
    pub registrations_unsaved: u64,
    /// Inputs of queues that found no room on their way to disk: what was decided then cannot be explained.
    pub routing_lost: u64,
    /// Failed writes of the same; a new file is begun after a while.
    pub routing_unwritten: u64,
    /// Steps of machines cut short by a panic.
    pub panics: u64,
}

/// Something of which there is more than there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Field of [`Standing`].
    pub what: &'static str,
    /// At the base line.
    pub base: u64,
    /// Now.
    pub now: u64,
}

impl Standing {
    /// What stands above `base`; empty when everything that came has gone.
    pub fn above(&self, base: &Standing) -> Vec<Excess> {
        let pairs = self.named().into_iter().zip(base.named());
        let excess = pairs.map(|((what, now), (_, base))| Excess { what, base, now });
        excess.filter(|excess| excess.now > excess.base).collect()
    }

    /// Every figure by its name.
    pub fn named(&self) -> [(&'static str, u64); 23] {
        [
            ("calls", self.calls),
            ("legs", self.legs),
            ("call_timers", self.call_timers),
            ("transactions", self.transactions),
            ("dialogs", self.dialogs),
            ("sip_timers", self.sip_timers),
            ("callers", self.callers),
            ("leases", self.leases),
            ("queue_timers", self.queue_timers),
            ("channels", self.channels),
            ("ports", self.ports),
            ("routed_legs", self.routed_legs),
            ("media_legs", self.media_legs),
            ("bridges", self.bridges),
            ("sockets", self.sockets),
            ("recordings", self.recordings),
            ("tasks", self.tasks),
            ("threads", self.threads),
            ("files", self.files),
            ("connections", self.connections),
            ("streams", self.streams),
            ("sip_connections", self.sip_connections),
            ("sip_waiting", self.sip_waiting),
        ]
    }
}

/// Where the figures are read.
pub(super) struct Sources {
    pub(super) started: Instant,
    pub(super) wires: Arc<Wires>,
    pub(super) acds: Vec<Arc<Mutex<acd::Counts>>>,
    pub(super) media: Vec<Arc<Mutex<media::Figures>>>,
    pub(super) recorder: Gauge,
    pub(super) archive: Option<archive::Archive>,
    pub(super) facts: FactWriter,
    pub(super) facts_refused: Arc<AtomicU64>,
    pub(super) runtime: Handle,
}

impl Sources {
    /// Everything but what belongs to HTTP.
    pub(super) fn read(&self) -> Internals {
        let shards: Vec<ShardFigures> = self.wires.counts.iter().map(|counts| *lock(counts)).collect();
        let acds: Vec<acd::Counts> = self.acds.iter().map(|counts| *lock(counts)).collect();
        let media: Vec<media::Figures> = self.media.iter().map(|figures| *lock(figures)).collect();
        let now = super::clock::now();
        let trunks: Vec<TrunkFigures> =
            self.wires.trunks.views(now).iter().map(|view| TrunkFigures::of(view, now)).collect();
        let (recorder, process) = (self.recorder.counts(), process::read());
        let connections = self.wires.connections.counts();
        let mut standing = Standing {
            channels: trunks.iter().map(|trunk| u64::from(trunk.inbound.used + trunk.outbound.used)).sum(),
            recordings: recorder.unsealed as u64,
            tasks: self.runtime.metrics().num_alive_tasks() as u64,
            threads: process.threads,
            files: process.open_files,
            sip_connections: connections.open + connections.handshakes,
            sip_waiting: connections.waiting,
            ..Standing::default()
        };
        shards.iter().for_each(|shard| standing.add_shard(shard));
        acds.iter().for_each(|acd| standing.add_acd(acd));
        media.iter().for_each(|thread| standing.add_media(thread));
        Internals {
            uptime_s: self.started.elapsed().as_secs(),
            callbacks: self.wires.callbacks.counts(),
            ahead: self.wires.ahead.figures(),
            queues: queues(&self.wires.live),
            trunks,
            facts: facts(&self.facts.counts(), self.facts_refused.load(Ordering::Relaxed)),
            edge: self.wires.edge.figures(),
            faults: self.wires.faults.read(),
            connections,
            standing,
            shards,
            acds,
            media,
            recorder,
            archive: self.archive.as_ref().map(archive::Archive::figures),
            process,
        }
    }
}

impl Standing {
    fn add_shard(&mut self, shard: &ShardFigures) {
        self.calls += shard.calls.calls as u64;
        self.legs += shard.calls.legs as u64;
        self.call_timers += shard.calls.timers as u64;
        self.transactions += shard.sip.transactions as u64;
        self.dialogs += shard.sip.dialogs as u64;
        self.sip_timers += shard.sip.timers as u64;
        self.ports += shard.ports.lent as u64;
        self.routed_legs += shard.routed_legs as u64;
    }

    fn add_acd(&mut self, acd: &acd::Counts) {
        self.callers += acd.callers as u64;
        self.leases += acd.leases as u64;
        self.queue_timers += acd.timers as u64;
    }

    fn add_media(&mut self, thread: &media::Figures) {
        self.media_legs += thread.legs as u64;
        self.bridges += thread.bridges as u64;
        self.sockets += thread.sockets as u64;
    }
}

fn queues(live: &Live) -> Vec<QueueFigures> {
    let (sites, now) = (live.sites(), super::clock::now().wall);
    let figures = |(queue, totals): (super::live::Queue, super::live::Totals)| QueueFigures {
        site: sites.get(queue.site.index()).map_or_else(String::new, |code| code.to_string()),
        queue: queue.name.to_string(),
        waiting: queue.waiting,
        talking: queue.talking,
        ready: queue.ready,
        answered: totals.answered,
        abandoned: totals.abandoned,
        answered_after: totals.answered_after,
        abandoned_after: totals.abandoned_after,
        longest_wait_ms: queue.longest_since.map_or(0, |since| (now.0 - since.0).max(0).unsigned_abs()),
    };
    live.queues().into_iter().map(figures).collect()
}

fn facts(counts: &facts::Counts, refused: u64) -> FactFigures {
    let facts::Counts { told, journalled, applied, set_aside, journal_errors, sql_errors, damaged, behind, .. } =
        *counts;
    let lag_ms = counts.oldest.map_or(0, |oldest| (super::clock::now().wall.0 - oldest.0).max(0).unsigned_abs());
    FactFigures { told, refused, journalled, applied, set_aside, journal_errors, sql_errors, damaged, behind, lag_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_the_base_line_is_named() {
        let base = Standing { tasks: 12, files: 30, sip_timers: 2, ..Standing::default() };
        assert_eq!(base.above(&base), []);
        let now = Standing { tasks: 11, files: 31, ports: 2, ..base };
        let (ports, files) = (Excess { what: "ports", base: 0, now: 2 }, Excess { what: "files", base: 30, now: 31 });
        assert_eq!(now.above(&base), [ports, files]);
    }

    #[test]
    fn every_figure_is_compared() {
        let all = serde_json::to_value(Standing::default()).unwrap();
        let names = Standing::default().named().map(|(name, _)| name);
        assert_eq!(all.as_object().unwrap().len(), names.len());
        assert!(names.iter().all(|name| all.get(name).is_some()));
    }
}
