//! What is looked at, and how often: what an event has changed at once, everything at every n-th event.

use super::{CLOSING_MAX, SHARDS, SITES, World};
use crate::sim::laws::Beliefs;
use crate::sim::session::{Session, Stage};
use jiesu::acd::Counts;
use jiesu::base::fact::{CallRecord, End};
use jiesu::base::{ContactId, Mono};
use std::time::Duration;

/// A phone that fell silent is believed in for no longer: its registration's time, and what a message takes.
const SILENT_MAX: Duration = Duration::from_secs(126);
/// A phone that reads Expires rings no longer than the queue's longest ring time.
const RING_MAX: Duration = Duration::from_secs(22);
/// One that does not rings until our CANCEL comes, which is repeated for 32 s, after the longest crash.
const RING_UNHEARD_MAX: Duration = Duration::from_secs(62);
/// An INVITE is repeated for so long, whether or not anybody still waits for its answer.
const INVITE_MAX: Duration = Duration::from_secs(33);
/// With more datagrams lost in a thousand, all the eleven of a 2xx or its ACK may be (RFC 3261 §13.3.1.4).
const UNHEARD_FROM: u64 = 100;
/// What was just said is believed everywhere after this.
const CROSSING_MAX: Duration = Duration::from_secs(1);

/// Counts the steps of each machine: every `every`-th is followed by a look at the whole of it.
#[derive(Debug)]
pub struct Cadence {
    every: u64,
    steps: u64,
    /// From this moment on every step is.
    closely_from: Mono,
}

impl Cadence {
    /// A look at everything after every `every`-th step, and after each one from `closely_from` on.
    pub fn new(every: u64, closely_from: Mono) -> Cadence {
        Cadence { every, steps: 0, closely_from }
    }

    fn is_due(&mut self, now: Mono) -> bool {
        self.steps += 1;
        self.steps.is_multiple_of(self.every) || now >= self.closely_from
    }
}

impl World {
    pub(super) fn check_shard(&mut self, shard: usize) {
        if self.cadence.is_due(self.now.mono) {
            self.shards[shard].check();
        }
    }

    pub(super) fn check_acd(&mut self, site: usize) {
        if self.cadence.is_due(self.now.mono) {
            self.acds[site].check();
        }
    }

    pub(super) fn check_plane(&mut self, plane: usize) {
        if self.cadence.is_due(self.now.mono) {
            self.planes[plane].check();
        }
    }

    pub(super) fn judge(&mut self, record: &CallRecord, end: End) {
        let mut sides = self.sides.remove(&*record.sip_call_id).unwrap_or_default();
        sides.agent_left = self.hung_up.remove(&record.contact.to_string());
        sides.draining = self.draining;
        sides.ports_refused = self.ports_refused.remove(&*record.sip_call_id);
        sides.unheard = self.rates.lost > UNHEARD_FROM;
        let served = record.times.answered.is_some();
        self.figures.stayed += u64::from(served || !sides.caller_left);
        self.figures.set_up += u64::from(served);
        sides.full = self.shards.iter().any(|shard| shard.counts().calls.calls >= self.site.calls.calls_max);
        self.ledger.judge(record, end, sides);
    }

    /// A moment after its end no port serves the call any more.
    pub(super) fn nothing_is_left_of(&mut self, contact: ContactId) {
        let Some(citizen) = self.citizen_of.remove(&contact) else { return };
        if self.dead.is_some() || self.begun_anew > self.now.mono - CLOSING_MAX * 2 {
            return;
        }
        let left = self.ports.iter().find(|(_, port)| port.citizen == citizen);
        assert!(left.is_none(), "a port is open for a call that is over: {left:?} of {contact:?}");
    }

    /// The laws of the whole.
    pub(super) fn check(&mut self) {
        if self.dead.is_some() || self.dead_acd.is_some() || !self.cadence.is_due(self.now.mono) {
            return;
        }
        self.trunks.check();
        self.check_phones();
        let beliefs = Beliefs { acds: &self.acds, site: &self.site, people: &self.plan.people };
        self.ledger.check(self.now.mono, &beliefs);
    }

    fn check_phones(&self) {
        let now = self.now.mono;
        let longer = |since: Option<Mono>, most| since.is_some_and(|since| now.since(since) > most);
        for (phone, person) in self.agents.iter().zip(&self.plan.people) {
            let away = longer(phone.away_since, CROSSING_MAX) || longer(phone.silent_since, SILENT_MAX);
            let recent = self.begun_anew > now - CROSSING_MAX;
            let view = self.acds[person.site.index()].agent(person.agent).filter(|_| away && !recent);
            assert!(
                view.is_none_or(|view| !view.phone_up),
                "the ACD believes in the phone at {} of {:?}",
                phone.me,
                person.agent
            );
            let ring_max = match (phone.reads_expires, self.rates.stale_ms) {
                (true, _) => RING_MAX,
                (false, 0) => RING_UNHEARD_MAX,
                (false, _) => continue,
            };
            if phone.silent {
                continue;
            }
            let rings = |it: &&Session| it.stage == Stage::Asked && it.asked > phone.returned + INVITE_MAX;
            for session in phone.sessions.values().filter(rings) {
                assert!(now.since(session.asked) <= ring_max, "{} rings for nobody: {}", person.user, session.call_id);
            }
        }
    }

    /// Nothing may be left.
    pub(super) fn over(&self) {
        self.ledger.close();
        for (id, shard) in self.shards.iter().take(SHARDS).enumerate() {
            shard.check();
            let counts = shard.counts();
            let sip = (counts.sip.transactions, counts.sip.dialogs, counts.sip.timers, counts.sip.bindings);
            assert_eq!(sip, (0, 0, 0, 0), "transactions, dialogs, timers, bindings of shard {id}");
            let calls = (counts.calls.calls, counts.calls.live, counts.calls.legs, counts.calls.timers);
            assert_eq!(calls, (0, 0, 0, 0), "calls, live ones, legs, timers of shard {id}");
        }
        for (site, acd) in self.acds.iter().take(SITES).enumerate() {
            acd.check();
            assert_eq!(acd.counts(), Counts::default(), "the ACD of site {site} is empty");
        }
        for plane in &self.planes {
            plane.check();
            let counts = plane.counts();
            assert_eq!((counts.legs, counts.bridges, counts.playing, counts.recordings), (0, 0, 0, 0), "{counts:?}");
        }
        let channels: u32 = self.trunks.views(self.now.mono).iter().map(|view| view.inbound.used).sum();
        assert_eq!(channels, 0, "channels are held");
        assert!(self.ports.is_empty(), "ports are open: {:?}", self.ports);
        assert!(self.citizens.is_empty(), "citizens are on the line: {:?}", self.citizens.keys());
    }
}
