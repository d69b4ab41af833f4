//! INVITE as a server (RFC 3261 §13.3, §9.2): a leg from its offer to its ACK, its refusal or its CANCEL.

use super::about::about;
use super::client::Reason;
use super::dialog::{Dialog, NoDialog, text};
use super::event::{Ending, Flow, Incoming, Notice, Provisionals, Source};
use super::leg::{ANSWER_MAX, Answer, Leg, LegKey, LegTimer, Offered, PROVISIONAL_EVERY, Reoffer, State};
use super::message::{Message, RAck};
use super::method::Method;
use super::name::Name;
use super::reliable::{Reliable, TAG};
use super::screen::{SDP, abilities, capabilities, sdp};
use super::server::ServerKey;
use super::server_txn;
use super::session_timer::{answered, write_answer};
use super::timers::{T1, T1_64};
use super::ua::{Pass, Ua};
use super::uri::{Scheme, Uri};
use super::write::Writer;
use crate::base::LegId;
use bytes::Bytes;
use core::time::Duration;

/// What a refusal says beside its status.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    Nothing,
    /// Come again in so many seconds: only when the node drains, for a client must leave the whole server alone meanwhile.
    Later(u32),
    /// For whoever sits before the phone (§20.43).
    Why(&'a str),
}

impl Said<'_> {
    pub(super) fn later(seconds: Option<u32>) -> Said<'static> {
        seconds.map_or(Said::Nothing, Said::Later)
    }

    pub(super) fn write(self, writer: &mut Writer) {
        match self {
            Said::Nothing => {}
            Said::Later(seconds) => _ = writer.line(Name::RetryAfter, format_args!("{seconds}")),
            Said::Why(why) => _ = writer.line(Name::Warning, format_args!("399 sip \"{why}\"")),
        }
    }
}

impl Ua {
    /// An INVITE outside dialogs.
    pub(super) fn invited(&mut self, pass: &mut Pass, key: ServerKey, flow: Flow) {
        let Some(source) = self.source(pass, key, flow) else {
            return;
        };
        if self.legs.len() >= self.settings.limits.legs_max {
            // Without Retry-After, which would make a client leave the whole server alone (§21.5.4).
            return self.answer(pass, key, 503, |_| {});
        }
        let request = self.asked(key);
        let Ok(offer) = sdp(&request) else {
            return self.answer(pass, key, 415, |writer| {
                writer.header(Name::Accept, SDP);
            });
        };
        if let Err(small) = answered(&request, &self.settings.session, None) {
            return self.too_small(pass, key, small);
        }
        let replaces = match self.replaced(&request, &source) {
            Ok(replaces) => replaces,
            Err(status) => return self.answer(pass, key, status, |_| {}),
        };
        let tag = self.servers.at(key).map(|server| server.tag.clone()).unwrap_or_default();
        let trunk = matches!(source, Source::Trunk(_));
        let dialog = match Dialog::of_server(&request, tag.clone(), flow, trunk) {
            Ok(dialog) => dialog,
            Err(NoDialog(name)) => {
                return self.answer(pass, key, 400, |writer| {
                    writer.line(Name::Warning, format_args!("399 sip \"unreadable {name}\""));
                });
            }
        };
        self.answer(pass, key, 100, |_| {});
        let id = LegId::incoming(self.shard, self.incoming);
        self.incoming += 1;
        let (caller, caller_name) = self.caller(&request, &source);
        let mut about = about(&request, &caller_name);
        about.emergency &= self.trusts(&source);
        about.replaces = replaces;
        let reliable = self.wants_reliable(&request, &source).then(|| Reliable::new(self.seed, &tag));
        let notice = Incoming {
            leg: id,
            source,
            call_id: dialog.call_id.clone(),
            dialled: request.request_uri().map_or_else(|| "".into(), |uri| number(&uri)),
            caller,
            caller_name,
            sdp: offer.clone(),
            flow,
            about,
        };
        self.offered(pass, key, &request, Leg::new(id, tag, offered(dialog, key, offer.is_some(), reliable)));
        pass.tell(Notice::Incoming(Box::new(notice)));
    }

