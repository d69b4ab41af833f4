//! A node and everybody around it on virtual time: shards, ACD owners, media planes, the network, phones, people.
//!
//! Carries out what the machines say as the node's shells do, with chance in the delays; decides nothing for them.

use super::agent::Agent;
use super::citizen::{Citizen, Plan as CitizenPlan};
use super::dice::Dice;
use super::laws::{Ledger, Sides};
use super::run::Rates;
use super::session::{Cue, Out};
use super::site::{self, Site};
use super::text::Text;
use bytes::Bytes;
use jiesu::acd::Acd;
use jiesu::acd::event::{Command as FromAcd, Event as ToAcd, Want};
use jiesu::base::fact::{CallRecord, End, Fact};
use jiesu::base::{LegId, Mono, Now, ShardId, Wall};
use jiesu::call::event::{Event as ToCalls, Towards};
use jiesu::media::event::{Action, Notice};
use jiesu::media::{Kind, Plane, Sink};
use jiesu::shard::{Birth, Effect, Event, Shard, Snapshot};
use jiesu::sip::event::{Bindings, Flow};
use jiesu::sip::route::Route;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

pub const SHARDS: usize = 3;
const SITES: usize = 2;
const PLANES: usize = 2;
const NODE: u16 = 7;
const SEED: [u64; 2] = [0x0123, 0x4567];
/// Lines of trace that a failure shows.
const TRACE_MAX: usize = 400;

/// What happens next, somewhere.
#[derive(Debug)]
enum Happening {
    ToEngine(SocketAddr, Vec<u8>),
    ToPhone(SocketAddr, Vec<u8>),
    Rtp { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Shard(usize, Box<Event>),
    Acd(usize, Box<ToAcd>),
    Media(usize, Action),
    Cue(SocketAddr, Cue),
    Tick(usize),
    Human(usize),
    Dial(Option<(String, String)>),
    Reload,
    Operator,
    Crash,
    Restore(usize),
}

/// A part of the node, for the order of messages between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Shard(usize),
    Acd(usize),
    Plane(usize),
    World,
}

/// What a run was like.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub calls: u64,
    pub answered: u64,
    pub events: u64,
    pub crashes: u64,
    pub ended: BTreeMap<String, u64>,
    pub virtual_time: Duration,
}

/// Everything.
pub struct World {
    pub now: Now,
    rates: Rates,
    dice: Dice,
    plan: site::Plan,
    site: Site,
    reversed: bool,
    serial: u64,
    agenda: BTreeMap<(Mono, u64), Happening>,
    shards: Vec<Shard>,
    /// A shard that is about to crash: its last snapshot, and how many events more it takes.
    doomed: Option<(usize, Snapshot, u64)>,
    /// A shard that lies dead, with what is kept of it.
    dead: Option<(usize, Snapshot)>,
    acds: Vec<Acd>,
    planes: Vec<Plane>,
    ticking: [bool; PLANES],
    sink: Sink,
    agents: Vec<Agent>,
    citizens: BTreeMap<SocketAddr, Citizen>,
    /// What citizens did, by Call-ID, kept until the record is told.
    sides: BTreeMap<String, Sides>,
    ports: BTreeMap<LegId, (usize, SocketAddr)>,
    legs: BTreeMap<SocketAddr, LegId>,
    next_port: u16,
    next_plane: usize,
    last: BTreeMap<(Part, Part), Mono>,
    ledger: Ledger,
    open: bool,
    draining: bool,
    figures: Figures,
    trace: Option<VecDeque<String>>,
}

