//! One leg: whom it believes, what it hears, what it sends.
//!
//! Sends on one [`Line`] for its whole life: prompts, silence to keep translators and the phone's own watch content, or
//! what its peer says. Knows nothing of other legs but that it has a peer; the plane brings the two together.

use super::bridge::Relay;
use super::dtmf;
use super::event::{Audio, Channel, Counters, Mark, Notice, RecordingStart, Remote, Tap};
use super::g711::{Laws, SAMPLES_PER_MS, silence};
use super::latch::Latch;
use super::pace::{Pace, Turn};
use super::player::Player;
use super::prompt::Library;
use super::quality::{Arrival, Quality};
use super::rtcp::{Compound, Control, ReportBlock, Sent};
use super::rtp::{HEADER_LEN, Header, Line, Packet};
use super::sink::{Kind, Sink};
use super::watch::Watch;
use crate::base::{LegId, Mono, Now, PromptId, RecordingId};
use crate::sdp::{Codec, Direction};
use bytes::Bytes;
use std::time::Duration;

/// Bounds of [`Remote::ptime_ms`]; others are brought within.
const PTIME_MS: std::ops::RangeInclusive<u8> = 10..=60;

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
    /// Slot of the leg it is bridged with.
    pub(super) peer: Option<u32>,
    relay: Relay,
    digits: dtmf::Receiver,
    quality: Quality,
    control: Control,
    watch: Watch,
    recording: Option<RecordingId>,
    received: u64,
    sent: u64,
    octets: u64,
    dropped: u64,
}

/// What a believed packet carries for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    packet: Packet<'a>,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Sound(Codec),
    Event,
    /// A payload type that was not negotiated.
    Unknown,
}

/// Whether a leg of this direction may send.
fn sends(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::SendOnly => true,
        Direction::RecvOnly | Direction::Inactive => false,
    }
}

/// Whether what it hears counts.
fn receives(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::RecvOnly => true,
        Direction::SendOnly | Direction::Inactive => false,
    }
}

/// A tap of one packet; `line` is its SSRC, sequence number and time stamp.
fn audio(
    recording: RecordingId,
    channel: Channel,
    at: Mono,
    line: (u32, u16, u32),
    codec: Codec,
    payload: Bytes,
) -> Tap {
    let (ssrc, sequence, timestamp) = line;
    Tap::Audio(Audio { recording, channel, at, ssrc, sequence, timestamp, codec, payload })
}

