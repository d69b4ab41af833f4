//! Facts into tables: each taken once, in whatever order they come.
//!
//! Calls, recordings and orders are kept by their own id, and the highest `revision` stands; logs are kept by the id of
//! the fact. So applying a batch twice, or batches out of order, gives the same tables.

use super::{Store, StoreError, agent_states, audit, blocked, callbacks, calls, legs, orders, recordings};
use crate::base::fact::{
    AgentChanged, Audit, Blocked, CallRecord, CallbackRecord, Fact, LegQuality, OrderOpened, RecordingFact, Stamped,
};
use crate::base::{CallbackId, ContactId, OrderId, RecordingId};
use std::collections::BTreeMap;

/// A batch sorted into the tables it goes to. Of several tellings only the newest is left: PostgreSQL refuses a
/// statement that touches a row twice, and it saves work.
#[derive(Default)]
struct Batch<'a> {
    calls: BTreeMap<(&'a str, ContactId), &'a CallRecord>,
    recordings: BTreeMap<(&'a str, RecordingId), &'a RecordingFact>,
    orders: BTreeMap<(&'a str, OrderId), &'a OrderOpened>,
    agents: Vec<(&'a Stamped, &'a AgentChanged)>,
    audit: Vec<(&'a Stamped, &'a Audit)>,
    blocked: Vec<(&'a Stamped, &'a Blocked)>,
    legs: BTreeMap<legs::Key<'a>, &'a LegQuality>,
    callbacks: BTreeMap<(&'a str, CallbackId), &'a CallbackRecord>,
}

impl<'a> Batch<'a> {
    fn of(facts: &'a [Stamped]) -> Batch<'a> {
        let mut batch = Batch::default();
        for stamped in facts {
            let site = &*stamped.site;
            match &stamped.fact {
                Fact::Call(call) => newest(&mut batch.calls, (site, call.contact), &**call, |call| call.revision),
                Fact::Recording(fact) => {
                    newest(&mut batch.recordings, (site, fact.recording), &**fact, |fact| fact.revision);
                }
                Fact::Order(order) => newest(&mut batch.orders, (site, order.order), &**order, |order| order.revision),
                Fact::Agent(change) => batch.agents.push((stamped, change)),
                Fact::Audit(act) => batch.audit.push((stamped, act)),
                Fact::Blocked(blocked) => batch.blocked.push((stamped, blocked)),
                Fact::Callback(fact) => {
                    newest(&mut batch.callbacks, (site, fact.callback), &**fact, |fact| fact.revision);
                }
                Fact::Leg(leg) => newest(&mut batch.legs, (site, leg.contact, leg.leg), &**leg, legs::packets),
            }
        }
        batch
    }
}

fn newest<'a, K: Ord, T, R: Ord>(told: &mut BTreeMap<K, &'a T>, key: K, fact: &'a T, revision: fn(&T) -> R) {
    let standing = told.entry(key).or_insert(fact);
    if revision(fact) > revision(standing) {
        *standing = fact;
    }
}

impl Store {
    /// Takes the facts into the tables, all or none. Safe to repeat, whole or in part.
    pub async fn apply(&self, facts: &[Stamped]) -> Result<(), StoreError> {
        let batch = Batch::of(facts);
        let mut transaction = self.begin().await?;
        calls::write(&batch.calls, &mut transaction).await?;
        recordings::write(&batch.recordings, &mut transaction).await?;
        orders::write(&batch.orders, &mut transaction).await?;
        agent_states::write(&batch.agents, &mut transaction).await?;
        audit::write(&batch.audit, &mut transaction).await?;
        blocked::write(&batch.blocked, &mut transaction).await?;
        legs::write(&batch.legs, &mut transaction).await?;
        callbacks::write(&batch.callbacks, &mut transaction).await?;
        Ok(transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::agent_states::AgentStateFilter;
    use super::super::audit::AuditFilter;
    use super::super::calls::{CallFilter, CallState};
    use super::super::orders::OrderFilter;
    use super::super::{Limit, Page, sample};
    use super::*;
    use crate::base::{Mint, Wall};
    use sqlx::{Column, Row, ValueRef};

    /// Every column of every row of every table of facts.
    async fn tables(store: &Store) -> Vec<String> {
        let questions = [
            "SELECT * FROM calls ORDER BY site, id",
            "SELECT * FROM call_attempts ORDER BY site, contact, position",
            "SELECT * FROM call_routes ORDER BY site, contact, position",
            "SELECT * FROM call_transfers ORDER BY site, contact, position",
            "SELECT * FROM call_interventions ORDER BY site, contact, position",
            "SELECT * FROM call_satisfaction ORDER BY site, contact",
            "SELECT * FROM call_digits ORDER BY site, contact, position",
            "SELECT * FROM recordings ORDER BY site, id",
            "SELECT * FROM orders ORDER BY site, id",
            "SELECT * FROM order_history ORDER BY site, order_id, position",
            "SELECT * FROM agent_states ORDER BY site, id",
            "SELECT * FROM audit ORDER BY site, id",
            "SELECT * FROM call_legs ORDER BY site, contact, leg",
        ];
        let mut rows = Vec::new();
        for question in questions {
            for row in sqlx::query(question).fetch_all(&store.readers).await.unwrap() {
                let column = |at: usize| match row.try_get_raw(at).unwrap() {
                    null if null.is_null() => "-".to_owned(),
                    _ => row
                        .try_get::<String, _>(at)
                        .or_else(|_| row.try_get::<i64, _>(at).map(|n| n.to_string()))
                        .unwrap(),
                };
                let columns = row.columns().iter().map(|c| format!("{}={}", c.name(), column(c.ordinal())));
                rows.push(format!("{} {}", &question[14..20], columns.collect::<Vec<_>>().join(" ")));
            }
        }
        rows
    }

    fn two_sites() -> Vec<Stamped> {
        let mut facts: Vec<Stamped> = (0..12).flat_map(|number| sample::call("a", number)).collect();
        facts.extend((6..9).flat_map(|number| sample::call("b", number)));
        facts.extend((0..12).flat_map(|number| sample::legs("a", number)));
        facts.extend((6..9).flat_map(|number| sample::legs("b", number)));
        facts
    }

    #[tokio::test]
    async fn any_order_and_any_repetition_give_the_same_tables() {
        let facts = two_sites();
        let straight = Store::memory().await.unwrap();
        straight.apply(&facts).await.unwrap();
        let expected = tables(&straight).await;
        assert_eq!(expected.len(), 15 * (1 + 1 + 1 + 2 + 1 + 1 + 1 + 1 + 1 + 1 + 4 + 1 + 2));
        for seed in 0..20 {
            let mut random = Mint::new(0, [seed, 12_345]);
            let mut below = |bound: usize| usize::try_from(random.random() % bound as u64).unwrap();
            let mut told: Vec<Stamped> = facts.iter().chain(&facts).cloned().collect();
            told.extend((0..40).map(|_| facts[below(facts.len())].clone()));
            for last in (1..told.len()).rev() {
                told.swap(last, below(last + 1));
            }
            let store = Store::memory().await.unwrap();
            let mut left = told.as_slice();
            while !left.is_empty() {
                let (batch, later) = left.split_at((1 + below(90)).min(left.len()));
                store.apply(batch).await.unwrap();
                left = later;
            }
            assert_eq!(tables(&store).await, expected, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn a_lists_later_telling_replaces_it_as_a_whole() {
        let mut facts = sample::call("a", 1);
        let Fact::Call(record) = &mut facts[5].fact else { panic!("the sixth fact ends the call") };
        record.revision = 3;
        record.attempts.truncate(1);
        record.collected.clear();
        let second = sample::call("a", 1)[5].clone();
        for told in [[second.clone(), facts[5].clone()], [facts[5].clone(), second]] {
            let store = Store::memory().await.unwrap();
            for fact in &told {
                store.apply(std::slice::from_ref(fact)).await.unwrap();
            }
            let call = store.site("a").call(ContactId(sample::id(1))).await.unwrap().unwrap();
            assert_eq!((call.call.revision, call.attempts.len(), call.collected.len()), (3, 1, 0));
        }
    }

    #[tokio::test]
    async fn a_batch_is_taken_whole_or_not_at_all() {
        let store = Store::memory().await.unwrap();
        sqlx::query("DROP TABLE audit").execute(&store.writer).await.unwrap();
        assert!(matches!(store.apply(&sample::call("a", 1)).await, Err(StoreError::Away(_))));
        assert_eq!(store.site("a").calls(&CallFilter::default(), Page::default()).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_state_decided_by_people_outlives_the_calls_tellings() {
        let store = Store::memory().await.unwrap();
        let facts = sample::call("a", 1);
        store.apply(&facts[..2]).await.unwrap();
        sqlx::query("UPDATE orders SET state = 'accepted'").execute(&store.writer).await.unwrap();
        store.apply(&facts).await.unwrap();
        let order = store.site("a").order(OrderId(sample::id(1))).await.unwrap().unwrap();
        assert_eq!((order.state.as_str(), order.agent.as_deref(), order.revision), ("accepted", Some("1001"), 2));
        let history = store.site("a").order_history(OrderId(sample::id(1))).await.unwrap();
        assert_eq!(history.len(), 1, "the opening is told once");
        assert_eq!((history[0].to_state.as_str(), history[0].at), ("draft", sample::START + 1901));
    }

    /// Site `b` knows calls 6, 7 and 8 only, although `a` has calls of the same ids.
    #[tokio::test]
    async fn no_question_sees_another_site() {
        let store = Store::memory().await.unwrap();
        store.apply(&two_sites()).await.unwrap();
        let (b, nowhere) = (store.site("b"), store.site("nowhere"));
        let ids = |numbers: &[u32]| numbers.iter().map(|n| ContactId(sample::id(*n)).to_string()).collect::<Vec<_>>();
        let calls = b.calls(&CallFilter::default(), Page::default()).await.unwrap();
        assert_eq!(calls.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), ids(&[8, 7, 6]));
        assert!(calls.iter().all(|row| row.site == "b"));
        let orders = b.orders(&OrderFilter::default(), Page::default()).await.unwrap();
        assert_eq!(orders.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), ids(&[8, 7, 6]));
        assert_eq!(b.recordings(None, Page::default()).await.unwrap().len(), 3);
        assert_eq!(b.agent_states(&AgentStateFilter::default(), Page::default()).await.unwrap().len(), 12);
        assert_eq!(b.audit(&AuditFilter::default(), Page::default()).await.unwrap().len(), 3);
        let of_a = sample::id(2);
        assert!(b.call(ContactId(of_a)).await.unwrap().is_none());
        assert!(b.order(OrderId(of_a)).await.unwrap().is_none());
        assert!(b.recording(RecordingId(of_a)).await.unwrap().is_none());
        assert!(b.order_history(OrderId(of_a)).await.unwrap().is_empty());
        assert!(b.recordings(Some(ContactId(of_a)), Page::default()).await.unwrap().is_empty());
        assert_eq!(b.call(ContactId(sample::id(6))).await.unwrap().unwrap().attempts.len(), 2);
        assert!(nowhere.calls(&CallFilter::default(), Page::default()).await.unwrap().is_empty());
        assert!(b.agents().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_overlap() {
        let store = Store::memory().await.unwrap();
        store.apply(&two_sites()).await.unwrap();
        let (mut page, mut seen) = (Page { before: None, limit: Limit::new(5) }, Vec::new());
        loop {
            let rows = store.site("a").calls(&CallFilter::default(), page).await.unwrap();
            let Some(last) = rows.last() else { break };
            page.before = Some(last.id.parse().unwrap());
            seen.extend(rows.into_iter().map(|row| row.id));
        }
        let expected: Vec<_> = (0..12).rev().map(|number| ContactId(sample::id(number)).to_string()).collect();
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn filters_choose_by_time_agent_and_state() {
        let store = Store::memory().await.unwrap();
        let mut facts = two_sites();
        let ending = sample::call("a", 3)[5].id;
        facts.retain(|fact| fact.id != ending);
        store.apply(&facts).await.unwrap();
        let a = store.site("a");
        let at = |number: i64| Some(Wall(sample::START + number * 1000));
        let all = CallFilter::default();
        let cases = [
            (CallFilter { from: at(2), to: at(5), ..all.clone() }, 3),
            (CallFilter { agent: Some("1001".into()), ..all.clone() }, 11),
            (CallFilter { agent: Some("nobody".into()), ..all.clone() }, 0),
            (CallFilter { state: Some(CallState::Live), ..all.clone() }, 1),
            (CallFilter { state: Some(CallState::Answered), ..all.clone() }, 11),
            (CallFilter { state: Some(CallState::Unanswered), from: at(0), ..all }, 0),
        ];
        for (filter, count) in cases {
            assert_eq!(a.calls(&filter, Page::default()).await.unwrap().len(), count, "{filter:?}");
        }
        let draft = OrderFilter { state: Some("draft".into()), from: at(10), ..OrderFilter::default() };
        assert_eq!(a.orders(&draft, Page::default()).await.unwrap().len(), 2);
        let closed = OrderFilter { state: Some("closed".into()), ..OrderFilter::default() };
        assert_eq!(a.orders(&closed, Page::default()).await.unwrap().len(), 0);
        let refused = AuditFilter { allowed: Some(false), actor: Some("王主任".into()), ..AuditFilter::default() };
        assert_eq!(a.audit(&refused, Page::default()).await.unwrap().len(), 6);
    }
}
