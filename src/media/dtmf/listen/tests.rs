//! The limits of ITU-T Q.24 on sound as it comes over the wire, in A-law; speech and music; loss.

use super::*;
use crate::base::Mint;
use crate::media::dtmf::symbol;
use crate::media::g711::{decode, encode};
use crate::media::tone::{HIGH_HZ, LOW_HZ, Sine, amplitude};

const ALL: &str = "123A456B789C*0#D";

/// How digits are pressed.
#[derive(Clone, Copy)]
struct Hand {
    on_ms: f64,
    off_ms: f64,
    low_dbm0: f64,
    high_dbm0: f64,
    /// Factors on both frequencies.
    off: (f64, f64),
    /// Samples of silence before.
    lead: usize,
}

const PLAIN: Hand = Hand { on_ms: 40.0, off_ms: 40.0, low_dbm0: -10.0, high_dbm0: -8.0, off: (1.0, 1.0), lead: 100 };

fn pressed(digits: &str, hand: Hand) -> Vec<i16> {
    let mut sound = vec![0; hand.lead];
    for digit in digits.chars() {
        let at = ALL.find(digit).unwrap();
        let mut tones = [
            Sine::new(LOW_HZ[at / 4] * hand.off.0, amplitude(hand.low_dbm0)),
            Sine::new(HIGH_HZ[at % 4] * hand.off.1, amplitude(hand.high_dbm0)),
        ];
        sound.extend((0..(hand.on_ms * 8.0) as usize).map(|_| tones.iter_mut().map(Sine::sample).sum::<f64>() as i16));
        sound.extend(vec![0; (hand.off_ms * 8.0) as usize]);
    }
    sound.extend([0; 800]);
    sound
}

/// Packets of 20 ms, of which `lost` do not come.
fn heard(sound: &[i16], mut lost: impl FnMut(usize) -> bool) -> (String, Vec<u32>) {
    let mut listener = Listener::new(Way::Tones);
    let (mut digits, mut lengths) = (String::new(), Vec::new());
    for (count, packet) in encode(Codec::Pcma, sound).chunks(160).enumerate() {
        if lost(count) {
            continue;
        }
        listener.sound(count as u32 * 160, Codec::Pcma, packet, |key| match key {
            Key::Down { code } => digits.push(char::from(symbol(code).unwrap())),
            Key::Held { .. } => {}
            Key::Up { length } => lengths.push(length),
        });
    }
    (digits, lengths)
}

fn digits(sound: &[i16]) -> String {
    heard(sound, |_| false).0
}

#[test]
fn every_digit_of_40_ms_with_40_ms_between_at_every_phase() {
    for lead in (0..64).chain([1_000, 1_111]) {
        assert_eq!(digits(&pressed(ALL, Hand { lead, ..PLAIN })), ALL, "after {lead} samples");
    }
    for symbol in ALL.chars() {
        let four = String::from_iter([symbol; 4]);
        assert_eq!(digits(&pressed(&four, PLAIN)), four, "the same digit again");
    }
}

#[test]
fn one_and_a_half_percent_off_is_taken_and_three_and_a_half_is_not() {
    for one in [0.985, 0.99, 1.0, 1.01, 1.015] {
        for other in [0.985, 1.0, 1.015] {
            let hand = Hand { off: (one, other), ..PLAIN };
            assert_eq!(digits(&pressed(ALL, hand)), ALL, "{one} {other}");
        }
    }
    for off in [(0.965, 1.0), (1.035, 1.0), (1.0, 0.965), (1.0, 1.035), (0.965, 1.035), (0.95, 1.0), (1.0, 1.05)] {
        let hand = Hand { off, on_ms: 100.0, ..PLAIN };
        assert_eq!(digits(&pressed(ALL, hand)), "", "{off:?}");
    }
}

#[test]
fn too_short_is_no_digit_and_a_short_break_does_not_split_one() {
    for lead in 0..32 {
        assert_eq!(digits(&pressed(ALL, Hand { on_ms: 23.0, lead, ..PLAIN })), "");
        let whole = pressed("5", Hand { on_ms: 120.0, lead, ..PLAIN });
        let mut broken = whole.clone();
        broken[lead + 400..lead + 480].fill(0);
        assert_eq!(digits(&broken), "5", "10 ms of silence in the middle");
    }
}

#[test]
fn levels_and_twist() {
    let at = |low_dbm0, high_dbm0| digits(&pressed(ALL, Hand { low_dbm0, high_dbm0, ..PLAIN }));
    for level in [-3.0, -6.0, -12.0, -20.0, -25.0, -29.0] {
        assert_eq!(at(level - 3.0, level - 3.0 + 2.0), ALL, "{level} dBm0");
    }
    // The upper tone up to 4 dB louder, the lower one up to 8 dB (Q.24, AT&T).
    for (low, high) in [(-14.0, -10.0), (-10.0, -18.0), (-8.0, -16.0), (-24.0, -20.0)] {
        assert_eq!(at(low, high), ALL, "{low} {high}");
    }
    for (low, high) in [(-20.0, -11.0), (-8.0, -21.0), (-55.0, -55.0), (-90.0, -8.0), (-8.0, -90.0)] {
        assert_eq!(at(low, high), "", "{low} {high}");
    }
}

#[test]
fn in_noise_15_db_below() {
    let mut mint = Mint::new(3, [3, 3]);
    let mut noise = move || (mint.random() >> 40) as f64 / f64::from(1 << 23) - 1.0;
    for round in 0..20 {
        let mut sound = pressed(ALL, Hand { on_ms: 50.0, off_ms: 50.0, lead: round * 7, ..PLAIN });
        // A uniform noise's power is a third of its peak's square, a sine's is half.
        let peak = amplitude(-6.0 - 15.0) * (1.5f64).sqrt();
        sound.iter_mut().for_each(|sample| *sample += (noise() * peak) as i16);
        assert_eq!(digits(&sound), ALL, "round {round}");
    }
}

