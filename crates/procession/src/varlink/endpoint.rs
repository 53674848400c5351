//! Where a process is called, and how a caller knows that it is it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::client::ClientError;
use super::peer::Peer;
use crate::users;

/// The user whom the kernel shows in the place of any that the caller's user namespace doesn't have.
const OVERFLOW_UID: u32 = 65534;

/// A process's socket, and a folder that only the process's user can own: its state folder.
///
/// Whoever answers at the socket and is not the folder's owner is an impostor. That is asked on every connection,
/// before a byte is sent ([`Client::connect_to`](super::Client::connect_to)): a process may end, and another take
/// its place, at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    socket: PathBuf,
    folder: PathBuf,
}

/// Why whoever answers is not taken for the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unproven {
    /// It is somebody else.
    #[error(
        "{} is answered by user {}, but {} belongs to {}: it is not the process that it passes for",
        socket.display(), users::called(*found), folder.display(), users::called(*owner)
    )]
    Impostor {
        /// Where it listens.
        socket: PathBuf,
        /// Who it is.
        found: u32,
        /// The folder of the process.
        folder: PathBuf,
        /// Who it should be.
        owner: u32,
    },
    /// It can't be known who it should be.
    #[error("nobody knows who should answer at {}: {}: {source}", socket.display(), folder.display())]
    NoOwner {
        /// Where it listens.
        socket: PathBuf,
        /// The folder of the process.
        folder: PathBuf,
        /// Why its owner isn't known.
        source: io::Error,
    },
    /// Both are users whom this user namespace can't tell apart.
    #[error(
        "{} and {} both belong to users that this user namespace doesn't have: they may be two",
        socket.display(), folder.display()
    )]
    Unmapped {
        /// Where it listens.
        socket: PathBuf,
        /// The folder of the process.
        folder: PathBuf,
    },
}

impl Endpoint {
    /// The process that listens at `socket` and owns `folder`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), folder: folder.into() }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the peer, which listens at the socket, is the process. Owned by another user, or by nobody, it is not.
    pub(super) fn check(&self, peer: Peer) -> Result<(), ClientError> {
        let (socket, folder) = (self.socket.clone(), self.folder.clone());
        let owner = match fs::metadata(&self.folder) {
            Ok(metadata) => metadata.uid(),
            Err(source) => return Err(Unproven::NoOwner { socket, folder, source }.into()),
        };
        if owner != peer.uid {
            return Err(Unproven::Impostor { socket, found: peer.uid, folder, owner }.into());
        }
        if owner == OVERFLOW_UID && !has_all_users() {
            return Err(Unproven::Unmapped { socket, folder }.into());
        }
        Ok(())
    }
}

/// Whether this process is in a user namespace that has every user.
fn has_all_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}
