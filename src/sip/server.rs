//! The server transactions of one user agent: the table of those that live, and what their steps do.
//!
//! Owns requests, responses, timers and states; asks [`server_txn`](super::server_txn) what follows. Never decides how a
//! request is answered.

use super::client_txn::Kind;
use super::event::Flow;
use super::leg::LegKey;
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::server_txn::{Event, State, Step, step};
use super::timers::{Alarm, Alarms, T1_64, Timer};
use super::ua::{Due, Pass};
use super::via::{MAGIC_COOKIE, Transport, Via};
use super::write::Writer;
use crate::base::map::KeyedMap;
use bytes::Bytes;
use slotmap::{SlotMap, new_key_type};
use std::net::SocketAddr;
use std::sync::Arc;

new_key_type! {
    /// A server transaction.
    pub struct ServerKey;
}

#[derive(Debug)]
pub(super) struct Server {
    kind: Kind,
    pub(super) state: State,
    id: Box<[u8]>,
    /// What a request that came by two ways has in common (RFC 3261 §8.2.2.2).
    merge: Option<Box<[u8]>>,
    /// Where it came from.
    source: SocketAddr,
    /// Where answers go.
    pub(super) flow: Flow,
    /// Where they go once that connection is gone (§18.2.2); `None` where nobody listens, as in a browser.
    elsewhere: Option<Flow>,
    pub(super) request: Arc<Message>,
    /// Our To tag, in every answer.
    pub(super) tag: Box<str>,
    last: Option<Bytes>,
    /// The leg of an INVITE.
    pub(super) leg: Option<LegKey>,
    repeats: u32,
    repeat: Option<Alarm>,
    life: Option<Alarm>,
}

#[derive(Debug)]
pub(super) struct Servers {
    table: SlotMap<ServerKey, Server>,
    index: KeyedMap<Box<[u8]>, ServerKey>,
    merged: KeyedMap<Box<[u8]>, ServerKey>,
}

