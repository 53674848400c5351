//! What can be set.

use std::num::NonZeroU32;
use std::time::Duration;

use contracts::checkout::EventClock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scales of all lanes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// How many lanes there are; they are numbered from 1.
    pub(crate) lanes: NonZeroU32,
    /// How much a lane may say in a second; what is more is refused.
    pub(crate) events_per_second: NonZeroU32,
    /// Where event time comes from: machine (the clock) or lanes (a script, which calls Advance).
    #[schemars(with = "String")]
    pub(crate) event_clock: EventClock,
    /// An event that is further than this from the machine's clock is refused.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) clock_tolerance: Duration,
    /// How often to promise that nothing earlier comes.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) heartbeat_every: Duration,
    /// How far such a promise lies behind the machine's clock.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) heartbeat_lag: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lanes: NonZeroU32::new(8).expect("8 is not 0"),
            events_per_second: NonZeroU32::new(50).expect("50 is not 0"),
            event_clock: EventClock::Machine,
            clock_tolerance: Duration::from_secs(600),
            heartbeat_every: Duration::from_millis(500),
            heartbeat_lag: Duration::from_millis(500),
        }
    }
}
