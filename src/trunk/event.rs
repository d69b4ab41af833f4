//! What goes into the table of trunks and what comes out.

use super::rules::NumberRules;
use crate::base::fact::Direction;
use crate::base::{LegId, Mono, ShardId, TrunkId};
use crate::sdp::Codec;
use crate::sip::event::{Answer, Ask, Flow, Login};
use crate::sip::via::Transport;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Into [`Trunks`](super::Trunks): one table for all shards of a node.
#[derive(Clone, Debug)]
pub enum Event {
    /// A leg wants a channel; answered at once by [`Command::Granted`] or [`Command::Refused`].
    Seize(Seize),
    /// The leg's channel is free again; a leg that holds none is ignored.
    Release {
        /// Which.
        leg: LegId,
    },
    /// A shard was restored: these are all channels its calls hold. What it held beyond them is free.
    Hold {
        /// Which shard.
        shard: ShardId,
        /// Its legs, and the trunks they came in or went out by.
        legs: Vec<(LegId, TrunkId, Direction)>,
    },
    /// A call found the trunk silent or out of order: it counts like a failed OPTIONS.
    Failed {
        /// Which.
        trunk: TrunkId,
    },
    /// What came of an [`Command::Ask`].
    Answered(Answer),
    /// What came of a [`Command::Resolve`].
    Resolved {
        /// For which trunk.
        trunk: TrunkId,
        /// Addresses in the order of preference (RFC 3263 §4); empty when the look-up failed: the old ones stay.
        targets: Vec<SocketAddr>,
        /// How long they may be kept.
        life: Duration,
    },
    /// New settings. Trunks keep their places, new ones come behind; one that changed is found out anew, and channels in
    /// use stay, beyond new limits too.
    Configure(Arc<Settings>),
}

/// A wish for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seize {
    /// For which leg. One leg holds one channel at most: a second wish frees the first.
    pub leg: LegId,
    /// Which way.
    pub way: Way,
    /// May use the reserve, is not slowed down, and takes a sick trunk when no healthy one is left.
    pub emergency: bool,
}

/// Which way a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It came in by this trunk.
    In(TrunkId),
    /// It goes out by one of `routes` that is not among `tried`.
    Out {
        /// Those allowed.
        routes: Vec<TrunkId>,
        /// Those that failed this call already.
        tried: Vec<TrunkId>,
    },
}

/// Out of [`Trunks`](super::Trunks).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The leg has its channel.
    Granted {
        /// Which leg.
        leg: LegId,
        /// Of this trunk.
        trunk: TrunkId,
        /// Where requests to the trunk go; `None` for a channel of a call that came in.
        flow: Option<Flow>,
    },
    /// The leg has no channel.
    Refused {
        /// Which leg.
        leg: LegId,
        /// Why.
        why: Refused,
    },
    /// Send this request and tell the answer by [`Event::Answered`].
    Ask {
        /// For which trunk: asks of one trunk go by one shard.
        trunk: TrunkId,
        /// What.
        ask: Box<Ask>,
    },
    /// Look up the addresses of a trunk and tell them by [`Event::Resolved`].
    Resolve {
        /// For which trunk.
        trunk: TrunkId,
    },
    /// People must know.
    Alarm {
        /// Which trunk.
        trunk: TrunkId,
        /// What happened.
        what: Alarm,
    },
}

/// Why there is no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All channels that this call may use are taken.
    Full,
    /// More calls in a second than agreed.
    TooFast,
    /// No trunk that may be used is in order, or all were tried.
    NoRoute,
}

/// What people must know of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// It answers again.
    Up,
    /// It no longer answers, or answers that it is out of order.
    Down,
    /// The registrar took our registration.
    Registered,
    /// We are not registered: the status that refused us; 408 when nothing came.
    Unregistered(u16),
    /// Its name has no address.
    Unresolved,
}

/// All that is known of the trunks, once.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// By [`TrunkId`].
    pub trunks: Vec<Profile>,
    /// Spreads back-offs: two nodes must not knock in step.
    pub seed: [u64; 2],
}

