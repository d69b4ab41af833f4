//! Reads the scenario files of sipp, the part of their language that our scenarios use, so that one file is played by sipp
//! over UDP and TCP and by [`player`](super::player) over TLS and WebSockets.
//!
//! Elements: `send`, `recv`, `pause`, `nop`, `recvCmd` (a gate that the test opens), `label`, `Reference`; actions: `ereg`,
//! `log`. Whatever else a file holds is an error that names its line: nothing is passed over in silence.

use regex::Regex;
use roxmltree::{Document, Node, ParsingOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    pub file: PathBuf,
    pub steps: Vec<Step>,
}

/// One element.
#[derive(Debug)]
pub struct Step {
    pub line: u32,
    pub what: What,
    pub actions: Vec<Action>,
    /// Label to go on at.
    pub next: Option<String>,
}

#[derive(Debug)]
pub enum What {
    /// A message with keywords, and the line on which it begins.
    Send(String, u32),
    Recv(Recv),
    /// So long, or as long as `-d` says.
    Pause(Option<Duration>),
    /// Until the test says so.
    Gate,
    /// Only its actions.
    Nop,
    Label(String),
}

#[derive(Debug)]
pub struct Recv {
    pub expects: Expects,
    pub optional: bool,
    pub timeout: Option<Duration>,
    pub on_timeout: Option<String>,
    /// Whether Record-Route and Contact of it are the dialog's (`rrs`).
    pub routes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expects {
    Request(String),
    Response(u16),
}

#[derive(Debug)]
pub enum Action {
    /// Looks for `regexp` in the whole message, or behind the name of a header. `must`: that it is found, or is not.
    Search { line: u32, regexp: Regex, header: Option<String>, must: Option<bool>, into: Vec<String> },
    /// For people who read sipp's log.
    Log,
}

/// Where a file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {why}", file.display())]
pub struct ScenarioError {
    pub file: PathBuf,
    pub line: u32,
    pub why: String,
}

/// Where scenarios are; `name` is a path below `tests/scenarios` without `.xml`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(format!("{name}.xml"))
}

impl Scenario {
    /// Reads the scenario of this name.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn named(name: &str) -> Result<Scenario, ScenarioError> {
        let file = path(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Scenario::read(file, &text)
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn read(file: PathBuf, text: &str) -> Result<Scenario, ScenarioError> {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(|error| ScenarioError {
            file: file.clone(),
            line: error.pos().row,
            why: error.to_string(),
        })?;
        let read = Reading { file: &file, document: &document };
        let root = document.root_element();
        if root.tag_name().name() != "scenario" {
            return Err(read.wrong(root, "the outermost element is no <scenario>".into()));
        }
        let steps: Vec<Step> = root
            .children()
            .filter(Node::is_element)
            .filter(|node| node.tag_name().name() != "Reference")
            .map(|node| read.step(node))
            .collect::<Result<_, _>>()?;
        let scenario = Scenario { file, steps };
        for step in &scenario.steps {
            let timeout = if let What::Recv(recv) = &step.what { recv.on_timeout.as_ref() } else { None };
            if let Some(label) = step.next.iter().chain(timeout).find(|label| scenario.place(label).is_none()) {
                return Err(scenario.wrong(step.line, format!("no label {label}")));
            }
        }
        Ok(scenario)
    }

    /// Which step a label stands before.
    pub fn place(&self, label: &str) -> Option<usize> {
        self.steps.iter().position(|step| matches!(&step.what, What::Label(it) if it == label))
    }

    /// An error in a line of this file.
    pub fn wrong(&self, line: u32, why: String) -> ScenarioError {
        ScenarioError { file: self.file.clone(), line, why }
    }
}

struct Reading<'a> {
    file: &'a Path,
    document: &'a Document<'a>,
}

