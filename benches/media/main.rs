//! What a relayed packet costs: in the plane alone, and through real sockets beside bare loops of receive and send.
//!
//! `cargo bench --bench media`; about two minutes. The bare loops move the same packets of the same phones without RTP or a
//! table, in turn with the engine's own threads; of each the middle of several runs is told.

mod loops;
mod many;
mod ring;

use hdrhistogram::Histogram;
use jiesu::base::{ContactId, LegId, MediaThreadId, Mono, PromptId, RecordingId, ShardId};
use jiesu::media::event::{Action, Parties, Party, RecordingStart, Remote, Tap, Track};
use jiesu::media::rtp::Header;
use jiesu::media::{Kind, Library, Plane, Prompt, Sink};
use jiesu::net::ports::Ports;
use jiesu::node::clock;
use jiesu::node::media::{MediaThreads, Message, Settings};
use jiesu::node::recorder::{self, Recorder};
use jiesu::sdp::{Codec, Direction};
use loops::Wires;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 100;
const LEGS: usize = 2 * CALLS;
const PTIME: Duration = Duration::from_millis(20);
const ROUNDS_PURE: u16 = 5_000;
const ROUNDS_WARM: u16 = 25;
const ROUNDS_SOCKETS: u16 = 100;
/// Phones speak in so many groups, evenly spread over a packet's time.
const GROUPS: u32 = 20;
/// How often each way is measured; odd.
const REPEATS: usize = 5;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() {
    // `cargo bench --bench media -- music` measures what is named so alone; cargo's own words begin with a dash.
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let parts: [(&str, fn()); 4] =
        [("plane", planes), ("music", music), ("many", many::recorded), ("loops", beside_loops)];
    assert!(
        wanted.as_deref().is_none_or(|wanted| parts.iter().any(|(name, _)| *name == wanted)),
        "there are plane, music, many and loops"
    );
    for (_, measure) in parts.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name)) {
        measure();
    }
}

fn planes() {
    pure("relay", Codec::Pcma, false);
    pure("relay between the laws", Codec::Pcmu, false);
    pure("relay and record", Codec::Pcma, true);
    mixed(3);
    mixed(16);
}

/// The engine's threads and bare loops, in turn.
fn beside_loops() {
    let tick = |ms| Duration::from_millis(ms);
    let mut ways: Vec<(&str, Way)> = vec![
        ("engine: relay", Way::Engine { record: false }),
        ("engine: relay and record", Way::Engine { record: true }),
        ("bare loop, epoll, tick 5 ms", Way::Bare { run: loops::by_epoll, tick: tick(5), connected: false }),
        ("bare loop, epoll, tick 20 ms", Way::Bare { run: loops::by_epoll, tick: tick(20), connected: false }),
        (
            "bare loop, each socket asked, tick 20 ms",
            Way::Bare { run: loops::asking, tick: tick(20), connected: false },
        ),
        ("bare loop, epoll, connected, tick 5 ms", Way::Bare { run: loops::by_epoll, tick: tick(5), connected: true }),
    ];
    if ring::is_allowed() {
        let ring = |ms| Way::Bare { run: ring::relay, tick: tick(ms), connected: false };
        ways.extend([("bare loop, io_uring, tick 5 ms", ring(5)), ("bare loop, io_uring, tick 20 ms", ring(20))]);
    } else {
        println!("    io_uring is not allowed here");
    }
    let mut costs: Vec<Vec<Cost>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..REPEATS {
        for ((_, way), costs) in ways.iter().zip(&mut costs) {
            costs.push(way.measure());
        }
    }
    let middle = |costs: &mut Vec<Cost>| {
        costs.sort_by(|a, b| a.us_per_packet().total_cmp(&b.us_per_packet()));
        costs.swap_remove(REPEATS / 2)
    };
    let costs: Vec<Cost> = costs.iter_mut().map(middle).collect();
    let floor = costs[BARE_AT_OUR_TICK].us_per_packet();
    for ((name, _), cost) in ways.iter().zip(&costs) {
        let ratio = cost.us_per_packet() / floor;
        let target = if name.contains("record") { "≤ 1.6 times the bare epoll loop of 5 ms" } else { "–" };
        println!(
            "row\t{name}\t{cost}\t{target}\t{ratio:.2} times that loop; {LEGS} phones, 50 packets/s each, middle of {REPEATS}"
        );
    }
}

