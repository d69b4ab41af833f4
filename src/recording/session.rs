//! One recording: packets of both sides in, pieces of a stereo A-law WAV out.
//!
//! Holds the last [`LATE_MAX`] of both channels, so that late packets are written in place, and lets go of older sound
//! every [`FLUSH`]: what a crash can lose is less than a second. The length of the file is the time from start to
//! finish, to the sample; whatever did not come is silence. Time is that of the taps, and between them that of
//! [`Session::expire`]; wall clocks are only noted.

use super::format::{self, FRAME_BYTES, HEADER_BYTES, Header};
use super::timeline::{JUMP, Packet, Place, Timeline};
use super::{LATE_MAX, SAMPLE_NS, SILENCE, sample_at, samples};
use crate::base::{Mono, Wall};
use crate::media::event::{Audio, Channel, RecordingStart};
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
/// Loudness code of A-law (its 7 bits without sign) below which a sample passes for silence: -42 dBFS.
const SILENT_CODE: u8 = 16;

/// Into the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A packet of this recording.
    Audio(Audio),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        let side = match audio.channel {
            Channel::Citizen => 0,
            Channel::Others => 1,
        };
        for (frame, byte) in self.sound[from..end].chunks_exact_mut(FRAME_BYTES as usize).zip(payload) {
            frame[side] = law[*byte as usize];
        }
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
mod tests {
    use super::*;
    use crate::base::{ContactId, Mint, Now, RecordingId};
    use audio_codec::pcma::PcmaDecoder;
    use audio_codec::pcmu::PcmuEncoder;

    const START: Mono = Mono(7_000_000_003);

    fn at_ms(ms: u64) -> Mono {
        START + Duration::from_millis(ms)
    }

    /// A session and the file that its commands make.
    struct Recording {
        session: Session,
        file: Vec<u8>,
        finished: Option<Finished>,
    }

    impl Recording {
        fn begin() -> Recording {
            let start = RecordingStart {
                recording: RecordingId(1),
                contact: ContactId(2),
                site: "hefei".into(),
                started: Now { mono: START, wall: Wall(1_000) },
            };
            let mut out = Vec::new();
            let session = Session::begin(&start, &mut out);
            let mut recording = Recording { session, file: Vec::new(), finished: None };
            recording.carry_out(out);
            recording
        }

        fn handle(&mut self, event: Event) {
            let mut out = Vec::new();
            self.session.handle(event, &mut out);
            self.session.check();
            self.carry_out(out);
        }

        fn expire(&mut self, ms: u64) {
            let mut out = Vec::new();
            self.session.expire(at_ms(ms), &mut out);
            self.session.check();
            self.carry_out(out);
        }

        fn carry_out(&mut self, commands: Vec<Command>) {
            for command in commands {
                assert_eq!(self.finished, None, "nothing comes after the end");
                match command {
                    Command::Write { offset, bytes } => {
                        assert_eq!(offset, self.file.len() as u64, "no gap, no overlap");
                        self.file.extend(bytes);
                    }
                    Command::Fill { offset, length } => {
                        assert_eq!(offset, self.file.len() as u64, "no gap, no overlap");
                        self.file.resize((offset + length) as usize, SILENCE);
                    }
                    Command::Sizes { frames, header } => {
                        assert_eq!(
                            format::frames_in(self.file.len() as u64),
                            frames,
                            "playable up to what was written"
                        );
                        self.file[..header.len()].copy_from_slice(header.as_slice());
                    }
                    Command::Finished(finished) => self.finished = Some(finished),
                }
            }
        }

        fn audio(&mut self, ms: u64, channel: Channel, count: u64, payload: Vec<u8>) {
            let (ssrc, sequence, timestamp) = (5, count as u16, 160 * count as u32);
            let recording = RecordingId(1);
            let codec = Codec::Pcma;
            let (at, payload) = (at_ms(ms), payload.into());
            let audio = Audio { recording, channel, at, ssrc, sequence, timestamp, codec, payload };
            self.handle(Event::Audio(audio));
        }

        fn finish(&mut self, ms: u64) -> Finished {
            self.handle(Event::Finish { at: at_ms(ms) });
            let finished = self.finished.expect("finished");
            assert_eq!(finished.bytes, self.file.len() as u64);
            assert_eq!(format::parse(&self.file), Ok(finished.samples));
            finished
        }

        fn side(&self, channel: Channel) -> Vec<u8> {
            self.file[HEADER_BYTES as usize..].iter().skip(channel as usize).step_by(2).copied().collect()
        }
    }