impl World {
    /// A node just started; phones are about to register.
    pub fn new(seed: u64, rates: Rates, mut dice: Dice, trace: bool) -> World {
        let plan = site::Plan::draw(&mut dice);
        let site = plan.settings(false);
        let shard = |id| Shard::new(ShardId(id), NODE, SEED, site.sip.clone(), site.calls.clone());
        let phone =
            |it: &site::Person| Agent::new(site::desk(it.agent), it.user.clone(), it.domain().to_owned(), rates.wild);
        let mut world = World {
            now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_790_000_000_000) },
            shards: (0..SHARDS as u8).map(shard).collect(),
            acds: site.acd.iter().map(|settings| Acd::new(settings.clone(), 1)).collect(),
            doomed: None,
            dead: None,
            planes: (0..PLANES).map(|_| Plane::new(site::library(), seed)).collect(),
            ticking: [false; PLANES],
            sink: Sink::new(),
            agents: plan.people.iter().map(phone).collect(),
            citizens: BTreeMap::new(),
            sides: BTreeMap::new(),
            ports: BTreeMap::new(),
            legs: BTreeMap::new(),
            next_port: 0,
            next_plane: 0,
            last: BTreeMap::new(),
            ledger: Ledger::default(),
            open: true,
            draining: false,
            figures: Figures::default(),
            trace: trace.then(VecDeque::new),
            serial: 0,
            agenda: BTreeMap::new(),
            reversed: false,
            rates,
            dice,
            plan,
            site,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for at in 0..self.agents.len() {
            let me = self.agents[at].me;
            let first = self.dice.ms(0, 3_000);
            self.after(first, Happening::Cue(me, Cue::Register(true)));
            self.after(first + Duration::from_secs(3), Happening::Human(at));
        }
        self.after(Duration::from_secs(5), Happening::Dial(None));
        self.plan_next(self.rates.reload_every, || Happening::Reload);
        self.plan_next(self.rates.operator_every, || Happening::Operator);
        self.plan_next(self.rates.crash_every, || Happening::Crash);
    }

    /// Lives until `until`; then nobody calls any more, and the rest runs out.
    pub fn run(&mut self) -> Figures {
        let until = self.now.mono + self.rates.lasts;
        let begun = self.now.mono;
        self.live(until);
        self.open = false;
        self.draining = self.rates.drains;
        if self.draining {
            for shard in 0..SHARDS {
                self.tell_shard(Part::World, shard, Event::Call(ToCalls::Drain { retry_after_s: 30 }));
            }
        }
        self.live(until + Duration::from_secs(500));
        for agent in &mut self.agents {
            agent.silent = true;
        }
        self.live(until + Duration::from_secs(1_500));
        self.over();
        self.figures.virtual_time = self.now.mono.since(begun);
        self.figures.calls = self.ledger.contacts() as u64;
        self.figures.answered = self.ledger.answered;
        self.figures.ended = std::mem::take(&mut self.ledger.ended);
        self.figures.clone()
    }

    /// The lines of the trace that speak of any of `words`, or all.
    pub fn trace(&self, words: &[String]) -> Vec<String> {
        let speaks = |line: &&String| words.is_empty() || words.iter().any(|word| line.contains(word));
        self.trace.iter().flatten().filter(speaks).cloned().collect()
    }

    fn live(&mut self, until: Mono) {
        loop {
            let alive =
                (0..SHARDS).filter(|shard| !self.is_dead(*shard)).map(|shard| self.shards[shard].next_deadline());
            let deadlines = alive.chain(self.acds.iter().map(Acd::next_deadline));
            let deadline = deadlines.flatten().min().unwrap_or(Mono(u64::MAX));
            let next = self.agenda.first_key_value().map_or(Mono(u64::MAX), |((at, _), _)| *at);
            let at = deadline.min(next).max(self.now.mono);
            if at > until {
                self.now = self.now.after(until.since(self.now.mono));
                return;
            }
            self.now = self.now.after(at.since(self.now.mono));
            if deadline <= at {
                self.expire(at);
            }
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= at) {
                let happening = entry.remove();
                self.happen(happening);
            }
            self.check();
        }
    }

    fn expire(&mut self, at: Mono) {
        for shard in 0..SHARDS {
            if !self.is_dead(shard) && self.shards[shard].next_deadline().is_some_and(|deadline| deadline <= at) {
                let mut effects = Vec::new();
                self.shards[shard].expire(self.now, &mut effects);
                self.carry_out(shard, effects);
            }
        }
        for site in 0..SITES {
            if self.acds[site].next_deadline().is_some_and(|deadline| deadline <= at) {
                let mut commands = Vec::new();
                self.acds[site].expire(self.now, &mut commands);
                self.carry_out_acd(site, commands);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.figures.events += 1;
        match happening {
            Happening::ToEngine(from, bytes) => self.receive(from, bytes),
            Happening::ToPhone(to, bytes) => self.hear(to, &bytes),
            Happening::Rtp { from, to, bytes } => self.rtp(from, to, &bytes),
            Happening::Shard(shard, event) => self.shard(shard, *event),
            Happening::Acd(site, event) => {
                self.note(|| format!("acd {site} <- {event:?}"));
                let mut commands = Vec::new();
                self.acds[site].handle(self.now, *event, &mut commands);
                self.carry_out_acd(site, commands);
            }
            Happening::Media(plane, action) => self.media(plane, action),
            Happening::Cue(at, cue) => self.cue(at, cue),
            Happening::Tick(plane) => self.tick(plane),
            Happening::Human(agent) => self.human(agent),
            Happening::Dial(again) => self.dial(again),
            Happening::Reload => self.reload(),
            Happening::Operator => self.operator(),
            Happening::Crash => self.doom(),
            Happening::Restore(shard) => self.restore(shard),
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() >= TRACE_MAX * 50 {
                trace.pop_front();
            }
            trace.push_back(format!("{:?} {}", self.now.mono, line()));
        }
    }

    fn at(&mut self, at: Mono, happening: Happening) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), happening);
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now.mono + wait, happening);
    }

    /// Plans something that recurs, at a random moment around `every`; never when that is zero.
    fn plan_next(&mut self, every: Duration, happening: impl FnOnce() -> Happening) {
        if !every.is_zero() && self.open {
            let ms = every.as_millis() as u64;
            let wait = self.dice.ms(ms / 4, ms * 2);
            self.after(wait, happening());
        }
    }
}