/// Which of the ways the engine is compared with: the same sockets, packets and tick.
const BARE_AT_OUR_TICK: usize = 2;

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

/// Of one run: what the threads spent on how many packets.
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
        let a_core = 1e3 / each;
        write!(
            to,
            "{each:.2} us a packet: {a_core:.0} thousand/s a core, {share:.1} % of one; {packets} of {sent} relayed"
        )
    }
}

/// The processor time of those of this process's threads whose names begin so. Not of the first: it is the phones, and
/// bears the name of the program, which begins as the media threads' do.
fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let phones = std::process::id().to_string();
    // A thread may end between its listing and its reading.
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let others = tasks.flatten().map(|task| task.path()).filter(|task| !task.ends_with(&phones));
    let ours = others.filter(|task| read(task.join("comm")).starts_with(name));
    let ns =
        |task: std::path::PathBuf| read(task.join("schedstat")).split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
    Duration::from_nanos(ours.filter_map(ns).sum())
}

/// Phones that speak to `targets` every 20 ms, in groups.
struct Phones {
    sockets: Vec<UdpSocket>,
    targets: Vec<SocketAddr>,
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("the loopback has ports");
    socket.set_nonblocking(true).expect("sockets need not block");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket has an address")
}

impl Phones {
    fn new() -> Phones {
        Phones { sockets: (0..LEGS).map(|_| bind()).collect(), targets: Vec::new() }
    }

    /// Speaks for some rounds of 20 ms; returns how many packets came back.
    fn speak(&self, rounds: std::ops::Range<u16>) -> usize {
        let (mut bytes, mut buffer, mut heard) = (Vec::new(), [0; 2_048], 0);
        let mut clock = loops::Clock::new(PTIME / GROUPS);
        for round in rounds {
            packet(8, round, &mut bytes);
            for group in 0..GROUPS as usize {
                for (socket, target) in self.sockets.iter().zip(&self.targets).skip(group).step_by(GROUPS as usize) {
                    socket.send_to(&bytes, target).expect("the loopback takes packets");
                    while let Ok(length) = socket.recv(&mut buffer) {
                        heard += usize::from(length == bytes.len());
                    }
                }
                clock.sleep();
            }
        }
        heard
    }

    /// What the threads named so spend on relaying for these phones.
    fn measure(&self, threads: &[&str]) -> Cost {
        let spent = || threads.iter().map(|name| cpu_of(name)).sum::<Duration>();
        self.speak(0..ROUNDS_WARM);
        let (began, before) = (Instant::now(), spent());
        let packets = self.speak(ROUNDS_WARM..ROUNDS_WARM + ROUNDS_SOCKETS);
        Cost { cpu: spent() - before, wall: began.elapsed(), packets, sent: LEGS * usize::from(ROUNDS_SOCKETS) }
    }
}

/// A way to relay.
enum Way {
    /// A media thread, with or without the recorder.
    Engine { record: bool },
    /// A loop that does nothing else.
    Bare { run: fn(&Wires, Duration, &AtomicBool), tick: Duration, connected: bool },
}

impl Way {
    fn measure(&self) -> Cost {
        match *self {
            Way::Engine { record } => through_engine(record),
            Way::Bare { run, tick, connected } => through_bare_loop(run, tick, connected),
        }
    }
}

/// Callers who wait: they are sent music and send as much themselves, and are not recorded.
fn music() {
    let mut library = Library::new();
    library.add(Prompt::new(&[8_000; 8_000 * 60]));
    let settings = Settings { threads: 1, pin: false, prompts: Arc::new(library), seed: 1 };
    let mut costs: Vec<Cost> = (0..REPEATS).map(|_| with_music(&settings)).collect();
    costs.sort_by_key(|cost| cost.cpu);
    let Cost { cpu, wall, packets, .. } = costs[REPEATS / 2];
    let share = 100.0 * cpu.as_secs_f64() / wall.as_secs_f64();
    let value = format!("{share:.1} % of a core, {packets} packets heard");
    println!(
        "row\tengine: music to {CALLS} waiting callers\t{value}\t≤ 2 %\twho send 50 packets/s each, middle of {REPEATS}"
    );
}

