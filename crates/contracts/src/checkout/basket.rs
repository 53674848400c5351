//! `io.procession.checkout.Basket`: what the basket is asked, and what it answers.

use procession::calls::{NoReply, Request};
use serde::{Deserialize, Serialize};

use super::names::{self, Invalid};
use super::time::At;

/// The interface as it is served.
pub const BASKET: &str = include_str!("interfaces/io.procession.checkout.Basket.varlink");

/// A method of the basket. All may be asked twice: the basket knows requests by their ids.
macro_rules! basket_methods {
    ($($request:ident $method:literal -> $reply:ty),+ $(,)?) => {$(
        impl Request for $request {
            const METHOD: &'static str = concat!("io.procession.checkout.Basket.", $method);
            const IDEMPOTENT: bool = true;
            type Reply = $reply;
            type Error = BasketError;
        }
    )+};
}

basket_methods! {
    Start "Start" -> NoReply,
    AddItem "AddItem" -> ItemReply,
    RemoveItem "RemoveItem" -> TotalReply,
    GetBasket "Get" -> Basket,
    CheckOut "CheckOut" -> Closed,
    Reopen "Reopen" -> TotalReply,
    Hold "Hold" -> TotalReply,
    Release "Release" -> NoReply,
    AdvanceBasket "Advance" -> NoReply,
}

/// Begins a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// One customer at one lane.
    pub session: String,
    /// The lane, from 1.
    pub lane: u32,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

/// Adds an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddItem {
    /// One customer at one lane.
    pub session: String,
    /// The product's code.
    pub product: String,
    /// What produce weighs; anything else has a weight of its own.
    pub grams: Option<i64>,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

/// What was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemReply {
    /// Its number in the session.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// Its price.
    pub price_cents: i64,
    /// Its weight.
    pub grams: i64,
    /// What the basket comes to with it.
    pub total_cents: i64,
}

/// Takes one item out again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveItem {
    /// One customer at one lane.
    pub session: String,
    /// The item's number in the session.
    pub line: u32,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

/// What the basket comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalReply {
    /// In cents.
    pub total_cents: i64,
}

/// Asks what is in a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetBasket {
    /// One customer at one lane.
    pub session: String,
}

/// Whether a basket can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BasketState {
    /// Things may be added and removed.
    Open,
    /// The customer pays.
    Closed,
}

/// What is in a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basket {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// Whether it can be changed.
    pub state: BasketState,
    /// The time of the latest change: of a closed basket, when it was closed.
    pub changed: At,
    /// What was added and not removed, in that order.
    pub lines: Vec<Line>,
    /// What it comes to.
    pub total_cents: i64,
    /// What it weighs.
    pub grams: i64,
}

/// One item in a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the session.
    pub line: u32,
    /// The product's code.
    pub product: String,
    /// Its name.
    pub name: String,
    /// Its price.
    pub price_cents: i64,
    /// Its weight.
    pub grams: i64,
}

/// The customer wants to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOut {
    /// One customer at one lane.
    pub session: String,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

/// A basket that can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When it was closed.
    pub at: At,
    /// What is to be paid.
    pub total_cents: i64,
    /// How many items.
    pub items: u32,
    /// What they weigh.
    pub grams: i64,
}

/// The customer goes on after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reopen {
    /// One customer at one lane.
    pub session: String,
    /// When; none: now.
    pub at: Option<At>,
    /// This request's id, unique in its session.
    pub request: String,
}

/// The money is about to be taken: from now on the basket can't be opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// One customer at one lane.
    pub session: String,
    /// The basket that is paid for: as [`Basket::changed`] says.
    pub changed: At,
    /// The charge that it is held for.
    pub charge: String,
}

/// The charge came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// One customer at one lane.
    pub session: String,
    /// The charge that it was held for.
    pub charge: String,
}

/// A lane promises that nothing earlier comes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceBasket {
    /// The lane.
    pub lane: u32,
    /// Up to when.
    pub at: At,
}

