//! Hours of the week and dates in which something may be done or asked: targets of transfers, call-backs.
//!
//! Owns the reading of a clock on the wall by a site's time. Knows nothing of holidays.

use super::time::Wall;

/// When something is there that is not always there: a target, call-backs.
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

/// Why it is not there now.
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

    /// The first moment from `now` on, to the minute, at which it is there; `None` if there is none in the next week.
    pub fn opens(&self, now: Wall) -> Option<Wall> {
        let begun = self.from.map_or(now, |from| now.max(from));
        if self.open(begun).is_ok() {
            return Some(begun);
        }
        let offset_s = i64::from(self.utc_offset_s);
        let today = (begun.0.div_euclid(1_000) + offset_s).div_euclid(DAY_S);
        let starts = (today..=today + 7).flat_map(|day| {
            self.windows
                .iter()
                .map(move |window| Wall((day * DAY_S + i64::from(window.from_min) * 60 - offset_s) * 1_000))
        });
        starts.filter(|start| *start > begun && self.open(*start).is_ok()).min()
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
    fn something_is_there_in_its_hours_and_between_its_dates() {
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
    fn the_next_opening_is_found_over_nights_and_weekends() {
        let office = Window { weekdays: 0b1_1111, from_min: 8 * 60, until_min: 18 * 60 };
        let hours =
            Hours { windows: vec![office], utc_offset_s: CHINA_S, until: Some(at(8, 0, 0)), ..Hours::default() };
        for (now, opens) in [
            (at(0, 7, 0), Some(at(0, 8, 0))),
            (at(0, 12, 30), Some(at(0, 12, 30))),
            (at(0, 18, 0), Some(at(1, 8, 0))),
            (at(4, 19, 0), Some(at(7, 8, 0))),
            (at(7, 18, 0), None),
        ] {
            assert_eq!(hours.opens(now), opens, "{now:?}");
        }
        let later = Hours { from: Some(at(1, 12, 0)), ..hours };
        assert_eq!(later.opens(at(0, 12, 0)), Some(at(1, 12, 0)), "not before its first day");
    }
}
