//! Three and more parties, measured on the samples that each is sent.

use super::*;
use crate::media::event::{HeardBy, Marks, Parties, Party, PartyName, Tone};

const C: LegId = LegId::outgoing(ShardId(3), 2);
const D: LegId = LegId::outgoing(ShardId(3), 3);

/// A phone that speaks every 20 ms, with some way to go for each packet.
struct Phone {
    leg: LegId,
    says: Vec<i16>,
    /// Of each packet, in milliseconds; `None` is lost.
    way: Box<dyn FnMut(u64) -> Option<u64>>,
    /// When each packet that is on its way comes.
    coming: Vec<(u64, u16)>,
    said: u16,
}

impl Phone {
    fn new(leg: LegId, says: Vec<i16>, way: impl FnMut(u64) -> Option<u64> + 'static) -> Phone {
        Phone { leg, says, way: Box::new(way), coming: Vec::new(), said: 0 }
    }
}

/// At each moment another sound than at any other.
fn hiss(seed: u64, seconds: usize) -> Vec<i16> {
    let mut mint = Mint::new(4, [seed, 4]);
    (0..seconds * 8_000).map(|_| (mint.random() as i16) / 4).collect()
}

fn voice(file: &[u8]) -> Vec<i16> {
    hound::WavReader::new(file).unwrap().into_samples().map(Result::unwrap).collect()
}

impl Stage {
    /// A and B are bridged, C and D stand beside.
    fn four() -> Stage {
        let mut stage = Stage::pair();
        for leg in [C, D] {
            stage.act(Action::Open { leg, seed: leg.0 });
            stage.act(Action::Connect { leg, remote: remote(leg) });
        }
        stage.act(Action::Bridge { a: A, b: B });
        stage
    }

    fn confer(&mut self, parties: &[Party]) {
        self.act(Action::Conference { citizen: A, parties: Parties::new(parties.to_vec()).unwrap() });
    }

    /// Lets phones speak for so long.
    fn talk(&mut self, ms: u64, phones: &mut [Phone]) {
        for _ in 0..ms / TICK_MS {
            let now = self.now.mono.ms() + TICK_MS - 1_000;
            self.now = self.now.after(Duration::from_millis(TICK_MS));
            for phone in phones.iter_mut() {
                while u64::from(phone.said) * 20 <= now {
                    if let Some(way) = (phone.way)(u64::from(phone.said)) {
                        phone.coming.push((u64::from(phone.said) * 20 + way, phone.said));
                    }
                    phone.said += 1;
                }
                phone.coming.sort_unstable();
                let due = phone.coming.partition_point(|(at, _)| *at <= now);
                for (_, count) in phone.coming.drain(..due).collect::<Vec<_>>() {
                    let from = usize::from(count) * 160;
                    let mut sound = phone.says.get(from..).unwrap_or(&[]).to_vec();
                    sound.resize(160, 0);
                    self.speak(phone.leg, count, &g711::encode(Codec::Pcma, &sound));
                }
            }
            self.plane.tick(self.now, &mut self.out);
            self.collect();
        }
    }
}

/// The samples that were sent, one after another, as the time stamps say: none twice, none left out.
fn stream(sounds: &[Sound]) -> Vec<i16> {
    let mut samples = Vec::new();
    for pair in sounds.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        assert_eq!(next.header.ssrc, one.header.ssrc);
        assert_eq!(next.header.sequence, one.header.sequence.wrapping_add(1), "at {} ms", next.at_ms);
        let step = next.header.timestamp.wrapping_sub(one.header.timestamp);
        assert_eq!(step as usize, one.payload.len(), "a gap in the time stamps at {} ms", next.at_ms);
    }
    for sound in sounds {
        samples.extend(g711::decode(Codec::Pcma, &sound.payload));
    }
    samples
}

/// Longest stretch in samples that is 20 dB or more below the level of the whole.
fn longest_gap(samples: &[i16]) -> usize {
    let level =
        |sound: &[i16]| (sound.iter().map(|&it| f64::from(it).powi(2)).sum::<f64>() / sound.len() as f64).sqrt();
    let whole = level(samples);
    let (mut longest, mut now) = (0, 0);
    for piece in samples.chunks(16) {
        now = if level(piece) < whole / 10.0 { now + piece.len() } else { 0 };
        longest = longest.max(now);
    }
    longest
}

