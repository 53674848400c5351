//! Which work is done, and how much of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::free_bytes;
use crate::work::{Durability, Work, as_float};

const PAYLOADS: [u32; 3] = [64, 1 << 10, 64 << 10];
/// What a run may write, so that it fits where it is stored.
const RUN_BYTES_MAX: u64 = 2 << 30;
const MESSAGES_MAX: u64 = 100_000_000;

/// How much is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) rounds: u32,
    /// What a run should take; the number of messages follows from a contender's own pace.
    pub(crate) seconds: f64,
    /// What lies behind when a reader comes to catch up.
    pub(crate) catch_up_bytes: u64,
    /// Brokers are slower to fill, and one keeps all in memory: theirs is less.
    pub(crate) catch_up_bytes_of_peers: u64,
    /// Instead of all that: just so many messages.
    pub(crate) messages: Option<u64>,
}

impl Amount {
    /// No more than fits on the disk with ease.
    pub(crate) fn bounded_by(mut self, place: &Path) -> Self {
        let room = free_bytes(place) / 4;
        self.catch_up_bytes = self.catch_up_bytes.min(room);
        self.catch_up_bytes_of_peers = self.catch_up_bytes_of_peers.min(room);
        self
    }

    /// How many messages to begin with, before a contender's pace is known.
    pub(crate) fn first_guess(&self, work: Work, is_ours: bool) -> u64 {
        if let Some(messages) = self.messages {
            return messages;
        }
        let by_time = |per_second: f64| whole(per_second * self.seconds);
        match work {
            Work::Latency { spin: false, .. } => by_time(1_500.0).max(100),
            Work::Latency { spin: true, .. } => by_time(50_000.0).max(100),
            Work::CatchUp { payload } => {
                let bytes = if is_ours { self.catch_up_bytes } else { self.catch_up_bytes_of_peers };
                (bytes / u64::from(payload)).max(1)
            }
            Work::Durable { durability: Durability::Always, waiting, .. } => 100 * u64::from(waiting),
            _ => match work.payload() {
                ..=100 => 50_000,
                101..=10_000 => 20_000,
                _ => 100,
            },
        }
    }

    /// Whether the number of messages follows from the pace.
    pub(crate) const fn is_paced(&self, work: Work) -> bool {
        self.messages.is_none() && !matches!(work, Work::Latency { .. } | Work::CatchUp { .. })
    }

    /// How many messages fill the time at this pace.
    pub(crate) fn at_pace(&self, work: Work, messages_per_second: f64) -> u64 {
        let most = MESSAGES_MAX.min(RUN_BYTES_MAX / u64::from(work.payload()));
        whole(messages_per_second * self.seconds).clamp(1, most)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of messages")]
fn whole(count: f64) -> u64 {
    count.clamp(0.0, as_float(MESSAGES_MAX)) as u64
}

/// All work, in the order of the report.
pub(crate) fn all_work() -> Vec<Work> {
    let throughput = |subscribers| PAYLOADS.map(|payload| Work::Throughput { payload, subscribers });
    let durable = |durability, waiting| Work::Durable { payload: 64, durability, waiting };
    let mut all = Vec::new();
    all.extend(throughput(1));
    all.extend(throughput(8));
    all.extend(PAYLOADS.map(|payload| Work::Publishing { payload }));
    all.extend([false, true].map(|spin| Work::Latency { payload: 64, spin }));
    all.push(Work::CatchUp { payload: 1 << 10 });
    all.extend([
        durable(Durability::Never, 1),
        durable(Durability::EverySecond, 1),
        durable(Durability::Always, 1),
        durable(Durability::Always, 16),
        durable(Durability::Always, 256),
    ]);
    all
}
