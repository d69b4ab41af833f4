//! What goes between the hotline and the targets of transfers beside the voice: what they could not be told.

use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::FactId;

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

impl Site<'_> {
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
    use super::super::{Limit, Store};
    use super::*;

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
