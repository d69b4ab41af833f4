//! What the owners of the queues say, on its way to calls and into the ledger.
//!
//! Decides nothing for them.

use super::{Part, World};
use jiesu::acd::event::Command as FromAcd;
use jiesu::base::{AgentId, CallId};
use jiesu::call::event::Event as ToCalls;
use jiesu::shard::Event;

impl World {
    pub(super) fn carry_out_acd(&mut self, site: usize, commands: Vec<FromAcd>) {
        self.check_acd(site);
        for command in commands {
            self.note(|| format!("acd {site} -> {command:?}"));
            match command {
                FromAcd::Offer { call, lease, .. } | FromAcd::Revoke { call, lease } => {
                    self.believe(site, lease.agent);
                    self.tell_call(site, call, command);
                }
                FromAcd::Released { call, .. } => {
                    self.ledger.released.insert(call, self.now.mono);
                    self.tell_call(site, call, command);
                }
                FromAcd::Stands { call, .. } => self.tell_call(site, call, command),
                FromAcd::Agent(change) => self.believe(site, change.agent),
            }
        }
    }

    fn tell_call(&mut self, site: usize, call: CallId, said: FromAcd) {
        self.tell_shard(Part::Acd(site), call.shard.index(), Event::Call(ToCalls::Acd(said)));
    }

    /// What the owner of the queues holds this agent by.
    pub(super) fn believe(&mut self, site: usize, agent: AgentId) {
        let lease = self.acds[site].agent(agent).and_then(|view| view.lease);
        self.ledger.held(self.now.mono, agent, lease);
    }
}
