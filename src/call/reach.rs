//! The far side of a call that goes out: one party, dialled over one route after another.
//!
//! ```text
//! Seizing → Opening → Trying → Ringing → Answered
//!    ↑___________________│_________│ the route failed: CANCEL, next route; none left: Over
//! ```
//!
//! Owns the order of routes in time: how long each may be silent and how long it may ring, and the channel of the one in
//! use. Never chooses a trunk, never judges whether a number may be dialled, and leaves to its owner what anybody hears.

use super::event::{Command, Settings, Towards};
use super::leg::{Dialog, Leg};
use super::q850::{
    CONGESTION, INCOMPATIBLE, NETWORK_OUT_OF_ORDER, NO_ANSWER, NO_CIRCUIT, NO_RESOURCE, NO_ROUTE, NORMAL,
    TEMPORARY_FAILURE,
};
use super::record::Clock;
use crate::base::fact::{EndedBy, Party, RouteAttempt};
use crate::base::number::Number;
use crate::base::{ContactId, LegId, Mono, Now, TrunkId};
use crate::sip::event::{Action as Sip, Destination, Flow, Invite, Location, OverTrunk};
use crate::trunk::dialling::{Place, Rule};
use crate::trunk::event::{Event as ToTrunks, Geolocation, Profile, Refused, Remote, Seize, Way};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Ports and channels are given in the same pass; later than this they never will be.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// What the Subject of an exercise is, whoever reads it (RFC 3261 §20.36).
const DRILL: &str = "DRILL";
/// Elements of a civic address that name no more than a city (RFC 4119 §2.2.1).
const AREA: [&str; 4] = ["country", "A1", "A2", "A3"];
/// What ISDN carries of a user's information behind the protocol discriminator, in octets (Q.931 §4.5.30).
const UUI_OCTETS_MAX: usize = 128;
/// The user agent bounds an INVITE a little later than we do.
const BOUND_MARGIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    /// A channel was asked for.
    Seizing,
    /// The leg's port was asked for.
    Opening { flow: Flow },
    /// INVITE is out; the route is silent.
    Trying,
    /// The route lives.
    Ringing,
    /// There.
    Answered,
    /// It came to nothing, or was ended.
    Over,
}

/// Whom to reach, and for whom.
#[derive(Debug)]
pub(super) struct Wish {
    /// Holds the channel; a leg of nobody, or one that holds none of its own.
    pub(super) holder: LegId,
    /// The party whose media thread the far one shall be on.
    pub(super) beside: LegId,
    /// Trunks are numbered by them for as long as this lasts.
    pub(super) settings: Arc<Settings>,
    pub(super) number: Number,
    /// By which the number may be dialled.
    pub(super) rule: Rule,
    /// How long it may ring, where that is less than its trunk allows.
    pub(super) ring_max: Option<Duration>,
    pub(super) contact: ContactId,
    pub(super) clock: Clock,
    /// The citizen for whom somebody else is brought in.
    pub(super) behalf: Option<Behalf>,
    /// Where whoever is reached finds what is known of the contact.
    pub(super) link: Option<Box<str>>,
}

/// The citizen for whom somebody is reached, as an emergency line is told: it shall not take the hotline for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Behalf {
    /// Their number, where it is known.
    pub(super) number: Option<Number>,
    /// Where they are, where it is known: a URI, or words.
    pub(super) place: Option<Box<str>>,
}

/// One party being reached, or there.
#[derive(Debug)]
pub(super) struct Reach {
    wish: Wish,
    state: State,
    leg: Option<Leg>,
    /// Legs of routes given up; they run out.
    former: Vec<Leg>,
    tried: Vec<TrunkId>,
    /// Why the last route failed.
    last: Option<(u16, Option<u8>)>,
    routes: Vec<RouteAttempt>,
    deadline: Mono,
}

/// What a step means to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Progress {
    /// Nothing.
    None,
    /// The first route is being tried.
    Begun,
    /// The route in use shows signs of life.
    Lives,
    /// It rings, for the first time or again; `heard`: what it sounds like has come too.
    Rings { first: bool, heard: bool },
    /// Somebody is there and can be spoken to.
    Answered,
    /// The route in use is given up, with whatever was heard of it, and another is asked for.
    Next,
    /// Nobody can be reached.
    Failed(Failure),
    /// Who was there is gone.
    Lost,
}

