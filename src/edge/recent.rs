//! What was decided about each new call lately, so that an INVITE that is repeated meets the same decision.

use crate::base::Mono;
use crate::base::map::KeyedMap;
use core::time::Duration;
use std::collections::VecDeque;

/// Calls remembered at most; beyond, the oldest is forgotten before its time.
pub const CALLS_MAX: usize = 131_072;
/// INVITEs are repeated for so long (RFC 3261 §17.1.1.2, Timer B).
const REPEATED: Duration = Duration::from_secs(32);

#[derive(Debug)]
pub(super) struct Recent {
    passed: KeyedMap<u64, bool>,
    order: VecDeque<(Mono, u64)>,
}

impl Recent {
    pub(super) fn new(seed: [u64; 2]) -> Recent {
        Recent { passed: KeyedMap::new(seed), order: VecDeque::new() }
    }

    /// Whether this call passed; `None` for one that is new.
    pub(super) fn passed(&self, call: u64) -> Option<bool> {
        self.passed.at(&call).copied()
    }

    pub(super) fn note(&mut self, now: Mono, call: u64, passed: bool) {
        self.passed.insert(call, passed);
        self.order.push_back((now, call));
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > REPEATED || self.order.len() > CALLS_MAX) {
            let oldest = self.order.pop_front().map(|(_, call)| call);
            oldest.and_then(|call| self.passed.remove(&call));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_as_long_as_it_may_be_repeated_and_within_the_bound() {
        let mut recent = Recent::new([1, 2]);
        recent.note(Mono(0), 1, true);
        recent.note(Mono::from_ms(32_000), 2, false);
        assert_eq!((recent.passed(1), recent.passed(2), recent.passed(3)), (Some(true), Some(false), None));
        recent.note(Mono::from_ms(32_001), 3, true);
        assert_eq!(recent.passed(1), None);
        (10..10 + 2 * CALLS_MAX as u64).for_each(|call| recent.note(Mono::from_ms(32_001), call, true));
        assert_eq!((recent.len(), recent.passed.len()), (CALLS_MAX, CALLS_MAX));
    }
}
