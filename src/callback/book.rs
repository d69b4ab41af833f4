//! The book of all call-backs that are open.
//!
//! ```text
//! Resting → Waiting → Rung → Called → closed, or Resting again
//!    ↑_________|________|
//! ```
//!
//! One attempt at a time, one call-back a number and site. A call-back that waits is a caller in the queue's line, at the
//! place that its `since` gives; while nobody may be called, or between two attempts, it rests and keeps that place.

use super::event::{Attempt, CALLBACKS, Command, Event, Rules, Settings, Step};
use crate::acd::event::{Command as FromAcd, Declined, Enqueue, Event as Acd, Lease, Patience, Released};
use crate::acd::{Held, Live};
use crate::base::fact::{AttemptResult, CallbackAttempt, CallbackRecord, CallbackResult, Fact};
use crate::base::table::Table;
use crate::base::{CallId, CallbackId, ContactId, Mint, Mono, Now, QueueId, SiteId, Wall};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Call-backs known at once; further ones stay in the store, to be taken up when there is room.
pub(super) const OPEN_MAX: usize = 100_000;
/// Of a site in its queues' lines at once; the others follow by their places.
pub(super) const IN_LINE_MAX: usize = 200;
/// Attempts that came to nothing through us or the agent, beyond those that the rules allow.
const SPOILT_MAX: usize = 5;
/// A call-back that waits is named to the queue anew so often, so that no lost message strands it.
const REQUEUE_EVERY: Duration = Duration::from_secs(30);
/// A shard says that an agent did not come before this is over; the queue's own limit is earlier.
const WORD_WAIT_MAX: Duration = Duration::from_secs(5);
/// After this an attempt of which nothing was heard is taken for lost.
const TALK_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Ids remembered of those that are over: the store may call one of them open for a moment more.
const CLOSED_KEPT: usize = 10_000;
/// Before the next attempt after one that failed through us.
const FAULT_REST: Duration = Duration::from_secs(60);
/// When hours never come, it is looked again after this: they may be configured anew.
const SHUT_REST: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug)]
enum State {
    /// Until `not_before`, or until there is room in the line.
    Resting,
    /// In the queue's line.
    Waiting,
    /// This agent's phone is rung.
    Rung { lease: Lease, contact: ContactId },
    /// The agent is there, and the number dialled or reached.
    Called { lease: Lease, contact: ContactId },
}

#[derive(Clone, Debug)]
struct Open {
    site: SiteId,
    record: CallbackRecord,
    queue: QueueId,
    rules: Rules,
    state: State,
    /// When it is looked at next.
    look: Mono,
}

/// What stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = CallbackCounts)]
pub struct Counts {
    /// Call-backs that are open.
    pub open: usize,
    /// Those that stand in a line, or for whom somebody is rung or talks.
    pub in_line: usize,
    /// Not taken up since the start, because there were too many.
    pub left_out: u64,
}

/// All call-backs of a node.
#[derive(Debug)]
pub struct Callbacks {
    settings: Arc<Settings>,
    mint: Mint,
    table: Table<Open>,
    by_id: BTreeMap<CallbackId, CallId>,
    by_number: BTreeMap<(SiteId, Box<str>), CallId>,
    looks: BTreeSet<(Mono, CallId)>,
    /// Due, but without room in the line: by site and place.
    crowded: BTreeSet<(SiteId, Wall, CallId)>,
    /// By site.
    in_line: BTreeMap<SiteId, usize>,
    /// Those that are over, the latest of them.
    closed: BTreeSet<CallbackId>,
    left_out: u64,
}

impl Callbacks {
    /// None yet. `mint` gives attempts their contacts.
    pub fn new(settings: Arc<Settings>, mint: Mint) -> Callbacks {
        Callbacks {
            settings,
            mint,
            table: Table::new(CALLBACKS),
            by_id: BTreeMap::new(),
            by_number: BTreeMap::new(),
            looks: BTreeSet::new(),
            crowded: BTreeSet::new(),
            in_line: BTreeMap::new(),
            closed: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Asked { site, record } => self.asked(now, site, *record, out),
            Event::Came { site, number } => {
                if let Some(id) = self.by_number.get(&(site, number)).copied() {
                    self.take_back(now, id, CallbackResult::CalledAgain, out);
                }
            }
            Event::Withdraw { callback } => {
                if let Some(id) = self.by_id.get(&callback).copied() {
                    self.take_back(now, id, CallbackResult::Withdrawn, out);
                }
            }
            Event::Acd(said) => self.acd(now, said, out),
            Event::Attempt { callback, contact, step } => self.attempt(now, (callback, contact), step, out),
            Event::Resync { site } => self.tell_owner(now, site, out),
            Event::Configure(settings) => self.configure(now, settings, out),
        }
    }

