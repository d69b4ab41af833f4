//! Registrations across a restart: phones can be rung at once, not only when they next register.
//!
//! Owns one small file of bindings, replaced whole whenever they changed. Lost or damaged it costs nothing but the time
//! until phones refresh. Never holds a secret: addresses only.

use super::wires::lock;
use crate::base::Wall;
use crate::base::snapshot::{Snapshot, SnapshotError};
use crate::sip::event::Bindings;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KIND: &str = "registrations";
const VERSION: u16 = 1;
/// How often changes are written.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(1);

type ByAddress = BTreeMap<(Box<str>, Box<str>), Arc<Bindings>>;

/// The bindings of all phones, in memory and in a file.
#[derive(Debug)]
pub(super) struct Registrations {
    path: PathBuf,
    known: Mutex<ByAddress>,
    changed: AtomicBool,
}

/// Why the file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl Registrations {
    pub(super) fn new(path: PathBuf) -> Registrations {
        Registrations { path, known: Mutex::default(), changed: AtomicBool::new(false) }
    }

    /// What stood in the file: nothing when there is none.
    pub(super) fn read(&self) -> Result<Vec<Bindings>, ReadError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Snapshot::read(&bytes, KIND, VERSION)?.state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// All bindings of one address-of-record changed.
    pub(super) fn note(&self, bindings: &Bindings) {
        let key = (bindings.user.clone(), bindings.domain.clone());
        let mut known = lock(&self.known);
        if bindings.contacts.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key, Arc::new(bindings.clone()));
        }
        self.changed.store(true, Ordering::Relaxed);
    }

    /// From where a phone is registered now; `None` when it is not.
    pub(super) fn address(&self, user: &str, domain: &str, now: Wall) -> Option<IpAddr> {
        let known = lock(&self.known).get(&(user.into(), domain.into())).cloned()?;
        let alive = known.contacts.iter().find(|contact| contact.expires > now)?;
        Some(alive.flow.peer.ip())
    }

    /// Writes the file if anything changed since; a crash leaves the old one or the new one.
    pub(super) fn save(&self) -> io::Result<()> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // Shared, so that a shard that notes something does not wait for the copy of everything.
        let shared: Vec<Arc<Bindings>> = lock(&self.known).values().cloned().collect();
        let state: Vec<Bindings> = shared.iter().map(|bindings| Bindings::clone(bindings)).collect();
        let fresh = self.path.with_extension("new");
        let written = std::fs::write(&fresh, Snapshot::new(KIND, VERSION, state).write())
            .and_then(|()| std::fs::rename(&fresh, &self.path));
        if written.is_err() {
            self.changed.store(true, Ordering::Relaxed);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::event::{Binding, Flow};

    fn bindings(user: &str, contacts: usize) -> Bindings {
        let flow = Flow { listener: 0, connection: 0, peer: "192.0.2.1:5062".parse().unwrap() };
        let binding =
            Binding { uri: format!("sip:{user}@192.0.2.1:5062").into(), flow, expires: Wall(9), path: Vec::new() };
        Bindings { user: user.into(), domain: "fuzhou.example".into(), contacts: vec![binding; contacts] }
    }

    #[test]
    fn what_was_saved_is_read_and_what_is_gone_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registrations.json");
        let registrations = Registrations::new(path.clone());
        assert!(registrations.read().unwrap().is_empty());
        for noted in [bindings("1001", 1), bindings("1002", 2), bindings("1001", 0)] {
            registrations.note(&noted);
        }
        registrations.save().unwrap();
        assert_eq!(Registrations::new(path.clone()).read().unwrap(), [bindings("1002", 2)]);
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(registrations.read(), Err(ReadError::Snapshot(SnapshotError::Malformed))));
        registrations.save().unwrap();
        assert!(registrations.read().is_err(), "nothing changed: nothing is written");
    }

    #[test]
    fn a_save_that_fails_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let registrations = Registrations::new(folder.path().join("missing/registrations.json"));
        registrations.note(&bindings("1001", 1));
        assert!(registrations.save().is_err());
        std::fs::create_dir(folder.path().join("missing")).unwrap();
        registrations.save().unwrap();
        assert_eq!(registrations.read().unwrap().len(), 1);
    }
}
