//! One writer per instance, by a kernel lock; and a sign of its life that anybody may look at.
//!
//! Two files, because whoever can open a file can lock it, if only for reading: the lock is its owner's alone, and the
//! sign of life can be faked, but not held against its owner.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::disk::{self, FILE_MODE};
use crate::error::{At, Error, Result};
use crate::holder::Holder;
use crate::layout;
use crate::ofd;
use crate::presence::LOOK_EVERY;
use crate::summary::read_marks;

/// Nobody but the owner may lock it.
const LOCK_MODE: u32 = 0o600;

/// Held as long as the process lives: the kernel lets go when it dies, never a time-out.
///
/// The descriptors are close-on-exec, so a child program cannot keep the lock alive.
#[derive(Debug)]
pub(crate) struct Lock {
    // In this order: whoever sees no life any more finds the lock free.
    file: File,
    alive: File,
}

impl Lock {
    /// Takes the lock of an instance, waiting for its holder up to `patience`.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder.
    pub(crate) fn take(instance: &Path, patience: Duration) -> Result<Self> {
        let path = layout::lock_path(instance);
        // Whoever asks after a holder that shows no life, see [`is_locked`], takes the lock for an instant: outwait them.
        let deadline = Instant::now() + patience.max(Duration::from_millis(50));
        let file = loop {
            let file = open_private(&path)?;
            if try_lock(&file).at("lock", &path)? {
                if is_at(&file, &path) {
                    break file;
                }
                // It was removed while we waited, and is nobody's lock any more.
                continue;
            }
            if Instant::now() >= deadline {
                let alive = disk::open_to_read(&layout::alive_path(instance)).ok();
                return Err(Error::Locked { holder: alive.and_then(|file| Holder::noted(&file)), path });
            }
            thread::sleep(Duration::from_millis(5));
        };
        let path = layout::alive_path(instance);
        let known = belongs_to(&file);
        if known.is_none() || known != fs::symlink_metadata(&path).ok().map(|found| found.ino()) {
            outlive_holder_of_another(instance, deadline)?;
        }
        let alive = disk::open_own(&path, FILE_MODE)?;
        Holder::of_this_process().note(&alive);
        ofd::share(&alive).at("lock", &path)?;
        let number = alive.metadata().at("inspect", &path)?.ino();
        if known != Some(number) {
            // Best effort: without it the next one asks again. Last, for whoever is killed before has not waited to the end.
            let _ = file.set_len(0).and_then(|()| file.write_all_at(format!("{number}\n").as_bytes(), 0));
        }
        Ok(Self { file, alive })
    }

    /// The files that are locked, by name.
    pub(crate) fn held(&self, instance: &Path) -> [(PathBuf, &File); 2] {
        [(layout::lock_path(instance), &self.file), (layout::alive_path(instance), &self.alive)]
    }
}

/// The inode of the sign of life that goes with this lock: who holds the lock knows that nobody else gives it.
fn belongs_to(lock: &File) -> Option<u64> {
    let mut bytes = [0; 32];
    let read = lock.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..read]).ok()?.strip_suffix('\n')?.parse().ok()
}

/// Opens the lock file for its owner alone.
fn open_private(path: &Path) -> Result<File> {
    let file = disk::open_own(path, LOCK_MODE)?;
    if file.metadata().at("inspect", path)?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(LOCK_MODE)).at("keep others out of", path)?;
    }
    Ok(file)
}

/// The lock is not known to be the one that the last holder had: it is new, or from elsewhere. If somebody has taken the
/// lock away under its holder, that one goes on for up to [`LOOK_EVERY`] until it notices, or for as long as the disk
/// keeps it from looking. This one asks for signs of life, which it does not do where the lock is known: others can fake
/// them.
///
/// # Errors
/// [`Error::Locked`].
fn outlive_holder_of_another(instance: &Path, deadline: Instant) -> Result<()> {
    let mut signs = 0;
    // Either may have been removed as well, or replaced, or never copied with the rest.
    for path in [layout::alive_path(instance), layout::marks_path(instance)] {
        match disk::open_to_read(&path) {
            Ok(file) => outlive(&file, &path, instance, deadline)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).at("open", &path),
        }
        signs += 1;
    }
    // One of an earlier version gives no such sign, and notices within this time that it has lost its lock.
    if signs < 2
        && let Some(marks) = read_marks(instance).ok().flatten().filter(|marks| marks.same_boot)
        && marks.pid != std::process::id()
        && Path::new(&format!("/proc/{}", marks.pid)).exists()
    {
        thread::sleep(2 * LOOK_EVERY);
    }
    Ok(())
}

/// Waits until nobody shows life by this file any more.
fn outlive(file: &File, path: &Path, instance: &Path, deadline: Instant) -> Result<()> {
    while ofd::is_shared(file).at("inspect the lock of", path)? {
        if Instant::now() >= deadline {
            return Err(Error::Locked { holder: Holder::noted(file), path: layout::lock_path(instance) });
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> bool {
    let same =
        |mine: fs::Metadata, found: fs::Metadata| (mine.dev(), mine.ino()) == (found.dev(), found.ino());
    file.metadata().is_ok_and(|mine| fs::symlink_metadata(path).is_ok_and(|found| same(mine, found)))
}

fn try_lock(file: &File) -> Result<bool, Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an instance's journal has a living writer right now.
///
/// Takes no lock. Whoever may read the instance's files can make a dead writer look alive, never a living one dead.
///
/// # Errors
/// The file that shows it cannot be opened, other than for not being there.
pub fn is_locked(instance: &Path) -> Result<bool> {
    let path = layout::alive_path(instance);
    match disk::open_to_read(&path) {
        Ok(file) => ofd::is_shared(&file).at("inspect the lock of", &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => is_locked_without_sign(instance),
        Err(error) => Err(error).at("open", &path),
    }
}

/// A writer that is older than the sign of life lets others open its lock.
fn is_locked_without_sign(instance: &Path) -> Result<bool> {
    let path = layout::lock_path(instance);
    let file = match disk::open_to_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).at("open", &path),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error).at("inspect the lock of", &path),
    }
}
