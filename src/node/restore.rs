//! A node takes up what the process before left: shards, queues and recordings go on.
//!
//! What cannot go on is given up alone: a record that cannot be read, a call whose site or number the configuration no
//! longer has, one whose end was told already, one that makes a machine panic. Its phones are hung up as far as they are
//! known, and its end is told like that of any call that a crash cut off. Does no I/O of its own: the effects are carried
//! out by the tasks.

use super::guard::{Panicked, fenced};
use super::setup::Setup;
use super::standing::{Before, put_call, put_nothing};
use crate::acd::event::{AgentChange, Event as ToAcd};
use crate::acd::{self, Acd, KeptAgent, Live};
use crate::base::{AgentId, ContactId, Now, RecordingId, ShardId, SiteId};
use crate::media::event::Action;
use crate::shard::{Birth, Effect, Shard, Snapshot, Standing};
use std::collections::BTreeSet;

/// What goes on.
pub(super) struct Restored {
    /// By shard: the machine, and what it says first.
    pub(super) shards: Vec<(Shard, Vec<Effect>)>,
    /// By site: the machine, and what it says first.
    pub(super) acds: Vec<(Acd, Vec<acd::event::Command>)>,
    /// Contacts whose calls go on, or end by themselves.
    pub(super) contacts: BTreeSet<ContactId>,
    /// Recordings that go on.
    pub(super) recordings: BTreeSet<RecordingId>,
    /// For the file: what does not stand any more.
    pub(super) gone: Vec<u8>,
}

/// Restores `shards` shards and the queues of all sites. `ended` are contacts whose end was told.
pub(super) fn restore(
    mut before: Before,
    ended: &BTreeSet<ContactId>,
    (setup, shards): (&Setup, usize),
    seed: [u64; 2],
    now: Now,
) -> Restored {
    let mut gone = Vec::new();
    before.unreadable.iter().for_each(|key| put_nothing(&mut gone, *key));
    if !before.unreadable.is_empty() {
        tracing::warn!(records = before.unreadable.len(), "some of what stood cannot be read: its calls end");
    }
    let ids: Vec<_> = before.calls.iter().map(Standing::id).collect();
    let mut by_shard: Vec<Vec<Standing>> = vec![Vec::new(); shards];
    for mut call in std::mem::take(&mut before.calls) {
        let home = call.id().shard.index();
        if home >= shards || !call.is_ending() && ended.contains(&call.contact()) {
            call.give_up();
        }
        by_shard[if home < shards { home } else { 0 }].push(call);
    }
    let restored = (0u8..).zip(by_shard).map(|(shard, calls)| {
        let birth = Birth { node: 0, shard: ShardId(shard), seed };
        restore_shard(&calls, &before, birth, setup, now)
    });
    let mut shards: Vec<(Shard, Vec<Effect>)> = restored.collect();
    for id in ids {
        let home = shards.get(id.shard.index());
        if home.is_none_or(|(shard, _)| shard.standing(id).is_none()) {
            put_call(&mut gone, id, None);
        }
    }
    let contacts: BTreeSet<ContactId> = shards.iter().flat_map(|(shard, _)| shard.contacts()).collect();
    let mut live: Vec<Vec<Live>> = vec![Vec::new(); setup.acd.len()];
    let mut recordings = BTreeSet::new();
    for (shard, effects) in &mut shards {
        shard.keep_changes();
        effects.retain_mut(|effect| keeps(effect, &mut live, &mut recordings));
    }
    let acds = (0u16..).zip(live).map(|(site, live)| restore_acd(SiteId(site), live, &before, setup, now)).collect();
    Restored { shards, acds, contacts, recordings, gone }
}

