//! What happened in a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What was done to the shop, and for how long.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// SIGKILLs, by process.
    pub kills: BTreeMap<String, u64>,
    /// How long the customers took.
    pub time: Duration,
    /// For how long weight-check was down on purpose, and what payment said meanwhile: from this offset up to that one.
    pub outage: Option<(Duration, u64, u64)>,
    /// How often customers had to ask again.
    pub repeated: u64,
    /// Warnings that were logged, and how often.
    pub warnings: BTreeMap<String, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, time, outage, repeated, warnings } = self;
        let count: u64 = kills.values().sum();
        write!(f, "{:.1} s, {count} kills {kills:?}, {repeated} requests asked again", time.as_secs_f64())?;
        if let Some((time, ..)) = outage {
            write!(f, ", weight-check down for {:.1} s", time.as_secs_f64())?;
        }
        warnings.iter().try_for_each(|(message, count)| write!(f, "\n    warned {count} times: {message}"))
    }
}
