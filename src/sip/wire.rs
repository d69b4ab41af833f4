//! A test bench: user agents on one virtual wire that can lose any datagram, on virtual time.
//!
//! Each user agent knows the others as trunks by address; a plan says what their calls ask for after each notice.

use super::event::{
    Action, Binding, Bindings, Command, Destination, Event, Flow, Invite, ListenerSettings, Notice, Settings,
    TrunkSettings,
};
use super::ua::{Counts, Ua};
use crate::base::{LegId, Mint, Mono, Now, ShardId, Wall};
use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

/// What calls ask for after a notice: after so many milliseconds, whose call, what.
pub(super) type Plan = fn(who: usize, notice: &Notice) -> Vec<(u64, usize, Action)>;

pub(super) struct Wire {
    pub(super) uas: Vec<Ua>,
    pub(super) now: Now,
    pub(super) notices: Vec<Vec<Notice>>,
    /// All datagrams that were sent: from, to, bytes.
    pub(super) sent: Vec<(usize, usize, Bytes)>,
    /// Positions in `sent` that are lost.
    pub(super) lost: Vec<usize>,
    pub(super) bindings: Vec<Bindings>,
    plan: Plan,
    flying: VecDeque<(usize, usize, Bytes)>,
    asked: Vec<(Mono, usize, Action)>,
}

pub(super) fn address(who: usize) -> std::net::SocketAddr {
    format!("10.0.0.{}:5060", who + 1).parse().unwrap()
}

pub(super) fn flow(to: usize) -> Flow {
    Flow { listener: 0, connection: 0, peer: address(to) }
}

pub(super) fn settings(who: usize) -> Settings {
    Settings {
        listeners: vec![ListenerSettings::udp(address(who))],
        trunks: vec![TrunkSettings {
            name: "peer".into(),
            sources: vec![("10.0.0.0".parse().unwrap(), 24)],
            trusts_identity: true,
            ..TrunkSettings::default()
        }],
        expires_s: (60, 3_600),
        nonce_life: Duration::from_secs(60),
        ..Settings::default()
    }
}

impl Wire {
    pub(super) fn new(count: usize, plan: Plan) -> Wire {
        Wire::under(settings, count, plan)
    }

