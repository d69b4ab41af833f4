//! A rush: more callers than usual, counted in steps of ten seconds.
//!
//! It begins when more came within one span than so many times the usual, and ends when no more than a lesser multiple came
//! within another: two thresholds, so that a rate that lingers between them opens and shuts nothing.

use crate::base::{Mono, QueueId};
use std::collections::VecDeque;
use std::time::Duration;

const STEP: Duration = Duration::from_secs(10);
/// Longest span that is looked back over.
pub(super) const SPAN_MAX: Duration = Duration::from_secs(3_600);

/// When there is a rush.
#[derive(Clone, Debug, PartialEq)]
pub struct Rush {
    /// Callers who come to these queues are counted.
    pub queues: Vec<QueueId>,
    /// It begins when more than this come…
    pub begins_over: u64,
    /// …within this (10 s to an hour).
    pub within: Duration,
    /// It ends when no more than this come…
    pub ends_at: u64,
    /// …within this (10 s to an hour), counted from its beginning at the earliest.
    pub calm: Duration,
}

/// How many came, step by step.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Number of a step since the epoch of the clock, and how many came in it; ascending.
    steps: VecDeque<(u64, u64)>,
}

impl Arrivals {
    pub(super) fn add(&mut self, now: Mono) {
        let step = step(now);
        match self.steps.back_mut() {
            Some((last, count)) if *last == step => *count += 1,
            Some(_) | None => self.steps.push_back((step, 1)),
        }
        let oldest = step.saturating_sub(SPAN_MAX.as_secs() / STEP.as_secs());
        while self.steps.front().is_some_and(|(first, _)| *first < oldest) {
            self.steps.pop_front();
        }
    }

    /// Within the last `span`, to the step.
    pub(super) fn within(&self, now: Mono, span: Duration) -> u64 {
        let first = (step(now) + 1).saturating_sub(span.as_secs().div_ceil(STEP.as_secs()));
        self.steps.iter().rev().take_while(|(step, _)| *step >= first).map(|(_, count)| count).sum()
    }
}

fn step(now: Mono) -> u64 {
    now.ms() / STEP.as_millis() as u64
}
