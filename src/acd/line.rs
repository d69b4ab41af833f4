//! The line: who waits, in which order, bucketed by need.
//!
//! The order is a fixed key: the moment of arrival minus the bonus of priority. Every caller ages at the same speed, so
//! nothing is ever re-sorted, and a caller can be overtaken only by those who arrive within the difference of their
//! bonuses: nobody starves. Callers whom nobody can serve lie in buckets that no event touches.
//! Owns the callers' table and order; never looks at agents.

use super::buckets::Buckets;
use super::event::{Enqueue, Lease, Patience, QueueSettings};
use super::skills::Need;
use crate::base::wheel::TimerId;
use crate::base::{AgentId, CallId, ContactId, Mono, QueueId};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Most slots a shard's call table may have: a call beyond it means a broken id, not a big site.
const SLOTS_MAX: u32 = 1 << 22;
const NONE: u32 = u32::MAX;

/// A caller's place in the order of waiting: lower is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    /// Arrival minus bonus, in nanoseconds of [`Mono`]; below zero for a great bonus soon after start.
    pub(super) key_ns: i64,
    /// Order of coming in, between equals.
    pub(super) ticket: u64,
}

impl Place {
    pub(super) const FIRST: Place = Place { key_ns: i64::MIN, ticket: 0 };
    pub(super) const LAST: Place = Place { key_ns: i64::MAX, ticket: u64::MAX };

    /// Where a caller stands who came at `since` with `priority` of their own.
    pub(super) fn of(queue: &QueueSettings, priority: u8, since: Mono, ticket: u64) -> Place {
        let points = u64::from(queue.priority) + u64::from(priority);
        let ageing_ns = u64::try_from(queue.ageing.as_nanos()).unwrap_or(u64::MAX);
        let bonus_ns = i64::try_from(ageing_ns.saturating_mul(points)).unwrap_or(i64::MAX);
        Place { key_ns: i64::try_from(since.0).unwrap_or(i64::MAX).saturating_sub(bonus_ns), ticket }
    }
}

/// The bookings by which agents are rung for one caller, in the order in which they were made: never none. One costs no
/// allocation.
pub(super) type Leases = SmallVec<[Lease; 1]>;

/// What a caller in the line is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// Between two decisions of one step; never seen from outside.
    Between,
    /// In their bucket.
    Waiting,
    /// Agents are being rung for them.
    Offered(Leases),
}

impl Standing {
    /// The bookings of one who is no more in the line.
    pub(super) fn leases(self) -> Leases {
        match self {
            Standing::Offered(leases) => leases,
            Standing::Waiting | Standing::Between => Leases::new(),
        }
    }
}

/// One caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Caller {
    pub(super) call: CallId,
    pub(super) contact: ContactId,
    /// As the call asked; `None` once a reload took it away.
    pub(super) asked: Option<QueueId>,
    /// Where they stand; `None` once a reload took the queue away while an agent was being rung.
    pub(super) queue: Option<QueueId>,
    /// How many of the queue's lesser needs are in force.
    pub(super) stage: u8,
    /// Of their own.
    pub(super) priority: u8,
    pub(super) place: Place,
    pub(super) since: Mono,
    /// When waiting ends by the queue's limit; applies only while nobody is rung for them.
    pub(super) wait_until: Option<Mono>,
    /// Set exactly while they wait and time will change something.
    pub(super) timer: Option<TimerId>,
    pub(super) standing: Standing,
    /// Nobody is rung beside those who are.
    pub(super) closed: bool,
    /// Whom the queue prefers for them; `None` once the strategy has taken over.
    pub(super) preferred: Option<AgentId>,
    pub(super) patience: Patience,
    /// Whom alone they wait for: set exactly while they wait apart from all buckets.
    pub(super) awaits: Option<AgentId>,
    /// Further agents may be rung for them: they stand in the bucket of this need for that.
    pub(super) open: Option<Need>,
}

impl Caller {
    /// One who has no place yet.
    pub(super) fn new(caller: &Enqueue, place: Place) -> Caller {
        Caller {
            call: caller.call,
            contact: caller.contact,
            asked: Some(caller.queue),
            queue: Some(caller.queue),
            stage: 0,
            priority: caller.priority,
            place,
            since: caller.since,
            wait_until: None,
            timer: None,
            standing: Standing::Between,
            closed: false,
            preferred: caller.preferred,
            patience: caller.patience,
            awaits: None,
            open: None,
        }
    }

    /// The bookings for them.
    pub(super) fn leases(&self) -> &[Lease] {
        match &self.standing {
            Standing::Offered(leases) => leases,
            Standing::Waiting | Standing::Between => &[],
        }
    }
}

