//! The surface of `ivr`.

pub mod event;
