//! A source's packets on another leg's line of numbers.
//!
//! The first packet is anchored where the line stands now; from then on sequence numbers and time stamps move in step with
//! the source, so that its gaps, its reordering and its pauses reach the listener's jitter buffer as they are. Events keep
//! their place between the sounds (RFC 4733 §2.2). Never looks into a payload.

use super::g711::SAMPLES_PER_SECOND;
use super::rtp::{Header, Line, Packet};
use crate::base::Mono;
use std::time::Duration;

/// Without a packet for this long the listener gets silence instead.
pub const FILL_AFTER: Duration = Duration::from_millis(500);
/// A time stamp further than this from where the clock expects it is a new time line of the same source; a pause or a
/// jam on the way is not.
const LEAP_SAMPLES: u32 = 10 * SAMPLES_PER_SECOND;
const NS_PER_SAMPLE: u64 = 1_000_000_000 / SAMPLES_PER_SECOND as u64;

/// The listener's side of a bridge.
#[derive(Clone, Debug)]
pub struct Relay {
    anchor: Option<Anchor>,
    /// When the last packet passed, or the bridge began.
    last: Mono,
    /// The first packet joins on what was sent before.
    joins: bool,
}

#[derive(Clone, Debug)]
struct Anchor {
    ssrc: u32,
    /// Ours less the source's.
    sequence_shift: u16,
    timestamp_shift: u32,
    /// The newest number of the source.
    highest: u16,
    /// How many numbers up to `highest` have a place on our line.
    placed: u16,
    /// The newest sound and when it came.
    timestamp: u32,
    at: Mono,
}

impl Relay {
    /// Nothing has passed yet.
    pub fn new(now: Mono) -> Relay {
        Relay { anchor: None, last: now, joins: false }
    }

    /// What passes first follows what was sent last, as if it had passed, too.
    pub fn joining(now: Mono) -> Relay {
        Relay { anchor: None, last: now, joins: true }
    }

    /// Whether nothing has passed for so long that the listener must be given silence. The source is then anchored anew.
    pub fn starves(&mut self, now: Mono) -> bool {
        let starving = now.since(self.last) >= FILL_AFTER;
        if starving {
            self.anchor = None;
        }
        starving
    }

    /// The listener is given something else, at `now` still: the source is anchored anew afterwards.
    pub fn interrupt(&mut self, now: Mono) {
        self.anchor = None;
        self.last = now;
    }

    /// Finds the place of a packet on `line` and returns its header; `None` for one that has no place any more.
    /// `samples` is `None` for an event, whose time stamp stands still.
    pub fn pass(
        &mut self,
        now: Mono,
        packet: &Packet<'_>,
        samples: Option<u32>,
        payload_type: u8,
        line: &mut Line,
    ) -> Option<Header> {
        self.last = now;
        if self.anchor.as_ref().is_none_or(|anchor| anchor.is_left_by(now, packet, samples.is_some())) {
            if std::mem::take(&mut self.joins) {
                line.join_on(now);
            } else {
                line.interrupt();
            }
            self.anchor = Some(Anchor {
                ssrc: packet.ssrc,
                sequence_shift: line.next_sequence().wrapping_sub(packet.sequence),
                timestamp_shift: line.resume(now).wrapping_sub(packet.timestamp),
                highest: packet.sequence,
                placed: 1,
                timestamp: packet.timestamp,
                at: now,
            });
        } else {
            self.anchor.as_mut()?.place(now, packet, samples.is_some())?;
        }
        let anchor = self.anchor.as_ref()?;
        let sequence = packet.sequence.wrapping_add(anchor.sequence_shift);
        let timestamp = packet.timestamp.wrapping_add(anchor.timestamp_shift);
        Some(line.follow(sequence, timestamp, samples.unwrap_or(0), payload_type, packet.marker))
    }

    /// A packet of the source is kept back, because the listener has not negotiated its kind: its number must not look
    /// like a loss.
    pub fn withhold(&mut self, packet: &Packet<'_>) {
        let Some(anchor) = &mut self.anchor else { return };
        let ahead = packet.sequence.wrapping_sub(anchor.highest);
        if anchor.ssrc == packet.ssrc && (ahead as i16) > 0 {
            anchor.highest = packet.sequence;
            anchor.sequence_shift = anchor.sequence_shift.wrapping_sub(1);
            // Numbers before this one belong to the shift of before.
            anchor.placed = 0;
        }
    }
}

impl Anchor {
    /// Whether this packet is of another line of numbers than the anchored one.
    fn is_left_by(&self, now: Mono, packet: &Packet<'_>, sound: bool) -> bool {
        let elapsed = (now.since(self.at).as_nanos() / u128::from(NS_PER_SAMPLE)) as u32;
        let expected = self.timestamp.wrapping_add(elapsed);
        let off = (packet.timestamp.wrapping_sub(expected) as i32).unsigned_abs();
        self.ssrc != packet.ssrc || sound && off > LEAP_SAMPLES
    }

