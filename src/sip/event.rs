//! What goes into the user agent and what comes out: the whole surface between SIP and the rest of the house.

use super::via::Transport;
use crate::base::{LegId, TrunkId, Wall};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a message came from and where its answers go. Machines compare it and know no more of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Which of our listeners, in configuration order.
    pub listener: u16,
    /// Zero on UDP; otherwise the connection's number, never used twice, or [`Flow::ANY`].
    pub connection: u64,
    /// The other end.
    pub peer: SocketAddr,
}

impl Flow {
    /// Whichever connection leads to the peer: one is opened when there is none.
    pub const ANY: u64 = u64::MAX;

    /// Whether what is sent arrives once or the flow closes, so that nothing is repeated (RFC 3261 §17).
    pub const fn is_reliable(&self) -> bool {
        self.connection != 0
    }
}

/// Into the [`Ua`](super::Ua).
#[derive(Clone, Debug)]
pub enum Event {
    /// A whole message (a datagram, or one framed from a stream).
    Received {
        /// Where from.
        flow: Flow,
        /// As it came.
        bytes: Bytes,
    },
    /// A whole message from nobody we know: answered only if it registers for a domain of ours, or if a dialog or a
    /// request of ours knows it.
    Stranger {
        /// Where from.
        flow: Flow,
        /// As it came.
        bytes: Bytes,
    },
    /// A connection is gone, or none to this peer could be opened ([`Flow::ANY`]): what was sent last may not have arrived.
    Closed {
        /// Which.
        flow: Flow,
    },
    /// The call asks for something.
    Do(Action),
    /// Another shard's registrar learned or lost bindings; this shard's copy follows.
    Bindings(Bindings),
    /// Bindings from before a restart: this shard answers for them until their phone registers again.
    Restored(Bindings),
    /// New settings; dialogs and registrations are untouched.
    Configure(Arc<Settings>),
}

/// What a call asks of the user agent. `leg` names the dialog; an action on a leg that is gone does nothing.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answer the incoming INVITE of `leg`: provisional (101–199) or final (200–699). A 2xx with `sdp` is repeated until
    /// its ACK comes (RFC 3261 §13.3.1.4).
    Respond {
        /// An incoming leg.
        leg: LegId,
        /// 101–699; 100 is the user agent's own.
        status: u16,
        /// Session description: the answer, or the offer when the INVITE had none.
        sdp: Option<Bytes>,
        /// Q.850 cause for a `Reason` header on a refusal.
        q850: Option<u8>,
        /// Seconds for a `Retry-After` header: only while the node drains.
        retry_after_s: Option<u32>,
    },
    /// As `Respond` with a refusal, which says why in words on which whoever called can act (RFC 3261 §20.43).
    Refuse {
        /// An incoming leg.
        leg: LegId,
        /// 300–699.
        status: u16,
        /// Q.850 cause for the `Reason` header.
        q850: u8,
        /// One line without quotes.
        why: Box<str>,
    },
    /// Dial a registered phone or a number behind a trunk.
    Invite(Box<Invite>),
    /// Send a request outside dialogs and tell what came of it by [`Command::Answered`].
    Ask(Box<Ask>),
    /// Offer a new session description in the dialog of `leg` (hold, resume, new address).
    Reinvite {
        /// An established leg.
        leg: LegId,
        /// The offer.
        sdp: Bytes,
    },
    /// Ask by a re-INVITE that changes nothing whether the dialog still stands. As `Reinvite`, but 408, 481 and silence are
    /// told as [`Notice::ReofferAnswered`], too, and end nothing: RFC 3261 §12.2.1.2 leaves to who asks when to end it.
    Probe {
        /// An established leg.
        leg: LegId,
        /// The offer, as it was said last.
        sdp: Bytes,
    },
    /// Answer the re-INVITE last told of by [`Notice::Reoffered`].
    AnswerReoffer {
        /// An established leg.
        leg: LegId,
        /// The answer, or a status to refuse with (488 …).
        answer: Result<Bytes, u16>,
    },
    /// Answer a REFER told of by [`Notice::Referred`]: 202 begins the subscription that RFC 3515 §2.4.4 implies, 300–699
    /// refuses.
    AnswerRefer {
        /// Whose dialog it came in.
        leg: LegId,
        /// Which.
        refer: u32,
        /// 202, or 300–699.
        status: u16,
    },
    /// As `AnswerRefer` with a refusal, which says why in words.
    RefuseRefer {
        /// Whose dialog it came in.
        leg: LegId,
        /// Which.
        refer: u32,
        /// 300–699.
        status: u16,
        /// One line without quotes.
        why: Box<str>,
    },
    /// Tell the one who referred how it goes: a provisional status keeps the subscription, a final one ends it.
    ReferProgress {
        /// Whose dialog it came in.
        leg: LegId,
        /// Which.
        refer: u32,
        /// Status of the referred request: 100–699.
        status: u16,
    },
    /// End the leg, whatever its state: refuse (480 unless said otherwise by an earlier `Respond`), CANCEL or BYE.
    /// A [`Notice::Ended`] follows once nothing more can come of it.
    HangUp {
        /// Any leg.
        leg: LegId,
        /// Q.850 cause for the `Reason` header.
        q850: u8,
    },
    /// As `HangUp`, for somebody else has taken the call: the `Reason` header says so, that the phone lists no missed call
    /// (RFC 3326 §2).
    TakenElsewhere {
        /// An outgoing leg.
        leg: LegId,
    },
}

