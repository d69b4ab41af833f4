//! One signal shard as a pure machine: a user agent and its calls, each message handled to its end in one pass.
//!
//! Owns nothing of its own but the order of the pass. Everything that touches the world comes out as an [`Effect`];
//! the shell carries effects out in order, and so does the simulation.

use crate::base::fact::Fact;
use crate::base::{LegId, Mint, Mono, Now, ShardId, SiteId};
use crate::call::event::{CallView, Command as FromCalls, Event as ToCalls, Settings as CallSettings, Towards};
use crate::call::{self, Calls};
use crate::sip::event::{Bindings, Command as FromUa, Event as ToUa, Flow, Settings as SipSettings};
use crate::sip::{self, Ua};
use crate::{acd, media};
use bytes::Bytes;
use std::sync::Arc;

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
    /// For a call: from media, the ACD, the ports or the API.
    Call(ToCalls),
    /// Another shard's registrar learned or lost bindings.
    Bindings(Bindings),
    /// Bindings from before a restart.
    Restored(Bindings),
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
    /// To the media thread of its leg.
    Media(media::event::Action),
    /// To the ACD of a site.
    Acd {
        /// Whose.
        site: SiteId,
        /// What.
        event: acd::event::Event,
    },
    /// To the journal.
    Fact {
        /// Whose.
        site: SiteId,
        /// What.
        fact: Fact,
    },
    /// To whoever watches.
    Show(CallView),
    /// To all other shards and whoever watches phones.
    Bindings(Bindings),
}

/// A user agent and its calls.
#[derive(Debug)]
pub struct Shard {
    ua: Ua,
    calls: Calls,
    from_ua: Vec<FromUa>,
    from_calls: Vec<FromCalls>,
}

/// What stands in a shard and what happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Of its user agent.
    pub sip: sip::ua::Counts,
    /// Of its calls.
    pub calls: call::Counts,
}

impl Shard {
    /// An empty shard. `seed` is the node's secret; two mints must never share a stream.
    pub fn new(shard: ShardId, node: u16, seed: [u64; 2], sip: Arc<SipSettings>, calls: Arc<CallSettings>) -> Shard {
        let stream = node.wrapping_mul(512) + u16::from(shard.0) * 2;
        Shard {
            ua: Ua::new(node, shard, Mint::new(stream, seed), seed, sip),
            calls: Calls::new(shard, Mint::new(stream + 1, seed), calls),
            from_ua: Vec::new(),
            from_calls: Vec::new(),
        }
    }

    /// Takes one event to its end.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Received { flow, bytes } => self.ua.handle(now, ToUa::Received { flow, bytes }, &mut self.from_ua),
            Event::Call(event) => self.calls.handle(now, event, &mut self.from_calls),
            Event::Bindings(bindings) => self.ua.handle(now, ToUa::Bindings(bindings), &mut self.from_ua),
            Event::Restored(bindings) => self.ua.handle(now, ToUa::Restored(bindings), &mut self.from_ua),
            Event::Configure { sip, calls } => {
                self.ua.handle(now, ToUa::Configure(sip), &mut self.from_ua);
                self.calls.handle(now, ToCalls::Configure(calls), &mut self.from_calls);
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
        self.ua.expire(now, &mut self.from_ua);
        self.calls.expire(now, &mut self.from_calls);
        self.pass(now, out);
    }

    /// What stands and what happened.
    pub fn counts(&self) -> Counts {
        Counts { sip: self.ua.counts(), calls: self.calls.counts() }
    }

    /// What must hold after every event.
    pub fn check(&self) {
        self.ua.check();
        self.calls.check();
    }

    /// Hands each machine's output to the other until both are silent.
    fn pass(&mut self, now: Now, out: &mut Vec<Effect>) {
        while !(self.from_ua.is_empty() && self.from_calls.is_empty()) {
            for command in std::mem::take(&mut self.from_ua) {
                match command {
                    FromUa::Send { flow, bytes } => out.push(Effect::Send { flow, bytes }),
                    FromUa::Tell(notice) => self.calls.handle(now, ToCalls::Sip(notice), &mut self.from_calls),
                    FromUa::Bindings(bindings) => out.push(Effect::Bindings(bindings)),
                }
            }
            for command in std::mem::take(&mut self.from_calls) {
                match command {
                    FromCalls::Sip(action) => self.ua.handle(now, ToUa::Do(action), &mut self.from_ua),
                    FromCalls::OpenPort { leg, beside, towards } => out.push(Effect::OpenPort { leg, beside, towards }),
                    FromCalls::Media(action) => out.push(Effect::Media(action)),
                    FromCalls::Acd { site, event } => out.push(Effect::Acd { site, event }),
                    FromCalls::Fact { site, fact } => out.push(Effect::Fact { site, fact }),
                    FromCalls::Show(view) => out.push(Effect::Show(view)),
                }
            }
        }
        debug_assert!({
            self.check();
            true
        });
    }
}
