//! The town: citizens who call and agents who answer, all on one thread and two sockets.
//!
//! Calls leave by the clock, whatever becomes of earlier ones (an open loop, as real callers are). Requests are repeated
//! as RFC 3261 §17.1 wants it, answers to INVITE until their ACK; a call that is not through by the end of the run is
//! lost.

use crate::engine::{DOMAIN, PASSWORD, agent_name};
use crate::wire::{Heard, Request, authorization, description};
use hdrhistogram::Histogram;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// After the last call left, calls have this long to be through.
const PATIENCE: Duration = Duration::from_secs(8);
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
const CITIZENS: Token = Token(0);
const AGENTS: Token = Token(1);
/// Registrations on their way at once.
const REGISTERING_MAX: usize = 50;
/// The discard port: sound that nobody hears.
const DISCARD: u16 = 9;

/// A call that reaches an agent within this was in time.
pub const IN_TIME_US: u64 = 2_000_000;

/// What the town does in one run.
pub struct Plan {
    pub calls: usize,
    /// Calls a second; `None`: each when the one before it is over.
    pub rate: Option<f64>,
    /// From the agent's ACK to the BYE; `None`: until [`Town::end`].
    pub talk: Option<Duration>,
    /// Who says BYE.
    pub agents_end: bool,
    /// Where sound is wanted: ports of each call's citizen and agent; none for `a=inactive`.
    pub sound: Vec<[u16; 2]>,
}

/// What became of it.
pub struct Outcome {
    /// Calls that reached an agent and ended in order.
    pub through: usize,
    /// Callers for whom a second agent was rung beside the first, and agents rung beside their talk.
    pub doubled: usize,
    /// Calls that were refused by a final answer, by its code.
    pub refused: HashMap<u16, usize>,
    /// From the citizen's INVITE to the INVITE at the agent, in microseconds.
    pub reach_us: Histogram<u64>,
    /// From the agent's BYE to the next INVITE at that agent, in microseconds.
    pub free_us: Histogram<u64>,
    /// From the first INVITE to the last end.
    pub lasted: Duration,
    /// By how much the town itself was late with a call at worst.
    pub late: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Call,
    Bye(usize),
    /// The citizen's request, or what the agent last sent, unless it was answered; for the n-th time.
    Citizen(usize, u32),
    Agent(usize, u32),
}

#[derive(Default)]
struct Citizen {
    to: String,
    contact: String,
    /// The last request, until it is answered.
    pending: Option<String>,
    talking: bool,
    over: bool,
}

struct Agent {
    index: usize,
    /// The INVITE's From and our To, as they stand in the answer, and the engine's Contact.
    from: String,
    to: String,
    contact: String,
    call_id: String,
    /// Of the last request in the dialog.
    cseq: u32,
    answer: String,
    pending: Option<String>,
    over: bool,
}

struct Call {
    invited: Instant,
    citizen: Citizen,
    agent: Option<Agent>,
    refused: bool,
    /// The engine's addresses towards citizen and agent.
    sound: [Option<SocketAddr>; 2],
}

impl Call {
    fn over(&self) -> bool {
        self.citizen.over && self.agent.as_ref().is_none_or(|agent| agent.over)
    }
}

/// All phones.
pub struct Town {
    engine: SocketAddr,
    poll: Poll,
    events: Events,
    citizens: UdpSocket,
    agents: UdpSocket,
    here: [SocketAddr; 2],
    plan: Plan,
    /// Calls of earlier runs: numbers go on.
    first: usize,
    /// Patience counts from the last call that was through: where a queue builds up that is to be worked off.
    pub patient: bool,
    calls: Vec<Call>,
    legs: HashMap<String, usize>,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    freed: HashMap<usize, Instant>,
    /// Agents who are rung or talk, each with their call.
    busy: HashMap<usize, usize>,
    outcome: Outcome,
    left: usize,
    began: Instant,
}

fn socket() -> UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
    socket.set_nonblocking(true).expect("sockets need not block");
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER_BYTES).expect("a size");
    UdpSocket::from_std(socket)
}

/// Of microseconds, up to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are good")
}

impl Outcome {
    fn new() -> Outcome {
        let (reach_us, free_us) = (histogram(), histogram());
        let (refused, lasted, late) = (HashMap::new(), Duration::ZERO, Duration::ZERO);
        Outcome { through: 0, doubled: 0, refused, reach_us, free_us, lasted, late }
    }

