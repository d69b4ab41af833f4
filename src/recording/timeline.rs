//! Places the packets of one channel on our clock.
//!
//! The first packet of an SSRC is placed by its arrival, further ones by their RTP time stamps, so that jitter moves no
//! sound. A time stamp that runs away from arrival, or a restarted sender, is anchored to arrival again; a slow drift
//! of the sender's clock is corrected in small steps. Positions are samples since the recording's start. Moves no
//! bytes and knows no payload. RFC 3550 §5.1, appendix A.1.

use super::{LATE_MAX, samples};
use std::time::Duration;

/// A time stamp further from arrival than this is a jump, not jitter.
pub const JUMP: Duration = Duration::from_millis(200);
/// A stream that stays late by more than [`JUMP`] for this long is not a stalled network that catches up: its time
/// stamps stood still while it paused.
const STALL_MAX: Duration = Duration::from_millis(500);
/// Drift is measured as the least delay over this much time, which jitter hardly touches.
const DRIFT_WINDOW: Duration = Duration::from_secs(1);
/// Drift from here on is corrected at once in a silent packet, where nobody hears it.
const DRIFT_SILENT: Duration = Duration::from_millis(5);
/// Drift from here on is corrected also in sound, by [`DRIFT_STEP`] a packet.
const DRIFT_LOUD: Duration = Duration::from_millis(15);
/// One correction in sound.
const DRIFT_STEP: Duration = Duration::from_millis(1);
/// A sequence number not further back than this is a late packet (RFC 3550 A.1, MAX_MISORDER).
const MISORDER_MIN: i16 = -100;
/// A sequence number at most this far ahead comes after loss (RFC 3550 A.1, MAX_DROPOUT).
const DROPOUT_MAX: i16 = 3000;

/// What the time line needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// RTP time stamp at 8 kHz.
    pub timestamp: u32,
    /// The sample that was being taken when it arrived or was sent.
    pub arrival: u64,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its first sample; before 0 the recording had not begun.
    At(i64),
    /// It came before.
    Duplicate,
    /// It came more than [`LATE_MAX`] after its time.
    Late,
    /// Its numbers belong to no stream we follow.
    Stray,
}

/// The time line of one channel: the stream heard last and the one before it, whose stragglers keep their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    current: Option<Track>,
    previous: Option<Track>,
}

/// One synchronisation source.
#[derive(Clone, Debug, PartialEq)]
struct Track {
    ssrc: u32,
    /// Highest sequence number.
    sequence: u16,
    /// Bit `n`: `sequence - n` was seen.
    seen: u128,
    /// A time stamp and its position.
    timestamp: u32,
    position: i64,
    /// The sequence number that would prove a restart (RFC 3550 A.1).
    restart: Option<u16>,
    /// Arrival of the first of those packets that were all late by more than [`JUMP`].
    stalled: Option<i64>,
    drift: Drift,
}

/// The sender's clock against ours.
#[derive(Clone, Debug, PartialEq)]
struct Drift {
    since: i64,
    /// Least delay since then.
    least: i64,
    /// What is still to be corrected.
    owed: i64,
}

impl Timeline {
    /// Places a packet; `silent` tells whether a shift of it would be inaudible.
    pub fn place(&mut self, packet: &Packet, silent: impl FnOnce() -> bool) -> Place {
        if self.previous.as_ref().is_some_and(|track| track.ssrc == packet.ssrc) {
            std::mem::swap(&mut self.current, &mut self.previous);
        }
        match &mut self.current {
            Some(track) if track.ssrc == packet.ssrc => track.place(packet, silent),
            Some(_) | None => {
                self.previous = self.current.replace(Track::begin(packet));
                Place::At(arrival(packet))
            }
        }
    }
}

impl Timeline {
    /// Where the sample of this time stamp belongs, if its source is known.
    pub fn position(&self, ssrc: u32, timestamp: u32) -> Option<i64> {
        let track = [&self.current, &self.previous].into_iter().flatten().find(|track| track.ssrc == ssrc)?;
        Some(track.position + i64::from(timestamp.wrapping_sub(track.timestamp).cast_signed()))
    }
}

impl Track {
    /// A time line that starts with the arrival of `packet`.
    fn begin(packet: &Packet) -> Track {
        Track {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            seen: 1,
            timestamp: packet.timestamp,
            position: arrival(packet),
            restart: None,
            stalled: None,
            drift: Drift { since: arrival(packet), least: i64::MAX, owed: 0 },
        }
    }

