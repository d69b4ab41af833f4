//! One outbound call: a first leg, which asked for it, and a second, which is dialled over one route after another.
//!
//! ```text
//! Opening → Seizing → Reaching → Trying → Ringing → Talking → Ending
//!    ↓         ↑  ↑__________________________│ the route failed: CANCEL, next route
//!  Calling ____│
//! ```
//!
//! The first leg is an agent's phone: it has dialled, or it is rung first because somebody asked for the call by hand.
//! Nothing behind `Seizing` knows which.
//!
//! Owns the order of routes in time: how long each may be silent and how long it may ring. Never chooses a trunk and
//! never judges whether a number may be dialled.

use crate::base::fact::{End, EndedBy, RouteAttempt, Stage};
use crate::base::number::{Number, mask};
use crate::base::{AgentId, CallId, ContactId, LegId, Mono, Now, RecordingId, SiteId, TrunkId};
use crate::call::event::{Command, Settings, Towards};
use crate::call::leg::{Dialog, Leg};
use crate::call::record::Book;
use crate::media::event::{Action as Media, RecordingStart, Track};
use crate::sip::event::{Action as Sip, Destination, Ending, Flow, Invite, Location, OverTrunk};
use crate::trunk::dialling::Rule;
use crate::trunk::event::{Event as ToTrunks, Geolocation, Profile, Refused, Remote, Seize, Way};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Ports and channels are given in the same pass; later than this they never will be.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// So long the phone of an agent rings who is to be joined with the far end.
const DESK_RING_MAX: Duration = Duration::from_secs(30);
/// The user agent bounds an INVITE a little later than we do.
const BOUND_MARGIN: Duration = Duration::from_secs(5);
/// Longer than any SIP transaction (64×T1) that may still end a leg.
const LINGER_MAX: Duration = Duration::from_secs(70);
/// Neither RTP nor RTCP for so long: the far end is asked whether it is still there.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// Q.850.
const NO_ROUTE: u8 = 3;
const NORMAL: u8 = 16;
const NO_ANSWER: u8 = 19;
const NO_CIRCUIT: u8 = 34;
const NETWORK_OUT_OF_ORDER: u8 = 38;
const TEMPORARY_FAILURE: u8 = 41;
const CONGESTION: u8 = 42;
const NO_RESOURCE: u8 = 47;
const INCOMPATIBLE: u8 = 88;
const TIMER_EXPIRED: u8 = 102;

#[derive(Debug)]
enum State {
    /// The first leg's port was asked for.
    Opening { first: First },
    /// The agent's phone rings.
    Calling,
    /// A channel was asked for.
    Seizing,
    /// The second leg's port was asked for.
    Reaching { flow: Flow },
    /// INVITE is out; the route is silent.
    Trying,
    /// The route lives. `early` once the first leg hears it.
    Ringing { early: bool },
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
    second: Option<Leg>,
    /// Second legs of routes given up; they run out.
    former: Vec<Leg>,
    number: Number,
    rule: Rule,
    tried: Vec<TrunkId>,
    /// Why the last route failed.
    last: Option<(u16, Option<u8>)>,
    recording: RecordingId,
    book: Book,
    deadline: Mono,
}

impl Outbound {
    pub(super) fn new(now: Now, birth: Birth, asker: Asker, out: &mut Vec<Command>) -> Outbound {
        let (first, how, towards) = match asker {
            Asker::Phone { leg, offer, towards } => {
                (Leg::new(leg, Dialog::Unanswered), First::Came(offer), Towards::Address(towards))
            }
            Asker::Desk { leg } => (Leg::new(leg, Dialog::Gone), First::Ours, Towards::Agent(birth.agent)),
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
            second: None,
            former: Vec::new(),
            number: birth.number,
            rule: birth.rule,
            tried: Vec::new(),
            last: None,
            recording: birth.recording,
            book: birth.book,
            deadline: now.mono + ANSWER_MAX,
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

    pub(super) fn contact(&self) -> ContactId {
        self.book.contact()
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.deadline
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Ending)
    }

    /// Everything is told and every leg has run out.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        let gone = |leg: &Leg| leg.dialog == Dialog::Gone;
        let all = || std::iter::once(&self.first).chain(&self.second).chain(&self.former);
        !self.is_live() && (self.deadline <= now || all().all(gone))
    }

