//! The shell of one ACD owner: one task a site, a single owner of all its queues.

use super::clock;
use super::guard::{Panicked, fenced};
use super::live::Delta;
use super::routing::{Tale, Why};
use super::standing::{KEEP_EVERY, ToKeeper, put_agent};
use super::wires::{Wires, lock};
use crate::acd::Acd;
use crate::acd::event::{AgentChange, AgentState, Command, Event, Patience, Settings};
use crate::base::fact::{AgentChanged, Fact, Stamped};
use crate::base::{AgentId, FactId, Mint, Mono, Now, SiteId};
use crate::call::event::Event as ToCalls;
use crate::callback::event::{CALLBACKS, Event as Callback};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages taken from the mailbox at once.
const BATCH_MAX: usize = 256;
/// Who has waited longer, and is named to the queue, has been named before.
const NEWCOMER: Duration = Duration::from_secs(1);
/// Looked at the clock at least this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// One step of an ACD; whether it was whole. What a panicking one had said is thrown away: calls in line name themselves again, leases run out.
/// An ACD that is left in disorder is made anew from what survives a crash.
fn take_step(
    acd: &mut Acd,
    site: SiteId,
    settings: &Arc<Settings>,
    now: Now,
    out: &mut Vec<Command>,
    step: impl FnOnce(&mut Acd, &mut Vec<Command>),
) -> bool {
    let (which, before) = (u128::from(site.0), out.len());
    if fenced("acd", which, || step(acd, out)).is_ok() {
        return true;
    }
    out.truncate(before);
    if fenced("acd, checked", which, || acd.check()).is_ok() {
        return false;
    }
    let restored = fenced("acd, restored", which, || {
        let epoch = acd.epoch() + 1;
        Acd::restore(settings.clone(), acd.snapshot(), now, epoch, out)
    });
    match restored {
        Ok(Ok(restored)) => *acd = restored,
        Ok(Err(_)) | Err(Panicked) => {
            out.truncate(before);
            *acd = Acd::new(settings.clone(), acd.epoch() + 1);
            tracing::error!(which, "the queues of a site begin anew: calls in line name themselves again");
        }
    }
    false
}

/// An ACD owner with its hands.
pub(super) struct AcdTask {
    pub(super) site: SiteId,
    pub(super) acd: Acd,
    pub(super) wires: Arc<Wires>,
    pub(super) mint: Mint,
    /// What stands there, as of the last message.
    pub(super) counts: Arc<Mutex<crate::acd::Counts>>,
    /// What restored queues say first.
    pub(super) begun: Vec<Command>,
    pub(super) way: ToKeeper,
    /// What is kept for those who ask why.
    pub(super) tale: Tale,
    /// Agents who changed since the last record of them.
    pub(super) changed: BTreeSet<AgentId>,
}

