//! Simulated traffic through the production [`Acd`](crate::acd::Acd) on virtual time: how many agents does a day need, and
//! what happens when a storm comes.
//!
//! Citizens come by a rate that changes over the day, lose patience, call again; agents pick up, talk, wrap up and go home.
//! Owns the generated traffic, the figures and the formulas of queueing theory that the same traffic is held against.
//! Everything follows from the scenario and its seed: the same day twice gives the same bytes. Never routes a call itself:
//! each decision is the ACD's.

pub mod batches;
pub mod chance;
pub mod chart;
pub mod day;
pub mod proof;
pub mod run;
pub mod scenario;
pub mod staffing;
pub mod theory;

#[cfg(test)]
mod tests;
