//! How long a caller will wait: an honest range from how fast the queue has been taken from.
//!
//! While somebody waits, the time from one caller taken to the next is kept for the last [`KEPT`] of them. The n-th in line
//! waits for n such times; their sum spreads like n of them, and their mean is itself only known as well as so many samples
//! tell. Nothing is promised from fewer than [`LEAST`].

use super::acd::Acd;
use crate::base::{Mono, QueueId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Intervals remembered.
const KEPT: usize = 32;
/// Intervals needed to say anything.
const LEAST: usize = 8;
/// Nine waits in ten lie so many deviations around the middle.
const DEVIATIONS: f64 = 1.645;

/// What a caller may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// One wait in twenty is shorter.
    pub from: Duration,
    /// The middle.
    pub middle: Duration,
    /// One wait in twenty is longer.
    pub until: Duration,
}

/// How fast a queue is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flow {
    /// Since when somebody waits without anybody having been taken.
    since: Mono,
    intervals: VecDeque<Duration>,
    sum: Duration,
}

impl Flow {
    /// The first caller lines up.
    pub(super) fn begin(&mut self, now: Mono) {
        self.since = now;
    }

    /// A caller is taken from the line.
    pub(super) fn taken(&mut self, now: Mono) {
        if self.intervals.capacity() == 0 {
            self.intervals.reserve_exact(KEPT);
        }
        if self.intervals.len() == KEPT {
            self.sum -= self.intervals.pop_front().unwrap_or_default();
        }
        let interval = now.since(self.since);
        self.intervals.push_back(interval);
        self.sum += interval;
        self.since = now;
    }

    /// For the `place`-th in line, counted from one.
    pub(super) fn expected(&self, place: usize) -> Option<Expected> {
        let (samples, place) = (self.intervals.len(), place as f64);
        if samples < LEAST {
            return None;
        }
        let samples = samples as f64;
        let mean_s = self.sum.as_secs_f64() / samples;
        let spread = DEVIATIONS * (place + place * place / samples).sqrt();
        let at = |places: f64| Duration::from_secs_f64((places.max(0.0) * mean_s).min(86_400.0));
        Some(Expected { from: at(place - spread), middle: at(place), until: at(place + spread) })
    }
}

impl Acd {
    /// For the `place`-th in `queue`, counted from one; `None` while too little is known.
    pub(super) fn expected(&self, queue: QueueId, place: usize) -> Option<Expected> {
        self.flows.get(queue.index())?.flow.expected(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_holds_nine_waits_in_ten_and_widens_with_the_place() {
        let mut chance = crate::base::Mint::new(0, [1, 2]);
        let mut draw =
            || Duration::from_secs_f64(-10.0 * (((chance.random() >> 11) + 1) as f64 / (1u64 << 53) as f64).ln());
        for place in [5, 20] {
            let mut held = 0;
            for _ in 0..2_000 {
                let (mut flow, mut now) = (Flow::default(), Mono::from_ms(1_000));
                flow.begin(now);
                for _ in 0..40 {
                    now += draw();
                    flow.taken(now);
                }
                let wait: Duration = (0..place).map(|_| draw()).sum();
                let range = flow.expected(place).unwrap();
                held += u32::from((range.from..=range.until).contains(&wait));
            }
            assert!((1_700..1_900).contains(&held), "place {place}: {held} of 2000");
        }
    }

    #[test]
    fn few_intervals_say_nothing_and_old_ones_are_forgotten() {
        let mut flow = Flow::default();
        flow.begin(Mono::from_ms(0));
        for taken in 1..=100u64 {
            assert_eq!(flow.expected(1).is_some(), taken > LEAST as u64);
            let ms = if taken <= 60 { taken * 9_000 } else { 540_000 + (taken - 60) * 2_000 };
            flow.taken(Mono::from_ms(ms));
        }
        assert_eq!(flow.expected(3).unwrap().middle, Duration::from_secs(6));
    }
}
