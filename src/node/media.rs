//! Media threads: sockets and the clock around a [`Plane`] each, pinned to a processor, apart from the async runtime.
//!
//! A thread with legs sleeps until the next tick of 5 ms, whatever comes: each tick takes all messages and what came to
//! all sockets, so that a thread wakes 200 times a second whatever the number of calls and legs. A thread without legs
//! sleeps on its messages. Decides nothing: packets and actions go to the plane, what it says goes to sockets, calls and
//! the recorder.

use super::alarm::Alarm;
use super::clock;
use super::guard::fenced;
use super::sound::Sound;
use super::wires::lock;
use crate::base::map::KeyedMap;
use crate::base::{LegId, MediaThreadId, Mono};
use crate::media::event::{Action, Counters, Mark, Notice, Tap};
use crate::media::pace::TICK;
use crate::media::{Kind, Library, Plane, Sink};
use crate::net::ports::{Lease, Pair};
use rustix::event::{Timespec, epoll};
use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Messages a thread may have waiting.
const MESSAGES_MAX: usize = 16_384;
/// Messages handled in one tick: 200,000 a second. What is beyond waits, so that sound does not.
const MESSAGES_A_TICK: usize = 1_024;
/// A thread without legs looks at least this often whether the recorder has room for what it had none for.
const IDLE_MAX: Duration = Duration::from_millis(100);
/// Taps wait for the recorder so many ticks, 20 ms, so that its threads wake 50 times a second and not 200.
const TICKS_A_BATCH: u64 = 4;
/// Beyond so many they do not wait: as many as 100 calls bring in 20 ms.
const TAPS_MAX: usize = 200;
/// Packets read from one socket in a tick: 6,400 a second. A flood on one port waits, the others go on.
const LOOKS_A_TICK: usize = 32;
/// Larger than any packet of ours; what is cut short here was no telephony.
const PACKET_BYTES_MAX: usize = 2_048;
/// Sockets that are named by one look; what is beyond is named by the next.
const READY_MAX: usize = 256;
/// By this the fence knows ticks; a leg never has this number.
const TICKS: u128 = u128::MAX;
/// Figures are told this often: every 100 ms.
const FIGURES_EVERY_TICKS: u32 = 20;
/// How far legs have come is kept this often: each second.
const MARKS_EVERY_TICKS: u32 = 200;

/// How media threads are started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many; at least 1.
    pub threads: u8,
    /// Pin each thread to a processor of its own, as far as there are enough.
    pub pin: bool,
    /// What can be played.
    pub prompts: Arc<Library>,
    /// For the planes' tables.
    pub seed: u64,
}

/// What a media thread is told.
#[derive(Debug)]
pub enum Message {
    /// From a call.
    Action(Action),
    /// The sockets of a leg; its `Action::Open` comes beside this, before or after.
    Open {
        /// The leg.
        leg: LegId,
        /// Its sockets.
        pair: Pair,
    },
    /// New prompts.
    Prompts(Arc<Library>),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Admission should have kept calls back long before.
    #[error("the media thread's messages are full")]
    Full,
    /// It ended, or there never was such a thread.
    #[error("there is no such media thread")]
    Gone,
}

/// What goes on in a thread, as of the last tenth of a second, and what went through it since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = MediaFigures)]
pub struct Figures {
    /// Open legs.
    pub legs: usize,
    /// Pairs that hear each other.
    pub bridges: usize,
    /// Conferences.
    pub conferences: usize,
    /// Legs with a prompt or music.
    pub playing: usize,
    /// Running recordings.
    pub recordings: usize,
    /// Sockets watched.
    pub sockets: usize,
    /// Packets read from them.
    pub packets_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Packets that were not believed, of legs that have closed, and those for no leg.
    pub packets_dropped: u64,
    /// Legs that have closed.
    pub legs_closed: u64,
    /// Packets to us that were lost, of legs that have closed.
    pub packets_lost: u64,
    /// Packets of ours that the other sides reported as lost, of legs that have closed.
    pub packets_far_lost: u64,
    /// Legs that were spoken to and never spoke.
    pub legs_one_way: u64,
    /// Legs that sounded poor on either way: many would be dissatisfied ([`MOS_POOR`]).
    pub legs_poor: u64,
    /// How legs sounded that have closed.
    pub sound: Sound,
    /// Packets that the system did not take.
    pub sends_failed: u64,
    /// Reads of a socket that failed.
    pub receives_failed: u64,
}

