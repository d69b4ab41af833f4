//! The shell of one signal shard: receives, tells the machine, carries out what it says, in order.
//!
//! One task a shard. Nothing in it waits but for the next message or the next deadline.

use super::clock;
use super::edge::Mailbox;
use super::guard::fenced;
use super::internals::ShardFigures;
use super::media::{MediaThreads, Message};
use super::routes::Routes;
use super::setup::Setup;
use super::standing::{KEEP_EVERY, ToKeeper, put_call};
use super::wires::{Wires, lock};
use crate::base::fact::{Direction, Stamped};
use crate::base::number::mask;
use crate::base::{FactId, LegId, MediaThreadId, Mint, Mono, Now, ShardId};
use crate::call::event::{CallView, Event as ToCalls, Silent, SilentStep, Towards};
use crate::media::event::{Action, Counters, Notice};
use crate::net::connections::News;
use crate::net::packet::Packet;
use crate::net::ports::{OpenError, Ports};
use crate::shard::{Effect, Event, Shard};
use crate::sip::event::Flow;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages taken from a mailbox at once.
const BATCH_MAX: usize = 128;
/// New calls taken at once: few, so that what belongs to running calls never waits long behind them.
const CALLS_BATCH_MAX: usize = 16;
/// Registrations taken at once, behind everything else that has come.
const REGISTERS_BATCH_MAX: usize = 16;
/// Looked at the clock at least this often.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A pass that panics is resumed so often: each time behind the step that did.
const RESUMES_MAX: usize = 64;

/// One step of a shard. A panic costs the call it is about, if it is about one; a user agent that is left in disorder is
/// made anew.
fn take_step(
    shard: &mut Shard,
    which: u128,
    now: Now,
    out: &mut Vec<Effect>,
    step: impl FnOnce(&mut Shard, &mut Vec<Effect>),
) {
    if fenced("shard", which, || step(shard, out)).is_ok() {
        return;
    }
    let resumed = (0..RESUMES_MAX).any(|_| fenced("shard, resumed", which, || shard.resume(now, out)).is_ok());
    let in_order = fenced("user agent, checked", which, || shard.check_ua()).is_ok();
    let rebuilt = in_order || fenced("user agent, rebuilt", which, || shard.rebuild_ua(now, out)).is_ok();
    if !(resumed && rebuilt) {
        tracing::error!(which, "a shard goes on in disorder");
    }
}

/// Takes what waits, up to `most` in all.
fn fill<T>(mailbox: &mut mpsc::Receiver<T>, some: &mut Vec<T>, most: usize) {
    while some.len() < most
        && let Ok(one) = mailbox.try_recv()
    {
        some.push(one);
    }
}

/// The receiving ends of one shard.
pub(super) struct ShardMailbox {
    /// Datagrams of running calls.
    pub(super) packets: mpsc::Receiver<Packet>,
    /// INVITEs outside dialogs, and what is about them.
    pub(super) calls: mpsc::Receiver<Packet>,
    pub(super) registers: mpsc::Receiver<Packet>,
    /// All of connections.
    pub(super) news: mpsc::Receiver<News>,
    pub(super) events: mpsc::Receiver<Event>,
}

/// A signal shard with its hands.
pub(super) struct ShardTask {
    pub(super) id: ShardId,
    pub(super) shard: Shard,
    pub(super) wires: Arc<Wires>,
    pub(super) media: Arc<MediaThreads>,
    pub(super) ports: Ports,
    pub(super) mint: Mint,
    pub(super) routes: Routes,
    /// Kept to spare allocations.
    pub(super) carried: Vec<Effect>,
    /// What a restored shard says first.
    pub(super) begun: Vec<Effect>,
    pub(super) keeping: Keeping,
}

/// How changes of calls come to disk.
pub(super) struct Keeping {
    way: ToKeeper,
    /// When changes were written last.
    kept: Mono,
    /// When those that wait are written.
    due: Option<Mono>,
    /// What found no room yet.
    frames: Vec<u8>,
}

