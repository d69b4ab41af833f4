//! INVITE as a client (RFC 3261 §13.2, §9.1): one call to all bindings of a user, the first 2xx wins.

use super::address::Address;
use super::client::{Cancel, Client, ClientKey, Purpose, Reason};
use super::dialog::{Dialog, via};
use super::event::{Binding, Destination, Invite, Notice, OverTrunk};
use super::leg::{Calling, Dialling, Early, Leg, LegKey, LegTimer, Reoffer, State};
use super::location;
use super::message::{Contact, Message};
use super::method::Method;
use super::name::Name;
use super::screen::{SDP, abilities, host, sdp};
use super::session_timer::{agreed, write_request};
use super::ua::{Pass, Ua};
use super::uri::{Scheme, Uri, User};
use super::write::Writer;
use crate::base::Now;
use bytes::Bytes;
use core::time::Duration;

/// Who calls when the number is withheld (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// A trunk rests no longer than this, whatever it says.
const REST_MAX: Duration = Duration::from_secs(600);

impl Ua {
    /// Dials all bindings of a user, or the one address of a trunk.
    pub(super) fn invite(&mut self, pass: &mut Pass, invite: Invite) {
        let (bindings, without) = match &invite.to {
            Destination::User { user, domain } => (self.bindings_of(user, domain, pass.now), 480),
            Destination::Trunk(over) => (self.over_trunk(over, pass.now).into_iter().collect(), 503),
        };
        if bindings.is_empty() {
            return pass.tell(Notice::Failed { leg: invite.leg, status: without, q850: None });
        }
        let (tag, call_id) = (self.marks.tag(), self.marks.call_id());
        let (leg, until) = (invite.leg, pass.now.mono + invite.ring_max);
        let trunk = match &invite.to {
            Destination::User { .. } => None,
            Destination::Trunk(_) => Some(false),
        };
        let (dialling, early) = (Some(Dialling { invite, call_id, redirects: 0 }), Vec::new());
        let calling = Calling { branches: Vec::new(), best: None, given_up: None, trunk, until, early, dialling };
        let key = self.add(Leg::new(leg, tag, State::Calling(calling)));
        self.branch_out(pass, key, bindings);
        self.set(key, LegTimer::Life, until);
    }

    /// Sends the call's INVITE to each of these.
    fn branch_out(&mut self, pass: &mut Pass, key: LegKey, bindings: Vec<Binding>) {
        for binding in bindings {
            let branch = self.marks.branch();
            let leg = &self.legs[key];
            let State::Calling(Calling { dialling: Some(dialling), .. }) = &leg.state else { return };
            let bytes = self.compose(dialling, &binding, &leg.tag, &branch);
            let request = (Method::Invite, &*branch);
            let client = self.open(pass, binding.flow, request, bytes, Purpose::Invite(key));
            if let State::Calling(calling) = &mut self.legs[key].state {
                calling.branches.push(client);
            }
        }
    }

    fn bindings_of(&self, user: &str, domain: &str, now: Now) -> Vec<Binding> {
        let record = self.registrar.find(user, domain);
        record.map_or_else(Vec::new, |record| {
            self.registrar.contacts(record, now).map(|(binding, _)| binding.clone()).collect()
        })
    }

    /// Where a number is reached over a trunk; `None` while the trunk rests.
    fn over_trunk(&self, over: &OverTrunk, now: Now) -> Option<Binding> {
        let rests = self.resting.get(&over.flow.peer).is_some_and(|until| now.mono < *until);
        let path = over.route.iter().cloned().collect();
        (!rests).then(|| Binding { uri: over.uri(), flow: over.flow, expires: now.wall, path })
    }

