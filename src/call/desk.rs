//! A phone key (话机功能键): an agent's phone dials it, the state is asked for, a prompt says what came of it, we hang up.
//!
//! ```text
//! Opening → Answered → Saying → Ending
//!               ↓        ↑
//!             Asking → Checking → Asking: once more
//! ```
//!
//! The state is asked for before anything is opened, so that nothing which befalls the call can lose it. Until the call is
//! over the ACD knows that the phone is in use: whoever has asked to be ready is so once it is free again. A seat's phone
//! that logs somebody in ([`log_in`](super::log_in)) asks first, and is in nobody's use until then.
//!
//! Owns what a key asks for and what is said to it. Whether an agent may have a state is judged by whoever is asked.

use super::event::{Command, Towards};
use super::leg::{Dialog, DigitWay, Leg};
use super::log_in::{self, LogIn, Typed};
use super::q850::{INCOMPATIBLE, NO_RESOURCE, NORMAL, TEMPORARY_FAILURE};
use crate::base::fact::Party;
use crate::base::{AgentId, LegId, Mono, Now, PromptId, SiteId};
use crate::media::event::Action as Media;
use crate::sip::event::Action as Sip;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A port is given in the same pass; later than this it never will be.
const PORT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Longer than our 200 is repeated for its ACK (64×T1, RFC 3261 §13.3.1.4).
const ACK_WAIT_MAX: Duration = Duration::from_secs(35);
/// Longer than any prompt that is said.
const SAY_MAX: Duration = Duration::from_secs(15);
/// Longer than anybody takes from one key to the next, or for the first one with the prompt before it.
const TYPE_MAX: Duration = Duration::from_secs(20);
/// What was typed is judged by then, or it could not be.
const CHECK_MAX: Duration = Duration::from_secs(15);
/// Longer than any SIP transaction (64×T1) that may still end the leg.
const LINGER_MAX: Duration = Duration::from_secs(70);

/// The keys of a site's phones, and what is said to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What each asks for, by what is dialled: `*` and digits.
    pub by_key: BTreeMap<Box<str>, Key>,
    /// The prompts.
    pub voice: Voice,
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// 示闲.
    Ready,
    /// 示忙, or with a reason 小休.
    NotReady {
        /// As with the API; empty for none.
        reason: Box<str>,
    },
    /// 签出.
    LogOff,
    /// 签入: of a seat's phone, where whoever sits down says who they are.
    LogIn,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// The agent is ready once the phone is free.
    Ready,
    /// The agent takes no calls.
    NotReady,
    /// The agent pauses.
    Paused,
    /// The agent is logged off.
    LoggedOff,
    /// Too many pause for this reason already.
    PauseFull,
    /// It could not be taken: too busy, or not a pause of this site any more.
    Refused,
    /// The agent sits there now.
    LoggedIn,
    /// Another agent sits there.
    Occupied,
    /// No agent of the site has this number with this PIN, or too many PINs were tried of theirs.
    Wrong,
}

/// The prompts of [`Said`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    said: [PromptId; NAMES.len()],
    /// Where phones log people in.
    log_in: Option<log_in::Voice>,
}

/// Their names, in the order of [`Said`].
const NAMES: [&str; 6] =
    ["desk-ready", "desk-not-ready", "desk-paused", "desk-logged-off", "desk-pause-full", "desk-refused"];

impl Voice {
    /// Finds all of them, those for logging in too if `log_in` is true.
    ///
    /// # Errors
    /// The name of the first that is not there.
    pub fn find(log_in: bool, mut prompt: impl FnMut(&str) -> Option<PromptId>) -> Result<Voice, &'static str> {
        let said = prompts(NAMES, &mut prompt)?;
        let log_in = log_in.then(|| log_in::Voice::find(&mut prompt)).transpose()?;
        Ok(Voice { said, log_in })
    }

    fn of(&self, said: Said) -> PromptId {
        let log_in = self.log_in.as_ref().and_then(|voice| voice.of(said));
        let refused = self.said[Said::Refused as usize];
        log_in.unwrap_or_else(|| self.said.get(said as usize).copied().unwrap_or(refused))
    }
}

/// Finds prompts by their names.
pub(super) fn prompts<const N: usize>(
    names: [&'static str; N],
    mut prompt: impl FnMut(&str) -> Option<PromptId>,
) -> Result<[PromptId; N], &'static str> {
    let mut found = [PromptId(0); N];
    for (place, name) in found.iter_mut().zip(names) {
        *place = prompt(name).ok_or(name)?;
    }
    Ok(found)
}

#[derive(Debug)]
enum State {
    /// Its port was asked for. `offer` is the phone's, if it made one.
    Opening { offer: Option<Bytes> },
    /// 200 is sent; the ACK is awaited.
    Answered,
    /// Whoever sits down types.
    Asking,
    /// What they typed is being judged.
    Checking,
    /// The prompt is heard.
    Saying,
    /// The leg runs out.
    Ending,
}

