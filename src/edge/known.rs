//! Flows and sources from which phones are registered. As large as the registrar's table, for only who proved a password
//! is in it.

use super::bucket::{Bucket, Rate};
use super::source::Source;
use crate::base::Mono;
use crate::base::map::KeyedMap;
use crate::sip::event::{Bindings, Flow};
use std::net::SocketAddr;

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
    /// Contacts by source.
    sources: KeyedMap<Source, u32>,
    by_address: KeyedMap<(Box<str>, Box<str>), Vec<Key>>,
    rate: Rate,
}

impl Known {
    pub(super) fn new(seed: [u64; 2], rate: Rate) -> Known {
        Known { flows: KeyedMap::new(seed), sources: KeyedMap::new(seed), by_address: KeyedMap::new(seed), rate }
    }

    /// One packet more; `None` when no phone is registered on this flow, else whether it is within the flow's rate: that of
    /// one phone for each contact.
    pub(super) fn packet(&mut self, now: Mono, flow: Flow) -> Option<bool> {
        let rate = self.rate;
        self.flows.at_mut(&key(flow)).map(|flow| flow.bucket.take(now, rate.times(flow.contacts)))
    }

    /// Whether a phone is registered from there.
    pub(super) fn is_home(&self, source: Source) -> bool {
        self.sources.contains(&source)
    }

    pub(super) fn flows(&self) -> usize {
        self.flows.len()
    }

    /// All bindings of an address-of-record after a change.
    pub(super) fn learn(&mut self, bindings: &Bindings) {
        let address = (bindings.user.clone(), bindings.domain.clone());
        let new: Vec<Key> = bindings.contacts.iter().map(|contact| key(contact.flow)).collect();
        for key in &new {
            match self.flows.at_mut(key) {
                Some(flow) => flow.contacts += 1,
                None => _ = self.flows.insert(*key, Entry { contacts: 1, bucket: Bucket::default() }),
            }
            let source = Source::of(key.1.ip());
            match self.sources.at_mut(&source) {
                Some(contacts) => *contacts += 1,
                None => _ = self.sources.insert(source, 1),
            }
        }
        let old = if new.is_empty() { self.by_address.remove(&address) } else { self.by_address.insert(address, new) };
        old.into_iter().flatten().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: Key) {
        if let Some(flow) = self.flows.at_mut(&key) {
            flow.contacts -= 1;
            if flow.contacts == 0 {
                self.flows.remove(&key);
            }
        }
        let source = Source::of(key.1.ip());
        if let Some(contacts) = self.sources.at_mut(&source) {
            *contacts -= 1;
            if *contacts == 0 {
                self.sources.remove(&source);
            }
        }
    }
}
