//! What every new request passes first (RFC 3261 §8.2): method, hops, URI, extensions, loops; then it goes to its dialog or
//! to what takes requests outside dialogs.
//!
//! Owns the refusals that need no session; never changes one.

use super::auth::Unproved;
use super::client::Reason;
use super::digest::Algorithm;
use super::event::{Flow, Source, Suspect};
use super::leg::LegKey;
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::server::ServerKey;
use super::ua::{Pass, Ua};
use super::uri::{Host, Scheme, Uri};
use super::write::Writer;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// What we allow, for `Allow`.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, REFER";
/// The content that describes sessions.
pub(super) const SDP: &str = "application/sdp";
/// All content we read, for `Accept` (§20.1).
pub(super) const ACCEPT: &str =
    "application/sdp, multipart/mixed, application/pidf+xml, application/dtmf-relay, application/dtmf";
/// The extensions we understand, for `Supported` and against `Require` (§20.32, §20.37).
const SUPPORTED: &str = "100rel, timer, replaces, norefersub, path, histinfo";

/// Proofs in one request that are looked at: one for each hash, twice over.
const AUTHORIZATIONS_MAX: usize = 4;

/// Why a request goes no further: the status and the header that explains it.
struct Refusal {
    status: u16,
    header: Option<(Name, Vec<u8>)>,
}

/// A body that is not a session description.
pub(super) struct UnsupportedBody;

impl Ua {
    /// Takes a request that is no repetition, no ACK and no CANCEL.
    pub(super) fn begin(&mut self, pass: &mut Pass, flow: Flow, request: Message) {
        let outside = request.to().tag().is_none();
        let limit = self.settings.limits.transactions_max;
        if self.servers.len() >= limit && self.leg_of(&request).is_none() {
            // Dropped: the sender repeats, and by then some are over. Only live dialogs are served beyond.
            return;
        }
        let merged = outside && self.servers.is_merged(&request);
        let refusal = screen(&request).or(merged.then_some(Refusal { status: 482, header: None }));
        let tag = self.marks.tag();
        let key = self.servers.open(request, flow, tag);
        match refusal {
            Some(Refusal { status, header }) => self.answer(pass, key, status, |writer| {
                if let Some((name, value)) = header {
                    writer.header(name, value);
                }
            }),
            None if outside => self.outside(pass, key, flow),
            None => self.inside(pass, key, flow),
        }
    }

    fn outside(&mut self, pass: &mut Pass, key: ServerKey, flow: Flow) {
        match self.asked(key).cseq().method {
            Method::Invite => self.invited(pass, key, flow),
            Method::Register => self.registering(pass, key, flow),
            Method::Options => self.answer(pass, key, 200, capabilities),
            // Nobody but those who talk to us may have us call (RFC 3515 §5).
            Method::Refer => self.answer(pass, key, 403, |_| {}),
            // What belongs to a dialog and names none (§15.1.2, RFC 3262 §3); the rest was screened out or taken before.
            _ => self.answer(pass, key, 481, |_| {}),
        }
    }

    /// The request of a transaction.
    pub(super) fn asked(&self, key: ServerKey) -> Arc<Message> {
        Arc::clone(&self.servers.at(key).expect("the request is being handled").request)
    }

    /// Answers a request without a body.
    pub(super) fn answer(&mut self, pass: &mut Pass, key: ServerKey, status: u16, fill: impl FnOnce(&mut Writer)) {
        let mut writer = self.servers.reply(key, status);
        fill(&mut writer);
        self.servers.send(&mut self.alarms, pass, key, status, writer.finish());
    }

    /// Refuses an INVITE that may be gone already.
    pub(super) fn refuse_invite(&mut self, pass: &mut Pass, key: ServerKey, status: u16, why: Reason) {
        if self.servers.at(key).is_some() {
            self.answer(pass, key, status, |writer| why.write(writer));
        }
    }

    /// The leg of a request inside a dialog (§12.2.2).
    pub(super) fn leg_of(&self, request: &Message) -> Option<LegKey> {
        let key = *self.by_tag.at(request.to().tag()?)?;
        self.legs[key].owns(request).then_some(key)
    }

    /// Whom a request outside dialogs is from; refused already when nobody.
    pub(super) fn source(&mut self, pass: &mut Pass, key: ServerKey, flow: Flow) -> Option<Source> {
        let settings = Arc::clone(&self.settings);
        if let Some(trunk) = settings.trunk_of(flow.peer.ip()) {
            return Some(Source::Trunk(trunk.name.clone()));
        }
        let request = self.asked(key);
        let from = request.from().uri;
        let Some(domain) = host(&from).and_then(|host| settings.domain_of(&host)) else {
            self.answer(pass, key, 403, |_| {});
            return None;
        };
        let user = self.authenticate(pass, key, domain)?;
        if *user != *from.user_text() {
            self.answer(pass, key, 403, |_| {});
            return None;
        }
        Some(Source::Phone { user, domain: domain.into() })
    }