/// Who dials.
pub(super) struct Dialler {
    pub(super) leg: LegId,
    pub(super) offer: Option<Bytes>,
    pub(super) from: SocketAddr,
    pub(super) site: SiteId,
    pub(super) who: Who,
}

/// Whose phone it is that dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// This agent's, by number and name.
    Agent(AgentId, Box<str>),
    /// That of the seat of this name, which logs somebody in.
    Seat(Box<str>),
}

/// One such call.
#[derive(Debug)]
pub(super) struct Desk {
    site: SiteId,
    /// Whose phone is in use; nobody's while it logs somebody in.
    agent: Option<AgentId>,
    log_in: Option<LogIn>,
    leg: Leg,
    state: State,
    /// What came of the wish; until it is known nothing could be taken.
    said: Said,
    voice: Voice,
    /// Counts what is played.
    play: u32,
    deadline: Mono,
}

impl Desk {
    pub(super) fn new(now: Now, dialler: Dialler, voice: Voice, out: &mut Vec<Command>) -> Desk {
        let Dialler { leg, offer, from, site, who } = dialler;
        let (agent, name, log_in) = match who {
            Who::Agent(agent, name) => (Some(agent), name, None),
            Who::Seat(seat) => (None, seat.clone(), Some(LogIn::at(seat))),
        };
        out.push(Command::OpenPort { leg, beside: None, towards: Towards::Address(from) });
        Desk {
            site,
            agent,
            log_in,
            leg: Leg::new(leg, Dialog::Unanswered, Party::Agent { name }),
            state: State::Opening { offer },
            said: Said::Refused,
            voice,
            play: 0,
            deadline: now.mono + PORT_WAIT_MAX,
        }
    }

    pub(super) fn site(&self) -> SiteId {
        self.site
    }

    pub(super) fn agent(&self) -> Option<AgentId> {
        self.agent
    }

    pub(super) fn leg(&self) -> LegId {
        self.leg.id
    }