/// The node's inside.
impl World {
    /// Messages between two parts take a moment and keep their order.
    fn post(&mut self, from: Part, to: Part, happening: Happening) {
        let most = if self.dice.permille(20) { 40_000 } else { 800 };
        let delay = Duration::from_micros(self.dice.below(most));
        let last = self.last.get(&(from, to)).copied().unwrap_or_default();
        let at = (self.now.mono + delay).max(last);
        self.last.insert((from, to), at);
        self.at(at, happening);
    }

    fn tell_shard(&mut self, from: Part, shard: usize, event: Event) {
        self.post(from, Part::Shard(shard), Happening::Shard(shard, Box::new(event)));
    }

    fn tell_acd(&mut self, from: Part, site: usize, event: ToAcd) {
        self.post(from, Part::Acd(site), Happening::Acd(site, Box::new(event)));
    }

    fn is_dead(&self, shard: usize) -> bool {
        self.dead.as_ref().is_some_and(|(dead, _)| *dead == shard)
    }

    fn shard(&mut self, shard: usize, event: Event) {
        if self.is_dead(shard) {
            return;
        }
        self.note(|| match &event {
            Event::Received { flow, bytes } | Event::Stranger { flow, bytes } => {
                format!("shard {shard} <- {} {}", flow.peer, String::from_utf8_lossy(bytes).replace("\r\n", " | "))
            }
            Event::Call(_) | Event::Bindings(_) | Event::Restored(_) => format!("shard {shard} <- {event:?}"),
            Event::Configure { .. } => format!("shard {shard} <- new settings"),
        });
        let mut effects = Vec::new();
        self.shards[shard].handle(self.now, event, &mut effects);
        self.carry_out(shard, effects);
    }