/// How like, from −1 to 1.
fn likeness(one: &[i16], other: &[i16]) -> f64 {
    let sum = |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    sum(one, other) / (sum(one, one) * sum(other, other)).sqrt().max(1.0)
}

/// For each 20 ms of `said` that hold sound: by how many samples later it is found in `heard`, and how like it is there.
fn found(said: &[i16], heard: &[i16], from: usize) -> Vec<(usize, usize, f64)> {
    let mut found = Vec::new();
    let mut last = from;
    for (count, piece) in said.chunks_exact(160).enumerate() {
        if piece.iter().map(|sample| sample.unsigned_abs()).max() < Some(1_000) {
            continue;
        }
        let at = count * 160;
        // Not before what was found last, and up to 60 ms later.
        let near = (last.saturating_sub(20)..last + 480).filter(|shift| at + shift + 160 <= heard.len());
        let best = near
            .map(|shift| (shift, likeness(piece, &heard[at + shift..at + shift + 160])))
            .max_by(|one, other| one.1.total_cmp(&other.1));
        let Some((shift, like)) = best else { break };
        found.push((count, shift, like));
        last = if like > 0.8 { shift } else { last };
    }
    found
}

/// Jitter of up to 15 ms that keeps the order.
fn jitter(seed: u64) -> impl FnMut(u64) -> Option<u64> {
    let mut mint = Mint::new(2, [seed, 2]);
    move |_| Some(mint.random() % 4 * 5)
}

/// What one heard of what another said, from the packets that were sent since `from_ms`.
struct Reception {
    /// Longest silence in samples.
    gap: usize,
    /// Largest growth of the delay from one piece of 20 ms to the next, and the largest decrease.
    grown: i64,
    shrunk: i64,
    /// Pieces, and those that were not found again.
    pieces: usize,
    unlike: usize,
    /// Delay of the first and of the last, in samples.
    delay: (usize, usize),
}

fn reception(sounds: &[Sound], said: &[i16]) -> Reception {
    let heard = stream(sounds);
    let gap = longest_gap(&heard);
    let begins = (sounds[0].at_ms - 1_000) as usize * 8;
    let first = begins.div_ceil(160) * 160;
    let found = found(&said[first.min(said.len())..], &heard[first - begins..], 0);
    // What was under way when the listening began, and is under way at its end, is left out.
    let found = &found[3..];
    let steps = found.windows(2).filter(|two| two.iter().all(|(.., like)| *like > 0.8));
    let steps: Vec<i64> = steps.map(|two| two[1].1 as i64 - two[0].1 as i64).collect();
    Reception {
        gap,
        grown: steps.iter().copied().max().unwrap(),
        shrunk: steps.iter().copied().min().unwrap(),
        pieces: found.len(),
        unlike: found.iter().filter(|(.., like)| *like < 0.8).count(),
        delay: (found[0].1, found[found.len() - 1].1),
    }
}

