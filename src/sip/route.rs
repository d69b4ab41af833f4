//! Which signal shard a message belongs to, found without reading more than that takes.
//!
//! Every tag, branch and Call-ID we make carries a mark that names its shard, so that whatever comes back finds its way.
//! What carries none goes by a keyed hash: of the address-of-record where its bindings are kept, else of the Call-ID, which
//! an INVITE shares with its repetitions, its CANCEL and its ACK. Never judges a message: that is the shard's work.

use super::address::Address;
use super::lex;
use super::method::Method;
use super::name::Name;
use super::parse::{Lines, MESSAGE_BYTES_MAX, Next};
use super::replaces::Named;
use super::screen::host;
use super::via::{MAGIC_COOKIE, Via};
use crate::base::map::keyed_hash;
use crate::base::{Mint, ShardId};
use std::borrow::Cow;

/// What every mark begins with.
const PREFIX: &str = "js";
/// The service URN of emergencies, whatever stands behind.
const SOS: &[u8] = b"urn:service:sos";
/// `js`, shard (2 hexadecimal digits), node (4), random (16).
const MARK_BYTES: usize = PREFIX.len() + 2 + 4 + 16;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It carries a mark.
    Marked {
        /// The node that made the mark.
        node: u16,
        /// The shard on that node.
        shard: ShardId,
    },
    /// The shard is this hash modulo their number.
    Hashed(u64),
    /// Nothing but line ends and zeros: a keep-alive, for nobody (RFC 5626 §3.5.1).
    KeepAlive,
    /// Too broken for a choice: any shard may refuse it.
    Anywhere,
}

impl Route {
    /// Reads what routing needs of one message. `seed` keys the hash: the same on all receiving threads of a node.
    pub fn of(bytes: &[u8], seed: [u64; 2]) -> Route {
        Glance::of(bytes, seed).route
    }
}

/// All that is read of a message before it reaches its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Where it goes.
    pub route: Route,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a message is, at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A REGISTER: the host of the address-of-record. Its [`Route::Hashed`] is the hash of the user.
    Register {
        /// As written, brackets of an IPv6 address apart.
        host: Cow<'a, str>,
    },
    /// An INVITE without a mark: a new call. Its [`Route::Hashed`] is the hash of the Call-ID.
    Call,
    /// An ACK or CANCEL without a mark: it must not overtake the INVITE that it is about.
    AboutCall,
    /// Anything else.
    Other,
}

impl<'a> Glance<'a> {
    /// Reads it; `seed` as in [`Route::of`].
    pub fn of(bytes: &'a [u8], seed: [u64; 2]) -> Glance<'a> {
        let other = |route| Glance { route, kind: Kind::Other };
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return other(Route::KeepAlive);
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return other(Route::Anywhere);
        }
        let marks = Marked::scan(bytes);
        if let Some(route) = marks.own() {
            return other(route);
        }
        marks.hashed(seed).map_or(other(Route::Anywhere), |route| Glance { route, kind: marks.kind() })
    }
}

/// Whether an INVITE is tagged as an emergency: by its Request-URI (RFC 5031), its Priority (RFC 3261 §20.26) or any
/// Resource-Priority (RFC 4412). Whoever asks knows whether its sender may say so.
pub fn is_emergency(bytes: &[u8]) -> bool {
    let (start, _, mut lines) = Lines::behind_start_line(bytes);
    if lex::split_once(start, b' ').is_some_and(|(_, rest)| rest.len() > 15 && rest[..15].eq_ignore_ascii_case(SOS)) {
        return true;
    }
    loop {
        match lines.next() {
            Next::Header(line) => {
                let (name, value) = (line.name.of(bytes), line.value.of(bytes));
                let tagged = match name.len() {
                    8 => name.eq_ignore_ascii_case(b"Priority") && value.eq_ignore_ascii_case(b"emergency"),
                    17 => name.eq_ignore_ascii_case(b"Resource-Priority"),
                    _ => false,
                };
                if tagged {
                    return true;
                }
            }
            Next::Broken => {}
            Next::Body(_) | Next::Cut => return false,
        }
    }
}

/// User and host of the From of an INVITE, or of what is about one. Only the shard proves that it is so.
pub fn caller(bytes: &[u8]) -> Option<(String, String)> {
    let (_, _, mut lines) = Lines::behind_start_line(bytes);
    loop {
        match lines.next() {
            Next::Header(line) if Name::parse(line.name.of(bytes)) == Some(Name::From) => {
                let from = Address::parse(line.value.of(bytes)).ok()?;
                return Some((from.uri.user_text().into(), host(&from.uri)?.into_owned()));
            }
            Next::Header(_) | Next::Broken => {}
            Next::Body(_) | Next::Cut => return None,
        }
    }
}

