//! Ways out of the line that lead neither to an agent nor to another queue: a call-back, an announcement, a target outside.
//!
//! Owns what a citizen is told on the way. A promise is a fact before the citizen is let go; who cannot be called back, or
//! whose target does not come, waits on at the old place.

use super::{APOLOGY_MAX, Aside, Call, NORMAL, State};
use crate::acd::event::{Event as Acd, Patience, Released};
use crate::base::fact::{AttemptOutcome, CallbackRecord, CallbackSource, Fact, Party, TransferMode};
use crate::base::number::Number;
use crate::base::{CallbackId, LegId, Now, PromptId, QueueId};
use crate::call::event::{CallbackVoice, Command, Elsewhere};
use crate::call::leg::{Dialog, Leg};
use crate::call::transfer::Spare;
use crate::callback::event::Event as Callback;
use serde::{Deserialize, Serialize};

/// The reason of a transfer that a queue makes by itself.
const QUEUE_REASON: &str = "overflow";

/// What a citizen hears before we hang up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::call) enum Parting {
    /// The queue's apology.
    #[default]
    Apology,
    /// That they will be called back.
    Promise,
    /// The announcement of this way out of the queue.
    Announcement(u8),
}

impl Call {
    /// How the call's queue calls back.
    fn callbacks(&self) -> Option<&CallbackVoice> {
        self.site().queues[self.queue?.0.index()].callback.as_ref()
    }

    /// A digit of the citizen's, who waits: the key for a call-back.
    pub(in crate::call) fn line_key(&mut self, now: Now, digit: u8, out: &mut Vec<Command>) {
        let asks = self.callbacks().is_some_and(|callback| callback.key == Some(digit));
        if asks && self.is_in_line() && self.promise(now, CallbackSource::Key, out) {
            self.step_out(now, out);
            self.part_with(now, Parting::Promise, out);
        }
    }

    fn is_in_line(&self) -> bool {
        match &self.state {
            State::Waiting | State::Ringing { .. } | State::Aside(Aside::Claimed) => true,
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Talking { .. }
            | State::Handed
            | State::Aside(Aside::Parked { .. })
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => false,
        }
    }

    /// The citizen has hung up in the line: one who has waited for long is called back, where the queue does so.
    pub(in crate::call) fn missed(&mut self, now: Now, out: &mut Vec<Command>) {
        let after = self.callbacks().and_then(|callback| callback.missed_after);
        if self.is_in_line() && after.is_some_and(|after| now.mono.since(self.queued_since) >= after) {
            self.promise(now, CallbackSource::Missed, out);
        }
    }

    /// Somebody has come to a queue by themselves: nobody needs to call them back.
    pub(in crate::call) fn came(&self, out: &mut Vec<Command>) {
        let number = self.book.record.caller.clone();
        if !number.is_empty() && self.site().queues.iter().any(|queue| queue.callback.is_some()) {
            out.push(Command::Callback(Box::new(Callback::Came { site: self.site, number })));
        }
    }

    /// Writes down that the citizen is to be called back, at the place they have; not where the number is unknown, or may
    /// not be dialled.
    fn promise(&mut self, now: Now, source: CallbackSource, out: &mut Vec<Command>) -> bool {
        let (Some((queue, priority)), Some(_)) = (self.queue, self.callbacks()) else { return false };
        let site = self.site();
        let Ok(number) = Number::parse(&self.book.record.caller, &site.area_code) else { return false };
        if self.settings.dialling.rule_by_hand(self.site, &number).is_none() {
            return false;
        }
        let (contact, asked) = (self.book.contact(), self.book.time(now));
        let record = Box::new(CallbackRecord {
            callback: CallbackId(contact.0),
            revision: 1,
            number: number.as_str().into(),
            queue: site.queues[queue.index()].name.clone(),
            priority,
            source,
            contact: Some(contact),
            order: Some(self.order),
            since: self.book.time(Now { mono: self.queued_since, ..now }),
            asked,
            not_before: asked,
            attempts: Vec::new(),
            closed: None,
            result: None,
        });
        out.push(Command::Fact { site: self.site, fact: Fact::Callback(record.clone()) });
        out.push(Command::Callback(Box::new(Callback::Asked { site: self.site, record })));
        true
    }