/// An INVITE of ours.
#[derive(Clone, Debug)]
pub struct Invite {
    /// An outgoing leg, fresh from the call.
    pub leg: LegId,
    /// Whom it is for.
    pub to: Destination,
    /// User part of From and P-Asserted-Identity: the caller's number; empty for anonymous.
    pub caller: Box<str>,
    /// Display name of From.
    pub caller_name: Box<str>,
    /// The offer.
    pub sdp: Bytes,
    /// Other headers, name and value, written as given: `Alert-Info`, `Call-Info`, `X-Jiesu-Contact` …
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Without any final answer in this time the INVITE is cancelled.
    pub ring_max: Duration,
}

/// Whom an INVITE of ours is for.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A registered user: all bindings are tried at once, the first 2xx wins.
    User {
        /// User part of the address-of-record (`1001`).
        user: Box<str>,
        /// Domain of it.
        domain: Box<str>,
    },
    /// A number behind a trunk. The first provisional response, 100 included, is told by [`Notice::Trying`].
    Trunk(Box<OverTrunk>),
}

/// How a number behind a trunk is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverTrunk {
    /// Name, for what is remembered of its challenges.
    pub trunk: TrunkId,
    /// Called number as the trunk wants it: user part of Request-URI and To.
    pub number: Box<str>,
    /// Host and port of both, as written.
    pub host: Box<str>,
    /// Where the request is sent.
    pub flow: Flow,
    /// URI of a Route header: an outbound proxy.
    pub route: Option<Box<str>>,
    /// Host of From.
    pub from_host: Box<str>,
    /// `;user=phone` behind the number.
    pub user_phone: bool,
    /// The number in P-Asserted-Identity, where that is written (RFC 3325 §9.1): the caller's, or that of the citizen for
    /// whom an emergency line is called.
    pub asserted: Option<Box<str>>,
    /// Whether `Privacy: id` is written (RFC 3323 §4.2).
    pub privacy: bool,
    /// Where the call is from, when the trunk shall know it.
    pub location: Option<Location>,
}

/// Where a call is from (RFC 6442).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A URI that tells it to who may know.
    Reference(Box<str>),
    /// A civic address (RFC 5139): elements and their values, in order.
    Civic(Vec<(Box<str>, Box<str>)>),
}

/// An account of ours at somebody else's registrar or proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Digest user name and user part of the address-of-record.
    pub user: Box<str>,
    /// In clear, for the realm is known only from the challenge. Never shown.
    pub password: Box<str>,
    /// The one realm whose challenges are answered: beyond a trunk others may ask too. `None` answers any.
    pub realm: Option<Box<str>>,
}

impl Login {
    /// What answers challenges of `realm`; `None` when it is not the one.
    pub fn credential(&self, realm: &str) -> Option<Credential> {
        let asked = self.realm.as_deref().is_none_or(|own| own == realm);
        asked.then(|| Credential::new(&self.user, realm, &self.password))
    }
}

impl core::fmt::Debug for Login {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// A request of ours outside dialogs, to a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Given back with the answer.
    pub id: AskId,
    /// What for.
    pub what: Question,
    /// Host and port of the Request-URI, as written.
    pub host: Box<str>,
    /// Where it is sent.
    pub flow: Flow,
    /// URI of a Route header: an outbound proxy.
    pub route: Option<Box<str>>,
    /// The account; challenges are answered under it.
    pub login: Option<Arc<Login>>,
}

/// Which request of which trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId {
    /// Of which trunk.
    pub trunk: TrunkId,
    /// Counts up for each kind of question.
    pub number: u32,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// OPTIONS (RFC 3261 §11): whether it is there.
    Alive,
    /// REGISTER of our Contact under the login's user (RFC 3261 §10.2).
    Register {
        /// For so long, in seconds; 0 ends the registration.
        expires_s: u32,
        /// The same for all registrations of one trunk (RFC 3261 §10.2.4).
        call_id: Box<str>,
    },
}

