//! Where SIP is heard: all listeners of a node, bound before anything is received, and exchanged while calls run.
//!
//! A listener keeps its number for the life of the process, for flows name it; one that was taken out of the files accepts
//! nothing more and keeps what stands. Never judges a message.

use super::clock;
use super::edge;
use super::start::StartError;
use super::wires::Wires;
use crate::config::{Config, Listener, Transport};
use crate::net::door::{Door, Profile};
use crate::net::tls::{self, OwnCertificate, TlsError};
use crate::net::{tcp, udp};
use crate::sip::event::ListenerSettings;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// All that ever were.
pub(super) struct Listeners {
    slots: Vec<Slot>,
    /// So long a datagram listener that was taken out still hears running calls.
    hears_on: Duration,
}

struct Slot {
    config: Listener,
    settings: ListenerSettings,
    bound: SocketAddr,
    kind: Kind,
    own: OwnCertificate,
    stamp: Vec<Option<(SystemTime, u64)>>,
    /// Whether the files still name it.
    named: bool,
}

enum Kind {
    Datagrams { socket: Arc<UdpSocket>, task: Option<JoinHandle<()>> },
    Connections { door: Arc<Door>, waiting: Option<TcpListener>, task: Option<JoinHandle<()>> },
}

/// A bound listener, as people are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// How.
    pub transport: Transport,
}

impl Listeners {
    /// Binds all listeners of the files; nothing is received yet.
    pub(super) fn bind(config: &Config) -> Result<Listeners, StartError> {
        let mut listeners = Listeners { slots: Vec::new(), hears_on: config.node.drain_max };
        for listener in &config.listeners {
            let slot = listeners.make(listener, config)?;
            listeners.slots.push(slot);
        }
        Ok(listeners)
    }

    fn make(&self, config: &Listener, all: &Config) -> Result<Slot, StartError> {
        let not_bound = |error: io::Error| StartError::Listen {
            name: config.name.clone(),
            address: config.listen,
            cure: listen_cure(&error),
            error,
        };
        let own = own_certificate(config, all);
        let (kind, bound) = match config.transport {
            Transport::Udp => {
                let socket = Arc::new(udp::bind(config.listen).map_err(not_bound)?);
                let bound = socket.local_addr().map_err(not_bound)?;
                (Kind::Datagrams { socket, task: None }, bound)
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                let profile = profile(config, &own)?;
                let waiting = tcp::bind(config.listen).map_err(not_bound)?;
                let bound = waiting.local_addr().map_err(not_bound)?;
                let index = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
                let door = Arc::new(Door::new(index, bound, profile));
                (Kind::Connections { door, waiting: Some(waiting), task: None }, bound)
            }
        };
        let mut settings = config.settings();
        // A port left to the system is known only now.
        if settings.advertised.port() == 0 {
            settings.advertised.set_port(bound.port());
        }
        let stamp = config.tls.as_ref().map_or_else(Vec::new, |it| tls::stamp(it, &own));
        Ok(Slot { config: config.clone(), settings, bound, kind, own, stamp, named: true })
    }

    /// What is sent goes by these listeners from now on.
    pub(super) fn publish(&self, wires: &Wires) {
        let sockets = self.slots.iter().map(Slot::socket).collect();
        wires.sockets.store(Arc::new(sockets));
        wires.connections.set_doors(self.slots.iter().map(Slot::door).collect());
    }

    /// Begins to receive by every listener that does not yet.
    pub(super) fn open(&mut self, wires: &Arc<Wires>) {
        self.publish(wires);
        for (index, slot) in (0u16..).zip(&mut self.slots) {
            match &mut slot.kind {
                Kind::Datagrams { socket, task } if slot.named && task.as_ref().is_none_or(JoinHandle::is_finished) => {
                    let (to, failed) = (wires.clone(), not_received(wires));
                    let post = move |flow, bytes| edge::take(&to, flow, bytes);
                    *task = Some(tokio::spawn(udp::receive(socket.clone(), index, post, failed)));
                }
                Kind::Connections { door, waiting, task } => {
                    if let Some(waiting) = waiting.take() {
                        *task = Some(tokio::spawn(wires.connections.clone().accept(door.clone(), waiting)));
                    }
                }
                Kind::Datagrams { .. } => {}
            }
        }
    }

