//! One caller in one flow: opening, nodes, keys, time-outs, retries, and always a way to a human.
//!
//! Owns where the caller is and what they have pressed; never knows who they are. It ends exactly once, with
//! [`Command::Queue`] or [`Command::HangUp`], and within a bounded time whatever the caller presses (the flow has no
//! circle, questions repeat a counted number of times, every state has a deadline).
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
        Run {
            flow,
            opening,
            state: State::New,
            deadline: None,
        }
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
        Ok(Run {
            flow,
            opening: snapshot.opening,
            state,
            deadline: snapshot.deadline,
        })
    }

    /// Panics on a broken invariant.
    pub fn check(&self) {
        let ended = matches!(self.state, State::New | State::Over);
        assert_eq!(
            self.deadline.is_none(),
            ended,
            "every state that lasts has a deadline: {:?}",
            self.state
        );
        assert!(
            self.state.fits(&self.flow),
            "the state is one its node can be in: {:?}",
            self.state
        );
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
                if digit == b'0' {
                    self.human(out);
                }
            }
            State::Playing { node } => self.digit_while_playing(now, node, digit, out),
            State::Asking { node, tries } => {
                if self.asking(node).barge_in {
                    self.answer(now, node, tries, digit, out);
                } else if digit == b'0' {
                    self.human(out);
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
            Node::Queue { queue, priority } => self.end(
                Command::Queue {
                    queue: *queue,
                    priority: *priority,
                },
                out,
            ),
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
        if digit == b'0' {
            return self.human(out);
        }
        match *self.flow.node(id) {
            Node::Play {
                barge_in: true, next, ..
            } => {
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
            Node::Menu { .. } if digit == b'0' => self.human(out),
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
        let Node::Collect {
            digits_max,
            terminator,
            digit_wait,
            ..
        } = *self.flow.node(id)
        else {
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
        self.await_until(
            now,
            digit_wait,
            State::Collecting {
                node: id,
                tries,
                digits,
            },
        );
    }

    /// The caller has finished an entry.
    fn complete(&mut self, now: Now, id: NodeId, tries: u8, digits: String, out: &mut Vec<Command>) {
        let Node::Collect { digits_min, next, .. } = *self.flow.node(id) else {
            unreachable!("only collects collect")
        };
        if digits == "0" {
            self.human(out);
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
            return self.human(out);
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
        // Leading plus asked prompts are few (a TOML array), so the guard stays within hours even if a file is silly.
        let longest = Duration::from_secs(PROMPT_S_MAX * prompts.len() as u64);
        out.push(Command::Play(prompts));
        self.await_until(now, longest, state);
    }

    fn await_until(&mut self, now: Now, wait: Duration, state: State) {
        self.state = state;
        self.deadline = Some(now.mono + wait);
    }

    fn human(&mut self, out: &mut Vec<Command>) {
        let (queue, priority) = self.flow.human();
        self.end(Command::Queue { queue, priority }, out);
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
        Command::Collected {
            node: self.flow.node_name(id).into(),
            digits: digits.into(),
        }
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
pub(super) mod tests {
    use super::*;
    use crate::base::{Mint, QueueId};
    use crate::ivr::draft::{Draft, Names};

    const DIRECT: &str = "start = 'people'\nhuman = 'people'\n[queue.people]\nqueue = '0'";

    /// Prompts and queues are numbers here: "7" is `PromptId(7)`.
    const ALL_NODES: &str = r##"
        start = "welcome"
        human = "people"
        [play.welcome]
        prompts = ["1"]
        barge_in = true
        next = "main"
        [menu.main]
        prompts = ["2"]
        choices = { 1 = "law", 2 = "number", 3 = "bye", 4 = "code", 5 = "end" }
        repeat = "*"
        retries = 2
        invalid = ["8"]
        timeout = ["9"]
        [play.law]
        prompts = ["3"]
        next = "expert"
        [collect.number]
        prompts = ["4"]
        digits_min = 2
        digits_max = 4
        retries = 1
        invalid = ["8"]
        timeout = ["9"]
        next = "expert"
        [collect.code]
        prompts = ["5"]
        barge_in = false
        digits_max = 1
        terminator = "*"
        next = "expert"
        [hang_up.bye]
        prompts = ["6"]
        [hang_up.end]
        [queue.people]
        queue = "0"
        [queue.expert]
        queue = "1"
        priority = 10
    "##;

    pub(in crate::ivr) fn compiled(name: &str, text: &str) -> Arc<Flow> {
        let names = Names {
            prompt: &|name| name.parse().ok().map(PromptId),
            queue: &|name| name.parse().ok().map(QueueId),
        };
        Arc::new(toml::from_str::<Draft>(text).unwrap().compile(name, names).unwrap())
    }

    pub(in crate::ivr) fn flow(name: &str) -> Arc<Flow> {
        compiled(name, if name == "direct" { DIRECT } else { ALL_NODES })
    }

    fn at(ms: u64) -> Now {
        Now {
            mono: Mono::from_ms(ms),
            wall: crate::base::Wall(0),
        }
    }

    /// A run led by keys (`.` = played to the end, `!` = its deadline comes).
    fn led(script: &str) -> (Run, Vec<Command>) {
        let mut run = Run::new(flow("all"), vec![PromptId(0)]);
        let mut out = Vec::new();
        for step in script.bytes() {
            out.clear();
            press(&mut run, step, &mut out);
        }
        (run, out)
    }

    fn press(run: &mut Run, step: u8, out: &mut Vec<Command>) {
        let due = run.next_deadline().map_or(0, Mono::ms);
        match step {
            b's' => run.handle(at(0), Event::Start, out),
            b'.' => run.handle(at(0), Event::Played, out),
            b'!' => run.handle(at(due), Event::Deadline, out),
            b'?' => run.handle(at(due.saturating_sub(1)), Event::Deadline, out),
            digit => run.handle(at(0), Event::Digit(digit), out),
        }
    }

    fn told(out: &[Command]) -> String {
        let words = out.iter().map(|command| match command {
            Command::Play(prompts) => format!("play {:?}", prompts.iter().map(|prompt| prompt.0).collect::<Vec<_>>()),
            Command::Stop => "stop".into(),
            Command::Collected { node, digits } => format!("{node}={digits}"),
            Command::Queue { queue, priority } => format!("queue {}+{priority}", queue.0),
            Command::HangUp => "hang up".into(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// Events in the columns' order: start, `0`, `1`, `2`, `9`, `*`, `#`, `A`, played, early deadline, deadline.
    const EVENTS: &[u8] = b"s0129*#A.?!";

    /// Every state, each with what each event makes it say; "" where the event means nothing.
    #[rustfmt::skip]
    const TABLE: &[(&str, &str, [&str; 11])] = &[
        ("new", "",
            ["play [0]", "", "", "", "", "", "", "", "", "", ""]),
        ("opening", "s",
            ["", "queue 0+0", "", "", "", "", "", "", "play [1]", "", "play [1]"]),
        ("play with barge-in", "s.",
            ["", "queue 0+0", "play [2], main=1, play [3]", "play [2], main=2, play [4]", "play [2], play [8, 2]",
             "play [2], play [2]", "play [2], play [8, 2]", "play [2], play [8, 2]", "play [2]", "", "play [2]"]),
        ("play without barge-in", "s..1",
            ["", "queue 0+0", "", "", "", "", "", "", "queue 1+10", "", "queue 1+10"]),
        ("menu asking", "s..",
            ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "play [8, 2]", "play [2]", "play [8, 2]",
             "play [8, 2]", "", "", ""]),
        ("menu waiting", "s...",
            ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "play [8, 2]", "play [2]", "play [8, 2]",
             "play [8, 2]", "", "", "play [9, 2]"]),
        ("menu waiting for the last time", "s...!.!.",
            ["", "queue 0+0", "main=1, play [3]", "main=2, play [4]", "queue 0+0", "queue 0+0", "queue 0+0",
             "queue 0+0", "", "", "queue 0+0"]),
        ("collect asking", "s..2",
            ["", "stop", "stop", "stop", "stop", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", ""]),
        ("collect waiting", "s..2.",
            ["", "", "", "", "", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", "play [9, 4]"]),
        ("collect waiting for the last time", "s..2.!.",
            ["", "", "", "", "", "queue 0+0", "queue 0+0", "queue 0+0", "", "", "queue 0+0"]),
        ("collect with a lone 0", "s..20",
            ["", "", "", "", "", "play [8, 4]", "queue 0+0", "play [8, 4]", "", "", "queue 0+0"]),
        ("collect with too few", "s..21",
            ["", "", "", "", "", "play [8, 4]", "play [8, 4]", "play [8, 4]", "", "", "play [8, 4]"]),
        ("collect with enough", "s..200",
            ["", "", "", "", "", "play [8, 4]", "number=00, queue 1+10", "play [8, 4]", "", "",
             "number=00, queue 1+10"]),
        ("collect before the last digit", "s..2123",
            ["", "number=1230, queue 1+10", "number=1231, queue 1+10", "number=1232, queue 1+10",
             "number=1239, queue 1+10", "play [8, 4]", "number=123, queue 1+10", "play [8, 4]", "", "",
             "number=123, queue 1+10"]),
        ("collect asking without barge-in", "s..4",
            ["", "queue 0+0", "", "", "", "", "", "", "", "", ""]),
        ("collect of one digit waiting", "s..4.",
            ["", "queue 0+0", "code=1, queue 1+10", "code=2, queue 1+10", "code=9, queue 1+10", "play [5]", "play [5]",
             "play [5]", "", "", "play [5]"]),
        ("farewell", "s..3",
            ["", "queue 0+0", "", "", "", "", "", "", "hang up", "", "hang up"]),
        ("over", "s0",
            ["", "", "", "", "", "", "", "", "", "", ""]),
    ];

    #[test]
    fn every_event_in_every_state() {
        for (state, script, expected) in TABLE {
            for (event, expected) in EVENTS.iter().zip(expected) {
                let (mut run, mut out) = led(script);
                out.clear();
                let before = run.snapshot();
                press(&mut run, *event, &mut out);
                assert_eq!(told(&out), *expected, "{state}: {:?}", char::from(*event));
                let moved = run.snapshot() != before;
                let silent_move = match *event {
                    // The question has been heard, or a digit joins others: nothing to say, but the state moves.
                    b'.' | b'!' => matches!(before.state, State::Asking { .. }),
                    b'?' | b's' => false,
                    digit => {
                        digit.is_ascii_digit()
                            && (matches!(before.state, State::Waiting { .. } | State::Collecting { .. }))
                    }
                };
                assert_eq!(
                    moved,
                    !out.is_empty() || silent_move,
                    "{state}: {:?}",
                    char::from(*event)
                );
            }
        }
    }

    #[test]
    fn the_table_has_every_kind_of_state() {
        let mut kinds = [false; 7];
        for (_, script, _) in TABLE {
            let kind = match led(script).0.state {
                State::New => 0,
                State::Opening => 1,
                State::Playing { .. } => 2,
                State::Asking { .. } => 3,
                State::Waiting { .. } => 4,
                State::Collecting { .. } => 5,
                State::Over => 6,
            };
            kinds[kind] = true;
        }
        assert_eq!(kinds, [true; 7]);
    }

    #[test]
    fn waits_are_those_of_the_flow() {
        let cases = [
            ("s", 120_000),
            ("s.", 120_000),
            ("s..", 120_000),
            ("s...", 5_000),
            ("s...9", 240_000),
            ("s..2.", 5_000),
            ("s..21", 4_000),
        ];
        for (script, ms) in cases {
            assert_eq!(led(script).0.next_deadline(), Some(Mono::from_ms(ms)), "{script}");
        }
        assert_eq!(led("").0.next_deadline(), None);
        assert_eq!(led("s0").0.next_deadline(), None);
        assert!(led("s0").0.is_over());
    }

    #[test]
    fn the_direct_flow_goes_from_the_greeting_to_the_queue() {
        let mut out = Vec::new();
        let mut run = Run::new(flow("direct"), vec![PromptId(1), PromptId(2)]);
        run.handle(at(0), Event::Start, &mut out);
        run.handle(at(0), Event::Played, &mut out);
        assert_eq!(told(&out), "play [1, 2], queue 0+0");
        out.clear();
        Run::new(flow("direct"), Vec::new()).handle(at(0), Event::Start, &mut out);
        assert_eq!(told(&out), "queue 0+0");
    }

    #[test]
    fn a_hang_up_node_without_prompts_hangs_up_at_once() {
        assert_eq!(told(&led("s..5").1), "main=5, hang up");
    }

    #[test]
    fn a_snapshot_goes_on_where_the_run_was() {
        for (state, script, expected) in TABLE {
            for (event, expected) in EVENTS.iter().zip(expected) {
                let json = serde_json::to_string(&led(script).0.snapshot()).unwrap();
                let mut run = Run::restore(serde_json::from_str(&json).unwrap(), flow("all")).unwrap();
                let mut out = Vec::new();
                press(&mut run, *event, &mut out);
                assert_eq!(told(&out), *expected, "{state}: {:?}", char::from(*event));
            }
        }
    }

    #[test]
    fn a_snapshot_of_a_changed_flow_or_version_is_refused() {
        let of = |script| led(script).0.snapshot();
        assert_eq!(
            Run::restore(of("s.."), flow("direct")).unwrap_err(),
            RestoreError::Changed
        );
        let other = compiled("all", "start='main'\nhuman='main'\n[queue.main]\nqueue='0'");
        assert_eq!(Run::restore(of("s.."), other).unwrap_err(), RestoreError::Changed);
        let newer = Snapshot { version: 2, ..of("s") };
        assert_eq!(Run::restore(newer, flow("all")).unwrap_err(), RestoreError::Version(2));
        assert!(Run::restore(of("s"), flow("direct")).is_ok(), "the opening has no node");
    }

    #[test]
    fn after_a_restore_the_caller_hears_the_place_again() {
        let cases = [
            ("", ""),
            ("s", "play [0]"),
            ("s.", "play [1]"),
            ("s..9", "play [2]"),
            ("s...", ""),
            ("s..2", "play [4]"),
            ("s..21", ""),
            ("s..3", "play [6]"),
            ("s0", ""),
        ];
        for (script, expected) in cases {
            let (mut run, mut out) = led(script);
            out.clear();
            run.resume(at(7_000), &mut out);
            assert_eq!(told(&out), expected, "{script}");
            run.check();
        }
    }

    /// Longest possible run of `ALL_NODES`: opening, welcome, then the menu asked three times and a collect twice.
    const LONGEST_MS: u64 = 120_000 * (1 + 1 + 1 + 2 * 2 + 1 + 2) + 3 * 5_000 + 2 * (5_000 + 4 * 4_000);

    #[test]
    fn whatever_is_pressed_it_ends_once_and_in_time() {
        let mut mint = Mint::new(0, [12, 345]);
        for round in 0..5_000 {
            let mut run = Run::new(flow("all"), vec![PromptId(0)]);
            let (mut now, mut out) = (0u64, Vec::new());
            run.handle(at(now), Event::Start, &mut out);
            for step in 0.. {
                let Some(due) = run.next_deadline() else { break };
                assert!(step < 200, "round {round} does not end");
                let random = mint.random();
                let event = match random % 4 {
                    0 => Event::Played,
                    1 => Event::Deadline,
                    _ => Event::Digit(b"0123456789*#ABCD\xff"[(random >> 8) as usize % 17]),
                };
                let pause = if event == Event::Deadline {
                    due.ms() - now
                } else {
                    (random >> 16) % 3_000
                };
                now += pause.min(due.ms() - now);
                run.handle(at(now), event, &mut out);
            }
            let ends = out
                .iter()
                .filter(|command| matches!(command, Command::Queue { .. } | Command::HangUp))
                .count();
            assert_eq!(ends, 1, "round {round}: {}", told(&out));
            assert!(
                matches!(out.last(), Some(Command::Queue { .. } | Command::HangUp)),
                "round {round}"
            );
            assert!(now <= LONGEST_MS, "round {round} took {now} ms");
        }
    }

    #[test]
    fn zero_reaches_a_human_after_any_history() {
        let mut mint = Mint::new(1, [12, 345]);
        for round in 0..5_000 {
            let mut run = Run::new(flow("all"), vec![PromptId(0)]);
            let mut out = Vec::new();
            run.handle(at(0), Event::Start, &mut out);
            for _ in 0..mint.random() % 12 {
                press(&mut run, b".!19*#4253"[(mint.random() % 10) as usize], &mut out);
            }
            if run.is_over() {
                continue;
            }
            out.clear();
            // Where digits have been given a wrong key discards them, and the next 0 is the first one again.
            let keys: &[u8] = if matches!(run.state, State::Collecting { .. }) {
                b"A0!"
            } else {
                b"0!"
            };
            for step in keys {
                press(&mut run, *step, &mut out);
            }
            assert!(
                run.is_over() && told(&out).ends_with("queue 0+0"),
                "round {round}: {}",
                told(&out)
            );
        }
    }
}