    /// 20 ms whose bytes tell which packet they are of.
    fn marked(count: u64) -> Vec<u8> {
        vec![count as u8; 160]
    }

    /// What a side should hold: packet `n` at `20 * n` ms, silence where `n` is not in `packets`.
    fn expected(frames: u64, packets: impl Fn(u64) -> bool) -> Vec<u8> {
        (0..frames).map(|frame| if packets(frame / 160) { (frame / 160) as u8 } else { SILENCE }).collect()
    }

    #[test]
    fn both_sides_are_whole_and_aligned() {
        let mut recording = Recording::begin();
        for count in 0..200 {
            recording.audio(20 * count, Channel::Citizen, count, marked(count));
            recording.audio(20 * count, Channel::Others, count, marked(count + 1));
        }
        let finished = recording.finish(4_000);
        assert_eq!((finished.samples, finished.damaged, finished.left_out), (32_000, false, LeftOut::default()));
        assert_eq!(finished.ended, Wall(5_000));
        assert_eq!(recording.side(Channel::Citizen), expected(32_000, |_| true));
        let others: Vec<u8> = (0..32_000).map(|frame| (frame / 160 + 1) as u8).collect();
        assert_eq!(recording.side(Channel::Others), others);
    }

    #[test]
    fn the_length_is_that_of_the_clock_to_the_sample() {
        for (length_ns, samples) in
            [(0, 0), (62_499, 0), (62_500, 1), (1_000_000_000, 8_000), (61_000_062_499, 488_000)]
        {
            let mut recording = Recording::begin();
            recording.handle(Event::Finish { at: Mono(START.0 + length_ns) });
            let finished = recording.finished.expect("finished");
            assert_eq!(finished.samples, samples, "{length_ns} ns");
            assert_eq!(
                finished.ended,
                Wall(1_000) + Duration::from_nanos(length_ns),
                "whatever the wall clock says then"
            );
        }
    }

    #[test]
    fn loss_reordering_duplicates_and_late_packets() {
        let mut recording = Recording::begin();
        for count in 0..150u64 {
            match count {
                30 | 70 | 100 => {}
                40 => recording.audio(820, Channel::Citizen, 41, marked(41)),
                41 => recording.audio(821, Channel::Citizen, 40, marked(40)),
                _ => recording.audio(20 * count, Channel::Citizen, count, marked(count)),
            }
            match count {
                50 => recording.audio(1_001, Channel::Citizen, 50, vec![0; 160]),
                85 => recording.audio(20 * 70 + 305, Channel::Citizen, 70, marked(70)),
                130 => recording.audio(20 * 100 + 600, Channel::Citizen, 100, marked(100)),
                _ => {}
            }
        }
        let finished = recording.finish(3_000);
        assert_eq!(finished.left_out, LeftOut { duplicate: 1, late: 1, stray: 0 });
        assert_eq!(recording.side(Channel::Citizen), expected(24_000, |count| count != 30 && count != 100));
        assert!(recording.side(Channel::Others).iter().all(|byte| *byte == SILENCE));
    }

    #[test]
    fn silence_and_holds_are_written_as_time_goes_by() {
        let mut recording = Recording::begin();
        recording.audio(0, Channel::Citizen, 0, marked(0));
        for ms in (0..100_000).step_by(100) {
            recording.expire(ms);
            let written = format::frames_in(recording.file.len() as u64) / 8;
            assert!(written + 900 > ms, "a crash at {ms} ms loses less than a second");
        }
        recording.audio(100_000, Channel::Citizen, 5_000, marked(1));
        assert!(recording.session.next_deadline() <= Some(at_ms(100_000) + FLUSH));
        let finished = recording.finish(100_020);
        assert_eq!(finished.samples, 800_160);
        let side = recording.side(Channel::Citizen);
        assert!(side[160..800_000].iter().all(|byte| *byte == SILENCE));
        assert_eq!((&side[..160], &side[800_000..]), (&marked(0)[..], &marked(1)[..]));
        assert_eq!(recording.session.next_deadline(), None);
    }

    #[test]
    fn what_lies_outside_the_recording_is_cut_off() {
        let mut recording = Recording::begin();
        recording.audio(10, Channel::Citizen, 1, marked(1));
        recording.audio(12, Channel::Citizen, 0, marked(0));
        recording.audio(30, Channel::Citizen, 2, vec![]);
        recording.audio(30, Channel::Citizen, 2, vec![1; PAYLOAD_MAX + 1]);
        recording.audio(30, Channel::Citizen, 2, marked(2));
        let finished = recording.finish(40);
        assert_eq!((finished.samples, finished.left_out.stray), (320, 2));
        let side = recording.side(Channel::Citizen);
        assert_eq!((&side[..80], &side[80..240], &side[240..]), (&marked(0)[..80], &marked(1)[..], &marked(2)[..80]));
        recording.audio(60, Channel::Citizen, 3, marked(3));
        recording.expire(90_000);
    }

