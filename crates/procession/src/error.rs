//! What publishing, subscribing and starting can fail with.

use std::path::PathBuf;

use journal::{Gap, GapReason, Offset};

use crate::folders::FolderError;
use crate::names::NameError;
use crate::settings::ConfigurationError;
use crate::varlink;

/// A failed operation of a process: what, where and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process's own journal, or one that it reads.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A folder cannot be made or used.
    // Not transparent: the exit code is found by looking through the sources.
    #[error("{0}")]
    Folder(#[from] FolderError),
    /// The settings are wrong.
    #[error("{0}")]
    Configuration(#[from] ConfigurationError),
    /// A name breaks the rules of [`crate::names`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// The local socket cannot be opened.
    #[error("cannot open the local socket: {0}")]
    Socket(#[from] varlink::StartError),
    /// An event cannot be written in its topic's codec.
    #[error("an event of topic {topic:?} cannot be encoded: {reason}")]
    Encode {
        /// The topic.
        topic: String,
        /// The codec's words.
        reason: String,
    },
    /// A value is not what the application reads it as.
    #[error("{what} cannot be decoded: {reason}")]
    Decode {
        /// What was read.
        what: String,
        /// The codec's words.
        reason: String,
    },
    /// A strict subscription met a gap.
    #[error("subscription {subscription:?} cannot have offsets {} to {} of {journal}: {}", gap.from, gap.to.0.saturating_sub(1), in_words(gap.reason))]
    Gap {
        /// Name of the subscription.
        subscription: String,
        /// The journal it reads.
        journal: String,
        /// What is missing, and why.
        gap: Gap,
    },
    /// An output acknowledges a delivery while an earlier one is still open; after a crash the
    /// later input would come again, and its output would be said twice.
    #[error(
        "{journal} offset {offset} cannot be acknowledged with an output while {first} is still open: \
             finish deliveries in their order"
    )]
    OutOfOrder {
        /// The journal that was heard.
        journal: String,
        /// The delivery to be acknowledged.
        offset: Offset,
        /// The first one that is still open.
        first: Offset,
    },
    /// A subscription is described in a way that cannot work.
    #[error("subscription {name:?}: {reason}")]
    Subscription {
        /// Its name.
        name: String,
        /// What to change.
        reason: String,
    },
    /// The operating system said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Its answer.
        source: std::io::Error,
    },
}

/// A result of this crate; an application's own error may take the place of [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why records are missing, and what to do.
fn in_words(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Trimmed => {
            "they were dropped before it had read them; let the publisher keep more, or start anew"
        }
        GapReason::Corrupt => "they are damaged; `procession verify` says where",
        GapReason::Diverged => "the publisher lost them with the power after they had been read",
    }
}
