//! The answer rate in any continuous 24 hours (GB/T 33358), over steps of five minutes.

use super::Rate;
use crate::base::Wall;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the standard looks.
pub const SPAN: Duration = Duration::from_hours(24);
/// Windows begin and end at multiples of this.
pub const STEP: Duration = Duration::from_mins(5);

const STEP_MS: i64 = STEP.as_millis() as i64;
const SPAN_STEPS: i64 = (SPAN.as_millis() / STEP.as_millis()) as i64;

/// Calls by the step in which they came: who asked for a human, and of them who was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(BTreeMap<i64, Rate>);

/// 24 hours and their answer rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Wall,
    /// The moment behind it.
    pub to: Wall,
    /// Answered of those who asked for a human.
    pub rate: Rate,
}

impl Steps {
    /// One more call that asked for a human.
    pub fn add(&mut self, offered: Wall, answered: bool) {
        let rate = self.0.entry(offered.0.div_euclid(STEP_MS)).or_default();
        rate.whole += 1;
        rate.part += u64::from(answered);
    }

    /// The window with the lowest rate that begins at `from` or later and is over by `to`; `None` when no window of them
    /// had a call, or none fits in.
    pub fn lowest(&self, from: Wall, to: Wall) -> Option<Window> {
        let first = -(-from.0).div_euclid(STEP_MS);
        let last = to.0.div_euclid(STEP_MS) - SPAN_STEPS;
        let mut lowest: Option<Window> = None;
        // A window's rate changes only where a step with calls comes in or goes out.
        let edges = self.0.keys().flat_map(|step| [step - SPAN_STEPS + 1, step + 1]).chain([first, last]);
        let mut starts: Vec<i64> = edges.filter(|start| (first..=last).contains(start)).collect();
        starts.sort_unstable();
        starts.dedup();
        let (mut sum, mut has) = (Rate::default(), first..first);
        for start in starts {
            let next = start..start + SPAN_STEPS;
            let out = self.sum(has.start..next.start.min(has.end));
            let (part, whole) = (sum.part - out.part, sum.whole - out.whole);
            let new = self.sum(has.end.max(next.start)..next.end);
            sum = Rate::new(part + new.part, whole + new.whole);
            has = next;
            if sum.whole > 0 && lowest.is_none_or(|lowest| sum.is_below(lowest.rate)) {
                let (from, to) = (Wall(has.start * STEP_MS), Wall(has.end * STEP_MS));
                lowest = Some(Window { from, to, rate: sum });
            }
        }
        lowest
    }

    fn sum(&self, steps: std::ops::Range<i64>) -> Rate {
        if steps.is_empty() {
            return Rate::default();
        }
        let add = |sum: Rate, rate: &Rate| Rate::new(sum.part + rate.part, sum.whole + rate.whole);
        self.0.range(steps).map(|(_, rate)| rate).fold(Rate::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// SplitMix64: the same sequence for ever.
    fn mix(number: u64) -> u64 {
        let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    #[test]
    fn the_worst_24_hours_lie_across_midnight() {
        let mut steps = Steps::default();
        for hour in 0..72 {
            for call in 0..10 {
                let bad = (18..30).contains(&hour) && call < 5;
                steps.add(Wall(hour * HOUR + call * 60_000), !bad);
            }
        }
        let lowest = steps.lowest(Wall(0), Wall(72 * HOUR)).unwrap();
        assert_eq!(lowest.rate, Rate::new(180, 240));
        assert!(lowest.from <= Wall(18 * HOUR) && lowest.to > Wall(29 * HOUR), "{lowest:?}");
        assert_eq!(steps.lowest(Wall(0), Wall(23 * HOUR)), None, "no 24 hours fit in");
        assert_eq!(steps.lowest(Wall(200 * HOUR), Wall(300 * HOUR)), None, "nobody called");
    }

    #[test]
    fn it_agrees_with_looking_at_every_window() {
        for seed in 0..50u64 {
            let mut steps = Steps::default();
            for call in 0..40u64 {
                let dice = mix(seed * 1_000 + call);
                steps.add(Wall((dice % 60) as i64 * HOUR + (dice >> 40) as i64 % HOUR), dice & 1 << 20 != 0);
            }
            let (from, to) = (Wall(HOUR / 7), Wall(61 * HOUR + 1));
            let first = (from.0 + STEP_MS - 1) / STEP_MS;
            let windows = (first..=to.0 / STEP_MS - SPAN_STEPS).map(|start| steps.sum(start..start + SPAN_STEPS));
            let lowest = windows
                .filter_map(Rate::value)
                .fold(None, |low: Option<f64>, it| Some(low.map_or(it, |low| low.min(it))));
            assert_eq!(steps.lowest(from, to).and_then(|window| window.rate.value()), lowest, "seed {seed}");
        }
    }
}
