//! What strangers and liars send: never heard, never sent out, from the first packet on.

use super::*;
use crate::media::event::{Digits, Parties, Party};
use crate::media::rtcp::ReportBlock;

const C: LegId = LegId::outgoing(ShardId(3), 2);

/// Everything that a stranger may try, from each of these addresses.
fn attack(stage: &mut Stage, leg: LegId, count: u16) {
    for from in ["10.9.9.9:4000", "10.0.9.1:4000", "127.0.0.1:4000", "[::1]:4000"] {
        let from: SocketAddr = from.parse().unwrap();
        for payload_type in [8, 0, 101, 13, 96] {
            stage.speak_from(leg, from, payload_type, count, u32::from(count) * 160, &[0x11; 160]);
        }
        stage.speak_from(leg, from, 101, count, 7, &[5, 0x8a, 0, 160]);
        let mut report = Vec::new();
        rtcp::write_report(&mut report, 0x1234, None, None);
        rtcp::write_bye(&mut report, 0x1234 + leg.0 as u32);
        stage.receive(leg, Kind::Rtcp, from, &report);
        stage.receive(leg, Kind::Rtp, from, &report);
    }
}

#[test]
fn nothing_forged_is_heard_sent_or_recorded_from_the_first_packet_on() {
    for confer in [false, true] {
        let mut stage = Stage::new();
        for leg in [A, B, C] {
            stage.act(Action::Open { leg, seed: leg.0 });
            attack(&mut stage, leg, 1);
            stage.act(Action::Connect { leg, remote: remote(leg) });
            attack(&mut stage, leg, 2);
        }
        let started = stage.now;
        let recording = RecordingStart {
            recording: RecordingId(1),
            contact: ContactId(1),
            site: "hz".into(),
            started,
            track: Track::Journey,
        };
        stage.act(Action::Record { citizen: A, recording });
        match confer {
            false => stage.act(Action::Bridge { a: A, b: B }),
            true => {
                let parties = Parties::new([A, B, C].map(Party::new).to_vec()).unwrap();
                stage.act(Action::Conference { citizen: A, parties });
            }
        }
        for count in 0..100 {
            for leg in [A, B, C] {
                attack(&mut stage, leg, count);
                stage.speak(leg, count, &[0x55; 160]);
                attack(&mut stage, leg, count.wrapping_add(1));
            }
            stage.pass(20);
        }
        assert_eq!(stage.notices, [], "no digit, no news");
        let own = [A, B, C].map(address);
        assert!(stage.sounds.iter().all(|sound| own.contains(&sound.to)), "nobody else is sent anything");
        let level =
            |payload: &[u8]| g711::decode(Codec::Pcma, payload).iter().map(|it| it.unsigned_abs()).max().unwrap();
        let loudest = stage.sounds.iter().map(|sound| level(&sound.payload)).max().unwrap();
        assert!(loudest < 100, "only what the phones said: {loudest}");
        for tap in &stage.taps {
            if let Tap::Audio(audio) = tap {
                assert!(level(&audio.payload) < 100, "{audio:?}");
            }
        }
        assert_eq!([A, B, C].map(|leg| stage.counters(leg).received), [100; 3]);
    }
}

#[test]
fn only_a_new_description_moves_the_source() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    let other = SocketAddr::new(address(A).ip(), 6_000);
    stage.speak(A, 0, &[1; 160]);
    for count in 1..400 {
        stage.speak_from(A, other, 8, count, u32::from(count) * 160, &[0x11; 160]);
        stage.pass(20);
    }
    assert_eq!(stage.counters(A).received, 1, "eight seconds of it change nothing");
    stage.act(Action::SendDigits { leg: A, digits: Digits::new("1", 40, 40).unwrap() });
    stage.pass(200);
    assert!(stage.heard_by(A).iter().all(|sound| sound.to == address(A)));
    stage.connect(A, |remote| (remote.rtp, remote.rtcp) = (other, SocketAddr::new(other.ip(), 6_001)));
    // The old port speaks first, as one that has not heard of the new description does; the described one takes its place.
    stage.speak(A, 500, &[1; 160]);
    stage.speak_from(A, other, 8, 501, 501 * 160, &[1; 160]);
    assert_eq!(stage.counters(A).received, 3);
    stage.speak(A, 502, &[1; 160]);
    stage.speak_from(A, other, 8, 503, 503 * 160, &[1; 160]);
    assert_eq!(stage.counters(A).received, 4, "the new one, and it alone");
}

