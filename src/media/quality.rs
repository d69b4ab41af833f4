//! What arrived and how well (RFC 3550 A.1, A.3, A.8): loss, jitter, duplicates, reordering.
//!
//! Told of packets already believed, so a new source is taken at its first packet, without probation. Never keeps audio.

use super::g711::SAMPLES_PER_SECOND;
use super::rtcp::ReportBlock;
use crate::base::Mono;

/// RFC 3550 A.1 `MAX_DROPOUT`: a jump forward larger than this is a restart.
const DROPOUT_MAX: u16 = 3_000;
/// RFC 3550 A.1 `MAX_MISORDER`: a packet older than this is a restart.
const MISORDER_MAX: u16 = 100;
const NS_PER_SAMPLE: u64 = 1_000_000_000 / SAMPLES_PER_SECOND as u64;
const US_PER_SAMPLE: u32 = 1_000_000 / SAMPLES_PER_SECOND;

/// How a packet stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of a source, or of a source that began anew.
    First,
    /// Newer than all before.
    Next,
    /// Older than the newest, and not seen before.
    Late,
    /// Seen before.
    Duplicate,
    /// Far from all others. If its successor comes next, the source has begun anew.
    Stray,
}

/// The reception of one leg, over all sources that it has heard.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    source: Option<Source>,
    /// Lost by sources before the present one.
    lost_before: u64,
    /// The last jitter of the source before, until the present one has its own.
    jitter_before: u32,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    /// First sequence number.
    base: u32,
    /// Highest sequence number, with the number of wraps in the upper 16 bits.
    highest: u32,
    /// Bit n: the packet n before the highest came.
    window: u64,
    received: u64,
    /// What a restart would send next.
    awaited: Option<u16>,
    transit: Option<u32>,
    /// In sixteenths of a sample.
    jitter: u32,
    /// At the last report.
    expected_prior: u64,
    received_prior: u64,
}

impl Quality {
    /// A packet came. `timestamp` is `None` for events, whose stamps stand still (RFC 4733 §2.2).
    pub fn arrive(&mut self, now: Mono, ssrc: u32, sequence: u16, timestamp: Option<u32>) -> Arrival {
        let arrival = match &mut self.source {
            Some(source) if source.ssrc == ssrc => source.place(sequence),
            Some(_) | None => Arrival::First,
        };
        match arrival {
            Arrival::First => self.begin(ssrc, sequence),
            Arrival::Next | Arrival::Late | Arrival::Duplicate => {}
            Arrival::Stray => return arrival,
        }
        let source = self.source.as_mut().expect("a packet that is no stray has a source");
        // A.3 counts late packets and duplicates as received.
        source.received += 1;
        if let (Some(timestamp), Arrival::First | Arrival::Next | Arrival::Late) = (timestamp, arrival) {
            source.time(now, timestamp);
        }
        arrival
    }

    /// Packets lost so far: expected less received (A.3), 0 if more came than expected.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter in microseconds (A.8).
    pub fn jitter_us(&self) -> u32 {
        self.source.as_ref().map_or(self.jitter_before, |source| source.jitter / 16 * US_PER_SAMPLE)
    }

    /// The block about the present source for a report of ours; begins a new interval (A.3). The caller adds the times
    /// of the last sender report.
    pub fn report(&mut self) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        let (expected, received) = (source.expected(), source.received);
        let expected_interval = expected - source.expected_prior.min(expected);
        let lost_interval = expected_interval as i64 - (received - source.received_prior) as i64;
        source.expected_prior = expected;
        source.received_prior = received;
        let fraction_lost = match u64::try_from(lost_interval) {
            Ok(lost) if expected_interval > 0 => (lost * 256 / expected_interval).min(255) as u8,
            Ok(_) | Err(_) => 0,
        };
        let lost = (expected as i64 - received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32;
        let (ssrc, highest, jitter) = (source.ssrc, source.highest, source.jitter / 16);
        Some(ReportBlock { ssrc, fraction_lost, lost, highest, jitter, last_sr: 0, delay: 0 })
    }

