//! Supervision, release, park and pickup within their call: what becomes of citizen and agent.
//!
//! The rules: whoever steps in is rung first, and nothing changes for the citizen until they answer; the citizen's own leg
//! is never asked anything; whoever goes, or does not come, leaves the others as they were. A citizen who is taken out of
//! the line for somebody, or whom nobody fetches, is back in it at the old place.

use super::sound::Room;
use super::{Aside, Call, Fresh, INCOMPATIBLE, NORMAL, State, Talker};
use crate::acd::event::Event as Acd;
use crate::base::fact::{
    AttemptOutcome, Audit, Fact, Intervention, InterventionKind, InterventionResult as Outcome, Party as Whose,
};
use crate::base::{AgentId, LegId, Mono, Now};
use crate::call::event::{Command, Towards};
use crate::call::leg::{Dialog, Leg};
use crate::call::supervise::{
    Ask, Beside, HoldView, INTERVENTIONS_MAX, Mode, NotDone, ParkView, Phase, Purpose, RING_MARGIN, RING_MAX,
    SupervisionView,
};
use crate::call::transfer::Spare;
use crate::media::event::{Action as Media, HeardBy, Party, PartyName, RecordingStart, Track};
use std::time::Duration;

/// Between `*` and the digit.
const KEY_WAIT_MAX: Duration = Duration::from_secs(3);

/// What is asked for.
impl Call {
    /// `by` asks, or, of an agent's own, `agent`.
    pub(in crate::call) fn intervene(
        &mut self,
        now: Now,
        (by, own): (&str, Option<AgentId>),
        ask: Ask,
        fresh: Fresh,
        out: &mut Vec<Command>,
    ) -> Result<(), NotDone> {
        let full = self.book.record.interventions.len() >= INTERVENTIONS_MAX;
        match ask {
            Ask::Leave => return self.supervisor_leaves(now, out),
            Ask::Supervise { .. } | Ask::PickUp { .. } if full => return Err(NotDone::TooMany),
            Ask::Supervise { agent, mode } => self.supervise(now, agent, mode, fresh, out)?,
            Ask::Release => self.release(now, by, out)?,
            Ask::Park => self.park(now, own, fresh, out)?,
            Ask::PickUp { agent } => match (self.aside(), &self.beside) {
                (Some(Aside::Parked { .. }), None) => self.ring_beside(now, agent, Purpose::PickUp, fresh, out),
                (Some(Aside::Parked { .. } | Aside::Claimed), _) => return Err(NotDone::Taken),
                (None, _) => return Err(NotDone::NotParked),
            },
        }
        self.sound(out);
        self.show(now, out);
        Ok(())
    }

    fn supervise(
        &mut self,
        now: Now,
        agent: AgentId,
        mode: Mode,
        fresh: Fresh,
        out: &mut Vec<Command>,
    ) -> Result<(), NotDone> {
        if self.citizen.dialog == Dialog::Gone {
            return Err(NotDone::NotThere);
        }
        if self.talker().is_some_and(|(talker, _)| talker.agent() == agent) {
            return Err(NotDone::Talks);
        }
        if let Some(beside) = &self.beside {
            return match beside.agent == agent && matches!(beside.purpose, Purpose::Supervise(_)) {
                true => self.change_mode(now, mode, out),
                false => Err(NotDone::Taken),
            };
        }
        if self.leases().any(|(lease, _)| lease.agent == agent) {
            return Err(NotDone::Rings);
        }
        let talks = self.talker().is_some() || matches!(self.aside(), Some(Aside::Parked { .. }));
        let waits = matches!(self.state, State::Waiting | State::Ringing { .. });
        match mode {
            Mode::TakeOver if talks => {}
            Mode::TakeOver if waits => self.leave_line(now, out),
            Mode::TakeOver => return Err(NotDone::NotThere),
            Mode::Listen | Mode::Whisper | Mode::Barge if self.talker().is_some() => {}
            Mode::Listen | Mode::Whisper | Mode::Barge => return Err(NotDone::NotTalking),
        }
        self.ring_beside(now, agent, Purpose::Supervise(mode), fresh, out);
        Ok(())
    }

    /// Out of the line, for one whose phone is about to be rung; the citizen has music.
    fn leave_line(&mut self, now: Now, out: &mut Vec<Command>) {
        self.acd(Acd::Cancel { call: self.id }, out);
        let rung: Vec<LegId> = self.leases().map(|(_, leg)| leg).collect();
        for leg in rung {
            let attempt = self.attempt_of(leg);
            if let Some(attempt) = attempt {
                self.book.attempted(now, attempt, AttemptOutcome::AnsweredElsewhere);
            }
            if let Some(leg) = self.leg_mut(leg) {
                leg.taken_elsewhere(out);
            }
        }
        self.enter(now, State::Aside(Aside::Claimed), Duration::MAX, out);
        self.music(out);
    }

