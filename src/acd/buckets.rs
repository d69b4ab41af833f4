//! Callers by need, the lowest place of each need always at hand.
//!
//! Each bucket is a heap of four children a node in one piece of memory, and every caller knows where in it they stand:
//! coming in behind all others costs one comparison, leaving from anywhere some, and once a bucket has been as long as it
//! gets nothing is allocated. The order behind the first is worked out by those who ask for it.

use super::line::Place;
use super::skills::{Bits, Need, common};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

const NONE: u32 = u32::MAX;
/// Children of a node: the heap is half as deep as one of two, and those of one node lie beside each other.
const CHILDREN: usize = 4;

/// Callers by need. A caller stands in one bucket at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Buckets {
    by_need: Vec<Vec<(Place, u32)>>,
    /// By caller's slot: where in the bucket.
    at: Vec<u32>,
    /// By need: the first place and whose it is, so that buckets are compared without touching them.
    heads: Vec<(Place, u32)>,
    /// One row: the needs for which somebody is here.
    some: Bits,
}

impl Buckets {
    /// Nobody is here.
    pub(super) fn new(needs: usize) -> Buckets {
        Buckets {
            by_need: vec![Vec::new(); needs],
            at: Vec::new(),
            heads: vec![(Place::LAST, NONE); needs],
            some: Bits::new(1, needs),
        }
    }

    /// Puts a caller who is in no bucket into that of `need`.
    pub(super) fn insert(&mut self, need: Need, place: Place, slot: u32) {
        if self.at.len() <= slot as usize {
            self.at.resize(slot as usize + 1, NONE);
        }
        let bucket = &mut self.by_need[need];
        let last = bucket.len();
        bucket.push((place, slot));
        rise(bucket, &mut self.at, last);
        self.note(need);
    }

    /// Takes a caller out of the bucket of `need`, in which they stand.
    pub(super) fn remove(&mut self, need: Need, slot: u32) {
        let at = std::mem::replace(&mut self.at[slot as usize], NONE) as usize;
        let bucket = &mut self.by_need[need];
        debug_assert_eq!(bucket[at].1, slot, "a caller is where they are said to be");
        bucket.swap_remove(at);
        // The last of the bucket fills the place: it may belong above or below it.
        if at < bucket.len() && rise(bucket, &mut self.at, at) == at {
            sink(bucket, &mut self.at, at);
        }
        self.note(need);
    }

    /// The lowest place among those with one of these needs.
    #[inline]
    pub(super) fn first(&self, serves: &[u64]) -> Option<u32> {
        common(serves, self.some.row(0)).map(|need| self.heads[need]).min().map(|(_, slot)| slot)
    }

    /// Those who have `need`, in no order.
    pub(super) fn of(&self, need: Need) -> impl Iterator<Item = (Place, u32)> + '_ {
        self.by_need[need].iter().copied()
    }

    /// Those who have `need` and stand before `place`, in no order: only they, and who comes right behind them, are looked at.
    pub(super) fn before(&self, need: Need, place: Place) -> impl Iterator<Item = (Place, u32)> + '_ {
        let bucket = &self.by_need[need];
        let mut next: SmallVec<[usize; 64]> = (!bucket.is_empty()).then_some(0).into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                let at = next.pop()?;
                if bucket[at].0 < place {
                    let first = at * CHILDREN + 1;
                    next.extend(first..(first + CHILDREN).min(bucket.len()).max(first));
                    return Some(bucket[at]);
                }
            }
        })
    }

    /// Everybody with their need, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (Need, Place, u32)> + '_ {
        let of = |need: Need| self.of(need).map(move |(place, slot)| (need, place, slot));
        (0..self.by_need.len()).flat_map(of)
    }

    /// The needs for which somebody is here.
    pub(super) fn wanted(&self) -> &[u64] {
        self.some.row(0)
    }

    /// Panics unless order, places, heads and bits tell the same story.
    pub(super) fn check(&self) {
        for (need, bucket) in self.by_need.iter().enumerate() {
            for (at, &(place, slot)) in bucket.iter().enumerate() {
                assert_eq!(self.at[slot as usize] as usize, at, "where slot {slot} stands in bucket {need}");
                assert!(at == 0 || bucket[parent(at)].0 < place, "bucket {need} is in order");
            }
            assert_eq!(
                self.heads[need],
                bucket.first().copied().unwrap_or((Place::LAST, NONE)),
                "the head of bucket {need}"
            );
            let some = self.some.row(0)[need / 64] >> (need % 64) & 1 == 1;
            assert_eq!(some, !bucket.is_empty(), "the bit of bucket {need}");
        }
        let here = self.by_need.iter().map(Vec::len).sum::<usize>();
        assert_eq!(self.at.iter().filter(|at| **at != NONE).count(), here, "nobody else is said to be here");
    }

    fn note(&mut self, need: Need) {
        let head = self.by_need[need].first().copied();
        if head.is_some() != (self.heads[need].1 != NONE) {
            self.some.put(0, need, head.is_some());
        }
        self.heads[need] = head.unwrap_or((Place::LAST, NONE));
    }
}