    fn begin(&mut self, ssrc: u32, sequence: u16) {
        self.lost_before = self.lost();
        self.jitter_before = self.jitter_us();
        self.source = Some(Source {
            ssrc,
            base: u32::from(sequence),
            highest: u32::from(sequence),
            window: 1,
            received: 0,
            awaited: None,
            transit: None,
            jitter: 0,
            expected_prior: 0,
            received_prior: 0,
        });
    }
}

impl Source {
    /// A.1, `update_seq`, with a window that also knows duplicates.
    fn place(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead == 0 {
            return Arrival::Duplicate;
        }
        if ahead < DROPOUT_MAX {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.awaited = None;
            return Arrival::Next;
        }
        let behind = 0u16.wrapping_sub(ahead);
        if behind <= MISORDER_MAX {
            let bit = 1u64.checked_shl(u32::from(behind)).unwrap_or(0);
            let seen = self.window & bit != 0;
            self.window |= bit;
            return if seen { Arrival::Duplicate } else { Arrival::Late };
        }
        if self.awaited == Some(sequence) {
            return Arrival::First;
        }
        self.awaited = Some(sequence.wrapping_add(1));
        Arrival::Stray
    }

    /// A.8: the difference of relative transit times, smoothed by 1/16.
    fn time(&mut self, now: Mono, timestamp: u32) {
        let transit = ((now.0 / NS_PER_SAMPLE) as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A stamp that leapt is a new time line, not jitter.
            if difference < SAMPLES_PER_SECOND * 10 {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    fn expected(&self) -> u64 {
        u64::from(self.highest.wrapping_sub(self.base)) + 1
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Arrival::{Duplicate, First, Late, Next, Stray};

    fn run(packets: &[(u32, u16, Arrival)]) -> Quality {
        let mut quality = Quality::default();
        for (at, &(ssrc, sequence, expected)) in packets.iter().enumerate() {
            let now = Mono::from_ms(20 * at as u64);
            assert_eq!(quality.arrive(now, ssrc, sequence, Some(160 * at as u32)), expected, "packet {at}: {sequence}");
        }
        quality
    }

    #[test]
    fn loss_order_and_duplicates() {
        for (packets, lost) in [
            (&[(1, 10, First), (1, 11, Next), (1, 13, Next)][..], 1),
            (&[(1, 10, First), (1, 12, Next), (1, 11, Late), (1, 11, Duplicate)][..], 0),
            (&[(1, 65_534, First), (1, 65_535, Next), (1, 0, Next), (1, 2, Next), (1, 1, Late)][..], 0),
            (&[(1, 10, First), (1, 20, Next), (2, 900, First), (2, 902, Next)][..], 10),
            (&[(1, 10, First), (1, 30_000, Stray), (1, 11, Next), (1, 40_000, Stray), (1, 40_001, First)][..], 0),
            (&[(1, 10, First), (1, 10, Duplicate), (1, 12, Next)][..], 0),
        ] {
            assert_eq!(run(packets).lost(), lost, "{packets:?}");
        }
    }

    #[test]
    fn a_report_covers_its_interval() {
        let mut quality = run(&[(9, 0, First), (9, 1, Next), (9, 3, Next)]);
        let block = quality.report().unwrap();
        assert_eq!((block.ssrc, block.fraction_lost, block.lost, block.highest), (9, 64, 1, 3));
        for sequence in 4..8 {
            quality.arrive(Mono(0), 9, sequence, None);
        }
        let block = quality.report().unwrap();
        assert_eq!((block.fraction_lost, block.lost, block.highest), (0, 1, 7));
        assert_eq!(Quality::default().report(), None);
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_transit_times() {
        let mut quality = Quality::default();
        // Every second packet comes 4 ms late: the estimate tends to 4 ms.
        for packet in 0..400u64 {
            let now = Mono::from_ms(20 * packet + packet % 2 * 4);
            quality.arrive(now, 1, packet as u16, Some(160 * packet as u32));
        }
        assert!((3_800..=4_000).contains(&quality.jitter_us()), "{}", quality.jitter_us());
        let steady = run(&[(1, 1, First), (1, 2, Next), (1, 3, Next)]);
        assert_eq!(steady.jitter_us(), 0);
    }
}
