//! RTP packets (RFC 3550 §5.1): reading those of others, writing ours, and the one line of numbers each leg sends on.
//!
//! A [`Line`] goes on through prompts, bridges, silence and hold: one SSRC, sequence numbers without a jump of ours, time
//! stamps that follow the clock. Never judges a packet's source or payload.

use super::g711::SAMPLES_PER_SECOND;
use crate::base::Mono;
use crate::base::map::keyed_hash;
use rtp_rs::{RtpReader, RtpReaderError};

/// Bytes of a header without contributing sources or extension: all that we write.
pub const HEADER_LEN: usize = 12;
const NS_PER_SAMPLE: u64 = 1_000_000_000 / SAMPLES_PER_SECOND as u64;

/// A line tells at most one packet in so many milliseconds.
const PACKET_MS_MIN: u8 = 10;
/// Two packets, in samples: what a line lags behind the clock at a time so that no gap is told where there is none.
const JOIN_MAX: u32 = SAMPLES_PER_SECOND / 25;
/// A larger jump would look like another source to the other side (RFC 3550 A.1: `MAX_DROPOUT` is 3,000).
const SKIPPED_MAX: u16 = 2_500;

/// Why bytes are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Shorter than its header, its sources or its extension.
    #[error("cut short")]
    Short,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// The padding is longer than the packet, or zero.
    #[error("impossible padding")]
    Padding,
}

/// A packet that was read. The payload is without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Start of a talk spurt (RFC 3551 §4.1) or of an event (RFC 4733 §2.2).
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    /// One more for each packet.
    pub sequence: u16,
    /// Of the first sample, in samples.
    pub timestamp: u32,
    /// Whose line of numbers this is.
    pub ssrc: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one datagram.
    pub fn read(bytes: &'a [u8]) -> Result<Packet<'a>, ReadError> {
        let reader = RtpReader::new(bytes).map_err(|error| match error {
            RtpReaderError::BufferTooShort(_) | RtpReaderError::HeadersTruncated { .. } => ReadError::Short,
            RtpReaderError::UnsupportedVersion(_) => ReadError::Version,
            RtpReaderError::PaddingLengthInvalid(_) => ReadError::Padding,
        })?;
        Ok(Packet {
            marker: reader.mark(),
            payload_type: reader.payload_type(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
            payload: reader.payload(),
        })
    }
}

/// The header of a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// See [`Packet::marker`].
    pub marker: bool,
    /// 0–127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp.
    pub timestamp: u32,
    /// Our source.
    pub ssrc: u32,
}

impl Header {
    /// Appends the 12 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0u8; HEADER_LEN];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// What a leg sends on.
#[derive(Clone, Debug)]
pub struct Line {
    ssrc: u32,
    next_sequence: u16,
    /// The time stamp of the instant `opened`.
    zero: u32,
    opened: Mono,
    /// The first time stamp that no packet has covered yet.
    floor: u32,
    /// The next packet begins a talk spurt.
    mark: bool,
}

impl Line {
    /// A line whose SSRC and first numbers follow from `seed` (RFC 3550 §5.1: they should be random).
    pub fn new(seed: u64, now: Mono) -> Line {
        let source = keyed_hash([seed, 0], b"rtp source");
        let zero = keyed_hash([seed, 0], b"rtp time") as u32;
        Line { ssrc: source as u32, next_sequence: (source >> 32) as u16, zero, opened: now, floor: zero, mark: true }
    }

    /// The line of `seed`, opened at `opened` in a process that died, as it goes on at `now`. At `at` its next sequence
    /// number was `sequence`. Numbers that may have been used since are left out: to the other side that is a loss. One
    /// that is told again would be a packet too late (RFC 3550 A.1).
    pub fn reopen(seed: u64, opened: Mono, (at, sequence): (Mono, Option<u16>), now: Mono) -> Line {
        let mut line = Line::new(seed, opened);
        let unknown = now.since(at).as_millis() / u128::from(PACKET_MS_MIN) + 1;
        let skipped = unknown.min(u128::from(SKIPPED_MAX)) as u16;
        line.next_sequence = sequence.unwrap_or(line.next_sequence).wrapping_add(skipped);
        line.floor = line.timestamp_at(now);
        line
    }

    /// Our synchronisation source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The sequence number of the next packet that is not somebody's late one.
    pub fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// What the time stamp of a sample sent at `at` would be.
    pub fn timestamp_at(&self, at: Mono) -> u32 {
        let samples = if at >= self.opened {
            (at.0 - self.opened.0) / NS_PER_SAMPLE
        } else {
            0u64.wrapping_sub((self.opened.0 - at.0).div_ceil(NS_PER_SAMPLE))
        };
        // Wraps by design: RFC 3550 §5.1 counts modulo 2^32.
        self.zero.wrapping_add(samples as u32)
    }

    /// The time stamp to go on with at `at`. When a relayed source with a fast clock has run ahead, the whole line moves
    /// on with it, so that no sample's time is told twice.
    pub fn resume(&mut self, at: Mono) -> u32 {
        let timestamp = self.timestamp_at(at);
        let ahead = self.floor.wrapping_sub(timestamp);
        if (ahead as i32) > 0 {
            self.zero = self.zero.wrapping_add(ahead);
            return self.floor;
        }
        timestamp
    }

    /// What follows joins on what was sent last, if that ended just before `at`: the line lags behind the clock by so much.
    pub fn join_on(&mut self, at: Mono) {
        let behind = self.timestamp_at(at).wrapping_sub(self.floor);
        if (1..=JOIN_MAX).contains(&behind) {
            self.zero = self.zero.wrapping_sub(behind);
        }
    }

