//! REFER inside a dialog (RFC 3515, RFC 7647) and the subscription that it implies: Refer-To, Referred-By (RFC 3892),
//! Refer-Sub (RFC 4488), NOTIFY with `message/sipfrag` (RFC 3420).
//!
//! Owns what was asked and how far the asking side was told. Whether anybody is called is the call's decision.

use super::client::Purpose;
use super::dialog::text;
use super::event::{Notice, Referred};
use super::incoming::{Said, number};
use super::leg::{LegKey, State};
use super::lex;
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::replaces::Named;
use super::server::ServerKey;
use super::status::reason_phrase;
use super::ua::{Pass, Ua};
use super::uri::{Scheme, Uri};

/// REFERs of one dialog that are under way; further ones come again later.
const REFERS_MAX: usize = 4;
/// Seconds for which a subscription is said to last; each NOTIFY says so anew.
const SUBSCRIBED_S: u32 = 60;
/// What a NOTIFY carries (RFC 3515 §2.4.5).
const SIPFRAG: &str = "message/sipfrag;version=2.0";
/// Longest Refer-To header part that is looked at.
const HEADERS_MAX: usize = 8;

/// One REFER of theirs.
#[derive(Debug)]
pub(super) struct Refer {
    /// Its CSeq.
    pub(super) id: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The call is asked; it answers in the same pass. Whether NOTIFYs are wanted.
    Asked { server: ServerKey, subscribes: bool },
    /// 202 was sent, NOTIFYs follow.
    Subscribed,
}

impl Refer {
    /// One that outlived a restart.
    pub(super) const fn subscribed(id: u32) -> Refer {
        Refer { id, stage: Stage::Subscribed }
    }

    /// Whether its sender waits for NOTIFYs.
    pub(super) const fn is_subscribed(&self) -> bool {
        matches!(self.stage, Stage::Subscribed)
    }

    /// The transaction that waits for an answer.
    pub(super) const fn unanswered(&self) -> Option<ServerKey> {
        match self.stage {
            Stage::Asked { server, .. } => Some(server),
            Stage::Subscribed => None,
        }
    }
}

impl Ua {
    /// Their REFER.
    pub(super) fn referred(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, request: &Message) {
        if !matches!(self.legs[leg].state, State::Established { .. } | State::Answered { .. }) {
            return self.answer(pass, key, 403, |_| {});
        }
        // RFC 3515 §2.4.2: exactly one.
        let one = request.lines(Name::ReferTo).count() == 1;
        let target = request.address(Name::ReferTo).and_then(Result::ok).filter(|_| one);
        let Some((target, to)) = target.and_then(|target| Some((target, text(target.uri.without_headers())?))) else {
            return self.answer(pass, key, 400, |_| {});
        };
        match target.uri.scheme {
            Scheme::Sip | Scheme::Sips | Scheme::Tel => {}
            Scheme::Other => return self.answer(pass, key, 416, |_| {}),
        }
        if self.legs[leg].refers.len() >= REFERS_MAX {
            return self.not_yet(pass, key);
        }
        let replaces = replaces_of(&target.uri);
        let replaced = replaces.as_deref().and_then(Named::parse).and_then(|named| self.leg_named(&named));
        let id = request.cseq().number;
        let subscribes = !request.header(Name::ReferSub).is_some_and(|value| value.eq_ignore_ascii_case(b"false"));
        self.servers.wait(&mut self.alarms, pass, key, leg);
        self.legs[leg].refers.push(Refer { id, stage: Stage::Asked { server: key, subscribes } });
        let by = request.address(Name::ReferredBy).and_then(Result::ok).and_then(|by| text(by.uri.as_bytes()));
        let referred = Referred {
            leg: self.legs[leg].id,
            refer: id,
            number: number(&target.uri),
            to,
            replaces: replaced.map(|key| self.legs[key].id),
            attended: replaces.is_some(),
            by,
        };
        pass.tell(Notice::Referred(Box::new(referred)));
    }

    /// The call's answer to a REFER.
    pub(super) fn answer_refer(&mut self, pass: &mut Pass, key: LegKey, refer: u32, status: u16, said: Said<'_>) {
        let Some(place) = self.legs[key].refers.iter().position(|it| it.id == refer) else { return };
        let Stage::Asked { server, subscribes } = self.legs[key].refers[place].stage else { return };
        let accepted = (200..300).contains(&status);
        if accepted && subscribes {
            self.legs[key].refers[place].stage = Stage::Subscribed;
        } else {
            self.legs[key].refers.remove(place);
        }
        if self.servers.at(server).is_none() {
            return;
        }
        if !accepted {
            let status = if (300..700).contains(&status) { status } else { 603 };
            return self.answer(pass, server, status, |writer| said.write(writer));
        }
        let mut writer = self.begin_reply(server, 202);
        if !subscribes {
            // RFC 4488 §4: no subscription was made.
            writer.header(Name::ReferSub, "false");
        }
        self.servers.send(&mut self.alarms, pass, server, 202, writer.finish());
        if subscribes {
            self.notify(pass, key, refer, 100);
        }
    }

    /// How the referred call goes; its final status ends the subscription.
    pub(super) fn refer_progress(&mut self, pass: &mut Pass, key: LegKey, refer: u32, status: u16) {
        let refers = &mut self.legs[key].refers;
        let Some(place) = refers.iter().position(|it| it.id == refer && it.is_subscribed()) else { return };
        if !(100..700).contains(&status) {
            return;
        }
        if status >= 200 {
            refers.remove(place);
        }
        self.notify(pass, key, refer, status);
    }

    fn notify(&mut self, pass: &mut Pass, key: LegKey, refer: u32, status: u16) {
        let Some(dialog) = self.legs[key].dialog_mut() else { return };
        dialog.local_cseq += 1;
        let dialog = dialog.clone();
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Notify, dialog.local_cseq, &self.settings, &branch);
        self.contact(&mut writer, dialog.flow, dialog.is_secure());
        writer.line(Name::Event, format_args!("refer;id={refer}"));
        if status >= 200 {
            writer.header(Name::SubscriptionState, "terminated;reason=noresource");
        } else {
            writer.line(Name::SubscriptionState, format_args!("active;expires={SUBSCRIBED_S}"));
        }
        let body = format!("SIP/2.0 {status} {}\r\n", reason_phrase(status));
        let bytes = writer.body(SIPFRAG, body.as_bytes());
        let flow = dialog.next_flow(&self.settings);
        let method = (Method::Notify, &*branch);
        self.open(pass, flow, method, bytes, Purpose::Notify(key));
    }

    /// A response to a NOTIFY, or none: who knows no subscription has none (RFC 6665 §4.2.2); the call goes on (RFC 5057).
    pub(super) fn notify_told(&mut self, key: LegKey, request: Option<&Message>, status: u16) {
        let refer = request.and_then(|request| {
            let id = request.params(Name::Event).value("id")?;
            lex::decimal(id)
        });
        if let (Some(leg), Some(refer), 408 | 481) = (self.legs.get_mut(key), refer, status) {
            leg.refers.retain(|it| it.id != refer || !it.is_subscribed());
        }
    }
}

/// The value of a Replaces among the headers of a URI (RFC 3891 §7.2), without its escapes.
fn replaces_of(uri: &Uri<'_>) -> Option<Vec<u8>> {
    let headers = uri.headers.split(|byte| *byte == b'&').take(HEADERS_MAX);
    headers.filter_map(|header| lex::split_once(header, b'=')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case(b"Replaces").then(|| lex::percent_decode(value).into_owned())
    })
}
