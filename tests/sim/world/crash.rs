//! Crashes of shards and of queue owners, with snapshots that are up to date or behind, and what the node does then.

use super::{Effect, Event, Happening, NODE, Part, SEED, SHARDS, SITES, ToAcd, ToCalls, World};
use jiesu::acd::Acd;
use jiesu::base::{LegId, ShardId, SiteId};
use jiesu::media::event::{Action, Notice};
use jiesu::shard::{Birth, Shard, Snapshot};
use std::collections::BTreeSet;

/// A shard that is about to crash.
#[derive(Debug)]
pub struct Doomed {
    shard: usize,
    snapshot: Snapshot,
    /// Events that it still takes while its snapshot follows; `None` when the snapshot stays behind.
    left: Option<u64>,
}

/// A shard that lies dead.
#[derive(Debug)]
pub struct Dead {
    pub shard: usize,
    snapshot: Snapshot,
    stale: bool,
}

/// A queue owner that lies dead.
#[derive(Debug)]
pub struct DeadAcd {
    pub site: usize,
    snapshot: Option<Box<jiesu::acd::Snapshot>>,
    epoch: u32,
}

impl World {
    /// A shard will soon crash. Its journal follows each change of calls, or, in runs where journals lag, is left behind
    /// by some hundred milliseconds to seconds.
    pub(super) fn doom(&mut self) {
        self.plan_next(self.rates.crash_every, || Happening::Crash);
        if self.dead.is_some() || self.doomed.is_some() {
            return;
        }
        let shard = self.dice.below(SHARDS as u64) as usize;
        let left = if self.rates.stale_ms > 0 {
            let behind = self.dice.ms(100, self.rates.stale_ms);
            self.after(behind, Happening::CrashLate);
            None
        } else {
            Some(self.dice.below(6))
        };
        self.doomed = Some(Doomed { shard, snapshot: self.shards[shard].snapshot(), left });
    }

    pub(super) fn journal(&mut self, shard: usize, changed: bool) {
        let Some(doomed) = self.doomed.as_mut().filter(|doomed| doomed.shard == shard) else { return };
        let Some(left) = &mut doomed.left else { return };
        if changed {
            doomed.snapshot = self.shards[shard].snapshot();
        }
        if *left > 0 {
            *left -= 1;
            return;
        }
        self.die();
    }

    pub(super) fn die(&mut self) {
        let Some(Doomed { shard, snapshot, left }) = self.doomed.take() else { return };
        let bytes = serde_json::to_vec(&snapshot).expect("plain data");
        let read: Snapshot = serde_json::from_slice(&bytes).expect("what was written is read");
        assert_eq!(read, snapshot, "a snapshot is what was written");
        let stale = left.is_none();
        self.note(|| format!("shard {shard} crashes"));
        self.figures.crashes += 1;
        self.figures.stale += u64::from(stale);
        self.ledger.crash(self.now, ShardId(shard as u8));
        self.dead = Some(Dead { shard, snapshot: read, stale });
        let down = self.dice.ms(0, 4_000);
        self.after(down, Happening::Restore(shard));
    }

    pub(super) fn restore(&mut self, shard: usize) {
        let Dead { snapshot, stale, .. } = self.dead.take().expect("only the dead are restored");
        self.note(|| format!("shard {shard} is restored from {snapshot:?}"));
        let birth = Birth { node: NODE, shard: ShardId(shard as u8), seed: [SEED[0], SEED[1] + self.figures.crashes] };
        let settings = (self.site.sip.clone(), self.site.calls.clone());
        let mut effects = Vec::new();
        let restored = Shard::restore(snapshot, birth, settings, self.now, &mut effects);
        self.shards[shard] = restored.expect("a snapshot of our own version");
        self.ledger.reborn(stale);
        self.carry_out(shard, effects);
        self.close_orphans(shard);
        self.tell_of_lost_ports(shard);
        self.tell_bindings(shard);
        self.figures.lost += self.ledger.settle_crash(ShardId(shard as u8), stale);
        self.ledger.begin_anew(self.now.mono);
        self.begun_anew = self.now.mono;
    }