    fn change_mode(&mut self, now: Now, mode: Mode, out: &mut Vec<Command>) -> Result<(), NotDone> {
        let talks = self.talker().is_some();
        let at = self.book.time(now);
        let Some(beside) = &mut self.beside else { return Err(NotDone::Nobody) };
        let purpose = Purpose::Supervise(mode);
        if beside.purpose == purpose {
            return Ok(());
        }
        if !talks {
            return Err(NotDone::NotTalking);
        }
        beside.purpose = purpose;
        let entry = beside.entry;
        let Some(now_so) = self.book.record.interventions.get_mut(entry) else { return Err(NotDone::Nobody) };
        if !beside.is_with() {
            now_so.kind = purpose.kind();
            return Ok(());
        }
        let next = Intervention { kind: purpose.kind(), started: at, answered: Some(at), ..now_so.clone() };
        (now_so.ended, now_so.result) = (Some(at), Some(Outcome::Done));
        beside.entry = self.book.record.interventions.len();
        self.book.record.interventions.push(next);
        match mode {
            Mode::TakeOver => self.take(now, out),
            Mode::Listen | Mode::Whisper | Mode::Barge => self.book.tell(out),
        }
        Ok(())
    }

    fn supervisor_leaves(&mut self, now: Now, out: &mut Vec<Command>) -> Result<(), NotDone> {
        if self.beside.is_none() {
            return Err(NotDone::Nobody);
        }
        self.beside_fails(now, Outcome::Cancelled, out);
        Ok(())
    }

    /// The agent is taken out; the citizen is in the line at the old place.
    fn release(&mut self, now: Now, by: &str, out: &mut Vec<Command>) -> Result<(), NotDone> {
        let (talker, leg) = self.talker().filter(|_| self.citizen.dialog != Dialog::Gone).ok_or(NotDone::NotTalking)?;
        if self.transfer.is_some() {
            return Err(NotDone::Transfer);
        }
        let at = self.book.time(now);
        let entry = self.remember(now, InterventionKind::Release, by.into(), Some(talker.agent()));
        let entry = &mut self.book.record.interventions[entry];
        (entry.answered, entry.ended, entry.result) = (Some(at), Some(at), Some(Outcome::Done));
        self.drop_agent(leg, NORMAL, out);
        self.back_to_line(now, talker, out);
        self.book.tell(out);
        Ok(())
    }

    /// The talking agent leaves; the citizen has music until they are fetched, or the agent is rung again.
    pub(super) fn park(
        &mut self,
        now: Now,
        own: Option<AgentId>,
        fresh: Fresh,
        out: &mut Vec<Command>,
    ) -> Result<(), NotDone> {
        let (talker, leg) = self.talker().filter(|_| self.citizen.dialog != Dialog::Gone).ok_or(NotDone::NotTalking)?;
        if own.is_some_and(|own| own != talker.agent()) {
            return Err(NotDone::NotYours);
        }
        if self.transfer.is_some() {
            return Err(NotDone::Transfer);
        }
        let Some((queue, _)) = self.queue.filter(|_| self.book.record.interventions.len() < INTERVENTIONS_MAX) else {
            return Err(NotDone::TooMany);
        };
        let recall = self.site().queues[queue.index()].park_recall;
        let (by, since) = (talker.agent(), self.book.time(now));
        let name = self.agent_name(by);
        let entry = self.remember(now, InterventionKind::Park, name, None);
        self.book.record.interventions[entry].answered = Some(since);
        self.drop_agent(leg, NORMAL, out);
        self.talk_ended(talker, out);
        self.hush(out);
        self.enter(now, State::Aside(Aside::Parked { by, since, entry, fresh }), recall, out);
        self.music(out);
        self.book.tell(out);
        Ok(())
    }

    /// An entry in the record; returns its place.
    fn remember(&mut self, now: Now, kind: InterventionKind, by: Box<str>, agent: Option<AgentId>) -> usize {
        let agent = agent.map(|agent| self.agent_name(agent));
        let started = self.book.time(now);
        let entry = Intervention { kind, by, agent, started, answered: None, ended: None, result: None };
        self.book.record.interventions.push(entry);
        self.book.record.interventions.len() - 1
    }

