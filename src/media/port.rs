//! One leg: whom it believes, what it hears, what it sends.
//!
//! Sends on one [`Line`] for its whole life: prompts, silence to keep translators and the phone's own watch content, or
//! what its peer says. Knows nothing of other legs but that it has a peer; the plane brings the two together.

use super::bridge::Relay;
use super::dtmf::keys::Keys;
use super::dtmf::listen::Listener;
use super::dtmf::{Key, Way};
use super::emodel::Rating;
use super::event::{Counters, Digits, Mark, Notice, Remote};
use super::g711::SAMPLES_PER_MS;
use super::latch::Latch;
use super::pace::Pace;
use super::player::Player;
use super::prompt::Library;
use super::quality::Quality;
use super::rtcp::{Control, ReportBlock, Sent};
use super::rtp::Line;
use super::sink::{Kind, Sink};
use super::tone::Tone;
use super::watch::Watch;
use crate::base::{LegId, Mono, Now, PromptId};
use crate::sdp::Direction;
use std::net::SocketAddr;
use std::time::Duration;

/// Bounds of [`Remote::ptime_ms`]; others are brought within.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;
/// Samples of the longest packet of ours.
const PACKET_SAMPLES_MAX: usize = *PTIME_MS.end() as usize * SAMPLES_PER_MS as usize;

/// A leg.
#[derive(Clone, Debug)]
pub struct Port {
    leg: LegId,
    remote: Option<Remote>,
    rtp: Latch,
    rtcp: Latch,
    line: Line,
    pace: Option<Pace>,
    player: Option<Player>,
    /// Music that was interrupted, at its place.
    music: Option<Player>,
    /// Whom it hears.
    pub(super) link: Link,
    relay: Relay,
    /// Where the last packet of a known kind came from.
    source: Option<SocketAddr>,
    /// Laid over the SSRCs of what comes: another for each address heard. Whoever speaks from elsewhere has numbers and
    /// stamps of their own, also under an SSRC that was heard before.
    epoch: u32,
    /// Source and end of the newest sound that came.
    newest: Option<(u32, u32)>,
    /// What a conference said and no packet was full of yet.
    pending: Vec<i16>,
    /// What is played is taken from here.
    played: Vec<u8>,
    digits: Listener,
    /// What the last packet told of digits.
    news: Vec<Key>,
    /// Digits on their way out.
    keys: Keys,
    /// Whether digits are kept out of the recording.
    hides_digits: bool,
    /// The next frame of a conference joins on what was sent before.
    joins: bool,
    quality: Quality,
    control: Control,
    watch: Watch,
    recording: Option<Recording>,
    received: u64,
    sent: u64,
    octets: u64,
    dropped: u64,
}

/// Whom a leg hears. Others are known by their slots in the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nobody but us.
    Alone,
    /// This leg, whose packets are relayed.
    Bridge(u32),
    /// The parties of this conference.
    Conference(u32),
}

/// Whether a leg of this direction may send.
fn sends(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::SendOnly => true,
        Direction::RecvOnly | Direction::Inactive => false,
    }
}

fn period_of(remote: &Remote) -> Duration {
    Duration::from_millis(u64::from(remote.ptime_ms.clamp(*PTIME_MS.start(), *PTIME_MS.end())))
}

fn way_of(remote: &Remote) -> Way {
    remote.telephone_event.map_or(Way::Tones, Way::Events)
}

mod receive;
mod send;
mod tap;

pub use receive::Heard;
use tap::Recording;

impl Port {
    /// A leg with a port and nobody at the other end.
    pub fn new(leg: LegId, seed: u64, now: Now) -> Port {
        Port {
            leg,
            remote: None,
            rtp: Latch::default(),
            rtcp: Latch::default(),
            line: Line::new(seed, now.mono),
            pace: None,
            player: None,
            music: None,
            link: Link::Alone,
            relay: Relay::new(now.mono),
            source: None,
            epoch: 0,
            newest: None,
            pending: Vec::new(),
            played: Vec::new(),
            digits: Listener::default(),
            news: Vec::new(),
            keys: Keys::default(),
            hides_digits: false,
            joins: false,
            quality: Quality::default(),
            control: Control::new(seed, now),
            watch: Watch::new(now.mono),
            recording: None,
            received: 0,
            sent: 0,
            octets: 0,
            dropped: 0,
        }
    }