    fn compose(&self, dialling: &Dialling, binding: &Binding, tag: &str, branch: &str) -> Bytes {
        let Dialling { invite, call_id, redirects } = dialling;
        let target = Uri::parse(binding.uri.as_bytes()).expect("only URIs are registered, and trunks are checked");
        let mut writer = Writer::request(Method::Invite, &target);
        writer.line(Name::Via, format_args!("{}", via(&self.settings, binding.flow, branch)));
        writer.header(Name::MaxForwards, "70");
        for hop in &binding.path {
            writer.line(Name::Route, format_args!("<{hop}>"));
        }
        let (to, host, asserted, privacy) = match &invite.to {
            Destination::User { user, domain } => {
                (format!("sip:{}@{domain}", User(user)), domain, Some(&invite.caller), false)
            }
            Destination::Trunk(over) => {
                (String::from(&*binding.uri), &over.from_host, over.asserted.as_ref(), over.privacy)
            }
        };
        let hidden = invite.caller.is_empty() || privacy;
        let own = format!("sip:{}@{host}", User(&invite.caller));
        if hidden {
            writer.address(Name::From, b"Anonymous", ANONYMOUS, Some(tag));
            writer.header(Name::Privacy, "id");
        } else {
            writer.address(Name::From, invite.caller_name.as_bytes(), &own, Some(tag));
        }
        let person = asserted.filter(|number| !number.is_empty());
        let person = person.map_or_else(|| own.clone(), |number| format!("sip:{}@{host}", User(number)));
        if asserted.is_some_and(|number| !number.is_empty()) {
            writer.address(Name::PAssertedIdentity, invite.caller_name.as_bytes(), &person, None);
        }
        writer.address(Name::To, b"", to, None);
        writer.header(Name::CallId, &**call_id);
        writer.line(Name::CSeq, format_args!("{} INVITE", 1 + u32::from(*redirects)));
        self.contact(&mut writer, binding.flow, target.scheme == Scheme::Sips);
        abilities(&mut writer);
        // So that the phone stops by itself should we be gone (§13.3.1).
        writer.line(Name::Expires, format_args!("{}", invite.ring_max.as_millis().div_ceil(1_000)));
        // A browser's page knows best whether it still lives: it refreshes (RFC 4028 §7.1).
        match self.settings.session.expires_s {
            expires_s @ 1.. if is_browser(&target) => {
                writer.line(Name::SessionExpires, format_args!("{expires_s};refresher=uas"));
            }
            _ => write_request(&mut writer, &self.settings.session, None),
        }
        for (name, value) in &invite.headers {
            // A name that is none is left out: the rest of the call matters more.
            let _ = writer.other(name, value.as_bytes());
        }
        match &invite.to {
            Destination::Trunk(over) if let Some(location) = &over.location => {
                location::finish(writer, location, (&person, tag), &invite.sdp)
            }
            Destination::User { .. } | Destination::Trunk(_) => writer.body(SDP, &invite.sdp),
        }
    }

    /// A response to one branch, or none in time.
    pub(super) fn branch_told(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: Option<&Message>) {
        let Some(response) = response else {
            return self.branch_done(pass, key, client, 408, None);
        };
        match response.status().unwrap_or_default() {
            status @ 100..=199 => self.branch_proceeds(pass, key, client, status, response),
            200..=299 => self.branch_accepted(pass, key, client, response),
            300..=399 if self.redirected(pass, key, client, response) => {}
            status => {
                self.rest(pass, (key, client), status, response);
                self.branch_done(pass, key, client, status, response.reason_q850());
            }
        }
    }

