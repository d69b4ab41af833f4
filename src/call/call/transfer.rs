//! The transfer within its call: what becomes of citizen and agent at each of its steps.
//!
//! The rules: until all three hear each other the citizen hears the agent or music, whatever the target's media do; who
//! fails to come leaves citizen and agent as they were, in the same pass; an agent who leaves, or whose phone is lost,
//! leaves the citizen to the target, or on the way to it; where that fails the citizen is back in the line at the old
//! place. Only an emergency line stays with the agent when the citizen hangs up.

use super::{Call, Fresh, NORMAL, State};
use crate::base::fact::{EndedBy, Party, TargetKind, TransferMode, TransferRecord, TransferResult};
use crate::base::number::Number;
use crate::base::{AgentId, LegId, Mono, Now, TrunkId};
use crate::call::ahead::{Ahead, Link};
use crate::call::calls::TRANSFER_REFUSED;
use crate::call::event::Command;
use crate::call::leg::{Dialog, Leg};
use crate::call::reach::{Behalf, Progress, Reach};
use crate::call::supervise::{self, KEY_PARK};
use crate::call::targets::Target;
use crate::call::transfer::{
    Ask, NotTransferred, Of, On, PHONE_REASON, Phase, REASON_CHARACTERS_MAX, Second, Spare, TRANSFERS_MAX, Transfer,
    TransferView, result_of,
};
use crate::media::event::{Action as Media, PartyName, RecordingStart, Track};
use crate::sip::event::{Action as Sip, Ending, Flow, Referred};
use crate::trunk::event::Refused;
use bytes::Bytes;
use std::time::Duration;

/// Between two digits of a key.
const KEY_WAIT_MAX: Duration = Duration::from_secs(3);
/// Pressed to hang the target up.
const KEY_CANCEL: &str = "*#";
/// A REFER is accepted (RFC 3515 §2.4.2).
pub(super) const ACCEPTED: u16 = 202;
/// The reason of a transfer that was begun by a key.
const KEY_REASON: &str = "one key";

/// What an agent has pressed of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::call) struct Typed {
    text: String,
    until: Mono,
}

/// What is asked for.
impl Call {
    /// Somebody asks for something about a transfer: `by` the agent themself, or one who may do so for any.
    pub(in crate::call) fn transfer(
        &mut self,
        now: Now,
        (by, ask): (Option<AgentId>, Ask),
        spare: Spare,
        out: &mut Vec<Command>,
    ) -> Result<(), NotTransferred> {
        let State::Talking { talker, leg, .. } = self.state else { return Err(NotTransferred::NotTalking) };
        if by.is_some_and(|by| by != talker.agent()) {
            return Err(NotTransferred::NotYours);
        }
        match (ask, &mut self.transfer) {
            (Ask::Start { .. }, Some(_)) => return Err(NotTransferred::UnderWay),
            (Ask::Start { target, mode, reason }, None) => {
                let agent = self.agent_name(talker.agent());
                self.begin_transfer(now, (&target, mode, &reason), (leg, &agent), spare, out)?;
            }
            (Ask::Join | Ask::Complete | Ask::Cancel, None) => return Err(NotTransferred::None),
            (Ask::Join, Some(transfer)) if transfer.is_answered() => {
                self.second_alone(now, out);
                self.join(now, out);
            }
            (Ask::Join, Some(transfer)) => transfer.mode = TransferMode::Conference,
            (Ask::Complete, Some(transfer)) if transfer.is_answered() => self.hand_over(now, out),
            (Ask::Complete, Some(transfer)) => transfer.mode = TransferMode::Blind,
            (Ask::Cancel, Some(transfer)) => {
                let answered = transfer.is_answered();
                let result = if answered { TransferResult::Returned } else { TransferResult::Cancelled };
                self.transfer_over(now, result, out);
                self.end_if_citizen_gone(now, out);
            }
        }
        self.sound(out);
        self.show(now, out);
        Ok(())
    }

