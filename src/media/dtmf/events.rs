//! Digits as telephone-events (RFC 4733): each press told once, at its start, whatever is lost or repeated on the way.
//!
//! An event is known by its time stamp: updates and the three final packets repeat it. Never looks for tones in the sound.

use super::{Key, symbol};

/// Bytes of one event in a payload (§2.3).
pub const EVENT_LEN: usize = 4;
/// The end bit (§2.3.2), in the second byte.
pub const END: u8 = 0x80;

/// What a leg has heard of digits.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    last: Option<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    code: u8,
    timestamp: u32,
    duration: u16,
    ended: bool,
    /// Of the segments before this one.
    before: u32,
}

impl Receiver {
    /// Takes one packet and tells what is new in it.
    pub fn receive(&mut self, timestamp: u32, payload: &[u8], mut tell: impl FnMut(Key)) {
        let mut timestamp = timestamp;
        // §2.5.1.5: several events in one packet follow each other without a gap.
        for bytes in payload.chunks_exact(EVENT_LEN) {
            let duration = u16::from_be_bytes([bytes[2], bytes[3]]);
            let event = Event { code: bytes[0], timestamp, duration, ended: bytes[1] & END != 0, before: 0 };
            let (began, rest) = self.take(event);
            // Codes beyond the digits are no business of ours.
            if symbol(event.code).is_some() {
                if began {
                    tell(Key::Down { code: event.code });
                }
                rest.into_iter().for_each(&mut tell);
            }
            timestamp = timestamp.wrapping_add(u32::from(duration));
        }
    }

    /// Whether a press begins with this, and what more it tells.
    fn take(&mut self, event: Event) -> (bool, Option<Key>) {
        let Some(last) = &mut self.last else {
            self.last = Some(event);
            return (true, Some(event.told()));
        };
        let later = event.timestamp.wrapping_sub(last.timestamp) as i32;
        if later == 0 {
            let news = !last.ended && (event.ended || event.duration > last.duration);
            last.duration = last.duration.max(event.duration);
            last.ended |= event.ended;
            return (false, news.then(|| last.told()));
        }
        if later < 0 {
            return (false, None);
        }
        // §2.5.1.3: an event longer than its counter goes on as a new segment, exactly where the counter ended.
        let segment = event.code == last.code && !last.ended && later == i32::from(u16::MAX);
        let before = if segment { last.before + u32::from(u16::MAX) } else { 0 };
        *last = Event { before, ..event };
        (!segment, Some(last.told()))
    }
}

impl Event {
    fn told(&self) -> Key {
        let length = self.before + u32::from(self.duration);
        if self.ended { Key::Up { length } } else { Key::Held { length } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time stamp and (code, flags, duration) of each event.
    type Packet = (u32, &'static [(u8, u8, u16)]);

    const CASES: &[(&str, &[Packet], &str)] = &[
        ("plain", &[(0, &[(5, 0, 160)]), (0, &[(5, 0, 320)]), (0, &[(5, END, 480)]), (0, &[(5, END, 480)])], "5"),
        ("first packets lost", &[(0, &[(5, END, 480)]), (0, &[(5, END, 480)])], "5"),
        ("end packets lost", &[(0, &[(5, 0, 160)]), (900, &[(6, 0, 160)])], "56"),
        ("same digit twice, every end lost", &[(0, &[(5, 0, 160)]), (900, &[(5, 0, 160)])], "55"),
        (
            "a late repeat of the digit before",
            &[(0, &[(1, 0, 160)]), (900, &[(2, 0, 160)]), (0, &[(1, END, 480)])],
            "12",
        ),
        (
            "long: the counter stands still",
            &[(0, &[(7, 0, 65_535)]), (0, &[(7, 0, 65_535)]), (0, &[(7, END, 65_535)])],
            "7",
        ),
        ("long: in segments", &[(0, &[(7, 0, 65_535)]), (65_535, &[(7, 0, 160)]), (65_535, &[(7, END, 320)])], "7"),
        ("not a segment after the end", &[(0, &[(7, END, 480)]), (65_535, &[(7, 0, 160)])], "77"),
        (
            "two in one packet, repeated",
            &[(0, &[(1, END, 400), (2, 0, 80)]), (0, &[(1, END, 400), (2, END, 160)])],
            "12",
        ),
        (
            "star, pound, letters, no flash",
            &[(0, &[(10, END, 1)]), (1, &[(11, END, 1)]), (2, &[(15, END, 1)]), (3, &[(16, END, 1)])],
            "*#D",
        ),
        ("over the wrap", &[(u32::MAX - 10, &[(3, END, 80)]), (600, &[(4, END, 80)])], "34"),
        ("cut short", &[(0, &[])], ""),
    ];

    fn heard(packets: &[Packet]) -> String {
        let mut receiver = Receiver::default();
        let mut digits = String::new();
        for (timestamp, events) in packets {
            let payload: Vec<u8> = events
                .iter()
                .flat_map(|&(code, flags, duration)| [code, flags | 10, (duration >> 8) as u8, duration as u8])
                .collect();
            receiver.receive(*timestamp, &payload, |key| {
                if let Key::Down { code } = key {
                    digits.push(char::from(symbol(code).unwrap()));
                }
            });
        }
        digits
    }

    #[test]
    fn each_digit_is_told_once() {
        for (name, packets, digits) in CASES {
            assert_eq!(heard(packets), *digits, "{name}");
        }
        let mut receiver = Receiver::default();
        receiver.receive(0, &[5, 0, 1], |_| panic!("three bytes are no event"));
    }

    #[test]
    fn lengths_grow_and_end_once() {
        let mut receiver = Receiver::default();
        let mut told = Vec::new();
        for (timestamp, flags, duration) in
            [(0, 0, 160), (0, 0, 320), (0, 0, 160), (0, END, 450), (0, END, 450), (900, 0, 65_535), (66_435, END, 80)]
        {
            let payload = [5, flags | 10, (duration >> 8) as u8, duration as u8];
            receiver.receive(timestamp, &payload, |key| told.push(key));
        }
        let (down, held, up) = (Key::Down { code: 5 }, |length| Key::Held { length }, |length| Key::Up { length });
        assert_eq!(told, [down, held(160), held(320), up(450), down, held(65_535), up(65_615)]);
    }
}
