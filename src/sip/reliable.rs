//! Reliable provisional responses (RFC 3262), as server (§3) and as client (§4).
//!
//! Owns RSeq and what waits for a PRACK. A description that went out reliably is not sent again (§5).

use super::client::{ClientKey, Purpose, Reason};
use super::dialog::Dialog;
use super::event::{Ending, Notice};
use super::leg::{EARLY_MAX, Early, LegKey, LegTimer, State};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::screen::{SDP, sdp};
use super::server::ServerKey;
use super::timers::T1;
use super::ua::{Pass, Ua};
use crate::base::map::keyed_hash;
use bytes::Bytes;
use std::collections::VecDeque;

/// The option tag.
pub(super) const TAG: &str = "100rel";
/// Responses that wait for an earlier one's PRACK; the oldest provisional one is given up for a newer.
const WAITING_MAX: usize = 8;
/// Where RSeq begins at most (§3).
const RSEQ_FIRST_MAX: u64 = 1 << 31;
/// Repeats double from T1 until 64×T1 are over (§3): there are so many, the last one T1 before the end.
const REPEATS_MAX: u32 = 6;

/// Reliable provisional responses of one INVITE of theirs.
#[derive(Debug)]
pub(super) struct Reliable {
    /// RSeq of the last one.
    rseq: u32,
    /// The last one, until its PRACK comes.
    unproved: Option<Unproved>,
    /// What is sent next: a status and its description. A 2xx is the last.
    waiting: VecDeque<(u16, Option<Bytes>)>,
    /// Whether a description went out.
    described: bool,
}

#[derive(Debug)]
struct Unproved {
    bytes: Bytes,
    repeats: u32,
    has_sdp: bool,
}

impl Reliable {
    /// For an INVITE whose responses are to be reliable.
    pub(super) fn new(seed: [u64; 2], tag: &str) -> Reliable {
        let rseq = keyed_hash(seed, tag.as_bytes()) % (RSEQ_FIRST_MAX - 1);
        let rseq = u32::try_from(rseq).expect("below 2^31");
        Reliable { rseq, unproved: None, waiting: VecDeque::new(), described: false }
    }

    /// Whether a response has to wait: a provisional one for the PRACK of the last (§3), a 2xx for that of a description.
    pub(super) fn holds(&self, status: u16) -> bool {
        self.unproved.as_ref().is_some_and(|it| status < 200 || it.has_sdp)
    }

    /// Keeps a response until it may go.
    pub(super) fn keep(&mut self, status: u16, sdp: Option<Bytes>) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((status, sdp));
    }

    /// Whether a description is still to be told: it went out once at most.
    pub(super) fn describes(&self) -> bool {
        !self.described
    }

    /// RSeq of the one that still waits for its PRACK.
    pub(super) fn unproved(&self) -> Option<u32> {
        self.unproved.as_ref().map(|_| self.rseq)
    }
}

/// As server.
impl Ua {
    /// Sends a provisional response reliably; the last one's PRACK came.
    pub(super) fn progress_reliably(&mut self, pass: &mut Pass, key: LegKey, status: u16, sdp: Option<Bytes>) {
        let State::Offered(offered) = &mut self.legs[key].state else { return };
        let Some(reliable) = &mut offered.reliable else { return };
        let server = offered.server;
        let sdp = sdp.filter(|_| reliable.describes());
        reliable.rseq += 1;
        reliable.described |= sdp.is_some();
        let rseq = reliable.rseq;
        let mut writer = self.begin_reply(server, status);
        writer.header(Name::Require, TAG);
        writer.line(Name::RSeq, format_args!("{rseq}"));
        let bytes = match &sdp {
            Some(sdp) => writer.body(SDP, sdp),
            None => writer.finish(),
        };
        self.servers.send(&mut self.alarms, pass, server, status, bytes.clone());
        if let State::Offered(offered) = &mut self.legs[key].state {
            (offered.last, offered.sdp) = (status, None);
            if let Some(reliable) = &mut offered.reliable {
                reliable.unproved = Some(Unproved { bytes, repeats: 0, has_sdp: sdp.is_some() });
            }
        }
        self.set(key, LegTimer::Repeat, pass.now.mono + T1);
    }

    /// Time to repeat the last reliable response: T1, doubling; after 64×T1 the INVITE is refused (§3).
    pub(super) fn reliable_rang(&mut self, pass: &mut Pass, key: LegKey) {
        let State::Offered(offered) = &mut self.legs[key].state else { return };
        let server = offered.server;
        let Some(unproved) = offered.reliable.as_mut().and_then(|reliable| reliable.unproved.as_mut()) else {
            return;
        };
        unproved.repeats += 1;
        let repeats = unproved.repeats;
        if repeats > REPEATS_MAX {
            self.refuse_invite(pass, server, 504, Reason::None);
            return self.end(pass, key, Ending::NoAck);
        }
        let (bytes, flow) = (unproved.bytes.clone(), self.servers.at(server).map(|server| server.flow));
        if let Some(flow) = flow {
            pass.send(flow, bytes);
        }
        let after = if repeats == REPEATS_MAX { T1 } else { T1 * (1 << repeats) };
        self.set(key, LegTimer::Repeat, pass.now.mono + after);
    }

