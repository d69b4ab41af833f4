//! Calls that a crash cut off: what is stored of them, as the facts that the call itself would have told.

use super::calls::{AttemptRow, CallDetail, CallFilter, CallRow, CallState, RouteRow};
use super::interventions::InterventionRow;
use super::orders::{OrderFilter, OrderRow};
use super::page::{Limit, Page, Question};
use super::recordings::RecordingRow;
use super::satisfaction::SatisfactionRow;
use super::transfers::TransferRow;
use super::{Site, StoreError};
use crate::base::fact::{
    Attempt, CallRecord, Direction, End, EndedBy, OrderOpened, RouteAttempt, Signalled, Stage, Times,
};
use crate::base::{ContactId, Wall};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Q.850: temporary failure.
const TEMPORARY_FAILURE: u8 = 41;

/// A recording without a record is looked for among so many of the newest: its call came in the last moment of a process.
const NEWEST_RECORDINGS: i64 = 10_000;

/// Bound values of one statement; SQLite takes far more.
const CONTACTS_A_QUESTION: usize = 500;

/// A call without an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    /// Its record as last told.
    pub record: CallRecord,
    /// Its order, if one was opened.
    pub order: Option<OrderOpened>,
    /// Whether a recording of it is still to be sealed: its end is the best that can be known of the call's.
    pub unsealed: bool,
    /// The last instant at which the call is known to have lived.
    pub last_seen: Wall,
}

impl Unfinished {
    /// The facts that close it: one revision on, ended by a fault of ours at the last instant known.
    pub fn closed(mut self) -> (CallRecord, Option<OrderOpened>) {
        let times = &mut self.record.times;
        let stage = match (times.answered, times.queued, times.ivr_in) {
            (Some(_), _, _) => Stage::Talking,
            (None, Some(_), _) => Stage::Queued,
            (None, None, Some(_)) => Stage::Ivr,
            (None, None, None) => Stage::Offered,
        };
        times.ended = Some(self.last_seen);
        let connected = times.connected.is_some();
        let sip_status = if connected { 200 } else { 500 };
        self.record.end = Some(End { stage, by: EndedBy::Fault, sip_status, q850: TEMPORARY_FAILURE });
        self.record.revision += 1;
        if let Some(order) = &mut self.order {
            order.ended = Some(self.last_seen);
            order.revision += 1;
        }
        (self.record, self.order)
    }
}

