//! Sound made a little shorter or longer without a change of pitch: one period is taken out or put in, blended.
//!
//! Good where the sound repeats itself, as voices do, and where it is faint. Decides by likeness, and says so; whether it
//! is time for it is for others. Knows no packets and no clock.

/// Shortest and longest piece that is taken out or put in: 5 to 15 ms.
pub const LAG: std::ops::RangeInclusive<usize> = 40..=120;
/// Samples over which pieces are blended: 5 ms.
const BLEND: usize = 40;
/// Lags are tried in steps.
const STEP: usize = 2;

/// Where sound repeats itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// After so many samples.
    pub lag: usize,
    /// How like: 1 is the same, 0 nothing in common.
    pub likeness: f32,
}

/// How like the beginning of `sound` is to what stands `lag` samples behind it; `None` where too little does.
pub fn likeness(sound: &[i16], lag: usize) -> Option<f32> {
    let length = sound.len().checked_sub(lag).filter(|&length| length >= BLEND)?.min(2 * BLEND);
    let (mut both, mut one, mut other) = (0.0f32, 1.0f32, 1.0f32);
    for (first, second) in sound[..length].iter().zip(&sound[lag..lag + length]) {
        let (first, second) = (f32::from(*first), f32::from(*second));
        both += first * second;
        one += first * first;
        other += second * second;
    }
    Some(both / (one * other).sqrt())
}

/// After how many samples, at most `max`, `sound` is most like its own beginning.
pub fn fit(sound: &[i16], max: usize) -> Option<Fit> {
    let fits = (*LAG.start()..=max.min(*LAG.end())).step_by(STEP);
    let fits = fits.filter_map(|lag| likeness(sound, lag).map(|likeness| Fit { lag, likeness }));
    fits.max_by(|one, other| one.likeness.total_cmp(&other.likeness))
}

/// By how many samples what stands behind the first `past` of `sound` is most like what stands before.
pub fn fit_back(sound: &[i16], past: usize) -> Option<Fit> {
    let fits = (*LAG.start()..=past.min(*LAG.end())).step_by(STEP);
    let fits = fits.filter_map(|lag| likeness(&sound[past - lag..], lag).map(|likeness| Fit { lag, likeness }));
    fits.max_by(|one, other| one.likeness.total_cmp(&other.likeness))
}

/// Takes `lag` samples out of `sound`, at its beginning, into `out`, which is so much shorter.
pub fn shorten(sound: &[i16], lag: usize, out: &mut [i16]) {
    assert_eq!(sound.len(), out.len() + lag, "exactly one piece is taken out");
    out.copy_from_slice(&sound[lag..]);
    blend(&sound[..BLEND], &mut out[..BLEND]);
}

/// Puts the last `lag` samples of what was said `before` once more behind the beginning of `sound`, into `out`, which is
/// so much longer.
pub fn lengthen(before: &[i16], sound: &[i16], lag: usize, out: &mut [i16]) {
    assert_eq!(sound.len() + lag, out.len(), "exactly one piece is put in");
    let again = &before[before.len() - lag..];
    // The sound as if it had begun a piece earlier, but for its first samples, which follow on what was said.
    out[..lag].copy_from_slice(again);
    out[lag..].copy_from_slice(sound);
    blend(&sound[..BLEND], &mut out[..BLEND]);
}

/// From `first` into what stands in `out`.
fn blend(first: &[i16], out: &mut [i16]) {
    let length = out.len() as f32 + 1.0;
    for (place, (out, first)) in (1..).zip(out.iter_mut().zip(first)) {
        let share = place as f32 / length;
        *out = (f32::from(*out) * share + f32::from(*first) * (1.0 - share)) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn voiced(hz: f64, samples: usize) -> Vec<i16> {
        let harmonic = |n: usize, k: f64| (TAU * hz * k * n as f64 / 8_000.0).sin() / k;
        (0..samples).map(|n| ((harmonic(n, 1.0) + harmonic(n, 2.0)) * 8_000.0) as i16).collect()
    }

    fn step(sound: &[i16]) -> u16 {
        sound.windows(2).map(|two| two[0].abs_diff(two[1])).max().unwrap()
    }

    #[test]
    fn a_voice_is_shortened_and_lengthened_by_its_period_without_a_click() {
        for hz in [80.0, 100.0, 125.0, 160.0] {
            let voice = voiced(hz, 600);
            let Fit { lag, likeness } = fit(&voice[200..480], 120).unwrap();
            let periods = lag as f64 * hz / 8_000.0;
            assert!(likeness > 0.98 && (periods - periods.round()).abs() < 0.03, "{hz} Hz: {lag} {likeness}");
            let mut short = vec![0; 160];
            shorten(&voice[200..360 + lag], lag, &mut short);
            let joined = [&voice[..200], &short, &voice[360 + lag..]].concat();
            assert!(step(&joined) <= step(&voice) * 5 / 4, "{hz} Hz");
            assert_eq!(joined.len() + lag, voice.len());
            let mut long = vec![0; 160];
            lengthen(&voice[..200], &voice[200..360 - lag], lag, &mut long);
            let joined = [&voice[..200], &long, &voice[360 - lag..]].concat();
            assert!(step(&joined) <= step(&voice) * 5 / 4, "{hz} Hz");
            assert_eq!(joined.len(), voice.len() + lag);
        }
    }

    #[test]
    fn noise_repeats_itself_nowhere() {
        let mut mint = crate::base::Mint::new(1, [2, 2]);
        let noise: Vec<i16> = (0..280).map(|_| mint.random() as i16 / 4).collect();
        assert!(fit(&noise, 120).unwrap().likeness < 0.6);
        assert_eq!(fit(&noise[..79], 120), None);
    }
}