    /// The agent's phone asks for a transfer (REFER, RFC 3515): to a target, by its number or name, and by nobody else's.
    pub(in crate::call) fn referred(&mut self, now: Now, referred: &Referred, spare: Spare, out: &mut Vec<Command>) {
        let Referred { leg, refer, attended, .. } = *referred;
        if self.is_handed_to(leg) && self.is_ours(&referred.number) {
            return self.given_back(now, (leg, refer), out);
        }
        let talks = self.talker().is_some_and(|(_, agent)| agent == leg);
        if attended && (talks || self.is_second(leg)) {
            return self.referred_to_second(now, referred, out);
        }
        let asked = match self.target_of(&referred.number) {
            _ if !talks => Err(NotTransferred::NotTalking),
            None => Err(NotTransferred::UnknownTarget),
            Some(target) => {
                let ask = Ask::Start { target, mode: TransferMode::Blind, reason: PHONE_REASON.into() };
                self.transfer(now, (None, ask), spare, out)
            }
        };
        match asked {
            Ok(()) => {
                out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: ACCEPTED }));
                self.referred = Some((leg, refer));
            }
            Err(why) => {
                let (status, why) = (TRANSFER_REFUSED, why.to_string().into());
                out.push(Command::Sip(Sip::RefuseRefer { leg, refer, status, why }));
            }
        }
    }

    fn is_handed_to(&self, leg: LegId) -> bool {
        matches!(self.state, State::Handed)
            && self.transfer.as_ref().is_some_and(|transfer| transfer.is_answered() && transfer.is(leg))
    }

    /// Whether it is a number of this hotline.
    fn is_ours(&self, number: &str) -> bool {
        self.settings.numbers.lookup(number).is_some_and(|entry| entry.site == self.site)
    }

    /// A sub-center gives the citizen back: by a REFER to a number of the hotline, as it would send them to anybody. They are in
    /// the line again, at the old place; the transfer was one.
    fn given_back(&mut self, now: Now, (leg, refer): (LegId, u32), out: &mut Vec<Command>) {
        out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: ACCEPTED }));
        out.push(Command::Sip(Sip::ReferProgress { leg, refer, status: 200 }));
        self.transfer_over(now, TransferResult::Completed, out);
        self.goes_on_alone(now, out);
        self.sound(out);
        self.show(now, out);
    }

    /// Name of the target that has this number, name or key, whole.
    pub(in crate::call) fn target_of(&self, text: &str) -> Option<Box<str>> {
        let number = Number::parse(text, &self.site().area_code).ok();
        let is = |target: &&Target| {
            *target.name == *text
                || target.key.as_deref() == Some(text)
                || number.as_ref().is_some_and(|number| target.has(number))
        };
        self.settings.targets.of(self.site).find(is).map(|target| target.name.clone())
    }

    /// The phone that asked hears how it went.
    fn tell_referrer(&mut self, status: u16, out: &mut Vec<Command>) {
        if let Some((leg, refer)) = self.referred.take() {
            out.push(Command::Sip(Sip::ReferProgress { leg, refer, status }));
        }
    }

    pub(super) fn begin_transfer(
        &mut self,
        now: Now,
        (name, mode, reason): (&str, TransferMode, &str),
        (leg, agent): (LegId, &str),
        spare: Spare,
        out: &mut Vec<Command>,
    ) -> Result<(), NotTransferred> {
        if self.citizen.dialog == Dialog::Gone {
            return Err(NotTransferred::NotTalking);
        }
        if reason.trim().is_empty() || reason.chars().count() > REASON_CHARACTERS_MAX {
            return Err(NotTransferred::NoReason);
        }
        let target = self.settings.targets.named(self.site, name).ok_or(NotTransferred::UnknownTarget)?.clone();
        target.hours.open(now.wall)?;
        let before = &self.book.record.transfers;
        if target.kind != TargetKind::Emergency && before.iter().any(TransferRecord::counts) {
            return Err(NotTransferred::Second);
        }
        if before.len() >= TRANSFERS_MAX {
            return Err(NotTransferred::TooMany);
        }
        let record = TransferRecord {
            target: target.name.clone(),
            kind: target.kind,
            mode,
            reason: reason.trim().into(),
            agent: agent.into(),
            started: self.book.time(now),
            answered: None,
            joined: None,
            handed: None,
            mute: None,
            ended: None,
            result: None,
            routes: Vec::new(),
            drill: target.drill,
        };
        let ahead = self.ahead(now, &target, &record);
        let of = Of { link: ahead.as_ref().and_then(|ahead| ahead.url.clone()), ..self.of_transfer(leg) };
        let before = out.len();
        let transfer = Transfer::begin(now, (target, mode), of, spare, out).ok_or(NotTransferred::NotListed)?;
        // What is told ahead goes before whatever leads to the INVITE.
        out.splice(before..before, ahead.map(Command::Ahead));
        // They hold channels as an agent's leg does otherwise, and are nobody's.
        let holder = |leg| Leg::new(leg, Dialog::Gone, Party::Agent { name: "".into() });
        self.agents.extend(transfer.further_holders().map(holder));
        self.transfer = Some(transfer);
        if record.drill {
            self.book.drill();
        }
        self.book.record.transfers.push(record);
        self.book.tell(out);
        Ok(())
    }

    /// What the target's own system is told, where it has one or is given a link.
    fn ahead(&self, now: Now, target: &Target, record: &TransferRecord) -> Option<Box<Ahead>> {
        if target.webhook.is_none() && !target.link {
            return None;
        }
        // At most `TRANSFERS_MAX` of a contact.
        let number = u8::try_from(self.book.record.transfers.len() + 1).ok()?;
        let link = Link { contact: self.book.contact(), number };
        let links = self.settings.links.as_ref().filter(|_| target.link);
        let of = &self.book.record;
        Some(Box::new(Ahead {
            link,
            site: self.site,
            target: record.target.clone(),
            kind: record.kind,
            drill: record.drill,
            mode: record.mode,
            reason: record.reason.clone(),
            agent: record.agent.clone(),
            caller: of.caller.clone(),
            place: of.signalled.place.clone(),
            order: of.order,
            at: record.started,
            url: links.map(|links| links.mint(link, now.wall)),
            webhook: target.webhook.clone(),
        }))
    }

    pub(in crate::call) fn of_transfer(&self, holder: LegId) -> Of {
        let (settings, contact, clock) = (self.settings.clone(), self.book.contact(), self.book.clock());
        let record = &self.book.record;
        let behalf = Behalf { number: Number::parse(&record.caller, "").ok(), place: record.signalled.place.clone() };
        Of { holder, citizen: self.citizen.id, settings, contact, clock, behalf, link: None }
    }

    /// A digit of the agent's: keys ask for targets, and hang them up. Whether it is a part of a key.
    pub(in crate::call) fn agent_key(&mut self, now: Now, digit: u8, fresh: Fresh, out: &mut Vec<Command>) -> bool {
        let mut typed = match self.typed.take() {
            Some(typed) if digit != b'*' && now.mono < typed.until => typed.text,
            Some(_) | None => String::new(),
        };
        if typed.is_empty() && digit != b'*' {
            return false;
        }
        typed.push(char::from(digit));
        if typed == KEY_PARK {
            // What is refused changes nothing: agent and citizen talk on.
            let _ = self.intervene(now, ("", None), supervise::Ask::Park, fresh, out);
            return true;
        }
        let ask = match self.settings.targets.of_key(self.site, &typed) {
            Some(target) => {
                let (target, mode, reason) = (target.name.clone(), TransferMode::Conference, KEY_REASON.into());
                Some(Ask::Start { target, mode, reason })
            }
            None => (typed == KEY_CANCEL).then_some(Ask::Cancel),
        };
        match ask {
            // What is refused changes nothing: agent and citizen talk on.
            Some(ask) => _ = self.transfer(now, (None, ask), fresh.spare, out),
            None if KEY_PARK.starts_with(&*typed) || self.settings.targets.may_become_key(self.site, &typed) => {
                self.typed = Some(Typed { text: typed, until: now.mono + KEY_WAIT_MAX });
            }
            None => return false,
        }
        true
    }
}