/// The parts of a message that may carry a mark or are hashed.
#[derive(Default)]
struct Marked<'a> {
    /// `None` in a response.
    method: Option<Method>,
    to: Option<&'a [u8]>,
    call_id: Option<&'a [u8]>,
    via: Option<&'a [u8]>,
    /// Replaces or Join of an INVITE: it belongs to the dialog it names (RFC 3891, RFC 3911).
    named: Option<&'a [u8]>,
}

impl<'a> Marked<'a> {
    fn scan(bytes: &'a [u8]) -> Marked<'a> {
        let (start, _, mut lines) = Lines::behind_start_line(bytes);
        let mut found = Marked::default();
        if !start.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
            found.method = Some(Method::parse(lex::split_once(start, b' ').map_or(start, |(method, _)| method)));
        }
        // What an INVITE replaces may stand behind all that others need.
        let all = found.method == Some(Method::Invite);
        while all || found.to.is_none() || found.call_id.is_none() || found.via.is_none() {
            match lines.next() {
                Next::Header(line) => match Name::parse(line.name.of(bytes)) {
                    Some(Name::To) => found.to = found.to.or(Some(line.value.of(bytes))),
                    Some(Name::CallId) => found.call_id = found.call_id.or(Some(line.value.of(bytes))),
                    Some(Name::Via) => found.via = found.via.or(Some(line.value.of(bytes))),
                    Some(Name::Replaces | Name::Join) => found.named = found.named.or(Some(line.value.of(bytes))),
                    _ => {}
                },
                Next::Broken => {}
                Next::Body(_) | Next::Cut => break,
            }
        }
        found
    }

    /// Our own mark: in the To tag, in the branch of a response, in the dialog an INVITE names, in the Call-ID.
    fn own(&self) -> Option<Route> {
        let tag = self.to.and_then(|to| Address::parse(to).ok()?.tag());
        let branch = || {
            let via = self.via.filter(|_| self.method.is_none())?;
            let top = lex::find_bare(via, b',').map_or(via, |end| &via[..end]);
            Via::parse(top).ok()?.branch()?.strip_prefix(MAGIC_COOKIE.as_bytes())
        };
        let named = || {
            let named = Named::parse(self.named?)?;
            read_mark(named.to_tag)
        };
        let marked = tag.and_then(read_mark).or_else(|| branch().and_then(read_mark)).or_else(named);
        marked.or_else(|| self.call_id.and_then(read_mark))
    }

    fn kind(&self) -> Kind<'a> {
        let to = || self.to.and_then(|to| Address::parse(to).ok());
        match self.method {
            Some(Method::Invite) => Kind::Call,
            Some(Method::Ack | Method::Cancel) => Kind::AboutCall,
            Some(Method::Register) => match to().and_then(|to| host(&to.uri)) {
                Some(host) => Kind::Register { host },
                None => Kind::Other,
            },
            Some(_) | None => Kind::Other,
        }
    }

    fn hashed(&self, seed: [u64; 2]) -> Option<Route> {
        let to = self.to.and_then(|to| Address::parse(to).ok());
        let by_address = match self.method {
            None | Some(Method::Invite | Method::Ack | Method::Cancel) => None,
            Some(_) => to.filter(|to| to.tag().is_none()),
        };
        let hash = match by_address {
            Some(to) => keyed_hash(seed, to.uri.user_text().as_bytes()),
            None => keyed_hash(seed, self.call_id?),
        };
        Some(Route::Hashed(hash))
    }
}

/// Makes the tags, branches and Call-IDs of one shard.
#[derive(Clone, Debug)]
pub struct Marks {
    node: u16,
    shard: ShardId,
    mint: Mint,
}

impl Marks {
    /// Marks of `shard` on `node`; `mint` must be this shard's own.
    pub const fn new(node: u16, shard: ShardId, mint: Mint) -> Marks {
        Marks { node, shard, mint }
    }

    /// A From or To tag, unique and unforeseeable (RFC 3261 §19.3).
    pub fn tag(&mut self) -> Box<str> {
        self.mark("")
    }

    /// A branch (RFC 3261 §8.1.1.7).
    pub fn branch(&mut self) -> Box<str> {
        self.mark(MAGIC_COOKIE)
    }

