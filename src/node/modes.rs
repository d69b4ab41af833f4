//! The shell of the modes: their file, and who asks.
//!
//! The file is replaced whole whenever somebody's word or a rush has changed; lost or damaged, modes begin as their hours
//! say. Never decides whether a mode opens.

use super::clock;
use super::start::Node;
use super::wires::lock;
use crate::base::snapshot::{Snapshot, SnapshotError};
use crate::base::{Now, QueueId, SiteId};
use crate::modes::{Change, Hand, Kept, Modes, Settings, View};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

const KIND: &str = "modes";
const VERSION: u16 = 1;

/// What the file says: the code of a site, for its number may be another after a restart, and a mode.
type Lines = Vec<(Box<str>, Kept)>;

/// Why the file could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The modes of this node and their file.
#[derive(Debug)]
pub(super) struct ModeBook {
    modes: Mutex<Modes>,
    path: PathBuf,
    /// Codes of the sites.
    sites: Vec<Box<str>>,
}

impl ModeBook {
    /// As the file has them.
    pub(super) fn read(path: PathBuf, sites: Vec<Box<str>>, settings: Settings) -> ModeBook {
        let lines = read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was said of modes cannot be read: hours and arrivals alone decide");
            Lines::new()
        });
        let known = |(code, kept): (Box<str>, Kept)| {
            let site = sites.iter().position(|site| *site == code)?;
            Some(Kept { site: SiteId(u16::try_from(site).ok()?), ..kept })
        };
        let kept = lines.into_iter().filter_map(known).collect();
        ModeBook { modes: Mutex::new(Modes::new(clock::now(), settings, kept)), path, sites }
    }

    /// By site: names of those that are open.
    pub(super) fn open(&self) -> Vec<Vec<Box<str>>> {
        let modes = lock(&self.modes);
        (0u16..).zip(&self.sites).map(|(site, _)| modes.open(SiteId(site))).collect()
    }

    pub(super) fn configure(&self, settings: Settings) {
        lock(&self.modes).configure(settings);
    }

    pub(super) fn arrived(&self, now: Now, site: SiteId, queue: QueueId) {
        lock(&self.modes).arrived(now.mono, site, queue);
    }

    /// What opened and what was shut; writes the file when that, or somebody's word, has changed.
    pub(super) fn look(&self, now: Now) -> Vec<Change> {
        let (changes, kept) = {
            let mut modes = lock(&self.modes);
            let (changes, other) = modes.look(now);
            (changes, other.then(|| modes.kept()))
        };
        if let Some(kept) = kept
            && let Err(error) = self.write(kept)
        {
            tracing::error!(%error, "modes cannot be written: after a restart somebody's word on them is forgotten");
        }
        changes
    }

    /// Replaces the file: a crash leaves the old one or the new one.
    fn write(&self, kept: Vec<Kept>) -> io::Result<()> {
        let lines: Lines = kept.into_iter().map(|kept| (self.sites[kept.site.index()].clone(), kept)).collect();
        let fresh = self.path.with_extension("new");
        std::fs::write(&fresh, Snapshot::new(KIND, VERSION, lines).write())?;
        std::fs::rename(&fresh, &self.path)
    }
}

fn read(path: &std::path::Path) -> Result<Lines, ReadError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Snapshot::read(&bytes, KIND, VERSION)?.state),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lines::new()),
        Err(error) => Err(error.into()),
    }
}

impl Node {
    /// Shows the modes of a site.
    pub fn modes(&self) -> impl Fn(SiteId) -> Vec<View> + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |site| lock(&wires.modes.modes).view(clock::now().mono, site)
    }

    /// Takes somebody's word on a mode, or that there is none any more; false when there is no such mode. It is followed
    /// within a second or so.
    pub fn set_mode(&self) -> impl Fn(SiteId, &str, Option<Hand>) -> bool + Send + Sync + 'static {
        let wires = self.wires().clone();
        move |site, name, hand| lock(&wires.modes.modes).set(site, name, hand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Wall;
    use crate::modes::Rule;

    #[test]
    fn somebodys_word_outlives_the_process_though_sites_are_numbered_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modes.json");
        let rule = || vec![Rule { name: "storm".into(), hours: None, rush: None }];
        let book = |sites: &[&str]| {
            let settings = Settings { sites: sites.iter().map(|_| rule()).collect() };
            ModeBook::read(path.clone(), sites.iter().map(|site| (*site).into()).collect(), settings)
        };
        let before = book(&["a", "b"]);
        let now = clock::now();
        let until = Wall(now.wall.0 + 60_000);
        assert!(lock(&before.modes).set(SiteId(1), "storm", Some(Hand { open: true, until })));
        assert_eq!(before.look(now).len(), 1);
        assert!(before.look(now).is_empty());
        assert_eq!(book(&["b", "a"]).open(), [vec!["storm".into()], vec![]]);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(book(&["b"]).open(), [Vec::<Box<str>>::new()], "damaged: as if there were none");
    }
}