#[test]
fn from_relay_to_mix_and_back_without_a_gap_and_without_a_lost_sample() {
    for (round, (join_at, back_at)) in
        [(2_000, 3_000), (2_005, 3_015), (2_010, 3_010), (2_015, 3_005)].into_iter().enumerate()
    {
        let mut stage = Stage::four();
        let said = [hiss(join_at, 9), hiss(back_at, 9)];
        let mut phones = [
            Phone::new(A, said[0].clone(), jitter(join_at)),
            Phone::new(B, said[1].clone(), jitter(back_at)),
            Phone::new(C, Vec::new(), |_| Some(0)),
        ];
        stage.talk(400, &mut phones);
        stage.sounds.clear();
        stage.talk(join_at - 400, &mut phones);
        stage.confer(&[Party::new(A), Party::new(B), Party::new(C)]);
        assert_eq!((stage.plane.counts().bridges, stage.plane.counts().conferences), (0, 1));
        stage.talk(back_at, &mut phones);
        for leg in [A, B] {
            let mixed = stage.plane.playout(leg).unwrap();
            assert_eq!((mixed.late, mixed.taken_out), (0, 0), "nothing that was said is left out: {mixed:?}");
            assert!(mixed.made_up <= 320, "{mixed:?}");
        }
        stage.act(Action::Bridge { a: A, b: B });
        stage.talk(3_000, &mut phones);
        assert_eq!((stage.plane.counts().bridges, stage.plane.counts().conferences), (1, 0), "relayed again");
        for (listener, said) in [(B, &said[0]), (A, &said[1])] {
            let sounds = stage.heard_by(listener);
            // How late each packet comes by its own time stamp: a phone that holds 40 ms hears all of it in time.
            let stamped =
                |sound: &Sound| u64::from(sound.header.timestamp.wrapping_sub(sounds[0].header.timestamp)) / 8;
            let late: Vec<i64> = sounds.iter().map(|it| it.at_ms as i64 - stamped(it) as i64).collect();
            let later = late.iter().max().unwrap() - late[..50].iter().min().unwrap();
            assert!(later <= 40, "{later} ms late");
            let it = reception(&sounds, said);
            println!(
                "round {round}, {listener:?}: gap {} ms, delay {}–{} ms, grown by {} samples at most, shrunk by {}, {} of {} unlike",
                it.gap / 8,
                it.delay.0 / 8,
                it.delay.1 / 8,
                it.grown,
                it.shrunk,
                it.unlike,
                it.pieces
            );
            assert!(it.gap <= 160 && it.grown <= 160 && it.shrunk == 0 && it.unlike <= 6, "{listener:?}");
        }
        let third = stage.heard_by(C);
        let heard = stream(&third[(join_at - 300) as usize / 20..(join_at + back_at - 500) as usize / 20]);
        assert_eq!(longest_gap(&heard), 0, "the third hears both");
    }
}

#[test]
fn voices_of_three_with_loss_and_jitter() {
    let mut stage = Stage::four();
    let files: [&[u8]; 3] = [
        include_bytes!("../../../demo/voices/citizen-water.wav"),
        include_bytes!("../../../demo/voices/agent-hello.wav"),
        include_bytes!("../../../demo/voices/agent-reply.wav"),
    ];
    let said = files.map(voice);
    let mut dice = Mint::new(6, [6, 6]);
    let mut phones = [
        Phone::new(A, said[0].clone(), move |_| {
            let roll = dice.random();
            (!roll.is_multiple_of(50)).then_some(roll >> 8 & 31)
        }),
        // The others speak later: for a while A is alone to be heard.
        Phone::new(B, [vec![0; 72_000], said[1].clone()].concat(), jitter(1)),
        Phone::new(C, [vec![0; 72_000], said[2].clone()].concat(), |_| Some(0)),
    ];
    stage.talk(1_000, &mut phones);
    stage.sounds.clear();
    stage.confer(&[Party::new(A), Party::new(B), Party::new(C)]);
    stage.talk(8_000, &mut phones);
    let sounds = stage.heard_by(B);
    let length = (8 * 9_000).min(said[0].len());
    let it = reception(&sounds, &said[0][..length]);
    println!(
        "delay {}–{} ms, grown by {} samples, shrunk by {}, {} of {} unlike",
        it.delay.0 / 8,
        it.delay.1 / 8,
        it.grown,
        it.shrunk,
        it.unlike,
        it.pieces
    );
    assert!(it.unlike * 10 <= it.pieces && it.grown <= 160 && it.delay.1 <= 8 * 100);
    stage.talk(6_000, &mut phones);
    let third = stage.heard_by(C);
    assert!(third.len() > 680 && third.windows(2).all(|two| two[1].at_ms - two[0].at_ms == 20));
}

