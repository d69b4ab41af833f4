//! Client transactions: RFC 3261 §17.1 (figures 5 and 6) with RFC 6026 §7.2 (state *Accepted*).
//!
//! Owns the two state machines, written as tables to be read beside the figures. Never owns a message, a clock or a
//! socket: an event gives the next state and the steps to take, in order.

use super::timers::Timer;

/// Which of the two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// INVITE (figure 5).
    Invite,
    /// Everything else but ACK (figure 6).
    NonInvite,
}

/// Where a client transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing heard: *Calling* of an INVITE, *Trying* of others.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A final response came (for INVITE: a refusal, and it was acknowledged).
    Completed,
    /// A 2xx of an INVITE came (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 300–699.
    Refusal,
    /// The request cannot be sent (§17.1.4).
    Unsent,
    /// A timer it had started.
    Timer(Timer),
}

/// What is to be done, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request again.
    Send,
    /// Acknowledge the refusal (§17.1.1.3).
    Ack,
    /// Give the response to the transaction user.
    Tell,
    /// Tell the transaction user that nothing came.
    TellTimeout,
    /// Tell the transaction user that nothing was sent.
    TellUnsent,
    /// Start this timer; of a repeating one, its next and longer turn.
    Start(Timer),
    /// Stop repeating.
    StopRepeating,
}

/// Timers to start with the first sending. Reliable transports need no repeats.
pub const fn start(kind: Kind, reliable: bool) -> &'static [Step] {
    use Step::*;
    match (kind, reliable) {
        (Kind::Invite, false) => &[Start(Timer::A), Start(Timer::B)],
        (Kind::Invite, true) => &[Start(Timer::B)],
        (Kind::NonInvite, false) => &[Start(Timer::E), Start(Timer::F)],
        (Kind::NonInvite, true) => &[Start(Timer::F)],
    }
}

/// The tables. A pair that means nothing changes nothing.
pub const fn step(kind: Kind, state: State, event: Event) -> (State, &'static [Step]) {
    match kind {
        Kind::Invite => invite(state, event),
        Kind::NonInvite => non_invite(state, event),
    }
}

/// Figure 5, as amended by RFC 6026 figure 3.
const fn invite(state: State, event: Event) -> (State, &'static [Step]) {
    use State::*;
    use Step::*;
    match state {
        Calling => match event {
            Event::Provisional => (Proceeding, &[StopRepeating, Tell]),
            Event::Success => (Accepted, &[StopRepeating, Start(Timer::M), Tell]),
            Event::Refusal => (Completed, &[StopRepeating, Ack, Start(Timer::D), Tell]),
            Event::Timer(Timer::A) => (Calling, &[Send, Start(Timer::A)]),
            Event::Timer(Timer::B) => (Terminated, &[StopRepeating, TellTimeout]),
            Event::Unsent => (Terminated, &[StopRepeating, TellUnsent]),
            Event::Timer(_) => (Calling, &[]),
        },
        // Timer B bounds Calling alone; the transaction user bounds the ringing and, after CANCEL, the waiting (§9.1).
        Proceeding => match event {
            Event::Provisional => (Proceeding, &[Tell]),
            Event::Success => (Accepted, &[Start(Timer::M), Tell]),
            Event::Refusal => (Completed, &[Ack, Start(Timer::D), Tell]),
            Event::Unsent | Event::Timer(_) => (Proceeding, &[]),
        },
        Completed => match event {
            Event::Refusal => (Completed, &[Ack]),
            Event::Timer(Timer::D) => (Terminated, &[]),
            Event::Provisional | Event::Success | Event::Unsent | Event::Timer(_) => (Completed, &[]),
        },
        // Every 2xx goes up: repeats want their ACK again, those of other branches an ACK and a BYE.
        Accepted => match event {
            Event::Success => (Accepted, &[Tell]),
            Event::Timer(Timer::M) => (Terminated, &[]),
            Event::Provisional | Event::Refusal | Event::Unsent | Event::Timer(_) => (Accepted, &[]),
        },
        Terminated => match event {
            Event::Provisional | Event::Success | Event::Refusal | Event::Unsent | Event::Timer(_) => (Terminated, &[]),
        },
    }
}

