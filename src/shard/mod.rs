//! One signal shard as a pure machine: a user agent and its calls, each message handled to its end in one pass.
//!
//! Owns nothing of its own but the order of the pass. Everything that touches the world comes out as an [`Effect`];
//! the shell carries effects out in order, and so does the simulation.

pub mod standing;

pub use standing::Standing;

use crate::base::fact::Fact;
use crate::base::{self, AgentId, CallId, LegId, Mint, Mono, Now, ShardId, SiteId};
use crate::call::ahead::Ahead;
use crate::call::desk::Key;
use crate::call::event::{CallView, Command as FromCalls, Event as ToCalls, Settings as CallSettings, Silent, Towards};
use crate::call::log_in::Claim;
use crate::call::supervise::NotDone;
use crate::call::transfer::NotTransferred;
use crate::call::{self, Calls};
use crate::sip::event::{
    Action, Ask, Bindings, Command as FromUa, Ending, Event as ToUa, Flow, Notice, Settings as SipSettings, Suspicion,
};
use crate::sip::{self, Ua};
use crate::{acd, callback, media, trunk};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Q.850: temporary failure.
const TEMPORARY_FAILURE: u8 = 41;

/// Into the shard.
#[derive(Clone, Debug)]
pub enum Event {
    /// A whole SIP message.
    Received {
        /// Where from.
        flow: Flow,
        /// As it came.
        bytes: Bytes,
    },
    /// A whole SIP message from nobody we know.
    Stranger {
        /// Where from.
        flow: Flow,
        /// As it came.
        bytes: Bytes,
    },
    /// A connection is gone, or could not be opened.
    Closed {
        /// Which.
        flow: Flow,
    },
    /// For a call: from media, the ACD, the ports or the API.
    Call(ToCalls),
    /// Another shard's registrar learned or lost bindings.
    Bindings(Bindings),
    /// Bindings from before a restart.
    Restored(Bindings),
    /// A question of the table of trunks.
    Ask(Box<Ask>),
    /// New settings.
    Configure {
        /// For the user agent.
        sip: Arc<SipSettings>,
        /// For the calls.
        calls: Arc<CallSettings>,
    },
}

/// What the world must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a SIP message.
    Send {
        /// Where to.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Bind a media port and answer at once with `PortOpened` or `PortRefused`.
    OpenPort {
        /// For which leg.
        leg: LegId,
        /// On the media thread of this leg.
        beside: Option<LegId>,
        /// Who is at the other end.
        towards: Towards,
    },
    /// To the table of trunks; what it says to this shard's legs is told at once.
    Trunk(trunk::event::Event),
    /// Bind the same port again that a dead process held; tell `Closed` of the leg's media when that fails.
    ReopenPort {
        /// For which leg.
        leg: LegId,
        /// On the media thread of this leg.
        beside: Option<LegId>,
        /// The port.
        local: SocketAddr,
    },
    /// To the media thread of its leg.
    Media(media::event::Action),
    /// To the ACD of a site.
    Acd {
        /// Whose.
        site: SiteId,
        /// What.
        event: acd::event::Event,
    },
    /// To the call-backs.
    Callback(Box<callback::event::Event>),
    /// To the journal.
    Fact {
        /// Whose.
        site: SiteId,
        /// What.
        fact: Fact,
    },
    /// To whoever asked for a transfer.
    TransferAnswered {
        /// Of the event.
        ticket: u64,
        /// What became of it.
        answer: Result<(), NotTransferred>,
    },
    /// To whoever stepped into a call beside the queues.
    Intervened {
        /// Of the event.
        ticket: u64,
        /// What became of it.
        answer: Result<(), NotDone>,
    },
    /// To whoever judges what agents ask for by phone keys: answered at once by `DeskJudged`.
    Desk {
        /// By which call.
        call: CallId,
        /// Whose agent.
        site: SiteId,
        /// Who.
        agent: AgentId,
        /// What.
        key: Key,
    },
    /// To whoever knows PINs: answered later by `DeskJudged`.
    LogIn {
        /// By which call.
        call: CallId,
        /// Whose seat.
        site: SiteId,
        /// Who, where, and what proves it.
        claim: Claim,
    },
    /// To the system of a target.
    Ahead(Box<Ahead>),
    /// To whoever watches.
    Show(CallView),
    /// To the log.
    Silent(Silent),
    /// To whoever remembers a caller: answered by `Recalled`, or not at all.
    Recall {
        /// Which call asks.
        call: CallId,
        /// Whose records.
        site: SiteId,
        /// Canonical caller number.
        caller: Box<str>,
    },
    /// To all other shards and whoever watches phones.
    Bindings(Bindings),
    /// To whoever watches the edge.
    Suspect(Suspicion),
}

