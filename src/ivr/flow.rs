//! A checked flow: the graph a [`Run`](super::Run) walks.
//!
//! Owns nodes and their limits; never reads TOML (that is [`draft`](super::draft), the only way to make one) and never
//! runs. What holds for every flow: `start` and `human` (a queue) exist, or instead of it `end` (a farewell, and then no queue
//! at all: the flow is for after a talk), all targets exist, and the graph has
//! no cycle, so that a caller visits a node at most once and only retries (which are counted) repeat anything.

use crate::base::{PromptId, QueueId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// No prompt may be longer than this; a playback not reported as finished by then is taken as finished.
pub const PROMPT_S_MAX: u64 = 120;

/// A node within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub(super) u16);

/// A checked flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Name of its file without the ending.
    pub(super) name: Box<str>,
    pub(super) start: NodeId,
    /// Where used-up retries lead: a queue, that `0` leads to also, or, in a flow after a talk, a farewell.
    pub(super) last: NodeId,
    /// Name and node, by [`NodeId`], in order of names.
    pub(super) nodes: Vec<(Box<str>, Node)>,
}

/// What happens at one place of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Plays and goes on.
    Play {
        /// What.
        prompts: Vec<PromptId>,
        /// Whether a key cuts it short. The key counts at the next node.
        barge_in: bool,
        /// Where to.
        next: NodeId,
    },
    /// Asks for one key.
    Menu {
        /// How it asks.
        asking: Asking,
        /// Key and target, in order of keys; never `0`.
        choices: Vec<(u8, NodeId)>,
        /// The key that repeats the prompts; counted as a try.
        repeat: Option<u8>,
    },
    /// Asks for a number.
    Collect {
        /// How it asks.
        asking: Asking,
        /// Fewest digits (≥ 1).
        digits_min: usize,
        /// Most digits: the entry is complete with the last one.
        digits_max: usize,
        /// The key that completes an entry early.
        terminator: u8,
        /// Longest pause after a digit; then the entry is taken as it stands.
        digit_wait: Duration,
        /// Where to.
        next: NodeId,
    },
    /// The end: a queue.
    Queue {
        /// Which.
        queue: QueueId,
        /// Added to the queue's priority (0–100).
        priority: u8,
    },
    /// The end: plays and hangs up.
    HangUp {
        /// What; may be empty.
        prompts: Vec<PromptId>,
    },
}

/// How menu and collect nodes ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The question.
    pub prompts: Vec<PromptId>,
    /// Whether keys count while it is still heard.
    pub barge_in: bool,
    /// Longest silence after the question.
    pub first_digit_wait: Duration,
    /// How often the question is asked again; then a human takes over.
    pub retries: u8,
    /// Played before the question after a wrong key or entry.
    pub invalid: Vec<PromptId>,
    /// Played before the question after silence.
    pub timeout: Vec<PromptId>,
}

impl Flow {
    /// Name of its file without the ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queue that `0` and used-up retries lead to, and the priority added to it; none in a flow for after a talk, which
    /// leads to no queue at all.
    pub fn human(&self) -> Option<(QueueId, u8)> {
        match self.node(self.last) {
            Node::Queue { queue, priority } => Some((*queue, *priority)),
            Node::Play { .. } | Node::Menu { .. } | Node::Collect { .. } | Node::HangUp { .. } => None,
        }
    }

    /// The node at `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[usize::from(id.0)].1
    }

    /// What the node at `id` is called.
    pub fn node_name(&self, id: NodeId) -> &str {
        &self.nodes[usize::from(id.0)].0
    }

    /// The node called `name`.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        let place = self.nodes.binary_search_by(|(node, _)| (**node).cmp(name)).ok()?;
        u16::try_from(place).ok().map(NodeId)
    }
}

impl Node {
    /// How it asks, if it does.
    pub fn asking(&self) -> Option<&Asking> {
        match self {
            Node::Menu { asking, .. } | Node::Collect { asking, .. } => Some(asking),
            Node::Play { .. } | Node::Queue { .. } | Node::HangUp { .. } => None,
        }
    }

    /// Where it can lead by itself (`0` and used-up retries, which lead to the human queue, not counted).
    pub fn targets(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (next, choices): (Option<NodeId>, &[(u8, NodeId)]) = match self {
            Node::Play { next, .. } | Node::Collect { next, .. } => (Some(*next), &[]),
            Node::Menu { choices, .. } => (None, choices),
            Node::Queue { .. } | Node::HangUp { .. } => (None, &[]),
        };
        next.into_iter().chain(choices.iter().map(|(_, target)| *target))
    }
}
