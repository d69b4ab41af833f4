//! One outbound call: a first leg, which asked for it, and a far side, which is [reached](Reach) over one route after
//! another.
//!
//! ```text
//! Opening → Dialling → Talking → Ending
//!    ↓         ↑
//!  Calling ____│
//! ```
//!
//! The first leg is an agent's phone: it has dialled, or it is rung first because somebody asked for the call by hand.
//! Nothing behind `Dialling` knows which.

use crate::acd::event::Declined;
use crate::base::fact::{AttemptResult, End, EndedBy, Party, Stage};
use crate::base::number::{Number, mask};
use crate::base::{AgentId, CallId, CallbackId, ContactId, LegId, Mono, Now, RecordingId, SiteId, TrunkId};
use crate::call::event::{Command, Settings, Towards};
use crate::call::leg::{Dialog, Leg, pressed};
use crate::call::q850::{
    INCOMPATIBLE, NETWORK_OUT_OF_ORDER, NO_ANSWER, NO_RESOURCE, NORMAL, TEMPORARY_FAILURE, TIMER_EXPIRED,
};
use crate::call::reach::{Failure, Progress, Reach, Wish};
use crate::call::record::{Book, Shown};
use crate::callback::event::{Event as Callback, Step};
use crate::media::event::{Action as Media, Counters, RecordingStart, Track};
use crate::sip::event::{Action as Sip, Destination, Ending, Flow, Invite};
use crate::trunk::dialling::Rule;
use crate::trunk::event::Refused;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A port is given in the same pass; later than this it never will be.
const PORT_WAIT_MAX: Duration = Duration::from_secs(1);
/// So long the phone of an agent rings who is to be joined with the far end.
const DESK_RING_MAX: Duration = Duration::from_secs(30);
/// The user agent bounds an INVITE a little later than we do.
const BOUND_MARGIN: Duration = Duration::from_secs(5);
/// A booked agent's phone stops ringing so long before the booking ends: an answer at the last moment counts.
const RING_MARGIN: Duration = Duration::from_millis(500);
/// Longer than any SIP transaction (64×T1) that may still end a leg.
const LINGER_MAX: Duration = Duration::from_secs(70);

#[derive(Debug)]
enum State {
    /// The first leg's port was asked for.
    Opening { first: First },
    /// The agent's phone rings.
    Calling,
    /// The far side is being reached. `early` once the first leg hears it.
    Dialling { early: bool },
    /// Joined.
    Talking,
    /// All is told; the legs run out.
    Ending,
}

/// How the first leg comes to be.
#[derive(Debug)]
enum First {
    /// It came, with this offer or none.
    Came(Option<Bytes>),
    /// We call the agent.
    Ours,
}

/// Who asks for an outbound call.
pub(super) enum Asker {
    /// An agent's phone has dialled.
    Phone { leg: LegId, offer: Option<Bytes>, towards: SocketAddr },
    /// It was asked for by hand: the agent's phone is to be rung by this leg.
    Desk { leg: LegId },
}

/// What an outbound call is born with.
pub(super) struct Birth {
    pub(super) id: CallId,
    pub(super) site: SiteId,
    pub(super) agent: AgentId,
    pub(super) settings: Arc<Settings>,
    pub(super) number: Number,
    pub(super) rule: Rule,
    pub(super) recording: RecordingId,
    pub(super) book: Book,
    pub(super) callback: Option<CallBack>,
}

/// The call-back of which a call is an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallBack {
    pub(super) callback: CallbackId,
    /// The agent's booking ends then.
    pub(super) ring_until: Mono,
}

/// One outbound call.
#[derive(Debug)]
pub(super) struct Outbound {
    id: CallId,
    site: SiteId,
    agent: AgentId,
    /// As they were when it began: trunks are numbered by them.
    settings: Arc<Settings>,
    state: State,
    first: Leg,
    /// What the first leg is answered with, when it made the offer.
    answer: Option<Bytes>,
    reach: Option<Reach>,
    number: Number,
    rule: Rule,
    recording: RecordingId,
    book: Book,
    callback: Option<CallBack>,
    deadline: Mono,
}

