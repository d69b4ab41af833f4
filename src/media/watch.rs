//! Whether anything is still heard of the other side.
//!
//! Told after [`QUIET_AFTER`] without RTP and RTCP and again after each further one; told once when packets come again.
//! Decides nothing about the call.

use crate::base::Mono;
use std::time::Duration;

/// How long a leg may be silent before it is told, and between the tellings.
pub const QUIET_AFTER: Duration = Duration::from_secs(10);

/// The watch over one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    heard: Mono,
    /// Tellings of the present silence.
    told: u32,
    /// Next look; `None` while the leg is held.
    look: Option<Mono>,
}

impl Watch {
    /// Nothing is expected yet.
    pub fn new(now: Mono) -> Watch {
        Watch { heard: now, told: 0, look: None }
    }

    /// The other side was described anew: from now on packets are expected, or not while it is held.
    pub fn expect(&mut self, now: Mono, expected: bool) {
        (self.heard, self.told) = (now, 0);
        self.look = expected.then(|| now + QUIET_AFTER);
    }

    /// A packet came. True if the silence before it had been told.
    pub fn hear(&mut self, now: Mono) -> bool {
        self.heard = now;
        std::mem::take(&mut self.told) > 0
    }

    /// When to look next.
    pub fn deadline(&self) -> Option<Mono> {
        self.look
    }

    /// Looks; returns how long it has been silent if that is to be told now.
    pub fn look(&mut self, now: Mono) -> Option<Duration> {
        if self.look? > now {
            return None;
        }
        let due = self.heard + QUIET_AFTER * (self.told + 1);
        if now < due {
            self.look = Some(due);
            return None;
        }
        self.told += 1;
        self.look = Some(due + QUIET_AFTER);
        Some(now.since(self.heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_ten_seconds_of_silence_and_the_end_of_it() {
        let at = Mono::from_ms;
        let mut watch = Watch::new(at(0));
        assert_eq!((watch.look(at(99_999)), watch.deadline()), (None, None));
        watch.expect(at(1_000), true);
        assert!(!watch.hear(at(4_000)));
        assert_eq!(watch.look(at(11_000)), None);
        assert_eq!(watch.deadline(), Some(at(14_000)));
        assert_eq!(watch.look(at(14_000)), Some(Duration::from_secs(10)));
        assert_eq!(watch.look(at(23_999)), None);
        assert_eq!(watch.look(at(24_000)), Some(Duration::from_secs(20)));
        assert!(watch.hear(at(25_000)));
        assert!(!watch.hear(at(25_020)));
        assert_eq!(watch.look(at(34_000)), None);
        assert_eq!(watch.deadline(), Some(at(35_020)));
        watch.expect(at(30_000), false);
        assert_eq!(watch.look(at(90_000)), None);
        watch.expect(at(90_000), true);
        assert_eq!(watch.look(at(100_000)), Some(Duration::from_secs(10)));
        watch.expect(at(105_000), true);
        assert_eq!(watch.look(at(114_999)), None);
        assert_eq!(watch.look(at(115_000)), Some(Duration::from_secs(10)), "each description begins anew");
    }
}
