//! A thousand calls at once, relayed and recorded, through real sockets with their phones beside: what is lost, and how
//! much later each packet comes than it was sent.

use super::{LOOPBACK, PTIME, address, bind, cpu_of, leg, packet, remote};
use crate::loops::Clock;
use hdrhistogram::Histogram;
use jiesu::base::{ContactId, MediaThreadId, Mono, RecordingId};
use jiesu::media::event::{Action, RecordingStart, Tap, Track};
use jiesu::net::ports::Ports;
use jiesu::node::media::{MediaThreads, Message, Settings};
use jiesu::node::recorder::{self, Recorder};
use jiesu::node::{clock, limits};
use jiesu::sdp::Codec;
use rustix::event::{Timespec, epoll};
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLS: usize = 1_000;
const LEGS: usize = 2 * CALLS;
const ROUNDS: u16 = 500;
/// Phones speak in so many groups, evenly spread over a packet's time.
const GROUPS: usize = 40;
/// Where the payload of a packet begins: there stands when it was sent.
const PAYLOAD: usize = 12;
/// What was sent last still comes within this.
const SETTLE: Duration = Duration::from_millis(200);

/// One row: delay, loss and cost of a thousand recorded calls.
pub fn recorded() {
    limits::raise_open_files();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let root = folder.path().to_owned();
    let recording =
        recorder::Settings { folders: vec![root], threads: 2, recordings_max: CALLS, running: BTreeSet::new() };
    let recorder = Recorder::start(recording, clock::now, Arc::new(|_, _| {})).expect("the recorder starts");
    let settings = Settings { threads: 2, pin: false, prompts: Arc::default(), seed: 1 };
    let taps = || {
        let mut intake = recorder.intake();
        move |taps: &mut Vec<Tap>| intake.give(taps.drain(..))
    };
    let threads = MediaThreads::start(&settings, drop, taps, |_, _| {}).expect("threads start");
    let phones: Vec<UdpSocket> = (0..LEGS).map(|_| bind()).collect();
    let targets = begin(&threads, &phones);
    let spent = || ["media-", "recorder-"].iter().map(|name| cpu_of(name)).sum::<Duration>();
    let (began, before, stop) = (Instant::now(), spent(), AtomicBool::new(false));
    let delays = std::thread::scope(|scope| {
        let listening = scope.spawn(|| listen(&phones, began, &stop));
        speak(&phones, &targets, began);
        std::thread::sleep(SETTLE);
        stop.store(true, Ordering::Relaxed);
        listening.join().expect("the listener ends")
    });
    let share = 100.0 * (spent() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    drop(threads);
    recorder.stop();
    let sent = LEGS as u64 * u64::from(ROUNDS);
    let ms = |quantile| delays.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "row\tengine: {CALLS} recorded calls, delay median / p99 / most\t{:.1} / {:.1} / {:.1} ms\tp99 ≤ 10 ms\t{} of {sent} packets lost, {:.1} % of a core per 100 calls",
        ms(0.5),
        ms(0.99),
        ms(1.0),
        sent - delays.len(),
        share / (CALLS as f64 / 100.0)
    );
}

/// Opens, bridges and records all calls, half of them on each thread; returns where phones send to.
fn begin(threads: &MediaThreads, phones: &[UdpSocket]) -> Vec<SocketAddr> {
    let mut ports = Ports::new(&[LOOPBACK], 10_000..=29_999).expect("the range is good");
    let mut targets = Vec::new();
    for call in 0..CALLS {
        let thread = MediaThreadId((call % threads.count()) as u8);
        let tell = |message| threads.send(thread, message).expect("the thread listens");
        for index in [2 * call, 2 * call + 1] {
            let (leg, pair) = (leg(index), ports.open(Mono(0), None).expect("ports are free"));
            targets.push(pair.local);
            tell(Message::Open { leg, pair });
            tell(Message::Action(Action::Open { leg, seed: index as u64 }));
            let remote = remote(address(&phones[index]), Codec::Pcma);
            tell(Message::Action(Action::Connect { leg, remote }));
        }
        let (citizen, started) = (leg(2 * call), clock::now());
        let (recording, contact) = (RecordingId(call as u128), ContactId(call as u128));
        let recording = RecordingStart { recording, contact, site: "a".into(), started, track: Track::Journey };
        tell(Message::Action(Action::Record { citizen, recording }));
        tell(Message::Action(Action::Bridge { a: citizen, b: leg(2 * call + 1) }));
    }
    targets
}

/// All phones speak; each packet holds when it was sent.
fn speak(phones: &[UdpSocket], targets: &[SocketAddr], began: Instant) {
    let (mut bytes, mut clock) = (Vec::new(), Clock::new(PTIME / GROUPS as u32));
    for round in 0..ROUNDS {
        packet(8, round, &mut bytes);
        for group in 0..GROUPS {
            for (socket, target) in phones.iter().zip(targets).skip(group).step_by(GROUPS) {
                let at = began.elapsed().as_micros() as u64;
                bytes[PAYLOAD..PAYLOAD + 8].copy_from_slice(&at.to_be_bytes());
                socket.send_to(&bytes, target).expect("the loopback takes packets");
            }
            clock.sleep();
        }
    }
}

/// How long each packet took, in microseconds. Silence that legs are sent before the first is none of them.
fn listen(phones: &[UdpSocket], began: Instant, stop: &AtomicBool) -> Histogram<u64> {
    let mut delays = Histogram::new(3).expect("three digits are allowed");
    let watched = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (place, socket) in (0..).zip(phones) {
        epoll::add(&watched, socket, epoll::EventData::new_u64(place), epoll::EventFlags::IN).expect("it is watched");
    }
    let (mut buffer, mut events) = ([0; 2_048], [MaybeUninit::uninit(); 1_024]);
    let patience = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    while !stop.load(Ordering::Relaxed) {
        let Ok((ready, _)) = epoll::wait(&watched, &mut events, Some(&patience)) else { continue };
        for event in ready.iter() {
            while let Ok(length) = phones[event.data.u64() as usize].recv(&mut buffer) {
                let said: [u8; 8] = buffer[PAYLOAD..PAYLOAD + 8].try_into().expect("eight bytes");
                let at = u64::from_be_bytes(said);
                let now = began.elapsed().as_micros() as u64;
                if length == 172 && at <= now {
                    delays.record(now - at).expect("a packet takes no hour");
                }
            }
        }
    }
    delays
}
