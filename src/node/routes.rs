//! Which media thread a shard's legs are on: beside the leg they will be bridged with, else where there are fewest.
//!
//! Each shard spreads its own legs, so that no shard waits for another. Sends nothing and opens nothing.

use crate::base::{LegId, MediaThreadId};
use std::collections::HashMap;

/// The routes of one shard's legs.
#[derive(Debug)]
pub(super) struct Routes {
    by_leg: HashMap<LegId, MediaThreadId>,
    /// Legs on each thread.
    load: Vec<usize>,
    /// Of equals the thread that comes first from here on: shards begin at different ones.
    next: usize,
}

impl Routes {
    /// No legs yet, on so many threads (at least 1); the first leg goes to the `first`-th.
    pub(super) fn new(threads: usize, first: usize) -> Routes {
        Routes { by_leg: HashMap::new(), load: vec![0; threads], next: first % threads }
    }

    /// How many legs have a thread.
    pub(super) fn count(&self) -> usize {
        self.by_leg.len()
    }

    /// Where the leg is.
    pub(super) fn of(&self, leg: LegId) -> Option<MediaThreadId> {
        self.by_leg.get(&leg).copied()
    }

    /// Gives a new leg a thread: that of `beside`, if it has one.
    pub(super) fn add(&mut self, leg: LegId, beside: Option<LegId>) -> MediaThreadId {
        self.remove(leg);
        let thread = beside.and_then(|leg| self.of(leg)).unwrap_or_else(|| self.choose());
        self.load[thread.index()] += 1;
        self.by_leg.insert(leg, thread);
        thread
    }

    /// Forgets the leg.
    pub(super) fn remove(&mut self, leg: LegId) {
        if let Some(thread) = self.by_leg.remove(&leg) {
            self.load[thread.index()] -= 1;
        }
    }

    fn choose(&mut self) -> MediaThreadId {
        let count = self.load.len();
        let in_turn = (self.next..self.next + count).map(|index| index % count);
        let thread = in_turn.min_by_key(|&index| self.load[index]).unwrap_or_default();
        self.next = (thread + 1) % count;
        MediaThreadId(u8::try_from(thread).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ShardId;

    fn leg(count: u64) -> LegId {
        LegId::incoming(ShardId(0), count)
    }

    #[test]
    fn legs_go_to_the_thread_with_fewest_and_peers_stay_together() {
        let mut routes = Routes::new(3, 1);
        assert_eq!(
            [1, 2, 3].map(|count| routes.add(leg(count), None).0),
            [1, 2, 0],
            "in turn, as long as all are equal"
        );
        // Two agents beside the first citizen: that thread has three legs, each other one.
        assert_eq!([11, 12].map(|count| routes.add(leg(count), Some(leg(1))).0), [1, 1]);
        assert_eq!([4, 5, 6, 7].map(|count| routes.add(leg(count), None).0), [2, 0, 2, 0]);
        [1, 11, 12].into_iter().for_each(|count| routes.remove(leg(count)));
        assert_eq!([8, 9, 10].map(|count| routes.add(leg(count), None).0), [1, 1, 1], "where legs have closed");
        assert_eq!((routes.of(leg(12)), routes.of(leg(8)), routes.count()), (None, Some(MediaThreadId(1)), 9));
        assert_eq!(routes.add(leg(13), Some(leg(12))), MediaThreadId(2), "its neighbour is gone: in turn");
        routes.remove(leg(99));
        assert_eq!((routes.add(leg(8), None), routes.count()), (MediaThreadId(1), 10), "named again, and counted once");
    }
}
