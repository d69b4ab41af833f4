//! The process around the machines: the only clock, the threads, the limits.

pub mod clock;
pub mod limits;
pub mod media;
