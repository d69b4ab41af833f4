//! Digits as tones in the sound: found within the limits of ITU-T Q.24, and not in speech.
//!
//! Every [`HOP`] samples a window of 16 ms is compared with the eight frequencies (a Goertzel filter each, as a weighted
//! sum). How far a tone is off its frequency follows from its phase in two windows, which tells 1.5 % from 3.5 % also
//! where the window is far too short to resolve it; its amplitude is then corrected for the filter's slope. A digit is
//! two such tones that hold nearly all the window's energy, long enough. Sound that was lost says neither yes nor no.

use super::{Key, code_at};
use crate::media::g711::SAMPLES_PER_SECOND;
use crate::media::tone::{HIGH_HZ, LOW_HZ, ZERO_DBM0, amplitude};
use std::f64::consts::{PI, TAU};
use std::sync::LazyLock;

/// Samples from one look to the next: 4 ms.
const HOP: usize = 32;
/// Samples looked at: 16 ms.
const WINDOW: usize = 128;
/// Looks that agree make a digit: 6 are surely met by 40 ms of tone and never by 23 ms (Q.24, table A-1).
const LOOKS_ON: u32 = 6;
/// Looks without it end the digit: 7 are surely met by a pause of 40 ms and never by an interruption of 10 ms.
const LOOKS_OFF: u32 = 7;
/// A tone of `n` looks is so much longer than `n` hops: the window less what of it may lie outside the tone.
const EDGE: u32 = 75;
/// Largest deviation from a frequency: between the 1.5 % that must be taken and the 3.5 % that must not.
const DEVIATION_MAX: f64 = 0.025;
/// Level below which a tone is none. Q.24 asks for down to −29 dBm0 at most and nothing below −55.
const LEVEL_MIN_DBM0: f64 = -33.0;
/// The upper tone may be so much louder than the lower one, as a ratio of powers: 6 dB.
const UPPER_LOUDER_MAX: f64 = 3.981;
/// The lower tone may be so much louder than the upper one: 10 dB.
const LOWER_LOUDER_MAX: f64 = 10.0;
/// Share of the energy that the two tones hold at least. A tone hit in noise 15 dB below it holds 0.97.
const SHARE_MIN: f64 = 0.86;
/// A digit does not get louder or softer from one look to the next by more than this ratio of powers: 3 dB.
const CHANGE_MAX: f64 = 2.0;

/// The filters: a Hann window and the window times cosine and sine of each frequency.
struct Filters {
    window: [f32; WINDOW],
    waves: [[[f32; WINDOW]; 2]; 8],
    /// Sum of the window.
    sum: f64,
    /// Sum of its squares.
    squares: f64,
}

static FILTERS: LazyLock<Filters> = LazyLock::new(|| {
    let window: [f64; WINDOW] = std::array::from_fn(|n| 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / WINDOW as f64).cos());
    let wave = |hz: f64, quarter: f64| {
        std::array::from_fn(|n| {
            let phase = TAU * hz * n as f64 / f64::from(SAMPLES_PER_SECOND);
            (window[n] * (phase - quarter).cos()) as f32
        })
    };
    Filters {
        window: window.map(|weight| weight as f32),
        waves: std::array::from_fn(|tone| [wave(frequency(tone), 0.0), wave(frequency(tone), PI / 2.0)]),
        sum: window.iter().sum(),
        squares: window.iter().map(|weight| weight * weight).sum(),
    }
});

/// 0–3 are the rows, 4–7 the columns.
fn frequency(tone: usize) -> f64 {
    if tone < 4 { LOW_HZ[tone] } else { HIGH_HZ[tone - 4] }
}

/// What one look saw.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Of each frequency: real and imaginary part.
    bins: [(f64, f64); 8],
    /// Weighted energy.
    energy: f64,
}

/// The ear of one leg for digits.
#[derive(Clone, Debug)]
pub struct Detector {
    /// The last samples, the newest behind.
    sound: [f32; WINDOW],
    /// Samples since the last look.
    fresh: usize,
    /// Samples since something was lost, as far as it matters.
    whole: usize,
    last: Option<Look>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is heard.
    Idle,
    /// A digit may have begun: so many looks agree, the last of them with this power.
    Perhaps { code: u8, looks: u32, power: f64 },
    /// A digit is heard: `looks` since it began, of which the last `off` did not find it and the last `blind` could not see.
    Down { code: u8, looks: u32, off: u32, blind: u32, other: Option<(u8, u32)> },
}

