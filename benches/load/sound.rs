//! Sound: phones that send a packet every 20 ms, evenly spread, and hear what comes back; and the bare loop that moves
//! the same packets with nothing but receive and send, as the reference.

use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PTIME: Duration = Duration::from_millis(20);
/// Phones speak in so many groups, evenly spread over a packet's time.
const GROUPS: u32 = 20;
const PACKET_BYTES: usize = 172;
/// What is still on its way at the end is waited for.
const LATE_MAX: Duration = Duration::from_millis(200);

/// A socket for each end of each call: citizens even, agents odd.
pub struct Phones {
    poll: Poll,
    sockets: Vec<UdpSocket>,
    pub ports: Vec<[u16; 2]>,
}

/// What the phones heard.
pub struct Heard {
    pub sent: usize,
    pub heard: usize,
    /// One way, in microseconds.
    pub delay_us: Histogram<u64>,
}

impl Phones {
    pub fn new(calls: usize) -> Phones {
        let poll = Poll::new().expect("epoll");
        let mut sockets: Vec<UdpSocket> = (0..2 * calls)
            .map(|_| UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("ports"))
            .collect();
        for (index, socket) in sockets.iter_mut().enumerate() {
            poll.registry().register(socket, Token(index), Interest::READABLE).expect("epoll takes sockets");
        }
        let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
        let ports = sockets.chunks(2).map(|pair| [port(&pair[0]), port(&pair[1])]).collect();
        Phones { poll, sockets, ports }
    }

    /// Speaks to `targets` for some time; `began` is called when the first second is over, from which on is counted.
    pub fn speak(&mut self, targets: &[[SocketAddr; 2]], lasting: Duration, began: impl FnOnce()) -> Heard {
        let (origin, slot) = (Instant::now(), PTIME / GROUPS);
        let mut events = Events::with_capacity(1_024);
        let mut out = Heard { sent: 0, heard: 0, delay_us: crate::town::histogram() };
        let warm = 1_000 / 20 * GROUPS;
        let slots = warm + (lasting.as_millis() / slot.as_millis()) as u32;
        let mut began = Some(began);
        for nth in 0..slots {
            let due = origin + slot * nth;
            if nth == warm
                && let Some(began) = began.take()
            {
                began();
            }
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                self.hear(&mut events, wait, origin, slot * warm, &mut out);
            }
            for index in (nth % GROUPS) as usize..self.sockets.len() {
                if index as u32 % GROUPS == nth % GROUPS {
                    self.send(index, targets[index / 2][index % 2], nth / GROUPS, origin);
                    out.sent += usize::from(nth >= warm);
                }
            }
        }
        let end = Instant::now() + LATE_MAX;
        while Instant::now() < end {
            self.hear(&mut events, LATE_MAX, origin, slot * warm, &mut out);
        }
        out
    }

    /// A packet that carries the time at which it left.
    fn send(&self, index: usize, to: SocketAddr, round: u32, origin: Instant) {
        let mut packet = [0x55; PACKET_BYTES];
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&(index as u32 + 1).to_be_bytes());
        packet[12..20].copy_from_slice(&(origin.elapsed().as_micros() as u64).to_be_bytes());
        // What the system does not take is lost, and will be missed.
        let _ = self.sockets[index].send_to(&packet, to);
    }

    fn hear(&mut self, events: &mut Events, wait: Duration, origin: Instant, since: Duration, out: &mut Heard) {
        self.poll.poll(events, Some(wait)).expect("epoll");
        let mut buffer = [0; 2_048];
        for event in events.iter() {
            while let Ok(length) = self.sockets[event.token().0].recv(&mut buffer) {
                let now = origin.elapsed().as_micros() as u64;
                let sent = u64::from_be_bytes(buffer[12..20].try_into().expect("eight bytes"));
                if length == PACKET_BYTES && sent <= now && u128::from(sent) >= since.as_micros() {
                    out.heard += 1;
                    out.delay_us.saturating_record(now - sent);
                }
            }
        }
    }
}

/// The reference: a thread that wakes every 20 ms, receives one packet at each socket and sends it on.
pub struct BareLoop {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    pub targets: Vec<[SocketAddr; 2]>,
}

impl BareLoop {
    pub fn start(phones: &[[u16; 2]]) -> BareLoop {
        let far: Vec<SocketAddr> = phones.as_flattened().iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        let ours: Vec<std::net::UdpSocket> =
            far.iter().map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports")).collect();
        ours.iter().for_each(|socket| socket.set_nonblocking(true).expect("sockets need not block"));
        let at = |socket: &std::net::UdpSocket| socket.local_addr().expect("bound");
        let targets = ours.chunks(2).map(|pair| [at(&pair[0]), at(&pair[1])]).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            let (mut buffer, mut next) = ([0; 2_048], Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                next += PTIME;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                for index in 0..ours.len() {
                    if let Ok((length, _)) = ours[index].recv_from(&mut buffer) {
                        // A phone that is gone at the end of the run is no loss.
                        let _ = ours[index ^ 1].send_to(&buffer[..length], far[index ^ 1]);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("bare".into()).spawn(work).expect("a thread starts");
        BareLoop { stop, thread: Some(thread), targets }
    }
}

impl Drop for BareLoop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the bare loop ends");
        }
    }
}

/// Processor time of a thread of this process.
pub fn cpu_of(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let task = tasks.flatten().map(|task| task.path()).find(|task| read(task.join("comm")).trim() == name);
    let ns = task.map(|task| read(task.join("schedstat")));
    Duration::from_nanos(ns.and_then(|text| text.split(' ').next()?.parse().ok()).expect("processor time in ns"))
}
