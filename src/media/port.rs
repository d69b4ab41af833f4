//! One leg: whom it believes, what it hears, what it sends.
//!
//! Sends on one [`Line`] for its whole life: prompts, silence to keep translators and the phone's own watch content, or
//! what its peer says. Knows nothing of other legs but that it has a peer; the plane brings the two together.

use super::bridge::Relay;
use super::conference::both;
use super::dtmf::keys::{EventPacket, Keys, Turn as KeyTurn};
use super::dtmf::listen::Listener;
use super::dtmf::{Key, Way, symbol};
use super::emodel::Rating;
use super::event::{Audio, Channel, Counters, Digits, Hidden, Mark, Notice, Reason, RecordingStart, Remote, Tap};
use super::g711::{Laws, SAMPLES_PER_MS, decode_into, encode_onto, silence};
use super::latch::Latch;
use super::pace::{Pace, Turn};
use super::player::Player;
use super::playout::FRAME;
use super::prompt::Library;
use super::quality::{Arrival, Quality};
use super::rtcp::{Compound, Control, ReportBlock, Sent};
use super::rtp::{HEADER_LEN, Line, Packet};
use super::sink::{Kind, Sink};
use super::tone::Tone;
use super::watch::Watch;
use crate::base::{LegId, Mono, Now, PromptId, RecordingId};
use crate::sdp::{Codec, Direction};
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

/// A recording that runs through a leg.
#[derive(Clone, Copy, Debug)]
struct Recording {
    id: RecordingId,
    paused: bool,
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

fn period_of(remote: &Remote) -> Duration {
    Duration::from_millis(u64::from(remote.ptime_ms.clamp(*PTIME_MS.start(), *PTIME_MS.end())))
}

fn way_of(remote: &Remote) -> Way {
    remote.telephone_event.map_or(Way::Tones, Way::Events)
}

/// A tap of one packet; `line` is its SSRC, sequence number and time stamp.
fn audio(
    recording: RecordingId,
    channel: Channel,
    at: Mono,
    line: (u32, u16, u32),
    codec: Codec,
    payload: &[u8],
) -> Tap {
    let (ssrc, sequence, timestamp) = line;
    let payload = payload.to_vec();
    Tap::Audio(Audio { recording, channel, at, ssrc, sequence, timestamp, codec, payload })
}

/// What becomes of a packet of ours in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// It is silence.
    No,
    Yes,
    /// Its place is marked.
    Hidden,
}

