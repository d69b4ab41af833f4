//! When a leg's next packet of our own making is due.
//!
//! The beat is on the clock and never drifts. A late look sends what is due, at most [`BURST_MAX`] packets; what is later
//! than that is skipped and becomes a gap, for a burst would only overrun the far jitter buffer.

use crate::base::Mono;
use std::time::Duration;

/// Steps in which the plane looks at the clock.
pub const TICK: Duration = Duration::from_millis(5);
/// Packets one late look may send for one leg.
pub const BURST_MAX: u64 = 3;

/// The beat of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    next: Mono,
    period: Duration,
}

/// One packet that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its instant on the beat.
    pub at: Mono,
    /// Packets before it were left out.
    pub skipped: bool,
}

impl Pace {
    /// A beat that begins after `now`, within one `period`. `stagger` spreads legs over the ticks of a period.
    pub fn start(now: Mono, period: Duration, stagger: usize) -> Pace {
        let (period_ns, tick_ns) = (period.as_nanos() as u64, TICK.as_nanos() as u64);
        assert!(period_ns >= tick_ns, "a packet is at least one tick long");
        let phase = stagger as u64 % (period_ns / tick_ns) * tick_ns;
        let beats = now.0.saturating_sub(phase) / period_ns + 1;
        Pace { next: Mono(beats * period_ns + phase), period }
    }

    /// The instant of the next packet.
    pub fn next(&self) -> Mono {
        self.next
    }

    /// Time between packets.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The next packet due by `now`; to be asked until `None`.
    pub fn take(&mut self, now: Mono) -> Option<Turn> {
        if self.next > now {
            return None;
        }
        let period_ns = self.period.as_nanos() as u64;
        let late = (now.0 - self.next.0) / period_ns;
        let skipped = late >= BURST_MAX;
        if skipped {
            self.next = Mono(self.next.0 + late * period_ns);
        }
        let at = self.next;
        self.next += self.period;
        Some(Turn { at, skipped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn turns(pace: &mut Pace, now_ms: u64) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| pace.take(Mono::from_ms(now_ms))).map(|turn| (turn.at.ms(), turn.skipped)).collect()
    }

    #[test]
    fn legs_are_spread_over_the_ticks_of_a_period() {
        let now = Mono::from_ms(1_003);
        let starts: Vec<u64> = (0..5).map(|leg| Pace::start(now, PERIOD, leg).next().ms()).collect();
        assert_eq!(starts, [1_020, 1_005, 1_010, 1_015, 1_020]);
    }

    #[test]
    fn a_late_look_sends_a_little_and_skips_a_lot() {
        let mut pace = Pace::start(Mono::from_ms(80), PERIOD, 0);
        assert_eq!(turns(&mut pace, 99), []);
        assert_eq!(turns(&mut pace, 100), [(100, false)]);
        assert_eq!(turns(&mut pace, 160), [(120, false), (140, false), (160, false)]);
        assert_eq!(turns(&mut pace, 1_165), [(1_160, true)]);
        assert_eq!(turns(&mut pace, 1_180), [(1_180, false)]);
    }
}
