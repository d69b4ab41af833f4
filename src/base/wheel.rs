//! A hierarchical timer wheel: setting and cancelling cost O(1), whatever the number of timers.
//!
//! Each front door (`Ua`, calls, `Acd`, `Plane`) keeps one. Timers fire at the first step at or after their deadline,
//! in order of deadline and, for equal deadlines, in the order in which they were set. A cancelled or fired [`TimerId`]
//! is dead for good: the slot's next tenant has another generation.

use super::time::Mono;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Seven levels of 64 slots: with steps of 1 ms the wheel spans 139 years from the zero of the clock.
const LEVELS: usize = 7;
const SLOTS: usize = 64;
const NONE: u32 = u32::MAX;

/// Names one timer from [`Wheel::set`] until it fires or is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Entry<K> {
    generation: u32,
    /// Absolute step at which it fires.
    due: u64,
    /// Order of setting, the tie-break within a step.
    order: u64,
    at: Mono,
    list: u32,
    previous: u32,
    next: u32,
    key: Option<K>,
}

/// The wheel. `K` says what to do when a timer fires.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    from = "Kept<K>",
    into = "Kept<K>",
    bound(serialize = "K: Clone + Serialize", deserialize = "K: Deserialize<'de>")
)]
pub struct Wheel<K> {
    step: Duration,
    /// The next step to be looked at; all earlier ones have fired.
    now: u64,
    order: u64,
    entries: Vec<Entry<K>>,
    free: Vec<u32>,
    heads: [u32; LEVELS * SLOTS],
    /// One bit a slot: which lists of a level hold something.
    occupied: [u64; LEVELS],
    live: usize,
    /// Kept empty between looks, so that a look allocates nothing.
    fired: Vec<(u64, Mono, u64, u32)>,
}

/// A wheel as plain data: the lists follow from what is due when.
#[derive(Serialize, Deserialize)]
struct Kept<K> {
    step: Duration,
    now: u64,
    order: u64,
    entries: Vec<KeptEntry<K>>,
    free: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct KeptEntry<K> {
    generation: u32,
    due: u64,
    order: u64,
    at: Mono,
    key: Option<K>,
}

impl<K> From<Wheel<K>> for Kept<K> {
    fn from(wheel: Wheel<K>) -> Kept<K> {
        let kept = |Entry { generation, due, order, at, key, .. }| KeptEntry { generation, due, order, at, key };
        let Wheel { step, now, order, entries, free, .. } = wheel;
        Kept { step, now, order, entries: entries.into_iter().map(kept).collect(), free }
    }
}

impl<K> From<Kept<K>> for Wheel<K> {
    fn from(kept: Kept<K>) -> Wheel<K> {
        let unlinked = |KeptEntry { generation, due, order, at, key }| Entry {
            generation,
            due,
            order,
            at,
            list: NONE,
            previous: NONE,
            next: NONE,
            key,
        };
        let Kept { step, now, order, entries, free } = kept;
        let entries: Vec<_> = entries.into_iter().map(unlinked).collect();
        let set: Vec<u32> = (0u32..).zip(&entries).filter(|(_, entry)| entry.key.is_some()).map(|(at, _)| at).collect();
        let mut wheel = Wheel { now, order, entries, free, live: set.len(), ..Wheel::new(step) };
        set.into_iter().for_each(|slot| wheel.link(slot));
        wheel
    }
}

impl<K> Wheel<K> {
    /// A wheel that rounds deadlines up to multiples of `step`.
    pub fn new(step: Duration) -> Self {
        assert!(!step.is_zero(), "a wheel needs a step");
        Wheel {
            step,
            now: 0,
            order: 0,
            entries: Vec::new(),
            free: Vec::new(),
            heads: [NONE; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            live: 0,
            fired: Vec::new(),
        }
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Sets a timer for `at`; a deadline already past fires at the next [`Wheel::expire`].
    pub fn set(&mut self, at: Mono, key: K) -> TimerId {
        let due = self.steps_up(at).max(self.now);
        self.order += 1;
        let order = self.order;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.entries.len()).expect("fewer than 2^32 timers");
                self.entries.push(Entry {
                    generation: 0,
                    due,
                    order,
                    at,
                    list: NONE,
                    previous: NONE,
                    next: NONE,
                    key: None,
                });
                slot
            }
        };
        let entry = &mut self.entries[slot as usize];
        entry.due = due;
        entry.order = order;
        entry.at = at;
        entry.key = Some(key);
        let generation = entry.generation;
        self.live += 1;
        self.link(slot);
        TimerId { slot, generation }
    }

