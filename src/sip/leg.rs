//! One leg of ours: where its session stands (RFC 3261 §13–§15).
//!
//! Owns the states and their data; [`incoming`](super::incoming), [`outgoing`](super::outgoing) and
//! [`session`](super::session) move between them.

use super::client::ClientKey;
use super::dialog::Dialog;
use super::event::{Ending, Flow};
use super::server::ServerKey;
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
    /// Repeats a provisional response or the 2xx.
    pub(super) repeat: Option<Alarm>,
    /// Bounds the state.
    pub(super) life: Option<Alarm>,
    /// Wakes the waiting re-INVITE.
    pub(super) again: Option<Alarm>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Their INVITE has no final answer yet.
    Offered { dialog: Dialog, server: ServerKey, has_offer: bool, last: u16, sdp: Option<Bytes> },
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

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) sdp: Bytes,
    pub(super) tries: u8,
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
    /// When the caller's patience ends.
    pub(super) until: Mono,
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
}

impl Leg {
    pub(super) fn new(id: LegId, tag: Box<str>, state: State) -> Leg {
        Leg { id, tag, state, answer: None, wanted: None, repeat: None, life: None, again: None }
    }

    /// The dialog, once there is one.
    pub(super) fn dialog(&self) -> Option<&Dialog> {
        match &self.state {
            State::Offered { dialog, .. }
            | State::Answered { dialog, .. }
            | State::Established { dialog, .. }
            | State::Ending { dialog, .. } => Some(dialog),
            State::Calling(_) => None,
        }
    }

    /// The dialog, to be changed.
    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        match &mut self.state {
            State::Offered { dialog, .. }
            | State::Answered { dialog, .. }
            | State::Established { dialog, .. }
            | State::Ending { dialog, .. } => Some(dialog),
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
            State::Offered { .. } | State::Answered { .. } | State::Calling(_) | State::Ending { .. } => false,
        }
    }

    /// The place of a timer.
    pub(super) fn place(&mut self, timer: LegTimer) -> &mut Option<Alarm> {
        match timer {
            LegTimer::Repeat => &mut self.repeat,
            LegTimer::Life => &mut self.life,
            LegTimer::Again => &mut self.again,
        }
    }
}