/// Below this mean opinion score, in hundredths, many are dissatisfied: R = 70 (ITU-T G.107 Annex B).
pub const MOS_POOR: u16 = 360;

impl Figures {
    /// A leg has closed.
    fn count(&mut self, leg: &Counters) {
        self.legs_closed += 1;
        self.packets_dropped += leg.dropped;
        self.packets_lost += leg.lost;
        self.packets_far_lost += leg.far_lost;
        self.legs_one_way += u64::from(leg.one_way());
        let poor = [leg.mos_received, leg.mos_sent].into_iter().flatten().any(|mos| mos < MOS_POOR);
        self.legs_poor += u64::from(poor);
        self.sound.count(leg);
    }
}

/// The running threads. Dropping this closes every leg, finishes every recording and waits for the threads' end.
#[derive(Debug)]
pub struct MediaThreads {
    threads: Vec<(SyncSender<Message>, JoinHandle<()>)>,
    figures: Vec<Arc<Mutex<Figures>>>,
}

impl MediaThreads {
    /// Starts the threads. `notices` must bring a notice to the shard of its leg; `taps` makes for each thread what takes
    /// its taps out, to the recorder: every 20 ms, also when there are none. `marks` takes each second how far the legs of a thread
    /// have come. All are called on the media threads and must not block.
    pub fn start<N, T, M>(settings: &Settings, notices: N, taps: impl Fn() -> T, marks: M) -> io::Result<MediaThreads>
    where
        N: Fn(Notice) + Send + Clone + 'static,
        T: FnMut(&mut Vec<Tap>) + Send + 'static,
        M: Fn(MediaThreadId, Vec<(LegId, Mark)>) + Send + Clone + 'static,
    {
        let (mut threads, mut all_figures) = (Vec::new(), Vec::new());
        for index in 0..settings.threads.max(1) {
            let (sender, messages) = mpsc::sync_channel(MESSAGES_MAX);
            let sockets = Sockets::new(settings.seed)?;
            let plane = Plane::new(settings.prompts.clone(), settings.seed);
            let (sink, notices, taps, marks) = (Sink::new(), notices.clone(), taps(), marks.clone());
            let (buffer, told) = (Box::new([0; PACKET_BYTES_MAX]), Arc::<Mutex<Figures>>::default());
            all_figures.push(told.clone());
            let worker = Worker {
                plane,
                sockets,
                sink,
                notices,
                taps,
                marks: move |legs| marks(MediaThreadId(index), legs),
                buffer,
                figures: Figures::default(),
                told,
                failed: Alarm::default(),
                ticks: 0,
            };
            let pin = settings.pin;
            let thread = thread::Builder::new().name(format!("media-{index}")).spawn(move || {
                if pin {
                    pin_to(usize::from(index));
                }
                worker.run(&messages);
            })?;
            threads.push((sender, thread));
        }
        Ok(MediaThreads { threads, figures: all_figures })
    }

    /// How many threads there are; their ids count from 0.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// What goes on, by thread.
    pub fn figures(&self) -> &[Arc<Mutex<Figures>>] {
        &self.figures
    }

    /// Gives a message to a thread without waiting. Messages to one thread keep their order.
    pub fn send(&self, thread: MediaThreadId, message: Message) -> Result<(), SendError> {
        let (sender, _) = self.threads.get(thread.index()).ok_or(SendError::Gone)?;
        sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Disconnected(_) => SendError::Gone,
        })
    }
}

