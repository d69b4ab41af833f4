//! The plane on virtual time: phones send packets, ticks pass, and all that comes out is looked at.

use super::*;
use crate::base::{ContactId, Mint, PromptId, ShardId, Wall};
use crate::media::event::{Audio, Channel, Notice, RecordingStart, Remote, Tap};
use crate::media::g711;
use crate::media::prompt::Prompt;
use crate::media::rtcp;
use crate::media::rtp::{Header, Packet};
use crate::sdp::{Codec, Direction};

const A: LegId = LegId::incoming(ShardId(3), 1);
const B: LegId = LegId::outgoing(ShardId(3), 1);
const TICK_MS: u64 = 5;

/// One RTP packet that the plane sent.
#[derive(Clone, Debug, PartialEq)]
struct Sound {
    at_ms: u64,
    leg: LegId,
    to: SocketAddr,
    header: Header,
    payload: Vec<u8>,
}

struct Stage {
    plane: Plane,
    now: Now,
    out: Sink,
    sounds: Vec<Sound>,
    reports: Vec<(u64, LegId, Vec<u8>)>,
    notices: Vec<(u64, Notice)>,
    taps: Vec<Tap>,
}

fn address(leg: LegId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, leg.0 as u8], 4_000))
}

fn remote(leg: LegId) -> Remote {
    let rtp = address(leg);
    Remote {
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), 4_001),
        codec: Codec::Pcma,
        payload_type: 8,
        telephone_event: Some(101),
        direction: Direction::SendRecv,
        ptime_ms: 20,
    }
}

/// Three prompts of 250, 70 and 1,000 samples, each of one level.
fn library() -> Arc<Library> {
    let mut library = Library::new();
    for (length, level) in [(250, 1_000), (70, 2_000), (1_000, 3_000)] {
        library.add(Prompt::new(&vec![level; length]));
    }
    Arc::new(library)
}

impl Stage {
    fn new() -> Stage {
        let now = Now {
            mono: Mono::from_ms(1_000),
            wall: Wall(1_700_000_000_000),
        };
        let plane = Plane::new(library(), 9);
        let (sounds, reports, notices, taps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Stage {
            plane,
            now,
            out: Sink::new(),
            sounds,
            reports,
            notices,
            taps,
        }
    }

    /// Two connected legs.
    fn pair() -> Stage {
        let mut stage = Stage::new();
        for leg in [A, B] {
            stage.act(Action::Open { leg, seed: leg.0 });
            stage.act(Action::Connect {
                leg,
                remote: remote(leg),
            });
        }
        stage
    }

    fn act(&mut self, action: Action) {
        self.plane.handle(self.now, action, &mut self.out);
        self.collect();
    }

    fn connect(&mut self, leg: LegId, change: impl FnOnce(&mut Remote)) {
        let mut remote = remote(leg);
        change(&mut remote);
        self.act(Action::Connect { leg, remote });
    }

    fn receive(&mut self, leg: LegId, kind: Kind, from: SocketAddr, bytes: &[u8]) {
        self.plane.receive(self.now, leg, kind, from, bytes, &mut self.out);
        self.collect();
    }

    fn speak_from(
        &mut self,
        leg: LegId,
        from: SocketAddr,
        payload_type: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) {
        let mut bytes = Vec::new();
        Header {
            marker: false,
            payload_type,
            sequence,
            timestamp,
            ssrc: 0x1234 + leg.0 as u32,
        }
        .write(&mut bytes);
        bytes.extend_from_slice(payload);
        self.receive(leg, Kind::Rtp, from, &bytes);
    }

    /// The `count`-th packet of the phone of `leg`.
    fn speak(&mut self, leg: LegId, count: u16, payload: &[u8]) {
        self.speak_from(
            leg,
            address(leg),
            8,
            count.wrapping_sub(5),
            u32::from(count) * 160,
            payload,
        );
    }

    fn digit(&mut self, leg: LegId, count: u16, start: u32, event: [u8; 4]) {
        self.speak_from(leg, address(leg), 101, count.wrapping_sub(5), start, &event);
    }

    /// Lets `ms` milliseconds pass in ticks.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now = self.now.after(Duration::from_millis(TICK_MS));
            self.plane.tick(self.now, &mut self.out);
            self.collect();
        }
    }

    fn collect(&mut self) {
        self.plane.check();
        let at_ms = self.now.mono.ms();
        for datagram in self.out.datagrams() {
            if datagram.kind == Kind::Rtcp {
                self.reports.push((at_ms, datagram.leg, datagram.bytes.to_vec()));
                continue;
            }
            let Packet {
                marker,
                payload_type,
                sequence,
                timestamp,
                ssrc,
                payload,
            } = Packet::read(datagram.bytes).unwrap();
            let header = Header {
                marker,
                payload_type,
                sequence,
                timestamp,
                ssrc,
            };
            self.sounds.push(Sound {
                at_ms,
                leg: datagram.leg,
                to: datagram.to,
                header,
                payload: payload.to_vec(),
            });
        }
        self.notices
            .extend(self.out.notices.drain(..).map(|notice| (at_ms, notice)));
        self.taps.append(&mut self.out.taps);
        self.out.clear();
    }

    /// What was sent to `leg` since the last look.
    fn heard_by(&mut self, leg: LegId) -> Vec<Sound> {
        self.sounds.extract_if(.., |sound| sound.leg == leg).collect()
    }

    fn counters(&self, leg: LegId) -> Counters {
        self.plane.health(leg).unwrap().counters
    }
}

