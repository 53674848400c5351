//! The self-checkout: what its processes say, and what they may be asked.
//!
//! A *lane* is one checkout; a *session* is one customer at one lane, with an id that is unique for good, such as
//! `3-000017`. It is the key of every event, so that one customer's events stay in order, and lanes run side by side.
//!
//! | process | says | is asked |
//! | --- | --- | --- |
//! | `scanner` | [`ItemScanned`] | [`Scan`] |
//! | `scale` | [`WeightChanged`] | [`Weigh`], [`PlaceProduce`], [`Bag`], [`GetBag`], [`Advance`] |
//! | `basket` | [`SessionStarted`], [`ItemAdded`], [`ItemRemoved`], [`BasketClosed`], [`BasketReopened`], [`BasketHeld`], [`BasketReleased`], [`SessionEnded`] | [`Start`], [`AddItem`], [`RemoveItem`], [`GetBasket`], [`CheckOut`], [`Reopen`], [`Hold`], [`Release`], [`AdvanceBasket`] |
//! | `weight-check` | [`Mismatch`], [`MismatchWithdrawn`], [`WeightOk`] | [`GetVerdict`] |
//! | `payment` | [`ChargeBegun`], [`ChargeDeclined`], [`Paid`], [`UnverifiedPayment`] | [`Pay`], [`GetReceipt`], [`ListUnverified`] |
//! | `bank` | [`Booking`] | [`Charge`], [`FindCharge`], [`GetTotal`] |
//!
//! Money is in cents and weight in grams, both integers; `at` is the time that something happened ([`At`]), a decimal
//! string in JSON. The interfaces are described in Varlink's language under `interfaces/`, and served as they are.
//! All their methods may be asked twice: each change carries the id of its request.

mod answers;
mod bank;
mod basket;
mod devices;
mod events;
mod lanes;
pub mod names;
mod pace;
mod payment;
mod products;
mod time;
mod weight_check;

pub use answers::{Answers, TooManyRequests};
pub use bank::{BANK, BankError, Booking, Charge, ChargeReply, FindCharge, FindReply, GetTotal, LedgerTotal};
pub use basket::{
    AddItem, AdvanceBasket, BASKET, Basket, BasketError, BasketState, CheckOut, Closed, GetBasket, Hold,
    ItemReply, Line, Release, RemoveItem, Reopen, Start, TotalReply,
};
pub use devices::{
    Advance, Bag, GetBag, PlaceProduce, SCALE, SCANNER, ScaleError, Scan, ScannerError, Weigh, Weight,
};
pub use events::{
    BasketClosed, BasketHeld, BasketReleased, BasketReopened, ChargeBegun, ChargeDeclined, ItemAdded,
    ItemRemoved, ItemScanned, Method, Mismatch, MismatchWithdrawn, Paid, SessionEnded, SessionStarted,
    UnverifiedPayment, WeightChanged, WeightOk,
};
pub use lanes::{EventClock, LaneClock, check_clock};
pub use pace::LanePace;
pub use payment::{GetReceipt, ListUnverified, PAYMENT, Pay, PayReply, PaymentError, Receipt, Unverified};
pub use products::{Product, Sold, product, products};
pub use time::At;
pub use weight_check::{GetVerdict, Judgement, Verdict, WEIGHT_CHECK, WeightCheckError};
