//! The end of a call that our own fault has struck: a panic in one of its steps, or the loss of its media.

use super::sound::Room;
use super::{Call, LINGER_MAX, NETWORK_OUT_OF_ORDER, State, TEMPORARY_FAILURE};
use crate::acd::event::Event as Acd;
use crate::base::fact::{End, EndedBy, InterventionResult};
use crate::base::{LegId, Now};
use crate::call::event::Command;
use crate::media::event::{Action as Media, Counters};
use crate::sip::event::{Action as Sip, Ending};

impl Call {
    /// A step of this call was cut short, and what it had said was thrown away. Only legs, lease and book are believed;
    /// the others are told the end whether or not they know of what it ends: what they do not know they ignore.
    pub(in crate::call) fn broken(&mut self, now: Now, out: &mut Vec<Command>) {
        let connected = self.book.record.times.connected.is_some();
        if let Some(stage) = self.stage() {
            self.acd(Acd::Cancel { call: self.id }, out);
            self.close_interventions(now, InterventionResult::Lost);
            let leases: Vec<_> = self.leases().map(|(lease, _)| lease).collect();
            leases.into_iter().for_each(|lease| self.acd(Acd::Ended { lease }, out));
            let sip_status = if connected { 200 } else { 500 };
            self.book.ended(now, End { stage, by: EndedBy::Fault, sip_status, q850: TEMPORARY_FAILURE }, out);
        }
        let citizen = self.citizen.id;
        out.push(Command::Media(Media::StopRecording { citizen, recording: self.recording, at: now }));
        if !connected {
            let q850 = Some(TEMPORARY_FAILURE);
            out.push(Command::Sip(Sip::Respond { leg: citizen, status: 500, sdp: None, q850, retry_after_s: None }));
        }
        if let Some(mut transfer) = self.transfer.take() {
            transfer.abandon(now, out);
            self.agents.extend(transfer.into_legs());
        }
        (self.room, self.pair, self.guest, self.beside) = (Room::Alone, None, None, None);
        for leg in std::iter::once(&mut self.citizen).chain(&mut self.agents) {
            leg.abandon(out);
        }
        self.enter(now, State::Ending, LINGER_MAX, out);
    }

    /// The port of `leg` is closed: what its media were like is told. Without one the leg is lost, if nobody had asked
    /// for that.
    pub(in crate::call) fn media_closed(&mut self, now: Now, leg: LegId, counters: &Counters, out: &mut Vec<Command>) {
        let (site, whose) = (self.site, (self.book.contact(), self.book.clock()));
        let Some(side) = self.leg_mut(leg) else { return };
        let lost = side.has_port();
        if lost {
            side.hang_up(NETWORK_OUT_OF_ORDER, out);
        }
        out.extend(side.closed(now, counters, whose).map(|fact| Command::Fact { site, fact }));
        if !lost {
            return;
        }
        if leg == self.citizen.id {
            self.end(now, EndedBy::Fault, TEMPORARY_FAILURE, out);
        } else if self.is_of_transfer(leg) {
            self.target_ended(now, leg, Ending::Ours, out);
        } else {
            self.agent_ended(now, leg, Ending::Ours, out);
        }
    }
}
