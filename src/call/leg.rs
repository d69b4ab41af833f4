//! One leg of a call: its session description and what the media plane was told of it.
//!
//! Owns the offer/answer of the leg. Never decides what the leg hears: that is the call's.

use super::event::{Command, Silent, SilentStep};
use super::q850::NETWORK_OUT_OF_ORDER;
use super::record::Clock;
use crate::base::fact::{Fact, LegQuality, Party, WayQuality};
use crate::base::{ContactId, LegId, Mono, Now, SiteId};
use crate::media::event::{Action as Media, Counters, Digits, Marks, Remote};
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
    /// Who is at the other end.
    pub(super) party: Party,
    session: Option<sdp::Session>,
    remote: Option<Remote>,
    port: Port,
    silence: Silence,
    /// It was silent although it was there.
    one_way: bool,
    /// No RTP comes from it now.
    mute: bool,
    /// How its first digit came; others ways are not heard, for some equipment sends each digit in two.
    #[serde(default)]
    digits_by: Option<DigitWay>,
}

/// Whose leg it is.
pub(super) type Whose = (ContactId, SiteId);

/// Neither RTP nor RTCP for so long, and nobody is there: the leg is given up.
const CLEAR_AFTER: Duration = Duration::from_secs(30);
/// Nobody is there who has not answered in this time: by then an INVITE was sent six times (RFC 3261 §17.1.1.2).
const ANSWER_MAX: Duration = Duration::from_secs(16);
/// A leg that stands and is silent is asked again this often.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// How long a digit that came by INFO is pressed, in milliseconds, and the pause after it.
const INFO_ON: u16 = 100;
const INFO_OFF: u16 = 60;

/// What is known of a leg of which nothing is heard. A leg of which nothing need be heard, being held, is never silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Silence {
    /// Something is heard, or it was not asked yet.
    None,
    /// Its user agent was asked whether the dialog stands. A consent of ICE that ran out (RFC 7675) will count as `Failed`
    /// without a question.
    Asked { at: Mono },
    /// It does not.
    Failed,
    /// It does: only its media do not come.
    Stands { asked: Mono },
}

/// How a digit comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum DigitWay {
    /// As telephone-event in the media (RFC 4733).
    Event,
    /// By INFO (RFC 6086).
    Info,
}

/// The media port of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Port {
    /// There is none.
    None,
    /// Media come and go.
    Open(Opened),
    /// The media plane was asked to close it, and will say what came and went.
    Closing(Opened),
}

/// An open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Opened {
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

/// A digit that came by INFO, to be pressed for `leg` in the way that was agreed with it; nothing where it is none.
pub(super) fn pressed(leg: LegId, digit: u8) -> Option<Command> {
    let digits = Digits::new(std::str::from_utf8(&[digit]).ok()?, INFO_ON, INFO_OFF).ok()?;
    Some(Command::Media(Media::SendDigits { leg, digits }))
}

impl Leg {
    pub(super) fn new(id: LegId, dialog: Dialog, party: Party) -> Leg {
        Leg {
            id,
            dialog,
            party,
            session: None,
            remote: None,
            port: Port::None,
            silence: Silence::None,
            one_way: false,
            mute: false,
            digits_by: None,
        }
    }

    /// The port is bound: media may be described.
    pub(super) fn open(&mut self, now: Now, local: SocketAddr, seed: u64, out: &mut Vec<Command>) {
        self.session = Some(sdp::Session::new(seed >> 2, local));
        self.port = Port::Open(Opened { local, seed, opened: now });
        out.push(Command::Media(Media::Open { leg: self.id, seed }));
    }

