//! Inside a dialog (RFC 3261 §12.2, §14, §15): BYE and re-INVITE in both directions, glare, hanging up, and the end.

use super::client::{ClientKey, Purpose, Reason, Told};
use super::dialog::Dialog;
use super::event::{Ending, Flow, Notice};
use super::leg::{Leg, LegKey, LegTimer, REOFFER_MAX, REOFFER_TRIES, Reoffer, State, Wanted};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::screen::{ALLOW, SDP, abilities, capabilities, host, sdp};
use super::server::ServerKey;
use super::session_timer::{TooSmall, agreed, answered, write_request};
use super::ua::{Pass, Ua};
use crate::base::map::keyed_hash;
use bytes::Bytes;
use core::time::Duration;

/// Q.850: recovery on timer expiry.
pub(super) const TIMER_EXPIRED: u8 = 102;
/// A page whose connection ends within this time after its BYE did not mean to hang up.
const PAGE_STAYS: Duration = Duration::from_secs(2);
/// Longest time, in seconds, after which who came while another was being answered may come again (§14.2).
const RETRY_AFTER_S_MAX: u64 = 10;

impl Ua {
    /// A request inside a dialog.
    pub(super) fn inside(&mut self, pass: &mut Pass, key: ServerKey, flow: Flow) {
        let request = self.asked(key);
        let Some(leg) = self.leg_of(&request) else {
            // §12.2.2: no such dialog.
            return self.answer(pass, key, 481, |_| {});
        };
        let cseq = request.cseq();
        if matches!(self.legs[leg].state, State::Ending { .. }) && cseq.method != Method::Bye {
            // With our BYE the dialog was over for all but theirs (§15.1.1, RFC 5407 §3.2).
            return self.answer(pass, key, 481, |_| {});
        }
        let dialog = self.legs[leg].dialog_of(&request).expect("found by its dialog");
        if dialog.remote_cseq.is_some_and(|last| cseq.number <= last) {
            // §12.2.2: out of order.
            return self.answer(pass, key, 500, |_| {});
        }
        dialog.remote_cseq = Some(cseq.number);
        match cseq.method {
            Method::Bye => self.bye_received(pass, key, leg, &request),
            Method::Invite => self.reinvited(pass, key, (leg, flow), &request),
            Method::Options => self.answer(pass, key, 200, capabilities),
            Method::Prack => self.pracked(pass, key, leg, &request),
            Method::Update => self.updated(pass, key, (leg, flow), &request),
            Method::Info => self.informed(pass, key, leg, &request),
            Method::Refer => self.referred(pass, key, leg, &request),
            _ => self.answer(pass, key, 405, |writer| {
                writer.header(Name::Allow, ALLOW);
            }),
        }
    }

    /// Their BYE (§15.1.2): whatever is unanswered is answered with 487.
    fn bye_received(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, request: &Message) {
        self.answer(pass, key, 200, |_| {});
        match &self.legs[leg].state {
            State::Offered(offered) => {
                let server = offered.server;
                self.refuse_invite(pass, server, 487, Reason::None);
            }
            State::Established { dialog, .. } => {
                let of_page = self.settings.transport(dialog.flow).is_web_socket() && !dialog.trunk;
                if of_page && request.header(Name::Reason).is_none() {
                    return self.left(pass, leg);
                }
                self.drop_reoffer(pass, leg);
            }
            State::Answered { .. } => {}
            // The BYEs crossed: the answer to ours ends the leg. An early dialog of ours they may not end so (§15).
            State::Ending { .. } | State::Calling(_) => return,
        }
        self.end(pass, leg, Ending::Bye { q850: request.reason_q850() });
    }

