//! The timers of RFC 3261 §17 (table 4) and RFC 6026: how long each runs, and the one wheel on which all of them wait.
//!
//! Owns the base values and the wheel; never decides what a timer means.

use crate::base::Mono;
use crate::base::wheel::{TimerId, Wheel};
use core::time::Duration;

/// Round-trip estimate (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest interval between repeats of non-INVITE requests and INVITE responses.
pub const T2: Duration = Duration::from_secs(4);
/// Longest time a message stays in the network.
pub const T4: Duration = Duration::from_secs(5);
/// 64×T1: how long an unreliable exchange is tried (Timers B, F, H, J, L, M).
pub const T1_64: Duration = Duration::from_secs(32);
/// Timer D on unreliable transports: at least 32 s.
const TIMER_D: Duration = T1_64;

/// The timers by their names in the RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Repeats INVITE requests: T1, doubling.
    A,
    /// Ends an unanswered INVITE.
    B,
    /// Keeps a refused INVITE for repeats of the refusal.
    D,
    /// Repeats other requests: T1, doubling to T2.
    E,
    /// Ends an unanswered request.
    F,
    /// Repeats the refusal of an INVITE: T1, doubling to T2.
    G,
    /// Ends the wait for the ACK of a refusal.
    H,
    /// Keeps an acknowledged refusal for repeats of the ACK.
    I,
    /// Keeps an answered request for its repeats.
    J,
    /// Keeps an answered request for repeats of the answer.
    K,
    /// Keeps an accepted INVITE for its repeats (RFC 6026 §7.1).
    L,
    /// Keeps an accepted INVITE for repeats of the 2xx (RFC 6026 §7.2).
    M,
}

impl Timer {
    /// Whether this one repeats a message; the others bound the life of a state.
    pub const fn repeats(self) -> bool {
        matches!(self, Timer::A | Timer::E | Timer::G)
    }

    /// How long it runs, being started for the `count`-th time (from 0). `reliable` transports wait for no repeats.
    pub fn lasts(self, count: u32, reliable: bool) -> Duration {
        let doubled = T1 * (1 << count.min(6));
        match self {
            Timer::A => doubled,
            Timer::E | Timer::G => doubled.min(T2),
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M => T1_64,
            Timer::D if reliable => Duration::ZERO,
            Timer::D => TIMER_D,
            Timer::I | Timer::K if reliable => Duration::ZERO,
            Timer::I | Timer::K => T4,
            Timer::J if reliable => Duration::ZERO,
            Timer::J => T1_64,
        }
    }
}

/// A timer that was set and may still fire: what its owner keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    id: TimerId,
    serial: u32,
    at: Mono,
}

impl Alarm {
    /// When it rings.
    pub const fn at(self) -> Mono {
        self.at
    }
}

/// All timers of one user agent. `W` says whose it is.
#[derive(Debug)]
pub struct Alarms<W> {
    wheel: Wheel<(W, u32)>,
    serial: u32,
}

impl<W> Default for Alarms<W> {
    /// A wheel of 1 ms steps.
    fn default() -> Self {
        Alarms { wheel: Wheel::new(Duration::from_millis(1)), serial: 0 }
    }
}

impl<W: Copy> Alarms<W> {
    /// Sets the timer that `place` keeps, stopping the one it kept before.
    pub fn set(&mut self, place: &mut Option<Alarm>, at: Mono, whose: W) {
        self.stop(place);
        self.serial = self.serial.wrapping_add(1);
        *place = Some(Alarm { id: self.wheel.set(at, (whose, self.serial)), serial: self.serial, at });
    }

    /// Stops the timer that `place` keeps, if it runs.
    pub fn stop(&mut self, place: &mut Option<Alarm>) {
        if let Some(alarm) = place.take() {
            self.wheel.cancel(alarm.id);
        }
    }

    /// All that are due, each with the serial number that [`Alarms::rings`] wants.
    pub fn expire(&mut self, now: Mono) -> Vec<(W, u32)> {
        let mut due = Vec::new();
        self.wheel.expire(now, &mut due);
        due
    }

    /// Whether the fired timer is still the one that `place` waits for: another one fired in the same step may have
    /// stopped or replaced it. Empties the place if so.
    pub fn rings(place: &mut Option<Alarm>, serial: u32) -> bool {
        let rings = place.is_some_and(|alarm| alarm.serial == serial);
        if rings {
            *place = None;
        }
        rings
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.wheel.next_deadline()
    }

    /// How many are set.
    pub fn count(&self) -> usize {
        self.wheel.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timer_lasts_as_table_4_says() {
        let ms = |timer: Timer, count, reliable| timer.lasts(count, reliable).as_millis();
        let doubling: Vec<_> = (0..7).map(|count| ms(Timer::A, count, false)).collect();
        assert_eq!(doubling, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
        for timer in [Timer::E, Timer::G] {
            let capped: Vec<_> = (0..6).map(|count| ms(timer, count, false)).collect();
            assert_eq!(capped, [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
        }
        for timer in [Timer::B, Timer::D, Timer::F, Timer::H, Timer::J, Timer::L, Timer::M] {
            assert_eq!(ms(timer, 0, false), 32_000);
        }
        for timer in [Timer::I, Timer::K] {
            assert_eq!(ms(timer, 0, false), 5_000);
        }
        for timer in [Timer::D, Timer::I, Timer::J, Timer::K] {
            assert_eq!(ms(timer, 0, true), 0);
        }
    }

    #[test]
    fn a_timer_replaced_in_the_step_in_which_it_fires_does_not_ring() {
        let mut alarms = Alarms::default();
        let mut place = None;
        alarms.set(&mut place, Mono::from_ms(1), 'a');
        let due = alarms.expire(Mono::from_ms(1));
        assert_eq!(due.len(), 1);
        alarms.set(&mut place, Mono::from_ms(9), 'b');
        assert!(!Alarms::<char>::rings(&mut place, due[0].1));
        assert_eq!(alarms.count(), 1);
        let due = alarms.expire(Mono::from_ms(9));
        assert!(Alarms::<char>::rings(&mut place, due[0].1) && place.is_none());
    }
}
