//! Server transactions: RFC 3261 §17.2 (figures 7 and 8) with RFC 6026 §7.1 (state *Accepted*).
//!
//! Owns the two state machines, written as tables to be read beside the figures. Never owns a message, a clock or a
//! socket: an event gives the next state and the steps to take, in order.

use super::client_txn::Kind;
use super::timers::Timer;

/// Where a server transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing answered yet (only other requests: an INVITE is born with its 100).
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent (to INVITE: a refusal).
    Completed,
    /// The refusal of an INVITE was acknowledged.
    Confirmed,
    /// A 2xx to an INVITE was sent (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request came again.
    Repeated,
    /// ACK came.
    Ack,
    /// The transaction user sends 1xx.
    Provisional,
    /// The transaction user sends 2xx (to INVITE also each repeat of it).
    Success,
    /// The transaction user sends 300–699.
    Refusal,
    /// A timer it had started.
    Timer(Timer),
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keep the response and send it.
    Send,
    /// Send the response kept last.
    SendAgain,
    /// Give the ACK to the transaction user.
    Tell,
    /// Start this timer; of a repeating one, its next and longer turn. Where only unreliable transports want it
    /// (G, and J and I with zero), the caller's `reliable` decides.
    Start(Timer),
    /// Stop repeating.
    StopRepeating,
}

/// The tables. A pair that means nothing changes nothing.
pub const fn step(kind: Kind, state: State, event: Event) -> (State, &'static [Step]) {
    match kind {
        Kind::Invite => invite(state, event),
        Kind::NonInvite => non_invite(state, event),
    }
}

/// Figure 7, as amended by RFC 6026 figure 2.
const fn invite(state: State, event: Event) -> (State, &'static [Step]) {
    use State::*;
    use Step::*;
    match state {
        Trying | Proceeding => match event {
            Event::Repeated => (state, &[SendAgain]),
            Event::Provisional => (Proceeding, &[Send]),
            Event::Success => (Accepted, &[Send, Start(Timer::L)]),
            Event::Refusal => (Completed, &[Send, Start(Timer::G), Start(Timer::H)]),
            Event::Ack | Event::Timer(_) => (state, &[]),
        },
        Completed => match event {
            Event::Repeated => (Completed, &[SendAgain]),
            Event::Ack => (Confirmed, &[StopRepeating, Start(Timer::I)]),
            Event::Timer(Timer::G) => (Completed, &[SendAgain, Start(Timer::G)]),
            Event::Timer(Timer::H) => (Terminated, &[StopRepeating]),
            Event::Provisional | Event::Success | Event::Refusal | Event::Timer(_) => (Completed, &[]),
        },
        Confirmed => match event {
            Event::Timer(Timer::I) => (Terminated, &[]),
            Event::Repeated | Event::Ack | Event::Provisional | Event::Success | Event::Refusal | Event::Timer(_) => {
                (Confirmed, &[])
            }
        },
        // Repeats of the INVITE are absorbed; the transaction user repeats its 2xx until the ACK (§13.3.1.4).
        Accepted => match event {
            Event::Ack => (Accepted, &[Tell]),
            Event::Success => (Accepted, &[Send]),
            Event::Timer(Timer::L) => (Terminated, &[]),
            Event::Repeated | Event::Provisional | Event::Refusal | Event::Timer(_) => (Accepted, &[]),
        },
        Terminated => match event {
            Event::Repeated | Event::Ack | Event::Provisional | Event::Success | Event::Refusal | Event::Timer(_) => {
                (Terminated, &[])
            }
        },
    }
}

