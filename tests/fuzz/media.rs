//! RTP, RTCP and telephone-events: single packets, and a plane with three legs under fire.

use super::mutate::{Kind, as_it_is};
use super::script::{Script, scripts};
use jiesu::base::{ContactId, LegId, Mono, Now, PromptId, RecordingId, ShardId, Wall};
use jiesu::media::dtmf::Key;
use jiesu::media::dtmf::events::Receiver;
use jiesu::media::event::{Action, RecordingStart, Remote, Track};
use jiesu::media::rtcp::{Compound, ReportBlock, Sender, write_bye, write_report};
use jiesu::media::rtp::{Header, Packet};
use jiesu::media::{Kind as Port, Library, Plane, Prompt, Sink};
use jiesu::sdp::{Codec, Direction};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const BINARY: Kind = Kind { text: false, words: &[], repair: as_it_is };
const OURS: u32 = 7;

fn header(payload_type: u8, sequence: u16, timestamp: u32) -> Header {
    Header { marker: sequence == 0, payload_type, sequence, timestamp, ssrc: 0x1234 }
}

/// Sound, events, and every kind of report.
fn packets() -> Vec<Vec<u8>> {
    let rtp = |payload_type, payload: &[u8]| {
        let mut bytes = Vec::new();
        header(payload_type, 9, 160).write(&mut bytes);
        [&bytes, payload].concat()
    };
    let block =
        ReportBlock { ssrc: OURS, fraction_lost: 12, lost: -3, highest: 70_000, jitter: 9, last_sr: 1, delay: 2 };
    let sender = Sender { ntp: 1 << 33, timestamp: 160, packets: 9, octets: 1_440 };
    let (mut report, mut short, mut bye) = (Vec::new(), Vec::new(), Vec::new());
    write_report(&mut report, 1, Some(sender), Some(block));
    write_report(&mut short, 1, None, Some(block));
    write_report(&mut bye, 1, None, None);
    write_bye(&mut bye, 1);
    // With padding, two contributing sources and an extension of two words.
    let full =
        [&[0xb2, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1][..], &[1; 8], &[0xbe, 0xde, 0, 2], &[2; 8], &[0xd5; 9], &[0, 0, 3]];
    let events = [[5, 0x0a, 0, 160], [5, 0x8a, 0, 200], [11, 0x0a, 0xff, 0xff]].concat();
    vec![rtp(8, &[0xd5; 160]), rtp(101, &events), rtp(13, &[40]), full.concat(), report, short, bye]
}

/// One datagram, read as all that it could be.
pub fn packet(bytes: &[u8]) {
    if let Ok(packet) = Packet::read(bytes) {
        assert!(packet.payload_type < 128 && packet.payload.len() + 12 <= bytes.len());
        let Packet { marker, payload_type, sequence, timestamp, ssrc, payload } = packet;
        let mut again = Vec::new();
        Header { marker, payload_type, sequence, timestamp, ssrc }.write(&mut again);
        again.extend_from_slice(payload);
        assert_eq!(Packet::read(&again), Ok(packet));
        let (mut receiver, mut digits) = (Receiver::default(), 0);
        for _ in 0..2 {
            receiver.receive(timestamp, payload, |key| match key {
                Key::Down { code } => {
                    assert!(code < 16);
                    digits += 1;
                }
                Key::Held { .. } | Key::Up { .. } => {}
            });
        }
        assert!(digits <= payload.len() / 4, "a repetition is no new digit");
    }
    if let Ok(compound) = Compound::read(bytes, OURS) {
        let block = compound.about_us;
        assert!(block.is_none_or(|block| block.ssrc == OURS && (-(1 << 23)..1 << 23).contains(&block.lost)));
        let mut again = Vec::new();
        write_report(&mut again, 1, None, block);
        assert_eq!(Compound::read(&again, OURS).expect("our report is sound").about_us, block);
    }
}