    fn place(&mut self, now: Mono, packet: &Packet<'_>, sound: bool) -> Option<()> {
        let ahead = packet.sequence.wrapping_sub(self.highest) as i16;
        if ahead <= 0 {
            // From before the anchor: its number on our line was somebody else's.
            return (ahead.unsigned_abs() < self.placed).then_some(());
        }
        self.highest = packet.sequence;
        self.placed = self.placed.saturating_add(ahead.unsigned_abs());
        if sound {
            self.timestamp = packet.timestamp;
            self.at = now;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (milliseconds, source sequence, source time stamp, samples) and our (sequence, time stamp) less those of the first.
    type Step = (u64, u16, u32, Option<u32>, Option<(u16, u32)>);

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Packet<'static> {
        Packet { marker: false, payload_type: 8, sequence, timestamp, ssrc, payload: &[] }
    }

    fn run(steps: &[Step]) {
        let mut line = Line::new(3, Mono(0));
        let mut relay = Relay::new(Mono(0));
        let mut first: Option<Header> = None;
        for &(ms, sequence, timestamp, samples, expected) in steps {
            let header = relay.pass(Mono::from_ms(ms), &packet(1, sequence, timestamp), samples, 8, &mut line);
            let origin = *first.get_or_insert_with(|| header.expect("the first packet passes"));
            let place = header.map(|ours| {
                (ours.sequence.wrapping_sub(origin.sequence), ours.timestamp.wrapping_sub(origin.timestamp))
            });
            assert_eq!(place, expected, "{sequence} at {ms} ms");
        }
    }

    #[test]
    fn gaps_order_and_pauses_are_mirrored() {
        let sound = Some(160);
        run(&[
            (0, 65_534, 1_000, sound, Some((0, 0))),
            (20, 65_535, 1_160, sound, Some((1, 160))),
            (60, 1, 1_480, sound, Some((3, 480))),        // one lost
            (61, 0, 1_320, sound, Some((2, 320))),        // no, late
            (62, 65_533, 840, sound, None),               // from before the bridge
            (9_000, 2, 73_480, sound, Some((4, 72_480))), // a pause of the source
            (9_020, 3, 73_640, None, Some((5, 72_640))),  // an event
            (9_040, 4, 73_640, None, Some((6, 72_640))),
            (9_060, 5, 73_960, sound, Some((7, 72_960))),
        ]);
    }

    #[test]
    fn a_new_time_line_is_joined_to_ours() {
        let sound = Some(160);
        run(&[
            (0, 10, 1_000, sound, Some((0, 0))),
            (20, 11, 9_000_000, sound, Some((1, 160))), // stamps leapt
            (40, 12, 9_000_160, sound, Some((2, 320))),
        ]);
        let mut line = Line::new(3, Mono(0));
        let mut relay = Relay::new(Mono(0));
        let one = relay.pass(Mono::from_ms(0), &packet(1, 500, 7), sound, 8, &mut line).unwrap();
        let two = relay.pass(Mono::from_ms(20), &packet(2, 9, 70_000), sound, 8, &mut line).unwrap();
        assert_eq!(two.sequence, one.sequence.wrapping_add(1));
        assert_eq!(two.timestamp, one.timestamp.wrapping_add(160));
        assert!(two.marker && two.ssrc == one.ssrc);
    }

    #[test]
    fn what_is_withheld_leaves_no_gap() {
        let mut line = Line::new(3, Mono(0));
        let mut relay = Relay::new(Mono(0));
        let first = relay.pass(Mono(0), &packet(1, 10, 0), Some(160), 8, &mut line).unwrap();
        relay.withhold(&packet(1, 11, 160));
        relay.withhold(&packet(1, 11, 160));
        relay.withhold(&packet(1, 12, 160));
        let next = relay.pass(Mono::from_ms(60), &packet(1, 13, 480), Some(160), 8, &mut line).unwrap();
        assert_eq!(next.sequence, first.sequence.wrapping_add(1));
        assert_eq!(next.timestamp, first.timestamp.wrapping_add(480));
        assert_eq!(relay.pass(Mono::from_ms(61), &packet(1, 11, 160), Some(160), 8, &mut line), None);
    }

    #[test]
    fn a_starving_listener_gets_silence_and_the_source_is_anchored_anew() {
        let mut line = Line::new(3, Mono(0));
        let mut relay = Relay::new(Mono(0));
        let first = relay.pass(Mono(0), &packet(1, 10, 0), Some(160), 8, &mut line).unwrap();
        assert!(!relay.starves(Mono::from_ms(499)));
        assert!(relay.starves(Mono::from_ms(500)));
        let silence = line.next(Mono::from_ms(500), 160, 8);
        let again = relay.pass(Mono::from_ms(520), &packet(1, 11, 160), Some(160), 8, &mut line).unwrap();
        assert_eq!(silence.sequence, first.sequence.wrapping_add(1));
        assert_eq!(again.sequence, silence.sequence.wrapping_add(1));
        assert_eq!(again.timestamp, silence.timestamp.wrapping_add(160));
    }
}
