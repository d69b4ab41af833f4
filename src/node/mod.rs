//! Where the machines meet the world: the only clock, threads, tasks and channels.

pub mod facts;
