//! Requests of ours that are sent again because of a refusal we can cure: 401 and 407 by a trunk at which we have an
//! account (RFC 3261 §22.2, RFC 7616, RFC 8760), 422 (RFC 4028 §7.2).
//!
//! Owns no password: the account is that of the trunk at the other end, in the settings; no other realm is answered.

use super::challenge::Challenge;
use super::client::{Cancel, ClientKey, Purpose};
use super::dialog::via;
use super::leg::{Leg, Reoffer, State};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::session_timer::{SessionTimer, write_request};
use super::ua::{Pass, Ua};
use super::write::Writer;
use std::net::IpAddr;

/// So often one request is sent again: a challenge, a stale nonce, an interval, and one of these again.
const RETRIES_MAX: u8 = 4;

/// What is changed in the request.
enum Cure {
    /// This header answers the challenge.
    Proof(Name, String),
    /// A longer interval.
    Longer(SessionTimer),
}

impl Ua {
    /// Sends the request of a refused transaction again when that may help. Returns whether it was sent.
    pub(super) fn retried(&mut self, pass: &mut Pass, key: ClientKey, response: &Message) -> bool {
        let Some(client) = self.clients.at(key) else { return false };
        if client.retries >= RETRIES_MAX || client.cancel != Cancel::No {
            return false;
        }
        let (purpose, flow, retries) = (client.purpose, client.home(), client.retries + 1);
        let Some(request) = client.message() else { return false };
        let Some(cure) = self.cure(purpose, (&request, flow.peer.ip()), response) else { return false };
        let Some(cseq) = self.again_as(purpose, key, &request) else { return false };
        let branch = self.marks.branch();
        let method = request.cseq().method;
        let bytes = {
            let writer = rewritten(&request, &via(&self.settings, flow, &branch), cseq, &cure, self);
            match (request.header(Name::ContentType), request.body()) {
                (Some(content_type), body) if !body.is_empty() => {
                    writer.body(&String::from_utf8_lossy(content_type), body)
                }
                _ => writer.finish(),
            }
        };
        let again = self.open(pass, flow, (method, &branch), bytes, purpose);
        if let Some(client) = self.clients.at_mut(again) {
            client.retries = retries;
        }
        self.replace(purpose, key, again);
        true
    }

    fn cure(&mut self, purpose: Purpose, (request, peer): (&Message, IpAddr), response: &Message) -> Option<Cure> {
        let name = match response.status()? {
            401 => Name::Authorization,
            407 => Name::ProxyAuthorization,
            422 => return self.longer(purpose.leg()?, response).map(Cure::Longer),
            _ => return None,
        };
        let challenge = Challenge::of(response)?;
        let credential = self.settings.trunk_of(peer)?.login.as_ref()?.credential(challenge.realm())?;
        // Proved in vain, unless only the nonce was old.
        if request.header(name).is_some() && !challenge.stale {
            return None;
        }
        let uri = request.request_uri()?.to_string();
        let method = request.cseq().method.as_str();
        let cnonce = self.marks.random();
        Some(Cure::Proof(name, challenge.answer(&credential, method, &uri, 1, cnonce)))
    }

    /// The CSeq under which the request goes out again; `None` when nobody wants it any more.
    fn again_as(&mut self, purpose: Purpose, key: ClientKey, request: &Message) -> Option<u32> {
        let leg = self.legs.get_mut(purpose.leg()?)?;
        match purpose {
            Purpose::Invite(_) => match &leg.state {
                State::Calling(calling) if calling.branches.contains(&key) && calling.given_up.is_none() => {
                    Some(request.cseq().number + 1)
                }
                State::Calling(_)
                | State::Offered(_)
                | State::Answered { .. }
                | State::Established { .. }
                | State::Ending { .. } => None,
            },
            Purpose::Reinvite(_) | Purpose::Update(_) | Purpose::Bye(_) | Purpose::Notify(_) => {
                let dialog = leg.dialog_mut()?;
                dialog.local_cseq += 1;
                Some(dialog.local_cseq)
            }
            Purpose::Prack(_) => {
                let dialog = early_dialog(leg, request)?;
                dialog.local_cseq += 1;
                Some(dialog.local_cseq)
            }
            Purpose::Ask(_) | Purpose::Nobody => None,
        }
    }

    /// The new transaction stands where the old one stood.
    fn replace(&mut self, purpose: Purpose, old: ClientKey, new: ClientKey) {
        let Some(leg) = purpose.leg().and_then(|leg| self.legs.get_mut(leg)) else { return };
        match &mut leg.state {
            State::Calling(calling) => {
                calling.early.retain(|early| early.client != old || !matches!(purpose, Purpose::Invite(_)));
                calling.branches.iter_mut().filter(|branch| **branch == old).for_each(|branch| *branch = new);
            }
            State::Established { reoffer: Reoffer::Asking { client, .. }, .. } if *client == old => *client = new,
            State::Established { .. } | State::Offered(_) | State::Answered { .. } | State::Ending { .. } => {}
        }
    }
}

fn early_dialog<'a>(leg: &'a mut Leg, request: &Message) -> Option<&'a mut super::dialog::Dialog> {
    let tag = request.to().tag()?.to_owned();
    match &mut leg.state {
        State::Calling(calling) => {
            let mut dialogs = calling.early.iter_mut().map(|early| &mut early.dialog);
            dialogs.find(|dialog| dialog.remote.tag.as_bytes() == tag)
        }
        State::Established { dialog, .. } => Some(dialog),
        State::Offered(_) | State::Answered { .. } | State::Ending { .. } => None,
    }
}

/// The request under a new branch and CSeq, with what cures the refusal (§8.1.3.5, §22.2).
fn rewritten(request: &Message, via: &str, cseq: u32, cure: &Cure, ua: &Ua) -> Writer {
    let uri = request.request_uri().expect("a request of ours");
    let method: Method = request.cseq().method;
    let mut writer = Writer::request(method, &uri);
    writer.header(Name::Via, via);
    let dropped = |name: &[u8]| match Name::parse(name) {
        Some(Name::Via | Name::CSeq | Name::ContentType | Name::ContentLength) => true,
        Some(Name::SessionExpires | Name::MinSe) => matches!(cure, Cure::Longer(_)),
        Some(found) => matches!(cure, Cure::Proof(name, _) if *name == found),
        None => false,
    };
    for (name, value) in request.headers().filter(|(name, _)| !dropped(name)) {
        // Names that were read are tokens.
        let _ = writer.other(&String::from_utf8_lossy(name), value);
    }
    writer.line(Name::CSeq, format_args!("{cseq} {method}"));
    match cure {
        Cure::Proof(name, value) => {
            writer.header(*name, value);
        }
        Cure::Longer(timer) => write_request(&mut writer, &ua.settings.session, Some(*timer)),
    }
    writer
}
