//! Time as the machines see it: two clocks, both given from outside.
//!
//! `Mono` orders events and carries deadlines; it never jumps. `Wall` is what people read and what facts store; it may
//! jump and nothing is scheduled by it. Nothing here reads a clock.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the machine started (`CLOCK_BOOTTIME` in the shell, zero-based in simulation).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Mono(pub u64);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Wall(pub i64);

/// One instant on both clocks, read once per event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Now {
    /// For ordering, durations and deadlines.
    pub mono: Mono,
    /// For facts and people.
    pub wall: Wall,
}

impl Mono {
    /// The instant `ms` milliseconds after the zero of the clock.
    pub const fn from_ms(ms: u64) -> Self {
        Mono(ms * 1_000_000)
    }

    /// Whole milliseconds since the zero of the clock.
    pub const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Time since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Now {
    /// The same instant moved by `by` on both clocks: how simulations and tests advance.
    pub fn after(self, by: Duration) -> Now {
        Now { mono: self.mono + by, wall: self.wall + by }
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, by: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, by: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    fn add(self, by: Duration) -> Wall {
        Wall(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Mono {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_saturate_instead_of_wrapping() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(u64::MAX) + Duration::from_secs(1), Mono(u64::MAX));
        assert_eq!(Mono(1) - Duration::from_secs(1), Mono(0));
        assert_eq!(Wall(i64::MAX) + Duration::from_secs(1), Wall(i64::MAX));
    }

    #[test]
    fn both_clocks_advance_together() {
        let now = Now { mono: Mono::from_ms(10), wall: Wall(1_000) }.after(Duration::from_millis(25));
        assert_eq!((now.mono.ms(), now.wall.0), (35, 1_025));
    }
}
