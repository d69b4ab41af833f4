//! The edge of the node: whose packets are looked at, and how many new calls are taken when the node is behind.
//!
//! [`Gate`] judges every packet by its source before anything is read beyond what routing needs: trunks and the flows of
//! registered phones pass, strangers may only register or speak in a dialog that knows them, within rates, and those who
//! go on guessing are not heard for a while. [`Admission`] turns measured lag, memory and calls into a rate of new calls.
//! [`Talks`] says to which shard a phone's second call belongs. None of them reads a message, sends, or knows a dialog.
//!
//! Memory is bounded whatever strangers do: [`SOURCES_MAX`] sources of 24 bytes (1.5 MiB), [`BANS_MAX`] bans and
//! [`LOCKS_MAX`] lock-outs of some 100 bytes each (2 MiB), [`CALLS_MAX`] recent calls of some 48 bytes (6 MiB), [`LEFT_MAX`]
//! homes of phones that went (1 MiB), [`FOLLOWED_MAX`] second calls of phones (1 MiB). What is
//! known stands in tables of its own, as large as the registrar's: no stranger can push anything out of it.

pub mod admission;
mod bans;
mod bucket;
pub mod event;
pub mod gate;
mod known;
mod locks;
mod recent;
mod source;
mod sources;
pub mod talks;

pub use admission::Admission;
pub use bans::BANS_MAX;
pub use gate::Gate;
pub use known::LEFT_MAX;
pub use locks::LOCKS_MAX;
pub use recent::CALLS_MAX;
pub use sources::SOURCES_MAX;
pub use talks::{FOLLOWED_MAX, Talks};
