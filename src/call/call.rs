//! One call: a citizen's contact as a state machine.
//!
//! ```text
//! Opening → Connecting → Ivr → Waiting ⇄ Ringing → Talking ⇄ (hold)
//!                          │       ↑__________________│ the agent's phone is lost
//!                          └→ Apologising → Ending ←── every state, when either side or an operator ends it
//! ```
//!
//! Owns what the citizen hears and to whom they are joined. The rule above all: a failure on the agent's side brings the
//! citizen back to the queue with their place; only the citizen, the agent who talks, an operator, the flow or the
//! citizen's own network ends the call.

use super::event::{Command, Settings, SiteSettings, Towards};
use super::leg::{Dialog, Leg};
use super::record::Book;
use crate::acd::event::{Declined, Enqueue, Event as Acd, Lease, Released};
use crate::base::fact::{AttemptOutcome, End, EndedBy, Stage};
use crate::base::{AgentId, CallId, LegId, Mono, Now, OrderId, PromptId, QueueId, RecordingId, SiteId};
use crate::ivr;
use crate::media::event::{Action as Media, RecordingStart};
use crate::sip::event::{Action as Sip, Ending, Invite};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A port is bound in the same pass; later than this it never will be. A caller for whose agent there was none asks again
/// after as long.
const PORT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Beyond 64×T1 (32 s), in which the user agent waits for the ACK.
const ACK_WAIT_MAX: Duration = Duration::from_secs(40);
/// No prompt is longer; a flow that hears nothing for so long goes on as if its prompt had been played.
const PROMPT_MAX: Duration = Duration::from_secs(300);
/// A waiting caller is named to the ACD again this often, so that no lost message strands anybody.
const REQUEUE_EVERY: Duration = Duration::from_secs(30);
/// The phone is told to stop ringing a little before the lease ends, so that an answer at the last moment counts.
const RING_MARGIN: Duration = Duration::from_millis(500);
/// After the lease's end this long for the ACD to say so.
const REVOKE_WAIT_MAX: Duration = Duration::from_secs(5);
/// The apology is cut off after this.
const APOLOGY_MAX: Duration = Duration::from_secs(30);
/// Longer than any SIP transaction (64×T1) that may still end a leg.
const LINGER_MAX: Duration = Duration::from_secs(70);
/// Neither RTP nor RTCP for so long: the far end is asked whether it is still there.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Q.850: normal call clearing.
pub(super) const NORMAL: u8 = 16;
const NO_ANSWER: u8 = 19;
const NETWORK_OUT_OF_ORDER: u8 = 38;
const TEMPORARY_FAILURE: u8 = 41;
const NO_RESOURCE: u8 = 47;
const INCOMPATIBLE: u8 = 88;
const TIMER_EXPIRED: u8 = 102;

#[derive(Debug)]
enum State {
    /// A port was asked for.
    Opening { offer: Option<Bytes> },
    /// 200 is sent; its ACK is awaited.
    Connecting,
    /// In the flow.
    Ivr { run: ivr::Run },
    /// In the queue: announcement, then music.
    Waiting,
    /// An agent is booked and being rung; the citizen hears music.
    Ringing { lease: Lease, leg: LegId },
    /// Joined to an agent.
    Talking { lease: Lease, leg: LegId, held: bool },
    /// Hears why we must hang up.
    Apologising,
    /// All is told; the legs run out.
    Ending,
}

/// What a call is born with.
pub(super) struct Birth {
    pub(super) id: CallId,
    pub(super) site: SiteId,
    pub(super) leg: LegId,
    pub(super) offer: Option<Bytes>,
    pub(super) flow: Arc<ivr::Flow>,
    pub(super) opening: Vec<PromptId>,
    pub(super) priority: u8,
    pub(super) book: Book,
    pub(super) recording: RecordingId,
    pub(super) order: OrderId,
    pub(super) settings: Arc<Settings>,
}

/// One citizen's contact.
#[derive(Debug)]
pub(super) struct Call {
    id: CallId,
    site: SiteId,
    settings: Arc<Settings>,
    state: State,
    citizen: Leg,
    /// The agents' legs, the one in use and those that run out.
    agents: Vec<Leg>,
    flow: Arc<ivr::Flow>,
    opening: Vec<PromptId>,
    entry_priority: u8,
    queue: Option<(QueueId, u8)>,
    /// Since when the caller waits: kept when they come back to the queue.
    queued_since: Mono,
    play: u32,
    recording: RecordingId,
    order: OrderId,
    book: Book,
    deadline: Mono,
}

