//! Which shard has the talk of a phone's user, so that a second call of that phone comes to the same shard: only there can
//! the two be joined.
//!
//! Owns who talks where, and where such calls went, for whatever else is said of them before they have a mark of ours: their
//! repetitions and CANCEL, by the same Call-ID. Never reads a message.

use crate::base::map::KeyedMap;
use crate::base::{CallId, Mono, ShardId};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

/// Calls remembered at most; beyond, the oldest is forgotten before its time.
pub const FOLLOWED_MAX: usize = 16_384;
/// An INVITE is cancelled while it rings: for three minutes (RFC 3261 §16.6, Timer C), and a transaction's time.
const FOLLOWED: Duration = Duration::from_secs(180 + 32);

/// Talks of registered users, by the hash of user and domain.
#[derive(Debug)]
pub struct Talks {
    by_call: BTreeMap<CallId, u64>,
    /// The newest last.
    by_user: KeyedMap<u64, Vec<CallId>>,
    /// Calls that came to the shard of a talk, by the hash of their Call-ID.
    followed: KeyedMap<u64, ShardId>,
    order: VecDeque<(Mono, u64)>,
}

impl Talks {
    /// Nobody talks.
    pub fn new(seed: [u64; 2]) -> Talks {
        let (by_user, followed) = (KeyedMap::new(seed), KeyedMap::new(seed));
        Talks { by_call: BTreeMap::new(), by_user, followed, order: VecDeque::new() }
    }

    /// Who talks in this call to its citizen now; `None` for nobody.
    pub fn stands(&mut self, call: CallId, user: Option<u64>) {
        let before = match user {
            Some(user) => self.by_call.insert(call, user),
            None => self.by_call.remove(&call),
        };
        if before == user {
            return;
        }
        if let Some(before) = before
            && let Some(calls) = self.by_user.at_mut(&before)
        {
            calls.retain(|it| *it != call);
            if calls.is_empty() {
                self.by_user.remove(&before);
            }
        }
        if let Some(user) = user {
            match self.by_user.at_mut(&user) {
                Some(calls) => calls.push(call),
                None => _ = self.by_user.insert(user, vec![call]),
            }
        }
    }

    /// The shard for a new call by the hash of its Call-ID, and of what is about it; `None`: where that hash says.
    /// `caller` is asked only if it matters.
    pub fn shard(&mut self, now: Mono, call: u64, caller: impl FnOnce() -> Option<u64>) -> Option<ShardId> {
        if let Some(shard) = self.followed.at(&call) {
            return Some(*shard);
        }
        if self.by_call.is_empty() {
            return None;
        }
        let shard = self.by_user.at(&caller()?)?.last()?.shard;
        self.followed.insert(call, shard);
        self.order.push_back((now, call));
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > FOLLOWED || self.order.len() > FOLLOWED_MAX) {
            let oldest = self.order.pop_front().map(|(_, call)| call);
            oldest.and_then(|call| self.followed.remove(&call));
        }
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn call(shard: u8, slot: u32) -> CallId {
        CallId { shard: ShardId(shard), slot, generation: 1 }
    }

    #[test]
    fn a_phones_second_call_follows_its_talk_and_what_is_about_it_follows_it() {
        let mut talks = Talks::new([1, 2]);
        let now = Mono(0);
        assert_eq!(talks.shard(now, 7, || Some(1001)), None, "nobody talks");
        talks.stands(call(3, 1), Some(1001));
        talks.stands(call(2, 1), Some(1002));
        assert_eq!(talks.shard(now, 7, || Some(1001)), Some(ShardId(3)));
        assert_eq!(talks.shard(now, 8, || Some(1003)), None);
        // The talk is over, and another one begins: the call stays where it is, a new one goes there.
        talks.stands(call(1, 4), Some(1001));
        talks.stands(call(3, 1), None);
        assert_eq!(talks.shard(now, 7, || None), Some(ShardId(3)));
        assert_eq!(talks.shard(now, 9, || Some(1001)), Some(ShardId(1)));
        // Somebody else has taken the talk over.
        talks.stands(call(1, 4), Some(1002));
        assert_eq!(talks.shard(now, 10, || Some(1001)), None);
        talks.stands(call(1, 4), None);
        assert_eq!(talks.shard(now, 11, || Some(1002)), Some(ShardId(2)), "the one that lasts");
        talks.stands(call(2, 1), None);
        assert_eq!((talks.by_call.len(), talks.by_user.len()), (0, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut talks = Talks::new([1, 2]);
        talks.stands(call(3, 1), Some(1001));
        (0..2 * FOLLOWED_MAX as u64).for_each(|call| _ = talks.shard(Mono(0), call, || Some(1001)));
        assert_eq!((talks.order.len(), talks.followed.len()), (FOLLOWED_MAX, FOLLOWED_MAX));
        talks.shard(Mono::from_ms(213_000), 1 << 40, || Some(1001));
        assert_eq!((talks.order.len(), talks.followed.len()), (1, 1));
    }
}
