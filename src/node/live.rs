//! The read model: agents, queues and live calls as the API and the event stream show them.
//!
//! Owns the newest state of each object and the order in which objects last changed. Each change takes the next `seq` of
//! this node; an object stands in that order once, at its newest change, so a reader who was slow finds every object
//! that changed since, each once and as it is now. What is gone is remembered for [`GONE_MAX`] objects; a reader who
//! was away for longer is told to begin again with a snapshot. Memory is therefore bounded by what is alive, whatever
//! readers do.
//!
//! Never waits: the lock is held for one step or one copy of handles, and readers are woken through a `watch` that
//! keeps a number, not a queue.

use super::lamps::Tries;
use super::sound::{self, Histogram};
use crate::acd::event::{AgentChange, AgentState, Settings as AcdSettings};
use crate::base::fact::Stage;
use crate::base::{AgentId, CallId, ContactId, QueueId, SiteId, Wall};
use crate::call::event::{CallView, Pause, Settings as CallSettings};
use crate::call::lamp::Use;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many objects that are gone a resuming reader can still learn of.
pub const GONE_MAX: usize = 4_096;

/// What the read model is fed with.
#[derive(Clone, Debug)]
pub enum Delta {
    /// Names and skills, at start and at each reload. Objects that exist no more are told as gone.
    Configure {
        /// Sites and agents by name.
        calls: Arc<CallSettings>,
        /// Queues and skills of each site.
        acd: Vec<Arc<AcdSettings>>,
    },
    /// From the ACD owner of a site.
    Agent(AgentChange),
    /// An agent's phone is registered, or no more.
    Phone {
        /// Whose.
        agent: AgentId,
        /// Whether at least one contact is alive.
        up: bool,
    },
    /// From the calls of a shard.
    Call(CallView),
}

/// One object as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// An agent.
    Agent(Agent),
    /// A queue.
    Queue(Queue),
    /// A live call.
    Call(Box<Call>),
}

/// An agent as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Id on this node.
    pub id: AgentId,
    /// Whose.
    pub site: SiteId,
    /// Name in facts and the API.
    pub name: Arc<str>,
    /// Team; empty for none.
    pub team: Arc<str>,
    /// The seat they sit at, whose phone is theirs.
    pub seat: Option<Arc<str>>,
    /// State, with the reason of a not-ready one.
    pub state: AgentState,
    /// Since when.
    pub since: Wall,
    /// When a pause should be over.
    pub until: Option<Wall>,
    /// The contact it has to do with.
    pub contact: Option<ContactId>,
    /// Who asked for the state, when it was somebody else.
    pub forced_by: Option<Arc<str>>,
    /// Whether the phone is registered.
    pub phone_up: bool,
}

/// A queue as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Whose.
    pub site: SiteId,
    /// Id within the site.
    pub id: QueueId,
    /// Name.
    pub name: Arc<str>,
    /// Callers not answered yet, those whose agent is being rung included.
    pub waiting: usize,
    /// Since when the longest of them waits.
    pub longest_since: Option<Wall>,
    /// Callers of this queue who talk to an agent.
    pub talking: usize,
    /// Ready agents with the queue's skills.
    pub ready: usize,
}

/// What became of a queue's callers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answered by an agent, each once.
    pub answered: u64,
    /// Gone without an answer.
    pub abandoned: u64,
    /// How long the former had waited in the queue.
    pub answered_after: Histogram,
    /// And the latter.
    pub abandoned_after: Histogram,
}

/// A live call, or the last of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As the shard shows it.
    pub view: CallView,
    /// Since when the caller has waited for a human, over every ringing in vain.
    pub waiting_since: Option<Wall>,
    /// Name of the queue.
    pub queue: Option<Arc<str>>,
    /// Names of the agents: who talks, or all who are rung, the first first.
    pub agents: Vec<Arc<str>>,
    /// Whether an agent has answered it, now or before.
    pub answered: bool,
    /// Names of who has to do with it beside them.
    pub beside: Beside,
}

/// Names of who has to do with a call beside its agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Who supervises it, or is rung for it.
    pub supervisor: Option<Arc<str>>,
    /// Who parked it.
    pub parked_by: Option<Arc<str>>,
}

/// The newest change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order of this node; never reused, also not after a restart.
    pub seq: u64,
    /// When.
    pub at: Wall,
    /// The object after it.
    pub object: Object,
    /// Whether this was its end.
    pub gone: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Go on from here.
    pub seq: u64,
    /// The objects, each by its newest change.
    pub objects: Vec<Arc<Change>>,
}

/// The reader was away too long, or comes from another life of the node: it must begin again with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes since then are no longer known: begin again with a snapshot")]
pub struct Resync;

