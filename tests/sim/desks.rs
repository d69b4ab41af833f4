//! Who is with whom: what the calls show and what the queues' owners hold, and since when the two differ.
//!
//! Follows every change, so that the laws measure true lengths however seldom they are asked.

use jiesu::acd::event::Lease;
use jiesu::base::fact::Stage;
use jiesu::base::{AgentId, CallId, Mono};
use jiesu::call::event::CallView;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than any message between two parts is under way.
const CROSSING_MAX: Duration = Duration::from_secs(1);

/// All agents' desks.
#[derive(Debug, Default)]
pub struct Desks {
    desks: BTreeMap<AgentId, Desk>,
    /// Where each call is that rings or talks.
    at: BTreeMap<CallId, Vec<AgentId>>,
}

#[derive(Debug, Default)]
struct Desk {
    /// Calls that show this agent, and whether they talk.
    with: BTreeMap<CallId, bool>,
    lease: Option<Lease>,
    /// Since when there is more than one such call.
    doubled: Option<Mono>,
    /// Since when there is none in spite of this lease.
    idle: Option<Mono>,
    /// Since when a call talks without any lease.
    unbooked: BTreeMap<CallId, Mono>,
}

impl Desk {
    fn judge(&mut self, now: Mono) {
        self.doubled = (self.with.len() > 1).then(|| self.doubled.unwrap_or(now));
        self.idle = (self.lease.is_some() && self.with.is_empty()).then(|| self.idle.unwrap_or(now));
        let free = self.lease.is_none();
        self.unbooked.retain(|call, _| free && self.with.get(call) == Some(&true));
        for (call, _) in self.with.iter().filter(|(_, talks)| free && **talks) {
            self.unbooked.entry(*call).or_insert(now);
        }
    }
}

impl Desks {
    /// A call is shown.
    pub fn shown(&mut self, now: Mono, view: &CallView) {
        let agents = if view.stage.is_some() { view.agents.clone() } else { Vec::new() };
        let before = self.at.insert(view.call, agents.clone()).unwrap_or_default();
        for gone in before.iter().filter(|agent| !agents.contains(agent)) {
            self.parted(now, view.call, *gone);
        }
        for agent in agents {
            let desk = self.desks.entry(agent).or_default();
            desk.with.insert(view.call, view.stage == Some(Stage::Talking));
            desk.judge(now);
        }
    }

    /// A call is with nobody.
    pub fn left(&mut self, now: Mono, call: CallId) {
        for agent in self.at.remove(&call).unwrap_or_default() {
            self.parted(now, call, agent);
        }
    }

    fn parted(&mut self, now: Mono, call: CallId, agent: AgentId) {
        if let Some(desk) = self.desks.get_mut(&agent) {
            desk.with.remove(&call);
            desk.judge(now);
        }
    }

    /// The lease that the queues' owner holds an agent by.
    pub fn held(&mut self, now: Mono, agent: AgentId, lease: Option<Lease>) {
        let desk = self.desks.entry(agent).or_default();
        if desk.lease != lease {
            desk.lease = lease;
            desk.idle = None;
            desk.judge(now);
        }
    }

    /// After a crash what stands crossed begins to count anew.
    pub fn begin_anew(&mut self, now: Mono) {
        for desk in self.desks.values_mut() {
            (desk.doubled, desk.idle) = (None, None);
            desk.unbooked.clear();
            desk.judge(now);
        }
    }

    /// No agent is with two callers, none is held for nobody, and nobody talks to an agent who is free.
    pub fn check(&self, now: Mono) {
        let long = |since: &Mono| now.since(*since) >= CROSSING_MAX;
        for (agent, desk) in &self.desks {
            assert!(!desk.doubled.as_ref().is_some_and(long), "{agent:?} is with two callers: {desk:?}");
            assert!(!desk.idle.as_ref().is_some_and(long), "{agent:?} is held for nobody: {desk:?}");
            assert!(!desk.unbooked.values().any(long), "talks to an agent who is free: {agent:?} {desk:?}");
        }
    }
}
