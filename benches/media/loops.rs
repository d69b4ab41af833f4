//! Bare loops that move the same packets as a media thread: receive and send and nothing else, the floor that the
//! system's calls set on this machine. On loopback a send also does the receiving side's work in the kernel.

use rustix::event::{Timespec, epoll};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The sockets of a loop, in pairs that hear each other, and the phone that each one serves.
pub struct Wires {
    pub ours: Vec<UdpSocket>,
    pub far: Vec<SocketAddr>,
    /// Whether each socket is connected to its phone: the system then looks the way up once, not for each packet.
    pub connected: bool,
}

/// Wakes at even distances.
pub struct Clock {
    tick: Duration,
    next: Instant,
}

impl Clock {
    pub fn new(tick: Duration) -> Clock {
        Clock { tick, next: Instant::now() }
    }

    pub fn sleep(&mut self) {
        self.next += self.tick;
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
    }
}

impl Wires {
    /// Relays one packet; a phone that is gone at the end of the run is no loss.
    fn relay(&self, socket: usize, buffer: &mut [u8]) {
        if let Ok((length, _)) = self.ours[socket].recv_from(buffer) {
            let (to, bytes) = (&self.ours[socket ^ 1], &buffer[..length]);
            let _ = if self.connected { to.send(bytes) } else { to.send_to(bytes, self.far[socket ^ 1]) };
        }
    }
}

/// Asks each socket at each tick.
pub fn asking(wires: &Wires, tick: Duration, stop: &AtomicBool) {
    let (mut buffer, mut clock) = ([0; 2_048], Clock::new(tick));
    while !stop.load(Ordering::Relaxed) {
        clock.sleep();
        (0..wires.ours.len()).for_each(|socket| wires.relay(socket, &mut buffer));
    }
}

/// Asks epoll at each tick, as media threads do: until it names no socket any more.
pub fn by_epoll(wires: &Wires, tick: Duration, stop: &AtomicBool) {
    let watched = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (place, socket) in (0..).zip(&wires.ours) {
        epoll::add(&watched, socket, epoll::EventData::new_u64(place), epoll::EventFlags::IN).expect("it is watched");
    }
    let (mut buffer, mut clock) = ([0; 2_048], Clock::new(tick));
    let mut events = [MaybeUninit::uninit(); 1_024];
    while !stop.load(Ordering::Relaxed) {
        clock.sleep();
        while let Ok((ready, _)) = epoll::wait(&watched, &mut events, Some(&Timespec::default())) {
            if ready.is_empty() {
                break;
            }
            ready.iter().for_each(|event| wires.relay(event.data.u64() as usize, &mut buffer));
        }
    }
}