    /// When [`Callbacks::expire`] wants to be called.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        while let Some(&(at, id)) = self.looks.first()
            && at <= now.mono
        {
            self.looks.pop_first();
            let Some(open) = self.table.at(id) else { continue };
            match open.state.clone() {
                State::Resting => self.line_up(now, id, out),
                State::Waiting => self.wait_on(now, id, out),
                State::Rung { lease, contact } => {
                    out.push(Command::GiveUp { contact });
                    self.declined(now, id, (lease, Declined::Unreachable), out);
                }
                State::Called { lease, contact } => {
                    out.push(Command::GiveUp { contact });
                    self.over(now, id, (lease, AttemptResult::Fault), out);
                }
            }
        }
    }

    /// What stands.
    pub fn counts(&self) -> Counts {
        Counts { open: self.table.len(), in_line: self.in_line.values().sum(), left_out: self.left_out }
    }

    /// What must hold after every event.
    pub fn check(&self) {
        let mut in_line: BTreeMap<SiteId, usize> = BTreeMap::new();
        for (id, open) in self.table.iter() {
            assert_eq!(self.by_id.get(&open.record.callback), Some(&id), "found by its id");
            assert_eq!(self.by_number.get(&(open.site, open.record.number.clone())), Some(&id), "one a number");
            assert!(open.record.result.is_none(), "what is closed is forgotten");
            let crowded = self.crowded.contains(&(open.site, open.record.since, id));
            let looked_at = self.looks.contains(&(open.look, id));
            match open.state {
                State::Resting => assert!(crowded != looked_at, "it rests until a moment, or until there is room"),
                State::Waiting | State::Rung { .. } | State::Called { .. } => {
                    assert!(looked_at && !crowded, "each state has its deadline");
                    *in_line.entry(open.site).or_default() += 1;
                }
            }
        }
        assert_eq!((self.by_id.len(), self.by_number.len()), (self.table.len(), self.table.len()));
        assert_eq!(self.looks.len() + self.crowded.len(), self.table.len());
        for (site, count) in &self.in_line {
            assert_eq!(in_line.get(site).copied().unwrap_or(0), *count, "those in line are counted");
            assert!(*count <= IN_LINE_MAX);
            let crowded = self.crowded.iter().any(|(of, ..)| of == site);
            assert!(!crowded || *count == IN_LINE_MAX, "nobody stays out of a line with room");
        }
    }
}

/// In and out of the book.
impl Callbacks {
    fn asked(&mut self, now: Now, site: SiteId, mut record: CallbackRecord, out: &mut Vec<Command>) {
        let known = self.by_id.contains_key(&record.callback) || self.closed.contains(&record.callback);
        if record.result.is_some() || known {
            return;
        }
        if self.by_number.contains_key(&(site, record.number.clone())) {
            return self.close(now, site, record, CallbackResult::Duplicate, out);
        }
        let Some((queue, rules)) = self.settings.queue(site, &record.queue) else {
            return self.close(now, site, record, CallbackResult::QueueGone, out);
        };
        if self.table.len() >= OPEN_MAX {
            self.left_out += 1;
            return;
        }
        // One that a crash has cut off: nobody knows how far it had come.
        record.attempts.iter_mut().for_each(|attempt| _ = attempt.result.get_or_insert(AttemptResult::Fault));
        let (callback, number, rules) = (record.callback, record.number.clone(), rules.clone());
        let open = Open { site, record, queue, rules, state: State::Resting, look: now.mono };
        let id = self.table.insert(|_| open);
        self.by_id.insert(callback, id);
        self.by_number.insert((site, number), id);
        self.line_up(now, id, out);
    }

    /// Ends one for which nobody was reached for yet; once the number was dialled, the attempt decides.
    fn take_back(&mut self, now: Now, id: CallId, result: CallbackResult, out: &mut Vec<Command>) {
        let Some(open) = self.table.at(id) else { return };
        let site = open.site;
        match open.state {
            State::Resting => {}
            State::Waiting => out.push(Command::Acd { site, event: Acd::Cancel { call: id } }),
            State::Rung { lease, contact } => {
                out.push(Command::GiveUp { contact });
                out.push(Command::Acd { site, event: Acd::Ended { lease } });
            }
            State::Called { .. } => return,
        }
        self.forget(now, id, result, out);
    }

