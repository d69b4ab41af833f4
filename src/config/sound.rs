//! Sound files as people have them: WAV of any rate, mono or stereo, linear, or A-law as we record it ourselves.
//!
//! All of it becomes linear sound at 8 kHz, one channel, once and before any call. Knows no folder and no prompt.

use crate::media::g711;
use crate::recording::format;
use crate::sdp::Codec;
use hound::{SampleFormat, WavReader, WavSpec};
use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

/// The rate of all that is played, in Hz.
pub(super) const RATE: u32 = 8_000;
/// Rates that are read, in Hz. Below there is no telephone sound, above none that a file needs.
const RATES: RangeInclusive<u32> = RATE..=192_000;
/// Most channels; more than two have no one meaning.
const CHANNELS_MAX: u16 = 2;
/// Frames resampled at once, or a little more: the band then ends a good 100 Hz below half of our rate.
const PIECE: u32 = 4_096;

/// Why a file is no sound that can be played.
#[derive(Debug, thiserror::Error)]
pub(super) enum SoundError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is no WAV that can be played: {0}")]
    Foreign(hound::Error),
    #[error("has {0} Hz: from 8000 to 192000 can be played")]
    Rate(u32),
    #[error("has {0} channels: only mono and stereo can be played")]
    Channels(u16),
    #[error("holds no sound")]
    Empty,
}

/// A file whose header is good.
enum Sound {
    Linear(WavReader<BufReader<File>>),
    /// Both channels in turn.
    Recorded(Vec<u8>),
}

/// Reads a file's header: how many samples it will have at [`RATE`].
pub(super) fn length(path: &Path) -> Result<u64, SoundError> {
    let frames = match open(path)? {
        Sound::Linear(reader) => u64::from(reader.duration()) * u64::from(RATE) / u64::from(reader.spec().sample_rate),
        Sound::Recorded(bytes) => bytes.len() as u64 / format::FRAME_BYTES,
    };
    if frames == 0 { Err(SoundError::Empty) } else { Ok(frames) }
}

/// The whole of it: linear, mono, at [`RATE`].
pub(super) fn load(path: &Path) -> Result<Vec<i16>, SoundError> {
    let sound = match open(path)? {
        Sound::Linear(reader) => {
            let WavSpec { sample_rate, channels, .. } = reader.spec();
            let samples = linear(reader).map_err(SoundError::Foreign)?;
            resampled(&mono(&samples, channels), sample_rate)
        }
        Sound::Recorded(bytes) => {
            let samples: Vec<f32> = g711::decode(Codec::Pcma, &bytes).into_iter().map(f32::from).collect();
            mono(&samples, format::CHANNELS)
        }
    };
    if sound.is_empty() {
        return Err(SoundError::Empty);
    }
    Ok(sound.into_iter().map(|sample| sample.round() as i16).collect())
}

fn open(path: &Path) -> Result<Sound, SoundError> {
    let mut file = BufReader::new(File::open(path)?);
    let mut header = Vec::new();
    file.by_ref().take(format::HEADER_BYTES).read_to_end(&mut header)?;
    if let Ok(frames) = format::parse(&header) {
        let mut bytes = Vec::new();
        file.take(frames * format::FRAME_BYTES).read_to_end(&mut bytes)?;
        return Ok(Sound::Recorded(bytes));
    }
    let reader = WavReader::open(path).map_err(SoundError::Foreign)?;
    let WavSpec { sample_rate, channels, .. } = reader.spec();
    if !RATES.contains(&sample_rate) {
        return Err(SoundError::Rate(sample_rate));
    }
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(SoundError::Channels(channels));
    }
    Ok(Sound::Linear(reader))
}

/// In steps of 16 bits, whatever the file's.
fn linear(mut reader: WavReader<BufReader<File>>) -> hound::Result<Vec<f32>> {
    let WavSpec { bits_per_sample, sample_format, .. } = reader.spec();
    match sample_format {
        SampleFormat::Float => reader.samples::<f32>().map(|sample| Ok(sample? * 32_768.0)).collect(),
        SampleFormat::Int => {
            let step = 2f32.powi(16 - i32::from(bits_per_sample));
            reader.samples::<i32>().map(|sample| Ok(sample? as f32 * step)).collect()
        }
    }
}

