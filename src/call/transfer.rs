//! A transfer: the third party of a call, on the way there and while it is there.
//!
//! ```text
//! Dialling → Consulting → Joined → Handed
//!     │ all numbers and routes failed, or taken back: over
//! ```
//!
//! The agent's phone may have dialled the target by itself: then its call to the target is there beside the one with the
//! citizen ([`Second`]), and the phone says by holding, or not, who hears whom.
//!
//! Owns whom to dial next and what is remembered of it. Who hears whom meanwhile, and what becomes of the citizen when
//! the third party is gone, is the call's.

use super::event::{Command, Settings};
use super::leg::Leg;
use super::q850::NO_ANSWER;
use super::reach::{Behalf, Failure, Progress, Reach, Wish};
use super::record::Clock;
use super::targets::Target;
use crate::base::fact::{EndedBy, RouteAttempt, TargetKind, TransferMode, TransferRecord, TransferResult};
use crate::base::hours::Shut;
use crate::base::{ContactId, LegId, Mono, Now, PromptId, RecordingId, Wall};
use crate::media::event::Action as Media;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Most transfers of one contact, tries in vain included.
pub const TRANSFERS_MAX: usize = 20;
/// Longest reason, in characters.
pub const REASON_CHARACTERS_MAX: usize = 200;

/// Whoever answers is asked so long to press a key.
const CONFIRM_MAX: Duration = Duration::from_secs(15);
/// The key: an ASCII digit.
const KEY_CONFIRM: u8 = b'1';
/// What a number ends with beside which another has answered (RFC 3261 §15.1.2).
const CANCELLED_STATUS: u16 = 487;
/// What a route ends with whose phone was answered by nobody who presses it.
const NO_ANSWER_STATUS: u16 = 480;

/// The reason of a transfer that the agent's phone asked for.
pub(super) const PHONE_REASON: &str = "by phone";

/// What is asked for in a talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Bring this target in.
    Start {
        /// Its name.
        target: Box<str>,
        /// Who hears whom meanwhile.
        mode: TransferMode,
        /// Why; 1 to [`REASON_CHARACTERS_MAX`] characters.
        reason: Box<str>,
    },
    /// All three hear each other, as soon as the target is there.
    Join,
    /// The agent leaves, as soon as the target is there.
    Complete,
    /// The target is hung up; agent and citizen go on.
    Cancel,
}

/// Why nothing of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTransferred {
    /// The call is over, in the queue or rings.
    #[error("no agent talks in this call")]
    NotTalking,
    /// Another asked than who talks.
    #[error("another agent talks in this call")]
    NotYours,
    /// It is configured nowhere.
    #[error("no target of this name: it must be written as in sip-profiles/targets")]
    UnknownTarget,
    /// Its dates lie in the future.
    #[error("this target is not in service yet")]
    NotYet,
    /// Its dates are past.
    #[error("this target is no longer in service")]
    Expired,
    /// Outside of its hours.
    #[error("this target is closed now: write an order instead")]
    Closed,
    /// A contact is transferred once.
    #[error("this contact was transferred already: only emergency lines can be brought in again")]
    Second,
    /// One at a time.
    #[error("a transfer is under way: finish or cancel it first")]
    UnderWay,
    /// There is none that this could be asked of.
    #[error("no transfer is under way")]
    None,
    /// The reason is mandatory.
    #[error("say why: a reason of 1 to {REASON_CHARACTERS_MAX} characters")]
    NoReason,
    /// No rule of the allow-list names its number.
    #[error("no rule of sip-profiles/dialling.toml names the number of this target")]
    NotListed,
    /// [`TRANSFERS_MAX`] were tried.
    #[error("too many transfers of this contact were tried")]
    TooMany,
}

impl NotTransferred {
    /// What an INVITE of the agent's phone is refused with (RFC 3261 §21).
    pub(super) fn status(self) -> u16 {
        match self {
            NotTransferred::UnknownTarget => 404,
            NotTransferred::Expired => 410,
            NotTransferred::NotTalking | NotTransferred::NotYet | NotTransferred::Closed => 480,
            NotTransferred::None => 481,
            NotTransferred::UnderWay => 486,
            NotTransferred::NotYours
            | NotTransferred::Second
            | NotTransferred::NoReason
            | NotTransferred::NotListed
            | NotTransferred::TooMany => 403,
        }
    }
}

