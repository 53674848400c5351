//! `io.procession.checkout.Scanner` and `.Scale`: the simulated devices of all lanes.

use procession::calls::{NoReply, Request};
use serde::{Deserialize, Serialize};

use super::basket::ItemReply;
use super::names::{self, Invalid};
use super::time::At;

/// The scanners' interface as it is served.
pub const SCANNER: &str = include_str!("interfaces/io.procession.checkout.Scanner.varlink");
/// The scales' interface as it is served.
pub const SCALE: &str = include_str!("interfaces/io.procession.checkout.Scale.varlink");

/// Reads a code at a lane, and adds its product to the session's basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// The code that is read.
    pub product: String,
    /// What produce weighs.
    pub grams: Option<i64>,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session: passed on to the basket.
    pub request: String,
}

impl Request for Scan {
    const METHOD: &'static str = "io.procession.checkout.Scanner.Scan";
    /// Scanner and basket know the request by its id.
    const IDEMPOTENT: bool = true;
    type Reply = ItemReply;
    type Error = ScannerError;
}

impl Scan {
    /// Checks what can be checked without the basket.
    ///
    /// # Errors
    /// A malformed id, or a value that can't be right.
    pub fn check(&self) -> Result<(), Invalid> {
        names::check_session(&self.session)?;
        names::check_request(&self.request)?;
        names::check_lane(self.lane)?;
        self.grams.map_or(Ok(()), names::check_grams)
    }
}

/// What the scanner refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum ScannerError {
    /// The basket refuses the item.
    #[error("{reason}")]
    Refused {
        /// The name of the basket's error: `UnknownProduct`.
        error: String,
        /// In words.
        reason: String,
    },
    /// The basket can't be asked.
    #[error("the basket can't be asked: {reason}")]
    BasketUnavailable {
        /// In words.
        reason: String,
        /// Whether the item may be in the basket all the same.
        uncertain: bool,
    },
    /// A value that can't be right.
    #[error("{field} {reason}")]
    InvalidValue {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The lane says more than any customer could: its device babbles. Nothing was done.
    #[error("lane {lane} says more than {per_second} things a second: wait {retry_ms} ms")]
    RateLimited {
        /// The lane.
        lane: u32,
        /// As many are allowed.
        per_second: u32,
        /// When there is room again.
        retry_ms: u64,
    },
    /// It could not be written down, so it did not happen.
    #[error("the scanner can't write to its journal: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
}

/// Asks what lies on the produce scale of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weigh {
    /// The lane.
    pub lane: u32,
}

/// What a scale shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// In grams.
    pub grams: i64,
}

impl Request for Weigh {
    const METHOD: &'static str = "io.procession.checkout.Scale.Weigh";
    const IDEMPOTENT: bool = true;
    type Reply = Weight;
    type Error = ScaleError;
}

/// Puts something on the produce scale, in place of what lay there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceProduce {
    /// The lane.
    pub lane: u32,
    /// What it weighs; 0 takes it away.
    pub grams: i64,
}

impl Request for PlaceProduce {
    const METHOD: &'static str = "io.procession.checkout.Scale.PlaceProduce";
    const IDEMPOTENT: bool = true;
    type Reply = NoReply;
    type Error = ScaleError;
}

/// Puts something into the bag, or takes it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bag {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// What it weighs; negative when it is taken out.
    pub grams: i64,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

impl Request for Bag {
    const METHOD: &'static str = "io.procession.checkout.Scale.Bag";
    const IDEMPOTENT: bool = true;
    type Reply = Weight;
    type Error = ScaleError;
}

impl Bag {
    /// Checks what can be checked without knowing what lies in the bag.
    ///
    /// # Errors
    /// A malformed id, or a weight that can't be right.
    pub fn check(&self) -> Result<(), Invalid> {
        names::check_session(&self.session)?;
        names::check_request(&self.request)?;
        names::check_lane(self.lane)?;
        names::check_grams(self.grams.saturating_abs())
    }
}

/// Asks what lies in a session's bag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetBag {
    /// One customer at one lane.
    pub session: String,
}

impl Request for GetBag {
    const METHOD: &'static str = "io.procession.checkout.Scale.GetBag";
    const IDEMPOTENT: bool = true;
    type Reply = Weight;
    type Error = ScaleError;
}

/// A lane promises that nothing earlier than `at` comes from it: only where event time is that of a script
/// ([`EventClock::Lanes`](super::EventClock::Lanes)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    /// The lane.
    pub lane: u32,
    /// Nothing earlier.
    pub at: At,
}

impl Request for Advance {
    const METHOD: &'static str = "io.procession.checkout.Scale.Advance";
    const IDEMPOTENT: bool = true;
    type Reply = NoReply;
    type Error = ScaleError;
}

/// What the scale refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum ScaleError {
    /// The produce scale is empty.
    #[error("nothing lies on the produce scale of lane {lane}")]
    NothingToWeigh {
        /// The lane.
        lane: u32,
    },
    /// A value that can't be right.
    #[error("{field} {reason}")]
    InvalidValue {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It could not be written down, so it did not happen.
    #[error("the scale can't write to its journal: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
    /// The lane says more than any customer could: its device babbles. Nothing was done.
    #[error("lane {lane} says more than {per_second} things a second: wait {retry_ms} ms")]
    RateLimited {
        /// The lane.
        lane: u32,
        /// As many are allowed.
        per_second: u32,
        /// When there is room again.
        retry_ms: u64,
    },
}

impl From<Invalid> for ScannerError {
    fn from(invalid: Invalid) -> Self {
        ScannerError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}

impl From<Invalid> for ScaleError {
    fn from(invalid: Invalid) -> Self {
        ScaleError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}