    pub(super) fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        std::iter::once(&self.first).chain(&self.second).chain(&self.former).map(|leg| leg.id)
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        match &self.state {
            State::Opening { .. } | State::Calling | State::Seizing => {
                assert!(self.second.is_none(), "no route is in use yet");
            }
            State::Reaching { .. } | State::Trying | State::Ringing { .. } => {
                assert!(self.second.is_some(), "a route is in use");
            }
            State::Talking => {
                let alive = |leg: &Leg| leg.dialog == Dialog::Alive;
                assert!(alive(&self.first) && self.second.as_ref().is_some_and(alive), "two talk");
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
        self.book.show(now, self.id, stage, None, Some(self.agent), out);
    }

    fn stage(&self) -> Option<Stage> {
        match &self.state {
            State::Opening { .. } => Some(Stage::Offered),
            // A phone rings: the agent's, or the far one.
            State::Calling | State::Ringing { .. } => Some(Stage::Ringing),
            State::Seizing | State::Reaching { .. } | State::Trying => match self.first.dialog {
                Dialog::Alive => Some(Stage::Ringing),
                Dialog::Unanswered | Dialog::Ending | Dialog::Gone => Some(Stage::Offered),
            },
            State::Talking => Some(Stage::Talking),
            State::Ending => None,
        }
    }

    fn is_second(&self, leg: LegId) -> bool {
        self.second.as_ref().is_some_and(|second| second.id == leg)
    }

    fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        std::iter::once(&mut self.first).chain(&mut self.second).chain(&mut self.former).find(|leg| leg.id == id)
    }

    /// The trunk in use.
    fn profile(&self) -> Option<&Profile> {
        self.tried.last().and_then(|trunk| self.settings.trunks.trunks.get(trunk.index()))
    }

    /// Without any provisional response in this time the route is given up.
    fn silent_max(&self) -> Duration {
        let of = |profile: &Profile| match self.rule.emergency {
            true => profile.provisional_max_emergency,
            false => profile.provisional_max,
        };
        self.profile().map_or(ANSWER_MAX, of)
    }