/// Takes out what the ACDs are told of all shards together; notes the recordings that go on.
fn keeps(effect: &mut Effect, live: &mut [Vec<Live>], recordings: &mut BTreeSet<RecordingId>) -> bool {
    match effect {
        Effect::Acd { site, event: ToAcd::Adopt { live: told, .. } } => {
            live[site.index()].append(told);
            return false;
        }
        Effect::Media(Action::Record { recording, .. }) => {
            recordings.insert(recording.recording);
        }
        Effect::Media(Action::StopRecording { recording, .. }) => {
            recordings.remove(recording);
        }
        Effect::Media(_)
        | Effect::Acd { .. }
        | Effect::Send { .. }
        | Effect::OpenPort { .. }
        | Effect::ReopenPort { .. }
        | Effect::Trunk(_)
        | Effect::Fact { .. }
        | Effect::TransferAnswered { .. }
        | Effect::Intervened { .. }
        | Effect::Ahead(_)
        | Effect::Show(_)
        | Effect::Silent(_)
        | Effect::Desk { .. }
        | Effect::LogIn { .. }
        | Effect::Recall { .. }
        | Effect::Callback(_)
        | Effect::Bindings(_)
        | Effect::Suspect(_) => {}
    }
    true
}

/// When all calls together do not do, each is tried alone, and those that do are taken together.
fn restore_shard(calls: &[Standing], before: &Before, birth: Birth, setup: &Setup, now: Now) -> (Shard, Vec<Effect>) {
    let attempt = |calls: &[Standing]| {
        let step = || {
            let legs: BTreeSet<_> = calls.iter().flat_map(Standing::legs).collect();
            let marks = before.marks.iter().filter(|(leg, _)| legs.contains(leg)).map(|(leg, mark)| (*leg, *mark));
            let snapshot = Snapshot::of(calls.to_vec(), marks.collect());
            let settings = (setup.sip.clone(), setup.calls.clone());
            let mut effects = Vec::new();
            let shard = Shard::restore(snapshot, birth, settings, now, &mut effects).ok()?;
            shard.check();
            Some((shard, effects))
        };
        fenced("shard, restored", u128::from(birth.shard.0), step).ok().flatten()
    };
    attempt(calls).unwrap_or_else(|| {
        let good: Vec<Standing> =
            calls.iter().filter(|call| attempt(std::slice::from_ref(*call)).is_some()).cloned().collect();
        tracing::error!(shard = birth.shard.0, calls = calls.len() - good.len(), "calls cannot be taken up");
        attempt(&good).unwrap_or_else(|| {
            let (sip, calls) = (setup.sip.clone(), setup.calls.clone());
            (Shard::new(birth.shard, birth.node, birth.seed, sip, calls), Vec::new())
        })
    })
}

/// Those who hold an agent come first: then nobody else is given that agent. The rest as they came.
fn restore_acd(
    site: SiteId,
    mut live: Vec<Live>,
    before: &Before,
    setup: &Setup,
    now: Now,
) -> (Acd, Vec<acd::event::Command>) {
    live.sort_by_key(|live| (live.held.is_empty(), live.caller.since));
    let settings = setup.acd[site.index()].clone();
    let is_of_site = |agent: &&KeptAgent| settings.agents.iter().any(|known| known.agent == agent.agent());
    let agents: Vec<KeptAgent> = before.agents.iter().filter(is_of_site).cloned().collect();
    let step = || {
        let mut out = Vec::new();
        let snapshot = acd::Snapshot::of(agents, &live, &settings);
        let mut acd = Acd::restore(settings.clone(), snapshot, now, before.epoch, &mut out).ok()?;
        acd.adopt(now, &live, &mut out);
        acd.check();
        Some((acd, out))
    };
    match fenced("acd, restored", u128::from(site.0), step) {
        Ok(Some(restored)) => restored,
        Ok(None) | Err(Panicked) => {
            tracing::error!(site = site.0, "the queues of a site begin anew: agents must sign in again");
            let (mut acd, mut out) = (Acd::new(settings.clone(), before.epoch), Vec::new());
            acd.adopt(now, &live, &mut out);
            (acd, out)
        }
    }
}

/// How the agents of a restored site look to those who watch; nothing of it is a change that anybody made.
pub(super) fn shown(acd: &Acd, agents: impl Iterator<Item = AgentId>) -> Vec<AgentChange> {
    let change = |agent| {
        let view = acd.agent(agent)?;
        let from = acd::event::AgentState::Offline;
        (view.state != from).then_some(AgentChange { agent, from, to: view.state, contact: view.contact, by: view.by })
    };
    agents.filter_map(change).collect()
}
