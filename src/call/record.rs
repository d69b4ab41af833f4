//! What a call will be remembered by: its record, its order, and the view that supervisors have of it.
//!
//! Owns the book-keeping and the telling of facts; never changes what the call does.

use super::event::{CallView, Command};
use super::supervise::{HoldView, ParkView, SupervisionView};
use super::transfer::TransferView;
use crate::base::fact::{Attempt, AttemptOutcome, CallRecord, Direction, End, Fact, Signalled, Stage, Times};
use crate::base::{AgentId, CallId, ContactId, Now, OrderId, QueueId, RecordingId, SiteId, Wall};
use crate::workorder::{Draft, Opening};
use serde::{Deserialize, Serialize};

/// More than a call can have told between the last snapshot and a crash.
const LOST_REVISIONS_MAX: u32 = 1 << 10;

/// Tells what time to note for what happens in a call: the wall clock's as it was when the call came, and from then on
/// that of the clock that never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Now);

impl Clock {
    #[cfg(test)]
    pub(super) fn of(came: Now) -> Clock {
        Clock(came)
    }

    pub(super) fn at(self, now: Now) -> Wall {
        self.0.wall + now.mono.since(self.0.mono)
    }
}

/// The book of one call. Its times are those of the wall clock as it was when the call came, and from then on of the clock
/// that never jumps: whoever sets the wall clock in mid-call changes no length of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    pub(super) record: CallRecord,
    came: Now,
    site: SiteId,
    category: Box<str>,
    draft: Option<Draft>,
    /// As last shown, and since when the call stands where it does.
    shown: Option<(Shown, Wall)>,
}

/// How a call looks to those who watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shown {
    /// `None` once it is over.
    pub(super) stage: Option<Stage>,
    pub(super) queue: Option<QueueId>,
    /// Who talks, or those who are rung, the first first.
    pub(super) agents: Vec<AgentId>,
    pub(super) transfer: Option<TransferView>,
    pub(super) hold: Option<HoldView>,
    pub(super) parked: Option<ParkView>,
    pub(super) supervision: Option<SupervisionView>,
}

impl Shown {
    /// Where the call stands; what changes beside it leaves that as it is.
    fn place(&self) -> (Option<Stage>, Option<QueueId>, &[AgentId]) {
        (self.stage, self.queue, &self.agents)
    }
}

/// What is known when a call arrives.
pub(super) struct Arrival {
    pub(super) contact: ContactId,
    pub(super) site: SiteId,
    pub(super) caller: Box<str>,
    pub(super) dialled: Box<str>,
    pub(super) trunk: Box<str>,
    pub(super) sip_call_id: Box<str>,
    pub(super) category: Box<str>,
    pub(super) offered: Now,
    pub(super) signalled: Signalled,
}

impl Book {
    pub(super) fn open(arrival: Arrival) -> Book {
        Book {
            record: CallRecord {
                contact: arrival.contact,
                revision: 0,
                direction: Direction::Inbound,
                caller: arrival.caller,
                dialled: arrival.dialled,
                trunk: arrival.trunk,
                sip_call_id: arrival.sip_call_id,
                queue: None,
                agent: None,
                times: Times { offered: arrival.offered.wall, ..Times::default() },
                attempts: Vec::new(),
                routes: Vec::new(),
                transfers: Vec::new(),
                interventions: Vec::new(),
                satisfaction: None,
                collected: Vec::new(),
                end: None,
                recording: None,
                order: None,
                signalled: arrival.signalled,
            },
            came: arrival.offered,
            site: arrival.site,
            category: arrival.category,
            draft: None,
            shown: None,
        }
    }

    /// The time to be noted for what happens now.
    pub(super) fn time(&self, now: Now) -> Wall {
        self.clock().at(now)
    }

    pub(super) fn clock(&self) -> Clock {
        Clock(self.came)
    }

    pub(super) fn contact(&self) -> ContactId {
        self.record.contact
    }

    /// The citizen is connected and recorded: from now on a crash must not make us forget the call.
    pub(super) fn connected(&mut self, now: Now, recording: RecordingId, out: &mut Vec<Command>) {
        self.record.times.connected = Some(self.time(now));
        self.record.recording = Some(recording);
        self.tell(out);
    }

    /// The caller entered a queue: the order is opened, once.
    pub(super) fn queued(&mut self, now: Now, queue: &str, order: OrderId, out: &mut Vec<Command>) {
        let at = self.time(now);
        self.record.queue = Some(queue.into());
        self.record.times.queued.get_or_insert(at);
        if self.draft.is_none() {
            let draft = Draft::open(
                order,
                at,
                Opening {
                    contact: self.record.contact,
                    recording: self.record.recording,
                    caller: &self.record.caller,
                    dialled: &self.record.dialled,
                    category: &self.category,
                    called: self.record.times.offered,
                    signalled: &self.record.signalled,
                },
            );
            self.record.order = Some(draft.id());
            self.draft = Some(draft);
        }
        self.tell(out);
    }

