//! Faults between the journal and the application, for tests.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What goes wrong with deliveries, and how often: each rate N means once in N deliveries on average, 0 never.
///
/// Nothing is lost by it, and what is acknowledged stays so. Between threads of one machine, order has been
/// seen to be lost about once in 10,000 times; tests ask for once in 10.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FaultSettings {
    /// Seed of all chance; none: a new one at each start, which is logged.
    pub seed: Option<u32>,
    /// Only the subscription of this name; none: every subscription of the process.
    pub only: Option<String>,
    /// A delivery comes later by up to `delay_max`, while later ones go ahead.
    pub delay_one_in: u32,
    /// Longest such delay.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub delay_max: Duration,
    /// A delivery comes after up to `reorder_max` later ones.
    pub reorder_one_in: u32,
    /// Most deliveries that go ahead of one.
    pub reorder_max: u32,
    /// A delivery comes twice, the second time among the next `reorder_max`.
    pub duplicate_one_in: u32,
    /// A delivery is dropped, and comes again after up to `delay_max` as another attempt.
    pub redeliver_one_in: u32,
    /// The clock that gave a delivery its time had stepped by up to `clock_step_max`, forward or back, and steps back
    /// after it.
    pub clock_step_one_in: u32,
    /// Widest such step.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub clock_step_max: Duration,
}

impl Default for FaultSettings {
    fn default() -> FaultSettings {
        FaultSettings {
            seed: None,
            only: None,
            delay_one_in: 0,
            delay_max: Duration::from_millis(100),
            reorder_one_in: 0,
            reorder_max: 8,
            duplicate_one_in: 0,
            redeliver_one_in: 0,
            clock_step_one_in: 0,
            clock_step_max: Duration::from_secs(60 * 60),
        }
    }
}

impl FaultSettings {
    /// Whether a subscription is to have any.
    pub(crate) fn are_on(&self, subscription: &str) -> bool {
        let rates = [
            self.delay_one_in,
            self.reorder_one_in,
            self.duplicate_one_in,
            self.redeliver_one_in,
            self.clock_step_one_in,
        ];
        rates.iter().any(|rate| *rate > 0) && self.only.as_deref().is_none_or(|only| only == subscription)
    }
}