impl Servers {
    pub(super) fn new(seed: [u64; 2]) -> Servers {
        Servers { table: SlotMap::with_key(), index: KeyedMap::new(seed), merged: KeyedMap::new(seed) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn at(&self, key: ServerKey) -> Option<&Server> {
        self.table.get(key)
    }

    pub(super) fn at_mut(&mut self, key: ServerKey) -> Option<&mut Server> {
        self.table.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServerKey, &Server)> {
        self.table.iter()
    }

    /// Takes a new request; it must be answered.
    pub(super) fn open(&mut self, request: Message, flow: Flow, tag: Box<str>) -> ServerKey {
        let id = id(&request, request.cseq().method);
        let merge = request.to().tag().is_none().then(|| merge(&request));
        let (kind, state) = match request.cseq().method {
            Method::Invite => (Kind::Invite, State::Proceeding),
            _ => (Kind::NonInvite, State::Trying),
        };
        let key = self.table.insert(Server {
            kind,
            state,
            id: id.clone(),
            merge: merge.clone(),
            source: flow.peer,
            flow: answer_flow(&request.top_via(), flow),
            elsewhere: elsewhere(&request.top_via(), flow),
            request: Arc::new(request),
            tag,
            last: None,
            leg: None,
            repeats: 0,
            repeat: None,
            life: None,
        });
        self.index.insert(id, key);
        if let Some(merge) = merge.filter(|merge| !self.merged.contains(merge)) {
            self.merged.insert(merge, key);
        }
        key
    }

    /// The transaction of a repeated request or an ACK (§17.2.3); for CANCEL that of its INVITE when `method` says so.
    pub(super) fn find(&self, request: &Message, method: Method) -> Option<ServerKey> {
        self.index.at(&*id(request, method)).copied()
    }

    /// Whether a new request outside dialogs is another that lives, come by another way (§8.2.2.2).
    pub(super) fn is_merged(&self, request: &Message) -> bool {
        self.merged.contains(&*merge(request))
    }

    /// Begins an answer.
    pub(super) fn reply(&self, key: ServerKey, status: u16) -> Writer {
        let server = &self.table[key];
        Writer::reply(&server.request, status, server.source, &server.tag)
    }

    /// Sends an answer.
    pub(super) fn send(
        &mut self,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        key: ServerKey,
        status: u16,
        bytes: Bytes,
    ) {
        let event = match status {
            100..=199 => Event::Provisional,
            200..=299 => Event::Success,
            _ => Event::Refusal,
        };
        self.handle(alarms, pass, key, event, Some(bytes));
    }

    /// An answer to be sent, a repeated request, an ACK, or a timer. Returns whether the ACK is the session's.
    pub(super) fn handle(
        &mut self,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        key: ServerKey,
        event: Event,
        response: Option<Bytes>,
    ) -> bool {
        let Some(server) = self.table.get_mut(key) else {
            return false;
        };
        let (state, steps) = step(server.kind, server.state, event);
        server.state = state;
        let mut response = response;
        for &step in steps {
            server.take(step, key, alarms, pass, &mut response);
        }
        if state == State::Terminated {
            self.close(alarms, key);
        }
        steps.contains(&Step::Tell)
    }

    /// Forgets a transaction that was answered; returns where its request came from.
    pub(super) fn forget(&mut self, alarms: &mut Alarms<Due>, key: ServerKey) -> Option<Flow> {
        let flow = self.table.get(key).map(|server| Flow { peer: server.source, ..server.flow });
        self.close(alarms, key);
        flow
    }

    /// A connection is gone: answers go to a new one where the other side listens. A refusal that has no ACK is sent there
    /// at once. Returns the legs concerned, each with its new flow.
    pub(super) fn closed(&mut self, pass: &mut Pass, flow: Flow) -> Vec<(LegKey, Flow)> {
        let mut legs = Vec::new();
        for server in self.table.values_mut().filter(|server| server.flow == flow) {
            let Some(elsewhere) = server.elsewhere.take() else { continue };
            server.flow = elsewhere;
            legs.extend(server.leg.map(|leg| (leg, elsewhere)));
            if server.kind == Kind::Invite && server.state == State::Completed {
                server.send_again(pass);
            }
        }
        legs
    }

    /// The other side of a leg came back by another flow.
    pub(super) fn follow(&mut self, leg: LegKey, flow: Flow) {
        self.table.values_mut().filter(|server| server.leg == Some(leg)).for_each(|server| server.flow = flow);
    }

    /// A request other than INVITE that the call answers belongs to its leg, and is answered for the call when its sender
    /// waits no longer (Timer F).
    pub(super) fn wait(&mut self, alarms: &mut Alarms<Due>, pass: &Pass, key: ServerKey, leg: LegKey) {
        if let Some(server) = self.table.get_mut(key) {
            server.leg = Some(leg);
            alarms.set(&mut server.life, pass.now.mono + T1_64, Due::Server(key, Timer::F));
        }
    }

    fn close(&mut self, alarms: &mut Alarms<Due>, key: ServerKey) {
        let Some(mut server) = self.table.remove(key) else {
            return;
        };
        alarms.stop(&mut server.repeat);
        alarms.stop(&mut server.life);
        self.index.remove(&*server.id);
        if let Some(merge) = server.merge
            && self.merged.at(&*merge) == Some(&key)
        {
            self.merged.remove(&*merge);
        }
    }
}

impl Server {
    fn take(
        &mut self,
        step: Step,
        key: ServerKey,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        response: &mut Option<Bytes>,
    ) {
        let reliable = self.flow.is_reliable();
        match step {
            Step::Send => {
                self.last = response.take();
                self.send_again(pass);
            }
            Step::SendAgain => self.send_again(pass),
            // What arrives for sure is not repeated (§17.2.1).
            Step::Start(timer) if timer.repeats() && reliable => {}
            Step::Start(timer) => {
                let lasts = timer.lasts(self.repeats, reliable);
                let place = if timer.repeats() { &mut self.repeat } else { &mut self.life };
                self.repeats += u32::from(timer.repeats());
                alarms.set(place, pass.now.mono + lasts, Due::Server(key, timer));
            }
            Step::StopRepeating => alarms.stop(&mut self.repeat),
            Step::Tell => {}
        }
    }

    fn send_again(&self, pass: &mut Pass) {
        if let Some(last) = &self.last {
            pass.send(self.flow, last.clone());
        }
    }

    /// Whether the timer that rang is the one the transaction waits for.
    pub(super) fn rings(&mut self, timer: Timer, serial: u32) -> bool {
        let place = if timer.repeats() { &mut self.repeat } else { &mut self.life };
        Alarms::<Due>::rings(place, serial)
    }

    /// Whether a final response was sent.
    pub(super) const fn is_answered(&self) -> bool {
        !matches!(self.state, State::Trying | State::Proceeding)
    }

    /// Whether a timer bounds it, or its leg or its answer in the same pass does.
    pub(super) fn is_bounded(&self) -> bool {
        match self.state {
            State::Trying | State::Proceeding => match self.kind {
                Kind::Invite => self.leg.is_some(),
                Kind::NonInvite => self.life.is_some(),
            },
            State::Completed | State::Confirmed | State::Accepted => self.life.is_some(),
            State::Terminated => false,
        }
    }
}

/// What tells a transaction from all others (§17.2.3): branch, sent-by and method, ACK counting as INVITE; for peers of
/// RFC 2543 what their branch does not say.
fn id(request: &Message, method: Method) -> Box<[u8]> {
    let method = match method {
        Method::Invite | Method::Ack => b"INVITE",
        Method::Other => request.method_name().unwrap_or_default(),
        other => other.as_str().as_bytes(),
    };
    let via = request.top_via();
    let sent_by = format!("{:?} {:?}", via.host, via.port).to_ascii_lowercase();
    match via.branch() {
        Some(branch) if branch.starts_with(MAGIC_COOKIE.as_bytes()) => {
            [branch, b" ", sent_by.as_bytes(), b" ", method].concat().into()
        }
        _ => {
            let via = request.values(Name::Via).next().unwrap_or_default();
            [via, b" ", &*identity(request), b" ", method].concat().into()
        }
    }
}

/// From tag, Call-ID and CSeq (§8.2.2.2).
fn merge(request: &Message) -> Box<[u8]> {
    let method = request.method_name().unwrap_or_default();
    [&*identity(request), b" ", method].concat().into()
}

/// From tag, Call-ID and the number of CSeq.
fn identity(request: &Message) -> Box<[u8]> {
    let number = request.cseq().number.to_string();
    let tag = request.from().tag().unwrap_or_default();
    [tag, b" ", request.call_id(), b" ", number.as_bytes()].concat().into()
}

/// Where the sender of a request by TCP or TLS listens, by its Via (RFC 3261 §18.2.2), at the address it came from.
fn elsewhere(via: &Via<'_>, flow: Flow) -> Option<Flow> {
    let port = match via.transport {
        Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Udp | Transport::Sctp | Transport::Ws | Transport::Wss | Transport::Other => return None,
    };
    let peer = SocketAddr::new(flow.peer.ip(), via.port.unwrap_or(port));
    flow.is_reliable().then_some(Flow { connection: Flow::ANY, peer, ..flow })
}

/// To the source address; to the source port when the sender asked for it (RFC 3581 §4), else to that of sent-by
/// (RFC 3261 §18.2.2). `maddr` is not followed: it would let anyone aim our answers.
pub(super) fn answer_flow(via: &Via<'_>, flow: Flow) -> Flow {
    if flow.is_reliable() || via.params.has("rport") {
        return flow;
    }
    let peer = SocketAddr::new(flow.peer.ip(), via.port.unwrap_or(5060));
    Flow { peer, ..flow }
}