    /// What became of a further run.
    pub fn add(&mut self, more: Outcome) {
        self.through += more.through;
        self.doubled += more.doubled;
        for (code, count) in more.refused {
            *self.refused.entry(code).or_default() += count;
        }
        self.reach_us.add(more.reach_us).expect("the same bounds");
        self.free_us.add(more.free_us).expect("the same bounds");
        self.lasted += more.lasted;
        self.late = self.late.max(more.late);
    }
}

impl Plan {
    /// Calls that talk for a tenth of a second, at a steady rate.
    pub fn steady(rate: f64, lasting: Duration) -> Plan {
        let calls = (rate * lasting.as_secs_f64()) as usize;
        Plan { calls, rate: Some(rate), talk: Some(Duration::from_millis(100)), agents_end: false, sound: Vec::new() }
    }
}

impl Town {
    pub fn new(engine: SocketAddr) -> Town {
        let (poll, mut citizens, mut agents) = (Poll::new().expect("epoll"), socket(), socket());
        poll.registry().register(&mut citizens, CITIZENS, Interest::READABLE).expect("epoll takes sockets");
        poll.registry().register(&mut agents, AGENTS, Interest::READABLE).expect("epoll takes sockets");
        let here = [&citizens, &agents].map(|socket| socket.local_addr().expect("bound"));
        Town {
            engine,
            poll,
            events: Events::with_capacity(8),
            citizens,
            agents,
            here,
            plan: Plan::steady(1.0, Duration::ZERO),
            first: 0,
            patient: false,
            calls: Vec::new(),
            legs: HashMap::new(),
            due: BinaryHeap::new(),
            freed: HashMap::new(),
            busy: HashMap::new(),
            outcome: Outcome::new(),
            left: 0,
            began: Instant::now(),
        }
    }

    /// The same, whose citizens are numbered from `first` on.
    pub fn numbered_from(engine: SocketAddr, first: usize) -> Town {
        Town { first, ..Town::new(engine) }
    }

    /// The agent of this call presses a key: an INFO, as many phones send it. It is sent once: the loopback loses nothing.
    pub fn press(&mut self, index: usize, key: char) {
        let agent = self.calls[index].agent.as_mut().expect("an agent talks");
        agent.cseq += 1;
        let Agent { from, to, contact, call_id, cseq, .. } = &*agent;
        let request = Request {
            method: "INFO",
            uri: contact,
            local: self.here[1],
            branch: &format!("i{}.{cseq}", self.first + index),
            from: to,
            to: from,
            call_id,
            cseq: *cseq,
            contact: "",
            more: "Content-Type: application/dtmf-relay\r\n",
            body: "",
        };
        let body = format!("Signal={key}\r\nDuration=100\r\n");
        let text = request.text().replace("Content-Length: 0\r\n", &format!("Content-Length: {}\r\n", body.len()));
        self.send(1, &(text + &body));
    }

    /// Takes what came, for so long.
    pub fn pump(&mut self, lasting: Duration) {
        let end = Instant::now() + lasting;
        loop {
            let wait = end.saturating_duration_since(Instant::now());
            self.step(wait);
            if wait.is_zero() {
                return;
            }
        }
    }

    /// Registers these agents with digest; returns when all have their 200.
    pub fn register(&mut self, agents: std::ops::Range<usize>) {
        let (mut next, mut open, mut buffer) = (agents.start, 0, [0; 4_096]);
        while next < agents.end || open > 0 {
            while next < agents.end && open < REGISTERING_MAX {
                self.send_register(next, 1, "");
                (next, open) = (next + 1, open + 1);
            }
            self.poll.poll(&mut self.events, Some(Duration::from_secs(5))).expect("epoll");
            assert!(!self.events.is_empty(), "{open} registrations are not answered");
            while let Ok(length) = self.agents.recv(&mut buffer) {
                let text = std::str::from_utf8(&buffer[..length]).expect("text");
                let heard = Heard::read(text);
                let index = heard.call_id.trim_start_matches('r').parse().expect("our Call-ID");
                match heard.status() {
                    Some(401) => {
                        let uri = format!("sip:{DOMAIN}");
                        let proof = authorization(heard.challenge, &agent_name(index), PASSWORD, &uri);
                        self.send_register(index, 2, &proof);
                    }
                    Some(200) => open -= 1,
                    _ => panic!("a registration is refused: {}", heard.start),
                }
            }
        }
    }