    fn is_early(&self) -> bool {
        matches!(self.state, State::Ringing { early: true })
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
                self.seize(now, out);
            }
            State::Reaching { flow } if self.second.as_ref().is_some_and(|second| second.id == leg) => {
                let flow = *flow;
                self.invite(now, flow, (local, seed), out);
            }
            State::Opening { .. }
            | State::Calling
            | State::Seizing
            | State::Reaching { .. }
            | State::Trying
            | State::Ringing { .. }
            | State::Talking
            | State::Ending => {}
        }
    }

    /// Rings the agent's phone, which may answer by itself: who asked sits before it.
    fn call_desk(&mut self, now: Now, (local, seed): (SocketAddr, u64), out: &mut Vec<Command>) {
        self.first.open(now, local, seed, out);
        let Some(sdp) = self.first.offer(None) else { return };
        self.first.dialog = Dialog::Alive;
        let domain = self.settings.sites[self.site.index()].domain.clone();
        let mut headers: Vec<(Box<str>, Box<str>)> = vec![
            ("X-Jiesu-Contact".into(), self.book.contact().to_string().into()),
            ("Call-Info".into(), format!("<sip:{domain}>;answer-after=0").into()),
        ];
        if let Some(order) = self.book.record.order {
            headers.push(("X-Jiesu-Order".into(), order.to_string().into()));
        }
        let invite = Invite {
            leg: self.first.id,
            to: Destination::User { user: self.book.record.agent.clone().unwrap_or_default(), domain },
            caller: self.rule.caller.national().into(),
            // Whom the call is for; the whole number is not for every desk.
            caller_name: mask(self.number.as_str()).into(),
            sdp,
            headers,
            ring_max: DESK_RING_MAX + BOUND_MARGIN,
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
        self.enter(now, State::Calling, DESK_RING_MAX, out);
    }

    pub(super) fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if leg == self.first.id || self.is_second(leg) {
            self.refuse(now, (503, NO_RESOURCE), EndedBy::Refused, out);
        }
    }

    fn seize(&mut self, now: Now, out: &mut Vec<Command>) {
        self.enter(now, State::Seizing, ANSWER_MAX, out);
        let way = Way::Out { routes: self.rule.trunks.clone(), tried: self.tried.clone() };
        let seize = Seize { leg: self.first.id, way, emergency: self.rule.emergency };
        out.push(Command::Trunk(ToTrunks::Seize(seize)));
    }

    /// A channel of `trunk` is ours; `leg` is the second leg's.
    pub(super) fn granted(&mut self, now: Now, (trunk, flow): (TrunkId, Flow), leg: LegId, out: &mut Vec<Command>) {
        if !matches!(self.state, State::Seizing) {
            return;
        }
        if self.tried.is_empty() {
            // From now on a crash must not make us forget the call.
            self.book.tell(out);
        }
        self.tried.push(trunk);
        let name: Box<str> = self.profile().map_or_else(|| "".into(), |profile| profile.name.clone());
        self.book.record.trunk = name.clone();
        self.book.record.routes.push(RouteAttempt {
            trunk: name,
            seized: self.book.time(now),
            provisional: None,
            ringing: None,
            ended: None,
            sip_status: None,
        });
        self.second = Some(Leg::new(leg, Dialog::Gone));
        self.enter(now, State::Reaching { flow }, ANSWER_MAX, out);
        let towards = Towards::Address(flow.peer);
        out.push(Command::OpenPort { leg, beside: Some(self.first.id), towards });
    }

    /// No channel: the call ends with why the last route failed, or with why there was none.
    pub(super) fn no_channel(&mut self, now: Now, why: Refused, out: &mut Vec<Command>) {
        if !matches!(self.state, State::Seizing) {
            return;
        }
        let end = match (self.last, why) {
            (Some((status, q850)), _) => match status {
                401 | 407 | 408 | 500..=599 => (503, NETWORK_OUT_OF_ORDER),
                _ => (status, q850.unwrap_or(NO_ROUTE)),
            },
            (None, Refused::Full) => (503, NO_CIRCUIT),
            (None, Refused::TooFast) => (503, CONGESTION),
            (None, Refused::NoRoute) => (480, NO_ROUTE),
        };
        let by = if self.last.is_some() { EndedBy::Network } else { EndedBy::Refused };
        self.refuse(now, end, by, out);
    }

    fn invite(&mut self, now: Now, flow: Flow, (local, seed): (SocketAddr, u64), out: &mut Vec<Command>) {
        let Some(profile) = self.profile().cloned() else { return };
        let Some(remote) = &profile.remote else { return };
        let silent_max = self.silent_max();
        let Some(second) = &mut self.second else { return };
        second.open(now, local, seed, out);
        let Some(sdp) = second.offer_of(&profile.codecs) else { return };
        second.dialog = Dialog::Alive;
        let leg = second.id;
        let over = self.over(&profile, remote, flow);
        let headers = match profile.wording.user_to_user {
            true => vec![("User-to-User".into(), user_to_user(self.book.contact()).into())],
            false => Vec::new(),
        };
        let invite = Invite {
            leg,
            to: Destination::Trunk(Box::new(over)),
            caller: written(&profile, &self.rule.caller).into(),
            caller_name: "".into(),
            sdp,
            headers,
            ring_max: silent_max + profile.ring_max + BOUND_MARGIN,
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
        self.enter(now, State::Trying, silent_max, out);
    }
}

impl Outbound {
    /// How the number is reached over this trunk.
    fn over(&self, profile: &Profile, remote: &Remote, flow: Flow) -> OverTrunk {
        let wording = &profile.wording;
        let place = &self.rule.place;
        let location = match wording.geolocation {
            _ if !self.rule.emergency => None,
            Geolocation::None => None,
            Geolocation::Header => place.uri.clone().map(Location::Reference),
            Geolocation::Body => (!place.civic.is_empty()).then(|| Location::Civic(place.civic.clone())),
        };
        OverTrunk {
            trunk: self.tried.last().copied().unwrap_or_default(),
            number: profile.outbound_rules.apply(&written(profile, &self.number)),
            host: remote.written(),
            flow,
            route: remote.route(),
            from_host: if wording.from_domain.is_empty() { remote.host.clone() } else { wording.from_domain.clone() },
            user_phone: wording.user_phone,
            asserts_identity: wording.asserts_identity,
            privacy: wording.privacy,
            location,
        }
    }
}

/// The number as this trunk wants it.
fn written(profile: &Profile, number: &Number) -> String {
    if profile.wording.e164 { number.as_str().to_owned() } else { number.national() }
}

/// The contact in IA5, as ISDN's user-to-user information is (RFC 7433 §4.1, Q.931 §4.5.30).
fn user_to_user(contact: ContactId) -> String {
    let digits: String = contact.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("04{digits};encoding=hex")
}

