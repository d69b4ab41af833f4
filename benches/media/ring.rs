//! The bare loop by io_uring: one multishot receive a socket into provided buffers, and all sends of a tick in one call.
//!
//! Not how the engine does it (ARCHITECTURE.md, "Media"): measured beside it, so that the choice can be made again. The
//! only file with `unsafe`: the ring takes addresses, and whoever fills it answers for how long they stay good.
#![allow(unsafe_code)]

use crate::loops::Wires;
use io_uring::types::{BufRingEntry, Fixed, RecvMsgOut};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

/// Provided buffers: more packets than come in a tick of 20 ms.
const BUFFERS: u16 = 1_024;
const BUFFER_BYTES: usize = 2_048;
const GROUP: u16 = 7;
/// Marks the completion of a send; all others are receives, named by their socket.
const SENT: u64 = 1 << 32;
const PAGE_BYTES: usize = 4_096;

/// Room for the ring of provided buffers, which begins on a page.
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);
const PAGES: usize = BUFFERS as usize * size_of::<BufRingEntry>() / PAGE_BYTES;

/// The buffers that the kernel receives into, and the ring in which they are given to it.
struct Buffers {
    pages: Box<[Page; PAGES]>,
    sound: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn new() -> Buffers {
        let pages = Box::new([const { Page([0; PAGE_BYTES]) }; PAGES]);
        let mut buffers = Buffers { pages, sound: vec![0; usize::from(BUFFERS) * BUFFER_BYTES], tail: 0 };
        (0..BUFFERS).for_each(|id| buffers.give(id));
        buffers.publish();
        buffers
    }

    fn entries(&mut self) -> *mut BufRingEntry {
        self.pages.as_mut_ptr().cast()
    }

    fn give(&mut self, id: u16) {
        let address = self.sound[usize::from(id) * BUFFER_BYTES..].as_ptr() as u64;
        // SAFETY: the index is below BUFFERS, for which `pages` has room; all zeroes are an entry.
        let entry = unsafe { &mut *self.entries().add(usize::from(self.tail % BUFFERS)) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of what was given.
    fn publish(&mut self) {
        // SAFETY: the tail lies within the first entry, aligned for it, and the kernel reads it as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn at(&self, id: u16) -> &[u8] {
        &self.sound[usize::from(id) * BUFFER_BYTES..][..BUFFER_BYTES]
    }
}

/// A packet in a provided buffer.
struct Got {
    id: u16,
    socket: usize,
    start: usize,
    length: u32,
}

/// Whether this system lets us have a ring.
pub fn is_allowed() -> bool {
    ring().is_ok()
}

fn ring() -> std::io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(4 * u32::from(BUFFERS))
        .build(BUFFERS.into())
}

/// Relays until told to stop.
pub fn relay(wires: &Wires, tick: Duration, stop: &AtomicBool) {
    let (mut buffers, mut ring) = (Buffers::new(), ring().expect("a ring"));
    let sockets: Vec<i32> = wires.ours.iter().map(AsRawFd::as_raw_fd).collect();
    ring.submitter().register_files(&sockets).expect("files are registered");
    let entries = buffers.entries() as u64;
    // SAFETY: the pages stay where they are until the ring is dropped, which is declared after them.
    unsafe { ring.submitter().register_buf_ring_with_flags(entries, BUFFERS, GROUP, 0) }.expect("buffers are taken");
    let far: Vec<libc::sockaddr_in> = wires.far.iter().map(|address| raw(*address)).collect();
    // SAFETY: all zeroes are an empty header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    for socket in 0..sockets.len() {
        push(&mut ring, &receive(socket, &header));
    }
    let (mut clock, mut got) = (crate::loops::Clock::new(tick), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        clock.sleep();
        // SAFETY: no argument is passed. What has arrived is made into completions.
        unsafe { ring.submitter().enter::<()>(0, 0, IORING_ENTER_GETEVENTS, None) }.expect("the ring is entered");
        let ended = reap(&mut ring, &buffers, &header, &mut got);
        for socket in ended {
            push(&mut ring, &receive(socket, &header));
        }
        for packet in &got {
            let (to, address) = (packet.socket ^ 1, &far[packet.socket ^ 1]);
            let bytes = buffers.at(packet.id)[packet.start..].as_ptr();
            let length = size_of::<libc::sockaddr_in>() as u32;
            let send = opcode::Send::new(Fixed(to as u32), bytes, packet.length)
                .flags(libc::MSG_DONTWAIT)
                .dest_addr(std::ptr::from_ref(address).cast())
                .dest_addr_len(length);
            push(&mut ring, &send.build().user_data(SENT).flags(squeue::Flags::SKIP_SUCCESS));
        }
        ring.submit().expect("sends are taken");
        // A send that does not wait is over when it was taken: its buffer is free.
        got.drain(..).for_each(|packet| buffers.give(packet.id));
        buffers.publish();
    }
}

const IORING_ENTER_GETEVENTS: u32 = 1;

fn raw(address: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(address) = address else { panic!("the loopback is named by IPv4") };
    let sin_addr = libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) };
    libc::sockaddr_in { sin_family: libc::AF_INET as u16, sin_port: address.port().to_be(), sin_addr, sin_zero: [0; 8] }
}

fn receive(socket: usize, header: &libc::msghdr) -> squeue::Entry {
    opcode::RecvMsgMulti::new(Fixed(socket as u32), header, GROUP).build().user_data(socket as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: what entries point at outlives the call that submits them: headers and addresses the ring, buffers the tick.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit().expect("entries are taken");
    }
}

/// Takes the packets that came; gives the sockets whose receive has ended.
fn reap(ring: &mut IoUring, buffers: &Buffers, header: &libc::msghdr, got: &mut Vec<Got>) -> Vec<usize> {
    let mut ended = Vec::new();
    for completion in ring.completion().filter(|completion| completion.user_data() != SENT) {
        let (socket, flags) = (completion.user_data() as usize, completion.flags());
        if !cqueue::more(flags) {
            ended.push(socket);
        }
        let (Some(id), Ok(length)) = (cqueue::buffer_select(flags), usize::try_from(completion.result())) else {
            continue;
        };
        let bytes = &buffers.at(id)[..length];
        let message = RecvMsgOut::parse(bytes, header).expect("the kernel writes whole messages");
        let start = message.payload_data().as_ptr().addr() - bytes.as_ptr().addr();
        got.push(Got { id, socket, start, length: message.payload_data().len() as u32 });
    }
    ended
}
