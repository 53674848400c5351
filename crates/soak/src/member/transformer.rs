//! Says each item again, and acknowledges it with what it says: each exactly once.

use procession::{Process, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Item, Passed};

/// Bytes kept with each item by a transformer that is to leak.
const LEAK_BYTES: usize = 1024;
/// A transformer that is to lose items leaves out one in so many.
const SKIP_EVERY: u64 = 1000;

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Settings {
    /// Keep memory with each item, to see that it is noticed
    leak: bool,
    /// Leave an item out now and then, to see that it is noticed
    skip: bool,
}

pub(super) async fn run(process: Process<Settings>) -> Result<()> {
    let mut items = process.subscribe::<Item>("source").await?;
    let mut leaked = Vec::new();
    while let Some(delivery) = items.next().await? {
        let Item { source, number, text } = &delivery.event;
        if process.settings().leak {
            leaked.push(vec![1_u8; LEAK_BYTES]);
        }
        if process.settings().skip && *number % SKIP_EVERY == SKIP_EVERY - 1 {
            delivery.ack();
            continue;
        }
        let passed = Passed { source: *source, number: *number, text: text.clone() };
        process.publish_acking(&passed, &delivery)?;
    }
    Ok(())
}
