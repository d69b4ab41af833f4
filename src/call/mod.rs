//! The call: one citizen's contact from INVITE to the last leg.
//!
//! Owns who hears whom and what is remembered of it; a pure machine: SIP, media and the queues are told what to do and
//! tell what happened. Never touches bytes of SIP or RTP, and never chooses an agent.

pub mod ahead;
#[expect(clippy::module_inception, reason = "a call among calls")]
mod call;
mod calls;
pub mod desk;
mod desks;
pub mod event;
pub mod lamp;
mod leg;
pub mod log_in;
mod outbound;
mod phrases;
mod q850;
mod reach;
mod record;
pub mod snapshot;
pub mod supervise;
pub mod targets;
pub mod transfer;

pub use calls::{Calls, Counts};
pub use phrases::Phrases;

#[cfg(test)]
mod tests;
