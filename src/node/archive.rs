//! The archive: finished recordings go to an object store, and are read from there when their local files are gone.
//!
//! Owns the way to the store and the figures; [`worker`] carries recordings there on a thread of its own, with a runtime
//! of its own, less urgent than all that carries calls. Nothing of a call ever waits for it.

mod content;
mod opus;
mod worker;

pub(super) use worker::{Settings, Worker};

use crate::config::archive::{Archive as Configured, Bucket, Format, Target};
use crate::store::recordings::RecordingRow;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error as StoreError, GetOptions, GetRange, ObjectStore, RetryConfig};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A service that does not even take a connection is away.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A request that fails at once is repeated at once, for so long; what takes longer is the worker's to repeat.
const REPEAT_MAX: Duration = Duration::from_secs(5);

/// How the archive stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = ArchiveFigures)]
pub struct Figures {
    /// Finished recordings that are not in it yet.
    pub waiting: u64,
    /// How long the one that waits longest has been over.
    pub oldest_s: u64,
    /// Whether that is longer than `stuck_after_h`.
    pub stuck: bool,
    /// Recordings that were read back since the start.
    pub done: u64,
    /// Attempts that came to nothing since the start.
    pub failed: u64,
    /// Bytes of objects that were read back since the start.
    pub bytes: u64,
    /// Local files removed since the start.
    pub removed: u64,
}

/// The way to the store. Cheap to clone.
#[derive(Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    prefix: Box<str>,
    /// Below it objects are files; `None` for a service.
    folder: Option<PathBuf>,
    figures: Arc<Mutex<Figures>>,
}

/// Why an object cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such object.
    #[error("the archive has it no more")]
    Gone,
    /// The store does not answer, or not with what was put there.
    #[error("the archive cannot be read now")]
    Away,
}

/// A stream of an object's bytes.
pub type Bytes = BoxStream<'static, io::Result<bytes::Bytes>>;

impl Archive {
    /// The way to the configured store. Asks it nothing yet; the directory of `file://` is made when it is missing.
    ///
    /// # Errors
    /// What is wrong with the settings, or with the directory.
    pub fn open(configured: &Configured) -> Result<Archive, StoreError> {
        let (store, prefix, folder): (Arc<dyn ObjectStore>, Box<str>, _) = match &configured.target {
            Target::Folder(path) => {
                let made = std::fs::create_dir_all(path);
                made.map_err(|source| StoreError::Generic { store: "file", source: source.into() })?;
                (Arc::new(LocalFileSystem::new_with_prefix(path)?), "".into(), Some(path.clone()))
            }
            Target::S3(bucket) => (Arc::new(service(bucket, configured.attempt_max)?), bucket.prefix.clone(), None),
        };
        Ok(Archive { store, prefix, folder, figures: Arc::default() })
    }

    /// How it stands.
    pub fn figures(&self) -> Figures {
        *super::wires::lock(&self.figures)
    }

    /// Bytes of an archived recording.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, row: &RecordingRow, range: Option<Range<u64>>) -> Result<Bytes, ReadError> {
        let object =
            row.archive_object.as_deref().and_then(|object| Path::parse(object).ok()).ok_or(ReadError::Gone)?;
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&object, options).await.map_err(|error| read_error(&row.id, &error))?;
        if row.archive_bytes.and_then(|bytes| u64::try_from(bytes).ok()) != Some(found.meta.size) {
            tracing::error!(
                recording = row.id,
                size = found.meta.size,
                "its object has another size than was archived"
            );
            return Err(ReadError::Away);
        }
        Ok(found.into_stream().map(|piece| piece.map_err(io::Error::other)).boxed())
    }

    /// An archived recording as the file it was, or as near as its format comes: A-law, without a name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn fetch(&self, row: &RecordingRow) -> Result<File, ReadError> {
        let failed = |error: io::Error| {
            tracing::error!(recording = row.id, %error, "its object cannot be fetched");
            ReadError::Away
        };
        let mut pieces = self.read(row, None).await?;
        let mut object = tempfile::tempfile().map_err(failed)?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            let written = tokio::task::spawn_blocking(move || object.write_all(&piece).map(|()| object)).await;
            object = written.map_err(io::Error::other).and_then(|written| written).map_err(failed)?;
        }
        let opus = row.archive_format.as_deref() == Some(word(Format::Opus { bits_per_s: 0 }));
        let sound = tokio::task::spawn_blocking(move || {
            object.rewind()?;
            if opus { opus::as_recording(object) } else { Ok(object) }
        });
        sound.await.map_err(io::Error::other).and_then(|sound| sound).map_err(failed)
    }

    /// Where a recording's object goes: always the same, so that a job begun twice leaves one object.
    fn object(&self, row: &RecordingRow, format: Format) -> Result<Path, StoreError> {
        let name = match format {
            Format::Wav => row.path.clone(),
            Format::Opus { .. } => format!("{}.opus", row.path.strip_suffix(".wav").unwrap_or(&row.path)),
        };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        Ok(Path::parse(format!("{}{slash}{}/{name}", self.prefix, row.site))?)
    }
}

/// The word of a format in SQL and in the API.
fn word(format: Format) -> &'static str {
    match format {
        Format::Wav => "wav",
        Format::Opus { .. } => "opus",
    }
}

fn read_error(recording: &str, error: &StoreError) -> ReadError {
    match error {
        StoreError::NotFound { .. } => ReadError::Gone,
        error => {
            tracing::warn!(recording, %error, "the archive does not answer");
            ReadError::Away
        }
    }
}

fn service(bucket: &Bucket, attempt_max: Duration) -> Result<object_store::aws::AmazonS3, StoreError> {
    let options = ClientOptions::new().with_timeout(attempt_max).with_connect_timeout(CONNECT_MAX);
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: REPEAT_MAX };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options)
        .with_retry(retry)
        .with_bucket_name(&*bucket.name)
        .with_region(&*bucket.region)
        .with_virtual_hosted_style_request(bucket.virtual_hosted)
        .with_access_key_id(&*bucket.access_key)
        .with_secret_access_key(&*bucket.secret_key.0);
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(&**endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    builder.build()
}

#[cfg(test)]
mod tests;
