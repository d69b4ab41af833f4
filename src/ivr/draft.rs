//! A flow as written in TOML, and the check that makes a [`Flow`] of it.
//!
//! Owns the file format and every rule a flow must keep; reports all flaws, each with its place in the text. Never opens
//! a file: names of prompts and queues are looked up through [`Names`].

use super::flow::{Asking, Flow, Node, NodeId};
use crate::base::{PromptId, QueueId};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;

/// Most nodes of one flow.
pub const NODES_MAX: usize = 200;
/// Most retries of one question.
pub const RETRIES_MAX: u64 = 5;
/// Most digits of one entry.
pub const DIGITS_MAX: u64 = 32;
/// Bounds of every waiting time in milliseconds.
pub const WAIT_MS: RangeInclusive<u64> = 500..=30_000;
/// Most that a queue node may add to the queue's priority.
pub const PRIORITY_MAX: u64 = 100;

type Name = Spanned<Box<str>>;
type Count = Spanned<u64>;

/// A flow as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    start: Name,
    human: Option<Name>,
    end: Option<Name>,
    #[serde(default)]
    play: BTreeMap<Name, Play>,
    #[serde(default)]
    menu: BTreeMap<Name, Menu>,
    #[serde(default)]
    collect: BTreeMap<Name, Collect>,
    #[serde(default)]
    queue: BTreeMap<Name, Queue>,
    #[serde(default)]
    hang_up: BTreeMap<Name, HangUp>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Play {
    prompts: Spanned<Vec<Name>>,
    #[serde(default)]
    barge_in: bool,
    next: Name,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Menu {
    prompts: Spanned<Vec<Name>>,
    #[serde(default = "yes")]
    barge_in: bool,
    first_digit_wait_ms: Option<Count>,
    retries: Option<Count>,
    #[serde(default)]
    invalid: Vec<Name>,
    #[serde(default)]
    timeout: Vec<Name>,
    choices: Spanned<BTreeMap<Name, Name>>,
    repeat: Option<Name>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collect {
    prompts: Spanned<Vec<Name>>,
    #[serde(default = "yes")]
    barge_in: bool,
    first_digit_wait_ms: Option<Count>,
    digit_wait_ms: Option<Count>,
    retries: Option<Count>,
    #[serde(default)]
    invalid: Vec<Name>,
    #[serde(default)]
    timeout: Vec<Name>,
    digits_min: Option<Count>,
    digits_max: Count,
    terminator: Option<Name>,
    next: Name,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    queue: Name,
    priority: Option<Count>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HangUp {
    #[serde(default)]
    prompts: Vec<Name>,
}

fn yes() -> bool {
    true
}

/// What the names in a draft mean.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The prompt of this name.
    pub prompt: &'a dyn Fn(&str) -> Option<PromptId>,
    /// The queue of this name at the site for which the flow is made.
    pub queue: &'a dyn Fn(&str) -> Option<QueueId>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What.
    pub flaw: Flaw,
}

/// What can be wrong with a flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A name stands for two nodes.
    #[error("two nodes are called \"{0}\"")]
    NodeTwice(Box<str>),
    /// A target that does not exist.
    #[error("unknown node \"{0}\"")]
    UnknownNode(Box<str>),
    /// A prompt that does not exist.
    #[error("unknown prompt \"{0}\"")]
    UnknownPrompt(Box<str>),
    /// A queue that the site does not have.
    #[error("unknown queue \"{0}\"")]
    UnknownQueue(Box<str>),
    /// `human` names something else than a queue node.
    #[error("`human` must name a queue node, and \"{0}\" is none")]
    HumanIsNoQueue(Box<str>),
    /// `end` names something else than a farewell.
    #[error("`end` must name a hang_up node, and \"{0}\" is none")]
    EndIsNoHangUp(Box<str>),
    /// Neither `human` nor `end`, or both.
    #[error("a flow has either `human` or `end`")]
    HumanOrEnd,
    /// A flow with `end` leads to a queue.
    #[error("a flow for after a talk leads to no queue, and \"{0}\" is one")]
    QueueAfter(Box<str>),
    /// No way leads there.
    #[error("node \"{0}\" is never reached")]
    Unreachable(Box<str>),
    /// A way leads back.
    #[error("the flow runs in a circle through \"{0}\"")]
    Circle(Box<str>),
    /// A node that plays or asks has nothing to play.
    #[error("no prompts")]
    Silent,
    /// A menu without choices.
    #[error("a menu without choices")]
    NoChoices,
    /// `0` is used for something.
    #[error("\"0\" is taken: it reaches a human from everywhere")]
    ZeroTaken,
    /// Not a key of a telephone.
    #[error("\"{0}\" is not a key")]
    NotAKey(Box<str>),
    /// A terminator that is no `*` or `#`.
    #[error("\"{0}\" cannot end an entry")]
    NotATerminator(Box<str>),
    /// `repeat` is also a choice.
    #[error("key \"{0}\" both repeats the menu and chooses")]
    KeyTwice(char),
    /// A number outside its bounds.
    #[error("{value} is out of bounds")]
    OutOfBounds {
        /// As written.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// More than [`NODES_MAX`].
    #[error("{0} nodes are too many")]
    TooManyNodes(usize),
}

impl Flaw {
    /// What to do about it.
    pub fn cure(&self) -> String {
        match self {
            Flaw::NodeTwice(_) => {
                "give each node its own name, also across play, menu, collect, queue and hang_up".into()
            }
            Flaw::UnknownNode(name) => format!("write a node such as [queue.{name}], or name one that exists"),
            Flaw::UnknownPrompt(name) => format!("put {name}.wav into the folder prompts"),
            Flaw::UnknownQueue(_) => "add the queue to queues.toml for this site, or name one that exists".into(),
            Flaw::HumanIsNoQueue(_) => "name a [queue.…] node: it is where \"0\" and used-up retries lead".into(),
            Flaw::EndIsNoHangUp(_) => "name a [hang_up.…] node: it is where used-up retries lead".into(),
            Flaw::HumanOrEnd => {
                "write `human`, a queue node, for callers; `end`, a hang_up node, for a question after the talk".into()
            }
            Flaw::QueueAfter(_) => "remove it: whoever was served hears a farewell".into(),
            Flaw::Unreachable(_) => "lead to it from another node, or remove it".into(),
            Flaw::Circle(_) => {
                "end the way in a queue or hang_up; to hear a menu again use `repeat`, which is counted".into()
            }
            Flaw::Silent => "name at least one prompt".into(),
            Flaw::NoChoices => "add choices = { 1 = \"node\" }, or use a play node".into(),
            Flaw::ZeroTaken => "use another key; the queue that \"0\" reaches is named by `human`".into(),
            Flaw::NotAKey(_) => "use one of 1 2 3 4 5 6 7 8 9 * #".into(),
            Flaw::NotATerminator(_) => "use \"#\" or \"*\"".into(),
            Flaw::KeyTwice(_) => "use another key for one of the two".into(),
            Flaw::OutOfBounds { min, max, .. } => format!("write a number from {min} to {max}"),
            Flaw::TooManyNodes(_) => format!("a flow has at most {NODES_MAX} nodes; callers want a human, not a maze"),
        }
    }
}

impl Draft {
    /// All node names, in order: for suggestions.
    pub fn node_names(&self) -> BTreeSet<&str> {
        self.keys().map(|key| &**key.get_ref()).collect()
    }

    /// Checks every rule and makes the flow.
    ///
    /// # Errors
    /// All flaws found, in no special order.
    pub fn compile(&self, name: &str, names: Names<'_>) -> Result<Flow, Vec<Fault>> {
        let mut compiler = Compiler { names, ids: BTreeMap::new(), faults: Vec::new() };
        compiler.number(self);
        let start = compiler.node(&self.start);
        let last = compiler.last(self);
        let nodes: Vec<(Box<str>, Node)> =
            compiler.nodes(self).into_iter().map(|(key, node)| (key.into(), node)).collect();
        // Following edges makes sense only once all of them lead somewhere, and recursion needs a bounded depth.
        if compiler
            .faults
            .iter()
            .all(|fault| !matches!(fault.flaw, Flaw::UnknownNode(_) | Flaw::NodeTwice(_) | Flaw::TooManyNodes(_)))
        {
            compiler.walk(self, &nodes, [start, last]);
        }
        if compiler.faults.is_empty() {
            Ok(Flow { name: name.into(), start, last, nodes })
        } else {
            Err(compiler.faults)
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Name> {
        let (play, menu, collect) = (self.play.keys(), self.menu.keys(), self.collect.keys());
        play.chain(menu).chain(collect).chain(self.queue.keys()).chain(self.hang_up.keys())
    }
}

struct Compiler<'a> {
    names: Names<'a>,
    ids: BTreeMap<&'a str, NodeId>,
    faults: Vec<Fault>,
}

impl<'a> Compiler<'a> {
    fn fault(&mut self, span: &Range<usize>, flaw: Flaw) {
        self.faults.push(Fault { span: span.clone(), flaw });
    }

    /// Where used-up retries lead.
    fn last(&mut self, draft: &'a Draft) -> NodeId {
        match (&draft.human, &draft.end) {
            (Some(human), None) => {
                if !draft.queue.contains_key(human) && self.ids.contains_key(&**human.get_ref()) {
                    self.fault(&human.span(), Flaw::HumanIsNoQueue(human.get_ref().clone()));
                }
                self.node(human)
            }
            (None, Some(end)) => {
                if !draft.hang_up.contains_key(end) && self.ids.contains_key(&**end.get_ref()) {
                    self.fault(&end.span(), Flaw::EndIsNoHangUp(end.get_ref().clone()));
                }
                for queue in draft.queue.keys() {
                    self.fault(&queue.span(), Flaw::QueueAfter(queue.get_ref().clone()));
                }
                self.node(end)
            }
            (Some(_), Some(_)) | (None, None) => {
                self.fault(&draft.start.span(), Flaw::HumanOrEnd);
                self.node(&draft.start)
            }
        }
    }

    /// Gives every name its id, in order of names.
    fn number(&mut self, draft: &'a Draft) {
        let mut seen = BTreeSet::new();
        for key in draft.keys() {
            if !seen.insert(&**key.get_ref()) {
                self.fault(&key.span(), Flaw::NodeTwice(key.get_ref().clone()));
            }
        }
        if seen.len() > NODES_MAX {
            self.fault(&draft.start.span(), Flaw::TooManyNodes(seen.len()));
        }
        self.ids = seen.into_iter().zip(0..).map(|(name, id)| (name, NodeId(id))).collect();
    }

    fn nodes(&mut self, draft: &'a Draft) -> BTreeMap<&'a str, Node> {
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        for (key, play) in &draft.play {
            let node = Node::Play {
                prompts: self.some_prompts(&play.prompts),
                barge_in: play.barge_in,
                next: self.node(&play.next),
            };
            nodes.insert(key.get_ref(), node);
        }
        for (key, menu) in &draft.menu {
            nodes.insert(key.get_ref(), self.menu(menu));
        }
        for (key, collect) in &draft.collect {
            nodes.insert(key.get_ref(), self.collect(collect));
        }
        for (key, queue) in &draft.queue {
            let priority = self.bounded(queue.priority.as_ref(), 0, 0..=PRIORITY_MAX) as u8;
            nodes.insert(key.get_ref(), Node::Queue { queue: self.queue(&queue.queue), priority });
        }
        for (key, hang_up) in &draft.hang_up {
            nodes.insert(key.get_ref(), Node::HangUp { prompts: self.prompts(&hang_up.prompts) });
        }
        nodes
    }

    fn menu(&mut self, menu: &Menu) -> Node {
        if menu.choices.get_ref().is_empty() {
            self.fault(&menu.choices.span(), Flaw::NoChoices);
        }
        let repeat = menu.repeat.as_ref().and_then(|key| self.key(key));
        let mut choices = Vec::new();
        for (key, target) in menu.choices.get_ref() {
            let target = self.node(target);
            let Some(digit) = self.key(key) else { continue };
            if repeat == Some(digit) {
                self.fault(&key.span(), Flaw::KeyTwice(char::from(digit)));
            }
            choices.push((digit, target));
        }
        let asking = Asking {
            prompts: self.some_prompts(&menu.prompts),
            barge_in: menu.barge_in,
            first_digit_wait: self.wait(menu.first_digit_wait_ms.as_ref(), 5_000),
            retries: self.bounded(menu.retries.as_ref(), 2, 0..=RETRIES_MAX) as u8,
            invalid: self.prompts(&menu.invalid),
            timeout: self.prompts(&menu.timeout),
        };
        Node::Menu { asking, choices, repeat }
    }

    fn collect(&mut self, collect: &Collect) -> Node {
        let digits_max = self.bounded(Some(&collect.digits_max), 1, 1..=DIGITS_MAX);
        let asking = Asking {
            prompts: self.some_prompts(&collect.prompts),
            barge_in: collect.barge_in,
            first_digit_wait: self.wait(collect.first_digit_wait_ms.as_ref(), 5_000),
            retries: self.bounded(collect.retries.as_ref(), 2, 0..=RETRIES_MAX) as u8,
            invalid: self.prompts(&collect.invalid),
            timeout: self.prompts(&collect.timeout),
        };
        Node::Collect {
            asking,
            digits_min: self.bounded(collect.digits_min.as_ref(), 1, 1..=digits_max) as usize,
            digits_max: digits_max as usize,
            terminator: collect.terminator.as_ref().map_or(Some(b'#'), |key| self.terminator(key)).unwrap_or(b'#'),
            digit_wait: self.wait(collect.digit_wait_ms.as_ref(), 4_000),
            next: self.node(&collect.next),
        }
    }

    fn node(&mut self, name: &Name) -> NodeId {
        self.ids.get(&**name.get_ref()).copied().unwrap_or_else(|| {
            self.fault(&name.span(), Flaw::UnknownNode(name.get_ref().clone()));
            NodeId(0)
        })
    }

    fn queue(&mut self, name: &Name) -> QueueId {
        (self.names.queue)(name.get_ref()).unwrap_or_else(|| {
            self.fault(&name.span(), Flaw::UnknownQueue(name.get_ref().clone()));
            QueueId(0)
        })
    }

    fn prompts(&mut self, names: &[Name]) -> Vec<PromptId> {
        let mut prompts = Vec::new();
        for name in names {
            match (self.names.prompt)(name.get_ref()) {
                Some(prompt) => prompts.push(prompt),
                None => self.fault(&name.span(), Flaw::UnknownPrompt(name.get_ref().clone())),
            }
        }
        prompts
    }

    fn some_prompts(&mut self, names: &Spanned<Vec<Name>>) -> Vec<PromptId> {
        if names.get_ref().is_empty() {
            self.fault(&names.span(), Flaw::Silent);
        }
        self.prompts(names.get_ref())
    }

    fn key(&mut self, key: &Name) -> Option<u8> {
        match key.get_ref().as_bytes() {
            b"0" => self.fault(&key.span(), Flaw::ZeroTaken),
            [digit @ (b'1'..=b'9' | b'*' | b'#')] => return Some(*digit),
            _ => self.fault(&key.span(), Flaw::NotAKey(key.get_ref().clone())),
        }
        None
    }

    /// A digit cannot end a number: only `*` and `#` can.
    fn terminator(&mut self, key: &Name) -> Option<u8> {
        match key.get_ref().as_bytes() {
            [end @ (b'*' | b'#')] => Some(*end),
            _ => {
                self.fault(&key.span(), Flaw::NotATerminator(key.get_ref().clone()));
                None
            }
        }
    }

    fn wait(&mut self, written_ms: Option<&Count>, default_ms: u64) -> Duration {
        Duration::from_millis(self.bounded(written_ms, default_ms, WAIT_MS))
    }

    fn bounded(&mut self, written: Option<&Count>, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some(written) = written else { return default };
        let value = *written.get_ref();
        if bounds.contains(&value) {
            return value;
        }
        let (min, max) = bounds.into_inner();
        self.fault(&written.span(), Flaw::OutOfBounds { value, min, max });
        value.clamp(min, max)
    }

    /// Depth first from the roots: a node met again on its own way is a circle, a node never met is dead.
    fn walk(&mut self, draft: &Draft, nodes: &[(Box<str>, Node)], roots: [NodeId; 2]) {
        let mut marks = vec![Mark::Unseen; nodes.len()];
        let mut circles = BTreeSet::new();
        for root in roots {
            visit(root, nodes, &mut marks, &mut circles);
        }
        for key in draft.keys() {
            let id = self.ids[&**key.get_ref()];
            if circles.contains(&id) {
                self.fault(&key.span(), Flaw::Circle(key.get_ref().clone()));
            }
            if marks[usize::from(id.0)] == Mark::Unseen {
                self.fault(&key.span(), Flaw::Unreachable(key.get_ref().clone()));
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Unseen,
    OnTheWay,
    Done,
}

/// At most [`NODES_MAX`] deep.
fn visit(id: NodeId, nodes: &[(Box<str>, Node)], marks: &mut [Mark], circles: &mut BTreeSet<NodeId>) {
    match marks[usize::from(id.0)] {
        Mark::Done => {}
        Mark::OnTheWay => {
            circles.insert(id);
        }
        Mark::Unseen => {
            marks[usize::from(id.0)] = Mark::OnTheWay;
            for target in nodes[usize::from(id.0)].1.targets() {
                visit(target, nodes, marks, circles);
            }
            marks[usize::from(id.0)] = Mark::Done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r##"
start = "hello"
human = "people"
[play.hello]
prompts = ["a"]
next = "ask"
[menu.ask]
prompts = ["b"]
choices = { 1 = "number", "#" = "people" }
[collect.number]
prompts = ["c"]
digits_max = 8
next = "bye"
[hang_up.bye]
prompts = ["d"]
[queue.people]
queue = "general"
"##;

    fn names() -> Names<'static> {
        Names {
            prompt: &|name| "abcd".find(name).map(|place| PromptId(place as u32)),
            queue: &|name| (name == "general").then_some(QueueId(4)),
        }
    }

    fn faults(text: &str) -> Vec<(String, Flaw)> {
        let draft: Draft = toml::from_str(text).unwrap();
        let mut faults = draft.compile("test", names()).expect_err("a faulty flow");
        faults.sort_by_key(|fault| fault.span.start);
        faults.into_iter().map(|fault| (text[fault.span].to_owned(), fault.flaw)).collect()
    }

    #[test]
    fn a_good_flow_compiles_with_its_defaults() {
        let flow = toml::from_str::<Draft>(GOOD).unwrap().compile("good", names()).unwrap();
        assert_eq!((flow.name(), flow.human()), ("good", Some((QueueId(4), 0))));
        let id = |name| flow.find(name).unwrap();
        assert_eq!(
            flow.node(id("hello")),
            &Node::Play { prompts: vec![PromptId(0)], barge_in: false, next: id("ask") }
        );
        let asking = |prompt| Asking {
            prompts: vec![PromptId(prompt)],
            barge_in: true,
            first_digit_wait: Duration::from_secs(5),
            retries: 2,
            invalid: vec![],
            timeout: vec![],
        };
        let choices = vec![(b'#', id("people")), (b'1', id("number"))];
        assert_eq!(flow.node(id("ask")), &Node::Menu { asking: asking(1), choices, repeat: None });
        let collect = Node::Collect {
            asking: asking(2),
            digits_min: 1,
            digits_max: 8,
            terminator: b'#',
            digit_wait: Duration::from_secs(4),
            next: id("bye"),
        };
        assert_eq!(flow.node(id("number")), &collect);
        assert_eq!(flow.find("nobody"), None);
    }

    #[test]
    fn each_mistake_is_found_where_it_is() {
        use Flaw::*;
        let name = Box::<str>::from;
        #[rustfmt::skip]
        let cases: &[(&str, &str, &str, Flaw)] = &[
            ("start = \"hello\"", "start = \"helo\"", "\"helo\"", UnknownNode(name("helo"))),
            ("human = \"people\"", "human = \"hello\"", "\"hello\"", HumanIsNoQueue(name("hello"))),
            ("human = \"people\"", "", "\"hello\"", HumanOrEnd),
            ("human = \"people\"", "end = \"hello\"", "\"hello\"", EndIsNoHangUp(name("hello"))),
            ("human = \"people\"", "end = \"hello\"", "people", QueueAfter(name("people"))),
            ("1 = \"number\"", "1 = \"nmber\"", "\"nmber\"", UnknownNode(name("nmber"))),
            ("1 = \"number\"", "1 = \"people\"", "number", Unreachable(name("number"))),
            ("next = \"bye\"", "next = \"ask\"", "ask", Circle(name("ask"))),
            ("next = \"ask\"", "next = \"hello\"", "hello", Circle(name("hello"))),
            ("\"#\" = ", "0 = ", "0", ZeroTaken),
            ("\"#\" = ", "12 = ", "12", NotAKey(name("12"))),
            ("[menu.ask]", "[menu.ask]\nrepeat = \"1\"", "1", KeyTwice('1')),
            ("[menu.ask]", "[menu.ask]\nrepeat = \"0\"", "\"0\"", ZeroTaken),
            ("prompts = [\"a\"]", "prompts = []", "[]", Silent),
            ("prompts = [\"d\"]", "prompts = [\"x\"]", "\"x\"", UnknownPrompt(name("x"))),
            ("queue = \"general\"", "queue = \"x\"", "\"x\"", UnknownQueue(name("x"))),
            ("queue = \"general\"", "queue = \"general\"\npriority = 101", "101", OutOfBounds { value: 101, min: 0, max: 100 }),
            ("digits_max = 8", "digits_max = 0", "0", OutOfBounds { value: 0, min: 1, max: 32 }),
            ("digits_max = 8", "digits_max = 8\ndigits_min = 9", "9", OutOfBounds { value: 9, min: 1, max: 8 }),
            ("digits_max = 8", "digits_max = 8\nterminator = \"5\"", "\"5\"", NotATerminator(name("5"))),
            ("digits_max = 8", "digits_max = 8\nretries = 6", "6", OutOfBounds { value: 6, min: 0, max: 5 }),
            ("digits_max = 8", "digits_max = 8\ndigit_wait_ms = 4", "4", OutOfBounds { value: 4, min: 500, max: 30_000 }),
            ("[menu.ask]", "[menu.ask]\nfirst_digit_wait_ms = 60000", "60000", OutOfBounds { value: 60_000, min: 500, max: 30_000 }),
            ("{ 1 = \"number\", \"#\" = \"people\" }", "{}", "{}", NoChoices),
        ];
        for (from, to, place, flaw) in cases {
            assert!(GOOD.contains(from), "{from}");
            let found = faults(&GOOD.replacen(from, to, 1));
            assert!(found.contains(&((*place).to_owned(), flaw.clone())), "{to}: {found:?}");
            assert!(!flaw.cure().is_empty());
        }
    }

    #[test]
    fn all_flaws_are_told_not_only_the_first() {
        let text =
            GOOD.replace("[\"a\"]", "[\"x\"]").replace("digits_max = 8", "digits_max = 99").replace("general", "y");
        assert_eq!(faults(&text).len(), 3);
    }

    #[test]
    fn a_name_stands_for_one_node() {
        let text = format!("{GOOD}[play.bye]\nprompts = [\"a\"]\nnext = \"people\"\n");
        assert_eq!(faults(&text), [("bye".to_owned(), Flaw::NodeTwice("bye".into()))]);
    }

    #[test]
    fn a_maze_is_refused() {
        let mut text = String::from("start = 'n0'\nhuman = 'people'\n[queue.people]\nqueue = 'general'\n");
        for n in 0..NODES_MAX {
            let next = if n + 1 == NODES_MAX { "people".into() } else { format!("n{}", n + 1) };
            text += &format!("[play.n{n}]\nprompts = ['a']\nnext = '{next}'\n");
        }
        assert_eq!(faults(&text), [("'n0'".to_owned(), Flaw::TooManyNodes(201))]);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for (from, to) in [("next = \"ask\"", "next = \"ask\"\nnxt = 1"), ("[hang_up.bye]", "[hangup.bye]")] {
            let error = toml::from_str::<Draft>(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.message().starts_with("unknown field"), "{error}");
        }
    }
}