/// The final answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of which.
    pub id: AskId,
    /// What it was.
    pub what: Question,
    /// 200–699; 408 when none came in 64×T1.
    pub status: u16,
    /// Seconds granted to our Contact, if said.
    pub expires_s: Option<u32>,
    /// `Min-Expires` of a 423.
    pub min_expires_s: Option<u32>,
}

/// Out of the [`Ua`](super::Ua).
#[derive(Clone, Debug)]
pub enum Command {
    /// Send these bytes on that flow.
    Send {
        /// Where to.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Tell the call.
    Tell(Notice),
    /// Our registrar learned or lost bindings: all other shards and whoever watches phones must know.
    Bindings(Bindings),
    /// Somebody did what whoever watches the edge must know.
    Suspect(Suspicion),
    /// What came of an [`Action::Ask`].
    Answered(Answer),
}

/// What was wrong with a message, and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// Where it came from.
    pub flow: Flow,
    /// What was wrong.
    pub what: Suspect,
}

/// What was wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// A wrong password, or a user who does not exist: the user part it was for, as written.
    WrongPassword(Box<str>),
    /// No SIP message.
    Malformed,
    /// From nobody we know, and nothing of ours knows it.
    Forged,
}

/// What the user agent tells a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A new INVITE that passed syntax, limits, source and (for phones) digest. 100 has been sent.
    Incoming(Box<Incoming>),
    /// The incoming leg's INVITE was cancelled; 487 has been sent. [`Notice::Ended`] follows.
    Cancelled {
        /// The leg.
        leg: LegId,
    },
    /// The ACK of our 2xx came.
    Acknowledged {
        /// An incoming leg.
        leg: LegId,
        /// The answer, when our 2xx carried the offer.
        sdp: Option<Bytes>,
    },
    /// The first provisional response to an INVITE over a trunk came: the next hop is there.
    Trying {
        /// An outgoing leg.
        leg: LegId,
    },
    /// So large an INVITE goes by a connection if one opens (RFC 3261 §18.1.1): for a second it may not have left.
    Connecting {
        /// An outgoing leg.
        leg: LegId,
    },
    /// The INVITE goes out by UDP only now, for no connection for so large a one opened (RFC 3261 §18.1.1): nobody can have
    /// answered it before.
    Resent {
        /// An outgoing leg.
        leg: LegId,
    },
    /// 18x came from the phone.
    Ringing {
        /// An outgoing leg.
        leg: LegId,
        /// Early media, if described.
        sdp: Option<Bytes>,
    },
    /// 2xx came and was acknowledged; other branches have been cancelled.
    Answered {
        /// An outgoing leg.
        leg: LegId,
        /// The answer.
        sdp: Bytes,
    },
    /// The outgoing INVITE came to nothing. The leg is gone.
    Failed {
        /// An outgoing leg.
        leg: LegId,
        /// The best final status (RFC 3261 §16.7); 408 when nobody answered, 480 when there was no binding, 487 after our own
        /// `HangUp`.
        status: u16,
        /// Q.850 cause from a `Reason` header, if any.
        q850: Option<u8>,
    },
    /// The other side offers a new session description; answer with [`Action::AnswerReoffer`].
    Reoffered {
        /// An established leg.
        leg: LegId,
        /// The offer; `None` asks us for one.
        sdp: Option<Bytes>,
    },
    /// The PRACK of our reliable offer brought the answer (RFC 3262 §5).
    EarlyAnswer {
        /// An incoming leg without a final answer.
        leg: LegId,
        /// The answer.
        sdp: Bytes,
    },
    /// The session must be refreshed and the other side knows no UPDATE (RFC 4028 §7.4): ask for an [`Action::Reinvite`]
    /// with what was described last.
    Refresh {
        /// An established leg.
        leg: LegId,
    },
    /// A digit by INFO, once for each INFO.
    Digit {
        /// The leg.
        leg: LegId,
        /// An ASCII character: `0`–`9`, `*`, `#`, `A`–`D`.
        digit: u8,
    },
    /// The other side asks us to call somebody (RFC 3515); answer with [`Action::AnswerRefer`].
    Referred(Box<Referred>),
    /// Our own re-INVITE was answered.
    ReofferAnswered {
        /// An established leg.
        leg: LegId,
        /// The answer, or the status that refused it (the session stays as it was).
        answer: Result<Bytes, u16>,
    },
    /// The dialog is over and all its transactions answered. The leg is gone.
    Ended {
        /// The leg.
        leg: LegId,
        /// Why.
        why: Ending,
    },
}

