//! What a relayed packet costs: in the plane alone, and through real sockets beside a bare loop of receive and send.
//!
//! `cargo bench --bench media`; about ten seconds. The bare loop moves the same packets without epoll, RTP or a table: the
//! floor that the system calls set in the same run on the same machine.

use hdrhistogram::Histogram;
use jiesu::base::{ContactId, LegId, MediaThreadId, Mono, RecordingId, ShardId};
use jiesu::media::event::{Action, Parties, Party, RecordingStart, Remote, Track};
use jiesu::media::rtp::Header;
use jiesu::media::{Kind, Library, Plane, Sink};
use jiesu::net::ports::Ports;
use jiesu::node::clock;
use jiesu::node::media::{MediaThreads, Message, Settings};
use jiesu::sdp::{Codec, Direction};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 100;
const LEGS: usize = 2 * CALLS;
const PTIME: Duration = Duration::from_millis(20);
const ROUNDS_PURE: u16 = 5_000;
const ROUNDS_WARM: u16 = 25;
const ROUNDS_SOCKETS: u16 = 150;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() {
    pure("relay", Codec::Pcma, false);
    pure("relay between the laws", Codec::Pcmu, false);
    pure("relay and record", Codec::Pcma, true);
    mixed(3);
    mixed(16);
    let ours = through_threads();
    let bare = through_bare_loop();
    let ratio = ours.us_per_packet() / bare.us_per_packet();
    println!("row\t{CALLS} bridged calls, media thread alone\t{ours}\t–\t{LEGS} phones, 50 packets/s each");
    println!("row\t{CALLS} bridged calls, bare loop\t{bare}\tthe reference\tthe same packets");
    println!("row\t… media thread to bare loop\t{ratio:.2}\t–\tprocessor time of a packet");
}

fn leg(index: usize) -> LegId {
    LegId::incoming(ShardId(0), index as u64 + 1)
}

fn remote(rtp: SocketAddr, codec: Codec) -> Remote {
    let payload_type = if codec == Codec::Pcma { 8 } else { 0 };
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    let (telephone_event, direction, ptime_ms) = (Some(101), Direction::SendRecv, 20);
    Remote { rtp, rtcp, codec, payload_type, telephone_event, direction, ptime_ms }
}

fn packet(payload_type: u8, sequence: u16, bytes: &mut Vec<u8>) {
    bytes.clear();
    let timestamp = u32::from(sequence) * 160;
    Header { marker: false, payload_type, sequence, timestamp, ssrc: 1 }.write(bytes);
    bytes.resize(172, 0x55);
}

/// Nanoseconds a packet in the plane alone: each round is one packet of each leg.
fn pure(name: &str, second: Codec, record: bool) {
    let mut plane = Plane::new(Arc::new(Library::new()), 1);
    let (mut out, start) = (Sink::new(), clock::now());
    let address = |index: usize| SocketAddr::from(([10, 0, 0, 1], 10_000 + 2 * index as u16));
    let codec = |index: usize| if index.is_multiple_of(2) { Codec::Pcma } else { second };
    for index in 0..LEGS {
        let leg = leg(index);
        plane.handle(start, Action::Open { leg, seed: index as u64 }, &mut out);
        plane.handle(start, Action::Connect { leg, remote: remote(address(index), codec(index)) }, &mut out);
        if record && index.is_multiple_of(2) {
            let (recording, contact) = (RecordingId(index as u128), ContactId(0));
            let recording =
                RecordingStart { recording, contact, site: "a".into(), started: start, track: Track::Journey };
            plane.handle(start, Action::Record { citizen: leg, recording }, &mut out);
        }
    }
    for call in 0..CALLS {
        plane.handle(start, Action::Bridge { a: leg(2 * call), b: leg(2 * call + 1) }, &mut out);
    }
    let mut histogram: Histogram<u64> = Histogram::new(3).expect("three digits are allowed");
    let (mut bytes, mut relayed) = (Vec::new(), 0);
    for round in 0..ROUNDS_PURE {
        let now = start.after(PTIME * u32::from(round));
        let began = Instant::now();
        for index in 0..LEGS {
            packet(if codec(index) == Codec::Pcma { 8 } else { 0 }, round, &mut bytes);
            plane.receive(now, leg(index), Kind::Rtp, address(index), &bytes, &mut out);
        }
        plane.tick(now, &mut out);
        let spent = began.elapsed();
        relayed += out.datagrams().filter(|datagram| datagram.kind == Kind::Rtp).count();
        out.clear();
        histogram.record(spent.as_nanos() as u64 / LEGS as u64).expect("a packet takes no hour");
    }
    assert_eq!(relayed, LEGS * usize::from(ROUNDS_PURE), "every packet is relayed, and nothing else");
    let (median, p99) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    println!(
        "row\tplane: {name}, median / p99\t{median} / {p99} ns\t–\tof a packet, over rounds of {LEGS}; n={ROUNDS_PURE}"
    );
}

