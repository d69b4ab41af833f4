//! What the API and the announcements may ask; nothing here changes anything.

use super::acd::Acd;
use super::agent::State;
use super::estimate::Expected;
use super::event::{AgentState, Lease};
use super::line::Standing;
use super::skills::common;
use crate::base::{AgentId, CallId, ContactId, Mono, Now, QueueId};
use std::sync::Arc;
use std::time::Duration;

/// A queue as supervisors see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    /// Callers who wait and for whom nobody is being rung.
    pub waiting: usize,
    /// Callers for whom an agent is being rung.
    pub offered: usize,
    /// The longest that anyone now in this queue has waited, including while an agent is being rung.
    pub longest_wait: Option<Duration>,
    /// Agents able to serve it who are logged in.
    pub logged_in: usize,
    /// Of these, ready.
    pub ready: usize,
    /// Of these, talking, whomever they talk to.
    pub talking: usize,
}

/// An agent as supervisors see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// State, with the reason of a pause.
    pub state: AgentState,
    /// Since when.
    pub since: Mono,
    /// Who asked for it, when it was somebody else.
    pub by: Option<Arc<str>>,
    /// Whether the phone is registered.
    pub phone_up: bool,
    /// The booking while offered or talking.
    pub lease: Option<Lease>,
    /// The contact while offered, talking or in wrap-up.
    pub contact: Option<ContactId>,
}

/// Callers ahead of one are counted up to this.
pub const AHEAD_MAX: usize = 1_000;

/// Where a caller stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// In which queue; `None` when a reload took it away while an agent was being rung.
    pub queue: Option<QueueId>,
    /// Callers of the same queue who are served before them, [`AHEAD_MAX`] for so many or more; `None` while an agent is
    /// being rung for them.
    pub ahead: Option<usize>,
    /// Since when they wait.
    pub since: Mono,
    /// How long from now, if agents go on taking from this queue as they did; `None` while too little is known.
    pub expected: Option<Expected>,
}

/// What stands in an ACD: all of it but the agents comes back to zero when nobody calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = AcdCounts)]
pub struct Counts {
    /// Callers in line or with an agent being rung.
    pub callers: usize,
    /// Leases that book an agent, offered or talking.
    pub leases: usize,
    /// Timers set.
    pub timers: usize,
}

impl Acd {
    /// What stands.
    pub fn counts(&self) -> Counts {
        Counts { callers: self.line.len(), leases: self.booked, timers: self.wheel.len() }
    }

    /// A queue's figures; `None` when there is no such queue. Walks the site's callers and agents: for a wallboard once a
    /// second, not for every call.
    pub fn queue(&self, now: Now, queue: QueueId) -> Option<QueueView> {
        let need = self.skills.need_of(queue)?;
        let mut view =
            QueueView { waiting: self.line.waiting(queue), logged_in: self.present[need], ..QueueView::default() };
        for (_, caller) in self.line.callers().filter(|(_, caller)| caller.queue == Some(queue)) {
            view.offered += usize::from(matches!(caller.standing, Standing::Offered(_)));
            view.longest_wait = view.longest_wait.max(Some(now.mono.since(caller.since)));
        }
        for team in common(self.skills.able(need), self.skills.able(need)) {
            view.ready += self.idle.of(team).count();
        }
        for (id, agent) in (0u32..).map(AgentId).zip(&self.agents) {
            let able =
                self.skills.team_of(id).is_some_and(|team| self.skills.able(need)[team / 64] >> (team % 64) & 1 == 1);
            view.talking += usize::from(able && matches!(agent.state, State::Talking(_)));
        }
        Some(view)
    }

    /// An agent's state; `None` when the settings do not list them and they are not talking any more.
    pub fn agent(&self, id: AgentId) -> Option<AgentView> {
        let agent = self.agents.get(id.index())?;
        if self.skills.team_of(id).is_none() && agent.state == State::Offline {
            return None;
        }
        let booking = agent.state.booking();
        let contact = match &agent.state {
            State::WrapUp { contact, .. } => Some(*contact),
            State::Offered { booking, .. } | State::Talking(booking) => Some(booking.contact),
            State::Offline | State::NotReady { .. } | State::Ready => None,
        };
        Some(AgentView {
            state: agent.state.shown(),
            since: agent.since,
            by: agent.by.clone(),
            phone_up: agent.phone_up,
            lease: booking.map(|booking| booking.lease),
            contact,
        })
    }

    /// Whether `call` is in the line, or an agent is being rung for it.
    pub fn knows(&self, call: CallId) -> bool {
        self.line.find(call).is_some()
    }

    /// Where `call` stands; `None` when it is not in the line. Walks those who wait for the same skills, until as many as
    /// are counted are ahead.
    pub fn position(&self, call: CallId) -> Option<Position> {
        let caller = self.line.caller(self.line.find(call)?);
        let ahead = match (&caller.standing, caller.queue.map(|queue| self.skills.needs_of(queue))) {
            (Standing::Waiting, Some(needs)) => {
                // Those who have waited longer may ask for less already and stand in another bucket.
                let mut needs = needs.to_vec();
                needs.sort_unstable();
                needs.dedup();
                let before = |need| self.line.before(need, caller.place);
                let apart = self.line.apart().filter(|(place, _)| *place < caller.place);
                let ahead = needs.into_iter().flat_map(before).chain(apart);
                let mut of_queue = ahead.filter(|&(_, slot)| self.line.caller(slot).queue == caller.queue);
                Some(of_queue.by_ref().take(AHEAD_MAX).count())
            }
            (Standing::Waiting | Standing::Offered(_) | Standing::Between, _) => None,
        };
        let counted = ahead.filter(|ahead| *ahead < AHEAD_MAX);
        let expected = caller.queue.zip(counted).and_then(|(queue, ahead)| self.expected(queue, ahead + 1));
        Some(Position { queue: caller.queue, ahead, since: caller.since, expected })
    }

    /// The epoch of the leases given now.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}
