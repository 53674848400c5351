//! What can be set.

use std::num::NonZeroU32;
use std::time::Duration;

use contracts::checkout::EventClock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// Most items that a session may ever have had.
    pub(crate) lines_max: NonZeroU32,
    /// Most sessions that are remembered at a time; further ones can't begin.
    pub(crate) sessions_max: NonZeroU32,
    /// A closed basket is forgotten after so long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) keep_closed: Duration,
    /// A basket that is open, and that nobody has touched for so long, is forgotten.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) keep_open: Duration,
    /// How many lanes there are; they are numbered from 1.
    pub(crate) lanes: NonZeroU32,
    /// Where event time comes from: machine (the clock) or lanes (a script, which calls Advance).
    #[schemars(with = "String")]
    pub(crate) event_clock: EventClock,
    /// A request whose time is further than this from the machine's clock is refused.
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
        let count = |count| NonZeroU32::new(count).expect("not zero");
        Settings {
            lines_max: count(500),
            sessions_max: count(10_000),
            keep_closed: Duration::from_secs(30 * 60),
            keep_open: Duration::from_secs(12 * 60 * 60),
            lanes: count(8),
            event_clock: EventClock::Machine,
            clock_tolerance: Duration::from_secs(600),
            heartbeat_every: Duration::from_millis(500),
            heartbeat_lag: Duration::from_millis(500),
        }
    }
}
