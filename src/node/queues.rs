//! The shell of one ACD owner: one task a site, a single owner of all its queues.

use super::clock;
use super::live::Delta;
use super::wires::{Wires, lock};
use crate::acd::Acd;
use crate::acd::event::{AgentChange, AgentState, Command, Event};
use crate::base::fact::{AgentChanged, Fact, Stamped};
use crate::base::{FactId, Mint, Now, SiteId};
use crate::call::event::Event as ToCalls;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages taken from the mailbox at once.
const BATCH_MAX: usize = 256;
/// Looked at the clock at least this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// An ACD owner with its hands.
pub(super) struct AcdTask {
    pub(super) site: SiteId,
    pub(super) acd: Acd,
    pub(super) wires: Arc<Wires>,
    pub(super) mint: Mint,
    /// What stands there, as of the last message.
    pub(super) counts: Arc<Mutex<crate::acd::Counts>>,
}

impl AcdTask {
    /// Runs until the mailbox is closed.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let (mut some, mut commands) = (Vec::new(), Vec::new());
        loop {
            let wait = self.acd.next_deadline().map_or(IDLE_MAX, |at| at.since(clock::now().mono).min(IDLE_MAX));
            tokio::select! {
                count = events.recv_many(&mut some, BATCH_MAX) => if count == 0 { return },
                () = tokio::time::sleep(wait) => {}
            }
            for event in some.drain(..) {
                let now = clock::now();
                self.acd.handle(now, event, &mut commands);
                self.carry_out(now, &mut commands);
            }
            let now = clock::now();
            self.acd.expire(now, &mut commands);
            self.carry_out(now, &mut commands);
            *lock(&self.counts) = self.acd.counts();
        }
    }

    fn carry_out(&mut self, now: Now, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            match command {
                Command::Offer { call, .. } | Command::Revoke { call, .. } | Command::Released { call, .. } => {
                    self.wires.to_call(call.shard, ToCalls::Acd(command));
                }
                Command::Agent(change) => self.agent(now, change),
            }
        }
    }

    fn agent(&mut self, now: Now, change: AgentChange) {
        let setup = self.wires.setup.load();
        let reason = match &change.to {
            AgentState::NotReady { reason } => reason.clone(),
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
        });
        let id = FactId(self.mint.mint(now.wall));
        (self.wires.facts)(Stamped { id, at: now.wall, site: setup.code(self.site), fact });
        self.wires.live.apply(now.wall, [Delta::Agent(change)]);
    }
}