    fn send_register(&self, index: usize, cseq: u32, more: &str) {
        let (name, here) = (agent_name(index), self.here[1]);
        let own = format!("<sip:{name}@{DOMAIN}>");
        let request = Request {
            method: "REGISTER",
            uri: &format!("sip:{DOMAIN}"),
            local: here,
            branch: &format!("r{index}.{cseq}"),
            from: &format!("{own};tag=r{index}"),
            to: &own,
            call_id: &format!("r{index}"),
            cseq,
            contact: &format!("sip:{name}@{here}"),
            more: &format!("Expires: 3600\r\n{more}"),
            body: "",
        };
        self.agents.send_to(request.text().as_bytes(), self.engine).expect("the loopback takes packets");
    }

    /// Carries the plan out. Returns when all calls are over, or talk if they are to, or patience is at its end.
    pub fn run(&mut self, plan: Plan) -> Outcome {
        self.first += self.calls.len();
        self.calls.clear();
        self.legs.clear();
        self.due.clear();
        self.freed.clear();
        self.busy.clear();
        (self.plan, self.outcome, self.began) = (plan, Outcome::new(), Instant::now());
        self.left = self.plan.calls;
        self.due.push(Reverse((self.began, Due::Call)));
        let (mut last, mut left) = (self.began, self.left);
        while self.left > 0 {
            self.step(T1);
            if std::mem::replace(&mut left, self.left) != self.left && self.patient {
                last = Instant::now();
            }
            // Patience counts from the last call's start, and a call at a time has as much.
            if self.calls.len() < self.plan.calls && self.plan.rate.is_some() {
                last = Instant::now();
            } else if let Some(call) = self.calls.last() {
                last = last.max(call.invited);
            }
            if last.elapsed() > PATIENCE {
                break;
            }
        }
        self.outcome.lasted = self.began.elapsed();
        std::mem::replace(&mut self.outcome, Outcome::new())
    }

    /// Ends all calls that talk and waits for it.
    pub fn end(&mut self) {
        let now = Instant::now();
        self.left = self.calls.iter().filter(|call| !call.over()).count();
        self.plan.talk = Some(Duration::ZERO);
        for index in 0..self.calls.len() {
            self.due.push(Reverse((now, Due::Bye(index))));
        }
        while self.left > 0 && now.elapsed() < PATIENCE {
            self.step(T1);
        }
    }

    /// Where each call's citizen and agent send their sound to.
    pub fn sound(&self) -> Vec<[SocketAddr; 2]> {
        self.calls.iter().filter_map(|call| Some([call.sound[0]?, call.sound[1]?])).collect()
    }

