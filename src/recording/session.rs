//! One recording: packets of both sides in, pieces of a stereo A-law WAV out.
//!
//! Holds the last [`LATE_MAX`] of both channels, so that late packets are written in place, and lets go of older sound
//! every [`FLUSH`]: what a crash can lose is less than a second. The length of the file is the time from start to
//! finish, to the sample; whatever did not come is silence. Time is that of the taps, and between them that of
//! [`Session::expire`]; wall clocks are only noted.

use super::format::{self, FRAME_BYTES, HEADER_BYTES, Header};
use super::marks::{Mark, Marks};
use super::timeline::{JUMP, Packet, Place, Timeline};
use super::{LATE_MAX, SAMPLE_NS, SILENCE, sample_at, samples};
use crate::base::{Mono, Wall};
use crate::media::event::{Audio, Channel, Hidden, Reason, RecordingStart};
use crate::sdp::Codec;
use audio_codec::pcma::PcmaEncoder;
use audio_codec::pcmu::PcmuDecoder;
use audio_codec::{Decoder, Encoder};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use std::time::Duration;

/// How often sound that can no longer change is written, and the sizes in the header with it.
pub const FLUSH: Duration = Duration::from_millis(400);
/// Longest recording: 24 hours, well below 2 GiB. A longer one is closed there and marked damaged.
pub const FRAMES_MAX: u64 = 24 * 3600 * super::SAMPLE_HZ as u64;
const _: () = assert!(FRAMES_MAX * FRAME_BYTES + HEADER_BYTES < 1 << 31);
/// Longest payload taken, in samples: 200 ms.
const PAYLOAD_MAX: usize = 1600;
/// Longest stretch hidden at once, in samples: a press of a key is told again and again while it lasts.
const HIDDEN_MAX: i64 = 10 * super::SAMPLE_HZ as i64;
/// Loudness code of A-law (its 7 bits without sign) below which a sample passes for silence: -42 dBFS.
const SILENT_CODE: u8 = 16;

/// Into the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A packet of this recording.
    Audio(Audio),
    /// This must not be kept.
    Hide(Hidden),
    /// Nothing is kept from here on.
    Pause {
        /// From when.
        at: Mono,
        /// Why.
        reason: Reason,
    },
    /// Sound is kept again.
    Resume {
        /// From when.
        at: Mono,
    },
    /// Some packets, or pieces of the file, were lost by our fault.
    Damaged,
    /// The recording ends.
    Finish {
        /// Where the file ends.
        at: Mono,
    },
}

/// Out of the session, to be carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Write `bytes` at `offset` of the file. The offsets of `Write` and `Fill` follow each other without a gap.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Write `length` bytes of [`SILENCE`] at `offset`: however long nothing came, no memory is taken.
    Fill {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Patch the header at offset 0: the file is now playable up to what was written.
    Sizes {
        /// Samples of each channel.
        frames: u64,
        /// The header that says so.
        header: Box<Header>,
    },
    /// All is written.
    Finished(Finished),
}

/// A finished recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Samples of each channel.
    pub samples: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Last sample, for people.
    pub ended: Wall,
    /// Whether sound was lost by our fault, or the recording was too long.
    pub damaged: bool,
    /// Packets left out.
    pub left_out: LeftOut,
    /// Silences that were made on purpose.
    pub marks: Vec<Mark>,
}

/// Packets that are not in the file, by the network's or the sender's fault or because they are in it already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Came again.
    pub duplicate: u64,
    /// Came more than [`LATE_MAX`] late.
    pub late: u64,
    /// Belonged nowhere, or were longer than a packet may be.
    pub stray: u64,
}

/// One recording.
#[derive(Debug)]
pub struct Session {
    started: Mono,
    started_wall: Wall,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Box<Window>),
    /// [`Command::Finished`] was given; nothing more comes.
    Closed,
}

/// What may still change: interleaved samples from frame `base` on.
#[derive(Debug)]
struct Window {
    base: u64,
    /// Two bytes a frame.
    sound: Vec<u8>,
    /// Latest time seen, in samples.
    reached: u64,
    citizen: Timeline,
    others: Timeline,
    damaged: bool,
    left_out: LeftOut,
    marks: Marks,
}

impl Session {
    /// Begins a recording: writes the header of an empty file.
    pub fn begin(start: &RecordingStart, out: &mut Vec<Command>) -> Session {
        out.push(Command::Write { offset: 0, bytes: format::header(0).to_vec() });
        let window = Window {
            base: 0,
            sound: Vec::with_capacity((2 * samples(LATE_MAX) * FRAME_BYTES) as usize),
            reached: 0,
            citizen: Timeline::default(),
            others: Timeline::default(),
            damaged: false,
            left_out: LeftOut::default(),
            marks: Marks::default(),
        };
        Session { started: start.started.mono, started_wall: start.started.wall, state: State::Open(Box::new(window)) }
    }