/// The read model of a node.
#[derive(Debug)]
pub struct Live {
    board: Mutex<Board>,
    seq: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Agent(AgentId),
    Queue(SiteId, QueueId),
    Call(CallId),
}

#[derive(Debug, Default)]
struct Board {
    seq: u64,
    /// Ends of objects up to this `seq` may have been forgotten.
    floor: u64,
    sites: Vec<Arc<str>>,
    /// What is alive.
    alive: BTreeMap<Key, Arc<Change>>,
    /// Newest change of each object, the last [`GONE_MAX`] ends included.
    order: BTreeMap<u64, Arc<Change>>,
    /// Where the ends stand in `order`, oldest first.
    ends: VecDeque<u64>,
    agents: BTreeMap<(SiteId, Arc<str>), AgentId>,
    contacts: BTreeMap<ContactId, CallId>,
    lines: BTreeMap<(SiteId, QueueId), Line>,
    /// What calls have shown of targets.
    tries: Tries,
    /// Queues for which each agent has the skills.
    serves: BTreeMap<AgentId, Vec<QueueId>>,
    /// By [`SiteId`].
    pauses: Vec<Vec<Pause>>,
}

/// Running figures of a queue.
#[derive(Debug, Default)]
struct Line {
    name: Arc<str>,
    waiting: BTreeSet<(Wall, CallId)>,
    talking: usize,
    ready: usize,
    totals: Totals,
}

impl Live {
    /// An empty model of a node that started then.
    ///
    /// Counting begins at the microseconds since 1970: a later life of the node begins above every `seq` of an earlier
    /// one (which would have to make a million changes a second to catch up), and JavaScript still counts it exactly.
    pub fn new(started: Wall) -> Live {
        let seq = started.0.max(0).unsigned_abs().saturating_mul(1_000);
        let board = Board { seq, floor: seq, ..Board::default() };
        Live { board: Mutex::new(board), seq: watch::Sender::new(seq) }
    }

    /// Takes what happened, in order, and wakes whoever waits.
    pub fn apply(&self, at: Wall, deltas: impl IntoIterator<Item = Delta>) {
        let mut board = self.board();
        for delta in deltas {
            board.apply(at, delta);
        }
        let seq = board.seq;
        drop(board);
        self.seq.send_if_modified(|known| {
            let changed = *known < seq;
            *known = seq.max(*known);
            changed
        });
    }

    /// The objects of a site, or of all.
    pub fn snapshot(&self, site: Option<SiteId>) -> Snapshot {
        let board = self.board();
        let of_site = |change: &&Arc<Change>| site.is_none_or(|site| change.object.site() == site);
        Snapshot { seq: board.seq, objects: board.alive.values().filter(of_site).cloned().collect() }
    }

    /// At most `max` changes after `seq` of all sites, oldest first: the last one's `seq` is where to go on. An object
    /// that changed several times is there once.
    ///
    /// # Errors
    /// [`Resync`] when not everything since then is known.
    pub fn since(&self, seq: u64, max: usize) -> Result<Vec<Arc<Change>>, Resync> {
        let board = self.board();
        if seq < board.floor || seq > board.seq {
            return Err(Resync);
        }
        Ok(board.order.range(seq + 1..).take(max).map(|(_, change)| Arc::clone(change)).collect())
    }

    /// Shows the newest `seq`; wakes when it rises.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// What calls of ours have shown of a target.
    pub fn used(&self, site: SiteId, target: &str) -> Use {
        self.board().tries.of(site, target)
    }

    /// The site with this code.
    pub fn site(&self, code: &str) -> Option<SiteId> {
        let position = self.board().sites.iter().position(|site| **site == *code)?;
        u16::try_from(position).ok().map(SiteId)
    }

    /// Codes of all sites, by [`SiteId`].
    pub fn sites(&self) -> Vec<Arc<str>> {
        self.board().sites.clone()
    }

    /// All queues as they stand, with what became of their callers.
    pub fn queues(&self) -> Vec<(Queue, Totals)> {
        self.board().lines.iter().map(|(key, line)| (line.show(*key), line.totals)).collect()
    }

    /// The agent with this name.
    pub fn agent(&self, site: SiteId, name: &str) -> Option<Agent> {
        let board = self.board();
        let id = *board.agents.get(&(site, Arc::from(name)))?;
        board.agent(id).cloned()
    }

    /// Pauses that agents of a site may take; any when there are none.
    pub fn pauses(&self, site: SiteId) -> Vec<Pause> {
        self.board().pauses.get(site.index()).cloned().unwrap_or_default()
    }