#[test]
fn lengths_are_known_within_5_ms() {
    for on_ms in [40.0, 65.0, 100.0, 333.0] {
        for lead in 0..32 {
            let lengths = heard(&pressed("159D", Hand { on_ms, lead, ..PLAIN }), |_| false).1;
            let off = lengths.iter().map(|&length| (f64::from(length) / 8.0 - on_ms).abs()).fold(0.0, f64::max);
            assert!(lengths.len() == 4 && off <= 5.0, "{on_ms} ms: {lengths:?}");
        }
    }
}

#[test]
fn each_digit_once_and_in_order_with_5_percent_of_the_packets_lost() {
    let mut mint = Mint::new(5, [5, 5]);
    for round in 0..50 {
        let number = "0559123#77*00";
        let sound = pressed(number, Hand { on_ms: 120.0, off_ms: 120.0, lead: round, ..PLAIN });
        let mut lost = 0;
        let heard = heard(&sound, |_| {
            let now = mint.random().is_multiple_of(20);
            lost += u32::from(now);
            now
        });
        assert_eq!(heard.0, number, "round {round}, {lost} lost");
    }
}

/// What people say, what they hear, and music: an hour's worth of chances to be taken for a digit.
#[test]
fn no_digit_in_speech_nor_in_music() {
    let files: [(&str, &[u8]); 15] = [
        ("agent-hello", include_bytes!("../../../demo/voices/agent-hello.wav")),
        ("agent-reply", include_bytes!("../../../demo/voices/agent-reply.wav")),
        ("citizen-thanks", include_bytes!("../../../demo/voices/citizen-thanks.wav")),
        ("citizen-light", include_bytes!("../../../demo/voices/citizen-light.wav")),
        ("citizen-water", include_bytes!("../../../demo/voices/citizen-water.wav")),
        ("apology", include_bytes!("../../../../ivr-flows/prompts/apology.wav")),
        ("menu", include_bytes!("../../../../ivr-flows/prompts/menu.wav")),
        ("music", include_bytes!("../../../../ivr-flows/prompts/music-on-hold.wav")),
        ("no-key", include_bytes!("../../../../ivr-flows/prompts/no-key.wav")),
        ("progress-ask", include_bytes!("../../../../ivr-flows/prompts/progress-ask.wav")),
        ("quanzhou", include_bytes!("../../../../ivr-flows/prompts/quanzhou-greeting.wav")),
        ("queue", include_bytes!("../../../../ivr-flows/prompts/queue-announcement.wav")),
        ("recording", include_bytes!("../../../../ivr-flows/prompts/recording-notice.wav")),
        ("wrong-key", include_bytes!("../../../../ivr-flows/prompts/wrong-key.wav")),
        ("merged", include_bytes!("../../../../ivr-flows/prompts/12333-merged.wav")),
    ];
    let mut seconds = 0;
    for (name, file) in files {
        let samples: Vec<i16> = hound::WavReader::new(file).unwrap().into_samples().map(Result::unwrap).collect();
        // As it is, and in other voices: slower and faster by interpolation, from 0.7 to 1.4 of the pitch.
        for pitch in [0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4] {
            let length = ((samples.len() - 1) as f64 / pitch) as usize;
            let voice: Vec<i16> = (0..length)
                .map(|n| {
                    let (at, part) = ((n as f64 * pitch) as usize, (n as f64 * pitch).fract());
                    (f64::from(samples[at]) * (1.0 - part) + f64::from(samples[at + 1]) * part) as i16
                })
                .collect();
            seconds += voice.len() / 8_000;
            assert_eq!(digits(&voice), "", "{name} at {pitch}");
        }
    }
    assert!(seconds > 600, "{seconds} s of sound");
}

#[test]
fn what_is_to_be_hidden_covers_the_tone() {
    for lead in 0..160 {
        let sound = pressed("5", Hand { on_ms: 100.0, lead: 800 + lead, ..PLAIN });
        let mut listener = Listener::new(Way::Tones);
        let (mut from, mut to) = (u32::MAX, 0);
        for (count, packet) in encode(Codec::Pcma, &sound).chunks(160).enumerate() {
            if let Some(span) = listener.sound(count as u32 * 160, Codec::Pcma, packet, |_| ()) {
                (from, to) = (from.min(span.from), to.max(span.to));
            }
        }
        let (start, end) = (800 + lead as u32, 1_600 + lead as u32);
        assert!(from <= start && start - from < 200 && to >= end && to - end < 500, "{start}–{end}: {from}–{to}");
    }
}

#[test]
fn late_packets_and_new_lines_of_time_are_survived() {
    let sound = encode(Codec::Pcmu, &pressed("7", Hand { on_ms: 100.0, ..PLAIN }));
    assert!(decode(Codec::Pcmu, &sound).iter().any(|sample| *sample > 5_000));
    let mut listener = Listener::new(Way::Tones);
    let mut told = Vec::new();
    for (count, packet) in sound.chunks(160).enumerate() {
        let shift = if count > 3 { 1 << 30 } else { 0 };
        for timestamp in [count as u32 * 160, (count as u32 * 160).wrapping_sub(320)] {
            listener.sound(timestamp.wrapping_add(shift), Codec::Pcmu, packet, |key| told.push(key));
        }
    }
    assert_eq!(told.iter().filter(|key| matches!(key, Key::Down { .. })).count(), 1);
    assert!(Listener::new(Way::Events(101)).sound(0, Codec::Pcma, &[1; 160], |_| ()).is_none());
}