impl Drop for MediaThreads {
    fn drop(&mut self) {
        let (senders, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(senders);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

/// Pins the calling thread to the `index`-th processor it may use. Some containers forbid it; then it floats.
fn pin_to(index: usize) {
    let pinned = rustix::thread::sched_getaffinity(None).and_then(|allowed| {
        let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        let mut own = rustix::thread::CpuSet::new();
        own.set(cpus[index % cpus.len()]);
        rustix::thread::sched_setaffinity(None, &own)
    });
    if let Err(error) = pinned {
        tracing::warn!(%error, "a media thread is not pinned to a processor");
    }
}

struct Worker<N, T, M> {
    plane: Plane,
    sockets: Sockets,
    sink: Sink,
    notices: N,
    taps: T,
    marks: M,
    /// Since the taps were handed over.
    ticks: u64,
    buffer: Box<[u8; PACKET_BYTES_MAX]>,
    /// Counted here and told now and then.
    figures: Figures,
    told: Arc<Mutex<Figures>>,
    /// Packets that could not be sent or received.
    failed: Alarm,
}

impl<N: Fn(Notice), T: FnMut(&mut Vec<Tap>), M: Fn(Vec<(LegId, Mark)>)> Worker<N, T, M> {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut ticks = 0u32;
        while self.wait(messages) {
            for message in messages.try_iter().take(MESSAGES_A_TICK) {
                self.take(message);
            }
            self.tick();
            ticks = ticks.wrapping_add(1);
            // A thread that goes idle says so at once: it may not look again for long.
            if ticks.is_multiple_of(FIGURES_EVERY_TICKS) || self.sockets.slots.is_empty() {
                self.tell_figures();
            }
            if ticks.is_multiple_of(MARKS_EVERY_TICKS) && !self.sockets.slots.is_empty() {
                (self.marks)(self.plane.marks(clock::now().mono));
            }
        }
        self.plane.close_all(clock::now(), &mut self.sink);
        self.flush();
        (self.taps)(&mut self.sink.taps);
    }

    fn tell_figures(&mut self) {
        let counts = self.plane.counts();
        let told = Figures {
            legs: counts.legs,
            bridges: counts.bridges,
            conferences: counts.conferences,
            playing: counts.playing,
            recordings: counts.recordings,
            sockets: self.sockets.slots.len() * 2,
            packets_dropped: self.figures.packets_dropped + counts.strays,
            ..self.figures
        };
        let before = std::mem::replace(&mut *lock(&self.told), told);
        let failed = told.sends_failed + told.receives_failed - before.sends_failed - before.receives_failed;
        if failed > 0 {
            self.failed.raise(clock::now().mono, failed, |count| {
                tracing::warn!(count, "sound cannot be sent or received");
            });
        }
    }

    /// Sleeps until there may be something to do; false when there will never be again.
    fn wait(&mut self, messages: &Receiver<Message>) -> bool {
        let first = if self.sockets.slots.is_empty() {
            messages.recv_timeout(IDLE_MAX)
        } else {
            let now = clock::now().mono;
            thread::sleep(tick_after(now).since(now));
            messages.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })
        };
        match first {
            Ok(message) => self.take(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Open { leg, pair } => {
                if let Err(error) = self.sockets.open(leg, pair) {
                    // The leg stays deaf; its call hears of it as silence.
                    tracing::error!(?leg, %error, "a media socket cannot be watched");
                }
            }
            Message::Action(action) => {
                let closed = if let Action::Close { leg } = action { Some(leg) } else { None };
                self.step(action.leg(), |plane, sink| plane.handle(clock::now(), action, sink));
                if let Some(leg) = closed {
                    // Its last words, as long as it has sockets.
                    self.send();
                    self.sockets.close(leg);
                }
            }
            Message::Prompts(library) => self.plane.replace_library(library),
        }
    }

    /// A step about one leg.
    fn step(&mut self, leg: LegId, step: impl FnOnce(&mut Plane, &mut Sink)) {
        let (plane, sink) = (&mut self.plane, &mut self.sink);
        let mark = sink.mark();
        if fenced("media", u128::from(leg.0), || step(plane, sink)).is_err() {
            self.sink.take_back(mark);
            self.strike(leg);
        }
    }

    /// A step about `leg` panicked: the leg is closed, and its call told so; all others go on.
    fn strike(&mut self, leg: LegId) {
        let (plane, sink) = (&mut self.plane, &mut self.sink);
        let which = u128::from(leg.0);
        // Whether this panics too or the leg was never opened: its call is told.
        let _ = fenced("media, closing", which, || plane.handle(clock::now(), Action::Close { leg }, sink));
        let told = |notice: &Notice| matches!(notice, Notice::Closed { leg: closed, .. } if *closed == leg);
        if !self.sink.notices.iter().any(told) {
            self.sink.notices.push(Notice::Closed { leg, counters: Counters::default() });
        }
        self.sockets.close(leg);
        if fenced("media, checked", which, || self.plane.check()).is_err() {
            tracing::error!("a media thread goes on in disorder");
        }
    }

    fn tick(&mut self) {
        // One packet a look: nearly always that is all there is, and a second look costs less than asking each in vain.
        for _ in 0..LOOKS_A_TICK {
            let ready = self.sockets.look();
            let mut now = clock::now();
            for (count, place) in ready.iter().enumerate() {
                // The clock is read now and then, not for each of thousands of sockets.
                if count % 32 == 31 {
                    now = clock::now();
                }
                self.read(now, *place);
                self.send();
            }
            let done = ready.is_empty();
            self.sockets.ready = ready;
            if done {
                break;
            }
        }
        let (plane, sink) = (&mut self.plane, &mut self.sink);
        if fenced("media", TICKS, || plane.tick(clock::now(), sink)).is_err()
            && let Some(leg) = self.plane.ticking()
        {
            self.strike(leg);
        }
        self.flush();
        self.hand_over();
    }

    fn read(&mut self, now: crate::base::Now, place: Place) {
        let Some((leg, kind, socket)) = self.sockets.at(place) else {
            return;
        };
        let (length, from) = match socket.recv_from(&mut self.buffer[..]) {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error about a packet we sent: nothing to do with the next one.
                self.figures.receives_failed += u64::from(error.kind() != io::ErrorKind::WouldBlock);
                return;
            }
        };
        self.figures.packets_in += 1;
        let (plane, sink, bytes) = (&mut self.plane, &mut self.sink, &self.buffer[..length]);
        let mark = sink.mark();
        let step = || plane.receive(now, leg, kind, from, bytes, sink);
        if fenced("media", u128::from(leg.0), step).is_err() {
            self.sink.take_back(mark);
            self.strike(leg);
        }
    }

