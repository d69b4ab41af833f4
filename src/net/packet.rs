//! A message on its way from a listener to a shard, and what may become of it there.

use crate::base::Mono;
use crate::sip::event::Flow;
use bytes::Bytes;

/// A message that passed the edge.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where from.
    pub flow: Flow,
    /// As it came.
    pub bytes: Bytes,
    /// Whether it is from nobody we know.
    pub stranger: bool,
    /// With what it waits.
    pub class: Class,
    /// When it was received.
    pub at: Mono,
}

/// What waits together at a shard, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What belongs to calls that run, and all that is rare.
    Running,
    /// New calls and what is about them.
    Call,
    /// Registrations: phones repeat them, and a whole city's may come at once.
    Register,
}

/// What becomes of a message.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Nothing, and nobody is told.
    Dropped,
    /// It is refused at once; where the refusal goes.
    Refused(Flow, Bytes),
    /// It goes to the shard of this number.
    To(usize, Packet),
}
