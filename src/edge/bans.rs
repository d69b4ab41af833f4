//! Sources that are not heard for a while; each time longer. They stay remembered for a day after their ban, so that who
//! comes back is banned for longer.

use super::event::Ban;
use super::source::Source;
use crate::base::{Mono, Now, Wall};
use core::time::Duration;
use std::collections::BTreeMap;

/// Bans remembered at most; beyond, the one that ends first is forgotten.
pub const BANS_MAX: usize = 8_192;
/// The first ban; each further one is four times as long.
const BAN: Duration = Duration::from_secs(60);
const BAN_MAX: Duration = Duration::from_secs(86_400);
/// How long a ban that is over makes the next one longer.
const REMEMBERED: Duration = Duration::from_secs(86_400);

#[derive(Clone, Copy, Debug)]
struct Entry {
    since: Wall,
    until: Mono,
    until_wall: Wall,
    times: u32,
}

#[derive(Debug, Default)]
pub(super) struct Bans(BTreeMap<Source, Entry>);

impl Bans {
    pub(super) fn holds(&self, now: Mono, source: Source) -> bool {
        self.0.get(&source).is_some_and(|entry| now < entry.until)
    }

    /// Bans a source that is not.
    pub(super) fn add(&mut self, now: Now, source: Source) {
        if !self.0.contains_key(&source) {
            self.make_room(now.mono);
        }
        let before =
            self.0.get(&source).filter(|entry| now.mono < entry.until + REMEMBERED).map_or(0, |entry| entry.times);
        let long = BAN.saturating_mul(1 << (2 * before.min(8))).min(BAN_MAX);
        let (until, until_wall) = (now.mono + long, now.wall + long);
        self.0.insert(source, Entry { since: now.wall, until, until_wall, times: before + 1 });
    }

    /// Forgets a ban; false when there was none that holds.
    pub(super) fn lift(&mut self, now: Mono, source: Source) -> bool {
        self.0.remove(&source).is_some_and(|entry| now < entry.until)
    }

    /// All that hold, in order of their sources.
    pub(super) fn standing(&self, now: Mono) -> impl Iterator<Item = Ban> + '_ {
        let hold = self.0.iter().filter(move |(_, entry)| now < entry.until);
        hold.map(|(source, entry)| Ban {
            source: *source,
            since: entry.since,
            until: entry.until_wall,
            times: entry.times,
        })
    }

    fn make_room(&mut self, now: Mono) {
        if self.0.len() < BANS_MAX {
            return;
        }
        self.0.retain(|_, entry| now < entry.until + REMEMBERED);
        if self.0.len() >= BANS_MAX {
            let first = self.0.iter().min_by_key(|(_, entry)| entry.until).map(|(source, _)| *source);
            first.map(|source| self.0.remove(&source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Now {
        Now { mono: Mono::from_ms(s * 1_000), wall: Wall(1_000_000 + s as i64 * 1_000) }
    }

    #[test]
    fn each_ban_is_four_times_the_last_until_a_day() {
        let (mut bans, source) = (Bans::default(), "192.0.2.1".parse::<Source>().unwrap());
        let mut start = 0;
        for long in [60, 240, 960, 3_840, 15_360, 61_440, 86_400, 86_400] {
            bans.add(at(start), source);
            assert!(
                bans.holds(at(start + long - 1).mono, source) && !bans.holds(at(start + long).mono, source),
                "{long}"
            );
            start += long;
        }
        bans.add(at(start), source);
        let ban = bans.standing(at(start).mono).next().unwrap();
        assert_eq!((ban.times, ban.since, ban.until), (9, at(start).wall, at(start + 86_400).wall));
        start += 2 * 86_400;
        bans.add(at(start), source);
        assert!(!bans.holds(at(start + 60).mono, source), "a day later all is forgotten");
        assert!(bans.lift(at(start).mono, source) && !bans.lift(at(start).mono, source));
        assert_eq!(bans.standing(at(start).mono).count(), 0);
    }

    #[test]
    fn the_list_is_bounded_and_the_longest_stay() {
        let mut bans = Bans::default();
        let long = "198.51.100.1".parse::<Source>().unwrap();
        bans.add(at(0), long);
        bans.add(at(61), long);
        for number in 0..2 * BANS_MAX as u32 {
            bans.add(at(62), Source::of(std::net::Ipv4Addr::from(number).into()));
        }
        assert_eq!(bans.0.len(), BANS_MAX);
        assert!(bans.holds(at(200).mono, long));
    }
}
