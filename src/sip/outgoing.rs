//! INVITE as a client (RFC 3261 §13.2, §9.1): one call to all bindings of a user, the first 2xx wins.

use super::client::{Cancel, ClientKey, Purpose, Reason};
use super::dialog::{Dialog, via};
use super::event::{Binding, Invite, Notice};
use super::leg::{Calling, Leg, LegKey, LegTimer, Reoffer, State};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::screen::{ALLOW, SDP, sdp};
use super::ua::{Pass, Ua};
use super::uri::{Uri, User};
use super::write::Writer;
use bytes::Bytes;

/// Who calls when the number is withheld (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

impl Ua {
    /// Dials all bindings of a user.
    pub(super) fn invite(&mut self, pass: &mut Pass, invite: Invite) {
        let record = self.registrar.find(&invite.user, &invite.domain);
        let bindings: Vec<Binding> = record.map_or_else(Vec::new, |record| {
            self.registrar.contacts(record, pass.now).map(|(binding, _)| binding.clone()).collect()
        });
        if bindings.is_empty() {
            return pass.tell(Notice::Failed { leg: invite.leg, status: 480, q850: None });
        }
        let (tag, call_id) = (self.marks.tag(), self.marks.call_id());
        let until = pass.now.mono + invite.ring_max;
        let calling = Calling { branches: Vec::new(), best: None, given_up: None, until };
        let key = self.add(Leg::new(invite.leg, tag.clone(), State::Calling(calling)));
        for binding in bindings {
            let branch = self.marks.branch();
            let bytes = self.compose(&invite, &binding, (&tag, &call_id, &branch));
            let request = (Method::Invite, &*branch);
            let purpose = Purpose::Invite(key);
            let client = self.clients.open(&mut self.alarms, pass, binding.flow, request, bytes, purpose);
            if let State::Calling(calling) = &mut self.legs[key].state {
                calling.branches.push(client);
            }
        }
        self.set(key, LegTimer::Life, until);
    }

    fn compose(&self, invite: &Invite, binding: &Binding, (tag, call_id, branch): (&str, &str, &str)) -> Bytes {
        let uri = Uri::parse(binding.uri.as_bytes()).expect("only URIs are registered");
        let mut writer = Writer::request(Method::Invite, &uri);
        writer.line(Name::Via, format_args!("{}", via(&self.settings, binding.flow, branch)));
        writer.header(Name::MaxForwards, "70");
        if invite.caller.is_empty() {
            writer.address(Name::From, b"Anonymous", ANONYMOUS, Some(tag));
            writer.header(Name::Privacy, "id");
        } else {
            let uri = format!("sip:{}@{}", User(&invite.caller), invite.domain);
            writer.address(Name::From, invite.caller_name.as_bytes(), &uri, Some(tag));
            writer.address(Name::PAssertedIdentity, invite.caller_name.as_bytes(), &uri, None);
        }
        let to = format!("sip:{}@{}", User(&invite.user), invite.domain);
        writer.address(Name::To, b"", to, None);
        writer.header(Name::CallId, call_id);
        writer.header(Name::CSeq, "1 INVITE");
        self.contact(&mut writer, binding.flow);
        writer.header(Name::Allow, ALLOW);
        for (name, value) in &invite.headers {
            // A name that is none is left out: the rest of the call matters more.
            let _ = writer.other(name, value.as_bytes());
        }
        writer.body(SDP, &invite.sdp)
    }

    /// A response to one branch, or none in time.
    pub(super) fn branch_told(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: Option<&Message>) {
        let Some(response) = response else {
            return self.branch_done(pass, key, client, 408, None);
        };
        match response.status().unwrap_or_default() {
            status @ 100..=199 => self.branch_proceeds(pass, key, client, status, response),
            200..=299 => self.branch_accepted(pass, key, client, response),
            status => self.branch_done(pass, key, client, status, response.reason_q850()),
        }
    }

    fn branch_proceeds(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, status: u16, response: &Message) {
        match self.clients.at(client).map(|client| client.cancel) {
            Some(Cancel::Wanted(why)) => self.clients.cancel(&mut self.alarms, pass, client, why),
            Some(Cancel::No) if status > 100 => {
                let Some(leg) = self.legs.get(key) else { return };
                pass.tell(Notice::Ringing { leg: leg.id, sdp: sdp(response).ok().flatten() });
            }
            Some(Cancel::No | Cancel::Sent) | None => {}
        }
    }