    fn place(&mut self, packet: &Packet, silent: impl FnOnce() -> bool) -> Place {
        match packet.sequence.wrapping_sub(self.sequence).cast_signed() {
            ahead @ 1..=DROPOUT_MAX => {
                self.seen = self.seen.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0) | 1;
                Place::At(self.follow(packet, silent))
            }
            behind @ MISORDER_MIN..=0 => {
                let bit = 1 << behind.unsigned_abs();
                if self.seen & bit != 0 {
                    return Place::Duplicate;
                }
                self.seen |= bit;
                self.straggler(packet)
            }
            // After a long loss the time stamp still tells the time.
            _ if self.delay_of(packet).abs() <= signed(JUMP) => {
                self.seen = 1;
                Place::At(self.follow(packet, silent))
            }
            // RFC 3550 A.1: two packets in a row prove that the sender has restarted; one is noise.
            _ if self.restart == Some(packet.sequence) => {
                *self = Track::begin(packet);
                Place::At(self.position)
            }
            _ => {
                self.restart = Some(packet.sequence.wrapping_add(1));
                Place::Stray
            }
        }
    }

    /// A packet newer than all before: it also moves the time line.
    fn follow(&mut self, packet: &Packet, silent: impl FnOnce() -> bool) -> i64 {
        self.sequence = packet.sequence;
        self.restart = None;
        let arrival = arrival(packet);
        let delay = self.delay_of(packet);
        let place = arrival - delay;
        let jump = signed(JUMP);
        if delay > jump {
            let stalled = *self.stalled.get_or_insert(arrival);
            if delay > signed(LATE_MAX) || arrival - stalled >= signed(STALL_MAX) {
                return self.anchor(packet);
            }
        } else {
            self.stalled = None;
            if delay < -jump {
                return self.anchor(packet);
            }
        }
        let place = (place + self.drift.correction(arrival, delay, silent)).min(arrival + jump);
        (self.timestamp, self.position) = (packet.timestamp, place);
        place
    }

    /// A packet older than the newest: it takes its place and moves nothing.
    fn straggler(&self, packet: &Packet) -> Place {
        let delay = self.delay_of(packet);
        if delay > signed(LATE_MAX) {
            Place::Late
        } else if delay < -signed(JUMP) {
            Place::Stray
        } else {
            Place::At(arrival(packet) - delay)
        }
    }

    /// Begins again from the arrival of `packet`; sequence numbers go on.
    fn anchor(&mut self, packet: &Packet) -> i64 {
        *self = Track { seen: self.seen, ..Track::begin(packet) };
        self.position
    }

    /// How long after the time that its time stamp tells the packet came.
    fn delay_of(&self, packet: &Packet) -> i64 {
        let place = self.position + i64::from(packet.timestamp.wrapping_sub(self.timestamp).cast_signed());
        arrival(packet) - place
    }
}

impl Drift {
    /// By how much to move this packet and all after it.
    fn correction(&mut self, arrival: i64, delay: i64, silent: impl FnOnce() -> bool) -> i64 {
        self.least = self.least.min(delay);
        if arrival - self.since >= signed(DRIFT_WINDOW) {
            self.owed = if self.least.abs() >= signed(DRIFT_SILENT) { self.least } else { 0 };
            (self.since, self.least) = (arrival, delay);
        }
        let step = if self.owed == 0 {
            0
        } else if silent() {
            self.owed
        } else if self.owed.abs() >= signed(DRIFT_LOUD) {
            self.owed.clamp(-signed(DRIFT_STEP), signed(DRIFT_STEP))
        } else {
            0
        };
        self.owed -= step;
        self.least -= step;
        step
    }
}

fn arrival(packet: &Packet) -> i64 {
    i64::try_from(packet.arrival).expect("recordings last a day at most")
}

