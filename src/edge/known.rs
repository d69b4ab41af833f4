//! Flows and sources from which phones are registered. As large as the registrar's table, for only who proved a password
//! is in it; and the sources from which phones were registered a while ago, for they come back there.

use super::bucket::{Bucket, Rate};
use super::source::Source;
use crate::base::Mono;
use crate::base::map::KeyedMap;
use crate::sip::event::{Bindings, Flow};
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Sources remembered at most after their last phone went; beyond, the oldest is forgotten.
pub const LEFT_MAX: usize = 16_384;
/// A source is a home for so long after its last phone went: connections break, and phones come back.
const LEFT_LASTS: Duration = Duration::from_secs(3_600);

/// By which a flow is known: a connection cannot be forged by a datagram with its address.
type Key = (u64, SocketAddr);

/// One flow.
#[derive(Debug)]
struct Entry {
    /// Contacts registered on it.
    contacts: u32,
    bucket: Bucket,
}

fn key(flow: Flow) -> Key {
    (flow.connection, flow.peer)
}

#[derive(Debug)]
pub(super) struct Known {
    flows: KeyedMap<Key, Entry>,
    /// Contacts by user and flow; users by their keyed hash.
    users: KeyedMap<(u64, Key), u32>,
    /// Contacts by source.
    sources: KeyedMap<Source, u32>,
    by_address: KeyedMap<(Box<str>, Box<str>), Vec<Key>>,
    /// Until when sources without phones are homes.
    left: KeyedMap<Source, Mono>,
    /// Those in order of their first going.
    order: VecDeque<Source>,
    rate: Rate,
}

/// One contact more.
fn add<K: Copy + Eq + core::hash::Hash>(map: &mut KeyedMap<K, u32>, key: K) {
    match map.at_mut(&key) {
        Some(contacts) => *contacts += 1,
        None => _ = map.insert(key, 1),
    }
}

/// One contact less; whether it was the last.
fn take<K: Copy + Eq + core::hash::Hash>(map: &mut KeyedMap<K, u32>, key: K) -> bool {
    let Some(contacts) = map.at_mut(&key) else { return false };
    *contacts -= 1;
    let last = *contacts == 0;
    if last {
        map.remove(&key);
    }
    last
}

impl Known {
    pub(super) fn new(seed: [u64; 2], rate: Rate) -> Known {
        Known {
            flows: KeyedMap::new(seed),
            users: KeyedMap::new(seed),
            sources: KeyedMap::new(seed),
            by_address: KeyedMap::new(seed),
            left: KeyedMap::new(seed),
            order: VecDeque::new(),
            rate,
        }
    }

    /// One packet more; `None` when no phone is registered on this flow, else whether it is within the flow's rate: that of
    /// one phone for each contact.
    pub(super) fn packet(&mut self, now: Mono, flow: Flow) -> Option<bool> {
        let rate = self.rate;
        self.flows.at_mut(&key(flow)).map(|flow| flow.bucket.take(now, rate.times(flow.contacts)))
    }

    /// Whether this user is registered on this flow.
    pub(super) fn is_of(&self, user: u64, flow: Flow) -> bool {
        self.users.contains(&(user, key(flow)))
    }

    /// Whether a phone is registered from there, or was a while ago.
    pub(super) fn is_home(&self, now: Mono, source: Source) -> bool {
        self.sources.contains(&source) || self.left.at(&source).is_some_and(|until| now < *until)
    }

    pub(super) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// All bindings of an address-of-record after a change; the keyed hash of its user.
    pub(super) fn learn(&mut self, now: Mono, user: u64, bindings: &Bindings) {
        let address = (bindings.user.clone(), bindings.domain.clone());
        let new: Vec<Key> = bindings.contacts.iter().map(|contact| key(contact.flow)).collect();
        for key in &new {
            match self.flows.at_mut(key) {
                Some(flow) => flow.contacts += 1,
                None => _ = self.flows.insert(*key, Entry { contacts: 1, bucket: Bucket::default() }),
            }
            add(&mut self.users, (user, *key));
            add(&mut self.sources, Source::of(key.1.ip()));
        }
        let old = if new.is_empty() { self.by_address.remove(&address) } else { self.by_address.insert(address, new) };
        old.into_iter().flatten().for_each(|key| self.forget(now, user, key));
    }

    /// Phones were registered from there until now.
    pub(super) fn expect(&mut self, now: Mono, source: Source) {
        let until = now + LEFT_LASTS;
        if let Some(known) = self.left.at_mut(&source) {
            *known = until;
            return;
        }
        if self.order.len() >= LEFT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.left.remove(&oldest);
        }
        self.left.insert(source, until);
        self.order.push_back(source);
    }

    fn forget(&mut self, now: Mono, user: u64, key: Key) {
        if let Some(flow) = self.flows.at_mut(&key) {
            flow.contacts -= 1;
            if flow.contacts == 0 {
                self.flows.remove(&key);
            }
        }
        take(&mut self.users, (user, key));
        let source = Source::of(key.1.ip());
        if take(&mut self.sources, source) {
            self.expect(now, source);
        }
    }
}