    /// Follows a redirection (§8.1.3.4) to registered phones of the called one's own domain, the best liked first: nobody
    /// else's Contact has us call anywhere. Returns whether there was one.
    fn redirected(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) -> bool {
        let Some(State::Calling(calling)) = self.legs.get(key).map(|leg| &leg.state) else { return false };
        let Some(Dialling { invite, redirects, .. }) = &calling.dialling else { return false };
        if *redirects >= self.settings.redirects_max || calling.given_up.is_some() {
            return false;
        }
        let Destination::User { domain, .. } = &invite.to else { return false };
        let mut users: Vec<(u16, String)> = response
            .contacts()
            .filter_map(|contact| match contact.ok()? {
                Contact::At(address) => {
                    let host = host(&address.uri)?;
                    let home = self.settings.domain_of(&host)? == &**domain;
                    home.then(|| (preference(&address), address.uri.user_text().into_owned()))
                }
                Contact::All => None,
            })
            .collect();
        users.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        let domain = domain.clone();
        let mut bindings = users.iter().map(|(_, user)| self.bindings_of(user, &domain, pass.now));
        let Some(bindings) = bindings.find(|bindings| !bindings.is_empty()) else { return false };
        if let State::Calling(calling) = &mut self.legs[key].state {
            calling.branches.retain(|branch| *branch != client);
            calling.early.retain(|early| early.client != client);
            calling.dialling.iter_mut().for_each(|dialling| dialling.redirects += 1);
        }
        self.branch_out(pass, key, bindings);
        true
    }

    /// A trunk that says when to come again is left alone until then (§21.5.4).
    fn rest(&mut self, pass: &Pass, (key, client): (LegKey, ClientKey), status: u16, response: &Message) {
        let Some(peer) = self.clients.at(client).map(|client| client.flow.peer).filter(|_| status == 503) else {
            return;
        };
        let leg = self.legs.get(key).map(|leg| &leg.state);
        let is_trunk = matches!(leg, Some(State::Calling(Calling { trunk: Some(_), .. })));
        let seconds = response.number(Name::RetryAfter).filter(|_| is_trunk);
        if let Some(seconds) = seconds {
            let rest = Duration::from_secs(u64::from(seconds)).min(REST_MAX);
            self.resting.insert(peer, pass.now.mono + rest);
        }
    }

    fn branch_proceeds(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, status: u16, response: &Message) {
        if status > 100 && !self.early(pass, key, client, response) {
            return;
        }
        match self.clients.at(client).map(|client| client.cancel) {
            Some(Cancel::Wanted(why)) => self.clients.cancel(&mut self.alarms, pass, client, why),
            Some(Cancel::No) => {
                let Some(leg) = self.legs.get_mut(key) else { return };
                if let State::Calling(Calling { trunk: Some(alive @ false), .. }) = &mut leg.state {
                    *alive = true;
                    pass.tell(Notice::Trying { leg: leg.id });
                }
                if status == 100 {
                    return;
                }
                pass.tell(Notice::Ringing { leg: leg.id, sdp: sdp(response).ok().flatten() });
            }
            Some(Cancel::Sent(_)) | None => {}
        }
    }

    /// A 2xx: the first of all branches wins; its repetitions are acknowledged again (§13.2.2.4); all others are
    /// acknowledged and hung up.
    fn branch_accepted(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) {
        let wins = self.legs.get(key).is_some_and(|leg| match &leg.state {
            State::Calling(calling) => calling.given_up.is_none() && calling.branches.contains(&client),
            State::Offered(_) | State::Answered { .. } | State::Established { .. } | State::Ending { .. } => false,
        });
        let early = self.take_early(key, response);
        // A 2xx need not repeat what a provisional response said (§13.2.1).
        let answer = sdp(response).ok().flatten().or(early.as_ref().and_then(|early| early.sdp.clone()));
        let dialog = self.clients.at(client).and_then(|it| Dialog::of_client(&it.message()?, response, it.home()).ok());
        match (wins, dialog, answer) {
            (true, Some(mut dialog), Some(answer)) => {
                if let Some(early) = early {
                    dialog.local_cseq = dialog.local_cseq.max(early.dialog.local_cseq);
                    dialog.remote_cseq = early.dialog.remote_cseq;
                }
                self.win(pass, key, client, dialog, (answer, response));
            }
            (true, ..) => {
                // An answer without a session is none.
                self.stray(pass, client, response);
                self.branch_done(pass, key, client, 488, None);
            }
            (false, ..) if self.acknowledge_again(pass, key, Some(client), response) => {}
            (false, ..) => {
                self.stray(pass, client, response);
                self.branch_done(pass, key, client, 487, None);
            }
        }
    }

