//! The only clock. Everything else is told the time.

use crate::base::{Mono, Now, Wall};
use rustix::time::{ClockId, clock_gettime};

/// This instant on both clocks: since the machine started, sleep included, and since 1970.
pub fn now() -> Now {
    let (boot, wall) = (clock_gettime(ClockId::Boottime), clock_gettime(ClockId::Realtime));
    let mono = boot.tv_sec.unsigned_abs() * 1_000_000_000 + boot.tv_nsec.unsigned_abs();
    Now { mono: Mono(mono), wall: Wall(wall.tv_sec * 1_000 + wall.tv_nsec / 1_000_000) }
}
