//! While a citizen waits: from time to time they hear where they stand, how long it may take, and what else they may do.
//!
//! Owns when something is said. What is said of place and time the queue answers at that moment; too little known is not said.

use super::{Call, State};
use crate::acd::Expected;
use crate::acd::event::Event as Acd;
use crate::base::{Mono, Now, PromptId};
use crate::call::event::{Comfort, Command};

impl Call {
    fn comfort(&self) -> Option<&Comfort> {
        self.site().queues[self.queue?.0.index()].comfort.as_ref()
    }

    /// From now on the next comfort is a whole interval away.
    pub(super) fn comfort_later(&mut self, now: Now) {
        self.comfort_at = self.comfort().map_or(Mono(u64::MAX), |comfort| now.mono + comfort.every);
    }

    /// In the line again: nothing that came due meanwhile is said at once.
    pub(super) fn comfort_again(&mut self, now: Now) {
        if self.comfort_at <= now.mono {
            self.comfort_later(now);
        }
    }

    /// It is time to say something.
    pub(in crate::call) fn console(&mut self, now: Now, out: &mut Vec<Command>) {
        self.comfort_later(now);
        let Some(comfort) = self.comfort() else { return };
        match (comfort.place || comfort.wait) && self.settings.phrases.is_some() {
            true => self.acd(Acd::Where { call: self.id }, out),
            false => self.say(Vec::new(), out),
        }
    }

    /// The queue says where the citizen stands.
    pub(in crate::call) fn stands(&mut self, ahead: usize, expected: Option<Expected>, out: &mut Vec<Command>) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        let (Some(comfort), Some(phrases)) = (self.comfort(), &self.settings.phrases) else { return };
        let place = if comfort.place { phrases.place(ahead) } else { Vec::new() };
        let wait = expected.filter(|_| comfort.wait).map(|expected| phrases.wait(&expected)).unwrap_or_default();
        self.say([place, wait].concat(), out);
    }

    /// Says this and the next of the queue's prompts; the music follows.
    fn say(&mut self, mut said: Vec<PromptId>, out: &mut Vec<Command>) {
        let Some(comfort) = self.comfort() else { return };
        if !comfort.prompts.is_empty() {
            said.push(comfort.prompts[self.comforted % comfort.prompts.len()]);
        }
        self.comforted += 1;
        if !said.is_empty() {
            self.play(said, false, out);
        }
    }
}