/// Figure 6.
const fn non_invite(state: State, event: Event) -> (State, &'static [Step]) {
    use State::*;
    use Step::*;
    match state {
        Calling => match event {
            Event::Provisional => (Proceeding, &[Tell]),
            Event::Success | Event::Refusal => (Completed, &[StopRepeating, Start(Timer::K), Tell]),
            Event::Timer(Timer::E) => (Calling, &[Send, Start(Timer::E)]),
            Event::Timer(Timer::F) => (Terminated, &[StopRepeating, TellTimeout]),
            Event::Unsent => (Terminated, &[StopRepeating, TellUnsent]),
            Event::Timer(_) => (Calling, &[]),
        },
        Proceeding => match event {
            Event::Provisional => (Proceeding, &[Tell]),
            Event::Success | Event::Refusal => (Completed, &[StopRepeating, Start(Timer::K), Tell]),
            Event::Timer(Timer::E) => (Proceeding, &[Send, Start(Timer::E)]),
            Event::Timer(Timer::F) => (Terminated, &[StopRepeating, TellTimeout]),
            // It arrived; the answer may come by another way.
            Event::Unsent | Event::Timer(_) => (Proceeding, &[]),
        },
        Completed => match event {
            Event::Timer(Timer::K) => (Terminated, &[]),
            Event::Provisional | Event::Success | Event::Refusal | Event::Unsent | Event::Timer(_) => (Completed, &[]),
        },
        // Never entered: the 2xx of another request leads to Completed.
        Accepted | Terminated => match event {
            Event::Provisional | Event::Success | Event::Refusal | Event::Unsent | Event::Timer(_) => (Terminated, &[]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::{Provisional, Refusal, Success, Unsent};
    use State::*;
    use Step::*;

    const STATES: [State; 5] = [Calling, Proceeding, Completed, Accepted, Terminated];
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

    fn events() -> impl Iterator<Item = Event> {
        [Provisional, Success, Refusal, Unsent].into_iter().chain(TIMERS.map(Event::Timer))
    }

    /// Every pair stands in the list of moves, or does nothing at all.
    fn exhaust(kind: Kind, moves: &[(State, Event, State, &[Step])], reachable: &[State]) {
        for &state in reachable {
            for event in events() {
                let expected = moves.iter().find(|(from, on, ..)| (*from, *on) == (state, event));
                let expected = expected.map_or((state, &[][..]), |&(.., to, steps)| (to, steps));
                assert_eq!(step(kind, state, event), expected, "{kind:?} {state:?} {event:?}");
            }
        }
    }

    #[test]
    fn figure_5() {
        exhaust(
            Kind::Invite,
            &[
                (Calling, Provisional, Proceeding, &[StopRepeating, Tell]),
                (Calling, Success, Accepted, &[StopRepeating, Start(Timer::M), Tell]),
                (Calling, Refusal, Completed, &[StopRepeating, Ack, Start(Timer::D), Tell]),
                (Calling, Event::Timer(Timer::A), Calling, &[Send, Start(Timer::A)]),
                (Calling, Event::Timer(Timer::B), Terminated, &[StopRepeating, TellTimeout]),
                (Calling, Unsent, Terminated, &[StopRepeating, TellUnsent]),
                (Proceeding, Provisional, Proceeding, &[Tell]),
                (Proceeding, Success, Accepted, &[Start(Timer::M), Tell]),
                (Proceeding, Refusal, Completed, &[Ack, Start(Timer::D), Tell]),
                (Completed, Refusal, Completed, &[Ack]),
                (Completed, Event::Timer(Timer::D), Terminated, &[]),
                (Accepted, Success, Accepted, &[Tell]),
                (Accepted, Event::Timer(Timer::M), Terminated, &[]),
            ],
            &STATES,
        );
    }

    #[test]
    fn figure_6() {
        exhaust(
            Kind::NonInvite,
            &[
                (Calling, Provisional, Proceeding, &[Tell]),
                (Calling, Success, Completed, &[StopRepeating, Start(Timer::K), Tell]),
                (Calling, Refusal, Completed, &[StopRepeating, Start(Timer::K), Tell]),
                (Calling, Event::Timer(Timer::E), Calling, &[Send, Start(Timer::E)]),
                (Calling, Event::Timer(Timer::F), Terminated, &[StopRepeating, TellTimeout]),
                (Calling, Unsent, Terminated, &[StopRepeating, TellUnsent]),
                (Proceeding, Provisional, Proceeding, &[Tell]),
                (Proceeding, Success, Completed, &[StopRepeating, Start(Timer::K), Tell]),
                (Proceeding, Refusal, Completed, &[StopRepeating, Start(Timer::K), Tell]),
                (Proceeding, Event::Timer(Timer::E), Proceeding, &[Send, Start(Timer::E)]),
                (Proceeding, Event::Timer(Timer::F), Terminated, &[StopRepeating, TellTimeout]),
                (Completed, Event::Timer(Timer::K), Terminated, &[]),
            ],
            &[Calling, Proceeding, Completed, Terminated],
        );
    }

    #[test]
    fn reliable_transports_repeat_nothing() {
        assert_eq!(start(Kind::Invite, true), &[Start(Timer::B)]);
        assert_eq!(start(Kind::NonInvite, true), &[Start(Timer::F)]);
        assert_eq!(start(Kind::Invite, false), &[Start(Timer::A), Start(Timer::B)]);
        assert_eq!(start(Kind::NonInvite, false), &[Start(Timer::E), Start(Timer::F)]);
    }
}
