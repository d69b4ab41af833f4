//! Who hears whom in a talk: derived from where the call stands, and told to the media plane as it changes.
//!
//! Owns the difference between what is heard and what should be. Never decides where the call stands.

use super::{Call, State};
use crate::base::LegId;
use crate::base::fact::TransferMode;
use crate::call::event::Command;
use crate::call::leg::Dialog;
use crate::call::transfer::{Phase, Transfer};
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

/// Legs that hear each other, as the media plane has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::call) enum Seats {
    /// Each is alone.
    None,
    /// A bridge.
    Two(LegId, LegId),
    /// A conference.
    Many(Vec<Party>),
}

impl Seats {
    fn has(&self, leg: LegId) -> bool {
        match self {
            Seats::None => false,
            Seats::Two(a, b) => leg == *a || leg == *b,
            Seats::Many(parties) => parties.iter().any(|party| party.leg == leg),
        }
    }
}

impl Room {
    /// Whether the citizen hears music in it.
    pub(super) fn has_music(self) -> bool {
        match self {
            Room::Music | Room::Ringback(_) | Room::Aside(..) => true,
            Room::Alone | Room::Two(_) | Room::Three(..) => false,
        }
    }
}

impl Call {
    /// Who should be with whom.
    pub(in crate::call) fn wanted_room(&self) -> Room {
        // The agent's phone says by holding whom it has beside the target: see `wanted_pair`.
        let target = self.transfer.as_ref().filter(|transfer| transfer.second.is_none()).and_then(|transfer| {
            let leg = transfer.leg()?;
            // Consulting with one of whom nothing comes would be silence: all three are together.
            let phase = match transfer.phase {
                Phase::Consulting if transfer.is_mute() && !self.is_held() => Phase::Joined,
                phase => phase,
            };
            Some((phase, transfer.mode, transfer.is_heard, leg))
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
                Some((
                    Phase::Dialling,
                    TransferMode::Consult | TransferMode::Blind | TransferMode::Attended,
                    heard,
                    target,
                )),
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
                | State::Aside(_)
                | State::Asked { .. }
                | State::Apologising
                | State::Ending,
                _,
            ) => Room::Alone,
        }
    }

    fn is_held(&self) -> bool {
        matches!(self.state, State::Talking { held: true, .. })
    }

    /// The agent waits for a target that has no leg yet.
    fn rings_for_agent(&self) -> bool {
        self.transfer
            .as_ref()
            .is_some_and(|it| !it.is_answered() && it.mode != TransferMode::Conference && it.second.is_none())
    }

    /// Brings about what should be.
    pub(in crate::call) fn sound(&mut self, out: &mut Vec<Command>) {
        let (had, had_seats) = (self.room, self.seats());
        let wanted = self.wanted_room();
        let guest = self.wanted_guest(wanted);
        let pair = self.wanted_pair();
        if (had, self.guest, self.pair) == (wanted, guest, pair) || matches!(self.state, State::Ending) {
            return;
        }
        (self.room, self.guest) = (wanted, guest);
        let seats = self.seats();
        let had_pair = std::mem::replace(&mut self.pair, pair);
        if let Some((second, target)) = had_pair.filter(|had| Some(*had) != pair)
            && !(seats.has(second) && seats.has(target))
        {
            out.push(Command::Media(Media::Unbridge { leg: second }));
        }
        self.sit(wanted, (had, &had_seats), &seats, out);
        if let Some((a, b)) = self.pair
            && had_pair != self.pair
        {
            out.push(Command::Media(Media::Bridge { a, b }));
        }
    }

    /// From one room into the other.
    fn sit(&mut self, wanted: Room, (had, had_seats): (Room, &Seats), seats: &Seats, out: &mut Vec<Command>) {
        if let Room::Ringback(agent) = had {
            out.push(Command::Media(Media::Stop { leg: agent }));
        }
        self.leave(had_seats, seats, out);
        match wanted {
            Room::Alone | Room::Two(_) | Room::Three(..) => {}
            Room::Music | Room::Ringback(_) | Room::Aside(..) => {
                if !had.has_music() && self.citizen.dialog != Dialog::Gone {
                    match self.transfer.as_ref().and_then(Transfer::announcement) {
                        Some(prompt) => self.play(vec![prompt], false, out),
                        None => self.music(out),
                    }
                }
            }
        }
        if let Room::Ringback(agent) = wanted {
            let (play, tone) = (self.play, Tone::Ringback);
            out.push(Command::Media(Media::Tone { leg: agent, play, tone, repeat: true }));
        }
        if seats == had_seats {
            return;
        }
        match seats {
            Seats::None => {}
            Seats::Two(a, b) => out.push(Command::Media(Media::Bridge { a: *a, b: *b })),
            Seats::Many(parties) => self.confer(parties.clone(), out),
        }
    }

    /// How the media plane has, or should have, those who hear each other.
    pub(super) fn seats(&self) -> Seats {
        let citizen = self.citizen.id;
        let all = |legs: &[LegId]| legs.iter().copied().map(Party::new).chain(self.guest).collect();
        match (self.room, self.guest) {
            (Room::Alone | Room::Music | Room::Ringback(_), _) => Seats::None,
            (Room::Two(other), None) => Seats::Two(citizen, other),
            (Room::Two(other), Some(_)) => Seats::Many(all(&[citizen, other])),
            (Room::Three(agent, target), _) => Seats::Many(all(&[citizen, agent, target])),
            (Room::Aside(agent, target), _) => Seats::Two(agent, target),
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
        .or_else(|| self.pair.and_then(|(second, target)| other_of(second, target)))
    }

    /// Parts those who must be before others are joined. From two to more and back nobody is parted, so that there is no gap.
    pub(super) fn leave(&self, had: &Seats, wanted: &Seats, out: &mut Vec<Command>) {
        match (had, wanted) {
            (Seats::None, _) | (Seats::Many(_), Seats::Many(_)) => {}
            (Seats::Two(a, b), Seats::Many(_)) if [a, b].into_iter().all(|leg| wanted.has(*leg)) => {}
            (Seats::Many(_), Seats::Two(a, b)) if [a, b].into_iter().all(|leg| had.has(*leg)) => {}
            (Seats::Two(..), _) if had == wanted => {}
            // Bridging the agent to the citizen takes them from the target.
            (Seats::Two(a, b), _) if *a != self.citizen.id && (wanted.has(*a) || wanted.has(*b)) => {}
            (Seats::Two(a, _), _) => out.push(Command::Media(Media::Unbridge { leg: *a })),
            (Seats::Many(_), Seats::None | Seats::Two(..)) => self.confer(Vec::new(), out),
        }
    }

    fn confer(&self, parties: Vec<Party>, out: &mut Vec<Command>) {
        let parties = Parties::new(parties).unwrap_or_default();
        out.push(Command::Media(Media::Conference { citizen: self.citizen.id, parties }));
    }
}