/// The way to the target.
impl Call {
    /// Whether this is, or was, a leg of the present transfer.
    pub(in crate::call) fn is_of_transfer(&self, leg: LegId) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.legs().any(|it| it.id == leg))
    }

    pub(in crate::call) fn target_channel(
        &mut self,
        now: Now,
        holder: LegId,
        granted: Result<((TrunkId, Flow), LegId), Refused>,
        out: &mut Vec<Command>,
    ) {
        self.step(now, On::Holder(holder), out, |reach, out| match granted {
            Ok((way, leg)) => reach.granted(now, way, leg, out),
            Err(why) => reach.no_channel(now, why, out),
        });
    }

    pub(in crate::call) fn target_port(
        &mut self,
        now: Now,
        leg: LegId,
        local: Option<(std::net::SocketAddr, u64)>,
        out: &mut Vec<Command>,
    ) {
        self.step(now, On::Leg(leg), out, |reach, out| match local {
            Some(opened) => {
                reach.port_opened(now, leg, opened, out);
                Progress::None
            }
            None => reach.port_refused(now, leg, out),
        });
    }

    pub(in crate::call) fn target_sent(&mut self, now: Now, leg: LegId, late: Duration, out: &mut Vec<Command>) {
        self.step(now, On::Leg(leg), out, |reach, _| {
            reach.sent(now, leg, late);
            Progress::None
        });
    }

    pub(in crate::call) fn target_trying(&mut self, now: Now, leg: LegId, out: &mut Vec<Command>) {
        self.step(now, On::Leg(leg), out, |reach, _| reach.trying(now, leg));
    }

    pub(in crate::call) fn target_rings(&mut self, now: Now, leg: LegId, sdp: Option<Bytes>, out: &mut Vec<Command>) {
        self.step(now, On::Leg(leg), out, |reach, out| reach.ringing(now, leg, sdp, out));
    }

    pub(in crate::call) fn target_answers(&mut self, now: Now, leg: LegId, sdp: &[u8], out: &mut Vec<Command>) {
        self.step(now, On::Leg(leg), out, |reach, out| reach.answered(now, leg, sdp, out));
    }

    pub(in crate::call) fn target_fails(
        &mut self,
        now: Now,
        leg: LegId,
        why: (u16, Option<u8>),
        out: &mut Vec<Command>,
    ) {
        self.let_go(leg, out);
        self.step(now, On::Leg(leg), out, |reach, out| reach.failed(now, leg, why, out));
    }

    /// The target's deadline came.
    pub(in crate::call) fn target_expired(&mut self, now: Now, out: &mut Vec<Command>) {
        while let Some(holder) = self.transfer.as_ref().and_then(|transfer| transfer.due(now.mono)) {
            let overdue = self.transfer.as_ref().is_some_and(|transfer| transfer.is_overdue(holder, now.mono));
            self.step(now, On::Holder(holder), out, |reach, out| match overdue {
                true => Progress::Lost,
                false => reach.expired(now, out),
            });
        }
    }

    /// A key of one who has answered, and is to say so. Whether it was for that.
    pub(in crate::call) fn target_key(&mut self, now: Now, leg: LegId, digit: u8, out: &mut Vec<Command>) -> bool {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.asks(leg)) else { return false };
        if transfer.is_confirmed_by(now, (leg, digit), out) {
            self.target_answered(now, out);
            self.sound(out);
            self.show(now, out);
        }
        true
    }

    /// The dialog of a leg of the transfer is over.
    pub(in crate::call) fn target_ended(&mut self, now: Now, leg: LegId, why: Ending, out: &mut Vec<Command>) {
        let current = self.transfer.as_ref().is_some_and(|transfer| transfer.is(leg));
        self.let_go(leg, out);
        if !current {
            return;
        }
        match self.transfer.as_ref().map(Transfer::is_answered) {
            Some(true) => self.target_gone(now, why, out),
            Some(false) => {
                return self.step(now, On::Leg(leg), out, |reach, out| reach.failed(now, leg, (500, None), out));
            }
            None => {}
        }
        self.sound(out);
        self.show(now, out);
    }

    fn let_go(&mut self, leg: LegId, out: &mut Vec<Command>) {
        let legs = self.transfer.iter_mut().flat_map(Transfer::legs_mut);
        for leg in legs.filter(|it| it.id == leg) {
            leg.dialog = Dialog::Gone;
            leg.close(out);
        }
    }

    fn step(
        &mut self,
        now: Now,
        on: On,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Reach, &mut Vec<Command>) -> Progress,
    ) {
        let Some(transfer) = &mut self.transfer else { return };
        let progress = transfer.step(now, on, out, act);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.routes = transfer.routes();
        }
        match progress {
            Progress::None | Progress::Lives => {}
            // From now on a crash must not make us forget it.
            Progress::Begun => self.book.tell(out),
            Progress::Rings { first: _, heard } => {
                transfer.is_heard |= heard;
                self.second_rings(out);
            }
            Progress::Next => transfer.is_heard = false,
            Progress::Answered => self.target_answered(now, out),
            Progress::Failed(failure) => self.target_unreached(now, result_of(failure), out),
            Progress::Lost => self.target_gone(now, Ending::Lost, out),
        }
        self.sound(out);
        self.show(now, out);
    }

    fn target_answered(&mut self, now: Now, out: &mut Vec<Command>) {
        let at = self.book.time(now);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.answered = Some(at);
        }
        let Some(transfer) = &mut self.transfer else { return };
        transfer.phase = Phase::Consulting;
        self.note_mute(now);
        let Some(transfer) = &self.transfer else { return };
        let agent_is_there = matches!(self.state, State::Talking { .. });
        match transfer.mode {
            TransferMode::Conference if agent_is_there => {
                self.second_answers(out);
                self.second_alone(now, out);
                self.keep_tracks(now, out);
                self.join(now, out);
            }
            TransferMode::Consult | TransferMode::Attended if agent_is_there => {
                self.second_answers(out);
                if self.citizen.dialog == Dialog::Gone {
                    self.second_alone(now, out);
                }
                self.keep_tracks(now, out);
                self.book.tell(out);
                self.follow_second(now, out);
            }
            TransferMode::Conference | TransferMode::Consult | TransferMode::Blind | TransferMode::Attended => {
                self.hand_over(now, out);
            }
        }
    }

    /// No RTP comes from `leg`, or it comes again. An agent who consults with a target of which nothing comes is told, and
    /// has the citizen back until it does; the target stays in the room, for it may hear, and may only be saving bandwidth
    /// (RFC 3551 §4.1).
    pub(in crate::call) fn mute(&mut self, now: Now, leg: LegId, mute: bool, out: &mut Vec<Command>) {
        if !self.is_live() {
            return;
        }
        self.leg_mut(leg).into_iter().for_each(|leg| leg.sounds(!mute));
        if self.transfer.as_ref().is_some_and(|transfer| transfer.is_answered() && transfer.is(leg)) {
            if self.note_mute(now) {
                self.book.tell(out);
            }
            self.sound(out);
            self.show(now, out);
        }
    }

    /// The record knows when nothing came of the target for the first time. Whether that was now.
    fn note_mute(&mut self, now: Now) -> bool {
        let at = self.book.time(now);
        let mute = self.transfer.as_ref().is_some_and(Transfer::is_mute);
        match self.book.record.transfers.last_mut() {
            Some(record) if mute && record.mute.is_none() => {
                record.mute = Some(at);
                true
            }
            Some(_) | None => false,
        }
    }

    /// All three hear each other.
    pub(super) fn join(&mut self, now: Now, out: &mut Vec<Command>) {
        let at = self.book.time(now);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.joined.get_or_insert(at);
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.phase = Phase::Joined;
        }
        self.book.tell(out);
    }

    /// The agent leaves citizen and target to each other.
    pub(super) fn hand_over(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.citizen.dialog == Dialog::Gone {
            return self.end(now, EndedBy::Agent, NORMAL, out);
        }
        self.tell_referrer(200, out);
        self.release_agent(now, out);
        if let Some(transfer) = &mut self.transfer {
            transfer.phase = Phase::Handed;
        }
        let at = self.book.time(now);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.handed = Some(at);
            record.result = Some(TransferResult::Completed);
        }
        self.book.tell(out);
    }

    fn release_agent(&mut self, now: Now, out: &mut Vec<Command>) {
        let State::Talking { talker, leg, .. } = self.state else { return };
        self.drop_agent(leg, NORMAL, out);
        self.second_leaves(out);
        self.talk_ended(talker, out);
        self.enter(now, State::Handed, Duration::MAX, out);
    }

    /// The sound of the agent's and of the target's side, each in a file of its own.
    pub(in crate::call) fn keep_tracks(&self, now: Now, out: &mut Vec<Command>) {
        let (Some(transfer), State::Talking { talker, leg, .. }) = (&self.transfer, &self.state) else { return };
        let Some(target) = transfer.leg() else { return };
        // Of an agent who has two calls, the one that the citizen's track does not hear.
        let leg = &transfer.second_leg().unwrap_or(*leg);
        let count = self.book.record.transfers.len();
        let names = [format!("agent-{}", talker.agent().0), format!("target-{count}")];
        for ((leg, name), recording) in [*leg, target].into_iter().zip(names).zip(transfer.tracks) {
            let Ok(name) = PartyName::try_from(Box::<str>::from(name)) else { continue };
            let (contact, site) = (self.book.contact(), self.site().code.clone());
            let recording = RecordingStart { recording, contact, site, started: now, track: Track::Party(name) };
            out.push(Command::Media(Media::Record { citizen: leg, recording }));
        }
    }
}

