//! A table of calls, a shard's or others': dense slots, each with the generation of its tenant.
//!
//! An id is never given twice, neither to the next tenant of a slot nor after a restore: what the crash swallowed keeps its
//! ids for good. Knows nothing of calls.

use super::id::{CallId, ShardId};

/// More tenants than one slot can have had between the last snapshot and a crash.
const LOST_TENANTS_MAX: u32 = 1 << 16;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Table<T> {
    shard: ShardId,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Generation of the first tenant of a new slot.
    floor: u32,
}

impl<T> Table<T> {
    pub(crate) fn new(shard: ShardId) -> Table<T> {
        Table { shard, slots: Vec::new(), free: Vec::new(), floor: 1 }
    }

    /// A table with these tenants in their old places; `generation_max` is that of the table they come from.
    pub(crate) fn restore(shard: ShardId, generation_max: u32, tenants: Vec<(CallId, T)>) -> Table<T> {
        let floor = generation_max.saturating_add(LOST_TENANTS_MAX);
        let mut table = Table { shard, slots: Vec::new(), free: Vec::new(), floor };
        for (id, tenant) in tenants {
            let slot = id.slot as usize;
            while table.slots.len() <= slot {
                table.slots.push(Slot { generation: floor, tenant: None });
            }
            table.slots[slot] = Slot { generation: id.generation, tenant: Some(tenant) };
        }
        let vacant = (0u32..).zip(&table.slots).filter(|(_, slot)| slot.tenant.is_none());
        table.free = vacant.map(|(slot, _)| slot).collect();
        table
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The highest generation given so far.
    pub(crate) fn generation_max(&self) -> u32 {
        self.slots.iter().map(|slot| slot.generation).fold(self.floor, u32::max)
    }

    pub(crate) fn insert(&mut self, tenant: impl FnOnce(CallId) -> T) -> CallId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: self.floor, tenant: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 calls")
        });
        let place = &mut self.slots[slot as usize];
        let id = CallId { shard: self.shard, slot, generation: place.generation };
        place.tenant = Some(tenant(id));
        id
    }

    pub(crate) fn at(&self, id: CallId) -> Option<&T> {
        self.slots.get(id.slot as usize).filter(|slot| self.is_of(slot, id))?.tenant.as_ref()
    }

    pub(crate) fn at_mut(&mut self, id: CallId) -> Option<&mut T> {
        let shard = self.shard;
        let slot = self.slots.get_mut(id.slot as usize)?;
        if id.shard == shard && slot.generation == id.generation { slot.tenant.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Option<T> {
        let tenant = self.at_mut(id).is_some().then(|| self.slots[id.slot as usize].tenant.take())?;
        // A tenant that came back from a snapshot may have been followed by others that did not.
        self.slots[id.slot as usize].generation = (id.generation + 1).max(self.floor);
        self.free.push(id.slot);
        tenant
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &T)> {
        let id = |slot, generation| CallId { shard: self.shard, slot, generation };
        (0u32..).zip(&self.slots).filter_map(move |(at, slot)| Some((id(at, slot.generation), slot.tenant.as_ref()?)))
    }

    fn is_of(&self, slot: &Slot<T>, id: CallId) -> bool {
        id.shard == self.shard && slot.generation == id.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_not_even_after_a_restore() {
        let mut table = Table::new(ShardId(2));
        let first = table.insert(|_| 'a');
        let second = table.insert(|id| if id.slot == 1 { 'b' } else { '?' });
        assert_eq!((table.remove(first), table.remove(first), table.at(first)), (Some('a'), None, None));
        let third = table.insert(|_| 'c');
        assert_eq!((third.slot, third.generation), (first.slot, first.generation + 1));
        let kept = vec![(second, 'b')];
        let mut restored = Table::restore(ShardId(2), table.generation_max(), kept);
        // What came after the snapshot is lost, and its ids with it.
        let lost = [third, table.insert(|_| 'd')];
        let new: Vec<CallId> = (0..4).map(|_| restored.insert(|_| 'n')).collect();
        assert_eq!((restored.at(second), restored.len()), (Some(&'b'), 5));
        assert!(new.iter().all(|id| !lost.contains(id) && *id != first && *id != second), "{new:?}");
        assert_eq!(restored.at_mut(CallId { shard: ShardId(1), ..second }), None);
    }
}
