//! The queue and the agent's side: waiting, ringing, answering, and every way in which that comes to nothing.
//!
//! Owns the way back: whatever fails here, the citizen keeps their place in the line.

use super::{
    Call, INCOMPATIBLE, NO_ANSWER, PORT_WAIT_MAX, REQUEUE_EVERY, REVOKE_WAIT_MAX, RING_MARGIN, Rung, State, Talker,
};
use crate::acd::event::{Declined, Enqueue, Event as Acd, Lease};
use crate::base::fact::{AttemptOutcome, Party};
use crate::base::{AgentId, LegId, Mono, Now, PromptId, QueueId};
use crate::call::event::{Command, Settings, Towards};
use crate::call::leg::{Dialog, Leg};
use crate::sip::event::{Action as Sip, Destination, Ending, Invite};
use std::sync::Arc;
use std::time::Duration;

impl Call {
    /// New settings: the queue keeps its name, whatever its number is now. The line is told at once.
    pub(in crate::call) fn configure(&mut self, now: Now, settings: Arc<Settings>, out: &mut Vec<Command>) {
        let old = std::mem::replace(&mut self.settings, settings);
        if let Some((queue, priority)) = self.queue {
            self.queue = Some((self.queue_now(&old, queue), priority));
        }
        if matches!(self.state, State::Waiting) {
            self.wait(now, out);
        }
    }

    /// The present number of a queue of `old` settings; of one that is gone, the site's first.
    pub(super) fn queue_now(&self, old: &Settings, queue: QueueId) -> QueueId {
        let name = &old.sites[self.site.index()].queues[queue.index()].name;
        let place = self.site().queues.iter().position(|voice| voice.name == *name);
        QueueId(place.unwrap_or(0) as u16)
    }

    pub(super) fn enqueue(&mut self, now: Now, queue: QueueId, priority: u8, out: &mut Vec<Command>) {
        let queue = self.queue_now(&self.born, queue);
        self.queue = Some((queue, priority));
        self.queued_since = now.mono;
        self.comfort_later(now);
        let whom = self.site().queues[queue.index()].preferred;
        self.preferred = whom.and_then(|whom| self.past.preferred(whom, now.wall));
        let name = self.site().queues[queue.index()].name.clone();
        self.came(out);
        self.book.queued(now, &name, self.order, out);
        let said = self.said_on_entering(queue);
        if said.is_empty() {
            self.music(out);
        } else {
            self.play(said, false, out);
        }
        self.wait(now, out);
    }

    /// What incidents there are for this citizen, each prompt once, then the queue's own announcement.
    fn said_on_entering(&self, queue: QueueId) -> Vec<PromptId> {
        let (site, record) = (self.site(), &self.book.record);
        let voice = &site.queues[queue.index()];
        let mut said = Vec::new();
        for incident in &voice.incidents {
            let concerns = incident.concerns(&record.caller, &record.dialled, &site.area_code);
            if concerns && !said.contains(&incident.prompt) {
                said.push(incident.prompt);
            }
        }
        said.extend(voice.announcement);
        said
    }

    /// Into the line, or named to it again; the ACD takes a caller it knows as it stands.
    pub(super) fn wait(&mut self, now: Now, out: &mut Vec<Command>) {
        let Some(caller) = self.caller() else { return };
        self.comfort_again(now);
        self.enter(now, State::Waiting, REQUEUE_EVERY, out);
        self.acd(Acd::Enqueue(caller), out);
    }

    /// As the ACD knows the citizen.
    pub(in crate::call) fn caller(&self) -> Option<Enqueue> {
        let (queue, priority) = self.queue?;
        let (call, contact, since, preferred) = (self.id, self.book.contact(), self.queued_since, self.preferred);
        Some(Enqueue { call, contact, queue, priority, since, preferred, patience: self.patience })
    }

    pub(in crate::call) fn music(&mut self, out: &mut Vec<Command>) {
        let Some((queue, _)) = self.queue else { return };
        let music = self.site().queues[queue.index()].music;
        self.play(vec![music], true, out);
    }

    /// Whether phones of agents are asked to answer this call by themselves.
    pub(super) fn auto_answers(&self) -> bool {
        self.queue.is_some_and(|(queue, _)| self.site().queues[queue.index()].auto_answer)
    }

    /// The ACD booked an agent: a leg of theirs is opened.
    pub(in crate::call) fn agent_offered(
        &mut self,
        now: Now,
        lease: Lease,
        ring_until: Mono,
        leg: LegId,
        out: &mut Vec<Command>,
    ) {
        let mut rung = match &mut self.state {
            State::Waiting => Vec::new(),
            State::Ringing { rung } => std::mem::take(rung),
            // A new owner of the queues had let them go, and then heard from us that they wait.
            State::Apologising => return self.acd(Acd::Ended { lease }, out),
            // Crossed with our own Cancel or an answer: the ACD frees the lease when it hears of that.
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Ending => return,
        };
        let name = self.agent_name(lease.agent);
        let attempt = self.book.assigned(now, &name);
        self.agents.push(Leg::new(leg, Dialog::Gone, Party::Agent { name }));
        rung.push(Rung { lease, leg, attempt, until: ring_until + REVOKE_WAIT_MAX });
        self.ring(now, rung, out);
        out.push(Command::OpenPort { leg, beside: Some(self.citizen.id), towards: Towards::Agent(lease.agent) });
    }