impl Keeping {
    pub(super) fn new(way: ToKeeper) -> Keeping {
        Keeping { way, kept: Mono::default(), due: None, frames: Vec::new() }
    }

    /// The changes since the last time: at once after a pause, else as soon as they are due.
    fn keep(&mut self, shard: &mut Shard, now: Now) {
        if !shard.has_changed() && self.frames.is_empty() {
            return;
        }
        let due = self.kept + KEEP_EVERY;
        self.due = (now.mono < due).then_some(due);
        if self.due.is_some() {
            return;
        }
        self.kept = now.mono;
        // While the disk stalls changes are gathered where they cost nothing.
        if self.frames.is_empty() {
            for call in shard.take_changed() {
                put_call(&mut self.frames, call, shard.standing(call).as_ref());
            }
        }
        self.way.give(&mut self.frames);
    }
}

impl ShardTask {
    /// Runs until a mailbox is closed. What belongs to running calls goes before new ones, these before registrations;
    /// none starves.
    pub(super) async fn run(mut self, mut mailbox: ShardMailbox) {
        let mut effects = std::mem::take(&mut self.begun);
        self.carry_out(clock::now(), &mut effects);
        let (mut some_packets, mut some_calls, mut some_registers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut some_events, mut some_news) = (Vec::new(), Vec::new());
        loop {
            let next = [self.shard.next_deadline(), self.keeping.due].into_iter().flatten().min();
            let wait = next.map_or(IDLE_MAX, |at| at.since(clock::now().mono).min(IDLE_MAX));
            tokio::select! {
                biased;
                count = mailbox.events.recv_many(&mut some_events, BATCH_MAX) => if count == 0 { return },
                count = mailbox.packets.recv_many(&mut some_packets, BATCH_MAX) => if count == 0 { return },
                count = mailbox.news.recv_many(&mut some_news, BATCH_MAX) => if count == 0 { return },
                count = mailbox.calls.recv_many(&mut some_calls, CALLS_BATCH_MAX) => if count == 0 { return },
                count = mailbox.registers.recv_many(&mut some_registers, REGISTERS_BATCH_MAX) => {
                    if count == 0 { return }
                }
                () = tokio::time::sleep(wait) => {}
            }
            // Whatever woke us: a flood of one kind must not keep the others waiting for ever.
            fill(&mut mailbox.news, &mut some_news, BATCH_MAX);
            fill(&mut mailbox.calls, &mut some_calls, CALLS_BATCH_MAX);
            fill(&mut mailbox.registers, &mut some_registers, REGISTERS_BATCH_MAX);
            some_events.drain(..).for_each(|event| self.handle(clock::now(), event, &mut effects));
            some_packets.drain(..).for_each(|packet| self.receive(Mailbox::Packets, packet, &mut effects));
            for one in some_news.drain(..) {
                match one {
                    News::Received { packet, in_flight } => {
                        self.receive(Mailbox::News, packet, &mut effects);
                        drop(in_flight);
                    }
                    News::Closed { flow } => self.handle(clock::now(), Event::Closed { flow }, &mut effects),
                }
            }
            some_calls.drain(..).for_each(|packet| self.receive(Mailbox::Calls, packet, &mut effects));
            some_registers.drain(..).for_each(|packet| self.receive(Mailbox::Registers, packet, &mut effects));
            let now = clock::now();
            if self.shard.next_deadline().is_some_and(|at| at <= now.mono) {
                self.step(now, &mut effects, |shard, out| shard.expire(now, out));
                self.carry_out(now, &mut effects);
            }
            self.keep(now);
            self.count(now);
        }
    }

    fn receive(&mut self, mailbox: Mailbox, packet: Packet, effects: &mut Vec<Effect>) {
        let now = clock::now();
        self.wires.edge.waited(self.id, mailbox, packet.at, now.mono);
        let Packet { flow, bytes, stranger, .. } = packet;
        let event = if stranger { Event::Stranger { flow, bytes } } else { Event::Received { flow, bytes } };
        self.handle(now, event, effects);
    }

    fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.step(now, effects, |shard, out| shard.handle(now, event, out));
        self.carry_out(now, effects);
        self.keep(now);
    }

    fn step(&mut self, now: Now, out: &mut Vec<Effect>, step: impl FnOnce(&mut Shard, &mut Vec<Effect>)) {
        take_step(&mut self.shard, u128::from(self.id.0), now, out, step);
    }

    fn keep(&mut self, now: Now) {
        let (shard, keeping) = (&mut self.shard, &mut self.keeping);
        // A fault in there costs what it was about to keep, never a call.
        let _ = fenced("standing", u128::from(self.id.0), || keeping.keep(shard, now));
    }

    fn count(&mut self, now: Now) {
        let (counts, ports) = (self.shard.counts(), self.ports.counts(now.mono));
        let routed_legs = self.routes.count();
        *lock(&self.wires.counts[self.id.index()]) =
            ShardFigures { sip: counts.sip, calls: counts.calls, ports, routed_legs };
    }

    /// Carries effects out in order; an opened port is told at once and what comes of it is carried out too.
    fn carry_out(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut carried = std::mem::take(&mut self.carried);
        while !effects.is_empty() {
            std::mem::swap(effects, &mut carried);
            for effect in carried.drain(..) {
                match effect {
                    Effect::Send { flow, bytes } => self.send(now, flow, bytes, effects),
                    Effect::OpenPort { leg, beside, towards } => {
                        let event = self.open_port(now, leg, beside, towards);
                        self.step(now, effects, |shard, out| shard.handle(now, Event::Call(event), out));
                    }
                    Effect::Trunk(event) => {
                        for said in self.wires.trunks.tell(now, event) {
                            let event = Event::Call(ToCalls::Trunk(said));
                            self.step(now, effects, |shard, out| shard.handle(now, event, out));
                        }
                    }
                    Effect::ReopenPort { leg, beside, local } => {
                        if let Err(error) = self.reopen_port(now, leg, beside, local) {
                            self.wires.faults.ports_refused.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(?leg, %local, %error, "a media port cannot be opened again");
                            let event = ToCalls::Media(Notice::Closed { leg, counters: Counters::default() });
                            self.step(now, effects, |shard, out| shard.handle(now, Event::Call(event), out));
                        }
                    }
                    Effect::Media(action) => self.media(action),
                    Effect::Acd { site, event } => self.wires.to_acd(site, event),
                    Effect::Fact { site, fact } => {
                        let id = FactId(self.mint.mint(now.wall));
                        let site = self.wires.setup.load().code(site);
                        (self.wires.facts)(Stamped { id, at: now.wall, site, fact });
                    }
                    Effect::TransferAnswered { ticket, answer } => self.wires.asked.transfers.answered(ticket, answer),
                    Effect::Intervened { ticket, answer } => self.wires.asked.interventions.answered(ticket, answer),
                    Effect::Desk { call, site, agent, key } => {
                        let said = super::desk::ask(&self.wires, (site, agent), key);
                        let event = Event::Call(ToCalls::DeskJudged { call, said });
                        self.step(now, effects, |shard, out| shard.handle(now, event, out));
                    }
                    Effect::LogIn { call, site, claim } => super::log_in::log_in(&self.wires, call, site, claim),
                    Effect::Ahead(ahead) => self.wires.ahead.tell(now.mono, ahead),
                    Effect::Show(view) => {
                        let setup = self.wires.setup.load();
                        log(&setup, &view);
                        self.wires.edge.stands(&setup, &view);
                        drop(setup);
                        self.wires.live.apply(now.wall, [super::live::Delta::Call(view)]);
                    }
                    Effect::Callback(event) => _ = self.wires.callbacks.tell(*event),
                    Effect::Silent(silent) => log_silence(&self.wires.setup.load(), &silent),
                    Effect::Recall { call, site, caller } => super::recall::recall(&self.wires, call, site, caller),
                    Effect::Bindings(bindings) => self.wires.bindings(self.id, &bindings),
                    Effect::Suspect(suspicion) => self.wires.edge.suspect(now, &suspicion),
                }
            }
        }
        self.carried = carried;
    }

    fn send(&mut self, now: Now, flow: Flow, bytes: Bytes, effects: &mut Vec<Effect>) {
        if flow.is_reliable() {
            if self.wires.connections.send(flow, bytes).is_err() {
                self.step(now, effects, |shard, out| shard.handle(now, Event::Closed { flow }, out));
            }
            return;
        }
        let sockets = self.wires.sockets.load();
        let sent = match sockets.get(usize::from(flow.listener)).and_then(Option::as_ref) {
            Some(socket) => socket.try_send_to(&bytes, flow.peer),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        // Lost like any datagram: SIP's own timers repeat it.
        if let Err(error) = sent {
            self.wires.faults.sends_failed.raise(now.mono, 1, |count| {
                tracing::warn!(%error, count, "a SIP datagram cannot be sent");
            });
        }
    }

    fn open_port(&mut self, now: Now, leg: LegId, beside: Option<LegId>, towards: Towards) -> ToCalls {
        let towards: Option<IpAddr> = match towards {
            Towards::Address(address) => Some(address.ip()),
            Towards::Agent(agent) => self.wires.phones.get(&agent).map(|address| *address),
        };
        match self.ports.open(now.mono, towards) {
            Ok(pair) => {
                let local = pair.local;
                let thread = self.routes.add(leg, beside);
                self.to_media(thread, Message::Open { leg, pair });
                ToCalls::PortOpened { leg, local }
            }
            Err(error) => {
                self.wires.faults.ports_refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(?leg, %error, "no media port");
                ToCalls::PortRefused { leg }
            }
        }
    }

    fn reopen_port(&mut self, now: Now, leg: LegId, beside: Option<LegId>, local: SocketAddr) -> Result<(), OpenError> {
        let pair = self.ports.reopen(now.mono, local)?;
        let thread = self.routes.add(leg, beside);
        self.to_media(thread, Message::Open { leg, pair });
        Ok(())
    }

    fn media(&mut self, action: Action) {
        let leg = action.leg();
        let Some(thread) = self.routes.of(leg) else { return };
        if matches!(action, Action::Close { .. }) {
            self.routes.remove(leg);
        }
        self.to_media(thread, Message::Action(action));
    }

    fn to_media(&self, thread: MediaThreadId, message: Message) {
        if let Err(error) = self.media.send(thread, message) {
            self.wires.faults.messages_lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(?thread, %error, "a message to a media thread is lost");
        }
    }
}

