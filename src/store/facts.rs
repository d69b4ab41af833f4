//! Facts into tables: each taken once, in whatever order they come.
//!
//! Calls, recordings and orders are kept by their own id, and the highest `revision` stands; logs are kept by the id of
//! the fact. So applying a batch twice, or batches out of order, gives the same tables.

use super::{Store, StoreError, agent_states, audit, calls, orders, recordings};
use crate::base::fact::{AgentChanged, Audit, CallRecord, Fact, OrderOpened, RecordingFact, Stamped};
use crate::base::{ContactId, OrderId, RecordingId};
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
}

impl<'a> Batch<'a> {
    fn of(facts: &'a [Stamped]) -> Batch<'a> {
        let mut batch = Batch::default();
        for stamped in facts {
            let site = &*stamped.site;
            match &stamped.fact {
                Fact::Call(call) => newest(&mut batch.calls, (site, call.contact), &**call, |call| call.revision),
                Fact::Recording(fact) => {
                    newest(&mut batch.recordings, (site, fact.recording), &**fact, |fact| {
                        fact.revision
                    });
                }
                Fact::Order(order) => newest(&mut batch.orders, (site, order.order), &**order, |order| order.revision),
                Fact::Agent(change) => batch.agents.push((stamped, change)),
                Fact::Audit(act) => batch.audit.push((stamped, act)),
            }
        }
        batch
    }
}

fn newest<'a, K: Ord, T>(told: &mut BTreeMap<K, &'a T>, key: K, fact: &'a T, revision: fn(&T) -> u32) {
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
        Ok(transaction.commit().await?)
    }
}