/// A user agent and its calls.
#[derive(Debug)]
pub struct Shard {
    birth: Birth,
    sip: Arc<SipSettings>,
    ua: Ua,
    calls: Calls,
    /// Whose step is being taken.
    in_hand: Option<Machine>,
    /// What that step has said so far.
    from_ua: Vec<FromUa>,
    from_calls: Vec<FromCalls>,
    /// What was said and is still to be passed on.
    to_calls: VecDeque<FromUa>,
    to_ua: VecDeque<FromCalls>,
    rebuilt: u64,
    /// Timers of the user agent that rang were lost.
    overdue: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    Ua,
    UaTimers,
    Calls,
}

/// A shard as it outlives its process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    sip: sip::snapshot::Snapshot,
    calls: base::snapshot::Snapshot<call::snapshot::Saved>,
    /// What is known of the media planes, when they died with the shard.
    lost: Option<media::event::Marks>,
}

/// Which shard, and the secrets it is made with.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// Of which node.
    pub node: u16,
    /// Which.
    pub shard: ShardId,
    /// Never used before by this shard: what it mints must be unlike all that it minted before a crash.
    pub seed: [u64; 2],
}

/// What stands in a shard and what happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Of its user agent.
    pub sip: sip::ua::Counts,
    /// Of its calls.
    pub calls: call::Counts,
}

impl Birth {
    /// Those of the user agent and of the calls.
    fn mints(self) -> [Mint; 2] {
        let stream = self.node.wrapping_mul(512) + u16::from(self.shard.0) * 2;
        [Mint::new(stream, self.seed), Mint::new(stream + 1, self.seed)]
    }
}

impl Shard {
    /// An empty shard. `seed` is the node's secret; two mints must never share a stream.
    pub fn new(shard: ShardId, node: u16, seed: [u64; 2], sip: Arc<SipSettings>, calls: Arc<CallSettings>) -> Shard {
        let birth = Birth { node, shard, seed };
        let [to_ua, to_calls] = birth.mints();
        let ua = Ua::new(node, shard, to_ua, seed, sip.clone());
        Shard::of(birth, sip, ua, Calls::new(shard, to_calls, calls))
    }

    fn of(birth: Birth, sip: Arc<SipSettings>, ua: Ua, calls: Calls) -> Shard {
        Shard {
            birth,
            sip,
            ua,
            calls,
            in_hand: None,
            from_ua: Vec::new(),
            from_calls: Vec::new(),
            to_calls: VecDeque::new(),
            to_ua: VecDeque::new(),
            rebuilt: 0,
            overdue: false,
        }
    }

