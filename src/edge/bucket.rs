//! A token bucket in whole thousandths: at `n` a second each millisecond brings `n` of them, so nothing is rounded.

use crate::base::Mono;

/// One token.
const TOKEN: u64 = 1_000;

/// So many a second, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second.
    pub per_s: u32,
    /// Tokens at once.
    pub burst: u32,
}

/// How full it is, and since when. A bucket never used is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Missing to full, in thousandths: a zeroed bucket is full.
    missing: u32,
    at_ms: u64,
}

impl Rate {
    /// The same for `count` that share it.
    pub(super) const fn times(self, count: u32) -> Rate {
        Rate { per_s: self.per_s.saturating_mul(count), burst: self.burst.saturating_mul(count) }
    }
}

impl Bucket {
    /// Takes one token; false when there is none.
    pub(super) fn take(&mut self, now: Mono, rate: Rate) -> bool {
        self.take_many(now, rate, 1)
    }

    /// Takes so many tokens, or none and false.
    pub(super) fn take_many(&mut self, now: Mono, rate: Rate, tokens: u32) -> bool {
        let (missing, wanted) = (self.missing_at(now, rate), u64::from(tokens) * TOKEN);
        let enough = missing + wanted <= u64::from(rate.burst) * TOKEN;
        let left = if enough { missing + wanted } else { missing };
        *self = Bucket { missing: u32::try_from(left).unwrap_or(u32::MAX), at_ms: now.ms() };
        enough
    }

    /// Whether it is full: its owner has been quiet.
    pub(super) fn is_full(&self, now: Mono, rate: Rate) -> bool {
        self.missing_at(now, rate) == 0
    }

    /// When it was used last.
    pub(super) const fn at_ms(&self) -> u64 {
        self.at_ms
    }

    fn missing_at(&self, now: Mono, rate: Rate) -> u64 {
        let passed = now.ms().saturating_sub(self.at_ms).saturating_mul(u64::from(rate.per_s));
        u64::from(self.missing).saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_full_again_after_rest() {
        let (mut bucket, rate) = (Bucket::default(), Rate { per_s: 10, burst: 3 });
        let mut taken = |ms| bucket.take(Mono::from_ms(ms), rate);
        assert_eq!([taken(5), taken(5), taken(5), taken(5)], [true, true, true, false]);
        assert_eq!([taken(104), taken(105), taken(106)], [false, true, false]);
        assert!(!bucket.is_full(Mono::from_ms(300), rate));
        assert!(bucket.is_full(Mono::from_ms(406), rate));
    }

    #[test]
    fn a_clock_that_stands_gives_nothing() {
        let (mut bucket, rate) = (Bucket::default(), Rate { per_s: 1, burst: 1 });
        assert!(bucket.take(Mono::from_ms(9), rate));
        assert!(!bucket.take(Mono::from_ms(3), rate), "earlier is as good as now");
    }
}
