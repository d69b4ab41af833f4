//! Identities. Dense integers inside a process, 128-bit time-ordered values where stored.
//!
//! Stored ids are written as the 26 characters of a ULID (Crockford base 32, upper case), sort by birth and double as
//! idempotency keys. They come from a [`Mint`], which is deterministic: seed in, ids out.

use super::time::Wall;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use ulid::Ulid;

/// A text that is not a stored id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 26 characters of Crockford base 32 are expected")]
pub struct IdError;

macro_rules! stored_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; ulid::ULID_LEN];
                f.write_str(Ulid(self.0).array_to_str(&mut text))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Ulid::from_string(text).map(|id| $name(id.0)).map_err(|_| IdError)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

stored_id! {
    /// One citizen's contact: a call from its first INVITE to its last leg, with every transfer between.
    ContactId
    /// One recording of a contact's journey.
    RecordingId
    /// One work order (工单).
    OrderId
    /// One call-back (回呼) that a citizen was promised.
    CallbackId
    /// One fact in the journal; the key by which SQL takes it at most once.
    FactId
}

macro_rules! dense_id {
    ($($(#[$doc:meta])* $name:ident($int:ty))*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The position in a table indexed by this id.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

dense_id! {
    /// A site (one city's hotline), dense in configuration order. Everything belongs to one.
    SiteId(u16)
    /// A queue within its site, dense in configuration order.
    QueueId(u16)
    /// A skill within its site (at most 64), dense in configuration order.
    SkillId(u8)
    /// An agent, dense in the order in which the process learned of them.
    AgentId(u32)
    /// A signal shard of this node.
    ShardId(u8)
    /// A media thread of this node.
    MediaThreadId(u8)
    /// A prompt or music file, dense in load order.
    PromptId(u32)
    /// A trunk, dense in the order of the names of their files.
    TrunkId(u16)
}

/// A call in the memory of one shard. A slot's next tenant has another generation, so an old id finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The shard that owns it.
    pub shard: ShardId,
    /// Its slot in the shard's table.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

/// One leg: a SIP dialog and its media port. Unique on the node while it lives.
///
/// The shard stands in the top 8 bits, so that media threads know whom to tell. Legs of incoming INVITEs are minted by
/// the user agent and are even, those of outgoing ones by the call and are odd: the two never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LegId(pub u64);

impl LegId {
    /// The `count`-th leg that came in at `shard`.
    pub const fn incoming(shard: ShardId, count: u64) -> LegId {
        LegId((shard.0 as u64) << 56 | count << 1)
    }

    /// The `count`-th leg that `shard` dialled.
    pub const fn outgoing(shard: ShardId, count: u64) -> LegId {
        LegId((shard.0 as u64) << 56 | count << 1 | 1)
    }

    /// The leg that was counted so much later in the same direction.
    pub const fn later(self, by: u64) -> LegId {
        LegId(self.0 + (by << 1))
    }

    /// The shard whose call owns this leg.
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> 56) as u8)
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}.{}", self.0 >> 56, self.0 & 0xff_ffff_ffff_ffff)
    }
}

/// Where stored ids come from: time-ordered, unique across nodes, reproducible from the seed.
///
/// Layout from the top: 48 bits of Unix milliseconds, 16 bits of node and stream, 64 bits of a keyed hash over a counter.
#[derive(Debug, Clone)]
pub struct Mint {
    stream: u16,
    seed: [u64; 2],
    count: u64,
}

impl Mint {
    /// A mint whose ids are unlike those of any other `stream` or `seed`.
    pub fn new(stream: u16, seed: [u64; 2]) -> Self {
        Mint { stream, seed, count: 0 }
    }

    /// The next 128 bits.
    pub fn mint(&mut self, wall: Wall) -> u128 {
        let ms = u128::from(wall.0.clamp(0, (1 << 48) - 1).unsigned_abs());
        ms << 80 | u128::from(self.stream) << 64 | u128::from(self.random())
    }

    /// The next 64 bits that nobody without the seed can foresee: tags, branches, nonces.
    pub fn random(&mut self) -> u64 {
        self.count += 1;
        let mut hash = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hash.write_u16(self.stream);
        hash.write_u64(self.count);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_ids_are_26_characters_and_sort_by_birth() {
        let mut mint = Mint::new(3, [1, 2]);
        let older = ContactId(mint.mint(Wall(1_000)));
        let newer = ContactId(mint.mint(Wall(1_001)));
        assert_eq!(older.to_string().len(), 26);
        assert!(older.to_string() < newer.to_string());
        assert_eq!(older.to_string().parse(), Ok(older));
        assert_eq!("not an id".parse::<ContactId>(), Err(IdError));
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_stream_none_of_them() {
        let ids = |stream| {
            let mut mint = Mint::new(stream, [7, 9]);
            (0..100).map(|_| mint.mint(Wall(5))).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert!(ids(2).iter().all(|id| !ids(1).contains(id)));
    }

    #[test]
    fn ids_travel_through_json_as_text() {
        let id = OrderId(77);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"0000000000000000000000002D\"");
        assert_eq!(serde_json::from_str::<OrderId>(&json).unwrap(), id);
    }
}