    fn carry_out(&mut self, shard: usize, mut effects: Vec<Effect>) {
        let mut changed = false;
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                changed |= matches!(effect, Effect::Fact { .. } | Effect::Show(_) | Effect::Bindings(_));
                match effect {
                    Effect::Send { flow, bytes } => self.deliver_to(flow.peer, &bytes),
                    Effect::OpenPort { leg, beside, towards } => {
                        let event = self.open_port(leg, beside, towards);
                        self.note(|| format!("shard {shard} <- {event:?}"));
                        self.shards[shard].handle(self.now, Event::Call(event), &mut effects);
                    }
                    Effect::ReopenPort { leg, .. } => panic!("the planes outlive shards: {leg:?} has its port"),
                    Effect::Media(action) => self.order_media(shard, action),
                    Effect::Acd { site, event } => self.tell_acd(Part::Shard(shard), site.index(), event),
                    Effect::Fact { site: _, fact } => self.fact(&fact),
                    Effect::Show(view) => {
                        self.note(|| format!("shard {shard} shows {view:?}"));
                        self.ledger.show(view);
                    }
                    Effect::Bindings(bindings) => self.bindings(shard, &bindings),
                    // Nobody watches the edge here.
                    Effect::Suspect(_) => {}
                }
            }
        }
        self.journal(shard, changed);
    }

    fn open_port(&mut self, leg: LegId, beside: Option<LegId>, towards: Towards) -> ToCalls {
        if let Towards::Agent(agent) = towards {
            assert!(agent.index() < self.agents.len(), "{agent:?} exists");
        }
        if self.dice.permille(self.rates.ports_refused) {
            return ToCalls::PortRefused { leg };
        }
        let beside = beside.and_then(|leg| self.ports.get(&leg)).map(|(plane, _)| *plane);
        self.next_plane = (self.next_plane + 1) % PLANES;
        let plane = beside.unwrap_or(self.next_plane);
        let local = loop {
            self.next_port = (self.next_port + 2) % 20_000;
            let local = SocketAddr::from(([10, 0, 0, 1], 10_000 + self.next_port));
            if !self.legs.contains_key(&local) {
                break local;
            }
        };
        assert!(self.ports.insert(leg, (plane, local)).is_none(), "{leg:?} has one port");
        self.legs.insert(local, leg);
        ToCalls::PortOpened { leg, local }
    }

    fn order_media(&mut self, shard: usize, action: Action) {
        let leg = match &action {
            Action::Open { leg, .. }
            | Action::Reopen { leg, .. }
            | Action::Connect { leg, .. }
            | Action::Play { leg, .. }
            | Action::Stop { leg }
            | Action::Unbridge { leg }
            | Action::Close { leg } => *leg,
            Action::Bridge { a, b } => {
                let plane = |leg: &LegId| self.ports.get(leg).map(|(plane, _)| *plane);
                assert_eq!(plane(a), plane(b), "a bridge is on one thread");
                *a
            }
            Action::Record { citizen, .. } | Action::StopRecording { citizen, .. } => *citizen,
        };
        let plane = self.ports.get(&leg).map(|(plane, _)| *plane);
        let plane = plane.unwrap_or_else(|| panic!("{action:?} for a leg without a port"));
        self.post(Part::Shard(shard), Part::Plane(plane), Happening::Media(plane, action));
    }

    fn media(&mut self, plane: usize, action: Action) {
        self.note(|| format!("plane {plane} <- {action:?}"));
        let mut sink = std::mem::take(&mut self.sink);
        self.planes[plane].handle(self.now, action, &mut sink);
        self.drain_sink(plane, sink);
        if !self.ticking[plane] && self.planes[plane].counts().legs > 0 {
            self.ticking[plane] = true;
            self.after(self.rates.tick, Happening::Tick(plane));
        }
    }

    fn tick(&mut self, plane: usize) {
        let mut sink = std::mem::take(&mut self.sink);
        self.planes[plane].tick(self.now, &mut sink);
        self.drain_sink(plane, sink);
        self.ticking[plane] = self.planes[plane].counts().legs > 0;
        if self.ticking[plane] {
            self.after(self.rates.tick, Happening::Tick(plane));
        }
    }

    fn drain_sink(&mut self, plane: usize, mut sink: Sink) {
        for notice in std::mem::take(&mut sink.notices) {
            let leg = match &notice {
                Notice::Played { leg, .. }
                | Notice::Digit { leg, .. }
                | Notice::Quiet { leg, .. }
                | Notice::Heard { leg } => *leg,
                Notice::Closed { leg, .. } => {
                    let (_, local) = self.ports.remove(leg).expect("a closed leg had its port");
                    self.legs.remove(&local);
                    *leg
                }
            };
            let event = Event::Call(ToCalls::Media(notice));
            self.tell_shard(Part::Plane(plane), leg.shard().index(), event);
        }
        sink.clear();
        self.sink = sink;
        self.planes[plane].check();
    }

    fn carry_out_acd(&mut self, site: usize, commands: Vec<FromAcd>) {
        self.acds[site].check();
        for command in commands {
            self.note(|| format!("acd {site} -> {command:?}"));
            match command {
                FromAcd::Offer { call, .. } | FromAcd::Revoke { call, .. } => {
                    let event = Event::Call(ToCalls::Acd(command));
                    self.tell_shard(Part::Acd(site), call.shard.index(), event);
                }
                FromAcd::Released { call, .. } => {
                    self.ledger.released.insert(call, self.now.mono);
                    let event = Event::Call(ToCalls::Acd(command));
                    self.tell_shard(Part::Acd(site), call.shard.index(), event);
                }
                FromAcd::Agent(_) => {}
            }
        }
    }

    fn bindings(&mut self, at: usize, bindings: &Bindings) {
        for shard in (0..SHARDS).filter(|shard| *shard != at) {
            self.tell_shard(Part::Shard(at), shard, Event::Bindings(bindings.clone()));
        }
        let people = &self.plan.people;
        let person =
            people.iter().find(|it| it.employed && it.user == *bindings.user && it.domain() == &*bindings.domain);
        let Some(person) = person else { return };
        let (site, agent) = (person.site.index(), person.agent);
        self.tell_acd(Part::Shard(at), site, ToAcd::Phone { agent, up: !bindings.contacts.is_empty() });
    }

    fn fact(&mut self, fact: &Fact) {
        self.note(|| format!("fact {fact:?}"));
        let Some(record) = self.ledger.fact(fact) else { return };
        let end = record.end.expect("only ends are judged");
        self.judge(&record, end);
    }

    fn judge(&mut self, record: &CallRecord, end: End) {
        let mut sides = self.sides.get(&*record.sip_call_id).copied().unwrap_or_default();
        let contact = record.contact.to_string();
        sides.agent_left = self.agents.iter().any(|agent| agent.hung_up.contains(&contact));
        sides.draining = self.draining;
        sides.scarce = self.rates.ports_refused > 0 || self.site.calls.calls_max < 100;
        self.ledger.judge(record, end, sides);
    }

    fn check(&mut self) {
        if self.dead.is_some() {
            return;
        }
        let (acds, site) = (&self.acds, &self.site);
        for (phone, person) in self.agents.iter().zip(&self.plan.people) {
            let away = phone.away_since.is_some_and(|since| self.now.mono.since(since) > Duration::from_secs(1));
            let view = acds[person.site.index()].agent(person.agent).filter(|_| away && person.employed);
            assert!(view.is_none_or(|view| !view.phone_up), "the ACD believes in the phone of {}", person.user);
        }
        let held = self
            .plan
            .people
            .iter()
            .filter_map(|person| acds[person.site.index()].agent(person.agent)?.lease.map(|lease| lease.agent));
        let held = held.collect();
        self.ledger.check(self.now.mono, &held, |view, queue| {
            let queues = &site.acd[view.site.index()].queues;
            let position = acds[view.site.index()].position(view.call);
            position.and_then(|it| it.queue).is_some_and(|it| Some(&queues[it.index()].name) == queue)
        });
    }

    /// Nothing may be left.
    fn over(&self) {
        self.ledger.close();
        for (id, shard) in self.shards.iter().enumerate() {
            let counts = shard.counts();
            let sip = (counts.sip.transactions, counts.sip.dialogs, counts.sip.timers, counts.sip.bindings);
            assert_eq!(sip, (0, 0, 0, 0), "transactions, dialogs, timers, bindings of shard {id}");
            let calls = (counts.calls.calls, counts.calls.live, counts.calls.legs, counts.calls.timers);
            assert_eq!(calls, (0, 0, 0, 0), "calls, live ones, legs, timers of shard {id}");
        }
        for (site, acd) in self.acds.iter().enumerate() {
            assert_eq!(acd.counts(), jiesu::acd::Counts::default(), "the ACD of site {site} is empty");
        }
        for plane in &self.planes {
            let counts = plane.counts();
            assert_eq!((counts.legs, counts.bridges, counts.playing, counts.recordings), (0, 0, 0, 0), "{counts:?}");
        }
        assert!(self.ports.is_empty(), "ports are open: {:?}", self.ports);
        assert!(self.citizens.is_empty(), "citizens are on the line: {:?}", self.citizens.keys());
    }
}