    /// How many agents of a site, but for this one, pause for this reason.
    pub fn paused(&self, site: SiteId, reason: &str, but: AgentId) -> usize {
        let board = self.board();
        let agents = board.alive.values().filter_map(|change| change.object.as_agent());
        let for_it = |agent: &&Agent| match &agent.state {
            AgentState::NotReady { reason: own } => **own == *reason,
            AgentState::Offline
            | AgentState::Ready
            | AgentState::Offered
            | AgentState::Talking
            | AgentState::WrapUp => false,
        };
        agents.filter(|agent| agent.site == site && agent.id != but).filter(for_it).count()
    }

    /// Whether an agent is in a call, is rung for one or steps into one.
    pub fn is_in_call(&self, agent: AgentId) -> bool {
        let board = self.board();
        let is_in = |view: &CallView| {
            view.agents.contains(&agent) || view.supervision.as_ref().is_some_and(|beside| beside.agent == agent)
        };
        board.alive.values().any(|change| matches!(&change.object, Object::Call(call) if is_in(&call.view)))
    }

    /// The live call of this contact.
    pub fn call(&self, contact: ContactId) -> Option<Call> {
        let board = self.board();
        let id = *board.contacts.get(&contact)?;
        board.call(id).cloned()
    }

    /// A panic in one step leaves the model as it was after some whole statement: old figures at worst, never a reason
    /// to stop showing.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    /// Whose it is.
    pub fn site(&self) -> SiteId {
        match self {
            Object::Agent(agent) => agent.site,
            Object::Queue(queue) => queue.site,
            Object::Call(call) => call.view.site,
        }
    }

    fn key(&self) -> Key {
        match self {
            Object::Agent(agent) => Key::Agent(agent.id),
            Object::Queue(queue) => Key::Queue(queue.site, queue.id),
            Object::Call(call) => Key::Call(call.view.call),
        }
    }
}

impl Board {
    fn apply(&mut self, at: Wall, delta: Delta) {
        match delta {
            Delta::Configure { calls, acd } => self.configure(at, &calls, &acd),
            Delta::Agent(change) => self.agent_changed(at, change),
            Delta::Phone { agent, up } => {
                if let Some(mut row) = self.agent(agent).filter(|row| row.phone_up != up).cloned() {
                    row.phone_up = up;
                    self.publish(at, Object::Agent(row), false);
                }
            }
            Delta::Call(view) => self.call_shown(at, view),
        }
    }

    fn agent(&self, id: AgentId) -> Option<&Agent> {
        match &self.alive.get(&Key::Agent(id))?.object {
            Object::Agent(agent) => Some(agent),
            Object::Queue(_) | Object::Call(_) => None,
        }
    }

    fn call(&self, id: CallId) -> Option<&Call> {
        match &self.alive.get(&Key::Call(id))?.object {
            Object::Call(call) => Some(call),
            Object::Agent(_) | Object::Queue(_) => None,
        }
    }

    /// Gives the object the next `seq` and forgets its earlier change.
    fn publish(&mut self, at: Wall, object: Object, gone: bool) {
        let key = object.key();
        self.seq += 1;
        let change = Arc::new(Change { seq: self.seq, at, object, gone });
        let earlier = if gone { self.alive.remove(&key) } else { self.alive.insert(key, Arc::clone(&change)) };
        if let Some(earlier) = earlier {
            self.order.remove(&earlier.seq);
        }
        self.order.insert(self.seq, change);
        if gone {
            self.ends.push_back(self.seq);
        }
        if self.ends.len() > GONE_MAX
            && let Some(oldest) = self.ends.pop_front()
        {
            self.order.remove(&oldest);
            self.floor = oldest;
        }
    }

    fn configure(&mut self, at: Wall, calls: &CallSettings, acd: &[Arc<AcdSettings>]) {
        self.sites = calls.sites.iter().map(|site| Arc::from(&*site.code)).collect();
        self.pauses = calls.sites.iter().map(|site| site.pauses.clone()).collect();
        self.configure_agents(at, calls);
        self.tries.keep(&calls.targets);
        self.serves = served_queues(acd);
        let lines = acd.iter().flat_map(|site| {
            (0u16..).zip(&site.queues).map(|(id, queue)| {
                ((site.site, QueueId(id)), Line { name: Arc::from(&*queue.name), ..Line::default() })
            })
        });
        let before = std::mem::replace(&mut self.lines, lines.collect());
        for (key, line) in before {
            match self.lines.get_mut(&key) {
                Some(kept) => kept.totals = line.totals,
                None => self.publish(at, Object::Queue(line.show(key)), true),
            }
        }
        let alive: Vec<Arc<Change>> = self.alive.values().cloned().collect();
        for change in alive {
            match &change.object {
                Object::Call(call) => self.count_call(call, true),
                Object::Agent(agent) if agent.state == AgentState::Ready => self.count_ready(agent, true),
                Object::Agent(_) | Object::Queue(_) => {}
            }
        }
        let keys: Vec<_> = self.lines.keys().copied().collect();
        for key in keys {
            self.publish_line(at, key);
        }
    }

