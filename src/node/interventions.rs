//! Wishes to step into a call beside the queues, on their way to it. The call alone judges.

use super::start::Node;
use super::transfers::Busy;
use crate::base::{AgentId, CallId};
use crate::call::event::Event as ToCalls;
use crate::call::supervise::{Ask, NotDone};
use crate::shard;
use tokio::sync::oneshot;

/// What becomes of a wish.
pub type Answer = Result<(), NotDone>;

/// A wish about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub call: CallId,
    /// Name of who asks.
    pub by: Box<str>,
    /// The agent who asks for their own talk; `None` for one who may ask for any.
    pub own: Option<AgentId>,
    /// What.
    pub ask: Ask,
}

impl Node {
    /// Hands such wishes to the call's shard; the answer comes when the call has judged.
    pub fn intervene(&self) -> impl Fn(Wish) -> Result<oneshot::Receiver<Answer>, Busy> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |Wish { call, by, own, ask }| {
            let to = wires.shards.get(call.shard.index()).ok_or(Busy)?;
            let (ticket, receiver) = wires.asked.interventions.wait()?;
            let event = shard::Event::Call(ToCalls::Intervene { call, by, own, ask, ticket });
            to.events.try_send(event).map_err(|_| Busy)?;
            Ok(receiver)
        }
    }
}
