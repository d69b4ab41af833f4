//! The citizen's side: connecting, the flow, and what they are played.
//!
//! Owns the road from the INVITE to the queue. Never chooses an agent.

use super::{ACK_WAIT_MAX, CONGESTION, Call, Fresh, INCOMPATIBLE, NO_RESOURCE, NORMAL, PROMPT_MAX, State};
use crate::base::fact::{End, EndedBy, InterventionResult, Stage};
use crate::base::{LegId, Now};
use crate::call::event::{Command, Towards};
use crate::call::leg::{Dialog, DigitWay, pressed};
use crate::ivr;
use crate::media::event::{Action as Media, RecordingStart, Track};
use crate::sip::event::Action as Sip;
use bytes::Bytes;

impl Call {
    /// The trunk has a channel for the call, or it came by none.
    pub(in crate::call) fn channel_granted(&mut self, out: &mut Vec<Command>) {
        if let State::Opening { towards, .. } = self.state {
            let leg = self.citizen.id;
            out.push(Command::OpenPort { leg, beside: None, towards: Towards::Address(towards) });
        }
    }

    /// The trunk brings more calls than agreed.
    pub(in crate::call) fn channel_refused(&mut self, now: Now, out: &mut Vec<Command>) {
        if matches!(self.state, State::Opening { .. }) {
            let trunk = self.settings.trunk_named(&self.book.record.trunk);
            let status = trunk.map_or(503, |(_, profile)| profile.full_status);
            self.refuse(now, status, CONGESTION, EndedBy::Refused, out);
        }
    }

    /// The leg that holds a channel of its trunk.
    pub(in crate::call) fn channel(&self) -> Option<LegId> {
        self.settings.trunk_named(&self.book.record.trunk).map(|_| self.citizen.id)
    }

    /// The port of `leg` is bound.
    pub(in crate::call) fn port_opened(
        &mut self,
        now: Now,
        leg: LegId,
        local: std::net::SocketAddr,
        seed: u64,
        out: &mut Vec<Command>,
    ) {
        if leg == self.citizen.id {
            self.connect(now, local, seed, out);
        } else if self.replacing.as_ref().is_some_and(|replacing| replacing.new == leg) {
            self.take_place(now, local, seed, out);
        } else if self.coming.as_ref().is_some_and(|coming| coming.leg == leg) {
            self.second_comes(now, local, seed, out);
        } else if self.is_of_transfer(leg) {
            self.target_port(now, leg, Some((local, seed)), out);
        } else if self.is_beside(leg) {
            self.invite_beside(now, (local, seed), out);
        } else {
            self.invite(now, leg, local, seed, out);
        }
    }

