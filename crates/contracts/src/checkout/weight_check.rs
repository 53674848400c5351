//! `io.procession.checkout.WeightCheck`: whether what lies on the scale is what is in the basket.

use procession::calls::Request;
use serde::{Deserialize, Serialize};

use super::names::Invalid;
use super::time::At;

/// The interface as it is served.
pub const WEIGHT_CHECK: &str = include_str!("interfaces/io.procession.checkout.WeightCheck.varlink");

/// Asks for the verdict on a session as things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetVerdict {
    /// One customer at one lane.
    pub session: String,
}

impl Request for GetVerdict {
    const METHOD: &'static str = "io.procession.checkout.WeightCheck.Verdict";
    const IDEMPOTENT: bool = true;
    type Reply = Verdict;
    type Error = WeightCheckError;
}

/// How a session's weight was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Nothing is known of the session yet.
    #[default]
    None,
    /// Scale and basket agree.
    Ok,
    /// They don't.
    Mismatch,
}

/// The verdict on a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How its weight was found.
    pub judgement: Judgement,
    /// Since when.
    pub at: Option<At>,
    /// What the basket's items weigh.
    pub expected_grams: i64,
    /// What the scale shows.
    pub measured_grams: i64,
    /// Up to when nothing will be said or taken back any more, for any session; none: nothing is final yet.
    #[serde(rename = "final")]
    pub settled: Option<At>,
}

impl Verdict {
    /// Whether nothing that happened up to `at` can change it any more.
    #[must_use]
    pub fn is_settled(&self, at: At) -> bool {
        self.settled.is_some_and(|settled| settled > at)
    }
}

/// What weight-check refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum WeightCheckError {
    /// A value that can't be right.
    #[error("{field} {reason}")]
    InvalidValue {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<Invalid> for WeightCheckError {
    fn from(invalid: Invalid) -> Self {
        WeightCheckError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}
