//! Calls to the outside that are asked for by hand: judged before any phone rings, then handed to a shard.
//!
//! The shard judges again and has the last word; what it refuses stands in the call's record.

use super::start::Node;
use crate::base::number::{Number, NumberError};
use crate::base::{AgentId, ContactId, OrderId, ShardId, SiteId};
use crate::call::event::{Dial, Event as ToCalls};
use crate::shard;

/// Who is to be joined with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The contact it shall be.
    pub contact: ContactId,
    /// Whose.
    pub site: SiteId,
    /// Whose phone is rung first.
    pub agent: AgentId,
    /// Whom to call, as people write numbers.
    pub number: Box<str>,
    /// The order it is about.
    pub order: Option<OrderId>,
}

/// Why nobody is rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDialled {
    /// It cannot be called at all.
    #[error("the number {0}")]
    Number(#[from] NumberError),
    /// No rule of the allow-list names it.
    #[error("no rule of sip-profiles/dialling.toml names this number for this site")]
    NotListed,
    /// The shard takes nothing more now.
    #[error("the node is too busy to take this: ask again")]
    Busy,
}

impl Node {
    /// Hands wishes to a shard.
    pub fn dial(&self) -> impl Fn(Wish) -> Result<(), NotDialled> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |Wish { contact, site, agent, number, order }| {
            let setup = wires.setup.load();
            let area = setup.calls.sites.get(site.index()).map_or("", |site| &site.area_code);
            let number = Number::parse(&number, area)?;
            if setup.calls.dialling.rule_by_hand(site, &number).is_none() {
                return Err(NotDialled::NotListed);
            }
            // The last bits of an id are chance.
            let shard = ShardId((contact.0 % wires.shards.len() as u128) as u8);
            let dial = Dial { contact, site, agent, number, order };
            let event = shard::Event::Call(ToCalls::Dial(Box::new(dial)));
            let to = wires.shards.get(shard.index()).ok_or(NotDialled::Busy)?;
            to.events.try_send(event).map_err(|_| NotDialled::Busy)
        }
    }
}
