//! The hotline's figures (指标), counted from what was told of its calls and agents.
//!
//! Owns what counts as what, and the formulas; keeps nothing. Never stores a score: figures are counted anew from the raw
//! times whenever they are asked for, so that another formula can be held against the same past.

pub mod agents;
pub mod calls;
pub mod rolling;

use std::time::Duration;

/// Version of the rules and formulas below; stands beside every answer.
pub const FORMULAS: u32 = 1;

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// How many of them.
    pub part: u64,
    /// Of how many.
    pub whole: u64,
}

impl Rate {
    /// `part` of `whole`.
    pub const fn new(part: u64, whole: u64) -> Rate {
        Rate { part, whole }
    }

    /// From 0 to 1; `None` of nothing.
    pub fn value(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }

    /// Whether this is the lower one; nothing is lower than none.
    fn is_below(self, other: Rate) -> bool {
        u128::from(self.part) * u128::from(other.whole) < u128::from(other.part) * u128::from(self.whole)
    }
}

/// Lengths of time, counted and summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// How many.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Lengths {
    /// One more.
    pub fn add(&mut self, length: Duration) {
        self.count += 1;
        self.total += length;
        self.longest = self.longest.max(length);
    }

    /// These and others.
    pub fn merge(&mut self, other: Lengths) {
        self.count += other.count;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// The mean; `None` of none.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.total.div_f64(self.count as f64))
    }
}
