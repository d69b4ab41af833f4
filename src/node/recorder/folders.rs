//! The target directories: each is a whole, with its notes, its sites' files and their manifests.
//!
//! What is new goes to the first that works. One that failed is passed over for a while, then tried again by the next
//! recording. Decides by what writers meet; probes nothing by itself.

use super::notes::{Notes, Opened, Slot};
use crate::base::{Mono, RecordingId};
use crate::node::alarm::Alarm;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that failed is passed over for so long.
pub(super) const PASSED_OVER_MS: u64 = 30_000;

/// Which directory, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(usize);

/// One of them.
struct Folder {
    path: PathBuf,
    notes: Notes,
    /// When it is tried again, in milliseconds of the clock; 0 while it works.
    until_ms: AtomicU64,
}

/// All of them: at least one.
pub(super) struct Folders(Vec<Folder>);

impl Folders {
    /// Opens or makes them; gives the notes that the run before left. One that cannot be used is left out as long as
    /// another can, and raises `failed`.
    ///
    /// # Errors
    /// What the system said of the last one, when none can be used.
    pub(super) fn open(paths: &[PathBuf], failed: &Alarm) -> io::Result<(Folders, Vec<(Slot, Opened)>)> {
        let (mut folders, mut left, mut last) = (Vec::new(), Vec::new(), io::ErrorKind::NotFound.into());
        for path in paths {
            match std::fs::create_dir_all(path).and_then(|()| Notes::open(path)) {
                Ok((notes, noted)) => {
                    let place = Place(folders.len());
                    left.extend(noted.into_iter().map(|(slot, opened)| (slot, Opened { place, ..opened })));
                    folders.push(Folder { path: path.clone(), notes, until_ms: AtomicU64::new(0) });
                }
                Err(error) => {
                    failed.raise(Mono(0), 1, |_| {
                        tracing::error!(folder = %path.display(), %error, "recordings cannot be written there");
                    });
                    last = error;
                }
            }
        }
        if folders.is_empty() { Err(last) } else { Ok((Folders(folders), left)) }
    }

    /// Where it stands.
    pub(super) fn path(&self, place: Place) -> &Path {
        &self.0[place.0].path
    }

    /// The folder of one site.
    pub(super) fn of_site(&self, place: Place, site: &str) -> PathBuf {
        self.path(place).join(site)
    }

    /// The file of a recording.
    pub(super) fn file(&self, opened: &Opened) -> PathBuf {
        self.of_site(opened.place, &opened.site).join(&*opened.fact.path)
    }

    /// Its notes.
    pub(super) fn notes(&self, place: Place) -> &Notes {
        &self.0[place.0].notes
    }

    /// All of them, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.0.len()).map(Place)
    }

    /// In which order they are tried: those that work, then those that failed of late.
    pub(super) fn in_turn(&self, now: Mono) -> impl Iterator<Item = Place> {
        let passed = move |place: &Place| self.is_passed_over(*place, now);
        let works = self.places().filter(move |place| !passed(place));
        works.chain(self.places().filter(move |place| passed(place)))
    }

    /// Another one than `place` that works.
    pub(super) fn beside(&self, place: Place, now: Mono) -> Option<Place> {
        self.places().find(|other| *other != place && !self.is_passed_over(*other, now))
    }

    /// It failed: others are tried first for a while.
    pub(super) fn pass_over(&self, place: Place, now: Mono) {
        let until = now.ms() + PASSED_OVER_MS;
        let before = self.0[place.0].until_ms.swap(until, Ordering::Relaxed);
        if before <= now.ms() && self.0.len() > 1 {
            tracing::error!(folder = %self.path(place).display(), "recordings go to another directory");
        }
    }

    /// How many failed of late.
    pub(super) fn passed_over(&self, now: Mono) -> usize {
        self.places().filter(|place| self.is_passed_over(*place, now)).count()
    }

    fn is_passed_over(&self, place: Place, now: Mono) -> bool {
        self.0[place.0].until_ms.load(Ordering::Relaxed) > now.ms()
    }
}

/// Each recording once: of one that a crash caught on its way to another directory, the longer file stays.
pub(super) fn once(folders: &Folders, left: Vec<(Slot, Opened)>) -> Vec<(Slot, Opened)> {
    let mut kept: BTreeMap<(RecordingId, Box<str>), (Slot, Opened)> = BTreeMap::new();
    for found in left {
        let key = (found.1.fact.recording, found.1.fact.path.clone());
        let stays = match kept.remove(&key) {
            None => found,
            Some(other) => {
                let (stays, goes) = if length(folders, &other.1) >= length(folders, &found.1) {
                    (other, found)
                } else {
                    (found, other)
                };
                forget(folders, goes.0, &goes.1);
                stays
            }
        };
        kept.insert(key, stays);
    }
    kept.into_values().collect()
}

fn length(folders: &Folders, opened: &Opened) -> u64 {
    std::fs::metadata(folders.file(opened)).map_or(0, |file| file.len())
}

/// Takes away what is left of a recording in a directory that it went away from. What fails now is said, and done by the
/// next start.
pub(super) fn forget(folders: &Folders, slot: Slot, opened: &Opened) {
    let path = folders.file(opened);
    let removed = std::fs::remove_file(&path);
    if let Err(error) = removed.and_then(|()| folders.notes(opened.place).clear(slot)) {
        tracing::warn!(file = %path.display(), %error, "it is also in another directory and cannot be removed here");
    }
}
