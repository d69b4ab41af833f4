//! While the dialogs stand: hold, silence, and the end.
//!
//! Owns the one road into `Ending`; a second end changes nothing.

use super::{
    Call, LINGER_MAX, MUTE_MAX, NETWORK_OUT_OF_ORDER, NO_ANSWER, NORMAL, QUIET_MAX, State, TEMPORARY_FAILURE,
    TIMER_EXPIRED,
};
use crate::acd::event::{Declined, Event as Acd};
use crate::base::fact::{End, EndedBy, Stage};
use crate::base::{LegId, Mono, Now};
use crate::call::event::Command;
use crate::ivr;
use crate::media::event::Action as Media;
use crate::sip::event::{Action as Sip, Ending};
use bytes::Bytes;
use std::time::Duration;

impl Call {
    /// The other side of `leg` describes its media anew.
    pub(in crate::call) fn reoffered(&mut self, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        let Some(side) = self.leg_mut(leg) else { return };
        let answer = match sdp {
            Some(offer) => side.answer(&offer, out),
            None => side.offer(None).ok_or(500),
        };
        out.push(Command::Sip(Sip::AnswerReoffer { leg, answer }));
        self.follow_hold(leg, out);
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
    pub(in crate::call) fn reoffer_answered(&mut self, leg: LegId, answer: Result<Bytes, u16>, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.probed(answer, out);
        }
        self.follow_hold(leg, out);
    }

    /// An agent who holds leaves the citizen with music; one who comes back is joined again.
    pub(super) fn follow_hold(&mut self, changed: LegId, out: &mut Vec<Command>) {
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
        let (citizen, agent, held) = (self.citizen.id, agent.id, *held);
        if held {
            out.push(Command::Media(Media::Unbridge { leg: citizen }));
            self.music(out);
        } else {
            out.push(Command::Media(Media::Bridge { a: citizen, b: agent }));
        }
    }

    /// Nothing was heard from `leg` for `silent`.
    pub(in crate::call) fn quiet(&mut self, now: Now, leg: LegId, silent: Duration, out: &mut Vec<Command>) {
        if silent < QUIET_MAX || !self.is_live() {
            return;
        }
        let Some(side) = self.leg_mut(leg) else { return };
        if silent < MUTE_MAX {
            return side.probe(now.mono, out);
        }
        side.hang_up(NETWORK_OUT_OF_ORDER, out);
        self.leg_ended(now, leg, Ending::Lost, out);
    }

    /// The dialog of `leg` is over.
    pub(in crate::call) fn leg_ended(&mut self, now: Now, leg: LegId, why: Ending, out: &mut Vec<Command>) {
        self.agent_gone(leg);
        if leg == self.citizen.id {
            self.citizen_ended(now, why, out);
        } else {
            if let Some(leg) = self.leg_mut(leg) {
                leg.close(out);
            }
            self.agent_ended(now, leg, why, out);
        }
    }

    pub(super) fn citizen_ended(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
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
        match self.state {
            State::Talking { lease, leg, .. } if leg == ended => match why {
                Ending::Bye { q850 } => {
                    self.book.record.times.agent_hangup.get_or_insert(self.book.time(now));
                    self.end(now, EndedBy::Agent, q850.unwrap_or(NORMAL), out);
                }
                // The phone, not the agent, is gone: the citizen goes back to the line with the old place.
                Ending::Cancel | Ending::Ours | Ending::NoAck | Ending::Lost => {
                    self.acd(Acd::Ended { lease }, out);
                    out.push(Command::Media(Media::Unbridge { leg: self.citizen.id }));
                    self.music(out);
                    self.wait(now, out);
                }
            },
            State::Ringing { .. } => self.decline(now, ended, Declined::Unreachable, out),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Talking { .. }
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
        match &mut self.state {
            State::Opening { .. } => self.refuse(now, 500, TEMPORARY_FAILURE, EndedBy::Fault, out),
            State::Connecting => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
            State::Ivr { run } => {
                let event = match run.next_deadline() {
                    Some(at) if at <= now.mono => ivr::event::Event::Deadline,
                    Some(_) | None => ivr::event::Event::Played,
                };
                self.flow_event(now, event, out);
            }
            State::Waiting => self.wait(now, out),
            State::Ringing { rung } => {
                let late: Vec<LegId> = rung.iter().filter(|rung| rung.until <= now.mono).map(|rung| rung.leg).collect();
                for leg in late {
                    self.drop_agent(leg, NO_ANSWER, out);
                    self.decline(now, leg, Declined::NoAnswer, out);
                }
            }
            // Silence on the wire is what ends a talk that nobody hangs up: see `quiet`.
            State::Talking { .. } => self.deadline = Mono(u64::MAX),
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
            (false, EndedBy::Agent | EndedBy::Refused | EndedBy::Network | EndedBy::Fault) => 500,
        };
        self.finish(now, End { stage, by, sip_status, q850 }, out);
    }

    pub(super) fn finish(&mut self, now: Now, end: End, out: &mut Vec<Command>) {
        match &self.state {
            // One who was let go may be in the line again, if that crossed with our word to a new owner.
            State::Waiting | State::Ringing { .. } | State::Apologising => {
                self.acd(Acd::Cancel { call: self.id }, out);
            }
            State::Talking { lease, .. } => self.acd(Acd::Ended { lease: *lease }, out),
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
        let q850 = if end.by == EndedBy::Fault { NETWORK_OUT_OF_ORDER } else { NORMAL };
        self.citizen.hang_up(q850, out);
        for agent in &mut self.agents {
            agent.hang_up(q850, out);
        }
        self.book.ended(now, end, out);
        self.enter(now, State::Ending, LINGER_MAX, out);
    }
}
