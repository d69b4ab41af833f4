//! The dice of a run: everything that is left to chance comes from one seed.

use jiesu::base::Mint;
use std::time::Duration;

/// Chance, reproducible.
#[derive(Debug)]
pub struct Dice(Mint);

impl Dice {
    /// The dice of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice(Mint::new(0xd1ce, [seed, 0x5eed]))
    }

    /// Less than `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random() % bound
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    /// From `least` to `most` milliseconds.
    pub fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