fn with_music(settings: &Settings) -> Cost {
    let threads = MediaThreads::start(settings, drop, || |_: &mut Vec<Tap>| {}, |_, _| {}).expect("threads start");
    let tell = |message| threads.send(MediaThreadId(0), message).expect("the thread listens");
    let mut ports = Ports::new(&[LOOPBACK], 10_000..=29_999).expect("the range is good");
    let mut phones = Phones::new();
    phones.sockets.truncate(CALLS);
    for index in 0..CALLS {
        let (leg, pair) = (leg(index), ports.open(Mono(0), None).expect("ports are free"));
        phones.targets.push(pair.local);
        tell(Message::Open { leg, pair });
        tell(Message::Action(Action::Open { leg, seed: index as u64 }));
        let remote = remote(address(&phones.sockets[index]), Codec::Pcma);
        tell(Message::Action(Action::Connect { leg, remote }));
        tell(Message::Action(Action::Play { leg, play: 1, prompts: vec![PromptId(0)], repeat: true }));
    }
    phones.measure(&["media-"])
}

fn through_engine(record: bool) -> Cost {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let root = folder.path().to_owned();
    let recording =
        recorder::Settings { folders: vec![root], threads: 2, recordings_max: CALLS, running: BTreeSet::new() };
    let recorder = Recorder::start(recording, clock::now, Arc::new(|_, _| {})).expect("the recorder starts");
    let settings = Settings { threads: 1, pin: false, prompts: Arc::default(), seed: 1 };
    let taps = || {
        let mut intake = recorder.intake();
        move |taps: &mut Vec<Tap>| intake.give(taps.drain(..))
    };
    let threads = MediaThreads::start(&settings, drop, taps, |_, _| {}).expect("threads start");
    let tell = |message| threads.send(MediaThreadId(0), message).expect("the thread listens");
    let mut ports = Ports::new(&[LOOPBACK], 10_000..=29_999).expect("the range is good");
    let mut phones = Phones::new();
    for index in 0..LEGS {
        let pair = ports.open(Mono(0), None).expect("ports are free");
        let leg = leg(index);
        phones.targets.push(pair.local);
        tell(Message::Open { leg, pair });
        tell(Message::Action(Action::Open { leg, seed: index as u64 }));
        let remote = remote(address(&phones.sockets[index]), Codec::Pcma);
        tell(Message::Action(Action::Connect { leg, remote }));
        if record && index.is_multiple_of(2) {
            let (recording, contact) = (RecordingId(index as u128), ContactId(index as u128));
            let recording =
                RecordingStart { recording, contact, site: "a".into(), started: clock::now(), track: Track::Journey };
            tell(Message::Action(Action::Record { citizen: leg, recording }));
        }
    }
    for call in 0..CALLS {
        tell(Message::Action(Action::Bridge { a: leg(2 * call), b: leg(2 * call + 1) }));
    }
    let cost = phones.measure(&["media-", "recorder-"]);
    drop(threads);
    recorder.stop();
    cost
}

fn through_bare_loop(run: fn(&Wires, Duration, &AtomicBool), tick: Duration, connected: bool) -> Cost {
    let mut phones = Phones::new();
    let far: Vec<SocketAddr> = phones.sockets.iter().map(address).collect();
    let ours: Vec<UdpSocket> = (0..LEGS).map(|_| bind()).collect();
    phones.targets = ours.iter().map(address).collect();
    for (socket, far) in ours.iter().zip(&far).filter(|_| connected) {
        socket.connect(far).expect("a datagram socket connects at once");
    }
    let (wires, stop) = (Wires { ours, far, connected }, Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let work = move || run(&wires, tick, &stopped);
    let thread = std::thread::Builder::new().name("bare".into()).spawn(work).expect("a thread starts");
    let cost = phones.measure(&["bare"]);
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the bare loop ends");
    cost
}
