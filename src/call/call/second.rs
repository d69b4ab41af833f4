//! The second call of the agent's phone: it has dialled a target beside the citizen, as desk phones do (RFC 5589 §7).
//!
//! The rules: it is the same wish as any other way in, with the same checks; the phone says who hears whom, by whom it
//! holds, and mixes by itself, so each of its calls is joined with one party alone; a citizen whom it holds has music. An
//! agent who hangs up with the citizen leaves them to the target, as with every transfer. So does one who hangs up both,
//! in whatever order the phone does; with the target alone, the citizen is taken back. What needs all in one room
//! (`Ask::Join`, an emergency line when the citizen has gone) makes the second call the agent's only one.
//!
//! Owns the leg of that call and its answers. What becomes of the target is the transfer's.

use super::{Call, INCOMPATIBLE, NO_RESOURCE, NORMAL, State};
use crate::base::fact::{TransferMode, TransferResult};
use crate::base::{LegId, Mono, Now};
use crate::call::event::{Command, Towards};
use crate::call::leg::{Dialog, Leg};
use crate::call::q850::{NO_ANSWER, NO_ROUTE, REJECTED, USER_BUSY};
use crate::call::transfer::{NotTransferred, PHONE_REASON, Phase, Second, Spare, Transfer};
use crate::sip::event::{Action as Sip, Ending, Referred};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// A phone that hangs up both of its calls does so within this.
const BOTH_WAIT_MAX: Duration = Duration::from_secs(1);

/// Between the INVITE and its port, which is opened in the same pass.
#[derive(Debug)]
pub(in crate::call) struct Coming {
    pub(super) leg: LegId,
    offer: Option<Bytes>,
    target: Box<str>,
    spare: Spare,
}

/// An INVITE from the phone of the agent who talks.
pub(in crate::call) struct Came {
    pub(in crate::call) leg: LegId,
    pub(in crate::call) offer: Option<Bytes>,
    pub(in crate::call) from: SocketAddr,
    /// Name of the target that it is for.
    pub(in crate::call) target: Box<str>,
}

/// It comes, and what it is answered with.
impl Call {
    /// The phone of the agent who talks has dialled a target.
    pub(in crate::call) fn consults(&mut self, came: Came, spare: Spare, out: &mut Vec<Command>) {
        let Came { leg, offer, from, target } = came;
        let State::Talking { leg: talking, .. } = self.state else { return };
        let Some(party) = self.leg_mut(talking).map(|leg| leg.party.clone()) else { return };
        self.agents.push(Leg::new(leg, Dialog::Unanswered, party));
        if self.transfer.is_some() || self.coming.is_some() {
            let why = NotTransferred::UnderWay;
            return self.refuse_second(leg, (why.status(), USER_BUSY), why.to_string(), out);
        }
        self.coming = Some(Coming { leg, offer, target, spare });
        out.push(Command::OpenPort { leg, beside: Some(self.citizen.id), towards: Towards::Address(from) });
    }

    /// Its port is bound: the target is dialled.
    pub(super) fn second_comes(&mut self, now: Now, local: SocketAddr, seed: u64, out: &mut Vec<Command>) {
        let Some(Coming { leg, offer, target, spare }) = self.coming.take() else { return };
        let codec = self.citizen.codec();
        let Some(side) = self.leg_mut(leg) else { return };
        side.open(now, local, seed, out);
        side.prefer(codec);
        let answer = match offer.map(|offer| side.answer(&offer, out)).transpose() {
            Ok(answer) => answer,
            Err(status) => {
                return self.refuse_second(leg, (status, INCOMPATIBLE), "no codec in common".into(), out);
            }
        };
        let Some((talker, talking)) = self.talker() else {
            let why = NotTransferred::NotTalking;
            return self.refuse_second(leg, (why.status(), NORMAL), why.to_string(), out);
        };
        let agent = self.agent_name(talker.agent());
        let wish = (&*target, TransferMode::Attended, PHONE_REASON);
        if let Err(why) = self.begin_transfer(now, wish, (talking, &agent), spare, out) {
            return self.refuse_second(leg, (why.status(), REJECTED), why.to_string(), out);
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.second = Some(Second::Waiting { leg, answer, early: false });
        }
        self.sound(out);
        self.show(now, out);
    }

    /// There is no port for it.
    pub(super) fn second_has_no_port(&mut self, out: &mut Vec<Command>) {
        if let Some(Coming { leg, .. }) = self.coming.take() {
            self.refuse_second(leg, (503, NO_RESOURCE), "no media port is free".into(), out);
        }
    }

