//! What lies in the site's folder against the recordings' rows and the manifest.

use super::records::{Rows, in_scope};
use super::{Difference, Scope, VerifyError};
use crate::base::RecordingId;
use crate::recording::format::{HEADER_BYTES, bytes_of, frames_in, parse};
use crate::recording::manifest::{self, Digest, Entry, Follower, Recorded};
use crate::store::recordings::RecordingRow;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files are hashed in pieces of this size.
const PIECE_BYTES: usize = 128 * 1024;
/// Beside a running engine a younger file may not have its row yet.
const ROW_WAIT_MAX: Duration = Duration::from_secs(60);

type Entries = BTreeMap<RecordingId, Recorded>;

/// Compares rows, files and manifest.
pub(super) fn compare(scope: &Scope<'_>, rows: &Rows, found: &mut Vec<Difference>) -> Result<(), VerifyError> {
    let folders: Vec<PathBuf> = scope.recordings.iter().map(|root| root.join(scope.site)).collect();
    let mut entries = Entries::new();
    for folder in &folders {
        entries.append(&mut manifest(scope, folder, rows, found)?);
    }
    for row in rows.values().filter(|row| in_scope(scope, row)) {
        compare_row(scope, &folders, row, found)?;
        compare_entry(row, &entries, found);
    }
    for (folder, path) in folders.iter().flat_map(|folder| days(scope).map(move |path| (folder, path))) {
        for name in sounds(&folder.join(&path))? {
            let name = format!("{path}/{name}");
            if !rows.contains_key(&name) {
                unknown(scope, folder, &name, found)?;
            }
        }
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    |error| VerifyError::File { path: path.into(), error }
}

/// Follows the whole chain; what it says of the recordings in `rows`, and which of those in scope have none.
fn manifest(
    scope: &Scope<'_>,
    folder: &Path,
    rows: &Rows,
    found: &mut Vec<Difference>,
) -> Result<Entries, VerifyError> {
    let path = folder.join(manifest::NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::new()),
        Err(error) => return Err(failed(&path)(error)),
    };
    let wanted: BTreeSet<&str> = rows.values().map(|row| &*row.id).collect();
    let (mut chain, mut entries) = (Follower::default(), Entries::new());
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(failed(&path))?;
        if line.is_empty() {
            continue;
        }
        match chain.follow(&line) {
            Ok(Entry { recorded, .. }) => {
                let id = recorded.recording.to_string();
                if wanted.contains(&*id) {
                    entries.insert(recorded.recording, recorded);
                } else if must_have_row(scope, &recorded) {
                    found.push(Difference::EntryWithoutRow(id, recorded.path.into()));
                }
            }
            Err(broken) => {
                found.push(Difference::Chain(broken));
                break;
            }
        }
    }
    Ok(entries)
}

/// Beside a running engine the row of what has just ended may be on its way, however far behind SQL is.
fn must_have_row(scope: &Scope<'_>, recorded: &Recorded) -> bool {
    (scope.from..scope.to).contains(&recorded.started) && (!scope.running || recorded.ended < scope.over_before)
}

fn compare_row(
    scope: &Scope<'_>,
    folders: &[PathBuf],
    row: &RecordingRow,
    found: &mut Vec<Difference>,
) -> Result<(), VerifyError> {
    let places = || folders.iter().map(|folder| folder.join(&row.path));
    let Some(path) = places().find(|path| path.exists()).or_else(|| places().next()) else { return Ok(()) };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What the archive has need not be here.
            if row.archived.is_none() && (row.sha256.is_some() || !scope.running) {
                found.push(Difference::FileMissing(row.id.clone(), row.path.clone()));
            }
            return Ok(());
        }
        Err(error) => return Err(failed(&path)(error)),
    };
    let length = file.metadata().map_err(failed(&path))?.len();
    match (&row.sha256, row.bytes) {
        (Some(_), Some(told)) if u64::try_from(told) != Ok(length) => {
            found.push(Difference::FileLength(row.path.clone(), told, length));
        }
        (Some(told), _) if *told != hash(file).map_err(failed(&path))?.to_string() => {
            found.push(Difference::FileChanged(row.path.clone()));
        }
        (Some(_), _) => {}
        (None, _) => header(scope, &path, found)?,
    }
    Ok(())
}

fn compare_entry(row: &RecordingRow, entries: &Entries, found: &mut Vec<Difference>) {
    let Some(sha256) = &row.sha256 else { return };
    let entry = row.id.parse().ok().and_then(|id: RecordingId| entries.get(&id));
    match entry {
        None => found.push(Difference::NotInManifest(row.id.clone())),
        Some(entry) if *entry.path != *row.path || entry.sha256.to_string() != *sha256 => {
            found.push(Difference::ManifestDiffers(row.id.clone()));
        }
        Some(_) => {}
    }
}

fn unknown(scope: &Scope<'_>, folder: &Path, name: &str, found: &mut Vec<Difference>) -> Result<(), VerifyError> {
    let path = folder.join(name);
    let modified = fs::metadata(&path).and_then(|file| file.modified()).map_err(failed(&path))?;
    let young = modified.elapsed().is_ok_and(|age| age < ROW_WAIT_MAX);
    if scope.running && young {
        return Ok(());
    }
    found.push(Difference::FileUnknown(name.into()));
    header(scope, &path, found)
}

/// An unsealed file's header; of a growing file it may well be behind.
fn header(scope: &Scope<'_>, path: &Path, found: &mut Vec<Difference>) -> Result<(), VerifyError> {
    if scope.running {
        return Ok(());
    }
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(failed(path))?;
    file.by_ref().take(HEADER_BYTES).read_to_end(&mut head).map_err(failed(path))?;
    let length = file.metadata().map_err(failed(path))?.len();
    let frames = frames_in(length);
    if parse(&head) != Ok(frames) || length != bytes_of(frames) {
        found.push(Difference::Header(path.into()));
    }
    Ok(())
}

/// Folders of the days in scope, by UTC.
fn days(scope: &Scope<'_>) -> impl Iterator<Item = String> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let days = scope.from.0.div_euclid(DAY_MS)..=(scope.to.0 - 1).div_euclid(DAY_MS);
    days.filter_map(|day| {
        let day = jiff::Timestamp::from_millisecond(day * DAY_MS).ok()?;
        Some(day.strftime("%Y/%m/%d").to_string())
    })
}

/// Names of the sound files in a day's folder.
fn sounds(folder: &Path) -> Result<Vec<String>, VerifyError> {
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder)(error)),
    };
    let mut names = Vec::new();
    for file in files {
        let path: PathBuf = file.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "wav")
            && let Some(name) = path.file_name()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn hash(mut file: File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hash.finalize().into())),
            count => hash.update(&piece[..count]),
        }
    }
}
