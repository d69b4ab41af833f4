//! The node: threads, clock and files around the machines.

pub mod recorder;