    /// What must survive a crash. Complete between two events.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { sip: self.ua.snapshot(), calls: self.calls.snapshot(), lost: None }
    }

    /// A shard that goes on where the snapshot was taken. Dialogs without a call are ended; the shell closes media legs of
    /// this shard that [`Shard::legs`] does not name.
    ///
    /// # Errors
    /// [`sip::snapshot::Unreadable`] when the snapshot is newer than this program.
    pub fn restore(
        snapshot: Snapshot,
        birth: Birth,
        (sip, calls): (Arc<SipSettings>, Arc<CallSettings>),
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<Shard, sip::snapshot::Unreadable> {
        let (Birth { node, shard, seed }, [to_ua, to_calls]) = (birth, birth.mints());
        let (mut from_ua, mut from_calls) = (Vec::new(), Vec::new());
        let mut ua = Ua::restore(snapshot.sip, (node, shard), to_ua, seed, sip.clone(), now, &mut from_ua)?;
        let known = |leg| ua.knows(leg);
        let known = (known, snapshot.lost.as_ref());
        let calls = Calls::restore(snapshot.calls, (shard, to_calls), calls, now, known, &mut from_calls);
        let of_calls: BTreeSet<LegId> = calls.legs().collect();
        let orphans: BTreeSet<LegId> = ua.legs().filter(|leg| !of_calls.contains(leg)).collect();
        for leg in orphans {
            ua.handle(now, ToUa::Do(Action::HangUp { leg, q850: TEMPORARY_FAILURE }), &mut from_ua);
        }
        let mut restored = Shard::of(birth, sip, ua, calls);
        restored.to_calls.extend(from_ua);
        restored.to_ua.extend(from_calls);
        restored.pass(now, out);
        Ok(restored)
    }

    /// All legs that calls of this shard may still speak of.
    pub fn legs(&self) -> impl Iterator<Item = LegId> + '_ {
        self.calls.legs()
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Received { flow, bytes } => self.ua(|ua, out| ua.handle(now, ToUa::Received { flow, bytes }, out)),
            Event::Stranger { flow, bytes } => self.ua(|ua, out| ua.handle(now, ToUa::Stranger { flow, bytes }, out)),
            Event::Closed { flow } => self.ua(|ua, out| ua.handle(now, ToUa::Closed { flow }, out)),
            Event::Call(event) => self.calls(|calls, out| calls.handle(now, event, out)),
            Event::Bindings(bindings) => self.ua(|ua, out| ua.handle(now, ToUa::Bindings(bindings), out)),
            Event::Restored(bindings) => self.ua(|ua, out| ua.handle(now, ToUa::Restored(bindings), out)),
            Event::Ask(ask) => self.ua(|ua, out| ua.handle(now, ToUa::Do(Action::Ask(ask)), out)),
            Event::Configure { sip, calls: settings } => {
                self.sip = sip.clone();
                self.ua(|ua, out| ua.handle(now, ToUa::Configure(sip), out));
                self.calls(|calls, out| calls.handle(now, ToCalls::Configure(settings), out));
            }
        }
        self.pass(now, out);
    }

    /// When [`Shard::expire`] wants to be called.
    pub fn next_deadline(&self) -> Option<Mono> {
        [self.ua.next_deadline(), self.calls.next_deadline()].into_iter().flatten().min()
    }

    /// Lets time pass up to `now`.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.ua_step(Machine::UaTimers, |ua, out| ua.expire(now, out));
        self.calls(|calls, out| calls.expire(now, out));
        self.pass(now, out);
    }

    /// After a panic of any of this shard's own steps, caught by the shell: what the cut step had said is thrown away, a
    /// call in hand ends, and the rest of the pass goes on.
    pub fn resume(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.from_ua.clear();
        self.from_calls.clear();
        match self.in_hand.take() {
            Some(Machine::Calls) => self.calls(|calls, out| calls.give_up(now, out)),
            Some(Machine::UaTimers) => self.overdue = true,
            Some(Machine::Ua) | None => {}
        }
        self.pass(now, out);
    }

    /// Makes the user agent anew from what survives a crash, when a cut step may have left it in disorder: dialogs and
    /// registrations stay, transactions are forgotten and repeated by the other side. Legs without a dialog yet are lost,
    /// and their calls told so.
    pub fn rebuild_ua(&mut self, now: Now, out: &mut Vec<Effect>) {
        let snapshot = self.ua.snapshot();
        let kept: BTreeSet<LegId> = snapshot.legs().collect();
        self.rebuilt += 1;
        // A mint must never be used twice.
        let Birth { node, shard, seed } = self.birth;
        let [mint, _] = Birth { seed: [seed[0] ^ self.rebuilt, seed[1]], ..self.birth }.mints();
        self.ua = Ua::restore(snapshot, (node, shard), mint, seed, self.sip.clone(), now, &mut self.from_ua)
            .expect("our own snapshot is not newer than we are");
        self.overdue = false;
        self.to_calls.extend(self.from_ua.drain(..));
        let lost = self.calls.legs().filter(|leg| !kept.contains(leg));
        self.to_calls.extend(lost.map(|leg| FromUa::Tell(Notice::Ended { leg, why: Ending::Ours })));
        self.pass(now, out);
    }

    /// What stands and what happened.
    pub fn counts(&self) -> Counts {
        Counts { sip: self.ua.counts(), calls: self.calls.counts() }
    }

    /// What must hold of the user agent after every event.
    pub fn check_ua(&self) {
        assert!(!self.overdue, "every timer that rang was heard");
        self.ua.check();
    }

    /// What must hold after every event.
    pub fn check(&self) {
        self.check_ua();
        self.calls.check();
    }

    fn ua(&mut self, step: impl FnOnce(&mut Ua, &mut Vec<FromUa>)) {
        self.ua_step(Machine::Ua, step);
    }

    fn ua_step(&mut self, machine: Machine, step: impl FnOnce(&mut Ua, &mut Vec<FromUa>)) {
        self.in_hand = Some(machine);
        step(&mut self.ua, &mut self.from_ua);
        self.in_hand = None;
        self.to_calls.extend(self.from_ua.drain(..));
    }

    fn calls(&mut self, step: impl FnOnce(&mut Calls, &mut Vec<FromCalls>)) {
        self.in_hand = Some(Machine::Calls);
        step(&mut self.calls, &mut self.from_calls);
        self.in_hand = None;
        self.to_ua.extend(self.from_calls.drain(..));
    }

    /// Hands each machine's output to the other until both are silent.
    fn pass(&mut self, now: Now, out: &mut Vec<Effect>) {
        while !(self.to_calls.is_empty() && self.to_ua.is_empty()) {
            for _ in 0..self.to_calls.len() {
                let Some(command) = self.to_calls.pop_front() else { break };
                match command {
                    FromUa::Send { flow, bytes } => out.push(Effect::Send { flow, bytes }),
                    FromUa::Tell(notice) => self.calls(|calls, out| calls.handle(now, ToCalls::Sip(notice), out)),
                    FromUa::Bindings(bindings) => out.push(Effect::Bindings(bindings)),
                    FromUa::Suspect(suspicion) => out.push(Effect::Suspect(suspicion)),
                    FromUa::Answered(answer) => out.push(Effect::Trunk(trunk::event::Event::Answered(answer))),
                }
            }
            for _ in 0..self.to_ua.len() {
                let Some(command) = self.to_ua.pop_front() else { break };
                match command {
                    FromCalls::Sip(action) => self.ua(|ua, out| ua.handle(now, ToUa::Do(action), out)),
                    FromCalls::OpenPort { leg, beside, towards } => out.push(Effect::OpenPort { leg, beside, towards }),
                    FromCalls::Trunk(event) => out.push(Effect::Trunk(event)),
                    FromCalls::ReopenPort { leg, beside, local } => {
                        out.push(Effect::ReopenPort { leg, beside, local });
                    }
                    FromCalls::Media(action) => out.push(Effect::Media(action)),
                    FromCalls::Acd { site, event } => out.push(Effect::Acd { site, event }),
                    FromCalls::Fact { site, fact } => out.push(Effect::Fact { site, fact }),
                    FromCalls::TransferAnswered { ticket, answer } => {
                        out.push(Effect::TransferAnswered { ticket, answer });
                    }
                    FromCalls::Intervened { ticket, answer } => out.push(Effect::Intervened { ticket, answer }),
                    FromCalls::Desk { call, site, agent, key } => out.push(Effect::Desk { call, site, agent, key }),
                    FromCalls::LogIn { call, site, claim } => out.push(Effect::LogIn { call, site, claim }),
                    FromCalls::Ahead(ahead) => out.push(Effect::Ahead(ahead)),
                    FromCalls::Show(view) => out.push(Effect::Show(view)),
                    FromCalls::Callback(event) => out.push(Effect::Callback(event)),
                    FromCalls::Silent(silent) => out.push(Effect::Silent(silent)),
                    FromCalls::Recall { call, site, caller } => out.push(Effect::Recall { call, site, caller }),
                }
            }
        }
    }
}