impl Outbound {
    pub(super) fn new(now: Now, birth: Birth, asker: Asker, out: &mut Vec<Command>) -> Outbound {
        let party = Party::Agent { name: birth.book.record.agent.clone().unwrap_or_default() };
        let (first, how, towards) = match asker {
            Asker::Phone { leg, offer, towards } => {
                (Leg::new(leg, Dialog::Unanswered, party), First::Came(offer), Towards::Address(towards))
            }
            Asker::Desk { leg } => (Leg::new(leg, Dialog::Gone, party), First::Ours, Towards::Agent(birth.agent)),
        };
        let leg = first.id;
        let mut call = Outbound {
            id: birth.id,
            site: birth.site,
            agent: birth.agent,
            settings: birth.settings,
            state: State::Opening { first: how },
            first,
            answer: None,
            reach: None,
            number: birth.number,
            rule: birth.rule,
            recording: birth.recording,
            book: birth.book,
            callback: birth.callback,
            deadline: now.mono + PORT_WAIT_MAX,
        };
        call.show(now, out);
        out.push(Command::OpenPort { leg, beside: None, towards });
        call
    }

    pub(super) fn site(&self) -> SiteId {
        self.site
    }

    pub(super) fn agent(&self) -> AgentId {
        self.agent
    }

    pub(super) fn is_callback(&self) -> bool {
        self.callback.is_some()
    }

    pub(super) fn contact(&self) -> ContactId {
        self.book.contact()
    }

    pub(super) fn next_deadline(&self) -> Mono {
        match (&self.state, &self.reach) {
            (State::Dialling { .. }, Some(reach)) => reach.next_deadline(),
            (State::Dialling { .. }, None)
            | (State::Opening { .. } | State::Calling | State::Talking | State::Ending, _) => self.deadline,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Ending)
    }

    /// Everything is told and every leg has run out, its media too.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        !self.is_live() && (self.deadline <= now || self.all_legs().all(Leg::is_over))
    }

    fn all_legs(&self) -> impl Iterator<Item = &Leg> {
        std::iter::once(&self.first).chain(self.reach.iter().flat_map(Reach::legs))
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.all_legs().map(|leg| leg.id)
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        self.reach.iter().for_each(Reach::check);
        match &self.state {
            State::Opening { .. } | State::Calling => assert!(self.reach.is_none(), "nobody is reached for yet"),
            State::Dialling { .. } => {
                assert!(self.reach.as_ref().is_some_and(|reach| !reach.is_answered()), "somebody is reached for");
            }
            State::Talking => {
                let there = self.reach.as_ref().is_some_and(Reach::is_answered);
                assert!(there && self.first.dialog == Dialog::Alive, "two talk");
            }
            State::Ending => {}
        }
        if self.is_live() && !matches!(self.state, State::Opening { .. }) {
            assert!(self.first.dialog != Dialog::Gone, "a live call has its first leg");
        }
    }

    fn enter(&mut self, now: Now, state: State, wait_max: Duration, out: &mut Vec<Command>) {
        self.state = state;
        self.deadline = now.mono + wait_max;
        self.show(now, out);
    }

    fn show(&mut self, now: Now, out: &mut Vec<Command>) {
        let stage = self.stage();
        let shown = Shown {
            stage,
            queue: None,
            agents: vec![self.agent],
            transfer: None,
            hold: None,
            parked: None,
            supervision: None,
        };
        self.book.show(now, self.id, shown, out);
    }

    fn stage(&self) -> Option<Stage> {
        match &self.state {
            State::Opening { .. } => Some(Stage::Offered),
            // A phone rings: the agent's, or the far one.
            State::Calling => Some(Stage::Ringing),
            State::Dialling { .. } if self.reach.as_ref().is_some_and(Reach::rings) => Some(Stage::Ringing),
            State::Dialling { .. } => match self.first.dialog {
                Dialog::Alive => Some(Stage::Ringing),
                Dialog::Unanswered | Dialog::Ending | Dialog::Gone => Some(Stage::Offered),
            },
            State::Talking => Some(Stage::Talking),
            State::Ending => None,
        }
    }

    fn is_second(&self, leg: LegId) -> bool {
        self.reach.as_ref().is_some_and(|reach| reach.is(leg))
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        let far = self.reach.iter_mut().flat_map(Reach::legs_mut);
        std::iter::once(&mut self.first).chain(far).find(|leg| leg.id == id)
    }
}

