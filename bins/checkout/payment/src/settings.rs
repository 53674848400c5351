//! What can be set.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// What to do when nobody can tell whether the weight is right: trust the customer, or refuse the payment.
    pub(crate) policy: Policy,
    /// Up to how many cents a customer is trusted.
    pub(crate) trust_up_to_cents: i64,
    /// How long to wait for the weight verdict to be settled.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) verification_patience: Duration,
    /// How long the bank may take; then the customer is told that it can't be asked.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) bank_patience: Duration,
    /// So many payments are remembered, the latest.
    pub(crate) payments_kept: NonZeroU32,
}

/// What to do when nobody can tell whether the weight is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// No one should go home hungry.
    Trust,
    /// Better no sale than a wrong one.
    Refuse,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            policy: Policy::Trust,
            trust_up_to_cents: 20_000,
            verification_patience: Duration::from_secs(3),
            bank_patience: Duration::from_secs(5),
            payments_kept: NonZeroU32::new(100_000).expect("not zero"),
        }
    }
}