/// Figure 8.
const fn non_invite(state: State, event: Event) -> (State, &'static [Step]) {
    use State::*;
    use Step::*;
    match state {
        Trying => match event {
            Event::Provisional => (Proceeding, &[Send]),
            Event::Success | Event::Refusal => (Completed, &[Send, Start(Timer::J)]),
            Event::Repeated | Event::Ack | Event::Timer(_) => (Trying, &[]),
        },
        Proceeding => match event {
            Event::Repeated => (Proceeding, &[SendAgain]),
            Event::Provisional => (Proceeding, &[Send]),
            Event::Success | Event::Refusal => (Completed, &[Send, Start(Timer::J)]),
            Event::Ack | Event::Timer(_) => (Proceeding, &[]),
        },
        Completed => match event {
            Event::Repeated => (Completed, &[SendAgain]),
            Event::Timer(Timer::J) => (Terminated, &[]),
            Event::Ack | Event::Provisional | Event::Success | Event::Refusal | Event::Timer(_) => (Completed, &[]),
        },
        // Confirmed and Accepted belong to INVITE and are never entered.
        Confirmed | Accepted | Terminated => match event {
            Event::Repeated | Event::Ack | Event::Provisional | Event::Success | Event::Refusal | Event::Timer(_) => {
                (Terminated, &[])
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{Ack, Provisional, Refusal, Repeated, Success};
    use State::*;
    use Step::*;

    const TIMERS: [Timer; 12] = [
        Timer::A,
        Timer::B,
        Timer::D,
        Timer::E,
        Timer::F,
        Timer::G,
        Timer::H,
        Timer::I,
        Timer::J,
        Timer::K,
        Timer::L,
        Timer::M,
    ];

    /// Every pair stands in the list of moves, or does nothing at all.
    fn exhaust(kind: Kind, moves: &[(State, Event, State, &[Step])], reachable: &[State]) {
        let events = [Repeated, Ack, Provisional, Success, Refusal].into_iter().chain(TIMERS.map(Event::Timer));
        for event in events {
            for &state in reachable {
                let expected = moves.iter().find(|(from, on, ..)| (*from, *on) == (state, event));
                let expected = expected.map_or((state, &[][..]), |&(.., to, steps)| (to, steps));
                assert_eq!(step(kind, state, event), expected, "{kind:?} {state:?} {event:?}");
            }
        }
    }

    #[test]
    fn figure_7() {
        exhaust(
            Kind::Invite,
            &[
                (Proceeding, Repeated, Proceeding, &[SendAgain]),
                (Proceeding, Provisional, Proceeding, &[Send]),
                (Proceeding, Success, Accepted, &[Send, Start(Timer::L)]),
                (Proceeding, Refusal, Completed, &[Send, Start(Timer::G), Start(Timer::H)]),
                (Completed, Repeated, Completed, &[SendAgain]),
                (Completed, Ack, Confirmed, &[StopRepeating, Start(Timer::I)]),
                (Completed, Event::Timer(Timer::G), Completed, &[SendAgain, Start(Timer::G)]),
                (Completed, Event::Timer(Timer::H), Terminated, &[StopRepeating]),
                (Confirmed, Event::Timer(Timer::I), Terminated, &[]),
                (Accepted, Ack, Accepted, &[Tell]),
                (Accepted, Success, Accepted, &[Send]),
                (Accepted, Event::Timer(Timer::L), Terminated, &[]),
            ],
            &[Proceeding, Completed, Confirmed, Accepted, Terminated],
        );
    }

    #[test]
    fn figure_8() {
        exhaust(
            Kind::NonInvite,
            &[
                (Trying, Provisional, Proceeding, &[Send]),
                (Trying, Success, Completed, &[Send, Start(Timer::J)]),
                (Trying, Refusal, Completed, &[Send, Start(Timer::J)]),
                (Proceeding, Repeated, Proceeding, &[SendAgain]),
                (Proceeding, Provisional, Proceeding, &[Send]),
                (Proceeding, Success, Completed, &[Send, Start(Timer::J)]),
                (Proceeding, Refusal, Completed, &[Send, Start(Timer::J)]),
                (Completed, Repeated, Completed, &[SendAgain]),
                (Completed, Event::Timer(Timer::J), Terminated, &[]),
            ],
            &[Trying, Proceeding, Completed, Terminated],
        );
    }
}