#[test]
fn lying_reports_change_nothing_but_figures_and_those_stay_possible() {
    let mut stage = Stage::pair();
    stage.act(Action::Bridge { a: A, b: B });
    let ours = |stage: &Stage| stage.sounds.iter().find(|sound| sound.leg == A).map_or(0, |sound| sound.header.ssrc);
    for count in 0..500u16 {
        stage.speak(B, count, &[1; 160]);
        stage.speak(A, count, &[1; 160]);
        let wild = u32::from(count).wrapping_mul(0x9e37_79b9);
        let block = ReportBlock {
            ssrc: ours(&stage),
            fraction_lost: 255,
            lost: if count % 2 == 0 { 0x7f_ffff } else { -0x80_0000 },
            highest: wild,
            jitter: u32::MAX - wild,
            last_sr: wild | 1,
            delay: wild.rotate_left(7),
        };
        let sender = rtcp::Sender { ntp: u64::from(wild) << 32, timestamp: wild, packets: u32::MAX, octets: 0 };
        let mut report = Vec::new();
        rtcp::write_report(&mut report, 0x1234, Some(sender), Some(block));
        rtcp::write_bye(&mut report, 0x1234 + A.0 as u32);
        stage.receive(A, Kind::Rtcp, remote(A).rtcp, &report);
        stage.pass(20);
        let counters = stage.counters(A);
        assert!(counters.far_lost <= counters.sent && counters.round_trip_us.is_none_or(|us| us <= 10_000_000));
        assert!(counters.mos_sent.is_none_or(|mos| (100..=450).contains(&mos)));
    }
    // BYE of RTCP ends nothing: packets go on both ways, and so do our reports.
    assert_eq!((stage.counters(A).received, stage.counters(B).received), (500, 500));
    let sounds = stage.heard_by(A);
    assert!(sounds.len() >= 500);
    assert_one_line(&sounds);
    let last = stage.reports.iter().rfind(|(_, leg, _)| *leg == A).unwrap();
    assert!(last.0 + 7_000 > stage.now.mono.ms(), "reports go on");
    assert_eq!(stage.counters(A).mos_received, Some(441));
    assert!(!stage.counters(A).one_way());
}

/// RTP and RTCP on one port (RFC 5761): told apart by the payload type, believed from the same source, answered there; what
/// comes to the port of RTCP, or from anybody else, is dropped.
#[test]
fn on_a_shared_port_reports_are_believed_from_the_source_of_the_sound_alone() {
    let mut stage = Stage::new();
    stage.act(Action::Open { leg: A, seed: A.0 });
    stage.connect(A, |remote| remote.rtcp = remote.rtp);
    // Behind a translator: the first sound says from where, a report does not.
    let (named, own): (SocketAddr, SocketAddr) = (address(A), SocketAddr::new(address(A).ip(), 9_999));
    for count in 0..100 {
        stage.speak_from(A, own, 8, count, u32::from(count) * 160, &[0x55; 160]);
        stage.pass(20);
    }
    let ssrc = stage.sounds.last().expect("it is sent silence").header.ssrc;
    let block = ReportBlock { ssrc, fraction_lost: 0, lost: 7, highest: 90, jitter: 16, last_sr: 0, delay: 0 };
    let mut report = Vec::new();
    rtcp::write_report(&mut report, 0x1234 + A.0 as u32, None, Some(block));
    let before = stage.counters(A);
    assert_eq!((before.received, before.dropped, before.mos_sent), (100, 0, None));
    let stranger: SocketAddr = "10.9.9.9:9999".parse().unwrap();
    for (kind, from) in [(Kind::Rtp, stranger), (Kind::Rtp, named), (Kind::Rtcp, own), (Kind::Rtcp, stranger)] {
        stage.receive(A, kind, from, &report);
    }
    let forged = stage.counters(A);
    assert_eq!((forged.dropped, forged.mos_sent, forged.far_lost), (4, None, 0));
    stage.receive(A, Kind::Rtp, own, &report);
    let told = stage.counters(A);
    assert_eq!((told.received, told.dropped, told.far_lost, told.far_jitter_us), (100, 4, 7, 2_000));
    assert!(told.mos_sent.is_some());
    stage.pass(10_000);
    assert!(!stage.reports.is_empty(), "ours go there too");
    stage.plane.handle(stage.now, Action::Close { leg: A }, &mut stage.out);
    let last: Vec<_> = stage.out.datagrams().map(|it| (it.kind, it.to, it.bytes[1])).collect();
    assert!(matches!(last[..], [(Kind::Rtp, to, 200 | 201)] if to == own), "{last:?}");
}