impl From<Shut> for NotTransferred {
    fn from(shut: Shut) -> NotTransferred {
        match shut {
            Shut::NotYet => NotTransferred::NotYet,
            Shut::Expired => NotTransferred::Expired,
            Shut::Closed => NotTransferred::Closed,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The target is being reached.
    Dialling,
    /// Agent and target talk; the citizen has music.
    Consulting,
    /// All three hear each other.
    Joined,
    /// The agent has left; citizen and target talk.
    Handed,
}

impl Phase {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Dialling => "dialling",
            Phase::Consulting => "consulting",
            Phase::Joined => "joined",
            Phase::Handed => "handed",
        }
    }
}

/// As supervisors and the agent see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// Name of the target.
    pub target: Box<str>,
    /// What it is.
    pub kind: TargetKind,
    /// Where it stands, while it lasts.
    pub phase: Option<Phase>,
    /// How the last one went, once it is over.
    pub result: Option<TransferResult>,
    /// When it was over.
    #[serde(default)]
    pub ended: Option<Wall>,
    /// Final status of the last route that was tried, once it is over.
    #[serde(default)]
    pub status: Option<u16>,
    /// It has answered, but for three seconds and until now no RTP has come from it.
    #[serde(default)]
    pub mute: bool,
    /// It is an exercise: the target is a simulated one.
    #[serde(default)]
    pub drill: bool,
    /// The number to dial by hand, when an emergency line could not be reached.
    pub dial: Option<Box<str>>,
}

/// What a transfer needs to know of its call.
#[derive(Clone, Debug)]
pub(super) struct Of {
    /// Holds the channel of the route in use.
    pub(super) holder: LegId,
    /// The citizen's leg, on whose media thread the target shall be.
    pub(super) citizen: LegId,
    pub(super) settings: Arc<Settings>,
    pub(super) contact: ContactId,
    pub(super) clock: Clock,
    /// For whom.
    pub(super) behalf: Behalf,
    /// Where the target finds what is known of the contact.
    pub(super) link: Option<Box<str>>,
}

/// The call that the agent's phone has made to the target by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// Its INVITE waits for the target.
    Waiting {
        leg: LegId,
        /// What it will be answered with; `None` where the offer is to be ours.
        answer: Option<Bytes>,
        /// It hears what the target sounds like before it answers.
        early: bool,
    },
    /// Agent and target have it.
    With { leg: LegId },
    /// The agent has hung it up; the target is kept until then, for who hangs up both leaves citizen and target together.
    Left { until: Mono },
}

impl Second {
    pub(super) fn leg(&self) -> Option<LegId> {
        match self {
            Second::Waiting { leg, .. } | Second::With { leg } => Some(*leg),
            Second::Left { .. } => None,
        }
    }
}

/// One transfer, as long as it lasts.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) phase: Phase,
    pub(super) mode: TransferMode,
    /// What the target sounds like before it answers goes to the agent.
    pub(super) is_heard: bool,
    /// Of the agent's side and of the target's, from when all three are.
    pub(super) tracks: [RecordingId; 2],
    /// The agent's own call to it, if there is one.
    pub(super) second: Option<Second>,
    target: Target,
    /// The row of its duty table by which it is dialled.
    duty: Option<usize>,
    of: Of,
    /// The number in use.
    way: Way,
    /// Those that are dialled beside it.
    beside: Vec<Way>,
    /// Routes of numbers that were given up.
    past: Vec<RouteAttempt>,
    /// Legs of numbers that were given up; they run out.
    former: Vec<Leg>,
}

/// A number of the target, being dialled or there.
#[derive(Debug)]
struct Way {
    /// Its place among the target's numbers.
    number: usize,
    /// Holds its channel.
    holder: LegId,
    reach: Reach,
    /// Somebody has answered and is to press `1` until then.
    confirming: Option<Mono>,
}

/// Of which number something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Whose leg this is.
    Leg(LegId),
    /// Whose channel this one holds.
    Holder(LegId),
}

/// Ids for a transfer, should one begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spare {
    /// Of the agent's side and of the target's sound.
    pub(super) tracks: [RecordingId; 2],
    /// The first of as many, one counted after the other, as a target has numbers.
    pub(super) holders: LegId,
}

impl Way {
    fn begin(now: Now, (number, wish): (usize, Wish), out: &mut Vec<Command>) -> Way {
        let holder = wish.holder;
        Way { number, holder, reach: Reach::begin(now, wish, out), confirming: None }
    }

    fn next_deadline(&self) -> Mono {
        self.confirming.unwrap_or(Mono(u64::MAX)).min(self.reach.next_deadline())
    }

    fn is(&self, on: On) -> bool {
        match on {
            On::Leg(leg) => self.reach.is(leg),
            On::Holder(holder) => self.holder == holder,
        }
    }

