//! Sound through the buffer on virtual time: what comes out is compared with what went in.

use super::*;
use crate::base::Mint;
use crate::media::g711::encode;

const CODEC: Codec = Codec::Pcma;

/// Noise in talk spurts of 1 s with pauses of 0.5 s of faint noise.
fn talk(seconds: usize) -> Vec<i16> {
    let mut mint = Mint::new(1, [8, 8]);
    (0..seconds * 8_000)
        .map(|n| {
            let loud = n % 12_000 < 8_000;
            mint.random() as i16 / if loud { 4 } else { 900 }
        })
        .collect()
}

/// A buffer that a source speaks to and that is asked every 20 ms.
struct Line {
    playout: Playout,
    out: Vec<i16>,
}

impl Line {
    /// `way` gives how many milliseconds the packet sent at this one takes, if it comes; the source's clock is off by so
    /// many parts in a million. Ends when all is said.
    fn run(heard: Option<(u32, u32)>, said: &[i16], ppm: i64, way: impl FnMut(u64) -> Option<u64>) -> Line {
        Line::run_at(7_000, heard, said, ppm, way)
    }

    /// The same, asked so many microseconds behind each 20 ms.
    fn run_at(
        phase_us: u64,
        heard: Option<(u32, u32)>,
        said: &[i16],
        ppm: i64,
        mut way: impl FnMut(u64) -> Option<u64>,
    ) -> Line {
        let mut line = Line { playout: Playout::new(heard), out: Vec::new() };
        let mut coming: Vec<(u64, usize)> = Vec::new();
        let packets = encode(CODEC, said);
        let mut count = 0;
        for frame in 1..said.len() as u64 / 160 {
            let asked_us = frame * 20_000 + phase_us;
            loop {
                let sent_us = (count as i64 * 20_000 * (1_000_000 + ppm) / 1_000_000) as u64;
                if sent_us > asked_us {
                    break;
                }
                if (count + 1) * 160 > packets.len() {
                    return line;
                }
                coming.extend(way(sent_us / 1_000).map(|ms| (sent_us + ms * 1_000, count)));
                count += 1;
            }
            coming.sort_unstable();
            let due = coming.partition_point(|(at, _)| *at <= asked_us);
            for (at, count) in coming.drain(..due) {
                let (timestamp, payload) = ((count * 160) as u32, &packets[count * 160..][..160]);
                line.playout.put(Mono(at * 1_000), 5, timestamp.wrapping_sub(800), CODEC, payload);
            }
            let mut out = [0; FRAME];
            line.playout.take(Mono(asked_us * 1_000), &mut out);
            line.out.extend(out);
        }
        line
    }
}

#[test]
fn an_even_source_comes_out_as_it_is_after_20_to_40_ms() {
    let said = talk(6);
    let line = Line::run(None, &said, 0, |_| Some(30));
    let coded: Vec<i16> = crate::media::g711::decode(CODEC, &encode(CODEC, &said));
    let start = line.out.windows(400).position(|heard| heard == &coded[..400]).expect("it is there, unchanged");
    // 30 ms on the way, 20 ms at least in the buffer, asked every 20 ms.
    assert!((8 * 30..=8 * 80).contains(&start), "{} ms", start / 8);
    let figures = line.playout.figures();
    assert_eq!((figures.late, figures.taken_out + figures.put_in), (0, 0), "{figures:?}");
    assert_eq!(line.out[start..], coded[..line.out.len() - start]);
}

#[test]
fn who_was_heard_before_goes_on_at_once_and_gets_its_delay_in_a_pause() {
    let said = talk(12);
    let mut mint = Mint::new(7, [7, 7]);
    // All come in time as it is, the latest of them only just.
    let line = Line::run_at(1_000, Some((5, 0u32.wrapping_sub(800))), &said, 0, move |_| Some(mint.random() % 22));
    let coded: Vec<i16> = crate::media::g711::decode(CODEC, &encode(CODEC, &said));
    assert_eq!(line.out[..8_000], coded[..8_000], "from the first sample");
    let figures = line.playout.figures();
    assert!(figures.put_in > figures.taken_out && (figures.made_up, figures.late) == (0, 0), "{figures:?}");
    // All of every later talk spurt is there, in one piece: the delay was changed in pauses.
    for spurt in 1..7 {
        let spoken = &coded[spurt * 12_000..][..8_000];
        let whole = line.out.windows(8_000).any(|heard| heard == spoken);
        assert!(whole, "spurt {spurt}");
    }
}

