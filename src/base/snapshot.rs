//! Snapshots: a machine's state as plain, versioned data.
//!
//! What a machine writes today must be readable by every later version, and a version from the future must be refused
//! in words rather than half understood.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A machine's state with what is needed to read it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot<T> {
    /// Which machine wrote it.
    pub kind: Box<str>,
    /// Version of `state`, counting up from 1.
    pub version: u16,
    /// The state itself.
    pub state: T,
}

/// Why bytes are no snapshot that we can restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not JSON, or not the shape that its version says.
    #[error("the snapshot is damaged")]
    Malformed,
    /// It is of another machine.
    #[error("the snapshot is of another machine")]
    Kind,
    /// It was written by a newer program.
    #[error("the snapshot has version {found}, this program reads up to {known}")]
    Newer {
        /// In the bytes.
        found: u16,
        /// The highest we know.
        known: u16,
    },
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    kind: std::borrow::Cow<'a, str>,
    version: u16,
}

impl<T: Serialize + DeserializeOwned> Snapshot<T> {
    /// Wraps `state`.
    pub fn new(kind: &str, version: u16, state: T) -> Self {
        Snapshot { kind: kind.into(), version, state }
    }

    /// The bytes to keep.
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data always serialises")
    }

    /// Reads bytes written by [`Snapshot::write`] at `known` or an earlier version.
    ///
    /// # Errors
    /// [`SnapshotError`], and nothing is restored.
    pub fn read(bytes: &[u8], kind: &str, known: u16) -> Result<Self, SnapshotError> {
        let head: Head = serde_json::from_slice(bytes).map_err(|_| SnapshotError::Malformed)?;
        if head.kind != kind {
            return Err(SnapshotError::Kind);
        }
        if head.version > known {
            return Err(SnapshotError::Newer { found: head.version, known });
        }
        serde_json::from_slice(bytes).map_err(|_| SnapshotError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_refuses_the_rest_in_words() {
        let bytes = Snapshot::new("acd", 2, vec![1u32, 2]).write();
        assert_eq!(Snapshot::<Vec<u32>>::read(&bytes, "acd", 2).unwrap().state, [1, 2]);
        assert_eq!(Snapshot::<Vec<u32>>::read(&bytes, "acd", 1), Err(SnapshotError::Newer { found: 2, known: 1 }));
        assert_eq!(Snapshot::<Vec<u32>>::read(&bytes, "ua", 2), Err(SnapshotError::Kind));
        assert_eq!(Snapshot::<bool>::read(&bytes, "acd", 2), Err(SnapshotError::Malformed));
        assert_eq!(Snapshot::<Vec<u32>>::read(b"{", "acd", 2), Err(SnapshotError::Malformed));
    }
}