impl Call {
    /// A new INVITE: asks for a port.
    pub(super) fn offered(birth: Birth, now: Now, towards: std::net::SocketAddr, out: &mut Vec<Command>) -> Call {
        let leg = birth.leg;
        let mut call = Call {
            id: birth.id,
            site: birth.site,
            settings: birth.settings,
            state: State::Opening { offer: birth.offer },
            citizen: Leg::new(leg, Dialog::Unanswered),
            agents: Vec::new(),
            flow: birth.flow,
            opening: birth.opening,
            entry_priority: birth.priority,
            queue: None,
            queued_since: now.mono,
            play: 0,
            recording: birth.recording,
            order: birth.order,
            book: birth.book,
            deadline: now.mono + PORT_WAIT_MAX,
        };
        call.show(now, out);
        out.push(Command::OpenPort { leg, beside: None, towards: Towards::Address(towards) });
        call
    }

    /// When [`Call::expired`] wants to be called.
    pub(super) fn next_deadline(&self) -> Mono {
        match &self.state {
            State::Ivr { run } => run.next_deadline().map_or(self.deadline, |at| at.min(self.deadline)),
            State::Opening { .. }
            | State::Connecting
            | State::Waiting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Apologising
            | State::Ending => self.deadline,
        }
    }

    /// Everything is told and every leg has run out: the call may be forgotten.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        let gone = |leg: &Leg| leg.dialog == Dialog::Gone;
        matches!(self.state, State::Ending)
            && (self.deadline <= now || gone(&self.citizen) && self.agents.iter().all(gone))
    }

    /// Whether the citizen is still being served.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Ending)
    }

    /// All legs that may still be spoken of.
    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        std::iter::once(self.citizen.id).chain(self.agents.iter().map(|leg| leg.id))
    }

    fn site(&self) -> &SiteSettings {
        &self.settings.sites[self.site.index()]
    }

    fn agent_name(&self, agent: AgentId) -> Box<str> {
        let identity = self.settings.agents.get(agent.index()).and_then(Option::as_ref);
        identity.map_or_else(|| format!("agent-{}", agent.0).into(), |identity| identity.name.clone())
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        if self.citizen.id == id {
            return Some(&mut self.citizen);
        }
        self.agents.iter_mut().find(|leg| leg.id == id)
    }

    fn stage(&self) -> Option<Stage> {
        match &self.state {
            State::Opening { .. } | State::Connecting => Some(Stage::Offered),
            State::Ivr { .. } => Some(Stage::Ivr),
            State::Waiting | State::Apologising => Some(Stage::Queued),
            State::Ringing { .. } => Some(Stage::Ringing),
            State::Talking { .. } => Some(Stage::Talking),
            State::Ending => None,
        }
    }

    fn lease(&self) -> Option<(Lease, LegId)> {
        match &self.state {
            State::Ringing { lease, leg } | State::Talking { lease, leg, .. } => Some((*lease, *leg)),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Apologising
            | State::Ending => None,
        }
    }

    fn show(&mut self, now: Now, out: &mut Vec<Command>) {
        let agent = self.lease().map(|(lease, _)| lease.agent);
        let queue = self.queue.map(|(queue, _)| queue);
        self.book.show(now.wall, self.id, self.stage(), queue, agent, out);
    }

    fn enter(&mut self, now: Now, state: State, wait_max: Duration, out: &mut Vec<Command>) {
        self.state = state;
        self.deadline = now.mono + wait_max;
        self.show(now, out);
    }

    fn acd(&self, event: Acd, out: &mut Vec<Command>) {
        out.push(Command::Acd { site: self.site, event });
    }

    fn play(&mut self, prompts: Vec<PromptId>, repeat: bool, out: &mut Vec<Command>) {
        self.play += 1;
        out.push(Command::Media(Media::Play { leg: self.citizen.id, play: self.play, prompts, repeat }));
    }
}

/// The citizen's side: connecting and the flow.
impl Call {
    /// The port of `leg` is bound.
    pub(super) fn port_opened(
        &mut self,
        now: Now,
        leg: LegId,
        local: std::net::SocketAddr,
        seed: u64,
        out: &mut Vec<Command>,
    ) {
        if leg == self.citizen.id {
            self.connect(now, local, seed, out);
        } else {
            self.invite(now, leg, local, seed, out);
        }
    }

