//! A phone key (话机功能键): an agent's phone dials it, the state is asked for, a prompt says what came of it, we hang up.
//!
//! ```text
//! Opening → Answered → Saying → Ending
//! ```
//!
//! The state is asked for before anything is opened, so that nothing which befalls the call can lose it. Until the call is
//! over the ACD knows that the phone is in use: whoever has asked to be ready is so once it is free again.
//!
//! Owns what a key asks for and what is said to it. Whether an agent may have a state is judged by whoever is asked.

use super::event::{Command, Towards};
use super::leg::{Dialog, Leg};
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
}

/// The prompts of [`Said`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice([PromptId; NAMES.len()]);

/// Their names, in the order of [`Said`].
const NAMES: [&str; 6] =
    ["desk-ready", "desk-not-ready", "desk-paused", "desk-logged-off", "desk-pause-full", "desk-refused"];

impl Voice {
    /// Finds all of them.
    ///
    /// # Errors
    /// The name of the first that is not there.
    pub fn find(mut prompt: impl FnMut(&str) -> Option<PromptId>) -> Result<Voice, &'static str> {
        let mut found = [PromptId(0); NAMES.len()];
        for (place, name) in found.iter_mut().zip(NAMES) {
            *place = prompt(name).ok_or(name)?;
        }
        Ok(Voice(found))
    }

    fn of(&self, said: Said) -> PromptId {
        self.0[said as usize]
    }
}

#[derive(Debug)]
enum State {
    /// Its port was asked for. `offer` is the phone's, if it made one.
    Opening { offer: Option<Bytes> },
    /// 200 is sent; the ACK is awaited.
    Answered,
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
    pub(super) agent: AgentId,
    /// Name of the agent.
    pub(super) name: Box<str>,
}

/// One such call.
#[derive(Debug)]
pub(super) struct Desk {
    site: SiteId,
    agent: AgentId,
    leg: Leg,
    state: State,
    /// What came of the wish; until it is known nothing could be taken.
    said: Said,
    voice: Voice,
    deadline: Mono,
}

impl Desk {
    pub(super) fn new(now: Now, dialler: Dialler, voice: Voice, out: &mut Vec<Command>) -> Desk {
        let Dialler { leg, offer, from, site, agent, name } = dialler;
        out.push(Command::OpenPort { leg, beside: None, towards: Towards::Address(from) });
        Desk {
            site,
            agent,
            leg: Leg::new(leg, Dialog::Unanswered, Party::Agent { name }),
            state: State::Opening { offer },
            said: Said::Refused,
            voice,
            deadline: now.mono + PORT_WAIT_MAX,
        }
    }

    pub(super) fn site(&self) -> SiteId {
        self.site
    }

    pub(super) fn agent(&self) -> AgentId {
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
            State::Answered | State::Saying => {
                assert!(self.leg.dialog == Dialog::Alive && self.leg.has_port(), "the phone is there");
            }
            State::Ending => assert!(!self.leg.has_port(), "nothing more is said"),
        }
    }

    /// What came of the wish is known.
    pub(super) fn judged(&mut self, said: Said) {
        self.said = said;
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
        match self.state {
            State::Answered => {
                let (leg, prompts) = (self.leg.id, vec![self.voice.of(self.said)]);
                out.push(Command::Media(Media::Play { leg, play: 1, prompts, repeat: false }));
                self.enter(now, State::Saying, SAY_MAX);
            }
            State::Opening { .. } | State::Saying | State::Ending => {}
        }
    }

    /// The answer to our offer came before the ACK; what cannot be spoken shows itself again there.
    pub(super) fn early_answer(&mut self, sdp: &[u8], out: &mut Vec<Command>) {
        self.leg.accept(sdp, out);
    }

    /// The prompt was heard to its end.
    pub(super) fn played(&mut self, now: Now, out: &mut Vec<Command>) {
        match self.state {
            State::Saying => self.finish(now, NORMAL, out),
            State::Opening { .. } | State::Answered | State::Ending => {}
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
            State::Answered | State::Saying => self.finish(now, NORMAL, out),
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
            State::Saying => 'S',
            State::Ending => 'E',
        }
    }
}