/// The way there: ports, channels, INVITE.
impl Outbound {
    pub(super) fn port_opened(
        &mut self,
        now: Now,
        leg: LegId,
        (local, seed): (SocketAddr, u64),
        out: &mut Vec<Command>,
    ) {
        match &mut self.state {
            State::Opening { first } if leg == self.first.id => {
                let First::Came(offer) = std::mem::replace(first, First::Ours) else {
                    return self.call_desk(now, (local, seed), out);
                };
                self.first.open(now, local, seed, out);
                match offer.map(|offer| self.first.answer(&offer, out)).transpose() {
                    Ok(answer) => self.answer = answer,
                    Err(status) => return self.refuse(now, (status, INCOMPATIBLE), EndedBy::Network, out),
                }
                self.dial(now, out);
            }
            State::Dialling { .. } => {
                if let Some(reach) = &mut self.reach {
                    reach.port_opened(now, leg, (local, seed), out);
                }
            }
            State::Opening { .. } | State::Calling | State::Talking | State::Ending => {}
        }
    }

    /// Rings the agent's phone, which may answer by itself: who asked sits before it.
    fn call_desk(&mut self, now: Now, (local, seed): (SocketAddr, u64), out: &mut Vec<Command>) {
        self.first.open(now, local, seed, out);
        let Some(sdp) = self.first.offer(None) else { return };
        self.first.dialog = Dialog::Alive;
        let domain = self.settings.sites[self.site.index()].domain.clone();
        let mut headers: Vec<(Box<str>, Box<str>)> =
            vec![("X-Jiesu-Contact".into(), self.book.contact().to_string().into())];
        if self.desk_auto_answers() {
            headers.push(("Call-Info".into(), format!("<sip:{domain}>;answer-after=0").into()));
        }
        if let Some(CallBack { callback, .. }) = self.callback {
            headers.push(("X-Jiesu-Callback".into(), callback.to_string().into()));
        }
        let booked = self.callback.map(|it| it.ring_until.since(now.mono).saturating_sub(RING_MARGIN));
        let ring_max = booked.unwrap_or(DESK_RING_MAX);
        if let Some(order) = self.book.record.order {
            headers.push(("X-Jiesu-Order".into(), order.to_string().into()));
        }
        let invite = Invite {
            leg: self.first.id,
            to: Destination::User { user: self.desk_phone(), domain },
            caller: self.rule.caller.national().into(),
            // Whom the call is for; the whole number is not for every desk.
            caller_name: mask(self.number.as_str()).into(),
            sdp,
            headers,
            ring_max: ring_max + BOUND_MARGIN,
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
        self.enter(now, State::Calling, ring_max, out);
    }

    /// User part of the address-of-record at which the agent is rung.
    fn desk_phone(&self) -> Box<str> {
        let agent = self.settings.agents.get(self.agent.index()).and_then(Option::as_ref);
        agent.map(|agent| agent.phone.clone()).unwrap_or_default()
    }

    /// Whether the agent's phone may answer by itself: whoever asked for the call sits before it; whom a queue has chosen
    /// does as with every other call of that queue.
    fn desk_auto_answers(&self) -> bool {
        let queues = &self.settings.sites[self.site.index()].queues;
        let queue = self.book.record.queue.as_deref().filter(|_| self.is_callback());
        queue.is_none_or(|name| queues.iter().any(|queue| *queue.name == *name && queue.auto_answer))
    }

    /// The call-back hears how far its attempt has come.
    fn tell_callback(&self, step: Step, out: &mut Vec<Command>) {
        if let Some(CallBack { callback, .. }) = self.callback {
            let contact = self.book.contact();
            out.push(Command::Callback(Box::new(Callback::Attempt { callback, contact, step })));
        }
    }

    /// What the end of the call is for its call-back.
    fn callback_step(&self, by: EndedBy, sip_status: u16) -> Step {
        let agent_there = self.first.dialog == Dialog::Alive;
        let result = match (&self.state, by) {
            (State::Talking | State::Ending, _) => AttemptResult::Reached,
            (State::Opening { .. } | State::Calling, EndedBy::Agent) => {
                return Step::AgentAway(match sip_status {
                    486 | 600 | 603 => Declined::Rejected,
                    408 | 480 | 487 => Declined::NoAnswer,
                    _ => Declined::Unreachable,
                });
            }
            (_, EndedBy::Agent | EndedBy::Operator) => AttemptResult::AgentGone,
            (_, EndedBy::Fault) => AttemptResult::Fault,
            (State::Dialling { .. }, _) if agent_there => match sip_status {
                486 | 600 | 603 => AttemptResult::Busy,
                408 | 480 | 487 if self.reach.as_ref().is_some_and(Reach::rings) => AttemptResult::NoAnswer,
                _ => AttemptResult::Unreachable,
            },
            (State::Opening { .. } | State::Calling | State::Dialling { .. }, _) => AttemptResult::Fault,
        };
        Step::Over(result)
    }

    pub(super) fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if leg == self.first.id {
            return self.refuse(now, (503, NO_RESOURCE), EndedBy::Refused, out);
        }
        self.step(now, out, |reach, out| reach.port_refused(now, leg, out));
    }