    /// The leg of a new INVITE, which is good for as long as its Expires says (§13.3.1).
    fn offered(&mut self, pass: &Pass, key: ServerKey, request: &Message, leg: Leg) {
        let expires = request.expires_s().filter(|seconds| *seconds > 0).map(|it| Duration::from_secs(u64::from(it)));
        let leg = self.add(leg);
        self.legs[leg].learn(request);
        if let Some(server) = self.servers.at_mut(key) {
            server.leg = Some(leg);
        }
        if let (Some(expires), State::Offered(offered)) = (expires, &mut self.legs[leg].state)
            && expires < ANSWER_MAX
        {
            offered.late = 487;
        }
        let lasts = expires.map_or(ANSWER_MAX, |expires| expires.min(ANSWER_MAX));
        self.set(leg, LegTimer::Life, pass.now.mono + lasts);
    }

    /// Whether provisional responses are to be reliable (RFC 3262 §3): because they must, or may and we like to.
    fn wants_reliable(&self, request: &Message, source: &Source) -> bool {
        let liked = match source {
            Source::Trunk(name) => {
                let trunk = self.settings.trunks.iter().find(|trunk| trunk.name == *name);
                trunk.is_some_and(|trunk| trunk.provisionals == Provisionals::Supported)
            }
            Source::Phone { .. } => false,
        };
        request.lists(Name::Require, TAG) || (liked && request.lists(Name::Supported, TAG))
    }

    /// Whether what it says of others is believed (the trust domain of RFC 3325 §2.3).
    fn trusts(&self, source: &Source) -> bool {
        match source {
            Source::Trunk(name) => {
                self.settings.trunks.iter().any(|trunk| trunk.name == *name && trunk.trusts_identity)
            }
            Source::Phone { .. } => false,
        }
    }

    /// P-Asserted-Identity of those trusted with it (RFC 3325 §5), else From; nothing when withheld (RFC 3323 §4.2).
    fn caller(&self, request: &Message, source: &Source) -> (Box<str>, Bytes) {
        let asserted = request.asserted_identities().flatten().next().filter(|_| self.trusts(source));
        let address = asserted.unwrap_or_else(|| request.from());
        let anonymous = address.uri.as_bytes().eq_ignore_ascii_case(b"sip:anonymous@anonymous.invalid");
        if anonymous || request.wants_privacy("id") || request.wants_privacy("user") {
            return ("".into(), Bytes::new());
        }
        (number(&address.uri), Bytes::from(address.display_name().into_owned()))
    }

    /// The call's answer to an INVITE; it waits while an earlier response waits for its PRACK (RFC 3262 §3).
    pub(super) fn respond(&mut self, pass: &mut Pass, key: LegKey, status: u16, sdp: Option<Bytes>) {
        let State::Offered(offered) = &mut self.legs[key].state else { return };
        let server = offered.server;
        match &mut offered.reliable {
            Some(reliable) if reliable.holds(status) => reliable.keep(status, sdp),
            Some(_) if status < 200 => self.progress_reliably(pass, key, status, sdp),
            Some(reliable) => {
                let sdp = sdp.filter(|_| reliable.describes());
                self.accept(pass, key, server, status, sdp);
            }
            None if status < 200 => self.progress(pass, key, server, status, sdp),
            None => self.accept(pass, key, server, status, sdp),
        }
    }

    /// The call refuses.
    pub(super) fn refuse(&mut self, pass: &mut Pass, key: LegKey, status: u16, q850: Option<u8>, said: Said<'_>) {
        let State::Offered(offered) = &self.legs[key].state else { return };
        let server = offered.server;
        if self.servers.at(server).is_some() {
            self.answer(pass, server, status, |writer| {
                Reason::from(q850).write(writer);
                said.write(writer);
            });
        }
        self.end(pass, key, Ending::Ours);
    }

    fn progress(&mut self, pass: &mut Pass, key: LegKey, server: ServerKey, status: u16, sdp: Option<Bytes>) {
        let mut writer = self.begin_reply(server, status);
        abilities(&mut writer);
        let bytes = with_body(writer, sdp.as_ref());
        self.servers.send(&mut self.alarms, pass, server, status, bytes);
        if let State::Offered(offered) = &mut self.legs[key].state {
            (offered.last, offered.sdp) = (status, sdp);
        }
        self.set(key, LegTimer::Repeat, pass.now.mono + PROVISIONAL_EVERY);
    }

