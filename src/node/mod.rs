//! Where the machines meet the world: the only clock, threads, tasks and channels.

pub mod clock;
pub mod facts;
pub mod limits;
pub mod live;
pub mod media;
mod queues;
mod setup;
mod shards;
mod wires;
