//! Silences that are ours: where a recording was paused and why, and where digits were hidden.
//!
//! Counted in samples from the start; they stand in the manifest, so that who hears a silence can tell it from a loss.
//! Moves no bytes.

use super::SAMPLE_HZ;
use crate::media::event::{Channel, Reason};
use serde::{Deserialize, Serialize};

/// Most marks of one recording; beyond it the last one of a side grows over what lies between.
pub const MARKS_MAX: usize = 100;
/// Hidden stretches of one side this near each other are one.
const JOIN: u64 = SAMPLE_HZ as u64 / 20;

/// A silence that was made on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// First sample.
    pub from: u64,
    /// The first one behind.
    pub to: u64,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why sound was kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// Digits were pressed.
    Digits {
        /// On this side; the other one is whole.
        side: Channel,
    },
    /// Somebody paused the recording, for this reason.
    Paused {
        /// As it was given.
        reason: Reason,
    },
}

/// The marks of a recording that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    list: Vec<Mark>,
    /// Since when and why nothing is kept.
    paused: Option<(u64, Reason)>,
}

impl Marks {
    /// Hides a stretch of one side.
    pub fn hide(&mut self, side: Channel, from: u64, to: u64) {
        self.add(Mark { from, to, why: Why::Digits { side } }, JOIN);
    }

    /// Keeps nothing from `at` on. A second reason is not heard.
    pub fn pause(&mut self, at: u64, reason: Reason) {
        self.paused.get_or_insert((at, reason));
    }

    /// Keeps sound again from `at` on, or ends there.
    pub fn resume(&mut self, at: u64) {
        if let Some((from, reason)) = self.paused.take() {
            self.add(Mark { from, to: at.max(from), why: Why::Paused { reason } }, 0);
        }
    }

    /// The stretches of a side within `from..to` that must be silent.
    pub fn silences(&self, side: Channel, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let concerned = move |mark: &&Mark| match &mark.why {
            Why::Digits { side: only } => *only == side,
            Why::Paused { .. } => true,
        };
        let over = self.list.iter().filter(concerned).map(|mark| (mark.from, mark.to));
        let paused = self.paused.iter().map(|(since, _)| (*since, u64::MAX));
        over.chain(paused).map(move |(first, end)| (first.max(from), end.min(to))).filter(|(first, end)| first < end)
    }

    /// All of them, up to where the recording ends.
    pub fn finish(mut self, end: u64) -> Vec<Mark> {
        self.resume(end);
        self.list.iter_mut().for_each(|mark| mark.to = mark.to.min(end));
        self.list.retain(|mark| mark.from < mark.to);
        self.list.sort_by_key(|mark| mark.from);
        self.list
    }

    fn add(&mut self, mark: Mark, join: u64) {
        let full = self.list.len() >= MARKS_MAX;
        let near = |last: &Mark| mark.from <= last.to + join && last.from <= mark.to + join;
        match self.list.iter_mut().rev().find(|last| last.why == mark.why) {
            Some(last) if full || near(last) => {
                (last.from, last.to) = (last.from.min(mark.from), last.to.max(mark.to));
            }
            Some(_) | None => self.list.push(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Reason {
        Reason::try_from(Box::from(text)).unwrap()
    }

    #[test]
    fn what_is_near_is_one_and_pauses_reach_to_the_end() {
        let mut marks = Marks::default();
        marks.hide(Channel::Citizen, 1_000, 1_300);
        marks.hide(Channel::Others, 1_100, 1_200);
        marks.hide(Channel::Citizen, 1_250, 1_600);
        marks.pause(5_000, reason("card number"));
        marks.pause(5_500, reason("another"));
        let silent = |marks: &Marks, side, from, to| marks.silences(side, from, to).collect::<Vec<_>>();
        assert_eq!(silent(&marks, Channel::Citizen, 1_500, 6_000), [(1_500, 1_600), (5_000, 6_000)]);
        assert_eq!(silent(&marks, Channel::Others, 1_500, 5_000), []);
        marks.resume(7_000);
        marks.resume(8_000);
        marks.pause(9_000, reason("card number"));
        let written = serde_json::to_string(&marks.clone().finish(9_500)).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"[{"from":1000,"to":1600,"why":"digits","side":"citizen"},"#,
                r#"{"from":1100,"to":1200,"why":"digits","side":"others"},"#,
                r#"{"from":5000,"to":7000,"why":"paused","reason":"card number"},"#,
                r#"{"from":9000,"to":9500,"why":"paused","reason":"card number"}]"#
            )
        );
        assert_eq!(serde_json::from_str::<Vec<Mark>>(&written).unwrap(), marks.finish(9_500));
    }

    #[test]
    fn there_are_not_endlessly_many_and_none_is_forgotten() {
        let mut marks = Marks::default();
        for count in 0..2 * MARKS_MAX as u64 {
            marks.hide(Channel::Citizen, count * 8_000, count * 8_000 + 100);
        }
        let last = 2 * MARKS_MAX as u64 - 1;
        assert_eq!(
            marks.silences(Channel::Citizen, last * 8_000, u64::MAX).next(),
            Some((last * 8_000, last * 8_000 + 100))
        );
        assert_eq!(marks.finish(u64::MAX).len(), MARKS_MAX);
    }
}