    #[test]
    fn an_endless_recording_is_closed_after_a_day() {
        let day_ms = 24 * 3_600_000;
        let audio = Audio {
            recording: RecordingId(1),
            channel: Channel::Citizen,
            at: at_ms(day_ms + 5),
            ssrc: 1,
            sequence: 1,
            timestamp: 1,
            codec: Codec::Pcma,
            payload: marked(1).into(),
        };
        let too_late = Event::Finish { at: at_ms(day_ms + 1) };
        for last in [Some(Event::Audio(audio)), Some(too_late), None] {
            let mut session = Recording::begin().session;
            let mut out = Vec::new();
            session.expire(at_ms(day_ms - 1), &mut Vec::new());
            match last {
                Some(event) => session.handle(event, &mut out),
                None => session.expire(at_ms(day_ms), &mut out),
            }
            let Some(Command::Finished(finished)) = out.last() else { panic!("not closed") };
            assert_eq!((finished.samples, finished.damaged), (FRAMES_MAX, true));
            assert_eq!(finished.ended, Wall(1_000 + day_ms.cast_signed()));
        }
    }

    #[test]
    fn a_fault_of_ours_marks_the_recording() {
        let mut recording = Recording::begin();
        recording.handle(Event::Damaged);
        assert!(recording.finish(10).damaged);
    }

    #[test]
    fn mu_law_becomes_a_law_within_quantisation() {
        let linear: Vec<i16> = (0..8000).map(|n| ((f64::from(n) * 0.05).sin() * 12_000.0) as i16).collect();
        let mut encoded = [vec![0; 8000], vec![0; 8000]];
        PcmaEncoder::new().encode_into(&linear, &mut encoded[0]).expect("room");
        PcmuEncoder::new().encode_into(&linear, &mut encoded[1]).expect("room");
        let [alaw, from_ulaw] = [(0, Codec::Pcma), (1, Codec::Pcmu)].map(|(which, codec)| {
            let mut sound = vec![0; 8000];
            let written: Vec<u8> = encoded[which].iter().map(|byte| law_of(codec)[*byte as usize]).collect();
            PcmaDecoder::new().decode_into(&written, &mut sound).expect("room");
            sound
        });
        for ((linear, direct), transcoded) in linear.iter().zip(&alaw).zip(&from_ulaw) {
            // A step of A-law is a 16th of the segment: at most 1/16 of the value, 16 near zero; µ-law adds its own.
            let step = i32::from(linear.unsigned_abs()) / 16 + 16;
            assert!((i32::from(*direct) - i32::from(*transcoded)).abs() <= step, "{linear}: {direct} {transcoded}");
        }
        assert_eq!(law_of(Codec::Pcmu)[0xff], SILENCE);
    }

    /// Whatever comes, in whatever order: no panic, no gap in the file, the length of the clock.
    #[test]
    fn random_packets_never_break_the_file() {
        let mut mint = Mint::new(0, [8, 8]);
        for _ in 0..300 {
            let mut recording = Recording::begin();
            let mut ms = 0;
            for _ in 0..mint.random() % 200 {
                let roll = mint.random();
                ms += [0, 0, 1, 20, 20, 20, 300, 5_000][(roll & 7) as usize];
                let channel = if roll & 8 == 0 { Channel::Citizen } else { Channel::Others };
                let audio = Audio {
                    recording: RecordingId(1),
                    channel,
                    at: at_ms(ms),
                    ssrc: (roll >> 4 & 3) as u32,
                    sequence: if roll & 64 == 0 { (ms / 20) as u16 } else { (roll >> 8) as u16 },
                    timestamp: if roll & 128 == 0 { (ms * 8) as u32 } else { (roll >> 24) as u32 },
                    codec: if roll & 256 == 0 { Codec::Pcma } else { Codec::Pcmu },
                    payload: vec![roll as u8; (roll >> 40) as usize % 1_700].into(),
                };
                recording.handle(Event::Audio(audio));
                if roll & 0x600 == 0 {
                    recording.expire(ms);
                }
            }
            assert_eq!(recording.finish(ms + 7).samples, (ms + 7) * 8);
        }
    }
}