    /// Which user of a domain sent a request; challenged already when none.
    pub(super) fn authenticate(&mut self, pass: &mut Pass, key: ServerKey, domain: &str) -> Option<Box<str>> {
        let request = self.asked(key);
        let method = request.method_name().unwrap_or_default();
        // Each one costs a hash.
        let given = request.authorizations().take(AUTHORIZATIONS_MAX);
        match self.auth.verify(pass.now.mono, domain, method, given) {
            Ok(user) => Some(user),
            Err(error) => {
                let algorithms: &[Algorithm] = match &*self.settings.digests {
                    [] => &[Algorithm::Md5],
                    chosen => chosen,
                };
                let stale = error == Unproved::Stale;
                let challenges = self.auth.challenges(pass.now.mono, domain, stale, algorithms);
                self.answer(pass, key, 401, |writer| {
                    for challenge in challenges {
                        writer.header(Name::WwwAuthenticate, challenge);
                    }
                });
                // Who proved nothing leaves nothing behind (§26.3.2.4): a repeated request gets a challenge of its own.
                let flow = self.servers.forget(&mut self.alarms, key);
                if let (Some(flow), Unproved::Wrong) = (flow, error) {
                    pass.suspect(flow, Suspect::WrongPassword(request.to().uri.user_text().into_owned().into()));
                }
                None
            }
        }
    }
}

/// What we can do, for OPTIONS (§11.2) and 2xx to INVITE.
pub(super) fn capabilities(writer: &mut Writer) {
    abilities(writer);
    writer.header(Name::Accept, ACCEPT);
}

/// What our requests and 2xx say of us (§13.2.1, §13.3.1.4).
pub(super) fn abilities(writer: &mut Writer) {
    writer.header(Name::Allow, ALLOW);
    writer.header(Name::Supported, SUPPORTED);
}

/// The session description in a message.
pub(super) fn sdp(message: &Message) -> Result<Option<Bytes>, UnsupportedBody> {
    let found = message.sdp();
    if found.is_some() || message.body().is_empty() {
        return Ok(found);
    }
    // Content whose loss its sender can bear is ignored (§20.11).
    let optional = message.params(Name::ContentDisposition).value("handling").unwrap_or_default();
    if optional.eq_ignore_ascii_case(b"optional") { Ok(None) } else { Err(UnsupportedBody) }
}

/// The host of a URI as settings write it.
pub(super) fn host<'a>(uri: &Uri<'a>) -> Option<Cow<'a, str>> {
    match uri.host? {
        Host::Name(name) => Some(Cow::Borrowed(name)),
        Host::Ip(ip) => Some(Cow::Owned(ip.to_string())),
    }
}

fn screen(request: &Message) -> Option<Refusal> {
    let method = request.cseq().method;
    let allow = || Some((Name::Allow, ALLOW.as_bytes().to_vec()));
    match method {
        Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Register | Method::Options => {}
        Method::Prack | Method::Update | Method::Info | Method::Refer => {}
        // Known, but not here (§8.2.1; RFC 3428 §7).
        Method::Subscribe | Method::Notify | Method::Publish | Method::Message => {
            return Some(Refusal { status: 405, header: allow() });
        }
        Method::Other => {
            return Some(Refusal { status: 501, header: allow() });
        }
    }
    let inside = request.to().tag().is_some();
    let uri = request.request_uri();
    let strange = |uri: &Uri<'_>| uri.scheme == Scheme::Other && !uri.is_service();
    if !inside && uri.as_ref().is_some_and(strange) {
        return Some(Refusal { status: 416, header: None });
    }
    // What begins something new behind us needs a hop for it (§16.3, RFC 7332 §4); inside a dialog we are the end.
    if !inside && matches!(method, Method::Invite | Method::Options) && request.max_forwards() == Some(0) {
        return Some(Refusal { status: 483, header: None });
    }
    // Proxy-Require is for proxies (§20.29).
    let known = |tag: &&[u8]| SUPPORTED.split(", ").any(|known| tag.eq_ignore_ascii_case(known.as_bytes()));
    let unsupported: Vec<&[u8]> = request.require().filter(|tag| !known(tag)).collect();
    if !unsupported.is_empty() {
        return Some(Refusal { status: 420, header: Some((Name::Unsupported, unsupported.join(&b", "[..]))) });
    }
    let identity = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    if !request.body().is_empty() && !request.values(Name::ContentEncoding).all(identity) {
        return Some(Refusal { status: 415, header: Some((Name::AcceptEncoding, b"identity".to_vec())) });
    }
    None
}