    fn dial(&mut self, now: Now, out: &mut Vec<Command>) {
        let wish = Wish {
            holder: self.first.id,
            beside: self.first.id,
            settings: self.settings.clone(),
            number: self.number.clone(),
            rule: self.rule.clone(),
            ring_max: None,
            contact: self.book.contact(),
            clock: self.book.clock(),
            behalf: None,
            link: None,
        };
        let agent = self.book.record.agent.clone().unwrap_or_default();
        self.tell_callback(Step::AgentThere { agent }, out);
        self.reach = Some(Reach::begin(now, wish, out));
        self.state = State::Dialling { early: false };
        self.show(now, out);
    }

    /// A channel of `trunk` is ours; `leg` is the far side's.
    pub(super) fn granted(&mut self, now: Now, way: (TrunkId, Flow), leg: LegId, out: &mut Vec<Command>) {
        self.step(now, out, |reach, out| reach.granted(now, way, leg, out));
    }

    /// No channel.
    pub(super) fn no_channel(&mut self, now: Now, why: Refused, out: &mut Vec<Command>) {
        self.step(now, out, |reach, out| reach.no_channel(now, why, out));
    }
}

/// What comes back.
impl Outbound {
    pub(super) fn sent(&mut self, now: Now, leg: LegId, late: Duration) {
        if let Some(reach) = &mut self.reach {
            reach.sent(now, leg, late);
        }
    }

    pub(super) fn trying(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        self.step(now, out, |reach, _| reach.trying(now, leg));
    }

    pub(super) fn ringing(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        if leg == self.first.id && matches!(self.state, State::Calling) {
            return self.tell_callback(Step::Rings, out);
        }
        self.step(now, out, |reach, out| reach.ringing(now, leg, sdp, out));
    }

    /// The agent's phone or the far end answered.
    pub(super) fn answered(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if leg == self.first.id && matches!(self.state, State::Calling) {
            return match self.first.accept(sdp, out) {
                true => self.dial(now, out),
                false => self.finish(now, EndedBy::Agent, (488, INCOMPATIBLE), out),
            };
        }
        self.step(now, out, |reach, out| reach.answered(now, leg, sdp, out));
    }

