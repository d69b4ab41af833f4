//! Batch means: from one long run to an interval of confidence.
//!
//! Batches are so long that their means hardly know of each other; Student's t bounds the mean of the means.

use super::run::{End, Outcome, Watch};
use crate::base::Mono;
use std::time::Duration;

/// Figures of one kind of calls, batch by batch.
#[derive(Clone, Debug, Default)]
struct Batch {
    calls: f64,
    waiting: f64,
    waited_s: f64,
    within: f64,
    abandoned: f64,
}

/// Collects outcomes by the moment at which calls came.
#[derive(Clone, Debug)]
pub struct Batches {
    length: Duration,
    within: Duration,
    /// By stream, then by time; the first of each is the warm-up.
    batches: Vec<Vec<Batch>>,
}

/// A figure estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean of the batches' means.
    pub mean: f64,
    /// Standard error of it.
    pub error: f64,
}

/// Which figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The part of calls that waited at all.
    Waiting,
    /// Mean wait in seconds.
    MeanWait,
    /// The part answered in time.
    Within,
    /// The part given up.
    Abandoned,
}

impl Batches {
    /// `count` batches (2 or more) of `length` for each stream, after a warm-up as long as one.
    pub fn new(streams: usize, count: usize, length: Duration, within: Duration) -> Batches {
        Batches { length, within, batches: vec![vec![Batch::default(); count + 1]; streams] }
    }

    /// How long calls must come.
    pub fn whole(&self) -> Duration {
        self.length * self.batches[0].len() as u32
    }

    /// Calls of a stream, warm-up left out.
    pub fn calls(&self, stream: usize) -> f64 {
        self.batches[stream][1..].iter().map(|batch| batch.calls).sum()
    }

    /// A figure of a stream; each batch must have had calls.
    pub fn estimate(&self, stream: usize, figure: Figure) -> Estimate {
        let mean = |batch: &Batch| {
            let sum = match figure {
                Figure::Waiting => batch.waiting,
                Figure::MeanWait => batch.waited_s,
                Figure::Within => batch.within,
                Figure::Abandoned => batch.abandoned,
            };
            sum / batch.calls
        };
        let means: Vec<f64> = self.batches[stream][1..].iter().map(mean).collect();
        let count = means.len() as f64;
        let mean = means.iter().sum::<f64>() / count;
        let variance = means.iter().map(|one| (one - mean) * (one - mean)).sum::<f64>() / (count - 1.0);
        Estimate { mean, error: (variance / count).sqrt() }
    }
}

impl Watch for Batches {
    fn call(&mut self, outcome: &Outcome) {
        let at = (outcome.came.since(Mono(0)).as_nanos() / self.length.as_nanos()) as usize;
        if let Some(batch) = self.batches[outcome.stream].get_mut(at) {
            batch.calls += 1.0;
            batch.waited_s += outcome.waited.as_secs_f64();
            batch.waiting += f64::from(u8::from(!outcome.waited.is_zero()));
            batch.within += f64::from(u8::from(outcome.end == End::Answered && outcome.waited <= self.within));
            batch.abandoned += f64::from(u8::from(outcome.end == End::GaveUp));
        }
    }
}

/// The t beyond which Student's law of `freedom` degrees lies with probability `alpha`, both sides together.
pub fn student(freedom: u32, alpha: f64) -> f64 {
    // With t = √ν tan φ the density is cos^(ν−1) φ.
    let area = |from: f64| {
        let (steps, end) = (4_000u32, std::f64::consts::FRAC_PI_2);
        let step = (end - from) / f64::from(steps);
        let density = |at: u32| (from + step * f64::from(at)).cos().max(0.0).powi(freedom as i32 - 1);
        let inner = |first: u32| (first..steps).step_by(2).map(density).sum::<f64>();
        step / 3.0 * (density(0) + 4.0 * inner(1) + 2.0 * inner(2) + density(steps))
    };
    let whole = area(0.0);
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if area(middle) / whole > alpha { low = middle } else { high = middle }
    }
    f64::from(freedom).sqrt() * low.tan()
}
