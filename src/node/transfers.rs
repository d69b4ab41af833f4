//! Wishes about transfers on their way to a call, and who waits for the answers.
//!
//! The call alone judges; here only the question is carried and the answer brought back to whoever asked.

use super::clock;
use super::start::Node;
use super::wires::lock;
use crate::base::{AgentId, CallId, SiteId};
use crate::call::ahead::Links;
use crate::call::event::Event as ToCalls;
use crate::call::lamp::{Lamp, Use, lamp};
use crate::call::targets::Target;
use crate::call::transfer::{Ask, NotTransferred};
use crate::shard;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// What becomes of a wish.
pub type Answer = Result<(), NotTransferred>;

/// Wishes that may be under way at once.
const WAITING_MAX: usize = 1_024;

/// The shard takes nothing more now, or too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is too busy to take this: ask again")]
pub struct Busy;

/// A target as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As configured.
    pub target: Target,
    /// Whether a transfer to it would be worth trying.
    pub lamp: Lamp,
    /// What our own calls have shown of it.
    pub used: Use,
}

/// Who waits for what calls answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) transfers: Waiting<Answer>,
    pub(super) interventions: Waiting<super::interventions::Answer>,
}

/// Who waits for which answer.
#[derive(Debug)]
pub(super) struct Waiting<A>(Mutex<Table<A>>);

#[derive(Debug)]
struct Table<A> {
    tickets: u64,
    waiting: BTreeMap<u64, oneshot::Sender<A>>,
}

impl<A> Default for Waiting<A> {
    fn default() -> Waiting<A> {
        Waiting(Mutex::new(Table { tickets: 0, waiting: BTreeMap::new() }))
    }
}

impl<A> Waiting<A> {
    /// Waits for the answer under a new ticket.
    pub(super) fn wait(&self) -> Result<(u64, oneshot::Receiver<A>), Busy> {
        let mut table = lock(&self.0);
        // Whoever no longer waits has gone away.
        table.waiting.retain(|_, sender| !sender.is_closed());
        if table.waiting.len() >= WAITING_MAX {
            return Err(Busy);
        }
        table.tickets += 1;
        let (ticket, (sender, receiver)) = (table.tickets, oneshot::channel());
        table.waiting.insert(ticket, sender);
        Ok((ticket, receiver))
    }

    /// The call has answered.
    pub(super) fn answered(&self, ticket: u64, answer: A) {
        if let Some(waits) = lock(&self.0).waiting.remove(&ticket) {
            // One who has gone away asks again, and sees where the call stands.
            let _ = waits.send(answer);
        }
    }
}

impl Node {
    /// Hands wishes about transfers to the call's shard; the answer comes when the call has judged.
    pub fn transfer(
        &self,
    ) -> impl Fn(CallId, Option<AgentId>, Ask) -> Result<oneshot::Receiver<Answer>, Busy> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |call, by, ask| {
            let to = wires.shards.get(call.shard.index()).ok_or(Busy)?;
            let (ticket, receiver) = wires.asked.transfers.wait()?;
            let event = shard::Event::Call(ToCalls::Transfer { call, by, ask, ticket });
            to.events.try_send(event).map_err(|_| Busy)?;
            Ok(receiver)
        }
    }
}

impl Node {
    /// Tells how targets' links are made and read now.
    pub fn links(&self) -> impl Fn() -> Option<Arc<Links>> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move || wires.setup.load().calls.links.clone()
    }

    /// Tells to whom citizens of a site may be transferred, as configured now, and how their lamps stand.
    pub fn targets(&self) -> impl Fn(SiteId) -> Vec<Seen> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |site| {
            let (setup, now) = (wires.setup.load(), clock::now());
            let (settings, views) = (&setup.calls, wires.trunks.views(now));
            let seen = |target: &Target| {
                let used = wires.live.used(site, &target.name);
                let known = (&*settings.dialling, &*settings.trunks, &*views);
                Seen { target: target.clone(), lamp: lamp(target, known, used, now), used }
            };
            settings.targets.of(site).map(seen).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_to_who_asked_and_those_gone_away_take_no_place() {
        let waiting = Waiting::default();
        let (first, mut answer) = waiting.wait().unwrap();
        let others: Vec<_> = (1..WAITING_MAX).map(|_| waiting.wait().unwrap()).collect();
        assert_eq!(waiting.wait().map(|_| ()), Err(Busy));
        waiting.answered(first, Err(NotTransferred::Second));
        assert_eq!(answer.try_recv(), Ok(Err(NotTransferred::Second)));
        waiting.answered(first, Ok(()));
        drop(others);
        let (_, mut answer) = waiting.wait().unwrap();
        assert_eq!((lock(&waiting.0).waiting.len(), answer.try_recv().is_err()), (1, true));
    }
}
