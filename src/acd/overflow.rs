//! What becomes of a caller for whom nobody is idle: wait on, perhaps for one agent alone, ask for less, move to another
//! queue, or leave.
//!
//! All of it follows from how long the caller has waited and from the queue's own figures; it is looked at on coming in, when
//! one of the caller's moments has come, and when the last who could answer logs out. Each caller has one timer, set to
//! the next of these moments.
//!
//! Nobody waits for ever by moving: times count from when the caller began to wait, so each queue's rules come due but once,
//! and within one step a caller moves as often as there are queues at most.

use super::acd::{Acd, Timer};
use super::event::{Command, NoAgents, Overflow, Patience, Released, To, When};
use super::explain::Sight;
use super::line::{Place, Standing};
use super::skills::Need;
use crate::base::{AgentId, CallId, Mono, QueueId};

/// How somebody comes to stand before a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// They come in: the queue may have no room.
    New,
    /// They were in it already.
    Back,
}

/// What the queue's rules make of a caller; with the rule, where one of the ways out applied.
enum Way {
    Wait,
    Move(QueueId, When),
    Leave(Released, Option<When>),
}

impl Acd {
    /// Finds the place of a caller who has none, and has further agents rung where the queue rings several together.
    pub(super) fn settle(&mut self, now: Mono, slot: u32, entry: Entry, out: &mut Vec<Command>) {
        if self.seat(now, slot, entry, out) {
            self.gather(now, slot, out);
        }
    }

    /// Finds the place of a caller who has none: beside an agent, in a line, or out. An idle agent goes before every
    /// reason to refuse or to move. Returns whether an agent is being rung.
    pub(super) fn seat(&mut self, now: Mono, slot: u32, mut entry: Entry, out: &mut Vec<Command>) -> bool {
        let mut moves = 0;
        self.line.caller_mut(slot).closed = false;
        loop {
            let known = self.line.caller(slot).queue.filter(|&queue| self.skills.need_of(queue).is_some());
            let Some(queue) = known else {
                self.witness(slot, Sight::Released(Released::QueueGone, None));
                self.release(slot, Released::QueueGone, out);
                return false;
            };
            self.line.caller_mut(slot).stage = self.stage(now, slot, queue);
            let need = self.need_of(slot);
            match self.preferred(now, slot, (queue, need)) {
                Some(agent) if self.idle.holds(agent) => {
                    self.line.caller_mut(slot).closed = true;
                    self.witness(slot, Sight::Preferred(agent));
                    self.idle.leave(agent);
                    self.offer(now, agent, slot, out);
                    return true;
                }
                // Who may not wait may be served.
                Some(agent) if matches!(self.way(now, slot, (queue, need), entry), Way::Wait) => {
                    self.line.caller_mut(slot).awaits = Some(agent);
                    self.wait(now, slot, (queue, need));
                    self.witness(slot, Sight::Waits);
                    return false;
                }
                Some(_) | None => self.line.caller_mut(slot).preferred = None,
            }
            if let Some(agent) = self.choose(queue, need) {
                self.witness(slot, Sight::Chosen(agent));
                self.idle.leave(agent);
                self.offer(now, agent, slot, out);
                return true;
            }
            match self.way(now, slot, (queue, need), entry) {
                Way::Leave(why, rule) => {
                    self.witness(slot, Sight::Released(why, rule));
                    self.release(slot, why, out);
                    return false;
                }
                Way::Move(to, rule) if moves < self.settings.queues.len() => {
                    self.witness(slot, Sight::Moves(to, rule));
                    moves += 1;
                    entry = Entry::New;
                    self.move_to(slot, to);
                }
                Way::Move(..) | Way::Wait => {
                    self.wait(now, slot, (queue, need));
                    self.witness(slot, Sight::Waits);
                    return false;
                }
            }
        }
    }

    /// The agent whom a caller is rung for first, or waits for alone: see `Routing::preferred`.
    fn preferred(&self, now: Mono, slot: u32, (queue, need): (QueueId, Need)) -> Option<AgentId> {
        let caller = self.line.caller(slot);
        let agent = caller.preferred.filter(|_| caller.asked == Some(queue))?;
        let wait = self.settings.queues[queue.index()].routing.preferred?;
        let team = self.skills.team_of(agent)?;
        let able = self.skills.able(need)[team / 64] >> (team % 64) & 1 == 1;
        let soon = able && now < caller.since + wait && self.agents[agent.index()].state.is_at_work();
        soon.then_some(agent)
    }

    /// An agent whom callers wait for alone takes nobody soon: the strategy finds somebody for them.
    pub(super) fn forsaken_by(&mut self, now: Mono, agent: AgentId, out: &mut Vec<Command>) {
        let forsaken: Vec<u32> = self.line.apart_for(agent).collect();
        let mut rung_for = Vec::new();
        for slot in forsaken {
            self.lift(slot);
            if self.seat(now, slot, Entry::Back, out) {
                rung_for.push(slot);
            }
        }
        rung_for.into_iter().for_each(|slot| self.gather(now, slot, out));
    }

    /// How many of the queue's lesser needs have come into force.
    fn stage(&self, now: Mono, slot: u32, queue: QueueId) -> u8 {
        let relax = &self.settings.queues[queue.index()].routing.relax;
        if relax.is_empty() {
            return 0;
        }
        let waited = now.since(self.line.caller(slot).since);
        relax.iter().take_while(|relax| relax.after <= waited).count().min(usize::from(u8::MAX)) as u8
    }

