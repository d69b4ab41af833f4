//! The phones of the demo's people: the agents' softphones, which register, and the citizens' lines behind one gateway.
//!
//! One [`Ua`] carries all their calls and one [`Session`] each their descriptions: the engine's own code, at the other end
//! of the wire. A pure machine; owns no socket, decides nothing ([`people`](super::people) does).

use super::people::{self, Who};
use super::registration::{Change, Registration};
use super::voices::Voices;
use crate::base::{LegId, Mint, Mono, Now, PromptId, ShardId};
use crate::media::event::{Action as Media, Remote};
use crate::sdp::{Codec, Direction, Negotiated, Session};
use crate::sip::event::{
    Action, Binding, Bindings, Command as FromUa, Credential, Destination, Event as ToUa, Flow, Incoming, Invite,
    ListenerSettings, Notice, Settings as SipSettings, TrunkSettings,
};
use crate::sip::{Message, Method, Ua};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The one shard of the demo's user agent.
const SHARD: ShardId = ShardId(0);
/// A hotline that does not answer for so long is not called any longer.
const DIAL_MAX: Duration = Duration::from_secs(30);
/// For so long the user agent believes the address of a dialled number; it is told anew before each call.
const NUMBER_LIFE: Duration = Duration::from_secs(600);
/// Q.850: normal call clearing.
const NORMAL_CLEARING: u8 = 16;
/// Q.850: user busy.
const BUSY: u8 = 17;

/// Who they are and whom they call.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the engine listens.
    pub engine: SocketAddr,
    /// Where the phones are: one socket for all.
    pub local: SocketAddr,
    /// The agents, by place.
    pub agents: Vec<Credential>,
    /// Numbers to call.
    pub numbers: Vec<Dialled>,
}

/// A number of the hotline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    /// As a citizen dials it.
    pub number: Box<str>,
    /// Domain of its site.
    pub domain: Box<str>,
}

/// What comes to the phones.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datagram.
    Received(Bytes),
    /// A media port was bound for this leg, or could not be.
    Port {
        /// The leg.
        leg: LegId,
        /// Its address.
        local: Option<SocketAddr>,
    },
    /// Somebody does something with a phone.
    Do(people::Command),
    /// Once no call is left, all phones take their registrations back.
    Leave,
}

/// What the world must do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send this to the engine.
    Send(Bytes),
    /// Bind a media port and answer at once with [`Event::Port`].
    OpenPort(LegId),
    /// To the media thread.
    Media(Media),
    /// Somebody notices something.
    Tell(people::Event),
}

/// One call of one phone.
#[derive(Debug)]
struct Call {
    who: Who,
    /// From the moment its port is open.
    session: Option<Session>,
    /// What it says once its port is open.
    lines: Vec<PromptId>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A citizen dials; the number waits for the port.
    Dialling { caller: Box<str>, number: usize },
    /// An agent's phone rings, with this offer.
    Ringing { offer: Option<Bytes> },
    /// The rest is between the user agents.
    Running,
}

/// All phones.
#[derive(Debug)]
pub struct Phones {
    settings: Settings,
    ua: Ua,
    registrations: Vec<Registration>,
    calls: BTreeMap<LegId, Call>,
    voices: Voices,
    dialled: u64,
    leaving: bool,
    mint: Mint,
    from_ua: Vec<FromUa>,
}

