//! To whom citizens are transferred: the directory of targets, as configured.
//!
//! Targets are found by their exact name or key, never by a part of it. Owns the question whether a target may be asked
//! now. Never dials.

use crate::base::fact::TargetKind;
use crate::base::number::Number;
use crate::base::{SiteId, Wall};
use std::time::Duration;

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// For agents of this site.
    pub site: SiteId,
    /// By which it is asked for; unique within the site.
    pub name: Box<str>,
    /// As agents read it.
    pub title: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// Whom to dial, in this order: the next where the one before came to nothing. At least one; each is named by a rule of
    /// the allow-list.
    pub numbers: Vec<Number>,
    /// What an agent presses to ask for it: `*` and one to three digits.
    pub key: Option<Box<str>>,
    /// How long each number may ring, where that is less than its trunk allows.
    pub ring_max: Option<Duration>,
    /// When it is there.
    pub hours: Hours,
}

/// When a target may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// From this moment on.
    pub from: Option<Wall>,
    /// Until before this moment.
    pub until: Option<Wall>,
    /// On these weekdays and in these minutes of the day, by the site's clock; always when empty.
    pub windows: Vec<Window>,
    /// By how many seconds the site's clock is ahead of UTC.
    pub utc_offset_s: i32,
}

/// A part of some weekdays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 is Monday, bit 6 Sunday.
    pub weekdays: u8,
    /// First minute of the day (0–1439).
    pub from_min: u16,
    /// First minute beyond it (1–1440); more than `from_min`.
    pub until_min: u16,
}

/// Why a target may not be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// Its time has not begun.
    NotYet,
    /// Its time is over.
    Expired,
    /// Outside of its hours.
    Closed,
}

const DAY_S: i64 = 86_400;
/// 1970-01-01 was a Thursday.
const EPOCH_WEEKDAY: i64 = 3;

impl Hours {
    /// Whether it is there at this moment.
    pub fn open(&self, now: Wall) -> Result<(), Shut> {
        if self.from.is_some_and(|from| now < from) {
            return Err(Shut::NotYet);
        }
        if self.until.is_some_and(|until| now >= until) {
            return Err(Shut::Expired);
        }
        let local_s = now.0.div_euclid(1_000) + i64::from(self.utc_offset_s);
        let weekday = (local_s.div_euclid(DAY_S) + EPOCH_WEEKDAY).rem_euclid(7);
        let minute = (local_s.rem_euclid(DAY_S) / 60) as u16;
        let holds = |it: &Window| it.weekdays >> weekday & 1 == 1 && (it.from_min..it.until_min).contains(&minute);
        if self.windows.is_empty() || self.windows.iter().any(holds) { Ok(()) } else { Err(Shut::Closed) }
    }
}

/// All targets of all sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// In order of sites and names.
    pub list: Vec<Target>,
}

impl Targets {
    /// Those of a site.
    pub fn of(&self, site: SiteId) -> impl Iterator<Item = &Target> {
        self.list.iter().filter(move |target| target.site == site)
    }

    /// The one of this name, letter by letter.
    pub fn named(&self, site: SiteId, name: &str) -> Option<&Target> {
        self.of(site).find(|target| *target.name == *name)
    }

    /// The one asked for by this key, digit by digit.
    pub fn of_key(&self, site: SiteId, key: &str) -> Option<&Target> {
        self.of(site).find(|target| target.key.as_deref() == Some(key))
    }

    /// Whether more digits behind these may make a key.
    pub fn may_become_key(&self, site: SiteId, typed: &str) -> bool {
        self.of(site).any(|it| it.key.as_deref().is_some_and(|key| key.len() > typed.len() && key.starts_with(typed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23, a Monday, at midnight in China.
    const MONDAY: i64 = 1_795_363_200_000;
    const CHINA_S: i32 = 8 * 3_600;

    fn at(day: i64, hour: i64, minute: i64) -> Wall {
        Wall(MONDAY + ((day * 24 + hour) * 60 + minute) * 60_000)
    }

    #[test]
    fn a_target_is_there_in_its_hours_and_between_its_dates() {
        let office = Window { weekdays: 0b1_1111, from_min: 8 * 60, until_min: 18 * 60 };
        let hours =
            Hours { from: Some(at(0, 9, 0)), until: Some(at(8, 0, 0)), windows: vec![office], utc_offset_s: CHINA_S };
        for (day, hour, minute, expected) in [
            (0, 8, 59, Err(Shut::NotYet)),
            (0, 9, 0, Ok(())),
            (0, 17, 59, Ok(())),
            (0, 18, 0, Err(Shut::Closed)),
            (1, 7, 59, Err(Shut::Closed)),
            (1, 8, 0, Ok(())),
            (4, 12, 0, Ok(())),
            (5, 12, 0, Err(Shut::Closed)),
            (6, 12, 0, Err(Shut::Closed)),
            (7, 12, 0, Ok(())),
            (8, 12, 0, Err(Shut::Expired)),
        ] {
            assert_eq!(hours.open(at(day, hour, minute)), expected, "day {day}, {hour}:{minute:02}");
        }
        assert_eq!(Hours::default().open(at(5, 3, 0)), Ok(()));
    }

    #[test]
    fn names_and_keys_are_met_exactly() {
        let target = |name: &str, key: Option<&str>| Target {
            site: SiteId(0),
            name: name.into(),
            title: name.into(),
            kind: TargetKind::Emergency,
            numbers: vec![Number::parse("110", "").unwrap()],
            key: key.map(Into::into),
            ring_max: None,
            hours: Hours::default(),
        };
        let targets =
            Targets { list: vec![target("110", Some("*1")), target("water", Some("*21")), target("gas", None)] };
        let site = SiteId(0);
        for name in ["1381101200", "400119", "11", "1100", "wat", "WATER", ""] {
            assert_eq!(targets.named(site, name), None, "{name}");
        }
        assert!(targets.named(site, "110").is_some() && targets.named(SiteId(1), "110").is_none());
        for (key, found) in [("*1", true), ("*2", false), ("*21", true), ("*211", false), ("*", false), ("1", false)] {
            assert_eq!(targets.of_key(site, key).is_some(), found, "{key}");
        }
        for (typed, may) in [("*", true), ("*1", false), ("*2", true), ("*21", false), ("*3", false)] {
            assert_eq!(targets.may_become_key(site, typed), may, "{typed}");
        }
    }
}