    /// A page's BYE that gives no Reason. A browser sends one also for a page that is closed or loaded anew, which is no
    /// wish to hang up: its connection ends soon after ([`Ua::closed`](super::ua::Ua), RFC 7118 knows no other sign).
    fn left(&mut self, pass: &mut Pass, key: LegKey) {
        self.drop_reoffer(pass, key);
        self.abandon(pass, key);
        for timer in LegTimer::ALL {
            self.stop(key, timer);
        }
        let leg = &mut self.legs[key];
        (leg.answer, leg.wanted) = (None, None);
        if let Some(dialog) = leg.dialog().cloned() {
            leg.state = State::Ending { dialog, why: Ending::Bye { q850: None } };
            self.set(key, LegTimer::Life, pass.now.mono + PAGE_STAYS);
        }
    }

    /// The connection of a page is gone: whoever had just left by a BYE did not mean to hang up.
    pub(super) fn pages_gone(&mut self, pass: &mut Pass, flow: Flow) {
        let left = |leg: &Leg| match &leg.state {
            State::Ending { dialog, why: Ending::Bye { .. } } => dialog.flow == flow && leg.life.is_some(),
            State::Ending { .. }
            | State::Offered(_)
            | State::Answered { .. }
            | State::Calling(_)
            | State::Established { .. } => false,
        };
        let gone: Vec<LegKey> = self.legs.iter().filter(|(_, leg)| left(leg)).map(|(key, _)| key).collect();
        for key in gone {
            self.end(pass, key, Ending::Lost);
        }
    }

    /// A re-INVITE must not outlive its session: theirs has 487, ours is cancelled.
    fn drop_reoffer(&mut self, pass: &mut Pass, key: LegKey) {
        let State::Established { reoffer, .. } = &mut self.legs[key].state else {
            return;
        };
        match std::mem::replace(reoffer, Reoffer::Idle) {
            Reoffer::Asked { server, .. } => self.refuse_invite(pass, server, 487, Reason::None),
            Reoffer::Asking { client, .. } => self.clients.cancel(&mut self.alarms, pass, client, Reason::None),
            Reoffer::Idle | Reoffer::Accepting { .. } => {}
        }
    }

    /// The leg is over.
    pub(super) fn end(&mut self, pass: &mut Pass, key: LegKey, why: Ending) {
        self.abandon(pass, key);
        if let Some(leg) = self.remove(key) {
            pass.tell(Notice::Ended { leg: leg.id, why });
        }
    }

    /// Requests that wait for the call's answer do not outlive the leg.
    fn abandon(&mut self, pass: &mut Pass, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let mut unanswered: Vec<ServerKey> = leg.refers.iter().filter_map(super::refer::Refer::unanswered).collect();
        leg.refers.clear();
        if let State::Offered(offered) = &mut leg.state {
            unanswered.extend(offered.asked.take());
        }
        for server in unanswered {
            self.refuse_invite(pass, server, 481, Reason::None);
        }
    }

    /// Ends the leg in whatever state.
    pub(super) fn hang_up(&mut self, pass: &mut Pass, key: LegKey, why: Reason) {
        let is_bounded = self.legs[key].life.is_some();
        match &mut self.legs[key].state {
            State::Offered(offered) => {
                let server = offered.server;
                self.refuse_invite(pass, server, 480, why);
                self.end(pass, key, Ending::Ours);
            }
            // §15: no BYE before the ACK of our 2xx or its time-out.
            State::Answered { hang_up, .. } => *hang_up = Some(why.q850()),
            State::Calling(_) => self.give_up(pass, key, 487, why),
            State::Established { .. } => self.bye(pass, key, Ending::Ours, why),
            // A page that left is gone either way; the answer to a BYE of ours is still to come.
            State::Ending { .. } if is_bounded => self.end(pass, key, Ending::Ours),
            State::Ending { .. } => {}
        }
    }

    /// Sends BYE (§15.1.1); its answer, or none, ends the leg.
    pub(super) fn bye(&mut self, pass: &mut Pass, key: LegKey, why: Ending, reason: Reason) {
        self.drop_reoffer(pass, key);
        self.abandon(pass, key);
        for timer in LegTimer::ALL {
            self.stop(key, timer);
        }
        let leg = &mut self.legs[key];
        (leg.answer, leg.wanted) = (None, None);
        let Some(mut dialog) = leg.dialog().cloned() else {
            return;
        };
        dialog.local_cseq += 1;
        leg.state = State::Ending { dialog: dialog.clone(), why };
        self.send_bye(pass, &dialog, reason, Purpose::Bye(key));
    }