impl Default for Detector {
    fn default() -> Detector {
        Detector { sound: [0.0; WINDOW], fresh: 0, whole: 0, last: None, state: State::Idle }
    }
}

impl Detector {
    /// Takes sound and tells what is new. A press is told when it has lasted some 32 ms.
    pub fn hear(&mut self, samples: &[i16], mut tell: impl FnMut(Key)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(HOP - self.fresh));
            rest = later;
            self.sound.copy_within(now.len().., 0);
            for (place, &sample) in self.sound[WINDOW - now.len()..].iter_mut().zip(now) {
                *place = f32::from(sample);
            }
            self.whole = (self.whole + now.len()).min(2 * WINDOW);
            self.fresh += now.len();
            if self.fresh == HOP {
                self.fresh = 0;
                self.look(&mut tell);
            }
        }
    }

    /// So many samples were lost.
    pub fn miss(&mut self, samples: usize, mut tell: impl FnMut(Key)) {
        self.whole = 0;
        self.last = None;
        // Time passes all the same; a long loss ends everything.
        let hops = (self.fresh + samples) / HOP;
        self.fresh = (self.fresh + samples) % HOP;
        for _ in 0..hops {
            self.blind();
        }
        if samples > SAMPLES_PER_SECOND as usize / 10 {
            self.end(&mut tell);
        }
    }

    /// Whether a digit is being heard.
    pub fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    /// How many samples ago the digit being heard began.
    pub fn since(&self) -> Option<u32> {
        match self.state {
            State::Down { looks, .. } => Some(length(looks)),
            State::Idle | State::Perhaps { .. } => None,
        }
    }

    fn look(&mut self, tell: &mut impl FnMut(Key)) {
        if self.whole < WINDOW {
            return self.blind();
        }
        let now = Look::at(&self.sound);
        let before = self.last.replace(now);
        if self.whole < WINDOW + HOP {
            return self.blind();
        }
        let found = before.and_then(|before| now.digit(&before));
        self.follow(found, tell);
    }

    /// A look that cannot see: it proves nothing, but what was seen before it still counts.
    fn blind(&mut self) {
        match &mut self.state {
            State::Idle | State::Perhaps { .. } => {}
            State::Down { looks, blind, .. } => (*looks, *blind) = (*looks + 1, *blind + 1),
        }
    }

    fn follow(&mut self, found: Option<(u8, f64)>, tell: &mut impl FnMut(Key)) {
        self.state = match (self.state, found) {
            (State::Idle | State::Perhaps { .. }, None) => State::Idle,
            (State::Idle, Some((code, power))) => State::Perhaps { code, looks: 1, power },
            (State::Perhaps { code, looks, power: before }, Some((now, power))) => {
                // Rising: the window was not full of tone before.
                let steady = power < before * CHANGE_MAX && before < power * CHANGE_MAX;
                if now != code || !steady {
                    State::Perhaps { code: now, looks: 1, power }
                } else if looks + 1 == LOOKS_ON {
                    tell(Key::Down { code });
                    tell(Key::Held { length: length(LOOKS_ON) });
                    State::Down { code, looks: LOOKS_ON, off: 0, blind: 0, other: None }
                } else {
                    State::Perhaps { code, looks: looks + 1, power }
                }
            }
            (State::Down { code, looks, .. }, Some((now, _))) if now == code => {
                tell(Key::Held { length: length(looks + 1) });
                State::Down { code, looks: looks + 1, off: 0, blind: 0, other: None }
            }
            (State::Down { code, looks, off, blind, other }, found) => {
                // Between two that did not find it there was nothing to be found.
                let off = if off > 1 { off + blind } else { off };
                let other = found.map(|(now, _)| match other {
                    Some((then, count)) if then == now => (now, count + 1),
                    Some(_) | None => (now, 1),
                });
                if off + 1 < LOOKS_OFF {
                    State::Down { code, looks: looks + 1, off: off + 1, blind: 0, other }
                } else {
                    tell(Key::Up { length: length(looks - off) });
                    match other {
                        Some((code, count)) if count >= LOOKS_ON => {
                            tell(Key::Down { code });
                            State::Down { code, looks: count, off: 0, blind: 0, other: None }
                        }
                        Some((code, looks)) => State::Perhaps { code, looks, power: found.map_or(0.0, |it| it.1) },
                        None => State::Idle,
                    }
                }
            }
        };
    }

    fn end(&mut self, tell: &mut impl FnMut(Key)) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle | State::Perhaps { .. } => {}
            State::Down { looks, off, .. } => tell(Key::Up { length: length(looks - off) }),
        }
    }
}