/// What comes back.
impl Outbound {
    /// The INVITE goes out only now, or within `late`: the route's time to show itself begins then.
    pub(super) fn sent(&mut self, now: Now, leg: LegId, late: Duration) {
        if self.is_second(leg) && matches!(self.state, State::Trying) {
            self.deadline = now.mono + late + self.silent_max();
        }
    }

    /// The next hop is there.
    pub(super) fn trying(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if !self.is_second(leg) || !matches!(self.state, State::Trying) {
            return;
        }
        let at = self.book.time(now);
        if let Some(route) = self.book.record.routes.last_mut() {
            route.provisional = Some(at);
        }
        let ring_max = self.profile().map_or(ANSWER_MAX, |profile| profile.ring_max);
        self.enter(now, State::Ringing { early: false }, ring_max, out);
    }

    /// 18x: what the far end sounds like goes to the first leg (early media), else the sign that it rings.
    pub(super) fn ringing(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        self.trying(now, leg, out);
        if !self.is_second(leg) || !matches!(self.state, State::Ringing { .. }) {
            return;
        }
        let first_time = self.book.record.routes.iter().all(|route| route.ringing.is_none());
        let at = self.book.time(now);
        if let Some(route) = self.book.record.routes.last_mut() {
            route.ringing.get_or_insert(at);
        }
        let Some(second) = &mut self.second else { return };
        let heard = sdp.is_some_and(|sdp| second.accept(&sdp, out));
        let (first, second) = (self.first.id, second.id);
        match (&self.answer, heard) {
            (Some(answer), true) if !self.is_early() => {
                out.push(respond(first, 183, Some(answer.clone())));
                out.push(Command::Media(Media::Bridge { a: second, b: first }));
                self.state = State::Ringing { early: true };
            }
            (None, true) if !self.is_early() && self.first.dialog == Dialog::Alive => {
                out.push(Command::Media(Media::Bridge { a: second, b: first }));
                self.state = State::Ringing { early: true };
            }
            _ if first_time && self.first.dialog == Dialog::Unanswered => out.push(respond(first, 180, None)),
            _ => {}
        }
    }