    /// Their PRACK (§3). One that proves nothing that waits has 481.
    pub(super) fn pracked(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, request: &Message) {
        let Some(rack) = request.rack() else { return self.answer(pass, key, 400, |_| {}) };
        let late = self.legs[leg].proved_late(rack);
        let id = self.legs[leg].id;
        let State::Offered(offered) = &mut self.legs[leg].state else {
            return self.answer(pass, key, if late { 200 } else { 481 }, |_| {});
        };
        let invite = self.servers.at(offered.server).map(|server| server.request.cseq());
        let Some(reliable) = offered
            .reliable
            .as_mut()
            .filter(|reliable| reliable.unproved() == Some(rack.rseq) && invite == Some(rack.cseq))
        else {
            return self.answer(pass, key, 481, |_| {});
        };
        let Ok(body) = sdp(request) else {
            return self.answer(pass, key, 415, |writer| {
                writer.header(Name::Accept, SDP);
            });
        };
        let ours = reliable.unproved.take().is_some_and(|it| it.has_sdp) && !offered.has_offer;
        let agreed = offered.has_offer && reliable.described;
        match body {
            Some(sdp) if ours => {
                offered.has_offer = true;
                self.answer(pass, key, 200, |_| {});
                pass.tell(Notice::EarlyAnswer { leg: id, sdp });
            }
            // A new offer, once the first has its answer (§5): the call answers in the 200.
            Some(sdp) if agreed && offered.asked.is_none() => {
                offered.asked = Some(key);
                self.ask_call(pass, key, leg, sdp);
            }
            Some(_) | None => self.answer(pass, key, 200, |_| {}),
        }
        self.stop(leg, LegTimer::Repeat);
        self.go_on(pass, leg);
    }

    /// Sends what waited for a PRACK.
    fn go_on(&mut self, pass: &mut Pass, key: LegKey) {
        let Some(State::Offered(offered)) = self.legs.get_mut(key).map(|leg| &mut leg.state) else { return };
        let waiting = offered.reliable.as_mut().and_then(|reliable| reliable.waiting.pop_front());
        match waiting {
            Some((status, sdp)) => self.respond(pass, key, status, sdp),
            None => self.set(key, LegTimer::Repeat, pass.now.mono + super::leg::PROVISIONAL_EVERY),
        }
    }
}

/// As client.
impl Ua {
    /// A provisional response in an early dialog. Returns false for one that is to be ignored: a repeated reliable one, or
    /// one that came before its predecessor (§4).
    pub(super) fn early(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) -> bool {
        let Some(tag) = response.to().tag() else { return true };
        let invite = self.clients.at(client).and_then(|client| Some((client.message()?, client.home())));
        let Some(State::Calling(calling)) = self.legs.get_mut(key).map(|leg| &mut leg.state) else { return true };
        let place = calling.early.iter().position(|it| it.client == client && *it.dialog.remote.tag.as_bytes() == *tag);
        if response.status() == Some(199) {
            // RFC 6228: this early dialog is over.
            place.map(|place| calling.early.remove(place));
            return false;
        }
        let place = match place {
            Some(place) => place,
            None if calling.early.len() >= EARLY_MAX => return true,
            None => {
                let dialog = invite.and_then(|(invite, flow)| Dialog::of_client(&invite, response, flow).ok());
                let Some(mut dialog) = dialog else { return true };
                dialog.trunk = calling.trunk.is_some();
                calling.early.push(Early { client, dialog, rseq: None, sdp: None, agreed: false });
                calling.early.len() - 1
            }
        };
        let early = &mut calling.early[place];
        let rseq = response.number(Name::RSeq).filter(|_| response.lists(Name::Require, TAG));
        if let (Some(rseq), Some(last)) = (rseq, early.rseq)
            && rseq != last.wrapping_add(1)
        {
            return false;
        }
        if let Some(sdp) = sdp(response).ok().flatten() {
            early.sdp = Some(sdp);
            early.agreed |= rseq.is_some();
        }
        if let Some(rseq) = rseq {
            early.rseq = Some(rseq);
            early.dialog.refresh(response);
            early.dialog.local_cseq += 1;
            let dialog = early.dialog.clone();
            self.prack(pass, key, &dialog, rseq, response);
        }
        true
    }

    fn prack(&mut self, pass: &mut Pass, key: LegKey, dialog: &Dialog, rseq: u32, response: &Message) {
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Prack, dialog.local_cseq, &self.settings, &branch);
        writer.line(Name::RAck, format_args!("{rseq} {} INVITE", response.cseq().number));
        let flow = dialog.next_flow(&self.settings);
        let method = (Method::Prack, &*branch);
        self.open(pass, flow, method, writer.finish(), Purpose::Prack(key));
    }
}
