//! One caller in one flow: opening, nodes, keys, time-outs, retries, and always a way to a human.
//!
//! Owns where the caller is and what they have pressed; never knows who they are. It ends exactly once, with
//! [`Command::Queue`] or [`Command::HangUp`], and within a bounded time whatever the caller presses (the flow has no
//! circle, questions repeat a counted number of times, every state has a deadline).
//!
//! In a flow for after a talk used-up retries lead to its farewell, and `0` is a key like others.
//!
//! `0` (GB/T 33358: easy to reach a person): in the opening, a play, a menu or a farewell it leads to the human queue at
//! once, barge-in or not. In a collect node it may be the first digit of the entry, so it is taken as one and leads to
//! the human queue when nothing but the terminator or the time-out follows; while a question without barge-in is still
//! heard, no entry can have begun and `0` leads to the human queue at once.

use super::event::{Command, Event};
use super::flow::{Asking, Flow, Node, NodeId, PROMPT_S_MAX};
use crate::base::{Mono, Now, PromptId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The version written into snapshots.
pub const SNAPSHOT_VERSION: u16 = 1;

/// One caller in one flow.
#[derive(Clone, Debug)]
pub struct Run {
    flow: Arc<Flow>,
    opening: Vec<PromptId>,
    state: State,
    /// Set in every state but `New` and `Over`.
    deadline: Option<Mono>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// Waits for `Start`.
    New,
    /// The opening is heard.
    Opening,
    /// The prompts of a play or hang_up node are heard.
    Playing { node: NodeId },
    /// A menu's or collect's question is heard for the `tries + 1`st time.
    Asking { node: NodeId, tries: u8 },
    /// The question is over, no key has been pressed.
    Waiting { node: NodeId, tries: u8 },
    /// A collect has at least one digit and fewer than its most.
    Collecting { node: NodeId, tries: u8, digits: String },
    /// `Queue` or `HangUp` has been said.
    Over,
}

/// A run as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u16,
    flow: Box<str>,
    /// Name of the node in `state`: ids change with the file, names mean what they say.
    node: Option<Box<str>>,
    opening: Vec<PromptId>,
    state: State,
    deadline: Option<Mono>,
}

impl Snapshot {
    /// Name of the flow it was taken in.
    pub fn flow(&self) -> &str {
        &self.flow
    }
}

/// Why a snapshot cannot be continued in this flow. The caller belongs into [`Flow::human`]'s queue then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Written by a version of the engine that this one does not know.
    #[error("snapshot version {0} is unknown")]
    Version(u16),
    /// The flow was changed: its node is gone or asks for something else.
    #[error("the flow has no such node any more")]
    Changed,
}

/// Why a question is asked again.
#[derive(Clone, Copy)]
enum Again {
    Invalid,
    TimedOut,
    Wanted,
}

impl Run {
    /// A caller at the door of `flow`; `opening` is played before its first node.
    pub fn new(flow: Arc<Flow>, opening: Vec<PromptId>) -> Run {
        Run { flow, opening, state: State::New, deadline: None }
    }

