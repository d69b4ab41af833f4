//! What must be true of every run: who may end a call, that facts balance, and that nobody is held twice or forgotten.

use jiesu::base::fact::{CallRecord, End, EndedBy, Fact, OrderOpened, Stage};
use jiesu::base::{AgentId, CallId, ContactId, Mono, OrderId, Wall};
use jiesu::call::event::CallView;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longer than any message between two parts is under way.
const CROSSING_MAX: Duration = Duration::from_secs(1);
/// A waiting caller is named to the ACD again every 30 s, so nobody may be missing there for longer.
const MISSING_MAX: Duration = Duration::from_secs(40);
/// An apology is heard outside every line, for no longer than this.
const APOLOGY_MAX: Duration = Duration::from_secs(31);

/// All that was told of calls so far.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<ContactId, CallRecord>,
    orders: BTreeMap<OrderId, OrderOpened>,
    contacts: BTreeMap<Box<str>, ContactId>,
    views: BTreeMap<CallId, CallView>,
    by_contact: BTreeMap<ContactId, CallId>,
    doubled: BTreeMap<AgentId, Mono>,
    missing: BTreeMap<CallId, Mono>,
    held: BTreeMap<AgentId, Mono>,
    unbooked: BTreeMap<CallId, Mono>,
    /// Calls that were let go by the ACD.
    pub released: BTreeMap<CallId, Mono>,
    /// Calls that the world asked to end.
    pub operator: BTreeSet<CallId>,
    /// Calls whose shard crashed while they lived: their revisions may repeat.
    pub shaken: BTreeSet<ContactId>,
    pub answered: u64,
    pub ended: BTreeMap<String, u64>,
}

/// What the world knows of a call's two sides, to judge its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sides {
    /// The citizen sent BYE or CANCEL.
    pub caller_left: bool,
    /// The citizen vanished, or broke off without a word.
    pub caller_failed: bool,
    /// Some agent's phone sent BYE in a talk of this contact.
    pub agent_left: bool,
    /// The node drains.
    pub draining: bool,
    /// Ports may be refused or calls limited in this run.
    pub scarce: bool,
}

impl Ledger {
    /// A fact. Returns the record when it ends a call for the first time.
    pub fn fact(&mut self, fact: &Fact) -> Option<CallRecord> {
        match fact {
            Fact::Call(record) => self.call(record),
            Fact::Order(order) => {
                self.order(order);
                None
            }
            Fact::Recording(_) | Fact::Agent(_) | Fact::Audit(_) | Fact::Blocked(_) => None,
        }
    }

    fn call(&mut self, record: &CallRecord) -> Option<CallRecord> {
        let contact = *self.contacts.entry(record.sip_call_id.clone()).or_insert(record.contact);
        assert_eq!(contact, record.contact, "one contact for the INVITE {}", record.sip_call_id);
        let shaken = self.shaken.contains(&contact);
        let before = self.records.insert(contact, record.clone());
        if let Some(before) = &before {
            assert!(shaken || record.revision == before.revision + 1, "revisions count up: {before:?} {record:?}");
            assert!(shaken || before.end.is_none(), "nothing is told after the end: {record:?}");
            assert!(before.order.is_none() || before.order == record.order, "one order a contact: {record:?}");
        }
        assert_eq!(record.order.is_some(), record.times.queued.is_some(), "queued means an order: {record:?}");
        monotone(record);
        record.end.filter(|_| before.is_none_or(|before| before.end.is_none())).map(|_| record.clone())
    }

    fn order(&mut self, order: &OrderOpened) {
        let shaken = self.shaken.contains(&order.contact);
        if let Some(before) = self.orders.insert(order.order, order.clone()) {
            assert_eq!(before.contact, order.contact, "an order is of one contact");
            assert!(shaken || order.revision >= before.revision, "an order's revisions count up: {order:?}");
        }
    }

    /// A call as it is shown.
    pub fn show(&mut self, view: CallView) {
        match view.stage {
            None => {
                self.views.remove(&view.call);
            }
            Some(_) => {
                self.by_contact.insert(view.contact, view.call);
                self.views.insert(view.call, view);
            }
        }
    }

    /// The calls now shown.
    pub fn views(&self) -> impl Iterator<Item = &CallView> {
        self.views.values()
    }

    /// Where a contact's call stood last.
    pub fn call_of(&self, contact: ContactId) -> Option<CallId> {
        self.by_contact.get(&contact).copied()
    }

