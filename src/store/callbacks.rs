//! Call-backs (回呼), and calls that nobody answered and nobody has come back to.
//!
//! A call-back is kept by its own id, and the highest `revision` stands. Its attempts are kept as JSON: nobody asks for one
//! of them alone.

use super::bulk::{Bound, Bulk};
use super::page::{of_site, turn_to};
use super::{Page, Site, StoreError};
use crate::base::fact::{CallbackAttempt, CallbackRecord};
use crate::base::{CallbackId, ContactId, Wall};
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// One call-back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct CallbackRow {
    /// Id.
    pub id: String,
    /// Counts up with every telling.
    pub revision: i64,
    /// Whom to call, canonical.
    pub number: String,
    /// The queue in whose line they stand.
    pub queue: String,
    /// Of their own, beside the queue's (0–100).
    pub priority: i64,
    /// `key`, `overflow`, `missed` or `desk`.
    pub source: String,
    /// The contact it came from.
    pub contact: Option<String>,
    /// The order it is about.
    pub order_id: Option<String>,
    /// Since when they have been waiting: their place; milliseconds since 1970, as all times here.
    pub since: i64,
    /// When it was asked for.
    pub asked: i64,
    /// The first moment at which it is tried, or tried again.
    pub not_before: i64,
    /// Every attempt, as JSON: `contact`, `agent`, `at`, `result`.
    pub attempts: String,
    /// When it was over.
    pub closed: Option<i64>,
    /// `reached`, `unreached`, `called_again`, `duplicate`, `withdrawn`, `queue_gone` or `not_listed`.
    pub result: Option<String>,
}

/// A call that nobody answered, whose caller neither came again nor was called since.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct MissedRow {
    /// The contact.
    pub id: String,
    /// Canonical caller number.
    pub caller: String,
    /// Canonical dialled number.
    pub dialled: String,
    /// Queue they waited in.
    pub queue: String,
    /// Came; milliseconds since 1970, as all times here.
    pub offered: i64,
    /// Began to wait.
    pub queued: i64,
    /// Gave up, or was let go.
    pub ended: i64,
    /// The order that was opened.
    pub order_id: Option<String>,
}

const COLUMNS: &str = "SELECT id, revision, number, queue, priority, source, contact, order_id, since, asked, not_before, \
                       attempts, closed, result FROM callbacks";

/// The newest call of each caller that came to a queue; nobody answered it, nobody is to call back, nobody has called.
const MISSED: &str = "SELECT id, caller, dialled, queue, offered, queued, ended, order_id FROM calls AS missed WHERE \
    direction = 'inbound' AND queued IS NOT NULL AND answered IS NULL AND ended IS NOT NULL AND caller <> '' \
    AND NOT EXISTS (SELECT 1 FROM calls AS later WHERE later.site = missed.site AND later.caller = missed.caller \
        AND later.queued IS NOT NULL AND later.offered > missed.offered) \
    AND NOT EXISTS (SELECT 1 FROM calls AS back WHERE back.site = missed.site AND back.dialled = missed.caller \
        AND back.direction = 'outbound' AND back.answered IS NOT NULL AND back.offered > missed.offered) \
    AND NOT EXISTS (SELECT 1 FROM callbacks WHERE callbacks.site = missed.site \
        AND callbacks.number = missed.caller AND callbacks.asked >= missed.offered) AND site = ";

static UPSERT: Bulk = Bulk::new(
    "INSERT INTO callbacks (site, id, revision, number, queue, priority, source, contact, order_id, since, asked, \
     not_before, attempts, closed, result) VALUES ",
    15,
    " ON CONFLICT (site, id) DO UPDATE SET revision = excluded.revision, not_before = excluded.not_before, \
     attempts = excluded.attempts, closed = excluded.closed, result = excluded.result \
     WHERE excluded.revision > callbacks.revision",
);

