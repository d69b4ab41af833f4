//! Where the machines meet the world: the only clock, threads, tasks and channels.
//!
//! Owns the life of the process: start in order, reload, drain, stop. Decides nothing about a call.

pub mod ahead;
mod alarm;
pub mod archive;
pub mod callbacks;
pub mod clock;
mod desk;
pub mod dial;
pub mod edge;
pub mod facts;
pub mod internals;
pub mod interventions;
mod lamps;
pub mod limits;
mod listeners;
pub mod live;
mod log_in;
pub mod media;
pub mod modes;
pub mod pauses;
pub mod process;
mod guard;
mod queues;
mod restore;
mod routes;
mod routing;
pub mod recorder;
mod recall;
mod registrations;
mod reload;
mod seats;
mod settings;
mod setup;
mod shards;
pub mod sound;
mod standing;
mod start;
mod unfinished;
pub mod transfers;
mod trunks;
mod wires;

pub use guard::log_panics;
pub use listeners::{Listening, listen_cure};
pub use reload::{Reload, ReloadError};
pub use start::{Node, StartError};
