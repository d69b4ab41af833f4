//! What became of recordings after their end: which wait for the archive, which are in it, which lie only there.
//!
//! The state is the row's; a job that a crash cut off is simply still waiting.

use super::recordings::RecordingRow;
use super::{Store, StoreError};
use crate::base::Wall;

/// An object that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// When.
    pub at: Wall,
    /// Its name.
    pub object: String,
    /// `wav` or `opus`.
    pub format: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Backlog {
    /// Finished recordings that are not in the archive.
    pub waiting: i64,
    /// When the one that waits longest ended.
    pub oldest: Option<i64>,
}

impl Store {
    /// Finished recordings of all sites that are not in the archive, `limit` at most, oldest first.
    pub async fn unarchived(&self, limit: u32) -> Result<Vec<RecordingRow>, StoreError> {
        let question = "SELECT * FROM recordings WHERE archived IS NULL AND sha256 IS NOT NULL \
                        ORDER BY ended LIMIT $1";
        Ok(sqlx::query_as(question).bind(limit).fetch_all(&self.readers).await?)
    }

    /// How many those are.
    pub async fn archive_backlog(&self) -> Result<Backlog, StoreError> {
        let question = "SELECT count(*) AS waiting, min(ended) AS oldest FROM recordings \
                        WHERE archived IS NULL AND sha256 IS NOT NULL";
        Ok(sqlx::query_as(question).fetch_one(&self.readers).await?)
    }

    /// Recordings in the archive since before `before` whose local file was not removed, `limit` at most, oldest first.
    pub async fn removable(&self, before: Wall, limit: u32) -> Result<Vec<RecordingRow>, StoreError> {
        let question =
            "SELECT * FROM recordings WHERE archived < $1 AND local_removed IS NULL ORDER BY archived LIMIT $2";
        Ok(sqlx::query_as(question).bind(before.0).bind(limit).fetch_all(&self.readers).await?)
    }

    /// A recording is in the archive.
    pub async fn archived(&self, row: &RecordingRow, archived: &Archived) -> Result<(), StoreError> {
        let Archived { at, object, format, bytes, sha256 } = archived;
        let statement = "UPDATE recordings SET archived = $1, archive_object = $2, archive_format = $3, \
                         archive_bytes = $4, archive_sha256 = $5 WHERE site = $6 AND id = $7";
        let values = sqlx::query(statement).bind(at.0).bind(object).bind(*format);
        let values = values.bind(i64::try_from(*bytes).unwrap_or(i64::MAX)).bind(sha256).bind(&row.site).bind(&row.id);
        values.execute(&self.writer).await?;
        Ok(())
    }

    /// It is in the archive no more, and waits again.
    pub async fn unarchive(&self, row: &RecordingRow) -> Result<(), StoreError> {
        let statement = "UPDATE recordings SET archived = NULL, archive_object = NULL, archive_format = NULL, \
                         archive_bytes = NULL, archive_sha256 = NULL WHERE site = $1 AND id = $2";
        sqlx::query(statement).bind(&row.site).bind(&row.id).execute(&self.writer).await?;
        Ok(())
    }

    /// Its local file is gone.
    pub async fn local_removed(&self, row: &RecordingRow, at: Wall) -> Result<(), StoreError> {
        let statement = "UPDATE recordings SET local_removed = $1 WHERE site = $2 AND id = $3";
        sqlx::query(statement).bind(at.0).bind(&row.site).bind(&row.id).execute(&self.writer).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample;

    async fn ids(rows: Result<Vec<RecordingRow>, StoreError>) -> Vec<String> {
        rows.unwrap().into_iter().map(|row| row.path).collect()
    }

    #[tokio::test]
    async fn a_recording_waits_until_it_is_archived_and_its_file_until_it_is_removed() {
        let store = Store::memory().await.unwrap();
        let facts: Vec<_> = (1..=3).flat_map(|number| sample::call("a", number)).collect();
        store.apply(&facts).await.unwrap();
        let path = |number: u32| format!("2026/05/28/{number}.wav");
        assert_eq!(ids(store.unarchived(10).await).await, [path(1), path(2), path(3)]);
        let first = store.unarchived(1).await.unwrap().remove(0);
        assert_eq!(store.archive_backlog().await.unwrap(), Backlog { waiting: 3, oldest: first.ended });
        let (object, sha256) = ("x/a/1.ogg".to_owned(), "ab".repeat(32));
        let archived = Archived { at: Wall(1_000), object, format: "opus", bytes: 7, sha256 };
        store.archived(&first, &archived).await.unwrap();
        assert_eq!(store.archive_backlog().await.unwrap().waiting, 2);
        assert_eq!(ids(store.removable(Wall(1_000), 10).await).await, [] as [String; 0]);
        assert_eq!(ids(store.removable(Wall(1_001), 10).await).await, [path(1)]);
        store.local_removed(&first, Wall(2_000)).await.unwrap();
        assert_eq!(ids(store.removable(Wall(9_000), 10).await).await, [] as [String; 0]);
        // The recording's own facts, told again, leave what is the archive's.
        store.apply(&facts).await.unwrap();
        let row = store.site("a").recording(first.id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((row.archived, row.archive_bytes, row.local_removed), (Some(1_000), Some(7), Some(2_000)));
        store.unarchive(&row).await.unwrap();
        assert_eq!(store.archive_backlog().await.unwrap().waiting, 3);
        assert_eq!((row.archive_object.as_deref(), row.archive_format.as_deref()), (Some("x/a/1.ogg"), Some("opus")));
    }
}
