//! From a path to the name of a local socket.

use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::{GenericFilePath, Name, ToFsName};
use interprocess::os::unix::uds_local_socket::tokio as local;

/// A connection, either side.
pub(super) type Stream = local::Stream;

/// The listening side.
pub(super) type Listener = local::Listener;

/// Bytes of the longest path that the kernel takes for a socket: `sun_path`
/// has 108, and the last is a NUL.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why a path can't be the name of a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The kernel's limit is tight.
    #[error(
        "the socket path {} has {bytes} bytes, and the kernel allows {SOCKET_PATH_BYTES_MAX}: \
         choose a shorter runtime folder",
        .path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Whatever else is wrong with it.
    #[error("{} can't be the path of a socket: {source}", .path.display())]
    Invalid {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The name of the socket at `path`.
pub(super) fn name_of(path: &Path) -> Result<Name<'_>, AddressError> {
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(AddressError::PathTooLong { path: path.to_owned(), bytes });
    }
    path.to_fs_name::<GenericFilePath>()
        .map_err(|source| AddressError::Invalid { path: path.to_owned(), source })
}
