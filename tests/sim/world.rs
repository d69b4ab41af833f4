//! A node and everybody around it on virtual time: shards, ACD owners, media planes, the network, phones, people.
//!
//! Carries out what the machines say as the node's shells do, with chance in the delays; decides nothing for them.

mod checks;
mod crash;
mod queues;
mod watch;

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
use jiesu::acd::event::{Event as ToAcd, Want};
use jiesu::base::fact::Fact;
use jiesu::base::{AgentId, CallId, ContactId, LegId, Mono, Now, ShardId, Wall};
use jiesu::call::event::{Event as ToCalls, Past, Towards};
use jiesu::media::event::{Action, Notice};
use jiesu::media::{Kind, Plane, Sink};
use jiesu::shard::{Effect, Event, Shard};
use jiesu::sip::event::{Bindings, Flow};
use jiesu::sip::route::Route;
use jiesu::trunk::Trunks;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use watch::Watch;

pub const SHARDS: usize = 3;
const SITES: usize = 2;
const PLANES: usize = 2;
const NODE: u16 = 7;
const SEED: [u64; 2] = [0x0123, 0x4567];
/// Nothing that a call needed outlives its end by more.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// What happens next, somewhere.
#[derive(Debug)]
enum Happening {
    ToEngine(SocketAddr, Vec<u8>),
    ToPhone(SocketAddr, Vec<u8>),
    Rtp {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
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
    /// The shard that is doomed dies now, with a snapshot that is behind.
    CrashLate,
    Restore(usize),
    AcdCrash,
    AcdDie(usize, Option<Box<jiesu::acd::Snapshot>>),
    AcdRestore(usize),
    /// A call was told to be over a moment ago.
    Ended(ContactId),
}

/// Both clocks of a moment: made from one, so that they never drift apart.
fn moment(mono: Mono) -> Now {
    Now { mono, wall: Wall(1_790_000_000_000 + (mono.0 / 1_000_000) as i64) }
}

/// A part of the node, for the order of messages between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Shard(usize),
    Acd(usize),
    Plane(usize),
    World,
}

/// How long this thread has worked so far; who else uses the machine makes no difference.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a run was like.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub calls: u64,
    pub answered: u64,
    /// Citizens who stayed on the line until they had an agent, or would have; and those who had one.
    pub stayed: u64,
    pub set_up: u64,
    pub events: u64,
    pub crashes: u64,
    /// Of those, with a snapshot that was behind; and calls lost with it.
    pub stale: u64,
    pub lost: u64,
    pub acd_crashes: u64,
    pub ended: BTreeMap<String, u64>,
    pub virtual_time: Duration,
    /// The part in which people call, in virtual time and in the time that it took of a processor.
    pub loaded: (Duration, Duration),
}

impl Figures {
    /// Adds another run's.
    pub fn add(&mut self, other: &Figures) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.stayed += other.stayed;
        self.set_up += other.set_up;
        self.events += other.events;
        self.crashes += other.crashes;
        self.stale += other.stale;
        self.lost += other.lost;
        self.acd_crashes += other.acd_crashes;
        self.virtual_time += other.virtual_time;
        self.loaded = (self.loaded.0 + other.loaded.0, self.loaded.1 + other.loaded.1);
        for (end, times) in &other.ended {
            *self.ended.entry(end.clone()).or_default() += times;
        }
    }

    /// In one sentence.
    pub fn sentence(&self, wall: Duration) -> String {
        let Figures { calls, answered, events, crashes, stale, lost, acd_crashes, .. } = self;
        let loaded = self.loaded.0.div_duration_f64(self.loaded.1);
        let (hours, speed) = (self.virtual_time.as_secs_f64() / 3_600.0, self.virtual_time.div_duration_f64(wall));
        format!(
            "{hours:.1} h at {speed:.0} × real time ({loaded:.0} × by a processor's time while people call), {calls} calls, {answered} answered, {crashes} crashes of shards ({stale} with a snapshot that \
             was behind: {lost} calls lost), {acd_crashes} of queue owners, {events} events in {wall:.1?}"
        )
    }
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
    /// A shard that is about to crash.
    doomed: Option<crash::Doomed>,
    /// A shard that lies dead, with what is kept of it.
    dead: Option<crash::Dead>,
    acds: Vec<Acd>,
    trunks: Trunks,
    dead_acd: Option<crash::DeadAcd>,
    /// The bindings of all phones and the shard that answers for them, as the node keeps them.
    registry: BTreeMap<(Box<str>, Box<str>), (usize, Bindings)>,
    planes: Vec<Plane>,
    ticking: [bool; PLANES],
    sink: Sink,
    agents: Vec<Agent>,
    citizens: BTreeMap<SocketAddr, Citizen>,
    /// What citizens did, by Call-ID, kept until the record is told.
    sides: BTreeMap<String, Sides>,
    ports: BTreeMap<LegId, Port>,
    /// The citizen's leg of each contact that is recorded.
    citizen_of: BTreeMap<ContactId, LegId>,
    legs: BTreeMap<SocketAddr, LegId>,
    next_port: u16,
    next_plane: usize,
    last: BTreeMap<(Part, Part), Mono>,
    ledger: Ledger,
    open: bool,
    draining: bool,
    figures: Figures,
    /// What a failing run that runs again looks at.
    watch: Option<Watch>,
    cadence: checks::Cadence,
    /// Contacts whose talk an agent's phone has ended.
    hung_up: BTreeSet<String>,
    /// Call-IDs of citizens for whom there was no port.
    ports_refused: BTreeSet<String>,
    /// When a machine was last restored.
    begun_anew: Mono,
}

