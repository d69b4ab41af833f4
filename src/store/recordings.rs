//! Recordings of contacts: where the file lies and what it should hash to. The files themselves are the recorder's.

use super::bulk::{Bound, Bulk};
use super::page::{Page, of_site, turn_to};
use super::{Site, StoreError};
use crate::base::fact::RecordingFact;
use crate::base::{ContactId, RecordingId, Wall};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// A recording as stored. What is known only at its end is `null` until then.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow)]
pub struct RecordingRow {
    /// Site code.
    pub site: String,
    /// Recording id.
    pub id: String,
    /// Which telling this is.
    pub revision: i64,
    /// The contact whose journey it is.
    pub contact: String,
    /// Path below the site's recording folder.
    pub path: String,
    /// First sample, milliseconds since 1970 (UTC).
    pub started: i64,
    /// Last sample.
    pub ended: Option<i64>,
    /// Milliseconds of audio.
    pub duration_ms: Option<i64>,
    /// File size.
    pub bytes: Option<i64>,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: Option<String>,
    /// Whether samples were lost to a fault of ours.
    pub damaged: Option<bool>,
    /// When its object in the archive was read back.
    pub archived: Option<i64>,
    /// Name of the object.
    pub archive_object: Option<String>,
    /// What the object holds: `wav` (the file as it was), `opus`.
    pub archive_format: Option<String>,
    /// Size of the object.
    pub archive_bytes: Option<i64>,
    /// SHA-256 of the object in hexadecimal.
    pub archive_sha256: Option<String>,
    /// When the local file was removed.
    pub local_removed: Option<i64>,
}

/// A row whose ids or numbers are none: nobody but this program writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row of the recording is damaged")]
pub struct Damaged;

impl RecordingRow {
    /// The telling that this row is from, without what is known at its end.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn fact(&self) -> Result<RecordingFact, Damaged> {
        Ok(RecordingFact {
            recording: self.id.parse().map_err(|_| Damaged)?,
            revision: u32::try_from(self.revision).map_err(|_| Damaged)?,
            contact: self.contact.parse().map_err(|_| Damaged)?,
            path: self.path.as_str().into(),
            started: Wall(self.started),
            finished: None,
        })
    }
}

impl Site<'_> {
    /// A page of recordings, newest first; only those of `contact` when given.
    pub async fn recordings(
        &self,
        contact: Option<ContactId>,
        page: Page<RecordingId>,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        let mut question = of_site("SELECT * FROM recordings", self.code);
        if let Some(contact) = contact {
            question.push(" AND contact = ").push_bind(contact.to_string());
        }
        turn_to(&mut question, &page);
        Ok(question.build_query_as().fetch_all(&self.store.readers).await?)
    }

    /// One recording.
    pub async fn recording(&self, recording: RecordingId) -> Result<Option<RecordingRow>, StoreError> {
        let question = sqlx::query_as("SELECT * FROM recordings WHERE site = $1 AND id = $2");
        Ok(question.bind(self.code).bind(recording.to_string()).fetch_optional(&self.store.readers).await?)
    }
}

static UPSERT: Bulk = Bulk::new(
    "INSERT INTO recordings (site, id, revision, contact, path, started, ended, duration_ms, bytes, sha256, damaged) VALUES ",
    11,
    " ON CONFLICT (site, id) DO UPDATE SET revision = excluded.revision, contact = excluded.contact, \
     path = excluded.path, started = excluded.started, ended = excluded.ended, duration_ms = excluded.duration_ms, \
     bytes = excluded.bytes, sha256 = excluded.sha256, damaged = excluded.damaged \
     WHERE excluded.revision > recordings.revision",
);

/// Writes the newest telling of each recording; whatever is stored with the same or a higher revision stays.
pub(super) async fn write(
    recordings: &BTreeMap<(&str, RecordingId), &RecordingFact>,
    database: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(&str, &RecordingFact)> = recordings.iter().map(|((site, _), fact)| (*site, *fact)).collect();
    for statement in UPSERT.statements(&rows, bind) {
        statement.execute(&mut *database).await?;
    }
    Ok(())
}

fn bind(statement: Bound, (site, fact): &(&str, &RecordingFact)) -> Bound {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let finished = fact.finished.as_ref();
    statement
        .bind(*site)
        .bind(fact.recording.to_string())
        .bind(i64::from(fact.revision))
        .bind(fact.contact.to_string())
        .bind(&*fact.path)
        .bind(fact.started.0)
        .bind(finished.map(|end| end.ended.0))
        .bind(finished.map(|end| count(end.duration_ms)))
        .bind(finished.map(|end| count(end.bytes)))
        .bind(finished.map(|end| &*end.sha256))
        .bind(finished.map(|end| end.damaged))
}
