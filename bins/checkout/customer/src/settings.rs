//! What can be set.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Simulated customers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// How many customers shop, in all lanes together; 0: one after the other without end.
    pub(crate) sessions: u64,
    /// At how many lanes they shop,
    pub(crate) lanes: NonZeroU32,
    /// and the number of the first of these.
    pub(crate) first_lane: NonZeroU32,
    /// What each of them does is a function of this number and of the session's.
    pub(crate) seed: u64,
    /// How long a customer takes from one action to the next; 0s: no time at all.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) pace: Duration,
    /// When the script's event time begins: microseconds since 1970, at least a day ahead of now, such as
    /// 4000000000000000. Then scanner, scale and basket must be set to event_clock = "lanes". Without it things happen
    /// when they are done.
    pub(crate) begin: Option<i64>,
    /// The event time from one action of the script to the next.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) step: Duration,
    /// The event time from one customer of a lane to the next; more than the lateness that anybody allows for.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) gap: Duration,
    /// How long to try again where somebody doesn't answer.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) patience: Duration,
    /// Write what was done to this file at the end, as JSON.
    pub(crate) summary: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sessions: 0,
            lanes: NonZeroU32::new(2).expect("2 is not 0"),
            first_lane: NonZeroU32::MIN,
            seed: 1,
            pace: Duration::from_millis(1500),
            begin: None,
            step: Duration::from_millis(500),
            gap: Duration::from_secs(60),
            patience: Duration::from_secs(600),
            summary: None,
        }
    }
}
