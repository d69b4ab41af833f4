//! Maps keyed by what strangers send (Call-IDs, branches, user names).
//!
//! Hashed with a secret key so that nobody can choose colliding names, and deliberately without iteration, so that no
//! machine's behaviour can depend on the order of a hash table.

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

/// SipHash-1-3 with a key from the configured seed.
#[derive(Debug, Clone, Copy)]
pub struct Keyed([u64; 2]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

/// A hash map that can be asked but not walked.
#[derive(Debug, Clone)]
pub struct KeyedMap<K, V>(HashMap<K, V, Keyed>);

impl<K: Hash + Eq, V> KeyedMap<K, V> {
    /// An empty map hashed under `seed`.
    pub fn new(seed: [u64; 2]) -> Self {
        KeyedMap(HashMap::with_hasher(Keyed(seed)))
    }

    /// Puts `value` at `key`; returns what stood there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// The value at `key`.
    pub fn at<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// The value at `key`, to be changed.
    pub fn at_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// Takes out what stands at `key`.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// Whether something stands at `key`.
    pub fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A keyed hash of `bytes`: for spreading outside names over shards.
pub fn keyed_hash(seed: [u64; 2], bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = SipHasher13::new_with_keys(seed[0], seed[1]);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_finds_and_lets_go() {
        let mut map: KeyedMap<String, u32> = KeyedMap::new([1, 2]);
        assert_eq!(map.insert("a".into(), 1), None);
        assert_eq!(map.insert("a".into(), 2), Some(1));
        *map.at_mut("a").unwrap() += 1;
        assert_eq!((map.at("a"), map.contains("b"), map.len()), (Some(&3), false, 1));
        assert_eq!(map.remove("a"), Some(3));
        assert!(map.is_empty());
    }

    #[test]
    fn the_hash_depends_on_the_seed() {
        assert_ne!(keyed_hash([1, 2], b"call"), keyed_hash([1, 3], b"call"));
        assert_eq!(keyed_hash([1, 2], b"call"), keyed_hash([1, 2], b"call"));
    }
}
