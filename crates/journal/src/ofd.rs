//! Locks that belong to an open file: whoever asks about one takes none.
#![expect(unsafe_code, reason = "system calls that no safe crate has; each block states its invariant")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes a shared lock on all of a file, for as long as the file is open: the kernel lets go when its process is dead.
pub(crate) fn share(file: &File) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
}

/// Takes the lock on all of a file alone, until [`let_go`]. Only by a descriptor that may write: nobody who may only read
/// can take it.
pub(crate) fn have_alone(file: &File) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, libc::F_WRLCK).map(drop)
}

/// Lets go of what this opening of a file has locked.
pub(crate) fn let_go(file: &File) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
}

/// Whether somebody has a shared lock on a file, by another opening of it than this one. Takes nothing, and may be asked
/// by whoever may read the file.
pub(crate) fn is_shared(file: &File) -> io::Result<bool> {
    // Who could have it all to himself, if it were not for somebody?
    let found = control(file, libc::F_OFD_GETLK, libc::F_WRLCK)?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

fn control(file: &File, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::flock> {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel's own small numbers")]
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        // All of the file, however long it is.
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open while `file` is borrowed; both commands take a pointer to a `flock`, which lives
    // until the call returns and which nobody else knows of.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(lock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_lock_is_seen_by_another_opening_until_it_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let holder = File::create_new(&path).and_then(|_| File::open(&path)).unwrap();
        let asking = File::open(&path).unwrap();
        assert!(!is_shared(&asking).unwrap());
        share(&holder).unwrap();
        share(&File::open(&path).unwrap()).unwrap();
        assert!(is_shared(&asking).unwrap(), "one of two is gone");
        assert!(!is_shared(&holder).unwrap(), "its own does not count");
        drop(holder);
        assert!(!is_shared(&asking).unwrap());
    }
}