/// What the basket refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum BasketError {
    /// It was never started, or is forgotten.
    #[error("there is no session {session:?}")]
    UnknownSession {
        /// Its id.
        session: String,
    },
    /// A session's id can be used once.
    #[error("session {session:?} is not new: take another id")]
    SessionReused {
        /// Its id.
        session: String,
    },
    /// Nothing changes after `CheckOut`.
    #[error("session {session:?} is closed: reopen it first")]
    SessionClosed {
        /// Its id.
        session: String,
    },
    /// Only a closed session can be opened again.
    #[error("session {session:?} is open already")]
    SessionOpen {
        /// Its id.
        session: String,
    },
    /// The money is being taken, or has been.
    #[error("session {session:?} is being paid, or has been: it can't be opened again")]
    BeingPaid {
        /// Its id.
        session: String,
    },
    /// Something else was closed since.
    #[error("the basket of session {session:?} has changed since")]
    SessionChanged {
        /// Its id.
        session: String,
    },
    /// There is nothing to pay.
    #[error("the basket of session {session:?} is empty")]
    EmptyBasket {
        /// Its id.
        session: String,
    },
    /// No product has this code.
    #[error("there is no product {product:?}")]
    UnknownProduct {
        /// The code.
        product: String,
    },
    /// Produce is sold by weight.
    #[error("{product:?} is sold by weight: weigh it first")]
    WeightMissing {
        /// The product's code.
        product: String,
    },
    /// There is no such line, or it was removed.
    #[error("session {session:?} has no line {line}")]
    UnknownLine {
        /// The session's id.
        session: String,
        /// The number.
        line: u32,
    },
    /// A request's id can be used once.
    #[error("request {request:?} of session {session:?} was something else: take another id")]
    RequestReused {
        /// The session's id.
        session: String,
        /// The request's.
        request: String,
    },
    /// A session has a bounded number of lines.
    #[error("the basket of session {session:?} is full: it holds {limit} lines")]
    BasketFull {
        /// The session's id.
        session: String,
        /// So many lines.
        limit: u32,
    },
    /// The number of open sessions is bounded.
    #[error("there are {limit} sessions already: try again later")]
    TooManySessions {
        /// So many sessions.
        limit: u32,
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
    #[error("the basket can't write to its journal: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
}

impl From<Invalid> for BasketError {
    fn from(invalid: Invalid) -> Self {
        BasketError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}

impl Start {
    /// Checks what can be checked without knowing the session; so do the others.
    ///
    /// # Errors
    /// A malformed id, or a value that can't be right.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ids(&self.session, &self.request)?;
        names::check_lane(self.lane)
    }
}

impl AddItem {
    /// See [`Start::check`].
    ///
    /// # Errors
    /// A malformed id, or a weight that can't be right.
    pub fn check(&self) -> Result<(), Invalid> {
        check_ids(&self.session, &self.request)?;
        names::check_product(&self.product)?;
        self.grams.map_or(Ok(()), names::check_grams)
    }
}

impl Hold {
    /// See [`Start::check`].
    ///
    /// # Errors
    /// A malformed id.
    pub fn check(&self) -> Result<(), Invalid> {
        names::check_session(&self.session)?;
        names::check_charge(&self.charge)
    }
}

impl Release {
    /// See [`Start::check`].
    ///
    /// # Errors
    /// A malformed id.
    pub fn check(&self) -> Result<(), Invalid> {
        names::check_session(&self.session)?;
        names::check_charge(&self.charge)
    }
}

/// Requests without further values.
macro_rules! check_only_ids {
    ($($request:ident),+) => {$(
        impl $request {
            /// See [`Start::check`].
            ///
            /// # Errors
            /// A malformed id.
            pub fn check(&self) -> Result<(), Invalid> {
                check_ids(&self.session, &self.request)
            }
        }
    )+};
}

check_only_ids!(RemoveItem, CheckOut, Reopen);

fn check_ids(session: &str, request: &str) -> Result<(), Invalid> {
    names::check_session(session)?;
    names::check_request(request)
}