    /// Takes over what the files say now. Everything new is bound before anything else changes.
    ///
    /// # Errors
    /// [`StartError`]; everything is as it was then.
    pub(super) fn exchange(&mut self, config: &Config) -> Result<(), StartError> {
        let mut kept = vec![None; self.slots.len()];
        let mut fresh = Vec::new();
        for listener in &config.listeners {
            let place = self.slots.iter().position(|slot| slot.is(listener));
            match place {
                Some(place) => kept[place] = Some((listener, self.slots[place].profile_of(listener, config)?)),
                None => fresh.push(listener),
            }
        }
        let before = self.slots.len();
        for listener in fresh {
            match self.make(listener, config) {
                Ok(slot) => self.slots.push(slot),
                Err(error) => {
                    self.slots.truncate(before);
                    return Err(error);
                }
            }
        }
        for (slot, kept) in self.slots.iter_mut().zip(kept) {
            match kept {
                Some((listener, profile)) => slot.renew(listener, profile),
                None => slot.retire(self.hears_on),
            }
        }
        Ok(())
    }

    /// Reads certificates anew that were replaced on disk. Returns the names of the listeners concerned, or why not.
    pub(super) fn renew_certificates(&mut self) -> Vec<(Box<str>, Result<(), TlsError>)> {
        let mut renewed = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| slot.named) {
            let (Some(of_files), Kind::Connections { door, .. }) = (&slot.config.tls, &slot.kind) else { continue };
            let stamp = tls::stamp(of_files, &slot.own);
            if stamp == slot.stamp {
                continue;
            }
            slot.stamp = stamp;
            let read = profile(&slot.config, &slot.own).map(|profile| door.profile.store(Arc::new(profile)));
            renewed.push((slot.config.name.clone(), read));
        }
        renewed
    }

    /// By number: what SIP must know.
    pub(super) fn settings(&self) -> Vec<ListenerSettings> {
        self.slots.iter().map(|slot| slot.settings.clone()).collect()
    }

    /// The number of each listener of the files.
    pub(super) fn numbers(&self, config: &Config) -> Vec<u16> {
        let place = |listener: &Listener| self.slots.iter().position(|slot| slot.named && slot.is(listener));
        config.listeners.iter().map(|listener| place(listener).map_or(0, |place| place as u16)).collect()
    }

    /// Those that accept, in the order of their files.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let named = self.slots.iter().filter(|slot| slot.named);
        named.map(|slot| Listening { address: slot.bound, transport: slot.config.transport }).collect()
    }

    /// Addresses for media: the configured one or the listeners', and the loopback where a listener hears it.
    pub(super) fn media_addresses(&self, rtp_address: Option<IpAddr>) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = rtp_address.into_iter().collect();
        for slot in &self.slots {
            if rtp_address.is_none() {
                addresses.push(slot.settings.advertised.ip());
            }
            match slot.config.listen.ip() {
                IpAddr::V4(at) if at.is_unspecified() || at.is_loopback() => addresses.push(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(at) if at.is_unspecified() || at.is_loopback() => addresses.push(Ipv6Addr::LOCALHOST.into()),
                IpAddr::V4(_) | IpAddr::V6(_) => {}
            }
        }
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        addresses
    }

    /// Receives nothing more.
    pub(super) fn close(&mut self) {
        for slot in &mut self.slots {
            slot.retire(Duration::ZERO);
        }
    }
}