    /// A leg of a process that died, as it goes on.
    pub fn reopened(leg: LegId, (seed, opened): (u64, Now), mark: Option<Mark>, now: Now) -> Port {
        let known = mark.map_or((opened.mono, None), |mark| (mark.at, Some(mark.sequence)));
        Port {
            line: Line::reopen(seed, opened.mono, known, now.mono),
            control: Control::new(seed, opened),
            ..Port::new(leg, seed, now)
        }
    }

    /// Packets came from there before, under the present description.
    pub fn believed(&mut self, mark: &Mark) {
        mark.rtp.into_iter().for_each(|from| self.rtp.resume(from));
        mark.rtcp.into_iter().for_each(|from| self.rtcp.resume(from));
    }

    /// How far it has come.
    pub fn mark(&self, at: Mono) -> Mark {
        Mark { at, sequence: self.line.next_sequence(), rtp: self.rtp.held(), rtcp: self.rtcp.held() }
    }

    /// Its name.
    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// Whether a prompt or music is set.
    pub fn plays(&self) -> bool {
        self.player.is_some()
    }

    /// The figures of now.
    pub fn counters(&self) -> Counters {
        let (far, trip) = self.far();
        let far_lost = far.map_or(0, |block| u64::try_from(block.lost).unwrap_or(0).min(self.sent));
        let lost = self.quality.lost();
        let mos = |lost: u64, of: u64| {
            let loss = lost as f64 / of.max(1) as f64;
            (Rating::new(loss, true, trip.unwrap_or_default() / 2).mos() * 100.0).round() as u16
        };
        Counters {
            received: self.received,
            sent: self.sent,
            lost,
            jitter_us: self.quality.jitter_us(),
            dropped: self.dropped,
            far_lost,
            far_jitter_us: far.map_or(0, |block| block.jitter.saturating_mul(1_000 / SAMPLES_PER_MS)),
            round_trip_us: trip.map(|trip| u32::try_from(trip.as_micros()).unwrap_or(u32::MAX)),
            mos_received: (self.received > 0).then(|| mos(lost, lost + self.received)),
            mos_sent: far.filter(|_| self.sent > 0).map(|_| mos(far_lost, self.sent)),
        }
    }

    /// What the other side reported of our packets, and the round trip.
    pub fn far(&self) -> (Option<ReportBlock>, Option<Duration>) {
        (self.control.far(), self.control.round_trip())
    }

    /// The next instant at which [`Port::tick`] has something to do.
    pub fn deadline(&self) -> Mono {
        let pace = self.pace.as_ref().map(Pace::next);
        [pace, self.control.deadline(), self.watch.deadline()].into_iter().flatten().min().unwrap_or(Mono(u64::MAX))
    }

    /// The other side is known or has changed. `stagger` spreads legs over time. True if digits that were to be sent
    /// will not be.
    pub fn connect(&mut self, now: Mono, remote: Remote, stagger: usize) -> bool {
        self.rtp.name(remote.rtp);
        match remote.is_muxed() {
            // It has no port of its own: nothing is believed there.
            true => self.rtcp = Latch::default(),
            false => self.rtcp.name(remote.rtcp),
        }
        if self.remote == Some(remote) {
            // A refreshed session: nothing but the latch begins anew.
            return false;
        }
        self.watch.expect(now, remote.direction == Direction::SendRecv);
        if self.remote.as_ref().map(way_of) != Some(way_of(&remote)) {
            self.digits = Listener::new(way_of(&remote));
        }
        let period = period_of(&remote);
        let pace = self.pace.take().filter(|pace| pace.period() == period);
        if sends(remote.direction) && !matches!(self.link, Link::Conference(_)) {
            self.pace = pace.or_else(|| {
                self.line.interrupt();
                Some(Pace::start(now, period, stagger))
            });
        }
        self.remote = Some(remote);
        // Who is held hears no digits, and none that were meant for before.
        !sends(remote.direction) && self.keys.clear()
    }

    /// Plays `prompts` from now on, or after the bridge.
    pub fn play(&mut self, library: &Library, play: u32, prompts: Vec<PromptId>, repeat: bool) {
        self.stop();
        let kept = self.music.take_if(|music| repeat && music.is_music_of(&prompts));
        self.player = Some(match kept {
            Some(music) => music.again(play),
            None => Player::new(library, play, prompts, repeat),
        });
    }

    /// Silence. Music keeps its place.
    pub fn stop(&mut self) {
        self.music = self.player.take().filter(Player::repeats).or(self.music.take());
    }

