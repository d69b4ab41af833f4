//! Whether a trunk is up: by what OPTIONS and calls tell, with hysteresis, so that one lost datagram moves nothing.

use super::event::Watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Usable; so many failures in a row.
    Up { failures: u8 },
    /// Not usable; so many successes in a row.
    Down { successes: u8 },
}

impl Health {
    /// Innocent until proven otherwise: calls need not wait for the first OPTIONS.
    pub(super) const START: Health = Health::Up { failures: 0 };

    pub(super) const fn is_up(self) -> bool {
        matches!(self, Health::Up { .. })
    }

    /// What a success or a failure makes of it.
    pub(super) const fn after(self, good: bool, watch: &Watch) -> Health {
        match (self, good) {
            (Health::Up { .. }, true) => Health::Up { failures: 0 },
            (Health::Up { failures }, false) if failures + 1 < watch.down_after => {
                Health::Up { failures: failures + 1 }
            }
            (Health::Up { .. } | Health::Down { .. }, false) => Health::Down { successes: 0 },
            (Health::Down { successes }, true) if successes + 1 < watch.up_after => {
                Health::Down { successes: successes + 1 }
            }
            (Health::Down { .. }, true) => Health::Up { failures: 0 },
        }
    }
}

/// Whether a final answer to OPTIONS, whatever it says of OPTIONS itself, means that the trunk works. 408 stands for
/// none at all.
pub(super) const fn is_alive(status: u16) -> bool {
    !matches!(status, 408 | 500 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::Health::{Down, Up};
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_whole_table() {
        let watch = Watch { every: Duration::from_secs(30), down_after: 3, up_after: 2 };
        for (before, good, after) in [
            (Up { failures: 0 }, true, Up { failures: 0 }),
            (Up { failures: 0 }, false, Up { failures: 1 }),
            (Up { failures: 1 }, true, Up { failures: 0 }),
            (Up { failures: 1 }, false, Up { failures: 2 }),
            (Up { failures: 2 }, true, Up { failures: 0 }),
            (Up { failures: 2 }, false, Down { successes: 0 }),
            (Down { successes: 0 }, true, Down { successes: 1 }),
            (Down { successes: 0 }, false, Down { successes: 0 }),
            (Down { successes: 1 }, true, Up { failures: 0 }),
            (Down { successes: 1 }, false, Down { successes: 0 }),
        ] {
            assert_eq!(before.after(good, &watch), after, "{before:?} {good}");
        }
        let quick = Watch { down_after: 1, up_after: 1, ..watch };
        assert_eq!(Health::START.after(false, &quick), Down { successes: 0 });
        assert_eq!(Down { successes: 0 }.after(true, &quick), Up { failures: 0 });
    }

    #[test]
    fn who_answers_at_all_is_alive_unless_out_of_order() {
        for (status, alive) in
            [(200, true), (403, true), (404, true), (405, true), (501, true), (503, false), (408, false)]
        {
            assert_eq!(is_alive(status), alive, "{status}");
        }
    }
}