impl Phones {
    /// Phones that begin to register at `now`, one after another. `seed` makes their tags and nonces.
    pub fn new(now: Mono, settings: Settings, voices: Voices, seed: [u64; 2]) -> Phones {
        let engine = TrunkSettings {
            name: "engine".into(),
            sources: vec![(settings.engine.ip(), if settings.engine.is_ipv4() { 32 } else { 128 })],
            trusts_identity: true,
            ..TrunkSettings::default()
        };
        let sip = SipSettings {
            listeners: vec![ListenerSettings::udp(settings.local)],
            trunks: vec![engine],
            ..SipSettings::default()
        };
        let registration = |(place, credential): (u16, &Credential)| {
            let from = now + Duration::from_millis(200) * u32::from(place);
            Registration::new(credential.clone(), settings.local, from, Mint::new(place + 2, seed))
        };
        Phones {
            ua: Ua::new(0, SHARD, Mint::new(0, seed), seed, Arc::new(sip)),
            registrations: (0..).zip(&settings.agents).map(registration).collect(),
            calls: BTreeMap::new(),
            voices,
            dialled: 0,
            leaving: false,
            mint: Mint::new(1, seed),
            from_ua: Vec::new(),
            settings,
        }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Received(bytes) => self.received(now, bytes, out),
            Event::Port { leg, local: Some(local) } => self.port_opened(now, leg, local, out),
            Event::Port { leg, local: None } => self.port_refused(now, leg, out),
            Event::Do(command) => self.act(now, command, out),
            Event::Leave => self.leaving = true,
        }
        self.drain(now, out);
    }

    /// When to call [`Phones::expire`].
    pub fn next_deadline(&self) -> Option<Mono> {
        self.registrations.iter().map(Registration::next_deadline).chain(self.ua.next_deadline()).min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        self.ua.expire(now, &mut self.from_ua);
        for (agent, registration) in self.registrations.iter_mut().enumerate() {
            let (request, change) = registration.expire(now.mono);
            out.extend(request.map(Command::Send));
            tell(agent, change, out);
        }
        self.drain(now, out);
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether the engine knows of no call and of no phone.
    pub fn are_gone(&self) -> bool {
        self.calls.is_empty() && !self.registrations.iter().any(Registration::is_up)
    }

    /// Panics when something is not as it must be.
    pub fn check(&self) {
        self.ua.check();
        let mut busy: Vec<Who> = self.calls.values().map(|call| call.who).collect();
        busy.sort();
        busy.dedup();
        assert_eq!(busy.len(), self.calls.len(), "nobody has two calls");
    }

    fn received(&mut self, now: Now, bytes: Bytes, out: &mut Vec<Command>) {
        let answer = Message::parse(bytes.clone()).ok().filter(|message| !message.is_request());
        match answer.filter(|response| response.cseq().method == Method::Register) {
            Some(response) => {
                for (agent, registration) in self.registrations.iter_mut().enumerate() {
                    let (request, change) = registration.respond(now.mono, &response);
                    out.extend(request.map(Command::Send));
                    tell(agent, change, out);
                }
            }
            None => self.ua.handle(now, ToUa::Received { flow: self.flow(), bytes }, &mut self.from_ua),
        }
    }

    fn flow(&self) -> Flow {
        Flow { listener: 0, connection: 0, peer: self.settings.engine }
    }

    fn act(&mut self, now: Now, command: people::Command, out: &mut Vec<Command>) {
        match command {
            people::Command::Dial { citizen, caller, number } => {
                let leg = LegId::outgoing(SHARD, self.dialled);
                self.dialled += 1;
                let stage = Stage::Dialling { caller, number };
                self.calls.insert(leg, Call { who: Who::Citizen(citizen), session: None, lines: Vec::new(), stage });
                out.push(Command::OpenPort(leg));
            }
            people::Command::Answer { agent } => out.extend(self.leg_of(Who::Agent(agent)).map(Command::OpenPort)),
            people::Command::Refuse { agent } => self.refuse(now, Who::Agent(agent)),
            people::Command::Speak { who, matter } => {
                let lines = self.voices.lines(who, matter);
                self.speak(who, lines, out);
            }
            people::Command::HangUp { who } => {
                if let Some(leg) = self.leg_of(who) {
                    self.ask(now, Action::HangUp { leg, q850: NORMAL_CLEARING });
                }
            }
            // A button on the screen, not on the phone.
            people::Command::Ready { .. } => {}
        }
    }

    fn speak(&mut self, who: Who, lines: Vec<PromptId>, out: &mut Vec<Command>) {
        let Some((&leg, call)) = self.calls.iter_mut().find(|(_, call)| call.who == who) else { return };
        if call.session.is_some() {
            out.push(play(leg, lines));
        } else {
            call.lines = lines;
        }
    }

    fn refuse(&mut self, now: Now, who: Who) {
        if let Some(leg) = self.leg_of(who) {
            self.ask(now, respond(leg, 486, None, Some(BUSY)));
        }
    }

    fn leg_of(&self, who: Who) -> Option<LegId> {
        self.calls.iter().find(|(_, call)| call.who == who).map(|(leg, _)| *leg)
    }

    fn ask(&mut self, now: Now, action: Action) {
        self.ua.handle(now, ToUa::Do(action), &mut self.from_ua);
    }

    fn port_opened(&mut self, now: Now, leg: LegId, local: SocketAddr, out: &mut Vec<Command>) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        out.push(Command::Media(Media::Open { leg, seed: self.mint.random() }));
        if !call.lines.is_empty() {
            out.push(play(leg, std::mem::take(&mut call.lines)));
        }
        let session = call.session.insert(Session::new(self.mint.random() >> 1, local));
        match std::mem::replace(&mut call.stage, Stage::Running) {
            Stage::Dialling { caller, number } => {
                let sdp = session.offer(&[Codec::Pcma, Codec::Pcmu], Direction::SendRecv);
                self.invite(now, leg, caller, number, sdp);
            }
            Stage::Ringing { offer: Some(offer) } => match session.answer(&offer, Direction::SendRecv) {
                Ok((sdp, agreed)) => {
                    out.push(connect(leg, agreed));
                    self.ask(now, respond(leg, 200, Some(sdp), None));
                }
                Err(refusal) => self.ask(now, respond(leg, refusal.status(), None, None)),
            },
            Stage::Ringing { offer: None } => {
                let sdp = session.offer(&[Codec::Pcma, Codec::Pcmu], Direction::SendRecv);
                self.ask(now, respond(leg, 200, Some(sdp), None));
            }
            Stage::Running => {}
        }
    }

    fn port_refused(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        match self.calls.get(&leg).map(|call| &call.stage) {
            Some(Stage::Dialling { .. }) => self.over(leg, out),
            Some(Stage::Ringing { .. }) => self.ask(now, respond(leg, 500, None, None)),
            Some(Stage::Running) | None => {}
        }
    }

    /// The dialled number is, for the user agent, a phone that registered at the engine's address.
    fn invite(&mut self, now: Now, leg: LegId, caller: Box<str>, number: usize, sdp: Bytes) {
        let Dialled { number: user, domain } = self.settings.numbers[number].clone();
        let uri = format!("sip:{user}@{}", self.settings.engine).into();
        let binding = Binding { uri, flow: self.flow(), expires: now.wall + NUMBER_LIFE, path: Vec::new() };
        let bindings = Bindings { user: user.clone(), domain: domain.clone(), contacts: vec![binding] };
        self.ua.handle(now, ToUa::Bindings(bindings), &mut self.from_ua);
        let (caller_name, headers) = ("".into(), Vec::new());
        let to = Destination::User { user, domain };
        let invite = Invite { leg, to, caller, caller_name, sdp, headers, ring_max: DIAL_MAX };
        self.ask(now, Action::Invite(Box::new(invite)));
    }

    /// Carries out what the user agent said, and what follows from that.
    fn drain(&mut self, now: Now, out: &mut Vec<Command>) {
        while !self.from_ua.is_empty() {
            for command in std::mem::take(&mut self.from_ua) {
                match command {
                    FromUa::Send { bytes, .. } => out.push(Command::Send(bytes)),
                    FromUa::Tell(notice) => self.noticed(now, notice, out),
                    // Nobody registers with a phone, and it asks nothing.
                    FromUa::Bindings(_) | FromUa::Suspect(_) | FromUa::Answered(_) => {}
                }
            }
        }
        if self.leaving && self.calls.is_empty() {
            self.leaving = false;
            out.extend(self.registrations.iter_mut().map(|phone| Command::Send(phone.leave(now.mono))));
        }
        self.check();
    }

    fn noticed(&mut self, now: Now, notice: Notice, out: &mut Vec<Command>) {
        match notice {
            Notice::Incoming(incoming) => self.rings(now, *incoming, out),
            Notice::Answered { leg, sdp } | Notice::Acknowledged { leg, sdp: Some(sdp) } => {
                self.agree(now, leg, &sdp, out)
            }
            Notice::Reoffered { leg, sdp } => {
                let answer = self.reoffered(leg, sdp, out);
                self.ask(now, Action::AnswerReoffer { leg, answer });
            }
            Notice::Failed { leg, .. } | Notice::Ended { leg, .. } => self.over(leg, out),
            Notice::Acknowledged { sdp: None, .. }
            | Notice::Cancelled { .. }
            | Notice::Trying { .. }
            | Notice::Connecting { .. }
            | Notice::Resent { .. }
            | Notice::Ringing { .. }
            | Notice::EarlyAnswer { .. }
            | Notice::Refresh { .. }
            | Notice::Digit { .. }
            | Notice::Referred(_)
            | Notice::ReofferAnswered { .. } => {}
        }
    }

    fn rings(&mut self, now: Now, incoming: Incoming, out: &mut Vec<Command>) {
        let Incoming { leg, dialled, sdp, .. } = incoming;
        let agent = self.settings.agents.iter().position(|agent| agent.user == dialled);
        let Some(agent) = agent else {
            return self.ask(now, respond(leg, 404, None, None));
        };
        if self.leg_of(Who::Agent(agent)).is_some() {
            return self.ask(now, respond(leg, 486, None, Some(BUSY)));
        }
        let stage = Stage::Ringing { offer: sdp };
        self.calls.insert(leg, Call { who: Who::Agent(agent), session: None, lines: Vec::new(), stage });
        self.ask(now, respond(leg, 180, None, None));
        out.push(Command::Tell(people::Event::Rings { agent }));
    }

    fn agree(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        let session = self.calls.get_mut(&leg).and_then(|call| call.session.as_mut());
        match session.map(|session| session.accept(sdp)) {
            Some(Ok(agreed)) => out.push(connect(leg, agreed)),
            Some(Err(_)) | None => self.ask(now, Action::HangUp { leg, q850: NORMAL_CLEARING }),
        }
    }

    fn reoffered(&mut self, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) -> Result<Bytes, u16> {
        let session = self.calls.get_mut(&leg).and_then(|call| call.session.as_mut()).ok_or(481u16)?;
        let Some(offer) = sdp else { return Ok(session.offer(&[], Direction::SendRecv)) };
        let (answer, agreed) = session.answer(&offer, Direction::SendRecv).map_err(|refusal| refusal.status())?;
        out.push(connect(leg, agreed));
        Ok(answer)
    }

    fn over(&mut self, leg: LegId, out: &mut Vec<Command>) {
        if let Some(call) = self.calls.remove(&leg) {
            out.push(Command::Media(Media::Close { leg }));
            out.push(Command::Tell(people::Event::Over { who: call.who }));
        }
    }
}

fn respond(leg: LegId, status: u16, sdp: Option<Bytes>, q850: Option<u8>) -> Action {
    Action::Respond { leg, status, sdp, q850, retry_after_s: None }
}

fn play(leg: LegId, prompts: Vec<PromptId>) -> Command {
    Command::Media(Media::Play { leg, play: 0, prompts, repeat: false })
}

fn connect(leg: LegId, agreed: Negotiated) -> Command {
    let Negotiated { rtp, rtcp, codec, payload_type, telephone_event, direction, ptime_ms } = agreed;
    let remote = Remote { rtp, rtcp, codec, payload_type, telephone_event, direction, ptime_ms };
    Command::Media(Media::Connect { leg, remote })
}

fn tell(agent: usize, change: Change, out: &mut Vec<Command>) {
    match change {
        Change::None => {}
        Change::Up => out.push(Command::Tell(people::Event::Phone { agent, up: true })),
        Change::Down => out.push(Command::Tell(people::Event::Phone { agent, up: false })),
    }
}

#[cfg(test)]
mod tests;
