//! The client transactions of one user agent: the table of those that live, and what their steps do.
//!
//! Owns requests, timers and states; asks [`client_txn`](super::client_txn) what follows. Never knows what a response
//! means to a session.

use super::ask::AskKey;
use super::client_txn::{Event, Kind, State, Step, start, step};
use super::event::{Command, Flow};
use super::leg::LegKey;
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::timers::{Alarm, Alarms, T1_64, Timer};
use super::ua::{Due, Pass};
use super::write::Writer;
use crate::base::map::KeyedMap;
use bytes::Bytes;
use slotmap::{SlotMap, new_key_type};

new_key_type! {
    /// A client transaction.
    pub struct ClientKey;
}

/// For whom a request was sent. The leg may be gone by the time an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A branch of the leg's first INVITE.
    Invite(LegKey),
    /// A re-INVITE.
    Reinvite(LegKey),
    /// A refresh of the session.
    Update(LegKey),
    /// Proves a reliable response to the leg's first INVITE.
    Prack(LegKey),
    /// Tells how a REFER goes.
    Notify(LegKey),
    /// The BYE after which the leg is gone.
    Bye(LegKey),
    /// A request outside dialogs.
    Ask(AskKey),
    /// Nobody: CANCEL, and BYE to a branch that lost.
    Nobody,
}

/// Whether an INVITE is being cancelled (RFC 3261 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    /// No.
    No,
    /// As soon as a provisional response comes, for this reason.
    Wanted(Reason),
    /// CANCEL was sent, for this reason.
    Sent(Reason),
}

#[derive(Debug)]
pub(super) struct Client {
    kind: Kind,
    pub(super) state: State,
    pub(super) flow: Flow,
    pub(super) request: Bytes,
    /// The same by UDP, while it is tried by TCP because of its size (§18.1.1).
    pub(super) fallback: Option<(Flow, Bytes)>,
    index: Box<[u8]>,
    pub(super) purpose: Purpose,
    pub(super) cancel: Cancel,
    /// How often the request was sent anew before, because a refusal could be cured.
    pub(super) retries: u8,
    /// Remote tags of 2xx that had to be hung up: theirs is acknowledged again, but not the BYE.
    pub(super) strays: Vec<Box<[u8]>>,
    repeats: u32,
    pub(super) repeat: Option<Alarm>,
    pub(super) life: Option<Alarm>,
    /// Ends an INVITE whose CANCEL, or whose caller's patience, brought no final response.
    pub(super) guard: Option<Alarm>,
}

/// What goes up from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Response(Purpose),
    Timeout(Purpose),
    /// It could not even be sent.
    Unreachable(Purpose),
}

#[derive(Debug)]
pub(super) struct Clients {
    table: SlotMap<ClientKey, Client>,
    index: KeyedMap<Box<[u8]>, ClientKey>,
}

impl Clients {
    pub(super) fn new(seed: [u64; 2]) -> Clients {
        Clients { table: SlotMap::with_key(), index: KeyedMap::new(seed) }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn at(&self, key: ClientKey) -> Option<&Client> {
        self.table.get(key)
    }

    pub(super) fn at_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.table.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.table.iter()
    }

    /// Waits for the answers to an INVITE that was sent before a crash: one that was heard rings on; any other is
    /// repeated. `None` when it cannot be read.
    pub(super) fn reopen(
        &mut self,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        flow: Flow,
        (invite, heard): (Bytes, bool),
        purpose: Purpose,
    ) -> Option<ClientKey> {
        let message = Message::parse(invite.clone()).ok()?;
        let branch = std::str::from_utf8(message.top_via().branch()?).ok()?;
        let named = (Method::Invite, branch);
        if !heard {
            return Some(self.open(alarms, pass, flow, named, invite, purpose));
        }
        let client = Client::new(Kind::Invite, flow, named, invite, purpose);
        Some(self.add(Client { state: State::Proceeding, ..client }))
    }

    fn add(&mut self, client: Client) -> ClientKey {
        let index = client.index.clone();
        let key = self.table.insert(client);
        self.index.insert(index, key);
        key
    }

    /// Sends a request and waits for its answers.
    pub(super) fn open(
        &mut self,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        flow: Flow,
        (method, branch): (Method, &str),
        request: Bytes,
        purpose: Purpose,
    ) -> ClientKey {
        let kind = if method == Method::Invite { Kind::Invite } else { Kind::NonInvite };
        let key = self.add(Client::new(kind, flow, (method, branch), request, purpose));
        let client = &mut self.table[key];
        pass.send(flow, client.request.clone());
        for &step in start(kind, flow.is_reliable()) {
            client.take(step, key, alarms, pass, None);
        }
        key
    }