/// Why nobody can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) q850: u8,
    pub(super) by: EndedBy,
}

impl Reach {
    pub(super) fn begin(now: Now, wish: Wish, out: &mut Vec<Command>) -> Reach {
        let mut reach = Reach {
            wish,
            state: State::Seizing,
            leg: None,
            former: Vec::new(),
            tried: Vec::new(),
            last: None,
            routes: Vec::new(),
            deadline: now.mono,
        };
        reach.seize(now, out);
        reach
    }

    /// Somebody who was there before our process died.
    pub(super) fn resumed(wish: Wish, leg: Leg, trunk: TrunkId, routes: Vec<RouteAttempt>) -> Reach {
        Reach {
            wish,
            state: State::Answered,
            leg: Some(leg),
            former: Vec::new(),
            tried: vec![trunk],
            last: None,
            routes,
            deadline: Mono(u64::MAX),
        }
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.deadline
    }

    /// The leg that holds the channel, and the trunk whose it is.
    pub(super) fn channel(&self) -> Option<(LegId, TrunkId)> {
        Some((self.wish.holder, *self.tried.last()?))
    }

    /// All its legs, when nothing more is to come of it.
    pub(super) fn into_legs(self) -> impl Iterator<Item = Leg> {
        self.leg.into_iter().chain(self.former)
    }

    /// The leg in use.
    pub(super) fn leg(&self) -> Option<&Leg> {
        self.leg.as_ref()
    }

    pub(super) fn is(&self, leg: LegId) -> bool {
        self.leg.as_ref().is_some_and(|ours| ours.id == leg)
    }

    /// The leg in use and those that run out.
    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.leg.iter().chain(&self.former)
    }

    pub(super) fn legs_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.leg.iter_mut().chain(&mut self.former)
    }

    /// What was tried so far, the one in use last.
    pub(super) fn routes(&self) -> &[RouteAttempt] {
        &self.routes
    }

    /// The route in use has given a sign of life and no answer yet.
    pub(super) fn rings(&self) -> bool {
        matches!(self.state, State::Ringing)
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        match &self.state {
            State::Seizing => assert!(self.leg.is_none(), "no route is in use yet"),
            State::Opening { .. } | State::Trying | State::Ringing => assert!(self.leg.is_some(), "a route is in use"),
            State::Answered => {
                assert!(self.leg.as_ref().is_some_and(|leg| leg.dialog == Dialog::Alive), "somebody is there");
            }
            State::Over => {}
        }
    }

    fn enter(&mut self, now: Now, state: State, wait_max: Duration) {
        self.state = state;
        self.deadline = now.mono + wait_max;
    }

    /// The trunk in use.
    fn profile(&self) -> Option<&Profile> {
        self.tried.last().and_then(|trunk| self.wish.settings.trunks.trunks.get(trunk.index()))
    }

    /// Without any provisional response in this time the route is given up.
    fn silent_max(&self) -> Duration {
        let of = |profile: &Profile| match self.wish.rule.hurries() {
            true => profile.provisional_max_emergency,
            false => profile.provisional_max,
        };
        self.profile().map_or(ANSWER_MAX, of)
    }
}

/// The way there: channel, port, INVITE.
impl Reach {
    fn seize(&mut self, now: Now, out: &mut Vec<Command>) {
        self.enter(now, State::Seizing, ANSWER_MAX);
        let way = Way::Out { routes: self.wish.rule.trunks.clone(), tried: self.tried.clone() };
        let seize = Seize { leg: self.wish.holder, way, emergency: self.wish.rule.emergency };
        out.push(Command::Trunk(ToTrunks::Seize(seize)));
    }