    /// Who was with the citizen is so no more, and the citizen is in the line at the old place.
    pub(super) fn back_to_line(&mut self, now: Now, talker: Talker, out: &mut Vec<Command>) {
        self.talk_ended(talker, out);
        self.hush(out);
        self.music(out);
        self.wait(now, out);
    }

    /// The ACD is told that a booked agent's talk is over.
    pub(super) fn talk_ended(&self, talker: Talker, out: &mut Vec<Command>) {
        match talker {
            Talker::Booked(lease) => self.acd(Acd::Ended { lease }, out),
            Talker::Own(_) => {}
        }
    }

    /// Parts whoever is joined.
    pub(super) fn hush(&mut self, out: &mut Vec<Command>) {
        let had = self.seats();
        (self.room, self.guest) = (Room::Alone, None);
        self.leave(&had, &self.seats(), out);
    }
}

/// Ringing them, and what comes of it.
impl Call {
    fn ring_beside(&mut self, now: Now, agent: AgentId, purpose: Purpose, fresh: Fresh, out: &mut Vec<Command>) {
        let name = self.agent_name(agent);
        let talks = self.talker().map(|(talker, _)| talker.agent());
        let entry = self.remember(now, purpose.kind(), name.clone(), talks);
        let attempt = purpose.takes().then(|| self.book.assigned(now, &name));
        let Fresh { leg, spare: Spare { tracks: [track, _], .. } } = fresh;
        self.agents.push(Leg::new(leg, Dialog::Gone, Whose::Agent { name }));
        let phase = Phase::Ringing { until: now.mono + RING_MAX + RING_MARGIN };
        self.beside = Some(Beside { agent, leg, purpose, phase, entry, attempt, track, star: None });
        out.push(Command::OpenPort { leg, beside: Some(self.citizen.id), towards: Towards::Agent(agent) });
        self.book.tell(out);
    }