    /// The INVITE of `leg` came to nothing.
    pub(super) fn failed(&mut self, now: Now, leg: LegId, why: (u16, Option<u8>), out: &mut Vec<Command>) {
        if leg == self.first.id {
            self.first.dialog = Dialog::Gone;
            self.first.close(out);
            if self.is_live() {
                self.finish(now, EndedBy::Agent, (why.0, why.1.unwrap_or(NO_ANSWER)), out);
            }
            return;
        }
        self.step(now, out, |reach, out| reach.failed(now, leg, why, out));
    }

    /// The deadline of the present state came.
    pub(super) fn expired(&mut self, now: Now, out: &mut Vec<Command>) {
        match &self.state {
            State::Opening { .. } => self.refuse(now, (500, TEMPORARY_FAILURE), EndedBy::Fault, out),
            State::Calling => self.finish(now, EndedBy::Agent, (480, NO_ANSWER), out),
            State::Dialling { .. } => self.step(now, out, |reach, out| reach.expired(now, out)),
            State::Talking => self.deadline = Mono(u64::MAX),
            State::Ending => {}
        }
    }

    /// Lets the far side take a step, and does what follows from it.
    fn step(&mut self, now: Now, out: &mut Vec<Command>, act: impl FnOnce(&mut Reach, &mut Vec<Command>) -> Progress) {
        let Some(reach) = &mut self.reach else { return };
        let progress = act(reach, out);
        self.book.record.routes = reach.routes().to_vec();
        if let Some(route) = self.book.record.routes.last() {
            self.book.record.trunk = route.trunk.clone();
        }
        match progress {
            Progress::None | Progress::Lives => {}
            // From now on a crash must not make us forget the call.
            Progress::Begun => self.book.tell(out),
            Progress::Rings { first, heard } => self.rings(first, heard, out),
            Progress::Answered => return self.join(now, out),
            Progress::Next => self.falls_silent(out),
            Progress::Failed(Failure { status, q850, by }) => return self.refuse(now, (status, q850), by, out),
            Progress::Lost => return self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
        }
        self.show(now, out);
    }

    /// What the far end sounds like goes to the first leg (early media), else the sign that it rings.
    fn rings(&mut self, first_time: bool, heard: bool, out: &mut Vec<Command>) {
        let Some(second) = self.reach.as_ref().and_then(Reach::leg).map(|leg| leg.id) else { return };
        let State::Dialling { early } = &mut self.state else { return };
        let (first, waits) = (self.first.id, self.first.dialog == Dialog::Unanswered);
        match (&self.answer, heard) {
            (Some(answer), true) if !*early => {
                out.push(respond(first, 183, Some(answer.clone())));
                out.push(Command::Media(Media::Bridge { a: second, b: first }));
                *early = true;
            }
            (None, true) if !*early && self.first.dialog == Dialog::Alive => {
                out.push(Command::Media(Media::Bridge { a: second, b: first }));
                *early = true;
            }
            _ if first_time && waits => out.push(respond(first, 180, None)),
            _ => {}
        }
    }

    /// The route that was heard is given up.
    fn falls_silent(&mut self, out: &mut Vec<Command>) {
        if let State::Dialling { early } = &mut self.state
            && std::mem::take(early)
        {
            out.push(Command::Media(Media::Unbridge { leg: self.first.id }));
        }
    }

