//! Why a call has no reply, as the caller sees it.

use std::time::Duration;

use super::request::Refusal;

/// A call without a reply. `E` are the errors of the interface itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure<E: Refusal> {
    /// The application says no.
    #[error(transparent)]
    Refused(E),
    /// The server has as much to do as it takes on. Nothing was done: try again later.
    #[error("{server} is busy: it has {limit} calls in hand and takes no more")]
    Busy {
        /// Who was called.
        server: String,
        /// So many it takes.
        limit: u64,
    },
    /// No reply in time.
    #[error("no reply from {server} within {after:?}{}", so_that(*.uncertain))]
    Deadline {
        /// Who was called.
        server: String,
        /// So long it had.
        after: Duration,
        /// Whether it may have been done all the same.
        uncertain: bool,
    },
    /// The server can't be reached. Nothing was done.
    #[error("{server} can't be reached: {reason}")]
    Unreachable {
        /// Who was called.
        server: String,
        /// What stands in the way.
        reason: String,
    },
    /// The server went away with the call in its hands, and the request is not one to be repeated.
    #[error("{server} went away during the call ({reason}){}", so_that(true))]
    Lost {
        /// Who was called.
        server: String,
        /// How it showed.
        reason: String,
    },
    /// The server knows no such method, or no such interface. Nothing was done.
    #[error("{server} doesn't offer {method}: is it another version?")]
    NotOffered {
        /// Who was called.
        server: String,
        /// The full name.
        method: String,
    },
    /// The two sides don't mean the same by this method: one can't read what the other says.
    #[error("{server} and this process disagree about {method}: {reason}{}", so_that(*.uncertain))]
    Misunderstood {
        /// Who was called.
        server: String,
        /// The full name.
        method: String,
        /// Which parameter, and what is wrong with it.
        reason: String,
        /// Whether it was the reply that can't be read: the work is done then.
        uncertain: bool,
    },
}

impl<E: Refusal> Failure<E> {
    /// Whether the work may have been done. False: it was not, and will not be.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::Deadline { uncertain, .. } | Self::Misunderstood { uncertain, .. } => *uncertain,
            Self::Lost { .. } => true,
            Self::Refused(_) | Self::Busy { .. } | Self::Unreachable { .. } | Self::NotOffered { .. } => {
                false
            }
        }
    }

    /// The application's own answer, if that is what it is.
    #[must_use]
    pub fn refusal(&self) -> Option<&E> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

fn so_that(uncertain: bool) -> &'static str {
    if uncertain { "; it may have been done" } else { "" }
}