    /// Whether a call that ended so was allowed to.
    pub fn judge(&mut self, record: &CallRecord, end: End, sides: Sides) {
        let call = self.call_of(record.contact);
        let among = |set: &BTreeSet<CallId>| call.is_some_and(|call| set.contains(&call));
        let lawful = match end.by {
            EndedBy::Caller => sides.caller_left,
            EndedBy::Agent => sides.agent_left,
            EndedBy::Operator => among(&self.operator),
            EndedBy::Flow => end.stage == Stage::Ivr || call.is_some_and(|call| self.released.contains_key(&call)),
            EndedBy::Refused => sides.draining || sides.scarce,
            EndedBy::Network => sides.caller_failed,
            EndedBy::Fault => false,
        };
        assert!(lawful, "a caller was dropped without a reason: {end:?} with {sides:?} of {record:?}");
        *self.ended.entry(format!("{:?} by {:?}", end.stage, end.by)).or_default() += 1;
        self.answered += u64::from(record.times.answered.is_some());
    }

    /// After a crash what stood crossed begins to count anew.
    pub fn begin_anew(&mut self) {
        self.doubled.clear();
        self.held.clear();
        self.unbooked.clear();
        self.missing.clear();
    }

    /// No agent is with two callers, no agent is `held` for nobody, nobody talks to an agent who is not, and nobody waits whom their ACD does not know in the
    /// queue of that name: `waits` says whether it does.
    pub fn check(&mut self, now: Mono, held: &BTreeSet<AgentId>, waits: impl Fn(&CallView, Option<&Box<str>>) -> bool) {
        let mut with: BTreeMap<AgentId, u32> = BTreeMap::new();
        for view in self.views.values() {
            if let Some(agent) = view.agent {
                *with.entry(agent).or_default() += 1;
            }
        }
        let talks = self.views.values().filter(|view| view.stage == Some(Stage::Talking));
        let unbooked = talks.filter(|view| view.agent.is_some_and(|agent| !held.contains(&agent)));
        let unbooked: Vec<CallId> = unbooked.map(|view| view.call).collect();
        self.unbooked.retain(|call, _| unbooked.contains(call));
        for call in unbooked {
            let since = *self.unbooked.entry(call).or_insert(now);
            assert!(now.since(since) < CROSSING_MAX, "talks to an agent who is free: {:?}", self.views.get(&call));
        }
        let idle: Vec<AgentId> = held.iter().copied().filter(|agent| !with.contains_key(agent)).collect();
        self.held.retain(|agent, _| idle.contains(agent));
        for agent in idle {
            let since = *self.held.entry(agent).or_insert(now);
            assert!(now.since(since) < CROSSING_MAX, "{agent:?} is held for nobody since {since:?}");
        }
        with.retain(|_, calls| *calls > 1);
        self.doubled.retain(|agent, _| with.contains_key(agent));
        for agent in with.into_keys() {
            let since = *self.doubled.entry(agent).or_insert(now);
            assert!(now.since(since) < CROSSING_MAX, "{agent:?} is with two callers: {:?}", self.with(agent));
        }
        let apologised =
            |view: &CallView| self.released.get(&view.call).is_some_and(|since| now.since(*since) < APOLOGY_MAX);
        let queue = |view: &CallView| self.records.get(&view.contact).and_then(|record| record.queue.as_ref());
        let waiting = self
            .views
            .values()
            .filter(|view| view.stage == Some(Stage::Queued) && !apologised(view) && !waits(view, queue(view)));
        let waiting: Vec<CallId> = waiting.map(|view| view.call).collect();
        self.missing.retain(|call, _| waiting.contains(call));
        for call in waiting {
            let since = *self.missing.entry(call).or_insert(now);
            assert!(now.since(since) < MISSING_MAX, "{:?} waits and is in no line", self.views.get(&call));
        }
    }

    fn with(&self, agent: AgentId) -> Vec<&CallView> {
        self.views.values().filter(|view| view.agent == Some(agent)).collect()
    }

    /// All is over.
    pub fn close(&self) {
        assert!(self.views.is_empty(), "calls that never ended: {:?}", self.views);
        for record in self.records.values() {
            assert!(record.end.is_some() && record.times.ended.is_some(), "a record without an end: {record:?}");
        }
        for order in self.orders.values() {
            assert!(order.ended.is_some(), "an order whose call never ended: {order:?}");
        }
    }

    /// Contacts told of.
    pub fn contacts(&self) -> usize {
        self.records.len()
    }
}

/// Times of one call never run backwards.
fn monotone(record: &CallRecord) {
    let times = &record.times;
    let steps: [Option<Wall>; 7] =
        [Some(times.offered), times.connected, times.ivr_in, times.ivr_out, times.queued, times.answered, times.ended];
    let told: Vec<Wall> = steps.into_iter().flatten().collect();
    assert!(told.is_sorted(), "times run backwards: {record:?}");
    let answer = [times.queued, times.assigned, times.ringing, times.answered];
    assert!(answer.into_iter().flatten().is_sorted(), "an answer before its ringing: {record:?}");
}