impl Site<'_> {
    /// Calls that came before `before` and whose end was never told, but for those in `except`; newest first, at most a
    /// page of them.
    pub async fn unfinished(&self, before: Wall, except: &BTreeSet<ContactId>) -> Result<Vec<Unfinished>, StoreError> {
        let filter = CallFilter { to: Some(before), state: Some(CallState::Live), ..CallFilter::default() };
        let mut page = Page { before: None, limit: Limit::new(u32::MAX) };
        let mut unfinished = Vec::new();
        loop {
            let rows = self.calls(&filter, page).await?;
            let contacts: Vec<ContactId> = rows.iter().filter_map(|row| id(&row.id)).collect();
            page.before = contacts.last().copied();
            self.look_up(contacts.into_iter().filter(|contact| !except.contains(contact)), &mut unfinished).await?;
            if rows.is_empty() || page.before.is_none() || !unfinished.is_empty() {
                return Ok(unfinished);
            }
        }
    }

    /// Calls that are known by their recording alone: they came in the last moment before a crash, when the file was there
    /// and nothing else was written yet. What is told of them is that they were, and how long.
    pub async fn heard_only(&self, before: Wall, except: &BTreeSet<ContactId>) -> Result<Vec<Unfinished>, StoreError> {
        let question = sqlx::query_as(
            "SELECT * FROM (SELECT * FROM recordings WHERE site = $1 ORDER BY id DESC LIMIT $2) AS newest \
             WHERE started < $3 AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.site = $1 AND calls.id = newest.contact)",
        );
        let question = question.bind(self.code).bind(NEWEST_RECORDINGS).bind(before.0);
        let rows: Vec<RecordingRow> = question.fetch_all(&self.store.readers).await?;
        let heard = rows.iter().filter_map(heard).filter(|call| !except.contains(&call.record.contact));
        Ok(heard.collect())
    }

    /// Which of these contacts have come to their end.
    pub async fn ended(&self, contacts: &[ContactId]) -> Result<BTreeSet<ContactId>, StoreError> {
        let mut ended = BTreeSet::new();
        for some in contacts.chunks(CONTACTS_A_QUESTION) {
            let mut question = Question::new("SELECT id FROM calls WHERE ended IS NOT NULL AND site = ");
            question.push_bind(self.code).push(" AND id IN (");
            let mut ids = question.separated(", ");
            some.iter().for_each(|contact| _ = ids.push_bind(contact.to_string()));
            question.push(")");
            let found: Vec<String> = question.build_query_scalar().fetch_all(&self.store.readers).await?;
            ended.extend(found.iter().filter_map(|found| id::<ContactId>(found)));
        }
        Ok(ended)
    }

    async fn look_up(
        &self,
        contacts: impl Iterator<Item = ContactId>,
        unfinished: &mut Vec<Unfinished>,
    ) -> Result<(), StoreError> {
        for contact in contacts {
            let Some(detail) = self.call(contact).await? else { continue };
            let orders = OrderFilter { contact: Some(contact), ..OrderFilter::default() };
            let order = self.orders(&orders, Page::default()).await?.pop();
            let recordings = self.recordings(Some(contact), Page::default()).await?;
            let mut record = record(contact, detail);
            let mut order = order.and_then(|order| opened(contact, order));
            // Told with the call, but the process died before its file was begun: there is none.
            if recordings.is_empty() {
                record.recording = None;
                order.iter_mut().for_each(|order| order.recording = None);
            }
            let sealed = recordings.iter().filter_map(|recording| recording.ended).max();
            unfinished.push(Unfinished {
                unsealed: recordings.iter().any(|recording| recording.ended.is_none()),
                last_seen: last_seen(&record).max(Wall(sealed.unwrap_or(0))),
                order,
                record,
            });
        }
        Ok(())
    }
}

/// A call of which only the recording is left.
fn heard(row: &RecordingRow) -> Option<Unfinished> {
    let (contact, started) = (id(&row.contact)?, Wall(row.started));
    let times = Times { offered: started, connected: Some(started), ..Times::default() };
    let record = CallRecord {
        contact,
        revision: 0,
        caller: "".into(),
        dialled: "".into(),
        trunk: "".into(),
        sip_call_id: "".into(),
        queue: None,
        agent: None,
        times,
        direction: Direction::default(),
        attempts: Vec::new(),
        routes: Vec::new(),
        transfers: Vec::new(),
        interventions: Vec::new(),
        satisfaction: None,
        collected: Vec::new(),
        end: None,
        recording: id(&row.id),
        order: None,
        signalled: Signalled::default(),
    };
    let unsealed = row.ended.is_none();
    Some(Unfinished { record, order: None, unsealed, last_seen: Wall(row.ended.unwrap_or(row.started)) })
}

fn last_seen(record: &CallRecord) -> Wall {
    let Times { offered, connected, ivr_in, ivr_out, queued, assigned, ringing, answered, .. } = record.times;
    let known = [connected, ivr_in, ivr_out, queued, assigned, ringing, answered];
    known.into_iter().flatten().max().unwrap_or(offered)
}

/// An id as stored; our own tables hold no other.
fn id<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn wall(at: Option<i64>) -> Option<Wall> {
    at.map(Wall)
}

