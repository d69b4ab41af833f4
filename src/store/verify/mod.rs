//! Whether what is kept agrees with itself: calls, orders, recordings, files, manifest and journal of a site.
//!
//! Owns the comparison and its words. Reads only; a difference is told, never mended here. May run beside the engine:
//! what is still on its way then counts as no difference.

mod files;
mod records;

use super::journal::{self, JournalError};
use super::{Store, StoreError};
use crate::base::Wall;
use crate::recording::manifest::Broken;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Code of the site.
    pub site: &'a str,
    /// First moment: calls offered, orders opened, recordings begun.
    pub from: Wall,
    /// First moment after it.
    pub to: Wall,
    /// Below each of them stands a folder of the site, with a manifest of its own.
    pub recordings: &'a [PathBuf],
    /// Folder of the journal.
    pub journal: &'a Path,
    /// What has no end and began before this is over, whatever its record says.
    pub over_before: Wall,
    /// Whether the engine is running: files may be growing.
    pub running: bool,
}

/// Something that does not agree. Ids and paths as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A call reached a queue and names no order.
    CallWithoutOrder(String),
    /// A call names an order that is not there.
    OrderMissing(String, String),
    /// An order's call is not there.
    CallMissing(String, String),
    /// A call or an order names a recording that is not there.
    RecordingMissing(String, String),
    /// A call that must be over has no end.
    CallWithoutEnd(String),
    /// A recording that must be over has no end: its id and its file. May be sealed, when no engine writes it.
    RecordingWithoutEnd(String, String),
    /// A recording's file is not there.
    FileMissing(String, String),
    /// A file has another length than its recording says, in bytes: told, found.
    FileLength(String, i64, u64),
    /// A file has another SHA-256 than its recording says.
    FileChanged(String),
    /// A file belongs to no recording.
    FileUnknown(String),
    /// The header of an unsealed file does not agree with its length: a crash cut it. May be repaired.
    Header(PathBuf),
    /// The manifest's chain is broken; what is behind it cannot be relied on.
    Chain(Broken),
    /// A finished recording is not in the manifest.
    NotInManifest(String),
    /// The manifest has a recording, with its file, of which there is no row.
    EntryWithoutRow(String, String),
    /// The manifest says something else of a recording than its row.
    ManifestDiffers(String),
    /// The journal holds a newer telling than SQL, which said that it had taken it: kind and id.
    FactNotStored(&'static str, String),
    /// So many places of the journal cannot be read.
    JournalDamaged(u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::CallWithoutOrder(call) => write!(f, "call {call}: reached a queue and has no order"),
            Difference::OrderMissing(call, order) => write!(f, "call {call}: its order {order} is missing"),
            Difference::CallMissing(order, call) => write!(f, "order {order}: its call {call} is missing"),
            Difference::RecordingMissing(of, recording) => write!(f, "{of}: its recording {recording} is missing"),
            Difference::CallWithoutEnd(call) => write!(f, "call {call}: has no end and is not live"),
            Difference::RecordingWithoutEnd(recording, _) => write!(f, "recording {recording}: has no end"),
            Difference::FileMissing(recording, path) => write!(f, "recording {recording}: its file {path} is missing"),
            Difference::FileLength(path, told, found) => write!(f, "file {path}: {found} bytes, {told} were recorded"),
            Difference::FileChanged(path) => write!(f, "file {path}: its SHA-256 is another than was recorded"),
            Difference::FileUnknown(path) => write!(f, "file {path}: belongs to no recording"),
            Difference::Header(path) => write!(f, "file {}: its header was cut by a crash", path.display()),
            Difference::Chain(broken) => write!(f, "{broken}"),
            Difference::NotInManifest(recording) => write!(f, "recording {recording}: is not in the manifest"),
            Difference::EntryWithoutRow(recording, path) => {
                write!(f, "recording {recording}: is in the manifest with its file {path}, but not in the database")
            }
            Difference::ManifestDiffers(recording) => write!(f, "recording {recording}: the manifest says otherwise"),
            Difference::FactNotStored(kind, id) => write!(f, "{kind} {id}: the journal knows more than the database"),
            Difference::JournalDamaged(places) => write!(f, "journal: {places} damaged places"),
        }
    }
}

/// Why the comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Recordings or the manifest.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Store {
    /// Every difference in scope, in a fixed order.
    ///
    /// # Errors
    /// [`VerifyError`] when something could not be read at all.
    pub async fn verify(&self, scope: &Scope<'_>) -> Result<Vec<Difference>, VerifyError> {
        let mut found = Vec::new();
        let site = self.site(scope.site);
        records::calls(site, scope, &mut found).await?;
        records::orders(site, scope, &mut found).await?;
        let rows = records::recordings(site, scope, &mut found).await?;
        files::compare(scope, &rows, &mut found)?;
        let told = journal::told(scope.journal, scope.site, scope.from..scope.to)?;
        records::told(site, told, &mut found).await?;
        found.sort();
        found.dedup();
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