/// Why an established or incoming leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The other side's BYE.
    Bye {
        /// Q.850 cause from its `Reason` header.
        q850: Option<u8>,
    },
    /// The other side's CANCEL.
    Cancel,
    /// Our own final refusal or `HangUp`.
    Ours,
    /// No ACK came for our 2xx in 64×T1; BYE has been sent (RFC 3261 §13.3.1.4).
    NoAck,
    /// A request of ours inside the dialog got 408, 481 or nothing (RFC 3261 §12.2.1.2), or nobody refreshed the session
    /// in time (RFC 4028 §10).
    Lost,
}

/// A REFER inside a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referred {
    /// In whose dialog.
    pub leg: LegId,
    /// Which of its REFERs: the CSeq, also the `id` of its NOTIFYs (RFC 3515 §2.4.6).
    pub refer: u32,
    /// Whom to call: the whole URI without its headers.
    pub to: Box<str>,
    /// The same as a number or user part.
    pub number: Box<str>,
    /// The leg of this shard that the new call is to replace (attended transfer, RFC 3891).
    pub replaces: Option<LegId>,
    /// Whether the URI asks for a replacement, here or elsewhere.
    pub attended: bool,
    /// URI of Referred-By (RFC 3892), unproved.
    pub by: Option<Box<str>>,
}

/// An INVITE that starts a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The new leg.
    pub leg: LegId,
    /// Who it is from, by our own knowledge.
    pub source: Source,
    /// Call-ID.
    pub call_id: Box<str>,
    /// User part of the Request-URI or `tel:` number: what was dialled. Escapes are decoded.
    pub dialled: Box<str>,
    /// The caller: P-Asserted-Identity when the source is trusted with it, else From; user part or `tel:` number.
    /// Empty when anonymous or withheld (Privacy: id).
    pub caller: Box<str>,
    /// Display name as it came (any encoding).
    pub caller_name: Bytes,
    /// The offer; `None` when the INVITE had none.
    pub sdp: Option<Bytes>,
    /// The flow it came on.
    pub flow: Flow,
    /// What else it said.
    pub about: About,
}

/// What an INVITE says about its call beside who and whom. Whoever sent it said so: nothing here is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What the caller dialled first, before any diversion (RFC 7044, RFC 5806): a number or user part.
    pub original: Option<Box<str>>,
    /// Why it was diverted last: `unconditional`, `user-busy`, `302` …
    pub diverted: Option<Box<str>>,
    /// User-to-User as it came (RFC 7433).
    pub user_to_user: Option<Box<str>>,
    /// Resource-Priority as it came, `namespace.priority` (RFC 4412 §3.1).
    pub resource_priority: Option<Box<str>>,
    /// Priority: emergency, an emergency namespace, or an emergency URN (RFC 3261 §20.26, RFC 4412 §12, RFC 5031), from a
    /// trunk that is trusted with identities.
    pub emergency: bool,
    /// Where the caller is: the PIDF-LO of the body (RFC 4119) as one line for people, else the URI of Geolocation by which
    /// it may be asked for (RFC 6442 §4.1).
    pub place: Option<Box<str>>,
    /// Id of the police's ticket (警单) that the call belongs to: X-Police-Ticket, else User-to-User in IA5 characters.
    pub ticket: Option<Box<str>>,
    /// The display name for people: in UTF-8, whatever it came in.
    pub caller_shown: Box<str>,
    /// The leg this call replaces (RFC 3891), which its sender may.
    pub replaces: Option<LegId>,
}

/// Whom a message is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A trunk, known by its address: its name.
    Trunk(Box<str>),
    /// A phone that proved itself by digest: user and domain.
    Phone {
        /// User part of its address-of-record.
        user: Box<str>,
        /// Domain of it.
        domain: Box<str>,
    },
}

/// All bindings of one address-of-record after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// User part.
    pub user: Box<str>,
    /// Domain.
    pub domain: Box<str>,
    /// All that are alive; empty when the last one went.
    pub contacts: Vec<Binding>,
}

/// One contact of an address-of-record (RFC 3261 §10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The Contact URI exactly as registered.
    pub uri: Box<str>,
    /// Where requests to it go: the flow it registered on (RFC 3581: the address it really came from).
    pub flow: Flow,
    /// When it runs out, on the wall clock for people.
    pub expires: Wall,
    /// The route it asked for: URIs of Path, first hop first (RFC 3327).
    #[serde(default)]
    pub path: Vec<Box<str>>,
}

