//! The listening socket and its file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use interprocess::local_socket::ListenerOptions;
use interprocess::os::unix::local_socket::ListenerOptionsExt;

use super::address::{Listener, name_of};
use super::server::StartError;

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// The file of a listening socket; removed when dropped, if it is still ours.
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Listens at `path`. The socket of a dead owner is taken away first: the
/// caller holds the lock of the instance, so that its owner is dead.
///
/// Must run within a tokio runtime.
pub(super) fn listen(path: &Path) -> Result<(Listener, SocketFile), StartError> {
    let name = name_of(path)?;
    let failed = |source| StartError::Listen { path: path.to_owned(), source };
    remove_stale(path)?;
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

fn remove_stale(path: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Listen { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(path).map_err(failed),
        Ok(_) => Err(StartError::NotASocket { path: path.to_owned() }),
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if ours {
            // If this fails the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