/// Nanoseconds a packet in conferences of so many, all of whom speak at once: received, mixed for all others and sent.
fn mixed(parties: usize) {
    let mut plane = Plane::new(Arc::new(Library::new()), 1);
    let (mut out, start) = (Sink::new(), clock::now());
    let address = |index: usize| SocketAddr::from(([10, 0, 0, 1], 10_000 + 2 * index as u16));
    let legs = LEGS / parties * parties;
    for index in 0..legs {
        let leg = leg(index);
        plane.handle(start, Action::Open { leg, seed: index as u64 }, &mut out);
        plane.handle(start, Action::Connect { leg, remote: remote(address(index), Codec::Pcma) }, &mut out);
    }
    for first in (0..legs).step_by(parties) {
        let all = (first..first + parties).map(|index| Party::new(leg(index))).collect();
        let parties = Parties::new(all).expect("16 are allowed");
        plane.handle(start, Action::Conference { citizen: leg(first), parties }, &mut out);
    }
    let mut histogram: Histogram<u64> = Histogram::new(3).expect("three digits are allowed");
    let (mut bytes, mut sent) = (Vec::new(), 0);
    for round in 0..ROUNDS_PURE {
        let now = start.after(PTIME * u32::from(round));
        let began = Instant::now();
        for index in 0..legs {
            packet(8, round, &mut bytes);
            plane.receive(now, leg(index), Kind::Rtp, address(index), &bytes, &mut out);
        }
        plane.tick(now, &mut out);
        let spent = began.elapsed();
        sent += out.datagrams().filter(|datagram| datagram.kind == Kind::Rtp).count();
        out.clear();
        histogram.record(spent.as_nanos() as u64 / legs as u64).expect("a packet takes no hour");
    }
    assert!(sent >= legs * (usize::from(ROUNDS_PURE) - 2), "every frame is sent");
    let (median, p99) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
    println!(
        "row\tplane: mix of {parties}, median / p99\t{median} / {p99} ns\t–\tof a packet, over rounds of {legs}; n={ROUNDS_PURE}"
    );
}

/// What a thread spent on how many packets.
struct Cost {
    cpu: Duration,
    wall: Duration,
    packets: usize,
    sent: usize,
}

impl Cost {
    fn us_per_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets as f64
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64();
        let (each, packets, sent) = (self.us_per_packet(), self.packets, self.sent);
        write!(to, "{share:.1} % of a processor, {each:.2} us a packet, {packets} relayed of {sent}")
    }
}

/// The processor time of this process's thread of this name.
fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let task = tasks
        .map(|task| task.expect("a thread is listed").path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .expect("the thread runs");
    let statistics = std::fs::read_to_string(task.join("schedstat")).expect("Linux counts processor time");
    Duration::from_nanos(
        statistics.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the first number is in ns"),
    )
}

/// Phones that speak to `targets`, one after another, at the beginning of each 20 ms.
struct Phones {
    sockets: Vec<UdpSocket>,
    targets: Vec<SocketAddr>,
}

impl Phones {
    fn new() -> Phones {
        let socket = || {
            let socket = UdpSocket::bind((LOOPBACK, 0)).expect("the loopback has ports");
            socket.set_nonblocking(true).expect("sockets need not block");
            socket
        };
        Phones { sockets: (0..LEGS).map(|_| socket()).collect(), targets: Vec::new() }
    }

    /// Speaks for some rounds of 20 ms; returns how many packets came back.
    fn speak(&self, rounds: std::ops::Range<u16>) -> usize {
        let (mut bytes, mut buffer, mut heard) = (Vec::new(), [0; 2_048], 0);
        let mut next = Instant::now();
        for round in rounds {
            packet(8, round, &mut bytes);
            for (socket, target) in self.sockets.iter().zip(&self.targets) {
                socket.send_to(&bytes, target).expect("the loopback takes packets");
                while let Ok(length) = socket.recv(&mut buffer) {
                    heard += usize::from(length == bytes.len() && buffer[12..172] == bytes[12..]);
                }
            }
            next += PTIME;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        heard
    }

    fn measure(&self, thread: &str) -> Cost {
        self.speak(0..ROUNDS_WARM);
        let (began, before) = (Instant::now(), cpu_of(thread));
        let packets = self.speak(ROUNDS_WARM..ROUNDS_WARM + ROUNDS_SOCKETS);
        Cost { cpu: cpu_of(thread) - before, wall: began.elapsed(), packets, sent: LEGS * usize::from(ROUNDS_SOCKETS) }
    }
}

fn through_threads() -> Cost {
    let settings = Settings { threads: 1, pin: false, prompts: Arc::default(), seed: 1 };
    let threads = MediaThreads::start(&settings, drop, || drop, |_, _| {}).expect("threads start");
    let tell = |message| threads.send(MediaThreadId(0), message).expect("the thread listens");
    let mut ports = Ports::new(&[LOOPBACK], 10_000..=29_999).expect("the range is good");
    let mut phones = Phones::new();
    for index in 0..LEGS {
        let pair = ports.open(Mono(0), None).expect("ports are free");
        let far = phones.sockets[index].local_addr().expect("a bound socket has an address");
        let leg = leg(index);
        phones.targets.push(pair.local);
        tell(Message::Open { leg, pair });
        tell(Message::Action(Action::Open { leg, seed: index as u64 }));
        tell(Message::Action(Action::Connect { leg, remote: remote(far, Codec::Pcma) }));
    }
    for call in 0..CALLS {
        tell(Message::Action(Action::Bridge { a: leg(2 * call), b: leg(2 * call + 1) }));
    }
    phones.measure("media-0")
}

fn through_bare_loop() -> Cost {
    let mut phones = Phones::new();
    let far: Vec<SocketAddr> = phones.sockets.iter().map(|phone| phone.local_addr().expect("bound")).collect();
    let ours: Vec<UdpSocket> = Phones::new().sockets;
    phones.targets = ours.iter().map(|socket| socket.local_addr().expect("bound")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let bare = move || {
        let mut buffer = [0; 2_048];
        let mut next = Instant::now();
        while !stopped.load(Ordering::Relaxed) {
            next += PTIME;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            for index in 0..LEGS {
                if let Ok((length, _)) = ours[index].recv_from(&mut buffer) {
                    // A phone that is gone at the end of the run is no loss.
                    let _ = ours[index ^ 1].send_to(&buffer[..length], far[index ^ 1]);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("bare".into()).spawn(bare).expect("a thread starts");
    let cost = phones.measure("bare");
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the bare loop ends");
    cost
}
