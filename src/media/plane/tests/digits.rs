//! Digits out, across a bridge from either way to the other, and hidden from recordings.

use super::*;
use crate::media::dtmf::listen::Listener;
use crate::media::dtmf::{Key, Way, symbol};
use crate::media::event::{Digits, Hidden};

const NUMBER: &str = "0559#12*3399";

/// What a phone that takes digits in this way hears of them in these packets, of which `lost` do not reach it.
fn dialled(sounds: &[Sound], way: Way, mut lost: impl FnMut() -> bool) -> String {
    let mut listener = Listener::new(way);
    let mut digits = String::new();
    for sound in sounds {
        if lost() {
            continue;
        }
        let tell = |key| {
            if let Key::Down { code } = key {
                digits.push(char::from(symbol(code).unwrap()));
            }
        };
        match way {
            Way::Events(payload_type) if sound.header.payload_type == payload_type => {
                listener.event(sound.header.timestamp, &sound.payload, tell);
            }
            Way::Events(_) => {}
            Way::Tones => {
                listener.sound(sound.header.timestamp, Codec::Pcma, &sound.payload, tell);
            }
        }
    }
    digits
}

/// 5 % of all packets, but not half of a press: of tones in 20 ms here and there nothing can be told.
fn one_in_twenty(seed: u64) -> impl FnMut() -> bool {
    let mut mint = Mint::new(9, [seed, 9]);
    let mut since = 0;
    move || {
        since += 1;
        let lost = since > 2 && mint.random().is_multiple_of(18);
        since = if lost { 0 } else { since };
        lost
    }
}

/// `number` in tones of 120 ms with 120 ms between, in packets.
fn in_tones(number: &str) -> Vec<Vec<u8>> {
    let mut keys = crate::media::dtmf::keys::Keys::default();
    let codes: Vec<u8> = number.bytes().map(|digit| crate::media::dtmf::code(digit).unwrap()).collect();
    keys.press(codes.into_iter(), 120, 120);
    std::iter::from_fn(|| {
        let mut sound = [0; 160];
        keys.busy().then(|| {
            keys.tones(&mut sound);
            g711::encode(Codec::Pcma, &sound)
        })
    })
    .collect()
}

#[test]
fn digits_go_out_as_events_of_exact_length_on_the_line_of_the_leg() {
    let mut stage = Stage::pair();
    stage.pass(100);
    stage.heard_by(A);
    stage.act(Action::SendDigits { leg: A, digits: Digits::new(NUMBER, 90, 70).unwrap() });
    stage.pass(3_000);
    let sounds = stage.heard_by(A);
    assert_eq!(dialled(&sounds, Way::Events(101), || false), NUMBER);
    let events: Vec<&Sound> = sounds.iter().filter(|sound| sound.header.payload_type == 101).collect();
    for (count, press) in events.chunks(7).enumerate() {
        let lengths: Vec<u16> = press.iter().map(|it| u16::from_be_bytes([it.payload[2], it.payload[3]])).collect();
        assert_eq!(lengths, [160, 320, 480, 640, 720, 720, 720], "press {count}");
        let ends: Vec<bool> = press.iter().map(|it| it.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert!(press.iter().all(|it| it.header.timestamp == press[0].header.timestamp));
        assert_eq!(press.iter().filter(|it| it.header.marker).count(), 1);
    }
    for pair in sounds.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        assert!((pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) as i32) >= 0);
    }
    let others = |notice: &&Notice| !matches!(notice, Notice::Mute { .. });
    let told: Vec<&Notice> = stage.notices.iter().map(|(_, notice)| notice).filter(others).collect();
    assert_eq!(told, [&Notice::DigitsSent { leg: A }]);
}