    /// The far end answered.
    fn join(&mut self, now: Now, out: &mut Vec<Command>) {
        let State::Dialling { early } = self.state else { return };
        let Some(leg) = self.reach.as_ref().and_then(Reach::leg).map(|leg| leg.id) else { return };
        if self.first.dialog == Dialog::Unanswered {
            let Some(answer) = self.answer.take().or_else(|| self.first.offer(None)) else {
                return self.refuse(now, (488, INCOMPATIBLE), EndedBy::Network, out);
            };
            self.first.dialog = Dialog::Alive;
            out.push(respond(self.first.id, 200, Some(answer)));
        }
        if !early {
            out.push(Command::Media(Media::Bridge { a: leg, b: self.first.id }));
        }
        let recording = RecordingStart {
            recording: self.recording,
            contact: self.book.contact(),
            site: self.settings.sites[self.site.index()].code.clone(),
            started: now,
            track: Track::Journey,
        };
        out.push(Command::Media(Media::Record { citizen: leg, recording }));
        self.book.record.times.answered = Some(self.book.time(now));
        self.book.connected(now, self.recording, out);
        self.state = State::Talking;
        self.deadline = Mono(u64::MAX);
        self.show(now, out);
    }
}

/// While the two talk, and the end.
impl Outbound {
    /// The ACK of our 200; it carries the answer when the INVITE made no offer.
    pub(super) fn acknowledged(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        if let Some(sdp) = sdp
            && self.leg_mut(leg).is_some_and(|leg| !leg.accept(&sdp, out))
            && leg == self.first.id
        {
            self.end(now, EndedBy::Network, INCOMPATIBLE, out);
        }
    }

    pub(super) fn reoffered(&mut self, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        let Some(side) = self.leg_mut(leg) else { return };
        let answer = match sdp {
            Some(offer) => side.answer(&offer, out),
            None => side.offer(None).ok_or(500),
        };
        out.push(Command::Sip(Sip::AnswerReoffer { leg, answer }));
    }

