//! Plays a [`Scenario`] over a [`Wire`]: what sipp does over UDP and TCP, done over TLS and WebSockets.
//!
//! Transports here lose nothing, so nothing is repeated and no repetition is looked for, but for a 2xx to an INVITE, which
//! its sender repeats until the ACK comes (RFC 3261 §13.3.1.4). A message that the scenario does not await ends it.

use super::api::EVENT_MAX;
use super::phone::header;
use super::scenario::{Action, Expects, Recv, Scenario, ScenarioError, Step, What};
use super::sip::Algorithm;
use super::sipp::ports;
use super::stream::{Next, Wire};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A scenario being played in its own thread.
pub struct Playing {
    thread: JoinHandle<Result<(), ScenarioError>>,
    transcript: Arc<Mutex<String>>,
    gate: Sender<()>,
}

/// One run of a scenario.
struct Player {
    wire: Wire,
    scenario: Scenario,
    /// What keywords mean that the scenario does not change.
    values: BTreeMap<String, String>,
    transcript: Arc<Mutex<String>>,
    gate: Receiver<()>,
    variables: BTreeMap<String, String>,
    /// The last message that came.
    last: String,
    /// The last INVITE's 2xx, which may come again.
    accepted: String,
    call_id: String,
    routes: Vec<String>,
    target: String,
    challenge: String,
    pause: Duration,
}

/// Begins to play. `values` are what keywords mean (`service`, `domain` …); the wire knows its own addresses. `pause` is
/// how long a pause without a length is.
pub fn play(wire: Wire, scenario: Scenario, values: &[(&str, &str)], pause: Duration) -> Playing {
    let (opened, gate) = channel();
    let transcript = Arc::new(Mutex::new(String::new()));
    let mut values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (local_ip, local_port) = wire.host().rsplit_once(':').unwrap_or((wire.host(), "5060"));
    let far = wire.peer();
    for (name, value) in [
        ("transport", wire.transport().to_uppercase()),
        ("uri_transport", wire.transport().replace("wss", "ws")),
        ("local_ip", local_ip.into()),
        ("local_port", local_port.into()),
        ("local_ip_type", "4".into()),
        ("remote_ip", far.ip().to_string()),
        ("remote_port", far.port().to_string()),
        ("media_ip", "127.0.0.1".into()),
        ("media_ip_type", "4".into()),
        ("call_number", "1".into()),
        ("media_port", ports(4).to_string()),
    ] {
        values.insert(name.into(), value);
    }
    let call_id = format!("{}@player", wire.host());
    let player = Player {
        wire,
        scenario,
        values,
        transcript: Arc::clone(&transcript),
        gate,
        variables: BTreeMap::new(),
        last: String::new(),
        accepted: String::new(),
        call_id,
        routes: Vec::new(),
        target: String::new(),
        challenge: String::new(),
        pause,
    };
    Playing { thread: std::thread::spawn(|| player.play()), transcript, gate: opened }
}

impl Playing {
    /// Opens the gate that the scenario stands at or comes to.
    pub fn go(&self) {
        // One that has failed says so itself.
        let _ = self.gate.send(());
    }

    /// All that was sent and received so far.
    pub fn messages(&self) -> String {
        self.transcript.lock().unwrap().clone()
    }

    /// Waits for its end, which must be success. Returns the messages sent and received.
    pub fn succeeds(self) -> String {
        let ended = self.thread.join().expect("the player does not panic");
        let messages = self.transcript.lock().unwrap().clone();
        if let Err(error) = ended {
            panic!("{error}\n{messages}");
        }
        messages
    }
}