    /// Goes on ringing these, one at least, until the first of their leases is over.
    fn ring(&mut self, now: Now, rung: Vec<Rung>, out: &mut Vec<Command>) {
        let until = rung.iter().map(|rung| rung.until).min().unwrap_or(now.mono);
        self.enter(now, State::Ringing { rung }, Duration::ZERO, out);
        self.deadline = until;
    }

    /// Who is being rung on this leg.
    fn rung(&self, leg: LegId) -> Option<Rung> {
        match &self.state {
            State::Ringing { rung } => rung.iter().find(|rung| rung.leg == leg).copied(),
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => None,
        }
    }

    /// The place of the one who is being rung on this leg among the attempts of the record.
    pub(super) fn attempt_of(&self, leg: LegId) -> Option<u32> {
        self.rung(leg).map(|rung| rung.attempt)
    }

    /// The attempt on this leg is over: the others ring on; after the last the citizen waits, named to the ACD again after
    /// `wait`. Returns the lease.
    pub(in crate::call) fn part(
        &mut self,
        now: Now,
        leg: LegId,
        (outcome, wait): (AttemptOutcome, Duration),
        out: &mut Vec<Command>,
    ) -> Option<Lease> {
        let gone = self.rung(leg)?;
        let State::Ringing { rung } = &mut self.state else { return None };
        let mut rung = std::mem::take(rung);
        rung.retain(|rung| rung.leg != leg);
        self.book.attempted(now, gone.attempt, outcome);
        if rung.is_empty() {
            self.comfort_again(now);
            self.enter(now, State::Waiting, wait, out);
        } else {
            self.ring(now, rung, out);
        }
        Some(gone.lease)
    }

    pub(super) fn invite(
        &mut self,
        now: Now,
        leg: LegId,
        local: std::net::SocketAddr,
        seed: u64,
        out: &mut Vec<Command>,
    ) {
        let Some(Rung { lease, until, .. }) = self.rung(leg) else { return };
        let ring_max = until.since(now.mono).saturating_sub(REVOKE_WAIT_MAX + RING_MARGIN).max(RING_MARGIN);
        self.invite_phone(now, (leg, lease.agent), (local, seed), (ring_max, self.auto_answers()), out);
    }

    /// Rings the phone of an agent, whose port is bound.
    pub(super) fn invite_phone(
        &mut self,
        now: Now,
        (leg, agent): (LegId, AgentId),
        (local, seed): (std::net::SocketAddr, u64),
        (ring_max, answers_itself): (Duration, bool),
        out: &mut Vec<Command>,
    ) {
        let codec = self.citizen.codec();
        let (user, domain) = (self.agent_phone(agent), self.site().domain.clone());
        let mut headers: Vec<(Box<str>, Box<str>)> = vec![
            ("X-Jiesu-Contact".into(), self.book.contact().to_string().into()),
            ("X-Jiesu-Order".into(), self.order.to_string().into()),
        ];
        if answers_itself {
            headers.push(("Call-Info".into(), format!("<sip:{domain}>;answer-after=0").into()));
        }
        let caller: Box<str> = crate::base::number::Number::parse(&self.book.record.caller, "")
            .map_or_else(|_| self.book.record.caller.clone(), |number| number.national().into());
        let Some(agent) = self.agents.iter_mut().find(|agent| agent.id == leg) else {
            return;
        };
        agent.open(now, local, seed, out);
        let Some(sdp) = agent.offer(codec) else { return };
        agent.dialog = Dialog::Alive;
        let invite = Invite {
            leg,
            to: Destination::User { user, domain },
            caller_name: caller.clone(),
            caller,
            sdp,
            headers,
            ring_max,
        };
        out.push(Command::Sip(Sip::Invite(Box::new(invite))));
    }

    /// The agent's phone rings.
    pub(in crate::call) fn ringing(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        if let Some(Rung { lease, attempt, .. }) = self.rung(leg)
            && !self.book.has_rung(attempt)
        {
            self.book.ringing(now, attempt);
            self.acd(Acd::Ringing { lease }, out);
        }
    }

