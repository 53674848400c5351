//! `io.procession.Subscriptions`: the places that a process keeps in the journals of others.

use serde::{Deserialize, Serialize};

use crate::calls::Request;

/// The interface's name.
pub const NAME: &str = "io.procession.Subscriptions";
/// The interface in Varlink's language.
pub const DESCRIPTION: &str = include_str!("io.procession.Subscriptions.varlink");

/// Has the places of a subscription forgotten that nobody reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// The subscription.
    pub subscription: String,
    /// Only its place in this journal.
    #[serde(default)]
    pub journal: Option<String>,
}

impl Request for Forget {
    const METHOD: &'static str = "io.procession.Subscriptions.Forget";
    const IDEMPOTENT: bool = true;
    type Reply = Forgotten;
    type Error = ForgetError;
}

/// Where places are forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// In these journals.
    pub journals: Vec<String>,
}

/// Why nothing is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
#[non_exhaustive]
pub enum ForgetError {
    /// The process has no such place.
    #[error("the process has no place of {subscription}")]
    Unknown {
        /// The subscription.
        subscription: String,
    },
    /// It is being read.
    #[error("{subscription} is reading {journal}")]
    BeingRead {
        /// The subscription.
        subscription: String,
        /// The journal.
        journal: String,
    },
    /// It could not be done.
    #[error("it could not be done: {reason}")]
    Failed {
        /// What stands in the way.
        reason: String,
    },
}

impl ForgetError {
    pub(crate) fn failed(reason: &impl std::fmt::Display) -> Self {
        Self::Failed { reason: reason.to_string() }
    }
}
