//! One writer per instance, by a kernel lock.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{At, Error, Result};
use crate::segment::FILE_MODE;

/// Held as long as the process lives: the kernel lets go when it dies, never a time-out.
///
/// The descriptor is close-on-exec, so a child program cannot keep the lock alive.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for its holder up to `patience`.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id.
    pub(crate) fn take(path: &Path, patience: Duration) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)
            .at("open", path)?;
        // Somebody who only asks whether the lock is held takes it for an instant: outwait them.
        let deadline = Instant::now() + patience.max(Duration::from_millis(50));
        while !try_lock(&file).at("lock", path)? {
            if Instant::now() >= deadline {
                return Err(Error::Locked { path: path.to_owned(), holder: holder(&mut file) });
            }
            thread::sleep(Duration::from_millis(5));
        }
        let pid = std::process::id();
        // For the message of the next one who tries: a full disk must not keep a process from starting.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{pid}"));
        Ok(Self { _file: file })
    }
}

fn try_lock(file: &File) -> Result<bool, Errno> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who wrote itself down last: for the message only, nothing is decided by it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether an instance's journal has a living writer right now.
///
/// # Errors
/// The lock file cannot be opened, other than for not being there.
pub fn is_locked(instance: &Path) -> Result<bool> {
    let path = crate::layout::lock_path(instance);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).at("open", &path),
    };
    // A shared lock: many may ask at once, and it is gone when `file` is dropped. A writer that
    // starts at this very instant waits for us a few milliseconds.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error).at("inspect the lock of", &path),
    }
}
