//! The plane on virtual time: phones send packets, ticks pass, and all that comes out is looked at.

use super::*;
use crate::base::{ContactId, Mint, PromptId, ShardId, Wall};
use crate::media::event::{Audio, Channel, Notice, RecordingStart, Remote, Tap, Track};
use crate::media::g711;
use crate::media::prompt::Prompt;
use crate::media::rtcp;
use crate::media::rtp::{Header, Packet};
use crate::sdp::{Codec, Direction};

mod conferences;
mod digits;
mod forged;
mod receiving;
mod sending;

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
        let now = Now { mono: Mono::from_ms(1_000), wall: Wall(1_700_000_000_000) };
        let plane = Plane::new(library(), 9);
        let (sounds, reports, notices, taps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Stage { plane, now, out: Sink::new(), sounds, reports, notices, taps }
    }

    /// Two connected legs.
    fn pair() -> Stage {
        let mut stage = Stage::new();
        for leg in [A, B] {
            stage.act(Action::Open { leg, seed: leg.0 });
            stage.act(Action::Connect { leg, remote: remote(leg) });
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
        Header { marker: false, payload_type, sequence, timestamp, ssrc: 0x1234 + leg.0 as u32 }.write(&mut bytes);
        bytes.extend_from_slice(payload);
        self.receive(leg, Kind::Rtp, from, &bytes);
    }

    /// The `count`-th packet of the phone of `leg`.
    fn speak(&mut self, leg: LegId, count: u16, payload: &[u8]) {
        self.speak_from(leg, address(leg), 8, count.wrapping_sub(5), u32::from(count) * 160, payload);
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
            // A sender or receiver report is first in all that is RTCP.
            if datagram.kind == Kind::Rtcp || matches!(datagram.bytes[1], 200 | 201) {
                self.reports.push((at_ms, datagram.leg, datagram.bytes.to_vec()));
                continue;
            }
            let Packet { marker, payload_type, sequence, timestamp, ssrc, payload } =
                Packet::read(datagram.bytes).unwrap();
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            self.sounds.push(Sound { at_ms, leg: datagram.leg, to: datagram.to, header, payload: payload.to_vec() });
        }
        self.notices.extend(self.out.notices.drain(..).map(|notice| (at_ms, notice)));
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
        assert_eq!(next.header.sequence, one.header.sequence.wrapping_add(1), "at {} ms", next.at_ms);
        let step = next.header.timestamp.wrapping_sub(one.header.timestamp);
        assert!((160..100_000).contains(&step), "a step of {step} at {} ms", next.at_ms);
    }
}