impl Player {
    fn play(mut self) -> Result<(), ScenarioError> {
        let steps = std::mem::take(&mut self.scenario.steps);
        let labels: BTreeMap<&str, usize> = steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| match &step.what {
                What::Label(label) => Some((&**label, at)),
                What::Send(..) | What::Recv(_) | What::Pause(_) | What::Gate | What::Nop => None,
            })
            .collect();
        // As sipp counts messages: labels are none.
        let index = |at: usize| steps[..at].iter().filter(|step| !matches!(step.what, What::Label(_))).count();
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            let mut done = at;
            let mut label = step.next.as_ref();
            match &step.what {
                What::Send(text, line) => self.send(text, *line, index(at))?,
                What::Recv(_) => match self.receive(&steps, at)? {
                    Some(found) => {
                        done = found;
                        label = steps[found].next.as_ref();
                    }
                    None => {
                        let What::Recv(Recv { on_timeout, .. }) = &step.what else { continue };
                        label = on_timeout.as_ref();
                    }
                },
                What::Pause(length) => std::thread::park_timeout(length.unwrap_or(self.pause)),
                What::Gate => {
                    let opened = self.gate.recv_timeout(EVENT_MAX * 2);
                    opened.map_err(|_| self.scenario.wrong(step.line, "nobody opened the gate".into()))?;
                }
                What::Nop | What::Label(_) => {}
            }
            for action in &steps[done].actions {
                self.act(action)?;
            }
            at = match label {
                Some(label) => labels[&**label],
                None => done + 1,
            };
        }
        Ok(())
    }

    fn send(&mut self, text: &str, line: u32, index: usize) -> Result<(), ScenarioError> {
        let message = self.message(text, line, index)?;
        self.note("sent", &message);
        self.wire.send(message.as_bytes());
        Ok(())
    }

    fn note(&self, what: &str, message: &str) {
        self.transcript.lock().unwrap().push_str(&format!("--- {what}\n{message}\n"));
    }

    /// Receives what step `at`, or an optional one before the next that is not, awaits. Returns which; `None` when the
    /// time was up and the scenario says what then.
    fn receive(&mut self, steps: &[Step], at: usize) -> Result<Option<usize>, ScenarioError> {
        let first_unbound = |step: &Step| !matches!(&step.what, What::Recv(recv) if recv.optional);
        let bound = steps[at..].iter().position(first_unbound).map_or(steps.len() - 1, |more| at + more);
        // An optional one that stood directly before may come late.
        let earlier = steps[..at].iter().rposition(first_unbound).map_or(0, |last| last + 1);
        let recv = |place: usize| match &steps[place].what {
            What::Recv(recv) => Some(recv),
            What::Send(..) | What::Pause(_) | What::Gate | What::Nop | What::Label(_) => None,
        };
        let limit = recv(at).and_then(|it| it.timeout);
        let until = Instant::now() + limit.unwrap_or(EVENT_MAX);
        loop {
            let message = match self.wire.next_before(until) {
                Next::Message(message) => message,
                Next::Late if recv(at).is_some_and(|it| it.on_timeout.is_some()) => return Ok(None),
                Next::Late => return Err(self.scenario.wrong(steps[at].line, "nothing came in time".into())),
                Next::Ended => return Err(self.scenario.wrong(steps[at].line, "the connection was closed".into())),
            };
            if message.trim().is_empty() {
                continue;
            }
            self.note("received", &message);
            if message == self.accepted {
                continue;
            }
            let awaits = |place: &usize| recv(*place).is_some_and(|it| it.expects.is(&message));
            if let Some(place) = (at..=bound).find(awaits) {
                self.take(message, recv(place).is_some_and(|it| it.routes));
                return Ok(Some(place));
            }
            if !(earlier..at).any(|place| awaits(&place)) {
                let first = message.lines().next().unwrap_or_default();
                return Err(self.scenario.wrong(steps[at].line, format!("this came instead: {first}")));
            }
        }
    }

    fn take(&mut self, message: String, routes: bool) {
        let response = message.starts_with("SIP/2.0 ");
        self.call_id = header(&message, "Call-ID").into();
        if routes {
            let contact = header(&message, "Contact");
            let target = uri_of(contact);
            let mut path: Vec<String> = values(&message, "Record-Route");
            if response {
                path.reverse();
            }
            // A strict router is the Request-URI and finds the target at the end (RFC 3261 §12.2.1.1).
            self.target = match path.first() {
                Some(first) if !first.contains(";lr") => {
                    let first = uri_of(first);
                    path.remove(0);
                    path.push(format!("<{target}>"));
                    first
                }
                Some(_) | None => target,
            };
            self.routes = path;
        }
        if message.starts_with("SIP/2.0 401") || message.starts_with("SIP/2.0 407") {
            self.challenge = message.clone();
        }
        if message.starts_with("SIP/2.0 2") && header(&message, "CSeq").ends_with("INVITE") {
            self.accepted = message.clone();
        }
        self.last = message;
    }

    fn act(&mut self, action: &Action) -> Result<(), ScenarioError> {
        let Action::Search { line, regexp, header, must, into } = action else { return Ok(()) };
        let text = match header {
            Some(name) => behind(&self.last, name).to_owned(),
            None => self.last.clone(),
        };
        let found = regexp.captures(&text);
        // As in sipp, a match of nothing is none.
        let some = found.as_ref().is_some_and(|found| !found[0].is_empty());
        if must.is_some_and(|must| must != some) {
            let why = if some { "is there" } else { "is not there" };
            return Err(self.scenario.wrong(*line, format!("{regexp} {why}:\n{text}")));
        }
        for (group, name) in into.iter().enumerate() {
            let value = found.as_ref().and_then(|found| found.get(group)).map(|it| it.as_str());
            self.variables.insert(name.clone(), value.unwrap_or_default().to_owned());
        }
        Ok(())
    }

    /// A message with its keywords replaced; a line that comes to nothing is left out.
    fn message(&self, text: &str, line: u32, index: usize) -> Result<String, ScenarioError> {
        let (mut lines, mut body, mut in_body) = (Vec::new(), Vec::new(), false);
        for (number, written) in (line..).zip(text.lines().map(str::trim_start)) {
            if written.is_empty() && !in_body {
                in_body = true;
            } else if in_body {
                body.push(self.fill(written, number, index)?);
            } else {
                let filled = if written == "Content-Length: [len]" {
                    written.into()
                } else {
                    self.fill(written, number, index)?
                };
                lines.extend((!filled.trim().is_empty()).then_some(filled));
            }
        }
        let body: String = body.iter().map(|line| format!("{line}\r\n")).collect();
        let head = lines.join("\r\n").replace("[len]", &body.len().to_string());
        Ok(format!("{head}\r\n\r\n{body}"))
    }

    fn fill(&self, text: &str, line: u32, index: usize) -> Result<String, ScenarioError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('[') {
            let Some((keyword, after)) = after.split_once(']') else {
                return Err(self.scenario.wrong(line, format!("no ] in {text:?}")));
            };
            filled.push_str(before);
            let value = self.keyword(keyword, index);
            filled.push_str(&value.ok_or_else(|| self.scenario.wrong(line, format!("[{keyword}] is not known")))?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn keyword(&self, keyword: &str, index: usize) -> Option<String> {
        if let Some(variable) = keyword.strip_prefix('$') {
            return self.variables.get(variable).cloned();
        }
        if let Some(name) = keyword.strip_prefix("last_").and_then(|name| name.strip_suffix(':')) {
            return Some(whole_lines(&self.last, name));
        }
        if keyword == "authentication" {
            return self.authentication();
        }
        let (name, offset) = match keyword.find(['+', '-']) {
            Some(at) => (&keyword[..at], keyword[at..].parse::<i64>().ok()?),
            None => (keyword, 0),
        };
        let plus = |number: &str| number.trim().parse::<i64>().ok().map(|number| (number + offset).to_string());
        match name {
            "branch" => Some(format!("z9hG4bK-{}-{}", self.call_id, plus(&index.to_string())?)),
            "call_id" => Some(self.call_id.clone()),
            "next_url" => Some(self.target.clone()),
            "routes" if self.routes.is_empty() => Some(String::new()),
            "routes" => Some(format!("Route: {}", self.routes.join(", "))),
            "last_cseq_number" => plus(header(&self.last, "CSeq").split(' ').next()?),
            "media_port" => plus(self.values.get(name)?),
            _ if offset == 0 => self.values.get(name).cloned(),
            _ => None,
        }
    }

    /// The proof that the last challenge asks for (RFC 3261 §22), in MD5 as sipp has it.
    fn authentication(&self) -> Option<String> {
        let (user, password) = (self.values.get("au")?, self.values.get("ap")?);
        let proxy = self.challenge.starts_with("SIP/2.0 407");
        let (asks, answers) =
            if proxy { ("Proxy-Authenticate", "Proxy-Authorization") } else { ("WWW-Authenticate", "Authorization") };
        let asked = header(&self.challenge, asks);
        let of = |name: &str| {
            asked.split(&format!("{name}=\"")).nth(1).and_then(|it| it.split('"').next()).unwrap_or_default()
        };
        let (realm, nonce) = (of("realm"), of("nonce"));
        let method = header(&self.challenge, "CSeq").split(' ').nth(1).unwrap_or_default();
        let uri = format!("sip:{realm}");
        let who = Algorithm::Md5.hash(&format!("{user}:{realm}:{password}"));
        let what = Algorithm::Md5.hash(&format!("{method}:{uri}"));
        let response = Algorithm::Md5.hash(&format!("{who}:{nonce}:00000001:0a4f113b:auth:{what}"));
        Some(format!(
            "{answers}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113b\""
        ))
    }
}

impl Expects {
    fn is(&self, message: &str) -> bool {
        match self {
            Expects::Request(method) => message.starts_with(&format!("{method} ")),
            Expects::Response(status) => message.starts_with(&format!("SIP/2.0 {status} ")),
        }
    }
}

/// What stands between `<` and `>`.
fn uri_of(address: &str) -> String {
    address.split('<').nth(1).unwrap_or(address).split('>').next().unwrap_or_default().into()
}

/// All values of a header, in order.
fn values(message: &str, name: &str) -> Vec<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    lines.flat_map(|(_, value)| value.split(',')).map(|value| value.trim().to_owned()).collect()
}

/// The lines of a header as they came.
fn whole_lines(message: &str, name: &str) -> String {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let of_name = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    head.lines().filter(of_name).collect::<Vec<_>>().join("\r\n")
}

/// What stands behind a header's name and colon in its first line, its leading space included.
fn behind<'a>(message: &'a str, name: &str) -> &'a str {
    let lines = message.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or("")
}