    /// A recording that a process left open when it died, with `frames` written: goes on behind them. What came after
    /// them and was lost is silence.
    pub fn resume(start: &RecordingStart, frames: u64) -> Session {
        let mut session = Session::begin(start, &mut Vec::new());
        if let State::Open(window) = &mut session.state {
            (window.base, window.reached, window.damaged) = (frames, frames, true);
        }
        session
    }

    /// Takes an event. Taps carry their own time, so no other is given; they come in order of it.
    pub fn handle(&mut self, event: Event, out: &mut Vec<Command>) {
        match &mut self.state {
            State::Closed => {}
            State::Open(window) => match event {
                Event::Damaged => window.damaged = true,
                Event::Hide(hidden) => {
                    let at = sample_at(self.started, hidden.at);
                    window.advance(at.min(FRAMES_MAX), out);
                    window.hide(at, &hidden);
                }
                Event::Pause { at, reason } => {
                    let at = sample_at(self.started, at);
                    window.marks.pause(at, reason);
                    window.silence();
                }
                Event::Resume { at } => window.marks.resume(sample_at(self.started, at)),
                Event::Audio(audio) => {
                    let at = sample_at(self.started, audio.at);
                    if at >= FRAMES_MAX {
                        return self.close_overlong(out);
                    }
                    window.advance(at, out);
                    window.take(at, &audio);
                }
                Event::Finish { at } => {
                    let length_ns = at.since(self.started).as_nanos() as u64;
                    let frames = (length_ns + SAMPLE_NS / 2) / SAMPLE_NS;
                    if frames > FRAMES_MAX {
                        return self.close_overlong(out);
                    }
                    let ended = self.started_wall + at.since(self.started);
                    out_finished(window, frames, ended, out);
                    self.state = State::Closed;
                }
            },
        }
    }

    /// When [`Session::expire`] should be called, unless events come before; `None` once finished.
    pub fn next_deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Open(window) => {
                let due = window.base + samples(LATE_MAX) + samples(FLUSH);
                Some(self.started + Duration::from_nanos(due * SAMPLE_NS))
            }
            State::Closed => None,
        }
    }

    /// Tells that no tap from before `now` is still to come: silence is written up to [`LATE_MAX`] before it.
    pub fn expire(&mut self, now: Mono, out: &mut Vec<Command>) {
        match &mut self.state {
            State::Closed => {}
            State::Open(window) => {
                let at = sample_at(self.started, now);
                if at >= FRAMES_MAX {
                    return self.close_overlong(out);
                }
                window.advance(at, out);
            }
        }
    }

    /// Panics when an invariant is broken.
    pub fn check(&self) {
        match &self.state {
            State::Closed => {}
            State::Open(window) => {
                assert!(window.sound.len().is_multiple_of(FRAME_BYTES as usize), "whole frames only");
                let ahead = window.base + window.sound.len() as u64 / FRAME_BYTES;
                assert!(ahead <= window.reached + samples(JUMP) + PAYLOAD_MAX as u64, "sound from the future");
                assert!(window.base <= window.reached, "written before it was heard");
                let lag = samples(LATE_MAX) + samples(FLUSH);
                assert!(window.reached < window.base + lag, "held longer than it can change");
            }
        }
    }

    fn close_overlong(&mut self, out: &mut Vec<Command>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Open(mut window) => {
                window.damaged = true;
                let ended = self.started_wall + Duration::from_nanos(FRAMES_MAX * SAMPLE_NS);
                out_finished(&mut window, FRAMES_MAX, ended, out);
            }
        }
    }
}

/// Writes all up to `frames` and says so.
fn out_finished(window: &mut Window, frames: u64, ended: Wall, out: &mut Vec<Command>) {
    // Taps come in order, so the end is never before what was written already.
    let frames = frames.max(window.base);
    window.flush(frames, out);
    out.push(Command::Finished(Finished {
        samples: frames,
        bytes: format::bytes_of(frames),
        ended,
        damaged: window.damaged,
        left_out: window.left_out,
        marks: std::mem::take(&mut window.marks).finish(frames),
    }));
}

impl Window {
    /// Time has come to sample `at`: lets go of what can no longer change.
    fn advance(&mut self, at: u64, out: &mut Vec<Command>) {
        self.reached = self.reached.max(at);
        let fixed = self.reached.saturating_sub(samples(LATE_MAX));
        if fixed >= self.base + samples(FLUSH) {
            self.flush(fixed, out);
        }
    }

