//! What goes into one run of a flow and what comes out.

use crate::base::{PromptId, QueueId};
use serde::{Deserialize, Serialize};

/// Into a [`Run`](super::Run).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The caller has been answered: begin.
    Start,
    /// A digit was pressed: `0`–`9`, `*`, `#`, `A`–`D`.
    Digit(u8),
    /// What [`Command::Play`] asked for was played to its end.
    Played,
    /// The run's own deadline came.
    Deadline,
}

/// Out of a [`Run`](super::Run).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Play these in order; replaces what is playing.
    Play(Vec<PromptId>),
    /// Be silent.
    Stop,
    /// The caller gave these digits at a collecting or menu node.
    Collected {
        /// The node's name.
        node: Box<str>,
        /// What was pressed.
        digits: Box<str>,
    },
    /// The flow is over: put the caller into a queue.
    Queue {
        /// Which.
        queue: QueueId,
        /// Added to the queue's priority (0–100).
        priority: u8,
    },
    /// The flow is over: hang up.
    HangUp,
}
