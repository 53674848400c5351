//! What a kitchen is asked, and what it says.

use procession::Event;
use procession::calls::Request;
use serde::{Deserialize, Serialize};

/// The interface as it is served.
pub(crate) const KITCHEN: &str = include_str!("io.procession.example.Kitchen.varlink");

/// Cooks a dish: each time it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cook {
    /// Which.
    pub(crate) dish: String,
    /// How long it takes.
    pub(crate) takes_ms: u64,
}

impl Request for Cook {
    const METHOD: &'static str = "io.procession.example.Kitchen.Cook";
    type Reply = Cooked;
    type Error = KitchenError;
}

/// A dish is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cooked {
    /// How often it has been cooked.
    pub(crate) times: u64,
}

/// Asks how often a dish has been cooked: may be asked as often as one likes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Which.
    pub(crate) dish: String,
    /// How long the counting takes.
    pub(crate) takes_ms: u64,
}

impl Request for Count {
    const METHOD: &'static str = "io.procession.example.Kitchen.Count";
    const IDEMPOTENT: bool = true;
    type Reply = Cooked;
    type Error = KitchenError;
}

/// Has another kitchen cook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The other kitchen.
    pub(crate) from: String,
    /// What.
    pub(crate) dish: String,
    /// How long it takes there.
    pub(crate) takes_ms: u64,
}

impl Request for Order {
    const METHOD: &'static str = "io.procession.example.Kitchen.Order";
    type Reply = Cooked;
    type Error = KitchenError;
}

/// What a kitchen refuses with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub(crate) enum KitchenError {
    /// It isn't on the menu.
    #[error("nobody here can cook {dish}")]
    NotOnMenu {
        /// The dish.
        dish: String,
    },
    /// No more today.
    #[error("the kitchen is closed")]
    KitchenClosed,
    /// The other kitchen didn't deliver.
    #[error("{from} did not deliver: {reason}")]
    NotDelivered {
        /// The other kitchen.
        from: String,
        /// In words.
        reason: String,
    },
}

/// What happens to a dish: `begun`, `done`, or `dropped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Which.
    pub(crate) dish: String,
    /// How far.
    pub(crate) step: String,
}

impl Event for Progress {
    const TOPIC: &'static str = "progress";
}
