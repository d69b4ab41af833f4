//! Concealment of lost sound, after ITU-T G.711 Appendix I: the last pitch periods are said again, softer and softer.
//!
//! Up to 10 ms one period is repeated, then two, then three, so that it does not buzz; from 10 ms on it fades, and after
//! 60 ms it is silence. The seams are blended. Unlike the appendix nothing is held back: the first millisecond is blended
//! with the mirrored end of what was heard. Knows no packets and no clock.

use super::g711::SAMPLES_PER_MS;

/// Shortest and longest pitch period: 200 to 66 Hz.
const LAG: std::ops::RangeInclusive<usize> = 40..=120;
/// Sound compared to find the period: 20 ms.
const COMPARED: usize = 160;
/// What is remembered: three periods and a quarter.
const HISTORY: usize = *LAG.end() * 13 / 4;
/// A stage: 10 ms.
const STAGE: usize = 10 * SAMPLES_PER_MS as usize;
/// The blend out of what was heard: 1 ms.
const MIRROR: usize = SAMPLES_PER_MS as usize;
/// Nothing but silence from here on.
const FADED: usize = 6 * STAGE;
/// What a stage takes off the level after the first: 20 %.
const FADE: f32 = 0.2;
/// The blend back into what is heard again: 4 ms for each 10 ms that were lost, at most 10 ms.
const BLEND_A_STAGE: usize = 4 * SAMPLES_PER_MS as usize;

/// What was said last on one leg, and how it goes on when nothing comes.
#[derive(Clone, Debug)]
pub struct Conceal {
    /// The newest behind.
    history: [i16; HISTORY],
    /// The present loss.
    lost: Option<Loss>,
}

#[derive(Clone, Debug)]
struct Loss {
    /// Samples made up so far.
    made: usize,
    lag: usize,
    /// What was said last, before the loss.
    said: [i16; HISTORY],
    /// Repeats `periods` periods; read at `at`.
    periods: usize,
    at: usize,
}

impl Default for Conceal {
    fn default() -> Conceal {
        Conceal { history: [0; HISTORY], lost: None }
    }
}

impl Conceal {
    /// Sound that came; its beginning is blended with what was made up before it.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if let Some(mut loss) = self.lost.take() {
            let stages = loss.made.div_ceil(STAGE);
            let blend = (loss.lag / 4 + stages * BLEND_A_STAGE).min(STAGE).min(samples.len());
            for (place, sample) in samples[..blend].iter_mut().enumerate() {
                let share = (place + 1) as f32 / (blend + 1) as f32;
                *sample = (f32::from(*sample) * share + loss.next() * (1.0 - share)) as i16;
            }
        }
        self.remember(samples);
    }

    /// Makes up sound in place of what is lost.
    pub fn make_up(&mut self, out: &mut [i16]) {
        let history = &self.history;
        let loss = self.lost.get_or_insert_with(|| Loss::begin(history));
        for sample in out.iter_mut() {
            *sample = loss.next() as i16;
        }
        self.remember(out);
    }

    /// Silence before somebody begins, whose first sample is then said as it is.
    pub fn silence(&mut self, out: &mut [i16]) {
        out.fill(0);
        self.lost = None;
        self.remember(out);
    }

    /// Whether a loss has lasted so long that nothing but silence is made up.
    pub fn is_faded(&self) -> bool {
        self.lost.as_ref().is_none_or(|loss| loss.made >= FADED)
    }

    /// The newest sound that was given out.
    pub fn last(&self, samples: usize) -> &[i16] {
        &self.history[HISTORY - samples..]
    }

    fn remember(&mut self, samples: &[i16]) {
        let newest = &samples[samples.len().saturating_sub(HISTORY)..];
        self.history.copy_within(newest.len().., 0);
        self.history[HISTORY - newest.len()..].copy_from_slice(newest);
    }
}

impl Loss {
    fn begin(history: &[i16; HISTORY]) -> Loss {
        Loss { made: 0, lag: period(history), said: *history, periods: 1, at: 0 }
    }