    /// Which transaction a response answers (§17.1.3).
    pub(super) fn find(&self, response: &Message) -> Option<ClientKey> {
        let branch = response.top_via().branch()?;
        self.index.at(&*index(branch, response.cseq().method)).copied()
    }

    /// A response came, or a timer rang.
    pub(super) fn handle(
        &mut self,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        key: ClientKey,
        event: Event,
        response: Option<&Message>,
    ) -> Told {
        let Some(client) = self.table.get_mut(key) else {
            return Told::Nothing;
        };
        let (state, steps) = step(client.kind, client.state, event);
        client.state = state;
        let mut told = Told::Nothing;
        for &step in steps {
            match step {
                Step::Tell => told = Told::Response(client.purpose),
                Step::TellTimeout => told = Told::Timeout(client.purpose),
                Step::TellUnsent => told = Told::Unreachable(client.purpose),
                Step::Send | Step::Ack | Step::Start(_) | Step::StopRepeating => {
                    client.take(step, key, alarms, pass, response);
                }
            }
        }
        if state != State::Calling && state != State::Proceeding {
            alarms.stop(&mut client.guard);
        }
        if state == State::Terminated {
            self.close(alarms, key);
        }
        told
    }

    /// Those that wait for their first answer.
    pub(super) fn unanswered(&self, wanted: impl Fn(&Client) -> bool) -> Vec<ClientKey> {
        let found = self.table.iter().filter(|(_, client)| client.state == State::Calling && wanted(client));
        found.map(|(key, _)| key).collect()
    }

    /// Sends an unanswered request once more, on another flow, as if for the first time.
    pub(super) fn send_on(&mut self, alarms: &mut Alarms<Due>, pass: &mut Pass, key: ClientKey, flow: Flow) {
        let client = &mut self.table[key];
        client.flow = flow;
        pass.send(flow, client.request.clone());
        client.take(Step::StopRepeating, key, alarms, pass, None);
        for &step in start(client.kind, flow.is_reliable()) {
            client.take(step, key, alarms, pass, None);
        }
    }

    /// Forgets a transaction.
    pub(super) fn close(&mut self, alarms: &mut Alarms<Due>, key: ClientKey) {
        let Some(mut client) = self.table.remove(key) else {
            return;
        };
        for place in [&mut client.repeat, &mut client.life, &mut client.guard] {
            alarms.stop(place);
        }
        self.index.remove(&*client.index);
    }

    /// Cancels an INVITE: at once when a provisional response came, else when one comes (§9.1). Nothing when a final
    /// response came already.
    pub(super) fn cancel(&mut self, alarms: &mut Alarms<Due>, pass: &mut Pass, key: ClientKey, why: Reason) {
        let Some(client) = self.table.get_mut(key) else { return };
        match (client.state, &client.cancel) {
            (State::Calling, Cancel::No) => client.cancel = Cancel::Wanted(why),
            (State::Proceeding, Cancel::No | Cancel::Wanted(_)) => {
                client.cancel = Cancel::Sent(why);
                alarms.set(&mut client.guard, pass.now.mono + T1_64, Due::Guard(key));
                if let Some((flow, branch, request)) = client.cancelling(why) {
                    self.open(alarms, pass, flow, (Method::Cancel, &branch), request, Purpose::Nobody);
                }
            }
            (State::Calling, Cancel::Wanted(_) | Cancel::Sent(_))
            | (State::Proceeding, Cancel::Sent(_))
            | (State::Completed | State::Accepted | State::Terminated, _) => {}
        }
    }
}

impl Client {
    fn new(kind: Kind, flow: Flow, (method, branch): (Method, &str), request: Bytes, purpose: Purpose) -> Client {
        Client {
            kind,
            state: State::Calling,
            flow,
            request,
            fallback: None,
            index: index(branch.as_bytes(), method),
            purpose,
            cancel: Cancel::No,
            retries: 0,
            strays: Vec::new(),
            repeats: 0,
            repeat: None,
            life: None,
            guard: None,
        }
    }

    /// Whether it waits for its final answer, having had a provisional one.
    pub(super) fn is_heard(&self) -> bool {
        self.state == State::Proceeding
    }