/// Crashes.
impl World {
    /// A shard will soon crash: from now on its snapshot is kept as its journal would keep it, after each stable change.
    fn doom(&mut self) {
        self.plan_next(self.rates.crash_every, || Happening::Crash);
        if self.dead.is_none() && self.doomed.is_none() {
            let shard = self.dice.below(SHARDS as u64) as usize;
            self.doomed = Some((shard, self.shards[shard].snapshot(), self.dice.below(6)));
        }
    }

    fn journal(&mut self, shard: usize, changed: bool) {
        let Some((doomed, snapshot, left)) = &mut self.doomed else { return };
        if *doomed != shard {
            return;
        }
        if changed {
            *snapshot = self.shards[shard].snapshot();
        }
        if *left > 0 {
            *left -= 1;
            return;
        }
        let (_, snapshot, _) = self.doomed.take().expect("it was there");
        let bytes = serde_json::to_vec(&snapshot).expect("plain data");
        let read: Snapshot = serde_json::from_slice(&bytes).expect("what was written is read");
        assert_eq!(read, snapshot, "a snapshot is what was written");
        self.note(|| format!("shard {shard} crashes"));
        self.figures.crashes += 1;
        self.dead = Some((shard, read));
        let down = self.dice.ms(0, 4_000);
        self.after(down, Happening::Restore(shard));
    }