    /// The early dialog in which a 2xx came.
    fn take_early(&mut self, key: LegKey, response: &Message) -> Option<Early> {
        let State::Calling(calling) = &mut self.legs.get_mut(key)?.state else { return None };
        let place = calling.early.iter().position(|early| early.dialog.owns_response(response))?;
        Some(calling.early.remove(place))
    }

    fn win(
        &mut self,
        pass: &mut Pass,
        key: LegKey,
        winner: ClientKey,
        mut dialog: Dialog,
        (answer, response): (Bytes, &Message),
    ) {
        // At a trunk, and only there, Contact and Record-Route choose the address.
        dialog.trunk = matches!(self.legs[key].state, State::Calling(Calling { trunk: Some(_), .. }));
        self.acknowledge(pass, &mut dialog, Some(winner), response);
        let leg = &mut self.legs[key];
        leg.learn(response);
        let state = State::Established { dialog, reoffer: Reoffer::Idle };
        let before = std::mem::replace(&mut leg.state, state);
        let id = leg.id;
        self.stop(key, LegTimer::Life);
        self.wind(pass, key, agreed(response, 0));
        if let State::Calling(calling) = before {
            for client in calling.branches.into_iter().filter(|client| *client != winner) {
                self.clients.cancel(&mut self.alarms, pass, client, Reason::Elsewhere);
            }
        }
        pass.tell(Notice::Answered { leg: id, sdp: answer });
    }

    /// The ACK of a 2xx to the INVITE of `client`, end to end, without a transaction (§13.2.2.4).
    pub(super) fn acknowledge(
        &mut self,
        pass: &mut Pass,
        dialog: &mut Dialog,
        client: Option<ClientKey>,
        response: &Message,
    ) {
        dialog.acked = Some(response.cseq().number);
        self.send_ack(pass, dialog, client);
    }

