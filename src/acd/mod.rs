//! The surface of `acd`.

pub mod event;
