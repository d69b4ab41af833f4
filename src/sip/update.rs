//! UPDATE as a server (RFC 3311 §5.2): refreshing a session, and offers outside INVITE, in early dialogs too.
//!
//! Owns who may offer when. The call gives the answer; a PRACK with an offer goes the same way (RFC 3262 §5).

use super::dialog::Dialog;
use super::event::{Flow, Notice};
use super::leg::{LegKey, LegTimer, REOFFER_MAX, Reoffer, State};
use super::message::Message;
use super::method::Method;
use super::name::Name;
use super::screen::{SDP, capabilities, sdp};
use super::server::ServerKey;
use super::session_timer::{answered, write_answer};
use super::ua::{Pass, Ua};
use bytes::Bytes;

/// Whether an offer may come now.
enum Turn {
    Theirs,
    /// 491: an offer of ours has no answer yet.
    Ours,
    /// 500: theirs has none yet.
    Busy,
    /// 488: nothing can be agreed in this dialog before its 2xx.
    Never,
}

impl Ua {
    /// Their UPDATE.
    pub(super) fn updated(&mut self, pass: &mut Pass, key: ServerKey, (leg, flow): (LegKey, Flow), request: &Message) {
        let Ok(offer) = sdp(request) else {
            return self.answer(pass, key, 415, |writer| {
                writer.header(Name::Accept, SDP);
            });
        };
        if let Err(small) = answered(request, &self.settings.session, self.legs[leg].session) {
            return self.too_small(pass, key, small);
        }
        let Some(offer) = offer else {
            self.refreshed(pass, leg, flow, request);
            return self.answer_update(pass, key, leg, None);
        };
        match self.turn(leg) {
            Turn::Theirs => {}
            Turn::Ours => return self.answer(pass, key, 491, |_| {}),
            Turn::Busy => return self.not_yet(pass, key),
            Turn::Never => return self.answer(pass, key, 488, |_| {}),
        }
        self.refreshed(pass, leg, flow, request);
        match &mut self.legs[leg].state {
            State::Established { reoffer, .. } => {
                *reoffer = Reoffer::Asked { server: key, has_offer: true };
                self.set(leg, LegTimer::Life, pass.now.mono + REOFFER_MAX);
            }
            State::Offered(offered) => offered.asked = Some(key),
            State::Answered { .. } | State::Calling(_) | State::Ending { .. } => {}
        }
        self.ask_call(pass, key, leg, offer);
    }

    /// Asks the call for its answer to an offer.
    pub(super) fn ask_call(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, offer: Bytes) {
        self.servers.wait(&mut self.alarms, pass, key, leg);
        pass.tell(Notice::Reoffered { leg: self.legs[leg].id, sdp: Some(offer) });
    }

    /// The call did not answer a request in time, which only a fault of ours explains.
    pub(super) fn unanswered(&mut self, pass: &mut Pass, key: ServerKey) {
        let Some(server) = self.servers.at(key).filter(|server| !server.is_answered()) else { return };
        if let Some(leg) = server.leg.and_then(|leg| self.legs.get_mut(leg)) {
            leg.refers.retain(|refer| refer.unanswered() != Some(key));
            if let State::Offered(offered) = &mut leg.state {
                offered.asked = offered.asked.filter(|asked| *asked != key);
            }
        }
        self.answer(pass, key, 500, |_| {});
    }

    fn turn(&self, leg: LegKey) -> Turn {
        match &self.legs[leg].state {
            State::Established { reoffer, .. } => match reoffer {
                Reoffer::Idle => Turn::Theirs,
                Reoffer::Asking { .. } | Reoffer::Accepting { has_offer: false } => Turn::Ours,
                Reoffer::Asked { .. } | Reoffer::Accepting { has_offer: true } => Turn::Busy,
            },
            State::Offered(offered) => {
                let described = offered.reliable.as_ref().is_some_and(|reliable| !reliable.describes());
                match (offered.has_offer, described) {
                    _ if offered.asked.is_some() => Turn::Busy,
                    (true, true) => Turn::Theirs,
                    (true, false) => Turn::Busy,
                    (false, _) => Turn::Ours,
                }
            }
            State::Answered { has_offer: true, .. } => Turn::Busy,
            State::Answered { has_offer: false, .. } => Turn::Ours,
            // Which of several early dialogs becomes the call is not known yet.
            State::Calling(calling) if calling.early.iter().any(|early| early.agreed) => Turn::Never,
            State::Calling(_) | State::Ending { .. } => Turn::Ours,
        }
    }

    /// A target refresh request (RFC 3261 §12.2.2). One of a phone that comes by another flow shows where it is now (RFC
    /// 3665 §3.7), for a phone is not reached by its Contact; behind a proxy, or while it rings, it is reached as before.
    pub(super) fn refreshed(&mut self, pass: &mut Pass, key: LegKey, flow: Flow, request: &Message) {
        let leg = &mut self.legs[key];
        leg.learn(request);
        if let Some(dialog) = leg.dialog_of(request) {
            dialog.refresh(request);
        }
        let elsewhere = |dialog: &Dialog| !dialog.trunk && dialog.routes.is_empty() && dialog.flow != flow;
        if leg.dialog().is_some_and(elsewhere) {
            self.follow(pass, key, flow);
        }
    }

    /// The 2xx to an UPDATE or PRACK: an UPDATE refreshes the session (RFC 4028 §9).
    pub(super) fn answer_update(&mut self, pass: &mut Pass, key: ServerKey, leg: LegKey, sdp: Option<Bytes>) {
        let request = self.asked(key);
        let update = request.cseq().method == Method::Update;
        let mut writer = self.begin_reply(key, 200);
        if update {
            let timer = answered(&request, &self.settings.session, self.legs[leg].session).unwrap_or_default();
            if let Some(timer) = timer {
                write_answer(&mut writer, &request, timer);
            }
            capabilities(&mut writer);
            if !matches!(self.legs[leg].state, State::Offered(_) | State::Calling(_)) {
                self.wind(pass, leg, timer);
            }
        }
        let bytes = match sdp {
            Some(sdp) => writer.body(SDP, &sdp),
            None => writer.finish(),
        };
        self.servers.send(&mut self.alarms, pass, key, 200, bytes);
    }
}
