//! What goes into the call-backs and what comes out.

use crate::acd;
use crate::base::fact::{AttemptResult, CallbackRecord, Fact};
use crate::base::hours::Hours;
use crate::base::{AgentId, CallbackId, ContactId, Mono, OrderId, QueueId, ShardId, SiteId};
use std::sync::Arc;
use std::time::Duration;

/// The shard of call ids under which the queues know those who are to be called back: no shard of calls has it.
pub const CALLBACKS: ShardId = ShardId(u8::MAX);

/// Into [`Callbacks`](super::Callbacks).
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody is to be called back; one that is known already says nothing new.
    Asked {
        /// Whose.
        site: SiteId,
        /// What is known of it. Its fact was told.
        record: Box<CallbackRecord>,
    },
    /// Somebody came to a queue by themselves.
    Came {
        /// Of this site.
        site: SiteId,
        /// Canonical number.
        number: Box<str>,
    },
    /// Somebody of ours takes one back. Once the number was dialled there is nothing to take back.
    Withdraw {
        /// Which.
        callback: CallbackId,
    },
    /// From the queues: `Offer`, `Revoke` or `Released`.
    Acd(acd::event::Command),
    /// From the outbound call of an attempt.
    Attempt {
        /// Which call-back.
        callback: CallbackId,
        /// Which attempt.
        contact: ContactId,
        /// How far it has come.
        step: Step,
    },
    /// A site's queues have a new owner, who asks for all who wait and talk.
    Resync {
        /// Whose.
        site: SiteId,
    },
    /// New settings.
    Configure(Arc<Settings>),
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The agent's phone rings.
    Rings,
    /// The agent answered; the number is dialled.
    AgentThere {
        /// Their name.
        agent: Box<str>,
    },
    /// No rule of the allow-list names the number any more.
    NotListed,
    /// The agent did not come.
    AgentAway(acd::event::Declined),
    /// It is over.
    Over(AttemptResult),
}

/// Out of [`Callbacks`](super::Callbacks).
#[derive(Clone, Debug)]
pub enum Command {
    /// To the queues of a site.
    Acd {
        /// Whose.
        site: SiteId,
        /// What.
        event: acd::event::Event,
    },
    /// To a shard: ring this agent, then the citizen.
    Try(Box<Attempt>),
    /// To the shard of this attempt: end it.
    GiveUp {
        /// Which.
        contact: ContactId,
    },
    /// To the journal.
    Fact {
        /// Whose.
        site: SiteId,
        /// What.
        fact: Fact,
    },
}

/// One attempt, for a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which call-back.
    pub callback: CallbackId,
    /// The contact it shall be.
    pub contact: ContactId,
    /// Whose.
    pub site: SiteId,
    /// The agent whom the queue has chosen, and booked.
    pub agent: AgentId,
    /// Until when their phone may ring.
    pub ring_until: Mono,
    /// Name of the queue, for the record.
    pub queue: Box<str>,
    /// Whom to call, canonical.
    pub number: Box<str>,
    /// The order it is about.
    pub order: Option<OrderId>,
}

/// What call-backs need to know of each site, by [`SiteId`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By [`SiteId`], then by [`QueueId`].
    pub sites: Vec<Vec<QueueSettings>>,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Name.
    pub name: Box<str>,
    /// `None` when it calls nobody back.
    pub callbacks: Option<Rules>,
}

/// How a queue calls back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// When citizens may be called.
    pub hours: Hours,
    /// The number is dialled so often at most (1–10).
    pub attempts_max: u8,
    /// Between two attempts.
    pub retry_after: Duration,
}

impl Settings {
    /// The number of a queue, and how it calls back.
    pub fn queue(&self, site: SiteId, name: &str) -> Option<(QueueId, &Rules)> {
        let queues = self.sites.get(site.index())?;
        let place = queues.iter().position(|queue| *queue.name == *name)?;
        Some((QueueId(place as u16), queues[place].callbacks.as_ref()?))
    }
}