/// Asserts one source, no gap in the numbers, and time stamps that never tell a sample twice.
fn assert_one_line(sounds: &[Sound]) {
    for pair in sounds.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        assert_eq!(next.header.ssrc, one.header.ssrc);
        assert_eq!(
            next.header.sequence,
            one.header.sequence.wrapping_add(1),
            "at {} ms",
            next.at_ms
        );
        let step = next.header.timestamp.wrapping_sub(one.header.timestamp);
        assert!((160..100_000).contains(&step), "a step of {step} at {} ms", next.at_ms);
    }
}

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
    assert!(
        sounds
            .iter()
            .all(|sound| sound.payload == [0xd5; 160] && sound.to == address(A))
    );
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
        let expected: Vec<u8> = [2, 0, 1]
            .iter()
            .flat_map(|&id| library().find(PromptId(id)).unwrap().bytes(codec).to_vec())
            .collect();
        let silence = bytes.split_off(expected.len());
        assert_eq!(bytes, expected);
        assert!(silence.iter().all(|&byte| byte == g711::silence(codec)));
        // 1,320 samples are nine packets.
        let played: Vec<_> = stage
            .notices
            .iter()
            .filter(|(_, notice)| matches!(notice, Notice::Played { .. }))
            .collect();
        assert!(
            matches!(played[..], [(at, Notice::Played { leg: A, play: 4 })] if (1_260..=1_300).contains(at)),
            "{played:?}"
        );
    }
}