    /// Writes up to frame `end`, with silence where nothing came.
    fn flush(&mut self, end: u64, out: &mut Vec<Command>) {
        let offset = format::bytes_of(self.base);
        let length = (end - self.base) * FRAME_BYTES;
        let heard = self.sound.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if heard > 0 {
            out.push(Command::Write { offset, bytes: self.sound.drain(..heard).collect() });
        }
        if length > heard as u64 {
            out.push(Command::Fill { offset: offset + heard as u64, length: length - heard as u64 });
        }
        self.base = end;
        out.push(Command::Sizes { frames: end, header: Box::new(format::header(end)) });
    }

    /// Puts a packet that came at sample `at` where it belongs.
    fn take(&mut self, at: u64, audio: &Audio) {
        if audio.payload.is_empty() || audio.payload.len() > PAYLOAD_MAX {
            self.left_out.stray += 1;
            return;
        }
        let packet = Packet { ssrc: audio.ssrc, sequence: audio.sequence, timestamp: audio.timestamp, arrival: at };
        let timeline = match audio.channel {
            Channel::Citizen => &mut self.citizen,
            Channel::Others => &mut self.others,
        };
        let law = law_of(audio.codec);
        let silent = || audio.payload.iter().all(|byte| (law[*byte as usize] ^ 0x55) & 0x7f < SILENT_CODE);
        match timeline.place(&packet, silent) {
            Place::At(place) => self.put(place, audio, law),
            Place::Duplicate => self.left_out.duplicate += 1,
            Place::Late => self.left_out.late += 1,
            Place::Stray => self.left_out.stray += 1,
        }
    }

    /// Writes a payload over whatever stands in its place; what is before the window is past changing.
    fn put(&mut self, place: i64, audio: &Audio, law: &[u8; 256]) {
        let first = self.base.cast_signed();
        let skip = usize::try_from(first - place).unwrap_or(0).min(audio.payload.len());
        let payload = &audio.payload[skip..];
        let from = usize::try_from(place - first).unwrap_or(0) * FRAME_BYTES as usize;
        let end = from + payload.len() * FRAME_BYTES as usize;
        if self.sound.len() < end {
            self.sound.resize(end, SILENCE);
        }
        let side = side_of(audio.channel);
        for (frame, byte) in self.sound[from..end].chunks_exact_mut(FRAME_BYTES as usize).zip(payload) {
            frame[side] = law[*byte as usize];
        }
        let first = self.base + (from / FRAME_BYTES as usize) as u64;
        self.silence_side(audio.channel, first, first + payload.len() as u64);
    }

    /// Silences a stretch of a source, as far as it can still change, and keeps it silent.
    fn hide(&mut self, at: u64, hidden: &Hidden) {
        let timeline = match hidden.channel {
            Channel::Citizen => &self.citizen,
            Channel::Others => &self.others,
        };
        let length = i64::from(hidden.to.wrapping_sub(hidden.from).cast_signed());
        // A source that was never heard has its place by arrival.
        let from = timeline.position(hidden.ssrc, hidden.from).unwrap_or(at.cast_signed()).max(0);
        let from = from.min((at + samples(JUMP)).cast_signed());
        if (1..=HIDDEN_MAX).contains(&length) {
            self.marks.hide(hidden.channel, from.cast_unsigned(), (from + length).cast_unsigned());
            self.silence();
        }
    }

    /// Makes silent what marks ask for.
    fn silence(&mut self) {
        let end = self.base + self.sound.len() as u64 / FRAME_BYTES;
        for channel in [Channel::Citizen, Channel::Others] {
            self.silence_side(channel, self.base, end);
        }
    }

    fn silence_side(&mut self, channel: Channel, from: u64, to: u64) {
        for (first, end) in self.marks.silences(channel, from, to) {
            let range = ((first - self.base) * FRAME_BYTES) as usize..((end - self.base) * FRAME_BYTES) as usize;
            self.sound[range]
                .iter_mut()
                .skip(side_of(channel))
                .step_by(FRAME_BYTES as usize)
                .for_each(|byte| *byte = SILENCE);
        }
    }
}

/// The byte of a frame.
const fn side_of(channel: Channel) -> usize {
    match channel {
        Channel::Citizen => 0,
        Channel::Others => 1,
    }
}

/// The table that turns a payload's bytes into A-law.
fn law_of(codec: Codec) -> &'static [u8; 256] {
    static ALAW: [u8; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = byte as u8;
            byte += 1;
        }
        table
    };
    static FROM_ULAW: LazyLock<[u8; 256]> = LazyLock::new(|| {
        let mut linear = [0; 256];
        let mut table = [0; 256];
        PcmuDecoder::new().decode_into(&ALAW, &mut linear).expect("room for 256 samples");
        PcmaEncoder::new().encode_into(&linear, &mut table).expect("room for 256 bytes");
        table
    });
    match codec {
        Codec::Pcma => &ALAW,
        Codec::Pcmu => &FROM_ULAW,
    }
}

#[cfg(test)]
mod tests;
