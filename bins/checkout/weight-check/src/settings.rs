//! What can be set.

use std::num::NonZeroU64;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// By so many grams scale and basket may differ. A change takes back what was said of sessions that are not final.
    pub(crate) tolerance_grams: u32,
    /// How much earlier than the latest event of basket and scale another may be and still count: more than what their
    /// heartbeats lag behind. Payments wait as long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) lateness: Duration,
    /// How often to say what is final, at most.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) final_every: Duration,
    /// After so many events the verdicts are written to a file that spares a restart reading them all again.
    pub(crate) snapshot_after: NonZeroU64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            tolerance_grams: 10,
            lateness: Duration::from_secs(1),
            final_every: Duration::from_millis(50),
            snapshot_after: NonZeroU64::new(20_000).expect("not zero"),
        }
    }
}