    /// A 2xx: the first of all branches wins; its repetitions are acknowledged again (§13.2.2.4); all others are
    /// acknowledged and hung up.
    fn branch_accepted(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) {
        let wins = self.legs.get(key).is_some_and(|leg| match &leg.state {
            State::Calling(calling) => calling.given_up.is_none() && calling.branches.contains(&client),
            State::Offered { .. } | State::Answered { .. } | State::Established { .. } | State::Ending { .. } => false,
        });
        let answer = sdp(response).ok().flatten();
        let dialog = self.clients.at(client).and_then(|it| Dialog::of_client(&it.message()?, response, it.flow).ok());
        match (wins, dialog, answer) {
            (true, Some(dialog), Some(answer)) => self.win(pass, key, client, dialog, answer),
            (true, ..) => {
                // An answer without a session is none.
                self.stray(pass, client, response);
                self.branch_done(pass, key, client, 488, None);
            }
            (false, ..) if self.acknowledge_again(pass, key, response) => {}
            (false, ..) => {
                self.stray(pass, client, response);
                self.branch_done(pass, key, client, 487, None);
            }
        }
    }

    fn win(&mut self, pass: &mut Pass, key: LegKey, winner: ClientKey, mut dialog: Dialog, answer: Bytes) {
        self.acknowledge(pass, &mut dialog);
        let leg = &mut self.legs[key];
        let state = State::Established { dialog, reoffer: Reoffer::Idle };
        let before = std::mem::replace(&mut leg.state, state);
        let id = leg.id;
        self.stop(key, LegTimer::Life);
        if let State::Calling(calling) = before {
            for client in calling.branches.into_iter().filter(|client| *client != winner) {
                self.clients.cancel(&mut self.alarms, pass, client, Reason::Elsewhere);
            }
        }
        pass.tell(Notice::Answered { leg: id, sdp: answer });
    }

    /// The ACK of a 2xx, end to end, without a transaction (§13.2.2.4).
    pub(super) fn acknowledge(&mut self, pass: &mut Pass, dialog: &mut Dialog) {
        dialog.acked = Some(dialog.local_cseq);
        self.send_ack(pass, dialog, dialog.local_cseq);
    }

    fn send_ack(&mut self, pass: &mut Pass, dialog: &Dialog, cseq: u32) {
        let branch = self.marks.branch();
        let ack = dialog.request(Method::Ack, cseq, &self.settings, &branch).finish();
        pass.send(dialog.next_flow(&self.settings), ack);
    }

    /// Whether a 2xx is a repetition in the leg's dialog; it has its ACK again then.
    pub(super) fn acknowledge_again(&mut self, pass: &mut Pass, key: LegKey, response: &Message) -> bool {
        let cseq = response.cseq().number;
        let dialog = self.legs.get(key).and_then(Leg::dialog).cloned();
        match dialog.filter(|dialog| dialog.owns_response(response) && dialog.acked == Some(cseq)) {
            Some(dialog) => {
                self.send_ack(pass, &dialog, cseq);
                true
            }
            None => false,
        }
    }

    /// A 2xx that nobody wants: ACK, and at its first coming BYE.
    pub(super) fn stray(&mut self, pass: &mut Pass, client: ClientKey, response: &Message) {
        let Some(it) = self.clients.at_mut(client) else { return };
        let dialog = it.message().map(|invite| Dialog::of_client(&invite, response, it.flow));
        let Some(Ok(mut dialog)) = dialog else {
            return;
        };
        let tag = response.to().tag().unwrap_or_default();
        let known = it.strays.iter().any(|stray| **stray == *tag);
        if !known {
            it.strays.push(tag.into());
        }
        self.acknowledge(pass, &mut dialog);
        if !known {
            dialog.local_cseq += 1;
            self.send_bye(pass, &dialog, Reason::None, Purpose::Nobody);
        }
    }

    /// Sends a BYE under the dialog's present CSeq.
    pub(super) fn send_bye(&mut self, pass: &mut Pass, dialog: &Dialog, why: Reason, purpose: Purpose) {
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Bye, dialog.local_cseq, &self.settings, &branch);
        why.write(&mut writer);
        let flow = dialog.next_flow(&self.settings);
        self.clients.open(&mut self.alarms, pass, flow, (Method::Bye, &branch), writer.finish(), purpose);
    }

    /// A branch has its final answer. The leg fails with the best when it was the last (§16.7).
    fn branch_done(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, status: u16, q850: Option<u8>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let State::Calling(calling) = &mut leg.state else {
            return;
        };
        calling.branches.retain(|branch| *branch != client);
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