    fn refuse_second(&mut self, leg: LegId, (status, q850): (u16, u8), why: String, out: &mut Vec<Command>) {
        let Some(side) = self.leg_mut(leg) else { return };
        if side.dialog == Dialog::Unanswered {
            side.dialog = Dialog::Ending;
            out.push(Command::Sip(Sip::Refuse { leg, status, q850, why: why.into() }));
        }
        side.close(out);
    }

    /// The target rings: so does the agent's own call to it, or hears what the target sounds like.
    pub(super) fn second_rings(&mut self, out: &mut Vec<Command>) {
        let Some(Transfer { second: Some(second), is_heard, .. }) = &mut self.transfer else { return };
        let Second::Waiting { leg, answer, early } = second else { return };
        let (status, sdp) = match (&*answer, *is_heard) {
            (Some(answer), true) if !*early => {
                *early = true;
                (183, Some(answer.clone()))
            }
            (Some(_), true) => return,
            (Some(_) | None, _) => (180, None),
        };
        out.push(Command::Sip(Sip::Respond { leg: *leg, status, sdp, q850: None, retry_after_s: None }));
    }

    /// The target is there: so is the agent's own call to it.
    pub(super) fn second_answers(&mut self, out: &mut Vec<Command>) {
        let Some(Transfer { second: Some(Second::Waiting { leg, answer, .. }), .. }) = &mut self.transfer else {
            return;
        };
        let (leg, answer) = (*leg, answer.take());
        let Some(side) = self.leg_mut(leg) else { return };
        side.dialog = Dialog::Alive;
        // A port is open: what can be spoken can be described.
        let sdp = answer.or_else(|| side.offer(None));
        out.push(Command::Sip(Sip::Respond { leg, status: 200, sdp, q850: None, retry_after_s: None }));
        if let Some(transfer) = &mut self.transfer {
            transfer.second = Some(Second::With { leg });
        }
    }
}

