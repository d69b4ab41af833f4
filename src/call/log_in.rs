//! Who sits down at a seat says so by its phone (签入): the agent's number and `#`, the PIN and `#`. `*` begins anew.
//!
//! Owns what was typed until now and how often. Whether it is right is judged by whoever is asked.

use super::desk::{Said, prompts};
use crate::base::PromptId;
use std::fmt;

/// So often it may be wrong in one call.
const TRIES_MAX: u8 = 3;
/// Longest that is typed; more is never right.
const DIGITS_MAX: usize = 32;
const END: u8 = b'#';
const ANEW: u8 = b'*';

/// A PIN as it was typed; in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(Box<str>);

impl Pin {
    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// Who says to sit down, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the seat.
    pub seat: Box<str>,
    /// Name of the agent: their number (工号).
    pub agent: Box<str>,
    /// What proves it.
    pub pin: Pin,
}

/// The prompts that ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Voice([PromptId; NAMES.len()]);

const NAMES: [&str; 5] = ["desk-agent", "desk-pin", "desk-wrong", "desk-logged-in", "desk-occupied"];

impl Voice {
    /// Finds all of them.
    ///
    /// # Errors
    /// The name of the first that is not there.
    pub(super) fn find(prompt: impl FnMut(&str) -> Option<PromptId>) -> Result<Voice, &'static str> {
        prompts(NAMES, prompt).map(Voice)
    }

    /// Asks for the agent's number.
    pub(super) fn agent(&self) -> Vec<PromptId> {
        vec![self.0[0]]
    }

    /// Asks for the PIN.
    pub(super) fn pin(&self) -> Vec<PromptId> {
        vec![self.0[1]]
    }

    /// It was wrong: asks once more.
    pub(super) fn again(&self) -> Vec<PromptId> {
        vec![self.0[2], self.0[0]]
    }

    /// What comes of it, where that is said of logging in alone.
    pub(super) fn of(&self, said: Said) -> Option<PromptId> {
        match said {
            Said::Wrong => Some(self.0[2]),
            Said::LoggedIn => Some(self.0[3]),
            Said::Occupied => Some(self.0[4]),
            Said::Ready | Said::NotReady | Said::Paused | Said::LoggedOff | Said::PauseFull | Said::Refused => None,
        }
    }
}

/// What was typed until now.
#[derive(Debug)]
pub(super) struct LogIn {
    seat: Box<str>,
    agent: Option<Box<str>>,
    typed: Digits,
    tries: u8,
}

/// In no log: it may be part of a PIN.
#[derive(Default)]
struct Digits(String);

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} digits", self.0.len())
    }
}

/// What a key makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// There is more to come.
    More,
    /// The agent's number is there; the PIN is missing.
    Agent,
    /// All is there.
    Both(Claim),
}

impl LogIn {
    pub(super) fn at(seat: Box<str>) -> LogIn {
        LogIn { seat, agent: None, typed: Digits::default(), tries: 0 }
    }

    /// A key: an ASCII digit, `*` or `#`.
    pub(super) fn digit(&mut self, digit: u8) -> Typed {
        match digit {
            END => {
                let typed: Box<str> = std::mem::take(&mut self.typed.0).into();
                match self.agent.take() {
                    None => {
                        self.agent = Some(typed);
                        Typed::Agent
                    }
                    Some(agent) => Typed::Both(Claim { seat: self.seat.clone(), agent, pin: Pin(typed) }),
                }
            }
            ANEW => {
                self.typed.0.clear();
                Typed::More
            }
            digit => {
                if self.typed.0.len() < DIGITS_MAX {
                    self.typed.0.push(digit.into());
                }
                Typed::More
            }
        }
    }

    /// It was wrong. Whether they may try again.
    pub(super) fn again(&mut self) -> bool {
        self.tries += 1;
        self.tries < TRIES_MAX
    }
}