/// All callers of a site who have no agent yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Line {
    callers: Vec<Option<Caller>>,
    free: Vec<u32>,
    /// By shard and slot of the call: a call's slot is dense, so this is one load, not a hash.
    by_call: Vec<Vec<u32>>,
    /// Who waits.
    buckets: Buckets,
    /// Who waits for one agent alone.
    apart: BTreeMap<(AgentId, Place), u32>,
    /// Who is being rung for by fewer agents than the queue rings together.
    open: Buckets,
    /// By queue: how many wait.
    waiting: Vec<usize>,
    tickets: u64,
}

impl Line {
    /// An empty line.
    pub(super) fn new(needs: usize, queues: usize) -> Self {
        Line {
            callers: Vec::new(),
            free: Vec::new(),
            by_call: Vec::new(),
            buckets: Buckets::new(needs),
            apart: BTreeMap::new(),
            open: Buckets::new(needs),
            waiting: vec![0; queues],
            tickets: 0,
        }
    }

    /// Whether a call's id is one that a shard's dense table can have.
    pub(super) fn fits(call: CallId) -> bool {
        call.slot < SLOTS_MAX
    }

    /// The next number between equals.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// The last number given.
    pub(super) fn tickets(&self) -> u64 {
        self.tickets
    }

    /// Goes on counting from where another line stopped.
    pub(super) fn resume(&mut self, tickets: u64) {
        self.tickets = tickets;
    }

    /// The slot of whoever was the call's slot's last tenant to come in, whatever their generation.
    pub(super) fn tenant(&self, call: CallId) -> Option<u32> {
        let slot = *self.by_call.get(usize::from(call.shard.0))?.get(call.slot as usize)?;
        (slot != NONE).then_some(slot)
    }

    /// The slot of `call`.
    pub(super) fn find(&self, call: CallId) -> Option<u32> {
        self.tenant(call).filter(|&slot| self.caller(slot).call == call)
    }

    /// The caller in `slot`.
    pub(super) fn caller(&self, slot: u32) -> &Caller {
        self.callers[slot as usize].as_ref().expect("a slot in use is named only while its caller is here")
    }

    /// The caller in `slot`, to be changed.
    pub(super) fn caller_mut(&mut self, slot: u32) -> &mut Caller {
        self.callers[slot as usize].as_mut().expect("a slot in use is named only while its caller is here")
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.callers.len() - self.free.len()
    }

    /// Everybody, in order of slots.
    pub(super) fn callers(&self) -> impl Iterator<Item = (u32, &Caller)> {
        (0u32..).zip(&self.callers).filter_map(|(slot, caller)| caller.as_ref().map(|caller| (slot, caller)))
    }