#[test]
fn digits_go_out_as_tones_where_no_event_was_negotiated() {
    let mut stage = Stage::pair();
    stage.connect(A, |remote| remote.telephone_event = None);
    stage.act(Action::SendDigits { leg: A, digits: Digits::new(NUMBER, 50, 50).unwrap() });
    stage.pass(2_000);
    let sounds = stage.heard_by(A);
    assert_one_line(&sounds);
    assert_eq!(dialled(&sounds, Way::Tones, || false), NUMBER);
    let sound: Vec<u8> = sounds.iter().flat_map(|sound| sound.payload.clone()).collect();
    let linear = g711::decode(Codec::Pcma, &sound);
    let start = linear.iter().position(|sample| sample.abs() > 100).unwrap();
    for press in 0..NUMBER.len() {
        let at = start + press * 800;
        assert!(linear[at + 380..at + 399].iter().any(|sample| sample.abs() > 1_000), "press {press}");
        assert!(linear[at + 401..at + 798].iter().all(|sample| sample.abs() <= 8), "pause {press}");
    }
}

#[test]
fn what_is_no_digit_or_too_much_is_refused_and_who_is_held_gets_none() {
    use crate::media::event::DigitsError::{Count, Length, Symbol};
    let long = "1".repeat(65);
    for (digits, on_ms, off_ms, error) in [
        ("", 100, 100, Count),
        (&*long, 100, 100, Count),
        ("12x", 100, 100, Symbol),
        ("1", 39, 100, Length),
        ("1", 100, 5_001, Length),
    ] {
        assert_eq!(Digits::new(digits, on_ms, off_ms), Err(error), "{digits}");
    }
    let mut stage = Stage::pair();
    stage.act(Action::SendDigits { leg: A, digits: Digits::new("123", 100, 100).unwrap() });
    stage.pass(50);
    stage.connect(A, |remote| remote.direction = Direction::Inactive);
    assert!(matches!(stage.notices[..], [(_, Notice::DigitsSent { leg: A })]), "their end is told");
    stage.heard_by(A);
    stage.connect(A, |_| {});
    stage.pass(500);
    assert_eq!(dialled(&stage.heard_by(A), Way::Events(101), || false), "", "they do not come later");
}

#[test]
fn events_become_tones_for_a_peer_without_them_each_once_also_with_loss() {
    for seed in 0..10 {
        let mut stage = Stage::pair();
        stage.connect(B, |remote| remote.telephone_event = None);
        stage.act(Action::Bridge { a: A, b: B });
        let (mut lost_in, mut count) = (one_in_twenty(seed), 0u16);
        for digit in NUMBER.bytes() {
            let code = crate::media::dtmf::code(digit).unwrap();
            let start = u32::from(count) * 160;
            // 120 ms of event with its end three times, 140 ms of sound.
            for step in 1..=15u16 {
                let ended = if step >= 6 { 0x80 } else { 0 };
                let [high, low] = (step.min(6) * 160).to_be_bytes();
                if seed == 0 || !lost_in() {
                    match step {
                        1..=8 => stage.digit(A, count, start, [code, ended | 10, high, low]),
                        _ => stage.speak(A, count, &[0xd5; 160]),
                    }
                }
                count += 1;
                stage.pass(20);
            }
        }
        stage.pass(200);
        let told: String = stage
            .notices
            .iter()
            .filter_map(|(_, it)| if let Notice::Digit { digit, .. } = it { Some(char::from(*digit)) } else { None })
            .collect();
        assert_eq!(told, NUMBER, "seed {seed}: told");
        let sounds = stage.heard_by(B);
        assert!(sounds.iter().all(|sound| sound.header.payload_type == 8));
        assert_eq!(dialled(&sounds, Way::Tones, || false), NUMBER, "seed {seed}: passed on");
        if seed == 0 {
            for seed in 0..20 {
                let heard = dialled(&sounds, Way::Tones, one_in_twenty(seed));
                assert_eq!(heard, NUMBER, "seed {seed}: lost behind us");
            }
        }
    }
}

