//! Jiesu 接诉: the telephony and CTI engine of a 12345 citizen hotline.
//!
//! Modules stand in dependency order: each uses only those above it. The first group is pure: no clock, socket, file,
//! thread, task or random map order inside; events and time go in, commands come out. `tests/tidy.rs` keeps it so.

#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod base;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod sdp;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod sip;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod edge;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod media;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod recording;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod ivr;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod acd;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modes;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod simulate;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod workorder;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod figures;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod trunk;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod callback;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod call;
#[forbid(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod shard;
pub mod config;
pub mod store;
pub mod net;
pub mod node;
pub mod demo;
pub mod api;
pub mod cli;
