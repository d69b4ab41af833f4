//! What comes to a leg: who is believed, what the peer is to hear of it, which digits are in it.

use super::{Port, way_of};
use crate::base::{Mono, Now};
use crate::media::dtmf::listen::Listener;
use crate::media::dtmf::{Key, Way, symbol};
use crate::media::event::{Channel, Hidden, Notice, Remote, Tap};
use crate::media::quality::Arrival;
use crate::media::rtcp::Compound;
use crate::media::rtp::Packet;
use crate::media::sink::{Kind, Sink};
use crate::sdp::{Codec, Direction};
use std::net::SocketAddr;

/// What a believed packet carries for the peer.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    pub(super) packet: Packet<'a>,
    pub(super) content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Sound(Codec),
    Event,
    /// A payload type that was not negotiated.
    Unknown,
}

/// 2³² by the golden ratio: no two epochs of a call are alike.
const EPOCH_STEP: u32 = 0x9e37_79b9;

/// Whether what it hears counts.
fn receives(direction: Direction) -> bool {
    match direction {
        Direction::SendRecv | Direction::RecvOnly => true,
        Direction::SendOnly | Direction::Inactive => false,
    }
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
    /// A datagram came to the RTP port. Returns what the peer is to hear of it.
    pub fn receive<'a>(&mut self, now: Now, from: SocketAddr, bytes: &'a [u8], out: &mut Sink) -> Option<Heard<'a>> {
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

    /// Whether the packet is one, comes from where it should and belongs to the source's line of numbers.
    fn believe<'a>(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &'a [u8],
        out: &mut Sink,
    ) -> Option<(Heard<'a>, Arrival)> {
        let remote = self.remote?;
        let mut packet = Packet::read(bytes).ok().filter(|packet| !packet.payload.is_empty())?;
        let content = Content::of(&remote, &packet);
        if !self.rtp.admits(from, content != Content::Unknown) {
            return None;
        }
        if content != Content::Unknown && self.source.replace(from).is_some_and(|before| before != from) {
            self.epoch = self.epoch.wrapping_add(EPOCH_STEP);
        }
        packet.ssrc ^= self.epoch;
        self.sound(now.mono, out);
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

    /// Whether a datagram on the RTP port is RTCP: by its payload type (RFC 5761 §4), where both share that port.
    pub fn is_control(&self, bytes: &[u8]) -> bool {
        self.is_muxed() && bytes.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7f)))
    }

    /// RTCP came to the port of this kind.
    pub fn receive_control(&mut self, now: Now, kind: Kind, from: SocketAddr, bytes: &[u8], out: &mut Sink) {
        let Ok(compound) = Compound::read(bytes, self.line.ssrc()) else {
            self.dropped += 1;
            return;
        };
        // On a shared port only sound fixes the source.
        let admitted = match kind {
            Kind::Rtp => self.rtp.admits(from, false),
            Kind::Rtcp => self.rtcp.admits(from, true),
        };
        if !admitted {
            self.dropped += 1;
            return;
        }
        self.hear(now.mono, out);
        self.control.hear(now.mono, &compound);
    }
}
