//! What legs are told and believe: digits, strangers, silence, recordings, reports, and anything at all.

use super::*;
use crate::media::event::{Digits, Parties, Party};

#[test]
fn digits_are_told_once_and_relayed_on_the_same_line() {
    let mut stage = Stage::pair();
    stage.connect(B, |remote| remote.telephone_event = Some(96));
    stage.act(Action::Bridge { a: A, b: B });
    let (sound, start) = ([9; 160], 2 * 160);
    stage.speak(A, 0, &sound);
    stage.speak(A, 1, &sound);
    // The first packet of the event is lost, the last is sent three times.
    for (count, event) in [(3, [5, 10, 1, 64]), (4, [5, 0x8a, 1, 224]), (5, [5, 0x8a, 1, 224]), (6, [5, 0x8a, 1, 224])]
    {
        stage.digit(A, count, start, event);
    }
    stage.speak(A, 7, &sound);
    let digits: Vec<_> = stage.notices.iter().map(|(_, notice)| notice.clone()).collect();
    assert_eq!(digits, [Notice::Digit { leg: A, digit: b'5' }]);
    let sounds: Vec<Sound> = stage.heard_by(B).into_iter().filter(|sound| sound.payload != [0xd5; 160]).collect();
    let first = sounds[0].header;
    let places: Vec<_> = sounds
        .iter()
        .map(|sound| {
            let Header { sequence, timestamp, payload_type, .. } = sound.header;
            (sequence.wrapping_sub(first.sequence), timestamp.wrapping_sub(first.timestamp), payload_type)
        })
        .collect();
    assert_eq!(places, [(0, 0, 8), (1, 160, 8), (3, 320, 96), (4, 320, 96), (5, 320, 96), (6, 320, 96), (7, 1_120, 8)]);
    assert_eq!(sounds[3].payload, [5, 0x8a, 1, 224]);
    // A.8 by hand: (160 + 960 − 160/16) / 16 samples, from the three sounds alone.
    assert_eq!(stage.counters(A).jitter_us, 8_625, "events do not count");
}

#[test]
fn what_a_peer_has_not_negotiated_leaves_no_gap() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    stage.speak(A, 0, &[9; 160]);
    stage.speak_from(A, address(A), 13, 1u16.wrapping_sub(5), 160, &[60]); // comfort noise, not negotiated
    stage.pass(40);
    stage.speak(A, 2, &[9; 160]);
    let sounds = stage.heard_by(B);
    assert_eq!(sounds.len(), 2);
    assert_one_line(&sounds);
    assert_eq!((stage.counters(A).received, stage.counters(A).dropped, stage.counters(A).lost), (2, 1, 0));
}

#[test]
fn packets_of_strangers_never_enter() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    let stranger: SocketAddr = "10.9.9.9:4000".parse().unwrap();
    let second: SocketAddr = SocketAddr::new(address(A).ip(), 5_555);
    stage.speak_from(A, stranger, 8, 0, 0, &[1; 160]);
    stage.speak(A, 1, &[2; 160]);
    for from in [stranger, second] {
        stage.speak_from(A, from, 8, 2, 320, &[1; 160]);
        stage.speak_from(A, from, 101, 3, 320, &[5, 10, 0, 160]);
        stage.receive(A, Kind::Rtcp, from, &[0x80, 203, 0, 0]);
    }
    stage.receive(A, Kind::Rtcp, stranger, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    let sounds = stage.heard_by(B);
    assert_eq!(sounds.iter().map(|sound| sound.payload[0]).collect::<Vec<_>>(), [2]);
    assert_eq!(stage.notices, []);
    assert_eq!((stage.counters(A).received, stage.counters(A).dropped), (1, 8));
    // A second description lets the second port in, and shuts a third out.
    let third: SocketAddr = SocketAddr::new(second.ip(), 5_556);
    stage.connect(A, |_| {});
    stage.speak_from(A, second, 8, 4, 640, &[3; 160]);
    stage.speak_from(A, third, 8, 5, 800, &[4; 160]);
    assert_eq!(stage.heard_by(B).iter().map(|sound| sound.payload[0]).collect::<Vec<_>>(), [3]);
    stage.pass(600);
    assert!(stage.heard_by(A).iter().all(|sound| sound.to == second), "ours go where theirs come from");
    // The described port takes its place back, and then the second is shut out.
    stage.speak(A, 10, &[5; 160]);
    stage.speak_from(A, second, 8, 11, 1_760, &[3; 160]);
    let heard: Vec<u8> = stage.heard_by(B).iter().map(|sound| sound.payload[0]).collect();
    assert!(heard.contains(&5) && !heard.contains(&3), "{heard:?}");
    stage.pass(600);
    assert!(stage.heard_by(A).last().is_some_and(|sound| sound.to == address(A)));
}

