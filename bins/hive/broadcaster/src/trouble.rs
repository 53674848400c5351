//! Why a node couldn't move us on, and how long it is left alone for that.

use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Verdict};

/// What is wrong with a node, as seen from the chain.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A request got no usable answer.
    Failed(Failure),
    /// It doesn't have a block that it says it is past.
    Absent { number: u32 },
    /// It gives no virtual operation of a block, and neither does another node; nearly every block has some. Of so many
    /// nodes some are sure: they answer, and aren't only behind.
    NoVirtual { number: u32, sure: usize, nodes: usize },
    /// Its answers don't fit each other: behind it are several, not all as far, or a cache.
    Inconsistent { what: String },
    /// Its head stands still, or is far behind, while another node's isn't.
    Behind { head: u32, best: u32 },
    /// Its blocks don't continue ours, beyond what a fork can explain.
    WrongChain { number: u32 },
}

/// How long a node is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// It will most likely be right in a moment.
    Moment,
    /// Longer with every failure in a row.
    Growing,
    /// As long as possible.
    Longest,
}

impl Trouble {
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Trouble::Absent { .. } | Trouble::NoVirtual { .. } | Trouble::Inconsistent { .. } => {
                Severity::Moment
            }
            Trouble::Failed(failure) if failure.verdict() == Verdict::Unusable => Severity::Longest,
            Trouble::Failed(_) => Severity::Growing,
            Trouble::Behind { .. } | Trouble::WrongChain { .. } => Severity::Longest,
        }
    }

    /// Whether there was no answer at all.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Trouble::Failed(Failure::Timeout | Failure::Transport { .. }))
    }

    /// How long the node itself asked us to stay away.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Trouble::Failed(failure) => failure.retry_after(),
            _ => None,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(failure)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Failed(failure) => failure.fmt(to),
            Trouble::Absent { number } => write!(to, "block {number} isn't there (yet)"),
            Trouble::NoVirtual { number, sure, nodes } => write!(
                to,
                "it gives no virtual operation of block {number} (yet); of {nodes} nodes {sure} answer so with a history \
                 that isn't only behind"
            ),
            Trouble::Inconsistent { what } => write!(to, "its answers don't fit each other: {what}"),
            Trouble::Behind { head, best } => write!(to, "its head is at {head}, another node's at {best}"),
            Trouble::WrongChain { number } => {
                write!(to, "its block {number} doesn't continue the chain that we have followed")
            }
        }
    }
}
