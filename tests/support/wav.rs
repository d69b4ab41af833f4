//! Ears: tones in G.711 and PCM files.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

pub const RATE: usize = 8_000;

/// A stereo recording: left the citizen, right the others.
pub struct Stereo {
    pub left: Vec<i16>,
    pub right: Vec<i16>,
}

impl Stereo {
    /// Reads a stereo A-law WAV by its chunks, believing no fixed header length.
    pub fn read(bytes: &[u8]) -> Stereo {
        let (format, data) = chunks(bytes);
        assert_eq!(&format[..2], &6u16.to_le_bytes(), "A-law");
        assert_eq!(&format[2..4], &2u16.to_le_bytes(), "stereo");
        assert_eq!(&format[4..8], &8_000u32.to_le_bytes(), "8 kHz");
        let side = |side: usize| data.iter().skip(side).step_by(2).map(|byte| alaw(*byte)).collect();
        Stereo { left: side(0), right: side(1) }
    }

    pub fn duration_ms(&self) -> f64 {
        self.left.len() as f64 * 1000.0 / RATE as f64
    }
}

fn chunks(bytes: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
    let (mut at, mut format) = (12, None);
    loop {
        let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let body = &bytes[at + 8..at + 8 + size];
        match &bytes[at..at + 4] {
            b"fmt " => format = Some(body),
            b"data" => return (format.expect("fmt before data"), body),
            _ => {}
        }
        at += 8 + size + size % 2;
    }
}

/// G.711 A-law to linear, from the recommendation's segments.
pub fn alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, step) = (i16::from(byte >> 4 & 7), i16::from(byte & 15));
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

/// Linear to A-law, for files that sipp streams.
pub fn to_alaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample >= 0 { (0x80, sample) } else { (0, !sample) };
    let segment = (16 - (magnitude >> 8).leading_zeros()).min(7) as i16;
    let step = if segment == 0 { magnitude >> 4 } else { magnitude >> (segment + 3) } & 15;
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

fn sine(hertz: f64, milliseconds: usize) -> impl Iterator<Item = i16> {
    (0..RATE * milliseconds / 1000).map(move |at| ((hertz * TAU * at as f64 / RATE as f64).sin() * 8_000.0) as i16)
}

/// `count` samples of a tone from the `at`-th on, as A-law.
pub fn hum(hertz: f64, at: u32, count: u32) -> impl Iterator<Item = u8> {
    let sample = move |at: u32| ((hertz * TAU * f64::from(at) / RATE as f64).sin() * 8_000.0) as i16;
    (at..at.saturating_add(count)).map(move |at| to_alaw(sample(at)))
}

/// Writes a tone as raw A-law.
pub fn write_alaw(path: &Path, hertz: f64, milliseconds: usize) {
    let bytes: Vec<u8> = sine(hertz, milliseconds).map(to_alaw).collect();
    std::fs::write(path, bytes).unwrap();
}

/// Writes a tone as a PCM WAV.
pub fn write_pcm(path: &Path, hertz: f64, milliseconds: usize) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    sine(hertz, milliseconds).for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

/// WAV files below `folder`, however deep; none when there is no such folder yet.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.extend(path.extension().is_some_and(|extension| extension == "wav").then_some(path)),
        }
    }
    found
}

/// Amplitude of `hertz` in the samples (Goertzel).
pub fn tone(samples: &[i16], hertz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hertz / RATE as f64).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for sample in samples {
        (two, one) = (one, f64::from(*sample) + coefficient * one - two);
    }
    (one * one + two * two - coefficient * one * two).max(0.0).sqrt() * 2.0 / samples.len().max(1) as f64
}

/// Milliseconds in which `hertz` is clearly heard, looked at in windows of 100 ms.
pub fn heard_ms(samples: &[i16], hertz: f64) -> usize {
    samples.chunks_exact(RATE / 10).filter(|window| tone(window, hertz) > 2_000.0).count() * 100
}

/// That `hertz` is heard all the time and `other` never. A busy machine makes a phone stumble: a tenth may be missing.
pub fn speaks_alone(samples: &[i16], hertz: f64, other: f64) {
    let whole = samples.len() / (RATE / 10) * 100;
    assert!(whole >= 1_000, "only {whole} ms to listen to");
    let heard = heard_ms(samples, hertz);
    assert!(heard >= whole - whole / 10, "{hertz} Hz is heard for {heard} of {whole} ms");
    assert_eq!(heard_ms(samples, other), 0, "{other} Hz beside {hertz} Hz");
}