    /// No port for `leg`.
    pub(super) fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if leg == self.citizen.id {
            if matches!(self.state, State::Opening { .. }) {
                self.refuse(now, 503, NO_RESOURCE, EndedBy::Refused, out);
            }
        } else {
            self.no_port_for_agent(now, leg, out);
        }
    }

    fn connect(&mut self, now: Now, local: std::net::SocketAddr, seed: u64, out: &mut Vec<Command>) {
        let State::Opening { offer } = &mut self.state else {
            return;
        };
        let offer = offer.take();
        self.citizen.open(local, seed, out);
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
        self.book.connected(now.wall, self.recording, out);
        let recording = RecordingStart {
            recording: self.recording,
            contact: self.book.contact(),
            site: self.site().code.clone(),
            started: now,
        };
        out.push(Command::Media(Media::Record { citizen: leg, recording }));
        out.push(Command::Sip(Sip::Respond { leg, status: 200, sdp: Some(sdp), q850: None, retry_after_s: None }));
        self.enter(now, State::Connecting, ACK_WAIT_MAX, out);
    }

    /// The ACK of a 2xx of ours; it carries the answer when the 2xx carried the offer.
    pub(super) fn acknowledged(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        if let Some(sdp) = sdp {
            let understood = self.leg_mut(leg).is_some_and(|leg| leg.accept(&sdp, out));
            if !understood && leg == self.citizen.id && matches!(self.state, State::Connecting) {
                return self.end(now, EndedBy::Network, INCOMPATIBLE, out);
            }
            self.follow_hold(leg, out);
        }
        if leg == self.citizen.id && matches!(self.state, State::Connecting) {
            self.book.record.times.ivr_in = Some(now.wall);
            let run = ivr::Run::new(self.flow.clone(), std::mem::take(&mut self.opening));
            self.enter(now, State::Ivr { run }, PROMPT_MAX, out);
            self.flow_event(now, ivr::event::Event::Start, out);
        }
    }

    /// A digit from the citizen's phone.
    pub(super) fn digit(&mut self, now: Now, leg: LegId, digit: u8, out: &mut Vec<Command>) {
        if leg == self.citizen.id {
            self.flow_event(now, ivr::event::Event::Digit(digit), out);
        }
    }

    /// What the citizen was played has come to its end.
    pub(super) fn played(&mut self, now: Now, leg: LegId, play: u32, out: &mut Vec<Command>) {
        if leg != self.citizen.id || play != self.play {
            return;
        }
        match &self.state {
            State::Ivr { .. } => self.flow_event(now, ivr::event::Event::Played, out),
            State::Waiting | State::Ringing { .. } => self.music(out),
            State::Apologising => self.end(now, EndedBy::Flow, NORMAL, out),
            State::Opening { .. } | State::Connecting | State::Talking { .. } | State::Ending => {}
        }
    }

    fn flow_event(&mut self, now: Now, event: ivr::event::Event, out: &mut Vec<Command>) {
        let State::Ivr { run } = &mut self.state else { return };
        let mut commands = Vec::new();
        run.handle(now, event, &mut commands);
        self.deadline = now.mono + PROMPT_MAX;
        for command in commands {
            self.flow_command(now, command, out);
        }
    }

    fn flow_command(&mut self, now: Now, command: ivr::event::Command, out: &mut Vec<Command>) {
        use ivr::event::Command as Flow;
        match command {
            Flow::Play(prompts) => self.play(prompts, false, out),
            Flow::Stop => out.push(Command::Media(Media::Stop { leg: self.citizen.id })),
            Flow::Collected { node, digits } => self.book.record.collected.push((node, digits)),
            Flow::Queue { queue, priority } => {
                self.book.record.times.ivr_out = Some(now.wall);
                self.enqueue(now, queue, priority.saturating_add(self.entry_priority).min(100), out);
            }
            Flow::HangUp => {
                self.book.record.times.ivr_out = Some(now.wall);
                self.end(now, EndedBy::Flow, NORMAL, out);
            }
        }
    }

    fn refuse(&mut self, now: Now, status: u16, q850: u8, by: EndedBy, out: &mut Vec<Command>) {
        let leg = self.citizen.id;
        self.citizen.dialog = Dialog::Ending;
        out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s: None }));
        self.finish(now, End { stage: Stage::Offered, by, sip_status: status, q850 }, out);
    }
}