    /// Whether this leg is that of somebody beside the talking agent.
    pub(in crate::call) fn is_beside(&self, leg: LegId) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.leg == leg)
    }

    /// The port for their leg is bound: their phone is rung.
    pub(super) fn invite_beside(
        &mut self,
        now: Now,
        (local, seed): (std::net::SocketAddr, u64),
        out: &mut Vec<Command>,
    ) {
        let Some(Beside { leg, agent, purpose, .. }) = self.beside else { return };
        // One who is rung again asked for nothing: the phone may be in use, and must not answer by itself.
        let by_itself = self.auto_answers() && purpose != Purpose::Recall;
        self.invite_phone(now, (leg, agent), (local, seed), (RING_MAX, by_itself), out);
    }

    /// They answered.
    pub(super) fn beside_answers(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if !self.beside.as_ref().is_some_and(|beside| beside.leg == leg && !beside.is_with()) {
            return;
        }
        if !self.leg_mut(leg).is_some_and(|leg| leg.accept(sdp, out)) {
            self.drop_agent(leg, INCOMPATIBLE, out);
            return self.beside_fails(now, Outcome::Unreachable, out);
        }
        let at = self.book.time(now);
        let Some(beside) = &mut self.beside else { return };
        beside.phase = Phase::With;
        let (entry, takes) = (beside.entry, beside.purpose.takes());
        if let Some(entry) = self.book.record.interventions.get_mut(entry) {
            entry.answered = Some(at);
        }
        match takes {
            true => self.take(now, out),
            false => {
                self.keep_supervisor_track(now, out);
                self.book.tell(out);
            }
        }
        self.sound(out);
        self.show(now, out);
    }

    /// They become the talking agent; whoever talked is let go.
    fn take(&mut self, now: Now, out: &mut Vec<Command>) {
        let Some(beside) = self.beside.take() else { return };
        let Beside { agent, leg, entry, attempt, .. } = beside;
        self.close_entry(now, entry, Outcome::Done);
        if let State::Aside(Aside::Parked { entry, .. }) = self.state {
            self.close_entry(now, entry, Outcome::Done);
        }
        if let Some((talker, leg)) = self.talker() {
            self.drop_agent(leg, NORMAL, out);
            self.second_leaves(out);
            self.talk_ended(talker, out);
        }
        let name = self.agent_name(agent);
        let attempt = attempt.unwrap_or_else(|| self.book.assigned(now, &name));
        self.enter(now, State::Talking { talker: Talker::Own(agent), leg, held: false }, Duration::MAX, out);
        self.book.answered(now, attempt, out);
        self.sound(out);
        self.follow_hold(now, leg, out);
    }

    fn close_entry(&mut self, now: Now, entry: usize, result: Outcome) {
        let at = self.book.time(now);
        if let Some(entry) = self.book.record.interventions.get_mut(entry).filter(|entry| entry.ended.is_none()) {
            entry.ended = Some(at);
            entry.result.get_or_insert(result);
        }
    }

    /// The call is over, and with it whatever of these still lasts.
    pub(super) fn close_interventions(&mut self, now: Now, result: Outcome) {
        for entry in 0..self.book.record.interventions.len() {
            self.close_entry(now, entry, result);
        }
    }

    /// They are gone, or do not come: the others are as they were, and a citizen for whom nobody comes is in the line.
    pub(super) fn beside_fails(&mut self, now: Now, result: Outcome, out: &mut Vec<Command>) {
        let recalled = self.beside.as_ref().is_some_and(|beside| beside.purpose == Purpose::Recall);
        self.beside_leaves(now, result, out);
        match self.aside() {
            Some(Aside::Claimed) => self.wait(now, out),
            Some(Aside::Parked { entry, .. }) if recalled => {
                self.close_entry(now, entry, Outcome::NoAnswer);
                self.wait(now, out);
            }
            Some(Aside::Parked { .. }) | None => {}
        }
        self.book.tell(out);
        self.sound(out);
        self.show(now, out);
    }

    /// Nobody is beside the talking agent any more.
    pub(super) fn beside_leaves(&mut self, now: Now, result: Outcome, out: &mut Vec<Command>) {
        let Some(beside) = self.beside.take() else { return };
        let result = match (beside.phase, result) {
            (Phase::With, Outcome::Lost) => Outcome::Lost,
            (Phase::With, _) => Outcome::Done,
            (Phase::Ringing { .. }, result) => result,
        };
        self.close_entry(now, beside.entry, result);
        if let Some(attempt) = beside.attempt {
            let outcome = match result {
                Outcome::Done => AttemptOutcome::Answered,
                Outcome::Busy => AttemptOutcome::Rejected,
                Outcome::NoAnswer => AttemptOutcome::NoAnswer,
                Outcome::Cancelled => AttemptOutcome::AnsweredElsewhere,
                Outcome::Unreachable | Outcome::Lost => AttemptOutcome::Unreachable,
            };
            self.book.attempted(now, attempt, outcome);
        }
        self.drop_agent(beside.leg, NORMAL, out);
    }

    /// Whether who is beside, or rung, still fits where the call stands.
    pub(super) fn keeps_beside(&self) -> bool {
        let Some(beside) = &self.beside else { return true };
        match beside.purpose {
            Purpose::Supervise(_) if self.talker().is_some() => true,
            purpose => purpose.takes() && self.aside().is_some(),
        }
    }

    /// How an INVITE to their phone failed.
    pub(super) fn beside_refused(&mut self, now: Now, status: u16, out: &mut Vec<Command>) {
        let result = match status {
            486 | 600 | 603 => Outcome::Busy,
            408 | 480 | 487 => Outcome::NoAnswer,
            _ => Outcome::Unreachable,
        };
        self.beside_fails(now, result, out);
    }

    /// Their phone has rung for long enough, or the parked citizen has waited for long enough.
    pub(super) fn beside_expired(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.beside.as_ref().is_some_and(|beside| beside.next_deadline() <= now.mono) {
            self.beside_fails(now, Outcome::NoAnswer, out);
        }
    }

    /// Nobody has fetched the citizen: whoever parked them is rung, or, if somebody is being rung, a little later.
    pub(super) fn recall(&mut self, now: Now, out: &mut Vec<Command>) {
        match (&self.beside, self.aside()) {
            (Some(beside), _) => self.deadline = beside.next_deadline() + RING_MARGIN,
            (None, Some(Aside::Parked { by, fresh, .. })) => {
                self.deadline = Mono(u64::MAX);
                self.ring_beside(now, by, Purpose::Recall, fresh, out);
                self.show(now, out);
            }
            (None, Some(Aside::Claimed)) => self.wait(now, out),
            (None, None) => {}
        }
    }
}

/// While they are there.
impl Call {
    /// How the supervisor is heard, as the call stands; `None` while nobody hears or is heard beside the agent.
    pub(in crate::call) fn wanted_guest(&self, room: Room) -> Option<Party> {
        let beside = self.beside.as_ref().filter(|beside| beside.is_with())?;
        let (_, agent) = self.talker()?;
        let heard_by = match beside.purpose {
            Purpose::Supervise(Mode::Listen) => HeardBy::Nobody,
            Purpose::Supervise(Mode::Whisper) => HeardBy::Only(agent),
            Purpose::Supervise(Mode::Barge) => HeardBy::All,
            Purpose::Supervise(Mode::TakeOver) | Purpose::PickUp | Purpose::Recall => return None,
        };
        match room {
            Room::Two(_) | Room::Three(..) => Some(Party { heard_by, ..Party::new(beside.leg) }),
            Room::Alone | Room::Music | Room::Ringback(_) | Room::Aside(..) => None,
        }
    }

