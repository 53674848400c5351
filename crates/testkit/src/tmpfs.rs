//! Small and read-only file systems.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::Write as _;
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

    /// Takes all the room there is, to the last byte.
    ///
    /// # Panics
    /// If some is left.
    pub fn fill(&self) -> Ballast {
        let path = self.folder.join("ballast");
        let mut file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut piece = vec![0_u8; 64 << 10];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        assert!(self.free_bytes() < 4096, "{} bytes are left", self.free_bytes());
        Ballast(path)
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

/// What fills a small file system.
#[derive(Debug)]
#[must_use = "it takes up the room until it is removed"]
pub struct Ballast(PathBuf);

impl Ballast {
    /// Gives the room back, all of it before this returns.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn remove(self) {
        // A child that another test begins just now has the file open until it becomes another program, and holds what is
        // only removed.
        let emptied = File::options().write(true).open(&self.0).and_then(|file| file.set_len(0));
        let removed = emptied.and_then(|()| fs::remove_file(&self.0));
        removed.unwrap_or_else(|error| panic!("{} can't be removed: {error}", self.0.display()));
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
