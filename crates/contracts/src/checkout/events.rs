//! What is said at the checkout. Each event's key is its session.

use std::borrow::Cow;

use procession::Event;
use serde::{Deserialize, Serialize};

use super::time::At;

/// Events that are kept in order within their session.
macro_rules! of_session {
    ($($event:ident $topic:literal),+ $(,)?) => {$(
        impl Event for $event {
            const TOPIC: &'static str = $topic;

            fn key(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Borrowed(self.session.as_bytes()))
            }
        }
    )+};
}

of_session! {
    SessionStarted "session-started",
    ItemAdded "item-added",
    ItemRemoved "item-removed",
    BasketClosed "basket-closed",
    BasketReopened "basket-reopened",
    BasketHeld "basket-held",
    BasketReleased "basket-released",
    SessionEnded "session-ended",
    ItemScanned "item-scanned",
    WeightChanged "weight-changed",
    Mismatch "mismatch",
    MismatchWithdrawn "mismatch-withdrawn",
    WeightOk "weight-ok",
    ChargeBegun "charge-begun",
    ChargeDeclined "charge-declined",
    Paid "paid",
    UnverifiedPayment "unverified-payment",
}

/// `basket/session-started`: a customer begins at a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStarted {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// When.
    pub at: At,
    /// The request that led to it.
    pub request: String,
}

/// `basket/item-added`: an item is in the basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemAdded {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The item's number in its session, from 1; never used again.
    pub line: u32,
    /// The product's code.
    pub product: String,
    /// Its name, as on the receipt.
    pub name: String,
    /// What this item costs.
    pub price_cents: i64,
    /// What it weighs: what the bagging scale should show more.
    pub grams: i64,
    /// The request that led to it.
    pub request: String,
}

/// `basket/item-removed`: an item is no longer in the basket. The values are those it was added with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRemoved {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The item's number in its session.
    pub line: u32,
    /// The product's code.
    pub product: String,
    /// Its name, as on the receipt.
    pub name: String,
    /// What this item cost.
    pub price_cents: i64,
    /// What it weighs.
    pub grams: i64,
    /// The request that led to it.
    pub request: String,
}

/// `basket/basket-closed`: the customer wants to pay; nothing changes from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasketClosed {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// What is to be paid.
    pub total_cents: i64,
    /// How many items.
    pub items: u32,
    /// What they weigh together.
    pub grams: i64,
    /// The request that led to it.
    pub request: String,
}

/// `basket/basket-reopened`: the customer goes on after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasketReopened {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The request that led to it.
    pub request: String,
}

/// `basket/session-ended`: nothing will come of the session any more; the basket has forgotten it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnded {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
}

/// `basket/basket-held`: the money is about to be taken; it can't be opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasketHeld {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The charge that it is held for.
    pub charge: String,
}

/// `basket/basket-released`: that charge came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasketReleased {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The charge that it was held for.
    pub charge: String,
}

/// `scanner/item-scanned`: the reader has seen a bar code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemScanned {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// When.
    pub at: At,
    /// The code that was read, a product's or not.
    pub product: String,
    /// The request that led to it.
    pub request: String,
}

/// `scale/weight-changed`: the bagging scale of a lane has come to rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightChanged {
    /// One customer at one lane.
    pub session: String,
    /// The lane.
    pub lane: u32,
    /// When.
    pub at: At,
    /// All that lies on it.
    pub grams: i64,
    /// The request that led to it.
    pub request: String,
}

/// `weight-check/mismatch`: what lies on the scale is not what is in the basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// One customer at one lane.
    pub session: String,
    /// Since when.
    pub at: At,
    /// What the basket's items weigh.
    pub expected_grams: i64,
    /// What the scale shows.
    pub measured_grams: i64,
}

/// `weight-check/mismatch-withdrawn`: that mismatch was said for want of an event that has come since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MismatchWithdrawn {
    /// One customer at one lane.
    pub session: String,
    /// The time of the mismatch.
    pub at: At,
    /// As the mismatch said.
    pub expected_grams: i64,
    /// As the mismatch said.
    pub measured_grams: i64,
}

/// `weight-check/weight-ok`: scale and basket agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightOk {
    /// One customer at one lane.
    pub session: String,
    /// Since when.
    pub at: At,
    /// What the basket's items weigh.
    pub expected_grams: i64,
    /// What the scale shows.
    pub measured_grams: i64,
}

/// How a basket is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// By card, at the bank.
    Card,
    /// In coins and notes.
    Cash,
}

/// `payment/charge-begun`: said before the bank is asked, so that a charge is never begun twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeBegun {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// What is charged.
    pub total_cents: i64,
    /// How.
    pub method: Method,
    /// What the bank knows this charge by: it books each key once, however often it is asked.
    pub charge: String,
    /// The basket that it is for: when that was closed.
    pub closed: At,
    /// Whether the weight verdict was settled.
    pub verified: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was given: as much as `total_cents` with a card.
    pub tendered_cents: i64,
    /// The request that led to it.
    pub request: String,
}

/// `payment/charge-declined`: nothing was booked under that key: the bank said no, or the basket was opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargeDeclined {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// The charge that came to nothing.
    pub charge: String,
    /// In words.
    pub reason: String,
}

/// `payment/paid`: the sale is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
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
    /// Whether the weight verdict was settled, and good.
    pub verified: bool,
    /// What the bank knows the charge by.
    pub charge: String,
    /// The request that led to it.
    pub request: String,
}

/// `payment/unverified-payment`: a sale whose weight nobody had checked, by policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedPayment {
    /// One customer at one lane.
    pub session: String,
    /// When.
    pub at: At,
    /// What was paid.
    pub total_cents: i64,
    /// Why it was not verified.
    pub reason: String,
}
