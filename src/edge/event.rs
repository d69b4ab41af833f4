//! What the gate is asked and told, and what it says.

pub use super::source::Source;
use crate::base::Wall;
use crate::sip::event::Flow;

/// One packet, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it came from.
    pub flow: Flow,
    /// Whether that is in a trunk's networks.
    pub trunk: bool,
    /// Whether its listener answers strangers.
    pub welcome: bool,
    /// What it is.
    pub kind: Kind,
}

/// What a packet is, by what routing reads of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A REGISTER for a domain of ours; the keyed hash of the user it is for.
    Register {
        /// That hash.
        user: u64,
    },
    /// It carries a mark of ours: it may belong to a dialog or a request of ours, wherever it comes from.
    Marked,
    /// Anything else.
    Other,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the shard.
    Serve,
    /// To the shard as a stranger's: answered only if it registers, or if a dialog or a request of ours knows it.
    Prove,
    /// Dropped without a word.
    Drop(Why),
}

/// What becomes of a connection that somebody opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knock {
    /// It is closed without a word.
    Refused,
    /// It has its place among those of strangers.
    Stranger,
    /// It has its place before strangers: phones are registered from there or were lately, or it is a trunk's.
    Known,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A stranger's, and nothing that strangers may send.
    Uninvited,
    /// More than its source may send, or than all strangers together may.
    TooMany,
    /// Its source is banned.
    Banned,
    /// This source failed too often for this user.
    Locked,
}

/// What a source did wrong, found out behind the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Wrong password or unknown user: nobody tells which. The keyed hash of the user it was for.
    WrongPassword {
        /// That hash.
        user: u64,
    },
    /// No SIP message, though it looked like one.
    Malformed,
    /// It named a dialog or a request of ours that does not exist.
    Forged,
}

/// A source that is not heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Which.
    pub source: Source,
    /// Since when.
    pub since: Wall,
    /// Until when.
    pub until: Wall,
    /// The how manieth.
    pub times: u32,
}

/// What the gate has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = GateCounts)]
pub struct Counts {
    /// Packets of strangers that passed: registrations, and what carries a mark of ours.
    pub strangers_passed: u64,
    /// Packets of strangers that nobody invited.
    pub uninvited: u64,
    /// Packets beyond a rate.
    pub too_many: u64,
    /// Packets of banned sources.
    pub banned: u64,
    /// Packets for a user for whom their source failed too often.
    pub locked: u64,
    /// Failed proofs of strangers and phones.
    pub wrong_passwords: u64,
    /// Bans so far.
    pub bans: u64,
    /// Flows of registered phones.
    pub flows_known: usize,
    /// Bans that hold.
    pub bans_standing: usize,
}