    fn configure_agents(&mut self, at: Wall, calls: &CallSettings) {
        let known: Vec<Agent> = self.alive.values().filter_map(|change| change.object.as_agent().cloned()).collect();
        for agent in known {
            let kept = calls.agents.get(agent.id.index()).and_then(Option::as_ref);
            if kept.is_none_or(|kept| kept.site != agent.site || *kept.name != *agent.name) {
                self.agents.remove(&(agent.site, Arc::clone(&agent.name)));
                self.publish(at, Object::Agent(agent), true);
            }
        }
        for (id, identity) in (0u32..).map(AgentId).zip(&calls.agents) {
            let Some(identity) = identity else { continue };
            if let Some(known) = self.agent(id) {
                let seat = identity.seat();
                if *known.team != *identity.team || known.seat.as_deref() != seat {
                    let (team, seat) = (Arc::from(&*identity.team), seat.map(Arc::from));
                    let moved = Agent { team, seat, ..known.clone() };
                    self.publish(at, Object::Agent(moved), false);
                }
                continue;
            }
            let name: Arc<str> = Arc::from(&*identity.name);
            self.agents.insert((identity.site, Arc::clone(&name)), id);
            let (site, state) = (identity.site, AgentState::Offline);
            let team = Arc::from(&*identity.team);
            let row = Agent {
                id,
                site,
                name,
                team,
                seat: identity.seat().map(Arc::from),
                state,
                since: at,
                until: None,
                contact: None,
                forced_by: None,
                phone_up: false,
            };
            self.publish(at, Object::Agent(row), false);
        }
    }

    fn pause_ends(&self, site: SiteId, at: Wall, state: &AgentState) -> Option<Wall> {
        let AgentState::NotReady { reason } = state else { return None };
        let rule = self.pauses.get(site.index())?.iter().find(|rule| *rule.reason == **reason)?;
        Some(Wall(at.0 + i64::try_from(rule.longest?.as_millis()).ok()?))
    }

    /// Agents nobody configured are not shown: the ACD has them from the same configuration.
    fn agent_changed(&mut self, at: Wall, change: AgentChange) {
        let Some(before) = self.agent(change.agent).cloned() else {
            return;
        };
        let until = self.pause_ends(before.site, at, &change.to);
        let after = Agent {
            state: change.to,
            since: at,
            until,
            contact: change.contact,
            forced_by: change.by,
            ..before.clone()
        };
        let (was, is) = (before.state == AgentState::Ready, after.state == AgentState::Ready);
        if was != is {
            self.count_ready(&after, is);
        }
        let site = after.site;
        self.publish(at, Object::Agent(after), false);
        if was != is {
            for queue in self.serves.get(&change.agent).cloned().unwrap_or_default() {
                self.publish_line(at, (site, queue));
            }
        }
    }

    fn call_shown(&mut self, at: Wall, view: CallView) {
        self.tries.shown(&view);
        let before = self.call(view.call).cloned();
        if before.is_none() && view.stage.is_none() {
            return;
        }
        let queue = view.queue.and_then(|queue| self.lines.get(&(view.site, queue))).map(|line| Arc::clone(&line.name));
        let mut lines = BTreeSet::new();
        let (mut waited, mut was_answered) = (None, false);
        if let Some(before) = &before {
            self.count_call(before, false);
            lines.extend(before.line());
            was_answered = before.answered;
            // By name: a reload may have numbered the queues anew.
            waited = before.waiting_since.filter(|_| before.queue == queue);
        }
        let waiting = matches!(view.stage, Some(Stage::Queued | Stage::Ringing));
        let named = view.agents.iter().filter_map(|&agent| self.agent(agent));
        let agents = named.map(|agent| Arc::clone(&agent.name)).collect();
        let waiting_since = waiting.then(|| waited.unwrap_or(view.since));
        let gone = view.stage.is_none();
        let (contact, id) = (view.contact, view.call);
        let answered = was_answered || view.stage == Some(Stage::Talking);
        let name = |agent: AgentId| self.agent(agent).map(|agent| Arc::clone(&agent.name));
        let beside = Beside {
            supervisor: view.supervision.as_ref().and_then(|it| name(it.agent)),
            parked_by: view.parked.as_ref().and_then(|it| name(it.by)),
        };
        let after = Call { view, waiting_since, queue, agents, answered, beside };
        let waited = before.as_ref().and_then(|before| before.waiting_since).map(|since| at.0 - since.0);
        self.count_outcome(&after, was_answered, waited);
        if gone {
            self.contacts.remove(&contact);
        } else {
            self.contacts.insert(contact, id);
            self.count_call(&after, true);
            lines.extend(after.line());
        }
        self.publish(at, Object::Call(Box::new(after)), gone);
        for line in lines {
            self.publish_line(at, line);
        }
    }

