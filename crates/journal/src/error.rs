//! What can go wrong, in the terms a caller acts on.

use std::io;
use std::path::{Path, PathBuf};

use crate::holder::Holder;
use crate::types::Offset;

/// A failed operation on a journal: what, where and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process writes this journal; the kernel says so, and lets go when it dies.
    #[error("{} is in use by {}: stop it first, or start this copy under another instance name",
            path.display(), holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string()))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The holder, as it wrote itself down.
        holder: Option<Holder>,
    },
    /// No room for more records. Appending works again once there is.
    #[error("no room in {}: {reason}", path.display())]
    Full {
        /// The journal's folder.
        path: PathBuf,
        /// Disk or retention, in words.
        reason: String,
    },
    /// An entry or batch beyond a limit of the format.
    #[error("{what} is {found} bytes, the limit is {limit}: pass large data by path")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A name that the format does not take.
    #[error("{what} {name:?} is not a valid name: 1 to {limit} bytes, no control characters")]
    BadName {
        /// Which name.
        what: &'static str,
        /// As given.
        name: String,
        /// Longest allowed, in bytes.
        limit: usize,
    },
    /// Bytes that no writer wrote.
    #[error("{} is damaged at offset {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// First offset that cannot be read.
        offset: Offset,
        /// In words.
        reason: String,
    },
    /// Written by a program with another format version.
    #[error("{} has format version {found}, this program reads version {supported}: use the program that wrote it", path.display())]
    ForeignVersion {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// Version that this crate reads and writes.
        supported: u32,
    },
    /// A sync failed in this epoch. The kernel may have dropped the unwritten pages, so nothing
    /// is retried: reopen the journal, which recovers what is on the disk.
    #[error("appending to {} has stopped: {reason}; restart the process to recover", path.display())]
    Poisoned {
        /// The journal's folder.
        path: PathBuf,
        /// The first error.
        reason: String,
    },
    /// A file of the instance is not where its owner has found it: nobody will read what is said or acknowledged from then on.
    #[error("{} {what} while its owner was at it: what was said or acknowledged since is lost", path.display())]
    Displaced {
        /// The file or folder.
        path: PathBuf,
        /// What became of it, in words.
        what: &'static str,
    },
    /// The subscription is already being read in this process.
    #[error("subscription {subscription:?} on {journal:?} already has a reader")]
    Claimed {
        /// Its name.
        subscription: String,
        /// The journal it reads.
        journal: String,
    },
    /// Options that contradict each other or the journal on disk.
    #[error("{0}")]
    Options(String),
    /// The operating system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the action and the path of an I/O error.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::Io { action, path: path.to_owned(), source: error.into() })
    }
}
