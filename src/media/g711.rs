//! G.711: A-law and µ-law (ITU-T G.711), to and from linear sound and directly into each other.
//!
//! The codec itself is the `audio-codec` crate; ours is the pair of tables for bridges between the two laws. Never
//! changes a sample where both sides speak the same law.

use crate::sdp::Codec;
use audio_codec::{Decoder, Encoder, pcma, pcmu};

/// Samples a second of everything here.
pub const SAMPLES_PER_SECOND: u32 = 8_000;
/// Samples, and bytes, of one millisecond.
pub const SAMPLES_PER_MS: u32 = SAMPLES_PER_SECOND / 1_000;
/// In both laws a set top bit means a positive sample.
const SIGN: u8 = 0x80;

/// The byte of a silent sample.
pub const fn silence(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => 0xd5,
        Codec::Pcmu => 0xff,
    }
}

/// Linear 16-bit sound as bytes of `codec`.
pub fn encode(codec: Codec, samples: &[i16]) -> Vec<u8> {
    match codec {
        Codec::Pcma => pcma::PcmaEncoder::new().encode(samples),
        Codec::Pcmu => pcmu::PcmuEncoder::new().encode(samples),
    }
}

/// Bytes of `codec` as linear 16-bit sound.
pub fn decode(codec: Codec, bytes: &[u8]) -> Vec<i16> {
    match codec {
        Codec::Pcma => pcma::PcmaDecoder::new().decode(bytes),
        Codec::Pcmu => pcmu::PcmuDecoder::new().decode(bytes),
    }
}

/// As [`decode`], into `samples` of the same length.
pub fn decode_into(codec: Codec, bytes: &[u8], samples: &mut [i16]) {
    let decoded = match codec {
        Codec::Pcma => pcma::PcmaDecoder::new().decode_into(bytes, samples),
        Codec::Pcmu => pcmu::PcmuDecoder::new().decode_into(bytes, samples),
    };
    decoded.expect("a sample for each byte");
}

/// As [`encode`], behind what `out` holds already.
pub fn encode_onto(codec: Codec, samples: &[i16], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + samples.len(), 0);
    let encoded = match codec {
        Codec::Pcma => pcma::PcmaEncoder::new().encode_into(samples, &mut out[start..]),
        Codec::Pcmu => pcmu::PcmuEncoder::new().encode_into(samples, &mut out[start..]),
    };
    encoded.expect("a byte for each sample");
}

/// The two conversions between the laws, one byte for one byte.
#[derive(Clone, Debug)]
pub struct Laws {
    a_to_mu: [u8; 256],
    mu_to_a: [u8; 256],
}

impl Laws {
    /// Builds both tables.
    pub fn new() -> Self {
        Laws { a_to_mu: table(Codec::Pcma, Codec::Pcmu), mu_to_a: table(Codec::Pcmu, Codec::Pcma) }
    }

    /// Appends `payload` of `from` to `out` as `to`; equal codecs are copied untouched.
    pub fn transcode(&self, from: Codec, to: Codec, payload: &[u8], out: &mut Vec<u8>) {
        match (from, to) {
            (Codec::Pcma, Codec::Pcma) | (Codec::Pcmu, Codec::Pcmu) => out.extend_from_slice(payload),
            (Codec::Pcma, Codec::Pcmu) => out.extend(payload.iter().map(|&byte| self.a_to_mu[usize::from(byte)])),
            (Codec::Pcmu, Codec::Pcma) => out.extend(payload.iter().map(|&byte| self.mu_to_a[usize::from(byte)])),
        }
    }
}

impl Default for Laws {
    fn default() -> Self {
        Laws::new()
    }
}

/// Converts magnitudes through linear sound and carries the sign over, so that the smallest negative step stays negative.
fn table(from: Codec, to: Codec) -> [u8; 256] {
    let mut table = [0; 256];
    for byte in 0..=u8::MAX {
        let magnitude = encode(to, &decode(from, &[byte | SIGN]))[0];
        table[usize::from(byte)] = magnitude & !SIGN | byte & SIGN;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(laws: &Laws, from: Codec, to: Codec, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        laws.transcode(from, to, bytes, &mut out);
        out
    }

    #[test]
    fn known_samples() {
        for (codec, sample, byte) in [
            (Codec::Pcma, 0, 0xd5),
            (Codec::Pcma, 32_256, 0xaa),
            (Codec::Pcma, -32_256, 0x2a),
            (Codec::Pcmu, 0, 0xff),
            (Codec::Pcmu, 32_124, 0x80),
            (Codec::Pcmu, -32_124, 0x00),
        ] {
            assert_eq!(encode(codec, &[sample]), [byte], "{codec:?} {sample}");
        }
        for codec in [Codec::Pcma, Codec::Pcmu] {
            assert!(decode(codec, &[silence(codec)])[0].abs() <= 8);
        }
    }

    #[test]
    fn equal_laws_are_untouched() {
        let all: Vec<u8> = (0..=255).collect();
        let laws = Laws::new();
        for codec in [Codec::Pcma, Codec::Pcmu] {
            assert_eq!(convert(&laws, codec, codec, &all), all);
        }
    }

    /// G.711 §7: the conversion keeps the sign, stays within a step, and loses nothing more on a second passage.
    #[test]
    fn between_the_laws_sound_keeps_its_sign_and_size() {
        let laws = Laws::new();
        for (from, to) in [(Codec::Pcma, Codec::Pcmu), (Codec::Pcmu, Codec::Pcma)] {
            for byte in 0..=255u8 {
                let there = convert(&laws, from, to, &[byte])[0];
                assert_eq!(there & SIGN, byte & SIGN);
                let (before, after) = (i32::from(decode(from, &[byte])[0]), i32::from(decode(to, &[there])[0]));
                assert!((before - after).abs() <= (before.abs() / 16).max(16), "{from:?} {byte:#x}: {before} {after}");
                let back = convert(&laws, to, from, &[there])[0];
                assert_eq!(convert(&laws, from, to, &[back])[0], there, "{from:?} {byte:#x}: a second passage");
            }
        }
    }
}
