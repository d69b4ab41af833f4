//! Who hears whom in a talk: derived from where the call stands, and told to the media plane as it changes.
//!
//! Owns the difference between what is heard and what should be. Never decides where the call stands.

use super::{Call, State};
use crate::base::LegId;
use crate::base::fact::TransferMode;
use crate::call::event::Command;
use crate::call::leg::Dialog;
use crate::call::transfer::Phase;
use crate::media::event::{Action as Media, Parties, Party};
use crate::media::tone::Tone;

/// Who is with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::call) enum Room {
    /// Not in a talk: what the citizen hears is the state's own.
    Alone,
    /// The citizen has music.
    Music,
    /// So has the citizen, and this agent hears that the target rings.
    Ringback(LegId),
    /// So has the citizen; agent and target hear each other.
    Aside(LegId, LegId),
    /// The citizen and this one hear each other.
    Two(LegId),
    /// The citizen and these two.
    Three(LegId, LegId),
}

impl Room {
    /// Whether the citizen hears music in it.
    fn has_music(self) -> bool {
        match self {
            Room::Music | Room::Ringback(_) | Room::Aside(..) => true,
            Room::Alone | Room::Two(_) | Room::Three(..) => false,
        }
    }
}

impl Call {
    /// Who should be with whom.
    pub(in crate::call) fn wanted_room(&self) -> Room {
        let target = self.transfer.as_ref().and_then(|transfer| {
            let leg = transfer.leg()?;
            Some((transfer.phase, transfer.mode, transfer.is_heard, leg))
        });
        let citizen_gone = self.citizen.dialog == Dialog::Gone;
        match (&self.state, target) {
            (
                State::Talking { leg: agent, .. },
                Some((Phase::Consulting | Phase::Joined | Phase::Handed, _, _, target)),
            ) if citizen_gone => Room::Aside(*agent, target),
            (State::Talking { leg: agent, held: false, .. }, Some((Phase::Joined, _, _, target))) => {
                Room::Three(*agent, target)
            }
            (State::Talking { held: true, .. }, Some((Phase::Joined, _, _, target))) => Room::Two(target),
            (State::Talking { leg: agent, .. }, Some((Phase::Consulting, _, _, target))) => Room::Aside(*agent, target),
            (
                State::Talking { leg: agent, .. },
                Some((Phase::Dialling, TransferMode::Consult | TransferMode::Blind, heard, target)),
            ) => match heard {
                true => Room::Aside(*agent, target),
                false => Room::Ringback(*agent),
            },
            (State::Talking { leg: agent, .. }, None) if self.rings_for_agent() => Room::Ringback(*agent),
            (State::Talking { leg: agent, held: false, .. }, _) => Room::Two(*agent),
            (State::Talking { held: true, .. }, _) => Room::Music,
            (State::Handed, Some((Phase::Handed, _, _, target))) => Room::Two(target),
            (State::Handed, _) => Room::Music,
            (
                State::Opening { .. }
                | State::Connecting
                | State::Ivr { .. }
                | State::Waiting
                | State::Ringing { .. }
                | State::Apologising
                | State::Ending,
                _,
            ) => Room::Alone,
        }
    }

    /// The agent waits for a target that has no leg yet.
    fn rings_for_agent(&self) -> bool {
        self.transfer
            .as_ref()
            .is_some_and(|transfer| !transfer.is_answered() && transfer.mode != TransferMode::Conference)
    }

    /// Brings about what should be.
    pub(in crate::call) fn sound(&mut self, out: &mut Vec<Command>) {
        let wanted = self.wanted_room();
        let had = std::mem::replace(&mut self.room, wanted);
        if had == wanted || matches!(self.state, State::Ending) {
            return;
        }
        self.leave(had, wanted, out);
        match wanted {
            Room::Alone => {}
            Room::Two(other) => out.push(Command::Media(Media::Bridge { a: self.citizen.id, b: other })),
            Room::Three(agent, target) => self.confer(vec![self.citizen.id, agent, target], out),
            Room::Music | Room::Ringback(_) | Room::Aside(..) => {
                if !had.has_music() && self.citizen.dialog != Dialog::Gone {
                    self.music(out);
                }
            }
        }
        match wanted {
            Room::Ringback(agent) => {
                let (play, tone) = (self.play, Tone::Ringback);
                out.push(Command::Media(Media::Tone { leg: agent, play, tone, repeat: true }));
            }
            Room::Aside(agent, target) => out.push(Command::Media(Media::Bridge { a: agent, b: target })),
            Room::Alone | Room::Music | Room::Two(_) | Room::Three(..) => {}
        }
    }

    /// Whom this leg speaks to alone, or, of an agent among three, the target: who is to hear a digit that did not come with
    /// the media.
    pub(in crate::call) fn digit_goes_to(&self, from: LegId) -> Option<LegId> {
        let citizen = self.citizen.id;
        let other_of = |one: LegId, other: LegId| match from {
            from if from == one => Some(other),
            from if from == other => Some(one),
            _ => None,
        };
        match self.room {
            Room::Two(other) => other_of(citizen, other),
            Room::Aside(agent, target) => other_of(agent, target),
            Room::Three(agent, target) if from == agent => Some(target),
            Room::Three(..) | Room::Alone | Room::Music | Room::Ringback(_) => None,
        }
    }

    /// Parts those who must be before others are joined. From two to three and back nobody is parted, so that there is no gap.
    pub(super) fn leave(&self, had: Room, wanted: Room, out: &mut Vec<Command>) {
        let citizen = self.citizen.id;
        match (had, wanted) {
            (Room::Two(_), Room::Three(..)) | (Room::Three(..), Room::Two(_)) => {}
            (Room::Two(_), _) => out.push(Command::Media(Media::Unbridge { leg: citizen })),
            (Room::Three(..), _) => self.confer(Vec::new(), out),
            (Room::Ringback(agent), _) => out.push(Command::Media(Media::Stop { leg: agent })),
            (Room::Aside(..), Room::Two(_) | Room::Three(..)) => {}
            (Room::Aside(agent, _), _) => out.push(Command::Media(Media::Unbridge { leg: agent })),
            (Room::Alone | Room::Music, _) => {}
        }
    }

    fn confer(&self, legs: Vec<LegId>, out: &mut Vec<Command>) {
        let parties = Parties::new(legs.into_iter().map(Party::new).collect()).unwrap_or_default();
        out.push(Command::Media(Media::Conference { citizen: self.citizen.id, parties }));
    }
}