const fn signed(length: Duration) -> i64 {
    samples(length).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 5;

    /// A sender that makes a packet of 160 samples every 20 ms; time stamps begin shortly before they wrap.
    fn packet(count: u64, arrival_ms: u64) -> Packet {
        Packet {
            ssrc: SSRC,
            sequence: 65_530u16.wrapping_add(count as u16),
            timestamp: (u32::MAX - 400).wrapping_add(160 * count as u32),
            arrival: arrival_ms * 8,
        }
    }

    fn place(timeline: &mut Timeline, packet: Packet) -> Place {
        timeline.place(&packet, || false)
    }

    /// A time line that has heard `count` packets without jitter since 100 ms.
    fn running(count: u64) -> Timeline {
        let mut timeline = Timeline::default();
        for n in 0..count {
            assert_eq!(place(&mut timeline, packet(n, 100 + 20 * n)), Place::At((800 + 160 * n) as i64));
        }
        timeline
    }

    #[test]
    fn jitter_loss_and_reordering_move_nothing() {
        let mut timeline = running(20);
        for (count, late_ms) in [(20, 0), (21, 60), (24, 90), (22, 140), (23, 0), (40, 0), (60, 190)] {
            let place = place(&mut timeline, packet(count, 100 + 20 * count + late_ms));
            assert_eq!(place, Place::At((800 + 160 * count) as i64), "packet {count}");
        }
    }

    #[test]
    fn duplicates_and_late_packets() {
        let mut timeline = running(60);
        assert_eq!(place(&mut timeline, packet(59, 1_290)), Place::Duplicate);
        assert_eq!(place(&mut timeline, packet(3, 1_290)), Place::Duplicate);
        assert_eq!(place(&mut timeline, packet(61, 1_320)), Place::At(800 + 160 * 61));
        assert_eq!(place(&mut timeline, packet(60, 1_300 + 500)), Place::At(800 + 160 * 60), "just in time");
        assert_eq!(place(&mut timeline, packet(60, 1_300 + 500)), Place::Duplicate);
        assert_eq!(place(&mut timeline, packet(63, 1_360)), Place::At(800 + 160 * 63));
        assert_eq!(place(&mut timeline, packet(62, 1_340 + 501)), Place::Late);
    }

    #[test]
    fn jumps_of_the_time_stamp_are_anchored_to_arrival() {
        for jump in [1_601i64, -4_001, 1 << 30, -(1 << 30)] {
            let mut timeline = running(10);
            for count in 10..14 {
                let plain = packet(count, 100 + 20 * count);
                let jumped = Packet { timestamp: plain.timestamp.wrapping_add(jump as u32), ..plain };
                assert_eq!(place(&mut timeline, jumped), Place::At((800 + 160 * count) as i64), "{jump}");
            }
        }
    }

    /// The network held 15 packets back and then gave them all at once: each still gets its own place.
    #[test]
    fn a_stall_of_300_ms_moves_nothing() {
        let mut timeline = running(10);
        for count in 10..40 {
            let arrival = (100 + 20 * count).max(300 + 300);
            assert_eq!(place(&mut timeline, packet(count, arrival)), Place::At((800 + 160 * count) as i64));
        }
    }

    /// The sender paused for 300 ms and its time stamps stood still: after half a second that is certain.
    #[test]
    fn a_pause_with_still_time_stamps_is_anchored_to_arrival() {
        let mut timeline = running(10);
        let mut last = Place::Late;
        for count in 10..=35 {
            last = place(&mut timeline, packet(count, 400 + 20 * count));
        }
        assert_eq!(last, Place::At(8 * (400 + 20 * 35)));
    }

    #[test]
    fn a_new_source_has_its_own_line_and_stragglers_of_the_old_keep_theirs() {
        let mut timeline = running(10);
        let other = |count: u64, arrival_ms| Packet {
            ssrc: 9,
            timestamp: 77 + 160 * count as u32,
            ..packet(count, arrival_ms)
        };
        assert_eq!(place(&mut timeline, other(0, 305)), Place::At(305 * 8));
        assert_eq!(place(&mut timeline, packet(10, 311)), Place::At(800 + 160 * 10));
        assert_eq!(place(&mut timeline, other(1, 329)), Place::At(305 * 8 + 160));
        let third = Packet { ssrc: 11, ..packet(0, 400) };
        assert_eq!(place(&mut timeline, third), Place::At(400 * 8));
    }

    #[test]
    fn a_restarted_sender_is_believed_at_the_second_packet() {
        let mut timeline = running(10);
        let restarted = |count: u64, arrival_ms| packet(count + 20_000, arrival_ms);
        assert_eq!(place(&mut timeline, restarted(0, 300)), Place::Stray);
        assert_eq!(place(&mut timeline, restarted(1, 320)), Place::At(320 * 8));
        assert_eq!(place(&mut timeline, restarted(2, 345)), Place::At(340 * 8));
        assert_eq!(place(&mut timeline, packet(10, 350)), Place::Stray, "one stray packet moves nothing");
        assert_eq!(place(&mut timeline, restarted(3, 360)), Place::At(360 * 8));
    }

    /// The sender's clock is wrong by 100 ppm for an hour, with up to 12 ms of jitter, in speech and in silence.
    #[test]
    fn drift_stays_within_20_ms() {
        for ppm in [100i64, -100] {
            for silent_every in [1, 500, u64::MAX] {
                let mut timeline = Timeline::default();
                let mut worst = 0;
                for count in 0..180_000u64 {
                    let sent_us = (20_000 * count).cast_signed() * (1_000_000 + ppm) / 1_000_000;
                    let jitter_us = (count * 7_919 % 13) as i64 * 1_000;
                    let arrival = ((sent_us + jitter_us) * 8 / 1_000) as u64;
                    let packet = Packet { arrival, ..packet(count, 0) };
                    let Place::At(at) = timeline.place(&packet, || count.is_multiple_of(silent_every)) else {
                        panic!("packet {count} was left out");
                    };
                    worst = worst.max((at - sent_us * 8 / 1_000).abs());
                }
                // Half a packet of 20 ms in speech that never pauses, 6 ms where corrections are never heard.
                let bound = if silent_every == 1 { 48 } else { 136 };
                assert!(worst <= bound, "{ppm} ppm, silence every {silent_every}: {worst} samples");
            }
        }
    }
}