/// A phone that has not heard of its call's end yet speaks to a port given out again; numbers and SSRC of the right one say
/// nothing about it, though they are the same.
#[test]
fn whoever_takes_the_place_back_is_heard_from_the_first_packet_on() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    let second = SocketAddr::new(address(A).ip(), 5_555);
    for count in 60..100 {
        stage.speak_from(A, second, 8, count, u32::from(count) * 160, &[1; 160]);
        stage.pass(20);
    }
    stage.heard_by(B);
    for count in 50..90 {
        stage.speak(A, count, &[2; 160]);
        stage.pass(20);
    }
    let heard = stage.heard_by(B);
    assert_eq!(heard.iter().filter(|sound| sound.payload[0] == 2).count(), 40, "none is late, and none a duplicate");
    assert_one_line(&heard);
    let counters = stage.counters(A);
    assert_eq!((counters.received, counters.dropped, counters.lost), (80, 0, 0));
    stage.reports.clear();
    stage.pass(10_000);
    let report = stage.reports.iter().rfind(|(_, leg, _)| *leg == A).expect("a report");
    let about = report.2.windows(4).filter(|word| **word == (0x1234 + A.0 as u32).to_be_bytes()).count();
    assert_eq!(about, 1, "reports name the source as it names itself");
}

#[test]
fn nothing_is_sent_or_believed_before_connect_nor_after_close() {
    let mut stage = Stage::new();
    stage.act(Action::Open { leg: A, seed: 1 });
    stage.act(Action::Open { leg: A, seed: 2 });
    stage.act(Action::Play { leg: A, play: 1, prompts: vec![PromptId(1)], repeat: false });
    stage.speak(A, 0, &[1; 160]);
    stage.pass(30_000);
    assert_eq!((stage.sounds.len(), stage.notices.len(), stage.plane.next_deadline()), (0, 0, None));
    stage.connect(A, |_| {});
    stage.pass(40);
    assert!(matches!(stage.notices[..], [(_, Notice::Played { .. })]), "it begins when somebody is there");
    stage.act(Action::Close { leg: A });
    let counters = Counters { sent: 2, dropped: 1, ..Counters::default() };
    assert_eq!(stage.notices.last().unwrap().1, Notice::Closed { leg: A, counters });
    stage.speak(A, 1, &[1; 160]);
    stage.act(Action::Close { leg: A });
    assert_eq!((stage.plane.counts().strays, stage.notices.len()), (1, 2));
}

#[test]
fn quiet_is_told_each_ten_seconds_but_not_of_held_legs() {
    let mut stage = Stage::pair();
    stage.connect(B, |remote| remote.direction = Direction::SendOnly);
    stage.pass(21_000);
    let mut report = Vec::new();
    rtcp::write_report(&mut report, 1, None, None);
    stage.receive(A, Kind::Rtcp, remote(A).rtcp, &report);
    stage.speak(A, 0, &[1; 160]);
    stage.pass(9_900);
    stage.connect(A, |_| {}); // a refreshed session is not a sign of life
    stage.pass(200);
    let seconds = Duration::from_secs;
    let expected = [
        (4_000, Notice::Mute { leg: A }),
        (11_000, Notice::Quiet { leg: A, silent: seconds(10) }),
        (21_000, Notice::Quiet { leg: A, silent: seconds(20) }),
        (22_000, Notice::Heard { leg: A }),
        (22_000, Notice::Sounds { leg: A }),
        (25_000, Notice::Mute { leg: A }),
        (32_000, Notice::Quiet { leg: A, silent: seconds(10) }),
    ];
    assert_eq!(stage.notices, expected);
}

