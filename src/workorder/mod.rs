//! Work orders (工单): the life of what a citizen asked for.
//!
//! So far the part that the call owns: the draft opened with every call that reaches a queue or a human. Pure: facts
//! come out, SQL is elsewhere.

mod draft;

pub use draft::{Draft, Opening};
