//! All SIP connections of a node: accepted or opened, counted, bounded, found again by number.
//!
//! Each is owned by one task, which shakes hands, frames, writes and ends it; machines know it as a `Flow`. Whoever sends
//! never waits: a full queue ends the connection. Whoever receives is slowed down instead of losing anything, for a
//! stream repeats nothing. Never judges a message.

use super::door::{Door, Handshake, Place, Profile};
use super::line::{Line, Overdue, Queue};
use super::packet::{Fate, Packet};
use super::tcp;
use super::wire::{self, DEAD_AFTER, End, HandshakeError, Intake, Wire};
use crate::edge::event::Knock;
use crate::sip::event::Flow;
use arc_swap::ArcSwap;
use bytes::Bytes;
use dashmap::DashMap;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

/// TLS and WebSocket handshakes of one connection take no longer together.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Connecting takes no longer: a large request then goes by UDP (RFC 3261 §18.1.1).
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Connections that we are opening at once.
const OPENING_MAX: usize = 256;
/// Connections are looked at this often.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// After the system refused to accept (out of files, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a shard hears of connections.
#[derive(Debug)]
pub enum News {
    /// A message.
    Received {
        /// What came.
        packet: Packet,
        /// To be held until it is handled.
        in_flight: OwnedSemaphorePermit,
    },
    /// One is gone, or could not be opened.
    Closed {
        /// Which.
        flow: Flow,
    },
}

/// Says what becomes of a message.
pub type Judge = Box<dyn Fn(Flow, Bytes) -> Fate + Send + Sync>;

/// To whom connections speak.
pub struct World {
    /// What becomes of a message.
    pub judge: Judge,
    /// By shard.
    pub shards: Vec<mpsc::Sender<News>>,
    /// Whether an address is a trunk's, which may be silent for as long as it likes.
    pub trusts: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// What becomes of a connection from an address.
    pub knock: Box<dyn Fn(IpAddr) -> Knock + Send + Sync>,
    /// Whether an address is not heard any more.
    pub is_banned: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// The domain by which an address was found: what a certificate there must name (RFC 5922 §7.2).
    pub domain_at: Box<dyn Fn(SocketAddr) -> Option<Box<str>> + Send + Sync>,
}

/// Figures since the start, but for the first four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ConnectionCounts)]
pub struct Counts {
    /// Open now.
    pub open: u64,
    /// Handshakes under way.
    pub handshakes: u64,
    /// Being opened by us.
    pub opening: u64,
    /// Messages that wait to be written.
    pub waiting: u64,
    /// Accepted, handshake included.
    pub accepted: u64,
    /// Opened by us.
    pub opened: u64,
    /// Closed at once because of a limit.
    pub refused: u64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// Connections that could not be opened.
    pub connects_failed: u64,
    /// Ended because the other side did not read.
    pub overflows: u64,
    /// Ended because what came was no SIP.
    pub unframed: u64,
    /// Ended because nothing came.
    pub expired: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
    connects_failed: AtomicU64,
    overflows: AtomicU64,
    unframed: AtomicU64,
    expired: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// The flow leads nowhere: machines are to be told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub struct Gone;

/// The table of connections.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    world: World,
    /// By number.
    lines: DashMap<u64, Arc<Line>>,
    /// Those we opened, by listener and peer.
    ours: DashMap<(u16, SocketAddr), Arc<Line>>,
    /// By listener; UDP has none.
    doors: ArcSwap<Vec<Option<Arc<Door>>>>,
    next: AtomicU64,
    opening: AtomicUsize,
    counters: Counters,
}

/// A count that is one higher for as long as this lives.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A line in the tables, taken out when dropped.
struct Listed {
    connections: Connections,
    line: Arc<Line>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.forget(&self.line);
    }
}

impl Connections {
    /// No connection yet. `first` is above every number of an earlier life: what survived a crash must not take a new
    /// connection for an old one.
    pub fn new(world: World, first: u64) -> Connections {
        Connections(Arc::new(Inner {
            world,
            lines: DashMap::new(),
            ours: DashMap::new(),
            doors: ArcSwap::from_pointee(Vec::new()),
            next: AtomicU64::new(first),
            opening: AtomicUsize::new(0),
            counters: Counters::default(),
        }))
    }

    /// The doors of all listeners, in their order: by them connections are opened.
    pub fn set_doors(&self, doors: Vec<Option<Arc<Door>>>) {
        self.0.doors.store(Arc::new(doors));
    }

