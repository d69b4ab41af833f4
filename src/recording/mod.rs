//! Recordings: taps of both sides of a contact go in, the bytes of a stereo A-law WAV come out.
//!
//! [`Session`] is one recording; it places packets on our clock ([`timeline`]) and writes pieces of a file whose header
//! is [`format`]'s; [`manifest`] chains what was recorded, [`peaks`] are its picture. Never opens a file: the shell
//! carries out the commands.

pub mod format;
pub mod manifest;
pub mod marks;
pub mod peaks;
mod session;
pub mod timeline;

pub use session::{Command, Event, FLUSH, FRAMES_MAX, Finished, Session};

use crate::base::Mono;
use std::time::Duration;

/// Sampling rate of G.711 and of every recording.
pub const SAMPLE_HZ: u32 = 8000;
/// Length of one sample in nanoseconds; exact.
const SAMPLE_NS: u64 = 125_000;
/// A-law silence: positive zero.
pub const SILENCE: u8 = 0xd5;
/// A packet is still written in place when it comes this late; the file on disk lags by it.
pub const LATE_MAX: Duration = Duration::from_millis(500);

/// Whole samples in `length`.
const fn samples(length: Duration) -> u64 {
    length.as_nanos() as u64 / SAMPLE_NS
}

/// The sample being taken at `at` in a recording begun at `start`.
fn sample_at(start: Mono, at: Mono) -> u64 {
    samples(at.since(start))
}
