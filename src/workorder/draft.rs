//! The draft (state `Draft` 草稿) that a call opens and keeps true until the call ends.
//!
//! Owns the call's part of the order: who called, when, who answered, which recording. Never the agent's part: what the
//! citizen asked for is written through the API.

use crate::base::fact::{Fact, OrderOpened, Signalled};
use crate::base::{ContactId, OrderId, RecordingId, Wall};
use serde::{Deserialize, Serialize};

/// An order while its call lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Draft(OrderOpened);

/// What is known of the call when the order is opened.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The contact.
    pub contact: ContactId,
    /// Its recording.
    pub recording: Option<RecordingId>,
    /// Canonical caller number; empty when withheld.
    pub caller: &'a str,
    /// Canonical dialled number.
    pub dialled: &'a str,
    /// Category preset from the dialled number.
    pub category: &'a str,
    /// When the citizen called.
    pub called: Wall,
    /// What the network said beside.
    pub signalled: &'a Signalled,
}

impl Draft {
    /// Opens the order `order` at `at`.
    pub fn open(order: OrderId, at: Wall, call: Opening<'_>) -> Draft {
        Draft(OrderOpened {
            order,
            revision: 0,
            contact: call.contact,
            recording: call.recording,
            caller: call.caller.into(),
            dialled: call.dialled.into(),
            category: call.category.into(),
            agent: None,
            called: call.called,
            opened: at,
            answered: None,
            ended: None,
            emergency: call.signalled.emergency,
            place: call.signalled.place.clone(),
            drill: false,
            ticket: call.signalled.ticket.clone(),
        })
    }

    /// Its key.
    pub fn id(&self) -> OrderId {
        self.0.order
    }

    /// An agent answered; the first answer's time stands, the last agent's name does.
    pub fn answered(&mut self, at: Wall, agent: &str) {
        self.0.answered.get_or_insert(at);
        self.0.agent = Some(agent.into());
    }

    /// An emergency line was to be brought in and could not be reached: whoever opens the order sees that first.
    pub fn urgent(&mut self) {
        self.0.emergency = true;
    }

    /// A simulated line is brought in: whoever opens the order sees that it is an exercise.
    pub fn drill(&mut self) {
        self.0.drill = true;
    }

    /// The call is over.
    pub fn ended(&mut self, at: Wall) {
        self.0.ended = Some(at);
    }

    /// The order as it stands, to be told with the `revision` of its call's record: the two are told together, and never
    /// with a lower number than before.
    pub fn fact(&self, revision: u32) -> Fact {
        Fact::Order(Box::new(OrderOpened { revision, ..self.0.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_the_calls_and_the_first_answer_stands() {
        let call = Opening {
            contact: ContactId(1),
            recording: Some(RecordingId(2)),
            caller: "+8613800138000",
            dialled: "12345",
            category: "010203",
            called: Wall(10),
            signalled: &Signalled { emergency: true, place: Some("鼓楼区".into()), ..Signalled::default() },
        };
        let mut draft = Draft::open(OrderId(3), Wall(20), call);
        draft.answered(Wall(30), "1001");
        draft.answered(Wall(40), "1002");
        draft.ended(Wall(50));
        let Fact::Order(order) = draft.fact(4) else { panic!("an order tells an order fact") };
        assert_eq!((order.revision, order.answered, order.agent.as_deref()), (4, Some(Wall(30)), Some("1002")));
        assert_eq!((order.called, order.opened, order.ended), (Wall(10), Wall(20), Some(Wall(50))));
        assert_eq!((&*order.category, order.recording), ("010203", Some(RecordingId(2))));
        assert_eq!((order.emergency, order.place.as_deref()), (true, Some("鼓楼区")));
    }
}
