//! The demo's people with their phones in their hands: one pure machine for the shell.
//!
//! Owns nothing but the way between [`People`] and [`Phones`].

use super::people::{self, People, Screen};
use super::phones::{self, Phones};
use crate::base::{LegId, Mint, Mono, Now};
use crate::media::event::Action as Media;
use bytes::Bytes;
use std::net::SocketAddr;

/// Most calls at once: so many citizens there are.
pub const CITIZENS: usize = 6;

/// What comes from the world.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datagram from the engine.
    Received(Bytes),
    /// The answer to [`Command::OpenPort`]; without an address it failed.
    Port {
        /// The leg.
        leg: LegId,
        /// Its address.
        local: Option<SocketAddr>,
    },
    /// An agent's state in the engine changed.
    Screen {
        /// Place of the agent.
        agent: usize,
        /// What the screen shows.
        state: Screen,
    },
    /// A human answered the citizen with this canonical number.
    Human(Box<str>),
    /// All go home.
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
    /// This agent presses 示闲.
    Ready {
        /// Place of the agent.
        agent: usize,
    },
}

/// Everybody.
#[derive(Debug)]
pub struct Crowd {
    people: People,
    phones: Phones,
    to_phones: Vec<phones::Command>,
    to_people: Vec<people::Command>,
}

impl Crowd {
    /// As many agents as `phones` has, and [`CITIZENS`].
    pub fn new(now: Mono, phones: phones::Settings, voices: super::voices::Voices, seed: [u64; 2]) -> Crowd {
        let (agents, numbers, matters) = (phones.agents.len(), phones.numbers.len(), voices.matters());
        let mint = Mint::new(u16::MAX, seed);
        Crowd {
            people: People::new(now, (agents, CITIZENS), (numbers, matters), mint),
            phones: Phones::new(now, phones, voices, seed),
            to_phones: Vec::new(),
            to_people: Vec::new(),
        }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Received(bytes) => self.phone(now, phones::Event::Received(bytes)),
            Event::Port { leg, local } => self.phone(now, phones::Event::Port { leg, local }),
            Event::Screen { agent, state } => self.person(now, people::Event::Screen { agent, state }),
            Event::Human(caller) => self.person(now, people::Event::Human { caller }),
            Event::Leave => {
                self.person(now, people::Event::Leave);
                self.phone(now, phones::Event::Leave);
            }
        }
        self.settle(now, out);
    }

    /// When to call [`Crowd::expire`].
    pub fn next_deadline(&self) -> Option<Mono> {
        self.people.next_deadline().into_iter().chain(self.phones.next_deadline()).min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        self.phones.expire(now, &mut self.to_phones);
        self.people.expire(now.mono, &mut self.to_people);
        self.settle(now, out);
    }

    /// Whether the engine has nothing to do with anybody any more.
    pub fn is_gone(&self) -> bool {
        self.phones.are_gone()
    }

    fn phone(&mut self, now: Now, event: phones::Event) {
        self.phones.handle(now, event, &mut self.to_phones);
    }

    fn person(&mut self, now: Now, event: people::Event) {
        self.people.handle(now.mono, event, &mut self.to_people);
    }

    /// What phones say people notice; what people do happens to phones. A pressed button leaves with its order kept.
    fn settle(&mut self, now: Now, out: &mut Vec<Command>) {
        while !self.to_phones.is_empty() || !self.to_people.is_empty() {
            for command in std::mem::take(&mut self.to_phones) {
                match command {
                    phones::Command::Send(bytes) => out.push(Command::Send(bytes)),
                    phones::Command::OpenPort(leg) => out.push(Command::OpenPort(leg)),
                    phones::Command::Media(action) => out.push(Command::Media(action)),
                    phones::Command::Tell(event) => self.person(now, event),
                }
            }
            for command in std::mem::take(&mut self.to_people) {
                match command {
                    people::Command::Ready { agent } => out.push(Command::Ready { agent }),
                    people::Command::Dial { .. }
                    | people::Command::Answer { .. }
                    | people::Command::Refuse { .. }
                    | people::Command::Speak { .. }
                    | people::Command::HangUp { .. } => self.phone(now, phones::Event::Do(command)),
                }
            }
        }
    }
}
