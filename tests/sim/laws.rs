//! What must be true of every run: who may end a call, that facts balance, and that nobody is held twice or forgotten.

use super::desks::Desks;
use super::site::{Person, Site};
use jiesu::acd::Acd;
use jiesu::acd::event::Lease;
use jiesu::base::fact::{CallRecord, End, EndedBy, Fact, LegQuality, OrderOpened, Party, Stage};
use jiesu::base::{AgentId, CallId, ContactId, LegId, Mono, Now, OrderId, ShardId, Wall};
use jiesu::call::event::CallView;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A waiting caller is named to the ACD again every 30 s, so nobody may be missing there for longer.
const MISSING_MAX: Duration = Duration::from_secs(40);
/// To look for everybody in their line takes long, and who is missing is so for long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An apology is heard outside every line, for no longer than this.
const APOLOGY_MAX: Duration = Duration::from_secs(31);

/// All that was told of calls so far.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<ContactId, CallRecord>,
    orders: BTreeMap<OrderId, OrderOpened>,
    legs: BTreeMap<(ContactId, LegId), Party>,
    ordered: BTreeMap<ContactId, OrderId>,
    contacts: BTreeMap<Box<str>, ContactId>,
    /// When a shard crashed last.
    crashed: Option<Wall>,
    views: BTreeMap<CallId, CallView>,
    by_contact: BTreeMap<ContactId, CallId>,
    desks: Desks,
    /// When the lines were last looked at.
    looked: Mono,
    /// Who waits and is in no line, since when; whatever they show makes it count anew.
    missing: BTreeMap<CallId, Mono>,
    /// Calls that were let go by the ACD.
    pub released: BTreeMap<CallId, Mono>,
    /// Calls that the world asked to end.
    pub operator: BTreeSet<CallId>,
    /// Calls whose shard went back in time: their revisions may repeat.
    shaken: BTreeSet<ContactId>,
    /// Calls that lived on a shard that lies dead.
    limbo: BTreeMap<CallId, CallView>,
    /// A shard that went back in time finds itself.
    going_back: bool,
    /// Calls that went down with their shard, being newer than its snapshot: nothing more may be heard of them.
    lost: BTreeSet<ContactId>,
    /// Whose every call's place was: none is given twice.
    tenants: BTreeMap<CallId, ContactId>,
    pub answered: u64,
    pub ended: BTreeMap<String, u64>,
}

/// What the queues' owners believe.
#[derive(Clone, Copy, Debug)]
pub struct Beliefs<'a> {
    pub acds: &'a [Acd],
    pub site: &'a Site,
    pub people: &'a [Person],
}