impl Heard<'_> {
    /// The packet, if it is sound.
    pub fn sound(&self) -> Option<(Codec, &Packet<'_>)> {
        match self.content {
            Content::Sound(codec) => Some((codec, &self.packet)),
            Content::Event | Content::Unknown => None,
        }
    }
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
            link: Link::Alone,
            relay: Relay::new(now.mono),
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

    /// What is being recorded through it.
    pub fn recording(&self) -> Option<RecordingId> {
        self.recording.map(|recording| recording.id)
    }

    /// The recording that sound is kept for now.
    fn keeps(&self) -> Option<RecordingId> {
        self.recording.filter(|recording| !recording.paused).map(|recording| recording.id)
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
        self.rtcp.name(remote.rtcp);
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

    /// Begins a recording of what comes and what is sent; one that ran is finished first.
    pub fn record(&mut self, now: Now, start: RecordingStart, out: &mut Sink) {
        self.stop_recording(now, out);
        self.recording = Some(Recording { id: start.recording, paused: false });
        out.taps.push(Tap::Start(start));
    }

    /// Ends the recording, if there is one.
    pub fn stop_recording(&mut self, now: Now, out: &mut Sink) {
        if let Some(Recording { id: recording, .. }) = self.recording.take() {
            out.taps.push(Tap::Finish { recording, at: now.mono });
        }
    }

    /// Keeps nothing from now on, if anything is recorded and kept.
    pub fn pause_recording(&mut self, at: Mono, reason: Reason, out: &mut Sink) {
        if let Some(recording @ Recording { paused: false, .. }) = &mut self.recording {
            recording.paused = true;
            out.taps.push(Tap::Pause { recording: recording.id, at, reason });
        }
    }

    /// Keeps sound again.
    pub fn resume_recording(&mut self, at: Mono, out: &mut Sink) {
        if let Some(recording @ Recording { paused: true, .. }) = &mut self.recording {
            recording.paused = false;
            out.taps.push(Tap::Resume { recording: recording.id, at });
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
        self.news.clear();
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
            Content::Sound(codec) => {
                let (packet, end) =
                    (&heard.packet, heard.packet.timestamp.wrapping_add(heard.packet.payload.len() as u32));
                if self.newest.is_none_or(|(ssrc, before)| ssrc != packet.ssrc || end.wrapping_sub(before) as i32 > 0) {
                    self.newest = Some((packet.ssrc, end));
                }
                self.tap_received(now, packet, codec, out);
            }
            Content::Event | Content::Unknown => {}
        }
        self.hear_digits(now.mono, &heard, out);
        Some(heard)
    }

    /// Tells of digits that begin in this packet and keeps them for the peer.
    fn hear_digits(&mut self, at: Mono, heard: &Heard<'_>, out: &mut Sink) {
        let (packet, news) = (&heard.packet, &mut self.news);
        let span = match heard.content {
            Content::Sound(codec) => self.digits.sound(packet.timestamp, codec, packet.payload, |key| news.push(key)),
            Content::Event => self.digits.event(packet.timestamp, packet.payload, |key| news.push(key)),
            Content::Unknown => None,
        };
        let began = self.news.iter().filter_map(|key| match key {
            Key::Down { code } => symbol(*code),
            Key::Held { .. } | Key::Up { .. } => None,
        });
        out.notices.extend(began.map(|digit| Notice::Digit { leg: self.leg, digit }));
        if let Some((span, recording)) = span.zip(self.keeps().filter(|_| self.hides_digits)) {
            let (from, to, ssrc, channel) = (span.from, span.to, packet.ssrc, Channel::Citizen);
            out.taps.push(Tap::Hide(Hidden { recording, channel, at, ssrc, from, to }));
        }
    }

    /// What the last packet told of digits that `peer` must be told in its own way.
    pub fn news_for(&self, peer: &Port) -> &[Key] {
        let ways = (self.remote.as_ref().map(way_of), peer.remote.as_ref().map(way_of));
        match ways {
            (Some(Way::Events(_)), Some(Way::Tones)) | (Some(Way::Tones), Some(Way::Events(_))) => &self.news,
            (Some(_) | None, Some(_) | None) => &[],
        }
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
            Arrival::First => self.digits = Listener::new(way_of(&remote)),
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
        if self.keys.busy() {
            return self.relay.interrupt(now.mono);
        }
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
        let payload = &bytes[HEADER_LEN..];
        let sounding = samples.is_some();
        let tap = self.keeps().filter(|_| sounding).map(|recording| {
            let line = (header.ssrc, header.sequence, header.timestamp);
            audio(recording, Channel::Others, now.mono, line, remote.codec, payload)
        });
        self.count(now.mono, payload.len());
        out.taps.extend(tap);
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

    /// One packet of our own: digits, prompt, music or silence, unless the peer is speaking.
    fn take_turn(&mut self, turn: Turn, out: &mut Sink) {
        let Some(remote) = self.remote else { return };
        if self.rtp.destination().is_none() {
            return;
        }
        let (samples, bridged) = (self.samples_a_turn(), matches!(self.link, Link::Bridge(_)));
        if self.keys.busy() {
            return self.press(turn, samples, &remote, out);
        }
        if bridged && !self.relay.starves(turn.at) {
            return;
        }
        match self.player.take_if(|_| !bridged) {
            Some(mut player) => {
                let finished =
                    self.say(turn, samples, Kept::Yes, out, |codec, bytes| player.fill(codec, samples, bytes));
                if finished {
                    out.notices.push(Notice::Played { leg: self.leg, play: player.play() });
                } else {
                    self.player = Some(player);
                }
            }
            None => self.say_nothing(turn, samples, out),
        }
    }

    /// One packet of digits.
    fn press(&mut self, turn: Turn, samples: usize, remote: &Remote, out: &mut Sink) {
        self.relay.interrupt(turn.at);
        let told = match way_of(remote) {
            Way::Events(payload_type) => {
                let (sent, told) = self.keys.event(self.line.resume(turn.at), samples as u32);
                match sent {
                    KeyTurn::Event(event) => self.say_event(turn.at, payload_type, &event, out),
                    KeyTurn::Silence => self.say_nothing(turn, samples, out),
                }
                told
            }
            Way::Tones => {
                let mut sound = [0; PACKET_SAMPLES_MAX];
                let told = self.keys.tones(&mut sound[..samples]);
                let kept = if self.hides_digits { Kept::Hidden } else { Kept::Yes };
                self.say(turn, samples, kept, out, |codec, bytes| encode_onto(codec, &sound[..samples], bytes));
                told
            }
        };
        if told {
            out.notices.push(Notice::DigitsSent { leg: self.leg });
        }
    }

    /// One frame of a conference, with what is played besides.
    pub fn speak(&mut self, turn: Turn, frame: &mut [i16; FRAME], mut heard: bool, out: &mut Sink) {
        let Some(remote) = self.remote.filter(|remote| sends(remote.direction)) else {
            return self.pending.clear();
        };
        if std::mem::take(&mut self.joins) {
            self.line.join_on(turn.at);
        }
        if let Some(mut player) = self.player.take() {
            self.played.clear();
            let finished = player.fill(remote.codec, FRAME, &mut self.played);
            let mut sound = [0; FRAME];
            decode_into(remote.codec, &self.played, &mut sound);
            frame.iter_mut().zip(&sound).for_each(|(out, &played)| *out = both(*out, played));
            heard = true;
            if finished {
                out.notices.push(Notice::Played { leg: self.leg, play: player.play() });
            } else {
                self.player = Some(player);
            }
        }
        if self.keys.busy() {
            return self.press(turn, FRAME, &remote, out);
        }
        let samples = self.samples_a_turn();
        if samples == FRAME && heard {
            self.say(turn, FRAME, Kept::Yes, out, |codec, bytes| encode_onto(codec, frame, bytes));
        } else if samples == FRAME {
            self.say_nothing(turn, FRAME, out);
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(frame);
            let whole = pending.len() / samples * samples;
            self.say_all(turn, &pending[..whole], out);
            pending.drain(..whole);
            self.pending = pending;
        }
    }

    /// What is left of a conference, at once: it is early by as much as it was late before.
    pub fn say_rest(&mut self, now: Mono, rest: &[i16], out: &mut Sink) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(rest);
        if self.remote.is_some_and(|remote| sends(remote.direction)) {
            self.say_all(Turn { at: now, skipped: false }, &pending, out);
        }
    }

    fn say_all(&mut self, turn: Turn, sound: &[i16], out: &mut Sink) {
        for packet in sound.chunks(self.samples_a_turn()) {
            // Frames and packets are not of one length: stamps follow the samples.
            self.line.join_on(turn.at);
            self.say(turn, packet.len(), Kept::Yes, out, |codec, bytes| encode_onto(codec, packet, bytes));
        }
    }

    fn say_event(&mut self, at: Mono, payload_type: u8, event: &EventPacket, out: &mut Sink) {
        let Some(to) = self.rtp.destination() else { return };
        let sequence = self.line.next_sequence();
        let header = self.line.follow(sequence, event.start, event.length, payload_type, event.first);
        out.datagram(self.leg, Kind::Rtp, to, |bytes| {
            header.write(bytes);
            bytes.extend_from_slice(&event.payload);
        });
        self.count(at, event.payload.len());
    }

    fn say_nothing(&mut self, turn: Turn, samples: usize, out: &mut Sink) {
        self.say(turn, samples, Kept::No, out, |codec, bytes| bytes.resize(bytes.len() + samples, silence(codec)));
    }

    /// Sends one packet of sound that `write` appends.
    fn say<R>(
        &mut self,
        turn: Turn,
        samples: usize,
        kept: Kept,
        out: &mut Sink,
        write: impl FnOnce(Codec, &mut Vec<u8>) -> R,
    ) -> R
    where
        R: Default,
    {
        let (Some(remote), Some(to)) = (self.remote, self.rtp.destination()) else { return R::default() };
        if turn.skipped {
            self.line.interrupt();
        }
        let header = self.line.next(turn.at, samples as u32, remote.payload_type);
        let (result, bytes) = out.datagram(self.leg, Kind::Rtp, to, |bytes| {
            header.write(bytes);
            write(remote.codec, bytes)
        });
        let channel = Channel::Others;
        let tap = self.keeps().and_then(|recording| match kept {
            Kept::No => None,
            Kept::Yes => {
                let line = (header.ssrc, header.sequence, header.timestamp);
                Some(audio(recording, channel, turn.at, line, remote.codec, &bytes[HEADER_LEN..]))
            }
            Kept::Hidden => {
                let (ssrc, from, to) = (header.ssrc, header.timestamp, header.timestamp.wrapping_add(samples as u32));
                Some(Tap::Hide(Hidden { recording, channel, at: turn.at, ssrc, from, to }))
            }
        });
        out.taps.extend(tap);
        self.count(turn.at, samples);
        result
    }

    /// Samples of one packet of ours.
    fn samples_a_turn(&self) -> usize {
        SAMPLES_PER_MS as usize * self.remote.as_ref().map_or(0, |remote| period_of(remote).as_millis()) as usize
    }

    fn tap_received(&self, now: Now, packet: &Packet<'_>, codec: Codec, out: &mut Sink) {
        let line = (packet.ssrc, packet.sequence, packet.timestamp);
        let tap = |recording| audio(recording, Channel::Citizen, now.mono, line, codec, packet.payload);
        out.taps.extend(self.keeps().map(tap));
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
