//! The user agent: the front door. It takes datagrams and what calls ask for, and finds the transaction, the dialog or the
//! registrar they belong to.
//!
//! Owns every table and the one wheel of timers. Never reads a clock and never sends: it appends commands. Malformed
//! input becomes a 400 where RFC 3261 allows an answer, and nothing elsewhere.

use super::ask::Asks;
use super::auth::Authenticator;
use super::client::{ClientKey, Clients, Reason, Told};
use super::client_txn;
use super::dialog::Dialog;
use super::event::{Action, Command, Event, Flow, Notice, Settings, Suspect, Suspicion};
use super::incoming::Said;
use super::leg::{Leg, LegKey, LegTimer, State, Wanted};
use super::message::Message;
use super::method::Method;
use super::register::Registrar;
use super::route::Marks;
use super::server::{ServerKey, Servers, answer_flow};
use super::server_txn;
use super::timers::{Alarms, Timer};
use super::write::refuse;
use crate::base::map::KeyedMap;
use crate::base::{LegId, Mint, Mono, Now, ShardId};
use bytes::Bytes;
use slotmap::SlotMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// One shard's user agent.
#[derive(Debug)]
pub struct Ua {
    pub(super) shard: ShardId,
    pub(super) seed: [u64; 2],
    pub(super) marks: Marks,
    pub(super) settings: Arc<Settings>,
    pub(super) alarms: Alarms<Due>,
    pub(super) clients: Clients,
    pub(super) servers: Servers,
    pub(super) legs: SlotMap<LegKey, Leg>,
    pub(super) by_id: KeyedMap<LegId, LegKey>,
    /// By our tag, which is unique.
    pub(super) by_tag: KeyedMap<Box<[u8]>, LegKey>,
    /// Legs that came in before a restart, by Call-ID and From tag: with it the transactions of their INVITEs were lost.
    pub(super) taken_over: KeyedMap<Box<[u8]>, LegKey>,
    pub(super) auth: Authenticator,
    pub(super) registrar: Registrar,
    pub(super) asks: Asks,
    /// Trunks that asked to be left alone, and until when.
    pub(super) resting: BTreeMap<SocketAddr, Mono>,
    /// Peers to whom no connection opened, and until when none is tried for requests that go by UDP.
    pub(super) by_udp: BTreeMap<SocketAddr, Mono>,
    /// Legs that came in so far.
    pub(super) incoming: u64,
}

/// Whose timer rang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A client transaction's.
    Client(ClientKey, Timer),
    /// The bound of an INVITE of ours after its CANCEL.
    Guard(ClientKey),
    /// A server transaction's.
    Server(ServerKey, Timer),
    /// A leg's repetition, bound or second try.
    #[expect(private_interfaces, reason = "timers of legs are named inside the module only")]
    Leg(LegKey, LegTimer),
    /// The next expiry of an address-of-record.
    Record(u32),
}

/// One event being handled to its end.
pub(super) struct Pass<'a> {
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Command>,
}

impl Pass<'_> {
    /// Tells the call.
    pub(super) fn tell(&mut self, notice: Notice) {
        self.out.push(Command::Tell(notice));
    }

    /// Tells whoever watches the edge.
    pub(super) fn suspect(&mut self, flow: Flow, what: Suspect) {
        self.out.push(Command::Suspect(Suspicion { flow, what }));
    }
}

/// How much of everything lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = SipCounts)]
pub struct Counts {
    /// Client and server transactions.
    pub transactions: usize,
    /// Legs in set-up, established or ending.
    pub dialogs: usize,
    /// Timers set.
    pub timers: usize,
    /// Registered contacts, copies included.
    pub bindings: usize,
}

impl Ua {
    /// A user agent without legs and registrations. `node` and `shard` mark what it sends; `mint` and `seed` are its
    /// secrets: nobody without them can foresee a tag or make a nonce.
    pub fn new(node: u16, shard: ShardId, mint: Mint, seed: [u64; 2], settings: Arc<Settings>) -> Ua {
        let mut auth = Authenticator::new(shard, seed);
        auth.configure(&settings.credentials, settings.nonce_life);
        Ua {
            shard,
            seed,
            marks: Marks::new(node, shard, mint),
            settings,
            alarms: Alarms::default(),
            clients: Clients::new(seed),
            servers: Servers::new(seed),
            legs: SlotMap::with_key(),
            by_id: KeyedMap::new(seed),
            by_tag: KeyedMap::new(seed),
            taken_over: KeyedMap::new(seed),
            auth,
            registrar: Registrar::new(seed),
            asks: Asks::default(),
            resting: BTreeMap::new(),
            by_udp: BTreeMap::new(),
            incoming: 0,
        }
    }