    fn accept(&mut self, pass: &mut Pass, key: LegKey, server: ServerKey, status: u16, sdp: Option<Bytes>) {
        let invite = self.servers.at(server).map(|server| server.request.cseq());
        let leg = &mut self.legs[key];
        if let State::Offered(offered) = &mut leg.state {
            let rseq = offered.reliable.as_ref().and_then(Reliable::unproved);
            leg.late = rseq.zip(invite).map(|(rseq, cseq)| RAck { rseq, cseq });
            let asked = offered.asked.take();
            leg.state = State::Answered { dialog: offered.dialog.clone(), has_offer: offered.has_offer, hang_up: None };
            // Its offer comes too late for the early session.
            asked.into_iter().for_each(|asked| self.refuse_invite(pass, asked, 491, Reason::None));
        }
        self.answer_ok(pass, key, server, status, sdp);
    }

    /// Sends a 2xx to an INVITE or re-INVITE and repeats it until the ACK comes (§13.3.1.4).
    pub(super) fn answer_ok(
        &mut self,
        pass: &mut Pass,
        key: LegKey,
        server: ServerKey,
        status: u16,
        sdp: Option<Bytes>,
    ) {
        let Some((request, flow)) = self.servers.at(server).map(|it| (it.request.clone(), it.flow)) else { return };
        // What would have been refused was refused when it came.
        let timer = answered(&request, &self.settings.session, self.legs[key].session).unwrap_or_default();
        let mut writer = self.begin_reply(server, status);
        capabilities(&mut writer);
        if let Some(timer) = timer {
            write_answer(&mut writer, &request, timer);
        }
        let bytes = with_body(writer, sdp.as_ref());
        self.servers.send(&mut self.alarms, pass, server, status, bytes.clone());
        self.legs[key].answer = Some(Answer { bytes, flow, cseq: request.cseq().number, repeats: 0 });
        self.wind(pass, key, timer);
        self.set(key, LegTimer::Repeat, pass.now.mono + T1);
        self.set(key, LegTimer::Life, pass.now.mono + T1_64);
    }

    /// Begins a response that makes or refreshes the dialog: with our Contact.
    pub(super) fn begin_reply(&self, server: ServerKey, status: u16) -> Writer {
        let mut writer = self.servers.reply(server, status);
        let it = self.servers.at(server).expect("it is being answered");
        let secure = it.request.request_uri().is_some_and(|uri| uri.scheme == Scheme::Sips);
        self.contact(&mut writer, it.flow, secure);
        writer
    }

    /// Our Contact on a flow; `secure` where the other side spoke of us as `sips` (RFC 3261 §12.1.1).
    pub(super) fn contact(&self, writer: &mut Writer, flow: Flow, secure: bool) {
        writer.line(Name::Contact, format_args!("<{}>", self.settings.contact(flow, secure)));
    }

    /// An ACK of a 2xx came (§13.3.1.4). Late and repeated ones are absorbed.
    pub(super) fn acknowledged(&mut self, pass: &mut Pass, ack: &Message) {
        let Some(key) = self.leg_of(ack) else { return };
        let leg = &mut self.legs[key];
        if leg.answer.as_ref().is_none_or(|answer| answer.cseq != ack.cseq().number) {
            return;
        }
        let (has_offer, initial, hang_up) = match &mut leg.state {
            State::Answered { dialog, has_offer, hang_up } => {
                let (has_offer, hang_up) = (*has_offer, *hang_up);
                leg.state = State::Established { dialog: dialog.clone(), reoffer: Reoffer::Idle };
                (has_offer, true, hang_up)
            }
            State::Established { reoffer, .. } => match *reoffer {
                Reoffer::Accepting { has_offer } => {
                    *reoffer = Reoffer::Idle;
                    (has_offer, false, None)
                }
                Reoffer::Idle | Reoffer::Asked { .. } | Reoffer::Asking { .. } => return,
            },
            State::Offered(_) | State::Calling(_) | State::Ending { .. } => return,
        };
        let id = self.repeats_no_more(key);
        if initial || !has_offer {
            let answer = sdp(ack).ok().flatten().filter(|_| !has_offer);
            pass.tell(Notice::Acknowledged { leg: id, sdp: answer });
        }
        if hang_up.is_some() {
            self.bye(pass, key, Ending::Ours, hang_up.into());
        }
    }