/// An open media port.
#[derive(Clone, Copy, Debug)]
struct Port {
    plane: usize,
    local: SocketAddr,
    /// The leg of the citizen whose call it serves.
    citizen: LegId,
}

impl World {
    /// A node just started; phones are about to register.
    pub fn new(seed: u64, rates: Rates, mut dice: Dice, watch: Option<Watch>) -> World {
        let plan = site::Plan::draw(&mut dice, rates.staff, rates.serves_all);
        let site = plan.settings(false);
        let shard = |id| Shard::new(ShardId(id), NODE, SEED, site.sip.clone(), site.calls.clone());
        let phone = |it: &site::Person| {
            Agent::new(site::desk(it.agent), it.user.clone(), it.domain().to_owned(), (rates.wild, rates.talk_ms))
        };
        let mut world = World {
            now: moment(Mono::from_ms(1_000)),
            shards: (0..SHARDS as u8).map(shard).collect(),
            acds: site.acd.iter().map(|settings| Acd::new(settings.clone(), 1)).collect(),
            trunks: Trunks::new(Arc::new(site::trunks())),
            doomed: None,
            dead: None,
            dead_acd: None,
            registry: BTreeMap::new(),
            citizen_of: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            ports_refused: BTreeSet::new(),
            begun_anew: Mono::default(),
            cadence: checks::Cadence::new(
                rates.check_every,
                watch.as_ref().map_or(Mono(u64::MAX), Watch::closely_from),
            ),
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
            watch,
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
        self.plan_next(self.rates.acd_crash_every, || Happening::AcdCrash);
    }

    /// Lives until `until`; then nobody calls any more, and the rest runs out.
    pub fn run(&mut self) -> Figures {
        let until = self.now.mono + self.rates.lasts;
        let (begun, started) = (self.now.mono, worked());
        self.live(until);
        self.figures.loaded = (self.rates.lasts, worked() - started);
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

    /// What was seen of those concerned in a failure that speaks of `words`.
    pub fn trace(&self, words: &[String]) -> Vec<String> {
        self.watch.as_ref().map_or_else(Vec::new, |watch| watch.lines(words))
    }

    fn live(&mut self, until: Mono) {
        loop {
            let alive =
                (0..SHARDS).filter(|shard| !self.is_dead(*shard)).map(|shard| self.shards[shard].next_deadline());
            let owners = (0..SITES).filter(|site| !self.is_acd_dead(*site));
            let deadlines = alive.chain(owners.map(|site| self.acds[site].next_deadline()));
            let deadline = deadlines.flatten().min().unwrap_or(Mono(u64::MAX));
            let next = self.agenda.first_key_value().map_or(Mono(u64::MAX), |((at, _), _)| *at);
            let at = deadline.min(next).max(self.now.mono);
            if at > until {
                self.now = moment(until);
                return;
            }
            self.now = moment(at);
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
            if !self.is_acd_dead(site) && self.acds[site].next_deadline().is_some_and(|deadline| deadline <= at) {
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
            Happening::Acd(site, _) if self.is_acd_dead(site) => {}
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
            Happening::CrashLate => self.die(),
            Happening::Restore(shard) => self.restore(shard),
            Happening::AcdCrash => self.doom_acd(),
            Happening::AcdDie(site, snapshot) => self.die_acd(site, snapshot),
            Happening::AcdRestore(site) => self.restore_acd(site),
            Happening::Ended(contact) => self.nothing_is_left_of(contact),
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(watch) = &mut self.watch {
            watch.note(self.now.mono, line);
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
        self.dead.as_ref().is_some_and(|dead| dead.shard == shard)
    }

    fn is_acd_dead(&self, site: usize) -> bool {
        self.dead_acd.as_ref().is_some_and(|dead| dead.site == site)
    }

    fn shard(&mut self, shard: usize, event: Event) {
        if self.is_dead(shard) {
            return;
        }
        self.note(|| match &event {
            Event::Received { flow, bytes } | Event::Stranger { flow, bytes } => {
                format!("shard {shard} <- {} {}", flow.peer, String::from_utf8_lossy(bytes).replace("\r\n", " | "))
            }
            Event::Call(_) | Event::Ask(_) | Event::Closed { .. } | Event::Bindings(_) | Event::Restored(_) => {
                format!("shard {shard} <- {event:?}")
            }
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
                    Effect::Trunk(event) => {
                        let mut said = Vec::new();
                        self.trunks.handle(self.now, event, &mut said);
                        for said in said {
                            self.note(|| format!("shard {shard} <- {said:?}"));
                            self.shards[shard].handle(self.now, Event::Call(ToCalls::Trunk(said)), &mut effects);
                        }
                    }
                    Effect::ReopenPort { leg, .. } => panic!("the planes outlive shards: {leg:?} has its port"),
                    Effect::Media(action) => self.order_media(shard, action),
                    Effect::Acd { site, event } => self.tell_acd(Part::Shard(shard), site.index(), event),
                    Effect::Fact { site: _, fact } => self.fact(&fact),
                    Effect::Show(view) => {
                        self.note(|| format!("shard {shard} shows {view:?}"));
                        self.ledger.show(self.now.mono, view);
                    }
                    Effect::Recall { call, .. } => self.recall(call),
                    Effect::Bindings(bindings) => self.bindings(shard, &bindings),
                    Effect::Desk { .. } | Effect::LogIn { .. } => panic!("no phone here has keys"),
                    // Nobody watches the edge here.
                    Effect::Callback(event) => panic!("no queue here calls anybody back: {event:?}"),
                    Effect::Ahead(ahead) => panic!("no target here has a system: {ahead:?}"),
                    Effect::Suspect(_)
                    | Effect::Silent(_)
                    | Effect::TransferAnswered { .. }
                    | Effect::Intervened { .. } => {}
                }
            }
        }
        self.check_shard(shard);
        self.journal(shard, changed);
    }

    /// Who served a caller before: anybody.
    fn recall(&mut self, call: CallId) {
        let past = Past { last: None, owner: Some(AgentId(self.dice.below(self.agents.len() as u64) as u32)) };
        self.tell_shard(Part::World, call.shard.index(), Event::Call(ToCalls::Recalled { call, past }));
    }

    fn open_port(&mut self, leg: LegId, beside: Option<LegId>, towards: Towards) -> ToCalls {
        if let Towards::Agent(agent) = towards {
            assert!(agent.index() < self.agents.len(), "{agent:?} exists");
        }
        if self.dice.permille(self.rates.ports_refused) {
            if let Towards::Address(from) = towards
                && let Some(citizen) = self.citizens.get(&from)
            {
                self.ports_refused.insert(citizen.session.call_id.clone());
            }
            return ToCalls::PortRefused { leg };
        }
        let beside = beside.and_then(|leg| self.ports.get(&leg)).copied();
        self.next_plane = (self.next_plane + 1) % PLANES;
        let plane = beside.map_or(self.next_plane, |port| port.plane);
        let citizen = beside.map_or(leg, |port| port.citizen);
        let local = loop {
            self.next_port = (self.next_port + 2) % 20_000;
            let local = SocketAddr::from(([10, 0, 0, 1], 10_000 + self.next_port));
            if !self.legs.contains_key(&local) {
                break local;
            }
        };
        assert!(self.ports.insert(leg, Port { plane, local, citizen }).is_none(), "{leg:?} has one port");
        self.legs.insert(local, leg);
        ToCalls::PortOpened { leg, local }
    }

    fn order_media(&mut self, shard: usize, action: Action) {
        let leg = action.leg();
        if let Action::Bridge { a, b } = &action {
            let plane = |leg: &LegId| self.ports.get(leg).map(|port| port.plane);
            assert_eq!(plane(a), plane(b), "a bridge is on one thread");
        }
        if let Action::Record { citizen, recording } = &action {
            self.citizen_of.insert(recording.contact, *citizen);
        }
        let Some(plane) = self.ports.get(&leg).map(|port| port.plane) else {
            // Closed by calls of later than a snapshot that is behind: the call hears of it in a moment.
            return assert!(self.rates.stale_ms > 0, "{action:?} for a leg without a port");
        };
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
                | Notice::DigitsSent { leg }
                | Notice::Quiet { leg, .. }
                | Notice::Heard { leg }
                | Notice::Mute { leg }
                | Notice::Sounds { leg } => *leg,
                Notice::Closed { leg, .. } => {
                    let port = self.ports.remove(leg).expect("a closed leg had its port");
                    self.legs.remove(&port.local);
                    *leg
                }
            };
            let event = Event::Call(ToCalls::Media(notice));
            self.tell_shard(Part::Plane(plane), leg.shard().index(), event);
        }
        sink.clear();
        self.sink = sink;
        self.check_plane(plane);
    }

    fn bindings(&mut self, at: usize, bindings: &Bindings) {
        for shard in (0..SHARDS).filter(|shard| *shard != at) {
            self.tell_shard(Part::Shard(at), shard, Event::Bindings(bindings.clone()));
        }
        self.registry.insert((bindings.user.clone(), bindings.domain.clone()), (at, bindings.clone()));
        let Some(person) = self.plan.person(&bindings.user, &bindings.domain) else { return };
        let (site, agent) = (person.site.index(), person.agent);
        self.tell_acd(Part::Shard(at), site, ToAcd::Phone { agent, up: !bindings.contacts.is_empty() });
    }

    fn fact(&mut self, fact: &Fact) {
        self.note(|| format!("fact {fact:?}"));
        let Some(record) = self.ledger.fact(fact) else { return };
        let end = record.end.expect("only ends are judged");
        self.after(CLOSING_MAX, Happening::Ended(record.contact));
        self.judge(&record, end);
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
        if let Some(agent) = site::at_desk(to).and_then(|at| self.agents.get_mut(at)) {
            agent.hear(self.now.mono, &text, &mut self.dice, &mut outs);
            self.hung_up.extend(agent.hung_up.drain(..));
        } else if let Some(citizen) = self.citizens.get_mut(&to).filter(|citizen| !citizen.vanished) {
            citizen.hear(self.now.mono, &text, &mut outs);
            self.settle(to);
        }
        self.say(to, outs);
    }

    fn cue(&mut self, at: SocketAddr, cue: Cue) {
        let mut outs = Vec::new();
        if let Some(agent) = site::at_desk(at).and_then(|at| self.agents.get_mut(at)) {
            if !self.open && matches!(cue, Cue::Return) {
                return;
            }
            agent.cue(self.now.mono, cue, &mut self.dice, &mut outs);
            self.hung_up.extend(agent.hung_up.drain(..));
        } else if let Cue::Forget(_) = cue {
            let gone = self.citizens.remove(&at);
            let unheard = gone.as_ref().is_some_and(|it| !it.left() && !self.ledger.knows(&it.session.call_id));
            self.figures.stayed += u64::from(unheard);
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
        assert!(
            !citizen.cancel_unknown || self.figures.crashes > 0,
            "an INVITE that rings is cancelled: {:?}",
            citizen.session.call_id
        );
        let sides = self.sides.entry(citizen.session.call_id.clone()).or_default();
        sides.caller_left |= citizen.session.said_bye || citizen.session.cancelled;
        sides.caller_failed |= citizen.vanished || citizen.broke_rules;
    }

    fn rtp(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(leg) = self.legs.get(&to).copied() else { return };
        let plane = self.ports[&leg].plane;
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
        let plan = CitizenPlan::draw(&mut self.dice, self.rates.wild, self.rates.serves_all);
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
        self.tell_acd(Part::World, site, ToAcd::Want { agent, state, by: None });
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