impl Site<'_> {
    /// Those that are open, or over, or all; the newest first.
    pub async fn callbacks(&self, open: Option<bool>, page: Page<CallbackId>) -> Result<Vec<CallbackRow>, StoreError> {
        let mut question = of_site(COLUMNS, self.code);
        question.push(match open {
            Some(true) => " AND closed IS NULL",
            Some(false) => " AND closed IS NOT NULL",
            None => "",
        });
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }

    /// One of them.
    pub async fn callback(&self, id: CallbackId) -> Result<Option<CallbackRow>, StoreError> {
        let mut question = of_site(COLUMNS, self.code);
        question.push(" AND id = ").push_bind(id.to_string());
        Ok(question.build_query_as().fetch_optional(&self.store.readers).await?)
    }

    /// The open ones, as they were told, those who wait longest first; `most` of them.
    pub async fn open_callbacks(&self, most: u32) -> Result<Vec<CallbackRecord>, StoreError> {
        let mut question = of_site(COLUMNS, self.code);
        question.push(" AND closed IS NULL ORDER BY since, id LIMIT ").push_bind(i64::from(most));
        let rows: Vec<CallbackRow> = question.build_query_as().fetch_all(&self.store.readers).await?;
        Ok(rows.into_iter().filter_map(CallbackRow::record).collect())
    }

    /// Calls missed from `from` on, the newest first.
    pub async fn missed(&self, from: Wall, page: Page<ContactId>) -> Result<Vec<MissedRow>, StoreError> {
        let mut question = super::page::Question::new(MISSED);
        question.push_bind(self.code).push(" AND offered >= ").push_bind(from.0);
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }
}

impl CallbackRow {
    /// As it was told; `None` when something in it is none of ours.
    fn record(self) -> Option<CallbackRecord> {
        let attempts: Vec<CallbackAttempt> = serde_json::from_str(&self.attempts).ok()?;
        Some(CallbackRecord {
            callback: self.id.parse().ok()?,
            revision: u32::try_from(self.revision).ok()?,
            number: self.number.into(),
            queue: self.queue.into(),
            priority: u8::try_from(self.priority).ok()?,
            source: word(&self.source)?,
            contact: self.contact.map(|id| id.parse()).transpose().ok()?,
            order: self.order_id.map(|id| id.parse()).transpose().ok()?,
            since: Wall(self.since),
            asked: Wall(self.asked),
            not_before: Wall(self.not_before),
            attempts,
            closed: self.closed.map(Wall),
            result: self.result.as_deref().and_then(word),
        })
    }
}

/// Writes each, unless a newer telling of it is stored.
pub(super) async fn write(
    callbacks: &BTreeMap<(&str, CallbackId), &CallbackRecord>,
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&str, &CallbackRecord)> = callbacks.iter().map(|((site, _), record)| (*site, *record)).collect();
    for statement in UPSERT.statements(&rows, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (site, record): &(&str, &CallbackRecord)) -> Bound {
    statement
        .bind(*site)
        .bind(record.callback.to_string())
        .bind(i64::from(record.revision))
        .bind(&*record.number)
        .bind(&*record.queue)
        .bind(i64::from(record.priority))
        .bind(record.source.word())
        .bind(record.contact.map(|id| id.to_string()))
        .bind(record.order.map(|id| id.to_string()))
        .bind(record.since.0)
        .bind(record.asked.0)
        .bind(record.not_before.0)
        .bind(serde_json::to_string(&record.attempts).unwrap_or_default())
        .bind(record.closed.map(|at| at.0))
        .bind(record.result.map(|result| result.word()))
}