    /// Accepts for ever.
    pub async fn accept(self, door: Arc<Door>, listener: TcpListener) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let profile = door.profile.load_full();
            let place = match (self.0.world.knock)(peer.ip()) {
                Knock::Refused => None,
                Knock::Stranger => Place::take(&door, peer.ip(), &profile.bounds, false),
                Knock::Known => Place::take(&door, peer.ip(), &profile.bounds, true),
            };
            match place {
                Some(place) => {
                    tokio::spawn(self.clone().accepted(stream, peer, (door.clone(), place), profile));
                }
                None => {
                    add(&self.0.counters.refused, 1);
                    tcp::reset(stream);
                }
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Gone`]: there is no such connection any more, or none can be opened.
    pub fn send(&self, flow: Flow, bytes: Bytes) -> Result<(), Gone> {
        let line = match flow.connection {
            Flow::ANY => self.towards(flow)?,
            number => self.0.lines.get(&number).map(|line| line.clone()).ok_or(Gone)?,
        };
        line.push(bytes).map_err(|_| {
            add(&self.0.counters.overflows, 1);
            self.forget(&line);
            line.close();
            Gone
        })
    }

    /// A phone is registered by a connection for so long.
    pub fn vouch(&self, number: u64, lasts: Duration) {
        if let Some(line) = self.0.lines.get(&number) {
            line.vouch(lasts);
        }
    }

    /// How they stand.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        let doors = self.0.doors.load();
        Counts {
            open: self.0.lines.len() as u64,
            handshakes: doors.iter().flatten().map(|door| door.handshakes() as u64).sum(),
            opening: self.0.opening.load(Ordering::Acquire) as u64,
            waiting: self.0.lines.iter().map(|line| line.waiting() as u64).sum(),
            accepted: read(&counters.accepted),
            opened: read(&counters.opened),
            refused: read(&counters.refused),
            handshakes_failed: read(&counters.handshakes_failed),
            connects_failed: read(&counters.connects_failed),
            overflows: read(&counters.overflows),
            unframed: read(&counters.unframed),
            expired: read(&counters.expired),
            messages_in: read(&counters.messages_in),
            messages_out: read(&counters.messages_out),
            bytes_in: read(&counters.bytes_in),
            bytes_out: read(&counters.bytes_out),
        }
    }

    fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    fn list(&self, line: Arc<Line>) -> Listed {
        self.0.lines.insert(line.flow.connection, line.clone());
        if line.ours {
            self.0.ours.insert((line.flow.listener, line.flow.peer), line.clone());
        }
        Listed { connections: self.clone(), line }
    }

    fn forget(&self, line: &Arc<Line>) {
        self.0.lines.remove(&line.flow.connection);
        let key = (line.flow.listener, line.flow.peer);
        self.0.ours.remove_if(&key, |_, listed| Arc::ptr_eq(listed, line));
    }

    async fn accepted(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        (door, (place, under_way)): (Arc<Door>, (Place, Handshake)),
        profile: Arc<Profile>,
    ) {
        let origins = profile.transport.is_web_socket().then_some(&profile.origins[..]);
        let shaken = timeout(HANDSHAKE_MAX, wire::accept(stream, profile.secured.as_ref(), origins)).await;
        drop(under_way);
        let wire = match shaken {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return self.not_shaken(peer, Some(&error)),
            Err(_) => return self.not_shaken(peer, None),
        };
        add(&self.0.counters.accepted, 1);
        let flow = Flow { listener: door.index, connection: self.number(), peer };
        let (line, queue) = Line::new(flow, Some(place));
        let listed = self.list(line);
        self.serve(listed, queue, wire, &door).await;
    }

    fn not_shaken(&self, peer: SocketAddr, error: Option<&HandshakeError>) {
        add(&self.0.counters.handshakes_failed, 1);
        match error {
            Some(error) => tracing::debug!(%peer, %error, "no handshake"),
            None => tracing::debug!(%peer, "no handshake in time"),
        }
    }

    /// The connection to a peer that we opened, or are opening from now on.
    fn towards(&self, flow: Flow) -> Result<Arc<Line>, Gone> {
        if let Some(line) = self.0.ours.get(&(flow.listener, flow.peer)) {
            return Ok(line.clone());
        }
        let doors = self.0.doors.load();
        let door = doors.get(usize::from(flow.listener)).and_then(Option::as_ref).ok_or(Gone)?;
        let web = door.profile.load().transport.is_web_socket();
        if web || self.0.opening.load(Ordering::Acquire) >= OPENING_MAX {
            return Err(Gone);
        }
        let (line, queue) = Line::new(Flow { connection: self.number(), ..flow }, None);
        let listed = self.list(line.clone());
        tokio::spawn(self.clone().open(listed, queue, door.clone()));
        Ok(line)
    }

    async fn open(self, listed: Listed, queue: Queue, door: Arc<Door>) {
        let peer = listed.line.flow.peer;
        let opened = {
            let _under_way = Counted::new(&self.0.opening);
            self.shake(&door, peer).await
        };
        match opened {
            Ok(wire) => {
                add(&self.0.counters.opened, 1);
                self.serve(listed, queue, wire, &door).await;
            }
            Err(error) => {
                add(&self.0.counters.connects_failed, 1);
                tracing::debug!(%peer, %error, "no connection");
                let flow = listed.line.flow;
                drop(listed);
                self.tell_closed(flow, true).await;
            }
        }
    }

    async fn shake(&self, door: &Door, peer: SocketAddr) -> Result<Wire, HandshakeError> {
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let stream = timeout(CONNECT_MAX, tcp::connect(door.listen, peer)).await.map_err(late)??;
        let profile = door.profile.load_full();
        let domain = (self.0.world.domain_at)(peer);
        timeout(HANDSHAKE_MAX, wire::connect(stream, profile.secured.as_ref(), domain.as_deref()))
            .await
            .map_err(late)?
    }

    /// A connection's life after its handshakes.
    async fn serve(&self, listed: Listed, queue: Queue, wire: Wire, door: &Door) {
        let line = listed.line.clone();
        let web = matches!(wire, Wire::Web(_));
        let intake = Shards { connections: self, line: &line };
        tokio::select! {
            end = wire::run(wire, &line, queue, &intake) => {
                match end {
                    End::Theirs => {}
                    End::Unframed => add(&self.0.counters.unframed, 1),
                    End::Unread => add(&self.0.counters.overflows, 1),
                }
                tracing::debug!(flow = ?line.flow, ?end, "connection over");
            }
            overdue = self.watch(&line, door, web) => {
                add(&self.0.counters.expired, 1);
                tracing::debug!(flow = ?line.flow, ?overdue, "connection closed");
            }
            () = line.closed() => tracing::debug!(flow = ?line.flow, "connection closed: its queue was full"),
        }
        let (flow, ours, spoken) = (line.flow, line.ours, line.has_spoken());
        // Its place is free before everybody has heard of it.
        drop((listed, line));
        if spoken || ours {
            self.tell_closed(flow, ours).await;
        }
    }

    async fn watch(&self, line: &Line, door: &Door, web: bool) -> Overdue {
        let mut looks = tokio::time::interval(WATCH_EVERY);
        loop {
            looks.tick().await;
            let trusted = line.ours || (self.0.world.trusts)(line.flow.peer.ip());
            let unregistered_max = door.profile.load().bounds.unregistered_max;
            if let Some(overdue) = line.overdue(trusted, unregistered_max, web.then_some(DEAD_AFTER)) {
                return overdue;
            }
            if !trusted && (self.0.world.is_banned)(line.flow.peer.ip()) {
                return Overdue::Banned;
            }
        }
    }

    async fn tell_closed(&self, flow: Flow, ours: bool) {
        let by_peer = ours.then_some(Flow { connection: Flow::ANY, ..flow });
        for flow in [Some(flow), by_peer].into_iter().flatten() {
            for shard in &self.0.world.shards {
                // A shard that is gone needs to know nothing more.
                let _ = shard.send(News::Closed { flow }).await;
            }
        }
    }
}

/// Where the messages of one connection go.
struct Shards<'a> {
    connections: &'a Connections,
    line: &'a Line,
}

impl Intake for Shards<'_> {
    fn is_welcome(&self) -> bool {
        let (line, world) = (self.line, &self.connections.0.world);
        line.ours || line.has_spoken() || (world.trusts)(line.flow.peer.ip())
    }

    async fn message(&self, bytes: Bytes) {
        let Inner { world, counters, .. } = &*self.connections.0;
        add(&counters.messages_in, 1);
        let Ok(in_flight) = self.line.in_flight.clone().acquire_owned().await else { return };
        match (world.judge)(self.line.flow, bytes) {
            Fate::Dropped => {}
            Fate::Refused(flow, bytes) => {
                self.line.spoke();
                // Who does not read it has lost the connection by that.
                let _ = self.connections.send(flow, bytes);
            }
            Fate::To(shard, packet) => {
                let Some(shard) = world.shards.get(shard) else { return };
                self.line.spoke();
                // As above.
                let _ = shard.send(News::Received { packet, in_flight }).await;
            }
        }
    }

    fn read(&self, bytes: usize) {
        add(&self.connections.0.counters.bytes_in, bytes);
    }

    fn written(&self, messages: usize, bytes: usize) {
        add(&self.connections.0.counters.messages_out, messages);
        add(&self.connections.0.counters.bytes_out, bytes);
    }
}