    fn take(
        &mut self,
        step: Step,
        key: ClientKey,
        alarms: &mut Alarms<Due>,
        pass: &mut Pass,
        response: Option<&Message>,
    ) {
        match step {
            Step::Send => pass.send(self.flow, self.request.clone()),
            Step::Ack => {
                let response = response.expect("only a refusal is acknowledged");
                if let Some(ack) = self.ack(response) {
                    pass.send(self.flow, ack);
                }
            }
            Step::Start(timer) => {
                let lasts = timer.lasts(self.repeats, self.flow.is_reliable());
                let place = if timer.repeats() { &mut self.repeat } else { &mut self.life };
                self.repeats += u32::from(timer.repeats());
                alarms.set(place, pass.now.mono + lasts, Due::Client(key, timer));
            }
            Step::StopRepeating => {
                alarms.stop(&mut self.repeat);
                // With the repeating ends what bounded the waiting (Timers B and F).
                alarms.stop(&mut self.life);
            }
            Step::Tell | Step::TellTimeout | Step::TellUnsent => {}
        }
    }

    /// The flow of a dialog that it makes: that by which the other side was to be reached, whatever its size demanded.
    pub(super) fn home(&self) -> Flow {
        self.fallback.as_ref().map_or(self.flow, |(flow, _)| *flow)
    }

    /// The request as it was sent; `None` when what others told us to write into it made it unreadable (too long, a
    /// header twice): then nobody can have answered it by the rules.
    pub(super) fn message(&self) -> Option<Message> {
        Message::parse(self.request.clone()).ok()
    }

    /// The ACK of a refusal: the same Request-URI, Via, Route, From, Call-ID; the To of the response (§17.1.1.3).
    fn ack(&self, response: &Message) -> Option<Bytes> {
        let invite = self.message()?;
        let mut writer = hop_by_hop(&invite, Method::Ack);
        writer.header(Name::To, response.header(Name::To).unwrap_or_default());
        writer.line(Name::CSeq, format_args!("{} ACK", invite.cseq().number));
        Some(writer.finish())
    }

    /// Its CANCEL: the same but for the method (§9.1).
    fn cancelling(&self, why: Reason) -> Option<(Flow, Box<str>, Bytes)> {
        let invite = self.message()?;
        let branch = String::from_utf8_lossy(invite.top_via().branch().unwrap_or_default()).into();
        let mut writer = hop_by_hop(&invite, Method::Cancel);
        writer.header(Name::To, invite.header(Name::To).unwrap_or_default());
        writer.line(Name::CSeq, format_args!("{} CANCEL", invite.cseq().number));
        why.write(&mut writer);
        Some((self.flow, branch, writer.finish()))
    }
}

/// What a `Reason` header says (RFC 3326).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// No header.
    None,
    /// A cause of Q.850.
    Q850(u8),
    /// Another branch was answered: no missed call.
    Elsewhere,
}

impl Reason {
    /// The cause of Q.850 that says the same.
    pub(super) const fn q850(self) -> u8 {
        match self {
            Reason::Q850(cause) => cause,
            // Normal call clearing.
            Reason::None | Reason::Elsewhere => 16,
        }
    }

    pub(super) fn write(self, writer: &mut Writer) {
        match self {
            Reason::None => {}
            Reason::Q850(cause) => {
                writer.line(Name::Reason, format_args!("Q.850;cause={cause}"));
            }
            Reason::Elsewhere => {
                writer.header(Name::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
            }
        }
    }
}

impl From<Option<u8>> for Reason {
    fn from(q850: Option<u8>) -> Reason {
        q850.map_or(Reason::None, Reason::Q850)
    }
}

/// What a request shares with the INVITE whose hop it follows.
fn hop_by_hop(invite: &Message, method: Method) -> Writer {
    let uri = invite.request_uri().expect("an INVITE is a request");
    let mut writer = Writer::request(method, &uri);
    for name in [Name::Via, Name::MaxForwards, Name::Route, Name::From, Name::CallId] {
        for line in invite.lines(name) {
            writer.header(name, line);
        }
    }
    writer
}

fn index(branch: &[u8], method: Method) -> Box<[u8]> {
    // An ACK is never answered; the method keeps CANCEL and its INVITE apart.
    [branch, b" ", method.as_str().as_bytes()].concat().into()
}

impl Pass<'_> {
    /// Sends bytes on a flow.
    pub(super) fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.out.push(Command::Send { flow, bytes });
    }
}

/// Whether the timer that rang is the one the transaction waits for.
pub(super) fn rings(client: &mut Client, timer: Timer, serial: u32) -> bool {
    let place = if timer.repeats() { &mut client.repeat } else { &mut client.life };
    Alarms::<Due>::rings(place, serial)
}