fn word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{Store, sample};
    use super::*;
    use crate::base::FactId;
    use crate::base::fact::{AttemptResult, CallbackResult, CallbackSource, Fact, Stamped};

    fn record(id: u128, number: &str, revision: u32) -> CallbackRecord {
        CallbackRecord {
            callback: CallbackId(id),
            revision,
            number: number.into(),
            queue: "general".into(),
            priority: 3,
            source: CallbackSource::Key,
            contact: Some(ContactId(id)),
            order: None,
            since: Wall(1_000),
            asked: Wall(sample::START + 90_000),
            not_before: Wall(61_000),
            attempts: Vec::new(),
            closed: None,
            result: None,
        }
    }

    fn told(number: u128, record: CallbackRecord) -> Stamped {
        let fact = Fact::Callback(Box::new(record));
        Stamped { id: FactId(number), at: Wall(0), site: "a".into(), fact }
    }

    #[tokio::test]
    async fn the_newest_telling_stands_whatever_the_order_and_open_ones_come_back_as_told() {
        let store = Store::memory().await.unwrap();
        let mut open = record(1, "+8613800000001", 2);
        let attempt = |result| CallbackAttempt { contact: ContactId(9), agent: "1001".into(), at: Wall(5), result };
        open.attempts = vec![attempt(Some(AttemptResult::NoAnswer)), attempt(None)];
        let closed =
            CallbackRecord { closed: Some(Wall(7)), result: Some(CallbackResult::Reached), ..record(2, "2", 4) };
        let facts = [
            told(1, open.clone()),
            told(2, record(1, "+8613800000001", 1)),
            told(3, closed),
            told(4, record(2, "2", 3)),
        ];
        for fact in &facts {
            store.apply(std::slice::from_ref(fact)).await.unwrap();
        }
        store.apply(&facts).await.unwrap();
        let site = store.site("a");
        assert_eq!(site.open_callbacks(10).await.unwrap(), [open]);
        assert_eq!(store.site("b").open_callbacks(10).await.unwrap(), []);
        let over = site.callbacks(Some(false), Page::default()).await.unwrap();
        assert_eq!((over.len(), over[0].result.as_deref()), (1, Some("reached")));
        assert_eq!(site.callbacks(None, Page::default()).await.unwrap().len(), 2);
        assert_eq!(site.callback(CallbackId(2)).await.unwrap().unwrap().revision, 4);
    }

    /// Each way in which somebody has come back to a missed call takes it off the list.
    #[tokio::test]
    async fn a_missed_call_is_listed_until_somebody_has_come_back_to_it() {
        let missed = |number: u32| {
            let mut facts = sample::call("a", number);
            facts.iter_mut().for_each(|stamped| {
                if let Fact::Call(call) = &mut stamped.fact {
                    (call.caller, call.times.answered, call.direction) =
                        ("+8613900000000".into(), None, Default::default());
                }
            });
            facts
        };
        let listed = async |store: &Store| -> Vec<String> {
            let rows = store.site("a").missed(Wall(0), Page::default()).await.unwrap();
            rows.into_iter().map(|row| row.id).collect()
        };
        let id = |number: u32| ContactId(sample::id(number)).to_string();
        let store = Store::memory().await.unwrap();
        store.apply(&missed(1)).await.unwrap();
        assert_eq!(listed(&store).await, [id(1)]);
        store.apply(&missed(3)).await.unwrap();
        assert_eq!(listed(&store).await, [id(3)], "the newest try stands for all");
        store.apply(&[told(1, record(1, "+8613900000000", 1))]).await.unwrap();
        assert_eq!(listed(&store).await, [] as [String; 0], "they are to be called back");

        let answered_later = Store::memory().await.unwrap();
        answered_later.apply(&missed(1)).await.unwrap();
        let mut later = sample::call("a", 4);
        for stamped in &mut later {
            if let Fact::Call(call) = &mut stamped.fact {
                (call.caller, call.direction) = ("+8613900000000".into(), Default::default());
            }
        }
        answered_later.apply(&later).await.unwrap();
        assert_eq!(listed(&answered_later).await, [] as [String; 0], "they came again, and were served");

        let called = Store::memory().await.unwrap();
        called.apply(&missed(1)).await.unwrap();
        for stamped in &mut later {
            if let Fact::Call(call) = &mut stamped.fact {
                call.direction = crate::base::fact::Direction::Outbound;
                (call.caller, call.dialled) = ("12345".into(), "+8613900000000".into());
            }
        }
        called.apply(&later).await.unwrap();
        assert_eq!(listed(&called).await, [] as [String; 0], "somebody has called them");
    }
}
