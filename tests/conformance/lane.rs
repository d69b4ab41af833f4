//! The stage of the scenarios: one engine with every transport, and on it lanes that cannot meet: each has a dialled
//! number, a queue and two agents of its own.

use crate::support::api::{Api, EVENT_MAX, Events};
use crate::support::engine::Folder;
use crate::support::eventually;
use crate::support::hotline::{Hotline, folder, prompt};
use crate::support::player::{Playing, play};
use crate::support::proxy::{Kind, Proxy};
use crate::support::scenario::Scenario;
use crate::support::sip::Client;
use crate::support::sipp::{Sipp, ports};
use crate::support::stream::{Phone, Wire};
use serde_json::{Value, json};
use std::any::Any;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// The scenarios that run at once.
pub const LANES: usize = 14;
/// What a citizen's phone at an address of no trunk is.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const DOMAIN: &str = "fuzhou.12345.example";
/// Pauses whose length no scenario says.
const PAUSE: Duration = Duration::from_millis(100);

pub type Transport = &'static str;
pub const TRANSPORTS: [Transport; 5] = ["udp", "tcp", "tls", "ws", "wss"];

/// One of a lane's agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    A,
    B,
}

/// What every lane knows of the engine.
#[derive(Clone)]
pub struct House {
    folder: PathBuf,
    listeners: Vec<(SocketAddr, String)>,
    api: SocketAddr,
}

/// Where one scenario after another runs.
pub struct Lane {
    house: House,
    number: String,
    agents: [String; 2],
    pub transport: Transport,
    lead: Api,
    events: Events,
    /// What everybody in this scenario is behind.
    proxy: Option<Proxy>,
    /// Who has a phone in this scenario.
    phones: Vec<Who>,
    /// Their connections: a phone stays where it is when its call is over.
    connections: Vec<TcpStream>,
    /// Calls that are known already.
    known: Vec<String>,
}

/// A registered phone without anybody at it.
pub enum Line {
    /// Kept from others until somebody is at it.
    Port(u16, UdpSocket),
    Wire(Box<Wire>),
}

/// A scenario that is being played.
pub enum Play {
    Sipp(Sipp),
    Player(Playing),
}