/// While it is there.
impl Call {
    /// Whether this is the leg of it.
    pub(super) fn is_second(&self, leg: LegId) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.second_leg() == Some(leg))
    }

    /// Who is joined by it: its leg and the target's.
    pub(in crate::call) fn wanted_pair(&self) -> Option<(LegId, LegId)> {
        let transfer = self.transfer.as_ref()?;
        let target = transfer.leg()?;
        match transfer.second.as_ref()? {
            Second::Waiting { leg, early: true, .. } if transfer.is_heard => Some((*leg, target)),
            Second::With { leg } => Some((*leg, target)),
            Second::Waiting { .. } | Second::Left { .. } => None,
        }
    }

    /// The phone holds one of its calls, or does not any more: with neither on hold it mixes, and all three hear each other.
    /// Who has hung up the second and takes the citizen off hold wants the citizen alone.
    pub(super) fn follow_second(&mut self, now: Now, out: &mut Vec<Command>) {
        let State::Talking { held, .. } = self.state else { return };
        let Some(Transfer { second: Some(second), phase, .. }) = &self.transfer else { return };
        let (second, phase) = (second.clone(), *phase);
        match second {
            Second::Waiting { .. } => {}
            Second::With { leg } => {
                let apart = held || self.agents.iter().any(|it| it.id == leg && it.on_hold());
                match phase {
                    Phase::Consulting if !apart => self.join(now, out),
                    Phase::Joined if apart => self.part_second(),
                    Phase::Consulting | Phase::Joined | Phase::Dialling | Phase::Handed => {}
                }
            }
            Second::Left { .. } if held => {}
            Second::Left { .. } => self.transfer_over(now, TransferResult::Returned, out),
        }
        self.sound(out);
        self.show(now, out);
    }

    fn part_second(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.phase = Phase::Consulting;
        }
    }

    /// The dialog of its leg is over.
    pub(super) fn second_ended(&mut self, now: Now, why: Ending, out: &mut Vec<Command>) {
        let Some(Transfer { second: Some(second), .. }) = &mut self.transfer else { return };
        match (&second, why) {
            (Second::Waiting { .. }, _) => self.transfer_over(now, TransferResult::Cancelled, out),
            (Second::With { .. }, Ending::Bye { .. } | Ending::Cancel) => {
                *second = Second::Left { until: now.mono + BOTH_WAIT_MAX };
            }
            // The phone is gone, and with it the other call: citizen and target go on.
            (Second::With { .. }, Ending::Lost | Ending::NoAck) => self.hand_over(now, out),
            (Second::With { .. }, Ending::Ours) => {
                self.lost_by_fault();
                self.transfer_over(now, TransferResult::Lost, out);
            }
            (Second::Left { .. }, _) => {}
        }
        self.sound(out);
        self.show(now, out);
    }

    /// Who has hung it up has not hung up with the citizen: the target leaves.
    pub(super) fn second_expired(&mut self, now: Now, out: &mut Vec<Command>) {
        let until = match &self.transfer {
            Some(Transfer { second: Some(Second::Left { until }), .. }) => *until,
            Some(_) | None => Mono(u64::MAX),
        };
        if until <= now.mono {
            self.transfer_over(now, TransferResult::Returned, out);
            self.sound(out);
            self.show(now, out);
        }
    }

    /// It becomes the agent's only call: the one with the citizen is hung up, and the three are as after any other wish.
    pub(super) fn second_alone(&mut self, now: Now, out: &mut Vec<Command>) {
        let Some(transfer) = &mut self.transfer else { return };
        let second = match transfer.second {
            Some(Second::With { leg }) => leg,
            Some(Second::Left { .. }) => return transfer.second = None,
            Some(Second::Waiting { .. }) | None => return,
        };
        transfer.second = None;
        let on_hold = self.agents.iter().any(|it| it.id == second && it.on_hold());
        let State::Talking { leg, held, .. } = &mut self.state else { return };
        let first = std::mem::replace(leg, second);
        *held = on_hold;
        self.drop_agent(first, NORMAL, out);
        self.hold_changed(now);
    }

    /// The agent leaves: so does the call.
    pub(super) fn second_leaves(&mut self, out: &mut Vec<Command>) {
        let second = self.transfer.as_mut().and_then(|transfer| transfer.second.take());
        self.drop_second(second, (487, TransferResult::Completed), out);
    }

    /// The transfer is over, or goes on without the agent: so does its call. One that waits is refused with how it went.
    pub(super) fn drop_second(
        &mut self,
        second: Option<Second>,
        (status, why): (u16, TransferResult),
        out: &mut Vec<Command>,
    ) {
        match second {
            Some(Second::Waiting { leg, .. }) => {
                let (q850, why) = match why {
                    TransferResult::Busy => (USER_BUSY, "the target is busy"),
                    TransferResult::NoAnswer => (NO_ANSWER, "the target does not answer"),
                    TransferResult::Unreachable | TransferResult::Lost => (NO_ROUTE, "the target cannot be reached"),
                    TransferResult::Cancelled => (NORMAL, "the transfer was cancelled"),
                    TransferResult::CallerGone => (NORMAL, "the citizen has hung up"),
                    TransferResult::Completed | TransferResult::Returned => (NORMAL, "the citizen goes on alone"),
                };
                self.refuse_second(leg, (status, q850), why.into(), out);
            }
            Some(Second::With { leg }) => self.drop_agent(leg, NORMAL, out),
            Some(Second::Left { .. }) | None => {}
        }
    }
}

/// REFER with Replaces.
impl Call {
    /// The phone asks that the parties of its two calls be joined: in either of them, naming the other.
    pub(super) fn referred_to_second(&mut self, now: Now, referred: &Referred, out: &mut Vec<Command>) {
        let Referred { leg, refer, replaces, .. } = *referred;
        let refuse = |status, why: &str| Command::Sip(Sip::RefuseRefer { leg, refer, status, why: why.into() });
        let Some(named) = replaces else {
            return out.push(refuse(481, "Replaces names no call that stands here"));
        };
        let talking = self.talker().map(|(_, leg)| leg);
        let second = self.transfer.as_ref().and_then(|transfer| transfer.second.clone());
        let both = |second: LegId| (Some(leg), named) == (talking, second) || (leg, Some(named)) == (second, talking);
        match second {
            Some(Second::With { leg: second }) if both(second) => {
                out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: super::transfer::ACCEPTED }));
                self.referred = Some((leg, refer));
                self.hand_over(now, out);
            }
            // The target rings still: as a blind one, which the phone shall not take back by ending its own call.
            Some(Second::Waiting { leg: second, .. }) if both(second) => {
                out.push(Command::Sip(Sip::AnswerRefer { leg, refer, status: super::transfer::ACCEPTED }));
                self.referred = Some((leg, refer));
                let Some(transfer) = &mut self.transfer else { return };
                transfer.mode = TransferMode::Blind;
                let second = transfer.second.take();
                self.drop_second(second, (487, TransferResult::Completed), out);
            }
            Some(Second::Waiting { .. } | Second::With { .. } | Second::Left { .. }) | None => {
                out.push(refuse(403, "Replaces names no call of this phone to a target of this talk"));
            }
        }
        self.sound(out);
        self.show(now, out);
    }
}