    /// An agent was booked and is about to be rung. Returns the number of the attempt.
    pub(super) fn assigned(&mut self, now: Now, agent: &str) -> u32 {
        let attempt =
            Attempt { agent: agent.into(), assigned: self.time(now), ringing: None, ended: None, outcome: None };
        self.record.attempts.push(attempt);
        self.record.attempts.len() as u32 - 1
    }

    /// That agent's phone rings.
    pub(super) fn ringing(&mut self, now: Now, attempt: u32) {
        let at = self.time(now);
        if let Some(attempt) = self.record.attempts.get_mut(attempt as usize) {
            attempt.ringing.get_or_insert(at);
        }
    }

    /// Whether the phone of that attempt has rung.
    pub(super) fn has_rung(&self, attempt: u32) -> bool {
        self.record.attempts.get(attempt as usize).is_some_and(|attempt| attempt.ringing.is_some())
    }

    /// How many phones have rung so far.
    pub(super) fn ringing_count(&self) -> usize {
        self.record.attempts.iter().filter(|attempt| attempt.ringing.is_some()).count()
    }

    /// That attempt is over.
    pub(super) fn attempted(&mut self, now: Now, attempt: u32, outcome: AttemptOutcome) {
        let at = self.time(now);
        if let Some(attempt) =
            self.record.attempts.get_mut(attempt as usize).filter(|attempt| attempt.outcome.is_none())
        {
            attempt.ended = Some(at);
            attempt.outcome = Some(outcome);
        }
    }

    /// The agent of that attempt answered.
    pub(super) fn answered(&mut self, now: Now, attempt: u32, out: &mut Vec<Command>) {
        let at = self.time(now);
        self.attempted(now, attempt, AttemptOutcome::Answered);
        let Some(attempt) = self.record.attempts.get(attempt as usize) else {
            return;
        };
        let (agent, assigned, ringing) = (attempt.agent.clone(), attempt.assigned, attempt.ringing);
        if self.record.times.answered.is_none() {
            self.record.times.assigned = Some(assigned);
            self.record.times.ringing = ringing;
            self.record.times.answered = Some(at);
        }
        if let Some(draft) = &mut self.draft {
            draft.answered(at, &agent);
        }
        self.record.agent = Some(agent);
        self.tell(out);
    }

    /// The call is over: everything is told for the last time.
    pub(super) fn ended(&mut self, now: Now, end: End, out: &mut Vec<Command>) {
        let at = self.time(now);
        for attempt in 0..self.record.attempts.len() as u32 {
            self.attempted(now, attempt, AttemptOutcome::CallerGone);
        }
        self.record.times.ended = Some(at);
        self.record.end = Some(end);
        if let Some(draft) = &mut self.draft {
            draft.ended(at);
        }
        self.tell(out);
    }

    /// Everything as it stands, to the journal.
    pub(super) fn tell(&mut self, out: &mut Vec<Command>) {
        self.record.revision += 1;
        out.push(Command::Fact { site: self.site, fact: Fact::Call(Box::new(self.record.clone())) });
        if let Some(draft) = &self.draft {
            out.push(Command::Fact { site: self.site, fact: draft.fact(self.record.revision) });
        }
    }

    /// The call goes on from a snapshot, after which more may have been told: what is told from now on counts as newer.
    /// After a crash of the process (`again`) what was told last may not have reached the journal.
    pub(super) fn resume(&mut self, again: bool, out: &mut Vec<Command>) {
        let told = self.record.revision > 0;
        self.record.revision = self.record.revision.saturating_add(LOST_REVISIONS_MAX);
        // Whoever watches may have missed how it looks.
        self.shown = None;
        if told && again {
            self.tell(out);
        }
    }

    /// No emergency line could be reached: the order says that it is one.
    pub(super) fn urgent(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.urgent();
        }
    }

    /// The order says that it is an exercise.
    pub(super) fn drill(&mut self) {
        self.draft.iter_mut().for_each(Draft::drill);
    }

    /// Shows the call if it looks different than it last did.
    pub(super) fn show(&mut self, now: Now, call: CallId, shown: Shown, out: &mut Vec<Command>) {
        let since = match &self.shown {
            Some((last, _)) if *last == shown => return,
            Some((last, since)) if last.place() == shown.place() => *since,
            Some(_) | None => self.time(now),
        };
        self.shown = Some((shown.clone(), since));
        let Shown { stage, queue, agents, transfer, hold, parked, supervision } = shown;
        out.push(Command::Show(CallView {
            call,
            contact: self.record.contact,
            site: self.site,
            direction: self.record.direction,
            caller: self.record.caller.clone(),
            dialled: self.record.dialled.clone(),
            stage,
            since,
            offered: self.record.times.offered,
            queue,
            agents,
            transfer,
            hold,
            parked,
            supervision,
        }));
    }
}
