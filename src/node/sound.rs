//! How legs sounded that have closed, and how long callers waited, counted by classes: what the histograms of `/metrics` are
//! made of.
//!
//! All values are whole millionths of their unit. Reads the counters of legs; measures nothing.

use crate::media::event::Counters;
use serde::Serialize;
use utoipa::ToSchema;

/// Classes with an upper bound; one more takes what is beyond.
pub const BOUNDS: usize = 6;

/// Upper bounds of mean opinion scores: R = 50, 60, 70, 80, 90 (ITU-T G.107 Annex B), and all there is.
pub const MOS: [u64; BOUNDS] = [2_580_000, 3_100_000, 3_600_000, 4_030_000, 4_340_000, 4_500_000];
/// Of the part of packets that was lost.
pub const LOSS: [u64; BOUNDS] = [0, 5_000, 10_000, 20_000, 50_000, 100_000];
/// Of interarrival jitter, in seconds.
pub const JITTER: [u64; BOUNDS] = [2_000, 5_000, 10_000, 20_000, 50_000, 100_000];
/// Of round trips, in seconds.
pub const ROUND_TRIP: [u64; BOUNDS] = [20_000, 50_000, 100_000, 200_000, 400_000, 800_000];

/// Of waits in a queue, in seconds: gone at once, the province's 15 s, and the usual service levels.
pub const WAIT: [u64; BOUNDS] = [5_000_000, 15_000_000, 20_000_000, 30_000_000, 60_000_000, 300_000_000];

/// How often values fell into which class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Histogram {
    /// In each class, those below not included.
    pub classes: [u64; BOUNDS + 1],
    /// Of all values, in millionths.
    pub sum: u64,
}

/// One direction of legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Way {
    /// Mean opinion scores.
    pub mos: Histogram,
    /// Lost parts.
    pub loss: Histogram,
    /// Jitter.
    pub jitter: Histogram,
}

/// All legs that have closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sound {
    /// What came.
    pub received: Way,
    /// What was sent, as far as other sides reported it.
    pub sent: Way,
    /// There and back, where RTCP told it.
    pub round_trip: Histogram,
}

impl Histogram {
    pub(super) fn count(&mut self, bounds: &[u64; BOUNDS], value: u64) {
        let class = bounds.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS);
        self.classes[class] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    fn add(&mut self, other: &Histogram) {
        self.classes.iter_mut().zip(other.classes).for_each(|(ours, theirs)| *ours += theirs);
        self.sum = self.sum.saturating_add(other.sum);
    }
}

impl Way {
    /// `mos` in hundredths, `jitter_us` in microseconds, `lost` of `of` packets.
    fn count(&mut self, mos: u16, (lost, of): (u64, u64), jitter_us: u32) {
        self.mos.count(&MOS, u64::from(mos) * 10_000);
        self.loss.count(&LOSS, lost.saturating_mul(1_000_000) / of.max(1));
        self.jitter.count(&JITTER, u64::from(jitter_us));
    }

    fn add(&mut self, other: &Way) {
        self.mos.add(&other.mos);
        self.loss.add(&other.loss);
        self.jitter.add(&other.jitter);
    }
}

impl Sound {
    /// A leg has closed. A direction of which nothing is known counts nowhere.
    pub fn count(&mut self, leg: &Counters) {
        if let Some(mos) = leg.mos_received {
            self.received.count(mos, (leg.lost, leg.lost + leg.received), leg.jitter_us);
        }
        if let Some(mos) = leg.mos_sent {
            self.sent.count(mos, (leg.far_lost, leg.sent), leg.far_jitter_us);
        }
        leg.round_trip_us.iter().for_each(|trip| self.round_trip.count(&ROUND_TRIP, u64::from(*trip)));
    }

    /// Those of another thread, too.
    pub fn add(&mut self, other: &Sound) {
        self.received.add(&other.received);
        self.sent.add(&other.sent);
        self.round_trip.add(&other.round_trip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_leg_counts_once_a_direction_that_is_known() {
        let good = Counters {
            received: 990,
            lost: 10,
            jitter_us: 2_001,
            mos_received: Some(433),
            round_trip_us: Some(20_000),
            ..Counters::default()
        };
        let both = Counters { sent: 100, far_lost: 50, far_jitter_us: 200_000, mos_sent: Some(110), ..good };
        let mut sound = Sound::default();
        sound.count(&good);
        let mut other = Sound::default();
        other.count(&both);
        other.count(&Counters { sent: 100, ..Counters::default() });
        sound.add(&other);
        assert_eq!(sound.received.mos, Histogram { classes: [0, 0, 0, 0, 2, 0, 0], sum: 8_660_000 });
        assert_eq!(sound.received.loss, Histogram { classes: [0, 0, 2, 0, 0, 0, 0], sum: 20_000 });
        assert_eq!(sound.received.jitter.classes, [0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(sound.sent.mos, Histogram { classes: [1, 0, 0, 0, 0, 0, 0], sum: 1_100_000 });
        assert_eq!((sound.sent.loss.classes[6], sound.sent.jitter.classes[6]), (1, 1));
        assert_eq!(sound.round_trip, Histogram { classes: [2, 0, 0, 0, 0, 0, 0], sum: 40_000 });
    }
}
