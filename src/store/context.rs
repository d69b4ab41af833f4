//! What goes between the hotline and the targets of transfers beside the voice: what they could not be told, what they say
//! of the call, and the orders that they raise.
//!
//! Written as it comes and not by the journal: whoever said it hears at once whether it is kept.

use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::{ContactId, FactId};

/// Most orders that targets raise for one contact.
pub const RAISED_MAX: usize = 5;
/// The role in an order's history of a target that has raised it.
const RAISED_BY: &str = "target";
/// Most kept of a site; the oldest go.
const UNDELIVERED_MAX: i64 = 10_000;

/// A target's own system was not told of a transfer ahead of the voice.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct Undelivered {
    /// Site code.
    pub site: String,
    /// Its key.
    pub id: String,
    /// Of which contact.
    pub contact: String,
    /// Which of its transfers, from 1.
    pub number: i64,
    /// Name of the target.
    pub target: String,
    /// Scheme, host and port of the target's system.
    pub origin: String,
    /// How often it was tried.
    pub tries: i64,
    /// HTTP status of the last try, if there was an answer.
    pub status: Option<i64>,
    /// How the last try went: `status`, `timeout`, `unreachable`, `busy` (too much waited for this host) or `stopped` (the
    /// node went down).
    pub why: String,
    /// When it was given up, in milliseconds since 1970.
    pub at: i64,
}

/// What the target of a transfer says of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct OperationRow {
    /// Which transfer of the contact, from 1.
    pub number: i64,
    /// `ringing`, `answered`, `ended` or `recorded`.
    pub event: String,
    /// Name of the target.
    pub target: String,
    /// When it happened, as the target says; milliseconds since 1970, as all times here.
    pub at: i64,
    /// How long the citizen had waited there, in milliseconds.
    pub wait_ms: Option<i64>,
    /// How long they had talked, in milliseconds.
    pub talk_ms: Option<i64>,
    /// Who answered there.
    pub agent: Option<String>,
    /// Where the target keeps its recording.
    pub recording: Option<String>,
    /// When it was told.
    pub received: i64,
}

/// An order that a target raises for the contact it was brought in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaisedOrder {
    /// Its id.
    pub id: String,
    /// Of which contact.
    pub contact: ContactId,
    /// Who raises it.
    pub target: String,
    /// What it is about; the reason of its opening.
    pub text: String,
    /// Six digits, or empty.
    pub category: String,
    /// Where it is about.
    pub place: Option<String>,
    /// It is an exercise.
    pub drill: bool,
    /// When, in milliseconds since 1970.
    pub opened: i64,
}

/// Why an order is not raised.
#[derive(Debug, thiserror::Error)]
pub enum NotRaised {
    /// [`RAISED_MAX`] were.
    #[error("targets have raised {RAISED_MAX} orders for this contact already")]
    TooMany,
    /// The contact has no record.
    #[error("there is no such contact")]
    NoContact,
    /// SQL.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for NotRaised {
    fn from(error: sqlx::Error) -> NotRaised {
        NotRaised::Store(error.into())
    }
}

