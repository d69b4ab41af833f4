//! New settings under a running site: callers, agents, leases and places stay, only the tables derived from the settings
//! are built anew.
//!
//! Queues are recognised by name, since their numbers follow the order of configuration. Places are not recomputed: a
//! new priority is for those who come after. An offer goes on ringing even if its queue or the agent's skill is gone.

use super::acd::{Acd, Course};
use super::agent::State;
use super::event::{Command, Settings};
use super::idle::Idle;
use super::overflow::Entry;
use super::skills::Skills;
use crate::base::{AgentId, Mono, QueueId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Acd {
    pub(super) fn configure(&mut self, now: Mono, settings: Arc<Settings>, out: &mut Vec<Command>) {
        let old = std::mem::replace(&mut self.settings, settings);
        let queues = numbers(&self.settings);
        let renamed: Vec<Option<QueueId>> = old.queues.iter().map(|queue| queues.get(&*queue.name).copied()).collect();
        let slots: Vec<u32> = self.line.callers().map(|(slot, _)| slot).collect();
        for slot in slots {
            let caller = self.line.caller_mut(slot);
            caller.asked = caller.asked.and_then(|queue| renamed[queue.index()]);
            // One who had moved to a queue that is gone goes back to where they came from.
            caller.queue = caller.queue.and_then(|queue| renamed[queue.index()]).or(caller.asked);
        }
        let courses = std::mem::take(&mut self.flows);
        self.flows.resize(self.settings.queues.len(), Course::default());
        for (course, queue) in courses.into_iter().zip(&renamed) {
            if let Some(queue) = queue {
                self.flows[queue.index()] = course;
            }
        }
        self.rebuild(now, Vec::new(), out);
    }

    /// Builds everything that follows from the settings, then finds everybody's place again: first those `standing` outside
    /// every bucket, who are taken together with those who wait.
    pub(super) fn rebuild(&mut self, now: Mono, standing: Vec<u32>, out: &mut Vec<Command>) {
        self.grow();
        self.skills = Skills::of(&self.settings);
        let mut order = self.line.reshape(self.skills.needs, self.settings.queues.len());
        order.extend(standing);
        for &slot in &order {
            if let Some(timer) = self.line.caller_mut(slot).timer.take() {
                self.wheel.cancel(timer);
            }
        }
        self.recount();
        self.retire(now, &mut order, out);
        order.sort_unstable_by_key(|&slot| self.line.caller(slot).place);
        for slot in order {
            self.seat(now, slot, Entry::Back, out);
        }
        // Each of them has somebody before anyone has a second. A stage that the new settings do not have ends at the last.
        for slot in self.line.rung_for() {
            if let Some(queue) = self.line.caller(slot).queue {
                let stages = self.skills.needs_of(queue).len();
                let caller = self.line.caller_mut(slot);
                caller.stage = caller.stage.min(stages.saturating_sub(1) as u8);
            }
            self.gather(now, slot, out);
        }
    }

    /// Counts who is logged in, and lines the ready agents up by their turns.
    pub(super) fn recount(&mut self) {
        self.present = vec![0; self.skills.needs];
        self.idle = Idle::new(self.skills.teams, &self.settings);
        self.idle.grow(self.agents.len());
        let mut ready = Vec::new();
        for (id, agent) in (0u32..).map(AgentId).zip(&self.agents) {
            let Some(team) = self.skills.team_of(id) else { continue };
            if agent.state.logged_in() {
                for need in super::skills::common(self.skills.serves(team), self.skills.serves(team)) {
                    self.present[need] += 1;
                }
            }
            if agent.state == State::Ready {
                ready.push((agent.turn, id, team, agent.tally));
            }
        }
        ready.sort_unstable_by_key(|&(turn, id, ..)| (turn, id));
        for (turn, id, team, tally) in ready {
            self.idle.join(id, team, turn, tally);
        }
    }

    /// Logs out the agents whom the settings no longer list; one who talks goes at the end of the talk.
    fn retire(&mut self, now: Mono, order: &mut Vec<u32>, out: &mut Vec<Command>) {
        for at in 0..self.agents.len() {
            let id = AgentId(at as u32);
            if self.skills.team_of(id).is_some() {
                continue;
            }
            match &self.agents[at].state {
                State::Offline | State::Talking(_) => {}
                State::NotReady { .. } | State::Ready => self.enter(now, id, State::Offline, None, out),
                State::WrapUp { contact, .. } => {
                    let contact = *contact;
                    self.enter(now, id, State::Offline, Some(contact), out);
                }
                State::Offered { booking, .. } => {
                    let (call, lease, contact) = (booking.call, booking.lease, booking.contact);
                    let slot = self.line.find(call).expect("an offer has its caller in the line");
                    if !self.line.part(slot, lease) {
                        order.push(slot);
                    }
                    out.push(Command::Revoke { call, lease });
                    self.enter(now, id, State::Offline, Some(contact), out);
                }
            }
        }
    }
}

/// Queue numbers by name; the first of a name counts.
pub(super) fn numbers(settings: &Settings) -> BTreeMap<&str, QueueId> {
    let mut numbers = BTreeMap::new();
    for (number, queue) in (0u16..).zip(&settings.queues) {
        numbers.entry(&*queue.name).or_insert(QueueId(number));
    }
    numbers
}