fn mono(samples: &[f32], channels: u16) -> Vec<f32> {
    let share = 1.0 / f32::from(channels);
    samples.chunks_exact(usize::from(channels)).map(|frame| frame.iter().sum::<f32>() * share).collect()
}

/// At [`RATE`], without what lies beyond half of it.
fn resampled(sound: &[f32], rate: u32) -> Vec<f32> {
    if rate == RATE || sound.is_empty() {
        return sound.to_vec();
    }
    let input = InterleavedOwned::new_from(sound.to_vec(), 1, sound.len()).expect("one channel has a sample a frame");
    // The filter's delay is half a piece of ours: an even piece, so that it is taken off to the sample.
    let unit = 2 * rate / greatest_divisor(rate, RATE);
    let piece = PIECE.next_multiple_of(unit) as usize;
    let window = WindowFunction::BlackmanHarris2;
    let mut resampler = Fft::<f32>::new_custom(rate as usize, RATE as usize, piece, 1, 1, window, FixedSync::Both)
        .expect("both rates are above 0, and so is the piece");
    let sound = resampler.process_all(&input, sound.len(), None).expect("the sound is as long as said");
    sound.take_data()
}

fn greatest_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(hz: f64, rate: u32, level: f64) -> Vec<f64> {
        (0..rate).map(|n| (TAU * hz * f64::from(n) / f64::from(rate)).sin() * level).collect()
    }

    fn level(sound: &[i16]) -> f64 {
        (sound.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / sound.len() as f64).sqrt()
    }

    /// Writes a tone, the same on each channel, and reads it.
    fn read(spec: WavSpec, hz: f64) -> (u64, Vec<i16>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for sample in tone(hz, spec.sample_rate, 0.5) {
            for _ in 0..spec.channels {
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                    SampleFormat::Int => {
                        let loudest = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
                        writer.write_sample((sample * loudest) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        (length(&path).unwrap(), load(&path).unwrap())
    }

    #[test]
    fn sound_of_any_form_is_the_same_at_8_khz() {
        let expected: Vec<f64> = tone(440.0, RATE, 0.5 * 32_768.0);
        for (sample_rate, channels, bits_per_sample, sample_format) in [
            (8_000, 1, 16, SampleFormat::Int),
            (8_000, 2, 8, SampleFormat::Int),
            (11_025, 1, 16, SampleFormat::Int),
            (16_000, 1, 24, SampleFormat::Int),
            (22_050, 2, 16, SampleFormat::Int),
            (44_100, 2, 16, SampleFormat::Int),
            (48_000, 2, 32, SampleFormat::Int),
            (96_000, 1, 32, SampleFormat::Float),
        ] {
            let spec = WavSpec { channels, sample_rate, bits_per_sample, sample_format };
            let (length, sound) = read(spec, 440.0);
            assert_eq!((length, sound.len()), (8_000, 8_000), "{spec:?}");
            // The filter swings in and out where the sound begins and ends at once.
            let inner = 400..7_600;
            let off = expected[inner.clone()].iter().zip(&sound[inner]).map(|(one, two)| (one - f64::from(*two)).abs());
            let off = off.fold(0.0, f64::max);
            let step = if bits_per_sample == 8 { 260.0 } else { 40.0 };
            assert!(off <= step, "{spec:?}: off by {off}");
        }
    }

    #[test]
    fn what_8_khz_cannot_hold_is_not_folded_into_it() {
        let spec = WavSpec { channels: 1, sample_rate: 44_100, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let (_, low) = read(spec, 3_400.0);
        let (_, high) = read(spec, 4_600.0);
        let (low, high) = (level(&low[400..7_600]), level(&high[400..7_600]));
        assert!(low > 11_000.0 && high < low / 1_000.0, "{low} {high}");
    }

    #[test]
    fn a_recording_of_ours_can_be_played() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.wav");
        let said = [g711::encode(Codec::Pcma, &[4_032]), g711::encode(Codec::Pcma, &[2_016])].concat();
        let bytes = [&format::header(800)[..], &said.repeat(800)].concat();
        std::fs::write(&path, bytes).unwrap();
        assert_eq!((length(&path).unwrap(), load(&path).unwrap()), (800, vec![3_024; 800]));
    }
}