/// One trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name of its file.
    pub name: Box<str>,
    /// Where calls go; `None` for one that only brings calls in.
    pub remote: Option<Remote>,
    /// Under which account, when it asks for one.
    pub login: Option<Arc<Login>>,
    /// How long a registration shall last; `None`: no registration.
    pub register: Option<Duration>,
    /// The lower is tried first.
    pub priority: u16,
    /// Its share among healthy trunks of one priority (1–100).
    pub weight: u16,
    /// Limits of calls that come in.
    pub inbound: Limits,
    /// Limits of calls that go out.
    pub outbound: Limits,
    /// How called numbers that come in are rewritten.
    pub inbound_rules: NumberRules,
    /// How called numbers that go out are rewritten.
    pub outbound_rules: NumberRules,
    /// How its health is watched; `None`: it is taken to be healthy.
    pub watch: Option<Watch>,
    /// Without any provisional response in this time the next route is tried.
    pub provisional_max: Duration,
    /// The same for emergencies.
    pub provisional_max_emergency: Duration,
    /// So long it may ring.
    pub ring_max: Duration,
    /// So long a leg of a call over it may be there and send nothing, the agent's too; then it is ended.
    pub one_way_max: Duration,
    /// Codecs offered to it, the preferred one first; never empty.
    pub codecs: Vec<Codec>,
    /// Refusals beyond 408 and 5xx that are the route's fault, not the called party's.
    pub next_on: Vec<u16>,
    /// Every call that comes in by it is an emergency (110, 119, 120, 122).
    pub emergency: bool,
    /// It leads to a simulated line: what is dialled over it is an exercise (演练).
    pub drill: bool,
    /// Status for calls that come in beyond the limits.
    pub full_status: u16,
    /// How we write to it.
    pub wording: Wording,
}

impl Profile {
    /// Of a trunk that was taken out of the files: its calls go on, and it carries no new ones.
    pub fn retired(&self) -> Profile {
        let none = |limits: Limits| Limits { channels: 0, reserve: 0, ..limits };
        let (inbound, outbound) = (none(self.inbound), none(self.outbound));
        Profile { remote: None, register: None, watch: None, inbound, outbound, ..self.clone() }
    }
}

/// How a trunk wants requests to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// `;user=phone` behind numbers (RFC 3261 §19.1.1).
    pub user_phone: bool,
    /// Whether P-Asserted-Identity is written (RFC 3325).
    pub asserts_identity: bool,
    /// Whether `Privacy: id` is written: the called party shall not see our number.
    pub privacy: bool,
    /// Numbers as E.164 with `+` instead of as dialled inside China.
    pub e164: bool,
    /// How it is told where an emergency call is from.
    pub geolocation: Geolocation,
    /// Whether User-to-User (RFC 7433) names our contact.
    pub user_to_user: bool,
    /// Host of From; that of the remote when empty.
    pub from_domain: Box<str>,
}

/// How a trunk is told where an emergency call is from (RFC 6442).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Geolocation {
    /// Not at all.
    #[default]
    None,
    /// By a URI in Geolocation.
    Header,
    /// By a PIDF-LO in the body.
    Body,
}

/// Where a trunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Host as written into URIs: an address or a domain.
    pub host: Box<str>,
    /// Port as written into URIs.
    pub port: Option<u16>,
    /// Host and port requests are sent to, when it is not the remote itself (outbound proxy).
    pub proxy: Option<(Box<str>, Option<u16>)>,
    /// Which listener of ours sends to it, …
    pub listener: u16,
    /// … and how that speaks: UDP, TCP or TLS.
    pub transport: Transport,
    /// The address requests are sent to, when it is configured as one.
    pub address: Option<SocketAddr>,
}

/// Limits of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once.
    pub channels: u32,
    /// Of them only for emergencies.
    pub reserve: u32,
    /// New calls in a second; a second's worth may come at once. Emergencies are counted but never refused.
    pub calls_per_s: u32,
}

/// How the health of a trunk is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// OPTIONS is sent this often.
    pub every: Duration,
    /// So many failures in a row mean down.
    pub down_after: u8,
    /// So many successes in a row mean up.
    pub up_after: u8,
}

/// A trunk as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name.
    pub name: Box<str>,
    /// Whether it may be used now.
    pub fit: bool,
    /// By OPTIONS and by calls that failed; `None` when nobody watches.
    pub up: Option<bool>,
    /// Since when it is up or down.
    pub since: Mono,
    /// Until when we are registered; `None` when we are not, or need not be.
    pub registered_until: Option<Mono>,
    /// Whether it wants a registration.
    pub registers: bool,
    /// Where requests go now.
    pub target: Option<SocketAddr>,
    /// Calls that came in.
    pub inbound: Usage,
    /// Calls that went out.
    pub outbound: Usage,
}

/// One direction as people see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Limit.
    pub channels: u32,
    /// In use.
    pub used: u32,
    /// Taken since the start.
    pub taken: u64,
    /// Refused since the start for want of a channel.
    pub full: u64,
    /// Refused since the start for coming too fast.
    pub too_fast: u64,
}
