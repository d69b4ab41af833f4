//! Tones: pairs of sine waves for digits (ITU-T Q.23) and the tones of a telephone network (ITU-T E.180, China: 450 Hz).
//!
//! Makes linear samples at 8 kHz. Knows nothing of time but the number of samples asked for.

use super::g711::{SAMPLES_PER_MS, SAMPLES_PER_SECOND};
use std::f64::consts::TAU;

/// Amplitude of a sine wave of 0 dBm0: 3.14 dB below the loudest that A-law knows (ITU-T G.711 §5).
pub const ZERO_DBM0: f64 = 22_826.0;
/// Frequencies of Q.23: rows.
pub const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// Columns.
pub const HIGH_HZ: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// Level of the lower tone of a digit of ours.
const LOW_DBM0: f64 = -10.0;
/// The upper one suffers more on the way.
const HIGH_DBM0: f64 = -8.0;
/// Level of the network's tones (E.180: −15 to −5 dBm0).
const NETWORK_DBM0: f64 = -10.0;
/// All tones of China's network are of this frequency.
const NETWORK_HZ: f64 = 450.0;

/// A sine wave, made by one multiplication a sample.
#[derive(Clone, Copy, Debug)]
pub struct Sine {
    twice_cosine: f64,
    last: f64,
    before: f64,
}

impl Sine {
    /// Begins at 0.
    pub fn new(hz: f64, amplitude: f64) -> Sine {
        let step = TAU * hz / f64::from(SAMPLES_PER_SECOND);
        Sine { twice_cosine: 2.0 * step.cos(), last: -amplitude * step.sin(), before: -amplitude * (2.0 * step).sin() }
    }

    /// The next sample.
    pub fn sample(&mut self) -> f64 {
        let next = self.twice_cosine * self.last - self.before;
        (self.before, self.last) = (self.last, next);
        next
    }
}

/// The two tones of a digit.
#[derive(Clone, Copy, Debug)]
pub struct Dual([Sine; 2]);

impl Dual {
    /// The digit in row and column of Q.23, 0–3 each.
    pub fn new(row: usize, column: usize) -> Dual {
        Dual([Sine::new(LOW_HZ[row], amplitude(LOW_DBM0)), Sine::new(HIGH_HZ[column], amplitude(HIGH_DBM0))])
    }

    /// The next sample.
    pub fn sample(&mut self) -> i16 {
        self.0.iter_mut().map(Sine::sample).sum::<f64>().round() as i16
    }
}

/// Amplitude of a sine wave of this level.
pub fn amplitude(dbm0: f64) -> f64 {
    ZERO_DBM0 * 10f64.powf(dbm0 / 20.0)
}

/// What can be played without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// It rings at the other side: 1 s on, 4 s off.
    Ringback,
    /// Busy: 0.35 s on, 0.35 s off.
    Busy,
    /// Somebody joined a conference: a short rising pair.
    Joined,
    /// Somebody left it: a short falling pair.
    Left,
}

impl Tone {
    /// All of them.
    pub const ALL: [Tone; 4] = [Tone::Ringback, Tone::Busy, Tone::Joined, Tone::Left];

    /// One period of it.
    pub fn samples(self) -> Vec<i16> {
        // Frequency in Hz (0: silence) and length in milliseconds.
        let steps: &[(f64, u32)] = match self {
            Tone::Ringback => &[(NETWORK_HZ, 1_000), (0.0, 4_000)],
            Tone::Busy => &[(NETWORK_HZ, 350), (0.0, 350)],
            Tone::Joined => &[(440.0, 100), (587.0, 100)],
            Tone::Left => &[(587.0, 100), (440.0, 100)],
        };
        let mut samples = Vec::new();
        for &(hz, ms) in steps {
            let mut sine = Sine::new(hz, if hz == 0.0 { 0.0 } else { amplitude(NETWORK_DBM0) });
            samples.extend((0..ms * SAMPLES_PER_MS).map(|_| sine.sample().round() as i16));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_is_one_for_minutes() {
        let mut sine = Sine::new(941.0, 10_000.0);
        for sample in 0..8_000 * 120 {
            let exact = 10_000.0 * (TAU * 941.0 * f64::from(sample) / 8_000.0).sin();
            assert!((sine.sample() - exact).abs() < 0.5, "sample {sample}");
        }
    }

    #[test]
    fn digits_never_clip_and_tones_are_as_long_as_they_should_be() {
        for place in 0..16 {
            let mut dual = Dual::new(place / 4, place % 4);
            assert!((0..8_000).all(|_| dual.sample().unsigned_abs() < 18_000));
        }
        let lengths: Vec<usize> = Tone::ALL.iter().map(|tone| tone.samples().len() / 8).collect();
        assert_eq!(lengths, [5_000, 700, 200, 200]);
    }
}
