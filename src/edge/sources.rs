//! What each strange source has done lately: its rate and its guilt, in a table whose size never changes.
//!
//! Sets of [`WAYS`] slots, chosen by a keyed hash. When a set is full the slot of the quietest source goes: one that has
//! rested starts anew exactly as if it were still remembered, and a noisy one stays. Who has more addresses than there
//! are slots is bounded by the rate of all strangers together.

use super::bucket::{Bucket, Rate};
use crate::base::Mono;

/// Sources remembered at most.
pub const SOURCES_MAX: usize = SETS * WAYS;
const SETS: usize = 16_384;
const WAYS: usize = 4;

/// Guilt is counted in thousandths of a point; each millisecond takes one away.
const POINT: u32 = 1_000;

/// 24 bytes. A tag of zero is a free slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u32,
    guilt: u32,
    bucket: Bucket,
}

#[derive(Debug)]
pub(super) struct Sources {
    slots: Vec<Slot>,
    rate: Rate,
}

impl Sources {
    pub(super) fn new(rate: Rate) -> Sources {
        Sources { slots: vec![Slot::default(); SOURCES_MAX], rate }
    }

    /// So many packets more from the source with this hash; false when it sends too many, which is so many times the rate
    /// of others.
    pub(super) fn packets(&mut self, now: Mono, hash: u64, times: u32, packets: u32) -> bool {
        let rate = self.rate.times(times);
        self.slot(now, hash).bucket.take_many(now, rate, packets)
    }

    /// So much more guilt; returns all that it has. Only a source whose packet was counted has any.
    pub(super) fn offend(&mut self, hash: u64, points: u32) -> u32 {
        let (at, tag) = place(hash);
        let slot = self.slots[at..at + WAYS].iter_mut().find(|slot| slot.tag == tag);
        slot.map_or(0, |slot| {
            slot.guilt = slot.guilt.saturating_add(points.saturating_mul(POINT));
            slot.guilt / POINT
        })
    }

    /// Forgets its guilt.
    pub(super) fn pardon(&mut self, hash: u64) {
        let (at, tag) = place(hash);
        if let Some(slot) = self.slots[at..at + WAYS].iter_mut().find(|slot| slot.tag == tag) {
            slot.guilt = 0;
        }
    }

    fn slot(&mut self, now: Mono, hash: u64) -> &mut Slot {
        let (at, tag) = place(hash);
        let rate = self.rate;
        let set = &mut self.slots[at..at + WAYS];
        let quiet = |slot: &Slot| (slot.tag != 0, slot.guilt, !slot.bucket.is_full(now, rate), slot.bucket.at_ms());
        let way = set.iter().position(|slot| slot.tag == tag).unwrap_or_else(|| {
            let quietest = (0..WAYS).min_by_key(|&way| quiet(&set[way])).unwrap_or(0);
            set[quietest] = Slot { tag, ..Slot::default() };
            quietest
        });
        let slot = &mut set[way];
        let rested = now.ms().saturating_sub(slot.bucket.at_ms());
        slot.guilt = slot.guilt.saturating_sub(u32::try_from(rested).unwrap_or(u32::MAX));
        slot
    }
}

/// Where the set begins, and what tells the sources of one set apart.
fn place(hash: u64) -> (usize, u32) {
    ((hash as usize % SETS) * WAYS, (hash >> 32) as u32 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 10, burst: 2 };

    #[test]
    fn the_table_is_as_large_as_its_documentation_says() {
        assert_eq!(size_of::<Slot>(), 24);
        assert_eq!(SOURCES_MAX * size_of::<Slot>(), 3 << 19);
    }

    #[test]
    fn each_source_has_its_own_rate_and_guilt_goes_with_rest() {
        let mut sources = Sources::new(RATE);
        let at = Mono::from_ms;
        assert!(sources.packets(at(0), 7, 1, 1) && sources.packets(at(0), 7, 1, 1));
        assert!(!sources.packets(at(0), 7, 1, 1));
        assert!(sources.packets(at(0), 7 | 1 << 40, 1, 1), "another one of the same set");
        assert_eq!(sources.offend(7, 30), 30);
        assert_eq!(sources.offend(7, 5), 35);
        assert_eq!(sources.offend(9, 5), 0, "never heard of");
        assert!(sources.packets(at(10_000), 7, 1, 1));
        assert_eq!(sources.offend(7, 0), 25);
        sources.pardon(7);
        assert_eq!(sources.offend(7, 1), 1);
    }

    #[test]
    fn a_flood_of_addresses_pushes_out_the_quiet_and_not_the_noisy() {
        let mut sources = Sources::new(RATE);
        let noisy = 5;
        assert!(sources.packets(Mono(0), noisy, 1, 1));
        sources.offend(noisy, 50);
        for other in 1..=1_000u64 {
            assert!(sources.packets(Mono::from_ms(1), 5 | other << 40, 1, 1));
        }
        assert_eq!(sources.offend(noisy, 0), 50);
        assert_eq!(sources.slots.len(), SOURCES_MAX);
    }
}
