//! The listening socket and its file.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use interprocess::local_socket::ListenerOptions;
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, open, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::address::{Listener, name_of};
use super::peer::Peer;
use super::server::StartError;

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// So long a dying process may still listen after its lock is free: the kernel closes its files one by one.
const LAST_BREATH: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The file of a listening socket; removed when dropped, if it is still ours.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Where it was made, whatever lies at the path now.
    folder: Arc<OwnedFd>,
    device: u64,
    inode: u64,
    group: u32,
}

/// What lies where a server has put its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The socket.
    Ours,
    /// Nothing: nobody finds the server any more.
    Empty,
    /// Something else.
    Taken,
}

/// Listens at `path`, which lies in `folder`. A socket there that nobody listens on any more is taken away first: the
/// caller holds the lock of the instance, so that its owner is dead.
///
/// Must run within a tokio runtime. Waits for an owner that is just dying.
pub(super) fn listen(path: &Path, folder: OwnedFd) -> Result<(Listener, SocketFile), StartError> {
    let give_up = Instant::now() + LAST_BREATH;
    let folder = Arc::new(folder);
    loop {
        match listen_now(path, &folder) {
            Err(StartError::InUse { .. }) if Instant::now() < give_up => thread::sleep(LOOK_AGAIN),
            outcome => return outcome,
        }
    }
}

/// As [`listen`], without waiting.
pub(super) fn listen_now(path: &Path, folder: &Arc<OwnedFd>) -> Result<(Listener, SocketFile), StartError> {
    let name = name_of(path)?;
    let failed = |source| StartError::Listen { path: path.to_owned(), source };
    remove_dead(path, folder)?;
    // The mode is on the socket before it has a name. The umask is applied to
    // it then, so at no instant it is wider than this, but perhaps narrower.
    let listener = ListenerOptions::new()
        .name(name)
        .mode(SOCKET_MODE)
        .reclaim_name(false)
        .create_tokio_as::<Listener>()
        .map_err(failed)?;
    let file = SocketFile::of(path, folder).map_err(failed)?;
    Ok((listener, file))
}

/// The folder that `path` lies in, whosever it is.
pub(super) fn folder_of(path: &Path) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    open(folder.unwrap_or(Path::new(".")), flags, Mode::empty())
        .map_err(|error| StartError::Listen { path: path.to_owned(), source: error.into() })
}

/// Removes a socket that refuses connections: only a dead owner's does.
fn remove_dead(path: &Path, folder: &OwnedFd) -> Result<(), StartError> {
    let failed = |error: Errno| StartError::Listen { path: path.to_owned(), source: error.into() };
    let not_a_socket = || StartError::NotASocket { path: path.to_owned() };
    let name = name_in_folder(path);
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if FileType::from_raw_mode(found.st_mode).is_socket() => {}
        Ok(_) => return Err(not_a_socket()),
    }
    match knock(path) {
        Ok(by) => Err(StartError::InUse { path: path.to_owned(), by }),
        Err(Errno::CONNREFUSED) => match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        },
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::PROTOTYPE) => Err(not_a_socket()),
        Err(error) => Err(failed(error)),
    }
}

fn name_in_folder(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// Gives the socket that was just made its mode, where the umask took some of it. What lies in its place instead is
/// left alone, above all a link: whatever it leads to would be open to the group.
fn let_group_in(folder: &OwnedFd, name: &OsStr) -> io::Result<Stat> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = openat(folder, name, flags, Mode::empty())?;
    let found = fstat(&socket)?;
    if !FileType::from_raw_mode(found.st_mode).is_socket() || found.st_uid != geteuid().as_raw() {
        return Err(io::Error::other("somebody has exchanged the socket in the instant when it was made"));
    }
    if found.st_mode & 0o7777 != SOCKET_MODE {
        // By its descriptor, which this way of naming it goes to without a look at any path.
        let itself = format!("/proc/self/fd/{}", socket.as_raw_fd());
        fs::set_permissions(itself, fs::Permissions::from_mode(SOCKET_MODE))?;
    }
    Ok(found)
}

/// Who listens at the path, if anybody does. Never waits.
fn knock(path: &Path) -> rustix::io::Result<String> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => {
            let stream = tokio::net::UnixStream::from_std(UnixStream::from(socket));
            let peer = stream.and_then(|stream| Peer::of_stream(&stream));
            Ok(peer.map_or_else(|_| "somebody".to_owned(), |peer| peer.to_string()))
        }
        // Its queue is full: somebody has it.
        Err(Errno::AGAIN) => Ok("somebody who is too busy to answer".to_owned()),
        Err(error) => Err(error),
    }
}

impl SocketFile {
    fn of(path: &Path, folder: &Arc<OwnedFd>) -> io::Result<Self> {
        let found = let_group_in(folder, name_in_folder(path))?;
        Ok(Self {
            path: path.to_owned(),
            folder: Arc::clone(folder),
            device: found.st_dev,
            inode: found.st_ino,
            group: found.st_gid,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The group that the socket's mode lets in.
    pub(super) fn group(&self) -> u32 {
        self.group
    }

    /// What lies at the path now. What can't be looked at counts as ours: nothing is known against it.
    pub(super) fn place(&self) -> Place {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Place::Ours,
            Ok(_) => Place::Taken,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Place::Empty,
            Err(_) => Place::Ours,
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let name = name_in_folder(&self.path);
        let found = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| (found.st_dev, found.st_ino) == (self.device, self.inode)) {
            // If this fails the next start removes it.
            let _ = unlinkat(&self.folder, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_socket_s_place_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let secret = home.path().join("secret");
        fs::write(&secret, "precious").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&secret, home.path().join("link")).unwrap();
        let folder = folder_of(&secret).unwrap();
        for name in ["link", "secret"] {
            let_group_in(&folder, OsStr::new(name)).unwrap_err();
            assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o7777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_socket_is_not_removed_where_a_link_leads_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let (own, other) = (home.path().join("own"), home.path().join("other"));
        for folder in [&own, &other] {
            fs::create_dir(folder).unwrap();
            // The file stays when the listener is dropped.
            drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        }
        let folder = folder_of(&own.join("socket")).unwrap();
        fs::rename(&own, home.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(&other, &own).unwrap();
        remove_dead(&own.join("socket"), &folder).unwrap();
        assert!(other.join("socket").exists() && !home.path().join("moved/socket").exists());
    }
}