const LEGS: [LegId; 3] =
    [LegId::incoming(ShardId(3), 1), LegId::outgoing(ShardId(3), 1), LegId::outgoing(ShardId(3), 2)];

fn address(leg: usize, kind: Port) -> SocketAddr {
    let port = match kind {
        Port::Rtp => 4_000,
        Port::Rtcp => 4_001,
    };
    SocketAddr::from(([10, 0, 0, leg as u8 + 1], port))
}

fn remote(leg: usize, script: &mut Script<'_>) -> Remote {
    let direction =
        [Direction::SendRecv, Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    Remote {
        rtp: address(leg, Port::Rtp),
        rtcp: address(leg, Port::Rtcp),
        codec: if script.chance(200) { Codec::Pcma } else { Codec::Pcmu },
        payload_type: 8,
        telephone_event: script.chance(220).then_some(101),
        direction: direction[script.below(direction.len())],
        ptime_ms: 10 * (1 + script.byte() % 6),
    }
}

/// The plane, the time, and who counts what comes out.
struct Stage {
    plane: Plane,
    now: Now,
    out: Sink,
    sequence: u16,
}

impl Stage {
    fn new() -> Stage {
        let mut library = Library::new();
        for length in [250, 70, 1_000, 1] {
            library.add(Prompt::new(&vec![1_000; length]));
        }
        let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_700_000_000_000) };
        let mut stage = Stage { plane: Plane::new(Arc::new(library), 9), now, out: Sink::new(), sequence: 65_530 };
        let mut plain = Script::new(&[]);
        for (at, leg) in LEGS.into_iter().take(2).enumerate() {
            stage.act(Action::Open { leg, seed: 5 });
            stage.act(Action::Connect { leg, remote: remote(at, &mut plain) });
        }
        stage.act(Action::Bridge { a: LEGS[0], b: LEGS[1] });
        stage
    }

    fn act(&mut self, action: Action) {
        self.plane.handle(self.now, action, &mut self.out);
        self.collect(2, 0);
    }

    /// What came out is sound, and no more than so many datagrams of so many bytes beyond what we write ourselves.
    fn collect(&mut self, datagrams: usize, bytes: usize) {
        self.plane.check();
        assert!(self.out.datagrams().len() <= datagrams, "{} of {datagrams}", self.out.datagrams().len());
        for datagram in self.out.datagrams() {
            assert!(datagram.bytes.len() <= bytes.max(12 + 60 * 8), "{} bytes", datagram.bytes.len());
            match datagram.kind {
                Port::Rtp => assert!(Packet::read(datagram.bytes).is_ok()),
                Port::Rtcp => assert!(Compound::read(datagram.bytes, 0).is_ok()),
            }
        }
        self.out.clear();
    }

    fn receive(&mut self, leg: usize, kind: Port, from: SocketAddr, bytes: &[u8]) {
        self.plane.receive(self.now, LEGS[leg], kind, from, bytes, &mut self.out);
        self.collect(2, bytes.len());
    }

    /// One step of the script.
    fn step(&mut self, script: &mut Script<'_>) {
        let leg = script.below(LEGS.len());
        match script.below(24) {
            0..=7 => self.speak(leg, script),
            8..=11 => self.report(leg, script),
            12..=14 => {
                let kind = if script.chance(128) { Port::Rtp } else { Port::Rtcp };
                let length = script.below(64);
                self.receive(leg, kind, address(leg, kind), script.take(length));
            }
            // A stranger with a sound packet.
            15 => {
                let mut bytes = Vec::new();
                header(8, 1, 1).write(&mut bytes);
                self.receive(leg, Port::Rtp, SocketAddr::from(([203, 0, 113, 9], 4_000)), &bytes);
            }
            16 => self.command(leg, script),
            _ => self.pass(Duration::from_millis(1 + 8 * script.below(16) as u64)),
        }
    }

    fn speak(&mut self, leg: usize, script: &mut Script<'_>) {
        let payload_type = [8, 8, 8, 0, 101, 101, 13, 127][script.below(8)];
        let jump = [1, 1, 1, 1, 0, 2, 100, 40_000][script.below(8)];
        self.sequence = self.sequence.wrapping_add(jump);
        let mut bytes = Vec::new();
        header(payload_type, self.sequence, u32::from(self.sequence).wrapping_mul(160)).write(&mut bytes);
        if payload_type == 101 {
            bytes.extend_from_slice(script.take(4));
        } else {
            bytes.resize(12 + [160, 80, 480, 1, 0, 1_400][script.below(6)], script.byte());
        }
        self.receive(leg, Port::Rtp, address(leg, Port::Rtp), &bytes);
    }

    fn report(&mut self, leg: usize, script: &mut Script<'_>) {
        let word = |script: &mut Script<'_>| script.number() as u32;
        let block = ReportBlock {
            ssrc: word(script),
            fraction_lost: script.byte(),
            lost: (word(script) as i32) >> 8,
            highest: word(script),
            jitter: word(script),
            last_sr: word(script),
            delay: word(script),
        };
        let sender = Sender { ntp: script.number(), timestamp: word(script), packets: 1, octets: 2 };
        let mut bytes = Vec::new();
        write_report(&mut bytes, 1, script.chance(128).then_some(sender), Some(block));
        if script.chance(20) {
            write_bye(&mut bytes, 1);
        }
        self.receive(leg, Port::Rtcp, address(leg, Port::Rtcp), &bytes);
    }

    fn command(&mut self, at: usize, script: &mut Script<'_>) {
        let (leg, other) = (LEGS[at], LEGS[(at + 1) % LEGS.len()]);
        let recording = RecordingId(u128::from(leg.0));
        let prompt = |script: &mut Script<'_>| PromptId(u32::from(script.byte() % 6));
        self.act(match script.below(10) {
            0 => Action::Close { leg },
            1 | 2 => Action::Open { leg, seed: script.number() },
            3 => Action::Connect { leg, remote: remote(at, script) },
            4 | 5 => Action::Bridge { a: leg, b: other },
            6 => Action::Unbridge { leg },
            7 => {
                Action::Play { leg, play: 1, prompts: vec![prompt(script), prompt(script)], repeat: script.chance(128) }
            }
            8 => Action::Record {
                citizen: leg,
                recording: RecordingStart {
                    recording,
                    contact: ContactId(1),
                    site: "fz".into(),
                    started: self.now,
                    track: Track::Journey,
                },
            },
            _ => Action::StopRecording { citizen: leg, recording, at: self.now },
        });
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(next) = self.plane.next_deadline().filter(|next| *next <= end.mono) {
            self.now = self.now.after(next.since(self.now.mono).max(Duration::from_millis(1)));
            self.plane.tick(self.now, &mut self.out);
            self.collect(4 * LEGS.len(), 0);
        }
        self.now = self.now.after(end.mono.since(self.now.mono));
    }
}

/// Three legs, bridged, played to, recorded, while packets of all kinds come: nothing is left after their end.
pub fn plane(bytes: &[u8]) {
    let (mut script, mut stage) = (Script::new(bytes), Stage::new());
    while !script.is_over() {
        stage.step(&mut script);
    }
    stage.plane.close_all(stage.now, &mut stage.out);
    stage.collect(2 * LEGS.len(), 0);
    let left = stage.plane.counts();
    assert_eq!((left.legs, left.bridges, left.playing, left.recordings), (0, 0, 0, 0));
    assert_eq!(stage.plane.next_deadline(), None);
}

#[test]
fn no_packet_breaks_anything() {
    super::fuzz(&BINARY, &packets(), 150_000, packet);
}

#[test]
fn no_packet_breaks_the_plane() {
    super::fuzz(&BINARY, &scripts(40, 2_000), 400, plane);
}
