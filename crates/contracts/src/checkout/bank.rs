//! `io.procession.checkout.Bank`: a simulated ledger that books each charge once.

use std::borrow::Cow;

use procession::Event;
use procession::calls::Request;
use serde::{Deserialize, Serialize};

use super::names::Invalid;

/// The interface as it is served.
pub const BANK: &str = include_str!("interfaces/io.procession.checkout.Bank.varlink");

/// Books a charge under its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Its key.
    pub charge: String,
    /// How much.
    pub cents: i64,
}

impl Request for Charge {
    const METHOD: &'static str = "io.procession.checkout.Bank.Charge";
    const IDEMPOTENT: bool = true;
    type Reply = ChargeReply;
    type Error = BankError;
}

/// What charging answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeReply {
    /// What stands in the ledger.
    pub booking: Booking,
}

/// One line of the ledger, and the event `bank/booked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Its key.
    pub charge: String,
    /// How much.
    pub cents: i64,
    /// Whether the money moved.
    pub approved: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl Event for Booking {
    const TOPIC: &'static str = "booked";

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.charge.as_bytes()))
    }
}

/// Asks for a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindCharge {
    /// Its key.
    pub charge: String,
}

impl Request for FindCharge {
    const METHOD: &'static str = "io.procession.checkout.Bank.Find";
    const IDEMPOTENT: bool = true;
    type Reply = FindReply;
    type Error = BankError;
}

/// What is known of a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindReply {
    /// None: it was never asked for.
    pub booking: Option<Booking>,
}

/// Asks what the ledger comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetTotal {}

impl Request for GetTotal {
    const METHOD: &'static str = "io.procession.checkout.Bank.Total";
    const IDEMPOTENT: bool = true;
    type Reply = LedgerTotal;
    type Error = BankError;
}

/// What the approved charges come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerTotal {
    /// How many.
    pub charges: u64,
    /// How much.
    pub cents: i64,
}

/// What the bank refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum BankError {
    /// The key was used for another amount.
    #[error("charge {charge:?} was for {cents} cents")]
    KeyReused {
        /// The key.
        charge: String,
        /// What it was used for.
        cents: i64,
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
    #[error("the bank can't write to its journal: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
}

impl From<Invalid> for BankError {
    fn from(invalid: Invalid) -> Self {
        BankError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}