    fn restore(&mut self, shard: usize) {
        let (_, snapshot) = self.dead.take().expect("only the dead are restored");
        self.note(|| format!("shard {shard} is restored from {snapshot:?}"));
        let birth = Birth { node: NODE, shard: ShardId(shard as u8), seed: [SEED[0], SEED[1] + self.figures.crashes] };
        let settings = (self.site.sip.clone(), self.site.calls.clone());
        let mut effects = Vec::new();
        let restored = Shard::restore(snapshot, birth, settings, self.now, &mut effects);
        self.shards[shard] = restored.expect("a snapshot of our own version");
        self.carry_out(shard, effects);
        let legs: BTreeSet<LegId> = self.shards[shard].legs().collect();
        let orphans: Vec<LegId> =
            self.ports.keys().filter(|leg| leg.shard().index() == shard && !legs.contains(leg)).copied().collect();
        for leg in orphans {
            self.order_media(shard, Action::Close { leg });
        }
        self.ledger.begin_anew();
    }
}

/// The network and the phones.
impl World {
    fn receive(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let shard = match Route::of(&bytes, SEED) {
            Route::Marked { shard, .. } if shard.index() < SHARDS => shard.index(),
            Route::Hashed(hash) => (hash % SHARDS as u64) as usize,
            Route::Marked { .. } | Route::Anywhere => 0,
            Route::KeepAlive => return,
        };
        let flow = Flow { listener: 0, connection: 0, peer: from };
        self.shard(shard, Event::Received { flow, bytes: Bytes::from(bytes) });
    }

    /// A datagram: perhaps late, perhaps twice, perhaps never.
    fn datagram(&mut self, happening: impl Fn() -> Happening) {
        let copies = match self.dice.below(1_000) {
            roll if roll < self.rates.lost => 0,
            roll if roll < self.rates.lost + self.rates.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let (least, most) = self.rates.delay_ms;
            let delay = self.dice.ms(least, most);
            self.after(delay, happening());
        }
    }

    fn deliver_to(&mut self, to: SocketAddr, bytes: &Bytes) {
        self.note(|| format!("sent {to} {}", String::from_utf8_lossy(bytes).replace("\r\n", " | ")));
        let bytes = bytes.to_vec();
        self.datagram(|| Happening::ToPhone(to, bytes.clone()));
    }

