//! The digits that come from a leg, in whichever way was negotiated, on the source's own line of time stamps.
//!
//! Sound is taken as it comes: what is lost is told to the detector, what comes late is left out. Holds no sound back.

use super::detect::Detector;
use super::events::Receiver;
use super::{Key, Way};
use crate::media::g711::{SAMPLES_PER_MS, decode_into};
use crate::sdp::Codec;

/// A gap longer than this ends all that was heard.
const GAP_MAX: i32 = 4_000;
/// A packet no later than this is only late.
const LATE_MAX: i32 = -GAP_MAX;
/// Samples decoded at a time.
const PIECE: usize = 160;
/// A tone's edges are hidden with it, as exactly as they are known.
const MARGIN: u32 = 12 * SAMPLES_PER_MS;

/// What a leg has heard of digits.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    events: Receiver,
    /// Only where no telephone-event was negotiated.
    tones: Option<Box<Tones>>,
}

#[derive(Clone, Debug, Default)]
struct Tones {
    detector: Detector,
    /// The time stamp that joins on what was heard.
    next: Option<u32>,
}

/// From one time stamp to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First sample.
    pub from: u32,
    /// The first one behind it.
    pub to: u32,
}

impl Listener {
    /// Hears nothing yet, and takes only what comes this way.
    pub fn new(way: Way) -> Listener {
        let tones = match way {
            Way::Events(_) => None,
            Way::Tones => Some(Box::default()),
        };
        Listener { events: Receiver::default(), tones }
    }

    /// An event came. Gives the sound that should be hidden where digits must not be kept.
    pub fn event(&mut self, timestamp: u32, payload: &[u8], mut tell: impl FnMut(Key)) -> Option<Span> {
        let mut length = None;
        self.events.receive(timestamp, payload, |key| {
            if let Key::Held { length: known } | Key::Up { length: known } = key {
                length = Some(known);
            }
            tell(key);
        });
        length.map(|length| Span { from: timestamp, to: timestamp.wrapping_add(length) })
    }

    /// Sound came. Gives what is to be hidden, as in [`Listener::event`].
    pub fn sound(&mut self, timestamp: u32, codec: Codec, payload: &[u8], mut tell: impl FnMut(Key)) -> Option<Span> {
        let Tones { detector, next } = &mut **self.tones.as_mut()?;
        let end = timestamp.wrapping_add(payload.len() as u32);
        match next.replace(end).map(|next| timestamp.wrapping_sub(next) as i32) {
            None | Some(0) => {}
            Some(gap @ 1..=GAP_MAX) => detector.miss(gap as usize, &mut tell),
            // Late: the detector has gone on.
            Some(late @ LATE_MAX..0) => {
                *next = Some(timestamp.wrapping_add(late.unsigned_abs()));
                return None;
            }
            // Another line of time.
            Some(_) => detector.miss(GAP_MAX as usize, &mut tell),
        }
        let mut since = detector.since();
        for piece in payload.chunks(PIECE) {
            let mut linear = [0; PIECE];
            let linear = &mut linear[..piece.len()];
            decode_into(codec, piece, linear);
            since = since.map(|since| since + piece.len() as u32);
            detector.hear(linear, &mut tell);
            since = since.max(detector.since());
        }
        since.map(|since| Span { from: end.wrapping_sub(since + MARGIN), to: end.wrapping_add(MARGIN) })
    }
}

#[cfg(test)]
mod tests;
