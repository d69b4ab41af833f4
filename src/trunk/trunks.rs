//! The table of all trunks of a node: who holds which channel, which trunk is fit, and what it must be asked next.
//!
//! Owns the limits: what is granted here is never more than agreed, whichever shard asks. Never sends and never waits:
//! a wish is answered in the step in which it is told.

use super::bucket::Bucket;
use super::event::{Alarm, Command, Event, Limits, Profile, Refused, Remote, Seize, Settings, Usage, View, Watch, Way};
use super::health::{Health, is_alive};
use super::registration::{Outcome, Registration, Stand};
use crate::base::fact::Direction;
use crate::base::map::keyed_hash;
use crate::base::{LegId, Mono, Now, ShardId, TrunkId};
use crate::sip::event::{Answer, Ask, AskId, Flow, Question};
use crate::sip::via::Transport;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An OPTIONS that is not answered by then has failed: repeated three times by then (Timer E).
const PROBE_WAIT_MAX: Duration = Duration::from_secs(4);
/// First OPTIONS go out this far apart.
const PROBE_SPREAD: Duration = Duration::from_millis(100);
/// A name without an address is looked up again after this.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);
/// Shortest life of an address, whatever its zone says.
const RESOLVE_LIFE_MIN: Duration = Duration::from_secs(5);

/// All trunks of a node.
#[derive(Debug)]
pub struct Trunks {
    settings: Arc<Settings>,
    trunks: Vec<Trunk>,
    seats: BTreeMap<LegId, Seat>,
}

/// A channel in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seat {
    trunk: TrunkId,
    direction: Direction,
}

#[derive(Debug)]
struct Trunk {
    inbound: Side,
    outbound: Side,
    /// Smooth weighted choice: grows by the weight at each choice, shrinks by all weights when chosen.
    turn: i64,
    targets: Vec<SocketAddr>,
    /// Which of them is in use.
    at: usize,
    /// When the name is looked up (again).
    resolve_at: Option<Mono>,
    health: Health,
    since: Mono,
    probe: Option<Probe>,
    /// So long an OPTIONS may go unanswered.
    probe_wait: Duration,
    /// Number of the last OPTIONS.
    probes: u32,
    registration: Option<Registration>,
}

/// Where OPTIONS stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Due(Mono),
    Asking { number: u32, sent: Mono },
}

/// One direction of a trunk.
#[derive(Debug)]
struct Side {
    limits: Limits,
    bucket: Bucket,
    usage: Usage,
}

impl Side {
    fn new(limits: Limits) -> Side {
        let usage = Usage { channels: limits.channels, ..Usage::default() };
        Side { limits, bucket: Bucket::new(limits.calls_per_s), usage }
    }

    /// Other limits from now on.
    fn limit(&mut self, limits: Limits) {
        if self.limits != limits {
            let usage = Usage { channels: limits.channels, ..self.usage };
            *self = Side { usage, ..Side::new(limits) };
        }
    }

    fn has_room(&self, emergency: bool) -> bool {
        let kept = if emergency { 0 } else { self.limits.reserve };
        self.usage.used < self.limits.channels.saturating_sub(kept)
    }

    /// Takes a channel.
    fn take(&mut self, now: Mono, emergency: bool) -> Result<(), Refused> {
        if !self.has_room(emergency) {
            self.usage.full += 1;
            return Err(Refused::Full);
        }
        if emergency {
            self.bucket.force(now);
        } else if !self.bucket.take(now) {
            self.usage.too_fast += 1;
            return Err(Refused::TooFast);
        }
        self.usage.taken += 1;
        self.usage.used += 1;
        Ok(())
    }
}

impl Trunk {
    fn new(position: usize, profile: &Profile, now: Mono) -> Trunk {
        let address = profile.remote.as_ref().and_then(|remote| remote.address);
        let named = profile.remote.is_some() && address.is_none();
        Trunk {
            inbound: Side::new(profile.inbound),
            outbound: Side::new(profile.outbound),
            turn: 0,
            targets: address.into_iter().collect(),
            at: 0,
            resolve_at: named.then_some(now),
            health: Health::START,
            since: now,
            probe: profile.watch.map(|_| Probe::Due(now + PROBE_SPREAD * position as u32)),
            probe_wait: profile.watch.map_or(PROBE_WAIT_MAX, |watch| watch.every.min(PROBE_WAIT_MAX)),
            probes: 0,
            registration: profile.register.map(Registration::new),
        }
    }

