//! Our registration at one trunk (RFC 3261 §10.2): when to ask, when to ask again, and until when it is good.
//!
//! Owns the times alone; the request is written by the user agent. What fails is tried again after a pause that doubles
//! and is spread (RFC 5626 §4.5), so that a registrar that comes back is not met by everybody at once.

use crate::base::Mono;
use crate::base::map::keyed_hash;
use std::time::Duration;

/// First pause after a failure.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// Longest pause after failures.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(300);
/// An answer that is not there by then will not come: 64×T1 for each of the three requests that digest may need.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(100);
/// A registration is renewed when this part of it is left.
const LEFT: u32 = 5;

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// The next REGISTER goes out then.
    Due(Mono),
    /// REGISTER `number` is out; given up then.
    Asking { number: u32, until: Mono },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Registration {
    pub(super) stand: Stand,
    /// What we ask for, in seconds; the registrar may want more (423).
    pub(super) wanted_s: u32,
    /// Number of the last REGISTER.
    number: u32,
    failures: u32,
    pub(super) good_until: Option<Mono>,
}

/// What an answer has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was not awaited.
    Stale,
    /// Registered, and was so before.
    Renewed,
    /// Registered, and was not before.
    Gained,
    /// Not now; `told` when it is the first failure in a row.
    Failed { told: bool },
}

impl Registration {
    /// Due at once.
    pub(super) fn new(wanted: Duration) -> Registration {
        let wanted_s = u32::try_from(wanted.as_secs()).unwrap_or(u32::MAX);
        Registration { stand: Stand::Due(Mono(0)), wanted_s, number: 0, failures: 0, good_until: None }
    }

    /// Due at once; an answer to what an earlier one asked is none to this one.
    pub(super) fn after(wanted: Duration, earlier: Option<Registration>) -> Registration {
        let number = earlier.map_or(0, |it| it.number);
        Registration { number, ..Registration::new(wanted) }
    }

    /// REGISTER goes out now: its number.
    pub(super) fn ask(&mut self, now: Mono) -> u32 {
        self.number += 1;
        self.stand = Stand::Asking { number: self.number, until: now + ANSWER_MAX };
        self.number
    }

    pub(super) fn next_deadline(&self) -> Mono {
        let stand = match self.stand {
            Stand::Due(at) => at,
            Stand::Asking { until, .. } => until,
        };
        self.good_until.map_or(stand, |good| good.min(stand))
    }

    /// The final answer to REGISTER `number`.
    pub(super) fn answered(
        &mut self,
        now: Mono,
        (number, status): (u32, u16),
        (granted_s, min_s): (Option<u32>, Option<u32>),
        spread: [u64; 2],
    ) -> Outcome {
        match self.stand {
            Stand::Asking { number: asked, .. } if asked == number => {}
            Stand::Asking { .. } | Stand::Due(_) => return Outcome::Stale,
        }
        match (status, min_s) {
            (200..=299, _) => {
                let granted = Duration::from_secs(granted_s.unwrap_or(self.wanted_s).max(1).into());
                let before = self.good_until.replace(now + granted);
                self.failures = 0;
                self.stand = Stand::Due(now + (granted - granted / LEFT));
                if before.is_some() { Outcome::Renewed } else { Outcome::Gained }
            }
            // Interval too brief: what they want, at once, but never in a circle.
            (423, Some(min)) if min > self.wanted_s => {
                self.wanted_s = min;
                self.stand = Stand::Due(now);
                Outcome::Failed { told: false }
            }
            _ => self.failed(now, status, spread),
        }
    }

    /// Nothing came.
    pub(super) fn failed(&mut self, now: Mono, status: u16, spread: [u64; 2]) -> Outcome {
        let doubled = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        // A wrong password does not become right by being repeated, and the account would be locked.
        let pause = if matches!(status, 401 | 403 | 407) { PAUSE_MAX } else { doubled };
        let roll = keyed_hash(spread, &self.number.to_be_bytes()) % 501;
        self.stand = Stand::Due(now + pause.mul_f64(0.5 + roll as f64 / 1_000.0));
        self.failures += 1;
        Outcome::Failed { told: self.failures == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 2] = [3, 4];

    fn asked(wanted: u64) -> (Registration, u32) {
        let mut it = Registration::new(Duration::from_secs(wanted));
        let number = it.ask(Mono::from_ms(0));
        (it, number)
    }

    #[test]
    fn it_is_renewed_before_it_runs_out() {
        let (mut it, number) = asked(600);
        let now = Mono::from_ms(1_000);
        assert_eq!(it.answered(now, (number, 200), (Some(100), None), SEED), Outcome::Gained);
        assert_eq!((it.stand, it.good_until), (Stand::Due(Mono::from_ms(81_000)), Some(Mono::from_ms(101_000))));
        let number = it.ask(Mono::from_ms(81_000));
        assert_eq!(it.answered(now, (number - 1, 200), (None, None), SEED), Outcome::Stale);
        assert_eq!(it.answered(now, (number, 200), (None, None), SEED), Outcome::Renewed);
        assert_eq!(it.good_until, Some(Mono::from_ms(601_000)), "what we asked for, when they do not say");
        assert_eq!(it.answered(now, (number, 200), (None, None), SEED), Outcome::Stale, "said twice");
    }

    #[test]
    fn pauses_grow_are_spread_and_end() {
        let (mut it, mut number) = asked(600);
        let mut pauses = Vec::new();
        for failure in 0..12 {
            let outcome = it.answered(Mono(0), (number, 503), (None, None), SEED);
            assert_eq!(outcome, Outcome::Failed { told: failure == 0 });
            let Stand::Due(at) = it.stand else { panic!("{it:?}") };
            let most = PAUSE_MIN.saturating_mul(1 << failure).min(PAUSE_MAX);
            let pause = at.since(Mono(0));
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
            pauses.push(pause);
            number = it.ask(Mono(0));
        }
        assert!(pauses[11] >= PAUSE_MAX / 2);
    }

    #[test]
    fn a_wrong_password_is_not_hammered_and_a_short_interval_is_mended_once() {
        let (mut it, number) = asked(60);
        assert_eq!(it.answered(Mono(0), (number, 423), (None, Some(300)), SEED), Outcome::Failed { told: false });
        assert_eq!((it.stand, it.wanted_s), (Stand::Due(Mono(0)), 300));
        let number = it.ask(Mono(0));
        assert_eq!(it.answered(Mono(0), (number, 423), (None, Some(300)), SEED), Outcome::Failed { told: true });
        let number = it.ask(Mono(0));
        it.answered(Mono(0), (number, 403), (None, None), SEED);
        let Stand::Due(at) = it.stand else { panic!("{it:?}") };
        assert!(at.since(Mono(0)) >= PAUSE_MAX / 2);
    }
}