    /// The header of a packet of our own making: `samples` long, sent at `at`.
    pub fn next(&mut self, at: Mono, samples: u32, payload_type: u8) -> Header {
        let timestamp = self.resume(at);
        self.follow(self.next_sequence, timestamp, samples, payload_type, false)
    }

    /// The header of a relayed packet, whose place on the line the bridge has worked out.
    pub fn follow(&mut self, sequence: u16, timestamp: u32, samples: u32, payload_type: u8, marker: bool) -> Header {
        let next = sequence.wrapping_add(1);
        if (next.wrapping_sub(self.next_sequence) as i16) > 0 {
            self.next_sequence = next;
        }
        let end = timestamp.wrapping_add(samples);
        if (end.wrapping_sub(self.floor) as i32) > 0 {
            self.floor = end;
        }
        let marker = marker | std::mem::take(&mut self.mark);
        Header { marker, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }

    /// The next packet does not join on the last one: it carries the marker.
    pub fn interrupt(&mut self) {
        self.mark = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn reads_what_it_writes() {
        let header = Header { marker: true, payload_type: 101, sequence: 0xfffe, timestamp: 0xdead_beef, ssrc: 7 };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.extend_from_slice(b"sound");
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!((packet.marker, packet.payload_type, packet.sequence), (true, 101, 0xfffe));
        assert_eq!((packet.timestamp, packet.ssrc, packet.payload), (0xdead_beef, 7, &b"sound"[..]));
    }

    #[test]
    fn extensions_sources_and_padding_are_no_payload() {
        let mut bytes = vec![0xb1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&[9; 4]); // one contributing source
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 1, 2, 3, 4]); // an extension of one word
        bytes.extend_from_slice(&[0xd5, 0xd5, 0, 0, 3]); // two samples and three bytes of padding
        assert_eq!(Packet::read(&bytes).unwrap().payload, [0xd5, 0xd5]);
    }

    #[test]
    fn refuses_what_is_no_packet() {
        let good = [0x80, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        for (first, rest, error) in [
            (0x80, &[][..], None),
            (0x40, &[], Some(ReadError::Version)),
            (0x8f, &[], Some(ReadError::Short)),
            (0x90, &[0, 0, 0, 9][..], Some(ReadError::Short)),
            (0xa0, &[200][..], Some(ReadError::Padding)),
            (0xa0, &[0][..], Some(ReadError::Padding)),
        ] {
            let mut bytes = good.to_vec();
            bytes[0] = first;
            bytes.extend_from_slice(rest);
            assert_eq!(Packet::read(&bytes).err(), error, "{first:#x} {rest:?}");
        }
        assert_eq!(Packet::read(&good[..11]).err(), Some(ReadError::Short));
    }

    #[test]
    fn the_line_follows_the_clock_and_never_tells_a_time_twice() {
        let start = Mono::from_ms(1_000);
        let mut line = Line::new(42, start);
        let first = line.next(start, 160, 8);
        let second = line.next(start + Duration::from_millis(20), 160, 8);
        assert!(first.marker && !second.marker);
        assert_eq!(second.sequence, first.sequence.wrapping_add(1));
        assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));
        // A relayed source ran 40 ms ahead of our clock; what follows goes on from there, in even steps.
        let ahead = second.timestamp.wrapping_add(480);
        line.follow(line.next_sequence(), ahead, 160, 8, false);
        let third = line.next(start + Duration::from_millis(40), 160, 8);
        let fourth = line.next(start + Duration::from_millis(60), 160, 8);
        assert_eq!(third.timestamp, ahead.wrapping_add(160));
        assert_eq!(fourth.timestamp, third.timestamp.wrapping_add(160));
        // A gap on the clock is a gap in the stamps, but not in the numbers.
        line.interrupt();
        let fifth = line.next(start + Duration::from_millis(1_060), 160, 8);
        assert_eq!(fifth.timestamp, fourth.timestamp.wrapping_add(8_000));
        assert_eq!(fifth.sequence, fourth.sequence.wrapping_add(1));
        assert!(fifth.marker);
    }

    #[test]
    fn a_reopened_line_tells_no_number_and_no_time_twice() {
        let at = Mono::from_ms;
        let mut line = Line::new(42, at(1_000));
        let (mut last, mut marked) = (line.next(at(1_000), 160, 8), line.next_sequence());
        for ms in (1_020..3_000).step_by(20) {
            marked = if ms == 2_000 { line.next_sequence() } else { marked };
            last = line.next(at(ms), 160, 8);
        }
        for (mark, skipped) in [((at(2_000), Some(marked)), 100), ((at(1_000), None), 150)] {
            let first = Line::reopen(42, at(1_000), mark, at(3_100)).next(at(3_100), 160, 8);
            assert_eq!((first.ssrc, first.marker), (last.ssrc, true));
            assert_eq!(first.timestamp, last.timestamp.wrapping_add(8 * 120));
            let ahead = first.sequence.wrapping_sub(last.sequence);
            assert!((1..=skipped).contains(&ahead), "{ahead}");
        }
        let late = Line::reopen(42, at(1_000), (at(2_000), Some(marked)), at(90_000)).next_sequence();
        assert_eq!(late.wrapping_sub(marked), SKIPPED_MAX);
    }

    #[test]
    fn seeds_give_different_lines() {
        let (one, other) = (Line::new(1, Mono(0)), Line::new(2, Mono(0)));
        assert_ne!((one.ssrc, one.next_sequence, one.zero), (other.ssrc, other.next_sequence, other.zero));
    }
}