/// How long a tone is that so many looks found.
fn length(looks: u32) -> u32 {
    looks * HOP as u32 + EDGE
}

impl Look {
    fn at(sound: &[f32; WINDOW]) -> Look {
        let filters = &*FILTERS;
        let mut weighted = 0.0;
        for (sample, weight) in sound.iter().zip(&filters.window) {
            let it = sample * weight;
            weighted += it * it;
        }
        let energy = f64::from(weighted);
        // Silence and faint sound are not worth eight filters.
        let least = amplitude(LEVEL_MIN_DBM0).powi(2) * filters.squares;
        let bins = if energy < least {
            [(0.0, 0.0); 8]
        } else {
            std::array::from_fn(|tone| {
                let [cosine, sine] = &filters.waves[tone];
                (f64::from(dot(sound, cosine)), f64::from(dot(sound, sine)))
            })
        };
        Look { bins, energy }
    }

    /// The digit that stands in this look and the one a [`HOP`] before, and the power of both its tones.
    fn digit(&self, before: &Look) -> Option<(u8, f64)> {
        let size = |tone: usize| self.bins[tone].0.powi(2) + self.bins[tone].1.powi(2);
        let loudest = |tones: std::ops::Range<usize>| tones.max_by(|&one, &other| size(one).total_cmp(&size(other)));
        let (row, column) = (loudest(0..4)?, loudest(4..8)?);
        let (low, high) = (self.power(row, before)?, self.power(column, before)?);
        let heard = (low + high) / 2.0 * FILTERS.squares;
        let fits = high <= low * UPPER_LOUDER_MAX && low <= high * LOWER_LOUDER_MAX && heard >= self.energy * SHARE_MIN;
        fits.then(|| (code_at(row, column - 4), low + high))
    }

    /// The square of the amplitude of this tone, if it is loud enough and near its frequency.
    fn power(&self, tone: usize, before: &Look) -> Option<f64> {
        let ((now_re, now_im), (re, im)) = (self.bins[tone], before.bins[tone]);
        let hz = frequency(tone);
        let per_second = f64::from(SAMPLES_PER_SECOND);
        // The filters begin anew with each window, so the phase moves on by the whole tone.
        let turned = (re * now_im - im * now_re).atan2(re * now_re + im * now_im);
        let expected = TAU * hz * HOP as f64 / per_second;
        // The sums hold cosine and sine, so that a tone's phase runs backwards in them.
        let off = (-turned - expected + PI).rem_euclid(TAU) - PI;
        let deviation = off * per_second / (TAU * HOP as f64);
        if deviation.abs() > hz * DEVIATION_MAX {
            return None;
        }
        // A Hann window's response beside its centre.
        let x = deviation * WINDOW as f64 / per_second;
        let slope = if x.abs() < 1e-6 { 1.0 } else { (PI * x).sin() / (PI * x) / (1.0 - x * x) };
        let size = now_re.hypot(now_im) * 2.0 / (FILTERS.sum * slope);
        (size >= ZERO_DBM0 * 10f64.powf(LEVEL_MIN_DBM0 / 20.0)).then_some(size * size)
    }
}

fn dot(sound: &[f32; WINDOW], wave: &[f32; WINDOW]) -> f32 {
    // Eight sums at once, as the processor does them.
    let mut sums = [0.0; 8];
    for (sound, wave) in sound.as_chunks::<8>().0.iter().zip(wave.as_chunks::<8>().0) {
        for ((sum, sample), weight) in sums.iter_mut().zip(sound).zip(wave) {
            *sum += sample * weight;
        }
    }
    sums.iter().sum()
}