/// The lowest of these places.
fn least_of(bucket: &[(Place, u32)], children: std::ops::Range<usize>) -> Option<usize> {
    let first = children.start;
    let (mut least, mut lowest) = (first, key(bucket.get(first)?.0));
    for (child, entry) in (first + 1..).zip(&bucket[first + 1..children.end]) {
        let own = key(entry.0);
        let lower = own < lowest;
        least = if lower { child } else { least };
        lowest = if lower { own } else { lowest };
    }
    Some(least)
}

fn parent(at: usize) -> usize {
    (at - 1) / CHILDREN
}

/// A place as one number: what is compared in no foreseeable order is compared without a branch.
fn key(place: Place) -> i128 {
    i128::from(place.key_ns) << 64 | i128::from(place.ticket)
}

/// Moves the entry at `at` up to where it belongs; returns where that is.
fn rise(bucket: &mut [(Place, u32)], places: &mut [u32], mut at: usize) -> usize {
    let entry = bucket[at];
    while at > 0 && key(entry.0) < key(bucket[parent(at)].0) {
        bucket[at] = bucket[parent(at)];
        places[bucket[at].1 as usize] = at as u32;
        at = parent(at);
    }
    bucket[at] = entry;
    places[entry.1 as usize] = at as u32;
    at
}

/// Moves the entry at `at` down to where it belongs.
fn sink(bucket: &mut [(Place, u32)], places: &mut [u32], mut at: usize) {
    let entry = bucket[at];
    loop {
        let first = at * CHILDREN + 1;
        let children = first..(first + CHILDREN).min(bucket.len());
        let Some(least) = least_of(bucket, children).filter(|&child| key(bucket[child].0) < key(entry.0)) else {
            break;
        };
        bucket[at] = bucket[least];
        places[bucket[at].1 as usize] = at as u32;
        at = least;
    }
    bucket[at] = entry;
    places[entry.1 as usize] = at as u32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mint;
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_ordered_maps() {
        let mut mint = Mint::new(0, [3, 8]);
        let (mut buckets, mut model) = (Buckets::new(70), vec![BTreeMap::new(); 70]);
        let mut here: Vec<(Need, Place, u32)> = Vec::new();
        let mut free: Vec<u32> = (0..300).collect();
        for ticket in 0..60_000u64 {
            let need = (mint.random() % 70) as Need;
            if mint.random() % 300 > here.len() as u64 {
                let slot = free.swap_remove((mint.random() % free.len() as u64) as usize);
                let place = Place { key_ns: (mint.random() % 1_000) as i64 - 500, ticket };
                buckets.insert(need, place, slot);
                model[need].insert(place, slot);
                here.push((need, place, slot));
            } else {
                let (need, place, slot) = here.swap_remove((mint.random() % here.len() as u64) as usize);
                buckets.remove(need, slot);
                assert_eq!(model[need].remove(&place), Some(slot));
                free.push(slot);
            }
            let serves = [mint.random(), mint.random() & 0x3f];
            let lowest = common(&serves, &[u64::MAX, 0x3f]).filter_map(|need| model[need].first_key_value()).min();
            let place = Place { key_ns: (mint.random() % 1_000) as i64 - 500, ticket };
            assert_eq!(buckets.before(need, place).count(), model[need].range(..place).count());
            assert_eq!(buckets.first(&serves), lowest.map(|(_, &slot)| slot));
            if ticket % 64 == 0 {
                buckets.check();
            }
        }
    }
}