    /// As [`Wire::new`], with settings of its own.
    pub(super) fn under(settings: fn(usize) -> Settings, count: usize, plan: Plan) -> Wire {
        let ua = |who: usize| {
            let seed = [who as u64, 7];
            Ua::new(1, ShardId(who as u8), Mint::new(1, seed), seed, Arc::new(settings(who)))
        };
        Wire {
            uas: (0..count).map(ua).collect(),
            now: Now { mono: Mono::from_ms(1_000), wall: Wall(1_000_000) },
            notices: vec![Vec::new(); count],
            sent: Vec::new(),
            lost: Vec::new(),
            bindings: Vec::new(),
            plan,
            flying: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    /// `who` dials user `1001`, whom it believes at `at`.
    pub(super) fn dial(&mut self, who: usize, at: &[usize]) -> LegId {
        let expires = self.now.wall + Duration::from_secs(1_000);
        let contact = |&at: &usize| Binding {
            uri: format!("sip:1001@{}", address(at)).into(),
            flow: flow(at),
            expires,
            path: Vec::new(),
        };
        let bindings =
            Bindings { user: "1001".into(), domain: "a.cn".into(), contacts: at.iter().map(contact).collect() };
        self.event(who, Event::Bindings(bindings));
        let leg = LegId::outgoing(ShardId(who as u8), self.sent.len() as u64);
        self.event(
            who,
            Event::Do(Action::Invite(Box::new(Invite {
                leg,
                to: Destination::User { user: "1001".into(), domain: "a.cn".into() },
                caller: "059112345678".into(),
                caller_name: "市民".into(),
                sdp: Bytes::from_static(b"v=0 offer"),
                headers: vec![("X-Jiesu-Contact".into(), "01".into())],
                ring_max: Duration::from_secs(20),
            }))),
        );
        leg
    }

    pub(super) fn ask(&mut self, who: usize, action: Action) {
        self.event(who, Event::Do(action));
    }

    pub(super) fn event(&mut self, who: usize, event: Event) {
        let mut out = Vec::new();
        self.uas[who].handle(self.now, event, &mut out);
        self.take(who, out);
    }

    pub(super) fn take(&mut self, who: usize, out: Vec<Command>) {
        self.uas[who].check();
        for command in out {
            match command {
                Command::Send { flow, bytes } => {
                    let to = (0..self.uas.len()).find(|&to| address(to) == flow.peer).unwrap_or(usize::MAX);
                    if to != usize::MAX && !self.lost.contains(&self.sent.len()) {
                        self.flying.push_back((who, to, bytes.clone()));
                    }
                    self.sent.push((who, to, bytes));
                }
                Command::Answered(answer) => panic!("nothing was asked: {answer:?}"),
                Command::Tell(notice) => {
                    for (after_ms, who, action) in (self.plan)(who, &notice) {
                        self.asked.push((self.now.mono + Duration::from_millis(after_ms), who, action));
                    }
                    self.notices[who].push(notice);
                }
                Command::Bindings(bindings) => self.bindings.push(bindings),
                Command::Suspect(_) => {}
            }
        }
    }

    /// Lets `ms` milliseconds pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now.mono + Duration::from_millis(ms);
        loop {
            while let Some((from, to, bytes)) = self.flying.pop_front() {
                self.event(to, Event::Received { flow: flow(from), bytes });
            }
            let timers = self.uas.iter().filter_map(Ua::next_deadline).min();
            let asked = self.asked.iter().map(|(at, ..)| *at).min();
            let next = timers.into_iter().chain(asked).min().unwrap_or(end).max(self.now.mono);
            if next > end {
                break;
            }
            self.now = self.now.after(next.since(self.now.mono));
            if let Some(position) = self.asked.iter().position(|(at, ..)| *at <= next) {
                let (_, who, action) = self.asked.remove(position);
                self.ask(who, action);
            }
            self.expire();
            if self.flying.is_empty() && self.asked.is_empty() && timers.is_none() {
                break;
            }
        }
        self.now = self.now.after(end.since(self.now.mono));
    }

    pub(super) fn expire(&mut self) {
        for who in 0..self.uas.len() {
            let mut out = Vec::new();
            self.uas[who].expire(self.now, &mut out);
            self.take(who, out);
        }
    }

    /// Lets everything run out: nothing may be left anywhere.
    pub(super) fn settle(&mut self) {
        self.pass(1_200_000);
        for ua in &self.uas {
            assert_eq!(ua.counts(), Counts::default());
        }
    }

    /// The start lines on the wire from one to another.
    pub(super) fn starts(&self, from: usize) -> Vec<String> {
        let lines = self.sent.iter().filter(|(sender, ..)| *sender == from);
        let first =
            |bytes: &Bytes| String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap()).into_owned();
        lines.map(|(.., bytes)| first(bytes)).collect()
    }

    /// The leg of the first notice.
    pub(super) fn leg_of(&self, who: usize) -> LegId {
        let legs = self.notices[who].iter().filter_map(|notice| match notice {
            Notice::Answered { leg, .. } | Notice::Ringing { leg, .. } | Notice::Failed { leg, .. } => Some(*leg),
            _ => None,
        });
        legs.last().expect("a leg of ours")
    }

    /// How each leg ended, in order: exactly once.
    pub(super) fn ends(&self, who: usize) -> Vec<String> {
        let end = |notice: &Notice| match notice {
            Notice::Failed { status, .. } => Some(format!("failed {status}")),
            Notice::Ended { why, .. } => Some(format!("{why:?}")),
            Notice::Incoming(_)
            | Notice::Cancelled { .. }
            | Notice::Acknowledged { .. }
            | Notice::Trying { .. }
            | Notice::Connecting { .. }
            | Notice::Resent { .. }
            | Notice::Ringing { .. }
            | Notice::Answered { .. }
            | Notice::Reoffered { .. }
            | Notice::EarlyAnswer { .. }
            | Notice::Refresh { .. }
            | Notice::Digit { .. }
            | Notice::Referred(_)
            | Notice::ReofferAnswered { .. } => None,
        };
        self.notices[who].iter().filter_map(end).collect()
    }
}