    /// A tone from now on, as with [`Port::play`].
    pub fn play_tone(&mut self, play: u32, tone: Tone, repeat: bool) {
        self.stop();
        self.player = Some(Player::tone(play, tone, repeat));
    }

    /// Joins the leg in `slot`.
    pub fn join(&mut self, now: Mono, slot: u32) {
        self.stop();
        self.link = Link::Bridge(slot);
        self.relay = Relay::new(now);
    }

    /// Joins the leg in `slot`, whose sound was heard up to its newest packet: it goes on without a seam.
    pub fn join_on(&mut self, now: Mono, slot: u32, own: usize) {
        self.link = Link::Bridge(slot);
        self.relay = Relay::joining(now);
        self.start_pace(now, own);
    }

    /// Joins a conference, which asks it to speak from now on. Prompts go on.
    pub fn confer(&mut self, room: u32) {
        self.link = Link::Conference(room);
        self.pace = None;
        self.joins = true;
    }

    /// Leaves its peer, or its conference.
    pub fn leave(&mut self, now: Mono, own: usize) {
        if let Link::Conference(_) = self.link {
            self.start_pace(now, own);
        }
        self.link = Link::Alone;
        self.line.interrupt();
    }

    /// Source and end of the newest sound of it that its peer was sent, if it has one.
    pub fn heard(&self) -> Option<(u32, u32)> {
        self.newest.filter(|_| matches!(self.link, Link::Bridge(_)))
    }

    fn start_pace(&mut self, now: Mono, stagger: usize) {
        self.pending.clear();
        let sending = self.remote.filter(|remote| sends(remote.direction));
        self.pace = sending.map(|remote| Pace::start(now, period_of(&remote), stagger));
    }

    /// Says good-bye and gives the last figures.
    pub fn close(mut self, now: Now, out: &mut Sink) {
        self.stop_recording(now, out);
        // RFC 3550 §6.3.7: who never sent anything says no BYE.
        if let Some((kind, to)) = self.control_way()
            && (self.sent > 0 || self.control.reports() > 0)
        {
            let (sent, block) = (self.sent_by(now.mono), self.reception());
            out.datagram(self.leg, kind, to, |bytes| self.control.bye(now.mono, sent, block, bytes));
        }
        out.notices.push(Notice::Closed { leg: self.leg, counters: self.counters() });
    }

    /// Passes on a digit of the peer.
    pub fn follow(&mut self, key: Key) {
        self.keys.follow(key);
    }

    /// Presses keys.
    pub fn send_digits(&mut self, digits: &Digits) {
        let (codes, on_ms, off_ms) = digits.presses();
        self.keys.press(codes.iter().copied(), on_ms, off_ms);
    }

    /// Keeps digits out of the recording, or no more.
    pub fn hide_digits(&mut self, hide: bool) {
        self.hides_digits = hide;
    }

    fn report(&mut self, now: Mono, out: &mut Sink) {
        let Some((kind, to)) = self.control_way() else { return };
        let (sent, block) = (self.sent_by(now), self.reception());
        out.datagram(self.leg, kind, to, |bytes| self.control.report(now, sent, block, bytes));
    }

    /// The block about what comes, under the SSRC that the other side knows.
    fn reception(&mut self) -> Option<ReportBlock> {
        let block = self.quality.report()?;
        Some(ReportBlock { ssrc: block.ssrc ^ self.epoch, ..block })
    }

    fn is_muxed(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_muxed)
    }

    /// From which port RTCP goes where.
    fn control_way(&self) -> Option<(Kind, SocketAddr)> {
        let (kind, latch) = if self.is_muxed() { (Kind::Rtp, &self.rtp) } else { (Kind::Rtcp, &self.rtcp) };
        Some((kind, latch.destination()?))
    }

    fn sent_by(&self, now: Mono) -> Sent {
        Sent { ssrc: self.line.ssrc(), timestamp: self.line.timestamp_at(now), packets: self.sent, octets: self.octets }
    }

    fn count(&mut self, now: Mono, octets: usize) {
        self.sent += 1;
        self.octets += octets as u64;
        self.control.flow(now);
    }

    /// RTP came.
    fn sound(&mut self, now: Mono, out: &mut Sink) {
        self.hear(now, out);
        if self.watch.sound(now) {
            out.notices.push(Notice::Sounds { leg: self.leg });
        }
    }

    fn hear(&mut self, now: Mono, out: &mut Sink) {
        if self.watch.hear(now) {
            out.notices.push(Notice::Heard { leg: self.leg });
        }
    }
}