    fn send(&mut self) {
        for datagram in self.sink.datagrams() {
            if let Some(socket) = self.sockets.of(datagram.leg, datagram.kind) {
                // A packet that the system does not take is lost like any other: nobody waits for it.
                match socket.send_to(datagram.bytes, datagram.to) {
                    Ok(_) => self.figures.packets_out += 1,
                    Err(_) => self.figures.sends_failed += 1,
                }
            }
        }
        self.sink.clear_datagrams();
    }

    fn flush(&mut self) {
        self.send();
        for notice in self.sink.notices.drain(..) {
            if let Notice::Closed { counters, .. } = &notice {
                self.figures.count(counters);
            }
            (self.notices)(notice);
        }
    }

    /// Gives the taps to the recorder, unless they can wait.
    fn hand_over(&mut self) {
        self.ticks += 1;
        if self.ticks >= TICKS_A_BATCH || self.sink.taps.len() > TAPS_MAX || self.sockets.slots.is_empty() {
            self.ticks = 0;
            (self.taps)(&mut self.sink.taps);
            // Whoever takes nothing wants none.
            self.sink.taps.clear();
        }
    }
}

/// Ticks lie on whole multiples of their length, as the beats of the legs do.
fn tick_after(now: Mono) -> Mono {
    let tick = TICK.as_nanos() as u64;
    Mono((now.0 / tick + 1) * tick)
}

#[derive(Debug)]
struct Opened {
    leg: LegId,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Behind the sockets, so that it is dropped after them.
    _lease: Lease,
}

/// A socket by its number: of the even ones RTP, of the odd ones RTCP comes.
type Place = u64;

/// The sockets of a thread's legs. Watched by level: what was not read is named again by the next look.
#[derive(Debug)]
struct Sockets {
    epoll: OwnedFd,
    slots: KeyedMap<LegId, usize>,
    opened: Vec<Option<Opened>>,
    free: Vec<usize>,
    /// What the last look found; its room is kept.
    ready: Vec<Place>,
}

impl Sockets {
    fn new(seed: u64) -> io::Result<Sockets> {
        Ok(Sockets {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: KeyedMap::new([seed, 1]),
            opened: Vec::new(),
            free: Vec::new(),
            ready: Vec::new(),
        })
    }