    /// What its route makes of it, unless whoever answers has something to press first.
    fn after(&mut self, now: Now, progress: Progress, confirm: Option<PromptId>, out: &mut Vec<Command>) -> Progress {
        match (progress, confirm) {
            (Progress::Answered, Some(prompt)) => {
                self.confirming = Some(now.mono + CONFIRM_MAX);
                let play = |leg: &Leg| Media::Play { leg: leg.id, play: 0, prompts: vec![prompt], repeat: true };
                out.extend(self.reach.leg().map(play).map(Command::Media));
                Progress::None
            }
            (Progress::Lost, _) if self.confirming.take().is_some() => {
                self.reach.end(now, NO_ANSWER_STATUS, out);
                Progress::Failed(Failure { status: NO_ANSWER_STATUS, q850: NO_ANSWER, by: EndedBy::Caller })
            }
            (progress, _) => progress,
        }
    }
}

/// What survives a crash: a target that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedTransfer {
    phase: Phase,
    mode: TransferMode,
    target: Box<str>,
    duty: Option<usize>,
    number: usize,
    holder: LegId,
    tracks: [RecordingId; 2],
    leg: Leg,
    /// The agent's own call to the target.
    second: Option<LegId>,
}

impl SavedTransfer {
    pub(super) fn leg(&self) -> LegId {
        self.leg.id
    }
}

impl Transfer {
    /// Begins to dial. `None` when no rule names any number of the target.
    pub(super) fn begin(
        now: Now,
        (target, mode): (Target, TransferMode),
        of: Of,
        spare: Spare,
        out: &mut Vec<Command>,
    ) -> Option<Transfer> {
        let duty = target.on_duty(now.wall);
        let first = wish((&target, duty), &of, (0, of.holder))?;
        let way = Way::begin(now, first, out);
        let mut beside: Vec<Way> = Vec::new();
        while let Some(further) = target.together.then(|| {
            let from = beside.last().map_or(way.number, |last| last.number) + 1;
            wish((&target, duty), &of, (from, spare.holders.later(beside.len() as u64)))
        }) {
            let Some(further) = further else { break };
            beside.push(Way::begin(now, further, out));
        }
        Some(Transfer {
            phase: Phase::Dialling,
            mode,
            is_heard: false,
            tracks: spare.tracks,
            second: None,
            target,
            duty,
            of,
            way,
            beside,
            past: Vec::new(),
            former: Vec::new(),
        })
    }

