//! Digits as telephone-events (RFC 4733): told once, at their start, whatever is lost or repeated on the way.
//!
//! An event is known by its time stamp: updates and the three final packets repeat it. Never looks for tones in the sound.

/// Events of RFC 4733 §3.2 in the order of their codes.
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";
/// Bytes of one event in a payload (§2.3).
const EVENT_LEN: usize = 4;

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
}

impl Receiver {
    /// Takes one packet and tells `digit` of each digit that begins in it.
    pub fn receive(&mut self, timestamp: u32, payload: &[u8], mut digit: impl FnMut(u8)) {
        let mut timestamp = timestamp;
        // §2.5.1.5: several events in one packet follow each other without a gap.
        for bytes in payload.chunks_exact(EVENT_LEN) {
            let duration = u16::from_be_bytes([bytes[2], bytes[3]]);
            let event = Event { code: bytes[0], timestamp, duration, ended: bytes[1] & 0x80 != 0 };
            if self.begins(event)
                && let Some(&symbol) = DIGITS.get(usize::from(event.code))
            {
                digit(symbol);
            }
            timestamp = timestamp.wrapping_add(u32::from(duration));
        }
    }

    fn begins(&mut self, event: Event) -> bool {
        let Some(last) = &mut self.last else {
            self.last = Some(event);
            return true;
        };
        let later = event.timestamp.wrapping_sub(last.timestamp) as i32;
        if later == 0 {
            last.duration = last.duration.max(event.duration);
            last.ended |= event.ended;
            return false;
        }
        if later < 0 {
            return false;
        }
        // §2.5.1.3: an event longer than its counter goes on as a new segment, exactly where the counter ended.
        let segment = event.code == last.code && !last.ended && later == i32::from(u16::MAX);
        *last = event;
        !segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u8 = 0x80;

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
            receiver.receive(*timestamp, &payload, |digit| digits.push(char::from(digit)));
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
}
