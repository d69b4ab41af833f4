//! What an open mode changes for the queues and their agents.

use crate::acd;
use crate::acd::event::{AgentSettings, QueueSettings, Settings};
use crate::base::{QueueId, SkillId};
use std::time::Duration;

/// Laid over a site's queues and agents while its mode is open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overlay {
    /// Of these queues.
    pub queues: Vec<QueueId>,
    /// What they ask of agents instead.
    pub skills: Option<Vec<(SkillId, u8)>>,
    /// How long agents have after a call.
    pub wrap_up: Option<Duration>,
    /// Skills that agents of these teams have beside their own.
    pub lends: Vec<Lent>,
}

/// What agents of a team know beside their own skills.
#[derive(Clone, Debug, PartialEq)]
pub struct Lent {
    /// The team.
    pub team: Box<str>,
    /// What they know, with levels (1–9).
    pub skills: Vec<(SkillId, u8)>,
}

impl Overlay {
    /// Lays it over a site's queues and agents, `team_of` whom belongs where.
    pub fn lay(&self, acd: &mut Settings, team_of: impl Fn(&AgentSettings) -> Option<Box<str>>) {
        for id in &self.queues {
            self.lay_over_queue(&mut acd.queues[id.index()]);
        }
        for agent in &mut acd.agents {
            let Some(team) = team_of(agent) else { continue };
            for lent in self.lends.iter().filter(|lent| lent.team == team) {
                lend(&mut agent.skills, &lent.skills);
            }
        }
    }

    fn lay_over_queue(&self, queue: &mut QueueSettings) {
        if let Some(wrap_up) = self.wrap_up {
            queue.wrap_up = wrap_up;
        }
        if let Some(skills) = &self.skills {
            // Waiting shall not make a caller harder to serve.
            queue.routing.relax.retain(|lesser| acd::meets(skills, &lesser.skills));
            queue.skills.clone_from(skills);
        }
    }
}

/// Adds skills, each at the higher of both levels.
fn lend(held: &mut Vec<(SkillId, u8)>, lent: &[(SkillId, u8)]) {
    for &(skill, level) in lent {
        match held.iter_mut().find(|(own, _)| *own == skill) {
            Some((_, own)) => *own = level.max(*own),
            None => held.push((skill, level)),
        }
    }
}