    fn target(&self) -> Option<SocketAddr> {
        self.targets.get(self.at).copied()
    }

    fn is_registered(&self, now: Mono) -> bool {
        self.registration.is_none_or(|it| it.good_until.is_some_and(|until| now < until))
    }

    /// Whether calls may go out by it.
    fn is_fit(&self, now: Mono) -> bool {
        self.target().is_some() && self.health.is_up() && self.is_registered(now)
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let probe = self.probe.filter(|_| self.target().is_some()).map(|probe| match probe {
            Probe::Due(at) => at,
            Probe::Asking { sent, .. } => sent + self.probe_wait,
        });
        let registration = self.registration.filter(|_| self.target().is_some());
        [probe, registration.map(|it| it.next_deadline()), self.resolve_at].into_iter().flatten().min()
    }
}

impl Trunks {
    /// All channels free, everything still to be asked.
    pub fn new(settings: Arc<Settings>) -> Trunks {
        let trunks = settings.trunks.iter().enumerate().map(|(at, profile)| Trunk::new(at, profile, Mono(0))).collect();
        Trunks { settings, trunks, seats: BTreeMap::new() }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        let now = now.mono;
        match event {
            Event::Seize(seize) => self.seize(now, seize, out),
            Event::Release { leg } => self.release(leg),
            Event::Hold { shard, legs } => self.hold(shard, &legs),
            Event::Failed { trunk } => self.judge(now, trunk, false, out),
            Event::Answered(answer) => self.answered(now, &answer, out),
            Event::Resolved { trunk, targets, life } => self.resolved(now, trunk, targets, life, out),
            Event::Configure(settings) => self.configure(now, settings),
        }
    }

    /// Answers to what was asked before come too late for a trunk that is found out anew.
    fn configure(&mut self, now: Mono, settings: Arc<Settings>) {
        let before = std::mem::replace(&mut self.settings, settings);
        for (at, profile) in self.settings.trunks.iter().enumerate() {
            let Some(trunk) = self.trunks.get_mut(at) else {
                self.trunks.push(Trunk::new(at, profile, now));
                continue;
            };
            trunk.inbound.limit(profile.inbound);
            trunk.outbound.limit(profile.outbound);
            let was = &before.trunks[at];
            let same = (&was.remote, &was.login, was.register, was.watch)
                == (&profile.remote, &profile.login, profile.register, profile.watch);
            if !same {
                let registration = profile.register.map(|wanted| Registration::after(wanted, trunk.registration));
                let Trunk { inbound, outbound, probes, .. } = std::mem::replace(trunk, Trunk::new(at, profile, now));
                trunk.inbound = inbound;
                trunk.outbound = outbound;
                trunk.probes = probes;
                trunk.registration = registration;
            }
        }
    }

