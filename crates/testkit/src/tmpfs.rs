//! Small and read-only file systems.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::find::left_out;
use crate::limits::is_root;

/// A file system in memory, mounted on a folder until it is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    folder: PathBuf,
}

impl Tmpfs {
    /// Mounts one of `bytes` bytes on the folder, which is made if need be. None where that isn't allowed, which
    /// it then says: only root may mount, and not in every container.
    ///
    /// # Panics
    /// If the folder can't be made.
    #[must_use]
    pub fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        if !is_root() {
            left_out("only root may mount a small file system");
            return None;
        }
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let options = format!("size={bytes},mode=0755\0");
        let options =
            CStr::from_bytes_with_nul(options.as_bytes()).expect("it ends with NUL, and has no other");
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        match mount("tmpfs", folder, "tmpfs", flags, options) {
            Ok(()) => Some(Self { folder: folder.to_owned() }),
            Err(error) => {
                left_out(format_args!("a small file system can't be mounted here: {error}"));
                None
            }
        }
    }

    /// From now on nothing can be written there. No file may be open for writing.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn make_read_only(&self) {
        let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
        let done = mount_remount(&self.folder, flags, "");
        done.unwrap_or_else(|error| panic!("{} can't be made read-only: {error}", self.folder.display()));
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Bytes that are free there.
    ///
    /// # Panics
    /// If the system doesn't tell.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.folder).expect("a mounted file system tells its size");
        found.f_bavail * found.f_frsize
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that dies at this moment may still have a file open there.
        if let Err(error) = unmount(&self.folder, UnmountFlags::DETACH) {
            println!("{} stays mounted: {error}", self.folder.display());
        }
    }
}
