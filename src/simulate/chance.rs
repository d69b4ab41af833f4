//! Draws from a seed: uniform numbers and the laws by which durations are spread.

use crate::base::Mint;
use std::time::Duration;

/// Longest duration that is drawn: thirty days.
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// A stream of draws that the seed alone decides.
#[derive(Clone, Debug)]
pub struct Chance(Mint);

impl Chance {
    /// Draws unlike those of any other `stream` of the same seed.
    pub fn new(seed: u64, stream: u16) -> Chance {
        Chance(Mint::new(stream, [seed, 0x5345_4544]))
    }

    /// Above zero, at most one, in steps of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        ((self.0.random() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Exponential with mean one.
    pub fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// Normal with mean zero and variance one (Box and Muller 1958; the second of each pair is not used).
    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// How a duration is spread. Means are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// Always the same.
    Fixed {
        /// Seconds.
        mean_s: f64,
    },
    /// Without memory.
    Exponential {
        /// Seconds.
        mean_s: f64,
    },
    /// The sum of equal exponential stages: less spread than one.
    Erlang {
        /// Of the sum, in seconds.
        mean_s: f64,
        /// How many (1 or more).
        stages: u32,
    },
    /// What talks and patience look like: many short, few very long.
    LogNormal {
        /// Seconds.
        mean_s: f64,
        /// Standard deviation over mean.
        variation: f64,
    },
}

impl Law {
    /// Mean in seconds.
    pub fn mean_s(self) -> f64 {
        match self {
            Law::Fixed { mean_s }
            | Law::Exponential { mean_s }
            | Law::Erlang { mean_s, .. }
            | Law::LogNormal { mean_s, .. } => mean_s,
        }
    }

    /// Variance over the squared mean: 0 for fixed, 1 for exponential.
    pub fn squared_variation(self) -> f64 {
        match self {
            Law::Fixed { .. } => 0.0,
            Law::Exponential { .. } => 1.0,
            Law::Erlang { stages, .. } => 1.0 / f64::from(stages),
            Law::LogNormal { variation, .. } => variation * variation,
        }
    }

    /// One duration, thirty days at most.
    pub fn draw(self, chance: &mut Chance) -> Duration {
        let seconds = match self {
            Law::Fixed { mean_s } => mean_s,
            Law::Exponential { mean_s } => mean_s * chance.exponential(),
            Law::Erlang { mean_s, stages } => {
                mean_s / f64::from(stages) * (0..stages).map(|_| chance.exponential()).sum::<f64>()
            }
            Law::LogNormal { mean_s, variation } => {
                let spread = (1.0 + variation * variation).ln();
                mean_s * (spread.sqrt() * chance.normal() - spread / 2.0).exp()
            }
        };
        Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S))
    }
}