    fn way(&self, now: Mono, slot: u32, (queue, need): (QueueId, Need), entry: Entry) -> Way {
        let (caller, settings) = (self.line.caller(slot), &self.settings.queues[queue.index()]);
        if caller.patience != Patience::Bounded {
            return Way::Wait;
        }
        let new = entry == Entry::New;
        for &Overflow { when, to } in &settings.routing.overflow {
            let (applies, why) = match when {
                When::Waited(longest) => (now.since(caller.since) >= longest, Released::WaitedTooLong),
                When::Length(length) => (new && self.line.waiting(queue) >= length, Released::Full),
                When::Expected(longest) => {
                    let expected = || self.expected(queue, self.line.waiting(queue) + 1);
                    (new && expected().is_some_and(|expected| expected.middle > longest), Released::Full)
                }
                When::NobodyLoggedIn => (self.present[need] == 0, Released::NoAgents),
                When::NobodyReady => (new, Released::NoAgents),
            };
            if applies {
                return match to {
                    To::Queue(to) => Way::Move(to, when),
                    To::Release => Way::Leave(why, Some(when)),
                    To::Elsewhere(way) => Way::Leave(Released::Diverted { queue, way }, Some(when)),
                };
            }
        }
        if self.present[need] == 0 && settings.no_agents == NoAgents::Release {
            return Way::Leave(Released::NoAgents, None);
        }
        if caller.wait_until.is_some_and(|until| until <= now) {
            return Way::Leave(Released::WaitedTooLong, None);
        }
        if new && self.line.waiting(queue) >= settings.waiting_max {
            return Way::Leave(Released::Full, None);
        }
        Way::Wait
    }

    /// To another queue, whose priority and longest wait count from now on; the time waited is kept.
    fn move_to(&mut self, slot: u32, to: QueueId) {
        let settings = self.settings.clone();
        let caller = self.line.caller_mut(slot);
        caller.queue = Some(to);
        if let Some(queue) = settings.queues.get(to.index()) {
            caller.place = Place::of(queue, caller.priority, caller.since, caller.place.ticket);
            caller.wait_until = queue.wait_max.map(|longest| caller.since + longest);
        }
    }

    fn wait(&mut self, now: Mono, slot: u32, (queue, need): (QueueId, Need)) {
        if self.line.waiting(queue) == 0 {
            self.flows[queue.index()].flow.begin(now);
        }
        let (call, due) = (self.line.caller(slot).call, self.due(slot));
        let timer = due.map(|due| self.wheel.set(due, Timer::Wait(call)));
        self.line.caller_mut(slot).timer = timer;
        self.line.line_up(slot, need);
    }

    /// When something changes next for a caller who waits: a lesser need, a way out, the end of waiting for one agent alone
    /// or of waiting at all.
    pub(super) fn due(&self, slot: u32) -> Option<Mono> {
        let (caller, routing) = (self.line.caller(slot), &self.queue_of(slot).routing);
        let relax = routing.relax.get(usize::from(caller.stage)).map(|relax| caller.since + relax.after);
        let overflow = routing.overflow.iter().filter(|_| caller.patience == Patience::Bounded);
        let waited = overflow.filter_map(|overflow| match overflow.when {
            When::Waited(longest) => Some(caller.since + longest),
            When::Length(_) | When::Expected(_) | When::NobodyLoggedIn | When::NobodyReady => None,
        });
        let preferred = caller.awaits.and(routing.preferred).map(|wait| caller.since + wait);
        waited.chain(relax).chain(caller.wait_until).chain(preferred).min()
    }

    /// A caller's moment has come.
    pub(super) fn waited(&mut self, now: Mono, call: CallId, out: &mut Vec<Command>) {
        let Some(slot) = self.line.find(call) else { return };
        match self.line.caller(slot).standing {
            Standing::Waiting if self.due(slot).is_some_and(|due| due <= now) => {
                self.lift(slot);
                self.settle(now, slot, Entry::Back, out);
            }
            // Offered, or moved on, by an earlier timer of this very look.
            Standing::Waiting | Standing::Between | Standing::Offered(_) => {}
        }
    }

    /// Nobody is left for these needs: those leave, in order of their places, whose queues do not wait for nobody.
    pub(super) fn nobody_left(&mut self, now: Mono, needs: &[Need], out: &mut Vec<Command>) {
        let mut leaving: Vec<(Place, u32)> = needs.iter().flat_map(|&need| self.line.bucket(need)).collect();
        leaving.sort_unstable();
        let mut rung_for = Vec::new();
        for (_, slot) in leaving {
            let queue = self.queue_of(slot);
            let elsewhere = |overflow: &Overflow| overflow.when == When::NobodyLoggedIn;
            if queue.no_agents == NoAgents::Release || queue.routing.overflow.iter().any(elsewhere) {
                self.lift(slot);
                if self.seat(now, slot, Entry::Back, out) {
                    rung_for.push(slot);
                }
            }
        }
        // Each of them has somebody before anyone has a second.
        rung_for.into_iter().for_each(|slot| self.gather(now, slot, out));
    }
}
