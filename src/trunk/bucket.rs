//! A token bucket: so many a second, a second's worth at once.
//!
//! Counts in whole nanotokens, so that no rounding gives or takes a call.

use crate::base::Mono;

/// One token in the bucket's own unit: at a rate of 1/s one nanosecond brings one.
const TOKEN: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_s: u64,
    level: u64,
    at: Mono,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_s: u32) -> Bucket {
        let per_s = u64::from(per_s);
        Bucket { per_s, level: per_s * TOKEN, at: Mono(0) }
    }

    /// Takes one token; false when there is none.
    pub(super) fn take(&mut self, now: Mono) -> bool {
        self.fill(now);
        let enough = self.level >= TOKEN;
        self.level = self.level.saturating_sub(if enough { TOKEN } else { 0 });
        enough
    }

    /// Takes one token, or what there is of it.
    pub(super) fn force(&mut self, now: Mono) {
        self.fill(now);
        self.level = self.level.saturating_sub(TOKEN);
    }

    fn fill(&mut self, now: Mono) {
        let passed = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_s)).min(self.per_s * TOKEN);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_its_calls_and_not_one_more() {
        let mut bucket = Bucket::new(3);
        let at = Mono::from_ms;
        let taken = |bucket: &mut Bucket, ms| (0..10).filter(|_| bucket.take(at(ms))).count();
        assert_eq!(taken(&mut bucket, 1_000), 3, "a second's worth at once");
        assert_eq!(taken(&mut bucket, 1_333), 0);
        assert_eq!(taken(&mut bucket, 1_334), 1);
        assert_eq!(taken(&mut bucket, 9_000), 3, "what was not used is lost");
        bucket.force(at(9_000));
        assert_eq!(taken(&mut bucket, 9_400), 1);
        assert_eq!(taken(&mut bucket, 8_000), 0, "time never runs back");
    }
}
