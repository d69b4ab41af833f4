//! One leg of ours: where its session stands (RFC 3261 §13–§15).
//!
//! Owns the states and their data; [`incoming`](super::incoming), [`outgoing`](super::outgoing) and
//! [`session`](super::session) move between them.

use super::client::ClientKey;
use super::dialog::Dialog;
use super::event::{Ending, Flow, Invite};
use super::message::{Message, RAck};
use super::name::Name;
use super::refer::Refer;
use super::reliable::Reliable;
use super::server::ServerKey;
use super::session_timer::SessionTimer;
use super::timers::Alarm;
use crate::base::{LegId, Mono};
use bytes::Bytes;
use core::time::Duration;
use slotmap::new_key_type;

new_key_type! {
    /// A leg in the table of its user agent.
    pub struct LegKey;
}

/// An INVITE we answer with anything is answered finally within this time, or refused with 480. Ten times the interval
/// in which a provisional response is repeated.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(600);
/// Provisional responses are repeated at this interval, so that no proxy gives up (§13.3.1.1).
pub(super) const PROVISIONAL_EVERY: Duration = Duration::from_secs(60);
/// A re-INVITE is answered within this time: theirs by our call, ours by them after a provisional response.
pub(super) const REOFFER_MAX: Duration = Duration::from_secs(32);
/// How often a re-INVITE of ours is tried against glare before it is given up with 491.
pub(super) const REOFFER_TRIES: u8 = 5;

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: LegId,
    /// By which in-dialog requests find the leg.
    pub(super) tag: Box<str>,
    pub(super) state: State,
    /// A 2xx that is repeated until its ACK comes.
    pub(super) answer: Option<Answer>,
    /// A re-INVITE of ours that waits for its turn.
    pub(super) wanted: Option<Wanted>,
    /// Whether the other side takes UPDATE, by its last Allow (RFC 3311 §4).
    pub(super) updates: bool,
    /// REFERs of theirs that are under way.
    pub(super) refers: Vec<Refer>,
    /// What a PRACK may still prove though the final response overtook it (RFC 3262 §3).
    pub(super) late: Option<RAck>,
    /// By whom the session is kept alive (RFC 4028).
    pub(super) session: Option<SessionTimer>,
    /// Repeats a provisional response or the 2xx.
    pub(super) repeat: Option<Alarm>,
    /// Bounds the state.
    pub(super) life: Option<Alarm>,
    /// Wakes the waiting re-INVITE.
    pub(super) again: Option<Alarm>,
    /// When we refresh the session.
    pub(super) refresh: Option<Alarm>,
    /// When a session that nobody refreshed ends.
    pub(super) expiry: Option<Alarm>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Their INVITE has no final answer yet.
    Offered(Box<Offered>),
    /// We sent 2xx; no ACK yet. BYE has to wait for it (§15).
    Answered { dialog: Dialog, has_offer: bool, hang_up: Option<u8> },
    /// Our INVITEs are out.
    Calling(Calling),
    /// Both sides agreed.
    Established { dialog: Dialog, reoffer: Reoffer },
    /// BYE was sent; its answer ends the leg.
    Ending { dialog: Dialog, why: Ending },
}

/// A re-INVITE in either direction.
#[derive(Debug)]
pub(super) enum Reoffer {
    /// None.
    Idle,
    /// Theirs waits for our answer.
    Asked { server: ServerKey, has_offer: bool },
    /// Our 2xx to theirs waits for its ACK.
    Accepting { has_offer: bool },
    /// Ours is out.
    Asking { client: ClientKey, wanted: Wanted },
}

/// An INVITE of theirs.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) dialog: Dialog,
    pub(super) server: ServerKey,
    /// Whether the offer is theirs: in the INVITE, or ours by now answered in a PRACK.
    pub(super) has_offer: bool,
    /// The provisional response in repetition.
    pub(super) last: u16,
    pub(super) sdp: Option<Bytes>,
    /// Set when our provisional responses are reliable.
    pub(super) reliable: Option<Reliable>,
    /// Their PRACK or UPDATE whose offer the call has to answer.
    pub(super) asked: Option<ServerKey>,
    /// What is answered when its time is over: 487 when the INVITE said how long it is good (RFC 3261 §13.3.1), else 480.
    pub(super) late: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) sdp: Bytes,
    pub(super) tries: u8,
    /// It only asks whether the dialog stands: its failure ends nothing.
    pub(super) probe: bool,
}

/// Our INVITEs to all bindings.
#[derive(Debug)]
pub(super) struct Calling {
    /// Those without a final answer.
    pub(super) branches: Vec<ClientKey>,
    /// The best refusal so far (§16.7).
    pub(super) best: Option<(u16, Option<u8>)>,
    /// Set once nobody wants an answer any more: the status to fail with.
    pub(super) given_up: Option<u16>,
    /// Whether it goes over a trunk, and whether that gave a sign of life.
    pub(super) trunk: Option<bool>,
    /// When the caller's patience ends.
    pub(super) until: Mono,
    /// A dialog for each To tag that rang (§12.1.2).
    pub(super) early: Vec<Early>,
    /// What further branches are made of; unknown after a restart.
    pub(super) dialling: Option<Dialling>,
}