#[test]
fn tones_become_events_for_a_peer_with_them_each_once_also_with_loss() {
    for seed in 0..10 {
        let mut stage = Stage::pair();
        stage.connect(A, |remote| remote.telephone_event = None);
        stage.act(Action::Bridge { a: A, b: B });
        let mut lost_in = one_in_twenty(seed);
        let packets = in_tones(NUMBER);
        for (count, packet) in packets.iter().enumerate() {
            if !lost_in() {
                stage.speak(A, count as u16, packet);
            }
            stage.pass(20);
        }
        stage.pass(400);
        let sounds = stage.heard_by(B);
        assert_eq!(dialled(&sounds, Way::Events(101), || false), NUMBER, "seed {seed}");
        assert_eq!(
            dialled(&sounds, Way::Events(101), one_in_twenty(seed + 99)),
            NUMBER,
            "seed {seed}: lost behind us too"
        );
        let ends = sounds.iter().filter(|it| it.header.payload_type == 101 && it.payload[1] & 0x80 != 0);
        let lengths: Vec<u16> = ends.map(|it| u16::from_be_bytes([it.payload[2], it.payload[3]]) / 8).collect();
        let right = lengths.iter().filter(|ms| (110..=130).contains(*ms)).count();
        assert!(right * 2 >= lengths.len() && lengths.iter().all(|ms| (60..=200).contains(ms)), "{lengths:?}");
    }
}

#[test]
fn equal_ways_are_left_alone() {
    for event in [None, Some(101)] {
        let mut stage = Stage::pair();
        for leg in [A, B] {
            stage.connect(leg, |remote| remote.telephone_event = event);
        }
        stage.act(Action::Bridge { a: A, b: B });
        stage.pass(20);
        stage.heard_by(B);
        let packets = in_tones("7");
        for (count, packet) in packets.iter().enumerate() {
            stage.speak(A, count as u16, packet);
            stage.pass(20);
        }
        let sounds: Vec<Vec<u8>> = stage.heard_by(B).into_iter().map(|sound| sound.payload).collect();
        assert_eq!(sounds[..packets.len()], packets, "untouched");
        let told =
            stage.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Digit { digit: b'7', .. })).count();
        assert_eq!(told, usize::from(event.is_none()), "tones count only where no event was negotiated");
    }
}

#[test]
fn hidden_digits_are_marked_in_the_recording_on_their_side() {
    let mut stage = Stage::pair();
    stage.connect(A, |remote| remote.telephone_event = None);
    let recording = RecordingId(5);
    let start = RecordingStart {
        recording,
        contact: ContactId(1),
        site: "hz".into(),
        started: stage.now,
        track: Track::Journey,
    };
    stage.act(Action::Record { citizen: A, recording: start });
    let hidden = |stage: &mut Stage| -> Vec<Hidden> {
        stage.taps.drain(..).filter_map(|tap| if let Tap::Hide(hidden) = tap { Some(hidden) } else { None }).collect()
    };
    let packets = in_tones("7");
    for (count, packet) in packets.iter().enumerate() {
        stage.speak(A, count as u16, packet);
    }
    assert_eq!(hidden(&mut stage), [], "only on request");
    stage.act(Action::HideDigits { leg: A, hide: true });
    for (count, packet) in (100..).zip(&packets) {
        stage.speak(A, count, packet);
    }
    let (from, to) = hidden(&mut stage).iter().fold((u32::MAX, 0), |(from, to), it| (from.min(it.from), to.max(it.to)));
    assert!(from <= 16_000 && to >= 16_000 + 960, "{from}–{to}");
    // What the citizen is sent of digits, too.
    stage.act(Action::SendDigits { leg: A, digits: Digits::new("5", 100, 60).unwrap() });
    stage.pass(160);
    let sent = hidden(&mut stage);
    assert!(sent.len() >= 7 && sent.iter().all(|it| it.channel == Channel::Others), "{sent:?}");
}
