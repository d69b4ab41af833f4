//! Call-backs (回呼): citizens who keep their place in a queue without being on the line.
//!
//! [`Callbacks`] owns who was promised one, in which order and hours they are tried, and how often. To the queues each is a
//! caller like any other, who waits since the same moment as when on the line; to a shard each attempt is an outbound call
//! whose agent the queue has chosen. Never dials, and never chooses an agent.

mod book;
pub mod event;
#[cfg(test)]
mod tests;

pub use book::{Callbacks, Counts};