    /// A re-INVITE proves that our 2xx came, for nobody may send one before (§14.1). If nothing is owed of that offer and
    /// answer, the ACK, lost or late, is waited for no longer (RFC 5407 §3.1.4).
    pub(super) fn accepted_unseen(&mut self, pass: &mut Pass, key: LegKey) {
        let leg = &mut self.legs[key];
        let initial = match &mut leg.state {
            State::Answered { dialog, has_offer: true, hang_up: None } => {
                leg.state = State::Established { dialog: dialog.clone(), reoffer: Reoffer::Idle };
                true
            }
            State::Established { reoffer: reoffer @ Reoffer::Accepting { has_offer: true }, .. } => {
                *reoffer = Reoffer::Idle;
                false
            }
            State::Answered { .. }
            | State::Established { .. }
            | State::Offered(_)
            | State::Calling(_)
            | State::Ending { .. } => return,
        };
        let id = self.repeats_no_more(key);
        if initial {
            pass.tell(Notice::Acknowledged { leg: id, sdp: None });
        }
    }

    /// The 2xx of this leg came to the other side. Returns whose it was.
    fn repeats_no_more(&mut self, key: LegKey) -> LegId {
        self.stop(key, LegTimer::Repeat);
        self.stop(key, LegTimer::Life);
        let leg = &mut self.legs[key];
        leg.answer = None;
        leg.id
    }

    /// A CANCEL (§9.2): answered itself, and its INVITE with 487 unless that was answered.
    pub(super) fn cancelled(&mut self, pass: &mut Pass, flow: Flow, request: Message) {
        let invite = self.servers.find(&request, Method::Invite);
        if invite.is_none() && self.servers.len() >= self.settings.limits.transactions_max {
            return;
        }
        let tag = match invite.and_then(|invite| self.servers.at(invite)) {
            Some(server) => server.tag.clone(),
            None => self.marks.tag(),
        };
        let key = self.servers.open(request, flow, tag);
        let Some(invite) = invite else {
            return self.answer(pass, key, 481, |_| {});
        };
        self.answer(pass, key, 200, |_| {});
        let Some(leg) =
            self.servers.at(invite).filter(|it| it.state == server_txn::State::Proceeding).and_then(|it| it.leg)
        else {
            return;
        };
        self.refuse_invite(pass, invite, 487, Reason::None);
        let Some(state) = self.legs.get_mut(leg).map(|leg| &mut leg.state) else {
            return;
        };
        match state {
            State::Offered(_) => {
                let id = self.legs[leg].id;
                pass.tell(Notice::Cancelled { leg: id });
                self.end(pass, leg, Ending::Cancel);
            }
            State::Established { reoffer, .. } => {
                *reoffer = Reoffer::Idle;
                self.stop(leg, LegTimer::Life);
            }
            State::Answered { .. } | State::Calling(_) | State::Ending { .. } => {}
        }
    }

    /// Time to repeat a provisional response or a 2xx.
    pub(super) fn repeat_rang(&mut self, pass: &mut Pass, key: LegKey) {
        let leg = &mut self.legs[key];
        match &leg.state {
            State::Offered(offered) => {
                let (server, last, sdp) = (offered.server, offered.last, offered.sdp.clone());
                match &offered.reliable {
                    Some(reliable) if reliable.unproved().is_some() => self.reliable_rang(pass, key),
                    Some(_) => self.progress_reliably(pass, key, last, None),
                    None => self.progress(pass, key, server, last, sdp),
                }
            }
            State::Answered { .. } | State::Established { .. } => {
                let Some(answer) = &mut leg.answer else { return };
                pass.send(answer.flow, answer.bytes.clone());
                answer.repeats += 1;
                let after = super::timers::Timer::G.lasts(answer.repeats, false);
                self.set(key, LegTimer::Repeat, pass.now.mono + after);
            }
            State::Calling(_) | State::Ending { .. } => {}
        }
    }
}

fn offered(dialog: Dialog, server: ServerKey, has_offer: bool, reliable: Option<Reliable>) -> State {
    State::Offered(Box::new(Offered {
        dialog,
        server,
        has_offer,
        last: 100,
        sdp: None,
        reliable,
        asked: None,
        late: 480,
    }))
}

fn with_body(writer: Writer, sdp: Option<&Bytes>) -> Bytes {
    match sdp {
        Some(sdp) => writer.body(SDP, sdp),
        None => writer.finish(),
    }
}

/// What a URI dials: a telephone number without separators, a service (`urn:service:sos`), else its user part without
/// escapes.
pub(super) fn number(uri: &Uri<'_>) -> Box<str> {
    if let Some(service) = uri.service() {
        return format!("urn:service:{service}").into();
    }
    match uri.phone() {
        Some(phone) => phone.digits.into(),
        None => text(uri.user_text().as_bytes()).unwrap_or_default(),
    }
}
