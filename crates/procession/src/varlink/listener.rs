//! The listening socket and its file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use interprocess::local_socket::ListenerOptions;
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

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

/// Listens at `path`. A socket there that nobody listens on any more is taken away first: the caller holds the lock of
/// the instance, so that its owner is dead.
///
/// Must run within a tokio runtime. Waits for an owner that is just dying.
pub(super) fn listen(path: &Path) -> Result<(Listener, SocketFile), StartError> {
    let give_up = Instant::now() + LAST_BREATH;
    loop {
        match listen_now(path) {
            Err(StartError::InUse { .. }) if Instant::now() < give_up => thread::sleep(LOOK_AGAIN),
            outcome => return outcome,
        }
    }
}

/// As [`listen`], without waiting.
pub(super) fn listen_now(path: &Path) -> Result<(Listener, SocketFile), StartError> {
    let name = name_of(path)?;
    let failed = |source| StartError::Listen { path: path.to_owned(), source };
    remove_dead(path)?;
    // The mode is on the socket before it has a name. The umask is applied to
    // it then, so at no instant it is wider than this, but perhaps narrower.
    let listener = ListenerOptions::new()
        .name(name)
        .mode(SOCKET_MODE)
        .reclaim_name(false)
        .create_tokio_as::<Listener>()
        .map_err(failed)?;
    let file = SocketFile::of(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok((listener, file))
}

/// Removes a socket that refuses connections: only a dead owner's does.
fn remove_dead(path: &Path) -> Result<(), StartError> {
    let path = || path.to_owned();
    let failed = |source| StartError::Listen { path: path(), source };
    match fs::symlink_metadata(path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(StartError::NotASocket { path: path() }),
    }
    match knock(&path()) {
        Ok(by) => Err(StartError::InUse { path: path(), by }),
        Err(Errno::CONNREFUSED) => match fs::remove_file(path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::PROTOTYPE) => Err(StartError::NotASocket { path: path() }),
        Err(error) => Err(failed(error.into())),
    }
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
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            group: metadata.gid(),
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
        if self.place() == Place::Ours {
            // If this fails the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
