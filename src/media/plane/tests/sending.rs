//! What legs are sent: pacing, prompts, one line of numbers, bridges.

use super::*;

#[test]
fn a_minute_of_silence_is_three_thousand_even_packets() {
    let mut stage = Stage::pair();
    stage.pass(60_000);
    let sounds = stage.heard_by(A);
    assert_eq!(sounds.len(), 3_000);
    assert_one_line(&sounds);
    for pair in sounds.windows(2) {
        assert_eq!(pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp), 160);
        assert_eq!(pair[1].at_ms - pair[0].at_ms, 20);
    }
    assert!(sounds.iter().all(|sound| sound.payload == [0xd5; 160] && sound.to == address(A)));
    assert_eq!(sounds.iter().filter(|sound| sound.header.marker).count(), 1);
    let other = stage.heard_by(B);
    assert_eq!(other.len(), 3_000);
    assert_ne!(sounds[0].at_ms % 20, other[0].at_ms % 20, "legs take turns");
}

#[test]
fn a_late_tick_sends_no_burst_and_keeps_the_time_true() {
    let mut stage = Stage::pair();
    stage.pass(100);
    let before = stage.heard_by(A);
    stage.now = stage.now.after(Duration::from_millis(1_000));
    stage.pass(5);
    let after = stage.heard_by(A);
    assert_eq!(after.len(), 1);
    let (last, first) = (&before.last().unwrap().header, &after[0].header);
    let gap_ms = u64::from(first.timestamp.wrapping_sub(last.timestamp)) / 8;
    assert!((980..=1_020).contains(&gap_ms) && first.marker, "{gap_ms}");
    assert_eq!(first.sequence, last.sequence.wrapping_add(1));
    stage.pass(2_000);
    assert_eq!(stage.heard_by(A).len(), 100);
}

#[test]
fn prompts_are_chained_exactly_and_told_at_their_end() {
    for codec in [Codec::Pcma, Codec::Pcmu] {
        let mut stage = Stage::pair();
        stage.connect(A, |remote| remote.codec = codec);
        stage.pass(100);
        stage.heard_by(A);
        stage.act(Action::Play {
            leg: A,
            play: 4,
            prompts: vec![PromptId(2), PromptId(0), PromptId(1)],
            repeat: false,
        });
        stage.pass(300);
        let mut bytes: Vec<u8> = stage.heard_by(A).into_iter().flat_map(|sound| sound.payload).collect();
        let expected: Vec<u8> =
            [2, 0, 1].iter().flat_map(|&id| library().find(PromptId(id)).unwrap().bytes(codec).to_vec()).collect();
        let silence = bytes.split_off(expected.len());
        assert_eq!(bytes, expected);
        assert!(silence.iter().all(|&byte| byte == g711::silence(codec)));
        // 1,320 samples are nine packets.
        let played: Vec<_> =
            stage.notices.iter().filter(|(_, notice)| matches!(notice, Notice::Played { .. })).collect();
        assert!(
            matches!(played[..], [(at, Notice::Played { leg: A, play: 4 })] if (1_260..=1_300).contains(at)),
            "{played:?}"
        );
    }
}

#[test]
fn stop_and_newer_plays_tell_nothing_and_music_keeps_its_place() {
    let mut stage = Stage::pair();
    let music = |play| Action::Play { leg: A, play, prompts: vec![PromptId(0), PromptId(2)], repeat: true };
    stage.act(Action::Play { leg: A, play: 1, prompts: vec![PromptId(2)], repeat: false });
    stage.pass(40);
    stage.act(music(2));
    stage.pass(40);
    stage.act(Action::Play { leg: A, play: 3, prompts: vec![PromptId(1)], repeat: false });
    stage.pass(40);
    stage.heard_by(A);
    stage.act(music(4));
    stage.pass(20);
    // Two packets of music were heard before: 250 samples of the first level are over.
    let level = library().find(PromptId(2)).unwrap().bytes(Codec::Pcma)[0];
    assert!(stage.heard_by(A)[0].payload.iter().all(|&byte| byte == level));
    stage.act(Action::Stop { leg: A });
    stage.pass(1_000);
    let told: Vec<&Notice> = stage.notices.iter().map(|(_, notice)| notice).collect();
    assert_eq!(told, [&Notice::Played { leg: A, play: 3 }]);
}

#[test]
fn one_line_of_numbers_through_prompt_bridge_prompt_and_hold() {
    let mut stage = Stage::pair();
    stage.act(Action::Play { leg: A, play: 1, prompts: vec![PromptId(2)], repeat: true });
    stage.pass(203);
    stage.act(Action::Bridge { a: A, b: B });
    for count in 0..50 {
        stage.speak(B, count, &[count as u8; 160]);
        stage.pass(20);
    }
    stage.act(Action::Unbridge { leg: B });
    stage.act(Action::Play { leg: A, play: 2, prompts: vec![PromptId(0)], repeat: true });
    stage.pass(200);
    stage.connect(A, |remote| remote.direction = Direction::Inactive);
    let held_from = stage.now.mono.ms();
    stage.pass(1_000);
    stage.connect(A, |remote| remote.direction = Direction::SendRecv);
    let resumed = stage.now.mono.ms();
    stage.pass(200);
    let sounds = stage.heard_by(A);
    assert_one_line(&sounds);
    assert!(sounds.iter().all(|sound| !(held_from + 5..resumed).contains(&sound.at_ms)), "nothing while held");
    assert_eq!(sounds.iter().filter(|sound| sound.header.marker).count(), 4, "start, bridge, prompt, end of hold");
    let elapsed_ms = sounds.last().unwrap().at_ms - sounds[0].at_ms;
    let told_ms = u64::from(sounds.last().unwrap().header.timestamp.wrapping_sub(sounds[0].header.timestamp)) / 8;
    assert!(told_ms.abs_diff(elapsed_ms) <= 40, "{told_ms} ms of stamps in {elapsed_ms} ms");
}

