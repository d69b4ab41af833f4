//! After the last human has left: the queue's question to the citizen (满意度评价).
//!
//! Owns who it was asked about and what was answered. Whatever fails in it only ends it: everybody was served by then.

use super::sound::Room;
use super::{Call, PROMPT_MAX, State};
use crate::base::Now;
use crate::base::fact::{EndedBy, Satisfaction, TransferResult};
use crate::call::event::Command;
use crate::call::leg::Dialog;
use crate::ivr;

impl Call {
    /// The agent, or the target, has hung up on a citizen who is still there: they are asked how it was, where the queue
    /// does so; else the call is over. Agents are let go before anything is heard.
    pub(super) fn last_has_left(&mut self, now: Now, by: EndedBy, q850: u8, out: &mut Vec<Command>) {
        let after = self.queue.and_then(|(queue, _)| self.site().queues[queue.index()].after.clone());
        let Some(flow) = after.filter(|_| self.citizen.dialog == Dialog::Alive) else {
            return self.end(now, by, q850, out);
        };
        if let Some((talker, _)) = self.talker() {
            self.talk_ended(talker, out);
        }
        self.hush(out);
        let handed = self.book.record.transfers.last();
        let target = handed.filter(|it| it.result == Some(TransferResult::Completed)).map(|it| it.target.clone());
        self.book.record.satisfaction = Some(Satisfaction {
            flow: flow.name().into(),
            agent: self.book.record.agent.clone(),
            target: target.filter(|_| by == EndedBy::Target),
            asked: self.book.time(now),
            answered: None,
            score: None,
        });
        self.enter(now, State::Asked { run: ivr::Run::new(flow, Vec::new()) }, PROMPT_MAX, out);
        self.book.tell(out);
        self.flow_event(now, ivr::event::Event::Start, out);
        debug_assert_eq!(self.room, Room::Alone);
    }

    /// What the citizen pressed in a flow: after a talk, the first key is the answer.
    pub(super) fn scored(&mut self, now: Now, digits: &str, out: &mut Vec<Command>) {
        let at = self.book.time(now);
        let asked = self.book.record.satisfaction.as_mut().filter(|it| it.score.is_none());
        if let (Some(asked), State::Asked { .. }, Ok(score)) = (asked, &self.state, digits.parse()) {
            (asked.score, asked.answered) = (Some(score), Some(at));
            self.book.tell(out);
        }
    }
}