    /// Stops a timer; returns its key unless it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        let entry = self.entries.get(id.slot as usize)?;
        if entry.generation != id.generation || entry.key.is_none() {
            return None;
        }
        self.unlink(id.slot);
        self.release(id.slot)
    }

    /// Sets a timer anew for its own moment, behind all that are set for it; `None` when it is dead.
    pub fn set_anew(&mut self, id: TimerId) -> Option<TimerId> {
        let at = self.entries.get(id.slot as usize)?.at;
        self.cancel(id).map(|key| self.set(at, key))
    }

    /// What is set, in the order in which it fires.
    pub fn in_order(&self) -> impl Iterator<Item = &K> {
        let mut set: Vec<&Entry<K>> = self.entries.iter().filter(|entry| entry.key.is_some()).collect();
        set.sort_unstable_by_key(|entry| (entry.due, entry.at, entry.order));
        set.into_iter().filter_map(|entry| entry.key.as_ref())
    }

    /// Appends to `due` the keys of all timers whose deadline is at or before `now`.
    pub fn expire(&mut self, now: Mono, due: &mut Vec<K>) {
        let last = now.0 / self.step_ns();
        let mut fired = std::mem::take(&mut self.fired);
        while self.now <= last {
            if self.live == fired.len() {
                self.now = last + 1;
                break;
            }
            self.cascade();
            self.drain_slot(&mut fired);
            self.now = self.next_interesting().min(last + 1);
        }
        fired.sort_unstable();
        for (_, _, _, slot) in fired.drain(..) {
            due.extend(self.release(slot));
        }
        self.fired = fired;
    }

    /// When [`Wheel::expire`] should be called next: no later than the earliest deadline rounded up to a step.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.live == 0 {
            return None;
        }
        let current = (self.now % SLOTS as u64) as u32;
        if self.occupied[0] >> current & 1 == 1 {
            return Some(Mono(self.now * self.step_ns()));
        }
        Some(Mono(self.next_interesting_from(self.now) * self.step_ns()))
    }

    fn step_ns(&self) -> u64 {
        u64::try_from(self.step.as_nanos()).unwrap_or(u64::MAX)
    }

    fn steps_up(&self, at: Mono) -> u64 {
        at.0.div_ceil(self.step_ns()).min((1 << (6 * LEVELS)) - 1)
    }

    /// The list in which a timer due at `due` waits, seen from the present step.
    fn list_of(&self, due: u64) -> usize {
        let mut level = 0;
        while level + 1 < LEVELS && (due ^ self.now) >> (6 * (level + 1)) != 0 {
            level += 1;
        }
        level * SLOTS + (due >> (6 * level) & (SLOTS as u64 - 1)) as usize
    }

    fn link(&mut self, slot: u32) {
        let list = self.list_of(self.entries[slot as usize].due);
        let head = self.heads[list];
        if head != NONE {
            self.entries[head as usize].previous = slot;
        }
        let entry = &mut self.entries[slot as usize];
        entry.list = list as u32;
        entry.previous = NONE;
        entry.next = head;
        self.heads[list] = slot;
        self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
    }

    fn unlink(&mut self, slot: u32) {
        let (list, previous, next) = {
            let entry = &self.entries[slot as usize];
            (entry.list as usize, entry.previous, entry.next)
        };
        match previous {
            NONE => self.heads[list] = next,
            previous => self.entries[previous as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if self.heads[list] == NONE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn release(&mut self, slot: u32) -> Option<K> {
        let entry = &mut self.entries[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let key = entry.key.take();
        self.free.push(slot);
        self.live -= 1;
        key
    }

    /// At the start of a higher level's slot, deals its timers out to the levels below.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            if self.now & ((1 << (6 * level)) - 1) != 0 {
                continue;
            }
            let list = level * SLOTS + (self.now >> (6 * level) & (SLOTS as u64 - 1)) as usize;
            let mut slot = std::mem::replace(&mut self.heads[list], NONE);
            self.occupied[level] &= !(1 << (list % SLOTS));
            while slot != NONE {
                let next = self.entries[slot as usize].next;
                self.link(slot);
                slot = next;
            }
        }
    }

    fn drain_slot(&mut self, fired: &mut Vec<(u64, Mono, u64, u32)>) {
        let list = (self.now % SLOTS as u64) as usize;
        let mut slot = std::mem::replace(&mut self.heads[list], NONE);
        self.occupied[0] &= !(1 << list);
        while slot != NONE {
            let entry = &self.entries[slot as usize];
            debug_assert_eq!(entry.due, self.now, "a timer sits in the slot of its step");
            fired.push((entry.due, entry.at, entry.order, slot));
            slot = entry.next;
        }
    }

    fn next_interesting(&self) -> u64 {
        self.next_interesting_from(self.now + 1)
    }

    /// The first step at or after `from` at which a slot must be fired or dealt out.
    fn next_interesting_from(&self, from: u64) -> u64 {
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            let shift = 6 * level;
            // The first slot boundary of this level at or after `from`.
            let first = from.div_ceil(1 << shift);
            let turned = self.occupied[level].rotate_right((first % SLOTS as u64) as u32);
            if turned != 0 {
                best = best.min((first + u64::from(turned.trailing_zeros())) << shift);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel() -> Wheel<u32> {
        Wheel::new(Duration::from_millis(1))
    }

    #[test]
    fn fires_in_order_at_or_after_the_deadline_and_never_early() {
        let mut wheel = wheel();
        let mut due = Vec::new();
        for (key, ms) in [(1, 500), (2, 5), (3, 70_000), (4, 5), (5, 0)] {
            wheel.set(Mono::from_ms(ms), key);
        }
        wheel.expire(Mono::from_ms(4), &mut due);
        assert_eq!(due, [5]);
        wheel.expire(Mono::from_ms(5), &mut due);
        assert_eq!(due, [5, 2, 4]);
        wheel.expire(Mono::from_ms(69_999), &mut due);
        assert_eq!(due, [5, 2, 4, 1]);
        wheel.expire(Mono::from_ms(70_000), &mut due);
        assert_eq!(due, [5, 2, 4, 1, 3]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_cancelled_timer_is_dead_and_its_successor_untouched() {
        let mut wheel = wheel();
        let first = wheel.set(Mono::from_ms(10), 1);
        assert_eq!(wheel.cancel(first), Some(1));
        let second = wheel.set(Mono::from_ms(10), 2);
        assert_eq!(wheel.cancel(first), None);
        let mut due = Vec::new();
        wheel.expire(Mono::from_ms(11), &mut due);
        assert_eq!((due, wheel.cancel(second)), (vec![2], None));
    }

    #[test]
    fn what_is_set_anew_keeps_its_moment_and_goes_behind_the_others_of_it() {
        let mut wheel = wheel();
        let first = wheel.set(Mono::from_ms(10), 1);
        wheel.set(Mono::from_ms(10), 2);
        wheel.set(Mono::from_ms(9), 3);
        let again = wheel.set_anew(first).unwrap();
        assert_eq!(wheel.in_order().copied().collect::<Vec<_>>(), [3, 2, 1]);
        let mut due = Vec::new();
        wheel.expire(Mono::from_ms(10), &mut due);
        assert_eq!((due, wheel.set_anew(first), wheel.set_anew(again)), (vec![3, 2, 1], None, None));
    }

    #[test]
    fn a_past_deadline_fires_at_the_next_look() {
        let mut wheel = wheel();
        let mut due = Vec::new();
        wheel.expire(Mono::from_ms(1_000), &mut due);
        wheel.set(Mono::from_ms(3), 9);
        wheel.expire(Mono::from_ms(1_001), &mut due);
        assert_eq!(due, [9]);
    }

    /// Against the plain model, a sorted list, over a million milliseconds of random setting, cancelling and looking.
    #[test]
    fn agrees_with_a_sorted_list() {
        let mut wheel = wheel();
        let mut model: Vec<(u64, u64, u32, TimerId)> = Vec::new();
        let mut mint = crate::base::Mint::new(0, [4, 2]);
        let mut now = 0u64;
        for key in 0..20_000u32 {
            let roll = mint.random();
            let delay = if roll.is_multiple_of(11) { roll >> 8 & 0x3_ffff_ffff } else { roll >> 8 & 0xffff };
            let at = Mono(now * 1_000_000 + delay * 1_000);
            model.push((at.0, u64::from(key), key, wheel.set(at, key)));
            if roll & 0x30 == 0 {
                let (.., gone, id) = model.swap_remove((mint.random() % model.len() as u64) as usize);
                assert_eq!(wheel.cancel(id), Some(gone));
            }
            if roll & 0x7 == 0 {
                now += mint.random() % 300;
                agree(&mut wheel, &mut model, now);
            }
        }
        now += 1 << 40;
        agree(&mut wheel, &mut model, now);
        assert!(wheel.is_empty() && model.is_empty());
    }

    fn agree(wheel: &mut Wheel<u32>, model: &mut Vec<(u64, u64, u32, TimerId)>, now_ms: u64) {
        let deadline = model.iter().map(|(at, ..)| at.div_ceil(1_000_000)).min();
        assert!(wheel.next_deadline().map(Mono::ms) <= deadline, "never told to look too late");
        let mut due = Vec::new();
        wheel.expire(Mono::from_ms(now_ms), &mut due);
        model.sort_by_key(|(at, order, ..)| (at.div_ceil(1_000_000), *at, *order));
        let split = model.iter().position(|(at, ..)| at.div_ceil(1_000_000) > now_ms).unwrap_or(model.len());
        let expected: Vec<u32> = model.drain(..split).map(|(_, _, key, _)| key).collect();
        assert_eq!(due, expected);
    }
}