#[test]
fn a_recording_gets_the_citizen_and_all_he_is_sent_but_no_silence_and_no_digits() {
    let mut stage = Stage::pair();
    let recording = RecordingId(77);
    let start = RecordingStart {
        recording,
        contact: ContactId(1),
        site: "hz".into(),
        started: stage.now,
        track: Track::Journey,
    };
    stage.act(Action::Record { citizen: A, recording: start.clone() });
    stage.pass(100);
    stage.act(Action::Play { leg: A, play: 1, prompts: vec![PromptId(0)], repeat: false });
    stage.pass(100);
    stage.act(Action::Bridge { a: A, b: B });
    stage.speak(A, 0, &[1; 160]);
    stage.speak(B, 0, &[2; 160]);
    stage.digit(B, 1, 160, [5, 10, 0, 160]);
    stage.digit(A, 1, 160, [5, 10, 0, 160]);
    let at = stage.now;
    stage.act(Action::StopRecording { citizen: A, recording, at });
    stage.speak(A, 3, &[3; 160]);
    let sent = stage.heard_by(A);
    let (first, rest) = stage.taps.split_first().unwrap();
    assert_eq!(*first, Tap::Start(start));
    let (last, audio) = rest.split_last().unwrap();
    assert_eq!(*last, Tap::Finish { recording, at: stage.now.mono });
    let audio: Vec<&Audio> =
        audio.iter().map(|tap| if let Tap::Audio(audio) = tap { audio } else { panic!("{tap:?}") }).collect();
    let sides: Vec<Channel> = audio.iter().map(|audio| audio.channel).collect();
    assert_eq!(sides, [Channel::Others, Channel::Others, Channel::Citizen, Channel::Others]);
    assert_eq!((&audio[2].payload[..], audio[2].sequence, audio[2].at), (&[1; 160][..], 65_531, stage.now.mono));
    for tapped in audio.iter().filter(|audio| audio.channel == Channel::Others) {
        let sent =
            sent.iter().find(|sound| sound.header.sequence == tapped.sequence).expect("what was tapped was sent");
        assert_eq!(
            (sent.header.ssrc, sent.header.timestamp, &sent.payload[..]),
            (tapped.ssrc, tapped.timestamp, &tapped.payload[..])
        );
    }
}

#[test]
fn closing_finishes_the_recording_and_a_new_one_the_old() {
    let mut stage = Stage::pair();
    let start = |id, now| RecordingStart {
        recording: RecordingId(id),
        contact: ContactId(1),
        site: "hz".into(),
        started: now,
        track: Track::Journey,
    };
    for id in [1, 2] {
        let recording = start(id, stage.now);
        stage.act(Action::Record { citizen: A, recording });
    }
    assert_eq!(stage.plane.counts().recordings, 1);
    stage.act(Action::Close { leg: A });
    let ids: Vec<(bool, u128)> = stage
        .taps
        .iter()
        .map(|tap| match tap {
            Tap::Start(start) => (true, start.recording.0),
            Tap::Finish { recording, .. } => (false, recording.0),
            Tap::Audio(_) | Tap::Hide(_) | Tap::Pause { .. } | Tap::Resume { .. } => panic!("nothing was said"),
        })
        .collect();
    assert_eq!(ids, [(true, 1), (false, 1), (true, 2), (false, 2)]);
}

