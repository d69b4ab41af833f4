//! One leg of a call: its session description and what the media plane was told of it.
//!
//! Owns the offer/answer of the leg. Never decides what the leg hears: that is the call's.

use super::event::Command;
use super::q850::NETWORK_OUT_OF_ORDER;
use crate::base::{LegId, Mono, Now};
use crate::media::event::{Action as Media, Marks, Remote};
use crate::sdp::{self, Codec, Direction};
use crate::sip::event::Action as Sip;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// How a leg stands with the user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Dialog {
    /// An incoming INVITE that has no final answer yet.
    Unanswered,
    /// An outgoing INVITE, or an established dialog.
    Alive,
    /// We asked for its end; the user agent will say when nothing more can come.
    Ending,
    /// The user agent told us so, or never heard of it.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) dialog: Dialog,
    session: Option<sdp::Session>,
    remote: Option<Remote>,
    port: Option<Port>,
    /// A re-INVITE of ours is under way because the media went quiet; nothing is probed twice at once.
    probing_since: Option<Mono>,
    /// How its first digit came; others ways are not heard, for some equipment sends each digit in two.
    #[serde(default)]
    digits_by: Option<DigitWay>,
}

/// How a digit comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum DigitWay {
    /// As telephone-event in the media (RFC 4733).
    Event,
    /// By INFO (RFC 6086).
    Info,
}

/// An open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    local: SocketAddr,
    seed: u64,
    opened: Now,
}

/// Two codecs we can relay, the other leg's first so that its packets need no transcoding.
fn codecs(first: Option<Codec>) -> [Codec; 2] {
    match first {
        Some(Codec::Pcmu) => [Codec::Pcmu, Codec::Pcma],
        Some(Codec::Pcma) | None => [Codec::Pcma, Codec::Pcmu],
    }
}

impl Leg {
    pub(super) fn new(id: LegId, dialog: Dialog) -> Leg {
        Leg { id, dialog, session: None, remote: None, port: None, probing_since: None, digits_by: None }
    }

    /// The port is bound: media may be described.
    pub(super) fn open(&mut self, now: Now, local: SocketAddr, seed: u64, out: &mut Vec<Command>) {
        self.session = Some(sdp::Session::new(seed >> 2, local));
        self.port = Some(Port { local, seed, opened: now });
        out.push(Command::Media(Media::Open { leg: self.id, seed }));
    }

    /// The process that held its port died: the same port is bound again, `beside` the other leg, and goes on. Returns
    /// when it was first opened.
    pub(super) fn reopen(&self, beside: Option<LegId>, marks: &Marks, out: &mut Vec<Command>) -> Option<Now> {
        let (leg, Port { local, seed, opened }) = (self.id, self.port?);
        out.push(Command::ReopenPort { leg, beside, local });
        let (remote, mark) = (self.remote, marks.get(&leg).copied());
        out.push(Command::Media(Media::Reopen { leg, seed, opened, remote, mark }));
        Some(opened)
    }

    /// With whom and how it speaks, as far as a crash must not change it.
    pub(super) fn trace(&self) -> (LegId, Dialog, Option<Remote>) {
        (self.id, self.dialog, self.remote)
    }

    /// Answers will choose this codec where they can.
    pub(super) fn prefer(&mut self, codec: Option<Codec>) {
        if let (Some(session), Some(codec)) = (&mut self.session, codec) {
            session.prefer(codec);
        }
    }

    /// Whether a digit that came this way counts.
    pub(super) fn hears(&mut self, way: DigitWay) -> bool {
        *self.digits_by.get_or_insert(way) == way
    }

    /// The session must be refreshed: offers what was described last (RFC 4028 §7.4).
    pub(super) fn refresh(&mut self, out: &mut Vec<Command>) {
        if self.dialog == Dialog::Alive
            && let Some(sdp) = self.offer(None)
        {
            out.push(Command::Sip(Sip::Reinvite { leg: self.id, sdp }));
        }
    }

    /// Our offer, `first` codec preferred.
    pub(super) fn offer(&mut self, first: Option<Codec>) -> Option<Bytes> {
        let codecs = codecs(first.or(self.codec()));
        Some(self.session.as_mut()?.offer(&codecs, Direction::SendRecv))
    }

