//! Peaks, for drawing a recording: the loudest sample of each channel in windows of equal length, first to last.
//!
//! Takes the sound of a file ([`super::format`]) in pieces of any size and keeps one window. Reads no file.

use super::SAMPLE_HZ;
use audio_codec::Decoder;
use audio_codec::pcma::PcmaDecoder;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// How many windows a second may have.
pub const PER_SECOND: RangeInclusive<u32> = 1..=100;

/// Magnitude of the linear sample of each A-law byte (G.711 table 1a), 8 to 32256.
static MAGNITUDE: LazyLock<[u16; 256]> = LazyLock::new(|| {
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let linear = PcmaDecoder::new().decode(&bytes);
    std::array::from_fn(|byte| linear[byte].unsigned_abs())
});

/// Loudest samples of the citizen and of all others: 0 where there is none, 8 in silence, at most 32256.
pub type Peak = [u16; 2];

/// The peaks of one recording.
#[derive(Clone, Debug)]
pub struct Peaks {
    per_second: u64,
    /// Frames taken.
    frames: u64,
    /// Windows given.
    windows: u64,
    peak: Peak,
}

impl Peaks {
    /// `per_second` windows a second, within [`PER_SECOND`]. Where they do not divide a second's samples, some windows are
    /// a sample longer than others, and no window drifts.
    pub fn new(per_second: u32) -> Peaks {
        let per_second = per_second.clamp(*PER_SECOND.start(), *PER_SECOND.end());
        Peaks { per_second: per_second.into(), frames: 0, windows: 0, peak: [0; 2] }
    }

    /// Takes the next frames, gives the windows that are full.
    pub fn take(&mut self, mut sound: &[[u8; 2]], out: &mut Vec<Peak>) {
        while !sound.is_empty() {
            let end = (self.windows + 1) * u64::from(SAMPLE_HZ) / self.per_second;
            let wanted = usize::try_from(end - self.frames).unwrap_or(usize::MAX);
            let (now, later) = sound.split_at(wanted.min(sound.len()));
            for [left, right] in now {
                self.peak[0] = self.peak[0].max(MAGNITUDE[usize::from(*left)]);
                self.peak[1] = self.peak[1].max(MAGNITUDE[usize::from(*right)]);
            }
            self.frames += now.len() as u64;
            if now.len() == wanted {
                self.windows += 1;
                out.push(std::mem::take(&mut self.peak));
            }
            sound = later;
        }
    }

    /// The last window, when it is not full.
    pub fn finish(self) -> Option<Peak> {
        (self.peak != [0; 2]).then_some(self.peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::SILENCE;

    fn peaks(per_second: u32, sound: &[[u8; 2]], piece: usize) -> Vec<Peak> {
        let (mut peaks, mut out) = (Peaks::new(per_second), Vec::new());
        sound.chunks(piece).for_each(|piece| peaks.take(piece, &mut out));
        out.extend(peaks.finish());
        out
    }

    #[test]
    fn each_channel_has_its_loudest_sample() {
        let mut sound = vec![[SILENCE; 2]; 1_000];
        // The loudest bytes of A-law, negative and positive, and one between.
        sound[399][0] = 0x2a;
        sound[400][1] = 0xaa;
        sound[999][0] = 0x9a;
        assert_eq!(peaks(20, &sound, 1_000), [[32_256, 8], [8, 32_256], [4_032, 8]]);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_and_windows_do_not_drift() {
        let sound: Vec<[u8; 2]> = (0..80_011u32).map(|n| [(n * 7 % 251) as u8, (n * 13 % 241) as u8]).collect();
        for (per_second, windows) in [(1, 11), (3, 31), (7, 71), (20, 201), (99, 991), (100, 1_001)] {
            let whole = peaks(per_second, &sound, sound.len());
            assert_eq!(whole.len(), windows, "{per_second} a second");
            assert_eq!(peaks(per_second, &sound, 1), whole);
            assert_eq!(peaks(per_second, &sound, 997), whole);
        }
        assert_eq!(peaks(20, &[], 1), [] as [Peak; 0]);
    }
}