#[test]
fn reports_flow_with_rtp_and_end_with_bye() {
    let mut stage = Stage::new();
    stage.act(Action::Open { leg: A, seed: 1 });
    stage.connect(A, |remote| remote.direction = Direction::Inactive);
    stage.pass(20_000);
    stage.act(Action::Close { leg: A });
    assert_eq!(stage.reports, [], "no report and no BYE of a leg where nothing flowed");
    let mut stage = Stage::pair();
    for count in 0..500 {
        stage.pass(20);
        stage.speak(A, count, &[1; 160]);
    }
    let reports: Vec<_> = stage.reports.iter().filter(|(_, leg, _)| *leg == A).cloned().collect();
    assert!((2..=4).contains(&reports.len()), "{}", reports.len());
    let (at_ms, _, bytes) = &reports[1];
    assert_eq!(bytes[1], 200);
    let about_source = rtcp::Compound::read(bytes, 0x1234 + A.0 as u32).unwrap().about_us.unwrap();
    assert_eq!((about_source.lost, about_source.fraction_lost), (0, 0));
    let packets = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
    assert!(u64::from(packets).abs_diff((at_ms - 1_000) / 20) <= 1, "{packets} packets by {at_ms} ms");
    // The report's time stamp is that of sound sent at this instant.
    let stamp = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
    let near = stage.sounds.iter().find(|sound| sound.leg == A && sound.at_ms >= *at_ms).unwrap();
    assert!(near.header.timestamp.wrapping_sub(stamp) <= 160);
    stage.act(Action::Close { leg: A });
    let bye = &stage.reports.last().unwrap().2;
    assert!(rtcp::Compound::read(bye, 0).unwrap().bye);
}

/// Mutated packets and actions at random: whatever comes, nothing panics and every invariant holds.
#[test]
fn survives_whatever_is_received() {
    for seed in 0..20 {
        let mut dice = Mint::new(seed, [1, u64::from(seed)]);
        let mut stage = Stage::pair();
        stage.act(Action::Bridge { a: A, b: B });
        for count in 0..2_000u16 {
            let mut bytes = Vec::new();
            match dice.random() % 3 {
                0 => rtcp::write_report(&mut bytes, 1, None, Some(rtcp::ReportBlock::default())),
                1 => Header { marker: false, payload_type: 101, sequence: count, timestamp: 7, ssrc: 1 }
                    .write(&mut bytes),
                _ => Header { marker: true, payload_type: 8, sequence: count, timestamp: 9, ssrc: 1 }.write(&mut bytes),
            }
            bytes.resize(bytes.len() + (dice.random() % 200) as usize, dice.random() as u8);
            for _ in 0..dice.random() % 4 {
                let at = (dice.random() % bytes.len() as u64) as usize;
                bytes[at] = dice.random() as u8;
            }
            bytes.truncate((dice.random() % 400) as usize);
            let leg = if dice.random().is_multiple_of(2) { A } else { B };
            let (kind, port) = if dice.random().is_multiple_of(3) { (Kind::Rtcp, 4_001) } else { (Kind::Rtp, 4_000) };
            stage.receive(leg, kind, SocketAddr::new(address(leg).ip(), port), &bytes);
            random_action(&mut stage, &mut dice);
            stage.pass(dice.random() % 30);
        }
        stage.plane.close_all(stage.now, &mut stage.out);
        stage.collect();
        assert_eq!(stage.plane.counts().legs, 0);
    }
}

fn random_action(stage: &mut Stage, dice: &mut Mint) {
    let (leg, other) = if dice.random().is_multiple_of(2) { (A, B) } else { (B, A) };
    let direction = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    match dice.random() % 40 {
        0 => stage.act(Action::Close { leg }),
        1 => stage.act(Action::Open { leg, seed: dice.random() }),
        2 | 3 => stage.connect(leg, |remote| {
            remote.direction = direction[(dice.random() % 4) as usize];
            remote.ptime_ms = dice.random() as u8;
        }),
        4 | 5 => stage.act(Action::Bridge { a: leg, b: other }),
        6 => stage.act(Action::Unbridge { leg }),
        7 => stage.act(Action::Play {
            leg,
            play: 1,
            prompts: vec![PromptId(dice.random() as u32 % 4)],
            repeat: dice.random() & 1 == 0,
        }),
        8 => stage.act(Action::Stop { leg }),
        9 | 10 => stage.act(Action::Conference {
            citizen: leg,
            parties: Parties::new([A, B][..(dice.random() % 3) as usize].iter().map(|&leg| Party::new(leg)).collect())
                .unwrap(),
        }),
        11 => stage.act(Action::SendDigits { leg, digits: Digits::new("12", 40, 40).unwrap() }),
        _ => {}
    }
}