#[test]
fn a_whisper_reaches_one_and_no_recording_of_the_citizen() {
    let mut stage = Stage::four();
    let start = |id, track, started| RecordingStart {
        recording: RecordingId(id),
        contact: ContactId(1),
        site: "hz".into(),
        started,
        track,
    };
    let (journey, party) = (start(1, Track::Journey, stage.now), PartyName::try_from(Box::from("agent-1001")).unwrap());
    stage.act(Action::Record { citizen: A, recording: journey });
    let agent = start(2, Track::Party(party), stage.now);
    stage.act(Action::Record { citizen: B, recording: agent });
    // Levels that no sum of others makes: citizen 1,000, agent 2,000, team lead 4,000.
    let mut phones =
        [(A, 1_008), (B, 2_016), (C, 4_032)].map(|(leg, level)| Phone::new(leg, vec![level; 80_000], |_| Some(0)));
    stage.confer(&[
        Party::new(A),
        Party::new(B),
        Party { heard_by: HeardBy::Only(B), ..Party::new(C) },
        Party { heard_by: HeardBy::Nobody, ..Party::new(D) },
    ]);
    stage.talk(1_000, &mut phones);
    let last = |stage: &mut Stage, leg| g711::decode(Codec::Pcma, &stage.heard_by(leg).last().unwrap().payload)[80];
    let levels = [A, B, C, D].map(|leg| last(&mut stage, leg));
    assert_eq!(levels, [2_016, 4_992, 3_008, 3_008], "in A-law's steps");
    let loudest = |stage: &Stage, id, channel| {
        let taps = stage.taps.iter().filter_map(|tap| if let Tap::Audio(audio) = tap { Some(audio) } else { None });
        let mine = taps.filter(|audio| audio.recording == RecordingId(id) && audio.channel == channel);
        mine.flat_map(|audio| g711::decode(audio.codec, &audio.payload)).max().unwrap_or(0)
    };
    assert_eq!(loudest(&stage, 1, Channel::Citizen), 1_008);
    assert_eq!(loudest(&stage, 1, Channel::Others), 2_016, "the whisper is not on the citizen's track");
    assert_eq!((loudest(&stage, 2, Channel::Citizen), loudest(&stage, 2, Channel::Others)), (2_016, 4_992));
    // The team lead barges in, and the agent is muted.
    stage.confer(&[Party::new(A), Party { muted: true, ..Party::new(B) }, Party::new(C)]);
    stage.talk(200, &mut phones);
    assert_eq!([A, B, C].map(|leg| last(&mut stage, leg)), [4_032, 4_992, 1_008]);
    stage.sounds.clear();
    stage.talk(100, &mut phones);
    assert!(stage.heard_by(D).iter().all(|sound| sound.payload == [0xd5; 160]), "who is not named hears silence");
}

#[test]
fn prompts_tones_and_digits_in_a_conference() {
    let mut stage = Stage::four();
    let mut phones = [A, B, C].map(|leg| Phone::new(leg, vec![0; 80_000], |_| Some(0)));
    stage.confer(&[A, B, C].map(Party::new));
    stage.talk(200, &mut phones);
    stage.sounds.clear();
    stage.act(Action::Play { leg: A, play: 7, prompts: vec![PromptId(2)], repeat: false });
    for leg in [A, B, C] {
        stage.act(Action::Tone { leg, play: 8, tone: Tone::Joined, repeat: false });
    }
    stage.talk(300, &mut phones);
    for leg in [A, B, C] {
        let heard: Vec<i16> =
            stage.heard_by(leg).iter().flat_map(|it| g711::decode(Codec::Pcma, &it.payload)).collect();
        let loud = heard.iter().filter(|sample| sample.abs() > 100).count();
        assert!((1_500..=1_600).contains(&loud), "200 ms of tone: {loud}");
    }
    let played: Vec<_> = stage.notices.iter().filter(|(_, it)| matches!(it, Notice::Played { play: 8, .. })).collect();
    assert_eq!(played.len(), 3, "a newer play replaces the older");
    stage.act(Action::SendDigits { leg: B, digits: crate::media::event::Digits::new("5", 100, 60).unwrap() });
    stage.talk(400, &mut phones);
    let lengths: Vec<u16> = stage
        .heard_by(B)
        .iter()
        .filter(|it| it.header.payload_type == 101)
        .map(|it| u16::from_be_bytes([it.payload[2], it.payload[3]]))
        .collect();
    assert_eq!(lengths, [160, 320, 480, 640, 800, 800, 800]);
    assert!(stage.notices.iter().any(|(_, it)| *it == Notice::DigitsSent { leg: B }));
}

