//! A leg takes another's place (RFC 3891): an agent goes on at another phone, or after a change of network.
//!
//! Owns the step from one leg to the next. The citizen's own leg, which the recording hangs on, is not replaced.

use super::{Call, INCOMPATIBLE, NORMAL, State};
use crate::base::{LegId, Now};
use crate::call::event::{Command, Towards};
use crate::call::leg::{Dialog, Leg};
use crate::sip::event::Action as Sip;
use bytes::Bytes;
use std::net::SocketAddr;

/// Between the INVITE and its port, which is opened in the same pass.
#[derive(Debug)]
pub(in crate::call) struct Replacing {
    pub(super) new: LegId,
    old: LegId,
    offer: Option<Bytes>,
}

impl Call {
    /// An INVITE that is to replace `old`.
    pub(in crate::call) fn replace(
        &mut self,
        old: LegId,
        new: LegId,
        offer: Option<Bytes>,
        towards: SocketAddr,
        out: &mut Vec<Command>,
    ) {
        let talking = matches!(self.state, State::Talking { leg, .. } if leg == old);
        let Some(party) = self.leg_mut(old).map(|leg| leg.party.clone()) else { return };
        self.agents.push(Leg::new(new, Dialog::Unanswered, party));
        if !talking || self.replacing.is_some() {
            return self.not_replaced(new, 603, out);
        }
        self.replacing = Some(Replacing { new, old, offer });
        out.push(Command::OpenPort { leg: new, beside: Some(self.citizen.id), towards: Towards::Address(towards) });
    }

    /// The port is bound: the new leg is answered and joined, the old one ends.
    pub(super) fn take_place(&mut self, now: Now, local: SocketAddr, seed: u64, out: &mut Vec<Command>) {
        let Some(Replacing { new, old, offer }) = &self.replacing else { return };
        let (new, old, offer) = (*new, *old, offer.clone());
        let codec = self.citizen.codec();
        let Some(leg) = self.leg_mut(new) else { return };
        leg.open(now, local, seed, out);
        leg.prefer(codec);
        let sdp = match &offer {
            Some(offer) => leg.answer(offer, out),
            None => leg.offer(codec).ok_or(500),
        };
        let sdp = match sdp {
            Ok(sdp) => sdp,
            Err(status) => return self.keep_place(status, out),
        };
        leg.dialog = Dialog::Alive;
        self.replacing = None;
        out.push(Command::Sip(Sip::Respond { leg: new, status: 200, sdp: Some(sdp), q850: None, retry_after_s: None }));
        if let State::Talking { leg, held, .. } = &mut self.state {
            (*leg, *held) = (new, false);
        }
        self.hold_changed(now);
        self.sound(out);
        self.drop_agent(old, NORMAL, out);
        self.follow_hold(now, new, out);
        self.show(now, out);
    }

    /// The new leg is refused; whoever talks talks on.
    pub(super) fn keep_place(&mut self, status: u16, out: &mut Vec<Command>) {
        if let Some(Replacing { new, .. }) = self.replacing.take() {
            self.not_replaced(new, status, out);
        }
    }

    fn not_replaced(&mut self, new: LegId, status: u16, out: &mut Vec<Command>) {
        if let Some(leg) = self.leg_mut(new) {
            leg.dialog = Dialog::Ending;
            leg.close(out);
        }
        let q850 = Some(INCOMPATIBLE);
        out.push(Command::Sip(Sip::Respond { leg: new, status, sdp: None, q850, retry_after_s: None }));
    }
}