    /// Who hold the channels of numbers that are dialled beside the first.
    pub(super) fn further_holders(&self) -> impl Iterator<Item = LegId> + '_ {
        self.beside.iter().map(|way| way.holder)
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        std::iter::once(&self.way).chain(&self.beside)
    }

    /// The leg of the agent's own call to the target.
    pub(super) fn second_leg(&self) -> Option<LegId> {
        self.second.as_ref().and_then(Second::leg)
    }

    pub(super) fn is_emergency(&self) -> bool {
        self.target.kind == TargetKind::Emergency
    }

    /// Somebody is in need of it: it is no exercise.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_emergency() && !self.target.drill
    }

    pub(super) fn is_answered(&self) -> bool {
        self.phase != Phase::Dialling
    }

    pub(super) fn next_deadline(&self) -> Mono {
        let next = self.ways().map(Way::next_deadline).min().unwrap_or(Mono(u64::MAX));
        match self.second {
            Some(Second::Left { until }) => until.min(next),
            Some(Second::Waiting { .. } | Second::With { .. }) | None => next,
        }
    }

    /// The holder of a number's channel whose deadline has come.
    pub(super) fn due(&self, now: Mono) -> Option<LegId> {
        self.ways().find(|way| way.next_deadline() <= now).map(|way| way.holder)
    }

    /// Whoever has answered there did not press in time.
    pub(super) fn is_overdue(&self, holder: LegId, now: Mono) -> bool {
        self.ways().any(|way| way.holder == holder && way.confirming.is_some_and(|until| until <= now))
    }

    /// What the citizen hears first who is left aside for it.
    pub(super) fn announcement(&self) -> Option<PromptId> {
        self.target.announcement
    }

    /// The leg in use.
    pub(super) fn leg(&self) -> Option<LegId> {
        self.way.reach.leg().map(|leg| leg.id)
    }

    /// It has answered, and no RTP comes from it.
    pub(super) fn is_mute(&self) -> bool {
        self.is_answered() && self.way.reach.leg().is_some_and(Leg::is_mute)
    }

    /// Whether it is a leg in use.
    pub(super) fn is(&self, leg: LegId) -> bool {
        self.ways().any(|way| way.is(On::Leg(leg)))
    }

    /// Whether this one holds a channel of it.
    pub(super) fn holds(&self, leg: LegId) -> bool {
        self.ways().any(|way| way.holder == leg)
    }

    /// The legs in use and those that run out.
    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.ways().flat_map(|way| way.reach.legs()).chain(&self.former)
    }

    pub(super) fn legs_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        let ways = std::iter::once(&mut self.way).chain(&mut self.beside);
        ways.flat_map(|way| way.reach.legs_mut()).chain(&mut self.former)
    }

    /// The leg that holds the channel, and the trunk whose it is.
    pub(super) fn channel(&self) -> Option<(LegId, crate::base::TrunkId)> {
        self.way.reach.channel()
    }

    /// Every route tried so far, those of the number in use last.
    pub(super) fn routes(&self) -> Vec<RouteAttempt> {
        let dialled = self.beside.iter().chain([&self.way]).flat_map(|way| way.reach.routes());
        self.past.iter().chain(dialled).cloned().collect()
    }

    /// The number to dial by hand.
    pub(super) fn first_number(&self) -> Box<str> {
        let numbers = self.target.numbers_of(self.duty);
        numbers.first().map_or_else(Box::default, |number| number.national().into())
    }

    /// Lets a number take a step. Where it came to nothing, the others ring on, or the next one is dialled; where it has
    /// answered, they are hung up.
    pub(super) fn step(
        &mut self,
        now: Now,
        on: On,
        out: &mut Vec<Command>,
        act: impl FnOnce(&mut Reach, &mut Vec<Command>) -> Progress,
    ) -> Progress {
        if !self.bring_forward(on) {
            return Progress::None;
        }
        let progress = act(&mut self.way.reach, out);
        let progress = self.way.after(now, progress, self.target.confirm, out);
        self.is_heard &= self.way.confirming.is_none();
        match progress {
            Progress::Failed(failure) => match self.next_number(now, out) {
                true => Progress::Next,
                false => Progress::Failed(failure),
            },
            Progress::Answered => {
                self.take(now, out);
                Progress::Answered
            }
            // Of several nobody can be heard.
            Progress::Rings { first, heard } => Progress::Rings { first, heard: heard && !self.target.together },
            other => other,
        }
    }

    /// Makes this number the one in use. `false` when it is none of them.
    fn bring_forward(&mut self, on: On) -> bool {
        if let Some(other) = self.beside.iter_mut().find(|way| way.is(on)) {
            std::mem::swap(other, &mut self.way);
        }
        self.way.is(on)
    }

    /// The number in use is the target: whoever is rung beside it is not.
    fn take(&mut self, now: Now, out: &mut Vec<Command>) {
        for mut other in std::mem::take(&mut self.beside) {
            other.reach.legs_mut().for_each(|leg| leg.taken_elsewhere(out));
            other.reach.end(now, CANCELLED_STATUS, out);
            self.past.extend_from_slice(other.reach.routes());
            self.former.extend(other.reach.into_legs());
        }
    }

    /// Whether this leg's keys say that somebody is there.
    pub(super) fn asks(&self, leg: LegId) -> bool {
        self.ways().any(|way| way.confirming.is_some() && way.is(On::Leg(leg)))
    }

    /// A key was pressed on it. Whether it was the one.
    pub(super) fn is_confirmed_by(&mut self, now: Now, (leg, digit): (LegId, u8), out: &mut Vec<Command>) -> bool {
        if digit != KEY_CONFIRM || !self.bring_forward(On::Leg(leg)) {
            return false;
        }
        self.way.confirming = None;
        self.take(now, out);
        out.push(Command::Media(Media::Stop { leg }));
        true
    }

    /// The number in use came to nothing: one beside it is in use then, else the next one.
    fn next_number(&mut self, now: Now, out: &mut Vec<Command>) -> bool {
        let other = match self.target.together {
            true => self.beside.pop(),
            false => {
                let from = (self.way.number + 1, self.of.holder);
                wish((&self.target, self.duty), &self.of, from).map(|wish| Way::begin(now, wish, out))
            }
        };
        let Some(other) = other else { return false };
        let before = std::mem::replace(&mut self.way, other);
        self.past.extend_from_slice(before.reach.routes());
        self.former.extend(before.reach.into_legs());
        true
    }

    /// The target is hung up, if it is still there.
    pub(super) fn end(&mut self, now: Now, status: u16, out: &mut Vec<Command>) {
        let ways = std::iter::once(&mut self.way).chain(&mut self.beside);
        ways.for_each(|way| way.reach.end(now, status, out));
    }

    /// A step was cut short: whatever anybody knows of the legs, they are no more.
    pub(super) fn abandon(&mut self, now: Now, out: &mut Vec<Command>) {
        self.end(now, 500, out);
        self.legs_mut().for_each(|leg| leg.abandon(out));
    }

    /// All its legs, when it is over.
    pub(super) fn into_legs(self) -> impl Iterator<Item = Leg> {
        let ways = std::iter::once(self.way).chain(self.beside);
        self.former.into_iter().chain(ways.flat_map(|way| way.reach.into_legs()))
    }

    /// What must hold after every event.
    pub(super) fn check(&self) {
        for way in self.ways() {
            way.reach.check();
            let there = self.is_answered() || way.confirming.is_some();
            assert_eq!(way.reach.is_answered(), there, "who is there has answered");
            assert!(!(self.is_answered() && way.confirming.is_some()), "who is there has confirmed it");
        }
        assert!(self.beside.is_empty() || !self.is_answered(), "one of them is there");
        let waits = match self.second {
            Some(Second::Waiting { .. }) => !self.is_answered(),
            Some(Second::With { .. } | Second::Left { .. }) => self.is_answered(),
            None => true,
        };
        assert!(waits, "the agent's own call is answered when the target answers");
    }

    /// As it survives a crash; `None` while nobody is there, or is about to leave.
    pub(super) fn saved(&self) -> Option<SavedTransfer> {
        let second = self.second_leg();
        if self.second.is_some() && second.is_none() {
            return None;
        }
        let leg = self.way.reach.leg().filter(|_| self.is_answered())?.clone();
        let (phase, mode, tracks, duty) = (self.phase, self.mode, self.tracks, self.duty);
        let (number, holder, target) = (self.way.number, self.way.holder, self.target.name.clone());
        Some(SavedTransfer { phase, mode, target, duty, number, holder, tracks, leg, second })
    }

    /// Goes on after a crash with a target that is there. `None` when the settings do not know it any more, or the route
    /// that it was reached by.
    pub(super) fn restore(
        saved: SavedTransfer,
        of: Of,
        site: crate::base::SiteId,
        routes: &[RouteAttempt],
    ) -> Option<Transfer> {
        let of = Of { holder: saved.holder, ..of };
        let target = of.settings.targets.named(site, &saved.target)?.clone();
        let (number, wish) = wish((&target, saved.duty), &of, (saved.number, saved.holder))?;
        let (trunk, _) = of.settings.trunk_named(&routes.last()?.trunk)?;
        let reach = Reach::resumed(wish, saved.leg, trunk, routes.to_vec());
        Some(Transfer {
            phase: saved.phase,
            mode: saved.mode,
            is_heard: false,
            tracks: saved.tracks,
            second: saved.second.map(|leg| Second::With { leg }),
            target,
            duty: saved.duty,
            of,
            way: Way { number, holder: saved.holder, reach, confirming: None },
            beside: Vec::new(),
            past: Vec::new(),
            former: Vec::new(),
        })
    }
}