#[test]
fn stop_and_newer_plays_tell_nothing_and_music_keeps_its_place() {
    let mut stage = Stage::pair();
    let music = |play| Action::Play {
        leg: A,
        play,
        prompts: vec![PromptId(0), PromptId(2)],
        repeat: true,
    };
    stage.act(Action::Play {
        leg: A,
        play: 1,
        prompts: vec![PromptId(2)],
        repeat: false,
    });
    stage.pass(40);
    stage.act(music(2));
    stage.pass(40);
    stage.act(Action::Play {
        leg: A,
        play: 3,
        prompts: vec![PromptId(1)],
        repeat: false,
    });
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
    stage.act(Action::Play {
        leg: A,
        play: 1,
        prompts: vec![PromptId(2)],
        repeat: true,
    });
    stage.pass(203);
    stage.act(Action::Bridge { a: A, b: B });
    for count in 0..50 {
        stage.speak(B, count, &[count as u8; 160]);
        stage.pass(20);
    }
    stage.act(Action::Unbridge { leg: B });
    stage.act(Action::Play {
        leg: A,
        play: 2,
        prompts: vec![PromptId(0)],
        repeat: true,
    });
    stage.pass(200);
    stage.connect(A, |remote| remote.direction = Direction::Inactive);
    let held_from = stage.now.mono.ms();
    stage.pass(1_000);
    stage.connect(A, |remote| remote.direction = Direction::SendRecv);
    let resumed = stage.now.mono.ms();
    stage.pass(200);
    let sounds = stage.heard_by(A);
    assert_one_line(&sounds);
    assert!(
        sounds
            .iter()
            .all(|sound| !(held_from + 5..resumed).contains(&sound.at_ms)),
        "nothing while held"
    );
    assert_eq!(
        sounds.iter().filter(|sound| sound.header.marker).count(),
        4,
        "start, bridge, prompt, end of hold"
    );
    let elapsed_ms = sounds.last().unwrap().at_ms - sounds[0].at_ms;
    let told_ms = u64::from(
        sounds
            .last()
            .unwrap()
            .header
            .timestamp
            .wrapping_sub(sounds[0].header.timestamp),
    ) / 8;
    assert!(
        told_ms.abs_diff(elapsed_ms) <= 40,
        "{told_ms} ms of stamps in {elapsed_ms} ms"
    );
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
    assert!(
        sounds
            .iter()
            .all(|sound| sound.payload == payload && sound.header.payload_type == 8)
    );
    let first = sounds[0].header;
    let places: Vec<_> = sounds
        .iter()
        .map(|sound| {
            (
                sound.header.sequence.wrapping_sub(first.sequence),
                sound.header.timestamp.wrapping_sub(first.timestamp),
            )
        })
        .collect();
    assert_eq!(
        places,
        [(0, 0), (1, 160), (3, 480), (4, 640), (2, 320), (8, 1_280)],
        "the duplicate is not relayed"
    );
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
    assert_eq!(
        (sounds[0].header.payload_type, &sounds[0].payload[..]),
        (0, &[0x80, 0x00, 0xfe][..])
    );
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
    stage.act(Action::Play {
        leg: A,
        play: 1,
        prompts: vec![PromptId(0)],
        repeat: false,
    });
    stage.act(Action::Bridge { a: A, b: B });
    assert_eq!((stage.plane.counts().bridges, stage.plane.counts().playing), (1, 0));
    stage.act(Action::Play {
        leg: A,
        play: 2,
        prompts: vec![PromptId(0)],
        repeat: false,
    });
    stage.pass(400);
    assert_eq!(stage.notices, []);
    stage.act(Action::Bridge { a: B, b: C });
    assert_eq!(stage.plane.counts().bridges, 1);
    stage.pass(400);
    assert!(
        matches!(stage.notices[..], [(_, Notice::Played { leg: A, play: 2 })]),
        "{:?}",
        stage.notices
    );
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

#[test]
fn digits_are_told_once_and_relayed_on_the_same_line() {
    let mut stage = Stage::pair();
    stage.connect(B, |remote| remote.telephone_event = Some(96));
    stage.act(Action::Bridge { a: A, b: B });
    let (sound, start) = ([9; 160], 2 * 160);
    stage.speak(A, 0, &sound);
    stage.speak(A, 1, &sound);
    // The first packet of the event is lost, the last is sent three times.
    for (count, event) in [
        (3, [5, 10, 1, 64]),
        (4, [5, 0x8a, 1, 224]),
        (5, [5, 0x8a, 1, 224]),
        (6, [5, 0x8a, 1, 224]),
    ] {
        stage.digit(A, count, start, event);
    }
    stage.speak(A, 7, &sound);
    let digits: Vec<_> = stage.notices.iter().map(|(_, notice)| notice.clone()).collect();
    assert_eq!(digits, [Notice::Digit { leg: A, digit: b'5' }]);
    let sounds: Vec<Sound> = stage
        .heard_by(B)
        .into_iter()
        .filter(|sound| sound.payload != [0xd5; 160])
        .collect();
    let first = sounds[0].header;
    let places: Vec<_> = sounds
        .iter()
        .map(|sound| {
            let Header {
                sequence,
                timestamp,
                payload_type,
                ..
            } = sound.header;
            (
                sequence.wrapping_sub(first.sequence),
                timestamp.wrapping_sub(first.timestamp),
                payload_type,
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            (0, 0, 8),
            (1, 160, 8),
            (3, 320, 96),
            (4, 320, 96),
            (5, 320, 96),
            (6, 320, 96),
            (7, 1_120, 8)
        ]
    );
    assert_eq!(sounds[3].payload, [5, 0x8a, 1, 224]);
    // A.8 by hand: (160 + 960 − 160/16) / 16 samples, from the three sounds alone.
    assert_eq!(stage.counters(A).jitter_us, 8_625, "events do not count");
}

#[test]
fn a_peer_without_events_hears_no_gap() {
    let mut stage = Stage::pair();
    stage.connect(B, |remote| remote.telephone_event = None);
    stage.act(Action::Bridge { a: A, b: B });
    stage.speak(A, 0, &[9; 160]);
    stage.digit(A, 1, 160, [1, 10, 0, 160]);
    stage.speak_from(A, address(A), 13, 2u16.wrapping_sub(5), 320, &[60]); // comfort noise, not negotiated
    stage.pass(60);
    stage.speak(A, 3, &[9; 160]);
    let sounds = stage.heard_by(B);
    assert_eq!(sounds.len(), 2);
    assert_one_line(&sounds);
    assert_eq!(
        (
            stage.counters(A).received,
            stage.counters(A).dropped,
            stage.counters(A).lost
        ),
        (3, 1, 0)
    );
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
    // A second description lets the second port in, and shuts the first out.
    stage.connect(A, |_| {});
    stage.speak_from(A, second, 8, 4, 640, &[3; 160]);
    stage.speak(A, 10, &[4; 160]);
    assert_eq!(
        stage
            .heard_by(B)
            .iter()
            .map(|sound| sound.payload[0])
            .collect::<Vec<_>>(),
        [3]
    );
    stage.pass(600);
    assert!(
        stage.heard_by(A).iter().all(|sound| sound.to == second),
        "ours go where theirs come from"
    );
}

#[test]
fn nothing_is_sent_or_believed_before_connect_nor_after_close() {
    let mut stage = Stage::new();
    stage.act(Action::Open { leg: A, seed: 1 });
    stage.act(Action::Open { leg: A, seed: 2 });
    stage.act(Action::Play {
        leg: A,
        play: 1,
        prompts: vec![PromptId(1)],
        repeat: false,
    });
    stage.speak(A, 0, &[1; 160]);
    stage.pass(30_000);
    assert_eq!(
        (stage.sounds.len(), stage.notices.len(), stage.plane.next_deadline()),
        (0, 0, None)
    );
    stage.connect(A, |_| {});
    stage.pass(40);
    assert!(
        matches!(stage.notices[..], [(_, Notice::Played { .. })]),
        "it begins when somebody is there"
    );
    stage.act(Action::Close { leg: A });
    let counters = Counters {
        sent: 2,
        dropped: 1,
        ..Counters::default()
    };
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
        (
            11_000,
            Notice::Quiet {
                leg: A,
                silent: seconds(10),
            },
        ),
        (
            21_000,
            Notice::Quiet {
                leg: A,
                silent: seconds(20),
            },
        ),
        (22_000, Notice::Heard { leg: A }),
        (
            32_000,
            Notice::Quiet {
                leg: A,
                silent: seconds(10),
            },
        ),
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
    };
    stage.act(Action::Record {
        citizen: A,
        recording: start.clone(),
    });
    stage.pass(100);
    stage.act(Action::Play {
        leg: A,
        play: 1,
        prompts: vec![PromptId(0)],
        repeat: false,
    });
    stage.pass(100);
    stage.act(Action::Bridge { a: A, b: B });
    stage.speak(A, 0, &[1; 160]);
    stage.speak(B, 0, &[2; 160]);
    stage.digit(B, 1, 160, [5, 10, 0, 160]);
    stage.digit(A, 1, 160, [5, 10, 0, 160]);
    stage.act(Action::StopRecording { recording });
    stage.speak(A, 3, &[3; 160]);
    let sent = stage.heard_by(A);
    let (first, rest) = stage.taps.split_first().unwrap();
    assert_eq!(*first, Tap::Start(start));
    let (last, audio) = rest.split_last().unwrap();
    assert_eq!(
        *last,
        Tap::Finish {
            recording,
            at: stage.now.mono,
            wall: stage.now.wall
        }
    );
    let audio: Vec<&Audio> = audio
        .iter()
        .map(|tap| {
            if let Tap::Audio(audio) = tap {
                audio
            } else {
                panic!("{tap:?}")
            }
        })
        .collect();
    let sides: Vec<Channel> = audio.iter().map(|audio| audio.channel).collect();
    assert_eq!(
        sides,
        [Channel::Others, Channel::Others, Channel::Citizen, Channel::Others]
    );
    assert_eq!(
        (&audio[2].payload, audio[2].sequence, audio[2].at),
        (&vec![1; 160], 65_531, stage.now.mono)
    );
    for tapped in audio.iter().filter(|audio| audio.channel == Channel::Others) {
        let sent = sent
            .iter()
            .find(|sound| sound.header.sequence == tapped.sequence)
            .expect("what was tapped was sent");
        assert_eq!(
            (sent.header.ssrc, sent.header.timestamp, &sent.payload),
            (tapped.ssrc, tapped.timestamp, &tapped.payload)
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
            Tap::Audio(_) => panic!("nothing was said"),
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
    let about_source = rtcp::Compound::read(bytes, 0x1234 + A.0 as u32)
        .unwrap()
        .about_us
        .unwrap();
    assert_eq!((about_source.lost, about_source.fraction_lost), (0, 0));
    let packets = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
    assert!(
        u64::from(packets).abs_diff((at_ms - 1_000) / 20) <= 1,
        "{packets} packets by {at_ms} ms"
    );
    // The report's time stamp is that of sound sent at this instant.
    let stamp = u32::from_be_bytes(bytes[16..20].try_into().unwrap());
    let near = stage
        .sounds
        .iter()
        .find(|sound| sound.leg == A && sound.at_ms >= *at_ms)
        .unwrap();
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
                1 => Header {
                    marker: false,
                    payload_type: 101,
                    sequence: count,
                    timestamp: 7,
                    ssrc: 1,
                }
                .write(&mut bytes),
                _ => Header {
                    marker: true,
                    payload_type: 8,
                    sequence: count,
                    timestamp: 9,
                    ssrc: 1,
                }
                .write(&mut bytes),
            }
            bytes.resize(bytes.len() + (dice.random() % 200) as usize, dice.random() as u8);
            for _ in 0..dice.random() % 4 {
                let at = (dice.random() % bytes.len() as u64) as usize;
                bytes[at] = dice.random() as u8;
            }
            bytes.truncate((dice.random() % 400) as usize);
            let leg = if dice.random().is_multiple_of(2) { A } else { B };
            let (kind, port) = if dice.random().is_multiple_of(3) {
                (Kind::Rtcp, 4_001)
            } else {
                (Kind::Rtp, 4_000)
            };
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
    let (leg, other) = if dice.random().is_multiple_of(2) {
        (A, B)
    } else {
        (B, A)
    };
    let direction = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ];
    match dice.random() % 40 {
        0 => stage.act(Action::Close { leg }),
        1 => stage.act(Action::Open {
            leg,
            seed: dice.random(),
        }),
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
        _ => {}
    }
}
