//! Where the plane puts what it has to say: datagrams in one arena, notices, taps. Cleared and used again, so that after
//! warming up a packet costs no allocation.

use super::event::{Notice, Tap};
use crate::base::LegId;
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::ops::Range;

/// Sound for the recorder is kept in blocks of this size: some 400 packets.
const BLOCK_BYTES: usize = 64 * 1024;

/// Which of a leg's two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Sound and events, on the even port.
    Rtp,
    /// Reports, on the odd port.
    Rtcp,
}

/// One datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// From this leg's port.
    pub leg: LegId,
    /// Which port.
    pub kind: Kind,
    /// Where to.
    pub to: SocketAddr,
    /// The whole of it.
    pub bytes: &'a [u8],
}

#[derive(Clone, Debug)]
struct Place {
    leg: LegId,
    kind: Kind,
    to: SocketAddr,
    range: Range<usize>,
}

/// How much a sink held at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    places: usize,
    notices: usize,
    taps: usize,
}

/// What came out of the plane since the last [`Sink::clear`].
#[derive(Clone, Debug, Default)]
pub struct Sink {
    arena: Vec<u8>,
    places: Vec<Place>,
    /// What of the present block is free.
    block: BytesMut,
    /// For calls, in order.
    pub notices: Vec<Notice>,
    /// For the recorder, in order.
    pub taps: Vec<Tap>,
}

impl Sink {
    /// An empty one.
    pub fn new() -> Sink {
        Sink::default()
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.clear_datagrams();
        self.notices.clear();
        self.taps.clear();
    }

    /// Forgets the datagrams: they are sent.
    pub fn clear_datagrams(&mut self) {
        self.arena.clear();
        self.places.clear();
    }

    /// How much it holds now.
    pub fn mark(&self) -> Mark {
        let (bytes, places) = (self.arena.len(), self.places.len());
        Mark { bytes, places, notices: self.notices.len(), taps: self.taps.len() }
    }

    /// Forgets what came after `mark`.
    pub fn take_back(&mut self, mark: Mark) {
        self.arena.truncate(mark.bytes);
        self.places.truncate(mark.places);
        self.notices.truncate(mark.notices);
        self.taps.truncate(mark.taps);
    }

    /// The datagrams in order.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        self.places.iter().map(|place| Datagram {
            leg: place.leg,
            kind: place.kind,
            to: place.to,
            bytes: &self.arena[place.range.clone()],
        })
    }

    /// Keeps the payload of a tap. Many share one block, so that a packet costs no allocation.
    pub fn keep(&mut self, payload: &[u8]) -> Bytes {
        keep(&mut self.block, payload)
    }

    /// Keeps what the datagram that was added last holds from byte `from` on.
    pub fn keep_last(&mut self, from: usize) -> Bytes {
        let range = self.places.last().map_or(0..0, |place| place.range.clone());
        keep(&mut self.block, self.arena[range].get(from..).unwrap_or_default())
    }

    /// Adds a datagram that `write` appends to the arena; returns what `write` returns and the bytes written.
    pub fn datagram<R>(
        &mut self,
        leg: LegId,
        kind: Kind,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> (R, &[u8]) {
        let start = self.arena.len();
        let result = write(&mut self.arena);
        let range = start..self.arena.len();
        self.places.push(Place { leg, kind, to, range: range.clone() });
        (result, &self.arena[range])
    }
}

fn keep(block: &mut BytesMut, payload: &[u8]) -> Bytes {
    if block.capacity() < payload.len() {
        *block = BytesMut::with_capacity(BLOCK_BYTES.max(payload.len()));
    }
    block.extend_from_slice(payload);
    block.split().freeze()
}