#[test]
fn parties_come_and_go_and_the_end_leaves_nothing() {
    use crate::media::event::PartiesError::{TooMany, Twice};
    let many: Vec<Party> = (0..17).map(|number| Party::new(LegId::outgoing(ShardId(3), number))).collect();
    assert_eq!(Parties::new(many.clone()), Err(TooMany));
    assert_eq!(Parties::new(vec![many[0], many[1], many[0]]), Err(Twice));
    assert!(Parties::new(many[..16].to_vec()).is_ok());
    let mut stage = Stage::four();
    let mut phones = [A, B, C].map(|leg| Phone::new(leg, vec![1_008; 80_000], |_| Some(0)));
    stage.confer(&[]);
    assert_eq!(stage.plane.counts().bridges, 1, "nobody was there");
    stage.confer(&[A, B].map(Party::new));
    stage.talk(100, &mut phones);
    stage.confer(&[C, D].map(Party::new));
    stage.talk(100, &mut phones);
    assert_eq!((stage.plane.counts().bridges, stage.plane.counts().conferences), (0, 1));
    // Another ptime, a hold, an end in the middle.
    stage.connect(C, |remote| remote.ptime_ms = 30);
    stage.confer(&[A, B, C, D].map(Party::new));
    stage.talk(300, &mut phones);
    stage.sounds.clear();
    stage.talk(600, &mut phones);
    let thirties = stage.heard_by(C);
    assert!(thirties.len() == 20 && thirties.iter().all(|it| it.payload.len() == 240), "{}", thirties.len());
    stream(&thirties);
    stage.connect(A, |remote| remote.direction = Direction::Inactive);
    stage.talk(100, &mut phones);
    assert_eq!(stage.heard_by(A).iter().filter(|it| it.at_ms > stage.now.mono.ms() - 100).count(), 0);
    stage.act(Action::Close { leg: A });
    stage.act(Action::Unbridge { leg: B });
    stage.talk(100, &mut phones[1..]);
    stage.act(Action::Bridge { a: C, b: D });
    stage.act(Action::Bridge { a: B, b: C });
    assert_eq!((stage.plane.counts().bridges, stage.plane.counts().conferences), (1, 1), "one took its leg out of it");
    for leg in [B, C, D] {
        stage.act(Action::Close { leg });
    }
    let counts = stage.plane.counts();
    assert_eq!((counts.legs, counts.bridges, counts.conferences, stage.plane.next_deadline()), (0, 0, 0, None));
}

#[test]
fn a_conference_goes_on_after_the_process_has_died() {
    let parties = [Party::new(A), Party { gain_db: 6, ..Party::new(B) }, Party::new(C)];
    let mut stage = Stage::four();
    let opened = stage.now;
    let mut phones = [A, B, C].map(|leg| Phone::new(leg, hiss(leg.0, 9), |_| Some(0)));
    stage.confer(&parties);
    stage.talk(1_000, &mut phones);
    let last = [A, B, C].map(|leg| stage.heard_by(leg).last().unwrap().header);
    let marks: Marks = stage.plane.marks(stage.now.mono).into_iter().collect();
    let kept = postcard::to_stdvec(&Parties::new(parties.to_vec()).unwrap()).unwrap();

    stage.plane = Plane::new(library(), 9);
    stage.talk(500, &mut phones);
    for leg in [A, B, C] {
        let (remote, mark) = (Some(remote(leg)), marks.get(&leg).copied());
        stage.act(Action::Reopen { leg, seed: leg.0, opened, remote, mark });
    }
    let parties: Parties = postcard::from_bytes(&kept).unwrap();
    stage.act(Action::Conference { citizen: A, parties });
    stage.talk(1_000, &mut phones);
    for (leg, last) in [A, B, C].into_iter().zip(last) {
        let sounds = stage.heard_by(leg);
        let first = sounds[0].header;
        assert_eq!(first.ssrc, last.ssrc);
        assert!((1..5_000).contains(&first.sequence.wrapping_sub(last.sequence)), "numbers go on");
        let later = first.timestamp.wrapping_sub(last.timestamp) as usize / 8;
        assert!((500..600).contains(&later), "the gap is as long as it was: {later} ms");
        assert!(longest_gap(&stream(&sounds[5..])) == 0, "{leg:?} hears the others");
    }
}
