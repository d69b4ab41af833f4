//! What all that deal with one connection share: its queue, its age, whether anybody vouches for it.
//!
//! Owns the bounded queue of what is to be written: full means that the other side does not read, and ends the connection.

use super::door::Place;
use crate::sip::event::Flow;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

/// Messages that may wait to be written.
pub const QUEUE_MESSAGES_MAX: usize = 64;
/// Bytes that may wait to be written.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Messages of one connection that a shard may not have handled yet; then no more is read from it.
pub const IN_FLIGHT_MAX: usize = 16;

/// Its first message has to come in this time.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// A message that has begun is whole in this time.
const MESSAGE_MAX: Duration = Duration::from_secs(15);

/// One connection.
#[derive(Debug)]
pub struct Line {
    /// By which the machines know it.
    pub flow: Flow,
    /// Whether we opened it.
    pub ours: bool,
    queue: mpsc::Sender<Bytes>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    opened: Instant,
    /// Milliseconds from `opened`: when anything came last.
    heard_ms: AtomicU64,
    /// When a message began that is not whole, plus one; zero when none has.
    began_ms: AtomicU64,
    /// Whether a message ever came that somebody heard.
    spoken: AtomicBool,
    /// Until when a phone is registered by it.
    vouched_ms: AtomicU64,
    /// Among those of its listener; connections of our own have none.
    place: Option<Place>,
    closing: Notify,
    /// One permit for each message that shards have in hand.
    pub(super) in_flight: Arc<Semaphore>,
}

/// The queue's other end.
pub(super) type Queue = mpsc::Receiver<Bytes>;

/// The other side does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Why a connection ends by our own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has said nothing, or nothing that anybody would hear.
    Silent,
    /// It stopped within a message.
    Unfinished,
    /// Nobody is registered by it and it says nothing more.
    Idle,
    /// It answers no pings.
    Dead,
    /// Its source is not heard any more.
    Banned,
}