/// One line for each stage of a call, its fields always the same; numbers never in clear.
fn log(setup: &Setup, view: &CallView) {
    // What a line needs is not made for one that nobody wants.
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let contact = view.contact;
    // The citizen's number is masked, whichever it is; the other is the hotline's own.
    let (caller, dialled) = match view.direction {
        Direction::Inbound => (mask(&view.caller), view.dialled.to_string()),
        Direction::Outbound => (view.caller.to_string(), mask(&view.dialled)),
    };
    let (site, agent) = (setup.code(view.site), view.agents.first().map(|agent| setup.agent_name(*agent)));
    match view.stage {
        Some(stage) => tracing::info!(%contact, %site, ?stage, agent = agent.as_deref(), caller, dialled, "call"),
        None => tracing::info!(%contact, %site, caller, dialled, "call over"),
    }
}

/// A leg of which nothing is heard; how often that is, the counters say.
fn log_silence(setup: &Setup, silent: &Silent) {
    let (contact, site, party) = (silent.contact, setup.code(silent.site), &silent.party);
    match silent.step {
        SilentStep::Asked => tracing::warn!(%contact, %site, ?party, "nothing is heard of a leg: it is asked"),
        SilentStep::OneWay => tracing::warn!(%contact, %site, ?party, "a silent leg stands, and is kept"),
        SilentStep::GivenUp => tracing::warn!(%contact, %site, ?party, "a silent leg is given up"),
    }
}

#[cfg(test)]
mod tests;
