//! Counting what goes wrong, and saying so in the log at most once a second, however often it does.

use crate::base::Mono;
use std::sync::atomic::{AtomicU64, Ordering};

/// The log hears of one kind of trouble no more often.
const SAY_EVERY_MS: u64 = 1_000;

/// A counter that also speaks.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    count: AtomicU64,
    /// When it spoke last, in milliseconds of the clock, plus 1; 0 for never.
    said_ms: AtomicU64,
}

impl Alarm {
    /// It went wrong `more` times. `say` gets the count so far, unless something was said within the last second.
    pub(super) fn raise(&self, now: Mono, more: u64, say: impl FnOnce(u64)) {
        let count = self.count.fetch_add(more, Ordering::Relaxed) + more;
        let now_ms = now.ms() + 1;
        let said_ms = self.said_ms.load(Ordering::Relaxed);
        let due = said_ms == 0 || now_ms >= said_ms + SAY_EVERY_MS;
        // Of several threads that fail at once, one speaks.
        if due && self.said_ms.compare_exchange(said_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            say(count);
        }
    }

    /// How often it went wrong since the start.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_counted_and_little_is_said() {
        let alarm = Alarm::default();
        let mut said = Vec::new();
        for (at_ms, more) in [(0, 1), (0, 2), (999, 1), (1_000, 1), (1_001, 1), (2_000, 3)] {
            alarm.raise(Mono::from_ms(at_ms), more, |count| said.push((at_ms, count)));
        }
        assert_eq!((alarm.count(), &said[..]), (9, &[(0, 1), (1_000, 5), (2_000, 9)][..]));
    }
}