    /// Takes a caller in, not yet waiting.
    pub(super) fn admit(&mut self, caller: Caller) -> u32 {
        let (shard, at) = (usize::from(caller.call.shard.0), caller.call.slot);
        assert!(Self::fits(caller.call), "a call's slot is dense");
        debug_assert!(self.tenant(caller.call).is_none(), "a call stands in the line once");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.callers.push(None);
            self.callers.len() as u32 - 1
        });
        self.callers[slot as usize] = Some(caller);
        if self.by_call.len() <= shard {
            self.by_call.resize(shard + 1, Vec::new());
        }
        let slots = &mut self.by_call[shard];
        if slots.len() <= at as usize {
            slots.resize(at as usize + 1, NONE);
        }
        slots[at as usize] = slot;
        slot
    }

    /// Lets a caller go who is not waiting.
    pub(super) fn dismiss(&mut self, slot: u32) -> Caller {
        self.shut(slot);
        let caller = self.callers[slot as usize].take().expect("only who is here can go");
        debug_assert_ne!(caller.standing, Standing::Waiting, "lifted first");
        self.by_call[usize::from(caller.call.shard.0)][caller.call.slot as usize] = NONE;
        self.free.push(slot);
        caller
    }

    /// Puts a caller into the bucket of `need`, by their place; one who waits for one agent alone is set apart.
    pub(super) fn line_up(&mut self, slot: u32, need: Need) {
        let caller = self.caller_mut(slot);
        caller.standing = Standing::Waiting;
        let (place, queue, awaits) = (caller.place, caller.queue, caller.awaits);
        match awaits {
            Some(agent) => _ = self.apart.insert((agent, place), slot),
            None => self.buckets.insert(need, place, slot),
        }
        if let Some(queue) = queue {
            self.waiting[queue.index()] += 1;
        }
    }

    /// Takes a waiting caller out of the bucket of `need`, or from where they stand apart.
    pub(super) fn lift(&mut self, slot: u32, need: Need) {
        let caller = self.caller_mut(slot);
        caller.standing = Standing::Between;
        let (place, queue, awaits) = (caller.place, caller.queue, caller.awaits.take());
        match awaits {
            Some(agent) => _ = self.apart.remove(&(agent, place)),
            None => self.buckets.remove(need, slot),
        }
        if let Some(queue) = queue {
            self.waiting[queue.index()] -= 1;
        }
    }

    /// Notes a booking for a caller who is not waiting.
    pub(super) fn book(&mut self, slot: u32, lease: Lease) {
        let caller = self.caller_mut(slot);
        match &mut caller.standing {
            Standing::Offered(leases) => leases.push(lease),
            Standing::Between => caller.standing = Standing::Offered(Leases::from_buf([lease])),
            Standing::Waiting => unreachable!("lifted first"),
        }
    }

    /// Forgets a booking and rings nobody else meanwhile; with the last one the caller has no place any more. Returns
    /// whether others are left.
    pub(super) fn part(&mut self, slot: u32, lease: Lease) -> bool {
        self.shut(slot);
        let caller = self.caller_mut(slot);
        if let Standing::Offered(leases) = &mut caller.standing {
            leases.retain(|other| *other != lease);
            if !leases.is_empty() {
                return true;
            }
        }
        caller.standing = Standing::Between;
        false
    }

    /// Further agents may be rung for a caller who is being rung for.
    pub(super) fn open(&mut self, slot: u32, need: Need) {
        let caller = self.caller_mut(slot);
        debug_assert!(matches!(caller.standing, Standing::Offered(_)) && caller.open.is_none());
        caller.open = Some(need);
        let place = caller.place;
        self.open.insert(need, place, slot);
    }

    /// No further agent may be rung for a caller.
    pub(super) fn shut(&mut self, slot: u32) {
        let caller = self.caller_mut(slot);
        if let Some(need) = caller.open.take() {
            self.open.remove(need, slot);
        }
    }

    /// Who has waited longest, bonus counted, among all those with one of these needs and those who wait for `agent` alone.
    #[inline]
    pub(super) fn first(&self, agent: AgentId, serves: &[u64]) -> Option<u32> {
        let first = self.buckets.first(serves);
        if self.apart.is_empty() {
            return first;
        }
        let apart = self.apart_for(agent).next();
        apart.into_iter().chain(first).min_by_key(|&slot| self.caller(slot).place)
    }

    /// Those who wait for `agent` alone, in order.
    pub(super) fn apart_for(&self, agent: AgentId) -> impl Iterator<Item = u32> + '_ {
        self.apart.range((agent, Place::FIRST)..=(agent, Place::LAST)).map(|(_, &slot)| slot)
    }

    /// Those who wait for one agent alone.
    pub(super) fn apart(&self) -> impl Iterator<Item = (Place, u32)> + '_ {
        self.apart.iter().map(|(&(_, place), &slot)| (place, slot))
    }

    /// The same among those for whom one more agent may be rung.
    #[inline]
    pub(super) fn first_open(&self, serves: &[u64]) -> Option<u32> {
        self.open.first(serves)
    }

    /// How many wait in `queue`.
    pub(super) fn waiting(&self, queue: QueueId) -> usize {
        self.waiting.get(queue.index()).copied().unwrap_or(0)
    }

    /// Those who wait for `need` and stand before `place`, in no order.
    pub(super) fn before(&self, need: Need, place: Place) -> impl Iterator<Item = (Place, u32)> + '_ {
        self.buckets.before(need, place)
    }

    /// Those who wait for `need`, in no order.
    pub(super) fn bucket(&self, need: Need) -> impl Iterator<Item = (Place, u32)> + '_ {
        self.buckets.of(need)
    }

    /// Empties all buckets and shapes them anew; returns who waited, in order across all of them.
    pub(super) fn reshape(&mut self, needs: usize, queues: usize) -> Vec<u32> {
        let before = std::mem::replace(&mut self.buckets, Buckets::new(needs));
        let lined_up = before.all().map(|(_, place, slot)| (place, slot));
        let mut order: Vec<(Place, u32)> = lined_up.chain(self.apart()).collect();
        order.sort_unstable();
        self.apart.clear();
        self.waiting = vec![0; queues];
        for &(_, slot) in &order {
            let caller = self.caller_mut(slot);
            (caller.standing, caller.awaits) = (Standing::Between, None);
        }
        self.open = Buckets::new(needs);
        self.callers.iter_mut().flatten().for_each(|caller| caller.open = None);
        order.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Those who are being rung for, in order of their places.
    pub(super) fn rung_for(&self) -> Vec<u32> {
        let rung_for = self.callers().filter(|(_, caller)| !caller.leases().is_empty());
        let mut order: Vec<(Place, u32)> = rung_for.map(|(slot, caller)| (caller.place, slot)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The needs for which somebody waits.
    pub(super) fn wanted(&self) -> &[u64] {
        self.buckets.wanted()
    }

    /// The needs for which one more agent would be rung.
    pub(super) fn wanted_beside(&self) -> &[u64] {
        self.open.wanted()
    }

    /// Panics unless the buckets, their heads, the counts and the callers tell the same story.
    pub(super) fn check(&self) {
        let mut counts = vec![0; self.waiting.len()];
        let mut lined_up = 0;
        self.buckets.check();
        self.open.check();
        for (&(agent, place), &slot) in &self.apart {
            let caller = self.caller(slot);
            assert_eq!((caller.awaits, caller.place), (Some(agent), place), "{:?}", caller.call);
        }
        let lined = self.buckets.all().map(|(_, place, slot)| (place, slot, false));
        for (place, slot, apart) in lined.chain(self.apart().map(|(place, slot)| (place, slot, true))) {
            let caller = self.caller(slot);
            assert_eq!((&caller.standing, caller.place), (&Standing::Waiting, place), "{:?}", caller.call);
            assert_eq!(caller.awaits.is_some(), apart, "{:?} stands where they wait", caller.call);
            counts[caller.queue.expect("who waits has a queue").index()] += 1;
            lined_up += 1;
        }
        assert_eq!(counts, self.waiting, "waiting by queue");
        let mut opened = 0;
        for (need, place, slot) in self.open.all() {
            let caller = self.caller(slot);
            assert_eq!((caller.open, caller.place, caller.closed), (Some(need), place, false), "{:?}", caller.call);
            assert!(!caller.leases().is_empty(), "{:?} is open though nobody rings", caller.call);
            opened += 1;
        }
        assert_eq!(self.callers().filter(|(_, caller)| caller.open.is_some()).count(), opened, "open is in a bucket");
        let mut waiting = 0;
        for (slot, caller) in self.callers() {
            assert_eq!(self.find(caller.call), Some(slot), "{:?} is found where it stands", caller.call);
            assert_ne!(caller.standing, Standing::Between, "{:?} is nowhere", caller.call);
            waiting += usize::from(caller.standing == Standing::Waiting);
        }
        assert_eq!(waiting, lined_up, "everybody who waits stands in one bucket");
        assert_eq!(self.callers().count() + self.free.len(), self.callers.len(), "slots are in use or free");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::queue;
    use super::*;
    use crate::base::ShardId;
    use std::time::Duration;

    const NOBODY: AgentId = AgentId(99);

    fn caller(line: &mut Line, slot: u32, key_ns: i64) -> u32 {
        let place = Place { key_ns, ticket: line.ticket() };
        let call = CallId { shard: ShardId(1), slot, generation: 0 };
        let contact = ContactId(u128::from(slot));
        let caller = Enqueue {
            call,
            contact,
            queue: QueueId(0),
            priority: 0,
            since: Mono(0),
            preferred: None,
            patience: Default::default(),
        };
        line.admit(Caller::new(&caller, place))
    }

    #[test]
    fn the_key_is_arrival_minus_bonus_and_saturates() {
        let mut settings = queue("q", &[]);
        settings.priority = 10;
        settings.ageing = Duration::from_secs(2);
        let key = |settings: &QueueSettings, priority, since| Place::of(settings, priority, since, 0).key_ns;
        assert_eq!(key(&settings, 5, Mono::from_ms(100_000)), 70_000_000_000);
        assert_eq!(key(&settings, 5, Mono::from_ms(0)), -30_000_000_000);
        settings.ageing = Duration::MAX;
        assert_eq!(key(&settings, 0, Mono(1)), 1 - i64::MAX);
        assert_eq!(key(&settings, 0, Mono(u64::MAX)), 0);
    }

    #[test]
    fn the_lowest_place_of_the_buckets_asked_for_is_first() {
        let mut line = Line::new(3, 1);
        let slots: Vec<u32> = [(5, 0), (4, 1), (9, 1), (1, 2)]
            .map(|(key, need)| {
                let slot = caller(&mut line, key as u32, key);
                line.line_up(slot, need);
                slot
            })
            .to_vec();
        line.check();
        assert_eq!(
            (line.first(NOBODY, &[0b011]), line.first(NOBODY, &[0b111]), line.first(NOBODY, &[0])),
            (Some(slots[1]), Some(slots[3]), None)
        );
        line.lift(slots[1], 1);
        assert_eq!(line.first(NOBODY, &[0b010]), Some(slots[2]));
        line.dismiss(slots[1]);
        line.check();
        assert_eq!(line.waiting(QueueId(0)), 3);
    }

    #[test]
    fn a_slots_next_tenant_is_somebody_else() {
        let mut line = Line::new(1, 1);
        let slot = caller(&mut line, 7, 1);
        let call = line.caller(slot).call;
        let next = CallId { generation: 1, ..call };
        assert_eq!((line.find(call), line.find(next), line.tenant(next)), (Some(slot), None, Some(slot)));
        line.dismiss(slot);
        assert_eq!((line.find(call), line.tenant(next)), (None, None));
    }
}