    /// Takes one event; appends what follows from it.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Command>) {
        let pass = &mut Pass { now, out };
        match event {
            Event::Received { flow, bytes } => self.receive(pass, flow, bytes),
            Event::Stranger { flow, bytes } => self.receive_stranger(pass, flow, bytes),
            Event::Closed { flow } => self.closed(pass, flow),
            Event::Do(action) => self.act(pass, action),
            Event::Bindings(bindings) => {
                let record = self.registrar.replicate(now, bindings);
                self.watch(record);
                self.returned(pass, record);
            }
            Event::Restored(bindings) => {
                let record = self.registrar.replicate(now, bindings);
                self.registrar.own(record);
                self.registrar.expire(now, record);
                self.watch(record);
                pass.out.push(Command::Bindings(self.registrar.bindings(record)));
            }
            Event::Configure(settings) => {
                self.auth.configure(&settings.credentials, settings.nonce_life);
                self.settings = settings;
            }
        }
    }

    /// When to call [`Ua::expire`] next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.alarms.next_deadline()
    }

    /// Lets all timers ring that are due.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Command>) {
        let pass = &mut Pass { now, out };
        for (due, serial) in self.alarms.expire(now.mono) {
            self.ring(pass, due, serial);
        }
    }

    /// How much of everything lives.
    pub fn counts(&self) -> Counts {
        Counts {
            transactions: self.clients.len() + self.servers.len(),
            dialogs: self.legs.len(),
            timers: self.alarms.count(),
            bindings: self.registrar.len(),
        }
    }

    /// Panics when something is not as it must be between two events.
    pub fn check(&self) {
        self.registrar.check();
        assert_eq!(self.by_id.len(), self.legs.len(), "every leg is found by its id");
        assert_eq!(self.by_tag.len(), self.legs.len(), "every leg is found by its tag");
        for (key, leg) in &self.legs {
            assert_eq!(self.by_id.at(&leg.id), Some(&key), "a leg is found by its own id");
            assert_eq!(self.by_tag.at(leg.tag.as_bytes()), Some(&key), "a leg is found by its own tag");
            let bounded = match &leg.state {
                State::Offered(_) | State::Answered { .. } => leg.life.is_some(),
                State::Calling(calling) => !calling.branches.is_empty(),
                State::Established { .. } => leg.life.is_some() == leg.is_waiting(),
                State::Ending { .. } => true,
            };
            assert!(bounded, "a leg waits without an end: {leg:?}");
        }
        for (_, client) in self.clients.iter() {
            let bounded = client.life.is_some() || client.guard.is_some() || self.bounds(client.purpose);
            assert!(bounded, "a request waits without an end: {client:?}");
        }
        for (_, server) in self.servers.iter() {
            assert!(server.is_bounded(), "a request stays without an answer: {server:?}");
        }
    }

    fn ring(&mut self, pass: &mut Pass, due: Due, serial: u32) {
        match due {
            Due::Client(key, timer) => {
                if self.clients.at_mut(key).is_some_and(|client| super::client::rings(client, timer, serial)) {
                    let event = client_txn::Event::Timer(timer);
                    let told = self.clients.handle(&mut self.alarms, pass, key, event, None);
                    self.told(pass, key, told, None);
                }
            }
            Due::Guard(key) => {
                if self.clients.at_mut(key).is_some_and(|client| Alarms::<Due>::rings(&mut client.guard, serial)) {
                    self.guard_rang(pass, key);
                }
            }
            Due::Server(key, Timer::F) => {
                if self.servers.at_mut(key).is_some_and(|server| server.rings(Timer::F, serial)) {
                    self.unanswered(pass, key);
                }
            }
            Due::Server(key, timer) => {
                if self.servers.at_mut(key).is_some_and(|server| server.rings(timer, serial)) {
                    let event = server_txn::Event::Timer(timer);
                    self.servers.handle(&mut self.alarms, pass, key, event, None);
                }
            }
            Due::Leg(key, timer) => {
                let leg = self.legs.get_mut(key);
                if leg.is_some_and(|leg| Alarms::<Due>::rings(leg.place(timer), serial)) {
                    match timer {
                        LegTimer::Repeat => self.repeat_rang(pass, key),
                        LegTimer::Life => self.life_rang(pass, key),
                        LegTimer::Again => self.again_rang(pass, key),
                        LegTimer::Refresh => self.refresh_rang(pass, key),
                        LegTimer::Expiry => self.expiry_rang(pass, key),
                    }
                }
            }
            Due::Record(record) => {
                if Alarms::<Due>::rings(self.registrar.alarm(record).1, serial) {
                    self.record_rang(pass, record);
                }
            }
        }
    }

    /// Gives up an INVITE whose CANCEL brought nothing in 64×T1 (§9.1).
    fn guard_rang(&mut self, pass: &mut Pass, key: ClientKey) {
        let Some(purpose) = self.clients.at(key).map(|client| client.purpose) else {
            return;
        };
        self.clients.close(&mut self.alarms, key);
        self.told(pass, key, Told::Timeout(purpose), None);
    }

    fn receive(&mut self, pass: &mut Pass, flow: Flow, bytes: Bytes) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0)) {
            // It only keeps a NAT open (RFC 5626 §3.5.1); a connection has answered its own pings.
            return;
        }
        match Message::parse(bytes) {
            Ok(message) if message.is_request() => self.request(pass, flow, message),
            Ok(message) => self.response(pass, flow, &message),
            Err(error) => {
                let tag = self.marks.tag();
                if let (Some(refusable), Some(bytes)) = (&error.refusable, refuse(&error, flow.peer, &tag)) {
                    let via = refusable.top_via();
                    let flow = answer_flow(&via, flow);
                    pass.send(flow, bytes);
                }
                pass.suspect(flow, Suspect::Malformed);
            }
        }
    }

    /// What is known to nobody gets no answer at all, whatever is wrong with it.
    fn receive_stranger(&mut self, pass: &mut Pass, flow: Flow, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes) else {
            return pass.suspect(flow, Suspect::Malformed);
        };
        if !message.is_request() {
            return match self.clients.find(&message) {
                Some(_) => self.response(pass, flow, &message),
                // A phone of a restored call may be unknown until it registers again.
                None if self.asker(&message).is_some() => self.orphan(pass, flow, &message),
                None => pass.suspect(flow, Suspect::Forged),
            };
        }
        let registers = message.cseq().method == Method::Register && self.settings.serves(&message.to().uri);
        if registers || self.leg_of(&message).is_some() || self.servers.find(&message, message.cseq().method).is_some()
        {
            return self.request(pass, flow, message);
        }
        pass.suspect(flow, Suspect::Forged);
    }

    /// Finds the transaction of a request (§17.2.3), or begins one.
    fn request(&mut self, pass: &mut Pass, flow: Flow, request: Message) {
        let method = request.cseq().method;
        if let Some(key) = self.servers.find(&request, method) {
            let event = if method == Method::Ack { server_txn::Event::Ack } else { server_txn::Event::Repeated };
            if self.servers.handle(&mut self.alarms, pass, key, event, None) {
                self.acknowledged(pass, &request);
            }
            return;
        }
        match method {
            // The ACK of a 2xx is a transaction of its own (§13.2.2.4); one that belongs to nothing is absorbed.
            Method::Ack => self.acknowledged(pass, &request),
            Method::Cancel => self.cancelled(pass, flow, request),
            // Its 2xx is repeated until the ACK, as in the transaction's state Accepted (RFC 6026 §7.1).
            Method::Invite if self.was_taken_over(&request) => {}
            _ => self.begin(pass, flow, request),
        }
    }

    fn response(&mut self, pass: &mut Pass, flow: Flow, response: &Message) {
        let status = response.status().expect("a response has a status");
        let Some(key) = self.clients.find(response) else {
            // After a restart the transaction is gone, but a repeated 2xx still wants its ACK.
            return self.orphan(pass, flow, response);
        };
        let event = match status {
            100..=199 => client_txn::Event::Provisional,
            200..=299 => client_txn::Event::Success,
            _ => client_txn::Event::Refusal,
        };
        let told = self.clients.handle(&mut self.alarms, pass, key, event, Some(response));
        self.told(pass, key, told, Some(response));
    }

    fn act(&mut self, pass: &mut Pass, action: Action) {
        match action {
            Action::Invite(invite) => self.invite(pass, *invite),
            Action::Ask(ask) => self.ask(pass, *ask),
            Action::Respond { leg, status, sdp, q850, retry_after_s } => {
                if let Some(key) = self.leg(leg) {
                    match status {
                        101..=299 => self.respond(pass, key, status, sdp),
                        300..=699 => self.refuse(pass, key, status, q850, Said::later(retry_after_s)),
                        _ => {}
                    }
                }
            }
            Action::Refuse { leg, status, q850, why } => {
                if let (Some(key), 300..=699) = (self.leg(leg), status) {
                    self.refuse(pass, key, status, Some(q850), Said::Why(&why));
                }
            }
            Action::Reinvite { leg, sdp } => {
                if let Some(key) = self.leg(leg) {
                    self.reinvite(pass, key, Wanted { sdp, tries: 0, probe: false });
                }
            }
            Action::Probe { leg, sdp } => {
                if let Some(key) = self.leg(leg) {
                    self.reinvite(pass, key, Wanted { sdp, tries: 0, probe: true });
                }
            }
            Action::AnswerReoffer { leg, answer } => {
                if let Some(key) = self.leg(leg) {
                    self.answer_reoffer(pass, key, answer);
                }
            }
            Action::AnswerRefer { leg, refer, status } => {
                if let Some(key) = self.leg(leg) {
                    self.answer_refer(pass, key, refer, status, Said::Nothing);
                }
            }
            Action::RefuseRefer { leg, refer, status, why } => {
                if let Some(key) = self.leg(leg) {
                    self.answer_refer(pass, key, refer, status, Said::Why(&why));
                }
            }
            Action::ReferProgress { leg, refer, status } => {
                if let Some(key) = self.leg(leg) {
                    self.refer_progress(pass, key, refer, status);
                }
            }
            Action::HangUp { leg, q850 } => {
                if let Some(key) = self.leg(leg) {
                    self.hang_up(pass, key, Reason::Q850(q850));
                }
            }
            Action::TakenElsewhere { leg } => {
                if let Some(key) = self.leg(leg) {
                    self.hang_up(pass, key, Reason::Elsewhere);
                }
            }
        }
    }

    /// Whether a leg of this number lives.
    pub fn knows(&self, leg: LegId) -> bool {
        self.by_id.contains(&leg)
    }

    /// All legs, in no order.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.legs.values().map(|leg| leg.id)
    }

    fn leg(&self, id: LegId) -> Option<LegKey> {
        self.by_id.at(&id).copied()
    }

    /// Puts a leg into the tables.
    pub(super) fn add(&mut self, leg: Leg) -> LegKey {
        let (id, tag) = (leg.id, leg.tag.as_bytes().into());
        let key = self.legs.insert(leg);
        self.by_id.insert(id, key);
        self.by_tag.insert(tag, key);
        key
    }

    /// Takes a leg out of the tables and stops its timers.
    pub(super) fn remove(&mut self, key: LegKey) -> Option<Leg> {
        let mut leg = self.legs.remove(key)?;
        for timer in LegTimer::ALL {
            self.alarms.stop(leg.place(timer));
        }
        self.by_id.remove(&leg.id);
        self.by_tag.remove(leg.tag.as_bytes());
        if let Some(begun) = leg.dialog().and_then(Dialog::begun_by_them) {
            self.taken_over.remove(&begun);
        }
        Some(leg)
    }

    /// Sets a timer of a leg.
    pub(super) fn set(&mut self, key: LegKey, timer: LegTimer, at: Mono) {
        if let Some(leg) = self.legs.get_mut(key) {
            self.alarms.set(leg.place(timer), at, Due::Leg(key, timer));
        }
    }

    /// Stops a timer of a leg.
    pub(super) fn stop(&mut self, key: LegKey, timer: LegTimer) {
        if let Some(leg) = self.legs.get_mut(key) {
            self.alarms.stop(leg.place(timer));
        }
    }
}