fn record(contact: ContactId, detail: CallDetail) -> CallRecord {
    let row = detail.call;
    CallRecord {
        contact,
        revision: u32::try_from(row.revision).unwrap_or(u32::MAX - 1),
        times: times(&row),
        recording: row.recording.as_deref().and_then(id),
        order: row.order_id.as_deref().and_then(id),
        direction: word(&row.direction).unwrap_or_default(),
        caller: row.caller.into(),
        dialled: row.dialled.into(),
        trunk: row.trunk.into(),
        sip_call_id: row.sip_call_id.into(),
        queue: row.queue.map(Into::into),
        agent: row.agent.map(Into::into),
        attempts: detail.attempts.into_iter().map(attempt).collect(),
        routes: detail.routes.into_iter().map(route).collect(),
        transfers: detail.transfers.into_iter().filter_map(TransferRow::record).collect(),
        interventions: detail.interventions.into_iter().filter_map(InterventionRow::record).collect(),
        satisfaction: detail.satisfaction.map(SatisfactionRow::record),
        collected: detail.collected.into_iter().map(|row| (row.node.into(), row.digits.into())).collect(),
        end: None,
        signalled: Signalled {
            caller_name: row.caller_name.map(Into::into),
            original: row.original.map(Into::into),
            diverted: row.diverted.map(Into::into),
            emergency: row.emergency,
            place: row.place.map(Into::into),
            user_to_user: row.user_to_user.map(Into::into),
            ticket: row.ticket.map(Into::into),
        },
    }
}

fn times(row: &CallRow) -> Times {
    Times {
        offered: Wall(row.offered),
        connected: wall(row.connected),
        ivr_in: wall(row.ivr_in),
        ivr_out: wall(row.ivr_out),
        queued: wall(row.queued),
        assigned: wall(row.assigned),
        ringing: wall(row.ringing),
        answered: wall(row.answered),
        caller_hangup: wall(row.caller_hangup),
        agent_hangup: wall(row.agent_hangup),
        ended: wall(row.ended),
    }
}

fn attempt(row: AttemptRow) -> Attempt {
    Attempt {
        agent: row.agent.into(),
        assigned: Wall(row.assigned),
        ringing: wall(row.ringing),
        ended: wall(row.ended),
        outcome: row.outcome.as_deref().and_then(word),
    }
}

fn route(row: RouteRow) -> RouteAttempt {
    RouteAttempt {
        trunk: row.trunk.into(),
        seized: Wall(row.seized),
        provisional: wall(row.provisional),
        ringing: wall(row.ringing),
        ended: wall(row.ended),
        sip_status: row.sip_status.and_then(|status| u16::try_from(status).ok()),
    }
}

fn word<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}