    fn say(&mut self, from: SocketAddr, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Send(text) => self.datagram(|| Happening::ToEngine(from, text.clone().into_bytes())),
                Out::Rtp(to, bytes) => {
                    let from = SocketAddr::new(from.ip(), 4_000);
                    self.datagram(|| Happening::Rtp { from, to, bytes: bytes.clone() });
                }
                Out::At(wait, cue) => self.after(wait, Happening::Cue(from, cue)),
            }
        }
    }

    fn hear(&mut self, to: SocketAddr, bytes: &[u8]) {
        let text = Text::parse(bytes);
        let mut outs = Vec::new();
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.me == to) {
            agent.hear(self.now.mono, &text, &mut self.dice, &mut outs);
        } else if let Some(citizen) = self.citizens.get_mut(&to).filter(|citizen| !citizen.vanished) {
            citizen.hear(self.now.mono, &text, &mut outs);
            self.settle(to);
        }
        self.say(to, outs);
    }

    fn cue(&mut self, at: SocketAddr, cue: Cue) {
        let mut outs = Vec::new();
        if let Some(agent) = self.agents.iter_mut().find(|agent| agent.me == at) {
            if !self.open && matches!(cue, Cue::Return) {
                return;
            }
            agent.cue(self.now.mono, cue, &mut self.dice, &mut outs);
        } else if let Cue::Forget(_) = cue {
            let gone = self.citizens.remove(&at);
            if let Some(citizen) = gone.filter(|citizen| self.open && citizen.redials()) {
                let wait = self.dice.ms(1, 30_000);
                self.after(wait, Happening::Dial(Some((citizen.number, citizen.dialled))));
            }
        } else if let Some(citizen) = self.citizens.get_mut(&at).filter(|citizen| !citizen.vanished) {
            citizen.cue(self.now.mono, cue, &mut outs);
            self.settle(at);
        }
        self.say(at, outs);
    }

    /// Remembers what a citizen did, for the judgement of their call's end.
    fn settle(&mut self, at: SocketAddr) {
        let citizen = &self.citizens[&at];
        let sides = self.sides.entry(citizen.session.call_id.clone()).or_default();
        sides.caller_left |= citizen.session.said_bye || citizen.session.cancelled;
        sides.caller_failed |= citizen.vanished || citizen.broke_rules;
    }

    fn rtp(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(leg) = self.legs.get(&to).copied() else { return };
        let plane = self.ports[&leg].0;
        let mut sink = std::mem::take(&mut self.sink);
        self.planes[plane].receive(self.now, leg, Kind::Rtp, from, bytes, &mut sink);
        self.drain_sink(plane, sink);
    }

    fn dial(&mut self, again: Option<(String, String)>) {
        if again.is_none() {
            self.plan_next(self.rates.call_every, || Happening::Dial(None));
        }
        if !self.open {
            return;
        }
        self.figures.calls += 1;
        let serial = self.figures.calls;
        let me = site::line(serial);
        let (number, dialled) =
            again.unwrap_or_else(|| (format!("138{:08}", serial), self.dice.pick(&site::DIALLED).to_owned()));
        let plan = CitizenPlan::draw(&mut self.dice, self.rates.wild);
        let engine = site::ENGINE.parse().expect("an address");
        let mut outs = Vec::new();
        let citizen = Citizen::dial((self.now.mono, me, engine), (serial, number, dialled), plan, &mut outs);
        self.citizens.insert(me, citizen);
        self.say(me, outs);
    }
}

/// The people who run the site.
impl World {
    /// An agent looks at the screen.
    fn human(&mut self, at: usize) {
        let again = self.dice.ms(4_000, 40_000);
        if !self.open {
            return;
        }
        self.after(again, Happening::Human(at));
        let (agent, site) = (self.plan.people[at].agent, self.plan.people[at].site.index());
        let state = match self.dice.below(100) {
            0..=84 => Want::Ready,
            85..=92 => Want::NotReady { reason: "tea".into() },
            93..=95 => Want::Offline,
            _ => return,
        };
        self.tell_acd(Part::World, site, ToAcd::Want { agent, state });
    }

    /// Somebody is hired, somebody leaves, the queues are written in another order.
    fn reload(&mut self) {
        self.plan_next(self.rates.reload_every, || Happening::Reload);
        let at = self.dice.below(self.plan.people.len() as u64) as usize;
        let site = self.plan.people[at].site;
        let others = self.plan.people.iter().filter(|it| it.employed && it.site == site).count();
        if others > 1 || !self.plan.people[at].employed {
            self.plan.people[at].employed ^= true;
        }
        self.reversed ^= self.dice.permille(500);
        self.site = self.plan.settings(self.reversed);
        for site in 0..SITES {
            let settings = self.site.acd[site].clone();
            self.tell_acd(Part::World, site, ToAcd::Configure(settings));
        }
        for shard in 0..SHARDS {
            let (sip, calls) = (self.site.sip.clone(), self.site.calls.clone());
            self.tell_shard(Part::World, shard, Event::Configure { sip, calls });
        }
    }

    /// A supervisor ends a call.
    fn operator(&mut self) {
        self.plan_next(self.rates.operator_every, || Happening::Operator);
        let calls: Vec<_> = self.ledger.views().map(|view| view.call).collect();
        if !calls.is_empty() {
            let call = self.dice.pick(&calls);
            self.ledger.operator.insert(call);
            self.tell_shard(Part::World, call.shard.index(), Event::Call(ToCalls::HangUp { call }));
        }
    }
}