impl Reading<'_> {
    fn line(&self, node: Node) -> u32 {
        self.document.text_pos_at(node.range().start).row
    }

    fn wrong(&self, node: Node, why: String) -> ScenarioError {
        ScenarioError { file: self.file.into(), line: self.line(node), why }
    }

    /// That an element has no attribute beside these.
    fn only(&self, node: Node, known: &[&str]) -> Result<(), ScenarioError> {
        match node.attributes().find(|it| !known.contains(&it.name())) {
            Some(it) => {
                Err(self.wrong(node, format!("<{}> with {:?} is not known", node.tag_name().name(), it.name())))
            }
            None => Ok(()),
        }
    }

    fn number<T: std::str::FromStr>(&self, node: Node, name: &str) -> Result<Option<T>, ScenarioError> {
        let Some(text) = node.attribute(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(node, format!("{name}={text:?} is no number")))
    }

    fn truth(&self, node: Node, name: &str) -> Result<bool, ScenarioError> {
        match node.attribute(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(self.wrong(node, format!("{name}={other:?} is neither true nor false"))),
        }
    }

    fn milliseconds(&self, node: Node, name: &str) -> Result<Option<Duration>, ScenarioError> {
        Ok(self.number(node, name)?.map(Duration::from_millis))
    }

    fn step(&self, node: Node) -> Result<Step, ScenarioError> {
        let what = match node.tag_name().name() {
            "send" => self.send(node)?,
            "recv" => self.recv(node)?,
            "pause" => {
                self.only(node, &["milliseconds"])?;
                What::Pause(self.milliseconds(node, "milliseconds")?)
            }
            "nop" => {
                self.only(node, &["next"])?;
                What::Nop
            }
            "recvCmd" => {
                self.only(node, &[])?;
                What::Gate
            }
            "label" => {
                self.only(node, &["id"])?;
                What::Label(
                    node.attribute("id").ok_or_else(|| self.wrong(node, "a <label> needs an id".into()))?.into(),
                )
            }
            other => return Err(self.wrong(node, format!("<{other}> is not known"))),
        };
        let actions = node.children().filter(|it| it.has_tag_name("action")).flat_map(|it| it.children());
        let actions = actions.filter(Node::is_element).map(|it| self.action(it)).collect::<Result<_, _>>()?;
        if let Some(other) = node.children().find(|it| it.is_element() && !it.has_tag_name("action")) {
            return Err(self.wrong(other, format!("<{}> is not known here", other.tag_name().name())));
        }
        Ok(Step { line: self.line(node), what, actions, next: node.attribute("next").map(Into::into) })
    }

    fn send(&self, node: Node) -> Result<What, ScenarioError> {
        self.only(node, &["retrans", "next"])?;
        let text =
            node.children().find(Node::is_text).ok_or_else(|| self.wrong(node, "<send> holds nothing".into()))?;
        let whole = text.text().unwrap_or_default();
        let before = whole.len() - whole.trim_start().len();
        let lines = whole[..before].matches('\n').count();
        Ok(What::Send(whole.trim().into(), self.line(text) + u32::try_from(lines).expect("a short file")))
    }

    fn recv(&self, node: Node) -> Result<What, ScenarioError> {
        // `rtd` only makes statistics; credentials are always taken when they are asked for.
        let known = ["request", "response", "optional", "timeout", "ontimeout", "rrs", "rtd", "auth", "next"];
        self.only(node, &known)?;
        let expects = match (node.attribute("request"), self.number(node, "response")?) {
            (Some(method), None) => Expects::Request(method.into()),
            (None, Some(status)) => Expects::Response(status),
            (Some(_), Some(_)) | (None, None) => {
                return Err(self.wrong(node, "<recv> needs a request or a response".into()));
            }
        };
        Ok(What::Recv(Recv {
            expects,
            optional: self.truth(node, "optional")?,
            timeout: self.milliseconds(node, "timeout")?,
            on_timeout: node.attribute("ontimeout").map(Into::into),
            routes: self.truth(node, "rrs")?,
        }))
    }

    fn action(&self, node: Node) -> Result<Action, ScenarioError> {
        match node.tag_name().name() {
            "ereg" => {
                self.only(node, &["regexp", "search_in", "header", "check_it", "check_it_inverse", "assign_to"])?;
                let text = node.attribute("regexp").ok_or_else(|| self.wrong(node, "<ereg> needs a regexp".into()))?;
                let regexp = Regex::new(text).map_err(|error| self.wrong(node, error.to_string()))?;
                let header = match (node.attribute("search_in"), node.attribute("header")) {
                    (None | Some("msg"), None) => None,
                    (Some("hdr"), Some(name)) => Some(name.trim_end_matches(':').to_owned()),
                    (search_in, header) => {
                        let why = format!("<ereg> cannot search in {search_in:?}, header {header:?}");
                        return Err(self.wrong(node, why));
                    }
                };
                let must = match (self.truth(node, "check_it")?, self.truth(node, "check_it_inverse")?) {
                    (true, _) => Some(true),
                    (false, true) => Some(false),
                    (false, false) => None,
                };
                let into = node.attribute("assign_to").unwrap_or_default().split(',').map(Into::into).collect();
                Ok(Action::Search { line: self.line(node), regexp, header, must, into })
            }
            "log" => {
                self.only(node, &["message"])?;
                Ok(Action::Log)
            }
            other => Err(self.wrong(node, format!("the action <{other}> is not known"))),
        }
    }
}

#[test]
fn what_is_not_known_is_told_with_its_line() {
    let read = |inside: &str| {
        let text = format!("<scenario name=\"x\">\n<pause/>\n{inside}\n</scenario>");
        Scenario::read("x.xml".into(), &text).map(|_| ()).map_err(|error| error.to_string())
    };
    for (inside, wrong) in [
        ("<sendCmd/>", "x.xml:3: <sendCmd> is not known"),
        ("<nop>\n<action><exec command=\"x\"/></action></nop>", "x.xml:4: the action <exec> is not known"),
        ("<recv request=\"BYE\" chance=\"0.5\"/>", "x.xml:3: <recv> with \"chance\" is not known"),
        ("<recv/>", "x.xml:3: <recv> needs a request or a response"),
        ("<recv response=\"ok\"/>", "x.xml:3: response=\"ok\" is no number"),
        ("<recv response=\"200\" next=\"7\"/>", "x.xml:3: no label 7"),
        ("<recv request=\"BYE\" optional=\"global\"/>", "x.xml:3: optional=\"global\" is neither true nor false"),
        (
            "<recv request=\"BYE\"><action><ereg regexp=\".\" search_in=\"body\"/></action></recv>",
            "x.xml:3: <ereg> cannot search in Some(\"body\"), header None",
        ),
    ] {
        assert_eq!(read(inside), Err(wrong.into()));
    }
    assert_eq!(read("<label id=\"7\"/><recv response=\"200\" next=\"7\"/>"), Ok(()));
}