    /// A digit of the supervisor's: `*1` listens, `*2` whispers, `*3` barges in.
    pub(super) fn supervisor_key(&mut self, now: Now, digit: u8, out: &mut Vec<Command>) {
        let Some(beside) = self.beside.as_mut().filter(|beside| beside.is_with()) else { return };
        let starred = beside.star.take().is_some_and(|until| now.mono < until);
        let mode = match digit {
            b'*' => {
                beside.star = Some(now.mono + KEY_WAIT_MAX);
                return;
            }
            b'1' => Mode::Listen,
            b'2' => Mode::Whisper,
            b'3' => Mode::Barge,
            _ => return,
        };
        if starred && self.book.record.interventions.len() < INTERVENTIONS_MAX {
            let agent = beside.agent;
            // What is refused changes nothing.
            if self.change_mode(now, mode, out).is_ok() {
                self.audit_key(agent, mode, out);
            }
            self.sound(out);
            self.show(now, out);
        }
    }

    /// To the audit, as if the supervisor had asked through the API.
    fn audit_key(&self, agent: AgentId, mode: Mode, out: &mut Vec<Command>) {
        let actor = self.settings.agents[agent.index()].as_ref().map(|agent| agent.name.clone()).unwrap_or_default();
        let action = match mode {
            Mode::Listen => "call.listen",
            Mode::Whisper => "call.whisper",
            Mode::Barge => "call.barge",
            Mode::TakeOver => "call.take_over",
        };
        let (role, from, object) = ("agent".into(), "phone".into(), self.book.contact().to_string().into());
        let audit = Audit { actor, role, action: action.into(), object, allowed: true, from };
        out.push(Command::Fact { site: self.site, fact: Fact::Audit(Box::new(audit)) });
    }

    /// What the supervisor says and hears, in a file of its own.
    fn keep_supervisor_track(&self, now: Now, out: &mut Vec<Command>) {
        let Some(beside) = &self.beside else { return };
        let name: Box<str> = format!("supervisor-{}", beside.entry + 1).into();
        let Ok(name) = PartyName::try_from(name) else { return };
        let (contact, site) = (self.book.contact(), self.site().code.clone());
        let recording =
            RecordingStart { recording: beside.track, contact, site, started: now, track: Track::Party(name) };
        out.push(Command::Media(Media::Record { citizen: beside.leg, recording }));
    }

    /// Agents who are on this call without a booking of the queues: no caller is offered to them.
    pub(in crate::call) fn own_agents(&self) -> impl Iterator<Item = AgentId> + '_ {
        let talker = self.talker().and_then(|(talker, _)| match talker {
            Talker::Own(agent) => Some(agent),
            Talker::Booked(_) => None,
        });
        self.beside.as_ref().map(|beside| beside.agent).into_iter().chain(talker)
    }

    /// As supervisors see it.
    pub(super) fn supervision_view(&self) -> Option<SupervisionView> {
        let beside = self.beside.as_ref()?;
        let mode = match beside.purpose {
            Purpose::Supervise(mode) => Some(mode),
            Purpose::PickUp | Purpose::Recall => None,
        };
        Some(SupervisionView { agent: beside.agent, mode, with: beside.is_with() })
    }

    pub(super) fn park_view(&self) -> Option<ParkView> {
        let Some(Aside::Parked { by, since, .. }) = self.aside() else { return None };
        Some(ParkView { by, since })
    }

    /// The agent has left the citizen on hold, or is back.
    pub(super) fn hold_changed(&mut self, now: Now) {
        let State::Talking { held, .. } = self.state else { return };
        let since = self.book.time(now);
        self.hold = held.then_some(HoldView { since, overdue: false });
        self.deadline = match (held, self.queue) {
            (true, Some((queue, _))) => now.mono + self.site().queues[queue.index()].hold_recall,
            (true, None) | (false, _) => Mono(u64::MAX),
        };
    }

    /// The citizen has been on hold for longer than the queue allows: whoever watches sees it, and the citizen stays.
    pub(super) fn hold_overdue(&mut self, now: Now, out: &mut Vec<Command>) {
        self.deadline = Mono(u64::MAX);
        if let Some(hold) = &mut self.hold {
            hold.overdue = true;
        }
        self.show(now, out);
    }
}
