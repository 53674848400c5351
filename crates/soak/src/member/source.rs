//! Says items at a fixed rate, and goes on with the number where it was killed.

use std::time::{Duration, Instant};

use procession::{Process, Result, Start};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use super::{Item, number_of};

const TICK: Duration = Duration::from_millis(2);
/// What could not be said for this long is not caught up with: the load is constant.
const BEHIND_MAX: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Settings {
    /// Items a second
    rate: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 1000 }
    }
}

pub(super) async fn run(process: Process<Settings>) -> Result<()> {
    let source = number_of(process.instance());
    let mut number = process.read_own(Start::End)?.position().next.0;
    let rate = f64::from(process.settings().rate);
    let shutdown = process.shutdown();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut last, mut due) = (Instant::now(), 0.0);
    while !shutdown.is_cancelled() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let now = Instant::now();
        due += rate * now.duration_since(last).min(BEHIND_MAX).as_secs_f64();
        last = now;
        while due >= 1.0 {
            let offset = process.publish(&Item::new(source, number))?;
            assert_eq!(offset.0, number, "an item's number is its offset");
            number += 1;
            due -= 1.0;
        }
    }
    Ok(())
}