    /// A channel of `trunk` is ours; `leg` is that of the far party.
    pub(super) fn granted(
        &mut self,
        now: Now,
        (trunk, flow): (TrunkId, Flow),
        leg: LegId,
        out: &mut Vec<Command>,
    ) -> Progress {
        if !matches!(self.state, State::Seizing) {
            return Progress::None;
        }
        let begun = if self.tried.is_empty() { Progress::Begun } else { Progress::None };
        self.tried.push(trunk);
        let name: Box<str> = self.profile().map_or_else(|| "".into(), |profile| profile.name.clone());
        self.routes.push(RouteAttempt {
            trunk: name.clone(),
            seized: self.wish.clock.at(now),
            provisional: None,
            ringing: None,
            ended: None,
            sip_status: None,
        });
        self.leg = Some(Leg::new(leg, Dialog::Gone, Party::Far { trunk: name }));
        self.enter(now, State::Opening { flow }, ANSWER_MAX);
        let towards = Towards::Address(flow.peer);
        out.push(Command::OpenPort { leg, beside: Some(self.wish.beside), towards });
        begun
    }

    /// No channel: it ends with why the last route failed, or with why there was none.
    pub(super) fn no_channel(&mut self, now: Now, why: Refused, out: &mut Vec<Command>) -> Progress {
        if !matches!(self.state, State::Seizing) {
            return Progress::None;
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
        self.fail(now, end, by, out)
    }

    pub(super) fn port_opened(
        &mut self,
        now: Now,
        leg: LegId,
        (local, seed): (SocketAddr, u64),
        out: &mut Vec<Command>,
    ) {
        if let State::Opening { flow } = &self.state
            && self.is(leg)
        {
            let flow = *flow;
            self.invite(now, flow, (local, seed), out);
        }
    }

    pub(super) fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) -> Progress {
        match self.is(leg) {
            true => self.fail(now, (503, NO_RESOURCE), EndedBy::Refused, out),
            false => Progress::None,
        }
    }

    fn invite(&mut self, now: Now, flow: Flow, (local, seed): (SocketAddr, u64), out: &mut Vec<Command>) {
        let Some(profile) = self.profile().cloned() else { return };
        let Some(remote) = &profile.remote else { return };
        let silent_max = self.silent_max();
        let Some(leg) = &mut self.leg else { return };
        leg.open(now, local, seed, out);
        let Some(sdp) = leg.offer_of(&profile.codecs) else { return };
        leg.dialog = Dialog::Alive;
        let leg = leg.id;
        let over = self.over(&profile, remote, flow);
        let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
        if profile.wording.user_to_user {
            let told = user_to_user(self.wish.contact, self.wish.link.as_deref());
            headers.push(("User-to-User".into(), told.into()));
        }
        if let Some(link) = &self.wish.link {
            headers.push(("Call-Info".into(), format!("<{link}>;purpose=info").into()));
        }
        if self.wish.rule.emergency {
            headers.push(("Priority".into(), "emergency".into()));
            headers.push(("Resource-Priority".into(), "esnet.4".into()));
        }
        if self.wish.rule.drill {
            headers.push(("Subject".into(), DRILL.into()));
        }
        let invite = Invite {
            leg,
            to: Destination::Trunk(Box::new(over)),
            caller: written(&profile, &self.wish.rule.caller).into(),
            caller_name: "".into(),
            sdp,
            headers,
            ring_max: silent_max + profile.ring_max + BOUND_MARGIN,
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
        self.enter(now, State::Trying, silent_max);
    }

    /// How the number is reached over this trunk.
    fn over(&self, profile: &Profile, remote: &Remote, flow: Flow) -> OverTrunk {
        let (wording, rule) = (&profile.wording, &self.wish.rule);
        let behalf = self.wish.behalf.as_ref().filter(|_| rule.hurries());
        let citizen = behalf.and_then(|behalf| behalf.number.as_ref());
        let asserted = written(profile, citizen.unwrap_or(&rule.caller)).into();
        OverTrunk {
            trunk: self.tried.last().copied().unwrap_or_default(),
            number: profile.outbound_rules.apply(&written(profile, &self.wish.number)),
            host: remote.written(),
            flow,
            route: remote.route(),
            from_host: if wording.from_domain.is_empty() { remote.host.clone() } else { wording.from_domain.clone() },
            user_phone: wording.user_phone,
            asserted: wording.asserts_identity.then_some(asserted),
            privacy: wording.privacy,
            location: if rule.hurries() { location(wording.geolocation, &rule.place, behalf) } else { None },
        }
    }
}

/// Where an emergency call is from, in the form that its trunk wants. For a citizen, the place of those who call for them is
/// told only as far as it is the area; a URI of it would lead to the hotline.
fn location(form: Geolocation, here: &Place, behalf: Option<&Behalf>) -> Option<Location> {
    let theirs = behalf.and_then(|behalf| behalf.place.as_deref());
    match form {
        Geolocation::None => None,
        Geolocation::Header => {
            let own = theirs.filter(|place| crate::sip::location::is_uri(place)).map(Into::into);
            let uri = if behalf.is_some() { own } else { here.uri.clone() };
            uri.map(Location::Reference)
        }
        Geolocation::Body => {
            let is_told = |element: &str| behalf.is_none() || AREA.contains(&element);
            let mut civic: Vec<_> = here.civic.iter().filter(|(element, _)| is_told(element)).cloned().collect();
            civic.extend(theirs.map(|place| ("LOC".into(), place.into())));
            (!civic.is_empty()).then_some(Location::Civic(civic))
        }
    }
}

/// The number as this trunk wants it.
fn written(profile: &Profile, number: &Number) -> String {
    if profile.wording.e164 { number.as_str().to_owned() } else { number.national() }
}

/// The link, where there is one that ISDN can carry, else the contact: in IA5, as ISDN's user-to-user information is (RFC
/// 7433 §4.1, Q.931 §4.5.30).
pub(super) fn user_to_user(contact: ContactId, link: Option<&str>) -> String {
    let told = link.filter(|link| link.len() <= UUI_OCTETS_MAX).map_or_else(|| contact.to_string(), str::to_owned);
    let digits: String = told.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("04{digits};encoding=hex")
}

/// What comes back.
impl Reach {
    /// The INVITE goes out only now, or within `late`: the route's time to show itself begins then.
    pub(super) fn sent(&mut self, now: Now, leg: LegId, late: Duration) {
        if self.is(leg) && matches!(self.state, State::Trying) {
            self.deadline = now.mono + late + self.silent_max();
        }
    }