fn append(folder: &Folder, file: &str, text: &str) {
    let path = folder.path().join(file);
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A hotline with a queue and a number for each lane, where nothing takes longer than it must.
pub fn hotline() -> Hotline {
    let folder = folder();
    for name in ["fuzhou-greeting", "recording-notice", "queue-announcement"] {
        prompt(&folder, name, 600.0, 40);
    }
    let origins = "origins = [\"https://console.example\"]";
    // Citizens are the trunk at 127.0.0.1; whoever calls from elsewhere is heard, and has to prove himself.
    let open = "strangers = \"answer\"";
    folder.edit("sip-profiles/listeners/udp.toml", "strangers = \"silence\"", open);
    folder.listener("tcp", &format!("transport = \"tcp\"\n{open}"));
    folder.listener("tls", &format!("transport = \"tls\"\nself_signed = true\n{open}"));
    folder.listener("ws", &format!("transport = \"ws\"\n{origins}\n{open}"));
    folder.listener("wss", &format!("transport = \"wss\"\nself_signed = true\n{origins}\n{open}"));
    folder.edit("sip-profiles/trunks/carrier.toml", "\"127.0.0.0/8\"", "\"127.0.0.1\"");
    folder.edit("jiesu.toml", "redirects_max = 0", "redirects_max = 1");
    let skills: String = (0..LANES).map(|lane| format!(", \"lane{lane}\"")).collect();
    folder.edit("jiesu.toml", "\"social\"]", &format!("\"social\"{skills}]"));
    let mut agents = Vec::new();
    for lane in 0..LANES {
        let queue = format!(
            "\n[[queue]]\nsite = \"fuzhou\"\nname = \"lane{lane}\"\nskills = {{ lane{lane} = 1 }}\nring_max_s = 3\n\
             wrap_up_s = 0\nannouncement = \"queue-announcement\"\nmusic = \"music-on-hold\"\napology = \"apology\"\n"
        );
        append(&folder, "sip-profiles/queues.toml", &queue);
        let flow = format!("start = \"people\"\nhuman = \"people\"\n\n[queue.people]\nqueue = \"lane{lane}\"\n");
        append(&folder, &format!("ivr-flows/lane{lane}.toml"), &flow);
        let number = format!(
            "\n[[number]]\nnumber = \"{}\"\nsite = \"fuzhou\"\nflow = \"lane{lane}\"\ngreeting = \"fuzhou-greeting\"\n\
             notice = \"recording-notice\"\n",
            number(lane)
        );
        append(&folder, "ivr-flows/numbers.toml", &number);
        agents.extend([agent(lane, Who::A), agent(lane, Who::B)].map(|name| (name, format!("lane{lane}"))));
    }
    std::thread::scope(|scope| {
        for some in agents.chunks(LANES / 2) {
            let folder = &folder;
            scope.spawn(move || some.iter().for_each(|(name, skill)| _ = folder.agent("fuzhou", name, skill)));
        }
    });
    Hotline::start(folder)
}

/// The number that leads to a lane.
fn number(lane: usize) -> String {
    format!("0591800000{lane:02}")
}

fn agent(lane: usize, who: Who) -> String {
    format!("{}", 5000 + 2 * lane + usize::from(who == Who::B))
}

impl House {
    pub fn of(hotline: &Hotline) -> House {
        let Hotline { engine, .. } = hotline;
        House { folder: hotline.folder().into(), listeners: engine.listeners.clone(), api: engine.api }
    }

    fn listener(&self, transport: &str) -> SocketAddr {
        self.listeners.iter().find(|(_, it)| it == transport).expect("a listener").0
    }

    fn certificate(&self, transport: &str) -> PathBuf {
        self.folder.join(format!("data/tls/{transport}/certificate.pem"))
    }

    pub fn lane(&self, lane: usize) -> Lane {
        let lead = Api::new(self.api, "demo-fuzhou-lead-token");
        let events = lead.events();
        let agents = [agent(lane, Who::A), agent(lane, Who::B)];
        Lane {
            house: self.clone(),
            number: number(lane),
            agents,
            transport: "udp",
            lead,
            events,
            proxy: None,
            phones: Vec::new(),
            connections: Vec::new(),
            known: Vec::new(),
        }
    }
}

impl Lane {
    pub fn name(&self, who: Who) -> &str {
        match who {
            Who::A => &self.agents[0],
            Who::B => &self.agents[1],
        }
    }

    /// Where phones send to: the engine, or what is before it.
    fn engine(&self) -> SocketAddr {
        self.proxy.as_ref().map_or_else(|| self.house.listener(self.transport), |proxy| proxy.address)
    }

    /// Puts a proxy between everybody and the engine.
    pub fn stand_behind(&mut self, kind: Kind) {
        let engine = self.house.listener(if kind.tcp { "tcp" } else { "udp" });
        self.proxy = Some(Proxy::start(kind, engine));
    }

    pub fn stand_free(&mut self) {
        self.proxy = None;
    }

    /// How many requests of these methods the proxy has passed on.
    pub fn passed<const N: usize>(&self, methods: [&str; N]) -> [usize; N] {
        let proxy = self.proxy.as_ref().expect("a proxy");
        methods.map(|method| proxy.passed(method))
    }

    /// A connection from an address of ours.
    fn wire(&self, from: IpAddr) -> Wire {
        Wire::from_address(from, self.engine(), self.transport, &self.house.certificate(self.transport))
    }

    /// Registers a phone of an agent.
    pub fn registers(&mut self, who: Who) -> Line {
        let name = self.name(who).to_owned();
        let line = if self.transport == "udp" {
            let port = ports(2);
            if self.proxy.is_some() {
                let password = format!("secret-{name}");
                let keys = [("service", &*name), ("au", &name), ("ap", &password)];
                self.sipp("rfc3327/registration", &keys, &["-p", &port.to_string()]).succeeds();
                Line::Port(port, UdpSocket::bind(("127.0.0.1", port)).unwrap())
            } else {
                let mut client = Client::at(port, self.engine(), &name, DOMAIN);
                let contact = client.contact();
                assert_eq!(client.sign_in(&[&contact], 600).status, 200);
                Line::Port(port, client.socket)
            }
        } else {
            let mut phone = Phone::on(self.wire(self.engine().ip()), &name);
            phone.register();
            let wire = phone.into_wire();
            self.connections.push(wire.connection());
            Line::Wire(Box::new(wire))
        };
        self.phones.push(who);
        self.lead.until(&format!("/agents/{name}"), |agent| agent["phone_up"] == true);
        line
    }

    /// Lets a phone do as `scenario` says with its next call.
    pub fn behaves(&self, line: Line, scenario: &str, keys: &[(&str, &str)]) -> Play {
        match line {
            Line::Port(port, kept) => {
                drop(kept);
                let sipp = self.sipp(scenario, keys, &["-p", &port.to_string()]);
                sipp.listens(port);
                Play::Sipp(sipp)
            }
            // sipp awaits a connection, and no connection leads to an agent but the one he has registered on.
            Line::Wire(wire) if self.transport == "tcp" => {
                let port = ports(2);
                let sipp = self.sipp(scenario, keys, &["-p", &port.to_string(), "-t", "t1"]);
                let far = eventually("sipp listens", EVENT_MAX, || TcpStream::connect(("127.0.0.1", port)).ok());
                join(wire.connection(), far);
                Play::Sipp(sipp)
            }
            Line::Wire(wire) => self.player(*wire, scenario, keys),
        }
    }

    /// Registers an agent's phone and lets it do as `scenario` says.
    pub fn phone(&mut self, who: Who, scenario: &str) -> Play {
        let line = self.registers(who);
        self.behaves(line, scenario, &[])
    }

    /// Whoever begins, with `keys` beside those that every scenario has.
    pub fn begins(&self, scenario: &str, service: &str, keys: &[(&str, &str)]) -> Play {
        self.begins_from(self.engine().ip(), scenario, service, keys)
    }

    fn begins_from(&self, from: IpAddr, scenario: &str, service: &str, keys: &[(&str, &str)]) -> Play {
        let keys: Vec<(&str, &str)> = keys.iter().copied().chain([("service", service)]).collect();
        let kind = match self.transport {
            "udp" => "u1",
            "tcp" => "t1",
            _ => return self.player(self.wire(from), scenario, &keys),
        };
        let (port, from) = (ports(2).to_string(), from.to_string());
        Play::Sipp(self.sipp(scenario, &keys, &["-p", &port, "-t", kind, "-i", &from]))
    }

    /// A citizen who dials the lane's number.
    pub fn citizen(&self, scenario: &str) -> Play {
        self.begins(scenario, &self.number, &[])
    }

    /// A citizen who dials the lane's number and can prove who he is.
    pub fn citizen_proves(&self, scenario: &str) -> Play {
        self.begins(scenario, &self.number, &[("au", "13800138000"), ("ap", "secret-13800138000")])
    }

    /// A phone that dials the lane's number and has to prove itself.
    pub fn phone_calls(&self, who: Who, scenario: &str) -> Play {
        let name = self.name(who).to_owned();
        let password = format!("secret-{name}");
        let keys = [("number", &*self.number), ("au", &name), ("ap", &password)];
        self.begins_from(STRANGER, scenario, &name, &keys)
    }

    /// A phone of an agent that registers as `scenario` says.
    pub fn registration(&self, who: Who, scenario: &str, password: &str) -> Play {
        let name = self.name(who).to_owned();
        self.begins(scenario, &name, &[("au", &name), ("ap", password)])
    }

    fn sipp(&self, scenario: &str, keys: &[(&str, &str)], arguments: &[&str]) -> Sipp {
        let mut all = arguments.to_vec();
        for (name, value) in keys.iter().chain(&[("domain", DOMAIN), ("uri_transport", self.transport)]) {
            match *name {
                "service" => all.extend(["-s", value]),
                "au" => all.extend(["-au", value]),
                "ap" => all.extend(["-ap", value]),
                _ => all.extend(["-key", name, value]),
            }
        }
        Sipp::start(&self.house.folder, self.engine(), scenario, &all)
    }

    fn player(&self, wire: Wire, scenario: &str, keys: &[(&str, &str)]) -> Play {
        let scenario = Scenario::named(scenario).unwrap_or_else(|error| panic!("{error}"));
        let keys: Vec<(&str, &str)> = keys.iter().copied().chain([("domain", DOMAIN)]).collect();
        Play::Player(play(wire, scenario, &keys, PAUSE))
    }

    /// Makes an agent ready.
    pub fn ready(&self, who: Who) {
        self.want(who, "ready");
    }

    fn want(&self, who: Who, state: &str) {
        let answer = self.lead.put(&format!("/agents/{}/state", self.name(who)), &json!({ "state": state }));
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Waits until a new call of the lane is at this stage; returns its contact. For stages that last.
    pub fn at(&mut self, stage: &str) -> String {
        self.event(&format!("a call {stage}"), |call| call["stage"] == stage)
    }

    /// Waits until a new call of the lane is seen, at whatever stage: one that is soon over may be seen only then.
    pub fn called(&mut self) -> String {
        self.event("a call", |_| true)
    }

    fn event(&mut self, what: &str, satisfies: impl Fn(&Value) -> bool) -> String {
        let (number, known) = (self.number.trim_start_matches('0').to_owned(), &self.known);
        let of = |call: &Value| {
            let contact = call["contact"].as_str()?.to_owned();
            let ours = call["dialled"].as_str().is_some_and(|it| it.ends_with(&number));
            (ours && !known.contains(&contact) && satisfies(call)).then_some(contact)
        };
        let found = |event: &Value| {
            let calls = event["data"]["calls"].as_array().into_iter().flatten();
            std::iter::once(&event["data"]).chain(calls).find_map(of)
        };
        let event = self.events.until(&format!("{what} to {number}"), |event| found(event).is_some());
        let contact = found(&event).expect("it was found");
        self.known.push(contact.clone());
        contact
    }

    /// Waits until an agent was paused because his phone did not take a call.
    pub fn gave_up(&self, who: Who) {
        self.lead.until(&format!("/agents/{}", self.name(who)), |agent| agent["state"] == "not_ready");
    }

    /// Waits for the record of the call, which must say who ended it at which stage, and how ringing agents went.
    pub fn ended(&self, contact: &str, end: (&str, &str), attempts: &[(Who, &str)]) {
        let record = self.lead.until(&format!("/calls/{contact}"), |record| record["call"]["end_stage"].is_string());
        let call = &record["call"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!((&*text(&call["end_stage"]), &*text(&call["end_by"])), end, "{record}");
        let happened: Vec<(String, String)> = record["attempts"]
            .as_array()
            .expect("attempts")
            .iter()
            .map(|it| (text(&it["agent"]), text(&it["outcome"])))
            .collect();
        let wanted: Vec<(String, String)> =
            attempts.iter().map(|(who, outcome)| (self.name(*who).to_owned(), (*outcome).to_owned())).collect();
        assert_eq!(happened, wanted, "{record}");
    }

    pub fn number(&self) -> &str {
        &self.number
    }

    /// That an agent's phone has registered by itself, until the lane is cleared.
    pub fn is_registered(&mut self, who: Who) {
        self.lead.until(&format!("/agents/{}", self.name(who)), |agent| agent["phone_up"] == true);
        self.phones.push(who);
    }

    /// Waits until an agent has no phone registered.
    pub fn is_unregistered(&self, who: Who) {
        self.lead.until(&format!("/agents/{}", self.name(who)), |agent| agent["phone_up"] == false);
    }

    /// Leaves the lane as it was found: nobody ready, nobody registered.
    pub fn clear(&mut self) {
        for connection in self.connections.drain(..) {
            // One that is closed already needs no end.
            let _ = connection.shutdown(Shutdown::Both);
        }
        for who in std::mem::take(&mut self.phones) {
            let name = self.name(who).to_owned();
            if self.transport == "udp" {
                let mut client = Client::new(self.house.listener("udp"), &name, DOMAIN);
                assert_eq!(client.sign_in(&["*"], 0).status, 200);
            }
            self.want(who, "not_ready");
            self.lead.until(&format!("/agents/{name}"), |agent| {
                agent["phone_up"] == false && matches!(agent["state"].as_str(), Some("not_ready" | "offline"))
            });
        }
    }
}

impl Line {
    /// Nobody is at this phone, and whatever comes is not answered, as long as what is returned lives.
    pub fn keeps_silent(self) -> Box<dyn Any> {
        match self {
            Line::Port(_, kept) => Box::new(kept),
            Line::Wire(wire) => wire,
        }
    }
}

impl Play {
    /// Waits until it has sent or received `times` messages that begin so.
    pub fn until(&self, begin: &str, times: usize) {
        let line = format!("\n{begin}");
        eventually(begin, EVENT_MAX, || (self.messages().matches(&line).count() >= times).then_some(()));
    }

    /// Opens the gate that the scenario stands at or comes to.
    pub fn go(&mut self) {
        match self {
            Play::Sipp(sipp) => sipp.go(),
            Play::Player(playing) => playing.go(),
        }
    }

    /// All that was sent and received so far.
    pub fn messages(&self) -> String {
        match self {
            Play::Sipp(sipp) => sipp.messages(),
            Play::Player(playing) => playing.messages(),
        }
    }

    /// Waits for its end, which must be success. Returns the messages sent and received.
    pub fn succeeds(self) -> String {
        match self {
            Play::Sipp(sipp) => sipp.succeeds(),
            Play::Player(playing) => playing.succeeds(),
        }
    }
}

/// Carries bytes between a phone's connection and whoever is at it. The connection outlives them.
fn join(line: TcpStream, phone: TcpStream) {
    line.set_read_timeout(None).unwrap();
    phone.set_nodelay(true).unwrap();
    // A connection that breaks is one that ends.
    let carry = |mut from: TcpStream, mut to: TcpStream| _ = std::io::copy(&mut from, &mut to);
    let (from, to) = (phone.try_clone().unwrap(), line.try_clone().unwrap());
    std::thread::spawn(move || carry(from, to));
    std::thread::spawn(move || {
        carry(line, phone.try_clone().unwrap());
        let _ = phone.shutdown(Shutdown::Both);
    });
}
