//! The file: RIFF/WAVE with two channels of A-law at 8 kHz (`WAVE_FORMAT_ALAW`), one byte a sample, and a `fact` chunk
//! as the format asks of all that is not PCM.
//!
//! The header has a fixed length, so that its sizes are patched in place while the file grows and can be repaired from
//! the length of the file after a crash.

use super::SAMPLE_HZ;

/// Length of the header; samples follow.
pub const HEADER_BYTES: u64 = 58;
/// Bytes of one sample of both channels: left (the citizen), right (all others).
pub const FRAME_BYTES: u64 = 2;
/// Channels.
pub const CHANNELS: u16 = 2;
/// `WAVE_FORMAT_ALAW`.
const FORMAT_ALAW: u16 = 6;

/// Bytes of the header, as written at offset 0.
pub type Header = [u8; HEADER_BYTES as usize];

/// Why a file's beginning is not the header of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Shorter than a header.
    #[error("shorter than the header of a recording")]
    Short,
    /// Other bytes than ours.
    #[error("not the header of a stereo A-law recording")]
    Foreign,
}

/// The header of a file that holds `frames` samples of each channel.
pub fn header(frames: u64) -> Header {
    let data = u32::try_from(frames * FRAME_BYTES).expect("recordings are closed long before 4 GiB");
    let frames = u32::try_from(frames).expect("fewer than bytes");
    let mut header = [0; HEADER_BYTES as usize];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(data + HEADER_BYTES as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&18u32.to_le_bytes());
    put(&FORMAT_ALAW.to_le_bytes());
    put(&CHANNELS.to_le_bytes());
    put(&SAMPLE_HZ.to_le_bytes());
    put(&(SAMPLE_HZ * FRAME_BYTES as u32).to_le_bytes());
    put(&(FRAME_BYTES as u16).to_le_bytes());
    put(&8u16.to_le_bytes());
    put(&0u16.to_le_bytes());
    put(b"fact");
    put(&4u32.to_le_bytes());
    put(&frames.to_le_bytes());
    put(b"data");
    put(&data.to_le_bytes());
    header
}

/// How many samples of each channel the header says there are.
pub fn parse(file: &[u8]) -> Result<u64, FormatError> {
    let found = file.first_chunk::<{ HEADER_BYTES as usize }>().ok_or(FormatError::Short)?;
    let frames = u64::from(u32::from_le_bytes([found[46], found[47], found[48], found[49]]));
    if frames * FRAME_BYTES > u64::from(u32::MAX) - HEADER_BYTES || header(frames) != *found {
        return Err(FormatError::Foreign);
    }
    Ok(frames)
}

/// How many whole samples of each channel a file of `bytes` holds, whatever its header says: what a crash left.
pub fn frames_in(bytes: u64) -> u64 {
    bytes.saturating_sub(HEADER_BYTES) / FRAME_BYTES
}

/// The length of a file with `frames` samples of each channel.
pub fn bytes_of(frames: u64) -> u64 {
    HEADER_BYTES + frames * FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_exact() {
        let written = header(3);
        let expected: &[&[u8]] = &[
            b"RIFF\x38\0\0\0WAVE",
            b"fmt \x12\0\0\0\x06\0\x02\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x08\0\0\0",
            b"fact\x04\0\0\0\x03\0\0\0",
            b"data\x06\0\0\0",
        ];
        assert_eq!(written.as_slice(), expected.concat());
    }

    #[test]
    fn only_our_headers_are_read() {
        for frames in [0, 1, 8000, super::super::FRAMES_MAX] {
            assert_eq!(parse(&header(frames)), Ok(frames));
        }
        assert_eq!(parse(&header(5)[..57]), Err(FormatError::Short));
        for at in 0..HEADER_BYTES as usize {
            let mut damaged = header(1000);
            damaged[at] ^= 0x81;
            assert_eq!(parse(&damaged), Err(FormatError::Foreign), "byte {at}");
        }
    }

    #[test]
    fn lengths_after_a_crash() {
        for (bytes, frames) in [(0, 0), (57, 0), (58, 0), (59, 0), (60, 1), (61, 1), (58 + 16_000, 8000)] {
            assert_eq!(frames_in(bytes), frames);
        }
        assert_eq!(frames_in(bytes_of(123)), 123);
    }
}