    /// Media legs of calls that are no more.
    fn close_orphans(&mut self, shard: usize) {
        let legs: BTreeSet<LegId> = self.shards[shard].legs().collect();
        let orphans: Vec<LegId> =
            self.ports.keys().filter(|leg| leg.shard().index() == shard && !legs.contains(leg)).copied().collect();
        for leg in orphans {
            self.order_media(shard, Action::Close { leg });
        }
    }

    /// A call as it was some time ago may believe in ports that were closed since.
    fn tell_of_lost_ports(&mut self, shard: usize) {
        let lost: Vec<LegId> = self.shards[shard].legs().filter(|leg| !self.ports.contains_key(leg)).collect();
        for leg in lost {
            let mut effects: Vec<Effect> = Vec::new();
            let closed = Notice::Closed { leg, counters: Default::default() };
            self.shards[shard].handle(self.now, Event::Call(ToCalls::Media(closed)), &mut effects);
            self.carry_out(shard, effects);
        }
    }

    /// The node's file of registrations is newer than the snapshot.
    fn tell_bindings(&mut self, shard: usize) {
        for (owner, bindings) in self.registry.values().cloned().collect::<Vec<_>>() {
            let event = if owner == shard { Event::Restored(bindings) } else { Event::Bindings(bindings) };
            let mut effects = Vec::new();
            self.shards[shard].handle(self.now, event, &mut effects);
            self.carry_out(shard, effects);
        }
    }
}

/// Queue owners.
impl World {
    /// An owner will soon crash; what is kept of it is some moments old, or nothing at all.
    pub(super) fn doom_acd(&mut self) {
        self.plan_next(self.rates.acd_crash_every, || Happening::AcdCrash);
        let site = self.dice.below(SITES as u64) as usize;
        let snapshot = self.dice.permille(500).then(|| Box::new(self.acds[site].snapshot()));
        let behind = self.dice.ms(0, 3_000);
        self.after(behind, Happening::AcdDie(site, snapshot));
    }

    pub(super) fn die_acd(&mut self, site: usize, snapshot: Option<Box<jiesu::acd::Snapshot>>) {
        if self.dead_acd.is_some() {
            return;
        }
        self.note(|| format!("acd {site} crashes"));
        self.figures.acd_crashes += 1;
        self.dead_acd = Some(DeadAcd { site, snapshot, epoch: self.acds[site].epoch() + 1 });
        let down = self.dice.ms(0, 2_000);
        self.after(down, Happening::AcdRestore(site));
    }

    /// A new owner: it is told of the phones, and asks every shard what it holds.
    pub(super) fn restore_acd(&mut self, site: usize) {
        let DeadAcd { snapshot, epoch, .. } = self.dead_acd.take().expect("only the dead are restored");
        self.note(|| format!("acd {site} is restored from {snapshot:?}"));
        let settings = self.site.acd[site].clone();
        let mut commands = Vec::new();
        self.acds[site] = match snapshot {
            Some(snapshot) => {
                Acd::restore(settings, *snapshot, self.now, epoch, &mut commands).expect("our own snapshot")
            }
            None => Acd::new(settings, epoch),
        };
        self.carry_out_acd(site, commands);
        let bindings: Vec<_> = self.registry.values().map(|(_, bindings)| bindings.clone()).collect();
        for bindings in bindings {
            let person = self.plan.person(&bindings.user, &bindings.domain).filter(|it| it.site.index() == site);
            if let Some(agent) = person.map(|person| person.agent) {
                let mut commands = Vec::new();
                let up = !bindings.contacts.is_empty();
                self.acds[site].handle(self.now, ToAcd::Phone { agent, up }, &mut commands);
                self.carry_out_acd(site, commands);
            }
        }
        for shard in 0..SHARDS {
            let ask = ToCalls::Resync { site: SiteId(site as u16) };
            self.tell_shard(Part::Acd(site), shard, Event::Call(ask));
        }
        let people = self.plan.people.iter().filter(|person| person.site.index() == site);
        for agent in people.map(|person| person.agent).collect::<Vec<_>>() {
            self.believe(site, agent);
        }
        self.ledger.begin_anew(self.now.mono);
        self.begun_anew = self.now.mono;
    }
}
