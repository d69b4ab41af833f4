//! A disk that can be full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own, small enough to be filled. Only root can make one.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path) -> SmallDisk {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).output();
        let done = mounted.is_ok_and(|output| output.status.success());
        assert!(done, "no file system can be mounted: run the tests as root, or by `unshare --map-root-user --mount`");
        SmallDisk(at.into())
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    pub fn clear(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the engine may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