    fn open(&mut self, leg: LegId, pair: Pair) -> io::Result<()> {
        self.close(leg);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.opened.push(None);
            self.opened.len() - 1
        });
        let opened = Opened { leg, rtp: pair.rtp, rtcp: pair.rtcp, _lease: pair.lease };
        let watched = self.watch(&opened, slot);
        match watched {
            Ok(()) => {
                self.opened[slot] = Some(opened);
                self.slots.insert(leg, slot);
            }
            Err(_) => self.free.push(slot),
        }
        watched
    }

    /// Tries twice: a shortage of a moment makes no leg deaf.
    fn watch(&self, opened: &Opened, slot: usize) -> io::Result<()> {
        for (socket, place) in [(&opened.rtp, 2 * slot), (&opened.rtcp, 2 * slot + 1)] {
            let add =
                || epoll::add(&self.epoll, socket, epoll::EventData::new_u64(place as Place), epoll::EventFlags::IN);
            add().or_else(|_| add())?;
        }
        Ok(())
    }

    fn close(&mut self, leg: LegId) {
        // A closed descriptor leaves epoll by itself.
        if let Some(slot) = self.slots.remove(&leg) {
            self.opened[slot] = None;
            self.free.push(slot);
        }
    }

    /// Which sockets can be read from. To be put back into `ready`.
    fn look(&mut self) -> Vec<Place> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let mut events = [MaybeUninit::uninit(); READY_MAX];
        // Interrupted by a signal: the next tick sees the same.
        if let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, Some(&Timespec::default())) {
            ready.extend(events.iter().map(|event| event.data.u64()));
        }
        ready
    }

    fn at(&self, place: Place) -> Option<(LegId, Kind, &UdpSocket)> {
        let opened = self.opened.get(place as usize / 2)?.as_ref()?;
        let kind = if place.is_multiple_of(2) { Kind::Rtp } else { Kind::Rtcp };
        Some((opened.leg, kind, opened.socket(kind)))
    }

    fn of(&self, leg: LegId, kind: Kind) -> Option<&UdpSocket> {
        let opened = self.opened[*self.slots.at(&leg)?].as_ref()?;
        Some(opened.socket(kind))
    }
}

