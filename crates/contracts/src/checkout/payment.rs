//! `io.procession.checkout.Payment`: paying.

use procession::calls::Request;
use serde::{Deserialize, Serialize};

use super::events::{Method, Paid, UnverifiedPayment};
use super::names::{self, Invalid};
use super::time::At;

/// The payment's interface as it is served.
pub const PAYMENT: &str = include_str!("interfaces/io.procession.checkout.Payment.varlink");

/// Pays a closed basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pay {
    /// One customer at one lane.
    pub session: String,
    /// How.
    pub method: Method,
    /// What the customer gives in cash.
    pub tendered_cents: Option<i64>,
    /// This request's id, unique in its session.
    pub request: String,
}

impl Request for Pay {
    const METHOD: &'static str = "io.procession.checkout.Payment.Pay";
    /// A session is paid once.
    const IDEMPOTENT: bool = true;
    type Reply = PayReply;
    type Error = PaymentError;
}

impl Pay {
    /// Checks what can be checked without knowing the basket.
    ///
    /// # Errors
    /// A malformed id, or an amount that can't be right.
    pub fn check(&self) -> Result<(), Invalid> {
        names::check_session(&self.session)?;
        names::check_request(&self.request)?;
        match (self.method, self.tendered_cents) {
            (_, Some(cents)) if cents < 0 => Err(Invalid {
                field: "tendered_cents",
                reason: format!("is {cents}: nobody can give less than nothing"),
            }),
            (Method::Cash, None) => Err(Invalid {
                field: "tendered_cents",
                reason: "is missing: with cash it must be said what was given".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// What paying answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayReply {
    /// The proof.
    pub receipt: Receipt,
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// What was paid.
    pub total_cents: i64,
    /// How.
    pub method: Method,
    /// What was given.
    pub tendered_cents: i64,
    /// What the customer got back.
    pub change_cents: i64,
    /// Whether the weight had been checked and found right.
    pub verified: bool,
    /// What the bank knows the charge by.
    pub charge: String,
}

impl From<&Paid> for Receipt {
    fn from(paid: &Paid) -> Self {
        Receipt {
            session: paid.session.clone(),
            at: paid.at,
            total_cents: paid.total_cents,
            method: paid.method,
            tendered_cents: paid.tendered_cents,
            change_cents: paid.change_cents,
            verified: paid.verified,
            charge: paid.charge.clone(),
        }
    }
}

/// Asks for the receipt of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReceipt {
    /// One customer at one lane.
    pub session: String,
}

impl Request for GetReceipt {
    const METHOD: &'static str = "io.procession.checkout.Payment.GetReceipt";
    const IDEMPOTENT: bool = true;
    type Reply = PayReply;
    type Error = PaymentError;
}

/// Asks for the latest sales that were not verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUnverified {
    /// At most so many; none: 100.
    pub limit: Option<u32>,
}

impl Request for ListUnverified {
    const METHOD: &'static str = "io.procession.checkout.Payment.ListUnverified";
    const IDEMPOTENT: bool = true;
    type Reply = Unverified;
    type Error = PaymentError;
}

/// Sales that were not verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unverified {
    /// The latest, newest first.
    pub payments: Vec<UnverifiedPayment>,
    /// How many there are among the payments that are remembered; all of them are in the journal.
    pub total: u64,
}

/// What payment refuses with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum PaymentError {
    /// The basket knows no such session.
    #[error("there is no session {session:?}")]
    UnknownSession {
        /// Its id.
        session: String,
    },
    /// Check out first.
    #[error("the basket of session {session:?} is still open: check out first")]
    NotClosed {
        /// Its id.
        session: String,
    },
    /// Paid by another request.
    #[error("session {:?} has been paid already", receipt.session)]
    AlreadyPaid {
        /// That payment's.
        receipt: Receipt,
    },
    /// Nothing was paid for this session.
    #[error("nothing was paid for session {session:?}")]
    NotPaid {
        /// Its id.
        session: String,
    },
    /// The weight on the scale is not that of the basket.
    #[error(
        "the scale shows {measured_grams} g, and the basket of session {session:?} weighs {expected_grams} g"
    )]
    MismatchOpen {
        /// Its id.
        session: String,
        /// What the basket's items weigh.
        expected_grams: i64,
        /// What the scale shows.
        measured_grams: i64,
    },
    /// The weight could not be checked, and the policy is not to trust; or it seems to differ, and that is not
    /// settled yet.
    #[error("the weight of session {session:?} could not be checked: {reason}")]
    NotVerified {
        /// Its id.
        session: String,
        /// Why not.
        reason: String,
    },
    /// Less was given than is due.
    #[error("{tendered_cents} cents were given, and {total_cents} are due")]
    TooLittle {
        /// What is due.
        total_cents: i64,
        /// What was given.
        tendered_cents: i64,
    },
    /// The bank says no, or the basket was opened again in the meantime.
    #[error("the payment is declined: {reason}")]
    Declined {
        /// In words.
        reason: String,
    },
    /// The bank can't be asked at the moment.
    #[error("the bank can't be asked: {reason}")]
    BankUnavailable {
        /// In words.
        reason: String,
    },
    /// The basket can't be asked at the moment.
    #[error("the basket can't be asked: {reason}")]
    BasketUnavailable {
        /// In words.
        reason: String,
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
    #[error("payment can't write to its journal: {reason}")]
    NotRecorded {
        /// Why.
        reason: String,
    },
}

impl From<Invalid> for PaymentError {
    fn from(invalid: Invalid) -> Self {
        PaymentError::InvalidValue { field: invalid.field.to_owned(), reason: invalid.reason }
    }
}