    /// No port for `leg`.
    pub(in crate::call) fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if leg == self.citizen.id {
            if matches!(self.state, State::Opening { .. }) {
                self.refuse(now, 503, NO_RESOURCE, EndedBy::Refused, out);
            }
        } else if self.replacing.as_ref().is_some_and(|replacing| replacing.new == leg) {
            self.keep_place(503, out);
        } else if self.coming.as_ref().is_some_and(|coming| coming.leg == leg) {
            self.second_has_no_port(out);
        } else if self.is_of_transfer(leg) {
            self.target_port(now, leg, None, out);
        } else if self.is_beside(leg) {
            self.beside_fails(now, InterventionResult::Unreachable, out);
        } else {
            self.no_port_for_agent(now, leg, out);
        }
    }

    pub(super) fn connect(&mut self, now: Now, local: std::net::SocketAddr, seed: u64, out: &mut Vec<Command>) {
        let State::Opening { offer, .. } = &mut self.state else {
            return;
        };
        let offer = offer.take();
        self.citizen.open(now, local, seed, out);
        let sdp = match &offer {
            Some(offer) => self.citizen.answer(offer, out),
            None => self.citizen.offer(None).ok_or(500),
        };
        let sdp = match sdp {
            Ok(sdp) => sdp,
            Err(status) => return self.refuse(now, status, INCOMPATIBLE, EndedBy::Network, out),
        };
        let leg = self.citizen.id;
        self.citizen.dialog = Dialog::Alive;
        self.book.connected(now, self.recording, out);
        let recording = RecordingStart {
            recording: self.recording,
            contact: self.book.contact(),
            site: self.site().code.clone(),
            started: now,
            track: Track::Journey,
        };
        out.push(Command::Media(Media::Record { citizen: leg, recording }));
        out.push(Command::Sip(Sip::Respond { leg, status: 200, sdp: Some(sdp), q850: None, retry_after_s: None }));
        self.enter(now, State::Connecting, ACK_WAIT_MAX, out);
    }

    /// The ACK of a 2xx of ours; it carries the answer when the 2xx carried the offer.
    pub(in crate::call) fn acknowledged(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        if let Some(sdp) = sdp {
            let understood = self.leg_mut(leg).is_some_and(|leg| leg.accept(&sdp, out));
            if !understood && leg == self.citizen.id && matches!(self.state, State::Connecting) {
                return self.end(now, EndedBy::Network, INCOMPATIBLE, out);
            }
            self.follow_hold(now, leg, out);
        }
        if leg == self.citizen.id && matches!(self.state, State::Connecting) {
            self.book.record.times.ivr_in = Some(self.book.time(now));
            let run = ivr::Run::new(self.flow.clone(), std::mem::take(&mut self.opening));
            self.enter(now, State::Ivr { run }, PROMPT_MAX, out);
            self.flow_event(now, ivr::event::Event::Start, out);
        }
    }

    /// A digit from the citizen's phone, or the agent's.
    pub(in crate::call) fn digit(
        &mut self,
        now: Now,
        leg: LegId,
        (digit, way): (u8, DigitWay),
        fresh: Fresh,
        out: &mut Vec<Command>,
    ) {
        if !self.leg_mut(leg).is_some_and(|side| side.hears(way)) {
            return;
        }
        if self.is_beside(leg) {
            return self.supervisor_key(now, digit, out);
        }
        if self.target_key(now, leg, digit, out) {
            return;
        }
        let is_agent = matches!(self.state, State::Talking { leg: agent, .. } if agent == leg);
        if is_agent && self.agent_key(now, digit, fresh, out) {
            return;
        }
        // Those of RFC 4733 pass with the media.
        if let (DigitWay::Info, Some(to)) = (way, self.digit_goes_to(leg)) {
            out.extend(pressed(to, digit));
        }
        if leg == self.citizen.id {
            self.flow_event(now, ivr::event::Event::Digit(digit), out);
            self.line_key(now, digit, out);
        }
    }

    /// What the citizen was played has come to its end.
    pub(in crate::call) fn played(&mut self, now: Now, leg: LegId, play: u32, out: &mut Vec<Command>) {
        if leg != self.citizen.id || play != self.play {
            return;
        }
        match &self.state {
            State::Ivr { .. } | State::Asked { .. } => self.flow_event(now, ivr::event::Event::Played, out),
            State::Waiting | State::Ringing { .. } | State::Aside(_) => self.music(out),
            State::Apologising => self.end(now, EndedBy::Flow, NORMAL, out),
            // What a citizen who is left aside hears first.
            State::Talking { .. } | State::Handed if self.room.has_music() => self.music(out),
            State::Opening { .. } | State::Connecting | State::Talking { .. } | State::Handed | State::Ending => {}
        }
    }

    pub(in crate::call) fn flow_event(&mut self, now: Now, event: ivr::event::Event, out: &mut Vec<Command>) {
        let (State::Ivr { run } | State::Asked { run }) = &mut self.state else { return };
        let mut commands = Vec::new();
        run.handle(now, event, &mut commands);
        self.deadline = now.mono + PROMPT_MAX;
        for command in commands {
            self.flow_command(now, command, out);
        }
    }

    pub(in crate::call) fn flow_command(&mut self, now: Now, command: ivr::event::Command, out: &mut Vec<Command>) {
        use ivr::event::Command as Flow;
        match command {
            Flow::Play(prompts) => self.play(prompts, false, out),
            Flow::Stop => out.push(Command::Media(Media::Stop { leg: self.citizen.id })),
            Flow::Collected { node, digits } => {
                self.scored(now, &digits, out);
                self.book.record.collected.push((node, digits));
            }
            Flow::Queue { queue, priority } => {
                self.book.record.times.ivr_out = Some(self.book.time(now));
                self.enqueue(now, queue, priority.saturating_add(self.entry_priority).min(100), out);
            }
            Flow::HangUp => {
                if let State::Ivr { .. } = self.state {
                    self.book.record.times.ivr_out = Some(self.book.time(now));
                }
                self.end(now, EndedBy::Flow, NORMAL, out);
            }
        }
    }

    pub(super) fn refuse(&mut self, now: Now, status: u16, q850: u8, by: EndedBy, out: &mut Vec<Command>) {
        let leg = self.citizen.id;
        self.citizen.dialog = Dialog::Ending;
        out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s: None }));
        self.finish(now, End { stage: Stage::Offered, by, sip_status: status, q850 }, out);
    }
}