impl Site<'_> {
    /// What targets have said of a contact's transfers, in the order in which it was told.
    pub async fn operations(&self, contact: ContactId) -> Result<Vec<OperationRow>, StoreError> {
        let question = "SELECT number, event, target, at, wait_ms, talk_ms, agent, recording, received FROM call_operations \
                        WHERE site = $1 AND contact = $2 ORDER BY received, number, at";
        let question = sqlx::query_as(question).bind(self.code).bind(contact.to_string());
        Ok(question.fetch_all(&self.store.readers).await?)
    }

    /// Takes what a target says, once for each transfer and event; false when it had been said before.
    pub async fn add_operation(&self, contact: ContactId, row: &OperationRow) -> Result<bool, StoreError> {
        let insert = "INSERT INTO call_operations (site, contact, number, event, target, at, wait_ms, talk_ms, agent, \
                      recording, received) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                      ON CONFLICT (site, contact, number, event) DO NOTHING";
        let insert = sqlx::query(insert).bind(self.code).bind(contact.to_string()).bind(row.number).bind(&row.event);
        let insert = insert.bind(&row.target).bind(row.at).bind(row.wait_ms).bind(row.talk_ms).bind(&row.agent);
        let insert = insert.bind(&row.recording).bind(row.received);
        Ok(insert.execute(&self.store.writer).await?.rows_affected() > 0)
    }

    /// Opens a further order of the contact, with what its call is known by; its history says who raised it. Gives the id
    /// of the order that stands: an older one where the same target had said the same words, for who has no answer asks
    /// again.
    pub async fn raise_order(&self, order: &RaisedOrder) -> Result<String, NotRaised> {
        let (contact, mut transaction) = (order.contact.to_string(), self.store.begin().await?);
        let raised = "SELECT o.id, h.actor, h.reason FROM orders o JOIN order_history h ON h.site = o.site \
                      AND h.order_id = o.id AND h.position = 0 AND h.role = $3 WHERE o.site = $1 AND o.contact = $2";
        let raised = sqlx::query_as(raised).bind(self.code).bind(&contact).bind(RAISED_BY);
        let raised: Vec<(String, String, String)> = raised.fetch_all(&mut *transaction).await?;
        let same = raised.iter().find(|(_, target, text)| *target == order.target && *text == order.text);
        if let Some((id, ..)) = same {
            return Ok(id.clone());
        }
        if raised.len() >= RAISED_MAX {
            return Err(NotRaised::TooMany);
        }
        let insert = "INSERT INTO orders (site, id, revision, state, contact, recording, caller, dialled, category, agent, \
                      called, opened, answered, ended, emergency, place, drill, ticket) \
                      SELECT site, $3, 1, 'draft', id, recording, caller, dialled, $4, NULL, offered, $5, answered, ended, \
                      FALSE, $6, $7, ticket FROM calls WHERE site = $1 AND id = $2";
        let insert = sqlx::query(insert).bind(self.code).bind(&contact).bind(&order.id).bind(&order.category);
        let insert = insert.bind(order.opened).bind(&order.place).bind(order.drill);
        if insert.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Err(NotRaised::NoContact);
        }
        let opening = "INSERT INTO order_history (site, order_id, position, actor, role, from_state, to_state, at, reason) \
                       VALUES ($1, $2, 0, $3, $4, NULL, 'draft', $5, $6)";
        let opening = sqlx::query(opening).bind(self.code).bind(&order.id).bind(&order.target).bind(RAISED_BY);
        opening.bind(order.opened).bind(&order.text).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(order.id.clone())
    }

    /// A page of what targets were not told, newest first.
    pub async fn undelivered(&self, page: Page<FactId>) -> Result<Vec<Undelivered>, StoreError> {
        let mut question = of_site("SELECT * FROM undelivered", self.code);
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }

    /// Notes one down, and forgets the oldest of too many.
    pub async fn add_undelivered(&self, row: &Undelivered) -> Result<(), StoreError> {
        let mut transaction = self.store.begin().await?;
        let insert = "INSERT INTO undelivered (site, id, contact, number, target, origin, tries, status, why, at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let insert = sqlx::query(insert).bind(self.code).bind(&row.id).bind(&row.contact).bind(row.number);
        let insert = insert.bind(&row.target).bind(&row.origin).bind(row.tries).bind(row.status).bind(&row.why);
        insert.bind(row.at).execute(&mut *transaction).await?;
        let forget = "DELETE FROM undelivered WHERE site = $1 AND id <= \
                      (SELECT id FROM undelivered WHERE site = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
        sqlx::query(forget).bind(self.code).bind(UNDELIVERED_MAX).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limit, Store, sample};
    use super::*;

    #[tokio::test]
    async fn what_a_target_says_is_taken_once() {
        let (store, contact) = (Store::memory().await.unwrap(), ContactId(7));
        let row = |number, event: &str, received| OperationRow {
            number,
            event: event.into(),
            target: "water".into(),
            at: 5,
            wait_ms: Some(1_000),
            talk_ms: None,
            agent: Some("8001".into()),
            recording: None,
            received,
        };
        let site = store.site("a");
        assert!(site.add_operation(contact, &row(1, "ringing", 10)).await.unwrap());
        assert!(!site.add_operation(contact, &row(1, "ringing", 11)).await.unwrap(), "the first stands");
        assert!(site.add_operation(contact, &row(2, "ringing", 12)).await.unwrap());
        assert!(site.add_operation(contact, &row(1, "answered", 13)).await.unwrap());
        let told = [row(1, "ringing", 10), row(2, "ringing", 12), row(1, "answered", 13)];
        assert_eq!(site.operations(contact).await.unwrap(), told);
        assert_eq!(store.site("b").operations(contact).await.unwrap(), []);
    }

    #[tokio::test]
    async fn an_order_that_a_target_raises_says_so_and_there_are_not_too_many() {
        let store = Store::memory().await.unwrap();
        store.apply(&sample::call("a", 1)).await.unwrap();
        let raised = |number: u128, contact| RaisedOrder {
            id: crate::base::OrderId(1 << 120 | number).to_string(),
            contact,
            target: "water".into(),
            text: format!("管道爆裂 {number}"),
            category: "010203".into(),
            place: Some("五四路".into()),
            drill: true,
            opened: 9,
        };
        let (site, contact) = (store.site("a"), ContactId(sample::id(1)));
        for number in 0..RAISED_MAX as u128 {
            let order = raised(number, contact);
            assert_eq!(site.raise_order(&order).await.unwrap(), order.id);
        }
        let (first, again) = (raised(0, contact), RaisedOrder { id: "again".into(), ..raised(0, contact) });
        assert_eq!(site.raise_order(&again).await.unwrap(), first.id, "the same words are the same order");
        let by_another = RaisedOrder { target: "gas".into(), ..again };
        assert!(matches!(site.raise_order(&by_another).await, Err(NotRaised::TooMany)));
        let one_more = raised(RAISED_MAX as u128, contact);
        assert!(matches!(site.raise_order(&one_more).await, Err(NotRaised::TooMany)));
        assert!(matches!(store.site("b").raise_order(&one_more).await, Err(NotRaised::NoContact)));
        assert!(matches!(site.raise_order(&raised(99, ContactId(5))).await, Err(NotRaised::NoContact)));
        let id: crate::base::OrderId = raised(0, contact).id.parse().unwrap();
        let (order, call) = (site.order(id).await.unwrap().unwrap(), site.call(contact).await.unwrap().unwrap().call);
        assert_eq!((&order.caller, &order.recording, order.called), (&call.caller, &call.recording, call.offered));
        assert_eq!((&*order.category, order.place.as_deref(), order.drill), ("010203", Some("五四路"), true));
        let history = site.order_history(id).await.unwrap();
        let told = (&*history[0].actor, &*history[0].role, &*history[0].reason, &*history[0].to_state);
        assert_eq!((history.len(), told), (1, ("water", "target", "管道爆裂 0", "draft")));
    }

    #[tokio::test]
    async fn what_was_not_told_is_listed_newest_first_and_the_oldest_go() {
        let store = Store::memory().await.unwrap();
        let row = |site: &str, at: i64| Undelivered {
            site: site.into(),
            id: FactId(u128::from(at.unsigned_abs()) << 80).to_string(),
            contact: "c".into(),
            number: 1,
            target: "water".into(),
            origin: "https://center.example".into(),
            tries: 6,
            status: (at % 2 == 0).then_some(500),
            why: "status".into(),
            at,
        };
        let count = UNDELIVERED_MAX + 2;
        let filled = "WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < 10001) \
                      INSERT INTO undelivered SELECT 'a', '0' || printf('%025d', at), 'c', 1, 't', 'o', 1, NULL, 'timeout', at FROM n";
        store.run(filled).await;
        store.site("b").add_undelivered(&row("b", 1)).await.unwrap();
        store.site("a").add_undelivered(&row("a", count)).await.unwrap();
        let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM undelivered WHERE site = 'a'")
            .fetch_one(&store.readers)
            .await
            .unwrap();
        assert_eq!(kept, UNDELIVERED_MAX);
        let page = Page { before: None, limit: Limit::new(2) };
        let rows = store.site("a").undelivered(page).await.unwrap();
        assert_eq!((rows.len(), &rows[0]), (2, &row("a", count)));
        assert_eq!(store.site("b").undelivered(page).await.unwrap(), [row("b", 1)]);
    }
}