impl Line {
    /// A connection that was accepted has a place among others, one of ours has none.
    pub(super) fn new(flow: Flow, place: Option<Place>) -> (Arc<Line>, Queue) {
        let (queue, written) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let line = Line {
            flow,
            ours: place.is_none(),
            queue,
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            opened: Instant::now(),
            heard_ms: AtomicU64::new(0),
            began_ms: AtomicU64::new(0),
            spoken: AtomicBool::new(false),
            vouched_ms: AtomicU64::new(0),
            place,
            closing: Notify::new(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        };
        (Arc::new(line), written)
    }

    /// Queues a message.
    pub(super) fn push(&self, bytes: Bytes) -> Result<(), Full> {
        let length = bytes.len();
        let messages = self.waiting.fetch_add(1, Ordering::AcqRel);
        let queued = self.waiting_bytes.fetch_add(length, Ordering::AcqRel);
        let fits = messages < QUEUE_MESSAGES_MAX && queued + length <= QUEUE_BYTES_MAX;
        if fits && self.queue.try_send(bytes).is_ok() {
            return Ok(());
        }
        self.written(1, length);
        Err(Full)
    }

    /// So much of the queue is on its way.
    pub(super) fn written(&self, messages: usize, bytes: usize) {
        self.waiting.fetch_sub(messages, Ordering::AcqRel);
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Messages that wait to be written.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Ends the connection, whatever it is doing.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    pub(super) async fn closed(&self) {
        self.closing.notified().await;
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Bytes came; `within`: a message has begun and is not whole.
    pub(super) fn heard(&self, within: bool) {
        let now = self.age_ms();
        self.heard_ms.store(now, Ordering::Relaxed);
        let began = self.began_ms.load(Ordering::Relaxed);
        let since = match (within, began) {
            (false, _) => 0,
            (true, 0) => now + 1,
            (true, began) => began,
        };
        self.began_ms.store(since, Ordering::Relaxed);
    }

    /// A whole message came.
    pub(super) fn whole(&self) {
        self.began_ms.store(0, Ordering::Relaxed);
    }

    /// A message came that somebody heard.
    pub(super) fn spoke(&self) {
        self.spoken.store(true, Ordering::Relaxed);
    }

    /// Whether a message ever came that somebody heard.
    pub(super) fn has_spoken(&self) -> bool {
        self.spoken.load(Ordering::Relaxed)
    }

    /// A phone is registered by it for so long.
    pub(super) fn vouch(&self, lasts: Duration) {
        let until = self.age_ms() + u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        self.vouched_ms.fetch_max(until, Ordering::Relaxed);
        if let Some(place) = &self.place {
            place.become_known();
        }
    }

    /// Whether it has to end: `trusted` connections are a trunk's; `dead_after` is for those that answer pings.
    pub(super) fn overdue(
        &self,
        trusted: bool,
        unregistered_max: Duration,
        dead_after: Option<Duration>,
    ) -> Option<Overdue> {
        let now = Duration::from_millis(self.age_ms());
        let at = |place: &AtomicU64| Duration::from_millis(place.load(Ordering::Relaxed));
        let (silent, began) = (now.saturating_sub(at(&self.heard_ms)), at(&self.began_ms));
        if !self.ours && !self.has_spoken() && now >= FIRST_MAX {
            Some(Overdue::Silent)
        } else if !began.is_zero() && now.saturating_sub(began) >= MESSAGE_MAX {
            Some(Overdue::Unfinished)
        } else if dead_after.is_some_and(|limit| silent >= limit) {
            Some(Overdue::Dead)
        } else if !trusted && now >= at(&self.vouched_ms) && silent >= unregistered_max {
            Some(Overdue::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::door::tests::door;
    use std::net::SocketAddr;

    const PEER: &str = "192.0.2.9:1";

    const UNREGISTERED: Duration = Duration::from_secs(120);

    fn line() -> (Arc<Line>, Queue) {
        let (door, bounds) = door(1, 1);
        let (place, _) = Place::take(&door, PEER.parse::<SocketAddr>().unwrap().ip(), &bounds, true).unwrap();
        Line::new(Flow { listener: 1, connection: 7, peer: PEER.parse().unwrap() }, Some(place))
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test]
    async fn a_queue_is_full_by_messages_and_by_bytes() {
        let (line, mut queue) = line();
        for _ in 0..QUEUE_MESSAGES_MAX {
            line.push(Bytes::from_static(b"x")).unwrap();
        }
        assert_eq!(line.push(Bytes::from_static(b"x")), Err(Full));
        // Taken from the queue is not written yet.
        queue.recv().await.unwrap();
        assert_eq!((line.push(Bytes::from_static(b"x")), line.waiting()), (Err(Full), QUEUE_MESSAGES_MAX));
        line.written(1, 1);
        line.push(Bytes::from_static(b"x")).unwrap();

        let (line, _queue) = super::tests::line();
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX / 4]);
        for _ in 0..4 {
            line.push(large.clone()).unwrap();
        }
        assert_eq!(line.push(Bytes::from_static(b"x")), Err(Full));
        assert_eq!(line.waiting(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_silence_has_its_bound() {
        let overdue = |line: &Line, trusted| line.overdue(trusted, UNREGISTERED, None);
        let (silent, _queue) = line();
        after(9).await;
        assert_eq!(overdue(&silent, false), None);
        // Bytes that make no message do not help.
        silent.heard(true);
        after(1).await;
        assert_eq!(overdue(&silent, true), Some(Overdue::Silent));

        let (slow, _queue) = line();
        slow.spoke();
        slow.heard(true);
        after(14).await;
        slow.heard(true);
        assert_eq!(overdue(&slow, true), None);
        after(2).await;
        assert_eq!(overdue(&slow, true), Some(Overdue::Unfinished));
        slow.heard(false);
        assert_eq!(overdue(&slow, true), None);

        let (phone, _queue) = line();
        phone.spoke();
        after(119).await;
        assert_eq!(overdue(&phone, false), None);
        after(1).await;
        assert_eq!((overdue(&phone, false), overdue(&phone, true)), (Some(Overdue::Idle), None));
        phone.vouch(Duration::from_secs(600));
        after(599).await;
        assert_eq!(overdue(&phone, false), None);
        assert_eq!(phone.overdue(false, UNREGISTERED, Some(Duration::from_secs(75))), Some(Overdue::Dead));
        after(1).await;
        assert_eq!(overdue(&phone, false), Some(Overdue::Idle));
    }
}