    /// When [`Event::Deadline`] is due.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes one event. Events that mean nothing here (a late `Played`, an early `Deadline`, anything after the end) do
    /// nothing.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Start => self.start(now, out),
            Event::Digit(digit) => self.digit(now, digit, out),
            Event::Played => self.played(now, out),
            Event::Deadline => self.expire(now, out),
        }
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Says again what the caller should be hearing: after a restore, when media begin from silence.
    pub fn resume(&mut self, now: Now, out: &mut Vec<Command>) {
        match self.state.clone() {
            State::New | State::Waiting { .. } | State::Collecting { .. } | State::Over => {}
            State::Opening => self.play(now, self.opening.clone(), State::Opening, out),
            State::Playing { node } => self.enter(now, node, out),
            State::Asking { node, tries } => self.ask(now, node, tries, &[], out),
        }
    }

    /// The run as plain data.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: SNAPSHOT_VERSION,
            flow: self.flow.name().into(),
            node: self.state.node().map(|node| self.flow.node_name(node).into()),
            opening: self.opening.clone(),
            state: self.state.clone(),
            deadline: self.deadline,
        }
    }

    /// The run of a snapshot, in the flow of the same name as it is now. Call [`Run::resume`] if media were lost too.
    ///
    /// # Errors
    /// [`RestoreError`] when the snapshot means nothing in this flow.
    pub fn restore(snapshot: Snapshot, flow: Arc<Flow>) -> Result<Run, RestoreError> {
        if snapshot.version != SNAPSHOT_VERSION {
            return Err(RestoreError::Version(snapshot.version));
        }
        let mut state = snapshot.state;
        if let Some(node) = state.node_mut() {
            let name = snapshot.node.as_deref().ok_or(RestoreError::Changed)?;
            *node = flow.find(name).ok_or(RestoreError::Changed)?;
        }
        if !state.fits(&flow) {
            return Err(RestoreError::Changed);
        }
        Ok(Run { flow, opening: snapshot.opening, state, deadline: snapshot.deadline })
    }

    /// Panics on a broken invariant.
    pub fn check(&self) {
        let ended = matches!(self.state, State::New | State::Over);
        assert_eq!(self.deadline.is_none(), ended, "every state that lasts has a deadline: {:?}", self.state);
        assert!(self.state.fits(&self.flow), "the state is one its node can be in: {:?}", self.state);
    }

    fn start(&mut self, now: Now, out: &mut Vec<Command>) {
        match self.state {
            State::New if self.opening.is_empty() => self.enter(now, self.flow.start, out),
            State::New => self.play(now, self.opening.clone(), State::Opening, out),
            State::Opening
            | State::Playing { .. }
            | State::Asking { .. }
            | State::Waiting { .. }
            | State::Collecting { .. }
            | State::Over => {}
        }
    }

    fn digit(&mut self, now: Now, digit: u8, out: &mut Vec<Command>) {
        match self.state.clone() {
            State::New | State::Over => {}
            State::Opening => {
                if self.asks_for_human(digit) {
                    self.give_up(now, out);
                }
            }
            State::Playing { node } => self.digit_while_playing(now, node, digit, out),
            State::Asking { node, tries } => {
                if self.asking(node).barge_in {
                    self.answer(now, node, tries, digit, out);
                } else if self.asks_for_human(digit) {
                    self.give_up(now, out);
                }
            }
            State::Waiting { node, tries } => self.answer(now, node, tries, digit, out),
            State::Collecting { node, tries, digits } => self.collect(now, node, tries, digits, digit, out),
        }
    }

    fn played(&mut self, now: Now, out: &mut Vec<Command>) {
        match self.state {
            State::Opening => self.enter(now, self.flow.start, out),
            State::Playing { node } => self.leave(now, node, out),
            State::Asking { node, tries } => {
                self.await_until(now, self.asking(node).first_digit_wait, State::Waiting { node, tries });
            }
            State::New | State::Waiting { .. } | State::Collecting { .. } | State::Over => {}
        }
    }

    fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.deadline.is_none_or(|deadline| now.mono < deadline) {
            return;
        }
        match self.state.clone() {
            // Media never told the end of the prompt: go on as if it had.
            State::Opening | State::Playing { .. } | State::Asking { .. } => self.played(now, out),
            State::Waiting { node, tries } => self.again(now, node, tries, Again::TimedOut, out),
            State::Collecting { node, tries, digits } => self.complete(now, node, tries, digits, out),
            State::New | State::Over => {}
        }
    }

    /// Arrives at a node.
    fn enter(&mut self, now: Now, id: NodeId, out: &mut Vec<Command>) {
        let flow = Arc::clone(&self.flow);
        match flow.node(id) {
            Node::Play { prompts, .. } => self.play(now, prompts.clone(), State::Playing { node: id }, out),
            Node::Menu { .. } | Node::Collect { .. } => self.ask(now, id, 0, &[], out),
            Node::Queue { queue, priority } => self.end(Command::Queue { queue: *queue, priority: *priority }, out),
            Node::HangUp { prompts } if prompts.is_empty() => self.end(Command::HangUp, out),
            Node::HangUp { prompts } => self.play(now, prompts.clone(), State::Playing { node: id }, out),
        }
    }

    /// The prompts of a playing node are over.
    fn leave(&mut self, now: Now, id: NodeId, out: &mut Vec<Command>) {
        match self.flow.node(id) {
            Node::Play { next, .. } => self.enter(now, *next, out),
            Node::HangUp { .. } => self.end(Command::HangUp, out),
            Node::Menu { .. } | Node::Collect { .. } | Node::Queue { .. } => {
                unreachable!("only play and hang_up nodes play")
            }
        }
    }

    fn digit_while_playing(&mut self, now: Now, id: NodeId, digit: u8, out: &mut Vec<Command>) {
        if self.asks_for_human(digit) {
            return self.give_up(now, out);
        }
        match *self.flow.node(id) {
            Node::Play { barge_in: true, next, .. } => {
                self.enter(now, next, out);
                // Who knows the menu behind an announcement has pressed the key for it.
                self.digit(now, digit, out);
            }
            Node::Play { barge_in: false, .. }
            | Node::HangUp { .. }
            | Node::Menu { .. }
            | Node::Collect { .. }
            | Node::Queue { .. } => {}
        }
    }

    /// The first key after a question.
    fn answer(&mut self, now: Now, id: NodeId, tries: u8, digit: u8, out: &mut Vec<Command>) {
        let flow = Arc::clone(&self.flow);
        match flow.node(id) {
            Node::Menu { .. } if self.asks_for_human(digit) => self.give_up(now, out),
            Node::Menu { repeat, .. } if *repeat == Some(digit) => self.again(now, id, tries, Again::Wanted, out),
            Node::Menu { choices, .. } => match choices.iter().find(|(key, _)| *key == digit) {
                Some((_, target)) => {
                    out.push(self.collected(id, char::from(digit).to_string()));
                    self.enter(now, *target, out);
                }
                None => self.again(now, id, tries, Again::Invalid, out),
            },
            Node::Collect { .. } => self.collect(now, id, tries, String::new(), digit, out),
            Node::Play { .. } | Node::Queue { .. } | Node::HangUp { .. } => unreachable!("only menus and collects ask"),
        }
    }

    fn collect(&mut self, now: Now, id: NodeId, tries: u8, mut digits: String, digit: u8, out: &mut Vec<Command>) {
        let Node::Collect { digits_max, terminator, digit_wait, .. } = *self.flow.node(id) else {
            unreachable!("only collects collect")
        };
        if digit == terminator {
            return self.complete(now, id, tries, digits, out);
        }
        if !digit.is_ascii_digit() {
            return self.again(now, id, tries, Again::Invalid, out);
        }
        if matches!(self.state, State::Asking { .. }) {
            out.push(Command::Stop);
        }
        digits.push(char::from(digit));
        if digits.len() >= digits_max {
            return self.complete(now, id, tries, digits, out);
        }
        self.await_until(now, digit_wait, State::Collecting { node: id, tries, digits });
    }

    /// The caller has finished an entry.
    fn complete(&mut self, now: Now, id: NodeId, tries: u8, digits: String, out: &mut Vec<Command>) {
        let Node::Collect { digits_min, next, .. } = *self.flow.node(id) else { unreachable!("only collects collect") };
        if digits == "0" && self.flow.human().is_some() {
            self.give_up(now, out);
        } else if digits.len() < digits_min {
            self.again(now, id, tries, Again::Invalid, out);
        } else {
            out.push(self.collected(id, digits));
            self.enter(now, next, out);
        }
    }

    /// Asks once more, or gives the caller to a human when that was the last try.
    fn again(&mut self, now: Now, id: NodeId, tries: u8, why: Again, out: &mut Vec<Command>) {
        let flow = Arc::clone(&self.flow);
        let asking = asking_of(&flow, id);
        if tries >= asking.retries {
            return self.give_up(now, out);
        }
        let lead: &[PromptId] = match why {
            Again::Invalid => &asking.invalid,
            Again::TimedOut => &asking.timeout,
            Again::Wanted => &[],
        };
        self.ask(now, id, tries + 1, lead, out);
    }

    fn ask(&mut self, now: Now, id: NodeId, tries: u8, lead: &[PromptId], out: &mut Vec<Command>) {
        let prompts = [lead, &self.asking(id).prompts].concat();
        self.play(now, prompts, State::Asking { node: id, tries }, out);
    }

    fn play(&mut self, now: Now, prompts: Vec<PromptId>, state: State, out: &mut Vec<Command>) {
        // A guard against media that never tell the end, so no tighter than the longest that could be playing.
        let longest = Duration::from_secs(PROMPT_S_MAX * prompts.len() as u64);
        out.push(Command::Play(prompts));
        self.await_until(now, longest, state);
    }

    fn await_until(&mut self, now: Now, wait: Duration, state: State) {
        self.state = state;
        self.deadline = Some(now.mono + wait);
    }

    /// To the human queue, or, after a talk, to the farewell.
    fn give_up(&mut self, now: Now, out: &mut Vec<Command>) {
        self.enter(now, self.flow.last, out);
    }

    /// Whether this key leads to a human from wherever they are.
    fn asks_for_human(&self, digit: u8) -> bool {
        digit == b'0' && self.flow.human().is_some()
    }

    fn end(&mut self, with: Command, out: &mut Vec<Command>) {
        out.push(with);
        self.state = State::Over;
        self.deadline = None;
    }

    fn asking(&self, id: NodeId) -> &Asking {
        asking_of(&self.flow, id)
    }

    fn collected(&self, id: NodeId, digits: String) -> Command {
        Command::Collected { node: self.flow.node_name(id).into(), digits: digits.into() }
    }
}

fn asking_of(flow: &Flow, id: NodeId) -> &Asking {
    flow.node(id).asking().expect("only menus and collects are asked")
}

impl State {
    fn node(&self) -> Option<NodeId> {
        self.clone().node_mut().copied()
    }

    fn node_mut(&mut self) -> Option<&mut NodeId> {
        match self {
            State::New | State::Opening | State::Over => None,
            State::Playing { node }
            | State::Asking { node, .. }
            | State::Waiting { node, .. }
            | State::Collecting { node, .. } => Some(node),
        }
    }

    /// Whether this can be a state at its node.
    fn fits(&self, flow: &Flow) -> bool {
        match self {
            State::New | State::Opening | State::Over => true,
            State::Playing { node } => matches!(flow.node(*node), Node::Play { .. } | Node::HangUp { .. }),
            State::Asking { node, .. } | State::Waiting { node, .. } => flow.node(*node).asking().is_some(),
            State::Collecting { node, digits, .. } => match flow.node(*node) {
                Node::Collect { digits_max, .. } => !digits.is_empty() && digits.len() < *digits_max,
                Node::Play { .. } | Node::Menu { .. } | Node::Queue { .. } | Node::HangUp { .. } => false,
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
