//! Whether anything is still heard of the other side.
//!
//! Told after [`QUIET_AFTER`] without RTP and RTCP and again after each further one; told once when packets come again.
//! Apart from it, and once each: that no RTP has come for [`MUTE_AFTER`], and that it comes again. Decides nothing about the
//! call.

use crate::base::Mono;
use std::time::Duration;

/// How long a leg may be silent before it is told, and between the tellings.
pub const QUIET_AFTER: Duration = Duration::from_secs(10);
/// How long no RTP may come from a leg before that is told.
pub const MUTE_AFTER: Duration = Duration::from_secs(3);

/// The watch over one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    heard: Mono,
    /// Tellings of the present silence.
    told: u32,
    /// When the last RTP came.
    sounded: Mono,
    /// That none comes has been told.
    mute: bool,
    /// Next look; `None` while the leg is held.
    look: Option<Mono>,
}

/// What a look has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Neither RTP nor RTCP for so long.
    pub quiet: Option<Duration>,
    /// No RTP for [`MUTE_AFTER`].
    pub mute: bool,
}

impl Watch {
    /// Nothing is expected yet.
    pub fn new(now: Mono) -> Watch {
        Watch { heard: now, told: 0, sounded: now, mute: false, look: None }
    }

    /// The other side was described anew: from now on packets are expected, or not while it is held.
    pub fn expect(&mut self, now: Mono, expected: bool) {
        (self.heard, self.told) = (now, 0);
        (self.sounded, self.mute) = (now, false);
        self.look = expected.then(|| now + MUTE_AFTER);
    }

    /// A packet came. True if the silence before it had been told.
    pub fn hear(&mut self, now: Mono) -> bool {
        self.heard = now;
        std::mem::take(&mut self.told) > 0
    }

    /// It was RTP. True if that none came had been told.
    pub fn sound(&mut self, now: Mono) -> bool {
        self.sounded = now;
        let mute = std::mem::take(&mut self.mute);
        if mute {
            self.look = self.look.map(|look| look.min(now + MUTE_AFTER));
        }
        mute
    }

    /// When to look next.
    pub fn deadline(&self) -> Option<Mono> {
        self.look
    }

    /// Looks; returns what is to be told now.
    pub fn look(&mut self, now: Mono) -> Seen {
        if self.look.is_none_or(|look| look > now) {
            return Seen::default();
        }
        let quiet_due = |told: u32| self.heard + QUIET_AFTER * (told + 1);
        let quiet = (quiet_due(self.told) <= now).then(|| now.since(self.heard));
        let told = self.told + u32::from(quiet.is_some());
        let mute = !self.mute && self.sounded + MUTE_AFTER <= now;
        let next = quiet_due(told);
        self.told = told;
        self.mute |= mute;
        self.look = Some(if self.mute { next } else { next.min(self.sounded + MUTE_AFTER) });
        Seen { quiet, mute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_ms(ms)
    }

    fn quiet(watch: &mut Watch, ms: u64) -> Option<Duration> {
        watch.look(at(ms)).quiet
    }

    #[test]
    fn tells_each_ten_seconds_of_silence_and_the_end_of_it() {
        let seconds = |count| Some(Duration::from_secs(count));
        let mut watch = Watch::new(at(0));
        assert_eq!((quiet(&mut watch, 99_999), watch.deadline()), (None, None));
        watch.expect(at(1_000), true);
        assert!(!watch.hear(at(4_000)));
        assert_eq!(quiet(&mut watch, 11_000), None);
        assert_eq!(watch.deadline(), Some(at(14_000)));
        assert_eq!(quiet(&mut watch, 14_000), seconds(10));
        assert_eq!(quiet(&mut watch, 23_999), None);
        assert_eq!(quiet(&mut watch, 24_000), seconds(20));
        assert!(watch.hear(at(25_000)));
        assert!(!watch.hear(at(25_020)));
        assert_eq!(quiet(&mut watch, 34_000), None);
        assert_eq!(watch.deadline(), Some(at(35_020)));
        watch.expect(at(30_000), false);
        assert_eq!(quiet(&mut watch, 90_000), None);
        watch.expect(at(90_000), true);
        assert_eq!(quiet(&mut watch, 100_000), seconds(10));
        watch.expect(at(105_000), true);
        assert_eq!(quiet(&mut watch, 114_999), None);
        assert_eq!(quiet(&mut watch, 115_000), seconds(10), "each description begins anew");
    }

    #[test]
    fn tells_once_of_three_seconds_without_sound_though_reports_come() {
        let mut watch = Watch::new(at(0));
        watch.expect(at(0), true);
        watch.hear(at(2_000));
        assert!(!watch.sound(at(2_000)));
        assert_eq!((watch.look(at(3_000)), watch.deadline()), (Seen::default(), Some(at(5_000))));
        watch.hear(at(4_900));
        assert_eq!(watch.look(at(5_000)), Seen { quiet: None, mute: true });
        assert_eq!((watch.look(at(14_899)), watch.deadline()), (Seen::default(), Some(at(14_900))));
        watch.hear(at(14_000));
        assert!(watch.sound(at(14_000)) && !watch.sound(at(14_020)));
        assert_eq!(watch.look(at(17_019)), Seen::default());
        assert_eq!(watch.look(at(17_020)), Seen { quiet: None, mute: true }, "the next one");
        watch.expect(at(18_000), false);
        assert_eq!(watch.look(at(90_000)), Seen::default(), "a held leg need not sound");
    }
}