#[test]
fn a_delay_that_must_come_while_somebody_speaks_costs_20_ms_of_concealment_and_no_sample() {
    for seed in 0..50 {
        let said: Vec<i16> = talk(1).into_iter().cycle().take(3 * 8_000).collect();
        let mut mint = Mint::new(9, [seed, 9]);
        let mut before = 0;
        // Packets keep their order, as they mostly do.
        let line = Line::run(Some((5, 0u32.wrapping_sub(800))), &said, 0, move |ms| {
            before = (ms + mint.random() % 40).max(before);
            Some(before - ms)
        });
        let coded: Vec<i16> = crate::media::g711::decode(CODEC, &encode(CODEC, &said));
        let figures = line.playout.figures();
        assert_eq!((figures.late, figures.taken_out, figures.put_in), (0, 0, 0), "seed {seed}: {figures:?}");
        // Frame by frame either what comes next, but for the blend behind what was made up, or 20 ms made up.
        let (mut next, mut made_up) = (0, 0);
        let begin = line.out.chunks_exact(FRAME).position(|frame| frame != [0; FRAME]).expect("it is heard");
        for frame in line.out.chunks_exact(FRAME).skip(begin) {
            if frame[80..] == coded[next + 80..next + FRAME] {
                next += FRAME;
            } else {
                made_up += FRAME as u64;
            }
        }
        assert_eq!(made_up, figures.made_up, "seed {seed}: nothing is left out");
        assert!(made_up <= 320, "seed {seed}: {made_up}");
    }
}

#[test]
fn the_delay_follows_the_jitter_up_and_down() {
    let said = talk(60);
    let mut mint = Mint::new(3, [3, 3]);
    let line = Line::run(None, &said, 0, move |ms| {
        let spread = if (20_000..40_000).contains(&ms) { 120 } else { 5 };
        Some(mint.random() % spread)
    });
    let figures = line.playout.figures();
    let lag = |from: usize| {
        let spoken = &crate::media::g711::decode(CODEC, &encode(CODEC, &said))[from..from + 4_000];
        (0..3_000).find(|lag| line.out.get(from + lag..from + lag + 4_000) == Some(spoken))
    };
    let lags = [12_000 * 12, 12_000 * 25, 12_000 * 38].map(lag);
    let [Some(calm), Some(rough), Some(again)] = lags else { panic!("{lags:?}, {figures:?}") };
    assert!(rough > calm + 400 && again < calm + 400, "{lags:?}");
    let all = said.len() as u64;
    assert!(figures.late * 20 < all && figures.made_up * 20 < all, "{figures:?}");
    assert!(figures.taken_out > 400 && figures.put_in > 0, "{figures:?}");
}

#[test]
fn loss_is_made_up_and_moves_nothing() {
    let said = talk(12);
    let line = Line::run(None, &said, 0, |ms| (ms % 500 != 0).then_some(0));
    let figures = line.playout.figures();
    assert_eq!(figures.made_up, 23 * 160, "{figures:?}");
    let coded: Vec<i16> = crate::media::g711::decode(CODEC, &encode(CODEC, &said));
    // Between losses all is as it was said, at the same distance.
    let lag = (0..1_000).find(|lag| line.out[8_500 + lag..9_500 + lag] == coded[8_500..9_500]).unwrap();
    assert_eq!(line.out[80_500 + lag..81_500 + lag], coded[80_500..81_500]);
}

#[test]
fn an_hour_with_a_clock_off_by_100_ppm_keeps_its_delay() {
    let minute = talk(60);
    let hour: Vec<i16> = minute.iter().copied().cycle().take(3_600 * 8_000).collect();
    for ppm in [100, -100] {
        let line = Line::run(None, &hour, ppm, |ms| Some(ms * 7 % 9));
        let figures = line.playout.figures();
        // 360 ms of drift in all.
        let moved = figures.taken_out.abs_diff(figures.put_in) + figures.made_up;
        assert!((2_000..4_000).contains(&moved), "{ppm} ppm: {figures:?}");
        assert_eq!(figures.late, 0, "{ppm} ppm: {figures:?}");
        assert!(line.playout.held() < 800, "{ppm} ppm: {} samples held", line.playout.held());
    }
}

#[test]
fn whatever_comes_a_frame_comes_out() {
    let mut mint = Mint::new(5, [1, 1]);
    for _ in 0..200 {
        let mut playout = Playout::new((mint.random() & 1 == 0).then_some((1, 100)));
        let mut now = 1_000_000_000u64;
        for _ in 0..200 {
            let roll = mint.random();
            now += roll % 30_000_000;
            let timestamp = if roll & 0xf00 == 0 { (roll >> 30) as u32 } else { (now / 125_000) as u32 & !0x7f };
            let payload = vec![roll as u8; (roll >> 50) as usize % 700];
            playout.put(Mono(now), (roll >> 12 & 1) as u32, timestamp, CODEC, &payload);
            if roll & 0x3000 != 0 {
                playout.take(Mono(now), &mut [0; FRAME]);
            }
            if roll & 0xff0000 == 0 {
                playout.drain();
                let mut rest = Vec::new();
                playout.rest(&mut rest);
                assert!(rest.len() <= RING && playout.held() == 0);
            }
        }
    }
}
