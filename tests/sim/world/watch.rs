//! What a failing run that runs again looks at: those concerned for a long time, everybody in the last moments.

use jiesu::base::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// Those concerned are written down for so long before the failure.
const WRITTEN: Duration = Duration::from_secs(3_600);
/// Every step is looked at for so long before the failure: longer than any law takes to speak.
const CLOSELY: Duration = Duration::from_secs(60);
/// Lines kept of those concerned, and of everybody.
const KEPT_MAX: usize = 2_000;
const RECENT_MAX: usize = 20_000;

/// A trace of a run whose failure is known.
#[derive(Debug)]
pub struct Watch {
    failed: Mono,
    words: Vec<String>,
    kept: VecDeque<String>,
    recent: VecDeque<String>,
}

impl Watch {
    /// The run failed at `failed`, with a text that speaks of `words`.
    pub fn new(failed: Mono, words: Vec<String>) -> Watch {
        Watch { failed, words, kept: VecDeque::new(), recent: VecDeque::new() }
    }

    /// From when on every step is looked at.
    pub fn closely_from(&self) -> Mono {
        Mono(self.failed.0.saturating_sub(CLOSELY.as_nanos() as u64))
    }

    /// Something happened.
    pub fn note(&mut self, now: Mono, line: impl FnOnce() -> String) {
        if now + WRITTEN < self.failed {
            return;
        }
        let line = format!("{now:?} {}", line());
        let (lines, most) =
            if speaks(&line, &self.words) { (&mut self.kept, KEPT_MAX) } else { (&mut self.recent, RECENT_MAX) };
        if lines.len() == most {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All of those that the failure spoke of, or speaks of now.
    pub fn lines(&self, words: &[String]) -> Vec<String> {
        let recent = self.recent.iter().filter(|line| speaks(line, words));
        self.kept.iter().chain(recent).cloned().collect()
    }
}

fn speaks(line: &str, words: &[String]) -> bool {
    words.iter().any(|word| line.contains(word))
}