    /// When [`Trunks::expire`] wants to be called.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.trunks.iter().filter_map(Trunk::next_deadline).min()
    }

    /// Does what is due at `now`.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        let now = now.mono;
        for id in (0..self.trunks.len()).map(|at| TrunkId(at as u16)) {
            if self.trunks[id.index()].resolve_at.is_some_and(|at| at <= now) {
                self.trunks[id.index()].resolve_at = Some(now + RESOLVE_AGAIN);
                out.push(Command::Resolve { trunk: id });
            }
            if self.trunks[id.index()].target().is_some() {
                self.expire_probe(now, id, out);
                self.expire_registration(now, id, out);
            }
        }
    }

    /// Everything as people see it, in order of configuration.
    pub fn views(&self, now: Mono) -> Vec<View> {
        let view = |(trunk, profile): (&Trunk, &Profile)| View {
            name: profile.name.clone(),
            fit: trunk.is_fit(now),
            up: trunk.probe.map(|_| trunk.health.is_up()),
            since: trunk.since,
            registered_until: trunk.registration.and_then(|it| it.good_until).filter(|until| now < *until),
            registers: trunk.registration.is_some(),
            target: trunk.target(),
            inbound: trunk.inbound.usage,
            outbound: trunk.outbound.usage,
        };
        self.trunks.iter().zip(&self.settings.trunks).map(view).collect()
    }

    /// The host by which a trunk at this address is known.
    pub fn host_at(&self, peer: SocketAddr) -> Option<&str> {
        let mut all = self.trunks.iter().zip(&self.settings.trunks);
        let (_, profile) = all.find(|(trunk, _)| trunk.targets.contains(&peer))?;
        let remote = profile.remote.as_ref()?;
        Some(remote.proxy.as_ref().map_or(&*remote.host, |(host, _)| host))
    }

    /// What must hold after every event.
    pub fn check(&self) {
        for (at, trunk) in self.trunks.iter().enumerate() {
            for (direction, side) in [(Direction::Inbound, &trunk.inbound), (Direction::Outbound, &trunk.outbound)] {
                let seats = self.seats.values().filter(|seat| seat.trunk.index() == at && seat.direction == direction);
                assert_eq!(seats.count(), side.usage.used as usize, "channels of trunk {at} are those that legs hold");
            }
            assert!(trunk.at < trunk.targets.len().max(1), "trunk {at} aims at one of its targets");
        }
    }

    fn seize(&mut self, now: Mono, seize: Seize, out: &mut Vec<Command>) {
        let Seize { leg, way, emergency } = seize;
        self.release(leg);
        let chosen = match way {
            Way::In(trunk) => self.admit(now, trunk, emergency).map(|()| (trunk, Direction::Inbound, None)),
            Way::Out { routes, tried } => {
                let choice = self.choose(now, &routes, &tried, emergency);
                choice.map(|(trunk, flow)| (trunk, Direction::Outbound, Some(flow)))
            }
        };
        out.push(match chosen {
            Ok((trunk, direction, flow)) => {
                self.seats.insert(leg, Seat { trunk, direction });
                Command::Granted { leg, trunk, flow }
            }
            Err(why) => Command::Refused { leg, why },
        });
    }

    fn admit(&mut self, now: Mono, trunk: TrunkId, emergency: bool) -> Result<(), Refused> {
        self.trunks.get_mut(trunk.index()).ok_or(Refused::NoRoute)?.inbound.take(now, emergency)
    }

    /// By priority, and by smooth weighted turns among the fit ones of one priority that have room. Emergencies take what
    /// is not fit when nothing else is left.
    fn choose(
        &mut self,
        now: Mono,
        routes: &[TrunkId],
        tried: &[TrunkId],
        emergency: bool,
    ) -> Result<(TrunkId, Flow), Refused> {
        let mut open: Vec<TrunkId> = routes.to_vec();
        open.retain(|id| !tried.contains(id) && self.flow(*id).is_some());
        let mut why = Refused::NoRoute;
        for fit in [true, false] {
            let mut left: Vec<TrunkId> =
                open.iter().copied().filter(|id| self.trunks[id.index()].is_fit(now) == fit).collect();
            if !fit && !emergency {
                break;
            }
            while let Some(id) = self.turn_of(&left, emergency) {
                match self.trunks[id.index()].outbound.take(now, emergency) {
                    Ok(()) => return self.flow(id).map(|flow| (id, flow)).ok_or(Refused::NoRoute),
                    Err(error) => why = error,
                }
                left.retain(|other| *other != id);
            }
        }
        Err(why)
    }

    /// Whose turn it is.
    fn turn_of(&mut self, left: &[TrunkId], emergency: bool) -> Option<TrunkId> {
        let profiles = self.settings.clone();
        let profile = |id: TrunkId| &profiles.trunks[id.index()];
        let roomy = |id: &TrunkId| self.trunks[id.index()].outbound.has_room(emergency);
        // Without room anywhere the first in order says so, and is counted.
        let some_room = left.iter().any(&roomy);
        let candidates: Vec<TrunkId> = left.iter().copied().filter(|id| !some_room || roomy(id)).collect();
        let first = candidates.iter().map(|id| profile(*id).priority).min()?;
        let level: Vec<TrunkId> = candidates.into_iter().filter(|id| profile(*id).priority == first).collect();
        let total: i64 = level.iter().map(|id| i64::from(profile(*id).weight)).sum();
        for id in &level {
            self.trunks[id.index()].turn += i64::from(profile(*id).weight);
        }
        let chosen = level.iter().copied().max_by_key(|id| (self.trunks[id.index()].turn, std::cmp::Reverse(*id)))?;
        self.trunks[chosen.index()].turn -= total;
        Some(chosen)
    }

    fn flow(&self, id: TrunkId) -> Option<Flow> {
        let remote = self.settings.trunks.get(id.index())?.remote.as_ref()?;
        let peer = self.trunks[id.index()].target()?;
        let connection = if remote.transport == Transport::Udp { 0 } else { Flow::ANY };
        Some(Flow { listener: remote.listener, connection, peer })
    }

    fn release(&mut self, leg: LegId) {
        if let Some(seat) = self.seats.remove(&leg) {
            self.trunks[seat.trunk.index()].side(seat.direction).usage.used -= 1;
        }
    }

    /// A restored shard's word is the truth, beyond every limit.
    fn hold(&mut self, shard: ShardId, legs: &[(LegId, TrunkId, Direction)]) {
        let before: Vec<LegId> = self.seats.keys().copied().filter(|leg| leg.shard() == shard).collect();
        before.into_iter().for_each(|leg| self.release(leg));
        for &(leg, trunk, direction) in legs {
            self.release(leg);
            if let Some(it) = self.trunks.get_mut(trunk.index()) {
                it.side(direction).usage.used += 1;
                self.seats.insert(leg, Seat { trunk, direction });
            }
        }
    }

    /// A success or a failure; a failure moves on to the next address.
    fn judge(&mut self, now: Mono, id: TrunkId, good: bool, out: &mut Vec<Command>) {
        let Some(trunk) = self.trunks.get_mut(id.index()) else { return };
        if !good && !trunk.targets.is_empty() {
            trunk.at = (trunk.at + 1) % trunk.targets.len();
        }
        let Some(watch) = &self.settings.trunks[id.index()].watch else { return };
        let after = trunk.health.after(good, watch);
        let before = std::mem::replace(&mut trunk.health, after);
        if before.is_up() != after.is_up() {
            trunk.since = now;
            out.push(Command::Alarm { trunk: id, what: if after.is_up() { Alarm::Up } else { Alarm::Down } });
        }
    }

    fn expire_probe(&mut self, now: Mono, id: TrunkId, out: &mut Vec<Command>) {
        let Some(Watch { every, .. }) = self.settings.trunks[id.index()].watch else { return };
        match self.trunks[id.index()].probe {
            Some(Probe::Asking { sent, .. }) if sent + self.trunks[id.index()].probe_wait <= now => {
                self.trunks[id.index()].probe = Some(Probe::Due((sent + every).max(now)));
                self.judge(now, id, false, out);
            }
            Some(Probe::Due(at)) if at <= now => {
                let trunk = &mut self.trunks[id.index()];
                trunk.probes += 1;
                let number = trunk.probes;
                trunk.probe = Some(Probe::Asking { number, sent: now });
                self.ask(id, number, Question::Alive, out);
            }
            Some(Probe::Asking { .. } | Probe::Due(_)) | None => {}
        }
    }

    fn expire_registration(&mut self, now: Mono, id: TrunkId, out: &mut Vec<Command>) {
        let spread = self.spread(id);
        let Some(registration) = &mut self.trunks[id.index()].registration else { return };
        let mut outcome = Outcome::Stale;
        let (number, expires_s) = match registration.stand {
            Stand::Asking { until, .. } if until <= now => {
                outcome = registration.failed(now, 408, spread);
                (None, 0)
            }
            Stand::Due(at) if at <= now => (Some(registration.ask(now)), registration.wanted_s),
            Stand::Asking { .. } | Stand::Due(_) => (None, 0),
        };
        let ran_out = registration.good_until.is_some_and(|until| until <= now);
        if ran_out {
            registration.good_until = None;
        }
        if ran_out || outcome == (Outcome::Failed { told: true }) {
            out.push(Command::Alarm { trunk: id, what: Alarm::Unregistered(408) });
        }
        if let Some(number) = number {
            let call_id = format!("{:016x}", keyed_hash(spread, b"registration")).into();
            self.ask(id, number, Question::Register { expires_s, call_id }, out);
        }
    }

    fn ask(&self, id: TrunkId, number: u32, what: Question, out: &mut Vec<Command>) {
        let profile = &self.settings.trunks[id.index()];
        let (Some(flow), Some(remote)) = (self.flow(id), &profile.remote) else { return };
        let ask = Ask {
            id: AskId { trunk: id, number },
            what,
            host: remote.written(),
            flow,
            route: remote.route(),
            login: profile.login.clone(),
        };
        out.push(Command::Ask { trunk: id, ask: Box::new(ask) });
    }

    fn answered(&mut self, now: Mono, answer: &Answer, out: &mut Vec<Command>) {
        let id = answer.id.trunk;
        let spread = self.spread(id);
        let Some(trunk) = self.trunks.get_mut(id.index()) else { return };
        match &answer.what {
            Question::Alive => {
                let Some(Probe::Asking { number, sent }) = trunk.probe else { return };
                let Some(watch) = self.settings.trunks[id.index()].watch else { return };
                if number == answer.id.number {
                    trunk.probe = Some(Probe::Due((sent + watch.every).max(now)));
                    self.judge(now, id, is_alive(answer.status), out);
                }
            }
            Question::Register { .. } => {
                let Some(registration) = &mut trunk.registration else { return };
                let said = (answer.expires_s, answer.min_expires_s);
                match registration.answered(now, (answer.id.number, answer.status), said, spread) {
                    Outcome::Gained => out.push(Command::Alarm { trunk: id, what: Alarm::Registered }),
                    Outcome::Failed { told: true } => {
                        out.push(Command::Alarm { trunk: id, what: Alarm::Unregistered(answer.status) });
                    }
                    Outcome::Stale | Outcome::Renewed | Outcome::Failed { told: false } => {}
                }
            }
        }
    }

    fn resolved(&mut self, now: Mono, id: TrunkId, targets: Vec<SocketAddr>, life: Duration, out: &mut Vec<Command>) {
        let Some(trunk) = self.trunks.get_mut(id.index()).filter(|trunk| trunk.resolve_at.is_some()) else { return };
        if targets.is_empty() {
            trunk.resolve_at = Some(now + RESOLVE_AGAIN);
            if trunk.targets.is_empty() {
                out.push(Command::Alarm { trunk: id, what: Alarm::Unresolved });
            }
            return;
        }
        // The address in use stays in use while it is among the new ones.
        let in_use = trunk.target();
        trunk.at = targets.iter().position(|target| Some(*target) == in_use).unwrap_or(0);
        trunk.targets = targets;
        trunk.resolve_at = Some(now + life.max(RESOLVE_LIFE_MIN));
    }

    fn spread(&self, id: TrunkId) -> [u64; 2] {
        let name = self.settings.trunks.get(id.index()).map_or(&b""[..], |profile| profile.name.as_bytes());
        [keyed_hash(self.settings.seed, name), self.settings.seed[1]]
    }
}

impl Remote {
    /// Host and port as written into URIs.
    pub fn written(&self) -> Box<str> {
        written(&self.host, self.port)
    }

    /// URI of the Route header, when there is an outbound proxy.
    pub fn route(&self) -> Option<Box<str>> {
        let (host, port) = self.proxy.as_ref()?;
        Some(format!("sip:{};lr", written(host, *port)).into())
    }
}

fn written(host: &str, port: Option<u16>) -> Box<str> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")).into()
}
