//! Places and waiting times as spoken Chinese, put together from prompts.
//!
//! Says whole numbers below a thousand; what is more is not said. Knows no queue.

use crate::acd::Expected;
use crate::base::PromptId;

/// Most callers ahead that are counted aloud; beyond it only that many wait is said, by the queue's own prompts.
pub(super) const SPOKEN_MAX: u64 = 999;
/// A wait of more minutes is not promised.
const MINUTES_MAX: u64 = 99;

/// The prompts that numbers and what is around them are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases([PromptId; NAMES.len()]);

/// Their names, in the order in which [`Phrases`] holds them.
const NAMES: [&str; 20] = [
    "number-0",
    "number-1",
    "number-2",
    "number-3",
    "number-4",
    "number-5",
    "number-6",
    "number-7",
    "number-8",
    "number-9",
    "number-two-of",
    "number-10",
    "number-100",
    "place-next",
    "place-before",
    "place-after",
    "wait-before",
    "wait-to",
    "wait-after",
    "wait-short",
];

/// Two of something (两), where a lone 2 counts it.
const TWO_OF: usize = 10;
const TEN: usize = 11;
const HUNDRED: usize = 12;
const NEXT: usize = 13;
const BEFORE: usize = 14;
const AFTER: usize = 15;
const WAIT: usize = 16;
const TO: usize = 17;
const MINUTES: usize = 18;
const SHORT: usize = 19;

impl Phrases {
    /// Finds all of them.
    ///
    /// # Errors
    /// The name of the first that is not there.
    pub fn find(prompt: impl Fn(&str) -> Option<PromptId>) -> Result<Phrases, &'static str> {
        let mut found = [PromptId(0); NAMES.len()];
        for (place, name) in found.iter_mut().zip(NAMES) {
            *place = prompt(name).ok_or(name)?;
        }
        Ok(Phrases(found))
    }

    /// "You are next", or "there are n before you"; nothing when they are too many to say.
    pub(super) fn place(&self, ahead: usize) -> Vec<PromptId> {
        match ahead as u64 {
            0 => vec![self.0[NEXT]],
            ahead if ahead <= SPOKEN_MAX => [vec![self.0[BEFORE]], self.number(ahead), vec![self.0[AFTER]]].concat(),
            _ => Vec::new(),
        }
    }

    /// "About n to m minutes", rounded outwards to whole minutes; nothing when it would be no help.
    pub(super) fn wait(&self, expected: &Expected) -> Vec<PromptId> {
        let (from, until) = (expected.from.as_secs() / 60, expected.until.as_secs().div_ceil(60));
        match (from.max(1), until) {
            (_, 0 | 1) => vec![self.0[SHORT]],
            (_, until) if until > MINUTES_MAX => Vec::new(),
            (from, until) if from == until => [vec![self.0[WAIT]], self.number(until), vec![self.0[MINUTES]]].concat(),
            (from, until) => {
                let (from, until) = (self.number(from), self.number(until));
                [vec![self.0[WAIT]], from, vec![self.0[TO]], until, vec![self.0[MINUTES]]].concat()
            }
        }
    }

    /// A count of something, 0 to 999: 两, 十, 十二, 二十, 一百零五.
    fn number(&self, number: u64) -> Vec<PromptId> {
        let digit = |digit: u64| self.0[(digit % 10) as usize];
        let (hundreds, tens, ones) = (number / 100, number / 10 % 10, number % 10);
        let mut said = Vec::new();
        match number {
            2 => return vec![self.0[TWO_OF]],
            0..10 => return vec![digit(ones)],
            _ => {}
        }
        if hundreds > 0 {
            said.extend([digit(hundreds), self.0[HUNDRED]]);
        }
        match (hundreds, tens) {
            (0, 1) => said.push(self.0[TEN]),
            (_, 1..) => said.extend([digit(tens), self.0[TEN]]),
            (1.., 0) if ones > 0 => said.push(digit(0)),
            (_, 0) => {}
        }
        if ones > 0 {
            said.push(digit(ones));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SPOKEN: [&str; NAMES.len()] = [
        "零",
        "一",
        "二",
        "三",
        "四",
        "五",
        "六",
        "七",
        "八",
        "九",
        "两",
        "十",
        "百",
        "您是下一位",
        "您前面还有",
        "位",
        "预计等待",
        "到",
        "分钟",
        "一分钟内",
    ];

    fn phrases() -> Phrases {
        let place = |name: &str| NAMES.iter().position(|known| *known == name).map(|at| PromptId(at as u32));
        Phrases::find(place).unwrap()
    }

    fn text(said: &[PromptId]) -> String {
        said.iter().map(|prompt| SPOKEN[prompt.index()]).collect()
    }

    #[test]
    fn places_are_counted_as_people_count() {
        for (ahead, expected) in [
            (0, "您是下一位"),
            (1, "您前面还有一位"),
            (2, "您前面还有两位"),
            (10, "您前面还有十位"),
            (12, "您前面还有十二位"),
            (20, "您前面还有二十位"),
            (99, "您前面还有九十九位"),
            (100, "您前面还有一百位"),
            (105, "您前面还有一百零五位"),
            (110, "您前面还有一百一十位"),
            (212, "您前面还有二百一十二位"),
            (999, "您前面还有九百九十九位"),
            (1_000, ""),
        ] {
            assert_eq!(text(&phrases().place(ahead)), expected);
        }
    }

    #[test]
    fn waits_are_ranges_of_whole_minutes_and_too_long_ones_are_not_promised() {
        let wait = |from, until| {
            let [from, middle, until] = [from, (from + until) / 2, until].map(Duration::from_secs);
            text(&phrases().wait(&Expected { from, middle, until }))
        };
        assert_eq!(wait(5, 50), "一分钟内");
        assert_eq!(wait(30, 100), "预计等待一到两分钟");
        assert_eq!(wait(130, 610), "预计等待两到十一分钟");
        assert_eq!(wait(120, 120), "预计等待两分钟");
        assert_eq!(wait(600, 6_000), "");
    }

    #[test]
    fn a_missing_prompt_is_named() {
        assert_eq!(Phrases::find(|name| (name != "number-7").then_some(PromptId(1))), Err("number-7"));
    }
}
