//! The surface of `media`.

pub mod event;
