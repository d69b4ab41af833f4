//! Automatic call distribution: who takes whom, and when.
//!
//! [`Acd`] owns all queues and agents of one site. It decides at once and books the agent in the same step as it makes
//! the offer; a booking is a [`Lease`](event::Lease) with an expiry, and only the lease last given for an agent means
//! anything. It never dials, never waits for an answer and never looks at a clock: events go in, commands come out.

pub mod event;

#[allow(clippy::module_inception, reason = "the front door bears the module's name, as in every pure module")]
mod acd;
mod adopt;
mod agent;
mod buckets;
mod check;
mod estimate;
pub mod explain;
mod idle;
mod line;
mod order;
mod overflow;
mod pairing;
mod reload;
mod skills;
mod snapshot;
mod view;

#[cfg(test)]
mod tests;

pub use acd::Acd;
pub use adopt::{Held, Live};
pub use estimate::Expected;
pub use skills::meets;
pub use snapshot::{KeptAgent, RestoreError, Snapshot};
pub use view::{AHEAD_MAX, AgentView, Counts, Position, QueueView};