    /// The far end answered.
    pub(super) fn answered(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if leg == self.first.id && matches!(self.state, State::Calling) {
            return match self.first.accept(sdp, out) {
                true => self.seize(now, out),
                false => self.finish(now, EndedBy::Agent, (488, INCOMPATIBLE), out),
            };
        }
        self.trying(now, leg, out);
        if !self.is_second(leg) || !matches!(self.state, State::Ringing { .. }) {
            return;
        }
        let early = self.is_early();
        let waits = self.first.dialog == Dialog::Unanswered;
        let answer = if waits { self.answer.take().or_else(|| self.first.offer(None)) } else { None };
        let understood = self.second.as_mut().is_some_and(|second| second.accept(sdp, out));
        if !understood || waits && answer.is_none() {
            return self.refuse(now, (488, INCOMPATIBLE), EndedBy::Network, out);
        }
        self.route_ended(now, 200);
        if waits {
            self.first.dialog = Dialog::Alive;
            out.push(respond(self.first.id, 200, answer));
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

    /// The INVITE came to nothing: by the route's fault the next one is tried, else the first leg is told.
    pub(super) fn failed(&mut self, now: Now, leg_id: LegId, why: (u16, Option<u8>), out: &mut Vec<Command>) {
        let current = self.is_second(leg_id);
        if let Some(leg) = self.leg_mut(leg_id) {
            leg.dialog = Dialog::Gone;
            leg.close(out);
        }
        if leg_id == self.first.id && self.is_live() {
            return self.finish(now, EndedBy::Agent, (why.0, why.1.unwrap_or(NO_ANSWER)), out);
        }
        if !current {
            return;
        }
        match &self.state {
            State::Trying | State::Ringing { .. } => {
                let rang = self.book.record.routes.last().is_some_and(|route| route.ringing.is_some());
                if self.is_routes_fault(why.0) && !(rang && why.0 == 408) {
                    self.next_route(now, why, out);
                } else {
                    self.route_ended(now, why.0);
                    self.refuse(now, (why.0, why.1.unwrap_or(NORMAL)), EndedBy::Caller, out);
                }
            }
            State::Talking => self.end(now, EndedBy::Network, TIMER_EXPIRED, out),
            State::Opening { .. } | State::Calling | State::Seizing | State::Reaching { .. } | State::Ending => {}
        }
    }

    /// Busy and declined are the called party's; what the network cannot do is the route's, and so is a challenge that our
    /// account does not meet.
    fn is_routes_fault(&self, status: u16) -> bool {
        matches!(status, 401 | 407 | 408 | 500..=599)
            || self.profile().is_some_and(|profile| profile.next_on.contains(&status))
    }

    fn next_route(&mut self, now: Now, why: (u16, Option<u8>), out: &mut Vec<Command>) {
        self.last = Some(why);
        self.route_ended(now, why.0);
        if let (408 | 503, Some(trunk)) = (why.0, self.tried.last()) {
            out.push(Command::Trunk(ToTrunks::Failed { trunk: *trunk }));
        }
        if let Some(mut second) = self.second.take() {
            if self.is_early() {
                out.push(Command::Media(Media::Unbridge { leg: self.first.id }));
            }
            second.hang_up(NO_ANSWER, out);
            self.former.push(second);
        }
        self.seize(now, out);
    }

    fn route_ended(&mut self, now: Now, status: u16) {
        let at = self.book.time(now);
        if let Some(route) = self.book.record.routes.last_mut().filter(|route| route.ended.is_none()) {
            route.ended = Some(at);
            route.sip_status = Some(status);
        }
    }

    /// The deadline of the present state came.
    pub(super) fn expired(&mut self, now: Now, out: &mut Vec<Command>) {
        match &self.state {
            State::Opening { .. } | State::Seizing | State::Reaching { .. } => {
                self.refuse(now, (500, TEMPORARY_FAILURE), EndedBy::Fault, out);
            }
            State::Calling => self.finish(now, EndedBy::Agent, (480, NO_ANSWER), out),
            State::Trying => self.next_route(now, (408, None), out),
            // Nobody answers there; only an emergency is tried elsewhere.
            State::Ringing { .. } if self.rule.emergency => self.next_route(now, (480, Some(NO_ANSWER)), out),
            State::Ringing { .. } => {
                self.route_ended(now, 480);
                self.refuse(now, (480, NO_ANSWER), EndedBy::Caller, out);
            }
            State::Talking => self.deadline = Mono(u64::MAX),
            State::Ending => {}
        }
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

    /// The session of `leg` must be refreshed.
    pub(super) fn refresh(&mut self, leg: LegId, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.refresh(out);
        }
    }

    pub(super) fn reoffer_answered(&mut self, leg: LegId, answer: Result<Bytes, u16>, out: &mut Vec<Command>) {
        if let Some(side) = self.leg_mut(leg) {
            side.probed(answer, out);
        }
    }

    pub(super) fn quiet(&mut self, now: Now, leg: LegId, silent: Duration, out: &mut Vec<Command>) {
        if silent >= QUIET_MAX
            && matches!(self.state, State::Talking)
            && let Some(leg) = self.leg_mut(leg)
        {
            leg.probe(now.mono, out);
        }
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

    /// The port of `leg` was closed, though nobody had asked for it.
    pub(super) fn media_lost(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if self.leg_mut(leg).is_some_and(|leg| leg.has_port()) {
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
        let stops = self.second.as_ref().filter(|_| self.book.record.recording.is_some());
        if let Some(second) = stops {
            let stop = Media::StopRecording { citizen: second.id, recording: self.recording, at: now };
            out.push(Command::Media(stop));
        }
        self.route_ended(now, sip_status);
        out.push(Command::Trunk(ToTrunks::Release { leg: self.first.id }));
        for leg in std::iter::once(&mut self.first).chain(&mut self.second).chain(&mut self.former) {
            leg.hang_up(NORMAL, out);
        }
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
        for leg in std::iter::once(&mut self.first).chain(&mut self.second).chain(&mut self.former) {
            leg.dialog = Dialog::Gone;
            out.push(Command::Sip(Sip::HangUp { leg: leg.id, q850: NETWORK_OUT_OF_ORDER }));
            out.push(Command::Media(Media::Close { leg: leg.id }));
        }
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
            State::Seizing => 'S',
            State::Reaching { .. } => 'P',
            State::Trying => 'Y',
            State::Ringing { early: false } => 'R',
            State::Ringing { early: true } => 'M',
            State::Talking => 'T',
            State::Ending => 'E',
        }
    }
}