    /// Waits for packets or the next timer, and does what there is to do.
    fn step(&mut self, wait_max: Duration) {
        let now = Instant::now();
        let wait = self.due.peek().map_or(wait_max, |Reverse((at, _))| at.saturating_duration_since(now));
        self.poll.poll(&mut self.events, Some(wait.min(wait_max))).expect("epoll");
        let mut buffer = [0; 8_192];
        while let Ok(length) = self.agents.recv(&mut buffer) {
            self.at_agents(std::str::from_utf8(&buffer[..length]).expect("text"));
        }
        while let Ok(length) = self.citizens.recv(&mut buffer) {
            self.at_citizens(std::str::from_utf8(&buffer[..length]).expect("text"));
        }
        let now = Instant::now();
        while let Some(Reverse((at, due))) = self.due.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.due.pop();
            match due {
                Due::Call => self.call(at, now),
                Due::Bye(index) => self.bye(index),
                Due::Citizen(index, nth) => {
                    let pending = self.calls[index].citizen.pending.clone();
                    self.repeat(pending, 0, Due::Citizen(index, nth + 1), nth);
                }
                Due::Agent(index, nth) => {
                    let pending = self.calls[index].agent.as_ref().and_then(|agent| agent.pending.clone());
                    self.repeat(pending, 1, Due::Agent(index, nth + 1), nth);
                }
            }
        }
    }

    fn repeat(&mut self, pending: Option<String>, who: usize, next: Due, nth: u32) {
        if let Some(text) = pending {
            self.send(who, &text);
            self.due.push(Reverse((Instant::now() + (T1 * 2u32.pow(nth.min(4))).min(T2), next)));
        }
    }

    fn send(&self, who: usize, text: &str) {
        let socket = if who == 0 { &self.citizens } else { &self.agents };
        // What the system does not take is lost like any datagram.
        let _ = socket.send_to(text.as_bytes(), self.engine);
    }

    /// The next citizen calls.
    fn call(&mut self, at: Instant, now: Instant) {
        self.outcome.late = self.outcome.late.max(now - at);
        let index = self.calls.len();
        let sound = self.plan.sound.get(index);
        let body = description(sound.map_or(DISCARD, |s| s[0]), if sound.is_some() { "sendrecv" } else { "inactive" });
        let text = self.citizen_request("INVITE", index, "sip:12345@127.0.0.1", "<sip:12345@127.0.0.1>", &body);
        self.send(0, &text);
        let citizen = Citizen { pending: Some(text), ..Citizen::default() };
        self.calls.push(Call { invited: now, citizen, agent: None, refused: false, sound: [None; 2] });
        self.due.push(Reverse((now + T1, Due::Citizen(index, 1))));
        if let Some(rate) = self.plan.rate.filter(|_| index + 1 < self.plan.calls) {
            let next = self.began + Duration::from_secs_f64((index + 1) as f64 / rate);
            self.due.push(Reverse((next, Due::Call)));
        }
    }

    fn citizen_request(&self, method: &str, index: usize, uri: &str, to: &str, body: &str) -> String {
        let number = self.first + index;
        let request = Request {
            method,
            uri,
            local: self.here[0],
            branch: &format!("{number}{method}"),
            from: &format!("<sip:138{number:08}@127.0.0.1>;tag=c{number}"),
            to,
            call_id: &format!("c{number}"),
            cseq: if method == "BYE" { 2 } else { 1 },
            contact: &format!("sip:138{number:08}@{}", self.here[0]),
            more: "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nSupported: timer\r\n",
            body,
        };
        request.text()
    }

    fn bye(&mut self, index: usize) {
        let call = &self.calls[index];
        let ended = call.over() || !call.citizen.talking;
        match (&call.agent, self.plan.agents_end) {
            _ if ended => {}
            (Some(agent), true) => {
                let Agent { from, to, contact, call_id, cseq, index: number, .. } = agent;
                let request = Request {
                    method: "BYE",
                    uri: contact,
                    local: self.here[1],
                    branch: &format!("a{}", self.first + index),
                    from: to,
                    to: from,
                    call_id,
                    cseq: *cseq + 1,
                    contact: "",
                    more: "",
                    body: "",
                };
                let (text, number) = (request.text(), *number);
                self.freed.insert(number, Instant::now());
                self.send(1, &text);
                self.calls[index].agent.as_mut().expect("just seen").pending = Some(text);
                self.due.push(Reverse((Instant::now() + T1, Due::Agent(index, 1))));
            }
            _ => {
                let text = self.citizen_request("BYE", index, &call.citizen.contact, &call.citizen.to, "");
                self.send(0, &text);
                self.calls[index].citizen.pending = Some(text);
                self.due.push(Reverse((Instant::now() + T1, Due::Citizen(index, 1))));
            }
        }
    }

    fn at_citizens(&mut self, text: &str) {
        let heard = Heard::read(text);
        let number: Option<usize> = heard.call_id.strip_prefix('c').and_then(|number| number.parse().ok());
        let index = number.and_then(|number| number.checked_sub(self.first)).filter(|index| *index < self.calls.len());
        let Some(status) = heard.status() else {
            // BYE, or a question whether the call still stands.
            if heard.method() != "ACK" {
                self.send(0, &heard.answer("200 OK", "c", "", ""));
            }
            if let Some(index) = index.filter(|_| heard.method() == "BYE") {
                self.over(index, true);
            }
            return;
        };
        let Some(index) = index else { return };
        match (heard.method(), status) {
            // A late provisional answer changes nothing.
            ("INVITE", 100..200) => drop(self.calls[index].citizen.pending.take_if(|text| text.starts_with("INVITE"))),
            ("INVITE", 200) => self.answered(index, &heard),
            ("INVITE", _) => {
                let ack = self.citizen_request("ACK", index, "sip:12345@127.0.0.1", heard.to, "");
                self.send(
                    0,
                    &ack.replace(&format!("{}ACK;", self.first + index), &format!("{}INVITE;", self.first + index)),
                );
                if !self.calls[index].citizen.over {
                    self.calls[index].citizen.pending = None;
                    self.calls[index].refused = true;
                    *self.outcome.refused.entry(status).or_default() += 1;
                    self.over(index, true);
                }
            }
            ("BYE", 200..) => {
                self.calls[index].citizen.pending = None;
                self.over(index, true);
            }
            _ => {}
        }
    }

    fn answered(&mut self, index: usize, heard: &Heard<'_>) {
        self.send(0, &self.citizen_request("ACK", index, heard.contact, heard.to, ""));
        let call = &mut self.calls[index];
        if !call.citizen.talking {
            let (to, contact) = (heard.to.to_owned(), heard.contact.to_owned());
            call.citizen = Citizen { to, contact, pending: None, talking: true, over: false };
            call.sound[0] = heard.sound();
        }
    }

    fn at_agents(&mut self, text: &str) {
        let heard = Heard::read(text);
        let index = self.legs.get(heard.call_id).copied();
        if heard.status().is_some() {
            if let Some(index) = index.filter(|_| heard.method() == "BYE") {
                self.over(index, false);
            }
            return;
        }
        match (heard.start.split(' ').next().unwrap_or_default(), index) {
            ("INVITE", None) => self.rung(&heard),
            ("INVITE", Some(index)) => {
                if let Some(agent) = &self.calls[index].agent {
                    self.send(1, &agent.answer);
                }
            }
            ("ACK", Some(index)) => {
                let call = &mut self.calls[index];
                let Some(agent) = call.agent.as_mut().filter(|agent| agent.pending.is_some()) else { return };
                agent.pending = None;
                if self.plan.talk.is_none() {
                    self.left -= 1;
                }
                if let Some(talk) = self.plan.talk {
                    self.due.push(Reverse((Instant::now() + talk, Due::Bye(index))));
                }
            }
            ("ACK", None) => {}
            (method, index) => {
                self.send(1, &heard.answer("200 OK", "a", "", ""));
                if let Some(index) = index.filter(|_| method == "BYE") {
                    self.over(index, false);
                }
            }
        }
    }

    /// An agent is called and answers at once.
    fn rung(&mut self, heard: &Heard<'_>) {
        let now = Instant::now();
        let caller = Heard::user(heard.from);
        let number: Option<usize> = caller.get(caller.len().saturating_sub(8)..).and_then(|tail| tail.parse().ok());
        let index = number.and_then(|number| number.checked_sub(self.first)).filter(|index| *index < self.calls.len());
        let agent = Heard::user(heard.start).trim_start_matches('a').parse().ok();
        let (Some(index), Some(agent)) = (index, agent) else {
            return self.send(1, &heard.answer("480 Temporarily Unavailable", "a", "", ""));
        };
        let us = |since: Instant| (now - since).as_micros() as u64;
        self.outcome.reach_us.saturating_record(us(self.calls[index].invited));
        if let Some(since) = self.freed.remove(&agent) {
            self.outcome.free_us.saturating_record(us(since));
        }
        let sound = self.plan.sound.get(index);
        let body = description(sound.map_or(DISCARD, |s| s[1]), if sound.is_some() { "sendrecv" } else { "inactive" });
        let contact = format!("sip:{}@{}", agent_name(agent), self.here[1]);
        let answer = heard.answer("200 OK", "a", &contact, &body);
        self.send(1, &heard.answer("180 Ringing", "a", &contact, ""));
        self.send(1, &answer);
        self.legs.insert(heard.call_id.to_owned(), index);
        let beside = self.busy.insert(agent, index).is_some();
        let call = &mut self.calls[index];
        let second = call.agent.as_ref().is_some_and(|first| !first.over);
        self.outcome.doubled += usize::from(beside) + usize::from(second);
        call.sound[1] = heard.sound();
        call.agent = Some(Agent {
            index: agent,
            from: heard.from.to_owned(),
            to: format!("{};tag=a", heard.to),
            contact: heard.contact.to_owned(),
            call_id: heard.call_id.to_owned(),
            cseq: 0,
            pending: Some(answer.clone()),
            answer,
            over: false,
        });
        self.due.push(Reverse((now + T1, Due::Agent(index, 1))));
    }

    /// The citizen's or the agent's side has ended.
    fn over(&mut self, index: usize, citizen: bool) {
        let call = &mut self.calls[index];
        if call.over() {
            return;
        }
        if citizen {
            call.citizen.over = true;
        } else if let Some(agent) = &mut call.agent {
            (agent.over, agent.pending) = (true, None);
            self.busy.remove(&agent.index);
        }
        if call.over() {
            self.outcome.through += usize::from(!call.refused && call.agent.is_some());
            self.left -= 1;
            if self.plan.rate.is_none() && self.calls.len() < self.plan.calls {
                self.due.push(Reverse((Instant::now(), Due::Call)));
            }
        }
    }
}