impl AcdTask {
    /// Runs until the mailbox is closed.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let (mut some, mut commands) = (Vec::new(), std::mem::take(&mut self.begun));
        self.carry_out(clock::now(), &mut commands);
        self.begin(clock::now(), Why::Start);
        let (mut due, mut frames) = (None, Vec::new());
        loop {
            let next = [self.acd.next_deadline(), due].into_iter().flatten().min();
            let wait = next.map_or(IDLE_MAX, |at| at.since(clock::now().mono).min(IDLE_MAX));
            tokio::select! {
                count = events.recv_many(&mut some, BATCH_MAX) => if count == 0 { return },
                () = tokio::time::sleep(wait) => {}
            }
            for event in some.drain(..) {
                let now = clock::now();
                if let Event::Want { agent, .. } | Event::Phone { agent, .. } = &event {
                    self.changed.insert(*agent);
                }
                // Named again, or come from another queue, one is no new caller.
                if let Event::Enqueue(caller) = &event
                    && caller.patience == Patience::Bounded
                    && now.mono.since(caller.since) < NEWCOMER
                    && !self.acd.knows(caller.call)
                {
                    self.wires.modes.arrived(now, self.site, caller.queue);
                }
                self.take(now, Some(event), &mut commands);
            }
            let now = clock::now();
            if self.acd.next_deadline().is_some_and(|deadline| deadline <= now.mono) {
                self.take(now, None, &mut commands);
            }
            if let Some(why) = self.tale.give(now) {
                self.begin(now, why);
            }
            *lock(&self.counts) = self.acd.counts();
            self.keep(now, &mut due, &mut frames);
        }
    }

    /// Writes how agents stand who changed, once that is due.
    fn keep(&mut self, now: Now, due: &mut Option<Mono>, frames: &mut Vec<u8>) {
        if self.changed.is_empty() && frames.is_empty() {
            return;
        }
        if now.mono < *due.get_or_insert(now.mono + KEEP_EVERY) {
            return;
        }
        *due = None;
        if frames.is_empty() {
            for agent in std::mem::take(&mut self.changed) {
                put_agent(frames, agent, self.acd.kept_agent(agent).as_ref());
            }
        }
        self.way.give(frames);
    }

    /// One input, or the passing of time, to its end.
    fn take(&mut self, now: Now, event: Option<Event>, out: &mut Vec<Command>) {
        let settings = self.wires.setup.load().acd[self.site.index()].clone();
        let (told, configured) = (self.tale.copied(&event), matches!(event, Some(Event::Configure(_))));
        let whole = take_step(&mut self.acd, self.site, &settings, now, out, |acd, out| match event {
            Some(event) => acd.handle(now, event, out),
            None => acd.expire(now, out),
        });
        if whole {
            self.tale.note(now, told, out);
        }
        if !whole || configured {
            // Names and numbers are others, or the machine is not what its inputs made of it.
            let why = self.tale.give(now).unwrap_or(Why::Behind);
            self.begin(now, if whole { why } else { Why::Fault });
        }
        self.carry_out(now, out);
    }

    fn begin(&mut self, now: Now, why: Why) {
        let (acd, setup, site) = (&self.acd, self.wires.setup.load(), self.site);
        self.tale.begin(now, why, || (setup.names(site), acd.clone()));
    }

    fn carry_out(&mut self, now: Now, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            match command {
                Command::Offer { call, .. }
                | Command::Revoke { call, .. }
                | Command::Released { call, .. }
                | Command::Stands { call, .. } => {
                    if call.shard == CALLBACKS {
                        self.wires.callbacks.tell(Callback::Acd(command));
                    } else {
                        self.wires.to_call(call.shard, ToCalls::Acd(command));
                    }
                }
                Command::Agent(change) => self.agent(now, change),
            }
        }
    }

    fn agent(&mut self, now: Now, change: AgentChange) {
        self.changed.insert(change.agent);
        let setup = self.wires.setup.load();
        let reason = match &change.to {
            AgentState::NotReady { reason } => (&**reason).into(),
            AgentState::Offline
            | AgentState::Ready
            | AgentState::Offered
            | AgentState::Talking
            | AgentState::WrapUp => "".into(),
        };
        let fact = Fact::Agent(AgentChanged {
            agent: setup.agent_name(change.agent),
            from: change.from.word().into(),
            to: change.to.word().into(),
            reason,
            contact: change.contact,
            by: change.by.as_deref().map(Into::into),
        });
        let id = FactId(self.mint.mint(now.wall));
        (self.wires.facts)(Stamped { id, at: now.wall, site: setup.code(self.site), fact });
        self.wires.live.apply(now.wall, [Delta::Agent(change)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acd::event::{AgentSettings, Enqueue, NoAgents, QueueSettings};
    use crate::base::{AgentId, CallId, ContactId, Mono, QueueId, ShardId, Wall};

    const NOW: Now = Now { mono: Mono::from_ms(1_000), wall: Wall(0) };

    fn settings(agents: &[u32]) -> Arc<Settings> {
        let queue = QueueSettings {
            name: "general".into(),
            skills: Vec::new(),
            priority: 0,
            ageing: Duration::from_secs(10),
            ring_max: Duration::from_secs(15),
            misses_max: 1,
            wrap_up: Duration::ZERO,
            wait_max: None,
            waiting_max: 10,
            no_agents: NoAgents::Wait,
            routing: Default::default(),
        };
        let agent = |agent: &u32| AgentSettings { agent: AgentId(*agent), skills: Vec::new() };
        Arc::new(Settings { queues: vec![queue], agents: agents.iter().map(agent).collect(), ..Settings::default() })
    }

    fn enqueue(slot: u32) -> Event {
        Event::Enqueue(Enqueue {
            call: CallId { shard: ShardId(0), slot, generation: 1 },
            contact: ContactId(u128::from(slot)),
            queue: QueueId(0),
            priority: 0,
            since: NOW.mono,
            preferred: None,
            patience: Default::default(),
        })
    }

    /// An agent's number beyond all bounds breaks an invariant half-way through a reload.
    #[test]
    fn a_panic_costs_the_queues_nobody_who_waits() {
        let good = settings(&[0]);
        let mut acd = Acd::new(good.clone(), 1);
        let mut out = Vec::new();
        let step = |acd: &mut Acd, out: &mut Vec<Command>, event: Event| {
            take_step(acd, SiteId(7), &good, NOW, out, |acd, out| acd.handle(NOW, event, out));
        };
        (1..=3).for_each(|slot| step(&mut acd, &mut out, enqueue(slot)));
        step(&mut acd, &mut out, Event::Configure(settings(&[u32::MAX - 1])));
        acd.check();
        assert_eq!(acd.counts().callers, 3);
        out.clear();
        step(&mut acd, &mut out, Event::Phone { agent: AgentId(0), up: true });
        step(&mut acd, &mut out, Event::Want { agent: AgentId(0), state: crate::acd::event::Want::Ready, by: None });
        let first = CallId { shard: ShardId(0), slot: 1, generation: 1 };
        assert!(out.iter().any(|it| matches!(it, Command::Offer { call, .. } if *call == first)), "{out:?}");
    }
}