    fn forget(&mut self, now: Now, id: CallId, result: CallbackResult, out: &mut Vec<Command>) {
        self.enter(id, State::Resting, now.mono);
        let Some(open) = self.table.remove(id) else { return };
        self.looks.remove(&(open.look, id));
        self.by_id.remove(&open.record.callback);
        self.by_number.remove(&(open.site, open.record.number.clone()));
        let site = open.site;
        self.close(now, site, open.record, result, out);
        self.fill(now, site, out);
    }

    /// Tells the end of one. Nothing told of it later opens it again.
    fn close(
        &mut self,
        now: Now,
        site: SiteId,
        mut record: CallbackRecord,
        result: CallbackResult,
        out: &mut Vec<Command>,
    ) {
        (record.closed, record.result) = (Some(now.wall), Some(result));
        tell(site, &mut record, out);
        self.closed.insert(record.callback);
        // Ids sort by birth: the oldest goes.
        if self.closed.len() > CLOSED_KEPT {
            self.closed.pop_first();
        }
    }

    /// Into a state that is looked at again at `look`; counts those in line.
    fn enter(&mut self, id: CallId, state: State, look: Mono) {
        let Some(open) = self.table.at_mut(id) else { return };
        self.looks.remove(&(open.look, id));
        self.crowded.remove(&(open.site, open.record.since, id));
        let was = !matches!(open.state, State::Resting);
        let is = !matches!(state, State::Resting);
        (open.state, open.look) = (state, look);
        self.looks.insert((look, id));
        let count = self.in_line.entry(open.site).or_default();
        *count = *count + usize::from(is) - usize::from(was);
    }

    /// Whoever is due, while there is room in the site's lines.
    fn fill(&mut self, now: Now, site: SiteId, out: &mut Vec<Command>) {
        while self.in_line.get(&site).is_none_or(|count| *count < IN_LINE_MAX) {
            let from = (site, Wall(i64::MIN), CallId { shard: CALLBACKS, slot: 0, generation: 0 });
            let next = self.crowded.range(from..).next().copied();
            let Some((_, _, id)) = next.filter(|(of, ..)| *of == site) else { return };
            self.enter(id, State::Resting, now.mono);
            self.line_up(now, id, out);
        }
    }

    fn configure(&mut self, now: Now, settings: Arc<Settings>, out: &mut Vec<Command>) {
        self.settings = settings;
        let all: Vec<CallId> = self.table.iter().map(|(id, _)| id).collect();
        for id in all {
            let Some(open) = self.table.at_mut(id) else { continue };
            // A promise outlives the rule by which it was given, and a queue's name.
            let queues = self.settings.sites.get(open.site.index()).map(Vec::as_slice).unwrap_or_default();
            let place = queues.iter().position(|queue| queue.name == open.record.queue);
            open.queue = QueueId(place.unwrap_or(0) as u16);
            if let Some((_, rules)) = self.settings.queue(open.site, &open.record.queue) {
                open.rules = rules.clone();
            }
            if queues.is_empty() {
                self.take_back(now, id, CallbackResult::QueueGone, out);
            } else if matches!(open.state, State::Waiting) {
                self.wait_on(now, id, out);
            }
        }
    }
}

/// The line.
impl Callbacks {
    /// One that rests and is due: into the line, if it is the hour for that and there is room.
    fn line_up(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        let Some(open) = self.table.at_mut(id) else { return };
        let (site, since) = (open.site, open.record.since);
        let due = open.record.not_before.max(now.wall);
        match open.rules.hours.opens(due) {
            Some(at) if at <= now.wall => {}
            at => {
                let rest = at.map_or(SHUT_REST, |at| Duration::from_millis(at.0.abs_diff(now.wall.0)));
                return self.enter(id, State::Resting, now.mono + rest);
            }
        }
        if self.in_line.get(&site).is_some_and(|count| *count >= IN_LINE_MAX) {
            self.looks.remove(&(open.look, id));
            self.crowded.insert((site, since, id));
            return;
        }
        self.wait(now, id, out);
    }

    fn wait(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        self.enter(id, State::Waiting, now.mono + REQUEUE_EVERY);
        if let Some(open) = self.table.at(id) {
            out.push(Command::Acd { site: open.site, event: Acd::Enqueue(open.caller(now, id)) });
        }
    }