    /// Adds a call to the figures of its queue, or takes it out again.
    fn count_call(&mut self, call: &Call, add: bool) {
        let Some(line) = call.line().and_then(|key| self.lines.get_mut(&key)) else {
            return;
        };
        match call.view.stage {
            Some(Stage::Queued | Stage::Ringing) => {
                let place = (call.waiting_since.unwrap_or(call.view.since), call.view.call);
                if add {
                    line.waiting.insert(place)
                } else {
                    line.waiting.remove(&place)
                };
            }
            Some(Stage::Talking) => step(&mut line.talking, add),
            Some(Stage::Offered | Stage::Ivr) | None => {}
        }
    }

    /// An answer counts once, and who goes without one has given up, or was given up on.
    /// `waited` in milliseconds.
    fn count_outcome(&mut self, call: &Call, was_answered: bool, waited: Option<i64>) {
        let Some(line) = call.line().and_then(|key| self.lines.get_mut(&key)) else {
            return;
        };
        let waited_us = waited.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default() * 1_000;
        if call.answered && !was_answered {
            line.totals.answered += 1;
            line.totals.answered_after.count(&sound::WAIT, waited_us);
        }
        if call.view.stage.is_none() && !call.answered {
            line.totals.abandoned += 1;
            line.totals.abandoned_after.count(&sound::WAIT, waited_us);
        }
    }

    fn count_ready(&mut self, agent: &Agent, add: bool) {
        for queue in self.serves.get(&agent.id).into_iter().flatten() {
            if let Some(line) = self.lines.get_mut(&(agent.site, *queue)) {
                step(&mut line.ready, add);
            }
        }
    }

    /// Tells of a queue whose figures are no longer those last told.
    fn publish_line(&mut self, at: Wall, key: (SiteId, QueueId)) {
        let Some(line) = self.lines.get(&key) else { return };
        let object = Object::Queue(line.show(key));
        if self.alive.get(&Key::Queue(key.0, key.1)).is_none_or(|told| told.object != object) {
            self.publish(at, object, false);
        }
    }
}

impl Call {
    /// Who talks, or who was rung first.
    pub fn agent(&self) -> Option<&str> {
        self.agents.first().map(|agent| &**agent)
    }

    /// As `name` may see it: theirs while they are rung or talk.
    pub fn owner(&self, name: &str) -> Option<&str> {
        self.agents.iter().map(|agent| &**agent).find(|agent| *agent == name).or(self.agent())
    }

    fn line(&self) -> Option<(SiteId, QueueId)> {
        self.view.queue.map(|queue| (self.view.site, queue))
    }
}

impl Object {
    fn as_agent(&self) -> Option<&Agent> {
        match self {
            Object::Agent(agent) => Some(agent),
            Object::Queue(_) | Object::Call(_) => None,
        }
    }
}

impl Line {
    fn show(&self, (site, id): (SiteId, QueueId)) -> Queue {
        Queue {
            site,
            id,
            name: Arc::clone(&self.name),
            waiting: self.waiting.len(),
            longest_since: self.waiting.first().map(|(since, _)| *since),
            talking: self.talking,
            ready: self.ready,
        }
    }
}

fn step(count: &mut usize, up: bool) {
    *count = if up { *count + 1 } else { count.saturating_sub(1) };
}

/// For each agent the queues whose every skill they have at the level asked for.
fn served_queues(acd: &[Arc<AcdSettings>]) -> BTreeMap<AgentId, Vec<QueueId>> {
    let mut serves = BTreeMap::new();
    for site in acd {
        for agent in &site.agents {
            let has = |(skill, least): &(_, u8)| agent.skills.iter().any(|(own, level)| own == skill && level >= least);
            let queues = (0u16..).map(QueueId).zip(&site.queues).filter(|(_, queue)| queue.skills.iter().all(has));
            serves.insert(agent.agent, queues.map(|(id, _)| id).collect());
        }
    }
    serves
}

#[cfg(test)]
pub(super) mod tests;