/// The queue and the agent's side.
impl Call {
    fn enqueue(&mut self, now: Now, queue: QueueId, priority: u8, out: &mut Vec<Command>) {
        self.queue = Some((queue, priority));
        self.queued_since = now.mono;
        let name = self.site().queues[queue.index()].name.clone();
        self.book.queued(now.wall, &name, self.order, out);
        match self.site().queues[queue.index()].announcement {
            Some(announcement) => self.play(vec![announcement], false, out),
            None => self.music(out),
        }
        self.wait(now, out);
    }

    /// Into the line, or named to it again; the ACD takes a caller it knows as it stands.
    fn wait(&mut self, now: Now, out: &mut Vec<Command>) {
        let Some((queue, priority)) = self.queue else { return };
        self.enter(now, State::Waiting, REQUEUE_EVERY, out);
        let (call, contact, since) = (self.id, self.book.contact(), self.queued_since);
        self.acd(Acd::Enqueue(Enqueue { call, contact, queue, priority, since }), out);
    }

    fn music(&mut self, out: &mut Vec<Command>) {
        let Some((queue, _)) = self.queue else { return };
        let music = self.site().queues[queue.index()].music;
        self.play(vec![music], true, out);
    }

    /// The ACD booked an agent: a leg of theirs is opened.
    pub(super) fn agent_offered(
        &mut self,
        now: Now,
        lease: Lease,
        ring_until: Mono,
        leg: LegId,
        out: &mut Vec<Command>,
    ) {
        match &self.state {
            State::Waiting => {}
            // Crossed with our own Cancel or a late answer: the ACD frees the lease when it hears of that.
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Apologising
            | State::Ending => return,
        }
        let name = self.agent_name(lease.agent);
        self.book.assigned(now.wall, &name);
        self.agents.push(Leg::new(leg, Dialog::Gone));
        self.enter(now, State::Ringing { lease, leg }, ring_until.since(now.mono) + REVOKE_WAIT_MAX, out);
        out.push(Command::OpenPort { leg, beside: Some(self.citizen.id), towards: Towards::Agent(lease.agent) });
    }