    /// The next hop is there.
    pub(super) fn trying(&mut self, now: Now, leg: LegId) -> Progress {
        if !self.is(leg) || !matches!(self.state, State::Trying) {
            return Progress::None;
        }
        let at = self.wish.clock.at(now);
        if let Some(route) = self.routes.last_mut() {
            route.provisional = Some(at);
        }
        let ring_max = self.profile().map_or(ANSWER_MAX, |profile| profile.ring_max);
        self.enter(now, State::Ringing, self.wish.ring_max.map_or(ring_max, |most| most.min(ring_max)));
        Progress::Lives
    }

    /// 18x, with or without what it sounds like (early media).
    pub(super) fn ringing(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) -> Progress {
        let _lives = self.trying(now, leg);
        if !self.is(leg) || !self.rings() {
            return Progress::None;
        }
        let first = self.routes.iter().all(|route| route.ringing.is_none());
        let at = self.wish.clock.at(now);
        if let Some(route) = self.routes.last_mut() {
            route.ringing.get_or_insert(at);
        }
        let heard = self.leg.as_mut().is_some_and(|leg| sdp.is_some_and(|sdp| leg.accept(&sdp, out)));
        Progress::Rings { first, heard }
    }

    /// 2xx.
    pub(super) fn answered(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) -> Progress {
        let _lives = self.trying(now, leg);
        if !self.is(leg) || !self.rings() {
            return Progress::None;
        }
        if !self.leg.as_mut().is_some_and(|leg| leg.accept(sdp, out)) {
            return self.fail(now, (488, INCOMPATIBLE), EndedBy::Network, out);
        }
        self.route_ended(now, 200);
        self.state = State::Answered;
        self.deadline = Mono(u64::MAX);
        Progress::Answered
    }