/// The end of it.
impl Call {
    /// Nobody could be reached.
    fn target_unreached(&mut self, now: Now, result: TransferResult, out: &mut Vec<Command>) {
        if self.transfer.as_ref().is_some_and(Transfer::is_urgent) {
            self.book.urgent();
        }
        self.transfer_over(now, result, out);
        self.goes_on_alone(now, out);
    }

    /// A target that was there has left, or is lost.
    fn target_gone(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
        let left = matches!(why, Ending::Bye { .. });
        if let (State::Handed, Ending::Bye { q850 }) = (&self.state, why) {
            self.transfer_over(now, TransferResult::Completed, out);
            return self.last_has_left(now, EndedBy::Target, q850.unwrap_or(NORMAL), out);
        }
        if !left {
            self.lost_by_fault();
        }
        self.transfer_over(now, TransferResult::Returned, out);
        self.goes_on_alone(now, out);
    }

    /// A transfer that a fault has ended is none.
    pub(super) fn lost_by_fault(&mut self) {
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.result = Some(TransferResult::Lost);
        }
    }

    /// Without the target: with the agent, if there is one, else back in the line.
    fn goes_on_alone(&mut self, now: Now, out: &mut Vec<Command>) {
        if matches!(self.state, State::Handed) {
            self.sound(out);
            self.wait(now, out);
        }
        self.end_if_citizen_gone(now, out);
    }

    fn end_if_citizen_gone(&mut self, now: Now, out: &mut Vec<Command>) {
        if self.citizen.dialog == Dialog::Gone {
            self.end(now, EndedBy::Caller, NORMAL, out);
        }
    }

    /// Nothing more comes of the transfer: its legs run out, its record is complete.
    pub(in crate::call) fn transfer_over(&mut self, now: Now, result: TransferResult, out: &mut Vec<Command>) {
        let Some(mut transfer) = self.transfer.take() else { return };
        transfer.end(now, 487, out);
        let second = transfer.second.take();
        self.drop_second(second, (status_of(result), result), out);
        let at = self.book.time(now);
        if let Some(record) = self.book.record.transfers.last_mut() {
            record.ended = Some(at);
            record.result.get_or_insert(result);
            record.routes = transfer.routes();
        }
        let unreached = transfer.is_urgent() && !transfer.is_answered();
        self.dial_by_hand = unreached.then(|| transfer.first_number());
        self.agents.extend(transfer.into_legs());
        self.tell_referrer(status_of(result), out);
        self.book.tell(out);
    }

    /// The agent's phone is gone, by the agent's will or not: citizen and target go on.
    pub(in crate::call) fn agent_left(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
        if let Ending::Bye { .. } = why {
            self.book.record.times.agent_hangup.get_or_insert(self.book.time(now));
        }
        match self.transfer.as_ref().map(Transfer::is_answered) {
            Some(true) => self.hand_over(now, out),
            Some(false) if self.citizen.dialog == Dialog::Gone => return self.end(now, EndedBy::Agent, NORMAL, out),
            Some(false) => {
                self.release_agent(now, out);
                self.book.tell(out);
            }
            None => {}
        }
        self.sound(out);
        self.show(now, out);
    }

    /// Whether agent and emergency line go on although the citizen has hung up.
    pub(in crate::call) fn outlasts_citizen(&self) -> bool {
        let wanted = |it: &Transfer| it.is_emergency() && !matches!(it.second, Some(Second::Left { .. }));
        matches!(self.state, State::Talking { .. }) && self.transfer.as_ref().is_some_and(wanted)
    }

    /// As it is shown.
    pub(in crate::call) fn transfer_view(&self) -> Option<TransferView> {
        let record = self.book.record.transfers.last()?;
        Some(TransferView {
            target: record.target.clone(),
            kind: record.kind,
            phase: self.transfer.as_ref().map(|transfer| transfer.phase),
            mute: self.transfer.as_ref().is_some_and(Transfer::is_mute),
            result: record.result,
            ended: record.ended,
            status: record.result.and_then(|_over| record.routes.last()?.sip_status),
            drill: record.drill,
            dial: self.dial_by_hand.clone(),
        })
    }
}

/// What a phone that referred is told of a transfer in vain.
fn status_of(result: TransferResult) -> u16 {
    match result {
        TransferResult::Completed | TransferResult::Returned => 200,
        TransferResult::Busy => 486,
        TransferResult::NoAnswer => 480,
        TransferResult::Cancelled | TransferResult::CallerGone => 487,
        TransferResult::Unreachable | TransferResult::Lost => 503,
    }
}