    fn invite(&mut self, now: Now, leg: LegId, local: std::net::SocketAddr, seed: u64, out: &mut Vec<Command>) {
        let State::Ringing { lease, leg: ringing } = self.state else {
            return;
        };
        if ringing != leg {
            return;
        }
        let ring_max = self.deadline.since(now.mono).saturating_sub(REVOKE_WAIT_MAX + RING_MARGIN);
        let codec = self.citizen.codec();
        let (user, domain) = (self.agent_name(lease.agent), self.site().domain.clone());
        let headers = vec![
            ("X-Jiesu-Contact".into(), self.book.contact().to_string().into()),
            ("X-Jiesu-Order".into(), self.order.to_string().into()),
        ];
        let caller: Box<str> = crate::base::number::Number::parse(&self.book.record.caller, "")
            .map_or_else(|_| self.book.record.caller.clone(), |number| number.national().into());
        let Some(agent) = self.agents.iter_mut().find(|agent| agent.id == leg) else {
            return;
        };
        agent.open(local, seed, out);
        let Some(sdp) = agent.offer(codec) else { return };
        agent.dialog = Dialog::Alive;
        let invite = Invite {
            leg,
            user,
            domain,
            caller_name: caller.clone(),
            caller,
            sdp,
            headers,
            ring_max: ring_max.max(RING_MARGIN),
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
    }

    /// The agent's phone rings.
    pub(super) fn ringing(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if let State::Ringing { lease, leg: ringing } = self.state
            && ringing == leg
            && !self.book.has_rung()
        {
            self.book.ringing(now.wall);
            self.acd(Acd::Ringing { lease }, out);
        }
    }

    /// The agent answered: the two are joined.
    pub(super) fn answered(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        let State::Ringing { lease, leg: ringing } = self.state else {
            return;
        };
        if ringing != leg {
            return;
        }
        let understood = self.leg_mut(leg).is_some_and(|leg| leg.accept(sdp, out));
        if !understood {
            self.drop_agent(leg, INCOMPATIBLE, out);
            return self.decline(now, leg, Declined::Unreachable, out);
        }
        self.acd(Acd::Answered { lease }, out);
        self.book.answered(now.wall, out);
        self.enter(now, State::Talking { lease, leg, held: false }, Duration::MAX, out);
        out.push(Command::Media(Media::Bridge { a: self.citizen.id, b: leg }));
        self.follow_hold(leg, out);
    }

    /// The INVITE to the agent came to nothing.
    pub(super) fn failed(&mut self, now: Now, leg: LegId, status: u16, out: &mut Vec<Command>) {
        let ours = self.leg_mut(leg).is_some_and(|leg| leg.dialog == Dialog::Ending);
        self.agent_gone(leg);
        if let Some(leg) = self.leg_mut(leg) {
            leg.close(out);
        }
        if ours {
            return;
        }
        if let State::Talking { leg: talking, .. } = self.state
            && talking == leg
        {
            return self.agent_ended(now, leg, Ending::Lost, out);
        }
        let why = match (status, self.book.has_rung()) {
            (486 | 600 | 603, _) | (480, true) => Declined::Rejected,
            (408 | 487, true) => Declined::NoAnswer,
            _ => Declined::Unreachable,
        };
        self.decline(now, leg, why, out);
    }

    /// The offer to the agent of `leg` is over: back into the line, at the old place.
    fn decline(&mut self, now: Now, leg: LegId, why: Declined, out: &mut Vec<Command>) {
        let State::Ringing { lease, leg: ringing } = self.state else {
            return;
        };
        if ringing != leg {
            return;
        }
        let outcome = match why {
            Declined::Rejected => AttemptOutcome::Rejected,
            Declined::NoAnswer => AttemptOutcome::NoAnswer,
            Declined::Unreachable => AttemptOutcome::Unreachable,
        };
        self.book.attempted(now.wall, outcome);
        self.enter(now, State::Waiting, REQUEUE_EVERY, out);
        self.acd(Acd::Declined { lease, why }, out);
    }

    /// Our want of ports is not the agent's fault: the booking is given back without blame, and the caller asks again.
    fn no_port_for_agent(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        match self.state {
            State::Ringing { leg: ringing, .. } if ringing == leg => {
                self.book.attempted(now.wall, AttemptOutcome::Unreachable);
                self.acd(Acd::Cancel { call: self.id }, out);
                self.enter(now, State::Waiting, PORT_WAIT_MAX, out);
            }
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Apologising
            | State::Ending => {}
        }
    }

    /// The ACD took its offer back.
    pub(super) fn revoked(&mut self, now: Now, lease: Lease, out: &mut Vec<Command>) {
        match self.state {
            State::Ringing { lease: ours, leg } if ours == lease => {
                self.drop_agent(leg, NO_ANSWER, out);
                self.book.attempted(now.wall, AttemptOutcome::NoAnswer);
                self.enter(now, State::Waiting, REQUEUE_EVERY, out);
            }
            // The answer was faster than the end of the lease: they talk on, and the line forgets the caller.
            State::Talking { lease: ours, .. } if ours == lease => self.acd(Acd::Cancel { call: self.id }, out),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Apologising
            | State::Ending => {}
        }
    }

    /// The ACD let the caller go without an agent.
    pub(super) fn released(&mut self, now: Now, _why: Released, out: &mut Vec<Command>) {
        let (State::Waiting, Some((queue, _))) = (&self.state, self.queue) else {
            return;
        };
        let apology = self.site().queues[queue.index()].apology;
        self.enter(now, State::Apologising, APOLOGY_MAX, out);
        self.play(vec![apology], false, out);
    }

    fn agent_gone(&mut self, leg: LegId) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.dialog = Dialog::Gone;
        }
    }

    fn drop_agent(&mut self, leg: LegId, q850: u8, out: &mut Vec<Command>) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.hang_up(q850, out);
        }
    }
}

/// While the dialogs stand: hold, silence, the end.
impl Call {
    /// The other side of `leg` describes its media anew.
    pub(super) fn reoffered(&mut self, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        let Some(side) = self.leg_mut(leg) else { return };
        let answer = match sdp {
            Some(offer) => side.answer(&offer, out),
            None => side.offer(None).ok_or(500),
        };
        out.push(Command::Sip(Sip::AnswerReoffer { leg, answer }));
        self.follow_hold(leg, out);
    }

