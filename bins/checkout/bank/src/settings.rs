//! What can be set.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// A charge of more cents is declined.
    pub(crate) limit_cents: i64,
    /// So long it takes to answer after a charge is booked.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) delay: Duration,
    /// So many charges are remembered, the latest; one that is forgotten would be booked again.
    pub(crate) charges_kept: NonZeroU32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limit_cents: 100_000,
            delay: Duration::ZERO,
            charges_kept: NonZeroU32::new(1_000_000).expect("not zero"),
        }
    }
}