    /// Out of the line: phones that ring for the citizen stop.
    fn step_out(&mut self, now: Now, out: &mut Vec<Command>) {
        if let State::Ringing { rung } = &mut self.state {
            for rung in std::mem::take(rung) {
                self.book.attempted(now, rung.attempt, AttemptOutcome::CallerGone);
                self.drop_agent(rung.leg, NORMAL, out);
            }
        }
        self.acd(Acd::Cancel { call: self.id }, out);
    }

    /// The last that the citizen hears.
    fn part_with(&mut self, now: Now, parting: Parting, out: &mut Vec<Command>) {
        self.parting = parting;
        self.enter(now, State::Apologising, APOLOGY_MAX, out);
        self.apologise(out);
    }

    pub(in crate::call) fn apologise(&mut self, out: &mut Vec<Command>) {
        let Some((queue, _)) = self.queue else { return };
        let prompt = self.last_words(queue);
        self.play(vec![prompt], false, out);
    }

    fn last_words(&self, queue: QueueId) -> PromptId {
        let queue = &self.site().queues[queue.index()];
        let said = match self.parting {
            Parting::Apology => None,
            Parting::Promise => queue.callback.as_ref().map(|callback| callback.promise),
            Parting::Announcement(way) => match queue.elsewhere.get(usize::from(way)) {
                Some(Elsewhere::Announcement(prompt)) => Some(*prompt),
                Some(Elsewhere::Callback | Elsewhere::Target(_)) | None => None,
            },
        };
        said.unwrap_or(queue.apology)
    }

    /// The ACD let the caller go without an agent. `holder` and `spare` are for a transfer, should one begin.
    pub(in crate::call) fn released(
        &mut self,
        now: Now,
        why: Released,
        (holder, spare): (LegId, Spare),
        out: &mut Vec<Command>,
    ) {
        if !matches!(self.state, State::Waiting) {
            return;
        }
        let Some((_, priority)) = self.queue else { return };
        let Released::Diverted { queue, way } = why else { return self.part_with(now, Parting::Apology, out) };
        let Some(voice) = self.site().queues.get(queue.index()) else {
            return self.part_with(now, Parting::Apology, out);
        };
        match voice.elsewhere.get(usize::from(way)).cloned() {
            Some(Elsewhere::Announcement(_)) => {
                self.queue = Some((queue, priority));
                self.part_with(now, Parting::Announcement(way), out);
            }
            Some(Elsewhere::Callback) => {
                self.queue = Some((queue, priority));
                match self.promise(now, CallbackSource::Overflow, out) {
                    true => self.part_with(now, Parting::Promise, out),
                    false => self.stay(now, out),
                }
            }
            Some(Elsewhere::Target(name)) => {
                // It holds the trunk's channel, as an agent's leg does otherwise, and is nobody's.
                self.agents.push(Leg::new(holder, Dialog::Gone, Party::Agent { name: "".into() }));
                let wish = (&*name, TransferMode::Blind, QUEUE_REASON);
                match self.begin_transfer(now, wish, (holder, ""), spare, out) {
                    Ok(()) => {
                        self.patience = Patience::Stays;
                        self.enter(now, State::Handed, std::time::Duration::MAX, out);
                        self.sound(out);
                    }
                    Err(_shut) => self.stay(now, out),
                }
            }
            None => self.part_with(now, Parting::Apology, out),
        }
    }

    /// The way out leads nowhere: the citizen waits on, as long as it takes.
    fn stay(&mut self, now: Now, out: &mut Vec<Command>) {
        self.patience = Patience::Stays;
        self.wait(now, out);
    }
}