    /// The answer to our early offer came before the ACK; what cannot be spoken shows itself again there.
    pub(super) fn early_answer(&mut self, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.accept(sdp, out);
        }
    }

    /// A digit came by INFO: it is pressed for the other side.
    pub(super) fn digit(&mut self, from: LegId, digit: u8, out: &mut Vec<Command>) {
        let far = self.reach.as_ref().and_then(Reach::leg).map(|leg| leg.id);
        if let (State::Talking, Some(far)) = (&self.state, far) {
            out.extend(pressed(if from == far { self.first.id } else { far }, digit));
        }
    }

    /// The session of `leg` must be refreshed.
    pub(super) fn refresh(&mut self, leg: LegId, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.refresh(out);
        }
    }

    pub(super) fn reoffer_answered(&mut self, leg: LegId, answer: Result<Bytes, u16>, out: &mut Vec<Command>) {
        let whose = (self.book.contact(), self.site);
        if let Some(side) = self.leg_mut(leg) {
            side.reoffered(answer, whose, out);
        }
    }

    pub(super) fn quiet(&mut self, now: Now, leg: LegId, silent: Duration, out: &mut Vec<Command>) {
        if !matches!(self.state, State::Talking) {
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
    pub(super) fn heard(&mut self, leg: LegId) {
        self.leg_mut(leg).into_iter().for_each(Leg::heard);
    }

    /// The dialog of `leg` is over.
    pub(super) fn leg_ended(&mut self, now: Now, leg: LegId, why: Ending, out: &mut Vec<Command>) {
        let (first, second) = (leg == self.first.id, self.is_second(leg));
        if let Some(leg) = self.leg_mut(leg) {
            leg.dialog = Dialog::Gone;
            leg.close(out);
        }
        let who = if first { EndedBy::Agent } else { EndedBy::Caller };
        if first || second {
            let clock = self.book.time(now);
            let times = &mut self.book.record.times;
            match why {
                Ending::Bye { q850 } => {
                    let at = if first { &mut times.agent_hangup } else { &mut times.caller_hangup };
                    at.get_or_insert(clock);
                    self.end(now, who, q850.unwrap_or(NORMAL), out);
                }
                Ending::Cancel => {
                    times.agent_hangup.get_or_insert(clock);
                    self.finish(now, EndedBy::Agent, (487, NORMAL), out);
                }
                Ending::NoAck | Ending::Lost => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
                Ending::Ours => self.end(now, EndedBy::Fault, TEMPORARY_FAILURE, out),
            }
        }
    }

    /// The port of `leg` is closed: what its media were like is told. If nobody had asked for that, the call is over.
    pub(super) fn media_closed(&mut self, now: Now, leg: LegId, counters: &Counters, out: &mut Vec<Command>) {
        let (site, whose) = (self.site, (self.book.contact(), self.book.clock()));
        let Some(side) = self.leg_mut(leg) else { return };
        let lost = side.has_port();
        if lost {
            side.close(out);
        }
        out.extend(side.closed(now, counters, whose).map(|fact| Command::Fact { site, fact }));
        if lost {
            self.end(now, EndedBy::Fault, NETWORK_OUT_OF_ORDER, out);
        }
    }

    /// Somebody who may asked for the end.
    pub(super) fn hang_up(&mut self, now: Now, out: &mut Vec<Command>) {
        self.end(now, EndedBy::Operator, NORMAL, out);
    }

    fn end(&mut self, now: Now, by: EndedBy, q850: u8, out: &mut Vec<Command>) {
        let connected = self.book.record.times.connected.is_some();
        self.finish(now, by, (if connected { 200 } else { 480 }, q850), out);
    }

    /// The first leg is refused with what befell the second.
    fn refuse(&mut self, now: Now, (status, q850): (u16, u8), by: EndedBy, out: &mut Vec<Command>) {
        if self.first.dialog == Dialog::Unanswered {
            let leg = self.first.id;
            self.first.dialog = Dialog::Ending;
            out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s: None }));
        }
        self.finish(now, by, (status, q850), out);
    }

    /// The one road into `Ending`; a second end changes nothing.
    fn finish(&mut self, now: Now, by: EndedBy, (sip_status, q850): (u16, u8), out: &mut Vec<Command>) {
        let Some(stage) = self.stage() else { return };
        self.tell_callback(self.callback_step(by, sip_status), out);
        if let Some(reach) = &mut self.reach {
            if let Some(leg) = reach.leg().filter(|_| self.book.record.recording.is_some()) {
                let stop = Media::StopRecording { citizen: leg.id, recording: self.recording, at: now };
                out.push(Command::Media(stop));
            }
            reach.end(now, sip_status, out);
            self.book.record.routes = reach.routes().to_vec();
        }
        self.first.hang_up(NORMAL, out);
        self.book.ended(now, End { stage, by, sip_status, q850 }, out);
        self.enter(now, State::Ending, LINGER_MAX, out);
    }

    /// A step of this call was cut short, and what it had said was thrown away.
    pub(super) fn broken(&mut self, now: Now, out: &mut Vec<Command>) {
        let connected = self.book.record.times.connected.is_some();
        if self.first.dialog == Dialog::Unanswered {
            out.push(Command::Sip(Sip::Respond {
                leg: self.first.id,
                status: 500,
                sdp: None,
                q850: Some(TEMPORARY_FAILURE),
                retry_after_s: None,
            }));
        }
        self.finish(now, EndedBy::Fault, (if connected { 200 } else { 500 }, TEMPORARY_FAILURE), out);
        self.first.abandon(out);
        self.reach.iter_mut().for_each(|reach| reach.abandon(out));
    }
}

fn respond(leg: LegId, status: u16, sdp: Option<Bytes>) -> Command {
    Command::Sip(Sip::Respond { leg, status, sdp, q850: None, retry_after_s: None })
}

#[cfg(test)]
impl Outbound {
    /// The state as one letter, for tables.
    pub(super) fn letter(&self) -> char {
        match &self.state {
            State::Opening { .. } => 'O',
            State::Calling => 'C',
            State::Dialling { early: true } => 'M',
            State::Dialling { early: false } => self.reach.as_ref().map_or('-', Reach::letter),
            State::Talking => 'T',
            State::Ending => 'E',
        }
    }
}