    /// An agent answered: whoever else is being rung is told that the call was taken, then the two are joined. An answer that
    /// comes later finds its leg ending: the user agent acknowledges it and hangs up.
    pub(in crate::call) fn answered(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        if self.is_beside(leg) {
            return self.beside_answers(now, leg, sdp, out);
        }
        let Some(Rung { lease, attempt, .. }) = self.rung(leg) else { return };
        let understood = self.leg_mut(leg).is_some_and(|leg| leg.accept(sdp, out));
        if !understood {
            self.drop_agent(leg, INCOMPATIBLE, out);
            return self.decline(now, leg, Declined::Unreachable, out);
        }
        self.others_are_late(now, leg, out);
        self.acd(Acd::Answered { lease }, out);
        self.book.answered(now, attempt, out);
        self.enter(now, State::Talking { talker: Talker::Booked(lease), leg, held: false }, Duration::MAX, out);
        self.sound(out);
        self.follow_hold(now, leg, out);
    }

    /// Everybody who is being rung but on this leg is cancelled.
    fn others_are_late(&mut self, now: Now, winner: LegId, out: &mut Vec<Command>) {
        let State::Ringing { rung } = &mut self.state else { return };
        for late in std::mem::take(rung).into_iter().filter(|late| late.leg != winner) {
            self.book.attempted(now, late.attempt, AttemptOutcome::AnsweredElsewhere);
            if let Some(leg) = self.leg_mut(late.leg) {
                leg.taken_elsewhere(out);
            }
        }
    }

    /// The INVITE to the agent came to nothing.
    pub(in crate::call) fn failed(&mut self, now: Now, leg: LegId, status: u16, out: &mut Vec<Command>) {
        let ours = self.leg_mut(leg).is_some_and(|leg| leg.dialog == Dialog::Ending);
        self.agent_gone(leg);
        if let Some(leg) = self.leg_mut(leg) {
            leg.close(out);
        }
        if self.is_beside(leg) {
            return self.beside_refused(now, status, out);
        }
        if ours {
            return;
        }
        if let State::Talking { leg: talking, .. } = self.state
            && talking == leg
        {
            return self.agent_ended(now, leg, Ending::Lost, out);
        }
        let has_rung = self.rung(leg).is_some_and(|rung| self.book.has_rung(rung.attempt));
        let why = match (status, has_rung) {
            (486 | 600 | 603, _) | (480, true) => Declined::Rejected,
            (408 | 487, true) => Declined::NoAnswer,
            _ => Declined::Unreachable,
        };
        self.decline(now, leg, why, out);
    }

    /// The offer to the agent of `leg` is over: unless others are being rung, back into the line, at the old place.
    pub(super) fn decline(&mut self, now: Now, leg: LegId, why: Declined, out: &mut Vec<Command>) {
        let outcome = match why {
            Declined::Rejected => AttemptOutcome::Rejected,
            Declined::NoAnswer => AttemptOutcome::NoAnswer,
            Declined::Unreachable => AttemptOutcome::Unreachable,
        };
        if let Some(lease) = self.part(now, leg, (outcome, REQUEUE_EVERY), out) {
            self.acd(Acd::Declined { lease, why }, out);
        }
    }

    /// Our want of ports is not the agent's fault: the booking is given back without blame, and a caller for whom nobody else
    /// is being rung asks again.
    pub(super) fn no_port_for_agent(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        // Said of this booking alone: a later one may be under way to us, and must not end unheard.
        if let Some(lease) = self.part(now, leg, (AttemptOutcome::Unreachable, PORT_WAIT_MAX), out) {
            self.acd(Acd::Ended { lease }, out);
        }
    }

    /// The ACD took its offer back.
    pub(in crate::call) fn revoked(&mut self, now: Now, lease: Lease, out: &mut Vec<Command>) {
        match &self.state {
            State::Ringing { rung } => {
                if let Some(leg) = rung.iter().find(|rung| rung.lease == lease).map(|rung| rung.leg) {
                    self.drop_agent(leg, NO_ANSWER, out);
                    self.part(now, leg, (AttemptOutcome::NoAnswer, REQUEUE_EVERY), out);
                }
            }
            // The answer was faster than the end of the lease: they talk on, and the ACD must know.
            State::Talking { talker: Talker::Booked(ours), .. } if *ours == lease => {
                if let Some(caller) = self.caller() {
                    self.acd(Acd::Overtaken { lease, caller }, out);
                }
            }
            State::Opening { .. }
            | State::Connecting
            | State::Ivr { .. }
            | State::Waiting
            | State::Talking { .. }
            | State::Handed
            | State::Aside(_)
            | State::Asked { .. }
            | State::Apologising
            | State::Ending => {}
        }
    }

    pub(super) fn agent_gone(&mut self, leg: LegId) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.dialog = Dialog::Gone;
        }
    }

    pub(in crate::call) fn drop_agent(&mut self, leg: LegId, q850: u8, out: &mut Vec<Command>) {
        if let Some(leg) = self.leg_mut(leg) {
            leg.hang_up(q850, out);
        }
    }
}