impl Opened {
    fn socket(&self, kind: Kind) -> &UdpSocket {
        match kind {
            Kind::Rtp => &self.rtp,
            Kind::Rtcp => &self.rtcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PromptId, RecordingId, ShardId};
    use crate::media::Prompt;
    use crate::media::event::{Audio, Channel, Counters, Remote};
    use crate::media::rtcp::{ReportBlock, write_report};
    use crate::media::rtp::{Header, Packet};
    use crate::net::ports::Ports;
    use crate::sdp::{Codec, Direction};
    use bytes::Bytes;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THREAD: MediaThreadId = MediaThreadId(0);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A telephone: one socket that sends numbered sound and waits for what it wants to hear.
    struct Phone {
        leg: LegId,
        socket: std::net::UdpSocket,
        ours: SocketAddr,
        sound: u8,
        sent: u16,
    }

    impl Phone {
        fn new(threads: &MediaThreads, ports: &mut Ports, count: u64, sound: u8) -> Phone {
            let leg = LegId::incoming(ShardId(1), count);
            let pair = ports.open(clock::now().mono, Some(LOOPBACK)).unwrap();
            let socket = std::net::UdpSocket::bind((LOOPBACK, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let rtp = socket.local_addr().unwrap();
            let phone = Phone { leg, socket, ours: pair.local, sound, sent: 0 };
            let remote = Remote {
                rtp,
                rtcp: SocketAddr::new(rtp.ip(), 9),
                codec: Codec::Pcma,
                payload_type: 8,
                telephone_event: Some(101),
                direction: Direction::SendRecv,
                ptime_ms: 20,
            };
            threads.send(THREAD, Message::Open { leg, pair }).unwrap();
            phone.ask(threads, Action::Open { leg, seed: count });
            phone.ask(threads, Action::Connect { leg, remote });
            phone
        }

        fn ask(&self, threads: &MediaThreads, action: Action) {
            threads.send(THREAD, Message::Action(action)).unwrap();
        }

        fn speak(&mut self) {
            let (sequence, timestamp) = (self.sent, u32::from(self.sent) * 160);
            let mut bytes = Vec::new();
            Header { marker: false, payload_type: 8, sequence, timestamp, ssrc: u32::from(self.sound) }
                .write(&mut bytes);
            bytes.resize(bytes.len() + 160, self.sound);
            self.socket.send_to(&bytes, self.ours).unwrap();
            self.sent += 1;
        }

        /// Waits for a packet full of `sound`; returns its sequence number.
        fn hear(&self, sound: u8) -> u16 {
            let mut bytes = [0; 2_048];
            loop {
                let (length, from) = self.socket.recv_from(&mut bytes).expect("the sound comes in time");
                let packet = Packet::read(&bytes[..length]).unwrap();
                if from == self.ours && packet.payload == [sound; 160] {
                    return packet.sequence;
                }
            }
        }
    }

    /// One thread that can play three packets of sound, what it tells, and the byte that the sound is made of.
    fn start() -> (MediaThreads, Receiver<Notice>, u8) {
        let mut prompts = Library::new();
        let greeting = Prompt::new(&[8_000; 160 * 3]);
        let tone = greeting.bytes(Codec::Pcma)[0];
        prompts.add(greeting);
        let (sender, told) = mpsc::channel();
        let (threads, pin, seed) = (1, true, 1);
        let settings = Settings { threads, pin, prompts: Arc::new(prompts), seed };
        let notify = move |notice| sender.send(notice).unwrap_or_default();
        let nowhere = || |_: &mut Vec<Tap>| {};
        (MediaThreads::start(&settings, notify, nowhere, |_, _| {}).unwrap(), told, tone)
    }

    #[test]
    fn a_panic_about_one_leg_closes_that_leg_and_no_other() {
        let (threads, told, tone) = start();
        let mut ports = Ports::new(&[LOOPBACK], 20_000..=29_999).unwrap();
        let struck = Phone::new(&threads, &mut ports, 901, 0x11);
        let other = Phone::new(&threads, &mut ports, 902, 0x22);
        super::super::guard::poison::put("media", u128::from(struck.leg.0));
        for phone in [&struck, &other] {
            let play = Action::Play { leg: phone.leg, play: 1, prompts: vec![PromptId(0)], repeat: false };
            phone.ask(&threads, play);
        }
        let Ok(Notice::Closed { leg, .. }) = told.recv_timeout(PATIENCE) else { panic!("its call is told") };
        assert_eq!(leg, struck.leg);
        other.hear(tone);
    }

    #[test]
    fn two_phones_hear_prompts_and_each_other() {
        let (threads, told, tone) = start();
        let nobody = threads.send(MediaThreadId(1), Message::Prompts(Arc::default()));
        assert_eq!((threads.count(), nobody), (1, Err(SendError::Gone)));
        let mut ports = Ports::new(&[LOOPBACK], 20_000..=29_999).unwrap();
        let mut citizen = Phone::new(&threads, &mut ports, 1, 0x11);
        let mut agent = Phone::new(&threads, &mut ports, 2, 0x22);

        let play = Action::Play { leg: citizen.leg, play: 7, prompts: vec![PromptId(0)], repeat: false };
        citizen.ask(&threads, play);
        let prompt = citizen.hear(tone);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Notice::Played { leg: citizen.leg, play: 7 }));

        citizen.ask(&threads, Action::Bridge { a: citizen.leg, b: agent.leg });
        for _ in 0..3 {
            citizen.speak();
            agent.speak();
            agent.hear(0x11);
            let relayed = citizen.hear(0x22);
            assert!((relayed.wrapping_sub(prompt) as i16) > 0, "one line of numbers from prompt to bridge");
        }
        citizen.ask(&threads, Action::Close { leg: citizen.leg });
        let Ok(Notice::Closed { leg, counters }) = told.recv_timeout(PATIENCE) else { panic!("no good-bye") };
        assert_eq!((leg, counters.received, counters.lost, counters.dropped), (citizen.leg, 3, 0, 0));
        drop(threads);
        let Ok(Notice::Closed { leg, counters: Counters { received: 3, .. } }) = told.recv_timeout(PATIENCE) else {
            panic!("the end of the threads closes the other leg");
        };
        assert_eq!(leg, agent.leg);
    }

    /// RTP and RTCP over one socket on each side (RFC 5761), as real packets.
    #[test]
    fn a_phone_of_one_port_reports_and_is_reported_to() {
        let (threads, told, tone) = start();
        let mut ports = Ports::new(&[LOOPBACK], 20_000..=29_999).unwrap();
        let mut phone = Phone::new(&threads, &mut ports, 3, 0x33);
        let rtp = phone.socket.local_addr().unwrap();
        let remote = Remote {
            rtp,
            rtcp: rtp,
            codec: Codec::Pcma,
            payload_type: 8,
            telephone_event: Some(101),
            direction: Direction::SendRecv,
            ptime_ms: 20,
        };
        phone.ask(&threads, Action::Connect { leg: phone.leg, remote });
        phone.ask(&threads, Action::Play { leg: phone.leg, play: 1, prompts: vec![PromptId(0)], repeat: true });
        phone.speak();
        phone.hear(tone);
        let mut bytes = [0; 2_048];
        let length = phone.socket.recv(&mut bytes).unwrap();
        let ssrc = Packet::read(&bytes[..length]).unwrap().ssrc;
        let block = ReportBlock { ssrc, fraction_lost: 0, lost: 1, highest: 9, jitter: 8, last_sr: 0, delay: 0 };
        let mut report = Vec::new();
        write_report(&mut report, 0x33, None, Some(block));
        phone.socket.send_to(&report, phone.ours).unwrap();
        // A digit behind it tells when it was read.
        let mut digit = Vec::new();
        Header { marker: true, payload_type: 101, sequence: 1, timestamp: 160, ssrc: 0x33 }.write(&mut digit);
        digit.extend([5, 10, 0, 160]);
        phone.socket.send_to(&digit, phone.ours).unwrap();
        while told.recv_timeout(PATIENCE) != Ok(Notice::Digit { leg: phone.leg, digit: b'5' }) {}
        phone.ask(&threads, Action::Close { leg: phone.leg });
        let counters = loop {
            match told.recv_timeout(PATIENCE).expect("it closes") {
                Notice::Closed { counters, .. } => break counters,
                Notice::Played { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        let farewell = (0..1_000).find_map(|_| {
            let (length, from) = phone.socket.recv_from(&mut bytes).expect("a good-bye comes");
            (matches!(bytes[1], 200 | 201) && bytes[..length].windows(2).any(|at| at == [0x81, 203])).then_some(from)
        });
        assert_eq!(farewell, Some(phone.ours), "from the port of RTP");
        assert_eq!((counters.dropped, counters.far_jitter_us), (0, 1_000), "{counters:?}");
    }

    #[test]
    fn taps_wait_four_ticks_for_the_recorder_unless_they_are_many() {
        let (sender, given) = mpsc::channel();
        let mut worker = Worker {
            plane: Plane::new(Arc::default(), 1),
            sockets: Sockets::new(1).unwrap(),
            sink: Sink::new(),
            notices: drop::<Notice>,
            taps: move |taps: &mut Vec<Tap>| sender.send(taps.drain(..).len()).unwrap(),
            marks: |_| {},
            ticks: 0,
            buffer: Box::new([0; PACKET_BYTES_MAX]),
            figures: Figures::default(),
            told: Arc::default(),
            failed: Alarm::default(),
        };
        let (leg, recording, at) = (LegId::incoming(ShardId(1), 1), RecordingId(1), Mono(0));
        let mut ports = Ports::new(&[LOOPBACK], 30_000..=39_999).unwrap();
        worker.take(Message::Open { leg, pair: ports.open(clock::now().mono, Some(LOOPBACK)).unwrap() });
        let (channel, codec, payload) = (Channel::Citizen, Codec::Pcma, Bytes::new());
        let sound = Tap::Audio(Audio { recording, channel, at, ssrc: 1, sequence: 1, timestamp: 1, codec, payload });
        let mut tick = |taps: &[Tap]| {
            worker.sink.taps.extend_from_slice(taps);
            worker.hand_over();
            given.try_iter().collect::<Vec<_>>()
        };
        let one = std::slice::from_ref(&sound);
        assert_eq!([one, one, &[], one].map(&mut tick), [vec![], vec![], vec![], vec![3]]);
        assert_eq!([one, &vec![sound.clone(); TAPS_MAX]].map(&mut tick), [vec![], vec![TAPS_MAX + 1]]);
        assert_eq!([0; 4].map(|_| tick(&[])), [vec![], vec![], vec![], vec![0]], "also none, for what found no room");
        worker.sockets.close(leg);
        worker.sink.taps.push(sound);
        worker.hand_over();
        assert_eq!(given.try_recv(), Ok(1), "without legs ticks are long");
    }
}