    /// Our own re-INVITE was answered.
    pub(super) fn reoffer_answered(&mut self, leg: LegId, answer: Result<Bytes, u16>, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.probed(answer, out);
        }
        self.follow_hold(leg, out);
    }

    /// An agent who holds leaves the citizen with music; one who comes back is joined again.
    fn follow_hold(&mut self, changed: LegId, out: &mut Vec<Command>) {
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
    pub(super) fn quiet(&mut self, now: Now, leg: LegId, silent: Duration, out: &mut Vec<Command>) {
        if silent >= QUIET_MAX
            && self.is_live()
            && let Some(leg) = self.leg_mut(leg)
        {
            leg.probe(now.mono, out);
        }
    }

    /// The dialog of `leg` is over.
    pub(super) fn leg_ended(&mut self, now: Now, leg: LegId, why: Ending, out: &mut Vec<Command>) {
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

    fn citizen_ended(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
        match why {
            Ending::Bye { q850 } => {
                self.book.record.times.caller_hangup.get_or_insert(now.wall);
                self.end(now, EndedBy::Caller, q850.unwrap_or(NORMAL), out);
            }
            Ending::Cancel => {
                self.book.record.times.caller_hangup.get_or_insert(now.wall);
                let end = End { stage: Stage::Offered, by: EndedBy::Caller, sip_status: 487, q850: NORMAL };
                self.finish(now, end, out);
            }
            Ending::NoAck | Ending::Lost => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
            Ending::Ours => self.end(now, EndedBy::Fault, TEMPORARY_FAILURE, out),
        }
    }

    fn agent_ended(&mut self, now: Now, ended: LegId, why: Ending, out: &mut Vec<Command>) {
        match self.state {
            State::Talking { lease, leg, .. } if leg == ended => match why {
                Ending::Bye { q850 } => {
                    self.book.record.times.agent_hangup.get_or_insert(now.wall);
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
            State::Ringing { leg, .. } if leg == ended => self.decline(now, ended, Declined::Unreachable, out),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Ringing { .. }
            | State::Talking { .. }
            | State::Apologising
            | State::Ending => {}
        }
    }

    /// Somebody who may asked for the end.
    pub(super) fn hang_up(&mut self, now: Now, out: &mut Vec<Command>) {
        self.end(now, EndedBy::Operator, NORMAL, out);
    }

    /// The deadline of the present state came.
    pub(super) fn expired(&mut self, now: Now, out: &mut Vec<Command>) {
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
            State::Ringing { lease, leg } => {
                let (lease, leg) = (*lease, *leg);
                self.drop_agent(leg, NO_ANSWER, out);
                self.decline(now, leg, Declined::NoAnswer, out);
                debug_assert!(matches!(self.state, State::Waiting), "{lease:?} has been given back");
            }
            // Silence on the wire is what ends a talk that nobody hangs up: see `quiet`.
            State::Talking { .. } => self.deadline = Mono(u64::MAX),
            State::Apologising => self.end(now, EndedBy::Flow, NORMAL, out),
            State::Ending => {}
        }
    }

    /// Ends the call from whatever state it is in; a second end changes nothing.
    fn end(&mut self, now: Now, by: EndedBy, q850: u8, out: &mut Vec<Command>) {
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

    fn finish(&mut self, now: Now, end: End, out: &mut Vec<Command>) {
        match &self.state {
            State::Waiting | State::Ringing { .. } => self.acd(Acd::Cancel { call: self.id }, out),
            State::Talking { lease, .. } => self.acd(Acd::Ended { lease: *lease }, out),
            State::Opening { .. } | State::Connecting | State::Ivr { .. } | State::Apologising => {}
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
        self.book.ended(now.wall, end, out);
        self.enter(now, State::Ending, LINGER_MAX, out);
    }
}

impl Call {
    /// What must hold after every event.
    pub(super) fn check(&self) {
        if let Some((lease, leg)) = self.lease() {
            assert!(self.agents.iter().any(|agent| agent.id == leg), "{lease:?} has a leg");
            assert!(self.queue.is_some(), "an agent is booked for a queue");
        }
        if let State::Talking { leg, .. } = &self.state {
            let agent = self.agents.iter().find(|agent| agent.id == *leg);
            assert!(agent.is_some_and(|agent| agent.dialog == Dialog::Alive), "who talks has a dialog");
        }
        if self.is_live() {
            assert!(self.citizen.dialog != Dialog::Gone, "a live call has its citizen");
        }
    }
}

#[cfg(test)]
impl Call {
    /// The state as one letter, for tables.
    pub(super) fn letter(&self) -> char {
        match &self.state {
            State::Opening { .. } => 'O',
            State::Connecting => 'C',
            State::Ivr { .. } => 'I',
            State::Waiting => 'W',
            State::Ringing { .. } => 'R',
            State::Talking { held: false, .. } => 'T',
            State::Talking { held: true, .. } => 'H',
            State::Apologising => 'A',
            State::Ending => 'E',
        }
    }
}