    /// The INVITE came to nothing: by the route's fault the next one is tried.
    pub(super) fn failed(&mut self, now: Now, leg: LegId, why: (u16, Option<u8>), out: &mut Vec<Command>) -> Progress {
        let current = self.gone(leg, out);
        match &self.state {
            _ if !current => Progress::None,
            State::Trying | State::Ringing => {
                let rang = self.routes.last().is_some_and(|route| route.ringing.is_some());
                if self.is_routes_fault(why.0) && !(rang && why.0 == 408) {
                    return self.next_route(now, why, out);
                }
                self.fail(now, (why.0, why.1.unwrap_or(NORMAL)), EndedBy::Caller, out)
            }
            State::Answered => Progress::Lost,
            State::Seizing | State::Opening { .. } | State::Over => Progress::None,
        }
    }

    /// The dialog of a leg is over: its port is closed. Whether it is the one in use.
    pub(super) fn gone(&mut self, id: LegId, out: &mut Vec<Command>) -> bool {
        if let Some(leg) = self.legs_mut().find(|leg| leg.id == id) {
            leg.dialog = Dialog::Gone;
            leg.close(out);
        }
        self.is(id)
    }

    /// The deadline of the present state came.
    pub(super) fn expired(&mut self, now: Now, out: &mut Vec<Command>) -> Progress {
        match &self.state {
            State::Seizing | State::Opening { .. } => self.fail(now, (500, TEMPORARY_FAILURE), EndedBy::Fault, out),
            State::Trying => self.next_route(now, (408, None), out),
            // Nobody answers there; only an emergency is tried elsewhere.
            State::Ringing if self.wish.rule.hurries() => self.next_route(now, (480, Some(NO_ANSWER)), out),
            State::Ringing => self.fail(now, (480, NO_ANSWER), EndedBy::Caller, out),
            State::Answered | State::Over => {
                self.deadline = Mono(u64::MAX);
                Progress::None
            }
        }
    }

    /// Busy and declined are the called party's; what the network cannot do is the route's, and so is a challenge that our
    /// account does not meet.
    fn is_routes_fault(&self, status: u16) -> bool {
        matches!(status, 401 | 407 | 408 | 500..=599)
            || self.profile().is_some_and(|profile| profile.next_on.contains(&status))
    }

    fn next_route(&mut self, now: Now, why: (u16, Option<u8>), out: &mut Vec<Command>) -> Progress {
        self.last = Some(why);
        self.route_ended(now, why.0);
        if let (408 | 503, Some(trunk)) = (why.0, self.tried.last()) {
            out.push(Command::Trunk(ToTrunks::Failed { trunk: *trunk }));
        }
        if let Some(mut leg) = self.leg.take() {
            leg.hang_up(NO_ANSWER, out);
            self.former.push(leg);
        }
        self.seize(now, out);
        Progress::Next
    }

    fn route_ended(&mut self, now: Now, status: u16) {
        let at = self.wish.clock.at(now);
        if let Some(route) = self.routes.last_mut().filter(|route| route.ended.is_none()) {
            route.ended = Some(at);
            route.sip_status = Some(status);
        }
    }

    fn fail(&mut self, now: Now, (status, q850): (u16, u8), by: EndedBy, out: &mut Vec<Command>) -> Progress {
        self.end(now, status, out);
        Progress::Failed(Failure { status, q850, by })
    }

    /// Nobody is to be reached any more, or the talk is over: legs are hung up, the channel is free.
    pub(super) fn end(&mut self, now: Now, status: u16, out: &mut Vec<Command>) {
        self.route_ended(now, status);
        if !matches!(self.state, State::Over) {
            out.push(Command::Trunk(ToTrunks::Release { leg: self.wish.holder }));
        }
        for leg in self.leg.iter_mut().chain(&mut self.former) {
            leg.hang_up(NORMAL, out);
        }
        self.state = State::Over;
        self.deadline = Mono(u64::MAX);
    }

    /// A step was cut short: whatever the user agent and the media know of the legs, they are no more.
    pub(super) fn abandon(&mut self, out: &mut Vec<Command>) {
        self.legs_mut().for_each(|leg| leg.abandon(out));
    }
}

#[cfg(test)]
impl Reach {
    /// The state as one letter, for tables.
    pub(super) fn letter(&self) -> char {
        match &self.state {
            State::Seizing => 'S',
            State::Opening { .. } => 'P',
            State::Trying => 'Y',
            State::Ringing => 'R',
            State::Answered => 'T',
            State::Over => 'E',
        }
    }
}
