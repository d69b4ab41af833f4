//! The thread that carries finished recordings to the archive, and takes their local files away when their time has come.
//!
//! A recording counts as archived once its object was read back whole. What a crash cuts off is begun again under the same
//! name. When the store fails, all wait, longer each time; a recording whose own file fails is passed over for a while.

use super::content::{Content, Given};
use super::{Archive, word};
use crate::base::Wall;
use crate::base::fact::Audit;
use crate::config::archive::Archive as Configured;
use crate::node::clock;
use crate::node::wires::lock;
use crate::store::archive::Archived;
use crate::store::recordings::RecordingRow;
use crate::store::{Store, StoreError};
use futures_util::StreamExt;
use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{Error as ObjectError, MultipartUpload, ObjectStoreExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// How much less urgent the thread is than those that carry calls.
const NICE: i32 = 10;
/// How often is looked for what has ended.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// First wait after a failure of the store; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// A recording whose own file fails is tried again after this.
const ASIDE: Duration = Duration::from_secs(3_600);
/// Most recordings passed over at once; beyond it the store counts as failing.
const ASIDE_MAX: usize = 1_000;
/// Local files removed in one round: calls' files come first.
const REMOVALS_MAX: u32 = 64;

/// Tells the audit of a site.
type Tell = dyn Fn(&str, Audit) + Send;

/// What the worker needs.
pub(in crate::node) struct Settings {
    /// As configured.
    pub(in crate::node) configured: Configured,
    /// Where recordings lie.
    pub(in crate::node) folders: Vec<PathBuf>,
    /// Which wait, and which are done.
    pub(in crate::node) store: Store,
    /// What was done.
    pub(in crate::node) audit: Box<Tell>,
}

/// The running worker; ends with [`Worker::stop`].
pub(in crate::node) struct Worker {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Why a recording did not get there.
#[derive(Debug, thiserror::Error)]
enum JobError {
    /// Its own file.
    #[error("its local file: {0}")]
    Local(#[from] io::Error),
    /// The store, for all.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// What was read back is not what was put.
    #[error("its object is not what was put there")]
    ReadBack,
    /// It took longer than `attempt_s_max`.
    #[error("it took too long")]
    TooLong,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// State of the thread.
struct Carrier {
    archive: Archive,
    settings: Settings,
    /// Recordings passed over, by site and id.
    aside: BTreeMap<(String, String), Instant>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives none.
    pub(in crate::node) fn start(archive: Archive, settings: Settings) -> io::Result<Worker> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let carrier = Carrier { archive, settings, aside: BTreeMap::new() };
        let thread = Builder::new().name("archive".into()).spawn(move || {
            // Threads of its runtime are made by this one, and are as patient.
            if let Err(error) = rustix::process::nice(NICE) {
                tracing::debug!(%error, "the archive's thread is as urgent as all others");
            }
            runtime.block_on(carrier.run(stopped));
            runtime.shutdown_background();
        })?;
        Ok(Worker { stop, thread })
    }

    /// Ends the thread; what was on its way is begun again by the next start.
    pub(in crate::node) fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the archive's thread had panicked");
        }
    }
}

impl Carrier {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let (mut wait, mut back_off) = (Duration::ZERO, BACK_OFF);
        loop {
            let round = async {
                tokio::time::sleep(wait).await;
                self.round().await
            };
            let done = tokio::select! {
                // A sender that is gone means the same.
                _ = stopped.wait_for(|stop| *stop) => return,
                done = round => done,
            };
            if done.is_ok() {
                back_off = BACK_OFF;
            }
            wait = match done {
                Ok(0) => LOOK_EVERY,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(%error, wait_s = back_off.as_secs(), "the archive does not take recordings");
                    let wait = back_off;
                    back_off = (2 * back_off).min(BACK_OFF_MAX);
                    wait
                }
            };
        }
    }

    /// Carries the next recordings; gives how many were.
    async fn round(&mut self) -> Result<usize, JobError> {
        self.look().await?;
        let now = Instant::now();
        self.aside.retain(|_, until| *until > now);
        let jobs_max = self.settings.configured.jobs_max;
        let wanted = u32::try_from(self.aside.len() + jobs_max).unwrap_or(u32::MAX);
        let mut rows = self.settings.store.unarchived(wanted).await?;
        rows.retain(|row| !self.aside.contains_key(&(row.site.clone(), row.id.clone())));
        rows.truncate(jobs_max);
        let attempts = join_all(rows.iter().map(|row| self.attempt(row))).await;
        let (mut done, mut failed) = (0, None);
        for (row, attempt) in rows.into_iter().zip(attempts) {
            match attempt {
                Ok(()) => done += 1,
                Err(error) => failed = self.failed(row, error).or(failed),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.remove_old().await?;
        Ok(done)
    }

    /// Counts what waits.
    async fn look(&self) -> Result<(), JobError> {
        let backlog = self.settings.store.archive_backlog().await?;
        let age = backlog.oldest.map_or(0, |ended| (clock::now().wall.0 - ended).max(0).unsigned_abs() / 1_000);
        let mut figures = lock(&self.archive.figures);
        figures.waiting = u64::try_from(backlog.waiting).unwrap_or(0);
        figures.oldest_s = age;
        figures.stuck = age > self.settings.configured.stuck_after.as_secs();
        Ok(())
    }

    /// Notes a failure; gives it back when all must wait for it.
    fn failed(&mut self, row: RecordingRow, error: JobError) -> Option<JobError> {
        lock(&self.archive.figures).failed += 1;
        if !matches!(error, JobError::Local(_)) || self.aside.len() >= ASIDE_MAX {
            return Some(error);
        }
        tracing::error!(recording = row.id, path = row.path, %error, "a recording cannot be archived");
        self.aside.insert((row.site, row.id), Instant::now() + ASIDE);
        None
    }

    async fn attempt(&self, row: &RecordingRow) -> Result<(), JobError> {
        let attempt = tokio::time::timeout(self.settings.configured.attempt_max, self.carry(row));
        let archived = attempt.await.map_err(|_| JobError::TooLong)??;
        self.settings.store.archived(row, &archived).await?;
        let mut figures = lock(&self.archive.figures);
        figures.done += 1;
        figures.bytes += archived.bytes;
        drop(figures);
        self.tell(row, "recording.archive");
        Ok(())
    }

    /// Puts the object there and reads it back.
    async fn carry(&self, row: &RecordingRow) -> Result<Archived, JobError> {
        let format = self.settings.configured.format;
        let object = self.archive.object(row, format)?;
        let path = self.local(row).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let recorded = row.sha256.clone().unwrap_or_default();
        // Any number will do as long as two streams that are joined by somebody differ.
        let serial = recorded.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
        let file = self.archive.folder.as_ref().map(|folder| folder.join(object.as_ref()));
        let swept = file.clone();
        let content = blocking(move || {
            swept.map_or(Ok(()), |target| sweep(&target))?;
            Content::open(&path, &recorded, format, serial)
        });
        let given = self.put(&object, content.await?).await?;
        if let Some(file) = file {
            blocking(move || synced(&file)).await?;
        }
        if self.read_back(&object).await? != given {
            return Err(JobError::ReadBack);
        }
        let (at, object) = (clock::now().wall, object.to_string());
        Ok(Archived { at, object, format: word(format), bytes: given.bytes, sha256: given.sha256 })
    }

    /// A small object is one request; a large one goes in parts and is there when the last is.
    async fn put(&self, object: &Path, content: Content) -> Result<Given, JobError> {
        let (part, content) = next(content).await?;
        if let Some(given) = content.given() {
            self.archive.store.put(object, part.into()).await?;
            return Ok(given);
        }
        let mut upload = self.archive.store.put_multipart(object).await?;
        let sent = put_parts(&mut upload, part, content).await;
        if let Err(error) = &sent
            && let Err(left) = upload.abort().await
        {
            tracing::warn!(%error, %left, object = %object, "parts of an object that was given up are left in the archive");
        }
        sent
    }

    async fn read_back(&self, object: &Path) -> Result<Given, JobError> {
        let mut pieces = self.archive.store.get(object).await?.into_stream();
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            hash.update(&piece);
            bytes += piece.len() as u64;
        }
        Ok(Given { bytes, sha256: hex::encode(hash.finalize()) })
    }

    /// Removes local files whose time has come, once the store still has their objects.
    async fn remove_old(&self) -> Result<(), JobError> {
        let Some(keep) = self.settings.configured.keep_local else { return Ok(()) };
        let now = clock::now().wall;
        let before = Wall(now.0 - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        for row in self.settings.store.removable(before, REMOVALS_MAX).await? {
            self.remove(&row, now).await?;
        }
        Ok(())
    }

    async fn remove(&self, row: &RecordingRow, now: Wall) -> Result<(), JobError> {
        let object = Path::parse(row.archive_object.as_deref().unwrap_or_default()).map_err(ObjectError::from)?;
        let size = match self.archive.store.head(&object).await {
            Ok(found) => Some(found.size),
            Err(ObjectError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if size.is_none() || size != row.archive_bytes.and_then(|bytes| u64::try_from(bytes).ok()) {
            tracing::error!(recording = row.id, object = %object, "its object is gone: it is archived anew");
            return Ok(self.settings.store.unarchive(row).await?);
        }
        let files: Vec<PathBuf> = self.places(row).collect();
        blocking(move || files.iter().filter(|file| file.exists()).try_for_each(std::fs::remove_file)).await?;
        self.settings.store.local_removed(row, now).await?;
        lock(&self.archive.figures).removed += 1;
        self.tell(row, "recording.remove_local");
        Ok(())
    }

    fn places(&self, row: &RecordingRow) -> impl Iterator<Item = PathBuf> {
        self.settings.folders.iter().map(|folder| folder.join(&row.site).join(&row.path))
    }

    fn local(&self, row: &RecordingRow) -> Option<PathBuf> {
        self.places(row).find(|path| path.is_file())
    }

    fn tell(&self, row: &RecordingRow, action: &str) {
        let (actor, role, object) = ("archive".into(), "node".into(), row.id.as_str().into());
        let audit = Audit { actor, role, action: action.into(), object, allowed: true, from: "".into() };
        (self.settings.audit)(&row.site, audit);
    }
}

async fn put_parts(
    upload: &mut Box<dyn MultipartUpload>,
    first: bytes::Bytes,
    content: Content,
) -> Result<Given, JobError> {
    upload.put_part(first.into()).await?;
    let mut content = content;
    loop {
        let (part, rest) = next(content).await?;
        upload.put_part(part.into()).await?;
        if let Some(given) = rest.given() {
            upload.complete().await?;
            return Ok(given);
        }
        content = rest;
    }
}

async fn next(mut content: Content) -> io::Result<(bytes::Bytes, Content)> {
    blocking(move || content.part().map(|part| (part, content))).await
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(act).await.map_err(io::Error::other)?
}

/// On disk when this returns, with its name: a power cut leaves what is called archived.
fn synced(file: &std::path::Path) -> io::Result<()> {
    std::fs::File::open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// Removes what a crash left of an object on its way into a directory: `NAME#1` …
fn sweep(target: &std::path::Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let left = path.file_name().and_then(|found| found.to_str()?.strip_prefix(name)?.strip_prefix('#'));
        if left.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit())) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