    fn next(&mut self) -> f32 {
        let made = self.made;
        self.made += 1;
        if made >= FADED {
            return 0.0;
        }
        if made > 0 && made.is_multiple_of(STAGE) && self.periods < 3 {
            // The next stage begins at the same phase, a period earlier.
            self.periods += 1;
        }
        let sample = self.looped();
        let blended = if made < MIRROR {
            let share = (made + 1) as f32 / (MIRROR + 1) as f32;
            sample * share + f32::from(self.said[HISTORY - 1 - made]) * (1.0 - share)
        } else {
            sample
        };
        let fade = (made as f32 / STAGE as f32 - 1.0).max(0.0) * FADE;
        blended * (1.0 - fade).max(0.0)
    }

    /// The next sample of the loop, whose last quarter period leads into its beginning.
    fn looped(&mut self) -> f32 {
        let length = self.periods * self.lag;
        let start = HISTORY - length;
        let at = self.at % length;
        self.at = at + 1;
        let quarter = self.lag / 4;
        let sample = f32::from(self.said[start + at]);
        let left = length - at;
        if left > quarter {
            return sample;
        }
        // What stands before the loop's beginning leads into it as it should.
        let share = left as f32 / (quarter + 1) as f32;
        sample * share + f32::from(self.said[start - left]) * (1.0 - share)
    }
}

/// The period after which the newest sound is most like itself.
fn period(history: &[i16; HISTORY]) -> usize {
    let newest = &history[HISTORY - COMPARED..];
    let like = |lag: usize| {
        let before = &history[HISTORY - COMPARED - lag..HISTORY - lag];
        let (mut both, mut power) = (0.0f32, 1.0f32);
        for (one, other) in newest.iter().zip(before) {
            both += f32::from(*one) * f32::from(*other);
            power += f32::from(*other) * f32::from(*other);
        }
        both / power.sqrt()
    };
    LAG.max_by(|&one, &other| like(one).total_cmp(&like(other))).expect("there are lags")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn voiced(hz: f64, samples: usize) -> Vec<i16> {
        let harmonic = |n: usize, k: f64| (TAU * hz * k * n as f64 / 8_000.0).sin() / k;
        (0..samples).map(|n| ((harmonic(n, 1.0) + harmonic(n, 2.0) + harmonic(n, 3.0)) * 6_000.0) as i16).collect()
    }

    fn level(sound: &[i16]) -> f64 {
        (sound.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / sound.len() as f64).sqrt()
    }

    #[test]
    fn a_steady_voice_goes_on_through_a_loss_of_20_ms() {
        for hz in [80.0, 100.0, 123.0, 160.0, 190.0] {
            let voice = voiced(hz, 1_600);
            let mut conceal = Conceal::default();
            let mut out = voice.clone();
            conceal.heard(&mut out[..800]);
            conceal.make_up(&mut out[800..960]);
            conceal.heard(&mut out[960..1_600]);
            assert_eq!((&out[..800], &out[1_040..]), (&voice[..800], &voice[1_040..]), "what came is untouched");
            let error: Vec<i16> = out[800..1_040].iter().zip(&voice[800..]).map(|(made, said)| made - said).collect();
            assert!(level(&error) < level(&voice) * 0.35, "{hz} Hz: {} of {}", level(&error), level(&voice));
            let step = |sound: &[i16]| sound.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap();
            assert!(step(&out[780..1_100]) <= step(&voice) * 2, "{hz} Hz: no click");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_in_60_ms() {
        let mut conceal = Conceal::default();
        let mut voice = voiced(120.0, 800);
        conceal.heard(&mut voice);
        let mut out = vec![0; 1_600];
        conceal.make_up(&mut out);
        let stages: Vec<f64> = out.chunks(80).map(level).collect();
        assert!(stages[0] > level(&voice) * 0.7);
        assert!(stages[1..6].windows(2).all(|two| two[1] < two[0] * 1.05), "{stages:?}");
        assert!(stages[5] < level(&voice) * 0.2 && out[480..].iter().all(|&sample| sample == 0));
        assert!(conceal.is_faded());
        let mut again = voiced(120.0, 160);
        conceal.heard(&mut again);
        assert!(again[..10].iter().all(|sample| sample.abs() < 3_000), "it begins softly");
    }
}
