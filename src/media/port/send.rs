//! What a leg sends: its peer's packets, frames of a conference, prompts, music, digits, or silence.

use super::receive::{Content, Heard};
use super::tap::Kept;
use super::{Link, PACKET_SAMPLES_MAX, Port, period_of, sends, way_of};
use crate::base::{Mono, Now};
use crate::media::conference::both;
use crate::media::dtmf::Way;
use crate::media::dtmf::keys::{EventPacket, Turn as KeyTurn};
use crate::media::event::{Notice, Remote};
use crate::media::g711::{Laws, SAMPLES_PER_MS, decode_into, encode_onto, silence};
use crate::media::pace::Turn;
use crate::media::playout::FRAME;
use crate::media::rtp::HEADER_LEN;
use crate::media::sink::{Kind, Sink};
use crate::sdp::Codec;

impl Port {
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
        let (leg, seen) = (self.leg, self.watch.look(now.mono));
        if seen.mute {
            out.notices.push(Notice::Mute { leg });
        }
        if let Some(silent) = seen.quiet {
            out.notices.push(Notice::Quiet { leg, silent });
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
        let (result, _) = out.datagram(self.leg, Kind::Rtp, to, |bytes| {
            header.write(bytes);
            write(remote.codec, bytes)
        });
        match kept {
            Kept::No => {}
            Kept::Yes => self.tap_sent(turn.at, &header, remote.codec, out),
            Kept::Hidden => self.tap_hidden(turn.at, &header, samples as u32, out),
        }
        self.count(turn.at, samples);
        result
    }

    /// Samples of one packet of ours.
    fn samples_a_turn(&self) -> usize {
        SAMPLES_PER_MS as usize * self.remote.as_ref().map_or(0, |remote| period_of(remote).as_millis()) as usize
    }
}