    fn send_ack(&mut self, pass: &mut Pass, dialog: &Dialog, client: Option<ClientKey>) {
        let Some(cseq) = dialog.acked else { return };
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Ack, cseq, &self.settings, &branch);
        // Nobody can challenge an ACK, so it brings what its INVITE proved itself with (§13.2.2.4, §22.1).
        let proved = client.and_then(|client| self.clients.at(client)).filter(|client| client.retries > 0);
        if let Some(invite) = proved.and_then(Client::message) {
            for name in [Name::Authorization, Name::ProxyAuthorization] {
                for proof in invite.lines(name) {
                    writer.header(name, proof);
                }
            }
        }
        pass.send(dialog.next_flow(&self.settings), writer.finish());
    }

    /// Whether a 2xx is a repetition in the leg's dialog; it has its ACK again then.
    pub(super) fn acknowledge_again(
        &mut self,
        pass: &mut Pass,
        key: LegKey,
        client: Option<ClientKey>,
        response: &Message,
    ) -> bool {
        let cseq = response.cseq().number;
        let dialog = self.legs.get(key).and_then(Leg::dialog).cloned();
        match dialog.filter(|dialog| dialog.owns_response(response) && dialog.acked == Some(cseq)) {
            Some(dialog) => {
                self.send_ack(pass, &dialog, client);
                true
            }
            None => false,
        }
    }

    /// A 2xx that nobody wants: ACK, and at its first coming BYE, for the reason for which the INVITE was cancelled.
    pub(super) fn stray(&mut self, pass: &mut Pass, client: ClientKey, response: &Message) {
        let Some(it) = self.clients.at_mut(client) else { return };
        let dialog = it.message().map(|invite| Dialog::of_client(&invite, response, it.home()));
        let Some(Ok(mut dialog)) = dialog else {
            return;
        };
        let tag = response.to().tag().unwrap_or_default();
        let known = it.strays.iter().any(|stray| **stray == *tag);
        let why = match it.cancel {
            Cancel::Wanted(why) | Cancel::Sent(why) => why,
            Cancel::No => Reason::None,
        };
        if !known {
            it.strays.push(tag.into());
        }
        self.acknowledge(pass, &mut dialog, Some(client), response);
        if !known {
            dialog.local_cseq += 1;
            self.send_bye(pass, &dialog, why, Purpose::Nobody);
        }
    }

    /// Sends a BYE under the dialog's present CSeq.
    pub(super) fn send_bye(&mut self, pass: &mut Pass, dialog: &Dialog, why: Reason, purpose: Purpose) {
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Bye, dialog.local_cseq, &self.settings, &branch);
        why.write(&mut writer);
        let flow = dialog.next_flow(&self.settings);
        self.open(pass, flow, (Method::Bye, &branch), writer.finish(), purpose);
    }

    /// A branch has its final answer. The leg fails with the best when it was the last (§16.7).
    pub(super) fn branch_done(
        &mut self,
        pass: &mut Pass,
        key: LegKey,
        client: ClientKey,
        status: u16,
        q850: Option<u8>,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let State::Calling(calling) = &mut leg.state else {
            return;
        };
        calling.branches.retain(|branch| *branch != client);
        calling.early.retain(|early| early.client != client);
        if calling.best.is_none_or(|(best, _)| rank(status) < rank(best)) {
            calling.best = Some((status, q850));
        }
        let others = calling.branches.clone();
        if !others.is_empty() {
            // A global failure speaks for all phones of the user (§16.7 step 5).
            let global = others.into_iter().filter(|_| status >= 600);
            return global.for_each(|other| self.clients.cancel(&mut self.alarms, pass, other, Reason::None));
        }
        let (best, q850) = calling.best.unwrap_or((408, None));
        let (status, q850) = calling.given_up.map_or((best, q850), |status| (status, None));
        let id = leg.id;
        self.remove(key);
        pass.tell(Notice::Failed { leg: id, status, q850 });
    }

    /// Nobody wants an answer any more: every branch is cancelled as soon as it may be.
    pub(super) fn give_up(&mut self, pass: &mut Pass, key: LegKey, status: u16, why: Reason) {
        let State::Calling(calling) = &mut self.legs[key].state else {
            return;
        };
        calling.given_up = Some(status);
        for client in calling.branches.clone() {
            self.clients.cancel(&mut self.alarms, pass, client, why);
        }
    }
}

/// The `q` of a Contact in thousandths; 1 without one (§20.10).
fn preference(address: &Address<'_>) -> u16 {
    let q = address.params.value("q").and_then(|q| std::str::from_utf8(q).ok()?.parse::<f32>().ok());
    (q.unwrap_or(1.0).clamp(0.0, 1.0) * 1_000.0) as u16
}

/// A Contact as browsers register it (RFC 7118 §5).
fn is_browser(uri: &Uri<'_>) -> bool {
    let transport = uri.params.value("transport").unwrap_or_default();
    transport.eq_ignore_ascii_case(b"ws") || transport.eq_ignore_ascii_case(b"wss")
}

/// The lower, the better the refusal speaks for all branches (§16.7 step 6).
const fn rank(status: u16) -> u16 {
    match status {
        600..=699 => 0,
        // What the caller could cure, then what a person did, then silence.
        401 | 407 | 415 | 420 | 484 => 400,
        408 | 487 => 499,
        400..=499 => 450,
        503 => 599,
        other => other,
    }
}

impl OverTrunk {
    /// Request-URI and To.
    fn uri(&self) -> Box<str> {
        let parameter = if self.user_phone { ";user=phone" } else { "" };
        format!("sip:{}@{}{parameter}", User(&self.number), self.host).into()
    }
}