impl Content {
    fn of(remote: &Remote, packet: &Packet<'_>) -> Content {
        if packet.payload_type == remote.payload_type {
            Content::Sound(remote.codec)
        } else if Some(packet.payload_type) == remote.telephone_event {
            Content::Event
        } else {
            Content::Unknown
        }
    }
}

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
            peer: None,
            relay: Relay::new(now.mono),
            digits: dtmf::Receiver::default(),
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

    /// What is being recorded through it.
    pub fn recording(&self) -> Option<RecordingId> {
        self.recording
    }

    /// Whether a prompt or music is set.
    pub fn plays(&self) -> bool {
        self.player.is_some()
    }

    /// The figures of now.
    pub fn counters(&self) -> Counters {
        Counters {
            received: self.received,
            sent: self.sent,
            lost: self.quality.lost(),
            jitter_us: self.quality.jitter_us(),
            dropped: self.dropped,
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

    /// The other side is known or has changed. `stagger` spreads legs over time.
    pub fn connect(&mut self, now: Mono, remote: Remote, stagger: usize) {
        self.rtp.name(remote.rtp);
        self.rtcp.name(remote.rtcp);
        if self.remote == Some(remote) {
            // A refreshed session: nothing but the latch begins anew.
            return;
        }
        self.watch.expect(now, remote.direction == Direction::SendRecv);
        let period = Duration::from_millis(u64::from(remote.ptime_ms.clamp(*PTIME_MS.start(), *PTIME_MS.end())));
        let pace = self.pace.take().filter(|pace| pace.period() == period);
        if sends(remote.direction) {
            self.pace = pace.or_else(|| {
                self.line.interrupt();
                Some(Pace::start(now, period, stagger))
            });
        }
        self.remote = Some(remote);
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

    /// Joins the leg in `slot`.
    pub fn join(&mut self, now: Mono, slot: u32) {
        self.stop();
        self.peer = Some(slot);
        self.relay = Relay::new(now);
    }

    /// Leaves its peer.
    pub fn leave(&mut self) {
        self.peer = None;
        self.line.interrupt();
    }

    /// Begins a recording of what comes and what is sent; one that ran is finished first.
    pub fn record(&mut self, now: Now, start: RecordingStart, out: &mut Sink) {
        self.stop_recording(now, out);
        self.recording = Some(start.recording);
        out.taps.push(Tap::Start(start));
    }

    /// Ends the recording, if there is one.
    pub fn stop_recording(&mut self, now: Now, out: &mut Sink) {
        if let Some(recording) = self.recording.take() {
            out.taps.push(Tap::Finish { recording, at: now.mono });
        }
    }

    /// Says good-bye and gives the last figures.
    pub fn close(mut self, now: Now, out: &mut Sink) {
        self.stop_recording(now, out);
        // RFC 3550 §6.3.7: who never sent anything says no BYE.
        if let Some(to) = self.rtcp.destination()
            && (self.sent > 0 || self.control.reports() > 0)
        {
            let (sent, block) = (self.sent_by(now.mono), self.quality.report());
            out.datagram(self.leg, Kind::Rtcp, to, |bytes| self.control.bye(now.mono, sent, block, bytes));
        }
        out.notices.push(Notice::Closed { leg: self.leg, counters: self.counters() });
    }

    /// A datagram came to the RTP port. Returns what the peer is to hear of it.
    pub fn receive<'a>(
        &mut self,
        now: Now,
        from: std::net::SocketAddr,
        bytes: &'a [u8],
        out: &mut Sink,
    ) -> Option<Heard<'a>> {
        let heard = self.believe(now, from, bytes, out);
        self.dropped += u64::from(heard.is_none());
        let (heard, arrival) = heard?;
        let remote = self.remote?;
        if heard.content == Content::Unknown {
            self.dropped += 1;
            return Some(heard);
        }
        self.received += 1;
        if !receives(remote.direction) || arrival == Arrival::Duplicate {
            return None;
        }
        match heard.content {
            Content::Sound(codec) => self.tap_received(now, &heard.packet, codec, out),
            Content::Event => {
                let leg = self.leg;
                let tell = |digit| out.notices.push(Notice::Digit { leg, digit });
                self.digits.receive(heard.packet.timestamp, heard.packet.payload, tell);
            }
            Content::Unknown => {}
        }
        Some(heard)
    }

    /// Whether the packet is one, comes from where it should and belongs to the source's line of numbers.
    fn believe<'a>(
        &mut self,
        now: Now,
        from: std::net::SocketAddr,
        bytes: &'a [u8],
        out: &mut Sink,
    ) -> Option<(Heard<'a>, Arrival)> {
        let remote = self.remote?;
        let packet = Packet::read(bytes).ok().filter(|packet| !packet.payload.is_empty())?;
        let content = Content::of(&remote, &packet);
        if !self.rtp.admits(from, content != Content::Unknown) {
            return None;
        }
        self.hear(now.mono, out);
        self.control.flow(now.mono);
        let stamp = matches!(content, Content::Sound(_)).then_some(packet.timestamp);
        let arrival = self.quality.arrive(now.mono, packet.ssrc, packet.sequence, stamp);
        match arrival {
            Arrival::First => self.digits = dtmf::Receiver::default(),
            Arrival::Next | Arrival::Late | Arrival::Duplicate => {}
            Arrival::Stray => return None,
        }
        Some((Heard { packet, content }, arrival))
    }

    /// A datagram came to the RTCP port.
    pub fn receive_control(&mut self, now: Now, from: std::net::SocketAddr, bytes: &[u8], out: &mut Sink) {
        let Ok(compound) = Compound::read(bytes, self.line.ssrc()) else {
            self.dropped += 1;
            return;
        };
        if !self.rtcp.admits(from, true) {
            self.dropped += 1;
            return;
        }
        self.hear(now.mono, out);
        self.control.hear(now.mono, &compound);
    }

    /// Sends what the peer heard.
    pub fn relay(&mut self, now: Now, heard: &Heard<'_>, laws: &Laws, out: &mut Sink) {
        let Some(remote) = self.remote.filter(|remote| sends(remote.direction)) else {
            return;
        };
        let Some(to) = self.rtp.destination() else { return };
        let packet = &heard.packet;
        let (codec, samples, payload_type) = match (heard.content, remote.telephone_event) {
            (Content::Sound(codec), _) => (codec, Some(packet.payload.len() as u32), remote.payload_type),
            (Content::Event, Some(payload_type)) => (remote.codec, None, payload_type),
            (Content::Event, None) | (Content::Unknown, _) => return self.relay.withhold(packet),
        };
        let Some(header) = self.relay.pass(now.mono, packet, samples, payload_type, &mut self.line) else {
            return;
        };
        let (_, bytes) = out.datagram(self.leg, Kind::Rtp, to, |bytes| {
            header.write(bytes);
            // Events travel as they are: `codec` is then the listener's own.
            laws.transcode(codec, remote.codec, packet.payload, bytes);
        });
        let octets = bytes.len() - HEADER_LEN;
        self.count(now.mono, octets);
        if samples.is_some() {
            self.tap_sent(now.mono, &header, remote.codec, out);
        }
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Now, out: &mut Sink) {
        while let Some(turn) = self.pace.as_mut().and_then(|pace| pace.take(now.mono)) {
            self.take_turn(turn, out);
        }
        if self.control.deadline().is_some_and(|due| due <= now.mono) {
            self.report(now.mono, out);
        }
        if let Some(silent) = self.watch.look(now.mono) {
            out.notices.push(Notice::Quiet { leg: self.leg, silent });
        }
    }

    /// One packet of our own: prompt, music or silence, unless the peer is speaking.
    fn take_turn(&mut self, turn: Turn, out: &mut Sink) {
        let (Some(remote), Some(to)) = (self.remote, self.rtp.destination()) else {
            return;
        };
        if self.peer.is_some() && !self.relay.starves(turn.at) {
            return;
        }
        if turn.skipped {
            self.line.interrupt();
        }
        let period_ms = self.pace.as_ref().map_or(0, |pace| pace.period().as_millis());
        let samples = SAMPLES_PER_MS as usize * period_ms as usize;
        let player = self.player.as_mut().filter(|_| self.peer.is_none());
        let sounding = player.is_some();
        let header = self.line.next(turn.at, samples as u32, remote.payload_type);
        let (finished, _) = out.datagram(self.leg, Kind::Rtp, to, |bytes| {
            header.write(bytes);
            match player {
                Some(player) => player.fill(remote.codec, samples, bytes),
                None => {
                    bytes.resize(bytes.len() + samples, silence(remote.codec));
                    false
                }
            }
        });
        if sounding {
            self.tap_sent(turn.at, &header, remote.codec, out);
        }
        self.count(turn.at, samples);
        if finished && let Some(player) = self.player.take() {
            out.notices.push(Notice::Played { leg: self.leg, play: player.play() });
        }
    }

    fn tap_received(&self, now: Now, packet: &Packet<'_>, codec: Codec, out: &mut Sink) {
        if let Some(recording) = self.recording {
            let line = (packet.ssrc, packet.sequence, packet.timestamp);
            let payload = out.keep(packet.payload);
            out.taps.push(audio(recording, Channel::Citizen, now.mono, line, codec, payload));
        }
    }

    /// Taps the datagram that was just added.
    fn tap_sent(&self, at: Mono, header: &Header, codec: Codec, out: &mut Sink) {
        if let Some(recording) = self.recording {
            let line = (header.ssrc, header.sequence, header.timestamp);
            let payload = out.keep_last(HEADER_LEN);
            out.taps.push(audio(recording, Channel::Others, at, line, codec, payload));
        }
    }

    fn report(&mut self, now: Mono, out: &mut Sink) {
        let Some(to) = self.rtcp.destination() else { return };
        let (sent, block) = (self.sent_by(now), self.quality.report());
        out.datagram(self.leg, Kind::Rtcp, to, |bytes| self.control.report(now, sent, block, bytes));
    }

    fn sent_by(&self, now: Mono) -> Sent {
        Sent { ssrc: self.line.ssrc(), timestamp: self.line.timestamp_at(now), packets: self.sent, octets: self.octets }
    }

    fn count(&mut self, now: Mono, octets: usize) {
        self.sent += 1;
        self.octets += octets as u64;
        self.control.flow(now);
    }

    fn hear(&mut self, now: Mono, out: &mut Sink) {
        if self.watch.hear(now) {
            out.notices.push(Notice::Heard { leg: self.leg });
        }
    }
}
