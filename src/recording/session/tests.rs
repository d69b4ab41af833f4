//! What comes out of a recording, as the file that its commands make.

use super::*;
use crate::base::{ContactId, Mint, Now, RecordingId};
use crate::media::event::Track;
use crate::recording::marks::Why;
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
            track: Track::Journey,
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
                    assert_eq!(format::frames_in(self.file.len() as u64), frames, "playable up to what was written");
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
        let finished = self.finished.clone().expect("finished");
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
    for (length_ns, samples) in [(0, 0), (62_499, 0), (62_500, 1), (1_000_000_000, 8_000), (61_000_062_499, 488_000)] {
        let mut recording = Recording::begin();
        recording.handle(Event::Finish { at: Mono(START.0 + length_ns) });
        let finished = recording.finished.clone().expect("finished");
        assert_eq!(finished.samples, samples, "{length_ns} ns");
        assert_eq!(finished.ended, Wall(1_000) + Duration::from_nanos(length_ns), "whatever the wall clock says then");
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

fn paused(ms: u64, reason: &str) -> Event {
    Event::Pause { at: at_ms(ms), reason: Reason::try_from(Box::from(reason)).unwrap() }
}

#[test]
fn a_pause_is_silent_to_the_sample_and_says_why() {
    let mut recording = Recording::begin();
    for count in 0..200 {
        match count {
            50 => recording.handle(paused(1_003, "card number")),
            100 => recording.handle(Event::Resume { at: at_ms(2_013) }),
            _ => {}
        }
        // Packets also come while it is paused, and late ones when it goes on again.
        let late = if count == 100 { 25 } else { 0 };
        recording.audio(20 * count + late, Channel::Citizen, count, marked(count));
        recording.audio(20 * count + late, Channel::Others, count, marked(count));
    }
    recording.handle(paused(3_990, "another"));
    let finished = recording.finish(4_000);
    let marks: Vec<(u64, u64)> = finished.marks.iter().map(|mark| (mark.from, mark.to)).collect();
    assert_eq!(marks, [(8 * 1_003, 8 * 2_013), (8 * 3_990, 32_000)]);
    assert!(
        matches!(&finished.marks[0].why, Why::Paused { reason } if Box::<str>::from(reason.clone()) == "card number".into())
    );
    for channel in [Channel::Citizen, Channel::Others] {
        let mut whole = expected(32_000, |_| true);
        whole[8 * 1_003..8 * 2_013].fill(SILENCE);
        whole[8 * 3_990..].fill(SILENCE);
        let side = recording.side(channel);
        let off = side.iter().zip(&whole).position(|(one, other)| one != other);
        assert_eq!((side.len(), off), (whole.len(), None), "{channel:?}");
    }
}

#[test]
fn hidden_digits_are_silent_on_their_side_alone() {
    let mut recording = Recording::begin();
    let hide = |ms, from, to| {
        let (recording, channel) = (RecordingId(1), Channel::Citizen);
        Event::Hide(Hidden { recording, channel, at: at_ms(ms), ssrc: 5, from, to })
    };
    for count in 0..100 {
        recording.audio(20 * count, Channel::Citizen, count, marked(count));
        recording.audio(20 * count, Channel::Others, count, marked(count));
        match count {
            // Known 60 ms after its beginning, and again as it goes on; part of it is still to come.
            23 => recording.handle(hide(463, 20 * 160 + 40, 24 * 160)),
            24 => recording.handle(hide(483, 20 * 160 + 40, 25 * 160 + 70)),
            _ => {}
        }
    }
    let finished = recording.finish(2_000);
    let mut whole = expected(16_000, |_| true);
    whole[3_240..4_070].fill(SILENCE);
    assert_eq!(recording.side(Channel::Citizen), whole);
    assert_eq!(recording.side(Channel::Others), expected(16_000, |_| true));
    let why = Why::Digits { side: Channel::Citizen };
    assert_eq!(finished.marks, [Mark { from: 3_240, to: 4_070, why }]);
}

/// A call of an hour whose phone's clock is wrong by 100 ppm: what was said is found within 40 ms of when it was said,
/// to the last minute, and the file is as long as the call.
#[test]
fn an_hour_with_a_clock_off_by_100_ppm_is_recorded_within_40_ms() {
    for ppm in [100i64, -100] {
        let mut recording = Recording::begin();
        let mut mint = Mint::new(1, [ppm.unsigned_abs(), 4]);
        let (hour_us, mut spoken) = (3_600_000_000i64, Vec::new());
        for count in 0u64.. {
            let sent_us = (20_000 * count).cast_signed() * (1_000_000 + ppm) / 1_000_000;
            if sent_us + 40_000 > hour_us {
                break;
            }
            let jitter_us = (mint.random() % 12_000).cast_signed();
            // Speech without a pause, but for one loud packet each 10 s that marks its time.
            let loud = count % 500 == 250;
            if loud {
                spoken.push(sent_us);
            }
            let payload = vec![if loud { 0xaa } else { 0xb5 }; 160];
            let (recording_id, codec) = (RecordingId(1), Codec::Pcma);
            let at = START + Duration::from_micros((sent_us + jitter_us).cast_unsigned());
            let (sequence, timestamp) = (count as u16, (count * 160) as u32);
            let channel = Channel::Citizen;
            recording.handle(Event::Audio(Audio {
                recording: recording_id,
                channel,
                at,
                ssrc: 5,
                sequence,
                timestamp,
                codec,
                payload: payload.into(),
            }));
        }
        let finished = recording.finish(3_600_000);
        assert_eq!(finished.samples, 28_800_000);
        let side = recording.side(Channel::Citizen);
        let mut worst = 0;
        let mut from = 0;
        for sent_us in &spoken {
            let found = from + side[from..].iter().position(|byte| *byte == 0xaa).expect("it was recorded");
            worst = worst.max((found as i64 - sent_us * 8 / 1_000).abs());
            from = found + 8_000;
        }
        assert!(spoken.len() >= 359 && worst <= 40 * 8, "{ppm} ppm: {} ms off", worst / 8);
    }
}