#[test]
fn a_bridge_relays_exactly_and_mirrors_gaps() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    stage.pass(100);
    stage.heard_by(B);
    let payload: Vec<u8> = (0..160).map(|byte| byte as u8).collect();
    for count in [0, 1, 3, 4, 4, 2, 8] {
        stage.speak(A, count, &payload);
    }
    let sounds = stage.heard_by(B);
    assert!(sounds.iter().all(|sound| sound.payload == payload && sound.header.payload_type == 8));
    let first = sounds[0].header;
    let places: Vec<_> = sounds
        .iter()
        .map(|sound| {
            (sound.header.sequence.wrapping_sub(first.sequence), sound.header.timestamp.wrapping_sub(first.timestamp))
        })
        .collect();
    assert_eq!(places, [(0, 0), (1, 160), (3, 480), (4, 640), (2, 320), (8, 1_280)], "the duplicate is not relayed");
    assert_eq!(stage.counters(A).lost, 9 - 7);
    assert_eq!(stage.counters(A).received, 7);
}

#[test]
fn a_bridge_of_two_laws_converts_and_a_held_leg_hears_nothing() {
    let mut stage = Stage::pair();
    stage.connect(B, |remote| (remote.codec, remote.payload_type) = (Codec::Pcmu, 0));
    stage.act(Action::Bridge { a: B, b: A });
    stage.speak(A, 0, &[0xaa, 0x2a, 0xd5]);
    let sounds = stage.heard_by(B);
    assert_eq!((sounds[0].header.payload_type, &sounds[0].payload[..]), (0, &[0x80, 0x00, 0xfe][..]));
    for (direction, to_b, to_a) in [
        (Direction::SendOnly, 1, 0),
        (Direction::RecvOnly, 0, 1),
        (Direction::Inactive, 0, 0),
        (Direction::SendRecv, 1, 1),
    ] {
        stage.connect(B, |remote| {
            (remote.codec, remote.payload_type) = (Codec::Pcmu, 0);
            remote.direction = direction;
        });
        let count = 10 + to_b * 2 + to_a;
        stage.heard_by(A);
        stage.heard_by(B);
        stage.speak(A, count, &[0xaa; 160]);
        stage.speak_from(B, address(B), 0, count, u32::from(count) * 160, &[0x80; 160]);
        let heard = (stage.heard_by(B).len() as u16, stage.heard_by(A).len() as u16);
        assert_eq!(heard, (to_b, to_a), "{direction:?}");
    }
}

#[test]
fn a_bridge_drops_prompts_delays_new_ones_and_never_leaves_a_third_behind() {
    const C: LegId = LegId::outgoing(ShardId(3), 2);
    let mut stage = Stage::pair();
    stage.act(Action::Open { leg: C, seed: 5 });
    stage.connect(C, |_| {});
    stage.act(Action::Play { leg: A, play: 1, prompts: vec![PromptId(0)], repeat: false });
    stage.act(Action::Bridge { a: A, b: B });
    assert_eq!((stage.plane.counts().bridges, stage.plane.counts().playing), (1, 0));
    stage.act(Action::Play { leg: A, play: 2, prompts: vec![PromptId(0)], repeat: false });
    stage.pass(400);
    assert_eq!(stage.notices, []);
    stage.act(Action::Bridge { a: B, b: C });
    assert_eq!(stage.plane.counts().bridges, 1);
    stage.pass(400);
    assert!(matches!(stage.notices[..], [(_, Notice::Played { leg: A, play: 2 })]), "{:?}", stage.notices);
    stage.act(Action::Close { leg: C });
    assert_eq!((stage.plane.counts().bridges, stage.plane.counts().legs), (0, 2));
    for action in [
        Action::Bridge { a: A, b: A },
        Action::Bridge { a: A, b: C },
        Action::Stop { leg: C },
        Action::Unbridge { leg: C },
    ] {
        stage.act(action);
    }
    assert_eq!(stage.plane.counts().bridges, 0);
}

#[test]
fn a_mute_peer_is_filled_with_silence() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    stage.speak(B, 0, &[1; 160]);
    stage.pass(400);
    assert_eq!(stage.heard_by(A).len(), 1);
    stage.pass(1_000);
    assert!((43..=46).contains(&stage.sounds.iter().filter(|sound| sound.leg == A).count()));
    stage.speak(B, 70, &[1; 160]);
    assert_one_line(&stage.heard_by(A));
}