/// What the user agent is told once and at each reload.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Our own addresses, in listener order: written into Via and Contact.
    pub listeners: Vec<ListenerSettings>,
    /// Trunks by address.
    pub trunks: Vec<TrunkSettings>,
    /// Domains served: one a site.
    pub domains: Vec<DomainSettings>,
    /// Phones that may register, by user and domain.
    pub credentials: Arc<Vec<Credential>>,
    /// Registration expiry bounds in seconds: shortest allowed (423 below it), longest granted.
    pub expires_s: (u32, u32),
    /// Hashes offered to phones, the preferred one first (RFC 8760 §2.3). Empty offers MD5 alone: many phones in use give up
    /// on a challenge they do not know. Answers in either are taken.
    pub digests: Vec<super::digest::Algorithm>,
    /// How long a nonce is good.
    pub nonce_life: Duration,
    /// How sessions are kept alive.
    pub session: SessionTimers,
    /// How often one call of ours follows a redirection (3xx), and then only to a registered phone of the same domain; 0
    /// takes it for a refusal.
    pub redirects_max: u8,
    /// Limits.
    pub limits: Limits,
}

/// Session timers (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimers {
    /// Seconds without a refresh after which a session is over, as we ask for; 0 asks for none. At least `min_se_s`.
    pub expires_s: u32,
    /// Least seconds we accept (422 below it): 90 at least (§4).
    pub min_se_s: u32,
}

impl Default for SessionTimers {
    fn default() -> Self {
        SessionTimers { expires_s: 1_800, min_se_s: 90 }
    }
}

/// Whether our provisional responses to a trunk are reliable (RFC 3262). What it requires it gets in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisionals {
    /// Only when it requires so.
    #[default]
    Required,
    /// Also when it only says that it can.
    Supported,
}

/// One site's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSettings {
    /// The domain of its addresses-of-record and its digest realm.
    pub name: Box<str>,
    /// Other host names and addresses (without port) that mean the same domain in a Request-URI, To or From.
    pub aliases: Vec<Box<str>>,
}

/// One listener as SIP sees it.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// How it speaks.
    pub transport: Transport,
    /// Address written into Via and Contact.
    pub advertised: SocketAddr,
    /// How requests go from it that are too large for a datagram; means something on UDP only.
    pub large: Large,
    /// Whether strangers get the answers of RFC 3261 there; whoever judges sources asks.
    pub answers_strangers: bool,
}

impl ListenerSettings {
    /// A UDP listener that sends everything by UDP.
    pub const fn udp(advertised: SocketAddr) -> ListenerSettings {
        ListenerSettings { transport: Transport::Udp, advertised, large: Large::Udp, answers_strangers: false }
    }
}

/// How requests go that are too large for a datagram (RFC 3261 §18.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Large {
    /// By UDP all the same, in fragments.
    Udp,
    /// By TCP if the other side can be connected to, else by UDP.
    Tcp,
}

/// One trunk as the user agent needs it.
#[derive(Clone, Debug, Default)]
pub struct TrunkSettings {
    /// Name.
    pub name: Box<str>,
    /// Networks it may send from: address and prefix length in bits.
    pub sources: Vec<(std::net::IpAddr, u8)>,
    /// Whether its P-Asserted-Identity is believed (RFC 3325).
    pub trusts_identity: bool,
    /// How large requests go to it; `None`: as its listener says.
    pub large: Option<Large>,
    /// Whether our provisional responses to it are reliable.
    pub provisionals: Provisionals,
    /// Under which its challenges to our requests are answered (RFC 3261 §22.2).
    pub login: Option<Arc<Login>>,
}

/// A phone's digest secret: H(user:realm:password) for each algorithm, never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// User part of the address-of-record and digest username.
    pub user: Box<str>,
    /// Domain and realm.
    pub domain: Box<str>,
    /// MD5 of `user:realm:password`.
    pub ha1_md5: [u8; 16],
    /// SHA-256 of `user:realm:password`.
    pub ha1_sha256: [u8; 32],
    /// SHA-512/256 of `user:realm:password`; phones are never asked for it.
    pub ha1_sha512_256: Option<[u8; 32]>,
}

impl core::fmt::Debug for Credential {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Credential({}@{})", self.user, self.domain)
    }
}

/// Bounds; beyond them new work is refused and running calls stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Legs of this shard, established and in set-up. Beyond: 503 without Retry-After.
    pub legs_max: usize,
    /// Server transactions outside dialogs. Beyond: dropped, the sender repeats.
    pub transactions_max: usize,
    /// Contacts of one address-of-record. Beyond: 403.
    pub contacts_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { legs_max: 20_000, transactions_max: 50_000, contacts_max: 8 }
    }
}