    /// Our offer of these codecs, in this order.
    pub(super) fn offer_of(&mut self, codecs: &[Codec]) -> Option<Bytes> {
        Some(self.session.as_mut()?.offer(codecs, Direction::SendRecv))
    }

    /// Our answer to their offer, or the status to refuse it with.
    pub(super) fn answer(&mut self, offer: &[u8], out: &mut Vec<Command>) -> Result<Bytes, u16> {
        let session = self.session.as_mut().ok_or(500u16)?;
        let (answer, negotiated) = session.answer(offer, Direction::SendRecv).map_err(|refusal| refusal.status())?;
        self.connect(negotiated, out);
        Ok(answer)
    }

    /// Their answer to our offer; false when nothing can be spoken.
    pub(super) fn accept(&mut self, answer: &[u8], out: &mut Vec<Command>) -> bool {
        let Some(Ok(negotiated)) = self.session.as_mut().map(|session| session.accept(answer)) else {
            return false;
        };
        self.connect(negotiated, out);
        true
    }

    fn connect(&mut self, remote: Remote, out: &mut Vec<Command>) {
        if self.remote != Some(remote) && self.port.is_some() {
            self.remote = Some(remote);
            out.push(Command::Media(Media::Connect { leg: self.id, remote }));
        }
    }

    /// The codec agreed on.
    pub(super) fn codec(&self) -> Option<Codec> {
        self.remote.map(|remote| remote.codec)
    }

    /// Whether the other side has put us on hold: it no longer listens.
    pub(super) fn on_hold(&self) -> bool {
        match self.remote.map(|remote| remote.direction) {
            Some(Direction::RecvOnly | Direction::Inactive) => true,
            Some(Direction::SendRecv | Direction::SendOnly) | None => false,
        }
    }

    /// Nothing is heard from it: asks the far end with a re-INVITE that changes nothing whether the dialog still stands
    /// (RFC 3261 §14, §12.2.1.2).
    pub(super) fn probe(&mut self, now: Mono, out: &mut Vec<Command>) {
        if self.dialog != Dialog::Alive || self.probing_since.is_some_and(|since| now.since(since) < PROBE_EVERY) {
            return;
        }
        if let Some(sdp) = self.offer(None) {
            self.probing_since = Some(now);
            out.push(Command::Sip(Sip::Reinvite { leg: self.id, sdp }));
        }
    }

    /// The probe was answered: the far end is there, and what it described is taken.
    pub(super) fn probed(&mut self, answer: Result<Bytes, u16>, out: &mut Vec<Command>) {
        match answer {
            Ok(sdp) => {
                self.accept(&sdp, out);
            }
            Err(_refused_but_alive) => {}
        }
    }

    /// Whether its port is open.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Asks for the end of the dialog and closes the port.
    pub(super) fn hang_up(&mut self, q850: u8, out: &mut Vec<Command>) {
        match self.dialog {
            Dialog::Unanswered | Dialog::Alive => {
                self.dialog = Dialog::Ending;
                out.push(Command::Sip(Sip::HangUp { leg: self.id, q850 }));
            }
            Dialog::Ending | Dialog::Gone => {}
        }
        self.close(out);
    }

    /// Asks for the end of the dialog because somebody else has taken the call, and closes the port.
    pub(super) fn taken_elsewhere(&mut self, out: &mut Vec<Command>) {
        match self.dialog {
            Dialog::Unanswered | Dialog::Alive => {
                self.dialog = Dialog::Ending;
                out.push(Command::Sip(Sip::TakenElsewhere { leg: self.id }));
            }
            Dialog::Ending | Dialog::Gone => {}
        }
        self.close(out);
    }

    /// Whatever the user agent and the media know of it, it is no more.
    pub(super) fn abandon(&mut self, out: &mut Vec<Command>) {
        self.dialog = Dialog::Gone;
        out.push(Command::Sip(Sip::HangUp { leg: self.id, q850: NETWORK_OUT_OF_ORDER }));
        out.push(Command::Media(Media::Close { leg: self.id }));
    }

    /// Closes the port; nothing more is heard or said.
    pub(super) fn close(&mut self, out: &mut Vec<Command>) {
        if self.port.take().is_some() {
            out.push(Command::Media(Media::Close { leg: self.id }));
        }
    }
}

/// A quiet leg is asked at most this often whether it is still there.
const PROBE_EVERY: Duration = Duration::from_secs(60);
