//! The key that signs links: made at the first start, kept in the data folder, read again at each start.
//!
//! Who takes the file away makes all links void.

use crate::call::ahead::{KEY_BYTES, Key};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// In the data folder.
pub(in crate::node) const FILE: &str = "link.key";
/// Nobody but us reads it.
const MODE: u32 = 0o600;

/// Reads the key of this data folder, or makes it.
///
/// # Errors
/// The folder or the file cannot be used, or the file is not 32 bytes long.
pub(in crate::node) fn read_or_make(folder: &Path) -> io::Result<Key> {
    let path = folder.join(FILE);
    match File::open(&path) {
        Ok(file) => read(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(folder, &path),
        Err(error) => Err(error),
    }
}

fn read(file: File) -> io::Result<Key> {
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes);
    key.map(Key).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("it does not hold {KEY_BYTES} bytes")))
}

/// Whole or not at all: a key that a crash has cut short would be refused at the next start.
fn make(folder: &Path, path: &Path) -> io::Result<Key> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("key.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(MODE).open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()?;
    Ok(Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_for_our_eyes_only_and_one_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let key = read_or_make(&data).unwrap();
        assert_eq!(read_or_make(&data).unwrap(), key);
        assert_ne!(read_or_make(folder.path()).unwrap(), key);
        let path = data.join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        for length in [0, KEY_BYTES - 1, KEY_BYTES + 1] {
            fs::write(&path, vec![7; length]).unwrap();
            assert_eq!(read_or_make(&data).unwrap_err().kind(), io::ErrorKind::InvalidData, "{length} bytes");
        }
    }
}