    /// The process that held its port died: the same port is bound again, `beside` the other leg, and goes on. Returns
    /// when it was first opened.
    pub(super) fn reopen(&self, beside: Option<LegId>, marks: &Marks, out: &mut Vec<Command>) -> Option<Now> {
        let (leg, Port::Open(Opened { local, seed, opened })) = (self.id, self.port) else { return None };
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
        if self.remote != Some(remote) && self.has_port() {
            self.remote = Some(remote);
            // The media plane, too, begins to wait anew.
            (self.silence, self.mute) = (Silence::None, false);
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

    /// Nothing is heard from it for `silent`: first it is asked by a re-INVITE that changes nothing whether the dialog still
    /// stands (RFC 3261 §14; every phone knows it, while UPDATE is neither known to all nor meant for confirmed dialogs,
    /// RFC 3311 §5.1). True when it is to be given up.
    pub(super) fn quiet(
        &mut self,
        now: Mono,
        (silent, one_way_max): (Duration, Duration),
        whose: Whose,
        out: &mut Vec<Command>,
    ) -> bool {
        if self.dialog != Dialog::Alive {
            return false;
        }
        let given_up = match self.silence {
            _ if silent >= one_way_max => true,
            Silence::None => false,
            Silence::Asked { at } => silent >= CLEAR_AFTER && now.since(at) >= ANSWER_MAX,
            Silence::Failed => silent >= CLEAR_AFTER,
            Silence::Stands { .. } => false,
        };
        if given_up {
            self.tell_silence(SilentStep::GivenUp, whose, out);
            return true;
        }
        let asks = match self.silence {
            Silence::None => true,
            Silence::Stands { asked } => now.since(asked) >= ASK_EVERY,
            Silence::Asked { .. } | Silence::Failed => false,
        };
        if asks && let Some(sdp) = self.offer(None) {
            if self.silence == Silence::None {
                self.tell_silence(SilentStep::Asked, whose, out);
            }
            self.silence = Silence::Asked { at: now };
            out.push(Command::Sip(Sip::Probe { leg: self.id, sdp }));
        }
        false
    }

    /// Something is heard of it again.
    pub(super) fn heard(&mut self) {
        self.silence = Silence::None;
    }

    /// RTP comes from it no longer, or again.
    pub(super) fn sounds(&mut self, sounds: bool) {
        self.mute = !sounds;
    }

    /// Whether no RTP comes from it.
    pub(super) fn is_mute(&self) -> bool {
        self.mute
    }

    /// A re-INVITE of ours was answered: what was described is taken. Any answer but "there is no such dialog" says that it
    /// stands.
    pub(super) fn reoffered(&mut self, answer: Result<Bytes, u16>, whose: Whose, out: &mut Vec<Command>) {
        if let Silence::Asked { at } = self.silence {
            self.silence = match answer {
                Err(408 | 481) => Silence::Failed,
                Ok(_) | Err(_) => Silence::Stands { asked: at },
            };
            if matches!(self.silence, Silence::Stands { .. }) && !std::mem::replace(&mut self.one_way, true) {
                self.tell_silence(SilentStep::OneWay, whose, out);
            }
        }
        if let Ok(sdp) = answer {
            self.accept(&sdp, out);
        }
    }

    fn tell_silence(&self, step: SilentStep, (contact, site): Whose, out: &mut Vec<Command>) {
        out.push(Command::Silent(Silent { contact, site, party: self.party.clone(), step }));
    }

    /// Whether its port is open.
    pub(super) fn has_port(&self) -> bool {
        match self.port {
            Port::Open(_) => true,
            Port::None | Port::Closing(_) => false,
        }
    }

    /// Nothing more comes from it: neither from the user agent nor from the media plane.
    pub(super) fn is_over(&self) -> bool {
        self.dialog == Dialog::Gone && !matches!(self.port, Port::Closing(_))
    }

    /// The leg comes from a snapshot: what it was asked last may not be under way any more.
    pub(super) fn resume(&mut self) {
        self.silence = Silence::None;
    }

    /// The media plane died with its figures: nothing more is heard of a port that was closing.
    pub(super) fn plane_died(&mut self) {
        if let Port::Closing(_) = self.port {
            self.port = Port::None;
        }
    }

    /// The media plane closed the port of a leg of which nothing is told.
    pub(super) fn port_gone(&mut self) {
        self.port = Port::None;
    }

    /// The media plane closed the port. Returns what the leg's media were like, if any were agreed on.
    pub(super) fn closed(
        &mut self,
        now: Now,
        counters: &Counters,
        (contact, clock): (ContactId, Clock),
    ) -> Option<Fact> {
        let (Port::Open(port) | Port::Closing(port)) = std::mem::replace(&mut self.port, Port::None) else {
            return None;
        };
        let remote = self.remote?;
        let received = WayQuality {
            packets: counters.received,
            lost: counters.lost,
            jitter_us: counters.jitter_us,
            mos: counters.mos_received,
        };
        let sent = WayQuality {
            packets: counters.sent,
            lost: counters.far_lost,
            jitter_us: counters.far_jitter_us,
            mos: counters.mos_sent,
        };
        Some(Fact::Leg(Box::new(LegQuality {
            contact,
            leg: self.id,
            party: self.party.clone(),
            codec: remote.codec.encoding().into(),
            opened: clock.at(port.opened),
            closed: clock.at(now),
            received,
            sent,
            dropped: counters.dropped,
            round_trip_us: counters.round_trip_us,
            one_way: self.one_way || counters.one_way(),
        })))
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
        if let Port::Open(port) = self.port {
            self.port = Port::Closing(port);
        }
    }

    /// Closes the port; nothing more is heard or said.
    pub(super) fn close(&mut self, out: &mut Vec<Command>) {
        if let Port::Open(port) = self.port {
            self.port = Port::Closing(port);
            out.push(Command::Media(Media::Close { leg: self.id }));
        }
    }
}
