//! Digits that a leg sends: one press after another with its pause, as telephone-events or as tones.
//!
//! A press may still be going on elsewhere when it begins here (a digit passed on over a bridge); it is held until its end
//! is known. Lengths are exact: to the sample as tones, in the duration field as events (RFC 4733 §2.3.5). Knows no
//! sequence numbers and no clock: it is asked for one packet's worth at a time.

use super::events::{END, EVENT_LEN};
use super::{Key, place};
use crate::media::g711::SAMPLES_PER_MS;
use crate::media::tone::Dual;
use std::collections::VecDeque;

/// Shortest press and pause, in samples: 40 ms (ITU-T Q.24). What is passed on is made as long.
const SHORTEST: u32 = 40 * SAMPLES_PER_MS;
/// A press whose end does not come is let go so long after the last news of it: three packets of 20 ms (RFC 4733
/// §2.5.2.2 speaks of a few).
const GRACE: u32 = 60 * SAMPLES_PER_MS;
/// A press passed on lasts no longer: the duration field ends at 8.19 s.
const LONGEST: u32 = 8_000 * SAMPLES_PER_MS;
/// Level of an event as written: −10 dBm0 (RFC 4733 §2.3.4).
const VOLUME: u8 = 10;
/// RFC 4733 §2.5.1.4: the last packet of an event goes out three times.
const REPEATS: u8 = 2;
/// Presses that wait. One that is passed on while so many wait is left out; `Digits` hold fewer.
const WAITING_MAX: usize = 128;

/// What a leg sends of digits.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    waiting: VecDeque<Press>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    code: u8,
    length: Length,
    pause: u32,
    /// The last of those that a call asked for: its end is told.
    last: bool,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Fixed(u32),
    /// It goes on and is at least so long.
    Open(u32),
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Pressed; so many samples were sent.
    Down { press: Press, sent: u32, tones: Dual, start: Option<u32> },
    /// Released; so many samples of the pause are still to come.
    Up { left: u32, last: bool, end: Option<Repeat> },
}

/// The end of an event that is said again.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    start: u32,
    payload: [u8; EVENT_LEN],
    left: u8,
}

/// A packet of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The first of its event.
    pub first: bool,
    /// Time stamp of the event's beginning.
    pub start: u32,
    /// What it covers so far, in samples.
    pub length: u32,
    /// The payload.
    pub payload: [u8; EVENT_LEN],
}

/// What is to be sent in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This instead of sound.
    Event(EventPacket),
    /// Silence: between two events.
    Silence,
}

impl Keys {
    /// Whether there is anything to send; what the leg would hear otherwise waits, or is lost.
    pub fn busy(&self) -> bool {
        !matches!(self.state, State::Idle) || !self.waiting.is_empty()
    }

    /// Sends these, one after another.
    pub fn press(&mut self, codes: impl ExactSizeIterator<Item = u8>, on_ms: u16, off_ms: u16) {
        let (length, pause) = (Length::Fixed(u32::from(on_ms) * SAMPLES_PER_MS), u32::from(off_ms) * SAMPLES_PER_MS);
        let count = codes.len();
        self.waiting.extend((1..).zip(codes).map(|(place, code)| Press { code, length, pause, last: place == count }));
    }

    /// Passes on what becomes known of a press elsewhere.
    pub fn follow(&mut self, key: Key) {
        match key {
            Key::Down { code } => {
                // The end of the one before may have been lost.
                self.settle(None);
                if self.waiting.len() < WAITING_MAX {
                    let length = Length::Open(0);
                    self.waiting.push_back(Press { code, length, pause: SHORTEST, last: false });
                }
            }
            Key::Held { length } => {
                if let Some(open @ Length::Open(_)) = self.newest() {
                    *open = Length::Open(length);
                }
            }
            Key::Up { length } => self.settle(Some(length)),
        }
    }

    /// Forgets everything: nothing may be sent any more. True if the end of what a call asked for will not come.
    pub fn clear(&mut self) -> bool {
        let unfinished = match &self.state {
            State::Idle => false,
            State::Down { press, .. } => press.last,
            State::Up { last, .. } => *last,
        };
        let unfinished = unfinished || self.waiting.iter().any(|press| press.last);
        *self = Keys::default();
        unfinished
    }

    /// The length of the newest press.
    fn newest(&mut self) -> Option<&mut Length> {
        match (self.waiting.back_mut(), &mut self.state) {
            (Some(press), _) => Some(&mut press.length),
            (None, State::Down { press, .. }) => Some(&mut press.length),
            (None, State::Idle | State::Up { .. }) => None,
        }
    }

    fn settle(&mut self, length: Option<u32>) {
        if let Some(length_of) = self.newest()
            && let Length::Open(known) = *length_of
        {
            *length_of = Length::Fixed(length.unwrap_or(known).clamp(SHORTEST, LONGEST));
        }
    }

    /// The next press, if none is under way.
    fn begin(&mut self) {
        if let State::Idle = self.state
            && let Some(press) = self.waiting.pop_front()
        {
            let (row, column) = place(press.code);
            self.state = State::Down { press, sent: 0, tones: Dual::new(row, column), start: None };
        }
    }