impl Slot {
    fn socket(&self) -> Option<Arc<UdpSocket>> {
        match &self.kind {
            Kind::Datagrams { socket, .. } => Some(socket.clone()),
            Kind::Connections { .. } => None,
        }
    }

    fn door(&self) -> Option<Arc<Door>> {
        match &self.kind {
            Kind::Datagrams { .. } => None,
            Kind::Connections { door, .. } => Some(door.clone()),
        }
    }

    /// Whether this is the listener that a file means. A socket of datagrams may be taken up again, a closed door not.
    fn is(&self, listener: &Listener) -> bool {
        let again = self.named || matches!(self.kind, Kind::Datagrams { .. });
        let same_port = listener.listen.port() != 0 || self.config.name == listener.name;
        again && same_port && self.config.is_at(listener)
    }

    fn profile_of(&self, listener: &Listener, all: &Config) -> Result<Option<(Profile, OwnCertificate)>, TlsError> {
        match &self.kind {
            Kind::Datagrams { .. } => Ok(None),
            Kind::Connections { .. } => {
                let own = own_certificate(listener, all);
                Ok(Some((profile(listener, &own)?, own)))
            }
        }
    }

    fn renew(&mut self, listener: &Listener, profile: Option<(Profile, OwnCertificate)>) {
        let port = self.bound.port();
        self.config = listener.clone();
        self.settings = listener.settings();
        if self.settings.advertised.port() == 0 {
            self.settings.advertised.set_port(port);
        }
        self.named = true;
        if let (Kind::Connections { door, .. }, Some((profile, own))) = (&self.kind, profile) {
            self.stamp = listener.tls.as_ref().map_or_else(Vec::new, |it| tls::stamp(it, &own));
            self.own = own;
            door.profile.store(Arc::new(profile));
        }
    }

    /// Accepts nothing more: connections stay; datagrams of running calls are heard for a while.
    fn retire(&mut self, hears_on: Duration) {
        self.named = false;
        match &mut self.kind {
            Kind::Datagrams { task, .. } => {
                let Some(task) = task.take() else { return };
                if hears_on.is_zero() {
                    return task.abort();
                }
                tokio::spawn(async move {
                    tokio::time::sleep(hears_on).await;
                    task.abort();
                });
            }
            Kind::Connections { waiting, task, .. } => {
                drop(waiting.take());
                if let Some(task) = task.take() {
                    task.abort();
                }
            }
        }
    }
}

/// Counts what a socket of datagrams could not receive.
fn not_received(wires: &Arc<Wires>) -> impl Fn(io::Error) + use<> {
    let wires = wires.clone();
    move |error| {
        wires.faults.receives_failed.raise(clock::now().mono, 1, |count| {
            tracing::warn!(%error, count, "a datagram cannot be received");
        });
    }
}

fn profile(listener: &Listener, own: &OwnCertificate) -> Result<Profile, TlsError> {
    let secured = listener.tls.as_ref().map(|it| tls::secured(it, own)).transpose()?;
    let Listener { transport, origins, bounds, .. } = listener.clone();
    Ok(Profile { transport, secured, origins, bounds })
}

/// The certificate that a listener makes for itself names all by which it may be reached.
fn own_certificate(listener: &Listener, all: &Config) -> OwnCertificate {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.push(listener.advertised.ip().to_string());
    for site in &all.sites {
        names.push(site.domain.to_string());
        names.extend(site.aliases.iter().map(ToString::to_string));
    }
    names.sort();
    names.dedup();
    OwnCertificate { folder: all.node.data_dir.join("tls").join(&*listener.name), names }
}

/// What to do about an address that cannot be bound.
pub fn listen_cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Stop the program that uses it, or choose another port.",
        io::ErrorKind::AddrNotAvailable => "Use an address of this machine, or 0.0.0.0 for all of them.",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need CAP_NET_BIND_SERVICE; 5060 does not.",
        _ => "Check `listen`.",
    }
}