/// How the first number from this place on that may be dialled is reached, and its place.
fn wish((target, duty): (&Target, Option<usize>), of: &Of, (from, holder): (usize, LegId)) -> Option<(usize, Wish)> {
    let numbers = target.numbers_of(duty).iter().enumerate().skip(from);
    let (place, number, rule) = numbers
        .filter_map(|(place, number)| Some((place, number, of.settings.dialling.rule(target.site, number)?)))
        // An exercise rings at no true line, nor a citizen in need at a simulated one, whatever a reload made of the rules.
        .find(|(_, _, rule)| rule.drill == target.drill)?;
    let wish = Wish {
        holder,
        beside: of.citizen,
        settings: of.settings.clone(),
        number: number.clone(),
        rule: rule.clone(),
        ring_max: target.ring_max,
        contact: of.contact,
        clock: of.clock,
        behalf: Some(of.behalf.clone()),
        link: of.link.clone(),
    };
    Some((place, wish))
}

/// How a transfer went that nobody answered.
pub(super) fn result_of(failure: Failure) -> TransferResult {
    match (failure.status, failure.by) {
        (486 | 600 | 603, _) => TransferResult::Busy,
        (408 | 480 | 487, EndedBy::Caller) => TransferResult::NoAnswer,
        _ => TransferResult::Unreachable,
    }
}

impl TransferRecord {
    /// Whether it is the one transfer that a contact may have.
    pub(super) fn counts(&self) -> bool {
        self.result == Some(TransferResult::Completed) && self.kind != TargetKind::Emergency && !self.drill
    }
}