    pub(super) fn next_deadline(&self) -> Mono {
        self.deadline
    }

    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Ending)
    }

    /// The leg has run out, its media too.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        !self.is_live() && (self.deadline <= now || self.leg.is_over())
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        match &self.state {
            State::Opening { .. } => assert_eq!(self.leg.dialog, Dialog::Unanswered, "nothing is answered yet"),
            State::Answered | State::Asking | State::Checking | State::Saying => {
                assert!(self.leg.dialog == Dialog::Alive && self.leg.has_port(), "the phone is there");
            }
            State::Ending => assert!(!self.leg.has_port(), "nothing more is said"),
        }
    }

    /// What came of the wish is known. Whoever has mistyped is asked once more, a few times.
    pub(super) fn judged(&mut self, now: Now, said: Said, out: &mut Vec<Command>) {
        self.said = said;
        match (&self.state, &mut self.log_in, &self.voice.log_in) {
            (State::Checking, Some(log_in), Some(voice)) => match said == Said::Wrong && log_in.again() {
                true => {
                    let prompts = voice.again();
                    self.ask(now, prompts, out);
                }
                false => self.say(now, out),
            },
            (State::Checking, ..) => self.say(now, out),
            (State::Opening { .. } | State::Answered | State::Asking | State::Saying | State::Ending, ..) => {}
        }
    }

    /// A key was pressed: what was typed until now, once it is complete, is to be judged.
    pub(super) fn digit(
        &mut self,
        now: Now,
        (digit, way): (u8, DigitWay),
        out: &mut Vec<Command>,
    ) -> Option<log_in::Claim> {
        if !self.leg.hears(way) {
            return None;
        }
        let (State::Asking, Some(log_in), Some(voice)) = (&self.state, &mut self.log_in, &self.voice.log_in) else {
            return None;
        };
        out.push(Command::Media(Media::Stop { leg: self.leg.id }));
        match log_in.digit(digit) {
            Typed::More => self.enter(now, State::Asking, TYPE_MAX),
            Typed::Agent => self.ask(now, voice.pin(), out),
            Typed::Both(claim) => {
                self.enter(now, State::Checking, CHECK_MAX);
                return Some(claim);
            }
        }
        None
    }

    fn ask(&mut self, now: Now, prompts: Vec<PromptId>, out: &mut Vec<Command>) {
        self.play(prompts, out);
        self.enter(now, State::Asking, TYPE_MAX);
    }

    fn say(&mut self, now: Now, out: &mut Vec<Command>) {
        self.play(vec![self.voice.of(self.said)], out);
        self.enter(now, State::Saying, SAY_MAX);
    }

    fn play(&mut self, prompts: Vec<PromptId>, out: &mut Vec<Command>) {
        self.play += 1;
        let (leg, play) = (self.leg.id, self.play);
        out.push(Command::Media(Media::Play { leg, play, prompts, repeat: false }));
    }

    /// Its port is bound: it is answered.
    pub(super) fn port_opened(&mut self, now: Now, (local, seed): (SocketAddr, u64), out: &mut Vec<Command>) {
        let State::Opening { offer } = &mut self.state else { return };
        let offer = offer.take();
        self.leg.open(now, local, seed, out);
        let sdp = match offer.map(|offer| self.leg.answer(&offer, out)).transpose() {
            Ok(answer) => answer.or_else(|| self.leg.offer(None)),
            Err(status) => return self.refuse(now, (status, INCOMPATIBLE), out),
        };
        self.leg.dialog = Dialog::Alive;
        let leg = self.leg.id;
        out.push(Command::Sip(Sip::Respond { leg, status: 200, sdp, q850: None, retry_after_s: None }));
        self.enter(now, State::Answered, ACK_WAIT_MAX);
    }

    /// There is no port for it.
    pub(super) fn port_refused(&mut self, now: Now, out: &mut Vec<Command>) {
        self.refuse(now, (503, NO_RESOURCE), out);
    }

    /// The ACK of our 200; it carries the answer when the INVITE made no offer.
    pub(super) fn acknowledged(&mut self, now: Now, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        if let Some(sdp) = sdp
            && !self.leg.accept(&sdp, out)
        {
            return self.finish(now, INCOMPATIBLE, out);
        }
        match (&self.state, &self.voice.log_in) {
            (State::Answered, Some(voice)) if self.log_in.is_some() => self.ask(now, voice.agent(), out),
            (State::Answered, _) => self.say(now, out),
            (State::Opening { .. } | State::Asking | State::Checking | State::Saying | State::Ending, _) => {}
        }
    }

    /// The answer to our offer came before the ACK; what cannot be spoken shows itself again there.
    pub(super) fn early_answer(&mut self, sdp: &[u8], out: &mut Vec<Command>) {
        self.leg.accept(sdp, out);
    }

    /// The prompt was heard to its end.
    pub(super) fn played(&mut self, now: Now, play: u32, out: &mut Vec<Command>) {
        match self.state {
            State::Saying if play == self.play => self.finish(now, NORMAL, out),
            State::Opening { .. }
            | State::Answered
            | State::Asking
            | State::Checking
            | State::Saying
            | State::Ending => {}
        }
    }

    pub(super) fn reoffered(&mut self, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        let answer = match sdp {
            Some(offer) => self.leg.answer(&offer, out),
            None => self.leg.offer(None).ok_or(500),
        };
        out.push(Command::Sip(Sip::AnswerReoffer { leg: self.leg.id, answer }));
    }

    /// The session must be refreshed.
    pub(super) fn refresh(&mut self, out: &mut Vec<Command>) {
        self.leg.refresh(out);
    }

    /// The dialog is over.
    pub(super) fn ended(&mut self, now: Now, out: &mut Vec<Command>) {
        self.leg.dialog = Dialog::Gone;
        self.finish(now, NORMAL, out);
    }

    /// The port is closed. If nobody had asked for that, the call is over.
    pub(super) fn media_closed(&mut self, now: Now, out: &mut Vec<Command>) {
        self.leg.port_gone();
        self.finish(now, TEMPORARY_FAILURE, out);
    }

    /// The deadline of the present state came.
    pub(super) fn expired(&mut self, now: Now, out: &mut Vec<Command>) {
        match self.state {
            State::Opening { .. } => self.refuse(now, (500, TEMPORARY_FAILURE), out),
            State::Checking => {
                self.said = Said::Refused;
                self.say(now, out);
            }
            State::Answered | State::Asking | State::Saying => self.finish(now, NORMAL, out),
            State::Ending => {}
        }
    }

    /// A step of this call was cut short, and what it had said was thrown away.
    pub(super) fn broken(&mut self, now: Now, out: &mut Vec<Command>) {
        self.refuse(now, (500, TEMPORARY_FAILURE), out);
        self.leg.abandon(out);
    }

    fn refuse(&mut self, now: Now, (status, q850): (u16, u8), out: &mut Vec<Command>) {
        if self.leg.dialog == Dialog::Unanswered {
            let leg = self.leg.id;
            self.leg.dialog = Dialog::Ending;
            out.push(Command::Sip(Sip::Respond { leg, status, sdp: None, q850: Some(q850), retry_after_s: None }));
        }
        self.finish(now, q850, out);
    }

    /// The one road into `Ending`.
    fn finish(&mut self, now: Now, q850: u8, out: &mut Vec<Command>) {
        if self.is_live() {
            self.leg.hang_up(q850, out);
            self.enter(now, State::Ending, LINGER_MAX);
        }
    }

    fn enter(&mut self, now: Now, state: State, wait_max: Duration) {
        self.state = state;
        self.deadline = now.mono + wait_max;
    }
}

#[cfg(test)]
impl Desk {
    /// The state as one letter, for tables.
    pub(super) fn letter(&self) -> char {
        match self.state {
            State::Opening { .. } => 'O',
            State::Answered => 'A',
            State::Asking => 'K',
            State::Checking => 'C',
            State::Saying => 'S',
            State::Ending => 'E',
        }
    }
}
