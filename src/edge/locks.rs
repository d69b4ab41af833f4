//! Lock-out of one user from one source: whoever fails again and again for a user is not heard for that user, whether the
//! user exists or not. Other users of the source and the same user elsewhere are untouched.

use super::source::Source;
use crate::base::Mono;
use crate::base::map::KeyedMap;
use core::time::Duration;
use std::collections::VecDeque;

/// Pairs of user and source remembered at most; beyond, the oldest is forgotten. A source is banned long before it can
/// fill a part of it that matters.
pub const LOCKS_MAX: usize = 8_192;
/// Failures in a row before the first lock-out. People mistype; a phone with an old password tries for ever.
const FAILURES_MAX: u32 = 5;
/// The first lock-out; each further one is twice as long.
const LOCK: Duration = Duration::from_secs(60);
const LOCK_MAX: Duration = Duration::from_secs(3_600);

type Pair = (u64, Source);

#[derive(Debug, Default)]
struct Lock {
    failures: u32,
    times: u32,
    until: Mono,
}

#[derive(Debug)]
pub(super) struct Locks {
    by_pair: KeyedMap<Pair, Lock>,
    /// In order of their first failure.
    order: VecDeque<Pair>,
}

impl Locks {
    pub(super) fn new(seed: [u64; 2]) -> Locks {
        Locks { by_pair: KeyedMap::new(seed), order: VecDeque::new() }
    }

    pub(super) fn is_locked(&self, now: Mono, user: u64, source: Source) -> bool {
        self.by_pair.at(&(user, source)).is_some_and(|lock| now < lock.until)
    }

    /// One failure more.
    pub(super) fn fail(&mut self, now: Mono, user: u64, source: Source) {
        let pair = (user, source);
        if !self.by_pair.contains(&pair) {
            if self.order.len() >= LOCKS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_pair.remove(&oldest);
            }
            self.order.push_back(pair);
            self.by_pair.insert(pair, Lock::default());
        }
        let Some(lock) = self.by_pair.at_mut(&pair) else { return };
        lock.failures += 1;
        if lock.failures >= FAILURES_MAX {
            lock.until = now + LOCK.saturating_mul(1 << lock.times.min(6)).min(LOCK_MAX);
            (lock.failures, lock.times) = (0, lock.times + 1);
        }
    }

    /// The right password came.
    pub(super) fn clear(&mut self, user: u64, source: Source) {
        // Its place in the order stays until it is the oldest: a search would cost more than it saves.
        if let Some(lock) = self.by_pair.at_mut(&(user, source)) {
            *lock = Lock::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse().unwrap()
    }

    #[test]
    fn five_failures_lock_for_a_minute_then_for_two() {
        let (mut locks, here, there) = (Locks::new([1, 2]), source("192.0.2.1"), source("192.0.2.2"));
        let at = |s: u64| Mono::from_ms(s * 1_000);
        for _ in 0..4 {
            locks.fail(at(0), 7, here);
            assert!(!locks.is_locked(at(0), 7, here));
        }
        locks.fail(at(0), 7, here);
        assert!(locks.is_locked(at(59), 7, here));
        assert!(!locks.is_locked(at(59), 8, here) && !locks.is_locked(at(59), 7, there));
        assert!(!locks.is_locked(at(60), 7, here));
        (0..5).for_each(|_| locks.fail(at(60), 7, here));
        assert!(locks.is_locked(at(179), 7, here) && !locks.is_locked(at(180), 7, here));
        locks.clear(7, here);
        (0..5).for_each(|_| locks.fail(at(200), 7, here));
        assert!(
            locks.is_locked(at(259), 7, here) && !locks.is_locked(at(260), 7, here),
            "forgiven by the right password"
        );
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let mut locks = Locks::new([1, 2]);
        for user in 0..3 * LOCKS_MAX as u64 {
            locks.fail(Mono(0), user, source("192.0.2.1"));
        }
        assert_eq!((locks.by_pair.len(), locks.order.len()), (LOCKS_MAX, LOCKS_MAX));
    }
}
