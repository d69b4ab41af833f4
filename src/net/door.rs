//! The doors of listeners: how many connections stand there, from one address and in all, and how many shake hands.
//!
//! Strangers have half of everything at most, so that trunks and phones that are known there always find a place. Who a
//! stranger is, others say.

use super::tls::Secured;
use crate::config::{Bounds, Transport};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Connections of strangers from one address: an office whose first phone has registered is none any more.
const STRANGERS_PER_SOURCE_MAX: usize = 64;

/// What a listener's new connections are subject to.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How it speaks; not UDP.
    pub transport: Transport,
    /// On `tls` and `wss`.
    pub secured: Option<Secured>,
    /// On `ws` and `wss`.
    pub origins: Vec<Box<str>>,
    /// Limits.
    pub bounds: Bounds,
}

/// One listener's door.
#[derive(Debug)]
pub struct Door {
    /// Which listener.
    pub(super) index: u16,
    /// Where it is bound.
    pub(super) listen: SocketAddr,
    /// Replaced at a reload.
    pub profile: ArcSwap<Profile>,
    all: Counts,
    /// Those of them that are strangers'.
    strangers: Counts,
    sources: DashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    handshakes: AtomicUsize,
}

impl Counts {
    fn have_room(&self, open_max: usize, handshakes_max: usize) -> bool {
        self.open.load(Ordering::Acquire) < open_max && self.handshakes.load(Ordering::Acquire) < handshakes_max
    }
}

impl Door {
    /// The door of listener `index`, which is bound to `listen`.
    pub fn new(index: u16, listen: SocketAddr, profile: Profile) -> Door {
        let profile = ArcSwap::from_pointee(profile);
        let (all, strangers) = (Counts::default(), Counts::default());
        Door { index, listen, profile, all, strangers, sources: DashMap::new() }
    }

    /// Handshakes under way.
    pub(super) fn handshakes(&self) -> usize {
        self.all.handshakes.load(Ordering::Acquire)
    }
}

/// A connection's place among those of its door, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    source: IpAddr,
    stranger: AtomicBool,
}

/// A connection that shakes hands, until dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    door: Arc<Door>,
    stranger: bool,
}

impl Place {
    /// A place for a connection whose handshakes begin; `None`: there is none.
    pub(super) fn take(door: &Arc<Door>, source: IpAddr, bounds: &Bounds, known: bool) -> Option<(Place, Handshake)> {
        let half = |most: usize| most.div_ceil(2);
        let mut of_source = door.sources.entry(source).or_insert(0);
        let free = door.all.have_room(bounds.connections_max, bounds.handshakes_max)
            && *of_source < bounds.per_source_max
            && (known
                || door.strangers.have_room(half(bounds.connections_max), half(bounds.handshakes_max))
                    && *of_source < STRANGERS_PER_SOURCE_MAX);
        if !free {
            let unknown = *of_source == 0;
            drop(of_source);
            if unknown {
                door.sources.remove_if(&source, |_, count| *count == 0);
            }
            return None;
        }
        *of_source += 1;
        for counts in [Some(&door.all), (!known).then_some(&door.strangers)].into_iter().flatten() {
            counts.open.fetch_add(1, Ordering::AcqRel);
            counts.handshakes.fetch_add(1, Ordering::AcqRel);
        }
        let place = Place { door: door.clone(), source, stranger: AtomicBool::new(!known) };
        Some((place, Handshake { door: door.clone(), stranger: !known }))
    }

    /// A phone registered by it.
    pub(super) fn become_known(&self) {
        if self.stranger.swap(false, Ordering::AcqRel) {
            self.door.strangers.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.become_known();
        self.door.all.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(mut count) = self.door.sources.get_mut(&self.source) {
            *count -= 1;
        }
        self.door.sources.remove_if(&self.source, |_, count| *count == 0);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        for counts in [Some(&self.door.all), self.stranger.then_some(&self.door.strangers)].into_iter().flatten() {
            counts.handshakes.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    /// A door of TCP, and its bounds.
    pub(in crate::net) fn door(connections_max: usize, per_source_max: usize) -> (Arc<Door>, Bounds) {
        let bounds =
            Bounds { connections_max, per_source_max, handshakes_max: 8, unregistered_max: Duration::from_secs(120) };
        let profile = Profile { transport: Transport::Tcp, secured: None, origins: Vec::new(), bounds };
        (Arc::new(Door::new(1, "192.0.2.1:5060".parse().unwrap(), profile)), bounds)
    }

    fn ip(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn strangers_leave_half_of_all_places_to_those_who_are_known() {
        let (door, bounds) = door(6, 6);
        let mut strangers: Vec<Place> = Vec::new();
        for number in 0..6 {
            strangers.extend(Place::take(&door, ip(number), &bounds, false).map(|(place, _)| place));
        }
        assert_eq!(strangers.len(), 3);
        strangers[0].become_known();
        strangers.extend(Place::take(&door, ip(8), &bounds, false).map(|(place, _)| place));
        assert_eq!(strangers.len(), 4, "who registered makes room for the next stranger");
        let known: Vec<_> = (0..6).filter_map(|number| Place::take(&door, ip(number), &bounds, true)).collect();
        assert_eq!(known.len(), 2);
        drop((strangers, known));
        assert_eq!(door.all.open.load(Ordering::Acquire) + door.strangers.open.load(Ordering::Acquire), 0);
        assert!(door.sources.is_empty());
    }

    #[test]
    fn half_open_handshakes_of_strangers_leave_half_to_the_known() {
        let (door, bounds) = door(100, 100);
        let take = |known| Place::take(&door, ip(1), &bounds, known);
        let slow: Vec<_> = std::iter::from_fn(|| take(false)).collect();
        assert_eq!(slow.len(), 4);
        let known: Vec<_> = std::iter::from_fn(|| take(true)).collect();
        assert_eq!((known.len(), door.handshakes()), (4, 8));
        drop((slow, known));
        assert_eq!(door.handshakes(), 0);
        let places: Vec<_> = std::iter::from_fn(|| take(false).map(|(place, _)| place)).collect();
        assert_eq!(places.len(), 50, "handshakes that are over hold nothing");
    }

    #[test]
    fn one_address_has_its_share() {
        let (door, bounds) = door(1_000, 100);
        let of_one = |known| {
            let places: Vec<Place> =
                std::iter::from_fn(|| Place::take(&door, ip(1), &bounds, known).map(|(place, _)| place)).collect();
            places.len()
        };
        assert_eq!((of_one(false), of_one(true)), (STRANGERS_PER_SOURCE_MAX, 100));
    }
}