    /// One in the line names itself again, or leaves it for the night.
    fn wait_on(&mut self, now: Now, id: CallId, out: &mut Vec<Command>) {
        let Some(open) = self.table.at(id) else { return };
        if open.rules.hours.open(now.wall).is_ok() {
            return self.wait(now, id, out);
        }
        let site = open.site;
        out.push(Command::Acd { site, event: Acd::Cancel { call: id } });
        self.rest(now, id, Duration::ZERO, out);
    }

    fn rest(&mut self, now: Now, id: CallId, rest: Duration, out: &mut Vec<Command>) {
        let Some(open) = self.table.at_mut(id) else { return };
        open.record.not_before = now.wall + rest;
        let site = open.site;
        self.enter(id, State::Resting, now.mono + rest);
        if rest.is_zero() {
            self.line_up(now, id, out);
        }
        self.fill(now, site, out);
    }

    fn acd(&mut self, now: Now, said: FromAcd, out: &mut Vec<Command>) {
        match said {
            FromAcd::Offer { call, lease, ring_until } => self.offered(now, call, (lease, ring_until), out),
            FromAcd::Revoke { call, lease } => self.revoked(now, call, lease, out),
            FromAcd::Released { call, why } => {
                let waits = self.table.at(call).is_some_and(|open| matches!(open.state, State::Waiting));
                match why {
                    Released::QueueGone if waits => self.forget(now, call, CallbackResult::QueueGone, out),
                    // None of these is for one who is not on the line: asked again a little later.
                    Released::WaitedTooLong | Released::NoAgents | Released::Full | Released::Diverted { .. }
                        if waits =>
                    {
                        self.rest(now, call, FAULT_REST, out);
                    }
                    Released::WaitedTooLong
                    | Released::NoAgents
                    | Released::Full
                    | Released::QueueGone
                    | Released::Diverted { .. } => {}
                }
            }
            // Nobody here asks for either.
            FromAcd::Stands { .. } | FromAcd::Agent(_) => {}
        }
    }

    fn offered(&mut self, now: Now, id: CallId, (lease, ring_until): (Lease, Mono), out: &mut Vec<Command>) {
        let Some(open) = self.table.at(id) else { return };
        let site = open.site;
        match open.state {
            State::Waiting => {
                let contact = ContactId(self.mint.mint(now.wall));
                let attempt = Attempt {
                    callback: open.record.callback,
                    contact,
                    site,
                    agent: lease.agent,
                    ring_until,
                    queue: open.record.queue.clone(),
                    number: open.record.number.clone(),
                    order: open.record.order,
                };
                self.enter(id, State::Rung { lease, contact }, ring_until + WORD_WAIT_MAX);
                out.push(Command::Try(Box::new(attempt)));
            }
            // Crossed with our Cancel: the queue frees the agent when it hears of that.
            State::Resting => {}
            State::Rung { .. } | State::Called { .. } => {
                out.push(Command::Acd { site, event: Acd::Ended { lease } });
            }
        }
    }

    fn revoked(&mut self, now: Now, id: CallId, lease: Lease, out: &mut Vec<Command>) {
        let Some(open) = self.table.at(id) else { return };
        match open.state {
            State::Rung { lease: ours, contact } if ours == lease => {
                out.push(Command::GiveUp { contact });
                self.enter(id, State::Waiting, now.mono + REQUEUE_EVERY);
            }
            // The answer was faster: agent and citizen are left to each other, and the queue must know.
            State::Called { lease: ours, .. } if ours == lease => {
                let caller = open.caller(now, id);
                out.push(Command::Acd { site: open.site, event: Acd::Overtaken { lease, caller } });
            }
            State::Resting | State::Waiting | State::Rung { .. } | State::Called { .. } => {}
        }
    }

    /// All that the queues of a site must know of.
    fn tell_owner(&self, now: Now, site: SiteId, out: &mut Vec<Command>) {
        let of_site = self.table.iter().filter(|(_, open)| open.site == site);
        let live = of_site.filter_map(|(id, open)| {
            let held = match open.state {
                State::Resting => return None,
                State::Waiting => Vec::new(),
                State::Rung { lease, .. } => vec![Held { lease, answered: false }],
                State::Called { lease, .. } => vec![Held { lease, answered: true }],
            };
            Some(Live { caller: open.caller(now, id), held })
        });
        let event = Acd::Adopt { shard: CALLBACKS, live: live.collect(), own: Vec::new() };
        out.push(Command::Acd { site, event });
    }
}

