//! Interactive voice response: greetings, menus and the road to a human.
//!
//! Owns flows (read from TOML and checked as a graph), the run of one caller through one flow, and the table of dialled
//! numbers. Never plays a sound, reads a file or knows a clock. The promise it keeps (the national 12345 rules and
//! GB/T 33358): no menu unless a site wants one, `0` reaches a human from everywhere, and nobody is ever hung up on for
//! pressing the wrong key or none.

pub mod draft;
pub mod event;
pub mod flow;
pub mod numbers;
pub mod run;

pub use draft::Draft;
pub use event::{Command, Event};
pub use flow::Flow;
pub use numbers::{Dated, Entry, Numbers};
pub use run::{Run, Snapshot};