    /// A Call-ID (RFC 3261 §8.1.1.4).
    pub fn call_id(&mut self) -> Box<str> {
        self.mark("")
    }

    /// A number that nobody foresees: a client nonce.
    pub fn random(&mut self) -> u64 {
        self.mint.random()
    }

    fn mark(&mut self, before: &str) -> Box<str> {
        let (shard, node, random) = (self.shard.0, self.node, self.mint.random());
        format!("{before}{PREFIX}{shard:02x}{node:04x}{random:016x}").into()
    }
}

/// Reads a mark of ours. Anyone may write one: it only says which shard looks, never what it finds.
fn read_mark(text: &[u8]) -> Option<Route> {
    let digits = text.strip_prefix(PREFIX.as_bytes()).filter(|_| text.len() == MARK_BYTES)?;
    if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let number =
        |digits: &[u8]| digits.iter().fold(0, |sum, &digit| sum << 4 | u16::from(lex::hex(digit).unwrap_or(0)));
    let shard = u8::try_from(number(&digits[..2])).ok()?;
    Some(Route::Marked { node: number(&digits[2..6]), shard: ShardId(shard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 2] = [11, 12];

    fn message(start: &str, to: &str, call_id: &str, branch: &str) -> String {
        format!(
            "{start}\r\nv: SIP/2.0/UDP 10.0.0.9;branch={branch}, SIP/2.0/UDP 10.0.0.8\r\nFrom: <sip:1@a>;tag=f\r\n\
             t: {to}\r\nX-Other: 1\r\nCALL-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n"
        )
    }

    fn route(start: &str, to: &str, call_id: &str, branch: &str) -> Route {
        Route::of(message(start, to, call_id, branch).as_bytes(), SEED)
    }

    #[test]
    fn our_marks_bring_everything_back() {
        let mut marks = Marks::new(0x1f2e, ShardId(3), Mint::new(3, SEED));
        let ours = Route::Marked { node: 0x1f2e, shard: ShardId(3) };
        let (tag, branch, call_id) = (marks.tag(), marks.branch(), marks.call_id());
        assert!(branch.starts_with("z9hG4bK"));
        assert_ne!(tag, call_id);
        let tagged = format!("\"x;tag=no\" <sip:2@b;tag=no>\r\n ;TAG={tag}");
        assert_eq!(route("BYE sip:2@b SIP/2.0", &tagged, "c", "z9hG4bK1"), ours);
        assert_eq!(route("ACK sip:2@b SIP/2.0", &tagged, "c", "z9hG4bK1"), ours);
        assert_eq!(route("SIP/2.0 200 OK", "<sip:2@b>;tag=theirs", "c", &branch), ours);
        assert_eq!(route("SIP/2.0 200 OK", "<sip:2@b>;tag=theirs", &call_id, "z9hG4bK1"), ours);
        let replacing = format!("<sip:2@b>\r\nReplaces: x@y;from-tag=t;to-tag={tag}");
        assert_eq!(route("INVITE sip:2@b SIP/2.0", &replacing, "c", "z9hG4bK1"), ours);
        let behind = message("INVITE sip:2@b SIP/2.0", "<sip:2@b>", "c", "b");
        let behind = behind.replace("\r\n\r\n", &format!("\r\nJoin: x@y;to-tag={tag};from-tag=t\r\n\r\n"));
        assert_eq!(Route::of(behind.as_bytes(), SEED), ours);
        // A request's branch is its sender's; ours in it means nothing.
        assert_eq!(route("INVITE sip:2@b SIP/2.0", "<sip:2@b>", "c", &branch), Route::Hashed(keyed_hash(SEED, b"c")));
    }

    #[test]
    fn an_invite_its_repetition_cancel_and_ack_meet() {
        let call = Route::Hashed(keyed_hash(SEED, b"c@x"));
        for start in ["INVITE sip:2@b SIP/2.0", "CANCEL sip:2@b SIP/2.0", "ACK sip:2@b SIP/2.0"] {
            assert_eq!(route(start, "<sip:2@b>", "c@x", "z9hG4bK1"), call, "{start}");
        }
        assert_eq!(route("BYE sip:2@b SIP/2.0", "<sip:2@b>;tag=stranger", "c@x", "z9hG4bK1"), call);
        assert_eq!(route("SIP/2.0 200 OK", "<sip:2@b>;tag=stranger", "c@x", "z9hG4bK1"), call);
    }

    #[test]
    fn registrations_go_by_user_and_nothing_else() {
        let user = Route::Hashed(keyed_hash(SEED, b"1001"));
        for (to, call_id) in [("<sip:1001@a>", "c"), ("\"A\" <sip:100%31@b:5070>;x=y", "d"), ("sip:1001@a", "e")] {
            assert_eq!(route("REGISTER sip:a SIP/2.0", to, call_id, "z9hG4bK1"), user, "{to}");
        }
        assert_eq!(route("OPTIONS sip:a SIP/2.0", "<sip:1001@a>", "c", "z9hG4bK1"), user);
    }

    #[test]
    fn what_a_message_is_at_a_glance() {
        let kind = |start: &str, to: &str| {
            let text = message(start, to, "c", "z9hG4bK1");
            match Glance::of(text.as_bytes(), SEED).kind {
                Kind::Register { host } => format!("register {host}"),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(kind("REGISTER sip:x SIP/2.0", "\"A\" <sip:1001@fz.cn:5070>"), "register fz.cn");
        assert_eq!(kind("REGISTER sip:x SIP/2.0", "<sip:1001@[2001:db8::1]>"), "register 2001:db8::1");
        assert_eq!(kind("REGISTER sip:x SIP/2.0", "<tel:1001>"), "Other");
        assert_eq!(kind("INVITE sip:2@b SIP/2.0", "<sip:2@b>"), "Call");
        assert_eq!(kind("CANCEL sip:2@b SIP/2.0", "<sip:2@b>"), "AboutCall");
        assert_eq!(kind("ACK sip:2@b SIP/2.0", "<sip:2@b>"), "AboutCall");
        assert_eq!(kind("OPTIONS sip:2@b SIP/2.0", "<sip:2@b>"), "Other");
        assert_eq!(kind("SIP/2.0 200 OK", "<sip:2@b>"), "Other");
        let tag = Marks::new(1, ShardId(3), Mint::new(3, SEED)).tag();
        assert_eq!(kind("INVITE sip:2@b SIP/2.0", &format!("<sip:2@b>;tag={tag}")), "Other");
    }

    #[test]
    fn who_calls_is_read_from_from() {
        let of = |from: &str| caller(format!("INVITE sip:*1@a SIP/2.0\r\nX: 1\r\n{from}\r\n\r\n").as_bytes());
        let who = Some(("1001".to_owned(), "fz.cn".to_owned()));
        assert_eq!(of("From: \"A, B\" <sip:100%31@fz.cn:5070>;tag=f"), who);
        assert_eq!(of("f: sip:1001@fz.cn;tag=f"), who);
        assert_eq!((of("From: <tel:1001>"), of("To: <sip:1001@fz.cn>"), of("From: <")), (None, None, None));
    }

    #[test]
    fn emergencies_are_tagged_in_three_ways() {
        let tagged = |uri: &str, line: &str| {
            is_emergency(format!("INVITE {uri} SIP/2.0\r\nFrom: <sip:a@b>\r\n{line}\r\n\r\n").as_bytes())
        };
        assert!(tagged("urn:service:sos.police", "X: 1") && tagged("URN:service:SOS", "X: 1"));
        assert!(tagged("sip:12345@a", "priority: Emergency") && tagged("sip:12345@a", "Resource-Priority: esnet.0"));
        assert!(!tagged("sip:12345@a", "Priority: urgent") && !tagged("sip:sos@a", "X: emergency"));
        assert!(!is_emergency(b"") && !is_emergency(b"INVITE") && !is_emergency(b"\r\n\r\nPriority: emergency"));
    }

    #[test]
    fn strangers_marks_and_rubbish() {
        for tag in ["js", "js01000200112233445566778", "js0100020011223344556677Z", "xx010002001122334455667788"] {
            let to = format!("<sip:2@b>;tag={tag}");
            assert_eq!(route("BYE sip:2@b SIP/2.0", &to, "c", "b"), Route::Hashed(keyed_hash(SEED, b"c")), "{tag}");
        }
        assert_eq!(Route::of(b"\r\n\r\n", SEED), Route::KeepAlive);
        assert_eq!(Route::of(b"", SEED), Route::KeepAlive);
        assert_eq!(Route::of(b"jaK", SEED), Route::Anywhere);
        assert_eq!(Route::of(&[b'x'; MESSAGE_BYTES_MAX + 1], SEED), Route::Anywhere);
    }
}