fn opened(contact: ContactId, row: OrderRow) -> Option<OrderOpened> {
    Some(OrderOpened {
        order: id(&row.id)?,
        revision: u32::try_from(row.revision).unwrap_or(u32::MAX - 1),
        contact,
        recording: row.recording.as_deref().and_then(id),
        caller: row.caller.into(),
        dialled: row.dialled.into(),
        category: row.category.into(),
        agent: row.agent.map(Into::into),
        called: Wall(row.called),
        opened: Wall(row.opened),
        answered: wall(row.answered),
        ended: wall(row.ended),
        emergency: row.emergency,
        place: row.place.map(Into::into),
        drill: row.drill,
        ticket: row.ticket.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Store, sample};
    use super::*;
    use crate::base::fact::{Fact, Stamped};
    use crate::base::{FactId, OrderId, RecordingId};

    /// Everything that a call told, but its end.
    fn cut_off(facts: Vec<Stamped>) -> Vec<Stamped> {
        let lives = |stamped: &Stamped| match &stamped.fact {
            Fact::Call(call) => call.end.is_none(),
            Fact::Order(order) => order.ended.is_none(),
            Fact::Recording(_)
            | Fact::Agent(_)
            | Fact::Audit(_)
            | Fact::Blocked(_)
            | Fact::Leg(_)
            | Fact::Callback(_) => true,
        };
        facts.into_iter().filter(lives).collect()
    }

    #[tokio::test]
    async fn a_call_cut_off_is_found_whole_and_closed_once() {
        let store = Store::memory().await.unwrap();
        let told = cut_off(sample::call("a", 1));
        store.apply(&told).await.unwrap();
        store.apply(&sample::call("a", 2)).await.unwrap();
        let (site, none) = (store.site("a"), BTreeSet::new());
        assert_eq!(site.unfinished(Wall(0), &none).await.unwrap(), [], "none from before its time");
        assert_eq!(store.site("b").unfinished(Wall(i64::MAX), &none).await.unwrap(), [], "none of another city");
        let mut found = site.unfinished(Wall(i64::MAX), &none).await.unwrap();
        assert_eq!(found.len(), 1, "the call that ended is not among them");
        let unfinished = found.pop().unwrap();
        let last = told.iter().rev().find_map(|stamped| match &stamped.fact {
            Fact::Call(call) => Some((**call).clone()),
            Fact::Order(_)
            | Fact::Recording(_)
            | Fact::Agent(_)
            | Fact::Audit(_)
            | Fact::Blocked(_)
            | Fact::Leg(_)
            | Fact::Callback(_) => None,
        });
        assert_eq!(Some(&unfinished.record), last.as_ref(), "as it was last told");

        let last_seen = unfinished.last_seen;
        let (record, order) = unfinished.closed();
        let facts = [Fact::Call(Box::new(record)), Fact::Order(Box::new(order.expect("an order")))];
        let stamped = facts.map(|fact| Stamped { id: FactId(1), at: Wall(9), site: "a".into(), fact });
        store.apply(&stamped).await.unwrap();
        assert_eq!(site.unfinished(Wall(i64::MAX), &none).await.unwrap(), []);
        let call = site.call(ContactId(sample::id(1))).await.unwrap().unwrap().call;
        assert_eq!((call.end_by.as_deref(), call.ended), (Some("fault"), Some(last_seen.0)));
        let order = site.order(OrderId(sample::id(1))).await.unwrap().unwrap();
        assert_eq!(order.ended, Some(last_seen.0));
    }

    #[tokio::test]
    async fn a_recording_that_never_began_is_not_promised() {
        let store = Store::memory().await.unwrap();
        let told = cut_off(sample::call("a", 1)).into_iter().filter(|it| !matches!(it.fact, Fact::Recording(_)));
        let told: Vec<Stamped> = told
            .map(|mut stamped| {
                match &mut stamped.fact {
                    Fact::Call(call) => call.recording = Some(RecordingId(7)),
                    Fact::Order(order) => order.recording = Some(RecordingId(7)),
                    Fact::Recording(_)
                    | Fact::Agent(_)
                    | Fact::Audit(_)
                    | Fact::Blocked(_)
                    | Fact::Leg(_)
                    | Fact::Callback(_) => {}
                }
                stamped
            })
            .collect();
        store.apply(&told).await.unwrap();
        let found = store.site("a").unfinished(Wall(i64::MAX), &BTreeSet::new()).await.unwrap().pop().unwrap();
        assert!(!found.unsealed);
        let (record, order) = found.closed();
        assert_eq!((record.recording, order.expect("an order").recording), (None, None));
    }

    #[tokio::test]
    async fn a_call_known_by_its_recording_alone_gets_a_record() {
        let store = Store::memory().await.unwrap();
        let told: Vec<Stamped> =
            sample::call("a", 1).into_iter().filter(|it| matches!(it.fact, Fact::Recording(_))).collect();
        store.apply(&told).await.unwrap();
        store.apply(&sample::call("a", 2)).await.unwrap();
        let (site, contact) = (store.site("a"), ContactId(sample::id(1)));
        let (ever, none) = (Wall(i64::MAX), BTreeSet::new());
        assert_eq!(site.heard_only(ever, &BTreeSet::from([contact])).await.unwrap(), [], "taken up after all");
        assert_eq!(store.site("b").heard_only(ever, &none).await.unwrap(), [], "none of another city");
        let mut found = site.heard_only(ever, &none).await.unwrap();
        assert_eq!(found.len(), 1, "whose call is told is not among them");
        let (record, order) = found.pop().unwrap().closed();
        assert_eq!((record.contact, order), (contact, None));
        let recording = record.recording.unwrap().to_string();
        store
            .apply(&[Stamped { id: FactId(1), at: Wall(9), site: "a".into(), fact: Fact::Call(Box::new(record)) }])
            .await
            .unwrap();
        assert_eq!(site.heard_only(ever, &none).await.unwrap(), []);
        let call = site.call(contact).await.unwrap().unwrap().call;
        assert_eq!((call.end_by.as_deref(), call.recording), (Some("fault"), Some(recording)));
    }
}