impl Beliefs<'_> {
    fn lease(&self, person: &Person) -> Option<Lease> {
        self.acds[person.site.index()].agent(person.agent)?.lease
    }

    fn waits(&self, view: &CallView, queue: Option<&str>) -> bool {
        let queues = &self.site.acd[view.site.index()].queues;
        let position = self.acds[view.site.index()].position(view.call);
        position.and_then(|it| it.queue).is_some_and(|it| Some(&*queues[it.index()].name) == queue)
    }
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
    /// No port was to be had for this call.
    pub ports_refused: bool,
    /// A shard has no room for another call.
    pub full: bool,
    /// So much is lost that all repetitions of one message may be.
    pub unheard: bool,
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
            Fact::Leg(leg) => {
                self.leg(leg);
                None
            }
            Fact::Recording(_) | Fact::Agent(_) | Fact::Audit(_) | Fact::Blocked(_) | Fact::Callback(_) => None,
        }
    }

    fn call(&mut self, record: &CallRecord) -> Option<CallRecord> {
        let contact = record.contact;
        let before = self.contacts.insert(record.sip_call_id.clone(), contact).filter(|before| *before != contact);
        let lawful = before.is_none_or(|before| self.refused_before_a_crash(before));
        assert!(lawful, "one contact for the INVITE {}: {before:?} {contact:?}", record.sip_call_id);
        self.heard_of(contact);
        let shaken = self.shaken.contains(&contact);
        let before = self.records.insert(contact, record.clone());
        if let Some(before) = &before {
            assert!(
                record.revision > before.revision,
                "the newest telling has the highest revision: {before:?} {record:?}"
            );
            assert!(shaken || before.end.is_none(), "nothing is told after the end: {record:?}");
            let forgotten = shaken && record.order.is_none();
            let one = before.order.is_none() || before.order == record.order || forgotten;
            assert!(one, "one order a contact: {record:?}");
        }
        assert_eq!(record.order.is_some(), record.times.queued.is_some(), "queued means an order: {record:?}");
        monotone(record);
        chosen(record);
        record.end.filter(|_| before.is_none_or(|before| before.end.is_none())).map(|_| record.clone())
    }

    fn leg(&mut self, leg: &LegQuality) {
        let first = self.legs.insert((leg.contact, leg.leg), leg.party.clone()).is_none();
        assert!(first || self.shaken.contains(&leg.contact), "a leg is told once: {leg:?}");
        assert!(self.records.contains_key(&leg.contact), "nobody knows whose leg this is: {leg:?}");
        assert!(leg.opened <= leg.closed, "{leg:?}");
        for way in [leg.received, leg.sent] {
            assert!(way.mos.is_none_or(|mos| (100..=450).contains(&mos) && way.packets > 0), "{leg:?}");
        }
    }

    /// Nothing is kept of who is refused: repeated after a crash, the INVITE is a call of its own, on its own merits.
    fn refused_before_a_crash(&self, contact: ContactId) -> bool {
        let ended = self.records.get(&contact).and_then(|record| Some((record.end?, record.times.ended?)));
        ended.is_some_and(|(end, at)| end.by == EndedBy::Refused && self.crashed.is_some_and(|crash| crash >= at))
    }

    fn heard_of(&mut self, contact: ContactId) {
        assert!(!self.lost.contains(&contact), "a call that was lost speaks again: {contact:?}");
        if self.going_back {
            self.shaken.insert(contact);
        }
    }

    fn order(&mut self, order: &OrderOpened) {
        self.heard_of(order.contact);
        if let Some(before) = self.orders.insert(order.order, order.clone()) {
            assert_eq!(before.contact, order.contact, "an order is of one contact");
            assert!(order.revision > before.revision, "the newest telling has the highest revision: {order:?}");
        }
        let one = *self.ordered.entry(order.contact).or_insert(order.order);
        let shaken = self.shaken.contains(&order.contact);
        assert!(shaken || one == order.order, "one order a contact: {order:?}");
    }

    /// A call as it is shown.
    pub fn show(&mut self, now: Mono, view: CallView) {
        self.heard_of(view.contact);
        self.desks.shown(now, &view);
        self.missing.remove(&view.call);
        let tenant = *self.tenants.entry(view.call).or_insert(view.contact);
        assert_eq!(tenant, view.contact, "{:?} is given twice", view.call);
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
            // Nobody is transferred here.
            EndedBy::Target => false,
            EndedBy::Operator => among(&self.operator),
            EndedBy::Flow => end.stage == Stage::Ivr || call.is_some_and(|call| self.released.contains_key(&call)),
            EndedBy::Refused => sides.draining || sides.ports_refused || sides.full,
            EndedBy::Network => sides.caller_failed || sides.unheard || self.shaken.contains(&record.contact),
            // A call as it was some time ago may have lost its ports since.
            EndedBy::Fault => self.shaken.contains(&record.contact),
        };
        assert!(lawful, "a caller was dropped without a reason: {end:?} with {sides:?} of {record:?}");
        *self.ended.entry(format!("{:?} by {:?}", end.stage, end.by)).or_default() += 1;
        self.answered += u64::from(record.times.answered.is_some());
    }

    /// A shard dies: what its calls were is what the restored ones must be.
    pub fn crash(&mut self, now: Now, shard: ShardId) {
        self.crashed = Some(now.wall);
        self.limbo = self.views.extract_if(.., |call, _| call.shard == shard).collect();
        for call in self.limbo.keys() {
            self.desks.left(now.mono, *call);
        }
    }

    /// It is about to find itself, perhaps as it was some time ago.
    pub fn reborn(&mut self, stale: bool) {
        self.going_back = stale;
    }

    /// It has found itself. Returns how many calls were lost: none, unless its snapshot was behind.
    pub fn settle_crash(&mut self, shard: ShardId, stale: bool) -> u64 {
        self.going_back = false;
        let limbo = std::mem::take(&mut self.limbo);
        let ended = |view: &CallView| self.records.get(&view.contact).is_some_and(|record| record.end.is_some());
        let gone = limbo.into_values().filter(|view| !self.views.contains_key(&view.call) && !ended(view));
        let gone: Vec<ContactId> = gone.map(|view| view.contact).collect();
        assert!(stale || gone.is_empty(), "calls were lost with an up-to-date snapshot: {gone:?}");
        let found = self.views.values().filter(|view| stale && view.call.shard == shard);
        self.shaken.extend(found.map(|view| view.contact));
        let lost = gone.len() as u64;
        self.lost.extend(gone);
        lost
    }

    /// After a crash what stood crossed begins to count anew.
    pub fn begin_anew(&mut self, now: Mono) {
        self.desks.begin_anew(now);
        self.missing.clear();
    }

    /// The lease that the queues' owner holds an agent by now.
    pub fn held(&mut self, now: Mono, agent: AgentId, lease: Option<Lease>) {
        self.desks.held(now, agent, lease);
    }

    /// Agents and callers fit together, and nobody waits whom their ACD does not know in the queue of that name.
    pub fn check(&mut self, now: Mono, beliefs: &Beliefs) {
        self.desks.check(now);
        if now.since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        // An owner may change one booking for another of the same agent without a word.
        for person in beliefs.people {
            self.desks.held(now, person.agent, beliefs.lease(person));
        }
        let waits = |view: &CallView, queue: Option<&str>| beliefs.waits(view, queue);
        let apologised =
            |view: &CallView| self.released.get(&view.call).is_some_and(|since| now.since(*since) < APOLOGY_MAX);
        let queue = |view: &CallView| self.records.get(&view.contact).and_then(|record| record.queue.as_deref());
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

    /// All is over.
    pub fn close(&self) {
        assert!(self.views.is_empty(), "calls that never ended: {:?}", self.views);
        for record in self.records.values().filter(|record| !self.lost.contains(&record.contact)) {
            assert!(record.end.is_some() && record.times.ended.is_some(), "a record without an end: {record:?}");
        }
        // A crash may take with it what the media of a leg were like; nothing else may.
        let since = |wall: Wall| self.crashed.is_none_or(|crash| wall > crash);
        let agreed = |record: &&CallRecord| record.times.ivr_in.is_some() && since(record.times.offered);
        let heard: BTreeSet<ContactId> = self.legs.keys().map(|(contact, _)| *contact).collect();
        for record in self.records.values().filter(agreed) {
            assert!(heard.contains(&record.contact), "nobody knows how it sounded: {record:?}");
        }
        // A call as it was before it was queued may end in the flow: its order is then an agent's to close, as any draft.
        let forgotten = |order: &OrderOpened| {
            self.shaken.contains(&order.contact)
                && self.records.get(&order.contact).is_some_and(|it| it.order.is_none())
        };
        let known = |order: &&OrderOpened| !self.lost.contains(&order.contact) && !forgotten(order);
        for order in self.orders.values().filter(known) {
            assert!(order.ended.is_some(), "an order whose call never ended: {order:?}");
        }
    }

    /// Whether a citizen's INVITE became a contact.
    pub fn knows(&self, sip_call_id: &str) -> bool {
        self.contacts.contains_key(sip_call_id)
    }

    /// Contacts told of.
    pub fn contacts(&self) -> usize {
        self.records.len()
    }
}

/// What was pressed in the menu says where the caller waits, whatever else happens on the way.
fn chosen(record: &CallRecord) {
    let pressed = record.collected.iter().rev().find(|(node, _)| &**node == "menu").map(|(_, digits)| &**digits);
    // Zero asks for a person everywhere, even while the farewell of 9 plays.
    let wanted = if pressed == Some("1") { "social" } else { "general" };
    let queue = record.queue.as_deref();
    assert!(queue.is_none_or(|queue| queue == wanted), "the choice decides the queue: {record:?}");
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