/// What is the same in all branches of a call of ours.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) invite: Invite,
    pub(super) call_id: Box<str>,
    /// Redirections that were followed.
    pub(super) redirects: u8,
}

/// Early dialogs of one call that are kept; of further ones nothing is known but their 2xx.
pub(super) const EARLY_MAX: usize = 32;

/// An early dialog of an INVITE of ours.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) client: ClientKey,
    pub(super) dialog: Dialog,
    /// RSeq of the last reliable response in it (RFC 3262 §4).
    pub(super) rseq: Option<u32>,
    /// Its description: the answer, when the 2xx brings none.
    pub(super) sdp: Option<Bytes>,
    /// Whether that came reliably, so that offer and answer are complete.
    pub(super) agreed: bool,
}

/// A 2xx in repetition (§13.3.1.4).
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    pub(super) flow: Flow,
    /// CSeq of its INVITE: that of the ACK.
    pub(super) cseq: u32,
    pub(super) repeats: u32,
}

/// What a timer of a leg is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegTimer {
    Repeat,
    Life,
    Again,
    Refresh,
    Expiry,
}

impl LegTimer {
    pub(super) const ALL: [LegTimer; 5] =
        [LegTimer::Repeat, LegTimer::Life, LegTimer::Again, LegTimer::Refresh, LegTimer::Expiry];
}

impl Leg {
    pub(super) fn new(id: LegId, tag: Box<str>, state: State) -> Leg {
        Leg {
            id,
            tag,
            state,
            answer: None,
            wanted: None,
            updates: false,
            refers: Vec::new(),
            late: None,
            session: None,
            repeat: None,
            life: None,
            again: None,
            refresh: None,
            expiry: None,
        }
    }

    /// What a message of the other side tells of its abilities.
    pub(super) fn learn(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            self.updates = message.lists(Name::Allow, "UPDATE");
        }
    }

    /// Whether a PRACK proves what the final response overtook.
    pub(super) fn proved_late(&mut self, rack: RAck) -> bool {
        let proves = self.late == Some(rack);
        self.late = self.late.filter(|_| !proves);
        proves
    }

    /// The dialog, early ones included, to which a request from the other side belongs (§12.2.2).
    pub(super) fn dialog_of(&mut self, request: &Message) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Calling(calling) => {
                calling.early.iter_mut().map(|early| &mut early.dialog).find(|dialog| dialog.owns_request(request))
            }
            State::Offered(offered) => Some(&mut offered.dialog).filter(|dialog| dialog.owns_request(request)),
            State::Answered { dialog, .. } | State::Established { dialog, .. } | State::Ending { dialog, .. } => {
                Some(dialog).filter(|dialog| dialog.owns_request(request))
            }
        }
    }

    /// Whether a request from the other side belongs to a dialog of this leg.
    pub(super) fn owns(&self, request: &Message) -> bool {
        match &self.state {
            State::Calling(calling) => calling.early.iter().any(|early| early.dialog.owns_request(request)),
            State::Offered(_) | State::Answered { .. } | State::Established { .. } | State::Ending { .. } => {
                self.dialog().is_some_and(|dialog| dialog.owns_request(request))
            }
        }
    }

    /// The dialog, once there is one.
    pub(super) fn dialog(&self) -> Option<&Dialog> {
        match &self.state {
            State::Offered(offered) => Some(&offered.dialog),
            State::Answered { dialog, .. } | State::Established { dialog, .. } | State::Ending { dialog, .. } => {
                Some(dialog)
            }
            State::Calling(_) => None,
        }
    }

    /// The dialog, to be changed.
    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Offered(offered) => Some(&mut offered.dialog),
            State::Answered { dialog, .. } | State::Established { dialog, .. } | State::Ending { dialog, .. } => {
                Some(dialog)
            }
            State::Calling(_) => None,
        }
    }

    /// Whether a re-INVITE in either direction is under way.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.state {
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => false,
                Reoffer::Asked { .. } | Reoffer::Accepting { .. } | Reoffer::Asking { .. } => true,
            },
            State::Offered(_) | State::Answered { .. } | State::Calling(_) | State::Ending { .. } => false,
        }
    }

    /// The place of a timer.
    pub(super) fn place(&mut self, timer: LegTimer) -> &mut Option<Alarm> {
        match timer {
            LegTimer::Repeat => &mut self.repeat,
            LegTimer::Life => &mut self.life,
            LegTimer::Again => &mut self.again,
            LegTimer::Refresh => &mut self.refresh,
            LegTimer::Expiry => &mut self.expiry,
        }
    }
}
