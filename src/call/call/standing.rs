//! While the dialogs stand: hold, silence, and the end.
//!
//! Owns the one road into `Ending`; a second end changes nothing.

use super::sound::Room;
use super::{Call, LINGER_MAX, NETWORK_OUT_OF_ORDER, NO_ANSWER, NORMAL, State, TEMPORARY_FAILURE, TIMER_EXPIRED};
use crate::acd::event::{Declined, Event as Acd};
use crate::base::fact::{End, EndedBy, InterventionResult, Stage, TransferResult};
use crate::base::{LegId, Mono, Now};
use crate::call::event::Command;
use crate::call::leg::Leg;
use crate::call::transfer::Transfer;
use crate::ivr;
use crate::media::event::Action as Media;
use crate::sip::event::{Action as Sip, Ending};
use bytes::Bytes;
use std::time::Duration;

impl Call {
    /// The other side of `leg` describes its media anew.
    pub(in crate::call) fn reoffered(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        let Some(side) = self.leg_mut(leg) else { return };
        let answer = match sdp {
            Some(offer) => side.answer(&offer, out),
            None => side.offer(None).ok_or(500),
        };
        out.push(Command::Sip(Sip::AnswerReoffer { leg, answer }));
        self.follow_hold(now, leg, out);
    }

    /// The answer to our early offer came before the ACK.
    pub(in crate::call) fn early_answer(&mut self, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            // What cannot be spoken shows itself again at the ACK.
            side.accept(sdp, out);
        }
    }

    /// The session of `leg` must be refreshed.
    pub(in crate::call) fn refresh(&mut self, leg: LegId, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.refresh(out);
        }
    }

    /// Our own re-INVITE was answered.
    pub(in crate::call) fn reoffer_answered(
        &mut self,
        now: Now,
        leg: LegId,
        answer: Result<Bytes, u16>,
        out: &mut Vec<Command>,
    ) {
        let whose = (self.book.contact(), self.site);
        if let Some(side) = self.leg_mut(leg) {
            side.reoffered(answer, whose, out);
        }
        self.follow_hold(now, leg, out);
    }

    /// An agent who holds leaves the citizen with music; one who comes back is joined again.
    pub(super) fn follow_hold(&mut self, now: Now, changed: LegId, out: &mut Vec<Command>) {
        if self.is_second(changed) {
            return self.follow_second(now, out);
        }
        let State::Talking { leg, held, .. } = &mut self.state else {
            return;
        };
        let Some(agent) = self.agents.iter().find(|agent| agent.id == changed && agent.id == *leg) else {
            return;
        };
        if agent.on_hold() == *held {
            return;
        }
        *held = agent.on_hold();
        self.hold_changed(now);
        self.follow_second(now, out);
        self.sound(out);
        self.show(now, out);
    }

    /// Nothing was heard from `leg` for `silent`.
    pub(in crate::call) fn quiet(&mut self, now: Now, leg: LegId, silent: Duration, out: &mut Vec<Command>) {
        if !self.is_live() {
            return;
        }
        let most = self.settings.one_way_max(&self.book.record.trunk);
        let whose = (self.book.contact(), self.site);
        let Some(side) = self.leg_mut(leg) else { return };
        if side.quiet(now.mono, (silent, most), whose, out) {
            side.hang_up(NETWORK_OUT_OF_ORDER, out);
            self.leg_ended(now, leg, Ending::Lost, out);
        }
    }

    /// Something is heard of `leg` again.
    pub(in crate::call) fn heard(&mut self, leg: LegId) {
        self.leg_mut(leg).into_iter().for_each(Leg::heard);
    }

    /// The dialog of `leg` is over.
    pub(in crate::call) fn leg_ended(&mut self, now: Now, leg: LegId, why: Ending, out: &mut Vec<Command>) {
        self.agent_gone(leg);
        if leg == self.citizen.id {
            self.citizen_ended(now, why, out);
        } else if self.is_of_transfer(leg) {
            self.target_ended(now, leg, why, out);
        } else {
            if let Some(leg) = self.leg_mut(leg) {
                leg.close(out);
            }
            self.agent_ended(now, leg, why, out);
        }
    }

    pub(super) fn citizen_ended(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
        self.missed(now, out);
        if self.outlasts_citizen() {
            if let Ending::Bye { .. } = why {
                self.book.record.times.caller_hangup.get_or_insert(self.book.time(now));
            }
            self.book.tell(out);
            self.second_alone(now, out);
            self.sound(out);
            return self.show(now, out);
        }
        match why {
            Ending::Bye { q850 } => {
                self.book.record.times.caller_hangup.get_or_insert(self.book.time(now));
                self.end(now, EndedBy::Caller, q850.unwrap_or(NORMAL), out);
            }
            Ending::Cancel => {
                self.book.record.times.caller_hangup.get_or_insert(self.book.time(now));
                let end = End { stage: Stage::Offered, by: EndedBy::Caller, sip_status: 487, q850: NORMAL };
                self.finish(now, end, out);
            }
            Ending::NoAck | Ending::Lost => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
            Ending::Ours => self.end(now, EndedBy::Fault, TEMPORARY_FAILURE, out),
        }
    }

    pub(super) fn agent_ended(&mut self, now: Now, ended: LegId, why: Ending, out: &mut Vec<Command>) {
        if self.is_second(ended) {
            return self.second_ended(now, why, out);
        }
        if self.is_beside(ended) {
            let result = match why {
                Ending::Bye { .. } | Ending::Cancel => InterventionResult::Cancelled,
                Ending::Ours | Ending::NoAck | Ending::Lost => InterventionResult::Lost,
            };
            return self.beside_fails(now, result, out);
        }
        match self.state {
            State::Talking { leg, .. } if leg == ended && self.transfer.is_some() => self.agent_left(now, why, out),
            State::Talking { talker, leg, .. } if leg == ended => match why {
                Ending::Bye { q850 } => {
                    self.book.record.times.agent_hangup.get_or_insert(self.book.time(now));
                    self.last_has_left(now, EndedBy::Agent, q850.unwrap_or(NORMAL), out);
                }
                // The phone, not the agent, is gone: the citizen goes back to the line with the old place.
                Ending::Cancel | Ending::Ours | Ending::NoAck | Ending::Lost => self.back_to_line(now, talker, out),
            },
            State::Ringing { .. } => self.decline(now, ended, Declined::Unreachable, out),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => {}
        }
    }

    /// Somebody who may asked for the end.
    pub(in crate::call) fn hang_up(&mut self, now: Now, out: &mut Vec<Command>) {
        self.end(now, EndedBy::Operator, NORMAL, out);
    }

    /// The deadline of the present state came.
    pub(in crate::call) fn expired(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.transfer.as_ref().is_some_and(|transfer| transfer.next_deadline() <= now.mono) {
            self.target_expired(now, out);
            self.second_expired(now, out);
        }
        self.beside_expired(now, out);
        if self.deadline > now.mono && self.next_deadline() > now.mono {
            return;
        }
        match &mut self.state {
            State::Opening { .. } => self.refuse(now, 500, TEMPORARY_FAILURE, EndedBy::Fault, out),
            State::Connecting => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
            State::Ivr { run } | State::Asked { run } => {
                let event = match run.next_deadline() {
                    Some(at) if at <= now.mono => ivr::event::Event::Deadline,
                    Some(_) | None => ivr::event::Event::Played,
                };
                self.flow_event(now, event, out);
            }
            State::Waiting => {
                if self.comfort_at <= now.mono {
                    self.console(now, out);
                }
                if self.deadline <= now.mono {
                    self.wait(now, out);
                }
            }
            State::Ringing { rung } => {
                let late: Vec<LegId> = rung.iter().filter(|rung| rung.until <= now.mono).map(|rung| rung.leg).collect();
                for leg in late {
                    self.drop_agent(leg, NO_ANSWER, out);
                    self.decline(now, leg, Declined::NoAnswer, out);
                }
            }
            State::Talking { held: true, .. } if self.deadline <= now.mono => self.hold_overdue(now, out),
            State::Aside(_) if self.deadline <= now.mono => self.recall(now, out),
            State::Aside(_) => {}
            // Silence on the wire is what ends a talk that nobody hangs up: see `quiet`.
            State::Talking { held: true, .. } => {}
            State::Talking { held: false, .. } | State::Handed => self.deadline = Mono(u64::MAX),
            State::Apologising => self.end(now, EndedBy::Flow, NORMAL, out),
            State::Ending => {}
        }
    }

    /// Ends the call from whatever state it is in; a second end changes nothing.
    pub(in crate::call) fn end(&mut self, now: Now, by: EndedBy, q850: u8, out: &mut Vec<Command>) {
        let Some(stage) = self.stage() else { return };
        let connected = self.book.record.times.connected.is_some();
        let sip_status = match (connected, by) {
            (true, _) => 200,
            (false, EndedBy::Operator | EndedBy::Flow) => 480,
            (false, EndedBy::Caller) => 487,
            (false, EndedBy::Agent | EndedBy::Target | EndedBy::Refused | EndedBy::Network | EndedBy::Fault) => 500,
        };
        self.finish(now, End { stage, by, sip_status, q850 }, out);
    }

    pub(super) fn finish(&mut self, now: Now, end: End, out: &mut Vec<Command>) {
        match &self.state {
            // One who was let go may be in the line again, if that crossed with our word to a new owner.
            State::Waiting | State::Ringing { .. } | State::Apologising => {
                self.acd(Acd::Cancel { call: self.id }, out);
            }
            State::Talking { talker, .. } => self.talk_ended(*talker, out),
            State::Handed | State::Aside(_) | State::Asked { .. } => {}
            State::Opening { .. } | State::Connecting | State::Ivr { .. } => {}
            State::Ending => return,
        }
        if self.book.record.recording.is_some() {
            out.push(Command::Media(Media::StopRecording {
                citizen: self.citizen.id,
                recording: self.recording,
                at: now,
            }));
        }
        let result = match self.transfer.as_ref().map(Transfer::is_answered) {
            Some(true) => TransferResult::Returned,
            Some(false) if end.by == EndedBy::Caller => TransferResult::CallerGone,
            Some(false) | None => TransferResult::Cancelled,
        };
        self.transfer_over(now, result, out);
        self.beside_leaves(now, InterventionResult::Cancelled, out);
        self.close_interventions(now, InterventionResult::Cancelled);
        (self.room, self.pair, self.guest) = (Room::Alone, None, None);
        let q850 = if end.by == EndedBy::Fault { NETWORK_OUT_OF_ORDER } else { NORMAL };
        self.citizen.hang_up(q850, out);
        for agent in &mut self.agents {
            agent.hang_up(q850, out);
        }
        self.book.ended(now, end, out);
        self.enter(now, State::Ending, LINGER_MAX, out);
    }
}