/// The attempts.
impl Callbacks {
    fn attempt(&mut self, now: Now, of: (CallbackId, ContactId), step: Step, out: &mut Vec<Command>) {
        let Some(id) = self.by_id.get(&of.0).copied() else { return };
        let Some(open) = self.table.at_mut(id) else { return };
        let site = open.site;
        match (open.state.clone(), step) {
            (State::Rung { lease, contact }, step) if contact == of.1 => match step {
                Step::Rings => out.push(Command::Acd { site, event: Acd::Ringing { lease } }),
                Step::AgentThere { agent } => {
                    open.record.attempts.push(CallbackAttempt { contact, agent, at: now.wall, result: None });
                    out.push(Command::Acd { site, event: Acd::Answered { lease } });
                    tell(site, &mut open.record, out);
                    self.enter(id, State::Called { lease, contact }, now.mono + TALK_MAX);
                }
                Step::AgentAway(why) => self.declined(now, id, (lease, why), out),
                Step::NotListed => self.take_back(now, id, CallbackResult::NotListed, out),
                Step::Over(_) => {
                    out.push(Command::Acd { site, event: Acd::Ended { lease } });
                    self.rest(now, id, FAULT_REST, out);
                }
            },
            (State::Called { lease, contact }, Step::Over(result)) if contact == of.1 => {
                self.over(now, id, (lease, result), out);
            }
            // Of an attempt that was given up.
            (State::Resting | State::Waiting | State::Rung { .. } | State::Called { .. }, _) => {}
        }
    }

    /// The agent did not come: the queue keeps the place and finds another.
    fn declined(&mut self, now: Now, id: CallId, (lease, why): (Lease, Declined), out: &mut Vec<Command>) {
        let Some(open) = self.table.at(id) else { return };
        out.push(Command::Acd { site: open.site, event: Acd::Declined { lease, why } });
        self.enter(id, State::Waiting, now.mono + REQUEUE_EVERY);
    }

    fn over(&mut self, now: Now, id: CallId, (lease, result): (Lease, AttemptResult), out: &mut Vec<Command>) {
        let Some(open) = self.table.at_mut(id) else { return };
        let site = open.site;
        out.push(Command::Acd { site, event: Acd::Ended { lease } });
        if let Some(attempt) = open.record.attempts.last_mut() {
            attempt.result = Some(result);
        }
        let tried = open.record.attempts.iter().filter(|attempt| attempt.counts()).count();
        let (most, all) = (usize::from(open.rules.attempts_max), open.record.attempts.len());
        let rest = match result {
            AttemptResult::Reached => return self.forget(now, id, CallbackResult::Reached, out),
            AttemptResult::NoAnswer | AttemptResult::Busy | AttemptResult::Unreachable => open.rules.retry_after,
            AttemptResult::AgentGone | AttemptResult::Fault => FAULT_REST,
        };
        if tried >= most || all >= most + SPOILT_MAX {
            return self.forget(now, id, CallbackResult::Unreached, out);
        }
        open.record.not_before = now.wall + rest;
        tell(site, &mut open.record, out);
        self.rest(now, id, rest, out);
    }
}

impl Open {
    /// As the queue knows it: as if the citizen had been on the line all the time.
    fn caller(&self, now: Now, id: CallId) -> Enqueue {
        let waited = Duration::from_millis(u64::try_from(now.wall.0 - self.record.since.0).unwrap_or(0));
        Enqueue {
            call: id,
            contact: self.record.contact.unwrap_or(ContactId(self.record.callback.0)),
            queue: self.queue,
            priority: self.record.priority,
            since: Mono(now.mono.0.saturating_sub(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX))),
            preferred: None,
            patience: Patience::Absent,
        }
    }
}

impl CallbackAttempt {
    /// Whether it used up one of those allowed: the citizen could have answered.
    fn counts(&self) -> bool {
        match self.result {
            Some(
                AttemptResult::Reached | AttemptResult::NoAnswer | AttemptResult::Busy | AttemptResult::Unreachable,
            ) => true,
            Some(AttemptResult::AgentGone | AttemptResult::Fault) | None => false,
        }
    }
}

fn tell(site: SiteId, record: &mut CallbackRecord, out: &mut Vec<Command>) {
    record.revision += 1;
    out.push(Command::Fact { site, fact: Fact::Callback(Box::new(record.clone())) });
}