    /// The next packet of `samples` as an event; a new event begins at the time stamp `now`. True once the last press that
    /// a call asked for is over, with its pause.
    pub fn event(&mut self, now: u32, samples: u32) -> (Turn, bool) {
        self.begin();
        match &mut self.state {
            State::Idle => (Turn::Silence, false),
            State::Down { press, sent, start, .. } => {
                let first = start.is_none();
                let start = *start.get_or_insert(now);
                *sent += samples;
                let over = over_at(press.length, *sent);
                let length = over.unwrap_or(*sent);
                let end = if over.is_some() { END } else { 0 };
                let [high, low] = (length.min(u32::from(u16::MAX)) as u16).to_be_bytes();
                let payload = [press.code, VOLUME | end, high, low];
                if over.is_some() {
                    let repeat = Repeat { start, payload: [press.code, VOLUME | END, high, low], left: REPEATS };
                    // What the last packet covers beyond the press is pause already.
                    let left = press.pause.saturating_sub(sent.saturating_sub(length));
                    self.state = State::Up { left, last: press.last, end: Some(repeat) };
                }
                (Turn::Event(EventPacket { first, start, length, payload }), false)
            }
            State::Up { left, last, end } => {
                *left = left.saturating_sub(samples);
                let turn = match end {
                    Some(Repeat { start, payload, left }) if *left > 0 => {
                        *left -= 1;
                        let length = u32::from(u16::from_be_bytes([payload[2], payload[3]]));
                        Turn::Event(EventPacket { first: false, start: *start, length, payload: *payload })
                    }
                    Some(_) | None => Turn::Silence,
                };
                let told = *left == 0 && *last;
                if *left == 0 {
                    self.state = State::Idle;
                }
                (turn, told)
            }
        }
    }

    /// Fills `out` with the next samples as tones. True as in [`Keys::event`].
    pub fn tones(&mut self, out: &mut [i16]) -> bool {
        let mut told = false;
        let mut rest = out;
        while !rest.is_empty() {
            self.begin();
            match &mut self.state {
                State::Idle => {
                    rest.fill(0);
                    return told;
                }
                State::Down { press, sent, tones, .. } => {
                    // One sample at a time: a press may end anywhere.
                    let (sample, later) = rest.split_first_mut().expect("not empty");
                    *sample = tones.sample();
                    rest = later;
                    *sent += 1;
                    if let Some(length) = over_at(press.length, *sent)
                        && *sent >= length
                    {
                        self.state = State::Up { left: press.pause, last: press.last, end: None };
                    }
                }
                State::Up { left, last, .. } => {
                    let silent = (*left as usize).min(rest.len());
                    let (now, later) = rest.split_at_mut(silent);
                    now.fill(0);
                    rest = later;
                    *left -= silent as u32;
                    if *left == 0 {
                        told |= *last;
                        self.state = State::Idle;
                    }
                }
            }
        }
        told
    }
}

/// How long the press is if it is over once so much was sent.
fn over_at(length: Length, sent: u32) -> Option<u32> {
    match length {
        Length::Fixed(length) => (sent >= length).then_some(length),
        Length::Open(known) => {
            let given_up = sent > known.max(SHORTEST) + GRACE || sent >= LONGEST;
            given_up.then_some(sent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtmf::code;

    fn codes(digits: &str) -> Vec<u8> {
        digits.bytes().map(|digit| code(digit).unwrap()).collect()
    }

    #[test]
    fn events_have_exact_durations_and_three_ends() {
        let mut keys = Keys::default();
        keys.press(codes("5#").into_iter(), 90, 60);
        let mut turns = Vec::new();
        let mut over = None;
        for turn in 0..20 {
            if !keys.busy() {
                break;
            }
            let (sent, told) = keys.event(1_000 + 160 * turn, 160);
            turns.push(match sent {
                Turn::Event(it) => Some((it.start, it.payload[0], it.payload[1] & END != 0, it.length, it.first)),
                Turn::Silence => None,
            });
            over = over.or(told.then_some(turn));
        }
        let press = |start, code| {
            [(160, false), (320, false), (480, false), (640, false), (720, true), (720, true), (720, true)]
                .map(|(length, end)| Some((start, code, end, length, length == 160)))
        };
        // The pause of 60 ms: 10 ms in the packet of the end, two repeats, 10 ms more.
        let expected = [&press(1_000, 5)[..], &[None], &press(1_000 + 8 * 160, 11), &[None]].concat();
        assert_eq!((turns, over), (expected, Some(15)));
    }

    #[test]
    fn tones_are_exact_to_the_sample() {
        let mut keys = Keys::default();
        keys.press(codes("19").into_iter(), 50, 45);
        let mut sound = Vec::new();
        let mut over = None;
        for packet in 0..12 {
            let mut out = [1; 160];
            if keys.tones(&mut out) {
                over = over.or(Some(packet));
            }
            sound.extend_from_slice(&out);
        }
        let loud = |range: std::ops::Range<usize>| sound[range].iter().any(|sample| sample.abs() > 2_000);
        let quiet = |range: std::ops::Range<usize>| sound[range].iter().all(|&sample| sample == 0);
        assert!(loud(380..400) && quiet(400..760) && loud(761..781) && loud(1_140..1_160) && quiet(1_160..1_920));
        assert_eq!((over, keys.busy()), (Some(9), false));
    }

    #[test]
    fn a_press_passed_on_is_as_long_as_its_own_and_ends_without_its_end() {
        let up = |length| Some(Key::Up { length });
        for (heard, expected) in [
            ([Some(Key::Held { length: 320 }), None, None, None, up(700)], 700),
            ([up(80), None, None, None, None], SHORTEST),
            // 40 ms known, 60 ms of grace: let go in the packet after.
            ([Some(Key::Held { length: 160 }), None, None, None, None], 960),
        ] {
            let mut keys = Keys::default();
            keys.follow(Key::Down { code: 7 });
            let mut length = 0;
            for turn in 0..20 {
                heard.get(turn).copied().flatten().into_iter().for_each(|key| keys.follow(key));
                if let (Turn::Event(packet), _) = keys.event(0, 160) {
                    length = packet.length;
                }
            }
            assert_eq!((length, keys.busy()), (expected, false));
        }
    }
}