    /// The bound of a state was reached.
    pub(super) fn life_rang(&mut self, pass: &mut Pass, key: LegKey) {
        match &mut self.legs[key].state {
            State::Offered(offered) => {
                let (server, status) = (offered.server, offered.late);
                self.refuse_invite(pass, server, status, Reason::None);
                self.end(pass, key, Ending::Ours);
            }
            State::Answered { hang_up, .. } => {
                let q850 = *hang_up;
                self.bye(pass, key, q850.map_or(Ending::NoAck, |_| Ending::Ours), q850.into());
            }
            State::Calling(_) => self.give_up(pass, key, 408, Reason::None),
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => {}
                Reoffer::Asked { server, .. } => {
                    let server = *server;
                    *reoffer = Reoffer::Idle;
                    self.refuse_invite(pass, server, 500, Reason::None);
                }
                Reoffer::Accepting { .. } => self.bye(pass, key, Ending::NoAck, Reason::None),
                Reoffer::Asking { .. } => self.bye(pass, key, Ending::Lost, Reason::None),
            },
            // A page that stays: its user hung up.
            State::Ending { why, .. } => {
                let why = *why;
                self.end(pass, key, why);
            }
        }
    }

    /// Their re-INVITE (§14.2).
    fn reinvited(&mut self, pass: &mut Pass, key: ServerKey, (leg, flow): (LegKey, Flow), request: &Message) {
        self.accepted_unseen(pass, leg);
        match &self.legs[leg].state {
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => {}
                // Ours, or one in a 2xx of ours, has no answer yet (RFC 5407 §3.1.5).
                Reoffer::Asking { .. } | Reoffer::Accepting { .. } => return self.answer(pass, key, 491, |_| {}),
                Reoffer::Asked { .. } => return self.not_yet(pass, key),
            },
            State::Answered { has_offer: false, .. } => return self.answer(pass, key, 491, |_| {}),
            State::Offered(_) | State::Answered { has_offer: true, .. } => return self.not_yet(pass, key),
            State::Ending { .. } | State::Calling(_) => return self.answer(pass, key, 481, |_| {}),
        }
        let Ok(offer) = sdp(request) else {
            return self.answer(pass, key, 415, |writer| {
                writer.header(Name::Accept, SDP);
            });
        };
        if let Err(small) = answered(request, &self.settings.session, self.legs[leg].session) {
            return self.too_small(pass, key, small);
        }
        self.answer(pass, key, 100, |_| {});
        self.refreshed(pass, leg, flow, request);
        if let Some(server) = self.servers.at_mut(key) {
            server.leg = Some(leg);
        }
        let it = &mut self.legs[leg];
        let id = it.id;
        if let State::Established { reoffer, .. } = &mut it.state {
            *reoffer = Reoffer::Asked { server: key, has_offer: offer.is_some() };
        }
        self.set(leg, LegTimer::Life, pass.now.mono + REOFFER_MAX);
        pass.tell(Notice::Reoffered { leg: id, sdp: offer });
    }

    /// One offer at a time: come again in a while, everyone after another (§14.2, RFC 3311 §5.2).
    pub(super) fn not_yet(&mut self, pass: &mut Pass, key: ServerKey) {
        let word = format!("{key:?} {}", pass.now.mono.0);
        let seconds = keyed_hash(self.seed, word.as_bytes()) % (RETRY_AFTER_S_MAX + 1);
        self.answer(pass, key, 500, |writer| {
            writer.line(Name::RetryAfter, format_args!("{seconds}"));
        });
    }

    /// The session timer asked for is too short (RFC 4028 §6).
    pub(super) fn too_small(&mut self, pass: &mut Pass, key: ServerKey, small: TooSmall) {
        self.answer(pass, key, 422, |writer| {
            writer.line(Name::MinSe, format_args!("{}", small.min_se_s));
        });
    }

    /// The call's answer to their re-INVITE, UPDATE or PRACK.
    pub(super) fn answer_reoffer(&mut self, pass: &mut Pass, key: LegKey, answer: Result<Bytes, u16>) {
        let refused = |status| if (300..700).contains(&status) { status } else { 488 };
        let (server, has_offer) = match &mut self.legs[key].state {
            State::Offered(offered) => {
                let Some(server) = offered.asked.take() else { return };
                return match answer {
                    Ok(sdp) if self.servers.at(server).is_some() => self.answer_update(pass, server, key, Some(sdp)),
                    Ok(_) => {}
                    Err(status) => self.refuse_invite(pass, server, refused(status), Reason::None),
                };
            }
            State::Established { reoffer: Reoffer::Asked { server, has_offer }, .. } => (*server, *has_offer),
            State::Established {
                reoffer: Reoffer::Idle | Reoffer::Accepting { .. } | Reoffer::Asking { .. }, ..
            }
            | State::Answered { .. }
            | State::Calling(_)
            | State::Ending { .. } => return,
        };
        let invite = self.servers.at(server).map(|server| server.request.cseq().method) == Some(Method::Invite);
        let next = if answer.is_ok() && invite { Reoffer::Accepting { has_offer } } else { Reoffer::Idle };
        if let State::Established { reoffer, .. } = &mut self.legs[key].state {
            *reoffer = next;
        }
        match answer {
            Ok(sdp) if invite => self.answer_ok(pass, key, server, 200, Some(sdp)),
            Ok(sdp) => {
                self.stop(key, LegTimer::Life);
                if self.servers.at(server).is_some() {
                    self.answer_update(pass, server, key, Some(sdp));
                }
            }
            Err(status) => {
                self.stop(key, LegTimer::Life);
                self.refuse_invite(pass, server, refused(status), Reason::None);
            }
        }
    }

    /// A re-INVITE of ours, now or as soon as it may be.
    pub(super) fn reinvite(&mut self, pass: &mut Pass, key: LegKey, wanted: Wanted) {
        let leg = &mut self.legs[key];
        match &leg.state {
            State::Established { .. } | State::Answered { .. } => {
                leg.wanted = Some(wanted);
                self.again_rang(pass, key);
            }
            State::Offered(_) | State::Calling(_) | State::Ending { .. } => {}
        }
    }

    /// Tries the re-INVITE that waits.
    pub(super) fn again_rang(&mut self, pass: &mut Pass, key: LegKey) {
        let leg = &mut self.legs[key];
        match &leg.state {
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => {
                    if let Some(wanted) = leg.wanted.take() {
                        self.stop(key, LegTimer::Again);
                        self.send_reinvite(pass, key, wanted);
                    }
                }
                Reoffer::Asked { .. } | Reoffer::Accepting { .. } | Reoffer::Asking { .. } => self.wait(pass, key),
            },
            State::Answered { .. } => self.wait(pass, key),
            State::Offered(_) | State::Calling(_) | State::Ending { .. } => {}
        }
    }

    /// §14.1: 2.1–4 s for the owner of the Call-ID, 0–2 s for the other, in units of 10 ms.
    fn wait(&mut self, pass: &mut Pass, key: LegKey) {
        let leg = &self.legs[key];
        let Some(dialog) = leg.dialog() else { return };
        let word = format!("{} {}", leg.tag, pass.now.mono.0);
        let roll = keyed_hash(self.seed, word.as_bytes());
        let units = if dialog.ours { 210 + roll % 191 } else { roll % 201 };
        self.set(key, LegTimer::Again, pass.now.mono + Duration::from_millis(10 * units));
    }

    fn send_reinvite(&mut self, pass: &mut Pass, key: LegKey, wanted: Wanted) {
        let Some(dialog) = self.legs[key].dialog_mut() else {
            return;
        };
        dialog.local_cseq += 1;
        let dialog = dialog.clone();
        let branch = self.marks.branch();
        let mut writer = dialog.request(Method::Invite, dialog.local_cseq, &self.settings, &branch);
        self.contact(&mut writer, dialog.flow, dialog.is_secure());
        abilities(&mut writer);
        write_request(&mut writer, &self.settings.session, self.legs[key].session);
        let bytes = writer.body(SDP, &wanted.sdp);
        let flow = dialog.next_flow(&self.settings);
        let purpose = Purpose::Reinvite(key);
        let client = self.open(pass, flow, (Method::Invite, &branch), bytes, purpose);
        self.legs[key].state = State::Established { dialog, reoffer: Reoffer::Asking { client, wanted } };
        self.set(key, LegTimer::Life, pass.now.mono + REOFFER_MAX);
    }

    /// What a client transaction tells.
    pub(super) fn told(&mut self, pass: &mut Pass, client: ClientKey, told: Told, response: Option<&Message>) {
        let (purpose, response) = match told {
            Told::Nothing => return,
            Told::Response(purpose) => (purpose, response),
            // RFC 3261 §8.1.3.1: as if 503 had come.
            Told::Unreachable(Purpose::Invite(leg)) => return self.branch_done(pass, leg, client, 503, None),
            Told::Timeout(purpose) | Told::Unreachable(purpose) => (purpose, None),
        };
        if response.is_some_and(|response| self.retried(pass, client, response)) {
            return;
        }
        match purpose {
            Purpose::Invite(leg) => self.branch_told(pass, leg, client, response),
            Purpose::Reinvite(leg) => self.reinvite_told(pass, leg, client, response),
            Purpose::Update(leg) => self.update_told(pass, leg, response),
            // One that fails changes nothing: without it the other side gives up its response.
            Purpose::Prack(_) => {}
            Purpose::Notify(leg) => {
                let request = self.clients.at(client).and_then(super::client::Client::message);
                let status = response.and_then(Message::status).unwrap_or(408);
                self.notify_told(leg, request.as_ref(), status);
            }
            Purpose::Bye(leg) => {
                if response.is_none_or(|response| response.status() >= Some(200)) {
                    self.bye_done(pass, leg);
                }
            }
            Purpose::Ask(ask) if self.asks.owns(ask, client) => self.ask_told(pass, ask, response),
            Purpose::Ask(_) | Purpose::Nobody => {}
        }
    }

    /// Whether the leg for which a request was sent bounds its life.
    pub(super) fn bounds(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Invite(leg) | Purpose::Reinvite(leg) => self.legs.get(leg).is_some_and(|leg| leg.life.is_some()),
            Purpose::Update(_) | Purpose::Prack(_) | Purpose::Notify(_) | Purpose::Bye(_) => false,
            Purpose::Ask(_) | Purpose::Nobody => false,
        }
    }

    fn bye_done(&mut self, pass: &mut Pass, key: LegKey) {
        let Some(State::Ending { why, .. }) = self.legs.get(key).map(|leg| &leg.state) else {
            return;
        };
        let why = *why;
        self.end(pass, key, why);
    }

    /// A response to our re-INVITE, or none in time.
    fn reinvite_told(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: Option<&Message>) {
        let status = response.and_then(Message::status).unwrap_or(408);
        if (100..200).contains(&status) {
            let cancel = self.clients.at(client).map(|client| client.cancel);
            if let Some(super::client::Cancel::Wanted(why)) = cancel {
                self.clients.cancel(&mut self.alarms, pass, client, why);
            }
            return;
        }
        let asking = self.legs.get(key).is_some_and(|leg| match &leg.state {
            State::Established { reoffer: Reoffer::Asking { client: asking, .. }, .. } => *asking == client,
            State::Established {
                reoffer: Reoffer::Idle | Reoffer::Asked { .. } | Reoffer::Accepting { .. }, ..
            }
            | State::Offered(_)
            | State::Answered { .. }
            | State::Calling(_)
            | State::Ending { .. } => false,
        });
        match (asking, response) {
            (true, Some(response)) if status < 300 => self.reinvite_accepted(pass, key, client, response),
            (true, _) => self.reinvite_refused(pass, key, status),
            (false, Some(response)) if status < 300 => self.late_accept(pass, key, client, response),
            (false, _) => {}
        }
    }

    fn reinvite_accepted(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) {
        let leg = &mut self.legs[key];
        let id = leg.id;
        leg.learn(response);
        let least = leg.session.map_or(0, |timer| timer.min_se_s);
        let Some(mut dialog) = leg.dialog().cloned() else {
            return;
        };
        dialog.refresh(response);
        self.acknowledge(pass, &mut dialog, Some(client), response);
        self.legs[key].state = State::Established { dialog, reoffer: Reoffer::Idle };
        self.stop(key, LegTimer::Life);
        self.wind(pass, key, agreed(response, least));
        let answer = sdp(response).ok().flatten().ok_or(488);
        pass.tell(Notice::ReofferAnswered { leg: id, answer });
    }

    fn reinvite_refused(&mut self, pass: &mut Pass, key: LegKey, status: u16) {
        let leg = &mut self.legs[key];
        let id = leg.id;
        let State::Established { reoffer, .. } = &mut leg.state else {
            return;
        };
        let Reoffer::Asking { wanted, .. } = std::mem::replace(reoffer, Reoffer::Idle) else {
            return;
        };
        self.stop(key, LegTimer::Life);
        match status {
            // §12.2.1.2: the other side knows nothing of us any more.
            408 | 481 if !wanted.probe => self.bye(pass, key, Ending::Lost, Reason::None),
            // A later wish replaces the one that collided.
            491 if self.legs[key].wanted.is_some() => self.wait(pass, key),
            491 if wanted.tries + 1 < REOFFER_TRIES => {
                self.legs[key].wanted = Some(Wanted { tries: wanted.tries + 1, ..wanted });
                self.wait(pass, key);
            }
            _ => pass.tell(Notice::ReofferAnswered { leg: id, answer: Err(status) }),
        }
    }

    /// A 2xx to a re-INVITE that is not awaited: repeated, or come after the session's end. It has its ACK all the same.
    fn late_accept(&mut self, pass: &mut Pass, key: LegKey, client: ClientKey, response: &Message) {
        if self.acknowledge_again(pass, key, Some(client), response) {
            return;
        }
        if let Some(it) = self.clients.at_mut(client) {
            // The BYE is under way already: no second one.
            it.strays.push(response.to().tag().unwrap_or_default().into());
            self.stray(pass, client, response);
        }
    }

    /// A response without a transaction: only a 2xx to an INVITE of before a restart means something. One repeated in a
    /// dialog has its ACK again; one that begins a dialog nobody knows of is ended, if it comes from a registered phone:
    /// nobody else can have been asked.
    pub(super) fn orphan(&mut self, pass: &mut Pass, flow: Flow, response: &Message) {
        let accepted = response.status().is_some_and(|status| (200..300).contains(&status));
        if !accepted || response.cseq().method != Method::Invite {
            return;
        }
        let key = self.asker(response);
        let to = response.to().uri;
        let phone = host(&to).is_some_and(|host| self.registrar.reaches(&to.user_text(), &host, flow));
        match key {
            Some(key) => {
                self.acknowledge_again(pass, key, None, response);
            }
            None if phone && self.clients.len() < self.settings.limits.transactions_max => {
                let Ok(mut dialog) = Dialog::of_orphan(response, flow) else { return };
                self.acknowledge(pass, &mut dialog, None, response);
                dialog.local_cseq += 1;
                self.send_bye(pass, &dialog, Reason::None, Purpose::Nobody);
            }
            None => {}
        }
    }

    /// The leg whose tag the request bore that this answers.
    pub(super) fn asker(&self, response: &Message) -> Option<LegKey> {
        response.from().tag().and_then(|tag| self.by_tag.at(tag)).copied()
    }
}
